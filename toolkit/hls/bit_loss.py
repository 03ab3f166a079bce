"""Where the bits go: how far each layer of a design is from its model, and what it adds to the error."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from toolkit.network import Graph
from toolkit.records import Array, Figure, LayerError, Source

EXACT_DB = 200.0  # what an exact layer counts as where a fall is measured; float32 itself is at 150
CLASSES = 2  # fewer outputs decide nothing by their largest


def layer_errors(graph: Graph, expected: Mapping[str, Array], got: Mapping[str, Array]) -> tuple[LayerError, ...]:
    """Errors of the layers that both sides have, in execution order; arrays are ``[images, values]``.

    A layer's fall is what its signal-to-error ratio lost against the worst of the layers it reads.
    """
    levels: dict[str, float] = {}  # by tensor, in dB
    found: list[LayerError] = []
    for layer in graph.layers:
        before = min((levels[tensor.name] for tensor in layer.inputs), default=EXACT_DB)
        after = before
        if layer.name in expected and layer.name in got and expected[layer.name].shape == got[layer.name].shape:
            error = layer_error(layer.name, str(layer.result), expected[layer.name], got[layer.name], before)
            after = EXACT_DB if error.sqnr_db is None else error.sqnr_db
            found.append(error)
        levels |= dict.fromkeys((tensor.name for tensor in layer.outputs), after)
    return tuple(found)


def layer_error(name: str, precision: str, expected: Array, got: Array, before_db: float) -> LayerError:
    """Largest error, RMS and SQNR ``10 log10(sum x^2 / sum (x - y)^2)`` of one layer."""
    difference = expected - got
    noise, signal = float((difference**2).sum()), float((expected**2).sum())
    sqnr = None if noise == 0 else 10 * math.log10(max(signal, 1e-300) / noise)
    return LayerError(
        layer=name,
        precision=precision,
        maximum=float(np.abs(difference).max(initial=0.0)),
        rms=math.sqrt(noise / max(difference.size, 1)),
        sqnr_db=sqnr,
        fall_db=max(0.0, before_db - (EXACT_DB if sqnr is None else sqnr)),
        different=int(np.count_nonzero(difference)),
        total=int(difference.size),
    )


def largest_fall(errors: Sequence[LayerError]) -> LayerError | None:
    """The layer at which most is lost on top of what came in; the first inexact one only if none falls after it."""
    inexact = [error for error in errors if error.sqnr_db is not None]
    later = [error for error in inexact[1:] if error.fall_db > 0]
    return max(later or inexact[:1], key=lambda error: error.fall_db, default=None)


def decisions(expected: Array, got: Array, labels: Any, source: Source) -> dict[str, Figure]:
    """Share of images on which both choose the same class, and, with labels, the accuracy of both."""
    if expected.shape[1] < CLASSES:
        return {}
    ours, theirs = got.argmax(axis=1), expected.argmax(axis=1)
    images = f"{len(got):,} images"
    figures = {"agreement": Figure(float((ours == theirs).mean()), "fraction", source, note=images)}
    if isinstance(labels, np.ndarray) and labels.shape == ours.shape and np.issubdtype(labels.dtype, np.integer):
        figures["accuracy"] = Figure(float((ours == labels).mean()), "fraction", source, note=images)
        theirs_right = float((theirs == labels).mean())
        figures["accuracy_of_model"] = Figure(theirs_right, "fraction", "measured", note=f"Keras, {images}")
    return figures
