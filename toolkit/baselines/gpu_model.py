r"""An analytic GPU for machines without one: a roofline per fused kernel.

.. math:: t = \sum_k \left( \frac{C}{f} + \max\left(
          \frac{2\,\mathrm{MAC}_k B}{\epsilon\,P\,o_k}, \frac{\mathrm{bytes}_k}{W}\right) \right)

``C`` cycles of launch and drain at clock ``f``; ``P`` the dense peak at the precision; ``o_k`` the
share of the multiprocessors that output tiles of ``TILE`` keep busy; ``W`` the memory bandwidth.
Tensors that fit half the level-2 cache, and weights that fit it whole, cost ``CACHE_SHARE`` of their
bytes. ``C``, ``epsilon`` and the tile were fitted to the figures of ``gpu_published.toml``, and
``RATIOS`` are the smallest and largest model/published ratio there, which make the interval.
Host work and copies over PCIe are not in it.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from toolkit.baselines.engines import Request, engine, run_batches
from toolkit.baselines.evaluation import Evaluation, evaluate_on
from toolkit.baselines.gpus import Gpu, find_gpu, gpus
from toolkit.baselines.keras_engine import WEIGHT_BYTES, model_figures
from toolkit.baselines.workload import Kernel, fused_names, kernels
from toolkit.data import Dataset
from toolkit.errors import choose
from toolkit.records import BaselineRecord, Figure, Source
from toolkit.store import artifact, digest, package_versions, read_json, write_json

if TYPE_CHECKING:
    import keras

NAME = "gpu_model 1"
KERNEL_CYCLES = 7400.0
EFFICIENCY = 0.6
TILE = (64, 128)  # output positions by output channels of one thread block
CACHE_SHARE = 0.25
RATIOS = (0.62, 1.40)
IDLE_SHARE = 0.3  # least power at work, as a share of the board's limit
BYTES = {**WEIGHT_BYTES, "int8": 1}
PUBLISHED = "gpu_published.toml"


def provider_names() -> tuple[str, ...]:
    return tuple(gpus())


@engine("gpu_model", precisions=("float16", "float32", "int8"), providers=provider_names())
def measure_gpu_model(model: keras.Model, dataset: Dataset, request: Request) -> BaselineRecord:
    """A model of a GPU running TensorRT, from its data sheet; nothing runs on a GPU."""
    gpu, found = find_gpu(request.provider), kernels(model)
    times = {batch: batch_us(found, gpu, request.precision, batch) for batch in request.batches}
    best = max(times, key=lambda batch: batch / times[batch])
    judged = judged_elsewhere(model, dataset, request)
    first = request.batches[0]
    figures = {
        **model_figures(model, BYTES[request.precision]),
        **(judged.figures if judged else {}),
        **{f"latency_us_batch_{batch}": latency(time, gpu, batch) for batch, time in times.items()},
        "energy_uj": energy(times[best], gpu, best),
        "best_batch": Figure(best, "images", "model"),
    }
    return BaselineRecord(
        name=request.name,
        engine="gpu_model",
        precision=request.precision,
        provider=gpu.name,
        batch=first,
        latency_us=latency(times[first], gpu, first),
        throughput_hz=throughput(times[best], gpu, best),
        accuracy=judged.figures.get("accuracy") if judged else None,
        metric=judged.metric if judged else dataset.metric,
        fused=fused_names(found),
        environment={**package_versions(), "modelled_gpu": gpu.title, "modelled_gpu_data_sheet": gpu.source},
        test_digest=dataset.test_digest,
        figures=figures,
        notes=assumptions(gpu),
        confusion=judged.confusion if judged else (),
        class_names=judged.class_names if judged else (),
    )


def batch_us(found: Sequence[Kernel], gpu: Gpu, precision: str, batch: int) -> float:
    """Modelled time of one batch in us: the sum over kernels."""
    weights = sum(item.weight_elements for item in found) * BYTES[precision]
    cached = weights <= gpu.l2_mb * 1e6
    return sum(kernel_us(item, gpu, precision, batch, cached) for item in found)


def kernel_us(item: Kernel, gpu: Gpu, precision: str, batch: int, weights_cached: bool) -> float:
    """One kernel: launch plus the slower of arithmetic and memory."""
    arithmetic = 2 * item.macs * batch / (EFFICIENCY * gpu.peak(precision) * occupancy(item, gpu, batch))
    memory = traffic_bytes(item, gpu, precision, batch, weights_cached) / (gpu.bandwidth_gb_s * 1e9)
    return KERNEL_CYCLES / (gpu.clock_ghz * 1e3) + max(arithmetic, memory) * 1e6


def occupancy(item: Kernel, gpu: Gpu, batch: int) -> float:
    """Share of the multiprocessors that are busy: tiles over whole waves of multiprocessors."""
    tiles = math.ceil(item.rows * batch / TILE[0]) * math.ceil(item.columns / TILE[1])
    waves = math.ceil(tiles / gpu.multiprocessors)
    return tiles / (waves * gpu.multiprocessors)


def traffic_bytes(item: Kernel, gpu: Gpu, precision: str, batch: int, weights_cached: bool) -> float:
    """Bytes that cross the memory bus, those served by the level-2 cache at ``CACHE_SHARE``."""
    size, half = BYTES[precision], gpu.l2_mb * 1e6 / 2
    moved = [item.input_elements * batch * size, item.output_elements * batch * size]
    activations = sum(count if count > half else CACHE_SHARE * count for count in moved)
    return activations + item.weight_elements * size * (CACHE_SHARE if weights_cached else 1.0)


def latency(time_us: float, gpu: Gpu, batch: int) -> Figure:
    """Time of one batch with the interval that the published figures leave."""
    low, high = time_us / RATIOS[1], time_us / RATIOS[0]
    return Figure(
        time_us, "us", "model", low, high, f"{NAME}, {gpu.title}, batch {batch}; kernels only, no host, no PCIe"
    )


def throughput(time_us: float, gpu: Gpu, batch: int) -> Figure:
    rate = batch / time_us * 1e6
    return Figure(rate, "images/s", "model", rate * RATIOS[0], rate * RATIOS[1], f"{NAME}, {gpu.title}, batch {batch}")


def energy(time_us: float, gpu: Gpu, batch: int) -> Figure:
    """Board power times time per image; the low end at idle-like power."""
    full = gpu.power_w * time_us / batch
    note = f"{NAME}: board power limit {gpu.power_w:g} W times time, batch {batch}"
    return Figure(full, "uJ", "model", full * IDLE_SHARE / RATIOS[1], full / RATIOS[0], note)


def judged_elsewhere(model: keras.Model, dataset: Dataset, request: Request) -> Evaluation | None:
    """Accuracy of what the GPU would compute, from this CPU: Keras' logits, or the int8 QDQ graph's.

    Measured in float32 and int8; half precision is taken to be as accurate as float32, a model.
    """
    source: Source = "measured"
    if request.precision != "int8":
        logits, who = request.float_logits, "Keras in float32 on this machine's CPU"
        if request.precision != "float32":
            source, who = "model", f"{who}, which {request.precision} is taken to equal"
    else:
        from toolkit.baselines.onnx_graph import onnx_model
        from toolkit.baselines.onnxruntime_engine import onnx_runner

        path = onnx_model(model, dataset, "int8")
        runner = onnx_runner(path, model, Request("int8", "int8", "cpu", (1,), 1))
        logits, who = run_batches(runner, dataset.inputs("test")), "the same int8 QDQ graph in ONNX Runtime on the CPU"
    if logits is None:
        return None
    judged = evaluate_on(
        dataset,
        logits,
        source=source,
        engine="gpu_model",
        probabilities=request.probabilities,
        float_outputs=request.float_logits,
    )
    figures = {key: with_note(figure, who) for key, figure in judged.figures.items()}
    return Evaluation(**{**vars(judged), "figures": figures})


def with_note(figure: Figure, who: str) -> Figure:
    return Figure(**{**vars(figure), "note": f"{figure.note}; computed by {who}, not by the GPU"})


def assumptions(gpu: Gpu) -> tuple[str, ...]:
    """What the model takes for granted, and how far it was off where it could be checked."""
    checked = [item for item in published() if item.gpu == gpu.name]
    found = deviations(checked)
    known = f"checked on {len(found)} published figures" if found else "no published figure to check"
    return (
        f"{NAME}: {KERNEL_CYCLES:g} cycles a kernel, {EFFICIENCY:.0%} of the dense peak, "
        f"tiles of {TILE[0]} x {TILE[1]}; model/published between {RATIOS[0]:g} and {RATIOS[1]:g} on "
        f"{len(published())} int8 figures of all GPUs; {known} for this GPU",
        *map(str, found),
        "kernels only: no host work, no copies over PCIe",
    )


@dataclass(frozen=True)
class Published:
    """A published TensorRT figure: one batch of a Keras application model on a GPU."""

    model: str
    gpu: str
    batch: int
    latency_us: float
    citation: str
    precision: str = "int8"


@dataclass(frozen=True)
class Deviation:
    """The model against one published figure; ``deviation`` is model/published - 1."""

    published: Published
    modelled_us: float

    @property
    def deviation(self) -> float:
        return self.modelled_us / self.published.latency_us - 1

    def __str__(self) -> str:
        item = self.published
        return (
            f"{item.model} {item.precision} on {item.gpu}, batch {item.batch}: published {item.latency_us:,.0f} µs, "
            f"model {self.modelled_us:,.0f} µs, {self.deviation:+.0%} ({item.citation})"
        )


@cache
def published() -> tuple[Published, ...]:
    """The figures of ``gpu_published.toml``."""
    content = tomllib.loads((files("toolkit.baselines") / PUBLISHED).read_text())
    return tuple(
        Published(
            item["model"],
            item["gpu"],
            item["batch"],
            item["latency_us"] if "latency_us" in item else item["batch"] / item["throughput_hz"] * 1e6,
            item["citation"],
        )
        for item in content["figure"]
    )


def validate_gpu_model(models: Sequence[str] = ()) -> tuple[Deviation, ...]:
    """The model against every published figure, or those of some Keras application models."""
    for name in models:
        choose("model", name, {item.model for item in published()})
    return deviations([item for item in published() if not models or item.model in models])


def deviations(wanted: Sequence[Published]) -> tuple[Deviation, ...]:
    """The model against some published figures."""
    found = {name: application_kernels(name) for name in {item.model for item in wanted}}
    return tuple(
        Deviation(item, batch_us(found[item.model], find_gpu(item.gpu), item.precision, item.batch)) for item in wanted
    )


def application_kernels(name: str) -> tuple[Kernel, ...]:
    """Kernels of a Keras application model: built once (seconds), then read from the artifact store."""
    counting = (files("toolkit.baselines") / "workload.py").read_text()
    with artifact("kernels", digest(name, counting, package_versions())) as folder:
        if not folder.complete:
            import keras

            found = kernels(getattr(keras.applications, name)(weights=None))
            write_json(folder / "kernels.json", [vars(item) for item in found])
    stored = read_json(folder / "kernels.json")
    return tuple(Kernel(**{**item, "fused": tuple(item["fused"])}) for item in stored)
