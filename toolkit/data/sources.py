"""Arrays from files of the user's own; nothing is unpickled, and what is wrong is said with file, key and shape."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.config import DatasetConfig
from toolkit.data.bounds import check_file, check_hdf5, check_npz, check_parquet, read_npy
from toolkit.errors import DataError, nearest
from toolkit.records import Array

ENDINGS = {"train": ("_train",), "validation": ("_validation", "_val", "_valid"), "test": ("_test",)}
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")

# What from_arrays takes: ``x_train`` and the like, and further settings by name.
Found = dict[str, Any]


def read_path(config: DatasetConfig) -> Found:
    """What lies at ``config.path``, as keywords of ``from_arrays``."""
    assert config.path is not None
    path = config.path.expanduser()
    if not path.exists():
        raise DataError(f"dataset.path: {path} does not exist")
    if path.is_dir():
        return read_folder(path, config)
    readers: Mapping[str, Callable[[Path, DatasetConfig], Found]] = {
        ".npz": read_npz,
        ".h5": read_hdf5,
        ".hdf5": read_hdf5,
        ".csv": read_table,
        ".parquet": read_table,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"dataset.path: {path.name} must be a folder or end in {', '.join(readers)}; "
            "a folder holds .npy files or class folders with images"
        )
    check_file(path)
    return reader(path, config)


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a reader raises into a ``DataError`` that names the file."""
    try:
        yield
    except DataError:
        raise
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(f"{path} cannot be read as {what}: {lines[0][:200]}") from error


def read_npz(path: Path, config: DatasetConfig) -> Found:
    """Arrays of a NumPy archive."""
    with reading(path, "an .npz archive"):
        check_npz(path)
    with reading(path, "an .npz archive"), np.load(path, allow_pickle=False) as content:
        return by_name(list(content.files), lambda key: content[key], path, config)


def read_folder(path: Path, config: DatasetConfig) -> Found:
    """A folder of ``.npy`` files, or of class folders with images."""
    files = {file.stem: file for file in sorted(path.glob("*.npy"))}
    if not files:
        return read_images(path, config)

    def load(key: str) -> Array:
        with reading(files[key], "a .npy array"):
            return read_npy(files[key])

    return by_name(list(files), load, path, config)


def read_hdf5(path: Path, config: DatasetConfig) -> Found:
    """Datasets of an HDF5 file, by their full names (``group/name``)."""
    import h5py

    with reading(path, "HDF5"), h5py.File(path, "r") as content:
        names: list[str] = []
        content.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)

        def load(key: str) -> Array:
            item = content[key]
            check_hdf5(path, item)
            return np.asarray(item.asstr()[()] if h5py.check_string_dtype(item.dtype) else item[()])

        return by_name(names, load, path, config)


def by_name(names: Sequence[str], load: Callable[[str], Array], path: Path, config: DatasetConfig) -> Found:
    """Inputs and labels among named arrays: ``x``, or ``x_train`` and ``x_test``, or what the user names."""
    found: Found = {}
    for part, asked, default in (("x", config.inputs, ("x", "X")), ("y", config.labels, ("y", "Y"))):
        if asked is None:
            stem = next((name for name in default if keys_of(name, names)), None)
            wanted: Any = stem
        else:
            wanted = asked
        if wanted is None and part == "y":
            continue
        if wanted is None or isinstance(wanted, str):
            found |= one_of(part, wanted or "x", names, load, path)
        else:
            several = {name: one_of(part, name, names, load, path) for name in wanted}
            keys = {key for arrays in several.values() for key in arrays}
            found |= {
                key: {short(name): required(arrays, key, name, path) for name, arrays in several.items()}
                for key in keys
            }
    return found


def short(name: str) -> str:
    """The last part of an HDF5 name."""
    return name.rsplit("/", 1)[-1]


def required(arrays: Found, key: str, name: str, path: Path) -> Array:
    if key not in arrays:
        raise DataError(f'{path}: "{name}" must have the same splits as the other arrays, {key} is missing')
    array: Array = arrays[key]
    return array


def keys_of(stem: str, names: Sequence[str]) -> dict[str, str]:
    """Names of the arrays of a stem by split; ``""`` is the array that is to be split."""
    found = {split: stem + end for split, ends in ENDINGS.items() for end in ends if stem + end in names}
    return found or ({"": stem} if stem in names else {})


def one_of(part: str, stem: str, names: Sequence[str], load: Callable[[str], Array], path: Path) -> Found:
    keys = keys_of(stem, names)
    if not keys:
        what = "inputs" if part == "x" else "labels"
        raise DataError(
            f'{path}: no array "{stem}", "{stem}_train"{nearest(stem, names)} for the {what}; '
            f"it holds {', '.join(names) or 'nothing'}; dataset.{what} names them"
        )
    return {f"{part}_{split}" if split else part: load(key) for split, key in keys.items()}


def read_table(path: Path, config: DatasetConfig) -> Found:
    """Columns of a CSV or Parquet file: the inputs side by side; default: the last is the label, all others inputs."""
    import pandas

    with reading(path, "a table"):
        if path.suffix.lower() == ".parquet":
            check_parquet(path)
        table = pandas.read_csv(path) if path.suffix.lower() == ".csv" else pandas.read_parquet(path)
    columns = [str(name) for name in table.columns]
    labels = listed(config.labels) if config.labels is not None else columns[-1:]
    inputs = listed(config.inputs) if config.inputs is not None else [name for name in columns if name not in labels]
    for what, asked in (("inputs", inputs), ("labels", labels)):
        for name in asked:
            if name not in columns:
                raise DataError(
                    f'{path}: dataset.{what}: no column "{name}"{nearest(name, columns)}; columns: {", ".join(columns)}'
                )
    if not inputs:
        raise DataError(f"{path} must have a column of inputs beside the label {labels[0]}, got {len(columns)} column")
    table.columns = columns
    y = np.stack([column(table[name], path, name, words=True) for name in labels], axis=1)
    x = np.stack([column(table[name], path, name) for name in inputs], axis=1)
    return {"x": x, "y": y[:, 0] if len(labels) == 1 else y}


def listed(names: tuple[str, ...] | str) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def column(values: Any, path: Path, name: str, *, words: bool = False) -> Array:
    """A column as an array; raises ``DataError`` for missing values, and for words among inputs."""
    missing = np.flatnonzero(values.isna().to_numpy())
    if len(missing):
        raise DataError(
            f'{path}: column "{name}" must be complete, {len(missing):,} of {len(values):,} values are missing (NaN), '
            f"the first in row {missing[0]}"
        )
    array = values.to_numpy()
    if array.dtype.kind in "iubf":
        return array  # type: ignore[no-any-return]
    if not words:
        raise DataError(f'{path}: column "{name}" must hold numbers to be an input, got {array[0]!r}')
    return array.astype(str)  # type: ignore[no-any-return]


def read_images(path: Path, config: DatasetConfig) -> Found:
    """Class folders with images, or such folders in ``train``, ``test`` and possibly ``validation``."""
    names = {folder.name for folder in path.iterdir() if folder.is_dir()}
    if not names:
        raise DataError(f"{path} must hold .npy files or class folders with images, got neither")
    if {"train", "test"} <= names:
        splits = [split for split in ("train", "validation", "test") if split in names]
        read = {split: images_in(path / split, config) for split in splits}
        found: Found = {f"{part}_{split}": read[split][part] for split in splits for part in "xy"}
        return {**found, "class_names": read["train"]["class_names"]}
    return images_in(path, config)


def images_in(folder: Path, config: DatasetConfig) -> Found:
    """Images of all class folders through Keras' loader; without ``shape`` they must be of one size."""
    import keras

    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    files = [file for name in classes for file in sorted((folder / name).rglob("*")) if file.suffix.lower() in IMAGES]
    if not files:
        raise DataError(f"{folder}: its class folders ({', '.join(classes[:6])}) hold no images ({', '.join(IMAGES)})")
    height, width, channels = config.shape or common_shape(files)
    with reading(folder, "images"):
        loaded = keras.utils.image_dataset_from_directory(
            folder,
            labels="inferred",
            label_mode="int",
            class_names=classes,
            color_mode={1: "grayscale", 3: "rgb", 4: "rgba"}[channels],
            batch_size=None,
            image_size=(height, width),
            shuffle=False,
            verbose=False,
        )
        pairs = list(loaded.as_numpy_iterator())
    x = np.stack([np.round(image) for image, _ in pairs]).astype(np.uint8)
    return {"x": x, "y": np.array([label for _, label in pairs]), "class_names": tuple(classes)}


def common_shape(files: Sequence[Path]) -> tuple[int, int, int]:
    """Height, width and channels that all images have; raises ``DataError`` naming two that differ."""
    import tensorflow as tf

    shapes: dict[tuple[int, int, int], Path] = {}
    for file in files:
        with reading(file, "an image"):
            try:
                shape = tuple(tf.io.decode_image(file.read_bytes(), expand_animations=False).shape)
            except tf.errors.InvalidArgumentError as error:
                raise DataError(f"{file} cannot be read as an image: {str(error)[:200]}") from None
        shapes.setdefault((int(shape[0]), int(shape[1]), int(shape[2])), file)
        if len(shapes) > 1:
            (one, first), (other, second) = shapes.items()
            raise DataError(
                f"images must be of one size, or dataset.shape says which they are resized to; {first} is {list(one)}, "
                f"{second} is {list(other)}"
            )
    return next(iter(shapes))
