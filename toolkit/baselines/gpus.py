"""The GPUs that the analytic model knows, read from ``gpus.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from toolkit.errors import choose

TABLE = "gpus.toml"


@dataclass(frozen=True)
class Gpu:
    """A GPU's data sheet: dense peaks, memory bandwidth, multiprocessors, board power."""

    name: str
    title: str
    float32_tflops: float
    float16_tflops: float
    int8_tops: float
    bandwidth_gb_s: float
    multiprocessors: int
    clock_ghz: float
    l2_mb: float
    power_w: float
    source: str

    def peak(self, precision: str) -> float:
        """Operations per second at a precision (a multiply-accumulate is two)."""
        peaks = {"float32": self.float32_tflops, "float16": self.float16_tflops, "int8": self.int8_tops}
        return 1e12 * peaks[precision]


@cache
def gpus() -> dict[str, Gpu]:
    """Every GPU by name."""
    content = tomllib.loads((files("toolkit.baselines") / TABLE).read_text())
    return {name: Gpu(name=name, **fields) for name, fields in content.items()}


def find_gpu(name: str) -> Gpu:
    """The GPU of that name; raises ``ConfigError`` naming the nearest."""
    return gpus()[choose("gpu", name, gpus())]
