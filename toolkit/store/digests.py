"""What names an artifact: a digest of everything that determines it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

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
            if part.dtype.hasobject:
                raise TypeError("a digest must not depend on an array of objects")
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
            state.update(f"{json.dumps(part, default=plain)};".encode())


def plain(value: Any) -> str:
    """How values that JSON lacks are spelled; what has no spelling of its own would be another in each process."""
    if isinstance(value, Path | Enum | np.generic):
        return str(value)
    raise TypeError(f"a digest must not depend on a {type(value).__name__}: {value!r}")


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
