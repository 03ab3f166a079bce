"""What surrounds the program: its locale, its outputs, its limits. A message, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ENVIRONMENTS = {
    "locale C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ASCII": {"PYTHONIOENCODING": "ascii"},
}


def shell(command: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A line for the shell with ``toolkit`` in it."""
    line = command.replace("toolkit", f"'{sys.executable}' -m toolkit")
    return subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, env={**os.environ, **(env or {})})


@pytest.mark.parametrize("env", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_outputs_that_know_few_characters(env: dict[str, str]) -> None:
    done = shell("toolkit parts; toolkit parts no\u00b5such", env)
    assert "no part or board matches" in done.stderr
    assert "xc7z020" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("toolkit parts >&-", "standard output is closed"),
        ("toolkit parts > /dev/full", "No space left on device"),
        ("ulimit -n 7; toolkit parts", ""),
        ("ulimit -v 150000; toolkit parts", ""),
    ],
)
def test_outputs_and_limits(command: str, told: str) -> None:
    done = shell(command)
    assert told in done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == (2 if told else 0) or done.stderr
