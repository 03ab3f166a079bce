"""Sweep files: what is a dimension, what is a value, which points there are, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import ConfigError
from toolkit.exploration.space import Point, Sweep, read_sweep

LAYERS = {"conv1": True, "conv2": True, "relu1": False, "relu2": False, "dense": True}


def read(tables: dict[str, Any]) -> Sweep:
    return read_sweep(tables, lambda _: LAYERS)


def names(sweep: Sweep) -> list[str]:
    return [dimension.name for dimension in sweep.branches[0].dimensions]


@pytest.mark.parametrize(
    ("tables", "dimension", "values"),
    [
        ({"quantization": {"weight_bits": [4, 6, 8]}}, "quantization.weight_bits", (4, 6, 8)),
        ({"quantization": {"weight_bits": {"low": 4, "high": 8}}}, "quantization.weight_bits", (4, 5, 6, 7, 8)),
        ({"hls": {"reuse_factor": {"low": 1, "high": 9, "step": 4}}}, "hls.reuse_factor", (1, 5, 9)),
        ({"hls": {"clock_period_ns": {"low": 4.0, "high": 5.0, "step": 0.5}}}, "hls.clock_period_ns", (4.0, 4.5, 5.0)),
        ({"hls": {"strategy": ["Latency", "Resource"]}}, "hls.strategy", ("Latency", "Resource")),
        ({"hls": {"part": ["xc7z020clg400-1", "xcu250-figd2104-2L-e"]}}, "hls.part", None),
        ({"hls": {"io_type": ["io_stream", "io_parallel"]}}, "hls.io_type", None),
        ({"hls": {"target_ii": [1000, 2000]}}, "hls.target_ii", (1000, 2000)),
        ({"hls": {"target_dsp": [50, 100]}}, "hls.target_dsp", (50, 100)),
        ({"hls": {"fifo_depths": ["default", "needed"]}}, "hls.fifo_depths", ("default", "needed")),
        ({"hls": {"precision": ["ap_fixed<8,3>", "ap_fixed<16,6>"]}}, "hls.precision", None),
        ({"quantization": {"scale": ["1", "auto_po2"]}}, "quantization.scale", ("1", "auto_po2")),
        ({"qat": {"epochs": [0, 2], "prune": {"sparsity": 0.5}}}, "qat.epochs", (0, 2)),
        ({"qat": {"prune": {"sparsity": [0, 0.5, 0.8]}}}, "qat.prune.sparsity", (0, 0.5, 0.8)),
        ({"qat": {"epochs": 2, "teacher": ["none", "float"]}}, "qat.teacher", ("none", "float")),
        ({"train": {"prune": ["none", {"sparsity": 0.5}]}}, "train.prune", ("none", {"sparsity": 0.5})),
        ({"model": {"name": ["convnet", "cifar10_cnn"]}}, "model.name", ("convnet", "cifar10_cnn")),
        ({"dataset": {"shape": [[32, 32, 3], [28, 28, 1]]}}, "dataset.shape", ([32, 32, 3], [28, 28, 1])),
        (
            {"quantization": {"layers": {"conv1": {"weight_bits": [3, 4]}}}},
            "quantization.layers.conv1.weight_bits",
            (3, 4),
        ),
        ({"hls": {"layers": {"conv1": {"reuse_factor": [3, 9]}}}}, "hls.layers.conv1.reuse_factor", (3, 9)),
        ({"hls": {"fifo_depths": ["needed", {"conv1": 2}]}}, "hls.fifo_depths", ("needed", {"conv1": 2})),
        ({"hls": {"fifo_depths": {"conv1": [2, 9], "conv2": 3}}}, "hls.fifo_depths.conv1", (2, 9)),
        (
            {"hls": {"layers": {"conv1": {"precision": {"accum": ["ap_fixed<16,8>", "ap_fixed<24,8>"]}}}}},
            "hls.layers.conv1.precision.accum",
            ("ap_fixed<16,8>", "ap_fixed<24,8>"),
        ),
    ],
)
def test_a_list_or_range_is_a_dimension(tables: dict[str, Any], dimension: str, values: tuple[Any, ...] | None) -> None:
    sweep = read(tables)
    assert names(sweep) == [dimension]
    assert values is None or sweep.branches[0].dimensions[0].values() == values
    assert len({point.digest for point in sweep.grid()}) == sweep.size


def test_a_value_that_is_a_list_anyway_is_not_a_dimension() -> None:
    assert names(read({"dataset": {"shape": [32, 32, 3]}, "baselines": [{"engine": "keras", "batches": [1, 8]}]})) == []


def test_a_plain_design_file_is_a_sweep_of_its_designs() -> None:
    sweep = read(
        {"hls": {"reuse_factor": 8}, "designs": [{"name": "a"}, {"name": "b", "hls": {"reuse_factor": [2, 4]}}]}
    )
    points = list(sweep.grid())
    assert [point.design.hls.reuse_factor for point in points] == [8, 2, 4]
    assert [point.params["design"] for point in points] == ["a", "b", "b"]


def test_a_pattern_gives_one_value_to_all_layers_or_each_its_own() -> None:
    shared = read({"quantization": {"layers": {"conv*": {"weight_bits": [3, 4]}}}})
    assert names(shared) == ["quantization.layers.conv*.weight_bits"]
    layers = [point.design.quantization.layers for point in shared.grid()]
    assert [(found["conv1"].weight_bits, found["conv2"].weight_bits) for found in layers] == [(3, 3), (4, 4)]
    each = read({"quantization": {"layers": {"conv*": {"weight_bits": {"each": [3, 4]}}}}})
    assert names(each) == [f"quantization.layers.{name}.weight_bits" for name in ("conv1", "conv2")]
    assert each.size == 4


def test_each_of_a_pattern_belongs_to_its_design() -> None:
    each = {"quantization": {"layers": {"conv*": {"weight_bits": {"each": [3, 4]}}}}}
    sweep = read({"designs": [{"name": "a", **each}, {"name": "b", "quantization": {"weight_bits": [5, 6]}}]})
    found = [[dimension.name for dimension in branch.dimensions] for branch in sweep.branches]
    assert found == [
        [f"a.quantization.layers.{name}.weight_bits" for name in ("conv1", "conv2")],
        ["b.quantization.weight_bits"],
    ]


def test_an_exact_name_wins_over_a_pattern() -> None:
    layers = {"*": {"weight_bits": [3, 4]}, "dense": {"weight_bits": 8}}
    point = next(read({"quantization": {"layers": layers}}).grid())
    assert {name: layer.weight_bits for name, layer in point.design.quantization.layers.items()} == {
        "conv1": 3,
        "conv2": 3,
        "dense": 8,
    }


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (
            {"quantization": {"weight_bits": [4, 99]}},
            "quantization.weight_bits: must be at most 32, got 99",
        ),
        ({"hls": {"strategy": ["Latency", "Ressource"]}}, 'did you mean "Resource"'),
        ({"hls": {"reuse_facto": [1, 2]}}, 'did you mean "reuse_factor"'),
        ({"hls": {"reuse_factor": []}}, "at least one"),
        ({"hls": {"reuse_factor": {"low": 8, "high": 4}}}, "low <= high"),
        ({"hls": {"clock_period_ns": {"low": 4.0, "high": 5.5, "log": True, "step": 1.0}}}, "log range"),
        ({"hls": {"target_ii": 100, "target_dsp": 5}}, "one of them decides"),
        ({"quantization": {"layers": {"konv*": {"weight_bits": [3]}}}}, 'no layer matches "konv\\*"'),
        ({"sweep": {"objectives": ["acuracy"]}}, 'did you mean "accuracy"'),
        ({"sweep": {"objectives": []}}, "at least one figure"),
        ({"sweep": {"constraints": ["accuracy > 3"]}}, "a constraint is"),
        ({"sweep": {"serach": "grid"}}, 'did you mean "search"'),
        ({"designs": [{"name": "a"}, {"name": "a"}]}, "name of its own"),
        ({"designs": {"name": "a"}}, r"under \[\[designs\]\]"),
        ({"designs": []}, r"under \[\[designs\]\]"),
        ({"sweep": 3}, "sweep must be a table, got 3"),
        ({"quantization": {"layers": {"conv1": 4}}}, "quantization.layers.conv1: .* got 4"),
    ],
)
def test_a_value_no_design_takes_is_refused(tables: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tables)


def test_a_mistake_is_told_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text('name = "x"\n\n[hls]\nstrategy = ["Latency", "Ressource"]\n')
    with pytest.raises(ConfigError, match=r"sweep\.toml, line 4"):
        read_sweep(path)


def test_a_grid_needs_steps_but_a_search_does_not() -> None:
    sweep = read({"hls": {"clock_period_ns": {"low": 4.0, "high": 9.5}}, "sweep": {"search": "tpe"}})
    with pytest.raises(ConfigError, match="a range with a step"):
        next(sweep.grid())


def test_what_has_no_effect_does_not_make_another_point() -> None:
    tables = {
        "qat": {"epochs": 3, "teacher": ["none", "float"], "temperature": [2, 4], "prune": {"sparsity": [0, 0.5]}}
    }
    assert len({point.digest for point in read(tables).grid()}) == 6  # without a teacher no temperature
    tables = {"qat": {"epochs": [0, 3], "learning_rate": [1e-3, 1e-4]}}
    assert len({point.digest for point in read(tables).grid()}) == 3
    tables = {"hls": {"strategy": ["distributed_arithmetic", "Latency"], "reuse_factor": [1, 2]}}
    assert len({point.digest for point in read(tables).grid()}) == 3
    tables = {"quantization": {"weights": ["fixed", "ternary"], "weight_bits": [3, 4], "bias_bits": 6}}
    assert len({point.digest for point in read(tables).grid()}) == 3


def test_digests_follow_what_decides_the_result() -> None:
    base = {"hls": {"reuse_factor": [1, 2]}}
    same = [{"name": "other"}, {"proof": {"csim_count": 3}}, {"sweep": {"timeout_s": 5}}]
    other = [{"sweep": {"images": 7}}, {"sweep": {"split": "validation"}}, {"train": {"seed": 1}}]
    digest = next(read(base).grid()).digest
    assert all(next(read({**base, **change}).grid()).digest == digest for change in same)
    assert all(next(read({**base, **change}).grid()).digest != digest for change in other)


def test_a_part_of_a_grid_is_drawn_with_the_seed() -> None:
    tables = {"hls": {"reuse_factor": list(range(1, 101))}}
    some = [point.digest for point in read({**tables, "sweep": {"points": 10}}).grid()]
    again = [point.digest for point in read({**tables, "sweep": {"points": 10}}).grid()]
    other = [point.digest for point in read({**tables, "sweep": {"points": 10, "seed": 1}}).grid()]
    assert some == again != other
    assert len(set(some)) == 10


@given(
    bits=st.lists(st.integers(1, 16), min_size=1, max_size=4, unique=True),
    factors=st.lists(st.integers(1, 64), min_size=1, max_size=4, unique=True),
    periods=st.lists(st.sampled_from([2.5, 5.0, 10.0]), min_size=1, max_size=3, unique=True),
)
def test_a_grid_is_every_combination_and_survives_json(
    bits: list[int], factors: list[int], periods: list[float]
) -> None:
    sweep = read({"quantization": {"weight_bits": bits}, "hls": {"reuse_factor": factors, "clock_period_ns": periods}})
    points = list(sweep.grid())
    found = [
        (p.design.quantization.weight_bits, p.design.hls.reuse_factor, p.design.hls.clock_period_ns) for p in points
    ]
    assert found == [(b, f, c) for b in bits for f in factors for c in periods]
    for point in points[:3]:
        assert Point.from_json(json.loads(json.dumps(point.to_json()))).digest == point.digest
        assert sweep.point(point.params).digest == point.digest


SWEEP_MISTAKES = {
    "a value": (
        '[hls]\nio_type = ["io_stream", "io_parralel"]',
        r'hls\.io_type: "io_parralel" is.*[\s\S]*s\.toml, line 2',
    ),
    "a setting": ('[sweep]\nobjectives = ["lutt"]', r'sweep\.objectives: .*"lutt"[\s\S]*s\.toml, line 2'),
    "two targets": ("[hls]\ntarget_ii = 5\ntarget_dsp = 5", r"hls\.target_ii and.*[\s\S]*s\.toml, line 2"),
    "a name": ('[hls]\n[sweep]\n[dataset]\n[[designs]]\nname = "../x"', "designs.name must be 1 to 100"),
}


@pytest.mark.parametrize(("text", "message"), SWEEP_MISTAKES.values(), ids=SWEEP_MISTAKES)
def test_a_mistake_in_a_file_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_sweep(path)


def test_paths_are_taken_from_the_files_folder(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('model.path = ["a.keras", "/b.keras"]\n')
    paths = [point.file.model.path for point in read_sweep(tmp_path / "s.toml").grid()]
    assert paths == [tmp_path / "a.keras", Path("/b.keras")]
