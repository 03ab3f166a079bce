"""Latency and resources of a converted design, every figure with an interval and its source.

``analyze`` reads a graph once (weights, shapes, types); ``estimate`` and ``estimate_variants`` put
figures on it for a part, clock, tool, strategy and reuse factor. What does not change between
variants is computed once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from toolkit import records
from toolkit.arguments import optional
from toolkit.config import EstimateConfig, HlsConfig, LayerHlsConfig
from toolkit.devices import RESOURCES, Device, family_of, find_device
from toolkit.errors import ConfigError
from toolkit.estimation.area import NOTHING_BETWEEN, Area, FifoArea, area_of, fifo_area
from toolkit.estimation.assembly import assembled
from toolkit.estimation.calibration import (
    SHIPPED,
    UNSEEN_BOUNDS,
    Calibration,
    design_residual,
    interval,
    kind_key,
    load_calibration,
    nearest_residual,
    outside,
    predict,
    tool_class,
)
from toolkit.estimation.costs import Work, energy_figure, work_of
from toolkit.estimation.cycles import Clock, Cycles, cycles_of
from toolkit.estimation.dataflow import (
    Depths,
    Flow,
    Simulation,
    flow_of,
    needed_depths,
    simulate,
    unbounded,
)
from toolkit.estimation.stages import MATRIX_KINDS, UNPRICED, Stage, stages_of
from toolkit.estimation.tools import parse_tool
from toolkit.estimation.weights import block_bits
from toolkit.hls import reuse
from toolkit.hls.folder import as_project
from toolkit.hls.network import network_of
from toolkit.hls.progress import underway
from toolkit.network import Graph, Layer
from toolkit.network.layers import Matrix
from toolkit.records import Estimate, FifoEstimate, Figure, HlsProject, LayerEstimate

TOTALS = ("latency_cycles", "initiation_interval_cycles", "latency_us", "throughput_hz", "energy_uj")
NOT_SUMMED = ("host_overhead_us", "fifo_saving_bram_18k")  # further figures that hold whatever the layers need
UNITS = {"dsp": "DSP", "lut": "LUT", "ff": "FF", "bram_18k": "BRAM18K", "uram": "URAM"}
DEFAULT_TOOL = {"Vitis": "vitis_hls 2023.2", "Vivado": "vivado_hls 2020.1"}

# vsynth (logic synthesis) over csynth: lowest, middle and highest of the designs of the calibration that have
# both; 11 designs with Vivado HLS 2019.2-2020.1, none of them redistributable (PokerML, HLS4ML_VS_MANUAL,
# fastmachinelearning/hls4ml-tutorial, Keb-L/hls4ml-data).
PLACED = {
    "latency": {
        "lut": (0.45, 0.56, 0.71),
        "ff": (0.70, 0.80, 1.0),
        "dsp": (0.98, 1.0, 1.23),
        "bram_18k": (0.43, 0.65, 0.84),
    },
    "resource": {
        "lut": (0.09, 0.25, 0.56),
        "ff": (0.66, 0.77, 1.22),
        "dsp": (0.98, 1.0, 1.05),
        "bram_18k": (0.40, 0.62, 0.84),
    },
}

# Latency with FIFOs simulated over latency without: 5th and 95th percentile of 320 designs of 40 random
# streamed networks (convolutions, depthwise, pooling, dense; RF 1 to 40), measured with this module.
QUICK_SPREAD = (0.93, 1.04)
FIVE_PERCENT = 1.6448536269514722  # standard deviations that leave a twentieth outside
SURE = 0.999  # a chance nobody needs to be told of


@dataclass(frozen=True, eq=False)
class Analysis:
    """What a network says once and for all: stages with the facts of their weights, and work."""

    graph: Graph
    config: HlsConfig
    stages: tuple[Stage, ...]
    work: tuple[Work, ...]
    digest: str | None = None
    memory: dict[object, Any] = field(default_factory=dict, repr=False)  # results by what they depend on


@dataclass(frozen=True, eq=False)
class LayerResult:
    """One stage under one clock: cycles, area and the estimate made of them."""

    stage: Stage
    cycles: Cycles
    area: Area
    estimate: LayerEstimate
    profile: tuple[float, float, float]  # see stage_profile
    dynamic_pj: float


@dataclass(frozen=True, eq=False)
class Setting:
    """Everything a variant fixes besides the stages: clock, device, calibration."""

    clock: Clock
    device: Device | None
    calibration: Calibration
    config: EstimateConfig
    hls: HlsConfig


def analyze(subject: HlsProject | records.Graph | Graph | str | Path, config: HlsConfig | None = None) -> Analysis:
    """Read a project, or a graph with the configuration it was converted with.

    Raises ``ConfigError`` when a graph comes without its configuration.
    """
    if isinstance(subject, (str, Path)):
        subject = as_project(subject)
    if isinstance(subject, HlsProject):
        return replace(analyze(subject.graph, config or subject.config), digest=subject.digest)
    if config is None:
        raise ConfigError("a graph needs the HlsConfig it was converted with; a project carries its own")
    network = network_of(subject)
    with underway("reading the weights"):
        stages = stages_of(network, config)
        return Analysis(network, config, stages, tuple(map(work_of, stages)))


def estimate(
    subject: HlsProject | records.Graph | Graph | Analysis | str | Path,
    config: EstimateConfig | None = None,
    *,
    hls: HlsConfig | None = None,
) -> Estimate:
    """Estimate a written project (or its folder), a converted graph (with ``hls``) or an analysis.

    Raises ``ConfigError`` for an unknown tool, part family or a reuse factor that hls4ml would move.
    """
    optional("the configuration", config, EstimateConfig)
    optional("hls", hls, HlsConfig)
    with underway("estimating"):
        analysis = subject if isinstance(subject, Analysis) else analyze(subject, hls)
        chosen = config or EstimateConfig()
        wanted = hls if hls is not None and isinstance(subject, Analysis) else analysis.config
        return estimate_one(analysis, setting_of(wanted, chosen))


def estimate_variants(
    analysis: Analysis, variants: Iterable[HlsConfig], config: EstimateConfig | None = None
) -> Iterator[Estimate]:
    """Estimate many configurations of one network: reuse factor, strategy, part, clock, per layer if named.

    Types and io_type stay those of the conversion. FIFOs are not simulated unless ``config`` says so:
    by default latency and interval come from the first and last token of each stage.
    """
    chosen = config or EstimateConfig(fifo_simulation=False)
    for variant in variants:
        yield estimate_one(analysis, setting_of(variant, chosen))


def setting_of(hls: HlsConfig, config: EstimateConfig) -> Setting:
    """Clock, device and calibration of a configuration."""
    tool = parse_tool(config.tool or DEFAULT_TOOL[hls.backend])
    device = find_device(hls.part, config.devices)
    family = device.family if device is not None else family_of(hls.part, config.devices)
    percent = config.clock_uncertainty_percent
    uncertainty = None if percent is None else percent / 100 * hls.clock_period_ns
    clock = Clock(hls.clock_period_ns, tool, family, uncertainty, hls.part)
    return Setting(clock, device, load_calibration(config.calibration or SHIPPED), config, hls)


def estimate_one(analysis: Analysis, setting: Setting) -> Estimate:
    """Estimate one configuration of an analysed network."""
    hls, own = setting.hls, setting.hls.of_layers([stage.name for stage in analysis.stages])
    stages = as_processes([varied(stage, analysis, hls, own.get(stage.name)) for stage in analysis.stages], analysis)
    results = [
        layer_result(analysis, index, stage, setting)
        for index, stage in enumerate(stages)
        if stage.kind not in ("input", "wire", UNPRICED)
    ]
    stream = hls.io_type == "io_stream"
    timing = stream_timing(analysis, stages, results, setting) if stream else parallel_timing(results, setting)
    found = assemble(analysis, setting, results, timing)
    unpriced = tuple(stage.name for stage in stages if stage.kind == UNPRICED)
    return bounded(found, unpriced, analysis.graph) if unpriced else found


def bounded(found: Estimate, unpriced: Sequence[str], graph: Graph) -> Estimate:
    """An estimate without some of its layers: what all layers together need is at least, or at most, each figure.

    It may be known that the rest alone does not fit; that everything fits never is.
    """
    named = ", ".join(f"{name} ({graph.layer(name).origin or graph.layer(name).kind})" for name in unpriced)
    totals: dict[str, Any] = {name: bound_of(getattr(found, name), named) for name in (*TOTALS, *RESOURCES)}
    sums = {name: bound_of(figure, named) for name, figure in found.figures.items() if name not in NOT_SUMMED}
    return replace(
        found,
        **totals,
        utilization={name: bound_of(figure, named) for name, figure in found.utilization.items()},
        fits=None if found.fits else found.fits,
        fit_probability=None,
        notes=(f"no estimate has a model for {named}: every total is a bound without it", *found.notes),
        figures={**found.figures, **sums},
        unpriced=tuple(unpriced),
    )


def bound_of(figure: Figure, unpriced: str) -> Figure:
    """A sum over all layers but some, which has no upper end (a rate: no lower end)."""
    note = f"without {unpriced}" + (f"; {figure.note}" if figure.note else "")
    if figure.unit == "1/s":
        return replace(figure, low=None, note=note, bound="upper")
    return replace(figure, high=None, note=note, bound="lower")


# Variants ------------------------------------------------------------------------------------


def varied(stage: Stage, analysis: Analysis, hls: HlsConfig, own: LayerHlsConfig | None) -> Stage:
    """A stage with strategy and reuse factor of another configuration (``own`` of this layer); itself if the same."""
    if hls is analysis.config or stage.kind not in (*MATRIX_KINDS, "softmax", "scale"):
        return stage
    layer = analysis.graph.layer(stage.name)
    strategy = built_strategy(layer, hls, own).lower()
    factor = (own.reuse_factor if own else None) or hls.reuse_factor
    if isinstance(layer, Matrix):
        factor = built_factor(layer, hls, strategy, factor)
    if (strategy, factor) == (stage.strategy, stage.reuse_factor):
        return stage
    key = ("stage", stage.name, strategy, factor)
    if key not in analysis.memory:
        changed = replace(stage, strategy=strategy, reuse_factor=factor)
        top = top_block_bits(changed, analysis) if changed.resource else -1
        analysis.memory[key] = replace(changed, last_block_bits=top) if top != changed.last_block_bits else changed
    found: Stage = analysis.memory[key]
    return found


def built_strategy(layer: Layer, hls: HlsConfig, own: LayerHlsConfig | None) -> str:
    """The strategy a layer is converted with: Latency where hls4ml does not have the one asked for."""
    strategy = (own.strategy if own else None) or hls.strategy
    return "Latency" if reuse.missing_strategy(layer.kind, hls.io_type, strategy) else strategy


def built_factor(layer: Matrix, hls: HlsConfig, strategy: str, wanted: int) -> int:
    """The reuse factor a matrix layer is converted with.

    Raises ``ConfigError`` for one that hls4ml would move or compute wrongly where the configuration wants it exact.
    """
    taken, problem = reuse.take_reuse_factor(layer.name, layer.kind, layer.matrix_size, hls.io_type, strategy, wanted)
    if problem and hls.invalid_reuse_factor == "error":
        raise ConfigError(f'{problem} (invalid_reuse_factor = "nearest" takes {taken})')
    return taken


def top_block_bits(stage: Stage, analysis: Analysis) -> int:
    """Bits used by the top block of a Resource ROM (see ``block_bits``)."""
    layer = analysis.graph.layer(stage.name)
    if not isinstance(layer, Matrix):
        return -1
    return block_bits(layer.weight.integers.reshape(-1, layer.weight.shape[-1]), stage.reuse_factor)


def as_processes(stages: list[Stage], analysis: Analysis) -> list[Stage]:
    """The stages, each marked as a process of its own where an io_parallel design is a dataflow."""
    if analysis.config.io_type == "io_stream" or not any(stage.makes_dataflow for stage in stages):
        return stages
    marked = []
    for index, stage in enumerate(stages):
        key = ("process", index, stage.strategy, stage.reuse_factor)
        if key not in analysis.memory:
            analysis.memory[key] = replace(stage, process=True)
        marked.append(analysis.memory[key])
    return marked


# Layers --------------------------------------------------------------------------------------


def layer_result(analysis: Analysis, index: int, stage: Stage, setting: Setting) -> LayerResult:
    """One layer's estimate, remembered by what it depends on."""
    key = (index, stage.strategy, stage.reuse_factor, stage.process, setting.clock, setting.calibration.digest)
    found = analysis.memory.get(key)
    if found is None:
        cycles, area = cycles_of(stage, setting.clock), area_of(stage, setting.clock)
        made = layer_estimate(stage, cycles, area, analysis.work[index], setting)
        found = analysis.memory[key] = LayerResult(
            stage, cycles, area, made, stage_profile(stage, cycles), work_of(stage).dynamic_pj
        )
    return found


def layer_estimate(stage: Stage, cycles: Cycles, area: Area, work: Work, setting: Setting) -> LayerEstimate:
    """Figures of one layer."""
    clock, calibration = setting.clock, setting.calibration
    notes = outside(calibration, stage, clock)
    unseen = f"{kind_key(stage)}|{tool_class(clock)}" not in calibration.ranges
    spread = Spread(kind_key(stage), tool_class(clock), calibration, stretched=bool(notes) and not unseen)
    lut, ff = (predict(area, clock, calibration, quantity) for quantity in ("lut", "ff"))
    return LayerEstimate(
        name=stage.name,
        kind=stage.kind,
        latency_cycles=spread.figure("latency_cycles", cycles.high, "cycles"),
        initiation_interval_cycles=spread.figure("interval_cycles", cycles.interval, "cycles"),
        dsp=spread.figure("dsp", area.dsp, "DSP"),
        lut=spread.figure("lut", round(lut), "LUT"),
        ff=spread.figure("ff", round(ff), "FF"),
        bram_18k=spread.figure("bram_18k", area.bram_18k, "BRAM18K"),
        uram=Figure(area.uram, "URAM", "model"),
        notes=tuple(notes),
        figures=layer_figures(stage, cycles, work),
    )


# Single-image times measured on PYNQ-class boards, less the kernel.
HOST_OVERHEAD = Figure(
    845.0, "us", "model", 750.0, 940.0, "PYNQ-class boards: bare-metal AXI 0.75 ms, Python and DMA 0.94 ms an image"
)
BUSY = "of one image, only the pixels that complete a window paying for one (csynth counts all of them)"


def layer_figures(stage: Stage, cycles: Cycles, work: Work) -> dict[str, Figure]:
    """Further figures of a layer: pipeline depth and, with weights, work and memory."""
    figures = {
        "latency_min_cycles": Figure(cycles.low, "cycles", "model"),
        "depth_cycles": Figure(cycles.depth, "cycles", "model", note="from the last input of an output to that output"),
        "reuse_factor": Figure(stage.reuse_factor, "", "counted"),
    }
    if stage.stream:
        busy, _, _ = stage_profile(stage, cycles)
        figures["busy_cycles"] = Figure(round(busy), "cycles", "model", note=BUSY)
    return figures | (work_figures(work) if work.macs else {})


def work_figures(work: Work) -> dict[str, Figure]:
    """Exact counts of work and memory."""
    return {
        "macs": Figure(work.macs, "MAC", "counted"),
        "nonzero_macs": Figure(work.nonzero_macs, "MAC", "counted"),
        "bops": Figure(work.bops, "BOP", "counted", note="UNIQ, Baskin et al. 2021"),
        "ebops": Figure(work.ebops, "EBOP", "counted", note="HGQ, arXiv:2405.00645, from the weights' own bits"),
        "parameters": Figure(work.weights, "", "counted"),
        "weight_bits": Figure(work.weight_bits, "bit", "counted"),
    }


@dataclass(frozen=True, eq=False)
class Spread:
    """Turns a value into a figure with the interval that its kind of layer earned in the calibration."""

    kind: str
    tool_class: str
    calibration: Calibration
    stretched: bool = False  # outside the calibrated ranges of its kind and class

    def figure(self, quantity: str, value: float, unit: str) -> Figure:
        """A figure of one quantity."""
        residual = nearest_residual(self.calibration, self.kind, self.tool_class, quantity)
        low, high = interval(value, UNSEEN_BOUNDS if residual is None else (residual.low, residual.high))
        if self.stretched:
            low, high = value - 1.5 * (value - low), value + 1.5 * (high - value)
        return Figure(value, unit, "model", low=max(low, 0.0), high=high, note=self.calibration.label)


# Timing --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Timing:
    """Latency and interval of the whole design and, for streams, its FIFOs."""

    latency: int
    interval: int
    latency_worst: int
    interval_worst: int
    fifos: tuple[FifoEstimate, ...] = ()
    notes: tuple[str, ...] = ()
    stalled: tuple[str, ...] = ()
    simulated: bool = False
    latency_spread: tuple[float, float] = (1.0, 1.0)
    between: FifoArea = NOTHING_BETWEEN  # what joins the layers of an io_parallel design


def parallel_timing(results: Sequence[LayerResult], setting: Setting) -> Timing:
    """io_parallel: one pipeline when every layer is Latency or distributed arithmetic, else a dataflow of layers."""
    made = assembled([(result.stage, result.cycles) for result in results], setting.clock)
    return Timing(made.latency, made.interval, made.latency, made.interval, between=made.between)


def stream_timing(
    analysis: Analysis, stages: Sequence[Stage], results: Sequence[LayerResult], setting: Setting
) -> Timing:
    """io_stream: the network simulated token by token, or bounded by first and last tokens."""
    network = flow_of(analysis.graph, stages, setting.clock) if setting.config.fifo_simulation else None
    if network is None:
        return quick_timing(analysis, stages, results, setting)
    images = setting.config.images
    with underway("simulating the streams"):
        free = simulate(network, images=images, depths=unbounded(network))
        written = simulate(network, images=images)
        worst_network = flow_of(analysis.graph, stages, setting.clock, worst=True)
        worst = simulate(worst_network, images=images, depths=unbounded(worst_network))
    with underway("searching FIFO depths"):
        depths = needed_depths(network, free, images=images)
    best = free if written.deadlocked else written
    notes = () if depths.searched else ("network too large for the depth search: needed depths are the peaks",)
    return Timing(
        latency=best.latency_cycles,
        interval=best.interval_cycles,
        latency_worst=worst.latency_cycles,
        interval_worst=worst.interval_cycles,
        fifos=fifo_estimates(analysis.graph, network, depths, setting.clock),
        notes=(*notes, *stall_notes(written, free)),
        stalled=written.deadlocked,
        simulated=True,
    )


def stall_notes(written: Simulation, free: Simulation) -> tuple[str, ...]:
    """What the FIFO depths of the project cost, in words."""
    if written.deadlocked:
        return (f"deadlock with the project's FIFO depths: {', '.join(written.deadlocked)} never end",)
    lost = written.latency_cycles - free.latency_cycles, written.interval_cycles - free.interval_cycles
    if max(lost) > 0:
        return (f"the project's FIFO depths cost {lost[0]} cycles of latency and {lost[1]} of interval",)
    return ()


def fifo_estimates(graph: Graph, network: Flow, depths: Depths, clock: Clock) -> tuple[FifoEstimate, ...]:
    """Default and needed depth of each stream and what both cost in BRAM."""
    return tuple(
        fifo_estimate(name, graph, network.depths[name], depths.needed[name], depths.peak[name], clock)
        for name in network.depths
        if name in depths.needed
    )


def fifo_estimate(name: str, graph: Graph, default: int, needed: int, peak: int, clock: Clock) -> FifoEstimate:
    """One stream."""
    tensor = graph.tensors[name]
    bits, channels = tensor.precision.width_bits, tensor.shape[-1]
    return FifoEstimate(
        name=name,
        default_depth=default,
        needed_depth=needed,
        bits=bits * channels,
        peak_depth=peak,
        default_bram_18k=fifo_area(default, channels, bits, clock).bram_18k,
        needed_bram_18k=fifo_area(needed, channels, bits, clock).bram_18k,
    )


def quick_timing(
    analysis: Analysis, stages: Sequence[Stage], results: Sequence[LayerResult], setting: Setting
) -> Timing:
    """Streamed latency without tokens: each stage starts with its first token and ends after its last.

    Exact for a chain whose slowest stage is its first; otherwise within ``QUICK_SPREAD`` of the simulation.
    """
    by_name = {result.stage.name: result for result in results}
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    slowest, latest = 1.0, 1.0
    for name, sources, made in wiring(analysis):
        result = by_name.get(name)
        if result is None:
            begin, end = max((first[n] for n in sources), default=0.0), max((last[n] for n in sources), default=0.0)
            first.update(dict.fromkeys(made, begin))
            last.update(dict.fromkeys(made, end))
            continue
        busy, lead, tail = result.profile
        begin = max((first[name] for name in sources), default=0.0)
        arrive = max((last[name] for name in sources), default=0.0)
        share = opening_share(result.stage, lead / max(busy, 1))
        opening = max(begin + lead, begin + share * (arrive - begin))
        ending = max(begin + busy, arrive + tail, arrive + backlog(result.stage, result.cycles, arrive - begin))
        first.update(dict.fromkeys(made, opening))
        last.update(dict.fromkeys(made, ending))
        slowest, latest = max(slowest, busy), max(latest, ending)
    latency, interval_cycles = math.ceil(latest) + 1, math.ceil(slowest)
    worst = max((result.cycles.high for result in results), default=1)
    note = ("latency from first and last tokens, FIFOs not simulated",)
    return Timing(
        latency,
        interval_cycles,
        max(latency, worst),
        max(interval_cycles, worst),
        fifo_defaults(analysis, setting),
        note,
        latency_spread=QUICK_SPREAD,
    )


def wiring(analysis: Analysis) -> list[tuple[str, list[str], list[str]]]:
    """Name of each layer and of the tensors it reads and makes, listed once for all variants."""
    found = analysis.memory.get("wiring")
    if found is None:
        found = analysis.memory["wiring"] = [
            (layer.name, [tensor.name for tensor in layer.inputs], [tensor.name for tensor in layer.outputs])
            for layer in analysis.graph.layers
        ]
    names: list[tuple[str, list[str], list[str]]] = found
    return names


def stage_profile(stage: Stage, cycles: Cycles) -> tuple[float, float, float]:
    """Busy cycles of a stage, cycles to its first output, and cycles from its last input to its end."""
    if stage.kind in ("conv", "depthwise", "pointwise", "separable"):
        busy = (stage.in_pixels - stage.out_pixels) * idle_share(stage, cycles) + stage.out_pixels * cycle_share(
            stage, cycles
        )
        lead = ((stage.kernel_height - 1) * stage.in_width + stage.kernel_width - 1) * idle_share(stage, cycles)
        return busy + 2, lead + cycles.depth, cycles.depth + 2
    if stage.kind == "pool":
        lead = (
            ((stage.kernel_height - 1) * stage.in_width + stage.kernel_width - 1)
            * cycles.high
            / max(stage.in_pixels, 1)
        )
        return cycles.high, lead + cycles.depth, cycles.depth
    if stage.kind in ("dense", "global_pool"):
        return cycles.high, cycles.high, max(cycles.high - stage.in_pixels + 1, 1)
    return cycles.high, cycles.depth, cycles.depth


def opening_share(stage: Stage, otherwise: float) -> float:
    """Share of the input that must have come before the first output."""
    if stage.kind not in ("conv", "depthwise", "pointwise", "pool"):
        return otherwise
    return ((stage.kernel_height - 1) * stage.in_width + stage.kernel_width - 1) / max(stage.in_pixels - 1, 1)


def backlog(stage: Stage, cycles: Cycles, arrival: float) -> float:
    """Work a convolution has left when its last pixel arrives, pixels coming evenly over ``arrival`` cycles.

    All windows lie behind the first rows, so a stage as fast as the one before falls behind towards the end:
    counted from the first window, and from the last row.
    """
    if stage.kind not in ("conv", "depthwise", "pointwise"):
        return 0.0
    gap = arrival / max(stage.in_pixels - 1, 1)
    full, idle = cycle_share(stage, cycles), idle_share(stage, cycles)
    rows, width = stage.in_height - stage.kernel_height + 1, stage.in_width
    behind = (
        stage.out_pixels * full + (rows * width - stage.out_pixels) * idle - gap * (rows * width - stage.kernel_width)
    )
    row = stage.out_width * full + (width - stage.out_width) * idle - gap * (width - stage.kernel_width)
    return max(behind, row)


def cycle_share(stage: Stage, cycles: Cycles) -> float:
    """Cycles of a pixel that completes a window."""
    return (cycles.high - 1) / max(stage.in_pixels, 1)


def idle_share(stage: Stage, cycles: Cycles) -> float:
    """Cycles of a pixel that does not."""
    return (cycles.low - 1) / max(stage.in_pixels, 1)


def fifo_defaults(analysis: Analysis, setting: Setting) -> tuple[FifoEstimate, ...]:
    """FIFOs with the depths the project has, where nothing was simulated."""
    key = ("fifos", setting.clock.tool, setting.clock.part)
    found = analysis.memory.get(key)
    if found is None:
        graph, clock = analysis.graph, setting.clock
        used = {tensor.name for layer in graph.layers for tensor in layer.inputs} - set(graph.inputs)
        names = [name for name, tensor in graph.tensors.items() if name in used and tensor.fifo_depth > 0]
        found = tuple(
            fifo_estimate(name, graph, graph.tensors[name].fifo_depth, graph.tensors[name].fifo_depth, 0, clock)
            for name in names
        )
        analysis.memory[key] = found
    fifos: tuple[FifoEstimate, ...] = found
    return fifos


# The whole design ------------------------------------------------------------------------------


def assemble(analysis: Analysis, setting: Setting, results: Sequence[LayerResult], timing: Timing) -> Estimate:
    """Sum up layers and FIFOs, and put every figure in its unit."""
    resources = design_resources(analysis, results, timing, setting)
    cycles = cycle_figures(results, timing, setting)
    latency, interval_cycles = cycles["latency"], cycles["interval"]
    period_us = setting.hls.clock_period_ns / 1000
    share = utilization_of(resources, setting.device)
    interval_us = interval_cycles.value * period_us
    work = total_work(results, analysis)
    energy = energy_figure(work.dynamic_pj, interval_us, setting.device, setting.config.static_power_w)
    return Estimate(
        latency_cycles=latency,
        initiation_interval_cycles=interval_cycles,
        latency_us=scaled(latency, period_us, "us"),
        throughput_hz=inverse(interval_cycles, 1e6 / period_us),
        **resources,
        energy_uj=energy,
        utilization=share,
        fits=fitting(share, timing),
        fit_probability=None if timing.stalled else probability_of_fit(share),
        layers=tuple(result.estimate for result in results),
        fifos=timing.fifos,
        notes=design_notes(setting, timing, results),
        figures=design_figures(work, results, resources, timing, setting),
        project_digest=analysis.digest,
        unpriced=(),
        between=between_layers(resources, results),
    )


def between_layers(resources: Mapping[str, Figure], results: Sequence[LayerResult]) -> dict[str, Figure]:
    """What of each resource is no layer's, so that a table by layer adds up to the design; empty where nothing is."""
    rest = {
        name: total.value - sum(getattr(result.estimate, name).value for result in results)
        for name, total in resources.items()
    }
    if not any(rest.values()):
        return {}
    return {name: Figure(value, UNITS[name], "model", note=resources[name].note) for name, value in rest.items()}


def fitting(share: Mapping[str, Figure], timing: Timing) -> bool | None:
    """Whether a design runs and fits its part; None for a part in no device table."""
    if timing.stalled:
        return False
    return all(item.value <= 100 for item in share.values()) if share else None


def total_work(results: Sequence[LayerResult], analysis: Analysis) -> Work:
    """Work of all layers; the dynamic energy is that of each layer's strategy."""
    counted = analysis.memory.get("work")
    if counted is None:
        names = ("macs", "nonzero_macs", "bops", "ebops", "weights", "weight_bits")
        sums = {name: sum(getattr(item, name) for item in analysis.work) for name in names}
        counted = analysis.memory["work"] = Work(**sums)
    return replace(counted, dynamic_pj=sum(result.dynamic_pj for result in results))


def design_resources(
    analysis: Analysis, results: Sequence[LayerResult], timing: Timing, setting: Setting
) -> dict[str, Figure]:
    """Resources of the design: layers plus what joins them (FIFOs of the project's depths, channels, registers)."""
    fifos = fifo_resources(analysis, timing, setting) if timing.fifos else timing.between
    totals = {}
    for quantity in RESOURCES:
        parts = [getattr(result.estimate, quantity) for result in results]
        extra = float(getattr(fifos, quantity, 0))
        summed = Figure(
            sum(part.value for part in parts) + extra,
            UNITS[quantity],
            "model",
            low=sum(part.low if part.low is not None else part.value for part in parts) + extra * 0.8,
            high=sum(part.high if part.high is not None else part.value for part in parts) + extra * 1.2,
            note=f"csynth; {setting.calibration.label}",
        )
        totals[quantity] = as_designs_were(summed, quantity, results, setting)
    return totals


def as_designs_were(
    summed: Figure,
    quantity: str,
    results: Sequence[LayerResult],
    setting: Setting,
    spread: tuple[float, float] = (1, 1),
) -> Figure:
    """A design's figure with the interval that whole designs of other owners earned.

    Errors of layers are not independent, so that sums of their bounds say little: they stand where no design was
    seen, and widen the interval where a layer is outside what the calibration knows.
    """
    residual = design_residual(setting.calibration, setting.hls.io_type, setting.clock.tool.line, quantity)
    if residual is None or summed.low is None or summed.high is None:
        return summed
    low, high = interval(summed.value, (residual.low * spread[0], residual.high * spread[1]))
    if any(result.estimate.notes for result in results):
        low, high = min(low, summed.low), max(high, summed.high)
    return replace(summed, low=min(low, summed.value), high=max(high, summed.value))


def fifo_resources(analysis: Analysis, timing: Timing, setting: Setting) -> FifoArea:
    """FIFOs of all streams together, at the project's depths."""
    key = ("fifo area", setting.clock.tool, setting.clock.part)
    if key not in analysis.memory:
        areas = []
        for fifo in timing.fifos:
            tensor = analysis.graph.tensors[fifo.name]
            bits, channels = tensor.precision.width_bits, tensor.shape[-1]
            areas.append(fifo_area(fifo.default_depth, channels, bits, setting.clock))
        total = FifoArea(sum(a.bram_18k for a in areas), sum(a.lut for a in areas), sum(a.ff for a in areas))
        analysis.memory[key] = total
    found: FifoArea = analysis.memory[key]
    return found


def cycle_figures(results: Sequence[LayerResult], timing: Timing, setting: Setting) -> dict[str, Figure]:
    """Latency and interval, as far off as whole designs were; without such as the layer that decides them."""
    note = "simulated" if timing.simulated else "from stage latencies"
    figures = {}
    for name, value, worst, quantity, (less, more) in (
        ("latency", timing.latency, timing.latency_worst, "latency_cycles", timing.latency_spread),
        ("interval", timing.interval, timing.interval_worst, "initiation_interval_cycles", (1.0, 1.0)),
    ):
        heavy = max(results, key=lambda result: result.cycles.high, default=None)
        own = getattr(heavy.estimate, quantity) if heavy else None
        ratio_low = own.low / own.value if own and own.value else 1.0
        ratio_high = own.high / own.value if own and own.value else 1.0
        decided = Figure(
            value,
            "cycles",
            "model",
            low=min(value * max(ratio_low, 0.0) * less, value),
            high=value * ratio_high * more,
            note=f"{note}; {setting.calibration.label}",
        )
        residual = "interval_cycles" if name == "interval" else quantity
        found = as_designs_were(decided, residual, results, setting, (less, more))
        figures[name] = replace(found, high=max(found.high or value, worst))
    return figures


def probability_of_fit(share: Mapping[str, Figure]) -> Figure | None:
    """P(every resource within the part): each a lognormal with the interval as its 5th and 95th percentiles.

    The resources are taken as independent, which is the lower end of what their errors in common would give.
    ``None`` for a part that is in no device table. The note names the resource that decides.
    """
    chances = {name: chance_within(figure) for name, figure in share.items()}
    if not chances:
        return None
    binding = min(chances, key=lambda name: chances[name])
    together = math.prod(chances.values())
    note = f"{binding} decides" if chances[binding] < SURE else "no resource is near the part's"
    return Figure(round(together, 3), "", "model", note=f"{note}; by csynth, before placement")


def chance_within(share: Figure) -> float:
    """P(a resource takes at most 100 % of the part)."""
    if share.value <= 0:
        return 1.0
    room = math.log(100 / share.value)
    end = share.high if room > 0 else share.low
    width = 0.0 if not end else abs(math.log(end / share.value)) / FIVE_PERCENT
    return 0.5 * (1.0 + math.erf(room / width / math.sqrt(2.0))) if width else float(room >= 0)


def scaled(figure: Figure, factor: float, unit: str) -> Figure:
    """A figure in another unit."""
    low = None if figure.low is None else figure.low * factor
    high = None if figure.high is None else figure.high * factor
    return Figure(figure.value * factor, unit, figure.source, low=low, high=high, note=figure.note)


def inverse(figure: Figure, numerator: float) -> Figure:
    """Throughput from an interval: bounds change places."""
    low = numerator / figure.high if figure.high else None
    high = numerator / figure.low if figure.low else None
    return Figure(numerator / max(figure.value, 1), "1/s", figure.source, low=low, high=high, note=figure.note)


def utilization_of(resources: Mapping[str, Figure], device: Device | None) -> dict[str, Figure]:
    """Percent of the part by resource; what the part has none of counts as 0 when none is needed, else as over 100."""
    if device is None:
        return {}
    return {name: share_of(figure, device.available(name)) for name, figure in resources.items()}


def share_of(figure: Figure, available: int) -> Figure:
    """One resource as percent of what the part has."""
    if available == 0:
        return Figure(0.0 if figure.value == 0 else 1e6, "%", "model", note="the part has none")
    return scaled(figure, 100 / available, "%")


def check_fits(estimated: Estimate) -> tuple[str, ...]:
    """Resources that exceed the part, in words; empty when everything fits."""
    return tuple(
        f"{name}: {figure.value:.0f} % of the part (up to {figure.high or figure.value:.0f} %)"
        for name, figure in estimated.utilization.items()
        if figure.value > 100
    )


def design_notes(setting: Setting, timing: Timing, results: Sequence[LayerResult]) -> tuple[str, ...]:
    """What a reader must know: tool, part, extrapolation, stalls."""
    notes = [f"estimated for {setting.clock.tool}, {setting.clock.family}, {setting.hls.clock_period_ns:g} ns"]
    if setting.device is None:
        notes.append(f"part {setting.hls.part} is in no device table: utilization and fit are unknown")
    strange = [result.stage.name for result in results if result.estimate.notes]
    if strange:
        notes.append(f"outside the calibration: {', '.join(strange)}")
    notes += latency_notes(setting, timing, results)
    notes.append(
        "kernel only: host and bus overhead are not included (about 0.75 to 0.94 ms an image on PYNQ-class boards)"
    )
    return (*notes, *timing.notes)


def latency_notes(setting: Setting, timing: Timing, results: Sequence[LayerResult]) -> list[str]:
    """Why the latency of the design is not the sum of its layers' latencies; nothing where it is."""
    layers = sum(result.estimate.latency_cycles.value for result in results)
    if layers == timing.latency:
        return []
    said = f"latency is {timing.latency:g} cycles, its layers' add up to {layers:g}:"
    if setting.hls.io_type == "io_stream":
        how = "simulated" if timing.simulated else "estimated"
        return [f"{said} stages of a stream work at once ({how}: the slowest stage and the filling of the others)"]
    if timing.interval > 1 and any(result.stage.makes_dataflow for result in results):
        return [f"{said} each layer hands its array to the next in a cycle more"]
    return [f"{said} in one pipeline short layers share a cycle, and calls are registered"]


def design_figures(
    work: Work,
    results: Sequence[LayerResult],
    resources: Mapping[str, Figure],
    timing: Timing,
    setting: Setting,
) -> dict[str, Figure]:
    """Work and memory of the whole network, csynth's worst case, figures after logic synthesis, FIFO savings."""
    figures = work_figures(work)
    figures["weight_bytes"] = Figure(work.weight_bits / 8, "byte", "counted")
    figures["latency_csynth_cycles"] = Figure(
        timing.latency_worst, "cycles", "model", note="as csynth's maximum: every pixel completes a window"
    )
    figures["initiation_interval_csynth_cycles"] = Figure(timing.interval_worst, "cycles", "model")
    if timing.simulated:
        saved = sum(fifo.default_bram_18k - fifo.needed_bram_18k for fifo in timing.fifos)
        figures["fifo_saving_bram_18k"] = Figure(saved, "BRAM18K", "model", note="needed depths against the project's")
    if setting.device is not None and any(board.startswith("PYNQ") for board in setting.device.boards):
        figures["host_overhead_us"] = HOST_OVERHEAD
    return figures | placed_figures(results, resources, setting)


def placed_figures(
    results: Sequence[LayerResult], resources: Mapping[str, Figure], setting: Setting
) -> dict[str, Figure]:
    """Expected figures after synthesis and placement, from the vsynth / csynth ratios of real designs."""
    heavy = sum(result.estimate.lut.value for result in results if result.stage.resource)
    style = "resource" if heavy > 0.5 * resources["lut"].value else "latency"
    ratios = PLACED[style]
    return {
        f"{name}_placed": Figure(
            resources[name].value * middle,
            UNITS[name],
            "model",
            low=(resources[name].low or 0.0) * low,
            high=(resources[name].high or resources[name].value) * high,
            note=f"csynth estimate x vsynth/csynth of {style} designs (11 designs, Vivado HLS 2019.2-2020.1)",
        )
        for name, (low, middle, high) in ratios.items()
    }
