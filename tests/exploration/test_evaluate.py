"""Real points: what they share is equal to what each would get alone; targets; compression; csim as proof."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.cli import exit_code
from toolkit.config import EstimateConfig, HlsConfig, PruneConfig, QuantConfig, TrainConfig
from toolkit.data import Dataset
from toolkit.emulation import emulate
from toolkit.errors import ConfigError, ModelError
from toolkit.estimation import estimate
from toolkit.exploration import compression_figures, points_table, sweep
from toolkit.exploration.evaluate import (
    analysis_of,
    conversion_config,
    converted,
    dataset_of,
    evaluate_point,
    float_of,
    origin_of,
    quantized,
)
from toolkit.exploration.jobs import TrainingStopped
from toolkit.exploration.points import PointRecord
from toolkit.exploration.proof import project_of
from toolkit.exploration.space import Point, read_sweep
from toolkit.exploration.targets import choices, keeping, resolve, within
from toolkit.hls import write_project
from toolkit.records import TrainRecord
from toolkit.training import quantize, train

pytestmark = pytest.mark.train

BASE: dict[str, Any] = {
    "name": "real",
    "dataset": {"name": "digits", "shape": [16, 16, 1]},
    "model": {"name": "conv_bn_relu"},
    "train": {"epochs": 2, "batch_size": 32},
    "sweep": {"images": 100},
}


@pytest.fixture(scope="module", autouse=True)
def own_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One store for this file, so that the float model is trained once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOOLKIT_STORE", str(tmp_path_factory.mktemp("store")))
        yield


def points(**tables: Any) -> list[Point]:
    return list(read_sweep({**BASE, **tables}).grid())


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return dataset_of(points()[0].file.dataset.model_dump_json())


@pytest.fixture(scope="module")
def trained(dataset: Dataset) -> TrainRecord:
    point = points()[0]
    return float_of(origin_of(point, dataset), point, dataset)


NEAREST = {"invalid_reuse_factor": "nearest"}
STREAM = {"strategy": ["Latency", "Resource"], "reuse_factor": [1, 9, 12], **NEAREST}
PARALLEL = {"strategy": ["Latency", "Resource"], "reuse_factor": [1, 3], "io_type": "io_parallel", **NEAREST}


@pytest.mark.parametrize("hls", [STREAM, PARALLEL], ids=["io_stream", "io_parallel"])
def test_a_point_gets_what_its_own_conversion_gives(
    hls: Mapping[str, Any], dataset: Dataset, trained: TrainRecord
) -> None:
    from toolkit.hls.convert import convert

    for point in points(hls=dict(hls)):
        record = evaluate_point(point)
        model, _ = quantized(point, trained, dataset, ())
        own = convert(model, point.design.hls.plain()).graph
        outputs = emulate(own).predict(dataset.inputs("test", 100))
        assert record.figures["accuracy"].value == np.mean(outputs.argmax(axis=1) == dataset.labels("test", 100))
        alone = estimate(own, EstimateConfig(fifo_simulation=False), hls=point.design.hls.plain())
        for name in ("latency_cycles", "initiation_interval_cycles", "lut", "ff", "dsp", "bram_18k"):
            assert record.figures[name] == getattr(alone, name), (point.params, name)
        shared, _ = converted(point, dataset, ())
        np.testing.assert_array_equal(emulate(shared).predict(dataset.inputs("test", 100)), outputs)


def test_points_share_what_they_can(monkeypatch: pytest.MonkeyPatch) -> None:
    import toolkit.hls.convert as conversion

    calls = []
    original = conversion.convert
    monkeypatch.setattr(conversion, "convert", lambda *arguments: calls.append(1) or original(*arguments))
    tables = {
        "quantization": {"weight_bits": [5, 7]},
        "hls": {
            "strategy": ["Latency", "Resource"],
            "reuse_factor": [2, 4],
            "clock_period_ns": [5, 10],
            "part": ["xc7z020clg400-1", "xcu250-figd2104-2L-e"],
            **NEAREST,
        },
    }
    records = [evaluate_point(point) for point in points(**tables)]
    assert len(records) == 32
    assert len(calls) == 2
    assert len({record.facts["program"] for record in records}) == 2
    assert len({record.arithmetic for record in records}) == 4  # what csim builds has a strategy too
    assert len({record.figures["latency_us"].value for record in records}) > 8


def test_figures_say_what_they_are(dataset: Dataset, trained: TrainRecord) -> None:
    record = evaluate_point(points(sweep={"images": 100000, "split": "validation"})[0])
    accuracy = record.figures["accuracy"]
    assert accuracy.source == "emulation"
    assert accuracy.note == f"{len(dataset.y_validation):,} validation images"
    assert {figure.source for figure in record.figures.values()} == {"emulation", "model", "counted"}
    assert record.reuse_factors
    assert PointRecord.from_json(record.to_json()).to_json() == record.to_json()


def test_a_reuse_factor_that_hls4ml_computes_wrongly_is_moved_or_refused() -> None:
    hls = {"io_type": "io_parallel", "strategy": "Resource", "reuse_factor": 1000}
    assert evaluate_point(points(hls=hls | NEAREST)[0]).reuse_factors["conv1"] == 9  # of 3 x 3 x 1 values
    with pytest.raises(ConfigError, match="computes convolutions wrongly"):
        evaluate_point(points(hls=hls)[0])


def test_points_that_build_the_same_design_are_one_and_show_what_is_built(tmp_path: Path) -> None:
    """A reuse factor of 10 and one of 11 both become 9 where a layer has 9 values, and so on in every layer."""
    hls = {"io_type": "io_parallel", "strategy": "Resource", "reuse_factor": [9, 900, 1000], **NEAREST}
    tables = {**BASE, "name": "same", "hls": hls, "sweep": {"images": 100, "constraints": []}}
    result = sweep(tables, workers=0, storage=tmp_path / "b.db", proof=False, say=lambda line: None)
    assert len({record.built for record in result.points}) == len(result.points)
    headings, rows = points_table(result)
    shown = {row[0]: row[headings.index("reuse_factor")] for row in rows}
    for record in result.points:
        factors = set(record.reuse_factors.values())
        expected = str(*factors) if len(factors) == 1 else f"{min(factors)} to {max(factors)}"
        assert shown[str(record.number)] == expected
        assert record.place("hls.reuse_factor") == max(factors)
    assert len(result.points) == 2


@pytest.mark.parametrize("strategy", ["Latency", "Resource"])
def test_targets_are_kept_with_valid_reuse_factors(strategy: str, dataset: Dataset) -> None:
    from toolkit.hls.reuse import valid_reuse_factors

    point = points(hls={"strategy": strategy, "target_ii": 2000})[0]
    record = evaluate_point(point)
    assert record.figures["initiation_interval_cycles"].value <= 2000 * 1.02 + 8
    graph, _ = converted(point, dataset, ())
    analysis = analysis_of(graph, conversion_config(point.design.hls))
    for stage in analysis.stages:
        if stage.name in record.reuse_factors and strategy == "Resource":
            assert record.reuse_factors[stage.name] in valid_reuse_factors(stage.n_in, stage.n_out)
    tables = choices(analysis, point.design.hls.plain())
    chosen = keeping(tables, 2000)
    for name, table in tables.items():
        larger = [choice for choice in table if choice.reuse_factor > chosen[name]]
        assert all(choice.interval_cycles > 2000 for choice in larger)
    with pytest.raises(ConfigError, match="cannot be kept: layer"):
        keeping(tables, 0)


def test_a_dsp_target_takes_the_shortest_interval_within_it(dataset: Dataset) -> None:
    point = points(
        quantization={"weight_bits": 12, "activation_bits": 12}, hls={"strategy": "Resource", "target_dsp": 40}
    )[0]
    record = evaluate_point(point)
    assert 0 < record.figures["dsp"].value <= 40
    graph, _ = converted(point, dataset, ())
    analysis = analysis_of(graph, conversion_config(point.design.hls))
    with pytest.raises(ConfigError, match="the least any reuse factors need"):
        within(choices(analysis, point.design.hls.plain()), -1)
    assert resolve(analysis, point.design.hls).layers


def test_fifos_as_deep_as_needed_take_less() -> None:
    default, needed = (evaluate_point(point) for point in points(hls={"fifo_depths": ["default", "needed"]}))
    assert needed.fifo_depths
    assert not default.fifo_depths
    assert needed.figures["bram_18k"].value <= default.figures["bram_18k"].value
    assert needed.figures["lut"].value <= default.figures["lut"].value


def test_fifo_depths_of_a_point_are_those_of_its_project(dataset: Dataset, tmp_path: Path) -> None:
    for point in points(hls={"fifo_depths": ["needed", {"conv1": 7}]}):
        record = evaluate_point(point)
        project = project_of(point, record, dataset)
        written = {name: tensor.fifo_depth for name, tensor in project.graph.tensors.items()}
        assert record.fifo_depths == {name: written[name] for name in record.fifo_depths}
        own = estimate(project, EstimateConfig(fifo_simulation=False))
        for name in ("latency_cycles", "lut", "ff", "bram_18k"):
            assert record.figures[name] == getattr(own, name)
    simulated = estimate(project_of(point := points(hls={"fifo_depths": "needed"})[0], evaluate_point(point), dataset))
    assert not [note for note in simulated.notes if "FIFO depths cost" in note or "deadlock" in note]
    with pytest.raises(ConfigError, match="no FIFO is named"):
        evaluate_point(points(hls={"fifo_depths": {"konv": 7}})[0])


def test_pruned_channels_are_gone_from_a_point(dataset: Dataset) -> None:
    hls = {"strategy": "Resource", "reuse_factor": 4, **NEAREST}
    prune = {"sparsity": [0, 0.5], "structure": "channel", "scope": "layer"}
    dense, narrow = (evaluate_point(point) for point in points(qat={"epochs": 1, "prune": prune}, hls=hls))
    assert narrow.figures["nonzero_weights"].value < 0.6 * dense.figures["nonzero_weights"].value
    assert narrow.figures["lut"].value < 0.8 * dense.figures["lut"].value


def test_pruning_without_training_is_done_at_once(dataset: Dataset) -> None:
    dense, sparse = (
        evaluate_point(point)
        for point in points(
            qat={"epochs": 0, "prune": {"sparsity": [0, 0.8], "scope": "global"}}, hls={"strategy": "Latency"}
        )
    )
    assert sparse.figures["nonzero_weights"].value < 0.25 * dense.figures["nonzero_weights"].value
    assert sparse.figures["csd_digits"].value < 0.6 * dense.figures["csd_digits"].value
    assert sparse.figures["lut"].value < dense.figures["lut"].value


def test_quantization_aware_training_keeps_its_history_and_may_be_stopped(dataset: Dataset) -> None:
    point = points(qat={"epochs": 2, "teacher": "float", "learning_rate": 1e-4})[0]
    with pytest.raises(TrainingStopped) as stopped:
        evaluate_point(point, [1.1])
    assert len(stopped.value.history) == 1
    record = evaluate_point(point)
    assert len(record.history) == 2
    assert record.history[0] == pytest.approx(stopped.value.history[0])


def test_a_training_that_ran_into_nan_is_a_failed_point(tmp_path: Path) -> None:
    tables = {**BASE, "name": "nan", "train": {"epochs": 1, "learning_rate": 1e30}}
    result = sweep(tables, workers=0, storage=tmp_path / "b.db", proof=False, say=lambda line: None)
    assert [(record.state, record.error_kind) for record in result.points] == [("failed", ModelError.__name__)]


def test_compression_is_counted_and_estimated(dataset: Dataset, trained: TrainRecord) -> None:
    hls = HlsConfig(strategy="Latency")
    dense = quantize(trained.model, QuantConfig(weight_bits=6), dataset)
    config = TrainConfig(epochs=0, prune=PruneConfig(sparsity=0.5, structure="channel", scope="layer"))
    pruned = train(dense, dataset, config).model
    found = compression_figures(pruned, hls, reference=dense)
    assert any(layer.live_channels < layer.channels for layer in found.layers)
    assert all(layer.nonzero <= layer.weights for layer in found.layers)
    assert 0.2 < found.saved["nonzero_weights"].value < 0.9
    assert found.saved["lut"].value > 0
    assert list(found.to_frame()["name"]) == [layer.name for layer in found.layers]
    assert found.saved["lut"].value == 1 - found.figures["lut"].value / found.reference["lut"].value


def test_the_command_line_says_what_is_saved(
    dataset: Dataset, trained: TrainRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hls = HlsConfig(strategy="Latency")
    dense = quantize(trained.model, QuantConfig(weight_bits=6), dataset)
    config = TrainConfig(epochs=0, prune=PruneConfig(sparsity=0.5, scope="layer"))
    write_project(dense, hls, tmp_path / "dense")
    write_project(train(dense, dataset, config).model, hls, tmp_path / "pruned")
    assert exit_code(["estimate", str(tmp_path / "pruned"), "--against", str(tmp_path / "dense"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["compression"]
    assert found["saved"]["nonzero_weights"]["value"] == pytest.approx(0.5, abs=0.05)
    assert found["saved"]["lut"]["source"] == "model"
    assert exit_code(["estimate", str(tmp_path / "pruned"), "--against", str(tmp_path / "dense")]) == 0
    assert "CSD digits" in capsys.readouterr().out


@pytest.mark.csim
def test_csim_proves_the_front(tmp_path: Path) -> None:
    tables = {
        **BASE,
        "name": "proof",
        "quantization": {"weight_bits": [3, 6]},
        "hls": {"strategy": "Resource", "reuse_factor": [4], **NEAREST},
        "sweep": {"images": 100, "constraints": [], "proof": {"sample": 0, "images": 4}},
    }
    result = sweep(tables, workers=0, storage=tmp_path / "b.db", say=lambda line: None)
    assert result.pareto
    for record in result.pareto:
        assert record.proof is not None
        assert record.proof["equal"] is True
        assert record.proof["images"] == 4
        assert record.proof["estimate_differs"] == []
        assert record.proof["simulated"]["latency_us"]["value"] > 0


def test_a_sweep_tells_where_bits_are_not_qkeras(tmp_path: Path) -> None:
    """A result too narrow for its sums: csim equals the emulator, and neither is QKeras."""
    tables = {
        **BASE,
        "name": "narrow",
        "quantization": {"weight_bits": [6]},
        "hls": {"strategy": "Latency", "layers": {"logits": {"precision": {"result": "ap_fixed<4,1>"}}}, **NEAREST},
        "sweep": {"images": 50, "constraints": [], "proof": {"sample": 0, "images": 8}},
    }
    result = sweep(tables, workers=0, storage=tmp_path / "b.db", say=lambda line: None)
    (record,) = result.pareto
    assert record.proof is not None and record.proof["equal"] is True
    assert any(finding.layer == "logits" and finding.severity == "error" for finding in result.findings)
