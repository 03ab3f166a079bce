"""Softmax: stable, latency, legacy and argmax.

Source: ``nnet_activation.h``, ``nnet_activation_stream.h``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from toolkit.emulation import tables
from toolkit.emulation.builder import ONNX_TYPE, Builder
from toolkit.emulation.layers.activations import cast_entries, scaled_index
from toolkit.emulation.layers.lowering import Lowering, unsupported
from toolkit.emulation.layers.pools import is_plain, tree_sum
from toolkit.emulation.tables import address_bits
from toolkit.emulation.values import Carrier, Value
from toolkit.network.layers import Layer, Softmax, SoftmaxForm
from toolkit.precision import Precision

# hls4ml's template of the legacy softmax names neither type nor size, so its tables have those of ``activ_config``.
LEGACY_TABLE = Precision(18, 8), 1024


def softmax(b: Builder, op: Softmax, inputs: Sequence[Value]) -> Value:
    """Softmax over rows."""
    rows = rows_of(b, op, b.force(b.channels_last(inputs[0])))
    match op.form:
        case SoftmaxForm.STABLE | SoftmaxForm.LATENCY:
            result = table_softmax(b, op, rows)
        case SoftmaxForm.LEGACY:
            result = legacy(b, op, rows)
        case SoftmaxForm.ARGMAX:
            result = argmax(b, op, rows)
    return unslice(b, b.force(result), op.shape, op.inner)


def rows_of(b: Builder, op: Softmax, x: Value) -> Value:
    """The values as ``[batch, rows, row]``; ``inner`` elements are interleaved."""
    width = math.prod(op.shape) // op.inner // op.outer
    tensor = b.reshape(str(x.tensor), (op.outer, width, op.inner))
    tensor = b.reshape(b.node("Transpose", tensor, perm=[0, 1, 3, 2]), (op.outer * op.inner, width))
    return x.change(tensor=tensor, shape=(op.outer * op.inner, width))


def unslice(b: Builder, rows: Value, shape: tuple[int, ...], inner: int) -> Value:
    """Back to the layer's shape."""
    count, width = rows.shape
    tensor = b.reshape(str(rows.tensor), (count // inner, inner, width))
    tensor = b.reshape(b.node("Transpose", tensor, perm=[0, 1, 3, 2]), shape)
    return rows.change(tensor=tensor, shape=shape)


def table_softmax(b: Builder, op: Softmax, x: Value) -> Value:
    """``exp`` and ``1 / x`` from tables: ``softmax_stable`` (on ``max - x``) and ``softmax_latency``."""
    stable = op.form is SoftmaxForm.STABLE
    address = op.norm if stable else op.source.precision
    argument = b.cast(b.subtract(row_maximum(b, x), x), address) if stable else x
    values = tables.exp_values(op.exp_table_size, address, op.exp_scale, negative=stable)
    entries = tables.to_table(values, op.exp_table)
    exp_index = top_bits(b, op, argument, address, op.exp_table_size)
    powers = b.look_up(exp_index, cast_entries(entries, op.exp_table, op.accum), op.accum.fraction_bits)
    total = b.cast(row_sum(b, powers, op.accum), op.inverse_input)
    inverses = tables.to_table(tables.inverse_values(op.inverse_table_size, op.inverse_input), op.inverse_table)
    index = top_bits(b, op, total, op.inverse_input, op.inverse_table_size)
    return b.cast(b.multiply(powers, b.look_up(index, inverses, op.inverse_table.fraction_bits)), op.result)


def top_bits(b: Builder, op: Softmax, value: Value, address: Precision, size: int) -> Value:
    """``softmax_idx_from_real_val``: the top address bits of the stored pattern, as a whole number."""
    drop = address.width_bits - address_bits(size)
    if drop < 0:
        raise unsupported(op, f"a table of {size} entries addressed by {address}")
    whole = b.regrid(value, address.fraction_bits)
    pattern = whole.change(fraction_bits=drop, scale_bits=whole.scale_bits - whole.fraction_bits + drop)
    index = b.cast(pattern, Precision(address.width_bits - drop, address.width_bits - drop, signed=False))
    return b.regrid(index, 0) if index.fraction_bits < 0 else index


def row_maximum(b: Builder, x: Value) -> Value:
    done = b.plain(x)
    tensor = b.node("ReduceMax", str(done.tensor), b.constant([-1], np.int64), keepdims=1)
    return done.change(tensor=tensor, shape=(*x.shape[:-1], 1))


def row_sum(b: Builder, x: Value, accum: Precision) -> Value:
    """Sum along the row: a balanced tree of accumulators."""
    width = x.shape[-1]
    low, high = min(x.low, 0) * width, max(x.high, 0) * width
    if is_plain(x.fraction_bits, low, high, accum):
        whole = b.plain(b.widen(x, low, high))
        tensor = b.sum_taps(b.reshape(str(whole.tensor), (*x.shape, 1)), whole.carrier, width)
        tensor = b.reshape(tensor, (*x.shape[:-1], 1))
        return b.cast(whole.change(tensor=tensor, shape=(*x.shape[:-1], 1), low=low, high=high), accum)
    done = b.plain(x)
    return tree_sum(b, [column(b, done, index) for index in range(width)], accum)


def column(b: Builder, x: Value, index: int) -> Value:
    bounds = (b.constant([end], np.int64) for end in (index, index + 1))
    tensor = b.node("Slice", str(x.tensor), *bounds, b.constant([-1], np.int64))
    return x.change(tensor=tensor, shape=(*x.shape[:-1], 1))


def legacy(b: Builder, op: Softmax, x: Value) -> Value:
    """``1 / sum_j exp(x_j - x_i)`` with both tables over fixed ranges (``softmax_legacy``)."""
    table, size = LEGACY_TABLE
    exp_size, inverse_size = (size, size) if b.io_stream else (op.exp_table_size, op.inverse_table_size)
    powers = tables.to_table(tables.legacy_exp_values(exp_size), table)
    done = b.plain(x)
    columns = [column(b, done, index) for index in range(x.shape[-1])]
    sums = [legacy_sum(b, columns, index, powers.tolist(), exp_size, table) for index in range(len(columns))]
    inverses = tables.to_table(tables.legacy_inverse_values(inverse_size), table)
    results = []
    for total in sums:
        index = b.clip(scaled_index(b, total, inverse_size, 64), 0, inverse_size - 1)
        results.append(b.look_up(index, cast_entries(inverses, table, op.result), op.result.fraction_bits))
    aligned = b.aligned(*results)
    low, high = min(value.low for value in aligned), max(value.high for value in aligned)
    tensor = b.node("Concat", *(str(value.tensor) for value in aligned), axis=-1)
    return aligned[0].change(tensor=tensor, shape=x.shape, low=low, high=high)


def legacy_sum(
    b: Builder, columns: Sequence[Value], own: int, powers: Sequence[int], size: int, table: Precision
) -> Value:
    """``exp_res[own]``: one for itself plus a table entry for every other number, cast at every step."""
    total = b.fixed([0], 0, (1, 1))
    one = b.fixed([int(table.to_integers(1.0))], table.fraction_bits, (1, 1))
    for index, other in enumerate(columns):
        term = one
        if index != own:
            position = scaled_index(b, b.subtract(other, columns[own]), size, 16)
            bounded = b.clip(b.offset(position, 8 * size // 16), 0, size - 1)
            term = b.look_up(bounded, powers, table.fraction_bits)
        total = b.cast(b.add(total, term), table)
    return total


def argmax(b: Builder, op: Softmax, x: Value) -> Value:
    """One for the first largest number, zero for the others."""
    done = b.plain(x)
    tensor = str(done.tensor)
    if done.carrier is Carrier.INT64:
        done = b.convert(done, Carrier.FLOAT64)
    first = b.node("ArgMax", tensor, axis=-1, keepdims=1)
    places = b.constant(np.arange(x.shape[-1])[np.newaxis, np.newaxis], np.int64)
    chosen = b.node("Cast", b.node("Equal", first, places), to=ONNX_TYPE[Carrier.FLOAT32])
    one = int(op.result.to_integers(1.0))
    value = Value(chosen, x.shape, 0, 0, 0, 1, Carrier.FLOAT32)
    return b.multiply(value, b.fixed([one], op.result.fraction_bits, (1,)))


LOWERINGS: dict[type[Layer], Lowering] = {Softmax: softmax}
