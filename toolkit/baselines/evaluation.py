"""What logits are worth on labelled images: top-1, top-5, agreement with float, confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from toolkit.errors import DataError
from toolkit.records import Array, Figure, LayerProfile, Source


@dataclass(frozen=True)
class Evaluation:
    """Accuracy of one engine on the first ``images`` of ``images_total`` test images.

    ``figures`` holds ``accuracy``, ``top5`` (from six classes up) and ``agreement`` (with the float
    model, when its logits were given) as fractions; ``confusion[label][prediction]`` counts images.
    ``engine`` says who computed the logits: ``csim``, ``emulation``, ``keras``, ``onnxruntime``, ...
    """

    engine: str
    images: int
    images_total: int
    test_digest: str
    figures: Mapping[str, Figure]
    confusion: tuple[tuple[int, ...], ...] = ()
    class_names: tuple[str, ...] = ()
    profile: tuple[LayerProfile, ...] = ()  # what each layer's output spanned, where the engine tells
    environment: Mapping[str, str] = field(default_factory=dict)  # what the engine was built with

    @property
    def whole(self) -> bool:
        """Whether every test image was judged."""
        return self.images == self.images_total


def evaluate(
    logits: Array,
    labels: Array,
    *,
    source: Source,
    engine: str,
    test_digest: str,
    class_names: tuple[str, ...],
    images_total: int | None = None,
    float_logits: Array | None = None,
) -> Evaluation:
    """Judge ``logits [n, classes]`` against ``labels [n]``; raises ``DataError`` when shapes disagree."""
    logits = np.asarray(logits).reshape(len(logits), -1)
    if len(logits) != len(labels) or logits.shape[1] != len(class_names):
        raise DataError(
            f"logits must have shape [{len(labels)}, {len(class_names)}] (images, classes), got {list(logits.shape)}"
        )
    n, total = len(labels), images_total or len(labels)
    chosen = logits.argmax(axis=1)
    note = f"{n} test images" if n == total else f"first {n} of {total} test images"
    figures = {"accuracy": share(chosen == labels, source, note)}
    if logits.shape[1] > 5:
        figures["top5"] = share(in_top(logits, labels, 5), source, note)
    if float_logits is not None:
        same = chosen == classes_of(float_logits, n)
        figures["agreement"] = share(same, source, f"same class as the float model; {note}")
    return Evaluation(engine, n, total, test_digest, figures, confusion(labels, chosen, len(class_names)), class_names)


def classes_of(float_logits: Array, n: int) -> npt.NDArray[np.int_]:
    """The float model's classes on the first ``n`` images; raises ``DataError`` when it judged fewer."""
    if len(float_logits) < n:
        raise DataError(f"agreement needs the float model's logits of {n} images, got {len(float_logits)}")
    answered: npt.NDArray[np.int_] = np.asarray(float_logits)[:n].reshape(n, -1).argmax(axis=1)
    return answered


def share(hits: npt.NDArray[np.bool_], source: Source, note: str) -> Figure:
    """The fraction that is true, with its 95 % Wilson interval."""
    n, fraction = len(hits), float(np.mean(hits))
    low, high = wilson(fraction, n)
    return Figure(fraction, "fraction", source, low, high, f"{note}; 95 % Wilson interval")


def wilson(fraction: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson score interval of a binomial fraction (Wilson, JASA 22, 1927)."""
    centre = (fraction + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(fraction * (1 - fraction) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def in_top(logits: Array, labels: Array, k: int) -> npt.NDArray[np.bool_]:
    """Whether each label is among the ``k`` largest logits; ties count by position, as argmax does."""
    best = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    hits: npt.NDArray[np.bool_] = (best == np.asarray(labels)[:, None]).any(axis=1)
    return hits


def confusion(labels: Array, chosen: Array, classes: int) -> tuple[tuple[int, ...], ...]:
    """``[label][prediction]`` counts."""
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (labels, chosen), 1)
    return tuple(tuple(int(count) for count in row) for row in counts)
