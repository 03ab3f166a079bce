"""`toolkit check` and `toolkit csim` do what they can, and say what they could not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from toolkit.cli import exit_code


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float model, images, and its project without test vectors."""
    from tests.hls.small_models import float_model, inputs_for
    from toolkit.config import HlsConfig
    from toolkit.hls import write_project

    folder = tmp_path_factory.mktemp("given")
    model = float_model()
    model.save(folder / "model.keras")
    np.save(folder / "x.npy", inputs_for(model, 20))
    write_project(model, HlsConfig(precision="ap_fixed<16,6>"), folder / "project")
    return folder


def asked(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict]:
    capsys.readouterr()
    code = exit_code([str(word) for word in (*words, "--json")])
    return code, json.loads(capsys.readouterr().out)


def test_check_without_vectors_says_what_was_not_checked(given: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = asked(capsys, "check", given / "project", "--emulate", "--model", given / "model.keras")
    assert code == 0 and said["findings"] and not said["checks"]
    assert ["no images" in said["not_checked"][0], "no test vectors" in said["not_checked"][1]] == [True, True]


def test_csim_without_vectors_builds(given: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = asked(capsys, "csim", given / "project", "--emulate")
    assert code == 0 and said["engine"] == "emulation" and "no test vectors" in said["not_checked"][0]


def test_check_without_a_compiler_says_so(
    given: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(given))
    code, said = asked(capsys, "check", given / "project", "--inputs", given / "x.npy")
    assert code == 0 and said["profile"]
    assert any(line.startswith("csim: ") and "g++" in line for line in said["not_checked"])


def test_a_float_model_is_no_failure_and_has_a_table(given: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["check", given / "project", "--emulate", "--model", given / "model.keras", "--inputs", given / "x.npy"]
    code, said = asked(capsys, *words)
    (check,) = said["checks"]
    assert code == 0 and not check["equal"] and not check["exact"]
    assert {"layer", "maximum", "rms", "sqnr_db"} <= set(check["errors"][0])
    assert exit_code([str(word) for word in words]) == 0
    assert "where the bits go" in capsys.readouterr().out
