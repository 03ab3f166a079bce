"""A journal file as storage, on a disk that several machines may share, mended after kills."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from toolkit.exploration.sharing import is_gone, own

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


class OwnedLock(JournalFileOpenLock):  # type: ignore[misc]
    """Optuna's lock file with its owner's name in it, so that nobody waits half a minute for the dead."""

    def acquire(self) -> bool:
        file = Path(self._lock_file)
        with contextlib.suppress(OSError, ValueError, KeyError, RuntimeError):
            if is_gone(json.loads(file.read_text())):
                self.release()
        super().acquire()
        with contextlib.suppress(OSError):
            file.write_text(json.dumps(own()))
        return True


def open_journal(path: Path) -> BaseStorage:
    """A journal file; a half-written last line is cut off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = OwnedLock(str(path))
    if path.exists() and not ends_line(path):
        lock.acquire()
        try:
            mend(path)
        finally:
            lock.release()
    return JournalStorage(JournalFileBackend(str(path), lock))


def ends_line(path: Path) -> bool:
    """Whether a text file is empty or ends with a newline."""
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - 1))
        return stream.read(1) in (b"", b"\n")


def mend(path: Path) -> None:
    """Cut a text file after its last whole line."""
    content = path.read_bytes()
    with path.open("r+b") as stream:
        stream.truncate(content.rfind(b"\n") + 1)


@contextlib.contextmanager
def several_lines(storage: BaseStorage) -> Iterator[None]:
    """Hold a lock file for a step of several lines, beside the one that a journal takes for each line."""
    backend = getattr(storage, "_backend", None)
    if not (isinstance(storage, JournalStorage) and isinstance(backend, JournalFileBackend)):
        yield
        return
    lock = OwnedLock(f"{backend._file_path}.steps")
    lock.acquire()
    try:
        yield
    finally:
        with contextlib.suppress(RuntimeError):  # taken away after its time of grace
            lock.release()
