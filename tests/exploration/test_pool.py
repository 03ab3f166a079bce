"""Handing out work: no slot stays idle while another holds a bunch."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from toolkit.exploration.pool import Pool


class Slots:
    """An engine that notes how many points each job got."""

    attempts = 1

    def __init__(self, count: int) -> None:
        self.count = count
        self.sizes: dict[int, list[int]] = {slot: [] for slot in range(count)}

    def slots(self) -> int:
        return self.count

    def ready(self, slot: int) -> bool:
        return True

    def submit(self, slot: int, job: Any, *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        (points,) = arguments
        self.sizes[slot].append(len(points))
        future.set_result([point.digest for point in points])
        return future


class OneBunch:
    """A feed whose points all share a training, given out at once."""

    def __init__(self, count: int) -> None:
        self.bunch = [SimpleNamespace(digest=str(index), training="one") for index in range(count)]
        self.results: list[str] = []

    def take(self, like: str | None) -> Sequence[Any]:
        given, self.bunch = self.bunch, []
        return given

    def job(self, points: Sequence[Any]) -> tuple[Any, tuple[Any, ...]]:
        return len, (points,)

    def finished(self, points: Sequence[Any], results: Sequence[str]) -> None:
        self.results += results

    def waiting(self) -> bool:
        return False


@pytest.mark.parametrize(
    ("slots", "points", "expected"), [(1, 5, [5]), (2, 5, [3, 2]), (3, 7, [3, 2, 2]), (4, 2, [1, 1])]
)
def test_a_bunch_is_shared_out_over_the_free_slots(slots: int, points: int, expected: list[int]) -> None:
    engine, feed = Slots(slots), OneBunch(points)
    Pool(engine, feed, timeout_s=60).run()  # type: ignore[arg-type]
    assert [size for sizes in engine.sizes.values() for size in sizes] == expected
    assert sorted(feed.results, key=int) == [str(index) for index in range(points)]
