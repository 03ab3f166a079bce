"""Estimates of whole designs from graphs: figures, intervals, variants, notes."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_graphs import convolution, dense, flat, graph, relu, skip_graph, small_cnn, with_depth

from toolkit.config import EstimateConfig, HlsConfig, LayerHlsConfig
from toolkit.errors import ConfigError, ReportError
from toolkit.estimation import analyze, check_fits, check_reports, estimate, estimate_variants, put_beside
from toolkit.estimation.estimate import chance_within, probability_of_fit
from toolkit.hls import lint
from toolkit.hls.reports import CosimReport, CsynthReport, ModuleReport, UtilizationReport, VendorReports
from toolkit.records import Estimate, Figure, Graph, HlsProject, Layer

RESOURCES = ("dsp", "lut", "ff", "bram_18k", "uram")
STREAM = HlsConfig(io_type="io_stream", part="xczu9eg-ffvb1156-2-e", clock_period_ns=5.0)
RESOURCE = STREAM.change(strategy="Resource", reuse_factor=6, invalid_reuse_factor="nearest")


def every_figure(found: Estimate) -> list[Figure]:
    names = ("latency_cycles", "initiation_interval_cycles", "latency_us", "throughput_hz", "energy_uj", *RESOURCES)
    own = [getattr(found, name) for name in names]
    layers = [getattr(one, name) for one in found.layers for name in ("latency_cycles", *RESOURCES)]
    return [*own, *layers, *found.utilization.values(), *found.figures.values()]


@pytest.mark.parametrize("config", [STREAM, RESOURCE], ids=["latency", "resource"])
def test_every_figure_says_where_it_comes_from_and_how_sure_it_is(config: HlsConfig) -> None:
    found = estimate(small_cnn(), hls=config)
    for figure in every_figure(found):
        assert figure.source in ("model", "counted")
        assert figure.low is None or figure.low <= figure.value + 1e-9
        assert figure.high is None or figure.high >= figure.value - 1e-9
    assert found.lut.value > 0 and found.latency_us.value == pytest.approx(found.latency_cycles.value * 0.005)
    assert found.throughput_hz.value == pytest.approx(200e6 / found.initiation_interval_cycles.value)
    assert [one.name for one in found.layers] == ["conv", "relu", "pool", "dense"]


def test_resources_are_layers_and_fifos() -> None:
    found = estimate(small_cnn(), hls=STREAM)
    fifos = sum(fifo.default_bram_18k for fifo in found.fifos)
    assert found.bram_18k.value == sum(one.bram_18k.value for one in found.layers) + fifos
    assert found.dsp.value == sum(one.dsp.value for one in found.layers)


def test_counts_are_exact() -> None:
    found = estimate(small_cnn(), hls=STREAM)
    macs = 8 * 8 * 9 * 2 * 4 + 64 * 5
    assert found.figures["macs"].value == macs
    assert found.figures["parameters"].value == 9 * 2 * 4 + 4 + 64 * 5 + 5
    assert found.figures["weight_bits"].value == 8 * found.figures["parameters"].value
    assert found.figures["bops"].value > macs * 64
    assert 0 < found.figures["ebops"].value < macs * 64


def test_the_same_input_gives_the_same_estimate() -> None:
    assert estimate(small_cnn(), hls=STREAM) == estimate(small_cnn(), hls=STREAM)


def test_the_busiest_stage_sets_the_interval_of_a_stream() -> None:
    found = estimate(small_cnn(size=24), hls=STREAM)
    busiest = max(one.figures["busy_cycles"].value for one in found.layers)
    assert busiest == pytest.approx(found.initiation_interval_cycles.value, abs=3)
    for one in found.layers:
        assert one.figures["busy_cycles"].value <= one.initiation_interval_cycles.value + 2


def test_host_overhead_is_told_where_boards_were_measured() -> None:
    pynq = estimate(small_cnn(), hls=STREAM.change(part="xc7z020clg400-1")).figures["host_overhead_us"]
    assert (pynq.low, pynq.high) == (750, 940)
    assert "host_overhead_us" not in estimate(small_cnn(), hls=STREAM).figures


def test_simulation_and_first_and_last_tokens_agree() -> None:
    exact = estimate(small_cnn(size=24), hls=STREAM)
    quick = estimate(small_cnn(size=24), EstimateConfig(fifo_simulation=False), hls=STREAM)
    assert quick.latency_cycles.value == pytest.approx(exact.latency_cycles.value, rel=0.05)
    assert quick.initiation_interval_cycles.value == pytest.approx(exact.initiation_interval_cycles.value, rel=0.05)


def test_first_and_last_tokens_see_a_balanced_network_fall_behind() -> None:
    """A second convolution as busy as the first ends long after its last pixel has come."""
    random = np.random.default_rng(0)
    settings = {"strategy": "resource"}
    layers = [
        convolution("a", "x", [16, 16, 2], random.integers(-7, 8, (3, 3, 2, 4)) / 32, reuse_factor=72, **settings),
        convolution("b", "a", [14, 14, 4], random.integers(-7, 8, (3, 3, 4, 4)) / 32, reuse_factor=108, **settings),
        convolution("c", "b", [12, 12, 4], random.integers(-7, 8, (3, 3, 4, 4)) / 32, reuse_factor=144, **settings),
    ]
    one = graph([16, 16, 2], layers)
    exact = estimate(one, hls=RESOURCE)
    quick = estimate(one, EstimateConfig(fifo_simulation=False), hls=RESOURCE)
    assert exact.latency_cycles.value > 1.1 * exact.initiation_interval_cycles.value
    assert quick.latency_cycles.value == pytest.approx(exact.latency_cycles.value, rel=0.05)


def test_needed_fifos_are_reported_with_what_they_save() -> None:
    found = estimate(small_cnn(size=24), hls=STREAM)
    assert {fifo.name for fifo in found.fifos} == {"conv", "relu", "pool"}
    assert all(fifo.needed_depth <= fifo.default_depth for fifo in found.fifos)
    saved = sum(fifo.default_bram_18k - fifo.needed_bram_18k for fifo in found.fifos)
    assert found.figures["fifo_saving_bram_18k"].value == saved > 0


def test_too_shallow_fifos_are_told() -> None:
    slow = small_cnn(size=12)
    kernel = np.random.default_rng(1).integers(-7, 8, (100, 5)) / 32
    slow = graph(
        [12, 12, 2], [*slow.layers[1:5], dense("dense", "flat", kernel, strategy="resource", reuse_factor=100)]
    )
    found = estimate(with_depth(slow, "pool", 1), hls=STREAM)
    assert not any(note.startswith("deadlock") for note in found.notes)


@pytest.mark.parametrize(("depth", "stuck"), [(2, True), (144, False)])
def test_a_skip_connection_too_shallow_is_found_before_synthesis(depth: int, stuck: bool) -> None:
    one = skip_graph(depth)
    found = estimate(one, hls=STREAM)
    assert found.fits is not stuck
    rules = {finding.rule for finding in lint(one, STREAM, estimate=found)}
    assert ("fifo-deadlock" in rules) is stuck


def test_a_variant_is_the_estimate_of_its_own_conversion() -> None:
    """Changing strategy and reuse factor on an analysis equals converting with them."""
    config = RESOURCE.change(layers={"dense": LayerHlsConfig(reuse_factor=64)})
    converted = small_cnn(strategy="resource", reuse_factor=6)
    direct = estimate(converted, EstimateConfig(fifo_simulation=False), hls=config)
    varied = next(iter(estimate_variants(analyze(small_cnn(), STREAM), [config])))
    for name in ("latency_cycles", "initiation_interval_cycles", *RESOURCES):
        assert getattr(varied, name).value == getattr(direct, name).value, name


def test_variants_move_reuse_factors_or_refuse_them() -> None:
    analysis = analyze(small_cnn(), STREAM)
    exact = RESOURCE.change(reuse_factor=7, invalid_reuse_factor="error")
    with pytest.raises(ConfigError, match=r"hls.reuse_factor of layer conv .* got 7, nearest valid: 6, 9"):
        list(estimate_variants(analysis, [exact]))
    moved = next(iter(estimate_variants(analysis, [exact.change(invalid_reuse_factor="nearest")])))
    assert moved.layers[0].figures["reuse_factor"].value in (6, 9)


def test_more_reuse_needs_fewer_multipliers_and_more_time() -> None:
    analysis = analyze(small_cnn(), STREAM)
    factors = (2, 6, 18, 72)
    variants = [RESOURCE.change(reuse_factor=factor) for factor in factors]
    found = list(estimate_variants(analysis, variants))
    intervals = [one.initiation_interval_cycles.value for one in found]
    assert intervals == sorted(intervals)
    luts = [one.layers[0].lut.value for one in found]
    assert luts[0] > luts[-1]


def test_variants_reuse_what_does_not_change() -> None:
    analysis = analyze(small_cnn(), STREAM)
    variants = [RESOURCE.change(reuse_factor=1 + index % 72, clock_period_ns=4.0 + index % 7) for index in range(300)]
    begun = time.process_time()
    assert len(list(estimate_variants(analysis, variants))) == 300
    assert time.process_time() - begun < 3


def test_an_estimate_is_quick() -> None:
    one = small_cnn(size=32)
    estimate(one, hls=STREAM)
    begun = time.process_time()
    estimate(one, EstimateConfig(fifo_simulation=False), hls=STREAM)
    assert time.process_time() - begun < 0.2


def random_cnn(seed: int) -> Graph:
    """One to three convolutions of stride 1 or 2, each with a relu, and a dense layer."""
    random = np.random.default_rng(seed)
    shape = entry = [int(random.choice([8, 12, 16, 20])), 0, 2]
    shape[1] = shape[0]
    layers: list[Layer] = []
    source = "x"
    for index in range(random.integers(1, 4)):
        size, stride = int(random.choice([1, 3])), int(random.choice([1, 1, 2]))
        kernel = random.integers(-7, 8, (size, size, shape[2], int(random.choice([2, 4])))) / 32
        layers.append(convolution(f"conv{index}", source, shape, kernel, stride=stride))
        shape, source = list(layers[-1].shape), f"relu{index}"
        layers.append(relu(source, f"conv{index}", shape))
        if shape[0] < 5:
            break
    count = int(np.prod(shape))
    layers += [flat("flat", source, shape), dense("dense", "flat", random.integers(-7, 8, (count, 4)) / 32)]
    return graph(entry, layers)


def test_an_estimate_without_simulation_says_how_far_it_may_be_off() -> None:
    errors, inside = [], []
    for seed in range(40):
        analysis = analyze(random_cnn(seed), STREAM)
        for strategy, factor in (("Latency", 1), ("Resource", 1), ("Latency", 9), ("Resource", 9)):
            hls = RESOURCE.change(strategy=strategy, reuse_factor=factor)
            quick = estimate(analysis, EstimateConfig(fifo_simulation=False), hls=hls).latency_cycles
            simulated = estimate(analysis, hls=hls).latency_cycles.value
            errors.append(abs(quick.value / simulated - 1))
            inside.append(quick.low <= simulated <= quick.high)
    assert np.mean(inside) >= 0.9
    assert np.mean(errors) < 0.03


def test_what_does_not_fit_is_named() -> None:
    found = estimate(small_cnn(size=24), hls=STREAM.change(part="xc7z007sclg225-1"))
    assert found.fits is (not check_fits(found))
    big = replace(found, utilization={"lut": Figure(250.0, "%", "model")})
    assert "lut: 250 %" in check_fits(big)[0]


def test_an_unknown_part_has_no_utilization() -> None:
    found = estimate(small_cnn(), hls=STREAM.change(part="xczu99eg-ffvb1156-2-e"))
    assert not found.utilization and found.fits is None
    assert any("in no device table" in note for note in found.notes)


def test_tools_differ() -> None:
    one = small_cnn(size=24)
    vivado = estimate(one, EstimateConfig(tool="vivado_hls 2020.1"), hls=STREAM)
    vitis = estimate(one, EstimateConfig(tool="vitis_hls 2023.2"), hls=STREAM)
    assert vitis.initiation_interval_cycles.value > 2 * vivado.initiation_interval_cycles.value


def test_an_io_parallel_latency_network_is_one_pipeline() -> None:
    kernel = np.random.default_rng(0).integers(-7, 8, (16, 8)) / 32
    one = graph([16], [dense("a", "x", kernel), relu("relu", "a", [8]), dense("b", "relu", kernel[:8, :4])])
    found = estimate(one, hls=STREAM.change(io_type="io_parallel"))
    assert found.initiation_interval_cycles.value == 1
    assert found.latency_cycles.value < 20 and not found.fifos


def test_a_resource_layer_makes_io_parallel_a_dataflow() -> None:
    kernel = np.random.default_rng(0).integers(-7, 8, (16, 8)) / 32
    layers = [dense("a", "x", kernel, strategy="resource", reuse_factor=32), dense("b", "a", kernel[:8, :4])]
    found = estimate(graph([16], layers), hls=STREAM.change(io_type="io_parallel", strategy="Resource"))
    assert 32 <= found.initiation_interval_cycles.value <= 36


def test_what_joins_layers_is_counted() -> None:
    """Registers between the layers of a pipeline, a FIFO for each element between those of a dataflow."""
    kernel = np.random.default_rng(0).integers(-7, 8, (16, 8)) / 32
    config = HlsConfig(backend="Vivado", io_type="io_parallel", strategy="Resource", part="xcu250-figd2104-2L-e")
    layers = [dense("a", "x", kernel, strategy="resource", reuse_factor=32), relu("r", "a", [8])]
    found = estimate(graph([16], layers), hls=config)
    assert found.ff.value - sum(one.ff.value for one in found.layers) == 8 * 6
    assert found.lut.value - sum(one.lut.value for one in found.layers) == 8 * (25 + 8)
    pipeline = [dense("a", "x", 8 * kernel), dense("b", "a", 8 * kernel[:8, :4])]
    found = estimate(graph([16], pipeline), hls=config.change(strategy="Latency", clock_period_ns=2.5))
    assert found.layers[0].latency_cycles.value > 0
    assert found.ff.value - sum(one.ff.value for one in found.layers) == 8 * 8


def test_da4ml_costs_are_taken_from_the_graph() -> None:
    kernel = np.random.default_rng(0).integers(-7, 8, (16, 8)) / 32
    plain = dense("a", "x", kernel, strategy="distributed_arithmetic")
    costed = replace(plain, attributes={**plain.attributes, "da_kernel_cost": 500.0})
    config = STREAM.change(io_type="io_parallel", strategy="distributed_arithmetic")
    found = estimate(graph([16], [costed]), hls=config)
    assert found.dsp.value == 0
    assert 500 <= found.lut.value <= 1000


def test_a_graph_needs_its_configuration_and_a_project_has_it() -> None:
    with pytest.raises(ConfigError, match="HlsConfig"):
        estimate(small_cnn())
    project = HlsProject(Path("p"), "abc", STREAM, small_cnn(), "myproject")
    assert estimate(project).project_digest == "abc"


@pytest.mark.parametrize("io_type", ["io_stream", "io_parallel"])
def test_a_table_by_layer_adds_up_to_the_design(io_type: str) -> None:
    found = estimate(small_cnn(), hls=STREAM.change(io_type=io_type))
    assert found.between_name == ("FIFOs" if io_type == "io_stream" else "between layers")
    for name in ("dsp", "lut", "ff", "bram_18k", "uram"):
        layers = sum(getattr(layer, name).value for layer in found.layers)
        rest = found.between[name].value if found.between else 0
        assert layers + rest == pytest.approx(getattr(found, name).value)
    latency = sum(layer.latency_cycles.value for layer in found.layers)
    told = [note for note in found.notes if "add up to" in note]
    assert bool(told) == (latency != found.latency_cycles.value)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"top": ModuleReport("other", 320)}, "top function other"),
        ({"part": "xcu250-figd2104-2L-e"}, "part xcu250"),
        ({"clock_period_ns": 10.0}, "clock period"),
        ({"modules": (ModuleReport("dense_config99_s", 3),)}, r"layers of numbers \[99\]"),
    ],
)
def test_reports_of_another_design_are_refused(change: dict[str, Any], word: str) -> None:
    project = HlsProject(Path("p"), "abc", STREAM, small_cnn(), "myproject")
    own = CsynthReport("2023.2", STREAM.part, STREAM.clock_period_ns, 1.35, ModuleReport("myproject", 320))
    check_reports(VendorReports(csynth=own), project)
    with pytest.raises(ReportError, match=word):
        check_reports(VendorReports(csynth=replace(own, **change)), project)


def test_estimates_are_put_beside_reports() -> None:
    one = small_cnn()
    one = replace(
        one,
        layers=tuple(replace(item, attributes={**item.attributes, "index": at}) for at, item in enumerate(one.layers)),
    )
    found = estimate(one, hls=STREAM)
    module = ModuleReport("conv_2d_cl_array_config1_s", 300, 300, 300, 300, 0, 3, 900, 1200, 0)
    top = ModuleReport("myproject", 320, 320, 305, 305, 10, 5, 4000, 5000, 0)
    reports = VendorReports(
        csynth=CsynthReport("2023.2", STREAM.part, 5.0, 1.35, top, modules=(module,)),
        cosim=CosimReport("Verilog", "Pass", 310, 315, 320, 300, 300, 300),
        utilization=UtilizationReport("Synthesized", "xczu9eg", "2023.2", 2500, 3000, 6, 5, 0),
    )
    rows = put_beside(found, reports, one)
    assert {row.layer for row in rows} == {None, "conv"}
    by_key = {(row.layer, row.quantity, row.reported.source): row for row in rows}
    assert by_key[None, "lut", "csynth"].reported.value == 5000
    assert by_key[None, "lut_placed", "vsynth"].reported.value == 2500
    conv = by_key["conv", "dsp", "csynth"]
    assert conv.estimated.value == found.layers[0].dsp.value and isinstance(conv.inside, bool)


def test_the_chance_to_fit_comes_from_the_intervals_and_names_what_decides() -> None:
    near = Figure(95.0, "%", "model", low=80.0, high=130.0)
    far, none = Figure(10.0, "%", "model", low=5.0, high=20.0), Figure(0.0, "%", "model", low=0.0, high=0.0)
    found = probability_of_fit({"lut": near, "dsp": far, "uram": none})
    assert found is not None and 0.5 < found.value < 0.75 and "lut decides" in str(found.note)
    assert chance_within(far) == pytest.approx(1.0)
    assert chance_within(Figure(150.0, "%", "model", low=100.0, high=200.0)) == pytest.approx(0.05)
    assert chance_within(Figure(150.0, "%", "model")) == 0.0
    assert probability_of_fit({}) is None
