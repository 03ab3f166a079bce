"""The one door to other programs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.errors import ProcessError, ToolNotFound
from toolkit.process import require_tool, run, run_in_sandbox


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


@pytest.mark.parametrize("left", ["", "touch made;"], ids=["nothing", "an empty file"])
def test_a_program_that_makes_nothing_has_failed(left: str, tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match=r"return code 0, but it did not write .*made[\s\S]*all is well"):
        run(["sh", "-c", f"{left} echo all is well"], cwd=tmp_path, makes=["made"])


CHILDREN = "import subprocess, sys, time; subprocess.run(['sh', '-c', 'sleep 98.{0} & sleep 98.{0}'])"
PARENT = """
import os
import signal
import subprocess
import sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # who runs these tests may ignore it
from toolkit.process import ending_in_order, run_many
with ending_in_order() as ending:
    try:
        run_many([[sys.executable, "-c", sys.argv[1]]] * 2, jobs=2)
    except KeyboardInterrupt:
        print("in order", flush=True)
sys.exit(ending.exit_code(0))
"""


def sleepers(mark: int) -> list[str]:
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if readable(path)]
    return [str(command) for command in commands if f"98.{mark}".encode() in command and b"sleep\0" in command]


def readable(path: Path) -> bool:
    try:
        return bool(path.read_bytes())
    except OSError:
        return False


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not come to that in time"
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGKILL, -9, ""), (signal.SIGTERM, 143, "in order\n"), (signal.SIGHUP, 129, "in order\n")],
    ids=["SIGKILL", "SIGTERM", "SIGHUP"],
)
def test_however_we_end_no_program_of_ours_goes_on(number: signal.Signals, code: int, said: str) -> None:
    mark = os.getpid() * 100 + number
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILDREN.format(mark)], stdout=subprocess.PIPE, text=True, process_group=0
    )
    until(lambda: len(sleepers(mark)) == 4)
    parent.send_signal(number)
    assert parent.communicate(timeout=30)[0] == said
    assert parent.returncode == code
    until(lambda: not sleepers(mark))


HOSTILE = """
echo written > "$1/inside"
echo written > "$2/outside" 2>/dev/null && echo "wrote outside"
grep -q : /proc/net/dev && tail -n +3 /proc/net/dev | grep -v lo: && echo "sees a network"
kill -0 "$3" 2>/dev/null && echo "sees other processes"
exit 7
"""


def test_a_sandbox_confines_what_runs_in_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    command = ["/bin/sh", "-c", HOSTILE, "hostile", own, other, str(os.getpid())]
    code = run_in_sandbox(command, own, {})
    said = capfd.readouterr()
    if code in (1, 125) and "unshare" in said.err + said.out:
        pytest.skip(f"no sandbox here: {said.err.strip()}")
    assert (code, said.out) == (7, ""), said
    assert (own / "inside").read_text() == "written\n"
    assert list(other.iterdir()) == []


def test_without_a_sandbox_nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOOLKIT_BWRAP", "/nowhere/bwrap")
    monkeypatch.setenv("TOOLKIT_UNSHARE", "/nowhere/unshare")
    with pytest.raises(ToolNotFound, match="bubblewrap"):
        run_in_sandbox(["touch", tmp_path / "made"], tmp_path, {})
    assert list(tmp_path.iterdir()) == []
