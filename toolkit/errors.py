"""The one error tree.

::

    ToolkitError                 every mistake we can name; the command line exits with 2
    ├── ConfigError              a value the user asked for is not possible
    ├── DataError                a dataset, folder or array is missing or malformed
    ├── ModelError               a Keras model cannot be used as it is
    │   └── UnsupportedLayer     a layer, named, that a stage cannot handle
    ├── HlsError                 hls4ml or a project on disk refused
    ├── ToolNotFound             a program is not installed; says where we looked
    ├── ProcessError             a program failed; carries command, code and output
    ├── ReportError              a vendor report lacks what its parser needs
    ├── StoreError               an artifact cannot be written or read
    └── ComparisonError          records that must not be compared (exits with 1)

A message is the rule, the value got, and the choices, in that order.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from toolkit import harmless

LONGEST_WORD = 200  # characters of a value for which the nearest choice is looked up


class ToolkitError(Exception):
    """Base of every error that is the user's to mend; never shown as a traceback.

    A message quotes what strangers wrote: it is made printable, and of a length that a terminal holds.
    """

    exit_code = 2

    def __str__(self) -> str:
        return harmless.message(super().__str__())


class ConfigError(ToolkitError):
    """A configuration value is unknown, impossible or contradicts another; ``key`` is the path to it, if known."""

    def __init__(self, message: str = "", key: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.key = key


class DataError(ToolkitError):
    """A dataset, data folder or input array is missing or malformed."""


class ModelError(ToolkitError):
    """A Keras model cannot be loaded, quantized, converted or trained as it is."""


class UnsupportedLayer(ModelError):
    """A stage does not know a layer; the message names the layer and its kind."""


class HlsError(ToolkitError):
    """hls4ml refused a model or a project folder is not usable."""


class ToolNotFound(ToolkitError):
    """A program is not on PATH; the message says which and what it would bring."""


class ProcessError(ToolkitError):
    """A program ran and failed; the message carries command, return code and output."""


class ReportError(ToolkitError):
    """A vendor report does not contain what its parser looks for."""


class StoreError(ToolkitError):
    """An artifact cannot be written, or what lies on disk is not what it claims to be."""


class ComparisonError(ToolkitError):
    """Records that must not stand in one table, such as two different test sets."""

    exit_code = 1


def nearest(value: str, choices: Iterable[str]) -> str:
    """Return ``' (did you mean "x"?)'`` for the choice closest to ``value``, or ``''``."""
    if len(value) > LONGEST_WORD:
        return ""  # nobody mistyped that, and looking for it would take long
    close = difflib.get_close_matches(value, list(choices), n=1, cutoff=0.5)
    return f' (did you mean "{close[0]}"?)' if close else ""


def choose(what: str, value: str, choices: Iterable[str], error: type[ToolkitError] = ConfigError) -> str:
    """Return ``value`` if it is one of ``choices``; otherwise raise ``error`` naming the nearest."""
    known = sorted(choices)
    if not isinstance(value, str):
        raise error(f"{what} must be one of {', '.join(known)}, got {value!r:.{LONGEST_WORD}}")
    if value in known:
        return value
    raise error(f'{what}: "{value}" is unknown{nearest(value, known)}; choose {", ".join(known)}')


def install(extra: str) -> str:
    """How an optional dependency is installed, for messages: by the distribution's name, or from a checkout.

    >>> install("gpu")
    "pip install 'hls4ml-toolkit[gpu]' (in a checkout: pip install '.[gpu]')"
    """
    return f"pip install 'hls4ml-toolkit[{extra}]' (in a checkout: pip install '.[{extra}]')"
