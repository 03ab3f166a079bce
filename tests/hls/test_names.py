"""Layers that C++ cannot name: the design has names that it takes, the user keeps the model's."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from toolkit.config import HlsConfig, LayerHlsConfig
from toolkit.emulation import emulate
from toolkit.errors import UnsupportedLayer
from toolkit.estimation import estimate
from toolkit.hls.convert import convert
from toolkit.hls.csim import build_csim
from toolkit.hls.names import cpp_names
from toolkit.hls.project import write_project

K = keras.layers
FLOAT = HlsConfig(precision="ap_fixed<16,6>")


def chain(*names: str) -> keras.Model:
    """An input and dense layers of these names."""
    x = start = keras.Input((4,), name=names[0])
    for name in names[1:]:
        x = K.Dense(3, name=name)(x)
    return keras.Model(start, x)


@pytest.mark.csim
def test_any_name_is_built_and_stays_the_users(tmp_path: Path) -> None:
    chosen = ("double", "3x3_conv", "conv.1", "conv_1", "conv-1", "Conv_1", "input", "i", "layer2_t")
    layers = {"3x3_conv": LayerHlsConfig(precision={"result": "ap_fixed<20,8>"}), "i": LayerHlsConfig(reuse_factor=3)}
    project = write_project(chain(*chosen), FLOAT.change(layers=layers), tmp_path / "p")
    assert tuple(layer.name for layer in project.layers) == chosen
    assert project.graph.layer("3x3_conv").types["result_t"] == "ap_fixed<20,8>"
    assert project.graph.layer("i").attributes["reuse_factor"] == 3
    assert any("3x3_conv" in note and "layer_3x3_conv" in note for note in project.notes)
    images = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    emulator, csim = emulate(project), build_csim(project)
    np.testing.assert_array_equal(emulator.predict(images), csim.predict(images))
    ours, theirs = emulator.trace(images), csim.trace(images)
    assert set(ours) == set(theirs) == set(chosen)
    for name in chosen:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    assert {layer.name for layer in estimate(project).layers} >= set(chosen[1:])


def test_an_input_is_a_variable_of_the_design() -> None:
    """Names of hls4ml's own types and weights clash with an input of that name only."""
    assert convert(chain("w2", "w2_"), FLOAT).graph.inputs == ("w2",)
    named = [{"name": name, "class_name": kind} for name, kind in (("w2", "InputLayer"), ("b2", "Dense"))]
    assert cpp_names(named) == {"w2": "layer_w2", "b2": "b2"}


def test_a_fifo_is_named_as_its_layer() -> None:
    config = FLOAT.change(fifo_depths={"conv.1": 5})
    assert convert(chain("x", "conv.1", "out"), config).graph.tensors["conv.1"].fifo_depth == 5


def twice() -> keras.Model:
    x = keras.Input((4,))
    y = K.Dense(3, name="y")(x)
    return keras.Model(x, [y, y])


def dropped() -> keras.Model:
    x = keras.Input((4,))
    y = K.Dense(3, name="y")(x)
    return keras.Model(x, [y, K.Dropout(0.5)(y)])


def passed_through() -> keras.Model:
    x = keras.Input((4,), name="x")
    return keras.Model(x, [x, K.Dense(3)(x)])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (twice, "'y' is two of the model's outputs"),
        (dropped, "'y' is two of the model's outputs"),
        (passed_through, "input 'x' is an output"),
    ],
)
def test_a_value_that_would_be_two_ports_is_refused(model: object, message: str) -> None:
    with pytest.raises(UnsupportedLayer, match=message):
        convert(model(), FLOAT.change(io_type="io_parallel"))  # type: ignore[operator]
