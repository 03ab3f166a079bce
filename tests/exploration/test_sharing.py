"""Several coordinators on one study: every point once, and what the dead had in hand is done by the others."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cheap

from toolkit.exploration import sweep
from toolkit.exploration.book import opened_book
from toolkit.exploration.sharing import COORDINATOR, LOST_S, Share, own, shared
from toolkit.exploration.space import read_sweep

TABLES: dict[str, Any] = {"name": "shared", "quantization": {"weight_bits": [2, 4, 8]}, "hls": {"reuse_factor": [1, 2]}}


class TestClaims:
    """What every storage must do."""

    def test_a_point_is_taken_once(self, store: Path, storage: str) -> None:
        with opened_book(read_sweep(TABLES), storage) as book, shared(book) as one, shared(book) as two:
            assert one.take(["a", "b"]) == {"a", "b"}
            assert two.take(["b", "c"]) == {"c"}
            assert one.take(["c"]) == set()
            assert two.elsewhere(look=True) == {"a", "b"}
            one.drop(["b"])
            one.beat()
            assert two.take(["b"]) == {"b"}
            one.close()
            assert two.take(["a"]) == {"a"}
        assert book.read_attributes(COORDINATOR) == {}

    def test_many_at_once_share_without_overlap(self, store: Path, storage: str) -> None:
        wanted, taken = [str(number) for number in range(60)], []

        def take_some() -> None:
            with opened_book(read_sweep(TABLES), storage) as book:
                share = Share(book)
                for number in wanted:
                    taken.extend(share.take([number]))

        threads = [threading.Thread(target=take_some) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert sorted(taken, key=int) == wanted

    def test_the_dead_hold_nothing(self, store: Path, storage: str) -> None:
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        here = {**own(), "process": gone.pid, "beat": time.time()}
        far = {**own(), "namespace": "elsewhere", "machine": "far"}
        with opened_book(read_sweep(TABLES), storage) as book, shared(book) as share:
            with book.attributes(COORDINATOR) as (_, changes):
                changes[COORDINATOR + "1"] = {**here, "points": ["a"]}
                changes[COORDINATOR + "2"] = {**far, "beat": time.time(), "points": ["b"]}
                changes[COORDINATOR + "3"] = {**far, "beat": time.time() - 2 * LOST_S, "points": ["c"]}
            assert share.take(["a", "b", "c"]) == {"a", "c"}
            assert share.names() == f"process {own()['process']} on far"
            assert set(book.read_attributes(COORDINATOR)) == {share.key, COORDINATOR + "2"}


def run_beside(storage: str, tables: dict[str, Any], **options: Any) -> list[Any]:
    """Two coordinators at once, in threads of this process; their results."""
    results: list[Any] = []

    def run_one() -> None:
        settings = {"workers": 0, "evaluate": cheap.evaluate, "prove": cheap.prove, "say": lambda line: None}
        results.append(sweep(tables, storage=storage, **{**settings, **options}))

    threads = [threading.Thread(target=run_one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return results


def test_two_coordinators_do_every_point_once(store: Path, storage: str, monkeypatch: Any, evaluations: Any) -> None:
    monkeypatch.setenv("CHEAP_SECONDS", "0.1")
    one, two = run_beside(storage, {**TABLES, "hls": {"reuse_factor": {"low": 1, "high": 10}}})
    assert len(one.points) == len(two.points) == 30
    assert len(evaluations()) == len(set(evaluations())) == 30
    assert {r.digest: r.proof for r in one.points} == {r.digest: r.proof for r in two.points}


def test_two_searches_share_their_points(store: Path, tmp_path: Path, evaluations: Any) -> None:
    tables = {**TABLES, "hls": {"reuse_factor": {"low": 1, "high": 10}}, "sweep": {"search": "tpe", "points": 20}}
    one, two = run_beside(str(tmp_path / "book.db"), tables)
    assert len(evaluations()) == len(set(evaluations()))
    assert {record.digest for record in one.points} <= {record.digest for record in two.points} or {
        record.digest for record in two.points
    } <= {record.digest for record in one.points}
    assert 20 <= len(one.points) <= 22
