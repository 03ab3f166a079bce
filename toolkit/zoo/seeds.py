"""Randomness that repeats and leaves no trace in the caller's generators."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python's, NumPy's and TensorFlow's generators; the first two are put back afterwards.

    Keras draws initial weights, dropout and augmentation from these where a layer names no seed.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
