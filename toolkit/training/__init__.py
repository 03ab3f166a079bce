"""Float training, quantization, quantization-aware training, pruning, distillation, folding."""

from toolkit.training.fold import fold
from toolkit.training.quantize import quantize

__all__ = ["fold", "quantize"]
