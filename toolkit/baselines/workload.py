"""What a Keras model asks of a machine: its kernels after fusion, with FLOPs and bytes per image."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

# Elementwise layers that TensorRT and ONNX Runtime fuse into the kernel before them.
FUSED = ("BatchNormalization", "Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax", "Add", "Multiply")
# No kernel at inference: views, regularizers, inputs, and padding, which becomes the convolution's own.
FREE = (
    "InputLayer",
    "Flatten",
    "Reshape",
    "Dropout",
    "SpatialDropout2D",
    "SpatialDropout1D",
    "Rescaling",
    "ZeroPadding1D",
    "ZeroPadding2D",
)


@dataclass(frozen=True)
class Kernel:
    """One GPU kernel of the fused graph, per image: ``macs`` multiply-accumulates and elements moved.

    ``input_elements`` and ``output_elements`` are per image, ``weight_elements`` once per batch.
    ``fused`` names the layers that run in it besides ``name``.
    """

    name: str
    kind: str
    macs: int
    input_elements: int
    output_elements: int
    weight_elements: int
    fused: tuple[str, ...] = ()
    rows: int = 1  # output positions (matrix rows) per image, for the occupancy of the matrix units
    columns: int = 1  # output channels


def kernels(model: keras.Model) -> tuple[Kernel, ...]:
    """The model's layers as fused kernels in execution order: conv + batch norm + relu + add is one."""
    done: list[Kernel] = []
    for layer in leaf_layers(model):
        kind = kind_of(layer)
        if kind in FREE:
            continue
        if kind in FUSED and done:
            done[-1] = join(done[-1], layer)
        elif kind in ("SeparableConv1D", "SeparableConv2D"):
            done += separable(layer)
        else:
            done.append(kernel(layer))
            if activation_name(layer) != "linear":
                done[-1] = join(done[-1], None, f"{layer.name}:{activation_name(layer)}")
    return tuple(done)


def fused_names(found: tuple[Kernel, ...]) -> tuple[str, ...]:
    """The kernels that hold more than one operation, written ``conv1 + relu``."""
    return tuple(" + ".join((item.name, *item.fused)) for item in found if item.fused)


def count_macs(model: keras.Model) -> int:
    """Multiply-accumulates of one image through convolutions and dense layers."""
    return sum(item.macs for item in kernels(model))


def leaf_layers(model: Any) -> Iterator[Any]:
    """Layers in order, those of nested models in their place."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from leaf_layers(layer)
        else:
            yield layer


def kind_of(layer: Any) -> str:
    """Keras' class name; QKeras layers count as what they quantize (``QConv2D`` is ``Conv2D``)."""
    name = type(layer).__name__
    if name == "QActivation":
        return "Activation"
    quantized = type(layer).__module__.startswith("qkeras") and name.startswith("Q")
    return name[1:] if quantized else name


def activation_name(layer: Any) -> str:
    """Name of the activation inside a layer, ``linear`` if none."""
    activation = getattr(layer, "activation", None)
    return "linear" if activation is None else str(getattr(activation, "__name__", type(activation).__name__))


def elements(shape: Any) -> int:
    """Elements of one image of a Keras shape (or of a list of them)."""
    if isinstance(shape, list) or (shape and isinstance(shape[0], tuple | list)):
        return sum(elements(item) for item in shape)
    return math.prod(size or 1 for size in shape[1:])


def output_shape(layer: Any) -> tuple[int, ...]:
    shape = layer.output.shape
    return tuple(size or 1 for size in shape[1:])


def input_elements(layer: Any) -> int:
    value = layer.input
    return sum(elements(item.shape) for item in value) if isinstance(value, list | tuple) else elements(value.shape)


def kernel(layer: Any) -> Kernel:
    """One layer as a kernel by itself."""
    shape = output_shape(layer)
    weights = sum(math.prod(item.shape) for item in layer.weights) if layer.weights else 0
    columns = shape[-1] if shape else 1
    return Kernel(
        layer.name,
        kind_of(layer),
        macs(layer, shape),
        input_elements(layer),
        math.prod(shape),
        weights,
        rows=math.prod(shape[:-1]),
        columns=columns,
    )


def macs(layer: Any, shape: tuple[int, ...]) -> int:
    """Multiply-accumulates per image: outputs times the kernel elements behind each."""
    kind = kind_of(layer)
    if kind in ("Conv1D", "Conv2D", "Dense"):
        return math.prod(shape) * int(math.prod(layer.kernel.shape[:-1]))
    if kind in ("DepthwiseConv2D", "DepthwiseConv1D"):
        return math.prod(shape) * int(math.prod(layer.kernel_size))
    return 0


def separable(layer: Any) -> list[Kernel]:
    """A separable convolution as its two kernels."""
    shape = output_shape(layer)
    depth, point = layer.depthwise_kernel.shape, layer.pointwise_kernel.shape
    middle, rows = depth[-2] * depth[-1], math.prod(shape[:-1])
    bias = shape[-1] if layer.use_bias else 0
    rank = len(layer.kernel_size)
    first = Kernel(
        f"{layer.name}/depthwise",
        f"DepthwiseConv{rank}D",
        rows * middle * math.prod(depth[:-2]),
        input_elements(layer),
        rows * middle,
        math.prod(depth),
        rows=rows,
        columns=middle,
    )
    second = Kernel(
        f"{layer.name}/pointwise",
        f"Conv{rank}D",
        rows * middle * shape[-1],
        rows * middle,
        math.prod(shape),
        math.prod(point) + bias,
        rows=rows,
        columns=shape[-1],
    )
    if activation_name(layer) != "linear":
        second = join(second, None, f"{layer.name}:{activation_name(layer)}")
    return [first, second]


def join(before: Kernel, layer: Any | None, name: str | None = None) -> Kernel:
    """``before`` with an elementwise layer fused into it; a second operand (Add) is read as well."""
    extra = 0
    if layer is not None and isinstance(layer.input, list | tuple):
        extra = input_elements(layer) - elements(layer.output.shape)
    return Kernel(
        before.name,
        before.kind,
        before.macs,
        before.input_elements + extra,
        before.output_elements,
        before.weight_elements,
        (*before.fused, name or layer.name),  # type: ignore[union-attr]
        before.rows,
        before.columns,
    )
