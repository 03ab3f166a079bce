"""Points that cost next to nothing, for tests of everything around an evaluation.

Importable by worker processes. ``$CHEAP_LOG`` names a file that receives a line when a point begins
and when it ends; ``$CHEAP_SECONDS`` makes a point take that long.
"""

from __future__ import annotations

import errno
import math
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.errors import ProcessError
from toolkit.exploration.jobs import TrainingStopped
from toolkit.exploration.points import PointRecord
from toolkit.exploration.space import Point
from toolkit.records import Figure


def figures(point: Point) -> dict[str, Figure]:
    """A trade-off between bits and reuse factor."""
    bits, factor = point.design.quantization.weight_bits, point.design.hls.reuse_factor
    values = {
        "accuracy": (1 - 2.0**-bits, "fraction", "emulation"),
        "latency_us": (factor * point.design.hls.clock_period_ns / 10, "us", "model"),
        "dsp": (64 / factor * bits, "", "model"),
        "utilization_percent": (100 * bits / factor / 4, "percent", "model"),
    }
    return {name: Figure(float(value), unit, source) for name, (value, unit, source) in values.items()}


def log(event: str, point: Point) -> None:
    if path := os.environ.get("CHEAP_LOG"):
        with Path(path).open("a") as stream:
            stream.write(f"{event} {point.digest}\n")


def evaluate(point: Point, bar: Sequence[float]) -> PointRecord:
    """A complete point."""
    log("begin", point)
    time.sleep(float(os.environ.get("CHEAP_SECONDS", "0")))
    log("end", point)
    return PointRecord(point, "complete", figures(point), facts={"test_set": "cheap", "part": point.design.hls.part})


def by_bits(point: Point, bar: Sequence[float]) -> PointRecord:
    """Points of as many bits compute the same values."""
    record = evaluate(point, bar)
    return record.change(facts={**record.facts, "arithmetic": f"{point.design.quantization.weight_bits} bits"})


def simulate(point: Point, record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A latency with FIFOs simulated."""
    return {"simulated": {"latency_us": Figure(7.0, "us", "model").to_json()}}


def prove(point: Point, record: Mapping[str, Any], images: int) -> Mapping[str, Any]:
    """Equal."""
    return {"equal": True, "images": images}


def prove_differing(point: Point, record: Mapping[str, Any], images: int) -> Mapping[str, Any]:
    return {"equal": False, "images": images, "outputs_different": 3}


def disk_full(point: Point, bar: Sequence[float]) -> PointRecord:
    """A library that cannot write its file."""
    raise OSError(errno.ENOSPC, "No space left on device", "/tmp/weights.h5")


def prove_failing(point: Point, record: Mapping[str, Any], images: int) -> Mapping[str, Any]:
    raise RuntimeError("no compiler")


def prove_killed(point: Point, record: Mapping[str, Any], images: int) -> Mapping[str, Any]:
    """As when someone kills g++."""
    raise ProcessError("return code -15: g++ -O3 firmware.cpp")


def killed_once(point: Point, bar: Sequence[float]) -> PointRecord:
    """The first worker is killed from outside; ``$CHEAP_KILLS`` remembers."""
    memory = Path(os.environ["CHEAP_KILLS"])
    if not memory.exists():
        memory.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return evaluate(point, bar)


def killed_at_8(point: Point, bar: Sequence[float]) -> PointRecord:
    """Every worker that comes to 8 bits is killed from outside."""
    if point.design.quantization.weight_bits == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return evaluate(point, bar)


def troubled(point: Point, bar: Sequence[float]) -> PointRecord:
    """Every kind of trouble, by the number of bits."""
    match point.design.quantization.weight_bits:
        case 2:
            raise RuntimeError("compile error: expected ';'")
        case 3:
            raise MemoryError("out of memory")
        case 4:
            return evaluate(point, bar).change(
                figures={**figures(point), "accuracy": Figure(math.nan, "", "emulation")}
            )
        case 5:
            os._exit(9)  # as when the kernel's out-of-memory killer comes
        case 6:
            time.sleep(600)
        case 7:
            raise SystemExit("a library gave up")
        case 9:
            raise TrainingStopped([0.3, 0.2])
    return evaluate(point, bar)


def mended(point: Point, bar: Sequence[float]) -> PointRecord:
    """What failed in :func:`troubled` works now."""
    return evaluate(point, bar)


def trained(point: Point, bar: Sequence[float]) -> PointRecord:
    """A training whose accuracy after each epoch is known beforehand and that stops behind the bar."""
    best = point.design.quantization.weight_bits / 10
    history = [best / 2, best]
    for epoch, accuracy in enumerate(history):
        if epoch < len(bar) and accuracy < bar[epoch]:
            raise TrainingStopped(history[: epoch + 1])
    return evaluate(point, bar).change(history=tuple(history))
