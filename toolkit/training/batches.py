"""Images in batches: shuffled by seed and epoch alone, so that a resumed training sees what it would have seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from toolkit.config import TrainConfig
from toolkit.data.augmentation import augmentation_layers
from toolkit.records import Array, Dataset


def training_batches(dataset: Dataset, config: TrainConfig, epoch: int) -> tf.data.Dataset:
    """The training split once, in the order of this epoch, augmented if asked: float32 images in [0, 1] and labels."""
    order = np.random.Generator(np.random.PCG64([config.seed, epoch])).permutation(len(dataset.y_train))
    batches = in_batches(dataset.x_train, dataset.y_train, order, config.batch_size)
    layers = []
    if config.augmentation is not None:
        layers = augmentation_layers(config.augmentation, dataset.input_shape[2], seed_of(config.seed, epoch))
    for layer in layers:
        batches = batches.map(lambda images, labels, layer=layer: (layer(images, training=True), labels))
    if layers:
        batches = batches.map(lambda images, labels: (tf.clip_by_value(images, 0.0, 1.0), labels))
    return batches.prefetch(tf.data.AUTOTUNE)


def split_batches(images: Array, labels: Array, batch_size: int) -> tf.data.Dataset:
    """A split in its own order, as it is."""
    return in_batches(images, labels, np.arange(len(labels)), batch_size).prefetch(tf.data.AUTOTUNE)


def in_batches(images: Array, labels: Array, order: Array, batch_size: int) -> tf.data.Dataset:
    x, y = tf.constant(images), tf.constant(labels)

    def take(chosen: Any) -> tuple[Any, Any]:
        return tf.cast(tf.gather(x, chosen), tf.float32) / 255.0, tf.gather(y, chosen)

    return tf.data.Dataset.from_tensor_slices(order).batch(batch_size).map(take)


def seed_of(seed: int, epoch: int) -> int:
    """A seed for the augmentation of one epoch."""
    return int(np.random.SeedSequence([seed, epoch, 1]).generate_state(1)[0] % 2**30)
