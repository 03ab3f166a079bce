"""The figure of merit against bits, latency, LUT and energy: points with intervals, names and Pareto fronts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.comparison.columns import FRONTS, Column, number
from toolkit.comparison.compare import Comparison, pareto
from toolkit.comparison.drawing import (
    FAMILY_COLOURS,
    FAMILY_NAMES,
    GREY,
    MANY,
    Chart,
    Draw,
    Values,
    data,
    finished,
    marks,
    shortened,
    tick_format,
    tip,
)
from toolkit.comparison.labels import Box, placed
from toolkit.records import Figure

HEIGHT = 320
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


def points(comparison: Comparison, x: str, y: str) -> Values:
    """One value per row that has both figures, in display units, with its description."""
    known = next((name for name, cost in FRONTS.items() if cost == x and y == comparison.metric.name), "")
    front = set(comparison.fronts().get(known, () if known else pareto(comparison.rows, x, y)))
    return [
        {
            "name": row.name,
            "family": FAMILY_NAMES[row.family],
            "source": row.figures[x].source,
            "front": row.name in front,
            "tip": tip(row, [x, y]),
            **coordinates("x", comparison.column(x), row.figures[x]),
            **coordinates("y", comparison.column(y), row.figures[y]),
        }
        for index, row in enumerate(comparison.rows)
        if x in row.figures and y in row.figures
    ]


def coordinates(axis: str, column: Column, figure: Figure) -> dict[str, float]:
    """Value and interval on an axis, in display units."""
    low = figure.value if figure.low is None else figure.low
    high = figure.value if figure.high is None else figure.high
    return {
        axis: column.shown(figure.value),
        f"{axis}_low": column.shown(low),
        f"{axis}_high": column.shown(high),
    }


def domain(values: Sequence[float], *, log: bool, pad: float = 0.08) -> tuple[float, float]:
    """Axis range around the values, a little wider on both sides."""
    low, high = min(values), max(values)
    if log:
        factor = max((high / low) ** pad, 1.25)
        return low / factor, high * factor
    room = (high - low) * pad or abs(high) * 0.1 or 1.0
    return low - room, high + room


def merit_domain(column: Column, values: Sequence[float]) -> tuple[float, float]:
    """Axis range of a figure of merit."""
    return percent_domain(values) if column.unit == "%" else domain(values, log=False)


def percent_domain(values: Sequence[float]) -> tuple[float, float]:
    """Axis range for percentages: at least 2 points high, never beyond 0 and 100 by more than a hair."""
    low, high = domain(values, log=False)
    if high - low < 2:
        low, high = low - 1, high + 1
    return max(low, 0.0), min(high, 100.6)


def heights(values: Values) -> list[float]:
    """Figures of merit of the points, with the ends of the intervals that are drawn."""
    ends = [value[part] for value in with_spans(values) for part in ("y_low", "y_high")]
    return [value["y"] for value in values] + ends


def scatter(
    comparison: Comparison, merit: Column, key: str, name: str, title: str, caption: str, width: int
) -> Chart | None:
    """A figure of merit against a cost: intervals, Pareto front, labelled points."""
    import altair as alt

    values = points(comparison, key, merit.key)
    if not values:
        return None
    column, height = comparison.column(key), HEIGHT
    log = min(value["x_low"] for value in values) > 0 and max_ratio(values) > 12
    x_domain = domain([value[part] for value in values for part in ("x_low", "x_high", "x")], log=log)
    y_domain = merit_domain(merit, heights(values))
    scale_x = alt.Scale(type="log" if log else "linear", domain=list(x_domain), nice=False, zero=False)
    scale_y = alt.Scale(domain=list(y_domain), nice=False, zero=False)
    x = alt.X("x:Q", title=column.heading, scale=scale_x, axis=cost_axis(x_domain, log, width))
    y = alt.Y("y:Q", title=merit.heading, scale=scale_y, axis=alt.Axis(tickCount=6))
    base, spans = alt.Chart(data(values)), alt.Chart(data(with_spans(values)))
    layers: list[Any] = [
        alt.Chart(data(front_steps(values)))
        .mark_line(interpolate="step-after", strokeDash=[5, 4], strokeWidth=1.5, color=GREY, aria=False)
        .encode(x=x, y=y),
        spans.mark_rule(strokeWidth=1.2, opacity=0.55, aria=False).encode(
            x="x_low:Q", x2="x_high:Q", y=y, color=family_colour(values)
        ),
        spans.mark_rule(strokeWidth=1.2, opacity=0.35, aria=False, clip=True).encode(
            x=x, y="y_low:Q", y2="y_high:Q", color=family_colour(values)
        ),
        base.mark_point(filled=True, size=95, opacity=1, stroke="white", strokeWidth=0.8).encode(
            x=x, y=y, color=family_colour(values), shape=source_shape(values), **marks()
        ),
    ]
    layers += name_labels(values, x_domain, y_domain, log, width, height)
    return Chart(name, title, caption, finished(alt.layer(*layers), width, height))


def cost_axis(x_domain: tuple[float, float], log: bool, width: int) -> Any:
    """Round ticks; on a logarithmic axis as many of each decade as there is room for."""
    import altair as alt

    label = tick_format(x_domain[1])
    if not log:
        return alt.Axis(tickCount=max(3, width // 130), format=label)
    decades = range(math.floor(math.log10(x_domain[0])), math.ceil(math.log10(x_domain[1])) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        shown = [tick for tick in ticks if x_domain[0] <= tick <= x_domain[1]]
        if len(shown) * 45 <= width:
            break
    return alt.Axis(values=shown, format=label)


def with_spans(values: Values) -> Values:
    """Points whose intervals are drawn: all, or those on the front when there are many (tooltips tell the rest)."""
    return values if len(values) <= MANY else [value for value in values if value["front"]]


def max_ratio(values: Values) -> float:
    return float(max(value["x_high"] for value in values) / min(value["x_low"] for value in values))


def front_steps(values: Values) -> Values:
    """The Pareto points by cost: the staircase under which every other point lies."""
    return [
        {"x": value["x"], "y": value["y"]} for value in sorted(values, key=lambda v: (v["x"], v["y"])) if value["front"]
    ]


def family_colour(values: Values) -> Any:
    """Colour by family, the legend showing those that are there."""
    import altair as alt

    present = [name for name in FAMILY_COLOURS if name in {value["family"] for value in values}]
    scale = alt.Scale(domain=present, range=[FAMILY_COLOURS[name] for name in present])
    return alt.Color("family:N", scale=scale, legend=alt.Legend(title=None, symbolType="circle", symbolOpacity=1))


def source_shape(values: Values) -> Any:
    """Shape says where the figure on the horizontal axis comes from."""
    import altair as alt

    present = sorted({value["source"] for value in values})
    scale = alt.Scale(domain=present, range=[SHAPES[source] for source in present])
    return alt.Shape(
        "source:N", scale=scale, legend=alt.Legend(title=None, symbolFillColor=GREY, symbolStrokeColor=GREY)
    )


def name_labels(
    values: Values,
    x_domain: tuple[float, float],
    y_domain: tuple[float, float],
    log: bool,
    width: int,
    height: int,
    blocked: Sequence[Box] = (),
) -> list[Any]:
    """Text layers with the names (all, or those on the front when there are many), placed beside their points."""
    import altair as alt

    chosen = [value for value in values if value["front"]] if len(values) > MANY else values
    frame = Frame(x_domain, y_domain, log, width, height)
    anchors = [(frame.across(value["x"]), frame.down(value["y"])) for value in chosen]
    names, taken = [value["name"] for value in chosen], [*point_boxes(values, frame), *blocked]
    boxes = placed(anchors, names, taken, (width, height), line_boxes(values, frame))
    labels = [
        {
            "text": shortened(value["name"]),
            "x": unfraction(box.x / width, x_domain, log),
            "y": unfraction(1 - box.middle / height, y_domain, False),
        }
        for value, box in zip(chosen, boxes, strict=True)
        if box
    ]
    layer = alt.Chart(data(labels)).mark_text(align="left", baseline="middle", fontSize=11, aria=False)
    return [layer.encode(x="x:Q", y="y:Q", text="text:N")] if labels else []


@dataclass(frozen=True)
class Frame:
    """The plot area: axis ranges and size in pixels."""

    x_domain: tuple[float, float]
    y_domain: tuple[float, float]
    log: bool
    width: int
    height: int

    def across(self, x: float) -> float:
        """Pixels from the left edge."""
        return fraction(x, self.x_domain, self.log) * self.width

    def down(self, y: float) -> float:
        """Pixels from the top edge."""
        return (1 - fraction(y, self.y_domain, False)) * self.height


def float_line(floats: Values, x_domain: tuple[float, float], y_domain: tuple[float, float], width: int) -> list[Box]:
    """What the line of the float model and its label cover."""
    frame = Frame(x_domain, y_domain, False, width, HEIGHT)
    heights = [frame.down(value["y"]) for value in floats]
    return [box for y in heights for box in (Box(0, y - 1, width, 2), Box(width - 90, y - 16, 90, 14))]


def point_boxes(values: Values, frame: Frame) -> list[Box]:
    """What a label must not lie on: the points."""
    return [Box(frame.across(value["x"]) - 6, frame.down(value["y"]) - 6, 12, 12) for value in values]


def line_boxes(values: Values, frame: Frame) -> list[Box]:
    """What a label should not cross: interval lines and the staircase of the front."""
    boxes = []
    for value in with_spans(values):
        x, y = frame.across(value["x"]), frame.down(value["y"])
        left, right = frame.across(value["x_low"]), frame.across(value["x_high"])
        top, bottom = frame.down(value["y_high"]), frame.down(value["y_low"])
        boxes += [Box(left, y - 1, right - left, 2), Box(x - 1, top, 2, bottom - top)]
    steps = front_steps(values)
    for one, two in itertools.pairwise(steps):
        x1, x2, y1, y2 = frame.across(one["x"]), frame.across(two["x"]), frame.down(one["y"]), frame.down(two["y"])
        boxes += [Box(x1, y1 - 1, x2 - x1, 2), Box(x2 - 1, min(y1, y2), 2, abs(y1 - y2))]
    return boxes


def fraction(value: float, domain_: tuple[float, float], log: bool) -> float:
    low, high = domain_
    if log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def unfraction(share: float, domain_: tuple[float, float], log: bool) -> float:
    """Inverse of :func:`fraction`."""
    low, high = domain_
    return low * (high / low) ** share if log else low + share * (high - low)


def is_quantized(value: dict[str, Any]) -> bool:
    """Whether a point is a QKeras model that was not made a design."""
    return bool(value["family"] == FAMILY_NAMES["model"] and value["x"] < 32)


def bits(comparison: Comparison, width: int) -> Chart | None:
    """The figure of merit against weight width, float as a line."""
    import altair as alt

    merit = comparison.column(comparison.metric.name)
    everything = points(comparison, "weight_bits", merit.key)
    design = FAMILY_NAMES["fpga"]
    values = [value for value in everything if value["family"] == design or is_quantized(value)]
    if not values:
        return None
    floats = [value for value in everything if value["family"] != design and value["x"] >= 32][:1]
    height = HEIGHT
    x_domain = (0.0, max(value["x"] for value in values) + 1.0)
    y_domain = merit_domain(merit, heights(values) + [value["y"] for value in floats])
    x = alt.X(
        "x:Q",
        title="Weight width (bits)",
        scale=alt.Scale(domain=list(x_domain), nice=False),
        axis=alt.Axis(tickMinStep=1, grid=False),
    )
    y = alt.Y(
        "y:Q", title=merit.heading, scale=alt.Scale(domain=list(y_domain), nice=False), axis=alt.Axis(tickCount=6)
    )
    layers: list[Any] = []
    if floats:
        label = {"x": x_domain[1], "y": floats[0]["y"], "text": float_text(merit, floats[0]["y"])}
        rule = alt.Chart(data([label]))
        layers.append(rule.mark_rule(strokeDash=[5, 4], color=GREY, strokeWidth=1.5, aria=False).encode(y=y))
        layers.append(rule.mark_text(align="right", dy=-8, fontSize=11, aria=False).encode(x=x, y=y, text="text:N"))
    base, spans = alt.Chart(data(values)), alt.Chart(data(with_spans(values)))
    layers += [
        spans.mark_rule(strokeWidth=1.2, opacity=0.5, clip=True, aria=False).encode(
            x=x, y=alt.Y("y_low:Q"), y2="y_high:Q", color=family_colour(values)
        ),
        base.mark_point(filled=True, size=95, opacity=1, stroke="white", strokeWidth=0.8).encode(
            x=x, y=y, color=family_colour(values), **marks()
        ),
    ]
    blocked = float_line(floats, x_domain, y_domain, width)
    layers += name_labels(values, x_domain, y_domain, False, width, height, blocked)
    caption = (
        f"{merit.title} on the same test {comparison.noun} against the mean width of a weight. Vertical lines are 95 % "
        f"intervals for so many test {comparison.noun}; the dashed line is the float model."
    )
    return Chart(
        f"{merit.key}_bits", f"{merit.title} against bits", caption, finished(alt.layer(*layers), width, height)
    )


def float_text(merit: Column, shown: float) -> str:
    """The label of the float model's line."""
    return f"float {number(shown, merit.decimals)} {merit.unit}".strip()


def cost(key: str, name: str, title: str, what: str) -> Draw:
    """A drawing of the figure of merit against one cost; ``name`` and ``title`` are what is behind its own."""

    def draw(comparison: Comparison, width: int) -> Chart | None:
        merit = comparison.column(comparison.metric.name)
        caption = (
            f"{merit.title} against {what}. Horizontal lines are the intervals of estimates, vertical lines 95 % "
            f"intervals of {comparison.merit_word}; the shape says where the horizontal figure comes from; the dashed "
            "staircase is the Pareto front."
        )
        chart, heading = f"{merit.key}_{name}", f"{merit.title} against {title}"
        return scatter(comparison, merit, key, chart, heading, caption, width)

    return draw
