"""Float training, quantization, quantization-aware training, pruning, distillation, folding."""

from toolkit.training.compact import compact
from toolkit.training.fold import fold
from toolkit.training.pruning import nonzero_weights, sparsity_of
from toolkit.training.quantize import quantize
from toolkit.training.saving import load_record, save_record
from toolkit.training.train import measure, merit_on, predict, train

__all__ = [
    "compact",
    "fold",
    "load_record",
    "measure",
    "merit_on",
    "nonzero_weights",
    "predict",
    "quantize",
    "save_record",
    "sparsity_of",
    "train",
]
