"""The proof: random models, every layer, every bit equal to csim.

``--models N`` proves N random models instead of 40.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.emulation.csim_traces import csim_trace
from tests.emulation.hls4ml_layers import CASES, hls4ml_project
from tests.emulation.random_models import random_bundle
from toolkit.emulation import Emulator, emulate
from toolkit.hls.project import write_project
from toolkit.records import HlsProject

MODELS = 40
MODELS_PER_BUNDLE = 5  # one compile proves as many
SHARDS = 2  # run at the same time under xdist
SEEDS_PER_SHARD = 1 << 24

pytestmark = pytest.mark.csim


@pytest.mark.parametrize("shard", range(SHARDS))
def test_random_models_equal_csim(shard: int, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    models = request.config.getoption("--models") or MODELS
    bundles = -(-models // MODELS_PER_BUNDLE // SHARDS) or 1

    @settings(max_examples=bundles, phases=[Phase.explicit, Phase.generate], database=None)
    @given(st.integers(shard * SEEDS_PER_SHARD, (shard + 1) * SEEDS_PER_SHARD - 1))
    def prove(seed: int) -> None:
        bundle = random_bundle(seed, MODELS_PER_BUNDLE)
        folder = Path(tempfile.mkdtemp(prefix=f"{seed}_", dir=tmp_path))
        project = write_project(bundle.model, bundle.config, folder / "project")
        assert_equal_to_csim(project, bundle.images, folder, f"seed {seed}")
        shutil.rmtree(folder)

    prove()


@pytest.mark.parametrize("case", CASES)
def test_layers_only_hls4ml_itself_makes_equal_csim(case: str, tmp_path: Path) -> None:
    """Binary and ternary products, merged thresholds, hard activations: not what this toolkit converts to."""
    io_type, chains = CASES[case]
    project, images = hls4ml_project(chains, io_type, tmp_path / "project")
    assert_equal_to_csim(project, images, tmp_path, case)


def assert_equal_to_csim(project: HlsProject, images: list[np.ndarray], folder: Path, what: str) -> None:
    emulator = emulate(project)
    got, expected = emulator.trace(images), csim_trace(project, images, folder / "csim")
    assert list(got) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(got[name], values, err_msg=f"{what}: {describe(emulator, name)}")
    outputs = [output for layer in project.layers for output in layer.outputs]
    producers = {output: layer.name for layer in project.layers for output in layer.outputs}
    assert set(project.graph.outputs) <= set(outputs)
    last = [expected[producers[name]].reshape(len(images[0]), -1) for name in project.graph.outputs]
    np.testing.assert_array_equal(emulator.predict(images), np.concatenate(last, axis=1).astype(np.float32))


def describe(emulator: Emulator, name: str) -> str:
    return str(emulator.graph.layer(name))
