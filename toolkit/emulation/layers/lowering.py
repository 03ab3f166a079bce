"""What a lowering is, and the error for what cannot be lowered."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from toolkit.emulation.builder import Builder
from toolkit.emulation.program import Op
from toolkit.emulation.values import Value
from toolkit.errors import UnsupportedLayer

# From an operation and the values of its inputs to the value of its output.
Lowering = Callable[[Builder, Op, Sequence[Value]], Value]


def unsupported(op: Op, why: str) -> UnsupportedLayer:
    """The error for a layer the emulator does not compute exactly."""
    return UnsupportedLayer(
        f"the emulator computes layers exactly or not at all; layer {op.name!r} of kind {op.kind}: {why}; "
        "use csim for this project (toolkit.build_csim, which compiles it)"
    )
