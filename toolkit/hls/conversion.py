"""What a front end makes of a network: hls4ml's graph, and the network itself as a reference to compare with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.records import Array, Finding, Graph


@dataclass(frozen=True, eq=False)
class Reference:
    """The network a design was made from, as a function in float.

    ``answer`` takes one float32 array ``[n, *shape]`` per input, shaped as the project takes them (channels last),
    and returns one per output; ``engine`` names what computes it (keras, qonnx, onnxruntime).
    """

    engine: str
    shapes: tuple[tuple[int, ...], ...]
    answer: Callable[[list[Array]], list[Array]]


@dataclass(frozen=True, eq=False)
class Conversion:
    """hls4ml's optimized model of a network.

    ``model_graph`` is hls4ml's ``ModelGraph``, not written; ``graph`` the same as records; ``reference`` the network
    itself, ``None`` for a bare ``ModelGraph``; ``log`` what hls4ml printed; ``notes`` choices worth recording, such
    as a reuse factor moved; ``findings`` what only the float weights show.
    """

    model_graph: Any
    graph: Graph
    reference: Reference | None
    log: str
    notes: tuple[str, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def top(self) -> str:
        """Name of the top C++ function."""
        return str(self.model_graph.config.get_project_name())


def keras_reference(model: Any) -> Reference:
    """A Keras model as a reference."""

    def answer(arrays: list[Array]) -> list[Array]:
        answers = model.predict(arrays if len(arrays) > 1 else arrays[0], verbose=0)
        return [np.asarray(item) for item in (answers if isinstance(answers, list) else [answers])]

    return Reference("keras", tuple(tuple(tensor.shape[1:]) for tensor in model.inputs), answer)
