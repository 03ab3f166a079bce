"""The zoo: plain functions from an input tensor and a class count to logits, by name.

A new model is a function and a decorator::

    @zoo_model
    def two_layers(x, classes):
        '''One hidden layer.'''
        x = layers.Flatten()(x)
        x = layers.Dense(32, activation="relu", name="hidden")(x)
        return layers.Dense(classes, name="logits")(x)

Inputs are pixels divided by 255; outputs are logits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from toolkit.data import Dataset
from toolkit.errors import ConfigError, ModelError, choose
from toolkit.zoo.seeds import draw_weights

Builder = Callable[[Any, int], Any]

MODELS: dict[str, Builder] = {}

# Below this height or width, three unpadded 3x3 convolutions with two poolings leave nothing.
SMALLEST_UNPADDED = 18


def zoo_model(build: Builder) -> Builder:
    """Register a model under its function's name."""
    MODELS[build.__name__] = build
    return build


def build_model(
    name: str,
    dataset: Dataset | None = None,
    *,
    input_shape: tuple[int, ...] | None = None,
    classes: int | None = None,
    seed: int = 0,
) -> keras.Model:
    """Build a zoo model, with fresh weights from ``seed``, for a dataset or for a shape and class count.

    Raises ``ConfigError`` for an unknown name or a missing shape and ``ModelError`` when the input is
    too small for the architecture.
    """
    choose("model", name, MODELS)
    shape = input_shape or (dataset.input_shape if dataset else None)
    count = classes or (dataset.classes if dataset else None)
    if shape is None or count is None:
        raise ConfigError(f"build_model({name!r}) needs a dataset, or input_shape and classes")
    image = keras.Input(shape, name="image")
    try:
        logits = MODELS[name](image, count)
    except ValueError as error:
        raise ModelError(f"{name} cannot take images of shape {tuple(shape)}: {reason(error)}") from error
    model = keras.Model(image, logits, name=name)
    draw_weights(model, seed)
    return model


def reason(error: Exception) -> str:
    """The first line of Keras' words that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith("Exception encountered")), type(error).__name__)


def padding_for(x: Any) -> str:
    """``valid``, as in ``cifar10_cnn``; ``same`` where images are too small for that."""
    return "valid" if min(x.shape[1:3]) >= SMALLEST_UNPADDED else "same"


@zoo_model
def cifar10_cnn(x: Any, classes: int) -> Any:
    """Three 3x3 convolutions (32, 64, 64) with relu, two poolings, dense 64: the TensorFlow CNN tutorial's network."""
    x = layers.Conv2D(32, 3, activation="relu", name="conv1")(x)
    x = layers.MaxPooling2D(2, name="pool1")(x)
    x = layers.Conv2D(64, 3, activation="relu", name="conv2")(x)
    x = layers.MaxPooling2D(2, name="pool2")(x)
    x = layers.Conv2D(64, 3, activation="relu", name="conv3")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(64, activation="relu", name="dense1")(x)
    return layers.Dense(classes, name="logits")(x)


@zoo_model
def convnet(x: Any, classes: int) -> Any:
    """Two 5x5 convolutions (10, 20), pooled before relu, channel dropout, dense 50: PyTorch's MNIST example.

    The log-softmax of the original is part of the loss (cross-entropy from logits).
    """
    x = layers.Conv2D(10, 5, name="conv1")(x)
    x = layers.MaxPooling2D(2, name="pool1")(x)
    x = layers.ReLU(name="relu1")(x)
    x = layers.Conv2D(20, 5, name="conv2")(x)
    x = layers.SpatialDropout2D(0.5, name="dropout_channels")(x)
    x = layers.MaxPooling2D(2, name="pool2")(x)
    x = layers.ReLU(name="relu2")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(50, name="dense1")(x)
    x = layers.ReLU(name="relu3")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    return layers.Dense(classes, name="logits")(x)


@zoo_model
def separable_cnn(x: Any, classes: int) -> Any:
    """``cifar10_cnn`` with depthwise 3x3 + pointwise 1x1 in place of each convolution (Howard et al., 2017)."""
    padding = padding_for(x)
    for index, filters in enumerate((32, 64, 64), start=1):
        x = layers.DepthwiseConv2D(3, padding=padding, use_bias=False, name=f"depthwise{index}")(x)
        x = layers.Conv2D(filters, 1, activation="relu", name=f"pointwise{index}")(x)
        if index < 3:
            x = layers.MaxPooling2D(2, name=f"pool{index}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(64, activation="relu", name="dense1")(x)
    return layers.Dense(classes, name="logits")(x)


@zoo_model
def conv_bn_relu(x: Any, classes: int) -> Any:
    """``cifar10_cnn`` with a batch normalization between each convolution and its relu."""
    padding = padding_for(x)
    for index, filters in enumerate((32, 64, 64), start=1):
        x = layers.Conv2D(filters, 3, padding=padding, use_bias=False, name=f"conv{index}")(x)
        x = layers.BatchNormalization(name=f"norm{index}")(x)
        x = layers.ReLU(name=f"relu{index}")(x)
        if index < 3:
            x = layers.MaxPooling2D(2, name=f"pool{index}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(64, activation="relu", name="dense1")(x)
    return layers.Dense(classes, name="logits")(x)
