"""A model of the user's own, float or quantized: it is what it is, and what is asked of it is done or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from toolkit.cli import exit_code
from toolkit.config import DesignFile, HlsConfig, QuantConfig, parse_design
from toolkit.errors import ConfigError
from toolkit.plan import check_design

HLS = {"io_type": "io_parallel", "invalid_reuse_factor": "nearest", "strategy": "Latency"}
QUICK = {"proof": {"csim_count": 0}, "dataset": {"name": "digits", "test_count": 100}, "hls": HLS}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``float.keras`` and ``mine.keras``, the same quantized to 5 bits by its owner."""
    import keras

    from toolkit.data import load_dataset
    from toolkit.training import quantize
    from toolkit.zoo import draw_weights

    folder = tmp_path_factory.mktemp("given")
    start = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Dense(10, name="logits")(keras.layers.Flatten(name="flatten")(start))
    model = keras.Model(start, x, name="given")
    draw_weights(model, 1)
    digits = load_dataset("digits")
    quantize(model, QuantConfig(weight_bits=5, activation_bits=5), digits).save(folder / "mine.keras")
    model.save(folder / "float.keras")
    return folder


def design(model: Path, **tables: object) -> DesignFile:
    return parse_design({**QUICK, "model": {"path": str(model)}, "baselines": [], **tables})


def weights(model: object) -> list[np.ndarray]:
    return [np.asarray(weight) for weight in model.get_weights()]  # type: ignore[attr-defined]


def test_a_given_model_is_trained_only_if_asked(models: Path) -> None:
    from toolkit.data import load_dataset
    from toolkit.pipeline import first_model
    from toolkit.zoo import load_model

    given = load_model(models / "float.keras")
    wanted = design(models / "float.keras")
    digits = load_dataset(wanted.dataset)
    found = first_model(wanted, digits)
    assert found.name == "float"
    right = given.predict(digits.inputs("test"), verbose=0).argmax(axis=1) == digits.labels("test")
    assert found.accuracy.value == right.mean()
    assert all(np.array_equal(a, b) for a, b in zip(weights(found.model), weights(given), strict=True))
    trained = first_model(design(models / "float.keras", train={"epochs": 1, "progress": False}), digits)
    assert not np.array_equal(weights(trained.model)[0], weights(given)[0])


@pytest.mark.parametrize("name", ["mine.keras", "float.keras"])
def test_a_design_converts_the_given_model_as_it_is(name: str, models: Path, tmp_path: Path) -> None:
    from toolkit.hls import load_project
    from toolkit.hls.convert import convert
    from toolkit.pipeline import run_design

    is_float = name == "float.keras"
    more = {"quantization": "none", "hls": {**HLS, "precision": "ap_fixed<12,4>"}} if is_float else {}
    wanted = design(models / name, **more)
    said: list[str] = []
    result = run_design(wanted, tmp_path, say=said.append)
    assert any(line.startswith(f"{'float' if is_float else 'quantized'} {name[:-6]}, evaluated") for line in said)
    assert not result.failed
    [folder] = (tmp_path / "projects").iterdir()
    assert load_project(folder).graph.digest == convert(models / name, wanted.designs[0].hls).graph.digest
    assert [row.facts.get("engine") for row in result.comparison.rows][:1] == ["keras" if is_float else "qkeras"]


REFUSED = {
    "a quantization that is there already": ("mine", {"quantization": {"weight_bits": 4}}, "quantized already; leave"),
    "baselines called float": ("mine", {"baselines": [{"engine": "keras"}]}, "baselines are of a float model"),
    "a float teacher": ("mine", {"qat": {"epochs": 1, "teacher": "float"}}, "there is no float model"),
    "a type that quantizers decide": ("mine", {"hls": {**HLS, "precision": "ap_fixed<16,6>"}}, "decides nothing"),
    "the same of a float model": ("float", {"hls": {**HLS, "precision": "ap_fixed<16,6>"}}, 'quantization = "none"'),
    "no type at all": ("float", {"quantization": "none"}, "hls.precision is needed"),
}


@pytest.mark.parametrize(("name", "tables", "message"), REFUSED.values(), ids=REFUSED)
def test_what_decides_nothing_is_refused(
    name: str, tables: dict[str, object], message: str, models: Path, tmp_path: Path
) -> None:
    from toolkit.pipeline import run_design

    with pytest.raises(ConfigError, match=message):
        run_design(design(models / f"{name}.keras", **tables), tmp_path)


def test_sweeps_take_models_as_they_are(models: Path, tmp_path: Path) -> None:
    import toolkit as tk

    def figures(name: str, what: str, **tables: object) -> list[float]:
        table = {**QUICK, "model": {"path": str(models / f"{name}.keras")}, "sweep": {"images": 50}, **tables}
        del table["proof"]
        found = tk.sweep({**table, "name": name}, workers=0, storage=tmp_path / "book.db", proof=False)
        assert not found.failed, found.failed[0].error
        return [point.figures[what].value for point in found.points]

    types = {**HLS, "precision": ["ap_fixed<16,6>", "ap_fixed<5,3>"]}
    wide, narrow = figures("float", "lut", quantization="none", hls=types)
    assert wide > narrow
    slow, fast = figures("mine", "latency_us", hls={**HLS, "part": ["xc7z020clg400-1", "xcu250-figd2104-2L-e"]})
    assert slow != fast


def test_convert_leaves_a_quantized_model_alone(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from toolkit.hls import load_project
    from toolkit.hls.convert import convert

    (tmp_path / "d.toml").write_text('[quantization]\nweight_bits = 3\n[hls]\nio_type = "io_parallel"\n')
    arguments = ["convert", str(models / "mine.keras"), str(tmp_path / "p"), "--design", str(tmp_path / "d.toml")]
    assert exit_code(arguments) == 0
    assert "quantized already: [quantization] and [qat]" in capsys.readouterr().err
    expected = convert(models / "mine.keras", HlsConfig(io_type="io_parallel")).graph.digest
    assert load_project(tmp_path / "p").graph.digest == expected


def test_none_says_that_a_section_is_absent() -> None:
    made = parse_design({"qat": {"epochs": 3}, "designs": [{"name": "a"}, {"name": "b", "qat": "none"}]})
    assert [found.qat is None for found in made.designs] == [False, True]
    with pytest.raises(ConfigError, match=r"qat trains aware of a quantization, but quantization is"):
        parse_design({"qat": {"epochs": 3}, "quantization": "none"})
    with pytest.raises(ConfigError, match=r"are two models"):
        parse_design({"model": {"name": "convnet", "path": "a.keras"}})


IDLE = {
    "a softening of nothing": ({"qat": {"epochs": 1, "temperature": 2.0}}, r"qat\.temperature = 2 decides nothing"),
    "a share of nothing": ({"train": {"distillation_weight": 0.1}}, r"train\.distillation_weight = 0\.1 decides"),
    "a part of the whole": (
        {"proof": {"whole_split": True, "csim_count": 7}},
        r"proof\.csim_count = 7 decides",
    ),
    "a rate of no steps": ({"train": {"epochs": 0, "learning_rate": 0.1}}, r"train\.learning_rate decides nothing"),
    "images of no steps": ({"qat": {"epochs": 0, "batch_size": 32}}, r"qat\.batch_size decides nothing with qat\.ep"),
    "a schedule of no steps": (
        {"qat": {"epochs": 0, "prune": {"sparsity": 0.5, "end_epoch": 2}}},
        r"qat\.prune\.end_epoch decides nothing",
    ),
}


@pytest.mark.parametrize(("tables", "message"), IDLE.values(), ids=IDLE)
def test_a_key_that_decides_nothing_is_refused(tables: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_design(parse_design(tables))
