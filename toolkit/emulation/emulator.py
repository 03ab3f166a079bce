"""The bit-exact emulator: csim's answers without a compiler."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.config import HlsConfig
from toolkit.emulation.builder import Tally
from toolkit.emulation.compile import Compiled, Result, compile_program
from toolkit.emulation.engine import Engine, make_engine
from toolkit.emulation.program import Program, read_program
from toolkit.errors import ConfigError, DataError
from toolkit.hls.project import channels_hint
from toolkit.records import Graph, HlsProject, LayerProfile

Array = npt.NDArray[Any]


def emulate(project: Any, config: HlsConfig | None = None) -> Emulator:
    """The emulator of an ``HlsProject``, a ``Graph``, or a Keras model with an ``HlsConfig``.

    A model is converted by hls4ml but nothing is written. Raises ``UnsupportedLayer`` for a layer that
    cannot be computed exactly.
    """
    if isinstance(project, HlsProject):
        return Emulator(project.graph)
    if isinstance(project, Graph):
        return Emulator(project)
    if config is None:
        raise ConfigError(f"emulating a model needs an HlsConfig, got a {type(project).__name__} alone")
    from toolkit.hls.convert import convert

    return Emulator(convert(project, config).graph)


class Emulator:
    """An HLS project's arithmetic, executed exactly; answers like ``CsimLibrary``.

    ``program`` is what is executed: one operation per hls4ml layer with its types and the carrier its
    range proof chose.
    """

    engine: str = "emulation"  # what computes the bits, as ``CsimLibrary.engine`` says

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        bare = read_program(graph)
        self.compiled = compile_program(bare)
        self.program: Program = bare.with_carriers(self.compiled.carriers)

    @cached_property
    def answering(self) -> Engine:
        """Puts out the last layer."""
        return make_engine(self.compiled)

    @cached_property
    def tracing(self) -> Engine:
        """Puts out every layer."""
        return make_engine(compile_program(self.program, every_layer=True))

    @cached_property
    def profiling(self) -> Engine:
        """Puts out every layer and counts what leaves its type's range."""
        return make_engine(compile_program(self.program, every_layer=True, count_overflows=True))

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
        return layer_outputs(self.tracing.compiled, results, len(self.program.outputs))

    def profile(self, x: Any) -> tuple[LayerProfile, ...]:
        """Per layer: the range used against the range its type holds, and how many values left it.

        Accumulators and results are both counted, each value that saturated or wrapped once per cast;
        ``wrapped`` are those that wrapped.
        """
        compiled = self.profiling.compiled
        results, tallies = self.profiling.run(self.check(x))
        outputs = layer_outputs(compiled, results, len(self.program.outputs))
        counted = list(zip(compiled.tallies, tallies, strict=True))
        overflows, wrapped = by_layer(counted), by_layer([(tally, count) for tally, count in counted if tally.wraps])
        ops = {op.name: op for op in self.program.ops}
        return tuple(
            LayerProfile(
                layer=name,
                precision=str(ops[name].result),
                minimum=float(values.min()),
                maximum=float(values.max()),
                type_minimum=ops[name].result.minimum,
                type_maximum=ops[name].result.maximum,
                overflows=overflows[name],
                wrapped=wrapped[name],
                total=values.size,
            )
            for name, values in outputs.items()
        )

    def export_onnx(self, path: str | Path) -> Path:
        """Write the program as an ONNX file: float images in, the project's integers out.

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
        names = self.program.inputs
        if len(arrays) != len(names):
            raise DataError(f"the model has {len(names)} inputs, got {len(arrays)} arrays")
        shapes = {name: op.shape for op in self.program.ops for name in op.outputs}
        feeds = {name: check_input(name, array, shapes[name]) for name, array in zip(names, arrays, strict=True)}
        if len({len(array) for array in feeds.values()}) != 1:
            raise DataError(f"inputs must have as many images each, got {[len(array) for array in feeds.values()]}")
        return feeds


def check_input(name: str, array: Any, shape: tuple[int, ...]) -> Array:
    """One input as float32 ``[images, *shape]``."""
    values = np.ascontiguousarray(array, np.float32)
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
    """Outputs by layer; the first ``skip`` results are the program's own."""
    pairs = list(zip(compiled.results, results, strict=True))[skip:]
    return {result.layer: real(array, result).reshape(len(array), *result.shape) for result, array in pairs}
