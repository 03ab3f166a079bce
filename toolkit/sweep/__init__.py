"""Design sweeps: spaces, Optuna studies, local and Dask workers, results."""

from toolkit.sweep.results import Best, SweepResult, best, design_of, export, load_sweep, points_table, write_designs
from toolkit.sweep.run import sweep
from toolkit.sweep.space import Sweep, read_sweep

__all__ = [
    "Best",
    "Sweep",
    "SweepResult",
    "best",
    "design_of",
    "export",
    "load_sweep",
    "points_table",
    "read_sweep",
    "sweep",
    "write_designs",
]
