"""`toolkit run` and `toolkit demo`: the whole job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.app import DataDir, app
from toolkit.cli.output import say, show_comparison
from toolkit.quiet import start_tensorflow

if TYPE_CHECKING:
    from toolkit.pipeline import RunResult


@app.command()
def demo(out: Annotated[Path, typer.Option(help="Folder for models, projects and report.")] = Path("demo")) -> int:
    """Train convnet on mnist5k in float and at 8, 6, 4 and 2 bits, prove the bits, write a report."""
    start_tensorflow()
    from toolkit.pipeline import demo_design, run_design

    return show_run(run_design(demo_design(), out, say=say, command=f"toolkit demo --out {out}"))


@app.command()
def run(
    design: Annotated[Path, typer.Argument(help="A design file (TOML).")],
    out: Annotated[Path | None, typer.Option(help="Folder for everything it makes; default runs/<name>.")] = None,
    data_dir: DataDir = None,
) -> int:
    """Do everything a design file asks for and write a report."""
    from toolkit.config import load_design

    wanted = load_design(design)
    start_tensorflow()
    from toolkit.pipeline import run_design

    if data_dir:
        wanted = wanted.change(dataset=wanted.dataset.change(data_dir=data_dir))
    folder = out or Path("runs") / wanted.name
    return show_run(run_design(wanted, folder, say=say, command=f"toolkit run {design} --out {folder}"))


def show_run(result: RunResult) -> int:
    """The table, the proofs that failed if any, and where the report is."""
    show_comparison(result.comparison)
    for name, proof in result.failed.items():
        print(f"{name}: {proof}")
    print(f"report: {result.report}")
    return 1 if result.failed else 0
