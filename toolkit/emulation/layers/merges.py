"""Layers with two inputs.

Source: ``nnet_merge.h`` and ``nnet_merge_stream.h``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from toolkit.emulation.builder import Builder
from toolkit.emulation.layers.lowering import Lowering, unsupported
from toolkit.emulation.layers.pools import running_sum
from toolkit.emulation.layers.softmax import column
from toolkit.emulation.program import Op
from toolkit.emulation.values import Value


def merge(b: Builder, op: Op, inputs: Sequence[Value]) -> Value:
    """Element by element: the exact result, then the cast."""
    name = str(op.attributes.get("op", op.attributes.get("class_name", op.kind))).lower()
    left, right = (broadcast(b, value, op.shape) for value in inputs)
    match name:
        case "add":
            return b.cast(b.add(left, right), op.result)
        case "subtract":
            return b.cast(b.subtract(left, right), op.result)
        case "multiply":
            return b.cast(b.multiply(left, right), op.result)
        case "average":
            return b.cast(halve(b.add(left, right)), op.result)
        case "maximum" | "minimum":
            return extreme(b, op, left, right, "Greater" if name == "maximum" else "Less")
        case _:
            raise unsupported(op, f"merging by {name!r}")


def halve(value: Value) -> Value:
    """Half the value: only the binary point moves."""
    return value.change(fraction_bits=value.fraction_bits + 1, scale_bits=value.scale_bits + 1)


def extreme(b: Builder, op: Op, left: Value, right: Value, kind: str) -> Value:
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


def concatenate(b: Builder, op: Op, inputs: Sequence[Value]) -> Value:
    """Both inputs, each cast, one after the other."""
    axis = int(op.attributes.get("axis", -1))
    place = axis if axis > 0 else axis + len(op.shape) + 1
    parts = b.aligned(*(b.channels_last(b.cast(value, op.result)) for value in inputs))
    tensor = b.node("Concat", *(str(part.tensor) for part in parts), axis=place)
    low, high = min(part.low for part in parts), max(part.high for part in parts)
    return parts[0].change(tensor=tensor, shape=op.shape, low=low, high=high)


def dot_product(b: Builder, op: Op, inputs: Sequence[Value]) -> Value:
    """``dot1d``: products cast to the accumulator, added one after the other."""
    accum = op.types["accum"]
    products = b.plain(b.cast(b.multiply(*(b.channels_last(value) for value in inputs)), accum))
    terms = [column(b, products, index) for index in range(products.shape[-1])]
    zero = b.fixed([0], 0, (1,))
    return b.cast(running_sum(b, [zero, *terms], accum), op.result).change(shape=op.shape)


LOWERINGS: dict[str, Lowering] = {"Merge": merge, "Concatenate": concatenate, "Dot": dot_product}
