"""Sweeps with cheap points: every search, resuming, failures, proofs, results."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cheap
import pandas
import pytest

from toolkit.cli import exit_code
from toolkit.cli.sweep import show_sweep
from toolkit.config import load_design
from toolkit.errors import ConfigError, StoreError
from toolkit.exploration import (
    SweepResult,
    best,
    export,
    load_sweep,
    points_table,
    sweep,
    write_designs,
    write_sweep_report,
)
from toolkit.exploration.feeds import Progress
from toolkit.exploration.narration import Narrator
from toolkit.exploration.space import Point

Run = Callable[..., SweepResult]
Evaluations = Callable[[], list[str]]

TABLES: dict[str, Any] = {
    "name": "cheap",
    "quantization": {"weight_bits": [2, 4, 8]},
    "hls": {"reuse_factor": [1, 2, 4, 8]},
}


def searching(search: str, points: int = 8, **settings: Any) -> dict[str, Any]:
    return {**TABLES, "sweep": {"search": search, "points": points, **settings}}


def test_a_grid_evaluates_every_point_once(run: Run, evaluations: Evaluations) -> None:
    result = run(TABLES)
    assert len(result.points) == len(set(evaluations())) == len(evaluations()) == 12
    assert all(record.state == "complete" for record in result.points)
    run(TABLES)
    assert len(evaluations()) == 12


@pytest.mark.parametrize("search", ["random", "tpe", "nsga2", "nsga3"])
def test_a_search_finds_different_points_and_goes_on(run: Run, evaluations: Evaluations, search: str) -> None:
    assert len(run(searching(search)).points) == 8
    assert len(set(evaluations())) == len(evaluations()) == 8
    assert len(run(searching(search, 11)).points) == 11
    assert len(set(evaluations())) == len(evaluations()) == 11


def test_a_search_ends_when_there_is_nothing_new(run: Run, evaluations: Evaluations) -> None:
    assert len(run(searching("tpe", 100)).points) == 12
    assert len(evaluations()) == 12


def test_one_objective_is_a_front_of_one(run: Run) -> None:
    result = run(searching("tpe", objectives=["accuracy"], constraints=[]))
    assert len(result.pareto) == 1


def test_the_front_holds_the_constraints(run: Run) -> None:
    result = run({**TABLES, "sweep": {"constraints": ["fits", "accuracy >= 0.9"]}})
    found = [(r.point.design.quantization.weight_bits, r.point.design.hls.reuse_factor) for r in result.pareto]
    assert found == [(8, 2), (4, 1)]
    assert all(record.feasible(result.constraints) for record in result.pareto)


def test_a_changed_file_takes_over_the_points_it_shares(run: Run, evaluations: Evaluations) -> None:
    run(TABLES)
    wider = run({**TABLES, "quantization": {"weight_bits": [2, 4, 6, 8]}})
    assert len(wider.points) == 16
    assert len(evaluations()) == 16
    stricter = run({**TABLES, "sweep": {"search": "tpe", "points": 6, "constraints": ["dsp <= 64"]}})
    assert len(stricter.points) == 6
    assert len(evaluations()) == 16


def test_another_version_judges_every_point_anew(
    run: Run, evaluations: Evaluations, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(TABLES)
    for module in ("space", "book"):
        monkeypatch.setattr(f"toolkit.exploration.{module}.package_versions", lambda: {"toolkit": "9"})
    run(TABLES)
    assert len(evaluations()) == 24


def test_failures_are_records_and_may_be_tried_again(run: Run, evaluations: Evaluations) -> None:
    tables = {"name": "t", "quantization": {"weight_bits": [1, 2, 3, 4, 7, 8, 9]}}
    result = run(tables, evaluate=cheap.troubled)
    kinds = {r.point.design.quantization.weight_bits: (r.state, r.error_kind) for r in result.points}
    assert kinds == {
        1: ("complete", None),
        2: ("failed", "RuntimeError"),
        4: ("failed", "ConfigError"),
        7: ("failed", "SystemExit"),
        8: ("complete", None),
        9: ("pruned", "TrainingStopped"),
    }
    assert "expected ';'" in (result.failed[0].error or "")
    ((left, reason),) = result.left
    assert left.design.quantization.weight_bits == 3
    assert "out of memory" in reason
    count = len(evaluations())
    again = run(tables, evaluate=cheap.mended)
    assert (len(again.failed), len(again.points), again.left) == (3, 7, ())
    assert len(evaluations()) == count + 1
    assert run(tables, evaluate=cheap.mended, retry_failed=True).failed == ()
    assert len(evaluations()) == count + 4


@pytest.mark.parametrize("search", ["tpe"])
def test_a_search_survives_failures(run: Run, search: str) -> None:
    tables = {"name": "t", "quantization": {"weight_bits": [1, 2, 3, 8, 9]}, "sweep": {"search": search, "points": 5}}
    troubled = run(tables, evaluate=cheap.troubled)
    assert (len(troubled.failed), len(troubled.left)) == (1, 1)
    mended = run(tables, evaluate=cheap.mended, retry_failed=True)
    assert (len(mended.points), mended.failed, mended.left) == (5, (), ())


def test_a_point_that_takes_its_worker_down_or_never_ends_fails_alone(store: Path) -> None:
    tables = {"name": "t", "quantization": {"weight_bits": [1, 5, 6, 8]}, "sweep": {"timeout_s": 8}}
    lines: list[str] = []
    result = sweep(tables, workers=2, evaluate=cheap.troubled, proof=False, say=lines.append)
    kinds = {r.point.design.quantization.weight_bits: (r.state, r.error_kind) for r in result.points}
    assert kinds == {
        1: ("complete", None),
        5: ("failed", "WorkerDied"),
        6: ("failed", "Timeout"),
        8: ("complete", None),
    }
    assert "4 of 4 points" in lines[-2]
    assert "2 failed" in lines[-2]
    assert lines[-1].startswith("2 points failed (--retry-failed tries them again): 1 x WorkerDied: its worker ended")


def test_training_behind_the_median_is_stopped(run: Run) -> None:
    tables = {"name": "t", "quantization": {"weight_bits": [9, 8, 7, 6, 5, 2]}, "qat": {"epochs": 2}}
    states = {
        r.point.design.quantization.weight_bits: (r.state, len(r.history))
        for r in run(tables, evaluate=cheap.trained, proof=False).points
    }
    assert states[9] == states[6] == ("complete", 2)
    all_done = run({**tables, "name": "u", "sweep": {"prune_training": False}}, evaluate=cheap.trained, proof=False)
    assert all(record.state == "complete" for record in all_done.points)


def test_a_full_disk_is_no_fault_of_a_point(run: Run, evaluations: Evaluations) -> None:
    with pytest.raises(StoreError, match="the same command continues"):
        run(TABLES, evaluate=cheap.disk_full)
    assert not run(TABLES).failed
    assert len(evaluations()) == 12


def test_an_objective_that_is_not_known_fails_the_point(run: Run) -> None:
    result = run({**TABLES, "sweep": {"objectives": ["accuracy", "ebops"]}})
    assert {record.error for record in result.points} == {"no figure for ebops"}


def test_the_front_and_a_sample_are_proven_once(run: Run) -> None:
    result = run({**TABLES, "sweep": {"proof": {"sample": 2, "images": 5}}})
    proved = [record for record in result.points if record.proof is not None]
    assert {record.digest for record in result.pareto} <= {record.digest for record in proved}
    assert len(proved) == len(result.pareto) + 2
    assert proved[0].proof == {"equal": True, "images": 5}
    again = run({**TABLES, "sweep": {"proof": {"sample": 2, "images": 5}}}, prove=cheap.prove_failing)
    assert again.disproved == ()
    assert [record.digest for record in again.points if record.proof] == [record.digest for record in proved]


def test_a_proof_that_does_not_hold_is_told(run: Run) -> None:
    lines: list[str] = []
    result = run(TABLES, prove=cheap.prove_differing, say=lines.append)
    assert {record.digest for record in result.disproved} >= {record.digest for record in result.pareto}
    assert any("DIFFERS" in line for line in lines)
    failing = run({**TABLES, "name": "f"}, prove=cheap.prove_failing)
    assert {r.proof["error"] for r in failing.points if r.proof} == {"RuntimeError: no compiler"}
    again = run({**TABLES, "name": "f"}, retry_failed=True)
    assert {r.proof["equal"] for r in again.points if r.proof} == {True}
    assert len([r for r in again.points if r.proof]) == len([r for r in failing.points if r.proof])


def test_results_are_loaded_from_the_store(run: Run) -> None:
    made = run(TABLES)
    for source in (TABLES, "cheap", made.study, None):
        loaded = load_sweep(source)
        assert [r.to_json() for r in loaded.points] == [r.to_json() for r in made.points]
        assert [r.digest for r in loaded.pareto] == [r.digest for r in made.pareto]
        assert [r.proof for r in loaded.points] == [r.proof for r in made.points]
    with pytest.raises(StoreError, match=r"nope has no points yet.*cheap"):
        load_sweep("nope")


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json"])
def test_exports_hold_every_point(run: Run, tmp_path: Path, suffix: str) -> None:
    result = run(TABLES)
    path = export(result, tmp_path / f"points{suffix}")
    if suffix == ".json":
        assert len(json.loads(path.read_text())["points"]) == 12
        return
    frame = pandas.read_csv(path) if suffix == ".csv" else pandas.read_parquet(path)
    assert list(frame["latency_us"]) == [record.figures["latency_us"].value for record in result.points]
    assert set(frame["latency_us_source"]) == {"model"}
    assert frame["pareto"].sum() == len(result.pareto)
    with pytest.raises(ConfigError, match="csv"):
        export(result, tmp_path / "points.xlsx")


def test_winning_design_files_are_ready_to_run(run: Run, tmp_path: Path) -> None:
    tables = {**TABLES, "train": {"epochs": 3}, "qat": {"epochs": 2, "teacher": "float"}}
    result = run(tables)
    for path, record in zip(write_designs(result, tmp_path), result.pareto, strict=True):
        design = load_design(path)
        assert design.train.epochs == 3
        assert len(design.designs) == 1
        assert design.designs[0].hls.reuse_factor == record.point.design.hls.reuse_factor
        assert design.designs[0].quantization == record.point.design.quantization
        assert design.designs[0].qat is not None
        assert design.designs[0].qat.teacher == "float"


def test_targets_become_reuse_factors_per_layer(run: Run, tmp_path: Path) -> None:
    def resolved(point: Any, bar: Any) -> Any:
        return cheap.evaluate(point, bar).change(reuse_factors={"conv1": 3, "dense": 8})

    hls = {"target_ii": [100, 200], "strategy": "Resource"}
    result = run({"name": "t", "hls": hls, "sweep": {"constraints": []}}, evaluate=resolved)
    design = load_design(write_designs(result, tmp_path)[0]).designs[0]
    assert {name: layer.reuse_factor for name, layer in design.hls.layers.items()} == {"conv1": 3, "dense": 8}


def test_needed_fifo_depths_are_in_the_winning_design(run: Run, tmp_path: Path) -> None:
    def sized(point: Any, bar: Any) -> Any:
        return cheap.evaluate(point, bar).change(fifo_depths={"conv1": 5, "pool1": 2})

    result = run({"name": "t", "hls": {"fifo_depths": "needed"}, "sweep": {"constraints": []}}, evaluate=sized)
    design = load_design(write_designs(result, tmp_path)[0]).designs[0]
    assert design.hls.fifo_depths == {"conv1": 5, "pool1": 2}
    assert design.label == f"t_{result.pareto[0].number}"


def test_the_command_line_shows_and_writes_the_best(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    run({**TABLES, "hls": {"reuse_factor": {"low": 1, "high": 20}}})
    assert exit_code(["sweep", "show"]) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[1].split()[:5] == ["point", "weight_bits", "reuse_factor", "accuracy", "latency_us"]
    assert shown.splitlines()[2].split() == ["emulation", "model", "model"]
    assert "60 points, " in shown and "the front under fits; all points: toolkit sweep export cheap-" in shown
    assert shown.count("csim equal") == shown.count("Pareto")
    assert exit_code(["sweep", "best", "--min-accuracy", "0.9", "--out", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("cheap_*.toml")
    assert f"toolkit run {path}" in capsys.readouterr().out
    assert load_design(path).designs[0].quantization.weight_bits == 4
    assert exit_code(["sweep", "best", "--min-accuracy", "0.9", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["best"]
    assert found["figures"]["accuracy"]["source"] == "emulation"


def test_a_live_line_gives_way_to_lines_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "20")
    narrator = Narrator(Progress(7), ("accuracy",), ())
    narrator.beat()
    narrator.tell("csim as proof of 2 points")
    assert terminal.getvalue() == "\r\x1b[K0 of 7 points\r\x1b[Kcsim as proof of 2 points\n"


def test_best_answers_from_the_store(run: Run) -> None:
    parts = ["xc7z020clg400-1", "xcu250-figd2104-2L-e"]
    run({**TABLES, "hls": {"reuse_factor": [1, 2, 4], "part": parts}})
    (found,) = best(part="xc7z020clg400-1", min_accuracy=0.85)
    assert found.record.point.design.quantization.weight_bits == 4
    assert found.record.point.design.hls.reuse_factor == 1
    assert found.record.point.design.hls.part == "xc7z020clg400-1"
    tables = {**TABLES, "name": "strict", "hls": {"clock_period_ns": [5, 10]}, "sweep": {"constraints": ["dsp <= 256"]}}
    run(tables)
    (named,) = best(name="strict")
    assert (named.record.figures["accuracy"].value, named.record.figures["latency_us"].value) == (1 - 2.0**-4, 0.5)
    with pytest.raises(ConfigError, match=r"closest has accuracy 0\.996"):
        best(min_accuracy=0.999)
    with pytest.raises(ConfigError, match='did you mean "xc7z020clg400-1"'):
        best(part="xc7z020clg400-2")


def test_a_table_names_what_varies_and_marks_points(run: Run) -> None:
    headings, rows = points_table(run(TABLES))
    assert headings[:5] == ["point", "weight_bits", "reuse_factor", "accuracy (emulation)", "latency_us (model)"]
    assert len(rows) == 12
    assert any(row[-1] == "Pareto, csim equal" for row in rows)
    assert any(row[-1] == "not fits" for row in rows)


def test_a_report_holds_pictures_points_and_designs(run: Run, tmp_path: Path) -> None:
    result = run(TABLES)
    page = write_sweep_report(result, tmp_path / "report").read_text()
    assert page.count("<svg") == 3
    assert "://" not in page.replace("http://www.w3.org", "").replace("https://www.w3.org", "")
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "index.html", "points.csv", "points.json", "points.parquet", "figures", "designs",
    }  # fmt: skip
    assert len(list((tmp_path / "report" / "designs").iterdir())) == len(result.pareto)
    write_sweep_report(result, tmp_path / "report")
    (tmp_path / "report" / "mine.txt").touch()
    with pytest.raises(StoreError, match=r"mine\.txt"):
        write_sweep_report(result, tmp_path / "report")


def test_a_report_of_nothing_but_failures(run: Run, tmp_path: Path) -> None:
    result = run({"name": "t", "quantization": {"weight_bits": [2, 3]}}, evaluate=cheap.troubled)
    page = write_sweep_report(result, tmp_path / "report").read_text()
    assert "No point holds every constraint" in page


def test_what_lint_says_of_the_front_is_told_and_reported(
    run: Callable[..., SweepResult], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def prove(point: Point, record: Mapping[str, Any], images: int) -> Mapping[str, Any]:
        finding = {"severity": "warning", "layer": "conv1", "rule": "unroll", "reason": "too large", "remedy": "split"}
        return {"equal": True, "images": images, "findings": [finding]}

    result = run({"name": "t", "quantization": {"weight_bits": [2, 3]}}, prove=prove)
    ((finding, numbers),) = result.findings.items()
    assert (finding.layer, len(numbers)) == ("conv1", 2)
    show_sweep(result, as_json_=False)
    assert "warning: points 0, 1 conv1: too large\n    split [unroll]" in capsys.readouterr().out
    page = write_sweep_report(result, tmp_path / "report").read_text()
    assert "<td>0, 1</td><td>warning</td><td>conv1</td>" in page
