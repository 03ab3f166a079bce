"""The zoo: architectures by parameter count, seeds, registration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from toolkit.config import load_design
from toolkit.data import load_dataset
from toolkit.errors import ConfigError, ModelError
from toolkit.zoo import MODELS, build_model, zoo_model

# Trainable parameters for 32x32x3 (convnet: 28x28x1) and ten classes.
PARAMETERS = {
    "cifar10_cnn": 122_570,
    "convnet": 21_840,
    "separable_cnn": 73_541,
    "conv_bn_relu": 122_730,
    "jet_tagger": 4_389 + 5 * 33,  # 5 classes: 4,389 (Duarte et al., 2018); here ten
    "jet_tagger_bn": 4_389 + 5 * 33 + 2 * (64 + 32 + 32),
    "autoencoder": 30_376 + 2 * (4 * 72 + 8),
    "keyword_mlp": 259_850 + 2 * 3 * 256,
    "lenet5": 61_706,
    "series_cnn": 2_688 + (25 * 32 + 1) * 32 + 330,
    "resnet8": 78_666 - 2 * 240,  # without the moving means and variances
}
SHAPES = {
    "convnet": (28, 28, 1),
    "lenet5": (32, 32, 1),
    "jet_tagger": (16,),
    "jet_tagger_bn": (16,),
    "autoencoder": (128,),
    "keyword_mlp": (490,),
    "series_cnn": (100, 1),
}


@pytest.fixture(params=list(MODELS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestContract:
    """What every zoo model promises."""

    def model(self, name: str, **options: Any) -> keras.Model:
        return build_model(name, input_shape=SHAPES.get(name, (32, 32, 3)), classes=10, **options)

    def test_parameter_count(self, name: str) -> None:
        count = sum(int(np.prod(weight.shape)) for weight in self.model(name).trainable_variables)
        assert count == PARAMETERS[name]

    def test_functional_with_named_layers_and_logits(self, name: str) -> None:
        model = self.model(name)
        assert isinstance(model, keras.src.models.functional.Functional) and model.name == name
        last, width = ("reconstruction", 128) if name == "autoencoder" else ("logits", 10)
        assert model.layers[-1].name == last and model.layers[-1].activation is keras.activations.linear
        assert model.output_shape == (None, width)
        assert all(type(layer).__module__.startswith("keras.") for layer in model.layers)

    def test_weights_come_from_the_seed(self, name: str) -> None:
        first, again, other = (self.model(name, seed=seed).get_weights()[0] for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)


def test_every_design_file_is_of_a_zoo_model() -> None:
    for path in (Path(__file__).parents[2] / "hls_projects").glob("*/design.toml"):
        assert load_design(path).model.name in MODELS, path


def test_the_callers_random_numbers_are_left_alone() -> None:
    np.random.seed(5)
    expected = np.random.random()
    np.random.seed(5)
    build_model("convnet", input_shape=(28, 28, 1), classes=10)
    assert np.random.random() == expected


@pytest.mark.parametrize("name", ["separable_cnn", "conv_bn_relu"])
def test_small_images_are_padded(name: str) -> None:
    model = build_model(name, load_dataset("digits"))
    assert model.output_shape == (None, 10)


def test_convnet_pools_before_relu() -> None:
    kinds = [type(layer).__name__ for layer in build_model("convnet", input_shape=(28, 28, 1), classes=10).layers]
    assert kinds[1:8] == ["Conv2D", "MaxPooling2D", "ReLU", "Conv2D", "SpatialDropout2D", "MaxPooling2D", "ReLU"]


def test_registering_takes_a_decorator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.zoo.models.MODELS", dict(MODELS))

    @zoo_model
    def one_layer(x: Any, classes: int) -> Any:
        """Nothing but a dense layer."""
        return keras.layers.Dense(classes, name="logits")(keras.layers.Flatten()(x))

    assert build_model("one_layer", load_dataset("digits")).count_params() == 650


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        (["convnett"], {}, ConfigError, 'did you mean "convnet"'),
        (["convnet"], {"classes": 10}, ConfigError, "needs a dataset, or input_shape and classes"),
        (["convnet"], {"input_shape": (8, 8, 1), "classes": 10}, ModelError, r"convnet cannot take .*\(8, 8, 1\)"),
        (["cifar10_cnn"], {"input_shape": (8, 8, 1), "classes": 10}, ModelError, r"cannot take .*\(8, 8, 1\)"),
    ],
)
def test_mistakes_are_named(arguments: list, options: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        build_model(*arguments, **options)
