"""Which points csim repeats, and doing it: once for each arithmetic, within the time there is.

Reuse factor, part and clock move cycles and area, not values: points that differ in nothing else compute
the same bits, and one csim proves them all (the record's fact ``arithmetic`` says which they are).
Points of the front that are proved by another one have their FIFOs simulated all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from toolkit.exploration.book import Book
from toolkit.exploration.engines import Engine, Job
from toolkit.exploration.narration import Narrator, Say
from toolkit.exploration.points import PointRecord
from toolkit.exploration.pool import Pool
from toolkit.exploration.proof import prove_job, simulate_job
from toolkit.exploration.results import front
from toolkit.exploration.settings import SweepSettings
from toolkit.exploration.sharing import Share
from toolkit.exploration.space import Point
from toolkit.plan import duration
from toolkit.store import store_root

Prove = Callable[[Point, Mapping[str, Any], int], Mapping[str, Any]]
Simulate = Callable[[Point, Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True)
class Task:
    """A point that csim repeats; ``proof`` is that of another point of its arithmetic, where simulating is all."""

    record: PointRecord
    proof: Mapping[str, Any] | None = None


@dataclass(eq=False)
class ProofFeed:
    """Points whose csim is still to be compared with the emulator."""

    book: Book
    share: Share
    prove: Prove
    simulate: Simulate
    queue: list[Task]
    say: Say
    deadline: float  # of time.monotonic()
    asked: dict[str, Task] = field(default_factory=dict)
    proved: dict[str, PointRecord] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    total: int = 0

    def __post_init__(self) -> None:
        self.total = len(self.queue)

    def take(self, like: str | None) -> Sequence[Point]:
        while self.queue and time.monotonic() < self.deadline:
            task = self.queue.pop(0)
            if self.share.take([claim(task.record)]):
                self.asked[task.record.digest] = task
                return [task.record.point]
        return []

    def job(self, points: Sequence[Point]) -> tuple[Job, tuple[Any, ...]]:
        task, images = self.asked[points[0].digest], self.book.sweep.settings.proof.images
        point, record = task.record.point.to_json(), task.record.to_json()
        if task.proof is not None:
            return simulate_job, (self.simulate, point, record, str(store_root()))
        return prove_job, (self.prove, point, record, images, str(store_root()))

    def finished(self, points: Sequence[Point], results: Sequence[Any]) -> None:
        task = self.asked[points[0].digest]
        self.keep(points[0], {**(task.proof or {}), **results[0]})

    def failed(self, point: Point, error: str, kind: str) -> None:
        self.keep(point, {"equal": None, "error": f"{kind}: {error}"})

    def left(self, point: Point, reason: str) -> None:
        record = self.asked[point.digest].record
        self.share.drop([claim(record)])
        self.say(f"csim of point {record.number} was not made: {reason}; the same command tries again")

    def waiting(self) -> bool:
        return False

    def keep(self, point: Point, proof: Mapping[str, Any]) -> None:
        """Write a proof into the book and tell it."""
        record = self.asked[point.digest].record
        self.book.prove(point.digest, proof)
        self.share.drop([claim(record)])
        self.proved[point.digest] = record.change(proof=proof)
        outcome = {True: "equal on", False: "DIFFERS on"}.get(proof.get("equal"))  # type: ignore[arg-type]
        images = self.book.sweep.settings.proof.images
        said = f"{outcome} {images} images" if outcome else proof.get("error")
        same = f", as point {proof['as']}" if "as" in proof else ""
        self.say(f"csim of point {record.number}: {said}{same} ({self.progress()})")

    def progress(self) -> str:
        """``3 of 9, 4 min left``."""
        done = len(self.proved)
        each = (time.monotonic() - self.begun) / done
        left = self.total - done
        return f"{done} of {self.total}" + (f", {duration(left * each)} left" if left else "")


def claim(record: PointRecord) -> str:
    """What a coordinator takes that proves a point."""
    return f"proof {record.digest}"


def prove_points(
    book: Book,
    engine: Engine,
    share: Share,
    prove: Prove,
    simulate: Simulate,
    narrator: Narrator,
    records: Sequence[PointRecord],
    *,
    retry_failed: bool,
    minutes: float | None,
) -> None:
    """csim for what is still to be proved, as far as the minutes allow; then the FIFOs of the rest of the front."""
    deadline = time.monotonic() + 60 * minutes if minutes is not None else float("inf")
    for choose, what in ((to_prove, "csim as proof"), (to_simulate, "FIFOs simulated")):
        tasks = choose(book.sweep.settings, records, retry_failed)
        if not tasks:
            continue
        covered = f" of {len(tasks)} points" + (", one for each arithmetic" if choose is to_prove else "")
        narrator.tell(what + covered)
        feed = ProofFeed(book, share, prove, simulate, tasks, narrator.tell, deadline)
        Pool(engine, feed, book.sweep.settings.timeout_s, deadline=deadline).run()
        if missing := feed.total - len(feed.proved):
            late = f" within {minutes:g} minutes" if minutes is not None and time.monotonic() >= deadline else ""
            narrator.tell(f"{what}: {missing} of {feed.total} not made{late}; the same command goes on with them")
        records = list(book.records().values())


def to_prove(settings: SweepSettings, records: Sequence[PointRecord], retry_failed: bool = False) -> list[Task]:
    """One point of each arithmetic on the front, then of others spread evenly, that the book has no proof of yet."""
    chosen = front(records, settings.objectives, settings.constraints) if settings.proof.pareto else []
    groups = {record.arithmetic: record for record in reversed(chosen)}
    others = {r.arithmetic: r for r in reversed(records) if r.state == "complete" and r.arithmetic not in groups}
    spread = sorted(others.values(), key=lambda record: record.number or 0)
    count = min(settings.proof.sample, len(spread))
    sample = [spread[(2 * index + 1) * len(spread) // (2 * count)] for index in range(count)]
    wanted = [*reversed(groups.values()), *sample]
    return [Task(record) for record in wanted if is_open(record, retry_failed)]


def to_simulate(settings: SweepSettings, records: Sequence[PointRecord], retry_failed: bool = False) -> list[Task]:
    """Points of the front that another point proves."""
    chosen = front(records, settings.objectives, settings.constraints) if settings.proof.pareto else []
    return [Task(record, record.proof) for record in chosen if record.proof and is_borrowed(record.proof)]


def is_open(record: PointRecord, retry_failed: bool) -> bool:
    """Whether a point still needs a proof."""
    return record.proof is None or (retry_failed and record.proof["equal"] is None)


def is_borrowed(proof: Mapping[str, Any]) -> bool:
    """Whether a proof is another point's and nothing of this point has been simulated."""
    return "as" in proof and "simulated" not in proof
