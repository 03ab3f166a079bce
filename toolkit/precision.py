"""Fixed-point types as values: parse, print, range, quantize.

The semantics are those of AMD's ``ap_fixed<W,I,Q,O,N>`` (Vitis HLS user guide UG1399, "Arbitrary
Precision Fixed-Point Data Types") as hls4ml ships them for csim in ``ap_types/ap_fixed_base.h``.
"""

from __future__ import annotations

import numbers
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

import numpy as np
import numpy.typing as npt

from toolkit.errors import ConfigError, choose


class Rounding(StrEnum):
    """What happens to bits below the least significant one (``ap_q_mode``)."""

    TRN = "TRN"  # towards minus infinity (drop bits)
    TRN_ZERO = "TRN_ZERO"  # towards zero
    RND = "RND"  # to nearest, ties to plus infinity
    RND_ZERO = "RND_ZERO"  # to nearest, ties to zero
    RND_INF = "RND_INF"  # to nearest, ties away from zero
    RND_MIN_INF = "RND_MIN_INF"  # to nearest, ties to minus infinity
    RND_CONV = "RND_CONV"  # to nearest, ties to even


class Overflow(StrEnum):
    """What happens to values outside the range (``ap_o_mode``)."""

    WRAP = "WRAP"  # drop the bits above the most significant one
    SAT = "SAT"  # clip to the range
    SAT_ZERO = "SAT_ZERO"  # become zero
    SAT_SYM = "SAT_SYM"  # clip to the range without the most negative value


FIXED = re.compile(r"""^\s*(?:nnet::)?(?:a[pc]_)?(u?)fixed\s*<\s*([0-9]+)\s*,\s*([+-]?[0-9]+)\s*
    (?:,\s*(\w+)\s*)?(?:,\s*(\w+)\s*)?(?:,\s*([0-9]+)\s*)?>\s*$""", re.VERBOSE | re.ASCII)  # fmt: skip
WHOLE = re.compile(r"^\s*(?:nnet::)?(?:a[pc]_)?(u?)int\s*<\s*([0-9]+)\s*>\s*$", re.ASCII)

LONGEST_SHOWN = 100  # characters of a wrong type that a message repeats
WIDEST_BITS = 1024  # AP_INT_MAX_W of AMD's ap_int and ap_fixed headers (UG1399)
FINEST_BITS = 1000  # a double holds the least significant bit


@dataclass(frozen=True)
class Precision:
    """A fixed-point type, printed as Vitis HLS spells it: ``ap_fixed<W,I,Q,O>``.

    A value is an integer of ``width_bits`` bits times :attr:`lsb`. Raises ``ConfigError`` for a
    width below 1 or above 1024.
    """

    width_bits: int
    integer_bits: int  # counts the sign bit, as ap_fixed does; may be negative or above the width
    signed: bool = True
    rounding: Rounding = Rounding.TRN
    overflow: Overflow = Overflow.WRAP
    saturation_bits: int = 0  # ap_fixed's N: how many top bits SAT-like wrapping keeps

    def __post_init__(self) -> None:
        for bits in (self.width_bits, self.integer_bits, self.saturation_bits):
            if not isinstance(bits, numbers.Integral):
                raise ConfigError(f"precision width and integer bits must be whole numbers, got {bits!r:.100}")
        if self.width_bits < 1:
            raise ConfigError(f"precision width must be at least 1 bit, got {self.width_bits}")
        if self.width_bits > WIDEST_BITS:
            raise ConfigError(f"precision width must be at most {WIDEST_BITS} bits, got {self.width_bits}")
        if abs(self.fraction_bits) > FINEST_BITS:
            raise ConfigError(f"precision must keep W - I within {FINEST_BITS} bits, got {self.fraction_bits}")

    @classmethod
    def parse(cls, text: str) -> Precision:
        """Read ``ap_fixed<16,6>``, ``ap_ufixed<8,0,RND,SAT>``, ``fixed<8,3>``, ``ap_int<8>`` or ``ap_uint<1>``.

        Raises ``ConfigError`` that shows the accepted forms.
        """
        if not isinstance(text, str):
            raise ConfigError(f"precision must be text such as ap_fixed<16,6>, got {text!r:.100}")
        if match := WHOLE.match(text):
            return cls(as_width(match[2]), as_width(match[2]), signed=match[1] == "")
        match = FIXED.match(text)
        if match is None:
            raise ConfigError(
                "precision must look like ap_fixed<W,I>, ap_ufixed<W,I,RND,SAT>, ap_int<W> or ap_uint<W>, got "
                f'"{text[:LONGEST_SHOWN]}"'
            )
        return cls(
            width_bits=as_width(match[2]),
            integer_bits=as_width(match[3]),
            signed=match[1] == "",
            rounding=Rounding(read_mode("rounding mode", match[4] or "TRN", Rounding)),
            overflow=Overflow(read_mode("overflow mode", match[5] or "WRAP", Overflow)),
            saturation_bits=as_width(match[6] or "0"),
        )

    def __str__(self) -> str:
        modes = f",{self.rounding},{self.overflow}"
        if self.saturation_bits:
            modes += f",{self.saturation_bits}"
        elif self.rounding is Rounding.TRN and self.overflow is Overflow.WRAP:
            modes = ""
        return f"ap_{'' if self.signed else 'u'}fixed<{self.width_bits},{self.integer_bits}{modes}>"

    @property
    def fraction_bits(self) -> int:
        """Bits below the binary point: ``W - I``; negative when the least significant bit exceeds 1."""
        return self.width_bits - self.integer_bits

    @property
    def lsb(self) -> float:
        """Value of the least significant bit: ``2**(I - W)``."""
        return 2.0**-self.fraction_bits

    @cached_property
    def integer_min(self) -> int:
        """Smallest stored integer (of the saturating range: ``SAT_SYM`` has no most negative value)."""
        if not self.signed:
            return 0
        lowest = -(1 << (self.width_bits - 1))
        return lowest + 1 if self.overflow is Overflow.SAT_SYM and self.width_bits > 1 else lowest

    @cached_property
    def integer_max(self) -> int:
        """Largest stored integer."""
        return (1 << (self.width_bits - (1 if self.signed else 0))) - 1

    @property
    def minimum(self) -> float:
        """Smallest value, ``integer_min * lsb``."""
        return self.integer_min * self.lsb

    @property
    def maximum(self) -> float:
        """Largest value, ``integer_max * lsb``."""
        return self.integer_max * self.lsb

    def with_modes(self, rounding: Rounding, overflow: Overflow) -> Precision:
        """The same width with other rounding and overflow modes."""
        return replace(self, rounding=rounding, overflow=overflow)

    def quantize(self, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Values as this type holds them, as float64 (exact up to 53 significant bits)."""
        return self.to_integers(values) * self.lsb

    def to_integers(self, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """The integers this type stores for real ``values``; float64 holding exact integers.

        Exact while ``width_bits`` and the values, scaled by ``1 / lsb``, stay within 53 bits.
        """
        scaled = np.ldexp(np.asarray(values, np.float64), self.fraction_bits)
        return overflow_integers(round_integers(scaled, self.rounding), self)


def as_width(text: str) -> int:
    """A number of bits; raises ``ConfigError`` for one with more digits than any header takes."""
    if len(text) > 6:
        raise ConfigError(f"precision width must be at most {WIDEST_BITS} bits, got {text[:LONGEST_SHOWN]}")
    return int(text)


def read_mode(what: str, text: str, modes: type[Rounding] | type[Overflow]) -> str:
    """Read ``RND`` or ``AP_RND`` or ``SC_RND``; raises ``ConfigError`` naming the nearest mode."""
    return choose(what, re.sub(r"^(AP|SC)_", "", text.strip().upper()), [str(mode) for mode in modes])


def round_integers(scaled: npt.NDArray[np.float64], rounding: Rounding) -> npt.NDArray[np.float64]:
    """Round scaled values to whole numbers as ``ap_q_mode`` does."""
    match rounding:
        case Rounding.TRN:
            return np.floor(scaled)
        case Rounding.TRN_ZERO:
            return np.trunc(scaled)
        case Rounding.RND:
            return nearest_integers(scaled, ties_up=np.ones(scaled.shape, bool))
        case Rounding.RND_MIN_INF:
            return nearest_integers(scaled, ties_up=np.zeros(scaled.shape, bool))
        case Rounding.RND_ZERO:
            return nearest_integers(scaled, ties_up=scaled < 0)
        case Rounding.RND_INF:
            return nearest_integers(scaled, ties_up=scaled > 0)
        case Rounding.RND_CONV:
            return np.asarray(np.rint(scaled), np.float64)


def nearest_integers(scaled: npt.NDArray[np.float64], ties_up: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Round to nearest; a tie goes up where ``ties_up`` holds, down elsewhere."""
    below = np.floor(scaled)
    fraction = scaled - below
    up = (fraction > 0.5) | ((fraction == 0.5) & ties_up)
    return np.where(up, below + 1, below)


def overflow_integers(integers: npt.NDArray[np.float64], precision: Precision) -> npt.NDArray[np.float64]:
    """Bring whole numbers into the range of ``precision`` as ``ap_o_mode`` does.

    Raises ``ConfigError`` for wrapping that keeps saturation bits (``N > 0``), which hls4ml never emits.
    """
    low, high = precision.integer_min, precision.integer_max
    match precision.overflow:
        case Overflow.SAT | Overflow.SAT_SYM:
            return np.clip(integers, low, high)
        case Overflow.SAT_ZERO:
            return np.where((integers < low) | (integers > high), 0.0, integers)
        case Overflow.WRAP:
            if precision.saturation_bits:
                raise ConfigError(f"wrapping with saturation bits is not emulated, got {precision}")
            span = 2.0**precision.width_bits
            wrapped: npt.NDArray[np.float64] = integers - span * np.floor((integers - low) / span)
            return wrapped
