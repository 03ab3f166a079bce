"""What training minimizes: the loss of each task, and that beside a teacher's outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from toolkit.data.heads import Head
from toolkit.errors import ConfigError

Loss = Callable[[Any, Any], Any]


def ending(model: keras.Model, output: int = 0) -> str:
    """What a model's output is: ``softmax``, ``sigmoid`` or ``linear`` (logits, numbers)."""
    last = model.outputs[output]._keras_history.operation
    while isinstance(last, keras.Model):
        last = last.outputs[0]._keras_history.operation
    if isinstance(last, keras.layers.Softmax):
        return "softmax"
    activation = getattr(last, "activation", None)
    spelled = str(getattr(activation, "__name__", "") or type(activation).__name__ or activation).lower()
    if activation is keras.activations.softmax:
        return "softmax"
    return "sigmoid" if "sigmoid" in spelled or "sigmoid" in str(activation).lower() else "linear"


def ends_in_softmax(model: keras.Model) -> bool:
    """Whether a model's output is probabilities of classes; otherwise it is logits."""
    return ending(model) == "softmax"


def gives_probabilities(model: keras.Model) -> tuple[bool, ...]:
    """For each output, whether it ends in softmax or sigmoid."""
    return tuple(ending(model, index) != "linear" for index in range(len(model.outputs)))


def head_loss(head: Head, width: int, end: str) -> Loss:
    """The loss of one output: the user's by name, else cross-entropy of classes, squared error of numbers."""
    if head.loss is not None:
        return loss_by_name(head.loss)
    if head.kind in ("regression", "reconstruction"):
        return squared_error
    if head.kind == "multilabel" or (head.kind == "binary" and width == 1):
        return keras.losses.BinaryCrossentropy(from_logits=end != "sigmoid")  # type: ignore[no-any-return]
    return label_loss(end == "softmax")


def loss_by_name(name: str) -> Loss:
    """A loss of Keras'; raises ``ConfigError`` for a name it does not know."""
    try:
        loss: Loss = keras.losses.get(name)
    except ValueError:
        raise ConfigError(f'task.loss: Keras has no loss "{name}"; for example mse, mae, huber, log_cosh') from None
    return loss


def label_loss(probabilities: bool) -> Loss:
    """Mean cross-entropy with integer labels."""
    loss: Loss = keras.losses.SparseCategoricalCrossentropy(from_logits=not probabilities)
    return loss


def squared_error(targets: Any, outputs: Any) -> Any:
    """Mean squared error, per sample; targets take the shape of the outputs."""
    outputs = ops.cast(outputs, "float32")
    error = ops.reshape(ops.cast(targets, "float32"), ops.shape(outputs)) - outputs
    return ops.mean(ops.square(error), axis=list(range(1, len(outputs.shape))))


def as_logits(outputs: Any, probabilities: bool) -> Any:
    """Logits of a model's outputs; the logarithm of probabilities is as good, softmax brings them back."""
    outputs = ops.cast(outputs, "float32")
    return ops.log(ops.maximum(outputs, 1e-7)) if probabilities else outputs


def distillation_loss(classes: int, student_probabilities: bool, temperature: float, weight: float) -> Loss:
    """Loss of ``[student outputs, teacher logits]`` side by side.

    ``(1 - w) * CE(labels, s) + w * T**2 * KL(softmax(t / T) || softmax(s / T))``
    (Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015).
    """

    def loss(labels: Any, both: Any) -> Any:
        student, teacher = as_logits(both[:, :classes], student_probabilities), both[:, classes:]
        hard = keras.losses.sparse_categorical_crossentropy(labels, student, from_logits=True)
        soft = divergence(teacher / temperature, student / temperature) * temperature**2
        return (1 - weight) * hard + weight * soft

    return loss


def imitation_loss(plain: Loss, width: int, weight: float) -> Loss:
    """Loss of ``[student outputs, teacher outputs]`` where they are no classes.

    ``(1 - w) * loss(targets, s) + w * mean((t - s)**2)``.
    """

    def loss(targets: Any, both: Any) -> Any:
        student, teacher = both[:, :width], both[:, width:]
        return (1 - weight) * plain(targets, student) + weight * squared_error(teacher, student)

    return loss


def divergence(target: Any, logits: Any) -> Any:
    """Kullback-Leibler divergence of two sets of logits, per image."""
    log_target = ops.log_softmax(target, axis=-1)
    return ops.sum(ops.exp(log_target) * (log_target - ops.log_softmax(logits, axis=-1)), axis=-1)


def accuracy_metric(width: int, end: str) -> Any:
    """Accuracy as Keras counts it while it trains: of classes, or of one output's side of its threshold."""
    if width > 1:
        return keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    return keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.5 if end == "sigmoid" else 0.0)


def student_accuracy(width: int, end: str) -> Loss:
    """Accuracy of the student's half of ``[student outputs, teacher outputs]``."""

    def accuracy(labels: Any, both: Any) -> Any:
        if width > 1:
            return keras.metrics.sparse_categorical_accuracy(labels, both[:, :width])
        return keras.metrics.binary_accuracy(labels, both[:, :width], threshold=0.5 if end == "sigmoid" else 0.0)

    return accuracy


class Teacher(keras.layers.Layer):  # type: ignore[misc]
    """What a frozen copy of a model puts out when nobody trains it: without dropout or noise, flat.

    ``logits`` turns its probabilities of classes back into logits. A layer of its own, since Keras would
    have a model within a model train along.
    """

    def __init__(self, model: keras.Model, logits: bool) -> None:
        super().__init__(name=f"teacher_{model.name}", trainable=False)  # student and teacher often share a name
        self.model = keras.models.clone_model(model)
        self.model.set_weights(model.get_weights())
        self.model.trainable = False
        self.probabilities = logits and ends_in_softmax(model)

    def call(self, image: Any) -> Any:
        return as_logits(self.model(image, training=False), self.probabilities)


def beside_teacher(student: keras.Model, teacher: keras.Model, *, logits: bool) -> keras.Model:
    """One model whose outputs are the student's and, behind them, the teacher's."""
    image = keras.Input(student.inputs[0].shape[1:], name="image_for_both")
    outputs = keras.layers.Flatten(name="student_outputs", dtype="float32")(student(image))
    taught = keras.layers.Flatten(name="teacher_outputs", dtype="float32")(Teacher(teacher, logits)(image))
    return keras.Model(image, keras.layers.Concatenate(name="student_and_teacher", dtype="float32")([outputs, taught]))
