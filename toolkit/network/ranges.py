"""Which integers can occur: exact bounds of every tensor, product and partial sum of a network, per channel.

Interval arithmetic in whole numbers, each value free within its range. A sum with constants is bounded with its
own weights, which is attained where its inputs are independent. Emulation chooses carriers by these rules and
lint proves overflows with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from toolkit.network import layers
from toolkit.network.graph import Graph
from toolkit.network.layers import Function, Layer, MergeOperation, Pool
from toolkit.network.values import Array, Product, Tensor
from toolkit.precision import Overflow, Precision, Rounding

Whole = TypeVar("Whole", int, Array)

INT64_BITS = 62  # sums below 2**62 are computed in int64, others in Python's integers


@dataclass(frozen=True, eq=False)
class Range:
    """Lowest and highest integer of each channel (the last axis), in steps of ``2**-fraction_bits``."""

    low: Array  # [channels], Python integers
    high: Array
    fraction_bits: int

    @property
    def real(self) -> tuple[float, float]:
        """Lowest and highest value of any channel."""
        scale = 2.0**-self.fraction_bits
        return int(self.low.min()) * scale, int(self.high.max()) * scale

    def at(self, fraction_bits: int) -> Range:
        """The same numbers in steps of a finer grid."""
        bits = fraction_bits - self.fraction_bits
        return self if bits == 0 else Range(self.low << bits, self.high << bits, fraction_bits)

    def joined(self, *ends: int) -> Range:
        """The range with some whole steps included in every channel."""
        low, high = (np.array(side, object) for side in (self.low, self.high))
        for end in ends:
            low, high = np.minimum(low, end), np.maximum(high, end)
        return Range(low, high, self.fraction_bits)

    def over(self, channels: int) -> Range:
        """The range of all channels together, for so many."""
        return filled(int(self.low.min()), int(self.high.max()), channels, self.fraction_bits)


@dataclass(frozen=True, eq=False)
class SumRange:
    """Bounds of a weighted sum for each output, all in steps of ``2**-fraction_bits``.

    ``low`` and ``high`` bound the whole sum, bias included; ``fall`` and ``rise`` what its products can add up
    to in any order, bias left out; ``product_low`` and ``product_high`` any single product.
    """

    low: Array
    high: Array
    start: Array  # the bias
    fall: Array
    rise: Array
    product_low: int
    product_high: int
    fraction_bits: int

    @property
    def real(self) -> tuple[float, float]:
        """Lowest and highest sum of any output."""
        scale = 2.0**-self.fraction_bits
        return int(self.low.min()) * scale, int(self.high.max()) * scale


@dataclass(frozen=True, eq=False)
class Ranges:
    """Bounds of a network's tensors and, before any cast, of its weighted sums and merges by layer."""

    tensors: Mapping[str, Range]
    sums: Mapping[str, Range | SumRange]


def ranges_of(graph: Graph, given: Mapping[str, tuple[float, float]] | None = None) -> Ranges:
    """The ranges of a network; ``given`` are lowest and highest real values by tensor, in place of what follows."""
    found: dict[str, Range] = {}
    sums: dict[str, Range | SumRange] = {}
    for layer in graph.layers:
        before, after = RULES.get(type(layer), anything)(layer, [found[tensor.name] for tensor in layer.inputs])
        if before is not None:
            sums[layer.name] = before
        for tensor in layer.outputs:
            wanted = (given or {}).get(tensor.name)
            found[tensor.name] = after if wanted is None else within(wanted, tensor)
    return Ranges(found, sums)


def within(real: tuple[float, float], tensor: Tensor) -> Range:
    """A range of real values on a tensor's grid, outwards."""
    scale = 2.0**tensor.precision.fraction_bits
    low, high = int(np.floor(real[0] * scale)), int(np.ceil(real[1] * scale))
    return filled(low, high, tensor.shape[-1], tensor.precision.fraction_bits)


def filled(low: int, high: int, channels: int, fraction_bits: int) -> Range:
    """One range for every channel."""
    return Range(np.full(channels, low, object), np.full(channels, high, object), fraction_bits)


def of_type(tensor: Tensor) -> Range:
    """Everything a tensor's type holds."""
    precision = tensor.precision
    return filled(precision.integer_min, precision.integer_max, tensor.shape[-1], precision.fraction_bits)


# Casting --------------------------------------------------------------------------------------


def round_integer(integer: Whole, drop_bits: int, rounding: Rounding) -> Whole:
    """``integer / 2**drop_bits`` as ``ap_q_mode`` rounds it, in exact arithmetic; also for arrays of integers."""
    if drop_bits <= 0:
        return integer << -drop_bits
    below, remainder = integer >> drop_bits, integer & ((1 << drop_bits) - 1)
    half = 1 << (drop_bits - 1)
    up: Any = False
    match rounding:
        case Rounding.TRN_ZERO:
            up = (integer < 0) & (remainder > 0)
        case Rounding.RND:
            up = remainder >= half
        case Rounding.RND_MIN_INF:
            up = remainder > half
        case Rounding.RND_ZERO:
            up = (remainder > half) | ((remainder == half) & (integer < 0))
        case Rounding.RND_INF:
            up = (remainder > half) | ((remainder == half) & (integer > 0))
        case Rounding.RND_CONV:
            up = (remainder > half) | ((remainder == half) & (below % 2 == 1))
    more: Any = up.astype(object) if isinstance(up, np.ndarray) else up
    result: Whole = below + more
    return result


def cast(values: Range, precision: Precision) -> Range:
    """The range after assignment to a type: rounded, then brought into its range."""
    drop = values.fraction_bits - precision.fraction_bits
    low, high = (round_integer(side, drop, precision.rounding) for side in (values.low, values.high))
    least, most = precision.integer_min, precision.integer_max
    outside = (low < least) | (high > most)
    match precision.overflow:
        case Overflow.SAT | Overflow.SAT_SYM:
            low, high = np.clip(low, least, most), np.clip(high, least, most)
        case Overflow.SAT_ZERO:
            low = np.where(outside, np.maximum(np.minimum(low, 0), least), low)
            high = np.where(outside, np.minimum(np.maximum(high, 0), most), high)
        case Overflow.WRAP:
            low, high = np.where(outside, least, low), np.where(outside, most, high)
    return Range(low.astype(object), high.astype(object), precision.fraction_bits)


# Sums -----------------------------------------------------------------------------------------


def sum_range(
    weights: Array, low: int | Array, high: int | Array, bias: Array, *, shift: int = 0, bias_shift: int = 0
) -> SumRange:
    """Bounds of ``bias + sum_i weights[i, j] * x_i`` for each output j.

    ``low`` and ``high`` bound ``x``: one range for all, or ``[taps, 1]``, or ``[taps, outputs]`` where every output
    has inputs of its own. Products are shifted by ``shift`` bits and the bias by ``bias_shift`` onto one grid, which
    the caller knows (``fraction_bits`` is left 0).
    """
    reach = max(int(np.max(np.abs(side))) for side in (low, high))
    wide = as_wide(weights, reach * (len(weights) + 1))
    small, large = (np.asarray(side, wide.dtype) for side in (low, high))
    ends = np.stack([wide * small, wide * large])
    least, most = ends.min(axis=0), ends.max(axis=0)
    start = bias.astype(object) * (1 << bias_shift)
    total_low, total_high, fall, rise = (
        side.sum(axis=0).astype(object) << shift for side in (least, most, np.minimum(least, 0), np.maximum(most, 0))
    )
    return SumRange(
        low=total_low + start,
        high=total_high + start,
        start=start,
        fall=fall,
        rise=rise,
        product_low=int(least.min()) << shift,
        product_high=int(most.max()) << shift,
        fraction_bits=0,
    )


def as_wide(weights: Array, factor: int) -> Array:
    """int64 if products and sums fit in it, Python integers otherwise."""
    largest = max((abs(int(weight)) for weight in (weights.min(initial=0), weights.max(initial=0))), default=0)
    return weights.astype(np.int64 if max(largest, 1) * max(factor, 1) < 2**INT64_BITS else object)


# Rules by kind of layer -----------------------------------------------------------------------

# From a layer and the ranges of its inputs to the range before its result's cast, where it is a sum that a type
# may not hold, and the range of its result.
Rule = Callable[[Any, Sequence[Range]], tuple[Range | SumRange | None, Range]]


def anything(layer: Layer, inputs: Sequence[Range]) -> tuple[None, Range]:
    """Only the type is known."""
    return None, of_type(layer.outputs[0])


def matrix(layer: layers.Matrix, inputs: Sequence[Range]) -> tuple[SumRange | None, Range]:
    """A weighted sum, kept in the accumulator."""
    if layer.product is not Product.MULT:
        return anything(layer, inputs)
    x, window = inputs[0], layer.window if isinstance(layer, layers.Convolutional) else None
    x = x.joined(0) if window is not None and window.padded else x
    if isinstance(layer, layers.Depthwise):
        if layer.multiplier != 1:
            return anything(layer, inputs)
        weights, low, high = layer.weight.integers.reshape(-1, layer.shape[-1]), x.low, x.high
    else:
        weights = layer.weight.integers.reshape(-1, layer.shape[-1])
        repeats = len(weights) // len(x.low)
        low, high = (np.tile(side, repeats)[:, np.newaxis] for side in (x.low, x.high))
    bias, bias_bits = started(layer)
    products = x.fraction_bits + layer.weight.fraction_bits
    grid = max(products, bias_bits)
    found = sum_range(weights, low, high, bias, shift=grid - products, bias_shift=grid - bias_bits)
    found = SumRange(**{**vars(found), "fraction_bits": grid})
    total = Range(found.low, found.high, grid)
    if not layer.distributed:
        total = accumulated(found, total, products, layer.accum)
    return found, cast(total, layer.result)


def started(layer: layers.Matrix) -> tuple[Array, int]:
    """What the sum starts with, and its fraction bits: the bias as the accumulator holds it."""
    if layer.bias is None:
        return np.zeros(layer.shape[-1], object), 0
    if layer.distributed:
        return layer.bias.integers.astype(object), layer.bias.fraction_bits
    held = layer.accum.to_integers(layer.bias.values)
    return held.astype(np.int64).astype(object), layer.accum.fraction_bits


def accumulated(found: SumRange, total: Range, product_bits: int, accum: Precision) -> Range:
    """The sum as the accumulator ends up with it, every product and partial sum cast to it.

    Exact where casting changes nothing but the last wrap; else whatever the accumulator holds.
    """
    anywhere = filled(accum.integer_min, accum.integer_max, len(total.low), accum.fraction_bits)
    if product_bits > accum.fraction_bits:
        return anywhere
    if accum.overflow is Overflow.WRAP:
        return cast(total, accum)
    lowest = min(int((found.start + found.fall).min()), found.product_low)
    highest = max(int((found.start + found.rise).max()), found.product_high)
    return total if accum.integer_min <= lowest and highest <= accum.integer_max else anywhere


def scale(layer: layers.Scale, inputs: Sequence[Range]) -> tuple[Range | None, Range]:
    """``scale * x + bias`` per channel, or per element."""
    x, factors, bias = inputs[0], layer.scale.integers.astype(object), layer.bias.integers.astype(object)
    if layer.product is not Product.MULT or (factors.size % len(x.low) and factors.size != 1):
        return anything(layer, inputs)
    factors, bias = factors.reshape(-1, min(len(x.low), factors.size)), bias.reshape(-1, min(len(x.low), bias.size))
    ends = [factors * x.low, factors * x.high]
    products = x.fraction_bits + layer.scale.fraction_bits
    grid = max(products, layer.bias.fraction_bits)
    up, start = grid - products, bias << (grid - layer.bias.fraction_bits)
    low = ((np.minimum(*ends) << up) + start).min(axis=0)
    high = ((np.maximum(*ends) << up) + start).max(axis=0)
    found = Range(low, high, grid)
    return found, cast(found, layer.result)


def activation(layer: layers.Activation, inputs: Sequence[Range]) -> tuple[None, Range]:
    x = inputs[0]
    match layer.function:
        case Function.LINEAR:
            return None, cast(x, layer.result)
        case Function.RELU:
            return None, cast(Range(np.maximum(x.low, 0), np.maximum(x.high, 0), x.fraction_bits), layer.result)
        case Function.RELU1 | Function.RELU6:
            finer = x.at(max(x.fraction_bits, 0))
            most = (1 if layer.function is Function.RELU1 else 6) << finer.fraction_bits
            low, high = (np.clip(side, 0, most) for side in (finer.low, finer.high))
            return None, cast(Range(low, high, finer.fraction_bits), layer.result)
    return anything(layer, inputs)


def hard_activation(layer: layers.HardActivation, inputs: Sequence[Range]) -> tuple[None, Range]:
    least = 0 if layer.function is layers.HardFunction.SIGMOID else -1
    return None, cast(filled(least, 1, len(inputs[0].low), 0), layer.result)


def table(layer: layers.TableActivation, inputs: Sequence[Range]) -> tuple[None, Range]:
    """Any entry that the table's type holds; selu passes values above zero on."""
    if layer.function is layers.TableFunction.SELU:
        return anything(layer, inputs)
    entries = filled(layer.table.integer_min, layer.table.integer_max, len(inputs[0].low), layer.table.fraction_bits)
    return None, cast(entries, layer.result)


def leaky(x: Range, least: int, most: int, fraction_bits: int) -> Range:
    """``x`` where it is positive, else ``x`` times a slope between two integers; nothing positive: zero at most."""
    up = Range(np.maximum(x.low, 0), np.maximum(x.high, 0), x.fraction_bits).at(x.fraction_bits + fraction_bits)
    below = [np.minimum(side, 0) * slope for side in (x.low, x.high) for slope in (least, most)]
    low, high = np.minimum.reduce([up.low, *below]), np.maximum.reduce([up.high, *below])
    return Range(low, high, up.fraction_bits)


def leaky_relu(layer: layers.LeakyRelu, inputs: Sequence[Range]) -> tuple[None, Range]:
    slope, bits = layer.slope.integer, layer.slope.precision.fraction_bits
    if bits < 0:
        return anything(layer, inputs)
    return None, cast(leaky(inputs[0], slope, slope, bits), layer.result)


def prelu(layer: layers.Prelu, inputs: Sequence[Range]) -> tuple[None, Range]:
    if layer.slope.fraction_bits < 0:
        return anything(layer, inputs)
    slopes = int(layer.slope.integers.min()), int(layer.slope.integers.max())
    return None, cast(leaky(inputs[0], *slopes, layer.slope.fraction_bits), layer.result)


def thresholded_relu(layer: layers.ThresholdedRelu, inputs: Sequence[Range]) -> tuple[None, Range]:
    return None, cast(inputs[0].joined(0), layer.result)


def bit_table(layer: layers.BitTable, inputs: Sequence[Range]) -> tuple[None, Range]:
    low, high = int(layer.table.integers.min()), int(layer.table.integers.max())
    return None, cast(filled(low, high, len(inputs[0].low), layer.table.fraction_bits), layer.result)


def pooling(layer: layers.Pooling | layers.GlobalPooling, inputs: Sequence[Range]) -> tuple[None, Range]:
    """A maximum is one of its values; a mean lies between them where its sum fits the accumulator."""
    x, accum = inputs[0], layer.accum
    window = layer.window if isinstance(layer, layers.Pooling) else None
    size = layer.pixels if isinstance(layer, layers.GlobalPooling) else layer.window.size
    if layer.operation is Pool.MAX:
        if window is not None and window.padded and not layer.source.precision.signed:
            return anything(layer, inputs)  # hls4ml pads with the middle of an unsigned type
        return None, cast(cast(x, accum), layer.result)
    if window is not None and window.padded:
        x = x.joined(0)
    drop = x.fraction_bits - accum.fraction_bits
    low, high = round_integer(x.low, drop, Rounding.TRN), -round_integer(-x.high, drop, Rounding.TRN)
    if (np.minimum(low, 0) * size < accum.integer_min).any() or (np.maximum(high, 0) * size > accum.integer_max).any():
        return None, cast(filled(accum.integer_min, accum.integer_max, len(x.low), accum.fraction_bits), layer.result)
    return None, cast(Range(low, high, accum.fraction_bits), layer.result)


def merge(layer: layers.Merge, inputs: Sequence[Range]) -> tuple[Range | None, Range]:
    """Element by element; inputs of other channels are taken together."""
    channels = layer.shape[-1]
    grid = max(one.fraction_bits for one in inputs)
    a, b = ((one if len(one.low) == channels else one.over(channels)).at(grid) for one in inputs)
    if layer.operation in (MergeOperation.ADD, MergeOperation.AVERAGE):
        found = Range(a.low + b.low, a.high + b.high, grid + (layer.operation is MergeOperation.AVERAGE))
    elif layer.operation is MergeOperation.SUBTRACT:
        found = Range(a.low - b.high, a.high - b.low, grid)
    elif layer.operation is MergeOperation.MULTIPLY:
        ends = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
        found = Range(np.minimum.reduce(ends), np.maximum.reduce(ends), 2 * grid)
    else:
        found = Range(np.minimum(a.low, b.low), np.maximum(a.high, b.high), grid)
    kept = layer.operation in (MergeOperation.ADD, MergeOperation.SUBTRACT)
    return found if kept else None, cast(found, layer.result)


def concatenate(layer: layers.Concatenate, inputs: Sequence[Range]) -> tuple[None, Range]:
    grid = max(one.fraction_bits for one in inputs)
    parts = [one.at(grid) for one in inputs]
    if layer.axis == len(layer.shape) - 1:
        low, high = (np.concatenate([getattr(one, side) for one in parts]) for side in ("low", "high"))
    else:
        low, high = np.minimum.reduce([one.low for one in parts]), np.maximum.reduce([one.high for one in parts])
    return None, cast(Range(low, high, grid), layer.result)


def moved(layer: layers.Moving, inputs: Sequence[Range]) -> tuple[None, Range]:
    """Values in other places: channels keep their ranges where they stay the last axis."""
    x, channels = inputs[0], layer.shape[-1]
    flat = isinstance(layer, layers.InOrder) and len(layer.shape) == 1
    if isinstance(layer, layers.ZeroPadding):
        x = x.joined(0)
    stays = not isinstance(layer, layers.Transpose) or layer.perm[-1] == len(layer.perm) - 1
    if flat:
        repeats = channels // len(x.low)
        x = Range(np.tile(x.low, repeats), np.tile(x.high, repeats), x.fraction_bits)
    elif not stays or channels != len(x.low):
        x = x.over(channels)
    return None, cast(x, layer.result)


RULES: dict[type[Layer], Rule] = {
    **dict.fromkeys((layers.Dense, layers.Convolution, layers.Pointwise, layers.Depthwise), matrix),
    layers.Scale: scale,
    layers.Activation: activation,
    layers.HardActivation: hard_activation,
    layers.TableActivation: table,
    layers.LeakyRelu: leaky_relu,
    layers.ThresholdedRelu: thresholded_relu,
    layers.Prelu: prelu,
    layers.BitTable: bit_table,
    **dict.fromkeys((layers.Pooling, layers.GlobalPooling), pooling),
    layers.Merge: merge,
    layers.Concatenate: concatenate,
    **dict.fromkeys(
        (
            *(layers.Reshape, layers.Repack, layers.Transpose, layers.ZeroPadding),
            *(layers.Cropping, layers.Resize, layers.Clone, layers.Broadcast),
        ),
        moved,
    ),
    # Nothing is known but the type of the result.
    **dict.fromkeys(
        (
            *(layers.Input, layers.Constant, layers.Elu, layers.Threshold, layers.Quantize),
            *(layers.Softmax, layers.Dot, layers.Unknown),
        ),
        anything,
    ),
}
