"""Design files, sweep files and vendor reports of strangers: named horrors, then seeded edits of good ones."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from tests.survival.hostile_folders import flip, lines_moved

VALUES = (
    "nan",
    "inf",
    "-inf",
    "1e400",
    "-1",
    "0",
    "9" * 30,
    "9" * 5000,
    "0x" + "f" * 5000,
    '""',
    '"\\u001b[31m"',
    '"\\u202e"',
    '"../../../etc/passwd"',
    '"' + "x" * 100_000 + '"',
    "true",
    "[]",
    "[[]]",
    "[" * 2000 + "]" * 2000,
    "{}",
    "{low = 1, high = 0}",
    "{low = -1e308, high = 1e308, step = 1e-300}",
    "{low = 1, high = 1e18, step = 1}",
    "{low = nan, high = inf}",
    "{each = [1, 2]}",
    "[" + "1, " * 20_000 + "]",
    "1979-05-27T07:32:00Z",
    '"/dev/zero"',
    '"\\n"',
    '[1, 1.0, true, "1"]',
    "{" + ", ".join(f"k{i} = {i}" for i in range(5000)) + "}",
    "00",
    "''",
    '"ap_fixed<9999,1>"',
)
KEYS = ("", '""', '"\\u001b]0;x\\u0007"', "x" * 100_000, "a" + ".a" * 3000, "__class__", '"[0]"', "*", "layers", "é")
TABLES = (
    "[" + "a." * 5000 + "a]\n",
    "[[designs]]\n" * 3000,
    "[[designs]]\nname = 'same'\n" * 2,
    "[designs]\nx = 1\n",
    "designs = 3\n",
    "[hls]\nlayers = 3\n",
    "[hls.layers.'*']\nreuse_factor = [1, 2]\n",
    "[hls.layers.'[']\nreuse_factor = 1\n",
    "[sweep]\nobjectives = []\n",
    "[sweep]\nconstraints = ['accuracy <= <= 1']\n",
    "[sweep]\npoints = 99999999999999\n",
    "".join(f"key{i} = {i}\n" for i in range(20_000)),
    "a = [" * 3000,
    "\0",
    "\x1b[2J",
    "\ufeff",
    "# " + "x" * 900_000 + "\n",
    "x = '''" + "y" * 2_000_000,
    "[dataset]\nname = 'synthetic'\nshape = [1000000, 1000000, 1000000]\n",
    "[quantization.layers." + "x" * 5000 + "]\n",
)


def hostile_toml(good: str, count: int, seed: int = 0) -> list[tuple[str, bytes]]:
    """``count`` files made from a good one, the named ones first."""
    generator = random.Random(seed)
    lines = good.splitlines()
    places = [index for index, line in enumerate(lines) if re.match(r"\w+ *=", line)]
    found: list[tuple[str, bytes]] = []
    for number, value in enumerate(VALUES):
        for place in generator.sample(places, 4):
            key = lines[place].split("=")[0].strip()
            changed = [*lines[:place], f"{key} = {value}", *lines[place + 1 :]]
            found.append((f"{key} is {value[:30]!r} ({number})", "\n".join(changed).encode()))
    for key in KEYS:
        for place in generator.sample(places, 2):
            changed = [*lines[:place], f"{key} = 1", *lines[place:]]
            found.append((f"a key {key[:30]!r} at {place}", "\n".join(changed).encode("utf-8", "surrogatepass")))
    found += [(f"{text[:30]!r} first", text.encode() + b"\n" + good.encode()) for text in TABLES]
    found += [(f"{text[:30]!r} last", good.encode() + b"\n" + text.encode()) for text in TABLES]
    found += [("empty", b""), ("zeros", b"\0" * 10_000), ("noise", generator.randbytes(5000)), ("latin-1", b"# \xe9\n")]
    return filled_up(found, good.encode(), count, generator)


def filled_up(
    found: list[tuple[str, bytes]], good: bytes, count: int, generator: random.Random
) -> list[tuple[str, bytes]]:
    """The named cases, or some of them, and random edits of the good text up to ``count``."""
    if len(found) > count:
        return generator.sample(found, count)
    made = [(f"random {number}", edited(good, generator)) for number in range(count - len(found))]
    return found + made


def edited(content: bytes, generator: random.Random) -> bytes:
    """A few edits of bytes, lines and tokens."""
    for _ in range(generator.randint(1, 5)):
        content = generator.choice(EDITS)(content, generator)
    return content


def line_repeated(content: bytes, generator: random.Random) -> bytes:
    lines = content.split(b"\n")
    place = generator.randrange(len(lines))
    return b"\n".join([*lines[:place], *[lines[place]] * generator.choice((0, 2, 1000)), *lines[place + 1 :]])


def token_changed(content: bytes, generator: random.Random) -> bytes:
    tokens = re.findall(rb"[\w.]+|[^\w.]", content) or [b""]
    words: Sequence[bytes] = (b"0", b"-1", b"9" * 40, b"1e999", b"nan", b"-", b"|", b"<", b"[", b"true", b"\x1b[31m")
    tokens[generator.randrange(len(tokens))] = generator.choice([*words, generator.choice(tokens)])
    return b"".join(tokens)


def cut_short(content: bytes, generator: random.Random) -> bytes:
    return content[: generator.randrange(len(content) or 1)]


EDITS: Sequence[Callable[[bytes, random.Random], bytes]] = (
    flip, lines_moved, line_repeated, token_changed, token_changed, token_changed, cut_short,
)  # fmt: skip

SLOW = {
    "columns": "|" * 200_000,
    "a row of columns": "| a " * 100_000 + "|",
    "stars": "* Version: " + " " * 300_000 + "x",
    "spaces": " " * 500_000 + "\n",
    "blank lines": "\n" * 500_000,
    "slack": "WNS(ns)" + "- \n" * 100_000,
    "slacks": "WNS(ns)\n" * 30_000,
    "exported": "CP required: 1\n" * 30_000,
    "braces": "ap_clk {" + "0.000 " * 100_000,
    "digits": "| LUT | " + "9" * 300_000 + " |\n| Total | " + "9" * 300_000 + " |\n",
    "equal signs": "== Performance Estimates\n" + "=" * 300_000,
    "sections": "== Performance Estimates\n== Utilization Estimates\n" * 10_000,
    "quotes": "Report for '" + "a" * 300_000,
    "tags": "<a>" * 100_000,
    "entities": '<!DOCTYPE a [<!ENTITY b "bbbb">]><a>&b;</a>',
    "lt": "<" * 300_000,
    "attributes": "<a " + "b='c' " * 100_000 + "/>",
}


def hostile_reports(good: str, count: int, seed: int = 0) -> list[tuple[str, bytes]]:
    """``count`` reports made from a good one: slow ones, absurd numbers, random edits."""
    generator = random.Random(seed)
    numbers = [match.span() for match in re.finditer(r"\d+(?:\.\d+)?", good)]
    found = [(name, good.encode() + b"\n" + text.encode()) for name, text in SLOW.items()]
    found += [(f"{name} alone", text.encode()) for name, text in SLOW.items()]
    for value in ("9" * 5000, "-1", "9" * 25, "1e999", "nan", "-" * 10, "٣", "0x10", ""):
        start, end = generator.choice(numbers)
        found.append((f"a number {value[:20]!r}", (good[:start] + value + good[end:]).encode()))
        every = re.sub(r"(?<=[|>\s])\d+(?:\.\d+)?(?=[|<\s])", value, good)
        found.append((f"every number {value[:20]!r}", every.encode()))
    return filled_up(found, good.encode(), count, generator)
