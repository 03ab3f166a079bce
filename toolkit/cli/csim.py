"""`toolkit csim` and `toolkit check`: the bits of a project."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from toolkit.cli.app import AsJson, Count, DataDir, DataName, ProjectPath, app, command_line
from toolkit.cli.inputs import open_model, read_inputs, write_array
from toolkit.cli.output import print_alarm, print_json, say, show_figures, show_findings, show_table, tell

if TYPE_CHECKING:
    from toolkit.cli.answers import Csim
    from toolkit.records import CheckResult, LayerError, LayerProfile

Sandboxed = Annotated[
    bool, typer.Option("--sandbox", help="Without network or files to write, in bubblewrap or unshare.")
]

INSIDE = "TOOLKIT_INSIDE_SANDBOX"  # set for the command that runs in one

WITHOUT_VECTORS = "bits and ranges: the project holds no test vectors (tb_data); name images with --dataset or --inputs"


@app.command()
def csim(
    project: ProjectPath,
    dataset: DataName = None,
    data_dir: DataDir = None,
    count: Count = None,
    inputs: Annotated[Path | None, typer.Option(help="Float inputs [n, ...] in a .npy file.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the outputs to this .npy file.")] = None,
    emulated: Annotated[bool, typer.Option("--emulate", help="Use the emulator: the same bits, no compiler.")] = False,
    sandbox: Sandboxed = False,
    as_json_: AsJson = False,
) -> int:
    """Compile a project's C++ and run it on images, or on its own test vectors when none are named.

    That C++ runs with your rights: of a stranger's folder, use --emulate or --sandbox. A project without
    vectors is compiled, and that is said.
    """
    if sandbox and not emulated:
        return again_in_sandbox(out)
    from toolkit.cli.answers import Csim
    from toolkit.comparison import evaluate_outputs
    from toolkit.emulation import emulate
    from toolkit.hls import build_csim, check_vectors, holds_vectors, open_project

    opened = open_project(project)
    x, judge_by = read_inputs(inputs, dataset, data_dir, count)
    engine = "emulation" if emulated else "csim"
    if not emulated:
        warn_of_foreign(project)
    library = emulate(opened) if emulated else build_csim(opened)
    answer = Csim(opened.path, opened.digest, engine, 0 if x is None else len(x))
    if x is None and not holds_vectors(opened):
        answer = replace(answer, not_checked=(WITHOUT_VECTORS,))
    elif x is None:
        answer = replace(answer, checks=tuple(check_vectors(opened, library, engine)))
    else:
        outputs = library.predict(x)
        if judge_by is not None:
            answer = replace(answer, figures=evaluate_outputs(judge_by, library, outputs, count).figures)
        if out:
            write_array(out, outputs)
            answer = replace(answer, outputs=out)
    print_json(answer) if as_json_ else show_csim(answer)
    return 1 if answer.failed else 0


def show_csim(answer: Csim) -> None:
    """What was run, its comparisons, figures and outputs, and what was not checked."""
    tell(f"{answer.project}: {answer.engine} is built" + (f", {answer.images:,} inputs run" if answer.images else ""))
    show_checks(answer.checks)
    if answer.figures:
        show_figures(answer.engine, dict(answer.figures))
    if answer.outputs:
        tell(f"outputs: {answer.outputs}")
    for line in answer.not_checked:
        tell(f"not checked: {line}")


@app.command()
def check(
    project: ProjectPath,
    model: Annotated[Path | None, typer.Option(help="The QKeras model: a .keras file, .h5 or trained folder.")] = None,
    dataset: DataName = None,
    data_dir: DataDir = None,
    count: Annotated[int, typer.Option(min=1, help="Test images to compare on.")] = 100,
    inputs: Annotated[Path | None, typer.Option(help="Float inputs [n, ...] in a .npy file.")] = None,
    emulated: Annotated[bool, typer.Option("--emulate", help="Leave csim out; no compiler needed.")] = False,
    by_csim: Annotated[
        bool, typer.Option("--csim", help="Compile and run the C++ of a folder that toolkit did not write as well.")
    ] = False,
    sandbox: Sandboxed = False,
    as_json_: AsJson = False,
) -> int:
    """Findings before synthesis and, with images, layer ranges and the bits: Keras, emulator and csim.

    csim runs a project's C++ with your rights, so a folder without toolkit's manifest is emulated, unless
    --csim or --sandbox is given. Without images the project's own test vectors are compared; what cannot
    be checked is said. A float model is judged by how close the design is. Exit code 1 for an error among
    the findings or for bits that differ.
    """
    from toolkit.cli.answers import Check
    from toolkit.emulation import emulate, prove
    from toolkit.errors import ToolkitError
    from toolkit.estimation import estimate as estimated
    from toolkit.hls import build_csim, check_vectors, holds_vectors, lint, open_project
    from toolkit.hls import check as compared
    from toolkit.hls.folder import is_foreign

    if sandbox and not emulated:
        return again_in_sandbox(None)
    opened = open_project(project)
    if is_foreign(project) and not emulated and not by_csim:
        say(f"{project} was not written by toolkit: its C++ is emulated, not run; --csim runs it, --sandbox confined")
        emulated = True
    elif not emulated:
        warn_of_foreign(project)
    x, judge_by = read_inputs(inputs, dataset, data_dir, count)
    left_out: list[str] = []

    def attempted(what: str, make: Callable[[Any], Any]) -> Any:
        """What ``make`` makes of the project, or ``None`` and a line that says what was not checked and why."""
        try:
            return make(opened)
        except ToolkitError as error:
            left_out.append(f"{what}: {error}")
            return None

    emulator = attempted("emulation", emulate)
    library = emulator if emulated else attempted("csim", build_csim) or emulator
    estimate = attempted("estimate", estimated)
    profile = emulator.profile(x) if emulator is not None and x is not None else ()
    ranges = {opened.graph.inputs[0]: (float(x.min()), float(x.max()))} if x is not None else None
    findings = lint(opened, ranges=ranges, profile=profile or None, estimate=estimate)
    checks: list[CheckResult] = []
    if x is None:
        left_out += [f"{model} against the project: no images; name some with --dataset or --inputs"] if model else []
        if not holds_vectors(opened):
            left_out.append(WITHOUT_VECTORS)
        elif library is not None:
            checks += check_vectors(opened, library, "emulation" if library is emulator else "csim")
    elif library is not None:
        checks += [prove(emulator, library, x)] if emulator is not None and library is not emulator else []
        if model:
            labels = judge_by.labels("test", count) if judge_by is not None else None
            checks.append(compared(opened, open_model(str(model)), x, library=library, labels=labels))
    failed = any(finding.severity == "error" for finding in findings) or any(result.failed for result in checks)
    if as_json_:
        print_json(Check(not failed, findings, tuple(checks), profile, tuple(left_out)))
    else:
        show_findings(findings)
        show_profile(profile)
        show_checks(checks)
        for line in left_out:
            tell(f"not checked: {line}")
    return 1 if failed else 0


def warn_of_foreign(*projects: Path) -> None:
    """A line for folders that toolkit did not write, before their C++ runs."""
    from toolkit.hls.folder import is_foreign

    for project in projects:
        if is_foreign(project) and not in_sandbox():
            say(f"{project} was not written by toolkit: its C++ runs with your rights (--sandbox confines it)")


def in_sandbox() -> bool:
    """Whether this process is the one that ``again_in_sandbox`` started."""
    return INSIDE in os.environ


def again_in_sandbox(out: Path | None) -> int:
    """This command once more, confined, with a store of its own; what it puts out is copied to ``out``."""
    from toolkit.errors import DataError
    from toolkit.process import run_in_sandbox
    from toolkit.reading import VECTORS_BYTES, read_bytes
    from toolkit.store import write_bytes

    with tempfile.TemporaryDirectory(prefix="toolkit-sandbox-") as name:
        scratch = Path(name).resolve()
        asked = [argument for argument in command_line() if argument != "--sandbox"]
        asked += ["--csim"] if asked[0] == "check" and "--csim" not in asked else []
        asked += ["--out", str(scratch / "outputs.npy")] if out else []
        env = {INSIDE: "1", "TOOLKIT_STORE": str(scratch / "store"), "HOME": str(scratch)}
        code = run_in_sandbox([sys.executable, "-m", "toolkit", *asked], scratch, env)
        if out and code == 0:
            write_bytes(out, read_bytes(scratch / "outputs.npy", VECTORS_BYTES, DataError))
        return code


def show_checks(checks: Sequence[CheckResult]) -> None:
    """Every comparison in a line, with its findings; in red where bits differ that must not."""
    for result in checks:
        print_alarm(str(result)) if result.failed else tell(result)
        show_findings(result.findings)
        show_errors(result.errors)


def show_errors(errors: Sequence[LayerError]) -> None:
    """Where the bits go, layer by layer."""
    rows = [
        (
            error.layer,
            error.precision,
            f"{error.different:,} of {error.total:,}",
            f"{error.maximum:.3g}",
            f"{error.rms:.3g}",
            "exact" if error.sqnr_db is None else f"{error.sqnr_db:.1f}",
            f"{error.fall_db:.1f}" if error.fall_db and error.sqnr_db is not None else "",
        )
        for error in errors
    ]
    if rows:
        headings = ("layer", "type", "different", "largest", "RMS", "SQNR in dB", "lost here in dB")
        show_table("where the bits go", headings, rows)


def show_profile(profile: Sequence[LayerProfile]) -> None:
    """What each layer's output did against what its type holds."""
    rows = [
        (
            layer.layer,
            layer.precision,
            f"{layer.minimum:.4g} .. {layer.maximum:.4g}",
            f"{layer.type_minimum:.4g} .. {layer.type_maximum:.4g}",
            layer.overflows,
        )
        for layer in profile
    ]
    if rows:
        show_table("ranges", ("layer", "type", "used", "holds", "saturated or wrapped"), rows)
