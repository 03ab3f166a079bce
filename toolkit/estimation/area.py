"""DSP, BRAM, LUT and FF of one stage at csynth.

DSP and BRAM follow from operand widths, the multiplier limit and the shapes of ROMs and FIFOs;
they are exact rules. LUT and FF are sums of hardware features (adder bits, multiplexer inputs,
window registers, ...) times coefficients of :mod:`toolkit.estimation.calibration`; a coefficient
is the LUTs or registers that one unit of that feature costs in a tool and device family.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from toolkit.errors import UnsupportedLayer
from toolkit.estimation.cycles import (
    RELAXED_NS,
    Clock,
    cycles_of,
    kernel_cycles,
    multipliers,
    new_vivado,
    product_uses_dsp,
    scale_turns,
    softmax_core,
    softmax_folds,
)
from toolkit.estimation.stages import MATRIX_KINDS, Stage
from toolkit.estimation.tools import Tool
from toolkit.estimation.weights import DSP_NARROWER_BITS, WIDEST, WeightFacts, dsp_tiles, uses_dsp

# Largest FIFOs in shift registers, in bits.
VIVADO_SHIFT_BITS = 512
VITIS_SHIFT_BITS = 1024
ROM_IN_LUT_BITS = 1024  # smaller ROMs are built from LUTs
VITIS_7SERIES_ROM_BITS = 216
ADDER_OVERHEAD_LUT = 7.0
MULTIPLY_ADD_NS = 30.0  # from this clock on Vitis HLS packs narrow multiply-adds of 7-series into DSPs
UNFOLDED_TABLE_DSP = 7  # floating-point exponential of init_exp_table (Vitis HLS 2024.2 and 2025.2)

# LUTs per bit of an n-to-1 multiplexer, by ceil(log2 n), as csynth counts them: 5 to 8 from 725 Resource rows
# (Vivado HLS 2020.1), smaller ones from the multiplexers of the same reports; above, doubling.
MULTIPLEXER_LUT_PER_BIT = (0.0, 0.56, 1.3, 2.6, 4.4, 8.8, 18.6, 43.55, 86.6)

Features = dict[str, float]


@dataclass(frozen=True)
class Part:
    """One part of a stage's area: the calibration group it belongs to and its features for LUT and FF."""

    group: str
    lut: Features
    ff: Features


@dataclass(frozen=True)
class Area:
    """Exact resources of a stage and the parts that LUT and FF are estimated from."""

    dsp: int
    bram_18k: int
    uram: int
    parts: tuple[Part, ...] = field(default_factory=tuple)


def area_of(stage: Stage, clock: Clock) -> Area:
    """Everything a stage is built of."""
    return Area(dsp_of(stage, clock), bram_of(stage, clock), 0, parts_of(stage, clock))


# DSP -----------------------------------------------------------------------------------------


def dsp_of(stage: Stage, clock: Clock) -> int:
    """DSP blocks of a stage."""
    match stage.kind:
        case "dense" | "conv" | "pointwise" | "depthwise":
            copies = stage.parallel_outputs if not stage.stream and stage.kind != "dense" else 1
            return kernel_dsp(stage, clock) * product_tiles(stage, clock) * copies
        case "scale":
            return scale_dsp(stage, clock.tool) * product_tiles(stage, clock)
        case "softmax":
            return softmax_dsp(stage, clock.tool)
        case "activation" if stage.operation in ("leaky_relu", "prelu", "parametrizedactivation"):
            return stage.in_channels if stage.stream else stage.n_in
        case "table" if stage.operation in ("elu", "selu"):
            return stage.in_channels if stage.stream else stage.n_in
        case "merge" if stage.operation in ("multiply", "dot1d", "dot"):
            products = stage.out_channels if stage.stream else stage.n_out
            tiles = dsp_tiles(stage.input_bits, stage.input_bits, clock.family)
            return products * tiles if uses_dsp(stage.input_bits, stage.input_bits) else 0
    return 0


def product_tiles(stage: Stage, clock: Clock) -> int:
    """DSPs of one product of a layer's inputs and its weights."""
    facts = None if stage.resource else stage.facts
    weight_bits = stage.weight_bits if facts is None else facts.used_bits
    return dsp_tiles(stage.input_bits, weight_bits, clock.family)


def kernel_dsp(stage: Stage, clock: Clock) -> int:
    """DSPs of a matrix kernel: constants that need one under Latency, ROM-fed multipliers under Resource."""
    if stage.strategy == "distributed_arithmetic":
        return 0
    if stage.resource:
        return resource_dsp(stage, clock)
    if stage.facts is None:
        return constant_dsp_without_weights(stage)
    count = dsp_constants(stage, clock.tool)
    limit = stage.multiplier_limit
    return min(count, limit) if stage.strategy == "latency" else count


def dsp_constants(stage: Stage, tool: Tool) -> int:
    """Distinct constants of three or more signed digits whose product uses a DSP."""
    facts = stage.facts
    if facts is None or stage.multiplier == "fabric":
        return 0
    if stage.multiplier == "dsp":
        return facts.multipliers
    return facts.dsp_multipliers(stage.input_bits, signed=tool.vitis)


def constant_dsp_without_weights(stage: Stage) -> int:
    """DSPs of a Latency kernel of unknown weights: every weight a multiplier, up to the limit."""
    if not product_uses_dsp(stage, stage.weight_bits - 1):
        return 0
    return stage.multiplier_limit


def resource_dsp(stage: Stage, clock: Clock) -> int:
    """``ceil(n_in * n_out / RF)`` multipliers, one less when the top block's used bits are below the DSP width.

    Vitis HLS on 7-series with a clock of 30 ns makes DSPs of narrow multiply-adds too (12 rows, tsopeter alone).
    """
    blocks = stage.block_factor
    if clock.tool.vitis and clock.family == "7series" and clock.period_ns >= MULTIPLY_ADD_NS:
        return blocks
    if not product_uses_dsp(stage, stage.weight_bits):
        return 0
    top = stage.last_block_bits
    shrinks = 0 <= top < DSP_NARROWER_BITS and stage.multiplier != "dsp" and stage.weight_bits > top
    return blocks - 1 if shrinks else blocks


def scale_dsp(stage: Stage, tool: Tool) -> int:
    """DSPs of a batch normalisation: one per scale that needs a multiplier, up to the multiplier limit."""
    if stage.facts is None:
        wide = uses_dsp(stage.input_bits, stage.weight_bits)
        count = stage.in_channels if wide else 0
    else:
        count = dsp_constants(stage, tool)
    return min(count, math.ceil(stage.in_channels / stage.reuse_factor))


def softmax_dsp(stage: Stage, tool: Tool) -> int:
    """One product per class (shared under RF), and a floating-point exponential where the table is not folded."""
    if stage.operation == "argmax":
        return 0
    unfolded = 0 if softmax_folds(stage, tool) else UNFOLDED_TABLE_DSP
    if stage.multiplier == "fabric":
        return 0
    shared = stage.reuse_factor if stage.stream else 1  # an array's classes are all multiplied at once
    return math.ceil(stage.in_channels / shared) + unfolded


# BRAM ----------------------------------------------------------------------------------------


def bram_of(stage: Stage, clock: Clock) -> int:
    """BRAM 18 Kb of a stage, its FIFOs not included."""
    match stage.kind:
        case kind if kind in MATRIX_KINDS and stage.resource:
            copies = stage.parallel_outputs if not stage.stream and kind != "dense" else 1
            return weight_rom_brams(stage, clock) * copies
        case "softmax":
            return softmax_brams(stage, clock.tool)
        case "table":
            elements = stage.in_channels if stage.stream else stage.n_in
            return math.ceil(elements / 2) * rom_brams(max(stage.table_size, 1024), stage.table_bits)
    return 0


def weight_rom_brams(stage: Stage, clock: Clock) -> int:
    """The weight ROM of a Resource kernel and, with RF above ``n_in``, the ROM of output indices."""
    if stage.strategy == "distributed_arithmetic":
        return 0
    factor, blocks = stage.reuse_factor, stage.block_factor
    top = stage.last_block_bits if stage.last_block_bits >= 0 else stage.weight_bits
    word = blocks * stage.weight_bits - max(stage.weight_bits - max(top, 1), 0)
    steps = factor // stage.n_in if factor > stage.n_in else 1
    index_bits = math.ceil(math.log2(steps)) if steps > 1 else 0
    small = VITIS_7SERIES_ROM_BITS if clock.tool.vitis and clock.family == "7series" else ROM_IN_LUT_BITS
    return rom_brams(factor, word, small) + rom_brams(factor, index_bits)


def rom_brams(depth: int, bits: int, in_luts: int = ROM_IN_LUT_BITS) -> int:
    """BRAM 18 Kb that HLS counts for a memory of ``depth`` words of ``bits`` bits.

    512 x 36, 1024 x 18 or 2048 x 9; a depth a little above 1,024 takes slices of 36 bits made of
    two blocks for the first 1,024 words and one for the rest, and blocks of 9 bits for the bits
    left over. Below ``in_luts`` bits it is LUTs: 1,024 on 1,220 ROMs of Vivado HLS 2019.2, while Vitis HLS 2024.2
    on 7-series takes BRAM from 216 bits (tsopeter alone).

    >>> rom_brams(512, 160), rom_brams(1024, 64), rom_brams(1152, 445), rom_brams(108, 6)
    (5, 4, 38, 0)
    """
    if depth * bits < in_luts or bits < 1:
        return 0
    if depth <= 512:
        return math.ceil(bits / 36)
    if depth <= 1024:
        return math.ceil(bits / 18)
    if depth <= 1536:
        return 3 * (bits // 36) + math.ceil(bits % 36 / 9)
    for words, width in ((2048, 9), (4096, 4), (8192, 2)):
        if depth <= words:
            return math.ceil(bits / width)
    return bits * math.ceil(depth / 16384)


def softmax_brams(stage: Stage, tool: Tool) -> int:
    """Exponential and reciprocal tables: shared under RF or when filled at run time, else read by every class."""
    if stage.operation == "argmax":
        return 0
    table = max(1, rom_brams(max(stage.table_size, 1024), stage.table_bits))
    if (stage.reuse_factor > 1 and stage.stream) or not softmax_folds(stage, tool):
        return 2 * table
    return (max(2, stage.in_channels) if tool.vitis else 4) * table


@dataclass(frozen=True)
class FifoArea:
    """Resources of the FIFO (or FIFOs, one per channel in Vivado HLS) of one stream."""

    bram_18k: int
    lut: int
    ff: int

    def times(self, count: int) -> FifoArea:
        """So many of them."""
        return FifoArea(self.bram_18k * count, self.lut * count, self.ff * count)


NOTHING_BETWEEN = FifoArea(0, 0, 0)


def fifo_area(depth: int, channels: int, bits: int, clock: Clock) -> FifoArea:
    """A stream of ``channels`` values of ``bits`` bits: Vivado HLS builds a FIFO per channel, Vitis HLS one wide.

    Which FIFOs are BRAM, and how much, was read row by row from FIFO tables of csynth reports and held without an
    exception on 13,471 of 13,473 FIFOs of 25 projects (none redistributable). Their LUTs stand in no table: what is
    given is the remainder of a design's LUTs after its layers (Vivado 2020.1 and 2019.2, Vitis 2024.2 and 2025.2).
    """
    if depth < 1:
        return FifoArea(0, 0, 0)
    if not clock.tool.vitis:
        return vivado_fifo(depth, bits).times(channels)
    return wide_fifo(depth, channels * bits) if large_device(clock.part) else vitis_fifo(depth, channels * bits)


def vivado_fifo(depth: int, bits: int) -> FifoArea:
    """One channel in Vivado HLS: a shift register up to 512 bits, BRAM above, however shallow."""
    if depth * bits <= VIVADO_SHIFT_BITS:
        return FifoArea(0, 12 + bits, max(5, 3 + depth.bit_length() - 1))
    blocks = stream_brams(depth, bits)
    return FifoArea(blocks, 57 + 87 * (blocks - 1), bits + 4 * depth.bit_length() - 8)


def vitis_fifo(depth: int, bits: int) -> FifoArea:
    """Vitis HLS on a device of one or two dies: BRAM above 1,024 bits unless it holds a single word."""
    if depth == 1 or depth * bits <= VITIS_SHIFT_BITS:
        return FifoArea(0, 60, 99)
    return FifoArea(stream_brams(depth, bits), 60, 130 + 4 * depth.bit_length())


def wide_fifo(depth: int, bits: int) -> FifoArea:
    """Vitis HLS on the large devices of :func:`large_device`: words and width rounded up to powers of two."""
    words, width = (1 << (size - 1).bit_length() for size in (depth, bits))
    size = words * width
    if depth <= 2:
        return FifoArea(0, 60, min(4 + 2 * bits, 2058))
    if size <= 2048 or (words <= 64 and size <= 8192):
        return FifoArea(0, 60, 3 * bits)
    return FifoArea(math.ceil(width / 32), 60, 2 * bits + 22 + words.bit_length() - 1)


def large_device(part: str) -> bool:
    """Whether Vitis HLS gives a part's FIFOs its own memory template: Alveo U50, U55C, U250 and the VU13P."""
    return part.lower().startswith(("xcu50", "xcu55c", "xcu250", "xcvu13p"))


def stream_brams(depth: int, bits: int) -> int:
    """BRAM 18 Kb of one FIFO: 18 bits wide up to 1,024 deep, then narrower."""
    for words, width in ((1024, 18), (2048, 9), (4096, 4), (8192, 2)):
        if depth <= words:
            return math.ceil(bits / width)
    return bits * math.ceil(depth / 16384)


# Features of LUT and FF ------------------------------------------------------------------------


def parts_of(stage: Stage, clock: Clock) -> tuple[Part, ...]:
    """The parts of a stage, each in a calibration group of its own."""
    match stage.kind:
        case "input" | "wire":
            return ()
        case "line_buffer":
            return (line_buffer(stage),)
        case "dense":
            return (kernel_part(stage, clock), *((stream_dense_part(stage),) if stage.stream else ()))
        case "conv" | "pointwise" | "depthwise":
            return convolution_parts(stage, clock)
        case "pool" | "global_pool":
            return pool_parts(stage, clock)
        case "softmax":
            return (softmax_part(stage, clock),)
        case "scale":
            return (scale_part(stage, clock),)
        case "pad":
            return (Part("pad", {"channel_bits": stage.in_channels * stage.input_bits, "one": 1.0}, {"one": 1.0}),)
        case "table":
            return (table_part(stage),)
        case "activation" | "quantize":
            return (activation_part(stage, clock),)
        case "merge":
            return (merge_part(stage),)
        case "clone" | "repack" | "resize" | "copy":
            return (stream_copy_part(stage),)
    raise UnsupportedLayer(f"layer {stage.name!r}: no model of area covers stages of kind {stage.kind!r}")


def kernel_part(stage: Stage, clock: Clock) -> Part:
    """The matrix-vector core."""
    if stage.strategy == "distributed_arithmetic":
        return distributed_kernel(stage, clock)
    if stage.resource:
        return resource_kernel_part(stage, clock)
    shared = stage.strategy == "latency" and stage.reuse_factor > 1
    if shared and multipliers(stage) > stage.multiplier_limit:
        return shared_kernel_part(stage, clock)
    return constant_kernel(stage, clock)


def constant_kernel(stage: Stage, clock: Clock) -> Part:
    """Constant multipliers and adder trees, every product at once.

    Under Resource with RF 1 (initiation interval above 1) HLS registers the products and the
    result, under Latency a late level of the trees and, in a design of one layer, the input. A clock that takes the
    whole tree in one cycle leaves no register (3 FF at 25 ns: Alezander9).
    """
    outputs = float(stage.n_out * stage.accum_bits)
    depth = kernel_cycles(stage, clock).depth
    if stage.strategy == "resource":
        held = {"folded_output_bits": outputs, **held_products(stage, clock)} if depth else {}
        return Part("kernel_constant", arithmetic(stage, clock), held)
    registers = {
        "input_register": held_input(stage) if stage.reuse_factor == 1 or depth == 0 else 0.0,
        "output_bits": outputs if depth else 0.0,
        **cut_products(stage, depth, clock),
    }
    return Part("kernel_constant", arithmetic(stage, clock), registers)


def held_input(stage: Stage) -> float:
    """Bits of the input register of a kernel that is the whole design."""
    return float(stage.n_in * stage.input_bits) if stage.outer else 0.0


def arithmetic(stage: Stage, clock: Clock) -> Features:
    """LUT features of constant products and sums."""
    facts = stage.facts
    if facts is None:
        return arithmetic_without_weights(stage, clock)
    return {
        "adder_bits": adder_bits(stage),
        "adders": float(facts.adders),
        "adder_overheads": facts.adders * adder_overhead(clock),
        **shifted_bits(facts, stage.input_bits),
        "multiplier_luts": lut_multipliers(facts, stage.input_bits, stage.multiplier),
        "dsp": float(dsp_constants(stage, clock.tool)),
    }


def adder_overhead(clock: Clock) -> float:
    """LUTs an adder costs beyond its width at csynth: 7 in Vitis HLS on UltraScale+, in Vivado HLS on its Zynq parts.

    Read from the operators of 5 module reports of Vivado 2019.2 and Vitis 2021.1 and 2024.1 (none redistributable).
    """
    if clock.family == "7series":
        return 0.0
    return ADDER_OVERHEAD_LUT if clock.tool.vitis or clock.zynq else 0.0


@lru_cache(maxsize=4096)
def shifted_bits(facts: WeightFacts, input_bits: int) -> Features:
    """Bits of shift-adds, shift-subtracts and negations: constant width plus input width each."""
    total_bits = np.arange(WIDEST) + input_bits
    return {
        "shift_add_bits": float(facts.added @ total_bits),
        "shift_subtract_bits": float(facts.subtracted @ total_bits),
        "negation_bits": float(facts.negated @ total_bits),
    }


def arithmetic_without_weights(stage: Stage, clock: Clock) -> Features:
    """The same of weights that are not known: none zero, one in three a shift-add, the others multipliers."""
    products = stage.n_in * stage.n_out
    width = stage.input_bits + stage.weight_bits
    dsp = min(constant_dsp_without_weights(stage), products)
    return {
        "adder_bits": float((products - stage.n_out) * stage.accum_bits),
        "adders": float(products),
        "adder_overheads": products * adder_overhead(clock),
        "shift_add_bits": (products - dsp) * width / 6,
        "shift_subtract_bits": (products - dsp) * width / 6,
        "negation_bits": 0.0,
        "multiplier_luts": 0.0,
        "dsp": float(dsp),
    }


def adder_bits(stage: Stage) -> float:
    """Bits of all adders of the accumulation trees of a stage."""
    if stage.facts is None:
        return 0.0
    dropped = max(stage.input_fraction + stage.weight_fraction - stage.accum_fraction, 0)
    magnitude = stage.input_bits - (1 if stage.input_signed else 0)
    return tree_bits(stage.facts, magnitude, dropped, stage.accum_bits)


@lru_cache(maxsize=4096)
def tree_bits(facts: WeightFacts, input_magnitude_bits: int, dropped_bits: int, accum_bits: int) -> float:
    """Bits of all adders of trees over products.

    A product holds no more bits than its operands, so the first levels are narrower than the
    accumulator; each level adds a bit, up to the accumulator's width.
    """
    product = input_magnitude_bits + facts.magnitude_bits + 1
    leaf = min(max(product - dropped_bits, 1.0), float(accum_bits))
    bits = float(facts.bias_nonzeros * accum_bits)
    remaining = facts.terms.copy()
    level = 1
    while remaining.max(initial=0) > 1:
        pairs = remaining // 2
        bits += float(pairs.sum()) * min(leaf + level, float(accum_bits))
        remaining = remaining - pairs
        level += 1
    return bits


@lru_cache(maxsize=4096)
def lut_multipliers(facts: WeightFacts, input_bits: int, forced: str) -> float:
    """LUTs of the multipliers that get no DSP: by operand widths (see :func:`lut_multiplier`)."""
    if forced == "dsp":
        return 0.0
    total_luts = 0.0
    for width in np.flatnonzero(facts.multiplied):
        if forced == "fabric" or not uses_dsp(int(width), input_bits):
            total_luts += int(facts.multiplied[width]) * lut_multiplier(int(width), input_bits)
    return total_luts


def lut_multiplier(first_bits: int, second_bits: int) -> float:
    """LUTs of a multiplier without DSP as csynth counts it: 23 at 6 bits to 62 at 10, 5 for an operand below 5 bits.

    >>> [round(lut_multiplier(n, n)) for n in (6, 8, 10)], round(lut_multiplier(16, 4))
    ([23, 40, 62], 5)
    """
    wider, narrower = max(first_bits, second_bits), min(first_bits, second_bits)
    if narrower < DSP_NARROWER_BITS:
        return 5.0
    if wider > 10:
        return 1.13 * wider * narrower
    return {5: 17.0, 6: 23.0, 7: 33.0, 8: 40.0, 9: 50.0, 10: 62.0}[max(wider, 5)]


def cut_products(stage: Stage, cuts: int, clock: Clock) -> Features:
    """Register features of a pipelined tree, in product bits: behind DSPs and behind LUTs, first cut and later ones.

    The first clock edge falls late in the tree and crosses few values; a longer pipeline registers
    more of it, up to about every product once.
    """
    facts = stage.facts
    products = stage.n_in * stage.n_out if facts is None else facts.nonzeros
    if facts is None:
        share = 1.0 if product_uses_dsp(stage, stage.weight_bits - 1) else 0.0
    else:
        share = dsp_constants(stage, clock.tool) / max(distinct_constants(stage), 1)
    bits = products * product_bits(stage)
    first = bits if cuts else 0.0
    return {
        "cut_dsp_bits": first * share,
        "cut_lut_bits": first * (1 - share),
        "later_cut_bits" if stage.reuse_factor == 1 else "later_cut_bits_reused": bits * min(max(cuts - 1, 0), 2),
    }


def held_products(stage: Stage, clock: Clock) -> Features:
    """Register features of distinct products, each held once: those of DSPs, and of shift-adds and LUTs."""
    facts = stage.facts
    if facts is None:
        in_dsp = min(constant_dsp_without_weights(stage), stage.n_in * stage.n_out)
        shifted = stage.n_in * stage.n_out - in_dsp
    else:
        in_dsp = dsp_constants(stage, clock.tool)
        shifted = int(facts.added.sum() + facts.subtracted.sum()) + facts.multipliers - in_dsp
    return {"held_dsp_bits": in_dsp * product_bits(stage), "held_shift_bits": shifted * product_bits(stage)}


def product_bits(stage: Stage) -> float:
    """Width of a product as the accumulator takes it: no wider than its operands together, nor than the accumulator."""
    mean = float(stage.weight_bits) if stage.facts is None else stage.facts.magnitude_bits + 1
    dropped = max(stage.input_fraction + stage.weight_fraction - stage.accum_fraction, 0)
    return min(max(stage.input_bits + mean - dropped, 1.0), float(stage.accum_bits))


def distinct_constants(stage: Stage) -> int:
    """Distinct nonzero constants per input, summed over inputs."""
    facts = stage.facts
    if facts is None:
        return stage.n_in * stage.n_out
    counted = (facts.negated, facts.added, facts.subtracted, facts.multiplied)
    return facts.wired + int(sum(int(widths.sum()) for widths in counted))


def shared_kernel_part(stage: Stage, clock: Clock) -> Part:
    """Latency with fewer multipliers than products: the same sums, multiplexed products, a state machine.

    While the products take their turns at the multipliers, the other constants' results wait in
    registers; with one turn nothing waits.
    """
    count = float(multipliers(stage))
    turns = math.ceil(count / stage.multiplier_limit)
    lut = {**arithmetic(stage, clock), "shared_products": count, "dsp": float(kernel_dsp(stage, clock))}
    facts = stage.facts
    products = float(facts.nonzeros if facts else stage.n_in * stage.n_out)
    ff = {
        "product_bits": products * stage.accum_bits,
        "waiting_bits": distinct_constants(stage) * stage.accum_bits * (1 - 1 / max(turns, 1)),
        "shared_products": count,
        "input_bits": float(stage.n_in * stage.input_bits),
        "output_bits": float(stage.n_out * stage.accum_bits),
    }
    return Part("kernel_shared", lut, ff)


def multiplexer_lut_per_bit(inputs: int) -> float:
    """LUTs per bit of an ``inputs``-to-1 multiplexer."""
    select = math.ceil(math.log2(inputs)) if inputs > 1 else 0
    known = len(MULTIPLEXER_LUT_PER_BIT) - 1
    return MULTIPLEXER_LUT_PER_BIT[min(select, known)] * 2.0 ** max(select - known, 0)


def resource_kernel_part(stage: Stage, clock: Clock) -> Part:
    """ROM-fed multipliers: input and accumulator multiplexers, accumulators, indices.

    With RF above ``n_in`` every block adds to an accumulator chosen among all outputs; below it,
    every block picks one of RF inputs; at ``n_in`` all blocks share that choice.
    """
    blocks, factor = stage.block_factor, stage.reuse_factor
    steps = factor / stage.n_in
    accumulators, inputs = stage.n_out * stage.accum_bits, stage.n_in * stage.input_bits
    above = factor > stage.n_in
    chosen = multiplexer_lut_per_bit(stage.n_out) * stage.accum_bits if above and steps > 2 else 0.0
    picked = 0.0 if above else 0.5 * factor * stage.input_bits
    input_choices = 1 if factor == stage.n_in else blocks
    no_dsp = blocks - resource_dsp(stage, clock)
    held = "outer" if stage.outer else ("dense" if stage.kind == "dense" else "window")
    lut = {
        "accumulator_multiplexers": blocks * chosen,
        "input_multiplexers": input_choices * picked,
        "block_accum_bits": blocks * stage.accum_bits if not (above and steps > 2) else 0.0,
        "accumulator_bits": float(accumulators) if above else 0.0,
        "accumulator_bits_below": 0.0 if above else float(accumulators),
        "input_bits_window" if held == "window" else "input_bits": float(inputs),
        "multipliers_without_dsp": float(no_dsp) * lut_multiplier(stage.weight_bits, stage.input_bits),
        f"one_{held}": 1.0,
    }
    ff = {
        "accumulator_bits": float(accumulators) if above else 0.0,
        "accumulator_bits_below": 0.0 if above else float(accumulators),
        "block_bits_above": blocks * stage.accum_bits if above and steps > 2 else 0.0,
        "block_bits_two": blocks * stage.accum_bits if above and steps <= 2 else 0.0,
        "block_bits_below": 0.0 if above else float(blocks * stage.accum_bits),
        "input_bits_dense": float(inputs) if held == "dense" else 0.0,
        "one": 1.0,
    }
    return Part("kernel_resource", lut, ff)


def distributed_kernel(stage: Stage, clock: Clock) -> Part:
    """Adder graph of strategy distributed_arithmetic: da4ml's own LUT figure, else adders of the CSD digits."""
    known = stage.da_lut >= 0
    lut = {"da4ml_luts": stage.da_lut if known else distributed_luts(stage)}
    depth = max(1, kernel_cycles(stage, clock).depth)
    ff = {"da4ml_luts": 0.0, "output_bits": float(stage.n_out * stage.accum_bits), "one": 1.0}
    ff["da4ml_luts"] = lut["da4ml_luts"] * depth
    return Part("kernel_distributed", lut, ff)


def distributed_luts(stage: Stage) -> float:
    """Adder bits of a kernel as an adder graph without shared subexpressions, less the third da4ml usually saves."""
    if stage.facts is None:
        return 0.67 * stage.n_in * stage.n_out * stage.weight_bits / 3 * stage.accum_bits
    facts = stage.facts
    digits = facts.adders + int(facts.added.sum() + facts.subtracted.sum()) + 2 * facts.multipliers
    return 0.67 * digits * (stage.input_bits + facts.magnitude_bits / 2)


# Streams around kernels ------------------------------------------------------------------------


def line_buffer(stage: Stage) -> Part:
    """Shift registers as deep as a row and the window they feed."""
    rows = max(stage.kernel_height - 1, 0) * stage.in_channels * stage.input_bits
    window = max(stage.kernel_size - 1, 0) * stage.in_channels * stage.input_bits
    return Part(
        "line_buffer", {"row_bits": rows * math.ceil(stage.in_width / 32)}, {"window_bits": float(window), "one": 1.0}
    )


def stream_dense_part(stage: Stage) -> Part:
    """Packs gathered before a streamed dense layer and written after it."""
    inputs, outputs = stage.n_in * stage.input_bits, stage.n_out * stage.output_bits
    lut = {"input_bits": float(inputs if stage.in_pixels == 1 else 0), "one": 1.0}
    return Part("stream_dense", lut, {"input_bits": float(inputs), "output_bits": float(outputs), "one": 1.0})


def convolution_parts(stage: Stage, clock: Clock) -> tuple[Part, ...]:
    """Kernel and, in streams, line buffer and loop; in io_parallel the kernel and a selection of its inputs."""
    kernel = kernel_part(stage, clock)
    if not stage.stream:
        return (scaled(kernel, stage.parallel_outputs), parallel_selection(stage))
    outputs = float(stage.out_channels * stage.output_bits)
    window = float(stage.kernel_size * stage.in_channels * stage.input_bits)
    waits = stage.strategy == "latency" and kernel_cycles(stage, clock).interval > 1
    registers = {"window_bits": window, "waiting_bits": window if waits else 0.0, "output_bits": outputs, "one": 1.0}
    loop = Part("stream_convolution", {"one": 1.0}, registers)
    buffer = (line_buffer(stage),) if stage.kernel_size > 1 else ()
    return (kernel, *buffer, loop)


def scaled(part: Part, times: int) -> Part:
    """A part built ``times`` times."""
    if times == 1:
        return part
    lut = {name: value * times for name, value in part.lut.items()}
    return Part(part.group, lut, {name: value * times for name, value in part.ff.items()})


def parallel_selection(stage: Stage) -> Part:
    """io_parallel convolution: each partition picks its window from the whole input; results fill the whole output."""
    window = stage.kernel_size * stage.in_channels * stage.input_bits * stage.parallel_outputs
    lut = {"window_multiplexers": window * multiplexer_lut_per_bit(stage.partitions)}
    ff = {
        "output_map_bits": float(stage.out_pixels * stage.out_channels * stage.output_bits),
        "window_bits": float(window),
    }
    return Part("parallel_convolution", lut, ff)


def pool_parts(stage: Stage, clock: Clock) -> tuple[Part, ...]:
    """Comparators (or adders) and, in streams, a line buffer."""
    channels = stage.in_channels
    if stage.stream:
        window = float(stage.kernel_size * channels * stage.input_bits)
        lut = {
            "compare_bits": max(stage.kernel_size - 1, 1) * channels * stage.input_bits,
            "channels": float(channels),
            "one": 1.0,
        }
        lut["row_bits"] = float((stage.kernel_height - 1) * channels * stage.input_bits)
        return (Part("stream_pool", lut, {"window_bits": window, "channels": float(channels), "one": 1.0}),)
    window_size = stage.kernel_size if stage.kind == "pool" else stage.in_pixels
    operations = stage.out_pixels * stage.out_channels * (window_size - 1)
    kind = "divided" if stage.operation.startswith("av") and window_size & (window_size - 1) else stage.operation[:3]
    name = {"max": "compare_bits", "divided": "average_bits"}.get(kind, "average_bits")
    ff = {"input_register": float(stage.n_in * stage.input_bits if stage.outer else 0)}
    ff["output_bits"] = float(stage.out_pixels * stage.out_channels * stage.output_bits * cycles_of(stage, clock).depth)
    return (Part("parallel_pool", {name: float(operations * stage.input_bits)}, ff),)


def activation_part(stage: Stage, clock: Clock) -> Part:
    """A comparison and a selection per element; rounding and saturation where the result type asks for them.

    A streamed result is registered, except in Vivado HLS 2020 and at 25 ns, and a loop counts its pixels. An array's
    operands are registered when the layer takes a cycle, its result when the layer is a process of its own.
    """
    elements = stage.in_channels if stage.stream else stage.n_in
    careful = stage.output_saturates or stage.output_rounds
    loop = float(stage.stream and stage.in_pixels > 1)
    lut = {
        "elements": float(elements),
        "element_bits": float(elements * stage.input_bits),
        "rounded_bits": float(elements * (stage.input_bits + stage.output_bits)) if careful else 0.0,
        "loop": loop,
    }
    held = cycles_of(stage, clock).depth * (stage.input_bits + stage.output_bits)
    registered = (stage.stream or stage.process) and not new_vivado(clock) and clock.period_ns < RELAXED_NS
    ff = {
        "held_bits": 0.0 if stage.stream else float(elements * held),
        "result_bits": float(elements * stage.output_bits) if registered else 0.0,
        "counter_bits": loop * (stage.in_pixels + 1).bit_length(),
        "loop": loop,
        "one": 1.0 if stage.stream or stage.process else 0.0,
    }
    return Part("activation", lut, ff)


def table_part(stage: Stage) -> Part:
    """A table look-up per element."""
    elements = float(stage.in_channels if stage.stream else stage.n_in)
    return Part("table", {"elements": elements, "one": 1.0}, {"elements": elements, "one": 1.0})


def softmax_part(stage: Stage, clock: Clock) -> Part:
    """Maximum tree, look-ups, sum tree, products, held in registers; a run-time table adds an exponential.

    Sharing the tables (streams with RF) registers every class; otherwise each is held through the pipeline.
    """
    classes = float(stage.in_channels)
    unfolded = 0.0 if softmax_folds(stage, clock.tool) else 1.0
    shared = stage.stream and stage.reuse_factor > 1
    in_luts = lut_multiplier(stage.table_bits, stage.table_bits) if stage.multiplier == "fabric" else 0.0
    lut = {
        "class_bits": classes * (stage.input_bits + stage.table_bits),
        "multiplier_luts": classes * in_luts,
        "run_time_table": unfolded,
        "streamed_classes": classes if stage.stream else 0.0,
    }
    ff = {
        "held_bits": 0.0 if shared else classes * stage.table_bits * softmax_core(stage, clock),
        "run_time_table": unfolded,
        "shared_classes": classes if shared else 0.0,
    }
    return Part("softmax", lut, ff)


def scale_part(stage: Stage, clock: Clock) -> Part:
    """Batch normalisation: one constant product and one addition per element, products shared under RF."""
    elements = stage.in_channels if stage.stream else stage.n_in
    needed = stage.facts is None or stage.facts.multipliers > 0
    bits = float(elements * stage.output_bits)
    shared = bits if needed and scale_turns(stage) > 1 else 0.0
    lut = {"element_bits": bits, "shared_bits": shared, "one": 1.0}
    return Part("scale", lut, {"element_bits": bits if needed else 0.0, "shared_bits": shared})


def merge_part(stage: Stage) -> Part:
    """Element-wise additions (or other operations) of two streams or arrays."""
    elements = stage.out_channels if stage.stream else stage.n_out
    width = max(stage.input_bits, stage.output_bits)
    lut = {"adder_bits": float(elements * width), "one": 1.0 if stage.stream else 0.0}
    return Part("merge", lut, {"one": 1.0 if stage.stream else 0.0})


def stream_copy_part(stage: Stage) -> Part:
    """A loop that passes values on: clone, repack, crop, resize, transpose."""
    if not stage.stream:
        return Part("copy", {}, {})
    return Part("copy", {"channel_bits": float(stage.out_channels * stage.output_bits), "one": 1.0}, {"one": 1.0})


def total(features: Mapping[str, float], coefficients: Mapping[str, float]) -> float:
    """Features times coefficients."""
    return sum(value * coefficients.get(name, 0.0) for name, value in features.items())
