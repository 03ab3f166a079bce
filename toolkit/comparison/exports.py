"""The table of a comparison as Markdown, CSV and LaTeX (booktabs); every figure keeps its source."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Sequence

from toolkit import harmless
from toolkit.comparison.answer import alarms
from toolkit.comparison.columns import FRONTS, SOURCE_MEANING, Column
from toolkit.comparison.compare import Comparison, flat
from toolkit.records import Implementation

# Markdown and LaTeX pages are narrow: these columns are left to CSV, JSON and HTML.
WIDE_ONLY = ("top5", "parameters", "macs", "latency_cycles", "ff", "uram")
# A printed column is narrower still.
NOT_PRINTED = ("agreement", "host_overhead_us", "activation_bits", "weight_bytes")

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
    '"': "''",
    "µ": r"$\mu$",
    "Ω": r"$\Omega$",
    "±": r"$\pm$",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{EN DASH}": "--",
    "\N{HORIZONTAL ELLIPSIS}": r"\dots{}",
}
# Combining marks as LaTeX accents: they work in every font encoding, which letters outside ASCII do not.
LATEX_ACCENTS = {
    "\N{COMBINING GRAVE ACCENT}": "`",
    "\N{COMBINING ACUTE ACCENT}": "'",
    "\N{COMBINING CIRCUMFLEX ACCENT}": "^",
    "\N{COMBINING TILDE}": "~",
    "\N{COMBINING DIAERESIS}": '"',
    "\N{COMBINING RING ABOVE}": "r",
    "\N{COMBINING CARON}": "v",
    "\N{COMBINING CEDILLA}": "c",
    "\N{COMBINING MACRON}": "=",
    "\N{COMBINING BREVE}": "u",
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
    warned = [f"**Not the bits of the model: {markdown_text(alarm)}**\n" for alarm in alarms(comparison)]
    rule = ["---", *["---:"] * len(columns), "---"]
    lines = [f"# {markdown_text(title)}", "", *warned, table_line(head), table_line(rule)]
    for row in comparison.rows:
        cells = [markdown_cell(comparison, row, column) for column in columns]
        name = markdown_text(row.name) + (" (reference)" if row.name == comparison.reference else "")
        lines.append(table_line([name, *cells, ", ".join(front_marks(comparison, row))]))
    lines += ["", *markdown_notes(comparison)]
    return "\n".join(lines) + "\n"


def table_line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def markdown_cell(comparison: Comparison, row: Implementation, column: Column) -> str:
    figure = row.figures.get(column.key)
    if figure is None:
        return "\N{EN DASH}"
    ratio = ratio_text(comparison, row, column)
    return f"{column.text(figure.value)}{ratio and f' ({ratio})'} *{figure.source}*"


def ratio_text(comparison: Comparison, row: Implementation, column: Column) -> str:
    """``× 0.31`` of the reference, for speed and energy of other rows."""
    if column.group not in ("Speed", "Energy") or row.name == comparison.reference:
        return ""
    ratio = comparison.ratio(row, column.key)
    return "" if ratio is None else f"\N{MULTIPLICATION SIGN} {ratio:.3g}"


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return MARKDOWN_SPECIAL.sub(r"\\\1", " ".join(harmless.visible(text).split()))


def markdown_notes(comparison: Comparison) -> list[str]:
    """What the sources mean, why a row is empty, and the test set."""
    word = comparison.merit_word
    lines = [f"- *{source}*: {SOURCE_MEANING[source]}" for source in sources(comparison)]
    for row in missing(comparison):
        lines.append(f"- {markdown_text(row.name)}: {markdown_text(row.facts['missing'])}")
    if any(ratio_text(comparison, row, column) for row in comparison.rows for column in comparison.columns()):
        lines.append(f"- \N{MULTIPLICATION SIGN} is the ratio to {markdown_text(str(comparison.reference))}")
    if comparison.test_digest:
        lines.append(f"- every {word} is on the same test {comparison.noun} (digest `{comparison.test_digest}`)")
    if fronts := [f"{name}: {word} against {name}" for name in FRONTS if comparison.fronts()[name]]:
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
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(map(harmless.cell, keys))
    writer.writerows([harmless.cell(line.get(key, "")) for key in keys] for line in lines)
    return stream.getvalue()


def latex(comparison: Comparison, title: str) -> str:
    """A ``table`` with booktabs; sources as superscripts explained under it. Needs ``booktabs`` and ``graphicx``."""
    columns = tuple(column for column in printed_columns(comparison) if column.key not in NOT_PRINTED)
    letters = {source: chr(ord("a") + index) for index, source in enumerate(sources(comparison))}
    head = " & ".join(["Implementation", *(latex_text(column.title) for column in columns)])
    units = " & ".join(["", *(latex_text(column.unit) for column in columns)])
    body = [latex_row(comparison, row, columns, letters) for row in comparison.rows]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs} and \usepackage{graphicx}; further columns are in report.csv",
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
            rf"  \smallskip\footnotesize {latex_notes(comparison, columns, letters)}",
            r"\end{table}",
            "",
        ]
    )


def latex_row(comparison: Comparison, row: Implementation, columns: Sequence[Column], letters: dict[str, str]) -> str:
    cells = []
    for column in columns:
        figure = row.figures.get(column.key)
        if figure is None:
            cells.append("--")
            continue
        ratio = ratio_text(comparison, row, column)
        shown = latex_text(f"{column.text(figure.value)}{ratio and f' ({ratio})'}")
        cells.append(rf"{shown}\textsuperscript{{{letters[figure.source]}}}")
    marks = ", ".join(front_marks(comparison, row))
    name = latex_text(row.name) + (rf" \textsuperscript{{{marks}}}" if marks else "")
    return rf"    {' & '.join([name, *cells])} \\"


def latex_notes(comparison: Comparison, columns: Sequence[Column], letters: dict[str, str]) -> str:
    """What letters, marks and ratios mean, and why a row is empty."""
    notes = [
        rf"\textsuperscript{{{letter}}} {latex_text(SOURCE_MEANING[source])}" for source, letter in letters.items()
    ]
    if any(comparison.fronts().values()):
        word = latex_text(comparison.merit_word)
        notes.append(f"names are marked with the Pareto fronts ({word} against it) that they are on")
    if any(ratio_text(comparison, row, column) for row in comparison.rows for column in columns):
        notes.append(rf"$\times$ is the ratio to {latex_text(str(comparison.reference))}")
    notes += [f"{latex_text(row.name)}: {latex_text(row.facts['missing'])}" for row in missing(comparison)]
    return "; ".join(notes) + "."


def missing(comparison: Comparison) -> list[Implementation]:
    """Rows without figures that say why."""
    return [row for row in comparison.rows if "missing" in row.facts]


def latex_text(text: str) -> str:
    """Text that LaTeX prints as it is, in any font encoding; what has no spelling becomes ``?``."""
    letters: list[str] = []
    for char in unicodedata.normalize("NFD", " ".join(harmless.visible(text).split())):
        accent = LATEX_ACCENTS.get(char)
        if accent and letters and letters[-1].isalpha():
            letters[-1] = rf"\{accent}{{{letters[-1]}}}"
        else:
            letters.append(LATEX_SPECIAL.get(char) or (char if char.isascii() and char.isprintable() else "?"))
    return "".join(letters)
