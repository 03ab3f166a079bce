"""Activations, element by element.

Source: ``nnet_activation.h`` and, where they differ, ``nnet_activation_stream.h``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.emulation import tables
from toolkit.emulation.builder import Builder
from toolkit.emulation.layers.lowering import WRONG, Lowering, unsupported
from toolkit.emulation.program import Op
from toolkit.emulation.values import RangeTooWide, Value
from toolkit.precision import Precision, Rounding

Array = npt.NDArray[Any]

WHOLE = Precision(32, 32)  # C++ int literals such as 0, 1 and -1
# Entries of the largest table indexed directly by a value; wider inputs are told so.
LARGEST_TABLE = 1 << 22


def activation(b: Builder, op: Op, inputs: Sequence[Value]) -> Value:
    """``Activation`` and ``HardActivation`` by name."""
    name = str(op.attributes.get("activation", op.kind)).lower()
    chosen = ACTIVATIONS.get(name)
    if chosen is None:
        raise unsupported(op, f"activation {name!r}")
    return chosen(b, op, ordered(b, inputs[0]))


def ordered(b: Builder, x: Value) -> Value:
    """The value with its axes where constants expect them."""
    return b.channels_last(x) if x.flat_of is not None else x


def linear(b: Builder, op: Op, x: Value) -> Value:
    return b.cast(x, op.result)


def relu(b: Builder, op: Op, x: Value) -> Value:
    return b.cast(positive_part(b, x), op.result)


def positive_part(b: Builder, x: Value) -> Value:
    """``x > 0 ? x : 0``, as a pending clip."""
    return b.clip(x, 0, max(x.high, 0))


def relu_up_to(limit: int) -> Callable[[Builder, Op, Value], Value]:
    """``relu_max<limit>``."""

    def lower(b: Builder, op: Op, x: Value) -> Value:
        finer = b.regrid(x, max(x.fraction_bits, 0))
        return b.cast(b.clip(finer, 0, limit << finer.fraction_bits), op.result)

    return lower


def table_lookup(values: Callable[[int], Array], reach: int) -> Callable[[Builder, Op, Value], Value]:
    """A table over ``[-reach, reach)``: ``index = int(x * size / (2 reach)) + size / 2``."""

    def lower(b: Builder, op: Op, x: Value) -> Value:
        size = int(op.attributes["table_size"])
        entries = cast_entries(tables.to_table(values(size), op.types["table"]), op.types["table"], op.result)
        position = scaled_index(b, x, size, 2 * reach)
        index = b.clip(b.offset(position, reach * size // (2 * reach)), 0, size - 1)
        return b.look_up(index, entries, op.result.fraction_bits)

    return lower


def scaled_index(b: Builder, x: Value, size: int, span: int) -> Value:
    """``int data_round = x * size / span``: cut towards zero, twice, which is once."""
    product = b.times(x, size)
    grid = max(product.fraction_bits, 0)
    quotient = b.divide(b.regrid(product, grid), span) if span & (span - 1) else shifted(product, span)
    whole = b.round(quotient, 0, Rounding.TRN_ZERO)
    if max(-whole.low, whole.high) >= 2**31:
        raise RangeTooWide("a table index beyond the range of int")
    return b.regrid(whole, 0)


def shifted(value: Value, span: int) -> Value:
    """The value divided by a power of two, exactly: only the binary point moves."""
    bits = span.bit_length() - 1
    return value.change(fraction_bits=value.fraction_bits + bits, scale_bits=value.scale_bits + bits)


def cast_entries(entries: Array, source: Precision, target: Precision) -> Array:
    """Table entries cast to the result type."""
    return target.to_integers(np.ldexp(entries.astype(np.float64), -source.fraction_bits)).astype(np.int64)


def elu(b: Builder, op: Op, x: Value) -> Value:
    """``x >= 0 ? x : alpha * elu_table[x * size / -8]``."""
    table = op.types["table"]
    alpha, grid = parameter(op)
    entries = tables.to_table(tables.elu_values(int(op.attributes["table_size"])), table).astype(object) * alpha
    below = b.cast(negative_lookup(b, op, x, entries, table.fraction_bits + grid), op.result)
    return b.where(at_least_zero(b, x), b.cast(x, op.result), below)


def selu(b: Builder, op: Op, x: Value) -> Value:
    """``x >= 0 ? lambda * x : selu_table[...]``; io_stream holds lambda in the data type."""
    table = op.types["table"]
    entries = tables.to_table(tables.selu_values(int(op.attributes["table_size"])), table)
    below = b.cast(negative_lookup(b, op, x, entries, table.fraction_bits), op.result)
    scale = op.input_types[0] if op.io_stream else Precision(16, 1, signed=False)
    factor = int(scale.to_integers(1.0507009873554805))
    above = b.multiply(x, b.fixed([factor], scale.fraction_bits, (1,), like=x))
    return b.where(at_least_zero(b, x), b.cast(above, op.result), below)


def negative_lookup(b: Builder, op: Op, x: Value, entries: Array, fraction_bits: int) -> Value:
    """``table[min(int(x * size / -8), size - 1)]`` where ``x < 0``; any entry elsewhere."""
    size = int(op.attributes["table_size"])
    index = b.clip(b.negate(scaled_index(b, x, size, 8)), 0, size - 1)
    return b.look_up(index, entries, fraction_bits)


def at_least_zero(b: Builder, x: Value) -> str:
    return b.compare("GreaterOrEqual", x, b.fixed([0], 0, (1,), like=x))


def above_zero(b: Builder, x: Value) -> str:
    return b.compare("Greater", x, b.fixed([0], 0, (1,), like=x))


def parameter(op: Op) -> tuple[int, int]:
    """The activation's parameter as ``param_t`` holds it: integer and fraction bits."""
    precision = op.types["param"]
    return int(precision.to_integers(float(op.attributes.get("activ_param", 1.0)))), precision.fraction_bits


def leaky_relu(b: Builder, op: Op, x: Value) -> Value:
    """``x > 0 ? x : alpha * x``."""
    return leaky(b, op, x, b.fixed([parameter(op)[0]], parameter(op)[1], (1,), like=x))


def prelu(b: Builder, op: Op, inputs: Sequence[Value]) -> Value:
    """Leaky relu with a slope per element."""
    x, slopes = b.channels_last(inputs[0]), op.weights["param"]
    if slopes.integers.size != math.prod(op.shape):
        raise unsupported(op, f"{slopes.integers.size} slopes for values of shape {op.shape}, {WRONG}")
    return leaky(b, op, x, b.fixed(slopes.integers.ravel(), slopes.fraction_bits, op.shape))


def leaky(b: Builder, op: Op, x: Value, slope: Value) -> Value:
    below = b.cast(b.multiply(x, slope), op.result)
    return b.where(above_zero(b, x), b.cast(x, op.result), below)


def thresholded_relu(b: Builder, op: Op, x: Value) -> Value:
    """``x > theta ? x : 0``."""
    theta, grid = parameter(op)
    if theta == 0:
        return relu(b, op, x)
    above = b.compare("Greater", x, b.fixed([theta], grid, (1,), like=x))
    return b.where(above, b.cast(x, op.result), b.fixed([0], 0, (1,), like=x))


def parametrized(b: Builder, op: Op, inputs: Sequence[Value]) -> Value:
    """``ParametrizedActivation`` by name."""
    name = str(op.attributes["activation"]).lower().replace("_", "")
    chosen = PARAMETRIZED.get(name)
    if chosen is None:
        raise unsupported(op, f"activation {name!r}")
    return chosen(b, op, ordered(b, inputs[0]))


def hard_sigmoid(b: Builder, op: Op, x: Value) -> Value:
    """``clip(slope * x + shift, 0, 1)``."""
    return b.cast(hard_ramp(b, op, x), op.result)


def hard_tanh(b: Builder, op: Op, x: Value) -> Value:
    """``2 * hard_sigmoid - 1``."""
    return b.cast(b.offset(b.times(hard_ramp(b, op, x), 2), -1), op.result)


def hard_ramp(b: Builder, op: Op, x: Value) -> Value:
    slope, shift = op.types["slope"], op.types["shift"]
    factor = int(slope.to_integers(float(op.attributes.get("slope", 0.2))))
    start = int(shift.to_integers(float(op.attributes.get("shift", 0.5))))
    scaled = b.multiply(x, b.fixed([factor], slope.fraction_bits, (1,), like=x))
    ramp = b.offset(scaled, start, shift.fraction_bits)
    finer = b.regrid(ramp, max(ramp.fraction_bits, 0))
    return b.clip(finer, 0, 1 << finer.fraction_bits)


def binary_tanh(b: Builder, op: Op, x: Value) -> Value:
    """``x >= 0 ? 1 : -1``; a 1-bit unsigned result holds 0 for -1 (``binary_cast``)."""
    low = 0 if is_one_bit(op.result) else int(op.result.to_integers(-1.0))
    return choose(b, op, x, at_least_zero(b, x), int(op.result.to_integers(1.0)), low)


def is_one_bit(precision: Precision) -> bool:
    """``ap_uint<1>``."""
    return (precision.width_bits, precision.integer_bits, precision.signed) == (1, 1, False)


def choose(b: Builder, op: Op, x: Value, condition: str, yes: int, no: int) -> Value:
    """One of two integers of the result type."""
    high, low = (b.fixed([end], op.result.fraction_bits, (1,), like=x) for end in (yes, no))
    return b.where(condition, high, low).change(shape=x.shape)


def ternary_tanh(b: Builder, op: Op, x: Value) -> Value:
    """-1, 0 or 1. io_parallel compares ``data_t(2 * x)`` with +-1, io_stream ``x`` itself."""
    judged = x if op.io_stream else b.cast(b.times(x, 2), op.input_types[0])
    one = b.compare("Greater", judged, b.fixed([1], 0, (1,), like=x))
    middle = b.compare("Greater", judged, b.fixed([-1], 0, (1,), like=x))
    levels = op.result.to_integers([1.0, 0.0, -1.0]).astype(np.int64)
    plus, zero, minus = (b.fixed([level], op.result.fraction_bits, (1,), like=x) for level in levels)
    inner = b.where(middle, zero, minus).change(shape=x.shape)
    return b.where(one, plus, inner).change(shape=x.shape)


def unary_lut(b: Builder, op: Op, inputs: Sequence[Value]) -> Value:
    """``table[bits of x]``."""
    x, data, table = inputs[0], op.input_types[0], op.weights["table"]
    if data.width_bits > LARGEST_TABLE.bit_length():
        raise unsupported(op, f"a table indexed by {data}")
    entries = cast_entries(table.integers.ravel(), table.precision, op.result)
    if data.signed:
        entries = np.roll(entries, len(entries) // 2)
    whole = b.regrid(ordered(b, x), data.fraction_bits)
    bits = whole.change(fraction_bits=0, scale_bits=whole.scale_bits - whole.fraction_bits)
    return b.look_up(b.offset(bits, -data.integer_min), entries, op.result.fraction_bits)


def batch_norm_quantized_tanh(b: Builder, op: Op, inputs: Sequence[Value]) -> Value:
    """Batch normalization and a binary or ternary activation merged into thresholds (``nnet_batchnorm.h``)."""
    x = ordered(b, inputs[0])
    if int(op.attributes["quantize"]) == 2:
        reached = b.compare("GreaterOrEqual", x, threshold(b, op, x, "threshold"))
        return choose(b, op, x, reached, 1, 0)
    above = b.compare("Greater", x, threshold(b, op, x, "threshold_hi"))
    middle = b.compare("Greater", x, threshold(b, op, x, "threshold_lo"))
    plus, zero, minus = (b.fixed([value], 0, (1,), like=x) for value in (1, 0, -1))
    return b.where(above, plus, b.where(middle, zero, minus).change(shape=x.shape)).change(shape=x.shape)


def threshold(b: Builder, op: Op, x: Value, name: str) -> Value:
    """A threshold per channel, held in the data type."""
    weight = op.weights[name]
    values = np.ldexp(weight.integers.astype(np.float64), -weight.fraction_bits).ravel()
    data = op.input_types[0]
    return b.fixed(data.to_integers(values).astype(np.int64), data.fraction_bits, (values.size,), like=x)


ACTIVATIONS: dict[str, Callable[[Builder, Op, Value], Value]] = {
    "linear": linear,
    "relu": relu,
    "relu6": relu_up_to(6),
    "relu1": relu_up_to(1),
    "sigmoid": table_lookup(tables.sigmoid_values, 8),
    "tanh": table_lookup(tables.tanh_values, 4),
    "softplus": table_lookup(tables.softplus_values, 8),
    "softsign": table_lookup(tables.softsign_values, 8),
    "selu": selu,
    "hard_sigmoid": hard_sigmoid,
    "hard_tanh": hard_tanh,
    "binary_tanh": binary_tanh,
    "ternary_tanh": ternary_tanh,
}

PARAMETRIZED: dict[str, Callable[[Builder, Op, Value], Value]] = {
    "leakyrelu": leaky_relu,
    "thresholdedrelu": thresholded_relu,
    "elu": elu,
}

LOWERINGS: dict[str, Lowering] = {
    "Activation": activation,
    "HardActivation": activation,
    "ParametrizedActivation": parametrized,
    "PReLU": prelu,
    "UnaryLUT": unary_lut,
    "BatchNormalizationQuantizedTanh": batch_norm_quantized_tanh,
}
