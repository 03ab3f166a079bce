"""The models to start from, and how models come in from files."""

from toolkit.zoo.files import SUFFIXES, keras_model, load_model, open_model
from toolkit.zoo.models import MODELS, build_model, zoo_model
from toolkit.zoo.quantizers import QAffine, is_quantized, precision_of
from toolkit.zoo.seeds import draw_weights
from toolkit.zoo.torch_modules import from_torch
from toolkit.zoo.torch_weights import load_torch_state_dict

__all__ = [
    "MODELS",
    "SUFFIXES",
    "QAffine",
    "build_model",
    "draw_weights",
    "from_torch",
    "is_quantized",
    "keras_model",
    "load_model",
    "load_torch_state_dict",
    "open_model",
    "precision_of",
    "zoo_model",
]
