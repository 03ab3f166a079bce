"""Weights of PyTorch's MNIST example network into ``convnet``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from toolkit.errors import ModelError, install
from toolkit.records import Array

# Keras layers, in order, against the four weighted layers of the PyTorch definition:
# conv 5x5 1->10, conv 5x5 10->20, linear 320->50, linear 50->10.
LAYERS = ("conv1", "conv2", "dense1", "logits")


def load_torch_state_dict(source: str | Path | Mapping[str, Any], model: keras.Model) -> keras.Model:
    """A copy of ``convnet`` with the weights of the equivalent PyTorch module; logits agree to float rounding.

    ``source``: a ``state_dict`` (tensors or arrays) or a file of one, read with ``weights_only=True``.
    Layers are taken in order, whatever their names; PyTorch flattens channels first, Keras channels
    last, so the first dense kernel is permuted. Raises ``ModelError`` when shapes do not fit.
    """
    state = source if isinstance(source, Mapping) else read_state_dict(Path(source))
    pairs = weight_pairs(state)
    if len(pairs) != len(LAYERS):
        raise ModelError(f"convnet has {len(LAYERS)} layers with weights, the state_dict has {len(pairs)}")
    filled = keras.models.clone_model(model)
    channels_first = (filled.get_layer("conv2").filters, *filled.get_layer("flatten").input.shape[1:3])
    for name, (key, weight, bias) in zip(LAYERS, pairs, strict=True):
        set_weights(filled.get_layer(name), key, as_keras(weight, channels_first, first_dense=name == "dense1"), bias)
    return filled


def read_state_dict(path: Path) -> Mapping[str, Any]:
    """Read a ``state_dict`` file; raises ``ModelError`` without PyTorch, or when it holds more than tensors."""
    try:
        import torch
    except ImportError:
        raise ModelError(f"reading {path} needs PyTorch: {install('torch')}") from None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip, OS and runtime errors alike
        raise ModelError(
            f"{path} cannot be read as a PyTorch state_dict: {' '.join(str(error).split())[:300]}"
        ) from error
    if not isinstance(state, Mapping):
        raise ModelError(f"{path} must hold a state_dict (names to tensors), got {type(state).__name__}")
    return state


def weight_pairs(state: Mapping[str, Any]) -> list[tuple[str, Array, Array]]:
    """``(name, weight, bias)`` of each layer in the order of the ``state_dict``."""
    arrays = {
        key: np.asarray(value.detach().cpu() if hasattr(value, "detach") else value) for key, value in state.items()
    }
    names = [key.removesuffix(".weight") for key in arrays if key.endswith(".weight")]
    missing = [name for name in names if f"{name}.bias" not in arrays]
    if missing or not names:
        raise ModelError(f"the state_dict needs <layer>.weight and <layer>.bias, got {', '.join(arrays) or 'nothing'}")
    return [(name, arrays[f"{name}.weight"], arrays[f"{name}.bias"]) for name in names]


def as_keras(weight: Array, channels_first: tuple[int, ...], first_dense: bool) -> Array:
    """PyTorch's ``[out, in, h, w]`` or ``[out, in]`` as Keras' ``[h, w, in, out]`` or ``[in, out]``."""
    if weight.ndim == 4:
        return weight.transpose(2, 3, 1, 0)
    if first_dense and weight.shape[1] == np.prod(channels_first):
        weight = weight.reshape(-1, *channels_first).transpose(0, 2, 3, 1).reshape(len(weight), -1)
    return weight.T


def set_weights(layer: keras.Layer, key: str, kernel: Array, bias: Array) -> None:
    expected = [tuple(weight.shape) for weight in layer.weights]
    if [kernel.shape, bias.shape] != expected:
        raise ModelError(
            f'"{key}" of the state_dict does not fit layer {layer.name}: '
            f"kernel and bias must be {expected}, got {[kernel.shape, bias.shape]} (in Keras' order)"
        )
    layer.set_weights([kernel, bias])
