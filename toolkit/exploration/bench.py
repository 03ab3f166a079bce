"""``toolkit bench sweep``: how fast points are, and what a second worker brings."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.exploration.narration import Say
from toolkit.exploration.points import PointRecord
from toolkit.exploration.run import sweep
from toolkit.exploration.space import Point
from toolkit.records import Figure
from toolkit.store import store_at

BUSY_POINTS = 32
BUSY_SECONDS = 0.5
NEAREST = {"invalid_reuse_factor": "nearest"}


@dataclass(frozen=True)
class SweepBench:
    """Seconds for each part; ``speedup`` is that of two workers over one on points of equal work."""

    post_training: Figure
    first_variants: Figure
    variants: Figure
    one_worker: Figure
    two_workers: Figure
    speedup: Figure


def post_training_tables(dataset: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """100 post-training points of ``cifar10_cnn``: bits, reuse factor, strategy; 2,000 images each."""
    return {
        "name": "bench_post_training",
        "dataset": dict(dataset),
        "model": {"name": "cifar10_cnn"},
        "train": {"epochs": epochs},
        "quantization": {"weight_bits": [4, 5, 6, 7, 8], "activation_bits": [6, 8]},
        "hls": {"strategy": ["Latency", "Resource"], "reuse_factor": [16, 32, 64, 128, 256], **NEAREST},
        "sweep": {"images": 2000, "proof": {"pareto": False, "sample": 0}},
    }


def variant_tables(dataset: Mapping[str, Any], epochs: int, activation_bits: int) -> dict[str, Any]:
    """1,000 variants of one trained model: part, clock, reuse factor."""
    return {
        "name": f"bench_variants_{activation_bits}",
        "dataset": dict(dataset),
        "model": {"name": "cifar10_cnn"},
        "train": {"epochs": epochs},
        "quantization": {"weight_bits": 6, "activation_bits": activation_bits},
        "hls": {
            "strategy": "Resource",
            "part": ["xc7z020clg400-1", "xczu7ev-ffvc1156-2-e"],
            "clock_period_ns": [4, 5, 6, 8, 10],
            "reuse_factor": {"low": 1, "high": 100},
            **NEAREST,
        },
        "sweep": {"images": 2000, "proof": {"pareto": False, "sample": 0}},
    }


def bench_sweep(
    dataset: Mapping[str, Any] | None = None, *, epochs: int = 1, workers: int | None = None, say: Say | None = None
) -> SweepBench:
    """Time 100 post-training points, 1,000 variants of a new and of a known model, two workers against one.

    The float model is trained before the clock starts; everything else is made anew, in a store and
    books of its own. ``dataset`` is a ``[dataset]`` table (default: Fashion-MNIST padded to 32x32x3).
    """
    chosen = dataset or {"name": "fashion_mnist", "shape": [32, 32, 3]}
    with tempfile.TemporaryDirectory(prefix="toolkit-bench-") as folder, store_at(Path(folder) / "store"):
        book = Path(folder)
        warm = {**post_training_tables(chosen, epochs), "name": "bench_warm"}
        warm |= {"quantization": {"weight_bits": 3}, "hls": {}}
        timed(warm, book / "warm.db", workers, say)
        post_training, count = timed(post_training_tables(chosen, epochs), book / "post.db", workers, say)
        first, many = timed(variant_tables(chosen, epochs, 7), book / "first.db", workers, say)
        again, _ = timed(variant_tables(chosen, epochs, 6), book / "again.db", workers, say)
        one, two = (busy_seconds(book / f"busy{number}.db", number, say) for number in (1, 2))
    return SweepBench(
        post_training=Figure(post_training, "s", "measured", note=f"{count} points, 2,000 images each"),
        first_variants=Figure(first, "s", "measured", note=f"{many:,} variants; quantized and converted in this time"),
        variants=Figure(again, "s", "measured", note=f"{many:,} variants of a model that was emulated before"),
        one_worker=Figure(one, "s", "measured", note=f"{BUSY_POINTS} points of {BUSY_SECONDS} s"),
        two_workers=Figure(two, "s", "measured", note=f"{BUSY_POINTS} points of {BUSY_SECONDS} s"),
        speedup=Figure(one / two, "", "measured", note="start of the workers included"),
    )


def timed(tables: Mapping[str, Any], book: Path, workers: int | None, say: Say | None) -> tuple[float, int]:
    """Seconds for a whole sweep and its number of points; raises when a point failed."""
    begun = time.perf_counter()
    result = sweep(tables, storage=book, workers=workers, say=say)
    for record in result.failed:
        raise RuntimeError(f"a point of {result.name} failed: {record.error}")
    return time.perf_counter() - begun, len(result.points)


def busy_seconds(book: Path, workers: int, say: Say | None) -> float:
    """Seconds for points that keep one core busy."""
    tables = {"name": "busy", "hls": {"reuse_factor": {"low": 1, "high": BUSY_POINTS}}}
    begun = time.perf_counter()
    sweep(tables, storage=book, workers=workers, evaluate=busy, proof=False, say=say)
    return time.perf_counter() - begun


def busy(point: Point, bar: object) -> PointRecord:
    """A point that computes for a fixed amount of processor time."""
    end = time.process_time() + BUSY_SECONDS
    while time.process_time() < end:
        pass
    figures = {name: Figure(1.0, "", "counted") for name in ("accuracy", "latency_us", "utilization_percent")}
    return PointRecord(point, "complete", figures)
