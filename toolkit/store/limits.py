"""How large the store is and may become, and sizes and ages as people write them."""

from __future__ import annotations

import os
import re
from multiprocessing import parent_process
from pathlib import Path

from toolkit.errors import ConfigError
from toolkit.store.files import tell

LIMIT = "TOOLKIT_STORE_LIMIT"
USUAL_LIMIT = "20 GB"
BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
TOLD: set[Path] = set()


def parse_bytes(text: str) -> int:
    """``20 GB``, ``500MB`` or ``1.5 GiB`` in bytes; raises ``ConfigError``."""
    return int(amount("a size", text, dict(BYTES)))


def parse_age(text: str) -> float:
    """``30d``, ``12 h`` or ``2w`` in seconds; raises ``ConfigError``."""
    return amount("an age", text, SECONDS)


def amount(what: str, text: str, units: dict[str, float]) -> float:
    """A number with one of these units, in whatever case."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?) ?([A-Za-z]{1,3})", text.strip())
    unit = found and next((unit for unit in units if unit.lower() == found[2].lower()), None)
    if not found or unit is None:
        raise ConfigError(f'{what} must be a number with a unit ({", ".join(units)}), got "{text}"')
    return float(found[1]) * units[unit]


def spell_bytes(count: float) -> str:
    """``21.3 GB``."""
    unit = next((unit for unit in ("TB", "GB", "MB", "kB") if count >= BYTES[unit]), "B")
    return f"{count / BYTES[unit]:.3g} {unit}"


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; what vanishes meanwhile counts nothing."""
    total = 0
    try:
        if not path.is_dir() or path.is_symlink():
            return path.lstat().st_size
        for entry in os.scandir(path):
            if entry.is_dir(follow_symlinks=False):
                total += size_of(Path(entry.path))
            else:
                total += entry.stat(follow_symlinks=False).st_size
    except OSError:
        return total
    return total


def warn_when_large(root: Path) -> None:
    """Say once in a process, and in the main one only, that a store is larger than its soft limit."""
    if root in TOLD or parent_process() is not None:
        return
    TOLD.add(root)
    limit = os.environ.get(LIMIT, USUAL_LIMIT)
    size = size_of(root)
    if size > parse_bytes(limit):
        tell(
            f"the store {root} holds {spell_bytes(size)}, more than its limit of {limit} ({LIMIT}); "
            f'toolkit store prune --max-size "{limit}" makes room'
        )
