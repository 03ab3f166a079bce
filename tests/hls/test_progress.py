"""What csim tells while it runs: a bar on a terminal, few lines elsewhere, none from workers."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from rich.console import Console

from toolkit.hls import progress
from toolkit.hls.progress import counting, lines


def told(terminal: bool, **settings: Any) -> str:
    written = io.StringIO()
    with counting("csim", 40, Console(file=written, force_terminal=terminal, width=80, **settings)) as tell:
        for done in range(8, 41, 8):
            tell(done, 40)
    return written.getvalue()


def test_a_bar_on_a_terminal() -> None:
    assert "40/40" in told(True)


def test_nothing_elsewhere_when_it_is_short() -> None:
    assert told(False) == ""


def test_lines_elsewhere_when_it_is_long() -> None:
    written = io.StringIO()
    tell = lines("csim", Console(file=written, width=80), seconds_between=0.0)
    tell(1200, 10_000)
    assert written.getvalue() == "csim: 1,200 of 10,000 images\n"


def test_workers_say_nothing(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "parent_process", lambda: object())
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    with counting("csim", 8) as tell:
        tell(8, 8)
    assert capfd.readouterr().err == ""


def test_long_work_says_where_it_is_and_what_took_the_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "FIRST_LINE_S", 0.2)
    monkeypatch.setattr(progress, "BETWEEN_LINES_S", 0.2)
    monkeypatch.setattr(progress, "TOLD_S", 0.0)
    with progress.underway("converting large"):
        with progress.underway("reading"):
            time.sleep(0.01)
        with progress.underway("passes"):
            time.sleep(0.5)
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("converting large: passes, ")
    assert told[-1].startswith("converting large took ") and told[-1].index("passes") < told[-1].index("reading")


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.underway("converting small"):
        pass
    assert capsys.readouterr().err == ""
