"""Any hls4ml project folder as an ``HlsProject``, without the Keras model it came from.

Types come from ``firmware/defines.h``, layers from ``firmware/parameters.h`` and the calls in
``firmware/<top>.cpp``, weights from ``firmware/weights/*.txt``: everything that decides csim's bits.
The graph follows the conventions of :mod:`toolkit.hls.graph`. A function this module does not know
becomes a layer whose ``kind`` is the function's name: csim runs it, emulation and estimation name it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from toolkit.config import HlsConfig
from toolkit.errors import ConfigError, HlsError
from toolkit.hls.firmware import (
    Call,
    Config,
    CppType,
    Loaded,
    Top,
    Variable,
    dimensions,
    expand_macros,
    parse_configs,
    parse_top,
    parse_types,
)
from toolkit.hls.graph import graph_digest
from toolkit.hls.project import MANIFEST, load_project
from toolkit.precision import Precision
from toolkit.records import Array, Graph, HlsProject, Layer, Tensor, Weight
from toolkit.store import digest

Shape = tuple[int, ...]
Item = TypeVar("Item")


def open_project(path: str | Path) -> HlsProject:
    """A project written by :func:`toolkit.write_project`, or any hls4ml project folder.

    Raises ``HlsError`` for a folder that is neither, or whose files are not those that were written.
    """
    folder = Path(path)
    if (folder / MANIFEST).is_file() or not (folder / "firmware").is_dir():
        return load_project(folder)
    return read_folder(folder)


def read_folder(path: Path) -> HlsProject:
    """Read a project that hls4ml's Vivado or Vitis backend wrote, whoever ran it.

    Raises ``HlsError`` naming the file that is missing or cannot be understood.
    """
    files = read_firmware(path)
    graph = firmware_graph(files)
    return HlsProject(
        path=path,
        digest=folder_digest(path),
        config=folder_config(path, graph, stream=files.stream),
        graph=graph,
        top=files.top.name,
        notes=("read from its firmware/; no Keras model",),
    )


def folder_digest(path: Path) -> str:
    """Digest over everything csim compiles: each file below ``firmware/``, with its name."""
    files = sorted(file for file in (path / "firmware").rglob("*") if file.is_file())
    return digest([[str(file.relative_to(path)), file.read_bytes()] for file in files])


@dataclass(frozen=True)
class Firmware:
    """The parsed files of a project."""

    folder: Path
    top: Top
    types: Mapping[str, CppType]
    configs: Mapping[str, Config]
    argument_shapes: Mapping[str, Shape]

    @property
    def stream(self) -> bool:
        """Whether values travel through streams (io_stream)."""
        return self.top.arguments[0].shape is None

    def type_of(self, variable: str) -> CppType:
        """The type of a value, through aliases."""
        name = self.top.variables[self.top.resolve(variable)].type
        return self.named_type(name or "")

    def named_type(self, name: str) -> CppType:
        """A type by name, or one spelled out where a name could stand."""
        return self.types.get(name) or CppType(name, name)


def read_firmware(path: Path) -> Firmware:
    """Parse ``defines.h``, ``parameters.h`` and the top function."""
    folder = path / "firmware"
    name = top_name(path)
    defines = read_text(folder / "defines.h")
    source, parameters = (expand_macros(read_text(folder / file), defines) for file in (f"{name}.cpp", "parameters.h"))
    top = with_argument_weights(parse_top(source, name), folder / "weights")
    if not top.arguments or not top.calls:
        raise HlsError(f"{folder / f'{name}.cpp'}: the top function must take arguments and call layers")
    types = parse_types(expand_macros(defines, defines))
    return Firmware(path, top, types, parse_configs(parameters), argument_shapes(path, name, defines))


def with_argument_weights(top: Top, folder: Path) -> Top:
    """Weights that hls4ml makes arguments of the top function (``BramFactor``) count as weights, not as inputs."""
    outside = [item for item in top.arguments if item.name in top.weights or (folder / f"{item.name}.txt").is_file()]
    loaded = {
        item.name: Loaded(item.name, item.type or "", math.prod(item.shape or ()), f"{item.name}.txt")
        for item in outside
    }
    arguments = tuple(item for item in top.arguments if item not in outside)
    return replace(top, arguments=arguments, weights={**loaded, **top.weights})


def read_text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise HlsError(f"an hls4ml project must hold {path}: {error.strerror}") from None


def top_name(path: Path) -> str:
    """Name of the top function: ``project.tcl``, ``hls4ml_config.yml``, or the only ``.cpp`` in ``firmware/``."""
    tcl, yml = (
        setting(path, "project.tcl", r'^set project_name "?([\w]+)"?'),
        setting(path, "hls4ml_config.yml", r"^ProjectName:\s*(\w+)"),
    )
    sources = sorted(file.stem for file in (path / "firmware").glob("*.cpp"))
    for name in (tcl, yml, *(sources if len(sources) == 1 else [])):
        if name in sources:
            return str(name)
    raise HlsError(
        f"{path} must be an hls4ml project: project.tcl or hls4ml_config.yml names firmware/<top>.cpp; "
        f"found {', '.join(f'firmware/{name}.cpp' for name in sources) or 'no .cpp file in firmware/'}"
    )


def setting(path: Path, file: str, pattern: str) -> str | None:
    """What a pattern captures in a file of the project; ``None`` without file or match."""
    if not (path / file).is_file():
        return None
    match = re.search(pattern, (path / file).read_text(errors="replace"), re.MULTILINE)
    return match[1] if match else None


def argument_shapes(path: Path, name: str, defines: str) -> dict[str, Shape]:
    """Shapes of stream arguments, which only the bridge and the test bench spell out."""
    shapes: dict[str, Shape] = {}
    for file in (f"{name}_bridge.cpp", f"{name}_test.cpp"):
        text = (path / file).read_text(errors="replace") if (path / file).is_file() else ""
        text = expand_macros(text, defines)
        for size, variable in re.findall(r"_data<[^>]*?,\s*([\d*]+)>\(\w+,\s*(\w+?)(?:_ap)?\)", text):
            shapes.setdefault(variable, dimensions(size))
    return shapes


def folder_config(path: Path, graph: Graph, *, stream: bool) -> HlsConfig:
    """What the folder tells: backend, part, clock; the commonest strategy and reuse factor of its products."""
    backend = (
        setting(path, "hls4ml_config.yml", r"^Backend:\s*(\w+)")
        or setting(path, "project.tcl", r'^set backend "?(\w+)"?')
        or "Vivado"
    )
    known = {"vitis": "Vitis", "vivado": "Vivado", "vivadoaccelerator": "Vivado", "vitisaccelerator": "Vitis"}
    if backend.lower() not in known:
        raise HlsError(f"{path}: hls4ml backend must be Vitis or Vivado, got {backend}")
    part = setting(path, "hls4ml_config.yml", r"^Part:\s*([\w.-]+)") or setting(
        path, "project.tcl", r'^set part "?([\w.-]+)"?'
    )
    clock = setting(path, "hls4ml_config.yml", r"^ClockPeriod:\s*([\d.]+)") or setting(
        path, "project.tcl", r"^set clock_period ([\d.]+)"
    )
    products = [layer.attributes for layer in graph.layers if "weight" in layer.weights]
    strategy = commonest((spelled_strategy(str(item.get("strategy"))) for item in products), "Latency")
    return HlsConfig(
        backend=known[backend.lower()],
        part=part or HlsConfig().part,
        clock_period_ns=float(clock) if clock else HlsConfig().clock_period_ns,
        io_type="io_stream" if stream else "io_parallel",
        strategy=strategy,
        reuse_factor=commonest((int(item.get("reuse_factor", 1)) for item in products), 1),
    )


def spelled_strategy(name: str) -> str:
    known = {"latency": "Latency", "distributed_arithmetic": "distributed_arithmetic"}
    return known.get(name.lower(), "Resource")


def commonest(values: Iterable[Item], default: Item) -> Item:
    counted = Counter(values).most_common(1)
    return counted[0][0] if counted else default


# --- graph ---


@dataclass(frozen=True)
class Value:
    """A value that a layer has produced: its tensor's name and shape."""

    tensor: str
    shape: Shape


@dataclass
class Progress:
    """Layers read so far, and what stands behind each C++ variable."""

    layers: list[Layer] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Piece:
    """One call with what is needed to read it as a layer."""

    call: Call
    config: Config
    inputs: tuple[Value, ...]
    files: Firmware

    def constant(self, name: str, default: Any = None) -> Any:
        """A constant of the layer's configuration."""
        return self.config.constants.get(name, default)


def firmware_graph(files: Firmware) -> Graph:
    """The graph that a project's C++ spells out."""
    progress = Progress()
    called = {argument for call in files.top.calls for argument in call.arguments}
    written = {name for call in files.top.calls for name in outputs_of(call, files)}
    inputs = [argument for argument in files.top.arguments if argument.name in called and argument.name not in written]
    for argument in inputs:
        add_input(progress, files, argument)
    for call in files.top.calls:
        for name in call.arguments:
            add_alias(progress, files, name, call)
        add_call(progress, files, call)
    return finish(progress, files, [argument.name for argument in inputs])


def finish(progress: Progress, files: Firmware, inputs: list[str]) -> Graph:
    names = [argument.name for argument in files.top.arguments if argument.name not in inputs]
    missing = [name for name in names if name not in progress.values]
    if missing:
        raise HlsError(f"{files.folder}: no layer writes {', '.join(missing)} of the top function")
    layers, tensors = tuple(progress.layers), progress.tensors
    ends = tuple(progress.values[name].tensor for name in names)
    starts = tuple(inputs)
    return Graph(layers, tensors, starts, ends, graph_digest(layers, tensors, starts, ends))


def outputs_of(call: Call, files: Firmware) -> list[str]:
    """The variables a call writes: behind its first value, those that no earlier layer and no file fills.

    hls4ml writes inputs first, then outputs, then weights; merges have two inputs, clones several outputs.
    """
    values = [name for name in call.arguments if name in files.top.variables and name not in files.top.weights]
    return values[input_count(call) :]


def input_count(call: Call) -> int:
    return 2 if call.function in TWO_INPUTS else 1


def add_input(progress: Progress, files: Firmware, argument: Variable) -> None:
    """An argument of the top function as an ``Input`` layer."""
    shape = argument.shape or files.argument_shapes.get(argument.name) or hinted_shape(files, argument.name)
    if shape is None:
        raise HlsError(
            f"{files.folder}: the shape of {argument.name} must be in {files.top.name}_bridge.cpp or "
            f"{files.top.name}_test.cpp, or follow from its first layer; it is not"
        )
    element = spell(files.type_of(argument.name))
    attributes = {"input_shape": list(shape)}
    layer = Layer(argument.name, "Input", (), (argument.name,), shape, {"result_t": element}, attributes, {})
    add_layer(progress, files, layer, {argument.name: argument.name})


def add_alias(progress: Progress, files: Firmware, name: str, reader: Call) -> None:
    """A variable that only renames another is a ``Reshape`` that moves nothing."""
    variable = files.top.variables.get(name)
    if variable is None or variable.alias is None or name in progress.values:
        return
    add_alias(progress, files, variable.alias, reader)
    source = progress.values[variable.alias]
    shape = expected_shape(reader, config_of(reader, files)) or (math.prod(source.shape),)
    if math.prod(shape) != math.prod(source.shape):
        shape = (math.prod(source.shape),)
    own = re.sub(r"_out$", "", name)
    types = {"result_t": spell(files.type_of(name))}
    layer = Layer(own, "Reshape", (source.tensor,), (own,), shape, types, {"target_shape": list(shape)}, {})
    add_layer(progress, files, layer, {own: name})


def add_call(progress: Progress, files: Firmware, call: Call) -> None:
    """One call as a layer."""
    values = [name for name in call.arguments if name in files.top.variables and name not in files.top.weights]
    sources, targets = values[: input_count(call)], outputs_of(call, files)
    unknown = [name for name in sources if name not in progress.values]
    if unknown or not targets:
        raise HlsError(
            f"{files.folder}: call of {call.function} reads {unknown or 'nothing known'}, cannot be followed"
        )
    piece = Piece(call, config_of(call, files), tuple(progress.values[name] for name in sources), files)
    name = call.layer or piece.config.layer or re.sub(r"_out$", "", targets[0])
    kind, shape, attributes, weights = READERS.get(call.function, read_unknown)(piece)
    declared = files.top.variables[targets[0]].shape
    outputs = [name] if len(targets) == 1 else [copy_name(name, target) for target in targets]
    layer = Layer(
        name=name,
        kind=kind,
        inputs=tuple(value.tensor for value in piece.inputs),
        outputs=tuple(outputs),
        shape=declared or shape,
        types=layer_types(piece, targets[0]),
        attributes=attributes | common_attributes(piece, weights, targets[0]),
        weights=weights,
    )
    add_layer(progress, files, layer, dict(zip(outputs, targets, strict=True)))


def copy_name(clone: str, variable: str) -> str:
    """``layer24_cpy1`` of layer ``clone_relu`` is hls4ml's tensor ``relu_cpy1``."""
    return f"{clone.removeprefix('clone_')}_{variable.rsplit('_', 1)[1]}"


def add_layer(progress: Progress, files: Firmware, layer: Layer, variables: Mapping[str, str]) -> None:
    """Keep a layer; ``variables`` maps its tensors to C++ variables."""
    cpp = {
        tensor: {"name": name, "type": files.type_of(name).name, "size": math.prod(layer.shape)}
        for tensor, name in variables.items()
    }
    attributes = {**layer.attributes, "cpp_variables": cpp}
    progress.layers.append(Layer(**{**vars(layer), "attributes": attributes}))
    for tensor, name in variables.items():
        progress.values[name] = Value(tensor, layer.shape)
        progress.tensors[tensor] = Tensor(
            tensor, layer.shape, spell(files.type_of(name)), fifo_depth(files, name, layer.shape)
        )


def fifo_depth(files: Firmware, name: str, shape: Shape) -> int:
    """Depth of a value's stream; arguments have hls4ml's default, one word per pack of elements."""
    variable = files.top.variables[name]
    if not files.stream or variable.alias is not None:
        return 0
    return variable.depth or math.prod(shape) // files.type_of(name).packed


def config_of(call: Call, files: Firmware) -> Config:
    """The configuration a call names as its last template argument; an empty one for calls without."""
    for name in reversed(call.templates):
        if name in files.configs:
            return files.configs[name]
    return Config("", None, None, {}, {}, {})


def layer_types(piece: Piece, target: str) -> dict[str, str]:
    """hls4ml's type names of a layer with their spelling."""
    named = {name: text for name, text in type_names(piece, target).items() if piece.files.named_type(text).element}
    return {name: spell(piece.files.named_type(text)) for name, text in named.items()}


# Typedefs of a configuration that are no type of a value.
NOT_TYPES = ("mult_config", "depthwise_config", "pointwise_config")


def type_names(piece: Piece, target: str) -> dict[str, str]:
    """C++ names of a layer's types."""
    found = {name: text for name, text in piece.config.types.items() if name not in NOT_TYPES}
    if piece.constant("implementation") != "stable":
        found.pop("inp_norm_t", None)
    return {**found, "result_t": piece.files.type_of(target).name}


def common_attributes(piece: Piece, weights: Mapping[str, Weight], target: str) -> dict[str, Any]:
    """What every layer has: index, product, type names, reuse factor, strategy, zero counts."""
    index = re.search(r"(\d+)$", piece.config.name) or re.match(r"layer(\d+)_", target)
    attributes: dict[str, Any] = {
        "type_names": type_names(piece, target),
        "reuse_factor": piece.constant("reuse_factor", 1),
    }
    attributes |= {"index": int(index[1])} if index else {}
    if product := piece.config.using.get("product"):
        attributes["product"] = product.rsplit("::", 1)[1]
    for name, weight in weights.items():
        counted = int(np.count_nonzero(weight.values == 0))
        attributes[f"{name}_nzeros"] = int(piece.constant("n_zeros", counted)) if name == "weight" else counted
    return attributes


def spell(cpp: CppType) -> str:
    """A C++ type as :class:`Precision` prints it, ``exponent<W>`` for powers of two, as it is otherwise."""
    try:
        precision = Precision.parse(cpp.element)
    except ConfigError:
        return cpp.element
    return f"exponent<{precision.width_bits}>" if cpp.form == "exponent" else str(precision)


# --- shapes ---


def hinted_shape(files: Firmware, variable: str) -> Shape | None:
    """The shape the first reader of a variable expects."""
    for call in files.top.calls:
        if variable in call.arguments:
            return expected_shape(call, config_of(call, files))
    return None


def expected_shape(call: Call, config: Config) -> Shape | None:
    """The input shape that a layer's configuration implies; ``None`` when any shape would do."""
    choices: tuple[tuple[str, ...], ...]
    if call.function == "dense":
        choices = (("n_in",),)
    elif "1d" in call.function:
        choices = (("in_width", "n_chan"), ("n_in", "n_filt"))
    else:
        choices = (
            ("in_height", "in_width", "n_chan"),
            ("in_height", "in_width", "n_filt"),
            ("height", "width", "n_chan"),
        )
    if "from_shape" in config.constants:
        return whole_shape(config.constants["from_shape"])
    for names in choices:
        if all(isinstance(config.constants.get(name), int) for name in names):
            return tuple(int(str(config.constants[name])) for name in names)
    return None


def whole_shape(value: Any) -> Shape:
    return tuple(int(size) for size in value)


# --- layers ---

Parts = tuple[str, Shape, dict[str, Any], dict[str, Weight]]

SIZES_2D = ("in_height", "in_width", "out_height", "out_width")
PADS_2D = ("pad_top", "pad_bottom", "pad_left", "pad_right")


def taken(piece: Piece, *names: str) -> dict[str, Any]:
    """Constants of the configuration under the attribute names hls4ml has for them."""
    return {name: piece.constant(name) for name in names if piece.constant(name) is not None}


def data_format(piece: Piece) -> str:
    return "channels_first" if piece.call.function.endswith("_cf") else "channels_last"


def read_dense(piece: Piece) -> Parts:
    n_in, n_out = piece.constant("n_in"), piece.constant("n_out")
    attributes = taken(piece, "n_in", "n_out") | {"data_format": "channels_last", "strategy": strategy(piece)}
    return "Dense", (n_out,), attributes, product_weights(piece, (n_in, n_out))


def read_conv(piece: Piece) -> Parts:
    """Convolutions: plain, depthwise and pointwise, over one or two axes."""
    rank = 1 if "1d" in piece.call.function else 2
    names = (
        "filt_height",
        "filt_width",
        "stride_height",
        "stride_width",
        "n_chan",
        "n_filt",
        "dilation",
        "n_partitions",
    )
    attributes = taken(piece, *SIZES_2D, *PADS_2D, *names, "implementation")
    pixels = attributes.get("out_height", 1) * attributes["out_width"]
    attributes |= {
        "data_format": data_format(piece),
        "strategy": strategy(piece),
        "parallelization_factor": pixels // max(attributes.get("n_partitions", pixels), 1),
    }
    prefix = {"depthwise": "Depthwise", "pointwise": "Pointwise"}.get(piece.call.function.split("_")[0], "")
    channels, filters = attributes["n_chan"], attributes["n_filt"]
    window = (attributes["filt_height"], attributes["filt_width"]) if rank == 2 else (attributes["filt_width"],)
    if prefix == "Depthwise":
        attributes["depth_multiplier"] = filters // channels
    kernel = (*window, channels, filters // channels if prefix == "Depthwise" else filters)
    shape = (
        (attributes["out_height"], attributes["out_width"], filters)
        if rank == 2
        else (attributes["out_width"], filters)
    )
    return f"{prefix}Conv{rank}D", shape, attributes, product_weights(piece, kernel)


def strategy(piece: Piece) -> str:
    """``latency``, ``resource`` or what else the kernel function computes."""
    return str(piece.constant("strategy", "latency"))


def read_pooling(piece: Piece) -> Parts:
    """Pooling over windows and over everything, over one or two axes."""
    rank = 1 if "1d" in piece.call.function else 2
    kind = f"{'Global' if 'global' in piece.call.function else ''}Pooling{rank}D"
    names = ("pool_height", "pool_width", "stride_height", "stride_width", "n_filt", "n_chan", "n_in", "n_out")
    attributes = taken(piece, *SIZES_2D, *PADS_2D, *names, "pool_op", "count_pad", "implementation")
    attributes["data_format"] = data_format(piece)
    channels = attributes["n_filt"]
    if kind.startswith("Global"):
        return kind, (channels,), attributes | whole_window(attributes, rank), {}
    if rank == 2:
        return kind, (attributes["out_height"], attributes["out_width"], channels), attributes, {}
    attributes |= {"in_width": attributes["n_in"], "out_width": attributes["n_out"]}
    return kind, (attributes["n_out"], channels), attributes, {}


def whole_window(attributes: Mapping[str, Any], rank: int) -> dict[str, Any]:
    """The window of a pooling over everything."""
    width = attributes["n_in" if rank == 1 else "in_width"]
    window = {"in_width": width, "pool_width": width, "stride_width": width, "out_width": 1}
    if rank == 2:
        height = attributes["in_height"]
        window |= {"pool_height": height, "stride_height": height, "out_height": 1}
    sides = ("left", "right") if rank == 1 else ("top", "bottom", "left", "right")
    return window | {f"pad_{side}": 0 for side in sides} | {"n_chan": attributes["n_filt"]}


def read_activation(piece: Piece) -> Parts:
    """Functions of one value; the name comes from the configuration, ``relu_config3``."""
    name = re.sub(r"_config\d+$", "", piece.config.name) or piece.call.function
    kind = {"hard_sigmoid": "HardActivation", "hard_tanh": "HardActivation", "ternary_tanh": "TernaryTanh"}
    attributes = taken(piece, "n_in", "table_size", "slope", "shift") | {"activation": name}
    return kind.get(piece.call.function, "Activation"), piece.inputs[0].shape, attributes, {}


def read_parametrized(piece: Piece) -> Parts:
    """Functions with one parameter, which stands between input and output in the call."""
    name = re.sub(r"_config\d+$", "", piece.config.name)
    attributes = taken(piece, "n_in", "table_size") | {
        "activation": name,
        "activ_param": float(piece.call.arguments[1]),
    }
    return "ParametrizedActivation", piece.inputs[0].shape, attributes, {}


def read_prelu(piece: Piece) -> Parts:
    _, shape, attributes, _ = read_activation(piece)
    loaded = piece.files.top.weights[piece.call.arguments[1]]
    return "PReLU", shape, attributes, {"param": read_weight(piece.files, loaded, (loaded.size,))}


def read_softmax(piece: Piece) -> Parts:
    names = ("n_in", "n_inner", "n_outer", "implementation", "exp_scale", "exp_table_size", "inv_table_size")
    attributes = taken(piece, *names) | {"activation": "softmax", "axis": -1}
    attributes["table_size"] = piece.constant("table_size", piece.constant("inv_table_size", 1024))
    return "Softmax", piece.inputs[0].shape, attributes, {}


def read_normalize(piece: Piece) -> Parts:
    """``scale * x + bias``; hls4ml's ApplyAlpha is written the same."""
    attributes = taken(piece, "n_in", "n_filt") | {"n_out": piece.constant("n_in"), "data_format": "channels_last"}
    weights = {
        name: read_weight(piece.files, loaded, (loaded.size,))
        for name, loaded in zip(("scale", "bias"), loaded_by(piece), strict=True)
    }
    return "BatchNormalization", piece.inputs[0].shape, attributes, weights


def read_merge(piece: Piece) -> Parts:
    shape = max((value.shape for value in piece.inputs), key=math.prod)
    return "Merge", shape, {"op": piece.call.function, "output_shape": list(shape)}, {}


def read_dot(piece: Piece) -> Parts:
    return "Dot", (1,), {"op": piece.call.function} | taken(piece, "n_in", "n_out"), {}


def read_concatenate(piece: Piece) -> Parts:
    """``concatenate1d`` to ``concatenate3d`` along the configuration's axis (batch axis counted)."""
    first, second = piece.inputs[0].shape, piece.inputs[1].shape
    axis = piece.constant("axis", -1)
    place = axis - 1 if axis > 0 else axis % len(first)
    shape = tuple(size + second[index] if index == place else size for index, size in enumerate(first))
    operation = "C" + piece.call.function.removeprefix("c")
    return "Concatenate", shape, {"op": operation, "axis": axis, "output_shape": list(shape)}, {}


def read_border(piece: Piece) -> Parts:
    """Zero padding and cropping."""
    rank = 1 if "1d" in piece.call.function else 2
    kind = f"{'ZeroPadding' if 'zeropad' in piece.call.function else 'Cropping'}{rank}D"
    crops = tuple(name.replace("pad", "crop") for name in PADS_2D)
    attributes = taken(piece, *SIZES_2D, *PADS_2D, *crops, "n_chan") | {"data_format": data_format(piece)}
    spatial = [attributes["out_height"]] if rank == 2 else []
    return kind, (*spatial, attributes["out_width"], attributes["n_chan"]), attributes, {}


def read_resize(piece: Piece) -> Parts:
    height, width, channels = piece.constant("new_height"), piece.constant("new_width"), piece.constant("n_chan")
    attributes = {
        "algorithm": piece.call.function.removeprefix("resize_"),
        "in_height": piece.constant("height"),
        "in_width": piece.constant("width"),
        "out_height": height,
        "out_width": width,
        "n_chan": channels,
        "data_format": "channels_last",
    }
    shape = (width, channels) if len(piece.inputs[0].shape) == 2 else (height, width, channels)
    return "Resize", shape, attributes, {}


def read_transpose(piece: Piece) -> Parts:
    shape = whole_shape(piece.constant("to_shape"))
    return "Transpose", shape, {"perm": list(piece.constant("perm"))}, {}


def read_clone(piece: Piece) -> Parts:
    return "Clone", piece.inputs[0].shape, {"size": math.prod(piece.inputs[0].shape)}, {}


def read_repack(piece: Piece) -> Parts:
    """A stream of other words: the shape its reader expects, or words of as many elements as the type packs."""
    target = outputs_of(piece.call, piece.files)[0]
    size = math.prod(piece.inputs[0].shape)
    packed = piece.files.type_of(target).packed
    hint = hinted_shape(piece.files, target)
    shape = hint if hint and math.prod(hint) == size else (size // packed, packed)
    return "Repack", shape, {"target_shape": list(shape)}, {}


def read_unknown(piece: Piece) -> Parts:
    """A function not known here: csim runs it; emulation and estimation refuse it by this name."""
    target = outputs_of(piece.call, piece.files)[0]
    variable, packed = piece.files.top.variables[target], piece.files.type_of(target).packed
    return piece.call.function, variable.shape or (max(variable.depth, 1), packed), dict(piece.config.constants), {}


MERGES = ("add", "subtract", "multiply", "average", "maximum", "minimum")
CONCATENATIONS = ("concatenate1d", "concatenate2d", "concatenate3d")
TWO_INPUTS = (*MERGES, *CONCATENATIONS, "dot1d")
FUNCTIONS = (
    "linear", "relu", "relu1", "sigmoid", "tanh", "softplus", "softsign", "selu", "hard_sigmoid", "hard_tanh",
    "binary_tanh", "ternary_tanh",
)  # fmt: skip
CONVOLUTIONS = tuple(
    f"{prefix}conv_{rank}d_{order}"
    for prefix in ("", "depthwise_", "pointwise_")
    for rank in (1, 2)
    for order in ("cl", "cf")
)
POOLINGS = tuple(
    f"{prefix}pooling{rank}d_{order}" for prefix in ("", "global_") for rank in (1, 2) for order in ("cl", "cf")
)
BORDERS = tuple(
    f"{name}{rank}d_{order}" for name in ("zeropad", "cropping") for rank in (1, 2) for order in ("cl", "cf")
)

READERS: dict[str, Callable[[Piece], Parts]] = {
    "dense": read_dense,
    "normalize": read_normalize,
    "prelu": read_prelu,
    "softmax": read_softmax,
    "softmax_multidim": read_softmax,
    "dot1d": read_dot,
    "resize_nearest": read_resize,
    "transpose": read_transpose,
    "clone_stream": read_clone,
    "repack_stream": read_repack,
    **dict.fromkeys(CONVOLUTIONS, read_conv),
    **dict.fromkeys(POOLINGS, read_pooling),
    **dict.fromkeys(FUNCTIONS, read_activation),
    **dict.fromkeys(("leaky_relu", "elu", "thresholded_relu"), read_parametrized),
    **dict.fromkeys(MERGES, read_merge),
    **dict.fromkeys(CONCATENATIONS, read_concatenate),
    **dict.fromkeys(BORDERS, read_border),
}


# --- weights ---


def loaded_by(piece: Piece) -> list[Loaded]:
    """The weights among a call's arguments, in order."""
    return [piece.files.top.weights[name] for name in piece.call.arguments if name in piece.files.top.weights]


def product_weights(piece: Piece, kernel: Shape) -> dict[str, Weight]:
    """Kernel and bias of a matrix product, the kernel in Keras' layout."""
    loaded = loaded_by(piece)
    if len(loaded) != 2:
        raise HlsError(
            f"{piece.files.folder}: layer {piece.call.layer} must load a kernel and a bias from text files, "
            f"got {[item.name for item in loaded]}"
        )
    transposed = strategy(piece) in ("resource", "resource_unrolled", "unrolled")
    bias = read_weight(piece.files, loaded[1], (loaded[1].size,))
    return {"weight": read_weight(piece.files, loaded[0], kernel, transposed=transposed), "bias": bias}


def read_weight(files: Firmware, loaded: Loaded, shape: Shape, *, transposed: bool = False) -> Weight:
    """A weight file in Keras' layout with the values its C++ type holds.

    Strategy Resource stores the outputs first (hls4ml's ``apply_resource_strategy``). Raises
    ``HlsError`` when the file is missing or holds another number of values.
    """
    cpp = files.named_type(loaded.type)
    path = files.folder / "firmware" / "weights" / loaded.file
    values = weight_values(read_text(path), cpp, shape)
    if values.size != math.prod(shape):
        raise HlsError(f"{path} must hold {math.prod(shape)} values for a weight of shape {shape}, got {values.size}")
    if transposed and cpp.form != "compressed":
        values = np.moveaxis(values.reshape(shape[-1], *shape[:-1]), 0, -1)
    values = values.reshape(shape)
    if cpp.form != "exponent":
        values = Precision.parse(cpp.element).quantize(values)
    return Weight(loaded.name, values, spell(cpp))


def weight_values(text: str, cpp: CppType, shape: Shape) -> Array:
    """Numbers of a weight file: plain, ``{sign, exponent}`` or ``{row, column, value}``."""
    if cpp.form == "fixed":
        return np.asarray([float(item) for item in text.split(",") if item.strip()], np.float64)
    groups = [[float(item) for item in group.split(",")] for group in re.findall(r"\{([^}]*)\}", text)]
    if cpp.form == "exponent":
        return np.asarray([math.ldexp(1.0 if sign == 1 else -1.0, int(power)) for sign, power in groups], np.float64)
    dense = np.zeros(shape, np.float64)
    for row, column, value in groups:
        dense[int(row), int(column)] += value
    return dense
