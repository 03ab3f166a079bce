"""Sweeps that are killed in every way end equal to one that nobody disturbed, on every storage, with nothing left.

A short version of each runs with every test; ``--slow`` is the long one: 20 SIGKILLs, 10 SIGTERMs, 10 SIGINTs and
10 workers killed for each storage and for Dask.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import servers
from sweeps import Survivor, end, expected, is_alive, wait_until, workers_of

SHORT = {signal.SIGKILL: 1, signal.SIGTERM: 0, signal.SIGINT: 1, None: 1}  # None: a worker is killed
LONG = {signal.SIGKILL: 20, signal.SIGTERM: 10, signal.SIGINT: 10, None: 10}
STORAGES = ("book.sqlite3", "book.journal", "postgres")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with servers.postgres_server() as url:
        yield url


@pytest.fixture
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new storage of the kind that the test asks for."""
    if request.param == "postgres":
        return servers.new_database(request.getfixturevalue("server"))
    return str(tmp_path / request.param)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Dask scheduler with two worker processes, each of which is started again when it dies."""
    distributed = pytest.importorskip("distributed", reason="Dask distributed is not installed (extra cluster)")
    folders = [
        str(path) for path in (Path(__file__).parent.parent / "exploration", Path(__file__).parent.parent.parent)
    ]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(folders))
    monkeypatch.setenv("CHEAP_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("CHEAP_SECONDS", "0.05")
    options: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(local_directory=str(tmp_path.parent / f"{tmp_path.name}-dask"), **options) as running:
        yield running


def dask_workers(cluster: Any) -> list[int]:
    """Their processes."""
    from distributed import Client

    with Client(cluster.scheduler_address, set_as_default=False) as client:
        return list(client.run(os.getpid).values())


def disturb(survivor: Survivor, kills: dict[Any, int], workers: Callable[[int], list[int]], seed: int) -> None:
    """Start the sweep again and again and end it, or one of its workers, at a random moment."""
    chance, seen = random.Random(seed), set[int]()
    order = [number for number, count in kills.items() for _ in range(count)]
    chance.shuffle(order)
    for number in order:
        before, count = {record[0] for record in survivor.outcome()}, len(survivor.begun())
        child = survivor.start(seconds=0.05)
        wait_until(partial(is_busy, survivor, child, count))
        seen |= set(workers_of(child.pid))
        time.sleep(chance.uniform(0.0, 1.0))
        if number is None and child.poll() is None:
            os.kill(chance.choice(workers(child.pid)), signal.SIGKILL)
            time.sleep(chance.uniform(0.0, 1.0))
        if child.poll() is None:
            errors = end(child, number or signal.SIGTERM)
            assert number != signal.SIGINT or "the same command continues" in errors
        assert before <= {record[0] for record in survivor.outcome()}, "a finished point was lost"
        assert not before & set(survivor.begun()[count:]), "a finished point was evaluated again"
    wait_until(lambda: not any(map(is_alive, seen)))


def is_busy(survivor: Survivor, child: Any, count: int) -> bool:
    """Whether a coordinator has had a point begun, or has ended."""
    return len(survivor.begun()) > count or child.poll() is not None


def check(survivor: Survivor) -> None:
    """The end is what it would have been."""
    assert survivor.finish().split() == [str(survivor.points), "0", "0"]
    assert survivor.outcome() == expected(survivor.points)
    assert survivor.leftovers() == []


@pytest.mark.parametrize("storage", STORAGES, indirect=True)
def test_a_sweep_survives_a_kill_of_each_kind(storage: str, tmp_path: Path) -> None:
    survivor = Survivor(tmp_path, storage, points=100)
    disturb(survivor, SHORT, workers_of, seed=1)
    check(survivor)


def test_a_sweep_on_dask_survives_a_kill_of_each_kind(cluster: Any, tmp_path: Path) -> None:
    survivor = Survivor(tmp_path, str(tmp_path / "book.sqlite3"), points=100, scheduler=cluster.scheduler_address)
    disturb(survivor, {signal.SIGKILL: 1, None: 1}, lambda _: dask_workers(cluster), seed=2)
    check(survivor)


@pytest.mark.slow
@pytest.mark.parametrize("storage", STORAGES, indirect=True)
def test_a_sweep_survives_fifty_kills(storage: str, tmp_path: Path) -> None:
    survivor = Survivor(tmp_path, storage, points=2000)
    disturb(survivor, LONG, workers_of, seed=3)
    check(survivor)


@pytest.mark.slow
def test_a_sweep_on_dask_survives_fifty_kills(cluster: Any, tmp_path: Path) -> None:
    survivor = Survivor(tmp_path, str(tmp_path / "book.sqlite3"), points=2000, scheduler=cluster.scheduler_address)
    disturb(survivor, LONG, lambda _: dask_workers(cluster), seed=4)
    check(survivor)


def test_a_search_leaves_no_trial_open(tmp_path: Path) -> None:
    import sqlite3

    survivor = Survivor(tmp_path, str(tmp_path / "book.sqlite3"), points=40, search="tpe")
    disturb(survivor, {signal.SIGKILL: 1}, workers_of, seed=5)
    assert survivor.finish().split() == ["40", "0", "0"]
    connection = sqlite3.connect(survivor.storage)
    states = dict(connection.execute("select state, count(*) from trials group by state").fetchall())
    connection.close()
    assert set(states) == {"COMPLETE"}, f"trials left open: {states}"


@pytest.mark.parametrize("storage", ["book.journal"], indirect=True)
def test_another_coordinator_takes_over_what_a_killed_one_had_in_hand(storage: str, tmp_path: Path) -> None:
    survivor = Survivor(tmp_path, storage, points=100)
    one, two = survivor.start(seconds=0.05), survivor.start(seconds=0.05)
    wait_until(lambda: len(survivor.begun()) > 20)
    end(one, signal.SIGKILL)
    output, errors = two.communicate(timeout=120)
    assert (two.returncode, output.split()) == (0, ["100", "0", "0"]), errors
    assert survivor.outcome() == expected(100)
    assert survivor.leftovers() == []
