"""A small trained model and its images, shared by the engine tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from toolkit.data import Dataset

CLASSES = ("dark", "left", "right", "bright")


@pytest.fixture(scope="session")
def images() -> Dataset:
    """Learnable 12x12 images: which half is bright."""
    rng = np.random.default_rng(1)
    labels = np.arange(600) % 4
    halves = np.zeros((600, 12, 12, 1))
    halves[:, :, :6, 0] += np.isin(labels, (1, 3))[:, None, None] * 140
    halves[:, :, 6:, 0] += np.isin(labels, (2, 3))[:, None, None] * 140
    x = np.clip(halves + rng.normal(60, 40, halves.shape), 0, 255).astype(np.uint8)
    return Dataset(
        "halves", x[:400], labels[:400], x[400:480], labels[400:480], x[480:], labels[480:], CLASSES, "all", "test",
        "generated",
    )  # fmt: skip


@pytest.fixture(scope="session")
def model(images: Dataset) -> Any:
    """Convolution with batch norm and relu, pooling, dense; a few epochs."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    built = keras.Sequential(
        [
            keras.Input(images.input_shape),
            layers.Conv2D(8, 3, name="conv1"),
            layers.BatchNormalization(momentum=0.8, name="bn1"),
            layers.ReLU(name="relu1"),
            layers.MaxPooling2D(name="pool1"),
            layers.Conv2D(8, 3, activation="relu", name="conv2"),
            layers.Flatten(name="flat"),
            layers.Dense(4, name="logits"),
        ]
    )
    built.compile(keras.optimizers.Adam(5e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    built.fit(images.inputs("train"), images.y_train, epochs=6, verbose=0)
    return built
