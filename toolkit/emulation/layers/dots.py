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
from toolkit.emulation.sums import Kernel, weighted_sum
from toolkit.emulation.tables import address_bits
from toolkit.emulation.values import Value
from toolkit.network.layers import Convolution, Convolutional, Dense, Depthwise, Layer, Matrix, Pointwise, Scale
from toolkit.network.values import Product, Strategy, Weight, Window
from toolkit.precision import Precision

Array = npt.NDArray[Any]


def dense(b: Builder, op: Dense, inputs: Sequence[Value]) -> Value:
    """A matrix product over the last axis."""
    return dot(b, op, inputs[0], op.weight.integers, None)


def convolution(b: Builder, op: Convolutional, inputs: Sequence[Value]) -> Value:
    """Plain convolutions and their pointwise form."""
    return dot(b, op, inputs[0], op.weight.integers.reshape(-1, op.shape[-1]), op.window)


def depthwise(b: Builder, op: Depthwise, inputs: Sequence[Value]) -> Value:
    """Depthwise convolutions with a depth multiplier of one, all that hls4ml has."""
    if op.multiplier != 1:
        raise unsupported(op, f"more than one filter per channel, {WRONG}")
    return dot(b, op, inputs[0], op.weight.integers.reshape(-1, op.shape[-1]), op.window)


def dot(b: Builder, op: Matrix, x: Value, weights: Array, window: Window | None) -> Value:
    """Products by hls4ml's product class, summed in the accumulator, cast to the result."""
    accum = None if op.distributed else op.accum
    factors, fraction_bits = as_factors(op, op.weight, weights, op.product)
    bias = cast_bias(op, accum)
    if op.product is Product.BOTH_BINARY:
        bias = add_matches(bias, weights, accum)
    if op.product is Product.DATA_BINARY:
        x = signs(b, x)
    order, channels = tap_order(op, factors.shape), isinstance(op, Depthwise)
    kernel = Kernel(*reduce_grid(factors, fraction_bits), *reduce_grid(*bias), order=order, depthwise=channels)
    total = weighted_sum(b, x, kernel, window, accum)
    if op.product is Product.BOTH_BINARY:
        total = count_to_sum(b, total, len(weights))
    return b.cast(total, op.result)


def as_factors(op: Layer, weight: Weight, integers: Array, product: Product) -> tuple[Array, int]:
    """What the input is multiplied by: for 1-bit weights 0 means -1 and 1 means +1."""
    match product:
        case Product.MULT | Product.DATA_BINARY | Product.WEIGHT_TERNARY:
            return integers, weight.fraction_bits
        case Product.WEIGHT_BINARY | Product.BOTH_BINARY:
            return 2 * integers - 1, 0
        case _:
            raise unsupported(op, f"products of class {product}")


def cast_bias(op: Matrix, accum: Precision | None) -> tuple[Array, int]:
    """``(accum_t) bias`` as integers and their fraction bits."""
    if op.bias is None:
        return np.zeros(op.shape[-1], np.int64), 0
    if accum is None:
        return op.bias.integers, op.bias.fraction_bits
    return accum.to_integers(op.bias.values).astype(np.int64), accum.fraction_bits


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


def tap_order(op: Matrix, shape: tuple[int, ...]) -> Array:
    """The order in which hls4ml adds the products of one output.

    Latency adds them as they lie. Resource runs over the reuse factor first: tap ``i`` is added in
    round ``i % reuse_factor`` (``dense_resource_rf_leq_nin``), counted over all channels for a
    depthwise kernel (``depthwise_product_resource_*``).
    """
    taps = shape[0]
    natural = np.arange(taps)
    reuse, resource = op.build.reuse_factor or 1, op.build.strategy is Strategy.RESOURCE
    if isinstance(op, Depthwise):
        positions = natural[:, np.newaxis] * shape[1] + np.arange(shape[1])
        if resource:
            return np.argsort(positions % min(reuse, positions.size), axis=0, kind="stable")
        return np.repeat(natural[:, np.newaxis], shape[1], axis=1)
    if resource and reuse <= taps:
        return np.argsort(natural % reuse, kind="stable")
    return natural


def batch_norm(b: Builder, op: Scale, inputs: Sequence[Value]) -> Value:
    """``product(data, scale) + bias``, exact until the result type (``normalize``)."""
    x = b.channels_last(inputs[0]) if inputs[0].flat_of else inputs[0]
    scale, bias = op.scale, op.bias
    factors, fraction_bits = as_factors(op, scale, scale.integers, op.product)
    if op.product is Product.BOTH_BINARY:
        raise unsupported(op, "a scale of 1-bit weights on 1-bit data")
    if op.product is Product.DATA_BINARY:
        x = signs(b, x)
    shape = per_channel(op, factors.size)
    if len(shape) > 1:
        x = b.channels_last(x)
    scaled = b.multiply(x, b.fixed(factors.ravel(), fraction_bits, shape, like=x))
    return b.cast(b.add(scaled, b.fixed(bias.integers.ravel(), bias.fraction_bits, shape, like=x)), op.result)


def per_channel(op: Scale, size: int) -> tuple[int, ...]:
    """Shape of a scale: one per channel, or one per element where there are as many."""
    if size in (1, op.shape[-1]):
        return (size,)
    if size != math.prod(op.shape):
        raise unsupported(op, f"{size} scales for values of shape {op.shape}, {WRONG}")
    return op.shape


LOWERINGS: dict[type[Layer], Lowering] = {
    Dense: dense,
    Convolution: convolution,
    Pointwise: convolution,
    Depthwise: depthwise,
    Scale: batch_norm,
}
