"""The shipped designs keep their bits: the project's own use of its pytest plugin.

The emulator answers for every golden; csim proves two of them here, and all of them with ``--csim``
or when the generated C++ is no longer the one a golden was made from. The goldens are written by
``pytest tests/designs --update-golden``, the models by ``python tests/designs/ship.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from shipped import ROOT, Shipped, shipped_designs

from toolkit.comparison import compare
from toolkit.config import EstimateConfig
from toolkit.data import load_dataset
from toolkit.estimation import estimate
from toolkit.pytest_plugin import AtMost, LessThan, read_golden
from toolkit.records import HlsProject
from toolkit.training import load_record

DESIGNS = {design.name: design for design in shipped_designs()}
PROVEN = ("convnet_mnist5k/convnet_4bit", "convnet_mnist5k_styles/parallel_resource_rf25")
IMAGES = 16
MEGABYTE = 1_000_000


@pytest.fixture(params=list(DESIGNS))
def shipped(request: pytest.FixtureRequest) -> Shipped:
    return DESIGNS[request.param]


def project_of(shipped: Shipped, hls_project: Callable[..., HlsProject]) -> HlsProject:
    return hls_project(shipped.model, shipped.design.hls)


def test_bits(shipped: Shipped, hls_project: Any, golden_csim: Any) -> None:
    def images() -> Any:
        return load_dataset(shipped.file.dataset).inputs("test", IMAGES)

    golden_csim(project_of(shipped, hls_project), x=images, path=shipped.golden)


@pytest.mark.parametrize("name", PROVEN)
def test_csim(name: str, hls_project: Any, csim: Any, emulator: Any, assert_bit_exact: Any) -> None:
    shipped = DESIGNS[name]
    project, golden = project_of(shipped, hls_project), read_golden(shipped.golden)
    x = golden.inputs[0][:4]
    assert_bit_exact(golden.outputs[:4], csim(project).predict(x))
    assert_bit_exact(csim(project).trace(x), emulator(project).trace(x))


def test_golden_classifies(shipped: Shipped) -> None:
    """The golden's inputs are the first test images, and most are classified right."""
    golden = read_golden(shipped.golden)
    dataset = load_dataset(shipped.file.dataset)
    np.testing.assert_array_equal(golden.inputs[0], dataset.inputs("test", IMAGES))
    assert (golden.outputs.argmax(axis=1) == dataset.labels("test", IMAGES)).mean() >= 0.75
    assert golden.record["engine"] == "g++"


def test_nothing_wraps(shipped: Shipped, hls_project: Any, assert_no_overflow: Any) -> None:
    assert_no_overflow(project_of(shipped, hls_project), read_golden(shipped.golden).inputs[0])


def test_estimates(hls_project: Any, assert_estimate: Any) -> None:
    """What the styles of one network are for: latency against resources."""
    styles = {
        design.design.label: project_of(design, hls_project)
        for design in DESIGNS.values()
        if design.folder.name == "convnet_mnist5k_styles"
    }
    fast = assert_estimate(styles["stream_latency"], latency_us=LessThan(100))
    small = assert_estimate(styles["stream_resource_rf250"], dsp=AtMost(100), fits=True)
    assert small.latency_us.value > fast.latency_us.value
    assert small.lut.value < fast.lut.value


def test_compares(shipped: Shipped, hls_project: Any) -> None:
    """Float network and design make a table, with the same work in both rows."""
    project = project_of(shipped, hls_project)
    figures = estimate(project, EstimateConfig(fifo_simulation=False))
    table = compare(
        {
            "float": [load_record(shipped.float_model.parent)],
            "design": [load_record(shipped.model.parent), project, figures],
        }
    )
    plain, design = table.rows
    assert design.figures["macs"].value == plain.figures["macs"].value
    assert design.figures["weight_bits"].value < plain.figures["weight_bits"].value == 32
    assert design.figures["latency_us"].source == "model"


def test_train_records(shipped: Shipped) -> None:
    """Weights come with the accuracy they had and what they were trained with."""
    for model in (shipped.model, shipped.float_model):
        record = json.loads((model.parent / "record.json").read_text())
        assert record["accuracy"]["source"] == "measured"
        assert record["accuracy"]["value"] > 0.8
        assert record["environment"]


def test_shipped_files_are_small() -> None:
    files = [*(ROOT / "models").rglob("*"), *(ROOT / "hls_projects").glob("*/golden/*")]
    assert sum(file.stat().st_size for file in files if file.is_file()) < 5 * MEGABYTE
