"""Whole designs of synthesis results beside the estimates of their layers, put together as a design is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from toolkit.estimation.area import FifoArea, fifo_area
from toolkit.estimation.assembly import assembled
from toolkit.estimation.calibration import (
    Judged,
    Residual,
    Sample,
    balanced_bounds,
    ratio,
    released,
    trustworthy,
)
from toolkit.estimation.dataflow import UNBOUNDED, Flow, Process, process_of, simulate
from toolkit.estimation.rows import read_csv

COLUMN_OF = {"latency_cycles": "latency_max_cycles", "interval_cycles": "ii_max"}  # in designs.csv, else the same
SUMMED = ("dsp", "bram_18k", "lut", "ff")
FEWEST_OWNERS = 4  # of designs, for an interval of their own


@dataclass(frozen=True)
class DesignScore:
    """One figure of a design of several layers: csynth's (its maximum for cycles) and the estimate.

    ``remark`` says why the estimate may not be held against the design; empty otherwise.
    """

    design: str
    owner: str
    tool: str
    io_type: str
    quantity: str
    measured: float
    estimated: float
    remark: str = ""

    @property
    def error(self) -> float | None:
        """Relative error; ``None`` where csynth says 0."""
        return self.estimated / self.measured - 1 if self.measured else None


def design_scores(folder: Path, samples: Sequence[Sample], judged: Sequence[Judged]) -> tuple[DesignScore, ...]:
    """Every design of several layers that are all in the folder, put together from the estimates of its layers."""
    estimates = {(item.id, item.quantity): item.estimated for item in judged}
    members: dict[str, dict[str, Sample]] = {}
    for sample in samples:
        if sample.row.role == "layer" and sample.row.in_network:
            members.setdefault(sample.row.design, {})[sample.row.stage.name] = sample
    found: list[DesignScore] = []
    for fields in read_csv(folder / "designs.csv"):
        layers = design_layers(fields, members.get(fields["id"], {}))
        if layers:
            found += score_design(fields, layers, estimates)
    return tuple(found)


def design_layers(fields: Mapping[str, str], members: Mapping[str, Sample]) -> list[Sample]:
    """The layers of a design in its order; empty when one is missing (quantizers of HGQ are none of their own)."""
    named = [part.strip() for part in fields.get("layers", "").split("|")]
    names = [part.split(":")[0] for part in named if not part.endswith(("quantize", "quantizer"))]
    return [members[name] for name in names] if len(names) > 1 and all(name in members for name in names) else []


def score_design(
    fields: Mapping[str, str], layers: Sequence[Sample], estimates: Mapping[tuple[str, str], float]
) -> list[DesignScore]:
    """The figures of one design that its report gives and its layers' estimates make up."""
    timing = design_cycles(layers)
    joined = between(layers)
    found = dict(timing)
    for quantity in SUMMED:
        parts = [estimates.get((layer.row.id, quantity)) for layer in layers]
        if None not in parts:
            found[quantity] = sum(part for part in parts if part is not None) + getattr(joined, quantity, 0)
    stage, row = layers[0].row.stage, layers[0].row
    return [
        DesignScore(
            fields["id"], row.owner, str(row.tool), stage.io_type, name, float(fields[column]), value, remark_of(layers)
        )
        for name, value in found.items()
        if fields.get(column := COLUMN_OF.get(name, name))
    ]


def remark_of(layers: Sequence[Sample]) -> str:
    """Why the estimate of a design made of these layers says little: what its rows leave out."""
    network = layers[0].row.network.lower()
    if not all(released(layer.row) for layer in layers):
        return "development branch of hls4ml"
    if "hgq" in network:
        return "a width per input, which the rows do not say"
    return "" if all(map(trustworthy, layers)) else "weights unknown"


def design_cycles(layers: Sequence[Sample]) -> dict[str, float]:
    """Latency and interval of a design; empty for streams that are no chain."""
    if not layers[0].row.stage.stream:
        made = assembled([(layer.row.stage, layer.cycles) for layer in layers], layers[0].clock)
        return {"latency_cycles": made.latency, "interval_cycles": made.interval}
    network = chain(layers)
    if network is None:
        return {}
    run = simulate(network)
    return {"latency_cycles": run.latency_cycles, "interval_cycles": run.interval_cycles}


def between(layers: Sequence[Sample]) -> FifoArea:
    """What joins the layers: FIFOs as deep as their producer's map, or channels and registers of arrays."""
    clock = layers[0].clock
    if not layers[0].row.stage.stream:
        return assembled([(layer.row.stage, layer.cycles) for layer in layers], clock).between
    stages = [layer.row.stage for layer in layers[:-1]]
    areas = [fifo_area(one.out_pixels, one.out_channels, one.output_bits, clock) for one in stages]
    return FifoArea(*(sum(getattr(area, name) for area in areas) for name in ("bram_18k", "lut", "ff")))


def chain(layers: Sequence[Sample]) -> Flow | None:
    """Layers as a chain of processes with unbounded FIFOs; ``None`` when token counts do not match."""
    processes: list[Process] = []
    for position, layer in enumerate(layers):
        ends = (f"stream{position}",), (f"stream{position + 1}",)
        processes.append(process_of(layer.row.stage, layer.clock, *ends, worst=True))
    if any(before.writes.sum() != after.reads.sum() for before, after in pairwise(processes)):
        return None
    depths = {f"stream{position}": UNBOUNDED for position in range(1, len(layers))}
    return Flow(tuple(processes), depths, {"stream0": int(processes[0].reads.sum())}, (f"stream{len(layers)}",))


def design_residuals(scores: Sequence[DesignScore]) -> dict[str, Residual]:
    """How far whole designs were off, by io type and tool line and by io type: errors of layers do not cancel.

    Keys are ``design <io type>|<line>|<quantity>``, for lines that several owners used, and
    ``design <io type>|any|<quantity>``.
    """
    groups: dict[str, list[DesignScore]] = {}
    for score in scores:
        if not score.remark:
            for line in (score.tool.split("_")[0], "any"):
                groups.setdefault(f"design {score.io_type}|{line}|{score.quantity}", []).append(score)
    enough = {key: items for key, items in groups.items() if len({item.owner for item in items}) >= FEWEST_OWNERS}
    return {key: residual_of_designs(items) for key, items in sorted(enough.items())}


def residual_of_designs(items: Sequence[DesignScore]) -> Residual:
    """Bounds of measured over estimated for a design of one more owner."""
    owners = np.array([item.owner for item in items])
    ratios = np.array([ratio(item.estimated, item.measured) for item in items])
    low, high = balanced_bounds(ratios, owners)
    errors = [abs(item.error) for item in items if item.error is not None]
    return Residual(
        low=float(f"{low:.4g}"),
        high=float(f"{high:.4g}"),
        rows=len(items),
        networks=len({item.design for item in items}),
        exact=float(f"{np.mean([round(item.estimated) == item.measured for item in items]):.4g}"),
        error=float(f"{np.mean(errors) if errors else 0.0:.4g}"),
        owners=len(set(owners.tolist())),
    )
