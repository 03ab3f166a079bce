"""What each stage returns: frozen values, every figure with its unit and its source."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt

from toolkit.errors import ComparisonError, ConfigError, HlsError
from toolkit.names import check_identifier, shown
from toolkit.tables import html_table

if TYPE_CHECKING:
    import keras

    from toolkit.config import HlsConfig

Array = npt.NDArray[Any]

SCHEMA_VERSION = 2  # of stored records and of what --json prints; keys of facts are identifiers since 2

Source = Literal["measured", "csim", "emulation", "csynth", "cosim", "vsynth", "board", "published", "model", "counted"]
# ``counted``: read off the model or its types (parameters, MACs, bits), exact by definition.
SOURCES: tuple[str, ...] = get_args(Source)

Severity = Literal["error", "warning", "note"]

NUMBERS = (int, float, np.number)


def is_number(value: Any) -> bool:
    """Whether a value is a number and not NaN; the common case first, since sweeps make figures by the million."""
    return (type(value) is float or isinstance(value, NUMBERS)) and bool(value == value)


class Record:
    """A frozen record that checks, when it is made, that its fields are what they are declared as."""

    def __post_init__(self) -> None:
        for name, kinds, choices, spelled in declared(type(self)):  # type: ignore[arg-type]
            value = getattr(self, name)
            if not (isinstance(value, kinds) or (choices and value in choices)):
                raise ConfigError(f"{type(self).__name__}.{name} must be {spelled}, got {shown(value)}")


@cache
def declared(record: type) -> tuple[tuple[str, tuple[type, ...], tuple[Any, ...], str], ...]:
    """Of each field of a record that can be checked its name, types, choices, and the declaration."""
    found = []
    for item in fields(record):
        alone = SimpleNamespace(__annotations__={item.name: item.type})
        try:
            hints = get_type_hints(alone, vars(sys.modules[record.__module__]))
        except NameError:
            continue  # a class that is imported for type checkers only
        kinds, choices = accepted(hints[item.name])
        if kinds or choices:
            found.append((item.name, kinds, choices, str(item.type)))
    return tuple(found)


def accepted(hint: Any) -> tuple[tuple[type, ...], tuple[Any, ...]]:
    """Types and values that a declaration accepts, without looking into containers; nothing where all is accepted."""
    origin = get_origin(hint)
    if origin is Literal:
        return (), get_args(hint)
    if origin in (Union, UnionType):
        parts = [accepted(part) for part in get_args(hint)]
        if not all(kinds or choices for kinds, choices in parts):
            return (), ()
        return tuple(kind for kinds, _ in parts for kind in kinds), tuple(c for _, choices in parts for c in choices)
    plain = origin or hint
    if plain in (float, int):
        return NUMBERS, ()
    if plain is tuple:
        return (tuple, list), ()
    return ((plain,), ()) if isinstance(plain, type) else ((), ())


@dataclass(frozen=True)
class Figure:
    """One number with its unit and its source.

    ``low`` and ``high`` bound an estimate; ``note`` says what a reader must know to use it
    (citation, model version, conditions). ``bound`` marks a figure that leaves something out: the
    whole is at least (``lower``) or at most (``upper``) this much. A figure that is not known is
    ``None`` where it would stand, never a NaN.
    """

    value: float
    unit: str
    source: Source
    low: float | None = None
    high: float | None = None
    note: str | None = None
    bound: Literal["lower", "upper"] | None = None

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ConfigError(f"a figure's source must be one of {', '.join(SOURCES)}, got {shown(self.source)}")
        if not isinstance(self.unit, str):
            raise ConfigError(f'a figure\'s unit must be text ("" for a plain number), got {shown(self.unit)}')
        if not is_number(self.value):
            raise ConfigError(f"a figure must be a number, got {shown(self.value)}; what is not known has no figure")
        for end in (self.low, self.high):
            if end is not None and not is_number(end):
                raise ConfigError(f"a figure's interval must end at numbers, got {shown(end)}")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ConfigError(f"a figure's interval must go from low to high, got {self.low:g} to {self.high:g}")

    def __str__(self) -> str:
        interval = f" [{self.low:.6g}, {self.high:.6g}]" if self.low is not None and self.high is not None else ""
        bound = {"lower": "at least ", "upper": "at most "}.get(self.bound or "", "")
        return f"{bound}{self.value:.6g}{interval} {self.unit} ({self.source})".replace("  ", " ")

    def to_json(self) -> dict[str, Any]:
        """The fields that are set, as JSON types."""
        return {key: value for key, value in vars(self).items() if value is not None}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Figure:
        """Inverse of :meth:`to_json`."""
        return cls(**fields)


@dataclass(frozen=True)
class Metric(Record):
    """What a task is judged by: its figure's name, which way is better, its unit, what a reader is told."""

    name: str
    better: Literal["higher", "lower"]
    unit: str  # "fraction", "dB", the target's own; "" for a plain number
    title: str
    meaning: str = ""

    def gain(self, value: float) -> float:
        """The value turned so that larger is better."""
        return value if self.better == "higher" else -value

    def text(self, value: float) -> str:
        """A value as a reader sees it: ``97.40 %``, ``0.0312 GeV``."""
        return f"{value:.2%}" if self.unit == "fraction" else f"{value:.4g} {self.unit}".strip()


ACCURACY = Metric("accuracy", "higher", "fraction", "Accuracy", "top-1 on the test split")


@dataclass(frozen=True, eq=False)
class TrainRecord(Record):
    """A trained Keras model: the live model, where it lies on disk and how it did on the test split."""

    name: str
    model: keras.Model
    path: Path | None
    figures: Mapping[str, Figure]  # on the test split, by name; the one that decides is ``merit``
    history: Mapping[str, Sequence[float]]
    seed: int
    digest: str
    test_digest: str
    seconds: Figure
    environment: Mapping[str, str] = field(default_factory=dict)
    metric: Metric = ACCURACY
    scale: tuple[Mapping[str, Any], ...] = ()  # how each input was scaled, which stands outside the FPGA

    @property
    def merit(self) -> Figure | None:
        """The figure of merit of the task; ``None`` without labels."""
        return self.figures.get(self.metric.name)

    @property
    def accuracy(self) -> Figure:
        """The figure of merit under its usual name; raises ``AttributeError`` where the task has another."""
        if "accuracy" not in self.figures:
            raise AttributeError(f"{self.name} is judged by {self.metric.name}: see merit")
        return self.figures["accuracy"]

    def _repr_html_(self) -> str:
        """The figures on the test split, for a notebook."""
        return figure_table(f"{self.name}: test split", {**self.figures, "seconds": self.seconds})


@dataclass(frozen=True, eq=False)
class Weight:
    """One weight array of an hls4ml layer: the values hls4ml holds and the C++ type that stores them."""

    name: str
    values: Array
    precision: str


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer of hls4ml's optimized graph, as it will be synthesized.

    ``kind`` is hls4ml's class name (``Conv2D``, ``Dense``, ``Activation``, ...). ``types`` maps
    hls4ml's type attributes (``result_t``, ``accum_t``, ``weight_t``, ``bias_t``, ``table_t``, ...)
    to C++ types. ``shape`` is the output shape without the batch axis. ``attributes`` are hls4ml's
    remaining attributes as JSON types (``strategy``, ``reuse_factor``, ``n_filt``, ``pad_top``, ...).
    Only front ends read it (:mod:`toolkit.hls.network`); what a layer means is :mod:`toolkit.network`.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shape: tuple[int, ...]
    types: Mapping[str, str]
    attributes: Mapping[str, Any]
    weights: Mapping[str, Weight]


@dataclass(frozen=True, eq=False)
class Tensor:
    """A named value between layers: shape without the batch axis, element type, FIFO depth (0: no FIFO)."""

    name: str
    shape: tuple[int, ...]
    precision: str
    fifo_depth: int = 0


@dataclass(frozen=True, eq=False)
class Graph:
    """hls4ml's optimized model: layers in execution order and the tensors between them.

    A tensor's name is the producing layer's output name; ``inputs`` and ``outputs`` are those of the
    top function, in order. ``digest`` covers everything here, weights included.
    """

    layers: tuple[Layer, ...]
    tensors: Mapping[str, Tensor]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    digest: str

    def layer(self, name: str) -> Layer:
        """The layer of that name; raises ``KeyError``."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)


@dataclass(frozen=True, eq=False)
class HlsProject(Record):
    """An HLS project on disk: generated C++, test vectors, manifest, and the graph it was written from."""

    path: Path
    digest: str
    config: HlsConfig
    graph: Graph
    top: str  # name of the top C++ function and of firmware/<top>.cpp
    notes: tuple[str, ...] = ()  # recorded choices, such as a reuse factor moved to a valid neighbour
    findings: tuple[Finding, ...] = ()  # what only the conversion saw; lint has them among its own

    def __post_init__(self) -> None:
        super().__post_init__()
        check_identifier(f"the top function of {self.path}", self.top, HlsError)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Layers in execution order."""
        return self.graph.layers

    def _repr_html_(self) -> str:
        """The layers in execution order, for a notebook."""
        rows = [(layer.name, layer.kind, list(layer.shape)) for layer in self.layers]
        return html_table(f"{self.path.name}: {self.config.part}, {self.digest}", ("layer", "kind", "shape"), rows)


@dataclass(frozen=True)
class Finding(Record):
    """Something a user should know before synthesis: severity, layer, reason, remedy."""

    severity: Severity
    layer: str | None
    rule: str  # short stable name, such as "accumulator-overflow"
    reason: str
    remedy: str

    def __str__(self) -> str:
        """One line: severity, layer, reason, remedy."""
        where = f" {self.layer}:" if self.layer else ""
        return f"{self.severity}:{where} {self.reason}; {self.remedy} [{self.rule}]"


@dataclass(frozen=True)
class LayerProfile(Record):
    """What a layer's output did on some images: the range used against the range its type holds."""

    layer: str
    precision: str
    minimum: float
    maximum: float
    type_minimum: float
    type_maximum: float
    overflows: int | None = None  # values that saturated or wrapped, where the emulator counted them
    total: int | None = None
    wrapped: int | None = None  # those of ``overflows`` that wrapped around


@dataclass(frozen=True)
class LayerError(Record):
    """How far a layer's values are from the model's on some images, in the values' own unit.

    ``sqnr_db`` is the ratio of signal to error, ``10 log10(sum x^2 / sum (x - y)^2)``; ``None`` where nothing
    differs. ``fall_db`` is what it lost against the worst of the layers it reads: where the bits go.
    """

    layer: str
    precision: str
    maximum: float
    rms: float
    sqnr_db: float | None
    fall_db: float
    different: int
    total: int


@dataclass(frozen=True)
class CheckResult(Record):
    """How a Keras model and its HLS project agree on some images, logit by logit.

    A quantized model is compared bit by bit. A float model (``exact`` false) has no bits to be equal to: it is
    judged by ``errors`` and ``figures`` (accuracy, agreement), and a difference is no failure.
    """

    equal: bool
    outputs_different: int
    outputs_total: int
    largest_lsb: float
    first_layer: str | None
    findings: tuple[Finding, ...]
    images: int
    profile: tuple[LayerProfile, ...] = ()
    compared: tuple[str, str] = ("qkeras", "csim")
    project_digest: str | None = None  # which project was checked; joins the records of one design
    exact: bool = True  # whether the bits must be equal
    errors: tuple[LayerError, ...] = ()  # layer by layer, where the outputs differ
    figures: Mapping[str, Figure] = field(default_factory=dict)  # accuracy, accuracy_of_model, agreement

    @property
    def failed(self) -> bool:
        """Whether the bits differ from what they must equal; a note (a float model's predictions) is no failure."""
        return self.exact and not self.equal and any(finding.severity != "note" for finding in self.findings)

    @property
    def reasoned(self) -> str:
        """The line of a comparison that did not hold, with the reason and its layer where they are known."""
        return ": ".join([str(self), *(finding.reason for finding in self.findings[:1])])

    def __str__(self) -> str:
        """One line: who was compared, how many outputs differ, by how much, where first; or how close they are."""
        left, right = self.compared
        if self.equal:
            return f"{right} equals {left} on {self.images:,} images, every output"
        if not self.exact:
            return f"{right} against {left} on {self.images:,} images: {self.closeness}"
        counts = f"{self.outputs_different:,} of {self.outputs_total:,} outputs on {self.images:,} images"
        where = f", first in layer {self.first_layer}" if self.first_layer else ""
        return f"{right} differs from {left}: {counts}, at most {self.largest_lsb:g} LSB{where}"

    @property
    def closeness(self) -> str:
        """Accuracy, agreement and the error of the last layer, as far as they are known."""
        words = [f"outputs differ by at most {self.largest_lsb:.3g} LSB"]
        if self.errors and self.errors[-1].sqnr_db is not None:
            words.append(f"RMS {self.errors[-1].rms:.3g}, SQNR {self.errors[-1].sqnr_db:.1f} dB")
        if "agreement" in self.figures:
            words.append(f"the same class on {self.figures['agreement'].value:.2%}")
        if "accuracy" in self.figures:
            ours, theirs = self.figures["accuracy"].value, self.figures["accuracy_of_model"].value
            words.append(f"accuracy {ours:.2%}, the model's {theirs:.2%}")
        return "; ".join(words)

    def _repr_html_(self) -> str:
        """The comparison in a line and what was found, for a notebook."""
        rows = [(item.severity, item.layer or "", item.reason, item.remedy) for item in self.findings]
        return html_table(str(self), ("severity", "layer", "reason", "remedy"), rows)


@dataclass(frozen=True)
class LayerEstimate(Record):
    """Estimated cycles and csynth area of one layer (or FIFO group)."""

    name: str
    kind: str
    latency_cycles: Figure
    initiation_interval_cycles: Figure
    dsp: Figure
    lut: Figure
    ff: Figure
    bram_18k: Figure
    uram: Figure
    notes: tuple[str, ...] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)  # further figures, by name (macs, weight_bits, bops)


@dataclass(frozen=True)
class FifoEstimate(Record):
    """Depth a stream needs so that no stage stalls, beside hls4ml's default."""

    name: str
    default_depth: int
    needed_depth: int
    bits: int = 0  # of one token
    peak_depth: int = 0  # most tokens an unbounded FIFO held; what hls4ml's cosim-based optimisation takes
    default_bram_18k: int = 0
    needed_bram_18k: int = 0


@dataclass(frozen=True)
class Estimate(Record):
    """Latency and resources of a whole design, each with an interval, and of its layers.

    ``fits`` is None where it cannot be known: a part in no device table, or layers that nobody has a
    model for. Those are named in ``unpriced``; every total is then a bound (``Figure.bound``).
    """

    latency_cycles: Figure
    initiation_interval_cycles: Figure
    latency_us: Figure
    throughput_hz: Figure
    dsp: Figure
    lut: Figure
    ff: Figure
    bram_18k: Figure
    uram: Figure
    energy_uj: Figure
    utilization: Mapping[str, Figure]  # percent of the part, by resource name
    fits: bool | None
    layers: tuple[LayerEstimate, ...]
    fifos: tuple[FifoEstimate, ...]
    notes: tuple[str, ...] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)  # further figures, by name (BOPs, after placement)
    project_digest: str | None = None  # which project was estimated; joins the records of one design
    unpriced: tuple[str, ...] = ()  # layers of a kind without a model, left out of every figure
    between: Mapping[str, Figure] = field(default_factory=dict)  # resources that are no layer's: the rest of each sum
    fit_probability: Figure | None = None  # that every resource is within the part, by the intervals at csynth

    @property
    def between_name(self) -> str:
        """What the resources beside the layers are: FIFOs of streams, or channels and registers between layers."""
        return "FIFOs" if self.fifos else "between layers"

    def _repr_html_(self) -> str:
        """Cycles, area and energy with their intervals, and the layers, for a notebook."""
        keys = ("latency_cycles", "initiation_interval_cycles", "latency_us", "throughput_hz")
        area = ("dsp", "lut", "ff", "bram_18k", "uram")
        whole = figure_table("estimate", {key: getattr(self, key) for key in (*keys, *area, "energy_uj")})
        rows = [
            (layer.name, layer.kind, *(f"{item.value:.6g}" if (item := getattr(layer, key)) else "" for key in area))
            for layer in self.layers
        ]
        return whole + html_table("layers (model)", ("layer", "kind", *area), rows)


@dataclass(frozen=True)
class BaselineRecord(Record):
    """A float or integer engine measured (or modelled) on this model and test set."""

    name: str
    engine: str
    precision: str
    provider: str
    batch: int
    latency_us: Figure | None
    throughput_hz: Figure | None
    accuracy: Figure | None
    fused: tuple[str, ...]
    environment: Mapping[str, str]
    test_digest: str
    figures: Mapping[str, Figure] = field(default_factory=dict)  # further figures, by name (p5, p95, memory, top-5)
    notes: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()  # [label][prediction] counts on the test split
    class_names: tuple[str, ...] = ()
    metric: Metric = ACCURACY

    @property
    def merit(self) -> Figure | None:
        """The figure of merit of the task, where the engine could be run."""
        return self.figures.get(self.metric.name, self.accuracy)


@dataclass(frozen=True, eq=False)
class Implementation(Record):
    """One row of a comparison: one way to run the model, its figures by name, and plain facts by name.

    Well-known figures: ``accuracy``, ``agreement`` (with float), ``parameters``, ``macs``,
    ``weight_bytes``, ``weight_bits``, ``activation_bits``, ``latency_us``, ``throughput_hz``,
    ``initiation_interval_cycles``, ``dsp``, ``lut``, ``ff``, ``bram_18k``, ``uram``, ``energy_uj``.
    """

    name: str
    family: Literal["fpga", "baseline", "model"]
    figures: Mapping[str, Figure]
    facts: Mapping[str, str] = field(default_factory=dict)
    test_digest: str | None = None
    parts: tuple[Any, ...] = ()  # the records it was made from, for the detailed sections of a report
    metrics: tuple[Metric, ...] = ()  # what it was judged by; the first decides


def figure_table(caption: str, figures: Mapping[str, Figure | None]) -> str:
    """Figures as a table: value, interval, unit and source."""
    known = [(name, item) for name, item in figures.items() if item is not None]
    between = ["" if item.low is None else f"{item.low:.6g} to {item.high:.6g}" for _, item in known]
    rows = [
        (name, f"{item.value:.6g}", interval, item.unit, item.source)
        for (name, item), interval in zip(known, between, strict=True)
    ]
    return html_table(caption, ("figure", "value", "interval", "unit", "source"), rows)


def same_test_set(rows: Sequence[Implementation]) -> str | None:
    """The digest all rows with one share; raises ``ComparisonError`` naming two rows that differ."""
    judged = [row for row in rows if row.test_digest is not None]
    for row in judged[1:]:
        if row.test_digest != judged[0].test_digest:
            raise ComparisonError(
                f"a comparison needs one test set, got digest {judged[0].test_digest} for {judged[0].name!r} "
                f"and {row.test_digest} for {row.name!r}; evaluate both on the same test images"
            )
    return judged[0].test_digest if judged else None


def as_json(value: Any) -> Any:
    """A record as JSON types: figures and dataclasses as objects, paths as text; live models and arrays left out."""
    match value:
        case Figure():
            return value.to_json()
        case None | bool() | int() | float() | str():
            return value
        case np.generic():
            return value.item()
        case Path():
            return str(value)
        case Mapping():
            return {str(key): as_json(item) for key, item in value.items() if is_plain(item)}
        case list() | tuple():
            return [as_json(item) for item in value if is_plain(item)]
        case _ if is_dataclass(value):
            items = {item.name: getattr(value, item.name) for item in fields(value)}
            return {name: as_json(item) for name, item in items.items() if is_plain(item)}
        case _ if hasattr(value, "model_dump"):
            return value.model_dump(mode="json", exclude={"teacher"})
        case _:
            return str(value)


def is_plain(value: Any) -> bool:
    """Whether a value has a place in JSON: anything but an array, a live Keras model or a graph."""
    module = type(value).__module__
    return not isinstance(value, np.ndarray | Graph) and not module.startswith(("keras", "tensorflow"))
