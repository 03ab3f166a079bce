"""Look-up tables as hls4ml's C++ builds them (``nnet_utils/nnet_activation.h``).

The tables are computed in float and double and then cast to the table type. The float functions
come from the C library, the same one csim links to, because a last-digit difference can move an
entry across a rounding boundary.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.precision import Overflow, Precision

Array = npt.NDArray[Any]
F32 = np.float32


@cache
def c_function(name: str) -> Callable[[float], float]:
    """A function of one float (``expf``) or double (``log``) of the C library."""
    library = ctypes.CDLL(ctypes.util.find_library("m") or None)
    function = getattr(library, name)
    kind = ctypes.c_float if name.endswith("f") else ctypes.c_double
    function.argtypes, function.restype = [kind], kind
    return function  # type: ignore[no-any-return]


def c_map(name: str, values: Array) -> Array:
    """A C library function over an array; float results for the ``f`` functions."""
    function = c_function(name)
    results = [function(float(value)) for value in values]
    return np.asarray(results, F32 if name.endswith("f") else np.float64)


def symmetric_grid(size: int, reach: float) -> Array:
    """``float in_val = 2 * reach * (ii - float(N) / 2.0) / float(N)``."""
    return (2 * reach * (np.arange(size) - size / 2.0) / size).astype(F32)


def negative_grid(size: int) -> Array:
    """``float in_val = -8.0 * ii / float(N)``."""
    return (-8.0 * np.arange(size) / size).astype(F32)


def sigmoid_values(size: int) -> Array:
    with np.errstate(over="ignore"):
        return (1.0 / (F32(1) + c_map("expf", -symmetric_grid(size, 8.0))).astype(np.float64)).astype(F32)


def tanh_values(size: int) -> Array:
    return c_map("tanhf", symmetric_grid(size, 4.0))


def softplus_values(size: int) -> Array:
    return c_map("log", c_map("expf", symmetric_grid(size, 8.0)).astype(np.float64) + 1.0).astype(F32)


def softsign_values(size: int) -> Array:
    grid = symmetric_grid(size, 8.0)
    return (grid.astype(np.float64) / (np.abs(grid).astype(np.float64) + 1.0)).astype(F32)


def elu_values(size: int) -> Array:
    return (c_map("expf", negative_grid(size)).astype(np.float64) - 1.0).astype(F32)


def selu_values(size: int) -> Array:
    inner = c_map("expf", negative_grid(size)).astype(np.float64) - 1.0
    return (1.0507009873554804934193349852946 * (1.6732632423543772848170429916717 * inner)).astype(F32)


def legacy_exp_values(size: int) -> Array:
    return c_map("expf", symmetric_grid(size, 8.0))


def legacy_inverse_values(size: int) -> Array:
    grid = (64.0 * np.arange(size) / size).astype(F32).astype(np.float64)
    with np.errstate(divide="ignore"):
        return np.where(grid > 0, 1.0 / grid, 0.0)


def exp_values(size: int, address: Precision, scale: float, negative: bool) -> Array:
    """``exp_table``: the exponential of what the top bits of ``address`` stand for."""
    points = top_bit_values(size, address) * F32(scale)
    return c_map("expf", -points if negative else points)


def inverse_values(size: int, address: Precision) -> Array:
    """``invert_table``: ``1 / x``, infinite at zero."""
    with np.errstate(divide="ignore"):
        return F32(1) / top_bit_values(size, address)


def top_bit_values(size: int, address: Precision) -> Array:
    """The value of a type whose top address bits count from 0 and whose other bits are zero (float32)."""
    patterns = np.arange(size, dtype=np.int64) << (address.width_bits - address_bits(size))
    if address.signed:
        half, span = 1 << (address.width_bits - 1), 1 << address.width_bits
        patterns = np.where(patterns >= half, patterns - span, patterns)
    return np.ldexp(patterns.astype(np.float64), -address.fraction_bits).astype(F32)


def address_bits(size: int) -> int:
    """``ceillog2(table_size)``."""
    return max(size - 1, 0).bit_length()


def to_table(values: Array, precision: Precision) -> Array:
    """Table entries as the integers of the table type; an infinity saturates, or wraps to zero."""
    real = values.astype(np.float64)
    finite = np.where(np.isinf(real), 0.0, real)
    entries = precision.to_integers(finite).astype(np.int64)
    if not np.isinf(real).any():
        return entries
    saturates = precision.overflow in (Overflow.SAT, Overflow.SAT_SYM)
    above, below = (precision.integer_max, precision.integer_min) if saturates else (0, 0)
    return np.where(np.isposinf(real), above, np.where(np.isneginf(real), below, entries))
