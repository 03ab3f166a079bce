"""Work and memory of a network, counted exactly, and an energy estimate with its assumptions.

- MACs: multiply-accumulates of one inference, zero weights included; ``nonzero`` ones without them.
- BOPs: ``MACs * (b_w * b_a + b_w + b_a + log2(n_in))`` (Baskin et al., UNIQ, ACM TOCS 2021, eq. 4).
- EBOPs: sum over nonzero weights of (bits between a weight's first and last set bit) x (input bits)
  (Sun et al., Gradient-based Automatic Mixed Precision Quantization for Neural Networks on-Chip,
  arXiv:2405.00645), times the positions a weight is used at.
- Weight memory: stored weights times their width, biases included.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from toolkit.devices import Device
from toolkit.estimation.stages import MATRIX_KINDS, Stage
from toolkit.records import Figure

# 45 nm ASIC energies: M. Horowitz, "Computing's energy problem", ISSCC 2014, fig. 1.1.9: 8-bit add 0.03 pJ,
# 32-bit add 0.1 pJ, 8-bit multiply 0.2 pJ, 32-bit multiply 3.1 pJ, 8 KB SRAM read of 64 bits 10 pJ.
ADD_PJ_PER_BIT = 0.1 / 32
MULTIPLY_PJ_PER_BIT2 = 3.1 / 32**2
MEMORY_PJ_PER_BIT = 10.0 / 64
# Dynamic power of an FPGA against an ASIC of the same logic: I. Kuon, J. Rose, "Measuring the Gap Between
# FPGAs and ASICs", IEEE TCAD 26(2), 2007: about 14.
FPGA_FACTOR = 14.0
STATIC_W_PER_LUT = 2.3e-6  # assumption: about 0.12 W on an xc7z020, 2.7 W on a VU9P at room temperature
ENERGY_SPREAD = 4.0  # the interval of the energy estimate is a factor of so much either way
ENERGY_NOTE = (
    "kernel only, no host, no DRAM; dynamic: ISSCC 2014 (Horowitz) 45 nm energies per bit x 14 (Kuon and Rose 2007); "
    "static: {static:.3g} W x interval{assumed}; factor 4 either way"
)


@dataclass(frozen=True)
class Work:
    """What one inference of a layer computes and stores."""

    macs: int = 0
    nonzero_macs: int = 0
    bops: float = 0.0
    ebops: float = 0.0
    weights: int = 0
    weight_bits: int = 0
    dynamic_pj: float = 0.0


def work_of(stage: Stage) -> Work:
    """Work of one stage; nothing for layers without weights."""
    if stage.kind not in (*MATRIX_KINDS, "scale") or stage.facts is None:
        return Work()
    uses = 1 if stage.kind == "dense" else stage.out_pixels
    products = stage.n_in * stage.n_out
    macs, nonzero = products * uses, stage.facts.nonzeros * uses
    per_mac = stage.weight_bits * stage.input_bits + stage.weight_bits + stage.input_bits
    return Work(
        macs=macs,
        nonzero_macs=nonzero,
        bops=macs * (per_mac + math.log2(max(stage.n_in, 1))),
        ebops=float(stage.facts.effective_bits * stage.input_bits * uses),
        weights=products + stage.n_out,
        weight_bits=products * stage.weight_bits + stage.n_out * stage.bias_bits,
        dynamic_pj=dynamic_pj(stage, macs, nonzero),
    )


def dynamic_pj(stage: Stage, macs: int, nonzero: int) -> float:
    """Switching energy of one inference: Latency multiplies by nonzero constants, Resource reads every weight."""
    products = macs if stage.resource else nonzero
    multiply = products * stage.weight_bits * stage.input_bits * MULTIPLY_PJ_PER_BIT2
    add = products * stage.accum_bits * ADD_PJ_PER_BIT
    fetch = macs * stage.weight_bits * MEMORY_PJ_PER_BIT if stage.resource else 0.0
    return FPGA_FACTOR * (multiply + add + fetch)


def energy_figure(dynamic: float, interval_us: float, device: Device | None, static_power_w: float | None) -> Figure:
    """Energy of one inference in uJ when images follow each other; dynamic in pJ."""
    luts = device.lut if device is not None else 100_000
    static = luts * STATIC_W_PER_LUT if static_power_w is None else static_power_w
    value = dynamic * 1e-6 + static * interval_us
    assumed = " (2.3 uW per LUT, assumed)" if static_power_w is None else ""
    note = ENERGY_NOTE.format(static=static, assumed=assumed)
    return Figure(value, "uJ", "model", low=value / ENERGY_SPREAD, high=value * ENERGY_SPREAD, note=note)
