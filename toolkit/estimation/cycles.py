"""Cycles of one stage, as the HLS scheduler decides them.

Each rule names what it was read from: hls4ml's C++ (``nnet_utils``), and the public synthesis
reports of the calibration (Vivado HLS 2018.2-2020.1, Vitis HLS 2021.1-2025.2). Cycles are integers;
whoever prints them adds the interval that the calibration's residuals give.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from toolkit.estimation.stages import UNPRICED, Stage
from toolkit.estimation.tools import Tool
from toolkit.estimation.weights import uses_dsp

# A level of the adder tree and a multiplier, in ns, by family: the values that give the latency of the most
# Latency kernels of the calibration (Vivado 2020.1 and Vitis 2024.2-2025.2 on UltraScale+, Vitis 2021.1 on
# 7-series). Levels are ternary adders on UltraScale and later, two-input adders on 7-series.
ADDER_NS = {"7series": 2.2, "ultrascale": 1.3, "ultrascale+": 1.06, "versal": 0.9}
MULTIPLIER_NS = {"7series": 5.3, "ultrascale": 3.9, "ultrascale+": 3.35, "versal": 2.8}
# A clock that a 7-series multiplier does not fit gives it whole registers: three where a DSP is fast, else one
# (Vitis HLS 2021.1: usable 2.7 to 2.9 ns and 4.4 ns).
FAST_DSP_NS = 3.5
FAST_DSP_REGISTERS = 3
# Cycles of a shared multiplier and the addition after it: in a DSP, and in LUTs. On 7-series fewer at slow clocks
# (pominiq, 12 rows at 10 and 25 ns).
SHARED_PRODUCT = {"7series": (6, 2), "ultrascale": (1, 1), "ultrascale+": (1, 1), "versal": (1, 1)}

LAYERED_TEMPLATES = (0, 7)  # hls4ml's streamed convolutions as they are today

SHORT_NS, RELAXED_NS = 5.0, 25.0  # clocks at which loops of 7-series need, or spare, a cycle

UNFOLDED_TABLE_CYCLES = 1045  # init_exp_table run at start, 1,024 entries (Vitis HLS 2024.2 and 2025.2)
FOLDED_INPUT_BITS = 32  # widest input whose softmax table Vitis HLS still turns into a ROM


@dataclass(frozen=True)
class Clock:
    """Target clock: period, and what the tool keeps back of it."""

    period_ns: float
    tool: Tool
    family: str
    uncertainty_ns: float | None = None
    part: str = ""

    @cached_property
    def zynq(self) -> bool:
        """Whether the part is a Zynq UltraScale+ or Kria."""
        return self.part.lower().startswith(("xczu", "xck"))

    @cached_property
    def usable_ns(self) -> float:
        """Time for logic within one period."""
        return self.tool.usable_ns(self.period_ns, self.uncertainty_ns)


@dataclass(frozen=True)
class Cycles:
    """Latency of one use of a stage (``low`` and ``high`` as csynth prints them) and its initiation interval."""

    low: int
    high: int
    interval: int
    depth: int = 0  # cycles from the last input of one output to that output


def cycles_of(stage: Stage, clock: Clock) -> Cycles:
    """Cycles of a stage as csynth would print them for its module."""
    if stage.kind in ("input", "wire", UNPRICED):
        return Cycles(0, 0, 1)  # of an unpriced layer the least it can take: totals are marked as bounds
    if stage.kind == "separable":
        return pixel_cycles(stage.in_pixels, 1, 3, clock)
    if stage.stream:
        return stream_cycles(stage, clock)
    if stage.kind in ("conv", "pointwise", "depthwise"):
        return parallel_convolution(stage, clock)
    if stage.kind == "dense":
        return kernel_cycles(stage, clock)
    return parallel_cycles(stage, clock)


# Matrix kernels ------------------------------------------------------------------------------


def kernel_cycles(stage: Stage, clock: Clock) -> Cycles:
    """The matrix-vector core: ``nnet_dense_latency.h`` or ``nnet_dense_resource.h``."""
    if stage.resource:
        return resource_kernel(stage)
    depth = tree_cycles(stage, clock)
    if stage.strategy == "resource":
        return Cycles(depth, depth, depth + 1, depth)
    if stage.reuse_factor == 1:
        return Cycles(depth, depth, 1, depth)
    return shared_kernel(stage, clock, depth)


def resource_kernel(stage: Stage) -> Cycles:
    """One block of multipliers a cycle: II is RF, latency RF + 1 to RF + 2.

    One cycle less when multiply and add fit in one: weights of 4 bits or fewer with RF up to
    ``2 * n_in``, or a small input multiplexer (RF up to ``n_in``, ``n_in`` up to 64).
    """
    factor = stage.reuse_factor
    narrow = stage.weight_bits <= 4 and factor <= 2 * stage.n_in
    near = factor <= stage.n_in <= 64
    low = factor if narrow or near else factor + 1
    return Cycles(low, low + 1, factor, 2)


def shared_kernel(stage: Stage, clock: Clock, depth: int) -> Cycles:
    """Latency with RF > 1: the multiplier limit, not RF, decides how many products share one multiplier."""
    count = multipliers(stage)
    if count == 0 and depth == 0:
        return Cycles(0, 0, 1)
    turns = math.ceil(count / stage.multiplier_limit)
    if turns <= 1:
        latency = max(depth, 1) + (1 if stage.outer else 0)
        return Cycles(latency, latency, min(stage.reuse_factor, latency + 1), depth)
    slow = 2 if clock.usable_ns < 12 else 1
    tail = SHARED_PRODUCT[clock.family][0 if product_uses_dsp(stage, stage.weight_bits) else 1]
    tail = min(tail, slow) if clock.usable_ns > SHORT_NS else tail
    last = turns - 1 + tail if turns > 2 else 2  # a second turn of a few products ends within the tree
    latency = max(depth, last) + (1 if stage.outer else 0)
    return Cycles(latency, latency, min(stage.reuse_factor, latency + 1), depth)


def multipliers(stage: Stage) -> int:
    """Distinct constants that need a multiplier, in DSPs or LUTs."""
    return 0 if stage.facts is None else stage.facts.multipliers


def tree_cycles(stage: Stage, clock: Clock) -> int:
    """Registers in a fully parallel constant matrix: multiplier and adder tree cut at the clock.

    A constant of two signed digits, or a negative power of two, costs a level of its own.
    """
    if not needs_multiplier(stage):
        shifted = stage.facts is not None and stage.facts.shifted
        return math.floor((levels_ns(stage, clock) + shifted * ADDER_NS[clock.family]) / clock.usable_ns)
    multiplier = MULTIPLIER_NS[clock.family]
    if clock.family != "7series" or clock.usable_ns >= multiplier:
        return math.floor((levels_ns(stage, clock) + multiplier) / clock.usable_ns)
    fast_dsp = clock.usable_ns < FAST_DSP_NS and stage.multiplier != "fabric" and stage_uses_dsp(stage, clock)
    return (FAST_DSP_REGISTERS if fast_dsp else 1) + math.floor(levels_ns(stage, clock) / clock.usable_ns)


def needs_multiplier(stage: Stage) -> bool:
    """Whether a constant matrix has a product that is more than a shift-add."""
    return stage.facts is None or stage.facts.multipliers > 0


def stage_uses_dsp(stage: Stage, clock: Clock) -> bool:
    """Whether any of a constant matrix' products goes to a DSP."""
    if stage.facts is None or stage.multiplier:
        return product_uses_dsp(stage, stage.weight_bits - 1)
    return stage.facts.dsp_multipliers(stage.input_bits, signed=clock.tool.vitis) > 0


def levels_ns(stage: Stage, clock: Clock) -> float:
    """Delay of the levels of the largest adder tree, in ns."""
    terms = stage.n_in if stage.facts is None else stage.facts.longest
    base = 2 if clock.family == "7series" else 3
    return math.ceil(math.log(max(terms, 1), base) - 1e-9) * ADDER_NS[clock.family]


def parallel_convolution(stage: Stage, clock: Clock) -> Cycles:
    """io_parallel convolution: the kernel once per partition (``nnet_conv2d_latency.h``, ``..._resource.h``)."""
    kernel = kernel_cycles(stage, clock)
    interval = max(1, stage.reuse_factor if stage.resource else min(kernel.interval, stage.reuse_factor))
    busy = stage.partitions * interval
    if stage.partitions == 1:
        return kernel
    high = busy + max(kernel.high - interval, 0) + 2
    return Cycles(high - (1 if stage.strategy == "resource" else 0), high, high + 1 if clock.tool.vitis else busy)


# Streams -------------------------------------------------------------------------------------


def stream_cycles(stage: Stage, clock: Clock) -> Cycles:
    """One image through an io_stream stage."""
    match stage.kind:
        case "dense":
            return stream_dense(stage, clock)
        case "conv" | "depthwise" | "pointwise":
            return stream_convolution(stage, clock)
        case "pool":
            return stream_pooling(stage, clock)
        case "softmax":
            return stream_softmax(stage, clock)
        case "pad":
            total = padded_cycles(stage, clock)
            return Cycles(total, total, total, 1)
        case "scale":
            return pixel_cycles(stage.in_pixels, scale_turns(stage), 2 if stage.in_pixels > 1 else 0, clock)
        case "global_pool":
            return pixel_cycles(stage.in_pixels, 1, 4, clock)
        case "resize":
            return pixel_cycles(stage.out_pixels, 1, 2, clock)
        case "repack":
            return pixel_cycles(max(stage.in_pixels, stage.out_pixels), 1, 2, clock)
    if stage.in_pixels == 1:
        latency = (2 if stage.kind == "table" else 1) - new_vivado(clock)
        return Cycles(latency, latency, max(latency, 1), latency)
    return pixel_cycles(stage.in_pixels, 1, 2 + old_vivado(clock) + (stage.kind == "table"), clock)


def vivado(clock: Clock) -> int:
    """1 under Vivado HLS, 0 under Vitis HLS."""
    return 0 if clock.tool.vitis else 1


def old_vivado(clock: Clock) -> int:
    """1 before Vivado HLS 2020, which leaves its loops one cycle later."""
    return 1 if not clock.tool.vitis and clock.tool.version < (2020, 1) else 0


def new_vivado(clock: Clock) -> int:
    """1 in Vivado HLS 2020, which needs no register around a stage of one token."""
    return vivado(clock) - old_vivado(clock)


def pixel_cycles(pixels: int, interval: int, tail: int, clock: Clock) -> Cycles:
    """A pipelined loop over pixels."""
    total = pixels * interval + tail
    return Cycles(total, total, total, max(tail - 1, 1))


def stream_pooling(stage: Stage, clock: Clock) -> Cycles:
    """Every pixel through the line buffer (``nnet_pooling_stream.h``).

    The same templates: II 1 up to Vitis HLS 2023.1 and again from 2025.1, 2 between (16 of 16 rows, 8 projects).
    Vivado HLS on 7-series needs 2 at clocks of 5 ns and below, and more cycles to leave a large window.
    """
    tool = clock.tool
    relaxed = clock.period_ns >= RELAXED_NS
    if tool.vitis:
        two = (2023, 2) <= tool.version < (2025, 1)
        tail = 2 if relaxed or tool.version >= (2025, 1) else 3
        return pixel_cycles(stage.in_pixels, 2 if two else 1, tail, clock)
    if clock.family == "7series" and clock.period_ns <= SHORT_NS:
        return pixel_cycles(stage.in_pixels, 2, 3 if stage.kernel_size <= 4 else 10, clock)
    window = math.floor(math.log2(stage.kernel_size)) // 2 if clock.family == "7series" else 0
    return pixel_cycles(stage.in_pixels, 1, 2 if relaxed else 3 + window, clock)


def stream_dense(stage: Stage, clock: Clock) -> Cycles:
    """Packs read one by one, the kernel, one pack written (``nnet_dense_stream.h``)."""
    kernel = kernel_cycles(stage, clock)
    packs = stage.in_pixels
    around = (packs + 2 + (1 if clock.tool.vitis or stage.resource else 0)) if packs > 1 else 2
    return Cycles(kernel.low + around, kernel.high + around, kernel.high + around, kernel.high)


def stream_convolution(stage: Stage, clock: Clock) -> Cycles:
    """All input pixels in turn through the line buffer (``nnet_conv2d_stream.h``).

    csynth's maximum supposes that every pixel completes a window; its minimum, that none does.
    """
    full, idle = pixel_cost(stage, clock), idle_cost(stage, clock)
    if not pixels_pipelined(stage, clock):
        after = 1 if clock.tool.vitis or stage.templates < (0, 6) else 0
        total = stage.in_pixels * full + after
        return Cycles(stage.in_pixels * idle + after, total, total, full)
    depth = kernel_cycles(stage, clock).high
    tail = depth + 2 if full == 1 else 2 + (1 if clock.tool.vitis and clock.period_ns < RELAXED_NS else 0)
    total = stage.in_pixels * full + tail
    return Cycles(stage.in_pixels * idle + tail, total, total, full if full > 1 else depth + 2)


def pixels_pipelined(stage: Stage, clock: Clock) -> bool:
    """Whether HLS pipelines the loop over pixels: not around a Resource kernel, but Vitis HLS does at RF 1."""
    return stage.strategy != "resource" or (clock.tool.vitis and not stage.resource)


def pixel_cost(stage: Stage, clock: Clock) -> int:
    """Cycles of an input pixel that completes a window.

    Vivado HLS pipelines the loop at RF when the kernel allows; Vitis HLS does not inline the
    output buffer of a convolution (it does a depthwise and a pointwise one's, as hls4ml's
    ``nnet_conv_stream.h`` and ``nnet_sepconv_stream.h`` ask), so its interval is that of the buffer around the
    kernel, whose latency is 2 cycles more than the kernel's. Resource is not pipelined: RF and what
    :func:`around_kernel` says.
    """
    kernel = kernel_cycles(stage, clock)
    if not pixels_pipelined(stage, clock):
        if not stage.resource and stage.templates < LAYERED_TEMPLATES:
            return kernel.high + 3
        return stage.reuse_factor + (around_kernel(stage, clock) if stage.resource else idle_cost(stage, clock))
    if clock.tool.vitis and stage.kind == "conv":
        return kernel.high + 2
    return max(1, min(stage.reuse_factor, kernel.high + 3))


def around_kernel(stage: Stage, clock: Clock) -> int:
    """Cycles of a Resource convolution's busy pixel beyond RF, by tool and by hls4ml's templates.

    Vitis HLS: 5, and 6 on 7-series at 10 ns and below (16 of 16 rows, 2 owners). Vivado HLS: 5 in the first stream
    templates (PokerML), 8 to 10 in 0.6.0 (kendermag), and from 0.7 on the idle pixel's cycles come first (pominiq,
    Berk-Bilgin).
    """
    seven = clock.family == "7series"
    if clock.tool.vitis:
        return 6 if seven and clock.period_ns <= 10 else 5
    if stage.templates < (0, 6):
        return 5
    if stage.templates < LAYERED_TEMPLATES:
        return 8 + (uses_dsp(stage.input_bits, 11) + (stage.in_channels > 1) if stage.input_bits > 10 else 0)
    return idle_cost(stage, clock) + (3 if seven or clock.period_ns <= SHORT_NS else 1)


def idle_cost(stage: Stage, clock: Clock) -> int:
    """Cycles of an input pixel that only moves the line buffer."""
    if pixels_pipelined(stage, clock):
        return pixel_cost(stage, clock)
    if clock.tool.vitis or (0, 6) <= stage.templates < LAYERED_TEMPLATES:
        return 4
    if stage.templates < (0, 6):
        return 3
    if stage.in_channels == 1:
        return 6
    if stage.templates < (0, 8) and stage.in_height > 1:
        return max(6, stage.kernel_size * stage.in_channels - 2)  # 34 for 3x3x4: the one size there is (pominiq)
    return 8


def padded_cycles(stage: Stage, clock: Clock) -> int:
    """ZeroPadding: every pixel of the padded map (``nnet_padding_stream.h``).

    Vivado HLS flattens the loops of a margin of 1; wider ones are loops of their own in each row. On a series it
    counts the input, with 3 cycles for each value beyond one on either side (12 of 12 rows). Vitis HLS needs 13
    cycles around a map (8 of 8), 3 around a series.
    """
    top, bottom, left, right = stage.padding
    if stage.in_height == stage.out_height == 1:
        return stage.out_pixels + 3 if clock.tool.vitis else stage.in_pixels + 1 + 3 * max(left + right - 2, 0)
    if max(top, bottom, left, right) > 1:
        return stage.out_pixels + 4 * stage.in_height + 11
    return stage.out_pixels + (13 if clock.tool.vitis else 3)


def scale_turns(stage: Stage) -> int:
    """Uses of each multiplier of a batch normalisation per pixel: channels over the multiplier limit."""
    channels = stage.in_channels
    limit = max(1, math.ceil(channels / stage.reuse_factor))
    return max(1, math.ceil(channels / limit))


# Softmax and io_parallel layers ----------------------------------------------------------------


def softmax_folds(stage: Stage, tool: Tool) -> bool:
    """Whether the exponential table becomes a ROM; Vitis HLS fills it at run time for inputs wider than 32 bits."""
    return not tool.vitis or stage.input_bits <= FOLDED_INPUT_BITS


def softmax_core(stage: Stage, clock: Clock) -> int:
    """Latency of maximum tree, tables, sum tree and product for one pixel.

    On 7-series tables and a DSP product are registers of their own, 6 cycles (3.4 on average without a DSP).
    """
    levels = math.ceil(math.log2(max(stage.in_channels, 2)))
    if stage.operation == "argmax":
        return levels
    if clock.family == "7series":
        return max(1, round((3.4 if stage.multiplier == "fabric" else 6.0) + 10.2 * levels / clock.usable_ns))
    return max(1, round((5.0 + 4.0 * levels) / clock.usable_ns))


def stream_softmax(stage: Stage, clock: Clock) -> Cycles:
    """Softmax of each pixel; RF shares the tables (``nnet_activation_stream.h``)."""
    classes = stage.in_channels
    interval = classes // math.ceil(classes / stage.reuse_factor)
    core = softmax_core(stage, clock) + 2
    if interval > 1:
        core = 2 * classes + 2 * math.ceil(math.log2(max(classes, 2))) - 2
    if not softmax_folds(stage, clock.tool):
        core += UNFOLDED_TABLE_CYCLES + 4
    total = core + (stage.in_pixels - 1) * interval
    return Cycles(total, total, total, core)


def parallel_cycles(stage: Stage, clock: Clock) -> Cycles:
    """Element-wise layers with every element at once."""
    match stage.kind:
        case "softmax":
            latency = softmax_core(stage, clock)
            extra = 0 if softmax_folds(stage, clock.tool) else UNFOLDED_TABLE_CYCLES
            return Cycles(latency + extra, latency + extra, max(1, extra), latency)
        case "scale":
            latency = 1 if stage.facts is None or stage.facts.multipliers else 0
        case "table":
            latency = 1 if stage.operation in ("sigmoid", "tanh") else 2
        case "pool" | "global_pool":
            latency = pool_latency(stage, clock)
        case "activation" | "quantize":
            latency = math.floor(relu_ns(stage, clock.family) / clock.usable_ns)
        case _:
            latency = 0
    return Cycles(latency, latency, 1, latency)


def relu_ns(stage: Stage, family: str) -> float:
    """Delay of a comparison, and of rounding and saturation where the result type asks for them."""
    share = {"7series": 3.5, "ultrascale": 2.0}.get(family, 1.1)
    return share if stage.output_saturates or stage.output_rounds else 0.5 * share


def pool_latency(stage: Stage, clock: Clock) -> int:
    """Maximum trees fit one cycle; an average over a window that is no power of two divides (21 cycles)."""
    window = stage.kernel_size if stage.kind == "pool" else stage.in_pixels
    if stage.operation.startswith("av") and window & (window - 1):
        return 21
    return math.floor(math.ceil(math.log2(max(window, 2))) * ADDER_NS[clock.family] / clock.usable_ns)


def product_uses_dsp(stage: Stage, weight_bits: int) -> bool:
    """Whether the multipliers of a kernel go to DSPs: operand widths, unless a directive forces them."""
    if stage.multiplier:
        return stage.multiplier == "dsp"
    return uses_dsp(stage.input_bits, weight_bits)
