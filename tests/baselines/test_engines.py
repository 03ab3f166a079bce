"""Every engine keeps one contract; providers that are not here are told, never replaced."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.baselines import ENGINES, engine, measure_baseline
from toolkit.baselines.engines import Request, Runner, load_engines, measured
from toolkit.baselines.onnx_graph import onnx_model
from toolkit.baselines.onnxruntime_engine import onnx_runner, open_session, require_provider
from toolkit.data import Dataset, load_dataset
from toolkit.errors import ConfigError, ModelError, ToolNotFound
from toolkit.records import BaselineRecord

CASES = [
    ("keras", "float32", 1.0),
    ("keras", "bfloat16", 0.97),
    ("keras_eager", "float32", 1.0),
    ("keras_xla", "float32", 1.0),
    ("onnxruntime", "float32", 1.0),
    ("onnxruntime", "float16", 0.99),
    ("onnxruntime", "int8", 0.97),
    ("litert", "float32", 1.0),
    ("litert", "int8", 0.97),
    ("gpu_model", "float16", 1.0),
    ("gpu_model", "int8", 0.97),
]


@pytest.fixture(scope="module", params=CASES, ids=[f"{name}-{precision}" for name, precision, _ in CASES])
def case(request: pytest.FixtureRequest, model: Any, images: Dataset) -> tuple[BaselineRecord, float]:
    name, precision, agreement = request.param
    return measure_baseline(model, images, engine=name, precision=precision, batch=(1, 8), repeats=3), agreement


class TestContract:
    """What every record of every engine keeps."""

    def test_names_what_ran(self, case: tuple[BaselineRecord, float], images: Dataset) -> None:
        record, _ = case
        assert record.name == f"{record.engine} {record.precision} {record.provider}"
        assert record.test_digest == images.test_digest
        assert record.environment["tensorflow"]

    def test_figures_have_the_right_source(self, case: tuple[BaselineRecord, float]) -> None:
        record, _ = case
        source = "model" if record.engine == "gpu_model" else "measured"
        for figure in (record.latency_us, record.throughput_hz):
            assert figure is not None
            assert figure.source == source
            assert figure.low is not None
            assert figure.high is not None
            assert 0 < figure.low <= figure.value <= figure.high
        assert record.figures["macs"].source == "counted"

    def test_agrees_with_the_float_model(self, case: tuple[BaselineRecord, float]) -> None:
        record, agreement = case
        assert record.figures["agreement"].value >= agreement
        assert record.accuracy is not None
        assert record.accuracy.value > 0.9
        assert sum(map(sum, record.confusion)) == 120

    def test_latency_of_the_small_batch_and_best_throughput(self, case: tuple[BaselineRecord, float]) -> None:
        record, _ = case
        assert record.latency_us is not None
        assert record.throughput_hz is not None
        assert record.latency_us.value == record.figures["latency_us_batch_1"].value
        rates = [batch / record.figures[f"latency_us_batch_{batch}"].value * 1e6 for batch in (1, 8)]
        assert record.throughput_hz.value == pytest.approx(max(rates))


class TestFusion:
    def test_onnxruntime_lists_what_it_fused(self, model: Any, images: Dataset) -> None:
        fused = measure_baseline(model, images, engine="onnxruntime", batch=1, repeats=1).fused
        assert any("Conv" in text and "Mul" in text and text.endswith("Relu") for text in fused), fused
        assert any("MatMul + Add" in text or "Gemm" in text for text in fused), fused

    def test_int8_runs_integer_operators(self, model: Any, images: Dataset) -> None:
        fused = measure_baseline(model, images, engine="onnxruntime", precision="int8", batch=1, repeats=1).fused
        assert sum("QLinearConv" in text for text in fused) == 2

    def test_no_shape_arithmetic_is_left(self, model: Any, images: Dataset) -> None:
        import onnx

        kinds = {node.op_type for node in onnx.load(onnx_model(model, images, "float32")).graph.node}
        assert not kinds & {"Shape", "Gather", "Concat", "Slice", "Cast"}

    def test_int8_equals_its_unfused_graph(self, model: Any, images: Dataset) -> None:
        """The integer kernels must not saturate: same classes as the QDQ graph computed node by node."""
        import onnxruntime

        path = onnx_model(model, images, "int8")
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        plain = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        inputs = images.inputs("test")
        expected = plain.run(None, {plain.get_inputs()[0].name: inputs})[0]
        got = onnx_runner(path, model, Request("x", "int8", "cpu", (1,), 1)).run(inputs)
        scale = np.abs(expected).max() / 127
        assert np.abs(got - expected).max() <= 2 * scale


class TestBadInput:
    @pytest.mark.parametrize(
        ("keys", "message"),
        [
            ({"engine": "onnxruntim"}, 'did you mean "onnxruntime"'),
            ({"precision": "float23"}, 'did you mean "float32"'),
            ({"provider": "tpu"}, "choose cpu, gpu"),
            ({"missing": "skip"}, "choose error, row"),
            ({"engine": "gpu_model", "provider": "T5"}, 'did you mean "T4"'),
            ({"batch": 0}, "batch"),
            ({"repeats": 0}, "repeats"),
            ({"threads": 0}, "threads must be at least 1"),
            ({"threads": 999}, "fixed when TensorFlow first runs"),
        ],
    )
    def test_is_named_with_the_choices(self, keys: dict[str, Any], message: str, model: Any, images: Dataset) -> None:
        with pytest.raises(ConfigError, match=message):
            measure_baseline(model, images, **keys)

    def test_model_and_images_that_do_not_fit(self, model: Any, images: Dataset) -> None:
        other = load_dataset("synthetic", shape=images.input_shape, classes=7)
        with pytest.raises(ModelError, match="an output per class"):
            measure_baseline(model, other)


class TestMissingProviders:
    @pytest.mark.parametrize(
        ("name", "provider"), [("keras", "gpu"), ("onnxruntime", "cuda"), ("onnxruntime", "tensorrt")]
    )
    def test_is_an_error_or_a_row_that_says_why(self, name: str, provider: str, model: Any, images: Dataset) -> None:
        keys: dict[str, Any] = {"engine": name, "provider": provider, "batch": 1, "repeats": 1}
        try:
            record = measure_baseline(model, images, **keys)
        except ToolNotFound as error:
            row = measure_baseline(model, images, missing="row", **keys)
            assert row.latency_us is None
            assert row.accuracy is None
            assert row.notes == (f"not available here: {error}",)
        else:
            pytest.skip(f"{provider} is here: {record.latency_us}")

    def test_a_model_that_an_engine_cannot_take_is_a_row_too(
        self, model: Any, images: Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise ModelError("Keras cannot export the model to ONNX: no such operator")

        monkeypatch.setattr("toolkit.baselines.onnxruntime_engine.onnx_model", refuse)
        with pytest.raises(ModelError, match="no such operator"):
            measure_baseline(model, images, engine="onnxruntime")
        row = measure_baseline(model, images, engine="onnxruntime", missing="row")
        assert row.accuracy is None
        assert "no such operator" in row.notes[0]

    def test_the_cpu_package_that_hides_the_gpu_s_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import onnxruntime

        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
        monkeypatch.setattr("toolkit.baselines.onnxruntime_engine.version", lambda name: "1.30")
        with pytest.raises(ToolNotFound, match="force-reinstall --no-deps onnxruntime-gpu"):
            require_provider("cuda")


class FakeSession:
    """Stands for ONNX Runtime with TensorRT: remembers its options, runs on the provider it is told to."""

    seen: list[tuple[Any, list[Any]]]
    runs_on: list[str] | None = None

    def __init__(self, path: str, options: Any, providers: list[Any]) -> None:
        self.seen.append((options, providers))
        self.providers = self.runs_on or [name for name, _ in providers]

    def get_providers(self) -> list[str]:
        return self.providers


@pytest.fixture
def tensorrt(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeSession]]:
    import onnxruntime

    monkeypatch.setattr(FakeSession, "seen", [], raising=False)
    monkeypatch.setattr(FakeSession, "runs_on", None)
    monkeypatch.setattr(onnxruntime, "InferenceSession", FakeSession)
    return FakeSession


class TestTensorRT:
    """The same code path with the provider of the gpu extra, played by a fake session."""

    @pytest.mark.parametrize(("precision", "flags"), [("float32", "00"), ("float16", "10"), ("int8", "01")])
    def test_flags_and_engine_cache(
        self, precision: str, flags: str, tensorrt: type[FakeSession], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TOOLKIT_STORE", str(tmp_path / "store"))
        (tmp_path / "m.onnx").write_bytes(b"graph")
        open_session(tmp_path / "m.onnx", Request("x", precision, "tensorrt", (1,), 1), threads=1)
        options, ((first, settings), (second, _)) = tensorrt.seen[0]
        assert (first, second) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
        assert [settings["trt_fp16_enable"], settings["trt_int8_enable"]] == [str(flag == "1") for flag in flags]
        assert Path(settings["trt_engine_cache_path"]).is_relative_to(tmp_path / "store")
        assert options.get_session_config_entry("session.disable_cpu_ep_fallback") == "1"

    def test_a_graph_that_it_leaves_to_the_processor_is_not_measured(
        self, tensorrt: type[FakeSession], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from onnxruntime.capi.onnxruntime_pybind11_state import Fail

        def refuse(self: Any, *_: object, **__: object) -> None:
            raise Fail("fallback to CPU EP has been explicitly disabled")

        monkeypatch.setenv("TOOLKIT_STORE", str(tmp_path / "store"))
        monkeypatch.setattr(tensorrt, "__init__", refuse)
        (tmp_path / "m.onnx").write_bytes(b"graph")
        with pytest.raises(ToolNotFound, match="nothing else runs in its place: fallback to CPU"):
            open_session(tmp_path / "m.onnx", Request("x", "float16", "tensorrt", (1,), 1), threads=1)

    def test_a_provider_that_does_not_start_is_not_replaced(
        self, tensorrt: type[FakeSession], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TOOLKIT_STORE", str(tmp_path / "store"))
        monkeypatch.setattr(tensorrt, "runs_on", ["CPUExecutionProvider"])
        (tmp_path / "m.onnx").write_bytes(b"graph")
        with pytest.raises(ToolNotFound, match="would have run on CPUExecutionProvider"):
            open_session(tmp_path / "m.onnx", Request("x", "float16", "tensorrt", (1,), 1), threads=1)


def test_a_new_engine_is_a_decorated_function(model: Any, images: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    load_engines()
    monkeypatch.setattr("toolkit.baselines.engines.ENGINES", dict(ENGINES))

    @engine("coin", precisions=("int1",), providers=("cpu",))
    def measure_coin(model: Any, dataset: Dataset, request: Request) -> BaselineRecord:
        """Always the first class."""
        runner = Runner(lambda x: np.eye(4)[np.zeros(len(x), int)], "cpu", notes=("thrown once",))
        return measured("coin", runner, dataset, request)

    record = measure_baseline(model, images, engine="coin", batch=1, repeats=2)
    assert record.accuracy is not None
    assert record.accuracy.value == 0.25
    assert record.notes[0] == "thrown once"


def test_importing_baselines_imports_no_framework() -> None:
    import sys

    from toolkit.process import run

    heavy = "('tensorflow', 'keras', 'onnx', 'onnxruntime')"
    code = (
        f"import sys, toolkit.baselines as b; b.engines.load_engines(); print([m for m in {heavy} if m in sys.modules])"
    )
    assert run([sys.executable, "-c", code]).output.strip().endswith("[]")
