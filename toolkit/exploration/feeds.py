"""Which points are next: every combination of a grid, or what Optuna's samplers propose."""

from __future__ import annotations

import math
import statistics
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from toolkit.exploration.book import STATES, Book, talking_to
from toolkit.exploration.engines import Job
from toolkit.exploration.jobs import Evaluate, run_job
from toolkit.exploration.points import PointRecord, failure
from toolkit.exploration.sharing import Share
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
    fresh: int = 0  # records made since this run began
    left: dict[str, tuple[Point, str]] = field(default_factory=dict)  # not evaluated, for reasons outside them
    elsewhere: dict[str, Point] = field(default_factory=dict)  # in the hands of other coordinators

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
        """Per epoch the median of the best so far of finished trainings; no bar while there are too few."""
        histories = [
            record.history for record in self.records.values() if record.state == "complete" and record.history
        ]
        longest = max(map(len, histories), default=0)
        columns = [[max(h[: epoch + 1]) for h in histories if len(h) > epoch] for epoch in range(longest)]
        return [statistics.median(column) if len(column) >= HISTORIES else -math.inf for column in columns]


@dataclass(eq=False)
class GridFeed:
    """The points of a grid that have no record yet, those that share a training together."""

    book: Book
    share: Share
    evaluate: Evaluate
    progress: Progress
    queue: OrderedDict[str, deque[Point]]

    @classmethod
    def start(cls, book: Book, share: Share, evaluate: Evaluate, retry_failed: bool) -> GridFeed:
        """What is left to do of a sweep; points of an earlier version of the file are taken over."""
        points = {point.digest: point for point in book.sweep.grid()}
        known = {record.digest: record for record in book.new_records(()) if record.digest in points}
        if retry_failed:
            known = {key: record for key, record in known.items() if record.state != "failed"}
        missing = [key for key in points if key not in known]
        earlier = book.earlier_records() if missing else {}
        mine = share.take([key for key in missing if key in earlier])
        taken = [book.judged(earlier[key].change(point=points[key])) for key in missing if key in mine]
        book.add(taken)
        share.drop([record.digest for record in taken])
        queue: OrderedDict[str, deque[Point]] = OrderedDict()
        for key in missing:
            if key not in mine:
                queue.setdefault(points[key].training, deque()).append(points[key])
        progress = Progress(len(points), known | {record.digest: record for record in taken})
        return cls(book, share, evaluate, progress, queue)

    def take(self, like: str | None) -> Sequence[Point]:
        while points := self.next_bunch(like):
            if ready := claimed(self, points):
                return ready
        return abandoned(self)

    def next_bunch(self, like: str | None) -> list[Point]:
        """Points of one training that are not known yet."""
        if not self.queue:
            return []
        key = like if like is not None and like in self.queue else next(iter(self.queue))
        queue = self.queue[key]
        points = [queue.popleft() for _ in range(min(BUNCH, len(queue)))]
        if queue:
            self.queue.move_to_end(key)  # another free slot starts with another training
        else:
            del self.queue[key]
        return points

    def job(self, points: Sequence[Point]) -> tuple[Job, tuple[Any, ...]]:
        return job_of(self.book, self.evaluate, points, self.progress)

    def finished(self, points: Sequence[Point], results: Sequence[Any]) -> None:
        records = [self.book.judged(read_result(point, result)) for point, result in zip(points, results, strict=True)]
        self.keep(records)

    def failed(self, point: Point, error: str, kind: str) -> None:
        self.keep([failure(point, error, kind)])

    def keep(self, records: Sequence[PointRecord]) -> None:
        """Write records into the book, but for points that another coordinator has finished meanwhile."""
        self.book.add([record for record in records if record.digest not in self.progress.records])
        self.progress.keep(records)
        self.share.drop([record.digest for record in records])

    def left(self, point: Point, reason: str) -> None:
        self.progress.left[point.digest] = (point, reason)
        self.share.drop([point.digest])

    def learn(self, records: Sequence[PointRecord]) -> None:
        """What other coordinators have finished."""
        self.progress.keep(records)

    def waiting(self) -> bool:
        return bool(self.progress.elsewhere)


@dataclass(eq=False)
class TrialFeed:
    """Points that one of Optuna's samplers proposes; a point met again gets the result it had.

    The sampler works on a copy of the study in memory, where a proposal costs a millisecond; the book
    receives finished points only, so a killed coordinator leaves no trial behind that never ends.
    """

    book: Book
    share: Share
    evaluate: Evaluate
    progress: Progress
    earlier: Mapping[str, PointRecord]
    search: optuna.Study
    asked: dict[str, list[Trial]] = field(default_factory=dict)

    @classmethod
    def start(cls, book: Book, share: Share, evaluate: Evaluate, retry_failed: bool) -> TrialFeed:
        """Continue a search from the points in the book."""
        known = {record.digest: record for record in book.new_records(())}
        search = copy_of(book, share)
        if retry_failed:
            for record in [record for record in known.values() if record.state == "failed"]:
                search.enqueue_trial(dict(record.point.params))
                del known[record.digest]
        progress = Progress(book.sweep.settings.points or DEFAULT_POINTS, known)
        return cls(book, share, evaluate, progress, book.earlier_records(), search)

    def take(self, like: str | None) -> Sequence[Point]:
        repeats = 0
        while not self.enough():
            if repeats >= REPEATS and not self.suggest_unknown():
                break
            trial = self.search.ask()
            point = proposed(self.book.sweep, trial)
            if point.digest in self.asked:
                self.asked[point.digest].append(trial)
                break  # known once the one in hand is done
            self.asked[point.digest] = [trial]
            if point.digest in self.progress.records:
                self.tell(self.progress.records[point.digest])
                repeats += 1
            elif point.digest in self.progress.left:
                self.give_up(point)
                repeats += 1
            elif point.digest in self.earlier:
                self.finish(self.book.judged(self.earlier[point.digest].change(point=point)))
                repeats = 0
            elif ready := claimed(self, [point]):
                return ready
        return abandoned(self)

    def enough(self) -> bool:
        """Whether the points wanted are in the book, in hand or given up."""
        in_hand = self.asked.keys() | self.share.elsewhere() - self.progress.records.keys()
        return self.progress.done + len(in_hand) + len(self.progress.left) >= self.progress.total

    def job(self, points: Sequence[Point]) -> tuple[Job, tuple[Any, ...]]:
        return job_of(self.book, self.evaluate, points, self.progress)

    def finished(self, points: Sequence[Point], results: Sequence[Any]) -> None:
        for point, result in zip(points, results, strict=True):
            self.finish(self.book.judged(read_result(point, result)))

    def failed(self, point: Point, error: str, kind: str) -> None:
        self.finish(failure(point, error, kind))

    def left(self, point: Point, reason: str) -> None:
        self.progress.left[point.digest] = (point, reason)
        self.share.drop([point.digest])
        self.give_up(point)

    def give_up(self, point: Point) -> None:
        """Close the proposals of a point that is left to the next run."""
        from optuna.trial import TrialState

        for trial in self.asked.pop(point.digest):
            self.search.tell(trial, state=TrialState.FAIL)

    def suggest_unknown(self) -> bool:
        """Have the next proposal be a point nobody has looked at; False when there is none or too many to list."""
        sweep = self.book.sweep
        if not sweep.is_finite or sweep.size > MOST_LISTED:
            return False
        points = sweep.combinations(range(sweep.size))
        known = (self.progress.records, self.asked, self.progress.left)
        unknown = next((point for point in points if not any(point.digest in seen for seen in known)), None)
        if unknown is not None:
            self.search.enqueue_trial(dict(unknown.params))
        return unknown is not None

    def finish(self, record: PointRecord) -> None:
        """Write a new point into the book and tell the sampler."""
        if record.digest not in self.progress.records:
            number = self.asked[record.digest][0].number
            self.book.add([record], self.search.get_trials(deepcopy=False)[number].system_attrs)
        self.share.drop([record.digest])
        self.learn([record])

    def learn(self, records: Sequence[PointRecord]) -> None:
        """Finished points, by whomever."""
        self.progress.keep(records)
        for record in records:
            if record.digest in self.asked:
                self.tell(record)
            else:
                self.search.add_trial(self.book.trial(record))

    def waiting(self) -> bool:
        return bool(self.progress.elsewhere)

    def tell(self, record: PointRecord) -> None:
        """Close every proposal of this point."""
        from optuna.trial import TrialState

        complete = record.state == "complete"
        for trial in self.asked.pop(record.digest):
            for text, missed in (self.book.constraints(record) if complete else {}).items():
                trial.set_constraint(text, missed)
            values = self.book.values(record) if complete else None
            self.search.tell(trial, values, state=getattr(TrialState, STATES[record.state]))


def claimed(feed: GridFeed | TrialFeed, points: Sequence[Point]) -> list[Point]:
    """Those of the points that are now this coordinator's to do; the others are elsewhere or done."""
    mine = feed.share.take([point.digest for point in points])
    # After the claims: what another coordinator had finished before is in the book by now.
    new = feed.book.new_records(feed.progress.records)
    feed.learn(new)
    for record in new:
        feed.progress.elsewhere.pop(record.digest, None)
    done = feed.progress.records
    feed.share.drop([key for key in mine if key in done])
    for point in points:
        if point.digest in mine or point.digest in done:
            feed.progress.elsewhere.pop(point.digest, None)
        else:
            feed.progress.elsewhere[point.digest] = point
    return [point for point in points if point.digest in mine and point.digest not in done]


def abandoned(feed: GridFeed | TrialFeed) -> list[Point]:
    """Points that another coordinator had in hand and gave back undone, or died with."""
    elsewhere = list(feed.progress.elsewhere.values())
    return claimed(feed, elsewhere[:BUNCH]) if elsewhere else []


def copy_of(book: Book, share: Share) -> optuna.Study:
    """The book's study in memory, with the sampler the user asked for; one of several goes ways of its own."""
    import optuna

    with talking_to(book.name):
        trials = [trial for trial in book.study.get_trials(deepcopy=False) if trial.state.is_finished()]
        seed = (len(trials), share.key) if share.others else (len(trials),)
        study = optuna.create_study(directions=book.study.directions, sampler=sampler(book.sweep, *seed))
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


def sampler(sweep: Sweep, *run: Any) -> BaseSampler:
    """Optuna's sampler; seeded by the run, such as how far the study is: a continued search does not repeat itself."""
    from optuna import samplers

    settings = sweep.settings
    seed = int(digest(settings.seed, *run), 16) % 2**32
    population = max(8, min(50, (settings.points or DEFAULT_POINTS) // 5))
    match settings.search:
        case "tpe":
            return samplers.TPESampler(seed=seed, multivariate=len(sweep.branches) == 1, constant_liar=True)
        case "nsga2":
            return samplers.NSGAIISampler(seed=seed, population_size=population)
        case "nsga3":
            return samplers.NSGAIIISampler(seed=seed, population_size=population)
    return samplers.RandomSampler(seed=seed)
