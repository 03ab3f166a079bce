"""A dataset: arrays in fixed splits, how they are scaled and what is to be learnt from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from toolkit.data.heads import Head
from toolkit.data.merit import MERITS, merit_of
from toolkit.data.scaling import Scaling, scaling
from toolkit.errors import DataError
from toolkit.names import check_name
from toolkit.records import Array, Metric
from toolkit.tables import html_table

SPLITS = ("train", "validation", "test")

# One array, or several by the names of the network's inputs or outputs.
Arrays = Array | Mapping[str, Array]

CLASSES = Head("classification", MERITS["accuracy"])


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs and labels in fixed splits; made from arrays by :meth:`from_arrays`.

    ``x_*``: ``[n, ...]`` of any shape, as their source has them (images uint8, features float32); several inputs
    are a mapping from the names of the network's inputs. ``y_*``: class indices int64 ``[n]``, 0 and 1, or numbers
    float32; of several outputs a mapping; ``None`` without labels. ``scale`` is what stands before the network,
    outside the FPGA: :meth:`inputs` are the scaled values, float32. ``heads`` say what each output is judged by;
    the one named ``deciding`` (default the first) decides. ``digest`` covers all of it; ``test_digest`` only the
    test split, which is what a comparison has to agree on.

    Raises ``DataError`` for arrays that do not belong together.
    """

    name: str
    x_train: Arrays
    y_train: Arrays | None
    x_validation: Arrays
    y_validation: Arrays | None
    x_test: Arrays
    y_test: Arrays | None
    class_names: tuple[str, ...]
    digest: str
    test_digest: str
    origin: str  # where the bytes came from: a path, a package and version, or "generated"
    scale: Scaling | Mapping[str, Scaling] | str | float | None = None
    heads: tuple[Head, ...] = ()
    deciding: str | None = None

    def __post_init__(self) -> None:
        check_name("the name of a dataset", self.name, DataError)
        if not self.heads:
            object.__setattr__(self, "heads", (replace(CLASSES, class_names=self.class_names),))
        for split in SPLITS:
            check_lengths(split, getattr(self, f"x_{split}"), getattr(self, f"y_{split}"))
        check_shapes(self)
        if not isinstance(self.scale, Scaling | Mapping):
            object.__setattr__(self, "scale", scales(self.scale, self.x_train, "x_train"))

    @classmethod
    def from_arrays(cls, **arrays: Any) -> Dataset:
        """A dataset from NumPy arrays, tensors or data frames; see :func:`toolkit.data.arrays.from_arrays`."""
        from toolkit.data.arrays import from_arrays

        return from_arrays(**arrays)

    @classmethod
    def from_batches(cls, train: Iterable[Any], test: Iterable[Any], **settings: Any) -> Dataset:
        """A dataset from ``tf.data`` or Keras datasets, loaders, or any iterables of batches ``(inputs, labels)``."""
        from toolkit.data.arrays import from_batches

        return from_batches(train, test, **settings)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of several inputs; none where there is only one."""
        return tuple(self.x_train) if isinstance(self.x_train, Mapping) else ()

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of one sample of each input."""
        return tuple(tuple(array.shape[1:]) for array in each(self.x_train))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample; raises ``DataError`` where there are several inputs."""
        if len(self.input_shapes) > 1:
            raise DataError(f"{self.name} has several inputs: {', '.join(self.input_names)}")
        return self.input_shapes[0]

    @property
    def head(self) -> Head:
        """The output that decides."""
        return next((head for head in self.heads if head.name == self.deciding), self.heads[0])

    @property
    def task(self) -> str:
        """What the deciding output is for: classification, binary, multilabel, regression, ..."""
        return self.head.kind

    @property
    def metric(self) -> Metric:
        """The figure of merit that decides; with several outputs its name begins with the output's."""
        return metric_of(self, self.head)

    @property
    def classes(self) -> int:
        """Number of classes, or of whatever else an output holds (0 where the data do not say)."""
        return self.head.outputs or len(self.class_names)

    @property
    def noun(self) -> str:
        """What a sample is called."""
        return "images" if any(len(shape) == 3 for shape in self.input_shapes) else "samples"

    def size(self, split: str = "test") -> int:
        """Number of samples of a split."""
        return len(each(getattr(self, f"x_{split}"))[0])

    def scalings(self) -> tuple[Scaling, ...]:
        """The scaling of each input."""
        found = each(self.scale)
        return found if len(found) == len(self.input_shapes) else found * len(self.input_shapes)

    def inputs(self, split: str = "test", count: int | None = None) -> Any:
        """Scaled inputs of a split, float32 ``[n, ...]``, a list of several; the first ``count`` if given."""
        parts = each(getattr(self, f"x_{split}"))
        found = [scale(part[:count].astype(np.float32)) for scale, part in zip(self.scalings(), parts, strict=True)]
        return found if self.input_names else found[0]

    def labels(self, split: str = "test", count: int | None = None) -> Any:
        """Labels of a split as they are, a mapping of several outputs, ``None`` without; the first ``count``."""
        return first(getattr(self, f"y_{split}"), count)

    def targets(self, head: Head, split: str = "test", count: int | None = None) -> Array | None:
        """What an output should be: its labels, or the scaled inputs it is to reconstruct."""
        if head.kind == "reconstruction":
            inputs = self.inputs(split, count)
            found: Array = inputs[0] if self.input_names else inputs
            return found.reshape(len(found), -1)
        labels = self.labels(split, count)
        mine: Array | None = labels[head.name] if isinstance(labels, Mapping) else labels
        return mine

    def anomalous(self, split: str = "test", count: int | None = None) -> Array | None:
        """1 for the samples of a split that a reconstruction should fail on, where that is known."""
        labels = self.labels(split, count)
        return labels if self.task == "reconstruction" and labels is not None and len(labels) else None

    def _repr_html_(self) -> str:
        """What there is, how it is scaled and what it is judged by, for a notebook."""
        shapes = ", ".join(str(list(shape)) for shape in self.input_shapes)
        about = {
            **{f"{split} {self.noun}": f"{self.size(split):,}" for split in SPLITS},
            "input": shapes,
            "scaling": "; ".join(dict.fromkeys(map(str, self.scalings()))),
            "task": self.task,
            "judged by": self.metric.title,
            "classes": ", ".join(self.class_names[:20]) or "none",
            "from": self.origin,
            "digest": self.digest,
        }
        return html_table(self.name, ("what", "value"), list(about.items()))

    def fitted(self, model: Any) -> Dataset:
        """The dataset with inputs and outputs in the order of a Keras model's, by name where the names are the same.

        Raises ``DataError`` for inputs the model does not take and outputs the task has no use for.
        """
        return fitted(self, model)


def each(arrays: Any) -> tuple[Any, ...]:
    """One value or several, as a tuple."""
    return tuple(arrays.values()) if isinstance(arrays, Mapping) else (arrays,)


def first(arrays: Any, count: int | None) -> Any:
    """The first of an array, of each of several, or nothing."""
    if isinstance(arrays, Mapping):
        return {name: array[:count] for name, array in arrays.items()}
    return None if arrays is None else arrays[:count]


def spelled(what: str, arrays: Any) -> list[tuple[str, Array]]:
    """Arrays with the names that messages call them by: ``x_test``, ``x_test["image"]``."""
    if isinstance(arrays, Mapping):
        return [(f'{what}["{name}"]', array) for name, array in arrays.items()]
    return [] if arrays is None else [(what, arrays)]


def check_lengths(split: str, x: Any, y: Any, where: str = "") -> None:
    """Raise ``DataError`` unless all arrays of a split are arrays of one length."""
    parts = [*spelled(f"{where}x_{split}", x), *spelled(f"{where}y_{split}", y)]
    for name, array in parts:
        if not isinstance(array, np.ndarray) or array.ndim < 1:
            raise DataError(f"{name} must be an array of samples, got {type(array).__name__}")
    (head, leader), *rest = parts
    for name, array in rest:
        if len(array) != len(leader) and not (name.startswith(f"{where}y_") and not len(array)):
            raise DataError(
                f"{head} and {name} must be of the same length, got {len(leader)} and {len(array)} "
                f"(shapes {leader.shape} and {array.shape})"
            )


def check_shapes(dataset: Dataset) -> None:
    """Raise ``DataError`` unless inputs are numbers of one shape in all splits and something can be judged."""
    model = spelled("x_train", dataset.x_train)
    for split in SPLITS:
        parts = spelled(f"x_{split}", getattr(dataset, f"x_{split}"))
        for (trained, leader), (name, array) in zip(model, parts, strict=True):
            if array.dtype.kind not in "iubf":
                raise DataError(f"{name} must hold real numbers, got {array.dtype} of shape {array.shape}")
            if array.ndim < 2 or array.shape[1:] != leader.shape[1:]:
                raise DataError(
                    f"{name} must have shape [n, ...] with the same sample shape as {trained}, got {array.shape} "
                    f"and {leader.shape}"
                )
    if dataset.size("test") == 0:
        raise DataError(f"{parts[0][0]} must hold at least one sample to judge by, got shape {parts[0][1].shape}")
    for split in SPLITS:
        if dataset.task == "classification" and not isinstance(dataset.labels(split), Mapping):
            check_classes(f"y_{split}", dataset.labels(split), len(dataset.class_names))


def check_classes(name: str, labels: Array | None, classes: int) -> None:
    """Raise ``DataError`` unless labels are indices of classes."""
    if labels is None or not len(labels):
        return
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"{name} must hold indices [n] of {classes} classes, got {labels.dtype} of shape {labels.shape} from "
            f"{labels.min()} to {labels.max()}"
        )


def scales(asked: Any, x: Arrays, where: str) -> Scaling | dict[str, Scaling]:
    """The scaling of an input, or of each of several; ``asked`` is for all or by name."""
    if not isinstance(x, Mapping):
        return scaling(asked, x, where)
    wishes = asked if isinstance(asked, Mapping) else dict.fromkeys(x, asked)
    return {name: scaling(wishes.get(name), array, f'{where}["{name}"]') for name, array in x.items()}


def metric_of(dataset: Dataset, head: Head) -> Metric:
    """A head's metric, named after the head where there are several."""
    metric = head.metric
    if len(dataset.heads) == 1 or head.name is None:
        return metric
    return replace(metric, name=f"{head.name}_{metric.name}", title=f"{metric.title} of {head.name}")


def fitted(dataset: Dataset, model: Any) -> Dataset:
    """See :meth:`Dataset.fitted`."""
    ordered = in_order(dataset, [tensor.name.split(":")[0] for tensor in model.inputs])
    expected = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    for name, want, have in zip(dataset.input_names or [""], expected, ordered.input_shapes, strict=False):
        agree = len(want) == len(have) and all(a in (None, b) for a, b in zip(want, have, strict=True))
        if not agree:
            what = f'input "{name}" of shape' if name else f"{dataset.noun} of shape"
            raise DataError(f"model {model.name} takes {what} {want}, {dataset.name} has {have}")
    if len(expected) != len(ordered.input_shapes):
        raise DataError(
            f"model {model.name} takes {len(expected)} inputs of shapes {', '.join(map(str, expected))}, "
            f"{dataset.name} has {len(ordered.input_shapes)}"
        )
    return with_outputs(ordered, model)


def in_order(dataset: Dataset, names: list[str]) -> Dataset:
    """Inputs in the order of these names, where they are the same names."""
    if set(names) != set(dataset.input_names) or tuple(names) == dataset.input_names:
        return dataset
    parts = {f"x_{split}": getattr(dataset, f"x_{split}") for split in SPLITS}
    ordered: dict[str, Any] = {key: {name: part[name] for name in names} for key, part in parts.items()}
    if isinstance(dataset.scale, Mapping):
        ordered["scale"] = {name: dataset.scale[name] for name in names}
    return replace(dataset, **ordered)


def with_outputs(dataset: Dataset, model: Any) -> Dataset:
    """Heads in the order of the model's outputs; raises ``DataError`` where an output has another width."""
    names = [tensor._keras_history.operation.name for tensor in model.outputs]
    widths = [int(np.prod(tensor.shape[1:])) for tensor in model.outputs]
    heads = dataset.heads
    if len(heads) > 1 and {head.name for head in heads} == set(names):
        heads = tuple(next(head for head in heads if head.name == name) for name in names)
    if len(heads) != len(widths):
        raise DataError(f"model {model.name} has {len(widths)} outputs ({', '.join(names)}), the task has {len(heads)}")
    return replace(dataset, heads=tuple(map(sized, heads, widths, [model.name] * len(heads))))


def sized(head: Head, width: int, model: str) -> Head:
    """A head that knows the width of its output."""
    if head.kind == "unlabelled" and width == 1 and head.metric.name == "agreement":
        return replace(head, outputs=width, merit=merit_of("sqnr_db", "unlabelled"))
    if head.kind == "classification":
        if head.outputs and width < head.outputs:  # more outputs than classes are fine: the others are never right
            raise DataError(f"model {model} must have an output per class: {width} outputs, {head.outputs} classes")
    elif width not in (allowed := (1, 2) if head.kind == "binary" else (head.outputs or width,)):
        raise DataError(
            f"model {model} must have {' or '.join(map(str, allowed))} outputs for {head.kind}, got {width}"
        )
    return head if head.outputs else replace(head, outputs=width)
