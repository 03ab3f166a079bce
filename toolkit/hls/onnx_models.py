"""ONNX and QONNX models through hls4ml's ONNX parser; Brevitas and QKeras export QONNX.

The model is prepared as hls4ml's documentation asks (qonnx clean-up, channels last, ``Gemm`` as ``MatMul``), and an
input that a ``Quant`` node reads gets that node's type: hls4ml's default would truncate what it is to round.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.config import HlsConfig, LayerHlsConfig
from toolkit.errors import ConfigError, ModelError, ToolNotFound, UnsupportedLayer, install, nearest
from toolkit.hls import reuse
from toolkit.hls.conversion import Conversion, Reference
from toolkit.hls.graph import read_graph, spell
from toolkit.precision import Precision
from toolkit.records import Array, Graph

SUFFIX = ".onnx"


def is_onnx(model: Any) -> bool:
    """Whether a model is an ``.onnx`` file, an ``onnx.ModelProto`` or qonnx' wrapper of one."""
    if isinstance(model, (str, Path)):
        return Path(model).suffix.lower() == SUFFIX
    return type(model).__module__.split(".")[0] in ("onnx", "qonnx") and hasattr(model, "graph")


def convert_onnx(model: Any, config: HlsConfig, captured: Any) -> Conversion:
    """Convert an ONNX or QONNX model; ``captured`` keeps what hls4ml prints.

    Raises ``ToolNotFound`` without qonnx, ``ModelError`` for a file that is no model, ``ConfigError`` without
    ``hls.precision`` (the type of whatever no ``Quant`` node decides) or for a reuse factor that hls4ml would move.
    """
    if config.precision is None:
        raise ConfigError(
            "hls.precision is needed for an ONNX model: the type of whatever no Quant node decides; "
            'give precision="ap_fixed<16,6>" or another type'
        )
    wrapped = prepared(model)
    log = io.StringIO()
    with captured(log):
        model_graph = built(wrapped, config, {})
        entered = input_types(model_graph)
        if entered:
            model_graph = built(wrapped, config, entered)
        graph = read_graph(model_graph)
    notes = [f"{name}: typed {kind} by the Quant node that reads it" for name, kind in entered.items()]
    notes += moved_reuse_factors(graph, config)
    return Conversion(model_graph, graph, reference(wrapped), log.getvalue(), tuple(notes))


def prepared(model: Any) -> Any:
    """A cleaned copy of the model, channels last, wrapped by qonnx."""
    try:
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
        from qonnx.transformation.gemm_to_matmul import GemmToMatMul
        from qonnx.util.cleanup import cleanup_model
    except ImportError:
        raise ToolNotFound(f"reading an ONNX model needs the Python package qonnx: {install('onnx')}") from None
    wrapped = ModelWrapper(with_defaults(proto_of(model)))
    try:
        wrapped = cleanup_model(cleanup_model(wrapped).transform(GemmToMatMul()))
        if any(node.op_type == "Conv" or "Pool" in node.op_type for node in wrapped.graph.node):
            wrapped = cleanup_model(wrapped.transform(ConvertToChannelsLastAndClean(make_input_channels_last=True)))
    except Exception as error:  # qonnx raises what its transformations raise
        words = " ".join(str(error).split())[:300]
        raise ModelError(f"qonnx cannot prepare the ONNX model for hls4ml: {words}") from error
    return wrapped


def with_defaults(proto: Any) -> Any:
    """A copy in which every window states the attributes that ONNX has defaults for; qonnx reads them all."""
    from onnx import helper

    copied = copy.deepcopy(proto)
    for node in copied.graph.node:
        given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        if "kernel_shape" not in given:
            continue
        axes = len(given["kernel_shape"])
        defaults: dict[str, Any] = {"strides": [1] * axes, "pads": [0] * 2 * axes}
        if node.op_type == "Conv":
            defaults |= {"dilations": [1] * axes, "group": 1}
        node.attribute.extend(helper.make_attribute(k, v) for k, v in defaults.items() if k not in given)
    return copied


def proto_of(model: Any) -> Any:
    """The ``ModelProto`` of a path, a proto or a wrapper."""
    import onnx

    if not isinstance(model, (str, Path)):
        return getattr(model, "model", model)
    if not Path(model).is_file():
        raise ModelError(f"model file {model} does not exist")
    try:
        return onnx.load(str(model))
    except Exception as error:  # protobuf's decoder
        raise ModelError(f"{model} cannot be read as an ONNX model: {' '.join(str(error).split())[:200]}") from error


def built(wrapped: Any, config: HlsConfig, input_precision: Mapping[str, str]) -> Any:
    """hls4ml's optimized graph."""
    from hls4ml.converters import convert_from_onnx_model
    from hls4ml.utils import config_from_onnx_model

    settings = config_from_onnx_model(
        wrapped,
        granularity="name",
        backend=config.backend,
        default_precision=str(Precision.parse(str(config.precision))),
        default_reuse_factor=config.reuse_factor,
    )
    settings["Model"]["Strategy"] = config.strategy
    layers = settings["LayerName"]
    for name, own in config.layers.items():
        if name not in layers:
            raise ConfigError(
                f'hls.layers: "{name}" is not a layer{nearest(name, layers)}; layers are {", ".join(layers)}'
            )
        layers[name] |= own_settings(name, own, layers[name])
    for name, text in input_precision.items():
        if name not in config.layers:
            layers[name]["Precision"]["result"] = text
    return convert_from_onnx_model(
        wrapped,
        hls_config=settings,
        backend=config.backend,
        part=config.part,
        clock_period=config.clock_period_ns,
        io_type=config.io_type,
        output_dir="onnx",
        bit_exact=False,
    )


def own_settings(name: str, own: LayerHlsConfig, known: Mapping[str, Any]) -> dict[str, Any]:
    """One layer's settings by hls4ml's names; raises ``ConfigError`` for one that the layer does not have."""
    asked = {
        "ReuseFactor": own.reuse_factor,
        "Strategy": own.strategy,
        "TableSize": own.table_size,
        "ParallelizationFactor": own.parallelization_factor,
        "Implementation": own.implementation,
    }
    given = {key: value for key, value in asked.items() if value is not None}
    types = dict(known.get("Precision", {}))
    precision = own.precision if isinstance(own.precision, Mapping) else {"result": own.precision}
    for kind, text in precision.items():
        if text is not None and kind not in types:
            raise ConfigError(f'hls.layers.{name}.precision: "{kind}" is not a type of it; choose {", ".join(types)}')
        types |= {kind: str(Precision.parse(text))} if text is not None else {}
    return {**given, "Precision": types}


def input_types(model_graph: Any) -> dict[str, str]:
    """By input, the type of the quantizer that reads it, where one type reads it everywhere."""
    found = {}
    nodes = list(model_graph.get_layers())
    for node in nodes:
        if node.class_name != "Input":
            continue
        readers = [other for other in nodes if set(node.outputs) & set(other.inputs)]
        casts = [other for other in readers if other.get_attr("activation") == "linear"]
        types = {spell(other.get_output_variable().type.precision, other.name, "result") for other in casts}
        if len(types) == 1 and len(casts) == len(readers):
            found[node.name] = types.pop()
    return found


def moved_reuse_factors(graph: Graph, config: HlsConfig) -> list[str]:
    """A note for each reuse factor that hls4ml moved; raises ``ConfigError`` unless moving is allowed."""
    problems, notes = [], []
    for layer in graph.layers:
        if layer.kind not in reuse.MATRIX_KINDS:
            continue
        name = layer.name.removeprefix("Dense_")
        own = config.layers.get(name, LayerHlsConfig())
        strategy, wanted = own.strategy or config.strategy, own.reuse_factor or config.reuse_factor
        size = reuse.matrix_size(layer.kind, layer.attributes)
        taken, problem = reuse.take_reuse_factor(layer.name, layer.kind, size, config.io_type, strategy, wanted)
        built_with = int(layer.attributes["reuse_factor"])
        if problem and (config.invalid_reuse_factor == "error" or built_with != taken):
            problems.append(problem)
        elif problem:
            notes.append(f"{layer.name}: reuse factor {wanted} is not valid for {strategy}, {taken} taken")
    if problems:
        raise ConfigError("\n".join([*problems, 'or set invalid_reuse_factor="nearest" to take the nearest']))
    return notes


def reference(wrapped: Any) -> Reference:
    """The model run by qonnx, which knows ``Quant``; one image after the other, as its batch is one."""
    from qonnx.core.onnx_exec import execute_onnx

    inputs = [item.name for item in wrapped.graph.input]
    outputs = [item.name for item in wrapped.graph.output]
    shapes = [tuple(wrapped.get_tensor_shape(name)) for name in inputs]
    if any(shape[0] != 1 for shape in shapes):
        raise UnsupportedLayer(f"an ONNX model must have a batch of 1, got inputs of {shapes}; export it again")

    def answer(arrays: list[Array]) -> list[Array]:
        rows = [
            execute_onnx(wrapped, {name: array[i : i + 1] for name, array in zip(inputs, arrays, strict=True)})
            for i in range(len(arrays[0]))
        ]
        return [np.concatenate([row[name] for row in rows]) for name in outputs]

    return Reference("qonnx", tuple(shape[1:] for shape in shapes), answer)
