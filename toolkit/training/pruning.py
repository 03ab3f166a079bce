"""L1 pruning. A weight that is exactly zero is pruned, and stays zero in every further training.

So the mask is in the weights themselves: it survives saving, folding and quantization.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from toolkit.config import PruneConfig
from toolkit.errors import ConfigError
from toolkit.records import Array, Figure

KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")


@dataclass(frozen=True, eq=False)
class Prunable:
    """A kernel, the bias of the same channels if any, and how the kernel's axes map to output channels."""

    layer: str
    kernel: Any
    bias: Any
    is_output: bool


class Masked(keras.constraints.Constraint):  # type: ignore[misc]
    """Zero where a mask is zero, after the constraint that was there before."""

    def __init__(self, mask: keras.Variable, before: Any) -> None:
        self.mask = mask
        self.before = before

    def __call__(self, weights: Any) -> Any:
        kept = self.before(weights) if self.before is not None else weights
        return kept * ops.cast(self.mask, kept.dtype)


def prunable(model: keras.Model) -> list[Prunable]:
    """The kernels of a model, in order; the last one computes the output."""
    found = []
    for layer in model.layers:
        for name in KERNELS:
            kernel = getattr(layer, name, None)
            if kernel is not None and len(kernel.shape) >= 2:
                bias = (
                    getattr(layer, "bias", None)
                    if name != "depthwise_kernel" or not hasattr(layer, "pointwise_kernel")
                    else None
                )
                found.append(Prunable(layer.name, kernel, bias, False))
    return [*found[:-1], *(Prunable(item.layer, item.kernel, item.bias, True) for item in found[-1:])]


def install_masks(items: Sequence[Prunable]) -> dict[str, keras.Variable]:
    """Hold what is zero now at zero; returns the mask of each kernel and bias, to be made sparser later."""
    masks: dict[str, keras.Variable] = {}
    for item in items:
        kernel = np.asarray(item.kernel)
        masks[item.kernel.path] = hold(item.kernel, kernel != 0)
        if item.bias is not None:
            masks[item.bias.path] = hold(item.bias, channel_mask(kernel, item.bias.shape[0]))
    return masks


def hold(weights: Any, kept: Array) -> keras.Variable:
    mask = keras.Variable(kept.astype(np.float32), trainable=False, dtype="float32")
    weights.constraint = Masked(mask, weights.constraint)
    return mask


def channel_mask(kernel: Array, channels: int) -> Array:
    """Which output channels have any weight left; all, when the kernel is zero everywhere (not trained yet)."""
    alive = (kernel.reshape(-1, channels) != 0).any(axis=0) if kernel.any() else np.ones(channels, bool)
    return np.asarray(alive)


def has_zeros(items: Sequence[Prunable]) -> bool:
    """Whether any kernel has been pruned."""
    return any(0 < np.count_nonzero(np.asarray(item.kernel)) < np.asarray(item.kernel).size for item in items)


def sparsity_at(config: PruneConfig, epoch: int) -> float:
    """Fraction pruned from this epoch on: 0 before ``begin_epoch``, then cubic up to ``end_epoch``.

    ``s * (1 - (1 - progress)**3)`` (Zhu and Gupta, "To prune, or not to prune", 2017).
    """
    if epoch < config.begin_epoch:
        return 0.0
    duration = config.end_epoch - config.begin_epoch
    progress = min(1.0, (epoch - config.begin_epoch + 1) / (duration + 1)) if duration > 0 else 1.0
    return config.sparsity * (1 - (1 - progress) ** 3)


def prune(items: Sequence[Prunable], config: PruneConfig, sparsity: float) -> None:
    """Set the smallest weights (or channels) to zero so that this fraction is zero; zeros stay among them."""
    chosen = [item for item in items if config.structure == "unstructured" or not item.is_output]
    scores = [score(np.asarray(item.kernel, np.float64), config.structure) for item in chosen]
    limits = thresholds(scores, sparsity, config.scope)
    for item, scored, cut in zip(chosen, scores, limits, strict=True):
        kept = scored > cut if cut is not None else np.ones(scored.shape, bool)
        zero_out(item, kept)


def score(kernel: Array, structure: str) -> Array:
    """What is ranked: magnitudes, or the mean magnitude of each output channel."""
    magnitude = np.abs(kernel)
    return magnitude if structure == "unstructured" else magnitude.reshape(-1, kernel.shape[-1]).mean(axis=0)


def thresholds(scores: Sequence[Array], sparsity: float, scope: str) -> list[float | None]:
    """The largest score that goes, per kernel; ``None`` where nothing goes."""
    if scope == "layer":
        return [largest_pruned(scored.ravel(), sparsity) for scored in scores]
    whole = largest_pruned(np.concatenate([scored.ravel() for scored in scores]), sparsity) if scores else None
    return [whole] * len(scores)


def largest_pruned(scored: Array, sparsity: float) -> float | None:
    count = round(sparsity * scored.size)
    return float(np.partition(scored, count - 1)[count - 1]) if count else None


def zero_out(item: Prunable, kept: Array) -> None:
    """Zero a kernel's weights, or whole channels with their bias; a kernel never loses its last channel."""
    kernel = np.asarray(item.kernel)
    if kept.shape == kernel.shape:
        item.kernel.assign(kernel * kept)
        return
    if not kept.any():
        kept[np.argmax(score(kernel, "channel"))] = True
    item.kernel.assign(kernel * kept)
    if item.bias is not None and item.bias.shape[0] == kept.size:
        item.bias.assign(np.asarray(item.bias) * kept)


def update_masks(items: Sequence[Prunable], masks: dict[str, keras.Variable]) -> None:
    """Make masks what the weights now say."""
    for item in items:
        kernel = np.asarray(item.kernel)
        masks[item.kernel.path].assign((kernel != 0).astype(np.float32))
        if item.bias is not None:
            masks[item.bias.path].assign(channel_mask(kernel, item.bias.shape[0]).astype(np.float32))


def sparsity_of(model: keras.Model) -> dict[str, float]:
    """Fraction of zero weights of each layer with a kernel."""
    kernels: dict[str, list[Array]] = {}
    for item in prunable(model):
        kernels.setdefault(item.layer, []).append(np.asarray(item.kernel))
    return {name: 1 - nonzero(found) / sum(kernel.size for kernel in found) for name, found in kernels.items()}


def nonzero_weights(model: keras.Model) -> Figure:
    """How many of a model's kernel weights are not zero."""
    kernels = [np.asarray(item.kernel) for item in prunable(model)]
    return Figure(nonzero(kernels), "", "counted", note=f"of {sum(kernel.size for kernel in kernels):,} weights")


def nonzero(kernels: Sequence[Array]) -> int:
    return sum(int(np.count_nonzero(kernel)) for kernel in kernels)


def check_schedule(config: PruneConfig, epochs: int) -> None:
    """Raise ``ConfigError`` for a schedule that would not be over when the training is."""
    last = max(config.begin_epoch, config.end_epoch)
    if last >= epochs:
        raise ConfigError(
            f"prune.begin_epoch and prune.end_epoch must lie below epochs = {epochs} (the first epoch is 0), "
            f"got {last}: the sparsity of {config.sparsity:g} would not be reached"
        )
