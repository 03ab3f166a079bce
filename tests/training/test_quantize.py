"""Quantization: what is emitted, that it is on a grid, that it is close to float, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from toolkit.config import LayerQuantConfig, QuantConfig
from toolkit.data import load_dataset
from toolkit.errors import ConfigError, DataError, UnsupportedLayer
from toolkit.training import quantize
from toolkit.zoo import build_model, load_model, precision_of, quantizers

Case = tuple[tuple[int, ...], Callable[[Any], Any]]


def chain(*parts: Callable[[], keras.Layer]) -> Callable[[Any], Any]:
    def body(x: Any) -> Any:
        for part in parts:
            x = part()(x)
        return x

    return body


def branches(join: Callable[[], keras.Layer], count: int = 2) -> Callable[[Any], Any]:
    def body(x: Any) -> Any:
        parts = [layers.Conv2D(3, 3, padding="same", activation="relu" if i % 2 else None)(x) for i in range(count)]
        return layers.Dense(4)(layers.Flatten()(join()(parts)))

    return body


# One small model per layer kind that quantize() takes; the conversion tests may use them too.
CASES: dict[str, Case] = {
    "Conv1D": ((8, 2), chain(lambda: layers.Conv1D(3, 3, activation="relu"), layers.Flatten, lambda: layers.Dense(4))),
    "Conv2D": (
        (6, 6, 2),
        chain(lambda: layers.Conv2D(3, 3, activation="relu"), layers.Flatten, lambda: layers.Dense(4)),
    ),
    "Conv2D same, strided": (
        (6, 6, 2),
        chain(
            lambda: layers.Conv2D(3, 3, strides=2, padding="same"), layers.ReLU, layers.Flatten, lambda: layers.Dense(4)
        ),
    ),
    "Conv2D, nothing after": ((6, 6, 2), chain(lambda: layers.Conv2D(3, 3), lambda: layers.Conv2D(2, 3))),
    "DepthwiseConv2D": (
        (6, 6, 2),
        chain(lambda: layers.DepthwiseConv2D(3), layers.ReLU, layers.Flatten, lambda: layers.Dense(4)),
    ),
    "SeparableConv2D": (
        (6, 6, 2),
        chain(lambda: layers.SeparableConv2D(3, 3, activation="relu"), layers.Flatten, lambda: layers.Dense(4)),
    ),
    "Dense": ((5,), chain(lambda: layers.Dense(6, activation="relu"), lambda: layers.Dense(4))),
    "BatchNormalization, folded": (
        (6, 6, 2),
        chain(
            lambda: layers.Conv2D(3, 3), layers.BatchNormalization, layers.ReLU, layers.Flatten, lambda: layers.Dense(4)
        ),
    ),
    "BatchNormalization, alone": (
        (6, 6, 2),
        chain(
            lambda: layers.MaxPooling2D(2),
            layers.BatchNormalization,
            layers.ReLU,
            layers.Flatten,
            lambda: layers.Dense(4),
        ),
    ),
    "tanh": ((5,), chain(lambda: layers.Dense(6, activation="tanh"), lambda: layers.Dense(4))),
    "sigmoid": ((5,), chain(lambda: layers.Dense(6), lambda: layers.Activation("sigmoid"), lambda: layers.Dense(4))),
    "LeakyReLU": ((5,), chain(lambda: layers.Dense(6), lambda: layers.LeakyReLU(0.25), lambda: layers.Dense(4))),
    "ReLU to 2": ((5,), chain(lambda: layers.Dense(6), lambda: layers.ReLU(max_value=2.0), lambda: layers.Dense(4))),
    "linear": ((5,), chain(lambda: layers.Dense(6), lambda: layers.Activation("linear"), lambda: layers.Dense(4))),
    "softmax": ((5,), chain(lambda: layers.Dense(6, activation="relu"), lambda: layers.Dense(4, activation="softmax"))),
    "MaxPooling1D": (
        (8, 2),
        chain(lambda: layers.Conv1D(3, 3), lambda: layers.MaxPooling1D(2), layers.ReLU, layers.Flatten),
    ),
    "MaxPooling2D": (
        (6, 6, 2),
        chain(
            lambda: layers.Conv2D(3, 3),
            lambda: layers.MaxPooling2D(2),
            layers.ReLU,
            layers.Flatten,
            lambda: layers.Dense(4),
        ),
    ),
    "AveragePooling1D": ((8, 2), chain(lambda: layers.AveragePooling1D(2), layers.Flatten, lambda: layers.Dense(4))),
    "AveragePooling2D": ((6, 6, 2), chain(lambda: layers.AveragePooling2D(3), layers.Flatten, lambda: layers.Dense(4))),
    "GlobalAveragePooling2D": ((6, 6, 2), chain(layers.GlobalAveragePooling2D, lambda: layers.Dense(4))),
    "GlobalAveragePooling1D": ((8, 2), chain(layers.GlobalAveragePooling1D, lambda: layers.Dense(4))),
    "GlobalMaxPooling2D": (
        (6, 6, 2),
        chain(lambda: layers.Conv2D(3, 3), layers.GlobalMaxPooling2D, lambda: layers.Dense(4)),
    ),
    "GlobalMaxPooling1D": ((8, 2), chain(layers.GlobalMaxPooling1D, lambda: layers.Dense(4))),
    "Reshape": ((6,), chain(lambda: layers.Reshape((3, 2, 1)), lambda: layers.Conv2D(2, 2))),
    "ZeroPadding1D": ((8, 2), chain(lambda: layers.ZeroPadding1D(1), lambda: layers.Conv1D(3, 3))),
    "ZeroPadding2D": ((4, 4, 2), chain(lambda: layers.ZeroPadding2D(1), lambda: layers.Conv2D(3, 3))),
    "UpSampling2D": ((4, 4, 2), chain(lambda: layers.UpSampling2D(2), lambda: layers.Conv2D(3, 3))),
    "UpSampling1D": ((4, 2), chain(lambda: layers.UpSampling1D(2), lambda: layers.Conv1D(3, 3))),
    "Add": ((4, 4, 2), branches(layers.Add)),
    "Add of three": ((4, 4, 2), branches(layers.Add, 3)),
    "Concatenate": ((4, 4, 2), branches(layers.Concatenate)),
    "Concatenate of three": ((4, 4, 2), branches(layers.Concatenate, 3)),
    "Dropout": (
        (5,),
        chain(lambda: layers.Dense(6, activation="relu"), lambda: layers.Dropout(0.5), lambda: layers.Dense(4)),
    ),
}

EMITTED = {
    "InputLayer", "QConv1D", "QConv2D", "QDepthwiseConv2D", "QDense", "QAffine", "QActivation", "LeakyReLU",
    "MaxPooling1D", "MaxPooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D", "AveragePooling1D",
    "AveragePooling2D", "GlobalAveragePooling1D", "GlobalAveragePooling2D", "Flatten", "Reshape",
    "ZeroPadding1D", "ZeroPadding2D", "UpSampling1D", "UpSampling2D", "Concatenate", "Add", "Dropout",
    "SpatialDropout1D", "SpatialDropout2D", "Activation", "Softmax",
}  # fmt: skip

CONFIGS = {
    "8 bits": QuantConfig(),
    "4 bits": QuantConfig(weight_bits=4, activation_bits=4, input_bits=4),
    "2 bits": QuantConfig(weight_bits=2, activation_bits=2),
    "auto_po2": QuantConfig(weight_bits=4, activation_bits=6, scale="auto_po2"),
    "binary": QuantConfig(weights="binary"),
    "ternary per channel": QuantConfig(weights="ternary", scale="auto_po2"),
}

NEEDS_GRID = ("QConv1D", "QConv2D", "QDepthwiseConv2D", "QDense", "QAffine", "Add", "Concatenate")


def float_model(case: str) -> tuple[keras.Model, np.ndarray]:
    """A case's model with varied weights, and inputs for it."""
    shape, body = CASES[case]
    rng = np.random.default_rng(len(case))
    image = keras.Input(shape, name="image")
    model = keras.Model(image, body(image))
    for weight in model.weights:
        low, high = (0.5, 1.5) if "variance" in weight.path else (-0.6, 0.6)
        weight.assign(rng.uniform(low, high, weight.shape))
    return model, rng.random((64, *shape), np.float32)


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def require_on_grid(values: np.ndarray, lsb: float) -> None:
    np.testing.assert_array_equal(values, np.round(values / lsb) * lsb)


class TestContract:
    """What every quantizable layer promises."""

    def test_eight_bits_are_close_to_float(self, case: str) -> None:
        model, x = float_model(case)
        expected, got = model.predict_on_batch(x), quantize(model, QuantConfig(), x).predict_on_batch(x)
        assert got.shape == expected.shape
        # QKeras' tanh and sigmoid are piecewise linear: another function by design.
        limit = 0.5 if case in ("tanh", "sigmoid") else 0.03
        assert np.abs(got - expected).max() < limit * np.abs(expected).max()

    @pytest.mark.parametrize("config", ["4 bits", "ternary per channel"])
    def test_every_product_takes_values_on_a_grid(self, case: str, config: str) -> None:
        model, x = float_model(case)
        quantized = quantize(model, CONFIGS[config], x)
        assert {type(layer).__name__ for layer in quantized.layers} <= EMITTED
        inputs = [
            t
            for layer in quantized.layers
            if type(layer).__name__ in NEEDS_GRID
            for t in keras.tree.flatten(layer.input)
        ]
        for values in keras.Model(quantized.input, inputs).predict_on_batch(x[:8]):
            levels = np.unique(values)
            assert len(levels) <= 2 ** (9 if "Concat" in case else CONFIGS[config].input_bits + 1)
            require_on_grid(values, 2.0**-12)

    def test_saved_and_loaded_it_predicts_the_same(self, case: str, tmp_path: Path) -> None:
        model, x = float_model(case)
        quantized = quantize(model, QuantConfig(weights="ternary", scale="auto_po2"), x)
        quantized.save(tmp_path / "q.keras")
        again = load_model(tmp_path / "q.keras")
        np.testing.assert_array_equal(again.predict_on_batch(x), quantized.predict_on_batch(x))


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_every_quantizer_is_saved(config: str, suffix: str, tmp_path: Path) -> None:
    model, x = float_model("SeparableConv2D")
    quantized = quantize(model, CONFIGS[config], x)
    quantized.save(tmp_path / f"q{suffix}")
    again = load_model(tmp_path / f"q{suffix}")
    assert isinstance(again.get_layer("image_quantizer").activation, quantizers.quantized_relu)
    np.testing.assert_array_equal(again.predict_on_batch(x), quantized.predict_on_batch(x))


def quantized_kernels(model: keras.Model) -> dict[str, np.ndarray]:
    kernels = {}
    for layer in model.layers:
        for name, quantizer in (
            ("kernel", "kernel_quantizer_internal"),
            ("depthwise_kernel", "depthwise_quantizer_internal"),
        ):
            if hasattr(layer, quantizer) and hasattr(layer, name):
                kernels[layer.name] = np.asarray(getattr(layer, quantizer)(getattr(layer, name)))
    return kernels


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
@pytest.mark.parametrize("scale", ["1", "auto_po2"])
def test_kernels_have_as_many_levels_as_asked(bits: int, scale: str) -> None:
    model, x = float_model("SeparableConv2D")
    for name, kernel in quantized_kernels(quantize(model, QuantConfig(weight_bits=bits, scale=scale), x)).items():
        for channel in np.moveaxis(kernel, -1, 0):
            nonzero = np.abs(channel[channel != 0])
            lsb = 2.0 ** np.floor(np.log2(nonzero.min())) / 2**8
            require_on_grid(channel, lsb)
            assert len(np.unique(channel)) <= 2**bits, name


@pytest.mark.parametrize(("weights", "levels"), [("binary", 2), ("ternary", 3)])
@pytest.mark.parametrize("scale", ["1", "auto_po2"])
def test_binary_and_ternary_kernels_are_powers_of_two(weights: str, levels: int, scale: str) -> None:
    model, x = float_model("Conv2D")
    kernels = quantized_kernels(quantize(model, QuantConfig(weights=weights, scale=scale), x))
    for kernel in kernels.values():
        groups = [kernel] if scale == "1" else np.moveaxis(kernel, -1, 0)
        for group in groups:
            values = np.unique(np.abs(group[group != 0]))
            assert len(np.unique(group)) <= levels and len(values) <= 1
            assert np.log2(values).is_integer() if hasattr(values, "is_integer") else np.all(np.log2(values) % 1 == 0)


def test_one_bit_weights_are_binary() -> None:
    model, x = float_model("Dense")
    for kernel in quantized_kernels(quantize(model, QuantConfig(weight_bits=1), x)).values():
        assert len(np.unique(kernel)) == 2


def test_weights_are_those_of_the_float_model() -> None:
    model, x = float_model("Conv2D")
    quantized = quantize(model, QuantConfig(weight_bits=3), x)
    for layer in model.layers:
        for got, expected in zip(quantized.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True):
            np.testing.assert_array_equal(got, expected)


def test_batch_normalization_is_folded_and_relu_follows_the_convolution() -> None:
    model, x = float_model("BatchNormalization, folded")
    kinds = [type(layer).__name__ for layer in quantize(model, QuantConfig(), x).layers]
    assert kinds == ["InputLayer", "QActivation", "QConv2D", "QActivation", "Flatten", "QDense"]


def test_names_of_what_is_inserted() -> None:
    model = build_model("separable_cnn", load_dataset("digits"))
    names = [layer.name for layer in quantize(model, QuantConfig(), load_dataset("digits")).layers]
    expected = [
        "image",
        "image_quantizer",
        "depthwise1",
        "depthwise1_quantizer",
        "pointwise1",
        "pointwise1_relu",
        "pool1",
    ]
    assert names[:7] == expected and names[-2:] == ["dense1_relu", "logits"]


def test_pixels_need_no_integer_bit_and_negative_inputs_a_sign() -> None:
    model, x = float_model("Conv2D")
    x[0] = 1.0

    def input_type(inputs: np.ndarray, bits: int = 8) -> str:
        quantized = quantize(model, QuantConfig(input_bits=bits), inputs)
        return str(precision_of(quantized.get_layer("image_quantizer").activation))

    assert input_type(x) == "ap_ufixed<8,0,RND_CONV,SAT>"
    assert input_type(x, 4) == "ap_ufixed<4,0,RND_CONV,SAT>"
    assert input_type(x * 255) == "ap_ufixed<8,8,RND_CONV,SAT>"
    assert input_type(x * 2 - 1) == "ap_fixed<8,1,RND_CONV,SAT>"
    assert input_type(x * 3 - 1) == "ap_fixed<8,2,RND_CONV,SAT>"


def test_activation_range_is_the_one_with_the_least_error() -> None:
    """A single outlier does not cost everyone else a bit."""
    image = keras.Input((1,), name="image")
    model = keras.Model(image, layers.Dense(1, name="out")(layers.ReLU(name="relu")(layers.Dense(1, name="in")(image))))
    model.get_layer("in").set_weights([np.ones((1, 1)), np.zeros(1)])
    x = np.full((500, 1), 0.9, np.float32)
    x[0] = 1.2

    def integer(bits: int) -> int:
        return int(quantize(model, QuantConfig(activation_bits=bits), x).get_layer("relu").activation.integer)

    assert integer(3) == 0 and integer(12) == 1


def test_layer_settings_go_to_that_layer() -> None:
    settings = {
        "conv1": LayerQuantConfig(weight_bits=3, bias_bits=5, activation_bits=4),
        "logits": LayerQuantConfig(weights="ternary"),
        "image": LayerQuantConfig(activation_bits=6),
    }
    quantized = quantize(
        build_model("cifar10_cnn", input_shape=(20, 20, 1), classes=4),
        QuantConfig(weight_bits=6, layers=settings),
        np.random.default_rng(0).random((8, 20, 20, 1)),
    )
    assert quantized.get_layer("conv1").kernel_quantizer_internal.bits == 3
    assert quantized.get_layer("conv1").bias_quantizer_internal.bits == 5
    assert quantized.get_layer("conv1_relu").activation.bits == 4
    assert quantized.get_layer("conv2").kernel_quantizer_internal.bits == 6
    assert quantized.get_layer("conv2").bias_quantizer_internal.bits == 6
    assert type(quantized.get_layer("logits").kernel_quantizer_internal).__name__ == "ternary"
    assert quantized.get_layer("image_quantizer").activation.bits == 6


def test_the_same_input_gives_the_same_model() -> None:
    model, x = float_model("Conv2D")
    first, second = (quantize(model, QuantConfig(weight_bits=4), x) for _ in range(2))
    assert first.to_json() == second.to_json()


def dense_then(*parts: Callable[[], keras.Layer]) -> keras.Model:
    image = keras.Input((4,), name="image")
    return keras.Model(image, chain(lambda: layers.Dense(4, name="first"), *parts)(image))


X4 = np.ones((4, 4), np.float32)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (lambda: layers.ELU(name="bad"), r"layer bad \(ELU\) .* no quantized counterpart"),
        (lambda: layers.PReLU(name="bad"), r"layer bad \(PReLU\)"),
        (lambda: layers.Activation("gelu", name="bad"), r'layer bad .* activation "gelu"'),
        (lambda: layers.Dense(3, activation="selu", name="bad"), r'bad_selu .* activation "selu"'),
        (lambda: layers.ReLU(max_value=6, name="bad"), "layer bad .* power of two or none, got 6"),
        (lambda: layers.LeakyReLU(0.3, name="bad"), "layer bad .* negative_slope must be a power of two .* got 0.3"),
        (lambda: layers.Reshape((2, 2, 1)), None),
        (lambda: layers.LayerNormalization(name="bad"), "layer bad"),
    ],
)
def test_what_cannot_be_quantized_is_named(part: Callable[[], keras.Layer], words: str | None) -> None:
    model = dense_then(part)
    if words is None:
        quantize(model, QuantConfig(), X4)
        return
    with pytest.raises(UnsupportedLayer, match=words):
        quantize(model, QuantConfig(), X4)


def test_a_quantized_model_is_not_quantized_again() -> None:
    model = quantize(dense_then(), QuantConfig(), X4)
    with pytest.raises(UnsupportedLayer, match="quantized already"):
        quantize(model, QuantConfig(), X4)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (QuantConfig(layers={"frist": LayerQuantConfig(weight_bits=3)}), 'no layer "frist".*did you mean "first"'),
        (QuantConfig(bias_bits=1), "bias_bits must be at least 2"),
        (QuantConfig(activation_bits=1), "after layer first can be negative and need at least 2 activation bits"),
    ],
)
def test_impossible_settings_are_named(config: QuantConfig, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        quantize(dense_then(lambda: layers.Dense(2)), config, X4)


def of_layers(**layers: LayerQuantConfig) -> QuantConfig:
    return QuantConfig(layers=layers)


IDLE = {
    "a width beside binary": (QuantConfig(weights="binary", weight_bits=4, bias_bits=5), "quantization.weight_bits"),
    "a width of a ternary layer": (
        of_layers(first=LayerQuantConfig(weights="ternary", weight_bits=4, bias_bits=5)),
        "quantization.layers.first.weight_bits",
    ),
    "weights of a relu": (of_layers(relu=LayerQuantConfig(weight_bits=4)), "quantization.layers.relu.weight_bits"),
    "a scale of a relu": (of_layers(relu=LayerQuantConfig(scale="1")), "quantization.layers.relu.scale"),
    "values nobody rounds": (of_layers(first=LayerQuantConfig(activation_bits=4)), "layers.first.activation_bits"),
}


@pytest.mark.parametrize(("config", "key"), IDLE.values(), ids=IDLE)
def test_a_key_that_decides_nothing_is_refused(config: QuantConfig, key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key} decides nothing"):
        quantize(dense_then(lambda: layers.ReLU(name="relu"), lambda: layers.Dense(2, name="last")), config, X4)


def test_a_width_that_decides_something_beside_binary_is_taken() -> None:
    deciding = [
        QuantConfig(weights="binary", weight_bits=5),  # of the biases
        QuantConfig(weights="binary", weight_bits=5, bias_bits=6, layers={"last": LayerQuantConfig(weights="fixed")}),
        of_layers(first=LayerQuantConfig(weights="binary", weight_bits=5)),
        of_layers(relu=LayerQuantConfig(activation_bits=5), last=LayerQuantConfig(activation_bits=5)),
    ]
    for config in deciding:
        quantize(dense_then(lambda: layers.ReLU(name="relu"), lambda: layers.Dense(2, name="last")), config, X4)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (None, "needs calibration images"),
        (np.ones((4, 5), np.float32), r"must have shape \[n, 4\], got \(4, 5\)"),
        (np.ones((0, 4), np.float32), r"must have shape \[n, 4\]"),
        (np.full((2, 4), np.nan, np.float32), "must be finite"),
    ],
)
def test_bad_calibration_is_named(inputs: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        quantize(dense_then(), QuantConfig(), inputs)


def test_inputs_keep_their_order() -> None:
    """The second input joins first; each has its own calibration array."""
    late, early = layers.Input((3,), name="late"), layers.Input((5,), name="early")
    first = layers.Dense(4, activation="relu")(early)
    made = layers.Dense(2)(layers.Concatenate()([late, layers.Dense(4, activation="relu")(first)]))
    model = keras.Model([late, early], made)
    random = np.random.default_rng(0)
    images = [random.uniform(-1, 1, (50, count)).astype(np.float32) for count in (3, 5)]
    quantized = quantize(model, QuantConfig(weight_bits=12, activation_bits=14, input_bits=14), images)
    assert [tensor.shape[1] for tensor in quantized.inputs] == [3, 5]
    np.testing.assert_allclose(quantized.predict(images, verbose=0), model.predict(images, verbose=0), atol=0.01)
    with pytest.raises(DataError, match=r"must have shape \[n, 3\] and \[n, 5\], got \(50, 5\) and \(50, 3\)"):
        quantize(model, QuantConfig(), images[::-1])
