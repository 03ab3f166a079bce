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
from typing import Any, Protocol

import numpy as np

from toolkit import network
from toolkit.errors import ModelError
from toolkit.hls.bit_loss import decisions, largest_fall, layer_errors
from toolkit.hls.csim import build_csim
from toolkit.hls.network import network_of
from toolkit.hls.project import model_inputs
from toolkit.precision import Overflow, Precision
from toolkit.records import Array, CheckResult, Finding, Graph, HlsProject, Layer, LayerError, LayerProfile, Source

FLOAT32_BITS = 24  # whole numbers up to 2**24 are exact in float32
TRACED_IMAGES = 32  # enough to find the layer, few enough to trace quickly

TABULATED = ("tanh", "sigmoid", "softmax", "softplus", "softsign", "elu", "selu", "silu", "gelu")


class Library(Protocol):
    """What runs a project's bits: csim or the emulator."""

    @property
    def engine(self) -> str: ...

    def predict(self, x: Any) -> Array: ...

    def trace(self, x: Any) -> dict[str, Array]: ...


def check(
    project: HlsProject, model: Any, x: Any, *, library: Library | None = None, labels: Array | None = None
) -> CheckResult:
    """Compare a Keras model's outputs with its project's on images ``x``.

    ``model`` is live or a path; ``library`` anything with ``predict`` and ``trace`` (default: csim,
    built if need be). Equal means equal arrays. Where they differ the result says how many outputs, by
    how many LSB of the output type, in which layer first, the likely reason, and every layer's error. A
    float model has no bits to be equal to: its result says how close the design is, layer by layer, how
    often both choose the same class and, with ``labels`` (int ``[n]``), how accurate both are. Raises ``DataError`` for
    images of another shape and ``ModelError`` for a model with other outputs.
    """
    from toolkit.zoo import is_quantized, open_model

    live = open_model(model)
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


def largest_lsb(graph: network.Graph, expected: Array, got: Array) -> float:
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
    layers = [layer for layer in project.graph.layers if layer.name in traced]
    entered = dict(zip(project.graph.inputs, chosen, strict=True))  # a quantizer in the model comes before them
    expected = {**as_rows(entered), **keras_layers(model, layers, chosen)}
    got = as_rows(traced)
    errors = layer_errors(project.graph, expected, got)
    result = replace(
        result, errors=errors, profile=tuple(profile_of(layer, project.graph, traced[layer.name]) for layer in layers)
    )
    if not result.exact:
        loss = largest_fall(errors)
        found = () if loss is None else (loss_of_bits(project.graph, loss, expected[loss.layer], got[loss.layer]),)
        return replace(result, findings=found)
    for layer in layers:
        if layer.name not in expected or settles_later(layer):
            continue
        if not np.array_equal(expected[layer.name], got[layer.name]):
            finding = reason(layer, project.graph, model, expected[layer.name], got[layer.name])
            return replace(result, first_layer=layer.name, findings=(finding,))
    return replace(result, findings=(UNSEEN,))


def loss_of_bits(graph: Graph, loss: LayerError, expected: Array, got: Array) -> Finding:
    """The layer at which a float model loses most, and what of its types does it."""
    layer = graph.layer(loss.layer)
    result = Precision.parse(loss.precision)
    cause = overflow_reason(layer, graph, expected, result)
    why = cause[1] if cause else f"its result type {result} has steps of {result.lsb:g}"
    stored = [f"{name} {weight.precision}" for name, weight in layer.weights.items()]
    why += f" (stored: {', '.join(stored)})" if stored and not cause else ""
    remedy = cause[2] if cause else f"give {layer.name} more fraction bits (hls.layers.{layer.name}.precision)"
    level = f"{loss.sqnr_db:.1f} dB of signal to error are left" if loss.sqnr_db is not None else "nothing is lost"
    return Finding("note", layer.name, "bits-lost", f"most is lost here, {level}: {why}", remedy)


def keras_layers(model: Any, layers: list[Layer], inputs: list[Array]) -> dict[str, Array]:
    """Keras' values for the layers that have a Keras counterpart, by hls4ml name: float64 ``[n, values]``."""
    import keras

    known = {layer.name for layer in model.layers if len(layer._inbound_nodes) == 1}  # one place, one output
    names = {layer.name: layer.attributes.get("keras_layer") for layer in layers}
    wanted = {name: source for name, source in names.items() if source in known}
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
    if layer.attributes.get("pool_op") != "Average":
        return False
    size = pool_size(layer)
    return size & (size - 1) != 0


def pool_size(layer: Layer) -> int:
    """Values averaged into one; that of a global pool is not needed exactly, only whether it is a power of two."""
    attributes = layer.attributes
    if "Global" in layer.kind:
        return int(attributes.get("in_height", 1)) * int(attributes.get("in_width", attributes.get("n_in", 1)))
    return int(attributes.get("pool_height", 1)) * int(attributes["pool_width"])


def profile_of(layer: Layer, graph: Graph, values: Array) -> LayerProfile:
    """The range a layer's output used against the range its type holds."""
    precision = Precision.parse(graph.tensors[layer.outputs[0]].precision)
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


def reason(layer: Layer, graph: Graph, model: Any, expected: Array, got: Array) -> Finding:
    """The likeliest cause of a difference in one layer whose inputs agree."""
    wrong = expected != got
    wanted = expected[wrong]
    result = Precision.parse(graph.tensors[layer.outputs[0]].precision)
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
        found = test(layer, graph, wanted, result)
        if found is not None:
            rule, cause, remedy = found
            return Finding("error", layer.name, rule, f"{count}: {cause}", remedy)
    return Finding("error", layer.name, "unexplained", count, "compare the layer's inputs and weights with trace()")


def changed_weights(layer: Layer, model: Any) -> str | None:
    """Names of a layer's weights that differ from the model's quantized ones; ``None`` when all agree.

    Only weights whose number is the same on both sides are compared.
    """
    from toolkit.hls.quantizers import quantize_values

    name = layer.name if layer.name in {item.name for item in model.layers} else layer.attributes.get("keras_layer")
    source = next((item for item in model.layers if item.name == name), None)
    changed = []
    for ours, theirs in (("weight", "kernel"), ("weight", "depthwise_kernel"), ("bias", "bias"), ("scale", "kernel")):
        variable = getattr(source, theirs, None)
        if variable is None or ours not in layer.weights:
            continue
        prefix = "depthwise" if theirs == "depthwise_kernel" else theirs
        quantizer = getattr(source, f"{prefix}_quantizer_internal", None)
        values = np.asarray(variable, np.float32)
        values = values if quantizer is None else quantize_values(quantizer, values)
        stored = layer.weights[ours].values
        if stored.size == values.size and not np.array_equal(stored.ravel(), values.ravel().astype(np.float64)):
            changed.append(ours)
    return " and ".join(changed) or None


Cause = tuple[str, str, str] | None  # rule, cause, remedy


def input_reason(layer: Layer, graph: Graph, wanted: Array, result: Precision) -> Cause:
    if layer.kind != "Input":
        return None
    return (
        "input-not-representable",
        f"the input type {result} does not hold inputs such as {wanted[0]:.9g}",
        "quantize the input in the model (toolkit.quantize does), or give the input layer a wider precision",
    )


def overflow_reason(layer: Layer, graph: Graph, wanted: Array, result: Precision) -> Cause:
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


def accumulator_reason(layer: Layer, graph: Graph, wanted: Array, result: Precision) -> Cause:
    if "accum_t" not in layer.types or "weight" not in layer.weights:
        return None
    accumulator = Precision.parse(layer.types["accum_t"])
    needed = needed_fraction_bits(layer, graph)
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


def needed_fraction_bits(layer: Layer, graph: Graph) -> int:
    """Fraction bits of a product of input and weight."""
    value = Precision.parse(graph.tensors[layer.inputs[0]].precision)
    return value.fraction_bits + Precision.parse(layer.weights["weight"].precision).fraction_bits


def table_reason(layer: Layer, graph: Graph, wanted: Array, result: Precision) -> Cause:
    activation = str(layer.attributes.get("activation", "")).lower()
    if activation not in TABULATED:
        return None
    size = layer.attributes.get("table_size", "its")
    return (
        "table",
        f"{activation} is read from a table of {size} entries of {layer.types.get('table_t', 'fixed point')}",
        "compare classes instead of values, take a larger table_size, or end the model at its logits",
    )


def slope_reason(layer: Layer, graph: Graph, wanted: Array, result: Precision) -> Cause:
    slope = layer.attributes.get("activ_param")
    if layer.kind != "ParametrizedActivation" or not isinstance(slope, float) or not 0 < slope < 1:
        return None
    if not (wanted == -slope * 2.0 ** (result.integer_bits - 1)).all():
        return None
    return (
        "leaky-relu-range",
        f"quantized_relu with a negative slope clips at -slope * 2**integer = {wanted[0]:g}, hls4ml does not",
        f"give {layer.attributes.get('keras_layer', layer.name)} one more integer bit",
    )


def rounding_reason(layer: Layer, graph: Graph, wanted: Array, result: Precision) -> Cause:
    scaled = wanted / result.lsb
    if (scaled == np.round(scaled)).all():
        return None
    return (
        "rounding-mode",
        f"the result type {result} has too few fraction bits for values such as {wanted[0]:.9g} and rounds them "
        f"({result.rounding}), which the model does not do here",
        f"give {layer.name} a result type with more fraction bits, or leave it to the tool",
    )


def float_reason(layer: Layer, graph: Graph, wanted: Array, result: Precision) -> Cause:
    width = Precision.parse(layer.types.get("accum_t", str(result))).width_bits
    if width <= FLOAT32_BITS:
        return None
    return (
        "float32-sums",
        f"sums take {width} bits, and Keras adds in float32, which is exact only up to {FLOAT32_BITS}",
        "trust the project's value, or use narrower weights and activations",
    )
