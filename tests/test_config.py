"""Design files: shared sections, variants, and mistakes told with key, choices and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.config import DesignFile, HlsConfig, LayerHlsConfig, TrainConfig, load_design
from toolkit.errors import ConfigError


def design(tmp_path: Path, text: str) -> DesignFile:
    path = tmp_path / "design.toml"
    path.write_text(text)
    return load_design(path)


def test_an_empty_file_is_one_default_design(tmp_path: Path) -> None:
    made = design(tmp_path, "")
    assert len(made.designs) == 1
    assert made.designs[0].hls == HlsConfig()


def test_variants_are_laid_over_the_shared_sections(tmp_path: Path) -> None:
    made = design(
        tmp_path,
        """
        [quantization]
        weight_bits = 6
        activation_bits = 5
        [hls]
        strategy = "Resource"
        reuse_factor = 4
        [[designs]]
        [[designs]]
        name = "narrow"
        quantization.weight_bits = 3
        """,
    )
    assert [d.label for d in made.designs] == ["w6a5_io_stream_resource_rf4", "narrow"]
    assert made.designs[1].quantization.weight_bits == 3
    assert made.designs[1].quantization.activation_bits == 5
    assert made.designs[1].hls == made.designs[0].hls


MISTAKES = {
    "a misspelt key": ("[hls]\nreuse_facto = 2", r'hls\.reuse_facto.*did you mean "reuse_factor"[\s\S]*line 2'),
    "a misspelt choice": (
        '[hls]\nio_type = "io_parralel"',
        r'hls\.io_type: "io_parralel".*did you mean "io_parallel".*choose io_parallel or io_stream[\s\S]*line 2',
    ),
    "a misspelt section": ("[quantisation]\na = 1", r'did you mean "quantization"[\s\S]*line 1'),
    "an impossible width": ("[quantization]\nweight_bits = 99", r"quantization\.weight_bits.*32, got 99[\s\S]*line 2"),
    "a wrong type": ('[train]\nepochs = "many"', r"train\.epochs.*got 'many'[\s\S]*line 2"),
    "a bad precision": ('[hls]\nprecision = "ap_fixd<3>"', r"hls\.precision.*ap_fixed<W,I>.*ap_fixd<3>"),
    "a bad precision of a layer": (
        '[hls.layers.conv]\nprecision = {result = "ap_fixed<8"}',
        r"hls\.layers\.conv\.precision\.result.*ap_fixed<W,I>",
    ),
    "a mistake in one variant": ("[[designs]]\nhls.strategy = 'Fast'", r"designs\.0\.hls\.strategy.*choose Latency"),
    "a name that is a path": (
        'name = "../../escape"',
        r"name: a name must be 1 to 100.*got '\.\./\.\./escape'[\s\S]*line 1",
    ),
    "a hidden name": ('[[designs]]\nname = ".git"', r"designs\.0\.name: a name must be.*the first a letter"),
    "a name with a control character": ('[[designs]]\nname = "a\\u0007"', r"got 'a\\x07'"),
    "an endless name": (f'name = "{"n" * 300}"', r"1 to 100.*\(302 characters\)"),
    "two designs of one name": (
        '[[designs]]\nname = "a"\n[[designs]]\nname = "a"',
        r'^every design needs a name of its own, got "a" for design 2 and for design 1',
    ),
    "a design named as the model": ('[[designs]]\nname = "convnet"', r"for design 1 and for the model"),
    "a baseline asked for twice": ("[[baselines]]\n[[baselines]]", r"baselines 1 and 2 are both keras float32"),
    "text that is not TOML": ("a =", "is not TOML"),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_once_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        design(tmp_path, text)


def test_a_mistake_in_python_names_the_section() -> None:
    with pytest.raises(ConfigError, match=r'TrainConfig\.epoch: "epoch" is not a key \(did you mean "epochs"\?\)'):
        TrainConfig(epoch=3)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml"):
        load_design(tmp_path / "absent.toml")


def test_change_validates_again() -> None:
    with pytest.raises(ConfigError, match="reuse_factor"):
        HlsConfig().change(reuse_factor=0)


def test_a_separable_convolution_is_configured_by_its_name() -> None:
    every, first = LayerHlsConfig(reuse_factor=2), LayerHlsConfig(reuse_factor=3)
    config = HlsConfig(layers={"sep": every, "sep_depthwise": first, "other": every})
    assert config.of_layers(["sep_depthwise", "sep_pointwise"]) == {"sep_depthwise": first, "sep_pointwise": every}
    assert config.of_layers(["sep_depthwise", "sep"]) == {"sep_depthwise": first, "sep": every}
    alone = HlsConfig(layers={"sep": every})
    assert alone.of_layers(["sep_depthwise", "sep"]) == {"sep_depthwise": every, "sep": every}
