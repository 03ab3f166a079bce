"""Every key of [train], [quantization], [dataset] and [estimate] decides something, or is refused.

The keys of [hls] are tried on whole projects in tests/hls/test_keys.py.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from toolkit.config import (
    DatasetConfig,
    EstimateConfig,
    HlsConfig,
    LayerQuantConfig,
    QuantConfig,
    TrainConfig,
    parse_design,
)
from toolkit.data import Dataset, load_dataset
from toolkit.errors import ConfigError
from toolkit.estimation import estimate
from toolkit.estimation.calibration import SHIPPED
from toolkit.estimation.dataflow import simulate
from toolkit.hls.convert import convert
from toolkit.plan import check_design
from toolkit.training import quantize
from toolkit.training.train import training_key

# Images grow brighter, so that the number of those that are looked at is seen in the ranges.
IMAGES = np.random.default_rng(0).random((40, 6, 6, 1), np.float32) * np.linspace(0.1, 30, 40)[:, None, None, None]
CLASSES = np.arange(40) % 2


@pytest.fixture(scope="module")
def model() -> keras.Model:
    layers = keras.layers
    keras.utils.set_random_seed(3)
    i = keras.Input((6, 6, 1), name="image")
    x = layers.ReLU(name="relu")(layers.Conv2D(2, 3, name="conv")(i))
    made = keras.Model(i, layers.Dense(2, name="logits")(layers.Flatten(name="flat")(x)))
    made.get_layer("logits").bias.assign([0.3, -0.7])
    made.get_layer("conv").bias.assign([0.21, -0.13])
    return made


# [train] -----------------------------------------------------------------------------------------

TRAIN: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 32,
    "learning_rate": 0.1,
    "seed": 5,
    "early_stopping_epochs": 2,
    "jit_compile": True,
    "mixed_precision": "mixed_bfloat16",
    "augmentation": {"horizontal_flip": True},
    "prune": {"sparsity": 0.25},
    "teacher": None,  # a model, below
    "temperature": 2.0,
    "distillation_weight": 0.25,
}
# How a training is done and told; the weights are those of the same settings without.
AROUND = ("threads", "checkpoint", "progress")


def test_every_key_of_train_is_tried() -> None:
    assert {*TRAIN, *AROUND} == set(TrainConfig.model_fields)


def trained(model: keras.Model, **keys: Any) -> str:
    return training_key(model, Dataset.from_arrays(x=IMAGES, y=CLASSES), TrainConfig(**keys))


@pytest.mark.parametrize("key", TRAIN)
def test_a_key_of_train_decides_or_is_refused(key: str, model: keras.Model) -> None:
    value = keras.models.clone_model(model) if key == "teacher" else TRAIN[key]
    try:
        if key != "teacher":
            check_design(parse_design({"train": {key: value}}))
        assert trained(model, **{key: value}) != trained(model)
    except ConfigError as refusal:
        assert f"train.{key}" in str(refusal)


@pytest.mark.parametrize("key", [key for key in TRAIN if key not in ("epochs", "seed", "prune", "teacher")])
@pytest.mark.parametrize("section", ["train", "qat"])
def test_a_key_of_a_training_of_no_epochs_is_refused(section: str, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"{section}\.{key}.* decides nothing"):
        check_design(parse_design({section: {"epochs": 0, key: TRAIN[key]}}))


# [quantization] ----------------------------------------------------------------------------------

QUANTIZATION: dict[str, Any] = {
    "weight_bits": 4,
    "bias_bits": 5,
    "activation_bits": 5,
    "input_bits": 5,
    "weights": "ternary",
    "scale": "auto_po2",
    "layers": {"conv": {"weight_bits": 3}},
    "calibration_count": 3,
}
LAYER = {"weight_bits": 4, "bias_bits": 5, "activation_bits": 5, "weights": "binary", "scale": "auto_po2"}
# The exact sums of the last layer are the output; a sweep's pattern may reach it.
LET_PASS = {"logits": ["activation_bits"]}


def test_every_key_of_quantization_is_tried() -> None:
    assert set(QUANTIZATION) == set(QuantConfig.model_fields)
    assert set(LAYER) == set(LayerQuantConfig.model_fields)


def quantized(model: keras.Model, **keys: Any) -> str:
    return quantize(model, QuantConfig(**keys), IMAGES).to_json()


@pytest.mark.parametrize("key", QUANTIZATION)
def test_a_key_of_quantization_decides(key: str, model: keras.Model) -> None:
    assert quantized(model, **{key: QUANTIZATION[key]}) != quantized(model)


@pytest.mark.parametrize("layer", ["image", "conv", "relu", "flat", "logits"])
def test_a_key_of_a_layer_decides_or_is_refused(layer: str, model: keras.Model) -> None:
    base, idle = quantized(model), []
    for key, value in LAYER.items():
        try:
            if quantized(model, layers={layer: {key: value}}) == base:
                idle.append(key)
        except ConfigError as refusal:
            assert f"quantization.layers.{layer}.{key}" in str(refusal)
    assert idle == LET_PASS.get(layer, [])


# [dataset] ---------------------------------------------------------------------------------------

DATASET: dict[str, Any] = {
    "name": "mine",
    "path": "other.npz",
    "inputs": "other",
    "labels": "mark",
    "scale": "standard",
    "class_names": ("no", "yes"),
    "test_fraction": 0.3,
    "validation_fraction": 0.3,
    "seed": 4,
    "stratified": False,
    "data_dir": ".",
    "shape": (6, 6, 3),
    "test_count": 2,
}


@pytest.mark.parametrize("key", DatasetConfig.model_fields)
def test_a_key_of_dataset_decides_or_is_refused(key: str, tmp_path: Path) -> None:
    arrays = {"x": IMAGES, "other": IMAGES[::-1], "y": CLASSES, "mark": CLASSES[::-1]}
    np.savez(tmp_path / "data.npz", **arrays)
    np.savez(tmp_path / "other.npz", **{**arrays, "x": IMAGES / 2})
    value = tmp_path / DATASET[key] if key in ("path", "data_dir") else DATASET[key]
    base = {"path": tmp_path / "data.npz"}
    try:
        found = load_dataset(DatasetConfig(**{**base, key: value}))
        assert found.digest != load_dataset(DatasetConfig(**base)).digest
    except ConfigError as refusal:
        assert f"dataset.{key}" in str(refusal)


# [estimate] --------------------------------------------------------------------------------------

PART = """[xc7z020]
family = "7series"
lut = 53201
ff = 106400
dsp = 220
bram_18k = 280
uram = 0
source = "a test"
"""
ESTIMATE: dict[str, Any] = {
    "tool": "vitis_hls 2020.2",
    "fifo_simulation": False,
    "clock_uncertainty_percent": 40.0,
    "calibration": "coefficients.json",
    "devices": "devices.toml",
    "static_power_w": 3.0,
}


def estimated(model: keras.Model, **keys: Any) -> str:
    hls = HlsConfig(clock_period_ns=3)  # so short that the share the tool keeps back costs cycles
    graph = convert(quantize(model, QuantConfig(), IMAGES), hls).graph
    return repr(estimate(graph, EstimateConfig(**keys), hls=hls))


def test_every_key_of_estimate_is_tried() -> None:
    assert {*ESTIMATE, "images"} == set(EstimateConfig.model_fields)


@pytest.mark.parametrize("key", ESTIMATE)
def test_a_key_of_estimate_decides(key: str, model: keras.Model, tmp_path: Path) -> None:
    (tmp_path / "devices.toml").write_text(PART)
    (tmp_path / "coefficients.json").write_text(SHIPPED.read_text().replace("1", "2"))
    value = tmp_path / ESTIMATE[key] if key in ("calibration", "devices") else ESTIMATE[key]
    assert estimated(model, **{key: value}) != estimated(model)


def test_so_many_images_are_simulated(model: keras.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network in its steady state has the same interval after any number: what is asked of the simulation is."""
    module, asked = importlib.import_module("toolkit.estimation.estimate"), []

    def spied(*arguments: Any, images: int, **settings: Any) -> Any:
        asked.append(images)
        return simulate(*arguments, images=images, **settings)

    monkeypatch.setattr(module, "simulate", spied)
    estimated(model, images=5)
    assert set(asked) == {5}
