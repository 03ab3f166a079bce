"""csim: compiled once, the same bits however it is run, and clear words when it cannot be."""

from __future__ import annotations

import ctypes
import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.hls.small_models import conv_model, inputs_for
from toolkit.config import HlsConfig
from toolkit.errors import DataError, ProcessError, ToolNotFound
from toolkit.hls import csim
from toolkit.hls.csim import build_csim
from toolkit.hls.project import load_project, write_project
from toolkit.hls.testbench import run_testbench
from toolkit.process import run
from toolkit.records import HlsProject

pytestmark = pytest.mark.csim

MODEL = conv_model()
IMAGES = inputs_for(MODEL, 40)


@pytest.fixture(scope="module", params=["io_stream", "io_parallel"])
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> HlsProject:
    config = HlsConfig(io_type=request.param, strategy="Resource", reuse_factor=3)
    return write_project(MODEL, config, tmp_path_factory.mktemp("csim") / "p", inputs=IMAGES)


def test_equals_qkeras(project: HlsProject) -> None:
    np.testing.assert_array_equal(build_csim(project).predict(IMAGES), MODEL.predict(IMAGES, verbose=0))


def test_equals_hls4mls_own_build(project: HlsProject, tmp_path: Path) -> None:
    """Bridge and build script as generated, called one image at a time as ``ModelGraph.predict`` does."""
    copy = tmp_path / "p"
    shutil.copytree(project.path, copy)
    run(["bash", "build_lib.sh"], cwd=copy, timeout_s=600)
    library = ctypes.CDLL(str(next((copy / "firmware").glob("*.so"))))
    expected = np.zeros((8, 3), np.float32)
    for image, answer in zip(IMAGES, expected, strict=False):
        library.myproject_float(ctypes.c_void_p(image.ctypes.data), ctypes.c_void_p(answer.ctypes.data))
    np.testing.assert_array_equal(build_csim(project).predict(IMAGES[:8]), expected)


def test_workers_and_order_do_not_change_a_bit(project: HlsProject) -> None:
    library = build_csim(project)
    expected = library.predict(IMAGES, jobs=1)
    np.testing.assert_array_equal(library.predict(IMAGES, jobs=3), expected)
    np.testing.assert_array_equal(library.predict(IMAGES[::-1])[::-1], expected)
    np.testing.assert_array_equal(library.predict(IMAGES[5:6]), expected[5:6])


def test_test_bench_equals_predict(project: HlsProject) -> None:
    before = sorted(item.name for item in (project.path / "tb_data").iterdir())
    np.testing.assert_array_equal(run_testbench(project), build_csim(project).predict(IMAGES[:16]))
    assert sorted(item.name for item in (project.path / "tb_data").iterdir()) == before


def test_trace_gives_every_layer(project: HlsProject) -> None:
    library = build_csim(project)
    traced = library.trace(IMAGES[:5])
    assert list(traced) == [layer.name for layer in project.layers]
    assert {name: values.shape[1:] for name, values in traced.items()} == {
        layer.name: layer.shape for layer in project.layers
    }
    np.testing.assert_array_equal(traced["logits"], library.predict(IMAGES[:5]))
    np.testing.assert_array_equal(traced["image"], np.minimum(np.round(IMAGES[:5] * 256), 255) / 256)


def test_second_build_is_the_first(project: HlsProject, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build_csim(project)
    monkeypatch.setattr(csim, "compile_project", None)
    assert build_csim(load_project(project.path)).artifact == first.artifact


def test_moving_the_project_and_the_store_breaks_nothing(project: HlsProject, tmp_path: Path) -> None:
    expected = build_csim(project).predict(IMAGES[:4])
    shutil.copytree(project.path, tmp_path / "moved")
    moved = load_project(tmp_path / "moved")
    np.testing.assert_array_equal(build_csim(moved).predict(IMAGES[:4]), expected)
    shutil.copytree(build_csim(project).artifact, tmp_path / "artifact")
    elsewhere = csim.CsimLibrary(moved, tmp_path / "artifact")
    np.testing.assert_array_equal(elsewhere.predict(IMAGES[:4]), expected)


def test_progress_counts_images(project: HlsProject) -> None:
    seen: list[tuple[int, int]] = []
    build_csim(project).predict(IMAGES, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (40, 40)


def test_no_image_at_all(project: HlsProject) -> None:
    assert build_csim(project).predict(IMAGES[:0]).shape == (0, 3)


@pytest.mark.parametrize("shape", [(4, 6, 6), (4, 5, 6, 2), (6, 6, 2)])
def test_wrong_shapes_are_refused(project: HlsProject, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"\[n, 6, 6, 2\]"):
        build_csim(project).predict(np.zeros(shape, np.float32))


def test_a_missing_compiler_is_named(project: HlsProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_GXX", "/nowhere/g++")
    with pytest.raises(ToolNotFound, match="TOOLKIT_GXX"):
        build_csim(project)


def test_a_failing_compiler_is_quoted(project: HlsProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "g++"
    compiler.write_text(
        "#!/bin/sh\ncase $1 in --version) echo broken 1.0;; *) echo 'internal compiler error: sneeze'; exit 4;; esac\n"
    )
    compiler.chmod(0o755)
    monkeypatch.setenv("TOOLKIT_GXX", str(compiler))
    monkeypatch.setenv("TOOLKIT_STORE", str(tmp_path / "store"))
    with pytest.raises(ProcessError, match=r"return code 4[\s\S]*internal compiler error: sneeze"):
        build_csim(project)
    left = [item.name for item in (tmp_path / "store").rglob("*") if item.is_file() and item.suffix != ".lock"]
    assert left == [], "no half-written artifact"


def build_there(path: str, store: str, answers: multiprocessing.Queue) -> None:
    import os

    os.environ["TOOLKIT_STORE"] = store
    library = build_csim(load_project(path))
    answers.put((str(library.artifact), library.predict(IMAGES[:2]).tolist()))


def test_two_processes_may_build_at_once(project: HlsProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(csim.precompiled_headers(project, csim.require_tool("g++"), 600).parent, tmp_path / "csim_headers")
    context = multiprocessing.get_context("fork")
    answers: multiprocessing.Queue = context.Queue()
    both = [context.Process(target=build_there, args=(str(project.path), str(tmp_path), answers)) for _ in range(2)]
    for process in both:
        process.start()
    first, second = answers.get(timeout=300), answers.get(timeout=300)
    for process in both:
        process.join(60)
    assert first == second


def test_an_assertion_of_hls4ml_is_an_error_not_a_crash(tmp_path: Path) -> None:
    """Change a generated constant so that hls4ml's own assertion fails."""
    project = write_project(MODEL, HlsConfig(strategy="Resource", reuse_factor=3), tmp_path / "p")
    parameters = project.path / "firmware" / "parameters.h"
    parameters.write_text(parameters.read_text().replace("pad_top = 0", "pad_top = 1"))
    changed = HlsProject(project.path, "changed", project.config, project.graph, project.top)
    with pytest.raises(ProcessError, match="assertion failed: CONFIG_T::pad_top == 0"):
        build_csim(changed).predict(IMAGES[:1])


@pytest.mark.parametrize("io_type", ["io_stream", "io_parallel"])
def test_distributed_arithmetic(io_type: str, tmp_path: Path) -> None:
    pytest.importorskip("da4ml", reason="strategy distributed_arithmetic needs the package da4ml")
    config = HlsConfig(io_type=io_type, strategy="distributed_arithmetic")
    project = write_project(MODEL, config, tmp_path / "p")
    np.testing.assert_array_equal(build_csim(project).predict(IMAGES), MODEL.predict(IMAGES, verbose=0))
    assert set(project.graph.layer("logits").weights) == {"weight", "bias"}


def test_distributed_arithmetic_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ToolNotFound, match="pip install 'da4ml"):
        write_project(MODEL, HlsConfig(strategy="distributed_arithmetic"), tmp_path / "p")
