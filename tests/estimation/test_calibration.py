"""Calibration and validation on a folder made here: what is fitted, left out, kept and told."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_graphs import small_cnn

from toolkit.config import EstimateConfig, HlsConfig
from toolkit.errors import DataError, ReportError, ToolNotFound
from toolkit.estimation import add_reports, calibrate, estimate, load_calibration, save_calibration, validate
from toolkit.estimation.area import area_of
from toolkit.estimation.calibration import PRIORS, SHIPPED, nearest_residual, ratio_bounds, sample_of
from toolkit.estimation.cycles import Clock, cycles_of
from toolkit.estimation.rows import read_rows
from toolkit.estimation.stages import stages_of
from toolkit.hls.network import network_of
from toolkit.hls.reports import CsynthReport, ModuleReport
from toolkit.records import HlsProject

LAYER = {
    "role": "layer",
    "source": "here",
    "redistributable": "yes",
    "tool": "vitis_hls",
    "tool_version": "2023.2",
    "part": "xczu9eg-ffvb1156-2-e",
    "clock_period_ns": "5",
    "layer_kind": "dense",
    "input_precision": "ap_fixed<16,6>",
    "accum_precision": "ap_fixed<16,6>",
    "output_precision": "ap_fixed<16,6>",
    "status": "ok",
}
COLUMNS = (
    *LAYER,
    *("id", "design_id", "io_type", "strategy", "reuse_factor", "layer_name", "n_in", "n_out", "in_height", "in_width"),
    *("in_chan", "n_filt", "out_height", "out_width", "kernel_h", "kernel_w", "weight_precision", "weights_file"),
    *("latency_min_cycles", "latency_max_cycles", "ii_min", "ii_max", "bram_18k", "dsp", "ff", "lut", "uram", "notes"),
)
ADDER_LUT = 21.0  # what the made-up tool charges for an adder


def write_folder(folder: Path, networks: int = 8) -> Path:
    """Latency layers whose LUTs are 21 an adder and 5 a DSP, Resource layers that follow the published rules."""
    random = np.random.default_rng(0)
    (folder / "weights").mkdir(parents=True)
    layers, designs = [], []
    for index in range(networks):
        n_in, n_out = 8 + 4 * index, 6 + 2 * (index % 3)
        kernel = random.integers(-2000, 2000, (n_in, n_out))
        np.savez(folder / f"weights/{index}.npz", kernel=kernel, kernel_frac_bits=10)
        designs.append({"id": f"d{index}", "model": f"net{index}", "layers": "dense:dense"})
        for strategy, factor in (("latency", 1), ("resource", n_in)):
            layers.append(row(index, kernel, strategy, factor))
    write_csv(folder / "layers.csv", COLUMNS, layers)
    write_csv(folder / "designs.csv", ("id", "model", "layers", "latency_max_cycles", "ii_max"), designs)
    return folder


def row(index: int, kernel: np.ndarray, strategy: str, factor: int) -> dict[str, object]:
    n_in, n_out = kernel.shape
    base = {
        **LAYER,
        "id": f"d{index}_{strategy}",
        "design_id": f"d{index}",
        "io_type": "io_parallel",
        "strategy": strategy,
        "reuse_factor": factor,
        "layer_name": "dense",
        "n_in": n_in,
        "n_out": n_out,
        "weight_precision": "ap_fixed<12,2>",
        "weights_file": f"weights/{index}.npz",
        "uram": 0,
    }
    adders = int(np.maximum(np.count_nonzero(kernel, axis=0) - 1, 0).sum())
    if strategy == "resource":
        figures = {
            "dsp": n_out,
            "lut": 300 * n_out,
            "ff": 20 * n_out,
            "latency_max_cycles": factor + 1,
            "ii_max": factor,
        }
    else:
        figures = {
            "dsp": n_in * n_out,
            "lut": ADDER_LUT * adders,
            "ff": 30 * n_out,
            "latency_max_cycles": 2,
            "ii_max": 1,
        }
    return base | figures | {"latency_min_cycles": 1, "ii_min": 1, "bram_18k": 0}


def write_csv(path: Path, columns: tuple[str, ...], rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("synthesis"))


def test_rows_become_stages(folder: Path) -> None:
    rows = read_rows(folder)
    assert len(rows) == 16
    first = rows[0]
    assert (first.network, str(first.tool), first.family) == ("net0", "vitis_hls 2023.2", "ultrascale+")
    assert first.stage.facts is not None and first.stage.facts.n_in == first.stage.n_in == 8
    assert first.stage.outer and first.measured["lut"] > 0


def test_a_refit_learns_what_the_reports_charge(folder: Path, tmp_path: Path) -> None:
    fitted = calibrate(folder, name="mine")
    latency = [sample_of(one) for one in read_rows(folder) if one.stage.strategy == "latency"]
    scores = validate(folder)
    found = scores.find("dense latency parallel", "lut")
    assert found is not None and found.error < 0.1 and found.networks == len(latency)
    save_calibration(fitted, tmp_path / "mine.json")
    again = load_calibration(tmp_path / "mine.json")
    assert again.coefficients == fitted.coefficients and again.residuals == fitted.residuals
    config = EstimateConfig(calibration=tmp_path / "mine.json", tool="vitis_hls 2023.2")
    one = estimate(small_cnn(), config, hls=HlsConfig(part="xczu9eg-ffvb1156-2-e"))
    assert "mine calibration" in (one.lut.note or "")


def test_a_calibration_is_reproducible(folder: Path) -> None:
    assert calibrate(folder).digest == calibrate(folder).digest


def test_a_refit_on_another_calibration_keeps_what_it_has_no_rows_of(folder: Path) -> None:
    shipped = load_calibration()
    mine = calibrate(folder, base=shipped)
    assert mine.coefficients["vitis/7series"] == shipped.coefficients["vitis/7series"]
    assert mine.coefficients["vitis/ultrascale+"] != shipped.coefficients["vitis/ultrascale+"]
    pooled = "pool stream|any|lut"
    assert mine.residuals[pooled] == shipped.residuals[pooled]
    assert mine.residuals["dense latency parallel|vitis/ultrascale+|lut"].networks == 8
    assert shipped.digest in mine.label and mine.digest != shipped.digest


def test_provenance_names_rows_sources_and_licences(folder: Path) -> None:
    told = calibrate(folder).provenance["kernel_constant|vitis/ultrascale+"]
    assert told["rows"] == 8 and told["networks"] == 8
    assert told["sources"] == ["here"] and told["redistributable"] == "all" and told["tools"] == ["vitis_hls 2023.2"]


def test_a_given_calibration_is_tested_as_it_is(folder: Path) -> None:
    shipped = validate(folder, load_calibration())
    assert "nothing refitted" in shipped.method
    text = shipped.to_text()
    assert "dense latency parallel" in text and "hls4ml" in text and "rows of 8 networks" in text


def test_missed_targets_are_told_with_the_figure_reached(folder: Path) -> None:
    told = validate(folder, load_calibration())
    missed = [score for score in told.scores if score.met is False]
    assert len([note for note in told.notes if note.startswith("not reached")]) == len(missed)


def test_hls4mls_own_formulas_stand_beside(folder: Path) -> None:
    theirs = validate(folder).find("dense resource parallel", "dsp", "hls4ml")
    assert theirs is not None and theirs.exact == 1.0


def test_rule4ml_is_asked_for_by_name_only(folder: Path) -> None:
    with pytest.raises(ToolNotFound, match="rule4ml"):
        validate(folder, load_calibration(), rule4ml=True)


def test_a_folder_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"layers\.csv and designs\.csv"):
        calibrate(tmp_path)


def test_a_foreign_file_is_no_calibration(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"schema": 99}')
    with pytest.raises(DataError, match="schema 2"):
        load_calibration(tmp_path / "x.json")


def test_the_shipped_calibration_is_whole_and_says_where_it_comes_from() -> None:
    shipped = load_calibration()
    assert set(shipped.coefficients) >= {"any", "vivado/ultrascale+", "vitis/ultrascale+", "vitis/7series"}
    for quantity, groups in PRIORS.items():
        assert set(shipped.coefficients["any"][quantity]) == set(groups)
    dense = shipped.provenance["kernel_resource|vivado/ultrascale+"]
    assert "github.com/Dendendelen/wa-hls4ml-search" in dense["sources"] and dense["rows"] > 700
    assert all(told["redistributable"] for told in shipped.provenance.values())
    content = json.loads(SHIPPED.read_text())
    assert "weights" not in content and len(SHIPPED.read_text()) < 200_000


@pytest.mark.parametrize(
    ("kind", "quantity", "exact"),
    [
        ("dense resource parallel", "dsp", 0.98),
        ("dense latency parallel", "dsp", 0.95),
        ("dense resource parallel", "latency_cycles", 0.95),
        ("dense resource parallel", "interval_cycles", 0.95),
    ],
)
def test_shipped_residuals_reach_the_targets_of_exact_quantities(kind: str, quantity: str, exact: float) -> None:
    residual = nearest_residual(load_calibration(), kind, "any", quantity)
    assert residual is not None and residual.exact >= exact


@pytest.mark.parametrize(
    ("kind", "quantity", "error"),
    [
        ("dense resource parallel", "lut", 0.12),
        ("dense resource parallel", "ff", 0.15),
        ("dense latency parallel", "lut", 0.08),
    ],
)
def test_shipped_residuals_reach_the_targets_of_fitted_quantities(kind: str, quantity: str, error: float) -> None:
    residual = nearest_residual(load_calibration(), kind, "vivado/ultrascale+", quantity)
    assert residual is not None and residual.error <= error and residual.low <= 1 <= residual.high


def test_a_users_reports_become_rows_that_mean_the_same_stages(tmp_path: Path) -> None:
    config = HlsConfig(io_type="io_stream", strategy="Resource", part="xczu9eg-ffvb1156-2-e", clock_period_ns=5.0)
    plain = small_cnn(strategy="resource", reuse_factor=6)
    numbered = [replace(one, attributes={**one.attributes, "index": at}) for at, one in enumerate(plain.layers)]
    project = HlsProject(tmp_path / "mine", "0123456789", config, replace(plain, layers=tuple(numbered)), "myproject")
    modules = [
        ModuleReport("dense_resource_config1_s", 8, 9, 6, 6, 2, 3, 500, 900, 0),  # the kernel inside the first
        ModuleReport("conv_2d_cl_array_config1_s", 65, 900, 65, 900, 2, 3, 900, 1900, 0),
        ModuleReport("relu_array_relu_config2_s", 66, 66, 66, 66, 0, 0, 70, 300, 0),
        ModuleReport("dense_array_config5_s", 80, 81, 80, 81, 1, 5, 1500, 2500, 0),
    ]
    top = ModuleReport("myproject", 1000, 1000, 900, 900, 9, 8, 4000, 6000, 0)
    csynth = CsynthReport("2023.2", config.part, 5.0, 1.35, top, modules=tuple(modules))
    folder = tmp_path / "mine_rows"
    assert add_reports(project, csynth, folder) == add_reports(project, csynth, folder) == 3
    rows = {row.stage.name: row for row in read_rows(folder)}
    assert set(rows) == {"conv", "relu", "dense"}  # once, although added twice
    assert rows["conv"].measured["lut"] == 1900 and rows["dense"].network == "mine_01234567"
    clock = Clock(5.0, rows["conv"].tool, "ultrascale+", 1.35, config.part)
    for stage in stages_of(network_of(project), config):
        if stage.name in rows:
            same = rows[stage.name].stage
            assert cycles_of(same, clock) == cycles_of(stage, clock)
            assert area_of(same, clock) == area_of(stage, clock)
    assert "dense resource stream" in validate(folder, load_calibration()).to_text()
    assert calibrate(folder).provenance["kernel_resource|any"]["sources"] == ["own"]


def test_a_report_of_another_project_is_refused(tmp_path: Path) -> None:
    project = HlsProject(tmp_path, "0123456789", HlsConfig(), small_cnn(), "myproject")
    top = ModuleReport("other", 1, 1, 1, 1, 0, 0, 1, 1, 0)
    with pytest.raises(ReportError, match="no module of a layer"):
        add_reports(project, CsynthReport("2023.2", "x", 5.0, None, top), tmp_path)


def test_intervals_of_few_networks_are_predictions_and_of_many_quantiles() -> None:
    few, many = np.array([1.0, 1.3]), np.repeat(np.linspace(0.9, 1.1, 41), 2)
    low, high = ratio_bounds(few, np.array(["a", "b"]), "lut")
    assert low < 0.7 and high > 1.45 and low * high == pytest.approx(1)
    assert ratio_bounds(few, np.array(["a", "a"]), "lut")[1] > high * 0.9  # one network says less than two
    low, high = ratio_bounds(many, np.repeat(np.arange(41), 2).astype(str), "lut")
    assert (low, high) == (pytest.approx(0.91), pytest.approx(1.09))
    assert ratio_bounds(np.ones(3), np.array(["a", "b", "c"]), "dsp")[1] < 1.05
