"""DSP and BRAM rules against published figures; LUT and FF as sums of features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from toolkit.estimation.area import area_of, fifo_area, kernel_dsp, lut_multiplier, rom_brams, weight_rom_brams
from toolkit.estimation.calibration import coefficients_for, load_calibration, predict
from toolkit.estimation.cycles import Clock
from toolkit.estimation.stages import Stage
from toolkit.estimation.tools import parse_tool
from toolkit.estimation.weights import dsp_tiles, weight_facts

VIVADO = Clock(5.0, parse_tool("vivado_hls 2020.1"), "ultrascale+", part="xcu250-figd2104-2L-e")
VITIS = Clock(5.0, parse_tool("vitis_hls 2024.2"), "ultrascale+", part="xczu7ev-ffvc1156-2-e")


def resource(n_in: int, n_out: int, factor: int, bits: int, top: int) -> Stage:
    return Stage(
        "dense",
        "dense",
        strategy="resource",
        n_in=n_in,
        n_out=n_out,
        reuse_factor=factor,
        weight_bits=bits,
        last_block_bits=top,
    )


@pytest.mark.parametrize(
    ("n_in", "n_out", "factor", "bits", "top", "dsp", "bram"),
    [  # wa-hls4ml-search (Apache-2.0), Vivado HLS 2020.1: DSP and BRAM of dense_<n_in>_<n_out>_<bits>b
        (32, 32, 512, 8, 6, 2, 2),
        (64, 256, 512, 6, 4, 31, 7),
        (64, 256, 512, 8, 6, 32, 9),
        (64, 256, 1024, 8, 6, 16, 8),
        (64, 64, 1024, 14, 12, 4, 4),
        (256, 256, 512, 14, 11, 128, 50),
        (192, 192, 1152, 14, 11, 32, 39),
        (64, 64, 512, 4, 2, 0, 2),
    ],
)
def test_resource_dsp_and_bram_are_those_of_the_report(
    n_in: int, n_out: int, factor: int, bits: int, top: int, dsp: int, bram: int
) -> None:
    stage = resource(n_in, n_out, factor, bits, top)
    assert kernel_dsp(stage, VIVADO) == dsp
    assert weight_rom_brams(stage, VIVADO) == bram


def test_latency_dsp_counts_distinct_wide_constants_up_to_the_limit() -> None:
    kernel = np.array([[19, 21, 21, 3], [-19, 64, 0, 11]])  # 19, 21, -19 use DSPs; 11 has 4 bits, 3 and 64 none
    stage = Stage("dense", "dense", n_in=2, n_out=4, input_bits=16, facts=weight_facts(kernel))
    assert kernel_dsp(stage, VIVADO) == 3
    assert kernel_dsp(replace(stage, reuse_factor=8), VIVADO) == 1
    assert kernel_dsp(replace(stage, multiplier="fabric"), VIVADO) == 0
    assert kernel_dsp(replace(stage, multiplier="dsp"), VIVADO) == 4
    assert kernel_dsp(replace(stage, input_bits=8), VIVADO) == 0


def test_vitis_counts_the_sign_of_11_and_13() -> None:
    """Harvested Latency layers of Vitis HLS 2022.1 to 2024.2: exact on 36 of 36 rows with it, 18 without."""
    kernel = np.array([[11, 13, 3, 12], [-11, 22, 5, 7]])
    stage = Stage("dense", "dense", n_in=2, n_out=4, input_bits=16, facts=weight_facts(kernel))
    assert kernel_dsp(stage, VITIS) == 4  # 11, 13, -11, 22
    assert kernel_dsp(stage, VIVADO) == 2  # -11 and 22 have five bits without a sign of their own


def test_vitis_packs_narrow_multiply_adds_at_slow_clocks_of_7series() -> None:
    """tsopeter/753-FPGA, Vitis HLS 2024.2, xc7a35t, 30 ns: 6 x 6 bits, RF 45 of 45 x 6 products: 6 DSPs."""
    stage = replace(resource(45, 6, 45, 6, 5), input_bits=6)
    assert kernel_dsp(stage, replace(VITIS, family="7series", period_ns=30.0)) == 6
    assert kernel_dsp(stage, replace(VITIS, family="7series")) == 0


@pytest.mark.parametrize(
    ("first", "second", "family", "tiles"),
    [
        (16, 16, "ultrascale+", 1),
        (18, 18, "7series", 1),  # 63 of 63 in Vitis HLS 2021.1
        (32, 20, "ultrascale+", 2),  # 54 DSPs for 27 constants, hls4ml's depthwise test in Vivado HLS 2020.1
        (32, 32, "ultrascale+", 4),
        (25, 25, "7series", 2),
    ],
)
def test_wide_products_take_several_dsps(first: int, second: int, family: str, tiles: int) -> None:
    assert dsp_tiles(first, second, family) == dsp_tiles(second, first, family) == tiles


@pytest.mark.parametrize(
    ("depth", "bits", "blocks"), [(512, 36, 1), (512, 37, 2), (1024, 18, 1), (2048, 9, 1), (16, 36, 0)]
)
def test_roms_take_the_blocks_their_shape_needs(depth: int, bits: int, blocks: int) -> None:
    assert rom_brams(depth, bits) == blocks


@pytest.mark.parametrize(
    ("clock", "part", "depth", "channels", "bits", "blocks"),
    [  # FIFO tables of csynth reports, the projects named
        (VIVADO, "xc7z020clg400-1", 16, 24, 16, 0),  # 256 bits a channel: pominiq
        (VIVADO, "xc7z020clg400-1", 32, 12, 16, 0),  # 512 bits: pominiq
        (VIVADO, "xc7z020clg400-1", 36, 36, 16, 36),  # 576 bits: pominiq
        (VIVADO, "xcu250-figd2104-2L-e", 2, 1, 4704, 262),  # two deep, very wide: Hector-Plata's fork of the tutorial
        (VIVADO, "xcvu9p-flga2104-2-e", 900, 16, 16, 16),  # Keb-L
        (VITIS, "xc7a35tcpg236-1", 36, 4, 37, 9),
        (VITIS, "xcku5p-ffvb676-2-e", 1, 1, 2000, 0),  # a single word: NuDAQ
        (VITIS, "xcu250-figd2104-2L-e", 60, 1, 100, 0),  # 64 x 128 bits in LUTRAM: seanlipps
        (VITIS, "xcu55c-fsvh2892-2L-e", 900, 16, 6, 4),  # 1024 x 128 bits: alex-yang-upenn
        (VITIS, "xcku5p-ffvb676-2-e", 0, 24, 16, 0),
    ],
)
def test_fifos_are_bram_where_the_reports_have_it(
    clock: Clock, part: str, depth: int, channels: int, bits: int, blocks: int
) -> None:
    assert fifo_area(depth, channels, bits, replace(clock, part=part)).bram_18k == blocks


def test_a_shallow_fifo_costs_its_registers() -> None:
    found = fifo_area(1, 42, 6, VIVADO)
    assert (found.lut, found.ff) == (42 * (12 + 6), 42 * 5)
    assert fifo_area(9, 1, 16, VIVADO).ff == 6  # kendermag, Vivado HLS 2019.1
    assert fifo_area(32, 1, 16, VIVADO).ff == 8


def test_multipliers_in_luts_grow_with_their_wider_operand() -> None:
    sizes = [lut_multiplier(bits, bits) for bits in range(5, 20)]
    assert sizes == sorted(sizes)
    assert lut_multiplier(16, 4) < lut_multiplier(6, 6)


@pytest.mark.parametrize("clock", [VIVADO, VITIS], ids=["vivado", "vitis"])
@pytest.mark.parametrize("quantity", ["lut", "ff"])
@pytest.mark.parametrize("strategy", ["latency", "resource", "distributed_arithmetic"])
def test_more_outputs_never_cost_less(clock: Clock, quantity: str, strategy: str) -> None:
    calibration = load_calibration()
    kernel = np.random.default_rng(0).integers(-100, 101, (16, 24))
    sizes = []
    for n_out in (4, 12, 24):
        facts = weight_facts(kernel[:, :n_out])
        stage = Stage("dense", "dense", strategy=strategy, n_in=16, n_out=n_out, reuse_factor=4, facts=facts)
        sizes.append(predict(area_of(stage, clock), clock, calibration, quantity))
    assert sizes == sorted(sizes) and sizes[0] > 0


def test_every_feature_of_every_kind_has_a_coefficient() -> None:
    calibration = load_calibration()
    kinds = "dense conv depthwise pointwise pool global_pool activation table softmax scale pad merge clone copy resize"
    for kind in kinds.split():
        for io_type in ("io_stream", "io_parallel"):
            for strategy in ("latency", "resource", "distributed_arithmetic"):
                stage = Stage(kind, kind, strategy, io_type, 4, n_in=8, n_out=4, in_height=6, in_width=6, in_channels=2)
                for clock in (VIVADO, VITIS):
                    check_coefficients(stage, clock, calibration)


def check_coefficients(stage: Stage, clock: Clock, calibration: object) -> None:
    for quantity in ("lut", "ff"):
        known = coefficients_for(calibration, clock, quantity)  # type: ignore[arg-type]
        for part in area_of(stage, clock).parts:
            features = part.lut if quantity == "lut" else part.ff
            assert set(features) <= set(known.get(part.group, {})), (stage.kind, part.group)
            assert all(value >= 0 for value in features.values())
