"""Every key of ``[hls]`` and ``[hls.layers.<name>]`` decides something of the project, or is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from toolkit.config import HlsConfig, LayerHlsConfig
from toolkit.errors import ConfigError
from toolkit.hls import write_project

BASE: dict[str, Any] = {
    "io_type": "io_parallel",
    "precision": "ap_fixed<14,5>",
    "strategy": "Resource",
    "test_vectors": 2,
}
OTHER: dict[str, Any] = {
    "backend": "Vivado",
    "part": "xcu250-figd2104-2L-e",
    "clock_period_ns": 4.0,
    "io_type": "io_stream",
    "strategy": "Latency",
    "reuse_factor": 2,
    "precision": "ap_fixed<12,4>",
    "parallelization_factor": 4,
    "fifo_depths": {"layer2_out": 3},
    "test_vectors": 1,
}
# What acts only beside another key; the pair is tried.
TOGETHER: dict[str, dict[str, Any]] = {
    "invalid_reuse_factor": {"invalid_reuse_factor": "nearest", "reuse_factor": 7},
    "layers": {"layers": {"dense": {"reuse_factor": 2}}},
}
LAYER_OTHER: dict[str, Any] = {
    "strategy": "Latency",
    "reuse_factor": 2,
    "parallelization_factor": 4,
    "precision": "ap_fixed<11,4>",
    "table_size": 512,
    "implementation": "legacy",
}
LAYERS = ("image", "conv", "act", "flat", "dense", "choice")


@pytest.fixture(scope="module")
def model() -> keras.Model:
    layers = keras.layers
    keras.utils.set_random_seed(3)
    i = keras.Input((4, 4, 1), name="image")
    x = layers.Activation("tanh", name="act")(layers.Conv2D(2, 3, name="conv")(i))
    x = layers.Dense(4, name="dense")(layers.Flatten(name="flat")(x))
    return keras.Model(i, layers.Softmax(name="choice")(x))


def written(model: keras.Model, folder: Path, **keys: Any) -> dict[str, bytes]:
    """What a tool would see of a project; hls4ml's copy of the configuration left out."""
    project = write_project(model, HlsConfig(**{**BASE, **keys}), folder, inputs=np.ones((2, 4, 4, 1), np.float32))
    own = ("manifest.json", "hls4ml_config.yml")
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in own)
    found = {str(path.relative_to(folder)): path.read_bytes() for path in files if "toolkit" not in path.parts}
    return {**found, "notes": "\n".join(project.notes).encode()}


@pytest.fixture(scope="module")
def base(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return written(model, tmp_path_factory.mktemp("base") / "project")


def test_every_key_is_tried() -> None:
    assert {*OTHER, *TOGETHER} == set(HlsConfig.model_fields)
    assert set(LAYER_OTHER) == set(LayerHlsConfig.model_fields)


@pytest.mark.parametrize("key", HlsConfig.model_fields)
def test_a_key_decides_something_or_is_refused(
    key: str, model: keras.Model, base: dict[str, bytes], tmp_path: Path
) -> None:
    keys = TOGETHER.get(key) or {key: OTHER[key]}
    try:
        assert written(model, tmp_path / "project", **keys) != base
    except ConfigError as refusal:
        assert key in str(refusal)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layers_key_decides_something_or_is_refused(
    layer: str, model: keras.Model, base: dict[str, bytes], tmp_path: Path
) -> None:
    idle = []
    for key, value in LAYER_OTHER.items():
        try:
            if written(model, tmp_path / key, layers={layer: {key: value}}) == base:
                idle.append(key)
        except ConfigError as refusal:
            assert layer in str(refusal)
    assert idle == []


def test_nothing_else_makes_a_difference(model: keras.Model, base: dict[str, bytes], tmp_path: Path) -> None:
    assert written(model, tmp_path / "elsewhere") == base
