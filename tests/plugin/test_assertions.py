"""Assertions of the pytest plugin, called directly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import ToolkitError
from toolkit.pytest_plugin import (
    AtLeast,
    AtMost,
    EqualTo,
    LessThan,
    MoreThan,
    assert_bit_exact,
    assert_estimate,
    common_lsb,
)
from toolkit.records import Estimate, Figure


class TestBitExact:
    def test_equal(self) -> None:
        values = np.array([[0.5, -0.25], [np.nan, np.inf]], np.float32)
        assert_bit_exact(values, values.astype(np.float64))

    def test_message(self) -> None:
        expected = np.arange(24.0).reshape(4, 6) / 16
        got = expected.copy()
        got[1:3, :4] += 0.125
        with pytest.raises(AssertionError) as caught:
            assert_bit_exact(expected, got)
        message = str(caught.value)
        assert "8 of 24 differ" in message
        assert "largest error 2 LSB (LSB 0.0625)" in message
        assert "[1, 0]: expected 0.375, got 0.5" in message
        assert message.count("expected") == 6, "the heading and the first five"

    def test_shapes(self) -> None:
        with pytest.raises(AssertionError, match=r"must have shape \[2, 3\], got \[3, 2\]"):
            assert_bit_exact(np.zeros((2, 3)), np.zeros((3, 2)))

    def test_there_is_no_tolerance(self) -> None:
        with pytest.raises(AssertionError, match="1 of 1 differ"):
            assert_bit_exact(np.float32([1.0]), np.nextafter(np.float32([1.0]), np.float32(2)))

    def test_layers(self) -> None:
        one = {"first": np.zeros(3), "second": np.ones(3), "third": np.ones(3)}
        two = {"first": np.zeros(3), "second": np.zeros(3), "third": np.zeros(3)}
        with pytest.raises(AssertionError, match=r"(?s)layer second must be equal.*1 more of 3 layers differ"):
            assert_bit_exact(one, two)
        with pytest.raises(AssertionError, match="only one side has third"):
            assert_bit_exact(one, {"first": np.zeros(3), "second": np.ones(3)})

    @given(st.lists(st.integers(-(2**20), 2**20), min_size=1), st.integers(-30, 10))
    def test_lsb_is_the_coarsest_grid(self, integers: list[int], exponent: int) -> None:
        values = np.ldexp(np.asarray(integers, np.float64), exponent)
        lsb = common_lsb(values)
        scaled = values / lsb
        assert np.array_equal(scaled, np.round(scaled))
        assert not values.any() or (scaled % 2).any(), "a coarser grid would do as well"


def estimated(**changed: Any) -> Estimate:
    """An estimate with made-up figures."""

    def figure(value: float, unit: str = "") -> Figure:
        return Figure(value, unit, "model", low=0.8 * value, high=1.2 * value)

    fields: dict[str, Any] = {
        "latency_cycles": figure(5000, "cycles"),
        "initiation_interval_cycles": figure(4000, "cycles"),
        "latency_us": figure(50, "us"),
        "throughput_hz": figure(25000, "Hz"),
        "dsp": figure(200),
        "lut": figure(30000),
        "ff": figure(20000),
        "bram_18k": figure(12),
        "uram": figure(0),
        "energy_uj": figure(3, "uJ"),
        "utilization": {"dsp": figure(91, "%")},
        "fits": True,
        "layers": (),
        "fifos": (),
        "figures": {"bops": figure(1e6)},
    }
    return Estimate(**{**fields, **changed})


CONDITIONS: list[tuple[Mapping[str, Any], bool]] = [
    ({"dsp": LessThan(220), "latency_us": LessThan(100), "fits": True}, True),
    ({"dsp": LessThan(200)}, False),
    ({"dsp": AtMost(200)}, True),
    ({"throughput_hz": AtLeast(25000)}, True),
    ({"throughput_hz": MoreThan(25000)}, False),
    ({"bram_18k": 12}, True),
    ({"bram_18k": EqualTo(13)}, False),
    ({"fits": False}, False),
    ({"bops": AtMost(1e6)}, True),
]


@pytest.mark.parametrize(("conditions", "holds"), CONDITIONS)
def test_estimate(conditions: Mapping[str, Any], holds: bool) -> None:
    if holds:
        assert_estimate(estimated(), **conditions)
    else:
        with pytest.raises(AssertionError, match="1 of 1 conditions"):
            assert_estimate(estimated(), **conditions)


def test_estimate_message() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_estimate(estimated(fits=False), dsp=LessThan(150), latency_us=LessThan(100), fits=True)
    message = str(caught.value)
    assert "2 of 3 conditions" in message
    assert "dsp: must be less than 150, got 200 [160, 240] (model)" in message
    assert "fits: must be True, got False (dsp 91 %)" in message


def test_worst_case_uses_the_interval() -> None:
    assert_estimate(estimated(), dsp=LessThan(220))
    with pytest.raises(AssertionError, match="less than 220"):
        assert_estimate(estimated(), worst_case=True, dsp=LessThan(220))
    assert_estimate(estimated(), worst_case=True, dsp=LessThan(241))


def test_unknown_figure() -> None:
    with pytest.raises(ToolkitError, match=r'"dsps" is not a figure of an estimate \(did you mean "dsp"\?\)'):
        assert_estimate(estimated(), dsps=LessThan(3))
