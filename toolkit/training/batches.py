"""Samples in batches: shuffled by seed and epoch alone, so that a resumed training sees what it would have seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from toolkit.config import TrainConfig
from toolkit.data import Dataset
from toolkit.data.augmentation import augmentation_layers
from toolkit.data.dataset import each
from toolkit.errors import ConfigError
from toolkit.records import Array


def training_batches(dataset: Dataset, config: TrainConfig, epoch: int) -> tf.data.Dataset:
    """The training split once, in the order of this epoch, augmented if asked: scaled float32 inputs and targets."""
    order = np.random.Generator(np.random.PCG64([config.seed, epoch])).permutation(dataset.size("train"))
    batches = in_batches(dataset, "train", order, config.batch_size)
    layers = []
    if config.augmentation is not None:
        require_images(dataset)
        layers = augmentation_layers(config.augmentation, dataset.input_shape[2], seed_of(config.seed, epoch))
    for layer in layers:
        batches = batches.map(lambda images, labels, layer=layer: (layer(images, training=True), labels))
    if layers:
        batches = batches.map(lambda images, labels: (tf.clip_by_value(images, 0.0, 1.0), labels))
    return with_reconstruction(dataset, batches).prefetch(tf.data.AUTOTUNE)


def require_images(dataset: Dataset) -> None:
    """Raise ``ConfigError`` unless the inputs are images in [0, 1], which is what augmentation changes."""
    shapes = dataset.input_shapes
    if len(shapes) > 1 or len(shapes[0]) != 3:
        raise ConfigError(f"train.augmentation is for images, {dataset.name} has inputs of shape {shapes[0]}")
    seen = dataset.inputs("train", 64)
    if seen.min() < 0 or seen.max() > 1:
        raise ConfigError(
            f"train.augmentation is for images scaled to [0, 1], {dataset.name} has {seen.min():g} to {seen.max():g} "
            f"(scale: {dataset.scalings()[0].name})"
        )


def split_batches(dataset: Dataset, split: str, batch_size: int, count: int | None = None) -> tf.data.Dataset:
    """A split in its own order, as it is; the first ``count`` samples if given."""
    order = np.arange(min(count or dataset.size(split), dataset.size(split)))
    return with_reconstruction(dataset, in_batches(dataset, split, order, batch_size)).prefetch(tf.data.AUTOTUNE)


def in_batches(dataset: Dataset, split: str, order: Array, batch_size: int) -> tf.data.Dataset:
    """Inputs and labels by position; a tuple of each where there are several, 0 in place of labels there are not."""
    x = [tf.constant(part) for part in each(getattr(dataset, f"x_{split}"))]
    y = [tf.constant(labels_of(dataset, head, split)) for head in dataset.heads]
    scalings = dataset.scalings()

    def take(chosen: Any) -> tuple[Any, Any]:
        raw = (tf.cast(tf.gather(part, chosen), tf.float32) for part in x)
        inputs = tuple(scale(part) for scale, part in zip(scalings, raw, strict=True))
        labels = tuple(tf.gather(part, chosen) for part in y)
        return one_or_all(inputs), one_or_all(labels)

    return tf.data.Dataset.from_tensor_slices(order).batch(batch_size).map(take)


def labels_of(dataset: Dataset, head: Any, split: str) -> Array:
    """Labels of one output; zeros where there are none to learn from."""
    known = None if head.kind == "reconstruction" else dataset.targets(head, split)
    return np.zeros(dataset.size(split), np.int64) if known is None or not len(known) else known


def with_reconstruction(dataset: Dataset, batches: tf.data.Dataset) -> tf.data.Dataset:
    """The inputs themselves in place of labels, where they are to be reconstructed."""
    if dataset.task != "reconstruction":
        return batches
    return batches.map(lambda inputs, labels: (inputs, inputs))


def one_or_all(parts: tuple[Any, ...]) -> Any:
    return parts[0] if len(parts) == 1 else parts


def seed_of(seed: int, epoch: int) -> int:
    """A seed for the augmentation of one epoch."""
    return int(np.random.SeedSequence([seed, epoch, 1]).generate_state(1)[0] % 2**30)
