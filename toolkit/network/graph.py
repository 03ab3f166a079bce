"""The whole network: layers in order of execution, validated when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property
from typing import Any

from toolkit.errors import ModelError
from toolkit.network.layers import Input, Layer
from toolkit.network.values import Tensor
from toolkit.store import digest


@dataclass(frozen=True, eq=False)
class Graph:
    """A network in fixed point. ``str`` prints one line a layer.

    ``inputs`` and ``outputs`` are the tensors of the top function, by name and in its order. Raises
    ``ModelError`` for two layers or tensors of one name, for a tensor that is read before any layer
    makes it or as another than it was made, and for an input that no ``Input`` layer makes.
    """

    layers: tuple[Layer, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        names: set[str] = set()
        made: dict[str, Tensor] = {}
        for layer in self.layers:
            if layer.name in names:
                raise ModelError(f"layers of a network must have different names, {layer.name!r} occurs twice")
            names.add(layer.name)
            for tensor in layer.inputs:
                if made.get(tensor.name) != tensor:
                    found = made.get(tensor.name, "no layer before it that makes it")
                    raise ModelError(f"layer {layer.name!r} reads {tensor}; there is {found}")
            for tensor in layer.outputs:
                if tensor.name in made:
                    raise ModelError(f"a tensor must be made by one layer, {tensor.name!r} is made twice")
                made[tensor.name] = tensor
        starts = {tensor.name for layer in self.layers if isinstance(layer, Input) for tensor in layer.outputs}
        for what, wanted, known in (("input", self.inputs, starts), ("output", self.outputs, set(made))):
            if missing := [name for name in wanted if name not in known]:
                raise ModelError(f"a network's {what}s must be made by a layer, no layer makes {', '.join(missing)}")

    @cached_property
    def tensors(self) -> Mapping[str, Tensor]:
        """Every tensor by name, in order of execution."""
        return {tensor.name: tensor for layer in self.layers for tensor in layer.outputs}

    @cached_property
    def by_name(self) -> Mapping[str, Layer]:
        """Layers by name."""
        return {layer.name: layer for layer in self.layers}

    def layer(self, name: str) -> Layer:
        """The layer of that name; raises ``KeyError``."""
        return self.by_name[name]

    @cached_property
    def io_stream(self) -> bool:
        """Whether values travel through streams."""
        return any(tensor.fifo_depth > 0 for tensor in self.tensors.values())

    @cached_property
    def digest(self) -> str:
        """Digest over everything that decides bits and hardware; names on a front end's other side left out."""
        return digest("network", [definition(layer) for layer in self.layers], self.inputs, self.outputs)

    def with_fifo_depths(self, depths: Mapping[str, int]) -> Graph:
        """The network with other depths of some of its streams, by tensor."""

        def deep(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return tuple(replace(one, fifo_depth=depths.get(one.name, one.fifo_depth)) for one in tensors)

        layers = tuple(replace(layer, inputs=deep(layer.inputs), outputs=deep(layer.outputs)) for layer in self.layers)
        return replace(self, layers=layers)

    def __str__(self) -> str:
        return "\n".join(map(str, self.layers))


def definition(value: Any) -> Any:
    """A layer (or a value of one) as JSON types and arrays, with its kind and without what stands aside."""
    if isinstance(value, tuple):
        return [definition(item) for item in value]
    if not is_dataclass(value) or isinstance(value, type):
        return value
    kind = {"kind": value.kind} if isinstance(value, Layer) else {}
    return kind | {
        item.name: definition(getattr(value, item.name)) for item in fields(value) if not item.metadata.get("aside")
    }
