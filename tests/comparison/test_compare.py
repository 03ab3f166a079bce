"""Mixed records to rows: what is joined, what is refused, fronts, ratios, frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stage_records import CLASSES, baseline, check, estimate, evaluation, fpga, missing, mixed

from toolkit.comparison import compare, implementation_from, judge
from toolkit.comparison.compare import dominates, pareto
from toolkit.config import HlsConfig
from toolkit.data import Dataset
from toolkit.errors import ComparisonError, ConfigError
from toolkit.hls.reports import CsynthReport, ModuleReport, UtilizationReport, VendorReports
from toolkit.records import Figure, Graph, HlsProject, Implementation, Layer, Tensor, Weight


def project(name: str) -> HlsProject:
    kernel = Weight("w2", np.array([[0.5, -0.25], [0.0, 0.25 if name == "b" else 0.75]]), "ap_fixed<4,1>")
    relu = {"activation": "relu"}
    layers = (
        Layer("input1", "Input", (), ("x",), (2,), {"result_t": "ap_fixed<8,1>"}, {}, {}),
        Layer("dense", "Dense", ("x",), ("y",), (2,), {"result_t": "ap_fixed<12,4>"}, {}, {"weight": kernel}),
        Layer("act", "Activation", ("y",), ("z",), (2,), {"result_t": "ap_fixed<6,2>"}, relu, {}),
    )  # fmt: skip
    tensors = {layer.outputs[0]: Tensor(layer.outputs[0], (2,), layer.types["result_t"]) for layer in layers}
    graph = Graph(layers, tensors, ("x",), ("z",), f"graph-{name}")
    return HlsProject(Path(name), f"project-{name}", HlsConfig(), graph, "top")


class CsimStub:
    """A live library: knows its project and answers."""

    def __init__(self, of: HlsProject) -> None:
        self.project = of

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.eye(10, dtype=np.float32)[np.arange(len(x)) % 10]


class EmulatorStub:
    """A live emulator: knows only the graph."""

    def __init__(self, of: HlsProject) -> None:
        self.graph = of.graph

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.eye(10, dtype=np.float32)[np.arange(len(x)) % 10]


def digits(count: int = 40) -> Dataset:
    x = np.zeros((count, 4, 4, 1), np.uint8)
    y = np.arange(count) % 10
    return Dataset("digits", x, y, x, y, x, y, CLASSES, "whole", "test", "generated")


class TestJoining:
    def test_records_of_one_project_make_one_row(self) -> None:
        one, two = project("a"), project("b")
        rows = compare(
            [CsimStub(one), CsimStub(two), estimate(8, digest="project-b"), estimate(4, digest="project-a")]
        ).rows
        assert [row.name for row in rows] == ["a", "b"]
        assert [row.figures["latency_us"].value for row in rows] == [40, 80]

    def test_an_emulator_joins_its_project_by_the_graph(self) -> None:
        one, two = project("a"), project("b")
        rows = compare(
            [one, two, EmulatorStub(two), EmulatorStub(one)], dataset=digits(), float_model=np.eye(40, 10)
        ).rows
        assert len(rows) == 2
        assert {row.figures["accuracy"].source for row in rows} == {"emulation"}

    def test_an_estimate_without_digest_joins_the_only_design(self) -> None:
        (row,) = compare([project("a"), estimate(8), check(8)]).rows
        assert row.facts["csim_against_qkeras"].startswith("equal to qkeras")
        assert row.facts["strategy"] == "Latency"

    def test_an_estimate_that_could_belong_to_two_designs_is_refused(self) -> None:
        with pytest.raises(ComparisonError, match="list of their own"):
            compare([project("a"), project("b"), estimate(8)])

    def test_a_list_inside_the_list_says_what_belongs_together(self) -> None:
        rows = compare([[project("a"), estimate(8)], [project("b"), estimate(4)]]).rows
        assert [row.figures["latency_us"].value for row in rows] == [80, 40]

    def test_a_mapping_names_its_rows(self) -> None:
        comparison = compare({"small": [project("a"), estimate(2)], "float": baseline("keras", 10, 0.9)})
        assert [row.name for row in comparison.rows] == ["small", "float"]

    def test_records_of_two_projects_in_one_row_are_refused(self) -> None:
        with pytest.raises(ComparisonError, match="one project"):
            implementation_from(project("a"), estimate(8, digest="project-b"))

    def test_equal_names_are_told_apart(self) -> None:
        rows = compare([fpga(8, 0.9, "cnn"), fpga(6, 0.9, "cnn")]).rows
        assert [row.name for row in rows] == ["cnn", "cnn (2)"]

    def test_what_is_no_record_is_refused_by_type(self) -> None:
        with pytest.raises(ComparisonError, match="got dict"):
            compare([[{"accuracy": 1}]])


class TestFigures:
    def test_counted_from_the_graph(self) -> None:
        figures = compare([project("a")]).rows[0].figures
        assert figures["parameters"].value == 4
        assert figures["macs"].value == 4
        assert figures["weight_bytes"].value == 2
        assert figures["weight_bits"].value == 4
        assert figures["activation_bits"].value == 6
        assert {figures[key].source for key in ("parameters", "macs", "weight_bits")} == {"counted"}

    def test_a_better_source_stands_and_the_other_is_kept(self) -> None:
        measured = Implementation("x", "fpga", {"lut": Figure(900, "LUT", "csynth")})
        row = implementation_from(estimate(8), measured)
        assert row.figures["lut"].source == "csynth"
        assert row.figures["lut_model"].source == "model"

    def test_reports_of_a_vendor_take_the_place_of_estimates(self) -> None:
        module = ModuleReport("top", latency_max=500, interval_max=400, lut=1000, dsp=3)
        csynth = CsynthReport("Vitis HLS 2023.2", "part", 5.0, None, module, {"lut": 50_000})
        placed = UtilizationReport("Routed", "part", "Vivado 2023.2", lut=600, ff=1, bram_18k=2, dsp=3, uram=0)
        row = implementation_from(estimate(8), VendorReports(csynth=csynth, utilization=placed))
        assert (row.figures["latency_us"].value, row.figures["latency_us"].source) == (2.5, "csynth")
        assert (row.figures["lut"].value, row.figures["lut"].source) == (600, "vsynth")
        assert row.figures["lut_csynth"].value == 1000
        assert row.figures["lut_percent"].value == 2
        assert row.figures["energy_uj"].source == "model"

    def test_whole_test_split_goes_before_a_better_engine(self) -> None:
        row = implementation_from(evaluation(0.9, "csim", images=50), evaluation(0.8, "emulation"))
        assert row.figures["accuracy"].source == "emulation"
        assert row.figures["accuracy_csim"].note.startswith("first 50 of 400")

    def test_csim_goes_before_the_emulator_on_the_same_images(self) -> None:
        row = implementation_from(evaluation(0.9, "emulation"), evaluation(0.9, "csim"))
        assert row.figures["accuracy"].source == "csim"

    def test_percent_becomes_a_fraction(self) -> None:
        row = implementation_from(Implementation("x", "model", {"accuracy": Figure(97, "%", "measured")}))
        assert row.figures["accuracy"].value == pytest.approx(0.97)

    def test_judge_counts_right_answers(self) -> None:
        judged = judge(CsimStub(project("a")), digits(), count=30, float_model=np.eye(10)[np.arange(40) % 10])
        assert (judged.images, judged.images_total) == (30, 40)
        assert judged.figures["accuracy"].value == judged.figures["agreement"].value == 1
        assert judged.figures["accuracy"].source == "csim"

    def test_the_compiler_of_csim_is_part_of_the_environment(self, tmp_path: Path) -> None:
        (tmp_path / "build.json").write_text('{"compiler": "g++ 12.2"}')
        library = CsimStub(project("a"))
        library.artifact = tmp_path  # type: ignore[attr-defined]
        assert judge(library, digits()).environment == {"csim_compiler": "g++ 12.2"}

    def test_csim_is_run_on_the_count_and_the_emulator_on_all(self) -> None:
        one = project("a")
        (row,) = compare([CsimStub(one), EmulatorStub(one)], dataset=digits(), count=10).rows
        assert row.figures["accuracy"].source == "emulation"
        assert row.figures["accuracy_csim"].note.startswith("first 10 of 40")

    def test_the_time_of_a_batch_is_not_that_of_an_image(self) -> None:
        (row,) = compare([replace(baseline("keras", 800, 0.9), batch=16)]).rows
        assert "latency_us" not in row.figures
        assert "throughput_hz" in row.figures

    def test_reuse_factor_and_strategy_are_those_of_the_layers(self) -> None:
        one = project("a")
        dense = one.graph.layers[1]
        layers = [
            replace(dense, name=str(factor), outputs=(made,), attributes={"reuse_factor": factor, "strategy": strategy})
            for factor, strategy, made in ((25, "resource", "y"), (1600, "latency", "z"))
        ]
        mixed_graph = replace(one.graph, layers=(one.graph.layers[0], *layers))
        (row,) = compare([replace(one, graph=mixed_graph)]).rows
        assert row.facts["reuse_factor"] == "25 to 1600"
        assert row.facts["strategy"] == "Latency, Resource"

    def test_whether_an_unknown_part_holds_a_design_is_not_claimed(self) -> None:
        (row,) = compare([replace(estimate(8), utilization={}, fits=None)]).rows
        assert "fits" not in row.facts


class TestRefusals:
    def test_two_test_sets(self) -> None:
        with pytest.raises(ComparisonError, match=r"one test set, got digest test .* and other"):
            compare([baseline("a", 1, 0.9), baseline("b", 1, 0.9, digest="other")])

    def test_two_test_sets_in_one_row(self) -> None:
        with pytest.raises(ComparisonError, match="one test set"):
            implementation_from(evaluation(0.9, "csim"), evaluation(0.9, "emulation", digest="other"))

    def test_unknown_reference_names_the_nearest(self) -> None:
        with pytest.raises(ConfigError, match='did you mean "keras float32"'):
            compare(mixed(), reference="keras flaot32")


class TestReference:
    def test_default_is_the_first_measured_float_baseline(self) -> None:
        assert compare(mixed()).reference == "keras float32"

    def test_ratios(self) -> None:
        comparison = compare(mixed())
        assert comparison.ratio(comparison.row("onnxruntime int8"), "latency_us") == pytest.approx(60 / 800)
        assert comparison.ratio(comparison.row("onnxruntime float16 tensorrt"), "latency_us") is None


points = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12)


class TestPareto:
    @given(points)
    def test_front_is_exactly_what_nothing_dominates(self, values: list[tuple[int, int]]) -> None:
        rows = [
            Implementation(
                str(index), "fpga", {"lut": Figure(lut, "LUT", "model"), "accuracy": Figure(acc, "fraction", "csim")}
            )
            for index, (lut, acc) in enumerate(values)
        ]
        front = pareto(rows, "lut", "accuracy")
        turned = {str(index): (-float(lut), float(acc)) for index, (lut, acc) in enumerate(values)}
        expected = {name for name, one in turned.items() if not any(dominates(other, one) for other in turned.values())}
        assert set(front) == expected
        costs = [values[int(name)][0] for name in front]
        assert costs == sorted(costs)

    def test_rows_without_the_figures_have_no_place(self) -> None:
        comparison = compare(mixed())
        assert "onnxruntime float16 tensorrt" not in comparison.fronts()["latency"]


class TestFrame:
    def test_one_line_per_row_with_sources_and_marks(self) -> None:
        frame = compare(mixed()).to_frame()
        assert list(frame["name"])[:2] == ["keras float32", "onnxruntime int8"]
        line = frame.set_index("name").loc["cnn q6"]
        assert line["lut_source"] == "model"
        assert line["lut_low"] < line["lut"] < line["lut_high"]
        assert bool(line["pareto_lut"])
        assert line["accuracy_ratio"] == pytest.approx(line["accuracy"] / frame["accuracy"][0])

    def test_a_missing_engine_is_a_row_without_figures(self) -> None:
        frame = compare([missing(), baseline("a", 1, 0.9)]).to_frame().set_index("name")
        assert np.isnan(frame.loc[missing().name, "latency_us"])
        assert "needs TensorRT" in frame.loc[missing().name, "missing"]


def test_a_row_keeps_the_records_it_was_made_from() -> None:
    row = fpga(8, 0.9)
    assert {type(part).__name__ for part in row.parts} == {"DesignView", "Evaluation", "CheckResult", "Estimate"}


def test_rows_of_rows_stay_as_they_are() -> None:
    row = fpga(8, 0.9)
    again = compare([row]).rows[0]
    assert again.figures == row.figures
    assert again.parts == row.parts
    assert replace(again, name="x").name == "x"


def test_only_engines_are_run() -> None:
    with pytest.raises(ComparisonError, match="SimpleNamespace"):
        compare([[SimpleNamespace(predict=lambda x: x)]], dataset=digits())
