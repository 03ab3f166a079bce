"""QKeras models written by hand, small enough to compile in seconds."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from qkeras import QActivation, QConv2D, QDense, quantized_bits, quantized_relu

K = keras.layers


def weights(bits: int = 6, alpha: Any = 1) -> dict[str, Any]:
    return {
        "kernel_quantizer": quantized_bits(bits, 0, alpha=alpha),
        "bias_quantizer": quantized_bits(bits, 0, alpha=1),
    }


def dense_model(alpha: Any = 1) -> keras.Model:
    """Four features, one hidden layer, three outputs."""
    keras.utils.set_random_seed(3)
    x = i = keras.Input((4,), name="features")
    x = QActivation(quantized_relu(8, 0), name="features_quantizer")(x)
    x = QDense(5, name="hidden", bias_initializer="random_normal", **weights(alpha=alpha))(x)
    x = QActivation(quantized_relu(6, 1), name="hidden_relu")(x)
    return keras.Model(i, QDense(3, name="logits", **weights(alpha=alpha))(x), name="dense_model")


def conv_model() -> keras.Model:
    """A convolution, pooling and a classifier on 6 x 6 x 2 images."""
    keras.utils.set_random_seed(4)
    x = i = keras.Input((6, 6, 2), name="image")
    x = QActivation(quantized_relu(8, 0), name="image_quantizer")(x)
    x = QConv2D(3, 3, name="conv", **weights())(x)
    x = QActivation(quantized_relu(5, 1), name="conv_relu")(x)
    x = K.MaxPooling2D(2, name="pool")(x)
    x = K.Flatten(name="flatten")(x)
    return keras.Model(i, QDense(3, name="logits", **weights())(x), name="conv_model")


def float_model() -> keras.Model:
    """The same as :func:`conv_model` in plain Keras."""
    keras.utils.set_random_seed(5)
    x = i = keras.Input((6, 6, 2), name="image")
    x = K.Conv2D(3, 3, activation="relu", name="conv")(x)
    x = K.MaxPooling2D(2, name="pool")(x)
    x = K.Flatten(name="flatten")(x)
    return keras.Model(i, K.Dense(3, name="logits")(x), name="float_model")


def inputs_for(model: keras.Model, count: int = 20, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, *model.input_shape[1:])).astype(np.float32)
