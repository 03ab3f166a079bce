"""``toolkit bench emulator``: the emulator beside csim and float inference, in one process, on this machine.

Every speed is the median of several rounds; in each round all contenders run one after the other, so
that a busy moment of the machine hits them alike. Weights and images are random: speed does not depend
on them.
"""

from __future__ import annotations

import contextlib
import io
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.config import HlsConfig, QuantConfig
from toolkit.emulation.emulator import Emulator, emulate
from toolkit.quiet import silenced
from toolkit.records import Figure
from toolkit.store import package_versions, store_at

Array = npt.NDArray[Any]
Contender = tuple[Callable[[], Any], int]  # what to time, and how many images it predicts

ROUNDS = 5
BUILD_ROUNDS = 3
WIDTHS_BITS = (6, 8, 12, 16)
CASES = (*(("cifar10_cnn", bits) for bits in WIDTHS_BITS), ("convnet", 6))
INPUT_SHAPES = {"cifar10_cnn": (32, 32, 3), "convnet": (28, 28, 1)}
IMAGES = 2000
CSIM_IMAGES = {"ours": 64, "hls4ml": 16}
MEMORY_IMAGES = 10_000
FLOAT_BATCH = 64
MATRIX_PRODUCT = "matrix product"
MATRIX_SIZE = 2048
# The design csim is compared on: io_stream with a reuse factor that csim compiles fast.
DESIGN = HlsConfig(io_type="io_stream", strategy="Resource", reuse_factor=64, invalid_reuse_factor="nearest")


@dataclass(frozen=True)
class BenchRow:
    """One contender on one model: images per second, and how many times slower than the emulator it is."""

    model: str
    bits: int
    engine: str
    cores: int
    throughput_hz: Figure
    emulator_times_faster: float
    gflops: float
    peak_percent: float


@dataclass(frozen=True)
class EmulatorBench:
    """What was measured: speeds, seconds to the first prediction, memory, the machine's peak."""

    rows: tuple[BenchRow, ...]
    first_prediction_s: Mapping[str, Figure]  # from a Keras model, hls4ml's conversion included
    build_s: Mapping[str, Figure]  # from a written project to a library that can be called
    memory_mib: Figure  # above the images, for 10,000 of them
    peak_gflops: Figure  # the best of all races
    environment: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON types."""
        return asdict(self)


def bench_emulator(
    *,
    cases: Sequence[tuple[str, int]] = CASES,
    with_csim: Callable[[str, int], bool] = lambda model, bits: (model, bits) == ("cifar10_cnn", 6),
    rounds: int = ROUNDS,
) -> EmulatorBench:
    """Measure all cases; csim (two compiles) only where ``with_csim`` says so."""
    rows: list[BenchRow] = []
    first: dict[str, Figure] = {}
    builds: dict[str, Figure] = {}
    peaks: list[Figure] = []
    memory = Figure(0, "MiB", "measured")
    for name, bits in cases:
        float_model, model, images = make_case(name, bits)
        first[f"{name} {bits} bits"] = time_first_prediction(model, images, rounds)
        emulator = emulate(model, DESIGN)
        contenders: dict[str, Contender] = {
            "emulator": (partial(emulator.predict, images), len(images)),
            "onnxruntime float32": float_contender(float_model, images),
        }
        with contextlib.ExitStack() as stack:
            if with_csim(name, bits):
                builds |= {f"{engine}, {name} {bits} bits": took for engine, took in race_builds(model).items()}
                contenders |= stack.enter_context(csim_contenders(model, images))
            calls = {engine: call for engine, (call, _) in contenders.items()}
            seconds = race({MATRIX_PRODUCT: matrix_product(), **calls}, rounds)
        peaks.append(peak_of(seconds.pop(MATRIX_PRODUCT)))
        counts = {engine: count for engine, (_, count) in contenders.items()}
        rows += make_rows(name, bits, seconds, counts, count_flops(float_model), peaks[-1].value)
        if (name, bits) == cases[0]:
            memory = measure_memory(emulator, images.shape[1:])
    return EmulatorBench(tuple(rows), first, builds, memory, max(peaks, key=lambda peak: peak.value), environment())


def make_case(name: str, bits: int) -> tuple[Any, Any, Array]:
    """A float model, its quantized form and images; both called once."""
    import keras

    from toolkit.training import quantize
    from toolkit.zoo import build_model

    keras.utils.set_random_seed(0)
    shape = INPUT_SHAPES[name]
    images = np.random.default_rng(0).random((IMAGES, *shape)).astype(np.float32)
    float_model = build_model(name, input_shape=shape, classes=10)
    model = quantize(float_model, QuantConfig(weight_bits=bits, activation_bits=bits), images[:256])
    for one in (float_model, model):
        one.predict(images[:2], verbose=0)
    return float_model, model, images


def time_first_prediction(model: Any, images: Array, rounds: int) -> Figure:
    """Seconds from a Keras model to the first answer: conversion, proof, session, one image.

    The first time also imports hls4ml and its handlers; ``high`` is that one, the value the median.
    """
    seconds = []
    for _ in range(rounds):
        begun = time.perf_counter()
        emulate(model, DESIGN).predict(images[:1])
        seconds.append(time.perf_counter() - begun)
    note = f"median of {rounds}; the first, with its imports, took {seconds[0]:.2f} s"
    return Figure(statistics.median(seconds), "s", "measured", min(seconds), max(seconds), note)


def float_contender(model: Any, images: Array) -> Contender:
    """ONNX Runtime's float inference of the same network on all cores."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.onnx"
        with silenced():
            model.export(str(path), format="onnx", verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = cores()
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    batches = [images[start : start + FLOAT_BATCH] for start in range(0, len(images), FLOAT_BATCH)]
    return (lambda: [session.run(None, {name: batch}) for batch in batches]), len(images)


@contextlib.contextmanager
def csim_contenders(model: Any, images: Array) -> Iterator[dict[str, Contender]]:
    """Our csim on all cores, and hls4ml's own ``predict`` as it ships it."""
    from toolkit.hls.convert import convert
    from toolkit.hls.csim import build_csim
    from toolkit.hls.project import write_project

    with tempfile.TemporaryDirectory() as folder:
        ours = build_csim(write_project(model, DESIGN, Path(folder) / "ours"))
        theirs = convert(model, DESIGN).model_graph
        theirs.config.config["OutputDir"] = str(Path(folder) / "hls4ml")
        with contextlib.redirect_stdout(io.StringIO()):
            theirs.compile()
        few, fewer = images[: CSIM_IMAGES["ours"]], np.ascontiguousarray(images[: CSIM_IMAGES["hls4ml"]])
        yield {
            "csim, all cores": (lambda: ours.predict(few), len(few)),
            "hls4ml predict, one core": (lambda: theirs.predict(fewer), len(fewer)),
        }


def race_builds(model: Any) -> dict[str, Figure]:
    """Seconds hls4ml's build script and our csim take for the same project, in turns, nothing reused.

    Our first build also compiles hls4ml's headers, once per compiler and hls4ml version.
    """
    from toolkit.hls.convert import convert
    from toolkit.hls.csim import build_csim
    from toolkit.hls.project import write_project

    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        root = Path(folder)
        theirs = convert(model, DESIGN).model_graph
        theirs.config.config["OutputDir"] = str(root / "hls4ml")
        theirs.write()
        for index in range(BUILD_ROUNDS):
            project = write_project(model, DESIGN, root / "ours")
            calls = {
                "hls4ml build": partial(theirs.config.backend.compile, theirs),
                "csim build, first of all": partial(build_csim, project),
                "csim build": partial(build_csim, project),
            }
            for engine, call in calls.items():
                with store_at(root / f"store{index}"):
                    begun = time.perf_counter()
                    call()
                    seconds.setdefault(engine, []).append(time.perf_counter() - begun)
                    shutil.rmtree(root / f"store{index}" / "csim", ignore_errors=True)  # the headers stay
    return {
        engine: Figure(statistics.median(times), "s", "measured", min(times), max(times), f"median of {len(times)}")
        for engine, times in seconds.items()
    }


def race(contenders: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every round of every contender, after one call to warm up."""
    seconds: dict[str, list[float]] = {engine: [] for engine in contenders}
    for call in contenders.values():
        call()
    for _ in range(rounds):
        for engine, call in contenders.items():
            begun = time.perf_counter()
            call()
            seconds[engine].append(time.perf_counter() - begun)
    return seconds


def make_rows(
    name: str,
    bits: int,
    seconds: Mapping[str, Sequence[float]],
    counts: Mapping[str, int],
    flops: int,
    peak_gflops: float,
) -> list[BenchRow]:
    speeds = {engine: counts[engine] / statistics.median(times) for engine, times in seconds.items()}
    rows = []
    for engine, times in seconds.items():
        low, high = counts[engine] / max(times), counts[engine] / min(times)
        note = f"median of {len(times)} rounds of {counts[engine]} images"
        figure = Figure(speeds[engine], "images/s", "measured", low, high, note)
        gflops = flops * speeds[engine] / 1e9
        used = 1 if "one core" in engine else cores()
        faster = speeds["emulator"] / speeds[engine]
        rows.append(BenchRow(name, bits, engine, used, figure, faster, gflops, 100 * gflops / peak_gflops))
    return rows


def count_flops(model: Any) -> int:
    """Floating-point operations per image of the convolutions and dense layers: two per product."""
    total = 0
    for layer in model.layers:
        if type(layer).__name__ in ("Conv2D", "Dense"):
            positions = int(np.prod(layer.output.shape[1:-1]))
            total += 2 * positions * int(np.prod(layer.kernel.shape))
    return total


def matrix_product() -> Callable[[], Any]:
    """A float32 matrix product on all cores: what this machine reaches where nothing but sums is asked of it."""
    left = np.random.default_rng(0).random((MATRIX_SIZE, MATRIX_SIZE)).astype(np.float32)
    return lambda: left @ left


def peak_of(seconds: Sequence[float]) -> Figure:
    """GFLOP/s of the fastest matrix product of a race; the peak its contenders are held against."""
    note = f"{MATRIX_SIZE} x {MATRIX_SIZE} float32 matrix product, best of {len(seconds)}"
    return Figure(2 * MATRIX_SIZE**3 / min(seconds) / 1e9, "GFLOP/s", "measured", note=note)


def measure_memory(emulator: Emulator, shape: tuple[int, ...]) -> Figure:
    """Peak memory of predicting 10,000 images, above what is there when the images are."""
    images = np.random.default_rng(0).random((MEMORY_IMAGES, *shape), np.float32)
    before = read_memory_kib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    emulator.predict(images)
    return Figure((read_memory_kib("VmHWM") - before) / 1024, "MiB", "measured", note=f"{MEMORY_IMAGES:,} images")


def read_memory_kib(field: str) -> int:
    """``VmRSS`` (now) or ``VmHWM`` (peak) of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def environment() -> dict[str, str]:
    """Versions, processor and cores."""
    processor = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    return {**package_versions(), "processor": processor, "cores": str(cores())}
