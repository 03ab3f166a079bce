"""Mixed records to one comparison: rows, test set, Pareto fronts, ratios to a reference."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from toolkit import records
from toolkit.comparison.columns import BY_KEY, COLUMNS, FRONTS, Column, column_of, goodness
from toolkit.comparison.design import is_quantized
from toolkit.comparison.rows import engine_of, implementation_from, is_engine, judge
from toolkit.data import Dataset
from toolkit.errors import ComparisonError, ConfigError, choose
from toolkit.hls.network import network_of
from toolkit.names import shown
from toolkit.network import Graph
from toolkit.records import (
    ACCURACY,
    Array,
    BaselineRecord,
    Figure,
    HlsProject,
    Implementation,
    Metric,
    TrainRecord,
    same_test_set,
)
from toolkit.store import package_versions
from toolkit.tables import html_table

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, eq=False)
class Comparison:
    """Rows on one test set. ``reference`` names the row that ratios are against; ``facts`` are the run's own."""

    rows: tuple[Implementation, ...]
    reference: str | None = None
    test_digest: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)  # dataset, command, design file, ...

    def row(self, name: str) -> Implementation:
        """The row of that name; raises ``ConfigError`` naming the nearest."""
        choose("row", name, [row.name for row in self.rows])
        return next(row for row in self.rows if row.name == name)

    def columns(self) -> tuple[Column, ...]:
        """Known columns that some row has a figure for; URAM only where some design takes any."""
        present = {key for row in self.rows for key, figure in row.figures.items() if figure.value or key != "uram"}
        own = [metric.name for metric in self.metrics if metric.name not in {column.key for column in COLUMNS}]
        keys = [*own, *(column.key for column in COLUMNS)]
        return tuple(self.column(key) for key in keys if key in present)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What the rows are judged by; the first decides."""
        return next((row.metrics for row in self.rows if row.metrics), (ACCURACY,))

    @property
    def metric(self) -> Metric:
        """The figure of merit that decides."""
        return self.metrics[0]

    @property
    def merit_word(self) -> str:
        """The figure of merit within a sentence: ``accuracy``, ``RMSE``, ``ROC AUC``."""
        title = self.metric.title
        return title if title[:2].isupper() else title[0].lower() + title[1:]

    @property
    def noun(self) -> str:
        """What a test sample is called."""
        return "samples" if "test samples" in self.facts else "images"

    def column(self, key: str) -> Column:
        """How a figure is titled and shown."""
        return column_of(key, self.metrics)

    def ratio(self, row: Implementation, key: str) -> float | None:
        """This row's figure divided by the reference row's; nothing where either is missing or zero."""
        if self.reference is None:
            return None
        mine, theirs = row.figures.get(key), self.row(self.reference).figures.get(key)
        return mine.value / theirs.value if mine and theirs and theirs.value else None

    def fronts(self) -> Mapping[str, tuple[str, ...]]:
        """Names on each Pareto front of ``FRONTS`` (the figure of merit against a cost), cheapest first."""
        return self._fronts

    @cached_property
    def _fronts(self) -> Mapping[str, tuple[str, ...]]:
        return {name: pareto(self.rows, cost, self.metric.name) for name, cost in FRONTS.items()}

    def to_records(self) -> list[dict[str, Any]]:
        """One mapping per row: figures in their stored units, with source, interval, ratio and Pareto marks."""
        fronts = self.fronts()
        return [flat(self, row, fronts) for row in self.rows]

    def chart(self, y: str, x: str, width: int = 520) -> Any:
        """One figure against another, as an Altair chart: ``chart("accuracy", "latency_us")``.

        Raises ``ConfigError`` for a figure that no row has.
        """
        import altair as alt

        from toolkit.comparison.scatter import scatter

        known = [column.key for column in self.columns()]
        merit, cost = (self.column(choose("figure", key, known)) for key in (y, x))
        title = f"{merit.title} against {cost.title}"
        drawn = scatter(self, merit, cost.key, f"{y}_{x}", title, title, width)
        if drawn is None:
            raise ConfigError(f"no row has both {y} and {x}")
        return alt.Chart.from_dict(dict(drawn.spec))

    def _repr_html_(self) -> str:
        """The table of the report, for a notebook."""
        columns = self.columns()
        rows = [
            (row.name, *(shown_cell(column, row.figures.get(column.key)) for column in columns)) for row in self.rows
        ]
        return html_table("comparison", ("implementation", *(column.heading for column in columns)), rows)

    def to_frame(self) -> pandas.DataFrame:
        """:meth:`to_records` as a table."""
        import pandas

        return pandas.DataFrame(self.to_records())


def compare(
    records: Iterable[Any] | Mapping[str, Sequence[Any]],
    *,
    reference: str | None = None,
    dataset: Dataset | None = None,
    float_model: Any | Array | None = None,
    count: int | None = None,
    facts: Mapping[str, str] | None = None,
) -> Comparison:
    """One row per implementation from a mixed list of records and live objects.

    Records of one design are joined by their project's digest; an estimate, a check or a quantized
    training without one joins the only design that still lacks it; a quantized training begins a
    design. A list inside the list (or a
    mapping from row name to records) says outright which belong together.

    With ``dataset``, emulators are run on its test images and csim libraries on the first ``count``
    of them (default all) and judged, against ``float_model`` (default: the float training in ``records``)
    for agreement. ``reference`` names the row that ratios are against (default: the first float
    baseline or model). Raises ``ComparisonError`` when test sets differ or a join is ambiguous, and
    ``ConfigError`` for a reference that is no row.
    """
    groups = grouped(records)
    if not groups:
        raise ComparisonError("compare needs at least one record, got none")
    if dataset is not None:
        float_model = float_model if float_model is not None else float_training(groups)
        groups = [(name, judged(parts, dataset, count, float_model)) for name, parts in groups]
    rows = unique([implementation_from(*parts, name=name) for name, parts in groups])
    test_digest = same_test_set(rows)
    same_metric(rows)
    chosen = reference or default_reference(rows)
    if chosen is not None:
        choose("reference", chosen, [row.name for row in rows])
    known = {"dataset": dataset.name, f"test {dataset.noun}": f"{dataset.size():,}"} if dataset else {}
    return Comparison(rows, chosen, test_digest, package_versions(), {**known, **(facts or {})})


Group = tuple[str | None, list[Any]]


def grouped(records: Iterable[Any] | Mapping[str, Sequence[Any]]) -> list[Group]:
    """Records that make one row each, in the order they were given."""
    if isinstance(records, Mapping):
        return [(name, listed(parts)) for name, parts in records.items()]
    if not isinstance(records, Iterable) or isinstance(records, str | bytes):
        raise ComparisonError(f"compare takes a list of records, or a mapping from names to them, got {shown(records)}")
    groups: list[Group] = []
    for record in records:
        if isinstance(record, list | tuple):
            groups.append((None, list(record)))
        elif stands_alone(record):
            groups.append((None, [record]))
        else:
            place(record, groups)
    return groups


def listed(parts: Any) -> list[Any]:
    return list(parts) if isinstance(parts, list | tuple) else [parts]


def stands_alone(record: Any) -> bool:
    """Baselines, ready rows and float trainings are rows by themselves."""
    if isinstance(record, BaselineRecord | Implementation):
        return True
    return isinstance(record, TrainRecord) and not is_quantized(record.model)


def place(record: Any, groups: list[Group]) -> None:
    """Put a record of an FPGA design into its group, or begin one."""
    same = [parts for _, parts in groups if any(same_design(part, record) for part in parts)]
    if same:
        same[0].append(record)
        return
    open_groups = [parts for _, parts in groups if takes(parts, record)]
    if isinstance(record, TrainRecord) or not open_groups:
        groups.append((None, [record]))
    elif len(open_groups) > 1:
        raise ComparisonError(
            f"which design a {type(record).__name__} belongs to must be plain, got {len(open_groups)} designs without "
            "one; put the records of one design into a list of their own: compare([[training, csim, estimate], ...])"
        )
    else:
        open_groups[-1].append(record)


def takes(parts: list[Any], record: Any) -> bool:
    """Whether a group is an FPGA design that still lacks such a record (and is of no other project)."""
    if any(stands_alone(part) for part in parts) or any(same_design(part, record) is False for part in parts):
        return False
    return not any(type(part) is type(record) for part in parts)


def same_design(one: Any, other: Any) -> bool | None:
    """Whether two records are of one project; nothing where they do not say."""
    for mine, theirs in zip(identity(one), identity(other), strict=True):
        if mine and theirs:
            return mine == theirs
    return None


def identity(record: Any) -> tuple[str | None, str | None]:
    """Digests of the HLS project and of the network that a record is of, where it says."""
    project = record if isinstance(record, HlsProject) else getattr(record, "project", None)
    if isinstance(project, HlsProject):
        return project.digest, network_of(project).digest
    graph = getattr(record, "graph", None)
    own = network_of(graph).digest if isinstance(graph, Graph | records.Graph) else None
    return getattr(record, "project_digest", None), own


def float_training(groups: Sequence[Group]) -> Any | None:
    """The float Keras model among the records, if there is one."""
    trained = (part for _, parts in groups for part in parts if isinstance(part, TrainRecord))
    return next((part.model for part in trained if not is_quantized(part.model)), None)


def judged(parts: list[Any], dataset: Dataset, count: int | None, float_model: Any) -> list[Any]:
    """The parts plus an evaluation of every live engine among them."""
    found = []
    for engine in filter(is_engine, parts):
        some = count if engine_of(engine) == "csim" else None  # an emulator is quick enough for all
        found.append(judge(engine, dataset, count=some, float_model=float_model))
    return [*parts, *found]


def unique(rows: Sequence[Implementation]) -> tuple[Implementation, ...]:
    """Rows with distinct names: the second ``cnn_q6`` becomes ``cnn_q6 (2)``."""
    seen: dict[str, int] = {}
    result = []
    for row in rows:
        seen[row.name] = seen.get(row.name, 0) + 1
        name = row.name if seen[row.name] == 1 else f"{row.name} ({seen[row.name]})"
        result.append(Implementation(**{**vars(row), "name": name}))
    return tuple(result)


def same_metric(rows: Sequence[Implementation]) -> None:
    """Raise ``ComparisonError`` naming two rows that are judged by different figures of merit."""
    judged = [row for row in rows if row.metrics]
    for row in judged[1:]:
        one, other = judged[0].metrics[0].name, row.metrics[0].name
        if one != other:
            raise ComparisonError(
                f"a comparison needs one figure of merit, got {one} for {judged[0].name!r} and {other} for {row.name!r}"
            )


def default_reference(rows: Sequence[Implementation]) -> str | None:
    """The first measured float32 baseline, else the first model row, else the first row."""
    floats = [row for row in rows if row.facts.get("precision") == "float32" and "latency_us" in row.figures]
    models = [row for row in rows if row.family == "model"]
    return next((row.name for row in (*floats, *models, *rows)), None)


def pareto(rows: Sequence[Implementation], x: str, y: str) -> tuple[str, ...]:
    """Names of the rows that no other row beats on both ``x`` and ``y``, in order of ``x``.

    Better is lower or higher as the columns say. Rows without either figure have no place in it.
    """
    judged = [row for row in rows if x in row.figures and y in row.figures]
    points = {row.name: (merit(row, x), merit(row, y)) for row in judged}
    front = [name for name, point in points.items() if not any(dominates(other, point) for other in points.values())]
    return tuple(sorted(front, key=lambda name: -points[name][0]))


def merit(row: Implementation, key: str) -> float:
    """A row's figure turned so that larger is better."""
    return goodness(key, row.figures[key], row.metrics)


def shown_cell(column: Column, figure: Figure | None) -> str:
    """``97.40 emulation``: a figure with its source, or a dash."""
    return "\N{EN DASH}" if figure is None else f"{column.text(figure.value)} {figure.source}"


def dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """At least as good on both and better on one."""
    return one[0] >= other[0] and one[1] >= other[1] and one != other


def identified(facts: Mapping[str, str]) -> dict[str, str]:
    """Facts under keys that are identifiers, whatever a caller named them."""
    return {re.sub(r"\W+", "_", key): text for key, text in facts.items()}


def flat(comparison: Comparison, row: Implementation, fronts: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """A row as one level of keys, for a data frame or CSV."""
    line: dict[str, Any] = {"name": row.name, "family": row.family, **identified(row.facts)}
    order = [metric.name for metric in comparison.metrics if metric.name not in BY_KEY] + list(BY_KEY)
    for key in sorted(row.figures, key=lambda key: order.index(key) if key in order else len(order)):
        figure = row.figures[key]
        line |= {key: figure.value, f"{key}_source": figure.source}
        if figure.low is not None and figure.high is not None:
            line |= {f"{key}_low": figure.low, f"{key}_high": figure.high}
        ratio = comparison.ratio(row, key) if key in order else None
        if ratio is not None:
            line[f"{key}_ratio"] = ratio
    return line | {f"pareto_{name}": row.name in names for name, names in fronts.items()}
