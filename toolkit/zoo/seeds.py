"""Explicit seeds: what a layer draws comes from a generator of its own, never from the process's.

Keras gives a layer that names no seed one from Python's generator, and draws from it in whatever order
threads come. Here each random part of each layer - initializer, dropout, noise - gets a seed from the
model's seed, the layer's place in the model and the part's place in the layer's configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from toolkit.store import digest


def seed_of(*parts: Any) -> int:
    """A seed for one purpose: 31 bits of a digest of what it is for."""
    return int(digest("seed", *parts), 16) % 2**31


def with_seeds(config: Any, *place: Any) -> Any:
    """A layer's configuration in which each part that names no seed has one of its own."""
    if isinstance(config, dict):
        return {
            key: seed_of(*place) if key == "seed" and value is None else with_seeds(value, *place, key)
            for key, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return type(config)(with_seeds(item, *place, index) for index, item in enumerate(config))
    return config


def seeded_copy(
    model: keras.Model, seed: int, change: Callable[[keras.Layer, dict[str, Any]], dict[str, Any]] | None = None
) -> keras.Model:
    """A model of new layers whose randomness all comes from ``seed``; ``change`` may alter their configurations."""
    places = {id(layer): place for place, layer in enumerate(model.layers)}

    def clone(layer: keras.Layer) -> keras.Layer:
        config = with_seeds(layer.get_config(), seed, places[id(layer)])
        return type(layer).from_config(change(layer, config) if change else config)

    return keras.models.clone_model(model, clone_function=clone)


def draw_weights(model: keras.Model, seed: int) -> None:
    """Give a model the initial weights of a seed, the same in every process and beside whatever else draws."""
    model.set_weights(seeded_copy(model, seed).get_weights())
