"""A point's figures, from its design alone: quantize, train, convert, emulate, estimate.

Stages are shared by content. In the store: the float model and trained models (by what decides
them), the converted graph, the emulated accuracy of a graph on some images. In a worker: the last
few of each, and the estimator's analysis of a graph.

Strategy and reuse factor decide cycles and area, not the values computed: hls4ml gives Latency and
Resource the same types and the same sums, which are exact. So a model is converted once, with
strategy Latency and reuse factor 1, and the estimator varies both. Combinations that hls4ml builds
but computes wrongly are refused here as they are by a conversion. Distributed arithmetic is converted
as such. csim of the front's own projects proves it in every sweep (:mod:`toolkit.exploration.proof`).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from toolkit.config import DatasetConfig, DesignFile, EstimateConfig, HlsConfig, TaskConfig
from toolkit.data import Dataset
from toolkit.errors import ConfigError
from toolkit.exploration.jobs import TrainingStopped
from toolkit.exploration.points import PointRecord
from toolkit.exploration.settings import SweepHlsConfig
from toolkit.exploration.space import Point
from toolkit.records import Array, Estimate, Figure, Graph, Metric, TrainRecord
from toolkit.store import artifact, digest, float_arithmetic, package_versions, read_json, write_json

if TYPE_CHECKING:
    import keras

    from toolkit.estimation.estimate import Analysis

DA = "distributed_arithmetic"
FACTS = "facts.json"

# What of [hls] the conversion sees; the rest only moves cycles and area.
CONVERTED = ("backend", "io_type", "precision", "parallelization_factor")
CONVERTED_PER_LAYER = ("parallelization_factor", "precision", "table_size", "implementation")
RECORDED = (
    "latency_us", "latency_cycles", "initiation_interval_cycles", "throughput_hz", "energy_uj",
    "lut", "ff", "dsp", "bram_18k", "uram",
)  # fmt: skip
COUNTED = ("ebops", "bops", "weight_bytes")


@functools.cache
def versions() -> str:
    """Digest of the versions of what decides bits and figures."""
    return digest(package_versions())


def evaluate_point(point: Point, bar: Sequence[float] = ()) -> PointRecord:
    """Everything a sweep wants to know of a design; raises the stages' errors.

    ``bar`` is, per epoch, the validation accuracy below which a training is given up
    (``TrainingStopped``).
    """
    from toolkit.exploration.targets import resolve, with_depths

    clock: dict[str, float] = {}
    with timed(clock, "dataset"):
        dataset = dataset_of(point.file.dataset.model_dump_json(), point.file.task.model_dump_json())
    with timed(clock, "convert"):
        graph, facts = converted(point, dataset, bar)
    with timed(clock, "emulate"):
        merit = emulated_merit(graph, dataset, point)
    with timed(clock, "estimate"):
        analysis = analysis_of(graph, conversion_config(point.design.hls))
        hls = resolve(analysis, point.design.hls)
        depths = fifo_depths(analysis, hls, point.design.hls.fifo_depths == "needed")
        estimated = quick_estimate(with_depths(analysis, depths) if depths else analysis, hls)
    factors = reuse_factors(estimated)
    return PointRecord(
        point,
        "complete",
        figures=figures_of(dataset.metric, merit, facts["float accuracy"], graph, estimated),
        facts={
            **names(point, dataset, graph),
            "arithmetic": arithmetic(point, graph),
            "design": as_built(point, factors, depths),
        },
        notes=estimated.notes,
        reuse_factors=factors,
        fifo_depths=depths,
        stages=clock,
        history=tuple(facts["history"]),
    )


@contextmanager
def timed(clock: dict[str, float], stage: str) -> Iterator[None]:
    """Add the seconds a stage takes."""
    begun = time.perf_counter()
    yield
    clock[stage] = round(time.perf_counter() - begun, 4)


@functools.lru_cache(maxsize=2)
def dataset_of(settings: str, task: str = "{}") -> Dataset:
    """A dataset with its task, kept in the worker."""
    from toolkit.data import load_dataset

    return load_dataset(DatasetConfig.model_validate_json(settings), task=TaskConfig.model_validate_json(task))


def origin_of(point: Point, dataset: Dataset) -> str:
    """Digest of what decides the float model."""
    file = point.file
    content = file.model.content()
    settings = [file.model.model_dump_json(), file.train.model_dump_json(exclude={"progress", "checkpoint", "threads"})]
    return digest("float", dataset.digest, content, settings, versions(), float_arithmetic(file.train.threads))


def converted(point: Point, dataset: Dataset, bar: Sequence[float]) -> tuple[Graph, Mapping[str, Any]]:
    """The graph of a point's model, and facts about the training; from the worker or the store if known."""
    config = conversion_config(point.design.hls)
    origin = origin_of(point, dataset)
    key = digest("graph", origin, point.training, config.model_dump_json(), point.split, point.images)
    return remembered_graph(key, lambda folder: convert_into(folder, point, dataset, origin, config, bar))


GRAPHS: dict[str, tuple[Graph, Mapping[str, Any]]] = {}
KEPT_GRAPHS = 8


def remembered_graph(key: str, make: Callable[[Any], None]) -> tuple[Graph, Mapping[str, Any]]:
    """A converted graph: from memory, from the store, or made and stored."""
    from toolkit.hls.graph import load_graph

    if key not in GRAPHS:
        with artifact("sweep-graph", key) as folder:
            if not folder.complete:
                make(folder)
        while len(GRAPHS) >= KEPT_GRAPHS:
            GRAPHS.pop(next(iter(GRAPHS)))
        GRAPHS[key] = load_graph(folder.path), read_json(folder / FACTS)
    return GRAPHS[key]


def convert_into(
    folder: Any, point: Point, dataset: Dataset, origin: str, config: HlsConfig, bar: Sequence[float]
) -> None:
    """Quantize, train and convert a point's model; write graph and facts."""
    from toolkit.quiet import start_tensorflow

    start_tensorflow()
    from toolkit.hls.convert import convert
    from toolkit.hls.graph import save_graph
    from toolkit.training.threads import use_threads

    use_threads(point.file.train.threads)
    trained = float_of(origin, point, dataset)
    model, history = quantized(point, trained, dataset, bar)
    save_graph(convert(model, config).graph, folder.path)
    accuracy = float_merit(origin, trained, dataset, point)
    write_json(folder / FACTS, {"float accuracy": accuracy, "history": history})


FLOATS: dict[str, TrainRecord] = {}


def float_of(origin: str, point: Point, dataset: Dataset) -> TrainRecord:
    """The model the points start from, trained once per store and kept in the worker."""
    from toolkit.pipeline import first_model

    if origin not in FLOATS:
        FLOATS.clear()
        file = point.file
        quiet = file.train.change(progress=False)
        started = DesignFile(dataset=file.dataset, task=file.task, model=file.model, train=quiet)
        FLOATS[origin] = first_model(started, dataset)
    return FLOATS[origin]


def float_merit(origin: str, trained: TrainRecord, dataset: Dataset, point: Point) -> float | None:
    """The float model's figure of merit on the samples of the sweep; ``None`` without labels."""
    from toolkit.training import merit_on

    if dataset.task == "unlabelled":
        return None
    key = digest("float accuracy", origin, point.split, point.images)
    return stored_number(key, lambda: merit_on(trained.model, dataset, point.split, point.images))


def quantized(
    point: Point, trained: TrainRecord, dataset: Dataset, bar: Sequence[float]
) -> tuple[keras.Model, list[float]]:
    """The model to convert, without emptied channels, and how good each epoch of its training was on validation data.

    Good is the figure of merit, turned so that larger is better.
    """
    from toolkit.pipeline import design_model
    from toolkit.plan import start_of
    from toolkit.training import compact, train

    design = point.design
    if design.qat is None:
        return compact(start_of(design, trained.model, dataset)), []
    quiet = design.qat.change(progress=False)
    if quiet.epochs == 0:
        return compact(train(start_of(design, trained.model, dataset), dataset, quiet).model), []
    wanted, metric = design.change(qat=quiet), dataset.metric
    record = design_model(wanted, trained, dataset, lambda history: stop_behind(history, bar, metric))
    return record.model, validation_gains(record.history, dataset.metric)


def validation_gains(history: Mapping[str, Sequence[float]], metric: Metric) -> list[float]:
    """The figure of merit on the validation split after each epoch, turned so that larger is better."""
    return [metric.gain(float(value)) for value in history.get(f"val_{metric.name}", ())]


def stop_behind(history: Mapping[str, Sequence[float]], bar: Sequence[float], metric: Metric) -> None:
    """Raise ``TrainingStopped`` when the best epoch so far is below the bar of this epoch."""
    seen = validation_gains(history, metric)
    if seen and len(seen) <= len(bar) and max(seen) < bar[len(seen) - 1]:
        raise TrainingStopped(seen)


def conversion_config(hls: SweepHlsConfig) -> HlsConfig:
    """The configuration a model is converted with: strategy Latency or distributed arithmetic, reuse factor 1."""
    layers = {}
    for name, layer in hls.layers.items():
        kept = {key: getattr(layer, key) for key in CONVERTED_PER_LAYER if getattr(layer, key) is not None}
        if DA in (layer.strategy, hls.strategy):
            kept["strategy"] = DA if (layer.strategy or hls.strategy) == DA else "Latency"
        if kept:
            layers[name] = type(layer)(**kept)
    strategy = DA if hls.strategy == DA else "Latency"
    return HlsConfig(**{key: getattr(hls, key) for key in CONVERTED}, strategy=strategy, layers=layers)


def stored_number(key: str, make: Callable[[], float]) -> float:
    """A number from the store, or made and stored."""
    with artifact("sweep-number", key) as folder:
        if not folder.complete:
            write_json(folder / "number.json", make())
        return float(read_json(folder / "number.json"))


NUMBERS: dict[str, float] = {}


def remembered_number(key: str, make: Callable[[], float]) -> float:
    """A number from the worker's memory, from the store, or made and stored."""
    if key not in NUMBERS:
        NUMBERS[key] = stored_number(key, make)
    return NUMBERS[key]


def emulated_merit(graph: Graph, dataset: Dataset, point: Point) -> Figure:
    """What a design is worth on the sweep's samples, bit for bit as csim would compute it."""
    if len(dataset.heads) > 1:
        raise ConfigError(f"a sweep judges networks of one output, {dataset.name} has {len(dataset.heads)}")
    count = min(point.images, dataset.size(point.split))
    key = digest("emulated", graph.digest, dataset.digest, point.split, count, versions())

    def emulate_now() -> float:
        from toolkit.comparison.rows import ends_of
        from toolkit.data.judging import judged
        from toolkit.emulation import emulate

        emulator = emulate(graph)
        outputs = emulator.predict(dataset.inputs(point.split, count))
        floats = float_outputs(point, dataset, count) if dataset.task == "unlabelled" else None
        (answers,) = judged(dataset, outputs, ends_of(emulator), point.split, count, floats)
        return dataset.head.merit.plain(answers)

    value = remembered_number(key, emulate_now)
    return Figure(value, dataset.metric.unit, "emulation", note=f"{count:,} {point.split} {dataset.noun}")


def float_outputs(point: Point, dataset: Dataset, count: int) -> Array:
    """What the float model answers, which is what is right without labels."""
    from toolkit.training import predict

    trained = float_of(origin_of(point, dataset), point, dataset)
    return predict(trained.model, dataset.fitted(trained.model), point.split, count)


ANALYSES: dict[str, Analysis] = {}


def analysis_of(graph: Graph, config: HlsConfig) -> Analysis:
    """The estimator's reading of a graph, kept in the worker."""
    from toolkit.estimation import analyze

    key = digest(graph.digest, config.model_dump_json())
    if key not in ANALYSES:
        while len(ANALYSES) >= KEPT_GRAPHS:
            ANALYSES.pop(next(iter(ANALYSES)))
        ANALYSES[key] = analyze(graph, config)
    return ANALYSES[key]


def quick_estimate(analysis: Analysis, hls: HlsConfig) -> Estimate:
    """The estimate of a configuration from first and last tokens."""
    from toolkit.estimation import estimate_variants

    return next(iter(estimate_variants(analysis, [hls], EstimateConfig(fifo_simulation=False))))


def fifo_depths(analysis: Analysis, hls: HlsConfig, needed: bool) -> Mapping[str, int]:
    """Depths of the FIFOs that do not keep hls4ml's default: those asked for, or those the design needs.

    Needed is one token more than the simulation says, as hls4ml's own optimisation takes from cosim
    (``backends/vitis/passes/fifo_depth_optimization.py``), and never more than the default unless it must be.
    """
    from toolkit.estimation import estimate_variants

    if not needed or hls.io_type != "io_stream":
        return hls.fifo_depths
    simulated = next(iter(estimate_variants(analysis, [hls], EstimateConfig())))
    return {
        fifo.name: min(fifo.needed_depth + 1, max(fifo.needed_depth, fifo.default_depth)) for fifo in simulated.fifos
    }


def figures_of(
    metric: Metric, merit: Figure, float_value: float | None, graph: Graph, estimated: Estimate
) -> dict[str, Figure]:
    """A point's figures by name."""
    from toolkit.exploration.compression import counted_weights

    found = {metric.name: merit}
    if float_value is not None:
        loss = metric.gain(float_value) - metric.gain(merit.value)
        note = f"float {float_value:.4f}, {merit.note}"
        found[f"{metric.name}_loss"] = Figure(loss, metric.unit, "emulation", note=note)
    found |= {name: getattr(estimated, name) for name in RECORDED}
    found |= {name: estimated.figures[name] for name in COUNTED if name in estimated.figures}
    if estimated.utilization:
        name, share = max(estimated.utilization.items(), key=lambda item: item[1].value)
        found["utilization_percent"] = Figure(share.value, "%", share.source, share.low, share.high, note=name)
    return found | counted_weights(graph)


def names(point: Point, dataset: Dataset, graph: Graph) -> dict[str, str]:
    """What a record belongs to."""
    return {
        "dataset": dataset.name,
        "metric": dataset.metric.name,
        "model": point.file.model.label,
        "part": point.design.hls.part,
        "test_set": digest(dataset.test_digest if point.split == "test" else dataset.digest, point.split, point.images),
        "program": graph.digest,
    }


def reuse_factors(estimated: Estimate) -> dict[str, int]:
    """What each matrix product got."""
    return {
        layer.name: int(layer.figures["reuse_factor"].value)
        for layer in estimated.layers
        if "reuse_factor" in layer.figures and "macs" in layer.figures
    }


def arithmetic(point: Point, graph: Graph) -> str:
    """Digest of what decides the values a design computes: the converted network, and how its products are built."""
    hls = point.design.hls
    own = {name: layer.strategy for name, layer in hls.layers.items() if layer.strategy}
    return digest("arithmetic", graph.digest, hls.strategy, own)


# What a design asks for and does not always get.
ASKED = {"reuse_factor", "invalid_reuse_factor", "target_ii", "target_dsp", "fifo_depths", "layers"}


def as_built(point: Point, factors: Mapping[str, int], depths: Mapping[str, int]) -> str:
    """Digest of a design with the reuse factors and FIFO depths that it got in place of those asked for."""
    hls = point.design.hls
    layers = {name: layer.model_dump(mode="json", exclude={"reuse_factor"}) for name, layer in hls.layers.items()}
    kept = {name: entries for name, entries in layers.items() if any(value is not None for value in entries.values())}
    got = [hls.model_dump(mode="json", exclude=ASKED), kept, dict(factors), dict(depths)]
    return digest("design", point.training, got, point.split, point.images)
