"""Every chart of a report, by name."""

from __future__ import annotations

from toolkit.comparison.compare import Comparison
from toolkit.comparison.drawing import Chart, Draw
from toolkit.comparison.layer_charts import bit_loss, confusion, layers, ranges, utilization
from toolkit.comparison.scatter import bits, cost

DRAWINGS: tuple[Draw, ...] = (
    bits,
    cost("latency_us", "latency", "latency", "the latency of one image"),
    cost("lut", "lut", "LUT", "look-up tables"),
    cost("energy_uj", "energy", "energy", "energy per image"),
    layers(
        "initiation_interval_cycles",
        "layers_cycles",
        "Cycles by layer",
        "Cycles a layer is busy with one image",
    ),
    layers("lut", "layers_lut", "LUT by layer", "Look-up tables, by layer"),
    layers("dsp", "layers_dsp", "DSP by layer", "DSP slices, by layer"),
    layers("bram_18k", "layers_bram", "BRAM by layer", "18 Kb block RAM, by layer"),
    utilization,
    ranges,
    bit_loss,
    confusion,
)


def charts(comparison: Comparison, width: int = 520) -> dict[str, Chart]:
    """Every chart that the comparison has data for, by name; ``width`` is that of the plot in pixels."""
    from altair.utils.schemapi import debug_mode

    # Checking every part against the Vega-Lite schema as it is built takes longer than drawing it.
    with debug_mode(False):
        drawn = [draw(comparison, width) for draw in DRAWINGS]
    return {chart.name: chart for chart in drawn if chart is not None}
