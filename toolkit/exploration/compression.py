"""What pruning, narrow weights and distillation save: nonzeros, CSD digits, and the estimator's view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit import records
from toolkit.config import EstimateConfig, HlsConfig
from toolkit.hls.network import network_of
from toolkit.network import Graph
from toolkit.network.layers import Matrix
from toolkit.records import Estimate, Figure, HlsProject

if TYPE_CHECKING:
    import pandas

SAVED = ("lut", "ff", "dsp", "bram_18k", "energy_uj", "latency_cycles", "initiation_interval_cycles")


@dataclass(frozen=True)
class LayerCompression:
    """One layer's kernel: how many weights, how many are not zero, output channels left, CSD digits."""

    name: str
    weights: int
    nonzero: int
    channels: int
    live_channels: int
    csd_digits: int

    @property
    def sparsity(self) -> float:
        """Fraction of weights that are zero."""
        return 1 - self.nonzero / self.weights


@dataclass(frozen=True, eq=False)
class Compression:
    """A compressed design: its layers' counts, figures of the whole, and ratios against another design."""

    layers: tuple[LayerCompression, ...]
    figures: Mapping[str, Figure]
    reference: Mapping[str, Figure]  # the other design's figures; empty without one
    saved: Mapping[str, Figure]  # 1 - this / reference, by figure; empty without a reference

    def to_frame(self) -> pandas.DataFrame:
        """One row per layer."""
        import pandas

        return pandas.DataFrame([{**vars(layer), "sparsity": layer.sparsity} for layer in self.layers])


def counted_layers(graph: Graph | records.Graph) -> tuple[LayerCompression, ...]:
    """Counts of every layer with a kernel."""
    return tuple(counted_layer(layer) for layer in network_of(graph).layers if isinstance(layer, Matrix))


def counted_layer(layer: Matrix) -> LayerCompression:
    """Counts over the integers that the C++ holds, output channels last."""
    from toolkit.estimation.weights import csd_digits

    integers = layer.weight.integers
    per_channel = integers.reshape(-1, integers.shape[-1])
    return LayerCompression(
        name=layer.name,
        weights=integers.size,
        nonzero=int(np.count_nonzero(integers)),
        channels=per_channel.shape[1],
        live_channels=int((per_channel != 0).any(axis=0).sum()),
        csd_digits=int(csd_digits(integers.ravel()).sum()),
    )


def counted_weights(graph: Graph | records.Graph) -> dict[str, Figure]:
    """Nonzero weights and CSD digits of a whole graph."""
    if graph.digest not in COUNTS:
        layers = counted_layers(graph)
        while len(COUNTS) >= 64:
            COUNTS.pop(next(iter(COUNTS)))
        COUNTS[graph.digest] = summed(layers)
    return COUNTS[graph.digest]


COUNTS: dict[str, dict[str, Figure]] = {}


def summed(layers: tuple[LayerCompression, ...]) -> dict[str, Figure]:
    weights, nonzero = sum(layer.weights for layer in layers), sum(layer.nonzero for layer in layers)
    note = f"of {weights:,} weights" if weights else None
    digits = sum(layer.csd_digits for layer in layers)
    return {
        "nonzero_weights": Figure(nonzero, "", "counted", note=note),
        "csd_digits": Figure(digits, "", "counted", note="nonzero digits in canonical signed digit form"),
    }


def compression_figures(subject: Any, hls: HlsConfig | None = None, *, reference: Any = None) -> Compression:
    """What a model's or project's weights hold, what the estimator makes of it, and what it saves.

    ``subject`` and ``reference`` are an ``HlsProject``, or a Keras model with ``hls``. Under strategy
    Latency zeros and short constants need no multiplier, so pruning saves LUTs and DSPs; under Resource
    hls4ml's multipliers run over zeros too, and only channels that :func:`toolkit.training.compact` has
    removed save much: the ratios say so.
    """
    graph, estimated = examined(subject, hls)
    layers = counted_layers(graph)
    figures, other = figures_of(layers, estimated), {}
    if reference is not None:
        other_graph, other_estimate = examined(reference, hls)
        other = figures_of(counted_layers(other_graph), other_estimate)
    return Compression(layers, figures, other, ratios(figures, other))


def examined(subject: Any, hls: HlsConfig | None) -> tuple[records.Graph, Estimate]:
    """The graph and estimate of a project or model."""
    from toolkit.estimation import estimate
    from toolkit.hls.convert import convert
    from toolkit.hls.folder import as_project

    if hls is None and isinstance(subject, (str, Path)):
        subject = as_project(subject)
    config = EstimateConfig(fifo_simulation=False)
    if isinstance(subject, HlsProject):
        return subject.graph, estimate(subject, config)
    wanted = hls or HlsConfig()
    graph = convert(subject, wanted).graph
    return graph, estimate(graph, config, hls=wanted)


def figures_of(layers: tuple[LayerCompression, ...], estimated: Estimate) -> dict[str, Figure]:
    return {**summed(layers), **{name: getattr(estimated, name) for name in SAVED}}


def ratios(figures: Mapping[str, Figure], reference: Mapping[str, Figure]) -> dict[str, Figure]:
    """Share saved of each figure of the reference, 0 where that is 0."""
    return {
        name: Figure(1 - figures[name].value / other.value if other.value else 0.0, "fraction", figures[name].source)
        for name, other in reference.items()
    }
