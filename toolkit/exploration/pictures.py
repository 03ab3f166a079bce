"""A sweep in pictures: the trade-off, every point across its parameters, and which parameter matters."""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.comparison.columns import BY_KEY, number
from toolkit.comparison.drawing import GREY, Chart, data, finished, marks
from toolkit.exploration.narration import Say
from toolkit.exploration.points import PointRecord
from toolkit.exploration.results import SweepResult, short, sources_of
from toolkit.records import Figure

Values = list[dict[str, Any]]

KINDS = {"Pareto front": "#3a86c8", "holds the constraints": "#2f9e7a", "misses a constraint": GREY}
MOST_LINES = 300  # in the parallel coordinates; the front first of all
MOST_MARKS = 2000  # in the trade-off; the front and points drawn at random
IMPORTANCE_TRIALS = 4  # fewer say nothing about importance
MOST_TRIALS = 400  # more say little more about importance, and take its time with their square


def pictures(result: SweepResult, width: int = 640, say: Say = lambda line: None) -> dict[str, Chart]:
    """Every chart the points have data for, by name."""
    first, *others = result.objectives
    drawn = [trade_off(result, other, first, width) for other in others]
    drawn += [parallel(result, width), importance(result, width, say)]
    return {chart.name: chart for chart in drawn if chart is not None}


def title_of(name: str) -> str:
    """A figure's title and unit as an axis shows it."""
    return BY_KEY[name].heading if name in BY_KEY else name.replace("_", " ")


def shown(name: str, value: float) -> float:
    """A figure's value in the unit of its title."""
    return BY_KEY[name].shown(value) if name in BY_KEY else value


def text_of(name: str, figure: Figure) -> str:
    value = BY_KEY[name].text(figure.value) if name in BY_KEY else number(figure.value)
    return f"{title_of(name)}: {value} ({figure.source})"


def kind_of(result: SweepResult, record: PointRecord, front: set[str]) -> str:
    if record.digest in front:
        return "Pareto front"
    return "holds the constraints" if record.feasible(result.constraints) else "misses a constraint"


def tip(result: SweepResult, record: PointRecord) -> str:
    """What a mark says: the point, its parameters, its objectives."""
    params = ", ".join(f"{short(name)} {value}" for name, value in record.params.items())
    figures = [text_of(name, record.figures[name]) for name in result.objectives]
    return "; ".join([f"point {record.number}", params, *figures])


def known(result: SweepResult) -> list[PointRecord]:
    """Evaluated points with every objective, in the order they are drawn: the front last, on top of the others."""
    found = [record for record in result.points if record.state == "complete" and record.has(result.objectives)]
    front = {record.digest for record in result.pareto}
    return sorted(found, key=lambda record: (record.digest in front, record.feasible(result.constraints)))


def trade_off(result: SweepResult, across: str, up: str, width: int) -> Chart | None:
    """One objective against the first, the front joined by a line."""
    import altair as alt

    records = known(result)
    if not records:
        return None
    front = {record.digest for record in result.pareto}
    values: Values = [
        {
            "x": shown(across, record.figures[across].value),
            "y": shown(up, record.figures[up].value),
            "kind": kind_of(result, record, front),
            "tip": tip(result, record),
        }
        for record in marked(records, front)
    ]
    positive = all(value["x"] > 0 for value in values)
    wide = positive and max(v["x"] for v in values) > 30 * min(v["x"] for v in values)
    x = alt.X("x:Q", title=title_of(across), scale=alt.Scale(type="log" if wide else "linear", zero=False))
    y = alt.Y("y:Q", title=title_of(up), scale=alt.Scale(zero=False))
    colour = alt.Color("kind:N", title=None, scale=alt.Scale(domain=list(KINDS), range=list(KINDS.values())))
    base = alt.Chart(data(values))
    size = alt.condition("datum.kind == 'Pareto front'", alt.value(110), alt.value(60))
    dots = base.mark_circle(opacity=0.8).encode(x=x, y=y, color=colour, size=size, **marks())
    line = base.transform_filter("datum.kind == 'Pareto front'").mark_line(color=KINDS["Pareto front"], strokeWidth=1.5)
    joined = line.encode(x=x, y=y, order="x:Q")
    sources = "; ".join(f"{title_of(name)}: {', '.join(sources_of(records, name))}" for name in (up, across))
    held = ", ".join(result.constraints) or "no constraint"
    drawn = f"{len(values):,} of {len(records):,}" if len(values) < len(records) else f"{len(records):,}"
    caption = f"{drawn} points; {len(front)} on the front under {held}. {sources}."
    name = f"trade-off-{across}"
    return Chart(name, f"{title_of(up)} against {title_of(across)}", caption, finished(joined + dots, width, 360))


def marked(records: Sequence[PointRecord], front: set[str]) -> list[PointRecord]:
    """The points that get a mark, in their order: all, or the front and some drawn at random."""
    others = [record.digest for record in records if record.digest not in front]
    kept = front | set(random.Random(0).sample(others, min(len(others), MOST_MARKS)))
    return [record for record in records if record.digest in kept]


def parallel(result: SweepResult, width: int) -> Chart | None:
    """One line per point through its parameters and objectives, each axis from its least to its largest."""
    import altair as alt

    records = known(result)[-MOST_LINES:]
    if not records:
        return None
    axes = [axis for axis in coordinates(result, records) if len({position for position, _ in axis[1]}) > 1]
    if len(axes) < 2:
        return None
    front = {record.digest for record in result.pareto}
    values = [
        {
            "axis": title,
            "at": position,
            "label": label,
            "point": records[index].number,
            "kind": kind_of(result, records[index], front),
            "rank": records[index].digest in front,
            "tip": tip(result, records[index]),
        }
        for title, placed in axes
        for index, (position, label) in enumerate(placed)
    ]
    colour = alt.Color("kind:N", title=None, scale=alt.Scale(domain=list(KINDS), range=list(KINDS.values())))
    order = [title for title, _ in axes]
    x = alt.X("axis:N", sort=order, title=None, axis=alt.Axis(labelAngle=-20, grid=True))
    base = alt.Chart(data(values))
    lines = base.mark_line(strokeWidth=1.3).encode(
        x=x,
        y=alt.Y("at:Q", axis=None, scale=alt.Scale(domain=[-0.06, 1.06])),
        detail="point:N",
        color=colour,
        opacity=alt.condition("datum.rank", alt.value(0.95), alt.value(0.4)),
        **marks(),
    )
    ends = base.transform_aggregate(groupby=["axis", "at", "label"]).mark_text(fontSize=10, dx=4, align="left")
    labels = ends.encode(x=x, y="at:Q", text="label:N")
    caption = f"{len(records):,} points; each axis runs from its least (below) to its largest value (above)."
    return Chart("parallel", "Every point across its parameters", caption, finished(lines + labels, width, 340))


def coordinates(result: SweepResult, records: Sequence[PointRecord]) -> list[tuple[str, list[tuple[float, str]]]]:
    """Per axis its title and, for each point, a position in 0..1 and a label where the axis has few values."""
    found = []
    for name in result.parameters:
        placed = [record.place(name) for record in records]
        choices = sorted(set(placed), key=rank)
        span = max(len(choices) - 1, 1)
        ends = (choices[0], choices[-1])
        labels = {choice: str(choice) if len(choices) <= 8 or choice in ends else "" for choice in choices}
        found.append((short(name), [(choices.index(value) / span, labels[value]) for value in placed]))
    for name in result.objectives:
        values = [shown(name, record.figures[name].value) for record in records]
        low, high = min(values), max(values)
        shown_ends = {low: number(low), high: number(high)}
        width = high - low or 1.0
        found.append((title_of(name), [((value - low) / width, shown_ends.get(value, "")) for value in values]))
    return found


def rank(value: Any) -> tuple[str, float, str]:
    """Numbers in order before words in order."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return ("0", float(value), "") if is_number else ("1", 0.0, str(value))


def importances(result: SweepResult, say: Say = lambda line: None) -> dict[str, Mapping[str, float]]:
    """Share of each objective's variation that each parameter explains (fANOVA), by objective.

    Of a large sweep, ``MOST_TRIALS`` points drawn at random. Empty where points are too few or do not
    share their parameters.
    """
    records = known(result)
    if len(records) > MOST_TRIALS:
        records = random.Random(0).sample(records, MOST_TRIALS)
    found: dict[str, Mapping[str, float]] = {}
    for name in result.objectives:
        values = [record.figures[name].value for record in records]
        if len(records) >= IMPORTANCE_TRIALS and len(set(values)) > 1:
            say(f"importance of {len(result.parameters)} parameters for {name}, from {len(records):,} points")
            found[name] = fanova(result, records, values)
    return {name: shares for name, shares in found.items() if shares}


def fanova(result: SweepResult, records: Sequence[PointRecord], values: Sequence[float]) -> Mapping[str, float]:
    """Optuna's functional ANOVA of one figure, every parameter a number.

    A list of categories as Optuna takes it is a column for each, and the time goes with two to the
    power of their count.
    """
    import optuna

    shared = [name for name in result.parameters if all(name in record.point.params for record in records)]
    columns = {name: numbers([record.place(name) for record in records], values) for name in shared}
    columns = {name: column for name, column in columns.items() if len(set(column)) > 1}
    ranges = {
        name: optuna.distributions.FloatDistribution(min(column), max(column)) for name, column in columns.items()
    }
    study = optuna.create_study()
    study.add_trials(
        optuna.trial.create_trial(
            params={name: column[row] for name, column in columns.items()}, distributions=ranges, value=value
        )
        for row, value in enumerate(values)
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    shares: Mapping[str, float] = optuna.importance.get_param_importances(study, evaluator=evaluator) if ranges else {}
    return shares


def numbers(column: Sequence[Any], values: Sequence[float]) -> list[float]:
    """A parameter's values as numbers: themselves, or the rank of a word by the mean of the figure.

    That order is the one in which a regression tree would split the words (Fisher 1958; Breiman et al. 1984, 4.2.2).
    """
    if all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in column):
        return [float(item) for item in column]
    gathered: dict[str, list[float]] = {}
    for item, value in zip(column, values, strict=True):
        gathered.setdefault(str(item), []).append(value)
    order = sorted(gathered, key=lambda word: (statistics.fmean(gathered[word]), word))
    return [float(order.index(str(item))) for item in column]


def importance(result: SweepResult, width: int, say: Say = lambda line: None) -> Chart | None:
    """Bars: how much each parameter matters for each objective."""
    import altair as alt

    values: Values = [
        {
            "parameter": short(parameter),
            "share": 100 * share,
            "objective": title_of(objective),
            "tip": f"{short(parameter)} explains {100 * share:.0f} % of {title_of(objective)}",
        }
        for objective, shares in importances(result, say).items()
        for parameter, share in shares.items()
    ]
    if not values:
        return None
    bars = (
        alt.Chart(data(values))
        .mark_bar(color=KINDS["Pareto front"])
        .encode(
            x=alt.X("share:Q", title="share of the variation (%)"),
            y=alt.Y("parameter:N", title=None, sort="-x"),
            row=alt.Row(
                "objective:N", title=None, header=alt.Header(labelAngle=0, labelAlign="left", labelColor="#444b55")
            ),
            **marks(),
        )
    )
    count = len({value["parameter"] for value in values})
    used = min(len(known(result)), MOST_TRIALS)
    caption = f"Functional ANOVA (Optuna) of {used:,} of {len(known(result)):,} points, reuse factors as built."
    return Chart("importance", "Which parameter matters", caption, finished(bars, width - 150, 22 * count))
