"""Records to JSON and back, exactly: every dataclass is tagged with its name, from a closed list.

Nothing is looked up by a name from the file except in ``TYPES``, and each is built through its
constructor, so a stored report can carry data only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from toolkit.baselines.evaluation import Evaluation
from toolkit.comparison.design import DesignView, LayerView, TrainView
from toolkit.errors import StoreError, ToolkitError
from toolkit.records import (
    BaselineRecord,
    CheckResult,
    Estimate,
    FifoEstimate,
    Figure,
    Finding,
    Implementation,
    LayerError,
    LayerEstimate,
    LayerProfile,
    Metric,
)

TYPES: dict[str, type[Any]] = {
    item.__name__: item
    for item in (
        BaselineRecord,
        CheckResult,
        DesignView,
        Estimate,
        Evaluation,
        FifoEstimate,
        Figure,
        Finding,
        Implementation,
        LayerError,
        LayerEstimate,
        LayerProfile,
        LayerView,
        Metric,
        TrainView,
    )
}


def encode(value: Any) -> Any:
    """A record as JSON types; defaults are left out. Raises ``StoreError`` for what has no place in JSON."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {str(key): encode(item) for key, item in value.items()}
        case list() | tuple():
            return [encode(item) for item in value]
        case _ if is_dataclass(value) and type(value).__name__ in TYPES:
            kept = {item.name: getattr(value, item.name) for item in fields(value)}
            kept = {name: item for name, item in kept.items() if item is not None and item != () and item != {}}
            return {"record": type(value).__name__, **{name: encode(item) for name, item in kept.items()}}
    raise StoreError(f"a report stores records and JSON values only, got {type(value).__name__}")


def decode(value: Any) -> Any:
    """Inverse of :func:`encode`; lists become tuples. Raises ``StoreError`` for an unknown or malformed record."""
    if isinstance(value, list):
        return tuple(decode(item) for item in value)
    if not isinstance(value, dict):
        return value
    if "record" not in value:
        return {key: decode(item) for key, item in value.items()}
    kind = TYPES.get(value["record"]) if isinstance(value["record"], str) else None
    if kind is None:
        raise StoreError(f"a stored report holds {', '.join(sorted(TYPES))}, got {value['record']!r}")
    known = {item.name for item in fields(kind)}
    given = {key: decode(item) for key, item in value.items() if key in known}
    try:
        return kind(**{**blanks(kind, given), **given})
    except (TypeError, ValueError, ToolkitError) as error:
        raise StoreError(f"a stored {kind.__name__} is malformed: {error}") from None


def blanks(kind: type[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Empty values for required fields that were left out because they were empty."""
    empty: dict[str, Any] = {}
    for item in fields(kind):
        annotation = str(item.type)
        if item.name in given or item.default is not MISSING or item.default_factory is not MISSING:
            continue
        if annotation.startswith("tuple"):
            empty[item.name] = ()
        elif annotation.startswith("Mapping"):
            empty[item.name] = {}
        elif "None" in annotation:
            empty[item.name] = None
    return empty
