"""Charts of single designs: cycles and resources by layer, use of the part, number ranges, confusion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from toolkit.baselines.evaluation import Evaluation
from toolkit.comparison.answer import recommended
from toolkit.comparison.columns import BY_KEY, number
from toolkit.comparison.compare import Comparison
from toolkit.comparison.design import DesignView, stage_cycles
from toolkit.comparison.drawing import (
    GREY,
    MANY,
    SERIES_COLOURS,
    Chart,
    Draw,
    Values,
    data,
    finished,
    marks,
    tick_format,
)
from toolkit.errors import ConfigError
from toolkit.precision import Precision
from toolkit.records import (
    BaselineRecord,
    CheckResult,
    Estimate,
    Figure,
    Implementation,
    LayerError,
    LayerEstimate,
    LayerProfile,
)

BAR = 26  # pixels a row of a bar chart takes
MOST_SERIES = len(SERIES_COLOURS)
RESOURCE_TITLES = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram_18k": "BRAM", "uram": "URAM"}
MOST_CLASSES = 20
MOST_LOSSES = 4  # designs in the chart of where the bits go
MOST_PERCENT = 300.0  # longer bars are cut off: what matters is that they do not fit
CYCLES = "initiation_interval_cycles"


def part_of(row: Implementation, kind: type[Any]) -> Any | None:
    """The first record of a type that a row was made from."""
    return next((part for part in row.parts if isinstance(part, kind)), None)


def chosen_designs(comparison: Comparison, kind: type[Any]) -> list[Implementation]:
    """Rows with such a record: all when they are few, else those on a Pareto front, up to ``MANY``."""
    rows = [row for row in comparison.rows if part_of(row, kind)]
    if len(rows) <= MANY:
        return rows
    front = {name for names in comparison.fronts().values() for name in names}
    keep = recommended(comparison)
    ranked = sorted(rows, key=lambda row: (row is not keep, row.name not in front, -merit_in(row)))
    kept = {id(row) for row in ranked[:MANY]}
    return [row for row in rows if id(row) in kept]


def merit_in(row: Implementation) -> float:
    """The figure of merit turned so that larger is better; least where there is none."""
    known = [metric.gain(row.figures[metric.name].value) for metric in row.metrics[:1] if metric.name in row.figures]
    return next(iter(known), -math.inf)


def shown_of(comparison: Comparison, shown: int, kind: type[Any]) -> str:
    """A sentence where not all designs are shown."""
    total = sum(1 for row in comparison.rows if part_of(row, kind))
    return "" if shown == total else f" Shown: {shown} of {total} designs, those on a Pareto front and the best."


def layers(key: str, name: str, title: str, what: str) -> Draw:
    """A drawing of one figure stacked by layer, one bar per design."""
    busy = key == CYCLES
    heading = "Busy cycles an image" if busy else BY_KEY[key].heading
    overlap = (
        " Stages of an io_stream design work at once: the longest sets the initiation interval, not the sum."
        if busy
        else ""
    )

    def draw(comparison: Comparison, width: int) -> Chart | None:
        import altair as alt

        rows = chosen_designs(comparison, Estimate)
        values = layer_values(comparison, rows, key)
        if not any(value["value"] for value in values):
            return None
        names = list(dict.fromkeys(value["layer"] for value in values))
        highest = max(value["value"] for value in values)
        axis = alt.Axis(format=tick_format(highest), tickCount=width // 110)
        colour = alt.Scale(domain=names, range=[SERIES_COLOURS[i % MOST_SERIES] for i in range(len(names))])
        chart = (
            alt.Chart(data(values))
            .mark_bar(height={"band": 0.72})
            .encode(
                x=alt.X("value:Q", stack="zero", title=heading, axis=axis),
                y=design_axis(rows, width),
                color=alt.Color("layer:N", scale=colour, sort=names, legend=series_legend(width)),
                order=alt.Order("index:Q"),
                **marks(),
            )
        )
        caption = f"{what}, estimated for C synthesis.{overlap}{shown_of(comparison, len(rows), Estimate)}"
        return Chart(name, title, caption, finished(chart, width, BAR * max(len(rows), 2)))

    return draw


def design_axis(rows: Sequence[Implementation], width: int) -> Any:
    """Designs down the side, in table order."""
    import altair as alt

    axis = alt.Axis(labelLimit=width // 3, ticks=False, domain=False, labelPadding=6)
    return alt.Y("design:N", sort=[row.name for row in rows], title=None, axis=axis)


def series_legend(width: int) -> Any:
    import altair as alt

    return alt.Legend(title=None, columns=max(2, width // 120), symbolType="square", labelLimit=110)


def layer_values(comparison: Comparison, rows: Sequence[Implementation], key: str) -> Values:
    """One value per design and layer; the smallest layers are summed when there are more than colours."""
    values: Values = []
    kept = largest_layers(rows, key)
    for row in rows:
        estimate = part_of(row, Estimate)
        assert estimate is not None
        rest = 0.0
        for layer in estimate.layers:
            figure = figure_of(layer, key)
            if layer.name not in kept:
                rest += figure.value
                continue
            values.append(layer_value(row, layer.name, figure.value, figure.source, key, kept))
        if rest:
            values.append(layer_value(row, "other layers", rest, "model", key, [*kept, "other layers"]))
        if key in estimate.between and estimate.between[key].value:
            order = [*kept, "other layers", estimate.between_name]
            values.append(layer_value(row, order[-1], estimate.between[key].value, "model", key, order))
    return values


def largest_layers(rows: Sequence[Implementation], key: str) -> list[str]:
    """Names of the layers with the largest figures anywhere, in execution order, one colour each."""
    largest: dict[str, float] = {}
    for row in rows:
        estimate = part_of(row, Estimate)
        assert estimate is not None
        for layer in estimate.layers:
            largest[layer.name] = max(largest.get(layer.name, 0.0), figure_of(layer, key).value)
    weighty = sorted((name for name in largest if largest[name] > 0), key=lambda name: -largest[name])
    limit = MOST_SERIES if len(weighty) <= MOST_SERIES else MOST_SERIES - 1
    return [name for name in largest if name in weighty[:limit]]


def figure_of(layer: LayerEstimate, key: str) -> Figure:
    """One figure of a layer; cycles are those that it is busy."""
    figure: Figure = stage_cycles(layer) if key == CYCLES else getattr(layer, key)
    return figure


def layer_value(
    row: Implementation, layer: str, value: float, source: str, key: str, order: Sequence[str]
) -> dict[str, Any]:
    column = BY_KEY[key]
    title = "busy" if key == CYCLES else column.title
    return {
        "design": row.name,
        "layer": layer,
        "value": value,
        "index": order.index(layer),
        "tip": f"{row.name}; {layer}; {title}: {column.text(value)} {column.unit} ({source})".replace("  ", " "),
    }


def utilization(comparison: Comparison, width: int) -> Chart | None:
    """Percent of the part that each design takes, by resource."""
    import altair as alt

    rows = [
        row for row in chosen_designs(comparison, Estimate) if any(f"{key}_percent" in row.figures for key in BY_KEY)
    ]
    values: Values = [
        {
            "design": row.name,
            "resource": title,
            "value": row.figures[f"{key}_percent"].value,
            "tip": f"{row.name}; {title}: {number(row.figures[f'{key}_percent'].value)} % of "
            f"{row.facts.get('part', 'the part')} ({row.figures[f'{key}_percent'].source})",
        }
        for row in rows
        for key, title in RESOURCE_TITLES.items()
        if f"{key}_percent" in row.figures
    ]
    if not any(value["value"] for value in values):
        return None
    names = [title for title in RESOURCE_TITLES.values() if any(v["resource"] == title and v["value"] for v in values)]
    values = [value for value in values if value["resource"] in names]
    scale = alt.Scale(domain=names, range=list(SERIES_COLOURS[: len(names)]))
    highest = max(value["value"] for value in values)
    x = alt.X(
        "value:Q",
        title="Share of the part (%)",
        scale=alt.Scale(domain=[0, min(max(100.0, highest * 1.03), MOST_PERCENT)], nice=False),
        axis=alt.Axis(tickCount=width // 90),
    )
    bars = (
        alt.Chart(data(values))
        .mark_bar(height={"band": 0.8}, clip=True)
        .encode(
            x=x,
            y=design_axis(rows, width),
            yOffset=alt.YOffset("resource:N", sort=names),
            color=alt.Color("resource:N", scale=scale, sort=names, legend=series_legend(width)),
            **marks(),
        )
    )
    limit = alt.Chart(data([{"x": 100}])).mark_rule(strokeDash=[5, 4], color="#c8516a", aria=False).encode(x="x:Q")
    parts = sorted({row.facts["part"] for row in rows if "part" in row.facts})
    caption = (
        f"Share of each resource of {', '.join(parts) or 'the part'} at C synthesis; beyond the dashed line a design "
        f"does not fit.{shown_of(comparison, len(rows), Estimate)}"
    )
    height = (9 * len(names) + 10) * max(len(rows), 2)
    return Chart("utilization", "Utilization of the part", caption, finished(alt.layer(bars, limit), width, height))


def ranges(comparison: Comparison, width: int) -> Chart | None:
    """What weights and activations of one design span against what their types can hold, in powers of two."""
    import altair as alt

    row = profiled(comparison)
    values = range_values(row) if row else []
    if row is None or not values:
        return None
    names = [value["what"] for value in values]
    x = alt.X("low:Q", title="Magnitude (power of two)", axis=alt.Axis(tickMinStep=1))
    y = alt.Y("what:N", sort=names, title=None, axis=alt.Axis(labelLimit=width // 2, ticks=False, domain=False))
    base = alt.Chart(data(values))
    held = base.mark_bar(height={"band": 0.66}, color=GREY, opacity=0.28, aria=False).encode(x=x, x2="high:Q", y=y)
    colour = alt.Color(
        "kind:N",
        scale=alt.Scale(domain=["weights", "activations"], range=list(SERIES_COLOURS[:2])),
        legend=alt.Legend(title=None, symbolType="square"),
    )
    used = base.mark_bar(height={"band": 0.3}).encode(x=x, x2="used:Q", y=y, color=colour, **marks())
    ends = [
        base.transform_filter(f"datum.overflows > 0 && {test}")
        .mark_point(shape="triangle-right", filled=True, opacity=1, size=80, color=shade, aria=False)
        .encode(x="used:Q", y=y)
        for test, shade in (("datum.wrapped == 0", GREY), ("datum.wrapped > 0", "#c8516a"))
    ]
    caption = (
        "The wide grey bar is what the type holds, from its least significant bit to its largest value; the "
        "narrow bar ends at the largest magnitude seen on the checked images. Grey beyond it is unused headroom. A "
        "grey arrow says that values saturated, as a quantizer clips them; a red one that values wrapped around."
    )
    spec = finished(alt.layer(held, used, *ends), width, 20 * len(values))
    return Chart("ranges", f"Ranges in {row.name}", caption, spec)


def bit_loss(comparison: Comparison, width: int) -> Chart | None:
    """Signal to error by layer, of the designs that differ from their model: where the bits go."""
    import altair as alt

    rows = [row for row in comparison.rows if errors_of(row)][:MOST_LOSSES]
    values: Values = [loss_value(row, error) for row in rows for error in errors_of(row) if error.sqnr_db is not None]
    if not values:
        return None
    names = list(dict.fromkeys(error.layer for row in rows for error in errors_of(row)))
    y = alt.Y("layer:N", sort=names, title=None, axis=alt.Axis(labelLimit=width // 2, ticks=False, domain=False))
    scale = alt.Scale(domain=[row.name for row in rows], range=list(SERIES_COLOURS[: len(rows)]))
    chart = (
        alt.Chart(data(values))
        .mark_bar()
        .encode(
            x=alt.X("value:Q", title="Signal to error (dB)", scale=alt.Scale(zero=True)),
            y=y,
            yOffset=alt.YOffset("design:N", sort=[row.name for row in rows]),
            color=alt.Color("design:N", scale=scale, legend=series_legend(width) if len(rows) > 1 else None),
            **marks(),
        )
    )
    caption = (
        "How close each layer is to the model: 10 log10 of signal to error power on checked images, 6 dB are a bit. "
        "Where a bar is much shorter than that of the layer before it, bits are lost. Exact layers have no bar."
    )
    height = (9 * len(rows) + 10) * max(len(names), 2)
    return Chart("bit_loss", "Where the bits go", caption, finished(chart, width, height))


def errors_of(row: Implementation) -> tuple[LayerError, ...]:
    """Layer errors of a design's check, the last one that has any."""
    return next((part.errors for part in row.parts[::-1] if isinstance(part, CheckResult) and part.errors), ())


def loss_value(row: Implementation, error: LayerError) -> dict[str, Any]:
    tip = f"{row.name}; {error.layer}; {error.precision}: {error.sqnr_db:.1f} dB, at most {error.maximum:.3g} off"
    return {"design": row.name, "layer": error.layer, "value": error.sqnr_db, "tip": tip}


def profiled(comparison: Comparison) -> Implementation | None:
    """The recommended design if it has a profile, else the first design that has one."""
    first = recommended(comparison)
    rows = [first, *comparison.rows] if first else list(comparison.rows)
    return next((row for row in rows if range_values(row)), None)


def range_values(row: Implementation) -> Values:
    """One value per weight array and profiled activation: the exponents held and used."""
    view: DesignView | None = part_of(row, DesignView)
    values: Values = []
    profiles = {
        profile.layer: profile
        for part in row.parts
        if isinstance(part, CheckResult | Evaluation)
        for profile in part.profile
    }
    for layer in view.layers if view else ():
        if layer.weight and layer.weight_minimum is not None and layer.weight_maximum is not None:
            largest = max(abs(layer.weight_minimum), abs(layer.weight_maximum))
            values += range_value(f"{layer.name} weights", "weights", layer.weight, largest)
        if profile := profiles.pop(layer.name, None):
            values += activation_value(profile)
    for profile in profiles.values():
        values += activation_value(profile)
    return values


def activation_value(profile: LayerProfile) -> Values:
    largest = max(abs(profile.minimum), abs(profile.maximum))
    return range_value(profile.layer, "activations", profile.precision, largest, profile)


def range_value(what: str, kind: str, precision: str, largest: float, profile: LayerProfile | None = None) -> Values:
    """One bar, or none where the type is no fixed-point type or every value is zero."""
    try:
        held = Precision.parse(precision)
    except ConfigError:
        return []
    if largest <= 0:
        return []
    furthest = max(held.maximum, -held.minimum)
    low, high, used = -held.fraction_bits, math.log2(furthest), math.log2(largest)
    overflows, wrapped = overflow_counts(profile)
    return [
        {
            "what": what,
            "kind": kind,
            "low": low,
            "high": max(high, low + 0.2),
            "used": max(used, low + 0.1),
            "headroom": high - used,
            "overflows": overflows,
            "wrapped": wrapped,
            "tip": f"{what}; {precision}; holds up to {held.maximum:.6g}, steps of {held.lsb:.6g}; "
            f"largest seen {largest:.6g}, headroom {high - used:.1f} bits{overflow_words(profile)}",
        }
    ]


def overflow_counts(profile: LayerProfile | None) -> tuple[int, int]:
    """Values that did not fit, and those of them that wrapped: all, where the record does not tell them apart."""
    overflows = (profile.overflows or 0) if profile else 0
    return overflows, overflows if profile is None or profile.wrapped is None else profile.wrapped


def overflow_words(profile: LayerProfile | None) -> str:
    overflows, wrapped = overflow_counts(profile)
    if profile is None or not overflows:
        return ""
    if profile.wrapped is None:
        return f"; {overflows:,} of {profile.total or 0:,} values saturated or wrapped"
    return f"; of {profile.total or 0:,} values {overflows - wrapped:,} saturated and {wrapped:,} wrapped"


def confusion(comparison: Comparison, width: int) -> Chart | None:
    """Which classes the recommended design (or else the first judged row) takes for which."""
    import altair as alt

    first = recommended(comparison)
    rows = [first, *comparison.rows] if first else list(comparison.rows)
    found = next(((row, judged) for row in rows if (judged := confusion_of(row))), None)
    if found is None or len(found[1][1]) > MOST_CLASSES:
        return None
    row, (matrix, names, who) = found
    values = [
        {
            "label": names[i],
            "said": names[j],
            "count": count,
            "share": count / max(sum(line), 1),
            "tip": f"{names[i]} taken for {names[j]}; {count:,} of {sum(line):,} images",
        }
        for i, line in enumerate(matrix)
        for j, count in enumerate(line)
    ]
    side = min(width, 26 * len(names) + 40)
    x = alt.X(
        "said:N", sort=list(names), title="Class answered", axis=alt.Axis(orient="top", labelAngle=-45, ticks=False)
    )
    y = alt.Y("label:N", sort=list(names), title="Class of the image", axis=alt.Axis(ticks=False))
    base = alt.Chart(data(values)).encode(x=x, y=y)
    scale = alt.Scale(domain=[0, 1], range=[0.04, 1], type="pow", exponent=0.5)
    shade = alt.Opacity("share:Q", scale=scale, legend=None)
    cells = base.mark_rect(color="#2f6fae").encode(opacity=shade, **marks())
    ink = alt.condition("datum.share > 0.3", alt.value("white"), alt.value("#444b55"))
    counts = base.transform_filter("datum.count > 0").mark_text(fontSize=9.5, aria=False)
    counts = counts.encode(text="count:Q", color=ink)
    caption = f"Judged by {who}: images of each class (rows) by the class answered (columns)."
    return Chart("confusion", f"Confusion of {row.name}", caption, finished(alt.layer(cells, counts), side, side))


def confusion_of(row: Implementation) -> tuple[tuple[tuple[int, ...], ...], tuple[str, ...], str] | None:
    """The matrix, the class names and who computed it; the evaluation on most images is preferred."""
    judged = [part for part in row.parts if isinstance(part, Evaluation) and part.confusion]
    if judged:
        most = max(judged, key=lambda part: part.images)
        return most.confusion, most.class_names, f"{most.engine} on {most.images:,} images"
    record = part_of(row, BaselineRecord)
    if record is None or not record.confusion:
        return None
    names = record.class_names or tuple(str(index) for index in range(len(record.confusion)))
    return record.confusion, names, f"{record.engine} on {sum(map(sum, record.confusion)):,} images"
