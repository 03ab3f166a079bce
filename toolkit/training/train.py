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

from toolkit.arguments import optional
from toolkit.config import TrainConfig
from toolkit.data import Dataset, as_dataset
from toolkit.data.judging import figures_of, judged
from toolkit.errors import ConfigError, DataError, ModelError
from toolkit.records import Array, Figure, Metric, TrainRecord
from toolkit.store import digest, float_arithmetic, package_versions
from toolkit.training.batches import split_batches, training_batches
from toolkit.training.checkpoint import State, load_state, remove_state, save_state
from toolkit.training.folders import require_own
from toolkit.training.losses import (
    accuracy_metric,
    beside_teacher,
    distillation_loss,
    ending,
    gives_probabilities,
    head_loss,
    imitation_loss,
    student_accuracy,
)
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
from toolkit.training.threads import repeatable, use_threads
from toolkit.zoo.files import keras_model
from toolkit.zoo.quantizers import is_quantized
from toolkit.zoo.seeds import seeded_copy

EVALUATION_BATCH = 256

# Receives the history so far: per quantity one value an epoch.
OnEpoch = Callable[[Mapping[str, Sequence[float]]], None]


def train(
    model: keras.Model | TrainRecord | str | Path,
    dataset: Dataset | str | Path,
    config: TrainConfig | None = None,
    *,
    name: str | None = None,
    folder: str | Path | None = None,
    on_epoch: OnEpoch | None = None,
) -> TrainRecord:
    """Fit a copy of a model (float or quantized) and measure it on the test split.

    Adam on the task's loss; the weights kept are those of the epoch with the best figure of merit on the
    validation split.
    The same seed gives the same weights, bit for bit, with as many threads on the same kind of processor.
    With ``config.checkpoint`` a killed training continues where it was and ends with the same weights.
    ``folder`` saves the record. ``on_epoch`` is called with the history after each epoch; what it raises
    ends the training. With no epochs, pruning (if asked for) is done at once.

    Raises ``DataError`` when the data do not fit the model, ``ModelError`` when the loss is not finite,
    ``ConfigError`` for a pruning schedule longer than the training, ``StoreError`` when ``folder`` holds other files.
    """
    config = optional("the configuration", config, TrainConfig) or TrainConfig()
    model = keras_model(model)
    dataset = require_fit(model, as_dataset(dataset))
    require_labels(dataset, config)
    require_float(model, config)
    if config.prune is not None and config.epochs:
        check_schedule(config.prune, config.epochs)
    if folder is not None:
        require_own(Path(folder), FILES)  # before hours of work, not after them
    begun = time.perf_counter()
    use_threads(config.threads)
    key = training_key(model, dataset, config)
    student = copy_of(model, config.mixed_precision, config.seed)
    with repeatable():
        if config.epochs:
            history = fit(student, dataset, config, key, name or model.name, on_epoch)
        else:
            history = prune_at_once(student, config)
        trained = copy_of(model, "float32")
        trained.set_weights(student.get_weights())
        figures = measure(trained, dataset)
    record = TrainRecord(
        name=name or model.name,
        model=trained,
        path=None,
        figures=figures,
        metric=dataset.metric,
        scale=tuple(scale.to_json() for scale in dataset.scalings()),
        history=history,
        seed=config.seed,
        digest=key,
        test_digest=dataset.test_digest,
        seconds=Figure(time.perf_counter() - begun, "s", "measured"),
        environment=environment(),
    )
    return save_record(record, folder) if folder is not None else record


def require_fit(model: keras.Model, dataset: Dataset) -> Dataset:
    """The dataset in the order of a model's inputs and outputs; raises unless the model takes it and can be trained."""
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise ModelError("train needs a functional or sequential Keras model with an Input")
    ordered = dataset.fitted(model)
    for weights in model.get_weights():
        if weights.dtype.kind == "f" and not np.isfinite(weights).all():
            raise ModelError(f"weights of model {model.name} must be finite, got NaN or infinite values")
    return ordered


def require_labels(dataset: Dataset, config: TrainConfig) -> None:
    """Raise ``DataError`` for a training without anything to learn from, of model or data."""
    if not config.epochs:
        return
    if dataset.size("train") == 0:
        raise DataError(f"{dataset.name} has no training samples, and {config.epochs} epochs of training are asked for")
    if dataset.task != "reconstruction" and (dataset.task == "unlabelled" or dataset.y_train is None):
        raise DataError(
            f"{dataset.name} has no labels to learn from; give them, train with 0 epochs, or say "
            'task.kind = "reconstruction" if the network is to reconstruct its inputs'
        )


def require_float(model: keras.Model, config: TrainConfig) -> None:
    if is_quantized(model) and config.mixed_precision != "float32":
        raise ConfigError(
            f"mixed_precision {config.mixed_precision} is for float training; a quantized model is trained in float32"
        )


def copy_of(model: keras.Model, policy: str, seed: int | None = None) -> keras.Model:
    """A model with layers and weights of its own, computing in ``policy``; the outputs stay float32.

    With a ``seed``, dropout and whatever else is random draws from generators of its own.
    """
    last = {tensor._keras_history.operation.name for tensor in model.outputs}

    def recast(layer: keras.Layer, config: dict[str, Any]) -> dict[str, Any]:
        if isinstance(layer, keras.Model) or "dtype" not in config:
            return config
        return {**config, "dtype": "float32" if layer.name in last else policy}

    def clone(layer: keras.Layer) -> keras.Layer:
        return type(layer).from_config(recast(layer, layer.get_config()))

    copied = keras.models.clone_model(model, clone_function=clone) if seed is None else seeded_copy(model, seed, recast)
    copied.set_weights(model.get_weights())
    return copied


def training_key(model: keras.Model, dataset: Dataset, config: TrainConfig) -> str:
    """Digest of what decides the result: model, initial weights, data, settings, teacher, versions, arithmetic."""
    teacher = teacher_of(config)
    settings = config.model_dump(mode="json", exclude={"teacher", "checkpoint", "progress", "threads"})
    taught = [] if teacher is None else [teacher.to_json(), teacher.get_weights()]
    made_by = [package_versions(), float_arithmetic()]
    return digest(model.to_json(), model.get_weights(), dataset.digest, settings, taught, made_by)


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
    steps = math.ceil(dataset.size("train") / config.batch_size)
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
    teacher = teacher_of(config)
    model, losses, metrics = (
        plain_task(student, dataset) if teacher is None else taught_task(student, teacher, dataset, config)
    )
    model.compile(optimizer=optimizer, loss=losses, metrics=metrics, jit_compile=config.jit_compile)
    return model


Task = tuple[keras.Model, Any, Any]  # model, losses and metrics as Keras compiles them


def plain_task(student: keras.Model, dataset: Dataset) -> Task:
    """Each output with its loss; accuracy where that decides, which Keras counts in passing."""
    ends = [ending(student, index) for index in range(len(student.outputs))]
    widths = [int(np.prod(output.shape[1:])) for output in student.outputs]
    losses = [head_loss(*item) for item in zip(dataset.heads, widths, ends, strict=True)]
    metrics = [accuracy_metric(widths[0], ends[0])] if counts_accuracy(dataset) else None
    return student, losses if len(losses) > 1 else losses[0], metrics


def taught_task(student: keras.Model, teacher: keras.Model, dataset: Dataset, config: TrainConfig) -> Task:
    """Student and teacher side by side; raises ``ModelError`` for outputs that differ, and for several."""
    require_fit(teacher, dataset)
    if len(student.inputs) > 1 or len(student.outputs) > 1:
        raise ConfigError("train.teacher is for networks of one input and one output")
    width, taught = (int(np.prod(model.outputs[0].shape[1:])) for model in (student, teacher))
    if taught != width:
        raise ModelError(f"teacher and student must have as many outputs, got {taught} and {width}")
    head, end = dataset.head, ending(student)
    classes = head.kind == "classification" or (head.kind == "binary" and width > 1)
    if classes:
        loss = distillation_loss(width, end == "softmax", config.temperature, config.distillation_weight)
    else:
        loss = imitation_loss(head_loss(head, width, end), width, config.distillation_weight)
    metrics = [student_accuracy(width, end)] if counts_accuracy(dataset) else None
    return beside_teacher(student, teacher, logits=classes), loss, metrics


def counts_accuracy(dataset: Dataset) -> bool:
    """Whether plain accuracy of the only output decides."""
    return len(dataset.heads) == 1 and dataset.metric.name == "accuracy"


def is_judged(dataset: Dataset, split: str) -> bool:
    """Whether the figure of merit can be computed on a split: anomalies are often marked in the test split only."""
    return dataset.metric.name != "reconstruction_auc" or dataset.anomalous(split) is not None


def validation_batches(dataset: Dataset) -> tf.data.Dataset | None:
    """The validation split, if there is one."""
    return split_batches(dataset, "validation", EVALUATION_BATCH) if dataset.size("validation") else None


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
    if validation is not None and not counts_accuracy(dataset) and is_judged(dataset, "validation"):
        logs[f"val_{dataset.metric.name}"] = merit_on(student, dataset, "validation")
    narrator.epoch(state.epoch + 1, logs)
    remember(state, student, logs, config, dataset.metric)


def remember(
    state: State, student: keras.Model, logs: Mapping[str, float], config: TrainConfig, metric: Metric
) -> None:
    """Add an epoch to the history and keep its weights if they are the best so far.

    Better is a better figure of merit on the validation split, then a lower validation loss. Epochs before a pruning
    schedule has ended do not count: their weights are not as sparse as asked.
    """
    for key, value in logs.items():
        state.history.setdefault(key, []).append(value)
    judged = logs.get(f"val_{metric.name}")
    latest = 0.0 if "val_loss" in logs else float(state.epoch)  # without a validation split the last is the best
    score = (latest if judged is None else metric.gain(judged), -logs.get("val_loss", 0.0))
    ended = config.prune is None or state.epoch >= max(config.prune.begin_epoch, config.prune.end_epoch)
    if ended and (score > state.best_score or state.best_epoch < 0):
        state.best_score, state.best_epoch, state.best_weights = score, state.epoch, student.get_weights()
    state.epoch += 1


def stopped_early(state: State, config: TrainConfig) -> bool:
    patience = config.early_stopping_epochs
    return patience is not None and state.best_epoch >= 0 and state.epoch - 1 - state.best_epoch >= patience


def measure(
    model: keras.Model, dataset: Dataset, split: str = "test", count: int | None = None
) -> Mapping[str, Figure]:
    """What a Keras model is worth on a split, by name: the figure that decides and those beside it.

    Without labels there is nothing to judge a float model by, and nothing is returned.
    """
    ordered = require_fit(model, dataset)
    if ordered.task == "unlabelled":
        return {}
    samples = min(count or ordered.size(split), ordered.size(split))
    found = judged(ordered, predict(model, ordered, split, count), gives_probabilities(model), split, count)
    note = f"{samples} {split} {ordered.noun}, Keras"
    return {
        name: figure for _, figures in figures_of(ordered, found, "measured", note) for name, figure in figures.items()
    }


def merit_on(model: keras.Model, dataset: Dataset, split: str, count: int | None = None) -> float:
    """The figure of merit that decides, alone and without its interval."""
    ordered = dataset.fitted(model)
    answers = judged(ordered, predict(model, ordered, split, count), gives_probabilities(model), split, count)
    return ordered.head.merit.plain(answers[ordered.heads.index(ordered.head)])


def predict(model: keras.Model, dataset: Dataset, split: str = "test", count: int | None = None) -> Array:
    """Outputs of a model for a split, float32 ``[n, outputs]``; several outputs stand side by side."""
    batches = split_batches(dataset, split, EVALUATION_BATCH, count).map(lambda inputs, labels: (inputs,))
    outputs = model.predict(batches, verbose=0)
    parts = [np.asarray(part) for part in (outputs if isinstance(outputs, list | tuple) else [outputs])]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def environment() -> dict[str, str]:
    """What a result may depend on: versions, machine, device."""
    accelerators = tf.config.list_physical_devices("GPU")
    device = "CPU"
    if accelerators:
        device = str(tf.config.experimental.get_device_details(accelerators[0]).get("device_name", "GPU"))
    return {**package_versions(), "python": platform.python_version(), "machine": platform.machine(), "device": device}
