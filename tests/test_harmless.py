"""Names of strangers in every export: nothing runs in a terminal, a spreadsheet, a browser or the SVG renderer."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.comparison.stage_records import fpga
from toolkit.cli.output import fail, show_table, tell
from toolkit.comparison import compare, write_report
from toolkit.errors import DataError, ToolkitError
from toolkit.exploration import export
from toolkit.harmless import LONGEST_MESSAGE, cell, everywhere, message, visible

HOSTILE = (
    "=cmd|' /C calc'!A0 \x1b]0;owned\x07\x00\x0b \u202etxt\ufffe\ud800 <script>alert(1)</script> "
    "\\input{/etc/passwd} | *b*"
)


@given(st.text())
def test_what_is_visible_is_printable_and_stays(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable()
    assert visible(shown) == shown
    assert everywhere({text: [text]}) == {everywhere(text): [everywhere(text)]}
    ElementTree.fromstring(f"<a>{shown.replace('&', '').replace('<', '')}</a>")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1+2", "@SUM(A1)", "\t=1", " =1", "\r=1", "|cmd", "%x"])
def test_no_spreadsheet_runs_a_cell(text: str) -> None:
    assert cell(text).startswith("'")
    assert cell(-1.5) == -1.5
    assert cell("conv=1") == "conv=1"


def test_an_error_is_printable_and_of_bounded_length() -> None:
    told = str(DataError(f"{HOSTILE}\n" * 100_000))
    assert told.replace("\n", "").isprintable()
    assert len(told) < LONGEST_MESSAGE + 200
    assert message("short\nand\tclear") == "short\nand clear"
    assert isinstance(DataError(""), ToolkitError)


def test_terminals_show_and_do_not_obey(capsys: pytest.CaptureFixture[str]) -> None:
    tell(HOSTILE)
    fail(HOSTILE, 2)
    show_table(HOSTILE, ("name",), [[HOSTILE]])
    shown = capsys.readouterr()
    assert (shown.out + shown.err).replace("\n", "").isprintable()


def test_every_file_of_a_report_is_harmless(tmp_path: Path) -> None:
    """A control character in a name ended the process in the SVG renderer, after all the work."""
    table = compare([fpga(4, 0.9, f"{HOSTILE}4"), fpga(6, 0.95, f"{HOSTILE}6")])
    write_report(table, tmp_path / "report", title=HOSTILE)
    kinds = (".html", ".md", ".csv", ".tex", ".svg")
    written = [item for item in (tmp_path / "report").rglob("*") if item.suffix in kinds]
    assert {item.suffix for item in written} == set(kinds)
    for item in written:
        text = item.read_text()
        odd = {char for char in text if not char.isprintable()} - set("\n\r\t\u00a0\u202f\u2009")
        assert not odd, (item, odd)
        assert item.suffix not in (".html", ".svg") or "<script>alert" not in text, item
        if item.suffix == ".svg":
            ElementTree.fromstring(text)
    sheet = next(item for item in written if item.suffix == ".csv").read_text()
    assert all(not text.startswith(("=", "+", "@")) for line in csv.reader(io.StringIO(sheet)) for text in line)


def test_a_sweep_is_exported_without_formulas(tmp_path: Path) -> None:
    names = [HOSTILE.replace("\ud800", ""), "-1+2"]
    frame = pandas.DataFrame({"name": names, "=cmd": ["fine", None], "accuracy": [-0.5, 1.0]})
    result: Any = SimpleNamespace(to_frame=lambda: frame)
    read = pandas.read_csv(export(result, tmp_path / "points.csv"))
    assert list(read.columns) == ["name", "'=cmd", "accuracy"]
    assert all(text.startswith("'") for text in read["name"])
    assert list(read["accuracy"]) == [-0.5, 1.0]
