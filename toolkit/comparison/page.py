"""The HTML page of a report: one file, no request, works without JavaScript.

Sections are functions that give the template its values, or nothing when the records hold no data
for them. The template escapes every string; only our own SVG is passed as markup.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from toolkit import harmless
from toolkit.comparison.answer import answer
from toolkit.comparison.charts import charts
from toolkit.comparison.columns import FRONTS, SOURCE_MEANING, Column, interval_text
from toolkit.comparison.compare import Comparison
from toolkit.comparison.drawing import FAMILY_NAMES, Chart, Drawing, svg
from toolkit.comparison.exports import front_marks, sources
from toolkit.comparison.sections import section_values
from toolkit.records import Figure, Implementation

if TYPE_CHECKING:
    import jinja2

NARROW = 290  # plot width of the drawings for phones; the page shows the one that fits
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
    missing: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Picture:
    """A chart drawn for wide and for narrow screens."""

    name: str
    title: str
    caption: str
    wide: Markup
    narrow: Markup


def page(comparison: Comparison, title: str, drawn: Mapping[str, Drawing]) -> str:
    """The whole page as text."""
    columns = comparison.columns()
    text = (
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
            pictures=pictures(comparison, drawn),
            tradeoffs=[name for name in drawn if name.startswith(f"{comparison.metric.name}_")],
            sections=section_values(comparison),
            style=asset("report.css"),
            script=asset("report.js"),
        )
    )
    return harmless.page(text)


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
    facts = tuple((FACT_TITLES.get(key, key.replace("_", " ")), text) for key, text in row.facts.items())
    return Line(
        index=index,
        name=row.name,
        family=row.family,
        family_name=FAMILY_NAMES[row.family],
        reference=row.name == comparison.reference,
        fronts=front_marks(comparison, row),
        facts=facts,
        summary=summary(row),
        missing=row.facts.get("missing", ""),
        cells=tuple(cell(comparison, row, column) for column in columns),
    )


def summary(row: Implementation) -> str:
    """What kind of thing the row is, in a few words."""
    facts = row.facts
    if row.family == "fpga":
        reuse, period = facts.get("reuse_factor"), facts.get("clock_period_ns")
        built = (facts.get("io_type"), facts.get("strategy"), reuse and f"RF {reuse}")
        words = [*built, facts.get("part"), period and f"{period} ns"]
        return ", ".join(word for word in words if word)
    if row.family == "baseline":
        words = [facts.get("engine"), facts.get("precision"), facts.get("provider")]
        return ", ".join(word for word in words if word)
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
    """Percent of the part's LUT, FF, DSP, BRAM or URAM that the row's own figure is, where the records say."""
    percent: Figure | None = row.figures.get(f"{key}_percent") if key in RESOURCES else None
    if percent is None:
        return None
    own = row.figures[key]
    same = own if own.source == percent.source else row.figures.get(f"{key}_{percent.source}")
    if same is None or not same.value:
        return round(percent.value, 1) if same is own else None
    return round(percent.value * own.value / same.value, 1)


def pictures(comparison: Comparison, drawn: Mapping[str, Drawing]) -> Mapping[str, Picture]:
    """Every chart twice, for wide and for narrow screens, its marks linked to their table rows."""
    narrow = charts(comparison, NARROW)
    rows = {row.name: index for index, row in enumerate(comparison.rows)}
    return {
        name: Picture(
            name,
            item.chart.title,
            item.chart.caption,
            inline(item.svg, item.chart, rows, "w"),
            inline(svg(narrow[name]), narrow[name], rows, "n"),
        )
        for name, item in drawn.items()
    }


def inline(drawn: str, chart: Chart, rows: Mapping[str, int], prefix: str) -> Markup:
    """A chart's SVG for use inside a page: its ids made unique, its marks linked, its size fluid."""
    own = f"{prefix}-{chart.name}-"
    found = re.search(r'width="([\d.]+)" height="([\d.]+)"', drawn)
    assert found is not None  # vl-convert always writes both
    drawn = re.sub(r'id="(clip|gradient)', rf'id="{own}\1', drawn)
    drawn = re.sub(r"url\(#(clip|gradient)", rf"url(#{own}\1", drawn)
    drawn = re.sub(r'<path aria-label="([^"]*)"[^>]*/>', lambda mark: linked(mark, rows), drawn)
    label = f'role="group" aria-label="{escape(chart.title)}" style="max-width: {1.2 * float(found[1]):.0f}px" '
    return Markup(drawn.replace("<svg ", f"<svg {label}", 1))


def linked(mark: re.Match[str], rows: Mapping[str, int]) -> str:
    """A mark inside a link to the row it is of, where its description begins with a row's name."""
    name = html.unescape(mark[1]).partition("; ")[0]
    return f'<a href="#row-{rows[name]}">{mark[0]}</a>' if name in rows else mark[0]
