"""Arrays to a dataset: what is missing is split off, everything is checked, labels get one form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from toolkit.config import TaskConfig
from toolkit.data.dataset import SPLITS, Dataset, check_lengths, each, scales
from toolkit.data.heads import Head, head_of
from toolkit.data.scaling import PIXELS, Scaling
from toolkit.data.splits import take, take_stratified
from toolkit.errors import ConfigError, DataError, choose
from toolkit.records import Array
from toolkit.store import digest

GIVEN = (*(f"{part}_{split}" for split in SPLITS for part in "xy"), "x", "y")


def from_arrays(
    *,
    name: str = "arrays",
    task: str | Mapping[str, Any] | TaskConfig | None = None,
    metric: Any = None,
    scale: Any = None,
    class_names: Sequence[str] = (),
    test_fraction: float = 0.2,
    validation_fraction: float = 0.1,
    seed: int = 0,
    stratified: bool | None = None,
    test_count: int | None = None,
    origin: str = "arrays",
    where: str = "",
    **arrays: Any,
) -> Dataset:
    """A dataset from ``x_train``, ``y_train``, ``x_test``, ``y_test`` (and ``x_validation``, ``y_validation``), or
    from ``x`` and ``y``, which are split.

    Inputs are arrays ``[n, ...]`` of any shape, or mappings from input names to them; labels likewise, or absent.
    ``task`` is a kind (``"regression"``, ...) or the keys of ``[task]``; ``metric`` a name, ``"module:function"`` or
    ``(targets, outputs) -> number``. ``scale``: ``"1/255"``, a number to multiply by, ``"standard"``, ``"none"``, by
    input name if they differ; default: bytes of images / 255, floats as they are. Where there is no test split
    ``test_fraction`` of the samples becomes one, where there is no validation split ``validation_fraction`` of
    the training samples, by ``seed`` and, of classes, in proportion (``stratified``). ``where`` precedes array names in
    messages. Raises ``DataError`` naming array and shape for what does not belong together.
    """
    for key in arrays:
        choose("array", key, GIVEN)
    given: dict[str, Any] = {
        key: as_arrays(value, f"{where}{key}") for key, value in arrays.items() if value is not None
    }
    parts = whole_splits(given, where)
    settings = task_config(task, metric)
    heads, labels = heads_of(settings, {split: y for split, (_, y) in parts.items()}, class_names, where)
    parts = {split: (x, labels.get(split)) for split, (x, _) in parts.items()}
    for split, (x, y) in parts.items():
        check_lengths("" if split == "all" else split, x, y, where)
    ranks = strata(parts, heads, stratified, where)
    for key, fraction in (("test_fraction", test_fraction), ("validation_fraction", validation_fraction)):
        if not 0 <= fraction < 1:
            raise ConfigError(f"{key} must be from 0 to below 1, got {fraction}")
    split_off(parts, "all", "train", "test", test_fraction, seed, ranks)
    split_off(parts, "train", "train", "validation", validation_fraction, seed, ranks)
    if test_count is not None:
        parts["test"] = tuple(cut(part, test_count) for part in parts["test"])
    return sealed(name, parts, heads, settings.deciding, scale, origin, where)


def from_batches(
    train: Iterable[Any], test: Iterable[Any], *, validation: Iterable[Any] | None = None, **settings: Any
) -> Dataset:
    """See :meth:`Dataset.from_batches`; a pair ``(inputs, labels)`` of arrays is taken as it is."""
    arrays: dict[str, Any] = {}
    for split, batches in (("train", train), ("test", test), ("validation", validation)):
        if batches is not None:
            arrays |= dict(zip((f"x_{split}", f"y_{split}"), gathered(batches), strict=True))
    return from_arrays(**arrays, **{"origin": type(train).__name__, **settings})


def gathered(batches: Iterable[Any]) -> tuple[Any, Any]:
    """Inputs and labels of all batches, one behind the other."""
    if isinstance(batches, tuple) and len(batches) == 2:
        return batches
    pairs = [batch if isinstance(batch, tuple | list) else (batch, None) for batch in batches]
    if not pairs:
        raise DataError("a dataset of batches must hold at least one batch, got none")
    return joined([pair[0] for pair in pairs]), joined([pair[1] if len(pair) > 1 else None for pair in pairs])


def joined(parts: Sequence[Any]) -> Any:
    if parts[0] is None:
        return None
    if isinstance(parts[0], Mapping):
        return {name: joined([part[name] for part in parts]) for name in parts[0]}
    return np.concatenate([np.asarray(part) for part in parts])


def as_arrays(value: Any, where: str) -> Any:
    """An array or a mapping of arrays from whatever NumPy understands; raises ``DataError`` for what is not finite."""
    if isinstance(value, Mapping):
        if not value:
            raise DataError(f"{where} must name at least one array, got an empty mapping")
        return {str(name): as_arrays(part, f'{where}["{name}"]') for name, part in value.items()}
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise DataError(f"{where} must be an array: {error}") from None
    if array.dtype.kind in "OTS" and array.size and isinstance(array.flat[0], str | bytes):
        array = array.astype(str)
    if array.dtype.kind not in "iubfU":
        raise DataError(f"{where} must hold real numbers, or words as labels, got {array.dtype} of shape {array.shape}")
    if array.ndim < 1:
        raise DataError(f"{where} must be an array of samples, got a single value")
    if array.dtype.kind == "f":
        check_finite(array, where)
    return array


def check_finite(array: Array, where: str) -> None:
    bad = ~np.isfinite(array)
    if bad.any():
        places = np.argwhere(bad)
        raise DataError(
            f"{where} must be finite, got {len(places):,} NaN or infinite values of {array.size:,}, the first at "
            f"{places[0].tolist()} (shape {array.shape})"
        )


Parts = dict[str, Any]  # by split: inputs and labels


def whole_splits(given: Mapping[str, Any], where: str) -> Parts:
    """The splits that were given; ``all`` is one to be split. Raises ``DataError`` for a set that makes none."""
    for key in given:
        if key.startswith("y") and f"x{key[1:]}" not in given:
            raise DataError(f"{where}{key} are labels without inputs: x{key[1:]} is missing")
    if "x" in given:
        extra = [key for key in given if key not in ("x", "y")]
        if extra:
            raise DataError(
                f"{where}x is to be split, and {', '.join(extra)} is a split already; give one or the other"
            )
        return {"all": (stored(given["x"]), given.get("y"))}
    if "x_train" not in given or "x_test" not in given:
        have = ", ".join(f"{where}{key}" for key in given) or "nothing"
        raise DataError(f"a dataset needs x_train and x_test, or x to be split by fractions; got {have}")
    names = [split for split in SPLITS if f"x_{split}" in given]
    return {split: (stored(given[f"x_{split}"]), given.get(f"y_{split}")) for split in names}


def stored(x: Any) -> Any:
    """Inputs as they are kept: floats float32, integers and bytes as they are, samples along the first axis of two."""
    if isinstance(x, Mapping):
        return {name: stored(part) for name, part in x.items()}
    kept = x.astype(np.float32) if x.dtype.kind in "fb" else x
    return kept[:, np.newaxis] if kept.ndim == 1 else kept


def task_config(task: Any, metric: Any) -> TaskConfig:
    """The ``[task]`` of whatever was given."""
    if isinstance(task, TaskConfig):
        found = task
    elif isinstance(task, Mapping):
        found = TaskConfig(**task)
    else:
        found = TaskConfig(kind=task)
    return found if metric is None else found.change(metric=metric)


def heads_of(
    settings: TaskConfig, labels: Mapping[str, Any], class_names: Sequence[str], where: str
) -> tuple[tuple[Head, ...], dict[str, Any]]:
    """The heads, and the labels by split in one form."""
    known = {split: values for split, values in labels.items() if values is not None}
    several = [values for values in known.values() if isinstance(values, Mapping)]
    if not several:
        if settings.heads or settings.deciding:
            raise ConfigError("task.heads: the labels are one array; name the labels of several outputs")
        head, found = head_of(settings, known, class_names, f"{where}y")
        return (head,), dict(found)
    names = list(several[0])
    for name in settings.heads:
        choose("task.heads", name, names)
    if settings.deciding is not None:
        choose("task.deciding", settings.deciding, names)
    heads, made = [], {split: {} for split in known}  # type: tuple[list[Head], dict[str, dict[str, Array]]]
    for name in names:
        asked = settings.heads.get(name) or settings
        here = {split: values[name] for split, values in known.items()}
        head, found = head_of(asked, here, (), f'{where}y["{name}"]', name)
        heads.append(head)
        for split, values in found.items():
            made[split][name] = values
    return tuple(heads), dict(made)


def strata(parts: Parts, heads: Sequence[Head], stratified: bool | None, where: str) -> bool:
    """Whether splits keep the classes in proportion; by default where labels are classes."""
    possible = len(heads) == 1 and heads[0].kind in ("classification", "binary")
    if stratified and not possible:
        raise ConfigError(f"dataset.stratified: {where or 'the data'} has no classes to keep in proportion")
    return possible if stratified is None else stratified


def split_off(parts: Parts, source: str, rest: str, taken: str, fraction: float, seed: int, ranks: bool) -> None:
    """Take a split from another, unless it is there already."""
    if source not in parts or taken in parts:
        return
    x, y = parts.pop(source)
    total = len(each(x)[0])
    count = round(total * fraction)
    left, chosen = take_stratified(y, count, seed) if ranks else take(total, count, seed)
    parts[rest], parts[taken] = ((rows(x, some), rows(y, some)) for some in (left, chosen))


def rows(arrays: Any, chosen: Array) -> Any:
    """Some samples of an array, of each of several, or nothing."""
    if isinstance(arrays, Mapping):
        return {name: array[chosen] for name, array in arrays.items()}
    return None if arrays is None else np.ascontiguousarray(arrays[chosen])


def cut(arrays: Any, count: int) -> Any:
    return rows(arrays, np.arange(min(count, len(each(arrays)[0])))) if arrays is not None else None


def sealed(
    name: str, parts: Parts, heads: tuple[Head, ...], deciding: str | None, scale: Any, origin: str, where: str
) -> Dataset:
    """The dataset of six read-only arrays, with its digests."""
    arrays = [part for split in SPLITS for part in parts[split]]
    for array in (array for part in arrays for array in each(part) if array is not None):
        array.setflags(write=False)
    fitted = scales(scale, parts["train"][0], f"{where}x_train")
    names = heads[0].class_names if len(heads) == 1 else ()
    heads = tuple(as_wide_as(head, parts["train"][0]) for head in heads)
    extra = [*plain_scale(fitted), *(setting for head in heads for setting in head.settings)]
    extra += [deciding] if deciding else []
    judged: list[Any] = [head.kind for head in heads if head.kind != "classification"]
    judged += [plain_scale(fitted)] if "reconstruction" in judged else []
    by_key = dict(zip((f"{part}_{split}" for split in SPLITS for part in "xy"), arrays, strict=True))
    return Dataset(
        name=name,
        **by_key,
        class_names=names,
        digest=digest(name, *arrays, names, *extra),
        test_digest=digest(*arrays[4:], names, *judged),
        origin=origin,
        scale=fitted,
        heads=heads,
        deciding=deciding,
    )


def as_wide_as(head: Head, x: Any) -> Head:
    """A reconstruction's output is as wide as the input."""
    return head if head.kind != "reconstruction" else replace(head, outputs=int(np.prod(each(x)[0].shape[1:])))


def plain_scale(scale: Scaling | Mapping[str, Scaling]) -> list[Any]:
    """What a digest knows of a scaling: nothing of the usual one of images, so that digests stay as they were."""
    return [each_scale.to_json() for each_scale in each(scale) if each_scale.name != PIXELS]
