"""What each output of a network is for: kind of task, figure of merit, and the labels in one form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

import numpy as np

from toolkit.config import HeadConfig
from toolkit.data.merit import BESIDE, MERITS, Answers, Kind, Merit, chosen_class, merit_of, top_merit
from toolkit.errors import DataError, choose
from toolkit.records import Array, Figure, Metric, Source

KINDS: tuple[str, ...] = get_args(Kind)
FIVE = 5  # classes from which the top five are worth telling

Splits = Mapping[str, Array]  # labels by split


@dataclass(frozen=True, eq=False)
class Head:
    """One output of the network: ``name`` is its layer's, where there are several; ``outputs`` its width, if known."""

    kind: Kind
    merit: Merit
    name: str | None = None
    outputs: int | None = None
    class_names: tuple[str, ...] = ()
    loss: str | None = None
    note: str | None = None  # how the task was inferred

    @property
    def metric(self) -> Metric:
        """What decides."""
        return self.merit.metric

    @property
    def settings(self) -> list[Any]:
        """What of it decides the result of a training, for digests; nothing of the default."""
        plain = (self.kind, self.metric.name, self.loss, self.name) == ("classification", "accuracy", None, None)
        return (
            [] if plain else [self.kind, self.metric.name, self.metric.better, self.merit.source, self.loss, self.name]
        )

    def answers(
        self, targets: Array | None, outputs: Array, *, probabilities: bool = False, anomalous: Array | None = None
    ) -> Answers:
        """Outputs ``[n, ...]`` and targets in the form the metrics take; raises ``DataError`` when shapes disagree."""
        flat = np.asarray(outputs, np.float64).reshape(len(outputs), -1)
        if targets is None:
            raise DataError(f"{self.metric.name} needs labels" if self.kind != "unlabelled" else FLOAT_NEEDED)
        targets = np.asarray(targets)
        width = len(self.class_names) or (targets.reshape(len(targets), -1).shape[1] if self.kind != "binary" else 1)
        allowed = (1, 2) if self.kind == "binary" else (width,)
        if len(flat) != len(targets) or flat.shape[1] not in allowed:
            raise DataError(
                f"outputs must have shape [{len(targets)}, {' or '.join(map(str, allowed))}] for {self.kind}, "
                f"got {list(flat.shape)}"
            )
        if self.kind == "binary":
            one = flat.shape[1] == 1
            score = flat[:, 0] if one else flat[:, 1] - flat[:, 0]
            return Answers(targets, score, probabilities, 0.5 if probabilities and one else 0.0)
        if self.kind == "classification":
            return Answers(targets, flat, probabilities)
        threshold = 0.5 if probabilities else 0.0
        return Answers(targets.reshape(len(targets), -1), flat, probabilities, threshold, anomalous)

    def figures(self, answers: Answers, source: Source, note: str, *, whole: bool = True) -> dict[str, Figure]:
        """The figure that decides and those a reader of this task expects beside it, by name.

        Of a few samples (not ``whole``) even the first may be undefined (an AUC of one class) and is left out.
        """
        names = [name for name in BESIDE.get(self.kind, ()) if name != self.metric.name]
        merits = [self.merit, *(MERITS[name] for name in names)]
        if self.kind == "classification" and answers.outputs.shape[1] > FIVE and self.metric.name != "top5":
            merits.append(top_merit(FIVE))
        found: dict[str, Figure] = {}
        for merit in merits:
            try:
                found[merit.metric.name] = merit.figure(answers, source, note)
            except DataError:
                if whole and merit is self.merit:
                    raise
        return found

    def confusion(self, answers: Answers) -> tuple[tuple[int, ...], ...]:
        """``[label][prediction]`` counts of a task with classes, else nothing."""
        if self.kind not in ("classification", "binary"):
            return ()
        classes = len(self.class_names) or 2
        counts = np.zeros((classes, classes), int)
        np.add.at(counts, (answers.targets, chosen_class(answers)), 1)
        return tuple(tuple(int(count) for count in row) for row in counts)


FLOAT_NEEDED = "without labels the float model's outputs are what is compared with; give float_model"


def head_of(
    asked: HeadConfig, labels: Splits, class_names: Sequence[str], where: str, name: str | None = None
) -> tuple[Head, dict[str, Array]]:
    """A head and its labels in one form: int64 class indices, 0 and 1, or float32 numbers.

    What is not said is inferred where it is plain. Raises ``DataError`` that names the array for labels that
    fit no task or not the one asked for.
    """
    kind, note = (asked.kind, None) if asked.kind else inferred(labels, where)
    choose("task.kind", kind, KINDS)
    names: tuple[str, ...] = () if kind == "reconstruction" else tuple(class_names)
    if kind == "reconstruction":
        labels, note = anomalies(labels, note)
    elif kind in ("classification", "binary"):
        labels, names = classes(labels, names, 2 if kind == "binary" else None, where)
    elif kind == "multilabel":
        labels = {split: zeros_and_ones(values, called(where, split)) for split, values in labels.items()}
    elif kind == "regression":
        labels = {split: numbers(values, called(where, split)) for split, values in labels.items()}
    metric = asked.metric
    if metric is None and kind == "reconstruction" and len(labels.get("test", ())):
        metric = "reconstruction_auc"
    made = merit_of(
        metric,
        cast(Kind, kind),
        better=asked.direction,
        unit=asked.unit,
        signal=asked.signal,
        signal_efficiency=asked.signal_efficiency,
    )
    head = Head(cast(Kind, kind), made, name, width(kind, labels, names), names, asked.loss, note)
    return head, dict(labels)


def anomalies(labels: Splits, note: str | None) -> tuple[dict[str, Array], str | None]:
    """What a reconstruction is judged by where labels say what is anomalous: 1 and 0; other labels have no use."""
    if all(np.isin(values, (0, 1)).all() and values.ndim == 1 for values in labels.values()):
        return {split: values.astype(np.int64) for split, values in labels.items()}, note
    return {}, "labels other than 0 and 1 are not used by a reconstruction"


def width(kind: str, labels: Splits, names: Sequence[str]) -> int | None:
    """How many outputs the task asks for, where that is known without the network."""
    match kind:
        case "classification":
            return len(names)
        case "binary":
            return 1
        case "multilabel" | "regression":
            return next((values.reshape(len(values), -1).shape[1] for values in labels.values() if len(values)), None)
    return None


def inferred(labels: Splits, where: str) -> tuple[str, str]:
    """The task that labels speak of, and how that was seen; raises ``DataError`` where it is not plain."""
    known = [np.asarray(values) for values in labels.values() if len(values)]
    if not known:
        return "unlabelled", "no labels: judged by its agreement with the float model"
    every = np.concatenate([values.reshape(len(values), -1) for values in known])
    if every.dtype.kind in "US":
        return ("binary", "two words") if len(np.unique(every)) == 2 else ("classification", "labels are words")
    binary = bool(np.isin(every, (0, 1)).all())
    if every.shape[1] > 1 and binary:
        one_hot = bool((every.sum(axis=1) == 1).all())
        return ("classification", "labels are one-hot") if one_hot else ("multilabel", "labels are 0 and 1")
    if binary:
        return "binary", "labels are 0 and 1"
    if every.dtype.kind == "f" and bool((every != np.round(every)).any()):
        return "regression", "labels are real numbers"
    found = np.unique(every)
    if every.shape[1] == 1 and every.dtype.kind in "iu" and found[0] >= 0 and found[-1] < 2 * len(found):
        return "classification", f"labels are integers from {found[0]} to {found[-1]}"
    raise DataError(
        f"what the labels {where} are for is not plain ({every.dtype}, shape {known[0].shape}, {found[0]} to "
        f"{found[-1]}); say task.kind: {', '.join(KINDS[:4])}"
    )


def classes(
    labels: Splits, names: tuple[str, ...], count: int | None, where: str
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Class indices and the names of the classes, from words, one-hot rows or indices."""
    known = {split: np.asarray(values) for split, values in labels.items()}
    if any(values.dtype.kind in "US" for values in known.values()):
        words = names or tuple(sorted({str(word) for values in known.values() for word in np.unique(values)}))
        check_words(known, words, where)
        found = {split: index_of(values, words) for split, values in known.items()}
    else:
        found = {split: indices(values, called(where, split)) for split, values in known.items()}
        wide = [values.shape[1] for values in known.values() if values.ndim == 2 and values.shape[1] > 1]
        top = max((int(values.max()) + 1 for values in found.values() if len(values)), default=0)
        words = names or tuple(str(index) for index in range(max([count or 0, top, *wide])))
        check_range(found, len(words), where)
    if count is not None and len(words) != count:
        raise DataError(f"{where}: a binary task has 2 classes, got {len(words)}: {', '.join(words[:6])}")
    return found, words


def called(where: str, split: str) -> str:
    """What a message calls the labels of a split."""
    return where if split == "all" else f"{where}_{split}"


def check_words(labels: Splits, words: Sequence[str], where: str) -> None:
    for split, values in labels.items():
        unknown = [str(word) for word in np.unique(values) if str(word) not in words]
        if unknown:
            raise DataError(f'{called(where, split)}: "{unknown[0]}" is not among the classes {", ".join(words[:20])}')


def index_of(values: Array, words: Sequence[str]) -> Array:
    """Words to class indices."""
    place = {word: index for index, word in enumerate(words)}
    return np.array([place[str(word)] for word in values.reshape(-1)], np.int64)


def indices(values: Array, where: str) -> Array:
    """Integers ``[n]`` of indices, possibly ``[n, 1]`` or as floats, or of one-hot rows."""
    if values.ndim == 2 and values.shape[1] > 1:
        if not (np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all()):
            raise DataError(f"{where} must be class indices [n] or one-hot rows, got shape {values.shape}")
        return np.asarray(values.argmax(axis=1), np.int64)
    return whole(values, where)


def whole(values: Array, where: str) -> Array:
    """One integer for each sample."""
    if values.ndim not in (1, 2) or (values.ndim == 2 and values.shape[1] != 1):
        raise DataError(f"{where} must hold one label for each sample, got shape {values.shape}")
    column = values.reshape(len(values))
    if column.dtype.kind not in "iub" and not (column == np.round(column)).all():
        raise DataError(f"{where} must be whole numbers, got {column[column != np.round(column)][0]}")
    return column.astype(np.int64)


def check_range(labels: Splits, count: int, where: str) -> None:
    """Raise ``DataError`` for a label that is no class."""
    for split, values in labels.items():
        outside = np.flatnonzero((values < 0) | (values >= count))
        if len(outside):
            raise DataError(
                f"{called(where, split)}: labels must be 0 to {count - 1} (of {count} classes), got "
                f"{values[outside[0]]} for sample {outside[0]}"
            )


def zeros_and_ones(values: Array, where: str) -> Array:
    if values.ndim != 2 or not np.isin(values, (0, 1)).all():
        raise DataError(f"{where} must be 0 and 1 in an array [n, labels] for multilabel, got shape {values.shape}")
    return values.astype(np.int64)


def numbers(values: Array, where: str) -> Array:
    if values.dtype.kind not in "iubf":
        raise DataError(f"{where} must be numbers for regression, got {values.dtype}")
    return values.astype(np.float32)
