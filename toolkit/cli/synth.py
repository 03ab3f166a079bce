"""`toolkit synth`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.app import AsJson, ProjectPath, app
from toolkit.cli.output import print_json, say, show_table


@app.command()
def synth(
    project: ProjectPath,
    step: Annotated[list[str] | None, typer.Option(help="csim, csynth, cosim, export or vsynth; repeat.")] = None,
    timeout_hours: Annotated[float, typer.Option(min=0.01, help="Time limit per step, in hours.")] = 6.0,
    folder: Annotated[Path | None, typer.Option(help="Where the tool works; default in the artifact store.")] = None,
    as_json_: AsJson = False,
) -> int:
    """Run Vitis or Vivado HLS on a project; a step that has ended is not run again."""
    from toolkit.hls import open_project
    from toolkit.hls.vendor import synthesize

    record = synthesize(
        open_project(project),
        steps=step or ("csynth",),
        timeout_s=timeout_hours * 3600,
        folder=folder,
        progress=lambda name: say(f"running {name}"),
    )
    if as_json_:
        print_json(record)
    else:
        rows = [(name, f"{seconds:.0f} s") for name, seconds in record.seconds.items()]
        show_table(f"{record.tool} in {record.folder}", ("step", "took"), rows)
    return 0
