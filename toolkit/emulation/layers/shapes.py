"""Layers that move numbers without changing them, except by the cast to their result type.

Source: ``nnet_padding*.h``, ``nnet_image*.h``, ``nnet_transpose*.h``, ``nnet_cropping*.h``, ``nnet_stream.h``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from toolkit.emulation.builder import Builder
from toolkit.emulation.layers.lowering import Lowering
from toolkit.emulation.layers.merges import broadcast
from toolkit.emulation.values import Value
from toolkit.network.layers import (
    Broadcast,
    Clone,
    Cropping,
    Layer,
    Repack,
    Reshape,
    Resize,
    Transpose,
    ZeroPadding,
)


def copy(b: Builder, op: Layer, inputs: Sequence[Value]) -> Value:
    """The value itself, in the result type."""
    return b.cast(inputs[0], op.result)


def reshape(b: Builder, op: Reshape | Repack, inputs: Sequence[Value]) -> Value:
    """A new shape over the same order; flattening an image stored channels first only notes its shape."""
    x = inputs[0]
    if len(op.shape) == 1 and x.channels_first:
        return b.cast(flattened(b, x), op.result)
    done = b.force(b.channels_last(x))
    return b.cast(done.change(tensor=b.reshape(str(done.tensor), op.shape), shape=op.shape), op.result)


def repack(b: Builder, op: Repack, inputs: Sequence[Value]) -> Value:
    """``repack_stream``: io_stream's reshape, packs of another size in the same order."""
    return copy(b, op, inputs) if inputs[0].shape == op.shape else reshape(b, op, inputs)


def flattened(b: Builder, x: Value) -> Value:
    done = b.force(x)
    size = int(np.prod(x.shape))
    tensor = b.reshape(str(done.tensor), (size,))
    return done.change(tensor=tensor, shape=(size,), channels_first=False, flat_of=x.shape)


def zero_padding(b: Builder, op: ZeroPadding, inputs: Sequence[Value]) -> Value:
    """Zeros around the image."""
    before, after = op.before, op.after
    x = b.force(inputs[0] if not inputs[0].flat_of else b.channels_last(inputs[0]))
    pads = [0, 0, *before, 0, 0, *after] if x.channels_first else [0, *before, 0, 0, *after, 0]
    tensor = b.node("Pad", str(x.tensor), b.constant(pads, np.int64))
    return b.cast(x.change(tensor=tensor, shape=op.shape, low=min(x.low, 0), high=max(x.high, 0)), op.result)


def cropping(b: Builder, op: Cropping, inputs: Sequence[Value]) -> Value:
    """A part of the image."""
    starts = op.before
    x = b.force(b.channels_last(inputs[0]))
    ends = [start + size for start, size in zip(starts, op.shape[:-1], strict=True)]
    axes = range(1, len(starts) + 1)
    tensor = b.node("Slice", str(x.tensor), *(b.constant(list(part), np.int64) for part in (starts, ends, axes)))
    return b.cast(x.change(tensor=tensor, shape=op.shape), op.result)


def resize(b: Builder, op: Resize, inputs: Sequence[Value]) -> Value:
    """Nearest-neighbour up-sampling with hls4ml's own ratio (``resize_nearest``)."""
    x = b.force(b.channels_last(inputs[0]))
    tensor = str(x.tensor)
    for axis, (old, new) in enumerate(zip(x.shape[:-1], op.shape[:-1], strict=True), start=1):
        if old != new:
            tensor = b.node("Gather", tensor, b.constant(nearest_places(old, new, b.io_stream), np.int64), axis=axis)
    return b.cast(x.change(tensor=tensor, shape=op.shape), op.result)


def nearest_places(old: int, new: int, io_stream: bool) -> list[int]:
    """Source index of each new position: a repeat in io_stream, a 16-bit ratio in io_parallel."""
    if io_stream:
        return [place // (new // old) for place in range(new)]
    ratio = (old << 16) // new + 1
    return [(place * ratio) >> 16 for place in range(new)]


def transpose(b: Builder, op: Transpose, inputs: Sequence[Value]) -> Value:
    """Axes in another order."""
    x = b.force(b.channels_last(inputs[0]))
    if len(op.perm) == 1:
        return b.cast(x, op.result)
    tensor = b.node("Transpose", str(x.tensor), perm=[0, *(axis + 1 for axis in op.perm)])
    return b.cast(x.change(tensor=tensor, shape=op.shape), op.result)


def spread(b: Builder, op: Broadcast, inputs: Sequence[Value]) -> Value:
    """``Broadcast``: one pixel over the image, or one channel over the channels."""
    x = b.channels_last(inputs[0])
    if x.shape[-1] == op.shape[-1]:
        return b.cast(broadcast(b, x, op.shape), op.result)
    done = b.force(x)
    shape = b.constant([1, *op.shape], np.int64)
    return b.cast(done.change(tensor=b.node("Expand", str(done.tensor), shape), shape=op.shape), op.result)


LOWERINGS: dict[type[Layer], Lowering] = {
    Clone: copy,
    Repack: repack,
    Reshape: reshape,
    ZeroPadding: zero_padding,
    Cropping: cropping,
    Resize: resize,
    Transpose: transpose,
    Broadcast: spread,
}
