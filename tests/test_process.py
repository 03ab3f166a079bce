"""The one door to other programs."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from toolkit.errors import ProcessError, ToolNotFound
from toolkit.process import require_tool, run


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_output_and_log_are_kept(tmp_path: Path) -> None:
    done = run(python("import sys; print('out'); print('err', file=sys.stderr)"), log=tmp_path / "log")
    assert sorted(done.output.split()) == ["err", "out"]
    assert "out" in (tmp_path / "log").read_text()


def test_a_failure_shows_command_code_and_last_words() -> None:
    with pytest.raises(ProcessError, match=r"return code 3.*-c[\s\S]*last words"):
        run(python("print('last words'); raise SystemExit(3)"))


def test_a_time_limit_ends_the_program_and_its_children() -> None:
    begun = time.monotonic()
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    with pytest.raises(ProcessError, match="longer than 1 s"):
        run(python(code), timeout_s=1)
    assert time.monotonic() - begun < 20


def test_a_missing_program_says_where_we_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ToolNotFound, match=r"g\+\+ is needed.*PATH.*TOOLKIT_GXX"):
        require_tool("g++")


def test_the_override_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_GXX", sys.executable)
    assert require_tool("g++") == Path(sys.executable)
