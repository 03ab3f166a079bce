"""The zoo: plain functions from an input tensor and a class count to logits, by name.

A new model is a function and a decorator::

    @zoo_model
    def two_layers(x, classes):
        '''One hidden layer.'''
        x = layers.Flatten()(x)
        x = layers.Dense(32, activation="relu", name="hidden")(x)
        return layers.Dense(classes, name="logits")(x)

Inputs are scaled as the data say (pixels divided by 255); outputs are logits or numbers.
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
    if shape is None or not (count or name == "autoencoder"):
        raise ConfigError(f"build_model({name!r}) needs a dataset, or input_shape and classes")
    image = keras.Input(shape, name="image" if len(shape) == 3 else "inputs")
    try:
        outputs = MODELS[name](image, count or 0)
    except (ValueError, IndexError) as error:
        raise ModelError(f"{name} cannot take inputs of shape {tuple(shape)}: {reason(error)}") from error
    model = keras.Model(image, outputs, name=name)
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


@zoo_model
def jet_tagger(x: Any, classes: int) -> Any:
    """16 features, dense 64, 32, 32: the jet tagger of hls4ml's first paper (Duarte et al., JINST 13, 2018, P07027)."""
    for index, width in enumerate((64, 32, 32), start=1):
        x = layers.Dense(width, activation="relu", name=f"dense{index}")(x)
    return layers.Dense(classes, name="logits")(x)


@zoo_model
def jet_tagger_bn(x: Any, classes: int) -> Any:
    """``jet_tagger`` with a batch normalization between each dense layer and its relu."""
    for index, width in enumerate((64, 32, 32), start=1):
        x = dense_bn_relu(x, width, index)
    return layers.Dense(classes, name="logits")(x)


def dense_bn_relu(x: Any, width: int, index: int) -> Any:
    x = layers.Dense(width, name=f"dense{index}")(x)
    x = layers.BatchNormalization(name=f"norm{index}")(x)
    return layers.ReLU(name=f"relu{index}")(x)


@zoo_model
def autoencoder(x: Any, classes: int) -> Any:
    """128-72-72-8-72-72-128 with batch normalization: anomaly detection of MLPerf Tiny as hls4ml submitted it.

    Borras et al., "Open-source FPGA-ML codesign for the MLPerf Tiny Benchmark", 2022. The output is as wide as the
    input; there are no classes.
    """
    features = x.shape[-1]
    for index, width in enumerate((72, 72, 8, 72, 72), start=1):
        x = dense_bn_relu(x, width, index)
    return layers.Dense(features, name="reconstruction")(x)


@zoo_model
def keyword_mlp(x: Any, classes: int) -> Any:
    """Three dense layers of 256 with batch normalization on 490 MFCC values: keyword spotting of MLPerf Tiny.

    As submitted by hls4ml and FINN (Borras et al., 2022); an input of 49 x 10 is flattened.
    """
    x = layers.Flatten(name="flatten")(x) if len(x.shape) > 2 else x
    for index in (1, 2, 3):
        x = dense_bn_relu(x, 256, index)
    return layers.Dense(classes, name="logits")(x)


@zoo_model
def lenet5(x: Any, classes: int) -> Any:
    """Two 5x5 convolutions (6, 16) with tanh and average pooling, dense 120 and 84 (LeCun et al., 1998).

    The original takes 32x32; smaller images are padded in the first convolution.
    """
    x = layers.Conv2D(6, 5, padding="valid" if min(x.shape[1:3]) >= 32 else "same", activation="tanh", name="conv1")(x)
    x = layers.AveragePooling2D(2, name="pool1")(x)
    x = layers.Conv2D(16, 5, activation="tanh", name="conv2")(x)
    x = layers.AveragePooling2D(2, name="pool2")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(120, activation="tanh", name="dense1")(x)
    x = layers.Dense(84, activation="tanh", name="dense2")(x)
    return layers.Dense(classes, name="logits")(x)


@zoo_model
def series_cnn(x: Any, classes: int) -> Any:
    """Two 1D convolutions of 5 steps (16, 32) with relu and pooling, dense 32: for series ``[steps, channels]``."""
    for index, filters in enumerate((16, 32), start=1):
        x = layers.Conv1D(filters, 5, padding="same", activation="relu", name=f"conv{index}")(x)
        x = layers.MaxPooling1D(2, name=f"pool{index}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(32, activation="relu", name="dense1")(x)
    return layers.Dense(classes, name="logits")(x)


@zoo_model
def resnet8(x: Any, classes: int) -> Any:
    """Three residual blocks of 16, 32 and 64 filters: image classification of MLPerf Tiny (Banbury et al., 2021)."""
    x = layers.ReLU(name="relu")(conv_bn(x, 16, 1, "first"))
    for index, filters in enumerate((16, 32, 64), start=1):
        stride = 1 if index == 1 else 2
        inner = layers.ReLU(name=f"relu{index}a")(conv_bn(x, filters, stride, f"{index}a"))
        inner = conv_bn(inner, filters, 1, f"{index}b")
        if stride > 1:
            x = layers.Conv2D(filters, 1, strides=stride, padding="same", name=f"shortcut{index}")(x)
        x = layers.ReLU(name=f"relu{index}b")(layers.Add(name=f"add{index}")([x, inner]))
    x = layers.AveragePooling2D(min(x.shape[1:3]), name="pool")(x)
    x = layers.Flatten(name="flatten")(x)
    return layers.Dense(classes, name="logits")(x)


def conv_bn(x: Any, filters: int, stride: int, name: str) -> Any:
    x = layers.Conv2D(filters, 3, strides=stride, padding="same", name=f"conv_{name}")(x)
    return layers.BatchNormalization(name=f"norm_{name}")(x)
