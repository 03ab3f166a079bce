"""Images brought to a larger shape without inventing pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from toolkit.errors import DataError
from toolkit.records import Array


def reshape_images(images: Array, shape: Sequence[int]) -> Array:
    """Pad images ``[n, h, w, c]`` with zeros, centred, and repeat a grey channel; never scale.

    ``shape`` is height, width and channels. Raises ``DataError`` when that would need cropping or a
    mixing of channels.
    """
    height, width, channels = shape
    have = images.shape[1:]
    if height < have[0] or width < have[1] or (channels != have[2] and have[2] != 1):
        raise DataError(
            f"shape must be at least {list(have)} (zeros are added and grey is repeated, nothing is scaled), "
            f"got {list(shape)}"
        )
    top, left = (height - have[0]) // 2, (width - have[1]) // 2
    margins = [(0, 0), (top, height - have[0] - top), (left, width - have[1] - left), (0, 0)]
    padded = np.pad(images, margins)
    return np.repeat(padded, channels, axis=3) if channels != have[2] else padded
