"""csim equals QKeras, bit for bit: random models of every quantizable layer kind, and a full-size CNN.

``pytest tests/hls/test_bits.py --models 300`` runs more of the same seeds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.hls.random_models import TEMPLATES, random_case
from toolkit.config import HlsConfig, QuantConfig
from toolkit.hls.check import check
from toolkit.hls.csim import build_csim
from toolkit.hls.project import write_project
from toolkit.training import quantize
from toolkit.zoo import build_model

pytestmark = pytest.mark.csim

# Every template with both io types; strategies alternate so that each template meets both.
DEFAULT_MODELS = 4 * len(TEMPLATES)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(metafunc.config.getoption("--models") or DEFAULT_MODELS))


def test_random_model(seed: int, tmp_path: Path) -> None:
    case = random_case(seed)
    project = write_project(case.model, case.config, tmp_path / "p")
    expected = case.model.predict(case.images, verbose=0)
    got = build_csim(project).predict(case.images)
    assert np.array_equal(got, expected), f"{case.label}: {check(project, case.model, case.images)}"


def test_cifar10_cnn_in_full_size(tmp_path: Path) -> None:
    """6 bits, io_stream, Resource: every logit of 200 images."""
    model = build_model("cifar10_cnn", input_shape=(32, 32, 3), classes=10)
    images = np.random.default_rng(0).random((200, 32, 32, 3)).astype(np.float32)
    bits = QuantConfig(weight_bits=6, activation_bits=6, input_bits=8)
    quantized = quantize(model, bits, images[:64])
    config = HlsConfig(io_type="io_stream", strategy="Resource", reuse_factor=72, invalid_reuse_factor="nearest")
    project = write_project(quantized, config, tmp_path / "p")
    result = check(project, quantized, images)
    assert result.equal, result
    assert (result.outputs_total, result.compared) == (2000, ("qkeras", "csim"))
