"""The program an HLS project runs, one operation per hls4ml layer, with every type spelled out.

A :class:`Program` is read from hls4ml's optimized graph, so it says what will be synthesized.
Weights are the integers the C++ holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.emulation.values import Carrier
from toolkit.errors import UnsupportedLayer
from toolkit.precision import Precision
from toolkit.records import Graph, Layer

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Stored:
    """A weight array as integers of a type: value = integer * 2**-fraction_bits."""

    integers: Array
    precision: Precision

    @property
    def fraction_bits(self) -> int:
        """Bits below the binary point."""
        return self.precision.fraction_bits


@dataclass(frozen=True, eq=False)
class Op:
    """One hls4ml layer: what it reads and writes, its types, weights and attributes.

    ``types`` holds hls4ml's types without the ``_t`` (``accum``, ``table``, ``param``, ...);
    ``result`` is the type of the output variable. ``carrier`` is what the range proof chose.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shape: tuple[int, ...]
    input_types: tuple[Precision, ...]
    input_shapes: tuple[tuple[int, ...], ...]
    result: Precision
    types: Mapping[str, Precision]
    weights: Mapping[str, Stored]
    attributes: Mapping[str, Any]
    io_stream: bool
    carrier: Carrier | None = None

    def __str__(self) -> str:
        arguments = ", ".join(f"{name}: {kind}" for name, kind in zip(self.inputs, self.input_types, strict=True))
        weights = "".join(f", {name}{list(w.integers.shape)}: {w.precision}" for name, w in self.weights.items())
        inner = "".join(f", {name}: {kind}" for name, kind in self.types.items() if name in SHOWN_TYPES)
        held = f"  # {self.carrier}" if self.carrier else ""
        return f"{self.outputs[0]}{list(self.shape)}: {self.result} = {self.kind}({arguments}{weights}{inner}){held}"


SHOWN_TYPES = ("accum", "table", "exp_table", "inv_table", "inv_inp", "inp_norm", "param", "slope", "shift")


@dataclass(frozen=True, eq=False)
class Program:
    """Operations in execution order; ``str`` prints one line per operation."""

    ops: tuple[Op, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    digest: str

    def __str__(self) -> str:
        return "\n".join(str(op) for op in self.ops)

    def with_carriers(self, carriers: Mapping[str, Carrier]) -> Program:
        """The program with the outcome of the range proof, by operation name."""
        return replace(self, ops=tuple(replace(op, carrier=carriers.get(op.name)) for op in self.ops))


def read_program(graph: Graph) -> Program:
    """The program of an optimized hls4ml graph."""
    io_stream = any(tensor.fifo_depth > 0 for tensor in graph.tensors.values())
    ops = tuple(read_op(graph, layer, io_stream) for layer in graph.layers)
    return Program(ops, graph.inputs, graph.outputs, graph.digest)


def unsupported_layer(name: str, kind: str, why: str) -> UnsupportedLayer:
    """The error for a layer the emulator does not compute exactly."""
    return UnsupportedLayer(
        f"the emulator computes layers exactly or not at all; layer {name!r} of kind {kind}: {why}; "
        "use csim for this project (toolkit.build_csim, which compiles it)"
    )


def read_op(graph: Graph, layer: Layer, io_stream: bool) -> Op:
    """One layer; raises ``UnsupportedLayer`` for weights that are powers of two with a sign apart."""
    spelled = [*layer.types.values(), *(weight.precision for weight in layer.weights.values())]
    if any(text.startswith("exponent") for text in spelled):
        raise unsupported_layer(layer.name, layer.kind, "weights stored as sign and exponent")
    sources = [graph.tensors[name] for name in layer.inputs]
    return Op(
        name=layer.name,
        kind=layer.kind,
        inputs=layer.inputs,
        outputs=layer.outputs,
        shape=layer.shape,
        input_types=tuple(Precision.parse(tensor.precision) for tensor in sources),
        input_shapes=tuple(tensor.shape for tensor in sources),
        result=Precision.parse(graph.tensors[layer.outputs[0]].precision),
        types={name.removesuffix("_t"): Precision.parse(text) for name, text in layer.types.items()},
        weights={name: stored(weight.values, weight.precision) for name, weight in layer.weights.items()},
        attributes=layer.attributes,
        io_stream=io_stream,
    )


def stored(values: Array, precision: str) -> Stored:
    """Weight values as the integers their type stores."""
    parsed = Precision.parse(precision)
    return Stored(parsed.to_integers(values).astype(np.int64), parsed)
