"""Records show themselves in a notebook: the tables of the report, charts as Altair objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import altair
import numpy as np
import pytest
from stage_records import check, estimate, mixed

from toolkit.comparison import Comparison, compare
from toolkit.config import HlsConfig
from toolkit.data import Dataset
from toolkit.errors import ConfigError
from toolkit.exploration import SweepResult
from toolkit.exploration.points import PointRecord
from toolkit.exploration.space import Point
from toolkit.records import Figure, Graph, HlsProject, Layer, TrainRecord


def trained() -> TrainRecord:
    """What a training of a regression returns."""
    figures = {"rmse": Figure(0.25, "GeV", "measured", 0.2, 0.3), "r2": Figure(0.9, "", "measured")}
    about: dict[str, Any] = {"model": None, "path": None, "history": {}, "seed": 0, "digest": "d", "test_digest": "t"}
    return TrainRecord(name="<energy>", figures=figures, seconds=Figure(2.5, "s", "measured"), **about)


def project() -> HlsProject:
    """A project of one layer."""
    dense = Layer("dense1", "Dense", ("x",), ("y",), (5,), {"result_t": "ap_fixed<12,4>"}, {}, {})
    return HlsProject(Path("written"), "0123abcd", HlsConfig(), Graph((dense,), {}, ("x",), ("y",), "g"), "top")


def explored() -> SweepResult:
    """A sweep of two points, one of which is too wrong."""
    points = [
        PointRecord(
            Point({"quantization.weight_bits": bits}, {}, f"{bits} bits", 10, "test"),
            "complete",
            {"lut": Figure(100.0 * bits, "", "model"), "rmse": Figure(1 / bits, "GeV", "emulation")},
            number=number,
        )
        for number, bits in enumerate((3, 8))
    ]
    return SweepResult("energy", "energy-1", "book.db", ("lut",), ("rmse <= 0.2",), tuple(points))


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare(mixed())


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (estimate(4), ["latency_us", "conv0", "model"]),
        (check(4, equal=False), ["conv1", "widen it"]),
        (Dataset.from_arrays(x=np.eye(10), y=np.arange(10) % 2, origin="<b>"), ["&lt;b&gt;", "Accuracy", "[10]"]),
        (trained(), ["&lt;energy&gt;", "rmse", "0.2 to 0.3", "GeV", "2.5"]),
        (project(), ["written", "0123abcd", "dense1", "Dense", "[5]", HlsConfig().part]),
        (explored(), ["sweep energy", "lut (model)", "weight_bits", "800", "Pareto", "not rmse &lt;= 0.2"]),
    ],
    ids=["estimate", "check", "dataset", "training", "project", "sweep"],
)
def test_records_are_tables(record: Any, words: list[str]) -> None:
    shown = record._repr_html_()
    assert shown.startswith("<table>") and all(word in shown for word in words), shown


def test_a_comparison_is_its_table(comparison: Comparison) -> None:
    shown = comparison._repr_html_()
    assert "Accuracy (%)" in shown and "cnn q8" in shown and "csim" in shown


def test_any_two_figures_are_a_chart(comparison: Comparison) -> None:
    chart = comparison.chart("accuracy", "latency_us")
    assert isinstance(chart, altair.TopLevelMixin) and "cnn q4" in chart.to_json()
    with pytest.raises(ConfigError, match='did you mean "latency_us"'):
        comparison.chart("accuracy", "latency")


def test_a_notebook_shows_a_record() -> None:
    import nbformat
    from nbclient import NotebookClient

    code = "import numpy as np\nimport toolkit as tk\ntk.Dataset.from_arrays(x=np.eye(10), y=np.arange(10) % 2)"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    (shown,) = (output for output in notebook.cells[0].outputs if output.output_type == "execute_result")
    assert "<table>" in shown["data"]["text/html"]
