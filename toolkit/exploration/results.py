"""What a sweep found: points, front, tables, the best point, design files ready to run."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from toolkit import harmless
from toolkit.config import DesignConfig, DesignFile, TrainConfig, as_tables, merge
from toolkit.data.merit import MERITS
from toolkit.errors import ConfigError, StoreError, nearest
from toolkit.exploration.book import (
    ABOUT,
    default_storage,
    open_storage,
    records_of,
    shown_storage,
    study_name,
    talking_to,
)
from toolkit.exploration.engines import TRAINING_THREADS
from toolkit.exploration.figures import HIGHER_IS_BETTER, Limit, cost, figure_name, know, pareto
from toolkit.exploration.points import PointRecord
from toolkit.exploration.space import Point, Sweep, read_sweep
from toolkit.exploration.targets import with_factors
from toolkit.names import check_name
from toolkit.records import Finding
from toolkit.store import write_bytes, write_text
from toolkit.tables import html_table

if TYPE_CHECKING:
    import pandas
    from optuna.storages import BaseStorage

EXPORTS = (".csv", ".parquet", ".json")


@dataclass(frozen=True, eq=False)
class SweepResult:
    """The points of one sweep as they stand in the book, and how they are judged."""

    name: str
    study: str
    storage: str
    objectives: tuple[str, ...]
    constraints: tuple[str, ...]
    points: tuple[PointRecord, ...]
    left: tuple[tuple[Point, str], ...] = ()  # points this run could not evaluate for reasons outside them

    @functools.cached_property
    def pareto(self) -> tuple[PointRecord, ...]:
        """Points that hold every constraint and that no other beats, best first objective first."""
        return tuple(front(self.points, self.objectives, self.constraints))

    @property
    def failed(self) -> tuple[PointRecord, ...]:
        """Points that did not work out, with their errors."""
        return tuple(record for record in self.points if record.state == "failed")

    @property
    def is_lost(self) -> bool:
        """Whether there are points and every one of them failed."""
        return bool(self.points) and len(self.failed) == len(self.points)

    @property
    def findings(self) -> Mapping[Finding, tuple[int, ...]]:
        """What lint says of the projects that were compared with csim, with the numbers of the points."""
        found: dict[Finding, list[int]] = {}
        for record in self.points:
            for item in (record.proof or {}).get("findings", ()):
                found.setdefault(Finding(**item), []).append(record.number or 0)
        return {item: tuple(numbers) for item, numbers in found.items()}

    @property
    def disproved(self) -> tuple[PointRecord, ...]:
        """Points whose csim is not what the emulator computed."""
        return tuple(record for record in self.points if record.proof and record.proof.get("equal") is False)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Everything that varies, in file order."""
        return tuple(dict.fromkeys(name for record in self.points for name in record.point.params))

    def to_frame(self) -> pandas.DataFrame:
        """One row per point: number, state, parameters, figures, sources of the figures, proof, error."""
        import pandas

        on_front = {record.digest for record in self.pareto}
        rows = [row(record, self.constraints, record.digest in on_front) for record in self.points]
        return pandas.DataFrame(rows)

    def _repr_html_(self) -> str:
        """The table of the points, for a notebook."""
        headings, rows = points_table(self, None, TERMINAL_FIGURES)
        return html_table(f"sweep {self.name}", headings, rows)

    def best(self, constraints: Sequence[str] = (), objective: str | None = None) -> PointRecord:
        """The point that holds the sweep's constraints and these, best in one objective (default: the second
        objective where there are two, so that ``accuracy >= x`` leaves latency to be made small).

        Raises ``ConfigError`` that says which constraint leaves nothing.
        """
        wanted = figure_name(objective) if objective else (*self.objectives[1:], self.objectives[0])[0]
        return best_of(self.points, [*self.constraints, *constraints], wanted)


def front(records: Sequence[PointRecord], objectives: Sequence[str], constraints: Sequence[str]) -> list[PointRecord]:
    """The Pareto front of the points that hold the constraints."""
    candidates = [record for record in records if record.feasible(constraints) and record.has(objectives)]
    return pareto(candidates, lambda record: record.figures, objectives)


def row(record: PointRecord, constraints: Sequence[str], on_front: bool) -> dict[str, Any]:
    """One line of a table; sources stand beside their figures as ``<figure>_source``."""
    figures: dict[str, Any] = {}
    for name, figure in record.figures.items():
        figures |= {name: figure.value, f"{name}_source": figure.source}
        if figure.low is not None and figure.high is not None:
            figures |= {f"{name}_low": figure.low, f"{name}_high": figure.high}
    return {
        "number": record.number,
        "state": record.state,
        "pareto": on_front,
        "feasible": record.feasible(constraints),
        **record.params,
        **figures,
        "proved": None if record.proof is None else record.proof.get("equal"),
        "seconds": record.seconds,
        "error": record.error,
        "digest": record.digest,
    }


def best_of(records: Sequence[PointRecord], constraints: Sequence[str], objective: str) -> PointRecord:
    """The point best in one objective, then in the figure of merit, among those that hold the constraints."""
    left = [record for record in records if record.state == "complete" and objective in record.figures]
    if not left:
        raise ConfigError(f"no point of {len(records)} was evaluated and has a figure for {objective}")
    for text in constraints:
        limit = Limit.parse(text)
        kept = [record for record in left if limit.violation(record.figures) <= 0]
        if not kept:
            raise ConfigError(f"no point holds {limit}: {closest(left, limit)}")
        left = kept
    known = [name for name in (objective, metric_name(left[0])) if all(name in record.figures for record in left)]
    return min(left, key=lambda record: cost(record.figures, known))


def closest(records: Sequence[PointRecord], limit: Limit) -> str:
    """How near the nearest point comes."""
    known = [record for record in records if limit.name in record.figures]
    if not known:
        return f"none has a figure for {limit.name}"
    nearest_one = min(known, key=lambda record: limit.violation(record.figures))
    return f"of {len(known):,} the closest has {limit.name} {nearest_one.figures[limit.name].value:.6g}"


def load_sweep(
    source: Path | str | Mapping[str, Any] | Sweep | None = None, storage: str | Path | None = None
) -> SweepResult:
    """What is in the book of a sweep: by its file, its name, its study's name, or the only one there is.

    Raises ``StoreError`` naming the sweeps there are.
    """
    name = str(storage or default_storage())
    opened = open_storage(storage)
    studies = sweep_studies(opened, name)
    if source is None:
        wanted = list(studies)
    elif isinstance(source, str) and Path(source).suffix != ".toml":
        wanted = [study for study, about in studies.items() if source in (study, about["name"])]
    else:
        wanted = [study for study in [study_name(read_sweep(source))] if study in studies]
    if (source is None and len(wanted) > 1) or not wanted:
        known = ", ".join(studies) or "none yet"
        close = nearest(str(source), studies) if isinstance(source, str) else ""
        lacking = f"{source} has no points yet{close}; " if source else ""
        raise StoreError(f"which sweep? {lacking}{shown_storage(name)} holds: {known}")
    return result_of(opened, name, wanted[-1], studies[wanted[-1]])


def sweep_studies(storage: BaseStorage, name: str) -> dict[str, Mapping[str, Any]]:
    """Studies that are sweeps, oldest first, with what they say about themselves; ``StoreError`` for other names."""
    with talking_to(name):
        studies = storage.get_all_studies()  # Optuna's summaries of studies would read every trial
    found = {item.study_name: item.user_attrs[ABOUT] for item in studies if ABOUT in item.user_attrs}
    for study, about in found.items():
        where = f"{shown_storage(name)}: the name of a"
        sweep = check_name(f"{where} sweep", about.get("name"), StoreError)
        check_name(f"{where} sweep's study", study.removeprefix(f"{sweep}-"), StoreError)  # the rest is a digest
    return found


def result_of(storage: BaseStorage, name: str, study: str, about: Mapping[str, Any]) -> SweepResult:
    """The result of one study."""
    for own, higher in about.get("own", {}).items():
        know(own, higher)
    import optuna

    with talking_to(name):
        records = records_of(optuna.load_study(study_name=study, storage=storage), storage)
    return SweepResult(
        name=about["name"],
        study=study,
        storage=shown_storage(name),
        objectives=tuple(about["objectives"]),
        constraints=tuple(about["constraints"]),
        points=one_per_design(records.values()),
    )


def one_per_design(records: Iterable[PointRecord]) -> tuple[PointRecord, ...]:
    """The first point of each design: reuse factors 7 and 8 that both build 8 are one."""
    found: dict[str, PointRecord] = {}
    for record in records:
        found.setdefault(record.built, record)
    return tuple(found.values())


@dataclass(frozen=True, eq=False)
class Best:
    """An answer from the store: the point, and the sweep it is from."""

    record: PointRecord
    sweep: SweepResult


def best(
    *,
    part: str | None = None,
    min_accuracy: float | None = None,
    min_metric: float | None = None,
    max_loss: float | None = None,
    max_latency_us: float | None = None,
    constraints: Sequence[str] = (),
    objective: str = "latency_us",
    name: str | None = None,
    storage: str | Path | None = None,
) -> tuple[Best, ...]:
    """The best point of all sweeps in the store, one per test set: accuracies on different images do not compare.

    With the ``name`` of a sweep its own constraints hold too. ``min_metric`` is the worst figure of merit allowed (the
    largest RMSE), ``max_loss`` how much worse than the float model it may be.
    Raises ``ConfigError`` when no point holds what is asked for, ``StoreError`` without any sweep.
    """
    opened, title = open_storage(storage), str(storage or default_storage())
    studies = {
        study: about for study, about in sweep_studies(opened, title).items() if name in (None, study, about["name"])
    }
    if not studies:
        raise StoreError(f"{shown_storage(title)} holds no sweep{f' named {name}' if name else ''}")
    own = [text for about in studies.values() for text in about["constraints"]] if name else []
    asked = list(dict.fromkeys(["fits", *own, *constraints]))
    asked += [f"accuracy >= {min_accuracy}"] if min_accuracy is not None else []
    asked += [f"latency_us <= {max_latency_us}"] if max_latency_us is not None else []
    results = [result_of(opened, title, study, about) for study, about in studies.items()]
    candidates = [(record, result) for result in results for record in result.points if on_part(record, part)]
    if not candidates:
        parts = sorted({record.facts.get("part", "") for result in results for record in result.points} - {""})
        raise ConfigError(f"no point is for part {part}{nearest(part or '', parts)}; the store has {', '.join(parts)}")
    groups: dict[str, list[tuple[PointRecord, SweepResult]]] = {}
    for record, result in candidates:
        groups.setdefault(record.facts.get("test_set", ""), []).append((record, result))
    found, reasons = [], []
    for members in groups.values():
        try:
            wishes = [*asked, *merit_limits(members[0][0], min_metric, max_loss)]
            winner = best_of([record for record, _ in members], wishes, figure_name(objective))
            found.append(next(Best(record, result) for record, result in members if record is winner))
        except ConfigError as error:
            reasons.append(str(error))
    if not found:
        raise ConfigError("; ".join(dict.fromkeys(reasons)))
    return tuple(found)


def merit_limits(record: PointRecord, min_metric: float | None, max_loss: float | None) -> list[str]:
    """Constraints on the figure of merit of a record's task."""
    name = metric_name(record)
    relation = ">=" if HIGHER_IS_BETTER.get(name, True) else "<="
    found = [] if min_metric is None else [f"{name} {relation} {min_metric}"]
    return found + ([] if max_loss is None else [f"{name}_loss <= {max_loss}"])


def metric_name(record: PointRecord) -> str:
    """What a point is judged by."""
    return record.facts.get("metric", "accuracy")


def on_part(record: PointRecord, part: str | None) -> bool:
    return part is None or record.facts.get("part") == part


def export(result: SweepResult, path: str | Path) -> Path:
    """Write every point to a ``.csv``, ``.parquet`` or ``.json`` file (JSON: the whole records)."""
    target = Path(path)
    match target.suffix:
        case ".csv":
            frame = result.to_frame().map(harmless.cell).rename(columns=harmless.cell)
            write_text(target, frame.to_csv(index=False))
        case ".parquet":
            write_bytes(target, result.to_frame().to_parquet(index=False))
        case ".json":
            write_text(target, json.dumps(as_json(result), indent=1) + "\n")
        case _:
            raise ConfigError(f"export writes {', '.join(EXPORTS)}, got {target.name}")
    return target


def as_json(result: SweepResult) -> dict[str, Any]:
    """A result as JSON types: the records whole, the front by digest."""
    points = [
        {"number": record.number, "digest": record.digest, "proof": record.proof, **record.to_json()}
        for record in result.points
    ]
    return {
        "name": result.name,
        "study": result.study,
        "objectives": list(result.objectives),
        "constraints": list(result.constraints),
        "points": points,
        "pareto": [record.digest for record in result.pareto],
    }


def design_of(record: PointRecord, name: str) -> DesignFile:
    """The design file of a point, ready for ``toolkit run``: targets and FIFO sizing resolved for each layer."""
    file, design = record.point.file, record.point.design
    hls = design.hls.plain().change(fifo_depths=dict(record.fifo_depths))
    if record.reuse_factors and (design.hls.target_ii or design.hls.target_dsp):
        hls = with_factors(hls, record.reuse_factors)
    plain = DesignConfig(
        name=name,
        quantization=design.quantization,
        qat=design.qat and as_trained(design.qat),
        hls=hls,
        proof=design.proof,
    )
    return DesignFile(**{**dict(file), "name": name, "train": as_trained(file.train), "designs": (plain,)})


def as_trained(config: TrainConfig) -> TrainConfig:
    """A training with the threads that a sweep's workers have, so that a run of the design finds the same model."""
    return config.change(threads=config.threads or TRAINING_THREADS)


def design_toml(record: PointRecord, name: str) -> str:
    """A design file as text, with what the sweep found in its head."""
    file = as_tables(design_of(record, name))
    sections = file.pop("designs", [{}])[0]
    sections.pop("name", None)
    head = [
        f"# {name}: point {record.number} of a sweep",
        *(f"#   {key}: {figure}" for key, figure in {**record.figures, **record.simulated}.items()),
    ]
    return "\n".join(head) + "\n\n" + tomli_w.dumps({**merge(file, sections), "designs": [{"name": name}]})


def write_designs(result: SweepResult, folder: str | Path, records: Sequence[PointRecord] | None = None) -> list[Path]:
    """Write the design files of the front (or of given points): ``<folder>/<sweep>_<number>.toml``."""
    chosen = result.pareto if records is None else records
    paths = []
    for record in chosen:
        name = f"{result.name}_{record.number}"
        write_text(path := Path(folder) / f"{name}.toml", design_toml(record, name))
        paths.append(path)
    return paths


SHOWN_FIGURES = (
    *MERITS, "latency_us", "initiation_interval_cycles", "lut", "ff", "dsp", "bram_18k", "energy_uj", "ebops",
)  # fmt: skip
COMPRESSION_FIGURES = ("nonzero_weights", "csd_digits")  # shown where pruning is a dimension


TERMINAL_FIGURES = ("lut", "dsp", "bram_18k")  # beside the objectives; a report has the rest


def points_text(result: SweepResult, records: Sequence[PointRecord] | None = None) -> str:
    """A table of points (default: all) for a terminal or a pipe: the objectives and area, no cell cut short.

    The second line says where the figures of a column come from.
    """
    headings, rows = points_table(result, records, TERMINAL_FIGURES)
    split = [heading.rstrip(")").split(" (") for heading in headings]
    lines = [[names[0] for names in split], [(*names, "")[1] for names in split], *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([*(cell.rjust(width) for cell, width in zip(line[:-1], widths[:-1], strict=True)), line[-1]]).rstrip()
        for line in lines
    )


def points_table(
    result: SweepResult, records: Sequence[PointRecord] | None = None, shown: Sequence[str] = SHOWN_FIGURES
) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of a table of points (default: all): number, what varies, main figures, marks.

    A heading carries its figures' source, as ``latency_us (model)``; they are all from one.
    """
    chosen = result.points if records is None else tuple(records)
    on_front = {record.digest for record in result.pareto}
    pruned = any("prune" in name for name in result.parameters)
    wanted = [*result.objectives, *shown, *(COMPRESSION_FIGURES if pruned else ())]
    figures = [name for name in dict.fromkeys(wanted) if any(name in record.figures for record in chosen)]
    headings = [
        "point",
        *(short(name) for name in result.parameters),
        *(f"{name} ({', '.join(sources_of(chosen, name))})" for name in figures),
        "",
    ]
    rows = [
        [
            str(record.number),
            *(str(record.params.get(name, "")) for name in result.parameters),
            *(f"{record.figures[name].value:.6g}" if name in record.figures else "" for name in figures),
            marks(record, result.constraints, record.digest in on_front),
        ]
        for record in chosen
    ]
    return headings, rows


def sources_of(records: Sequence[PointRecord], name: str) -> list[str]:
    """Where the records have a figure from."""
    return sorted({record.figures[name].source for record in records if name in record.figures})


def short(name: str) -> str:
    """``quantization.layers.conv2d.weight_bits`` -> ``conv2d.weight_bits``."""
    return name.split(".", 1)[-1].removeprefix("layers.")


def marks(record: PointRecord, constraints: Sequence[str], on_front: bool) -> str:
    """What a reader must know of a point beside its figures."""
    if record.state != "complete":
        return f"{record.state}: {(record.error or '').splitlines()[0]}"
    missed = [text for text, by in record.violations(constraints).items() if by > 0]
    words = ["Pareto"] if on_front else []
    words += [f"not {text}" for text in missed]
    if record.proof is not None:
        verdict = {True: "csim equal", False: "csim DIFFERS", None: "csim failed"}[record.proof.get("equal")]
        words.append(verdict + (f" (as point {record.proof['as']})" if "as" in record.proof else ""))
    words += [f"{name} {figure.value:.6g}" for name, figure in record.simulated.items() if "latency_us" in name]
    return ", ".join(words)


def known_figures() -> tuple[str, ...]:
    """Names that may be objectives or constraints."""
    return tuple(HIGHER_IS_BETTER)
