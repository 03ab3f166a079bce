"""The HTML page as text: sections when there are data, no request, every string escaped."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from stage_records import HOSTILE, baseline, check, estimate, missing

from toolkit.comparison import compare, implementation_from, write_report

SECTIONS = (
    "answer",
    "table",
    "tradeoffs",
    "stages",
    "precision",
    "agreement",
    "confusion",
    "baselines",
    "diagrams",
    "environment",
)


class Outline(HTMLParser):
    """Section ids, tags that are open, scripts and every attribute that could fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        known = dict(attributes)
        self.tags.append(tag)
        if tag == "section":
            self.sections.append(str(known["id"]))
        self.ids += [str(known["id"])] if "id" in known else []
        self.addresses += [str(known[key]) for key in ("src", "href", "xlink:href", "action", "data") if key in known]


def outline_of(page: Path) -> Outline:
    outline = Outline()
    outline.feed(page.read_text())
    return outline


def test_all_sections_for_a_full_comparison(full_page: Path) -> None:
    assert outline_of(full_page).sections == list(SECTIONS)


@pytest.mark.parametrize(
    ("records", "absent"),
    [
        ([missing()], {"tradeoffs", "stages", "precision", "agreement", "confusion"}),
        ([baseline("keras", 10, 0.9)], {"stages", "precision", "agreement"}),
        (
            [implementation_from(estimate(4), name="x")],
            {"tradeoffs", "precision", "agreement", "baselines", "confusion"},
        ),
        ([implementation_from(check(4), name="x")], {"tradeoffs", "stages", "baselines", "confusion"}),
    ],
    ids=["nothing", "baseline", "estimate", "check"],
)
def test_sections_without_data_are_left_out(records: list[object], absent: set[str], tmp_path: Path) -> None:
    page = write_report(compare(records), tmp_path / "r", formats=("html",))
    assert set(SECTIONS) - set(outline_of(page).sections) == absent


def test_nothing_is_fetched(full_page: Path) -> None:
    text = full_page.read_text()
    assert all(address.startswith(("#", "data:")) for address in outline_of(full_page).addresses)
    assert "default-src 'none'" in text
    assert not re.search(r"url\((?!#)", text)
    assert "@import" not in text


def test_ids_are_unique_and_links_lead_somewhere(full_page: Path) -> None:
    outline = outline_of(full_page)
    assert len(outline.ids) == len(set(outline.ids))
    assert {address[1:] for address in outline.addresses if address.startswith("#")} <= set(outline.ids)


def test_hostile_strings_stay_text(full_page: Path) -> None:
    text, outline = full_page.read_text(), outline_of(full_page)
    assert outline.tags.count("script") == 1
    assert "img" not in outline.tags
    assert HOSTILE not in text
    assert "{{7*7}}" in text  # the template engine never saw it


def test_marks_lead_to_their_rows(full_page: Path) -> None:
    text = full_page.read_text()
    assert re.search(r'<a href="#row-3"><path aria-label="cnn q8; LUT', text)
    assert re.search(r'<a href="#row-7"><path aria-label="&lt;img src=[^>]*; LUT', text)


def test_a_row_that_is_not_here_says_why_in_the_table(full_page: Path) -> None:
    row = re.search(r'<tr id="row-2".*?</tr>', full_page.read_text(), flags=re.S)
    assert row is not None
    assert "not available here: provider tensorrt of onnxruntime needs TensorRT" in row[0]


def test_the_bottleneck_is_the_busiest_stage(full_page: Path) -> None:
    """Not the one whose csynth interval, which counts pixels that complete no window, is largest."""
    assert "<strong>conv1</strong> Conv2D" in full_page.read_text()
    assert "<strong>conv0</strong>" not in full_page.read_text()


def test_notes_are_read_without_a_pointer(full_page: Path) -> None:
    notes = re.search(r'<details class="notes">.*?</details>', full_page.read_text(), flags=re.S)
    assert notes is not None
    assert "model: estimator 1" in notes[0]


def test_rows_of_two_machines_are_told_apart(tmp_path: Path) -> None:
    there = replace(baseline("there", 10, 0.9), environment={"cpu": "another processor"})
    page = write_report(compare([baseline("here", 10, 0.9), there]), tmp_path / "r", formats=("html",))
    assert "a processor (here); another processor (there)" in page.read_text()


def test_every_figure_of_the_table_has_a_source(full_page: Path) -> None:
    cells = re.findall(r"<td data-sort=.*?</td>", full_page.read_text(), flags=re.S)
    assert len(cells) > 60
    assert all('class="src src-' in cell for cell in cells)


def test_a_hundred_designs_stay_below_five_megabytes(hundred_page: Path) -> None:
    assert hundred_page.stat().st_size < 5_000_000
    assert outline_of(hundred_page).tags.count("tr") > 100
