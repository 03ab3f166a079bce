"""Design sweeps: spaces, Optuna studies, local and Dask workers, results."""

import sys
from types import ModuleType
from typing import Any

from toolkit.sweep.compression import Compression, compression_figures
from toolkit.sweep.report import write_sweep_report
from toolkit.sweep.results import (
    Best,
    SweepResult,
    best,
    design_of,
    export,
    load_sweep,
    points_table,
    points_text,
    write_designs,
)
from toolkit.sweep.run import sweep
from toolkit.sweep.space import Sweep, read_sweep

__all__ = [
    "Best",
    "Compression",
    "Sweep",
    "SweepResult",
    "best",
    "compression_figures",
    "design_of",
    "export",
    "load_sweep",
    "points_table",
    "points_text",
    "read_sweep",
    "sweep",
    "write_designs",
    "write_sweep_report",
]


class CallableModule(ModuleType):
    """``toolkit.sweep`` is this package once it is imported, and by contract also the function ``tk.sweep(...)``."""

    def __call__(self, *arguments: Any, **options: Any) -> SweepResult:
        return sweep(*arguments, **options)


sys.modules[__name__].__class__ = CallableModule
