"""How raw values become what a network takes; outside the FPGA, which sees the scaled value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.errors import DataError
from toolkit.records import Array

NONE, PIXELS, STANDARD = "none", "1/255", "standard"
RECIPROCAL = re.compile(r"^\s*1\s*/\s*([0-9.eE+]+)\s*$")


@dataclass(frozen=True, eq=False)
class Scaling:
    """``(x - mean) / divisor`` in float32, of one input.

    ``name`` is how it was asked for: ``none``, ``1/255``, a number to multiply by, or ``standard``: mean
    and standard deviation of the training split, for each value of the last axis.
    """

    name: str = NONE
    mean: Array | None = None
    divisor: Array | float | None = None

    def __call__(self, values: Any) -> Any:
        """Scaled values of float32 ones, a NumPy array or a TensorFlow tensor."""
        shifted = values if self.mean is None else values - self.mean
        return shifted if self.divisor is None else shifted / np.asarray(self.divisor, np.float32)

    def __str__(self) -> str:
        if self.name == STANDARD:
            return "(x - mean) / standard deviation, of the training split"
        return {NONE: "none", PIXELS: "x / 255"}.get(self.name, f"x * {self.name}")

    def to_json(self) -> dict[str, Any]:
        """The name and, where the training split decided them, the numbers."""
        numbers = {"mean": self.mean, "divisor": self.divisor} if self.name == STANDARD else {}
        return {"name": self.name, **{key: np.asarray(value).tolist() for key, value in numbers.items()}}


def scaling(asked: str | float | None, values: Array, where: str) -> Scaling:
    """The scaling asked for, fitted to the training values ``[n, ...]`` where it is ``standard``.

    Without a wish, images of bytes are divided by 255 and floats stay as they are; other integers must be
    told how they are scaled (``DataError``).
    """
    if asked is None:
        asked = by_type(values, where)
    if asked == STANDARD:
        return standard(values)
    if asked == NONE:
        return Scaling()
    return Scaling(str(asked), None, divisor_of(asked))


def by_type(values: Array, where: str) -> str:
    """What is plain from the element type and the number of axes."""
    if values.dtype.kind == "f":
        return NONE
    if values.dtype == np.uint8 and values.ndim == 4:
        return PIXELS
    raise DataError(
        f'{where} holds {values.dtype}, and how integers are scaled must be said: scale = "standard", "1/32768", '
        'a number to multiply by, or "none"'
    )


def divisor_of(asked: str | float) -> float:
    """What to divide by; raises ``DataError`` with the choices."""
    try:
        match = RECIPROCAL.match(str(asked))
        divisor = float(match.group(1)) if match else 1 / float(asked)
        if not 0 < divisor < float("inf"):
            raise ValueError
    except (ValueError, ZeroDivisionError):
        raise DataError(f'scale must be "none", "standard", "1/255" or a positive number, got {asked!r}') from None
    return divisor


def standard(values: Array) -> Scaling:
    """Mean and deviation for each value of the last axis; what never varies is only shifted."""
    axes = tuple(range(values.ndim - 1))
    mean, deviation = values.mean(axis=axes, dtype=np.float64), values.std(axis=axes, dtype=np.float64)
    return Scaling(STANDARD, mean.astype(np.float32), np.where(deviation > 0, deviation, 1).astype(np.float32))


def from_json(fields: Mapping[str, Any]) -> Scaling:
    """Inverse of :meth:`Scaling.to_json`."""
    if fields["name"] == STANDARD:
        return Scaling(STANDARD, *(np.asarray(fields[key], np.float32) for key in ("mean", "divisor")))
    return Scaling() if fields["name"] == NONE else Scaling(fields["name"], None, divisor_of(fields["name"]))
