"""What a user of the emulator relies on; no compiler."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

import toolkit as tk
from tests.hls.small_models import conv_model, dense_model, inputs_for
from toolkit.config import HlsConfig, LayerHlsConfig
from toolkit.emulation import Emulator, emulate
from toolkit.errors import ConfigError, DataError, UnsupportedLayer
from toolkit.hls.check import check
from toolkit.hls.convert import convert
from toolkit.network import Unknown
from toolkit.records import Graph

K = keras.layers
STREAM = HlsConfig(io_type="io_stream")


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return conv_model()


@pytest.fixture(scope="module")
def emulator(model: keras.Model) -> Emulator:
    return emulate(model, STREAM)


def two_inputs() -> keras.Model:
    keras.utils.set_random_seed(0)
    left, right = keras.Input((3,), name="left"), keras.Input((4,), name="right")
    both = K.Concatenate(name="both")([K.Dense(2, name="a")(left), K.Dense(3, name="b")(right)])
    return keras.Model([left, right], [K.Dense(2, name="first")(both), K.Dense(3, name="second")(both)])


def test_a_pickle_is_the_same_emulator(model: keras.Model, emulator: Emulator) -> None:
    images = inputs_for(model, 4)
    expected = emulator.predict(images)  # by now it has an engine, which no pickle holds
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(emulator)).predict(images), expected)


def test_public_name() -> None:
    assert tk.emulate is emulate


def test_equals_qkeras_where_types_are_wide_enough(model: keras.Model, emulator: Emulator) -> None:
    x = inputs_for(model, 50)
    answers = emulator.predict(x)
    assert answers.dtype == np.float32
    np.testing.assert_array_equal(answers, model.predict(x, verbose=0))


def test_check_takes_an_emulator(model: keras.Model, tmp_path: Path) -> None:
    project = tk.write_project(model, STREAM, tmp_path / "project")
    result = check(project, model, inputs_for(model), library=emulate(project))
    assert result.equal
    assert result.compared == ("qkeras", "emulation")


def test_a_project_and_its_model_give_the_same_bits(model: keras.Model, emulator: Emulator, tmp_path: Path) -> None:
    project = tk.write_project(model, STREAM, tmp_path / "project")
    x = inputs_for(model, 9)
    np.testing.assert_array_equal(emulate(project).predict(x), emulator.predict(x))
    np.testing.assert_array_equal(emulate(project.graph).predict(x), emulator.predict(x))


def test_answers_do_not_depend_on_the_batch(model: keras.Model, emulator: Emulator) -> None:
    x = inputs_for(model, 700)
    one_by_one = np.concatenate([emulator.predict(x[index : index + 1]) for index in range(20)])
    np.testing.assert_array_equal(emulator.predict(x)[:20], one_by_one)


def test_trace_holds_every_layer_in_order(model: keras.Model, emulator: Emulator) -> None:
    x = inputs_for(model, 5)
    trace = emulator.trace(x)
    assert list(trace) == [layer.name for layer in emulator.graph.layers]
    for layer in emulator.graph.layers:
        assert trace[layer.name].shape == (5, *layer.shape)
    np.testing.assert_array_equal(trace["logits"], emulator.predict(x))


def test_several_inputs_and_outputs() -> None:
    model = two_inputs()
    config = HlsConfig(precision="ap_fixed<24,10>", io_type="io_parallel")
    emulator = emulate(model, config)
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(6, 3)).astype(np.float32), rng.normal(size=(6, 4)).astype(np.float32)]
    expected = np.concatenate(model.predict(x, verbose=0), axis=1)
    assert emulator.predict(x).shape == (6, 5)
    np.testing.assert_allclose(emulator.predict(x), expected, atol=1e-2)
    with pytest.raises(DataError, match="2 inputs"):
        emulator.predict(x[0])


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.zeros((3, 6, 6)), "shape"),
        (np.zeros((6, 6, 2)), "shape"),
        (np.zeros((0, 6, 6, 2)), "shape"),
        (np.full((1, 6, 6, 2), np.nan), "finite"),
    ],
)
def test_inputs_that_do_not_fit_are_told(emulator: Emulator, x: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        emulator.predict(x)


def test_a_model_alone_is_not_a_design(model: keras.Model) -> None:
    with pytest.raises(ConfigError, match="HlsConfig"):
        emulate(model)


def test_an_unknown_layer_is_named_with_the_way_out(emulator: Emulator) -> None:
    graph = emulator.graph
    conv = graph.layer("conv")
    strange = Unknown(name="conv", inputs=conv.inputs, outputs=conv.outputs, origin="GarNet", reason="nobody knows it")
    layers = tuple(strange if layer is conv else layer for layer in graph.layers)
    with pytest.raises(UnsupportedLayer, match=r"'conv' of kind GarNet.*csim"):
        emulate(replace(graph, layers=layers))


def test_the_program_fits_on_a_page_and_names_every_type(emulator: Emulator) -> None:
    lines = str(emulator).splitlines()
    assert len(lines) == len(emulator.graph.layers)
    conv = next(line for line in lines if "= convolution(" in line)
    for word in ("image", "weight[3, 3, 2, 3]", "bias[3]", "accum: ap_fixed<", "# float32"):
        assert word in conv


def test_exported_onnx_puts_out_the_integers(model: keras.Model, emulator: Emulator, tmp_path: Path) -> None:
    import onnx
    import onnxruntime

    path = emulator.export_onnx(tmp_path / "program.onnx")
    stored = onnx.load(path)
    onnx.checker.check_model(stored)
    x = inputs_for(model, 4)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    integers = session.run(None, {session.get_inputs()[0].name: x})[0]
    fraction_bits = int(
        {entry.key: entry.value for entry in stored.metadata_props}[f"{session.get_outputs()[0].name}:fraction_bits"]
    )
    np.testing.assert_array_equal(integers, np.round(integers))
    np.testing.assert_array_equal(np.ldexp(integers, -fraction_bits), emulator.predict(x))


def narrow_dense(result: str, accum: str = "ap_fixed<20,10>") -> Emulator:
    """One dense layer whose four weights are 1: the sum of its inputs in a chosen type."""
    i = keras.Input((4,), name="x")
    model = keras.Model(i, K.Dense(1, kernel_initializer="ones", name="sum")(i))
    types = {"result": result, "accum": accum}
    layers = {"sum": LayerHlsConfig(precision=types), "x": LayerHlsConfig(precision={"result": "ap_fixed<8,4>"})}
    return emulate(model, HlsConfig(precision="ap_fixed<8,4>", layers=layers, io_type="io_parallel"))


@pytest.mark.parametrize(
    ("result", "expected", "overflows"),
    [
        ("ap_fixed<6,4>", [4.0, -4.0, 1.0, -7.0], 1),
        ("ap_fixed<6,4,TRN,SAT>", [4.0, 7.75, 1.0, -7.0], 1),
        ("ap_fixed<6,4,TRN,SAT_ZERO>", [4.0, 0.0, 1.0, -7.0], 1),
    ],
)
def test_profile_counts_what_saturates_or_wraps(result: str, expected: list[float], overflows: int) -> None:
    emulator = narrow_dense(result)
    x = np.array([[1, 1, 1, 1], [3, 3, 3, 3], [1, 0, 0, 0], [-2, -2, -2, -1]], np.float32)
    np.testing.assert_array_equal(emulator.predict(x)[:, 0], expected)
    profile = {entry.layer: entry for entry in emulator.profile(x)}["sum"]
    assert (profile.overflows, profile.total) == (overflows, 4)
    assert (profile.minimum, profile.maximum) == (min(expected), max(expected))
    assert (profile.type_minimum, profile.type_maximum) == (-8.0, 7.75)


@pytest.mark.parametrize(
    ("accum", "expected"), [("ap_fixed<8,8>", 0.0), ("ap_fixed<9,8>", 0.0), ("ap_fixed<10,8>", 1.0)]
)
def test_products_are_truncated_one_by_one(accum: str, expected: float) -> None:
    """Four quarters are one, unless the accumulator drops each of them first."""
    emulator = narrow_dense("ap_fixed<16,8>", accum)
    assert emulator.predict(np.full((1, 4), 0.25, np.float32))[0, 0] == expected


@pytest.mark.parametrize("fraction_bits", [14, 25, 40])
def test_a_quotient_is_cut_at_the_accumulators_last_bit(fraction_bits: int) -> None:
    """Also where it needs more bits than the sum, whose low ones are zero: found by a random model."""
    i = keras.Input((6, 1), name="x")
    model = keras.Model(i, K.AveragePooling1D(3, name="mean")(i))
    fine = f"ap_fixed<{fraction_bits + 4},4>"
    layers = {
        "x": LayerHlsConfig(precision={"result": "ap_fixed<16,2>"}),
        "mean": LayerHlsConfig(precision={"result": fine, "accum": fine}),
    }
    emulator = emulate(model, HlsConfig(precision="ap_fixed<8,4>", layers=layers, io_type="io_parallel"))
    steps = np.random.default_rng(0).integers(-(2**15), 2**15, (400, 6))
    sums = steps.reshape(400, 2, 3).sum(axis=2) << (fraction_bits - 14)
    expected = np.sign(sums) * (np.abs(sums) // 3)
    got = emulator.trace(np.ldexp(steps, -14)[..., np.newaxis].astype(np.float32))["mean"].reshape(400, 2)
    np.testing.assert_array_equal(np.ldexp(got, fraction_bits).astype(np.int64), expected)


def test_reuse_factors_change_no_bits(model: keras.Model, emulator: Emulator) -> None:
    """hls4ml computes io_parallel Resource convolutions wrongly at large reuse factors; the types do not."""
    graph = convert(model, HlsConfig(io_type="io_parallel", strategy="Latency")).graph
    x = inputs_for(model, 8)
    np.testing.assert_array_equal(emulate(resource(graph, 54)).predict(x), emulator.predict(x))


def resource(graph: Graph, reuse_factor: int) -> Graph:
    changed = {"strategy": "resource", "reuse_factor": reuse_factor}
    layers = [
        replace(layer, attributes={**layer.attributes, **changed}) if layer.kind == "Conv2D" else layer
        for layer in graph.layers
    ]
    return replace(graph, layers=tuple(layers))


def test_dense_models_run_in_both_io_types() -> None:
    model = dense_model()
    x = inputs_for(model, 30)
    for io_type in ("io_parallel", "io_stream"):
        np.testing.assert_array_equal(
            emulate(model, HlsConfig(io_type=io_type)).predict(x), model.predict(x, verbose=0)
        )
