"""What a lowering is, and the error for what cannot be lowered."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from toolkit.emulation.builder import Builder
from toolkit.emulation.program import Op, unsupported_layer
from toolkit.emulation.values import Value
from toolkit.errors import UnsupportedLayer

WRONG = "which hls4ml computes wrongly"  # what a project of others may hold, and this toolkit does not write

# From an operation and the values of its inputs to the value of its output.
Lowering = Callable[[Builder, Op, Sequence[Value]], Value]


def unsupported(op: Op, why: str) -> UnsupportedLayer:
    """The error for a layer the emulator does not compute exactly."""
    return unsupported_layer(op.name, op.kind, why)
