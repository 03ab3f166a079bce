"""Pages that several tests look at, written once."""

from __future__ import annotations

from pathlib import Path

import pytest
from stage_records import HOSTILE, baseline, check, fpga, mixed

from toolkit.comparison import compare, implementation_from, write_report


@pytest.fixture(scope="session")
def full_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every section, and strings that would do harm as markup wherever a user's string goes."""
    hostile = implementation_from(fpga(3, 0.85, HOSTILE), check(3, False, layer=HOSTILE), name=HOSTILE)
    facts = {HOSTILE: HOSTILE, "command": HOSTILE, "dataset": HOSTILE}
    comparison = compare([*mixed(), hostile], facts=facts)
    return write_report(comparison, tmp_path_factory.mktemp("full") / "r", title=HOSTILE, formats=("html",))


@pytest.fixture(scope="session")
def hundred_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred designs and a baseline."""
    rows = [fpga(2 + index % 15, 0.5 + index / 250, f"design {index}") for index in range(100)]
    comparison = compare([baseline("keras", 800, 0.9), *rows])
    return write_report(comparison, tmp_path_factory.mktemp("hundred") / "r", formats=("html",))
