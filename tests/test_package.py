"""What an installed package is: its name, its licence, its extras, its public names."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import toolkit

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return dict(tomllib.load(file)["project"])


def test_the_distribution_has_a_name_of_its_own_and_a_licence(project: dict[str, Any]) -> None:
    assert project["name"] == "hls4ml-toolkit"  # toolkit is another project's on the package index
    assert project["license"] == "Apache-2.0"
    for name in project["license-files"]:
        assert "Apache License" in (ROOT / name).read_text()
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?", toolkit.__version__)
    assert f"## {toolkit.__version__.split('.dev')[0]}" in (ROOT / ".docs" / "CHANGELOG.md").read_text()


def test_every_extra_that_a_message_names_exists(project: dict[str, Any]) -> None:
    texts = [path.read_text() for path in [*(ROOT / "toolkit").rglob("*.py"), ROOT / "README.md"]]
    pattern = r"""install\(["'](\w+)["']\)|pip install '?\.\[(\w+)\]"""
    found = {first or second for text in texts for first, second in re.findall(pattern, text)}
    assert {"gpu", "cluster", "onnx", "torch"} <= found <= set(project["optional-dependencies"])
    wrong = [text for text in texts if re.search(r"install '?toolkit\[", text)]
    assert not wrong, "pip install 'toolkit[...]' installs a stranger's package"


def test_the_package_is_typed() -> None:
    assert (ROOT / "toolkit" / "py.typed").is_file()
