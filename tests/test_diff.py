"""``toolkit diff``: what changed between two projects."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.comparison.diff import Change, ProjectDiff, RunDiff, diff
from toolkit.config import HlsConfig, LayerHlsConfig
from toolkit.errors import HlsError
from toolkit.hls.project import write_project
from toolkit.records import HlsProject

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

BASE = HlsConfig(precision="ap_fixed<16,6>", io_type="io_stream", strategy="Resource", reuse_factor=4)


@pytest.fixture(scope="module")
def model() -> Any:
    import keras

    keras.utils.set_random_seed(3)
    layers = keras.layers
    start = keras.Input((8,))
    x = layers.Dense(8, activation="relu", name="hidden")(start)
    return keras.Model(start, layers.Dense(4, name="logits")(x))


@pytest.fixture(scope="module")
def base(model: Any, tmp_path_factory: pytest.TempPathFactory) -> HlsProject:
    return write(model, tmp_path_factory.mktemp("diff") / "base")


def write(model: Any, path: Path, config: HlsConfig = BASE) -> HlsProject:
    x = np.random.default_rng(0).uniform(-1, 1, (6, 8)).astype(np.float32)
    return write_project(model, config, path, inputs=x)


def found(result: ProjectDiff | RunDiff, aspect: str) -> dict[tuple[str | None, str], Change]:
    assert isinstance(result, ProjectDiff)
    return {(change.layer, change.name): change for change in result.changes if change.aspect == aspect}


def test_nothing_differs(base: HlsProject, model: Any, tmp_path: Path) -> None:
    result = diff(base, write(model, tmp_path / "again"))
    assert isinstance(result, ProjectDiff)
    assert result.equal
    assert result.same_bits
    assert result.images == 6
    assert result.digests[0] == result.digests[1]
    assert "no difference" in str(result)


def test_type_of_one_layer(base: HlsProject, model: Any, tmp_path: Path) -> None:
    narrow = LayerHlsConfig(precision={"result": "ap_fixed<10,6>"})
    result = diff(base.path, write(model, tmp_path / "narrow", BASE.change(layers={"logits": narrow})).path)
    types = found(result, "type")
    assert list(types) == [("logits", "result")]
    assert types["logits", "result"].after == "ap_fixed<10,6>"
    bits = found(result, "bits")
    assert list(bits) == [("logits", "output")]
    assert "24 of 24 values differ" in str(bits["logits", "output"].after)
    assert not found(result, "weights")


def test_weights(base: HlsProject, model: Any, tmp_path: Path) -> None:
    import keras

    changed = keras.models.clone_model(model)
    changed.set_weights(model.get_weights())
    kernel, bias = changed.get_layer("hidden").get_weights()
    kernel[0, 0], kernel[1, 1] = 0.0, kernel[1, 1] + 0.5
    changed.get_layer("hidden").set_weights([kernel, bias])
    result = diff(base, write(changed, tmp_path / "weights"))
    weights = found(result, "weights")
    assert list(weights) == [("hidden", "weight")]
    assert "1 zeros; 2 of 64 values, by up to 0.5" in str(weights["hidden", "weight"].after)
    assert ("hidden", "output") in found(result, "bits")


def test_reuse_factor_changes_cycles_not_bits(base: HlsProject, model: Any, tmp_path: Path) -> None:
    result = diff(base, write(model, tmp_path / "slow", BASE.change(reuse_factor=8)))
    settings = found(result, "setting")
    assert settings["hidden", "reuse_factor"].before == "4"
    assert settings["hidden", "reuse_factor"].after == "8"
    assert isinstance(result, ProjectDiff)
    assert result.same_bits
    assert (None, "latency_cycles") in found(result, "cycles")
    assert (None, "dsp") in found(result, "resources")
    assert ("hidden", "initiation_interval_cycles") in found(result, "cycles")


def test_layers_added_and_removed(base: HlsProject, tmp_path: Path) -> None:
    import keras

    start = keras.Input((8,))
    x = keras.layers.Dense(8, name="hidden")(start)
    other = keras.Model(start, keras.layers.Dense(4, name="scores")(x))
    result = diff(base, write(other, tmp_path / "other"))
    layers = found(result, "layer")
    assert layers["scores", "kind"].before is None
    assert layers["logits", "kind"].after is None
    assert "scores: kind added: dense 4" in str(result)


def test_part_and_versions(base: HlsProject, model: Any, tmp_path: Path) -> None:
    other = write(model, tmp_path / "other", BASE.change(part="xcu250-figd2104-2L-e", clock_period_ns=4.0))
    header = other.path / "firmware" / "nnet_utils" / "nnet_dense.h"
    settings = found(diff(base, other), "setting")
    assert settings[None, "part"].after == "xcu250-figd2104-2L-e"
    assert settings[None, "clock_period_ns"].after == "4.0"
    header.write_text(header.read_text() + "\n")
    assert (None, "nnet_utils/nnet_dense.h") in found(diff(base, other), "source")


def test_folder_without_manifest(base: HlsProject, tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("manifest.json", "toolkit", "*.keras")
    shutil.copytree(base.path, tmp_path / "plain", ignore=ignored)
    result = diff(base.path, tmp_path / "plain")
    assert isinstance(result, ProjectDiff)
    assert result.equal, str(result)


def test_other_inputs(base: HlsProject, tmp_path: Path) -> None:
    import keras

    start = keras.Input((9,))
    wide = keras.Model(start, keras.layers.Dense(4, name="logits")(start))
    other = write_project(wide, BASE.change(reuse_factor=3), tmp_path / "wide")
    result = diff(base, other)
    assert isinstance(result, ProjectDiff)
    assert result.images == 0
    assert not result.same_bits
    assert any("different shapes" in note for note in result.notes)


def test_runs(base: HlsProject, model: Any, tmp_path: Path) -> None:
    for run, designs in {"before": ("same", "gone"), "after": ("same", "new")}.items():
        for name in designs:
            shutil.copytree(base.path, tmp_path / run / "projects" / name)
    result = diff(tmp_path / "before", tmp_path / "after")
    assert isinstance(result, RunDiff)
    assert list(result.designs) == ["same"]
    assert result.designs["same"].equal
    assert (result.only_before, result.only_after) == (("gone",), ("new",))
    assert not result.equal
    with pytest.raises(HlsError, match="a run and a project"):
        diff(tmp_path / "before", base)


def test_figures_of_two_reports(base: HlsProject, tmp_path: Path) -> None:
    from toolkit.comparison import Comparison, write_report
    from toolkit.records import Figure, Implementation

    for run, accuracy in {"before": 0.9, "after": 0.95}.items():
        shutil.copytree(base.path, tmp_path / run / "projects" / "same")
        figures = {"accuracy": Figure(accuracy, "fraction", "csim"), "dsp": Figure(12, "DSP", "model")}
        row = Implementation("same", "fpga", figures, test_digest="0" * 16)
        write_report(Comparison((row,), test_digest="0" * 16), tmp_path / run / "report")
    result = diff(tmp_path / "before", tmp_path / "after")
    assert isinstance(result, RunDiff)
    assert [str(change) for change in result.figures] == ["same: accuracy: 0.9 fraction (csim) -> 0.95 fraction (csim)"]
