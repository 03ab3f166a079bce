"""Reuse factors: the same verdicts as hls4ml's own rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import ConfigError
from toolkit.hls import reuse

SIZES = st.integers(1, 60)


@given(SIZES, SIZES)
def test_valid_factors_are_those_of_hls4ml(n_in: int, n_out: int) -> None:
    from hls4ml.backends import get_backend

    expected = get_backend("Vitis").get_valid_reuse_factors(n_in, n_out)
    assert list(reuse.valid_reuse_factors(n_in, n_out)) == expected


@given(SIZES, SIZES, st.integers(1, 4000))
def test_nearest_factor_is_the_one_hls4ml_takes(n_in: int, n_out: int, wanted: int) -> None:
    from hls4ml.backends import get_backend

    valid = reuse.valid_reuse_factors(n_in, n_out)
    assert reuse.nearest_reuse_factor(valid, wanted) == get_backend("Vitis").get_closest_reuse_factor(
        list(valid), wanted
    )


def test_strategies_have_their_own_factors() -> None:
    assert reuse.valid_reuse_factors(2, 3, "Latency") == (1, 2, 3, 6)
    assert reuse.valid_reuse_factors(2, 3, "distributed_arithmetic") == (1,)
    with pytest.raises(ConfigError, match="Latency, Resource"):
        reuse.valid_reuse_factors(2, 3, "Ressource")
