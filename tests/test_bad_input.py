"""Every mistake a user can make with a model, images or a compiler: one message, exit code 2, nothing left behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from toolkit.cli import exit_code


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good, broken and unsupported models, and a written project with images for it."""
    import keras

    from tests.hls.small_models import K, dense_model
    from toolkit.config import HlsConfig
    from toolkit.hls import write_project

    folder = tmp_path_factory.mktemp("models")
    good = dense_model()
    good.save(folder / "good.keras")
    write_project(good, HlsConfig(), folder / "project")
    bad = dense_model()
    bad.get_layer("hidden").kernel.assign(np.full((4, 5), np.nan))
    bad.save(folder / "nan.keras")
    start = keras.Input((4, 4, 1), name="image")
    keras.Model(start, K.Conv2DTranspose(1, 2, name="up")(start)).save(folder / "transposed.keras")
    start = keras.Input((4,), name="features")
    keras.Model(start, K.Dense(5, name="logits")(start)).save(folder / "five.keras")
    (folder / "text.keras").write_text("not a model")
    np.save(folder / "x.npy", np.zeros((2, 4), np.float32))
    np.save(folder / "wrong.npy", np.zeros((2, 7), np.float32))
    np.save(folder / "nan.npy", np.full((2, 4), np.nan, np.float32))
    np.savez(folder / "many.npz", a=np.zeros((2, 4)))
    (folder / "empty.npy").touch()
    (folder / "none.toml").write_text("designs = []")
    return folder


MISTAKES = {
    "NaN weights": (["convert", "{}/nan.keras", "out"], "layer 'hidden': weight 'kernel' holds NaN"),
    "an unsupported layer": (["convert", "{}/transposed.keras", "out"], "up (Conv2DTranspose)"),
    "no layer to quantize it with": (
        ["convert", "{}/transposed.keras", "out", "--bits", "6", "--dataset", "digits"],
        "layer up (Conv2DTranspose) cannot be quantized",
    ),
    "a file that is no model": (["convert", "{}/text.keras", "out"], "cannot be loaded as a Keras model"),
    "an impossible width": (["convert", "{}/good.keras", "out", "--precision", "ap_fixed<0,6>"], "at least 1 bit"),
    "a width no header holds": (["convert", "{}/good.keras", "out", "--precision", "ap_fixed<5000,6>"], "at most 1024"),
    "a negative step": (
        ["train", "convnet", "--dataset", "synthetic", "--learning-rate", "-1"],
        "ConfigError: train.learning_rate: must be above 0",
    ),
    "no design to take": (["convert", "{}/good.keras", "out", "--design", "{}/none.toml"], "none.toml has none"),
    "an impossible bit count": (["train", "convnet", "--bits", "99"], "must be at most 32, got 99"),
    "an unknown io type": (
        ["convert", "{}/good.keras", "out", "--io-type", "io_parralel"],
        'did you mean "io_parallel"',
    ),
    "a part no FPGA has": (["convert", "{}/good.keras", "out", "--part", "zynq"], "AMD part number"),
    "nothing decides the types": (["convert", "{}/five.keras", "out"], "hls.precision is needed"),
    "quantization without images": (["convert", "{}/five.keras", "out", "--bits", "6"], "--dataset"),
    "images of another shape": (
        ["csim", "{}/project", "--emulate", "--inputs", "{}/wrong.npy"],
        "must have shape [images, 4], got (2, 7)",
    ),
    "images that are NaN": (["csim", "{}/project", "--emulate", "--inputs", "{}/nan.npy"], "finite"),
    "an archive of arrays": (["csim", "{}/project", "--emulate", "--inputs", "{}/many.npz"], "many.npz"),
    "an empty file of images": (["csim", "{}/project", "--emulate", "--inputs", "{}/empty.npy"], "empty.npy"),
    "a dataset of another shape": (
        ["csim", "{}/project", "--emulate", "--dataset", "digits"],
        "must have shape [images, 4]",
    ),
    "another model's project": (
        ["check", "{}/project", "--emulate", "--model", "{}/five.keras", "--inputs", "{}/x.npy"],
        "it has 5 outputs, the project 3",
    ),
    "a place that holds a thesis": (["convert", "{}/good.keras", "{}"], "holds files that are no HLS project"),
    "a record's place that holds a thesis": (
        ["train", "convnet", "--dataset", "synthetic", "--out", "{}"],
        "other files",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES)
def test_one_message_and_nothing_left(
    arguments: list[str],
    message: str,
    models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(models.iterdir())
    assert exit_code([argument.format(models) for argument in arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []
    assert sorted(models.iterdir()) == before


def test_without_a_compiler(models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TOOLKIT_GXX", "/nowhere/g++")
    assert exit_code(["csim", f"{models}/project", "--inputs", f"{models}/x.npy"]) == 2
    assert "g++ is needed" in capsys.readouterr().err
    assert exit_code(["csim", f"{models}/project", "--inputs", f"{models}/x.npy", "--emulate"]) == 0
