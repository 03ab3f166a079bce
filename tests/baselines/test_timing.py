"""Timing: warm-up, percentiles, warnings, energy counters, memory."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from toolkit.baselines import timing
from toolkit.baselines.timing import EnergyCounter, Timing


def test_warm_up_goes_before_the_timed_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "WARM_UP_SECONDS", 0.0)
    monkeypatch.setattr(timing, "LEAST_SECONDS", 0.0)
    calls: list[int] = []
    found = timing.time_runs(lambda: calls.append(1), batch=4, repeats=10)
    assert len(calls) == timing.WARM_UP_RUNS + 10
    assert len(found.seconds) == 10


def test_short_runs_are_repeated_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "MOST_RUNS", 50)
    assert len(timing.timed(lambda: None, repeats=3)) == 50
    assert len(timing.timed(lambda: None, repeats=60)) == 60


def fake_nvml() -> SimpleNamespace:
    """Stands for pynvml on a machine with one GPU that spends 5 mJ between two looks."""
    spent_mj = itertools.count(0, 5)
    return SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetTotalEnergyConsumption=lambda card: next(spent_mj),
        nvmlDeviceGetMemoryInfo=lambda card: SimpleNamespace(used=1 << 30),
        nvmlDeviceGetName=lambda card: "NVIDIA T4",
        nvmlSystemGetDriverVersion=lambda: "550.1",
    )


def test_the_energy_is_that_of_the_device_that_worked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml())
    monkeypatch.setattr(timing, "POWERCAP", Path("/nowhere"))
    monkeypatch.setattr(timing, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(timing, "WARM_UP_SECONDS", 0.0)
    on_gpu = timing.time_runs(lambda: None, batch=2, repeats=4, gpu=True).energy_per_image()
    assert on_gpu is not None
    assert on_gpu.value == 5000 / 8
    assert "NVML GPU 0" in str(on_gpu.note)
    assert timing.time_runs(lambda: None, batch=2, repeats=4).energy_per_image() is None
    assert timing.gpu_names() == {"gpu": "NVIDIA T4", "gpu_driver": "550.1"}
    memory = timing.gpu_memory()
    assert memory is not None
    assert memory.value == 1 << 30


def test_latency_is_the_median_with_percentiles() -> None:
    found = Timing(2, tuple(np.arange(1, 102) / 1e6))
    latency = found.latency()
    assert (latency.value, latency.low, latency.high) == pytest.approx((51, 6, 96))
    assert latency.source == "measured"
    assert found.throughput().value == pytest.approx(2 / 51e-6)
    assert found.throughput().low == pytest.approx(2 / 96e-6)


def test_a_wide_spread_is_told_and_a_narrow_one_is_not() -> None:
    steady, noisy = Timing(1, (1.0,) * 20), Timing(16, (1.0,) * 18 + (10.0,) * 2)
    assert timing.spread_warning([steady]) == ()
    (text,) = timing.spread_warning([steady, noisy])
    assert "spans 900% at batch 16 of the median" in text


def test_energy_is_that_of_an_image() -> None:
    energy = Timing(10, (0.1,) * 5, energy_uj=1000.0, energy_counter="RAPL package 0").energy_per_image()
    assert energy is not None
    assert energy.value == 20
    assert "RAPL" in str(energy.note)
    assert Timing(10, (0.1,)).energy_per_image() is None


def test_rapl_is_read_and_its_wrap_allowed_for(tmp_path: Path) -> None:
    package = tmp_path / "intel-rapl:0"
    package.mkdir()
    (package / "max_energy_range_uj").write_text("1000\n")
    (package / "energy_uj").write_text("900\n")
    counter = timing.rapl_counter(tmp_path)
    assert counter is not None
    before = counter.read()
    (package / "energy_uj").write_text("50\n")
    assert counter.used(before) == 150


def test_no_rapl_no_counter(tmp_path: Path) -> None:
    assert timing.rapl_counter(tmp_path) is None


def test_a_counter_without_wrap_only_grows() -> None:
    assert EnergyCounter("x", lambda: 7.0).used(3.0) == 4.0


def test_peak_memory_follows_an_allocation(tmp_path: Path) -> None:
    if not timing.reset_peak_memory():
        pytest.skip("this kernel does not let a process reset its high-water mark")
    before = timing.peak_memory()
    block = np.ones(30_000_000)
    after = timing.peak_memory()
    assert before is not None
    assert after is not None
    assert after.value - before.value > 0.8 * block.nbytes
    assert timing.peak_memory(tmp_path) is None


def test_the_machine_is_named() -> None:
    known = timing.machine()
    assert int(known["cpus_allowed"]) == len(known["affinity"].split(","))
    assert known["cpu"]
