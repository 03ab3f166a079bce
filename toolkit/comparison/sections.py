"""What the detailed sections of a page show, taken from the records that rows were made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from toolkit.comparison import diagram
from toolkit.comparison.answer import listing
from toolkit.comparison.columns import number
from toolkit.comparison.compare import Comparison
from toolkit.comparison.design import TrainView, stage_cycles
from toolkit.comparison.layer_charts import range_values
from toolkit.records import BaselineRecord, CheckResult, Estimate, Figure, Finding, Implementation, Severity

HIDDEN_ENVIRONMENT = ("load_average",)
MOST_NOTES = 8


def section_values(comparison: Comparison) -> Mapping[str, Any]:
    """Values by section name; empty where the records hold no data for it."""
    return {name: build(comparison) for name, build in SECTIONS.items()}


def parts(row: Implementation, kind: type[Any]) -> list[Any]:
    """The records of one type that a row was made from."""
    return [part for part in row.parts if isinstance(part, kind)]


def notes(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """What stands behind the figures of each column, for readers without a pointer: each note with its rows."""
    found = []
    for column in comparison.columns():
        said: dict[str, list[str]] = {}
        for row in comparison.rows:
            figure = row.figures.get(column.key)
            if figure and figure.note:
                said.setdefault(f"{figure.source}: {figure.note}", []).append(row.name)
        if said:
            texts = [text if len(said) == 1 else f"{text} ({listing(rows, 4)})" for text, rows in said.items()]
            rest = [f"and {len(texts) - MOST_NOTES} more"] if len(texts) > MOST_NOTES else []
            found.append((column.heading, texts[:MOST_NOTES] + rest))
    return found


def agreement(comparison: Comparison) -> list[dict[str, Any]]:
    """One entry per check: who was compared, on how many images, what differs and why."""
    return [{"row": row.name, "check": check} for row in comparison.rows for check in parts(row, CheckResult)]


def findings(comparison: Comparison) -> list[dict[str, Any]]:
    """One entry per finding about a design, errors first."""
    found = [{"row": row.name, "finding": item} for row in comparison.rows for item in parts(row, Finding)]
    return sorted(found, key=lambda entry: get_args(Severity).index(entry["finding"].severity))


def stages(comparison: Comparison) -> list[dict[str, Any]]:
    """One entry per estimated design: its bottleneck, the next stage, what FIFOs need, notes."""
    return [
        stage_entry(row, estimate) for row in comparison.rows for estimate in parts(row, Estimate) if estimate.layers
    ]


def stage_entry(row: Implementation, estimate: Estimate) -> dict[str, Any]:
    ranked = sorted(estimate.layers, key=lambda layer: -stage_cycles(layer).value)
    second = ranked[1] if len(ranked) > 1 else None
    shallow = [fifo for fifo in estimate.fifos if fifo.needed_depth > fifo.default_depth]
    saved = sum(max(0, fifo.default_depth - fifo.needed_depth) for fifo in estimate.fifos)
    return {
        "row": row.name,
        "bottleneck": ranked[0].name,
        "kind": ranked[0].kind,
        "cycles": shown_figure(stage_cycles(ranked[0])),
        "interval": shown_figure(estimate.initiation_interval_cycles),
        "next": f"{second.name}: {number(stage_cycles(second).value)}" if second else "",
        "fifos": fifo_words(shallow, saved, len(estimate.fifos)),
        "placed": shown_figure(row.figures.get("lut_placed")),
        "notes": estimate.notes,
        "fits": row.facts.get("fits", "unknown"),
    }


def shown_figure(figure: Figure | None) -> dict[str, str]:
    """A figure's value, interval and source as text; empty where there is none."""
    if figure is None:
        return {}
    low, high = figure.low, figure.high
    interval = "" if low is None or high is None else f"{number(low)} to {number(high)}"
    return {"text": number(figure.value), "interval": interval, "source": figure.source, "note": figure.note or ""}


def fifo_words(shallow: list[Any], saved: int, count: int) -> str:
    """What to do about FIFO depths, in words."""
    if not count:
        return "none"
    if shallow:
        names = ", ".join(f"{fifo.name} {fifo.default_depth} → {fifo.needed_depth}" for fifo in shallow[:3])
        return f"too shallow: {names}" + (" …" if len(shallow) > 3 else "")
    return f"{count} deep enough; {number(saved)} places to spare" if saved else f"{count} deep enough"


def precision(comparison: Comparison) -> list[dict[str, str]]:
    """One entry per profiled design: values that saturated or wrapped, the tightest and the roomiest type."""
    found = ((row, range_values(row)) for row in comparison.rows)
    return [precision_entry(row, values) for row, values in found if values]


def precision_entry(row: Implementation, values: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    ranked = sorted(values, key=lambda value: float(value["headroom"]))
    tight, roomy = ranked[0], ranked[-1]
    wrapped = sum(value["wrapped"] for value in values)
    saturated = sum(value["overflows"] for value in values) - wrapped
    return {
        "row": row.name,
        "wrapped": number(wrapped),
        "saturated": number(saturated),
        "tight": f"{tight['what']}: {tight['headroom']:.1f} bits",
        "roomy": f"{roomy['what']}: {roomy['headroom']:.1f} bits",
    }


def baselines(comparison: Comparison) -> list[dict[str, Any]]:
    """One entry per engine: spread, memory, threads, what was fused."""
    return [baseline_entry(row, record) for row in comparison.rows for record in parts(row, BaselineRecord)]


def baseline_entry(row: Implementation, record: BaselineRecord) -> dict[str, Any]:
    figures = record.figures
    return {
        "row": row.name,
        "record": record,
        "batch": record.batch,
        "latency": shown_figure(record.latency_us),
        "throughput": shown_figure(record.throughput_hz),
        "best_batch": number(figures["best_batch"].value) if "best_batch" in figures else "",
        "memory": megabytes(figures.get("gpu_memory_bytes") or figures.get("peak_memory_bytes")),
        "threads": next((text for key, text in record.environment.items() if key.endswith("threads")), ""),
    }


def megabytes(figure: Figure | None) -> str:
    return f"{figure.value / 2**20:,.0f} MiB" if figure else ""


def diagrams(comparison: Comparison) -> dict[str, Any]:
    """The data flow, and the layers of the recommended design."""
    widths = (diagram.WIDE_COLUMNS, diagram.NARROW_COLUMNS)
    found: dict[str, Any] = {"flow": tuple(diagram.data_flow(comparison, width) for width in widths)}
    chosen = diagram.design_of(comparison)
    found["design"] = None
    if chosen:
        row, view = chosen
        found["design"] = row.name
        found["layers"] = tuple(diagram.accelerator(row, view, width) for width in widths)
    return found


def environment(comparison: Comparison) -> dict[str, str]:
    """Versions, machine, threads and seeds; where rows differ, as those of several machines do, each with its rows."""
    told: dict[str, dict[str, list[str]]] = {key: {text: []} for key, text in comparison.environment.items()}
    for row in comparison.rows:
        for part in row.parts:
            for key, text in getattr(part, "environment", {}).items():
                if key not in HIDDEN_ENVIRONMENT:
                    told.setdefault(key, {}).setdefault(str(text), []).append(row.name)
    known = {key: told_apart(texts) for key, texts in told.items()}
    seeds = sorted({part.seed for row in comparison.rows for part in parts(row, TrainView)})
    return known | ({"seeds": ", ".join(map(str, seeds))} if seeds else {})


def told_apart(texts: Mapping[str, Sequence[str]]) -> str:
    """One text as it is; several with the rows that they are of."""
    if len(texts) == 1:
        return next(iter(texts))
    return "; ".join(f"{text} ({listing(sorted(set(rows)), 3)})" if rows else text for text, rows in texts.items())


SECTIONS = {
    "notes": notes,
    "agreement": agreement,
    "findings": findings,
    "stages": stages,
    "precision": precision,
    "baselines": baselines,
    "diagrams": diagrams,
    "environment": environment,
}
