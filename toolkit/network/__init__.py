"""One typed description of a network in fixed point: front ends make it, every reader reads it.

A class per kind of layer (:mod:`toolkit.network.layers`, whose docstrings define them), tensors and
integer weights (:mod:`~toolkit.network.values`), the validated graph (:mod:`~toolkit.network.graph`),
its storage (:mod:`~toolkit.network.storage`) and the exact ranges of its values
(:mod:`~toolkit.network.ranges`).
"""

from __future__ import annotations

from toolkit.network import layers
from toolkit.network.graph import Graph
from toolkit.network.layers import KINDS, Layer, Unknown
from toolkit.network.values import Build, Product, Scalar, Strategy, Tensor, Weight, Window

__all__ = [
    "KINDS",
    "Build",
    "Graph",
    "Layer",
    "Product",
    "Scalar",
    "Strategy",
    "Tensor",
    "Unknown",
    "Weight",
    "Window",
    "layers",
]
