"""Our quantizers against QKeras': same values, same gradients, same after saving."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import qkeras
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from toolkit.precision import Precision
from toolkit.zoo import quantizers as ours
from toolkit.zoo.quantizers import QAffine, precision_of

VALUES = np.concatenate(
    [np.random.default_rng(0).normal(0, scale, 300).astype(np.float32) for scale in (0.1, 1, 8)]
    + [np.arange(-40, 40, dtype=np.float32) / 16, np.zeros(1, np.float32)]
)

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "signed 8": ("quantized_bits", {"bits": 8, "integer": 1, "alpha": 1.0}),
    "signed 2": ("quantized_bits", {"bits": 2, "integer": 0, "alpha": 1.0}),
    "fractions only": ("quantized_bits", {"bits": 4, "integer": -2, "alpha": 1.0}),
    "unsigned": ("quantized_bits", {"bits": 4, "integer": 0, "alpha": 1.0, "keep_negative": False}),
    "symmetric": ("quantized_bits", {"bits": 4, "integer": 0, "alpha": 1.0, "symmetric": True}),
    "po2 scale": ("quantized_bits", {"bits": 4, "alpha": "auto_po2", "post_training_scale": np.array(0.5)}),
    "po2 scale, free": ("quantized_bits", {"bits": 4, "alpha": "auto_po2"}),
    "one bit": ("quantized_bits", {"bits": 1, "alpha": 1.0}),
    "relu 6": ("quantized_relu", {"bits": 6, "integer": 2}),
    "relu 1": ("quantized_relu", {"bits": 1, "integer": 0}),
    "leaky": ("quantized_relu", {"bits": 6, "integer": 2, "negative_slope": 0.25}),
    "binary": ("binary", {"alpha": 0.25}),
    "ternary": ("ternary", {"alpha": 0.25, "threshold": 0.125}),
}


@pytest.fixture(params=list(CASES))
def pair(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """QKeras' quantizer and ours with the same settings."""
    name, settings = CASES[request.param]
    return getattr(qkeras, name)(**settings), getattr(ours, name)(**settings)


def value_and_gradient(quantizer: Any) -> tuple[np.ndarray, np.ndarray]:
    x = tf.constant(VALUES)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = quantizer(x)
    return y.numpy(), tape.gradient(y, x).numpy()


class TestContract:
    def test_values_are_those_of_qkeras(self, pair: tuple[Any, Any]) -> None:
        (expected, _), (got, _) = (value_and_gradient(quantizer) for quantizer in pair)
        np.testing.assert_allclose(got, expected, rtol=3e-7, atol=0)

    def test_gradients_are_those_of_qkeras(self, pair: tuple[Any, Any]) -> None:
        (_, expected), (_, got) = (value_and_gradient(quantizer) for quantizer in pair)
        np.testing.assert_array_equal(got, expected)

    def test_configuration_brings_it_back(self, pair: tuple[Any, Any]) -> None:
        quantizer = pair[1]
        saved = keras.saving.serialize_keras_object(quantizer)
        again = qkeras.get_quantizer(saved)
        assert type(again) is type(quantizer)
        np.testing.assert_array_equal(value_and_gradient(again)[0], value_and_gradient(quantizer)[0])

    def test_name_and_settings_are_qkeras(self, pair: tuple[Any, Any]) -> None:
        theirs, mine = pair
        assert isinstance(mine, type(theirs)) and type(mine).__name__ == type(theirs).__name__
        assert set(mine.get_config()) == set(theirs.get_config())


@given(
    bits=st.integers(2, 12),
    integer=st.integers(-4, 6),
    signed=st.booleans(),
    values=st.lists(st.floats(-200, 200, width=32), min_size=1, max_size=50),
)
def test_values_are_exactly_those_of_the_fixed_point_type(
    bits: int, integer: int, signed: bool, values: list[float]
) -> None:
    x = np.asarray(values, np.float32)
    quantizer = ours.quantized_bits(bits, integer, alpha=1.0) if signed else ours.quantized_relu(bits, integer)
    precision = precision_of(quantizer)
    assert precision is not None
    np.testing.assert_array_equal(np.asarray(quantizer(x)), precision.quantize(x))


def test_precision_of_says_what_a_quantizer_holds() -> None:
    assert precision_of(ours.quantized_relu(8, 0)) == Precision.parse("ap_ufixed<8,0,RND_CONV,SAT>")
    assert precision_of(ours.quantized_bits(6, 1, alpha=1.0)) == Precision.parse("ap_fixed<6,2,RND_CONV,SAT>")
    assert precision_of(ours.binary(alpha=0.5)) is None


@pytest.mark.parametrize(
    "quantizer",
    [
        ours.binary(alpha=np.array([[0.5, 2.0]])),
        ours.ternary(alpha=np.array([[0.5, 2.0]]), threshold=np.array([[0.25, 1.0]])),
        ours.quantized_bits(4, 0, alpha="auto_po2", post_training_scale=np.array([[0.5, 2.0]])),
    ],
    ids=lambda quantizer: type(quantizer).__name__,
)
def test_scales_per_channel_are_saved(quantizer: Any) -> None:
    kernel = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    values = np.asarray(quantizer(kernel))
    again = qkeras.get_quantizer(keras.saving.serialize_keras_object(quantizer))
    np.testing.assert_array_equal(np.asarray(again(kernel)), values)
    largest = np.abs(values).max(axis=0)
    assert largest[1] == 4 * largest[0]


def test_affine_scales_and_shifts_each_channel() -> None:
    image = keras.Input((3, 3, 2))
    quantizer = ours.quantized_bits(8, 2, alpha=1.0)
    model = keras.Model(image, QAffine(quantizer, quantizer, name="affine")(image))
    model.get_layer("affine").set_weights([np.array([0.5, -2.0]), np.array([1.0, 0.26])])
    x = np.random.default_rng(0).random((2, 3, 3, 2), np.float32)
    again = keras.Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    for candidate in (model, again):
        np.testing.assert_array_equal(
            candidate.predict_on_batch(x), x * np.float32([0.5, -2.0]) + np.float32([1.0, 0.25])
        )
