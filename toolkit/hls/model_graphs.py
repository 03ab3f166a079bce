"""A finished hls4ml ``ModelGraph`` as a design: everything is decided, nothing is changed."""

from __future__ import annotations

import sys
from typing import Any

from toolkit.config import HlsConfig
from toolkit.errors import ConfigError, UnsupportedLayer, choose
from toolkit.hls.conversion import Conversion, Reference, keras_reference
from toolkit.hls.graph import read_graph

BACKENDS = ("Vitis", "Vivado")


def is_model_graph(model: Any) -> bool:
    """Whether this is hls4ml's own graph; whoever holds one has imported hls4ml."""
    graphs = sys.modules.get("hls4ml.model.graph")
    return graphs is not None and isinstance(model, graphs.ModelGraph)


def convert_model_graph(model_graph: Any, config: HlsConfig) -> Conversion:
    """The design that a ``ModelGraph`` is.

    Raises ``ConfigError`` where ``config`` says something else than the graph was made with (compare
    :func:`config_of`), ``HlsError`` for types that are not fixed point.
    """
    made_with = config_of(model_graph)
    for key in ("backend", "part", "clock_period_ns", "io_type"):
        asked, made = getattr(config, key), getattr(made_with, key)
        if asked != made:
            raise ConfigError(f"hls.{key}: the ModelGraph was made with {made}, got {asked}; convert its model again")
    if config.layers or config.fifo_depths or config.precision:
        raise ConfigError("hls.layers, hls.fifo_depths and hls.precision decide nothing in a finished ModelGraph")
    return Conversion(model_graph, read_graph(model_graph), reference_of(model_graph), "", ())


def config_of(model_graph: Any) -> HlsConfig:
    """The backend, part, clock, io type, strategy and reuse factor a ``ModelGraph`` was made with."""
    settings = model_graph.config.config
    backend = choose("backend", str(settings["Backend"]), BACKENDS)
    model = settings.get("HLSConfig", {}).get("Model", {})
    strategies = {"latency": "Latency", "resource": "Resource", "distributed_arithmetic": "distributed_arithmetic"}
    strategy = str(model.get("Strategy", "Latency"))
    if strategy.lower() not in strategies:
        raise UnsupportedLayer(f"strategy must be {', '.join(strategies.values())}, got {strategy} in the ModelGraph")
    return HlsConfig(
        backend=backend,
        part=settings["Part"],
        clock_period_ns=float(settings["ClockPeriod"]),
        io_type=settings["IOType"],
        strategy=strategies[strategy.lower()],
        reuse_factor=int(model.get("ReuseFactor", 1)),
    )


def reference_of(model_graph: Any) -> Reference | None:
    """The Keras model that hls4ml kept beside the graph, if any."""
    keras = sys.modules.get("keras")
    model = model_graph.config.config.get("KerasModel")
    return keras_reference(model) if keras is not None and isinstance(model, keras.Model) else None
