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


def test_a_file_without_designs_is_one_default_design(tmp_path: Path) -> None:
    made = design(tmp_path, '[model]\nname = "convnet"')
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
    "a mistake in one variant": (
        "[[designs]]\nhls.strategy = 'Fast'",
        r"hls\.strategy of design 1: .*choose Latency[\s\S]*line 2",
    ),
    "a name that is a path": (
        'name = "../../escape"',
        r"name: a name must be 1 to 100.*got '\.\./\.\./escape'[\s\S]*line 1",
    ),
    "a hidden name": (
        '[[designs]]\nname = ".git"',
        r"name of design 1: a name must.*first a letter[\s\S]*line 2",
    ),
    "a name with a control character": ('[[designs]]\nname = "a\\u0007"', r"got 'a\\x07'"),
    "an endless name": (f'name = "{"n" * 300}"', r"1 to 100.*\(302 characters\)"),
    "two designs of one name": (
        '[[designs]]\nname = "a"\n[[designs]]\nname = "a"',
        r'^every design needs a name of its own, got "a" for design 2 and for design 1',
    ),
    "a design named as the model": ('[[designs]]\nname = "convnet"', r"for design 1 and for the model"),
    "a baseline asked for twice": ("[[baselines]]\n[[baselines]]", r"baselines 1 and 2 are both keras float32"),
    "a mistake in the second variant": (
        "[[designs]]\nhls.reuse_factor = 2\n[[designs]]\nhls.reuse_factor = 0",
        r"hls\.reuse_factor of design 2: must be at least 1, got 0[\s\S]*line 4",
    ),
    "a mistake in a baseline": (
        "[[baselines]]\n[[baselines]]\nrepeats = 0",
        r"repeats of baseline 2: must be at least 1[\s\S]*line 3",
    ),
    "a number in quotes": ('[hls]\nreuse_factor = "4"', r"hls\.reuse_factor: must be a whole number, got '4'"),
    "a float where epochs are counted": (
        "[train]\nepochs = 1e9",
        r"train\.epochs: must be a whole number, got 10000",
    ),
    "epochs for a century": ("[train]\nepochs = 1_000_000_000", r"train\.epochs: must be at most 100000"),
    "no number at all": ("[train]\nlearning_rate = nan", r"train\.learning_rate: must be finite, got nan"),
    "a word for a switch": ('[train]\njit_compile = "yes"', r"train\.jit_compile: must be true or false, got 'yes'"),
    "a type beyond all values": ('[hls]\nprecision = "ap_fixed<16,60>"', r"between -16 and 64 fraction bits.*2\*\*44"),
    "a type with too many parts": ('[hls]\nprecision = "ap_fixed<8,3,RND,SAT,0,7>"', r"must look like ap_fixed<W,I>"),
    "a type with words for bits": ('[hls]\nprecision = "ap_fixed<8,3,RND,SAT,x>"', r"must look like ap_fixed<W,I>"),
    "an empty file": ("# nothing yet", "is empty"),
    "a file nested without end": ("a = " + "[" * 5000, "nested too deeply"),
    "an enormous file": ("a = 1 #" + "x" * 2_000_000, "at most 1,000,000"),
    "text that is not TOML": ("a =", "is not TOML"),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_once_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        design(tmp_path, text)


def test_a_mistake_in_python_names_the_section() -> None:
    with pytest.raises(ConfigError, match=r'train\.epoch: "epoch" is not a key \(did you mean "epochs"\?\)'):
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


def test_relative_paths_are_taken_from_the_files_folder(tmp_path: Path) -> None:
    text = '[model]\npath = "models/mine.keras"\n[dataset]\ndata_dir = "/data"\n[qat]\ncheckpoint = "../state"\n'
    made = design(tmp_path, text)
    assert made.model.path == tmp_path / "models/mine.keras"
    assert made.dataset.data_dir == Path("/data")
    assert made.designs[0].qat is not None
    assert made.designs[0].qat.checkpoint == tmp_path / "../state"


def test_numbers_of_numpy_are_numbers() -> None:
    import numpy as np

    made = HlsConfig(reuse_factor=np.int64(4), clock_period_ns=np.float32(2.5))
    assert (made.reuse_factor, made.clock_period_ns) == (4, 2.5)
    with pytest.raises(ConfigError, match=r"hls\.reuse_factor: must be a whole number, got True"):
        HlsConfig(reuse_factor=True)


def test_what_was_not_said_stays_unsaid() -> None:
    assert HlsConfig(part="xc7z020clg400-1").change(reuse_factor=2).model_fields_set == {"part", "reuse_factor"}
