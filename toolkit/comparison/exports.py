"""The table of a comparison as Markdown, CSV and LaTeX (booktabs); every figure keeps its source."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from toolkit.comparison.columns import FRONTS, SOURCE_MEANING, Column
from toolkit.comparison.compare import Comparison, flat
from toolkit.records import Figure, Implementation

# Markdown and LaTeX pages are narrow: these columns are left to CSV, JSON and HTML.
WIDE_ONLY = ("top5", "parameters", "macs", "latency_cycles", "host_overhead_us", "ff", "uram")

LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "µ": r"\textmu{}",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{EN DASH}": "--",
    "\N{HORIZONTAL ELLIPSIS}": r"\dots{}",
}
MARKDOWN_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|~&$])")


def printed_columns(comparison: Comparison) -> tuple[Column, ...]:
    """The columns for narrow pages."""
    return tuple(column for column in comparison.columns() if column.key not in WIDE_ONLY)


def front_marks(comparison: Comparison, row: Implementation) -> tuple[str, ...]:
    """Pareto fronts that a row is on."""
    return tuple(name for name, names in comparison.fronts().items() if row.name in names)


def markdown(comparison: Comparison, title: str) -> str:
    """A GitHub table; each cell reads ``97.40 csim``; names are escaped."""
    columns = printed_columns(comparison)
    head = ["Implementation", *(column.heading for column in columns), "Pareto front"]
    lines = [f"# {markdown_text(title)}", "", table_line(head), table_line(["---", *["---:"] * len(columns), "---"])]
    for row in comparison.rows:
        cells = [markdown_cell(column, row.figures.get(column.key)) for column in columns]
        name = markdown_text(row.name) + (" (reference)" if row.name == comparison.reference else "")
        lines.append(table_line([name, *cells, ", ".join(front_marks(comparison, row))]))
    lines += ["", *markdown_notes(comparison)]
    return "\n".join(lines) + "\n"


def table_line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def markdown_cell(column: Column, figure: Figure | None) -> str:
    return f"{column.text(figure.value)} *{figure.source}*" if figure else "\N{EN DASH}"


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return MARKDOWN_SPECIAL.sub(r"\\\1", " ".join(text.split()))


def markdown_notes(comparison: Comparison) -> list[str]:
    """What the sources mean, why a row is empty, and the test set."""
    lines = [f"- *{source}*: {SOURCE_MEANING[source]}" for source in sources(comparison)]
    for row in comparison.rows:
        if "missing" in row.facts:
            lines.append(f"- {markdown_text(row.name)}: {markdown_text(row.facts['missing'])}")
    if comparison.test_digest:
        lines.append(f"- every accuracy is on the same test images (digest `{comparison.test_digest}`)")
    if fronts := [f"{name}: accuracy against {name}" for name in FRONTS if comparison.fronts()[name]]:
        lines.append(
            f"- Pareto front: no other row is at least as good on both and better on one ({'; '.join(fronts)})"
        )
    return lines


def sources(comparison: Comparison) -> tuple[str, ...]:
    """Sources that stand in the table, in the order of their meanings."""
    present = {
        row.figures[column.key].source
        for row in comparison.rows
        for column in comparison.columns()
        if column.key in row.figures
    }
    return tuple(source for source in SOURCE_MEANING if source in present)


def csv_text(comparison: Comparison) -> str:
    """Every figure and fact of every row, in stored units, as RFC 4180 CSV.

    Text that a spreadsheet would take for a formula gets a leading apostrophe.
    """
    fronts = comparison.fronts()
    lines = [flat(comparison, row, fronts) for row in comparison.rows]
    keys = list(dict.fromkeys(key for line in lines for key in line))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, keys, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({key: harmless(value) for key, value in line.items()} for line in lines)
    return stream.getvalue()


def harmless(value: object) -> object:
    """A cell that no spreadsheet runs."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def latex(comparison: Comparison, title: str) -> str:
    """A ``table`` with booktabs; sources as superscripts explained under it. Needs ``\\usepackage{booktabs}``."""
    columns = printed_columns(comparison)
    letters = {source: chr(ord("a") + index) for index, source in enumerate(sources(comparison))}
    head = " & ".join(["Implementation", *(latex_text(column.title) for column in columns)])
    units = " & ".join(["", *(latex_text(column.unit) for column in columns)])
    body = [latex_row(comparison, row, columns, letters) for row in comparison.rows]
    key = "; ".join(
        rf"\textsuperscript{{{letter}}} {latex_text(SOURCE_MEANING[source])}" for source, letter in letters.items()
    )
    return "\n".join(
        [
            r"% needs \usepackage{booktabs} and \usepackage{graphicx}",
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{latex_text(title)}}}",
            r"  \resizebox{\linewidth}{!}{%",
            rf"  \begin{{tabular}}{{l{'r' * len(columns)}}}",
            r"    \toprule",
            rf"    {head} \\",
            rf"    {units} \\",
            r"    \midrule",
            *body,
            r"    \bottomrule",
            r"  \end{tabular}}",
            r"",
            rf"  \smallskip\footnotesize {key}.",
            r"\end{table}",
            "",
        ]
    )


def latex_row(comparison: Comparison, row: Implementation, columns: Sequence[Column], letters: dict[str, str]) -> str:
    cells = []
    for column in columns:
        figure = row.figures.get(column.key)
        cells.append(
            rf"{latex_text(column.text(figure.value))}\textsuperscript{{{letters[figure.source]}}}" if figure else "--"
        )
    return rf"    {' & '.join([latex_text(row.name), *cells])} \\"


def latex_text(text: str) -> str:
    """Text that LaTeX prints as it is: special characters escaped, what is not Latin replaced by ``?``."""
    flat_text = " ".join(text.split())
    return "".join(
        LATEX_SPECIAL.get(char) or (char if char.isprintable() and ord(char) < 0x250 else "?") for char in flat_text
    )
