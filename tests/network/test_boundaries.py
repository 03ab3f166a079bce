"""What keeps the description of a network in one place: types are values behind the front ends, names stay in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "toolkit"

# Where text becomes a type: the type itself, what the user wrote, front ends, and what lies on disk as text.
PARSES = {
    "precision.py": "defines it",
    "sections.py": "what the user wrote",
    "hls/lint.py": "the configuration's own precision",
    "hls/softmax.py": "types that the user names for a softmax, before conversion",
    "hls/csim.py": "weights that g++ reads, in hls4ml's record",
    "network/storage.py": "a stored network",
    "estimation/rows.py": "rows of synthesis results",
    "comparison/layer_charts.py": "a stored report",
}
# Modules of hls/ that read or write hls4ml's own words.
FRONT_ENDS = {
    *("asked", "convert", "csim", "firmware", "folder", "graph", "handlers", "limits", "names", "network"),
    *("onnx_models", "quantizers", "settle", "sources"),
}
# Rooms whose layers are Keras' or PyTorch's, which have attributes of their own.
OTHER_LAYERS = ("zoo", "training", "baselines", "data")


TYPES = ("result", "accum", "weight", "bias", "table", "exp_table")  # hls4ml's names of types end in _t


def sources() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).parts[0] not in OTHER_LAYERS]


def is_front_end(path: Path) -> bool:
    return path.relative_to(PACKAGE).parts[0] == "hls" and path.stem in FRONT_ENDS


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
class TestBehindTheFrontEnds:
    def test_no_type_is_parsed_again(self, path: Path) -> None:
        if str(path.relative_to(PACKAGE)) not in PARSES and not is_front_end(path):
            assert "Precision.parse(" not in path.read_text(), "take the Precision from toolkit.network"

    def test_no_attribute_is_looked_up_by_hls4mls_name(self, path: Path) -> None:
        if not is_front_end(path):
            text = path.read_text()
            assert not re.search(r"\.attributes\b(?!\()", text), "say it in toolkit/network, read it in a front end"
            assert not any(
                f'"{name}_t"' in text for name in ("result", "accum", "weight", "bias", "table", "exp_table")
            )


def test_the_list_of_readers_of_text_is_short_and_true() -> None:
    for name in PARSES.keys() - {"precision.py"}:
        assert "Precision.parse(" in (PACKAGE / name).read_text(), f"{name} parses no type now: take it off the list"
