"""hls4ml's optimized graph as plain records, readable without hls4ml or TensorFlow.

``read_graph`` copies everything that decides csim's bits out of an hls4ml ``ModelGraph``;
``save_graph`` and ``load_graph`` keep it inside a written project as JSON and NPZ.

This is hls4ml's own account, in its words; :func:`toolkit.hls.network.network_of` makes the typed network of it
that everything but this package's front ends and C++ reads. Its conventions:

- A layer's ``kind`` is hls4ml's class name (``Input``, ``Dense``, ``Conv1D``, ``Conv2D``,
  ``DepthwiseConv2D``, ``PointwiseConv2D``, ``Activation``, ``Pooling2D``, ``GlobalPooling2D``,
  ``Merge``, ``Concatenate``, ``Reshape``, ``ZeroPadding2D``, ``Resize``, ``Clone``, ``Repack``, ...).
- Weights are in Keras' layout (``[n_in, n_out]``, ``[height, width, channels, filters]``) whatever
  transposition hls4ml stores them in, with the values the C++ holds: already quantized to their type.
- ``attributes["weight_nzeros"]`` is the zero count hls4ml writes to ``parameters.h``.
- ``attributes["product"]`` is hls4ml's product class (``mult``, ``weight_binary``, ...) and
  ``attributes["type_names"]`` the C++ names of the types.
- ``attributes["cpp_variables"]`` maps each output tensor to its C++ ``name``, ``type`` and ``size``.
- A type is spelled as :class:`toolkit.precision.Precision` prints it.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from toolkit.errors import ConfigError, HlsError, StoreError, nearest
from toolkit.precision import Precision
from toolkit.records import Array, Graph, Layer, Tensor, Weight
from toolkit.store import digest, read_json, write_bytes, write_json

GRAPH_FILE = "graph.json"
WEIGHTS_FILE = "weights.npz"
GRAPH_SCHEMA = 1

# Attributes that are code, bookkeeping of hls4ml, or data kept elsewhere in the records.
# Keras tensor names count up over a session, so they must not reach a digest.
SKIPPED_ATTRIBUTES = frozenset(
    {
        "class_name",
        "module",
        "inputs",
        "outputs",
        "name",
        "trusted",
        "include_header",
        "input_keras_tensor_names",
        "output_keras_tensor_names",
        "_weights_transposed",
        "chosen_strategy",
        "chosen_reuse_factor",
        "input_type",
        "n_slice",
    }
)


def read_graph(model_graph: Any) -> Graph:
    """Copy an optimized hls4ml ``ModelGraph`` into records.

    Raises ``HlsError`` for an element type that is not fixed point.
    """
    layers = tuple(read_layer(node) for node in model_graph.get_layers())
    tensors = {tensor.name: tensor for node in model_graph.get_layers() for tensor in read_tensors(node)}
    inputs, outputs = tuple(model_graph.inputs), tuple(model_graph.outputs)
    return Graph(layers, tensors, inputs, outputs, graph_digest(layers, tensors, inputs, outputs))


def graph_digest(
    layers: tuple[Layer, ...], tensors: Mapping[str, Tensor], inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> str:
    """Digest over every layer, type, attribute, weight and tensor."""
    return digest(GRAPH_SCHEMA, layers, tensors, inputs, outputs)


def read_layer(node: Any) -> Layer:
    """One hls4ml node as a record."""
    weights = {name: read_weight(node, name, variable) for name, variable in node.weights.items()}
    attributes = {name: jsonable(value) for name, value in node.attributes.items() if is_plain(name, value)}
    attributes |= {f"{name}_nzeros": int(variable.nzeros) for name, variable in node.weights.items()}
    attributes["cpp_variables"] = {name: cpp_variable(variable) for name, variable in node.variables.items()}
    attributes["type_names"] = {name: type_.name for name, type_ in node.types.items()}
    attributes |= product_class(node)
    return Layer(
        name=node.name,
        kind=node.class_name,
        inputs=() if node.class_name in ("Input", "Constant") else tuple(node.inputs),
        outputs=tuple(node.outputs),
        shape=tuple(int(size) for size in node.get_output_variable().shape),
        types={name: spell(type_.precision, node.name, name) for name, type_ in node.types.items()},
        attributes=attributes,
        weights=weights,
    )


def product_class(node: Any) -> dict[str, str]:
    """``{"product": ...}``: hls4ml's product for the layer's weights; ``ap_uint<1>`` means -1 or +1 in some."""
    weight = next((node.weights[name] for name in ("weight", "scale") if name in node.weights), None)
    if weight is None or not node.inputs:
        return {}
    data = node.get_input_variable().type.precision
    return {"product": str(node.model.config.backend.product_type(data, weight.type.precision))}


def read_tensors(node: Any) -> list[Tensor]:
    return [
        Tensor(
            name=name,
            shape=tuple(int(size) for size in variable.shape),
            precision=spell(variable.type.precision, node.name, name),
            fifo_depth=fifo_depth(variable),
        )
        for name, variable in node.variables.items()
    ]


def read_weight(node: Any, name: str, variable: Any) -> Weight:
    """A weight in Keras' layout, quantized to the type that stores it."""
    precision = Precision.parse(spell(variable.type.precision, node.name, name))
    values = as_written(variable, precision)
    if name == "weight" and node.get_attr("_weights_transposed"):
        values = keras_layout(values)
    return Weight(variable.name, precision.quantize(values), str(precision))


def as_written(variable: Any, precision: Precision) -> Array:
    """Weight values after hls4ml printed them for the C++ to read, which rounds what is not on the type's grid."""
    values = np.asarray(variable.data, np.float64)
    off = values != precision.quantize(values)
    written = values.copy()
    written[off] = [float(variable.precision_fmt.format(value)) for value in values[off]]
    return written


def keras_layout(values: Array) -> Array:
    """Undo the transposition of hls4ml's ``apply_resource_strategy``, which puts the outputs first."""
    return np.moveaxis(values, 0, -1)


def check_fifo_names(asked: Iterable[str], known: Collection[str]) -> None:
    """Raise ``ConfigError`` with the nearest name for a FIFO that does not exist."""
    for name in asked:
        if name not in known:
            choices = f"{nearest(name, known)}; FIFOs are {', '.join(known)}" if known else "; io_parallel has none"
            raise ConfigError(f'hls.fifo_depths: no FIFO is named "{name}"{choices}')


def fifo_depth(variable: Any) -> int:
    """Depth of the stream that carries a variable; 0 when it is an array."""
    pragma = getattr(variable, "pragma", None)
    return int(pragma[1]) if isinstance(pragma, tuple) and pragma[0] == "stream" else 0


def cpp_variable(variable: Any) -> dict[str, Any]:
    return {"name": variable.name, "type": variable.type.name, "size": math.prod(int(n) for n in variable.shape)}


def spell(precision: Any, layer: str, name: str) -> str:
    """An hls4ml precision as :class:`Precision` prints it; raises ``HlsError`` when it is not fixed point."""
    text = re.sub(r"AP_", "", str(precision))
    try:
        return str(Precision.parse(text))
    except ConfigError as error:
        raise HlsError(f"layer {layer!r}: type of {name} must be a fixed-point type, got {text}") from error


def is_plain(name: str, value: Any) -> bool:
    """Whether an attribute is a number, text or a nest of them, and not kept elsewhere."""
    return name not in SKIPPED_ATTRIBUTES and not name.endswith(("_data", "_cpp")) and jsonable(value) is not None


def jsonable(value: Any) -> Any:
    """The value as JSON types, or ``None`` when it is something else (code, arrays, objects)."""
    match value:
        case bool() | str() | int():
            return value
        case float():
            return value if math.isfinite(value) else None
        case np.integer() | np.floating() | np.bool_():
            return jsonable(value.item())
        case list() | tuple():
            items = [jsonable(item) for item in value]
            return None if any(item is None for item in items) else items
        case _:
            return None


def save_graph(graph: Graph, folder: Path) -> None:
    """Write ``graph.json`` and ``weights.npz``; the same graph gives the same bytes."""
    write_json(folder / GRAPH_FILE, {"schema": GRAPH_SCHEMA, **graph_json(graph)})
    arrays = {f"{layer.name}/{name}": weight.values for layer in graph.layers for name, weight in layer.weights.items()}
    write_bytes(folder / WEIGHTS_FILE, npz_bytes(arrays))


def npz_bytes(arrays: Mapping[str, Array]) -> bytes:
    """An uncompressed NPZ archive with the oldest date ZIP knows on every entry: equal arrays give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, values in sorted(arrays.items()):
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as entry:
                np.lib.format.write_array(entry, np.ascontiguousarray(values), allow_pickle=False)
    return buffer.getvalue()


def graph_json(graph: Graph) -> dict[str, Any]:
    return {
        "digest": graph.digest,
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
        "layers": [layer_json(layer) for layer in graph.layers],
        "tensors": [vars(tensor) | {"shape": list(tensor.shape)} for tensor in graph.tensors.values()],
    }


def layer_json(layer: Layer) -> dict[str, Any]:
    weights = {key: {"name": weight.name, "precision": weight.precision} for key, weight in layer.weights.items()}
    return {
        "name": layer.name,
        "kind": layer.kind,
        "inputs": list(layer.inputs),
        "outputs": list(layer.outputs),
        "shape": list(layer.shape),
        "types": dict(layer.types),
        "attributes": dict(layer.attributes),
        "weights": weights,
    }


def load_graph(folder: Path) -> Graph:
    """Read what :func:`save_graph` wrote.

    Raises ``StoreError`` when a file is missing or malformed, or the digest does not match the content.
    """
    content = read_json(folder / GRAPH_FILE)
    try:
        if content["schema"] != GRAPH_SCHEMA:
            raise StoreError(f"{folder / GRAPH_FILE} has schema {content['schema']}, this toolkit reads {GRAPH_SCHEMA}")
        with np.load(folder / WEIGHTS_FILE, allow_pickle=False) as arrays:
            layers = tuple(layer_from_json(fields, arrays) for fields in content["layers"])
        tensors = {fields["name"]: tensor_from_json(fields) for fields in content["tensors"]}
        inputs, outputs = tuple(content["inputs"]), tuple(content["outputs"])
    except (KeyError, TypeError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise StoreError(f"{folder} does not hold a graph that can be read: {error}") from error
    found = graph_digest(layers, tensors, inputs, outputs)
    if found != content["digest"]:
        raise StoreError(f"{folder}: graph has digest {found}, its file says {content['digest']}; write it again")
    return Graph(layers, tensors, inputs, outputs, found)


def layer_from_json(fields: Mapping[str, Any], arrays: Mapping[str, Array]) -> Layer:
    weights = {
        key: Weight(weight["name"], arrays[f"{fields['name']}/{key}"], weight["precision"])
        for key, weight in fields["weights"].items()
    }
    return Layer(
        name=fields["name"],
        kind=fields["kind"],
        inputs=tuple(fields["inputs"]),
        outputs=tuple(fields["outputs"]),
        shape=tuple(fields["shape"]),
        types=cast(Mapping[str, str], fields["types"]),
        attributes=fields["attributes"],
        weights=weights,
    )


def tensor_from_json(fields: Mapping[str, Any]) -> Tensor:
    return Tensor(fields["name"], tuple(fields["shape"]), fields["precision"], fields["fifo_depth"])
