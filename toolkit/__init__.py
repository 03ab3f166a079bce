"""Decide, before any hardware is touched, what a neural network will do on an FPGA.

``import toolkit as tk`` is quick: public names are loaded from their modules on first use, so
TensorFlow and hls4ml are imported only by the stages that need them.
"""

from __future__ import annotations

import importlib
from typing import Any

from toolkit.quiet import quiet_tensorflow

__version__ = "0.2.0.dev0"

PUBLIC = {
    "toolkit.config": (
        "AugmentationConfig",
        "BaselineConfig",
        "DatasetConfig",
        "DesignConfig",
        "DesignFile",
        "EstimateConfig",
        "HlsConfig",
        "LayerHlsConfig",
        "LayerQuantConfig",
        "ModelConfig",
        "PruneConfig",
        "QuantConfig",
        "TaskConfig",
        "TrainConfig",
        "load_design",
    ),
    "toolkit.errors": ("ToolkitError",),
    "toolkit.precision": ("Overflow", "Precision", "Rounding"),
    "toolkit.records": ("Figure", "TrainRecord", "HlsProject", "CheckResult", "Estimate", "BaselineRecord"),
    "toolkit.data": ("Dataset", "load_dataset"),
    "toolkit.zoo": ("build_model", "from_torch", "load_model"),
    "toolkit.training": ("compact", "fold", "quantize", "train"),
    "toolkit.hls": ("build_csim", "check", "lint", "load_project", "open_project", "write_project"),
    "toolkit.emulation": ("emulate", "prove"),
    "toolkit.estimation": ("estimate",),
    "toolkit.baselines": ("measure_baseline",),
    "toolkit.comparison": ("compare", "diff", "load_comparison", "write_report"),
    "toolkit.pipeline": ("run_design",),
    "toolkit.exploration": ("compression_figures", "sweep"),
}
HOME = {name: module for module, names in PUBLIC.items() for name in names}

__all__ = sorted(HOME)  # pyright: ignore


def __getattr__(name: str) -> Any:
    if name in HOME:
        quiet_tensorflow()
        return getattr(importlib.import_module(HOME[name]), name)
    raise AttributeError(f"module 'toolkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
