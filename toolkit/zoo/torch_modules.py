"""PyTorch modules as Keras networks with the same weights, so that quantization, QAT and hls4ml apply.

The module is captured by ``torch.export`` (PyTorch 2.5 and later), which follows functional calls, ``view`` and
residual sums as well as layers; each ATen operator becomes the Keras layer with the same definition
(:mod:`toolkit.zoo.torch_operators`). PyTorch keeps channels first, Keras (and hls4ml) last: every value remembers
which PyTorch axis each Keras axis is, and a ``permute`` is only a change of that memory. A ``Permute`` layer appears
where an operator needs the values in PyTorch's own order; the weights of a dense layer that reads a flattened map
are reordered instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from toolkit.errors import ModelError
from toolkit.zoo.torch_operators import LOWERINGS, Builder, Value
from toolkit.zoo.torch_programs import exported, need_torch, parameters

# float32 sums in another order differ by so much, relative to the largest output.
SUM_ORDER = 1e-5


def from_torch(module: Any, *, input_shape: Sequence[Any] | None = None) -> keras.Model:
    """A functional Keras model that computes what a PyTorch module computes in ``eval`` mode.

    ``module``: a ``torch.nn.Module``, a ``torch.export.ExportedProgram`` or a ``.pt2`` file of one.
    ``input_shape``: of one input without the batch, in PyTorch's order, such as ``(3, 32, 32)``; a list of shapes
    for several inputs; not needed for a program. Images enter the Keras model channels last,
    ``(32, 32, 3)``; a final ``log_softmax`` is left to the loss, so outputs are logits. Pruning masks of
    ``torch.nn.utils.prune`` are applied. The module itself is not changed.

    Both are run on random inputs before the model is returned. Raises ``ModelError`` naming operator and layer for
    what has no counterpart, or when outputs differ by more than float32's order of summation explains;
    ``ToolNotFound`` without PyTorch.
    """
    program = exported(module, input_shape)
    builder = Builder()
    values: dict[str, Any] = {}
    inputs: list[Value] = []
    outputs: list[Value] = []
    held = parameters(program)
    user_inputs = [str(name) for name in program.graph_signature.user_inputs]
    channels_first = reads_channels_first(program)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in held:
            values[node.name] = held[node.name]
        elif node.op == "placeholder" and node.name in user_inputs:
            values[node.name] = entry(builder, node, channels_first)
            inputs.append(values[node.name])
        elif node.op == "call_function":
            values[node.name] = lowered(builder, node, values)
        elif node.op == "output":
            outputs = [values[item.name] for item in flat(node.args)]
    if any(value.order is not None for value in outputs):
        raise ModelError("an output is a flattened map; let a Linear layer read it, or give out the map itself")
    entered, left = (alone([value.tensor for value in group]) for group in (inputs, outputs))
    model = keras.Model(entered, left, name=re.sub(r"\W", "_", type(module).__name__.lower()))
    for name, arrays in builder.weights.items():
        if arrays:
            model.get_layer(name).set_weights(arrays)
    compare(program, model, inputs, outputs)
    return model


def alone(tensors: list[Any]) -> Any:
    """A single tensor as itself, as Keras' users write it."""
    return tensors[0] if len(tensors) == 1 else tensors


SPATIAL = ("conv1d", "conv2d", "pool", "batch_norm", "upsample", "feature_dropout")


def reads_channels_first(program: Any) -> bool:
    """Whether maps of the program have their channels on axis 1: an operator that demands it is there."""
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    return any(name in str(node.target) for node in nodes for name in SPATIAL)


def entry(builder: Builder, node: Any, channels_first: bool) -> Value:
    """An input of the network; maps are taken channels last."""
    shape = tuple(map(int, node.meta["val"].shape))
    rank = len(shape)
    axes = (0, *range(2, rank), 1) if channels_first and rank > 2 else tuple(range(rank))
    name = builder.fresh("x" if node.name == "input" else node.name)  # hls4ml keeps "input" for itself
    return Value(keras.Input([shape[axis] for axis in axes[1:]], name=name), axes)


def lowered(builder: Builder, node: Any, values: Mapping[str, Any]) -> Any:
    """One ATen operator in Keras."""
    operator = str(node.target).removeprefix("aten.").split(".")[0]
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = stack[-1][0] if stack and stack[-1][0] else node.name
    builder.name = layer_name(str(path))
    if operator not in LOWERINGS:
        known = ", ".join(sorted(LOWERINGS))
        raise ModelError(f"layer {path!r}: PyTorch operator {operator} has no counterpart; known are {known}")
    arguments = bound(node, values)
    try:
        return LOWERINGS[operator](builder, arguments)
    except (ValueError, TypeError, IndexError) as error:  # Keras' words for shapes that do not fit
        raise ModelError(f"layer {path!r} ({operator}): {' '.join(str(error).split())[:300]}") from error


def layer_name(path: str) -> str:
    """A module's path as a name that C++ takes too.

    >>> layer_name("features.0")
    'features_0'
    >>> layer_name("0")
    'layer_0'
    """
    name = re.sub(r"\W", "_", path)
    return f"layer_{name}" if name[:1].isdigit() else name


def bound(node: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """The operator's arguments by name, defaults filled in."""

    def resolve(item: Any) -> Any:
        if isinstance(item, (list, tuple)):
            return [resolve(part) for part in item]
        return values[item.name] if hasattr(item, "name") and item.name in values else item

    schema = node.target._schema.arguments
    found = {item.name: item.default_value for item in schema if item.has_default_value()}
    found |= {item.name: resolve(given) for item, given in zip(schema, node.args, strict=False)}
    return found | {name: resolve(given) for name, given in node.kwargs.items()}


def flat(items: Any) -> list[Any]:
    return [part for item in items for part in (flat(item) if isinstance(item, (list, tuple)) else [item])]


def compare(program: Any, model: keras.Model, inputs: Sequence[Value], outputs: Sequence[Value]) -> None:
    """Raise ``ModelError`` unless the Keras model computes what the program does, on random inputs."""
    torch = need_torch()
    generator = np.random.default_rng(0)
    names = set(map(str, program.graph_signature.user_inputs))
    shapes = [node.meta["val"].shape for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    probes = [generator.normal(0, 1, tuple(map(int, shape))).astype(np.float32) for shape in shapes]
    with torch.no_grad():
        expected = [item.numpy() for item in flat([program.module()(*map(torch.from_numpy, probes))])]
    fed = [probe.transpose(value.axes) for probe, value in zip(probes, inputs, strict=True)]
    answered = model(alone(fed), training=False)
    got = [np.asarray(item) for item in (answered if isinstance(answered, (list, tuple)) else [answered])]
    for number, (value, want, have) in enumerate(zip(outputs, expected, got, strict=True)):
        kept = sorted(value.axes)
        there = want.squeeze(value.ones).transpose([kept.index(axis) for axis in value.axes])
        have = np.asarray(keras.ops.log_softmax(have)) if value.logits else have
        error = float(np.abs(there - have).max(initial=0.0))
        if not error <= SUM_ORDER * max(1.0, float(np.abs(there).max(initial=0.0))):
            raise ModelError(f"output {number} of the Keras network differs from PyTorch's by {error:.3g}")
