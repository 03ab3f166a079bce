"""Every kind of layer: a class whose fields are what decides bits and hardware, and whose docstring is its definition.

Shapes are without the batch axis, channels last. ``x`` is the (first) input, ``y`` the output; *cast*
means C++ assignment to a fixed-point type: rounding, then overflow, as the type says. Headers are those
of hls4ml's ``nnet_utils``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, ClassVar

from toolkit.errors import ModelError
from toolkit.network.values import Build, Product, Scalar, Shape, Strategy, Tensor, Weight, Window
from toolkit.precision import Precision

PLAIN = Build()
ASIDE = {"aside": True}  # marks fields that decide neither bits nor hardware: names on the other side of a front end


@dataclass(frozen=True, eq=False, kw_only=True)
class Layer:
    """What every layer has. ``origin`` is the front end's word for its kind (hls4ml's class, ``Conv2D``)."""

    kind: ClassVar[str]

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    build: Build = PLAIN
    origin: str = field(default="", metadata=ASIDE)
    keras_layer: str | None = field(default=None, metadata=ASIDE)  # whose output this layer's output equals
    index: int | None = field(default=None, metadata=ASIDE)  # hls4ml's number of the layer, part of its C++ names

    def __post_init__(self) -> None:
        self.require(bool(self.outputs), "at least one output", "none")
        first = self.outputs[0]
        self.require(
            all((one.shape, one.precision) == (first.shape, first.precision) for one in self.outputs),
            "outputs of one shape and type",
            ", ".join(map(str, self.outputs)),
        )
        self.validate()

    def validate(self) -> None:
        """Raise ``ModelError`` where the fields contradict each other."""

    def require(self, holds: bool, rule: str, got: object) -> None:
        """Raise ``ModelError`` naming the layer unless a rule holds."""
        if not holds:
            raise ModelError(f"layer {self.name!r} ({self.kind}) must have {rule}, got {got}")

    @property
    def shape(self) -> Shape:
        """Shape of the output."""
        return self.outputs[0].shape

    @property
    def result(self) -> Precision:
        """Type of the output."""
        return self.outputs[0].precision

    @property
    def source(self) -> Tensor:
        """The first input; raises ``ModelError`` for a layer without."""
        self.require(bool(self.inputs), "an input", "none")
        return self.inputs[0]

    @property
    def weights(self) -> dict[str, Weight]:
        """Its weight arrays by field name."""
        return {name: value for name, value in self.settings.items() if isinstance(value, Weight)}

    @property
    def types(self) -> dict[str, Precision]:
        """Its fixed-point types by field name: that of the result, of weights and constants, and inner ones."""
        inner = {
            name: value.precision if isinstance(value, Weight | Scalar) else value
            for name, value in self.settings.items()
            if isinstance(value, Weight | Scalar | Precision)
        }
        return {"result": self.result, **inner}

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of its own kind, and how it is built."""
        common = ("name", "inputs", "outputs", "build")
        return {
            item.name: getattr(self, item.name)
            for item in fields(self)
            if item.name not in common and not item.metadata.get("aside")
        }

    def __str__(self) -> str:
        arguments = [tensor.name for tensor in self.inputs]
        arguments += [
            setting_text(item.name, value)
            for item in fields(self)
            if (value := self.settings.get(item.name)) is not None and value != item.default
        ]
        made = ", ".join(tensor.name for tensor in self.outputs)
        depth = f" fifo {self.outputs[0].fifo_depth}" if self.outputs[0].fifo_depth else ""
        built = f"  # {self.build}" if str(self.build) else ""
        return f"{made}{list(self.shape)}: {self.result}{depth} = {self.kind}({', '.join(arguments)}){built}"


def setting_text(name: str, value: Any) -> str:
    """One setting as :class:`Layer` prints it."""
    if isinstance(value, Weight):
        return f"{name}{list(value.shape)}: {value.precision}"
    if isinstance(value, Precision):
        return f"{name}: {value}"
    return f"{name}={value}"


# Where values come from -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True)
class Input(Layer):
    """``y = cast(float)``: an argument of the top function, converted from float by csim's bridge."""

    kind = "input"

    def validate(self) -> None:
        self.require(not self.inputs, "no input", self.inputs)


@dataclass(frozen=True, eq=False, kw_only=True)
class Constant(Layer):
    """``y``: an array known when the design is written."""

    kind = "constant"


# Products with constants ----------------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True)
class Matrix(Layer):
    """What dense layers and convolutions share: ``y_j = cast(sum_i w_ij * x_i + b_j)``.

    The sum starts with the bias cast to ``accum``; each product is cast to ``accum`` and added to it.
    ``zeros`` is the number of zero weights written to ``parameters.h``, which lowers the limit on
    multipliers under Latency.
    """

    weight: Weight
    bias: Weight | None
    accum: Precision
    product: Product = Product.MULT
    zeros: int = 0

    @property
    def matrix_size(self) -> tuple[int, int]:
        """Rows and columns as hls4ml counts them for a reuse factor (``FPGABackend.get_layer_mult_size``)."""
        return math.prod(self.weight.shape[:-1]), self.weight.shape[-1]

    @property
    def distributed(self) -> bool:
        """Whether da4ml generated the adders, which compute the exact sum."""
        return self.build.strategy is Strategy.DISTRIBUTED_ARITHMETIC

    def validate_bias(self, outputs: int) -> None:
        """Raise ``ModelError`` unless there is a bias per output, or none."""
        size = outputs if self.bias is None else self.bias.size
        self.require(size == outputs, f"{outputs} biases", size)


@dataclass(frozen=True, eq=False, kw_only=True)
class Dense(Matrix):
    """``y[..., j] = sum_i w[i, j] * x[..., i] + b[j]``; ``w``: ``[n_in, n_out]``. ``nnet_dense*.h``."""

    kind = "dense"

    def validate(self) -> None:
        self.require(
            self.weight.shape == (self.source.shape[-1], self.shape[-1]),
            f"weights of shape {(self.source.shape[-1], self.shape[-1])}",
            self.weight.shape,
        )
        self.validate_bias(self.shape[-1])


@dataclass(frozen=True, eq=False, kw_only=True)
class Convolutional(Matrix):
    """What convolutions over one or two axes share: a window."""

    window: Window

    def validate(self) -> None:
        self.require(self.window.out == self.shape[:-1], f"a window with positions {self.shape[:-1]}", self.window.out)
        wanted = self.kernel_shape
        self.require(self.weight.shape == wanted, f"weights of shape {wanted}", self.weight.shape)
        self.validate_bias(self.shape[-1])

    @property
    def kernel_shape(self) -> Shape:
        """Shape of the weights in Keras' layout."""
        return *self.window.kernel, self.source.shape[-1], self.shape[-1]


@dataclass(frozen=True, eq=False, kw_only=True)
class Convolution(Convolutional):
    """``y[p, f] = sum_{k, c} w[k, c, f] * x[p * stride + k, c] + b[f]``. ``nnet_conv1d*.h``, ``nnet_conv2d*.h``."""

    kind = "convolution"


@dataclass(frozen=True, eq=False, kw_only=True)
class Pointwise(Convolutional):
    """A convolution with a window of one pixel, in code of its own. ``nnet_sepconv*.h``, ``nnet_conv*.h``."""

    kind = "pointwise"


@dataclass(frozen=True, eq=False, kw_only=True)
class Depthwise(Convolutional):
    """``y[p, c * m + j] = sum_k w[k, c, j] * x[p * stride + k, c] + b[c * m + j]``. ``nnet_sepconv*.h``."""

    kind = "depthwise"

    @property
    def multiplier(self) -> int:
        """Filters of each channel; hls4ml computes one rightly."""
        return self.shape[-1] // self.source.shape[-1]

    @property
    def kernel_shape(self) -> Shape:
        return *self.window.kernel, self.source.shape[-1], self.multiplier

    @property
    def matrix_size(self) -> tuple[int, int]:
        return math.prod(self.weight.shape[:-1]), self.shape[-1]


@dataclass(frozen=True, eq=False, kw_only=True)
class Scale(Layer):
    """``y = cast(scale * x + bias)``, per channel or per element: batch normalization. ``nnet_batchnorm.h``."""

    kind = "scale"

    scale: Weight
    bias: Weight
    accum: Precision | None = None
    product: Product = Product.MULT

    def validate(self) -> None:
        self.require(self.bias.size == self.scale.size, f"{self.scale.size} biases", self.bias.size)


# Functions of one value -----------------------------------------------------------------------


class Function(StrEnum):
    """Functions of one value without a table, by hls4ml's name (``nnet_activation.h``)."""

    LINEAR = "linear"  # x
    RELU = "relu"  # max(x, 0)
    RELU1 = "relu1"  # min(max(x, 0), 1)
    RELU6 = "relu6"  # min(max(x, 0), 6)
    BINARY_TANH = "binary_tanh"  # -1 below 0, else 1; a 1-bit result holds 0 for -1
    TERNARY_TANH = "ternary_tanh"  # -1, 0, 1 by thresholds of one half (io_stream: of one)


class HardFunction(StrEnum):
    """Piecewise linear functions (``nnet_activation.h``)."""

    SIGMOID = "hard_sigmoid"  # min(max(slope * x + shift, 0), 1)
    TANH = "hard_tanh"  # 2 * hard_sigmoid(x) - 1


class TableFunction(StrEnum):
    """Functions read from a table over a fixed range (``nnet_activation.h``)."""

    SIGMOID = "sigmoid"
    TANH = "tanh"
    SOFTPLUS = "softplus"
    SOFTSIGN = "softsign"
    SELU = "selu"


@dataclass(frozen=True, eq=False, kw_only=True)
class Activation(Layer):
    """``y = cast(f(x))`` for each element. ``nnet_activation.h``."""

    kind = "activation"

    function: Function


@dataclass(frozen=True, eq=False, kw_only=True)
class HardActivation(Layer):
    """``y = cast(clip(slope * x + shift, 0, 1))``, or twice that less one. ``nnet_activation.h``."""

    kind = "hard activation"

    function: HardFunction
    slope: Scalar
    shift: Scalar


@dataclass(frozen=True, eq=False, kw_only=True)
class TableActivation(Layer):
    """``y = cast(table[int(x * size / span) + size / 2])``, the index clipped to the table. ``nnet_activation.h``."""

    kind = "table activation"

    function: TableFunction
    table: Precision
    table_size: int


@dataclass(frozen=True, eq=False, kw_only=True)
class LeakyRelu(Layer):
    """``y = cast(x > 0 ? x : slope * x)``. ``nnet_activation.h``."""

    kind = "leaky relu"

    slope: Scalar


@dataclass(frozen=True, eq=False, kw_only=True)
class ThresholdedRelu(Layer):
    """``y = cast(x > theta ? x : 0)``. ``nnet_activation.h``."""

    kind = "thresholded relu"

    theta: Scalar


@dataclass(frozen=True, eq=False, kw_only=True)
class Elu(Layer):
    """``y = cast(x >= 0 ? x : alpha * table[int(x * size / -8)])``. ``nnet_activation.h``."""

    kind = "elu"

    alpha: Scalar
    table: Precision
    table_size: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Prelu(Layer):
    """``y = cast(x > 0 ? x : slope * x)`` with a slope per element. ``nnet_activation.h``."""

    kind = "prelu"

    slope: Weight


@dataclass(frozen=True, eq=False, kw_only=True)
class BitTable(Layer):
    """``y = cast(table[bits of x])``: hls4ml's ``UnaryLUT``. ``nnet_activation.h``."""

    kind = "bit table"

    table: Weight


@dataclass(frozen=True, eq=False, kw_only=True)
class Threshold(Layer):
    """Batch normalization and a binary (``low`` is ``high``) or ternary activation in one: ``nnet_batchnorm.h``.

    Binary: ``y = x >= low``. Ternary: ``1`` above ``high``, ``0`` above ``low``, else ``-1``. One of each per channel.
    """

    kind = "threshold"

    low: Weight
    high: Weight
    levels: int  # 2: binary, 3: ternary


@dataclass(frozen=True, eq=False, kw_only=True)
class Quantize(Layer):
    """``y = cast(x)`` with a type per element: hls4ml's ``FixedPointQuantizer``. ``nnet_code_gen.h``."""

    kind = "quantize"


class SoftmaxForm(StrEnum):
    """hls4ml's implementations of softmax (``nnet_activation.h``)."""

    STABLE = "stable"  # exp(x - max) from a table of negative arguments
    LATENCY = "latency"  # exp(x) from a table
    LEGACY = "legacy"  # 1 / sum_j exp(x_j - x_i)
    ARGMAX = "argmax"  # one for the first largest, else zero


@dataclass(frozen=True, eq=False, kw_only=True)
class Softmax(Layer):
    """``y_i = cast(exp(x_i) / sum_j exp(x_j))`` over rows, both functions from tables. ``nnet_activation.h``.

    Values are ``[outer, row, inner]``. The exponential's table is addressed by ``norm`` (stable) or the
    input's type, the reciprocal's by ``inverse_input``, in which the sum is kept; ``accum`` adds up.
    """

    kind = "softmax"

    form: SoftmaxForm
    exp_table: Precision
    inverse_table: Precision
    inverse_input: Precision
    norm: Precision
    accum: Precision
    exp_table_size: int
    inverse_table_size: int
    exp_scale: float = 1.0
    inner: int = 1
    outer: int = 1


# Pooling --------------------------------------------------------------------------------------


class Pool(StrEnum):
    """What pooling keeps of a window."""

    MAX = "max"
    AVERAGE = "average"


@dataclass(frozen=True, eq=False, kw_only=True)
class Pooling(Layer):
    """``y[p, c] = cast(max or mean of x under the window at p)``. ``nnet_pooling*.h``.

    Means are sums in ``accum`` divided by the pixels of the window, zeros around the image counted if
    ``counts_padding``.
    """

    kind = "pooling"

    operation: Pool
    window: Window
    accum: Precision
    counts_padding: bool = False

    def validate(self) -> None:
        self.require(self.window.out == self.shape[:-1], f"a window with positions {self.shape[:-1]}", self.window.out)


@dataclass(frozen=True, eq=False, kw_only=True)
class GlobalPooling(Layer):
    """``y[c] = cast(max or mean of x[:, c])`` over the whole image. ``nnet_pooling*.h``."""

    kind = "global pooling"

    operation: Pool
    accum: Precision

    @property
    def pixels(self) -> int:
        """Pixels that become one."""
        return math.prod(self.source.shape[:-1])


# Several inputs -------------------------------------------------------------------------------


class MergeOperation(StrEnum):
    """``nnet_merge.h``'s functions of two values."""

    ADD = "add"
    SUBTRACT = "subtract"
    MULTIPLY = "multiply"
    AVERAGE = "average"
    MAXIMUM = "maximum"
    MINIMUM = "minimum"


@dataclass(frozen=True, eq=False, kw_only=True)
class Merge(Layer):
    """``y = cast(x1 op x2)`` for each element, the smaller input repeated. ``nnet_merge.h``."""

    kind = "merge"

    operation: MergeOperation

    def validate(self) -> None:
        self.require(len(self.inputs) == 2, "two inputs", len(self.inputs))


@dataclass(frozen=True, eq=False, kw_only=True)
class Concatenate(Layer):
    """``y = cast(x1 then x2)`` along ``axis`` of the shape. ``nnet_merge.h``."""

    kind = "concatenate"

    axis: int

    def validate(self) -> None:
        total = sum(tensor.shape[self.axis] for tensor in self.inputs)
        self.require(total == self.shape[self.axis], f"inputs that add up to {self.shape[self.axis]}", total)


@dataclass(frozen=True, eq=False, kw_only=True)
class Dot(Layer):
    """``y = cast(sum_i x1_i * x2_i)``, each product cast to ``accum`` and added in order. ``nnet_merge.h``."""

    kind = "dot"

    accum: Precision

    def validate(self) -> None:
        self.require(len(self.inputs) == 2, "two inputs", len(self.inputs))


# Moving values --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True)
class Moving(Layer):
    """Layers that move values and change them only by the cast to their result."""


@dataclass(frozen=True, eq=False, kw_only=True)
class InOrder(Moving):
    """What keeps the elements and their order."""

    def validate(self) -> None:
        sizes = self.source.size, self.outputs[0].size
        self.require(sizes[0] == sizes[1], f"an output of {sizes[0]} elements", sizes[1])


@dataclass(frozen=True, eq=False, kw_only=True)
class Reshape(InOrder):
    """``y`` is ``x`` in another shape, in the same order; in place: no hardware."""

    kind = "reshape"


@dataclass(frozen=True, eq=False, kw_only=True)
class Repack(InOrder):
    """``y = cast(x)`` in tokens of another size: io_stream's reshape. ``nnet_stream.h``."""

    kind = "repack"


@dataclass(frozen=True, eq=False, kw_only=True)
class Transpose(Moving):
    """``y`` is ``x`` with axis ``perm[i]`` of the input as axis ``i``. ``nnet_transpose*.h``."""

    kind = "transpose"

    perm: tuple[int, ...]

    def validate(self) -> None:
        found = tuple(self.source.shape[axis] for axis in self.perm)
        self.require(found == self.shape, f"shape {found}", self.shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class ZeroPadding(Moving):
    """``y`` is ``x`` with zeros ``before`` and ``after`` it along each spatial axis. ``nnet_padding*.h``."""

    kind = "zero padding"

    before: tuple[int, ...]
    after: tuple[int, ...]

    def validate(self) -> None:
        sizes = zip(self.source.shape, self.before, self.after, strict=False)
        found = (*(size + low + high for size, low, high in sizes), self.source.shape[-1])
        self.require(found == self.shape, f"shape {found}", self.shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class Cropping(Moving):
    """``y`` is ``x`` from ``before`` on along each spatial axis, as far as its shape goes. ``nnet_cropping*.h``."""

    kind = "cropping"

    before: tuple[int, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Resize(Moving):
    """``y`` is ``x`` enlarged by nearest neighbour: io_stream repeats, io_parallel takes a 16-bit ratio.

    ``nnet_image.h``, ``nnet_image_stream.h``.
    """

    kind = "resize"


@dataclass(frozen=True, eq=False, kw_only=True)
class Clone(Moving):
    """Every output is ``x``: a stream has one reader. ``nnet_stream.h``."""

    kind = "clone"


@dataclass(frozen=True, eq=False, kw_only=True)
class Broadcast(Moving):
    """``y`` is ``x`` repeated: one pixel over the image, or one channel over the channels. ``nnet_stream.h``."""

    kind = "broadcast"


# What nobody knows ----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True)
class Unknown(Layer):
    """A layer that a front end handed over and no reader knows: ``reason`` says why.

    Emulation refuses it by name, the estimate leaves it unpriced, ranges are those of its result's type.
    """

    kind = "unknown"

    reason: str


# A kind is one entry here; readers have a table by class, and the contract test says which of them lacks it.
KINDS: tuple[type[Layer], ...] = (
    *(Input, Constant, Dense, Convolution, Pointwise, Depthwise, Scale),
    *(Activation, HardActivation, TableActivation, LeakyRelu, ThresholdedRelu, Elu, Prelu, BitTable, Threshold),
    *(Quantize, Softmax, Pooling, GlobalPooling, Merge, Concatenate, Dot, Reshape, Repack, Transpose, ZeroPadding),
    *(Cropping, Resize, Clone, Broadcast, Unknown),
)
