"""A sweep begins with a plan: what every point would fail for is raised, what some will fail for is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from toolkit.cli import exit_code
from toolkit.errors import ConfigError
from toolkit.exploration import plan_sweep, read_sweep, sweep

BASE: dict[str, Any] = {
    "name": "small",
    "dataset": {"name": "synthetic", "shape": [20, 20, 1]},
    "model": {"name": "convnet"},
    "train": {"epochs": 1, "progress": False},
    "quantization": {"weight_bits": [4, 6]},
    "hls": {"strategy": "Resource", "reuse_factor": [1, 5]},
    "sweep": {"proof": {"pareto": False, "sample": 0}},
}

WRONG = {
    "a layer that is none": ({"hls": {"layers": {"convv1": {"reuse_factor": 1}}}}, '"conv1"'),
    "a layer of the quantization": ({"quantization": {"layers": {"conv7": {"weight_bits": 3}}}}, "conv7"),
    "a part": ({"hls": {"part": ["spartan", "virtex"]}}, "spartan"),
    "a teacher": ({"qat": {"epochs": [1, 2], "teacher": "flaot"}}, '"float"'),
    "an interval nobody can keep": ({"hls": {"target_ii": [1, 2]}}, "cannot be kept"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_what_every_point_would_fail_for_is_raised_before_any_training(
    change: dict[str, Any], message: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("trained before everything was checked")

    monkeypatch.setattr("toolkit.pipeline.train", never)
    with pytest.raises(ConfigError, match=message):
        sweep({**BASE, **change}, workers=0, storage=store.parent / "b.db", say=lambda line: None)
    assert not (store.parent / "b.db").exists()


def test_a_plan_counts_what_points_share(store: Path) -> None:
    plan = plan_sweep(read_sweep({**BASE, "qat": {"epochs": 2}}), workers=2)
    assert "4 points by grid, convnet on synthetic" in plan.subject
    assert {step.row: step.work for step in plan.steps} == {
        "float trainings": "1",
        "quantization-aware trainings": "2",
        "conversions and emulations": "2",
        "estimates": "4",
    }
    assert plan.seconds.value > 0


def test_a_value_that_no_design_takes_is_told(store: Path) -> None:
    plan = plan_sweep(read_sweep({**BASE, "hls": {"strategy": "Resource", "target_ii": [1, 5000]}}))
    assert any("will fail: hls.target_ii = 1 cycles cannot be kept" in note for note in plan.notes)


def test_a_sweep_is_planned_once(store: Path) -> None:
    lines: list[str] = []
    for _ in range(2):
        sweep(BASE, workers=0, storage=store.parent / "b.db", proof=False, say=lines.append)
    assert sum(line.startswith("plan small") for line in lines) == 1


def test_the_command_stops_after_the_plan(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "small.toml"
    file.write_text('[dataset]\nname = "digits"\n[model]\nname = "convnet"\n[hls]\nreuse_factor = [1, 2]\n')
    assert exit_code(["sweep", str(file), "--plan"]) == 2  # digits are too small for two 5x5 convolutions
    assert "convnet cannot take inputs" in capsys.readouterr().err
    file.write_text(file.read_text().replace('"convnet"', '"separable_cnn"'))
    assert exit_code(["sweep", str(file), "--plan"]) == 0
    assert "plan small: 2 points" in capsys.readouterr().out
