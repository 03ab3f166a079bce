"""Random changes to training images, as Keras preprocessing layers in the ``tf.data`` pipeline."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers

from toolkit.config import AugmentationConfig


@keras.saving.register_keras_serializable("toolkit", "RandomResizedCrop")
class RandomResizedCrop(layers.Layer):  # type: ignore[misc]
    """Crop a window of ``scale`` to 1 of the area and of aspect 3/4 to 4/3, and resize it to the image's size.

    As in Szegedy et al., "Going deeper with convolutions", CVPR 2015, section 6.
    """

    def __init__(self, scale: float, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.scale = scale
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, training: bool = True) -> Any:
        if not training:
            return inputs
        count = tf.shape(inputs)[0]
        area = keras.random.uniform((count,), self.scale, 1.0, seed=self.generator)
        aspect = tf.exp(keras.random.uniform((count,), tf.math.log(3 / 4), tf.math.log(4 / 3), seed=self.generator))
        height, width = tf.minimum(tf.sqrt(area / aspect), 1.0), tf.minimum(tf.sqrt(area * aspect), 1.0)
        top = keras.random.uniform((count,), seed=self.generator) * (1 - height)
        left = keras.random.uniform((count,), seed=self.generator) * (1 - width)
        boxes = tf.stack([top, left, top + height, left + width], axis=1)
        return tf.image.crop_and_resize(inputs, boxes, tf.range(count), inputs.shape[1:3])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale, "seed": self.seed}


def augmentation_layers(config: AugmentationConfig, channels: int, seed: int) -> list[keras.Layer]:
    """The layers of a configuration, for float images in [0, 1] in batches; each with a seed of its own."""
    chosen: list[keras.Layer] = []
    flips = {(True, False): "horizontal", (False, True): "vertical", (True, True): "horizontal_and_vertical"}
    if flip := flips.get((config.horizontal_flip, config.vertical_flip)):
        chosen.append(layers.RandomFlip(flip, seed=seed))
    if config.rotation_degrees:
        angle = config.rotation_degrees / 360
        chosen.append(layers.RandomRotation(angle, fill_mode="constant", seed=seed + 1))
    if config.crop_scale < 1:
        chosen.append(RandomResizedCrop(config.crop_scale, seed=seed + 2))
    if config.colour_jitter:
        chosen += jitter_layers(config.colour_jitter, channels, seed + 3)
    return chosen


def jitter_layers(strength: float, channels: int, seed: int) -> list[keras.Layer]:
    """Brightness and contrast; on RGB images also saturation and hue."""
    unit = {"value_range": (0, 1)}
    chosen: list[keras.Layer] = [
        layers.RandomBrightness(strength, seed=seed, **unit),
        layers.RandomContrast(strength, seed=seed + 1, **unit),
    ]
    if channels == 3:
        # Keras' saturation factor is 0.5 for "unchanged"; hue turns by at most half the colour circle.
        around = (0.5 * (1 - strength), 0.5 * (1 + strength))
        chosen += [
            layers.RandomSaturation(around, seed=seed + 2, **unit),
            layers.RandomHue(strength / 4, seed=seed + 3, **unit),
        ]
    return chosen
