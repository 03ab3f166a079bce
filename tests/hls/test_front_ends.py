"""QONNX files and hls4ml's own graphs go in where a Keras model does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from hls4ml.converters import convert_from_keras_model
from hls4ml.utils import config_from_keras_model
from keras import layers
from onnx import TensorProto, helper, numpy_helper

from toolkit.config import HlsConfig
from toolkit.emulation import emulate
from toolkit.errors import ConfigError, ModelError
from toolkit.estimation import estimate
from toolkit.hls import build_csim, write_project
from toolkit.hls.convert import convert
from toolkit.hls.model_graphs import config_of
from toolkit.hls.vectors import check_vectors

RANDOM = np.random.default_rng(0)
QONNX = "qonnx.custom_op.general"


def quant(source: str, result: str, scale: str, bits: str, signed: int = 1) -> Any:
    options = {"signed": signed, "narrow": 0, "rounding_mode": "ROUND"}
    return helper.make_node("Quant", [source, scale, "zero", bits], [result], domain=QONNX, **options)


def model_of(nodes: list[Any], shape: list[int], outputs: int, arrays: dict[str, Any]) -> Any:
    """A QONNX model from ``x`` to ``y``."""
    stored = [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in arrays.items()]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", shape), ("y", [1, outputs]))]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13), helper.make_opsetid(QONNX, 1)])


SCALES = {"fine": 2.0**-5, "coarse": 2.0**-3, "zero": 0, "eight": 8, "four": 4}


def dense_net() -> Any:
    arrays = {"w1": RANDOM.normal(0, 0.5, (6, 8)), "b1": RANDOM.integers(-20, 20, 8) / 64}
    nodes = [
        quant("x", "xq", "fine", "eight"),
        quant("w1", "w1q", "coarse", "four"),
        helper.make_node("MatMul", ["xq", "w1q"], ["h0"]),
        helper.make_node("Add", ["h0", "b1"], ["h1"]),
        helper.make_node("Relu", ["h1"], ["h2"]),
        quant("h2", "h3", "coarse", "eight", signed=0),
        quant("w2", "w2q", "coarse", "four"),
        helper.make_node("MatMul", ["h3", "w2q"], ["y"]),
    ]
    return model_of(nodes, [1, 6], 3, {**SCALES, **arrays, "w2": RANDOM.normal(0, 0.5, (8, 3))})


def convolution_net() -> Any:
    arrays = {"w1": RANDOM.normal(0, 0.5, (4, 2, 3, 3)), "w2": RANDOM.normal(0, 0.5, (4 * 9, 3))}
    nodes = [
        quant("x", "xq", "fine", "eight"),
        quant("w1", "w1q", "coarse", "four"),
        helper.make_node("Conv", ["xq", "w1q"], ["h0"], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["h0"], ["h1"]),
        quant("h1", "h2", "coarse", "eight", signed=0),
        helper.make_node("MaxPool", ["h2"], ["h3"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["h3"], ["h4"], axis=1),
        quant("w2", "w2q", "coarse", "four"),
        helper.make_node("MatMul", ["h4", "w2q"], ["y"]),
    ]
    return model_of(nodes, [1, 2, 8, 8], 3, {**SCALES, **arrays})


NETS = {"dense": (dense_net, (6,)), "convolution": (convolution_net, (8, 8, 2))}
PARALLEL = HlsConfig(io_type="io_parallel", precision="ap_fixed<16,6>")


@pytest.mark.csim
@pytest.mark.parametrize("name", NETS)
def test_a_qonnx_model_has_the_bits_of_qonnx_in_emulator_and_csim(name: str, tmp_path: Path) -> None:
    build, shape = NETS[name]
    x = RANDOM.uniform(-3, 3, (20, *shape)).astype(np.float32)
    proto = build()
    before = proto.SerializeToString()
    project = write_project(proto, PARALLEL, tmp_path / "p", inputs=x)
    reference = convert(proto, PARALLEL).reference
    assert reference is not None
    expected = reference.answer([x])[0].reshape(20, -1)
    np.testing.assert_array_equal(emulate(project).predict(x), expected)
    np.testing.assert_array_equal(build_csim(project).predict(x), expected)
    assert all(result.equal for result in check_vectors(project, emulate(project), "emulation"))
    assert estimate(project).lut.value > 0
    assert any("typed ap_fixed<8,3" in note for note in project.notes)
    assert proto.SerializeToString() == before


def test_a_file_of_it_is_the_same_design(tmp_path: Path) -> None:
    onnx.save(dense_net(), tmp_path / "net.onnx")
    project = write_project(tmp_path / "net.onnx", PARALLEL, tmp_path / "p")
    assert [layer.kind for layer in project.layers] == ["Input", "Dense", "Activation", "Dense"]


def test_what_an_onnx_model_cannot_be_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"hls\.precision is needed for an ONNX model"):
        convert(dense_net(), HlsConfig())
    (tmp_path / "bad.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match=r"bad\.onnx cannot be read"):
        convert(tmp_path / "bad.onnx", PARALLEL)
    with pytest.raises(ConfigError, match=r"MatMul_9.*did you mean"):
        convert(dense_net(), PARALLEL.change(layers={"MatMul_9": {"reuse_factor": 2}}))
    resource = PARALLEL.change(strategy="Resource", reuse_factor=7)
    with pytest.raises(ConfigError, match="got 7, nearest valid: 6, 12"):
        convert(dense_net(), resource)
    moved = convert(dense_net(), resource.change(invalid_reuse_factor="nearest"))
    assert sum("reuse factor 7 is not valid" in note for note in moved.notes) == 2


def model_graph() -> tuple[keras.Model, Any]:
    """A Keras model as hls4ml's own user converts it."""
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    model = keras.Model(image, layers.Dense(5, name="dense")(layers.Flatten()(x)))
    settings = config_from_keras_model(model, granularity="name", backend="Vitis")
    options = {"backend": "Vitis", "io_type": "io_stream", "part": "xcu250-figd2104-2L-e", "clock_period": 5}
    return model, convert_from_keras_model(model, hls_config=settings, output_dir="elsewhere", **options)


def test_hls4mls_own_graph_is_a_design_and_is_not_changed(tmp_path: Path) -> None:
    model, graph = model_graph()
    settings = dict(graph.config.config)
    x = RANDOM.uniform(-1, 1, (8, 8, 8, 3)).astype(np.float32)
    project = write_project(graph, config_of(graph), tmp_path / "p", inputs=x)
    assert graph.config.config == settings
    assert project.config.part == "xcu250-figd2104-2L-e"
    outputs = emulate(project).predict(x)
    assert np.abs(outputs - model.predict(x, verbose=0)).max() < 0.1  # ap_fixed<16,6> truncates
    with pytest.raises(ConfigError, match=r"hls\.io_type: the ModelGraph was made with io_stream, got io_parallel"):
        write_project(graph, config_of(graph).change(io_type="io_parallel"), tmp_path / "q")
    assert not (tmp_path / "q").exists()
