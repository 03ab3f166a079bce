"""How each kind of hls4ml layer computes, in terms of the exact arithmetic of the builder."""

from __future__ import annotations

from toolkit.emulation.layers import activations, dots, merges, pools, shapes, softmax
from toolkit.emulation.layers.lowering import Lowering

LOWERINGS: dict[str, Lowering] = {
    **dots.LOWERINGS,
    **activations.LOWERINGS,
    **softmax.LOWERINGS,
    **pools.LOWERINGS,
    **merges.LOWERINGS,
    **shapes.LOWERINGS,
}
