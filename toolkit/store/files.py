"""Files and folders written whole or not at all, on the disk before they have their name.

What is being written lies beside its target as ``.<name>.toolkit-<chance>``, locked by the process that
writes it. A lock ends with its process, so one that is free marks what a killed process left: the next
write to the same folder removes it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolkit.errors import StoreError

UNFINISHED = ".toolkit-"  # in the name of what is being written, and of locks, and in no name of a user's file
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EIO}

# <linux/fs.h> and <fcntl.h>: exchange two names in one step, relative to the working directory.
RENAME_EXCHANGE, AT_FDCWD = 2, -100


def tell(message: str) -> None:
    """A line on standard error, for what nobody asked but everybody must know."""
    print(f"toolkit: {message}", file=sys.stderr, flush=True)


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
    final = final.resolve()
    final.parent.mkdir(parents=True, exist_ok=True)
    sweep_now_and_then(final.parent)
    with unfinished(final, folder=True) as (made, _):
        yield made
        made.chmod(0o755)
        settle(made)
        take_place(made, final)
        flush(final.parent)


@contextmanager
def unfinished(final: Path, *, folder: bool) -> Iterator[tuple[Path, int]]:
    """A new file or folder beside ``final`` with a handle that holds it; removed afterwards if it is still there."""
    make = make_folder if folder else tempfile.mkstemp
    while True:
        handle, name = make(prefix=f".{final.name}{UNFINISHED}", dir=final.parent)
        path = Path(name)
        with contextlib.suppress(OSError):  # a file system without locks: then nothing there is ever swept
            fcntl.flock(handle, fcntl.LOCK_EX)
        if names(path, handle):
            break
        os.close(handle)  # swept away before we held it
    try:
        yield path, handle
    finally:
        remove(path)
        os.close(handle)


def make_folder(prefix: str, dir: Path) -> tuple[int, str]:
    """A new folder, open, as ``tempfile.mkstemp`` makes files."""
    name = tempfile.mkdtemp(prefix=prefix, dir=dir)
    return os.open(name, os.O_RDONLY), name


def names(path: Path, handle: int) -> bool:
    """Whether a path still names the open file."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(handle))
    return False


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def take_place(folder: Path, final: Path) -> None:
    """Give a folder another's name; what had the name, if anything, has the folder's old one or is gone."""
    if not final.is_dir():
        folder.rename(final)
    elif not exchange(folder, final):
        # Not under an unfinished name: killed between the two steps, it is the only one there is.
        retired = Path(tempfile.mkdtemp(prefix=f".{final.name}.before-", dir=final.parent))
        final.rename(retired / final.name)
        folder.rename(final)
        remove(retired)


def exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step; False where system or file system cannot."""
    swap = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    first, second = os.fsencode(one), os.fsencode(other)
    return swap is not None and swap(AT_FDCWD, first, AT_FDCWD, second, RENAME_EXCHANGE) == 0


SWEPT: dict[Path, float] = {}
SECONDS_BETWEEN_SWEEPS = 60.0


def sweep_now_and_then(folder: Path) -> None:
    """Sweep a folder that is written to, but not at every write: a kind may hold thousands of artifacts."""
    now = time.monotonic()
    if now - SWEPT.get(folder, -SECONDS_BETWEEN_SWEEPS) >= SECONDS_BETWEEN_SWEEPS:
        SWEPT[folder] = now
        sweep_unfinished(folder)


def sweep_unfinished(folder: Path) -> int:
    """Remove what killed processes left half-written in a folder; how many there were."""
    try:
        left = [item.name for item in os.scandir(folder) if item.name.startswith(".") and UNFINISHED in item.name]
    except OSError:  # a folder that may be written to, but not read
        return 0
    return sum(remove_abandoned(folder / name) for name in left)


def remove_abandoned(path: Path) -> bool:
    """Remove an unfinished file or folder unless a living process holds it."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove(path)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def settle(folder: Path) -> None:
    """Put a folder's files and folders on the disk: a power cut after the rename then finds them whole."""
    for where, _, files in os.walk(folder, topdown=False):
        for name in files:
            if (path := Path(where) / name).is_file():
                flush(path)
        flush(Path(where))


def flush(path: Path) -> None:
    """Put a file's content, or a folder's list of names, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if UNFINISHED not in str(path.parent):
        sweep_now_and_then(path.parent)
    with unfinished(path, folder=False) as (temporary, handle):
        with open(handle, "wb", closefd=False) as stream:
            stream.write(content)
        os.fsync(handle)
        temporary.chmod(0o644)
        temporary.replace(path)


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
