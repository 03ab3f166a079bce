"""check: equal, or how far apart, where first, and why.

The emulator stands in for csim, whose bits it has; one case goes through the compiler.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from qkeras import QActivation, QDense, quantized_bits, quantized_relu

from tests.hls.small_models import K, conv_model, dense_model, float_model, inputs_for, weights
from toolkit.config import HlsConfig
from toolkit.emulation import emulate
from toolkit.hls.check import check
from toolkit.hls.project import write_project


def small_check(model: keras.Model, config: HlsConfig, folder: Path) -> Any:
    project = write_project(model, config, folder / "p")
    return check(project, model, inputs_for(model, 30), library=emulate(project))


def test_equal(tmp_path: Path) -> None:
    result = small_check(conv_model(), HlsConfig(), tmp_path)
    assert (result.equal, result.outputs_different, result.outputs_total) == (True, 0, 90)
    assert (result.images, result.first_layer, result.findings) == (30, None, ())


@pytest.mark.csim
def test_csim_by_default(tmp_path: Path) -> None:
    model = dense_model()
    project = write_project(
        model, HlsConfig(layers={"hidden": {"precision": {"result": "ap_fixed<5,2>"}}}), tmp_path / "p"
    )
    result = check(project, model, inputs_for(model, 30))
    assert (result.compared, result.first_layer) == (("qkeras", "csim"), "hidden")


@pytest.mark.parametrize(
    ("layer", "override", "first", "rule"),
    [
        ("image", {"precision": "ap_fixed<5,1>"}, "image", "input-not-representable"),
        ("conv", {"precision": {"weight": "ap_fixed<3,1>"}}, "conv", "weights"),
        ("conv", {"precision": {"accum": "ap_fixed<10,6>"}}, "conv", "accumulator-rounding"),
        ("conv", {"precision": {"result": "ap_fixed<8,-1>"}}, "conv", "result-overflow"),
        ("conv", {"precision": {"accum": "ap_fixed<20,-1>"}}, "conv", "accumulator-overflow"),
        ("logits", {"precision": {"result": "ap_fixed<6,4>"}}, "logits", "rounding-mode"),
    ],
)
def test_the_reason_is_named(tmp_path: Path, layer: str, override: Any, first: str, rule: str) -> None:
    result = small_check(conv_model(), HlsConfig(layers={layer: override}), tmp_path)
    assert not result.equal
    assert result.outputs_different > 0
    assert result.largest_lsb > 0
    assert (result.first_layer, result.findings[0].rule) == (first, rule), result.findings
    assert result.profile, "ranges used come with a difference"


def test_tables_are_named(tmp_path: Path) -> None:
    x = i = keras.Input((4,), name="features")
    x = QActivation(quantized_relu(8, 0), name="quantizer")(x)
    x = QDense(3, name="logits", **weights())(x)
    model = keras.Model(i, K.Activation("softmax", name="softmax")(x))
    result = small_check(model, HlsConfig(), tmp_path)
    assert (result.first_layer, result.findings[0].rule) == ("softmax", "table")


def test_sums_that_float32_cannot_hold_are_named(tmp_path: Path) -> None:
    wide = quantized_bits(16, 0, alpha=1)
    x = i = keras.Input((64,), name="features")
    x = QActivation(quantized_relu(16, 0), name="quantizer")(x)
    model = keras.Model(i, QDense(3, name="logits", kernel_quantizer=wide, bias_quantizer=wide)(x))
    result = small_check(model, HlsConfig(), tmp_path)
    assert (result.first_layer, result.findings[0].rule) == ("logits", "float32-sums")


@pytest.mark.parametrize("sequential", [False, True], ids=["functional", "sequential"])
def test_a_float_model_is_traced_to_its_first_layer(sequential: bool, tmp_path: Path) -> None:
    model = keras.Sequential(float_model().layers) if sequential else float_model()
    result = small_check(model, HlsConfig(precision="ap_fixed<10,4>"), tmp_path)
    assert result.errors[0].layer == "image" and result.errors[0].different > 0


@dataclass
class Wrong:
    """A library that gets one logit wrong by one LSB."""

    values: np.ndarray
    engine: str = "emulator"

    def predict(self, x: Any) -> np.ndarray:
        wrong = self.values.copy()
        wrong[2, 1] += 2.0**-10
        return wrong

    def trace(self, x: Any) -> dict[str, np.ndarray]:
        return {}


def test_any_library_can_be_checked(tmp_path: Path) -> None:
    model = conv_model()
    project = write_project(model, HlsConfig(), tmp_path / "p")
    images = inputs_for(model, 6)
    result = check(project, model, images, library=Wrong(model.predict(images, verbose=0)))
    assert (result.outputs_different, result.compared) == (1, ("qkeras", "emulator"))
    assert result.findings[0].rule == "unexplained"


def test_a_float_model_is_judged_by_how_close_it_is(tmp_path: Path) -> None:
    model, images = float_model(), inputs_for(float_model(), 60)
    project = write_project(model, HlsConfig(precision="ap_fixed<16,6>"), tmp_path / "p")
    labels = model.predict(images, verbose=0).argmax(axis=1)
    result = check(project, model, images, library=emulate(project), labels=labels)
    assert not result.equal and not result.exact and not result.failed
    assert result.figures["accuracy_of_model"].value == 1
    assert result.figures["accuracy"].value == result.figures["agreement"].value > 0.9
    assert [error.layer for error in result.errors] == ["image", "conv_relu", "pool", "flatten", "logits"]
    assert all(error.rms <= error.maximum and error.sqnr_db and error.sqnr_db > 20 for error in result.errors)
    assert "SQNR" in str(result) and "float keras" in str(result)
    assert {finding.severity for finding in result.findings} == {"note"}


def test_where_the_bits_go_is_the_layer_with_the_narrow_type(tmp_path: Path) -> None:
    layers = {"conv_relu": {"precision": {"result": "ap_ufixed<6,4>"}}}
    result = small_check(float_model(), HlsConfig(precision="ap_fixed<20,6>", layers=layers), tmp_path)
    assert result.findings[0].layer == "conv_relu"
    assert "ap_ufixed<6,4>" in result.findings[0].reason
    falls = {error.layer: error.fall_db for error in result.errors}
    assert falls["conv_relu"] > 10 > falls["pool"] + falls["logits"]


def test_errors_come_with_a_quantized_model_that_differs_too(tmp_path: Path) -> None:
    layers = {"logits": {"precision": {"result": "ap_fixed<6,4>"}}}
    result = small_check(conv_model(), HlsConfig(layers=layers), tmp_path)
    assert result.exact and result.failed
    exact = {error.layer: error.sqnr_db is None for error in result.errors}
    assert not exact.pop("logits") and all(exact.values())


def test_a_layer_used_twice_is_no_trouble(tmp_path: Path) -> None:
    x = i = keras.Input((4,), name="x")
    shared = K.Dense(4, name="shared")
    model = keras.Model(i, shared(shared(x)))
    assert not small_check(model, HlsConfig(precision="ap_fixed<12,5>"), tmp_path).failed
