"""What makes TensorFlow's sums repeat to the last bit: a fixed number of threads, and on a GPU ordered kernels.

On a CPU the order of a sum follows from how work is shared out, so the number of threads decides the last
bits (measured: 1, 2, 4 and 8 threads give four different networks, each the same at every repetition).
TensorFlow keeps the number for the whole process; it is part of a training's key
(:func:`toolkit.store.float_arithmetic`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf
from tensorflow.python.framework import config as framework  # has the only way to switch it off again

from toolkit.errors import ConfigError


def use_threads(wanted: int | None) -> None:
    """Set TensorFlow's threads; raises ``ConfigError`` once it has begun with another number, which it keeps."""
    if wanted is None or tf.config.threading.get_intra_op_parallelism_threads() == wanted:
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(wanted)
    except RuntimeError:
        raise ConfigError(
            f"threads are fixed when TensorFlow first runs, got {wanted} after that; start Python with "
            f"TF_NUM_INTRAOP_THREADS={wanted}, or call tf.config.threading.set_intra_op_parallelism_threads first"
        ) from None


@contextmanager
def repeatable() -> Iterator[None]:
    """On a GPU, kernels whose sums do not depend on the order in which their threads end; slower."""
    if not tf.config.list_physical_devices("GPU") or framework.is_op_determinism_enabled():
        yield
        return
    tf.config.experimental.enable_op_determinism()
    try:
        yield
    finally:
        framework.disable_op_determinism()
