"""Layers with two inputs.

Source: ``nnet_merge.h`` and ``nnet_merge_stream.h``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from toolkit.emulation.builder import Builder
from toolkit.emulation.layers.lowering import Lowering
from toolkit.emulation.layers.pools import running_sum
from toolkit.emulation.layers.softmax import column
from toolkit.emulation.values import Value
from toolkit.network.layers import Concatenate, Dot, Layer, Merge, MergeOperation


def merge(b: Builder, op: Merge, inputs: Sequence[Value]) -> Value:
    """Element by element: the exact result, then the cast."""
    left, right = (broadcast(b, value, op.shape) for value in inputs)
    match op.operation:
        case MergeOperation.ADD:
            return b.cast(b.add(left, right), op.result)
        case MergeOperation.SUBTRACT:
            return b.cast(b.subtract(left, right), op.result)
        case MergeOperation.MULTIPLY:
            return b.cast(b.multiply(left, right), op.result)
        case MergeOperation.AVERAGE:
            return b.cast(halve(b.add(left, right)), op.result)
        case MergeOperation.MAXIMUM:
            return extreme(b, op, left, right, "Greater")
        case MergeOperation.MINIMUM:
            return extreme(b, op, left, right, "Less")


def halve(value: Value) -> Value:
    """Half the value: only the binary point moves."""
    return value.change(fraction_bits=value.fraction_bits + 1, scale_bits=value.scale_bits + 1)


def extreme(b: Builder, op: Merge, left: Value, right: Value, kind: str) -> Value:
    """The larger or smaller input, cast after the choice."""
    first, second = b.aligned(left, right)
    condition = b.compare(kind, first, second)
    chosen = b.aligned(b.cast(first, op.result), b.cast(second, op.result))
    return b.where(condition, *chosen)


def broadcast(b: Builder, value: Value, shape: tuple[int, ...]) -> Value:
    """An operand repeated as ``data[i % n_elem]`` repeats it, over the flat channels-last index."""
    if value.shape == shape:
        return value
    size = int(np.prod(value.shape))
    done = b.force(b.channels_last(value))
    places = b.constant(np.arange(np.prod(shape)) % size, np.int64)
    flat = b.node("Gather", b.reshape(str(done.tensor), (size,)), places, axis=1)
    return done.change(tensor=b.reshape(flat, shape), shape=shape)


def concatenate(b: Builder, op: Concatenate, inputs: Sequence[Value]) -> Value:
    """Both inputs, each cast, one after the other."""
    parts = b.aligned(*(b.channels_last(b.cast(value, op.result)) for value in inputs))
    tensor = b.node("Concat", *(str(part.tensor) for part in parts), axis=op.axis + 1)
    low, high = min(part.low for part in parts), max(part.high for part in parts)
    return parts[0].change(tensor=tensor, shape=op.shape, low=low, high=high)


def dot_product(b: Builder, op: Dot, inputs: Sequence[Value]) -> Value:
    """``dot1d``: products cast to the accumulator, added one after the other."""
    products = b.plain(b.cast(b.multiply(*(b.channels_last(value) for value in inputs)), op.accum))
    terms = [column(b, products, index) for index in range(products.shape[-1])]
    zero = b.fixed([0], 0, (1,))
    return b.cast(running_sum(b, [zero, *terms], op.accum), op.result).change(shape=op.shape)


LOWERINGS: dict[type[Layer], Lowering] = {Merge: merge, Concatenate: concatenate, Dot: dot_product}
