"""Kernels of a Keras model: counts by hand, what fuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from toolkit.baselines import count_macs, kernels
from toolkit.baselines.workload import fused_names
from toolkit.config import QuantConfig
from toolkit.training import quantize
from toolkit.zoo import MODELS, build_model


def test_macs_by_hand(model: Any) -> None:
    assert count_macs(model) == 10 * 10 * 8 * 9 + 3 * 3 * 8 * (9 * 8) + 72 * 4


def test_conv_norm_relu_is_one_kernel(model: Any) -> None:
    found = kernels(model)
    assert [item.name for item in found] == ["conv1", "pool1", "conv2", "logits"]
    assert fused_names(found) == ("conv1 + bn1 + relu1", "conv2 + conv2:relu")


@pytest.mark.parametrize("rank", [1, 2])
def test_a_depthwise_block_counts_both_halves(rank: int) -> None:
    import keras

    kinds = [f"{kind}Conv{rank}D" for kind in ("Separable", "Depthwise", "")]
    whole, depthwise, plain = (getattr(keras.layers, kind) for kind in kinds)
    entry = (8,) * rank + (4,)
    built = keras.Sequential([keras.Input(entry), whole(6, 3, padding="same")])
    split = keras.Sequential([keras.Input(entry), depthwise(3, padding="same"), plain(6, 1)])
    assert count_macs(built) == count_macs(split) == 8**rank * 4 * 3**rank + 8**rank * 4 * 6
    assert [item.kind for item in kernels(built)] == [item.kind for item in kernels(split)]


def test_an_added_branch_is_read_as_well() -> None:
    import keras

    entry = keras.Input((4, 4, 2))
    one = keras.layers.Conv2D(2, 1, name="one")(entry)
    built = keras.Model(entry, keras.layers.Add()([one, entry]))
    (kernel,) = kernels(built)
    assert kernel.input_elements == 32 + 32


def test_the_cifar10_cnn() -> None:
    built = build_model("cifar10_cnn", input_shape=(32, 32, 3), classes=10)
    expected = 30 * 30 * 32 * 27 + 13 * 13 * 64 * 288 + 4 * 4 * 64 * 576 + 1024 * 64 + 640
    assert count_macs(built) == expected


@pytest.mark.parametrize("name", list(MODELS))
def test_quantizing_changes_no_count(name: str) -> None:
    shape = (64, 3) if name == "series_cnn" else (32, 32, 3)
    built = build_model(name, input_shape=shape, classes=10)
    images = np.random.default_rng(0).uniform(0, 1, (4, *shape))
    quantized = quantize(built, QuantConfig(weight_bits=6, activation_bits=6), images)
    assert count_macs(quantized) == count_macs(built) > 0
