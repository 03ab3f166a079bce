"""Models from files: what loads, what is refused and why."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import qkeras

from toolkit.errors import ModelError
from toolkit.zoo import build_model, load_model


def qkeras_model() -> keras.Model:
    """A model of QKeras' own layers and quantizers."""
    image = keras.Input((6, 6, 2), name="image")
    x = qkeras.QConv2D(3, 3, kernel_quantizer="quantized_bits(4,0,alpha=1)", bias_quantizer="quantized_bits(4,1)")(
        image
    )
    x = qkeras.QActivation("quantized_relu(4,1)")(x)
    x = keras.layers.Flatten()(x)
    x = qkeras.QDense(3, kernel_quantizer=qkeras.ternary(alpha=0.5), bias_quantizer="quantized_bits(4,1)")(x)
    return keras.Model(image, x)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("kind", ["zoo", "qkeras"])
def test_a_saved_model_predicts_the_same(kind: str, suffix: str, tmp_path: Path) -> None:
    model = qkeras_model() if kind == "qkeras" else build_model("separable_cnn", input_shape=(8, 8, 1), classes=3)
    path = tmp_path / f"model{suffix}"
    model.save(path)
    x = np.random.default_rng(0).random((4, *model.input_shape[1:]), np.float32)
    loaded = load_model(path)
    assert getattr(loaded, "optimizer", None) is None
    np.testing.assert_array_equal(loaded.predict_on_batch(x), model.predict_on_batch(x))


def with_code(suffix: str, tmp_path: Path) -> Path:
    """A model whose Lambda layer would write a file."""
    trace = tmp_path / "executed"
    image = keras.Input((2,))
    layer = keras.layers.Lambda(lambda x, path=str(trace): (Path(path).touch(), x)[1], output_shape=(2,))
    model = keras.Model(image, layer(image))
    path = tmp_path / f"code{suffix}"
    model.save(path)
    trace.unlink(missing_ok=True)
    return path


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_code_in_a_file_is_not_executed(suffix: str, tmp_path: Path) -> None:
    path = with_code(suffix, tmp_path)
    with pytest.raises(ModelError, match="contains a Lambda layer"):
        load_model(path)
    assert not (tmp_path / "executed").exists()


def test_unknown_classes_are_named(tmp_path: Path) -> None:
    class Mystery(keras.layers.Layer):
        def call(self, x: object) -> object:
            return x

    image = keras.Input((2,))
    keras.Model(image, Mystery()(image)).save(tmp_path / "m.keras")
    with pytest.raises(ModelError, match=r"contains Mystery; only classes of Keras, QKeras and toolkit"):
        load_model(tmp_path / "m.keras")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent.keras", None, "does not exist"),
        ("model.pt", b"x", "ends in .keras, .h5"),
        ("broken.keras", b"not a zip", "cannot be loaded"),
        ("broken.h5", b"not hdf5", "cannot be loaded"),
    ],
)
def test_bad_files_are_named(name: str, content: bytes | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=words) as caught:
        load_model(path)
    assert name in str(caught.value)
