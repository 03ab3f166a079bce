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
def test_a_float_model_differs_where_its_first_bits_are_lost(sequential: bool, tmp_path: Path) -> None:
    model = keras.Sequential(float_model().layers) if sequential else float_model()
    result = small_check(model, HlsConfig(precision="ap_fixed<10,4>"), tmp_path)
    assert result.first_layer == "image"
    assert result.findings[0].rule == "input-not-representable"


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
