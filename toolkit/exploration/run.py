"""``toolkit.sweep``: read a sweep file, evaluate what is missing, prove the front, return the result."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.exploration import planning
from toolkit.exploration.book import Book, opened_book, shown_storage, study_name
from toolkit.exploration.engines import started
from toolkit.exploration.evaluate import evaluate_point
from toolkit.exploration.feeds import GridFeed, Progress, TrialFeed
from toolkit.exploration.jobs import Evaluate
from toolkit.exploration.narration import Narrator, Say
from toolkit.exploration.points import PointRecord
from toolkit.exploration.pool import Pool
from toolkit.exploration.proof import prove_point, simulate_point
from toolkit.exploration.proving import Prove, Simulate, prove_points
from toolkit.exploration.results import SweepResult, one_per_design
from toolkit.exploration.sharing import Share, shared
from toolkit.exploration.space import Sweep, read_sweep

MOST_REASONS = 3


def sweep(
    source: Path | str | Mapping[str, Any] | Sweep,
    *,
    scheduler: str | Path | None = None,
    workers: int | None = None,
    storage: str | Path | None = None,
    retry_failed: bool = False,
    proof: bool = True,
    proof_minutes: float | None = None,
    say: Say | None = None,
    evaluate: Evaluate = evaluate_point,
    prove: Prove = prove_point,
    simulate: Simulate = simulate_point,
) -> SweepResult:
    """Run a sweep file (or the same tables as a mapping) to its end and return every point.

    First of all the plan (:mod:`toolkit.exploration.planning`): what every point would fail for is raised
    before anything is trained. Points already in the book are not repeated, so the same call continues a sweep that was
    interrupted or killed. ``scheduler`` is a Dask address or scheduler file; otherwise ``workers``
    local processes (default one per core; 0: this process) evaluate. ``storage`` is any Optuna URL,
    an SQLite file or a journal file (default: one SQLite file in the artifact store).
    ``retry_failed`` tries failed points, and proofs that could not be made, again. ``proof=False``
    leaves csim out, ``proof_minutes`` bounds it. ``say`` receives progress as plain lines instead of
    standard error. ``evaluate``, ``prove`` and ``simulate`` are what a worker runs for a point.

    Several calls on one storage, on one machine or many, share the points. What failed for a reason
    outside the point (memory, a killed worker) is in ``result.left`` and not in the book.

    A script that calls this starts worker processes, so it needs Python's usual
    ``if __name__ == "__main__":``. Raises ``ConfigError`` for a file no design comes from,
    ``StoreError`` when store or book cannot be written; what is finished stays in the book.
    """
    wanted = read_sweep(source)
    with contextlib.ExitStack() as stack:
        engine = stack.enter_context(started(scheduler, workers))  # before the plan: told at once if it cannot be
        if evaluate is evaluate_point:
            planning.begin(wanted, workers, say or tell)
        book = stack.enter_context(opened_book(wanted, storage))
        share = stack.enter_context(shared(book))
        feed = start_feed(book, share, evaluate, retry_failed)
        narrator = Narrator(feed.progress, wanted.settings.objectives, wanted.settings.constraints, say)
        if share.others:
            narrator.tell(f"sharing the points with {share.names()}")
        try:
            Pool(engine, feed, wanted.settings.timeout_s, narrator.beat).run()
            narrator.tell(narrator.line())
            if summary := troubles(feed.progress):
                narrator.tell(summary)
            records = list(book.records().values())
            if proof:
                minutes = wanted.settings.proof.minutes if proof_minutes is None else proof_minutes
                prove_points(
                    book, engine, share, prove, simulate, narrator, records, retry_failed=retry_failed, minutes=minutes
                )
                records = list(book.records().values())
        except KeyboardInterrupt:
            raise KeyboardInterrupt(interrupted(feed.progress, book)) from None
    return SweepResult(
        name=wanted.name,
        study=study_name(wanted),
        storage=shown_storage(storage),
        objectives=wanted.settings.objectives,
        constraints=wanted.settings.constraints,
        points=one_per_design(records),
        left=tuple(feed.progress.left.values()),
    )


def tell(line: str) -> None:
    """A line on standard error."""
    print(line, file=sys.stderr, flush=True)


def start_feed(book: Book, share: Share, evaluate: Evaluate, retry_failed: bool) -> GridFeed | TrialFeed:
    kind = GridFeed if book.sweep.settings.search == "grid" else TrialFeed
    return kind.start(book, share, evaluate, retry_failed)


def interrupted(progress: Progress, book: Book) -> str:
    """What is safe, and how to go on."""
    kept = f"{progress.done:,} of {progress.total:,} points are in {shown_storage(book.name)}"
    return f"interrupted; {kept}; the same command continues from there"


def troubles(progress: Progress) -> str:
    """Why points failed or were left, the most frequent reasons first; empty when none did."""
    failed = Counter(reason_of(record) for record in progress.records.values() if record.state == "failed")
    left = Counter(reason for _, reason in progress.left.values())
    lines = []
    if failed:
        whole = "every point failed" if progress.failures == progress.done else f"{progress.failures:,} points failed"
        lines.append(f"{whole} (--retry-failed tries them again): {most_common(failed)}")
    if left:
        lines.append(
            f"{left.total():,} points could not be evaluated, for reasons outside them; "
            f"the same command tries them again: {most_common(left)}"
        )
    return "\n".join(lines)


def reason_of(record: PointRecord) -> str:
    return f"{record.error_kind}: {(record.error or '').splitlines()[0]}"


def most_common(reasons: Counter[str]) -> str:
    """``3 x RuntimeError: no; 1 x Timeout: ran longer than 60 s``."""
    return "; ".join(f"{count:,} x {reason}" for reason, count in reasons.most_common(MOST_REASONS))
