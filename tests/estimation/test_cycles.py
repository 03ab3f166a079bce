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


# One streamed Resource convolution each: input, kernel, filters, RF, bits; tool, family, clock; hls4ml; cycles.
RESOURCE_CONVOLUTIONS = {
    "PokerML": ((31, 31, 4), 3, 4, 144, 6, "vivado_hls 2019.2", "ultrascale+", 5, (0, 5), (2884, 143190)),
    "kendermag": ((130, 6, 10), 3, 10, 15, 6, "vivado_hls 2019.1", "7series", 5, (0, 6), (3120, 19500)),
    "pominiq, one channel": ((28, 28, 1), 3, 4, 36, 16, "vivado_hls 2020.1", "7series", 10, (0, 7), (4704, 35280)),
    "pominiq, UltraScale+": ((28, 28, 1), 3, 4, 36, 16, "vivado_hls 2020.1", "ultrascale+", 10, (0, 7), (4704, 33712)),
    "pominiq, four channels": ((6, 6, 4), 3, 8, 72, 16, "vivado_hls 2020.1", "7series", 10, (0, 7), (1224, 3924)),
    "Berk-Bilgin": ((1, 66, 1), 3, 8, 3, 8, "vivado_hls 2020.1", "7series", 10, (0, 8), (396, 792)),
    "soumil005": ((10, 10, 1), 3, 4, 9, 8, "vitis_hls 2023.1", "7series", 10, (0, 8), (401, 1501)),
    "tsopeter": ((64, 64, 1), 5, 2, 50, 6, "vitis_hls 2024.2", "7series", 30, (1, 1), (16385, 225281)),
    "Alezander9": ((10, 15, 1), 3, 4, 36, 10, "vitis_hls 2023.1", "ultrascale+", 25, (0, 8), (601, 6151)),
    "Alezander9, RF 1": ((10, 15, 1), 3, 8, 1, 10, "vitis_hls 2023.1", "ultrascale", 25, (0, 8), (302, 302)),
}


@pytest.mark.parametrize("name", RESOURCE_CONVOLUTIONS)
def test_a_streamed_resource_convolution_takes_what_the_reports_print(name: str) -> None:
    (height, width, channels), kernel, filters, factor, bits, tool, family, period, templates, expected = (
        RESOURCE_CONVOLUTIONS[name]
    )
    rows = 1 if height == 1 else kernel
    stage = Stage(
        "conv",
        "conv",
        strategy="resource",
        io_type="io_stream",
        reuse_factor=factor,
        n_in=rows * kernel * channels,
        n_out=filters,
        in_height=height,
        in_width=width,
        in_channels=channels,
        kernel_height=rows,
        kernel_width=kernel,
        weight_bits=bits,
        templates=templates,
    )
    cycles = cycles_of(stage, Clock(period, parse_tool(tool), family))
    assert (cycles.low, cycles.high) == expected


@pytest.mark.parametrize(
    ("tool", "family", "period", "size", "kernel", "expected"),
    [
        ("vivado_hls 2020.1", "ultrascale+", 5, 30, 2, 903),
        ("vivado_hls 2020.1", "7series", 2.5, 30, 2, 1803),  # pominiq
        ("vivado_hls 2020.1", "7series", 2.5, 13, 4, 348),
        ("vivado_hls 2020.1", "7series", 10, 26, 4, 681),
        ("vivado_hls 2020.1", "ultrascale+", 25, 26, 4, 678),
        ("vitis_hls 2022.2", "ultrascale+", 3.33, 30, 2, 903),  # alex-yang-upenn
        ("vitis_hls 2023.1", "ultrascale", 25, 4, 2, 18),
        ("vitis_hls 2024.2", "ultrascale+", 5, 30, 2, 1803),
        ("vitis_hls 2025.2", "ultrascale+", 5, 26, 2, 678),
    ],
)
def test_pooling_by_tool_family_and_clock(
    tool: str, family: str, period: float, size: int, kernel: int, expected: int
) -> None:
    stage = Stage("pool", "pool", io_type="io_stream", in_height=size, in_width=size, in_channels=16)
    stage = replace(stage, kernel_height=kernel, kernel_width=kernel)
    assert cycles_of(stage, Clock(period, parse_tool(tool), family)).high == expected


@pytest.mark.parametrize(
    ("tool", "shape", "padding", "expected"),
    [
        ("vivado_hls 2019.1", (130, 6), (1, 1, 1, 1), 783),  # kendermag
        ("vivado_hls 2020.1", (1, 66), (0, 0, 1, 1), 65),  # Berk-Bilgin
        ("vivado_hls 2020.1", (1, 67), (0, 0, 1, 2), 68),
        ("vivado_hls 2020.1", (1, 68), (0, 0, 2, 2), 71),
        ("vitis_hls 2023.1", (10, 15), (1, 1, 1, 1), 163),  # Alezander9
        ("vitis_hls 2023.1", (1, 82), (0, 0, 1, 1), 85),  # SpAllen0726
    ],
)
def test_zero_padding_by_tool(
    tool: str, shape: tuple[int, int], padding: tuple[int, int, int, int], expected: int
) -> None:
    top, bottom, left, right = padding
    stage = Stage("pad", "pad", io_type="io_stream", out_height=shape[0], out_width=shape[1], padding=padding)
    stage = replace(stage, in_height=shape[0] - top - bottom, in_width=shape[1] - left - right)
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
