"""The emulator against csim: the same images through both, equal arrays or a finding."""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.emulation.emulator import Emulator
from toolkit.errors import ConfigError
from toolkit.hls.check import Library, largest_lsb
from toolkit.names import shown
from toolkit.records import Array, CheckResult, Finding


def prove(emulator: Emulator, library: Library, x: Any) -> CheckResult:
    """Compare the emulator's outputs with csim's on ``x``; names the first layer that differs, if any does.

    A difference is a bug of one of the two: the emulator computes what the types say, so it is either
    ours or hls4ml's.
    """
    for what, engine in (("the emulator", emulator), ("the library", library)):
        if not hasattr(engine, "predict"):
            raise ConfigError(f"{what} must be what emulate or build_csim returned, got {shown(engine)}")
    expected, got = emulator.predict(x), library.predict(x)
    different = expected != got
    first = first_difference(emulator, library, x, different) if different.any() else None
    return CheckResult(
        equal=not different.any(),
        outputs_different=int(different.sum()),
        outputs_total=int(different.size),
        largest_lsb=largest_lsb(emulator.graph, expected, got),
        first_layer=first,
        findings=(disagreement(first),) if different.any() else (),
        images=len(expected),
        compared=("emulation", "csim"),
    )


def first_difference(emulator: Emulator, library: Library, x: Any, different: Array, images: int = 4) -> str | None:
    """The first layer, in execution order, whose values differ on some image whose outputs do."""
    rows = np.flatnonzero(different.any(axis=1))[:images]
    sample = [array[rows] for array in x] if isinstance(x, list | tuple) else x[rows]
    ours, theirs = emulator.trace(sample), library.trace(sample)
    return next((name for name in ours if name in theirs and not np.array_equal(ours[name], theirs[name])), None)


def disagreement(layer: str | None) -> Finding:
    return Finding(
        severity="error",
        layer=layer,
        rule="emulator-differs",
        reason="the emulator and the compiled C++ compute different bits",
        remedy="trust csim for this design and report the layer with its types: a bug in the toolkit or in hls4ml",
    )
