"""Folders that belong to the toolkit: written whole or not at all, and never in place of somebody's files."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from toolkit.errors import StoreError
from toolkit.store import replacing


@contextmanager
def replacing_own(folder: Path, files: Collection[str]) -> Iterator[Path]:
    """Yield a temporary folder that takes ``folder``'s place; ``files`` are the only ones it may hold already.

    Raises ``StoreError`` when it holds others, and for disk errors.
    """
    require_own(folder, files)
    try:
        with replacing(folder) as made:
            yield made
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error}") from error


def require_own(folder: Path, files: Collection[str]) -> None:
    """Raise ``StoreError`` when a folder is none, or holds anything but ``files``."""
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder} must be a folder, it is a file")
    foreign = sorted(path.name for path in folder.iterdir() if path.name not in files) if folder.is_dir() else []
    if foreign:
        raise StoreError(f"{folder} holds other files ({', '.join(foreign[:3])}); name a folder of its own")
