"""Readers of the original file formats: IDX (MNIST, Fashion-MNIST) and the CIFAR-10 binary version."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import numpy as np
import numpy.typing as npt

from toolkit.errors import DataError

Bytes = npt.NDArray[np.uint8]

MOST_BYTES = 1 << 28  # of one file's images: MNIST's are 47 MB, a batch of CIFAR-10 31 MB
MOST_DIMENSIONS = 4

UNSIGNED_BYTE = 0x08  # the only IDX element type these datasets use
CIFAR10_RECORD = 1 + 3 * 32 * 32  # one label byte, then red, green and blue planes


def read_idx(path: Path) -> Bytes:
    """Read an IDX file of unsigned bytes, plain or ``.gz``, as an array of the shape its header states.

    Format: two zero bytes, element type, number of dimensions, each dimension as a big-endian
    32-bit count, data (LeCun, http://yann.lecun.com/exdb/mnist/). Raises ``DataError`` otherwise.
    """
    with opened(path) as stream:
        start = stream.read(4)
        if len(start) < 4 or start[:2] != b"\0\0" or start[2] != UNSIGNED_BYTE:
            raise DataError(
                f"{path} must be an IDX file of unsigned bytes; it begins with {start.hex(' ') or 'nothing'}"
            )
        shape = tuple(int(count) for count in np.frombuffer(stream.read(4 * start[3]), ">u4"))
        size = math.prod(shape)
        if not 1 <= len(shape) == start[3] <= MOST_DIMENSIONS or size > MOST_BYTES:
            raise DataError(
                f"{path} must state 1 to {MOST_DIMENSIONS} dimensions of at most {MOST_BYTES:,} bytes together, "
                f"got {' x '.join(map(str, shape[:10])) or 'none'}"
            )
        content = stream.read(size + 1)
    if len(content) != size:
        got = f"{len(content):,}" if len(content) < size else "more"
        raise DataError(
            f"{path} must hold {' x '.join(map(str, shape))} bytes after its header, got {got} (cut short or damaged)"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def read_cifar10(path: Path) -> tuple[Bytes, Bytes]:
    """Read a batch of the CIFAR-10 binary version: images ``[n, 32, 32, 3]`` and labels ``[n]``.

    Records of 3,073 bytes: label, then the red, green and blue planes row by row
    (https://www.cs.toronto.edu/~kriz/cifar.html). Raises ``DataError`` for another length or label.
    """
    with opened(path) as stream:
        content = stream.read(MOST_BYTES)
    if not content or len(content) % CIFAR10_RECORD:
        raise DataError(f"{path} must hold CIFAR-10 records of {CIFAR10_RECORD} bytes, got {len(content)} bytes")
    records = np.frombuffer(content, np.uint8).reshape(-1, CIFAR10_RECORD)
    if records[:, 0].max() > 9:
        raise DataError(
            f"{path}: labels must be 0 to 9, got {records[:, 0].max()} (is it the binary version of CIFAR-10?)"
        )
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0]


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A file, decompressed as it is read if its name ends in ``.gz``; raises ``DataError`` naming it."""
    try:
        with path.open("rb") as plain:
            yield cast(IO[bytes], gzip.GzipFile(fileobj=plain)) if path.suffix == ".gz" else plain
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
