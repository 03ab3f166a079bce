"""What a worker runs: a few points of one kind, for a short while.

A job returns when its points are done or its time is up; what is left goes back to the queue. So
cheap points travel in bunches, expensive ones alone, and a killed worker loses seconds.
"""

from __future__ import annotations

import errno
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from toolkit.errors import StoreError
from toolkit.exploration.points import PointRecord, failure
from toolkit.exploration.space import Point

SLICE_S = 0.5
OUTSIDE = "outside"  # key of a result that is no record: the point failed for this reason, which lies outside it
MEMORY = "the machine is out of memory"
INTERRUPTED = "a program it started was killed"

# No fault of a point, wherever it happens: by error number, or in the words that libraries and compilers use.
FULL = {errno.ENOSPC, errno.EDQUOT}
FULL_WORDS = re.compile(r"No space left on device|Disk quota exceeded|database or disk is full", re.IGNORECASE)
MEMORY_WORDS = re.compile(r"Cannot allocate memory|std::bad_alloc|OOM when allocating|out of memory", re.IGNORECASE)
KILLED_WORDS = re.compile(r"return code -(1|2|9|15)\b|(Killed|Interrupt|Terminated) signal terminated program")

# One point, and per epoch the validation accuracy below which its training is not worth finishing.
Evaluate = Callable[[Point, Sequence[float]], PointRecord]

# hls4ml and TensorFlow keep state per process: a Dask worker with several threads takes turns.
TURN = threading.Lock()


class TrainingStopped(Exception):
    """A training fell behind the others; carries the validation accuracy after each epoch."""

    def __init__(self, history: Sequence[float]) -> None:
        super().__init__(f"stopped after epoch {len(history)}: {history[-1]:.4f} (more is better) is below the median")
        self.history = tuple(history)


def run_job(
    evaluate: Evaluate, points: Sequence[Mapping[str, Any]], bar: Sequence[float], store: str
) -> list[dict[str, Any]]:
    """Evaluate points in turn, at least one, until all are done or the time is up; returns their records.

    The last may be ``{"outside": reason}``: that point failed for a reason outside it.
    Raises ``StoreError`` when a disk is full or the store cannot be written.
    """
    with TURN:
        os.environ["TOOLKIT_STORE"] = store
        begun = time.monotonic()
        done: list[dict[str, Any]] = []
        for content in points:
            done.append(evaluated(evaluate, Point.from_json(content), bar))
            if OUTSIDE in done[-1] or time.monotonic() - begun > SLICE_S:
                break
        return done


def evaluated(evaluate: Evaluate, point: Point, bar: Sequence[float]) -> dict[str, Any]:
    """A point's record, whatever happens to it, or what happened around it."""
    begun = time.perf_counter()
    try:
        record = evaluate(point, bar)
    except TrainingStopped as stopped:
        record = PointRecord(point, "pruned", error=str(stopped), error_kind="TrainingStopped", history=stopped.history)
    except StoreError:
        raise
    except (Exception, SystemExit) as error:  # any mistake of any library is this point's record; the sweep goes on
        if reason := reason_outside(error):
            return {OUTSIDE: reason}
        record = failure(point, error)
    return record.change(seconds=time.perf_counter() - begun).to_json()


def reason_outside(error: BaseException) -> str | None:
    """Why an error is no fault of the point or proof it happened to; nothing if it is.

    Memory that is not there and a compiler that was killed say more of the machine than of the design.
    Raises ``StoreError`` for a full disk, where nothing else will work either.
    """
    for link in chain(error):
        number, text = getattr(link, "errno", None), str(link)
        if number in FULL or FULL_WORDS.search(text):
            raise StoreError(f"the disk is full: {text}; make room, and the same command continues") from error
        if isinstance(link, MemoryError) or number == errno.ENOMEM or MEMORY_WORDS.search(text):
            return f"{MEMORY} ({first_line(link)})"
        if KILLED_WORDS.search(text):
            return f"{INTERRUPTED} ({first_line(link)})"
    return None


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it was raised from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def first_line(error: BaseException) -> str:
    """``MemoryError: out of memory``."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
