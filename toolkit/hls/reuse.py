"""Which reuse factors hls4ml builds as asked, and which one it would silently take instead.

The rules are those of ``FPGABackend._validate_reuse_factor`` (hls4ml 1.3.0,
``backends/fpga/fpga_backend.py``) for strategy Resource. Latency takes any reuse factor;
distributed arithmetic only 1.
"""

from __future__ import annotations

import bisect
import math

from toolkit.errors import ConfigError

# Measured with 1.3.0, io_parallel and Resource: Conv2D and its 1x1 form (Vitis) give wrong values in
# every output; Conv1D, its 1x1 form and the Vivado versions stop at an assertion in csim.
WRONG_ABOVE_N_IN = "computes convolutions wrongly, silently for Conv2D"

RULE = (
    "must divide n_in * n_out, be below n_in or a multiple of it, and leave ceil(n_in * n_out / min(n_in, RF)) "
    "a multiple of n_out (below n_in)"
)


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


def valid_reuse_factors(n_in: int, n_out: int, strategy: str = "Resource") -> tuple[int, ...]:
    """Every reuse factor hls4ml builds as asked, ascending.

    For Latency, where any is accepted, those that divide the work evenly. Raises ``ConfigError``
    for an unknown strategy.
    """
    divisors = divisors_of(n_in * n_out)
    match strategy.lower():
        case "resource":
            return tuple(value for value in divisors if is_valid_reuse_factor(n_in, n_out, value))
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
