"""QKeras quantizers as types: the type quantizes exactly as the quantizer does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import qkeras
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import UnsupportedLayer
from toolkit.hls.quantizers import exact_precision, narrowest_precision, quantize_values, quantizer_precision, spelled
from toolkit.zoo import quantizers as zoo

# Every sixteenth of an LSB of the finest grid below, well beyond the widest range.
SWEEP = np.arange(-(2**14), 2**14, dtype=np.float32) / 2**9

ACTIVATIONS = [
    qkeras.quantized_bits(6, 2, alpha=1),
    qkeras.quantized_bits(5, 0, symmetric=1, alpha=1),
    qkeras.quantized_bits(4, 3, keep_negative=False, alpha=1),
    qkeras.quantized_linear(5, 1, alpha=2.0),
    qkeras.quantized_linear(6, 1, symmetric=0),
    qkeras.quantized_relu(6, 2),
    qkeras.quantized_relu(3, 3),
    zoo.quantized_bits(7, -1, alpha=1),
    zoo.quantized_relu(4, -2),
]


@pytest.mark.parametrize("quantizer", ACTIVATIONS, ids=spelled)
def test_type_rounds_and_saturates_as_the_quantizer(quantizer: Any) -> None:
    precision = quantizer_precision(quantizer, "layer")
    np.testing.assert_array_equal(precision.quantize(SWEEP), quantize_values(quantizer, SWEEP))


@pytest.mark.parametrize(
    "quantizer",
    [
        qkeras.quantized_bits(6, 2, alpha="auto"),
        qkeras.quantized_bits(6, 2, alpha=2.0),
        qkeras.quantized_linear(6, 2, alpha=0.3),
        qkeras.quantized_relu(6, 2, use_sigmoid=1),
        qkeras.quantized_tanh(6, use_real_tanh=True),
        qkeras.quantized_po2(4),
        qkeras.ternary(),
        qkeras.bernoulli(),
    ],
    ids=spelled,
)
def test_activation_without_an_exact_type_names_the_layer(quantizer: Any) -> None:
    with pytest.raises(UnsupportedLayer, match="'conv_relu'"):
        quantizer_precision(quantizer, "conv_relu")


@given(st.lists(st.integers(-300, 300), min_size=1, max_size=12), st.integers(-6, 12))
def test_narrowest_type_holds_the_values_and_none_narrower_does(numbers: list[int], fraction_bits: int) -> None:
    values = np.ldexp(np.array(numbers, np.float64), -fraction_bits)
    precision = narrowest_precision(values)
    assert precision is not None
    np.testing.assert_array_equal(precision.quantize(values), values)
    if precision.width_bits > 1:
        narrower = type(precision)(precision.width_bits - 1, precision.integer_bits - 1, precision.signed)
        coarser = type(precision)(precision.width_bits - 1, precision.integer_bits, precision.signed)
        assert not np.array_equal(narrower.quantize(values), values)
        assert not np.array_equal(coarser.quantize(values), values)


WEIGHTS = [
    qkeras.quantized_bits(4, 0, alpha=1),
    qkeras.quantized_bits(4, 0, alpha="auto_po2"),
    qkeras.binary(alpha="auto_po2"),
    qkeras.ternary(alpha="auto_po2"),
    qkeras.binary(alpha=0.5),
    zoo.ternary(alpha=0.25, threshold=0.125),
    zoo.binary(alpha=[[0.5, 2.0, 1.0]]),
]


@pytest.mark.parametrize("quantizer", WEIGHTS, ids=spelled)
def test_weights_keep_every_bit(quantizer: Any) -> None:
    values = quantize_values(quantizer, np.random.default_rng(0).normal(0, 0.5, (7, 3)).astype(np.float32))
    precision = exact_precision(values, quantizer)
    assert precision is not None
    np.testing.assert_array_equal(precision.quantize(values), values)


def test_weights_with_a_plain_scale_keep_the_quantizers_type() -> None:
    quantizer = qkeras.quantized_bits(6, 1, alpha=1)
    assert str(exact_precision(quantize_values(quantizer, np.ones(2, np.float32)), quantizer)) == "ap_fixed<6,2>"
