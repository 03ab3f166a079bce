"""Which power-of-two range a set of values needs: the one with the least squared quantization error."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import numpy.typing as npt

from toolkit.records import Array

# Values seen at each layer, flattened.
Ranges = Mapping[str, npt.NDArray[np.float32]]

BATCH = 64
SAMPLES_PER_LAYER = 200_000

# How many bits below the range that holds every value are tried; fewer levels than 2 are left beyond that.
NARROWER = 8


def observe(model: keras.Model, images: Sequence[Array], layers: Sequence[str]) -> Ranges:
    """What the named layers of a float model compute for some images: an evenly spaced sample with the extremes.

    ``images`` has one array for each input.
    """
    outputs = [model.get_layer(name).output for name in layers]
    probe = keras.Model(model.inputs, outputs)
    per_batch = max(1, SAMPLES_PER_LAYER * BATCH // max(len(images[0]), BATCH))
    seen: list[list[Array]] = [[] for _ in layers]
    for start in range(0, len(images[0]), BATCH):
        results = probe.predict_on_batch([array[start : start + BATCH] for array in images])
        for kept, result in zip(seen, results if len(layers) > 1 else [results], strict=True):
            kept.append(thin(np.asarray(result, np.float32).ravel(), per_batch))
    return {name: np.concatenate(kept) for name, kept in zip(layers, seen, strict=True)}


def thin(values: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.float32]:
    """At most about ``count`` of the values, the smallest and the largest among them."""
    if values.size <= count:
        return values
    return np.concatenate([values[:: values.size // count + 1], [values.min(), values.max()]])


def covering_integer(values: Array) -> int:
    """Integer bits (without sign) so that ``2**integer`` is at least the largest magnitude; 0 for nothing but zeros."""
    largest = float(np.max(np.abs(values), initial=0.0))
    return int(np.ceil(np.log2(largest))) if largest > 0 else 0


def best_integer(values: Array, bits: int, *, signed: bool) -> int:
    """Integer bits (without sign) of the fixed-point type that holds ``values`` with the least squared error."""
    values = np.asarray(values, np.float64).ravel()
    top = covering_integer(values) + 1
    candidates = range(top, top - NARROWER, -1)
    return least(candidates, lambda integer: squared_error(values, bits, integer, signed))


def least(candidates: Sequence[int], error: Callable[[int], float]) -> int:
    """The candidate with the least error; the first of equals."""
    errors = [error(candidate) for candidate in candidates]
    return candidates[int(np.argmin(errors))]


def squared_error(values: Array, bits: int, integer: int, signed: bool) -> float:
    return float(np.square(on_grid(values, bits, integer, signed) - values).sum())


def on_grid(values: Array, bits: int, integer: int, signed: bool) -> Array:
    """Values as ``quantized_bits(bits, integer)`` or, unsigned, ``quantized_relu`` holds them."""
    magnitude_bits = bits - signed
    lsb = 2.0 ** (integer - magnitude_bits)
    lowest = -(2.0**magnitude_bits) if signed else 0.0
    return np.clip(np.round(values / lsb), lowest, 2.0**magnitude_bits - 1) * lsb


def input_integer(values: Array, bits: int, *, signed: bool) -> int:
    """Integer bits of an input: it is never clipped by more than one least significant bit.

    So pixels in [0, 1] take no integer bit, and 1 itself becomes ``1 - 2**-bits``.
    """
    largest, integer = float(np.max(np.abs(values))), covering_integer(values)
    lsb = 2.0 ** (integer - (bits - signed))
    return integer if largest <= 2.0**integer or largest - (2.0**integer - lsb) <= lsb else integer + 1


def channel_axes(kernel: Array, per_channel: bool) -> tuple[int, ...]:
    """Axes that share a scale: all, or all but the output channels (of a depthwise kernel: the last two)."""
    return tuple(range(kernel.ndim - 1)) if per_channel else tuple(range(kernel.ndim))


def best_exponents(kernel: Array, per_channel: bool, quantize: Callable[[Array, float], Array], top: int) -> Array:
    """Exponent ``e`` for which ``quantize(kernel, 2.0**e)`` has the least squared error, per group of shared scale."""
    axes = channel_axes(kernel, per_channel)
    candidates = list(range(top, top - 2 * NARROWER, -1))
    errors = [np.square(quantize(kernel, 2.0**e) - kernel).sum(axis=axes, keepdims=True) for e in candidates]
    best: Array = np.asarray(candidates, np.float64)[np.argmin(errors, axis=0)]
    return best


def best_steps(kernel: Array, bits: int) -> npt.NDArray[np.float32]:
    """Power-of-two step per output channel for a symmetric kernel of ``bits`` bits, in broadcasting shape."""
    largest = 2.0 ** (bits - 1) - 1

    def quantize(values: Array, step: float) -> Array:
        return np.sign(values) * np.minimum(np.floor(np.abs(values) / step + 0.5), largest) * step

    top = covering_integer(kernel) - bits + 3
    return np.exp2(best_exponents(kernel, True, quantize, top)).astype(np.float32)


def binary_scales(kernel: Array, per_channel: bool) -> float | npt.NDArray[np.float32]:
    """Power of two, one or per output channel, by which signs approximate a kernel best."""
    exponents = best_exponents(kernel, per_channel, lambda w, s: np.where(w >= 0, s, -s), covering_integer(kernel))
    return one_or_many(exponents, per_channel)


def ternary_scales(kernel: Array, per_channel: bool) -> float | npt.NDArray[np.float32]:
    """Power of two, one or per output channel, by which -1, 0 and 1 approximate a kernel best."""

    def quantize(values: Array, scale: float) -> Array:
        return np.sign(values) * (np.abs(values) >= scale / 2) * scale

    return one_or_many(best_exponents(kernel, per_channel, quantize, covering_integer(kernel)), per_channel)


def one_or_many(exponents: Array, per_channel: bool) -> float | npt.NDArray[np.float32]:
    scales = np.exp2(exponents).astype(np.float32)
    return scales if per_channel else float(scales.item())
