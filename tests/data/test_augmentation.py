"""Augmentation: random, seeded, and for training only."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.config import AugmentationConfig, TrainConfig
from toolkit.data import load_dataset
from toolkit.data.augmentation import RandomResizedCrop, augmentation_layers
from toolkit.training.batches import split_batches, training_batches

CASES = {
    "horizontal": AugmentationConfig(horizontal_flip=True),
    "vertical": AugmentationConfig(vertical_flip=True),
    "rotation": AugmentationConfig(rotation_degrees=15),
    "crop": AugmentationConfig(crop_scale=0.5),
    "colour": AugmentationConfig(colour_jitter=0.3),
    "standard": AugmentationConfig.standard(),
}


def images_of(config: TrainConfig, epoch: int, channels: int = 3) -> np.ndarray:
    dataset = load_dataset("synthetic", shape=(12, 12, channels), counts=(24, 4, 4))
    return np.concatenate([images for images, _ in training_batches(dataset, config, epoch).as_numpy_iterator()])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", CASES)
def test_images_change_by_seed_and_epoch_alone(name: str, channels: int) -> None:
    config = TrainConfig(augmentation=CASES[name], batch_size=8, seed=3)
    first = images_of(config, 0, channels)
    assert first.shape == (24, 12, 12, channels) and first.dtype == np.float32
    assert first.min() >= 0 and first.max() <= 1
    np.testing.assert_array_equal(images_of(config, 0, channels), first)
    assert not np.array_equal(images_of(config, 1, channels), first)
    assert not np.array_equal(images_of(config.change(augmentation=None), 0, channels), first)


def test_flips_move_pixels_and_make_none() -> None:
    plain = images_of(TrainConfig(batch_size=8), 0)
    flipped = images_of(TrainConfig(batch_size=8, augmentation=CASES["horizontal"]), 0)
    mirrored = [np.array_equal(a, b[:, ::-1]) for a, b in zip(flipped, plain, strict=True)]
    same = [np.array_equal(a, b) for a, b in zip(flipped, plain, strict=True)]
    assert all(a or b for a, b in zip(mirrored, same, strict=True)) and any(mirrored) and any(same)


def test_crop_of_a_constant_image_is_that_image() -> None:
    images = np.full((5, 9, 7, 3), 0.25, np.float32)
    np.testing.assert_allclose(np.asarray(RandomResizedCrop(0.3, seed=1)(images, training=True)), images, rtol=1e-6)


def test_nothing_asked_is_nothing_done() -> None:
    assert augmentation_layers(AugmentationConfig(), 3, seed=0) == []


def test_other_splits_come_as_they_are() -> None:
    dataset = load_dataset("synthetic", counts=(8, 4, 20))
    batches = list(split_batches(dataset, "test", 8).as_numpy_iterator())
    np.testing.assert_array_equal(np.concatenate([images for images, _ in batches]), dataset.inputs("test"))
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in batches]), dataset.y_test)
