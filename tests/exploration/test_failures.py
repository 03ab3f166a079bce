"""A point's failure is the point's: what happens around it is told, not written down, and tried again."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cheap
import pytest

from toolkit.cli import exit_code
from toolkit.errors import ProcessError, StoreError, ToolkitError
from toolkit.exploration import SweepResult, load_sweep, sweep
from toolkit.exploration.engines import UNGUARDED, Death, ended
from toolkit.exploration.jobs import reason_outside

Run = Callable[..., SweepResult]
HERE = Path(__file__).parent
TABLES: dict[str, Any] = {"name": "f", "quantization": {"weight_bits": [4, 8]}}
SCRIPT = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
import cheap
from toolkit.exploration import sweep
"""
CALL = "sweep({{'name': 'unguarded'}}, workers=1, storage={!r}, evaluate=cheap.evaluate, proof=False)\n"


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("ResourceExhaustedError: OOM when allocating tensor"),
        raised(ValueError("no"), MemoryError()),
        ProcessError("return code -9: g++ -O3"),
        ProcessError("return code 1: g++\n    g++: fatal error: Killed signal terminated program cc1plus"),
    ],
)
def test_what_lies_outside_a_point(error: BaseException) -> None:
    assert reason_outside(error)


def test_what_lies_in_a_point() -> None:
    for error in (ValueError("no"), ProcessError("return code 1: g++ -O3"), ProcessError("return code -11: g++")):
        assert reason_outside(error) is None
    with pytest.raises(StoreError, match="the same command continues"):
        reason_outside(raised(RuntimeError("cannot save"), OSError(errno.ENOSPC, "No space left on device")))


def test_a_sweep_in_which_every_point_fails_says_why_and_exits_with_1(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def run_troubled(*arguments: Any, **options: Any) -> SweepResult:
        return sweep(*arguments, **{**options, "evaluate": cheap.troubled, "workers": 0})

    monkeypatch.setattr("toolkit.exploration.sweep", run_troubled)
    file = tmp_path / "all.toml"
    file.write_text("[quantization]\nweight_bits = [2]\n[hls]\nclock_period_ns = [5, 10]\n")
    assert exit_code(["sweep", str(file)]) == 1
    assert "every point failed (--retry-failed tries them again): 2 x RuntimeError: compile error" in (
        capsys.readouterr().err
    )
    file.write_text("[quantization]\nweight_bits = [1, 3]\n")
    assert exit_code(["sweep", str(file), "--no-proof"]) == 1
    assert "1 points could not be evaluated, for reasons outside them" in capsys.readouterr().err
    file.write_text("[quantization]\nweight_bits = [1, 2]\n")
    assert exit_code(["sweep", str(file), "--no-proof"]) == 0


def test_a_killed_worker_is_no_fault_of_its_point(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHEAP_KILLS", str(tmp_path / "killed"))
    result = sweep(TABLES, workers=1, evaluate=cheap.killed_once, proof=False, say=lambda line: None)
    assert [record.state for record in result.points] == ["complete"] * 2
    assert result.left == ()


def test_a_point_whose_workers_are_always_killed_is_left(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.exploration.pool.EXCUSES", 1)
    lines: list[str] = []
    result = sweep(TABLES, workers=1, evaluate=cheap.killed_at_8, proof=False, say=lines.append)
    assert [record.point.design.quantization.weight_bits for record in result.points] == [4]
    ((point, reason),) = result.left
    assert (point.design.quantization.weight_bits, reason) == (8, "its worker was ended by SIGKILL")
    assert "the same command tries them again" in lines[-1]
    again = sweep(TABLES, workers=0, evaluate=cheap.evaluate, proof=False, say=lines.append)
    assert (len(again.points), again.left) == (2, ())


def test_an_interrupted_compiler_proves_nothing_and_is_asked_again(run: Run) -> None:
    lines: list[str] = []
    result = run(TABLES, prove=cheap.prove_killed, say=lines.append)
    assert all(record.proof is None for record in result.points)
    assert "csim as proof: 2 of 2 not made; the same command goes on with them" in lines
    assert all(record.proof for record in run(TABLES).pareto)


def test_workers_that_cannot_import_what_they_run_fail_no_point(store: Path) -> None:
    here = "evaluate_nowhere"
    sys.modules[here] = type(sys)(here)
    exec("def evaluate(point, bar): ...", vars(sys.modules[here]))
    sys.modules[here].evaluate.__module__ = here
    with pytest.raises(ToolkitError, match=r"worker processes do not start.*no point is to blame"):
        sweep(TABLES, workers=1, evaluate=sys.modules[here].evaluate, say=lambda line: None)
    assert load_sweep("f").points == ()


@pytest.mark.parametrize("how", ["no guard", "beside the guard", "standard input"])
def test_a_script_that_workers_cannot_start_from_is_told_once(store: Path, tmp_path: Path, how: str) -> None:
    storage, script = str(tmp_path / "book.db"), tmp_path / "script.py"
    guard = "if __name__ == '__main__':\n    print('guarded')\n" if how == "beside the guard" else ""
    script.write_text(SCRIPT + guard + CALL.format(storage))
    arguments = [sys.executable] if how == "standard input" else [sys.executable, str(script)]
    with script.open() as text:
        done = subprocess.run(arguments, stdin=text, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert done.stderr.count("Error:") == 1, done.stderr
    assert "put the call of sweep under it" in done.stderr
    if Path(storage).exists():
        assert load_sweep("unguarded", storage).points == ()


def test_how_a_worker_ended_in_words() -> None:
    assert ended(-11) == "was ended by SIGSEGV"
    assert ended(UNGUARDED) == "ended with exit code 87"
    assert ended(None) == "was lost"
    assert not Death("x").outside
