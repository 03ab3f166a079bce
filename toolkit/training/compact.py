"""Channels that pruning has emptied, taken out: the same function in smaller layers.

A channel is empty when its kernel and bias are zero, so that it is zero for every image. It can go
where everything that reads it keeps zero at zero (activations, pooling, padding, flattening) until
the next convolution or dense layer, which loses the weights of that input. What joins two branches
(``Add``, ``Concatenate``) or puts out the model's result keeps all its channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from toolkit.records import Array
from toolkit.training.fold import activation_name, scale_and_shift
from toolkit.training.network import Network, Node, build, read

PRODUCTS = ("Dense", "Conv1D", "Conv2D", "QDense", "QConv1D", "QConv2D")
DEPTHWISE = ("DepthwiseConv2D", "QDepthwiseConv2D")
AFFINE = ("BatchNormalization", "QAffine")
CHANNEL_BY_CHANNEL = (
    "ReLU", "LeakyReLU", "Activation", "QActivation", "Dropout", "SpatialDropout1D", "SpatialDropout2D",
    "MaxPooling1D", "MaxPooling2D", "AveragePooling1D", "AveragePooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D",
    "GlobalAveragePooling1D", "GlobalAveragePooling2D", "ZeroPadding1D", "ZeroPadding2D", "UpSampling1D",
    "UpSampling2D",
)  # fmt: skip

# Settings of a quantizer that may hold a number per channel.
PER_CHANNEL = ("alpha", "threshold", "post_training_scale")


def compact(model: keras.Model) -> keras.Model:
    """A model (float or quantized) without its empty channels; the model itself when there are none.

    Outputs are equal for every input, bit for bit after quantization. A layer keeps at least one channel.
    """
    network = read(model)
    empty = {node.name: found for node in network.nodes if (found := removable(network, node)).any()}
    return build(shrunk(network, empty)) if empty else model


def removable(network: Network, node: Node) -> Array:
    """Which output channels of a layer are empty and read by nobody who needs them."""
    found = empty_channels(node)
    if found.any():
        found &= unread(network, node, found)
    if found.size and found.all():
        found[0] = False
    return found


def empty_channels(node: Node) -> Array:
    """Output channels of a convolution or dense layer that are zero for every input."""
    channels = int(node.shape[-1] or 0) if node.shape else 0
    binary = quantizer_of(node.config, "kernel_quantizer").get("class_name") == "binary"  # has no zero
    if node.kind not in PRODUCTS or binary or not is_plain(node):
        return np.zeros(channels, bool)
    used = np.stack([weight.reshape(-1, channels).any(axis=0) for weight in node.weights])
    return np.asarray(~used.any(axis=0))


def is_plain(node: Node) -> bool:
    """Whether a layer is as the formulas here suppose: one group, one kernel a channel, no QKeras mask, zeros kept."""
    config = node.config
    single = config.get("groups", 1) == 1 and config.get("depth_multiplier", 1) == 1
    last = config.get("data_format") in (None, "channels_last")
    zero_stays = activation_name(node) in ("linear", "relu")
    return single and last and zero_stays and config.get("mask") is None


def quantizer_of(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A quantizer's serialized form; empty without one."""
    found = config.get(key)
    return found if isinstance(found, Mapping) else {}


def unread(network: Network, node: Node, empty: Array) -> Array:
    """Which of a node's empty channels all its readers can do without."""
    if node.name in network.outputs:
        return np.zeros_like(empty)
    found = empty.copy()
    for reader in network.consumers(node.name):
        found &= spared(network, reader, node, found)
    return found


def spared(network: Network, node: Node, source: Node, empty: Array) -> Array:
    """Which empty channels of ``source`` a reader, and what reads that, can do without."""
    match node.kind:
        case kind if kind in PRODUCTS:
            plain = node.config.get("groups", 1) == 1 and node.config.get("mask") is None
            return empty if plain else np.zeros_like(empty)
        case "Flatten":
            copies = math.prod(size or 1 for size in source.shape[:-1])
            return np.asarray(unread(network, node, np.tile(empty, copies)).reshape(copies, -1).all(axis=0))
        case kind if kind in DEPTHWISE and is_plain(node):
            bias = node.weights[1] if len(node.weights) > 1 else np.zeros(empty.size)
            return unread(network, node, empty & (bias == 0))
        case kind if kind in AFFINE:
            shift = node.weights[1] if kind == "QAffine" else scale_and_shift(node)[1]
            return unread(network, node, empty & (shift == 0))
        case kind if kind in CHANNEL_BY_CHANNEL and keeps_zero(node, source):
            return unread(network, node, empty)
    return np.zeros_like(empty)


def keeps_zero(node: Node, source: Node) -> bool:
    """Whether a layer without weights gives zeros for zeros."""
    zeros = np.zeros((1, *(size or 1 for size in source.shape)), np.float32)
    return not np.asarray(node.layer_class.from_config(dict(node.config))(zeros)).any()


def shrunk(network: Network, empty: Mapping[str, Array]) -> Network:
    """The network without the channels named, by layer."""
    kept: dict[str, Array] = {}
    nodes = []
    for node in network.nodes:
        source = kept[node.inputs[0]] if node.inputs else None
        channels = ~empty[node.name] if node.name in empty else np.ones(int(node.shape[-1] or 1), bool)
        if source is not None and node.kind in PRODUCTS:
            node = smaller_product(node, source, channels)
        elif source is not None and len(node.inputs) == 1 and not source.all():
            channels = np.tile(source, channels.size // source.size) if node.kind == "Flatten" else source
            node = smaller_channels(node, source)
        kept[node.name] = channels
        nodes.append(node)
    return Network(network.name, tuple(nodes), network.outputs)


def smaller_product(node: Node, source: Array, channels: Array) -> Node:
    """A convolution or dense layer with some inputs and output channels."""
    if source.all() and channels.all():
        return node
    kernel, *bias = node.weights
    count = "units" if node.kind.endswith("Dense") else "filters"
    changes = {count: int(channels.sum()), **smaller_quantizer(node.config, "kernel_quantizer", channels, -1)}
    weights = (kernel[..., source, :][..., channels], *(part[channels] for part in bias))
    return node.change(config=changes, weights=weights)


def smaller_channels(node: Node, source: Array) -> Node:
    """A layer that treats channels one by one, with some of them."""
    if node.kind in DEPTHWISE:
        kernel, *bias = node.weights
        changes = smaller_quantizer(node.config, "depthwise_quantizer", source, -2)
        return node.change(config=changes, weights=(kernel[..., source, :], *(part[source] for part in bias)))
    return node.change(weights=tuple(weight[source] for weight in node.weights))


def smaller_quantizer(config: Mapping[str, Any], key: str, channels: Array, axis: int) -> dict[str, Any]:
    """A quantizer's entry in a layer's configuration, its numbers per channel for some channels."""
    quantizer = quantizer_of(config, key)
    settings = dict(quantizer.get("config", {}))
    for name in PER_CHANNEL:
        values = settings.get(name)
        if isinstance(values, list) and np.ndim(values) >= -axis and np.shape(values)[axis] == channels.size:
            settings[name] = np.compress(channels, np.asarray(values), axis=axis).tolist()
    initializer = key.replace("quantizer", "initializer")  # QKeras' holds the quantizer, too
    return {key: {**quantizer, "config": settings}, initializer: "zeros"} if quantizer else {}
