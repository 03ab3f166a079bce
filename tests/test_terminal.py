"""The program in a shell: version, completion, help, pipes, signals; and the package in Python, as quiet."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import toolkit as tk
from toolkit.cli import app, exit_code
from toolkit.cli.output import show_table

LIKE_A_SHELL = "import sys; sys.argv[0] = 'toolkit'; from toolkit.cli import main; main()"


def run(script: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, env={**os.environ, **env}
    )


def test_the_version_is_told_by_program_and_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["--version"]) == 0
    assert capsys.readouterr().out.split() == ["toolkit", tk.__version__]


def words(text: str) -> str:
    return " ".join(text.replace("\n", " ").split())


@pytest.mark.parametrize("name", [command.callback.__name__ for command in app.registered_commands if command.callback])
def test_help_loses_nothing_to_markup(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code([name, "--help"]) == 0
    shown = words(capsys.readouterr().out)
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    assert words(command.help.split("\f")[0]) in shown
    for parameter in command.params:
        assert words(getattr(parameter, "help", None) or "") in shown


def test_the_list_of_commands_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["--help"]) == 0
    assert "..." not in capsys.readouterr().out.partition("Commands:")[2]


def test_completion_is_installed_and_completes(tmp_path: Path) -> None:
    told = {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = run(LIKE_A_SHELL, "--install-completion", "bash", **told)
    assert done.returncode == 0, done.stderr
    assert "bash_completions/toolkit.sh" in (tmp_path / ".bashrc").read_text()
    done = run(LIKE_A_SHELL, _TOOLKIT_COMPLETE="complete_bash", COMP_WORDS="toolkit est", COMP_CWORD="1")
    assert done.stdout.split() == ["estimate"]


def test_what_is_piped_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    long = "a long word of no end " * 20
    show_table("title " * 30, ("first", "second"), [(long, long)])
    printed = capsys.readouterr().out
    assert f"{long.strip()} │ {long.strip()}" in printed.replace("  ", " ").replace("  ", " ")
    assert ("title " * 30).strip() in printed


WAITING = """
import time
from toolkit.cli.app import app, main

@app.command()
def wait() -> int:
    print("ready", flush=True)
    time.sleep(60)
    return 0

main()
"""
ENDING = """
import atexit, sys, time
from toolkit.cli.app import app, main

@app.command()
def end() -> int:
    atexit.register(lambda: (print("ready", flush=True), time.sleep(60)))
    return 0

main()
"""


def signalled(script: str, command: str, number: signal.Signals) -> tuple[int, str]:
    """Exit code and standard error of a program that gets a signal when it says that it is ready."""
    with subprocess.Popen(
        [sys.executable, "-c", script, command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(number)
        _, said = child.communicate(timeout=30)
    return child.returncode, said


@pytest.mark.parametrize(
    ("number", "code", "begin"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "ended by SIGTERM")],
    ids=["ctrl-c", "sigterm"],
)
def test_an_interrupt_is_one_line(number: signal.Signals, code: int, begin: str) -> None:
    kept = "what was finished is kept, the same command continues"
    assert signalled(WAITING, "wait", number) == (code, f"{begin}; {kept}\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_an_interrupt_after_the_end_changes_nothing(number: signal.Signals) -> None:
    assert signalled(ENDING, "end", number) == (0, "")


def test_a_sweep_that_is_interrupted_says_what_is_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped() -> None:
        raise KeyboardInterrupt("interrupted; 3 of 9 points are kept")

    monkeypatch.setattr("toolkit.doctor.diagnose", stopped)
    assert exit_code(["doctor"]) == 130
    assert capsys.readouterr().err == "interrupted; 3 of 9 points are kept\n"


QUIET = """
import toolkit as tk

dataset = tk.load_dataset("synthetic", shape=(4, 4, 1), counts=(64, 16, 16))
import keras

model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(4, name="logits")])
for epochs in (1, 0, 0, 0, 0, 0):  # TensorFlow advises against so many traces
    tk.train(model, dataset, tk.TrainConfig(epochs=epochs, progress=False))
quantized = tk.quantize(model, tk.QuantConfig(), dataset)
import sys
project = tk.write_project(quantized, tk.HlsConfig(), sys.argv[1] + "/project", inputs=dataset.inputs("test", 2))
quantized.save(sys.argv[1] + "/model.h5")
tk.load_model(sys.argv[1] + "/model.h5")
tk.check(project, quantized, dataset.inputs("test", 4), library=tk.emulate(project))
"""


def test_the_package_is_as_quiet_as_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)  # which these tests set for themselves
    done = run(QUIET, str(tmp_path), TOOLKIT_STORE=str(tmp_path / "store"))
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")
