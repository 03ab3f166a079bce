"""Objectives, constraints and the Pareto front."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import ConfigError
from toolkit.exploration.figures import Limit, figure_name, pareto
from toolkit.records import Figure


def figures(accuracy: float, latency: float) -> dict[str, Figure]:
    return {"accuracy": Figure(accuracy, "", "emulation"), "latency_us": Figure(latency, "us", "model")}


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("fits", "fits"),
        ("accuracy >= 85 %", "accuracy >= 0.85"),
        ("latency<=500", "latency_us <= 500"),
        ("ii <= 1e4", "initiation_interval_cycles <= 10000"),
    ],
)
def test_a_constraint_is_read_and_printed(text: str, printed: str) -> None:
    assert str(Limit.parse(text)) == printed
    assert Limit.parse(printed) == Limit.parse(text)


def test_a_constraint_says_by_how_much_it_is_missed() -> None:
    assert Limit.parse("accuracy >= 0.9").violation(figures(0.8, 1)) == pytest.approx(0.1)
    assert Limit.parse("latency_us <= 5").violation(figures(0.8, 1)) == -4
    assert Limit.parse("lut <= 5").violation(figures(0.8, 1)) == math.inf


@pytest.mark.parametrize("text", ["accuracy > 0.5", "fit", "accuracy >= high", "speed <= 3"])
def test_what_is_no_constraint_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        Limit.parse(text)


def test_short_names() -> None:
    assert [figure_name(name) for name in ("II", "latency", "bram", "DSP")] == [
        "initiation_interval_cycles",
        "latency_us",
        "bram_18k",
        "dsp",
    ]


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=30))
def test_the_front_is_what_nothing_beats(pairs: list[tuple[int, int]]) -> None:
    items = [figures(*pair) for pair in pairs]
    front = [
        (f["accuracy"].value, f["latency_us"].value) for f in pareto(items, lambda f: f, ["accuracy", "latency_us"])
    ]

    def beaten(pair: tuple[float, float]) -> bool:
        return any(a >= pair[0] and b <= pair[1] and (a, b) != pair for a, b in pairs)

    assert sorted(front) == sorted({pair for pair in pairs if not beaten(pair)})
