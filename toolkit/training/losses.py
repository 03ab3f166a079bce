"""What training minimizes: cross-entropy with the labels, and with a teacher's softened logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

Loss = Callable[[Any, Any], Any]


def ends_in_softmax(model: keras.Model) -> bool:
    """Whether a model's output is probabilities; otherwise it is logits."""
    last = model.outputs[0]._keras_history.operation
    while isinstance(last, keras.Model):
        last = last.outputs[0]._keras_history.operation
    return isinstance(last, keras.layers.Softmax) or getattr(last, "activation", None) is keras.activations.softmax


def label_loss(probabilities: bool) -> Loss:
    """Mean cross-entropy with integer labels."""
    loss: Loss = keras.losses.SparseCategoricalCrossentropy(from_logits=not probabilities)
    return loss


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


def divergence(target: Any, logits: Any) -> Any:
    """Kullback-Leibler divergence of two sets of logits, per image."""
    log_target = ops.log_softmax(target, axis=-1)
    return ops.sum(ops.exp(log_target) * (log_target - ops.log_softmax(logits, axis=-1)), axis=-1)


def student_accuracy(classes: int) -> Loss:
    """Accuracy of the student's half of ``[student outputs, teacher logits]``."""

    def accuracy(labels: Any, both: Any) -> Any:
        return keras.metrics.sparse_categorical_accuracy(labels, both[:, :classes])

    return accuracy


def beside_teacher(student: keras.Model, teacher: keras.Model) -> keras.Model:
    """One model whose outputs are the student's and, behind them, the logits of a frozen copy of the teacher."""
    frozen = keras.models.clone_model(teacher)
    frozen.set_weights(teacher.get_weights())
    frozen.name = f"teacher_{teacher.name}"  # teacher and student are often the same model, quantized
    frozen.trainable = False
    image = keras.Input(student.inputs[0].shape[1:], name="image_for_both")
    outputs = student(image)
    logits = as_logits(frozen(image, training=False), ends_in_softmax(teacher))
    return keras.Model(image, keras.layers.Concatenate(name="student_and_teacher", dtype="float32")([outputs, logits]))
