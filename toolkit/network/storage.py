"""A network as JSON and NPZ: :func:`save` and :func:`load`, written from the fields of the layers' classes.

A new kind of layer needs nothing here: its fields are of the types that :func:`pack` and :func:`unpack` know.
"""

from __future__ import annotations

import io
import types
import zipfile
from collections.abc import Hashable, Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from toolkit.errors import StoreError, ToolkitError
from toolkit.network.graph import Graph
from toolkit.network.layers import KINDS
from toolkit.network.values import Array, Tensor, Weight
from toolkit.precision import Precision
from toolkit.store import read_json, write_bytes, write_json

NETWORK_FILE = "network.json"
ARRAYS_FILE = "network.npz"
SCHEMA = 1

CLASSES = {kind.kind: kind for kind in KINDS}


def save(graph: Graph, folder: Path) -> None:
    """Write ``network.json`` and ``network.npz``; the same network gives the same bytes."""
    content, arrays = to_json(graph)
    write_json(folder / NETWORK_FILE, content)
    write_bytes(folder / ARRAYS_FILE, npz_bytes(arrays))


def load(folder: Path) -> Graph:
    """Read what :func:`save` wrote; raises ``StoreError`` where a file is missing, malformed or of another digest."""
    content = read_json(folder / NETWORK_FILE)
    try:
        with np.load(folder / ARRAYS_FILE, allow_pickle=False) as arrays:
            return from_json(content, {name: arrays[name] for name in arrays.files})
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise StoreError(f"{folder / ARRAYS_FILE} cannot be read: {error}") from error


def to_json(graph: Graph) -> tuple[dict[str, Any], dict[str, Array]]:
    """A network as JSON types, and the integers of its weights by ``layer/field``."""
    weights = ((layer.name, name, weight) for layer in graph.layers for name, weight in layer.weights.items())
    arrays = {f"{layer}/{name}": weight.integers for layer, name, weight in weights}
    content = {
        "schema": SCHEMA,
        "digest": graph.digest,
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
        "tensors": [fields_of(tensor) for tensor in graph.tensors.values()],
        "layers": [{"kind": layer.kind, **fields_of(layer)} for layer in graph.layers],
    }
    return content, arrays


def from_json(content: Mapping[str, Any], arrays: Mapping[str, Array]) -> Graph:
    """Inverse of :func:`to_json`; raises ``StoreError``."""
    try:
        if content["schema"] != SCHEMA:
            raise StoreError(f"a stored network must have schema {SCHEMA}, got {content['schema']}; write it again")
        tensors = {item["name"]: made(Tensor, item, {}, {}, "") for item in content["tensors"]}
        layers = tuple(made(CLASSES[item["kind"]], item, tensors, arrays, item["name"]) for item in content["layers"])
        graph = Graph(layers, tuple(content["inputs"]), tuple(content["outputs"]))
    except (KeyError, TypeError, ValueError, AttributeError, ToolkitError) as error:
        raise (
            error
            if isinstance(error, StoreError)
            else StoreError(f"this is no stored network: {type(error).__name__}: {error}")
        ) from error
    if graph.digest != content["digest"]:
        raise StoreError(f"the network has digest {graph.digest}, its file says {content['digest']}; write it again")
    return graph


def fields_of(value: Any) -> dict[str, Any]:
    """The fields of a dataclass that differ from their defaults, packed."""
    return {
        item.name: pack(getattr(value, item.name))
        for item in fields(value)
        if getattr(value, item.name) != item.default
    }


def pack(value: Any) -> Any:
    """A field as JSON types: a tensor by its name, a weight by its type (its integers go to the NPZ file)."""
    match value:
        case Tensor():
            return value.name
        case Weight():
            return str(value.precision)
        case Precision() | StrEnum():
            return str(value)
        case tuple():
            return [pack(item) for item in value]
        case _ if is_dataclass(value):
            return fields_of(value)
    return value


def made(
    kind: type[Any], item: Mapping[str, Any], tensors: Mapping[str, Tensor], arrays: Mapping[str, Array], layer: str
) -> Any:
    """A dataclass from its packed fields."""
    described: Any = kind
    hints = hints_of(described)
    given = {name: value for name, value in item.items() if name in hints}
    return kind(
        **{
            name: Weight(arrays[f"{layer}/{name}"].astype(np.int64), Precision.parse(value))
            if Weight in (hints[name], *get_args(hints[name])) and value is not None
            else unpack(hints[name], value, tensors)
            for name, value in given.items()
        }
    )


@lru_cache(maxsize=128)
def hints_of(kind: Hashable) -> dict[str, Any]:
    """Types of a dataclass's fields."""
    found: Any = kind
    hints = get_type_hints(found)
    return {item.name: hints[item.name] for item in fields(found)}


def unpack(hint: Any, value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Inverse of :func:`pack` for a field of a given type."""
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(part for part in get_args(hint) if part is not type(None))
        return None if value is None else unpack(hint, value, tensors)
    if get_origin(hint) is tuple:
        return tuple(unpack(get_args(hint)[0], item, tensors) for item in value)
    if hint is Tensor:
        return tensors[value]
    if hint is Precision:
        return Precision.parse(value)
    if is_dataclass(hint):
        return made(hint, value, tensors, {}, "")  # type: ignore[arg-type]
    return float(value) if hint is float else hint(value)


def npz_bytes(arrays: Mapping[str, Array]) -> bytes:
    """An uncompressed NPZ archive with the oldest date ZIP knows on every entry: equal arrays give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, values in sorted(arrays.items()):
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as entry:
                np.lib.format.write_array(entry, np.ascontiguousarray(values), allow_pickle=False)
    return buffer.getvalue()
