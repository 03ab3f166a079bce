"""Training: it learns, repeats, resumes, stops, distils, and says what is wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from toolkit.config import AugmentationConfig, QuantConfig, TrainConfig
from toolkit.data import Dataset, load_dataset
from toolkit.errors import ConfigError, DataError, ModelError, StoreError
from toolkit.records import TrainRecord
from toolkit.training import load_record, measure, predict, quantize, train
from toolkit.training.losses import beside_teacher, distillation_loss
from toolkit.zoo import draw_weights

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset("synthetic", shape=(8, 8, 1), counts=(128, 32, 48))


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return small_model()


def small_model(*, softmax: bool = False, dropout: float = 0.1) -> keras.Model:
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    x = layers.Dropout(dropout, name="dropout")(layers.Flatten(name="flatten")(x))
    x = layers.Dense(4, activation="softmax" if softmax else None, name="logits")(x)
    model = keras.Model(image, x, name="small")
    draw_weights(model, 1)
    return model


@pytest.fixture(scope="module")
def trained(model: keras.Model, dataset: Dataset) -> TrainRecord:
    return train(model, dataset, config(epochs=6))


def config(**settings: Any) -> TrainConfig:
    return TrainConfig(**{"epochs": 2, "batch_size": 32, "learning_rate": 0.01, "progress": False, **settings})


def same_weights(first: keras.Model, second: keras.Model) -> bool:
    pairs = zip(first.get_weights(), second.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_it_learns_and_leaves_its_input_alone(model: keras.Model, trained: TrainRecord, dataset: Dataset) -> None:
    assert trained.accuracy.value > 0.9 and trained.accuracy.source == "measured"
    assert trained.accuracy == measure(trained.model, dataset)["accuracy"]
    assert same_weights(model, small_model()) and getattr(model, "optimizer", None) is None
    assert trained.test_digest == dataset.test_digest and trained.model.name == "small"
    assert set(trained.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert all(len(values) == 6 for values in trained.history.values())
    assert trained.environment["tensorflow"] and trained.environment["device"]


def test_the_best_epoch_is_kept(model: keras.Model, dataset: Dataset) -> None:
    record = train(model, dataset, config(epochs=5, learning_rate=0.05))
    validation = measure(record.model, dataset, "validation")["accuracy"].value
    assert validation == pytest.approx(max(record.history["val_accuracy"]), abs=1e-6)


@pytest.mark.parametrize(
    "augmentation", [None, AugmentationConfig(horizontal_flip=True, rotation_degrees=15)], ids=["plain", "augmented"]
)
def test_the_same_seed_gives_the_same_weights(
    augmentation: AugmentationConfig | None, model: keras.Model, dataset: Dataset
) -> None:
    settings = config(epochs=1, seed=4, augmentation=augmentation)
    first, again = (train(model, dataset, settings) for _ in range(2))
    assert same_weights(first.model, again.model) and first.digest == again.digest


def test_other_seeds_give_other_weights(model: keras.Model, dataset: Dataset) -> None:
    first, other = (train(model, dataset, config(epochs=1, seed=seed)) for seed in (1, 2))
    assert not same_weights(first.model, other.model) and first.digest != other.digest


def test_compiled_training_is_the_same_training(dataset: Dataset) -> None:
    start = small_model(dropout=0)
    plain, compiled = (train(start, dataset, config(epochs=1, jit_compile=jit)) for jit in (False, True))
    np.testing.assert_allclose(compiled.history["loss"], plain.history["loss"], rtol=1e-3)


class Killed(Exception):
    """Stands for the process ending."""


def kill_after(epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make training die in the middle of the epoch after ``epochs``."""
    from toolkit.training import progress

    steps = iter(range(10_000))

    def step(self: Any) -> None:
        if next(steps) == epochs * 4 + 2:
            raise Killed

    monkeypatch.setattr(progress.Narrator, "step", step)


def test_a_killed_training_resumes_to_the_same_weights(
    model: keras.Model, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = quantize(model, QuantConfig(weight_bits=4), dataset)
    settings = config(epochs=4, checkpoint=tmp_path / "state")
    whole = train(start, dataset, config(epochs=4))
    with monkeypatch.context() as patch:
        kill_after(2, patch)
        with pytest.raises(Killed):
            train(start, dataset, settings)
    assert json.loads((tmp_path / "state" / "state.json").read_text())["epoch"] == 2
    resumed = train(start, dataset, settings)
    assert resumed.history == whole.history and resumed.digest == whole.digest
    assert same_weights(resumed.model, whole.model)
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("name", ["state.json", "state.npz", ".sealed.json"])
def test_a_damaged_checkpoint_is_set_aside(
    name: str, model: keras.Model, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(epochs=2, checkpoint=tmp_path / "state")
    with monkeypatch.context() as patch:
        kill_after(1, patch)
        with pytest.raises(Killed):
            train(model, dataset, settings)
    os.truncate(tmp_path / "state" / name, 10)
    assert same_weights(train(model, dataset, settings).model, train(model, dataset, config(epochs=2)).model)
    assert [item.name for item in tmp_path.iterdir()] == ["damaged"]


def test_a_checkpoint_of_another_training_is_refused(
    model: keras.Model, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        kill_after(1, patch)
        with pytest.raises(Killed):
            train(model, dataset, config(epochs=3, checkpoint=tmp_path / "state"))
    with pytest.raises(StoreError, match=r"checkpoint .* is of another training"):
        train(model, dataset, config(epochs=3, seed=9, checkpoint=tmp_path / "state"))


def test_early_stopping(model: keras.Model, dataset: Dataset) -> None:
    record = train(model, dataset, config(epochs=40, early_stopping_epochs=2, learning_rate=0.03))
    done = record.history["val_accuracy"]
    assert len(done) < 40 and max(done[:-2]) == max(done)


def test_a_teacher_answers_without_dropout(dataset: Dataset) -> None:
    student, teacher = small_model(), small_model(dropout=0.9)
    both = beside_teacher(student, teacher, logits=True)(dataset.inputs("test"), training=True)
    np.testing.assert_array_equal(both[:, 4:], predict(teacher, dataset))


def test_a_model_that_ends_in_softmax_trains_from_probabilities(dataset: Dataset) -> None:
    logits, probabilities = (train(small_model(softmax=kind, dropout=0), dataset, config()) for kind in (False, True))
    np.testing.assert_allclose(probabilities.history["loss"], logits.history["loss"], rtol=1e-3)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_returns_a_float32_model(policy: str, model: keras.Model, dataset: Dataset) -> None:
    record = train(model, dataset, config(epochs=6, mixed_precision=policy))
    assert {layer.dtype_policy.name for layer in record.model.layers} == {"float32"}
    assert record.accuracy.value > 0.8


def test_quantization_aware_training_recovers_accuracy(trained: TrainRecord, dataset: Dataset, tmp_path: Path) -> None:
    coarse = QuantConfig(weight_bits=2, activation_bits=2, input_bits=2)
    start = quantize(trained.model, coarse, dataset)
    record = train(start, dataset, config(epochs=5), folder=tmp_path / "q2")
    assert record.accuracy.value >= measure(start, dataset)["accuracy"].value
    for layer in record.model.layers:
        if hasattr(layer, "kernel_quantizer_internal"):
            assert len(np.unique(np.asarray(layer.kernel_quantizer_internal(layer.kernel)))) <= 4
    loaded = load_record(tmp_path / "q2")
    np.testing.assert_array_equal(predict(loaded.model, dataset), predict(record.model, dataset))
    assert (loaded.accuracy, loaded.digest, loaded.history) == (record.accuracy, record.digest, record.history)
    assert loaded.path == record.path == tmp_path / "q2" / "model.keras"


@pytest.mark.parametrize("softmax", [False, True])
def test_distillation_follows_the_teacher(softmax: bool, trained: TrainRecord, dataset: Dataset) -> None:
    before = trained.model.get_weights()
    student = small_model(softmax=softmax, dropout=0)
    settings = config(epochs=4, teacher=trained.model, distillation_weight=1.0)
    record = train(student, dataset, settings)
    assert record.history["loss"][-1] < record.history["loss"][0]
    assert record.accuracy.value > 0.9 and record.model.output_shape == (None, 4)
    for now, then in zip(trained.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert record.digest != train(student, dataset, config(epochs=4)).digest


def test_distillation_loss_is_the_published_formula() -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 5, 3))
    labels = np.array([0, 1, 2, 0, 1])

    def softmax(z: np.ndarray) -> np.ndarray:
        return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)

    hard = -np.log(softmax(student)[np.arange(5), labels])
    target, soft = softmax(teacher / 3), softmax(student / 3)
    expected = 0.25 * hard + 0.75 * 9 * (target * np.log(target / soft)).sum(axis=1)
    both = np.concatenate([student, teacher], axis=1).astype(np.float32)
    got = np.asarray(distillation_loss(3, False, 3.0, 0.75)(labels, both))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_no_epochs_only_measure(model: keras.Model, dataset: Dataset) -> None:
    record = train(model, dataset, config(epochs=0))
    assert same_weights(record.model, model) and record.history == {}


def test_plain_lines_off_a_terminal(model: keras.Model, dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    train(model, dataset, config(progress=True), name="shown")
    out, err = capsys.readouterr()
    assert out == "" and "shown: epoch 1/2: accuracy" in err and "epoch 2/2" in err and "\x1b" not in err
    train(model, dataset, config())
    assert capsys.readouterr().err == ""


def test_a_record_is_written_whole_or_not_at_all(
    model: keras.Model, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = train(model, dataset, config(epochs=0), folder=tmp_path / "record")

    def disk_full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("toolkit.training.saving.write_json", disk_full)
    with pytest.raises(StoreError, match="No space left on device"):
        train(model, dataset, config(epochs=0, seed=8), folder=tmp_path / "record")
    assert load_record(tmp_path / "record").digest == record.digest
    assert [path.name for path in tmp_path.iterdir()] == ["record"]


def test_a_folder_with_other_files_is_left_alone(model: keras.Model, dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("dear")
    with pytest.raises(StoreError, match=r"holds other files \(thesis\.tex\)"):
        train(model, dataset, config(epochs=0), folder=tmp_path)
    with pytest.raises(StoreError, match="holds other files"):
        train(model, dataset, config(epochs=1, checkpoint=tmp_path))
    assert (tmp_path / "thesis.tex").read_text() == "dear"


def test_a_record_that_is_not_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"record\.json does not exist"):
        load_record(tmp_path)
    (tmp_path / "record.json").write_text("{}")
    with pytest.raises(StoreError, match="is not a training record"):
        load_record(tmp_path)


def with_nan(model: keras.Model) -> keras.Model:
    copy = keras.models.clone_model(model)
    copy.set_weights([np.full(weight.shape, np.nan) for weight in model.get_weights()])
    return copy


class TestMistakes:
    def test_images_of_another_shape(self, model: keras.Model) -> None:
        with pytest.raises(DataError, match=r"takes images of shape \(8, 8, 1\), synthetic has \(9, 8, 3\)"):
            train(model, load_dataset("synthetic", shape=(9, 8, 3)), config())

    def test_too_few_outputs(self, model: keras.Model) -> None:
        with pytest.raises(DataError, match="4 outputs, 6 classes"):
            train(model, load_dataset("synthetic", shape=(8, 8, 1), classes=6), config())

    def test_weights_that_are_not_finite(self, model: keras.Model, dataset: Dataset) -> None:
        with pytest.raises(ModelError, match="must be finite"):
            train(with_nan(model), dataset, config())

    def test_divergence(self, model: keras.Model, dataset: Dataset) -> None:
        with pytest.raises(ModelError, match=r"diverged in epoch 1: loss .* learning_rate below 1e\+38"):
            train(model, dataset, config(learning_rate=1e38))

    def test_mixed_precision_of_a_quantized_model(self, model: keras.Model, dataset: Dataset) -> None:
        with pytest.raises(ConfigError, match="trained in float32"):
            train(quantize(model, QuantConfig(), dataset), dataset, config(mixed_precision="mixed_bfloat16"))

    def test_a_teacher_that_is_none(self, model: keras.Model, dataset: Dataset) -> None:
        with pytest.raises(ModelError, match="teacher must be a Keras model"):
            train(model, dataset, config(teacher="float"))
