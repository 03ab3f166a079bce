"""Keras or QKeras model to hls4ml's optimized graph, types decided, nothing written.

Types, in order of precedence: what the user names in ``config.layers``; what a quantizer decides
(weights, biases, activations, the input from the quantizer directly after it); ``config.precision``
for whatever no quantizer decides; and for everything between, sums and results wide enough to lose
no bit (hls4ml's own inference, plus :mod:`toolkit.hls.settle` for what it does not infer).
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from toolkit.arguments import instance
from toolkit.config import HlsConfig, LayerHlsConfig, parts_of
from toolkit.errors import ConfigError, HlsError, ModelError, ToolkitError, UnsupportedLayer, nearest
from toolkit.hls import names, reuse, softmax
from toolkit.hls.asked import not_taken
from toolkit.hls.conversion import Conversion, keras_reference
from toolkit.hls.graph import check_fifo_names, fifo_depth, graph_digest, read_graph, spell
from toolkit.hls.limits import check_config, check_layers, check_packages, check_settings, check_values
from toolkit.hls.model_graphs import convert_model_graph, is_model_graph
from toolkit.hls.onnx_models import convert_onnx, is_onnx
from toolkit.hls.progress import underway
from toolkit.hls.settle import PLACEHOLDER, Pending, pending_types, settle_types
from toolkit.precision import Overflow, Precision
from toolkit.records import Finding, Graph, Weight

TOP = "myproject"  # name of the top C++ function, hls4ml's default

WEIGHT_NAMES = ("weight", "bias", "scale", "depthwise", "pointwise")
# What softmax puts out when nobody says: probabilities to 16 bits.
SOFTMAX_RESULT = "ufixed<17,1,RND,SAT>"

# Activations that treat every value alike, whatever the shape.
ELEMENTWISE = ("Activation", "HardActivation", "LeakyReLU", "ELU", "ThresholdedReLU")

# A type nobody asks for, to see what the default type decides.
OTHER_PRECISION = "ap_fixed<61,23>"

LayerDict = dict[str, Any]


def convert(model: Any, config: HlsConfig, *, input_shape: Sequence[Any] | None = None) -> Conversion:
    """Convert a Keras 3 or QKeras model, a ``torch.nn.Module``, an ONNX or QONNX model, an hls4ml ``ModelGraph``, or
    a path (``.keras``, ``.h5``, ``.pt2``, ``.onnx``).

    ``input_shape`` is a PyTorch module's, without the batch and in its order; the project takes channels last.

    Raises ``ModelError`` (not built, NaN weights, unsupported layer), ``ConfigError`` (a part, type,
    layer name or reuse factor that cannot be), ``ToolNotFound`` (a strategy whose package is missing)
    or ``HlsError`` with hls4ml's own words.
    """
    from toolkit.zoo import open_model

    check_config(instance("the configuration", config, HlsConfig))
    if is_model_graph(model):
        return convert_model_graph(model, config)
    if is_onnx(model):
        return convert_onnx(model, config, captured)
    keras_model = open_model(model, input_shape)
    check_model(keras_model)
    log = io.StringIO()
    with underway(f"converting {keras_model.name}"), captured(log):
        with underway("reading the model"):
            layers, inputs, outputs = parse(keras_model)
            layers, outputs = prepare(layers, outputs, keras_model)
        check_layers(layers, config.io_type)
        if config.io_type == "io_stream":
            layers = repack_flattened(layers, outputs)
        overrides = layer_overrides(config, layers, keras_model)
        layers, moved = choose_reuse_factors(config, overrides, layers)
        check_packages(layers)
        check_precision(config, layers)
        cpp = names.cpp_names(layers)
        with underway(f"hls4ml's passes over {len(layers)} layers"):
            model_graph = build_settled(config, overrides, layers, inputs, outputs, cpp)
        set_fifo_depths(model_graph, config, cpp)
        with underway("reading types and weights"):
            graph = complete_graph(names.with_own_names(read_graph(model_graph), cpp), layers)
        names.check_ports(graph)
        check_values(layers, graph, config.io_type)
    untaken = [f"hls.layers.{finding.layer}: {finding.reason}" for finding in not_taken(config, graph)]
    findings = tuple(weights_outside(model_graph, cpp))
    outside = [f"{finding.layer}: {finding.reason}; {finding.remedy}" for finding in findings]
    notes = (*untaken, *moved, *names.naming_notes(cpp), *outside)
    return Conversion(model_graph, graph, keras_reference(keras_model), log.getvalue(), notes, findings=findings)


def check_model(model: Any) -> None:
    """Raise ``ModelError`` for what is no built Keras model with fixed shapes and finite weights."""
    import keras

    if not isinstance(model, keras.Model):
        raise ModelError(f"a Keras model is needed, got {type(model).__name__}")
    if not model.built or not getattr(model, "inputs", None):
        raise ModelError(f"model {model.name!r} must be a built Sequential or functional model; call it once on data")
    for tensor in [*model.inputs, *model.outputs]:
        if any(size is None for size in tensor.shape[1:]):
            raise ModelError(f"model {model.name!r}: every size but the batch must be fixed, got {tensor.shape}")
    for layer in model.layers:
        for weight in layer.weights:
            if np.issubdtype(np.asarray(weight).dtype, np.floating) and not np.isfinite(np.asarray(weight)).all():
                raise ModelError(f"layer {layer.name!r}: weight {weight.name!r} holds NaN or infinity; train it again")


@contextlib.contextmanager
def captured(log: io.StringIO) -> Iterator[None]:
    """Keep what hls4ml prints and warns about; turn its bare exceptions into ``HlsError``."""
    try:
        with contextlib.redirect_stdout(log), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ToolkitError:
        raise
    except (MemoryError, OSError):  # not the model's fault
        raise
    except Exception as error:
        raise HlsError(f"hls4ml could not convert the model: {type(error).__name__}: {error}{tail(log)}") from error


def tail(log: io.StringIO, lines: int = 5) -> str:
    """The last lines hls4ml printed, for an error message."""
    printed = log.getvalue().strip().splitlines()[-lines:]
    return "".join(f"\n    {line}" for line in printed)


def parse(model: Any) -> tuple[list[LayerDict], list[str], list[str]]:
    """hls4ml's layer dictionaries of a model, and the names of its input and output layers.

    Raises ``UnsupportedLayer`` naming every layer without a handler, or with a setting handlers pass over.
    """
    from hls4ml.converters import parse_keras_v3_model
    from hls4ml.converters.keras_v2_to_hls import layer_handlers as v2_handlers
    from hls4ml.converters.keras_v3 import layer_handlers as v3_handlers

    from toolkit.hls import handlers

    with handlers.registered():
        known = {*v3_handlers, *v2_handlers}
        unknown = [
            f"{layer.name} ({type(layer).__name__})"
            for layer in model.layers
            if not {f"{type(layer).__module__}.{type(layer).__name__}", type(layer).__name__} & known
        ]
        if unknown:
            raise UnsupportedLayer(f"hls4ml has no counterpart for these layers: {', '.join(unknown)}")
        check_settings(model)
        layers, inputs, outputs, _ = parse_keras_v3_model(model, allow_da_fallback=False, allow_v2_fallback=True)
    own = names.own_names(layers, (layer.name for layer in model.layers))
    return layers, [own.get(name, name) for name in inputs], [own.get(name, name) for name in outputs]


def prepare(layers: list[LayerDict], outputs: list[str], model: Any) -> tuple[list[LayerDict], list[str]]:
    """Drop layers that do nothing at inference, note Keras' names, give inputs their quantizers' types."""
    sources = {
        tensor.name: (layer.name, tuple(tensor.shape[1:])) for layer in model.layers for tensor in output_tensors(layer)
    }
    for layer in layers:
        tensor = sources.get(layer["output_keras_tensor_names"][0])
        layer["keras_layer"] = tensor[0] if tensor else None
        plain_relu(layer)
        hard_sigmoid_of_keras(layer)
        if layer["class_name"] == "Softmax" and tensor:
            softmax_slices(layer, tensor[1])
    layers, outputs = drop_identities(layers, outputs)
    for layer in layers:
        if layer["class_name"] == "InputLayer":
            type_input(layer, layers)
    return layers, outputs


def output_tensors(layer: Any) -> list[Any]:
    """Symbolic outputs of a layer, of every place it is used."""
    return [tensor for node in layer._inbound_nodes for tensor in node.outputs]


def plain_relu(layer: LayerDict) -> None:
    """hls4ml reads ``ReLU`` as a threshold of zero; its own relu is the same and smaller."""
    if layer["class_name"] == "ThresholdedReLU" and layer.get("activ_param") == 0:
        layer.update(class_name="Activation", activation="relu")


def hard_sigmoid_of_keras(layer: LayerDict) -> None:
    """Keras 3 has a slope of 1/6, hls4ml that of Keras 2, 0.2."""
    if layer["class_name"] == "HardActivation" and "slope" not in layer:
        layer |= {"slope": 1 / 6, "shift": 0.5}


def softmax_slices(layer: LayerDict, shape: tuple[int, ...]) -> None:
    """How many slices a softmax normalizes: hls4ml's handler of ``Activation("softmax")`` takes it all as one."""
    axis = int(layer.get("axis", -1))
    place = (axis - 1 if axis > 0 else axis) % len(shape)  # Keras counts the batch
    layer |= {
        "n_outer": math.prod(shape[:place]),
        "n_slice": shape[place],
        "n_inner": math.prod(shape[place + 1 :]),
    }


def drop_identities(layers: list[LayerDict], outputs: list[str]) -> tuple[list[LayerDict], list[str]]:
    """Remove dropout and linear activations without a quantizer; what read them reads their input."""
    source = {
        layer["name"]: layer["inputs"][0]
        for layer in layers
        if layer["class_name"] == "Activation" and layer["activation"] == "linear" and "activation_type" not in layer
    }

    def follow(name: str) -> str:
        return follow(source[name]) if name in source else name

    kept = [layer for layer in layers if layer["name"] not in source]
    for layer in kept:
        layer["inputs"] = [follow(name) for name in layer["inputs"]]
    return kept, [follow(name) for name in outputs]


def repack_flattened(layers: list[LayerDict], outputs: list[str]) -> list[LayerDict]:
    """Make every flattened stream read right.

    hls4ml flattens a stream by giving it another name: the packets stay one pixel wide, which only
    Dense expects; others silently read wrong values. An elementwise activation moves in front of the
    flattening, anything else gets a stream that is packed anew.
    """
    for layer in list(layers):
        if layer["class_name"] != "Reshape" or len(layer["target_shape"]) != 1:
            continue
        readers = [other for other in layers if layer["name"] in other["inputs"]]
        while len(readers) == 1 and readers[0]["class_name"] in ELEMENTWISE and layer["name"] not in outputs:
            layers = swap(layers, layer, readers[0])
            outputs[:] = [layer["name"] if name == readers[0]["name"] else name for name in outputs]
            readers = [other for other in layers if layer["name"] in other["inputs"]]
        if any(reader["class_name"] != "Dense" for reader in readers):
            layer["class_name"] = "Repack"
    return layers


def swap(layers: list[LayerDict], flatten: LayerDict, activation: LayerDict) -> list[LayerDict]:
    """Put an activation in front of the flattening it reads."""
    for other in layers:
        if activation["name"] in other["inputs"]:
            other["inputs"] = [flatten["name"] if name == activation["name"] else name for name in other["inputs"]]
    activation["inputs"], flatten["inputs"] = flatten["inputs"], [activation["name"]]
    flatten["keras_layer"] = activation["keras_layer"]
    rest = [layer for layer in layers if layer is not activation]
    place = rest.index(flatten)
    return [*rest[:place], activation, *rest[place:]]


def type_input(layer: LayerDict, layers: list[LayerDict]) -> None:
    """Give an input the type of the quantizer that reads it.

    Saturating into an unsigned type is relu, so a ``quantized_relu`` on the input becomes a cast,
    which hls4ml removes because the input already has its type.
    """
    readers = [other for other in layers if layer["name"] in other["inputs"]]
    types = {str(other["activation_type"].hls_type) for other in readers if is_cast(other)}
    if len(types) == 1 and all(is_cast(other) for other in readers):
        layer["input_type"] = types.pop()
        for other in readers:
            other.update(activation="linear", quantizer=other["activation_type"])


def is_cast(layer: LayerDict) -> bool:
    """Whether a layer only brings values into a type: a quantizer, with or without relu."""
    return "activation_type" in layer and layer.get("activation") in ("linear", "relu")


def layer_overrides(config: HlsConfig, layers: list[LayerDict], model: Any) -> dict[str, LayerHlsConfig]:
    """``config.layers`` by layer name.

    Raises ``ConfigError`` with the nearest name for one that the model does not have.
    """
    built = {layer["name"] for layer in layers}
    check_layer_names(config, built, model)
    return config.of_layers(built)


def check_layer_names(config: HlsConfig, built: set[str], model: Any) -> None:
    """Raise ``ConfigError`` for a name in ``config.layers`` that is neither built nor in the Keras model."""
    known = sorted(built | {layer.name for layer in model.layers})
    for name in config.layers:
        if name not in known and not built & {*parts_of(name)}:
            raise ConfigError(
                f'hls.layers: "{name}" is not a layer{nearest(name, known)}; layers are {", ".join(known)}'
            )


def choose_reuse_factors(
    config: HlsConfig, overrides: Mapping[str, LayerHlsConfig], layers: list[LayerDict]
) -> tuple[list[LayerDict], list[str]]:
    """Give every matrix product its strategy and reuse factor.

    Raises ``ConfigError`` listing every layer whose reuse factor hls4ml would move or compute wrongly,
    with the valid neighbours, or, with ``invalid_reuse_factor="nearest"``, moves it and returns a note
    for each.
    """
    problems: list[str] = []
    notes: list[str] = []
    for layer in layers:
        override = overrides.get(layer["name"], LayerHlsConfig())
        strategy, note = choose_strategy(config, override, layer)
        notes += [note] if note else []
        factor = override.reuse_factor or config.reuse_factor
        if layer["class_name"] in reuse.MATRIX_KINDS:
            factor, problem, note = choose_reuse_factor(config, layer, strategy, factor)
            problems += [problem] if problem else []
            notes += [note] if note else []
        layer["chosen_strategy"], layer["chosen_reuse_factor"] = strategy, factor
    if problems:
        raise ConfigError("\n".join([*problems, 'or set invalid_reuse_factor="nearest" to take the nearest']))
    return layers, notes


def choose_strategy(config: HlsConfig, override: LayerHlsConfig, layer: LayerDict) -> tuple[str, str | None]:
    """The strategy of a layer; Latency, with a note, where the model's is not available.

    Raises ``ConfigError`` when the user named it for this very layer.
    """
    kind, strategy = layer["class_name"], override.strategy or config.strategy
    reason = reuse.missing_strategy(kind, config.io_type, strategy)
    if reason is None and strategy == "distributed_arithmetic" and kind in reuse.MATRIX_KINDS:
        reason = None if has_quantizer(layer, "weight") else "distributed_arithmetic needs quantized weights"
    if reason is None:
        return strategy, None
    if override.strategy:
        raise ConfigError(f"hls.layers.{layer['name']}.strategy: {reason}, got a {kind}; choose Latency")
    return "Latency", f"{layer['name']}: {reason}, Latency taken"


def choose_reuse_factor(
    config: HlsConfig, layer: LayerDict, strategy: str, wanted: int
) -> tuple[int, str | None, str | None]:
    """The reuse factor of one layer, and either what is wrong with it or a note that it was moved."""
    name, kind = layer["name"], layer["class_name"]
    size = reuse.matrix_size(kind, layer)
    taken, problem = reuse.take_reuse_factor(name, kind, size, config.io_type, strategy, wanted)
    if problem is None or config.invalid_reuse_factor == "error":
        return taken, problem, None
    return taken, None, f"{name}: reuse factor {wanted} is not valid for {strategy}, {taken} taken"


def build_settled(
    config: HlsConfig,
    overrides: Mapping[str, LayerHlsConfig],
    layers: list[LayerDict],
    inputs: Sequence[str],
    outputs: Sequence[str],
    cpp: Mapping[str, str],
) -> Any:
    """Build hls4ml's graph, again with the types it does not infer until none is left open."""
    settled: dict[str, dict[str, str]] = {}
    waiting = pending_types(layers, outputs)
    while True:
        hls_config = hls4ml_config(config, overrides, layers, waiting, settled)
        graph = build(config, hls_config, layers, inputs, outputs, cpp)
        found = settle_types(graph, waiting, settled, layers, cpp)
        if not found:
            return graph
        settled |= found


def build(
    config: HlsConfig,
    hls_config: dict[str, Any],
    layers: list[LayerDict],
    inputs: Sequence[str],
    outputs: Sequence[str],
    cpp: Mapping[str, str],
) -> Any:
    """One run of hls4ml's converter and optimizer, under names that C++ takes."""
    from hls4ml.model import ModelGraph
    from hls4ml.utils.config import create_config

    settings = create_config(
        output_dir=TOP,
        project_name=TOP,
        backend=config.backend,
        part=config.part,
        clock_period=config.clock_period_ns,
        io_type=config.io_type,
    )
    hls_config = hls_config | {"LayerName": {cpp[name]: keys for name, keys in hls_config["LayerName"].items()}}
    settings |= {"InputData": None, "OutputPredictions": None, "HLSConfig": hls_config}
    settings["HLSConfig"]["Model"]["BitExact"] = False
    copies = [copy_layer(layer, cpp) for layer in layers]
    return ModelGraph.from_layer_list(settings, copies, [cpp[name] for name in inputs], [cpp[name] for name in outputs])


def set_fifo_depths(model_graph: Any, config: HlsConfig, cpp: Mapping[str, str]) -> None:
    """Give FIFOs between layers the depths of ``config``; hls4ml writes them as ``#pragma HLS STREAM``.

    Raises ``ConfigError`` with the nearest name for a FIFO that does not exist.
    """
    ports = {*model_graph.inputs, *model_graph.outputs}
    variables = {name: variable for node in model_graph.get_layers() for name, variable in node.variables.items()}
    own = {name: key for key, name in cpp.items()}
    fifos = {
        own.get(name, name): variable
        for name, variable in variables.items()
        if name not in ports and fifo_depth(variable)
    }
    check_fifo_names(config.fifo_depths, fifos)
    for name, depth in config.fifo_depths.items():
        fifos[name].pragma = ("stream", depth)


def copy_layer(layer: LayerDict, cpp: Mapping[str, str]) -> LayerDict:
    """A layer dictionary whose lists hls4ml may change: it renames inputs in place when it clones streams."""
    copied = {name: list(value) if isinstance(value, list) else value for name, value in layer.items()}
    return copied | {"name": cpp[layer["name"]], "inputs": [cpp[name] for name in layer["inputs"]]}


def check_precision(config: HlsConfig, layers: list[LayerDict]) -> None:
    """Raise ``ConfigError`` for a default type that quantizers leave nothing to; exceptions may."""
    if config.precision is None:
        return
    other, no_exception = config.change(precision=OTHER_PRECISION), LayerHlsConfig()
    if all(layer_types(config, no_exception, layer) == layer_types(other, no_exception, layer) for layer in layers):
        raise ConfigError(
            f"hls.precision = {config.precision} decides nothing: every type is given by a quantizer; leave it out "
            '(a float model is converted in it with quantization = "none")'
        )


def hls4ml_config(
    config: HlsConfig,
    overrides: Mapping[str, LayerHlsConfig],
    layers: list[LayerDict],
    waiting: Mapping[str, Pending],
    settled: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    """hls4ml's configuration, one entry per layer. Raises ``ConfigError`` naming types that nothing decides."""
    by_name, undecided = {}, []
    for layer in layers:
        override = overrides.get(layer["name"], LayerHlsConfig())
        types, open_types = layer_types(config, override, layer)
        undecided += open_types
        for name in waiting.get(layer["name"], Pending(())).types:
            if types.get(name) == "auto":
                types[name] = settled.get(layer["name"], {}).get(name, PLACEHOLDER)
        settings = layer_settings(config, override, layer)
        # A type with a default of its own keeps it, whatever Precision says, unless it is an attribute.
        defaults = default_types(config.backend, layer)
        settings |= {f"{name}_t": types[name] for name in types_named(override) if defaults[name] != "auto"}
        if layer["class_name"] == "Softmax":
            settings |= softmax_settings(override, layer, settled.get(layer["name"], {}).get("logits"))
        by_name[layer["name"]] = settings | {"Precision": types}
    if undecided:
        first = undecided[0].rsplit(".", 1)[0]
        shown = ", ".join(undecided[:6]) + (f" and {len(undecided) - 6} more" if len(undecided) > 6 else "")
        raise ConfigError(
            f"hls.precision is needed for whatever no quantizer decides, here {shown}; quantize the model first, "
            f'or give precision="ap_fixed<16,6>" or another type (of one layer: hls.layers.{first}.precision)'
        )
    model = {
        "Precision": {"default": bare(config.precision or "ap_fixed<16,6>")},
        "ReuseFactor": config.reuse_factor,
        "Strategy": "Latency" if config.strategy == "distributed_arithmetic" else config.strategy,
        "BramFactor": 1_000_000_000,
        "TraceOutput": False,
    }
    return {"Model": model, "LayerName": by_name}


def layer_settings(config: HlsConfig, override: LayerHlsConfig, layer: LayerDict) -> dict[str, Any]:
    """Strategy, reuse factor and the other keys of one layer, by hls4ml's names."""
    settings: dict[str, Any] = {"ReuseFactor": layer["chosen_reuse_factor"]}
    if layer["class_name"] in reuse.MATRIX_KINDS:
        settings["Strategy"] = layer["chosen_strategy"]
    if layer["class_name"] in ("Conv1D", "Conv2D"):
        factor = override.parallelization_factor or config.parallelization_factor
        check_parallelization(layer, factor)
        settings["ParallelizationFactor"] = factor
    if override.table_size:
        settings["TableSize"] = override.table_size
    if override.implementation:
        settings |= implementation(layer, override.implementation, config.backend)
    return settings


def softmax_settings(override: LayerHlsConfig, layer: LayerDict, logits: str | None) -> dict[str, Any]:
    """Entries and types of a softmax's tables, once the type it reads is known.

    Types are given as attributes, like every type with a default of its own.
    """
    softmax.check_size(layer["name"], override.table_size)
    named = {name: bare(text) for name, text in types_named(override).items() if name not in ("result", "table")}
    if isinstance(override.precision, str):
        named["accum"] = bare(override.precision)
    sizes: dict[str, Any] = {}
    if logits is not None and (override.implementation or "stable").lower() == "stable":
        classes = int(layer["n_slice"])
        tables = softmax.stable_tables(Precision.parse(logits), classes, override.table_size, named)
        sizes = {"TableSize": tables.exp_size, "ExpTableSize": tables.exp_size, "InvTableSize": tables.inv_size}
        named = dict(tables.types)
    elif logits is not None and (override.implementation or "").lower() == "latency":
        inverse = Precision.parse(named.get("inv_inp", softmax.HLS4ML_TYPE))
        exp_size, inv_size = softmax.latency_sizes(Precision.parse(logits), override.table_size, inverse)
        sizes = {"TableSize": exp_size, "ExpTableSize": exp_size, "InvTableSize": inv_size}
    return sizes | {f"{name}_t": text for name, text in named.items()}


def types_named(override: LayerHlsConfig) -> dict[str, str]:
    """The types a user named one by one for a layer."""
    return dict(override.precision) if isinstance(override.precision, dict) else {}


def check_parallelization(layer: LayerDict, factor: int) -> None:
    """Raise ``ConfigError`` with the valid neighbours for a parallelization factor hls4ml would move."""
    pixels = int(layer.get("out_height", 1)) * int(layer["out_width"])
    valid = reuse.divisors_of(pixels)
    if factor not in valid:
        near = ", ".join(str(value) for value in reuse.neighbours(valid, factor))
        raise ConfigError(
            f"hls.parallelization_factor of layer {layer['name']} must divide its {pixels} output pixels, "
            f"got {factor}; nearest valid: {near}"
        )


def implementation(layer: LayerDict, name: str, backend: str) -> dict[str, str]:
    """``implementation`` of a softmax or of a streaming convolution or pooling."""
    kind = layer["class_name"]
    choices = {"stable", "latency", "argmax", "legacy"} if kind == "Softmax" else {"linebuffer", "encoded"}
    if kind != "Softmax" and "Conv" not in kind and "Pooling" not in kind:
        raise ConfigError(f"hls.layers.{layer['name']}.implementation: a {kind} has only one")
    if name.lower() not in choices:
        raise ConfigError(
            f'hls.layers.{layer["name"]}.implementation: "{name}" is unknown{nearest(name, choices)}; '
            f"choose {', '.join(sorted(choices))}"
        )
    if kind == "Softmax":
        return {"Implementation": name.lower()}
    oblong = "filt_height" in layer and layer["filt_height"] != layer["filt_width"]
    if name.lower() == "encoded" and (backend == "Vitis" or oblong):
        raise ConfigError(
            f"hls.layers.{layer['name']}.implementation: encoded is for the Vivado backend and square kernels, "
            f"got {backend} and a {kind}; choose linebuffer"
        )
    return {"ConvImplementation": {"linebuffer": "LineBuffer", "encoded": "Encoded"}[name.lower()]}


def layer_types(config: HlsConfig, override: LayerHlsConfig, layer: LayerDict) -> tuple[dict[str, str], list[str]]:
    """hls4ml's type names of one layer with what decides them, and those that nothing decides."""
    types = default_types(config.backend, layer)
    asked = bare(config.precision) if config.precision else None
    open_types: list[str] = []
    float_weights = [
        name
        for name in WEIGHT_NAMES
        if name in types and layer.get(f"{name}_data", 0) is not None and not has_quantizer(layer, name)
    ]
    if layer["class_name"] == "InputLayer":
        decide(types, "result", layer.get("input_type") or asked, layer, open_types)
    elif layer["class_name"] == "Softmax":
        types["result"] = asked or SOFTMAX_RESULT
    elif "activation_type" in layer:
        types["result"] = str(layer["activation_type"].hls_type)
    elif is_function(layer) and (asked or layer["activation"] not in ("relu", "leakyrelu", "leaky_relu")):
        decide(types, "result", asked, layer, open_types)
    elif float_weights:
        for name in [*float_weights, "result"]:
            decide(types, name, asked, layer, open_types)
    apply_override(types, override, layer)
    return types, [name for name in open_types if types.get(name.rsplit(".", 1)[1]) == "auto"]


def default_types(backend: str, layer: LayerDict) -> dict[str, str]:
    """hls4ml's type names for a layer class with their defaults, ``auto`` where it infers them."""
    from hls4ml.backends import get_backend
    from hls4ml.model.attributes import TypeAttribute
    from hls4ml.model.layers import layer_map

    layer_class = get_backend(backend).create_layer_class(layer_map[layer["class_name"]])
    attributes = [item for item in layer_class.expected_attributes if isinstance(item, TypeAttribute)]
    return {
        item.name.removesuffix("_t"): "auto" if item.default is None else str(item.default)
        for item in attributes
        if item.name not in ("slope_t_t", "shift_t_t")
    }


def has_quantizer(layer: LayerDict, name: str) -> bool:
    return layer.get(f"{name}_quantizer") is not None


def is_function(layer: LayerDict) -> bool:
    """Whether a layer is an activation function without a quantizer."""
    return "activation" in layer and "activation_type" not in layer and layer["class_name"] not in reuse.MATRIX_KINDS


def decide(types: dict[str, str], name: str, decided: str | None, layer: LayerDict, open_types: list[str]) -> None:
    """Set a type, or note that nothing decides it."""
    if decided is None:
        open_types.append(f"{layer['name']}.{name}")
    else:
        types[name] = decided


def apply_override(types: dict[str, str], override: LayerHlsConfig, layer: LayerDict) -> None:
    """The user's types for one layer; raises ``ConfigError`` for a name the layer does not have."""
    if override.precision is None:
        return
    if isinstance(override.precision, str):
        spelled = bare(override.precision)
        kept = {name for name in types if has_quantizer(layer, name)}
        types |= {name: spelled for name in ("result", "accum", *WEIGHT_NAMES) if name in types and name not in kept}
        return
    for name, text in override.precision.items():
        if name not in types:
            raise ConfigError(
                f'hls.layers.{layer["name"]}.precision: "{name}" is not a type of a {layer["class_name"]}'
                f"{nearest(name, types)}; choose {', '.join(sorted(types))}"
            )
        types[name] = bare(text)
        requantize(layer, name, Precision.parse(text))


def requantize(layer: LayerDict, name: str, precision: Precision) -> None:
    """Store quantized weights in the type the user named, which may lose bits."""
    if has_quantizer(layer, name):
        from toolkit.hls.handlers import ExactWeights

        layer[f"{name}_data"] = precision.quantize(layer[f"{name}_data"])
        layer[f"{name}_quantizer"] = ExactWeights(precision)


def bare(text: str) -> str:
    """A type as hls4ml's configuration spells it."""
    return str(Precision.parse(text))


def weights_outside(model_graph: Any, cpp: Mapping[str, str]) -> Iterator[Finding]:
    """Weights, biases and scales that their type does not hold, with the integer bits that would."""
    own = {name: key for key, name in cpp.items()}
    for node in model_graph.get_layers():
        for name, variable in node.weights.items():
            precision = Precision.parse(spell(variable.type.precision, node.name, name))
            values = np.asarray(variable.data, np.float64)
            outside = (values > precision.maximum + precision.lsb) | (values < precision.minimum - precision.lsb)
            if outside.any():
                yield weight_outside(own.get(node.name, node.name), name, precision, values, int(outside.sum()))


def weight_outside(layer: str, name: str, precision: Precision, values: Any, count: int) -> Finding:
    wraps = precision.overflow is Overflow.WRAP
    worst = values.ravel()[np.abs(values).argmax()]
    bits = integer_bits_of(float(values.min()), float(values.max()))
    reason = (
        f"{count} of {values.size} values of {name} are outside {precision}, which holds {precision.minimum:g} to "
        f"{precision.maximum:g}: {worst:g} {'becomes' if wraps else 'is cut to'} {precision.quantize(worst).item():g}"
    )
    remedy = f"give hls.layers.{layer}.precision.{name} {bits} integer bits, or train with smaller weights"
    return Finding("error" if wraps else "warning", layer, "weight-outside-type", reason, remedy)


def integer_bits_of(low: float, high: float) -> int:
    """Integer bits, sign included, of a signed type that holds both ends.

    >>> integer_bits_of(-8, 7.5), integer_bits_of(0, 8)
    (4, 5)
    """
    above = math.floor(math.log2(high)) + 1 if high > 0 else -64
    below = math.ceil(math.log2(-low)) if low < 0 else -64
    return 1 + max(above, below)


def complete_graph(graph: Graph, layers: list[LayerDict]) -> Graph:
    """Add to a graph what hls4ml's nodes do not say: Keras' names, and weights turned into logic."""
    sources = keras_names(graph, layers)
    weights = logic_weights(layers)
    completed = tuple(
        replace(
            layer,
            attributes={
                **layer.attributes,
                **({"keras_layer": sources[layer.name]} if sources.get(layer.name) else {}),
            },
            weights={**weights.get(layer.name, {}), **layer.weights},
        )
        for layer in graph.layers
    )
    digest = graph_digest(completed, graph.tensors, graph.inputs, graph.outputs)
    return replace(graph, layers=completed, digest=digest)


def keras_names(graph: Graph, layers: list[LayerDict]) -> dict[str, str | None]:
    """By hls4ml name, the Keras layer whose output a layer's output equals.

    A cast that hls4ml moved into the layer before gives that layer its name. Layers that hls4ml
    inserted (clones, padding, repacking) have none.
    """
    kept = {layer.name for layer in graph.layers}
    found: dict[str, str | None] = {layer["name"]: layer["keras_layer"] for layer in layers}
    for layer in layers:
        if layer["name"] not in kept and layer["inputs"]:
            found[layer["inputs"][0]] = layer["keras_layer"]
    return found


def logic_weights(layers: list[LayerDict]) -> dict[str, dict[str, Weight]]:
    """Weights of layers with distributed arithmetic, which hls4ml drops once they are adders."""
    return {
        layer["name"]: {
            name: Weight(
                f"{layer['name']}_{name}", np.asarray(layer[f"{name}_data"]), precision_of_weights(layer, name)
            )
            for name in ("weight", "bias")
            if has_quantizer(layer, name)
        }
        for layer in layers
        if layer["chosen_strategy"] == "distributed_arithmetic"
    }


def precision_of_weights(layer: LayerDict, name: str) -> str:
    return str(Precision.parse(str(layer[f"{name}_quantizer"].hls_type)))
