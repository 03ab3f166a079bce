"""Facts of weight matrices: signed digits, widths, distinct constants, DSP rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.estimation.weights import (
    block_bits,
    constant_bits,
    csd_digits,
    effective_bits,
    signed_bits,
    uses_dsp,
    weight_facts,
)


def minimal_digits(value: int) -> int:
    """Nonzero digits of the canonical signed digit form, digit by digit."""
    count, value = 0, abs(value)
    while value:
        if value & 1:
            digit = 2 - (value & 3)
            value -= digit
            count += 1
        value >>= 1
    return count


@given(st.lists(st.integers(-(1 << 20), 1 << 20), min_size=1, max_size=50))
def test_csd_digits_are_those_of_the_recoding(values: list[int]) -> None:
    assert csd_digits(np.array(values)).tolist() == [minimal_digits(value) for value in values]


@given(st.integers(-(1 << 20), 1 << 20))
def test_a_constant_is_as_wide_as_its_bits(value: int) -> None:
    width = int(constant_bits(np.array([value]))[0])
    expected = value.bit_length() if value >= 0 else (-value - 1).bit_length() + 1
    assert width == expected


def test_effective_bits_ignore_trailing_zeros() -> None:
    assert effective_bits(np.array([1, 8, 12, 5, 96])).tolist() == [1, 1, 2, 3, 2]


def test_equal_constants_of_one_input_are_built_once() -> None:
    kernel = np.array([[11, 11, -11, 0], [3, 4, -4, 11]])
    facts = weight_facts(kernel)
    assert facts.multipliers == 3  # 11 and -11 of the first input, 11 of the second
    assert int(facts.added.sum()) == 1  # 3
    assert facts.wired == 1 and int(facts.negated.sum()) == 1  # 4 and -4
    assert facts.adders == 1 + 1 + 1 + 0
    assert facts.nonzeros == 7 and facts.longest == 2


def test_biases_are_adders_of_their_own() -> None:
    kernel = np.ones((4, 2), np.int64)
    assert weight_facts(kernel, np.array([1, 0])).adders == 3 + 3 + 1


def test_depthwise_outputs_share_nothing() -> None:
    kernel = np.array([[11, 11], [11, 11]])
    assert weight_facts(kernel).multipliers == 2
    assert weight_facts(kernel, separate=True).multipliers == 4


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [(16, 8, True), (16, 5, True), (16, 4, False), (10, 10, False), (11, 8, True), (11, 4, False), (6, 12, True)],
)
def test_a_multiplier_takes_a_dsp_from_11_by_5_bits(first: int, second: int, expected: bool) -> None:
    assert uses_dsp(first, second) is expected
    assert uses_dsp(second, first) is expected


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**31))
def test_the_top_block_is_the_last_of_the_outputs(n_in: int, n_out: int, seed: int) -> None:
    kernel = np.random.default_rng(seed).integers(-100, 101, (n_in, n_out))
    for factor in range(1, kernel.size + 1):
        blocks = -(-kernel.size // factor)
        last = kernel.T.reshape(-1)[(blocks - 1) * factor :]
        assert block_bits(kernel, factor) == signed_bits(min(int(last.min()), 0), max(int(last.max()), 0))


def test_large_weights_are_counted_the_same_way() -> None:
    kernel = np.random.default_rng(0).integers(-(1 << 15), 1 << 15, (80, 64))
    facts = weight_facts(kernel)
    magnitudes = np.abs(kernel[kernel != 0])
    assert facts.nonzeros == magnitudes.size
    assert facts.effective_bits == int(effective_bits(magnitudes).sum())
    assert facts.magnitude_bits == pytest.approx(np.mean([int(value).bit_length() for value in magnitudes]))
