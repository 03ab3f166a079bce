"""A small hls4ml project as somebody else would have it: no manifest, no records, no headers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.config import HlsConfig


def foreign_model() -> Any:
    """A convolution, an activation with bits of its own, a flattening and a matrix product."""
    import keras
    from qkeras import QActivation, QConv2D, QDense, quantized_bits, quantized_relu

    keras.utils.set_random_seed(5)
    start = keras.Input((6, 6, 1))
    bits = {"kernel_quantizer": quantized_bits(4, 0, alpha=1), "bias_quantizer": quantized_bits(5, 1, alpha=1)}
    x = QActivation(quantized_bits(8, 0, alpha=1), name="input_bits")(start)
    x = QConv2D(3, 3, name="conv", **bits)(x)
    x = QActivation(quantized_relu(4, 1), name="relu")(x)
    x = keras.layers.Flatten(name="flat")(x)
    return keras.Model(start, QDense(4, name="logits", **bits)(x))


@pytest.fixture(scope="session")
def hls_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's folder; tests copy it."""
    from toolkit.hls import write_project

    folder = tmp_path_factory.mktemp("foreign")
    config = HlsConfig(backend="Vivado", strategy="Resource", reuse_factor=4, invalid_reuse_factor="nearest")
    images = np.random.default_rng(0).uniform(-1, 1, (4, 6, 6, 1)).astype(np.float32)
    write_project(foreign_model(), config, folder / "own", inputs=images)
    skipped = shutil.ignore_patterns("manifest.json", "toolkit", "network", "*.keras", "nnet_utils", "ap_types")
    shutil.copytree(folder / "own", folder / "project", ignore=skipped)
    return folder / "project"
