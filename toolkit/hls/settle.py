"""Types that hls4ml's inference leaves too narrow or open, so that no bit is lost.

- Average pooling: hls4ml gives the result its input's type, which truncates the quotient. A pool of
  ``n`` values gets fraction bits enough to hold the quotient exactly when ``n`` is a power of two, and
  otherwise enough that truncating it never moves the rounding of the quantizer that reads it.
- Global pooling and repacked streams: hls4ml falls back to its default type.
- relu and leaky relu without a quantizer: hls4ml falls back to its default type.
- Softmax: hls4ml's tables have one size whatever they read (:mod:`toolkit.hls.softmax`).
- A matrix product read by a quantizer *and* by another layer: hls4ml moves the quantizer's type into
  the product even then, and the other reader would get quantized values.

Each needs the type of its input, which is known only after hls4ml has inferred it: the graph is built,
the types read, and built again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.hls.graph import spell
from toolkit.precision import Precision

PLACEHOLDER = "fixed<64,32>"  # stands for a type not settled yet


@dataclass(frozen=True)
class Pending:
    """Which of a layer's types are to be settled, and the fraction bits of the quantizer that reads it."""

    types: tuple[str, ...]
    grid_bits: int | None = None


def pending_types(layers: Sequence[Mapping[str, Any]], outputs: Sequence[str]) -> dict[str, Pending]:
    """Layers with types that hls4ml does not infer well, by name, in execution order."""
    found: dict[str, Pending] = {}
    for layer in layers:
        kind = layer["class_name"]
        if "AveragePooling" in kind or "GlobalMaxPooling" in kind:
            found[layer["name"]] = Pending(("accum", "result"), grid_after(layer, layers))
        elif kind == "Softmax":
            found[layer["name"]] = Pending(())
        elif kind == "Repack":
            found[layer["name"]] = Pending(("result",))
        elif layer.get("activation") in ("relu", "leakyrelu", "leaky_relu") and "activation_type" not in layer:
            if not feeds_only_a_cast(layer, layers, outputs):
                found[layer["name"]] = Pending(("result",))
        elif kind in ("Dense", "Conv1D", "Conv2D", "ApplyAlpha", "BatchNormalization") and branches(
            layer, layers, outputs
        ):
            found[layer["name"]] = Pending(("result",))
    return found


def readers(layer: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [other for other in layers if layer["name"] in other["inputs"]]


def grid_after(layer: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]) -> int | None:
    """Finest fraction bits of the quantizers that read a layer, reshapes passed over; ``None`` without one."""
    grids: list[int] = []
    for other in readers(layer, layers):
        if "activation_type" in other:
            grids.append(other["activation_type"].precision.fraction_bits)
        elif other["class_name"] in ("Reshape", "Repack"):
            after = grid_after(other, layers)
            grids += [] if after is None else [after]
    return max(grids, default=None)


def feeds_only_a_cast(layer: Mapping[str, Any], layers: Sequence[Mapping[str, Any]], outputs: Sequence[str]) -> bool:
    """Whether the only reader is a quantizer whose type hls4ml will give to this layer."""
    others = readers(layer, layers)
    return len(others) == 1 and "quantizer" in others[0] and layer["name"] not in outputs


def branches(layer: Mapping[str, Any], layers: Sequence[Mapping[str, Any]], outputs: Sequence[str]) -> bool:
    """Whether a quantizer reads the layer and something else does too (or it is an output)."""
    others = readers(layer, layers)
    casts = [other for other in others if "quantizer" in other]
    return bool(casts) and (len(others) > 1 or layer["name"] in outputs)


def settle_types(
    model_graph: Any,
    waiting: Mapping[str, Pending],
    settled: Mapping[str, Mapping[str, str]],
    layers: Sequence[Mapping[str, Any]],
    cpp: Mapping[str, str],
) -> dict[str, dict[str, str]]:
    """Types of the waiting layers that no other unsettled layer comes before; empty when all are settled.

    ``cpp`` has the names of ``model_graph``'s layers by those of ``layers``.
    """
    open_names = {name for name in waiting if name not in settled}
    sources = {layer["name"]: layer["inputs"] for layer in layers}
    nodes = {node.name: node for node in model_graph.get_layers()}
    ready = [name for name in open_names if not depends(name, open_names, sources)]
    return {
        name: lossless_types(nodes[cpp[name]], waiting[name].grid_bits) if cpp[name] in nodes else {} for name in ready
    }


def depends(name: str, targets: set[str], sources: Mapping[str, Sequence[str]]) -> bool:
    """Whether any layer before ``name`` is among ``targets``."""
    seen, queue = set(), list(sources[name])
    while queue:
        current = queue.pop()
        if current in targets:
            return True
        if current not in seen:
            seen.add(current)
            queue += sources.get(current, [])
    return False


def lossless_types(node: Any, grid_bits: int | None) -> dict[str, str]:
    """Accumulator and result types of one node that lose nothing, from its input's type."""
    value = Precision.parse(spell(node.get_input_variable().type.precision, node.name, "input"))
    match node.class_name:
        case "Pooling1D" | "Pooling2D" | "GlobalPooling1D" | "GlobalPooling2D":
            if node.get_attr("pool_op") == "Max":
                return {"accum": str(value), "result": str(value)}
            return average_types(value, pool_size(node), grid_bits)
        case "Repack":
            return {"result": str(value)}
        case "Softmax":
            return {"logits": str(value)}  # its tables are sized from the type it reads
        case "Activation" | "ParametrizedActivation":
            return {"result": str(activation_type(value, node))}
        case "BatchNormalization" | "ApplyAlpha":
            return {"result": str(affine_type(value, node))}
    return {"result": spell(node.types["accum_t"].precision, node.name, "accum_t")}


def pool_size(node: Any) -> int:
    """Values averaged into one output."""
    if "Global" in node.class_name:
        shape = node.get_input_variable().shape
        return math.prod(int(size) for size in shape[:-1])
    return int(node.get_attr("pool_height", 1)) * int(node.get_attr("pool_width"))


def average_types(value: Precision, size: int, grid_bits: int | None = None) -> dict[str, str]:
    """Accumulator: the sum, and the quotient's fraction, since hls4ml divides in place; result: the quotient.

    With ``f`` fraction bits in, a quotient that is not a tie of a grid with ``g`` fraction bits is at
    least ``2**-max(f, g + 1) / size`` away from one, so ``log2(size)`` bits beyond those keep truncation
    on the right side of every tie. Without a quantizer after it, ``g`` is taken as ``f + 8``.
    """
    growth = math.ceil(math.log2(size))
    grid = value.fraction_bits + 8 if grid_bits is None else grid_bits
    finest = value.fraction_bits if size == 1 << growth else max(value.fraction_bits, grid + 1)
    fraction_bits = finest + growth
    accumulator = Precision(value.integer_bits + growth + fraction_bits, value.integer_bits + growth, value.signed)
    result = Precision(value.integer_bits + fraction_bits, value.integer_bits, value.signed)
    return {"accum": str(accumulator), "result": str(result)}


def activation_type(value: Precision, node: Any) -> Precision:
    """relu: the input's type without sign; leaky relu: with the slope's fraction bits."""
    slope = float(node.get_attr("activ_param", 0) or 0)
    if slope == 0:
        signed = int(value.signed)
        return Precision(max(value.width_bits - signed, 1), value.integer_bits - signed, signed=False)
    fraction_bits = value.fraction_bits + max(0, math.ceil(-math.log2(slope)))
    return Precision(value.integer_bits + fraction_bits, value.integer_bits, value.signed)


def affine_type(value: Precision, node: Any) -> Precision:
    """The exact type of ``scale * x + bias``."""
    scale = Precision.parse(spell(node.types["scale_t"].precision, node.name, "scale_t"))
    bias = Precision.parse(spell(node.types["bias_t"].precision, node.name, "bias_t"))
    signed = value.signed or scale.signed or bias.signed
    integer_bits = max(value.integer_bits + scale.integer_bits, bias.integer_bits) + 2
    fraction_bits = max(value.fraction_bits + scale.fraction_bits, bias.fraction_bits)
    return Precision(integer_bits + fraction_bits, integer_bits, signed)
