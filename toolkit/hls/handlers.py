"""hls4ml handlers for QKeras layers on Keras 3, which hls4ml 1.3.0 does not have.

Every weight is handed over already quantized, with the narrowest fixed-point type that holds its
values exactly (the quantizer's own type where the scale is 1), so binary, ternary and
power-of-two-scaled weights need no layer of their own. Activations carry their quantizer's type with
QKeras' rounding (half to even) and saturation.

Importing this module imports hls4ml; :func:`registered` puts the handlers in hls4ml's registry while a
model is parsed, except for layers that hls4ml already knows: a release with its own handlers wins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import hls4ml
import numpy as np
from hls4ml.converters.keras_v3 import layer_handlers as registry
from hls4ml.converters.keras_v3._base import KerasV3LayerHandler
from hls4ml.converters.keras_v3.conv import gen_conv_config
from hls4ml.model.quantizers import Quantizer
from hls4ml.model.types import FixedPrecisionType

from toolkit.errors import ModelError, UnsupportedLayer
from toolkit.hls.quantizers import exact_precision, quantize_values, quantizer_kind, quantizer_precision, spelled
from toolkit.precision import Precision
from toolkit.records import Array

# The activation functions of hls4ml for each kind of QKeras quantizer used as an activation.
HALF_BITS = Precision(2, 0, signed=False)  # hard sigmoid: slope and shift are one half


class ExactWeights(Quantizer):  # type: ignore[misc]
    """Weights that are quantized already, and the type that holds them exactly.

    It has no ``alpha``, so hls4ml's pass that factors scales out leaves the layer alone.
    """

    def __init__(self, precision: Precision) -> None:
        super().__init__(precision.width_bits, hls_precision(precision))

    def __call__(self, data: Array) -> Array:
        return data

    def serialize_state(self) -> dict[str, Any]:
        return {"precision": str(self.hls_type)}


class ActivationType:
    """The type an activation's quantizer asks for; hls4ml moves it to the layer before where that is safe."""

    def __init__(self, precision: Precision) -> None:
        self.precision = precision
        self.bits = precision.width_bits
        self.hls_type = hls_precision(precision)


def hls_precision(precision: Precision) -> FixedPrecisionType:
    """Our value as hls4ml's class."""
    return FixedPrecisionType(
        precision.width_bits,
        precision.integer_bits,
        precision.signed,
        str(precision.rounding),
        str(precision.overflow),
        precision.saturation_bits,
    )


@contextmanager
def registered() -> Iterator[tuple[str, ...]]:
    """Put our handlers where hls4ml has none, for as long as the block lasts; the layers hls4ml knew itself.

    hls4ml 1.3.0 has a handler for Keras' separable convolutions that fails on every one of them
    (it looks for a ``kernel``); there, ours takes its place.
    """
    before = dict(registry)
    known = tuple(name for name in HANDLERS if name in registry)
    registry.update({name: handler for name, handler in HANDLERS.items() if name not in known})
    if hls4ml.__version__ == "1.3.0":
        registry.update(dict.fromkeys(FAILING, HANDLERS["QSeparableConv2D"]))
    try:
        yield known
    finally:
        registry.clear()
        registry.update(before)


class QKerasHandler(KerasV3LayerHandler):  # type: ignore[misc]
    """Runs one of the functions below on a layer; ``handles`` is left out so that nothing registers by itself."""

    def __init__(self, read: Callable[..., list[dict[str, Any]]]) -> None:
        self.read = read

    def __call__(self, layer: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> tuple[dict[str, Any], ...]:
        return tuple(self.read(layer, list(inputs), list(outputs)))


def node(layer: Any, kind: str, inputs: Sequence[Any], outputs: Sequence[Any], **fields: Any) -> dict[str, Any]:
    """What hls4ml expects of every layer: name, class, tensors, shapes."""
    return {
        "name": layer.name,
        "class_name": kind,
        "module": layer.__module__,
        "input_keras_tensor_names": [tensor.name for tensor in inputs],
        "input_shape": [list(tensor.shape[1:]) for tensor in inputs],
        "output_keras_tensor_names": [tensor.name for tensor in outputs],
        **fields,
    }


def with_activation(layer: Any, config: dict[str, Any], outputs: Sequence[Any]) -> list[dict[str, Any]]:
    """Append the layer of a layer's own ``activation``, as hls4ml does, named ``<layer>_<activation>``."""
    import keras

    activation = getattr(layer, "activation", None)
    if activation is None or activation is keras.activations.linear:
        return [config]
    between = f"{outputs[0].name}_activation"
    config["output_keras_tensor_names"] = [between]
    named = getattr(activation, "__name__", quantizer_kind(activation))
    follow = activation_node(layer, activation, math.prod(outputs[0].shape[1:]))
    return [
        config,
        follow
        | {
            "name": f"{layer.name}_{named}",
            "input_keras_tensor_names": [between],
            "output_keras_tensor_names": [outputs[0].name],
            "input_shape": [list(outputs[0].shape[1:])],
        },
    ]


def weight_fields(layer: Any, kernel: str, quantizer: str, name: str = "weight") -> dict[str, Any]:
    """``<name>_data`` and ``<name>_quantizer`` of a kernel, and those of the bias."""
    fields = quantized(layer, getattr(layer, kernel), getattr(layer, f"{quantizer}_quantizer_internal", None), name)
    if not getattr(layer, "use_bias", False):
        return fields | {"bias_data": None}
    return fields | quantized(layer, layer.bias, getattr(layer, "bias_quantizer_internal", None), "bias")


def quantized(layer: Any, variable: Any, quantizer: Any, name: str) -> dict[str, Any]:
    """A weight through its quantizer, with the type that holds it; as it is when nothing quantizes it."""
    values = np.asarray(variable, np.float32)
    if quantizer is None:
        return {f"{name}_data": values, f"{name}_quantizer": None}
    values = quantize_values(quantizer, values)
    precision = exact_precision(values, quantizer)
    if precision is None:
        raise ModelError(
            f"layer {layer.name!r}: {name} is quantized with a scale that is no power of two "
            f"({spelled(quantizer)}), which no narrow fixed-point type holds; use alpha=1 or alpha='auto_po2'"
        )
    return {f"{name}_data": values.astype(np.float64), f"{name}_quantizer": ExactWeights(precision)}


def read_dense(layer: Any, inputs: list[Any], outputs: list[Any]) -> list[dict[str, Any]]:
    fields = weight_fields(layer, "kernel", "kernel")
    n_in, n_out = layer.kernel.shape
    config = node(layer, "Dense", inputs, outputs, data_format="channels_last", n_in=n_in, n_out=n_out, **fields)
    return with_activation(layer, config, outputs)


def read_conv(layer: Any, inputs: list[Any], outputs: list[Any]) -> list[dict[str, Any]]:
    """QConv1D and QConv2D."""
    kind = f"Conv{len(layer.kernel_size)}D"
    fields = weight_fields(layer, "kernel", "kernel")
    config = node(layer, kind, inputs, outputs, **geometry(layer, inputs, outputs), **fields)
    return with_activation(layer, config, outputs)


def read_depthwise(layer: Any, inputs: list[Any], outputs: list[Any]) -> list[dict[str, Any]]:
    fields = weight_fields(layer, "depthwise_kernel" if hasattr(layer, "depthwise_kernel") else "kernel", "depthwise")
    shape = geometry(layer, inputs, outputs)
    config = node(layer, f"DepthwiseConv{len(layer.kernel_size)}D", inputs, outputs, **shape, **depthwise(fields))
    return with_activation(layer, config | {"depth_multiplier": layer.depth_multiplier}, outputs)


def depthwise(fields: dict[str, Any]) -> dict[str, Any]:
    """hls4ml reads a depthwise kernel under its own name and looks for both."""
    return fields | {"depthwise_data": fields["weight_data"], "depthwise_quantizer": fields["weight_quantizer"]}


def read_separable(layer: Any, inputs: list[Any], outputs: list[Any]) -> list[dict[str, Any]]:
    """A separable convolution as hls4ml splits it: ``<name>_depthwise``, then ``<name>_pointwise``."""
    between = f"{outputs[0].name}_depthwise"
    rank = len(layer.kernel_size)
    first = geometry(layer, inputs, outputs)
    channels = int(inputs[0].shape[-1]) * layer.depth_multiplier
    spatial = tuple(outputs[0].shape[1:-1])
    kernel = quantized(layer, layer.depthwise_kernel, getattr(layer, "depthwise_quantizer_internal", None), "weight")
    head = node(layer, f"DepthwiseConv{rank}D", inputs, outputs, **first | {"n_filt": channels}, **depthwise(kernel))
    head |= {
        "name": f"{layer.name}_depthwise",
        "depth_multiplier": layer.depth_multiplier,
        "output_keras_tensor_names": [between],
        "bias_data": None,
    }
    second = gen_conv_config(
        in_shape=(*spatial, channels),
        out_shape=tuple(outputs[0].shape[1:]),
        ker_px_shape=(1,) * rank,
        strides=(1,) * rank,
        padding="valid",
        data_format="channels_last",
        name=layer.name,
    )
    fields = weight_fields(layer, "pointwise_kernel", "pointwise")
    tail = node(layer, f"Conv{rank}D", inputs, outputs, data_format="channels_last", **second, **fields)
    tail |= {
        "name": f"{layer.name}_pointwise",
        "input_keras_tensor_names": [between],
        "input_shape": [[*spatial, channels]],
    }
    return [head, *with_activation(layer, tail, outputs)]


def geometry(layer: Any, inputs: list[Any], outputs: list[Any]) -> dict[str, Any]:
    """Sizes, strides and padding of a convolution."""
    sizes: dict[str, Any] = gen_conv_config(
        in_shape=tuple(inputs[0].shape[1:]),
        out_shape=tuple(outputs[0].shape[1:]),
        ker_px_shape=tuple(layer.kernel_size),
        strides=tuple(layer.strides),
        padding=layer.padding,
        data_format=layer.data_format,
        name=layer.name,
    )
    return sizes | {"data_format": layer.data_format}


def read_activation(layer: Any, inputs: list[Any], outputs: list[Any]) -> list[dict[str, Any]]:
    config = activation_node(layer, layer.activation, math.prod(outputs[0].shape[1:]))
    return [node(layer, config["class_name"], inputs, outputs) | config]


def activation_node(layer: Any, activation: Any, size: int) -> dict[str, Any]:
    """The hls4ml layer of a QKeras quantizer (or a plain Keras function) used as an activation."""
    if isinstance(activation, str):
        from qkeras import get_quantizer

        activation = get_quantizer(activation)
    kind = quantizer_kind(activation)
    if kind in ("relu", "softmax", "tanh", "sigmoid") and not hasattr(activation, "get_config"):
        class_name = "Softmax" if kind == "softmax" else "Activation"
        return {"class_name": class_name, "activation": kind, "n_in": size, "axis": -1}
    precision = quantizer_precision(activation, layer.name)
    base = {"n_in": size, "activation_type": ActivationType(precision), "trusted": True}
    match kind:
        case "quantized_bits" | "quantized_linear":
            return base | {"class_name": "Activation", "activation": "linear", "quantizer": ActivationType(precision)}
        case "quantized_relu" if activation.negative_slope:
            slope = float(activation.negative_slope)
            return base | {"class_name": "LeakyReLU", "activation": "leakyrelu", "activ_param": slope}
        case "quantized_relu":
            return base | {"class_name": "Activation", "activation": "relu"}
        case "quantized_tanh" | "quantized_sigmoid":
            half = hls_precision(HALF_BITS)
            hard = {"slope": 0.5, "shift": 0.5, "slope_prec": half, "shift_prec": half}
            return base | hard | {"class_name": "HardActivation", "activation": kind.replace("quantized", "hard")}
        case "binary":
            return base | {"class_name": "Activation", "activation": "binary_tanh"}
    raise UnsupportedLayer(f"layer {layer.name!r}: activation {spelled(activation)} has no exact counterpart in hls4ml")


def read_affine(layer: Any, inputs: list[Any], outputs: list[Any]) -> list[dict[str, Any]]:
    """``kernel * x + bias`` per channel: hls4ml's BatchNormalization with exact scale and bias."""
    shape = tuple(inputs[0].shape[1:])
    scale = quantized(layer, layer.kernel, layer.kernel_quantizer_internal, "scale")
    bias = quantized(layer, layer.bias, layer.bias_quantizer_internal, "bias")
    filters = -1 if len(shape) == 1 else shape[-1]
    config = node(layer, "ApplyAlpha", inputs, outputs, n_in=math.prod(shape), n_filt=filters, **scale, **bias)
    return [config]


def read_average_pooling(layer: Any, inputs: list[Any], outputs: list[Any]) -> list[dict[str, Any]]:
    """QKeras' average pooling without ``average_quantizer`` is Keras' own; with one hls4ml has no counterpart."""
    if layer.average_quantizer is not None:
        raise UnsupportedLayer(
            f"layer {layer.name!r}: hls4ml divides a sum exactly and has no counterpart of average_quantizer; "
            "use AveragePooling2D followed by a QActivation"
        )
    import keras

    plain = keras.layers.GlobalAveragePooling2D if "Global" in type(layer).__name__ else keras.layers.AveragePooling2D
    handler = registry[f"{plain.__module__}.{plain.__name__}"]
    (config,) = handler(layer, inputs, outputs)[:1]
    return with_activation(layer, config | {"class_name": plain.__name__}, outputs)


def refuse(reason: str) -> Callable[..., list[dict[str, Any]]]:
    """A reader that names the layer and says why hls4ml cannot compute it."""

    def read(layer: Any, inputs: list[Any], outputs: list[Any]) -> list[dict[str, Any]]:
        raise UnsupportedLayer(f"layer {layer.name!r} ({type(layer).__name__}): {reason}")

    return read


FOLD_ADVICE = "fold batch normalization into the layer before it (toolkit.fold) or quantize with toolkit.quantize"

READERS: dict[str, Callable[..., list[dict[str, Any]]]] = {
    "QDense": read_dense,
    "QConv1D": read_conv,
    "QConv2D": read_conv,
    "QDepthwiseConv2D": read_depthwise,
    "QSeparableConv1D": read_separable,
    "QSeparableConv2D": read_separable,
    "QActivation": read_activation,
    "QAffine": read_affine,
    "QAveragePooling2D": read_average_pooling,
    "QGlobalAveragePooling2D": read_average_pooling,
    "QBatchNormalization": refuse(FOLD_ADVICE),
    "QConv2DBatchnorm": refuse(FOLD_ADVICE),
    "QDenseBatchnorm": refuse(FOLD_ADVICE),
    "QDepthwiseConv2DBatchnorm": refuse(FOLD_ADVICE),
    "QSimpleRNN": refuse("recurrent layers are not supported"),
    "QLSTM": refuse("recurrent layers are not supported"),
    "QGRU": refuse("recurrent layers are not supported"),
}

FAILING = tuple(f"keras.src.layers.convolutional.separable_conv{rank}d.SeparableConv{rank}D" for rank in (1, 2))

HANDLERS = {name: QKerasHandler(read) for name, read in READERS.items()}
