"""FPGA parts: what each holds, where the figures come from, and how a user adds one."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from toolkit.errors import ConfigError, choose, nearest
from toolkit.reading import blaming, read_toml

OWN_TABLE = Path(__file__).with_name("devices.toml")
FAMILIES = ("7series", "ultrascale", "ultrascale+", "versal")
RESOURCES = ("lut", "ff", "dsp", "bram_18k", "uram")


@dataclass(frozen=True)
class Device:
    """Resources of one FPGA part; ``bram_18k`` counts 18 Kb blocks."""

    name: str
    family: str
    lut: int
    ff: int
    dsp: int
    bram_18k: int
    uram: int
    source: str
    boards: Mapping[str, str | None] = field(default_factory=dict)  # the part on each; None where a table says less

    def available(self, resource: str) -> int:
        """How many of ``lut``, ``ff``, ``dsp``, ``bram_18k`` or ``uram`` the part has."""
        amount: int = getattr(self, resource)
        return amount


def part_number(text: str) -> str:
    """The part number a user means: that of a board, whatever its spelling, else the text itself.

    Raises ``ConfigError`` for a board of a user's own table that does not name its part.

    >>> part_number("zcu104"), part_number("pynq z2"), part_number("U250"), part_number("xc7z020clg400-1")
    ('xczu7ev-ffvc1156-2-e', 'xc7z020clg400-1', 'xcu250-figd2104-2L-e', 'xc7z020clg400-1')
    """
    device, board = boards().get(plain(text), (None, ""))
    if device is None:
        return text
    part = device.boards[board]
    if part is None:
        raise ConfigError(f'part "{text}": the {board} carries a {device.name}; give its whole part number')
    return part


def boards() -> dict[str, tuple[Device, str]]:
    """Every board by its plain spelling, that of an Alveo card also without the word."""
    named = [(device, board) for device in load_devices().values() for board in device.boards]
    known = {plain(board).removeprefix("alveo"): (device, board) for device, board in named}
    return known | {plain(board): (device, board) for device, board in named}


def plain(name: str) -> str:
    """A board's name without case and separators."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def matching(text: str, extra: Path | None = None) -> tuple[Device, ...]:
    """Devices that have a text in name, family, source or boards; of a whole part number, its device.

    Raises ``ConfigError`` with the nearest names where nothing matches.
    """
    devices = load_devices(extra)
    exact = find_device(part_number(text), extra)
    words = plain(text)
    found = [
        device
        for device in devices.values()
        if any(words in plain(name) for name in (device.name, device.family, device.source, *device.boards))
    ]
    if found or exact is not None:
        return tuple(found) or ((exact,) if exact is not None else ())
    known = [*devices, *(board.lower() for device in devices.values() for board in device.boards)]
    raise ConfigError(
        f'no part or board matches "{text}"{nearest(text.lower(), known)}; "toolkit parts" lists all, and a TOML file '
        "named in TOOLKIT_DEVICES adds more"
    )


def find_device(part: str, extra: Path | None = None) -> Device | None:
    """The device whose key is the longest start of ``part``; ``None`` when the tables have none."""
    devices = load_devices(extra)
    spelled = part.lower().strip()
    fitting = [key for key in devices if spelled.startswith(key)]
    return devices[max(fitting, key=len)] if fitting else None


def require_device(part: str, extra: Path | None = None) -> Device:
    """Like :func:`find_device`; raises ``ConfigError`` naming the nearest part and how to add one."""
    device = find_device(part, extra)
    if device is None:
        known = sorted(load_devices(extra))
        raise ConfigError(
            f'part "{part}" is in no device table{nearest(part.lower(), known)}; known: {", ".join(known)}; '
            "add it to a TOML file of the same form and name that in TOOLKIT_DEVICES"
        )
    return device


def load_devices(extra: Path | None = None) -> dict[str, Device]:
    """The shipped table, overlaid by ``$TOOLKIT_DEVICES`` and then by ``extra``; keys are part-number starts."""
    named = os.environ.get("TOOLKIT_DEVICES")
    tables = [OWN_TABLE, *([Path(named)] if named else []), *([extra] if extra else [])]
    return {key: device for table in tables for key, device in read_table(table).items()}


@lru_cache(maxsize=8)
def read_table(path: Path) -> dict[str, Device]:
    """Read one devices TOML file; raises ``ConfigError`` naming file, part and key."""
    _, content = read_toml(path, "a device table")
    with blaming(path, ConfigError):
        return {key.lower(): read_device(key, entry, path) for key, entry in content.items()}


def read_device(name: str, entry: Mapping[str, Any], path: Path) -> Device:
    """One entry of a device table as a :class:`Device`."""
    required = {"family", "source", *RESOURCES}
    missing = sorted(required - set(entry))
    unknown = sorted(set(entry) - required - {"boards"})
    if missing or unknown:
        raise ConfigError(
            f"device [{name}] in {path} needs exactly {', '.join(sorted(required))} (and may have boards); "
            f"missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}"
        )
    choose(f"family of device [{name}] in {path}", str(entry["family"]), FAMILIES)
    amounts = {resource: int(entry[resource]) for resource in RESOURCES}
    return Device(
        name=name.lower(),
        family=entry["family"],
        source=entry["source"],
        boards=boards_of(name, entry.get("boards", {}), path),
        **amounts,
    )


def boards_of(name: str, entry: Any, path: Path) -> dict[str, str | None]:
    """Boards with their parts, or a list of boards alone."""
    if isinstance(entry, list):
        return dict.fromkeys(map(str, entry))
    if isinstance(entry, dict):
        return {str(board): str(part) for board, part in entry.items()}
    raise ConfigError(f"boards of device [{name}] in {path} must be a table of board = part, got {entry!r}")


# Families by the start of a part number, for parts that no table holds.
FAMILY_BY_PREFIX = {
    "xc7": "7series",
    "xa7": "7series",
    "xcku0": "ultrascale",
    "xcku1": "ultrascale",
    "xcvu0": "ultrascale",
    "xcvu1": "ultrascale",
    "xcvu13": "ultrascale+",
    "xcku3p": "ultrascale+",
    "xcku5p": "ultrascale+",
    "xcku11p": "ultrascale+",
    "xcku13p": "ultrascale+",
    "xcku15p": "ultrascale+",
    "xcvu3": "ultrascale+",
    "xcvu5": "ultrascale+",
    "xcvu7": "ultrascale+",
    "xcvu9": "ultrascale+",
    "xcvu11": "ultrascale+",
    "xczu": "ultrascale+",
    "xck": "ultrascale+",
    "xcu": "ultrascale+",
    "xcv": "versal",
}


def family_of(part: str, extra: Path | None = None) -> str:
    """Family of a part: from the tables, else from the start of its number; UltraScale+ if that is unknown too."""
    device = find_device(part, extra)
    if device is not None:
        return device.family
    fitting = [prefix for prefix in FAMILY_BY_PREFIX if part.lower().startswith(prefix)]
    return FAMILY_BY_PREFIX[max(fitting, key=len)] if fitting else "ultrascale+"
