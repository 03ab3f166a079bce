"""The only module that starts other programs.

Programs are argv lists, never shell strings; every run has a working directory, a time limit
and, if asked, a log file that keeps what the program printed. They live in a process group that ends
with this process, even if it is killed; a program that ends well without the files it was to make has
failed.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from toolkit.errors import ProcessError, ToolNotFound

# What each program brings; shown when it is missing, and by ``toolkit doctor``.
TOOL_PURPOSE = {
    "g++": "compiles the HLS C++ for csim (Debian: apt-get install g++)",
    "vitis-run": "Vitis HLS 2024.1 and later: measured csynth, cosim and vsynth in place of estimates",
    "vitis_hls": "Vitis HLS 2020.2 to 2023.2: measured csynth, cosim and vsynth in place of estimates",
    "vivado_hls": "Vivado HLS up to 2020.1: measured csynth, cosim and vsynth in place of estimates",
    "vivado": "Vivado: logic synthesis and place-and-route figures",
    "nvidia-smi": "an NVIDIA GPU: training and baselines on it",
    "unshare": "runs csim of a stranger's C++ in a sandbox, as bubblewrap does (Debian: apt-get install bubblewrap)",
    "chromium": "headless browser: the browser tests of the HTML report",
}


@dataclass(frozen=True)
class Completed:
    """A program that ended with return code 0: its command, output (stdout and stderr) and seconds."""

    command: tuple[str, ...]
    output: str
    seconds: float


def cores() -> int:
    """Cores this process may use: ``$TOOLKIT_THREADS``, which sweeps set in their workers, else its CPU affinity."""
    if asked := os.environ.get("TOOLKIT_THREADS"):
        return max(1, int(asked))
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def find_tool(name: str) -> Path | None:
    """Path of a program: ``$TOOLKIT_<NAME>`` if set (``g++`` is ``TOOLKIT_GXX``), else PATH."""
    override = os.environ.get(override_variable(name))
    found = shutil.which(override or name)
    return Path(found) if found else None


def require_tool(name: str) -> Path:
    """Like :func:`find_tool`; raises ``ToolNotFound`` with where it looked and the override."""
    found = find_tool(name)
    if found is None:
        variable = override_variable(name)
        asked = os.environ.get(variable)
        where = f'{variable}="{asked}"' if asked else "PATH"
        raise ToolNotFound(
            f"{name} is needed: {TOOL_PURPOSE.get(name, 'an external program')}; "
            f"not found through {where}; set {variable} to point at it"
        )
    return found


def override_variable(name: str) -> str:
    """Environment variable that overrides where a program is: ``g++`` -> ``TOOLKIT_GXX``."""
    return "TOOLKIT_" + name.upper().replace("+", "X").replace("-", "_")


# Waits for a line that never comes; when its standard input ends because the process that holds the other
# end is gone, it ends its whole group. Told to leave, it leaves alone.
GUARD = "read -r _ || kill -KILL 0"


@contextmanager
def process_group() -> Iterator[int]:
    """A process group for programs, ended whole when the block ends badly or this process dies, however it dies."""
    guard = subprocess.Popen(
        ["/bin/sh", "-c", GUARD],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        yield guard.pid
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(guard.pid, signal.SIGKILL)
        raise
    finally:
        with contextlib.suppress(BrokenPipeError):
            guard.communicate(b"leave\n")


class Terminated(KeyboardInterrupt):
    """This process was asked to end: what is in hand is put in order, as after Ctrl-C."""


@dataclass
class Ending:
    """Whether a block was ended by a signal, and by which."""

    number: int | None = None

    def exit_code(self, otherwise: int) -> int:
        """``128 + signal``, as shells report it."""
        return otherwise if self.number is None else 128 + self.number


@contextmanager
def ending_in_order() -> Iterator[Ending]:
    """Within the block, SIGTERM (of Slurm, systemd, ``kill``) and SIGHUP raise :class:`Terminated`, once.

    Signals that somebody else handles or ignores stay as they are (``nohup`` ignores SIGHUP).
    """
    ending = Ending()

    def end(number: int, frame: FrameType | None) -> None:
        for each in changed:
            signal.signal(each, signal.SIG_IGN)  # a second one must not disturb the tidying
        ending.number = number
        raise Terminated(f"ended by {signal.Signals(number).name}")

    here = threading.current_thread() is threading.main_thread()
    changed = [each for each in (signal.SIGTERM, signal.SIGHUP) if here and signal.getsignal(each) == signal.SIG_DFL]
    try:
        for each in changed:
            signal.signal(each, end)
        yield ending
    finally:
        for each in changed:
            signal.signal(each, signal.SIG_DFL)


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    timeout_s: float = 3600.0,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    makes: Sequence[str | Path] = (),
) -> Completed:
    """Run a program to its end and return what it printed.

    ``env`` is added to the current environment; ``makes`` are the files, relative to ``cwd``, that it
    must leave. The program gets its own process group, which is ended whole when the time limit passes,
    the user interrupts or this process is killed. Raises ``ProcessError`` with command, return code and
    the last lines of output when it fails, runs out of time or leaves a file missing or empty.
    """
    return run_many([command], jobs=1, cwd=cwd, timeout_s=timeout_s, log=log, env=env, makes=[makes])[0]


@dataclass(frozen=True)
class Running:
    """A program that has been started: which of the commands, its process, where it prints, since when."""

    index: int
    argv: tuple[str, ...]
    child: subprocess.Popen[bytes]
    output: IO[bytes]
    begun: float

    def text(self) -> str:
        """What it has printed so far."""
        self.output.seek(0)
        return self.output.read().decode(errors="replace")


def run_many(
    commands: Sequence[Sequence[str | Path]],
    *,
    jobs: int,
    cwd: Path | None = None,
    timeout_s: float = 3600.0,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    makes: Sequence[Sequence[str | Path]] = (),
) -> list[Completed]:
    """Run programs, ``jobs`` at a time, each to its end; returns them in the order given.

    The first failure, the time limit (for all together) or an interrupt ends every program still
    running. ``makes`` are the files each must leave. Raises ``ProcessError`` as :func:`run` does;
    ``log`` keeps the output of the last one.
    """
    waiting = [(index, tuple(str(part) for part in command)) for index, command in enumerate(commands)]
    running: list[Running] = []
    done: dict[int, Completed] = {}
    deadline = time.monotonic() + timeout_s
    try:
        with contextlib.ExitStack() as open_files, process_group() as group:
            while waiting or running:
                while waiting and len(running) < max(jobs, 1):
                    index, argv = waiting.pop(0)
                    output = open_files.enter_context(tempfile.TemporaryFile())
                    running.append(Running(index, argv, start(argv, output, cwd, env, group), output, time.monotonic()))
                for item in [item for item in running if item.child.poll() is not None]:
                    running.remove(item)
                    done[item.index] = finish(item, log, cwd, makes[item.index] if makes else ())
                if running and time.monotonic() > deadline:
                    keep_log(log, running[0].argv, running[0].text())
                    raise ProcessError(
                        describe(running[0].argv, f"ran longer than {timeout_s:g} s", running[0].text(), log)
                    )
                wait_for_any(running)
    finally:
        for item in running:
            item.child.wait()  # its group was ended
    return [done[index] for index in sorted(done)]


def wait_for_any(running: Sequence[Running], poll_s: float = 0.01) -> None:
    """Until one of the programs has ended, or a moment has passed."""
    if running:
        with contextlib.suppress(subprocess.TimeoutExpired):
            running[0].child.wait(poll_s)


def start(
    argv: tuple[str, ...], output: IO[bytes], cwd: Path | None, env: Mapping[str, str] | None, group: int
) -> subprocess.Popen[bytes]:
    """Start a program in a process group, writing to an open file."""
    try:
        return subprocess.Popen(
            argv,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=group,
        )
    except OSError as error:
        raise ProcessError(f"cannot start {shlex.join(argv)}: {error.strerror or error}") from error


def finish(ended: Running, log: Path | None, cwd: Path | None, makes: Sequence[str | Path]) -> Completed:
    """What an ended program printed; raises ``ProcessError`` when it failed or did not make what it was to make."""
    text = ended.text()
    keep_log(log, ended.argv, text)
    code = ended.child.returncode
    if code != 0:
        raise ProcessError(describe(ended.argv, f"return code {code}", text, log))
    files = [(cwd or Path()) / name for name in makes]
    missing = [str(path) for path in files if not path.is_file() or path.stat().st_size == 0]
    if missing:
        raise ProcessError(describe(ended.argv, f"return code 0, but it did not write {', '.join(missing)}", text, log))
    return Completed(ended.argv, text, time.monotonic() - ended.begun)


def keep_log(log: Path | None, argv: Sequence[str], output: str) -> None:
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"$ {shlex.join(argv)}\n{output}")


def describe(argv: Sequence[str], what: str, output: str, log: Path | None, lines: int = 20) -> str:
    """The message of a failed program: command, what happened, its last lines, where the log is."""
    tail = "\n".join("    " + line for line in output.strip().splitlines()[-lines:])
    where = f"\n  whole output: {log}" if log else ""
    return f"{what}: {shlex.join(argv)}\n{tail or '    (no output)'}{where}"


# Read-only everywhere but in one folder; what the kernel mounts for itself may refuse, it holds no files.
READ_ONLY = """
mount --bind "$1" "$1" || exit 125
while read -r _ _ _ _ place flags _; do
    case "$place" in "$1" | /proc | /proc/* | /sys | /sys/* | /dev | /dev/*) continue ;; esac
    mount -o "remount,bind,ro,$flags" "$place" || { echo "sandbox: $place cannot be made read-only" >&2; exit 125; }
done <<MOUNTS
$(sed -E 's/^(([^ ]+ ){5})r[ow]/\\1ro/' /proc/self/mountinfo)
MOUNTS
shift
exec "$@"
"""


def sandboxed(command: Sequence[str | Path], writable: Path) -> list[str]:
    """``command`` without network, without sight of other processes, and with one folder it can write to.

    It reads what the user may read. Uses bubblewrap, else ``unshare`` with a user namespace; raises
    ``ToolNotFound`` where there is neither.
    """
    wanted = [str(part) for part in command]
    if bubblewrap := find_tool("bwrap"):
        mounts = ["--ro-bind", "/", "/", "--dev-bind", "/dev", "/dev", "--proc", "/proc"]
        own = ["--bind", str(writable), str(writable), "--unshare-all", "--die-with-parent"]
        return [str(bubblewrap), *mounts, *own, *wanted]
    unshare = require_tool("unshare")
    spaces = ["--user", "--map-root-user", "--net", "--ipc", "--mount", "--pid", "--mount-proc"]
    script = ["/bin/sh", "-c", READ_ONLY, "sandbox", str(writable)]
    return [str(unshare), *spaces, "--fork", "--kill-child", *script, *wanted]


def run_in_sandbox(command: Sequence[str | Path], writable: Path, env: Mapping[str, str]) -> int:
    """Run a program :func:`sandboxed`, with this one's input and output; its exit code."""
    try:
        return subprocess.call(sandboxed(command, writable), env={**os.environ, **env, "TMPDIR": str(writable)})
    except OSError as error:
        raise ProcessError(f"the sandbox cannot be started: {error.strerror or error}") from error
