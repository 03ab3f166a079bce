"""Strings that strangers chose, made harmless for where they are shown: one place for messages and every export.

A name from a model, a project or a study may hold terminal escapes, control characters that no XML
may hold (the SVG renderer aborts the process on one), right-to-left overrides or a spreadsheet's formula.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

BEYOND_ASCII = re.compile(r"[^ -~]")
LONGEST_MESSAGE = 8_000  # characters; a file of a million mistakes is told by its first ones


def visible(text: str, keep: str = "") -> str:
    r"""``text`` with every character that shows nothing written out; white space becomes a space.

    What is left is printable in Unicode's sense, which XML, terminals and files all take. ``keep`` are
    characters left as they are.

    >>> visible("a\x1b[31m\u202eb\tc")
    'a\\x1b[31m\\u202eb c'
    """
    if text.isprintable():
        return text

    def spelled(match: re.Match[str]) -> str:
        char = match[0]
        if char in keep or char.isprintable():
            return char
        return " " if char.isspace() else char.encode("unicode_escape").decode()

    return BEYOND_ASCII.sub(spelled, text)


def page(text: str) -> str:
    """A whole HTML or SVG document: what is left of strangers' characters is visible, our own spaces stay."""
    return visible(text, keep="\n\t\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}\N{THIN SPACE}")


def message(text: str) -> str:
    """An error's message: visible, its lines kept, of a length that a terminal holds."""
    if len(text) <= LONGEST_MESSAGE:
        return visible(text, keep="\n")
    half = LONGEST_MESSAGE // 2
    left_out = f"\n  ... ({len(text) - 2 * half:,} characters left out)\n"
    return f"{visible(text[:half], keep=chr(10))[:half]}{left_out}{visible(text[-half:], keep=chr(10))[-half:]}"


def everywhere(value: Any) -> Any:
    """Lists and mappings, as in a chart's specification or JSON, with every string in them visible."""
    match value:
        case str():
            return visible(value, keep="\n")
        case Mapping():
            return {everywhere(key): everywhere(item) for key, item in value.items()}
        case list() | tuple():
            return [everywhere(item) for item in value]
    return value


def cell(value: Any) -> Any:
    """A CSV cell that no spreadsheet runs: text that begins like a formula gets an apostrophe (OWASP, CSV injection).

    >>> cell("=1+1"), cell(-1.5)
    ("'=1+1", -1.5)
    """
    if not isinstance(value, str):
        return value
    text = visible(value, keep="\n\t")
    runs = value.startswith(("\t", "\r")) or text.lstrip().startswith(("=", "+", "-", "@", "|", "%"))
    return f"'{text}" if runs else text
