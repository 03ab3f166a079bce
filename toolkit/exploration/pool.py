"""Keeping an engine busy: hand out work, take in results, tell a bad point from a bad worker."""

from __future__ import annotations

import concurrent.futures
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from toolkit.errors import StoreError, ToolkitError
from toolkit.exploration.engines import Engine, Job
from toolkit.exploration.space import Point

POLL_S = 0.5


class Feed(Protocol):
    """Where work comes from and where its outcome goes."""

    def take(self, like: str | None) -> Sequence[Point]:
        """Points for one job, if possible of the training ``like``; empty when there is nothing to do now."""

    def job(self, points: Sequence[Point]) -> tuple[Job, tuple[Any, ...]]:
        """The call that does them; returns results for the first of them, at least one."""

    def finished(self, points: Sequence[Point], results: Sequence[Any]) -> None:
        """Keep results of these points."""

    def failed(self, point: Point, error: str, kind: str) -> None:
        """Keep that a point took its worker down or ran out of time."""


@dataclass
class Work:
    """A job in hand."""

    slot: int
    points: Sequence[Point]
    begun: float


@dataclass
class Pool:
    """One run of a feed on an engine."""

    engine: Engine
    feed: Feed
    timeout_s: float
    beat: Callable[[], None] = lambda: None
    in_hand: dict[Future[Any], Work] = field(default_factory=dict)
    again: deque[Sequence[Point]] = field(default_factory=deque)
    attempts: dict[str, int] = field(default_factory=dict)
    last: dict[int, str] = field(default_factory=dict)

    def run(self) -> None:
        """Until the feed has nothing left.

        Raises ``StoreError`` when the store or book cannot be written, ``ToolkitError`` when the
        engine is gone; what was finished is kept.
        """
        while True:
            self.hand_out()
            if not self.in_hand:
                return
            done, _ = concurrent.futures.wait(self.in_hand, POLL_S, concurrent.futures.FIRST_COMPLETED)
            for future in done:
                self.take_in(future, self.in_hand.pop(future))
            self.end_overdue()
            self.beat()

    def hand_out(self) -> None:
        """Give every free slot a job; what is one bunch is shared out when several slots are free."""
        busy = {work.slot for work in self.in_hand.values()}
        free = [slot for slot in range(self.engine.slots()) if slot not in busy]
        for sharers, slot in zip(range(len(free), 0, -1), free, strict=True):
            bunch = self.again.popleft() if self.again else self.feed.take(self.last.get(slot))
            if not bunch:
                return
            share = -(-len(bunch) // sharers)
            points, rest = bunch[:share], bunch[share:]
            if rest:
                self.again.appendleft(rest)
            self.last[slot] = points[0].training
            job, arguments = self.feed.job(points)
            self.in_hand[self.engine.submit(slot, job, *arguments)] = Work(slot, points, time.monotonic())

    def take_in(self, future: Future[Any], work: Work) -> None:
        """Keep a job's results, or find out what went wrong."""
        try:
            results = future.result()
        except StoreError:
            raise
        except (Exception, concurrent.futures.CancelledError) as error:
            if not self.engine.alive():
                message = f"the scheduler is gone ({error}); start it again, and the same command continues"
                raise ToolkitError(message) from error
            self.engine.restart(work.slot)
            self.suspect(work, f"its worker died ({type(error).__name__}: out of memory, or killed)", "WorkerDied")
            return
        self.feed.finished(work.points[: len(results)], results)
        if left := work.points[len(results) :]:
            self.again.append(left)

    def suspect(self, work: Work, error: str, kind: str) -> None:
        """Points whose job did not come back: each alone, and given up after some attempts."""
        for point in work.points:
            tried = self.attempts[point.digest] = self.attempts.get(point.digest, 0) + (len(work.points) == 1)
            if tried >= self.engine.attempts:
                self.feed.failed(point, error, kind)
            else:
                self.again.append([point])

    def end_overdue(self) -> None:
        """Give up jobs beyond the time limit."""
        for future, work in list(self.in_hand.items()):
            if time.monotonic() - work.begun > self.timeout_s:
                del self.in_hand[future]
                future.cancel()
                self.engine.restart(work.slot)
                if len(work.points) == 1:
                    self.feed.failed(work.points[0], f"ran longer than {self.timeout_s:g} s", "Timeout")
                else:
                    self.again.extend([point] for point in work.points)
