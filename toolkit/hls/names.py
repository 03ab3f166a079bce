"""Layer names as C++ can spell them, and back.

hls4ml makes identifiers of layer names as they are: types (``<layer>_accum_t``), and for inputs the very
variable. The graph it builds has names that C++ takes; everything a user reads or writes keeps the model's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from toolkit.errors import UnsupportedLayer
from toolkit.records import Graph, Layer

IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# Names of hls4ml's own: types, variables of layers and weights, configurations. Only an input is a variable.
GENERATED = re.compile(r"layer\d+\w*|[a-z]{1,2}\d+|\w+_t|config\d+|myproject\w*|\w+_config\d+")
RESERVED = (
    "alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t "
    "char32_t class compl concept const consteval constexpr constinit const_cast continue co_await "
    "co_return co_yield decltype default delete do double dynamic_cast else enum explicit export extern "
    "false float for friend goto if inline int long mutable namespace new noexcept not not_eq nullptr "
    "operator or or_eq private protected public register reinterpret_cast requires return short signed "
    "sizeof static static_assert static_cast struct switch template this thread_local throw true try "
    "typedef typeid typename union unsigned using virtual void volatile wchar_t while xor xor_eq input "
    "main std nnet hls size_t "
)  # C++ keywords, and what hls4ml's own code declares
KEYWORDS = frozenset(RESERVED.split())
# hls4ml's parser holds these single letters for taken: ``set("input")`` (keras_v3_to_hls.py).
TAKEN_LETTERS = frozenset("input")


def own_names(layers: Sequence[dict[str, Any]], known: Iterable[str]) -> dict[str, str]:
    """Give layers named by a letter that hls4ml takes for used their own name back, in place; what was renamed."""
    models = set(known)
    renamed: dict[str, str] = {}
    for layer in layers:
        letter, _, count = str(layer["name"]).partition("_")
        if letter in TAKEN_LETTERS & models and count.isdigit() and layer["name"] not in models:
            renamed[layer["name"]] = letter if count == "0" else f"{letter}_{int(count) - 1}"
    for layer in layers:
        layer["name"] = renamed.get(layer["name"], layer["name"])
        layer["inputs"] = [renamed.get(name, name) for name in layer["inputs"]]
    return renamed


def cpp_names(layers: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """By the model's layer name, the name in hls4ml's graph.

    No two differ only in case: hls4ml looks types up in lower case.
    """
    plain = {
        str(layer["name"]): spelled(str(layer["name"]), is_input=layer["class_name"] == "InputLayer")
        for layer in layers
    }
    names: dict[str, str] = {}
    used: set[str] = set()
    for own in sorted(plain, key=lambda own: own != plain[own]):  # names that C++ takes keep theirs
        name, count = plain[own], 1
        while name.lower() in used:
            count += 1
            name = f"{plain[own]}_v{count}"
        used.add(name.lower())
        names[own] = name
    return {own: names[own] for own in plain}


def spelled(name: str, *, is_input: bool) -> str:
    """One name with everything that C++ does not take in an identifier replaced."""
    word = re.sub(r"[^A-Za-z0-9_]", "_", name)
    plain = IDENTIFIER.fullmatch(word) and word not in KEYWORDS and not (is_input and GENERATED.fullmatch(word))
    return word if plain else f"layer_{word}"


def naming_notes(names: Mapping[str, str]) -> list[str]:
    """One note for each layer that has another name in the C++."""
    return [f"{own}: not taken as a name by C++, {name} there" for own, name in names.items() if own != name]


def with_own_names(graph: Graph, names: Mapping[str, str]) -> Graph:
    """A graph that hls4ml built under C++ names, under the model's; layers that hls4ml added keep theirs."""
    own = {name: key for key, name in names.items() if key != name}
    if not own:
        return graph
    return Graph(
        tuple(renamed(layer, own) for layer in graph.layers),
        {own.get(key, key): replace(tensor, name=own.get(key, key)) for key, tensor in graph.tensors.items()},
        tuple(own.get(name, name) for name in graph.inputs),
        tuple(own.get(name, name) for name in graph.outputs),
        graph.digest,
    )


def renamed(layer: Layer, own: Mapping[str, str]) -> Layer:
    variables = {own.get(key, key): value for key, value in layer.attributes["cpp_variables"].items()}
    changed = {"cpp_name": layer.name} if layer.name in own else {}
    return replace(
        layer,
        name=own.get(layer.name, layer.name),
        inputs=tuple(own.get(name, name) for name in layer.inputs),
        outputs=tuple(own.get(name, name) for name in layer.outputs),
        attributes={**layer.attributes, "cpp_variables": variables, **changed},
    )


def check_ports(graph: Graph) -> None:
    """Raise ``UnsupportedLayer`` for a value that would be two ports of the top function at once."""
    for position, name in enumerate(graph.outputs):
        if name in graph.outputs[:position]:
            raise UnsupportedLayer(
                f"layer {name!r} is two of the model's outputs, which would be one port of the design; "
                "leave one out, or give it a layer of its own"
            )
        if name in graph.inputs:
            raise UnsupportedLayer(
                f"input {name!r} is an output of the model too, with nothing computed between; "
                "leave that output out: its values are the input's"
            )
