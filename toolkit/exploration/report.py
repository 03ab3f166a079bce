"""A sweep as a folder: a page with pictures and tables, the points as files, design files of the front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit import harmless
from toolkit.errors import StoreError
from toolkit.exploration.narration import Say
from toolkit.exploration.results import SweepResult, export, points_table, write_designs
from toolkit.store import replacing, write_bytes, write_text

if TYPE_CHECKING:
    import jinja2

    from toolkit.comparison.drawing import Chart

MOST_ROWS = 500
OWN_FILES = {"index.html", "points.csv", "points.json", "points.parquet", "figures", "designs"}


@dataclass(frozen=True)
class Table:
    """Headings and rows of text."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def write_sweep_report(result: SweepResult, path: str | Path, *, say: Say = lambda line: None) -> Path:
    """Write ``index.html``, ``points.{csv,json,parquet}``, ``figures/`` and ``designs/``; return the page.

    An earlier report in the folder is replaced whole; a folder with anything else is refused
    (``StoreError``). ``say`` receives what is being done, line by line.
    """
    folder = Path(path)
    foreign = sorted({item.name for item in folder.iterdir()} - OWN_FILES) if folder.is_dir() else []
    if foreign:
        raise StoreError(f"a report replaces only an earlier report; {folder} also holds {', '.join(foreign[:3])}")
    try:
        with replacing(folder.resolve()) as made:
            fill(result, made, say)
    except OSError as error:
        raise StoreError(f"the report cannot be written to {folder}: {error.strerror or error}") from error
    return folder / "index.html"


def fill(result: SweepResult, folder: Path, say: Say) -> None:
    """Every file of a report."""
    from toolkit.comparison.drawing import printed, svg
    from toolkit.exploration.pictures import pictures

    say(f"writing {len(result.points):,} points")
    for suffix in ("csv", "json", "parquet"):
        export(result, folder / f"points.{suffix}")
    write_designs(result, folder / "designs")
    charts = pictures(result, say=say)
    say(f"drawing {', '.join(charts)}")
    drawn = {name: (chart, svg(chart)) for name, chart in charts.items()}
    for name, (_, picture) in drawn.items():
        for kind in ("svg", "png"):
            write_bytes(folder / "figures" / f"{name}.{kind}", printed(picture, kind))
    write_text(folder / "index.html", page(result, list(drawn.values())))


def page(result: SweepResult, drawn: Sequence[tuple[Chart, str]]) -> str:
    """The page as text; every string is escaped, only our own pictures are markup."""
    from markupsafe import Markup

    from toolkit.comparison.columns import SOURCE_MEANING
    from toolkit.comparison.page import asset

    sources = {figure.source for record in result.points for figure in record.figures.values()}
    text = (
        environment()
        .get_template("sweep.html")
        .render(
            result=result,
            style=asset("report.css"),
            front=Table(*points_table(result, result.pareto)),
            points=Table(*points_table(result, result.points[:MOST_ROWS])),
            left_out=max(0, len(result.points) - MOST_ROWS),
            pictures=[(chart, Markup(picture)) for chart, picture in drawn],
            designs=[f"{result.name}_{record.number}.toml" for record in result.pareto],
            sources=[(source, SOURCE_MEANING[source]) for source in sorted(sources)],
            proofs=proofs(result),
            findings=[(finding, ", ".join(map(str, numbers))) for finding, numbers in result.findings.items()],
        )
    )
    return harmless.page(text)


def proofs(result: SweepResult) -> list[dict[str, Any]]:
    """What csim said of each point it repeated."""
    return [{"number": record.number, **record.proof} for record in result.points if record.proof is not None]


@cache
def environment() -> jinja2.Environment:
    """Jinja2 with autoescaping for everything and an error for every undefined name."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("toolkit.exploration"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
