"""Float and TensorRT-style engines on the same test images: measured here, or modelled for a GPU that is not."""

from toolkit.baselines.engines import ENGINES, Runner, engine, measure_baseline
from toolkit.baselines.evaluation import Evaluation, evaluate
from toolkit.baselines.gpus import GPUS, Gpu
from toolkit.baselines.workload import Kernel, count_macs, kernels

__all__ = [
    "ENGINES",
    "GPUS",
    "Evaluation",
    "Gpu",
    "Kernel",
    "Runner",
    "count_macs",
    "engine",
    "evaluate",
    "kernels",
    "measure_baseline",
]
