"""Which points are next: every combination of a grid, or what Optuna's samplers propose."""

from __future__ import annotations

import statistics
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from toolkit.exploration.book import STATES, Book, talking_to
from toolkit.exploration.engines import Job
from toolkit.exploration.jobs import Evaluate, run_job
from toolkit.exploration.points import PointRecord, failure
from toolkit.exploration.space import BRANCH, Dimension, Point, Sweep
from toolkit.store import digest, store_root

if TYPE_CHECKING:
    import optuna
    from optuna.samplers import BaseSampler
    from optuna.trial import Trial

BUNCH = 64  # points a job may carry; it returns earlier when its time is up
HISTORIES = 4  # finished trainings before one may be stopped
DEFAULT_POINTS = 100
REPEATS = 50  # proposals in a row of points already known, after which the sampler gets an unknown one to look at
MOST_LISTED = 20_000  # points of a space that is searched through for one that is not known yet


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
        histories = [
            record.history for record in self.records.values() if record.state == "complete" and record.history
        ]
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
        key = like if like is not None and like in self.waiting else next(iter(self.waiting))
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
    """Points that one of Optuna's samplers proposes; a point met again gets the result it had.

    The sampler works on a copy of the study in memory, where a proposal costs a millisecond; the book
    receives finished points only, so a killed coordinator leaves no trial behind that never ends.
    """

    book: Book
    evaluate: Evaluate
    progress: Progress
    earlier: Mapping[str, PointRecord]
    search: optuna.Study
    asked: dict[str, list[Trial]] = field(default_factory=dict)

    @classmethod
    def start(cls, book: Book, evaluate: Evaluate, retry_failed: bool) -> TrialFeed:
        """Continue a search from the points in the book."""
        known = book.records()
        search = copy_of(book)
        if retry_failed:
            for record in [record for record in known.values() if record.state == "failed"]:
                search.enqueue_trial(dict(record.point.params))
                del known[record.digest]
        progress = Progress(book.sweep.settings.points or DEFAULT_POINTS, known)
        return cls(book, evaluate, progress, book.earlier_records(), search)

    def take(self, like: str | None) -> Sequence[Point]:
        repeats = 0
        while self.progress.done + len(self.asked) < self.progress.total:
            if repeats >= REPEATS and not self.suggest_unknown():
                return []
            trial = self.search.ask()
            point = proposed(self.book.sweep, trial)
            if point.digest in self.asked:
                self.asked[point.digest].append(trial)
                return []  # known once the one in hand is done
            self.asked[point.digest] = [trial]
            if point.digest in self.progress.records:
                self.tell(self.progress.records[point.digest])
                repeats += 1
            elif point.digest in self.earlier:
                self.finish(self.book.judged(self.earlier[point.digest].change(point=point)))
                repeats = 0
            else:
                return [point]
        return []

    def job(self, points: Sequence[Point]) -> tuple[Job, tuple[Any, ...]]:
        return job_of(self.book, self.evaluate, points, self.progress)

    def finished(self, points: Sequence[Point], results: Sequence[Any]) -> None:
        for point, result in zip(points, results, strict=True):
            self.finish(self.book.judged(read_result(point, result)))

    def failed(self, point: Point, error: str, kind: str) -> None:
        self.finish(failure(point, error, kind))

    def suggest_unknown(self) -> bool:
        """Have the next proposal be a point nobody has looked at; False when there is none or too many to list."""
        sweep = self.book.sweep
        if not sweep.is_finite or sweep.size > MOST_LISTED:
            return False
        points = sweep.combinations(range(sweep.size))
        known = (self.progress.records, self.asked)
        unknown = next((point for point in points if not any(point.digest in seen for seen in known)), None)
        if unknown is not None:
            self.search.enqueue_trial(dict(unknown.params))
        return unknown is not None

    def finish(self, record: PointRecord) -> None:
        """Write a new point into the book and tell the sampler."""
        number = self.asked[record.digest][0].number
        self.book.add([record], self.search.get_trials(deepcopy=False)[number].system_attrs)
        self.progress.keep([record])
        self.tell(record)

    def tell(self, record: PointRecord) -> None:
        """Close every proposal of this point."""
        from optuna.trial import TrialState

        complete = record.state == "complete"
        for trial in self.asked.pop(record.digest):
            for text, missed in (self.book.constraints(record) if complete else {}).items():
                trial.set_constraint(text, missed)
            values = self.book.values(record) if complete else None
            self.search.tell(trial, values, state=getattr(TrialState, STATES[record.state]))


def copy_of(book: Book) -> optuna.Study:
    """The book's study in memory, with the sampler the user asked for."""
    import optuna

    with talking_to(book.name):
        trials = [trial for trial in book.study.get_trials(deepcopy=False) if trial.state.is_finished()]
        study = optuna.create_study(directions=book.study.directions, sampler=sampler(book.sweep, len(trials)))
        study.add_trials(trials)
    return study


def proposed(sweep: Sweep, trial: Trial) -> Point:
    """The point a trial proposes."""
    params: dict[str, Any] = {}
    if len(sweep.branches) > 1:
        params[BRANCH] = trial.suggest_categorical(BRANCH, [branch.name for branch in sweep.branches])
    for dimension in sweep.branch(params.get(BRANCH)).dimensions:
        params[dimension.name] = suggest(trial, dimension)
    return sweep.point(params)


def suggest(trial: Trial, dimension: Dimension) -> Any:
    """Ask the sampler for one value."""
    if dimension.choices:
        return trial.suggest_categorical(dimension.name, [dimension.spelled(value) for value in dimension.choices])
    low, high, log = dimension.low, dimension.high, dimension.log
    if dimension.is_whole:
        return trial.suggest_int(dimension.name, int(low), int(high), log=log, step=int(dimension.step or 1))
    return trial.suggest_float(dimension.name, low, high, log=log, step=dimension.step)


def read_result(point: Point, result: Mapping[str, Any]) -> PointRecord:
    """A worker's answer as a record of the point that was asked."""
    return PointRecord.from_json(result).change(point=point)


def job_of(book: Book, evaluate: Evaluate, points: Sequence[Point], progress: Progress) -> tuple[Job, tuple[Any, ...]]:
    bar = progress.bar() if book.sweep.settings.prune_training else []
    return run_job, (evaluate, [point.to_json() for point in points], bar, str(store_root()))


def sampler(sweep: Sweep, trials: int) -> BaseSampler:
    """Optuna's sampler; seeded anew by how far the study is, so that a continued search does not repeat itself."""
    from optuna import samplers

    settings = sweep.settings
    seed = int(digest(settings.seed, trials), 16) % 2**32
    population = max(8, min(50, (settings.points or DEFAULT_POINTS) // 5))
    match settings.search:
        case "tpe":
            return samplers.TPESampler(seed=seed, multivariate=len(sweep.branches) == 1, constant_liar=True)
        case "nsga2":
            return samplers.NSGAIISampler(seed=seed, population_size=population)
        case "nsga3":
            return samplers.NSGAIIISampler(seed=seed, population_size=population)
    return samplers.RandomSampler(seed=seed)
