"""Reuse factors from a target: an initiation interval to keep, or DSP slices to stay within.

Per layer, hls4ml's valid reuse factors are put through the estimator; what a layer needs at each is
a short table. An interval target takes, per layer, the largest reuse factor that keeps it. A DSP
target takes the shortest interval whose choice stays within the slices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from toolkit.config import EstimateConfig, HlsConfig, LayerHlsConfig
from toolkit.errors import ConfigError
from toolkit.exploration.settings import SweepHlsConfig
from toolkit.hls import reuse
from toolkit.hls.graph import check_fifo_names
from toolkit.network.layers import Matrix

if TYPE_CHECKING:
    from toolkit.estimation.estimate import Analysis


@dataclass(frozen=True)
class Choice:
    """What one layer costs at one reuse factor."""

    reuse_factor: int
    interval_cycles: float
    dsp: float


def resolve(analysis: Analysis, hls: SweepHlsConfig) -> HlsConfig:
    """The configuration with targets turned into a reuse factor for each layer.

    Raises ``ConfigError`` when no valid reuse factors reach the target.
    """
    if hls.target_ii is None and hls.target_dsp is None:
        return hls.plain()
    tables = choices(analysis, hls.plain())
    if hls.target_ii is not None:
        chosen = keeping(tables, hls.target_ii)
    else:
        assert hls.target_dsp is not None
        chosen = within(tables, hls.target_dsp)
    return with_factors(hls.plain(), chosen)


def with_factors(hls: HlsConfig, factors: Mapping[str, int]) -> HlsConfig:
    """A configuration with a reuse factor for each named layer."""
    own = hls.of_layers(factors)
    layers = {name: own.get(name, LayerHlsConfig()).change(reuse_factor=factor) for name, factor in factors.items()}
    return hls.change(layers={**hls.layers, **layers})


def choices(analysis: Analysis, hls: HlsConfig) -> dict[str, list[Choice]]:
    """Interval and DSP slices of every matrix layer at each valid reuse factor, ascending; found once per analysis."""
    from toolkit.estimation import estimate_variants

    key = ("reuse choices", hls.model_dump_json(exclude={"reuse_factor"}))
    if key in analysis.memory:
        found: dict[str, list[Choice]] = analysis.memory[key]
        return found
    valid = valid_factors(analysis, hls)
    factors = sorted({factor for values in valid.values() for factor in values})
    quick = EstimateConfig(fifo_simulation=False)
    variants = (
        with_factors(hls, {name: below(values, factor) for name, values in valid.items()}) for factor in factors
    )
    tables: dict[str, dict[int, Choice]] = {name: {} for name in valid}
    for estimated in estimate_variants(analysis, variants, quick):
        for layer in estimated.layers:
            if layer.name in tables:
                factor = int(layer.figures["reuse_factor"].value)
                entry = Choice(factor, layer.initiation_interval_cycles.value, layer.dsp.value)
                tables[layer.name][factor] = entry
    found = {name: [table[factor] for factor in sorted(table)] for name, table in tables.items()}
    analysis.memory[key] = found
    return found


def valid_factors(analysis: Analysis, hls: HlsConfig) -> dict[str, tuple[int, ...]]:
    """Reuse factors hls4ml builds as asked and computes rightly, by matrix layer."""
    from toolkit.estimation.estimate import built_strategy

    layers = {layer.name: layer for layer in analysis.graph.layers if isinstance(layer, Matrix)}
    own = hls.of_layers(layers)
    found = {}
    for name, layer in layers.items():
        strategy = built_strategy(layer, hls, own.get(name))
        found[name] = reuse.right_reuse_factors(layer.kind, layer.matrix_size, hls.io_type, strategy)
    return found


def below(values: Sequence[int], factor: int) -> int:
    """The largest of ascending values that is at most ``factor``; the smallest if none is."""
    return max((value for value in values if value <= factor), default=values[0])


def keeping(tables: Mapping[str, Sequence[Choice]], target: float) -> dict[str, int]:
    """Per layer the largest reuse factor whose interval is at most the target."""
    chosen = {}
    for name, table in tables.items():
        fitting = [choice for choice in table if choice.interval_cycles <= target]
        if not fitting:
            fastest = min(table, key=lambda choice: choice.interval_cycles)
            raise ConfigError(
                f"hls.target_ii = {target:g} cycles cannot be kept: layer {name} needs {fastest.interval_cycles:g} "
                f"at reuse factor {fastest.reuse_factor}"
            )
        chosen[name] = max(fitting, key=lambda choice: choice.reuse_factor).reuse_factor
    return chosen


def within(tables: Mapping[str, Sequence[Choice]], dsp: float) -> dict[str, int]:
    """The reuse factors of the shortest interval that needs at most so many DSP slices."""
    intervals = sorted({choice.interval_cycles for table in tables.values() for choice in table})
    least = float("inf")
    for interval in intervals:
        try:
            chosen = keeping(tables, interval)
        except ConfigError:
            continue
        needed = sum(next(c.dsp for c in table if c.reuse_factor == chosen[name]) for name, table in tables.items())
        least = min(least, needed)
        if needed <= dsp:
            return chosen
    raise ConfigError(f"hls.target_dsp = {dsp:g} cannot be kept: the least any reuse factors need is {least:g}")


def with_depths(analysis: Analysis, depths: Mapping[str, int]) -> Analysis:
    """The analysis of the same network with other FIFO depths; raises ``ConfigError`` for one that is not there."""
    ports = {*analysis.graph.inputs, *analysis.graph.outputs}
    known = [name for name, tensor in analysis.graph.tensors.items() if tensor.fifo_depth > 0 and name not in ports]
    check_fifo_names(depths, known)
    return replace(analysis, graph=analysis.graph.with_fifo_depths(depths), memory={})
