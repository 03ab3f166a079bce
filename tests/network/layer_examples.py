"""A small network for every kind of layer: what a developer adds for a new kind, and all that the contract needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from toolkit.network import Build, Graph, Layer, Scalar, Strategy, Tensor, Weight, Window, layers
from toolkit.network.values import Shape
from toolkit.precision import Precision

DATA = Precision(8, 4)
NARROW = Precision(4, 1)
SUM = Precision(16, 8)
RESULT = Precision.parse("ap_fixed<8,4,RND,SAT>")
IMAGE = (4, 4, 2)
BUILT = Build(Strategy.LATENCY, 1)


def weight(*shape: int, precision: Precision = NARROW) -> Weight:
    """Integers of every sign that the type holds."""
    span = precision.integer_max - precision.integer_min + 1
    integers = np.arange(int(np.prod(shape))).reshape(shape) * 5 % span + precision.integer_min
    return Weight(integers.astype(np.int64), precision)


def network(kind: type[Layer], made: Shape, *given: Shape, outputs: int = 1, **fields: Any) -> Graph:
    """Inputs ``x0``, ``x1``, ... and one layer ``it`` of a kind; over streams where ``depth`` is not 0."""
    depth = fields.pop("depth", 0)
    tensors = [Tensor(f"x{index}", shape, DATA, depth) for index, shape in enumerate(given)]
    starts = [layers.Input(name=tensor.name, inputs=(), outputs=(tensor,)) for tensor in tensors]
    ends = tuple(Tensor(f"it{index or ''}", made, RESULT, depth) for index in range(outputs))
    it = kind(name="it", inputs=tuple(tensors), outputs=ends, build=BUILT, **fields)
    return Graph((*starts, it), tuple(one.name for one in starts), tuple(tensor.name for tensor in ends))


def window(size: int, out: int, stride: int = 1) -> Window:
    return Window((size, size), (stride, stride), (0, 0), (0, 0), (1, 1), (out, out))


def matrix(*shape: int) -> dict[str, Any]:
    return {"weight": weight(*shape), "bias": weight(shape[-1]), "accum": SUM}


HALF = Scalar.of(0.5, Precision(4, 1, signed=False))
TABLE = {"table": Precision(12, 4), "table_size": 64}
SOFTMAX = {
    "form": layers.SoftmaxForm.STABLE,
    "exp_table": Precision(12, 2),
    "inverse_table": Precision(12, 2),
    "inverse_input": Precision(10, 4, signed=False),
    "norm": Precision(7, 3, signed=False),
    "accum": Precision(14, 5),
    "exp_table_size": 64,
    "inverse_table_size": 64,
}

EXAMPLES: dict[type[Layer], Callable[[], Graph]] = {
    layers.Input: lambda: network(layers.Activation, IMAGE, IMAGE, function=layers.Function.LINEAR),
    layers.Constant: lambda: constant(),
    layers.Dense: lambda: network(layers.Dense, (3,), (6,), **matrix(6, 3)),
    layers.Convolution: lambda: network(
        layers.Convolution, (2, 2, 3), IMAGE, window=window(3, 2), **matrix(3, 3, 2, 3)
    ),
    layers.Pointwise: lambda: network(layers.Pointwise, (4, 4, 3), IMAGE, window=window(1, 4), **matrix(1, 1, 2, 3)),
    layers.Depthwise: lambda: network(
        layers.Depthwise, (2, 2, 2), IMAGE, window=window(3, 2), weight=weight(3, 3, 2, 1), bias=weight(2), accum=SUM
    ),
    layers.Scale: lambda: network(layers.Scale, IMAGE, IMAGE, scale=weight(2), bias=weight(2)),
    layers.Activation: lambda: network(layers.Activation, IMAGE, IMAGE, function=layers.Function.RELU),
    layers.HardActivation: lambda: network(
        layers.HardActivation, IMAGE, IMAGE, function=layers.HardFunction.SIGMOID, slope=HALF, shift=HALF
    ),
    layers.TableActivation: lambda: network(
        layers.TableActivation, IMAGE, IMAGE, function=layers.TableFunction.TANH, **TABLE
    ),
    layers.LeakyRelu: lambda: network(layers.LeakyRelu, IMAGE, IMAGE, slope=HALF),
    layers.ThresholdedRelu: lambda: network(layers.ThresholdedRelu, IMAGE, IMAGE, theta=HALF),
    layers.Elu: lambda: network(layers.Elu, IMAGE, IMAGE, alpha=HALF, **TABLE),
    layers.Prelu: lambda: network(layers.Prelu, (6,), (6,), slope=weight(6)),
    layers.BitTable: lambda: network(layers.BitTable, (6,), (6,), table=weight(1 << DATA.width_bits)),
    layers.Threshold: lambda: network(layers.Threshold, (6,), (6,), low=weight(6), high=weight(6), levels=3),
    layers.Quantize: lambda: network(layers.Quantize, (6,), (6,)),
    layers.Softmax: lambda: network(layers.Softmax, (5,), (5,), **SOFTMAX),
    layers.Pooling: lambda: network(
        layers.Pooling, (2, 2, 2), IMAGE, operation=layers.Pool.AVERAGE, window=window(2, 2, 2), accum=SUM
    ),
    layers.GlobalPooling: lambda: network(layers.GlobalPooling, (2,), IMAGE, operation=layers.Pool.MAX, accum=DATA),
    layers.Merge: lambda: network(layers.Merge, IMAGE, IMAGE, IMAGE, operation=layers.MergeOperation.ADD),
    layers.Concatenate: lambda: network(layers.Concatenate, (4, 4, 4), IMAGE, IMAGE, axis=2),
    layers.Dot: lambda: network(layers.Dot, (1,), (6,), (6,), accum=SUM),
    layers.Reshape: lambda: network(layers.Reshape, (32,), IMAGE),
    layers.Repack: lambda: network(layers.Repack, (8, 4), IMAGE, depth=16),
    layers.Transpose: lambda: network(layers.Transpose, (2, 4, 4), IMAGE, perm=(2, 0, 1)),
    layers.ZeroPadding: lambda: network(layers.ZeroPadding, (6, 5, 2), IMAGE, before=(1, 0), after=(1, 1)),
    layers.Cropping: lambda: network(layers.Cropping, (3, 2, 2), IMAGE, before=(1, 0)),
    layers.Resize: lambda: network(layers.Resize, (8, 4, 2), IMAGE),
    layers.Clone: lambda: network(layers.Clone, IMAGE, IMAGE, outputs=2, depth=16),
    layers.Broadcast: lambda: network(layers.Broadcast, IMAGE, (1, 1, 2)),
    layers.Unknown: lambda: network(
        layers.Unknown, (4,), (6, 3), origin="GRU", reason="no class of this name is known"
    ),
}


def constant() -> Graph:
    """A constant added to an input."""
    start = layers.Input(name="x0", inputs=(), outputs=(Tensor("x0", (6,), DATA),))
    fixed = layers.Constant(name="fixed", inputs=(), outputs=(Tensor("fixed", (6,), DATA),))
    sources = (start.outputs[0], fixed.outputs[0])
    end = layers.Merge(
        name="it", inputs=sources, outputs=(Tensor("it", (6,), RESULT),), operation=layers.MergeOperation.ADD
    )
    return Graph((start, fixed, end), ("x0",), ("it",))
