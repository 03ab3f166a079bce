"""The design files of the field's benchmarks, on stand-ins for data that are not here: each converts as it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from shipped import ROOT

from toolkit.config import DatasetConfig, DesignFile, TrainConfig, load_design
from toolkit.devices import require_device
from toolkit.plan import check_design, plan_design

# Shape of a sample and number of classes, as each file says; jet_tagger_wine has data of its own.
FIELD = {
    "jet_tagger": ((16,), 5),
    "jet_tagger_bn": ((16,), 5),
    "jet_tagger_wine": None,
    "autoencoder": ((128,), 2),
    "keyword_mlp": ((490,), 12),
    "lenet5_mnist": ((32, 32, 1), 10),
    "series_cnn": ((50, 2), 4),
    "resnet8_cifar10": ((32, 32, 3), 10),
}
SAMPLES = 10  # of each class


def stand_in(folder: Path, shape: tuple[int, ...], classes: int, marks: bool) -> Path:
    """Noise in [0, 1] of a shape; with ``marks`` only the test split says which samples are odd."""
    labels = np.arange(SAMPLES * classes) % classes
    values = np.random.default_rng(0).random((len(labels), *shape), np.float32)
    file = folder / "stand_in.npz"
    arrays = {"x_train": values, "x_test": values, "y_test": labels} if marks else {"x": values, "y": labels}
    np.savez(file, **arrays)
    return file


def untrained(design: DesignFile) -> DesignFile:
    """The first design of a file without its trainings, whose time need not be measured."""
    first = design.designs[0].change(qat=None)
    return design.change(train=TrainConfig(epochs=0), designs=(first,), baselines=())


@pytest.mark.parametrize("name", FIELD)
def test_it_converts_as_it_says(name: str, tmp_path: Path) -> None:
    design, data = load_design(ROOT / "hls_projects" / name / "design.toml"), FIELD[name]
    if data is not None:
        file = stand_in(tmp_path, *data, marks=name == "autoencoder")
        taken = design.dataset.change(path=file) if design.dataset.path else DatasetConfig(path=file)
        design = design.change(dataset=taken)
    check_design(design)
    plan = plan_design(untrained(design))
    for wanted in design.designs:
        require_device(wanted.hls.part)
    if name == "autoencoder":
        assert "reconstruction, judged by Reconstruction AUC" in plan.notes
