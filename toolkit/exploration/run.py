"""``toolkit.sweep``: read a sweep file, evaluate what is missing, prove the front, return the result."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.exploration import planning
from toolkit.exploration.book import Book, opened_book, study_name
from toolkit.exploration.engines import Engine, Job, started
from toolkit.exploration.evaluate import evaluate_point
from toolkit.exploration.feeds import GridFeed, Progress, TrialFeed
from toolkit.exploration.jobs import Evaluate
from toolkit.exploration.narration import Narrator, Say
from toolkit.exploration.points import PointRecord
from toolkit.exploration.pool import Pool
from toolkit.exploration.proof import prove_job, prove_point
from toolkit.exploration.results import SweepResult, front
from toolkit.exploration.settings import SweepSettings
from toolkit.exploration.space import Point, Sweep, read_sweep
from toolkit.store import store_root

Prove = Callable[[Point, Mapping[str, Any], int], Mapping[str, Any]]


def sweep(
    source: Path | str | Mapping[str, Any] | Sweep,
    *,
    scheduler: str | Path | None = None,
    workers: int | None = None,
    storage: str | Path | None = None,
    retry_failed: bool = False,
    proof: bool = True,
    say: Say | None = None,
    evaluate: Evaluate = evaluate_point,
    prove: Prove = prove_point,
) -> SweepResult:
    """Run a sweep file (or the same tables as a mapping) to its end and return every point.

    First of all the plan (:mod:`toolkit.exploration.planning`): what every point would fail for is raised
    before anything is trained. Points already in the book are not repeated, so the same call continues a sweep that was
    interrupted or killed. ``scheduler`` is a Dask address or scheduler file; otherwise ``workers``
    local processes (default one per core; 0: this process) evaluate. ``storage`` is any Optuna URL,
    an SQLite file or a journal file (default: one SQLite file in the artifact store).
    ``retry_failed`` tries failed points, and proofs that could not be made, again. ``proof=False``
    leaves csim out. ``say`` receives progress as plain lines instead of standard error. ``evaluate``
    and ``prove`` are what a worker runs for a point.

    A script that calls this starts worker processes, so it needs Python's usual
    ``if __name__ == "__main__":``. Raises ``ConfigError`` for a file no design comes from,
    ``StoreError`` when store or book cannot be written; what is finished stays in the book.
    """
    wanted = read_sweep(source)
    if evaluate is evaluate_point:
        planning.begin(wanted, workers, say or tell)
    with opened_book(wanted, storage) as book, started(scheduler, workers) as engine:
        feed = start_feed(book, evaluate, retry_failed)
        narrator = Narrator(feed.progress, wanted.settings.objectives, wanted.settings.constraints, say)
        try:
            Pool(engine, feed, wanted.settings.timeout_s, narrator.beat).run()
            narrator.tell(narrator.line())
            records = book.records()
            if proof:
                waiting = to_prove(wanted.settings, list(records.values()), retry_failed)
                records |= prove_points(book, engine, prove, narrator, waiting)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(interrupted(feed.progress, book)) from None
    return SweepResult(
        name=wanted.name,
        study=study_name(wanted),
        storage=book.name,
        objectives=wanted.settings.objectives,
        constraints=wanted.settings.constraints,
        points=tuple(records.values()),
    )


def tell(line: str) -> None:
    """A line on standard error."""
    print(line, file=sys.stderr, flush=True)


def start_feed(book: Book, evaluate: Evaluate, retry_failed: bool) -> GridFeed | TrialFeed:
    if book.sweep.settings.search == "grid":
        return GridFeed.start(book, evaluate, retry_failed)
    return TrialFeed.start(book, evaluate, retry_failed)


def interrupted(progress: Progress, book: Book) -> str:
    """What is safe, and how to go on."""
    kept = f"{progress.done:,} of {progress.total:,} points are in {book.name}"
    return f"interrupted; {kept}; the same command continues from there"


@dataclass(eq=False)
class ProofFeed:
    """Points whose csim is still to be compared with the emulator."""

    book: Book
    prove: Prove
    waiting: list[PointRecord]
    say: Say
    asked: dict[str, PointRecord] = field(default_factory=dict)
    proved: dict[str, PointRecord] = field(default_factory=dict)

    def take(self, like: str | None) -> Sequence[Point]:
        if not self.waiting:
            return []
        record = self.waiting.pop(0)
        self.asked[record.digest] = record
        return [record.point]

    def job(self, points: Sequence[Point]) -> tuple[Job, tuple[Any, ...]]:
        record, images = self.asked[points[0].digest], self.book.sweep.settings.proof.images
        return prove_job, (self.prove, record.point.to_json(), record.to_json(), images, str(store_root()))

    def finished(self, points: Sequence[Point], results: Sequence[Any]) -> None:
        self.keep(points[0], results[0])

    def failed(self, point: Point, error: str, kind: str) -> None:
        self.keep(point, {"equal": None, "error": f"{kind}: {error}"})

    def keep(self, point: Point, proof: Mapping[str, Any]) -> None:
        self.book.prove(point.digest, proof)
        self.proved[point.digest] = self.asked[point.digest].change(proof=proof)
        number = self.asked[point.digest].number
        outcome = {True: "equal on", False: "DIFFERS on"}.get(proof.get("equal"))  # type: ignore[arg-type]
        images = self.book.sweep.settings.proof.images
        self.say(f"csim of point {number}: {f'{outcome} {images} images' if outcome else proof.get('error')}")


def prove_points(
    book: Book, engine: Engine, prove: Prove, narrator: Narrator, waiting: Sequence[PointRecord]
) -> dict[str, PointRecord]:
    """csim for these points; returns their records with the proofs, by digest."""
    if not waiting:
        return {}
    narrator.tell(f"csim as proof of {len(waiting)} points")
    feed = ProofFeed(book, prove, list(waiting), narrator.tell)
    Pool(engine, feed, book.sweep.settings.timeout_s).run()
    return feed.proved


def to_prove(settings: SweepSettings, records: Sequence[PointRecord], retry_failed: bool = False) -> list[PointRecord]:
    """The front, then others spread evenly over the sweep, as far as the book has no proof of them yet."""
    chosen = front(records, settings.objectives, settings.constraints) if settings.proof.pareto else []
    taken = {record.digest for record in chosen}
    others = [record for record in records if record.state == "complete" and record.digest not in taken]
    count = min(settings.proof.sample, len(others))
    chosen += [others[(2 * index + 1) * len(others) // (2 * count)] for index in range(count)]
    return [record for record in chosen if record.proof is None or (retry_failed and record.proof["equal"] is None)]
