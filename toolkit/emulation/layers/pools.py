"""Max and average pooling.

Source: ``nnet_pooling.h`` (io_parallel) and ``nnet_pooling_stream.h`` of the Vitis backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.emulation.builder import NUMPY_TYPE, Builder
from toolkit.emulation.layers.lowering import Lowering
from toolkit.emulation.sums import patches
from toolkit.emulation.values import Carrier, Value
from toolkit.network.layers import GlobalPooling, Layer, Pool, Pooling
from toolkit.network.values import Window
from toolkit.precision import Overflow, Precision

Array = npt.NDArray[Any]


def pooling(b: Builder, op: Pooling, inputs: Sequence[Value]) -> Value:
    """Pooling over windows."""
    return pool(b, op, inputs[0], op.window)


def global_pooling(b: Builder, op: GlobalPooling, inputs: Sequence[Value]) -> Value:
    """Pooling over the whole image."""
    spatial = inputs[0].shape[:-1]
    zeros, ones = (0,) * len(spatial), (1,) * len(spatial)
    pooled = pool(b, op, inputs[0], Window(spatial, ones, zeros, zeros, ones, ones))
    return flatten(b, pooled, op.shape)


def flatten(b: Builder, value: Value, shape: tuple[int, ...]) -> Value:
    """Drop axes of size one."""
    last = b.force(b.channels_last(value))
    return last.change(tensor=b.reshape(str(last.tensor), shape), shape=shape)


def pool(b: Builder, op: Pooling | GlobalPooling, x: Value, window: Window) -> Value:
    if op.operation is Pool.AVERAGE:
        return average(b, op, x, window)
    accum = op.accum
    if b.io_stream:  # the window holds accumulators
        return b.cast(maximum(b, b.cast(x, accum), window, None), op.result)
    largest = maximum(b, x, window, op.source.precision if window.padded else None)
    return b.cast(b.cast(largest, accum), op.result)


def maximum(b: Builder, x: Value, window: Window, padding: Precision | None) -> Value:
    """The largest value of each window.

    A padded cell holds the type's top bit alone (``pad_val``): the least number of a signed type, but
    half the range of an unsigned one, which hls4ml then takes for a value.
    """
    shape = (*window.out, x.shape[-1])
    if x.carrier is Carrier.INT64:
        return reduced_maximum(b, x, window, shape)
    source = b.channels_first(x) if x.rounding is None or not x.channels_first else x
    source = b.base(source)
    tensor, low, high = str(source.tensor), source.low, source.high
    if padding is not None:
        cell = top_bit(padding) << max(source.fraction_bits - padding.fraction_bits, 0)
        if source.fraction_bits < padding.fraction_bits:
            source = b.plain(b.regrid(source, padding.fraction_bits))
            cell, tensor, low, high = top_bit(padding), str(source.tensor), source.low, source.high
        if not padding.signed:
            low, high = min(low, cell), max(high, cell)
        stored = b.constant(b.stored(cell, source, source.scale_bits), NUMPY_TYPE[source.carrier])
        pads = b.constant([0, 0, *window.before, 0, 0, *window.after], np.int64)
        tensor = b.node("Pad", tensor, pads, stored)
    tensor = b.node("MaxPool", tensor, kernel_shape=list(window.kernel), strides=list(window.strides))
    return source.change(tensor=tensor, shape=shape, low=low, high=high)


def top_bit(precision: Precision) -> int:
    """The integer whose only set bit is the type's most significant one."""
    half = 1 << (precision.width_bits - 1)
    return -half if precision.signed else half


def reduced_maximum(b: Builder, x: Value, window: Window, shape: tuple[int, ...]) -> Value:
    """Maximum of int64 windows, for which ONNX Runtime has no pooling."""
    rows = b.plain(patches(b, x, window))
    split = b.reshape(str(rows.tensor), (*window.out, -1, x.shape[-1]))
    tensor = b.node("ReduceMax", split, b.constant([len(window.out) + 1], np.int64), keepdims=0)
    return rows.change(tensor=tensor, shape=shape)


def average(b: Builder, op: Pooling | GlobalPooling, x: Value, window: Window) -> Value:
    """``accum_t y = sum; y /= count``: the quotient is cut towards zero at the accumulator's last bit."""
    accum = op.accum
    terms = b.cast(x, accum) if b.io_stream else x
    tree = b.io_stream and isinstance(op, Pooling)  # global pooling adds pixels as they come
    total = b.regrid(window_total(b, terms, window, accum, tree=tree), accum.fraction_bits)
    count_padding = b.io_stream or (isinstance(op, Pooling) and op.counts_padding)
    quotient = divide_by_counts(b, total, window, x.shape[:-1], count_padding)
    return b.cast(b.cast(quotient, accum), op.result)


def window_total(b: Builder, x: Value, window: Window, accum: Precision, *, tree: bool) -> Value:
    """Sum of each window in the accumulator, cast after every addition."""
    taps, channels = int(np.prod(window.kernel)), x.shape[-1]
    rows = patches(b, x, window)
    low, high = min(rows.low, 0) * taps, max(rows.high, 0) * taps
    shape = (*window.out, channels)
    if is_plain(x.fraction_bits, low, high, accum):
        whole = b.plain(b.widen(rows, low, high))
        split = b.reshape(str(whole.tensor), (*window.out, taps, channels))
        tensor = b.reshape(b.sum_taps(split, whole.carrier, taps), shape)
        return b.cast(whole.change(tensor=tensor, shape=shape, low=low, high=high), accum)
    whole = b.plain(rows)
    parts = [whole.change(tensor=tap_slice(b, whole, tap, channels), shape=shape) for tap in range(taps)]
    return tree_sum(b, parts, accum) if tree else running_sum(b, parts, accum)


def is_plain(fraction_bits: int, low: int, high: int, accum: Precision) -> bool:
    """Whether casting every partial sum equals casting the total."""
    if fraction_bits > accum.fraction_bits:
        return False
    bits = accum.fraction_bits - fraction_bits
    fits = accum.integer_min <= low << bits and high << bits <= accum.integer_max
    return fits or accum.overflow is Overflow.WRAP


def tap_slice(b: Builder, rows: Value, tap: int, channels: int) -> str:
    bounds = (b.constant([end], np.int64) for end in (tap * channels, (tap + 1) * channels))
    return b.node("Slice", str(rows.tensor), *bounds, b.constant([-1], np.int64))


def running_sum(b: Builder, parts: Sequence[Value], accum: Precision) -> Value:
    """``y += x`` one after the other, from zero."""
    total = b.cast(parts[0], accum)
    for part in parts[1:]:
        total = b.cast(b.add(total, part), accum)
    return total


def tree_sum(b: Builder, parts: Sequence[Value], accum: Precision) -> Value:
    """``nnet::reduce``: the left half is the largest power of two below the count."""
    if len(parts) == 1:
        return parts[0]
    left = 1 << ((len(parts) - 1).bit_length() - 1)
    return b.cast(b.add(tree_sum(b, parts[:left], accum), tree_sum(b, parts[left:], accum)), accum)


def divide_by_counts(b: Builder, total: Value, window: Window, image: tuple[int, ...], count_padding: bool) -> Value:
    """The total divided by the number of cells, those in the padding left out unless they count."""
    taps = int(np.prod(window.kernel))
    counts = np.full(window.out, taps) if count_padding or not window.padded else overlaps(window, image)
    if (counts == counts.flat[0]).all():
        return b.divide(total, int(counts.flat[0]))
    whole = b.in_steps(b.channels_last(total))
    divisors = b.constant(counts[np.newaxis, ..., np.newaxis], NUMPY_TYPE[whole.carrier])
    tensor = b.node("Div", str(whole.tensor), divisors)
    if whole.carrier is not Carrier.INT64:
        tensor = b.truncate(tensor, whole.carrier, whole.low < 0, whole.high > 0)
    return whole.change(tensor=tensor)


def overlaps(window: Window, image: tuple[int, ...]) -> Array:
    """How many cells of each window lie on the image."""
    counts = np.ones((), np.int64)
    for axis, size in enumerate(image):
        starts = np.arange(window.out[axis]) * window.strides[axis] - window.before[axis]
        ends = starts + window.kernel[axis]
        inside = np.minimum(ends, size) - np.maximum(starts, 0)
        counts = counts[..., np.newaxis] * inside
    return counts


LOWERINGS: dict[type[Layer], Lowering] = {Pooling: pooling, GlobalPooling: global_pooling}
