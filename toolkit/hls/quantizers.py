"""QKeras quantizers as fixed-point types.

QKeras counts integer bits without the sign; ``ap_fixed`` counts it. QKeras rounds half to even and
saturates, so activations get ``RND_CONV`` and ``SAT`` (``SAT_SYM`` when symmetric).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from toolkit.errors import UnsupportedLayer
from toolkit.precision import Overflow, Precision, Rounding
from toolkit.records import Array

# A signed float32 scale that is no power of two takes 25 bits, and sums of such weights are not exact in
# QKeras either; wider types are refused.
WIDEST_WEIGHT_BITS = 24


def quantizer_kind(quantizer: Any) -> str:
    """QKeras' name of a quantizer: ``quantized_bits``, ``quantized_relu``, ``binary``, ...

    Subclasses count as the QKeras class they extend; a function counts as its own name.
    """
    for ancestor in type(quantizer).__mro__:
        if ancestor.__module__.startswith("qkeras."):
            return ancestor.__name__.removeprefix("stochastic_")
    return str(getattr(quantizer, "__name__", type(quantizer).__name__))


def spelled(quantizer: Any) -> str:
    """A quantizer for an error message, such as ``quantized_bits(bits=6, integer=2, alpha=1)``.

    Not ``str``, which some QKeras quantizers do not survive.
    """
    if not hasattr(quantizer, "get_config"):
        return quantizer_kind(quantizer)
    settings = {name: value for name, value in quantizer.get_config().items() if value is not None}
    return f"{quantizer_kind(quantizer)}({', '.join(f'{name}={value}' for name, value in settings.items())})"


def quantizer_precision(quantizer: Any, layer: str) -> Precision:
    """The type of what an activation quantizer puts out.

    Raises ``UnsupportedLayer`` naming the layer for a quantizer without an exact fixed-point type:
    data-dependent or non-power-of-two scales, noise, real tanh or sigmoid, power-of-two values.
    """
    kind = quantizer_kind(quantizer)
    require_deterministic(quantizer, layer)
    bits = int(quantizer.bits)
    match kind:
        case "quantized_bits" | "quantized_linear":
            signed = bool(quantizer.keep_negative)
            # quantized_bits scales what it has rounded, quantized_linear the grid it rounds to.
            require(kind == "quantized_linear" or quantizer.alpha in (None, 1), layer, quantizer, "a scale alpha")
            shift = scale_exponent(quantizer, layer)
            if signed and bits == 1:
                raise UnsupportedLayer(
                    f"layer {layer!r}: a 1-bit signed activation must be binary(), got {spelled(quantizer)}"
                )
            overflow = Overflow.SAT_SYM if signed and quantizer.symmetric else Overflow.SAT
            return Precision(bits, int(quantizer.integer) + signed + shift, signed, Rounding.RND_CONV, overflow)
        case "quantized_relu":
            require(not quantizer.use_sigmoid, layer, quantizer, "use_sigmoid")
            signed = quantizer.negative_slope != 0
            bound = quantizer.relu_upper_bound
            clips = bool(bound) and not quantizer.is_quantized_clip and bound < 2.0 ** int(quantizer.integer)
            require(not clips, layer, quantizer, f"relu_upper_bound={bound}")
            return Precision(bits, int(quantizer.integer) + signed, signed, Rounding.RND_CONV, Overflow.SAT)
        case "quantized_tanh":
            require(not quantizer.use_real_tanh, layer, quantizer, "use_real_tanh")
            overflow = Overflow.SAT_SYM if quantizer.symmetric else Overflow.SAT
            return Precision(bits, 1, True, Rounding.RND_CONV, overflow)
        case "quantized_sigmoid":
            require(not quantizer.use_real_sigmoid and not quantizer.symmetric, layer, quantizer, "use_real_sigmoid")
            return Precision(bits, 0, False, Rounding.RND_CONV, Overflow.SAT)
        case "binary":
            require(not quantizer.use_01 and quantizer.alpha in (None, 1, 1.0), layer, quantizer, "use_01 or a scale")
            return Precision(2, 2)
    raise UnsupportedLayer(f"layer {layer!r}: activation {spelled(quantizer)} has no exact counterpart in hls4ml")


def require(condition: bool, layer: str, quantizer: Any, what: str) -> None:
    if not condition:
        raise UnsupportedLayer(
            f"layer {layer!r}: activation {spelled(quantizer)} with {what} has no exact fixed-point type"
        )


def require_deterministic(quantizer: Any, layer: str) -> None:
    """Raise ``UnsupportedLayer`` when the quantizer adds noise or has no width."""
    if not hasattr(quantizer, "bits"):
        raise UnsupportedLayer(f"layer {layer!r}: activation {spelled(quantizer)} has no exact counterpart in hls4ml")
    noise = getattr(quantizer, "qnoise_factor", 1.0)
    require(float(noise) == 1.0, layer, quantizer, f"qnoise_factor={noise}")


def scale_exponent(quantizer: Any, layer: str) -> int:
    """log2 of an activation quantizer's scale ``alpha``; raises ``UnsupportedLayer`` unless it is a power of two."""
    alpha = quantizer.alpha
    if alpha is None:
        return 0
    values = np.unique(np.asarray(alpha, np.float64)) if not isinstance(alpha, str) else np.zeros(0)
    exponent = math.log2(values[0]) if values.size == 1 and values[0] > 0 else 0.5
    require(exponent.is_integer(), layer, quantizer, f"alpha={alpha!r}")
    return int(exponent)


def quantize_values(quantizer: Any, values: Array) -> Array:
    """Weights through a QKeras quantizer, as float32."""
    import keras

    return np.asarray(keras.ops.convert_to_numpy(quantizer(keras.ops.convert_to_tensor(values))), np.float32)


def exact_precision(values: Array, quantizer: Any) -> Precision | None:
    """The type for quantized weights: the quantizer's own where it holds them, else the narrowest that does.

    ``None`` when that would be wider than 24 bits.
    """
    own = declared_precision(quantizer)
    if own is not None and np.array_equal(own.quantize(values), values.astype(np.float64)):
        return own
    return narrowest_precision(values)


def declared_precision(quantizer: Any) -> Precision | None:
    """``ap_fixed<bits, integer + 1>`` of a ``quantized_bits`` or ``quantized_linear`` with scale 1."""
    if quantizer_kind(quantizer) not in ("quantized_bits", "quantized_linear") or int(quantizer.bits) < 2:
        return None
    alpha = quantizer.alpha
    if alpha is not None and not (np.isscalar(alpha) and alpha == 1):
        return None
    signed = bool(quantizer.keep_negative)
    return Precision(int(quantizer.bits), int(quantizer.integer) + signed, signed)


def narrowest_precision(values: Array) -> Precision | None:
    """The narrowest type that holds every value exactly, or ``None`` beyond 24 bits.

    >>> import numpy as np
    >>> str(narrowest_precision(np.array([-0.5, 0.25])))
    'ap_fixed<2,0>'
    """
    numbers = np.asarray(values, np.float64).ravel()
    numbers = numbers[numbers != 0]
    if numbers.size == 0:
        return Precision(1, 1, signed=False)
    fraction_bits = max(trailing_exponent(value) for value in np.unique(numbers))
    integers = np.ldexp(numbers, fraction_bits)
    low, high = float(integers.min()), float(integers.max())
    signed = low < 0
    magnitude_bits = max(math.ceil(math.log2(high + 1)) if high > 0 else 0, math.ceil(math.log2(-low)) if signed else 0)
    width_bits = max(magnitude_bits + signed, 1)
    return Precision(width_bits, width_bits - fraction_bits, signed) if width_bits <= WIDEST_WEIGHT_BITS else None


def trailing_exponent(value: float) -> int:
    """Fraction bits of a number: the smallest ``f`` for which ``value * 2**f`` is whole (may be negative)."""
    numerator, denominator = float(value).as_integer_ratio()
    if denominator > 1:
        return denominator.bit_length() - 1
    return -((numerator & -numerator).bit_length() - 1)
