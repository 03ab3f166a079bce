"""What is wrong, risky or wasteful in a converted design, found before anything is synthesized.

Each rule is a function from the design to findings. Ranges are proved by interval arithmetic with
the layer's own integer weights; what the emulator observed and what the estimator found out are
handed in, because this module knows neither.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from toolkit import records
from toolkit.config import HlsConfig
from toolkit.errors import ConfigError
from toolkit.hls import reuse, softmax
from toolkit.hls.asked import not_taken
from toolkit.hls.folder import as_project
from toolkit.hls.limits import wrong_pooling, wrong_window
from toolkit.hls.network import network_of
from toolkit.network import Graph, Layer, Unknown, Weight
from toolkit.network.layers import (
    Convolutional,
    Depthwise,
    Input,
    Matrix,
    Pool,
    Pooling,
    Reshape,
    Softmax,
    SoftmaxForm,
)
from toolkit.network.ranges import Ranges, ranges_of
from toolkit.precision import Overflow, Precision
from toolkit.records import Estimate, Finding, HlsProject, LayerProfile, Severity

UNROLL_LIMIT = 4096  # elements of an array that Vivado and Vitis HLS still partition completely
DEFAULT_PRECISION = Precision(16, 6)  # hls4ml's, which truncates and wraps
FOLDED_INPUT_BITS = 32  # widest softmax input whose table Vitis HLS turns into a ROM (seen: 16 yes, 36 to 43 no)
UNFOLDED_CYCLES = 1045
LARGE_SOFTMAX_TABLE = 1 << 13  # entries: 9 BRAM18K a reader
FAST_CLOCK_NS = {"xc7": 4.0, "other": 2.5}  # shorter periods are rarely met by HLS designs on these parts
SLOW_CLOCK_NS = 40.0
WASTED_BRAM_18K = 4  # fewer blocks wasted in FIFOs are not worth a finding

Bounds = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Design:
    """What the rules look at: the network, how it was asked for, and what is known of its values."""

    graph: Graph
    config: HlsConfig
    ranges: Ranges
    record: records.Graph | None = None  # hls4ml's own words, where a front end wrote them
    profile: tuple[LayerProfile, ...] = ()
    estimate: Estimate | None = None
    given: bool = field(default=False)  # whether the caller named input ranges


def lint(
    subject: HlsProject | records.Graph | Graph | str | Path,
    config: HlsConfig | None = None,
    *,
    ranges: Mapping[str, Bounds] | None = None,
    profile: Sequence[LayerProfile] | None = None,
    estimate: Estimate | None = None,
) -> tuple[Finding, ...]:
    """Findings on a written project, or on a converted graph with its configuration; errors first.

    ``ranges`` are lowest and highest real values by tensor name, usually of the inputs; without them
    the inputs' types decide. ``profile`` is what the emulator observed on images, ``estimate`` the
    estimate of the same design (with FIFO simulation for the findings on FIFOs).
    """
    if isinstance(subject, (str, Path)):
        subject = as_project(subject)
    record = subject.graph if isinstance(subject, HlsProject) else subject
    converted = subject.findings if isinstance(subject, HlsProject) else ()
    chosen = config or (subject.config if isinstance(subject, HlsProject) else None)
    if chosen is None:
        raise ConfigError("lint of a graph needs the HlsConfig it was converted with; a project carries its own")
    graph = network_of(subject)
    design = Design(
        graph=graph,
        config=chosen,
        ranges=ranges_of(graph, ranges),
        record=None if isinstance(record, Graph) else record,
        profile=tuple(profile or ()),
        estimate=estimate,
        given=bool(ranges),
    )
    found = [*converted, *(finding for rule in RULES for finding in rule(design))]
    order = {severity: position for position, severity in enumerate(get_args(Severity))}
    return tuple(sorted(found, key=lambda finding: order[finding.severity]))


# Reuse factor and size -------------------------------------------------------------------------


def reuse_factor_rules(design: Design) -> Iterator[Finding]:
    """A reuse factor hls4ml would move, or has moved, under strategy Resource."""
    own = design.config.of_layers({layer.name for layer in design.graph.layers})
    for layer in resource_layers(design):
        n_in, n_out = layer.matrix_size
        factor = layer.build.reuse_factor or 1
        if not reuse.is_valid_reuse_factor(n_in, n_out, factor):
            near = ", ".join(str(value) for value in reuse.neighbours(reuse.valid_reuse_factors(n_in, n_out), factor))
            reason = f"reuse factor {factor} is not valid for n_in {n_in} and n_out {n_out} under Resource"
            yield Finding("error", layer.name, "reuse-factor-invalid", reason, f"choose {near}")
            continue
        asked = (own[layer.name].reuse_factor if layer.name in own else None) or design.config.reuse_factor
        if asked != factor:
            reason = f"reuse factor {asked} was asked for, {factor} is built (the nearest valid one)"
            yield Finding("note", layer.name, "reuse-factor-moved", reason, f"write {factor} to say what is built")


def resource_layers(design: Design) -> Iterator[Matrix]:
    """The matrix layers built with strategy Resource."""
    for layer in design.graph.layers:
        if isinstance(layer, Matrix) and strategy_of(layer, design) == "resource":
            yield layer


def strategy_of(layer: Layer, design: Design) -> str:
    """Strategy of a layer, lower case."""
    return str(layer.build.strategy or design.config.strategy).lower()


def wrong_convolution(design: Design) -> Iterator[Finding]:
    """io_parallel, Resource, convolution with RF above the window: hls4ml 1.3 computes wrong outputs."""
    for layer in resource_layers(design):
        size, factor = layer.matrix_size, layer.build.reuse_factor or 1
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
        reason = None
        if isinstance(layer, Pooling) and (stream or pads_with_a_value(layer)):
            window = layer.window
            reason = wrong_pooling(window.kernel, window.strides, (*window.before, *window.after), stream)
        elif isinstance(layer, Convolutional):
            multiplier = layer.multiplier if isinstance(layer, Depthwise) else None
            reason = wrong_window(layer.window.kernel, layer.window.strides, multiplier, stream)
        if reason:
            remedy = "csim is the truth for this project; change the model and write it again"
            yield Finding("error", layer.name, "window-wrong-bits", reason, remedy)


def pads_with_a_value(layer: Pooling) -> bool:
    """Whether a pooling is max pooling of an unsigned type, whose padding is the middle of its range."""
    return not layer.source.precision.signed and layer.operation is Pool.MAX


def unknown_layers(design: Design) -> Iterator[Finding]:
    """Layers that nobody knows: csim runs them, emulation and estimate do not."""
    for layer in design.graph.layers:
        if isinstance(layer, Unknown):
            reason = f"{layer.origin or layer.kind} is not understood: {layer.reason}"
            remedy = "use csim for its bits; the estimate leaves it out and says so"
            yield Finding("warning", layer.name, "layer-unknown", reason, remedy)


def unrolled_arrays(design: Design) -> Iterator[Finding]:
    """Arrays too large to be partitioned: io_parallel tensors, and constant kernels under Latency."""
    if design.config.io_type == "io_parallel":
        for tensor in design.graph.tensors.values():
            size = tensor.size
            if size > UNROLL_LIMIT:
                reason = f"{tensor.name} has {size} elements; io_parallel partitions arrays up to {UNROLL_LIMIT}"
                yield Finding("error", tensor.name, "array-does-not-unroll", reason, "use io_stream")
    for layer in design.graph.layers:
        products = layer.weight.size if isinstance(layer, Matrix) else 0
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
    for name, sums in design.ranges.sums.items():
        layer = design.graph.layer(name)
        if isinstance(layer, Matrix) and not layer.distributed:
            yield from overflow(design, layer, "accumulator", layer.accum, sums.real)
        yield from overflow(design, layer, "result", layer.result, sums.real)


def overflow(design: Design, layer: Layer, what: str, precision: Precision, values: Bounds) -> Iterator[Finding]:
    """One type against the values that reach it."""
    low, high = values
    if low >= precision.minimum - precision.lsb / 2 and high <= precision.maximum + precision.lsb:
        return
    needed = integer_bits(values)
    inputs = "the given input ranges" if design.given else "inputs anywhere in their types"
    reason = (
        f"{what} {precision} holds {precision.minimum:g} to {precision.maximum:g}; for {inputs} the sum is within "
        f"{low:g} to {high:g}"
    )
    remedy = f"give it {needed} integer bits (now {precision.integer_bits})"
    wraps = precision.overflow is Overflow.WRAP
    yield Finding(
        "warning" if wraps else "note",
        layer.name,
        f"{what}-overflow",
        reason,
        remedy if wraps else remedy + " or keep saturating",
    )


def integer_bits(values: Bounds) -> int:
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
        if not isinstance(layer, Matrix) or not layer.weight.nonzeros:
            continue
        precision = layer.weight.precision
        needed = needed_bits(layer.weight)
        spare = precision.width_bits - needed
        if spare >= 1:
            smaller = f"{'ap_fixed' if precision.signed else 'ap_ufixed'}<{needed},{precision.integer_bits - spare}>"
            reason = f"weight uses {needed} of the {precision.width_bits} bits of {precision}"
            yield Finding("note", layer.name, "weight-bits-unused", reason, f"{smaller} holds the same values")


def needed_bits(weight: Weight) -> int:
    """Bits of the type's least significant bit that hold every value."""
    low, high = int(weight.integers.min()), int(weight.integers.max())
    sign = 1 if weight.precision.signed else 0
    return max(max(high, -low - 1, 0).bit_length() + sign, 1)


def settings_not_taken(design: Design) -> Iterator[Finding]:
    """Settings named for a layer that the graph does not show."""
    if design.record is not None:
        yield from not_taken(design.config, design.record)


def default_precision(design: Design) -> Iterator[Finding]:
    """Layers whose results were left in hls4ml's default type."""
    if design.config.precision is not None and Precision.parse(design.config.precision) == DEFAULT_PRECISION:
        return
    for layer in design.graph.layers:
        types = [name for name in ("result", "accum", "weight") if layer.types.get(name) == DEFAULT_PRECISION]
        if types and not isinstance(layer, Input | Reshape):
            reason = f"{', '.join(types)} left in {DEFAULT_PRECISION}, which truncates and wraps"
            remedy = f'name types in layers.{layer.name}.precision, or precision = "{DEFAULT_PRECISION}" if it is meant'
            yield Finding("warning", layer.name, "default-precision", reason, remedy)


# Tables, FIFOs, part, clock ------------------------------------------------------------------------


def softmax_tables(design: Design) -> Iterator[Finding]:
    """Softmax whose exponential table Vitis HLS fills at run time, and tables that cost decisions or memory."""
    for layer in design.graph.layers:
        if not isinstance(layer, Softmax) or layer.form is SoftmaxForm.ARGMAX:
            continue
        bits = layer.source.precision.width_bits
        if design.config.backend == "Vitis" and bits > FOLDED_INPUT_BITS:
            reason = f"input of {bits} bits: Vitis HLS fills the table at run time, {UNFOLDED_CYCLES} cycles an image"
            remedy = f"give its input {FOLDED_INPUT_BITS} bits or fewer, or leave softmax out (argmax)"
            yield Finding("warning", layer.name, "softmax-table-not-folded", reason, remedy)
        yield from lost_decisions(design, layer)
        size = layer.exp_table_size
        if size >= LARGE_SOFTMAX_TABLE:
            reason = f"every one of {layer.shape[-1]} classes reads a table of {size:,} entries"
            remedy = f"{cheaper(layer)}; a smaller table_size lets close logits tie"
            yield Finding("note", layer.name, "softmax-table-large", reason, remedy)


def lost_decisions(design: Design, layer: Softmax) -> Iterator[Finding]:
    """Softmax after which the largest logit need not have the largest output."""
    logits, lost = layer.source.precision, softmax.lost_decision(layer)
    if lost is not None:
        key, how = lost
        size = 1 << softmax.difference_type(logits, None).width_bits
        finer = f"leave precision.{key} to the tool, or "
        if key == "table_size":  # beyond the largest no table tells them apart
            finer = f"table_size = {size}, or " if softmax.tells_apart(logits) else ""
        severity: Severity = "note" if key == "result" else "warning"
        reason = f"close logits become equal and argmax takes the first ({key}): {how}"
        yield Finding(severity, layer.name, "softmax-ties", reason, f"{finer}{cheaper(layer)}")
    least = softmax.wraps_from(layer)
    low, high = design.ranges.tensors[layer.source.name].real
    if least is not None and high - low >= least:
        reason = (
            f"max - x wraps from {least:g} on, and logits are within {low:g} to {high:g}: the least likely looks likely"
        )
        yield Finding("warning", layer.name, "softmax-wraps", reason, "write the project anew, or end it at the logits")


def cheaper(layer: Softmax) -> str:
    """What keeps the decisions without a table, or with a small one."""
    return (
        f'implementation = "argmax" (hls.layers.{layer.name}), no softmax (the class is the largest logit), or logits '
        f"of fewer fraction bits than {layer.source.precision.fraction_bits}"
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
    unknown_layers,
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
