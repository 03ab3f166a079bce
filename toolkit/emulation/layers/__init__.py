"""How each kind of layer computes, in terms of the exact arithmetic of the builder."""

from __future__ import annotations

from toolkit.emulation.layers import activations, dots, merges, pools, shapes, softmax
from toolkit.emulation.layers.lowering import Lowering
from toolkit.network.layers import Layer

LOWERINGS: dict[type[Layer], Lowering] = {
    **dots.LOWERINGS,
    **activations.LOWERINGS,
    **softmax.LOWERINGS,
    **pools.LOWERINGS,
    **merges.LOWERINGS,
    **shapes.LOWERINGS,
}
