"""The pytest plugin in suites of its users."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from toolkit.config import HlsConfig
from toolkit.data import Dataset
from toolkit.hls.project import write_project
from toolkit.pytest_plugin import Golden, LessThan, MoreThan, assert_merit, read_golden, write_golden
from toolkit.store import digest

pytest_plugins = ["pytester"]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

GUARD = """
    def test_bits(hls_project, golden_csim):
        golden_csim(hls_project("project"))
"""


@pytest.fixture(scope="session", autouse=True)
def imported() -> None:
    """What a suite inside this process would import and forget again: C extensions load only once."""
    for name in ("keras", "onnx", "onnxruntime", "hls4ml", "qkeras", "toolkit.emulation", "toolkit.estimation"):
        importlib.import_module(name)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``model.keras`` and its project as any hls4ml user has it."""
    import keras

    folder = tmp_path_factory.mktemp("models")
    keras.utils.set_random_seed(2)
    start = keras.Input((6,))
    x = keras.layers.Dense(5, activation="relu", name="hidden")(start)
    model = keras.Model(start, keras.layers.Dense(3, name="logits")(x))
    model.save(folder / "model.keras")
    x = np.random.default_rng(1).uniform(-1, 1, (8, 6)).astype(np.float32)
    config = HlsConfig(precision="ap_fixed<12,4>", io_type="io_parallel")
    written = write_project(model, config, folder / "written", inputs=x)
    ignored = shutil.ignore_patterns("manifest.json", "toolkit", "*.keras")
    shutil.copytree(written.path, folder / "project", ignore=ignored)
    return folder


@pytest.fixture
def suite(pytester: pytest.Pytester, models: Path) -> pytest.Pytester:
    """An empty suite beside a project folder."""
    shutil.copytree(models / "project", pytester.path / "project")
    return pytester


def run(suite: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """pytest in this process, with the plugin as its entry point brings it; toolkit is imported here already."""
    imported = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
    return suite.runpytest_inprocess("-p", "no:cacheprovider", *arguments, *imported)


def golden_with(suite: pytest.Pytester, project: str = "other", change: float = 0.0) -> Path:
    """A golden of the suite's project as the emulator computes it, said to be made from ``project``."""
    from toolkit.emulation import emulate
    from toolkit.hls.folder import folder_digest, open_project
    from toolkit.hls.vectors import read_vectors

    opened = open_project(suite.path / "project")
    inputs = read_vectors(opened).inputs
    outputs = emulate(opened).predict(inputs[0])
    outputs[2, 1] += change
    record = {"schema": 1, "digest": digest(list(inputs), outputs), "project": project, "engine": "g++"}
    record["firmware"] = folder_digest(opened.path) if project == "same" else project
    path = suite.path / "golden" / "test_guard-test_bits.npz"
    write_golden(path, Golden(inputs, outputs, {**record, "versions": {"hls4ml": "1.3.0"}}))
    return path


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_GXX", "/nowhere/g++")


class TestGolden:
    def test_missing(self, suite: pytest.Pytester) -> None:
        suite.makepyfile(test_guard=GUARD)
        result = run(suite, "-q")
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(
            [
                "*golden golden/test_guard-test_bits.npz does not exist; make it with",
                "*pytest test_guard.py::test_bits --update-golden",
            ]
        )

    @pytest.mark.csim
    def test_write_compare_change(self, suite: pytest.Pytester) -> None:
        suite.makepyfile(test_guard=GUARD)
        run(suite, "--update-golden").assert_outcomes(passed=1)
        path = suite.path / "golden" / "test_guard-test_bits.npz"
        first = path.read_bytes()
        golden = read_golden(path)
        assert golden.record["engine"] == "g++"
        assert golden.record["test"] == "test_guard.py::test_bits"
        assert golden.outputs.shape == (8, 3)
        run(suite, "--update-golden").assert_outcomes(passed=1)
        assert path.read_bytes() == first, "the same vectors give the same file"
        run(suite).assert_outcomes(passed=1)
        run(suite, "--csim").assert_outcomes(passed=1)
        self.change_weight(suite)
        result = run(suite, "-q")
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(
            [
                "*emulator outputs and golden golden/test_guard-test_bits.npz must be equal*of 24 differ*",
                "*golden made from project * by g++ (hls4ml *), this is *",
                "*if the change is meant: pytest test_guard.py::test_bits --update-golden",
            ]
        )

    def change_weight(self, suite: pytest.Pytester) -> None:
        weights = suite.path / "project" / "firmware" / "weights" / "b2.txt"
        values = weights.read_text().split(", ")
        weights.write_text(", ".join(["0.75", *values[1:]]))

    def test_same_project_needs_no_compiler(self, suite: pytest.Pytester, no_compiler: None) -> None:
        suite.makepyfile(test_guard=GUARD)
        golden_with(suite, project="same")
        run(suite, "-W", "error").assert_outcomes(passed=1)

    def test_other_project_without_compiler_warns(self, suite: pytest.Pytester, no_compiler: None) -> None:
        suite.makepyfile(test_guard=GUARD)
        golden_with(suite)
        result = run(suite)
        result.assert_outcomes(passed=1, warnings=1)
        result.stdout.fnmatch_lines(["*equal in the emulator, not proven: g++ is needed*"])
        run(suite, "--no-csim").assert_outcomes(passed=1)
        result = run(suite, "--csim", "-q")
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["*ToolNotFound: g++ is needed*"])

    @pytest.mark.csim
    def test_other_project_is_proven(self, suite: pytest.Pytester) -> None:
        suite.makepyfile(test_guard=GUARD)
        golden_with(suite)
        run(suite, "--junitxml=out.xml").assert_outcomes(passed=1)
        assert properties(suite)["toolkit.engine"] == "g++"

    def test_difference(self, suite: pytest.Pytester) -> None:
        suite.makepyfile(test_guard=GUARD)
        golden_with(suite, change=3 * 2.0**-8)
        result = run(suite, "-q")
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["*1 of 24 differ, largest error 3 LSB*", "*[[]2, 1[]]: expected *, got *"])
        assert "another exception" not in result.stdout.str()
        assert "pytest_plugin.py" not in result.stdout.str()

    def test_damaged(self, suite: pytest.Pytester) -> None:
        suite.makepyfile(test_guard=GUARD)
        path = golden_with(suite)
        golden = read_golden(path)
        write_golden(path, Golden(golden.inputs, golden.outputs + 1, golden.record))
        result = run(suite, "-q")
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["*StoreError: golden *its vectors do not match its digest*"])
        path.write_bytes(path.read_bytes()[:100])
        run(suite, "-q").stdout.fnmatch_lines(["*StoreError: golden *cannot be read*"])

    def test_own_path_and_inputs(self, suite: pytest.Pytester, no_compiler: None) -> None:
        suite.makepyfile(
            test_guard="""
            import numpy as np

            def test_bits(hls_project, golden_csim):
                golden_csim(hls_project("project"), x=np.zeros((2, 6)), path="vectors/mine.npz")
            """
        )
        result = run(suite, "-q")
        result.stdout.fnmatch_lines(["*golden vectors/mine.npz does not exist*"])
        result = run(suite, "--update-golden", "--no-csim", "-q")
        result.stdout.fnmatch_lines(["*golden vectors are csim's outputs; write them without --no-csim*"])


SEVERAL = """
    def test_emulator(hls_project, emulator):
        assert emulator(hls_project("project")).graph.layers

    def test_csim(hls_project, csim, emulator, assert_bit_exact):
        import numpy as np
        project, x = hls_project("project"), np.random.default_rng(0).uniform(-1, 1, (9, 6))
        assert_bit_exact(csim(project).predict(x), emulator(project).predict(x))
        assert_bit_exact(csim(project).trace(x), emulator(project).trace(x))

    def test_overflow(hls_project, assert_no_overflow):
        import numpy as np
        project = hls_project("project")
        assert_no_overflow(project, np.full((1, 6), 0.1))
        assert_no_overflow(project, np.full((1, 6), 0.1), saturation="fail")
        assert_no_overflow(project, np.full((1, 6), 7.9))
"""


class TestOptions:
    def test_no_csim_skips_with_a_reason(self, suite: pytest.Pytester) -> None:
        suite.makepyfile(test_guard=SEVERAL)
        result = run(suite, "--no-csim", "-q", "-rs", "-k", "csim or emulator")
        result.assert_outcomes(passed=1, skipped=1)
        result.stdout.fnmatch_lines(["SKIPPED*compiles C++; run without --no-csim"])

    def test_markers_select(self, suite: pytest.Pytester) -> None:
        suite.makepyfile(test_guard=SEVERAL + GUARD)
        run(suite, "-m", "csim", "--collect-only", "-q").stdout.fnmatch_lines(["*::test_csim"])
        run(suite, "-m", "golden", "--collect-only", "-q").stdout.fnmatch_lines(["*::test_bits"])
        run(suite, "--strict-markers", "-m", "not csim", "-k", "emulator").assert_outcomes(passed=1)

    def test_a_suite_with_options_of_the_same_names_keeps_them(self, suite: pytest.Pytester) -> None:
        suite.makeconftest(
            """
            def pytest_addoption(parser):
                parser.addoption("--update-golden", action="store_true")
                parser.addoption("--csim-jobs", type=int)

            def pytest_report_header(config):
                return f"theirs: {config.getoption('update_golden')} {config.getoption('csim_jobs')}"
            """
        )
        suite.makepyfile(test_guard=GUARD)
        result = run(suite, "--update-golden", "--csim-jobs", "3")
        result.stdout.fnmatch_lines(["theirs: True 3", "*pytest test_guard.py::test_bits --toolkit-update-golden"])
        result.assert_outcomes(failed=1)

    def test_a_suite_with_a_csim_fixture_of_its_own_is_not_skipped(self, suite: pytest.Pytester) -> None:
        suite.makepyfile(
            test_own="""
            import pytest

            @pytest.fixture
            def csim():
                return "theirs"

            def test_theirs(csim):
                assert csim == "theirs"
            """
        )
        run(suite, "--no-csim").assert_outcomes(passed=1)
        run(suite, "-m", "csim").assert_outcomes(deselected=1)

    def test_overflow_names_layer_and_type(self, suite: pytest.Pytester) -> None:
        suite.makepyfile(test_guard=SEVERAL)
        result = run(suite, "-k", "overflow", "-q")
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["*no value may leave its type:*", "*values leave ap_fixed<12,4>*"])

    @pytest.mark.csim
    def test_csim_equals_emulator(self, suite: pytest.Pytester) -> None:
        suite.makepyfile(test_guard=SEVERAL)
        run(suite, "-k", "csim", "--csim-jobs", "1").assert_outcomes(passed=1)

    def test_properties(self, suite: pytest.Pytester) -> None:
        from toolkit.hls.folder import open_project

        suite.makepyfile(test_guard=GUARD)
        path = golden_with(suite, project="same")
        run(suite, "--junitxml=out.xml").assert_outcomes(passed=1)
        found = properties(suite)
        assert found["toolkit.project"] == open_project(suite.path / "project").digest
        assert found["toolkit.golden_digest"] == read_golden(path).record["digest"]

    def test_workers(self, suite: pytest.Pytester) -> None:
        suite.makepyfile(test_guard=GUARD, test_more=SEVERAL)
        golden_with(suite, project="same")
        run(suite, "-n", "2", "-k", "bits or emulator").assert_outcomes(passed=2)


def properties(suite: pytest.Pytester) -> dict[str, str]:
    """JUnit properties of the only test."""
    tree = ElementTree.parse(suite.path / "out.xml")
    return {item.attrib["name"]: item.attrib["value"] for item in tree.iter("property")}


class TestProjects:
    def test_model_file_is_converted_once(
        self, pytester: pytest.Pytester, models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import toolkit.hls.project

        calls: list[Any] = []
        write = toolkit.hls.project.write_project

        def counted(*arguments: Any, **options: Any) -> Any:
            calls.append(arguments)
            return write(*arguments, **options)

        monkeypatch.setattr(toolkit.hls.project, "write_project", counted)
        shutil.copy2(models / "model.keras", pytester.path)
        pytester.makepyfile(
            """
            import pytest

            @pytest.mark.parametrize("again", [1, 2])
            def test_project(hls_project, again):
                project = hls_project("model.keras", precision="ap_fixed<14,5>", io_type="io_parallel")
                assert project.config.precision == "ap_fixed<14,5>"
            """
        )
        run(pytester).assert_outcomes(passed=2)
        run(pytester).assert_outcomes(passed=2)
        assert len(calls) == 1

    def test_live_model(self, pytester: pytest.Pytester, models: Path) -> None:
        shutil.copy2(models / "model.keras", pytester.path)
        pytester.makepyfile(
            """
            import keras

            def test_project(hls_project):
                model = keras.models.load_model("model.keras")
                project = hls_project(model, precision="ap_fixed<10,4>")
                assert hls_project(model, precision="ap_fixed<10,4>").digest == project.digest
                assert hls_project(model, precision="ap_fixed<9,4>").digest != project.digest
            """
        )
        run(pytester).assert_outcomes(passed=1)

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            ('hls_project("nothing.keras")', "*StoreError: a model must be a readable file or folder: nothing.keras*"),
            ('hls_project("model.keras")', "*ConfigError: hls.precision is needed*"),
            ('hls_project("model.keras", io_type="stream")', "*io_type*choose io_parallel or io_stream*"),
        ],
    )
    def test_mistake_is_one_message(self, pytester: pytest.Pytester, models: Path, call: str, message: str) -> None:
        shutil.copy2(models / "model.keras", pytester.path)
        pytester.makepyfile(f"def test_project(hls_project):\n    {call}\n")
        result = run(pytester, "-q")
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines([message])
        assert "another exception" not in result.stdout.str()


def test_importing_the_plugin_is_light() -> None:
    """Every pytest run on a machine with toolkit pays for this import."""
    code = (
        "import sys, pytest; before = set(sys.modules); import toolkit.pytest_plugin;"
        "print(*sorted(name.split('.')[0] for name in set(sys.modules) - before))"
    )
    found = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert not found & {"tensorflow", "keras", "hls4ml", "numpy", "pydantic", "onnxruntime", "pandas", "filelock"}, (
        found
    )


MERIT = """
    import numpy as np
    from toolkit.data import Dataset
    from toolkit.pytest_plugin import AtLeast, LessThan, MoreThan

    X = np.random.default_rng(3).uniform(-1, 1, (40, 6)).astype(np.float32)

    def energies(emulator, project):
        right = emulator(project).predict(X) + np.float32([0.25, -0.25, 0.25])
        return Dataset.from_arrays(x_train=X, y_train=right, x_test=X, y_test=right)

    def test_an_error_is_small(hls_project, emulator, assert_merit):
        project = hls_project("project")
        found = assert_merit(project, energies(emulator, project), rmse=LessThan(0.2501), mae=MoreThan(0.2499))
        assert found["rmse"].source == "emulation"

    def test_an_error_is_large(hls_project, emulator, assert_merit):
        project = hls_project("project")
        assert_merit(emulator(project), energies(emulator, project), rmse=LessThan(0.2), mae=LessThan(0.3))

    def test_classes(hls_project, emulator, assert_merit):
        project = hls_project("project")
        chosen = emulator(project).predict(X).argmax(axis=1)
        data = Dataset.from_arrays(x_train=X, y_train=chosen, x_test=X, y_test=chosen, class_names=["a", "b", "c"])
        assert_merit(project, data, count=30, accuracy=AtLeast(1))
        assert_merit(project, data, worst_case=True, accuracy=AtLeast(1))

    def test_another_figure(hls_project, emulator, assert_merit):
        project = hls_project("project")
        assert_merit(project, energies(emulator, project), rmsee=LessThan(1))

    def test_another_subject(hls_project, emulator, assert_merit):
        assert_merit("project", energies(emulator, hls_project("project")), rmse=LessThan(1))
"""


def test_figures_of_merit_have_conditions(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_guard=MERIT)
    result = run(suite, "--no-csim", "--junitxml=report.xml")
    result.assert_outcomes(passed=1, failed=4)
    result.stdout.fnmatch_lines(
        [
            "*1 of 2 conditions on the figures of merit fail:",
            "*rmse: must be less than 0.2, got 0.25*(emulation)",
            "*accuracy: must be at least 1, got 1 *",
            '*"rmsee" is not a figure of merit of this dataset (did you mean "rmse"?); choose mae, r2, rmse',
            "*what is judged must be an HlsProject, *, got *'project'",
        ]
    )
    properties = {item.get("name"): item.get("value") for item in ElementTree.parse("report.xml").iter("property")}
    assert "(emulation)" in properties["toolkit.rmse"]


def test_a_model_has_figures_of_merit(models: Path) -> None:
    import keras

    model = keras.models.load_model(models / "model.keras")
    x = np.random.default_rng(4).uniform(-1, 1, (30, 6)).astype(np.float32)
    data = Dataset.from_arrays(x_train=x, y_train=model.predict(x), x_test=x, y_test=model.predict(x))
    assert assert_merit(model, data, rmse=LessThan(1e-5))["rmse"].source == "measured"
    with pytest.raises(AssertionError, match=r"rmse: must be more than 1, got"):
        assert_merit(model, data, rmse=MoreThan(1))
