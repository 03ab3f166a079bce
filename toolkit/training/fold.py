"""Batch normalization folded into the layer before it: same function, fewer layers.

``y = gamma * (w * x + b - mean) / sqrt(variance + epsilon) + beta`` is again ``w' * x + b'`` with
``w' = w * s``, ``b' = (b - mean) * s + beta``, ``s = gamma / sqrt(variance + epsilon)`` per output channel
(Jacob et al., CVPR 2018, section 3.2).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from toolkit.records import Array
from toolkit.training.network import Network, Node, build, read, rename_inputs

# Layers whose output channels a batch normalization only scales and shifts.
DEPTHWISE = ("DepthwiseConv1D", "DepthwiseConv2D")
FOLDABLE = ("Conv1D", "Conv2D", *DEPTHWISE, "SeparableConv1D", "SeparableConv2D", "Dense")

# Layers that do nothing at inference and stand between a convolution and its normalization.
TRANSPARENT = ("Dropout", "SpatialDropout1D", "SpatialDropout2D")


def fold(model: keras.Model) -> keras.Model:
    """A new model in which each batch normalization directly after a convolution or dense layer is part of it.

    Predictions agree to float rounding. A normalization elsewhere (after pooling, after a layer whose
    output is used twice or that has an activation of its own) stays as it is.
    """
    return build(fold_network(read(model)))


def fold_network(network: Network) -> Network:
    """:func:`fold` on the value."""
    for node in network.nodes:
        source = foldable_source(network, node)
        if source is not None:
            return fold_network(fold_one(network, source, node))
    return network


def foldable_source(network: Network, node: Node) -> Node | None:
    """The layer that a batch normalization can become part of."""
    if node.kind != "BatchNormalization" or not normalizes_channels(node):
        return None
    source = network.by_name[node.inputs[0]]
    while source.kind in TRANSPARENT and used_once(network, source):
        source = network.by_name[source.inputs[0]]
    linear = activation_name(source) == "linear"
    return source if source.kind in FOLDABLE and linear and used_once(network, source) else None


def used_once(network: Network, node: Node) -> bool:
    return len(network.consumers(node.name)) == 1 and node.name not in network.outputs


def normalizes_channels(node: Node) -> bool:
    axis = node.config["axis"]
    axes = list(axis) if isinstance(axis, list | tuple) else [axis]
    return axes in ([-1], [len(node.shape)])


def activation_name(node: Node) -> str:
    """Name of a layer's activation argument; ``linear`` without one."""
    activation = node.config.get("activation")
    if activation is None:
        return "linear"
    if isinstance(activation, dict):
        activation = activation.get("config", activation.get("class_name"))
    return activation if isinstance(activation, str) else getattr(activation, "__name__", str(activation))


def fold_one(network: Network, source: Node, norm: Node) -> Network:
    """Merge one batch normalization into ``source``."""
    scale, shift = scale_and_shift(norm)
    merged = source.change(config={"use_bias": True}, weights=folded_weights(source, scale, shift))
    nodes = [merged if node is source else node for node in network.nodes if node is not norm]
    return rename_inputs(network, {norm.name: norm.inputs[0]}, nodes)


def scale_and_shift(norm: Node) -> tuple[Array, Array]:
    """A batch normalization at inference as ``scale * x + shift``, in float64."""
    values = [weight.astype(np.float64) for weight in norm.weights]
    *affine, mean, variance = values
    gamma = affine.pop(0) if norm.config["scale"] else np.ones_like(mean)
    beta = affine.pop(0) if norm.config["center"] else np.zeros_like(mean)
    scale = gamma / np.sqrt(variance + norm.config["epsilon"])
    return scale, beta - mean * scale


def folded_weights(source: Node, scale: Array, shift: Array) -> tuple[Array, ...]:
    """Kernels and bias of ``source`` with a scale and shift of its output channels applied."""
    weights: list[Any] = [weight.astype(np.float64) for weight in source.weights]
    bias = weights.pop() if source.config["use_bias"] else np.zeros_like(shift)
    kernel = weights[-1]  # of a separable convolution: the pointwise one
    weights[-1] = kernel * (scale.reshape(kernel.shape[-2:]) if source.kind in DEPTHWISE else scale)
    return tuple(weight.astype(np.float32) for weight in [*weights, bias * scale + shift])
