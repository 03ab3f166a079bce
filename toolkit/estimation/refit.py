"""A calibration from synthesis results: coefficients, residuals of layers and of whole designs, ranges, provenance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from toolkit.estimation.calibration import (
    FITTED,
    Calibration,
    Group,
    calibration_json,
    fit,
    leave_one_out,
    provenance_of,
    ranges_of,
    residuals_of,
    sample_of,
    trustworthy,
    unseen_residuals,
)
from toolkit.estimation.designs import design_residuals, design_scores
from toolkit.estimation.rows import read_all
from toolkit.store import digest


def calibrate(folders: Path | Sequence[Path], *, name: str = "own", base: Calibration | None = None) -> Calibration:
    """Fit coefficients and residuals from one folder of rows or several.

    With ``base`` the fit starts from an earlier calibration instead of the physical costs, and what the folder
    has no rows of (tool classes, kinds of layers) is taken over from it: the way to a few rows of one's own.
    Raises ``DataError`` when the folder lacks ``layers.csv``, ``designs.csv`` or usable rows.
    """
    given = [folders] if isinstance(folders, Path) else folders
    samples = [sample_of(row) for row in read_all(given)]
    fits = [fit(samples, quantity, base) for quantity in FITTED]
    names = sorted({key for one in fits for key in one.classes})
    coefficients = {
        key: {one.quantity: one.coefficients(key if key in one.classes else "any") for one in fits} for key in names
    }
    trusted = {sample.row.id for sample in samples if trustworthy(sample)}
    near, far = ([item for item in leave_one_out(samples, base, by=by) if item.id in trusted] for by in get_args(Group))
    residuals = residuals_of(near, far)
    seen = [sample for sample in samples if sample.row.id in trusted]
    residuals |= unseen_residuals(seen)
    residuals |= design_residuals([score for folder in given for score in design_scores(folder, samples, far)])
    content = Calibration(coefficients, residuals, ranges_of(seen), provenance_of(samples), name=name)
    if base is not None:
        content = taken_over(content, base)
    return Calibration(**{**vars(content), "digest": digest(calibration_json(content))[:8]})


def taken_over(own: Calibration, base: Calibration) -> Calibration:
    """A calibration completed by what an earlier one knows and it does not."""
    return Calibration(
        coefficients={**base.coefficients, **own.coefficients},
        residuals={**base.residuals, **own.residuals},
        ranges={**base.ranges, **own.ranges},
        provenance={**base.provenance, **own.provenance},
        name=f"{own.name} on {base.label}",
    )
