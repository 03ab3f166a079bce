"""Integers inside floating-point tensors: which carrier holds a range of them exactly.

A :class:`Value` stands for a tensor of fixed-point numbers: all of them are whole multiples of
``2**-fraction_bits`` (their grid) between ``low`` and ``high`` grid steps. The tensor stores each
number times ``2**scale_bits``, which a float does exactly for any power of two, so only the number
of grid steps decides whether a carrier is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from toolkit.precision import Rounding


class Carrier(StrEnum):
    """What holds the integers, narrowest first."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"
    INT64 = "int64"


# Every integer up to this magnitude is exact in the carrier (a 24 or 53 bit significand).
LIMIT = {Carrier.FLOAT32: 2**24, Carrier.FLOAT64: 2**53, Carrier.INT64: 2**63 - 1}


class RangeTooWide(Exception):
    """No carrier holds a range exactly; the layer that needs it is not emulated."""


def narrowest(low: int, high: int, at_least: Carrier = Carrier.FLOAT32) -> Carrier:
    """The narrowest carrier, not below ``at_least``, that is exact for every integer in the range."""
    carriers = list(Carrier)
    for carrier in carriers[carriers.index(at_least) :]:
        if max(-low, high) <= LIMIT[carrier]:
            return carrier
    raise RangeTooWide(f"integers between {low} and {high} need more than 63 bits")


@dataclass(frozen=True, eq=False)
class Deferred:
    """A tensor emitted when it is first needed, at whatever scale is needed then (a float's scale is free)."""

    emitter: Callable[[int], str]  # scale_bits -> tensor name
    emitted: dict[int, str] = field(default_factory=dict)

    def emit(self, scale_bits: int) -> str:
        """The tensor that stores the numbers times ``2**scale_bits``."""
        if scale_bits not in self.emitted:
            self.emitted[scale_bits] = self.emitter(scale_bits)
        return self.emitted[scale_bits]


@dataclass(frozen=True)
class Value:
    """A tensor of fixed-point numbers, possibly with a clip and a rounding still to be emitted.

    ``shape`` is hls4ml's (channels last, no batch axis). A tensor stored channels first has
    ``channels_first`` set, or, when it was flattened so, ``flat_of`` holds the shape it had.
    ``clip`` (grid steps, after rounding) and ``rounding`` (onto the grid) are pending: max pooling
    commutes with both, so they are emitted on the smaller tensor behind it. ``signs`` tells whether
    numbers below and above zero can occur before that rounding.
    """

    tensor: str | Deferred
    shape: tuple[int, ...]
    fraction_bits: int
    scale_bits: int
    low: int
    high: int
    carrier: Carrier
    channels_first: bool = False
    flat_of: tuple[int, ...] | None = None
    clip: tuple[int, int] | None = None
    rounding: Rounding | None = None
    signs: tuple[bool, bool] = (True, True)

    def change(self, **fields: object) -> Value:
        """A copy with some fields changed."""
        return replace(self, **fields)  # type: ignore[arg-type]
