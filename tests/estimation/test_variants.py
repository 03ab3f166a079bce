"""A variant of an analysis and hls4ml's own conversion with the same configuration are one design."""

from __future__ import annotations

from typing import Any

import keras
import pytest

from toolkit.config import EstimateConfig, HlsConfig
from toolkit.estimation import analyze, estimate
from toolkit.estimation.estimate import Analysis
from toolkit.exploration.targets import valid_factors, with_factors
from toolkit.hls.convert import convert

FIGURES = ("latency_cycles", "initiation_interval_cycles", "lut", "ff", "dsp", "bram_18k")


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """Every kind of matrix layer: full, separable (two layers in hls4ml), 1 x 1, dense."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    x = made = layers.Input((6, 6, 4))
    made = layers.Conv2D(4, 3, name="full")(made)
    made = layers.SeparableConv2D(6, 3, name="apart")(made)
    made = layers.Conv2D(3, 1, name="narrow")(made)
    made = layers.Dense(2, name="last")(layers.Flatten()(made))
    return keras.Model(x, made)


def config(**hls: Any) -> HlsConfig:
    return HlsConfig(precision="ap_fixed<12,4>", invalid_reuse_factor="nearest", **hls)


def analysed(model: keras.Model, io_type: str) -> Analysis:
    plain = config(io_type=io_type)
    return analyze(convert(model, plain).graph, plain)


@pytest.mark.parametrize("io_type", ["io_stream", "io_parallel"])
@pytest.mark.parametrize(
    "hls",
    [
        {"strategy": "Resource", "reuse_factor": 72},
        {"strategy": "Resource", "reuse_factor": 7},
        {"reuse_factor": 3, "layers": {"apart": {"reuse_factor": 2}, "narrow": {"strategy": "Resource"}}},
        {"layers": {"apart": {"strategy": "Resource", "reuse_factor": 4}, "apart_depthwise": {"reuse_factor": 6}}},
    ],
)
def test_a_variant_is_its_own_conversion(model: keras.Model, io_type: str, hls: dict[str, Any]) -> None:
    wanted = config(io_type=io_type, **hls)
    quick = EstimateConfig(fifo_simulation=False)
    alone = estimate(convert(model, wanted).graph, quick, hls=wanted)
    variant = estimate(analysed(model, io_type), quick, hls=wanted)
    for name in FIGURES:
        assert getattr(variant, name) == getattr(alone, name), name
    factors = [
        {layer.name: layer.figures["reuse_factor"].value for layer in one.layers if "reuse_factor" in layer.figures}
        for one in (alone, variant)
    ]
    assert factors[0] == factors[1]


@pytest.mark.parametrize("io_type", ["io_stream", "io_parallel"])
def test_every_factor_a_target_may_choose_is_one_that_is_converted(model: keras.Model, io_type: str) -> None:
    exact = config(io_type=io_type, strategy="Resource").change(invalid_reuse_factor="error")
    valid = valid_factors(analysed(model, io_type), exact)
    assert set(valid) == {"full", "apart_depthwise", "apart_pointwise", "narrow", "last"}
    for position in (0, -1):
        factors = {name: values[position] for name, values in valid.items()}
        built = {
            layer.name: layer.attributes["reuse_factor"]
            for layer in convert(model, with_factors(exact, factors)).graph.layers
        }
        assert {name: built[name] for name in factors} == factors
