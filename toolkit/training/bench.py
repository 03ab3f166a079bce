"""``toolkit bench qat``: what a quantization-aware training step costs against a float one.

QKeras spells a straight-through estimator as ``x + stop_gradient(-x + q)`` and computes each
quantizer in a score of operations, so its step takes about twice a float one. The quantizers of
:mod:`toolkit.zoo.quantizers` return the quantized value itself in four operations under a custom
gradient. The values are the same, which this measurement checks too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import keras
import numpy as np
import qkeras

from toolkit.config import QuantConfig
from toolkit.records import Array, Figure
from toolkit.training.quantize import quantize
from toolkit.training.train import copy_of
from toolkit.zoo import build_model

QUANTIZERS = ("kernel_quantizer_internal", "bias_quantizer_internal", "depthwise_quantizer_internal", "quantizer")


@dataclass(frozen=True)
class QatBench:
    """Milliseconds a step, the fastest of interleaved rounds, and ratios to float; ``same_outputs``: bit for bit."""

    float_step: Figure
    toolkit_step: Figure
    qkeras_step: Figure
    toolkit_ratio: Figure
    qkeras_ratio: Figure
    same_outputs: bool


def bench_qat(
    name: str = "cifar10_cnn",
    *,
    bits: int = 6,
    batch_size: int = 64,
    steps: int = 20,
    rounds: int = 15,
    jit_compile: bool = False,
) -> QatBench:
    """Time training steps of a zoo model in float, quantized here, and with QKeras' own quantizers.

    The three take turns, so that whatever else the machine does meets them alike. Images are random.
    """
    chance = np.random.default_rng(0)
    images = chance.random((batch_size * steps, 32, 32, 3), np.float32)
    labels = chance.integers(0, 10, len(images))
    plain = build_model(name, input_shape=(32, 32, 3), classes=10)
    ours = quantize(plain, QuantConfig(weight_bits=bits, activation_bits=bits), images[:256])
    stock = with_stock_quantizers(ours)
    same = bool(np.array_equal(ours.predict(images[:256], verbose=0), stock.predict(images[:256], verbose=0)))
    models = (plain, ours, stock)
    for model in models:
        prepare(model, images, labels, batch_size, jit_compile)
    times = [[step_seconds(model, images, labels, batch_size) for model in models] for _ in range(rounds)]
    return summary(times, same, f"{name}, {bits} bits, batch {batch_size}, {rounds} rounds of {steps} steps")


def with_stock_quantizers(model: keras.Model) -> keras.Model:
    """A copy of a quantized model with QKeras' own quantizer classes."""
    copied = copy_of(model, "float32")
    for layer in copied.layers:
        for attribute in QUANTIZERS:
            quantizer = getattr(layer, attribute, None)
            if quantizer is not None:
                setattr(layer, attribute, getattr(qkeras, type(quantizer).__name__)(**quantizer.get_config()))
    return copied


def prepare(model: keras.Model, images: Array, labels: Array, batch_size: int, jit_compile: bool) -> None:
    """Compile the step and run it once, outside of what is timed."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(1e-4), loss=loss, jit_compile=jit_compile)
    model.fit(images[: 2 * batch_size], labels[: 2 * batch_size], batch_size=batch_size, verbose=0)


def step_seconds(model: keras.Model, images: Array, labels: Array, batch_size: int) -> float:
    """Seconds a step over all images once."""
    begun = time.perf_counter()
    model.fit(images, labels, batch_size=batch_size, shuffle=False, verbose=0)
    return (time.perf_counter() - begun) / (len(images) // batch_size)


def summary(times: list[list[float]], same: bool, note: str) -> QatBench:
    """The fastest round of each with the range over the rounds; ratios are those of the fastest rounds.

    Whatever else the machine does only adds time, and on two cores it can double a round.
    """
    columns = [[row[index] for row in times] for index in range(3)]

    def step(values: list[float]) -> Figure:
        low, high = 1000 * min(values), 1000 * max(values)
        return Figure(low, "ms", "measured", low, high, f"fastest round; {note}")

    def ratio(values: list[float]) -> Figure:
        ratios = [value / plain for value, plain in zip(values, columns[0], strict=True)]
        best = min(values) / min(columns[0])
        return Figure(best, "", "measured", min(ratios), max(ratios), f"of the fastest rounds; {note}")

    plain, ours, stock = columns
    return QatBench(step(plain), step(ours), step(stock), ratio(ours), ratio(stock), same)
