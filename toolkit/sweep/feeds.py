"""Which points are next: every combination of a grid, or what Optuna's samplers propose."""

from __future__ import annotations

import statistics
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from toolkit.store import digest, store_root
from toolkit.sweep.book import Book, talking_to
from toolkit.sweep.engines import Job
from toolkit.sweep.jobs import Evaluate, run_job
from toolkit.sweep.points import PointRecord, failure
from toolkit.sweep.space import Point

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.trial import Trial

BUNCH = 64  # points a job may carry; it returns earlier when its time is up
HISTORIES = 4  # finished trainings before one may be stopped
DEFAULT_POINTS = 100
REPEATS = 200  # proposals in a row of points already known, after which a search is exhausted


@dataclass(eq=False)
class Progress:
    """What a sweep has so far."""

    total: int
    records: dict[str, PointRecord] = field(default_factory=dict)
    fresh: int = 0  # records made by this run

    @property
    def done(self) -> int:
        """Points with a record."""
        return len(self.records)

    @property
    def failures(self) -> int:
        """Points that failed."""
        return sum(record.state == "failed" for record in self.records.values())

    def keep(self, records: Sequence[PointRecord]) -> None:
        """Count records just made."""
        self.records |= {record.digest: record for record in records}
        self.fresh += len(records)

    def bar(self) -> list[float]:
        """Per epoch the median validation accuracy of finished trainings, 0 while there are too few."""
        histories = [record.history for record in self.records.values() if record.state == "complete" and record.history]
        longest = max(map(len, histories), default=0)
        columns = [[max(h[: epoch + 1]) for h in histories if len(h) > epoch] for epoch in range(longest)]
        return [statistics.median(column) if len(column) >= HISTORIES else 0.0 for column in columns]


@dataclass(eq=False)
class GridFeed:
    """The points of a grid that have no record yet, those that share a training together."""

    book: Book
    evaluate: Evaluate
    progress: Progress
    waiting: OrderedDict[str, deque[Point]]

    @classmethod
    def start(cls, book: Book, evaluate: Evaluate, retry_failed: bool) -> GridFeed:
        """What is left to do of a sweep; points of an earlier version of the file are taken over."""
        points = {point.digest: point for point in book.sweep.grid()}
        known = {key: record for key, record in book.records().items() if key in points}
        if retry_failed:
            known = {key: record for key, record in known.items() if record.state != "failed"}
        missing = [key for key in points if key not in known]
        earlier = book.earlier_records() if missing else {}
        taken = [book.judged(earlier[key].change(point=points[key])) for key in missing if key in earlier]
        book.add(taken)
        waiting: OrderedDict[str, deque[Point]] = OrderedDict()
        for key in missing:
            if key not in earlier:
                waiting.setdefault(points[key].training, deque()).append(points[key])
        progress = Progress(len(points), known | {record.digest: record for record in taken})
        return cls(book, evaluate, progress, waiting)

    def take(self, like: str | None) -> Sequence[Point]:
        if not self.waiting:
            return []
        key = like if like in self.waiting else next(iter(self.waiting))
        queue = self.waiting[key]
        points = [queue.popleft() for _ in range(min(BUNCH, len(queue)))]
        if queue:
            self.waiting.move_to_end(key)  # another free slot starts with another training
        else:
            del self.waiting[key]
        return points

    def job(self, points: Sequence[Point]) -> tuple[Job, tuple[Any, ...]]:
        return job_of(self.book, self.evaluate, points, self.progress)

    def finished(self, points: Sequence[Point], results: Sequence[Any]) -> None:
        records = [self.book.judged(read_result(point, result)) for point, result in zip(points, results, strict=True)]
        self.book.add(records)
        self.progress.keep(records)

    def failed(self, point: Point, error: str, kind: str) -> None:
        record = failure(point, error, kind)
        self.book.add([record])
        self.progress.keep([record])


@dataclass(eq=False)
class TrialFeed:
    """Points that a sampler proposes, one trial each; a point met again gets the result it had."""

    book: Book
    evaluate: Evaluate
    progress: Progress
    earlier: Mapping[str, PointRecord]
    left_open: deque[tuple[Trial, Point]] = field(default_factory=deque)
    asked: dict[str, list[Trial]] = field(default_factory=dict)

    @classmethod
    def start(cls, book: Book, evaluate: Evaluate, retry_failed: bool) -> TrialFeed:
        """Continue a search: trials that were left running come first."""
        known = book.records()
        book.study.sampler = sampler(book)
        if retry_failed:
            for record in [record for record in known.values() if record.state == "failed"]:
                book.study.enqueue_trial(dict(record.point.params))
                del known[record.digest]
        progress = Progress(book.sweep.settings.points or DEFAULT_POINTS, known)
        feed = cls(book, evaluate, progress, book.earlier_records())
        for trial, point, record in book.open_trials():
            if record is None:
                feed.left_open.append((trial, point))
            else:  # the result was written, the trial not yet closed
                book.tell(trial, record)
                progress.keep([record])
        return feed

    def take(self, like: str | None) -> Sequence[Point]:
        for _ in range(REPEATS):
            if self.left_open:
                trial, point = self.left_open.popleft()
            elif self.progress.done + len(self.asked) < self.progress.total:
                trial, point = self.book.ask()
            else:
                return []
            known = self.progress.records.get(point.digest) or self.earlier.get(point.digest)
            if known is not None:
                self.close(trial, self.book.judged(known.change(point=point)))
            elif point.digest in self.asked:
                self.asked[point.digest].append(trial)
            else:
                self.asked[point.digest] = [trial]
                return [point]
        return []

    def close(self, trial: Trial, record: PointRecord) -> None:
        self.book.tell(trial, record)
        self.progress.records.setdefault(record.digest, record)

    def job(self, points: Sequence[Point]) -> tuple[Job, tuple[Any, ...]]:
        return job_of(self.book, self.evaluate, points, self.progress)

    def finished(self, points: Sequence[Point], results: Sequence[Any]) -> None:
        for point, result in zip(points, results, strict=True):
            self.finish(self.book.judged(read_result(point, result)))

    def failed(self, point: Point, error: str, kind: str) -> None:
        self.finish(failure(point, error, kind))

    def finish(self, record: PointRecord) -> None:
        """Close every trial that waits for this point."""
        for trial in self.asked.pop(record.digest):
            self.book.tell(trial, record)
        self.progress.keep([record])


def read_result(point: Point, result: Mapping[str, Any]) -> PointRecord:
    """A worker's answer as a record of the point that was asked."""
    return PointRecord.from_json(result).change(point=point)


def job_of(
    book: Book, evaluate: Evaluate, points: Sequence[Point], progress: Progress
) -> tuple[Job, tuple[Any, ...]]:
    bar = progress.bar() if book.sweep.settings.prune_training else []
    return run_job, (evaluate, [point.to_json() for point in points], bar, str(store_root()))


def sampler(book: Book) -> BaseSampler:
    """Optuna's sampler; seeded anew by how far the study is, so that a continued search does not repeat itself."""
    with talking_to(book.name):
        return make_sampler(book)


def make_sampler(book: Book) -> BaseSampler:
    from optuna import samplers

    settings = book.sweep.settings
    seed = int(digest(settings.seed, len(book.study.get_trials(deepcopy=False))), 16) % 2**32
    population = max(8, min(50, (settings.points or DEFAULT_POINTS) // 5))
    match settings.search:
        case "tpe":
            return samplers.TPESampler(seed=seed, multivariate=len(book.sweep.branches) == 1, constant_liar=True)
        case "nsga2":
            return samplers.NSGAIISampler(seed=seed, population_size=population)
        case "nsga3":
            return samplers.NSGAIIISampler(seed=seed, population_size=population)
    return samplers.RandomSampler(seed=seed)
