"""A project on disk: the same bytes, whole or not at all, and noticed when changed."""

from __future__ import annotations

import builtins
from pathlib import Path

import numpy as np
import pytest

from tests.hls.small_models import conv_model, dense_model, inputs_for
from toolkit.config import HlsConfig
from toolkit.errors import ConfigError, DataError, HlsError, StoreError
from toolkit.hls import project as project_module
from toolkit.hls.project import MANIFEST, file_digests, load_project, write_project


def test_same_input_same_bytes(tmp_path: Path) -> None:
    model = conv_model()
    images = inputs_for(model)
    first = write_project(model, HlsConfig(), tmp_path / "a", inputs=images)
    second = write_project(conv_model(), HlsConfig(), tmp_path / "elsewhere" / "b", inputs=images)
    assert first.digest == second.digest
    assert file_digests(first.path) == file_digests(second.path)
    assert (first.path / MANIFEST).read_bytes() == (second.path / MANIFEST).read_bytes()


def test_no_path_of_this_machine_is_written(tmp_path: Path) -> None:
    project = write_project(dense_model(), HlsConfig(), tmp_path / "p")
    for item in project.path.rglob("*"):
        if item.is_file() and item.suffix in (".yml", ".json", ".tcl", ".sh", ".cpp", ".h"):
            assert str(tmp_path) not in item.read_text(errors="replace"), item


def test_reading_back(tmp_path: Path) -> None:
    config = HlsConfig(strategy="Resource", reuse_factor=3, invalid_reuse_factor="nearest")
    written = write_project(conv_model(), config, tmp_path / "p")
    project = load_project(tmp_path / "p")
    assert (project.digest, project.config, project.notes) == (written.digest, config, written.notes)
    assert [layer.name for layer in project.layers] == ["image", "conv", "conv_relu", "pool", "flatten", "logits"]


def test_a_moved_project_is_the_same(tmp_path: Path) -> None:
    written = write_project(dense_model(), HlsConfig(), tmp_path / "p")
    (tmp_path / "p").rename(tmp_path / "q")
    assert load_project(tmp_path / "q").digest == written.digest


def test_vectors_read_back_to_the_same_floats(tmp_path: Path) -> None:
    model = dense_model()
    inputs = inputs_for(model)
    project = write_project(model, HlsConfig(test_vectors=5), tmp_path / "p", inputs=inputs)
    features = np.loadtxt(project.path / "tb_data" / "tb_input_features.dat", dtype=np.float32)
    answers = np.loadtxt(project.path / "tb_data" / "tb_output_predictions.dat", dtype=np.float32)
    np.testing.assert_array_equal(features, inputs[:5])
    np.testing.assert_array_equal(answers, model.predict(inputs[:5], verbose=0))


def test_a_changed_file_is_named(tmp_path: Path) -> None:
    project = write_project(dense_model(), HlsConfig(), tmp_path / "p")
    source = project.path / "firmware" / "myproject.cpp"
    source.write_text(source.read_text() + "\n")
    with pytest.raises(HlsError, match=r"changed since it was written: firmware/myproject.cpp"):
        load_project(project.path)


def test_a_folder_that_is_no_project(tmp_path: Path) -> None:
    with pytest.raises(HlsError, match=r"no manifest\.json"):
        load_project(tmp_path)


def test_foreign_files_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(HlsError, match=r"holds files that are no HLS project \(thesis.tex\)"):
        write_project(dense_model(), HlsConfig(), tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_design_file_and_goldens_survive(tmp_path: Path) -> None:
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "vectors.npz").write_bytes(b"kept")
    (tmp_path / "design.toml").write_text("name = 'x'")
    for _ in range(2):
        write_project(dense_model(), HlsConfig(), tmp_path)
        assert (tmp_path / "golden" / "vectors.npz").read_bytes() == b"kept"
        assert (tmp_path / "design.toml").read_text() == "name = 'x'"


def test_a_failure_leaves_the_old_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = write_project(dense_model(), HlsConfig(), tmp_path / "p")

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(project_module, "save_graph", full)
    with pytest.raises(StoreError, match="No space left"):
        write_project(conv_model(), HlsConfig(), tmp_path / "p")
    assert load_project(tmp_path / "p").digest == old.digest
    assert [item.name for item in tmp_path.iterdir()] == ["p"], "nothing half-written beside it"


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(project_module, "save_graph", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_project(dense_model(), HlsConfig(), tmp_path / "p")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", ["", "zynq", "xc7z020 clg400", "../etc"])
def test_a_part_no_fpga_has(tmp_path: Path, part: str) -> None:
    with pytest.raises(ConfigError, match="AMD part number"):
        write_project(dense_model(), HlsConfig(part=part), tmp_path / "p")


def test_a_clock_no_fpga_has(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="clock_period_ns must be at least"):
        write_project(dense_model(), HlsConfig(clock_period_ns=0.1), tmp_path / "p")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.zeros((4, 5), np.float32), r"must have shape \[n, 4\], got \[4, 5\]"),
        (np.full((2, 4), np.nan, np.float32), "finite"),
        ([np.zeros((2, 4)), np.zeros((2, 4))], "must be 1 array"),
        (np.array([["a", "b", "c", "d"]]), "must be numbers"),
    ],
)
def test_wrong_inputs(tmp_path: Path, inputs: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_project(dense_model(), HlsConfig(), tmp_path / "p", inputs=inputs)
    assert not (tmp_path / "p").exists()


def test_reading_a_project_needs_no_tensorflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = write_project(dense_model(), HlsConfig(), tmp_path / "p")
    real = builtins.__import__

    def guarded(name: str, *arguments: object, **keywords: object) -> object:
        assert name.split(".")[0] not in ("tensorflow", "keras", "hls4ml", "qkeras"), name
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", guarded)
    load_project(project.path)


def test_a_keras_file_goes_in(tmp_path: Path) -> None:
    model = dense_model()
    model.save(tmp_path / "model.keras")
    live = write_project(model, HlsConfig(), tmp_path / "live")
    assert write_project(tmp_path / "model.keras", HlsConfig(), tmp_path / "file").digest == live.digest


def test_fifo_depths_reach_the_sources(tmp_path: Path) -> None:
    model = conv_model()
    plain = write_project(model, HlsConfig(), tmp_path / "plain")
    shallow = write_project(model, HlsConfig(fifo_depths={"pool": 3}), tmp_path / "shallow")
    variable = shallow.graph.layers[3].attributes["cpp_variables"]["pool"]["name"]
    lines = (shallow.path / "firmware" / "myproject.cpp").read_text().splitlines()
    assert f"    #pragma HLS STREAM variable={variable} depth=3" in lines
    depths, default = ({t.name: t.fifo_depth for t in p.graph.tensors.values()} for p in (shallow, plain))
    assert depths == {**default, "pool": 3} != default
    assert load_project(shallow.path).config.fifo_depths == {"pool": 3}


@pytest.mark.parametrize(
    ("io_type", "name", "message"),
    [
        ("io_stream", "poool", 'no FIFO is named "poool" (did you mean "pool"?)'),
        ("io_stream", "logits", 'no FIFO is named "logits"; FIFOs are conv, '),
        ("io_parallel", "pool", "io_parallel has none"),
    ],
)
def test_a_fifo_that_is_not_there(tmp_path: Path, io_type: str, name: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        write_project(conv_model(), HlsConfig(io_type=io_type, fifo_depths={name: 3}), tmp_path / "p")
    assert message in str(error.value)
