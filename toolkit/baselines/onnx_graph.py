"""Keras to ONNX, its precisions, and what ONNX Runtime's optimizer fused in it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.data import Dataset
from toolkit.errors import ModelError
from toolkit.quiet import silenced
from toolkit.records import Array
from toolkit.store import artifact, digest, float_arithmetic, package_versions

if TYPE_CHECKING:
    import keras
    import onnx

CALIBRATION_COUNT = 256
CALIBRATION_BATCH = 32


def onnx_model(model: keras.Model, dataset: Dataset, precision: str) -> Path:
    """The model as ONNX in ``float32``, ``float16`` or ``int8``; cached by weights, architecture and precision."""
    calibration = [dataset.digest, float_arithmetic()] if precision == "int8" else None
    key = digest(model.to_json(), model.get_weights(), precision, calibration, package_versions())
    with artifact("onnx", key) as folder:
        if not folder.complete:
            export(model, folder / "float32.onnx")
            if precision != "float32":
                # Batch norm left beside its convolution would be rounded apart from it.
                save_optimized(folder / "float32.onnx", folder / "folded.onnx", "BASIC")
            if precision == "float16":
                to_float16(folder / "folded.onnx", folder / "float16.onnx")
            elif precision == "int8":
                to_int8(folder / "folded.onnx", folder / "int8.onnx", dataset)
    return folder / f"{precision}.onnx"


def export(model: keras.Model, path: Path) -> None:
    """Export through Keras and tf2onnx, then give every Reshape a constant shape; raises ``ModelError``."""
    import onnx

    model(np.zeros((1, *model.input_shape[1:]), np.float32))  # Keras exports a model only once it was called
    with silenced():
        try:
            model.export(str(path), format="onnx", verbose=False)
        except (ValueError, TypeError, RuntimeError, NotImplementedError) as error:
            raise ModelError(f"Keras cannot export {model.name} to ONNX: {error}") from error
    onnx.save(constant_reshapes(onnx.load(path)), path)


def constant_reshapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace computed Reshape targets (Flatten with a free batch axis) by ``[-1, ...]``.

    Otherwise the shape arithmetic stays in the graph and runs on the host, which GPU providers refuse.
    """
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    values = [*inferred.graph.value_info, *inferred.graph.output]
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values}
    constants = {item.name for item in model.graph.initializer}
    for node in model.graph.node:
        shape = shapes.get(node.output[0], [])
        if node.op_type == "Reshape" and node.input[1] not in constants and len(shape) > 1 and all(shape[1:]):
            name = f"{node.output[0]}/shape"
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, *shape[1:]], np.int64), name))
            node.input[1] = name
    drop_unused(model)
    return model


def drop_unused(model: onnx.ModelProto) -> None:
    """Remove nodes whose outputs nobody reads."""
    graph = model.graph
    while True:
        read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
        unused = [node for node in graph.node if not read.intersection(node.output)]
        if not unused:
            return
        for node in unused:
            graph.node.remove(node)


def to_float16(source: Path, target: Path) -> None:
    """Convert weights and arithmetic to float16; inputs and outputs stay float32."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with silenced():
        onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), target)


def to_int8(source: Path, target: Path, dataset: Dataset) -> None:
    """Static QDQ quantization calibrated on training images, symmetric int8 as TensorRT requires it."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    with silenced():
        quantize_static(
            str(source),
            str(target),
            calibration_reader(source, dataset),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True},
        )


def calibration_reader(source: Path, dataset: Dataset) -> Any:
    """Training images as ONNX Runtime's calibrator reads them."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader

    name = onnx.load(source).graph.input[0].name
    images = dataset.inputs("train", CALIBRATION_COUNT)
    batches: list[Array] = [images[at : at + CALIBRATION_BATCH] for at in range(0, len(images), CALIBRATION_BATCH)]

    class TrainingImages(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(batches)

        def get_next(self) -> dict[str, Array] | None:
            batch = next(self.left, None)
            return None if batch is None else {name: batch}

    return TrainingImages()


def save_optimized(source: Path, target: Path, level: str) -> None:
    """Write the graph as ONNX Runtime optimizes it: ``BASIC`` folds constants, ``EXTENDED`` also fuses activations."""
    import onnxruntime

    with silenced():
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
        options.optimized_model_filepath = str(target)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


def optimized(path: Path) -> onnx.ModelProto:
    """The graph after constant folding and fusion, before layouts of one processor are chosen."""
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "optimized.onnx"
        save_optimized(path, target, "EXTENDED")
        return onnx.load(target)


def fused(original: onnx.ModelProto, after: onnx.ModelProto) -> tuple[str, ...]:
    """Nodes of the optimized graph that do the work of several original ones: ``conv1: Conv + Relu``.

    Tensors that survive optimization keep their names, so the originals behind a node are those
    between its output and its inputs. Integer and float16 graphs rename them: there the fused
    operators are told by their own kind, such as ``QLinearConv``.
    """
    producer = {output: node for node in original.graph.node for output in node.output}
    found = []
    for node in after.graph.node:
        known = all(name in producer or is_constant(name, after) for name in node.input if name != inputs(original))
        absorbed = behind(node.output[0], set(node.input), producer) if known else []
        if len(absorbed) > 1:
            found.append(f"{short(node.name)}: {' + '.join(absorbed)}")
        elif not absorbed and node.op_type.startswith(("QLinear", "Fused")):
            found.append(f"{short(node.name)}: {node.op_type}{activation(node)}")
    return tuple(found)


def inputs(model: onnx.ModelProto) -> str:
    """Name of the graph's (only) input."""
    return str(model.graph.input[0].name)


def is_constant(name: str, model: onnx.ModelProto) -> bool:
    return any(item.name == name for item in model.graph.initializer)


def activation(node: onnx.NodeProto) -> str:
    """`` + Relu`` where a fused operator carries an activation."""
    return "".join(f" + {item.s.decode()}" for item in node.attribute if item.name == "activation")


def behind(tensor: str, stops: set[str], producer: dict[str, Any]) -> list[str]:
    """Operations that compute ``tensor`` from ``stops`` (and from constants), in execution order."""
    node = producer.get(tensor)
    if tensor in stops or node is None:
        return []
    inner = [name for source in node.input for name in behind(source, stops, producer)]
    return [*inner, node.op_type]


def short(name: str) -> str:
    """``sequential_1/conv1_1/BiasAdd`` -> ``conv1_1``."""
    parts = [part for part in name.split("/") if part]
    return parts[1] if len(parts) > 2 else parts[0] if parts else "node"


def initializer_bytes(model: onnx.ModelProto) -> int:
    """Bytes of all constants of a graph."""
    import onnx

    return sum(int(onnx.numpy_helper.to_array(item).nbytes) for item in model.graph.initializer)
