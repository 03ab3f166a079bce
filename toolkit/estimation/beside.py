"""Estimates beside what the vendor's tools reported, figure by figure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from toolkit import records
from toolkit.errors import ReportError
from toolkit.hls.network import network_of
from toolkit.hls.reports import CsynthReport, ModuleReport, VendorReports
from toolkit.network import Graph
from toolkit.records import Estimate, Figure, HlsProject, LayerEstimate, Source

CONFIGURED = re.compile(r"config(\d+)(?:_s)?(?:_U\d+)?$")  # hls4ml's number of a layer in the name of a module
CLOCK_DIGITS = 0.01  # ns, what reports print
CSYNTH_QUANTITIES = ("dsp", "lut", "ff", "bram_18k", "uram")


@dataclass(frozen=True)
class Beside:
    """One quantity of the design (``layer`` is ``None``) or of a layer, estimated and reported."""

    layer: str | None
    quantity: str
    estimated: Figure
    reported: Figure

    @property
    def error(self) -> float | None:
        """Relative error of the estimate; ``None`` when the report says 0."""
        return self.estimated.value / self.reported.value - 1 if self.reported.value else None

    @property
    def inside(self) -> bool:
        """Whether the reported figure lies in the estimate's interval."""
        low = self.estimated.value if self.estimated.low is None else self.estimated.low
        high = self.estimated.value if self.estimated.high is None else self.estimated.high
        return low <= self.reported.value <= high


def put_beside(
    estimated: Estimate, reports: VendorReports, graph: Graph | records.Graph | None = None
) -> tuple[Beside, ...]:
    """Every figure that both the estimate and the reports have.

    With the graph, modules of csynth are matched to layers by hls4ml's configuration number in
    their names (``..._config2_s`` is the layer of index 2).
    """
    return (*design_rows(estimated, reports), *layer_rows(estimated, reports, graph))


def check_reports(reports: VendorReports, project: HlsProject) -> None:
    """Raise ``ReportError`` for reports of another design: by its name, part, clock or layers."""
    csynth = reports.csynth
    if csynth is None:
        return
    theirs, ours = csynth.clock_period_ns, project.config.clock_period_ns
    numbers = {int(found[1]) for module in csynth.modules if (found := CONFIGURED.search(module.name))}
    known = {layer.index for layer in network_of(project).layers if layer.index is not None}
    different = [
        f"{what} {reported}, the project's {own}"
        for what, reported, own, same in (
            ("top function", csynth.top.name, project.top, csynth.top.name == project.top),
            ("part", csynth.part, project.config.part, letters(csynth.part) == letters(project.config.part)),
            ("clock period (ns)", theirs, ours, theirs is None or abs(theirs - ours) < CLOCK_DIGITS),
            ("layers of numbers", sorted(numbers), sorted(known), numbers <= known),
        )
        if not same
    ]
    if different:
        raise ReportError(f"the reports are of another design than {project.path}: {'; '.join(different)}")


def letters(part: str) -> str:
    """A part as tools spell it, without what separates its pieces."""
    return re.sub(r"[^a-z0-9]", "", part.lower())


def design_rows(estimated: Estimate, reports: VendorReports) -> Iterator[Beside]:
    """The whole design: csynth, cosim and vsynth figures."""
    if reports.csynth is not None:
        worst = estimated.figures.get("latency_csynth_cycles", estimated.latency_cycles)
        busiest = estimated.figures.get("initiation_interval_csynth_cycles", estimated.initiation_interval_cycles)
        yield from module_rows(None, estimated, reports.csynth.top, worst, busiest)
    if reports.cosim is not None:
        yield Beside(None, "latency_cycles", estimated.latency_cycles, cycles(reports.cosim.latency_max, "cosim"))
        if reports.cosim.interval_max is not None:
            measured = cycles(reports.cosim.interval_max, "cosim")
            yield Beside(None, "initiation_interval_cycles", estimated.initiation_interval_cycles, measured)
    if reports.utilization is not None:
        for name in ("dsp", "lut", "ff", "bram_18k"):
            placed = estimated.figures.get(f"{name}_placed")
            if placed is not None:
                measured = Figure(getattr(reports.utilization, name), placed.unit, "vsynth")
                yield Beside(None, f"{name}_placed", placed, measured)


def module_rows(
    name: str | None, estimated: Estimate | LayerEstimate, module: ModuleReport, latency: Figure, interval: Figure
) -> Iterator[Beside]:
    """csynth figures of one module beside an estimate of it."""
    if module.latency_max is not None:
        yield Beside(name, "latency_cycles", latency, cycles(module.latency_max, "csynth"))
    if module.interval_max is not None:
        yield Beside(name, "initiation_interval_cycles", interval, cycles(module.interval_max, "csynth"))
    for quantity in CSYNTH_QUANTITIES:
        reported = getattr(module, quantity)
        if reported is not None:
            own: Figure = getattr(estimated, quantity)
            yield Beside(name, quantity, own, Figure(reported, own.unit, "csynth"))


def layer_rows(estimated: Estimate, reports: VendorReports, graph: Graph | records.Graph | None) -> Iterator[Beside]:
    """csynth figures of the modules that are layers."""
    if graph is None or reports.csynth is None:
        return
    layers = {layer.name: layer for layer in estimated.layers}
    for name, module in layer_modules(reports.csynth, network_of(graph)).items():
        if (layer := layers.get(name)) is not None:
            yield from module_rows(name, layer, module, layer.latency_cycles, layer.initiation_interval_cycles)


def layer_modules(csynth: CsynthReport, graph: Graph) -> dict[str, ModuleReport]:
    """The module of each layer that has one: by hls4ml's configuration number in its name.

    A layer's function calls others of the same number (line buffer, kernel); the outermost is the one
    that holds the most, since csynth counts what a module instantiates as its own.
    """
    names = {layer.index: layer.name for layer in graph.layers if layer.index is not None}
    found: dict[str, ModuleReport] = {}
    for module in csynth.modules:
        number = CONFIGURED.search(module.name)
        name = names.get(int(number[1])) if number else None
        if name is not None and (name not in found or extent(module) > extent(found[name])):
            found[name] = module
    return found


def extent(module: ModuleReport) -> tuple[int, int]:
    """What orders a module and those it calls: cycles, then LUTs."""
    return module.latency_max or 0, module.lut or 0


def cycles(value: int, source: Source) -> Figure:
    """Reported cycles as a figure."""
    return Figure(value, "cycles", source)
