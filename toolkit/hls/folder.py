"""Any hls4ml project folder as an ``HlsProject``, without the Keras model it came from.

Types come from ``firmware/defines.h``, layers from ``firmware/parameters.h`` and the calls in
``firmware/<top>.cpp``, weights from ``firmware/weights/*.txt``: everything that decides csim's bits.
The graph follows the conventions of :mod:`toolkit.hls.graph`. A function this module does not know
becomes a layer whose ``kind`` is the function's name: csim runs it, emulation and estimation name it.

The folder may be anybody's: everything is read through :mod:`toolkit.reading`, and whatever goes wrong is one
``HlsError`` with file and line.
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

from toolkit.arguments import as_path
from toolkit.config import HlsConfig
from toolkit.errors import ConfigError, HlsError
from toolkit.hls.code import read_code
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
from toolkit.names import shown
from toolkit.precision import Precision
from toolkit.reading import FIRMWARE_BYTES, MIB, Folder, Malformed, blaming, place
from toolkit.records import Array, Graph, HlsProject, Layer, Tensor, Weight
from toolkit.store import digest

Shape = tuple[int, ...]
Item = TypeVar("Item")

LARGEST_TENSOR = 1 << 24  # elements between two layers; no design of hls4ml comes near
MOST_LAYERS = 5_000
LARGEST_SIZE = (1 << 32) - 1  # what ``static const unsigned`` holds
DIGITS_BYTES = 64  # of one number in a weight file, generously


def open_project(path: str | Path) -> HlsProject:
    """A project written by :func:`toolkit.write_project`, or any hls4ml project folder.

    Raises ``HlsError`` for a folder that is neither, or whose files are not those that were written.
    """
    folder = as_path("a project", path, HlsError)
    with blaming(folder, HlsError):
        if is_foreign(folder):
            return read_folder(folder)
        return load_project(folder)


def as_project(value: HlsProject | str | Path) -> HlsProject:
    """A project, given as such or as its folder."""
    if isinstance(value, HlsProject):
        return value
    if not isinstance(value, (str, Path)):
        raise HlsError(f"a project must be an HlsProject or its folder (str or Path), got {shown(value)}")
    return open_project(value)


def is_foreign(folder: Path) -> bool:
    """Whether a folder is an hls4ml project without our manifest: anybody's C++."""
    return not (folder / MANIFEST).is_file() and (folder / "firmware").is_dir()


def read_folder(path: Path) -> HlsProject:
    """Read a project that hls4ml's Vivado or Vitis backend wrote, whoever ran it.

    Raises ``HlsError`` naming the file that is missing or cannot be understood.
    """
    files = read_firmware(path)
    graph = firmware_graph(files)
    return HlsProject(
        path=path,
        digest=folder_digest(path),
        config=folder_config(files.source, graph, stream=files.stream),
        graph=graph,
        top=files.top.name,
        notes=("read from its firmware/; no Keras model",),
    )


def folder_digest(path: Path) -> str:
    """Digest over everything csim compiles: each file below ``firmware/``, with its name."""
    source = Folder(path, HlsError)
    names = [str(file.relative_to(path)) for file in source.files("firmware")]
    return digest([[name, source.bytes(name, FIRMWARE_BYTES)] for name in names])


@dataclass(frozen=True)
class Firmware:
    """The parsed files of a project."""

    source: Folder
    top: Top
    types: Mapping[str, CppType]
    configs: Mapping[str, Config]
    argument_shapes: Mapping[str, Shape]

    @property
    def folder(self) -> Path:
        """The project's folder."""
        return self.source.root

    @property
    def top_file(self) -> Path:
        """Where the top function stands."""
        return self.folder / "firmware" / f"{self.top.name}.cpp"

    @property
    def parameters_file(self) -> Path:
        """Where the layers' configurations stand."""
        return self.folder / "firmware" / "parameters.h"

    @property
    def stream(self) -> bool:
        """Whether values travel through streams (io_stream)."""
        return self.top.arguments[0].shape is None

    def type_of(self, variable: str) -> CppType:
        """The type of a value, through aliases."""
        found = self.top.variables.get(self.top.resolve(variable))
        if found is None:
            raise Malformed(f"{variable} is not declared in the top function")
        return self.named_type(found.type or "")

    def named_type(self, name: str) -> CppType:
        """A type by name, or one spelled out where a name could stand."""
        return self.types.get(name) or CppType(name, name)


def read_firmware(path: Path) -> Firmware:
    """Parse ``defines.h``, ``parameters.h`` and the top function."""
    source = Folder(path, HlsError)
    name = top_name(source)
    defines = source.text("firmware/defines.h")
    types = parsed(source, "firmware/defines.h", defines, parse_types)
    top = parsed(source, f"firmware/{name}.cpp", defines, lambda text: parse_top(text, name))
    configs = parsed(source, "firmware/parameters.h", defines, parse_configs)
    return Firmware(source, with_argument_weights(top, source), types, configs, argument_shapes(source, name, defines))


def parsed(source: Folder, file: str, defines: str, parse: Callable[[str], Item]) -> Item:
    """What a parser makes of a file with its macros expanded; its errors name the file."""
    with blaming(source.root / file, HlsError):
        return parse(expand_macros(source.text(file), defines))


def with_argument_weights(top: Top, source: Folder) -> Top:
    """Weights that hls4ml makes arguments of the top function (``BramFactor``) count as weights, not as inputs."""
    outside = [
        item for item in top.arguments if item.name in top.weights or source.holds(f"firmware/weights/{item.name}.txt")
    ]
    loaded = {
        item.name: Loaded(item.name, item.type or "", math.prod(item.shape or ()), f"{item.name}.txt")
        for item in outside
    }
    arguments = tuple(item for item in top.arguments if item not in outside)
    return replace(top, arguments=arguments, weights={**loaded, **top.weights})


def top_name(source: Folder) -> str:
    """Name of the top function: ``project.tcl``, ``hls4ml_config.yml``, or the only ``.cpp`` in ``firmware/``."""
    path = source.root
    tcl, yml = (
        setting(source, "project.tcl", r'^set project_name "?([\w]+)"?'),
        setting(source, "hls4ml_config.yml", r"^ProjectName:[ \t]*(\w+)"),
    )
    sources = sorted(file.stem for file in (path / "firmware").glob("*.cpp"))
    for name in (tcl, yml, *(sources if len(sources) == 1 else [])):
        if name in sources:
            return str(name)
    raise HlsError(
        f"{path} must be an hls4ml project: project.tcl or hls4ml_config.yml names firmware/<top>.cpp; "
        f"found {', '.join(f'firmware/{name}.cpp' for name in sources) or 'no .cpp file in firmware/'}"
    )


def setting(source: Folder, file: str, pattern: str) -> str | None:
    """What a pattern captures in a file of the project; ``None`` without file or match."""
    if not source.holds(file):
        return None
    match = re.search(pattern, source.text(file), re.MULTILINE)
    return match[1] if match else None


COPIED = re.compile(r"nnet::\w+_data<.*, ?([\d*]+)>\(\w+, ?(\w+?)(?:_ap)?\)")


def argument_shapes(source: Folder, name: str, defines: str) -> dict[str, Shape]:
    """Shapes of stream arguments, which only the bridge and the test bench spell out."""
    shapes: dict[str, Shape] = {}
    for file in (f"{name}_bridge.cpp", f"{name}_test.cpp"):
        code = parsed(source, file, defines, read_code) if source.holds(file) else None
        for item in code.whole.statements() if code else ():
            if match := COPIED.fullmatch(item.text):
                with blaming(source.root / file, HlsError, item.line):
                    shapes.setdefault(match[2], dimensions(match[1]))
    return shapes


def folder_config(source: Folder, graph: Graph, *, stream: bool) -> HlsConfig:
    """What the folder tells: backend, part, clock; the commonest strategy and reuse factor of its products."""
    path = source.root
    backend = (
        setting(source, "hls4ml_config.yml", r"^Backend:[ \t]*(\w+)")
        or setting(source, "project.tcl", r'^set backend "?(\w+)"?')
        or "Vivado"
    )
    known = {"vitis": "Vitis", "vivado": "Vivado", "vivadoaccelerator": "Vivado", "vitisaccelerator": "Vitis"}
    if backend.lower() not in known:
        raise HlsError(f"{path}: hls4ml backend must be Vitis or Vivado, got {backend}")
    part = setting(source, "hls4ml_config.yml", r"^Part:[ \t]*([\w.-]{1,100})") or setting(
        source, "project.tcl", r'^set part "?([\w.-]{1,100})"?'
    )
    clock = setting(source, "hls4ml_config.yml", r"^ClockPeriod:[ \t]*(\d{1,9}\.?\d{0,9})") or setting(
        source, "project.tcl", r"^set clock_period (\d{1,9}\.?\d{0,9})"
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
    names: set[str] = field(default_factory=set)


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

    def number(self, name: str) -> int:
        """A whole number that the layer's configuration has to define; raises ``HlsError``."""
        value = self.config.constants.get(name)
        if not isinstance(value, int):
            found = "nothing that can be worked out" if value is None else repr(value)
            where = f"struct {self.config.name}" if self.config.name else f"the configuration of {self.call.function}"
            raise HlsError(
                place(
                    self.files.parameters_file,
                    self.config.line or None,
                    f"{where} must define {name} as a whole number, got {found}",
                )
            )
        return value


def firmware_graph(files: Firmware) -> Graph:
    """The graph that a project's C++ spells out."""
    progress = Progress()
    called = {argument for call in files.top.calls for argument in call.arguments}
    written = {name for call in files.top.calls for name in outputs_of(call, files)}
    inputs = [argument for argument in files.top.arguments if argument.name in called and argument.name not in written]
    for argument in inputs:
        with blaming(files.top_file, HlsError, argument.line):
            add_input(progress, files, argument)
    for call in files.top.calls:
        with blaming(files.top_file, HlsError, call.line):
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
    chain = []
    while (variable := files.top.variables.get(name)) is not None and variable.alias and name not in progress.values:
        chain.append((name, variable.alias))
        name = variable.alias
    for name, renamed in reversed(chain):
        add_reshape(progress, files, name, renamed, reader)


def add_reshape(progress: Progress, files: Firmware, name: str, renamed: str, reader: Call) -> None:
    """One renaming as a layer."""
    if renamed not in progress.values:
        raise Malformed(f"{name} renames {renamed}, which no layer has written")
    source = progress.values[renamed]
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
    if len(sources) < input_count(call):
        raise Malformed(f"{call.function} must read {input_count(call)} values, got {len(sources)}")
    piece = Piece(call, checked(config_of(call, files), files), tuple(progress.values[name] for name in sources), files)
    check_reads(piece)
    name = call.layer or piece.config.layer or re.sub(r"_out$", "", targets[0])
    kind, shape, attributes, weights = READERS.get(call.function, read_unknown)(piece)
    declared = files.top.variables[targets[0]].shape
    check_window(piece, attributes)
    check_writes(call, targets, shape, declared)
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
    if not layer.shape or min(layer.shape) < 1 or math.prod(layer.shape) > LARGEST_TENSOR:
        raise Malformed(f"{layer.name} must have 1 to {LARGEST_TENSOR:,} elements, got shape {list(layer.shape)}")
    taken = [tensor for tensor in variables if tensor in progress.tensors]
    if taken or layer.name in progress.names:
        raise Malformed(f"two layers are called {', '.join(taken) or layer.name}")
    progress.names.add(layer.name)
    if len(progress.names) > MOST_LAYERS:
        raise Malformed(f"a project must have at most {MOST_LAYERS:,} layers")
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


# Constants of a configuration that count something, so that none can be 0; and the words that padding begins with.
COUNTS = (
    "n_in", "n_out", "n_chan", "n_inner", "n_outer", "in_height", "in_width", "out_height", "out_width", "height",
    "width", "new_height", "new_width", "filt_height", "filt_width", "pool_height", "pool_width", "stride_height",
    "stride_width", "reuse_factor", "n_partitions", "table_size", "exp_table_size", "inv_table_size",
)  # fmt: skip


def checked(config: Config, files: Firmware) -> Config:
    """A configuration whose whole numbers C++ could hold; raises ``HlsError`` with its line."""
    for name, value in config.constants.items():
        counts = name in COUNTS or name.startswith(("pad_", "crop_"))
        if not counts and not isinstance(value, int):
            continue
        low = 1 if name in COUNTS else 0 if counts else -LARGEST_SIZE
        high = LARGEST_TENSOR if counts else LARGEST_SIZE
        if isinstance(value, tuple) or not isinstance(value, int) or not low <= value <= high:
            what = f"struct {config.name}: {name} must be a whole number from {low:,} to {high:,}, got {value!r}"
            raise HlsError(place(files.parameters_file, config.line, what))
    return config


def check_reads(piece: Piece) -> None:
    """Raise ``HlsError`` when a layer's configuration is for another number of elements than it is given."""
    expected = expected_shape(piece.call, piece.config)
    got = piece.inputs[0].shape
    if expected is not None and math.prod(expected) != math.prod(got):
        what = f"{piece.call.function} is configured for {list(expected)} elements, it is given {list(got)}"
        raise HlsError(place(piece.files.top_file, piece.call.line, what))


SIDES = {"height": ("top", "bottom"), "width": ("left", "right")}


def check_window(piece: Piece, attributes: Mapping[str, Any]) -> None:
    """Raise ``HlsError`` when a window cannot take as many steps over an image as the configuration says."""
    for axis, sides in SIDES.items():
        window = attributes.get(f"filt_{axis}") or attributes.get(f"pool_{axis}")
        size, out = attributes.get(f"in_{axis}"), attributes.get(f"out_{axis}")
        if window is None or size is None or out is None or attributes.get("dilation", 1) != 1:
            continue
        padded = size + sum(attributes.get(f"pad_{side}", 0) for side in sides)
        steps = (padded - window) // attributes.get(f"stride_{axis}", 1) + 1
        if steps != out:
            what = f"a {axis} of {window} in {padded} takes {max(steps, 0)} steps, {piece.config.name} says {out}"
            raise HlsError(place(piece.files.parameters_file, piece.config.line or None, what))


def check_writes(call: Call, targets: Iterable[str], shape: Shape, declared: Shape | None) -> None:
    """Raise ``Malformed`` when a layer's output has another size than the variable it is written to."""
    if declared is not None and math.prod(declared) != math.prod(shape):
        written = ", ".join(targets)
        raise Malformed(f"{call.function} makes {list(shape)} elements, {written} holds {list(declared)}")


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
    n_in, n_out = piece.number("n_in"), piece.number("n_out")
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
    pixels = piece.number("out_width") * (piece.number("out_height") if rank == 2 else 1)
    attributes |= {
        "data_format": data_format(piece),
        "strategy": strategy(piece),
        "parallelization_factor": pixels // max(attributes.get("n_partitions", pixels), 1),
    }
    prefix = {"depthwise": "Depthwise", "pointwise": "Pointwise"}.get(piece.call.function.split("_")[0], "")
    channels, filters = piece.number("n_chan"), piece.number("n_filt")
    window = (piece.number("filt_height"),) if rank == 2 else ()
    window = (*window, piece.number("filt_width"))
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
    channels = piece.number("n_filt")
    if kind.startswith("Global"):
        return kind, (channels,), attributes | whole_window(piece, rank), {}
    if rank == 2:
        return kind, (piece.number("out_height"), piece.number("out_width"), channels), attributes, {}
    attributes |= {"in_width": piece.number("n_in"), "out_width": piece.number("n_out")}
    return kind, (piece.number("n_out"), channels), attributes, {}


def whole_window(piece: Piece, rank: int) -> dict[str, Any]:
    """The window of a pooling over everything."""
    width = piece.number("n_in" if rank == 1 else "in_width")
    window = {"in_width": width, "pool_width": width, "stride_width": width, "out_width": 1}
    if rank == 2:
        height = piece.number("in_height")
        window |= {"pool_height": height, "stride_height": height, "out_height": 1}
    sides = ("left", "right") if rank == 1 else ("top", "bottom", "left", "right")
    return window | {f"pad_{side}": 0 for side in sides} | {"n_chan": piece.number("n_filt")}


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
        "activ_param": finite(piece.call.arguments[1]),
    }
    return "ParametrizedActivation", piece.inputs[0].shape, attributes, {}


def finite(text: str) -> float:
    """A parameter spelled out in a call; raises ``Malformed`` for what is no finite number."""
    try:
        value = float(text.rstrip("fF"))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Malformed(f"a parameter must be a finite number, got {text[:100]!r}")
    return value


def read_prelu(piece: Piece) -> Parts:
    _, shape, attributes, _ = read_activation(piece)
    (loaded,) = loaded_by(piece, 1)
    return "PReLU", shape, attributes, {"param": read_weight(piece.files, loaded, (loaded.size,))}


def read_softmax(piece: Piece) -> Parts:
    names = ("n_in", "n_inner", "n_outer", "implementation", "exp_scale", "exp_table_size", "inv_table_size")
    attributes = taken(piece, *names) | {"activation": "softmax", "axis": -1}
    attributes["table_size"] = piece.constant("table_size", piece.constant("inv_table_size", 1024))
    return "Softmax", piece.inputs[0].shape, attributes, {}


def read_normalize(piece: Piece) -> Parts:
    """``scale * x + bias``; hls4ml's ApplyAlpha is written the same."""
    attributes = taken(piece, "n_in", "n_filt") | {"n_out": piece.number("n_in"), "data_format": "channels_last"}
    weights = {
        name: read_weight(piece.files, loaded, (loaded.size,))
        for name, loaded in zip(("scale", "bias"), loaded_by(piece, 2), strict=True)
    }
    return "BatchNormalization", piece.inputs[0].shape, attributes, weights


def read_merge(piece: Piece) -> Parts:
    shape = np.broadcast_shapes(*(value.shape for value in piece.inputs))
    return "Merge", shape, {"op": piece.call.function, "output_shape": list(shape)}, {}


def read_dot(piece: Piece) -> Parts:
    return "Dot", (1,), {"op": piece.call.function} | taken(piece, "n_in", "n_out"), {}


def read_concatenate(piece: Piece) -> Parts:
    """``concatenate1d`` to ``concatenate3d`` along the configuration's axis (batch axis counted)."""
    first, second = piece.inputs[0].shape, piece.inputs[1].shape
    axis = piece.constant("axis", -1)
    along = axis - 1 if axis > 0 else axis % len(first)
    rest = [tuple(size for index, size in enumerate(shape) if index != along) for shape in (first, second)]
    if along >= len(first) or rest[0] != rest[1]:
        raise Malformed(f"shapes {list(first)} and {list(second)} cannot be put together along axis {axis}")
    shape = tuple(size + second[index] if index == along else size for index, size in enumerate(first))
    operation = "C" + piece.call.function.removeprefix("c")
    return "Concatenate", shape, {"op": operation, "axis": axis, "output_shape": list(shape)}, {}


def read_border(piece: Piece) -> Parts:
    """Zero padding and cropping."""
    rank = 1 if "1d" in piece.call.function else 2
    kind = f"{'ZeroPadding' if 'zeropad' in piece.call.function else 'Cropping'}{rank}D"
    crops = tuple(name.replace("pad", "crop") for name in PADS_2D)
    attributes = taken(piece, *SIZES_2D, *PADS_2D, *crops, "n_chan") | {"data_format": data_format(piece)}
    spatial = [piece.number("out_height")] if rank == 2 else []
    return kind, (*spatial, piece.number("out_width"), piece.number("n_chan")), attributes, {}


def read_resize(piece: Piece) -> Parts:
    height, width, channels = piece.number("new_height"), piece.number("new_width"), piece.number("n_chan")
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
    shape, perm = whole_shape(piece.constant("to_shape", ())), whole_shape(piece.constant("perm", ()))
    given = expected_shape(piece.call, piece.config) or ()
    if sorted(perm) != list(range(len(shape))) or len(given) != len(shape) or shape != tuple(given[i] for i in perm):
        raise Malformed(f"transposing {list(given)} by {list(perm)} cannot give {list(shape)}")
    return "Transpose", shape, {"perm": list(perm)}, {}


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


def loaded_by(piece: Piece, count: int) -> list[Loaded]:
    """The weights among a call's arguments, in order; raises ``Malformed`` when there are not ``count``."""
    found = [piece.files.top.weights[name] for name in piece.call.arguments if name in piece.files.top.weights]
    if len(found) != count:
        raise Malformed(
            f"{piece.call.function} must load {count} weights from text files, got {[item.name for item in found]}"
        )
    return found


def product_weights(piece: Piece, kernel: Shape) -> dict[str, Weight]:
    """Kernel and bias of a matrix product, the kernel in Keras' layout."""
    loaded = loaded_by(piece, 2)
    transposed = strategy(piece) in ("resource", "resource_unrolled", "unrolled")
    bias = read_weight(piece.files, loaded[1], (loaded[1].size,))
    return {"weight": read_weight(piece.files, loaded[0], kernel, transposed=transposed), "bias": bias}


def read_weight(files: Firmware, loaded: Loaded, shape: Shape, *, transposed: bool = False) -> Weight:
    """A weight file in Keras' layout with the values its C++ type holds.

    Strategy Resource stores the outputs first (hls4ml's ``apply_resource_strategy``). Raises
    ``HlsError`` when the file is missing or holds another number of values.
    """
    cpp = files.named_type(loaded.type)
    name = f"firmware/weights/{loaded.file}"
    size = math.prod(shape)
    if size > LARGEST_TENSOR:
        raise Malformed(f"a weight must have at most {LARGEST_TENSOR:,} values, got shape {list(shape)}")
    text = files.source.text(name, MIB + size * DIGITS_BYTES)
    with blaming(files.folder / name, HlsError):
        values = weight_values(text, cpp, shape)
        if values.size != size:
            raise Malformed(f"must hold {size} values for a weight of shape {list(shape)}, got {values.size}")
        if not np.isfinite(values).all():
            raise Malformed("must hold finite numbers only")
    if transposed and cpp.form != "compressed":
        values = np.moveaxis(values.reshape(shape[-1], *shape[:-1]), 0, -1)
    values = values.reshape(shape)
    if cpp.form != "exponent":
        with np.errstate(over="ignore", invalid="ignore"), blaming(files.folder / name, HlsError):
            values = Precision.parse(cpp.element).quantize(values)
            if not np.isfinite(values).all():
                raise Malformed(f"must hold numbers that {cpp.element} can wrap, got one that is too large")
    return Weight(loaded.name, values, spell(cpp))


def weight_values(text: str, cpp: CppType, shape: Shape) -> Array:
    """Numbers of a weight file: plain, ``{sign, exponent}`` or ``{row, column, value}``."""
    if cpp.form == "fixed":
        return np.asarray([float(item) for item in text.split(",") if item.strip()], np.float64)
    # Groups are {1, -3}, {0, -2}, ...: what stands between braces.
    groups = [[float(item) for item in group.split("}")[0].split(",")] for group in text.split("{")[1:]]
    if cpp.form == "exponent":
        return np.asarray([math.ldexp(1.0 if sign == 1 else -1.0, int(power)) for sign, power in groups], np.float64)
    dense = np.zeros(shape, np.float64)
    for row, column, value in groups:
        if not (0 <= row < shape[0] and 0 <= column < shape[1]):
            raise Malformed(f"row {row:g}, column {column:g} lies outside of the weight's shape {list(shape)}")
        dense[int(row), int(column)] += value
    return dense
