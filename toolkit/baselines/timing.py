"""Timing done properly: warm-up, repeats, median and spread, threads, energy and memory where readable."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.records import Figure

# A 5-95 % range wider than this share of the median earns a warning (pyperf warns at a tenth of a
# standard deviation; single runs of a shared laptop are wider than its averaged ones).
WIDE_SPREAD = 0.5
WARM_UP_SECONDS = 0.2
WARM_UP_RUNS = 3
# A run of 80 us repeated 30 times says little: runs go on until this much time, or this many runs.
LEAST_SECONDS = 0.4
MOST_RUNS = 2000
POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Timing:
    """Seconds of each timed run of one batch, with the energy of them all (uJ) where a counter is readable."""

    batch: int
    seconds: tuple[float, ...]
    energy_uj: float | None = None
    energy_counter: str | None = None

    @property
    def median_us(self) -> float:
        return float(np.median(self.seconds)) * 1e6

    def percentile_us(self, percent: float) -> float:
        return float(np.percentile(self.seconds, percent)) * 1e6

    @property
    def spread(self) -> float:
        """5th to 95th percentile as a share of the median."""
        return (self.percentile_us(95) - self.percentile_us(5)) / self.median_us

    def latency(self) -> Figure:
        """Median time of one batch in us; ``low`` and ``high`` are the 5th and 95th percentile."""
        note = f"batch {self.batch}, median of {len(self.seconds)} runs, interval from 5th to 95th percentile"
        return Figure(self.median_us, "us", "measured", self.percentile_us(5), self.percentile_us(95), note)

    def throughput(self) -> Figure:
        """Images per second at the median time."""
        return Figure(
            self.batch / self.median_us * 1e6,
            "images/s",
            "measured",
            self.batch / self.percentile_us(95) * 1e6,
            self.batch / self.percentile_us(5) * 1e6,
            f"batch {self.batch}, median of {len(self.seconds)} runs",
        )

    def energy_per_image(self) -> Figure | None:
        """uJ per image as the counter saw it: the whole package or card, idle share included."""
        if self.energy_uj is None:
            return None
        images = self.batch * len(self.seconds)
        note = f"{self.energy_counter} over {images} images at batch {self.batch}; includes idle power"
        return Figure(self.energy_uj / images, "uJ", "measured", note=note)


def spread_warning(timings: Sequence[Timing]) -> tuple[str, ...]:
    """A sentence that names the batch sizes whose spread is wide, where there are any."""
    wide = [f"{item.spread:.0%} at batch {item.batch}" for item in timings if item.spread > WIDE_SPREAD]
    if not wide:
        return ()
    return (
        f"noisy: the 5th to 95th percentile spans {', '.join(wide)} of the median; the machine was busy or the run "
        "too short",
    )


def time_runs(run: Callable[[], object], batch: int, repeats: int, *, gpu: bool = False) -> Timing:
    """Warm up, then time calls one by one: at least ``repeats``, more of them where one is short.

    Energy is the GPU's where the work runs there, else the processor's.
    """
    warm_up(run)
    counter = nvml_counter() if gpu else rapl_counter(POWERCAP)
    before = counter.read() if counter else 0.0
    seconds = timed(run, repeats)
    if counter is None:
        return Timing(batch, seconds)
    return Timing(batch, seconds, counter.used(before), counter.name)


def timed(run: Callable[[], object], repeats: int) -> tuple[float, ...]:
    """Seconds of each call: ``repeats`` of them, and on until ``LEAST_SECONDS`` or ``MOST_RUNS``."""
    seconds: list[float] = []
    spent = 0.0
    while len(seconds) < repeats or (spent < LEAST_SECONDS and len(seconds) < MOST_RUNS):
        seconds.append(time_once(run))
        spent += seconds[-1]
    return tuple(seconds)


def warm_up(run: Callable[[], object]) -> None:
    """Call until both ``WARM_UP_RUNS`` and ``WARM_UP_SECONDS`` are reached: tracing, caches and clocks settle."""
    begun, runs = time.perf_counter(), 0
    while runs < WARM_UP_RUNS or time.perf_counter() - begun < WARM_UP_SECONDS:
        run()
        runs += 1


def time_once(run: Callable[[], object]) -> float:
    begun = time.perf_counter_ns()
    run()
    return (time.perf_counter_ns() - begun) / 1e9


@dataclass(frozen=True)
class EnergyCounter:
    """A monotonic energy counter in uJ; RAPL's wraps at ``wraps_at``."""

    name: str
    read: Callable[[], float]
    wraps_at: float | None = None

    def used(self, before: float) -> float:
        """uJ since ``before``, one wrap allowed for."""
        now = self.read()
        return now - before if now >= before or self.wraps_at is None else now - before + self.wraps_at


def rapl_counter(powercap: Path) -> EnergyCounter | None:
    """Intel/AMD running average power limit counter of package 0; root only on most kernels."""
    package = powercap / "intel-rapl:0"
    try:
        wraps_at = float((package / "max_energy_range_uj").read_text())
        float((package / "energy_uj").read_text())
    except (OSError, ValueError):
        return None
    return EnergyCounter("RAPL package 0", lambda: float((package / "energy_uj").read_text()), wraps_at)


def nvml_card() -> tuple[Any, Any] | None:
    """NVML and its GPU 0, when the ``gpu`` extra's nvidia-ml-py is installed and the driver answers."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        return pynvml, pynvml.nvmlDeviceGetHandleByIndex(0)
    except pynvml.NVMLError:
        return None


def nvml_counter() -> EnergyCounter | None:
    """NVML's total energy of GPU 0 (Volta and later), where readable."""
    if (found := nvml_card()) is None:
        return None
    nvml, card = found
    try:
        nvml.nvmlDeviceGetTotalEnergyConsumption(card)
    except nvml.NVMLError:
        return None
    return EnergyCounter("NVML GPU 0", lambda: 1e3 * float(nvml.nvmlDeviceGetTotalEnergyConsumption(card)))


def gpu_names() -> dict[str, str]:
    """Name and driver of GPU 0, where NVML tells."""
    if (found := nvml_card()) is None:
        return {}
    nvml, card = found
    return {"gpu": str(nvml.nvmlDeviceGetName(card)), "gpu_driver": str(nvml.nvmlSystemGetDriverVersion())}


def gpu_memory() -> Figure | None:
    """Memory in use on GPU 0 in bytes, by all processes, where NVML tells."""
    if (found := nvml_card()) is None:
        return None
    nvml, card = found
    used = int(nvml.nvmlDeviceGetMemoryInfo(card).used)
    return Figure(used, "bytes", "measured", note="in use on GPU 0 after the runs, by all processes (NVML)")


def reset_peak_memory(process: Path = Path("/proc/self")) -> bool:
    """Start this process' resident-set high-water mark anew (Linux); false where that is not possible."""
    try:
        (process / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_memory(process: Path = Path("/proc/self")) -> Figure | None:
    """Resident-set high-water mark of this Python process in bytes, or nothing where /proc has none."""
    try:
        status = (process / "status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            bytes_ = int(line.split()[1]) * 1024
            return Figure(bytes_, "bytes", "measured", note="peak resident set of the whole Python process")
    return None


def machine() -> Mapping[str, str]:
    """What a timing depends on: processor, cores this process may use, affinity, load, Python."""
    allowed = sorted(os.sched_getaffinity(0))
    return {
        "cpu": cpu_model(),
        "cpus_allowed": str(len(allowed)),
        "affinity": ",".join(map(str, allowed)),
        "load_average": f"{os.getloadavg()[0]:.2f}",
        "host": platform.node(),
        "os": platform.platform(),
        "python": platform.python_version(),
    }


def allowed_cpus() -> int:
    """Cores this process may use: what engines take as their number of threads."""
    return len(os.sched_getaffinity(0))


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's own name, or its architecture."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
