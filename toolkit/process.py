"""The only module that starts other programs.

Programs are argv lists, never shell strings; every run has a working directory, a time limit
and, if asked, a log file that keeps what the program printed.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from toolkit.errors import ProcessError, ToolNotFound

# What each program brings; shown when it is missing, and by ``toolkit doctor``.
TOOL_PURPOSE = {
    "g++": "compiles the HLS C++ for csim (Debian: apt-get install g++)",
    "vitis-run": "Vitis HLS 2024.1 and later: measured csynth, cosim and vsynth in place of estimates",
    "vitis_hls": "Vitis HLS 2020.2 to 2023.2: measured csynth, cosim and vsynth in place of estimates",
    "vivado_hls": "Vivado HLS up to 2020.1: measured csynth, cosim and vsynth in place of estimates",
    "vivado": "Vivado: logic synthesis and place-and-route figures",
    "nvidia-smi": "an NVIDIA GPU: training and baselines on it",
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


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    timeout_s: float = 3600.0,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Completed:
    """Run a program to its end and return what it printed.

    ``env`` is added to the current environment. The program gets its own process group, which
    is ended whole when the time limit passes or the user interrupts. Raises ``ProcessError``
    with command, return code and the last lines of output when it fails or runs out of time.
    """
    argv = tuple(str(part) for part in command)
    begun = time.perf_counter()
    try:
        child = subprocess.Popen(
            argv,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise ProcessError(f"cannot start {shlex.join(argv)}: {error.strerror or error}") from error
    try:
        output, _ = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        end_group(child)
        output = child.communicate()[0]
        keep_log(log, argv, output)
        raise ProcessError(describe(argv, f"ran longer than {timeout_s:g} s", output, log)) from None
    except BaseException:
        end_group(child)
        raise
    keep_log(log, argv, output)
    if child.returncode != 0:
        raise ProcessError(describe(argv, f"return code {child.returncode}", output, log))
    return Completed(argv, output, time.perf_counter() - begun)


def run_many(
    commands: Sequence[Sequence[str | Path]],
    *,
    jobs: int,
    cwd: Path | None = None,
    timeout_s: float = 3600.0,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> list[Completed]:
    """Run programs, ``jobs`` at a time, each to its end; returns them in the order given.

    The first failure, the time limit (for all together) or an interrupt ends every program still
    running. Raises ``ProcessError`` as :func:`run` does; ``log`` keeps the output of the failed one.
    """
    waiting = [(index, tuple(str(part) for part in command)) for index, command in enumerate(commands)]
    running: dict[int, tuple[subprocess.Popen[bytes], IO[bytes], tuple[str, ...], float]] = {}
    done: dict[int, Completed] = {}
    deadline = time.monotonic() + timeout_s
    try:
        while waiting or running:
            while waiting and len(running) < max(jobs, 1):
                index, argv = waiting.pop(0)
                output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - open until the program ends
                running[index] = (start(argv, output, cwd, env), output, argv, time.monotonic())
            for index in [index for index, (child, *_) in running.items() if child.poll() is not None]:
                child, output, argv, begun = running.pop(index)
                done[index] = finish(child.returncode, output, argv, time.monotonic() - begun, log)
            if running and time.monotonic() > deadline:
                argv = next(iter(running.values()))[2]
                raise ProcessError(describe(argv, f"ran longer than {timeout_s:g} s", "", log))
            time.sleep(0.01)
    finally:
        for child, output, *_ in running.values():
            end_group(child)
            output.close()
    return [done[index] for index in sorted(done)]


def start(
    argv: tuple[str, ...], output: IO[bytes], cwd: Path | None, env: Mapping[str, str] | None
) -> subprocess.Popen[bytes]:
    """Start a program in its own process group, writing to an open file."""
    try:
        return subprocess.Popen(
            argv,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        output.close()
        raise ProcessError(f"cannot start {shlex.join(argv)}: {error.strerror or error}") from error


def finish(code: int, output: IO[bytes], argv: tuple[str, ...], seconds: float, log: Path | None) -> Completed:
    """Read what an ended program printed; raises ``ProcessError`` when it failed."""
    with output:
        output.seek(0)
        text = output.read().decode(errors="replace")
    if code != 0:
        keep_log(log, argv, text)
        raise ProcessError(describe(argv, f"return code {code}", text, log))
    return Completed(argv, text, seconds)


def end_group(child: subprocess.Popen[Any]) -> None:
    """Kill a program and everything it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def keep_log(log: Path | None, argv: Sequence[str], output: str) -> None:
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"$ {shlex.join(argv)}\n{output}")


def describe(argv: Sequence[str], what: str, output: str, log: Path | None, lines: int = 20) -> str:
    """The message of a failed program: command, what happened, its last lines, where the log is."""
    tail = "\n".join("    " + line for line in output.strip().splitlines()[-lines:])
    where = f"\n  whole output: {log}" if log else ""
    return f"{what}: {shlex.join(argv)}\n{tail or '    (no output)'}{where}"
