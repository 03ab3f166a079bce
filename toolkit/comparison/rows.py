"""One row from the records of one implementation: each record contributes figures and facts.

A record type is taught by registering a function with :func:`contribution`; live csim libraries
and emulators are recognized by their ``project`` and ``predict``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import singledispatch
from pathlib import Path
from typing import Any, Literal

import numpy as np

from toolkit import records
from toolkit.baselines.evaluation import Evaluation, evaluate_on
from toolkit.comparison.columns import BY_KEY, normal
from toolkit.comparison.design import (
    DesignView,
    TrainView,
    design_view,
    graph_figures,
    graph_macs,
    model_figures,
    train_view,
)
from toolkit.comparison.reported import reported_figures
from toolkit.data import Dataset
from toolkit.errors import ComparisonError
from toolkit.hls.network import network_of
from toolkit.hls.reports import VendorReports
from toolkit.network import Graph, Layer
from toolkit.network.layers import Softmax
from toolkit.records import (
    Array,
    BaselineRecord,
    CheckResult,
    Estimate,
    Figure,
    Finding,
    HlsProject,
    Implementation,
    Metric,
    Source,
    TrainRecord,
)
from toolkit.store import read_json

# The nearer to the board, the better; a figure from a better source stands in the table and the
# others beside it under ``<name>_<source>``.
TRUST: tuple[Source, ...] = (
    "board",
    "vsynth",
    "cosim",
    "csynth",
    "csim",
    "emulation",
    "measured",
    "published",
    "model",
    "counted",
)


# hls4ml keeps strategies in lower case.
HLS4ML_SPELLING = {"latency": "Latency", "resource": "Resource"}

# What the note of a figure judged on some of the test samples says.
PARTIAL = re.compile(r"\bfirst [\d,]+ of [\d,]+ test ")

# Images whose layer outputs an emulator profiles when it is judged.
PROFILED = 256


@dataclass(frozen=True)
class Contribution:
    """What one record adds to a row."""

    figures: Mapping[str, Figure] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[Any, ...] = ()
    test_digest: str | None = None
    name: str | None = None
    family: Literal["fpga", "baseline", "model"] | None = None
    project_digest: str | None = None
    metrics: tuple[Metric, ...] = ()


@singledispatch
def contribution(part: Any) -> Contribution:
    """What a record adds to its row; raises ``ComparisonError`` for a type that has no place in a table."""
    if is_engine(part):
        found = contribution(subject(part))
        return replace(found, facts={**found.facts, "engine": engine_of(part)})
    raise ComparisonError(
        "compare takes TrainRecord, HlsProject, CsimLibrary, Emulator, CheckResult, Estimate, VendorReports, "
        f"Evaluation, BaselineRecord and Implementation, got {type(part).__name__}"
    )


def subject(engine: Any) -> HlsProject | Graph | records.Graph:
    """What a live csim library or emulator computes."""
    project = getattr(engine, "project", None)
    return project if isinstance(project, HlsProject) else engine.graph


def is_engine(part: Any) -> bool:
    """Whether this is a live csim library or emulator: it predicts, and says what."""
    known = isinstance(getattr(part, "project", None), HlsProject) or isinstance(
        getattr(part, "graph", None), Graph | records.Graph
    )
    return known and hasattr(part, "predict")


@contribution.register
def from_train(part: TrainRecord) -> Contribution:
    view = train_view(part)
    engine = "qkeras" if view.quantized else "keras"
    judged = {part.metric.name: normal(part.metric.name, part.merit)} if part.merit else {}
    figures = {**judged, **model_figures(part.model)}
    metrics = (part.metric,) if judged else ()
    return Contribution(figures, {"engine": engine}, (view,), part.test_digest, part.name, "model", metrics=metrics)


@contribution.register
def from_project(part: HlsProject) -> Contribution:
    config, graph = part.config, network_of(part)
    facts = {
        "part": config.part,
        "clock_period_ns": f"{config.clock_period_ns:g}",
        "io_type": config.io_type,
        "strategy": by_layers(graph, "strategy") or config.strategy,
        "reuse_factor": by_layers(graph, "reuse_factor") or str(config.reuse_factor),
        "backend": config.backend,
    }
    view = design_view(part.path.name, part.digest, graph, config, part.notes)
    return Contribution(graph_figures(graph), facts, (view,), None, part.path.name, "fpga", part.digest)


def by_layers(graph: Graph, setting: str) -> str:
    """A strategy or reuse factor over the layers that multiply: ``9``, ``25 to 1600``, ``Latency, Resource``."""
    chosen = [getattr(layer.build, setting) for layer in graph.layers if graph_macs(layer)]
    found = [value for value in chosen if value is not None]
    if len(set(found)) > 1 and all(isinstance(value, int) for value in found):
        return f"{min(found)} to {max(found)}"
    return ", ".join(sorted({HLS4ML_SPELLING.get(str(value), str(value)) for value in found}))


@contribution.register(Graph)
@contribution.register(records.Graph)
def from_graph(part: Graph | records.Graph) -> Contribution:
    graph = network_of(part)
    view = design_view("design", part.digest, graph)
    return Contribution(graph_figures(graph), {}, (view,), None, None, "fpga")


@contribution.register
def from_estimate(part: Estimate) -> Contribution:
    keys = ("latency_us", "latency_cycles", "initiation_interval_cycles", "throughput_hz", "dsp", "lut", "ff")
    figures = {key: getattr(part, key) for key in (*keys, "bram_18k", "uram", "energy_uj")}
    figures |= {f"{resource.lower()}_percent": figure for resource, figure in part.utilization.items()}
    facts = {} if part.fits is None or not part.utilization else {"fits": "yes" if part.fits else "no"}
    facts |= {"unpriced": ", ".join(part.unpriced)} if part.unpriced else {}
    # A bound that leaves layers out would win every ranking: such a design has no totals to compare.
    figures = {key: figure for key, figure in {**part.figures, **figures}.items() if figure and not figure.bound}
    return Contribution(figures, facts, (part,), None, None, "fpga", part.project_digest)


@contribution.register
def from_reports(part: VendorReports) -> Contribution:
    facts = {"tool": part.csynth.tool_version} if part.csynth else {}
    return Contribution(merged(reported_figures(part)), facts, (), None, None, "fpga")


@contribution.register
def from_check(part: CheckResult) -> Contribution:
    left, right = part.compared
    verdict = "equal to" if part.equal else "differs from"
    if not part.exact and not part.equal:
        fact = {f"{right} against {left}": f"close to {left}: {part.closeness}"}
        return Contribution({}, fact, (part,), None, None, "fpga", part.project_digest)
    outputs = f"{part.outputs_different:,} of {part.outputs_total:,} outputs differ on {part.images:,} images"
    return Contribution(
        {},
        {f"{right}_against_{left}": f"{verdict} {left}: {outputs}"},
        (part,),
        None,
        None,
        "fpga",
        part.project_digest,
    )


@contribution.register
def from_finding(part: Finding) -> Contribution:
    return Contribution(parts=(part,), family="fpga")


@contribution.register
def from_evaluation(part: Evaluation) -> Contribution:
    facts = {"engine": part.engine} if part.engine in ("csim", "emulation") else {}
    return Contribution(part.figures, facts, (part,), part.test_digest, metrics=(part.metric, *part.others))


@contribution.register
def from_baseline(part: BaselineRecord) -> Contribution:
    # The time of a larger batch is not that of one image; it stays under its own name.
    latency = part.latency_us if part.batch == 1 else None
    named = {"latency_us": latency, "throughput_hz": part.throughput_hz, "accuracy": part.accuracy}
    figures = {**part.figures, **{key: figure for key, figure in named.items() if figure is not None}}
    facts = {
        "engine": part.engine,
        "precision": part.precision,
        "provider": part.provider,
        "batch": str(part.batch),
    }
    if missing := [note for note in part.notes if note.startswith("not available here")]:
        facts["missing"] = missing[0]
    metrics = (part.metric,) if part.merit else ()
    return Contribution(figures, facts, (part,), part.test_digest, part.name, "baseline", metrics=metrics)


@contribution.register
def from_implementation(part: Implementation) -> Contribution:
    return Contribution(
        part.figures, part.facts, part.parts, part.test_digest, part.name, part.family, metrics=part.metrics
    )


@contribution.register
def from_stored_design(part: DesignView) -> Contribution:
    return Contribution(parts=(part,), name=part.name, family="fpga", project_digest=part.digest)


@contribution.register
def from_stored_training(part: TrainView) -> Contribution:
    figures = {part.metric.name: part.merit} if part.merit else {}
    return Contribution(
        figures, parts=(part,), name=part.name, family="model", metrics=(part.metric,) if figures else ()
    )


def engine_of(engine: Any) -> str:
    """``csim`` or ``emulation``, from the live object's class."""
    return "emulation" if "emul" in type(engine).__name__.lower() else "csim"


def judge(
    engine: Any, dataset: Dataset, *, count: int | None = None, float_model: Any | Array | None = None
) -> Evaluation:
    """Run a csim library or an emulator on the first ``count`` test images (default all) and judge its outputs.

    An emulator also profiles its layers on the first ``PROFILED`` of them.
    ``float_model`` (a Keras model or its logits) is what agreement is counted against.
    """
    judged = evaluate_engine(engine, dataset, count, float_model)
    some = dataset.inputs("test", min(count or PROFILED, PROFILED))
    profile = tuple(engine.profile(some)) if hasattr(engine, "profile") else ()
    return replace(judged, profile=profile, environment=built_with(engine))


def evaluate_engine(
    engine: Any, dataset: Dataset, count: int | None = None, float_model: Any | Array | None = None
) -> Evaluation:
    """What a csim library or emulator computes for the first ``count`` test samples, judged; no layer is profiled."""
    float_outputs = float_model
    if hasattr(float_model, "predict"):
        from toolkit.training.train import predict

        float_outputs = predict(float_model, dataset.fitted(float_model), "test", count)
    return evaluate_outputs(dataset, engine, engine.predict(dataset.inputs("test", count)), count, float_outputs)


def evaluate_outputs(
    dataset: Dataset, engine: Any, outputs: Array, count: int | None = None, float_outputs: Array | None = None
) -> Evaluation:
    """What a csim library or emulator computed for the first ``count`` test samples, judged."""
    name = engine_of(engine)
    return evaluate_on(
        dataset,
        np.asarray(outputs),
        source="emulation" if name == "emulation" else "csim",
        engine=name,
        probabilities=ends_of(engine),
        count=count,
        float_outputs=float_outputs,
    )


def ends_of(engine: Any) -> tuple[bool, ...]:
    """For each output of a design, whether it ends in softmax or sigmoid; nothing where that is not known."""
    graph = getattr(subject(engine), "graph", None) or getattr(engine, "graph", None)
    if not isinstance(graph, Graph | records.Graph):
        return ()
    network = network_of(graph)
    makers = {tensor.name: layer for layer in network.layers for tensor in layer.outputs}
    return tuple(is_probability(makers[name]) for name in network.outputs)


def is_probability(layer: Layer) -> bool:
    """Whether a layer ends in softmax or sigmoid."""
    return isinstance(layer, Softmax) or "sigmoid" in str(getattr(layer, "function", ""))


def built_with(engine: Any) -> dict[str, str]:
    """The compiler of a csim library, which its build recorded."""
    build = Path(getattr(engine, "artifact", "")) / "build.json"
    return {"csim_compiler": read_json(build)["compiler"]} if build.is_file() else {}


def implementation_from(*parts: Any, name: str | None = None) -> Implementation:
    """One row from the records of one implementation; the best-grounded figure of each name stands.

    Raises ``ComparisonError`` when the records belong to different projects or test sets.
    """
    found = [contribution(part) for part in parts]
    digests = {item.project_digest for item in found if item.project_digest}
    if len(digests) > 1:
        raise ComparisonError(f"records of one row must be of one project, got digests {', '.join(sorted(digests))}")
    tests = {item.test_digest for item in found if item.test_digest}
    if len(tests) > 1:
        raise ComparisonError(f"records of one row must be of one test set, got digests {', '.join(sorted(tests))}")
    families = [item.family for item in found if item.family]
    return Implementation(
        name=name or next((item.name for item in found if item.name), "design"),
        family="fpga" if "fpga" in families else families[0] if families else "model",
        figures=merged([item.figures for item in found]),
        facts={key: text for item in found for key, text in item.facts.items()},
        test_digest=next(iter(tests), None),
        parts=distinct([part for item in found for part in item.parts]),
        metrics=max((item.metrics for item in found), key=len, default=()),
    )


def distinct(parts: Sequence[Any]) -> tuple[Any, ...]:
    """Parts in order; a project given through csim and emulator both is kept once."""
    kept: list[Any] = []
    for part in parts:
        same = isinstance(part, DesignView) and any(isinstance(item, DesignView) for item in kept)
        if not same and not any(part is item for item in kept):
            kept.append(part)
    return tuple(kept)


def merged(found: Sequence[Mapping[str, Figure]]) -> dict[str, Figure]:
    """For each name the figure of the most trusted source; the others as ``<name>_<source>``."""
    gathered: dict[str, list[Figure]] = {}
    for figures in found:
        for key, figure in figures.items():
            gathered.setdefault(key, []).append(normal(key, figure))
    result: dict[str, Figure] = {}
    for key, candidates in gathered.items():
        best, *rest = sorted(candidates, key=lambda figure: rank(key, figure))
        result[key] = best
        if (key in BY_KEY or PARTIAL.search(best.note or "")) and best.source != "counted":
            result |= {f"{key}_{other.source}": other for other in reversed(rest) if other.source != best.source}
    return result


def rank(key: str, figure: Figure) -> tuple[bool, int]:
    """Order of preference: judged on every test image first, then by source."""
    return bool(PARTIAL.search(figure.note or "")), TRUST.index(figure.source)
