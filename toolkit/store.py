"""Content-addressed artifacts: digest, atomic write, lock, reuse.

An artifact is a directory named by the digest of everything that determines it. It is written to
a temporary sibling and renamed into place, so a half-written artifact is never read; a lock per
digest lets two processes ask for the same one at once.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from pydantic import BaseModel

from toolkit.errors import StoreError

# Packages whose version can change bits or figures; part of every record's environment.
RECORDED_PACKAGES = ("tensorflow", "keras", "qkeras-v3", "hls4ml", "numpy", "onnxruntime")


def digest(*parts: Any) -> str:
    """16 hex digits over values: JSON types, paths, arrays (dtype, shape, bytes), dataclasses and pydantic models."""
    state = hashlib.blake2b(digest_size=8)
    for part in parts:
        feed(state, part)
    return state.hexdigest()


def feed(state: hashlib.blake2b, part: Any) -> None:
    """Add one value to a hash, with a type tag so that neighbours cannot run together."""
    match part:
        case np.ndarray():
            state.update(f"array {part.dtype.str} {part.shape};".encode())
            state.update(np.ascontiguousarray(part).tobytes())
        case bytes():
            state.update(f"bytes {len(part)};".encode() + part)
        case BaseModel():
            feed(state, part.model_dump(mode="json"))
        case Mapping():
            state.update(f"mapping {len(part)};".encode())
            for key in sorted(part, key=str):
                feed(state, str(key))
                feed(state, part[key])
        case list() | tuple():
            state.update(f"sequence {len(part)};".encode())
            for item in part:
                feed(state, item)
        case _ if is_dataclass(part):
            feed(state, {item.name: getattr(part, item.name) for item in fields(part)})
        case _:
            state.update(f"{json.dumps(part, default=str)};".encode())


def store_root() -> Path:
    """Where artifacts live: ``$TOOLKIT_STORE``, else ``$XDG_CACHE_HOME/toolkit``, else ``~/.cache/toolkit``."""
    if chosen := os.environ.get("TOOLKIT_STORE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "toolkit"


@contextmanager
def store_at(folder: Path) -> Iterator[None]:
    """Keep artifacts in ``folder`` within the block, workers' too: for measurements, where nothing may be reused."""
    before = os.environ.get("TOOLKIT_STORE")
    os.environ["TOOLKIT_STORE"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["TOOLKIT_STORE"]
        else:
            os.environ["TOOLKIT_STORE"] = before


DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EIO}


class Artifact:
    """A directory being made or reused: ``complete`` says which; ``folder / "file"`` is where it is now."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.complete = path.is_dir()

    def __truediv__(self, name: str) -> Path:
        return self.path / name


@contextmanager
def artifact(kind: str, key: str, root: Path | None = None) -> Iterator[Artifact]:
    """Yield the artifact ``<root>/<kind>/<key>``, to be filled if it is not ``complete``.

    Leaving the block normally renames the filled directory into place; leaving it by an exception
    removes it. Raises ``StoreError`` when the store cannot be written.
    """
    final = (root or store_root()) / kind / key
    if final.is_dir():
        yield Artifact(final)
        return
    with writing(final.parent), FileLock(f"{final}.lock"):
        held = Artifact(final)  # another process may have finished it while we waited for the lock
        if held.complete:
            yield held
            return
        with replacing(final) as folder:
            held.path = folder
            yield held
        held.path, held.complete = final, True


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn a full, missing or read-only disk into a ``StoreError`` that says how to go elsewhere."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise StoreError(f"{folder} must be writable: {error}; TOOLKIT_STORE names another store") from error
        raise


@contextmanager
def replacing(final: Path) -> Iterator[Path]:
    """Yield a temporary sibling directory that takes ``final``'s place when the block ends well."""
    final.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
    try:
        yield folder
        folder.chmod(0o755)
        if final.is_dir():
            retired = Path(tempfile.mkdtemp(prefix=f".{final.name}.old.", dir=final.parent))
            final.rename(retired / final.name)
            folder.rename(final)
            shutil.rmtree(retired, ignore_errors=True)
        else:
            folder.rename(final)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Any) -> None:
    """Write JSON, sorted and indented, whole or not at all."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, default=str) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON; raises ``StoreError`` naming the file when it is missing or malformed."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise StoreError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read as JSON: {error}") from error


@cache
def package_versions() -> dict[str, str]:
    """Versions of toolkit and of the packages that decide bits and figures; missing ones left out."""
    versions = {}
    for package in ("toolkit", *RECORDED_PACKAGES):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
