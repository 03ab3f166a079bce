"""Records show themselves in a notebook: the tables of the report, charts as Altair objects."""

from __future__ import annotations

from typing import Any

import altair
import numpy as np
import pytest
from stage_records import check, estimate, mixed

from toolkit.comparison import Comparison, compare
from toolkit.data import Dataset
from toolkit.errors import ConfigError


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare(mixed())


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (estimate(4), ["latency_us", "conv0", "model"]),
        (check(4, equal=False), ["conv1", "widen it"]),
        (Dataset.from_arrays(x=np.eye(10), y=np.arange(10) % 2, origin="<b>"), ["&lt;b&gt;", "Accuracy", "[10]"]),
    ],
    ids=["estimate", "check", "dataset"],
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
