"""What every section of a design or sweep file is made of: strict values, clear messages, TOML with lines.

A mistake is one message that names the key as the user writes it, the rule, the value got, the choices
and, from a file, the line.
"""

from __future__ import annotations

import numbers
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, ClassVar, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from toolkit.devices import part_number
from toolkit.errors import ConfigError, nearest
from toolkit.names import LONGEST, check_name, shown
from toolkit.precision import Precision
from toolkit.reading import blaming, read_toml

FRACTION_BITS = (-16, 64)  # of a type that a user asks for: beyond, it holds no value a network computes


def plain_number(value: Any) -> Any:
    """NumPy's numbers as Python's; text and truth values are none."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return value
    return int(value) if isinstance(value, numbers.Integral) else float(value)


Whole = Annotated[int, BeforeValidator(plain_number), Field(strict=True)]
Number = Annotated[float, BeforeValidator(plain_number), Field(strict=True, allow_inf_nan=False)]
Flag = Annotated[bool, Field(strict=True)]
Natural = Annotated[Whole, Field(ge=0)]
Positive = Annotated[Whole, Field(ge=1)]
Fraction = Annotated[Number, Field(ge=0, le=1)]
Bits = Annotated[Whole, Field(ge=1, le=32)]


def parses(text: str) -> str:
    """Keep a precision's text if it is a type that values fit into."""
    try:
        precision = Precision.parse(text)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    low, high = FRACTION_BITS
    if not low <= precision.fraction_bits <= high:
        raise ValueError(
            f"precision must have between {low} and {high} fraction bits (W - I), got {precision}, whose last bit is "
            f"worth 2**{-precision.fraction_bits}"
        )
    return text


def named(text: str) -> str:
    """Keep a name that can stand in paths, tables and pictures."""
    try:
        return check_name("a name", text)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def on_board(text: str) -> str:
    """The part number of a board, or the text as it is."""
    try:
        return part_number(text)
    except ConfigError as error:
        raise ValueError(str(error)) from None


PrecisionText = Annotated[str, AfterValidator(parses)]
PartText = Annotated[str, AfterValidator(on_board)]
Name = Annotated[str, AfterValidator(named)]

# True while a section is validated, so that a nested one leaves the message to the outermost.
INSIDE_SECTION: ContextVar[bool] = ContextVar("inside_section", default=False)


class Section(BaseModel):
    """A frozen section; a mistake in it is a ``ConfigError`` that names key, value and choices."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, use_attribute_docstrings=True)

    written: ClassVar[str] = ""
    """How a file names the section, as ``train.prune``; empty for what stands at the top."""
    more_keys: ClassVar[tuple[str, ...]] = ()
    """Keys that a file may have here beside the fields."""

    def __init__(self, *arguments: Any, **values: Any) -> None:
        if arguments:
            raise ConfigError(
                f"{type(self).__name__} takes keys, such as {example(type(self))}, got {shown(arguments[0])}"
            )
        outermost = INSIDE_SECTION.get() is False
        token = INSIDE_SECTION.set(True)
        try:
            super().__init__(**values)
        except ValidationError as error:
            if not outermost:  # pydantic adds our key to the outer section's error
                raise
            above = tuple(self.written.split(".")) if self.written else ()
            raise ConfigError(explain(type(self), error), (*above, *first_key(error))) from None
        finally:
            INSIDE_SECTION.reset(token)

    @model_validator(mode="before")
    @classmethod
    def absent(cls, values: Any) -> Any:
        """``"none"`` for a key that may be absent says that it is, over a default or a shared section."""
        if not isinstance(values, dict):
            return values
        return {key: None if says_none(value) and cls.may_be_absent(key) else value for key, value in values.items()}

    @classmethod
    def may_be_absent(cls, key: str) -> bool:
        """Whether a key takes ``None``."""
        annotation = cls.model_fields[key].annotation if key in cls.model_fields else None
        return annotation is Any or NoneType in get_args(annotation)

    def change(self, **values: Any) -> Self:
        """A copy with some keys changed, validated again; what was not said stays unsaid."""
        said = {key: getattr(self, key) for key in self.model_fields_set}
        return type(self)(**{**said, **values})


def says_none(value: Any) -> bool:
    return isinstance(value, str) and value == "none"


def example(section: type[Section]) -> str:
    """``HlsConfig(backend="Vitis")``."""
    key, field = next(iter(section.model_fields.items()))
    return f"{section.__name__}({key}={field.get_default(call_default_factory=True)!r})"


# Messages ----------------------------------------------------------------------------------------

# A value of a union type is also held against the member the user did not mean.
WRONG_MEMBER = ("dict_type", "string_type")

MOST_MISTAKES = 20  # told in one message

RULES = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be finite",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "path_type": "must be a path",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "tuple_type": "must be a list",
    "missing": "is needed",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must have {min_length} or more entries",
    "too_long": "must have at most {max_length} entries",
}


def first_key(error: ValidationError) -> tuple[str, ...]:
    """Path of the first mistake."""
    return tuple(map(str, places(error.errors()[0])))


def places(item: Any) -> list[str | int]:
    """Path of a mistake, without the names of union members."""
    return [part for part in item["loc"] if "[" not in str(part)]


def explain(section: type[Section], error: ValidationError) -> str:
    """Pydantic's findings in our words: key, rule, value got, choices."""
    items = error.errors()
    meant = [item for item in items if item["type"] not in WRONG_MEMBER] or items
    more = [f"and {len(meant) - MOST_MISTAKES:,} more mistakes"] if len(meant) > MOST_MISTAKES else []
    return "\n".join([*dict.fromkeys(explain_one(section, item) for item in meant[:MOST_MISTAKES]), *more])


def explain_one(section: type[Section], item: Any) -> str:
    path = places(item)
    key = spelled_key(section, path)
    if item["type"] == "extra_forbidden":
        known = known_keys(section, path[:-1])
        return f"{key}: {quoted(path[-1])} is not a key{nearest(str(path[-1]), known)}; known keys: {', '.join(known)}"
    if item["type"] == "literal_error":
        expected = item["ctx"]["expected"].replace("'", "")
        choices = expected.replace(" or ", ", ").split(", ")
        return (
            f"{key}: {quoted(item['input'])} is not a choice{nearest(str(item['input']), choices)}; choose {expected}"
        )
    if item["type"] == "value_error":
        message: str = item["msg"].removeprefix("Value error, ")
        return f"{key}: {message}" if key else message
    rule = RULES.get(item["type"], item["msg"]).format_map(item.get("ctx", {}))
    return f"{key}: {rule}, got {shown(item['input'])}"


def spelled_key(section: type[Section], path: list[str | int]) -> str:
    """A key as the file has it: ``hls.io_type``, ``hls.strategy of design 2``, ``train.prune.sparsity``.

    >>> spelled_key(Section, ["designs", 1, "hls", "strategy"]), spelled_key(Section, ["sweep", "objectives", 0])
    ('hls.strategy of design 2', 'sweep.objectives')
    """
    if len(path) > 1 and path[0] in ("designs", "baselines") and isinstance(path[1], int):
        which = f"{str(path[0])[:-1]} {path[1] + 1}"
        inner = spelled_key(section, path[2:])
        return f"{inner} of {which}" if inner else which
    names = [section.written, *(part for part in path if isinstance(part, str))]
    return ".".join(name if len(name) <= LONGEST else shown(name) for name in names if name)


def quoted(value: Any) -> str:
    """``"Vitsi"``; what is no short text as Python writes it."""
    return f'"{value}"' if isinstance(value, str) and len(value) <= LONGEST else shown(value)


def known_keys(section: type[BaseModel], path: list[str | int]) -> list[str]:
    """Keys of the section that ``path`` leads to, as far as it can be followed."""
    for part in path:
        field = section.model_fields.get(str(part))
        if field is None:
            continue
        for candidate in [field.annotation, *getattr(field.annotation, "__args__", ())]:
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                section = candidate
    return sorted({*section.model_fields, *getattr(section, "more_keys", ())})


# Files -------------------------------------------------------------------------------------------


@contextmanager
def toml_tables(path: str | Path, what: str) -> Iterator[dict[str, Any]]:
    """Yield the tables of a TOML file; a ``ConfigError`` raised in the block is told with file and line.

    ``what`` names the file in messages, as ``a design file``. Raises ``ConfigError`` for a path that is none
    and for a file that cannot be read, is empty or is no TOML.
    """
    if not isinstance(path, (str, Path)):
        raise ConfigError(f"{what} is a path (str or Path), got {shown(path)}")
    text, tables = read_toml(Path(path), what)
    if not tables:
        raise ConfigError(f"{path} is empty; {what} says at least which model and dataset, or which design")
    try:
        with blaming(path, ConfigError):
            yield tables
    except ConfigError as error:
        line = line_of(text, error.key or leading_key(str(error)))
        error.args = (f"{error}\n  in {path}" + (f", line {line}" if line else ""),)
        raise


def beside(tables: Any, folder: Path, section: type[BaseModel], parts: type[BaseModel] | None = None) -> Any:
    """Tables with every relative path taken from ``folder``; ``parts`` is the section whose keys may stand here too."""
    fields = {**(parts.model_fields if parts else {}), **section.model_fields}
    return {
        key: placed(value, fields[key].annotation, folder) if key in fields else value for key, value in tables.items()
    }


def placed(value: Any, annotation: Any, folder: Path) -> Any:
    """A value of a key with its relative paths, alone or in a list, taken from ``folder``."""
    members = [annotation, *get_args(annotation)]
    inner = next((part for part in members if isinstance(part, type) and issubclass(part, BaseModel)), None)
    match value:
        case list():
            return [placed(item, annotation, folder) for item in value]
        case dict() if inner is not None:
            return beside(value, folder, inner)
        case str() if Path in members and not says_none(value):
            return str(folder.absolute() / Path(value).expanduser())
    return value


def leading_key(message: str) -> tuple[str, ...]:
    """The key that a message begins with.

    >>> leading_key("hls.target_ii = 3 cycles cannot be kept"), leading_key("a sweep needs points")
    (('hls', 'target_ii'), ())
    """
    match = re.match(r"[a-z_]+(?:\.[\w*-]+)+", message)
    return tuple(match.group().split(".")) if match else ()


NAMES = re.compile(r'"[^"]*"|\'[^\']*\'|[^.\s"\']+')


def line_of(text: str, key: tuple[str, ...]) -> int | None:
    """Line of a key in a TOML text, as far as the path can be followed; None when it is not there.

    A number in ``key`` counts the tables of an array, as in ``designs, 1, hls, strategy``; what a design has
    from a shared section is found there.
    """
    if not key:
        return None
    counts: dict[tuple[str, ...], int] = {}
    section: tuple[str, ...] = ()
    best: tuple[int, int] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.split("#")[0].strip()
        if stripped.startswith("[["):
            names = names_in(stripped)
            counts[names] = counts.get(names, -1) + 1
            here = section = (*names, str(counts[names]))
        elif stripped.startswith("[") and "=" not in stripped:
            names = names_in(stripped)
            index = counts.get(names[:1])
            here = section = names if index is None else (names[0], str(index), *names[1:])
        else:
            here = (*section, *names_in(stripped.split("=")[0]))
        if here == key[: len(here)] and here and (best is None or len(here) > best[0]):
            best = (len(here), number)
    in_a_design = len(key) > 3 and key[1].isdigit()
    if in_a_design and (best is None or best[0] <= 2):
        return line_of(text, key[2:]) or (best[1] if best else None)
    return best[1] if best else None


def names_in(text: str) -> tuple[str, ...]:
    """The names of a dotted key, bare or quoted."""
    return tuple(name.strip("\"'") for name in NAMES.findall(text.strip("[] ")))
