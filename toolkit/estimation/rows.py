"""Rows of synthesis results, in the columns of a calibration folder, as stages and measured figures.

A folder holds ``layers.csv`` (one row per synthesised layer), ``designs.csv`` (one per top level)
and ``weights/*.npz`` with ``kernel`` (integers in Keras' layout), ``kernel_frac_bits`` and
optionally ``bias``. Empty fields are unknown. A user's own reports take the same form.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.devices import family_of
from toolkit.errors import ConfigError, DataError
from toolkit.estimation.stages import NEWEST_TEMPLATES, PARAMETER_ACTIVATIONS, TABLE_ACTIVATIONS, Stage
from toolkit.estimation.tools import Tool, parse_tool
from toolkit.estimation.weights import Integers, block_bits, weight_facts
from toolkit.precision import Precision

QUANTITIES = ("latency_min_cycles", "latency_max_cycles", "ii_min", "ii_max", "bram_18k", "dsp", "ff", "lut", "uram")
KIND_OF_ROW = {
    "dense": "dense",
    "dense_kernel": "dense",
    "conv2d": "conv",
    "conv1d": "conv",
    "depthwise1d": "depthwise",
    "depthwise2d": "depthwise",
    "pooling2d": "pool",
    "pooling1d": "pool",
    "relu": "activation",
    "leaky_relu": "activation",
    "sigmoid": "table",
    "tanh": "table",
    "elu": "table",
    "softmax": "softmax",
    "batchnorm": "scale",
    "zeropad2d": "pad",
    "shift_line_buffer": "line_buffer",
    # The kinds of stages by their own names, as rows of a user's reports spell them.
    **{
        name: name
        for name in ("conv", "pointwise", "depthwise", "pool", "global_pool", "activation", "table", "scale", "pad")
    },
    **{name: name for name in ("merge", "clone", "copy", "resize", "repack", "quantize")},
    **dict.fromkeys(("linear", "prelu", "thresholded_relu", "hard_sigmoid", "hard_tanh", "ternary_tanh"), "activation"),
    **dict.fromkeys(("softplus", "softsign", "selu"), "table"),
    # hls4ml's own tests of one layer: the whole design is that layer.
    "pooling2d (whole test net)": "pool",
    "pooling1d (whole test net)": "pool",
    "conv2d (whole test net)": "conv",
    "depthwise1d (whole test net)": "depthwise",
    "depthwise2d (whole test net)": "depthwise",
}

OLDEST_TEMPLATES = (0, 5)

Text = Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Row:
    """One synthesised layer (or module of one): what it is, and what the report says."""

    id: str
    network: str
    stage: Stage
    tool: Tool
    family: str
    part: str
    clock_period_ns: float
    uncertainty_ns: float | None
    measured: Mapping[str, float]
    source: str
    redistributable: bool
    role: str
    design: str
    in_network: bool  # whether the row's top function holds further layers
    fields: Text = field(default_factory=dict)

    @property
    def owner(self) -> str:
        """Whose project it is: ``owner`` of ``github.com/owner/repository``, else the whole source."""
        parts = self.source.split("/")
        return parts[1] if len(parts) == 3 else self.source


def read_all(folders: Iterable[Path]) -> tuple[Row, ...]:
    """The usable rows of several folders, one after the other."""
    return tuple(row for folder in folders for row in read_rows(folder))


def read_rows(folder: Path) -> tuple[Row, ...]:
    """Every usable row of ``layers.csv``; raises ``DataError`` naming file and what is missing."""
    path = folder / "layers.csv"
    designs = {row["id"]: row for row in read_csv(folder / "designs.csv")}
    table = [fields for fields in read_csv(path) if usable(fields)]
    maps = incoming_maps(table, designs)
    rows = [read_row({**fields, **maps.get(fields["id"], {})}, designs, folder) for fields in table]
    return tuple(row for row in rows if row is not None)


def read_csv(path: Path) -> list[dict[str, str]]:
    """A CSV file with a header as dictionaries of text; raises ``DataError``."""
    try:
        with path.open(newline="") as stream:
            return list(csv.DictReader(stream))
    except (OSError, csv.Error) as error:
        raise DataError(
            f"a calibration folder needs layers.csv and designs.csv, cannot read {path}: {error}"
        ) from error


def incoming_maps(table: list[dict[str, str]], designs: Mapping[str, Text]) -> dict[str, dict[str, str]]:
    """Height, width and channels of the map that reaches layers whose rows leave them out.

    Found by walking each streamed design's layer list: a dense layer or an activation receives
    what the layer before it put out.
    """
    found: dict[str, dict[str, str]] = {}
    by_design: dict[str, dict[str, dict[str, str]]] = {}
    for fields in table:
        by_design.setdefault(fields["design_id"], {}).setdefault(fields["layer_name"], fields)
    for design, layers in by_design.items():
        order = [part.split(":")[0].strip() for part in designs.get(design, {}).get("layers", "").split("|")]
        found |= walk_maps([layers[name] for name in order if name in layers])
    return found


def walk_maps(layers: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    """The maps between consecutive layers, for the rows that lack them, by row id."""
    found: dict[str, dict[str, str]] = {}
    height, width, channels = "", "", ""
    for fields in layers:
        if fields["io_type"] == "io_stream" and height and not fields["in_height"]:
            found[fields["id"]] = {"in_height": height, "in_width": width, "in_chan": channels}
        if fields["layer_kind"] == "dense":
            height, width, channels = "1", "1", fields["n_out"]
        elif fields["out_height"]:
            height, width, channels = fields["out_height"], fields["out_width"], fields["n_filt"] or channels
    return found


def usable(fields: Text) -> bool:
    """Whether a row is a sound result of a kind some model covers, with the sizes of its matrix known."""
    kind = fields.get("layer_kind", "")
    sized = bool(fields.get("n_in")) or kind not in ("dense", "dense_kernel", "conv2d", "conv1d")
    return fields.get("status", "ok") == "ok" and kind in KIND_OF_ROW and sized


def read_row(fields: Text, designs: Mapping[str, Text], folder: Path) -> Row | None:
    """One row as a :class:`Row`; ``None`` when its tool is not an AMD HLS tool."""
    try:
        tool = parse_tool(f"{fields['tool']} {fields['tool_version']}")
    except ConfigError:
        return None
    design = designs.get(fields["design_id"], {})
    part = fields["part"].split(" ")[0]
    siblings = design.get("layers", "")
    return Row(
        id=fields["id"],
        network=design.get("model") or fields["design_id"],
        stage=replace(stage_of_row(fields, folder, alone="|" not in siblings), process=is_process(fields, design)),
        tool=tool,
        family=family_of(part),
        part=part,
        clock_period_ns=number(fields, "clock_period_ns", 5.0),
        uncertainty_ns=number(fields, "clock_uncertainty_ns", math.nan) if fields.get("clock_uncertainty_ns") else None,
        measured={name: float(fields[name]) for name in QUANTITIES if fields.get(name)},
        source=fields.get("source", ""),
        redistributable=fields.get("redistributable") == "yes",
        role=fields.get("role", "layer"),
        design=fields["design_id"],
        in_network="|" in siblings,
        fields=fields,
    )


def is_process(fields: Text, design: Text) -> bool:
    """Whether a row is a layer of an io_parallel design of several that hls4ml makes a dataflow: a Resource one."""
    several, resource = "|" in design.get("layers", ""), design.get("strategy", "").lower() == "resource"
    return several and resource and fields.get("io_type") == "io_parallel"


def number(fields: Text, name: str, default: float) -> float:
    """A numeric field, or ``default`` when it is empty."""
    text = fields.get(name, "")
    return float(text) if text else default


def whole(fields: Text, name: str, default: int) -> int:
    """A whole-number field, or ``default`` when it is empty."""
    return int(number(fields, name, default))


def type_of(fields: Text, name: str, default: str) -> Precision:
    """A precision field, or ``default`` when it is empty or unreadable."""
    text = fields.get(name, "") or default
    try:
        return Precision.parse(text)
    except ConfigError:
        return Precision.parse(default)


def stage_of_row(fields: Text, folder: Path, *, alone: bool) -> Stage:
    """The stage a row describes, weights included where it has them."""
    kind = KIND_OF_ROW[fields["layer_kind"]]
    source = type_of(fields, "input_precision", "ap_fixed<16,6>")
    weight = type_of(fields, "weight_precision", str(source))
    result = type_of(fields, "output_precision", str(source))
    accum = type_of(fields, "accum_precision", str(result))
    channels = whole(fields, "in_chan", whole(fields, "n_in", 1) if kind not in ("conv", "depthwise", "pool") else 1)
    in_height, in_width = whole(fields, "in_height", 1), whole(fields, "in_width", 1)
    stage = Stage(
        name=fields["layer_name"],
        kind=kind,
        strategy=(fields.get("strategy") or "latency").lower(),
        io_type=fields.get("io_type") or "io_parallel",
        reuse_factor=whole(fields, "reuse_factor", 1),
        n_in=whole(fields, "n_in", kernel_inputs(fields, kind, in_height * in_width * channels)),
        n_out=whole(fields, "n_out", channels if kind == "depthwise" else whole(fields, "n_in", 1)),
        in_height=in_height,
        in_width=in_width,
        in_channels=channels,
        out_height=whole(fields, "out_height", 1 if kind == "dense" else in_height),
        out_width=whole(fields, "out_width", 1 if kind == "dense" else in_width),
        out_channels=whole(fields, "n_filt", whole(fields, "n_out", channels)),
        kernel_height=whole(fields, "kernel_h", whole(fields, "pool_h", 1)),
        kernel_width=whole(fields, "kernel_w", whole(fields, "pool_w", 1)),
        stride_height=whole(fields, "stride_h", 1),
        stride_width=whole(fields, "stride_w", 1),
        padding=row_padding(fields),
        parallel_outputs=whole(fields, "parallelization_factor", 1),
        operation=row_operation(fields),
        multiplier=forced_multiplier(fields),
        outer=alone and fields.get("role", "layer") == "layer",
        templates=templates_of(fields),
        zeros=whole(fields, "n_zeros", whole(fields, "n_zeros_recomputed", 0)),
        **row_types(fields, source, weight, accum, result),
    )
    return with_row_weights(stage, fields, folder)


def templates_of(fields: Text) -> tuple[int, int]:
    """The hls4ml release a row's templates are of; without one, what was in use with its tool."""
    release = re.match(r"(\d+)\.(\d+)", fields.get("hls4ml_version", ""))
    if release:
        return int(release[1]), int(release[2])
    return OLDEST_TEMPLATES if fields.get("tool", "").startswith("vivado") else NEWEST_TEMPLATES


def row_padding(fields: Text) -> tuple[int, int, int, int]:
    """Top, bottom, left and right padding; from the sizes of both maps, the smaller half first, where not given."""
    if fields.get("pad_top"):
        top, bottom, left, right = (whole(fields, f"pad_{side}", 0) for side in ("top", "bottom", "left", "right"))
        return top, bottom, left, right
    rows = max(whole(fields, "out_height", 0) - whole(fields, "in_height", 0), 0)
    columns = max(whole(fields, "out_width", 0) - whole(fields, "in_width", 0), 0)
    return rows // 2, rows - rows // 2, columns // 2, columns - columns // 2


def kernel_inputs(fields: Text, kind: str, elements: int) -> int:
    """Inputs of one output: the kernel's pixels for a depthwise convolution, every element otherwise."""
    return whole(fields, "kernel_h", 1) * whole(fields, "kernel_w", 1) if kind == "depthwise" else elements


def row_types(
    fields: Text, source: Precision, weight: Precision, accum: Precision, result: Precision
) -> dict[str, Any]:
    """Widths and fractions of a row's types, named as :class:`Stage` names them."""
    return {
        "input_bits": source.width_bits,
        "input_fraction": source.fraction_bits,
        "input_signed": source.signed,
        "weight_bits": weight.width_bits,
        "weight_fraction": weight.fraction_bits,
        "bias_bits": type_of(fields, "bias_precision", str(weight)).width_bits,
        "accum_bits": accum.width_bits,
        "accum_fraction": accum.fraction_bits,
        "output_bits": result.width_bits,
        "output_fraction": result.fraction_bits,
        "output_signed": result.signed,
        "output_saturates": str(result.overflow) != "WRAP",
        "output_rounds": str(result.rounding) != "TRN",
        "table_bits": type_of(fields, "table_precision", "ap_fixed<18,8>").width_bits,
    }


def row_operation(fields: Text) -> str:
    """Activation, pooling operation or softmax implementation of a row."""
    kind, notes = fields["layer_kind"], fields.get("notes", "")
    if kind in (*TABLE_ACTIVATIONS, *PARAMETER_ACTIVATIONS, "relu"):
        return kind
    if kind.startswith("pool"):
        return "average" if "Average" in notes else "max"
    return (fields.get("implementation") or "").lower()


def forced_multiplier(fields: Text) -> str:
    """``dsp`` or ``fabric`` when a config_op directive decides every multiplier."""
    directive = fields.get("config_op", "")
    return next((choice for choice in ("dsp", "fabric") if f"-impl {choice}" in directive), "")


def with_row_weights(stage: Stage, fields: Text, folder: Path) -> Stage:
    """Add the facts of a row's weights, where the folder holds them."""
    name = fields.get("weights_file", "")
    if not name or stage.kind not in ("dense", "conv", "depthwise", "scale"):
        return stage
    kernel, bias = read_weights(folder / name)
    matrix = kernel.reshape(1, -1) if stage.kind == "scale" else kernel.reshape(-1, kernel.shape[-1])
    if stage.kind == "depthwise":
        matrix = kernel.reshape(stage.kernel_size, -1)
    facts = weight_facts(matrix, bias, separate=stage.kind in ("depthwise", "scale"))
    last = block_bits(matrix, stage.reuse_factor) if stage.resource else -1
    return replace(stage, n_in=matrix.shape[0], n_out=matrix.shape[1], facts=facts, last_block_bits=last)


@lru_cache(maxsize=64)
def read_weights(path: Path) -> tuple[Integers, Integers | None]:
    """Integer kernel and bias of an NPZ file; raises ``DataError``."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            bias = arrays["bias"].astype(np.int64) if "bias" in arrays else None
            return arrays["kernel"].astype(np.int64), bias
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"weights {path} need an integer array named kernel: {error}") from error
