"""Every lint rule, on hand-made graphs: when it speaks, when it does not, what it advises."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from toolkit.config import HlsConfig, LayerHlsConfig
from toolkit.errors import ConfigError
from toolkit.hls.lint import lint
from toolkit.hls.network import network_of
from toolkit.network.ranges import ranges_of
from toolkit.records import Estimate, FifoEstimate, Figure, Finding, Graph, Layer, LayerProfile, Tensor, Weight

TYPE = "ap_fixed<16,8>"


def one_layer(
    kind: str,
    kernel: Any,
    shape: tuple[int, ...],
    made: tuple[int, ...],
    *,
    types: dict[str, str] | None = None,
    precision: str = TYPE,
    weight_type: str = TYPE,
    **attributes: Any,
) -> Graph:
    """An input and one layer called ``it``."""
    every = {"result_t": precision, "accum_t": precision} | (types or {})
    weights = {} if kernel is None else {"weight": Weight("w", np.asarray(kernel, np.float64), weight_type)}
    layers = (
        Layer("x", "Input", (), ("x",), shape, {"result_t": precision}, {}, {}),
        Layer("it", kind, ("x",), ("it",), made, every, attributes, weights),
    )
    tensors = {"x": Tensor("x", shape, precision), "it": Tensor("it", made, every["result_t"])}
    return Graph(layers, tensors, ("x",), ("it",), "digest")


def dense(kernel: Any, **more: Any) -> Graph:
    values = np.asarray(kernel, np.float64)
    n_in, n_out = values.shape
    return one_layer("Dense", values, (n_in,), (n_out,), n_in=n_in, n_out=n_out, **more)


def convolution(kind: str, kernel: Any, filters: int, **more: Any) -> Graph:
    """A 2D convolution over 12 x 12 pixels."""
    height, width, channels, _ = np.shape(kernel)
    sizes = {"filt_height": height, "filt_width": width, "n_chan": channels, "n_filt": filters}
    return one_layer(kind, kernel, (12, 12, channels), (13 - height, 13 - width, filters), **sizes, **more)


def found(graph: Graph, rule: str, config: HlsConfig | None = None, **more: Any) -> list[Finding]:
    return [finding for finding in lint(graph, config or HlsConfig(), **more) if finding.rule == rule]


SMALL = np.full((8, 4), 0.25)
RESOURCE = HlsConfig(strategy="Resource", reuse_factor=8, precision=TYPE)


def test_a_sound_layer_has_no_finding() -> None:
    graph = dense(np.linspace(-100, 100, 32).reshape(8, 4), reuse_factor=1, strategy="latency")
    assert lint(graph, HlsConfig(precision=TYPE), ranges={"x": (0.0, 0.01)}) == ()


def test_invalid_and_moved_reuse_factors() -> None:
    invalid = found(dense(SMALL, strategy="resource", reuse_factor=5), "reuse-factor-invalid", RESOURCE)
    assert invalid[0].severity == "error" and invalid[0].layer == "it" and "4, 8" in invalid[0].remedy
    moved = found(
        dense(SMALL, strategy="resource", reuse_factor=8), "reuse-factor-moved", RESOURCE.change(reuse_factor=7)
    )
    assert "7 was asked for, 8 is built" in moved[0].reason
    assert not found(dense(SMALL, strategy="resource", reuse_factor=8), "reuse-factor-moved", RESOURCE)


def test_a_depthwise_reuse_factor_is_judged_as_hls4ml_does() -> None:
    kernel = np.full((3, 3, 4, 1), 0.25)
    for factor, invalid in ((72, False), (5, True)):  # 36 rows and 4 columns, though only 36 weights
        graph = convolution("DepthwiseConv2D", kernel, 4, strategy="resource", reuse_factor=factor)
        assert bool(found(graph, "reuse-factor-invalid", RESOURCE.change(reuse_factor=factor))) is invalid


def test_a_reuse_factor_of_a_separable_convolution_is_that_of_its_parts() -> None:
    graph = dense(SMALL, strategy="resource", reuse_factor=8)
    parts = replace(graph, layers=(graph.layers[0], replace(graph.layers[1], name="it_pointwise")))
    asked = RESOURCE.change(layers={"it": LayerHlsConfig(reuse_factor=7)})
    assert "7 was asked for" in found(parts, "reuse-factor-moved", asked)[0].reason


@pytest.mark.parametrize(
    ("kind", "kernel", "factor", "io_type", "wrong"),
    [
        ("Conv2D", (3, 3, 3, 8), 54, "io_parallel", True),
        ("Conv2D", (3, 3, 3, 8), 27, "io_parallel", False),
        ("Conv2D", (3, 3, 3, 8), 54, "io_stream", False),
        ("PointwiseConv2D", (1, 1, 4, 8), 8, "io_parallel", True),
        ("PointwiseConv2D", (1, 1, 4, 8), 4, "io_parallel", False),
    ],
)
def test_the_convolution_hls4ml_computes_wrongly(
    kind: str, kernel: tuple[int, ...], factor: int, io_type: str, wrong: bool
) -> None:
    graph = convolution(kind, np.full(kernel, 0.25), kernel[-1], strategy="resource", reuse_factor=factor)
    config = RESOURCE.change(io_type=io_type, reuse_factor=factor)
    assert bool(found(graph, "convolution-wrong-bits", config)) is wrong


@pytest.mark.parametrize(("io_type", "wrong"), [("io_stream", True), ("io_parallel", False)])
def test_windows_of_other_peoples_projects(io_type: str, wrong: bool) -> None:
    sizes = {"filt_height": 1, "filt_width": 3, "stride_height": 2, "stride_width": 1}
    flat = one_layer("Conv2D", np.full((1, 3, 2, 2), 0.25), (6, 6, 2), (3, 4, 2), **sizes)
    sizes = {"pool_height": 3, "pool_width": 3, "stride_height": 2, "stride_width": 2, "pool_op": "Max"}
    overlapping = one_layer("Pooling2D", None, (7, 7, 2), (3, 3, 2), **sizes)
    for graph in (flat, overlapping):
        assert bool(found(graph, "window-wrong-bits", HlsConfig(io_type=io_type))) is wrong


@pytest.mark.parametrize(("precision", "wrong"), [("ap_ufixed<8,2>", True), ("ap_fixed<8,2>", False)])
def test_padding_of_unsigned_types_counts_as_a_value(precision: str, wrong: bool) -> None:
    sizes = {"pool_height": 2, "pool_width": 2, "stride_height": 2, "stride_width": 2, "pool_op": "Max", "pad_right": 1}
    graph = one_layer("Pooling2D", None, (4, 5, 2), (2, 3, 2), precision=precision, **sizes)
    assert bool(found(graph, "window-wrong-bits", HlsConfig(io_type="io_parallel"))) is wrong


def test_arrays_that_do_not_unroll() -> None:
    graph = one_layer("Activation", None, (20, 20, 16), (20, 20, 16), activation="relu")
    assert len(found(graph, "array-does-not-unroll", HlsConfig(io_type="io_parallel"))) == 2
    assert not found(graph, "array-does-not-unroll", HlsConfig(io_type="io_stream"))


@pytest.mark.parametrize(("backend", "severity"), [("Vivado", "error"), ("Vitis", "warning")])
def test_kernels_that_do_not_unroll(backend: str, severity: str) -> None:
    graph = dense(np.full((64, 64), 0.25), strategy="latency", reuse_factor=1)
    assert found(graph, "kernel-does-not-unroll", HlsConfig(backend=backend))[0].severity == severity
    assert not found(dense(SMALL, strategy="latency", reuse_factor=1), "kernel-does-not-unroll")


def test_overflow_is_proved_from_the_ranges_and_the_weights() -> None:
    graph = dense(np.full((8, 1), 10.0), types={"result_t": "ap_fixed<8,4>", "accum_t": "ap_fixed<16,8>"})
    assert not found(graph, "result-overflow", ranges={"x": (0.0, 0.05)})
    proved = found(graph, "result-overflow", ranges={"x": (0.0, 1.0)})[0]
    assert "0 to 80" in proved.reason and "8 integer bits" in proved.remedy and proved.severity == "warning"
    assert not found(graph, "accumulator-overflow", ranges={"x": (0.0, 1.0)})
    assert found(graph, "accumulator-overflow", ranges={"x": (0.0, 2.0)})
    assert "anywhere in their types" in found(graph, "result-overflow")[0].reason


def test_a_saturating_result_is_only_noted() -> None:
    graph = dense(np.full((8, 1), 10.0), types={"result_t": "ap_fixed<8,4,RND,SAT>"})
    assert found(graph, "result-overflow", ranges={"x": (0.0, 1.0)})[0].severity == "note"


def test_ranges_hold_for_every_input() -> None:
    """The bound of a sum is attained and never exceeded."""
    random = np.random.default_rng(0)
    kernel = random.integers(-8, 9, (6, 5)) / 4
    graph = dense(kernel, precision="ap_fixed<32,16>")
    low, high = ranges_of(network_of(graph), {"x": (-0.5, 1.0)}).sums["it"].real
    sums = random.uniform(-0.5, 1.0, (500, 6)) @ kernel
    assert low <= sums.min() and sums.max() <= high
    corners = np.where(kernel > 0, 1.0, -0.5)
    assert (corners * kernel).sum(axis=0).max() == pytest.approx(high)


def test_depthwise_sums_stay_in_their_channel() -> None:
    kernel = np.ones((3, 3, 2, 1))
    graph = one_layer("DepthwiseConv2D", kernel, (8, 8, 2), (6, 6, 2), filt_height=3, filt_width=3)
    sums = ranges_of(network_of(graph), {"x": (0.0, 1.0)}).sums
    assert sums["it"].real == (0.0, 9.0)


def test_overflow_that_the_emulator_observed() -> None:
    seen = LayerProfile("it", "ap_fixed<8,3>", -5.0, 6.0, -4.0, 3.97, overflows=12, total=100)
    told = found(dense(SMALL), "overflow-observed", profile=[seen])
    assert "12 of 100" in told[0].reason and "4 integer bits" in told[0].remedy
    assert not found(dense(SMALL), "overflow-observed", profile=[replace(seen, overflows=0)])


@pytest.mark.parametrize(("precision", "told"), [("ap_fixed<16,6>", False), ("ap_fixed<40,20>", True)])
def test_softmax_tables_that_do_not_fold(precision: str, told: bool) -> None:
    types = {"exp_table_t": TYPE, "inv_table_t": TYPE}
    graph = one_layer("Softmax", None, (10,), (10,), precision=precision, implementation="stable", types=types)
    assert bool(found(graph, "softmax-table-not-folded")) is told
    assert not found(graph, "softmax-table-not-folded", HlsConfig(backend="Vivado"))


def test_unused_top_bits() -> None:
    told = found(dense(SMALL, weight_type="ap_fixed<8,3>"), "weight-bits-unused")[0]
    assert "uses 5 of the 8 bits" in told.reason and "ap_fixed<5,0>" in told.remedy
    full = np.array([[-4.0, 3.96875]])
    assert not found(dense(full, weight_type="ap_fixed<8,3>"), "weight-bits-unused")
    assert not found(dense(np.zeros((4, 2))), "weight-bits-unused")


def test_layers_left_in_the_default_type() -> None:
    graph = dense(SMALL, precision="ap_fixed<16,6>")
    told = found(graph, "default-precision")
    assert told[0].layer == "it" and "result, accum" in told[0].reason
    assert not found(graph, "default-precision", HlsConfig(precision="ap_fixed<16,6>"))


@pytest.mark.parametrize(
    ("part", "period", "told"),
    [
        ("xc7z020clg400-1", 2.0, True),
        ("xc7z020clg400-1", 5.0, False),
        ("xczu9eg-x", 3.0, False),
        ("xczu9eg-x", 100.0, True),
    ],
)
def test_implausible_clocks(part: str, period: float, told: bool) -> None:
    config = HlsConfig(part=part, clock_period_ns=period)
    assert bool(found(dense(SMALL), "clock-implausible", config)) is told


def estimate(**changes: Any) -> Estimate:
    figure = Figure(1.0, "", "model")
    names = [
        "latency_cycles",
        "initiation_interval_cycles",
        "latency_us",
        "throughput_hz",
        "dsp",
        "lut",
        "ff",
        "bram_18k",
        "uram",
        "energy_uj",
    ]
    fields: dict[str, Any] = dict.fromkeys(names, figure)
    fields |= {"utilization": {}, "fits": True, "layers": (), "fifos": ()}
    return Estimate(**(fields | changes))


def test_what_the_estimate_found_out_becomes_findings() -> None:
    full = estimate(
        utilization={"lut": Figure(150.0, "%", "model"), "ff": Figure(80.0, "%", "model", high=120.0)},
        notes=("deadlock with the project's FIFO depths: add never end",),
        fifos=(FifoEstimate("pool", 225, 1, 256, 1, 15, 0), FifoEstimate("dense", 1, 1, 80, 1, 0, 0)),
    )
    rules = {finding.rule: finding for finding in lint(dense(SMALL), RESOURCE, estimate=full)}
    assert rules["part-exceeded"].severity == "error" and "lut estimated at 150 %" in rules["part-exceeded"].reason
    assert rules["part-may-be-exceeded"].severity == "note"
    assert rules["fifo-deadlock"].severity == "error"
    assert rules["fifo-waste"].layer == "pool" and "saves 15 BRAM18K" in rules["fifo-waste"].remedy
    assert not {rule for rule in rules if rule.startswith(("part", "fifo"))} & {
        finding.rule for finding in lint(dense(SMALL), RESOURCE, estimate=estimate())
    }
    stalled = estimate(notes=("the project's FIFO depths cost 40 cycles of latency and 0 of interval",))
    assert found(dense(SMALL), "fifo-stall", estimate=stalled)


def test_errors_come_first() -> None:
    graph = dense(SMALL, strategy="resource", reuse_factor=5, weight_type="ap_fixed<8,3>", precision="ap_fixed<16,6>")
    order = [finding.severity for finding in lint(graph, HlsConfig(strategy="Resource"))]
    assert order == sorted(order, key=["error", "warning", "note"].index) and order[0] == "error"


def test_a_graph_needs_its_configuration() -> None:
    with pytest.raises(ConfigError, match="HlsConfig"):
        lint(dense(SMALL))
