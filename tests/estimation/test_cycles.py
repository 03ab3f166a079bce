"""Cycles of stages, against figures that public synthesis reports print."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from toolkit.estimation.cycles import Clock, cycles_of, kernel_cycles
from toolkit.estimation.stages import Stage
from toolkit.estimation.tools import parse_tool
from toolkit.estimation.weights import weight_facts


def clock(tool: str = "vivado_hls 2020.1", period_ns: float = 5.0, family: str = "ultrascale+") -> Clock:
    return Clock(period_ns, parse_tool(tool), family)


def dense(n_in: int, n_out: int, **changes: object) -> Stage:
    return replace(Stage("dense", "dense", n_in=n_in, n_out=n_out), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("n_in", "n_out", "factor", "bits", "expected"),
    [  # wa-hls4ml-search, Vivado HLS 2020.1: latency min, max and II of Resource layers
        (32, 32, 512, 8, (513, 514, 512)),
        (64, 256, 1024, 14, (1025, 1026, 1024)),
        (256, 64, 512, 2, (512, 513, 512)),  # 4 bits or fewer at RF = 2 n_in
        (256, 64, 512, 8, (513, 514, 512)),
    ],
)
def test_resource_latency_is_the_reuse_factor_and_one_or_two(
    n_in: int, n_out: int, factor: int, bits: int, expected: tuple[int, int, int]
) -> None:
    stage = dense(n_in, n_out, strategy="resource", reuse_factor=factor, weight_bits=bits)
    cycles = cycles_of(stage, clock())
    assert (cycles.low, cycles.high, cycles.interval) == expected


def test_latency_with_reuse_is_decided_by_the_multiplier_limit() -> None:
    """263 + 25 multipliers over a limit of 2, as in dense_32_32_8b with RF 512: 145 cycles, II 146."""
    kernel = np.zeros((32, 32), np.int64)
    kernel[:, :9] = [11, 13, 19, 21, 23, 25, 27, 29, 37]
    stage = dense(32, 32, reuse_factor=512, zeros=11, facts=weight_facts(kernel))
    assert stage.facts is not None and stage.facts.multipliers == 288
    cycles = kernel_cycles(stage, clock())
    assert (cycles.high, cycles.interval) == (145, 146)


def convolution(size: int, channels: int, filters: int, **changes: object) -> Stage:
    stage = Stage(
        "conv",
        "conv",
        io_type="io_stream",
        n_in=9 * channels,
        n_out=filters,
        in_height=size,
        in_width=size,
        in_channels=channels,
        out_height=size - 2,
        out_width=size - 2,
        out_channels=filters,
        kernel_height=3,
        kernel_width=3,
    )
    return replace(stage, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "channels", "filters", "tool", "expected"),
    [
        (32, 3, 16, "vivado_hls 2020.1", 1027),  # SVHN tutorial
        (28, 1, 32, "vitis_hls 2025.2", 2355),  # MNIST baseline: 784 pixels at 3 cycles
        (13, 32, 32, "vitis_hls 2025.2", 679),  # 169 pixels at 4 cycles
    ],
)
def test_streamed_convolutions_take_what_the_reports_print(
    size: int, channels: int, filters: int, tool: str, expected: int
) -> None:
    assert cycles_of(convolution(size, channels, filters), clock(tool)).high == expected


@pytest.mark.parametrize(("kind", "cycles_each"), [("conv", 3), ("depthwise", 1), ("pointwise", 1)])
def test_inlined_kernels_keep_the_interval_in_vitis(kind: str, cycles_each: int) -> None:
    """hls4ml inlines the output buffer of depthwise and pointwise convolutions, not that of others."""
    stage = replace(convolution(32, 3, 3), kind=kind)
    assert cycles_of(stage, clock("vitis_hls 2024.1")).high == pytest.approx(1024 * cycles_each, abs=6)


def test_a_streamed_resource_convolution_computes_each_window() -> None:
    """3x3x4 on 31x31x4 at RF 144 (PokerML, Vivado HLS 2019.2): 2884 to 143190 cycles."""
    stage = convolution(31, 4, 4, strategy="resource", reuse_factor=144, weight_bits=6)
    cycles = cycles_of(stage, clock("vivado_hls 2019.2"))
    assert (cycles.low, cycles.high) == (2884, 143190)


@pytest.mark.parametrize(
    ("tool", "expected"), [("vivado_hls 2020.1", 903), ("vitis_hls 2024.2", 1803), ("vitis_hls 2025.2", 902)]
)
def test_pooling_takes_two_cycles_a_pixel_in_older_vitis(tool: str, expected: int) -> None:
    stage = Stage("pool", "pool", io_type="io_stream", in_height=30, in_width=30, in_channels=16)
    assert cycles_of(stage, clock(tool)).high == expected


@pytest.mark.parametrize(("bits", "high"), [(16, False), (40, True)])
def test_a_wide_softmax_fills_its_table_at_run_time(bits: int, high: bool) -> None:
    stage = Stage("softmax", "softmax", io_type="io_stream", in_channels=10, input_bits=bits, operation="stable")
    assert (cycles_of(stage, clock("vitis_hls 2024.2")).high > 1000) is high


def test_a_streamed_dense_layer_reads_its_packs_first() -> None:
    """784 inputs in 196 packs at RF 784 (PokerML): 985 to 986 cycles, give or take two."""
    stage = dense(784, 13, io_type="io_stream", strategy="resource", reuse_factor=784, weight_bits=6)
    stage = replace(stage, in_height=14, in_width=14, in_channels=4)
    assert abs(cycles_of(stage, clock("vivado_hls 2019.2")).high - 986) <= 2


def test_a_shorter_clock_needs_more_registers() -> None:
    stage = dense(288, 32)
    depths = [kernel_cycles(stage, clock("vitis_hls 2023.2", period)).high for period in (20.0, 10.0, 5.0, 2.5)]
    assert depths == sorted(depths) and depths[0] < depths[-1]


@pytest.mark.parametrize(
    ("terms", "forced", "usable_ns", "expected"),
    [  # ARGYKOKK's kernels on an xc7z007s, Vitis HLS 2021.1: leaves of the largest tree, multipliers, latency
        (222, "dsp", 2.91, 9),
        (21, "dsp", 2.91, 6),
        (21, "fabric", 2.91, 4),
        (10, "dsp", 4.38, 3),
        (10, "fabric", 4.38, 3),
        (5, "dsp", 4.38, 2),
    ],
)
def test_trees_of_constants_on_7_series(terms: int, forced: str, usable_ns: float, expected: int) -> None:
    fast = Clock(5.0, parse_tool("vitis_hls 2021.1"), "7series", 5.0 - usable_ns)
    stage = dense(terms, 1, multiplier=forced, facts=weight_facts(np.full((terms, 1), 45)))
    assert cycles_of(stage, fast).high == expected


def test_inputs_and_reshapes_cost_nothing() -> None:
    assert cycles_of(Stage("x", "input"), clock()).high == 0
    assert cycles_of(Stage("flat", "wire"), clock()).high == 0
