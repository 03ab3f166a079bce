"""Tables of hls4ml's softmax, sized so that two logits become one only where they are equal.

``softmax_stable`` (``nnet_activation.h``) reads ``exp(x - max)`` from a table that is addressed by the
top bits of ``max - x`` in ``inp_norm_t``, and ``1 / sum`` from one addressed by the top bits of the sum
in ``inv_inp_t``. hls4ml's defaults, 1,024 entries over the whole type of the logits, give one address to
all logits within a step (``2**6 / 1024`` of ``ap_fixed<16,6>``: those tie, and argmax takes the first),
wrap differences of more than half the type, and divide by a sum in steps of a quarter.

Here a difference of eight and more is one entry (``exp(-8)`` is 0.0003), below it every step of the
logits has its own, and the sum's type holds ``n`` classes and no more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.errors import ConfigError
from toolkit.network.layers import Softmax, SoftmaxForm
from toolkit.precision import Overflow, Precision, Rounding

REACH_BITS = 3  # differences up to 2**3 are told apart
LARGEST_SIZE = 1 << 16  # entries; a table of 18 bits takes 72 BRAM18K then
INVERSE_SIZE = 1 << 12  # 1 / sum to 0.2 %
HLS4ML_SIZE = 1024
HLS4ML_TYPE = "ap_fixed<18,8,RND,SAT>"
LEGACY_REACH = 16  # softmax_legacy: differences from -8 to 8

TABLE = "ap_ufixed<18,1,RND,SAT>"  # of exp(x - max) and 1 / sum, both at most 1; as wide as a block RAM


@dataclass(frozen=True)
class Tables:
    """Entries of both tables, and the types hls4ml's softmax is configured with."""

    exp_size: int
    inv_size: int
    types: Mapping[str, str]  # by hls4ml's names without ``_t``


def check_size(layer: str, size: int | None) -> None:
    """Raise ``ConfigError`` unless the entries are a power of two: the C++ takes address bits as the index."""
    if size is not None and size & (size - 1):
        below = 1 << size.bit_length() - 1
        raise ConfigError(
            f"hls.layers.{layer}.table_size: a softmax reads its table by address bits, so its entries must be a "
            f"power of two, got {size}; nearest: {below}, {2 * below}"
        )


def stable_tables(logits: Precision, classes: int, size: int | None, named: Mapping[str, str]) -> Tables:
    """Tables of ``softmax_stable`` for logits of a type; ``size`` and ``named`` types are the user's."""
    norm = Precision.parse(named["inp_norm"]) if "inp_norm" in named else difference_type(logits, size)
    growth = math.ceil(math.log2(max(classes, 2)))
    exp = Precision.parse(named.get("exp_table", TABLE))
    address = address_bits(size or INVERSE_SIZE)
    whole = classes.bit_length()
    defaults = {
        "inp_norm": str(norm),
        "exp_table": TABLE,
        "inv_table": TABLE,
        "accum": str(Precision(exp.width_bits + growth, exp.integer_bits + growth, exp.signed)),
        "inv_inp": str(Precision(max(address, whole), whole, False, Rounding.RND, Overflow.SAT)),
    }
    types = defaults | dict(named)
    inv_size = min(1 << Precision.parse(types["inv_inp"]).width_bits, size or INVERSE_SIZE)
    exp_size = min(1 << norm.width_bits, size or LARGEST_SIZE)
    return Tables(exp_size, inv_size, types)


def difference_type(logits: Precision, size: int | None) -> Precision:
    """Type of ``max - x``: on the logits' grid, saturating, no wider than the table has addresses."""
    span = logits.integer_bits  # a signed type counts its sign, and the difference needs that bit
    reach = min(span, max(REACH_BITS, 1 - logits.fraction_bits))
    if size is None:
        width = min(reach + logits.fraction_bits, address_bits(LARGEST_SIZE))
    else:
        width = min(address_bits(size), logits.width_bits)
        reach = max(reach, width - logits.fraction_bits)
    rounding = Rounding.TRN if width - reach == logits.fraction_bits else Rounding.RND
    return Precision(max(width, 1), reach, False, rounding, Overflow.SAT)


def tells_apart(logits: Precision) -> bool:
    """Whether the largest table has an entry for every step of the logits."""
    return difference_type(logits, None).fraction_bits >= logits.fraction_bits


def latency_sizes(logits: Precision, size: int | None, inverse: Precision) -> tuple[int, int]:
    """Entries of ``softmax_latency``'s tables: the logits address the first themselves."""
    exp_size = min(1 << logits.width_bits, size or LARGEST_SIZE)
    return exp_size, min(size or HLS4ML_SIZE, 1 << inverse.width_bits)


def address_bits(size: int) -> int:
    """``ceillog2(table_size)``."""
    return max(size - 1, 1).bit_length()


# What a converted softmax does ----------------------------------------------------------------------


def table_step(layer: Softmax) -> float | None:
    """Difference of logits that one table entry stands for; ``None`` for argmax, which has no table."""
    if layer.form is SoftmaxForm.ARGMAX:
        return None
    if layer.form is SoftmaxForm.LEGACY:
        return LEGACY_REACH / HLS4ML_SIZE
    address = layer.source.precision if layer.form is SoftmaxForm.LATENCY else layer.norm
    return float(2.0 ** max(address.width_bits - address_bits(layer.exp_table_size), 0) * address.lsb)


def wraps_from(layer: Softmax) -> float | None:
    """Difference of logits from which ``max - x`` wraps to a small one; ``None`` where it cannot."""
    if layer.form is not SoftmaxForm.STABLE:
        return None
    norm, logits = layer.norm, layer.source.precision
    largest = logits.maximum - logits.minimum
    return norm.maximum + norm.lsb if norm.overflow is Overflow.WRAP and largest > norm.maximum else None


def lost_decision(layer: Softmax) -> tuple[str, str] | None:
    """Where the largest logit and one that is a step below it become equal: the key that decides it, and how.

    ``None`` where argmax over the outputs is argmax over the logits unless those tie.
    """
    step, lsb = table_step(layer), layer.source.precision.lsb
    if step is None:
        return None
    if step > lsb:
        return "table_size", f"a table entry stands for {step:g} of the logits, whose grid is {lsb:g}"
    below = math.exp(-lsb)
    for key, precision in (("exp_table", layer.exp_table), ("accum", layer.accum)):
        top, below = (float(value) for value in precision.quantize([1.0, below]))
        if top == below:
            return key, f"its type {precision} holds exp(-{lsb:g}) as {below:g}, like exp(0)"
    share = (1 - math.exp(-lsb)) / layer.shape[-1]
    if share < layer.result.lsb:
        steps = f"its type {layer.result} has steps of {layer.result.lsb:.2g}"
        return "result", f"probabilities can differ by {share:.2g}, {steps}"
    return None
