"""A network as layers that do one thing each: activations, separable convolutions and long sums taken apart."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from toolkit.training.fold import activation_name
from toolkit.training.network import Network, Node

WITH_ACTIVATION = ("Conv1D", "Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Dense")


def split(network: Network) -> Network:
    """The same function in layers that :func:`toolkit.training.quantize` knows one by one.

    The last part of a layer that is taken apart keeps its name, except that an activation argument
    becomes ``<name>_<activation>``.
    """
    nodes: list[Node] = []
    renamed: dict[str, str] = {}
    for node in network.nodes:
        node = node.change(inputs=tuple(renamed.get(name, name) for name in node.inputs))
        if node.kind == "Activation" and activation_name(node) == "linear":
            renamed[node.name] = node.inputs[0]
            continue
        parts = split_node(node)
        if parts[-1].name != node.name:
            renamed[node.name] = parts[-1].name
        nodes.extend(parts)
    return Network(network.name, tuple(nodes), tuple(renamed.get(name, name) for name in network.outputs))


def split_node(node: Node) -> list[Node]:
    if node.kind in WITH_ACTIVATION and activation_name(node) != "linear":
        linear = node.change(config={"activation": "linear"})
        return [*split_node(linear), activation_after(node)]
    match node.kind:
        case "SeparableConv2D":
            return split_separable(node)
        case "Add" | "Concatenate" if len(node.inputs) > 2:
            return split_join(node)
        case "Activation" if activation_name(node) in ("relu", "leaky_relu"):
            return [activation_layer(node, node.name, node.inputs)]
    return [node]


def activation_after(node: Node) -> Node:
    name = f"{node.name}_{activation_name(node)}"
    return activation_layer(node, name, (node.name,))


def activation_layer(node: Node, name: str, inputs: tuple[str, ...]) -> Node:
    """The layer of an activation function given by name."""
    kind = activation_name(node)
    classes: dict[str, type[keras.Layer]] = {"relu": keras.layers.ReLU, "leaky_relu": keras.layers.LeakyReLU}
    layer_class = classes.get(kind, keras.layers.Activation)
    config: dict[str, Any] = {} if kind == "relu" else {"activation": node.config["activation"]}
    if kind == "leaky_relu":
        config = {"negative_slope": 0.2}  # Keras' default for the function of that name
    return Node(name, layer_class, config, inputs, (), node.shape, node.origin)


def split_separable(node: Node) -> list[Node]:
    """Depthwise part without a bias, then the pointwise part as a 1x1 convolution under the layer's name."""
    config: dict[str, Any] = dict(node.config)
    shared: dict[str, Any] = {key: config[key] for key in ("dtype", "trainable", "data_format") if key in config}
    depthwise_config: dict[str, Any] = {
        key: config[key] for key in ("kernel_size", "strides", "padding", "dilation_rate", "depth_multiplier")
    }
    depthwise, pointwise, *bias = node.weights
    first = Node(
        f"{node.name}_depthwise",
        keras.layers.DepthwiseConv2D,
        {**shared, **depthwise_config, "use_bias": False},
        node.inputs,
        (depthwise,),
        (*node.shape[:-1], int(np.prod(depthwise.shape[2:]))),
        node.origin,
    )
    second_config = {**shared, "filters": config["filters"], "kernel_size": 1, "use_bias": bool(bias)}
    second = Node(
        node.name, keras.layers.Conv2D, second_config, (first.name,), (pointwise, *bias), node.shape, node.origin
    )
    return [first, second]


def split_join(node: Node) -> list[Node]:
    """``a + b + c`` as ``(a + b) + c``, and likewise for concatenation: two inputs at a time."""
    parts: list[Node] = []
    taken = node.inputs[0]
    for index, name in enumerate(node.inputs[1:], start=1):
        last = index == len(node.inputs) - 1
        part = node.change(name=node.name if last else f"{node.name}_{index}", inputs=(taken, name))
        parts.append(part)
        taken = part.name
    return parts
