"""`toolkit run` and `toolkit demo`: the whole job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.app import AsJson, DataDir, app
from toolkit.cli.output import print_alarm, print_json, say, show_comparison, show_findings, tell
from toolkit.quiet import start_tensorflow

if TYPE_CHECKING:
    from toolkit.config import DesignFile
    from toolkit.pipeline import RunResult


Planned = Annotated[bool, typer.Option("--plan", help="Check everything, say what will be done, and stop.")]


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for models, projects and report.")] = Path("demo"),
    plan: Planned = False,
    as_json_: AsJson = False,
) -> int:
    """Train convnet on mnist5k in float and at 8, 6, 4 and 2 bits, prove the bits, write a report."""
    start_tensorflow()
    from toolkit.pipeline import demo_design

    return carry_out(demo_design(), out, f"toolkit demo --out {out}", plan, as_json_)


@app.command()
def run(
    design: Annotated[Path, typer.Argument(help="A design file (TOML).")],
    out: Annotated[Path | None, typer.Option(help="Folder for everything it makes; default runs/<name>.")] = None,
    data_dir: DataDir = None,
    plan: Planned = False,
    as_json_: AsJson = False,
) -> int:
    """Do everything a design file asks for and write a report; first of all, check all of it and say the plan."""
    from toolkit.config import load_design

    wanted = load_design(design)
    if data_dir:
        wanted = wanted.change(dataset=wanted.dataset.change(data_dir=data_dir))
    folder = out or Path("runs") / wanted.name
    return carry_out(wanted, folder, f"toolkit run {design} --out {folder}", plan, as_json_)


def carry_out(design: DesignFile, folder: Path, command: str, only_plan: bool, as_json_: bool) -> int:
    """Plan a design file and, unless only that is wanted, run it."""
    from toolkit.plan import check_design, plan_design

    check_design(design, folder)  # what needs no TensorFlow is said before it is loaded
    start_tensorflow()
    if only_plan:
        found = plan_design(design, folder)
        print_json(found, "plan") if as_json_ else tell(found)
        return 0
    from toolkit.pipeline import run_design

    return show_run(run_design(design, folder, say=say, command=command), as_json_)


def show_run(result: RunResult, as_json_: bool) -> int:
    """The table, the proofs that failed if any, and where the report is."""
    if as_json_:
        from toolkit.cli.answers import Run, RunDesign

        failed = result.failed
        designs = tuple(
            RunDesign(name, failed.get(name), checks, result.findings[name]) for name, checks in result.checks.items()
        )
        print_json(Run(result.folder, result.report, result.plan, result.comparison.to_records(), designs))
        return 1 if failed else 0
    for name, proof in result.failed.items():
        print_alarm(f"{name}: {proof}")
    show_comparison(result.comparison)
    for name, findings in result.findings.items():
        show_findings(findings, name)
    tell(f"report: {result.report}")
    return 1 if result.failed else 0
