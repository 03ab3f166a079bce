"""Keeping an engine busy: hand out work, take in results, tell a bad point from bad luck."""

from __future__ import annotations

import concurrent.futures
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from toolkit.errors import StoreError, ToolkitError
from toolkit.exploration.engines import Death, Engine, Job
from toolkit.exploration.jobs import OUTSIDE
from toolkit.exploration.space import Point

POLL_S = 0.5
START_S = 300.0  # for a worker to start, on a busy machine or a slow disk
FALSE_STARTS = 3  # workers in a row that die before their first job, after which none is likely to live
EXCUSES = 4  # how often a point is tried again for reasons outside it before it is left to the next run


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

    def left(self, point: Point, reason: str) -> None:
        """A point is given up for this run only: what happened was no fault of it."""

    def waiting(self) -> bool:
        """Whether more may come to do although there is nothing now: others have it in hand."""


@dataclass
class Work:
    """A job in hand."""

    slot: int
    points: Sequence[Point]
    begun: float
    running: bool = False  # its worker was seen to have started; until then begun is when it was handed out


@dataclass
class Pool:
    """One run of a feed on an engine."""

    engine: Engine
    feed: Feed
    timeout_s: float
    beat: Callable[[], None] = lambda: None
    deadline: float = float("inf")  # of time.monotonic(), for the whole run; what is in hand then is left
    in_hand: dict[Future[Any], Work] = field(default_factory=dict)
    again: deque[Sequence[Point]] = field(default_factory=deque)
    alone: deque[Point] = field(default_factory=deque)  # to be tried when nothing else takes memory
    attempts: dict[str, int] = field(default_factory=dict)
    excuses: dict[str, int] = field(default_factory=dict)
    false_starts: int = 0
    last: dict[int, str] = field(default_factory=dict)

    def run(self) -> None:
        """Until the feed has nothing left.

        Raises ``StoreError`` when the store or book cannot be written, ``ToolkitError`` when the
        engine is gone or its workers do not start; what was finished is kept.
        """
        while True:
            self.hand_out()
            if self.in_hand:
                done, _ = concurrent.futures.wait(self.in_hand, POLL_S, concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    self.take_in(future, self.in_hand.pop(future))
                self.end_overdue()
            elif self.feed.waiting():
                time.sleep(POLL_S)
            elif not (self.again or self.alone):
                return
            self.beat()

    def hand_out(self) -> None:
        """Give every free slot a job; what is one bunch is shared out when several slots are free."""
        busy = {work.slot for work in self.in_hand.values()}
        free = [slot for slot in range(self.engine.slots()) if slot not in busy]
        for sharers, slot in zip(range(len(free), 0, -1), free, strict=True):
            bunch = self.again.popleft() if self.again else self.feed.take(self.last.get(slot))
            if not bunch and self.alone and not self.in_hand:
                bunch = [self.alone.popleft()]
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
            death = self.engine.death(work.slot, error)
            self.engine.restart(work.slot)
            self.mourn(work, death)
            return
        self.false_starts = 0
        known = [result for result in results if OUTSIDE not in result]
        if known:
            self.feed.finished(work.points[: len(known)], known)
        left = work.points[len(known) :]
        if len(results) > len(known):
            self.excuse(left[0], results[-1][OUTSIDE], alone=True)
            left = left[1:]
        if left:
            self.again.append(left)

    def mourn(self, work: Work, death: Death) -> None:
        """A worker is gone with its job: whose doing was it?"""
        self.false_starts = 0 if death.started else self.false_starts + 1
        if self.false_starts >= FALSE_STARTS or death.hopeless:
            raise ToolkitError(f"{death.reason}; no point is to blame and none was recorded as failed")
        if not death.started:
            self.again.append(work.points)
        elif death.outside:
            for point in work.points:
                self.excuse(point, death.reason, alone=death.memory)
        else:
            self.suspect(work, death.reason, "WorkerDied")

    def excuse(self, point: Point, reason: str, *, alone: bool) -> None:
        """Try a point again that failed for a reason outside it; after some times, leave it to the next run."""
        tried = self.excuses[point.digest] = self.excuses.get(point.digest, 0) + 1
        if tried > EXCUSES or (alone and tried > 1):
            self.feed.left(point, reason)
        elif alone:
            self.alone.append(point)
        else:
            self.again.append([point])

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
        now = time.monotonic()
        for future, work in list(self.in_hand.items()):
            if not work.running and self.engine.ready(work.slot):
                work.running, work.begun = True, now
            limit = self.timeout_s if work.running else self.timeout_s + START_S
            if now > self.deadline or now - work.begun > limit:
                del self.in_hand[future]
                future.cancel()
                self.engine.restart(work.slot)
                if now > self.deadline:
                    for point in work.points:
                        self.feed.left(point, "the time for it is over")
                elif len(work.points) == 1:
                    self.feed.failed(work.points[0], f"ran longer than {self.timeout_s:g} s", "Timeout")
                else:
                    self.again.extend([point] for point in work.points)
