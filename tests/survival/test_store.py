"""Damage of every sort to what the store holds: noticed, set aside with a note, made again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.hls.small_models import conv_model, inputs_for
from toolkit.config import HlsConfig
from toolkit.hls import build_csim, write_project
from toolkit.store import artifact, store_at
from toolkit.store.artifacts import COMPARED, MANIFEST, NOTE

Damage = Callable[[Path], object]

CONTENT = {
    "weights/w1.bin": bytes(range(256)) * 40,
    "library.so": b"\x7fELF" + bytes(20_000),
    "number.json": b"0.625\n",
}


def made(root: Path) -> Path:
    """The artifact, made or reused or healed."""
    with artifact("kind", "key", root) as folder:
        if not folder.complete:
            for name, content in CONTENT.items():
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_bytes(content)
    return folder.path


def flip(name: str, where: float) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / name
        content, before = bytearray(path.read_bytes()), path.stat()
        content[int(where * (len(content) - 1))] ^= 1
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a failing disk does it

    return damage


def cut(name: str, size: int) -> Damage:
    return lambda folder: os.truncate(folder / name, size)


def write(name: str, content: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(content)


def gone(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def into_folder(folder: Path) -> None:
    (folder / "number.json").unlink()
    (folder / "number.json").mkdir()


def into_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("not a folder")


def into_dangling_link(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.symlink_to("nowhere")


def swap(folder: Path) -> None:
    (folder / "library.so").rename(folder / "aside")
    (folder / "weights/w1.bin").rename(folder / "library.so")
    (folder / "aside").rename(folder / "weights/w1.bin")


DAMAGES: dict[str, Damage] = {
    **{f"bit {where:.0%} into {name}": flip(name, where) for name in CONTENT for where in (0, 0.5, 1)},
    **{f"{name} cut to {size}": cut(name, size) for name in CONTENT for size in (0, 3)},
    **{f"{name} gone": gone(name) for name in (*CONTENT, MANIFEST)},
    "a number changed": write("number.json", b"0.626\n"),
    "a file longer": write("number.json", b"0.6250\n"),
    "zeros, as a power cut leaves": write("library.so", bytes(20_004)),
    "manifest empty": cut(MANIFEST, 0),
    "manifest cut": cut(MANIFEST, 40),
    "manifest another's": write(MANIFEST, b'{"digest": "44136fa355b3678a", "files": {}, "schema": 1}'),
    "manifest no object": write(MANIFEST, b"[1, 2]"),
    "manifest no text": write(MANIFEST, bytes(range(128, 256))),
    **{f"bit {where:.0%} into the manifest": flip(MANIFEST, where) for where in (0.2, 0.5, 0.8)},
    "a folder for a file": into_folder,
    "a file for the folder": into_file,
    "a dangling link": into_dangling_link,
    "two files swapped": swap,
    "subfolder gone": lambda folder: shutil.rmtree(folder / "weights"),
    "everything gone": lambda folder: [shutil.rmtree(folder), folder.mkdir()],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_artifact_is_set_aside_and_made_again(
    damage: Damage, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = made(tmp_path)
    damage(folder)
    COMPARED.clear()  # as in a new process
    assert made(tmp_path) == folder
    assert {name: (folder / name).read_bytes() for name in CONTENT} == CONTENT
    notes = [path.read_text() for path in (tmp_path / "damaged").rglob(f"*{NOTE}")]
    assert len(notes) == 1 and "kind/key was set aside" in notes[0]
    assert "toolkit: kind/key was damaged" in capfd.readouterr().err
    assert sorted(item.name for item in (tmp_path / "kind").iterdir()) == ["key"]
    made(tmp_path)
    assert len(list((tmp_path / "damaged").iterdir())) == 1, "what was healed is whole"


def test_damage_while_we_run_is_noticed_too(tmp_path: Path) -> None:
    folder = made(tmp_path)
    assert made(tmp_path) == folder
    write("number.json", b"0.626\n")(folder)
    made(tmp_path)
    assert (folder / "number.json").read_bytes() == CONTENT["number.json"]


def test_an_artifact_that_was_never_sealed_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "kind" / "key").mkdir(parents=True)
    (tmp_path / "kind" / "key" / "number.json").write_text("0.5")
    assert ((made(tmp_path)) / "number.json").read_bytes() == CONTENT["number.json"]


KILLED = """
import sys, time
from pathlib import Path
from toolkit.store import artifact, replacing, write_bytes
with artifact("kind", "other", Path(sys.argv[1])) as folder, replacing(Path(sys.argv[1], "kind", "report")) as report:
    (folder / "half").write_bytes(bytes(1000))
    print("half", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("while_alive", [True, False], ids=["the living", "the dead"])
def test_what_the_dead_left_half_made_is_swept(while_alive: bool, tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE)
    assert other.stdout is not None and other.stdout.readline() == b"half\n"
    half_made = {item.name for item in (tmp_path / "kind").iterdir()}
    assert len(half_made) == 3
    if not while_alive:
        other.send_signal(signal.SIGKILL)
        other.wait()
    made(tmp_path)
    assert {item.name for item in (tmp_path / "kind").iterdir()} == {"key"} | (half_made if while_alive else set())
    other.kill()
    other.communicate()


@pytest.mark.csim
def test_csim_heals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flipped bit in a weight file gave wrong bits without a word; a cut library killed the process."""
    model = conv_model()
    images = inputs_for(model, 8)
    project = write_project(model, HlsConfig(io_type="io_stream"), tmp_path / "p")
    library = build_csim(project)
    expected = library.predict(images)
    weights = max((library.artifact / "weights").iterdir(), key=lambda path: path.stat().st_size)
    for damage in (flip(f"weights/{weights.name}", 0.4), cut("csim.so", 5000)):
        damage(library.artifact)
        COMPARED.clear()
        np.testing.assert_array_equal(library.predict(images), expected)
        np.testing.assert_array_equal(build_csim(project).predict(images), expected)
    with store_at(tmp_path / "store"):
        compiler = tmp_path / "g++"
        compiler.write_text("#!/bin/sh\necho fake 1.0\n")
        compiler.chmod(0o755)
        monkeypatch.setenv("TOOLKIT_GXX", str(compiler))
        with pytest.raises(Exception, match="return code 0, but it did not write"):
            build_csim(project)
