"""One hardware stage per layer: the numbers that cycles and area depend on, and nothing else.

A stage comes from a network (:func:`stages_of`, by the class of its layers) or from a row of synthesis results
(:mod:`toolkit.estimation.rows`); every model of this package works on stages only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from toolkit.config import HlsConfig
from toolkit.estimation.weights import Integers, WeightFacts, block_bits, weight_facts
from toolkit.network import Graph, Layer, Tensor, Window, layers
from toolkit.network.values import Shape
from toolkit.precision import Overflow, Precision, Rounding

NEWEST_TEMPLATES = (1, 3)
UNPRICED = "unpriced"  # a layer that no model of cycles and area covers: it is named, and left out of every sum
MATRIX_KINDS = ("dense", "conv", "pointwise", "depthwise")
TABLE_ACTIVATIONS = ("sigmoid", "tanh", "softplus", "softsign", "elu", "selu")
PARAMETER_ACTIVATIONS = ("leaky_relu", "prelu", "thresholded_relu")


@dataclass(frozen=True, eq=False)
class Stage:
    """One layer as hardware. Sizes are elements, widths are bits, ``-1`` stands for not applicable.

    ``n_in`` and ``n_out`` are the matrix of a dense or convolution kernel (kernel elements times
    channels, filters); for other kinds the elements of one input and one output.
    """

    name: str
    kind: str
    strategy: str = "latency"
    io_type: str = "io_parallel"
    reuse_factor: int = 1
    n_in: int = 1
    n_out: int = 1
    in_height: int = 1
    in_width: int = 1
    in_channels: int = 1
    out_height: int = 1
    out_width: int = 1
    out_channels: int = 1
    kernel_height: int = 1
    kernel_width: int = 1
    stride_height: int = 1
    stride_width: int = 1
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)  # top, bottom, left, right
    input_bits: int = 16
    input_fraction: int = 10
    input_signed: bool = True
    weight_bits: int = 16
    weight_fraction: int = 10
    bias_bits: int = 16
    accum_bits: int = 16
    accum_fraction: int = 10
    output_bits: int = 16
    output_fraction: int = 10
    output_signed: bool = True
    output_saturates: bool = False
    output_rounds: bool = False
    zeros: int = 0  # as hls4ml counts them for the multiplier limit
    parallel_outputs: int = 1  # ParallelizationFactor of an io_parallel convolution
    operation: str = ""  # activation, pooling or merge operation; softmax implementation
    table_size: int = 0
    table_bits: int = 18
    copies: int = 1  # output streams of a clone, inputs of a merge
    outer: bool = True  # the stage's ports are those of the top function's only layer
    process: bool = False  # a process of its own in an io_parallel dataflow
    multiplier: str = ""  # "dsp" or "fabric" when a config_op directive forces every multiplier there
    last_block_bits: int = -1
    da_lut: float = -1.0  # da4ml's LUT figure of this kernel under distributed_arithmetic
    templates: tuple[int, int] = NEWEST_TEMPLATES  # release of hls4ml whose nnet_utils the layer is built from
    facts: WeightFacts | None = None

    @property
    def stream(self) -> bool:
        """Whether values arrive over streams (io_stream)."""
        return self.io_type == "io_stream"

    @property
    def in_pixels(self) -> int:
        """Pixels of the input feature map."""
        return self.in_height * self.in_width

    @property
    def out_pixels(self) -> int:
        """Pixels of the output feature map."""
        return self.out_height * self.out_width

    @property
    def out_elements(self) -> int:
        """Elements of the result."""
        return self.out_pixels * self.out_channels

    @property
    def kernel_size(self) -> int:
        """Pixels under the kernel."""
        return self.kernel_height * self.kernel_width

    @property
    def partitions(self) -> int:
        """How often an io_parallel convolution's kernel is used for one image; 1 for anything else."""
        if self.kind == "dense" or self.stream:
            return 1
        return max(1, math.ceil(self.out_pixels / self.parallel_outputs))

    @property
    def resource(self) -> bool:
        """Whether weights sit in ROMs and multipliers are time-multiplexed."""
        return self.strategy == "resource" and self.reuse_factor > 1

    @property
    def makes_dataflow(self) -> bool:
        """Whether hls4ml makes an io_parallel design a dataflow because of this layer (its pass ``pipeline_style``)."""
        convolution = self.kind in ("conv", "depthwise", "pointwise") and self.partitions > 1
        return convolution or (self.strategy == "resource" and self.kind in MATRIX_KINDS)

    @property
    def block_factor(self) -> int:
        """Multipliers of the Resource kernel: ``ceil(n_in * n_out / RF)``."""
        return math.ceil(self.n_in * self.n_out / self.reuse_factor)

    @property
    def multiplier_limit(self) -> int:
        """Multipliers hls4ml allows the Latency kernel: ``ceil(n_in * n_out / RF) - floor(zeros / RF)``, at least 1."""
        products = self.n_in * self.n_out
        return max(1, math.ceil(products / self.reuse_factor) - self.zeros // self.reuse_factor)


def stages_of(graph: Graph, config: HlsConfig) -> tuple[Stage, ...]:
    """The stages of a network, in its order; inputs and in-place reshapes included as kinds of no cost."""
    same = aliases(graph) if config.io_type == "io_stream" else {}
    made = [stage_of(layer, config, same) for layer in graph.layers]
    alone = sum(stage.kind not in ("input", "wire") for stage in made) == 1
    return tuple(replace(stage, outer=alone) for stage in made)


def aliases(graph: Graph) -> dict[str, Tensor]:
    """Outputs of in-place reshapes -> the tensor whose stream they are."""
    same: dict[str, Tensor] = {}
    for layer in graph.layers:
        if isinstance(layer, layers.Reshape):
            for tensor in layer.outputs:
                same[tensor.name] = same.get(layer.source.name, layer.source)
    return same


def stage_of(layer: Layer, config: HlsConfig, same: Mapping[str, Tensor]) -> Stage:
    """One layer as a stage, by its class; ``same`` maps the names of in-place reshapes to the tensor they are."""
    made = layer.outputs[0]
    given = same.get(layer.inputs[0].name, layer.inputs[0]) if layer.inputs else made
    describe = STAGES.get(type(layer), unpriced)
    own: Own = {"weight": given.precision, "accum": made.precision, "table": made.precision} | describe(layer)
    weight, accum, table = own.pop("weight"), own.pop("accum"), own.pop("table")
    bias = own.pop("bias", weight)
    build = layer.build
    common: Own = {
        "strategy": str(build.strategy or config.strategy).lower(),
        "io_type": config.io_type,
        "reuse_factor": config.reuse_factor if build.reuse_factor is None else build.reuse_factor,
        "n_in": given.size,
        "n_out": made.size,
        "copies": max(len(layer.outputs), len(layer.inputs), 1),
        "parallel_outputs": build.parallelization,
        "da_lut": -1.0 if build.adder_luts is None else build.adder_luts,
        **map_sizes(given.shape, made.shape),
        **width_fields(given.precision, weight, bias, accum, made.precision, table),
    }
    stage = Stage(name=layer.name, **(common | own))
    return with_kernel(stage, layer) if isinstance(layer, layers.Matrix | layers.Scale) else stage


def map_sizes(given: Shape, made: Shape) -> dict[str, int]:
    """Heights, widths and channels of the maps before and after a layer; a vector is one pixel."""
    sizes: dict[str, int] = {}
    for side, shape in (("in", given), ("out", made)):
        height, width, channels = (1, 1, 1, *shape)[-3:]
        sizes |= {f"{side}_height": height, f"{side}_width": width, f"{side}_channels": channels}
    return sizes


def width_fields(
    source: Precision, weight: Precision, bias: Precision, accum: Precision, result: Precision, table: Precision
) -> Own:
    """Widths and fractions of everything that flows through a layer, as :class:`Stage` names them."""
    return {
        "input_bits": source.width_bits,
        "input_fraction": source.fraction_bits,
        "input_signed": source.signed,
        "weight_bits": weight.width_bits,
        "weight_fraction": weight.fraction_bits,
        "bias_bits": bias.width_bits,
        "accum_bits": accum.width_bits,
        "accum_fraction": accum.fraction_bits,
        "output_bits": result.width_bits,
        "output_fraction": result.fraction_bits,
        "output_signed": result.signed,
        "output_saturates": result.overflow is not Overflow.WRAP,
        "output_rounds": result.rounding is not Rounding.TRN,
        "table_bits": table.width_bits,
    }


# What each class of layer adds: its kind, and the fields of Stage that apply to it; types by their role.
Own = dict[str, Any]


def unpriced(layer: Layer) -> Own:
    return {"kind": UNPRICED}


def plain(kind: str) -> Callable[[Layer], Own]:
    """A kind without fields of its own."""
    return lambda layer: {"kind": kind}


def matrix(kind: str) -> Callable[[Any], Own]:
    """Products with constants."""

    def describe(layer: layers.Matrix) -> Own:
        bias = {} if layer.bias is None else {"bias": layer.bias.precision}
        window = window_sizes(layer.window) if isinstance(layer, layers.Convolutional) else {}
        types = {"weight": layer.weight.precision, "accum": layer.accum, **bias}
        return {"kind": kind, "zeros": layer.zeros, **types, **window}

    return describe


def window_sizes(window: Window) -> dict[str, int]:
    """Kernel and stride of a window over one or two axes; one axis is a row."""
    (*rows, columns), (*down, across) = window.kernel, window.strides
    return {
        "kernel_height": rows[0] if rows else 1,
        "kernel_width": columns,
        "stride_height": down[0] if down else 1,
        "stride_width": across,
    }


def scale(layer: layers.Scale) -> Own:
    zeros = layer.scale.size - layer.scale.nonzeros
    types = {"weight": layer.scale.precision, "bias": layer.bias.precision, "accum": layer.accum or layer.result}
    return {"kind": "scale", "zeros": zeros, **types}


def function(kind: str) -> Callable[[Any], Own]:
    """Functions of one value without a table, told apart by name."""
    return lambda layer: {"kind": kind, "operation": str(getattr(layer, "function", layer.kind)).replace(" ", "")}


def table(layer: layers.TableActivation | layers.Elu) -> Own:
    name = str(layer.function) if isinstance(layer, layers.TableActivation) else "elu"
    return {"kind": "table", "operation": name, "table": layer.table, "table_size": layer.table_size}


def bit_table(layer: layers.BitTable) -> Own:
    return {"kind": "table", "operation": "bit table", "table": layer.table.precision, "table_size": layer.table.size}


def softmax(layer: layers.Softmax) -> Own:
    types = {"accum": layer.accum, "table": layer.exp_table}
    return {"kind": "softmax", "operation": str(layer.form), "table_size": layer.exp_table_size, **types}


def pooling(layer: layers.Pooling) -> Own:
    window = window_sizes(layer.window)
    return {"kind": "pool", "operation": str(layer.operation), "accum": layer.accum, **window}


def global_pooling(layer: layers.GlobalPooling) -> Own:
    return {"kind": "global_pool", "operation": str(layer.operation), "accum": layer.accum}


def merge(layer: layers.Merge) -> Own:
    return {"kind": "merge", "operation": str(layer.operation)}


def dot(layer: layers.Dot) -> Own:
    return {"kind": "merge", "operation": "dot", "accum": layer.accum}


def padding(layer: layers.ZeroPadding) -> Own:
    """Top, bottom, left and right."""
    sides = [side for pair in zip(layer.before, layer.after, strict=True) for side in pair]
    return {"kind": "pad", "padding": tuple([0, 0, *sides][-4:])}


STAGES: dict[type[Layer], Callable[[Any], Own]] = {
    layers.Input: plain("input"),
    layers.Constant: plain("input"),
    layers.Dense: matrix("dense"),
    layers.Convolution: matrix("conv"),
    layers.Pointwise: matrix("pointwise"),
    layers.Depthwise: matrix("depthwise"),
    layers.Scale: scale,
    **dict.fromkeys(
        (
            *(layers.Activation, layers.HardActivation, layers.LeakyRelu, layers.ThresholdedRelu),
            *(layers.Prelu, layers.Threshold),
        ),
        function("activation"),
    ),
    layers.TableActivation: table,
    layers.Elu: table,
    layers.BitTable: bit_table,
    layers.Quantize: plain("quantize"),
    layers.Softmax: softmax,
    layers.Pooling: pooling,
    layers.GlobalPooling: global_pooling,
    layers.Merge: merge,
    layers.Concatenate: plain("merge"),
    layers.Dot: dot,
    layers.Reshape: plain("wire"),
    layers.Repack: plain("repack"),
    layers.ZeroPadding: padding,
    layers.Resize: plain("resize"),
    layers.Clone: plain("clone"),
    **dict.fromkeys((layers.Transpose, layers.Cropping, layers.Broadcast), plain("copy")),
}


def with_kernel(stage: Stage, layer: layers.Matrix | layers.Scale) -> Stage:
    """Matrix sizes and weight facts of a layer that multiplies by constants."""
    kernel = kernel_matrix(layer)
    bias = None if layer.bias is None else layer.bias.integers
    stage = replace(stage, n_in=kernel.shape[0], n_out=kernel.shape[1])
    facts = weight_facts(kernel, bias, separate=isinstance(layer, layers.Depthwise | layers.Scale))
    last = block_bits(kernel, stage.reuse_factor) if stage.resource else -1
    return replace(stage, facts=facts, last_block_bits=last)


def kernel_matrix(layer: layers.Matrix | layers.Scale) -> Integers:
    """Weights as ``[n_in, n_out]``: a convolution unrolled, one column a channel if depthwise."""
    match layer:
        case layers.Scale():
            return layer.scale.integers.reshape(1, -1)
        case layers.Depthwise():
            return layer.weight.integers.reshape(layer.window.size, -1)
        case _:
            return layer.weight.integers.reshape(-1, layer.weight.shape[-1])
