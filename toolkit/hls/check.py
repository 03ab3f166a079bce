"""Keras against csim, logit by logit, and why they differ where they do.

QKeras computes in float32. As long as every sum of a layer fits 24 bits its values are exact, and then
csim must give the very same ones: on the model's outputs, and on every layer that csim computes. Two
kinds of layer are compared after the quantizer that follows: an average over a pool whose size is no
power of two has no finite binary fraction, so float32 rounds it and csim truncates it, and both round
to the same value afterwards; softmax and other tabulated functions are approximations in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from toolkit.errors import ModelError
from toolkit.hls.bit_loss import decisions, largest_fall, layer_errors
from toolkit.hls.csim import build_csim
from toolkit.hls.network import network_of
from toolkit.hls.project import model_inputs
from toolkit.network import Graph, Layer
from toolkit.network.layers import (
    Elu,
    GlobalPooling,
    Input,
    LeakyRelu,
    Matrix,
    Pool,
    Pooling,
    Softmax,
    TableActivation,
)
from toolkit.precision import Overflow
from toolkit.records import Array, CheckResult, Finding, HlsProject, LayerError, LayerProfile, Source

FLOAT32_BITS = 24  # whole numbers up to 2**24 are exact in float32
TRACED_IMAGES = 32  # enough to find the layer, few enough to trace quickly


class Library(Protocol):
    """What runs a project's bits: csim or the emulator."""

    @property
    def engine(self) -> str: ...

    def predict(self, x: Any) -> Array: ...

    def trace(self, x: Any) -> dict[str, Array]: ...


def check(
    project: HlsProject | str | Path,
    model: Any,
    x: Any,
    *,
    library: Library | None = None,
    labels: Any = None,
) -> CheckResult:
    """Compare a Keras model's outputs with its project's on images ``x``.

    ``model`` is live or a path; ``library`` anything with ``predict`` and ``trace`` (default: csim,
    built if need be). Equal means equal arrays. Where they differ the result says how many outputs, by
    how many LSB of the output type, in which layer first, the likely reason, and every layer's error. A
    float model has no bits to be equal to: its result says how close the design is, layer by layer, how
    often both choose the same class and, with ``labels`` (int ``[n]``), how accurate both are. Raises ``DataError`` for
    images of another shape and ``ModelError`` for a model with other outputs.
    """
    from toolkit.hls.folder import as_project
    from toolkit.zoo import is_quantized, keras_model

    project = as_project(project)
    live = keras_model(model)
    exact = is_quantized(live)
    runner = library if library is not None else build_csim(project)
    inputs = model_inputs(live, x)
    expected = keras_outputs(live, inputs)
    got = np.asarray(runner.predict(inputs if len(inputs) > 1 else inputs[0]))
    if expected.shape != got.shape:
        raise ModelError(
            f"model {live.name!r} must be the one the project was written from: it has {expected.shape[1]} outputs, "
            f"the project {got.shape[1]}"
        )
    different = expected != got
    source: Source = "emulation" if runner.engine == "emulator" else "csim"
    result = CheckResult(
        equal=not different.any(),
        outputs_different=int(different.sum()),
        outputs_total=int(different.size),
        largest_lsb=largest_lsb(network_of(project), expected, got),
        first_layer=None,
        findings=(),
        images=len(inputs[0]),
        compared=("qkeras" if exact else "float keras", "csim" if runner.engine == "g++" else runner.engine),
        project_digest=project.digest,
        exact=exact,
        figures=decisions(expected, got, labels, source),
    )
    return result if result.equal else explain(result, project, live, runner, inputs, different)


def keras_outputs(model: Any, inputs: list[Array]) -> Array:
    """The model's outputs side by side: float32 ``[n, outputs]``."""
    answers = model.predict(inputs if len(inputs) > 1 else inputs[0], verbose=0)
    arrays = answers if isinstance(answers, list) else [answers]
    return np.concatenate([np.asarray(array, np.float32).reshape(len(inputs[0]), -1) for array in arrays], axis=1)


def largest_lsb(graph: Graph, expected: Array, got: Array) -> float:
    """Largest difference in LSB of the output types."""
    ends = [graph.tensors[name] for name in graph.outputs]
    lsb = np.concatenate([np.full(tensor.size, tensor.precision.lsb) for tensor in ends])
    difference = np.abs(expected.astype(np.float64) - got) / lsb
    return float(difference.max()) if difference.size else 0.0


def explain(
    result: CheckResult, project: HlsProject, model: Any, runner: Library, inputs: list[Array], different: Array
) -> CheckResult:
    """Every layer's error on images that differ; the first layer that does, or where a float model loses most; why."""
    rows = np.flatnonzero(different.any(axis=1))[:TRACED_IMAGES]
    chosen = [array[rows] for array in inputs]
    traced = runner.trace(chosen if len(chosen) > 1 else chosen[0])
    graph = network_of(project)
    layers = [layer for layer in graph.layers if layer.name in traced]
    entered = dict(zip(graph.inputs, chosen, strict=True))  # a quantizer in the model comes before them
    expected = {**as_rows(entered), **keras_layers(model, layers, chosen)}
    got = as_rows(traced)
    errors = layer_errors(graph, expected, got)
    profile = tuple(profile_of(layer, traced[layer.name]) for layer in layers)
    result = replace(result, errors=errors, profile=profile)
    if not result.exact:
        loss = largest_fall(errors)
        found = () if loss is None else (loss_of_bits(graph, loss, expected[loss.layer]),)
        return replace(result, findings=found)
    for layer in layers:
        if layer.name not in expected or settles_later(layer):
            continue
        if not np.array_equal(expected[layer.name], got[layer.name]):
            finding = reason(layer, model, expected[layer.name], got[layer.name])
            return replace(result, first_layer=layer.name, findings=(finding,))
    return replace(result, findings=(UNSEEN,))


def loss_of_bits(graph: Graph, loss: LayerError, expected: Array) -> Finding:
    """The layer at which a float model loses most, and what of its types does it."""
    layer = graph.layer(loss.layer)
    cause = overflow_reason(layer, expected)
    why = cause[1] if cause else f"its result type {layer.result} has steps of {layer.result.lsb:g}"
    stored = [f"{name} {weight.precision}" for name, weight in layer.weights.items()]
    why += f" (stored: {', '.join(stored)})" if stored and not cause else ""
    remedy = cause[2] if cause else f"give {layer.name} more fraction bits (hls.layers.{layer.name}.precision)"
    level = f"{loss.sqnr_db:.1f} dB of signal to error are left" if loss.sqnr_db is not None else "nothing is lost"
    return Finding("note", layer.name, "bits-lost", f"most is lost here, {level}: {why}", remedy)


def keras_layers(model: Any, layers: list[Layer], inputs: list[Array]) -> dict[str, Array]:
    """Keras' values for the layers that have a Keras counterpart, by hls4ml name: float64 ``[n, values]``."""
    import keras

    known = {layer.name for layer in model.layers if len(layer._inbound_nodes) == 1}  # one place, one output
    wanted = {layer.name: layer.keras_layer for layer in layers if layer.keras_layer in known}
    if not wanted:
        return {}
    inner = keras.Model(model.inputs, [model.get_layer(source).output for source in wanted.values()])
    answers = inner.predict(inputs if len(inputs) > 1 else inputs[0], verbose=0)
    arrays = answers if isinstance(answers, list) else [answers]
    return as_rows(dict(zip(wanted, arrays, strict=True)))


def as_rows(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Float64 ``[n, values]``."""
    return {name: np.asarray(array, np.float64).reshape(len(array), -1) for name, array in arrays.items()}


def settles_later(layer: Layer) -> bool:
    """Whether a layer's values are only comparable after the quantizer that follows it."""
    if not isinstance(layer, Pooling | GlobalPooling) or layer.operation is not Pool.AVERAGE:
        return False
    size = layer.window.size if isinstance(layer, Pooling) else layer.pixels
    return size & (size - 1) != 0


def profile_of(layer: Layer, values: Array) -> LayerProfile:
    """The range a layer's output used against the range its type holds."""
    precision = layer.result
    return LayerProfile(
        layer=layer.name,
        precision=str(precision),
        minimum=float(values.min()),
        maximum=float(values.max()),
        type_minimum=precision.minimum,
        type_maximum=precision.maximum,
        total=int(values.size),
    )


UNSEEN = Finding(
    "error",
    None,
    "unexplained",
    "the outputs differ but no layer with a Keras counterpart does",
    "compare layer by layer with trace()",
)


def reason(layer: Layer, model: Any, expected: Array, got: Array) -> Finding:
    """The likeliest cause of a difference in one layer whose inputs agree."""
    wrong = expected != got
    wanted = expected[wrong]
    count = f"{int(wrong.sum())} of {wrong.size} values of {layer.name} differ"
    changed = changed_weights(layer, model)
    if changed:
        remedy = f"leave the type of {layer.name}'s weights to their quantizer"
        cause = f"{count}: {changed} of the project are not the model's; their type holds fewer bits"
        return Finding("error", layer.name, "weights", cause, remedy)
    for test in (
        input_reason,
        table_reason,
        slope_reason,
        overflow_reason,
        accumulator_reason,
        rounding_reason,
        float_reason,
    ):
        found = test(layer, wanted)
        if found is not None:
            rule, cause, remedy = found
            return Finding("error", layer.name, rule, f"{count}: {cause}", remedy)
    return Finding("error", layer.name, "unexplained", count, "compare the layer's inputs and weights with trace()")


def changed_weights(layer: Layer, model: Any) -> str | None:
    """Names of a layer's weights that differ from the model's quantized ones; ``None`` when all agree.

    Only weights whose number is the same on both sides are compared.
    """
    from toolkit.hls.quantizers import quantize_values

    name = layer.name if layer.name in {item.name for item in model.layers} else layer.keras_layer
    source = next((item for item in model.layers if item.name == name), None)
    changed, weights = [], layer.weights
    for ours, theirs in (("weight", "kernel"), ("weight", "depthwise_kernel"), ("bias", "bias"), ("scale", "kernel")):
        variable = getattr(source, theirs, None)
        if variable is None or ours not in weights:
            continue
        prefix = "depthwise" if theirs == "depthwise_kernel" else theirs
        quantizer = getattr(source, f"{prefix}_quantizer_internal", None)
        values = np.asarray(variable, np.float32)
        values = values if quantizer is None else quantize_values(quantizer, values)
        stored = weights[ours].values
        if stored.size == values.size and not np.array_equal(stored.ravel(), values.ravel().astype(np.float64)):
            changed.append(ours)
    return " and ".join(changed) or None


Cause = tuple[str, str, str] | None  # rule, cause, remedy


def input_reason(layer: Layer, wanted: Array) -> Cause:
    if not isinstance(layer, Input):
        return None
    return (
        "input-not-representable",
        f"the input type {layer.result} does not hold inputs such as {wanted[0]:.9g}",
        "quantize the input in the model (toolkit.quantize does), or give the input layer a wider precision",
    )


def overflow_reason(layer: Layer, wanted: Array) -> Cause:
    result = layer.result
    outside = (wanted > result.maximum) | (wanted < result.minimum)
    if not outside.any():
        return None
    does = "wraps" if result.overflow is Overflow.WRAP else "saturates"
    return (
        "result-overflow",
        f"the result type {result} {does}: it holds {result.minimum:g} to {result.maximum:g}, "
        f"the model has {wanted.min():g} to {wanted.max():g}",
        f"give {layer.name} a result type with more integer bits, or leave it to the tool",
    )


def accumulator_reason(layer: Layer, wanted: Array) -> Cause:
    if not isinstance(layer, Matrix) or layer.distributed:
        return None
    accumulator, needed = layer.accum, layer.source.precision.fraction_bits + layer.weight.fraction_bits
    if needed > accumulator.fraction_bits:
        return (
            "accumulator-rounding",
            f"the accumulator {accumulator} has {accumulator.fraction_bits} fraction bits, products need {needed}",
            f"give {layer.name} an accumulator with more fraction bits, or leave it to the tool",
        )
    if (wanted > accumulator.maximum).any() or (wanted < accumulator.minimum).any():
        return (
            "accumulator-overflow",
            f"sums leave the range of the accumulator {accumulator}",
            f"give {layer.name} an accumulator with more integer bits, or leave it to the tool",
        )
    return None


def table_reason(layer: Layer, wanted: Array) -> Cause:
    match layer:
        case TableActivation():
            name, size, table = str(layer.function), layer.table_size, layer.table
        case Elu():
            name, size, table = "elu", layer.table_size, layer.table
        case Softmax():
            name, size, table = "softmax", layer.exp_table_size, layer.exp_table
        case _:
            return None
    return (
        "table",
        f"{name} is read from a table of {size} entries of {table}",
        "compare classes instead of values, take a larger table_size, or end the model at its logits",
    )


def slope_reason(layer: Layer, wanted: Array) -> Cause:
    if not isinstance(layer, LeakyRelu):
        return None
    slope = layer.slope.integer * layer.slope.precision.lsb
    if not 0 < slope < 1 or not (wanted == -slope * 2.0 ** (layer.result.integer_bits - 1)).all():
        return None
    return (
        "leaky-relu-range",
        f"quantized_relu with a negative slope clips at -slope * 2**integer = {wanted[0]:g}, hls4ml does not",
        f"give {layer.keras_layer or layer.name} one more integer bit",
    )


def rounding_reason(layer: Layer, wanted: Array) -> Cause:
    result = layer.result
    scaled = wanted / result.lsb
    if (scaled == np.round(scaled)).all():
        return None
    return (
        "rounding-mode",
        f"the result type {result} has too few fraction bits for values such as {wanted[0]:.9g} and rounds them "
        f"({result.rounding}), which the model does not do here",
        f"give {layer.name} a result type with more fraction bits, or leave it to the tool",
    )


def float_reason(layer: Layer, wanted: Array) -> Cause:
    width = layer.types.get("accum", layer.result).width_bits
    if width <= FLOAT32_BITS:
        return None
    return (
        "float32-sums",
        f"sums take {width} bits, and Keras adds in float32, which is exact only up to {FLOAT32_BITS}",
        "trust the project's value, or use narrower weights and activations",
    )
