"""What the detailed sections of a page show, taken from the records that rows were made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolkit.comparison import diagram
from toolkit.comparison.columns import number
from toolkit.comparison.compare import Comparison
from toolkit.comparison.design import TrainView
from toolkit.records import BaselineRecord, CheckResult, Estimate, Figure, Implementation

WIDE_COLUMNS, NARROW_COLUMNS = 5, 1
HIDDEN_ENVIRONMENT = ("load_average",)


def section_values(comparison: Comparison) -> Mapping[str, Any]:
    """Values by section name; empty where the records hold no data for it."""
    return {name: build(comparison) for name, build in SECTIONS.items()}


def parts(row: Implementation, kind: type[Any]) -> list[Any]:
    """The records of one type that a row was made from."""
    return [part for part in row.parts if isinstance(part, kind)]


def agreement(comparison: Comparison) -> list[dict[str, Any]]:
    """One entry per check: who was compared, on how many images, what differs and why."""
    return [{"row": row.name, "check": check} for row in comparison.rows for check in parts(row, CheckResult)]


def stages(comparison: Comparison) -> list[dict[str, Any]]:
    """One entry per estimated design: its bottleneck, the next stage, what FIFOs need, notes."""
    return [
        stage_entry(row, estimate) for row in comparison.rows for estimate in parts(row, Estimate) if estimate.layers
    ]


def stage_entry(row: Implementation, estimate: Estimate) -> dict[str, Any]:
    ranked = sorted(estimate.layers, key=lambda layer: -layer.initiation_interval_cycles.value)
    slowest = ranked[0].initiation_interval_cycles
    second = ranked[1] if len(ranked) > 1 else None
    shallow = [fifo for fifo in estimate.fifos if fifo.needed_depth > fifo.default_depth]
    saved = sum(max(0, fifo.default_depth - fifo.needed_depth) for fifo in estimate.fifos)
    return {
        "row": row.name,
        "bottleneck": ranked[0].name,
        "kind": ranked[0].kind,
        "cycles": number(slowest.value),
        "source": slowest.source,
        "next": f"{second.name}: {number(second.initiation_interval_cycles.value)}" if second else "",
        "fifos": fifo_words(shallow, saved, len(estimate.fifos)),
        "notes": estimate.notes,
        "fits": estimate.fits,
    }


def fifo_words(shallow: list[Any], saved: int, count: int) -> str:
    """What to do about FIFO depths, in words."""
    if not count:
        return "none"
    if shallow:
        names = ", ".join(f"{fifo.name} {fifo.default_depth} → {fifo.needed_depth}" for fifo in shallow[:3])
        return f"too shallow: {names}" + (" …" if len(shallow) > 3 else "")
    return f"{count} deep enough; {number(saved)} places to spare" if saved else f"{count} deep enough"


def baselines(comparison: Comparison) -> list[dict[str, Any]]:
    """One entry per engine: spread, memory, threads, what was fused."""
    return [baseline_entry(row, record) for row in comparison.rows for record in parts(row, BaselineRecord)]


def baseline_entry(row: Implementation, record: BaselineRecord) -> dict[str, Any]:
    figures = record.figures
    return {
        "row": row.name,
        "record": record,
        "latency": spread(record.latency_us),
        "throughput": number(record.throughput_hz.value) if record.throughput_hz else "",
        "best_batch": number(figures["best_batch"].value) if "best_batch" in figures else "",
        "memory": megabytes(figures.get("peak_memory_bytes")),
        "threads": next((text for key, text in record.environment.items() if key.endswith("threads")), ""),
        "source": record.latency_us.source if record.latency_us else "",
    }


def spread(figure: Figure | None) -> str:
    """``61 (55 to 79)``."""
    if figure is None:
        return ""
    low = "" if figure.low is None or figure.high is None else f" ({number(figure.low)} to {number(figure.high)})"
    return f"{number(figure.value)}{low}"


def megabytes(figure: Figure | None) -> str:
    return f"{figure.value / 2**20:,.0f} MiB" if figure else ""


def diagrams(comparison: Comparison) -> dict[str, Any]:
    """The data flow, and the layers of the recommended design."""
    found: dict[str, Any] = {
        "flow": (diagram.data_flow(comparison, WIDE_COLUMNS), diagram.data_flow(comparison, NARROW_COLUMNS))
    }
    chosen = diagram.design_of(comparison)
    found["design"] = None
    if chosen:
        row, view = chosen
        found["design"] = row.name
        found["layers"] = (diagram.accelerator(row, view, WIDE_COLUMNS), diagram.accelerator(row, view, NARROW_COLUMNS))
    return found


def environment(comparison: Comparison) -> dict[str, str]:
    """Versions, machine, threads and seeds, from the comparison and every record that has them."""
    known: dict[str, str] = dict(comparison.environment)
    for row in comparison.rows:
        for part in row.parts:
            for key, text in getattr(part, "environment", {}).items():
                if key not in HIDDEN_ENVIRONMENT:
                    known.setdefault(key, str(text))
    seeds = sorted({part.seed for row in comparison.rows for part in parts(row, TrainView)})
    return known | ({"seeds": ", ".join(map(str, seeds))} if seeds else {})


SECTIONS = {
    "agreement": agreement,
    "stages": stages,
    "baselines": baselines,
    "diagrams": diagrams,
    "environment": environment,
}
