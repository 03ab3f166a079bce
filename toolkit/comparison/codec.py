"""Records to JSON and back, exactly: every dataclass is tagged with its name, from a closed list.

Nothing is looked up by a name from the file except in ``TYPES``, and each is built through its
constructor, so a stored report can carry data only.

A thousand designs of a sweep have most of their layers, FIFOs and notes in common: what occurs more than
once is stored once (:func:`pack`), in ``shared``, and stands elsewhere as ``{"@same": <its place there>}``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
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


SAME = "@same"  # no name of a figure or fact begins so
LONG = 40  # characters of a text that is worth storing once


@dataclass
class Once:
    """Every different record and long text met so far: its content, its place, and how often it was met."""

    contents: list[Any] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)
    uses: list[int] = field(default_factory=list)

    def visit(self, value: Any) -> Any:
        """Encoded JSON with every record and long text replaced by its place; what is inside comes first."""
        if isinstance(value, list):
            return [self.visit(item) for item in value]
        if isinstance(value, dict):
            inside = {key: self.visit(item) for key, item in value.items()}
            return self.place(inside) if "record" in value else inside
        return self.place(value) if isinstance(value, str) and len(value) >= LONG else value

    def place(self, content: Any) -> dict[str, int]:
        spelled = json.dumps(content)
        place = self.places.setdefault(spelled, len(self.contents))
        if place == len(self.contents):
            self.contents.append(content)
            self.uses.append(0)
        self.uses[place] += 1
        return {SAME: place}

    def spread(self, value: Any, numbers: Mapping[int, int]) -> Any:
        """Visited JSON with what was met once back in its place, and new numbers for the rest."""
        if isinstance(value, list):
            return [self.spread(item, numbers) for item in value]
        if not isinstance(value, dict):
            return value
        if value.keys() == {SAME}:
            place = value[SAME]
            return {SAME: numbers[place]} if place in numbers else self.spread(self.contents[place], numbers)
        return {key: self.spread(item, numbers) for key, item in value.items()}


def pack(value: Any) -> dict[str, Any]:
    """Encoded records as ``rows`` and ``shared``, with what occurs more than once in ``shared``."""
    once = Once()
    rows = once.visit(value)
    places = [place for place, uses in enumerate(once.uses) if uses > 1]
    numbers = {place: number for number, place in enumerate(places)}
    return {
        "shared": [once.spread(once.contents[place], numbers) for place in places],
        "rows": once.spread(rows, numbers),
    }


def unpack(content: Mapping[str, Any]) -> Any:
    """Records of what :func:`pack` made; equal records are one object. Raises ``StoreError`` as :func:`decode`."""
    shared: list[Any] = []
    for item in content.get("shared", ()):
        shared.append(decode(item, shared))  # refers to earlier ones only
    return decode(content["rows"], shared)


def decode(value: Any, shared: Sequence[Any] = ()) -> Any:
    """Inverse of :func:`encode`; lists become tuples. Raises ``StoreError`` for an unknown or malformed record."""
    if isinstance(value, list):
        return tuple(decode(item, shared) for item in value)
    if not isinstance(value, dict):
        return value
    if value.keys() == {SAME}:
        return shared_at(value[SAME], shared)
    if "record" not in value:
        return {key: decode(item, shared) for key, item in value.items()}
    kind = TYPES.get(value["record"]) if isinstance(value["record"], str) else None
    if kind is None:
        raise StoreError(f"a stored report holds {', '.join(sorted(TYPES))}, got {value['record']!r}")
    known = {item.name for item in fields(kind)}
    given = {key: decode(item, shared) for key, item in value.items() if key in known}
    try:
        return kind(**{**blanks(kind, given), **given})
    except (TypeError, ValueError, ToolkitError) as error:
        raise StoreError(f"a stored {kind.__name__} is malformed: {error}") from None


def shared_at(place: Any, shared: Sequence[Any]) -> Any:
    """What stands once for many; raises ``StoreError`` for a place that is not there, or comes later."""
    if not isinstance(place, int) or not 0 <= place < len(shared):
        raise StoreError(f"a stored report refers to shared record {place!r} of {len(shared)}")
    return shared[place]


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
