"""From Keras to hls4ml's graph: types, names, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from qkeras import QActivation, QConv2D, QDense, quantized_bits, quantized_relu

from tests.hls.small_models import K, conv_model, dense_model, float_model, weights
from toolkit.config import HlsConfig, LayerHlsConfig
from toolkit.errors import ConfigError, HlsError, ModelError, UnsupportedLayer
from toolkit.hls.asked import not_taken
from toolkit.hls.convert import convert
from toolkit.hls.graph import load_graph, save_graph
from toolkit.hls.lint import lint
from toolkit.hls.project import load_project, write_project
from toolkit.precision import Precision


def test_types_come_from_the_quantizers() -> None:
    graph = convert(conv_model(), HlsConfig()).graph
    assert graph.layer("image").types["result_t"] == "ap_ufixed<8,0,RND_CONV,SAT>"
    assert graph.layer("conv").types["weight_t"] == "ap_fixed<6,1>"
    assert graph.layer("conv").types["bias_t"] == "ap_fixed<6,1>"
    assert graph.layer("conv_relu").types["result_t"] == "ap_ufixed<5,1,RND_CONV,SAT>"
    accumulator = Precision.parse(graph.layer("conv").types["accum_t"])
    assert accumulator.fraction_bits >= 8 + 5, "products of 8 and 5 fraction bits need 13"


def test_hls4ml_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    convert(conv_model(), HlsConfig(strategy="Resource", reuse_factor=9, invalid_reuse_factor="nearest"))
    assert capfd.readouterr().out == ""


def test_weights_are_in_keras_layout_whatever_the_strategy() -> None:
    model = conv_model()
    resource = HlsConfig(strategy="Resource", reuse_factor=3, invalid_reuse_factor="nearest")
    for config in (HlsConfig(), resource):
        graph = convert(model, config).graph
        for name in ("conv", "logits"):
            layer = model.get_layer(name)
            expected = np.asarray(layer.kernel_quantizer_internal(layer.kernel))
            np.testing.assert_array_equal(graph.layer(name).weights["weight"].values, expected)


def test_graph_round_trip(tmp_path) -> None:
    graph = convert(conv_model(), HlsConfig()).graph
    save_graph(graph, tmp_path)
    again = load_graph(tmp_path)
    assert again.digest == graph.digest
    assert [layer.name for layer in again.layers] == [layer.name for layer in graph.layers]


def test_same_model_gives_the_same_digest() -> None:
    assert convert(dense_model(), HlsConfig()).graph.digest == convert(dense_model(), HlsConfig()).graph.digest


def test_layers_know_their_keras_counterpart() -> None:
    x = i = keras.Input((4,), name="features")
    x = QActivation(quantized_relu(8, 0), name="quantizer")(x)
    x = QDense(3, activation=quantized_relu(4, 1), name="own_activation", **weights())(x)
    x = K.Dropout(0.5, name="drop")(x)
    x = QDense(3, name="cast", **weights())(x)
    x = QActivation(quantized_bits(5, 1, alpha=1), name="cast_quantizer")(x)
    model = keras.Model(i, QDense(2, name="logits", **weights())(x))
    names = {layer.name: layer.attributes.get("keras_layer") for layer in convert(model, HlsConfig()).graph.layers}
    assert names == {
        "features": "quantizer",
        "own_activation": None,
        "own_activation_quantized_relu": "own_activation",
        "cast": "cast_quantizer",
        "logits": "logits",
    }


def test_a_product_read_by_a_quantizer_and_another_layer_stays_exact() -> None:
    x = i = keras.Input((4,), name="features")
    x = QActivation(quantized_relu(8, 0), name="quantizer")(x)
    x = QDense(3, name="shared", **weights())(x)
    a = QActivation(quantized_bits(4, 1, alpha=1), name="coarse")(x)
    b = QActivation(quantized_bits(8, 1, alpha=1), name="fine")(x)
    graph = convert(keras.Model(i, K.Add(name="sum")([a, b])), HlsConfig()).graph
    assert graph.layer("shared").types["result_t"] == graph.layer("shared").types["accum_t"]
    assert {"coarse", "fine"} <= {layer.name for layer in graph.layers}


@pytest.mark.parametrize("io_type", ["io_stream", "io_parallel"])
def test_float_model_converts_with_a_precision(io_type: str) -> None:
    graph = convert(float_model(), HlsConfig(precision="ap_fixed<16,6>", io_type=io_type)).graph
    assert graph.layer("conv").types["weight_t"] == "ap_fixed<16,6>"
    assert graph.layer("logits").types["result_t"] == "ap_fixed<16,6>"
    assert graph.layer("image").types["result_t"] == "ap_fixed<16,6>"


def test_float_model_without_a_precision_is_refused_with_advice() -> None:
    with pytest.raises(ConfigError, match=r"hls.precision is needed.*conv.weight.*quantize the model"):
        convert(float_model(), HlsConfig())


def test_types_asked_for_win() -> None:
    config = HlsConfig(
        layers={
            "conv": {"precision": {"accum": "ap_fixed<12,4>", "weight": "ap_fixed<4,1>"}},
            "logits": {"precision": "ap_fixed<9,4,RND,SAT>"},
        }
    )
    graph = convert(conv_model(), config).graph
    assert graph.layer("conv").types["accum_t"] == "ap_fixed<12,4>"
    assert graph.layer("conv").weights["weight"].precision == "ap_fixed<4,1>"
    assert graph.layer("logits").types["result_t"] == "ap_fixed<9,4,RND,SAT>"
    assert graph.layer("logits").types["weight_t"] == "ap_fixed<6,1>", "a quantizer decides unless named"


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({"cnv": {"reuse_factor": 2}}, r'"cnv" is not a layer \(did you mean "conv"\?\)'),
        (
            {"conv": {"precision": {"acum": "ap_fixed<8,2>"}}},
            r'"acum" is not a type of a Conv2D \(did you mean "accum"',
        ),
        ({"conv": {"implementation": "linebufer"}}, r'did you mean "linebuffer"'),
        ({"logits": {"implementation": "encoded"}}, "a Dense has only one"),
        ({"conv": {"parallelization_factor": 3}}, r"must divide its 16 output pixels, got 3; nearest valid: 2, 4"),
    ],
)
def test_mistakes_in_layers_name_the_nearest(layers: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        convert(conv_model(), HlsConfig(layers=layers))


def test_settings_that_are_not_found_again_are_told() -> None:
    """Dropout is nothing in hardware, the first quantizer is part of the input, a relu has no table."""
    model = dense_model()
    layers = {
        "features_quantizer": LayerHlsConfig(reuse_factor=2),
        "hidden": LayerHlsConfig(reuse_factor=2, precision={"result": "ap_fixed<9,3>"}),
        "hidden_relu": LayerHlsConfig(table_size=64),
    }
    config = HlsConfig(layers=layers)
    conversion = convert(model, config)
    told = {(finding.layer, finding.reason.split(" ")[0]) for finding in not_taken(config, conversion.graph)}
    assert told == {("features_quantizer", "no"), ("hidden_relu", "table_size")}
    assert any(note.startswith("hls.layers.hidden_relu: table_size = 64 was asked for") for note in conversion.notes)
    assert {finding.rule for finding in lint(conversion.graph, config)} >= {"setting-not-taken"}


def test_types_with_a_default_of_their_own_are_taken() -> None:
    """hls4ml overlooks them in ``Precision``: tables of functions and of softmax."""
    start = keras.Input((4,))
    x = K.Activation("tanh", name="bend")(K.Dense(3, name="dense")(start))
    model = keras.Model(start, K.Softmax(name="chances")(x))
    layers = {
        "bend": LayerHlsConfig(table_size=512, precision={"table": "ap_fixed<9,2>"}),
        "chances": LayerHlsConfig(
            table_size=256, precision={"exp_table": "ap_fixed<20,3>", "inv_table": "ap_fixed<19,2>"}
        ),
    }
    config = HlsConfig(precision="ap_fixed<12,4>", layers=layers)
    graph = convert(model, config).graph
    assert not [*not_taken(config, graph)]
    assert graph.layer("bend").types["table_t"] == "ap_fixed<9,2>"
    types = graph.layer("chances").types
    assert (types["exp_table_t"], types["inv_table_t"]) == ("ap_fixed<20,3>", "ap_fixed<19,2>")


def test_weights_outside_their_type_are_a_finding_with_the_bits_needed(tmp_path: Path) -> None:
    start = keras.Input((2,))
    model = keras.Model(start, K.Dense(2, name="d")(start))
    model.layers[-1].set_weights([np.array([[40.0, 1.0], [-3.0, 0.5]]), np.zeros(2)])
    project = write_project(model, HlsConfig(precision="ap_fixed<16,6>"), tmp_path / "p")
    (finding,) = [finding for finding in lint(load_project(project.path)) if finding.rule == "weight-outside-type"]
    assert (finding.severity, finding.layer) == ("error", "d")
    assert "40 becomes -24" in finding.reason and "7 integer bits" in finding.remedy
    wider = HlsConfig(precision="ap_fixed<16,7>")
    assert not convert(model, wider).findings


def test_hard_sigmoid_is_keras_own() -> None:
    """Keras 3 has slope 1/6, hls4ml 0.2."""
    start = keras.Input((3,))
    graph = convert(
        keras.Model(start, K.Activation("hard_sigmoid", name="h")(start)), HlsConfig(precision="ap_fixed<16,6>")
    ).graph
    assert graph.layer("h").attributes["slope"] == pytest.approx(1 / 6)


def test_a_reuse_factor_that_would_be_moved_is_an_error_with_neighbours() -> None:
    with pytest.raises(
        ConfigError, match=r"layer conv \(Resource, n_in = 18, n_out = 3\).*got 10, nearest valid: 9, 18"
    ):
        convert(conv_model(), HlsConfig(strategy="Resource", reuse_factor=10))


def test_or_moved_to_the_nearest_and_noted() -> None:
    config = HlsConfig(strategy="Resource", reuse_factor=10, invalid_reuse_factor="nearest")
    conversion = convert(conv_model(), config)
    assert conversion.graph.layer("conv").attributes["reuse_factor"] == 9
    assert "conv: reuse factor 10 is not valid for Resource, 9 taken" in conversion.notes


@pytest.mark.parametrize("kernel", [1, 3])
def test_the_combination_hls4ml_computes_wrongly_is_refused(kernel: int) -> None:
    x = i = keras.Input((6, 6, 2), name="image")
    x = QActivation(quantized_relu(8, 0), name="quantizer")(x)
    model = keras.Model(i, QConv2D(4, kernel, name="conv", **weights())(x))
    factor = 2 * 2 * kernel * kernel
    convert(model, HlsConfig(strategy="Resource", reuse_factor=factor, io_type="io_stream"))
    wrong = HlsConfig(strategy="Resource", reuse_factor=factor, io_type="io_parallel")
    with pytest.raises(ConfigError, match=r"above it hls4ml 1.3.0 computes convolutions wrongly"):
        convert(model, wrong)
    taken = convert(model, wrong.change(invalid_reuse_factor="nearest")).graph.layer("conv").attributes["reuse_factor"]
    assert taken == 2 * kernel * kernel


def test_distributed_arithmetic_wants_reuse_factor_one() -> None:
    with pytest.raises(ConfigError, match="must be 1; got 4"):
        convert(dense_model(), HlsConfig(strategy="distributed_arithmetic", reuse_factor=4))


def test_nan_weights_are_refused() -> None:
    model = dense_model()
    layer = model.get_layer("hidden")
    layer.kernel.assign(np.full(layer.kernel.shape, np.nan))
    with pytest.raises(ModelError, match=r"'hidden'.*NaN"):
        convert(model, HlsConfig())


def test_unsupported_layers_are_all_named() -> None:
    x = i = keras.Input((6, 6, 2), name="image")
    x = K.GaussianNoise(0.1, name="noise")(x)
    x = K.Conv2DTranspose(2, 3, name="transposed")(x)
    with pytest.raises(UnsupportedLayer, match=r"noise \(GaussianNoise\), transposed \(Conv2DTranspose\)"):
        convert(keras.Model(i, x), HlsConfig(precision="ap_fixed<16,6>"))


def test_padded_pooling_is_refused() -> None:
    x = i = keras.Input((5, 5, 2), name="image")
    x = QActivation(quantized_relu(8, 0), name="quantizer")(x)
    with pytest.raises(UnsupportedLayer, match=r"'pool'.*padding"):
        convert(keras.Model(i, K.MaxPooling2D(2, padding="same", name="pool")(x)), HlsConfig())


def test_a_scale_that_is_no_power_of_two_is_refused() -> None:
    with pytest.raises(ModelError, match=r"'hidden'.*no power of two"):
        convert(dense_model(alpha="auto"), HlsConfig())


def test_sizes_must_be_fixed() -> None:
    i = keras.Input((None, 2), name="signal")
    with pytest.raises(ModelError, match="every size but the batch must be fixed"):
        convert(keras.Model(i, K.Conv1D(2, 3)(i)), HlsConfig(precision="ap_fixed<16,6>"))


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ModelError, match="a Keras model is needed, got dict"):
        convert({}, HlsConfig())


def test_hls4mls_own_complaint_is_passed_on() -> None:
    left, right = keras.Input((2, 3)), keras.Input((2, 3))
    with pytest.raises(HlsError, match="Dot product only supported"):
        convert(keras.Model([left, right], K.Dot(axes=(2, 2))([left, right])), HlsConfig(precision="ap_fixed<16,6>"))


def test_ours_step_aside_when_hls4ml_has_its_own_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    from toolkit.hls import handlers

    def theirs(*arguments: object) -> tuple[()]:
        return ()

    monkeypatch.setitem(handlers.registry, "QDense", theirs)
    with handlers.registered() as known:
        assert known == ("QDense",)
        assert handlers.registry["QDense"] is theirs


def test_hls4mls_registry_is_as_before_after_a_conversion() -> None:
    from toolkit.hls import handlers

    before = dict(handlers.registry)
    convert(dense_model(), HlsConfig())
    with pytest.raises(RuntimeError), handlers.registered():
        assert handlers.registry["QDense"] is handlers.HANDLERS["QDense"]
        raise RuntimeError
    assert handlers.registry == before


@pytest.mark.parametrize("name", ["QBatchNormalization", "QConv2DBatchnorm"])
def test_layers_that_cannot_be_exact_say_what_to_do(name: str) -> None:
    from toolkit.hls import handlers

    layer = type(name, (), {"name": "norm"})()
    with pytest.raises(UnsupportedLayer, match=r"'norm'.*fold"):
        handlers.READERS[name](layer, [], [])
