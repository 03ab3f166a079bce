"""A comparison as a folder of files: a page, tables, figures, and the records to rebuild them from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from toolkit.arguments import as_path, instance
from toolkit.comparison import exports
from toolkit.comparison.charts import charts
from toolkit.comparison.codec import encode, pack, unpack
from toolkit.comparison.compare import Comparison, compare, flat, identified
from toolkit.comparison.diagram import printable
from toolkit.comparison.drawing import Drawing, printed, svg
from toolkit.errors import StoreError, choose
from toolkit.records import SCHEMA_VERSION
from toolkit.store import read_json, replacing, write_bytes, write_json, write_text

FORMATS = ("html", "md", "csv", "json", "tex", "svg", "png", "pdf")
STEM = "report"


def write_report(
    comparison: Comparison, path: str | Path, *, title: str | None = None, formats: Sequence[str] = FORMATS
) -> Path:
    """Write ``index.html``, ``report.{md,csv,json,tex}`` and ``figures/*.{svg,png,pdf}``; return the page.

    Without ``html`` among ``formats`` the folder is returned. It is replaced whole when an earlier
    report wrote it, and refused when it holds anything else. Raises ``StoreError``, and
    ``ConfigError`` for an unknown format.
    """
    for name in formats:
        choose("format", name, FORMATS)
    instance("a report's comparison", comparison, Comparison)
    folder = as_path("a report's folder", path)
    refuse_foreign(folder)
    heading = title or default_title(comparison)
    try:
        with replacing(folder.resolve()) as made:
            write_files(comparison, made, heading, formats)
    except OSError as error:
        raise StoreError(f"the report cannot be written to {folder}: {error.strerror or error}") from error
    return folder / "index.html" if "html" in formats else folder


def refuse_foreign(folder: Path) -> None:
    """Raise ``StoreError`` rather than replace a folder that is not a report, or a file."""
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"a report needs a folder, got the file {folder}")
    known = {"index.html", "figures", *(f"{STEM}.{name}" for name in FORMATS)}
    foreign = sorted(item.name for item in folder.iterdir() if item.name not in known) if folder.is_dir() else []
    if foreign:
        raise StoreError(
            f"a report replaces only an earlier report; {folder} also holds {', '.join(foreign[:3])}; "
            "choose another folder"
        )


def default_title(comparison: Comparison) -> str:
    """Named after the run's design file and its dataset, where those are known."""
    design, dataset = comparison.facts.get("design"), comparison.facts.get("dataset")
    subject = "FPGA designs and baselines" + (f" on {dataset}" if dataset else "")
    return f"{design}: {subject}" if design else subject


def write_files(comparison: Comparison, folder: Path, title: str, formats: Sequence[str]) -> None:
    """Every asked-for file; the records always, since a report is rebuilt from them."""
    # Not sorted: the order of facts and figures is the order in which a reader meets them.
    write_text(folder / f"{STEM}.json", json.dumps(stored(comparison, title), separators=(",", ":")) + "\n")
    writers = {"md": exports.markdown, "tex": exports.latex}
    for name, writer in writers.items():
        if name in formats:
            write_text(folder / f"{STEM}.{name}", writer(comparison, title))
    if "csv" in formats:
        write_bytes(folder / f"{STEM}.csv", exports.csv_text(comparison).encode())
    kinds = [name for name in formats if name in ("svg", "png", "pdf")]
    drawn = drawings(comparison) if kinds or "html" in formats else {}
    write_figures(drawn, printable(comparison) if kinds else {}, folder / "figures", kinds)
    if "html" in formats:
        from toolkit.comparison.page import page

        write_text(folder / "index.html", page(comparison, title, drawn))


def drawings(comparison: Comparison) -> dict[str, Drawing]:
    """Every chart with its SVG; drawn once for page and files."""
    return {name: Drawing(chart, svg(chart)) for name, chart in charts(comparison).items()}


def write_figures(
    drawn: Mapping[str, Drawing], diagrams: Mapping[str, str], folder: Path, kinds: Sequence[str]
) -> None:
    """Each chart and diagram in each kind, and the Vega-Lite source of the charts."""
    for name, item in drawn.items() if kinds else ():
        write_json(folder / f"{name}.vl.json", item.chart.spec)
    pictures = {**{name: item.svg for name, item in drawn.items()}, **diagrams}
    for kind in kinds:
        for name, picture in pictures.items():
            write_bytes(folder / f"{name}.{kind}", printed(picture, kind))


def stored(comparison: Comparison, title: str) -> dict[str, Any]:
    """The comparison as JSON types: the table as a reader's program wants it, and the records it came from."""
    fronts = comparison.fronts()
    return {
        "schema": SCHEMA_VERSION,
        "title": title,
        "reference": comparison.reference,
        "test_digest": comparison.test_digest,
        "environment": dict(comparison.environment),
        "facts": identified(comparison.facts),
        "table": [flat(comparison, row, fronts) for row in comparison.rows],
        **pack(encode(comparison.rows)),
    }


def load_comparison(path: str | Path) -> Comparison:
    """Read what :func:`write_report` stored: a ``report.json``, the folder that holds it, or that of a run.

    Raises ``StoreError`` for a file that is missing, malformed or of a later schema.
    """
    file = stored_file(path)
    content = read_json(file)
    if not isinstance(content, dict) or not {"schema", "rows"} <= content.keys():
        raise StoreError(f"{file} holds no stored report: keys schema and rows are needed")
    if content["schema"] > SCHEMA_VERSION:
        raise StoreError(f"{file} has schema {content['schema']}; this version reads up to {SCHEMA_VERSION}")
    return Comparison(
        unpack(content),
        content.get("reference"),
        content.get("test_digest"),
        content.get("environment", {}),
        content.get("facts", {}),
    )


def stored_file(path: str | Path) -> Path:
    """The ``report.json`` that a user means by a file, a report's folder or a run's."""
    given = as_path("a stored report", path, StoreError)
    places = [given / f"{STEM}.json", given / STEM / f"{STEM}.json"] if given.is_dir() else [given]
    return next((place for place in places if place.is_file()), places[0])


def report_from(
    sources: Iterable[str | Path],
    path: str | Path,
    *,
    title: str | None = None,
    reference: str | None = None,
    formats: Sequence[str] = FORMATS,
) -> Path:
    """Rebuild one report from the stored records of one or several, without computing anything anew.

    Raises ``ComparisonError`` when they were judged on different test sets.
    """
    found = list(sources)
    return write_report(
        join_stored(found, reference=reference), path, title=title or saved_title(found), formats=formats
    )


def join_stored(sources: Iterable[str | Path], *, reference: str | None = None) -> Comparison:
    """One comparison of the stored records of one or several reports; refuses different test sets."""
    loaded = [load_comparison(source) for source in sources]
    if not loaded:
        raise StoreError("stored records are needed: at least one folder that a run wrote, or a report.json; got none")
    rows = [row for comparison in loaded for row in comparison.rows]
    facts = {key: value for comparison in reversed(loaded) for key, value in comparison.facts.items()}
    environment = {key: text for comparison in reversed(loaded) for key, text in comparison.environment.items()}
    return replace(compare(rows, reference=reference or loaded[0].reference, facts=facts), environment=environment)


def saved_title(sources: Iterable[str | Path]) -> str | None:
    """The title of a single stored report."""
    paths = [Path(source) for source in sources]
    if len(paths) != 1:
        return None
    title = read_json(stored_file(paths[0])).get("title")
    return title if isinstance(title, str) else None
