"""Files that somebody else wrote, through one door: regular, of bounded size, inside their folder, UTF-8.

A FIFO is never waited for, a device never opened, a link never followed out of its folder, and nothing is read
beyond a limit. Whatever goes wrong while such a file is understood is one error with file and line.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import ConfigError, DataError, ToolkitError

MIB = 1 << 20
TOML_BYTES = 1_000_000  # a design or sweep file; the largest real ones have some thousands
DEEPEST_TABLE = 20
TEXT_BYTES = 32 * MIB  # generated C++, design files, reports: the largest are below 10 MiB
FIRMWARE_BYTES = 256 * MIB  # one file of a project: weights of large networks
VECTORS_BYTES = 1024 * MIB  # test vectors: 10,000 colour images of 32x32 are a third of it
FOLDER_BYTES = 1024 * MIB  # everything a digest covers


class Malformed(Exception):
    """Text that a parser cannot understand, at a line; :func:`blaming` adds the file."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.line = line


def read_bytes(path: Path, limit_bytes: int, error: type[ToolkitError] = DataError) -> bytes:
    """The content of a regular file of at most ``limit_bytes``; raises ``error`` naming the file otherwise."""
    try:
        check_regular(path, path.stat(), limit_bytes, error)
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as stream:
            check_regular(path, os.fstat(stream.fileno()), limit_bytes, error)
            content = stream.read(limit_bytes + 1)
    except FileNotFoundError:
        raise error(f"{path} does not exist") from None
    except (OSError, ValueError) as reason:  # ValueError: a name with a null character
        raise error(f"{path} cannot be read: {getattr(reason, 'strerror', None) or reason}") from None
    if len(content) > limit_bytes:
        raise error(too_large(path, len(content), limit_bytes))
    return content


def check_regular(path: Path, found: os.stat_result, limit_bytes: int, error: type[ToolkitError]) -> None:
    """Raise ``error`` for what is no regular file, or a larger one than expected."""
    if not stat.S_ISREG(found.st_mode):
        raise error(f"{path} must be a file, got {kind_of(found.st_mode)}")
    if found.st_size > limit_bytes:
        raise error(too_large(path, found.st_size, limit_bytes))


def kind_of(mode: int) -> str:
    """A word for what is no regular file."""
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def too_large(path: Path, size: int, limit_bytes: int) -> str:
    return f"{path} must have at most {limit_bytes:,} bytes, got {size:,}"


def read_text(path: Path, limit_bytes: int = TEXT_BYTES, error: type[ToolkitError] = DataError) -> str:
    """A text file in UTF-8, with or without a byte order mark; raises ``error`` with the line that is not."""
    content = read_bytes(path, limit_bytes, error)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        line = content.count(b"\n", 0, reason.start) + 1
        raise error(f"{path}, line {line}: must be text in UTF-8, got byte 0x{content[reason.start]:02x}") from None


def read_toml(path: Path, what: str) -> tuple[str, dict[str, Any]]:
    """Text and tables of a TOML file that a user wrote; raises ``ConfigError`` with file and line.

    ``what`` names the kind of file in the messages. No design is nested as deeply as ``DEEPEST_TABLE``.
    """
    text = read_text(path, TOML_BYTES, ConfigError)
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{path}: {what} is nested too deeply, at most {DEEPEST_TABLE} tables and lists") from None
    except ValueError as error:  # TOMLDecodeError, and a whole number of thousands of digits
        raise ConfigError(f"{path} is not TOML: {error}") from None
    if (deep := depth(tables)) > DEEPEST_TABLE:
        raise ConfigError(f"{path}: {what} is nested too deeply, at most {DEEPEST_TABLE} tables and lists, got {deep}")
    return text, tables


def depth(value: Any) -> int:
    """How many tables and lists stand in each other, counted level by level."""
    level, found = [value], 0
    while level := [item for item in level if isinstance(item, (dict, list))]:
        found += 1
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return found


@dataclass(frozen=True)
class Folder:
    """A folder that somebody else made: only what really lies inside it is read."""

    root: Path
    error: type[ToolkitError] = DataError

    def path(self, name: str | Path) -> Path:
        """A file's path below the folder; raises ``error`` when it or a link on the way leads out."""
        path = self.root / name
        try:
            inside = path.resolve().is_relative_to(self.root.resolve())
        except (OSError, RuntimeError, ValueError) as reason:  # links in a circle, a null character
            raise self.error(f"{path} cannot be followed: {reason}") from None
        if not inside:
            raise self.error(f"{path} must lie inside {self.root}; it leads out of it")
        return path

    def holds(self, name: str | Path) -> bool:
        """Whether something of that name is there; what leads out raises ``error``."""
        return os.path.lexists(self.root / name) and self.path(name).exists()

    def bytes(self, name: str | Path, limit_bytes: int = TEXT_BYTES) -> bytes:
        """A file's content; raises ``error``."""
        return read_bytes(self.path(name), limit_bytes, self.error)

    def text(self, name: str | Path, limit_bytes: int = TEXT_BYTES) -> str:
        """A text file's content; raises ``error``."""
        return read_text(self.path(name), limit_bytes, self.error)

    def files(self, below: str = "") -> list[Path]:
        """Every regular file below a subfolder, sorted; raises ``error`` when together they are too large."""
        found: list[Path] = []
        size = 0
        for place, folders, names in os.walk(self.root / below):
            folders.sort()
            for item in (Path(place) / name for name in [*names, *folders]):
                if item.is_symlink():
                    self.path(item.relative_to(self.root))
                if item.is_file():
                    found.append(item)
                    size += item.stat().st_size
            if size > FOLDER_BYTES or len(found) > 100_000:
                raise self.error(
                    f"{self.root / below} must hold at most 100,000 files of {FOLDER_BYTES:,} bytes together, "
                    f"got {len(found):,} of {size:,} bytes"
                )
        return sorted(found)


@contextmanager
def blaming(path: Path | str, error: type[ToolkitError] = DataError, line: int | None = None) -> Iterator[None]:
    """Turn whatever goes wrong while a file is understood into one ``error`` with file and line.

    One of the same kind already names its place and passes.
    """
    try:
        yield
    except Malformed as reason:
        raise error(place(path, reason.line or line, str(reason))) from reason
    except ToolkitError as reason:
        if isinstance(reason, error):
            raise
        raise error(place(path, line, str(reason))) from reason
    except Exception as reason:  # a stranger's file reaches every line of ours with anything
        raise error(place(path, line, f"cannot be understood: {told(reason)}")) from reason


def place(path: Path | str, line: int | None, what: str) -> str:
    return f"{path}{'' if line is None else f', line {line}'}: {what}"


def told(reason: Exception) -> str:
    """What an exception says, shortened, with its kind where it says too little."""
    match reason:
        case RecursionError():
            return "it is nested too deeply"
        case MemoryError():
            return "it describes more than fits into memory"
        case KeyError():
            return f"nothing defines {reason}"
    text = " ".join(str(reason).split())[:300]
    return f"{type(reason).__name__}: {text}" if text else type(reason).__name__
