"""What a sweep will do, checked on its base design and on every value of every dimension before any training.

The untrained network is quantized and converted once per arithmetic and estimated for each of these points.
What fails for all of them fails here; a value that no design can take is told, since its points will fail.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from toolkit.config import DesignFile, HlsConfig, ProofConfig
from toolkit.data import Dataset
from toolkit.errors import ConfigError, ToolkitError
from toolkit.exploration.evaluate import analysis_of, conversion_config, dataset_of, quick_estimate
from toolkit.exploration.space import Branch, Dimension, Point, Sweep
from toolkit.plan import (
    CALIBRATION_IMAGES,
    CSIM_BUILD_S,
    TIMED,
    TIMED_IMAGES,
    Pace,
    Plan,
    Step,
    about,
    check_design,
    check_schedules,
    counted,
    duration,
    opened_model,
    start_of,
)
from toolkit.process import cores
from toolkit.records import Graph
from toolkit.store import artifact, digest, write_json

if TYPE_CHECKING:
    import keras

MOST_TOLD = 8  # values that fail, in the notes
SHARED_BY_TRAININGS = ("hls", "proof")  # sections that no training depends on
SHARED_BY_FLOATS = ("quantization", "qat", *SHARED_BY_TRAININGS)


def begin(sweep: Sweep, workers: int | None, tell: Callable[[str], None]) -> None:
    """Plan a sweep and tell the plan, once per store: a sweep that goes on has been checked."""
    with artifact("sweep-plan", sweep.digest) as folder:
        if not folder.complete:
            plan = plan_sweep(sweep, workers)
            tell(str(plan))
            write_json(folder / "plan.json", str(plan))


def plan_sweep(sweep: Sweep, workers: int | None = None) -> Plan:
    """Check a sweep's base designs and every value of its dimensions; say what will be done and how long it takes.

    Raises what every point would raise: ``ConfigError``, ``DataError``, ``ModelError``, ``HlsError`` or
    ``ToolNotFound``.
    """
    points = [(branch, what, point) for branch in sweep.branches for what, point in variations(sweep, branch)]
    for _, _, point in points:
        check_design(plain_file(point))
    rehearsal, failed = Rehearsal(), dict[str, list[str]]()
    for _, what, point in points:
        try:
            rehearsal.play(point)
        except ToolkitError as error:
            failed.setdefault(str(error), []).append(what)
            if sum(map(len, failed.values())) == len(points):
                raise
    first = points[0][2]
    wanted = points_of(sweep)
    subject = f"{counted(wanted, 'point')} by {sweep.settings.search}, {rehearsal.names(first)}"
    notes = (*failures(failed), f"csim of the front comes on top, about {duration(CSIM_BUILD_S)} and its images each")
    return Plan(sweep.name, subject, tuple(steps(sweep, first, rehearsal, workers or cores())), notes)


def failures(failed: Mapping[str, Sequence[str]]) -> list[str]:
    """What will fail and with which values; the first few."""
    told = [
        f"points with {values[0]}{f' and {len(values) - 1} others' if values[1:] else ''} will fail: {error}"
        for error, values in list(failed.items())[:MOST_TOLD]
    ]
    return told + ([f"and {len(failed) - MOST_TOLD} more values that fail"] if len(failed) > MOST_TOLD else [])


def variations(sweep: Sweep, branch: Branch) -> Iterator[tuple[str, Point]]:
    """The first values of all dimensions, then each value of each dimension beside the first of the others."""
    first = {dimension.name: dimension.spelled(ends(dimension)[0]) for dimension in branch.dimensions}
    base = {**sweep.chosen_branch(branch), **first}
    yield "the first values", sweep.point(base)
    for dimension in branch.dimensions:
        for value in ends(dimension)[1:]:
            yield f"{dimension.name} = {value}", sweep.point({**base, dimension.name: dimension.spelled(value)})


def ends(dimension: Dimension) -> tuple[Any, ...]:
    """Every choice, or both ends of a range."""
    return dimension.choices or (dimension.low, dimension.high)


def plain_file(point: Point) -> DesignFile:
    """A point as a design file, without what only a sweep knows; csim is not for points but for the front."""
    file = point.file
    own = {"proof": ProofConfig(csim_count=0)}
    designs = tuple({**dict(design), "hls": design.hls.plain(), **own} for design in file.designs)
    return DesignFile(**{**dict(file), "designs": designs})


@dataclass(eq=False)
class Rehearsal:
    """Points played with untrained weights; what they share is made once, and timed."""

    models: dict[str, tuple[keras.Model, Dataset]] = field(default_factory=dict)
    starts: dict[str, keras.Model] = field(default_factory=dict)
    graphs: dict[str, Graph] = field(default_factory=dict)
    converting_s: list[float] = field(default_factory=list)
    estimating_s: list[float] = field(default_factory=list)

    def play(self, point: Point) -> None:
        """Quantize, convert and estimate; raises what that raises."""
        from toolkit.exploration.targets import resolve

        check_schedules(plain_file(point))
        graph, config = self.graph(point)
        begun = time.perf_counter()
        analysis = analysis_of(graph, config)
        quick_estimate(analysis, resolve(analysis, point.design.hls))
        self.estimating_s.append(time.perf_counter() - begun)

    def model(self, point: Point) -> tuple[str, keras.Model, Dataset]:
        """The untrained model of a point and its dataset."""
        from toolkit.training.train import require_fit

        key = digest(point.file.dataset, point.file.model)
        if key not in self.models:
            dataset = dataset_of(point.file.dataset.model_dump_json())
            model, *_ = opened_model(point.file.model, dataset)
            require_fit(model, dataset)
            self.models[key] = model, dataset
        return key, *self.models[key]

    def graph(self, point: Point) -> tuple[Graph, HlsConfig]:
        """The converted network of a point, and the configuration it was converted with."""
        from toolkit.hls.convert import check_layer_names, convert

        origin, model, dataset = self.model(point)
        config = conversion_config(point.design.hls)
        start = digest(origin, point.design.quantization, point.design.qat)
        key = digest(start, config)
        if key not in self.graphs:
            begun = time.perf_counter()
            if start not in self.starts:
                self.starts[start] = start_of(point.design, model, dataset.inputs("train", CALIBRATION_IMAGES))
            self.graphs[key] = convert(self.starts[start], config).graph
            self.converting_s.append(time.perf_counter() - begun)
        built = {layer.name for layer in self.graphs[key].layers}  # a conversion sees only what decides its types
        check_layer_names(point.design.hls, built, self.starts[start])
        return self.graphs[key], config

    def emulating(self, point: Point) -> float:
        """Seconds to emulate the images of a point."""
        from toolkit.emulation import emulate

        _, _, dataset = self.model(point)
        emulator = emulate(self.graph(point)[0])
        images = dataset.inputs(point.split, TIMED_IMAGES)
        emulator.predict(images)
        begun = time.perf_counter()
        emulator.predict(images)
        return (time.perf_counter() - begun) * min(point.images, len(dataset.labels(point.split))) / len(images)

    def names(self, point: Point) -> str:
        return f"{point.file.model.label} on {self.model(point)[2].name}"


def steps(sweep: Sweep, first: Point, rehearsal: Rehearsal, workers: int) -> Iterator[Step]:
    """Trainings, conversions and points, each as often as the dimensions make it different."""
    _, model, dataset = rehearsal.model(first)
    pace = Pace(model, dataset)
    floats, trainings = combinations(sweep, SHARED_BY_FLOATS), combinations(sweep, SHARED_BY_TRAININGS)
    if first.file.train.epochs:
        yield shared("float trainings", floats, pace.training(first.file.train, quantized=False).value, workers)
    qat = first.design.qat
    if qat is not None and qat.epochs:
        yield shared("quantization-aware trainings", trainings, pace.training(qat, quantized=True).value, workers)
    each = mean(rehearsal.converting_s) + rehearsal.emulating(first)
    conversions = min(points_of(sweep), trainings * math.ceil(len(rehearsal.graphs) / max(1, len(rehearsal.starts))))
    yield shared("conversions and emulations", conversions, each, workers)
    yield shared("estimates", points_of(sweep), mean(rehearsal.estimating_s), workers)


def shared(what: str, count: int, seconds: float, workers: int) -> Step:
    """Work of one kind, spread over the workers."""
    return Step(what, f"{count:,}", about(max(count * seconds / min(workers, count), 0.1), TIMED))


def mean(values: list[float]) -> float:
    return sum(values) / max(1, len(values))


def points_of(sweep: Sweep) -> int:
    """How many points will be looked at."""
    if sweep.settings.search == "grid":
        return min(sweep.size, sweep.settings.points or sweep.size)
    return min(sweep.settings.points or 100, sweep.size if sweep.is_finite else sweep.settings.points or 100)


def combinations(sweep: Sweep, without: tuple[str, ...]) -> int:
    """Different values of the dimensions outside some sections, at most one for each point."""
    return min(points_of(sweep), sum(branch_combinations(branch, without) for branch in sweep.branches))


def branch_combinations(branch: Branch, without: tuple[str, ...]) -> int:
    varying = [dimension for dimension in branch.dimensions if dimension.targets[0][0] not in without]
    try:
        return math.prod(len(dimension.values()) for dimension in varying)
    except ConfigError:  # a range without steps: every point has its own
        return 1_000_000_000
