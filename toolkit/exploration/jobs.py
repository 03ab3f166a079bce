"""What a worker runs: a few points of one kind, for a short while.

A job returns when its points are done or its time is up; what is left goes back to the queue. So
cheap points travel in bunches, expensive ones alone, and a killed worker loses seconds.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from toolkit.errors import StoreError
from toolkit.exploration.points import PointRecord, failure
from toolkit.exploration.space import Point

SLICE_S = 0.5
FULL = {errno.ENOSPC, errno.EDQUOT}  # no fault of a point, wherever the file was to go

# One point, and per epoch the validation accuracy below which its training is not worth finishing.
Evaluate = Callable[[Point, Sequence[float]], PointRecord]

# hls4ml and TensorFlow keep state per process: a Dask worker with several threads takes turns.
TURN = threading.Lock()


class TrainingStopped(Exception):
    """A training fell behind the others; carries the validation accuracy after each epoch."""

    def __init__(self, history: Sequence[float]) -> None:
        super().__init__(f"stopped after epoch {len(history)}: accuracy {history[-1]:.4f} is below the median")
        self.history = tuple(history)


def run_job(
    evaluate: Evaluate, points: Sequence[Mapping[str, Any]], bar: Sequence[float], store: str
) -> list[dict[str, Any]]:
    """Evaluate points in turn, at least one, until all are done or the time is up; returns their records.

    Raises ``StoreError`` when the store cannot be written: that is no fault of a point.
    """
    with TURN:
        os.environ["TOOLKIT_STORE"] = store
        begun = time.monotonic()
        done: list[dict[str, Any]] = []
        for content in points:
            done.append(evaluated(evaluate, Point.from_json(content), bar).to_json())
            if time.monotonic() - begun > SLICE_S:
                break
        return done


def evaluated(evaluate: Evaluate, point: Point, bar: Sequence[float]) -> PointRecord:
    """A point's record, whatever happens to it."""
    begun = time.perf_counter()
    try:
        record = evaluate(point, bar)
    except TrainingStopped as stopped:
        record = PointRecord(point, "pruned", error=str(stopped), error_kind="TrainingStopped", history=stopped.history)
    except StoreError:
        raise
    except OSError as error:
        if error.errno in FULL:
            raise StoreError(f"the disk is full: {error}; make room, and the same command continues") from error
        record = failure(point, error)
    except (Exception, SystemExit) as error:  # any mistake of any library is this point's record; the sweep goes on
        record = failure(point, error)
    return record.change(seconds=time.perf_counter() - begun)
