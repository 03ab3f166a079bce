"""What the detailed sections of a page show, taken from the records that rows were made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolkit.comparison.compare import Comparison
from toolkit.records import BaselineRecord, CheckResult, Implementation


def section_values(comparison: Comparison) -> Mapping[str, Any]:
    """Values by section name; a section without data is left out."""
    found = {name: build(comparison) for name, build in SECTIONS.items()}
    return {name: values for name, values in found.items() if values}


def parts(row: Implementation, kind: type[Any]) -> list[Any]:
    """The records of one type that a row was made from."""
    return [part for part in row.parts if isinstance(part, kind)]


def agreement(comparison: Comparison) -> list[dict[str, Any]]:
    """One entry per check: who was compared, on how many images, what differs and why."""
    return [{"row": row.name, "check": check} for row in comparison.rows for check in parts(row, CheckResult)]


def baselines(comparison: Comparison) -> list[dict[str, Any]]:
    """One entry per engine."""
    return [{"row": row.name, "record": record} for row in comparison.rows for record in parts(row, BaselineRecord)]


SECTIONS = {"agreement": agreement, "baselines": baselines}
