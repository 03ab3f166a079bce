"""Sums of products: dense layers and convolutions, with the accumulator hls4ml gives them.

``acc = (accum_t) bias; acc += (accum_t) product`` (``nnet_dense_latency.h``, ``nnet_dense_resource.h``,
``nnet_conv2d_latency.h`` and their like). Where no product loses bits and no partial sum can saturate,
the casts inside the sum change nothing but the final wrap, and the whole sum goes to ONNX Runtime as one
convolution or matrix product. Otherwise a ``Scan`` walks through the products in hls4ml's order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, helper

from toolkit.emulation.builder import NUMPY_TYPE, ONNX_TYPE, Builder, reduce_grid
from toolkit.emulation.values import LIMIT, Carrier, Deferred, Value, narrowest
from toolkit.network.ranges import sum_range
from toolkit.network.values import Window
from toolkit.precision import Overflow, Precision

Array = npt.NDArray[Any]


# Float32 convolutions that together are still cheaper than one float64 matrix product over windows.
MOST_PARTS = 3


@dataclass(frozen=True, eq=False)
class Kernel:
    """Weights and biases as integers.

    ``weights``: ``[taps, outputs]``, or ``[taps, channels]`` for a depthwise kernel, whose tap ``t`` of
    channel ``c`` multiplies only that channel. Taps run over the window row by row, channels innermost.
    ``order`` is the sequence in which hls4ml adds the taps, ``[taps]`` or ``[taps, channels]``.
    """

    weights: Array
    fraction_bits: int
    bias: Array
    bias_fraction_bits: int
    order: Array
    depthwise: bool = False


@dataclass(frozen=True)
class Reach:
    """Bounds, in steps of the products' grid, that hold for every output of a sum."""

    low: int
    high: int
    product_low: int
    product_high: int
    magnitude: int  # of any partial sum, in any order


def weighted_sum(b: Builder, x: Value, kernel: Kernel, window: Window | None, accum: Precision | None) -> Value:
    """Bias plus products in the accumulator type; ``accum=None`` keeps the exact sum."""
    grid = max(x.fraction_bits + kernel.fraction_bits, kernel.bias_fraction_bits)
    reach = find_reach(x, kernel, window is not None and window.padded, grid)
    if accum is None or is_plain_sum(reach, grid, x.fraction_bits + kernel.fraction_bits, accum):
        total = plain_sum(b, x, kernel, window, grid, reach)
        return total if accum is None else b.cast(total, accum)
    return stepwise_sum(b, x, kernel, window, accum)


def is_plain_sum(reach: Reach, grid: int, product_grid: int, accum: Precision) -> bool:
    """Whether casting every product and partial sum equals casting the total."""
    if product_grid > accum.fraction_bits:
        return False
    if accum.overflow is Overflow.WRAP:
        return True
    bits = accum.fraction_bits - grid
    ends = min(reach.low, reach.product_low) << bits, max(reach.high, reach.product_high) << bits
    return accum.integer_min <= ends[0] and ends[1] <= accum.integer_max


def find_reach(x: Value, kernel: Kernel, padded: bool, grid: int) -> Reach:
    """Bounds from the actual weights and the input's range."""
    low, high = (min(x.low, 0), max(x.high, 0)) if padded else (x.low, x.high)
    shifts = grid - x.fraction_bits - kernel.fraction_bits, grid - kernel.bias_fraction_bits
    found = sum_range(kernel.weights, low, high, kernel.bias, shift=shifts[0], bias_shift=shifts[1])
    magnitudes = np.maximum(-found.fall, found.rise) + np.abs(found.start)
    return Reach(
        low=int((found.start + found.fall).min()),
        high=int((found.start + found.rise).max()),
        product_low=found.product_low,
        product_high=found.product_high,
        magnitude=int(magnitudes.max()),
    )


def plain_sum(b: Builder, x: Value, kernel: Kernel, window: Window | None, grid: int, reach: Reach) -> Value:
    """The exact sum, emitted when its scale is known."""
    carrier = b.carry(-reach.magnitude, reach.magnitude, x.carrier)
    if window is not None and x.carrier is Carrier.FLOAT32 and carrier is Carrier.FLOAT64:
        parts = split_kernel(x, kernel, window)
        if parts:
            return sum_of_parts(b, x, parts, window, grid, reach)
    matrix = carrier is not Carrier.FLOAT32 or window is None
    if matrix and kernel.depthwise:
        return depthwise_sum(b, x, kernel, window, grid, reach, carrier)
    source = b.convert(x, carrier)
    emitter: Callable[[int], str]
    if matrix:
        rows = source if window is None else patches(b, source, window)
        emitter = matrix_emitter(b, rows, kernel, carrier)
    else:
        assert window is not None
        emitter = convolution_emitter(b, source, kernel, window)
    shape = (*(window.out if window else x.shape[:-1]), kernel.weights.shape[1])
    first = not matrix
    return Value(Deferred(emitter), shape, grid, grid, reach.low, reach.high, carrier, channels_first=first)


def split_kernel(x: Value, kernel: Kernel, window: Window) -> list[Kernel]:
    """The kernel as a sum of a few whose float32 convolutions are exact; none if that takes too many.

    One float64 product costs as much as two in float32, and ONNX Runtime has no float64 convolution.
    """
    step = 0
    for bits in range(1, 24):
        low_part = replace(kernel, weights=balanced_remainder(kernel.weights, bits), bias=kernel.bias * 0)
        if part_magnitude(x, low_part, window) > LIMIT[Carrier.FLOAT32]:
            break
        step = bits
    parts: list[Kernel] = []
    weights, fraction_bits, bias = kernel.weights, kernel.fraction_bits, kernel.bias
    while step and len(parts) < MOST_PARTS:
        whole = replace(kernel, weights=weights, fraction_bits=fraction_bits, bias=bias)
        if part_magnitude(x, whole, window) <= LIMIT[Carrier.FLOAT32]:
            return [*parts, whole]
        rest = balanced_remainder(weights, step)
        parts.append(replace(kernel, weights=rest, fraction_bits=fraction_bits, bias=kernel.bias * 0))
        weights, fraction_bits = (weights - rest) >> step, fraction_bits - step
    return []


def balanced_remainder(weights: Array, bits: int) -> Array:
    """The last ``bits`` bits as a number between ``-2**(bits - 1)`` and ``2**(bits - 1) - 1``."""
    half = 1 << (bits - 1)
    remainder: Array = ((weights + half) & ((1 << bits) - 1)) - half
    return remainder


def part_magnitude(x: Value, kernel: Kernel, window: Window) -> int:
    """Largest partial sum of a part, in steps of its own products."""
    grid = max(x.fraction_bits + kernel.fraction_bits, kernel.bias_fraction_bits)
    return find_reach(x, kernel, window.padded, grid).magnitude


def sum_of_parts(b: Builder, x: Value, parts: Sequence[Kernel], window: Window, grid: int, reach: Reach) -> Value:
    """Float32 convolutions added in float64."""
    total: Value | None = None
    for part in parts:
        part_grid = max(x.fraction_bits + part.fraction_bits, part.bias_fraction_bits)
        value = plain_sum(b, x, part, window, part_grid, find_reach(x, part, window.padded, part_grid))
        wide = b.convert(value, Carrier.FLOAT64)
        total = wide if total is None else b.add(total, wide)
    assert total is not None
    return b.regrid(total, grid).change(low=reach.low, high=reach.high)


def convolution_emitter(b: Builder, x: Value, kernel: Kernel, window: Window) -> Callable[[int], str]:
    """A float32 ``Conv``, weights and bias scaled so that it stores numbers times ``2**scale_bits``."""
    source = b.channels_first(b.force(x))
    channels = x.shape[-1]
    weights = kernel.weights.astype(np.float64)
    if kernel.depthwise:
        arranged = weights.T.reshape(channels, 1, *window.kernel)
    else:
        arranged = np.moveaxis(weights.reshape(*window.kernel, channels, -1), (-1, -2), (0, 1))

    def emit(scale_bits: int) -> str:
        return b.node(
            "Conv",
            str(source.tensor),
            b.constant(np.ldexp(arranged, scale_bits - source.scale_bits - kernel.fraction_bits), np.float32),
            b.constant(scaled_bias(kernel, scale_bits), np.float32),
            kernel_shape=list(window.kernel),
            strides=list(window.strides),
            pads=[*window.before, *window.after],
            dilations=list(window.dilations),
            group=channels if kernel.depthwise else 1,
        )

    return emit


def scaled_bias(kernel: Kernel, scale_bits: int) -> Array:
    return np.ldexp(kernel.bias.astype(np.float64), scale_bits - kernel.bias_fraction_bits)


def matrix_emitter(b: Builder, x: Value, kernel: Kernel, carrier: Carrier) -> Callable[[int], str]:
    """A matrix product over the last axis."""
    source = b.plain(x) if carrier is Carrier.INT64 else b.force(x)
    weights = kernel.weights
    if source.flat_of is not None:
        weights = weights[stored_order(source.flat_of)]
    elif source.channels_first:
        source = b.channels_last(source)

    def emit(scale_bits: int) -> str:
        dtype = NUMPY_TYPE[carrier]
        if carrier is Carrier.INT64:
            matrix = weights.astype(object) << (scale_bits - source.fraction_bits - kernel.fraction_bits)
            bias = kernel.bias.astype(object) << (scale_bits - kernel.bias_fraction_bits)
        else:
            matrix = np.ldexp(weights.astype(np.float64), scale_bits - source.scale_bits - kernel.fraction_bits)
            bias = scaled_bias(kernel, scale_bits)
        operands = str(source.tensor), b.constant(matrix, dtype)
        if len(source.shape) == 1 and carrier is not Carrier.INT64:
            return b.node("Gemm", *operands, b.constant(bias, dtype))
        return b.node("Add", b.node("MatMul", *operands), b.constant(bias, dtype))

    return emit


def stored_order(shape: tuple[int, ...]) -> Array:
    """Channels-last flat positions in the order a channels-first flattening stores them."""
    return np.moveaxis(np.arange(np.prod(shape)).reshape(shape), -1, 0).ravel()


def depthwise_sum(
    b: Builder, x: Value, kernel: Kernel, window: Window | None, grid: int, reach: Reach, carrier: Carrier
) -> Value:
    """A depthwise sum in a wide carrier: products of whole windows, added over the taps."""
    assert window is not None
    taps, channels = kernel.weights.shape
    rows = b.plain(patches(b, b.convert(x, carrier), window))
    weights = b.fixed(kernel.weights.ravel(), kernel.fraction_bits, (taps * channels,))
    products = b.channels_last(b.multiply(b.convert(rows, carrier), weights))
    shape = (*window.out, channels)
    spread = b.reshape(str(products.tensor), (*window.out, taps, channels))
    total = products.change(
        tensor=b.reshape(b.sum_taps(spread, products.carrier, taps), shape),
        shape=shape,
        low=min(-reach.magnitude, 0),
        high=reach.magnitude,
        carrier=carrier,
    )
    done = b.add(total, b.fixed(kernel.bias, kernel.bias_fraction_bits, (channels,)))
    return b.regrid(done, grid).change(low=reach.low, high=reach.high) if done.fraction_bits <= grid else done


def patches(b: Builder, x: Value, window: Window) -> Value:
    """Every window as a row: ``[..., taps * channels]``, taps row by row, channels innermost."""
    source = b.force(b.channels_last(x))
    rank = len(window.kernel)
    tensor = str(source.tensor)
    if window.padded:
        pads = b.constant([0, *window.before, 0, 0, *window.after, 0], np.int64)
        tensor = b.node("Pad", tensor, pads)
    axes = b.constant(range(1, rank + 1), np.int64)
    steps = b.constant(window.strides, np.int64)
    parts = []
    for tap in np.ndindex(*window.kernel):
        starts = [index * dilation for index, dilation in zip(tap, window.dilations, strict=True)]
        ends = [
            start + (count - 1) * stride + 1
            for start, count, stride in zip(starts, window.out, window.strides, strict=True)
        ]
        bounds = b.constant(starts, np.int64), b.constant(ends, np.int64)
        parts.append(b.node("Slice", tensor, *bounds, axes, steps))
    joined = b.node("Concat", *parts, axis=-1) if len(parts) > 1 else parts[0]
    low, high = (min(source.low, 0), max(source.high, 0)) if window.padded else (source.low, source.high)
    shape = (*window.out, len(parts) * x.shape[-1])
    return source.change(tensor=joined, shape=shape, low=low, high=high)


def stepwise_sum(b: Builder, x: Value, kernel: Kernel, window: Window | None, accum: Precision) -> Value:
    """The sum with every product and partial sum cast to the accumulator, in hls4ml's order."""
    outputs = kernel.weights.shape[1]
    rows = b.plain(b.channels_last(x) if window is None else patches(b, x, window))
    columns = b.node("Reshape", str(rows.tensor), b.constant([-1, rows.shape[-1]], np.int64))
    if kernel.depthwise:
        flat = kernel.order * outputs + np.arange(outputs)
        taps = b.node("Gather", columns, b.constant(flat.ravel(), np.int64), axis=1)
        taps = b.node("Reshape", taps, b.constant([-1, len(kernel.order), outputs], np.int64))
        steps = b.node("Transpose", taps, perm=[1, 0, 2])
        weights = np.take_along_axis(kernel.weights, kernel.order, axis=0)
    else:
        taps = b.node("Gather", columns, b.constant(kernel.order, np.int64), axis=1)
        steps = b.node("Unsqueeze", b.node("Transpose", taps, perm=[1, 0]), b.constant([2], np.int64))
        weights = kernel.weights[kernel.order]
    return scan(b, rows.change(tensor=steps), weights, kernel, accum, (*(window.out if window else x.shape[:-1]),))


def scan(
    b: Builder, steps: Value, weights: Array, kernel: Kernel, accum: Precision, positions: tuple[int, ...]
) -> Value:
    """Run ``acc = accum(acc + accum(x * w))`` over the taps as an ONNX ``Scan``."""
    outputs = weights.shape[1]
    stored, grid = reduce_grid(weights.astype(object), kernel.fraction_bits)
    factor = b.fixed(stored.ravel(), grid, (weights.size,))
    factors = b.node("Reshape", str(factor.tensor), b.constant([len(weights), 1, outputs], np.int64))
    state = accumulator(accum, "acc", (outputs,))
    inner = step_builder(b, steps, factor, state, accum)
    start = kernel.bias.astype(object) << (accum.fraction_bits - kernel.bias_fraction_bits)
    first = b.node("Gather", str(steps.tensor), b.constant(0, np.int64), axis=0)
    zeros = b.node("Cast", b.node("Mul", first, b.scalar(steps.carrier, 0)), to=ONNX_TYPE[state.carrier])
    initial = b.node("Add", zeros, b.constant(start, NUMPY_TYPE[state.carrier]))
    final = b.node("Scan", initial, str(steps.tensor), factors, body=inner, num_scan_inputs=2)
    return accumulator(accum, b.reshape(final, (*positions, outputs)), (*positions, outputs))


def accumulator(accum: Precision, tensor: str, shape: tuple[int, ...]) -> Value:
    """A value that may be anything the accumulator holds."""
    grid, low, high = accum.fraction_bits, accum.integer_min, accum.integer_max
    return Value(tensor, shape, grid, grid, low, high, narrowest(low, high))


def step_builder(b: Builder, x: Value, w: Value, state: Value, accum: Precision) -> GraphProto:
    """The body of the scan: one product cast to the accumulator and added to it."""
    inner = Builder(prefix=f"{b.layer}/scan")
    outputs = state.shape[0]
    left, right = x.change(tensor="x", shape=(outputs,)), w.change(tensor="w", shape=(outputs,))
    product = inner.cast(inner.multiply(left, right), accum)
    total = inner.regrid(inner.cast(inner.add(product, state), accum), accum.fraction_bits)
    done = inner.node("Identity", str(inner.convert(inner.plain(total), state.carrier).tensor))
    b.carry(0, 0, max(inner.widest, state.carrier, key=list(Carrier).index))
    inputs = [
        helper.make_tensor_value_info(name, ONNX_TYPE[value.carrier], shape)
        for name, value, shape in (
            ("acc", state, [None, outputs]),
            ("x", x, [None, None]),
            ("w", w, [1, outputs]),
        )
    ]
    output = helper.make_tensor_value_info(done, ONNX_TYPE[state.carrier], [None, outputs])
    return helper.make_graph(inner.nodes, "step", inputs, [output], inner.initializers())
