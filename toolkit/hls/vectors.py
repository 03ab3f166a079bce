"""A project's own test vectors: ``tb_data`` and the result logs that vendor tools leave.

hls4ml's test bench reads ``tb_input_features.dat`` and ``tb_output_predictions.dat`` (one line per
image) and prints what the design computes to ``csim_results.log`` or ``rtl_cosim_results.log``. The
predictions are whatever the project's author had, usually float outputs of the Keras model; the logs
are the design's own bits, printed with six digits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from toolkit.errors import DataError
from toolkit.hls.network import network_of
from toolkit.reading import VECTORS_BYTES, Folder
from toolkit.records import Array, CheckResult, Finding, HlsProject

INPUTS = "tb_input_features.dat"
PREDICTIONS = "tb_output_predictions.dat"
LOGS = ("csim_results.log", "rtl_cosim_results.log")
DEFAULT_IMAGES = 5  # what hls4ml's test bench runs, all zeros, when tb_data is empty
STREAM_DIGITS = 6  # significant digits of a C++ stream
LARGEST = float(np.finfo(np.float32).max)
DOUBLE_DIGITS = 767  # no double has more
SHOWN = 5


class Library(Protocol):
    """What computes a project's outputs: ``CsimLibrary`` or ``Emulator``."""

    def predict(self, x: Array | list[Array]) -> Array | list[Array]: ...


@dataclass(frozen=True, eq=False)
class Reference:
    """Outputs found beside a project: the file, its values ``[images, outputs]`` and how many digits it prints."""

    path: Path
    values: Array
    digits: int

    @property
    def exact(self) -> bool:
        """Whether the file holds the design's own outputs, not a model's."""
        return self.path.name in LOGS


@dataclass(frozen=True, eq=False)
class Vectors:
    """Inputs of a project's test bench, one array per model input, and the outputs that lie there."""

    inputs: tuple[Array, ...]
    references: tuple[Reference, ...]


def holds_vectors(project: HlsProject) -> bool:
    """Whether a project has inputs to run on: its test bench's, or a log of the test bench's zeros."""
    source = Folder(project.path, DataError)
    return filled(source, f"tb_data/{INPUTS}") or any(
        filled(source, name) for log in LOGS for name in logs(source, log)
    )


def read_vectors(project: HlsProject) -> Vectors:
    """Read ``tb_data`` and every result log below the project.

    Without ``tb_input_features.dat`` the inputs are the test bench's own: five images of zeros, if a
    log of them exists. Raises ``DataError`` when there is nothing to run, or a file does not fit.
    """
    shapes = [project.graph.tensors[name].shape for name in project.graph.inputs]
    size = sum(int(np.prod(project.graph.tensors[name].shape)) for name in project.graph.outputs)
    source = Folder(project.path, DataError)
    found = [f"tb_data/{PREDICTIONS}", *(item for log in LOGS for item in logs(source, log))]
    references = tuple(read_reference(source, name, size) for name in found if filled(source, name))
    if filled(source, f"tb_data/{INPUTS}"):
        text = source.text(f"tb_data/{INPUTS}", VECTORS_BYTES)
        rows = read_rows(project.path / "tb_data" / INPUTS, text, sum(int(np.prod(shape)) for shape in shapes))
    elif any(reference.exact for reference in references):
        rows = np.zeros((DEFAULT_IMAGES, sum(int(np.prod(shape)) for shape in shapes)))
    else:
        raise DataError(f"{project.path} must hold test inputs in tb_data/{INPUTS}; give images of your own instead")
    return Vectors(split(rows.astype(np.float32), shapes), references)


def filled(source: Folder, name: str) -> bool:
    """Whether a file is there and not empty."""
    return source.holds(name) and source.path(name).stat().st_size > 0


def logs(source: Folder, name: str) -> list[str]:
    """Result logs of one kind: the one in ``tb_data`` if it is there, else those inside vendor folders."""
    if source.holds(f"tb_data/{name}"):
        return [f"tb_data/{name}"]
    inside = [item for folder in source.root.glob("*_prj") for item in source.files(folder.name) if item.name == name]
    return sorted(str(item.relative_to(source.root)) for item in inside)


def read_reference(source: Folder, name: str, size: int) -> Reference:
    text = source.text(name, VECTORS_BYTES)
    path = source.root / name
    return Reference(path, read_rows(path, text, size), max(STREAM_DIGITS, digits_of(text)))


def read_rows(path: Path, text: str, size: int) -> Array:
    """Numbers, one line per image; raises ``DataError`` naming the line that does not hold ``size`` of them."""
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            values = [float(item) for item in line.split()]
        except ValueError as error:
            raise DataError(f"{path}, line {number}: must be numbers: {error}") from None
        if not all(abs(value) <= LARGEST for value in values):
            raise DataError(f"{path}, line {number}: must be finite numbers that float32 holds")
        if values and len(values) != size:
            raise DataError(f"{path}, line {number}: must hold {size} values, got {len(values)}")
        rows += [values] if values else []
    if not rows:
        raise DataError(f"{path} must hold a line of {size} values per image; it is empty")
    return np.asarray(rows, np.float64)


def digits_of(text: str) -> int:
    """The most significant digits any number of a text has.

    >>> digits_of("0.5 -0.00123456 12")
    6
    """
    mantissas = re.findall(r"-?([\d.]+)(?:[eE][-+]?\d+)?", text)
    most = max((len(mantissa.replace(".", "").lstrip("0")) for mantissa in mantissas), default=0)
    return min(most, DOUBLE_DIGITS)


def split(rows: Array, shapes: list[tuple[int, ...]]) -> tuple[Array, ...]:
    """Columns of the input file by model input."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    parts = np.split(rows, ends[:-1], axis=1)
    return tuple(part.reshape(len(rows), *shape) for part, shape in zip(parts, shapes, strict=True))


def check_vectors(project: HlsProject, library: Library, engine: str = "csim") -> tuple[CheckResult, ...]:
    """What ``library`` computes on a project's own inputs against every reference that lies there.

    Numbers are compared as the reference prints them. A difference from a log is an ``error``: the
    design does not compute what it computed there. One from the predictions is a ``note``: they are
    not this project's bits.
    """
    vectors = read_vectors(project)
    outputs = library.predict(list(vectors.inputs) if len(vectors.inputs) > 1 else vectors.inputs[0])
    parts = outputs if isinstance(outputs, list) else [outputs]
    flat = np.concatenate([np.asarray(part, np.float64).reshape(len(part), -1) for part in parts], axis=1)
    return tuple(compare_reference(project, reference, flat, engine) for reference in vectors.references)


def compare_reference(project: HlsProject, reference: Reference, outputs: Array, engine: str) -> CheckResult:
    """One reference against the outputs on the same images."""
    images = min(len(reference.values), len(outputs))
    expected, got = reference.values[:images], outputs[:images]
    differs = ~same_as_printed(expected, got, reference.digits)
    graph = network_of(project)
    lsb = min(graph.tensors[name].precision.lsb for name in graph.outputs)
    largest = float(np.max(np.abs(expected - got), initial=0.0, where=differs)) / lsb
    name = str(reference.path.relative_to(project.path))
    return CheckResult(
        equal=not differs.any(),
        outputs_different=int(differs.sum()),
        outputs_total=differs.size,
        largest_lsb=largest,
        first_layer=None,
        findings=tuple([told(reference, name, expected, outputs, differs)] if differs.any() else []),
        images=images,
        compared=(name, engine),
        project_digest=project.digest,
    )


def same_as_printed(expected: Array, got: Array, digits: int) -> Array:
    """Where numbers read from text are what ``got`` prints as.

    C++ prints so many digits; NumPy prints the shortest text that reads back as the same float32.
    """
    rounded = np.char.mod(f"%.{digits}g", got).astype(np.float64)
    same: Array = (rounded == expected) | (got.astype(np.float32) == expected.astype(np.float32))
    return same


def told(reference: Reference, name: str, expected: Array, got: Array, differs: Array) -> Finding:
    """Where outputs differ: the first few (image, output, expected, got)."""
    places = [tuple(map(int, place)) for place in np.argwhere(differs)[:SHOWN]]
    rows = "; ".join(f"image {i}, output {j}: {expected[i, j]:g}, here {got[i, j]:g}" for i, j in places)
    if reference.exact:
        remedy = "the firmware, its weights or the tool changed since the log was written"
        return Finding("error", None, "log-differs", f"{name}: {rows}", remedy)
    remedy = "predictions are the author's model, usually float: compare accuracy, or check the Keras model itself"
    return Finding("note", None, "predictions-differ", f"{name}: {rows}", remedy)
