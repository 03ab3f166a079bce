"""Layers of an io_parallel design put together: one pipeline or a dataflow of arrays, and what joins them.

Read from the reports of 18 pipelines (Vitis HLS 2021.1, 7-series) and 3 dataflow designs (Vivado HLS
2019.2, UltraScale+); none of them is redistributable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.estimation.area import FifoArea, fifo_area
from toolkit.estimation.cycles import Clock, Cycles, relu_ns
from toolkit.estimation.stages import MATRIX_KINDS, Stage

CHANNEL_DEPTH = 2  # of the FIFO between two processes that carries one element of an array
CHANNEL_LUT = 25  # of it beyond one a bit: the FIFO's control and what says that an element is there
CHANNEL_SYNC_FF = 1  # beyond the FIFO's own
CONSTANT_NS = 3.0  # a constant matrix that fits one cycle, as part of a chain

Layers = Sequence[tuple[Stage, Cycles]]


@dataclass(frozen=True)
class Assembly:
    """Cycles of an io_parallel design and the LUTs and FFs between its layers."""

    latency: int
    interval: int
    between: FifoArea


def assembled(layers: Layers, clock: Clock) -> Assembly:
    """An io_parallel design from its layers, in order."""
    if any(stage.makes_dataflow for stage, _ in layers):
        return dataflow(layers, clock)
    return pipeline(layers, clock)


def dataflow(layers: Layers, clock: Clock) -> Assembly:
    """Layers hand whole arrays on, an element a FIFO: latencies add, the slowest decides the interval."""
    latency = sum(cycles.high for _, cycles in layers) + max(len(layers) - 1, 0)
    slowest = max((max(cycles.high, cycles.interval) for _, cycles in layers), default=0)
    interval = layers[0][1].interval if len(layers) == 1 else slowest + 1
    channels = [channel_area(stage, clock) for stage, _ in layers[:-1]]
    between = FifoArea(0, sum(area.lut for area in channels), sum(area.ff for area in channels))
    return Assembly(latency, interval, between)


def channel_area(stage: Stage, clock: Clock) -> FifoArea:
    """The channel that carries a layer's result to the next process: a FIFO for each element."""
    one = fifo_area(CHANNEL_DEPTH, 1, stage.output_bits, clock)
    lut, ff = CHANNEL_LUT + stage.output_bits, one.ff + CHANNEL_SYNC_FF
    return FifoArea(0, stage.out_elements * lut, stage.out_elements * ff)


def pipeline(layers: Layers, clock: Clock) -> Assembly:
    """One pipeline: layers' latencies, a register at each call that does not chain, and one more cycle at II 1.

    A layer of latency above 0 adds one cycle, one of latency 0 chains with its neighbour while the
    clock allows; on 7-series a run of such layers is a cycle of its own.
    """
    interval = max((cycles.interval for _, cycles in layers), default=1)
    if len(layers) == 1:
        return Assembly(layers[0][1].high, interval, FifoArea(0, 0, 0))
    total, chained, registers = 0, 0.0, 0
    for position, (stage, cycles) in enumerate(layers):
        delay = stage_ns(stage, clock)
        first = chained == 0.0 and clock.family == "7series"
        if cycles.high > 0:
            cut, chained = cycles.high + 1, 0.0
        elif first or chained + delay > clock.usable_ns:
            cut, chained = 1, delay
        else:
            cut, chained = 0, chained + delay
        total += cut
        if cut and position < len(layers) - 1:
            registers += stage.out_elements * stage.output_bits
    if total:
        total += 1 if interval == 1 else -1
    return Assembly(total, interval, FifoArea(0, 0, registers))


def stage_ns(stage: Stage, clock: Clock) -> float:
    """Delay of a layer of latency 0 in a chain."""
    if stage.kind in MATRIX_KINDS:
        return CONSTANT_NS
    wired = stage.kind == "scale" and stage.facts is not None and not stage.facts.multipliers
    return 0.5 if wired else relu_ns(stage, clock.family)
