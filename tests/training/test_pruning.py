"""Pruning: as many zeros as asked, the smallest first, and they stay."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from toolkit.config import PruneConfig, QuantConfig, TrainConfig
from toolkit.data import Dataset, load_dataset
from toolkit.errors import ConfigError
from toolkit.training import fold, nonzero_weights, quantize, sparsity_of, train
from toolkit.training.pruning import prunable, prune, sparsity_at
from toolkit.zoo import draw_weights


def small_model() -> keras.Model:
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(8, 3, name="conv", bias_initializer="ones")(image)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Flatten(name="flatten")(layers.ReLU(name="relu")(x))
    model = keras.Model(image, layers.Dense(4, name="logits")(x), name="small")
    draw_weights(model, 1)
    return model


def pruned(**settings: Any) -> keras.Model:
    model, config = small_model(), PruneConfig(**settings)
    prune(prunable(model), config, config.sparsity)
    return model


def zeros(model: keras.Model) -> int:
    return sum(int((np.asarray(item.kernel) == 0).sum()) for item in prunable(model))


def test_global_scope_takes_the_smallest_of_all() -> None:
    before = np.concatenate([np.asarray(item.kernel).ravel() for item in prunable(small_model())])
    after = np.concatenate([np.asarray(item.kernel).ravel() for item in prunable(pruned(sparsity=0.3))])
    gone = after == 0
    assert gone.sum() == round(0.3 * before.size)
    assert np.abs(before[gone]).max() <= np.abs(before[~gone]).min()
    np.testing.assert_array_equal(after[~gone], before[~gone])


def test_layer_scope_takes_the_same_share_of_each() -> None:
    shares = sparsity_of(pruned(sparsity=0.25, scope="layer"))
    assert shares["conv"] == pytest.approx(0.25, abs=0.01) and shares["logits"] == pytest.approx(0.25, abs=0.01)


def test_whole_channels_go_with_their_bias_and_outputs_stay() -> None:
    model = pruned(sparsity=0.5, structure="channel")
    kernel, bias = model.get_layer("conv").get_weights()
    dead = ~(kernel != 0).any(axis=(0, 1, 2))
    np.testing.assert_array_equal(bias == 0, dead)
    assert dead.sum() == 4 and np.abs(kernel)[..., ~dead].min() > 0
    assert (model.get_layer("logits").get_weights()[0] != 0).all()


def test_the_schedule_is_cubic_and_ends_where_asked() -> None:
    config = PruneConfig(sparsity=0.8, begin_epoch=1, end_epoch=4)
    values = [sparsity_at(config, epoch) for epoch in range(7)]
    assert values[0] == 0 and values[4:] == pytest.approx([0.8] * 3)
    steps = np.diff(values[:5])
    assert (steps > 0).all() and (np.diff(steps) < 0).all()
    assert sparsity_at(PruneConfig(sparsity=0.6), 0) == pytest.approx(0.6)


def test_a_schedule_longer_than_the_training_is_refused(dataset: Dataset) -> None:
    config = TrainConfig(epochs=2, prune=PruneConfig(sparsity=0.8, end_epoch=2))
    with pytest.raises(ConfigError, match=r"must lie below epochs = 2 .* got 2: the sparsity of 0\.8"):
        train(small_model(), dataset, config)


def test_every_kernel_of_a_layer_is_counted() -> None:
    image = keras.Input((8, 8, 2))
    model = keras.Model(image, layers.SeparableConv2D(4, 3, name="block")(image))
    depthwise, pointwise, bias = model.get_layer("block").get_weights()
    model.get_layer("block").set_weights([np.zeros_like(depthwise), pointwise, bias])
    assert sparsity_of(model)["block"] == pytest.approx(18 / (18 + 8))
    assert nonzero_weights(model).value == 8


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset("synthetic", shape=(8, 8, 1), counts=(96, 32, 32))


@pytest.mark.train
@pytest.mark.parametrize("structure", ["unstructured", "channel"])
def test_pruned_weights_stay_zero_through_everything_that_follows(structure: str, dataset: Dataset) -> None:
    schedule = PruneConfig(sparsity=0.5, structure=structure, end_epoch=1)
    settings = TrainConfig(epochs=3, batch_size=32, learning_rate=0.01, progress=False)
    record = train(small_model(), dataset, settings.change(prune=schedule))
    masks = [np.asarray(item.kernel) != 0 for item in prunable(record.model)]
    count = zeros(record.model)
    size = sum(mask.size for mask in (masks if structure == "unstructured" else masks[:1]))
    assert count == pytest.approx(0.5 * size, abs=1)
    folded = fold(record.model)
    start = quantize(folded, QuantConfig(weight_bits=4), dataset)
    quantized = train(start, dataset, settings.change(epochs=1))
    for model in (folded, quantized.model):
        for item, mask in zip(prunable(model), masks, strict=True):
            assert not np.asarray(item.kernel)[~mask].any()
    assert not np.array_equal(quantized.model.get_weights()[0], start.get_weights()[0])


@pytest.mark.train
def test_fresh_weights_are_all_trained(dataset: Dataset) -> None:
    settings = TrainConfig(epochs=1, batch_size=32, progress=False)
    assert zeros(train(small_model(), dataset, settings).model) == 0
