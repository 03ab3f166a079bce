"""What the integers of a weight matrix cost in hardware: zeros, signed digits, distinct constants per input.

Under strategy Latency every weight is a constant. A constant with one nonzero digit in canonical
signed digit (CSD) form is wiring (a negation if it is negative), two digits are one adder, three
or more a multiplier; equal constants on the same input are built once. A multiplier takes a DSP
when the wider operand has at least 11 bits and the narrower at least 5 (measured on Vivado HLS
2019.2 to Vitis HLS 2024.2), else LUTs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

DSP_WIDER_BITS = 11  # a multiplier uses a DSP from this width of its wider operand
DSP_NARROWER_BITS = 5  # and this width of its narrower one
WIDEST = 65  # histograms are indexed by bits, 0 to 64


@dataclass(frozen=True, eq=False)
class WeightFacts:
    """Facts of one weight matrix ``[n_in, n_out]`` of integers that decide area and cycles.

    Histograms over distinct constants per input are indexed by the constant's width in bits:
    unsigned bits if positive, two's complement if negative. ``terms`` is the number of nonzero
    weights of each output, which is the number of leaves of its adder tree.
    """

    n_in: int
    n_out: int
    nonzeros: int
    bias_nonzeros: int
    terms: Integers  # [n_out]
    used_inputs: int
    negated: Integers  # distinct -2**k, by width
    wired: int  # distinct +2**k
    added: Integers  # distinct positive constants of two CSD digits, by width
    subtracted: Integers  # distinct negative constants of two CSD digits, by width
    multiplied: Integers  # distinct constants of three or more CSD digits, by width
    magnitude_bits: float  # mean bit length of the nonzero magnitudes
    used_bits: int  # two's complement bits that hold every weight
    effective_bits: int  # sum over nonzero weights of the bits between first and last set bit, both included

    @cached_property
    def adders(self) -> int:
        """Two-input adders of all accumulation trees, biases included."""
        return int(np.maximum(self.terms - 1, 0).sum()) + self.bias_nonzeros

    @cached_property
    def longest(self) -> int:
        """Leaves of the largest adder tree."""
        return int(self.terms.max(initial=0))

    @cached_property
    def multipliers(self) -> int:
        """Distinct constants that need a multiplier."""
        return int(self.multiplied.sum())

    @cached_property
    def shifted(self) -> bool:
        """Whether any constant is more than a plain shift: negated, or of two digits."""
        return bool(self.negated.any() or self.added.any() or self.subtracted.any())

    def dsp_multipliers(self, input_bits: int, *, signed: bool) -> int:
        """How many of the multipliers go to DSPs for inputs of this width; ``signed`` as for :func:`dsp_widths`."""
        return int(self.multiplied[dsp_widths(input_bits, signed)].sum())


@lru_cache(maxsize=64)
def dsp_widths(input_bits: int, signed: bool) -> npt.NDArray[np.bool_]:
    """For constants of width 0..64: whether the product with an input of ``input_bits`` uses a DSP.

    ``signed``: the tool counts a positive constant with its sign, as Vitis HLS does, so that 11 and 13 have 5 bits
    (36 of 36 Latency rows of the harvested projects); Vivado HLS leaves them in LUTs.
    """
    widths = np.arange(WIDEST)
    wider, narrower = np.maximum(widths, input_bits), np.minimum(widths, input_bits)
    return (wider >= DSP_WIDER_BITS) & (narrower >= DSP_NARROWER_BITS - signed)


def uses_dsp(first_bits: int, second_bits: int) -> bool:
    """Whether a multiplier of two operands of these widths uses a DSP."""
    return max(first_bits, second_bits) >= DSP_WIDER_BITS and min(first_bits, second_bits) >= DSP_NARROWER_BITS


DSP_OPERANDS = {"7series": (25, 18), "ultrascale": (27, 18), "ultrascale+": (27, 18), "versal": (27, 24)}


def dsp_tiles(first_bits: int, second_bits: int, family: str) -> int:
    """DSPs that one product takes: 1 while the operands fit its multiplier, else a tile per pair of their parts.

    Sizes are those of DSP48E1 (UG479), DSP48E2 (UG579) and DSP58 (AM004), one bit of each a sign. 32-bit inputs
    times 20-bit constants take 2, as the depthwise convolution of hls4ml's own tests does in Vivado HLS 2020.1.

    >>> dsp_tiles(16, 16, "ultrascale+"), dsp_tiles(32, 20, "ultrascale+"), dsp_tiles(32, 32, "7series")
    (1, 2, 4)
    """
    wide, narrow = DSP_OPERANDS[family]
    return min(
        parts(first_bits, wide) * parts(second_bits, narrow), parts(first_bits, narrow) * parts(second_bits, wide)
    )


def parts(bits: int, width: int) -> int:
    """Pieces of an operand for a multiplier input of that width."""
    return max(1, -(-(bits - 1) // (width - 1)))


def weight_facts(kernel: Integers, bias: Integers | None = None, *, separate: bool = False) -> WeightFacts:
    """Facts of a matrix ``[n_in, n_out]`` of integer weights.

    ``separate`` is a depthwise kernel: each output has inputs of its own, so nothing is shared
    between outputs and the tree of an output has at most ``n_in`` leaves.
    """
    rows = kernel.reshape(-1, 1) if separate else kernel
    constants = distinct_per_row(rows)
    digits, widths = csd_digits(constants), constant_bits(constants)
    negative = constants < 0
    values, counts = np.unique(np.abs(kernel), return_counts=True) if kernel.size < 4096 else counted(kernel)
    magnitudes, counts = values[values > 0], counts[values > 0]
    nonzeros = int(counts.sum())
    lowest, highest = int(kernel.min(initial=0)), int(kernel.max(initial=0))
    present = kernel != 0
    return WeightFacts(
        n_in=kernel.shape[0],
        n_out=kernel.shape[1],
        nonzeros=nonzeros,
        bias_nonzeros=0 if bias is None else int(np.count_nonzero(bias)),
        terms=np.count_nonzero(present, axis=0).astype(np.int64),
        used_inputs=int(np.count_nonzero(present.any(axis=1))),
        negated=histogram(widths[(digits == 1) & negative]),
        wired=int(np.count_nonzero((digits == 1) & ~negative)),
        added=histogram(widths[(digits == 2) & ~negative]),
        subtracted=histogram(widths[(digits == 2) & negative]),
        multiplied=histogram(widths[digits >= 3]),
        magnitude_bits=float(bit_length(magnitudes) @ counts) / max(nonzeros, 1),
        used_bits=signed_bits(lowest, highest),
        effective_bits=int(effective_bits(magnitudes) @ counts),
    )


def counted(kernel: Integers) -> tuple[Integers, Integers]:
    """Distinct magnitudes and how often each occurs, by counting where they are small."""
    magnitudes = np.abs(kernel).reshape(-1)
    if int(magnitudes.max(initial=0)) >= 1 << 20:
        values, counts = np.unique(magnitudes, return_counts=True)
        return values, counts
    occurrences = np.bincount(magnitudes)
    values = np.flatnonzero(occurrences)
    return values, occurrences[values]


def distinct_per_row(matrix: Integers) -> Integers:
    """The distinct nonzero values of each row, rows one after the other."""
    small = bool(matrix.size) and matrix.min() >= -(1 << 15) and matrix.max() < 1 << 15
    ordered = np.sort(matrix.astype(np.int16) if small else matrix, axis=1, kind="stable")  # 16 bits sort by radix
    first = np.ones(ordered.shape, bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    distinct: Integers = ordered[first & (ordered != 0)].astype(np.int64)
    return distinct


def histogram(widths: Integers) -> Integers:
    """Counts of each width, 0 to 64 bits."""
    return np.bincount(widths, minlength=WIDEST).astype(np.int64)


def csd_digits(values: Integers) -> Integers:
    """Nonzero digits of each value in canonical signed digit form: the set bits of ``3n xor n``.

    >>> csd_digits(np.array([0, 4, 3, -7, 11, 45])).tolist()
    [0, 1, 2, 2, 3, 4]
    """
    magnitudes = np.abs(values).astype(np.uint64)
    digits: Integers = np.bitwise_count(magnitudes ^ (3 * magnitudes)).astype(np.int64)
    return digits


def bit_length(magnitudes: Integers) -> Integers:
    """Bits of each nonnegative value; 0 for 0. Exact below 2**53."""
    return np.frexp(magnitudes.astype(np.float64))[1].astype(np.int64)


def constant_bits(values: Integers) -> Integers:
    """Width HLS gives a constant: unsigned bits if positive, two's complement if negative.

    >>> constant_bits(np.array([5, -8, -1, 0])).tolist()
    [3, 4, 1, 0]
    """
    return np.where(values >= 0, bit_length(values), bit_length(-values - 1) + 1)


def effective_bits(magnitudes: Integers) -> Integers:
    """Bits from the first to the last set bit of each positive value (HGQ's bit count of a constant).

    >>> effective_bits(np.array([1, 12, 5])).tolist()
    [1, 2, 3]
    """
    lowest = magnitudes & -magnitudes
    return bit_length(magnitudes) - bit_length(lowest) + 1


def signed_bits(lowest: int, highest: int) -> int:
    """Two's complement bits that hold ``lowest`` and ``highest``; unsigned ones when nothing is negative.

    >>> signed_bits(-8, 7), signed_bits(0, 9)
    (4, 4)
    """
    needed = max(highest, -lowest - 1, 0).bit_length()
    return needed + (1 if lowest < 0 else 0)


def block_bits(kernel: Integers, reuse_factor: int) -> int:
    """Bits used by the last block of a Resource weight ROM, which is where HLS drops unused top bits.

    The ROM of ``dense_resource`` packs ``ceil(n_in * n_out / RF)`` weights per word, outputs first;
    the last one sits on top of the word. ``kernel`` is ``[n_in, n_out]``.
    """
    n_in, n_out = kernel.shape
    begin = (-(-kernel.size // reuse_factor) - 1) * reuse_factor
    first_output = begin // n_in
    last = kernel[:, first_output:].T.reshape(-1)[begin - first_output * n_in :] if n_out else kernel.reshape(-1)
    return signed_bits(int(last.min(initial=0)), int(last.max(initial=0)))
