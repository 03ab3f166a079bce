"""Softmax: its tables keep the decision, what a user names is built, what costs decisions is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from toolkit.config import HlsConfig
from toolkit.emulation import emulate
from toolkit.errors import ConfigError, UnsupportedLayer
from toolkit.hls import softmax
from toolkit.hls.convert import convert
from toolkit.hls.csim import build_csim
from toolkit.hls.lint import lint
from toolkit.hls.network import network_of
from toolkit.hls.project import write_project
from toolkit.network.layers import Softmax
from toolkit.precision import Precision
from toolkit.records import Finding, Graph, HlsProject

K = keras.layers
FINE = {"precision": {"result": "ap_ufixed<24,1>"}}


def classifier(shape: tuple[int, ...] = (8,), classes: int = 10, axis: int = -1) -> keras.Model:
    x = start = keras.Input(shape)
    x = K.Dense(classes, name="logits", kernel_initializer=keras.initializers.RandomNormal(0, 1, seed=1))(x)
    return keras.Model(start, K.Softmax(axis=axis, name="chances")(x))


def images(count: int = 1000, shape: tuple[int, ...] = (8,)) -> np.ndarray:
    return np.random.default_rng(0).uniform(-2, 2, (count, *shape)).astype(np.float32)


def lost_decisions(project: HlsProject) -> tuple[int, float]:
    """Decisions that softmax changed though the logits do not tie, and the largest error of a probability."""
    traced = emulate(project).trace(images())
    logits, chances = traced["logits"], traced["chances"]
    ordered = np.sort(logits, axis=1)
    tied = ordered[:, -1] == ordered[:, -2]
    exact = np.exp(logits - logits.max(axis=1, keepdims=True))
    exact /= exact.sum(axis=1, keepdims=True)
    changed = (logits.argmax(axis=1) != chances.argmax(axis=1)) & ~tied
    return int(changed.sum()), float(np.abs(chances - exact).max())


def findings(graph: Graph | HlsProject, rule: str, config: HlsConfig | None = None) -> list[Finding]:
    return [finding for finding in lint(graph, config) if finding.rule == rule]


@pytest.mark.parametrize("precision", ["ap_fixed<16,6>", "ap_fixed<8,4>", "ap_fixed<4,3,RND,SAT>", "ap_fixed<18,5>"])
@pytest.mark.parametrize("io_type", ["io_stream", "io_parallel"])
def test_default_tables_keep_the_decision(precision: str, io_type: str, tmp_path: Path) -> None:
    config = HlsConfig(precision=precision, io_type=io_type, layers={"chances": FINE})
    project = write_project(classifier(), config, tmp_path / "p")
    changed, error = lost_decisions(project)
    assert changed == 0
    assert error < 0.004
    assert not findings(project, "softmax-ties")


def test_a_small_table_is_a_finding_and_its_remedy_holds(tmp_path: Path) -> None:
    asked = {"chances": FINE | {"table_size": 64}}
    config = HlsConfig(precision="ap_fixed<16,6>", layers=asked)
    project = write_project(classifier(), config, tmp_path / "small")
    assert lost_decisions(project)[0] > 0
    (finding,) = findings(project, "softmax-ties")
    assert finding.severity == "warning"
    assert "table_size = 8192" in finding.remedy and "argmax" in finding.remedy
    asked["chances"]["table_size"] = 8192
    project = write_project(classifier(), config.change(layers=asked), tmp_path / "large")
    assert lost_decisions(project)[0] == 0
    assert not findings(project, "softmax-ties")


@pytest.mark.parametrize("key", ["exp_table", "accum", "result"])
def test_types_that_let_logits_tie_are_named(key: str) -> None:
    config = HlsConfig(
        precision="ap_fixed<16,6>",
        layers={"chances": {"precision": FINE["precision"] | {key: "ap_fixed<14,6,RND,SAT>"}}},
    )
    (finding,) = findings(convert(classifier(), config).graph, "softmax-ties", config)
    assert f"({key})" in finding.reason and f"precision.{key}" in finding.remedy
    assert finding.severity == ("note" if key == "result" else "warning")


def test_logits_no_table_tells_apart_are_a_finding() -> None:
    config = HlsConfig(precision="ap_fixed<24,8>", layers={"chances": FINE})
    (finding,) = findings(convert(classifier(), config).graph, "softmax-ties", config)
    assert "table_size" not in finding.remedy and "fewer fraction bits" in finding.remedy


def test_hls4mls_own_tables_are_judged_too() -> None:
    """A project of someone else's: 1,024 entries over the whole type, differences that wrap."""
    graph = convert(classifier(), HlsConfig(precision="ap_fixed<16,6>")).graph
    layer = network_of(graph).layer("chances")
    assert isinstance(layer, Softmax)
    old = replace(layer, norm=Precision(15, 5, signed=False), exp_table_size=1024)
    assert softmax.table_step(old) == 2.0**5 / 1024
    assert softmax.wraps_from(old) == 32
    assert softmax.wraps_from(layer) is None
    assert softmax.table_step(layer) == layer.source.precision.lsb


@pytest.mark.csim
@pytest.mark.parametrize("io_type", ["io_stream", "io_parallel"])
def test_every_row_is_a_softmax_of_its_own(io_type: str, tmp_path: Path) -> None:
    start = keras.Input((3, 4))
    model = keras.Model(start, K.Dense(5, activation="softmax", name="rows")(start))
    project = write_project(model, HlsConfig(precision="ap_fixed<20,6>", io_type=io_type), tmp_path / "p")
    x = images(32, (3, 4))
    got = emulate(project).predict(x)
    np.testing.assert_allclose(got.reshape(32, 3, 5), model.predict(x, verbose=0), atol=0.01)
    np.testing.assert_array_equal(build_csim(project).predict(x), got)


def test_another_axis_is_refused_in_a_stream() -> None:
    model = classifier((3, 4), 5, axis=1)
    with pytest.raises(UnsupportedLayer, match="another axis"):
        convert(model, HlsConfig(precision="ap_fixed<16,6>", io_type="io_stream"))
    graph = convert(model, HlsConfig(precision="ap_fixed<16,6>", io_type="io_parallel")).graph
    assert [graph.layer("chances").attributes[key] for key in ("n_outer", "n_inner")] == [1, 5]


def test_entries_are_a_power_of_two() -> None:
    config = HlsConfig(precision="ap_fixed<16,6>", layers={"chances": {"table_size": 1000}})
    with pytest.raises(ConfigError, match=r"power of two, got 1000; nearest: 512, 1024"):
        convert(classifier(), config)


def test_more_entries_than_the_logits_have_values_are_told() -> None:
    config = HlsConfig(precision="ap_fixed<6,3>", layers={"chances": {"table_size": 4096}})
    (finding,) = findings(convert(classifier(), config).graph, "setting-not-taken", config)
    assert "table_size = 4096 was asked for, 64 is built" in finding.reason
