"""LiteRT (TensorFlow Lite) as an engine: the usual runtime of embedded processors, float32 and int8."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.baselines.engines import Request, Runner, engine, measured
from toolkit.baselines.timing import allowed_cpus
from toolkit.baselines.workload import count_macs
from toolkit.data import Dataset
from toolkit.errors import ModelError
from toolkit.records import Array, BaselineRecord, Figure
from toolkit.store import artifact, digest, float_arithmetic, package_versions

if TYPE_CHECKING:
    import keras

CALIBRATION_COUNT = 256


@engine("litert", precisions=("float32", "int8"), providers=("cpu",))
def measure_litert(model: keras.Model, dataset: Dataset, request: Request) -> BaselineRecord:
    """LiteRT (TensorFlow Lite) with XNNPACK; int8 calibrated on training images, as on an embedded CPU."""
    content = flatbuffer(model, dataset, request.precision)
    return measured("litert", litert_runner(content, model, request), dataset, request)


def flatbuffer(model: keras.Model, dataset: Dataset, precision: str) -> bytes:
    """The converted model; cached by weights, architecture and precision."""
    calibration = [dataset.digest, float_arithmetic()] if precision == "int8" else None
    key = digest(model.to_json(), model.get_weights(), precision, calibration, package_versions())
    with artifact("litert", key) as folder:
        if not folder.complete:
            (folder / "model.tflite").write_bytes(convert(model, dataset, precision))
    return (folder / "model.tflite").read_bytes()


def convert(model: keras.Model, dataset: Dataset, precision: str) -> bytes:
    """TensorFlow's converter; int8 has int8 inputs and outputs too. Raises ``ModelError`` with its words."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if precision == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: calibration(dataset)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
    with silenced():
        try:
            return bytes(converter.convert())
        except (ValueError, RuntimeError, tf.errors.OpError) as error:
            raise ModelError(f"LiteRT cannot convert {model.name}: {error}") from error


def calibration(dataset: Dataset) -> Iterator[list[Array]]:
    """Training images, one at a time, as the converter reads them."""
    for image in dataset.inputs("train", CALIBRATION_COUNT):
        yield [image[None]]


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keep the converter's warnings and MLIR's lines, written by C++ to the file descriptors, off the terminal."""
    kept = [os.dup(stream) for stream in (1, 2)]
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for stream in (1, 2):
                os.dup2(null, stream)
            yield
    finally:
        for stream, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, stream)
            os.close(copy)
        os.close(null)


def litert_runner(content: bytes, model: keras.Model, request: Request) -> Runner:
    """An interpreter that takes float images and gives float logits, quantizing both as an application must."""
    threads = request.threads or allowed_cpus()
    interpreter = open_interpreter(content, threads)
    entry, leave = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    ready = {"batch": 0}

    def run(images: Array) -> Array:
        if len(images) != ready["batch"]:
            interpreter.resize_tensor_input(entry["index"], images.shape)
            interpreter.allocate_tensors()
            ready["batch"] = len(images)
        interpreter.set_tensor(entry["index"], quantized(images, entry))
        interpreter.invoke()
        return dequantized(interpreter.get_tensor(leave["index"]), leave)

    width = Figure(8 if request.precision == "int8" else 32, "bits", "counted")
    parameters = int(sum(np.prod(weight.shape) for weight in model.trainable_weights))
    return Runner(
        run,
        "cpu",
        environment={"litert_threads": str(threads)},
        figures={
            "parameters": Figure(parameters, "parameters", "counted", note="trainable"),
            "macs": Figure(count_macs(model), "MAC", "counted", note="per image"),
            "weight_bytes": Figure(len(content), "bytes", "counted", note="the whole flatbuffer"),
            "weight_bits": width,
            "activation_bits": width,
        },
        notes=("time includes quantizing the input and the logits",) if request.precision == "int8" else (),
    )


def open_interpreter(content: bytes, threads: int) -> Any:
    """TensorFlow 2.21 still carries the interpreter; it only warns that it will move to ai-edge-litert."""
    import tensorflow as tf

    with silenced():
        interpreter = tf.lite.Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
    return interpreter


def quantized(images: Array, details: dict[str, Any]) -> Array:
    """Float images in the tensor's type: ``round(x / scale) + zero_point``, clipped."""
    if details["dtype"] == np.float32:
        return images
    scale, zero_point = details["quantization"]
    limits = np.iinfo(details["dtype"])
    stored: Array = np.clip(np.rint(images / scale) + zero_point, limits.min, limits.max).astype(details["dtype"])
    return stored


def dequantized(logits: Array, details: dict[str, Any]) -> Array:
    """Logits as float32."""
    if details["dtype"] == np.float32:
        return logits
    scale, zero_point = details["quantization"]
    real: Array = ((logits.astype(np.float32) - zero_point) * scale).astype(np.float32)
    return real
