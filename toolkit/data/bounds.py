"""Array files looked at before anything is unpacked: what a header states is what the file can hold.

A ``.npz`` of 1 MB can unpack to gigabytes, an HDF5 array of a terabyte needs no byte in its file, and a Parquet
file of a billion equal rows hardly more. Each is one ``DataError``; nothing is allocated.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from toolkit.errors import DataError
from toolkit.reading import MIB, check_regular
from toolkit.records import Array

MOST_BYTES = 1 << 40  # of a file; what it holds has to fit into memory
MOST_RATIO = 100  # bytes in memory to bytes in the file, beyond FREE_BYTES
FREE_BYTES = 512 * MIB


def check_file(path: Path) -> None:
    """Raise ``DataError`` for a pipe, a device, or what is too large for any memory."""
    check_regular(path, path.stat(), MOST_BYTES, DataError)


def check_size(path: Path, what: str, stated: int, held: int) -> None:
    """Raise ``DataError`` where ``held`` bytes of a file state ``stated`` bytes in memory, which no data do."""
    if stated > FREE_BYTES + MOST_RATIO * held:
        raise DataError(
            f"{path}: {what} would take {stated:,} bytes, the file has {held:,} of it; beyond {FREE_BYTES:,} bytes at "
            f"most {MOST_RATIO} times as many are unpacked"
        )


def check_npz(path: Path) -> None:
    """The arrays of a NumPy archive by its directory, which bounds what is unpacked, and by their own headers."""
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        check_size(path, "its arrays", sum(part.file_size for part in parts), path.stat().st_size)
        for part in parts:
            with archive.open(part) as stream:
                check_header(path, part.filename, stream, part.file_size)


def read_npy(path: Path) -> Array:
    """The array of a ``.npy`` file that has the bytes its header states; nothing is unpickled.

    Raises ``DataError`` otherwise, and what NumPy and the system raise.
    """
    check_file(path)
    with path.open("rb") as stream:
        check_header(path, "its array", stream, path.stat().st_size)
        stream.seek(0)
        found: Array = np.load(stream, allow_pickle=False)
    return found


def check_header(path: Path, what: str, stream: IO[bytes], held: int) -> None:
    """Raise ``DataError`` when a ``.npy`` header states more bytes than there are; what has none NumPy refuses."""
    if stream.read(6) != np.lib.format.MAGIC_PREFIX:
        return
    major = stream.read(2)[:1]
    read = np.lib.format.read_array_header_1_0 if major == b"\1" else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    stated = math.prod(shape) * dtype.itemsize
    if stated > held and not dtype.hasobject:
        raise DataError(f"{path}: {what} states {stated:,} bytes, it has {held:,} (cut short or damaged)")


def check_hdf5(path: Path, item: Any) -> None:
    """Raise ``DataError`` for an HDF5 array that lies in another file, or that its own does not hold."""
    if item.external or item.is_virtual:
        raise DataError(f"{path}: array {item.name} lies in another file, which is not read")
    check_size(path, f"array {item.name}", item.size * item.dtype.itemsize, item.id.get_storage_size())


def check_parquet(path: Path) -> None:
    """The columns of a Parquet file by its footer: as many rows as it states, and the bytes they unpack to."""
    from pyarrow import parquet

    about = parquet.read_metadata(path)
    unpacked = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
    values = 8 * about.num_rows * about.num_columns
    check_size(path, f"a table of {about.num_rows:,} rows", max(unpacked, values), path.stat().st_size)
