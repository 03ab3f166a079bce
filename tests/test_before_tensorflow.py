"""What needs no TensorFlow is done without it: mistakes are told before, stored things are read without."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# Runs commands in a Python in which TensorFlow cannot be imported; prints exit code, outputs and seconds of each.
SCRIPT = """
import contextlib, io, json, sys, time

class Poison:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras", "qkeras", "hls4ml"):
            raise AssertionError(f"{name} is imported")

sys.meta_path.insert(0, Poison())
from toolkit.cli import exit_code

answers = {}
for name, arguments in json.load(sys.stdin).items():
    out, err = io.StringIO(), io.StringIO()
    begun = time.process_time()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = exit_code(arguments)
        except AssertionError as error:
            code = str(error)
    answers[name] = [code, out.getvalue(), err.getvalue(), time.process_time() - begun]
json.dump(answers, sys.stdout)
"""

LOOSE = {"[hls]": 'io_type = "io_parralel"', "[qat]": 'teacher = "flaot"', "[model]": 'name = "convnett"'}
MISTAKES = {
    "an unknown model": (["train", "convnett"], 'did you mean "convnet"'),
    "a model that is not there": (["train", "absent.keras"], "absent.keras"),
    "a teacher that is not there": (["train", "convnet", "--teacher", "absent"], "absent"),
    "an unknown dataset": (["train", "convnet", "--dataset", "mnist5"], 'did you mean "mnist5k"'),
    "an unknown scope": (["train", "convnet", "--prune", "0.5", "--prune-scope", "globl"], "global"),
    "too many bits": (["train", "convnet", "--bits", "99"], "32"),
    "an unknown io type": (["convert", "convnet", "out", "--io-type", "io_parralel"], "io_parallel"),
    "an unknown part": (["convert", "convnet", "out", "--part", "spartan"], "spartan"),
    "no images to quantize with": (["convert", "convnet", "out", "--bits", "4"], "--dataset"),
    "a folder of somebody else": (["convert", "convnet", "."], "no HLS project"),
    "an unknown engine": (["baseline", "convnet", "--engine", "onnx"], 'did you mean "onnxruntime"'),
    "an unknown precision": (["baseline", "convnet", "--precision", "int7"], "float32"),
    "an unknown provider": (["baseline", "convnet", "--engine", "gpu_model", "--provider", "T5"], "T4"),
    "a project that is not there": (["estimate", "absent"], "absent"),
    "a report that is not there": (["report", "--from", "absent"], "absent"),
    "a sweep that is not there": (["sweep", "absent.toml"], "absent.toml"),
    "a design file that is not there": (["run", "absent.toml"], "absent.toml"),
    **{f"a mistake in {section}": (["run", f"{number}.toml"], "choose") for number, section in enumerate(LOOSE)},
}


def answers(commands: dict[str, list[str]], folder: Path) -> dict[str, Any]:
    """Exit code, standard output, standard error and seconds of each command."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps(commands),
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("mistakes")
    (folder / "mine.txt").write_text("mine")
    for number, (section, key) in enumerate(LOOSE.items()):
        (folder / f"{number}.toml").write_text(f'[dataset]\nname = "digits"\n{section}\n{key}\n')
    return answers({name: arguments for name, (arguments, _) in MISTAKES.items()}, folder)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_at_once(name: str, told: dict[str, Any]) -> None:
    code, _, said, seconds = told[name]
    assert code == 2, said
    assert MISTAKES[name][1] in said
    assert seconds < 1


STORED = {
    "estimate": ["estimate", "project"],
    "diff": ["diff", "project", "project"],
    "csim": ["csim", "project", "--emulate"],
    "check": ["check", "project", "--emulate"],
    "compare": ["compare", "run"],
    "parts": ["parts", "zcu104"],
    "show": ["show", "project"],
    "doctor": ["doctor"],
    "store show": ["store", "show"],
    "store check": ["store", "check"],
    "store prune": ["store", "prune", "--older-than", "30d", "--dry-run"],
}
ALL = {
    **STORED,
    **{f"{name} as JSON": [*arguments, "--json"] for name, arguments in STORED.items()},
    "report": ["report", "--from", "run", "--out", "again"],
    "schema": ["schema", "estimate"],
}


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Commands on a project and a report that another process wrote."""
    import keras
    import numpy as np

    from toolkit.comparison import compare, write_report
    from toolkit.config import HlsConfig
    from toolkit.estimation import estimate
    from toolkit.hls import write_project

    folder = tmp_path_factory.mktemp("stored")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="logits")])
    config = HlsConfig(precision="ap_fixed<16,6>", part="pynq-z2")
    project = write_project(model, config, folder / "project", inputs=np.zeros((2, 4)))
    write_report(compare([project, estimate(project)]), folder / "run" / "report", formats=("json",))
    return answers(ALL, folder)


@pytest.mark.parametrize("name", ALL)
def test_stored_things_are_read_without_it(name: str, read: dict[str, Any]) -> None:
    code, printed, said, _ = read[name]
    assert code == 0, said
    assert printed


@pytest.mark.parametrize("name", STORED)
def test_json_is_what_its_schema_says(name: str, read: dict[str, Any]) -> None:
    """And its version stands in it."""
    import jsonschema

    from toolkit.cli.answers import schema_of
    from toolkit.records import SCHEMA_VERSION

    printed = json.loads(read[f"{name} as JSON"][1])
    assert (printed["schema"], printed["answer"]) == (SCHEMA_VERSION, name)
    jsonschema.Draft202012Validator(schema_of(name)).validate(printed)
    assert not [key for key in keys(printed) if " " in key]


def keys(value: Any) -> list[str]:
    """Every key of every object in a JSON value."""
    if isinstance(value, dict):
        return [*value, *(key for item in value.values() for key in keys(item))]
    return [key for item in value for key in keys(item)] if isinstance(value, list) else []


def test_every_answer_has_a_schema() -> None:
    import jsonschema

    from toolkit.cli.answers import ANSWERS, schema_of

    for name in ANSWERS:
        jsonschema.Draft202012Validator.check_schema(schema_of(name))
