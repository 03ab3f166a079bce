"""Outputs of a network on a split, judged output by output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from toolkit.data.dataset import Dataset, metric_of
from toolkit.data.heads import Head
from toolkit.data.merit import Answers
from toolkit.errors import DataError
from toolkit.records import Array, Figure, Source


def judged(
    dataset: Dataset,
    outputs: Array,
    probabilities: Sequence[bool] = (),
    split: str = "test",
    count: int | None = None,
    float_outputs: Array | None = None,
) -> list[Answers]:
    """What each output answered beside what is right.

    ``outputs`` ``[n, ...]``: several stand side by side, in the order of the dataset's heads. ``probabilities`` says
    which end in softmax or sigmoid. Without labels ``float_outputs`` are what is right. Raises ``DataError`` for
    another shape.
    """
    flat = np.asarray(outputs).reshape(len(outputs), -1)
    ends = tuple(probabilities) or (False,) * len(dataset.heads)
    found = []
    for head, columns, end in zip(dataset.heads, slices(dataset.heads, flat), ends, strict=True):
        target = dataset.targets(head, split, count)
        if head.kind == "unlabelled" and float_outputs is not None:
            target = np.asarray(float_outputs)[: len(flat)].reshape(len(flat), -1)[:, columns]
        found.append(
            head.answers(target, flat[:, columns], probabilities=end, anomalous=dataset.anomalous(split, count))
        )
    return found


def slices(heads: Sequence[Head], flat: Array) -> Iterator[slice]:
    """The columns of each output."""
    if len(heads) == 1:
        yield slice(None)
        return
    begin = 0
    for head in heads:
        if head.outputs is None:
            raise DataError(f"how wide output {head.name} is must be known: fit the dataset to its model")
        yield slice(begin, begin + head.outputs)
        begin += head.outputs
    if begin != flat.shape[1]:
        raise DataError(f"outputs must have shape [n, {begin}] (side by side), got {list(flat.shape)}")


def figures_of(
    dataset: Dataset, answers: Sequence[Answers], source: Source, note: str, *, whole: bool = True
) -> Iterator[tuple[Head, dict[str, Figure]]]:
    """For each output its figures; of several, named after the output."""
    for head, answered in zip(dataset.heads, answers, strict=True):
        found = head.figures(answered, source, note, whole=whole)
        prefix = metric_of(dataset, head).name.removesuffix(head.metric.name)
        yield head, {f"{prefix}{name}": figure for name, figure in found.items()}
