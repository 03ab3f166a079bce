"""What names an artifact: a digest of everything that determines it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

# Packages whose version can change bits or figures; part of every record's environment.
RECORDED_PACKAGES = ("tensorflow", "keras", "qkeras-v3", "hls4ml", "numpy", "onnxruntime")

VECTOR_FLAGS = ("sse4", "avx", "fma", "amx", "asimd", "sve")
ARITHMETIC_SWITCHES = ("TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA", "XLA_FLAGS", "NVIDIA_TF32_OVERRIDE")


def digest(*parts: Any) -> str:
    """16 hex digits over values: JSON types, paths, arrays (dtype, shape, bytes), dataclasses and pydantic models."""
    state = hashlib.blake2b(digest_size=8)
    for part in parts:
        feed(state, part)
    return state.hexdigest()


def feed(state: hashlib.blake2b, part: Any) -> None:
    """Add one value to a hash, with a type tag so that neighbours cannot run together."""
    match part:
        case np.ndarray():
            if part.dtype.hasobject:
                raise TypeError("a digest must not depend on an array of objects")
            state.update(f"array {part.dtype.str} {part.shape};".encode())
            state.update(np.ascontiguousarray(part).tobytes())
        case bytes():
            state.update(f"bytes {len(part)};".encode() + part)
        case BaseModel():
            feed(state, part.model_dump(mode="json"))
        case Mapping():
            state.update(f"mapping {len(part)};".encode())
            for key in sorted(part, key=str):
                feed(state, str(key))
                feed(state, part[key])
        case list() | tuple():
            state.update(f"sequence {len(part)};".encode())
            for item in part:
                feed(state, item)
        case _ if is_dataclass(part):
            feed(state, {item.name: getattr(part, item.name) for item in fields(part)})
        case _:
            state.update(f"{json.dumps(part, default=plain)};".encode())


def plain(value: Any) -> str:
    """How values that JSON lacks are spelled; what has no spelling of its own would be another in each process."""
    if isinstance(value, Path | Enum | np.generic):
        return str(value)
    raise TypeError(f"a digest must not depend on a {type(value).__name__}: {value!r}")


def float_arithmetic(threads: int | None = None) -> dict[str, Any]:
    """What, beside versions, decides the last bits of TensorFlow's sums: processor, threads, GPUs.

    ``threads`` are those it will be given; without, those it has or would take.
    """
    switches = {name: os.environ[name] for name in ARITHMETIC_SWITCHES if name in os.environ}
    return {**processor(), "threads": threads or tensorflow_threads(), "gpus": visible_gpus(), **switches}


def tensorflow_threads() -> int:
    """Threads within one operation: what TensorFlow was given, else its variable, else a core each."""
    tensorflow = sys.modules.get("tensorflow")
    settings = getattr(tensorflow, "config", None)  # absent while TensorFlow is being imported
    given = settings.threading.get_intra_op_parallelism_threads() if settings else 0
    return given or int(os.environ.get("TF_NUM_INTRAOP_THREADS") or 0) or len(os.sched_getaffinity(0))


@cache
def processor() -> dict[str, Any]:
    """Name, caches and vector instructions of the first processor, which choose kernels and their blocking."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return {"processor": platform.processor() or platform.machine()}
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = (facts.get("flags") or facts.get("Features", "")).split()
    vectors = sorted(flag for flag in flags if flag.startswith(VECTOR_FLAGS))
    return {"processor": facts.get("model name", platform.machine()), "cache": facts.get("cache size"), "has": vectors}


def visible_gpus() -> list[str]:
    """Names of the NVIDIA GPUs of this machine, as the driver tells them, unless they are hidden from CUDA."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return []
    told = [path.read_text() for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))]
    return [line.partition(":")[2].strip() for text in told for line in text.splitlines() if line.startswith("Model:")]


@cache
def package_versions() -> dict[str, str]:
    """Versions of toolkit and of the packages that decide bits and figures; missing ones left out."""
    versions = {}
    for package in ("toolkit", *RECORDED_PACKAGES):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
