"""Float Keras model to QKeras model: same weights, power-of-two scales, ranges from weights and images.

What the quantized model is made of
-----------------------------------

A functional Keras model of nothing but these layers. Layer names are those of the float model; what
is inserted is named after its neighbour, as given below.

=========================  ===========================================================================
layer                      from, and how
=========================  ===========================================================================
``InputLayer``             unchanged
``QConv1D``, ``QConv2D``,  ``Conv1D``, ``Conv2D``, ``DepthwiseConv2D``, ``Dense``; ``activation=None``
``QDepthwiseConv2D``,      (linear): the activation is a layer of its own, ``<name>_<activation>``.
``QDense``                 The output is the exact sum, not quantized.
``QDepthwiseConv2D`` then  ``SeparableConv2D``: ``<name>_depthwise`` (no bias), the quantizer of its
``QConv2D`` 1x1            output, and the pointwise part under the layer's own name.
``QAffine``                a ``BatchNormalization`` that could not be folded into the layer before it
                           (:class:`toolkit.zoo.QAffine`: ``kernel * x + bias`` per channel, exact).
``QActivation``            the only layer that rounds. Quantizer: see below. Named as the float
                           activation layer, ``<name>_<activation>`` if that was an argument of another
                           layer, or ``<producer>_quantizer`` where a value had to be quantized without
                           an activation (``<input>_quantizer`` directly after each input).
``LeakyReLU``              kept (``negative_slope`` a power of two: exact); a quantizer follows.
``MaxPooling1D/2D``,       kept; they choose or move values, nothing to round.
``GlobalMaxPooling1D/2D``,
``Flatten``, ``Reshape``,
``ZeroPadding1D/2D``,
``UpSampling1D/2D``,
``Concatenate``
``AveragePooling1D/2D``,   kept; inputs are quantized, the output (a sum over the pool divided by its
``GlobalAveragePooling..`` size) is quantized before it is used, unless it is the model's output.
``Add``                    kept, two inputs each, both quantized (three and more become a chain named
                           ``<name>_1``, ...). The output is the exact sum; a quantizer follows.
``Dropout``,               kept for quantization-aware training; nothing at inference.
``SpatialDropout1D/2D``
``Activation("softmax")``, kept, only as the model's output; the input is the exact sum of logits.
``Softmax``
=========================  ===========================================================================

Every input of ``QConv*``, ``QDepthwiseConv2D``, ``QDense``, ``QAffine``, ``Add``, ``Concatenate`` and
average pooling is on the grid of a ``QActivation`` before it. The model's output is not rounded:
logits are the exact sum of the last ``QDense``.

Quantizers (the classes of :mod:`toolkit.zoo.quantizers`, which are QKeras' with exact outputs):

- kernels, ``depthwise_kernel``: ``quantized_bits(bits, integer, alpha=1)``;
  ``quantized_bits(bits, 0, alpha="auto_po2", post_training_scale=powers of two per output channel)``;
  ``binary(alpha=power of two)``; ``ternary(alpha=power of two, threshold=alpha / 2)``, ``alpha`` one
  number or one per output channel. 1-bit fixed weights are ``binary``.
- biases: ``quantized_bits(bits, integer, alpha=1)``. Always present with a kernel that has a bias.
- ``QActivation``: ``quantized_relu(bits, integer)`` for values that cannot be negative (relu, inputs
  in [0, 1], averages of those), ``quantized_bits(bits, integer, alpha=1)`` for others,
  ``quantized_tanh(bits)`` and ``quantized_sigmoid(bits)`` (QKeras' hard ones: piecewise linear,
  exact in fixed point; retrain after the change).

``integer`` is QKeras': without the sign bit, and it may be negative. A reader that wants types calls
:func:`toolkit.zoo.precision_of`; for kernels it is safest to look at the values themselves,
``layer.kernel_quantizer_internal(layer.kernel)``, which are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import qkeras

from toolkit.arguments import optional
from toolkit.config import LayerQuantConfig, QuantConfig
from toolkit.data import Dataset, as_dataset
from toolkit.errors import ConfigError, DataError, UnsupportedLayer, nearest
from toolkit.records import Array, TrainRecord
from toolkit.training.atoms import split
from toolkit.training.fold import activation_name, fold_network, scale_and_shift
from toolkit.training.network import Network, Node, build, read
from toolkit.training.ranges import (
    Ranges,
    best_integer,
    best_steps,
    binary_scales,
    input_integer,
    observe,
    ternary_scales,
)
from toolkit.zoo.files import keras_model
from toolkit.zoo.quantizers import QAffine, binary, is_quantized_layer, quantized_bits, quantized_relu, ternary

# Narrowest bias by default: with a 2-bit kernel, a 2-bit bias would be nothing but its sign.
SMALLEST_BIAS_BITS = 4


def quantize(
    model: keras.Model | TrainRecord | str | Path,
    config: QuantConfig | None = None,
    calibration: Dataset | Array | Sequence[Array] | str | Path | None = None,
) -> keras.Model:
    """A QKeras model with the float model's weights, ready to train further or to convert.

    Batch normalization is folded first. Integer bits of kernels and biases are those with the least
    squared error on the weights; those of activations likewise, on what the float model computes for
    the calibration images (a dataset's first ``calibration_count`` training images, or an array of
    inputs as the model takes them; one for each input of a model with several).

    Raises ``UnsupportedLayer`` for a layer it cannot quantize, ``ModelError`` for weights that are
    not finite, ``DataError`` for calibration inputs of another shape, ``ConfigError`` for settings of
    layers that are not there.
    """
    config = optional("the configuration", config, QuantConfig) or QuantConfig()
    network = split(fold_network(in_float32(read(keras_model(model)))))
    require_known_layers(config, network)
    require_deciding(config, network)
    for node in network.nodes:
        require_quantizable(network, node)
    if isinstance(calibration, (str, Path)):
        calibration = as_dataset(calibration)
    images = calibration_inputs(network, config, calibration)
    ranges = observe(build(network), images, [node.name for node in network.nodes if needs_range(node)])
    return build(emit(network, config, ranges))


def in_float32(network: Network) -> Network:
    """The same network with every layer computing in float32, whatever it was trained in."""
    nodes = tuple(node.change(config={"dtype": "float32"}) for node in network.nodes)
    return Network(network.name, nodes, network.outputs)


def require_known_layers(config: QuantConfig, network: Network) -> None:
    known = {name for node in network.nodes for name in names_of(node)}
    for name in config.layers:
        if name not in known:
            raise ConfigError(
                f'quantization.layers: the model has no layer "{name}"{nearest(name, known)} (batch normalization '
                f"is folded into the layer before it); layers: {', '.join(sorted(known))}"
            )


OF_WEIGHTS = ("weight_bits", "bias_bits", "weights", "scale")


def require_deciding(config: QuantConfig, network: Network) -> None:
    """Raise ``ConfigError`` for keys that decide nothing: of weights where there are none, widths beside others."""
    for key in config.idle:
        raise ConfigError(
            f"quantization.{key} decides nothing: binary and ternary kernels have no other width, "
            "and bias_bits is that of the biases; leave it out"
        )
    for name, own in config.layers.items():
        meant = [node for node in network.nodes if name in names_of(node)]
        for key in OF_WEIGHTS:
            if getattr(own, key) is not None and not any(node.kind in PRODUCTS for node in meant):
                raise ConfigError(
                    f"quantization.layers.{name}.{key} decides nothing: {name} ({meant[0].kind}) has no weights; "
                    "activation_bits is the width of its values"
                )


def require_rounding(config: QuantConfig, network: Network, rounded: set[str]) -> None:
    """Raise ``ConfigError`` for ``activation_bits`` of a layer whose values are not rounded.

    The last layer with weights is let pass, as a sweep's pattern reaches it too: its exact sums are the output.
    """
    ends = {*network.outputs, *(name for node in network.nodes if is_softmax(node) for name in node.inputs)}
    last = {text for node in network.nodes if node.kind in PRODUCTS and node.name in ends for text in names_of(node)}
    for name, own in config.layers.items():
        if own.activation_bits is not None and name not in rounded | last:
            raise ConfigError(
                f"quantization.layers.{name}.activation_bits decides nothing: values are not rounded after {name}; "
                f"they are after {', '.join(sorted(rounded))}"
            )


def is_softmax(node: Node) -> bool:
    return node.kind == "Softmax" or (node.kind == "Activation" and activation_name(node) == "softmax")


def names_of(node: Node) -> tuple[str, str]:
    """Both names a layer is called by."""
    return node.name, node.origin


def calibration_inputs(
    network: Network, config: QuantConfig, calibration: Dataset | Array | Sequence[Array] | None
) -> list[Array]:
    """Images that decide the integer bits, float32 ``[n, ...]``, one array for each input."""
    if calibration is None:
        raise DataError("quantize needs calibration images: a dataset, or an array of inputs as the model takes them")
    expected = [node.shape for node in network.nodes if node.kind == "InputLayer"]
    if isinstance(calibration, Dataset):
        inputs = calibration.inputs("train", config.calibration_count)
        given: Sequence[Any] = inputs if isinstance(inputs, list) else [inputs]
    else:
        given = [calibration] if len(expected) == 1 else list(calibration)
    arrays = [np.asarray(values, np.float32)[: config.calibration_count] for values in given]
    wanted = " and ".join(f"[n, {', '.join(map(str, shape))}]" for shape in expected)
    shapes = [array.shape for array in arrays]
    if len(arrays) != len(expected) or not all(map(fits, shapes, expected)) or len({len(a) for a in arrays}) > 1:
        raise DataError(f"calibration images must have shape {wanted}, got {' and '.join(map(str, shapes))}")
    if not all(np.isfinite(array).all() for array in arrays):
        raise DataError("calibration images must be finite, got NaN or infinite values")
    return arrays


def fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    """Whether an array of this shape holds at least one input of the expected shape."""
    inner = shape[1:]
    return (
        len(inner) == len(expected)
        and shape[0] > 0
        and all(want in (None, got) for got, want in zip(inner, expected, strict=True))
    )


# What a layer does to values, by kind; anything else is refused by name.
PRODUCTS = {
    "Conv1D": qkeras.QConv1D,
    "Conv2D": qkeras.QConv2D,
    "DepthwiseConv2D": qkeras.QDepthwiseConv2D,
    "Dense": qkeras.QDense,
    "BatchNormalization": QAffine,
}
ACTIVATIONS = ("ReLU", "Activation")
MOVES = (
    "MaxPooling1D",
    "MaxPooling2D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "Flatten",
    "Reshape",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "UpSampling1D",
    "UpSampling2D",
    "Dropout",
    "SpatialDropout1D",
    "SpatialDropout2D",
)
AVERAGES = ("AveragePooling1D", "AveragePooling2D", "GlobalAveragePooling1D", "GlobalAveragePooling2D")
JOINS = ("Add", "Concatenate")
OTHERS = ("InputLayer", "LeakyReLU", "Softmax")
QUANTIZABLE = (*PRODUCTS, *ACTIVATIONS, *MOVES, *AVERAGES, *JOINS, *OTHERS)

ACTIVATION_QUANTIZERS: Mapping[str, Callable[[int], Any]] = {
    "tanh": qkeras.quantized_tanh,
    "hard_tanh": qkeras.quantized_tanh,
    "sigmoid": qkeras.quantized_sigmoid,
}


def require_quantizable(network: Network, node: Node) -> None:
    """Raise ``UnsupportedLayer`` unless the node has an exact fixed-point counterpart."""
    problem = problem_with(network, node)
    if problem:
        raise UnsupportedLayer(f"layer {node.name} ({node.kind}) cannot be quantized: {problem}")


def problem_with(network: Network, node: Node) -> str | None:
    """Why a node cannot be quantized, or ``None``."""
    settings = node.config
    if is_quantized_layer(node.layer_class):
        return "it is quantized already; start from the float model"
    if node.kind not in QUANTIZABLE:
        return (
            f"there is no quantized counterpart; quantizable layers: {', '.join(sorted(QUANTIZABLE))}, SeparableConv2D"
        )
    if settings.get("data_format") == "channels_first":
        return "channels must come last (data_format channels_last)"
    match node.kind:
        case "BatchNormalization" if settings["axis"] not in (-1, len(node.shape), [-1], [len(node.shape)]):
            return f"its axis must be the last, got {settings['axis']}"
        case "UpSampling2D" if settings.get("interpolation", "nearest") != "nearest":
            return f'interpolation must be "nearest", got "{settings["interpolation"]}"'
        case "ReLU" | "LeakyReLU":
            return problem_with_relu(node)
        case "Activation" | "Softmax":
            return problem_with_activation(network, node)
    return None


def problem_with_relu(node: Node) -> str | None:
    highest, slope = node.config.get("max_value"), float(node.config.get("negative_slope") or 0)
    if highest is not None and not is_power_of_two(highest):
        return f"max_value must be a power of two or none, got {highest:g}"
    if slope and not is_power_of_two(slope):
        return f"negative_slope must be a power of two such as 0.125 or 0.25, got {slope:g}"
    if node.kind == "ReLU" and slope:
        return "a relu with a negative slope must be a LeakyReLU layer"
    if node.config.get("threshold"):
        return f"threshold must be 0, got {node.config['threshold']:g}"
    return None


def problem_with_activation(network: Network, node: Node) -> str | None:
    name = "softmax" if node.kind == "Softmax" else activation_name(node)
    if name == "softmax":
        return None if node.name in network.outputs else "softmax is possible only as the model's output"
    if name not in ACTIVATION_QUANTIZERS:
        return f'activation "{name}" has none; choose relu, leaky_relu, {", ".join(ACTIVATION_QUANTIZERS)} or linear'
    return None


def is_power_of_two(value: float) -> bool:
    return value > 0 and float(np.log2(value)).is_integer()


def needs_range(node: Node) -> bool:
    """Whether the values a node computes may have to be put on a grid of their own."""
    return node.kind in (*PRODUCTS, *AVERAGES, "ReLU", "LeakyReLU", "Add", "InputLayer")


@dataclass(frozen=True)
class Value:
    """What is known of a value: the node that holds it, whether it is on a grid, whether it can be negative."""

    node: str
    source: str  # the node whose range it has
    on_grid: bool
    nonnegative: bool


class Emitter:
    """The quantized network as it grows, and what is known of each value."""

    def __init__(self, config: QuantConfig, ranges: Ranges) -> None:
        self.config = config
        self.ranges = ranges
        self.nodes: list[Node] = []
        self.values: dict[str, Value] = {}
        self.origins: dict[str, str] = {}
        self.rounded: set[str] = set()  # float layers, and what they come from, whose values got a quantizer

    def settings(self, name: str) -> LayerQuantConfig:
        """What the user asked for one layer."""
        origin = self.origins.get(name, name)
        return self.config.layers.get(name) or self.config.layers.get(origin) or LayerQuantConfig()

    def on_grid(self, name: str) -> str:
        """The node that holds a value on a grid; one is added if need be."""
        value = self.values[name]
        if not value.on_grid:
            quantizer = self.activation_quantizer(value.source, value.nonnegative)
            added = activation_node(f"{value.source}_quantizer", quantizer, value.node)
            self.nodes.append(added)
            self.values[name] = Value(added.name, value.source, True, value.nonnegative)
            for other, known in self.values.items():
                if known.node == value.node:
                    self.values[other] = self.values[name]
        return self.values[name].node

    def activation_bits(self, name: str, default: int | None = None) -> int:
        self.rounded |= {name, self.origins.get(name, name)}
        return self.settings(name).activation_bits or default or self.config.activation_bits

    def activation_quantizer(self, source: str, nonnegative: bool) -> Any:
        """The quantizer of the values of ``source``, with the integer bits its range asks for."""
        bits, values = self.activation_bits(source), self.ranges[source]
        if nonnegative:
            return quantized_relu(bits, best_integer(values, bits, signed=False))
        return signed_quantizer(source, bits, best_integer(values, bits, signed=True))

    def add(self, node: Node, *, on_grid: bool, nonnegative: bool = False, source: str | None = None) -> None:
        """Append a node under the name of the float node it stands for."""
        self.nodes.append(node)
        self.values[node.name] = Value(node.name, source or node.name, on_grid, nonnegative)


def emit(network: Network, config: QuantConfig, ranges: Ranges) -> Network:
    """The quantized network: every float node in turn, quantizers where values need them."""
    emitter = Emitter(config, ranges)
    emitter.origins = {node.name: node.origin for node in network.nodes}
    for node in network.nodes:
        emit_node(emitter, node)
    require_rounding(config, network, emitter.rounded)
    outputs = tuple(emitter.values[name].node for name in network.outputs)
    return Network(network.name, tuple(emitter.nodes), outputs)


def emit_node(emitter: Emitter, node: Node) -> None:
    values = [emitter.values[name] for name in node.inputs]
    nonnegative = all(value.nonnegative for value in values)
    match node.kind:
        case "InputLayer":
            emit_input(emitter, node)
        case kind if kind in PRODUCTS:
            emit_product(emitter, node)
        case "ReLU" | "Activation" if activation_name(node) != "softmax":
            emit_activation(emitter, node)
        case kind if kind in (*AVERAGES, "Add"):
            emitter.add(taking_grid(emitter, node), on_grid=False, nonnegative=nonnegative)
        case "Concatenate":
            emitter.add(taking_grid(emitter, node), on_grid=True, nonnegative=nonnegative)
        case kind if kind in MOVES:
            moved = node.change(inputs=(values[0].node,))
            emitter.add(moved, on_grid=values[0].on_grid, nonnegative=nonnegative, source=values[0].source)
        case _:  # LeakyReLU, softmax
            emitter.add(node.change(inputs=(values[0].node,)), on_grid=False)


def taking_grid(emitter: Emitter, node: Node) -> Node:
    return node.change(inputs=tuple(emitter.on_grid(name) for name in node.inputs))


def emit_input(emitter: Emitter, node: Node) -> None:
    """The input and its quantizer: unsigned when no calibration image is negative."""
    emitter.add(node, on_grid=False)
    bits = emitter.activation_bits(node.name, emitter.config.input_bits)
    values = emitter.ranges[node.name]
    nonnegative = bool(values.min() >= 0)
    integer = input_integer(values, bits, signed=not nonnegative)
    quantizer = quantized_relu(bits, integer) if nonnegative else signed_quantizer(node.name, bits, integer)
    added = activation_node(f"{node.name}_quantizer", quantizer, node.name)
    emitter.nodes.append(added)
    emitter.values[node.name] = Value(added.name, node.name, True, nonnegative)


def emit_activation(emitter: Emitter, node: Node) -> None:
    name = "relu" if node.kind == "ReLU" else activation_name(node)
    if name == "relu":
        quantizer = relu_quantizer(emitter, node)
    else:
        bits = emitter.activation_bits(node.name)
        quantizer = ACTIVATION_QUANTIZERS[name](bits)
        if bits < 2 and name != "sigmoid":
            raise no_room_for_sign(node.name, bits)
    source = emitter.values[node.inputs[0]].node
    emitter.add(activation_node(node.name, quantizer, source), on_grid=True, nonnegative=name in ("relu", "sigmoid"))


def relu_quantizer(emitter: Emitter, node: Node) -> Any:
    bits, highest = emitter.activation_bits(node.name), node.config.get("max_value")
    integer = best_integer(emitter.ranges[node.name], bits, signed=False)
    return quantized_relu(bits, min(integer, int(np.log2(highest))) if highest else integer)


def activation_node(name: str, quantizer: Any, source: str) -> Node:
    return Node(name, qkeras.QActivation, {"activation": quantizer}, (source,))


def signed_quantizer(name: str, bits: int, integer: int) -> Any:
    if bits < 2:
        raise no_room_for_sign(name, bits)
    return quantized_bits(bits, integer, alpha=1.0)


def no_room_for_sign(name: str, bits: int) -> ConfigError:
    return ConfigError(
        f"values after layer {name} can be negative and need at least 2 activation bits, got {bits}; "
        f"set quantization.layers.{name}.activation_bits"
    )


def emit_product(emitter: Emitter, node: Node) -> None:
    """A convolution, dense layer or scale with quantized kernel and bias."""
    if node.kind == "BatchNormalization":
        node = as_affine(node)
    kernel_name = "depthwise" if node.kind == "DepthwiseConv2D" else "kernel"
    settings = emitter.settings(node.name)
    kernel, *bias = node.weights
    quantizer = kernel_quantizer(kernel, emitter.config, settings, per_channel=node.kind != "QAffine")
    changes: dict[str, Any] = {f"{kernel_name}_quantizer": quantizer}
    if bias:
        changes["bias_quantizer"] = bias_quantizer(bias[0], emitter.config, settings)
    if node.kind != "QAffine":
        changes |= {"activation": None, **constraints(node, kernel_name, changes)}
    layer_class = PRODUCTS.get(node.kind, node.layer_class)
    emitter.add(taking_grid(emitter, node).change(layer_class=layer_class, config=changes), on_grid=False)


def as_affine(node: Node) -> Node:
    scale, shift = scale_and_shift(node)
    weights = (scale.astype(np.float32), shift.astype(np.float32))
    return Node(node.name, QAffine, {}, node.inputs, weights, node.shape, node.origin)


def constraints(node: Node, kernel_name: str, quantizers: Mapping[str, Any]) -> dict[str, Any]:
    """Keep weights in training where their quantizer can hold them, unless the layer has a constraint of its own."""
    made = {}
    for part in (kernel_name, "bias"):
        quantizer = quantizers.get(f"{part}_quantizer")
        key = f"{part}_constraint"
        if type(quantizer) is quantized_bits and quantizer.alpha == 1.0 and not node.config.get(key):
            lsb = 2.0 ** (quantizer.integer + 1 - quantizer.bits)
            made[key] = qkeras.Clip(-(2.0**quantizer.integer), 2.0**quantizer.integer - lsb)
    return made


def kernel_quantizer(kernel: Array, config: QuantConfig, settings: LayerQuantConfig, per_channel: bool) -> Any:
    """The quantizer of a kernel: fixed point, binary or ternary, with the scale that fits these weights best."""
    bits = settings.weight_bits or config.weight_bits
    kind = settings.weights or config.weights
    channels = per_channel and (settings.scale or config.scale) == "auto_po2"
    if kind == "binary" or (kind == "fixed" and bits == 1):
        return binary(alpha=binary_scales(kernel, channels))
    if kind == "ternary":
        alpha = ternary_scales(kernel, channels)
        return ternary(alpha=alpha, threshold=np.asarray(alpha) / 2 if channels else alpha / 2)
    if channels:
        scale = best_steps(kernel, bits) * 2.0 ** (bits - 1)
        return quantized_bits(bits, 0, alpha="auto_po2", post_training_scale=scale)
    return quantized_bits(bits, best_integer(kernel, bits, signed=True), alpha=1.0)


def bias_quantizer(bias: Array, config: QuantConfig, settings: LayerQuantConfig) -> Any:
    default = max(settings.weight_bits or config.weight_bits, SMALLEST_BIAS_BITS)
    bits = settings.bias_bits or config.bias_bits or default
    if bits < 2:
        raise ConfigError(f"bias_bits must be at least 2 (one is the sign), got {bits}")
    return quantized_bits(bits, best_integer(bias, bits, signed=True), alpha=1.0)
