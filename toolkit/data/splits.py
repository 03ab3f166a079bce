"""Fixed, seeded, stratified splits: the same images in the same split on every machine, for ever."""

from __future__ import annotations

import numpy as np

from toolkit.records import Array

SPLIT_SEED = 20240229  # part of what a dataset is; a change makes every earlier result incomparable


def take_stratified(labels: Array, count: int, seed: int = SPLIT_SEED) -> tuple[Array, Array]:
    """Indices ``(rest, taken)``: ``count`` images with each class in proportion, both in random order."""
    generator = np.random.Generator(np.random.PCG64(seed))
    order = generator.permutation(len(labels))
    # Within each class, an image's rank as a fraction: taking the lowest takes every class in proportion.
    rank = np.empty(len(labels))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        rank[members] = (np.arange(len(members)) + 0.5) / len(members)
    taken = np.sort(np.argsort(rank, kind="stable")[:count])
    chosen = np.zeros(len(labels), bool)
    chosen[taken] = True
    return order[~chosen[order]], order[chosen[order]]


def take(total: int, count: int, seed: int) -> tuple[Array, Array]:
    """Indices ``(rest, taken)``: ``count`` of ``total`` samples, both in random order."""
    order = np.random.Generator(np.random.PCG64(seed)).permutation(total)
    return order[count:], order[:count]
