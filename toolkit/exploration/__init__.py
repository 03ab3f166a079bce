"""Design sweeps: spaces, Optuna studies, local and Dask workers, results."""

from toolkit.exploration.compression import Compression, compression_figures
from toolkit.exploration.planning import plan_sweep
from toolkit.exploration.report import write_sweep_report
from toolkit.exploration.results import (
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
from toolkit.exploration.run import sweep
from toolkit.exploration.space import Sweep, read_sweep

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
    "plan_sweep",
    "points_table",
    "points_text",
    "read_sweep",
    "sweep",
    "write_designs",
    "write_sweep_report",
]
