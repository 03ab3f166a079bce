"""Reports of the vendor's tools: csynth, cosim, utilization and timing, read from their text.

Every parser takes the text of one report and returns a frozen record, or raises ``ReportError``
saying which report lacks what. :func:`read_reports` finds the reports of a project that a tool ran in.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from toolkit.errors import ReportError
from toolkit.reading import TEXT_BYTES, blaming, read_bytes

Report = TypeVar("Report")

MOST_DIGITS = 18  # of a figure
LONGEST_LINE = 10_000

RESOURCES = ("bram_18k", "dsp", "ff", "lut", "uram")
RESOURCE_NAMES = {
    "BRAM_18K": "bram_18k",
    "BRAM": "bram_18k",
    "DSP": "dsp",
    "DSP48E": "dsp",
    "FF": "ff",
    "LUT": "lut",
    "URAM": "uram",
}


@dataclass(frozen=True)
class ModuleReport:
    """One HLS module as csynth sees it; a figure the report leaves out is ``None``.

    Latencies and intervals are in cycles; ``clock_ns`` is csynth's own timing estimate.
    """

    name: str
    latency_min: int | None = None
    latency_max: int | None = None
    interval_min: int | None = None
    interval_max: int | None = None
    bram_18k: int | None = None
    dsp: int | None = None
    ff: int | None = None
    lut: int | None = None
    uram: int | None = None
    clock_ns: float | None = None


@dataclass(frozen=True)
class CsynthReport:
    """csynth of a top function: the tool, the target, the whole and its modules."""

    tool_version: str
    part: str
    clock_period_ns: float | None
    uncertainty_ns: float | None
    top: ModuleReport
    available: Mapping[str, int] = field(default_factory=dict)
    modules: tuple[ModuleReport, ...] = ()


@dataclass(frozen=True)
class CosimReport:
    """RTL co-simulation: latency and interval in cycles over the test bench's images."""

    rtl: str
    status: str
    latency_min: int
    latency_avg: int
    latency_max: int
    interval_min: int | None
    interval_avg: int | None
    interval_max: int | None


@dataclass(frozen=True)
class UtilizationReport:
    """Vivado's ``report_utilization``; ``state`` is ``Synthesized``, ``Fully Placed``, ``Routed``, ...

    ``bram_18k`` counts 18 Kb blocks: a Block RAM tile of the report is two.
    """

    state: str
    device: str
    tool_version: str
    lut: int
    ff: int
    bram_18k: int
    dsp: int
    uram: int


@dataclass(frozen=True)
class TimingReport:
    """Vivado's timing summary: worst negative slack and the period it was asked for and reached, in ns."""

    slack_ns: float
    period_ns: float | None
    achieved_ns: float | None


@dataclass(frozen=True)
class VendorReports:
    """What lies in a project that a vendor's tool ran in; ``None`` for what it did not do."""

    csynth: CsynthReport | None = None
    cosim: CosimReport | None = None
    utilization: UtilizationReport | None = None
    timing: TimingReport | None = None

    @property
    def empty(self) -> bool:
        """Whether there is no report at all."""
        return self.csynth is None and self.cosim is None and self.utilization is None and self.timing is None


# csynth, XML ---------------------------------------------------------------------------------


def parse_csynth_xml(text: str) -> CsynthReport:
    """Read ``<top>_csynth.xml`` or ``csynth.xml`` of Vivado HLS or Vitis HLS.

    The parts that are read::

        <ReportVersion><Version>2024.1</Version></ReportVersion>
        <UserAssignments><Part>xcu250-figd2104-2L-e</Part><TopModelName>myproject</TopModelName>
          <TargetClockPeriod>5.00</TargetClockPeriod><ClockUncertainty>1.35</ClockUncertainty></UserAssignments>
        <PerformanceEstimates>...<Best-caseLatency>8</Best-caseLatency>...<Interval-min>1</Interval-min>
        <AreaEstimates><Resources><FF>2674</FF><LUT>16512</LUT><BRAM_18K>0</BRAM_18K><DSP>50</DSP></Resources>

    Raises ``ReportError`` for text that is not such XML.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ReportError("csynth.xml must be plain XML without a document type")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ReportError(f"csynth.xml cannot be read: {error}") from error
    user = root.find("UserAssignments")
    if user is None:
        raise ReportError("csynth.xml has no UserAssignments")
    return CsynthReport(
        tool_version=find_text(root, "ReportVersion/Version"),
        part=find_text(user, "Part").split(":")[-1],
        clock_period_ns=as_float(find_text(user, "TargetClockPeriod")),
        uncertainty_ns=as_float(find_text(user, "ClockUncertainty")),
        top=xml_module(root, find_text(user, "TopModelName")),
        available=xml_resources(root.find("AreaEstimates/AvailableResources")),
        modules=tuple(xml_module(item, find_text(item, "Name")) for item in root.findall("ModuleInformation/Module")),
    )


def find_text(element: ElementTree.Element, path: str) -> str:
    """Text of a child element, ``''`` when it is missing."""
    return (element.findtext(path) or "").strip()


def xml_module(element: ElementTree.Element, name: str) -> ModuleReport:
    """One module's latency and resources."""
    latency = element.find("PerformanceEstimates/SummaryOfOverallLatency")
    if latency is None:
        raise ReportError(f"csynth.xml has no SummaryOfOverallLatency for {name or 'the top function'}")
    area = element.find("AreaEstimates/Resources")
    resources: dict[str, int] = xml_resources(area if area is not None else element.find("AreaEstimates"))
    return ModuleReport(
        name=name,
        latency_min=as_int(find_text(latency, "Best-caseLatency")),
        latency_max=as_int(find_text(latency, "Worst-caseLatency")),
        interval_min=as_int(find_text(latency, "Interval-min") or find_text(latency, "PipelineInitiationInterval")),
        interval_max=as_int(find_text(latency, "Interval-max") or find_text(latency, "PipelineInitiationInterval")),
        clock_ns=as_float(find_text(element, "PerformanceEstimates/SummaryOfTimingAnalysis/EstimatedClockPeriod")),
        **resources,
    )


def xml_resources(element: ElementTree.Element | None) -> dict[str, int]:
    """Resource counts below an element, by our names."""
    if element is None:
        return {}
    found = {RESOURCE_NAMES[child.tag]: as_int(child.text or "") for child in element if child.tag in RESOURCE_NAMES}
    return {name: value for name, value in found.items() if value is not None}


def as_int(text: str) -> int | None:
    """A whole number, or ``None`` for ``-``, ``?``, ``undef`` and the like; ``ReportError`` for an absurd one."""
    match = re.match(r"\s*~?(-?[0-9]+)", text)
    return int(within(match.group(1))) if match else None


def within(digits: str) -> str:
    """The text of a number that a report can hold."""
    if len(digits) > MOST_DIGITS:
        raise ReportError(f"a figure must have at most {MOST_DIGITS} digits, got {len(digits):,}")
    return digits


def as_float(text: str) -> float | None:
    """A number, or ``None``."""
    match = re.match(r"\s*(-?[0-9]+(?:\.[0-9]+)?)", text)
    return float(within(match.group(1))) if match else None


# csynth, text --------------------------------------------------------------------------------


def parse_csynth_rpt(text: str) -> CsynthReport:
    """Read ``<top>_csynth.rpt`` of either tool or the ``csynth.rpt`` summary of Vitis HLS.

    Raises ``ReportError`` when it is neither.
    """
    if "Synthesis Summary Report of" in text:
        return parse_summary(text)
    if "Performance Estimates" in text and "Utilization Estimates" in text:
        return parse_module_rpt(text)
    raise ReportError("csynth.rpt must hold 'Performance Estimates' or be a 'Synthesis Summary Report'")


def header(text: str, name: str) -> str:
    """Value of a ``* Name:  value`` line, ``''`` when it is missing."""
    return value_behind(text, f"* {name}:")


def value_behind(text: str, label: str) -> str:
    """What stands behind a label in the first line that begins with it; ``''`` without one."""
    for line in text.splitlines():
        if line.lstrip().startswith(label):
            return line.split(label, 1)[1].strip()
    return ""


def tool_version(text: str) -> str:
    """``2019.2.1`` of ``* Version: 2019.2.1 (Build ...)``."""
    return header(text, "Version").split(" ")[0]


def table_rows(text: str) -> Iterator[list[str]]:
    """Cells of every ``| a | b |`` line."""
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("|") and stripped.endswith("|"):
            yield [cell.strip() for cell in stripped[1:-1].split("|")]


def section(text: str, title: str, stop: str = r"^=====") -> str:
    """Text from the line with ``title`` up to the next line that matches ``stop``; ``''`` when absent."""
    lines = text.splitlines()
    first = next((number for number, line in enumerate(lines, 1) if title in line), None)
    if first is None:
        return ""
    rule = next(
        (number for number, line in enumerate(lines[first:], first) if line.strip(" =") == "" and "=" in line), 0
    )
    rest = [line for number, line in enumerate(lines[first:], first) if number != rule]
    end = next((number for number, line in enumerate(rest) if re.match(stop, line)), len(rest))
    return "\n".join(rest[:end])


def parse_module_rpt(text: str) -> CsynthReport:
    """A report with one performance and one utilization section.

    ::

        |  Latency (cycles) |  Latency (absolute) |   Interval  | Pipeline |
        |   min   |   max   |    min   |    max   |  min |  max |   Type   |
        |     1752|     1752| 8.760 us | 8.760 us |  1204|  1204| dataflow |
        ...
        |         Name        | BRAM_18K| DSP48E|    FF   |   LUT   | URAM|
        |Total                |       65|    191|    41580|    95370|    0|
        |Available            |     4320|   6840|  2364480|  1182240|  960|
    """
    performance, area = section(text, "Performance Estimates"), section(text, "Utilization Estimates")
    name = re.search(r"Report for '([^']+)'", text)
    timing = next((row for row in table_rows(performance) if row[0] in ("ap_clk", "default")), None)
    latency = next((row for row in table_rows(performance) if len(row) == 7 and as_int(row[0]) is not None), None)
    if latency is None:
        raise ReportError(f"csynth.rpt of {name.group(1) if name else 'the top function'} has no latency table")
    columns, totals, available = resource_table(area)
    own = ModuleReport(
        name=name.group(1) if name else "",
        latency_min=as_int(latency[0]),
        latency_max=as_int(latency[1]),
        interval_min=as_int(latency[4]),
        interval_max=as_int(latency[5]),
        clock_ns=as_float(timing[2]) if timing else None,
        **dict(zip(columns, totals, strict=False)),
    )
    return CsynthReport(
        tool_version=tool_version(text),
        part=header(text, "Target device"),
        clock_period_ns=as_float(timing[1]) if timing else None,
        uncertainty_ns=as_float(timing[3]) if timing else None,
        top=own,
        available={key: value for key, value in zip(columns, available, strict=False) if value is not None},
        modules=instances(performance, area),
    )


def resource_table(area: str) -> tuple[list[str], list[int | None], list[int | None]]:
    """Columns, ``Total`` and ``Available`` of the utilization summary; raises ``ReportError`` without a total."""
    columns: list[str] = []
    totals: list[int | None] = []
    available: list[int | None] = []
    for row in table_rows(area):
        if row[0] == "Name" and not columns:
            columns = [RESOURCE_NAMES.get(cell, cell) for cell in row[1:]]
        elif row[0] == "Total" and not totals:
            totals = [as_int(cell) for cell in row[1:]]
        elif row[0] == "Available" and not available:
            available = [as_int(cell) for cell in row[1:]]
    if not columns or not totals:
        raise ReportError("csynth.rpt has no utilization summary with a Total")
    return columns, totals, available


def instances(performance: str, area: str) -> tuple[ModuleReport, ...]:
    """Modules instantiated in the top, from the two detail tables."""
    cycles = {row[0]: row for row in table_rows(section(performance, "* Instance:", r"\* Loop:")) if len(row) == 9}
    modules = []
    columns: list[str] = []
    for row in table_rows(section(area, "* Instance:", r"^\s*\* ")):
        if row[0] == "Instance":
            columns = [RESOURCE_NAMES.get(cell, cell) for cell in row[2:]]
        elif columns and row[0] not in ("Total", ""):
            latency = cycles.get(row[0])
            numbers = dict(zip(columns, (as_int(cell) for cell in row[2:]), strict=False))
            modules.append(instance(row, numbers, latency))
    return tuple(modules)


def instance(row: Sequence[str], numbers: Mapping[str, int | None], latency: Sequence[str] | None) -> ModuleReport:
    """One instantiated module."""
    resources: dict[str, int | None] = {name: numbers.get(name) for name in RESOURCES}
    if latency is None:
        return ModuleReport(name=row[1], **resources)
    return ModuleReport(
        name=row[1],
        latency_min=as_int(latency[2]),
        latency_max=as_int(latency[3]),
        interval_min=as_int(latency[6]),
        interval_max=as_int(latency[7]),
        **resources,
    )


def parse_summary(text: str) -> CsynthReport:
    """The ``csynth.rpt`` of Vitis HLS: a tree of modules, ``+`` before a module, ``o`` before a loop.

    ::

        |+ myproject  |  II|  0.09|  8|  40.000|  -|  1|  -|  yes|  -|  50 (~0%)|  2674 (~0%)|  16512 (~0%)|  -|
        | + relu_...  |  II|  2.57|  0|   0.000|  -|  1|  -|  yes|  -|         -|           -|    490 (~0%)|  -|

    Columns: issue, slack, latency in cycles and ns, iteration latency, interval, trip count, pipelined, BRAM,
    DSP, FF, LUT, URAM. A figure of ``-`` is none used.
    """
    table = section(text, "Performance & Resource Estimates")
    rows = [row for row in table_rows(table) if len(row) == 14 and re.match(r"^[+*]", row[0])]
    if not rows:
        raise ReportError("the synthesis summary has no module lines")
    modules = [summary_module(row) for row in rows]
    return CsynthReport(
        tool_version=tool_version(text),
        part=header(text, "Target device"),
        clock_period_ns=None,
        uncertainty_ns=None,
        top=modules[0],
        modules=tuple(modules[1:]),
    )


def summary_module(row: Sequence[str]) -> ModuleReport:
    """One line of the summary."""
    latency, interval = as_int(row[3]), as_int(row[6])
    counts = {name: as_int(cell) or 0 for name, cell in zip(RESOURCES, row[9:14], strict=True)}
    return ModuleReport(
        name=row[0].lstrip("+* "),
        latency_min=latency,
        latency_max=latency,
        interval_min=interval,
        interval_max=interval,
        **counts,
    )


# cosim, Vivado -----------------------------------------------------------------------------------


def parse_cosim_rpt(text: str) -> CosimReport:
    """Read ``<top>_cosim.rpt``; raises ``ReportError`` when no RTL was simulated.

    ::

        |   Verilog|      Pass|           1966|           2355|           2694|            476|  984|  1492|
    """
    for row in table_rows(text):
        numbers = [as_int(cell) for cell in row[2:8]]
        if row[0] in ("Verilog", "VHDL") and len(numbers) == 6 and numbers[0] is not None:
            low, mean, high = numbers[0], numbers[1] or numbers[0], numbers[2] or numbers[0]
            return CosimReport(row[0], row[1], low, mean, high, *numbers[3:6])
    raise ReportError("cosim.rpt has no line of a simulated RTL (Verilog or VHDL with cycles)")


UTILIZATION_LINES = {
    "lut": ("CLB LUTs", "Slice LUTs"),
    "ff": ("CLB Registers", "Slice Registers"),
    "bram_18k": ("Block RAM Tile",),
    "dsp": ("DSPs",),
    "uram": ("URAM",),
}


def parse_utilization(text: str) -> UtilizationReport:
    """Read ``report_utilization`` of Vivado, after synthesis or later.

    ::

        | Design State : Synthesized
        | CLB LUTs*                  | 52255 |     0 |   1182240 |  4.42 |
        | Block RAM Tile    | 14.5 |     0 |      2160 |  0.67 |

    Raises ``ReportError`` naming what is missing.
    """
    used: dict[str, float] = {}
    for row in table_rows(text):
        label = row[0].rstrip("*")
        for name, labels in UTILIZATION_LINES.items():
            if label in labels and name not in used and len(row) > 1 and (value := as_float(row[1])) is not None:
                used[name] = value
    missing = [labels[0] for name, labels in UTILIZATION_LINES.items() if name not in used and name != "uram"]
    if missing:
        raise ReportError(f"the utilization report lacks {', '.join(missing)}")
    return UtilizationReport(
        state=line_value(text, "Design State"),
        device=line_value(text, "Device"),
        tool_version=vivado_version(text),
        lut=int(used["lut"]),
        ff=int(used["ff"]),
        bram_18k=round(2 * used["bram_18k"]),
        dsp=int(used["dsp"]),
        uram=int(used.get("uram", 0)),
    )


def line_value(text: str, name: str) -> str:
    """Value of a ``| Name : value`` line, ``''`` when it is missing."""
    for line in text.splitlines():
        label, colon, value = line.partition(":")
        if colon and label.startswith("|") and label[1:].strip() == name:
            return value.strip()
    return ""


def vivado_version(text: str) -> str:
    """``2019.2.1`` of ``Vivado v.2019.2.1 (lin64)``."""
    match = re.search(r"Vivado v\.(\d{4}\.\d(?:\.\d+)?)", text)
    return match.group(1) if match else ""


def parse_timing(text: str) -> TimingReport:
    """Read ``report_timing_summary`` of Vivado or the ``<top>_export.rpt`` of Vivado HLS.

    ::

            WNS(ns)      TNS(ns)  TNS Failing Endpoints ...
            -------      -------  ---------------------
             -1.321    -1169.916                   3544
        ...
        ap_clk  {0.000 2.500}        5.000           200.000

    Raises ``ReportError`` when there is no slack or period.
    """
    required = as_float(value_behind(text, "CP required:"))
    achieved = next((as_float(line.split(":", 1)[1]) for line in text.splitlines() if ACHIEVED.match(line)), None)
    if required is not None and achieved is not None:
        return TimingReport(round(required - achieved, 3), required, achieved)
    worst = slack_of(text)
    if worst is None:
        raise ReportError("the timing report has no WNS(ns) in a design timing summary")
    periods = (PERIOD.fullmatch(" ".join(line.split())) for line in text.splitlines() if len(line) < LONGEST_LINE)
    period = next((match for match in periods if match), None)
    wanted = as_float(period.group(1)) if period else None
    return TimingReport(worst, wanted, None if wanted is None else round(wanted - worst, 3))


ACHIEVED = re.compile(r"\s*CP achieved post-\w+:")
PERIOD = re.compile(r"\w+ \{[^}]*\} ([\d.]+) [\d.]+")


def slack_of(text: str) -> float | None:
    """The first number below the rule under ``WNS(ns)``."""
    lines = iter(text.splitlines())
    for line in lines:
        if "WNS(ns)" in line:
            below = (line for line in lines if line.strip(" \t-"))
            return as_float(next(below, ""))
    return None


# Folders ---------------------------------------------------------------------------------------


def read_reports(folder: Path) -> VendorReports:
    """The reports below a folder: a project a tool ran in, one of its solutions, or a plain collection of files.

    Raises ``ReportError`` when there is none, or naming a file that cannot be parsed.
    """
    found = VendorReports(
        csynth=read_csynth(folder),
        cosim=read_first(folder, ("*_cosim.rpt",), parse_cosim_rpt),
        utilization=read_first(folder, ("vivado_synth.rpt", "*utilization*.rpt", "util.rpt"), parse_utilization),
        timing=read_first(folder, ("*timing*.rpt", "*_export.rpt"), parse_timing),
    )
    if found.empty:
        raise ReportError(
            f"{folder} holds no vendor report; looked for *_csynth.xml, csynth.rpt, *_cosim.rpt, "
            "vivado_synth.rpt, *utilization*.rpt and *timing*.rpt below it"
        )
    return found


def read_csynth(folder: Path) -> CsynthReport | None:
    """csynth of the top function: the XML of the top module completed by the modules of the other reports."""
    summaries = sorted(folder.rglob("csynth.xml")) + sorted(folder.rglob("csynth.rpt"))
    if summaries:
        return parse_file(summaries[0], parse_csynth_xml if summaries[0].suffix == ".xml" else parse_csynth_rpt)
    files = sorted(folder.rglob("*_csynth.xml")) or sorted(folder.rglob("*_csynth.rpt"))
    if not files:
        return None
    parser = parse_csynth_xml if files[0].suffix == ".xml" else parse_csynth_rpt
    reports = [parse_file(path, parser) for path in files]
    top = max(reports, key=lambda report: ((report.top.lut or 0) + (report.top.ff or 0), report.top.latency_max or 0))
    others = tuple(report.top for report in reports if report is not top)
    return CsynthReport(**{**vars(top), "modules": top.modules or others})


def read_first(folder: Path, patterns: tuple[str, ...], parser: Callable[[str], Report]) -> Report | None:
    """The first file that matches one of the patterns, parsed; ``None`` without one."""
    for pattern in patterns:
        for path in sorted(folder.rglob(pattern)):
            return parse_file(path, parser)
    return None


def parse_file(path: Path, parser: Callable[[str], Report]) -> Report:
    """Parse one report; its errors name the file."""
    text = read_bytes(path, TEXT_BYTES, ReportError).decode(errors="replace")
    try:
        with blaming(path, ReportError):
            return parser(text)
    except ReportError as error:
        raise error if str(path) in str(error) else ReportError(f"{error}\n  in {path}") from error
