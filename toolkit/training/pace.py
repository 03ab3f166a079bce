"""How fast this machine trains a network, for plans."""

from __future__ import annotations

import time

import keras
import tensorflow as tf

from toolkit.config import TrainConfig
from toolkit.data import Dataset
from toolkit.training.batches import training_batches
from toolkit.training.train import compiled, copy_of

STEPS, ROUNDS = 6, 3


def step_seconds(model: keras.Model, dataset: Dataset, config: TrainConfig) -> float:
    """Seconds of one training step on a copy of a model, without its teacher: the fastest of a few rounds."""
    student = copy_of(model, config.mixed_precision, config.seed)
    fitted = compiled(student, dataset, config.change(teacher=None))
    batches = training_batches(dataset, config, 0).take(STEPS).cache()
    steps = sum(1 for _ in batches)
    fitted.fit(batches.take(1), shuffle=False, verbose=0)  # traces
    return min(timed(fitted, batches) for _ in range(ROUNDS)) / max(steps, 1)


def timed(model: keras.Model, batches: tf.data.Dataset) -> float:
    begun = time.perf_counter()
    model.fit(batches, shuffle=False, verbose=0)
    return time.perf_counter() - begun
