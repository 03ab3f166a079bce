"""An ``.h5`` as QKeras 0.9 on TensorFlow 2 wrote it: loaded, converted, the same bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.hls.small_models import inputs_for
from toolkit.config import HlsConfig
from toolkit.emulation import emulate
from toolkit.hls import write_project
from toolkit.zoo import load_model


def spelled(kind: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": config}


def fixed(bits: int) -> dict[str, Any]:
    common = {"symmetric": 0, "alpha": 1, "keep_negative": True, "use_stochastic_rounding": False}
    return spelled("quantized_bits", bits=bits, integer=0, qnoise_factor=1.0, **common)


def relu(bits: int, integer: int) -> dict[str, Any]:
    common = {"use_sigmoid": 0, "negative_slope": 0.0, "use_stochastic_rounding": False, "relu_upper_bound": None}
    return spelled("quantized_relu", bits=bits, integer=integer, qnoise_factor=1.0, **common)


def weighted(kind: str, name: str, **config: Any) -> dict[str, Any]:
    """A layer whose initializer and constraints QKeras derived from its quantizer."""
    initializer = spelled("HeNormal", seed=None)
    quantizers = {"kernel_quantizer": fixed(6), "bias_quantizer": fixed(6), "kernel_range": None, "bias_range": None}
    made = {
        "kernel_initializer": spelled("QInitializer", initializer=initializer, use_scale=True, quantizer=fixed(6)),
        "bias_initializer": spelled("Zeros"),
        **dict.fromkeys(("kernel_regularizer", "bias_regularizer", "activity_regularizer")),
        **dict.fromkeys(("kernel_constraint", "bias_constraint"), spelled("Clip", min_value=-1, max_value=1)),
    }
    common = {"name": name, "trainable": True, "dtype": "float32", "activation": "linear", "use_bias": True}
    return spelled(kind, **common, **made, **quantizers, **config)


def activation(name: str, quantizer: dict[str, Any]) -> dict[str, Any]:
    return spelled("QActivation", name=name, trainable=True, dtype="float32", activation=quantizer)


LAYERS = [
    spelled("InputLayer", batch_input_shape=[None, 6, 6, 1], dtype="float32", sparse=False, ragged=False, name="image"),
    activation("image_quantizer", relu(8, 0)),
    weighted(
        "QConv2D",
        "conv",
        filters=3,
        kernel_size=[3, 3],
        strides=[1, 1],
        padding="valid",
        data_format="channels_last",
        dilation_rate=[1, 1],
        groups=1,
    ),
    activation("conv_relu", relu(5, 1)),
    spelled("Flatten", name="flatten", trainable=True, dtype="float32", data_format="channels_last"),
    weighted("QDense", "logits", units=3),
]


def write_legacy(path: Path) -> None:
    """The model above in the layout of Keras 2: configuration as an attribute, weights by ``<layer>/<layer>``."""
    rng = np.random.default_rng(0)
    shapes = {"conv": ((3, 3, 1, 3), (3,)), "logits": ((48, 3), (3,))}
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = "2.14.0", "tensorflow"
        file.attrs["model_config"] = json.dumps(spelled("Sequential", name="sequential", layers=LAYERS))
        group = file.create_group("model_weights")
        names = [layer["config"]["name"] for layer in LAYERS[1:]]
        group.attrs["layer_names"] = [name.encode() for name in names]
        group.attrs["keras_version"], group.attrs["backend"] = "2.14.0", "tensorflow"
        for name in names:
            inner = group.create_group(name)
            kinds = [f"{name}/{kind}:0" for kind in ("kernel", "bias")] if name in shapes else []
            inner.attrs["weight_names"] = [kind.encode() for kind in kinds]
            for kind, shape in zip(kinds, shapes.get(name, ()), strict=True):
                inner[kind] = rng.normal(0, 0.4, shape).astype(np.float32)


def test_a_legacy_file_keeps_its_bits(tmp_path: Path) -> None:
    path = tmp_path / "legacy.h5"
    write_legacy(path)
    model = load_model(path)
    images = inputs_for(model, 30)
    project = write_project(path, HlsConfig(), tmp_path / "project", inputs=images)
    assert project.graph.layer("conv").types["weight_t"] == "ap_fixed<6,1>"
    np.testing.assert_array_equal(emulate(project).predict(images), model.predict(images, verbose=0))
    assert np.unique(emulate(project).predict(images)).size > 20
