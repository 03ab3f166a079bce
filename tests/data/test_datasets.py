"""Datasets: what is in them, that splits are fixed, and what is said about bad files."""

from __future__ import annotations

import gzip
import shutil
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

from toolkit.config import DatasetConfig
from toolkit.data import Dataset, datasets, load_dataset, read_cifar10, read_idx, reshape_images
from toolkit.errors import ConfigError, DataError

COUNTS = {
    "mnist5k": (3600, 400, 1000),
    "digits": (1293, 144, 360),
    "synthetic": (256, 64, 64),
    "mnist": (54, 6, 20),
    "fashion_mnist": (54, 6, 20),
    "cifar10": (45, 5, 10),
}
SHAPES = {"digits": (8, 8, 1), "synthetic": (16, 16, 1), "cifar10": (32, 32, 3)}
# Datasets that are inside packages never change; a new digest makes earlier results incomparable.
DIGESTS = {"mnist5k": "d9a86b967474b778", "digits": "565df0145fe697a3", "synthetic": "ff36e58b329e84b4"}


def idx_bytes(array: np.ndarray) -> bytes:
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(folder: Path, suffix: str = "", train: int = 60, test: int = 20) -> Path:
    """Small files in MNIST's format and names: image ``i`` is filled with ``i``, label is ``i % 10``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in (("train", train), ("t10k", test)):
        images = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None], (count, 28, 28))
        parts = {"images-idx3": images, "labels-idx1": (np.arange(count) % 10).astype(np.uint8)}
        for part, array in parts.items():
            content = idx_bytes(np.ascontiguousarray(array))
            path = folder / f"{name}-{part}-ubyte{suffix}"
            path.write_bytes(gzip.compress(content) if suffix else content)
    return folder


def write_cifar10(folder: Path, per_batch: int = 10) -> Path:
    """Small files in CIFAR-10's binary format: red is 1, green is 2, blue is the record's number."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in datasets.CIFAR10_FILES:
        records = [
            bytes([index % 10]) + b"\x01" * 1024 + b"\x02" * 1024 + bytes([index]) * 1024 for index in range(per_batch)
        ]
        (folder / name).write_bytes(b"".join(records))
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    write_idx(tmp_path / "mnist")
    write_idx(tmp_path / "fashion_mnist", ".gz")
    write_cifar10(tmp_path / "cifar10")
    return tmp_path


@pytest.fixture(params=list(COUNTS))
def dataset(request: pytest.FixtureRequest, folders: Path) -> Dataset:
    return load_dataset(request.param, data_dir=folders)


class TestContract:
    """What every dataset promises."""

    def test_images_and_labels(self, dataset: Dataset) -> None:
        shape = SHAPES.get(dataset.name, (28, 28, 1))
        assert dataset.input_shape == shape
        for split, count in zip(("train", "validation", "test"), COUNTS[dataset.name], strict=True):
            images, labels = getattr(dataset, f"x_{split}"), getattr(dataset, f"y_{split}")
            assert images.shape == (count, *shape) and images.dtype == np.uint8
            assert labels.shape == (count,) and labels.dtype == np.int64
            assert labels.min() >= 0 and labels.max() < dataset.classes

    def test_every_class_is_in_every_large_split(self, dataset: Dataset) -> None:
        for labels in (dataset.y_train, dataset.y_test):
            assert len(np.unique(labels)) == dataset.classes

    def test_the_same_on_every_load(self, dataset: Dataset, folders: Path) -> None:
        again = load_dataset(dataset.name, data_dir=folders)
        assert again.digest == dataset.digest and again.test_digest == dataset.test_digest
        np.testing.assert_array_equal(again.x_train, dataset.x_train)

    def test_digests_are_those_of_the_first_release(self, dataset: Dataset) -> None:
        assert dataset.digest == DIGESTS.get(dataset.name, dataset.digest)

    def test_arrays_cannot_be_changed(self, dataset: Dataset) -> None:
        with pytest.raises(ValueError, match="read-only"):
            dataset.x_train[0] = 0


def test_original_test_split_is_kept_in_order(folders: Path) -> None:
    dataset = load_dataset("mnist", data_dir=folders)
    np.testing.assert_array_equal(dataset.x_test[:, 0, 0, 0], np.arange(20))
    seen = np.sort(np.concatenate([dataset.x_train, dataset.x_validation])[:, 0, 0, 0])
    np.testing.assert_array_equal(seen, np.arange(60))


def test_splits_are_stratified() -> None:
    dataset = load_dataset("mnist5k")
    for labels, each in ((dataset.y_train, 360), (dataset.y_validation, 40), (dataset.y_test, 100)):
        np.testing.assert_array_equal(np.bincount(labels), [each] * 10)


def test_cifar10_planes_become_channels(folders: Path) -> None:
    images, labels = read_cifar10(folders / "cifar10" / "test_batch.bin")
    np.testing.assert_array_equal(images[7, 5, 9], [1, 2, 7])
    np.testing.assert_array_equal(labels, np.arange(10))


def test_idx_plain_and_compressed_are_the_same(tmp_path: Path) -> None:
    plain = load_dataset("mnist", data_dir=write_idx(tmp_path / "a"))
    packed = load_dataset("mnist", data_dir=write_idx(tmp_path / "b", ".gz"))
    assert plain.digest == packed.digest


def test_environment_variable_names_the_folder(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_DATA", str(folders))
    assert load_dataset("fashion_mnist").origin == str(folders / "fashion_mnist")


def test_debian_package_is_found(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "DEBIAN_ROOT", folders)
    (folders / "fashion_mnist").rename(folders / "fashion-mnist")
    assert load_dataset("fashion_mnist").origin == str(folders / "fashion-mnist")


def test_padding_is_centred_and_grey_is_repeated() -> None:
    image = np.arange(1, 5, dtype=np.uint8).reshape(1, 2, 2, 1)
    shaped = reshape_images(image, (5, 4, 3))
    assert shaped.shape == (1, 5, 4, 3)
    np.testing.assert_array_equal(shaped[0, 1:3, 1:3], np.repeat(image[0], 3, axis=2))
    assert shaped.sum() == 3 * image.sum()


def test_shape_and_test_count_from_a_configuration() -> None:
    dataset = load_dataset(DatasetConfig(name="digits", shape=(32, 32, 3), test_count=7))
    assert dataset.input_shape == (32, 32, 3) and len(dataset.y_test) == 7
    whole = load_dataset("digits", shape=(32, 32, 3))
    assert dataset.test_digest != whole.test_digest
    np.testing.assert_array_equal(dataset.x_test, whole.x_test[:7])


def test_synthetic_takes_any_shape_and_says_that_it_is_generated() -> None:
    dataset = load_dataset("synthetic", shape=(6, 5, 3), classes=3, counts=(30, 6, 9), seed=1)
    assert dataset.input_shape == (6, 5, 3) and dataset.classes == 3
    assert [len(dataset.y_train), len(dataset.y_validation), len(dataset.y_test)] == [30, 6, 9]
    assert "generated" in dataset.origin
    other = load_dataset("synthetic", shape=(6, 5, 3), classes=3, counts=(30, 6, 9), seed=2)
    assert other.digest != dataset.digest


def test_synthetic_can_be_told_apart() -> None:
    dataset = load_dataset("synthetic")
    means = np.stack([dataset.inputs("train")[dataset.y_train == label].mean(axis=0) for label in range(4)])
    distances = ((dataset.inputs()[:, None] - means) ** 2).sum(axis=(2, 3, 4))
    assert (distances.argmin(axis=1) == dataset.y_test).mean() > 0.95


@pytest.mark.parametrize(
    ("name", "options", "error", "words"),
    [
        ("cifar100", {}, ConfigError, ['"cifar100" is unknown', 'did you mean "cifar10"']),
        ("mnist", {"data_dir": "/nowhere"}, DataError, ["/nowhere does not exist"]),
        ("digits", {"shape": (4, 4, 1)}, DataError, ["at least [8, 8, 1]", "nothing is scaled"]),
        ("digits", {"classes": 3}, ConfigError, ["classes", "synthetic"]),
        ("synthetic", {"noise": 3}, ConfigError, ["noise", "counts"]),
        ("digits", {"test_count": 0}, ConfigError, ["test_count"]),
    ],
)
def test_mistakes_are_named(name: str, options: dict, error: type[Exception], words: list[str]) -> None:
    with pytest.raises(error) as caught:
        load_dataset(name, **options)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_missing_files_are_listed(folders: Path) -> None:
    (folders / "cifar10" / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match=r"cifar10 is not in .*data_batch_3\.bin"):
        load_dataset("cifar10", data_dir=folders / "cifar10")


@pytest.mark.parametrize("name", ["cifar10", "mnist", "fashion_mnist"])
def test_offline_says_where_to_put_which_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    def no_network(*arguments: object, **options: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.delenv("TOOLKIT_DATA", raising=False)
    monkeypatch.setattr(datasets, "DEBIAN_ROOT", tmp_path)
    monkeypatch.setattr(keras.utils, "get_file", no_network)
    for module in (keras.datasets.mnist, keras.datasets.fashion_mnist):
        monkeypatch.setattr(module, "load_data", no_network)
    with pytest.raises(DataError) as caught:
        load_dataset(name)
    file = "test_batch.bin" if name == "cifar10" else "t10k-images-idx3-ubyte"
    for word in (file, "TOOLKIT_DATA", "--data-dir", "cannot be downloaded"):
        assert word in str(caught.value)


def test_mnist_does_not_pass_for_fashion_mnist(tmp_path: Path) -> None:
    write_idx(tmp_path)
    labels = np.array([7, 2, 1, 0, 4, 1, 4, 9, 5, 9] * 2, np.uint8)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    assert len(load_dataset("mnist", data_dir=tmp_path).y_test) == 20
    with pytest.raises(DataError, match="belongs to mnist, not to fashion_mnist"):
        load_dataset("fashion_mnist", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "must be an IDX file"),
        (b"PK\x03\x04", "must be an IDX file"),
        (idx_bytes(np.zeros((3, 2), np.uint8))[:-1], "must hold 3 x 2 bytes after its header, got 5"),
        (b"\0\0\x08\x03\0\0\0\x01", "damaged"),
    ],
    ids=["empty", "other format", "cut short", "header cut short"],
)
def test_damaged_idx(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_idx(path)


def test_damaged_gzip_and_cifar10(tmp_path: Path) -> None:
    packed = tmp_path / "labels.gz"
    packed.write_bytes(gzip.compress(b"x" * 100)[:-10])
    with pytest.raises(DataError, match=r"labels\.gz cannot be read"):
        read_idx(packed)
    batch = tmp_path / "batch.bin"
    batch.write_bytes(b"\x0b" * 3073)
    with pytest.raises(DataError, match="labels must be 0 to 9, got 11"):
        read_cifar10(batch)
    batch.write_bytes(b"\x01" * 3000)
    with pytest.raises(DataError, match="records of 3073 bytes, got 3000"):
        read_cifar10(batch)


def test_downloaded_cifar10_is_unpacked_once_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = write_cifar10(tmp_path / "made" / "cifar-10-batches-bin")
    archive = tmp_path / "cache" / "cifar-10-binary.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as content:
        content.add(inner, inner.name)
    monkeypatch.delenv("TOOLKIT_DATA", raising=False)
    monkeypatch.setattr(datasets, "keras_download", lambda *arguments: archive)
    first = load_dataset("cifar10")
    assert first.digest == load_dataset("cifar10").digest == load_dataset("cifar10", data_dir=inner).digest
    assert sorted(path.name for path in archive.parent.iterdir()) == ["cifar-10-batches-bin", archive.name]
    (inner / "test_batch.bin").unlink()
    with tarfile.open(archive, "w:gz") as content:
        content.add(inner, inner.name)
    shutil.rmtree(archive.parent / "cifar-10-batches-bin")
    with pytest.raises(DataError, match="cifar10 is not on this machine"):
        load_dataset("cifar10")
    assert [path.name for path in archive.parent.iterdir()] == [archive.name]
