"""Every setting named for a layer is looked up in the graph that came of it.

hls4ml passes over what it does not know: a type with a default of its own, a table's size where it is
moved, a layer that it merged into its neighbour. What is not found again is a finding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from toolkit.config import HlsConfig, LayerHlsConfig, parts_of
from toolkit.errors import nearest
from toolkit.precision import Precision
from toolkit.records import Finding, Graph, Layer

# Attributes of hls4ml's layers that hold a key of ``[hls.layers.<name>]``, first found first looked at.
ATTRIBUTES = {
    "strategy": ("strategy",),
    "reuse_factor": ("reuse_factor",),
    "parallelization_factor": ("parallelization_factor",),
    "table_size": ("exp_table_size", "table_size"),
    "implementation": ("implementation", "conv_implementation"),
}

# Functions that are computed, though hls4ml gives every activation the attributes of a table.
RELUS = ("relu", "relu1", "relu6", "leakyrelu", "leaky_relu", "thresholdedrelu", "prelu")
WITHOUT_TABLE = frozenset(("linear", *RELUS, "hard_sigmoid", "hard_tanh", "binary_tanh", "ternary_tanh"))


def not_taken(config: HlsConfig, graph: Graph) -> Iterator[Finding]:
    """A finding for each setting of ``config.layers`` that the graph does not show."""
    layers = {layer.name: layer for layer in graph.layers}
    for name in config.layers:
        if not layers.keys() & {*parts_of(name)}:
            reason = "no layer of the design has this name (not built, or part of its neighbour), without effect"
            yield Finding("warning", name, "setting-not-taken", reason + nearest(name, layers), "leave it out")
    for name, asked in config.of_layers(layers).items():
        layer = layers[name]
        for key, places in ATTRIBUTES.items():
            wanted = getattr(asked, key)
            built = next((layer.attributes[place] for place in places if place in layer.attributes), None)
            if key == "table_size" and str(layer.attributes.get("activation")).lower() in WITHOUT_TABLE:
                built = None
            if wanted is not None and str(wanted).lower() != str(built).lower():
                yield told(layer, key, wanted, built, moved(layer, key))
        for key, text in types_of(asked).items():
            built_type = type_of(layer, key)
            if built_type is None or Precision.parse(text) != Precision.parse(built_type):
                why = type_moved(layer, key)
                yield told(layer, f"precision.{key}", Precision.parse(text), built_type, why)


def types_of(asked: LayerHlsConfig) -> Mapping[str, str]:
    """The types named one by one; one type for all is for whatever no quantizer decides."""
    return asked.precision if isinstance(asked.precision, Mapping) else {}


def type_of(layer: Layer, key: str) -> str | None:
    """The type a layer was built with, by hls4ml's name without ``_t``."""
    stored = layer.weights.get(key)
    return layer.types.get(f"{key}_t", stored.precision if stored is not None else None)


def told(layer: Layer, key: str, wanted: object, built: object, why: str) -> Finding:
    shown = "a " + layer.kind + " has none" if built is None else f"{built} is built"
    remedy = "leave the key out" if built is None else f"write {built}, or leave the key out"
    return Finding("warning", layer.name, "setting-not-taken", f"{key} = {wanted} was asked for, {shown}{why}", remedy)


def moved(layer: Layer, key: str) -> str:
    """Why hls4ml builds another number."""
    if key == "table_size" and layer.kind == "Softmax":
        return ": its addresses have no more bits"
    return ""


def type_moved(layer: Layer, key: str) -> str:
    """Why hls4ml builds another type."""
    if key == "result":
        return ": the quantizer behind it decides"
    stored = layer.weights.get(key)
    return f": the layer has no {key}" if stored is not None and not stored.values.any() else ""
