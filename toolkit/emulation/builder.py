"""Exact fixed-point arithmetic as ONNX nodes.

Every method takes and returns :class:`~toolkit.emulation.values.Value` and keeps the proof: the
range of integers a tensor can hold decides its carrier, and an operation whose result needs more
than the carrier has moves to the next. Casting follows ``ap_fixed_base::operator=`` of hls4ml's
``ap_types/ap_fixed_base.h``: round onto the type's grid, then handle what lies outside its range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, helper, numpy_helper

from toolkit.emulation.values import LIMIT, Carrier, Deferred, RangeTooWide, Value, narrowest
from toolkit.network.ranges import round_integer
from toolkit.precision import Overflow, Precision, Rounding

Array = npt.NDArray[Any]

NUMPY_TYPE: dict[Carrier, type[np.generic]] = {
    Carrier.FLOAT32: np.float32,
    Carrier.FLOAT64: np.float64,
    Carrier.INT64: np.int64,
}
ONNX_TYPE = {
    Carrier.FLOAT32: TensorProto.FLOAT,
    Carrier.FLOAT64: TensorProto.DOUBLE,
    Carrier.INT64: TensorProto.INT64,
}
CARRIERS = list(Carrier)
HALFLESS = (Rounding.TRN, Rounding.TRN_ZERO, Rounding.RND_CONV)  # emitted without adding a half


@dataclass(frozen=True)
class Tally:
    """A scalar graph output: how many values of a layer left their type's range, and whether they wrapped."""

    layer: str
    output: str
    wraps: bool


class Builder:
    """Collects the nodes and constants of one ONNX graph."""

    def __init__(self, *, io_stream: bool = False, count_overflows: bool = False, prefix: str = "") -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, Array] = {}
        self.tallies: list[Tally] = []
        self.layer = ""
        self.widest = Carrier.FLOAT32
        self.io_stream = io_stream  # some layers compute otherwise over streams
        self.count_overflows = count_overflows
        self.prefix = prefix
        self.forced: dict[tuple[Value, bool], Value] = {}
        self.scalars: dict[tuple[Carrier, float], str] = {}
        self.orders: dict[str, bool] = {}  # conditions: whether they are stored channels first

    # Nodes and constants.

    def name(self, stem: str) -> str:
        """A tensor name not used before."""
        return f"{self.prefix}{self.layer}/{stem}_{len(self.nodes)}_{len(self.constants)}"

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """Add a node; returns its (first) output."""
        names = [self.name(kind) + (f"_{index}" if index else "") for index in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0]

    def constant(self, values: npt.ArrayLike, dtype: npt.DTypeLike) -> str:
        """Add a constant tensor."""
        array = np.asarray(values, dtype)
        name = self.name("constant")
        self.constants[name] = array
        return name

    def scalar(self, carrier: Carrier, number: float) -> str:
        """A scalar constant of a carrier, shared between uses."""
        key = (carrier, number)
        if key not in self.scalars:
            self.scalars[key] = self.constant(number, NUMPY_TYPE[carrier])
        return self.scalars[key]

    def initializers(self) -> list[TensorProto]:
        """The constants as ONNX initializers."""
        return [numpy_helper.from_array(array, name) for name, array in self.constants.items()]

    def carry(self, low: int, high: int, at_least: Carrier) -> Carrier:
        """The carrier for a range, noted in the proof of the current layer."""
        carrier = narrowest(low, high, at_least)
        if CARRIERS.index(carrier) > CARRIERS.index(self.widest):
            self.widest = carrier
        return carrier

    # Storage: pending steps, scale, carrier, axis order.

    def base(self, value: Value) -> Value:
        """The value with its products emitted, scaled to its grid and clipped, its rounding still pending."""
        tensor, scale_bits = value.tensor, value.scale_bits
        if isinstance(tensor, Deferred):
            scale_bits = value.fraction_bits if value.carrier is not Carrier.INT64 else scale_bits
            tensor = tensor.emit(scale_bits)
        elif value.rounding is not None and scale_bits != value.fraction_bits:
            tensor = self.scale(tensor, value.carrier, value.fraction_bits - scale_bits)
            scale_bits = value.fraction_bits
        if value.clip is not None:
            low, high = (self.scalar(value.carrier, self.stored(end, value, scale_bits)) for end in value.clip)
            tensor = self.node("Clip", tensor, low, high)
        return value.change(tensor=tensor, scale_bits=scale_bits, clip=None)

    def force(self, value: Value, *, plain: bool = False) -> Value:
        """The value with nothing pending; ``plain`` also brings the stored scale to the grid."""
        key = (value, plain)
        if key not in self.forced:
            self.forced[key] = self.emit(value, plain)
        return self.forced[key]

    def emit(self, value: Value, plain: bool) -> Value:
        done = self.base(value)
        if done.rounding is not None:
            negative = done.signs[0] and (value.clip is None or value.clip[0] < 0)
            positive = done.signs[1] and (value.clip is None or value.clip[1] > 0)
            tensor = self.round_floats(str(done.tensor), done.rounding, done.carrier, negative, positive)
            done = done.change(tensor=tensor, rounding=None)
        if plain and done.scale_bits != done.fraction_bits:
            tensor = self.scale(str(done.tensor), done.carrier, done.fraction_bits - done.scale_bits)
            done = done.change(tensor=tensor, scale_bits=done.fraction_bits)
        return done

    def plain(self, value: Value) -> Value:
        """Stored numbers are the integers themselves."""
        return self.force(value, plain=True)

    def scale(self, tensor: str, carrier: Carrier, bits: int) -> str:
        """Stored numbers times ``2**bits``."""
        if bits == 0:
            return tensor
        if carrier is Carrier.INT64 and bits < 0:
            return self.node("Div", tensor, self.scalar(carrier, 2**-bits))
        return self.node("Mul", tensor, self.scalar(carrier, 2**bits if bits > 0 else 2.0**bits))

    @staticmethod
    def stored(integer: int, value: Value, scale_bits: int) -> float:
        """How a tensor at ``scale_bits`` stores ``integer`` grid steps of ``value``."""
        bits = scale_bits - value.fraction_bits
        return integer << bits if bits >= 0 else integer * 2.0**bits

    def convert(self, value: Value, carrier: Carrier) -> Value:
        """The value in another carrier (which must hold its range)."""
        if value.carrier is carrier:
            return value
        whole = self.plain(value) if Carrier.INT64 in (carrier, value.carrier) else self.force(value)
        self.carry(0, 0, carrier)
        return whole.change(tensor=self.node("Cast", str(whole.tensor), to=ONNX_TYPE[carrier]), carrier=carrier)

    def widen(self, value: Value, low: int, high: int) -> Value:
        """The value in a carrier that also holds ``low`` and ``high``."""
        return self.convert(value, self.carry(min(low, value.low), max(high, value.high), value.carrier))

    def narrow(self, value: Value) -> Value:
        """The value in float32 where that holds its range: half the memory, and sums that ONNX Runtime does best."""
        if value.carrier is Carrier.FLOAT32 or max(-value.low, value.high) > LIMIT[Carrier.FLOAT32]:
            return value
        return self.convert(value, Carrier.FLOAT32)

    def channels_last(self, value: Value) -> Value:
        """The value stored in hls4ml's axis order."""
        if not value.channels_first and value.flat_of is None:
            return value
        done = self.force(value)
        shape = done.flat_of or done.shape
        tensor = str(done.tensor)
        if done.flat_of is not None:
            tensor = self.reshape(tensor, (shape[-1], *shape[:-1]))
        tensor = self.node("Transpose", tensor, perm=[0, *range(2, len(shape) + 1), 1])
        if done.flat_of is not None:
            tensor = self.reshape(tensor, done.shape)
        return done.change(tensor=tensor, channels_first=False, flat_of=None)

    def channels_first(self, value: Value) -> Value:
        """The value stored channels first, as convolutions of ONNX take it."""
        if value.channels_first:
            return value
        done = self.force(self.channels_last(value))
        rank = len(done.shape)
        tensor = self.node("Transpose", str(done.tensor), perm=[0, rank, *range(1, rank)])
        return done.change(tensor=tensor, channels_first=True)

    def sum_taps(self, tensor: str, carrier: Carrier, taps: int) -> str:
        """``[..., taps, columns]`` summed over the taps, which stay as an axis of one.

        A product with ones, because ONNX Runtime adds int64 as doubles in ``ReduceSum``.
        """
        return self.node("MatMul", self.constant(np.ones((1, taps)), NUMPY_TYPE[carrier]), tensor)

    def reshape(self, tensor: str, shape: Sequence[int]) -> str:
        """Reshape behind the batch axis."""
        return self.node("Reshape", tensor, self.constant([-1, *shape], np.int64))

    # Casting.

    def cast(self, value: Value, precision: Precision) -> Value:
        """The value converted to ``precision`` as C++ assignment does."""
        return self.overflow(self.round(value, precision.fraction_bits, precision.rounding), precision)

    def round(self, value: Value, fraction_bits: int, rounding: Rounding) -> Value:
        """The value rounded onto a coarser grid; unchanged when its own is not finer."""
        drop = value.fraction_bits - fraction_bits
        if drop <= 0:
            return value
        if value.rounding is not None:
            value = self.force(value)
        reach = 0 if rounding in HALFLESS else 1 << (drop - 1)  # what adding a half may need
        value = self.widen(value, value.low - reach, value.high + reach)
        ends = [round_integer(end, drop, rounding) for end in (value.low, value.high)]
        rounded = value.change(fraction_bits=fraction_bits, low=ends[0], high=ends[1])
        if value.carrier is Carrier.INT64:
            done = self.plain(value)
            tensor = self.round_integers(str(done.tensor), drop, rounding)
            return rounded.change(tensor=tensor, scale_bits=fraction_bits, clip=None)
        if value.clip is not None:
            clip = tuple(round_integer(end, drop, rounding) for end in value.clip)
            rounded = rounded.change(clip=clip)
        return rounded.change(rounding=rounding, signs=(value.low < 0, value.high > 0))

    def regrid(self, value: Value, fraction_bits: int) -> Value:
        """The same numbers counted in steps of a finer grid; nothing is emitted for floats."""
        bits = fraction_bits - value.fraction_bits
        if bits == 0:
            return value
        if value.rounding is not None:
            value = self.force(value)
        clip = None if value.clip is None else (value.clip[0] << bits, value.clip[1] << bits)
        finer = value.change(fraction_bits=fraction_bits, low=value.low << bits, high=value.high << bits, clip=clip)
        if value.carrier is Carrier.INT64:
            done = self.plain(value)
            narrowest(finer.low, finer.high)
            tensor = self.scale(str(done.tensor), done.carrier, bits)
            return finer.change(tensor=tensor, scale_bits=fraction_bits, clip=None)
        return finer

    def overflow(self, value: Value, precision: Precision) -> Value:
        """The value brought into the range of ``precision``, whose grid is not coarser."""
        bits = precision.fraction_bits - value.fraction_bits
        low, high = precision.integer_min, precision.integer_max
        if low <= value.low << bits and value.high << bits <= high:
            return value
        if precision.overflow is Overflow.WRAP and precision.saturation_bits:
            raise RangeTooWide(f"wrapping with saturation bits is not emulated, got {precision}")
        value = self.regrid(value, precision.fraction_bits)
        if self.count_overflows:
            value = self.tally(value, low, high, wraps=precision.overflow is Overflow.WRAP)
        match precision.overflow:
            case Overflow.SAT | Overflow.SAT_SYM:
                return self.clip(value, low, high)
            case Overflow.SAT_ZERO:
                return self.zero_outside(value, low, high)
            case Overflow.WRAP:
                return self.wrap(value, low, high)

    def tally(self, value: Value, low: int, high: int, *, wraps: bool) -> Value:
        """Count, as a graph output, how many numbers lie outside the range."""
        done = self.force(value)
        inside = self.between(done, low, high)
        outside = self.node("Cast", self.node("Not", inside), to=TensorProto.FLOAT)
        axes = self.constant([0], np.int64)
        flat = self.node("Reshape", outside, self.constant([-1], np.int64))
        self.tallies.append(Tally(self.layer, self.node("ReduceSum", flat, axes, keepdims=0), wraps))
        return done

    def between(self, value: Value, low: int, high: int) -> str:
        """Boolean tensor: ``low <= value <= high`` in grid steps (``value`` has nothing pending)."""
        above = self.node("GreaterOrEqual", str(value.tensor), self.bound(value, low, math.inf))
        return self.node("And", above, self.node("LessOrEqual", str(value.tensor), self.bound(value, high, -math.inf)))

    def bound(self, value: Value, end: int, towards: float) -> str:
        """A bound as the carrier stores it; one that it cannot hold becomes the next number it can."""
        stored = self.stored(end, value, value.scale_bits)
        if value.carrier is Carrier.INT64:
            return self.scalar(value.carrier, stored)
        kind = np.dtype(NUMPY_TYPE[value.carrier])
        number = np.asarray(stored, kind)
        beyond = number.item() > stored if towards < 0 else number.item() < stored  # Python compares exactly
        return self.scalar(value.carrier, np.nextafter(number, kind.type(towards)).item() if beyond else number.item())

    def clip(self, value: Value, low: int, high: int) -> Value:
        """The value clipped to a range of grid steps."""
        ends = min(max(value.low, low), high), min(max(value.high, low), high)
        if ends == (value.low, value.high):
            return value
        bounds = (low, high) if value.clip is None else tuple(min(max(end, low), high) for end in value.clip)
        clipped = value.change(low=ends[0], high=ends[1], clip=bounds)
        return clipped if max(-ends[0], ends[1]) <= LIMIT[value.carrier] else self.widen_clip(value, clipped)

    def widen_clip(self, value: Value, clipped: Value) -> Value:
        """Clip in a wider carrier: a bound lies between the numbers the narrow one holds.

        Powers of two outside the bounds, which the narrow one does hold, first keep the range in reach.
        """
        reach = 1 << max(-clipped.low, clipped.high).bit_length()
        done = self.force(value)
        if max(-done.low, done.high) > reach:
            ends = (max(done.low, -reach), min(done.high, reach))
            done = self.force(done.change(low=ends[0], high=ends[1], clip=(-reach, reach)))
        wide = self.convert(done, narrowest(done.low, done.high, value.carrier))
        return wide.change(low=clipped.low, high=clipped.high, clip=clipped.clip)

    def zero_outside(self, value: Value, low: int, high: int) -> Value:
        """Numbers outside the range become zero."""
        done = self.force(value)
        zero = self.scalar(done.carrier, 0)
        tensor = self.node("Where", self.between(done, low, high), str(done.tensor), zero)
        return done.change(tensor=tensor, low=max(low, min(done.low, 0)), high=min(high, max(done.high, 0)))

    def wrap(self, value: Value, low: int, high: int) -> Value:
        """Numbers outside the range lose the bits above it."""
        span = high - low + 1
        if value.carrier is not Carrier.INT64 and max(low - value.low, value.high - low) > LIMIT[Carrier.INT64]:
            value = self.remainder(value, span)
        value = self.plain(self.widen(value, value.low - low, value.high - low))
        carrier, tensor = value.carrier, str(value.tensor)
        above = self.node("Sub", tensor, self.scalar(carrier, low)) if low else tensor
        if carrier is Carrier.INT64:
            inside = self.node("Mod", above, self.scalar(carrier, span))
            tensor = self.node("Add", inside, self.scalar(carrier, low))
        else:
            turns = self.node("Floor", self.node("Mul", above, self.scalar(carrier, 1 / span)))
            tensor = self.node("Sub", tensor, self.node("Mul", turns, self.scalar(carrier, span)))
        return value.change(tensor=tensor, low=low, high=high)

    def remainder(self, value: Value, span: int) -> Value:
        """Floats without whole multiples of ``span``, a power of two, which changes nothing that wraps there."""
        done = self.force(value)
        tensor = self.node("Mod", str(done.tensor), self.bound(done, span, -math.inf), fmod=1)
        return done.change(tensor=tensor, low=max(done.low, 1 - span), high=min(done.high, span - 1))

    def round_floats(
        self, tensor: str, rounding: Rounding, carrier: Carrier, negative: bool = True, positive: bool = True
    ) -> str:
        """Whole numbers from stored floats, of which some may be negative or positive."""
        match rounding:
            case Rounding.TRN:
                return self.node("Floor", tensor)
            case Rounding.RND_CONV:
                return self.node("Round", tensor)
            case Rounding.RND:
                return self.half_up(tensor, carrier)
            case Rounding.RND_MIN_INF:
                return self.half_down(tensor, carrier)
            case Rounding.TRN_ZERO:
                return self.truncate(tensor, carrier, negative, positive)
            case Rounding.RND_ZERO:
                below, above = self.half_up, self.half_down
            case Rounding.RND_INF:
                below, above = self.half_down, self.half_up
        if not negative:
            return above(tensor, carrier)
        if not positive:
            return below(tensor, carrier)
        sign = self.node("Greater", tensor, self.scalar(carrier, 0))
        return self.node("Where", sign, above(tensor, carrier), below(tensor, carrier))

    def half_up(self, tensor: str, carrier: Carrier) -> str:
        return self.node("Floor", self.node("Add", tensor, self.scalar(carrier, 0.5)))

    def half_down(self, tensor: str, carrier: Carrier) -> str:
        return self.node("Ceil", self.node("Sub", tensor, self.scalar(carrier, 0.5)))

    def truncate(self, tensor: str, carrier: Carrier, negative: bool = True, positive: bool = True) -> str:
        """Stored floats towards zero."""
        if not negative:
            return self.node("Floor", tensor)
        if not positive:
            return self.node("Ceil", tensor)
        sign = self.node("Greater", tensor, self.scalar(carrier, 0))
        return self.node("Where", sign, self.node("Floor", tensor), self.node("Ceil", tensor))

    def round_integers(self, tensor: str, drop: int, rounding: Rounding) -> str:
        """``tensor / 2**drop`` rounded, for an int64 tensor."""
        half = 1 << (drop - 1)
        match rounding:
            case Rounding.TRN:
                return self.floor_divide(tensor, 1 << drop)
            case Rounding.TRN_ZERO:
                return self.node("Div", tensor, self.scalar(Carrier.INT64, 1 << drop))
            case Rounding.RND | Rounding.RND_MIN_INF:
                return self.round_half(tensor, drop, half - (rounding is Rounding.RND_MIN_INF))
            case Rounding.RND_ZERO | Rounding.RND_INF:
                outward = rounding is Rounding.RND_INF
                sign = self.node("Greater", tensor, self.scalar(Carrier.INT64, 0))
                above = self.round_half(tensor, drop, half - (not outward))
                return self.node("Where", sign, above, self.round_half(tensor, drop, half - outward))
            case Rounding.RND_CONV:
                below = self.floor_divide(tensor, 1 << drop)
                odd = self.node("Mod", below, self.scalar(Carrier.INT64, 2))
                return self.floor_divide(
                    self.node("Add", self.node("Add", tensor, odd), self.scalar(Carrier.INT64, half - 1)), 1 << drop
                )

    def round_half(self, tensor: str, drop: int, offset: int) -> str:
        return self.floor_divide(self.node("Add", tensor, self.scalar(Carrier.INT64, offset)), 1 << drop)

    def floor_divide(self, tensor: str, divisor: int) -> str:
        """Integer division towards minus infinity, for an int64 tensor."""
        by = self.scalar(Carrier.INT64, divisor)
        return self.node("Div", self.node("Sub", tensor, self.node("Mod", tensor, by)), by)

    # Arithmetic.

    def aligned(self, *values: Value) -> list[Value]:
        """The values stored alike: same axis order, same grid, same scale, one carrier for all."""
        first = all(value.channels_first for value in values)
        ordered = [value if first else self.channels_last(value) for value in values]
        grid = max(value.fraction_bits for value in ordered)
        finest = [self.regrid(value, grid) for value in ordered]
        low, high = min(value.low for value in finest), max(value.high for value in finest)
        carrier = self.carry(low, high, max((value.carrier for value in finest), key=CARRIERS.index))
        return [self.plain(self.convert(value, carrier)) for value in finest]

    def add(self, left: Value, right: Value) -> Value:
        """The exact sum; shapes broadcast as ONNX does."""
        return self.combine("Add", left, right, lambda a, b: a + b)

    def subtract(self, left: Value, right: Value) -> Value:
        """The exact difference."""
        return self.combine("Sub", left, right, lambda a, b: a - b)

    def combine(self, kind: str, left: Value, right: Value, result: Callable[[int, int], int]) -> Value:
        """``Add`` or ``Sub`` in a carrier that holds every possible result."""
        a, b = self.aligned(left, right)
        ends = [result(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
        carrier = self.carry(min(ends), max(ends), a.carrier)
        a, b = self.convert(a, carrier), self.convert(b, carrier)
        tensor = self.node(kind, str(a.tensor), str(b.tensor))
        return self.larger(a, b).change(tensor=tensor, low=min(ends), high=max(ends))

    def multiply(self, left: Value, right: Value) -> Value:
        """The exact product."""
        a, b = self.plain(left), self.plain(right)
        if a.channels_first != b.channels_first or a.flat_of or b.flat_of:
            a, b = self.channels_last(a), self.channels_last(b)
        ends = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
        carrier = self.carry(min(ends), max(ends), max(a.carrier, b.carrier, key=CARRIERS.index))
        a, b = self.convert(a, carrier), self.convert(b, carrier)
        grid = a.fraction_bits + b.fraction_bits
        tensor = self.node("Mul", str(a.tensor), str(b.tensor))
        wide = self.larger(a, b)
        return wide.change(tensor=tensor, low=min(ends), high=max(ends), fraction_bits=grid, scale_bits=grid)

    @staticmethod
    def larger(a: Value, b: Value) -> Value:
        """The one whose shape the broadcast result has."""
        return b if np.prod(b.shape, dtype=int) > np.prod(a.shape, dtype=int) else a

    def negate(self, value: Value) -> Value:
        """The exact negation."""
        done = self.plain(self.widen(value, -value.high, -value.low))
        return done.change(tensor=self.node("Neg", str(done.tensor)), low=-value.high, high=-value.low)

    def times(self, value: Value, factor: int) -> Value:
        """The value times a whole number."""
        ends = sorted((value.low * factor, value.high * factor))
        done = self.plain(self.widen(value, *ends))
        tensor = self.node("Mul", str(done.tensor), self.scalar(done.carrier, factor))
        return done.change(tensor=tensor, low=ends[0], high=ends[1])

    def offset(self, value: Value, integer: int, fraction_bits: int = 0) -> Value:
        """The value plus ``integer * 2**-fraction_bits``."""
        return self.add(value, self.fixed([integer], fraction_bits, (1,), like=value))

    def divide(self, value: Value, divisor: int) -> Value:
        """Division by a positive whole number towards zero, on the grid (``ap_fixed::operator/``).

        A quotient may need every step of the grid, also where the dividend is known to be coarser. A float
        quotient is never rounded up to the next whole number while the dividend is exact at this grid.
        """
        done = self.in_steps(value)
        by = self.scalar(done.carrier, divisor)
        tensor = self.node("Div", str(done.tensor), by)
        if done.carrier is not Carrier.INT64:
            tensor = self.truncate(tensor, done.carrier, done.low < 0, done.high > 0)
        ends = [abs(end) // divisor * (1 if end >= 0 else -1) for end in (done.low, done.high)]
        return done.change(tensor=tensor, low=ends[0], high=ends[1])

    def in_steps(self, value: Value) -> Value:
        """The value as whole steps of its grid, in a carrier that holds every step of its range."""
        return self.plain(self.convert(value, self.carry(value.low, value.high, value.carrier)))

    def maximum(self, left: Value, right: Value) -> Value:
        """The larger of two values, exactly."""
        a, b = self.aligned(left, right)
        tensor = self.node("Max", str(a.tensor), str(b.tensor))
        return self.larger(a, b).change(tensor=tensor, low=max(a.low, b.low), high=max(a.high, b.high))

    def compare(self, kind: str, left: Value, right: Value) -> str:
        """Boolean tensor of ``Greater``, ``GreaterOrEqual``, ``Less`` or ``LessOrEqual``."""
        a, b = self.aligned(left, right)
        condition = self.node(kind, str(a.tensor), str(b.tensor))
        self.orders[condition] = a.channels_first
        return condition

    def where(self, condition: str, left: Value, right: Value) -> Value:
        """``left`` where the condition holds, else ``right``; the condition has the aligned axis order."""
        a, b = self.aligned(left, right)
        assert self.orders[condition] is a.channels_first
        tensor = self.node("Where", condition, str(a.tensor), str(b.tensor))
        return self.larger(a, b).change(tensor=tensor, low=min(a.low, b.low), high=max(a.high, b.high))

    def fixed(
        self, integers: Sequence[int] | Array, fraction_bits: int, shape: tuple[int, ...], like: Value | None = None
    ) -> Value:
        """A constant of given grid steps; without batch axis it broadcasts over images.

        ``shape`` is channels last; ``like`` decides the axis order. Trailing zero bits are dropped.
        """
        array, grid = reduce_grid(np.asarray(integers, object), fraction_bits)
        low, high = int(array.min()), int(array.max())
        carrier = self.carry(low, high, Carrier.FLOAT32)
        first = like is not None and like.channels_first
        stored = array.astype(NUMPY_TYPE[carrier]).reshape(shape)
        if first and len(shape) == len(like.shape if like else ()):
            stored = np.moveaxis(stored, -1, 0)
        elif first and len(shape) == 1 and shape[0] > 1 and like is not None:
            stored = stored.reshape(shape[0], *[1] * (len(like.shape) - 1))
        tensor = self.constant(stored[np.newaxis], NUMPY_TYPE[carrier])
        return Value(tensor, shape, grid, grid, low, high, carrier, channels_first=first)

    def look_up(self, index: Value, table: Sequence[int] | Array, fraction_bits: int) -> Value:
        """Entries of a table of integers; ``index`` is whole and within it."""
        entries, grid = reduce_grid(np.asarray(table, object), fraction_bits)
        low, high = int(entries.min()), int(entries.max())
        carrier = self.carry(low, high, Carrier.FLOAT32)
        whole = self.plain(index)
        position = self.node("Cast", str(whole.tensor), to=TensorProto.INT64)
        tensor = self.node("Gather", self.constant(entries.astype(NUMPY_TYPE[carrier]), NUMPY_TYPE[carrier]), position)
        return whole.change(tensor=tensor, fraction_bits=grid, scale_bits=grid, low=low, high=high, carrier=carrier)


def reduce_grid(integers: Array, fraction_bits: int) -> tuple[Array, int]:
    """The same numbers on the coarsest grid that holds them: trailing zero bits common to all are dropped."""
    union = int(np.bitwise_or.reduce(np.abs(integers.ravel()), initial=0)) if integers.size else 0
    if union == 0:
        return integers, 0
    zeros = (union & -union).bit_length() - 1
    return (integers >> zeros if zeros else integers), fraction_bits - zeros
