"""What commands print: results to standard output, progress and errors to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from toolkit.harmless import visible

if TYPE_CHECKING:
    from rich.console import Console

    from toolkit.comparison import Comparison
    from toolkit.comparison.columns import Column
    from toolkit.records import Figure, Finding


UNCUT = 10_000  # columns


def fail(message: str, code: int) -> int:
    """Print one message to standard error and return the exit code."""
    print(visible(message, keep="\n"), file=sys.stderr)
    return code


def say(message: str) -> None:
    """A line of progress, on standard error so that results stay clean."""
    print(visible(message, keep="\n"), file=sys.stderr, flush=True)


def tell(result: object) -> None:
    """A result on standard output; what strangers named in it commands no terminal."""
    print(visible(str(result), keep="\n"))


def console() -> Console:
    """Standard output; on anything but a terminal a line is as long as it is, so that nothing is cut."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=UNCUT)


def print_alarm(message: str) -> None:
    """What must not be overlooked, in red where there are colours."""
    from rich.text import Text

    console().print(Text(visible(message, keep="\n"), style="bold red"), soft_wrap=True)


def show_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Print a table; cells are text, never markup."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(*columns, title=escape(visible(title)), title_justify="left")
    for row in rows:
        table.add_row(*(escape("-" if cell is None else visible(str(cell), keep="\n")) for cell in row))
    console().print(table)


def show_figures(title: str, figures: dict[str, Figure | None]) -> None:
    """Print figures with value, interval, unit and source."""

    def interval(figure: Figure) -> str:
        if figure.bound:
            return "at least" if figure.bound == "lower" else "at most"
        return "" if figure.low is None or figure.high is None else f"{figure.low:.6g} .. {figure.high:.6g}"

    rows = [(name, f"{f.value:.6g}", interval(f), f.unit, f.source) for name, f in figures.items() if f is not None]
    show_table(title, ("figure", "value", "interval", "unit", "source"), rows)


COMMAND: ContextVar[str] = ContextVar("command")  # the one that runs


def print_json(value: Any, answer: str | None = None) -> None:
    """An answer of :mod:`toolkit.cli.answers` as JSON: that of the running command unless named otherwise."""
    from toolkit.records import SCHEMA_VERSION, as_json

    head = {"schema": SCHEMA_VERSION, "answer": answer or COMMAND.get()}
    print(json.dumps({**head, **as_json(value)}, indent=2, sort_keys=True))


def show_findings(findings: Sequence[Finding], design: str = "") -> None:
    """Severity, layer, reason and remedy of each finding, after the design's name where there are several."""
    for finding in findings:
        where = " ".join(filter(None, (design, finding.layer)))
        reason = f"{finding.severity}{f': {where}' if where else ''}: {finding.reason}"
        tell(f"{reason}\n    {finding.remedy} [{finding.rule}]")


# What fits a terminal; the report has the rest.
TERMINAL_COLUMNS = ("latency_us", "dsp", "lut")


def show_comparison(comparison: Comparison) -> None:
    """The rows with their main figures, each with its source."""
    shown = (comparison.metric.name, *TERMINAL_COLUMNS)
    columns = [column for column in comparison.columns() if column.key in shown]
    rows = [[row.name, *(cell(column, row.figures.get(column.key)) for column in columns)] for row in comparison.rows]
    show_table("comparison", ("implementation", *(column.heading for column in columns)), rows)


def cell(column: Column, figure: Figure | None) -> str | None:
    return None if figure is None else f"{column.text(figure.value)} {figure.source}"
