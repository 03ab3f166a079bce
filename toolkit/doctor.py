"""What is installed on this machine, and what each missing thing costs."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

from toolkit.errors import ProcessError, install
from toolkit.process import find_tool, run
from toolkit.store import package_versions, store_root

VENDOR_TOOLS = ("vitis-run", "vitis_hls", "vivado_hls", "vivado")


@dataclass(frozen=True)
class Diagnosis:
    """One thing: whether it is here, what was found, and what its absence costs (``needed``: nothing works)."""

    name: str
    present: bool
    found: str
    cost: str
    needed: bool = False


def diagnose() -> tuple[Diagnosis, ...]:
    """Look at programs, accelerators, execution providers, packages and the artifact store."""
    return (
        diagnose_python(),
        diagnose_tool("g++", "--version", cost="no csim: emulation still works, nothing proves it", needed=True),
        *(diagnose_tool(name, None, cost="latency and resources are estimates") for name in VENDOR_TOOLS),
        diagnose_gpu(),
        *diagnose_providers(),
        diagnose_tool(
            "chromium", "--version", cost="browser tests of the report are skipped; reports are made without it"
        ),
        *diagnose_packages(),
        diagnose_extra("distributed", "cluster", cost="no sweep on a Dask cluster; local processes evaluate"),
        diagnose_extra("psycopg", "postgres", cost="no sweep's book on PostgreSQL; SQLite and journal files hold it"),
        diagnose_store(),
    )


def diagnose_python() -> Diagnosis:
    cores = os.cpu_count() or 1
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {cores} cores"
    return Diagnosis("python", True, found, "")


def diagnose_tool(name: str, version_flag: str | None, cost: str, needed: bool = False) -> Diagnosis:
    """A program: where it is and, if it can tell quickly, its version."""
    path = find_tool(name)
    if path is None:
        return Diagnosis(name, False, "not found", cost, needed)
    version = ""
    if version_flag:
        try:
            version = version_line(run([path, version_flag], timeout_s=20).output)
        except ProcessError:
            version = "does not tell its version, "
    return Diagnosis(name, True, f"{version}{path}", cost, needed)


def version_line(output: str) -> str:
    """The line of a program's ``--version`` output that names program and number."""
    named = (line.strip() for line in output.splitlines() if re.match(r"\s*[A-Za-z].*\d", line))
    line = next(named, "")
    return f"{line}, " if line else ""


def diagnose_gpu() -> Diagnosis:
    """CUDA GPUs, asked of the driver so that TensorFlow need not be imported."""
    cost = "training and float baselines run on the CPU; a GPU row is the analytic model's"
    path = find_tool("nvidia-smi")
    if path is None:
        return Diagnosis("CUDA GPU", False, "no NVIDIA driver", cost)
    try:
        names = run([path, "--query-gpu=name,driver_version", "--format=csv,noheader"], timeout_s=20).output.strip()
    except ProcessError:
        return Diagnosis("CUDA GPU", False, "nvidia-smi fails", cost)
    return Diagnosis("CUDA GPU", bool(names), names.replace("\n", "; ") or "none", cost)


def diagnose_providers() -> Iterator[Diagnosis]:
    """ONNX Runtime's execution providers."""
    import onnxruntime

    available = onnxruntime.get_available_providers()
    for short, cost in (
        ("CPU", "no onnxruntime baseline"),
        ("CUDA", f"no onnxruntime GPU baseline: {install('gpu')}"),
        ("Tensorrt", f"no TensorRT baseline: {install('gpu')}"),
    ):
        name = f"{short}ExecutionProvider"
        present = name in available
        found = f"onnxruntime {onnxruntime.__version__}" if present else "not in this onnxruntime"
        yield Diagnosis(f"ONNX Runtime {short}", present, found, cost)


def diagnose_packages() -> Iterator[Diagnosis]:
    for package, version in package_versions().items():
        yield Diagnosis(package, True, version, "")


def diagnose_extra(package: str, extra: str, cost: str) -> Diagnosis:
    """A package of one of our extras, which is not imported."""
    try:
        return Diagnosis(package, True, metadata.version(package), "")
    except metadata.PackageNotFoundError:
        return Diagnosis(package, False, "not installed", f"{cost} ({install(extra)})")


def diagnose_store() -> Diagnosis:
    root = store_root()
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    writable = os.access(existing, os.W_OK)
    cost = "nothing can be cached; set TOOLKIT_STORE to a writable folder"
    return Diagnosis("artifact store", writable, f"{root}{'' if writable else ' is not writable'}", cost, needed=True)
