"""Readers of the original file formats: IDX (MNIST, Fashion-MNIST) and the CIFAR-10 binary version."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from toolkit.errors import DataError

Bytes = npt.NDArray[np.uint8]

UNSIGNED_BYTE = 0x08  # the only IDX element type these datasets use
CIFAR10_RECORD = 1 + 3 * 32 * 32  # one label byte, then red, green and blue planes


def read_idx(path: Path) -> Bytes:
    """Read an IDX file of unsigned bytes, plain or ``.gz``, as an array of the shape its header states.

    Format: two zero bytes, element type, number of dimensions, each dimension as a big-endian
    32-bit count, data (LeCun, http://yann.lecun.com/exdb/mnist/). Raises ``DataError`` otherwise.
    """
    content = read_bytes(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != UNSIGNED_BYTE:
        raise DataError(
            f"{path} must be an IDX file of unsigned bytes; it begins with {content[:4].hex(' ') or 'nothing'}"
        )
    dimensions = content[3]
    begin = 4 + 4 * dimensions
    shape = tuple(int(count) for count in np.frombuffer(content[4:begin], ">u4"))
    if len(shape) != dimensions or len(content) - begin != int(np.prod(shape)):
        raise DataError(
            f"{path} must hold {' x '.join(map(str, shape))} bytes after its header, got {len(content) - begin} "
            "(cut short or damaged)"
        )
    return np.frombuffer(content, np.uint8, offset=begin).reshape(shape)


def read_cifar10(path: Path) -> tuple[Bytes, Bytes]:
    """Read a batch of the CIFAR-10 binary version: images ``[n, 32, 32, 3]`` and labels ``[n]``.

    Records of 3,073 bytes: label, then the red, green and blue planes row by row
    (https://www.cs.toronto.edu/~kriz/cifar.html). Raises ``DataError`` for another length or label.
    """
    content = read_bytes(path)
    if not content or len(content) % CIFAR10_RECORD:
        raise DataError(f"{path} must hold CIFAR-10 records of {CIFAR10_RECORD} bytes, got {len(content)} bytes")
    records = np.frombuffer(content, np.uint8).reshape(-1, CIFAR10_RECORD)
    if records[:, 0].max() > 9:
        raise DataError(
            f"{path}: labels must be 0 to 9, got {records[:, 0].max()} (is it the binary version of CIFAR-10?)"
        )
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0]


def read_bytes(path: Path) -> bytes:
    """A file's bytes, decompressed if its name ends in ``.gz``; raises ``DataError`` naming the file."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
