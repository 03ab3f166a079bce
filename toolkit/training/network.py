"""A Keras model as a value: its layers in order, their settings, weights and inputs.

Rewriting (folding, quantizing) goes from value to value and never touches the model it came from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from toolkit.errors import ModelError, UnsupportedLayer
from toolkit.records import Array


@dataclass(frozen=True, eq=False)
class Node:
    """One layer: ``config`` makes it, ``inputs`` names the nodes it takes, ``shape`` is without the batch axis."""

    name: str
    layer_class: type[keras.Layer]
    config: Mapping[str, Any]
    inputs: tuple[str, ...]
    weights: tuple[Array, ...] = ()
    shape: tuple[int | None, ...] = ()
    origin: str = ""  # name of the layer in the user's model, where that was split into several

    @property
    def kind(self) -> str:
        """Class name, such as ``Conv2D``."""
        return self.layer_class.__name__

    def change(self, **fields: Any) -> Node:
        """A copy with some fields changed; ``config`` entries are merged."""
        if "config" in fields:
            fields["config"] = {**self.config, **fields["config"]}
        return replace(self, **fields)


@dataclass(frozen=True, eq=False)
class Network:
    """Nodes in execution order and the names of those that are the model's outputs."""

    name: str
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    by_name: Mapping[str, Node] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {node.name: node for node in self.nodes})

    def consumers(self, name: str) -> list[Node]:
        """Nodes that take the output of ``name``."""
        return [node for node in self.nodes if name in node.inputs]


def read(model: keras.Model) -> Network:
    """Read a functional or sequential model; nested models are inlined, inputs come first and in the model's order.

    Raises ``ModelError`` for subclassed models and for weights that are not finite, and
    ``UnsupportedLayer`` for layers used twice and for operations that are not layers.
    """
    graph = graph_of(model)
    nodes: list[Node] = []
    values: dict[int, str] = {}
    inline(model, values, nodes, prefix="")
    names = [node.name for node in nodes]
    for name in names:
        if names.count(name) > 1:
            raise UnsupportedLayer(f"layer {name} is used more than once; give each use a layer of its own")
    entries = [values[id(tensor)] for tensor in flat(graph.inputs)]
    nodes.sort(key=lambda node: entries.index(node.name) if node.name in entries else len(entries))
    network = Network(model.name, tuple(nodes), tuple(values[id(tensor)] for tensor in flat(graph.outputs)))
    require_finite(network)
    return network


def graph_of(model: keras.Model) -> Any:
    """The functional graph of a model; raises ``ModelError`` when it has none."""
    if not isinstance(model, keras.Model):
        raise ModelError(f"a Keras model is needed, got {type(model).__name__}")
    graph = model._functional if isinstance(model, keras.Sequential) else model
    if not hasattr(graph, "_nodes_by_depth"):
        raise ModelError(
            f"model {model.name} has no graph of layers (it is subclassed or not built); "
            "make it a functional or sequential model with an Input"
        )
    return graph


def inline(model: keras.Model, values: dict[int, str], nodes: list[Node], prefix: str) -> None:
    """Append the model's nodes; ``values`` maps the ids of symbolic tensors to the names of their producers."""
    graph = graph_of(model)
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            layer = node.operation
            inputs = tuple(values[id(tensor)] for tensor in node.input_tensors)
            outputs = flat(node.outputs)
            if isinstance(layer, keras.layers.InputLayer) and id(outputs[0]) in values:
                continue  # the input of a nested model: its tensor already has a producer outside
            if isinstance(layer, keras.Model):
                inline_nested(layer, inputs, outputs, values, nodes, prefix)
                continue
            nodes.append(read_layer(layer, inputs, outputs, node.arguments, prefix))
            values[id(outputs[0])] = nodes[-1].name


def inline_nested(
    model: keras.Model,
    inputs: Sequence[str],
    outputs: Sequence[Any],
    values: dict[int, str],
    nodes: list[Node],
    prefix: str,
) -> None:
    graph = graph_of(model)
    values.update({id(tensor): name for tensor, name in zip(flat(graph.inputs), inputs, strict=True)})
    inline(model, values, nodes, prefix=f"{prefix}{model.name}_")
    inner = [values[id(tensor)] for tensor in flat(graph.outputs)]
    values.update({id(tensor): name for tensor, name in zip(outputs, inner, strict=True)})


def read_layer(layer: Any, inputs: tuple[str, ...], outputs: Sequence[Any], arguments: Any, prefix: str) -> Node:
    if not isinstance(layer, keras.Layer):
        raise UnsupportedLayer(
            f"operation {layer.name} ({type(layer).__name__}) is not a layer; use the Keras layer of that name"
        )
    given = {key: value for key, value in arguments.kwargs.items() if key not in ("training", "mask")}
    if given or len(arguments.args) > 1 or len(outputs) != 1:
        raise UnsupportedLayer(f"layer {layer.name} ({type(layer).__name__}) must take its inputs as one argument")
    return Node(
        name=prefix + layer.name,
        origin=prefix + layer.name,
        layer_class=type(layer),
        config=layer.get_config(),
        inputs=inputs,
        weights=tuple(np.asarray(weight) for weight in layer.get_weights()),
        shape=tuple(outputs[0].shape[1:]),
    )


def require_finite(network: Network) -> None:
    for node in network.nodes:
        for weight in node.weights:
            if weight.dtype.kind == "f" and not np.isfinite(weight).all():
                count = int((~np.isfinite(weight)).sum())
                raise ModelError(
                    f"weights must be finite, layer {node.name} ({node.kind}) has {count} NaN or infinite values"
                )


def flat(tensors: Any) -> list[Any]:
    """Symbolic tensors as a list, whatever structure Keras keeps them in."""
    return list(keras.tree.flatten(tensors))


def build(network: Network) -> keras.Model:
    """Make a functional Keras model with fresh layers and the network's weights."""
    tensors: dict[str, Any] = {}
    inputs: list[Any] = []
    layers: dict[str, keras.Layer] = {}
    for node in network.nodes:
        layer = node.layer_class.from_config({**node.config, "name": node.name})
        layers[node.name] = layer
        if isinstance(layer, keras.layers.InputLayer):
            tensors[node.name] = layer.output
            inputs.append(layer.output)
            continue
        taken = [tensors[name] for name in node.inputs]
        tensors[node.name] = layer(taken if len(taken) > 1 else taken[0])
    outputs = [tensors[name] for name in network.outputs]
    one_in, one_out = len(inputs) == 1, len(outputs) == 1
    model = keras.Model(inputs[0] if one_in else inputs, outputs[0] if one_out else outputs, name=network.name)
    for node in network.nodes:
        if node.weights:
            layers[node.name].set_weights(list(node.weights))
    return model


def rename_inputs(network: Network, renamed: Mapping[str, str], nodes: Sequence[Node]) -> Network:
    """A network of ``nodes`` in which uses of some names are uses of others."""
    moved = tuple(node.change(inputs=tuple(renamed.get(name, name) for name in node.inputs)) for node in nodes)
    return Network(network.name, moved, tuple(renamed.get(name, name) for name in network.outputs))
