"""What a report shows of a model or an HLS project: small frozen views without arrays."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from toolkit.baselines.workload import count_macs, kind_of, leaf_layers
from toolkit.config import HlsConfig
from toolkit.network import Graph, Layer, layers
from toolkit.records import ACCURACY, Figure, LayerEstimate, Metric, TrainRecord

ACTIVATIONS = (
    *(layers.Activation, layers.HardActivation, layers.TableActivation, layers.LeakyRelu, layers.ThresholdedRelu),
    *(layers.Elu, layers.Prelu, layers.Softmax),
)


@dataclass(frozen=True)
class LayerView:
    """One layer of a design: shape, types, how it is built, and what its weights span."""

    name: str
    kind: str
    shape: tuple[int, ...]
    result: str
    weight: str | None = None
    weights: int = 0
    zeros: int = 0
    weight_minimum: float | None = None
    weight_maximum: float | None = None
    strategy: str | None = None
    reuse_factor: int | None = None
    macs: int = 0


@dataclass(frozen=True)
class DesignView:
    """An HLS project as a report shows it: configuration as text and its layers in order."""

    name: str
    digest: str
    config: Mapping[str, str]
    layers: tuple[LayerView, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainView:
    """A training as a report shows it: seed, history per epoch, seconds, environment, layers."""

    name: str
    digest: str
    seed: int
    accuracy: Figure | None
    seconds: Figure
    quantized: bool
    history: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[LayerView, ...] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)
    metric: Metric = ACCURACY

    @property
    def merit(self) -> Figure | None:
        """The figure of merit of the task, where there are labels."""
        return self.figures.get(self.metric.name, self.accuracy)


def design_view(
    name: str, digest: str, graph: Graph, config: HlsConfig | None = None, notes: tuple[str, ...] = ()
) -> DesignView:
    """A project, or a graph alone, without its arrays."""
    settings = config.model_dump(mode="json") if config else {}
    kept = {key: str(value) for key, value in settings.items() if value not in (None, {})}
    return DesignView(name, digest, kept, tuple(map(layer_view, graph.layers)), notes)


def layer_view(layer: Layer) -> LayerView:
    """One layer of the network; the types are as the C++ will hold them."""
    kernels = [layer.weight] if isinstance(layer, layers.Matrix) else list(layer.weights.values())
    values = np.concatenate([np.ravel(weight.values) for weight in kernels]) if kernels else np.zeros(0)
    return LayerView(
        name=layer.name,
        kind=layer.origin or layer.kind,
        shape=layer.shape,
        result=str(layer.result),
        weight=str(kernels[0].precision) if kernels else None,
        weights=int(values.size),
        zeros=int(np.count_nonzero(values == 0)),
        weight_minimum=float(values.min()) if values.size else None,
        weight_maximum=float(values.max()) if values.size else None,
        strategy=None if layer.build.strategy is None else str(layer.build.strategy),
        reuse_factor=layer.build.reuse_factor if kernels else None,
        macs=graph_macs(layer),
    )


def stage_cycles(layer: LayerEstimate) -> Figure:
    """Cycles that a stage is busy with one image, which csynth's initiation interval of a stream overstates."""
    return layer.figures.get("busy_cycles", layer.initiation_interval_cycles)


def graph_macs(layer: Layer) -> int:
    """Multiply-accumulates of one image: positions times kernel elements."""
    if not isinstance(layer, layers.Matrix):
        return 0
    positions = layer.outputs[0].pixels if isinstance(layer, layers.Convolutional) else 1
    return positions * layer.weight.size


def graph_figures(graph: Graph) -> dict[str, Figure]:
    """Parameters, MACs, weight memory and bit widths as the C++ holds them, counted."""
    sizes = [(weight.size, weight.precision.width_bits) for layer in graph.layers for weight in layer.weights.values()]
    stored = sum(size * width for size, width in sizes)
    figures = {
        "parameters": Figure(sum(size for size, _ in sizes), "parameters", "counted", note="in the HLS project"),
        "macs": Figure(sum(graph_macs(layer) for layer in graph.layers), "MAC", "counted", note="per image"),
        "weight_bytes": Figure(stored / 8, "bytes", "counted", note="each weight and bias at its own width"),
    }
    kernels = [
        (layer.weight.size, layer.weight.precision.width_bits)
        for layer in graph.layers
        if isinstance(layer, layers.Matrix)
    ]
    activations = [
        (layer.outputs[0].size, layer.result.width_bits)
        for layer in graph.layers
        if isinstance(layer, ACTIVATIONS) and layer.source.name not in graph.inputs
    ]
    for key, found in (("weight_bits", kernels), ("activation_bits", activations)):
        if width := mean_width(found):
            figures[key] = width
    return figures


def mean_width(found: Sequence[tuple[int, int | None]] | Sequence[tuple[int, int]]) -> Figure | None:
    """Mean width weighted by count; the note names the range when widths differ."""
    known = [(size, width) for size, width in found if width]
    if not known:
        return None
    total = sum(size for size, _ in known)
    widths = Counter({width: 0 for _, width in known})
    for size, width in known:
        widths[width] += size
    mean = sum(width * size for width, size in widths.items()) / total
    low, high = min(widths), max(widths)
    return Figure(mean, "bits", "counted", note=None if low == high else f"{low} to {high} bits, weighted mean")


def train_view(record: TrainRecord) -> TrainView:
    """The training without the live model."""
    return TrainView(
        name=record.name,
        digest=record.digest,
        seed=record.seed,
        accuracy=record.figures.get("accuracy"),
        figures={key: figure for key, figure in record.figures.items() if key != "accuracy"},
        metric=record.metric,
        seconds=record.seconds,
        quantized=is_quantized(record.model),
        history={key: tuple(float(value) for value in values) for key, values in record.history.items()},
        environment=dict(record.environment),
        layers=tuple(keras_layer(layer) for layer in leaf_layers(record.model)),
    )


def is_quantized(model: Any) -> bool:
    """Whether a live Keras model has quantized layers; stored views never ask, so Keras is loaded only here."""
    from toolkit import zoo

    return zoo.is_quantized(model)


def keras_layer(layer: Any) -> LayerView:
    """A Keras layer's name, kind, shape and parameters."""
    shape = tuple(size or 1 for size in getattr(getattr(layer, "output", None), "shape", (None,))[1:])
    weights = sum(int(np.prod(weight.shape)) for weight in layer.weights)
    return LayerView(layer.name, type(layer).__name__, shape, "", weights=weights)


def model_figures(model: Any) -> dict[str, Figure]:
    """Parameters, MACs, weight memory and widths of a Keras or QKeras model, counted."""
    parameters = int(sum(np.prod(weight.shape) for weight in model.trainable_weights))
    figures = {
        "parameters": Figure(parameters, "parameters", "counted", note="trainable"),
        "macs": Figure(count_macs(model), "MAC", "counted", note="per image"),
    }
    if not is_quantized(model):
        width = Figure(32, "bits", "counted", note="float32")
        memory = Figure(4 * parameters, "bytes", "counted")
        return figures | {"weight_bits": width, "activation_bits": width, "weight_bytes": memory}
    weights, stored = quantizer_widths(model)
    for key, found in weights.items():
        if width_found := mean_width(found):
            figures[key] = width_found
    return figures | {"weight_bytes": Figure(stored / 8, "bytes", "counted", note="each weight at its own width")}


def quantizer_widths(model: Any) -> tuple[dict[str, list[tuple[int, int | None]]], int]:
    """(count, bits) pairs of kernels and activations, and the bits that all weights take."""
    found: dict[str, list[tuple[int, int | None]]] = {"weight_bits": [], "activation_bits": []}
    stored = 0
    for layer in leaf_layers(model):
        for name, weight in weight_names(layer):
            width = quantizer_bits(getattr(layer, f"{name}_quantizer_internal", None)) or quantizer_bits(
                getattr(layer, f"{name}_quantizer", None)
            )
            size = int(np.prod(weight.shape))
            stored += size * (width or 32)
            if name != "bias":
                found["weight_bits"].append((size, width))
        if kind_of(layer) == "Activation" and stored:  # one before any weight quantizes the input
            found["activation_bits"].append((math.prod(layer.output.shape[1:]), quantizer_bits(layer.activation)))
    return found, stored


def weight_names(layer: Any) -> list[tuple[str, Any]]:
    names = ("kernel", "depthwise", "pointwise", "depthwise_kernel", "pointwise_kernel", "bias")
    found = [(name.removesuffix("_kernel"), getattr(layer, name, None)) for name in names]
    return [(name, weight) for name, weight in found if hasattr(weight, "shape")]


def quantizer_bits(quantizer: Any) -> int | None:
    """Width of a QKeras quantizer; binary is 1 bit, ternary 2."""
    kind = type(quantizer).__name__
    if kind in ("binary", "stochastic_binary"):
        return 1
    if kind in ("ternary", "stochastic_ternary"):
        return 2
    width = getattr(quantizer, "bits", None)
    return int(width) if isinstance(width, int | float | np.integer | np.floating) else None
