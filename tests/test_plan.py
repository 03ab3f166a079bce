"""A run begins with a plan: what file and network decide is said before any training, and nothing is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import keras
import pytest

from toolkit.cli import exit_code
from toolkit.cli.answers import schema_of
from toolkit.cli.output import COMMAND
from toolkit.cli.run import show_run
from toolkit.config import parse_design
from toolkit.errors import ConfigError, DataError, ModelError, StoreError, ToolkitError, ToolNotFound
from toolkit.pipeline import run_design
from toolkit.plan import Plan, check_design, plan_design

FLOAT = [
    keras.Input((16, 16, 1), name="image"),
    keras.layers.Conv2D(4, 3, strides=3, activation="relu", name="conv"),
    keras.layers.Flatten(name="flatten"),
    keras.layers.Dense(4, name="logits"),
]


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small float model of a user's own."""
    path = tmp_path_factory.mktemp("model") / "own.keras"
    keras.Sequential(FLOAT, name="own").save(path)
    return path


@pytest.fixture
def never_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training is a failure of the test."""

    def fit(*_: Any, **__: Any) -> None:
        raise AssertionError("trained before everything was checked")

    monkeypatch.setattr("toolkit.pipeline.train", fit)


def tables(model_file: Path, **change: Any) -> dict[str, Any]:
    """A design file's tables, with some sections replaced."""
    return {
        "name": "small",
        "dataset": {"name": "synthetic"},
        "model": {"path": str(model_file)},
        "train": {"epochs": 2, "progress": False},
        "hls": {"strategy": "Resource", "reuse_factor": 9, "invalid_reuse_factor": "nearest"},
        "proof": {"csim_count": 0},
        "baselines": [{"engine": "gpu_model", "precision": "float16", "provider": "T4"}],
    } | change


LATE = {
    "an unknown dataset": ({"dataset": {"name": "synthetik"}}, ConfigError, "synthetic"),
    "an unknown model": ({"model": {"name": "convnett"}}, ConfigError, "convnet"),
    "a model that is not there": ({"model": {"path": "absent.keras"}}, ModelError, "absent.keras"),
    "an unknown engine": ({"baselines": [{"engine": "onnx"}]}, ConfigError, "onnxruntime"),
    "a precision the engine lacks": ({"baselines": [{"engine": "keras", "precision": "int8"}]}, ConfigError, "int8"),
    "an unknown GPU": ({"baselines": [{"engine": "gpu_model", "provider": "T5"}]}, ConfigError, "T4"),
    "a part that is none": ({"hls": {"part": "spartan"}}, ConfigError, "spartan"),
    "an unknown teacher": ({"qat": {"teacher": "flaot"}}, ConfigError, '"float"'),
    "a layer of [hls] that is none": ({"hls": {"layers": {"convv": {"reuse_factor": 1}}}}, ConfigError, '"conv"'),
    "a layer of [quantization] that is none": (
        {"quantization": {"layers": {"logit": {"weight_bits": 4}}}},
        ConfigError,
        '"logits"',
    ),
    "a reuse factor hls4ml would move": ({"hls": {"strategy": "Resource", "reuse_factor": 7}}, ConfigError, "nearest"),
    "a FIFO that is none": ({"hls": {"reuse_factor": 1, "fifo_depths": {"layer99": 4}}}, ConfigError, "layer99"),
    "images of another shape": ({"dataset": {"name": "digits"}}, DataError, "(8, 8, 1)"),
    "a schedule longer than the training": (
        {"qat": {"epochs": 1, "prune": {"end_epoch": 5}}},
        ConfigError,
        "epochs = 1",
    ),
}


@pytest.mark.parametrize(("change", "error", "message"), LATE.values(), ids=LATE)
@pytest.mark.usefixtures("never_trained")
def test_a_mistake_is_told_before_any_training(
    change: dict[str, Any], error: type[ToolkitError], message: str, model_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(error) as told:
        run_design(parse_design(tables(model_file, **change)), tmp_path / "out")
    assert message in str(told.value)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_somebody_else_and_a_missing_compiler_are_told_by_the_file_alone(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    design = parse_design(tables(model_file))
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "thesis.tex").write_text("mine")
    with pytest.raises(StoreError, match=r"thesis\.tex"):
        check_design(design, tmp_path)
    (tmp_path / "report" / "thesis.tex").rename(tmp_path / "thesis.tex")
    (tmp_path / "models" / "own").mkdir(parents=True)
    (tmp_path / "models" / "own" / "mine.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"mine\.txt"):
        plan_design(design, tmp_path)
    monkeypatch.setenv("TOOLKIT_GXX", "/absent/g++")
    with pytest.raises(ToolNotFound, match="TOOLKIT_GXX"):
        check_design(parse_design(tables(model_file, proof={"csim_count": 1})))


def test_of_several_designs_the_mistaken_one_is_named(model_file: Path) -> None:
    second = {"name": "second", "hls": {"layers": {"convv": {"reuse_factor": 1}}}}
    with pytest.raises(ConfigError, match=r'design second: hls\.layers: "convv"'):
        plan_design(parse_design(tables(model_file, designs=[{"name": "first"}, second])))


@pytest.fixture(scope="module")
def plan(model_file: Path) -> Plan:
    wanted = tables(model_file, qat={"epochs": 3, "teacher": "float"}, hls={"part": "xc7z999", "reuse_factor": 9})
    wanted["hls"] |= {"strategy": "Resource", "invalid_reuse_factor": "nearest"}
    return plan_design(parse_design(wanted))


def test_a_plan_has_a_step_for_every_row_and_times_with_a_source(plan: Plan) -> None:
    assert [step.row for step in plan.steps] == ["own", "gpu_model float16", "w8a8_io_stream_resource_rf9", "report"]
    assert "3 epochs" in plan.steps[2].work
    seconds = plan.seconds
    assert seconds.source == "model"
    assert seconds.low is not None and seconds.high is not None
    assert 0 < seconds.low < seconds.value < seconds.high
    assert "\n  in all about " in str(plan)


def test_a_plan_says_what_nobody_can_know(plan: Plan) -> None:
    assert any("xc7z999 is in no device table" in note for note in plan.notes)


def test_a_stored_training_takes_no_time(model_file: Path, tmp_path: Path) -> None:
    """And a run leaves its trained models, projects, findings and report where the user asked, and nothing else."""
    design = parse_design(tables(model_file))
    said: list[str] = []
    result = run_design(design, tmp_path / "out", say=said.append)
    label = design.designs[0].label
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"models", "projects", "report"}
    for name in ("own", label):
        assert {path.name for path in (tmp_path / "out" / "models" / name).iterdir()} == {"model.keras", "record.json"}
    assert said[0] == str(result.plan)
    assert result.checks[label][0].compared == ("qkeras", "emulation")
    page = (tmp_path / "out" / "report" / "index.html").read_text()
    assert result.findings[label]
    assert all(finding.rule and finding.reason.split("<")[0][:30] in page for finding in result.findings[label])
    assert plan_design(design).steps[0].seconds.value == 0


def test_a_design_whose_bits_differ_leads_the_answer(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    narrow = {"reuse_factor": 1, "layers": {"logits": {"precision": {"accum": "ap_fixed<6,2>"}}}}
    result = run_design(parse_design(tables(model_file, hls=narrow, baselines=[])), tmp_path)
    told = next(iter(result.failed.values()))
    assert "first in layer logits" in told
    assert "accumulator" in told
    page = (tmp_path / "report" / "index.html").read_text()
    assert page.index('class="alarms"') < page.index('class="lead"')
    assert "first in layer logits" in (tmp_path / "report" / "report.md").read_text().split("|")[0]
    capsys.readouterr()
    assert show_run(result, as_json_=False) == 1
    assert capsys.readouterr().out.startswith(f"{next(iter(result.failed))}: {told}\n")
    COMMAND.set("run")
    assert show_run(result, as_json_=True) == 1
    printed = json.loads(capsys.readouterr().out)
    jsonschema.validate(printed, schema_of("run"))
    assert printed["designs"][0]["failed"] == told


def test_the_command_stops_after_the_plan(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "own.toml"
    file.write_text(f'[dataset]\nname = "synthetic"\n[model]\npath = "{model_file}"\n[hls]\nreuse_factor = 1\n')
    assert exit_code(["run", "own.toml", "--plan", "--json"]) == 0
    jsonschema.validate(json.loads(capsys.readouterr().out), schema_of("plan"))
    file.write_text(file.read_text() + 'part = "spartan"\n')
    assert exit_code(["run", "own.toml", "--plan"]) == 2
    assert "spartan" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [file]


def test_the_names_of_the_zoo_are_known_without_keras() -> None:
    from toolkit.config import ZOO
    from toolkit.zoo import MODELS

    assert set(ZOO) <= set(MODELS)
