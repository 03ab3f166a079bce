"""What a public function is given, checked where it enters: a wrong type is one error with the types that fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from toolkit.errors import ConfigError, ToolkitError
from toolkit.names import shown

Kind = TypeVar("Kind")


def as_path(what: str, value: Any, error: type[ToolkitError] = ConfigError) -> Path:
    """A path from ``str`` or ``Path``; raises ``error`` for anything else, and for text no file system takes.

    >>> as_path("a project", "folder").name
    'folder'
    """
    if not isinstance(value, (str, Path)):
        raise error(f"{what} must be a path (str or Path), got {shown(value)}")
    if not str(value) or "\0" in str(value):
        raise error(f"{what} must be a path, got {shown(value)}")
    return Path(value)


def instance(what: str, value: Any, kind: type[Kind], error: type[ToolkitError] = ConfigError) -> Kind:
    """``value`` if it is of this type; raises ``error`` naming the type otherwise.

    >>> instance("the name", "cnn", str)
    'cnn'
    """
    if not isinstance(value, kind):
        raise error(f"{what} must be {article(kind.__name__)}, got {shown(value)}")
    return value


def optional(what: str, value: Any, kind: type[Kind], error: type[ToolkitError] = ConfigError) -> Kind | None:
    """``None``, or a value of this type; raises ``error`` otherwise."""
    return None if value is None else instance(what, value, kind, error)


def article(name: str) -> str:
    """``an HlsConfig``, ``a Dataset``.

    >>> article("HlsConfig"), article("Dataset")
    ('an HlsConfig', 'a Dataset')
    """
    return f"{'an' if name[0] in 'AEIOH' else 'a'} {name}"
