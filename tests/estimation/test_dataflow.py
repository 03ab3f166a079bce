"""The token-level simulation: against a plain cycle-by-cycle simulator, and its answers on FIFO depths."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_graphs import dense, graph, skip_graph, small_cnn

from toolkit.config import HlsConfig
from toolkit.errors import ConfigError
from toolkit.estimation.cycles import Clock, cycles_of
from toolkit.estimation.dataflow import (
    UNBOUNDED,
    Flow,
    Process,
    flow_of,
    needed_depths,
    simulate,
    unbounded,
)
from toolkit.estimation.stages import stages_of
from toolkit.estimation.tools import parse_tool
from toolkit.hls.network import network_of
from toolkit.records import Graph

CLOCK = Clock(5.0, parse_tool("vitis_hls 2023.2"), "ultrascale+")


def process(
    name: str, inputs: tuple[str, ...], outputs: tuple[str, ...], count: int, cost: int, reads: int = 1
) -> Process:
    """Iterations of equal cost that all read; every ``reads``-th one writes."""
    every = np.ones(count, bool)
    writes = (np.arange(count) + 1) % reads == 0
    return Process(name, inputs, outputs, np.full(count, cost), every, writes, np.full(count, cost))


def plain_simulation(network: Flow, images: int, depths: Mapping[str, int]) -> dict[str, list[int]]:
    """Start of every iteration, one iteration at a time, by repeating until nothing changes."""
    written: dict[str, list[int]] = {name: list(range(count * images)) for name, count in network.sources.items()}
    taken: dict[str, list[int]] = {}
    for one in network.processes:
        for name in one.outputs:
            written[name] = []
        for name in one.inputs:
            taken[name] = []
    starts: dict[str, list[int]] = {one.name: [] for one in network.processes}
    moved = True
    while moved:
        moved = False
        for one in network.processes:
            size = one.cost.size
            while len(starts[one.name]) < size * images:
                at = len(starts[one.name])
                local = at % size
                start = 0
                if at:
                    extra = one.restart if local == 0 else 0
                    start = starts[one.name][-1] + int(one.cost[(at - 1) % size]) + extra
                ready = True
                if one.reads[local]:
                    for name in one.inputs:
                        token = len(taken[name])
                        if token >= len(written[name]):
                            ready = False
                        else:
                            start = max(start, written[name][token] + 1)
                if one.writes[local]:
                    for name in one.outputs:
                        token, depth = len(written[name]), depths.get(name, UNBOUNDED)
                        if token >= depth and name in taken:
                            if token - depth >= len(taken[name]):
                                ready = False
                            else:
                                start = max(start, taken[name][token - depth] + 1 - int(one.delay[local]))
                if not ready:
                    break
                starts[one.name].append(start)
                if one.reads[local]:
                    for name in one.inputs:
                        taken[name].append(start)
                if one.writes[local]:
                    for name in one.outputs:
                        written[name].append(start + int(one.delay[local]))
                moved = True
    return starts


@st.composite
def networks(draw: st.DrawFn) -> Flow:
    """A chain with, sometimes, a branch that joins again."""
    count = draw(st.integers(4, 40))
    costs = [draw(st.integers(1, 6)) for _ in range(4)]
    depths = {name: draw(st.integers(1, 8)) for name in "abcd"}
    if draw(st.booleans()):
        processes = (
            process("first", ("x",), ("a",), count, costs[0]),
            process("fork", ("a",), ("b", "c"), count, costs[1]),
            process("slow", ("b",), ("d",), count, costs[2]),
            process("join", ("c", "d"), ("y",), count, costs[3]),
        )
    else:
        processes = (
            process("first", ("x",), ("a",), count * 2, costs[0], reads=2),
            process("second", ("a",), ("b",), count, costs[1]),
            process("third", ("b",), ("y",), count, costs[2]),
        )
    tokens = int(processes[0].reads.sum())
    used = {name for one in processes for name in one.inputs}
    return Flow(processes, {name: depth for name, depth in depths.items() if name in used}, {"x": tokens}, ("y",))


@settings(max_examples=60)
@given(networks(), st.integers(1, 3))
def test_it_times_every_iteration_as_a_plain_simulator_does(network: Flow, images: int) -> None:
    run = simulate(network, images=images)
    plain = plain_simulation(network, images, network.depths)
    assert not run.deadlocked
    for name, starts in plain.items():
        np.testing.assert_array_equal(run.starts[name], starts)


@settings(max_examples=40)
@given(networks())
def test_needed_depths_cost_nothing_and_deeper_fifos_never_delay(network: Flow) -> None:
    free = simulate(network, depths=unbounded(network))
    depths = needed_depths(network, free)
    run = simulate(network, depths=depths.needed)
    assert (run.latency_cycles, run.interval_cycles) == (free.latency_cycles, free.interval_cycles)
    assert all(depths.needed[name] <= depths.peak[name] for name in depths.needed)
    for name, depth in depths.needed.items():
        if depth > 1:
            shallower = simulate(network, depths={**depths.needed, name: depth - 1})
            slower = shallower.latency_cycles > free.latency_cycles
            assert slower or shallower.deadlocked or shallower.interval_cycles > free.interval_cycles
    written = simulate(network)
    assert written.latency_cycles >= free.latency_cycles


def cnn_network(one: Graph, **settings_: object) -> Flow:
    config = HlsConfig(**settings_)  # type: ignore[arg-type]
    return flow_of(network_of(one), stages_of(network_of(one), config), CLOCK)


def test_a_chain_is_as_slow_as_its_slowest_stage() -> None:
    one = small_cnn()
    network = cnn_network(one)
    run = simulate(network)
    stages = stages_of(network_of(one), HlsConfig())
    slowest = max(cycles_of(stage, CLOCK).high for stage in stages)
    assert run.interval_cycles == pytest.approx(slowest, rel=0.03)
    assert slowest < run.latency_cycles < slowest + 60


def test_an_in_place_flatten_is_the_stream_before_it() -> None:
    network = cnn_network(small_cnn())
    assert [one.name for one in network.processes] == ["conv", "relu", "pool", "dense"]
    assert network.processes[-1].inputs == ("pool",)
    assert set(network.depths) == {"conv", "relu", "pool"}


def test_a_short_branch_needs_a_deep_fifo_and_deadlocks_without() -> None:
    shallow = simulate(cnn_network(skip_graph(2)))
    assert set(shallow.deadlocked) >= {"clone", "conv", "add"}
    network = cnn_network(skip_graph(144))
    free = simulate(network, depths=unbounded(network))
    needed = needed_depths(network, free).needed
    assert 12 < needed["right"] < 144  # more than a row, less than the map
    assert not simulate(network, depths={"right": needed["right"]}).deadlocked
    assert simulate(network, depths={"right": needed["right"] - 1}).latency_cycles != free.latency_cycles


def test_io_parallel_has_no_streams() -> None:
    one = graph([4], [dense("dense", "x", np.ones((4, 2)))])
    with pytest.raises(ConfigError, match="io_stream"):
        cnn_network(one, io_type="io_parallel")


def test_ten_million_cycles_take_seconds() -> None:
    count = 250_000
    processes = tuple(
        process(f"stage{index}", (f"s{index}",), (f"s{index + 1}",), count, cost)
        for index, cost in enumerate([1, 40, 3])
    )
    network = Flow(processes, {"s1": 64, "s2": 64}, {"s0": count}, ("s3",))
    begun = time.process_time()
    run = simulate(network, images=1)
    assert run.latency_cycles >= 10_000_000
    assert time.process_time() - begun < 20


def test_restarts_are_part_of_the_interval() -> None:
    alone = replace(process("only", ("x",), ("y",), 10, 1), restart=5)
    network = Flow((alone,), {}, {"x": 10}, ("y",))
    assert simulate(network, images=3).interval_cycles == 15
