"""What a lowering is, and the error for what cannot be lowered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from toolkit.emulation.builder import Builder
from toolkit.emulation.values import Value
from toolkit.errors import UnsupportedLayer
from toolkit.network.layers import Layer

WRONG = "which hls4ml computes wrongly"  # what a project of others may hold, and this toolkit does not write

# From a layer (of the class it is registered for) and the values of its inputs to the value of its output.
Lowering = Callable[[Builder, Any, Sequence[Value]], Value]


def unsupported(layer: Layer, why: str) -> UnsupportedLayer:
    """The error for a layer the emulator does not compute exactly."""
    return UnsupportedLayer(
        f"the emulator computes layers exactly or not at all; layer {layer.name!r} of kind "
        f"{layer.origin or layer.kind}: {why}; use csim for this project (toolkit.build_csim, which compiles it)"
    )
