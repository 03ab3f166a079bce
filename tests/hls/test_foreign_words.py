"""What other programs say of a broken file or design is never alone: the place, the cause, what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hls.small_models import dense_model, float_model
from toolkit.config import HlsConfig, load_design
from toolkit.emulation.engine import runtime_words
from toolkit.errors import HlsError, ModelError, ProcessError
from toolkit.hls import build_csim, write_project
from toolkit.zoo import load_model

DAMAGE = {
    "empty": lambda raw: b"",
    "its first half": lambda raw: raw[: len(raw) // 2],
    "without its end": lambda raw: raw[:-20],
}


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_model_file(suffix: str, damage: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    float_model().save(path)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with pytest.raises(ModelError, match=r"cut short|no HDF5 file") as told:
        load_model(path)
    assert "copy it anew" in str(told.value) and "File not found" not in str(told.value)


def test_damaged_bytes_inside_a_model_file(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    float_model().save(path)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 50] = bytes(50)
    path.write_bytes(bytes(raw))
    with pytest.raises(ModelError, match=r"in it is damaged .* copy it anew"):
        load_model(path)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "design.toml"
    path.write_bytes(b"\xef\xbb\xbf" + b'name = "marked"\n[dataset]\nname = "digits"\n')
    assert load_design(path).name == "marked"


@pytest.mark.csim
def test_the_compilers_words_name_layer_and_remedy(tmp_path: Path) -> None:
    project = write_project(dense_model(), HlsConfig(), tmp_path / "p")
    parameters = project.path / "firmware" / "parameters.h"
    parameters.write_text(parameters.read_text().replace("typedef hidden_accum_t accum_t", "typedef nothing_t accum_t"))
    with pytest.raises(ProcessError) as told:
        build_csim(project)
    first = str(told.value).splitlines()[0]
    assert "nothing_t" in first and "write the project again" in first and "layer 'hidden'" in first


def test_onnx_runtimes_words_have_a_remedy() -> None:
    import onnxruntime

    with pytest.raises(HlsError, match="use csim"), runtime_words():
        onnxruntime.InferenceSession(b"no model")
    with pytest.raises(ZeroDivisionError), runtime_words():
        raise ZeroDivisionError
