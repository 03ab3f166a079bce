"""The C++ that hls4ml writes, as records: types, layer configurations, the top function.

Each parser takes the text of a file and returns frozen records; nothing here knows what a layer
computes. The files are those of hls4ml's Vivado and Vitis writers (``writer/vivado_writer.py`` and
the templates in ``backends/vivado/passes``), 0.7 to 1.3.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from toolkit.errors import HlsError

Constant = int | float | bool | str | tuple[int, ...]

MACRO = re.compile(r"^\s*#define\s+([A-Z]\w*)\s+(\d+)\s*$", re.MULTILINE)
TYPEDEF = re.compile(r"^\s*typedef\s+(?!struct\b)(.+?)\s+(\w+)\s*;", re.MULTILINE)
PACKED = re.compile(r"^nnet::array<\s*(.+)\s*,\s*([\d*/ ]+)>$")
EXPONENT = re.compile(
    r"typedef\s+struct\s+(\w+)\s*\{\s*[\w:<>,\s]+?\bsign\s*;\s*([\w:<>,\s]+?)\s+weight\s*;\s*\}\s*\w+\s*;"
)
COMPRESSED = re.compile(
    r"typedef\s+struct\s+(\w+)\s*\{[^}]*?\brow_index\s*;[^}]*?\bcol_index\s*;\s*([\w:<>,\s]+?)\s+weight\s*;\s*\}"
)
STRUCT = re.compile(r"^struct\s+(\w+)\s*(?::\s*([\w:]+)\s*)?\{(.*?)^\};", re.MULTILINE | re.DOTALL)
COMMENTED = re.compile(r"^//\s*(\S+)\s*\nstruct\s+(\w+)", re.MULTILINE)
CONSTANT = re.compile(r"static\s+(?:const|constexpr)\s+[\w:<>, ]+?\b(\w+)\s*=\s*([^;]+);")
TYPE_OF_CONFIG = re.compile(r"typedef\s+(.+?)\s+(\w+)\s*;")
MEMBER = re.compile(r"static\s+const\s+(\w+_t)\s+(\w+)\s*;")  # slope and shift, whose value stands behind the struct
USING = re.compile(r"using\s+(\w+)\s*=\s*([\w:]+)\s*<")
OUTSIDE = re.compile(r"^const\s+[\w:<>, ]+?\s(\w+)::(\w+)\s*=\s*([^;]+);", re.MULTILINE)
ARRAY_OUTSIDE = re.compile(
    r"^unsigned\s+(\w+?)_(from_shape|to_shape|perm|perm_strides)\[\d+\]\s*=\s*\{([^}]*)\};", re.MULTILINE
)
CALL = re.compile(r"^\s*([\w:]+?)\s*(?:<(.*)>)?\(([^()]*)\);[ \t]*(?://\s*(\S+))?\s*$", re.MULTILINE)
ARRAY_VARIABLE = re.compile(r"^\s*([\w:]+)\s+(\w+)\[([\d* ]+)\]\s*;", re.MULTILINE)
STREAM_VARIABLE = re.compile(r"^\s*hls::stream<\s*(\w+)\s*>\s+(\w+)\s*(?:\([^)]*\))?\s*;", re.MULTILINE)
ALIAS = re.compile(r"^\s*auto\s*&\s*(\w+)\s*=\s*(\w+)\s*;", re.MULTILINE)
DEPTH = re.compile(r"#pragma\s+HLS\s+STREAM\s+variable=(\w+)\s+depth=(\d+)", re.IGNORECASE)
LOAD = re.compile(r'nnet::load_(\w*?)_?weights_from_txt<\s*(\w+)\s*,\s*(\d+)\s*>\(\s*(\w+)\s*,\s*"([^"]+)"\s*\)')


@dataclass(frozen=True)
class CppType:
    """A named C++ type: its element's spelling, and how many elements one stream word packs (1: no stream)."""

    name: str
    element: str
    packed: int = 1
    form: str = "fixed"  # "fixed", "exponent" (sign and power of two) or "compressed" (coordinates and value)


@dataclass(frozen=True)
class Config:
    """A layer's configuration struct: ``config2``, ``relu_config3``, ``config2_mult``."""

    name: str
    base: str | None
    layer: str | None  # the layer's name, from the comment above the struct
    constants: Mapping[str, Constant]
    types: Mapping[str, str]  # typedefs inside the struct: accum_t -> conv_accum_t
    using: Mapping[str, str]  # kernel, product, fill_buffer, ... -> function


@dataclass(frozen=True)
class Variable:
    """A value between layers: an array with a shape, a stream with a depth, or another name for one."""

    name: str
    type: str | None = None
    shape: tuple[int, ...] | None = None
    depth: int = 0
    alias: str | None = None


@dataclass(frozen=True)
class Call:
    """One layer's function call."""

    function: str
    templates: tuple[str, ...]
    arguments: tuple[str, ...]
    layer: str | None  # from the comment behind the call


@dataclass(frozen=True)
class Loaded:
    """Weights the top function reads from a text file."""

    name: str
    type: str
    size: int
    file: str


@dataclass(frozen=True)
class Top:
    """The top function: its name, arguments, values, calls in order, and the weights it loads."""

    name: str
    arguments: tuple[Variable, ...]
    variables: Mapping[str, Variable]
    calls: tuple[Call, ...]
    weights: Mapping[str, Loaded] = field(default_factory=dict)

    def resolve(self, name: str) -> str:
        """The value a name stands for, through every alias."""
        variable = self.variables.get(name)
        return name if variable is None or variable.alias is None else self.resolve(variable.alias)


def parse_types(text: str) -> dict[str, CppType]:
    """Named types of ``defines.h``.

    >>> parse_types("typedef nnet::array<ap_fixed<16,6>, 3*1> input_t;")["input_t"]
    CppType(name='input_t', element='ap_fixed<16,6>', packed=3, form='fixed')
    """
    types = {}
    for spelled, name in TYPEDEF.findall(text):
        packed = PACKED.match(spelled)
        types[name] = CppType(name, packed[1].strip(), product_of(packed[2])) if packed else CppType(name, spelled)
    for name, element in EXPONENT.findall(text):
        types[name] = CppType(name, element, form="exponent")
    for name, element in COMPRESSED.findall(text):
        types[name] = CppType(name, element, form="compressed")
    return types


def expand_macros(text: str, definitions: str) -> str:
    """``text`` with the sizes that older hls4ml puts in ``defines.h``: ``#define N_LAYER_2 64``.

    >>> expand_macros("x[N_LAYER_2]", "#define N_LAYER_2 64")
    'x[64]'
    """
    macros = dict(MACRO.findall(definitions))
    return re.sub(r"\b[A-Z]\w+\b", lambda match: macros.get(match[0], match[0]), text) if macros else text


def product_of(text: str) -> int:
    """``"3*1"`` is 3; a division, which hls4ml writes for unpacked streams, is whole."""
    factors = text.split("/")
    size = math.prod(int(factor) for factor in factors[0].split("*"))
    return size // math.prod(int(factor) for factor in factors[1:])


def parse_configs(text: str) -> dict[str, Config]:
    """Layer configurations of ``parameters.h``, by struct name."""
    layers = {struct: layer for layer, struct in COMMENTED.findall(text)}
    configs = {
        name: Config(
            name=name,
            base=base or None,
            layer=layers.get(name),
            constants=constants(body) | outside(text, name),
            types={own: spelled for spelled, own in TYPE_OF_CONFIG.findall(body)}
            | {f"{member}_t": spelled for spelled, member in MEMBER.findall(body)},
            using=dict(USING.findall(body)),
        )
        for name, base, body in STRUCT.findall(text)
    }
    return {name: named_after_mult(config, configs) for name, config in configs.items()}


def named_after_mult(config: Config, configs: Mapping[str, Config]) -> Config:
    """The comment of a convolution stands above its ``_mult`` struct, which comes first."""
    mult = configs.get(config.types.get("mult_config", ""))
    if config.layer or mult is None:
        return config
    return Config(config.name, config.base, mult.layer, config.constants, config.types, {**mult.using, **config.using})


def constants(body: str) -> dict[str, Constant]:
    """``static const`` members with a value; an expression of earlier members is worked out when it is a product."""
    found: dict[str, Constant] = {}
    for name, text in CONSTANT.findall(body):
        value = evaluate(text.strip(), found)
        if value is not None:
            found[name] = value
    return found


def evaluate(text: str, known: Mapping[str, Constant]) -> Constant | None:
    """A literal, an enumerator without its scope, or a product of known whole numbers; ``None`` for the rest."""
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    if re.fullmatch(r"-?\d*\.?\d*(?:[eE][-+]?\d+)?f?", text):
        return float(text.rstrip("f"))
    if re.fullmatch(r"(?:\w+::)+\w+", text):
        return text.rsplit("::", 1)[1]
    factors = [known.get(factor, int(factor) if factor.isdigit() else None) for factor in re.split(r"\s*\*\s*", text)]
    whole = [factor for factor in factors if isinstance(factor, int)]
    return math.prod(whole) if len(whole) == len(factors) else None


def outside(text: str, struct: str) -> dict[str, Constant]:
    """Members given a value behind the struct: slopes, shifts, and the shapes of a transposition."""
    scalars = {name: evaluate(value.strip(), {}) for owner, name, value in OUTSIDE.findall(text) if owner == struct}
    arrays: dict[str, Constant] = {
        name: tuple(int(item) for item in value.split(","))
        for owner, name, value in ARRAY_OUTSIDE.findall(text)
        if owner == struct
    }
    return {name: value for name, value in scalars.items() if value is not None} | arrays


def parse_top(text: str, name: str) -> Top:
    """The top function ``name`` in ``<name>.cpp``.

    Raises ``HlsError`` when the file does not hold it.
    """
    match = re.search(rf"\bvoid\s+{re.escape(name)}\s*\((.*?)\)\s*\{{(.*)", text, re.DOTALL)
    if match is None:
        raise HlsError(f"{name}.cpp must define the top function void {name}(...); it does not")
    head, body = match[1], without_comments(match[2])
    arguments = parse_arguments(head)
    variables = {variable.name: variable for variable in (*arguments, *parse_variables(body))}
    loaded = {weight: Loaded(weight, type_, int(size), file) for _, type_, size, weight, file in LOAD.findall(body)}
    return Top(name, arguments, variables, parse_calls(body), loaded)


def without_comments(body: str) -> str:
    """The text without lines that are comments, such as a call taken out by hand."""
    return re.sub(r"^\s*//.*$", "", body, flags=re.MULTILINE)


def parse_arguments(head: str) -> tuple[Variable, ...]:
    """Arguments of the top function: ``input_t x[8*8*3]`` or ``hls::stream<input_t> &x``.

    hls4ml before 0.6 also passes back sizes (``unsigned short &const_size_in_1``), which are left out.
    """
    found = []
    for text in split_arguments(head):
        if text.startswith("unsigned short"):
            continue
        array = re.fullmatch(r"(?:const\s+)?(\w+)\s+(\w+)\s*\[([\d* ]+)\]", text)
        stream = re.fullmatch(r"hls::stream<\s*(\w+)\s*>\s*&\s*(\w+)", text)
        if array:
            found.append(Variable(array[2], array[1], dimensions(array[3])))
        elif stream:
            found.append(Variable(stream[2], stream[1]))
        else:
            raise HlsError(f"an argument of the top function must be an array or an hls::stream, got {text!r}")
    return tuple(found)


def split_arguments(text: str) -> list[str]:
    """Split at commas outside of angle brackets and square brackets."""
    parts, depth, current = [], 0, ""
    for char in text:
        depth += (char in "<[") - (char in ">]")
        if char == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += char
    return [" ".join(part.split()) for part in (*parts, current) if part.strip()]


def dimensions(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.split("*"))


def parse_variables(body: str) -> list[Variable]:
    """Arrays, streams with their depth, and aliases declared in the top function, in that order."""
    depths = {name: int(depth) for name, depth in DEPTH.findall(body)}
    arrays = [Variable(name, type_, dimensions(shape)) for type_, name, shape in ARRAY_VARIABLE.findall(body)]
    streams = [Variable(name, type_, depth=depths.get(name, 2)) for type_, name in STREAM_VARIABLE.findall(body)]
    aliases = [Variable(name, alias=target) for name, target in ALIAS.findall(body)]
    return [*arrays, *streams, *aliases]


# Calls that are no layer: weights read in C simulation, traces written.
NOT_LAYERS = ("load_", "save_layer_output", "save_output_array")


def parse_calls(body: str) -> tuple[Call, ...]:
    """Layer calls in order."""
    calls = []
    for function, templates, arguments, layer in CALL.findall(body):
        name = function.removeprefix("nnet::")
        if not name.startswith(NOT_LAYERS) and "::" not in name and (templates or layer):
            calls.append(
                Call(name, tuple(split_arguments(templates)), tuple(split_arguments(arguments)), layer or None)
            )
    return tuple(calls)
