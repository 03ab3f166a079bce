"""What each ATen operator is in Keras: one function per operator, registered by its name.

A function takes the network under construction and the operator's arguments by their names in PyTorch's schema
(https://pytorch.org/docs/stable/torch.compiler_ir.html), and returns the :class:`Value` that stands for the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from keras import layers

from toolkit.errors import ModelError
from toolkit.records import Array


@dataclass(frozen=True, eq=False)
class Value:
    """A Keras tensor standing for a PyTorch one.

    ``axes``: the PyTorch axis of each Keras axis, batch (0) first. ``ones``: PyTorch axes of size 1 that the Keras
    tensor lacks (after global pooling). ``order``: for a flattened map, the position in the Keras tensor of each
    PyTorch element, or ``None`` where they agree. ``logits``: PyTorch's value is the log-softmax of the tensor.
    """

    tensor: Any
    axes: tuple[int, ...]
    ones: tuple[int, ...] = ()
    order: Array | None = None
    logits: bool = False

    @property
    def rank(self) -> int:
        """Number of PyTorch axes."""
        return len(self.axes) + len(self.ones)


def carried(value: Value, tensor: Any) -> Value:
    """Another tensor, whose values lie as those of ``value``."""
    return replace(value, tensor=tensor)


@dataclass(eq=False)
class Builder:
    """The Keras network under construction."""

    name: str = ""  # of the layer to be added next
    taken: set[str] = field(default_factory=set)
    weights: dict[str, list[Array]] = field(default_factory=dict)

    def add(self, layer: Callable[..., Any], value: Any, *weights: Array | None, **options: Any) -> Any:
        """Apply a new layer of that class; its weights are set once the model is whole."""
        name, number = self.name or layer.__name__.lower(), 2
        while name in self.taken:
            name, number = f"{self.name}_{number}", number + 1
        self.taken.add(name)
        self.weights[name] = [array for array in weights if array is not None]
        return layer(name=name, **options)(value)

    def arranged(self, value: Value, axes: Sequence[int]) -> Value:
        """The value with its Keras axes in that order of PyTorch axes."""
        if value.order is not None:
            raise ModelError(
                f"{self.name}: a flattened map may be read by Linear, activations and dropout only; "
                "flatten after this operation, or permute to (N, H, W, C) before flattening"
            )
        if tuple(axes) == value.axes:
            return value
        places = [value.axes.index(axis) for axis in axes[1:]]
        moved = layers.Permute(tuple(places), name=self.fresh(f"{self.name}_permute"))(value.tensor)
        return replace(value, tensor=moved, axes=tuple(axes))

    def fresh(self, name: str) -> str:
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    def channels_last(self, value: Value) -> Value:
        """Batch, space, channels: what Keras' spatial layers read."""
        return self.arranged(value, (0, *range(2, value.rank), 1))

    def natural(self, value: Value) -> Value:
        """PyTorch's own order of axes."""
        return self.arranged(value, sorted(value.axes))


Lowering = Callable[[Builder, Mapping[str, Any]], Any]
LOWERINGS: dict[str, Lowering] = {}


def lowers(*names: str) -> Callable[[Lowering], Lowering]:
    """Register the translation of ATen operators."""

    def register(function: Lowering) -> Lowering:
        LOWERINGS.update(dict.fromkeys(names, function))
        return function

    return register


def pair(value: Any, count: int) -> tuple[int, ...]:
    """One number per spatial axis; PyTorch gives one for all, or each."""
    items = list(value) if isinstance(value, (list, tuple)) else [value]
    return tuple(int(item) for item in (items * count if len(items) == 1 else items))


def refuse(what: str, wanted: Any, got: Any) -> None:
    if got != wanted:
        raise ModelError(f"{what} must be {wanted}, got {got}: Keras and hls4ml have no counterpart")


@lowers("linear")
def linear(b: Builder, a: Mapping[str, Any]) -> Value:
    """``x W^T + b`` over the last axis."""
    value, kernel, bias = a["input"], a["weight"].T, a["bias"]
    if value.order is not None:
        reordered = np.empty_like(kernel)
        reordered[value.order] = kernel
        value, kernel = replace(value, order=None), reordered
    value = b.natural(value)
    done = b.add(layers.Dense, value.tensor, kernel, bias, units=kernel.shape[1], use_bias=bias is not None)
    return carried(value, done)


@lowers("conv1d", "conv2d")
def convolution(b: Builder, a: Mapping[str, Any]) -> Value:
    """A convolution; one with a group per channel is depthwise."""
    kernel, bias, groups = a["weight"], a["bias"], int(a["groups"])
    value = b.channels_last(a["input"])
    space = kernel.ndim - 2
    strides, dilation = pair(a["stride"], space), pair(a["dilation"], space)
    channels = int(value.tensor.shape[-1])
    tensor, padding = padded(b, value.tensor, a["padding"], kernel.shape[2:], strides, dilation)
    options = {
        "kernel_size": kernel.shape[2:],
        "strides": strides,
        "dilation_rate": dilation,
        "padding": padding,
        "use_bias": bias is not None,
    }
    last = (*range(2, kernel.ndim), 1, 0)
    if groups == channels and groups > 1:
        multiplier = kernel.shape[0] // groups
        spread = kernel.reshape(groups, multiplier, *kernel.shape[2:]).transpose(*range(2, kernel.ndim), 0, 1)
        kind = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)[space - 1]
        done = b.add(kind, tensor, spread, bias, depth_multiplier=multiplier, **options)
    else:
        kind = (layers.Conv1D, layers.Conv2D)[space - 1]
        done = b.add(kind, tensor, kernel.transpose(last), bias, filters=kernel.shape[0], groups=groups, **options)
    return carried(value, done)


def padded(
    b: Builder, tensor: Any, padding: Any, kernel: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> tuple[Any, str]:
    """PyTorch's symmetric padding as Keras' ``same`` where they agree, else as a layer of zeros in front."""
    if isinstance(padding, str):
        return tensor, padding
    sides = pair(padding, len(kernel))
    if not any(sides):
        return tensor, "valid"
    reach = [rate * (size - 1) for size, rate in zip(kernel, dilation, strict=True)]
    if all(stride == 1 for stride in strides) and all(
        2 * side == span for side, span in zip(sides, reach, strict=True)
    ):
        return tensor, "same"
    return zeros_around(b, tensor, [(side, side) for side in sides]), "valid"


def zeros_around(b: Builder, tensor: Any, sides: Sequence[tuple[int, int]]) -> Any:
    name = b.fresh(f"{b.name}_padding")
    if len(sides) == 1:
        return layers.ZeroPadding1D(sides[0], name=name)(tensor)
    return layers.ZeroPadding2D(tuple(sides), name=name)(tensor)


@lowers("batch_norm")
def batch_norm(b: Builder, a: Mapping[str, Any]) -> Value:
    """``weight (x - mean) / sqrt(variance + eps) + bias`` per channel."""
    value: Value = a["input"] if a["input"].rank == 2 else b.channels_last(a["input"])
    arrays = [a["weight"], a["bias"], a["running_mean"], a["running_var"]]
    if value.order is not None:
        arrays = [array if array is None else array[np.argsort(value.order)] for array in arrays]
    options = {"center": a["bias"] is not None, "scale": a["weight"] is not None, "epsilon": float(a["eps"])}
    return carried(value, b.add(layers.BatchNormalization, value.tensor, *arrays, **options))


def elementwise(kind: Callable[..., Any], options: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Lowering:
    """A function of each value, in whatever order the values lie."""

    def lower(b: Builder, a: Mapping[str, Any]) -> Value:
        value = a["self"] if "self" in a else a["input"]
        return carried(value, b.add(kind, value.tensor, **options(a)))

    return lower


def named(function: str) -> Lowering:
    return elementwise(layers.Activation, lambda a: {"activation": function})


for operator in ("relu", "sigmoid", "tanh", "silu", "selu", "softsign", "hardsigmoid", "hardswish"):
    spelled = {"relu": "relu", "hardsigmoid": "hard_sigmoid", "hardswish": "hard_silu"}.get(operator, operator)
    lowers(operator, f"{operator}_")(elementwise(layers.ReLU, lambda a: {}) if operator == "relu" else named(spelled))
lowers("relu6")(elementwise(layers.ReLU, lambda a: {"max_value": 6.0}))
lowers("leaky_relu", "leaky_relu_")(
    elementwise(layers.LeakyReLU, lambda a: {"negative_slope": float(a["negative_slope"])})
)
lowers("dropout", "dropout_", "alpha_dropout")(elementwise(layers.Dropout, lambda a: {"rate": float(a["p"])}))


@lowers("hardtanh", "hardtanh_")
def hardtanh(b: Builder, a: Mapping[str, Any]) -> Value:
    """``min(max(x, 0), m)``; another lower end has no counterpart."""
    refuse(f"{b.name}: the lower end of hardtanh", 0.0, float(a["min_val"]))
    return carried(a["self"], b.add(layers.ReLU, a["self"].tensor, max_value=float(a["max_val"])))


@lowers("elu", "elu_")
def elu(b: Builder, a: Mapping[str, Any]) -> Value:
    """``x`` above zero, ``alpha (exp(x) - 1)`` below."""
    refuse(f"{b.name}: scale and input_scale of elu", (1.0, 1.0), (float(a["scale"]), float(a["input_scale"])))
    return carried(a["self"], b.add(layers.ELU, a["self"].tensor, alpha=float(a["alpha"])))


@lowers("softplus")
def softplus(b: Builder, a: Mapping[str, Any]) -> Value:
    """``log(1 + exp(x))``."""
    refuse(f"{b.name}: beta of softplus", 1.0, float(a["beta"]))
    return carried(a["self"], b.add(layers.Activation, a["self"].tensor, activation="softplus"))


@lowers("prelu")
def prelu(b: Builder, a: Mapping[str, Any]) -> Value:
    """A slope per channel below zero, the same at every place."""
    value = a["self"] if a["self"].rank == 2 else b.channels_last(a["self"])
    slopes = np.broadcast_to(a["weight"], value.tensor.shape[1:]).astype(np.float32)
    return carried(value, b.add(layers.PReLU, value.tensor, slopes))


@lowers("feature_dropout", "feature_dropout_")
def channel_dropout(b: Builder, a: Mapping[str, Any]) -> Value:
    """Drops whole channels in training."""
    value = b.channels_last(a["input"])
    kind = (layers.SpatialDropout1D, layers.SpatialDropout2D)[value.rank - 3]
    return carried(value, b.add(kind, value.tensor, rate=float(a["p"])))


@lowers("max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d")
def pooling(b: Builder, a: Mapping[str, Any]) -> Value:
    """Maximum or mean of a window; borders that the window does not fill are left out."""
    value = b.channels_last(a["self"])
    space = value.rank - 2
    mean = "count_include_pad" in a
    refuse(f"{b.name}: padding of the pooling", (0,) * space, pair(a["padding"], space))
    refuse(f"{b.name}: ceil_mode", False, bool(a["ceil_mode"]))
    refuse(f"{b.name}: dilation of the pooling", (1,) * space, pair(a.get("dilation", 1), space))
    refuse(f"{b.name}: divisor_override", None, a.get("divisor_override"))
    size = pair(a["kernel_size"], space)
    strides = pair(a["stride"], space) if a["stride"] else size
    kinds = (layers.AveragePooling1D, layers.AveragePooling2D) if mean else (layers.MaxPooling1D, layers.MaxPooling2D)
    pool, step = (size, strides) if space == 2 else (size[0], strides[0])
    return carried(value, b.add(kinds[space - 1], value.tensor, pool_size=pool, strides=step))


@lowers("adaptive_avg_pool1d", "adaptive_avg_pool2d")
def adaptive_pooling(b: Builder, a: Mapping[str, Any]) -> Value:
    """The mean of the whole map."""
    space = a["self"].rank - 2
    refuse(f"{b.name}: output_size of adaptive pooling", (1,) * space, pair(a["output_size"], space))
    return global_mean(b, a["self"], keepdim=True)


@lowers("mean")
def mean(b: Builder, a: Mapping[str, Any]) -> Value:
    """The mean over all spatial axes."""
    value = a["self"]
    dims = sorted(int(dim) % value.rank for dim in (a["dim"] if isinstance(a["dim"], list) else [a["dim"]]))
    refuse(f"{b.name}: axes of mean", list(range(2, value.rank)), dims)
    return global_mean(b, value, bool(a["keepdim"]))


def global_mean(b: Builder, value: Value, keepdim: bool) -> Value:
    value = b.channels_last(value)
    kind = (layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D)[value.rank - 3]
    return Value(b.add(kind, value.tensor), (0, 1), ones=tuple(range(2, value.rank)) if keepdim else ())


@lowers("flatten", "view", "reshape", "_unsafe_view")
def reshape(b: Builder, a: Mapping[str, Any]) -> Value:
    """Flattening keeps Keras' order of values and remembers it; other shapes are taken in PyTorch's order."""
    value = a["self"]
    sizes = (1, *value.tensor.shape[1:])
    total = math.prod(sizes)
    if "start_dim" in a:
        start, end = int(a["start_dim"]) % value.rank, int(a["end_dim"]) % value.rank
        flattened = start == 1 and end == value.rank - 1
        if not flattened:
            raise ModelError(f"flatten must take every axis but the batch, got axes {start} to {end}")
        target: list[int] = [total]
    else:
        target = [int(size) for size in (a["size"] if "size" in a else a["shape"])][1:]
        target = [total // -math.prod(target) if size == -1 else size for size in target]
    if target == [total]:
        return flattened_value(b, value)
    value = b.natural(value)
    done = layers.Reshape(tuple(target), name=b.fresh(b.name))(value.tensor)
    return Value(done, tuple(range(len(target) + 1)))


def flattened_value(b: Builder, value: Value) -> Value:
    if len(value.axes) == 2:
        return replace(value, axes=(0, 1), ones=())
    sizes = [int(size) for size in value.tensor.shape[1:]]
    places = np.arange(math.prod(sizes)).reshape(sizes)  # of Keras' values, as they lie
    torch_order = places.transpose([value.axes[1:].index(axis) for axis in sorted(value.axes[1:])]).ravel()
    same = bool((torch_order == np.arange(len(torch_order))).all())
    done = layers.Flatten(name=b.fresh(b.name))(value.tensor)
    return Value(done, (0, 1), order=None if same else torch_order)


@lowers("permute")
def permute(b: Builder, a: Mapping[str, Any]) -> Value:
    """Nothing moves: only which PyTorch axis a Keras axis is."""
    value: Value = a["self"]
    dims = [int(dim) % value.rank for dim in a["dims"]]
    refuse(f"{b.name}: the batch axis of permute", 0, dims[0])
    return replace(
        value,
        axes=tuple(dims.index(axis) for axis in value.axes),
        ones=tuple(dims.index(axis) for axis in value.ones),
    )


@lowers("transpose")
def transpose(b: Builder, a: Mapping[str, Any]) -> Any:
    """Two axes of a permutation."""
    dims = list(range(a["self"].rank))
    first, second = int(a["dim0"]), int(a["dim1"])
    dims[first], dims[second] = dims[second], dims[first]
    return permute(b, {"self": a["self"], "dims": dims})


@lowers("squeeze")
def squeeze(b: Builder, a: Mapping[str, Any]) -> Value:
    """Axes of size 1 that global pooling left go."""
    value: Value = a["self"]
    given = a.get("dim")
    dims = (
        value.ones
        if given is None
        else tuple(int(d) % value.rank for d in (given if isinstance(given, list) else [given]))
    )
    if not set(dims) <= set(value.ones):
        raise ModelError(f"squeeze is known after global pooling only, got axes {dims}")
    kept = [axis for axis in range(value.rank) if axis not in dims]
    return replace(
        value,
        axes=tuple(kept.index(axis) for axis in value.axes),
        ones=tuple(kept.index(axis) for axis in value.ones if axis in kept),
    )


def merging(kind: Callable[..., Any]) -> Lowering:
    """A sum, difference or product of two values of one shape, or with a number."""

    def lower(b: Builder, a: Mapping[str, Any]) -> Value:
        refuse(f"{b.name}: alpha", 1, a.get("alpha", 1))
        first, second = a["self"], a["other"]
        if not (isinstance(first, Value) and isinstance(second, Value)):
            raise ModelError(f"{b.name}: a sum or product with a constant; put it into a layer's weights or bias")
        if first.order is None or second.order is None:
            second = b.arranged(second, first.axes)
        elif not np.array_equal(first.order, second.order):
            raise ModelError(f"{b.name}: the two sides were flattened from maps of other shapes")
        return carried(first, b.add(kind, [first.tensor, second.tensor]))

    return lower


lowers("add", "add_")(merging(layers.Add))
lowers("sub", "sub_")(merging(layers.Subtract))
lowers("mul", "mul_")(merging(layers.Multiply))


@lowers("cat")
def concatenate(b: Builder, a: Mapping[str, Any]) -> Value:
    """Values side by side along an axis."""
    values = a["tensors"]
    first = values[0]
    axis = int(a["dim"]) % first.rank
    if any(value.order is not None for value in values):
        raise ModelError(f"{b.name}: flattened maps cannot be concatenated; concatenate the maps, then flatten")
    tensors = [b.arranged(value, first.axes).tensor for value in values]
    return carried(first, b.add(layers.Concatenate, tensors, axis=first.axes.index(axis)))


@lowers("softmax", "_softmax")
def softmax(b: Builder, a: Mapping[str, Any]) -> Value:
    """Over the last axis of PyTorch's order."""
    value = b.arranged(a["self"], a["self"].axes)
    axis = value.axes.index(int(a["dim"]) % value.rank)
    return carried(value, b.add(layers.Softmax, value.tensor, axis=axis))


@lowers("log_softmax", "_log_softmax")
def log_softmax(b: Builder, a: Mapping[str, Any]) -> Value:
    """Left to the loss: the Keras network gives logits."""
    value: Value = a["self"]
    if value.axes.index(int(a["dim"]) % value.rank) != len(value.axes) - 1:
        raise ModelError(f"{b.name}: log_softmax must be over the channels, got dim {a['dim']}")
    return replace(value, logits=True)


@lowers("upsample_nearest2d")
def upsampling(b: Builder, a: Mapping[str, Any]) -> Value:
    """Each value repeated."""
    value = b.channels_last(a["input"])
    if a.get("output_size"):
        factors = [int(n) // old for n, old in zip(a["output_size"], value.tensor.shape[1:3], strict=True)]
    else:
        factors = [int(factor) for factor in a["scale_factors"]]
    return carried(value, b.add(layers.UpSampling2D, value.tensor, size=tuple(factors)))


@lowers("pad", "constant_pad_nd")
def pad(b: Builder, a: Mapping[str, Any]) -> Value:
    """Zeros around a map."""
    value = b.channels_last(a["self"])
    refuse(f"{b.name}: mode of pad", "constant", a.get("mode", "constant"))
    refuse(f"{b.name}: value of pad", 0.0, float(a.get("value") or 0.0))
    numbers = [int(n) for n in a["pad"]]
    sides = [(numbers[2 * i], numbers[2 * i + 1]) for i in range(len(numbers) // 2)][::-1]
    refuse(f"{b.name}: padded axes", value.rank - 2, len(sides))
    return carried(value, zeros_around(b, value.tensor, sides))


@lowers("contiguous", "clone", "detach", "detach_", "alias", "to", "_to_copy", "lift_fresh_copy")
def identity(b: Builder, a: Mapping[str, Any]) -> Any:
    """The value itself; of a parameter, the array."""
    return a["self"]
