"""What csim compiles: a project's C++ taken apart into translation units.

All functions take text and return text. The C++ that computes is hls4ml's, unchanged; what changes is
where it is compiled and how constants get in:

- each expensive layer call becomes a function in a translation unit of its own;
- weights are read from a folder chosen when the library is loaded;
- hls4ml's generated im2col code (io_parallel), an ``if`` per output pixel with an assignment per
  element, becomes a table of the same indices and a loop over it. It is nine tenths of an io_parallel
  compile otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolkit.errors import HlsError
from toolkit.records import Graph

CALL = re.compile(r"^    (nnet::(\w+)<.*>)\(([\w, ]*)\);(?: // (.*))?$")
STREAM = re.compile(r"^    hls::stream<(\w+)> (\w+)\(\"\w+\"\);$")
ARRAY = re.compile(r"^    (\w+) (\w+)\[([\w*+ ]+)\];$")
ALIAS = re.compile(r"^    auto& (\w+) = (\w+);$")
STREAM_PORT = re.compile(r"^    hls::stream<(\w+)> &(\w+),?$")
ARRAY_PORT = re.compile(r"^    (\w+) (\w+)\[([\w*+ ]+)\],?$")
LOAD = re.compile(r"^(\s*)nnet::load_weights_from_txt<(\w+), (\d+)>\((\w+), \"(\w+)\.txt\"\);$")
WEIGHT = re.compile(r"^(\w+) (\w+)\[(\d+)\];$", re.MULTILINE)
WEIGHT_INCLUDE = re.compile(r'^#include "weights/\w+\.h"\n', re.MULTILINE)
STATIC_MEMBER = re.compile(r"^(const [^;{}=]*\b\w*config\w*::\w+(?:\[[^\]]*\])? =)", re.MULTILINE)

# Compile time of a call against that of the others, roughly (measured: 1.0 s against 0.4 s alone in a unit).
EXPENSIVE = ("conv", "dense", "depthwise", "pointwise", "separable")
EXPENSIVE_WEIGHT = 3


@dataclass(frozen=True)
class Unit:
    """One translation unit: file name and text."""

    name: str
    text: str


@dataclass(frozen=True)
class Port:
    """An input or output of the top function: C++ name, type and number of elements."""

    name: str
    type: str
    size: int


@dataclass(frozen=True)
class Ports:
    """Inputs and outputs of the top function in order."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def read_ports(graph: Graph) -> Ports:
    """The top function's ports from the graph."""
    return Ports(tuple(port(graph, name) for name in graph.inputs), tuple(port(graph, name) for name in graph.outputs))


def port(graph: Graph, tensor: str) -> Port:
    for layer in graph.layers:
        if tensor in layer.attributes["cpp_variables"]:
            variable = layer.attributes["cpp_variables"][tensor]
            return Port(variable["name"], variable["type"], variable["size"])
    raise HlsError(f"the graph has no layer that produces {tensor!r}")


def declared_types(top: str) -> dict[str, str]:
    """Parameter declarations that accept each variable of the top function, by name.

    >>> declared_types('    hls::stream<a_t> a("a");')["a"]
    'hls::stream<a_t> &a'
    >>> declared_types("    b_t b[3*4];")["b"]
    'b_t (&b)[3*4]'
    """
    found: dict[str, str] = {}
    for line in top.splitlines():
        if match := STREAM.match(line) or STREAM_PORT.match(line):
            found[match.group(2)] = f"hls::stream<{match.group(1)}> &{match.group(2)}"
        elif match := ARRAY_PORT.match(line):
            found[match.group(2)] = f"{match.group(1)} *{match.group(2)}"
        elif match := ARRAY.match(line):
            found[match.group(2)] = f"{match.group(1)} (&{match.group(2)})[{match.group(3)}]"
        elif (match := ALIAS.match(line)) and match.group(2) in found:
            found[match.group(1)] = re.sub(rf"\b{match.group(2)}\b", match.group(1), found[match.group(2)])
    return found


@dataclass(frozen=True)
class Call:
    """A layer's call moved out of the top function: its new declaration and body, and how long it compiles."""

    signature: str
    line: str
    weight: int


def split_top(top: str, includes: str, weights: Sequence[str], units: int) -> tuple[str, list[Unit]]:
    """Move layer calls of the top function's file into functions in up to ``units`` other files.

    Returns the remaining file and the units. ``includes`` begins every unit; ``weights`` are the
    names of weight arrays, which units see as globals. A call that is not understood stays.
    """
    types = declared_types(top)
    lines: list[str] = []
    calls: list[Call] = []
    for line in top.splitlines():
        match = CALL.match(line)
        names = [name.strip() for name in match.group(3).split(",")] if match else []
        variables = [name for name in names if name in types]
        if match is None or len(variables) + sum(name in weights for name in names) != len(names):
            lines.append(line)
            continue
        function = f"toolkit_part_{len(calls)}"
        signature = f"void {function}({', '.join(types[name] for name in variables)})"
        weight = EXPENSIVE_WEIGHT if match.group(2).startswith(EXPENSIVE) else 1
        calls.append(Call(signature, line, weight))
        lines.append(f"    {function}({', '.join(variables)}); // {match.group(4) or ''}".rstrip(" /"))
    main = insert_prototypes("\n".join(lines) + "\n", [f"{call.signature};" for call in calls])
    return main, [
        Unit(f"part_{index}.cpp", includes + "".join(f"\n{call.signature} {{\n{call.line}\n}}\n" for call in group))
        for index, group in enumerate(share_units(calls, units))
    ]


def share_units(calls: Sequence[Call], units: int) -> list[list[Call]]:
    """Calls in up to ``units`` groups of about the same weight, none empty.

    Layers have most of their arithmetic in common, so a group compiles faster than its calls one by one.
    """
    groups: list[list[Call]] = [[] for _ in range(min(max(units, 1), len(calls)))]
    for call in sorted(calls, key=lambda call: -call.weight):
        min(groups, key=lambda group: sum(other.weight for other in group)).append(call)
    return groups


def insert_prototypes(top: str, prototypes: Sequence[str]) -> str:
    """Put declarations in front of the top function."""
    start = re.search(r"^void \w+\($", top, re.MULTILINE)
    if start is None:
        raise HlsError("the top function was not found in the generated C++")
    return top[: start.start()] + "".join(f"{line}\n" for line in prototypes) + "\n" + top[start.start() :]


def binary_weights(top: str, keep: Sequence[str] = ()) -> str:
    """Read weights from ``<name>.bin`` in place of text; those in ``keep`` stay text.

    >>> binary_weights('        nnet::load_weights_from_txt<w_t, 3>(w2, "w2.txt");')
    '        toolkit::load_weights<w_t, 3>(w2, "w2");'
    """

    def replace(line: str) -> str:
        match = LOAD.match(line)
        if match is None or match.group(5) in keep:
            return line
        indent, type_, size, array, name = match.groups()
        return f'{indent}toolkit::load_weights<{type_}, {size}>({array}, "{name}");'

    return "\n".join(replace(line) for line in top.split("\n"))


def binary_names(top: str) -> set[str]:
    """Weight arrays that the top function's file loads as plain numbers."""
    return {match.group(5) for line in top.splitlines() if (match := LOAD.match(line))}


def weight_declarations(headers: Sequence[str]) -> tuple[str, str]:
    """Definitions and ``extern`` declarations of the arrays in hls4ml's weight headers."""
    found = [match for header in headers if (match := WEIGHT.search(header))]
    define = "".join(f"{match.group(1)} {match.group(2)}[{match.group(3)}];\n" for match in found)
    declare = "".join(f"extern {match.group(1)} {match.group(2)}[{match.group(3)}];\n" for match in found)
    return define, declare


def without_weights(parameters: str, header: str) -> str:
    """``parameters.h`` with one header in place of those that define weights.

    Static members it defines become weak, so that every unit may include it.
    """
    text, count = WEIGHT_INCLUDE.subn("", parameters)
    place = "// hls-fpga-machine-learning insert weights\n"
    if place not in text:
        raise HlsError("parameters.h has no place for weights")
    text = text.replace(place, f'{place}#include "{header}"\n' if count else place)
    return STATIC_MEMBER.sub(r"__attribute__((weak)) \1", text)


def trace_calls(top: str, graph: Graph) -> str:
    """Record each layer's output after the line that computes it, and the inputs before the first."""
    outputs = {}
    for layer in graph.layers:
        variable = next(iter(layer.attributes["cpp_variables"].values()))
        told = str(layer.attributes.get("cpp_name", layer.name))  # the comment behind the layer's call
        outputs[told] = (variable["name"], variable["size"], layer.kind, json.dumps(layer.name))
    lines = []
    for line in top.split("\n"):
        lines.append(line)
        match = re.match(r"^    [\w:]+.*\); // (.*)$", line)
        if match and match.group(1) in outputs:
            name, size, _, layer_name = outputs[match.group(1)]
            lines.append(f"    toolkit::trace({layer_name}, {name}, {size});")
        if "insert layers" in line:
            for name, size, kind, layer_name in outputs.values():
                if kind == "Input":
                    lines.append(f"    toolkit::trace({layer_name}, {name}, {size});")
    return "\n".join(lines)


def bridge(top: str, ports: Ports, stream: bool) -> str:
    """C functions that Python calls: choose the weights' folder, compute images, fetch traces.

    Values go through hls4ml's own ``convert_data``: float32 to the input types, result types to double.
    """
    inputs = ", ".join(f"const float *in_{index}" for index in range(len(ports.inputs)))
    outputs = ", ".join(f"double *out_{index}" for index in range(len(ports.outputs)))
    body = []
    for index, item in enumerate(ports.inputs):
        body.append(variable(item, f"x_{index}", stream))
        source = f"const_cast<float *>(in_{index}) + i * {item.size}"
        body.append(f"nnet::convert_data<float, {item.type}, {item.size}>({source}, x_{index});")
    body += [variable(item, f"y_{index}", stream) for index, item in enumerate(ports.outputs)]
    arguments = [f"x_{index}" for index in range(len(ports.inputs))]
    arguments += [f"y_{index}" for index in range(len(ports.outputs))]
    body.append(f"{top}({', '.join(arguments)});")
    for index, item in enumerate(ports.outputs):
        target = f"out_{index} + i * {item.size}"
        body.append(f"nnet::convert_data<{item.type}, double, {item.size}>(y_{index}, {target});")
    loop = "\n".join(f"            {line}" for line in body)
    return BRIDGE.replace("@INPUTS@", inputs).replace("@OUTPUTS@", outputs).replace("@LOOP@", loop)


def variable(item: Port, name: str, stream: bool) -> str:
    return f"hls::stream<{item.type}> {name};" if stream else f"{item.type} {name}[{item.size}];"


BRIDGE = """
static std::string toolkit_weights;
static std::string toolkit_message;
std::map<std::string, std::vector<double>> *toolkit::traces = NULL;

const char *toolkit_weights_dir() {
    if (toolkit_weights.empty())
        if (const char *given = std::getenv("TOOLKIT_CSIM_WEIGHTS"))
            toolkit_weights = given;
    return toolkit_weights.c_str();
}

void toolkit::read_stored(const char *name, int64_t *stored, size_t count) {
    std::string path = std::string(toolkit_weights_dir()) + "/" + name + ".bin";
    std::ifstream file(path.c_str(), std::ios::binary);
    if (!file.read(reinterpret_cast<char *>(stored), count * sizeof(int64_t)))
        throw std::runtime_error("cannot read " + path);
}

extern "C" {

void toolkit_set_weights(const char *folder) { toolkit_weights = folder; }

const char *toolkit_error() { return toolkit_message.c_str(); }

int toolkit_predict(size_t n, @INPUTS@, @OUTPUTS@) {
    try {
        for (size_t i = 0; i < n; i++) {
@LOOP@
        }
    } catch (const std::exception &error) {
        toolkit_message = error.what();
        return 1;
    }
    return 0;
}

void toolkit_trace_begin() { toolkit::traces = new std::map<std::string, std::vector<double>>; }

size_t toolkit_trace_size(const char *layer) { return (*toolkit::traces)[layer].size(); }

void toolkit_trace_copy(const char *layer, double *values) {
    const std::vector<double> &kept = (*toolkit::traces)[layer];
    std::memcpy(values, kept.data(), kept.size() * sizeof(double));
}

void toolkit_trace_end() {
    delete toolkit::traces;
    toolkit::traces = NULL;
}
}
"""

FILL_CLASS = re.compile(
    r"(template<class data_T, typename CONFIG_T>\nclass (fill_buffer_\w+) : public [^{]*\{\n\s*public:\n"
    r"\s*static void fill_buffer\([^)]*\) \{\n)(.*?)(\n    \}\n\};\n)",
    re.DOTALL,
)
PARTITION = re.compile(r"if \(partition ==\s*(\d+)\) \{\n(.*?)\n\s*\}", re.DOTALL)
ASSIGNMENT = re.compile(r"buffer\[(\d+)\]\[(\d+)\] =\s*(?:data\[(\d+)\]|0);")


def tabulate_buffers(code: str) -> tuple[str, str]:
    """Replace hls4ml's unrolled im2col functions by a loop over a table of their indices.

    Returns the header and a unit that defines the tables. A class that is not understood stays as it is.
    """
    tables = []

    def replace(match: re.Match[str]) -> str:
        head, name, body, tail = match.groups()
        rows = read_buffer_table(body)
        if rows is None:
            return match.group(0)
        width = len(rows[0])
        tables.append(table_text(name, rows))
        loop = (
            f"        const int *row = toolkit_{name} + partition * {width};\n"
            "        const unsigned elements = sizeof(buffer[0]) / sizeof(buffer[0][0]);\n"
            "        for (unsigned p = 0; p < CONFIG_T::n_pixels; p++)\n"
            "            for (unsigned e = 0; e < elements; e++, row++)\n"
            "                if (*row < 0) buffer[p][e] = 0; else buffer[p][e] = data[*row];"
        )
        return f"extern const int toolkit_{name}[];\n{head}{loop}{tail}"

    return FILL_CLASS.sub(replace, code), "".join(tables)


def read_buffer_table(body: str) -> list[list[int]] | None:
    """Per partition, the source index of every buffer element in order (-1 for zero).

    ``None`` when the text holds anything but one assignment per element.
    """
    rows = []
    for number, (index, text) in enumerate(PARTITION.findall(body)):
        found = [(int(p), int(e), int(source) if source else -1) for p, e, source in ASSIGNMENT.findall(text)]
        places = [(p, e) for p, e, _ in found]
        if int(index) != number or ASSIGNMENT.sub("", text).strip() or places != sorted(set(places)):
            return None
        rows.append([source for *_, source in found])
    if not rows or len({len(row) for row in rows}) != 1 or PARTITION.sub("", body).strip():
        return None
    return rows


def table_text(name: str, rows: Sequence[Sequence[int]]) -> str:
    numbers = ",\n".join(",".join(str(value) for value in row) for row in rows)
    return f"namespace nnet {{\nextern const int toolkit_{name}[] = {{{numbers}}};\n}}\n"


def assemble(
    files: Mapping[str, str], graph: Graph, top: str, *, stream: bool, trace: bool, units: int
) -> dict[str, str]:
    """Every file csim compiles, by name, from the text of a project's own.

    ``files`` holds ``<top>.cpp``, ``<top>.h``, ``parameters.h``, ``defines.h``, ``nnet_code_gen.h`` and
    the ``weights/*.h``; the layers are shared out over ``units`` files. Returns headers and the units
    ``main.cpp``, ``bridge.cpp``, ``part_*.cpp`` and ``tables.cpp``.
    """
    headers = [text for name, text in sorted(files.items()) if name.startswith("weights/")]
    define, declare = weight_declarations(headers)
    wide = [weight.name for layer in graph.layers for weight in layer.weights.values() if is_wide(weight.precision)]
    names = WEIGHT.findall(define)
    includes = f'#include "{top}.h"\n#include "parameters.h"\n'
    main, parts = split_top(files[f"{top}.cpp"], includes, [name for _, name, _ in names], units)
    main = binary_weights(main, wide)
    main = trace_calls(main, graph) if trace else main
    code, tables = tabulate_buffers(files.get("nnet_code_gen.h", ""))
    place = '#include "parameters.h"\n'
    return {
        "main.cpp": main.replace(place, f"{place}{define}", 1),
        "bridge.cpp": f'#include "{top}.h"\n' + bridge(top, read_ports(graph), stream),
        **{unit.name: unit.text for unit in parts},
        **({"tables.cpp": tables} if tables else {}),
        f"{top}.h": files[f"{top}.h"],
        "defines.h": files["defines.h"],
        "parameters.h": without_weights(files["parameters.h"], "toolkit_weights.h"),
        "toolkit_weights.h": declare,
        **({"nnet_utils/nnet_code_gen.h": code} if code else {}),
    }


def is_wide(precision: str) -> bool:
    """Whether a weight does not fit the 64-bit integers of a ``.bin`` file."""
    match = re.search(r"<(\d+)", precision)
    return match is not None and int(match.group(1)) > 53
