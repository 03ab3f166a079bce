"""What hls4ml 1.3.0 computes as something else than Keras does, or writes as C++ that csim cannot run.

Every rule is refused by name before anything is written. Four places are looked at: the configuration,
settings of Keras layers that hls4ml's converter passes over, hls4ml layers whose C++ is wrong
(``nnet_utils``; each rule names the header), and activations that are wrong for values their input's
type has. Reuse factors have rules of their own, in :mod:`toolkit.hls.reuse`.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.config import HlsConfig
from toolkit.devices import boards, plain
from toolkit.errors import ConfigError, ToolNotFound, UnsupportedLayer, nearest
from toolkit.precision import Precision
from toolkit.records import Graph

LayerDict = Mapping[str, Any]
Sizes = tuple[int, ...]  # per spatial axis

PART = re.compile(r"^x[acq][0-9A-Za-z]+(-[0-9A-Za-z]+)*$", re.IGNORECASE)
FASTEST_CLOCK_NS = 1.0  # AMD's fastest block RAM and DSP clocks stay below 900 MHz (data sheets DS923, DS925)

# Functions of one value that nnet_activation.h has; nnet_activation_stream.h lacks those with a ceiling.
FUNCTIONS = ("linear", "relu", "sigmoid", "tanh", "softplus", "softsign", "selu", "binary_tanh", "ternary_tanh")
PARALLEL_FUNCTIONS = (*FUNCTIONS, "relu1", "relu6")

MERGES = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot")
SELU_SCALE = 1.0507009873554805  # a constant of the input's type in nnet_activation_stream.h

SIDES = ("top", "bottom", "left", "right")


def check_config(config: HlsConfig) -> None:
    """Raise ``ConfigError`` for a part or clock no FPGA has."""
    if not PART.match(config.part):
        raise ConfigError(
            "hls.part must be an AMD part number such as xc7z020clg400-1 or a board that toolkit parts lists, "
            f'got "{config.part}"{nearest(plain(config.part), boards())}'
        )
    if config.clock_period_ns < FASTEST_CLOCK_NS:
        raise ConfigError(f"hls.clock_period_ns must be at least {FASTEST_CLOCK_NS}, got {config.clock_period_ns}")


def check_packages(layers: Sequence[LayerDict]) -> None:
    """Raise ``ToolNotFound`` for a chosen strategy whose optional package is missing."""
    strategies = {layer["chosen_strategy"] for layer in layers}
    if "distributed_arithmetic" in strategies and importlib.util.find_spec("da4ml") is None:
        raise ToolNotFound(
            "hls.strategy distributed_arithmetic needs the Python package da4ml: pip install 'da4ml>=0.5.2,<0.6'"
        )


def check_settings(model: Any) -> None:
    """Raise ``UnsupportedLayer`` naming every Keras layer with a setting that hls4ml passes over."""
    layers = {id(layer) for layer in model.layers}
    bare = [operation for operation in getattr(model, "operations", ()) if id(operation) not in layers]
    found = [
        (item.name, f"{type(item).__name__} on tensors (x + y, x * 2) is no layer; use a Keras layer") for item in bare
    ]
    raise_found([*found, *((layer.name, ignored_setting(layer)) for layer in model.layers)])


def check_layers(layers: Sequence[LayerDict], io_type: str) -> None:
    """Raise ``UnsupportedLayer`` naming every hls4ml layer that csim would compute wrongly or not at all."""
    stream = io_type == "io_stream"
    found: list[tuple[str, str | None]] = []
    for layer in layers:
        if "Pooling" in layer["class_name"]:
            pads = tuple(layer.get(f"pad_{side}", 0) for side in SIDES)
            found.append(
                (layer["name"], wrong_pooling(sizes_of(layer, "pool"), sizes_of(layer, "stride"), pads, stream))
            )
        elif "Conv" in layer["class_name"]:
            multiplier = layer.get("depth_multiplier", 1) if "Depthwise" in layer["class_name"] else None
            window = sizes_of(layer, "filt"), sizes_of(layer, "stride")
            found.append((layer["name"], wrong_window(*window, multiplier, stream)))
    found += [(layer["name"], unknown_function(layer, stream)) for layer in layers]
    found += [(layer["name"], wrong_shapes(layer, stream)) for layer in layers if layer["class_name"] == "Merge"]
    found += [(layer["name"], wrong_axis(layer, stream)) for layer in layers if layer["class_name"] == "Softmax"]
    found += [(layer["name"], wrong_order(layer, stream)) for layer in layers if layer["class_name"] == "Transpose"]
    raise_found([*found, *mixed_depthwise(layers)])


def raise_found(found: Any) -> None:
    problems = [f"layer {name!r}: {reason}" for name, reason in found if reason]
    if problems:
        raise UnsupportedLayer("\n".join(problems))


def ignored_setting(layer: Any) -> str | None:
    """The setting of a Keras layer that hls4ml would compute as its default; ``None`` if there is none."""
    kind = type(layer).__name__
    if getattr(layer, "data_format", "channels_last") == "channels_first":
        return "data_format must be channels_last, got channels_first"
    if any(rate != 1 for rate in as_tuple(getattr(layer, "dilation_rate", 1))):
        return f"dilation_rate must be 1, got {layer.dilation_rate}"
    if getattr(layer, "groups", 1) != 1:
        return f"groups must be 1, got {layer.groups}"
    if getattr(layer, "keepdims", False):
        return "keepdims must be false; a Reshape after it gives the same shape"
    if getattr(layer, "go_backwards", False):
        return "go_backwards must be false; reverse the steps of the input instead"
    if hasattr(layer, "layers"):
        return "a model inside a model is not taken; build one model of its layers"
    match kind:
        case "GRU" if not layer.reset_after:
            return "reset_after must be true, got false; hls4ml computes the other form"
        case "Dot" if layer.normalize:
            return "normalize must be false; hls4ml computes the plain product"
        case _ if kind in MERGES and len(as_tuple(layer.input)) != 2:
            return f"hls4ml takes two tensors, got {len(as_tuple(layer.input))}; do it in pairs"
        case "BatchNormalization" if layer.axis not in (-1, len(layer.input.shape) - 1):
            return f"axis must be the last, got {layer.axis}"
        case "ReLU" if layer.max_value not in (None, float("inf")):
            return f"max_value must be none, got {layer.max_value:g}; quantize the model, whose activations saturate"
        case "PReLU" if layer.shared_axes:
            return f"shared_axes must be none, got {list(layer.shared_axes)}"
        case "UpSampling2D" if layer.interpolation != "nearest":
            return f"interpolation must be nearest, got {layer.interpolation}"
    return None


def as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def sizes_of(layer: LayerDict, name: str) -> tuple[int, ...]:
    """``filt_height`` and ``filt_width``, or what else has a size per axis; over one axis the width alone."""
    keys = (f"{name}_height", f"{name}_width")
    return tuple(int(layer[key]) for key in keys if key in layer)


def wrong_pooling(kernel: Sizes, strides: Sizes, pads: Sizes, stream: bool) -> str | None:
    """Padded pooling, and windows that overlap or leave gaps in a stream.

    ``nnet_pooling.h`` pads max pooling with only the top bit set, the smallest value of a signed type but
    the middle of an unsigned one; ``nnet_pooling_stream.h`` asserts that nothing is padded and that 2D
    windows lie side by side.
    """
    if any(pads):
        return (
            f"pooling with padding 'same' that pads ({list(pads)}) is computed wrongly by hls4ml; "
            "use padding='valid' or a size that the stride divides"
        )
    if stream and len(kernel) == 2 and kernel != strides:
        return f"2D pooling in io_stream needs strides equal to the pool size {kernel}, got {strides}; use io_parallel"
    return None


def wrong_window(kernel: Sizes, strides: Sizes, multiplier: int | None, stream: bool) -> str | None:
    """Convolutions whose C++ reads another window; ``multiplier`` is that of a depthwise one.

    ``nnet_conv2d_stream.h`` and ``nnet_sepconv2d_stream.h`` give kernels of one row to the 1D code, which
    knows no vertical stride (1x1 convolutions, unless depthwise, have code of their own);
    ``nnet_sepconv*.h`` holds one filter per channel.
    """
    if multiplier not in (None, 1):
        return f"depth_multiplier must be 1, got {multiplier}; hls4ml has one filter per channel"
    flat = len(kernel) == 2 and kernel[0] == 1 and (multiplier is not None or kernel[1] > 1)
    if stream and flat and strides[0] > 1:
        return (
            f"hls4ml 1.3.0 ignores the vertical stride of a kernel of one row in io_stream, got kernel {kernel} "
            f"with strides {strides}; use io_parallel, or a kernel of more rows"
        )
    return None


def wrong_shapes(layer: LayerDict, stream: bool) -> str | None:
    """Merges of arrays of two sizes: ``nnet_merge.h`` reads both by one index."""
    shapes = [tuple(shape) for shape in layer.get("input_shape", ())]
    if stream or len(set(shapes)) < 2:
        return None
    return f"merging different shapes is computed wrongly in io_parallel, got {' and '.join(map(str, shapes))}"


def check_values(layers: Sequence[LayerDict], graph: Graph, io_type: str) -> None:
    """Raise ``UnsupportedLayer`` naming every activation that is wrong for values its input can have."""
    known = {layer.name: layer for layer in graph.layers}
    found = []
    for layer in layers:
        built = known.get(layer["name"])
        if built is not None and built.inputs:
            data = Precision.parse(graph.tensors[built.inputs[0]].precision)
            found += [(layer["name"], wrong_slope(layer, data)), (layer["name"], wrong_selu(layer, data, io_type))]
    raise_found(found)


def wrong_slope(layer: LayerDict, data: Precision) -> str | None:
    """``quantized_relu`` with a negative slope clips at ``-slope * 2**integer``; a type ends at ``-2**integer``."""
    if layer["class_name"] != "LeakyReLU" or "activation_type" not in layer:
        return None
    lowest = -(2.0 ** (layer["activation_type"].precision.integer_bits - 1))
    if data.minimum >= lowest:
        return None
    slope = layer["activ_param"]
    return (
        f"quantized_relu with a negative slope clips at {slope * lowest:g}, hls4ml's does not, and its input {data} "
        f"reaches {data.minimum:g}; quantize its input to {lowest:g} and above, or give it more integer bits"
    )


def wrong_selu(layer: LayerDict, data: Precision, io_type: str) -> str | None:
    """``selu`` in a stream multiplies by 1.05 in the input's type."""
    if layer.get("activation") != "selu" or io_type != "io_stream" or data.maximum >= SELU_SCALE:
        return None
    return f"selu in io_stream needs an input type that holds {SELU_SCALE:.4g}, got {data}; give it 2 integer bits"


def wrong_axis(layer: LayerDict, stream: bool) -> str | None:
    """A softmax over another axis than the last: ``nnet_activation_stream.h`` normalizes each packet."""
    if stream and layer.get("n_inner", 1) != 1:
        return "softmax over another axis than the last is not computed in io_stream; use io_parallel or a Permute"
    return None


def wrong_order(layer: LayerDict, stream: bool) -> str | None:
    """A transposition that changes nothing: ``nnet_transpose_stream.h`` swaps two axes whatever their order."""
    if stream and list(layer["perm"]) == [0, 1]:
        return "hls4ml 1.3.0 swaps two axes in io_stream even where the order stays, got dims (1, 2); leave it out"
    return None


def unknown_function(layer: LayerDict, stream: bool) -> str | None:
    """An activation function that ``nnet_activation.h`` does not hold."""
    known = FUNCTIONS if stream else PARALLEL_FUNCTIONS
    name = str(layer.get("activation"))
    if layer["class_name"] != "Activation" or name in known:
        return None
    if name in PARALLEL_FUNCTIONS:
        return f'activation "{name}" exists in io_parallel only'
    return f'hls4ml has no activation "{name}"{nearest(name, known)}; choose {", ".join(known)}, elu or leaky_relu'


def mixed_depthwise(layers: Sequence[LayerDict]) -> list[tuple[str, str]]:
    """Depthwise convolutions over one axis and over two: the headers of both share an include guard."""
    found = [layer for layer in layers if layer["class_name"].startswith("Depthwise")]
    first = next((layer for layer in found if layer["class_name"] != found[0]["class_name"]), None)
    if first is None:
        return []
    reason = f"1D and 2D depthwise convolutions do not compile in one hls4ml project; {found[0]['name']!r} is the other"
    return [(str(first["name"]), reason)]
