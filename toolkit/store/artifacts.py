"""Content-addressed artifacts: sealed with a manifest, checked when opened, made again when damaged.

An artifact is a directory named by the digest of everything that determines it. It is written to a
temporary sibling, sealed - a manifest with the size and digest of each file, written last -, put on the
disk and renamed into place; a lock per digest lets two processes ask for the same one at once. Opening it
compares the sizes, and the digests the first time in a process or when a file was touched since. What is
not as it was sealed is set aside under ``damaged/`` with a note, and made again.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from toolkit.errors import StoreError
from toolkit.store.digests import digest
from toolkit.store.files import UNFINISHED, read_json, replacing, tell, write_json, writing
from toolkit.store.limits import warn_when_large

MANIFEST = ".sealed.json"
MANIFEST_SCHEMA = 1
DAMAGED = "damaged"
NOTE = "DAMAGED.txt"
TELL_WAITING_S = 20.0

# Size, time of change and inode of each file of an artifact when its digests were last compared.
Stamp = Mapping[str, tuple[int, int, int]]
COMPARED: dict[Path, Stamp] = {}


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


class Artifact:
    """A directory being made or reused: ``complete`` says which; ``folder / "file"`` is where it is now."""

    def __init__(self, path: Path, complete: bool) -> None:
        self.path = path
        self.complete = complete

    def __truediv__(self, name: str) -> Path:
        return self.path / name


@contextmanager
def artifact(kind: str, key: str, root: Path | None = None) -> Iterator[Artifact]:
    """Yield the artifact ``<root>/<kind>/<key>``, to be filled if it is not ``complete``.

    Leaving the block normally seals the filled directory and renames it into place; leaving it by an
    exception removes it. A damaged one is set aside, told of, and to be filled again. Raises
    ``StoreError`` when the store cannot be written.
    """
    place = root or store_root()
    final = place / kind / key
    if opened(final):
        yield Artifact(final, True)
        return
    with writing(final.parent), locked(final):
        if opened(final):  # another process has finished it while we waited for the lock
            yield Artifact(final, True)
            return
        if os.path.lexists(final):
            set_aside(final, place, str(damage(final)))
        with replacing(final) as folder:
            made = Artifact(folder, False)
            yield made
            seal(folder)
        made.path, made.complete = final, True
        warn_when_large(place)


def opened(folder: Path) -> bool:
    """Whether an artifact is there and whole; being opened counts as being used."""
    if not folder.is_dir() or damage(folder) is not None:
        return False
    touch(folder / MANIFEST)
    return True


def touch(path: Path) -> None:
    """Remember that a file was used now; a read-only store remembers nothing."""
    try:
        os.utime(path)
    except OSError:
        return


@contextmanager
def locked(final: Path) -> Iterator[None]:
    """Hold the lock of an artifact; says so when another process makes it wait.

    The lock file goes with the lock. A process that waited at the file's last name then finds the
    artifact complete, or at worst makes it a second time, with the same content.
    """
    path = lock_path(final)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=TELL_WAITING_S)
    except Timeout:
        tell(f"another process is making {final.parent.name}/{final.name}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def lock_path(final: Path) -> Path:
    """The lock file of an artifact; swept like what is half-made when no process holds it."""
    return final.with_name(f".{final.name}{UNFINISHED}lock")


def seal(folder: Path) -> None:
    """Write the manifest of a filled folder: each file's size and digest."""
    files = {name: [path.stat().st_size, file_digest(path)] for name, path in files_of(folder)}
    write_json(folder / MANIFEST, {"schema": MANIFEST_SCHEMA, "files": files, "digest": digest(files)})


def files_of(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of a folder by relative path, without its manifest."""
    for where, _, names in os.walk(folder):
        for name in names:
            path = Path(where) / name
            relative = str(path.relative_to(folder))
            if relative != MANIFEST and path.is_file():
                yield relative, path


def file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def damage(folder: Path, *, afresh: bool = False) -> str | None:
    """What is wrong with a sealed folder, in words; None when it is as it was sealed.

    Digests are compared the first time in a process, when a file's size, time or inode is no longer what
    it was then, and whenever ``afresh`` is asked for.
    """
    if not (folder / MANIFEST).is_file():
        return "it has no manifest: it was not finished"
    try:
        manifest = read_json(folder / MANIFEST)
        files: dict[str, list[Any]] = manifest["files"]
        if manifest["digest"] != digest(files):
            return "its manifest was changed"
    except (StoreError, KeyError, TypeError):
        return "its manifest cannot be read"
    try:
        stamp = {name: stamp_of(folder / name) for name in files}
        resized = next((name for name, (size, _) in files.items() if stamp[name][0] != size), None)
        if resized is not None:
            return f"{resized} has {stamp[resized][0]:,} bytes, not {files[resized][0]:,}"
        if not afresh and COMPARED.get(folder) == stamp:
            return None
        changed = next((name for name, (_, known) in files.items() if file_digest(folder / name) != known), None)
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    if changed is not None:
        return f"{changed} was changed"
    COMPARED[folder] = stamp
    return None


def stamp_of(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def set_aside(path: Path, root: Path, why: str) -> Path:
    """Move what is damaged out of the way, into a folder below ``root`` with a note, and say so; returns the folder."""
    moment = time.strftime("%Y%m%d-%H%M%S")
    (root / DAMAGED).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{path.parent.name}-{path.name}-{moment}-", dir=root / DAMAGED))
    path.rename(folder / path.name)
    (folder / NOTE).write_text(f"{path} was set aside on {time.ctime()}: {why}\n")
    tell(f"{path.parent.name}/{path.name} was damaged ({why}); set aside in {folder}, made again")
    return folder
