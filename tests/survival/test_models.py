"""Model files of strangers: loaded or one error, in time and memory, no code run, nothing outside touched."""

from __future__ import annotations

import gzip
import resource
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.survival.conftest import foreign_model
from tests.survival.hostile_models import mutations
from tests.survival.judge import CANARY, judge
from toolkit.data.datasets import load_dataset
from toolkit.data.formats import read_idx
from toolkit.errors import DataError
from toolkit.zoo import load_model

GROWTH_KIB = 1 << 20  # of the process's largest memory over all cases


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as ``.keras`` and as ``.h5``."""
    folder = tmp_path_factory.mktemp("models")
    for suffix in (".keras", ".h5"):
        foreign_model().save(folder / f"model{suffix}")
        load_model(folder / f"model{suffix}")
    return folder


def faults(models: Path, scratch: Path, count: int, seed: int) -> list[str]:
    """What is wrong with how loading the spoilt files ends."""
    found = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number, (name, suffix, mutate) in enumerate(mutations(count, seed)):
        place = scratch / str(number)
        outside = place / "outside"
        outside.mkdir(parents=True)
        (outside / "secret.txt").write_text(f"{CANARY}\n" * 50)
        file = place / f"model{suffix}"
        shutil.copy(models / file.name, file)
        mutate(file, outside)
        ended, wrong = judge(lambda file=file: load_model(file), None if "link to text" in name else outside)
        found += [f"{name} {suffix}: {fault} ({ended[:300]})" for fault in wrong]
        shutil.rmtree(place)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return found + ([f"memory grew by {grown:,} KiB"] if grown > GROWTH_KIB else [])


def test_hostile_models(models: Path, tmp_path: Path) -> None:
    assert faults(models, tmp_path, 15, seed=1) == []


@pytest.mark.slow
def test_200_hostile_models(models: Path, tmp_path: Path) -> None:
    assert faults(models, tmp_path, 200, seed=0) == []


def idx(shape: tuple[int, ...], content: bytes) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + b"".join(struct.pack(">I", size) for size in shape) + content


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (idx((2, 2, 2), bytes(1 << 28)), "must hold 2 x 2 x 2 bytes after its header, got more"),
        (idx((1 << 31, 1 << 31, 4), b""), "must state 1 to 4 dimensions"),
        (idx((60_000, 28, 28), bytes(100)), "got 100"),
        (bytes([0, 0, 8, 255]) + bytes(20), "must state 1 to 4 dimensions"),
        (b"", "begins with nothing"),
    ],
)
def test_an_archive_is_read_as_far_as_its_header_says(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "images.gz").write_bytes(gzip.compress(content, 1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=told):
        read_idx(tmp_path / "images.gz")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 16


@pytest.mark.parametrize(
    ("test_shape", "label", "told"), [((8, 8), 3, "must hold images of"), ((28, 28), 10, "labels of .* must be 0 to 9")]
)
def test_labels_and_shapes_of_a_dataset_agree(
    tmp_path: Path, test_shape: tuple[int, int], label: int, told: str
) -> None:
    files = {
        "train-images-idx3-ubyte": np.zeros((20, 28, 28), np.uint8),
        "train-labels-idx1-ubyte": np.arange(20, dtype=np.uint8) % 10,
        "t10k-images-idx3-ubyte": np.zeros((10, *test_shape), np.uint8),
        "t10k-labels-idx1-ubyte": np.full(10, label, np.uint8),
    }
    for name, array in files.items():
        (tmp_path / name).write_bytes(idx(array.shape, array.tobytes()))
    with pytest.raises(DataError, match=told):
        load_dataset("mnist", data_dir=tmp_path)
