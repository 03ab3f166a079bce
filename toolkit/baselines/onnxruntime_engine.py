"""ONNX Runtime as an engine: the same graph and code path on the CPU, CUDA and TensorRT providers.

Provider options: https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.baselines.engines import Request, Runner, engine, measured
from toolkit.baselines.onnx_graph import fused, initializer_bytes, onnx_model, optimized
from toolkit.baselines.timing import allowed_cpus
from toolkit.baselines.workload import count_macs
from toolkit.errors import ModelError, ToolNotFound
from toolkit.records import Array, BaselineRecord, Dataset, Figure
from toolkit.store import digest, store_root

if TYPE_CHECKING:
    import keras
    import onnx

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
BITS = {"float32": 32, "float16": 16, "int8": 8}


@engine("onnxruntime", precisions=tuple(BITS), providers=tuple(PROVIDERS))
def measure_onnxruntime(model: keras.Model, dataset: Dataset, request: Request) -> BaselineRecord:
    """ONNX Runtime with graph fusion; float16 and int8 (QDQ) as TensorRT would run them."""
    require_provider(request.provider)
    path = onnx_model(model, dataset, request.precision)
    return measured("onnxruntime", onnx_runner(path, model, request), dataset, request)


def require_provider(provider: str) -> None:
    """Raise ``ToolNotFound`` unless the installed ONNX Runtime has the provider."""
    import onnxruntime

    present = onnxruntime.get_available_providers()
    if PROVIDERS[provider] not in present:
        raise ToolNotFound(
            f"provider {provider} of onnxruntime needs {PROVIDERS[provider]} (the gpu extra on a machine with an "
            f"NVIDIA GPU); the installed onnxruntime {onnxruntime.__version__} has {', '.join(present)}"
        )


def onnx_runner(path: Path, model: keras.Model, request: Request) -> Runner:
    """A session ready to run, with what its optimizer fused."""
    import onnx

    threads = request.threads or allowed_cpus()
    session = open_session(path, request, threads)
    name = session.get_inputs()[0].name
    original = onnx.load(path)
    after = optimized(path)

    def run(images: Array) -> Array:
        logits: Array = session.run(None, {name: images})[0]
        return logits

    return Runner(
        run,
        request.provider,
        fused=fused(original, after),
        environment=session_environment(session, threads),
        figures=graph_figures(model, after, request.precision),
        notes=session_notes(request, len(original.graph.node), len(after.graph.node)),
    )


def open_session(path: Path, request: Request, threads: int) -> Any:
    """A session on one provider; raises ``ToolNotFound`` when it would run elsewhere."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    if request.provider == "cpu":
        # Without VNNI, x86 kernels for 8-bit activations and weights saturate their 16-bit sums: visibly
        # wrong logits. This takes slower kernels that do not (onnxruntime_session_options_config_keys.h).
        options.add_session_config_entry("session.x64quantprecision", "1")
    else:
        # A node that no GPU provider takes must stop the measurement, not slow it down unseen.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=provider_list(path, request))
    except onnxruntime.capi.onnxruntime_pybind11_state.Fail as error:
        raise ModelError(f"onnxruntime cannot run {path.name} on {request.provider}: {error}") from error
    used = session.get_providers()[0]
    if used != PROVIDERS[request.provider]:
        raise ToolNotFound(
            f"provider {request.provider} of onnxruntime is installed but did not start (its CUDA or TensorRT "
            f"libraries are missing or too old); it would have run on {used}"
        )
    return session


def provider_list(path: Path, request: Request) -> list[tuple[str, dict[str, str]]]:
    """The provider with its options; TensorRT leaves what it cannot take to CUDA."""
    if request.provider != "tensorrt":
        return [(PROVIDERS[request.provider], {})]
    return [(PROVIDERS["tensorrt"], tensorrt_options(path, request)), (PROVIDERS["cuda"], {})]


def tensorrt_options(path: Path, request: Request) -> dict[str, str]:
    """Precision flags, and engine and timing caches in the artifact store, keyed by the graph."""
    cache = store_root() / "tensorrt" / digest(path.read_bytes(), request.precision)
    cache.mkdir(parents=True, exist_ok=True)
    return {
        "trt_fp16_enable": str(request.precision == "float16"),
        "trt_int8_enable": str(request.precision == "int8"),
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(cache),
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(cache),
    }


def session_environment(session: Any, threads: int) -> Mapping[str, str]:
    import onnxruntime

    return {
        "onnxruntime_intra_op_threads": str(threads),
        "onnxruntime_providers": ", ".join(session.get_providers()),
        "onnxruntime_device": str(onnxruntime.get_device()),
    }


def graph_figures(model: keras.Model, after: onnx.ModelProto, precision: str) -> dict[str, Figure]:
    """Parameters, weight memory of the optimized graph, widths and multiply-accumulates, counted."""
    parameters = int(sum(np.prod(weight.shape) for weight in model.trainable_weights))
    width = Figure(BITS[precision], "bits", "counted")
    return {
        "parameters": Figure(parameters, "parameters", "counted", note="trainable"),
        "macs": Figure(count_macs(model), "MAC", "counted", note="per image"),
        "weight_bytes": Figure(initializer_bytes(after), "bytes", "counted", note="constants of the ONNX graph"),
        "weight_bits": width,
        "activation_bits": width,
    }


def session_notes(request: Request, before: int, after: int) -> tuple[str, ...]:
    notes = [f"graph optimization: {before} nodes became {after}"]
    if request.precision == "int8":
        notes.append("static QDQ quantization, symmetric int8, weights per channel, calibrated on training images")
    if request.precision == "float16" and request.provider == "cpu":
        notes.append("the CPU provider computes most float16 operations in float32 between casts")
    if request.provider != "cpu":
        notes.append("times include the copies to and from GPU memory")
    return tuple(notes)
