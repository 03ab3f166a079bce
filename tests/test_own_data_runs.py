"""Data and tasks of the user's own from one command to a report; what is wrong is one message and nothing written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas
import pytest

from toolkit.cli import exit_code
from toolkit.comparison import load_comparison
from toolkit.config import load_design
from toolkit.errors import ConfigError
from toolkit.exploration import best
from toolkit.pipeline import RunResult, run_design

DESIGN = """
[dataset]
path = "data.npz"
scale = "standard"
[task]
{task}
[model]
path = "network.keras"
[train]
epochs = 2
[qat]
epochs = 1
[hls]
io_type = "io_parallel"
[proof]
csim_count = 8
[[designs]]
name = "bits8"
[[designs]]
name = "bits6"
quantization = {{weight_bits = 6, activation_bits = 6}}
[[baselines]]
batches = [1]
repeats = 1
"""

SWEEP = """
name = "energy"
[dataset]
path = "data.npz"
scale = "standard"
[model]
path = "network.keras"
[train]
epochs = 20
learning_rate = 0.01
[quantization]
weight_bits = [3, 8]
[hls]
io_type = "io_parallel"
[sweep]
objectives = ["lut"]
constraints = ["rmse <= {limit}"]
proof = {{pareto = false, sample = 0}}
"""

RNG = np.random.default_rng(0)


def network(folder: Path, features: int, outputs: int) -> None:
    """A small network that the run trains, with the same weights each time."""
    keras.utils.set_random_seed(0)
    x = keras.Input((features,), name="inputs")
    hidden = keras.layers.Dense(8, activation="relu", name="hidden")(x)
    keras.Model(x, keras.layers.Dense(outputs, name="out")(hidden), name="small").save(folder / "network.keras")


def jets(folder: Path) -> str:
    """Five classes of four features."""
    labels = np.arange(400) % 5
    features = RNG.normal(0, 2, (5, 4))[labels] + RNG.normal(size=(400, 4))
    np.savez(folder / "data.npz", x=features.astype(np.float32), y=labels)
    network(folder, 4, 5)
    return "accuracy"


def energies(folder: Path) -> str:
    """A number to predict."""
    features = np.random.default_rng(0).normal(size=(400, 4))
    np.savez(folder / "data.npz", x=features.astype(np.float32), y=(features @ [1, 0.5, -1, 0.2]).astype(np.float32))
    network(folder, 4, 1)
    return "rmse"


def sounds(folder: Path) -> str:
    """Samples on a plane, and among those to judge by some that are not."""
    plane, odd = RNG.normal(size=(360, 2)) @ RNG.normal(size=(2, 6)), RNG.normal(0, 2, (40, 6))
    test = np.concatenate([plane[320:], odd])
    marks = np.repeat([0, 1], 40)
    np.savez(folder / "data.npz", x_train=plane[:320], x_test=test, y_test=marks)
    network(folder, 6, 6)
    return "reconstruction_auc"


@pytest.mark.csim
@pytest.mark.train
@pytest.mark.parametrize(
    ("make", "task"),
    [(jets, ""), (energies, 'unit = "GeV"'), (sounds, 'kind = "reconstruction"')],
    ids=["classes", "regression", "autoencoder"],
)
def test_one_design_file_to_a_report(make: Any, task: str, tmp_path: Path) -> None:
    metric = make(tmp_path)
    (tmp_path / "design.toml").write_text(DESIGN.format(task=task))
    result: RunResult = run_design(load_design(tmp_path / "design.toml"), tmp_path / "run")
    assert not result.failed and result.report.is_file()
    designs = [row for row in result.comparison.rows if row.family == "fpga"]
    assert [row.name for row in designs] == ["bits8", "bits6"]
    for row in designs:
        figure = row.figures[metric]
        assert figure.source == "emulation" and figure.low is not None and figure.high is not None
        assert figure.low <= figure.value <= figure.high
        assert row.facts["csim_against_emulation"].startswith("equal to")
    assert result.comparison.metric.name == metric and load_comparison(result.report.parent).metric.name == metric
    title = result.comparison.metric.title
    assert title in result.report.read_text() and "standard deviation" in result.report.read_text()
    if metric == "rmse":
        assert result.comparison.column("rmse").heading == "RMSE (GeV)"


@pytest.mark.train
def test_a_sweep_makes_lut_small_under_an_error(tmp_path: Path) -> None:
    energies(tmp_path)
    file, storage = tmp_path / "sweep.toml", str(tmp_path / "book.db")
    file.write_text(SWEEP.format(limit=10))
    assert exit_code(["sweep", str(file), "--storage", storage]) == 0
    (loose,) = best(name="energy", objective="lut", storage=storage)
    figures = {record.point.params["quantization.weight_bits"]: record.figures for record in loose.sweep.points}
    few, many = figures[3], figures[8]
    assert few["rmse"].value > many["rmse"].value and few["lut"].value < many["lut"].value
    assert loose.record.figures["lut"] == few["lut"]

    file.write_text(SWEEP.format(limit=(few["rmse"].value + many["rmse"].value) / 2))
    assert exit_code(["sweep", str(file), "--storage", storage]) == 0
    (found,) = best(name="energy", objective="lut", storage=storage)
    assert found.record.figures["lut"] == many["lut"], "the limit binds"
    assert {"rmse", "rmse_loss"} <= set(found.record.figures) and "accuracy" not in found.record.figures
    assert exit_code(["sweep", "best", "energy", "--objective", "lut", "--storage", storage]) == 0
    with pytest.raises(ConfigError, match=r"no point holds .*rmse"):
        best(name="energy", objective="lut", min_metric=1e-6, storage=storage)


def one_short(folder: Path) -> str:
    np.savez(folder / "data.npz", x=np.zeros((9, 4)), y=np.zeros(8))
    return "9 and 8"


def not_a_number(folder: Path) -> str:
    np.savez(folder / "data.npz", x=np.where(np.arange(36).reshape(9, 4) == 5, np.nan, 1), y=np.arange(9) % 2)
    return "NaN"


def no_such_column(folder: Path) -> str:
    pandas.DataFrame({"a": [1, 2], "b": [0, 1]}).to_csv(folder / "data.csv", index=False)
    (folder / "design.toml").write_text('[dataset]\npath = "data.csv"\ninputs = ["a", "energy"]\nlabels = "b"\n')
    return "energy"


@pytest.mark.parametrize("make", [one_short, not_a_number, no_such_column])
def test_wrong_data_are_one_message_and_nothing_is_written(
    make: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "design.toml").write_text('[dataset]\npath = "data.npz"\n[model]\nname = "jet_tagger"\n')
    word = make(tmp_path)
    assert exit_code(["run", str(tmp_path / "design.toml"), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert word in told and "data." in told and "Traceback" not in told
    assert not (tmp_path / "out").exists()


FOLDERS = """
[dataset]
path = "animals"
shape = [8, 8, 1]
[model]
path = "network.keras"
[train]
epochs = 1
[qat]
epochs = 0
[hls]
io_type = "io_parallel"
[proof]
csim_count = 0
[[baselines]]
engine = "gpu_model"
provider = "T4"
precision = "float16"
"""


@pytest.mark.train
def test_two_hundred_images_in_class_folders(tmp_path: Path) -> None:
    for label, name in enumerate(("cat", "dog", "owl")):
        (tmp_path / "animals" / name).mkdir(parents=True)
        for index in range(67 - (label == 2)):
            image = np.full((8, 8, 1), 80 * label) + RNG.integers(0, 40, (8, 8, 1))
            keras.utils.save_img(tmp_path / "animals" / name / f"{index}.png", image, scale=False)
    image = keras.Input((8, 8, 1), name="image")
    flat = keras.layers.Flatten(name="flatten")(image)
    keras.Model(image, keras.layers.Dense(3, name="logits")(flat), name="small").save(tmp_path / "network.keras")
    (tmp_path / "design.toml").write_text(FOLDERS)
    assert exit_code(["run", str(tmp_path / "design.toml"), "--out", str(tmp_path / "run")]) == 0
    comparison = load_comparison(tmp_path / "run" / "report")
    (row,) = (row for row in comparison.rows if row.family == "fpga")
    accuracy = row.figures["accuracy"]
    assert accuracy.source == "emulation" and accuracy.low is not None and comparison.metric.name == "accuracy"
    assert "x / 255" in (tmp_path / "run" / "report" / "index.html").read_text()
