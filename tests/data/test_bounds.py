"""Array files that state more than they hold: each is one message, and nothing is unpacked."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas
import pytest

from toolkit.cli.inputs import read_inputs
from toolkit.data import bounds, load_dataset
from toolkit.errors import DataError

HUGE = 1 << 42  # values


def header(shape: tuple[int, ...]) -> bytes:
    """A ``.npy`` file of float32 that ends after its header and four bytes."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return stream.getvalue() + bytes(4)


def lying_npz(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "data.npz", "w") as archive:
        archive.writestr("x.npy", header((HUGE, 4)))
    return folder / "data.npz"


def lying_npy(folder: Path) -> Path:
    (folder / "x.npy").write_bytes(header((HUGE, 4)))
    return folder


def hdf5(folder: Path, **settings: Any) -> Path:
    with h5py.File(folder / "data.h5", "w") as content:
        content.create_dataset("x", dtype="f4", **settings)
    return folder / "data.h5"


def virtual(folder: Path) -> Path:
    layout = h5py.VirtualLayout((4, 2), "f4")
    layout[:] = h5py.VirtualSource(folder / "other.h5", "x", (4, 2))
    with h5py.File(folder / "data.h5", "w") as content:
        content.create_virtual_dataset("x", layout)
    return folder / "data.h5"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "data.npz")
    return folder / "data.npz"


LYING = {
    "an archive's header": (lying_npz, r"data\.npz: x\.npy states .* \(cut short or damaged\)"),
    "an array's header": (lying_npy, r"x\.npy: its array states .* \(cut short or damaged\)"),
    "an HDF5 array of nothing": (lambda folder: hdf5(folder, shape=(HUGE, 4), chunks=(1024, 4)), r"/x would take .*"),
    "an HDF5 array outside": (lambda folder: hdf5(folder, shape=(4,), external=[("o", 0, 16)]), "in another file"),
    "a virtual HDF5 array": (virtual, "in another file"),
    "a pipe": (pipe, "must be a file, got a pipe"),
}


@pytest.mark.parametrize(("make", "message"), LYING.values(), ids=LYING)
def test_a_file_that_states_more_than_it_holds_is_refused(make: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        load_dataset(make(tmp_path))


def test_inputs_of_a_command_are_held_to_their_header(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.npy: its array states"):
        read_inputs(lying_npy(tmp_path) / "x.npy", None, None, None)


def bomb(folder: Path) -> Path:
    np.savez_compressed(folder / "data.npz", x=np.zeros((1 << 18, 4)), y=np.zeros(1 << 18, np.int64))
    return folder / "data.npz"


def equal_rows(folder: Path) -> Path:
    pandas.DataFrame({"x": np.zeros(1 << 20), "y": np.zeros(1 << 20)}).to_parquet(folder / "data.parquet")
    return folder / "data.parquet"


@pytest.mark.parametrize("make", [bomb, equal_rows])
def test_what_unpacks_to_far_more_than_the_file_has_is_refused(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path)
    load_dataset(path)  # small enough to be read whatever it is made of
    monkeypatch.setattr(bounds, "FREE_BYTES", 1 << 16)
    with pytest.raises(DataError, match=r"would take [0-9,]+ bytes, the file has"):
        load_dataset(path)
