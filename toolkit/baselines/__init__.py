"""Float and TensorRT-style engines on the same test images: measured here, or modelled for a GPU that is not."""

from toolkit.baselines.engines import ENGINES, Runner, engine, measure_baseline
from toolkit.baselines.evaluation import Evaluation, evaluate
from toolkit.baselines.gpu_model import validate_gpu_model
from toolkit.baselines.gpus import Gpu, find_gpu, gpus
from toolkit.baselines.workload import Kernel, count_macs, kernels

__all__ = [
    "ENGINES",
    "Evaluation",
    "Gpu",
    "Kernel",
    "Runner",
    "count_macs",
    "engine",
    "evaluate",
    "find_gpu",
    "gpus",
    "kernels",
    "measure_baseline",
    "validate_gpu_model",
]
