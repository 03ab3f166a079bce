"""What changed between two HLS projects, or between two runs: for code review and tool upgrades.

Layers are matched by name. Types, weights and settings are compared as the C++ has them, bits by
running both projects on the same inputs, cycles and resources by estimating both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from toolkit import estimation
from toolkit.comparison.report import load_comparison
from toolkit.config import HlsConfig
from toolkit.emulation import emulate
from toolkit.errors import HlsError, ToolkitError
from toolkit.hls.csim import build_csim
from toolkit.hls.folder import open_project
from toolkit.hls.network import network_of
from toolkit.hls.project import MANIFEST
from toolkit.hls.vectors import read_vectors
from toolkit.network import Graph, Layer, Unknown, Weight
from toolkit.network.layers import Reshape
from toolkit.precision import Precision
from toolkit.records import Array, Estimate, Figure, HlsProject, LayerEstimate
from toolkit.store import digest, read_json

Aspect = Literal["layer", "type", "weights", "setting", "bits", "cycles", "resources", "figure", "source", "version"]
CYCLES = ("latency_cycles", "initiation_interval_cycles")
RESOURCES = ("dsp", "lut", "ff", "bram_18k", "uram")
IMAGES = 16
RANDOM_RANGE = 4.0  # random inputs stay within this, inside their type's range


@dataclass(frozen=True)
class Change:
    """One thing that differs; ``before`` or ``after`` is ``None`` where it does not exist."""

    aspect: Aspect
    layer: str | None  # None: the whole design
    name: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        where = f"{self.layer}: " if self.layer else ""
        if self.before is None or self.after is None:
            return f"{where}{self.name} {'added' if self.before is None else 'removed'}: {self.after or self.before}"
        return f"{where}{self.name}: {self.before} -> {self.after}"


@dataclass(frozen=True)
class ProjectDiff:
    """Changes from project ``before`` to project ``after``; ``notes`` say what could not be compared."""

    before: str
    after: str
    digests: tuple[str, str]
    changes: tuple[Change, ...]
    images: int  # on which bits were compared; 0: they were not
    notes: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.changes

    @property
    def same_bits(self) -> bool:
        """Whether every layer computed the same on the images compared."""
        return self.images > 0 and not self.of("bits")

    def of(self, *aspects: Aspect) -> tuple[Change, ...]:
        """Changes of some aspects."""
        return tuple(change for change in self.changes if change.aspect in aspects)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterable[str]:
        """The whole difference as text, one line per change, by aspect."""
        yield f"{self.before} -> {self.after}"
        if self.equal:
            yield "  no difference"
        for aspect in dict.fromkeys(change.aspect for change in self.changes):
            yield f"  {aspect}"
            yield from (f"    {change}" for change in self.of(aspect))
        if self.same_bits:
            yield f"  bits: the same in every layer on {self.images} images"
        yield from (f"  note: {note}" for note in self.notes)


@dataclass(frozen=True)
class RunDiff:
    """Changes between two runs: figures of the report, and each design that both have."""

    before: str
    after: str
    figures: tuple[Change, ...]
    designs: Mapping[str, ProjectDiff]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        alone = self.only_before or self.only_after
        return not self.figures and not alone and all(design.equal for design in self.designs.values())

    def __str__(self) -> str:
        lines = [f"{self.before} -> {self.after}"]
        lines += [f"  only in {self.before}: design {name}" for name in self.only_before]
        lines += [f"  only in {self.after}: design {name}" for name in self.only_after]
        lines += [f"  {change}" for change in self.figures]
        return "\n".join([*lines, *(str(design) for design in self.designs.values())])


def diff(
    a: HlsProject | str | Path, b: HlsProject | str | Path, *, x: Any = None, images: int = IMAGES, csim: bool = False
) -> ProjectDiff | RunDiff:
    """What changed from ``a`` to ``b``: two projects (any hls4ml folder) or two run folders.

    Bits are compared on ``x``, else on the first project's ``tb_data``, else on so many random
    ``images``; by the emulator, or with g++ when ``csim`` is set. Raises ``HlsError`` for a folder that
    is neither, or for a project against a run.
    """
    runs = [isinstance(side, str | Path) and (Path(side) / "projects").is_dir() for side in (a, b)]
    if all(runs):
        return diff_runs(Path(str(a)), Path(str(b)), images=images, csim=csim)
    if any(runs):
        raise HlsError(f"diff needs two projects or two runs, got a run and a project: {a}, {b}")
    before, after = (side if isinstance(side, HlsProject) else open_project(side) for side in (a, b))
    return diff_projects(before, after, x=x, images=images, csim=csim)


def diff_runs(a: Path, b: Path, *, images: int = IMAGES, csim: bool = False) -> RunDiff:
    """Designs by folder name, figures by row of the report."""
    left, right = ({item.name: item for item in (run / "projects").iterdir() if item.is_dir()} for run in (a, b))
    both = [name for name in sorted(left) if name in right]
    designs = {
        name: diff_projects(open_project(left[name]), open_project(right[name]), images=images, csim=csim)
        for name in both
    }
    return RunDiff(
        before=str(a),
        after=str(b),
        figures=tuple(report_changes(a / "report", b / "report")),
        designs=designs,
        only_before=tuple(sorted(set(left) - set(right))),
        only_after=tuple(sorted(set(right) - set(left))),
    )


def report_changes(a: Path, b: Path) -> Iterable[Change]:
    """Figures that differ between the rows of two reports; none where either has no report."""
    if not (a.is_dir() and b.is_dir()):
        return
    left, right = ({row.name: row for row in load_comparison(folder).rows} for folder in (a, b))
    for name in dict.fromkeys([*left, *right]):
        before, after = (rows[name].figures if name in rows else {} for rows in (left, right))
        for key in dict.fromkeys([*before, *after]):
            yield from changed("figure", name, key, figure_text(before.get(key)), figure_text(after.get(key)))


def figure_text(figure: Figure | None) -> str | None:
    return None if figure is None else f"{figure.value:.6g} {figure.unit} ({figure.source})".replace("  ", " ")


def diff_projects(
    a: HlsProject, b: HlsProject, *, x: Any = None, images: int = IMAGES, csim: bool = False
) -> ProjectDiff:
    """What changed from one project to another."""
    notes: list[str] = []
    changes = [
        *version_changes(a, b),
        *source_changes(a, b),
        *config_changes(a.config, b.config),
        *graph_changes(network_of(a), network_of(b)),
    ]
    compared, bits = noted(lambda: bit_changes(a, b, x, images, csim), (0, []), "bits", notes)
    figures = noted(lambda: [*estimate_changes(*map(estimation.estimate, (a, b)))], [], "estimates", notes)
    return ProjectDiff(
        before=str(a.path),
        after=str(b.path),
        digests=(a.digest, b.digest),
        changes=(*changes, *bits, *figures),
        images=compared,
        notes=tuple(notes),
    )


def noted(compare: Callable[[], Any], otherwise: Any, what: str, notes: list[str]) -> Any:
    """The comparison, or ``otherwise`` with a note when one side cannot be computed."""
    try:
        return compare()
    except ToolkitError as error:
        notes.append(f"{what} not compared: {error}")
        return otherwise


def changed(aspect: Aspect, layer: str | None, name: str, before: Any, after: Any) -> Iterable[Change]:
    """A change when two values differ."""
    if before != after:
        texts = (None if value is None else str(value) for value in (before, after))
        yield Change(aspect, layer, name, *texts)


# --- what was written ---


def version_changes(a: HlsProject, b: HlsProject) -> Iterable[Change]:
    """Package versions in the manifests; nothing where a project has none."""
    manifests = [read_json(side.path / MANIFEST) if (side.path / MANIFEST).is_file() else {} for side in (a, b)]
    left, right = (manifest.get("versions", {}) for manifest in manifests)
    if left and right:
        for name in sorted({*left, *right}):
            yield from changed("version", None, name, left.get(name), right.get(name))


def source_changes(a: HlsProject, b: HlsProject) -> Iterable[Change]:
    """Headers that hls4ml brings (``nnet_utils``, ``ap_types``), which change with its version."""
    left, right = header_digests(a.path), header_digests(b.path)
    for name in sorted({*left, *right}):
        yield from changed("source", None, name, left.get(name), right.get(name))


def header_digests(path: Path) -> dict[str, str]:
    firmware = path / "firmware"
    files = [item for group in ("nnet_utils", "ap_types") for item in sorted((firmware / group).rglob("*.h"))]
    own = "nnet_code_gen.h"  # written anew for every design
    return {str(item.relative_to(firmware)): digest(item.read_bytes()) for item in files if item.name != own}


def config_changes(a: HlsConfig, b: HlsConfig) -> Iterable[Change]:
    """Part, clock, io type and what else holds for the whole design."""
    for key in ("backend", "part", "clock_period_ns", "io_type"):
        yield from changed("setting", None, key, getattr(a, key), getattr(b, key))


# --- layers ---


def graph_changes(a: Graph, b: Graph) -> Iterable[Change]:
    """Layers added, removed or of another kind; types, weights and settings of those that both have."""
    left, right = layers_of(a), layers_of(b)
    for name in dict.fromkeys([*left, *right]):
        before, after = left.get(name), right.get(name)
        yield from changed("layer", name, "kind", before and describe(before), after and describe(after))
        if before and after:
            yield from type_changes(before, after)
            yield from weight_changes(before, after)
            yield from setting_changes(before, after)
            yield from fifo_changes(before, after)


def layers_of(graph: Graph) -> dict[str, Layer]:
    """Layers by name, without reshapes: they move nothing, and a folder's C++ has no name for them."""
    return {layer.name: layer for layer in graph.layers if not isinstance(layer, Reshape)}


def describe(layer: Layer) -> str:
    kind = layer.origin if isinstance(layer, Unknown) and layer.origin else layer.kind
    return f"{kind} {'x'.join(map(str, layer.shape))}"


def type_changes(a: Layer, b: Layer) -> Iterable[Change]:
    before, after = a.types, b.types
    for name in before:
        if name in after:
            yield from changed("type", a.name, name, before[name], after[name])


def weight_changes(a: Layer, b: Layer) -> Iterable[Change]:
    """Weights whose values differ: how many, by how much, and how many are zero."""
    left, right = a.weights, b.weights
    for name in dict.fromkeys([*left, *right]):
        before, after = left.get(name), right.get(name)
        if before is None or after is None or before.shape != after.shape:
            yield from changed("weights", a.name, name, weight_text(before), weight_text(after))
        elif not np.array_equal(before.values, after.values):
            differs = before.values != after.values
            largest = float(np.abs(before.values - after.values).max())
            text = f"{int(differs.sum()):,} of {differs.size:,} values, by up to {largest:g}"
            zeros = f"{zero_count(before)} zeros", f"{zero_count(after)} zeros; {text}"
            yield Change("weights", a.name, name, *zeros)


def weight_text(weight: Weight | None) -> str | None:
    return None if weight is None else f"shape {list(weight.shape)}, {zero_count(weight)} zeros"


def zero_count(weight: Weight) -> int:
    return weight.size - weight.nonzeros


def setting_changes(a: Layer, b: Layer) -> Iterable[Change]:
    """What both have besides types and weights: functions, windows, sizes, and how they are built."""
    for before, after in ((a.settings, b.settings), (vars(a.build), vars(b.build))):
        for name, value in before.items():
            if name in after and value is not None and after[name] is not None and not has_type(value):
                yield from changed("setting", a.name, name, value, after[name])


def has_type(value: Any) -> bool:
    """Whether a setting is told as a type or as a weight."""
    return isinstance(value, Weight | Precision)


def fifo_changes(a: Layer, b: Layer) -> Iterable[Change]:
    depths = {tensor.name: tensor.fifo_depth for tensor in b.outputs}
    for tensor in a.outputs:
        if tensor.name in depths:
            yield from changed(
                "setting", a.name, f"fifo depth of {tensor.name}", tensor.fifo_depth, depths[tensor.name]
            )


# --- bits ---


def bit_changes(a: HlsProject, b: HlsProject, x: Any, images: int, csim: bool) -> tuple[int, list[Change]]:
    """Layers whose values differ on the same inputs, in order of execution, and on how many images."""
    inputs = [np.asarray(part) for part in as_list(x)] if x is not None else inputs_for(a, b, images)
    traces = [(build_csim(side) if csim else emulate(side)).trace(single(inputs)) for side in (a, b)]
    found = []
    for layer in layers_of(network_of(a)).values():
        if layer.name in traces[0] and layer.name in traces[1]:
            before, after = (np.asarray(trace[layer.name], np.float64) for trace in traces)
            found += value_changes(layer, before, after)
    return len(inputs[0]), found


def value_changes(layer: Layer, before: Array, after: Array) -> list[Change]:
    """How two outputs of one layer differ."""
    if before.shape != after.shape:
        return [Change("bits", layer.name, "shape", str(before.shape[1:]), str(after.shape[1:]))]
    differs = before != after
    if not differs.any():
        return []
    largest = float(np.abs(before - after).max())
    text = f"{int(differs.sum()):,} of {differs.size:,} values differ, by up to {largest / layer.result.lsb:g} LSB"
    return [Change("bits", layer.name, "output", f"range {span(before)}", f"range {span(after)}; {text}")]


def span(values: Array) -> str:
    return f"[{values.min():g}, {values.max():g}]"


def inputs_for(a: HlsProject, b: HlsProject, images: int) -> list[Array]:
    """``tb_data`` of either project, else random values inside the input types; raises for inputs that do not match."""
    entries = [[graph.tensors[name] for name in graph.inputs] for graph in (network_of(a), network_of(b))]
    shapes = [[tensor.shape for tensor in tensors] for tensors in entries]
    if shapes[0] != shapes[1]:
        raise HlsError(f"the inputs have different shapes: {shapes[0]} and {shapes[1]}")
    for side in (a, b):
        try:
            return [part[:images] for part in read_vectors(side).inputs]
        except ToolkitError:
            continue
    random = np.random.default_rng(0)
    types = [tensor.precision for tensor in entries[0]]
    ranges = [(max(kind.minimum, -RANDOM_RANGE), min(kind.maximum, RANDOM_RANGE)) for kind in types]
    return [
        random.uniform(*limits, (images, *shape)).astype(np.float32)
        for limits, shape in zip(ranges, shapes[0], strict=True)
    ]


def as_list(x: Any) -> list[Any]:
    return list(x) if isinstance(x, list | tuple) else [x]


def single(inputs: list[Array]) -> Any:
    return inputs if len(inputs) > 1 else inputs[0]


# --- estimates ---


def estimate_changes(a: Estimate, b: Estimate) -> Iterable[Change]:
    """Cycles and resources, of the design and of each layer that both have."""
    yield from changed("resources", None, "fits", a.fits, b.fits)
    yield from figure_changes(None, a, b)
    left, right = ({layer.name: layer for layer in side.layers} for side in (a, b))
    for name in left:
        if name in right:
            yield from figure_changes(name, left[name], right[name])


def figure_changes(layer: str | None, a: Estimate | LayerEstimate, b: Estimate | LayerEstimate) -> Iterable[Change]:
    for name in (*CYCLES, *RESOURCES):
        before, after = getattr(a, name), getattr(b, name)
        aspect: Aspect = "cycles" if name in CYCLES else "resources"
        if before.value != after.value:
            yield Change(aspect, layer, name, figure_text(before), figure_text(after))
