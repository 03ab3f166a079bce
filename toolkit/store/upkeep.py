"""Upkeep of the store: what is in it, whether it is whole, and making room."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from toolkit.store.artifacts import DAMAGED, MANIFEST, damage, lock_path, set_aside, store_root
from toolkit.store.files import UNFINISHED, remove, sweep_unfinished, writing
from toolkit.store.limits import size_of

# Sweeps are results and stay. Tools work in their folders for as long as they like, so nothing seals them.
KEPT = ("sweeps", "sweeps.sqlite3")
UNSEALED = ("synthesis", "tensorrt", DAMAGED)
DIGEST = re.compile("[0-9a-f]{16}")


@dataclass(frozen=True)
class Item:
    """An artifact, a checkpoint, a tool's folder or what was set aside: its size, and when it was last used."""

    kind: str
    name: str
    path: Path
    bytes: int
    used_s: float  # since 1970

    @property
    def unused_s(self) -> float:
        """Seconds since its last use."""
        return max(0.0, time.time() - self.used_s)


@dataclass(frozen=True)
class Checked:
    """What a check found: how many artifacts it compared, which it set aside and why, what the dead had left."""

    compared: int
    damaged: tuple[tuple[Item, str], ...]
    swept: int


@dataclass(frozen=True)
class Pruned:
    """What made room, oldest first, and the bytes that are left."""

    removed: tuple[Item, ...]
    left_bytes: int

    @property
    def freed_bytes(self) -> int:
        return sum(item.bytes for item in self.removed)


def contents(root: Path | None = None) -> list[Item]:
    """Everything in the store that may be thrown away: by kind, then name; nothing that somebody else put there."""
    return [item_at(path) for kind in kinds(root or store_root()) for path in sorted(kind.iterdir()) if ours(path)]


def kinds(root: Path) -> Iterator[Path]:
    """The folders of the store that hold artifacts and the like."""
    if root.is_dir():
        yield from (path for path in sorted(root.iterdir()) if path.is_dir() and path.name not in KEPT)


def ours(path: Path) -> bool:
    """Whether the store made a path: it is sealed, named by a digest, or lies where only the store writes."""
    if path.name.startswith("."):
        return False
    named = DIGEST.fullmatch(path.name) is not None or path.parent.name in UNSEALED
    return named or (path / MANIFEST).is_file()


def item_at(path: Path) -> Item:
    sealed = path / MANIFEST  # touched whenever the artifact is opened
    used = (sealed if sealed.is_file() else path).lstat().st_mtime
    return Item(path.parent.name, path.name, path, size_of(path), used)


def half_made(root: Path | None = None) -> list[Path]:
    """What is being written now, or was when its process died."""
    return [path for kind in kinds(root or store_root()) for path in kind.glob(f".*{UNFINISHED}*") if path.is_dir()]


def check(root: Path | None = None) -> Checked:
    """Compare every artifact with its manifest, set aside what is damaged, remove what the dead left half-made.

    What is set aside is made again when it is next needed. Raises ``StoreError`` when the store cannot be written.
    """
    place = root or store_root()
    sealed = [item for item in contents(place) if item.kind not in UNSEALED]
    found = [(item, why) for item in sealed if (why := damage(item.path, afresh=True)) is not None]
    with writing(place):
        for item, why in found:
            set_aside(item.path, place, why)
        swept = sum(sweep_unfinished(kind) for kind in kinds(place))
    return Checked(len(sealed), tuple(found), swept)


def prune(
    *,
    older_than_s: float | None = None,
    max_bytes: int | None = None,
    root: Path | None = None,
    dry: bool = False,
) -> Pruned:
    """Remove what was not used for so long, then what was used longest ago until so many bytes are left.

    What another process is making stays. ``dry`` removes nothing and tells what would be.
    """
    place = root or store_root()
    items = sorted(contents(place), key=lambda item: item.used_s)
    size = sum(item.bytes for item in items)
    removed = []
    with writing(place):
        for kind in kinds(place):
            sweep_unfinished(kind)
        for item in items:
            old = older_than_s is not None and item.unused_s > older_than_s
            if (old or (max_bytes is not None and size > max_bytes)) and (dry or thrown_away(item)):
                removed.append(item)
                size -= item.bytes
    return Pruned(tuple(removed), size)


def thrown_away(item: Item) -> bool:
    """Remove an item, in one step for whoever looks at it; False when somebody is making it."""
    lock = FileLock(lock_path(item.path))
    try:
        with lock.acquire(timeout=0):
            gone = item.path.with_name(f".{item.name}{UNFINISHED}pruned")
            item.path.rename(gone)
            remove(gone)
            lock_path(item.path).unlink(missing_ok=True)
    except (Timeout, FileNotFoundError):
        return False
    return True


def by_kind(items: Iterable[Item]) -> dict[str, list[Item]]:
    """Items by their kind."""
    grouped: dict[str, list[Item]] = {}
    for item in items:
        grouped.setdefault(item.kind, []).append(item)
    return grouped
