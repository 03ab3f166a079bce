"""QKeras quantizers in few operations, and the one layer QKeras lacks.

The subclasses keep the class names, configurations, values and gradients of QKeras, so whatever reads
those (hls4ml) reads these. They differ in two ways. QKeras spells a straight-through estimator as
``x + stop_gradient(-x + q)`` and needs a score of operations for a quantizer; here a custom gradient
returns ``q`` itself, in four. And scales of binary and ternary weights may be fixed, one per output
channel, and are saved with the model.

Importing this module registers the classes with Keras, so that saved models load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import qkeras
from keras import ops
from qkeras.utils import _add_supported_quantized_objects

from toolkit.precision import Overflow, Precision, Rounding

PACKAGE = "toolkit"

# What QKeras allows as a scale: one number, or numbers that broadcast against the kernel.
Scale = float | Sequence[Any] | np.ndarray[Any, Any] | None


@keras.saving.register_keras_serializable(PACKAGE, "quantized_bits")
class quantized_bits(qkeras.quantized_bits):  # type: ignore[misc]  # noqa: N801 - hls4ml goes by QKeras' class names
    """Signed (or, without ``keep_negative``, unsigned) fixed point, rounded to nearest even, saturating.

    ``alpha`` is 1 or ``"auto_po2"`` with a fixed ``post_training_scale`` (powers of two, which
    broadcast against the kernel); the value is then ``scale * z / 2**(bits - 1)`` with an integer
    ``|z| < 2**(bits - 1)``. The gradient is 1 everywhere. Other settings behave as in QKeras.
    """

    def __call__(self, x: Any) -> Any:
        if self.bits - self.keep_negative < 1 or self.use_stochastic_rounding or self.qnoise_factor != 1.0:
            return super().__call__(x)
        if isinstance(self.alpha, str):
            if self.post_training_scale is None:
                return super().__call__(x)
            return pass_through(x, self.scaled)
        if self.alpha is not None and self.alpha != 1:
            return super().__call__(x)
        self.scale = 1.0
        return pass_through(x, self.fixed)

    def fixed(self, x: Any) -> Any:
        """``x`` on the grid, without a gradient."""
        magnitude_bits = self.bits - bool(self.keep_negative)
        scale = 2.0 ** (magnitude_bits - self.integer)
        low = (-(2.0**magnitude_bits) + bool(self.symmetric)) if self.keep_negative else 0.0
        return ops.clip(ops.round(x * scale), low, 2.0**magnitude_bits - 1) * (1 / scale)

    def scaled(self, x: Any) -> Any:
        """``x`` on the grid of its channel's scale, without a gradient; ties round away from zero, as in QKeras."""
        step = np.asarray(self.post_training_scale, np.float32) / np.float32(2.0 ** (self.bits - 1))
        largest = 2.0 ** (self.bits - 1) - 1
        count = ops.minimum(ops.floor(ops.abs(x) * (1 / step) + 0.5), largest)
        return ops.sign(x) * count * step

    def max(self) -> float:
        """Upper bound for initial weights."""
        if isinstance(self.alpha, str) or self.bits - self.keep_negative < 1:
            return float(super().max())
        return float(2.0**self.integer)

    def min(self) -> float:
        """Lower bound for initial weights."""
        return -self.max() if self.keep_negative else 0.0

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "post_training_scale": None}
        if self.post_training_scale is not None:
            config["post_training_scale"] = np.asarray(self.post_training_scale).tolist()
        return config


@keras.saving.register_keras_serializable(PACKAGE, "quantized_relu")
class quantized_relu(qkeras.quantized_relu):  # type: ignore[misc]  # noqa: N801 - hls4ml goes by QKeras' class names
    """Unsigned fixed point ``0 ... 2**integer - lsb``, rounded to nearest even, saturating.

    The gradient is 1 between 0 and the largest value, else 0, as in QKeras.
    """

    def __call__(self, x: Any) -> Any:
        plain = not (self.use_sigmoid or self.negative_slope or self.use_stochastic_rounding)
        if not plain or self.relu_upper_bound is not None or self.qnoise_factor != 1.0:
            return super().__call__(x)
        largest = 2.0**self.integer - 2.0 ** (self.integer - self.bits)
        return pass_through(x, self.fixed, between=(0.0, largest))

    def fixed(self, x: Any) -> Any:
        """``x`` on the grid, without a gradient."""
        scale = 2.0 ** (self.bits - self.integer)
        return ops.clip(ops.round(x * scale), 0.0, 2.0**self.bits - 1) * (1 / scale)


@keras.saving.register_keras_serializable(PACKAGE, "binary")
class binary(qkeras.binary):  # type: ignore[misc]  # noqa: N801 - hls4ml goes by QKeras' class names
    """``-alpha`` or ``alpha``: the sign of ``x`` (of 0: plus) times a fixed scale, a number or one per channel.

    The gradient is 1 everywhere.
    """

    def __init__(self, alpha: Scale = None, **options: Any) -> None:
        super().__init__(alpha=as_scale(alpha), **options)

    def __call__(self, x: Any) -> Any:
        if self.alpha is None or isinstance(self.alpha, str) or self.use_01 or self.use_stochastic_rounding:
            return super().__call__(x)
        self.scale = self.alpha
        return pass_through(x, lambda x: ops.where(x >= 0, self.alpha, -self.alpha))

    def max(self) -> float:
        """Upper bound for initial weights."""
        return largest_scale(self.alpha)

    def min(self) -> float:
        """Lower bound for initial weights."""
        return 0.0 if self.use_01 else -self.max()

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": as_json(self.alpha)}


@keras.saving.register_keras_serializable(PACKAGE, "ternary")
class ternary(qkeras.ternary):  # type: ignore[misc]  # noqa: N801 - hls4ml goes by QKeras' class names
    """``-alpha``, 0 or ``alpha``: 0 where ``|x| < threshold``, else the sign of ``x`` times a fixed scale.

    ``alpha`` and ``threshold`` are numbers or one per channel. The gradient is 1 everywhere.
    """

    def __init__(self, alpha: Scale = None, threshold: Scale = None, **options: Any) -> None:
        super().__init__(alpha=as_scale(alpha), threshold=as_scale(threshold), **options)

    def __call__(self, x: Any) -> Any:
        if self.alpha is None or isinstance(self.alpha, str) or self.threshold is None:
            return super().__call__(x)
        self.scale = self.alpha
        return pass_through(x, lambda x: ops.sign(x) * ops.cast(ops.abs(x) >= self.threshold, "float32") * self.alpha)

    def max(self) -> float:
        """Upper bound for initial weights."""
        return largest_scale(self.alpha)

    def min(self) -> float:
        """Lower bound for initial weights."""
        return -self.max()

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": as_json(self.alpha), "threshold": as_json(self.threshold)}


def as_scale(value: Scale) -> Any:
    """A scale as QKeras holds it: ``None``, a word, a number, or a float32 array."""
    if value is None or isinstance(value, str | int | float):
        return value
    return np.asarray(value, np.float32)


def largest_scale(scale: Any) -> float:
    """What QKeras takes as the range of binary and ternary weights: the largest scale, at least 1."""
    return 1.0 if scale is None or isinstance(scale, str) else max(1.0, float(np.max(scale)))


def as_json(value: Any) -> Any:
    """Inverse of :func:`as_scale`, as JSON types."""
    return value.tolist() if isinstance(value, np.ndarray) else value


def pass_through(x: Any, quantize: Any, between: tuple[float, float] | None = None) -> Any:
    """``quantize(x)`` exactly, with the gradient of the identity (only for ``x`` inside ``between``, if given)."""

    def apply(x: Any) -> Any:
        def gradient(*arguments: Any, upstream: Any = None) -> Any:
            passed = arguments[0] if upstream is None else upstream
            if between is None:
                return passed
            inside = ops.logical_and(x > between[0], x <= between[1])
            return passed * ops.cast(inside, passed.dtype)

        return quantize(x), gradient

    return ops.custom_gradient(apply)(ops.cast(ops.convert_to_tensor(x), "float32"))


@keras.saving.register_keras_serializable(PACKAGE, "QAffine")
class QAffine(keras.layers.Layer):  # type: ignore[misc]
    """``kernel_quantizer(kernel) * x + bias_quantizer(bias)``, both per channel (the last axis).

    Stands for a batch normalization that cannot be folded into a neighbour; QKeras' own
    ``QBatchNormalization`` quantizes mean and variance separately and is not exact.
    """

    def __init__(self, kernel_quantizer: Any = None, bias_quantizer: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.kernel_quantizer = self.kernel_quantizer_internal = qkeras.get_quantizer(kernel_quantizer)
        self.bias_quantizer = self.bias_quantizer_internal = qkeras.get_quantizer(bias_quantizer)
        self.use_bias = True

    def build(self, input_shape: Sequence[int]) -> None:
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1],), initializer="ones")
        self.bias = self.add_weight(name="bias", shape=(input_shape[-1],), initializer="zeros")

    def call(self, inputs: Any) -> Any:
        kernel = self.kernel_quantizer(self.kernel) if self.kernel_quantizer else self.kernel
        bias = self.bias_quantizer(self.bias) if self.bias_quantizer else self.bias
        return inputs * kernel + bias

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        quantizers = {
            "kernel_quantizer": serialize(self.kernel_quantizer),
            "bias_quantizer": serialize(self.bias_quantizer),
        }
        return {**super().get_config(), **quantizers}

    def get_quantizers(self) -> list[Any]:
        """Kernel and bias quantizer, as QKeras' layers give them."""
        return [self.kernel_quantizer, self.bias_quantizer]


def precision_of(quantizer: Any) -> Precision | None:
    """The fixed-point type of a ``quantized_bits`` with ``alpha=1`` or a ``quantized_relu``; else ``None``.

    Rounding is to nearest even and overflow saturates, as both classes do.
    """
    kind = type(quantizer).__name__
    modes: Mapping[str, Any] = {"rounding": Rounding.RND_CONV, "overflow": Overflow.SAT}
    if kind == "quantized_relu" and not (quantizer.negative_slope or quantizer.use_sigmoid):
        return Precision(quantizer.bits, quantizer.integer, signed=False, **modes)
    if kind == "quantized_bits" and quantizer.alpha in (None, 1):
        signed = bool(quantizer.keep_negative)
        return Precision(quantizer.bits, quantizer.integer + signed, signed=signed, **modes)
    return None


def is_quantized(model: Any) -> bool:
    """Whether any layer of a Keras model, those of nested models included, is a quantized one."""
    return any(
        is_quantized(layer) if hasattr(layer, "layers") else is_quantized_layer(type(layer)) for layer in model.layers
    )


def is_quantized_layer(kind: type) -> bool:
    """Whether a layer class is QKeras' or the one it lacks."""
    return kind.__module__.startswith("qkeras") or issubclass(kind, QAffine)


def custom_objects() -> dict[str, Any]:
    """QKeras' objects by name, for legacy files that name them without a package; unlisted names stay Keras'."""
    objects: dict[str, Any] = {}
    _add_supported_quantized_objects(objects)
    return objects
