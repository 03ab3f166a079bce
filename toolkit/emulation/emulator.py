"""The bit-exact emulator: csim's answers without a compiler."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit import records
from toolkit.arguments import instance
from toolkit.config import HlsConfig
from toolkit.emulation.builder import Tally
from toolkit.emulation.compile import Compiled, Result, compile_network
from toolkit.emulation.engine import Engine, make_engine
from toolkit.errors import ConfigError, DataError
from toolkit.hls.folder import as_project
from toolkit.hls.network import network_of
from toolkit.hls.project import channels_hint
from toolkit.network import Graph
from toolkit.records import HlsProject, LayerProfile

Array = npt.NDArray[Any]


def emulate(project: Any, config: HlsConfig | None = None) -> Emulator:
    """The emulator of an ``HlsProject`` or its folder, a network, or a Keras model with an ``HlsConfig``.

    A model is converted by hls4ml but nothing is written. Raises ``UnsupportedLayer`` for a layer that
    cannot be computed exactly.
    """
    if config is None and isinstance(project, (str, Path)):
        project = as_project(project)
    if isinstance(project, HlsProject | records.Graph | Graph):
        return Emulator(network_of(project))
    if config is None:
        raise ConfigError(f"emulating a model needs an HlsConfig, got a {type(project).__name__} alone")
    instance("the configuration", config, HlsConfig)
    from toolkit.hls.convert import convert

    return Emulator(network_of(convert(project, config).graph))


class Emulator:
    """A network's arithmetic, executed exactly; answers like ``CsimLibrary``.

    ``graph`` is what is executed, ``carriers`` what the range proof chose for each layer; ``str`` prints both.
    """

    engine: str = "emulation"  # what computes the bits, as ``CsimLibrary.engine`` says

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.compiled = compile_network(graph)
        self.carriers = self.compiled.carriers

    def __reduce__(self) -> tuple[type[Emulator], tuple[Graph]]:
        """Pickled as its network, from which it is rebuilt: engines do not travel."""
        return type(self), (self.graph,)

    def __str__(self) -> str:
        return "\n".join(f"{layer}  # {self.carriers[layer.name]}" for layer in self.graph.layers)

    @cached_property
    def answering(self) -> Engine:
        """Puts out the last layer."""
        return make_engine(self.compiled)

    @cached_property
    def tracing(self) -> Engine:
        """Puts out every layer."""
        return make_engine(compile_network(self.graph, every_layer=True))

    @cached_property
    def profiling(self) -> Engine:
        """Puts out every layer and counts what leaves its type's range."""
        return make_engine(compile_network(self.graph, every_layer=True, count_overflows=True))

    def predict(self, x: Any) -> Array:
        """Outputs for float inputs as the Keras model takes them: float32 ``[images, outputs]``.

        ``x`` is an array, or a list of arrays for a model with several inputs; several outputs stand side
        by side. Raises ``DataError`` for shapes that do not fit or numbers that are not finite.
        """
        results, _ = self.answering.run(self.check(x))
        outputs = [flat(real(array, result)) for array, result in zip(results, self.compiled.results, strict=True)]
        return np.concatenate(outputs, axis=1).astype(np.float32)

    def trace(self, x: Any) -> dict[str, Array]:
        """Every layer's output, as csim's trace names and shapes them: float64 ``[images, *shape]``."""
        results, _ = self.tracing.run(self.check(x))
        return layer_outputs(self.tracing.compiled, results, len(self.graph.outputs))

    def profile(self, x: Any) -> tuple[LayerProfile, ...]:
        """Per layer: the range used against the range its type holds, and how many values left it.

        Accumulators and results are both counted, each value that saturated or wrapped once per cast;
        ``wrapped`` are those that wrapped.
        """
        compiled = self.profiling.compiled
        results, tallies = self.profiling.run(self.check(x))
        outputs = layer_outputs(compiled, results, len(self.graph.outputs))
        counted = list(zip(compiled.tallies, tallies, strict=True))
        overflows, wrapped = by_layer(counted), by_layer([(tally, count) for tally, count in counted if tally.wraps])
        types = {layer.name: layer.result for layer in self.graph.layers}
        return tuple(
            LayerProfile(
                layer=name,
                precision=str(types[name]),
                minimum=float(values.min()),
                maximum=float(values.max()),
                type_minimum=types[name].minimum,
                type_maximum=types[name].maximum,
                overflows=overflows[name],
                wrapped=wrapped[name],
                total=values.size,
            )
            for name, values in outputs.items()
        )

    def export_onnx(self, path: str | Path) -> Path:
        """Write the network as an ONNX file: float images in, the project's integers out.

        The model's metadata give each output's ``fraction_bits``: value = integer * 2**-fraction_bits.
        """
        import onnx

        target = Path(path)
        model = onnx.ModelProto()
        model.CopyFrom(self.compiled.model)
        for result in self.compiled.results:
            entry = model.metadata_props.add()
            entry.key, entry.value = f"{result.output}:fraction_bits", str(result.fraction_bits)
        onnx.save(model, target)
        return target

    def check(self, x: Any) -> dict[str, Array]:
        """Inputs by name as float32 arrays; raises ``DataError``."""
        arrays = list(x) if isinstance(x, (list, tuple)) else [x]
        names = self.graph.inputs
        if len(arrays) != len(names):
            raise DataError(f"the model has {len(names)} inputs, got {len(arrays)} arrays")
        tensors = self.graph.tensors
        feeds = {name: check_input(name, array, tensors[name].shape) for name, array in zip(names, arrays, strict=True)}
        if len({len(array) for array in feeds.values()}) != 1:
            raise DataError(f"inputs must have as many images each, got {[len(array) for array in feeds.values()]}")
        return feeds


REAL = "fiub"  # NumPy's kinds of real numbers: floats, whole numbers, truth values


def check_input(name: str, array: Any, shape: tuple[int, ...]) -> Array:
    """One input as float32 ``[images, *shape]``."""
    given = np.asarray(array)
    if given.dtype.kind not in REAL:
        raise DataError(f"input {name} must be real numbers, got an array of {given.dtype}")
    values = np.ascontiguousarray(given, np.float32)
    if values.ndim == 0 or values.shape[1:] != tuple(shape) or len(values) == 0:
        expected = ", ".join(map(str, shape))
        hint = channels_hint(values, tuple(shape))
        raise DataError(f"input {name} must have shape [images, {expected}], got {values.shape}{hint}")
    if not np.isfinite(values).all():
        raise DataError(f"input {name} must be finite, got {int((~np.isfinite(values)).sum())} values that are not")
    return values


def real(integers: Array, result: Result) -> Array:
    """Integers of a result as real numbers, float64."""
    scaled: Array = np.ldexp(integers.astype(np.float64), -result.fraction_bits)
    return scaled


def by_layer(counted: Sequence[tuple[Tally, float]]) -> Counter[str]:
    """Sums of tallies by layer; 0 for a layer without any."""
    totals: Counter[str] = Counter()
    for tally, count in counted:
        totals[tally.layer] += int(count)
    return totals


def flat(values: Array) -> Array:
    return values.reshape(len(values), -1)


def layer_outputs(compiled: Compiled, results: Sequence[Array], skip: int) -> dict[str, Array]:
    """Outputs by layer; the first ``skip`` results are the network's own."""
    pairs = list(zip(compiled.results, results, strict=True))[skip:]
    return {result.layer: real(array, result).reshape(len(array), *result.shape) for result, array in pairs}
