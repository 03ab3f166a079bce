"""Random small models that together hold every layer ``quantize()`` emits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from toolkit.config import HlsConfig, QuantConfig
from toolkit.training import quantize

K = keras.layers
Random = np.random.Generator


@dataclass(frozen=True)
class Case:
    """A quantized model, images for it, and the design to build."""

    label: str
    model: keras.Model
    images: np.ndarray
    config: HlsConfig


def image_chain(rng: Random) -> keras.Model:
    x = i = keras.Input((int(rng.integers(6, 9)), int(rng.integers(6, 9)), int(rng.integers(1, 4))), name="image")
    stride = int(rng.integers(1, 3))
    x = K.Conv2D(int(rng.integers(2, 5)), 3, strides=stride, padding="same", activation="relu", name="conv_1")(x)
    x = K.Dropout(0.2, name="drop")(x)
    x = K.MaxPooling2D(2, name="pool")(x)
    x = K.Conv2D(3, (2, 1), activation="relu", use_bias=bool(rng.integers(2)), name="conv_2")(x)
    x = K.Flatten(name="flatten")(x)
    x = K.Dense(4, activation="relu", name="dense_1")(x)
    return keras.Model(i, K.Dense(3, name="dense_2")(x))


def separable(rng: Random) -> keras.Model:
    x = i = keras.Input((7, 6, int(rng.integers(2, 4))), name="image")
    x = K.DepthwiseConv2D(3, padding=str(rng.choice(["same", "valid"])), activation="relu", name="depthwise")(x)
    x = K.SeparableConv2D(3, 2, activation="relu", name="separable")(x)
    x = K.AveragePooling2D((2, 1), name="pool")(x)
    x = K.GlobalAveragePooling2D(name="mean")(x)
    return keras.Model(i, K.Dense(3, name="dense")(x))


def sequence(rng: Random) -> keras.Model:
    x = i = keras.Input((int(rng.integers(9, 13)), int(rng.integers(1, 4))), name="signal")
    x = K.Conv1D(3, 3, padding="same", activation="relu", name="conv_1")(x)
    x = K.MaxPooling1D(2, name="pool")(x)
    x = K.ZeroPadding1D((1, 2), name="pad")(x)
    x = K.Conv1D(2, 2, strides=int(rng.integers(1, 3)), activation="tanh", name="conv_2")(x)
    x = K.GlobalMaxPooling1D(name="max")(x)
    return keras.Model(i, K.Dense(3, name="dense")(x))


def sequence_means(rng: Random) -> keras.Model:
    x = i = keras.Input((8, 2), name="signal")
    x = K.Conv1D(2, 3, activation="relu", name="conv")(x)
    x = K.UpSampling1D(2, name="up")(x)
    x = K.AveragePooling1D(int(rng.integers(2, 4)), name="pool")(x)
    x = K.Conv1D(2, 1, activation="tanh", name="point")(x)
    a = K.GlobalAveragePooling1D(name="mean")(x)
    return keras.Model(i, K.Dense(3, name="dense")(a))


def branches(rng: Random) -> keras.Model:
    x = i = keras.Input((5, 5, 2), name="image")
    x = K.Conv2D(3, 3, padding="same", name="stem")(x)
    a = K.ReLU(name="left_relu")(x)
    b = K.Conv2D(3, 1, name="right")(a)
    x = K.Add(name="add")([a, b])
    x = K.Activation("relu", name="add_relu")(x)
    c = K.Conv2D(2, 1, activation="relu", name="side")(x)
    x = K.Concatenate(name="concat")([x, c])
    x = K.AveragePooling2D(2, name="pool")(x)
    x = K.Flatten(name="flatten")(x)
    return keras.Model(i, K.Dense(3, name="dense")(x))


def upsampling(rng: Random) -> keras.Model:
    x = i = keras.Input((4, 4, 1), name="image")
    x = K.ZeroPadding2D(((1, 0), (2, 1)), name="pad")(x)
    x = K.Conv2D(2, 3, activation="relu", name="conv_1")(x)
    x = K.UpSampling2D((2, 2), name="up")(x)
    x = K.Conv2D(2, 2, name="conv_2")(x)
    x = K.LeakyReLU(negative_slope=0.25, name="leaky")(x)
    x = K.GlobalMaxPooling2D(name="max")(x)
    return keras.Model(i, K.Dense(3, name="dense")(x))


def dense_chain(rng: Random) -> keras.Model:
    x = i = keras.Input((int(rng.integers(4, 9)),), name="features")
    x = K.Dense(6, activation="relu", name="dense_1")(x)
    x = K.BatchNormalization(name="norm")(x)
    x = K.Dense(4, activation="sigmoid", name="dense_2")(x)
    x = K.Reshape((2, 2), name="reshape")(x)
    x = K.Flatten(name="flatten")(x)
    x = K.Dense(4, activation="tanh", name="dense_3")(x)
    return keras.Model(i, K.Dense(3, name="dense_4")(x))


def normalized(rng: Random) -> keras.Model:
    x = i = keras.Input((6, 6, 2), name="image")
    x = K.MaxPooling2D(2, name="pool")(x)
    x = K.BatchNormalization(name="norm_1")(x)
    x = K.Conv2D(3, 2, name="conv")(x)
    x = K.BatchNormalization(name="norm_2")(x)
    x = K.ReLU(name="relu")(x)
    x = K.Flatten(name="flatten")(x)
    return keras.Model(i, K.Dense(3, name="dense")(x))


TEMPLATES: tuple[Callable[[Random], keras.Model], ...] = (
    image_chain,
    separable,
    sequence,
    sequence_means,
    branches,
    upsampling,
    dense_chain,
    normalized,
)


def random_case(seed: int, images: int = 24) -> Case:
    """The model, images and design of a seed: templates in turn, then io types and strategies in turn."""
    rng = np.random.default_rng(seed)
    template = TEMPLATES[seed % len(TEMPLATES)]
    round_ = seed // len(TEMPLATES)
    io_type = ("io_stream", "io_parallel")[round_ % 2]
    strategy = ("Resource", "Latency")[(round_ // 2 + seed) % 2]
    keras.utils.set_random_seed(seed)
    model = template(rng)
    shake(model, rng)
    x = rng.random((images, *model.input_shape[1:])).astype(np.float32)
    config = random_quantization(rng)
    return Case(
        label=f"{template.__name__} {io_type} {strategy} {config.weights} {config.weight_bits} bits",
        model=quantize(model, config, x),
        images=x,
        config=HlsConfig(
            io_type=io_type,
            strategy=strategy,
            reuse_factor=int(rng.integers(1, 9)),
            invalid_reuse_factor="nearest",
            backend=str(rng.choice(["Vitis", "Vivado"])),
        ),
    )


def shake(model: keras.Model, rng: Random) -> None:
    """Give every weight, batch normalization's statistics included, values worth quantizing."""
    for layer in model.layers:
        for weight in layer.weights:
            if weight.dtype.startswith("float"):
                value = rng.normal(0, 0.6, weight.shape)
                weight.assign(np.abs(value) + 0.3 if "variance" in weight.path or "gamma" in weight.path else value)


def random_quantization(rng: Random) -> QuantConfig:
    weights: Any = rng.choice(["fixed", "fixed", "fixed", "binary", "ternary"])
    return QuantConfig(
        weight_bits=int(rng.integers(2, 10)),
        activation_bits=int(rng.integers(2, 10)),
        input_bits=int(rng.integers(4, 9)),
        weights=weights,
        scale=str(rng.choice(["1", "auto_po2"])),
    )
