"""Generated C++ as statements and blocks: one pass over the text, whatever it holds.

hls4ml's files are read by their statements; this is all the grammar they need. The time is linear in the text,
which no search for a structure over a whole file is, and every statement knows its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from toolkit.reading import Malformed

DEEPEST = 50  # blocks inside blocks; generated code has three
LONGEST = 20_000  # characters of one statement; generated ones stay under a few hundred

TOKEN = re.compile(r'//[^\n]*|/\*|"(?:[^"\\\n]|\\.)*"|^[ \t]*#[^\n]*|[;{}\n]|[^;{}\n"/#]+|.', re.MULTILINE)


@dataclass
class Statement:
    """Text up to a semicolon on one line, spaces collapsed; the comment behind it, on its line."""

    text: str
    line: int
    comment: str = ""


@dataclass
class Block:
    """What stands before braces, what stands in them; the comment line above."""

    head: str
    line: int
    comment: str
    items: list[Statement | Block] = field(default_factory=list)

    def statements(self) -> Iterator[Statement]:
        """Every statement in the block, those of inner blocks too, in order."""
        for item in self.items:
            if isinstance(item, Statement):
                yield item
            else:
                yield from item.statements()


@dataclass(frozen=True)
class Code:
    """A file: its statements and blocks, and its preprocessor lines as statements."""

    whole: Block
    directives: tuple[Statement, ...]

    def blocks(self) -> Iterator[Block]:
        """Blocks that stand in no other, or only in a namespace or a linkage specification."""
        waiting = [self.whole]
        while waiting:
            for item in waiting.pop().items:
                if isinstance(item, Block):
                    yield item
                    if item.head.startswith(("namespace", "extern")):
                        waiting.append(item)


class Reader:
    """Puts tokens together; what has been read of the statement at hand is ``parts``."""

    def __init__(self) -> None:
        self.open = [Block("", 1, "")]
        self.directives: list[Statement] = []
        self.parts: list[str] = []
        self.begun = self.line = 1
        self.above = ""  # the comment line above the statement at hand
        self.last: Statement | None = None  # a statement that ended on this line

    def feed(self, token: str) -> None:
        """One token."""
        match token[0]:
            case "\n":
                self.line += 1
                self.last = None
                self.add(" ")
            case ";":
                self.close_statement()
            case "{":
                self.open_block()
            case "}":
                self.close_block()
            case "/" if token.startswith("//"):
                self.comment(token[2:].strip())
            case _ if token.lstrip(" \t").startswith("#"):
                self.directives.append(Statement(" ".join(token.split()), self.line))
            case _:
                self.add(token)

    def add(self, text: str) -> None:
        if not self.parts:
            if text.isspace():
                return
            self.begun = self.line
        self.parts.append(text)

    def comment(self, text: str) -> None:
        if self.last is not None:
            self.last.comment = text
        elif not self.parts:
            self.above = text

    def taken(self) -> str:
        """The text read so far, spaces collapsed."""
        text = " ".join("".join(self.parts).split())
        self.parts.clear()
        if len(text) > LONGEST:
            raise Malformed(f"a statement must have at most {LONGEST:,} characters, got {len(text):,}", self.begun)
        return text

    def close_statement(self) -> None:
        if text := self.taken():
            self.last = Statement(text, self.begun)
            self.open[-1].items.append(self.last)
        self.above = ""

    def open_block(self) -> None:
        line = self.begun if self.parts else self.line
        block = Block(self.taken(), line, self.above)
        self.open[-1].items.append(block)
        self.open.append(block)
        self.above = ""
        if len(self.open) > DEEPEST:
            raise Malformed(f"braces must be nested at most {DEEPEST} deep", self.line)

    def close_block(self) -> None:
        self.close_statement()
        if len(self.open) == 1:
            raise Malformed("a brace is closed that was never opened", self.line)
        self.open.pop()
        self.last = None


def read_code(text: str) -> Code:
    """Take C++ apart; raises ``Malformed`` for braces that do not match and statements of absurd length.

    >>> code = read_code("// conv\\nstruct config2 : base {\\n static const unsigned n = 3; // three\\n};")
    >>> (block,) = code.blocks()
    >>> block.head, block.comment, block.items
    ('struct config2 : base', 'conv', [Statement(text='static const unsigned n = 3', line=3, comment='three')])
    """
    reader = Reader()
    position = 0
    while position < len(text):
        token = TOKEN.match(text, position)
        assert token is not None
        position = token.end()
        if token[0] == "/*":
            end = text.find("*/", position)
            position = len(text) if end < 0 else end + 2
            reader.line += text.count("\n", token.end(), position)
        else:
            reader.feed(token[0])
    if len(reader.open) > 1:
        raise Malformed("a brace is opened that is never closed", reader.open[-1].line)
    reader.close_statement()
    return Code(reader.open[0], tuple(reader.directives))
