"""Training: float, quantization-aware, pruned, distilled; the same loop for all."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from toolkit.config import TrainConfig
from toolkit.errors import ConfigError, DataError, ModelError
from toolkit.records import Array, Dataset, Figure, TrainRecord
from toolkit.store import digest, package_versions
from toolkit.training.batches import split_batches, training_batches
from toolkit.training.checkpoint import State, load_state, remove_state, save_state
from toolkit.training.folders import require_own
from toolkit.training.losses import beside_teacher, distillation_loss, ends_in_softmax, label_loss, student_accuracy
from toolkit.training.progress import Narrator, Steps, narrating
from toolkit.training.pruning import (
    check_schedule,
    has_zeros,
    install_masks,
    prunable,
    prune,
    sparsity_at,
    update_masks,
)
from toolkit.training.saving import FILES, save_record
from toolkit.zoo.quantizers import is_quantized
from toolkit.zoo.seeds import seeded

EVALUATION_BATCH = 256

# Receives the history so far: per quantity one value an epoch.
OnEpoch = Callable[[Mapping[str, Sequence[float]]], None]


def train(
    model: keras.Model,
    dataset: Dataset,
    config: TrainConfig | None = None,
    *,
    name: str | None = None,
    folder: str | Path | None = None,
    on_epoch: OnEpoch | None = None,
) -> TrainRecord:
    """Fit a copy of a model (float or quantized) and measure it on the test split.

    Adam on cross-entropy; the weights kept are those of the epoch with the best validation accuracy.
    The same seed gives the same weights on a CPU. With ``config.checkpoint`` a killed training
    continues where it was and ends with the same weights. ``folder`` saves the record. ``on_epoch`` is
    called with the history after each epoch; what it raises ends the training. With no epochs, pruning
    (if asked for) is done at once.

    Raises ``DataError`` when images do not fit the model, ``ModelError`` when the loss is not finite,
    ``ConfigError`` for a pruning schedule longer than the training, ``StoreError`` when ``folder`` holds other files.
    """
    config = config or TrainConfig()
    require_fit(model, dataset)
    require_float(model, config)
    if config.prune is not None and config.epochs:
        check_schedule(config.prune, config.epochs)
    if folder is not None:
        require_own(Path(folder), FILES)  # before hours of work, not after them
    begun = time.perf_counter()
    with seeded(config.seed):
        student = copy_of(model, config.mixed_precision)
        key = training_key(student, dataset, config)
        if config.epochs:
            history = fit(student, dataset, config, key, name or model.name, on_epoch)
        else:
            history = prune_at_once(student, config)
        trained = copy_of(student, "float32") if config.mixed_precision != "float32" else student
    record = TrainRecord(
        name=name or model.name,
        model=trained,
        path=None,
        accuracy=measure_accuracy(trained, dataset),
        history=history,
        seed=config.seed,
        digest=key,
        test_digest=dataset.test_digest,
        seconds=Figure(time.perf_counter() - begun, "s", "measured"),
        environment=environment(),
    )
    return save_record(record, folder) if folder is not None else record


def require_fit(model: keras.Model, dataset: Dataset) -> None:
    """Raise unless the model takes the dataset's images and has an output for each class."""
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise ModelError("train needs a functional or sequential Keras model with an Input")
    expected, got = tuple(model.inputs[0].shape[1:]), dataset.input_shape
    same = len(expected) == 3 and all(want in (None, have) for want, have in zip(expected, got, strict=True))
    if not same:
        raise DataError(f"model {model.name} takes images of shape {expected}, {dataset.name} has {got}")
    outputs = model.outputs[0].shape[-1]
    if len(model.outputs) != 1 or outputs < dataset.classes:
        raise DataError(
            f"model {model.name} must have an output per class: {outputs} outputs, {dataset.classes} classes"
        )
    for weights in model.get_weights():
        if weights.dtype.kind == "f" and not np.isfinite(weights).all():
            raise ModelError(f"weights of model {model.name} must be finite, got NaN or infinite values")


def require_float(model: keras.Model, config: TrainConfig) -> None:
    if is_quantized(model) and config.mixed_precision != "float32":
        raise ConfigError(
            f"mixed_precision {config.mixed_precision} is for float training; a quantized model is trained in float32"
        )


def copy_of(model: keras.Model, policy: str) -> keras.Model:
    """A model with layers and weights of its own, computing in ``policy``; the outputs stay float32."""
    last = {tensor._keras_history.operation.name for tensor in model.outputs}

    def clone(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        if not isinstance(layer, keras.Model) and "dtype" in config:
            config["dtype"] = "float32" if layer.name in last else policy
        return type(layer).from_config(config)

    copied = keras.models.clone_model(model, clone_function=clone)
    copied.set_weights(model.get_weights())
    return copied


def training_key(model: keras.Model, dataset: Dataset, config: TrainConfig) -> str:
    """Digest of what decides the result: model, weights, data, settings, teacher, versions."""
    teacher = teacher_of(config)
    settings = config.change(teacher=None, checkpoint=None, progress=True)
    taught = [] if teacher is None else teacher.get_weights()
    return digest(model.to_json(), model.get_weights(), dataset.digest, settings, taught, package_versions())


def teacher_of(config: TrainConfig) -> keras.Model | None:
    """The teacher as a model, whether given as such or as a training record."""
    teacher = config.teacher.model if isinstance(config.teacher, TrainRecord) else config.teacher
    if teacher is not None and not isinstance(teacher, keras.Model):
        raise ModelError(f"teacher must be a Keras model or a training record, got {teacher!r}")
    return teacher


def prune_at_once(student: keras.Model, config: TrainConfig) -> Mapping[str, list[float]]:
    """Prune to the final sparsity without training; returns the empty history."""
    if config.prune is not None:
        prune(prunable(student), config.prune, config.prune.sparsity)
    return {}


def fit(
    student: keras.Model, dataset: Dataset, config: TrainConfig, key: str, name: str, on_epoch: OnEpoch | None = None
) -> Mapping[str, list[float]]:
    """Train ``student`` in place and leave the best weights in it; returns the history."""
    model = compiled(student, dataset, config)
    items = prunable(student)
    masks = install_masks(items) if config.prune is not None or has_zeros(items) else {}
    model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables, *masks.values()]
    state = load_state(config.checkpoint, key, variables) if config.checkpoint else State()
    validation = validation_batches(dataset)
    steps = math.ceil(len(dataset.y_train) / config.batch_size)
    with narrating(name, config.epochs, steps, config.progress) as narrator:
        while state.epoch < config.epochs and not stopped_early(state, config):
            if config.prune is not None and not pruned_enough(config, state.epoch):
                prune(items, config.prune, sparsity_at(config.prune, state.epoch))
                update_masks(items, masks)
            run_epoch(model, student, dataset, config, state, validation, narrator)
            if config.checkpoint:
                save_state(config.checkpoint, key, state, variables)
            if on_epoch is not None:
                on_epoch(state.history)
    if state.best_weights:
        student.set_weights(state.best_weights)
    if config.checkpoint:
        remove_state(config.checkpoint)
    return state.history


def pruned_enough(config: TrainConfig, epoch: int) -> bool:
    """Whether an epoch leaves the masks alone: before the schedule begins and after it has ended."""
    schedule = config.prune
    assert schedule is not None
    return epoch < schedule.begin_epoch or epoch > max(schedule.begin_epoch, schedule.end_epoch)


def compiled(student: keras.Model, dataset: Dataset, config: TrainConfig) -> keras.Model:
    """The model to fit: the student itself, or beside its teacher; compiled."""
    optimizer: Any = keras.optimizers.Adam(config.learning_rate)
    if config.mixed_precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    probabilities, teacher = ends_in_softmax(student), teacher_of(config)
    if teacher is None:
        model, loss = student, label_loss(probabilities)
        accuracy: Any = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    else:
        require_fit(teacher, dataset)
        outputs = student.outputs[0].shape[-1]
        if teacher.outputs[0].shape[-1] != outputs:
            raise ModelError(
                f"teacher and student must have as many outputs, got {teacher.outputs[0].shape[-1]} and {outputs}"
            )
        model = beside_teacher(student, teacher)
        loss = distillation_loss(outputs, probabilities, config.temperature, config.distillation_weight)
        accuracy = student_accuracy(outputs)
    model.compile(optimizer=optimizer, loss=loss, metrics=[accuracy], jit_compile=config.jit_compile)
    return model


def validation_batches(dataset: Dataset) -> tf.data.Dataset | None:
    """The validation split, if there is one."""
    if len(dataset.y_validation) == 0:
        return None
    return split_batches(dataset.x_validation, dataset.y_validation, EVALUATION_BATCH)


def run_epoch(
    model: keras.Model,
    student: keras.Model,
    dataset: Dataset,
    config: TrainConfig,
    state: State,
    validation: tf.data.Dataset | None,
    narrator: Narrator,
) -> None:
    """One pass over the training split; afterwards ``state`` is that of the next epoch."""
    narrator.start(state.epoch)
    result = model.fit(
        training_batches(dataset, config, state.epoch),
        initial_epoch=state.epoch,
        epochs=state.epoch + 1,
        validation_data=validation,
        shuffle=False,  # the batches come shuffled
        verbose=0,
        callbacks=[Steps(narrator)],
    )
    logs = {key: float(values[-1]) for key, values in result.history.items()}
    if not all(math.isfinite(value) for value in logs.values()):
        raise ModelError(
            f"training {narrator.name} diverged in epoch {state.epoch + 1}: loss {logs['loss']}; "
            f"try a learning_rate below {config.learning_rate:g}"
        )
    narrator.epoch(state.epoch + 1, logs)
    remember(state, student, logs, config)


def remember(state: State, student: keras.Model, logs: Mapping[str, float], config: TrainConfig) -> None:
    """Add an epoch to the history and keep its weights if they are the best so far.

    Better is a higher validation accuracy, then a lower validation loss. Epochs before a pruning
    schedule has ended do not count: their weights are not as sparse as asked.
    """
    for key, value in logs.items():
        state.history.setdefault(key, []).append(value)
    score = (logs.get("val_accuracy", float(state.epoch)), -logs.get("val_loss", 0.0))
    ended = config.prune is None or state.epoch >= max(config.prune.begin_epoch, config.prune.end_epoch)
    if ended and (score > state.best_score or state.best_epoch < 0):
        state.best_score, state.best_epoch, state.best_weights = score, state.epoch, student.get_weights()
    state.epoch += 1


def stopped_early(state: State, config: TrainConfig) -> bool:
    patience = config.early_stopping_epochs
    return patience is not None and state.best_epoch >= 0 and state.epoch - 1 - state.best_epoch >= patience


def measure_accuracy(model: keras.Model, dataset: Dataset, split: str = "test", count: int | None = None) -> Figure:
    """Fraction of images of a split that a Keras model classifies correctly."""
    require_fit(model, dataset)
    labels = dataset.labels(split, count)
    chosen = predict(model, getattr(dataset, f"x_{split}")[:count]).argmax(axis=1)
    return Figure(float(np.mean(chosen == labels)), "fraction", "measured", note=f"{len(labels)} {split} images, Keras")


def predict(model: keras.Model, images: Array) -> Array:
    """Outputs of a model for uint8 images, float32 ``[n, outputs]``."""
    batches = split_batches(images, np.zeros(len(images), np.int64), EVALUATION_BATCH)
    return np.asarray(model.predict(batches.map(lambda images, labels: images), verbose=0))


def environment() -> dict[str, str]:
    """What a result may depend on: versions, machine, device."""
    accelerators = tf.config.list_physical_devices("GPU")
    device = "CPU"
    if accelerators:
        device = str(tf.config.experimental.get_device_details(accelerators[0]).get("device_name", "GPU"))
    return {**package_versions(), "python": platform.python_version(), "machine": platform.machine(), "device": device}
