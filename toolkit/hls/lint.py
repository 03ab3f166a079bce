"""What is wrong, risky or wasteful in a converted design, found before anything is synthesized.

Each rule is a function from the design to findings. Ranges are proved by interval arithmetic with
the layer's own integer weights; what the emulator observed and what the estimator found out are
handed in, because this module knows neither.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

import numpy as np

from toolkit.config import HlsConfig
from toolkit.errors import ConfigError
from toolkit.hls import reuse, softmax
from toolkit.hls.asked import not_taken
from toolkit.hls.limits import wrong_pooling, wrong_window
from toolkit.hls.reuse import MATRIX_KINDS, matrix_size
from toolkit.precision import Overflow, Precision
from toolkit.records import Array, Estimate, Finding, Graph, HlsProject, Layer, LayerProfile, Severity

UNROLL_LIMIT = 4096  # elements of an array that Vivado and Vitis HLS still partition completely
DEFAULT_PRECISION = "ap_fixed<16,6>"  # hls4ml's, which truncates and wraps
FOLDED_INPUT_BITS = 32  # widest softmax input whose table Vitis HLS turns into a ROM (seen: 16 yes, 36 to 43 no)
UNFOLDED_CYCLES = 1045
LARGE_SOFTMAX_TABLE = 1 << 13  # entries: 9 BRAM18K a reader
FAST_CLOCK_NS = {"xc7": 4.0, "other": 2.5}  # shorter periods are rarely met by HLS designs on these parts
SLOW_CLOCK_NS = 40.0
WASTED_BRAM_18K = 4  # fewer blocks wasted in FIFOs are not worth a finding

MOVING_KINDS = (
    *("Pooling1D", "Pooling2D", "GlobalPooling1D", "GlobalPooling2D", "Reshape", "Flatten", "Clone", "Repack"),
    *("Concatenate", "Resize", "Transpose", "Cropping1D", "Cropping2D"),
)

Range = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Design:
    """What the rules look at: the graph, how it was asked for, and what is known of its values."""

    graph: Graph
    config: HlsConfig
    ranges: Mapping[str, Range]  # by tensor
    sums: Mapping[str, Range]  # range of the accumulator by layer, where it was proved
    profile: tuple[LayerProfile, ...] = ()
    estimate: Estimate | None = None
    given: bool = field(default=False)  # whether the caller named input ranges


def lint(
    subject: HlsProject | Graph,
    config: HlsConfig | None = None,
    *,
    ranges: Mapping[str, Range] | None = None,
    profile: Sequence[LayerProfile] | None = None,
    estimate: Estimate | None = None,
) -> tuple[Finding, ...]:
    """Findings on a written project, or on a converted graph with its configuration; errors first.

    ``ranges`` are lowest and highest real values by tensor name, usually of the inputs; without them
    the inputs' types decide. ``profile`` is what the emulator observed on images, ``estimate`` the
    estimate of the same design (with FIFO simulation for the findings on FIFOs).
    """
    graph = subject.graph if isinstance(subject, HlsProject) else subject
    converted = subject.findings if isinstance(subject, HlsProject) else ()
    chosen = config or (subject.config if isinstance(subject, HlsProject) else None)
    if chosen is None:
        raise ConfigError("lint of a graph needs the HlsConfig it was converted with; a project carries its own")
    values, sums = value_ranges(graph, ranges or {})
    design = Design(graph, chosen, values, sums, tuple(profile or ()), estimate, given=bool(ranges))
    found = [*converted, *(finding for rule in RULES for finding in rule(design))]
    order = {severity: position for position, severity in enumerate(get_args(Severity))}
    return tuple(sorted(found, key=lambda finding: order[finding.severity]))


# Reuse factor and size -------------------------------------------------------------------------


def reuse_factor_rules(design: Design) -> Iterator[Finding]:
    """A reuse factor hls4ml would move, or has moved, under strategy Resource."""
    own = design.config.of_layers({layer.name for layer in design.graph.layers})
    for layer in resource_layers(design):
        n_in, n_out = matrix_size(layer.kind, layer.attributes)
        factor = int(layer.attributes.get("reuse_factor", 1))
        if not reuse.is_valid_reuse_factor(n_in, n_out, factor):
            near = ", ".join(str(value) for value in reuse.neighbours(reuse.valid_reuse_factors(n_in, n_out), factor))
            reason = f"reuse factor {factor} is not valid for n_in {n_in} and n_out {n_out} under Resource"
            yield Finding("error", layer.name, "reuse-factor-invalid", reason, f"choose {near}")
            continue
        asked = (own[layer.name].reuse_factor if layer.name in own else None) or design.config.reuse_factor
        if asked != factor:
            reason = f"reuse factor {asked} was asked for, {factor} is built (the nearest valid one)"
            yield Finding("note", layer.name, "reuse-factor-moved", reason, f"write {factor} to say what is built")


def resource_layers(design: Design) -> Iterator[Layer]:
    """The matrix layers built with strategy Resource."""
    for layer in design.graph.layers:
        if layer.kind in MATRIX_KINDS and strategy_of(layer, design) == "resource":
            yield layer


def strategy_of(layer: Layer, design: Design) -> str:
    """Strategy of a layer, lower case."""
    return str(layer.attributes.get("strategy", design.config.strategy)).lower()


def wrong_convolution(design: Design) -> Iterator[Finding]:
    """io_parallel, Resource, convolution with RF above the window: hls4ml 1.3 computes wrong outputs."""
    for layer in resource_layers(design):
        size, factor = matrix_size(layer.kind, layer.attributes), int(layer.attributes.get("reuse_factor", 1))
        if reuse.ends_at_n_in(layer.kind, design.config.io_type) and factor > size[0]:
            valid = reuse.right_reuse_factors(layer.kind, size, design.config.io_type, "Resource")
            reason = (
                f"io_parallel with Resource and reuse factor {factor} above the window's {size[0]} values gives "
                "wrong outputs in hls4ml 1.3 (hls4ml issue 817)"
            )
            yield Finding(
                "error",
                layer.name,
                "convolution-wrong-bits",
                reason,
                f"use a reuse factor up to {valid[-1]}, or io_stream",
            )


def wrong_windows(design: Design) -> Iterator[Finding]:
    """Windows that hls4ml 1.3 reads otherwise or stops at; only projects of others have them."""
    stream = design.config.io_type == "io_stream"
    for layer in design.graph.layers:
        described = {"class_name": layer.kind, **layer.attributes}
        padding = layer.kind.startswith("Pooling") and (stream or pads_with_a_value(layer, design))
        reason = wrong_pooling(described, stream) if padding else None
        reason = wrong_window(described, stream) if "Conv" in layer.kind else reason
        if reason:
            remedy = "csim is the truth for this project; change the model and write it again"
            yield Finding("error", layer.name, "window-wrong-bits", reason, remedy)


def pads_with_a_value(layer: Layer, design: Design) -> bool:
    """Whether a pooling is max pooling of an unsigned type, whose padding is the middle of its range."""
    unsigned = not Precision.parse(design.graph.tensors[layer.inputs[0]].precision).signed
    return unsigned and layer.attributes.get("pool_op") == "Max"


def unrolled_arrays(design: Design) -> Iterator[Finding]:
    """Arrays too large to be partitioned: io_parallel tensors, and constant kernels under Latency."""
    if design.config.io_type == "io_parallel":
        for tensor in design.graph.tensors.values():
            size = math.prod(tensor.shape)
            if size > UNROLL_LIMIT:
                reason = f"{tensor.name} has {size} elements; io_parallel partitions arrays up to {UNROLL_LIMIT}"
                yield Finding("error", tensor.name, "array-does-not-unroll", reason, "use io_stream")
    for layer in design.graph.layers:
        weight = layer.weights.get("weight") if layer.kind in MATRIX_KINDS else None
        products = weight.values.size if weight else 0
        if strategy_of(layer, design) != "latency" or products < UNROLL_LIMIT:
            continue
        severity: Severity = "error" if design.config.backend == "Vivado" else "warning"
        reason = (
            f"Latency unrolls {products} products; from {UNROLL_LIMIT} on Vivado HLS gives up (all 1,026 "
            "public runs of 2020.1 failed) and Vitis HLS takes hours"
        )
        yield Finding(severity, layer.name, "kernel-does-not-unroll", reason, "use Resource with a reuse factor")


# Types -----------------------------------------------------------------------------------------


def overflow_proved(design: Design) -> Iterator[Finding]:
    """Accumulators and results that can leave their type for inputs in range."""
    for layer in design.graph.layers:
        if layer.name in design.sums and "accum_t" in layer.types:
            yield from overflow(design, layer, "accum_t", design.sums[layer.name], "accumulator-overflow")
        before = design.sums.get(layer.name)
        if before is not None and "result_t" in layer.types:
            yield from overflow(design, layer, "result_t", before, "result-overflow")


def overflow(design: Design, layer: Layer, key: str, values: Range, rule: str) -> Iterator[Finding]:
    """One type against the values that reach it."""
    precision = Precision.parse(layer.types[key])
    low, high = values
    if low >= precision.minimum - precision.lsb / 2 and high <= precision.maximum + precision.lsb:
        return
    needed = integer_bits(values)
    what = "accumulator" if key == "accum_t" else "result"
    inputs = "the given input ranges" if design.given else "inputs anywhere in their types"
    reason = (
        f"{what} {precision} holds {precision.minimum:g} to {precision.maximum:g}; for {inputs} the sum is within "
        f"{low:g} to {high:g}"
    )
    remedy = f"give it {needed} integer bits (now {precision.integer_bits})"
    wraps = precision.overflow is Overflow.WRAP
    yield Finding(
        "warning" if wraps else "note", layer.name, rule, reason, remedy if wraps else remedy + " or keep saturating"
    )


def integer_bits(values: Range) -> int:
    """Integer bits, sign included, of a signed type that holds a range."""
    largest = max(values[1], -values[0], 2.0**-32)
    return max(math.floor(math.log2(largest)) + 2, 1)


def overflow_observed(design: Design) -> Iterator[Finding]:
    """Values that saturated or wrapped on the images the emulator saw."""
    for seen in design.profile:
        if seen.overflows:
            share = f"{seen.overflows} of {seen.total}" if seen.total else str(seen.overflows)
            reason = (
                f"{share} values left {seen.precision} on these images (range {seen.minimum:g} to {seen.maximum:g}, "
                f"type {seen.type_minimum:g} to {seen.type_maximum:g})"
            )
            bits = integer_bits((seen.minimum, seen.maximum))
            yield Finding("warning", seen.layer, "overflow-observed", reason, f"give the result {bits} integer bits")


def unused_bits(design: Design) -> Iterator[Finding]:
    """Weights that never use the top bits of their type."""
    for layer in design.graph.layers:
        for name, weight in layer.weights.items():
            if name not in ("weight", "depthwise", "pointwise") or weight.values.size == 0:
                continue
            precision = Precision.parse(weight.precision)
            needed = needed_bits(weight.values, precision)
            spare = precision.width_bits - needed
            if spare >= 1 and np.any(weight.values):
                smaller = (
                    f"{'ap_fixed' if precision.signed else 'ap_ufixed'}<{needed},{precision.integer_bits - spare}>"
                )
                reason = f"{name} uses {needed} of the {precision.width_bits} bits of {precision}"
                yield Finding("note", layer.name, "weight-bits-unused", reason, f"{smaller} holds the same values")


def needed_bits(values: Array, precision: Precision) -> int:
    """Bits of the type's least significant bit that hold every value."""
    integers = precision.to_integers(values)
    low, high = int(integers.min()), int(integers.max())
    sign = 1 if precision.signed else 0
    return max(max(high, -low - 1, 0).bit_length() + sign, 1)


def settings_not_taken(design: Design) -> Iterator[Finding]:
    """Settings named for a layer that the graph does not show."""
    yield from not_taken(design.config, design.graph)


def default_precision(design: Design) -> Iterator[Finding]:
    """Layers whose results were left in hls4ml's default type."""
    asked = design.config.precision is not None and str(Precision.parse(design.config.precision)) == DEFAULT_PRECISION
    if asked:
        return
    for layer in design.graph.layers:
        types = [key for key in ("result_t", "accum_t", "weight_t") if layer.types.get(key) == DEFAULT_PRECISION]
        if types and layer.kind not in ("Input", "Reshape", "Flatten"):
            reason = f"{', '.join(types)} left in {DEFAULT_PRECISION}, which truncates and wraps"
            remedy = f'name types in layers.{layer.name}.precision, or precision = "{DEFAULT_PRECISION}" if it is meant'
            yield Finding("warning", layer.name, "default-precision", reason, remedy)


# Tables, FIFOs, part, clock ------------------------------------------------------------------------


def softmax_tables(design: Design) -> Iterator[Finding]:
    """Softmax whose exponential table Vitis HLS fills at run time, and tables that cost decisions or memory."""
    for layer in design.graph.layers:
        if layer.kind != "Softmax" or not layer.inputs or str(layer.attributes.get("implementation")) == "argmax":
            continue
        logits = Precision.parse(design.graph.tensors[layer.inputs[0]].precision)
        bits = logits.width_bits
        if design.config.backend == "Vitis" and bits > FOLDED_INPUT_BITS:
            reason = f"input of {bits} bits: Vitis HLS fills the table at run time, {UNFOLDED_CYCLES} cycles an image"
            remedy = f"give its input {FOLDED_INPUT_BITS} bits or fewer, or leave softmax out (argmax)"
            yield Finding("warning", layer.name, "softmax-table-not-folded", reason, remedy)
        yield from lost_decisions(design, layer, logits)
        size = int(layer.attributes.get("exp_table_size", 0))
        if size >= LARGE_SOFTMAX_TABLE:
            reason = f"every one of {layer.shape[-1]} classes reads a table of {size:,} entries"
            remedy = f"{cheaper(layer, logits)}; a smaller table_size lets close logits tie"
            yield Finding("note", layer.name, "softmax-table-large", reason, remedy)


def lost_decisions(design: Design, layer: Layer, logits: Precision) -> Iterator[Finding]:
    """Softmax after which the largest logit need not have the largest output."""
    lost = softmax.lost_decision(layer, logits)
    if lost is not None:
        key, how = lost
        size = 1 << softmax.difference_type(logits, None).width_bits
        finer = f"leave precision.{key} to the tool, or "
        if key == "table_size":  # beyond the largest no table tells them apart
            finer = f"table_size = {size}, or " if softmax.tells_apart(logits) else ""
        severity: Severity = "note" if key == "result" else "warning"
        reason = f"close logits become equal and argmax takes the first ({key}): {how}"
        yield Finding(severity, layer.name, "softmax-ties", reason, f"{finer}{cheaper(layer, logits)}")
    least = softmax.wraps_from(layer, logits)
    low, high = design.ranges.get(layer.inputs[0], (logits.minimum, logits.maximum))
    if least is not None and high - low >= least:
        reason = (
            f"max - x wraps from {least:g} on, and logits are within {low:g} to {high:g}: the least likely looks likely"
        )
        yield Finding("warning", layer.name, "softmax-wraps", reason, "write the project anew, or end it at the logits")


def cheaper(layer: Layer, logits: Precision) -> str:
    """What keeps the decisions without a table, or with a small one."""
    return (
        f'implementation = "argmax" (hls.layers.{layer.name}), no softmax (the class is the largest logit), or logits '
        f"of fewer fraction bits than {logits.fraction_bits}"
    )


def fifo_depths(design: Design) -> Iterator[Finding]:
    """FIFOs that deadlock, stall or waste BRAM, as the simulation of the estimate found."""
    if design.estimate is None:
        return
    for note in design.estimate.notes:
        if note.startswith("deadlock"):
            yield Finding("error", None, "fifo-deadlock", note, "use the needed depths of the estimate")
        elif "FIFO depths cost" in note:
            yield Finding("warning", None, "fifo-stall", note, "use the needed depths of the estimate")
    for fifo in design.estimate.fifos:
        wasted = fifo.default_bram_18k - fifo.needed_bram_18k
        if fifo.peak_depth and wasted >= WASTED_BRAM_18K:
            reason = f"depth {fifo.default_depth} takes {fifo.default_bram_18k} BRAM18K, {fifo.needed_depth} is enough"
            yield Finding("note", fifo.name, "fifo-waste", reason, f"depth {fifo.needed_depth} saves {wasted} BRAM18K")


def part_exceeded(design: Design) -> Iterator[Finding]:
    """Resources beyond the part."""
    if design.estimate is None:
        return
    for name, share in design.estimate.utilization.items():
        if share.value > 100:
            reason = f"{name} estimated at {share.value:.0f} % of {design.config.part}"
            remedy = "raise the reuse factor, lower widths, or take a larger part"
            yield Finding("error", None, "part-exceeded", reason, remedy)
        elif share.high is not None and share.high > 100:
            reason = f"{name} estimated at {share.value:.0f} %, up to {share.high:.0f} % of {design.config.part}"
            yield Finding("note", None, "part-may-be-exceeded", reason, "synthesize before relying on the fit")


def implausible_clock(design: Design) -> Iterator[Finding]:
    """Clocks that HLS designs on this kind of part do not meet, or that waste it."""
    period, part = design.config.clock_period_ns, design.config.part.lower()
    fast = FAST_CLOCK_NS["xc7" if part.startswith(("xc7", "xa7")) else "other"]
    if period < fast:
        reason = f"{period:g} ns ({1000 / period:.0f} MHz) is rarely met on {design.config.part}"
        yield Finding("warning", None, "clock-implausible", reason, f"use {fast:g} ns or more")
    elif period > SLOW_CLOCK_NS:
        reason = f"{period:g} ns is {1000 / period:.0f} MHz; is the unit ns?"
        yield Finding("warning", None, "clock-implausible", reason, "5 to 10 ns is usual")


RULES: tuple[Callable[[Design], Iterator[Finding]], ...] = (
    reuse_factor_rules,
    wrong_convolution,
    wrong_windows,
    unrolled_arrays,
    overflow_proved,
    overflow_observed,
    softmax_tables,
    settings_not_taken,
    fifo_depths,
    part_exceeded,
    implausible_clock,
    unused_bits,
    default_precision,
)


# Ranges ------------------------------------------------------------------------------------------


def value_ranges(graph: Graph, given: Mapping[str, Range]) -> tuple[dict[str, Range], dict[str, Range]]:
    """Lowest and highest value of every tensor and of every proved sum, by interval arithmetic.

    A sum is bounded with its own weights, each input free within its range: attained where the
    inputs are independent. What no rule covers has the range of its type. Results are cut to what
    their type holds; a wrapping type that is exceeded gives its whole range.
    """
    ranges: dict[str, Range] = {}
    sums: dict[str, Range] = {}
    for layer in graph.layers:
        sources = [ranges[name] for name in layer.inputs if name in ranges]
        found = sum_range(layer, sources)
        if found is not None:
            sums[layer.name] = found
        else:
            found = passed_range(layer, sources)
        for name in layer.outputs:
            precision = Precision.parse(graph.tensors[name].precision)
            ranges[name] = given.get(name, held(found, precision))
    return ranges, sums


def held(values: Range | None, precision: Precision) -> Range:
    """A range as a type holds it."""
    limits = precision.minimum, precision.maximum
    if values is None:
        return limits
    outside = values[0] < limits[0] or values[1] > limits[1]
    if outside and precision.overflow is Overflow.WRAP:
        return limits
    return max(values[0], limits[0]), min(values[1], limits[1])


def sum_range(layer: Layer, sources: Sequence[Range]) -> Range | None:
    """Range of a weighted sum, bias included; ``None`` for layers that are none."""
    if (
        layer.kind == "Merge"
        and str(layer.attributes.get("op", "")).lower() in ("add", "subtract")
        and len(sources) == 2
    ):
        sign = -1 if str(layer.attributes["op"]).lower() == "subtract" else 1
        second = sources[1] if sign > 0 else (-sources[1][1], -sources[1][0])
        return sources[0][0] + second[0], sources[0][1] + second[1]
    weight = layer.weights.get("weight", layer.weights.get("depthwise", layer.weights.get("scale")))
    if weight is None or not sources or layer.kind not in (*MATRIX_KINDS, "BatchNormalization", "ApplyAlpha"):
        return None
    low, high = weighted(weight.values, sources[0], elementwise="scale" in layer.weights, layer=layer)
    bias = layer.weights.get("bias")
    offset = bias.values.reshape(-1) if bias is not None and bias.values.size == low.size else 0.0
    return float((low + offset).min()), float((high + offset).max())


def weighted(values: Array, source: Range, *, elementwise: bool, layer: Layer) -> tuple[Array, Array]:
    """Lowest and highest sum of each output over inputs in a range (and zero, where padding brings it in)."""
    padded = any(layer.attributes.get(f"pad_{side}", 0) for side in ("top", "bottom", "left", "right"))
    low, high = (min(source[0], 0.0), max(source[1], 0.0)) if padded else source
    matrix = values.reshape(1, -1) if elementwise else values.reshape(-1, values.shape[-1])
    if layer.kind.startswith("Depthwise"):
        channels = values.shape[-2] if values.shape[-1] == 1 else values.shape[-1]
        matrix = values.reshape(-1, channels)
    positive, negative = np.maximum(matrix, 0.0).sum(axis=0), np.minimum(matrix, 0.0).sum(axis=0)
    return positive * low + negative * high, positive * high + negative * low


def passed_range(layer: Layer, sources: Sequence[Range]) -> Range | None:
    """Range through layers that move or bend values without weights; ``None`` where only the type is known."""
    if not sources:
        return None
    low, high = min(pair[0] for pair in sources), max(pair[1] for pair in sources)
    activation = str(layer.attributes.get("activation", "")).lower()
    if layer.kind == "Activation" and activation == "relu":
        return max(low, 0.0), max(high, 0.0)
    moves = ("Pooling1D", "Pooling2D", "GlobalPooling1D", "GlobalPooling2D", "Reshape", "Flatten", "Clone", "Repack")
    if (
        layer.kind in (*moves, "Concatenate", "Resize", "Transpose", "Cropping1D", "Cropping2D")
        or activation == "linear"
    ):
        return low, high
    if layer.kind in ("ZeroPadding1D", "ZeroPadding2D"):
        return min(low, 0.0), max(high, 0.0)
    return None
