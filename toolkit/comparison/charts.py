"""The report's charts, each declared once in Altair and rendered to SVG, PNG, PDF by vl-convert.

A chart is a function from a comparison and a width in pixels; its marks carry their figures as an
accessible description (``aria-label``), which the page shows as a tooltip.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.comparison.columns import BY_KEY, FRONTS, interval_text
from toolkit.comparison.compare import Comparison
from toolkit.comparison.labels import placed
from toolkit.records import Figure, Implementation

Values = list[dict[str, Any]]

# Mid-tones that keep at least 3:1 contrast on white and on near-black.
FAMILY_COLOURS = {"FPGA design": "#3a86c8", "baseline": "#d07a1f", "Keras model": "#8a8f98"}
FAMILY_NAMES = {"fpga": "FPGA design", "baseline": "baseline", "model": "Keras model"}
LAYER_COLOURS = (
    "#3a86c8", "#d07a1f", "#2f9e7a", "#c8516a", "#8f6cc4", "#8a8f98", "#b59b2c", "#4aa3b8", "#a86b4c", "#7f9b3f",
)  # fmt: skip
SHAPES = {
    "measured": "circle",
    "csim": "square",
    "emulation": "square",
    "model": "triangle-up",
    "csynth": "diamond",
    "cosim": "diamond",
    "vsynth": "diamond",
    "board": "cross",
    "published": "stroke",
    "counted": "circle",
}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
MANY = 14  # from here on only Pareto points are labelled, and layer charts keep to a few designs


@dataclass(frozen=True)
class Chart:
    """A drawn chart: Vega-Lite ``spec``, and the words that stand by it."""

    name: str
    title: str
    caption: str
    spec: Mapping[str, Any]


Draw = Callable[[Comparison, int, bool], Chart | None]


def charts(comparison: Comparison, width: int = 680, links: bool = False) -> dict[str, Chart]:
    """Every chart that the comparison has data for, by name. ``links`` makes marks point at table rows."""
    drawn = (draw(comparison, width, links) for draw in DRAWINGS)
    return {chart.name: chart for chart in drawn if chart is not None}


def points(comparison: Comparison, x: str, y: str) -> Values:
    """One value per row that has both figures, in display units, with its description."""
    front = set(comparison.fronts().get(next((n for n, xy in FRONTS.items() if xy == (x, y)), ""), ()))
    return [
        {
            "name": row.name,
            "family": FAMILY_NAMES[row.family],
            "source": row.figures[x].source,
            "front": row.name in front,
            "href": f"#row-{index}",
            "tip": tip(row, [x, y]),
            **coordinates("x", x, row.figures[x]),
            **coordinates("y", y, row.figures[y]),
        }
        for index, row in enumerate(comparison.rows)
        if x in row.figures and y in row.figures
    ]


def coordinates(axis: str, key: str, figure: Figure) -> dict[str, float]:
    """Value and interval on an axis, in display units."""
    column = BY_KEY[key]
    low = figure.value if figure.low is None else figure.low
    high = figure.value if figure.high is None else figure.high
    return {
        axis: column.shown(figure.value),
        f"{axis}_low": column.shown(low),
        f"{axis}_high": column.shown(high),
    }


def tip(row: Implementation, keys: Sequence[str]) -> str:
    """``name; Accuracy: 97.40 % (csim); ...``: what a reader or a screen reader gets for a mark."""
    return "; ".join([row.name, *(tip_line(key, row.figures[key]) for key in keys if key in row.figures)])


def tip_line(key: str, figure: Figure) -> str:
    column = BY_KEY[key]
    interval = interval_text(column, figure)
    between = f", {interval}" if interval else ""
    return f"{column.title}: {column.text(figure.value)} {column.unit} ({figure.source}{between})".replace("  ", " ")


def domain(values: Sequence[float], *, log: bool, pad: float = 0.08) -> tuple[float, float]:
    """Axis range around the values, a little wider on both sides."""
    low, high = min(values), max(values)
    if log:
        factor = max((high / low) ** pad, 1.25)
        return low / factor, high * factor
    room = (high - low) * pad or abs(high) * 0.1 or 1.0
    return low - room, high + room


def percent_domain(values: Sequence[float]) -> tuple[float, float]:
    """Axis range for percentages: at least 2 points high, never beyond 0 and 100 by more than a hair."""
    low, high = domain(values, log=False)
    if high - low < 2:
        low, high = low - 1, high + 1
    return max(low, 0.0), min(high, 100.6)


def scatter(
    comparison: Comparison, key: str, name: str, title: str, caption: str, width: int, links: bool
) -> Chart | None:
    """Accuracy against a cost: intervals, Pareto front, labelled points."""
    import altair as alt

    values = points(comparison, key, "accuracy")
    if not values:
        return None
    column, height = BY_KEY[key], 320
    log = min(value["x_low"] for value in values) > 0 and max_ratio(values) > 12
    x_domain = domain([value[part] for value in values for part in ("x_low", "x_high", "x")], log=log)
    y_domain = percent_domain([value["y"] for value in values])
    scale_x = alt.Scale(type="log" if log else "linear", domain=list(x_domain), nice=False, zero=False)
    scale_y = alt.Scale(domain=list(y_domain), nice=False, zero=False)
    x = alt.X("x:Q", title=column.heading, scale=scale_x, axis=alt.Axis(tickCount=max(3, width // 110), format="~s"))
    y = alt.Y("y:Q", title="Accuracy (%)", scale=scale_y, axis=alt.Axis(tickCount=6))
    base = alt.Chart(alt.Data(values=values))
    layers: list[Any] = [
        alt.Chart(alt.Data(values=front_steps(values)))
        .mark_line(interpolate="step-after", strokeDash=[5, 4], strokeWidth=1.5, color="#8a8f98", aria=False)
        .encode(x=x, y=y),
        base.mark_rule(strokeWidth=1.2, opacity=0.55, aria=False).encode(
            x="x_low:Q", x2="x_high:Q", y=y, color=family_colour()
        ),
        base.mark_rule(strokeWidth=1.2, opacity=0.35, aria=False, clip=True).encode(
            x=x, y="y_low:Q", y2="y_high:Q", color=family_colour()
        ),
        base.mark_point(filled=True, size=95, opacity=1, stroke="white", strokeWidth=0.8).encode(
            x=x, y=y, color=family_colour(), shape=source_shape(values), **marks(links)
        ),
    ]
    layers += name_labels(values, x_domain, y_domain, log, width, height)
    return Chart(name, title, caption, finished(alt.layer(*layers), width, height))


def max_ratio(values: Values) -> float:
    return float(max(value["x_high"] for value in values) / min(value["x_low"] for value in values))


def front_steps(values: Values) -> Values:
    """The Pareto points by cost: the staircase under which every other point lies."""
    return [
        {"x": value["x"], "y": value["y"]} for value in sorted(values, key=lambda v: (v["x"], v["y"])) if value["front"]
    ]


def family_colour() -> Any:
    import altair as alt

    scale = alt.Scale(domain=list(FAMILY_COLOURS), range=list(FAMILY_COLOURS.values()))
    return alt.Color("family:N", scale=scale, legend=alt.Legend(title=None, symbolType="circle"))


def source_shape(values: Values) -> Any:
    """Shape says where the figure on the horizontal axis comes from."""
    import altair as alt

    present = sorted({value["source"] for value in values})
    scale = alt.Scale(domain=present, range=[SHAPES[source] for source in present])
    return alt.Shape("source:N", scale=scale, legend=alt.Legend(title=None))


def marks(links: bool) -> dict[str, Any]:
    """Channels every figure-bearing mark has: its description, and its table row where pages link."""
    import altair as alt

    found: dict[str, Any] = {"description": alt.Description("tip:N"), "tooltip": alt.Tooltip("tip:N")}
    return found | ({"href": alt.Href("href:N")} if links else {})


def name_labels(
    values: Values, x_domain: tuple[float, float], y_domain: tuple[float, float], log: bool, width: int, height: int
) -> list[Any]:
    """Text layers with the names (all, or those on the front when there are many), placed beside their points."""
    import altair as alt

    chosen = [value for value in values if value["front"]] if len(values) > MANY else values
    at = [
        (
            fraction(value["x"], x_domain, log) * width,
            (1 - fraction(value["y"], y_domain, False)) * height,
        )
        for value in values
    ]
    wanted = [at[values.index(value)] for value in chosen]
    boxes = placed(wanted, [value["name"] for value in chosen], at, (width, height))
    labels = [
        {
            "text": shortened(value["name"]),
            "x": unfraction(box.x / width, x_domain, log),
            "y": unfraction(1 - box.middle / height, y_domain, False),
        }
        for value, box in zip(chosen, boxes, strict=True)
        if box
    ]
    layer = alt.Chart(alt.Data(values=labels)).mark_text(align="left", baseline="middle", fontSize=11, aria=False)
    return [layer.encode(x="x:Q", y="y:Q", text="text:N")] if labels else []


def shortened(name: str, longest: int = 28) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"


def fraction(value: float, domain_: tuple[float, float], log: bool) -> float:
    low, high = domain_
    if log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def unfraction(share: float, domain_: tuple[float, float], log: bool) -> float:
    """Inverse of :func:`fraction`."""
    low, high = domain_
    return low * (high / low) ** share if log else low + share * (high - low)


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
        .to_dict()
    )
    return spec


def bits(comparison: Comparison, width: int, links: bool) -> Chart | None:
    """Accuracy against weight width, float as a line."""
    import altair as alt

    everything = points(comparison, "weight_bits", "accuracy")
    values = [value for value in everything if value["x"] < 32 and value["family"] != "baseline"]
    if not values:
        return None
    floats = [value for value in everything if value["x"] >= 32][:1]
    height = 320
    x_domain = (0.0, max(value["x"] for value in values) + 1.0)
    y_domain = percent_domain([value["y"] for value in values + floats])
    x = alt.X(
        "x:Q",
        title="Weight width (bits)",
        scale=alt.Scale(domain=list(x_domain), nice=False),
        axis=alt.Axis(tickMinStep=1, grid=False),
    )
    y = alt.Y(
        "y:Q", title="Accuracy (%)", scale=alt.Scale(domain=list(y_domain), nice=False), axis=alt.Axis(tickCount=6)
    )
    layers: list[Any] = []
    if floats:
        label = {"x": x_domain[1], "y": floats[0]["y"], "text": f"float {floats[0]['y']:.2f} %"}
        rule = alt.Chart(alt.Data(values=[label]))
        layers.append(rule.mark_rule(strokeDash=[5, 4], color="#8a8f98", strokeWidth=1.5, aria=False).encode(y=y))
        layers.append(rule.mark_text(align="right", dy=-8, fontSize=11, aria=False).encode(x=x, y=y, text="text:N"))
    base = alt.Chart(alt.Data(values=values))
    layers += [
        base.mark_rule(strokeWidth=1.2, opacity=0.5, clip=True, aria=False).encode(
            x=x, y=alt.Y("y_low:Q"), y2="y_high:Q", color=family_colour()
        ),
        base.mark_point(filled=True, size=95, opacity=1, stroke="white", strokeWidth=0.8).encode(
            x=x, y=y, color=family_colour(), **marks(links)
        ),
    ]
    layers += name_labels(values, x_domain, y_domain, False, width, height)
    caption = (
        "Accuracy on the same test images against the mean width of a weight. Vertical lines are 95 % intervals "
        "for so many test images; the dashed line is the float model."
    )
    return Chart("accuracy_bits", "Accuracy against bits", caption, finished(alt.layer(*layers), width, height))


def cost(key: str, name: str, title: str, what: str) -> Draw:
    """A drawing of accuracy against one cost."""
    caption = (
        f"Accuracy against {what}. Horizontal lines are the intervals of estimates, vertical lines 95 % intervals of "
        "accuracy; the shape says where the horizontal figure comes from; the dashed staircase is the Pareto front."
    )

    def draw(comparison: Comparison, width: int, links: bool) -> Chart | None:
        return scatter(comparison, key, name, title, caption, width, links)

    return draw


DRAWINGS: tuple[Draw, ...] = (
    bits,
    cost("latency_us", "accuracy_latency", "Accuracy against latency", "the latency of one image"),
    cost("lut", "accuracy_lut", "Accuracy against LUT", "look-up tables"),
    cost("energy_uj", "accuracy_energy", "Accuracy against energy", "energy per image"),
)


def render(chart: Chart, kind: str, scale: float = 2.0) -> bytes:
    """The chart as ``svg``, ``pdf`` or ``png`` bytes, without a browser."""
    import vl_convert

    spec = json.dumps(chart.spec)
    if kind == "svg":
        return str(vl_convert.vegalite_to_svg(spec)).encode()
    if kind == "pdf":
        return bytes(vl_convert.vegalite_to_pdf(spec))
    return bytes(vl_convert.vegalite_to_png(spec, scale=scale))
