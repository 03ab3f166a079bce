"""Engines by name, and what all measured ones share: run, judge, time, record.

An engine is a function ``(model, dataset, request) -> BaselineRecord`` registered with
:func:`engine`; adding one is a decorated function in a module named in ``MODULES``. A measured
engine builds a :class:`Runner` and hands it to :func:`measured`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.baselines import timing
from toolkit.baselines.evaluation import evaluate_on
from toolkit.data import Dataset, as_dataset
from toolkit.errors import ConfigError, DataError, ModelError, ToolNotFound, choose
from toolkit.records import Array, BaselineRecord, Figure, TrainRecord
from toolkit.store import package_versions

if TYPE_CHECKING:
    import keras

EVALUATION_BATCH = 256
BATCHES = (1, 16, 64, EVALUATION_BATCH)


@dataclass(frozen=True, eq=False)
class Request:
    """What is asked of an engine. ``float_logits`` are those of the float model on the test split."""

    name: str
    precision: str
    provider: str
    batches: tuple[int, ...]
    repeats: int
    threads: int | None = None
    float_logits: Array | None = None
    probabilities: tuple[bool, ...] = ()  # which outputs of the model end in softmax or sigmoid


@dataclass(frozen=True, eq=False)
class Runner:
    """A model ready to run: ``run(float32 images) -> logits``, and what is known about it.

    ``gpu`` says that the work is done on a GPU, whose energy and memory then count.
    """

    run: Callable[[Array], Array]
    provider: str
    fused: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    gpu: bool = False


Measure = Callable[["keras.Model", Dataset, Request], BaselineRecord]


@dataclass(frozen=True)
class Engine:
    """A registered engine: the precisions and providers it knows (the first is the default) and its function."""

    name: str
    precisions: tuple[str, ...]
    providers: tuple[str, ...]
    measure: Measure
    summary: str


ENGINES: dict[str, Engine] = {}
MODULES = ("keras_engine", "onnxruntime_engine", "litert_engine", "gpu_model")


def engine(name: str, *, precisions: Sequence[str], providers: Sequence[str]) -> Callable[[Measure], Measure]:
    """Register ``(model, dataset, request) -> BaselineRecord`` under a name."""

    def register(measure: Measure) -> Measure:
        summary = (measure.__doc__ or name).strip().splitlines()[0]
        ENGINES[name] = Engine(name, tuple(precisions), tuple(providers), measure, summary)
        return measure

    return register


def load_engines() -> dict[str, Engine]:
    """Import the modules that register engines; cheap, since each imports its heavy packages on use."""
    for module in MODULES:
        import_module(f"toolkit.baselines.{module}")
    return ENGINES


def measure_baseline(
    model: keras.Model | TrainRecord | str | Path,
    dataset: Dataset | str | Path,
    *,
    engine: str = "keras",
    precision: str | None = None,
    provider: str | None = None,
    batch: int | Sequence[int] | None = None,
    repeats: int = 30,
    threads: int | None = None,
    reference: Array | keras.Model | None = None,
    name: str | None = None,
    missing: str = "error",
) -> BaselineRecord:
    """Accuracy on the test split, batch latency and throughput of a float model on one engine.

    ``batch`` is one size or several (default 1, 16, 64 and 256): ``latency_us`` is that of the
    smallest, ``throughput_hz`` the best. Each is timed at least ``repeats`` times. ``threads``
    default to the cores this process may use. ``reference`` (a Keras model or its test logits;
    default ``model``) is what agreement is counted against. Raises ``ConfigError`` for an unknown
    engine, precision or provider, ``ToolNotFound`` where the provider is not on this machine and
    ``ModelError`` where the engine cannot take the model; with ``missing="row"`` the last two
    become a record without figures that says why.
    """
    chosen, precision, provider = check_request(engine, precision, provider)
    choose("missing", missing, ("error", "row"))
    batches = BATCHES if batch is None else (batch,) if isinstance(batch, int) else tuple(batch)
    counts = {"batch": batches, "repeats": (repeats,), "threads": (1 if threads is None else threads,)}
    for what, values in counts.items():
        if not values or min(values) < 1:
            raise ConfigError(f"{what} must be at least 1, got {', '.join(map(str, values)) or 'none'}")
    name = name or f"{engine} {precision} {provider}"
    from toolkit.training.losses import gives_probabilities
    from toolkit.zoo import keras_model

    live = keras_model(model)
    dataset = fitting(live, as_dataset(dataset))
    ends = gives_probabilities(live)
    request = Request(name, precision, provider, tuple(sorted(set(batches))), repeats, threads, probabilities=ends)
    try:
        logits = reference_logits(live if reference is None else reference, dataset)
        return chosen.measure(live, dataset, Request(**{**vars(request), "float_logits": logits}))
    except (ToolNotFound, ModelError) as why:
        if missing == "error":
            raise
        return unavailable(engine, dataset, request, str(why))


def check_request(engine: str, precision: str | None = None, provider: str | None = None) -> tuple[Engine, str, str]:
    """The engine of that name, its precision and its provider, with the engine's defaults.

    Raises ``ConfigError`` with the nearest for one that is unknown. Imports nothing heavy.
    """
    chosen = load_engines()[choose("engine", engine, load_engines())]
    wanted = choose(f"precision of {engine}", precision or chosen.precisions[0], chosen.precisions)
    return chosen, wanted, choose(f"provider of {engine}", provider or chosen.providers[0], chosen.providers)


def fitting(model: Any, dataset: Dataset) -> Dataset:
    """The dataset in the order of the model's inputs and outputs; raises ``ModelError`` unless they fit."""
    try:
        return dataset.fitted(model)
    except DataError as error:
        raise ModelError(f"a baseline's model must fit the data: {error}") from None


def reference_logits(reference: Any, dataset: Dataset) -> Array:
    """Test logits of a Keras model, or the array itself."""
    if hasattr(reference, "predict"):
        from toolkit.training.train import predict

        return predict(reference, dataset)
    return reference  # type: ignore[no-any-return]


def measured(engine_name: str, runner: Runner, dataset: Dataset, request: Request) -> BaselineRecord:
    """Judge a runner on the whole test split and time it at every batch size."""
    inputs = dataset.inputs("test")
    judged = evaluate_on(
        dataset,
        run_batches(runner, inputs),
        source="measured",
        engine=engine_name,
        probabilities=request.probabilities,
        float_outputs=request.float_logits,
    )
    watched = timing.reset_peak_memory()
    timings = [time_batch(runner, inputs, batch, request.repeats) for batch in request.batches]
    best = max(timings, key=lambda item: item.batch / item.median_us)
    figures = {**runner.figures, **judged.figures, **batch_figures(timings)}
    optional = {
        "energy_uj": best.energy_per_image(),
        "peak_memory_bytes": timing.peak_memory() if watched else None,
        "gpu_memory_bytes": timing.gpu_memory() if runner.gpu else None,
        "best_batch": Figure(best.batch, "images", "measured", note="batch size of the best throughput"),
    }
    figures |= {key: value for key, value in optional.items() if value is not None}
    return BaselineRecord(
        name=request.name,
        engine=engine_name,
        precision=request.precision,
        provider=runner.provider,
        batch=timings[0].batch,
        latency_us=timings[0].latency(),
        throughput_hz=best.throughput(),
        accuracy=judged.figures.get("accuracy"),
        metric=judged.metric,
        fused=runner.fused,
        environment={**package_versions(), **timing.machine(), **runner.environment},
        test_digest=dataset.test_digest,
        figures=figures,
        notes=(*runner.notes, *timing.spread_warning(timings)),
        confusion=judged.confusion,
        class_names=judged.class_names,
    )


def run_batches(runner: Runner, inputs: Array) -> Array:
    """Logits of all images, a batch at a time."""
    import numpy as np

    parts = [runner.run(inputs[begin : begin + EVALUATION_BATCH]) for begin in range(0, len(inputs), EVALUATION_BATCH)]
    return np.concatenate([np.asarray(part) for part in parts])


def time_batch(runner: Runner, inputs: Array, batch: int, repeats: int) -> timing.Timing:
    """Time one batch size on the first images, repeated when the batch is larger than the test split."""
    import numpy as np

    images = np.ascontiguousarray(np.resize(inputs, (batch, *inputs.shape[1:])))
    return timing.time_runs(lambda: runner.run(images), batch, repeats, gpu=runner.gpu)


def batch_figures(timings: Sequence[timing.Timing]) -> dict[str, Figure]:
    """Latency and throughput at every batch size, by name."""
    figures = {f"latency_us_batch_{item.batch}": item.latency() for item in timings}
    return figures | {f"throughput_hz_batch_{item.batch}": item.throughput() for item in timings}


def unavailable(engine_name: str, dataset: Dataset, request: Request, why: str) -> BaselineRecord:
    """A record without figures: the engine or provider is not on this machine, and why."""
    return BaselineRecord(
        name=request.name,
        engine=engine_name,
        precision=request.precision,
        provider=request.provider,
        batch=request.batches[0],
        latency_us=None,
        throughput_hz=None,
        accuracy=None,
        fused=(),
        environment={**package_versions(), **timing.machine()},
        test_digest=dataset.test_digest,
        notes=(f"not available here: {why}",),
    )
