"""Hand-made graphs as the converter would give them, so that these tests need neither hls4ml nor TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from toolkit.records import Graph, Layer, Tensor, Weight

PRECISION = "ap_fixed<8,3>"


def layer(
    name: str,
    kind: str,
    inputs: Sequence[str],
    shape: Sequence[int],
    *,
    weights: dict[str, Weight] | None = None,
    outputs: Sequence[str] | None = None,
    precision: str = PRECISION,
    **attributes: Any,
) -> Layer:
    """A layer whose types are all ``precision``."""
    types = {"result_t": precision, "accum_t": precision}
    if weights:
        types |= {"weight_t": precision, "bias_t": precision}
    return Layer(name, kind, tuple(inputs), tuple(outputs or (name,)), tuple(shape), types, attributes, weights or {})


def weight(values: Any, precision: str = PRECISION) -> Weight:
    """A weight array with its type."""
    return Weight("w", np.asarray(values, np.float64), precision)


def dense(
    name: str, source: str, values: Any, *, strategy: str = "latency", reuse_factor: int = 1, **more: Any
) -> Layer:
    """A dense layer of a kernel ``[n_in, n_out]`` and zero biases."""
    kernel = np.asarray(values, np.float64)
    weights = {"weight": weight(kernel), "bias": weight(np.zeros(kernel.shape[1]))}
    attributes = {"strategy": strategy, "reuse_factor": reuse_factor, "n_in": kernel.shape[0], "n_out": kernel.shape[1]}
    return layer(name, "Dense", [source], [kernel.shape[1]], weights=weights, **attributes, **more)


def convolution(
    name: str,
    source: str,
    shape: Sequence[int],
    values: Any,
    *,
    strategy: str = "latency",
    reuse_factor: int = 1,
    stride: int = 1,
) -> Layer:
    """A valid 2D convolution of a kernel ``[h, w, in, out]`` over ``shape``."""
    kernel = np.asarray(values, np.float64)
    height, width = kernel.shape[:2]
    made = ((shape[0] - height) // stride + 1, (shape[1] - width) // stride + 1, kernel.shape[3])
    sides = dict.fromkeys(("pad_top", "pad_bottom", "pad_left", "pad_right"), 0)
    geometry = {"filt_height": height, "filt_width": width, "stride_height": stride, "stride_width": stride, **sides}
    weights = {"weight": weight(kernel), "bias": weight(np.zeros(kernel.shape[3]))}
    settings = {"strategy": strategy, "reuse_factor": reuse_factor}
    sizes = {"n_chan": kernel.shape[2], "n_filt": kernel.shape[3]}
    return layer(name, "Conv2D", [source], made, weights=weights, **geometry, **sizes, **settings)


def pooling(name: str, source: str, shape: Sequence[int], size: int = 2) -> Layer:
    """Maximum pooling with stride equal to its size."""
    made = (shape[0] // size, shape[1] // size, shape[2])
    geometry = {"pool_height": size, "pool_width": size, "stride_height": size, "stride_width": size, "pool_op": "Max"}
    return layer(name, "Pooling2D", [source], made, **geometry)


def relu(name: str, source: str, shape: Sequence[int]) -> Layer:
    """A relu of its input's shape."""
    return layer(name, "Activation", [source], shape, activation="relu")


def graph(shape: Sequence[int], layers: Sequence[Layer], *, depth: int | None = None) -> Graph:
    """Layers after one input ``x``; FIFOs as deep as hls4ml makes them, or ``depth``."""
    first = layer("x", "Input", [], shape)
    every = (first, *layers)
    tensors = {
        name: Tensor(name, one.shape, one.types["result_t"], pixels(one.shape) if depth is None else depth)
        for one in every
        for name in one.outputs
    }
    return Graph(every, tensors, ("x",), (every[-1].outputs[0],), "digest")


def pixels(shape: Sequence[int]) -> int:
    """Tokens of a map."""
    return math.prod(shape[:-1]) if len(shape) > 1 else 1


def flat(name: str, source: str, shape: Sequence[int]) -> Layer:
    """An in-place flatten."""
    return layer(name, "Reshape", [source], [math.prod(shape)])


def small_cnn(*, strategy: str = "latency", reuse_factor: int = 1, size: int = 10, seed: int = 0) -> Graph:
    """conv 3x3x4, relu, pool 2, flatten, dense 5 on ``size`` x ``size`` x 2."""
    random = np.random.default_rng(seed)
    kernel = random.integers(-7, 8, (3, 3, 2, 4)) / 32
    inner, half = size - 2, (size - 2) // 2
    matrix = random.integers(-7, 8, (half * half * 4, 5)) / 32
    settings: dict[str, Any] = {"strategy": strategy, "reuse_factor": reuse_factor}
    return graph(
        [size, size, 2],
        [
            convolution("conv", "x", [size, size, 2], kernel, **settings),
            relu("relu", "conv", [inner, inner, 4]),
            pooling("pool", "relu", [inner, inner, 4]),
            flat("flat", "pool", [half, half, 4]),
            dense(
                "dense", "flat", matrix, strategy=strategy, reuse_factor=1 if strategy == "latency" else half * half * 4
            ),
        ],
    )


def with_depth(one: Graph, name: str, depth: int) -> Graph:
    """The graph with another FIFO depth."""
    return replace(one, tensors={**one.tensors, name: replace(one.tensors[name], fifo_depth=depth)})


def skip_graph(depth: int) -> Graph:
    """A clone whose short branch waits for a convolution-like long one, as a residual block does."""
    shape = [12, 12, 2]
    kernel = np.full((3, 3, 2, 2), 0.25)
    sides = {"pad_top": 1, "pad_bottom": 1, "pad_left": 1, "pad_right": 1}
    one = graph(
        shape,
        [
            relu("relu", "x", shape),
            layer("clone", "Clone", ["relu"], shape, outputs=["left", "right"]),
            layer("pad", "ZeroPadding2D", ["left"], [14, 14, 2], **sides),
            convolution("conv", "pad", [14, 14, 2], kernel),
            layer("add", "Merge", ["conv", "right"], shape, op="add"),
        ],
    )
    return with_depth(one, "right", depth)
