"""Batch normalization folded: same predictions, fewer layers, nothing else touched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from toolkit.errors import ModelError, UnsupportedLayer
from toolkit.training import fold


def randomized(model: keras.Model, seed: int = 0) -> keras.Model:
    """The model with weights that no initializer gives: means, variances, scales and biases of their own."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        low, high = (0.5, 1.5) if "variance" in weight.path else (-1, 1)
        weight.assign(rng.uniform(low, high, weight.shape))
    return model


def model_of(shape: tuple[int, ...], body: Callable[[Any], Any]) -> keras.Model:
    image = keras.Input(shape, name="image")
    return randomized(keras.Model(image, body(image)))


def chain(*parts: keras.Layer) -> Callable[[Any], Any]:
    def body(x: Any) -> Any:
        for part in parts:
            x = part(x)
        return x

    return body


FOLDED = {
    "conv2d": ((6, 6, 3), lambda: chain(layers.Conv2D(4, 3), layers.BatchNormalization())),
    "conv2d without bias": ((6, 6, 3), lambda: chain(layers.Conv2D(4, 3, use_bias=False), layers.BatchNormalization())),
    "conv1d": ((8, 3), lambda: chain(layers.Conv1D(4, 3), layers.BatchNormalization())),
    "dense": ((7,), lambda: chain(layers.Dense(4), layers.BatchNormalization())),
    "depthwise": ((6, 6, 3), lambda: chain(layers.DepthwiseConv2D(3, depth_multiplier=2), layers.BatchNormalization())),
    "depthwise 1d": ((8, 3), lambda: chain(layers.DepthwiseConv1D(3, depth_multiplier=2), layers.BatchNormalization())),
    "separable": ((6, 6, 3), lambda: chain(layers.SeparableConv2D(4, 3), layers.BatchNormalization())),
    "through dropout": (
        (6, 6, 3),
        lambda: chain(layers.Conv2D(4, 3), layers.SpatialDropout2D(0.5), layers.BatchNormalization()),
    ),
    "no scale, no centre": (
        (6, 6, 3),
        lambda: chain(layers.Conv2D(4, 3), layers.BatchNormalization(scale=False, center=False)),
    ),
    "twice": ((6, 6, 3), lambda: chain(layers.Conv2D(4, 3), layers.BatchNormalization(), layers.BatchNormalization())),
}

KEPT = {
    "after pooling": ((6, 6, 3), lambda: chain(layers.MaxPooling2D(2), layers.BatchNormalization())),
    "after an activation": (
        (6, 6, 3),
        lambda: chain(layers.Conv2D(4, 3, activation="relu"), layers.BatchNormalization()),
    ),
}


@pytest.mark.parametrize("case", FOLDED)
def test_folded_models_predict_the_same(case: str) -> None:
    shape, body = FOLDED[case]
    model = model_of(shape, body())
    before = model.get_weights()
    folded = fold(model)
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in folded.layers)
    x = np.random.default_rng(1).random((5, *shape), np.float32)
    np.testing.assert_allclose(folded.predict_on_batch(x), model.predict_on_batch(x), rtol=1e-5, atol=1e-5)
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("case", KEPT)
def test_others_stay(case: str) -> None:
    shape, body = KEPT[case]
    model = model_of(shape, body())
    kept = fold(model)
    assert [type(layer) for layer in kept.layers] == [type(layer) for layer in model.layers]
    x = np.random.default_rng(1).random((5, *shape), np.float32)
    np.testing.assert_allclose(kept.predict_on_batch(x), model.predict_on_batch(x), rtol=1e-6, atol=1e-6)


def test_an_output_used_twice_is_not_folded() -> None:
    def body(x: Any) -> Any:
        y = layers.Conv2D(3, 3, padding="same")(x)
        return layers.Add()([y, layers.BatchNormalization()(y)])

    model = model_of((4, 4, 3), body)
    folded = fold(model)
    x = np.random.default_rng(1).random((2, 4, 4, 3), np.float32)
    np.testing.assert_allclose(folded.predict_on_batch(x), model.predict_on_batch(x), rtol=1e-5, atol=1e-5)


def test_nested_and_sequential_models_are_flattened() -> None:
    inner = keras.Sequential(
        [keras.Input((6, 6, 3)), layers.Conv2D(4, 3, name="conv"), layers.BatchNormalization()], name="block"
    )
    outer = randomized(keras.Sequential([keras.Input((6, 6, 3)), inner, layers.ReLU(), layers.Flatten()]))
    folded = fold(outer)
    assert "block_conv" in [layer.name for layer in folded.layers]
    x = np.random.default_rng(1).random((2, 6, 6, 3), np.float32)
    np.testing.assert_allclose(folded.predict_on_batch(x), outer.predict_on_batch(x), rtol=1e-5, atol=1e-5)


def test_models_that_cannot_be_read_are_named() -> None:
    class Subclassed(keras.Model):
        def call(self, x: Any) -> Any:
            return x

    with pytest.raises(ModelError, match="no graph of layers"):
        fold(Subclassed())
    shared = layers.Dense(3, name="shared")
    image = keras.Input((3,))
    with pytest.raises(UnsupportedLayer, match="layer shared is used more than once"):
        fold(keras.Model(image, shared(shared(image))))
    with pytest.raises(UnsupportedLayer, match="is not a layer"):
        fold(keras.Model(image, layers.Dense(3)(image) * 2))
    broken = keras.Model(image, layers.Dense(3, name="sick")(image))
    broken.get_layer("sick").set_weights([np.full((3, 3), np.nan), np.zeros(3)])
    with pytest.raises(ModelError, match=r"layer sick .* has 9 NaN"):
        fold(broken)
