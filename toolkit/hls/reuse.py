"""Which reuse factors hls4ml builds as asked, and which one it would silently take instead.

The rules are those of ``FPGABackend._validate_reuse_factor`` (hls4ml 1.3.0,
``backends/fpga/fpga_backend.py``) for strategy Resource. Latency takes any reuse factor;
distributed arithmetic only 1.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from toolkit.errors import ConfigError

# hls4ml's classes that multiply a matrix of constants.
MATRIX_KINDS = ("Dense", "Conv1D", "Conv2D", "PointwiseConv1D", "PointwiseConv2D", "DepthwiseConv1D", "DepthwiseConv2D")

WRONG_ABOVE_N_IN = "computes convolutions wrongly, silently for Conv2D"

RULE = (
    "must divide n_in * n_out, be below n_in or a multiple of it, and leave ceil(n_in * n_out / min(n_in, RF)) "
    "a multiple of n_out (below n_in)"
)


def matrix_size(kind: str, attributes: Mapping[str, Any]) -> tuple[int, int]:
    """Rows and columns of a matrix layer as hls4ml counts them for its reuse factor, depthwise ones like full ones.

    The rule is ``FPGABackend.get_layer_mult_size``.

    >>> matrix_size("DepthwiseConv1D", {"n_chan": 4, "filt_width": 3, "n_filt": 4})
    (12, 4)
    """
    if kind == "Dense":
        return int(attributes["n_in"]), int(attributes["n_out"])
    window = int(attributes.get("filt_height", 1)) * int(attributes["filt_width"])
    return int(attributes["n_chan"]) * window, int(attributes["n_filt"])


def is_valid_reuse_factor(n_in: int, n_out: int, reuse_factor: int) -> bool:
    """Whether hls4ml builds a Resource matrix product of this size with this reuse factor.

    >>> is_valid_reuse_factor(27, 32, 54), is_valid_reuse_factor(27, 32, 64)
    (True, False)
    """
    if n_in * n_out % reuse_factor:
        return False
    if reuse_factor >= n_in:
        return reuse_factor % n_in == 0
    return math.ceil(n_in * n_out / reuse_factor) % n_out == 0


def missing_strategy(kind: str, io_type: str, strategy: str) -> str | None:
    """Why hls4ml 1.3.0 has no such form of a matrix layer, ``None`` when it has.

    ``kind`` is its hls4ml class or the network's word for it.

    >>> missing_strategy("DepthwiseConv2D", "io_parallel", "Resource")
    'Resource is not for depthwise convolutions with io_parallel'
    >>> missing_strategy("DepthwiseConv2D", "io_stream", "Resource")
    """
    depthwise = kind.lower().startswith("depthwise")
    if strategy == "Resource" and io_type == "io_parallel" and depthwise:
        return "Resource is not for depthwise convolutions with io_parallel"
    if strategy == "distributed_arithmetic" and depthwise:
        return "distributed_arithmetic is for Dense, Conv1D and Conv2D"
    return None


def ends_at_n_in(kind: str, io_type: str) -> bool:
    """Whether a Resource layer is computed wrongly above ``n_in``; ``kind`` is its class or the network's word.

    Measured with 1.3.0 and io_parallel: Conv2D and its 1x1 form (Vitis) give wrong values in every
    output (hls4ml issue 817); Conv1D, its 1x1 form and the Vivado versions stop at an assertion in csim.

    >>> ends_at_n_in("PointwiseConv2D", "io_parallel"), ends_at_n_in("Dense", "io_parallel")
    (True, False)
    """
    return io_type == "io_parallel" and kind.lower().startswith(("conv", "pointwise", "depthwise"))


@lru_cache(maxsize=4096)
def valid_reuse_factors(
    n_in: int, n_out: int, strategy: str = "Resource", *, at_most_n_in: bool = False
) -> tuple[int, ...]:
    """Every reuse factor hls4ml builds as asked, ascending; with ``at_most_n_in`` what Resource has up to there.

    For Latency, where any is accepted, those that divide the work evenly. Raises ``ConfigError``
    for an unknown strategy.
    """
    divisors = divisors_of(n_in * n_out)
    match strategy.lower():
        case "resource":
            highest = n_in if at_most_n_in else n_in * n_out
            return tuple(value for value in divisors if value <= highest and is_valid_reuse_factor(n_in, n_out, value))
        case "latency":
            return divisors
        case "distributed_arithmetic":
            return (1,)
    raise ConfigError(f'strategy: "{strategy}" is unknown; choose Latency, Resource or distributed_arithmetic')


def divisors_of(number: int) -> tuple[int, ...]:
    """Ascending divisors.

    >>> divisors_of(12)
    (1, 2, 3, 4, 6, 12)
    """
    small = [value for value in range(1, math.isqrt(number) + 1) if number % value == 0]
    return tuple(sorted({*small, *(number // value for value in small)}))


def neighbours(valid: tuple[int, ...], wanted: int) -> tuple[int, ...]:
    """The valid values on either side of ``wanted`` (one at the ends of the list).

    >>> neighbours((1, 3, 9, 27), 10)
    (9, 27)
    """
    position = bisect.bisect_left(valid, wanted)
    if position < len(valid) and valid[position] == wanted:
        return (wanted,)
    return valid[max(position - 1, 0) : position + 1]


def nearest_reuse_factor(valid: tuple[int, ...], wanted: int) -> int:
    """The valid value closest to ``wanted``; the smaller of two equally close, as hls4ml chooses."""
    return min(neighbours(valid, wanted), key=lambda value: (abs(value - wanted), value))


def right_reuse_factors(kind: str, size: tuple[int, int], io_type: str, strategy: str) -> tuple[int, ...]:
    """Every reuse factor hls4ml builds as asked and computes rightly for a matrix layer, ascending."""
    return valid_reuse_factors(*size, strategy, at_most_n_in=ends_at_n_in(kind, io_type))


def take_reuse_factor(
    layer: str, kind: str, size: tuple[int, int], io_type: str, strategy: str, wanted: int
) -> tuple[int, str | None]:
    """The reuse factor a layer is built with, and what is wrong with the one wanted if it is another.

    >>> take_reuse_factor("conv", "Conv2D", (27, 32), "io_parallel", "Resource", 27)
    (27, None)
    """
    if strategy.lower() == "latency":
        return wanted, None
    valid = right_reuse_factors(kind, size, io_type, strategy)
    if wanted in valid:
        return wanted, None
    n_in, n_out = size
    resource = strategy.lower() == "resource"
    rule = RULE if resource else "must be 1"
    if resource and ends_at_n_in(kind, io_type):
        rule += f"; with io_parallel also at most n_in = {n_in}, since above it hls4ml 1.3.0 {WRONG_ABOVE_N_IN}"
    near = ", ".join(str(value) for value in neighbours(valid, wanted))
    text = f"hls.reuse_factor of layer {layer} ({strategy}, n_in = {n_in}, n_out = {n_out}) {rule}"
    return nearest_reuse_factor(valid, wanted), f"{text}; got {wanted}, nearest valid: {near}"
