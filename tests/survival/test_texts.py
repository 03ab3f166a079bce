"""Design files, sweep files, device tables and vendor reports of strangers: one clear message each, in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.survival.hostile_texts import hostile_reports, hostile_toml
from tests.survival.judge import judge
from toolkit.config import load_design
from toolkit.exploration.space import read_sweep
from toolkit.hls.reports import read_reports

ROOT = Path(__file__).parent.parent.parent
DESIGN = (ROOT / "hls_projects" / "convnet_mnist5k" / "design.toml").read_text()
SWEEP = (ROOT / "hls_projects" / "cifar10_cnn_fashion" / "sweep.toml").read_text()
EXCERPTS = ROOT / "tests" / "hls" / "report_excerpts"
LAYERS = {"conv2d": True, "dense": True, "flatten": False}


def faults(cases: Sequence[tuple[str, bytes]], path: Path, use: Callable[[], object]) -> list[str]:
    """What is wrong with how ``use`` ends on each content of the file at ``path``."""
    found = []
    for name, content in cases:
        path.write_bytes(content)
        ended, wrong = judge(use)
        found += [f"{path.name}: {name}: {fault} ({ended[:200]})" for fault in wrong]
    return found


def toml_faults(folder: Path, count: int, seed: int) -> list[str]:
    design, sweep = folder / "design.toml", folder / "sweep.toml"
    found = faults(hostile_toml(DESIGN, count, seed), design, lambda: load_design(design))
    return found + faults(hostile_toml(SWEEP, count, seed), sweep, lambda: read_sweep(sweep, lambda _: LAYERS))


def report_faults(folder: Path, count: int, seed: int) -> list[str]:
    found = []
    for excerpt in sorted(EXCERPTS.iterdir()):
        place = folder / excerpt.name.replace(".", "_")
        place.mkdir()
        cases = hostile_reports(excerpt.read_text(), count, seed)
        found += faults(cases, place / report_name(excerpt), lambda place=place: read_reports(place))
    return found


def report_name(excerpt: Path) -> str:
    """The name under which a report is looked for."""
    kinds = {
        "cosim": "top_cosim.rpt",
        "util": "top_utilization.rpt",
        "timing": "top_timing.rpt",
        "export": "top_export.rpt",
    }
    return next((name for kind, name in kinds.items() if kind in excerpt.name), f"top_csynth{excerpt.suffix}")


def test_hostile_toml(tmp_path: Path) -> None:
    assert toml_faults(tmp_path, 50, seed=1) == []


def test_hostile_reports(tmp_path: Path) -> None:
    assert report_faults(tmp_path, 6, seed=1) == []


@pytest.mark.slow
def test_1000_hostile_design_and_sweep_files(tmp_path: Path) -> None:
    assert toml_faults(tmp_path, 500, seed=0) == []


@pytest.mark.slow
def test_100_hostile_reports_of_each_kind(tmp_path: Path) -> None:
    assert report_faults(tmp_path, 100, seed=0) == []
