"""Charts: present when there are data, every mark tells its figures, labels do not collide."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stage_records import baseline, evaluation, fpga, missing, mixed

from toolkit.comparison import compare, implementation_from
from toolkit.comparison.charts import charts
from toolkit.comparison.drawing import Chart, svg
from toolkit.comparison.labels import Box, placed

ALL = {
    "accuracy_bits",
    "accuracy_latency",
    "accuracy_lut",
    "accuracy_energy",
    "layers_cycles",
    "layers_lut",
    "layers_dsp",
    "layers_bram",
    "utilization",
    "ranges",
    "bit_loss",
    "confusion",
}


@pytest.fixture(scope="module")
def full() -> dict[str, Chart]:
    return charts(compare(mixed()))


def test_every_chart_is_there_for_a_full_comparison(full: dict[str, Chart]) -> None:
    assert set(full) == ALL


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([missing()], set()),
        ([baseline("keras", 10, 0.9)], {"accuracy_latency", "accuracy_energy", "confusion"}),
        ([implementation_from(evaluation(0.9, "csim"), name="x")], {"confusion"}),
    ],
    ids=["no figures", "baseline", "accuracy only"],
)
def test_charts_without_data_are_left_out(records: list[object], expected: set[str]) -> None:
    assert set(charts(compare(records))) == expected


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_mark_tells_its_figures(name: str, full: dict[str, Chart]) -> None:
    drawn = svg(full[name])
    assert 'role="graphics-symbol"' in drawn
    told = {
        "accuracy_bits": "cnn q6; Weights: 6 bits (counted); Accuracy:",
        "accuracy_latency": "keras float32; Latency: 800 µs (measured, 720 to 960); Accuracy:",
        "accuracy_lut": "cnn q8; LUT: ",
        "accuracy_energy": "cnn q8; Energy: 40 µJ (model, 32 to 50)",
        "layers_cycles": "cnn q8; conv0; busy: 6,000 cycles (model)",
        "layers_lut": "cnn q8; conv1; LUT: 4,010 (model",
        "layers_dsp": "cnn q8; conv1; DSP: 8 (model",
        "layers_bram": "cnn q8; conv3; BRAM: 3 18 Kb (model)",
        "utilization": "cnn q8; LUT: ",
        "ranges": "relu1; ap_ufixed",
        "bit_loss": "cnn q4; conv1; ap_fixed<8,2",
        "confusion": "0 taken for 0; ",
    }
    assert told[name] in drawn.replace("&lt;", "<")


def test_many_designs_keep_to_a_few_bars() -> None:
    rows = [fpga(2 + index % 7, 0.5 + index / 300, f"design {index}") for index in range(60)]
    drawn = charts(compare(rows))
    assert "Shown: 14 of 60 designs" in drawn["layers_lut"].caption


anchors = st.lists(st.tuples(st.floats(0, 500), st.floats(0, 300)), max_size=25)


@given(anchors)
def test_labels_stay_inside_and_overlap_nothing(points: list[tuple[float, float]]) -> None:
    taken = [Box(x - 6, y - 6, 12, 12) for x, y in points]
    boxes = [box for box in placed(points, ["a label"] * len(points), taken, (500, 300)) if box]
    for index, box in enumerate(boxes):
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= 500
        assert box.y + box.height <= 300
        assert all(box.overlap(other) <= 4 for other in [*taken, *boxes[:index]])


def test_a_label_crosses_a_line_only_where_it_must() -> None:
    point, room = (50.0, 50.0), (300.0, 100.0)
    beside = Box(0, 49, 300, 2)
    (box,) = placed([point], ["a label"], [], room, [beside])
    assert box is not None
    assert box.overlap(beside) == 0
    (crossing,) = placed([point], ["a label"], [], room, [Box(0, 0, 300, 100)])
    assert crossing is not None
