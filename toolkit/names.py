"""One pattern for every name: of designs, datasets, sweeps and studies, projects, layers in file names.

A name becomes part of paths, tables, pictures and databases, so it holds no separator, no control
character and no leading dot, wherever it comes from.
"""

from __future__ import annotations

import re
import zlib

from toolkit.errors import ConfigError, ToolkitError

LONGEST = 100  # characters; with a digest and a suffix it still fits the 255 bytes of a file's name

PATTERN = re.compile(rf"(?=.{{1,{LONGEST}}}\Z)[A-Za-z0-9_](?:[A-Za-z0-9._ -]*[A-Za-z0-9._-])?\Z")
IDENTIFIER = re.compile(rf"(?=.{{1,{LONGEST}}}\Z)[A-Za-z_][A-Za-z0-9_]*\Z")

RULE = f"1 to {LONGEST} of the characters A-Z a-z 0-9 . _ - and space, the first a letter, digit or _"
IDENTIFIER_RULE = f"1 to {LONGEST} of the characters A-Z a-z 0-9 _, the first no digit"


def check_name(what: str, name: object, error: type[ToolkitError] = ConfigError) -> str:
    """Return ``name`` if it is one; otherwise raise ``error`` saying what a name is.

    >>> check_name("name", "w6a6 rf-4.v2")
    'w6a6 rf-4.v2'
    >>> is_name("../escape"), is_name(".hidden"), is_name("a\\tb"), is_name("")
    (False, False, False, False)
    """
    return matched(what, name, PATTERN, RULE, error)


def check_identifier(what: str, name: object, error: type[ToolkitError] = ConfigError) -> str:
    """Return ``name`` if it can also name a C++ function and file, as a project's top has to; else raise ``error``.

    >>> check_identifier("hls.top", "myproject")
    'myproject'
    """
    return matched(what, name, IDENTIFIER, IDENTIFIER_RULE, error)


def is_name(name: object) -> bool:
    """Whether :func:`check_name` accepts it."""
    return isinstance(name, str) and PATTERN.match(name) is not None


def file_name(name: str) -> str:
    """``name`` as part of a file's name: itself if it is a name; otherwise what can stay, and a checksum.

    >>> file_name("conv1"), file_name("block/conv:1")
    ('conv1', 'block_conv_1_7ef4f0fa')
    """
    if is_name(name):
        return name
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '_', name).lstrip('-')[: LONGEST - 9]}_{zlib.crc32(name.encode()):08x}"


def matched(what: str, name: object, pattern: re.Pattern[str], rule: str, error: type[ToolkitError]) -> str:
    if isinstance(name, str) and pattern.match(name):
        return name
    raise error(f"{what} must be {rule}; got {shown(name)}")


def shown(value: object) -> str:
    """A value as a message shows it: escaped, and cut where it is long."""
    text = ascii(value)
    return text if len(text) <= 2 * LONGEST else f"{text[: 2 * LONGEST]}... ({len(text):,} characters)"
