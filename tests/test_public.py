"""The public functions: a wrong type is one error of the tree; paths, names and records go in alike."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import toolkit as tk
from toolkit.estimation.tools import parse_tool

WRONG = (None, 3, 2.5, True, object(), [], {}, (1, 2), b"x", "no such thing", lambda: 0)
FUNCTIONS = [name for name in tk.__all__ if inspect.isfunction(getattr(tk, name))]


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """An argument that fits, by parameter; the folder ``project`` holds a written project."""
    from tests.hls.small_models import dense_model

    folder = tmp_path_factory.mktemp("public")
    model = dense_model()
    model.save(folder / "model.keras")
    project = tk.write_project(model, tk.HlsConfig(), folder / "project")
    emulator = tk.emulate(project)
    return {
        "model": model,
        "config": tk.HlsConfig(),
        "path": folder / "elsewhere",
        "project": project,
        "subject": project,
        "emulator": emulator,
        "library": emulator,
        "a": project,
        "b": project,
        "x": np.zeros((2, 4), np.float32),
        "dataset": tk.load_dataset("digits"),
        "comparison": tk.compare([tk.estimate(project)]),
        "design": tk.DesignFile(),
        "file": folder / "model.keras",
    }


def required(function: Callable[..., Any]) -> list[str]:
    """Names of the parameters a call needs; the first, where it needs none."""
    parameters = list(inspect.signature(function).parameters.values())
    return [item.name for item in parameters if item.default is item.empty] or [parameters[0].name]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_wrong_type_is_one_error_of_the_tree(
    name: str, right: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    function = getattr(tk, name)
    names = required(function)
    for wrong, bad in itertools.product(names, WRONG):
        arguments = {key: bad if key == wrong else right.get(key, bad) for key in names}
        if any(key == "path" for key in names) and wrong == "path" and isinstance(bad, str):
            continue  # a new folder of that name
        with pytest.raises(tk.ToolkitError):
            function(**arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_project_goes_in_as_itself_or_as_its_folder(right: dict[str, Any]) -> None:
    project, x = right["project"], right["x"]
    for given in (project, project.path, str(project.path)):
        np.testing.assert_array_equal(tk.emulate(given).predict(x), right["emulator"].predict(x))
        assert tk.estimate(given) == tk.estimate(project)
        assert tk.lint(given) == tk.lint(project)
        assert tk.check(given, right["model"], x, library=right["emulator"]).equal
        assert tk.diff(given, project).equal


def test_a_model_goes_in_as_itself_its_record_or_its_file(right: dict[str, Any], tmp_path: Path) -> None:
    x, file = right["x"], right["file"]
    for given in (right["model"], file, str(file)):
        assert tk.check(right["project"], given, x, library=right["emulator"]).equal
        written = tk.write_project(given, tk.HlsConfig(), tmp_path / "p")
        assert written.graph.digest == right["project"].graph.digest


def test_a_design_goes_in_as_itself_or_as_its_file(tmp_path: Path) -> None:
    (tmp_path / "d.toml").write_text('[hls]\nio_type = "io_parralel"\n')
    for given in (tmp_path / "d.toml", str(tmp_path / "d.toml")):
        for function in (tk.load_design, tk.run_design):
            with pytest.raises(tk.ToolkitError, match=r'did you mean "io_parallel"[\s\S]*d\.toml, line 2'):
                function(given)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "an interval upside down": (lambda: tk.Figure(3, "us", "model", low=9, high=1), "from low to high, got 9 to 1"),
    "a figure of no source": (lambda: tk.Figure(3, "us", "hearsay"), "source must be one of"),  # type: ignore[arg-type]
    "a figure of text": (lambda: tk.Figure("3", "us", "model"), "must be a number, got '3'"),  # type: ignore[arg-type]
    "a figure that is none": (lambda: tk.Figure(float("nan"), "us", "model"), "must be a number, got nan"),
    "a figure without a unit": (lambda: tk.Figure(3, None, "model"), "unit must be text"),  # type: ignore[arg-type]
    "a comparison of nothing": (lambda: tk.compare([]), "at least one record"),
    "a tool of the last century": (lambda: parse_tool("vitis_hls 1999.9"), "there is no vitis_hls 1999.9"),
    "a tool that ended": (lambda: parse_tool("vivado_hls 2023.1"), "Vivado HLS went from"),
    "a number as a precision": (lambda: tk.Precision.parse(16), "must be text"),  # type: ignore[arg-type]
    "a width in words": (lambda: tk.Precision("16", 6), "whole numbers, got '16'"),  # type: ignore[arg-type]
    "a list where keys belong": (
        lambda: tk.HlsConfig([]),
        r"takes keys, such as HlsConfig\(backend='Vitis'\)",
    ),
    "a record of other types": (
        lambda: tk.CheckResult(1, 0, 1, 0.0, None, (), 1),  # type: ignore[arg-type]
        "CheckResult.equal must be bool, got 1",
    ),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_odd_values_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(tk.ToolkitError, match=message):
        make()


def test_complex_inputs_are_no_images(right: dict[str, Any]) -> None:
    for x in (np.zeros((2, 4), complex), np.array([["a"] * 4]), None):
        with pytest.raises(tk.ToolkitError, match="must be real numbers, got an array of"):
            right["emulator"].predict(x)


def test_an_unknown_part_is_not_told_to_be_too_small(right: dict[str, Any]) -> None:
    from toolkit.hls.convert import convert

    config = tk.HlsConfig(part="xcvu99p-nobody-2-e")
    found = tk.estimate(convert(right["model"], config).graph, hls=config)
    assert found.fits is None
    assert tk.compare([found]).rows[0].facts.get("fits") is None
