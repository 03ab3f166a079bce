"""What all charts share: the type, colours, the look, descriptions of marks, rendering.

A chart is declared once in Altair and rendered to SVG, PNG and PDF by vl-convert, without a browser.
Its marks carry their figures as an accessible description (``aria-label``), which the page shows as
a tooltip.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit import harmless
from toolkit.comparison.columns import Column, column_of, interval_text
from toolkit.comparison.compare import Comparison
from toolkit.records import Figure, Implementation

Values = list[dict[str, Any]]

# Mid-tones that keep at least 3:1 contrast on white and on near-black.
FAMILY_COLOURS = {"FPGA design": "#3a86c8", "baseline": "#d07a1f", "Keras model": "#8a8f98"}
FAMILY_NAMES = {"fpga": "FPGA design", "baseline": "baseline", "model": "Keras model"}
GREY = "#8a8f98"
SERIES_COLOURS = (
    "#3a86c8",
    "#d07a1f",
    "#2f9e7a",
    "#c8516a",
    "#8f6cc4",
    "#a48b1e",
    "#3d97ac",
    "#a86b4c",
    "#7f9b3f",
    "#c072a8",
    "#5f74b8",
    "#8a8f98",
)
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
MANY = 14  # from here on only Pareto points are labelled, and design charts keep to the best few


@dataclass(frozen=True)
class Chart:
    """A drawn chart: Vega-Lite ``spec``, and the words that stand by it."""

    name: str
    title: str
    caption: str
    spec: Mapping[str, Any]


@dataclass(frozen=True)
class Drawing:
    """A chart with its SVG."""

    chart: Chart
    svg: str


Draw = Callable[[Comparison, int], Chart | None]


def data(values: Values) -> Any:
    """Values written into the specification."""
    import altair as alt

    return alt.Data(values=values)  # type: ignore[no-untyped-call]


def tip(row: Implementation, keys: Sequence[str]) -> str:
    """``name; Accuracy: 97.40 % (csim); ...``: what a reader or a screen reader gets for a mark."""
    return "; ".join(
        [row.name, *(tip_line(column_of(key, row.metrics), row.figures[key]) for key in keys if key in row.figures)]
    )


def tip_line(column: Column, figure: Figure) -> str:
    interval = interval_text(column, figure)
    between = f", {interval}" if interval else ""
    return f"{column.title}: {column.text(figure.value)} {column.unit} ({figure.source}{between})".replace("  ", " ")


def marks() -> dict[str, Any]:
    """Channels every figure-bearing mark has: its description, for the page's tooltips and for Vega's own."""
    import altair as alt

    return {"description": alt.Description("tip:N"), "tooltip": alt.Tooltip("tip:N")}


def tick_format(highest: float) -> str:
    """``20,000``, and ``2M`` for what would be too wide."""
    return ",.12~g" if highest < 1e6 else "~s"


def shortened(name: str, longest: int = 28) -> str:
    """A name that fits beside a mark."""
    return name if len(name) <= longest else name[: longest - 1] + "…"


def finished(chart: Any, width: int, height: int) -> dict[str, Any]:
    """Size and the common look; the result is a Vega-Lite specification as JSON types."""
    described = chart.properties(width=width, height=height, background="transparent")
    spec: dict[str, Any] = (
        described.resolve_scale(shape="independent")
        .configure(
            font=FONT,
            axis={
                "labelFontSize": 11,
                "titleFontSize": 12,
                "titleFontWeight": 500,
                "titlePadding": 9,
                "gridColor": "#8a8f9833",
                "domainColor": "#8a8f98",
                "tickColor": "#8a8f98",
                "labelColor": "#444b55",
                "titleColor": "#444b55",
            },
            legend={"orient": "top", "labelFontSize": 11.5, "labelColor": "#444b55", "symbolSize": 80, "offset": 6},
            view={"stroke": None},
            text={"color": "#444b55"},
        )
        .to_dict(validate=False)  # takes longer than drawing
    )
    return spec


def svg(chart: Chart) -> str:
    """The chart as SVG, drawn without a browser."""
    import vl_convert

    return str(vl_convert.vegalite_to_svg(json.dumps(harmless.everywhere(chart.spec))))


def printed(drawn: str, kind: str, scale: float = 2.0) -> bytes:
    """A drawn SVG on white as ``svg``, ``pdf`` or ``png`` bytes."""
    import vl_convert

    opening, drawing = harmless.page(drawn).split(">", 1)  # a control character aborts the process
    drawn = f'{opening}><rect x="-9" y="-9" width="110%" height="110%" style="fill: white; stroke: none"/>{drawing}'
    if kind == "svg":
        return drawn.encode()
    if kind == "pdf":
        return bytes(vl_convert.svg_to_pdf(drawn))
    return bytes(vl_convert.svg_to_png(drawn, scale=scale))
