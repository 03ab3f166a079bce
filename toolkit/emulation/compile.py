"""From a network to one ONNX graph, with the proof that every tensor in it is exact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, TensorProto, helper

from toolkit.emulation.builder import CARRIERS, HALFLESS, ONNX_TYPE, Builder, Tally
from toolkit.emulation.layers import LOWERINGS
from toolkit.emulation.layers.lowering import unsupported
from toolkit.emulation.values import Carrier, RangeTooWide, Value, narrowest
from toolkit.network import Graph, Layer
from toolkit.network.layers import Input, Unknown
from toolkit.precision import Overflow

OPSET = 20
IR_VERSION = 10


@dataclass(frozen=True)
class Result:
    """A graph output: integers of a layer's result, channels last; value = integer * 2**-fraction_bits."""

    layer: str
    output: str
    shape: tuple[int, ...]
    fraction_bits: int
    carrier: Carrier


@dataclass(frozen=True, eq=False)
class Compiled:
    """An ONNX model of a network, what its outputs mean, and the widest carrier each layer needed."""

    model: ModelProto
    results: tuple[Result, ...]
    tallies: tuple[Tally, ...]
    carriers: Mapping[str, Carrier]
    elements: int  # of the largest tensors alive at once, per image, for the batch size


def compile_network(network: Graph, *, every_layer: bool = False, count_overflows: bool = False) -> Compiled:
    """Build the graph; ``every_layer`` also puts out what lies between, as csim's trace does.

    Raises ``UnsupportedLayer`` for a layer that cannot be computed exactly.
    """
    b = Builder(io_stream=network.io_stream, count_overflows=count_overflows)
    values: dict[str, Value] = {}
    carriers: dict[str, Carrier] = {}
    traced: list[tuple[Layer, str]] = []
    for op in network.layers:
        b.layer, b.widest = op.name, Carrier.FLOAT32
        value = lower(b, op, values)
        if every_layer:
            value = b.force(value)
        if every_layer:
            traced.append((op, op.outputs[0].name))
        values |= dict.fromkeys((tensor.name for tensor in op.outputs), value)
        carriers[op.name] = b.widest if CARRIERS.index(b.widest) > CARRIERS.index(value.carrier) else value.carrier
    makers = {tensor.name: op for op in network.layers for tensor in op.outputs}
    last = [(makers[name], name) for name in network.outputs]
    b.layer = "output"
    results = tuple(put_out(b, op, values[name]) for op, name in [*last, *traced])
    elements = max(int(np.prod(op.shape)) for op in network.layers)
    return Compiled(make_model(network, b, results), results, tuple(b.tallies), carriers, elements)


def lower(b: Builder, op: Layer, values: Mapping[str, Value]) -> Value:
    """The value of one operation."""
    try:
        if isinstance(op, Input):
            return read_input(b, op)
        if isinstance(op, Unknown):
            raise unsupported(op, op.reason)
        lowering = LOWERINGS.get(type(op))
        if lowering is None:
            raise unsupported(op, "no lowering for this kind")
        return b.narrow(lowering(b, op, [values[tensor.name] for tensor in op.inputs]))
    except RangeTooWide as error:
        raise unsupported(op, str(error)) from error


def read_input(b: Builder, op: Layer) -> Value:
    """``input_t(float)``, as csim's bridge converts: round, then overflow.

    The float is first brought near the type's range by what does not change the outcome: clipping one
    step outside it, or, for a type that wraps, the remainder by its span.
    """
    precision = op.result
    low, high = precision.integer_min - 1, precision.integer_max + 1
    carrier = narrowest(2 * low, 2 * high)
    if precision.rounding not in HALFLESS and carrier is Carrier.FLOAT32:
        carrier = Carrier.FLOAT64  # a float plus a half needs more than 24 bits
    tensor = op.outputs[0].name
    tensor = tensor if carrier is Carrier.FLOAT32 else b.node("Cast", tensor, to=ONNX_TYPE[carrier])
    tensor = b.scale(tensor, carrier, precision.fraction_bits)
    if precision.overflow is Overflow.WRAP:
        low, high = 2 * low, 2 * high
        span = b.scalar(carrier, 2**precision.width_bits)
        tensor = b.node("Mod", tensor, span, fmod=1)
    else:
        tensor = b.node("Clip", tensor, b.scalar(carrier, low), b.scalar(carrier, high))
    grid = precision.fraction_bits
    near = Value(tensor, op.shape, grid, grid, low, high, carrier)
    whole = near.change(tensor=b.round_floats(tensor, precision.rounding, carrier))
    return b.narrow(b.overflow(whole, precision))


def put_out(b: Builder, op: Layer, value: Value) -> Result:
    """A layer's integers as a graph output."""
    done = b.plain(b.regrid(b.channels_last(value), op.result.fraction_bits))
    output = b.node("Identity", str(done.tensor))
    return Result(op.name, output, op.shape, done.fraction_bits, done.carrier)


def make_model(network: Graph, b: Builder, results: tuple[Result, ...]) -> ModelProto:
    """The ONNX model: float images in, integers out."""
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["images", *network.tensors[name].shape])
        for name in network.inputs
    ]
    outputs = [
        helper.make_tensor_value_info(result.output, ONNX_TYPE[result.carrier], ["images", *result.shape])
        for result in results
    ] + [helper.make_tensor_value_info(tally.output, TensorProto.FLOAT, []) for tally in b.tallies]
    graph = helper.make_graph(b.nodes, "network", inputs, outputs, b.initializers())
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="toolkit"
    )
