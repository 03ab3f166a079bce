"""`toolkit compare`, `toolkit report` and `toolkit diff`: stored records side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.app import AsJson, app
from toolkit.cli.csim import Sandboxed, again_in_sandbox, warn_of_foreign
from toolkit.cli.output import print_json, show_comparison, tell

Records = Annotated[
    list[Path] | None, typer.Argument(help="Folders or report.json files that run, demo or report wrote.")
]


@app.command()
def compare(
    records: Records = None,
    reference: Annotated[str | None, typer.Option(help="The row that ratios are against.")] = None,
    as_json_: AsJson = False,
) -> int:
    """Put stored records into one table; refuses records of different test sets."""
    from toolkit.comparison import join_stored

    joined = join_stored(records or [], reference=reference)
    if as_json_:
        print_json({"rows": joined.to_records()})
    else:
        show_comparison(joined)
    return 0


@app.command()
def report(
    more: Records = None,
    sources: Annotated[list[Path] | None, typer.Option("--from", help="Stored records; more may follow.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("report"),
    title: Annotated[str | None, typer.Option(help="Heading of the report.")] = None,
    reference: Annotated[str | None, typer.Option(help="The row that ratios are against.")] = None,
) -> int:
    """Rebuild a report from stored records without computing anything anew."""
    from toolkit.comparison import report_from

    page = report_from([*(sources or []), *(more or [])], out, title=title, reference=reference)
    tell(f"report: {page}")
    return 0


@app.command()
def diff(
    before: Annotated[Path, typer.Argument(help="A project (any hls4ml folder) or a run's folder.")],
    after: Annotated[Path, typer.Argument(help="Another of the same kind.")],
    by_csim: Annotated[bool, typer.Option("--csim", help="Compare bits with g++ instead of the emulator.")] = False,
    sandbox: Sandboxed = False,
    as_json_: AsJson = False,
) -> int:
    """Say which layers' types, weights, bits, cycles and resources changed; exit code 1 if any did.

    --csim compiles and runs the C++ of both with your rights; --sandbox confines it.
    """
    if by_csim and sandbox:
        return again_in_sandbox(None)
    if by_csim:
        warn_of_foreign(before, after)
    from toolkit.comparison import diff as changes

    found = changes(before, after, csim=by_csim)
    if as_json_:
        print_json(found)
    else:
        tell(found)
    return 0 if found.equal else 1
