"""What layers are made of: tensors, integer weights, constants, windows, and how hardware is built."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.precision import Precision

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


class Strategy(StrEnum):
    """How a product with constants is built (hls4ml's ``strategy`` of a layer)."""

    LATENCY = "latency"  # every product at once, unless a reuse factor limits the multipliers
    RESOURCE = "resource"  # weights in memories, multipliers used ``reuse_factor`` times
    RESOURCE_UNROLLED = "resource_unrolled"  # the same with its loops written out
    UNROLLED = "unrolled"
    DISTRIBUTED_ARITHMETIC = "distributed_arithmetic"  # adder graphs by da4ml
    COMPRESSED = "compressed"  # only weights that are not zero


class Product(StrEnum):
    """hls4ml's class of product (``nnet_mult.h``): in 1-bit operands 0 stands for -1."""

    MULT = "mult"
    DATA_BINARY = "data_binary"
    WEIGHT_BINARY = "weight_binary"
    BOTH_BINARY = "both_binary"
    WEIGHT_TERNARY = "weight_ternary"
    WEIGHT_EXPONENTIAL = "weight_exponential"


@dataclass(frozen=True)
class Tensor:
    """A named value between layers: shape without the batch axis, element type, FIFO depth (0: no FIFO)."""

    name: str
    shape: Shape
    precision: Precision
    fifo_depth: int = 0

    @property
    def size(self) -> int:
        """Elements of one image."""
        return math.prod(self.shape)

    @property
    def pixels(self) -> int:
        """Tokens of one image in a stream: all but the last axis; a vector is one token."""
        return math.prod(self.shape[:-1])

    def __str__(self) -> str:
        depth = f" fifo {self.fifo_depth}" if self.fifo_depth else ""
        return f"{self.name}[{', '.join(map(str, self.shape))}] {self.precision}{depth}"


@dataclass(frozen=True, eq=False)
class Weight:
    """A constant array in Keras' layout, as the integers the C++ stores: value = integer * ``precision.lsb``."""

    integers: Array  # int64
    precision: Precision

    @property
    def fraction_bits(self) -> int:
        """Bits below the binary point."""
        return self.precision.fraction_bits

    @property
    def values(self) -> npt.NDArray[np.float64]:
        """The real numbers."""
        return np.ldexp(self.integers.astype(np.float64), -self.fraction_bits)

    @property
    def shape(self) -> Shape:
        return self.integers.shape

    @property
    def size(self) -> int:
        return self.integers.size

    @property
    def nonzeros(self) -> int:
        """Weights that are not zero."""
        return int(np.count_nonzero(self.integers))

    def same(self, other: Weight) -> bool:
        """Whether both hold the same integers of the same type in the same shape."""
        return self.precision == other.precision and np.array_equal(self.integers, other.integers)


@dataclass(frozen=True)
class Scalar:
    """One constant as its type stores it: value = integer * ``precision.lsb``."""

    integer: int
    precision: Precision

    @classmethod
    def of(cls, value: float, precision: Precision) -> Scalar:
        """A number as assignment to the type stores it."""
        return cls(int(precision.to_integers(value)), precision)

    def __str__(self) -> str:
        return f"{self.integer * self.precision.lsb:g}: {self.precision}"


@dataclass(frozen=True)
class Window:
    """How a kernel moves over an image, per spatial axis: sizes, steps, zeros around the image, positions."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    dilations: tuple[int, ...]
    out: tuple[int, ...]

    @property
    def padded(self) -> bool:
        """Whether zeros are added around the image."""
        return any(self.before) or any(self.after)

    @property
    def size(self) -> int:
        """Pixels under the kernel."""
        return math.prod(self.kernel)

    def __str__(self) -> str:
        parts = ["x".join(map(str, self.kernel))]
        parts += [f"stride {'x'.join(map(str, self.strides))}"] if set(self.strides) != {1} else []
        parts += [f"pad {'x'.join(map(str, self.before))}+{'x'.join(map(str, self.after))}"] if self.padded else []
        parts += [f"dilation {'x'.join(map(str, self.dilations))}"] if set(self.dilations) != {1} else []
        return " ".join(parts)


@dataclass(frozen=True)
class Build:
    """How the hardware of a layer is built; ``None`` where hls4ml gives a layer no such setting."""

    strategy: Strategy | None = None
    reuse_factor: int | None = None  # products that share one multiplier
    parallelization: int = 1  # positions of an io_parallel convolution computed side by side
    adder_luts: float | None = None  # da4ml's own LUT figure of the adder graph

    def __str__(self) -> str:
        parts = [str(self.strategy)] if self.strategy else []
        parts += [f"RF {self.reuse_factor}"] if self.reuse_factor is not None else []
        parts += [f"{self.parallelization} in parallel"] if self.parallelization > 1 else []
        return " ".join(parts)
