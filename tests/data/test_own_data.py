"""A user's own data: every format, every kind of label, and what is said about data that are wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas
import pytest

from toolkit.config import DatasetConfig
from toolkit.data import Dataset, datasets, load_dataset
from toolkit.errors import ConfigError, DataError, ToolkitError

RNG = np.random.default_rng(0)
X = RNG.normal(1.0, 3.0, (100, 4))
CLASS = np.arange(100) % 3
REAL = X @ [0.5, 1, 0, -1]


def save_npz(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


def save_npy(folder: Path, **arrays: Any) -> Path:
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder


def save_hdf5(folder: Path, **arrays: Any) -> Path:
    with h5py.File(folder / "data.h5", "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return folder / "data.h5"


def save_table(folder: Path, suffix: str, x: np.ndarray, y: np.ndarray) -> Path:
    table = pandas.DataFrame({**{f"f{index}": x[:, index] for index in range(x.shape[1])}, "label": y})
    path = folder / f"data{suffix}"
    table.to_csv(path, index=False) if suffix == ".csv" else table.to_parquet(path)
    return path


def save_images(folder: Path, count: int = 4, sizes: tuple[tuple[int, int], ...] = ((6, 5),)) -> Path:
    import keras

    for label, name in enumerate(("cat", "dog", "owl")):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            height, width = sizes[index % len(sizes)]
            image = np.full((height, width, 3), 40 * label + index)
            keras.utils.save_img(folder / name / f"{index}.png", image, scale=False)
    return folder


class TestFormats:
    """The same arrays in any format are the same data."""

    @pytest.mark.parametrize("save", [save_npz, save_npy, save_hdf5])
    def test_named_arrays(self, save: Any, tmp_path: Path) -> None:
        dataset = load_dataset(save(tmp_path, x=X, y=CLASS))
        same = Dataset.from_arrays(x=X, y=CLASS, name=dataset.name)
        assert dataset.digest == same.digest and dataset.task == "classification"
        assert [dataset.size(split) for split in ("train", "validation", "test")] == [72, 8, 20]

    @pytest.mark.parametrize("save", [save_npz, save_npy, save_hdf5])
    def test_given_splits_and_names(self, save: Any, tmp_path: Path) -> None:
        arrays = {"jets_train": X[:60], "jets_test": X[60:], "kind_train": CLASS[:60], "kind_test": CLASS[60:]}
        dataset = load_dataset(save(tmp_path, **arrays), inputs="jets", labels="kind")
        np.testing.assert_array_equal(dataset.x_test, X[60:].astype(np.float32))
        assert dataset.size("train") == 54 and dataset.size("validation") == 6

    @pytest.mark.parametrize("suffix", [".csv", ".parquet"])
    def test_tables(self, suffix: str, tmp_path: Path) -> None:
        path = save_table(tmp_path, suffix, X, np.array(["b", "a", "c"])[CLASS])
        dataset = load_dataset(path)
        assert dataset.class_names == ("a", "b", "c") and dataset.input_shape == (4,)
        some = load_dataset(path, inputs=("f0", "f2"), labels="f3")
        assert some.task == "regression" and some.input_shape == (2,)

    def test_class_folders_of_images(self, tmp_path: Path) -> None:
        dataset = load_dataset(save_images(tmp_path))
        assert dataset.class_names == ("cat", "dog", "owl") and dataset.input_shape == (6, 5, 3)
        assert dataset.x_train.dtype == np.uint8 and dataset.scalings()[0].name == "1/255"
        for image, label in zip(dataset.x_train, dataset.y_train, strict=True):
            assert (image // 40 == label).all()
        small = load_dataset(tmp_path, shape=(3, 3, 1))
        assert small.input_shape == (3, 3, 1)

    def test_images_of_two_sizes_are_not_resized_unasked(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"one size.*0\.png is \[6, 5, 3\].*1\.png is \[4, 4, 3\]"):
            load_dataset(save_images(tmp_path, sizes=((6, 5), (4, 4))))

    def test_batches_of_tensorflow_and_keras(self) -> None:
        import tensorflow as tf

        batches = [
            tf.data.Dataset.from_tensor_slices((X[part], CLASS[part])).batch(16) for part in (slice(70), slice(70, 100))
        ]
        dataset = Dataset.from_batches(*batches)
        np.testing.assert_array_equal(dataset.x_test, X[70:].astype(np.float32))
        pair = Dataset.from_batches((X[:70], CLASS[:70]), (X[70:], CLASS[70:]))
        assert pair.digest == dataset.digest

    def test_another_package_registers_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Entry:
            name, value = "jets", "jets:load"

            @staticmethod
            def load() -> Any:
                return lambda folder: {"x": X, "y": REAL, "origin": "a generator"}

        monkeypatch.setattr(datasets.metadata, "entry_points", lambda group: [Entry])
        dataset = load_dataset("jets")
        assert (dataset.task, dataset.origin, dataset.name) == ("regression", "a generator", "jets")
        with pytest.raises(ConfigError, match='did you mean "jets"'):
            load_dataset("jet")


@pytest.mark.parametrize(
    ("labels", "task", "metric"),
    [
        (CLASS, "classification", "accuracy"),
        (np.eye(3)[CLASS], "classification", "accuracy"),
        (np.array(["a", "b", "c"])[CLASS], "classification", "accuracy"),
        (CLASS % 2, "binary", "accuracy"),
        (np.array(["b", "s"])[CLASS % 2], "binary", "accuracy"),
        (np.stack([CLASS == 0, X[:, 0] > 0, X[:, 1] > 0], 1).astype(int), "multilabel", "roc_auc"),
        (REAL, "regression", "rmse"),
        (X[:, :2], "regression", "rmse"),
        (None, "unlabelled", "agreement"),
    ],
)
def test_the_task_is_inferred_where_it_is_plain(labels: Any, task: str, metric: str) -> None:
    dataset = Dataset.from_arrays(x=X, y=labels)
    assert (dataset.task, dataset.metric.name) == (task, metric) and dataset.head.note


def test_what_is_not_plain_is_asked_for() -> None:
    with pytest.raises(DataError, match=r"not plain.*say task\.kind: classification, binary"):
        Dataset.from_arrays(x=X, y=np.arange(100) * 7.0)
    assert Dataset.from_arrays(x=X, y=np.arange(100) * 7.0, task="regression").task == "regression"


class TestScaling:
    """Scaling is a property of the data."""

    def test_floats_stay_as_they_are(self) -> None:
        dataset = Dataset.from_arrays(x=X, y=CLASS)
        np.testing.assert_array_equal(dataset.inputs(), dataset.x_test)

    def test_a_hand_made_dataset_of_floats_is_not_divided(self) -> None:
        x = X.astype(np.float32)
        made = Dataset("mine", x, CLASS, x, CLASS, x, CLASS, ("a", "b", "c"), "whole", "test", "made")
        np.testing.assert_array_equal(made.inputs(), x)

    def test_standard_is_that_of_the_training_split(self) -> None:
        dataset = Dataset.from_arrays(x=X, y=CLASS, scale="standard")
        np.testing.assert_allclose(dataset.inputs("train").mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(dataset.inputs("train").std(axis=0), 1, atol=1e-5)
        expected = (dataset.x_test - dataset.x_train.mean(axis=0)) / dataset.x_train.std(axis=0)
        np.testing.assert_allclose(dataset.inputs(), expected, atol=1e-5)

    @pytest.mark.parametrize(("scale", "factor"), [("1/32768", 2.0**-15), (0.25, 0.25), ("none", 1.0)])
    def test_integers_are_scaled_as_told(self, scale: Any, factor: float) -> None:
        dataset = Dataset.from_arrays(x=np.arange(100, dtype=np.int16)[:, None], y=CLASS, scale=scale)
        np.testing.assert_array_equal(dataset.inputs(), dataset.x_test * np.float32(factor))
        assert dataset.inputs().dtype == np.float32

    def test_a_constant_feature_is_only_shifted(self) -> None:
        x = np.where(np.arange(4) == 2, 7.0, X)
        assert (Dataset.from_arrays(x=x, y=CLASS, scale="standard").inputs()[:, 2] == 0).all()


def test_several_inputs_and_outputs_by_name(tmp_path: Path) -> None:
    path = save_npz(tmp_path, image=X.reshape(100, 2, 2, 1), scalars=X, kind=CLASS, energy=REAL)
    dataset = load_dataset(path, inputs=("image", "scalars"), labels=("kind", "energy"))
    assert dataset.input_shapes == ((2, 2, 1), (4,)) and [head.kind for head in dataset.heads] == [
        "classification",
        "regression",
    ]
    assert dataset.metric.name == "kind_accuracy"
    other = load_dataset(path, inputs=("image",), labels=("kind", "energy"), task={"deciding": "energy"})
    assert other.metric.name == "energy_rmse" and other.input_names == ("image",)


def test_splits_are_seeded_and_stratified() -> None:
    first, same, other = (Dataset.from_arrays(x=X, y=CLASS, seed=seed) for seed in (1, 1, 2))
    assert first.digest == same.digest != other.digest
    assert set(np.bincount(first.y_test)) <= {6, 7}
    numbers = Dataset.from_arrays(x=X, y=REAL, test_fraction=0.5, validation_fraction=0)
    assert (numbers.size("train"), numbers.size("validation"), numbers.size("test")) == (50, 0, 50)


def with_nan() -> np.ndarray:
    x = X.copy()
    x[12, 3] = np.nan
    return x


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x_train": X, "y_train": CLASS[:99], "x_test": X}, ["x_train and y_train", "100 and 99", "(100, 4)"]),
        ({"x": with_nan(), "y": CLASS}, ["x must be finite", "[12, 3]"]),
        ({"x": X, "y": np.where(np.arange(100) == 5, np.nan, REAL)}, ["y must be finite"]),
        ({"x": X, "y": CLASS + 1, "class_names": "abc"}, ["labels must be 0 to 2", "got 3 for sample 2"]),
        ({"x_train": X, "y_train": CLASS, "x_test": X[:0], "y_test": CLASS[:0]}, ["x_test must hold at least"]),
        ({"x_train": X, "y_train": CLASS, "x_test": X[:, :3], "y_test": CLASS}, ["x_test must have shape", "(100, 3)"]),
        ({"x_train": X, "y_train": CLASS}, ["x_train and x_test", "got x_train, y_train"]),
        ({"y": CLASS}, ["x is missing"]),
        ({"x": X.astype(complex), "y": CLASS}, ["real numbers", "complex128"]),
        ({"x": X.astype(object), "y": CLASS}, ["real numbers", "object"]),
        ({"x": (X * 100).astype(np.int16), "y": CLASS}, ["int16", "scale"]),
        ({"x": X, "y": CLASS, "scale": "minmax"}, ["scale must be", "minmax"]),
        ({"x": X, "y": CLASS, "task": "binary"}, ["binary task has 2 classes"]),
        ({"x": X, "y": REAL, "task": "classification"}, ["whole numbers"]),
        ({"x": X, "y": CLASS, "metric": "rmse"}, ["rmse is not for classification", "accuracy"]),
        ({"x": X, "y": CLASS, "metric": "acuracy"}, ['did you mean "accuracy"']),
        ({"x": X, "y": REAL, "metric": lambda targets, outputs: 0.0}, ["task.direction"]),
        ({"x": X, "y": REAL, "metric": "nowhere:spread"}, ["nowhere:spread", "cannot be imported"]),
        ({"x": X, "y": REAL, "stratified": True}, ["no classes"]),
        ({"x": X, "labels": CLASS}, ['array: "labels" is unknown']),
    ],
)  # fmt: skip
def test_wrong_arrays_are_named(arrays: Mapping[str, Any], words: list[str]) -> None:
    with pytest.raises(ToolkitError) as caught:
        Dataset.from_arrays(**arrays)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("make", "keys", "words"),
    [
        (lambda folder: folder / "absent.npz", {}, ["absent.npz does not exist"]),
        (lambda folder: save_npz(folder, x=X, y=CLASS).rename(folder / "data.h5"), {}, ["h5 cannot be read as HDF5"]),
        (lambda folder: save_npz(folder, x=X, y=np.array([{}] * 100)), {}, ["data.npz cannot be read", "pickle"]),
        (lambda folder: save_npz(folder, features=X, y=CLASS), {}, ['no array "x"', "it holds features, y"]),
        (lambda folder: save_npz(folder, x=with_nan(), y=CLASS), {}, ["data.npz: x must be finite"]),
        (lambda folder: save_npz(folder, x=X, y=CLASS[:99]), {}, ["data.npz: y", "100 and 99"]),
        (lambda folder: save_table(folder, ".csv", X, CLASS), {"inputs": ("f0", "f9")}, ['no column "f9"', "s: f0"]),
        (lambda folder: save_table(folder, ".csv", with_nan(), CLASS), {}, ['column "f3"', "row 12"]),
        (lambda folder: save_table(folder, ".csv", X, CLASS), {"shape": (1, 2, 2)}, ["dataset.shape is for images"]),
        (lambda folder: save_table(folder, ".csv", X, CLASS).rename(folder / "data.root"), {}, [".npz", ".parquet"]),
        (lambda folder: folder, {}, ["npy files or class folders"]),
    ],
)  # fmt: skip
def test_wrong_files_are_named(make: Any, keys: dict[str, Any], words: list[str], tmp_path: Path) -> None:
    with pytest.raises(ToolkitError) as caught:
        load_dataset(make(tmp_path), **keys)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("key", ["inputs", "labels", "test_fraction", "seed"])
def test_keys_that_decide_nothing_are_refused(key: str) -> None:
    value = {"inputs": "x", "labels": "y"}.get(key, 0.5 if key == "test_fraction" else 3)
    with pytest.raises(ConfigError, match=f"dataset.{key}.*fixed splits"):
        load_dataset(DatasetConfig(name="digits", **{key: value}))


@pytest.mark.parametrize(
    ("name", "task", "classes"),
    [("breast_cancer", "binary", 1), ("wine", "classification", 3), ("diabetes", "regression", 1)],
)
def test_small_data_that_packages_ship(name: str, task: str, classes: int) -> None:
    dataset = load_dataset(name)
    assert (dataset.task, dataset.classes, dataset.scalings()[0].name) == (task, classes, "standard")


def test_a_named_dataset_takes_another_task() -> None:
    dataset = load_dataset("digits", task="reconstruction", shape=(8, 8, 1))
    assert dataset.task == "reconstruction" and dataset.digest != load_dataset("digits").digest
    np.testing.assert_array_equal(dataset.targets(dataset.head), dataset.inputs().reshape(-1, 64))
