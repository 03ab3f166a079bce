"""hls4ml's own configurations become ``[hls]``, and what has no counterpart is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from toolkit.config import HlsConfig
from toolkit.errors import ConfigError

NAMED: dict[str, Any] = {
    "Model": {
        "Precision": {"default": "fixed<16,6>"},
        "ReuseFactor": 4,
        "Strategy": "resource",
        "BramFactor": 1_000_000_000,
        "TraceOutput": False,
        "BitExact": None,
    },
    "LayerName": {
        "image": {"Trace": False, "Precision": {"result": "ufixed<8,0>"}},
        "conv": {
            "Precision": {"result": "auto", "accum": "fixed<24,10,TRN,WRAP,0>", "weight": "auto"},
            "ReuseFactor": 9,
            "ParallelizationFactor": 1,
            "ConvImplementation": "LineBuffer",
        },
        "conv_relu": {"Precision": {"result": "auto", "table": "fixed<18,8,TRN,WRAP,0>"}, "ReuseFactor": 4},
        "probabilities": {"Precision": "fixed<16,6,RND,SAT>", "TableSize": 4096, "Implementation": "latency"},
    },
}


def test_the_dictionary_of_one_model() -> None:
    config = HlsConfig.from_hls4ml(NAMED, part="xcu250-figd2104-2L-e")
    assert (config.precision, config.reuse_factor, config.strategy) == ("ap_fixed<16,6>", 4, "Resource")
    assert config.part == "xcu250-figd2104-2L-e"
    assert set(config.layers) == {"image", "conv", "probabilities"}  # the rest is hls4ml's default
    assert config.layers["conv"].precision == {"accum": "ap_fixed<24,10,TRN,WRAP>"}
    assert config.layers["conv"].reuse_factor == 9
    assert config.layers["probabilities"].table_size == 4096
    assert config.layers["probabilities"].implementation == "latency"


def test_the_file_beside_a_project(tmp_path: Path) -> None:
    (tmp_path / "hls4ml_config.yml").write_text(
        "Backend: Vivado\nClockPeriod: 5\nClockUncertainty: 12.5%\nPart: xc7z020clg400-1\nIOType: io_stream\n"
        "KerasModel: !keras_model '/nowhere/model.keras'\nHLSConfig:\n  Model:\n    Precision: ap_fixed<18, 8>\n"
        "    ReuseFactor: 2\n    Strategy: Latency\n"
    )
    config = HlsConfig.from_hls4ml(tmp_path / "hls4ml_config.yml")
    assert (config.backend, config.clock_period_ns, config.io_type) == ("Vivado", 5.0, "io_stream")
    assert (config.precision, config.reuse_factor) == ("ap_fixed<18,8>", 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"Model": {"Precision": "auto", "BramFactor": 1000}}, r"Model\.BramFactor: 1000 has no counterpart"),
        ({"Model": {"Strategy": "Unrolled"}}, r"Model\.Strategy: 'Unrolled' has no counterpart; choose Latency"),
        ({"Model": {}, "LayerType": {"Dense": {"ReuseFactor": 2}}}, "LayerType: .* granularity"),
        ({"Model": {}, "LayerName": {"d": {"Compression": True}}}, r"LayerName\.d\.Compression"),
        ({"HLSConfig": {"Model": {}}, "Backend": "Vitis", "ClockUncertainty": "10%"}, "ClockUncertainty: 10%"),
        ({"layers": {}}, "has Model, LayerName and LayerType, got layers"),
        (3, "a path or a dictionary, got int"),
        ("absent.yml", r"absent\.yml"),
    ],
)
def test_what_has_no_counterpart_is_said(settings: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace(".* granularity", r".*[\s\S]*granularity")):
        HlsConfig.from_hls4ml(settings)
