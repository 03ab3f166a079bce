"""Figures of merit: what a network's outputs are worth against what is right, with a 95 % interval.

scikit-learn computes what it has. Proportions have Wilson's interval, everything else a bootstrap over
samples.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import math
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from toolkit.errors import ConfigError, DataError, choose
from toolkit.records import ACCURACY, Array, Figure, Metric, Source

Kind = Literal["classification", "binary", "multilabel", "regression", "reconstruction", "unlabelled"]

RESAMPLES = 200
SEED = 20240229
NO_NOISE_DB = 200.0  # what is reported where no output differs


@dataclass(frozen=True, eq=False)
class Answers:
    """Outputs of a network beside what is right, sample by sample.

    ``outputs`` are float64 ``[n, k]``; of a binary task ``[n]``, positive above ``threshold``. ``targets``: class
    indices ``[n]``, 0 and 1 ``[n]`` or ``[n, k]``, or numbers ``[n, k]``; without labels the float model's outputs.
    ``anomalous``: 1 for the samples a reconstruction should fail on.
    """

    targets: Array
    outputs: Array
    probabilities: bool = False
    threshold: float = 0.0
    anomalous: Array | None = None

    def __len__(self) -> int:
        return len(self.outputs)

    def take(self, rows: Array) -> Answers:
        """The answers of some samples."""
        some = None if self.anomalous is None else self.anomalous[rows]
        return replace(self, targets=self.targets[rows], outputs=self.outputs[rows], anomalous=some)


@dataclass(frozen=True, eq=False)
class Merit:
    """A metric and how it is computed: a number, or the share of ``hits``."""

    metric: Metric
    value: Callable[[Answers], float] | None = None
    hits: Callable[[Answers], npt.NDArray[np.bool_]] | None = None
    kinds: tuple[str, ...] = ()
    source: str = ""  # of the user's own function, for digests

    def figure(self, answers: Answers, source: Source, note: str) -> Figure:
        """The figure with its 95 % interval."""
        if self.hits is not None:
            return share(self.hits(answers), self.metric.unit, source, note)
        value = self.plain(answers)
        low, high = bootstrap(self.plain, answers)
        return Figure(value, self.metric.unit, source, low, high, f"{note}; 95 % bootstrap interval")

    def plain(self, answers: Answers) -> float:
        """The number alone; raises ``DataError`` where it is not defined (one class only, a constant)."""
        if self.hits is not None:
            return float(np.mean(self.hits(answers)))
        assert self.value is not None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                value = float(self.value(answers))
            except ValueError as error:
                raise DataError(f"{self.metric.name} cannot be computed: {error}") from None
        if math.isnan(value):
            raise DataError(f"{self.metric.name} is not defined on these {len(answers)} samples")
        return value


def share(hits: npt.NDArray[np.bool_], unit: str, source: Source, note: str) -> Figure:
    """The fraction that is true, with its 95 % Wilson interval."""
    n, fraction = len(hits), float(np.mean(hits))
    low, high = wilson(fraction, n)
    return Figure(fraction, unit, source, low, high, f"{note}; 95 % Wilson interval")


def wilson(fraction: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson score interval of a binomial fraction (Wilson, JASA 22, 1927)."""
    centre = (fraction + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(fraction * (1 - fraction) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap(value: Callable[[Answers], float], answers: Answers) -> tuple[float | None, float | None]:
    """Percentile interval over resampled samples (Efron, 1979), the same on every machine.

    Resamples on which the figure is not defined are left out; nothing where most are.
    """
    generator = np.random.Generator(np.random.PCG64(SEED))
    found = []
    for _ in range(RESAMPLES):
        try:
            found.append(value(answers.take(generator.integers(0, len(answers), len(answers)))))
        except DataError:
            continue
    if len(found) < RESAMPLES // 2 or not np.isfinite(found).all():
        return None, None
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def right_class(answers: Answers) -> npt.NDArray[np.bool_]:
    """Whether the class chosen is the label; of two classes with one output, on which side of the threshold it is."""
    hits: npt.NDArray[np.bool_] = chosen_class(answers) == answers.targets
    return hits


def chosen_class(answers: Answers) -> Array:
    """The class with the largest output; ties count by position."""
    if answers.outputs.ndim == 1:
        return (answers.outputs > answers.threshold).astype(np.int64)
    largest: Array = answers.outputs.argmax(axis=1)
    return largest


def in_top(logits: Array, labels: Array, k: int) -> npt.NDArray[np.bool_]:
    """Whether each label is among the ``k`` largest logits; ties count by position, as argmax does."""
    best = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    hits: npt.NDArray[np.bool_] = (best == np.asarray(labels)[:, None]).any(axis=1)
    return hits


def same_class(answers: Answers) -> npt.NDArray[np.bool_]:
    """Whether the largest output is the one of the float model."""
    hits: npt.NDArray[np.bool_] = answers.outputs.argmax(axis=1) == answers.targets.argmax(axis=1)
    return hits


def sqnr_db(answers: Answers) -> float:
    """Signal-to-quantization-noise ratio: the power of the float outputs over that of the differences, in dB."""
    noise = float(np.square(answers.outputs - answers.targets).sum())
    signal = float(np.square(answers.targets).sum())
    if noise == 0:
        return NO_NOISE_DB
    return 10 * math.log10(signal / noise) if signal else -NO_NOISE_DB


def labels_right(answers: Answers) -> float:
    """Share of all labels of all samples that are right."""
    return float(np.mean((answers.outputs > answers.threshold) == answers.targets))


def scores(answers: Answers) -> tuple[Array, Array]:
    """Targets and scores as scikit-learn ranks them: classes one against the rest, as probabilities."""
    if answers.outputs.ndim == 1 or answers.targets.ndim == 2:
        return answers.targets, answers.outputs
    known = np.unique(answers.targets)
    return answers.targets[:, None] == known, probabilities_of(answers)[:, known]


def probabilities_of(answers: Answers) -> Array:
    """Probabilities of classes: the outputs, or their softmax."""
    if answers.probabilities:
        return answers.outputs
    powers = np.exp(answers.outputs - answers.outputs.max(axis=1, keepdims=True))
    softmax: Array = powers / powers.sum(axis=1, keepdims=True)
    return softmax


def roc_auc(answers: Answers) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(*scores(answers), average="macro"))


def average_precision(answers: Answers) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(*scores(answers), average="macro"))


def f1(answers: Answers) -> float:
    from sklearn.metrics import f1_score

    if answers.targets.ndim == 2:
        chosen = answers.outputs > answers.threshold
        return float(f1_score(answers.targets, chosen, average="macro", zero_division=0))
    average = "binary" if answers.outputs.ndim == 1 else "macro"
    return float(f1_score(answers.targets, chosen_class(answers), average=average, zero_division=0))


def background_rejection(answers: Answers, signal: int, efficiency: float) -> float:
    """One over the share of background that passes where ``efficiency`` of the signal does."""
    from sklearn.metrics import roc_curve

    one = answers.outputs.ndim == 1
    score = answers.outputs if one else probabilities_of(answers)[:, signal]
    passed, kept, _ = roc_curve(answers.targets == signal, score if signal or not one else -score)
    share = float(np.interp(efficiency, kept, passed))
    background = int(np.sum(answers.targets != signal))
    return 1 / max(share, 1 / max(background, 1))  # none of n passes: at least n


def rmse(answers: Answers) -> float:
    from sklearn.metrics import root_mean_squared_error

    return float(root_mean_squared_error(answers.targets, answers.outputs))


def mae(answers: Answers) -> float:
    from sklearn.metrics import mean_absolute_error

    return float(mean_absolute_error(answers.targets, answers.outputs))


def r2(answers: Answers) -> float:
    from sklearn.metrics import r2_score

    return float(r2_score(answers.targets, answers.outputs))


def relative_resolution(answers: Answers) -> float:
    """Half the width of the central 68 % of (prediction - target) / target; targets of zero are left out."""
    known = answers.targets != 0
    ratio = (answers.outputs[known] - answers.targets[known]) / answers.targets[known]
    low, high = np.percentile(ratio, [16, 84])
    return float(high - low) / 2


def reconstruction_auc(answers: Answers) -> float:
    from sklearn.metrics import roc_auc_score

    if answers.anomalous is None:
        raise DataError("reconstruction_auc needs y_test: 1 for samples that are anomalous, 0 for the others")
    return float(roc_auc_score(answers.anomalous, np.square(answers.outputs - answers.targets).mean(axis=1)))


CLASSES, NUMBERS = ("classification", "binary", "multilabel"), ("regression", "reconstruction")


def merit(
    name: str,
    better: Literal["higher", "lower"],
    unit: str,
    title: str,
    meaning: str,
    value: Callable[[Answers], float],
    kinds: tuple[str, ...],
) -> Merit:
    return Merit(Metric(name, better, unit, title, meaning), value, None, kinds)


MERITS: Mapping[str, Merit] = {
    item.metric.name: item
    for item in (
        Merit(ACCURACY, None, right_class, ("classification", "binary")),
        merit("roc_auc", "higher", "", "ROC AUC", "area under the ROC curve, macro over classes", roc_auc, CLASSES),
        merit(
            "average_precision", "higher", "", "Average precision", "area under precision-recall, macro over classes",
            average_precision, CLASSES,
        ),
        merit("f1", "higher", "", "F1", "harmonic mean of precision and recall, macro over classes", f1, CLASSES),
        merit(
            "label_accuracy", "higher", "fraction", "Label accuracy", "labels that are right, of all", labels_right,
            ("multilabel",),
        ),
        merit("rmse", "lower", "", "RMSE", "root of the mean squared error", rmse, NUMBERS),
        merit("mae", "lower", "", "MAE", "mean absolute error", mae, NUMBERS),
        merit("r2", "higher", "", "R2", "share of the variance explained", r2, NUMBERS),
        merit(
            "relative_resolution", "lower", "fraction", "Relative resolution",
            "half the central 68 % of (prediction - target) / target", relative_resolution, ("regression",),
        ),
        merit(
            "reconstruction_auc", "higher", "", "Reconstruction AUC", "ROC AUC of the squared error, for anomalies",
            reconstruction_auc, ("reconstruction",),
        ),
        Merit(
            Metric("agreement", "higher", "fraction", "Agreement", "same class as the float model"),
            None, same_class, ("unlabelled",),
        ),
        merit("sqnr_db", "higher", "dB", "SQNR", "float outputs over what differs from them", sqnr_db, ("unlabelled",)),
    )
}  # fmt: skip

DEFAULTS: Mapping[str, str] = {
    "classification": "accuracy",
    "binary": "accuracy",
    "multilabel": "roc_auc",
    "regression": "rmse",
    "reconstruction": "rmse",
    "unlabelled": "agreement",
}
# What is reported beside the figure that decides.
BESIDE: Mapping[str, tuple[str, ...]] = {
    "classification": ("accuracy",),
    "binary": ("accuracy", "roc_auc"),
    "multilabel": ("roc_auc", "label_accuracy"),
    "regression": ("rmse", "mae", "r2"),
    "reconstruction": ("rmse",),
}
TOP = re.compile(r"top(\d+)")
REJECTION = "background_rejection"


def merit_of(
    asked: str | Metric | Callable[..., float] | None,
    kind: Kind,
    *,
    better: Literal["higher", "lower"] | None = None,
    unit: str | None = None,
    signal: int = 1,
    signal_efficiency: float = 0.5,
) -> Merit:
    """The figure of merit of a task: by name, a function ``(targets, outputs) -> number`` or ``"module:function"``.

    Raises ``ConfigError`` for an unknown name, one of another kind of task, and a function without direction.
    """
    if callable(asked) or (isinstance(asked, str) and ":" in asked):
        return own_merit(asked, better, unit or "")
    name = str(asked or DEFAULTS[kind])
    if better is not None:
        raise ConfigError(f"task.direction is for a function of your own; {name} has its own")
    if match := TOP.fullmatch(name):
        found = top_merit(int(match[1]))
    elif name == REJECTION:
        found = rejection_merit(signal, signal_efficiency)
    else:
        found = MERITS[choose("task.metric", name, (*MERITS, "top5", REJECTION))]
    if kind not in found.kinds:
        more = ["top5"] if kind == "classification" else []
        more += [REJECTION] if kind in ("classification", "binary") else []
        fitting = [*(item for item, other in MERITS.items() if kind in other.kinds), *more]
        raise ConfigError(f"task.metric: {name} is not for {kind}; choose {', '.join(fitting)}")
    return found if unit is None else replace(found, metric=replace(found.metric, unit=unit))


def top_merit(k: int) -> Merit:
    """Label among the ``k`` largest outputs."""
    metric = Metric(f"top{k}", "higher", "fraction", f"Top-{k}", f"label among the {k} largest outputs")
    return Merit(metric, None, lambda answers: in_top(answers.outputs, answers.targets, k), ("classification",))


def rejection_merit(signal: int, efficiency: float) -> Merit:
    """One over the background that passes at an efficiency for the class ``signal``."""
    meaning = f"1 / background that passes where {efficiency:.0%} of class {signal} does"
    metric = Metric(REJECTION, "higher", "", "Background rejection", meaning)
    computed = functools.partial(background_rejection, signal=signal, efficiency=efficiency)
    return Merit(metric, computed, None, ("classification", "binary"))


def own_merit(asked: Any, better: Literal["higher", "lower"] | None, unit: str) -> Merit:
    """The user's own function."""
    function = imported(asked) if isinstance(asked, str) else asked
    name = re.sub(r"\W", "_", getattr(function, "__name__", "metric").lower()).strip("_") or "metric"
    if better is None:
        raise ConfigError(
            f'task.direction: which way is better must be said of your own metric {name}; choose "higher" or "lower"'
        )
    if name in MERITS:
        raise ConfigError(f"task.metric: {name} is the name of a metric there is; name your function otherwise")
    metric = Metric(name, better, unit, name.replace("_", " ").capitalize(), first_line(function))
    return Merit(metric, lambda answers: function(answers.targets, answers.outputs), None, (), text_of(function))


def first_line(function: Any) -> str:
    return (inspect.getdoc(function) or "a function of the user's own").strip().splitlines()[0]


def text_of(function: Any) -> str:
    """Source of a function where Python knows it, else its name."""
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return repr(getattr(function, "__qualname__", type(function).__name__))


def imported(spelled: str) -> Callable[..., float]:
    """The function that ``module:function`` names, from the path or the working directory."""
    module, _, name = spelled.partition(":")
    try:
        with searched(Path.cwd()):
            function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f'task.metric: "{spelled}" cannot be imported: {error}') from None
    if not callable(function):
        raise ConfigError(f'task.metric: "{spelled}" is not a function')
    return function  # type: ignore[no-any-return]


@contextmanager
def searched(folder: Path) -> Iterator[None]:
    """Look for modules in a folder too."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
