"""The C++ that hls4ml writes, as records: types, layer configurations, the top function.

Each parser takes the text of a file and returns frozen records; nothing here knows what a layer
computes. The files are those of hls4ml's Vivado and Vitis writers (``writer/vivado_writer.py`` and
the templates in ``backends/vivado/passes``), 0.7 to 1.3. Text that cannot be understood raises
``Malformed`` with its line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from toolkit.hls.code import Block, Code, Statement, read_code
from toolkit.reading import Malformed

Constant = int | float | bool | str | tuple[int, ...]

# Each is matched against one statement, spaces collapsed, never searched for in a whole file.
MACRO = re.compile(r"#define ([A-Z]\w*) (\d{1,12})")
TYPEDEF = re.compile(r"typedef (?!struct\b)(.+) (\w+)")
PACKED = re.compile(r"nnet::array< ?(.+?) ?, ?([\d*/ ]+)>")
STRUCT = re.compile(r"(typedef )?struct (\w+)(?: ?: ?([\w:]+))?")
FIELD = re.compile(r"(.+) (sign|weight|row_index|col_index)")
CONSTANT = re.compile(r"static const(?:expr)? [\w:<>, ]+?[ >](\w+) ?= ?(.+)")
MEMBER = re.compile(r"static const (\w+_t) (\w+)")  # slope and shift, whose value stands behind the struct
USING = re.compile(r"(?:.* )?using (\w+) ?= ?([\w:]+) ?<.*")
OUTSIDE = re.compile(r"const [\w:<>, ]+?[ >](\w+)::(\w+) ?= ?(.+)")
ARRAY_OUTSIDE = re.compile(r"(?:const )?unsigned (\w+?)_(from_shape|to_shape|perm|perm_strides) ?\[\d+\] ?=")
TOP = re.compile(r"(?:.* )?void (\w+) ?\((.*)\)")
CALL = re.compile(r"([\w:]+) ?(?:<(.*)>)? ?\(([^()]*)\)")
ARRAY_VARIABLE = re.compile(r"([\w:]+) (\w+) ?\[([\d* ]+)\]")
STREAM_VARIABLE = re.compile(r"hls::stream< ?(\w+) ?> (\w+) ?(?:\(.*\))?")
ALIAS = re.compile(r"auto ?& ?(\w+) ?= ?(\w+)")
DEPTH = re.compile(r"#pragma HLS STREAM variable=(\w+) depth=(\d{1,18})", re.IGNORECASE)
LOAD = re.compile(r'nnet::load_\w*weights_from_txt< ?(\w+) ?, ?(\d{1,12}) ?>\( ?(\w+) ?, ?"([^"]*)" ?\)')
INTEGER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]{1,16}|0[bB][01]{1,64}|\d{1,20})(?:[uU]?[lL]{0,2}|[lL]{1,2}[uU])")
REAL = re.compile(r"[+-]?(?:\d{1,400}\.?\d{0,400}|\.\d{1,400})(?:[eE][-+]?\d{1,5})?[fFlL]?")


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
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Variable:
    """A value between layers: an array with a shape, a stream with a depth, or another name for one."""

    name: str
    type: str | None = None
    shape: tuple[int, ...] | None = None
    depth: int = 0
    alias: str | None = None
    root: str | None = field(default=None, compare=False)  # what the last alias of the chain stands for
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Call:
    """One layer's function call."""

    function: str
    templates: tuple[str, ...]
    arguments: tuple[str, ...]
    layer: str | None  # from the comment behind the call
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Loaded:
    """Weights the top function reads from a text file."""

    name: str
    type: str
    size: int
    file: str
    line: int = field(default=0, compare=False)


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
        return name if variable is None or variable.root is None else variable.root


def parse_types(text: str) -> dict[str, CppType]:
    """Named types of ``defines.h``.

    >>> parse_types("typedef nnet::array<ap_fixed<16,6>, 3*1> input_t;")["input_t"]
    CppType(name='input_t', element='ap_fixed<16,6>', packed=3, form='fixed')
    """
    code = read_code(text)
    types = {}
    for item in code.whole.items:
        if isinstance(item, Statement) and (match := TYPEDEF.fullmatch(item.text)):
            types[match[2]] = plain_type(match[2], match[1], item.line)
        elif isinstance(item, Block) and (match := STRUCT.fullmatch(item.head)) and match[1]:
            found = coordinate_type(match[2], item)
            types |= {} if found is None else {match[2]: found}
    return types


def plain_type(name: str, spelled: str, line: int) -> CppType:
    """A type, or a stream's word of several."""
    packed = PACKED.fullmatch(spelled)
    return CppType(name, packed[1].strip(), product_of(packed[2], line)) if packed else CppType(name, spelled)


def coordinate_type(name: str, block: Block) -> CppType | None:
    """A weight with its sign and power of two, or with its row and column."""
    members = {match[2]: match[1] for item in block.statements() if (match := FIELD.fullmatch(item.text))}
    if {"sign", "weight"} <= set(members):
        return CppType(name, members["weight"], form="exponent")
    if {"row_index", "col_index", "weight"} <= set(members):
        return CppType(name, members["weight"], form="compressed")
    return None


def expand_macros(text: str, definitions: str) -> str:
    """``text`` with the sizes that older hls4ml puts in ``defines.h``: ``#define N_LAYER_2 64``.

    >>> expand_macros("x[N_LAYER_2]", "#define N_LAYER_2 64")
    'x[64]'
    """
    lines = (" ".join(line.split()) for line in definitions.splitlines() if line.lstrip().startswith("#define"))
    macros = {match[1]: match[2] for line in lines if (match := MACRO.fullmatch(line))}
    return re.sub(r"\b[A-Z]\w*\b", lambda match: macros.get(match[0], match[0]), text) if macros else text


def product_of(text: str, line: int | None = None) -> int:
    """``"3*1"`` is 3; a division, which hls4ml writes for unpacked streams, is whole."""
    try:
        first, *rest = [math.prod(int(factor) for factor in part.split("*")) for part in text[:400].split("/")]
        size = first // math.prod(rest)
    except (ValueError, ZeroDivisionError):
        raise Malformed(f"a size must be a product of whole numbers, got {text[:100]!r}", line) from None
    return within(size, line)


def within(value: int, line: int | None = None) -> int:
    """A whole number that C++ could hold; raises ``Malformed`` for another."""
    if not -(2**63) <= value < 2**64:
        raise Malformed(f"a whole number must fit 64 bits, got one of {len(str(abs(value)))} digits", line)
    return value


def parse_configs(text: str) -> dict[str, Config]:
    """Layer configurations of ``parameters.h``, by struct name."""
    code = read_code(text)
    behind = outside(code)
    configs: dict[str, Config] = {}
    for block in code.blocks():
        match = STRUCT.fullmatch(block.head)
        if match and not match[1]:
            configs[match[2]] = parse_config(block, match[2], match[3], behind.get(match[2], {}))
    return {name: named_after_mult(config, configs) for name, config in configs.items()}


def parse_config(block: Block, name: str, base: str | None, behind: Mapping[str, Constant]) -> Config:
    """One configuration; ``behind`` are members given a value after the struct."""
    statements = [item for item in block.items if isinstance(item, Statement)]
    typedefs = [match for item in statements if (match := TYPEDEF.fullmatch(item.text))]
    members = [match for item in statements if (match := MEMBER.fullmatch(item.text))]
    using = [match for item in statements if (match := USING.fullmatch(item.text))]
    return Config(
        name=name,
        base=base,
        layer=one_word(block.comment),
        constants={**constants(statements), **behind},
        types={match[2]: match[1] for match in typedefs} | {f"{match[2]}_t": match[1] for match in members},
        using={match[1]: match[2] for match in using},
        line=block.line,
    )


def one_word(comment: str) -> str | None:
    """A comment that is a layer's name."""
    return comment if comment and " " not in comment else None


def named_after_mult(config: Config, configs: Mapping[str, Config]) -> Config:
    """The comment of a convolution stands above its ``_mult`` struct, which comes first."""
    mult = configs.get(config.types.get("mult_config", ""))
    if config.layer or mult is None:
        return config
    return replace(config, layer=mult.layer, using={**mult.using, **config.using})


def constants(statements: Iterable[Statement]) -> dict[str, Constant]:
    """``static const`` members with a value; an expression of earlier members is worked out when it is a product."""
    found: dict[str, Constant] = {}
    for item in statements:
        if match := CONSTANT.fullmatch(item.text):
            value = evaluate(match[2].strip(), found, item.line)
            if value is not None:
                found[match[1]] = value
    return found


def evaluate(text: str, known: Mapping[str, Constant], line: int | None = None) -> Constant | None:
    """A literal, an enumerator without its scope, or a product or shift of known whole numbers; ``None`` for the rest.

    >>> [evaluate(text, {"n": 3}) for text in ("0x10", "010", "1u << n", "n * 4", "0.5f", "nnet::relu", "f(n)")]
    [16, 8, 8, 12, 0.5, 'relu', None]
    """
    if text in ("true", "false"):
        return text == "true"
    if REAL.fullmatch(text) and not INTEGER.fullmatch(text):
        return float(text.rstrip("fFlL"))
    if re.fullmatch(r"(?:\w+::)+\w+", text):
        return text.rsplit("::", 1)[1]
    value: int | None = None
    for index, part in enumerate(text.split("<<")):
        factors = [whole_number(factor.strip(), known) for factor in part.split("*")]
        whole = [factor for factor in factors if factor is not None]
        if len(whole) < len(factors) or len(factors) > 10:
            return None
        value = shifted(value, math.prod(whole), line) if index and value is not None else math.prod(whole)
    return None if value is None else within(value, line)


def shifted(value: int, places: int, line: int | None) -> int:
    if not 0 <= places < 64:
        raise Malformed(f"a shift must be by 0 to 63 places, got {places}", line)
    return value << places


def whole_number(text: str, known: Mapping[str, Constant]) -> int | None:
    """A whole number as C++ spells it (decimal, hexadecimal, octal, binary), or a known one by its name."""
    value = known.get(text)
    if isinstance(value, int):
        return value
    if not INTEGER.fullmatch(text):
        return None
    digits = text.rstrip("uUlL")
    octal = re.fullmatch(r"[+-]?0[0-7]+", digits) is not None
    return int(digits, 8 if octal else 10 if digits.lstrip("+-").isdecimal() else 0)


def outside(code: Code) -> dict[str, dict[str, Constant]]:
    """Members given a value behind their struct, by struct: slopes, shifts, and the shapes of a transposition."""
    found: dict[str, dict[str, Constant]] = {}
    for item in code.whole.items:
        if isinstance(item, Statement) and (match := OUTSIDE.fullmatch(item.text)):
            value = evaluate(match[3].strip(), {}, item.line)
            found.setdefault(match[1], {}).update({} if value is None else {match[2]: value})
        elif isinstance(item, Block) and (match := ARRAY_OUTSIDE.fullmatch(item.head)):
            texts = [number.strip() for part in item.statements() for number in part.text.split(",")]
            numbers = [whole_number(text, {}) for text in texts]
            if None in numbers:
                raise Malformed(f"{match[1]}_{match[2]} must hold whole numbers", item.line)
            found.setdefault(match[1], {})[match[2]] = tuple(number for number in numbers if number is not None)
    return found


def parse_top(text: str, name: str) -> Top:
    """The top function ``name`` in ``<name>.cpp``.

    Raises ``Malformed`` when the file does not hold it.
    """
    code = read_code(text)
    found = [(block, match) for block in code.blocks() if (match := TOP.fullmatch(block.head)) and match[1] == name]
    if not found:
        raise Malformed(f"{name}.cpp must define the top function void {name}(...); it does not")
    block, match = found[0]
    arguments = parse_arguments(match[2], block.line)
    statements = list(block.statements())
    depths = {match[1]: int(match[2]) for item in code.directives if (match := DEPTH.match(item.text))}
    variables = {variable.name: variable for variable in arguments}
    weights: dict[str, Loaded] = {}
    calls: list[Call] = []
    for item in statements:
        if variable := parse_variable(item, depths, variables):
            variables[variable.name] = variable
        elif loaded := LOAD.fullmatch(item.text):
            weights[loaded[3]] = Loaded(loaded[3], loaded[1], int(loaded[2]), loaded[4], item.line)
        elif call := parse_call(item):
            calls.append(call)
    return Top(name, arguments, variables, tuple(calls), weights)


def parse_arguments(head: str, line: int) -> tuple[Variable, ...]:
    """Arguments of the top function: ``input_t x[8*8*3]`` or ``hls::stream<input_t> &x``.

    hls4ml before 0.6 also passes back sizes (``unsigned short &const_size_in_1``), which are left out.
    """
    found = []
    for text in split_arguments(head):
        if text.startswith("unsigned short"):
            continue
        array = re.fullmatch(r"(?:const )?(\w+) (\w+) ?\[([\d* ]+)\]", text)
        stream = re.fullmatch(r"hls::stream< ?(\w+) ?> ?& ?(\w+)", text)
        if array:
            found.append(Variable(array[2], array[1], dimensions(array[3], line), line=line))
        elif stream:
            found.append(Variable(stream[2], stream[1], line=line))
        else:
            raise Malformed(
                f"an argument of the top function must be an array or an hls::stream, got {text[:100]!r}", line
            )
    return tuple(found)


def split_arguments(text: str) -> list[str]:
    """Split at commas outside of angle brackets and square brackets.

    >>> split_arguments("input_t, nnet::array<ap_fixed<16,6>, 3>, config2")
    ['input_t', 'nnet::array<ap_fixed<16,6>, 3>', 'config2']
    """
    parts: list[list[str]] = [[]]
    depth = 0
    for char in text:
        depth += (char in "<[") - (char in ">]")
        if char == "," and depth == 0:
            parts.append([])
        else:
            parts[-1].append(char)
    return [joined for part in parts if (joined := " ".join("".join(part).split()))]


def dimensions(text: str, line: int | None = None) -> tuple[int, ...]:
    """Sizes of an array, ``8*8*3``; raises ``Malformed`` for what is no product of whole numbers."""
    product_of(text, line)
    return tuple(int(size) for size in text.split("*"))


def parse_variable(item: Statement, depths: Mapping[str, int], known: Mapping[str, Variable]) -> Variable | None:
    """An array, a stream with its depth, or another name for what was declared before."""
    if match := ARRAY_VARIABLE.fullmatch(item.text):
        return Variable(match[2], match[1], dimensions(match[3], item.line), line=item.line)
    if match := STREAM_VARIABLE.fullmatch(item.text):
        return Variable(match[2], match[1], depth=depths.get(match[2], 2), line=item.line)
    if match := ALIAS.fullmatch(item.text):
        if match[2] not in known:
            raise Malformed(f"{match[1]} renames {match[2]}, which is not declared before it", item.line)
        if match[1] in known:
            raise Malformed(f"{match[1]} is declared twice", item.line)
        return Variable(match[1], alias=match[2], root=known[match[2]].root or match[2], line=item.line)
    return None


# Calls that are no layer: weights read in C simulation, traces written.
NOT_LAYERS = ("load_", "save_layer_output", "save_output_array")


def parse_call(item: Statement) -> Call | None:
    """A layer's call; ``None`` for any other statement."""
    match = CALL.fullmatch(item.text)
    if match is None:
        return None
    name, layer = match[1].removeprefix("nnet::"), one_word(item.comment)
    if name.startswith(NOT_LAYERS) or "::" in name or not (match[2] or layer):
        return None
    return Call(name, tuple(split_arguments(match[2] or "")), tuple(split_arguments(match[3])), layer, item.line)
