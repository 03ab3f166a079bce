"""A sweep file: a design file in which any value may be a list, a range or set for layers by pattern.

::

    [quantization]
    weight_bits = [4, 6, 8]                        # a list: each of them
    activation_bits = {low = 4, high = 8}          # a range; step and log are optional

    [quantization.layers."conv2d*"]
    weight_bits = [4, 6]                           # the same value for every layer that matches
    activation_bits = {each = [4, 6]}              # a dimension of its own for every layer that matches

A value whose key takes a list anyway (``dataset.shape``) is a list of lists when it varies; ``"none"``
stands for an optional section or key that is absent. ``[[designs]]`` tables are alternatives, each with
lists of its own.
"""

from __future__ import annotations

import copy
import fnmatch
import functools
import itertools
import json
import math
import random
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from toolkit.config import DESIGN_SECTIONS, DatasetConfig, TaskConfig, TrainConfig, merge
from toolkit.data.merit import merit_of
from toolkit.errors import ConfigError, nearest
from toolkit.exploration.figures import in_words_of, know
from toolkit.exploration.settings import SweepDesign, SweepDesignFile, SweepSettings
from toolkit.names import check_name, shown
from toolkit.sections import Section, beside, toml_tables
from toolkit.store import digest, package_versions

Key = tuple[str, ...]
Tables = dict[str, Any]
Params = Mapping[str, Any]
# Layer names of the float model a file describes, and whether each has a kernel.
LayerNames = Callable[[Tables], Mapping[str, bool]]

RANGE_KEYS = {"low", "high", "step", "log"}
MOST_BRANCHES = 100  # [[designs]] of one sweep
MOST_VALUES = 1_000  # of one list; a range takes more
BRANCH = "design"  # name of the dimension that chooses between [[designs]] tables
TARGETS = ("target_ii", "target_dsp")

# What does not change a point's result, so that it does not change its digest either.
FREE_OF_RESULT = {"name": True, "baselines": True, "train": {"progress", "checkpoint"}}
FREE_OF_DESIGN = {"name": True, "proof": True, "hls": {"test_vectors"}, "qat": {"progress", "checkpoint"}}


@dataclass(frozen=True)
class Dimension:
    """One thing that varies: its choices, or the range it is drawn from, and where in the file it goes."""

    name: str
    targets: tuple[Key, ...]
    choices: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    step: float | None = None
    log: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether a range is of whole numbers."""
        return all(isinstance(end, int) for end in (self.low, self.high, self.step or 0))

    def values(self) -> tuple[Any, ...]:
        """Every value; raises ``ConfigError`` for a range without a step, which no grid can walk."""
        if self.choices:
            return self.choices
        step = self.step or (1 if self.is_whole else None)
        if step is None or (self.log and self.step is None and not self.is_whole):
            raise ConfigError(f"{self.name}: a grid needs a list, or a range with a step, got {self.low}..{self.high}")
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        return tuple(self.low + index * step for index in range(count))

    def spelled(self, value: Any) -> Any:
        """A value as Optuna stores it: itself, or JSON text for a table or list."""
        return json.dumps(value, sort_keys=True) if isinstance(value, (dict, list)) else value

    def read(self, stored: Any) -> Any:
        """Inverse of :meth:`spelled`."""
        return next((value for value in self.choices if self.spelled(value) == stored), stored)


@dataclass(frozen=True)
class Branch:
    """One alternative of a sweep file: the tables that stay and the dimensions that vary."""

    name: str
    tables: Tables
    dimensions: tuple[Dimension, ...]

    @functools.cached_property
    def axes(self) -> tuple[tuple[Any, ...], ...]:
        """Every value of each dimension; raises ``ConfigError`` for a range that no grid can walk."""
        return tuple(dimension.values() for dimension in self.dimensions)

    @property
    def size(self) -> int:
        """Combinations of this branch."""
        return math.prod(map(len, self.axes))

    def combination(self, index: int) -> dict[str, Any]:
        """The values of one combination, the last dimension fastest."""
        params: dict[str, Any] = {}
        for dimension, values in zip(reversed(self.dimensions), reversed(self.axes), strict=True):
            index, position = divmod(index, len(values))
            params[dimension.name] = dimension.spelled(values[position])
        return dict(reversed(params.items()))


@dataclass(frozen=True, eq=False)
class Point:
    """One design of a sweep: the values chosen, the design file they make, and its digest.

    ``source`` is the file, or its tables as the book holds them: of thousands of points that are read
    back, few are looked into.
    """

    params: Params
    source: SweepDesignFile | Tables
    digest: str
    images: int
    split: str

    @functools.cached_property
    def file(self) -> SweepDesignFile:
        """The design file."""
        return self.source if isinstance(self.source, SweepDesignFile) else SweepDesignFile(**self.source)

    @property
    def design(self) -> SweepDesign:
        """The one FPGA design."""
        return self.file.designs[0]

    @functools.cached_property
    def training(self) -> str:
        """Digest of what decides the trained model, which points may share."""
        shared: Any = {**FREE_OF_RESULT, "designs": {0: {"name", "proof", "hls"}}}
        return digest("training", self.file.model_dump_json(exclude=shared))

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON types."""
        source = self.source
        tables = source.model_dump(mode="json", exclude_defaults=True) if isinstance(source, Section) else source
        return {
            "params": dict(self.params),
            "file": tables,
            "digest": self.digest,
            "images": self.images,
            "split": self.split,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Point:
        """Inverse of :meth:`to_json`."""
        if "digest" not in content:
            return make_point(
                content["params"], SweepDesignFile(**content["file"]), content["images"], content["split"]
            )
        return cls(content["params"], content["file"], content["digest"], content["images"], content["split"])


@dataclass(frozen=True, eq=False)
class Sweep:
    """A sweep file, read and checked."""

    name: str
    settings: SweepSettings
    branches: tuple[Branch, ...]

    @functools.cached_property
    def digest(self) -> str:
        """Digest of what decides which points there are and how they are judged; not of how many are taken.

        Versions belong to it: another emulator or estimator judges every point anew.
        """
        settings = self.settings.model_dump(mode="json", include={"search", "objectives", "constraints"})
        tables = [[branch.name, branch.tables, branch.dimensions] for branch in self.branches]
        judged_on = [settings, self.settings.images, self.settings.split, package_versions()]
        return digest("sweep", 2, self.name, judged_on, tables)

    @property
    def size(self) -> int:
        """Combinations of all branches; raises ``ConfigError`` when a range has no step."""
        return sum(branch.size for branch in self.branches)

    @property
    def is_finite(self) -> bool:
        """Whether the points can be counted."""
        try:
            return self.size > 0
        except ConfigError:
            return False

    def branch(self, name: str | None) -> Branch:
        """The branch of that name; the only one when there is one."""
        return next((branch for branch in self.branches if branch.name == name), self.branches[0])

    def point(self, params: Params) -> Point:
        """The point with these values; raises ``ConfigError`` when they make no design."""
        branch = self.branch(params.get(BRANCH))
        tables = copy.deepcopy(branch.tables)
        for dimension in branch.dimensions:
            assign(tables, dimension.targets, dimension.read(params[dimension.name]))
        return make_point(params, design_file(tables), self.settings.images, self.settings.split)

    def grid(self) -> Iterator[Point]:
        """Every combination, or ``settings.points`` of them drawn with the seed, in file order."""
        wanted = self.settings.points
        chosen: Sequence[int] = range(self.size)
        if wanted is not None and wanted < self.size:
            chosen = sorted(random.Random(self.settings.seed).sample(chosen, wanted))
        return self.combinations(chosen)

    def combinations(self, indices: Sequence[int]) -> Iterator[Point]:
        """Points by their place in the grid."""
        offsets = list(itertools.accumulate((branch.size for branch in self.branches), initial=0))
        for index in indices:
            which = next(number for number, end in enumerate(offsets[1:]) if index < end)
            branch = self.branches[which]
            yield self.point({**self.chosen_branch(branch), **branch.combination(index - offsets[which])})

    def chosen_branch(self, branch: Branch) -> dict[str, Any]:
        """The parameter that names a branch, where there are several."""
        return {BRANCH: branch.name} if len(self.branches) > 1 else {}

    def dimension(self, name: str) -> Dimension | None:
        """The first dimension of that name."""
        found = (dimension for branch in self.branches for dimension in branch.dimensions if dimension.name == name)
        return next(found, None)


def read_sweep(source: Path | str | Mapping[str, Any] | Sweep, layer_names: LayerNames | None = None) -> Sweep:
    """Read a sweep file, or the same tables as a mapping.

    ``layer_names`` is asked only when the file has a pattern; by default the float model is built.
    Raises ``ConfigError`` with key, file and line for a value no design takes.
    """
    if isinstance(source, Sweep):
        return source
    if isinstance(source, Mapping):
        if not source:
            raise ConfigError("a sweep of nothing: say at least which model, dataset or design, and what varies")
        return parse_sweep(copy.deepcopy(dict(source)), "sweep", layer_names or built_layer_names)
    with toml_tables(source, "a sweep file") as tables:
        path = Path(source)
        absolute = beside(tables, path.parent, SweepDesignFile, SweepDesign)
        return parse_sweep(absolute, path.stem, layer_names or built_layer_names)


def parse_sweep(tables: Tables, name: str, layer_names: LayerNames) -> Sweep:
    """A sweep from its parsed TOML."""
    settings, variants = tables.pop("sweep", {}), tables.pop("designs", [{}])
    if not isinstance(settings, dict):
        raise ConfigError(f"sweep must be a table, got {shown(settings)}", ("sweep",))
    if not (isinstance(variants, list) and variants and all(isinstance(variant, dict) for variant in variants)):
        raise ConfigError(f"designs must be tables, each under [[designs]], got {shown(variants)}", ("designs",))
    if len(variants) > MOST_BRANCHES:
        raise ConfigError(f"designs must be at most {MOST_BRANCHES} tables, got {len(variants):,}", ("designs",))
    name = check_name("name", tables.pop("name", name))
    return sweep_of(tables, in_own_words(SweepSettings(**settings), tables), variants, name, layer_names)


def in_own_words(settings: SweepSettings, tables: Tables) -> SweepSettings:
    """Settings that name the figure of merit: ``metric`` and ``loss`` are words for it."""
    texts = [*settings.objectives, *settings.constraints]
    metric = metric_of_tables(tables, any(in_words_of(text, "?") != text for text in texts))
    objectives = tuple(in_words_of(text, metric) for text in settings.objectives)
    constraints = tuple(in_words_of(text, metric) for text in settings.constraints)
    return settings.change(objectives=objectives, constraints=constraints)


def metric_of_tables(tables: Tables, needed: bool) -> str:
    """What a sweep is judged by; the data are looked at where the file does not say and it is ``needed``."""
    task, data = tables.get("task", {}), tables.get("dataset", {})
    asked = task.get("metric") if isinstance(task, dict) else None
    if isinstance(asked, str) and ":" in asked:
        merit = merit_of(asked, "regression", better=task.get("direction"))
        know(merit.metric.name, merit.metric.better == "higher")
        return merit.metric.name
    if isinstance(asked, str):
        if asked.startswith("top"):
            know(asked, True)
        return asked
    plain = not task and isinstance(data, dict) and not data.get("path") and data.get("name", "") not in NUMBERS
    if plain or not needed:
        return "accuracy"
    from toolkit.data import load_dataset

    return load_dataset(DatasetConfig(**data), task=TaskConfig(**task)).metric.name


NUMBERS = ("diabetes",)  # named datasets that are not judged by accuracy


def sweep_of(
    tables: Tables, settings: SweepSettings, variants: Sequence[Tables], name: str, layer_names: LayerNames
) -> Sweep:
    """A sweep from its settings, shared sections and alternatives."""
    if not settings.objectives:
        raise ConfigError("sweep.objectives needs at least one figure")
    branches = tuple(
        read_branch(tables, variant, check_name("designs.name", variant.get("name", f"design_{number}")), layer_names)
        for number, variant in enumerate(variants, 1)
    )
    if len({branch.name for branch in branches}) < len(branches):
        raise ConfigError("designs: each table of a sweep needs a name of its own")
    sweep = Sweep(name, settings, branches)
    for branch in branches:
        check_values(sweep, branch)
    return sweep


def read_branch(shared: Tables, variant: Tables, name: str, layer_names: LayerNames) -> Branch:
    """The constants and dimensions of one ``[[designs]]`` table over the shared sections."""
    merged = {**shared, **{key: merge(shared.get(key), value) for key, value in variant.items() if key != "name"}}
    if has_pattern(merged):
        names = layer_names(merged)
        merged, variant = spread_patterns(merged, names), spread_patterns(variant, names)
    found = list(find_dimensions(merged, SweepDesignFile, ()))
    own = {dimension.name for dimension in find_dimensions(variant, SweepDesignFile, ())}
    named = tuple(
        replace(dimension, name=f"{name}.{dimension.name}") if dimension.name in own else dimension
        for dimension in found
    )
    return Branch(name, without(merged, [key for dimension in found for key in dimension.targets]), named)


def find_dimensions(tables: Tables, section: type[Section], at: Key) -> Iterator[Dimension]:
    """What varies in some tables of a file."""
    for key, value in tables.items():
        annotation = annotation_of(section, key)
        inner = section_in(annotation)
        here = (*at, key)
        if key == "layers" and inner is not None and isinstance(value, dict):
            for layer, entries in value.items():
                if isinstance(entries, dict):  # anything else is refused later
                    yield from find_dimensions(entries, inner, (*here, layer))
        elif isinstance(value, Shared):
            yield from shared_dimension(value, here, annotation)
        elif isinstance(value, dict) and set(value) == {"each"}:
            yield from varying(here, (here,), value["each"], annotation)
        elif isinstance(value, dict) and inner is not None and not is_range(value):
            yield from find_dimensions(value, inner, here)
        elif isinstance(value, dict) and not is_range(value):
            for name, item in value.items():
                yield from varying((*here, name), ((*here, name),), item, entry_of(annotation))
        else:
            yield from varying(here, (here,), value, annotation)


def varying(name: Key, targets: tuple[Key, ...], value: Any, annotation: Any) -> Iterator[Dimension]:
    """A dimension if a value is a list or a range where the key takes neither."""
    spelled = ".".join(name)
    if isinstance(value, dict) and is_range(value):
        yield range_dimension(spelled, targets, value)
    elif isinstance(value, list) and not accepts(annotation, value):
        if not value:
            raise ConfigError(f"{spelled}: a list of values to sweep needs at least one")
        if len(value) > MOST_VALUES:
            raise ConfigError(f"{spelled}: a list of values to sweep has at most {MOST_VALUES:,}, got {len(value):,}")
        yield Dimension(spelled, targets, choices=tuple(distinct(value)))


def range_dimension(name: str, targets: tuple[Key, ...], value: Mapping[str, Any]) -> Dimension:
    low, high, step, log = value["low"], value["high"], value.get("step"), bool(value.get("log", False))
    numbers = [end for end in (low, high, step) if end is not None]
    if not all(isinstance(end, (int, float)) and not isinstance(end, bool) for end in numbers) or low > high:
        raise ConfigError(f"{name}: a range is {{low = 4, high = 8, step = 1}} with low <= high, got {dict(value)}")
    if (step is not None and (step <= 0 or log)) or (log and low <= 0):
        raise ConfigError(f"{name}: step must be positive; a log range starts above 0 and has none, got {dict(value)}")
    return Dimension(name, targets, low=low, high=high, step=step, log=log)


def distinct(values: Sequence[Any]) -> list[Any]:
    """Values in order, repetitions left out; ``1`` and ``True`` differ."""
    return list({json.dumps(value, sort_keys=True): value for value in values}.values())


def is_range(value: Mapping[str, Any]) -> bool:
    return {"low", "high"} <= set(value) <= RANGE_KEYS


@functools.cache
def annotation_of(section: type[Section], key: str) -> Any:
    """The type of a key of a section; the design sections stand at the top of a file."""
    if section is SweepDesignFile and key in DESIGN_SECTIONS:
        section = SweepDesign
    if key not in section.model_fields:
        return None  # refused later, with the nearest key
    entry = section.model_fields[key]
    return Annotated[(entry.annotation, *entry.metadata)] if entry.metadata else entry.annotation


def section_in(annotation: Any) -> type[Section] | None:
    """The section a type holds, through ``| None`` and ``dict[str, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    if get_origin(annotation) in (Annotated, Union, types.UnionType, dict):
        return next((found for part in get_args(annotation) if (found := section_in(part))), None)
    return None


def entry_of(annotation: Any) -> Any:
    """The type of the values of the mapping that a type holds; ``None`` without one."""
    if get_origin(annotation) is dict:
        return get_args(annotation)[1]
    if get_origin(annotation) in (Annotated, Union, types.UnionType):
        return next((found for part in get_args(annotation) if (found := entry_of(part)) is not None), None)
    return None


def accepts(annotation: Any, value: Any) -> bool:
    """Whether a key takes this value as it stands."""
    if annotation in (Any, None):
        return False
    try:
        TypeAdapter(annotation).validate_python(value)
    except (ValidationError, ConfigError):
        return False
    return True


@dataclass(frozen=True)
class Shared:
    """A value that a pattern gives to several layers; it stands at the first of them."""

    name: Key
    targets: tuple[Key, ...]
    value: Any = field(hash=False)


def shared_dimension(value: Shared, here: Key, annotation: Any) -> Iterator[Dimension]:
    yield from varying(value.name, value.targets, value.value, annotation)


def has_pattern(tables: Tables) -> bool:
    return any(is_pattern(name) for section in DESIGN_SECTIONS for name in layers_of(tables, section))


def is_pattern(name: str) -> bool:
    return any(mark in name for mark in "*?[")


def layers_of(tables: Tables, section: str) -> Mapping[str, Any]:
    found = tables.get(section)
    layers = found.get("layers", {}) if isinstance(found, dict) else {}
    return layers if isinstance(layers, dict) else {}


def spread_patterns(tables: Tables, names: Mapping[str, bool]) -> Tables:
    """Tables with each layer pattern replaced by the layers it matches; an exact name wins over a pattern."""
    spread = copy.deepcopy(tables)
    for section in DESIGN_SECTIONS:
        layers = layers_of(tables, section)
        if not any(map(is_pattern, layers)):
            continue
        exact: Tables = {name: dict(value) for name, value in layers.items() if not is_pattern(name)}
        for pattern, entries in layers.items():
            if is_pattern(pattern):
                for key, value in entries.items():
                    spread_entry(exact, section, pattern, key, value, matching(section, pattern, names))
        spread[section]["layers"] = exact
    return spread


def spread_entry(layers: Tables, section: str, pattern: str, key: str, value: Any, matched: Sequence[str]) -> None:
    """Give one entry of a pattern to the layers it matches that have no such entry of their own."""
    free = [name for name in matched if key not in layers.get(name, {})]
    targets = tuple((section, "layers", name, key) for name in free)
    for number, name in enumerate(free):
        varies = isinstance(value, list) or (isinstance(value, dict) and is_range(value))
        entries = layers.setdefault(name, {})
        if not varies:
            entries[key] = value
        elif number == 0:
            entries[key] = Shared((section, "layers", pattern, key), targets, value)


def matching(section: str, pattern: str, names: Mapping[str, bool]) -> list[str]:
    """Layers that match: those with a kernel, or any if none of those does; raises ``ConfigError`` for none."""
    matched = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
    if not matched:
        raise ConfigError(
            f'{section}.layers: no layer matches "{pattern}"{nearest(pattern.strip("*?"), names)}; '
            f"layers are {', '.join(names)}"
        )
    return [name for name in matched if names[name]] or matched


def built_layer_names(tables: Tables) -> Mapping[str, bool]:
    """Layers of the float model that the tables describe; builds it."""
    from toolkit.data import load_dataset
    from toolkit.quiet import start_tensorflow

    start_tensorflow()
    from toolkit.zoo import build_model, load_model

    plain: Tables = {key: tables[key] for key in ("dataset", "model") if key in tables}
    varied = list(find_dimensions(plain, SweepDesignFile, ()))
    if varied:
        raise ConfigError(f"a layer pattern needs one model and dataset, but {varied[0].name} varies")
    file = SweepDesignFile(**plain)
    path = file.model.path
    model = load_model(path) if path else build_model(file.model.name, load_dataset(file.dataset))
    return {layer.name: hasattr(layer, "kernel") or hasattr(layer, "depthwise_kernel") for layer in model.layers}


def without(tables: Tables, targets: Sequence[Key]) -> Tables:
    """A copy of tables with some keys left out."""
    kept = {}
    for key, value in tables.items():
        deeper = [target[1:] for target in targets if target[0] == key]
        if () in deeper:
            continue
        kept[key] = without(value, deeper) if isinstance(value, dict) else copy.deepcopy(value)
    return kept


def assign(tables: Tables, targets: Sequence[Key], value: Any) -> None:
    """Put a value at every target."""
    for *sections, key in targets:
        table = tables
        for section in sections:
            table = table.setdefault(section, {})
        table[key] = copy.deepcopy(value)


def check_values(sweep: Sweep, branch: Branch) -> None:
    """Raise ``ConfigError`` for the first value that no design takes."""
    first = {
        dimension.name: dimension.spelled((dimension.choices or (dimension.low,))[0]) for dimension in branch.dimensions
    }
    base = {**sweep.chosen_branch(branch), **first}
    sweep.point(base)
    for dimension in branch.dimensions:
        for value in dimension.choices or (dimension.low, dimension.high):
            sweep.point({**base, dimension.name: dimension.spelled(value)})


def design_file(tables: Tables) -> SweepDesignFile:
    """A file with one design from tables with one value everywhere."""
    shared = {key: tables[key] for key in DESIGN_SECTIONS if key in tables}
    rest = {key: value for key, value in tables.items() if key not in shared}
    return canonical(SweepDesignFile(**rest, designs=(SweepDesign(**shared),)))


def canonical(file: SweepDesignFile) -> SweepDesignFile:
    """The same work in one spelling: what has no effect takes its default, so that equal points are one point."""
    design = file.designs[0]
    qat = design.qat
    if qat is not None and qat.prune is not None and qat.prune.sparsity == 0:
        qat = qat.change(prune=None)
    if qat is not None and qat.teacher is None:
        qat = qat.change(temperature=4.0, distillation_weight=0.5)
    if qat is not None and qat.epochs == 0:  # post-training; pruning, if any, is done at once
        qat = None if qat.prune is None else TrainConfig(epochs=0, prune=qat.prune.change(begin_epoch=0, end_epoch=0))
    hls = design.hls
    targets = [name for name in TARGETS if getattr(hls, name) is not None]
    if len(targets) > 1:
        raise ConfigError("hls.target_ii and hls.target_dsp: one of them decides the reuse factors, got both")
    if targets or hls.strategy == "distributed_arithmetic":
        hls = hls.change(reuse_factor=1)
    if design.quantization is not None and design.quantization.idle:
        design = design.change(quantization=design.quantization.without_idle())
    return file.change(name="design", designs=(design.change(name=None, qat=qat, hls=hls),))


def make_point(params: Params, file: SweepDesignFile, images: int, split: str) -> Point:
    left_out: Any = {**FREE_OF_RESULT, "designs": {0: FREE_OF_DESIGN}}
    content = file.model_dump_json(exclude=left_out)
    return Point(dict(params), file, digest("point", 1, content, images, split), images, split)
