"""The HTML page of a report: one file, no request, works without JavaScript.

Sections are functions that give the template its values, or nothing when the records hold no data
for them. The template escapes every string; only our own SVG is passed as markup.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from toolkit.comparison.answer import answer
from toolkit.comparison.charts import charts
from toolkit.comparison.columns import FRONTS, SOURCE_MEANING, Column, interval_text
from toolkit.comparison.compare import Comparison
from toolkit.comparison.drawing import FAMILY_NAMES, Chart, render
from toolkit.comparison.exports import front_marks, sources
from toolkit.comparison.sections import section_values
from toolkit.records import Figure, Implementation

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

WIDE, NARROW = 680, 300  # widths of the two drawings of each chart; the page shows the one that fits
RESOURCES = ("lut", "ff", "dsp", "bram_18k", "uram")
FACT_TITLES = {
    "part": "part",
    "clock_period_ns": "clock period (ns)",
    "io_type": "io type",
    "strategy": "strategy",
    "reuse_factor": "reuse factor",
    "backend": "backend",
    "engine": "engine",
    "precision": "precision",
    "provider": "provider",
    "batch": "batch",
    "fits": "fits the part",
    "missing": "missing",
}


@dataclass(frozen=True)
class Cell:
    """One figure as the table shows it; ``sort`` is the stored value, ``share`` percent of the part."""

    text: str
    sort: float | None = None
    source: str = ""
    interval: str = ""
    note: str = ""
    ratio: str = ""
    share: float | None = None


@dataclass(frozen=True)
class Line:
    """One table row."""

    index: int
    name: str
    family: str
    family_name: str
    reference: bool
    fronts: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    summary: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Picture:
    """A chart drawn for wide and for narrow screens."""

    name: str
    title: str
    caption: str
    wide: Markup
    narrow: Markup


def page(comparison: Comparison, title: str) -> str:
    """The whole page as text."""
    columns = comparison.columns()
    return (
        environment()
        .get_template("report.html")
        .render(
            title=title,
            comparison=comparison,
            answer=answer(comparison),
            columns=columns,
            groups=column_groups(columns),
            lines=[line(comparison, index, columns) for index in range(len(comparison.rows))],
            families=list(dict.fromkeys(FAMILY_NAMES[row.family] for row in comparison.rows)),
            sources=[(source, SOURCE_MEANING[source]) for source in sources(comparison)],
            fronts=[name for name in FRONTS if comparison.fronts()[name]],
            pictures=pictures(comparison),
            sections=section_values(comparison),
            style=asset("report.css"),
            script=asset("report.js"),
        )
    )


@cache
def environment() -> jinja2.Environment:
    """Jinja2 with autoescaping for everything and an error for every undefined name."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("toolkit.comparison"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def asset(name: str) -> Markup:
    """Our own style sheet or script, as it is."""
    from markupsafe import Markup

    return Markup((files("toolkit.comparison") / "templates" / name).read_text())


def column_groups(columns: Sequence[Column]) -> list[tuple[str, int]]:
    """Neighbouring columns of one group, counted."""
    counted: list[tuple[str, int]] = []
    for column in columns:
        if counted and counted[-1][0] == column.group:
            counted[-1] = (column.group, counted[-1][1] + 1)
        else:
            counted.append((column.group, 1))
    return counted


def line(comparison: Comparison, index: int, columns: Sequence[Column]) -> Line:
    row = comparison.rows[index]
    facts = tuple((FACT_TITLES.get(key, key), text) for key, text in row.facts.items())
    return Line(
        index=index,
        name=row.name,
        family=row.family,
        family_name=FAMILY_NAMES[row.family],
        reference=row.name == comparison.reference,
        fronts=front_marks(comparison, row),
        facts=facts,
        summary=summary(row),
        cells=tuple(cell(comparison, row, column) for column in columns),
    )


def summary(row: Implementation) -> str:
    """What kind of thing the row is, in a few words."""
    facts = row.facts
    if "missing" in facts:
        return "not available here"
    if row.family == "fpga":
        words = [
            facts.get("io_type"),
            facts.get("strategy"),
            facts.get("reuse_factor") and f"RF {facts['reuse_factor']}",
        ]
        return " · ".join(word for word in words if word)
    if row.family == "baseline":
        words = [facts.get("engine"), facts.get("precision"), facts.get("provider")]
        return " · ".join(word for word in words if word)
    return facts.get("engine", "")


def cell(comparison: Comparison, row: Implementation, column: Column) -> Cell:
    figure = row.figures.get(column.key)
    if figure is None:
        return Cell("\N{EN DASH}")
    ratio = comparison.ratio(row, column.key)
    return Cell(
        text=column.text(figure.value),
        sort=figure.value,
        source=figure.source,
        interval=interval_text(column, figure),
        note=figure.note or "",
        ratio="" if ratio is None or row.name == comparison.reference else f"\N{MULTIPLICATION SIGN} {ratio:.3g}",
        share=share_of_part(row, column.key),
    )


def share_of_part(row: Implementation, key: str) -> float | None:
    """Percent of the part's LUT, FF, DSP, BRAM or URAM, where the records say."""
    figure: Figure | None = row.figures.get(f"{key}_percent") if key in RESOURCES else None
    return round(figure.value, 1) if figure else None


def pictures(comparison: Comparison) -> Mapping[str, Picture]:
    """Every chart twice, as SVG for this page."""
    wide, narrow = charts(comparison, WIDE, links=True), charts(comparison, NARROW, links=True)
    return {
        name: Picture(name, chart.title, chart.caption, inline(chart, "w"), inline(narrow[name], "n"))
        for name, chart in wide.items()
    }


def inline(chart: Chart, prefix: str) -> Markup:
    """The chart's SVG for use inside a page: its ids made unique, its links local, its size fluid."""
    from markupsafe import Markup

    svg = render(chart, "svg").decode()
    own = f"{prefix}-{chart.name}-"
    svg = re.sub(r'id="(clip|gradient)', rf'id="{own}\1', svg)
    svg = re.sub(r"url\(#(clip|gradient)", rf"url(#{own}\1", svg)
    # vl-convert resolves relative links against its example data; they are ours and local.
    svg = re.sub(r'xlink:href="[^"#]*#row-(\d+)"', r'href="#row-\1"', svg)
    svg = svg.replace("<svg ", f'<svg role="group" aria-label="{chart.title}" ', 1)
    return Markup(svg)
