"""Model files of strangers: mutations of a small ``.keras`` and ``.h5`` file, seeded."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Mutation = Callable[[Path, Path], None]  # of a file, and a folder outside that nothing may read

LAMBDA = {
    "module": "keras.layers", "class_name": "Lambda", "registered_name": None,
    "config": {"name": "run", "function": {"class_name": "__lambda__", "config": {"code": "4wEAAAA="}}},
}  # fmt: skip
VALUES: tuple[Any, ...] = (
    10**9, -1, 0, 10**30, 1e308, None, "", "x" * 100_000, "\x1b[31m", [], [[]] * 3, {}, True,
    [10**6] * 4, "../../secret",
    {"class_name": "__tensor__", "config": {"value": 1}}, {"class_name": "__lambda__", "config": {}}, LAMBDA,
)  # fmt: skip
CLASSES = (
    {"module": "os", "class_name": "system", "config": {"command": "touch {outside}/made"}, "registered_name": None},
    {"module": "builtins", "class_name": "exec", "config": {"source": "1"}, "registered_name": None},
    {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "{outside}"}, "registered_name": None},
    {"module": "subprocess", "class_name": "Popen", "config": {"args": ["touch", "{outside}/made"]}},
    LAMBDA,
)  # fmt: skip


def mutations(count: int, seed: int = 0) -> list[tuple[str, str, Mutation]]:
    """Name, suffix of the file it is for, and what spoils it; the named ones first."""
    generator = random.Random(seed)
    found = [(name, suffix, change) for name, change in BYTES.items() for suffix in (".keras", ".h5")]
    found += [(name, ".keras", change) for name, change in ARCHIVES.items()]
    found += [(name, ".h5", change) for name, change in LINKS.items()]
    for suffix in (".keras", ".h5"):
        found += [
            (f"a value {str(value)[:30]}", suffix, with_value(value, generator.getrandbits(32))) for value in VALUES
        ]
        found += [(f"a layer {item['class_name']}", suffix, with_layer(item)) for item in CLASSES]
        found.append(("a configuration nested deeply", suffix, with_config(lambda _: nested(5_000))))
    if len(found) > count:
        return generator.sample(found, count)
    for number in range(count - len(found)):
        suffix = generator.choice((".keras", ".h5"))
        found.append((f"random {number}", suffix, flipped(generator.getrandbits(32))))
    return found


def nested(levels: int) -> str:
    return '{"config": ' * levels + "1" + "}" * levels


def flipped(seed: int) -> Mutation:
    """Some bytes changed."""

    def change(file: Path, _: Path) -> None:
        generator, content = random.Random(seed), bytearray(file.read_bytes())
        for _ in range(generator.choice((1, 5, 50))):
            content[generator.randrange(len(content))] = generator.randrange(256)
        file.write_bytes(content)

    return change


def bytes_of(change: Callable[[bytes], bytes]) -> Mutation:
    def mutate(file: Path, _: Path) -> None:
        file.write_bytes(change(file.read_bytes()))

    return mutate


def replaced(make: Callable[[Path, Path], object]) -> Mutation:
    def mutate(file: Path, outside: Path) -> None:
        file.unlink()
        make(file, outside)

    return mutate


BYTES: dict[str, Mutation] = {
    "empty": bytes_of(lambda old: b""),
    "half": bytes_of(lambda old: old[: len(old) // 2]),
    "without its end": bytes_of(lambda old: old[:-10]),
    "noise": bytes_of(lambda old: os.urandom(5000)),
    "zeros": bytes_of(lambda old: bytes(5000)),
    "twice": bytes_of(lambda old: old + old),
    "text": bytes_of(lambda old: b"\x1b[31mnot a model"),
    "a pickle": bytes_of(lambda old: b"cos\nsystem\n(S'touch made'\ntR."),
    "a pipe": replaced(lambda file, _: os.mkfifo(file)),
    "a device": replaced(lambda file, _: file.symlink_to("/dev/zero")),
    "a folder": replaced(lambda file, _: file.mkdir()),
    "a link to text outside": replaced(lambda file, outside: file.symlink_to(outside / "secret.txt")),
    "a terabyte": lambda file, _: os.truncate(file, 1 << 40),
}


def repacked(change: Callable[[dict[str, bytes]], dict[str, bytes]], *, deflate: bool = False) -> Mutation:
    """A ``.keras`` archive of changed parts."""

    def mutate(file: Path, outside: Path) -> None:
        with zipfile.ZipFile(file) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        kind = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
        with zipfile.ZipFile(file, "w", kind) as archive:
            for name, content in change(parts).items():
                archive.writestr(name, content)

    return mutate


def lying(size: int) -> Mutation:
    """The directory of the archive states another size of its parts."""

    def mutate(file: Path, _: Path) -> None:
        content = bytearray(file.read_bytes())
        place = 0
        while (place := content.find(b"PK\x01\x02", place)) >= 0:
            content[place + 24 : place + 28] = struct.pack("<I", size)
            place += 4
        file.write_bytes(content)

    return mutate


def hdf5(fill: Callable[[h5py.File], object]) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as content:
        fill(content)
    return buffer.getvalue()


def huge(content: h5py.File) -> None:
    """An array of a terabyte of which nothing is stored."""
    content.create_dataset(
        "layers/conv/vars/0", (1 << 20, 1 << 18), np.float32, chunks=(1024, 1024), compression="gzip"
    )


def in_utf_16(parts: dict[str, bytes]) -> dict[str, bytes]:
    return {**parts, "config.json": parts["config.json"].decode().encode("utf-16")}


ARCHIVES: dict[str, Mutation] = {
    "a bomb of zeros": repacked(lambda parts: {**parts, "model.weights.h5": bytes(1 << 28)}, deflate=True),
    "a bomb beside it": repacked(lambda parts: {**parts, "assets/x": bytes(1 << 28)}, deflate=True),
    "a directory that states 4 GB": lying((1 << 32) - 2),
    "a directory that states nothing": lying(0),
    "no configuration": repacked(lambda parts: {name: part for name, part in parts.items() if name != "config.json"}),
    "no weights": repacked(lambda parts: {name: part for name, part in parts.items() if "weights" not in name}),
    "no parts": repacked(lambda parts: {}),
    "names that lead out": repacked(lambda parts: {**parts, "../outside/made": b"x", "/tmp/made-by-a-model": b"x"}),
    "ten thousand parts": repacked(lambda parts: {**parts, **{f"assets/{i}": b"" for i in range(10_000)}}),
    "weights that are text": repacked(lambda parts: {**parts, "model.weights.h5": b"text"}),
    "weights of a terabyte": repacked(lambda parts: {**parts, "model.weights.h5": hdf5(huge)}),
    "weights of nobody": repacked(lambda parts: {**parts, "model.weights.h5": hdf5(lambda content: None)}),
    "a configuration in UTF-16": repacked(in_utf_16),
    "a configuration that is a list": repacked(lambda parts: {**parts, "config.json": b"[1, 2]"}),
    "metadata that are text": repacked(lambda parts: {**parts, "metadata.json": b"\xff\xfe"}),
}  # fmt: skip


def linking(fill: Callable[[h5py.File, Path], None]) -> Mutation:
    def mutate(file: Path, outside: Path) -> None:
        shutil.copy(file, outside.parent / "other.h5")
        with h5py.File(file, "a") as content:
            del content["model_weights"]
            fill(content, outside)

    return mutate


def external(content: h5py.File, outside: Path) -> None:
    content.create_dataset("model_weights/x", (10,), np.uint8, external=[(str(outside / "secret.txt"), 0, 10)])


def link(content: h5py.File, outside: Path) -> None:
    content["model_weights"] = h5py.ExternalLink(str(outside / "other.h5"), "/")


def circle(content: h5py.File, _: Path) -> None:
    content["model_weights"] = content["/"]


def soft(content: h5py.File, _: Path) -> None:
    content["model_weights"] = h5py.SoftLink("/model_weights")


LINKS = {
    "external data": linking(external),
    "a link to another file": linking(link),
    "a group in itself": linking(circle),
    "a link to itself": linking(soft),
    "a terabyte of zeros": linking(lambda content, _: huge(content)),
}


def with_config(change: Callable[[Any], str]) -> Mutation:
    """A changed configuration, in either kind of file."""

    def mutate(file: Path, outside: Path) -> None:
        if file.suffix == ".h5":
            with h5py.File(file, "a") as content:
                content.attrs["model_config"] = change(json.loads(content.attrs["model_config"]))[:60_000]
        else:
            repacked(
                lambda parts: {
                    **parts,
                    "config.json": change(json.loads(parts["config.json"])).encode("utf-8", "replace"),
                }
            )(file, outside)

    return mutate


def with_layer(layer: dict[str, Any]) -> Mutation:
    """A layer, told to act on the folder outside, in the place of the second one."""

    def mutate(file: Path, outside: Path) -> None:
        wanted = json.loads(json.dumps(layer).replace("{outside}", str(outside)))

        def change(config: Any) -> str:
            old = config["config"]["layers"][1]
            config["config"]["layers"][1] = {
                **wanted,
                "name": old.get("name"),
                "inbound_nodes": old.get("inbound_nodes"),
            }
            return json.dumps(config)

        with_config(change)(file, outside)

    return mutate


def with_value(value: Any, seed: int) -> Mutation:
    """A value in the place of some other of the configuration."""

    def change(config: Any) -> str:
        generator = random.Random(seed)
        places: list[tuple[Any, Any]] = []
        level = [config["config"]["layers"]]
        while level:
            pairs = [
                (item, key)
                for item in level
                for key in (item if isinstance(item, dict) else range(len(item)) if isinstance(item, list) else ())
            ]
            places += pairs
            level = [item[key] for item, key in pairs]
        item, key = generator.choice(places)
        item[key] = value
        return json.dumps(config)

    return with_config(change)
