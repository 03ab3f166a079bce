"""One sweep, three engines: this process, local processes, Dask distributed with a real scheduler."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cheap
import pytest

from toolkit.errors import ConfigError, ToolNotFound
from toolkit.exploration import sweep
from toolkit.exploration.engines import THREAD_VARIABLES, LocalEngine, connect, started

TABLES: dict[str, Any] = {
    "name": "engines",
    "quantization": {"weight_bits": [1, 2, 3, 8]},
    "hls": {"reuse_factor": [1, 2, 4, 8, 16]},
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A Dask scheduler and two worker processes."""
    distributed = pytest.importorskip("distributed", reason="Dask distributed is not installed (extra cluster)")
    dask = pytest.importorskip("dask")
    before = os.environ.get("PYTHONPATH")
    here = Path(__file__).parent
    os.environ["PYTHONPATH"] = os.pathsep.join([str(here), str(here.parent.parent)])
    try:
        with (
            dask.config.set({"distributed.scheduler.allowed-failures": 0}),
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
            ) as running,
        ):
            yield running
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


def outcome(**options: Any) -> list[tuple[Any, ...]]:
    result = sweep(TABLES, evaluate=cheap.evaluate, prove=cheap.prove, say=lambda line: None, **options)
    return sorted((r.digest, r.state, json.dumps(r.to_json()["figures"])) for r in result.points)


def test_every_engine_gives_the_same_points(store: Path, cluster: Any, tmp_path: Path) -> None:
    here = outcome(workers=0, storage=tmp_path / "here.db")
    assert len(here) == 20
    assert outcome(workers=2, storage=tmp_path / "local.db") == here
    assert outcome(scheduler=cluster.scheduler_address, storage=tmp_path / "dask.journal") == here


def test_a_scheduler_file_and_failures_on_dask(store: Path, cluster: Any, tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"address": cluster.scheduler_address}))
    tables = {"name": "t", "quantization": {"weight_bits": [1, 2, 3, 8, 9]}, "sweep": {"search": "tpe", "points": 5}}
    result = sweep(tables, scheduler=file, evaluate=cheap.troubled, proof=False, say=lambda line: None)
    assert sorted(record.state for record in result.points) == ["complete", "complete", "failed", "pruned"]
    assert len(result.left) == 1


def test_a_dask_worker_that_dies_is_replaced_and_its_point_fails(store: Path, cluster: Any) -> None:
    tables = {"name": "t", "quantization": {"weight_bits": [1, 5, 8]}}
    result = sweep(
        tables, scheduler=cluster.scheduler_address, evaluate=cheap.troubled, proof=False, say=lambda line: None
    )
    kinds = {r.point.design.quantization.weight_bits: r.error_kind for r in result.points}
    assert kinds == {1: None, 5: "WorkerDied", 8: None}


def test_dask_workers_compute_with_the_threads_they_have(cluster: Any) -> None:
    with started(scheduler=cluster.scheduler_address) as engine:
        seen = engine.submit(0, environment_of, THREAD_VARIABLES).result(timeout=60)
    assert set(seen.values()) == {"1"}


def environment_of(names: tuple[str, ...]) -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in names}


def test_workers_share_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_THREADS", "4")
    with started(workers=2) as engine:
        seen = engine.submit(0, environment_of, THREAD_VARIABLES).result(timeout=60)
    assert set(seen.values()) == {"2"}


def test_a_restarted_slot_is_a_new_process() -> None:
    engine = LocalEngine(1)
    try:
        first = engine.submit(0, os.getpid).result(timeout=60)
        engine.restart(0)
        assert engine.submit(0, os.getpid).result(timeout=60) != first
    finally:
        engine.close()


def test_a_worker_that_dies_between_jobs_is_replaced() -> None:
    engine = LocalEngine(1)
    try:
        pid = engine.submit(0, os.getpid).result(timeout=60)
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.5)  # until the pool has noticed
        assert engine.submit(0, os.getpid).result(timeout=60) != pid
    finally:
        engine.close()


def test_what_is_no_scheduler_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="scheduler must be an address"):
        connect(tmp_path / "missing.json")
    with pytest.raises(ConfigError, match="workers must be"), started(workers=-1):
        pass


def test_dask_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ToolNotFound, match=r"pip install 'hls4ml-toolkit\[cluster\]'"):
        connect("tcp://localhost:1")


def test_importing_sweep_is_light(run: Callable[..., Any]) -> None:
    import subprocess

    code = "import sys, toolkit.exploration; print(sorted(m for m in sys.modules if m in (%r)))"
    heavy = ("tensorflow", "keras", "hls4ml", "distributed", "optuna", "pandas", "altair", "onnxruntime")
    done = subprocess.run([sys.executable, "-c", code % (heavy,)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
