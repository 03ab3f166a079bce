"""Figures of a vendor tool's reports, each with the step it comes from."""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.hls.reports import CosimReport, CsynthReport, UtilizationReport, VendorReports
from toolkit.records import Figure, Source

RESOURCES = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram_18k": "BRAM 18 Kb", "uram": "URAM"}


def reported_figures(reports: VendorReports) -> list[Mapping[str, Figure]]:
    """One mapping per step that ran: csynth, cosim, vsynth."""
    period = reports.csynth.clock_period_ns if reports.csynth else None
    found: list[Mapping[str, Figure]] = []
    if reports.csynth:
        found.append(csynth_figures(reports.csynth))
    if reports.cosim:
        found.append(cosim_figures(reports.cosim, period))
    if reports.utilization:
        found.append(utilization_figures(reports.utilization))
    return found


def csynth_figures(report: CsynthReport) -> dict[str, Figure]:
    """Latency, interval and area of the top function; percent of what the report says is available."""
    top, tool = report.top, report.tool_version
    figures = timing("csynth", top.latency_max, top.interval_max, report.clock_period_ns, tool)
    for key, unit in RESOURCES.items():
        value = getattr(top, key)
        if value is None:
            continue
        figures[key] = Figure(value, unit, "csynth", note=f"{tool}, before placement")
        if report.available.get(key):
            figures[f"{key}_percent"] = Figure(100 * value / report.available[key], "%", "csynth")
    return figures


def cosim_figures(report: CosimReport, period_ns: float | None) -> dict[str, Figure]:
    """Latency and interval as RTL simulation saw them."""
    return timing("cosim", report.latency_avg, report.interval_avg, period_ns, f"{report.rtl} simulation, average")


def utilization_figures(report: UtilizationReport) -> dict[str, Figure]:
    """Area after logic synthesis, or later: the note says how far the design had come."""
    note = f"{report.tool_version}, {report.state}"
    return {key: Figure(getattr(report, key), unit, "vsynth", note=note) for key, unit in RESOURCES.items()}


def timing(
    source: Source, latency: int | None, interval: int | None, period_ns: float | None, note: str
) -> dict[str, Figure]:
    """Cycles, and times at the clock period where it is known."""
    figures: dict[str, Figure] = {}
    if latency is not None:
        figures["latency_cycles"] = Figure(latency, "cycles", source, note=note)
    if interval is not None:
        figures["initiation_interval_cycles"] = Figure(interval, "cycles", source, note=note)
    if period_ns and latency is not None:
        figures["latency_us"] = Figure(latency * period_ns / 1e3, "us", source, note=f"{note}, at {period_ns:g} ns")
    if period_ns and interval:
        rate = 1e9 / (interval * period_ns)
        figures["throughput_hz"] = Figure(rate, "images/s", source, note=f"{note}, at {period_ns:g} ns")
    return figures
