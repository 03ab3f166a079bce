"""The command line as a user meets it: exit codes, messages, JSON; never a traceback for a mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import toolkit
from toolkit.cli import app, exit_code
from toolkit.errors import StoreError

COMMANDS = [
    *("doctor", "demo", "run", "train", "convert", "csim", "check", "estimate", "synth", "baseline", "compare"),
    *("report", "sweep", "diff", "bench", "parts", "schema", "show"),
]


def test_every_promised_command_is_there() -> None:
    names = [command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands]
    assert sorted(names) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code([command, "--help"]) == 0
    assert command in capsys.readouterr().out


def test_sweep_is_a_function_before_and_after_its_package_is_imported() -> None:
    code = (
        "import toolkit as tk; first = tk.sweep; import toolkit.exploration; from toolkit import sweep;"
        "assert first is sweep is tk.sweep and type(sweep).__name__ == 'function', sweep; print(tk.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == toolkit.__version__


def test_doctor_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["doctor", "--json"]) == 0
    found = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)["found"]}
    assert found["g++"]["present"]
    assert {"CUDA GPU", "vitis-run", "chromium", "ONNX Runtime CPU", "artifact store"} <= set(found)


MISTAKES = {
    "an unknown command": (["simulate"], "No such command"),
    "a missing argument": (["run"], "Missing argument"),
    "a design file that is not there": (["run", "absent.toml"], "absent.toml"),
    "an unknown dataset": (["train", "convnet", "--dataset", "mnist5"], 'did you mean "mnist5k"'),
    "an unknown model": (["train", "convnett", "--dataset", "digits"], 'did you mean "convnet"'),
    "a project that is not there": (["estimate", "absent"], "absent"),
    "csim without images": (["csim", "absent"], "absent"),
    "a folder that is no project": (["csim", ".", "--dataset", "digits"], "project"),
    "a model file that is not there": (["convert", "absent.keras", "out"], "absent.keras"),
    "a report of nothing": (["report", "--from", "absent"], "absent"),
    "a comparison of nothing": (["compare"], "at least one"),
    "a data folder without the files": (["train", "convnet", "--dataset", "mnist", "--data-dir", "."], "train-images"),
    "an unknown engine": (["baseline", "convnet", "--engine", "onnx"], 'did you mean "onnxruntime"'),
    "a sweep file that is not there": (["sweep", "absent.toml"], "absent.toml"),
    "two folders that are no projects": (["diff", ".", "."], "project"),
    "an unknown benchmark": (["bench", "emulater"], 'did you mean "emulator"'),
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_message_and_exit_code_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert exit_code(arguments) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert "Traceback" not in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (StoreError("the disk is full"), 2, "the disk is full"),
        (OSError(28, "No space left on device"), 2, "No space left"),
        (MemoryError(), 2, "not enough memory"),
    ],
    ids=["ctrl-c", "store", "disk", "memory"],
)
def test_what_can_go_wrong_anywhere(
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken() -> None:
        raise error

    monkeypatch.setattr("toolkit.doctor.diagnose", broken)
    assert exit_code(["doctor"]) == code
    assert message in capsys.readouterr().err


def test_inputs_that_are_no_numbers_are_refused_without_unpickling(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from toolkit.cli.inputs import read_inputs
    from toolkit.errors import DataError

    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match=r"x\.npy"):
        read_inputs(tmp_path / "x.npy", None, None, None)
