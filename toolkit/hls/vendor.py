"""Running Vitis HLS or Vivado HLS on a project, where one is installed: timeout, log, resume.

The project itself is left as it is: the tool works on a copy in a folder named by the project's
digest, the tool and the steps before, so a run that was interrupted or ran out of time goes on with
the first step that has not ended.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import ConfigError, ProcessError, ReportError, StoreError, ToolNotFound
from toolkit.hls.reports import VendorReports, read_reports
from toolkit.process import find_tool, override_variable, run
from toolkit.records import HlsProject
from toolkit.store import digest, read_json, set_aside, store_root, tell, write_json, write_text

STEPS = ("csim", "csynth", "cosim", "export", "vsynth")
# hls4ml's names of the steps in build_opt.tcl and on the command line of build_prj.tcl.
SCRIPT_NAMES = {"csim": "csim", "csynth": "synth", "cosim": "cosim", "export": "export", "vsynth": "vsynth"}
SWITCHES = ("reset", "csim", "synth", "cosim", "validation", "export", "vsynth", "fifo_opt")
TOOLS = {"Vitis": ("vitis-run", "vitis_hls"), "Vivado": ("vivado_hls",)}
STATE = "synthesis.json"
# What a tool makes, and what the toolkit keeps of its own, is not copied.
NOT_COPIED = shutil.ignore_patterns("*_prj", "build", "toolkit", "golden", "*.log", "*.so")


@dataclass(frozen=True)
class SynthesisRecord:
    """What a vendor tool made of a project: reports, where it ran, which steps, and how long each took."""

    reports: VendorReports
    folder: Path
    tool: str
    steps: tuple[str, ...]
    seconds: dict[str, float]


def find_vendor_tool(backend: str) -> tuple[str, Path]:
    """The HLS tool for a backend: its name and path.

    Raises ``ToolNotFound`` naming what was looked for and the variables that override it.
    """
    for name in TOOLS[backend]:
        path = find_tool(name)
        if path is not None:
            return name, path
    looked = ", ".join(TOOLS[backend])
    variables = ", ".join(override_variable(name) for name in TOOLS[backend])
    raise ToolNotFound(
        f"synthesis needs {' or '.join(TOOLS[backend])} for a {backend} project, not found (PATH: {looked}); "
        f"source the tool's settings64.sh or set {variables}; without it, toolkit estimate needs no vendor tool"
    )


def synthesize(
    project: HlsProject,
    *,
    steps: Sequence[str] = ("csynth",),
    timeout_s: float = 6 * 3600.0,
    folder: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> SynthesisRecord:
    """Run the vendor tool's steps on a copy of the project and read their reports.

    ``steps`` are any of csim, csynth, cosim, export, vsynth; csynth comes first where a later one
    needs it. ``timeout_s`` is per step. Steps that have ended in ``folder`` (default: in the
    artifact store) are not run again. ``progress`` hears each step's name before it runs. Raises
    ``ConfigError`` for an unknown step, ``ToolNotFound``, ``ProcessError`` with the tool's last lines
    and the log's path, or ``ReportError`` when a report lacks what it must hold.
    """
    wanted = ordered_steps(steps)
    name, tool = find_vendor_tool(project.config.backend)
    work = folder or store_root() / "synthesis" / digest(project.digest, str(tool))
    state = prepare(project, work)
    done_before = set(wanted) <= set(state)
    for step in wanted:
        if step in state:
            continue
        if progress is not None:
            progress(step)
        seconds = run_step(name, tool, work, step, timeout_s, first=not state)
        if step == "csynth":
            read_reports(work)  # a tool that ends well without a report has synthesized nothing
        state[step] = seconds
        write_json(work / STATE, {"digest": project.digest, "tool": name, "seconds": state})
    try:
        return SynthesisRecord(read_reports(work), work, name, wanted, dict(state))
    except ReportError as error:
        if not done_before:
            raise
        set_aside(work, work.parent if folder else store_root(), str(error))
    return synthesize(project, steps=steps, timeout_s=timeout_s, folder=folder, progress=progress)


def ordered_steps(steps: Sequence[str]) -> tuple[str, ...]:
    """The steps in the tool's order, csynth included where another needs it."""
    unknown = sorted(set(steps) - set(STEPS))
    if unknown or not steps:
        raise ConfigError(f"synthesis steps must be among {', '.join(STEPS)}, got {', '.join(unknown) or 'none'}")
    needed = set(steps) | ({"csynth"} if set(steps) - {"csim", "csynth"} else set())
    return tuple(step for step in STEPS if step in needed)


def prepare(project: HlsProject, work: Path) -> dict[str, float]:
    """Copy the project where the tool will work, unless a run of the same project is there; seconds of ended steps."""
    state = work / STATE
    if state.is_file() and (content := state_of(state)) is not None:
        if content.get("digest") == project.digest:
            return {step: float(seconds) for step, seconds in content["seconds"].items()}
        raise StoreError(
            f"{work} holds a synthesis of another project (digest {content.get('digest')}); use another folder"
        )
    if not (project.path / "build_prj.tcl").is_file():
        raise StoreError(f"{project.path} has no build_prj.tcl; write the project again")
    shutil.copytree(project.path, work, ignore=NOT_COPIED, dirs_exist_ok=True)
    return {}


def state_of(path: Path) -> dict[str, Any] | None:
    """What a run has noted of its ended steps; None when the note is damaged, and the tool begins anew."""
    try:
        content = read_json(path)
        return content if isinstance(content["digest"], str) and isinstance(content["seconds"], dict) else None
    except (StoreError, KeyError, TypeError):
        tell(f"{path} was damaged; its steps are run again")
        return None


def run_step(name: str, tool: Path, work: Path, step: str, timeout_s: float, *, first: bool) -> float:
    """Run one step; a failure or timeout raises ``ProcessError`` that says how to go on."""
    switches = {switch: switch == SCRIPT_NAMES[step] or (switch == "reset" and first) for switch in SWITCHES}
    command = step_command(name, tool, work, switches)
    try:
        return run(command, cwd=work, timeout_s=timeout_s, log=work / f"{step}.log").seconds
    except ProcessError as error:
        raise ProcessError(f"{step} did not end: {error}\n  the same call goes on with this step in {work}") from error


def step_command(name: str, tool: Path, work: Path, switches: dict[str, bool]) -> list[str | Path]:
    """The command line that runs ``build_prj.tcl`` with these switches.

    The Vitis backend's script reads them from ``build_opt.tcl``, the Vivado backend's from its arguments.
    """
    numbers = {switch: int(on) for switch, on in switches.items()}
    if name == "vivado_hls":
        return [tool, "-f", "build_prj.tcl", " ".join(f"{switch}={number}" for switch, number in numbers.items())]
    lines = "".join(f"    {switch:<10} {number}\n" for switch, number in numbers.items())
    write_text(work / "build_opt.tcl", f"array set opt {{\n{lines}}}\n")
    if name == "vitis-run":
        return [tool, "--mode", "hls", "--tcl", "build_prj.tcl"]
    return [tool, "-f", "build_prj.tcl"]
