"""Compaction: the same outputs from smaller layers, and nothing taken that somebody reads."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from toolkit.config import PruneConfig, QuantConfig
from toolkit.training import compact, quantize
from toolkit.training.pruning import prunable, prune
from toolkit.zoo import draw_weights

IMAGES = np.random.default_rng(3).random((40, 10, 10, 2), np.float32)


def chain(x: Any) -> Any:
    x = layers.Conv2D(8, 3, activation="relu", padding="same", name="conv1")(x)
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.DepthwiseConv2D(3, name="depthwise", use_bias=False)(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.Conv2D(6, 1, name="conv2")(x)
    x = layers.Dropout(0.1, name="dropout")(layers.ReLU(name="relu2")(x))
    return layers.Dense(8, name="dense")(layers.Flatten(name="flatten")(x))


def pooled(x: Any) -> Any:
    x = layers.Conv2D(8, 3, name="conv1")(layers.ZeroPadding2D(1, name="pad")(x))
    x = layers.LeakyReLU(negative_slope=0.25, name="leaky")(x)
    return layers.GlobalAveragePooling2D(name="average")(layers.UpSampling2D(2, name="up")(x))


def joined(x: Any) -> Any:
    x = layers.Conv2D(8, 3, padding="same", name="conv1")(x)
    y = layers.Conv2D(8, 3, padding="same", name="conv2")(layers.ReLU(name="relu")(x))
    return layers.GlobalMaxPooling2D(name="largest")(layers.Add(name="add")([x, y]))


def model_of(body: Any) -> keras.Model:
    image = keras.Input((10, 10, 2), name="image")
    x = layers.Dense(5, name="hidden")(body(image))
    model = keras.Model(image, layers.Dense(3, name="logits")(layers.ReLU(name="last")(x)), name="net")
    model.set_weights([np.random.default_rng(1).normal(0, 0.3, w.shape) for w in model.get_weights()])
    return model


def pruned(model: keras.Model) -> keras.Model:
    """Half of the channels of each layer gone, with their bias."""
    config = PruneConfig(sparsity=0.5, structure="channel", scope="layer")
    prune(prunable(model), config, config.sparsity)
    return model


def widths(model: keras.Model) -> dict[str, int]:
    return {layer.name: layer.kernel.shape[-1] for layer in model.layers if hasattr(layer, "kernel")}


QUANTIZED = [
    QuantConfig(weight_bits=6, activation_bits=6),
    QuantConfig(weight_bits=4, activation_bits=5, scale="auto_po2"),
    QuantConfig(weights="ternary", scale="auto_po2"),
]


@pytest.mark.parametrize("config", QUANTIZED, ids=["fixed", "auto_po2", "ternary"])
@pytest.mark.parametrize("body", [chain, pooled])
def test_a_quantized_model_keeps_its_bits(body: Any, config: QuantConfig) -> None:
    model = pruned(quantize(model_of(body), config, IMAGES))
    small = compact(model)
    np.testing.assert_array_equal(small.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))
    assert widths(small)["conv1"] == 4 and widths(small)["hidden"] < 5 and widths(small)["logits"] == 3
    assert [layer.name for layer in small.layers] == [layer.name for layer in model.layers]


@pytest.mark.parametrize("body", [chain, pooled])
def test_a_float_model_keeps_its_function(body: Any) -> None:
    model = pruned(model_of(body))
    small = compact(model)
    np.testing.assert_allclose(small.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0), atol=1e-4)
    assert small.count_params() < 0.6 * model.count_params()


def test_what_joins_branches_keeps_its_channels() -> None:
    model = pruned(model_of(joined))
    assert widths(compact(model)) == {**widths(model), "hidden": widths(compact(model))["hidden"]}


def test_a_constant_channel_stays() -> None:
    model = pruned(model_of(pooled))
    kernel, bias = model.get_layer("conv1").get_weights()
    dead = np.flatnonzero(~kernel.any(axis=(0, 1, 2)))
    bias[dead[0]] = 0.5
    model.get_layer("conv1").set_weights([kernel, bias])
    assert widths(compact(model))["conv1"] == 5


def test_a_normalization_that_shifts_keeps_its_channel_and_loses_others() -> None:
    image = keras.Input((10, 10, 2), name="image")
    x = layers.MaxPooling2D(2, name="pool")(layers.Conv2D(8, 3, name="conv")(image))
    x = layers.GlobalMaxPooling2D(name="largest")(layers.BatchNormalization(name="norm")(x))
    model = keras.Model(image, layers.Dense(3, name="logits")(x))
    draw_weights(model, 2)
    pruned(model)
    gamma, beta, mean, variance = model.get_layer("norm").get_weights()
    kernel, _ = model.get_layer("conv").get_weights()
    beta[np.flatnonzero(~kernel.any(axis=(0, 1, 2)))[0]] = 0.25
    model.get_layer("norm").set_weights([gamma, beta, mean, variance])
    small = compact(model)
    assert widths(small)["conv"] == 5
    np.testing.assert_allclose(small.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0), atol=1e-5)


def test_without_empty_channels_it_is_the_model_itself() -> None:
    model = model_of(chain)
    assert compact(model) is model
    binary = pruned(quantize(model_of(pooled), QuantConfig(weights="binary"), IMAGES))
    assert widths(compact(binary)) == widths(binary)  # a binary weight of zero is one
