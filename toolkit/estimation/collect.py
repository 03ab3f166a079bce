"""A user's own synthesis results as rows of a calibration folder, as :mod:`toolkit.estimation.rows` reads them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import ReportError
from toolkit.estimation.beside import layer_modules
from toolkit.estimation.estimate import DEFAULT_TOOL
from toolkit.estimation.rows import read_csv
from toolkit.estimation.stages import MATRIX_KINDS, Stage, stages_of
from toolkit.hls.network import network_of
from toolkit.hls.reports import CsynthReport, ModuleReport
from toolkit.names import file_name
from toolkit.network import Layer
from toolkit.records import HlsProject
from toolkit.store import write_bytes, write_text

DESIGN_COLUMNS = (
    *("id", "source", "redistributable", "tool", "tool_version", "part", "clock_period_ns", "clock_uncertainty_ns"),
    *("io_type", "strategy", "model", "layers", "status"),
    *("latency_min_cycles", "latency_max_cycles", "ii_min", "ii_max", "bram_18k", "dsp", "ff", "lut", "uram"),
)
LAYER_COLUMNS = (
    *("id", "design_id", "role", "source", "redistributable", "tool", "tool_version", "part", "clock_period_ns"),
    *("clock_uncertainty_ns", "io_type", "strategy", "reuse_factor", "layer_name", "hls_module", "layer_kind"),
    *("n_in", "n_out", "in_height", "in_width", "in_chan", "out_height", "out_width", "n_filt", "kernel_h", "kernel_w"),
    *("stride_h", "stride_w", "pad_top", "pad_bottom", "pad_left", "pad_right", "parallelization_factor"),
    *("implementation", "input_precision", "weight_precision", "bias_precision", "accum_precision"),
    *("output_precision", "table_precision", "n_zeros"),
    *("latency_min_cycles", "latency_max_cycles", "ii_min", "ii_max", "bram_18k", "dsp", "ff", "lut", "uram"),
    *("weights_file", "status"),
)


def add_reports(project: HlsProject, csynth: CsynthReport, folder: Path, *, tool: str | None = None) -> int:
    """Append a project's csynth figures to a calibration folder; the number of layers added.

    Makes ``layers.csv``, ``designs.csv`` and ``weights/`` where they are missing; what the folder holds of the
    same project is replaced. Raises ``ReportError`` when no module of the report is a layer of the project.
    """
    network = network_of(project)
    stages = {stage.name: stage for stage in stages_of(network, project.config)}
    kept = [layer for layer in network.layers if stages[layer.name].kind not in ("input", "wire")]
    alone = {kept[0].name: csynth.top} if len(kept) == 1 else {}
    modules = layer_modules(csynth, network) | alone
    chosen = [layer for layer in kept if layer.name in modules]
    if not chosen:
        raise ReportError(f"the csynth report has no module of a layer of {project.path}: is it of this project?")
    common = common_fields(project, csynth, tool)
    layers = [layer_row(layer, stages[layer.name], modules[layer.name], project, common, folder) for layer in chosen]
    listed = " | ".join(f"{layer.name}:{layer.origin or layer.kind}" for layer in kept)
    design = common | figures_of(csynth.top) | {"id": identity(project), "model": identity(project), "layers": listed}
    merge(folder / "designs.csv", DESIGN_COLUMNS, [design], "id", identity(project))
    merge(folder / "layers.csv", LAYER_COLUMNS, layers, "design_id", identity(project))
    return len(layers)


def identity(project: HlsProject) -> str:
    """What names a project in the folder."""
    return f"{project.path.name}_{project.digest[:8]}"


def common_fields(project: HlsProject, csynth: CsynthReport, tool: str | None) -> dict[str, Any]:
    """Fields that a design and its layers share."""
    config = project.config
    name, version = (tool or DEFAULT_TOOL[config.backend]).split(" ")
    return {
        "source": "own",
        "redistributable": "",
        "tool": name,
        "tool_version": csynth.tool_version or version,
        "part": csynth.part or config.part,
        "clock_period_ns": csynth.clock_period_ns or config.clock_period_ns,
        "clock_uncertainty_ns": "" if csynth.uncertainty_ns is None else csynth.uncertainty_ns,
        "io_type": config.io_type,
        "strategy": config.strategy.lower(),
        "status": "ok",
    }


def figures_of(module: ModuleReport) -> dict[str, Any]:
    """A module's figures by column; what the report leaves out stays empty."""
    names = {
        "latency_min_cycles": module.latency_min,
        "latency_max_cycles": module.latency_max,
        "ii_min": module.interval_min,
        "ii_max": module.interval_max,
    }
    area = {name: getattr(module, name) for name in ("bram_18k", "dsp", "ff", "lut", "uram")}
    return {name: "" if value is None else value for name, value in (names | area).items()}


def layer_row(
    layer: Layer,
    stage: Stage,
    module: ModuleReport,
    project: HlsProject,
    common: Mapping[str, Any],
    folder: Path,
) -> dict[str, Any]:
    """One layer as a row, its weights beside."""
    matrix = stage.kind in MATRIX_KINDS
    return {
        **common,
        **figures_of(module),
        **geometry_of(stage),
        **types_of(layer),
        "id": f"{identity(project)}__{layer.name}",
        "design_id": identity(project),
        "role": "layer",
        "strategy": stage.strategy if matrix else "",
        "reuse_factor": stage.reuse_factor,
        "layer_name": layer.name,
        "hls_module": module.name,
        "layer_kind": stage.operation if stage.kind in ("activation", "table") else stage.kind,
        "n_in": stage.n_in,
        "n_out": stage.n_out,
        "implementation": stage.operation,
        "n_zeros": stage.zeros if matrix else "",
        "weights_file": weights_file(layer, project, folder),
    }


def geometry_of(stage: Stage) -> dict[str, Any]:
    """Sizes of maps, kernel, stride and padding."""
    top, bottom, left, right = stage.padding
    return {
        "in_height": stage.in_height,
        "in_width": stage.in_width,
        "in_chan": stage.in_channels,
        "out_height": stage.out_height,
        "out_width": stage.out_width,
        "n_filt": stage.out_channels,
        "kernel_h": stage.kernel_height,
        "kernel_w": stage.kernel_width,
        "stride_h": stage.stride_height,
        "stride_w": stage.stride_width,
        "pad_top": top,
        "pad_bottom": bottom,
        "pad_left": left,
        "pad_right": right,
        "parallelization_factor": stage.parallel_outputs,
    }


def types_of(layer: Layer) -> dict[str, str]:
    """Types of what flows through a layer; empty where it has none of a kind."""
    types = {name: str(precision) for name, precision in layer.types.items()}
    return {
        "input_precision": str(layer.inputs[0].precision) if layer.inputs else "",
        "weight_precision": types.get("weight", types.get("scale", "")),
        "bias_precision": types.get("bias", ""),
        "accum_precision": types.get("accum", ""),
        "output_precision": types["result"],
        "table_precision": types.get("exp_table", types.get("table", "")),
    }


def weights_file(layer: Layer, project: HlsProject, folder: Path) -> str:
    """Write a layer's integer weights; the path below the folder, empty for a layer without."""
    weights = layer.weights
    weight, bias = weights.get("weight", weights.get("scale")), weights.get("bias")
    if weight is None:
        return ""
    arrays = {"kernel": weight.integers, "kernel_frac_bits": np.int64(weight.fraction_bits)}
    if bias is not None:
        arrays["bias"] = bias.integers
    path = Path("weights") / f"{identity(project)}__{file_name(layer.name)}.npz"
    write_bytes(folder / path, npz(arrays))
    return str(path)


def npz(arrays: Mapping[str, Any]) -> bytes:
    """Arrays as the bytes of a compressed NPZ file."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def merge(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], key: str, value: str) -> None:
    """Write rows into a CSV file in place of those whose ``key`` is ``value``; columns it has already are kept."""
    before = [row for row in read_csv(path) if row[key] != value] if path.is_file() else []
    names = list(dict.fromkeys([*(name for row in before[:1] for name in row), *columns]))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows([*before, *rows])
    write_text(path, stream.getvalue())
