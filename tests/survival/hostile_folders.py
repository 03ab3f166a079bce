"""Mutations of a small hls4ml project, seeded: what a stranger's folder may hold.

A case is a name and a function that spoils a copy of the project in place; ``outside`` beside it holds files
that nothing may read.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable
from pathlib import Path

Mutation = Callable[[Path, Path], None]

CODE = ("firmware/defines.h", "firmware/parameters.h", "firmware/myproject.cpp")
TEXTS = (*CODE, "hls4ml_config.yml", "project.tcl", "myproject_bridge.cpp", "myproject_test.cpp")
DATA = ("firmware/weights/{weight}", "tb_data/tb_input_features.dat", "tb_data/tb_output_predictions.dat")
FILES = (*TEXTS, *DATA)

NUMBERS = (
    "0", "-1", "", "0x10", "0X7fffffffffffffff", "1 << 3", "1u<<70", "1<<-1", "010", "4294967296", "9" * 30, "9" * 5000,
    "1e308", "1e999", "nan", "-inf", "0.1", "2147483647", "100000", "3 * 1000000000", "n_in", "sizeof(int)", "'a'",
    "\"a\"", "1/0", "-0", "+5", "1'000", "1_0", "٣", "0b11", "08", "1.5f", "{1}", "true", "nnet::resource",
)  # fmt: skip
TYPES = (
    "ap_fixed<0,0>", "ap_fixed<2000,5>", "ap_fixed<16>", "ap_fixed<16,99999999999>", "ap_fixed<16,6,AP_RND,AP_SAT,99>",
    "float", "ap_fixed<" * 50 + "16,6" + ">" * 50, "nnet::array<ap_fixed<16,6>, 0>", "nnet::array<ap_fixed<16,6>, 1/0>",
    "nnet::array<ap_fixed<16,6>, 99999999999999999999>", "nnet::array<nnet::array<ap_fixed<16,6>,2>,2>", "input_t", "",
    "ap_fixed<16,-9999999>", "ap_uint<1>", "ap_fixed<1024,1000>", "ap_int<0x10>", "std::vector<int>", "ap_fixed<१६,6>",
    "ap_fixed<16,6,AP_NONE>", "ap_fixed<999999999999999999999,6>",
)  # fmt: skip


def mutations(count: int, seed: int = 0) -> list[tuple[str, Mutation]]:
    """``count`` mutations: the named ones, as far as they go, and random ones."""
    found = [*for_every_file(), *escapes(), *of_numbers(), *of_types(), *of_structure(), *slow_texts()]
    generator = random.Random(seed)
    chosen = found if len(found) <= count else generator.sample(found, count)
    return chosen + [at_random(number, generator.getrandbits(32)) for number in range(count - len(chosen))]


def weight_of(folder: Path) -> str:
    return sorted(item.name for item in (folder / "firmware" / "weights").glob("w*.txt"))[0]


def on(file: str, change: Callable[[Path, Path], None]) -> Mutation:
    """A change of one file; ``{weight}`` is the first weight file."""

    def mutate(folder: Path, outside: Path) -> None:
        change(folder / file.format(weight=weight_of(folder)), outside)

    return mutate


def replaced(content: bytes) -> Callable[[Path, Path], None]:
    return edited(lambda old: content)


def edited(change: Callable[[bytes], bytes]) -> Callable[[Path, Path], None]:
    def mutate(path: Path, _: Path) -> None:
        path.write_bytes(change(path.read_bytes()))

    return mutate


def linked(target: str) -> Callable[[Path, Path], None]:
    """The file becomes a link; ``{outside}`` is the folder beside."""

    def change(path: Path, outside: Path) -> None:
        path.unlink()
        path.symlink_to(target.format(outside=outside))

    return change


def into_folder(path: Path, _: Path) -> None:
    path.unlink()
    path.mkdir()


def into_pipe(path: Path, _: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def sparse(path: Path, _: Path) -> None:
    os.truncate(path, 1 << 40)


def removed(path: Path, _: Path) -> None:
    path.unlink()


def unreadable(path: Path, _: Path) -> None:
    path.chmod(0)


CHANGES: dict[str, Callable[[Path, Path], None]] = {
    "removed": removed,
    "empty": replaced(b""),
    "a folder": into_folder,
    "a pipe": into_pipe,
    "a terabyte": sparse,
    "a device": linked("/dev/zero"),
    "a link outside": linked("{outside}/secret.txt"),
    "a link in a circle": lambda path, outside: linked(path.name)(path, outside),
    "latin-1": edited(lambda old: old + "// Größe\n".encode("latin-1")),
    "utf-16": edited(lambda old: old.decode().encode("utf-16")),
    "utf-8 with a mark": edited(lambda old: b"\xef\xbb\xbf" + old),
    "zeros": replaced(b"\0" * 4096),
    "noise": replaced(bytes(random.Random(5).randbytes(4096))),
    "half": edited(lambda old: old[: len(old) // 2]),
    "windows lines": edited(lambda old: old.replace(b"\n", b"\r\n")),
    "one line": edited(lambda old: old.replace(b"\n", b" ")),
    "twice": edited(lambda old: old + old),
    "escapes": edited(lambda old: b"\x1b]0;owned\x07\x1b[31m" + old),
    "blank lines": edited(lambda old: b"\n" * 500_000 + old),
    "spaces": edited(lambda old: b" " * 1_000_000 + old),
    "braces": edited(lambda old: b"{" * 200_000 + old),
    "no permission": unreadable,
}


def for_every_file() -> list[tuple[str, Mutation]]:
    return [(f"{file}: {name}", on(file, change)) for file in FILES for name, change in CHANGES.items()]


def text_of(change: Callable[[str], str], file: str) -> Mutation:
    return on(file, edited(lambda old: change(old.decode()).encode()))


def escapes() -> list[tuple[str, Mutation]]:
    """Weight paths that lead out, folders that are links, names that are no names."""
    source = "firmware/myproject.cpp"
    paths = (
        "../../../outside/secret.txt",
        "/etc/hostname",
        "{outside}/secret.txt",
        "..",
        "",
        "a" * 5000,
        "w\\0.txt",
        "./w3.txt",
    )
    found: list[tuple[str, Mutation]] = []
    for path in paths:

        def load(folder: Path, outside: Path, path: str = path) -> None:
            file = folder / source
            wanted = path.format(outside=outside)
            file.write_text(re.sub(r'"w\d+\.txt"', lambda _: f'"{wanted}"', file.read_text(), count=1))

        found.append((f"weights from {path[:40]}", load))

    def folder_link(name: str) -> Mutation:
        def mutate(folder: Path, outside: Path) -> None:
            (folder / name).rename(outside.parent / "moved")
            (folder / name).symlink_to(outside)

        return mutate

    found += [(f"{name} is a link", folder_link(name)) for name in ("firmware/weights", "tb_data", "firmware")]

    def stray(kind: str) -> Mutation:
        def mutate(folder: Path, outside: Path) -> None:
            place = folder / "firmware" / "nnet_utils"
            place.mkdir(exist_ok=True)
            if kind == "pipe":
                os.mkfifo(place / "x.h")
            elif kind == "circle":
                (place / "x").symlink_to(place)
            else:
                (place / "x.h").symlink_to(outside / "secret.txt")

        return mutate

    found += [(f"a stray {kind} in nnet_utils", stray(kind)) for kind in ("pipe", "circle", "link")]
    tops = ("../../outside/secret", "a" * 300, "myproject\x1b[31m", "other", "", "9")
    settings = {
        "ProjectName": tops,
        "Part": ("x" * 500, "\x1b[31m", "../..", "", "none"),
        "ClockPeriod": ("0", "-1", "1e400", "9" * 400, "", "nan"),
        "Backend": ("Quartus", "\x1b[2J", "", "x" * 100_000),
    }
    found += [
        (f"{key} is {value[:30]!r}", text_of(setting(key, value), "hls4ml_config.yml"))
        for key, values in settings.items()
        for value in values
    ]
    return found


def setting(key: str, value: str) -> Callable[[str], str]:
    return lambda old: re.sub(rf"(?m)^{key}:.*$", lambda _: f"{key}: {value}", old)


def nth(pattern: str, value: str, place: int) -> Callable[[str], str]:
    """Put ``value`` in place of what group 1 of the ``place``-th match captured."""

    def change(old: str) -> str:
        matches = list(re.finditer(pattern, old))
        match = matches[place % len(matches)]
        return old[: match.start(1)] + value + old[match.end(1) :]

    return change


CONSTANTS = r"static const unsigned \w+ = ([^;]+);"
ARRAYS = r"\[([\d*]+)\]|, ([\d]+)>\(|depth=(\d+)"


def of_numbers() -> list[tuple[str, Mutation]]:
    """Every absurd number in the place of some constant, size and weight."""
    found: list[tuple[str, Mutation]] = []
    for index, value in enumerate(NUMBERS):
        for step in (0, 1, 2):
            place = index * 7 + step * 13
            found.append((f"constant {place} is {value[:20]!r}", text_of(nth(CONSTANTS, value, place), CODE[1])))
        found.append((f"an array of {value[:20]!r}", text_of(nth(r"depth=(\d+)", value, index), CODE[2])))
        found.append((f"weights sized {value[:20]!r}", text_of(nth(r", (\d+)>\(", value, index), CODE[2])))
        found.append((f"a weight {value[:20]!r}", text_of(nth(r"([-\d.]+)", value, index), DATA[0])))
        found.append((f"an input {value[:20]!r}", text_of(nth(r"([-\d.]+)", value, index), DATA[1])))
        found.append((f"a bridge of {value[:20]!r}", text_of(nth(r", ([\d*]+)>\(", value, index), TEXTS[5])))
    return found


def of_types() -> list[tuple[str, Mutation]]:
    typedefs = r"typedef (.+) \w+;"
    return [
        (f"type {place} is {value[:30]!r}", text_of(nth(typedefs, value, place), CODE[0]))
        for index, value in enumerate(TYPES)
        for place in (index, index * 5 + 3)
    ]


def before_calls(lines: str) -> Callable[[str], str]:
    """Lines put before the first call of a layer."""
    return lambda old: re.sub(r"(?m)^(    nnet::\w+<)", lambda match: lines + match[1], old, count=1)


def reads(variable: str) -> Callable[[str], str]:
    """The activation reads another variable."""
    return lambda old: old.replace("(layer3_out, layer4_out)", f"({variable}, layer4_out)")


def weights_of(members: str) -> Callable[[str], str]:
    """Weights of a struct type."""
    return lambda old: re.sub(r"typedef .+ (weight\d+_t);", rf"typedef struct \1 {{{members} }} \1;", old)


def of_structure() -> list[tuple[str, Mutation]]:
    """Aliases in circles and long chains, calls that read nothing, repeat or go missing, swapped layers."""
    top = CODE[2]
    chain = "".join(f"    auto& a{i} = {'layer3_out' if i == 0 else f'a{i - 1}'};\n" for i in range(20_000))
    changes: dict[str, Callable[[str], str]] = {
        "aliases in a circle": before_calls("    auto& a = b;\n    auto& b = a;\n"),
        "an alias of itself": before_calls("    auto& a = a;\n"),
        "a long chain of aliases": before_calls(chain),
        "an alias nobody wrote": before_calls("    auto& a = nothing;\n"),
        "the chain's end is read": lambda old: reads("a19999")(before_calls(chain)(old)),
        "a call reads itself": reads("layer4_out"),
        "a call reads what comes later": reads("layer5_out"),
        "no arguments": lambda old: re.sub(r"(nnet::relu<[^>]*>)\([^)]*\)", r"\1()", old),
        "no templates": lambda old: re.sub(r"nnet::relu<[^>]*>", "nnet::relu", old),
        "one argument": lambda old: re.sub(r"(nnet::dense<[^>]*>)\((\w+)[^)]*\)", r"\1(\2)", old),
        "no bias": lambda old: re.sub(r"(nnet::dense<[^>]*>\(\w+, \w+, \w+), \w+\)", r"\1)", old),
        "other function": lambda old: old.replace("nnet::dense<", "nnet::softmax<"),
        "dense for relu": lambda old: old.replace("nnet::relu<", "nnet::dense<"),
        "conv for dense": lambda old: old.replace("nnet::dense<", "nnet::conv_2d_cl<"),
        "pooling for relu": lambda old: old.replace("nnet::relu<", "nnet::pooling2d_cl<"),
        "merge for relu": lambda old: old.replace("nnet::relu<", "nnet::concatenate3d<"),
        "transpose for relu": lambda old: old.replace("nnet::relu<", "nnet::transpose<"),
        "clone for relu": lambda old: old.replace("nnet::relu<", "nnet::clone_stream<"),
        "repack for relu": lambda old: old.replace("nnet::relu<", "nnet::repack_stream<"),
        "resize for relu": lambda old: old.replace("nnet::relu<", "nnet::resize_nearest<"),
        "elu for relu": lambda old: old.replace("nnet::relu<", "nnet::elu<"),
        "elu of nan": lambda old: re.sub(r"nnet::relu(<[^>]*>)\((\w+), ", r"nnet::elu\1(\2, nan, ", old),
        "prelu for relu": lambda old: old.replace("nnet::relu<", "nnet::prelu<"),
        "normalize for dense": lambda old: old.replace("nnet::dense<", "nnet::normalize<"),
        "calls twice": lambda old: re.sub(r"(?m)^(    nnet::\w+<.*)$", r"\1\n\1", old),
        "no calls": lambda old: re.sub(r"(?m)^    nnet::\w+<.*$", "", old),
        "a hundred thousand calls": before_calls("    nnet::relu<a, relu_config4>(layer3_out, layer4_out);\n" * 99_999),
        "a call of a megabyte": before_calls(f"    nnet::relu<{'a, ' * 300_000}>(x, y); // r\n"),
        "a name of a megabyte": before_calls(f"    nnet::relu<a>({'a' * 1_000_000}, y); // r\n"),
        "a layer called \\x1b[31m": lambda old: re.sub(r"; // relu", "; // \x1b[31mrelu", old),
        "a layer called ../..": lambda old: re.sub(r"; // relu", "; // ../../../outside/secret", old),
        "a layer called <script>": lambda old: re.sub(r"; // relu", "; // <script>alert(1)</script>", old),
        "layers of one name": lambda old: re.sub(r"; // \w+", "; // same", old),
        "an argument of type int": lambda old: old.replace("hls::stream<input_t> &", "int "),
        "no top": lambda old: old.replace("void myproject(", "int myproject("),
        "a top in a namespace": lambda old: old.replace("void myproject(", "namespace a { void myproject(") + "}",
        "top never closed": lambda old: old.rstrip().rstrip("}"),
        "a comment never closed": before_calls("/*"),
        "a string never closed": before_calls('"'),
        "loads twice": lambda old: re.sub(r"(?m)^(        nnet::load.*)$", r"\1\n\1", old),
        "another type's weights": lambda old: re.sub(r"weights_from_txt<\w+,", "weights_from_txt<input_t,", old),
    }  # fmt: skip
    found = [(name, text_of(change, top)) for name, change in changes.items()]
    parameters: dict[str, Callable[[str], str]] = {
        "structs of one name": lambda old: re.sub(r"struct \w+", "struct config3", old),
        "no structs": lambda old: re.sub(r"(?s)struct .*?\n};", "", old),
        "a struct never closed": lambda old: old.replace("};", "", 1),
        "no semicolons": lambda old: old.replace(";", ""),
        "mult in a circle": lambda old: re.sub(r"typedef \w+ mult_config", "typedef config3 mult_config", old),
        "strategy is a number": lambda old: re.sub(r"strategy = [\w:]+", "strategy = 7", old),
        "strategy is nonsense": lambda old: re.sub(r"strategy = [\w:]+", "strategy = nnet::\x1b[31m", old),
        "channels first": lambda old: old.replace("nnet::conv_implementation::linebuffer", "nnet::x::encoded"),
        "every size is one": lambda old: re.sub(CONSTANTS, lambda match: match[0].replace(match[1], "1"), old),
        "every size is huge": lambda old: re.sub(CONSTANTS, lambda match: match[0].replace(match[1], "16777216"), old),
    }
    found += [(name, text_of(change, CODE[1])) for name, change in parameters.items()]
    defines: dict[str, Callable[[str], str]] = {
        "macros": lambda old: "".join(f"#define {chr(65 + i)} {'9' * 12}\n" for i in range(26)) + old,
        "a macro that grows": lambda old: f"#define N_LAYER {'9' * 100_000}\n" + old,
        "types of one name": lambda old: re.sub(r"(?m) \w+;$", " input_t;", old),
        "exponent weights": weights_of("ap_uint<1> sign; ap_int<4> weight;"),
        "compressed weights": weights_of("ap_uint<5> row_index; ap_uint<5> col_index; ap_fixed<8,2> weight;"),
    }
    return found + [(name, text_of(change, CODE[0])) for name, change in defines.items()]


def slow_texts() -> list[tuple[str, Mutation]]:
    """Text on which a search that backtracks takes time quadratic in its length, or worse."""
    count = 30_000
    texts = {
        "typedefs without an end": "typedef " * count,
        "structs without an end": "struct a {\n" * 40 + "static const unsigned a = " * count,
        "structs side by side": "struct a {\n};\n" * count,
        "openings of structs": "struct a : b \n" * count,
        "constants without an end": "static const unsigned a = 1 " * count,
        "rows without an end": "typedef struct a { row_index; col_index; " * 40 + "row_index; col_index; " * count,
        "commas": "typedef nnet::array<" + "1," * count + "> a;",
        "spaces in a type": "typedef a" + " " * count * 10 + "b",
        "comments": "//\n" * count * 10,
        "commented structs": "// a\n\n" * count + "struct a",
        "calls without an end": "nnet::a<" * count + "(" * count,
        "brackets": "    a b[" * count,
        "streams": "hls::stream<a> b" * count,
        "data": "nnet::a_data<" * count,
        "stars": "typedef nnet::array<a, " + "*" * count + "> b;",
        "many factors": "static const unsigned a = " + "3*" * 9_000 + "3;",
        "macros": "#define A" + " " * count * 10 + "1 x\n",
        "slashes": "/" * count * 10,
        "quotes": '"' * count * 10,
        "pragmas": "#pragma HLS STREAM variable=a depth=1\n" * count,
        "digits": "1" * count * 10,
        "minus": "-" * count * 10,
    }
    return [
        (f"{file}: {name}", on(file, edited(lambda old, text=text: old + b"\n" + text.encode())))
        for name, text in texts.items()
        for file in (*CODE, "myproject_bridge.cpp")
    ]  # fmt: skip


def at_random(number: int, seed: int) -> tuple[str, Mutation]:
    """A few random edits of a random file: bytes, lines, tokens."""

    def mutate(folder: Path, _: Path) -> None:
        generator = random.Random(seed)
        file = folder / generator.choice(FILES).format(weight=weight_of(folder))
        for _ in range(generator.randint(1, 6)):
            content = file.read_bytes()
            file.write_bytes(generator.choice(EDITS)(content, generator))

    return f"random {number} (seed {seed})", mutate


def flip(content: bytes, generator: random.Random) -> bytes:
    place = generator.randrange(len(content) or 1)
    return content[:place] + bytes([generator.randrange(256)]) + content[place + 1 :]


def lines_moved(content: bytes, generator: random.Random) -> bytes:
    lines = content.split(b"\n")
    first, second = generator.randrange(len(lines)), generator.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    return b"\n".join(lines)


def line_gone(content: bytes, generator: random.Random) -> bytes:
    lines = content.split(b"\n")
    del lines[generator.randrange(len(lines))]
    return b"\n".join(lines)


def token_changed(content: bytes, generator: random.Random) -> bytes:
    tokens = re.findall(rb"\w+|\W", content) or [b""]
    tokens[generator.randrange(len(tokens))] = generator.choice([*tokens, *(value.encode() for value in NUMBERS[:20])])
    return b"".join(tokens)


EDITS = (flip, lines_moved, line_gone, token_changed, token_changed, token_changed)
