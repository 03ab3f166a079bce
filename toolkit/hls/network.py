"""From a front end's record of hls4ml's graph to the typed network: the one place that reads hls4ml's attribute names.

Both front ends (:mod:`toolkit.hls.graph` for a live ``ModelGraph``, :mod:`toolkit.hls.folder` for a project's
C++) write :class:`toolkit.records.Layer` in hls4ml's words; :func:`network_of` says what those words mean. A
class that is not known here, or whose record contradicts itself, becomes :class:`~toolkit.network.layers.Unknown`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from toolkit import records
from toolkit.errors import ConfigError, HlsError, ModelError
from toolkit.names import shown
from toolkit.network import layers as kinds
from toolkit.network.graph import Graph
from toolkit.network.layers import Layer
from toolkit.network.values import Build, Product, Scalar, Shape, Strategy, Tensor, Weight, Window
from toolkit.precision import Precision

NETWORKS: WeakKeyDictionary[records.Graph, Graph] = WeakKeyDictionary()


def network_of(subject: records.HlsProject | records.Graph | Graph) -> Graph:
    """The typed network of a project or a converted graph, made once for each; a network itself as it is.

    Raises ``HlsError`` for a tensor whose element type is not fixed point, ``ModelError`` for layers that do
    not fit together.
    """
    if isinstance(subject, Graph):
        return subject
    graph = subject.graph if isinstance(subject, records.HlsProject) else subject
    if not isinstance(graph, records.Graph):
        raise HlsError(f"a project, its folder or a converted graph is needed, got {shown(subject)}")
    if graph not in NETWORKS:
        NETWORKS[graph] = translate(graph)
    return NETWORKS[graph]


def translate(graph: records.Graph) -> Graph:
    """Every layer of a record as a typed one."""
    stream = any(tensor.fifo_depth > 0 for tensor in graph.tensors.values())
    tensors: dict[str, Tensor] = {}
    made = []
    for layer in graph.layers:
        for name in layer.outputs:
            tensors[name] = typed_tensor(graph.tensors[name], layer)
        made.append(typed(Piece(layer, tensors, stream)))
    return Graph(tuple(made), graph.inputs, graph.outputs)


def typed_tensor(tensor: records.Tensor, layer: records.Layer) -> Tensor:
    """A tensor with its type parsed; raises ``HlsError`` naming the layer that makes it."""
    try:
        return Tensor(tensor.name, tensor.shape, Precision.parse(tensor.precision), tensor.fifo_depth)
    except ConfigError as error:
        raise HlsError(f"layer {layer.name!r}: its result must be fixed point, got {tensor.precision}") from error


@dataclass(frozen=True)
class Piece:
    """One recorded layer, the tensors made so far, and whether the design streams."""

    layer: records.Layer
    tensors: Mapping[str, Tensor]
    stream: bool

    @property
    def shape(self) -> Shape:
        """Shape of the output."""
        return self.tensors[self.layer.outputs[0]].shape

    @property
    def result(self) -> Precision:
        return self.tensors[self.layer.outputs[0]].precision

    @property
    def data(self) -> Tensor:
        """The first input; raises ``KeyError`` for a layer without."""
        return self.tensors[self.layer.inputs[0] if self.layer.inputs else ""]

    def whole(self, *names: str, default: int = 1) -> int:
        """The first of some attributes that is set, as a whole number."""
        found = (self.layer.attributes.get(name) for name in names)
        return int(next((value for value in found if value is not None), default))

    def word(self, name: str) -> str:
        """An attribute as a word in lower case."""
        return str(self.layer.attributes.get(name, "")).lower()

    def number(self, name: str, default: float) -> float:
        return float(self.layer.attributes.get(name, default))

    def type(self, name: str, default: Precision | None = None) -> Precision:
        """One of the layer's types; raises ``KeyError`` where it has none of that name and no default."""
        if name not in self.layer.types and default is not None:
            return default
        return Precision.parse(self.layer.types[name])

    def weight(self, name: str, shape: Shape | None = None) -> Weight:
        """A weight as integers, in a shape if one is given; raises ``KeyError``."""
        weight = self.layer.weights[name]
        precision = Precision.parse(weight.precision)
        integers = precision.to_integers(weight.values).astype(np.int64)
        return Weight(integers if shape is None else integers.reshape(shape), precision)


Fields = dict[str, Any]
Reader = Callable[[Piece], tuple[type[Layer], Fields]]


def typed(piece: Piece) -> Layer:
    """One layer; ``Unknown`` with the reason where its class or its record is not understood."""
    layer = piece.layer
    common: Fields = {
        "name": layer.name,
        "inputs": tuple(piece.tensors[name] for name in layer.inputs),
        "outputs": tuple(piece.tensors[name] for name in layer.outputs),
        "origin": layer.kind,
        "keras_layer": layer.attributes.get("keras_layer"),
        "index": layer.attributes.get("index"),
    }
    if layer.kind not in READERS:
        return kinds.Unknown(**common, reason="no class of this name is known")
    try:
        kind, fields = READERS[layer.kind](piece)
        return kind(**common, build=build_of(piece), **fields)
    except KeyError as error:
        return kinds.Unknown(**common, reason=f"it has no {error.args[0]}")
    except (ConfigError, ModelError, ValueError) as error:
        return kinds.Unknown(**common, reason=str(error))


def build_of(piece: Piece) -> Build:
    """How a layer is built."""
    get = piece.layer.attributes.get
    strategy, factor, luts = get("strategy"), get("reuse_factor"), get("da_kernel_cost")
    return Build(
        strategy=None if strategy is None else Strategy(str(strategy).lower()),
        reuse_factor=None if factor is None else int(factor),
        parallelization=piece.whole("parallelization_factor"),
        adder_luts=None if luts is None else float(luts),
    )


# Products -------------------------------------------------------------------------------------


def matrix_fields(piece: Piece, shape: Shape) -> Fields:
    """What every product with constants has, its kernel in the given shape."""
    weight = piece.weight("weight", shape)
    return {
        "weight": weight,
        "bias": piece.weight("bias", (-1,)) if "bias" in piece.layer.weights else None,
        "accum": piece.type("accum_t", piece.result),
        "product": product_of(piece),
        "zeros": piece.whole("weight_nzeros", default=weight.size - weight.nonzeros),
    }


def product_of(piece: Piece) -> Product:
    return Product(piece.layer.attributes.get("product", Product.MULT))


def read_dense(piece: Piece) -> tuple[type[Layer], Fields]:
    return kinds.Dense, matrix_fields(piece, (-1, piece.shape[-1]))


def convolution(kind: type[Layer]) -> Reader:
    """Reader of plain and pointwise convolutions."""

    def read(piece: Piece) -> tuple[type[Layer], Fields]:
        window = window_of(piece)
        kernel = (*window.kernel, piece.data.shape[-1], piece.shape[-1])
        return kind, matrix_fields(piece, kernel) | {"window": window}

    return read


def read_depthwise(piece: Piece) -> tuple[type[Layer], Fields]:
    window, channels = window_of(piece), piece.data.shape[-1]
    kernel = (*window.kernel, channels, piece.shape[-1] // channels)
    return kinds.Depthwise, matrix_fields(piece, kernel) | {"window": window}


def window_of(piece: Piece) -> Window:
    """The window of a convolution or pooling layer over one or two axes."""
    axes = axes_of(piece)
    sides = {"height": ("top", "bottom"), "width": ("left", "right")}
    return Window(
        kernel=tuple(piece.whole(f"filt_{axis}", f"pool_{axis}") for axis in axes),
        strides=tuple(piece.whole(f"stride_{axis}") for axis in axes),
        before=tuple(piece.whole(f"pad_{sides[axis][0]}", default=0) for axis in axes),
        after=tuple(piece.whole(f"pad_{sides[axis][1]}", default=0) for axis in axes),
        dilations=tuple(piece.whole(f"dilation_{axis}", "dilation") for axis in axes),
        out=piece.shape[:-1],
    )


def axes_of(piece: Piece) -> tuple[str, ...]:
    """hls4ml's names of the spatial axes."""
    return ("height", "width") if len(piece.shape) == 3 else ("width",)


def read_scale(piece: Piece) -> tuple[type[Layer], Fields]:
    return kinds.Scale, {
        "scale": piece.weight("scale", (-1,)),
        "bias": piece.weight("bias", (-1,)),
        "accum": piece.type("accum_t") if "accum_t" in piece.layer.types else None,
        "product": product_of(piece),
    }


# Functions ------------------------------------------------------------------------------------


def read_activation(piece: Piece) -> tuple[type[Layer], Fields]:
    """Functions of one value, by name; ``HardActivation`` and ``TernaryTanh`` are named as well."""
    name = piece.word("activation") or piece.layer.kind.lower()
    if name in list(kinds.TableFunction):
        return kinds.TableActivation, {"function": kinds.TableFunction(name), **table_of(piece)}
    if name in list(kinds.HardFunction):
        slope, shift = (
            Scalar.of(piece.number(part, default), piece.type(f"{part}_t"))
            for part, default in (("slope", 0.2), ("shift", 0.5))
        )
        return kinds.HardActivation, {"function": kinds.HardFunction(name), "slope": slope, "shift": shift}
    if name == "ternarytanh":
        name = kinds.Function.TERNARY_TANH
    if name not in list(kinds.Function):
        raise ModelError(f"activation {name!r}")
    return kinds.Activation, {"function": kinds.Function(name)}


def table_of(piece: Piece) -> Fields:
    """Type and size of a function's table."""
    return {"table": piece.type("table_t"), "table_size": int(piece.layer.attributes["table_size"])}


def read_parametrized(piece: Piece) -> tuple[type[Layer], Fields]:
    """Functions with one parameter, by name."""
    name = piece.word("activation").replace("_", "")
    parameter = Scalar.of(piece.number("activ_param", 1.0), piece.type("param_t"))
    match name:
        case "leakyrelu":
            return kinds.LeakyRelu, {"slope": parameter}
        case "thresholdedrelu":
            return kinds.ThresholdedRelu, {"theta": parameter}
        case "elu":
            return kinds.Elu, {"alpha": parameter, **table_of(piece)}
    raise ModelError(f"activation {name!r}")


def read_prelu(piece: Piece) -> tuple[type[Layer], Fields]:
    return kinds.Prelu, {"slope": piece.weight("param", (-1,))}


def read_bit_table(piece: Piece) -> tuple[type[Layer], Fields]:
    return kinds.BitTable, {"table": piece.weight("table", (-1,))}


def read_threshold(piece: Piece) -> tuple[type[Layer], Fields]:
    """Batch normalization merged into a binary or ternary activation."""
    levels = int(piece.layer.attributes["quantize"])
    names = ("threshold", "threshold") if levels == 2 else ("threshold_lo", "threshold_hi")
    low, high = (piece.weight(name, (-1,)) for name in names)
    return kinds.Threshold, {"low": low, "high": high, "levels": levels}


def read_softmax(piece: Piece) -> tuple[type[Layer], Fields]:
    """Softmax, with what hls4ml's ``SoftmaxConfigTemplate`` decides where nothing is configured."""
    form = kinds.SoftmaxForm(piece.word("implementation") or "stable")
    data, total = piece.data, math.prod(piece.shape)
    inner, outer = piece.whole("n_inner"), piece.whole("n_outer")
    if piece.stream:
        inner, outer = 1, total // piece.shape[-1]
    exp_table = piece.type("exp_table_t")
    default = dict(piece.layer.attributes.get("type_names", {})).get("inv_inp_t") == "model_default_t"
    return kinds.Softmax, {
        "form": form,
        "exp_table": exp_table,
        "inverse_table": piece.type("inv_table_t"),
        "inverse_input": exp_table if default else piece.type("inv_inp_t", exp_table),
        "norm": piece.type("inp_norm_t", magnitude_of(data.precision)),
        "accum": piece.type("accum_t", piece.result),
        "exp_table_size": exp_table_size(piece, form),
        "inverse_table_size": size_of_table(piece, "inv"),
        "exp_scale": piece.number("exp_scale", 1.0),
        "inner": inner,
        "outer": outer,
    }


def magnitude_of(data: Precision) -> Precision:
    """The unsigned part of a type: what ``max - x`` needs."""
    return Precision(max(data.width_bits - data.signed, 1), data.integer_bits - data.signed, signed=False)


def size_of_table(piece: Piece, name: str) -> int:
    return piece.whole(f"{name}_table_size", "table_size", default=1024)


def exp_table_size(piece: Piece, form: kinds.SoftmaxForm) -> int:
    """Entries of the exponential's table; of the stable one's no more than its addresses."""
    data = piece.data.precision
    if form is not kinds.SoftmaxForm.STABLE or "inp_norm_t" in piece.layer.types or not data.signed:
        return size_of_table(piece, "exp")
    return min(size_of_table(piece, "inv"), 1 << (data.width_bits - 1))


# Pooling and several inputs -------------------------------------------------------------------


def read_pooling(piece: Piece) -> tuple[type[Layer], Fields]:
    return kinds.Pooling, {
        "operation": kinds.Pool(piece.word("pool_op")),
        "window": window_of(piece),
        "accum": piece.type("accum_t", piece.result),
        "counts_padding": bool(piece.layer.attributes.get("count_pad", False)),
    }


def read_global_pooling(piece: Piece) -> tuple[type[Layer], Fields]:
    operation = kinds.Pool(piece.word("pool_op"))
    return kinds.GlobalPooling, {"operation": operation, "accum": piece.type("accum_t", piece.result)}


def read_merge(piece: Piece) -> tuple[type[Layer], Fields]:
    return kinds.Merge, {"operation": kinds.MergeOperation(piece.word("op"))}


def read_concatenate(piece: Piece) -> tuple[type[Layer], Fields]:
    """hls4ml's axis counts the batch."""
    axis = piece.whole("axis", default=-1)
    return kinds.Concatenate, {"axis": axis - 1 if axis > 0 else axis + len(piece.shape)}


def read_dot(piece: Piece) -> tuple[type[Layer], Fields]:
    return kinds.Dot, {"accum": piece.type("accum_t", piece.result)}


# Moving ---------------------------------------------------------------------------------------


def sides(piece: Piece, name: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """``pad_top``, ... or ``crop_top``, ...: before and after each spatial axis."""
    pairs = [{"height": ("top", "bottom"), "width": ("left", "right")}[axis] for axis in axes_of(piece)]
    before, after = (tuple(piece.whole(f"{name}_{pair[end]}", default=0) for pair in pairs) for end in (0, 1))
    return before, after


def read_zero_padding(piece: Piece) -> tuple[type[Layer], Fields]:
    before, after = sides(piece, "pad")
    return kinds.ZeroPadding, {"before": before, "after": after}


def read_cropping(piece: Piece) -> tuple[type[Layer], Fields]:
    return kinds.Cropping, {"before": sides(piece, "crop")[0]}


def read_resize(piece: Piece) -> tuple[type[Layer], Fields]:
    if (piece.word("algorithm") or "nearest") != "nearest":
        raise ModelError("resizing other than by nearest neighbour")
    return kinds.Resize, {}


def read_transpose(piece: Piece) -> tuple[type[Layer], Fields]:
    return kinds.Transpose, {"perm": tuple(int(axis) for axis in piece.layer.attributes["perm"])}


def plain(kind: type[Layer]) -> Reader:
    """Reader of a kind without fields of its own."""
    return lambda piece: (kind, {})


READERS: dict[str, Reader] = {
    **dict.fromkeys(("Input", "InputLayer"), plain(kinds.Input)),
    "Constant": plain(kinds.Constant),
    "Dense": read_dense,
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv2DBatchnorm"), convolution(kinds.Convolution)),
    **dict.fromkeys(("PointwiseConv1D", "PointwiseConv2D"), convolution(kinds.Pointwise)),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), read_depthwise),
    **dict.fromkeys(("BatchNormalization", "ApplyAlpha"), read_scale),
    **dict.fromkeys(("Activation", "HardActivation", "TernaryTanh"), read_activation),
    "ParametrizedActivation": read_parametrized,
    "PReLU": read_prelu,
    "UnaryLUT": read_bit_table,
    "BatchNormalizationQuantizedTanh": read_threshold,
    **dict.fromkeys(("FixedPointQuantizer", "Quant"), plain(kinds.Quantize)),
    "Softmax": read_softmax,
    **dict.fromkeys(("Pooling1D", "Pooling2D"), read_pooling),
    **dict.fromkeys(("GlobalPooling1D", "GlobalPooling2D"), read_global_pooling),
    "Merge": read_merge,
    "Concatenate": read_concatenate,
    "Dot": read_dot,
    **dict.fromkeys(("Reshape", "Flatten", "FinalReshape"), plain(kinds.Reshape)),
    "Repack": plain(kinds.Repack),
    "Transpose": read_transpose,
    **dict.fromkeys(("ZeroPadding1D", "ZeroPadding2D"), read_zero_padding),
    **dict.fromkeys(("Cropping1D", "Cropping2D"), read_cropping),
    "Resize": read_resize,
    "Clone": plain(kinds.Clone),
    "Broadcast": plain(kinds.Broadcast),
}
