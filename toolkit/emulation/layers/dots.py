"""Dense layers, convolutions and per-channel scales.

Source: ``nnet_dense*.h``, ``nnet_conv*.h``, ``nnet_sepconv*.h``, ``nnet_depthwise_product.h``,
``nnet_batchnorm.h``, ``nnet_mult.h``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.emulation.builder import Builder, reduce_grid
from toolkit.emulation.layers.lowering import WRONG, Lowering, unsupported
from toolkit.emulation.program import Op, Stored
from toolkit.emulation.sums import Kernel, Window, weighted_sum
from toolkit.emulation.tables import address_bits
from toolkit.emulation.values import Value
from toolkit.precision import Precision

Array = npt.NDArray[Any]


def dense(b: Builder, op: Op, inputs: Sequence[Value]) -> Value:
    """A matrix product over the last axis."""
    weights = op.weights["weight"].integers
    return dot(b, op, inputs[0], weights.reshape(-1, weights.shape[-1]), None)


def convolution(b: Builder, op: Op, inputs: Sequence[Value]) -> Value:
    """Conv1D, Conv2D and their pointwise forms."""
    weights = op.weights["weight"].integers
    return dot(b, op, inputs[0], weights.reshape(-1, weights.shape[-1]), window_of(op))


def depthwise(b: Builder, op: Op, inputs: Sequence[Value]) -> Value:
    """DepthwiseConv1D and DepthwiseConv2D with a depth multiplier of one, all that hls4ml has."""
    channels = op.shape[-1]
    if inputs[0].shape[-1] != channels:
        raise unsupported(op, f"more than one filter per channel, {WRONG}")
    return dot(b, op, inputs[0], op.weights["weight"].integers.reshape(-1, channels), window_of(op), depthwise=True)


def dot(b: Builder, op: Op, x: Value, weights: Array, window: Window | None, *, depthwise: bool = False) -> Value:
    """Products by hls4ml's product class, summed in the accumulator, cast to the result."""
    product = op.attributes.get("product", "mult")
    accum = None if is_distributed(op) else op.types["accum"]
    factors, fraction_bits = as_factors(op, op.weights["weight"], weights, product)
    bias = cast_bias(op, accum)
    if product == "both_binary":
        bias = add_matches(bias, weights, accum)
    if product == "data_binary":
        x = signs(b, x)
    order = tap_order(op, factors.shape)
    kernel = Kernel(*reduce_grid(factors, fraction_bits), *reduce_grid(*bias), order=order, depthwise=depthwise)
    total = weighted_sum(b, x, kernel, window, accum)
    if product == "both_binary":
        total = count_to_sum(b, total, len(weights))
    return b.cast(total, op.result)


def is_distributed(op: Op) -> bool:
    """Whether da4ml generated the layer's adders, which compute the exact sum."""
    return str(op.attributes.get("strategy", "")).lower() == "distributed_arithmetic"


def as_factors(op: Op, weight: Stored, integers: Array, product: str) -> tuple[Array, int]:
    """What the input is multiplied by: for 1-bit weights 0 means -1 and 1 means +1."""
    match product:
        case "mult" | "data_binary" | "weight_ternary":
            return integers, weight.fraction_bits
        case "weight_binary" | "both_binary":
            return 2 * integers - 1, 0
        case _:
            raise unsupported(op, f"products of class {product}")


def cast_bias(op: Op, accum: Precision | None) -> tuple[Array, int]:
    """``(accum_t) bias`` as integers and their fraction bits."""
    bias = op.weights["bias"]
    if accum is None:
        return bias.integers, bias.fraction_bits
    values = np.ldexp(bias.integers.astype(np.float64), -bias.fraction_bits)
    return accum.to_integers(values).astype(np.int64), accum.fraction_bits


def add_matches(bias: tuple[Array, int], weights: Array, accum: Precision | None) -> tuple[Array, int]:
    """``[a == w]`` is ``a * (2w - 1) + (1 - w)``; the second term goes into the bias."""
    integers, fraction_bits = bias
    assert accum is not None
    return integers + ((1 - weights).sum(axis=0) << max(fraction_bits, 0)), fraction_bits


def count_to_sum(b: Builder, count: Value, taps: int) -> Value:
    """``cast<ap_uint<1>, ...>`` of ``nnet_mult.h``: matches to a sum of +-1, in ``ap_int<ceillog2(n) + 2>``."""
    total = b.offset(b.times(count, 2), -taps)
    bits = address_bits(taps) + 2
    return b.cast(total, Precision(bits, bits))


def signs(b: Builder, x: Value) -> Value:
    """1-bit data: 0 means -1 and 1 means +1."""
    return b.offset(b.times(x, 2), -1)


def tap_order(op: Op, shape: tuple[int, ...]) -> Array:
    """The order in which hls4ml adds the products of one output.

    Latency adds them as they lie. Resource runs over the reuse factor first: tap ``i`` is added in
    round ``i % reuse_factor`` (``dense_resource_rf_leq_nin``), counted over all channels for a
    depthwise kernel (``depthwise_product_resource_*``).
    """
    taps = shape[0]
    natural = np.arange(taps)
    reuse = int(op.attributes.get("reuse_factor", 1))
    depthwise = op.kind.startswith("Depthwise")
    if depthwise:
        positions = natural[:, np.newaxis] * shape[1] + np.arange(shape[1])
        if is_resource(op):
            return np.argsort(positions % min(reuse, positions.size), axis=0, kind="stable")
        return np.repeat(natural[:, np.newaxis], shape[1], axis=1)
    if is_resource(op) and reuse <= taps:
        return np.argsort(natural % reuse, kind="stable")
    return natural


def is_resource(op: Op) -> bool:
    return str(op.attributes.get("strategy", "")).lower() == "resource"


def window_of(op: Op) -> Window:
    """The window of a convolution or pooling layer."""
    get = op.attributes.get
    axes = ("height", "width") if len(op.shape) == 3 else ("width",)
    sides = {"height": ("top", "bottom"), "width": ("left", "right")}
    kernel = tuple(int(get(f"filt_{axis}") or get(f"pool_{axis}") or 1) for axis in axes)
    return Window(
        kernel=kernel,
        strides=tuple(int(get(f"stride_{axis}", 1)) for axis in axes),
        before=tuple(int(get(f"pad_{sides[axis][0]}", 0)) for axis in axes),
        after=tuple(int(get(f"pad_{sides[axis][1]}", 0)) for axis in axes),
        dilations=tuple(int(get(f"dilation_{axis}") or get("dilation") or 1) for axis in axes),
        out=op.shape[:-1],
    )


def batch_norm(b: Builder, op: Op, inputs: Sequence[Value]) -> Value:
    """``product(data, scale) + bias``, exact until the result type (``normalize``)."""
    x = b.channels_last(inputs[0]) if inputs[0].flat_of else inputs[0]
    product = op.attributes.get("product", "mult")
    scale, bias = op.weights["scale"], op.weights["bias"]
    factors, fraction_bits = as_factors(op, scale, scale.integers, product)
    if product == "both_binary":
        raise unsupported(op, "a scale of 1-bit weights on 1-bit data")
    if product == "data_binary":
        x = signs(b, x)
    shape = per_channel(op, factors.size)
    if len(shape) > 1:
        x = b.channels_last(x)
    scaled = b.multiply(x, b.fixed(factors.ravel(), fraction_bits, shape, like=x))
    return b.cast(b.add(scaled, b.fixed(bias.integers.ravel(), bias.fraction_bits, shape, like=x)), op.result)


def per_channel(op: Op, size: int) -> tuple[int, ...]:
    """Shape of a scale: one per channel, or one per element where there are as many."""
    if size in (1, op.shape[-1]):
        return (size,)
    if size != math.prod(op.shape):
        raise unsupported(op, f"{size} scales for values of shape {op.shape}, {WRONG}")
    return op.shape


LOWERINGS: dict[str, Lowering] = {
    "Dense": dense,
    "Conv1D": convolution,
    "Conv2D": convolution,
    "Conv2DBatchnorm": convolution,
    "PointwiseConv1D": convolution,
    "PointwiseConv2D": convolution,
    "DepthwiseConv1D": depthwise,
    "DepthwiseConv2D": depthwise,
    "BatchNormalization": batch_norm,
    "ApplyAlpha": batch_norm,
}
