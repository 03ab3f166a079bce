"""One hardware stage per hls4ml layer: the numbers that cycles and area depend on, and nothing else.

A stage comes from a converted graph (:func:`stages_of`) or from a row of synthesis results
(:mod:`toolkit.estimation.rows`); every model of this package works on stages only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from toolkit.config import HlsConfig
from toolkit.estimation.weights import Integers, WeightFacts, block_bits, weight_facts
from toolkit.precision import Precision
from toolkit.records import Graph, Layer

# hls4ml class -> kind of stage. Kinds share one model of cycles and area.
KIND_OF = {
    "Dense": "dense",
    "Conv1D": "conv",
    "Conv2D": "conv",
    "Conv2DBatchnorm": "conv",
    "PointwiseConv1D": "pointwise",
    "PointwiseConv2D": "pointwise",
    "DepthwiseConv1D": "depthwise",
    "DepthwiseConv2D": "depthwise",
    "SeparableConv1D": "separable",
    "SeparableConv2D": "separable",
    "Pooling1D": "pool",
    "Pooling2D": "pool",
    "GlobalPooling1D": "global_pool",
    "GlobalPooling2D": "global_pool",
    "Activation": "activation",
    "ParametrizedActivation": "activation",
    "HardActivation": "activation",
    "PReLU": "activation",
    "TernaryTanh": "activation",
    "UnaryLUT": "table",
    "Softmax": "softmax",
    "BatchNormalization": "scale",
    "ApplyAlpha": "scale",
    "BatchNormalizationQuantizedTanh": "activation",
    "ZeroPadding1D": "pad",
    "ZeroPadding2D": "pad",
    "Cropping1D": "copy",
    "Cropping2D": "copy",
    "Merge": "merge",
    "Concatenate": "merge",
    "Dot": "merge",
    "Resize": "resize",
    "Clone": "clone",
    "Broadcast": "copy",
    "Repack": "repack",
    "Transpose": "copy",
    "FixedPointQuantizer": "quantize",
    "Quant": "quantize",
    "Input": "input",
    "InputLayer": "input",
    "Constant": "input",
    "Reshape": "wire",
    "Flatten": "wire",
    "FinalReshape": "wire",
}
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


def kind_of(layer: Layer) -> str:
    """Kind of stage a layer becomes; ``unpriced`` for a class no model covers."""
    activation = str(layer.attributes.get("activation", "")).lower()
    kind = KIND_OF.get(layer.kind, UNPRICED)
    return "table" if kind == "activation" and activation in TABLE_ACTIVATIONS else kind


def stages_of(graph: Graph, config: HlsConfig) -> tuple[Stage, ...]:
    """The stages of a converted graph, in its order; inputs and in-place reshapes included as kinds of no cost."""
    same = aliases(graph) if config.io_type == "io_stream" else {}
    return tuple(stage_of(layer, graph, config, same) for layer in graph.layers)


def aliases(graph: Graph) -> dict[str, str]:
    """Outputs of in-place reshapes -> the stream they are."""
    same: dict[str, str] = {}
    for layer in graph.layers:
        if layer.kind in ("Reshape", "Flatten", "FinalReshape") and layer.inputs:
            for name in layer.outputs:
                same[name] = same.get(layer.inputs[0], layer.inputs[0])
    return same


def stage_of(layer: Layer, graph: Graph, config: HlsConfig, same: Mapping[str, str]) -> Stage:
    """One layer of a graph as a stage; ``same`` maps the names of in-place reshapes to the stream they are."""
    kind = kind_of(layer)
    source = layer.inputs[0] if layer.inputs else ""
    tensor_in = graph.tensors.get(same.get(source, source))
    given = tensor_in or graph.tensors[layer.outputs[0]]
    made = graph.tensors[layer.outputs[0]]
    stage = Stage(
        name=layer.name,
        kind=kind,
        strategy=str(layer.attributes.get("strategy", config.strategy)).lower(),
        io_type=config.io_type,
        reuse_factor=int(layer.attributes.get("reuse_factor", config.reuse_factor)),
        n_in=math.prod(given.shape),
        n_out=math.prod(made.shape),
        operation=operation_of(layer),
        table_size=int(layer.attributes.get("table_size", 0)),
        copies=max(len(layer.outputs), len(layer.inputs), 1),
        outer=sum(kind_of(other) not in ("input", "wire") for other in graph.layers) == 1,
        parallel_outputs=int(layer.attributes.get("parallelization_factor", 1)),
        da_lut=float(layer.attributes.get("da_kernel_cost", -1.0)),
        **map_sizes(given.shape, made.shape),
    )
    stage = with_types(stage, layer, given.precision, made.precision)
    stage = with_geometry(stage, layer)
    return with_kernel(stage, layer) if kind in MATRIX_KINDS or kind == "scale" else stage


def map_sizes(given: tuple[int, ...], made: tuple[int, ...]) -> dict[str, Any]:
    """Heights, widths and channels of the maps before and after a layer; a vector is one pixel."""
    sizes: dict[str, Any] = {}
    for side, shape in (("in", given), ("out", made)):
        height, width, channels = (1, 1, 1, *shape)[-3:]
        sizes |= {f"{side}_height": height, f"{side}_width": width, f"{side}_channels": channels}
    return sizes


def operation_of(layer: Layer) -> str:
    """What tells two layers of one kind apart: activation, pooling or merge operation, softmax implementation."""
    for key in ("activation", "pool_op", "op"):
        if key in layer.attributes and layer.kind != "Softmax":
            return str(layer.attributes[key]).lower()
    return str(layer.attributes.get("implementation", layer.kind)).lower()


def with_types(stage: Stage, layer: Layer, given: str, made: str) -> Stage:
    """Widths and fractions of everything that flows through a layer."""
    source, result = Precision.parse(given), Precision.parse(layer.types.get("result_t", made))
    accum = Precision.parse(layer.types.get("accum_t", str(result)))
    weights = [weight for name, weight in layer.weights.items() if name in ("weight", "depthwise", "scale")]
    weight = Precision.parse(weights[0].precision) if weights else source
    bias = Precision.parse(layer.weights["bias"].precision) if "bias" in layer.weights else weight
    table = Precision.parse(layer.types["table_t"]) if "table_t" in layer.types else result
    if "exp_table_t" in layer.types:
        table = Precision.parse(layer.types["exp_table_t"])
    return replace(
        stage,
        input_bits=source.width_bits,
        input_fraction=source.fraction_bits,
        input_signed=source.signed,
        weight_bits=weight.width_bits,
        weight_fraction=weight.fraction_bits,
        bias_bits=bias.width_bits,
        accum_bits=accum.width_bits,
        accum_fraction=accum.fraction_bits,
        output_bits=result.width_bits,
        output_fraction=result.fraction_bits,
        output_signed=result.signed,
        output_saturates=str(result.overflow) != "WRAP",
        output_rounds=str(result.rounding) != "TRN",
        table_bits=table.width_bits,
    )


def with_geometry(stage: Stage, layer: Layer) -> Stage:
    """Kernel, stride and padding of convolution, pooling and padding layers."""
    values: Mapping[str, object] = layer.attributes

    def size(*names: str) -> int:
        found = next((values[name] for name in names if name in values), 1)
        return int(str(found))

    if stage.kind in ("pool", "conv", "depthwise", "pointwise", "separable"):
        one_dimensional = "1D" in layer.kind
        stage = replace(
            stage,
            kernel_height=1 if one_dimensional else size("filt_height", "pool_height"),
            kernel_width=size("filt_width", "pool_width"),
            stride_height=1 if one_dimensional else size("stride_height"),
            stride_width=size("stride_width"),
        )
    if stage.kind == "pad":
        top, bottom, left, right = (
            int(str(values.get(f"pad_{side}", 0))) for side in ("top", "bottom", "left", "right")
        )
        stage = replace(stage, padding=(top, bottom, left, right))
    return stage


def with_kernel(stage: Stage, layer: Layer) -> Stage:
    """Matrix sizes and weight facts of a layer that multiplies by constants."""
    name = next((name for name in ("weight", "depthwise", "scale") if name in layer.weights), None)
    if name is None:
        return stage
    weight = layer.weights[name]
    integers = Precision.parse(weight.precision).to_integers(weight.values).astype(np.int64)
    kernel = kernel_matrix(integers, stage)
    bias_weight = layer.weights.get("bias")
    bias = None if bias_weight is None else np.asarray(bias_weight.values != 0, np.int64)
    zeros = int(layer.attributes.get(f"{name}_nzeros", kernel.size - np.count_nonzero(kernel)))
    stage = replace(stage, n_in=kernel.shape[0], n_out=kernel.shape[1], zeros=zeros)
    facts = weight_facts(kernel, bias, separate=stage.kind in ("depthwise", "scale"))
    last = block_bits(kernel, stage.reuse_factor) if stage.resource else -1
    return replace(stage, facts=facts, last_block_bits=last)


def kernel_matrix(integers: Integers, stage: Stage) -> Integers:
    """Weights in Keras' layout as ``[n_in, n_out]``: a convolution unrolled, one column a channel if depthwise."""
    if stage.kind == "scale":
        return integers.reshape(1, -1)
    if stage.kind == "depthwise":
        return integers.reshape(stage.kernel_size, -1)
    return integers.reshape(-1, integers.shape[-1])
