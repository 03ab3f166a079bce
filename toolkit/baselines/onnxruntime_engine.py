"""ONNX Runtime as an engine: the same graph and code path on the CPU, CUDA and TensorRT providers.

Provider options: https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.baselines import timing
from toolkit.baselines.engines import Request, Runner, engine, measured
from toolkit.baselines.onnx_graph import fused, initializer_bytes, onnx_model, optimized
from toolkit.baselines.workload import count_macs
from toolkit.data import Dataset
from toolkit.errors import ModelError, ToolNotFound
from toolkit.quiet import silenced
from toolkit.records import Array, BaselineRecord, Figure
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

    load_gpu_libraries(provider)
    present = onnxruntime.get_available_providers()
    if PROVIDERS[provider] not in present:
        raise ToolNotFound(
            f"provider {provider} of onnxruntime needs {PROVIDERS[provider]} ({remedy()}); "
            f"the installed onnxruntime {onnxruntime.__version__} has {', '.join(present)}"
        )


def remedy() -> str:
    """How to get the GPU providers: the CPU package, installed beside the GPU's, takes its place."""
    try:
        version("onnxruntime-gpu")
    except PackageNotFoundError:
        return "the gpu extra on a machine with an NVIDIA GPU"
    return "onnxruntime hides onnxruntime-gpu: pip install --force-reinstall --no-deps onnxruntime-gpu"


def load_gpu_libraries(provider: str) -> None:
    """Load CUDA, cuDNN and TensorRT from their Python packages, where the dynamic loader does not look.

    https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#preload-dlls
    """
    import onnxruntime

    if provider == "cpu":
        return
    with silenced(), contextlib.suppress(OSError, AttributeError):  # before onnxruntime 1.21 there is none
        onnxruntime.preload_dlls()
    if provider == "tensorrt":
        with contextlib.suppress(ImportError):
            import_module("tensorrt")


def onnx_runner(path: Path, model: keras.Model, request: Request) -> Runner:
    """A session ready to run, with what its optimizer fused."""
    import onnx

    threads = request.threads or timing.allowed_cpus()
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
        gpu=request.provider != "cpu",
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
    except session_errors() as error:
        if request.provider == "cpu":
            words = " ".join(str(error).split())[:300]
            raise ModelError(
                f"onnxruntime cannot run {path.name}: {words}; leave out what it names, or measure the keras engine"
            ) from error
        raise ToolNotFound(
            f"provider {request.provider} of onnxruntime did not start (a CUDA or TensorRT library is missing or too "
            f"old) or cannot take the whole graph, and nothing else runs in its place: {error}"
        ) from error
    used = session.get_providers()[0]
    if used != PROVIDERS[request.provider]:
        raise ToolNotFound(
            f"provider {request.provider} of onnxruntime is installed but did not start (its CUDA or TensorRT "
            f"libraries are missing or too old); it would have run on {used}"
        )
    return session


def session_errors() -> tuple[type[Exception], ...]:
    """ONNX Runtime's exceptions, which share no class of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "EPFail", "EngineError", "RuntimeException", "InvalidGraph", "InvalidArgument", "NotImplemented")
    return tuple(getattr(state, name) for name in names)


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
        **(gpu_environment() if session.get_providers()[0] != PROVIDERS["cpu"] else {}),
    }


def gpu_environment() -> dict[str, str]:
    """The GPU's name and driver, and TensorRT's version, where they tell."""
    known = timing.gpu_names()
    with contextlib.suppress(PackageNotFoundError):
        known["tensorrt"] = version("tensorrt")
    return known


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
    if request.provider == "tensorrt" and request.precision == "float32":
        notes.append("TensorRT may compute float32 in TF32 on tensor cores")
    if request.provider != "cpu":
        notes.append("times include the copies to and from GPU memory")
    return tuple(notes)
