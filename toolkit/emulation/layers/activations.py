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
from toolkit.emulation.values import RangeTooWide, Value
from toolkit.network.layers import (
    Activation,
    BitTable,
    Elu,
    Function,
    HardActivation,
    HardFunction,
    Layer,
    LeakyRelu,
    Prelu,
    TableActivation,
    TableFunction,
    Threshold,
    ThresholdedRelu,
)
from toolkit.network.values import Scalar, Weight
from toolkit.precision import Precision, Rounding

Array = npt.NDArray[Any]

WHOLE = Precision(32, 32)  # C++ int literals such as 0, 1 and -1
# Entries of the largest table indexed directly by a value; wider inputs are told so.
LARGEST_TABLE = 1 << 22


def by_function(b: Builder, op: Activation | HardActivation | TableActivation, inputs: Sequence[Value]) -> Value:
    """Functions of one value by name."""
    return FUNCTIONS[op.function](b, op, ordered(b, inputs[0]))


def of_one(lower: Callable[[Builder, Any, Value], Value]) -> Lowering:
    """The lowering of a kind with one input, whose axes stand where constants expect them."""
    return lambda b, op, inputs: lower(b, op, ordered(b, inputs[0]))


def ordered(b: Builder, x: Value) -> Value:
    """The value with its axes where constants expect them."""
    return b.channels_last(x) if x.flat_of is not None else x


def linear(b: Builder, op: Layer, x: Value) -> Value:
    return b.cast(x, op.result)


def relu(b: Builder, op: Layer, x: Value) -> Value:
    return b.cast(positive_part(b, x), op.result)


def positive_part(b: Builder, x: Value) -> Value:
    """``x > 0 ? x : 0``, as a pending clip."""
    return b.clip(x, 0, max(x.high, 0))


def relu_up_to(limit: int) -> Callable[[Builder, Layer, Value], Value]:
    """``relu_max<limit>``."""

    def lower(b: Builder, op: Layer, x: Value) -> Value:
        finer = b.regrid(x, max(x.fraction_bits, 0))
        return b.cast(b.clip(finer, 0, limit << finer.fraction_bits), op.result)

    return lower


def table_lookup(values: Callable[[int], Array], reach: int) -> Callable[[Builder, TableActivation, Value], Value]:
    """A table over ``[-reach, reach)``: ``index = int(x * size / (2 reach)) + size / 2``."""

    def lower(b: Builder, op: TableActivation, x: Value) -> Value:
        size = op.table_size
        entries = cast_entries(tables.to_table(values(size), op.table), op.table, op.result)
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


def elu(b: Builder, op: Elu, x: Value) -> Value:
    """``x >= 0 ? x : alpha * elu_table[x * size / -8]``."""
    entries = tables.to_table(tables.elu_values(op.table_size), op.table).astype(object) * op.alpha.integer
    grid = op.table.fraction_bits + op.alpha.precision.fraction_bits
    below = b.cast(negative_lookup(b, x, entries, grid), op.result)
    return b.where(at_least_zero(b, x), b.cast(x, op.result), below)


def selu(b: Builder, op: TableActivation, x: Value) -> Value:
    """``x >= 0 ? lambda * x : selu_table[...]``; io_stream holds lambda in the data type."""
    entries = tables.to_table(tables.selu_values(op.table_size), op.table)
    below = b.cast(negative_lookup(b, x, entries, op.table.fraction_bits), op.result)
    scale = op.source.precision if b.io_stream else Precision(16, 1, signed=False)
    factor = int(scale.to_integers(1.0507009873554805))
    above = b.multiply(x, b.fixed([factor], scale.fraction_bits, (1,), like=x))
    return b.where(at_least_zero(b, x), b.cast(above, op.result), below)


def negative_lookup(b: Builder, x: Value, entries: Array, fraction_bits: int) -> Value:
    """``table[min(int(x * size / -8), size - 1)]`` where ``x < 0``; any entry elsewhere."""
    size = len(entries)
    index = b.clip(b.negate(scaled_index(b, x, size, 8)), 0, size - 1)
    return b.look_up(index, entries, fraction_bits)


def at_least_zero(b: Builder, x: Value) -> str:
    return b.compare("GreaterOrEqual", x, b.fixed([0], 0, (1,), like=x))


def above_zero(b: Builder, x: Value) -> str:
    return b.compare("Greater", x, b.fixed([0], 0, (1,), like=x))


def constant(b: Builder, scalar: Scalar, like: Value) -> Value:
    """A parameter of an activation."""
    return b.fixed([scalar.integer], scalar.precision.fraction_bits, (1,), like=like)


def leaky_relu(b: Builder, op: LeakyRelu, x: Value) -> Value:
    """``x > 0 ? x : alpha * x``."""
    return leaky(b, op, x, constant(b, op.slope, x))


def prelu(b: Builder, op: Prelu, inputs: Sequence[Value]) -> Value:
    """Leaky relu with a slope per element."""
    x, slopes = b.channels_last(inputs[0]), op.slope
    if slopes.size != math.prod(op.shape):
        raise unsupported(op, f"{slopes.size} slopes for values of shape {op.shape}, {WRONG}")
    return leaky(b, op, x, b.fixed(slopes.integers.ravel(), slopes.fraction_bits, op.shape))


def leaky(b: Builder, op: Layer, x: Value, slope: Value) -> Value:
    below = b.cast(b.multiply(x, slope), op.result)
    return b.where(above_zero(b, x), b.cast(x, op.result), below)


def thresholded_relu(b: Builder, op: ThresholdedRelu, x: Value) -> Value:
    """``x > theta ? x : 0``."""
    if op.theta.integer == 0:
        return relu(b, op, x)
    above = b.compare("Greater", x, constant(b, op.theta, x))
    return b.where(above, b.cast(x, op.result), b.fixed([0], 0, (1,), like=x))


def hard_sigmoid(b: Builder, op: HardActivation, x: Value) -> Value:
    """``clip(slope * x + shift, 0, 1)``."""
    return b.cast(hard_ramp(b, op, x), op.result)


def hard_tanh(b: Builder, op: HardActivation, x: Value) -> Value:
    """``2 * hard_sigmoid - 1``."""
    return b.cast(b.offset(b.times(hard_ramp(b, op, x), 2), -1), op.result)


def hard_ramp(b: Builder, op: HardActivation, x: Value) -> Value:
    scaled = b.multiply(x, constant(b, op.slope, x))
    ramp = b.offset(scaled, op.shift.integer, op.shift.precision.fraction_bits)
    finer = b.regrid(ramp, max(ramp.fraction_bits, 0))
    return b.clip(finer, 0, 1 << finer.fraction_bits)


def binary_tanh(b: Builder, op: Layer, x: Value) -> Value:
    """``x >= 0 ? 1 : -1``; a 1-bit unsigned result holds 0 for -1 (``binary_cast``)."""
    low = 0 if is_one_bit(op.result) else int(op.result.to_integers(-1.0))
    return choose(b, op, x, at_least_zero(b, x), int(op.result.to_integers(1.0)), low)


def is_one_bit(precision: Precision) -> bool:
    """``ap_uint<1>``."""
    return (precision.width_bits, precision.integer_bits, precision.signed) == (1, 1, False)


def choose(b: Builder, op: Layer, x: Value, condition: str, yes: int, no: int) -> Value:
    """One of two integers of the result type."""
    high, low = (b.fixed([end], op.result.fraction_bits, (1,), like=x) for end in (yes, no))
    return b.where(condition, high, low).change(shape=x.shape)


def ternary_tanh(b: Builder, op: Layer, x: Value) -> Value:
    """-1, 0 or 1. io_parallel compares ``data_t(2 * x)`` with +-1, io_stream ``x`` itself."""
    judged = x if b.io_stream else b.cast(b.times(x, 2), op.source.precision)
    one = b.compare("Greater", judged, b.fixed([1], 0, (1,), like=x))
    middle = b.compare("Greater", judged, b.fixed([-1], 0, (1,), like=x))
    levels = op.result.to_integers([1.0, 0.0, -1.0]).astype(np.int64)
    plus, zero, minus = (b.fixed([level], op.result.fraction_bits, (1,), like=x) for level in levels)
    inner = b.where(middle, zero, minus).change(shape=x.shape)
    return b.where(one, plus, inner).change(shape=x.shape)


def bit_table(b: Builder, op: BitTable, inputs: Sequence[Value]) -> Value:
    """``table[bits of x]``."""
    x, data, table = inputs[0], op.source.precision, op.table
    if data.width_bits > LARGEST_TABLE.bit_length():
        raise unsupported(op, f"a table indexed by {data}")
    entries = cast_entries(table.integers.ravel(), table.precision, op.result)
    if data.signed:
        entries = np.roll(entries, len(entries) // 2)
    whole = b.regrid(ordered(b, x), data.fraction_bits)
    bits = whole.change(fraction_bits=0, scale_bits=whole.scale_bits - whole.fraction_bits)
    return b.look_up(b.offset(bits, -data.integer_min), entries, op.result.fraction_bits)


def threshold(b: Builder, op: Threshold, x: Value) -> Value:
    """Batch normalization and a binary or ternary activation merged into thresholds (``nnet_batchnorm.h``)."""
    if op.levels == 2:
        return choose(b, op, x, b.compare("GreaterOrEqual", x, per_channel(b, op, op.low, x)), 1, 0)
    above = b.compare("Greater", x, per_channel(b, op, op.high, x))
    middle = b.compare("Greater", x, per_channel(b, op, op.low, x))
    plus, zero, minus = (b.fixed([value], 0, (1,), like=x) for value in (1, 0, -1))
    return b.where(above, plus, b.where(middle, zero, minus).change(shape=x.shape)).change(shape=x.shape)


def per_channel(b: Builder, op: Threshold, weight: Weight, x: Value) -> Value:
    """A threshold per channel, held in the data type."""
    data = op.source.precision
    integers = data.to_integers(weight.values.ravel()).astype(np.int64)
    return b.fixed(integers, data.fraction_bits, (weight.size,), like=x)


FUNCTIONS: dict[str, Callable[[Builder, Any, Value], Value]] = {
    Function.LINEAR: linear,
    Function.RELU: relu,
    Function.RELU6: relu_up_to(6),
    Function.RELU1: relu_up_to(1),
    Function.BINARY_TANH: binary_tanh,
    Function.TERNARY_TANH: ternary_tanh,
    TableFunction.SIGMOID: table_lookup(tables.sigmoid_values, 8),
    TableFunction.TANH: table_lookup(tables.tanh_values, 4),
    TableFunction.SOFTPLUS: table_lookup(tables.softplus_values, 8),
    TableFunction.SOFTSIGN: table_lookup(tables.softsign_values, 8),
    TableFunction.SELU: selu,
    HardFunction.SIGMOID: hard_sigmoid,
    HardFunction.TANH: hard_tanh,
}

LOWERINGS: dict[type[Layer], Lowering] = {
    Activation: by_function,
    HardActivation: by_function,
    TableActivation: by_function,
    LeakyRelu: of_one(leaky_relu),
    ThresholdedRelu: of_one(thresholded_relu),
    Elu: of_one(elu),
    Threshold: of_one(threshold),
    Prelu: prelu,
    BitTable: bit_table,
}
