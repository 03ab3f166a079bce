"""What an engine's outputs are worth on a test split: figures of merit, agreement with float, confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from toolkit.data import Dataset
from toolkit.data.dataset import metric_of
from toolkit.data.heads import Head
from toolkit.data.judging import figures_of, judged
from toolkit.data.merit import MERITS, Answers
from toolkit.errors import DataError
from toolkit.records import ACCURACY, Array, Figure, LayerProfile, Metric, Source


@dataclass(frozen=True)
class Evaluation:
    """What one engine is worth on the first ``images`` of ``images_total`` test samples.

    ``figures`` holds the figure that ``metric`` names, those beside it (``top5`` from six classes up) and, when the
    float model's outputs were given, ``agreement`` with it (classes) or ``sqnr_db`` (everything else);
    ``confusion[label][prediction]`` counts samples. ``engine`` says who computed the outputs: ``csim``,
    ``emulation``, ``keras``, ``onnxruntime``, ...
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
    metric: Metric = ACCURACY
    others: tuple[Metric, ...] = ()  # those of further outputs

    @property
    def merit(self) -> Figure:
        """The figure that decides."""
        return self.figures[self.metric.name]

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
    head = Head("classification", MERITS["accuracy"], class_names=class_names)
    answers = head.answers(labels, logits)
    n, total = len(labels), images_total or len(labels)
    note = note_of(n, total, "images")
    figures = {**head.figures(answers, source, note), **beside_float(head, answers, float_logits, source, note)}
    return Evaluation(engine, n, total, test_digest, figures, head.confusion(answers), class_names)


def evaluate_on(
    dataset: Dataset,
    outputs: Array,
    *,
    source: Source,
    engine: str,
    probabilities: Sequence[bool] = (),
    count: int | None = None,
    float_outputs: Array | None = None,
) -> Evaluation:
    """Judge outputs ``[n, ...]`` on the first ``count`` test samples of a dataset by its own figures of merit.

    Several outputs stand side by side. ``probabilities`` says which end in softmax or sigmoid. Raises ``DataError``
    when shapes disagree.
    """
    total = dataset.size("test")
    n = min(count or total, total)
    note = note_of(n, total, dataset.noun)
    flat = None if float_outputs is None else first_outputs(float_outputs, n)
    answers = judged(dataset, outputs, probabilities, "test", count, flat)
    figures: dict[str, Figure] = {}
    confusion: tuple[tuple[int, ...], ...] = ()
    found_by_head = figures_of(dataset, answers, source, note, whole=n == total)
    for (head, found), answered in zip(found_by_head, answers, strict=True):
        figures |= found
        if head is dataset.head:
            confusion = head.confusion(answered)
            figures |= beside_float(head, answered, flat if len(dataset.heads) == 1 else None, source, note)
    return Evaluation(
        engine,
        n,
        total,
        dataset.test_digest,
        figures,
        confusion,
        dataset.head.class_names,
        metric=dataset.metric,
        others=tuple(metric_of(dataset, head) for head in dataset.heads if head is not dataset.head),
    )


def note_of(n: int, total: int, noun: str) -> str:
    return f"{n} test {noun}" if n == total else f"first {n} of {total} test {noun}"


def first_outputs(float_outputs: Array, n: int) -> Array:
    """The float model's outputs on the first ``n`` samples, ``[n, ...]``; raises ``DataError`` when it judged fewer."""
    if len(float_outputs) < n:
        raise DataError(f"agreement needs the float model's logits of {n} images, got {len(float_outputs)}")
    return np.asarray(float_outputs)[:n].reshape(n, -1)


def beside_float(
    head: Head, answers: Answers, float_outputs: Array | None, source: Source, note: str
) -> dict[str, Figure]:
    """How near the outputs are to the float model's: the same class, or signal over quantization noise."""
    if float_outputs is None or head.kind == "unlabelled":
        return {}
    n = len(answers)
    floats = first_outputs(float_outputs, n).astype(np.float64)
    if head.kind == "binary":
        score = floats[:, 0] if floats.shape[1] == 1 else floats[:, 1] - floats[:, 0]
        sides = Answers((score > answers.threshold).astype(int), answers.outputs, threshold=answers.threshold)
        agreement = replace(MERITS["agreement"], hits=MERITS["accuracy"].hits)
        return {"agreement": agreement.figure(sides, source, f"same class as the float model; {note}")}
    name = "agreement" if head.kind == "classification" else "sqnr_db"
    compared = Answers(floats, answers.outputs)
    told = "same class as the float model" if name == "agreement" else "against the float model"
    return {name: MERITS[name].figure(compared, source, f"{told}; {note}")}
