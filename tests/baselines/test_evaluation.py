"""What logits are worth: counts against a plain loop, intervals, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.baselines.evaluation import Evaluation, evaluate
from toolkit.data.merit import wilson
from toolkit.errors import DataError


def judged(logits: np.ndarray, labels: np.ndarray, **keys: object) -> Evaluation:
    names = tuple(map(str, range(logits.shape[1])))
    return evaluate(logits, labels, source="measured", engine="x", test_digest="t", class_names=names, **keys)  # type: ignore[arg-type]


@given(st.integers(1, 40), st.integers(6, 9), st.integers(0, 2**32 - 1))
def test_figures_are_what_a_loop_counts(count: int, classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, other = rng.normal(size=(count, classes)), rng.normal(size=(count, classes))
    labels = rng.integers(0, classes, count)
    found = judged(logits, labels, float_logits=other)
    best = [sorted(range(classes), key=lambda j, row=row: -row[j]) for row in logits]
    assert found.figures["accuracy"].value == pytest.approx(
        np.mean([b[0] == y for b, y in zip(best, labels, strict=True)])
    )
    assert found.figures["top5"].value == pytest.approx(
        np.mean([y in b[:5] for b, y in zip(best, labels, strict=True)])
    )
    assert found.figures["agreement"].value == pytest.approx(np.mean(logits.argmax(1) == other.argmax(1)))
    assert sum(map(sum, found.confusion)) == count
    assert sum(found.confusion[i][i] for i in range(classes)) == round(found.figures["accuracy"].value * count)


@given(st.integers(1, 2000), st.data())
def test_the_interval_holds_the_fraction(n: int, data: st.DataObject) -> None:
    fraction = data.draw(st.integers(0, n)) / n
    low, high = wilson(fraction, n)
    assert 0 <= low <= fraction + 1e-12
    assert fraction - 1e-12 <= high <= 1


def test_wilson_as_published() -> None:
    assert wilson(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)


def test_few_classes_have_no_top5() -> None:
    assert "top5" not in judged(np.eye(4), np.arange(4)).figures


def test_partial_test_split_is_noted() -> None:
    found = judged(np.eye(4), np.arange(4), images_total=10)
    assert not found.whole
    assert str(found.figures["accuracy"].note).startswith("first 4 of 10 test images")


@pytest.mark.parametrize(
    ("logits", "labels", "keys"),
    [(np.eye(4)[:3], np.arange(4), {}), (np.eye(4), np.arange(4), {"float_logits": np.eye(4)[:2]})],
    ids=["labels", "float logits"],
)
def test_shapes_that_do_not_fit_are_refused(logits: np.ndarray, labels: np.ndarray, keys: dict[str, object]) -> None:
    with pytest.raises(DataError, match=r"outputs|logits"):
        judged(logits, labels, **keys)
