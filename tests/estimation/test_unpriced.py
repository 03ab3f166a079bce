"""A layer of a kind that no model covers is named and left out, never priced at nothing in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_graphs import dense, graph, layer

from toolkit.comparison import compare
from toolkit.config import HlsConfig
from toolkit.emulation import emulate
from toolkit.errors import UnsupportedLayer
from toolkit.estimation import estimate
from toolkit.pytest_plugin import LessThan, assert_estimate
from toolkit.records import Estimate, Graph, HlsProject

RESOURCES = ("dsp", "lut", "ff", "bram_18k")
IO_TYPES = ("io_parallel", "io_stream")


def recurrent(io_type: str) -> Graph:
    """A GRU, as someone's front end hands it over, and a dense layer behind it."""
    kernel = np.arange(-16, 16).reshape(4, 8) / 16
    layers = [layer("gru", "GRU", ["x"], [4], n_out=4), dense("logits", "gru", kernel)]
    return graph([6, 3], layers, depth=0 if io_type == "io_parallel" else None)


def estimated(io_type: str) -> Estimate:
    return estimate(recurrent(io_type), hls=HlsConfig(io_type=io_type))


@pytest.mark.parametrize("io_type", IO_TYPES)
def test_the_layer_is_named_and_totals_are_bounds(io_type: str) -> None:
    found = estimated(io_type)
    assert found.unpriced == ("gru",) and found.fits is None
    assert [one.name for one in found.layers] == ["logits"]
    for name in ("latency_cycles", "latency_us", "energy_uj", *RESOURCES):
        figure = getattr(found, name)
        assert figure.bound == "lower" and figure.high is None and "gru (GRU)" in figure.note
        assert str(figure).startswith("at least ")
    assert found.throughput_hz.bound == "upper" and found.throughput_hz.low is None
    assert any("gru (GRU)" in note for note in found.notes)


def test_what_is_priced_keeps_its_figures() -> None:
    assert all(one.lut.bound is None and one.lut.high is not None for one in estimated("io_stream").layers)


def test_a_part_too_small_for_the_rest_is_too_small() -> None:
    heavy = np.random.default_rng(0).integers(-127, 128, (512, 64)) / 128
    one = graph([6, 3], [layer("gru", "GRU", ["x"], [512]), dense("logits", "gru", heavy)], depth=0)
    assert estimate(one, hls=HlsConfig(io_type="io_parallel", part="xc7z007sclg225-1")).fits is False


def test_an_incomplete_estimate_is_not_compared_nor_asserted() -> None:
    found = estimated("io_stream")
    (row,) = compare([found]).rows
    assert row.facts["unpriced"] == "gru" and "fits" not in row.facts
    assert not {"lut", "latency_us", "lut_percent", "throughput_hz"} & set(row.figures)
    with pytest.raises(AssertionError, match="only a bound is known: at least"):
        assert_estimate(found, lut=LessThan(1e9))


def test_emulation_refuses_it_by_name() -> None:
    with pytest.raises(UnsupportedLayer, match="'gru' of kind GRU"):
        emulate(recurrent("io_parallel"))


def test_the_command_prints_the_rest_and_exits_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from toolkit import hls
    from toolkit.cli.estimate import estimate as command

    one = recurrent("io_stream")
    project = HlsProject(Path("somewhere"), "digest", HlsConfig(io_type="io_stream"), one, "top")
    monkeypatch.setattr(hls, "open_project", lambda _: project)
    assert command(Path("somewhere")) == 1
    printed = capsys.readouterr().out
    assert "gru (GRU)" in printed and "at least" in printed and "whether it fits is unknown" in printed
