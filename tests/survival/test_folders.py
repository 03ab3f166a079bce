"""hls4ml folders of strangers: success or one error with its place, in time, nothing outside read or written."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.survival.hostile_folders import Mutation, mutations
from tests.survival.judge import CANARY, judge
from toolkit.cli import exit_code
from toolkit.emulation import emulate
from toolkit.errors import HlsError
from toolkit.estimation import estimate
from toolkit.hls import check_vectors, lint, open_project


def use(folder: Path) -> None:
    """What ``toolkit check`` does with a folder."""
    project = open_project(folder)
    emulator = emulate(project)
    check_vectors(project, emulator, "emulation")
    lint(project, estimate=estimate(project))


def faults(cases: Sequence[tuple[str, Mutation]], base: Path, scratch: Path) -> list[str]:
    """What is wrong with how the cases end."""
    found = []
    for number, (name, mutate) in enumerate(cases):
        place = scratch / str(number)
        folder, outside = place / "project", place / "outside"
        shutil.copytree(base, folder)
        outside.mkdir()
        (outside / "secret.txt").write_text(f"{CANARY}, 1.0, 2.0\n" * 50)
        mutate(folder, outside)
        ended, wrong = judge(lambda folder=folder: use(folder), outside)
        found += [f"{name}: {fault} ({ended[:200]})" for fault in wrong]
        shutil.rmtree(place)
    return found


def test_hostile_folders(hls_folder: Path, tmp_path: Path) -> None:
    assert faults(mutations(40, seed=1), hls_folder, tmp_path) == []


@pytest.mark.slow
def test_900_hostile_folders(hls_folder: Path, tmp_path: Path) -> None:
    assert faults(mutations(900), hls_folder, tmp_path) == []


def test_the_unspoilt_folder_is_understood(hls_folder: Path) -> None:
    use(hls_folder)


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("parameters.h", "out_width = 4;", "out_width = 1 << 70;", r"rs\.h, line \d+: a shift must be by 0 to 63"),
        ("parameters.h", "out_width = 4;", "out_width = ;", r"rs\.h, line \d+: struct config3 must define"),
        ("parameters.h", "out_width = 4;", "out_width = 5;", r"rs\.h, line \d+: a width of 3 in 6 takes 4 steps"),
        ("parameters.h", "n_out = 4;", "n_out = 4294967297;", r"rs\.h, line \d+: struct config6: n_out must be"),
        ("myproject.cpp", "= layer4_out;", "= layer5_out;", r"myproject\.cpp, line \d+: layer5_out renames layer5_out"),
        ("myproject.cpp", '"w3.txt"', '"../../../outside.txt"', "must lie inside"),
        ("defines.h", "ap_fixed<4,1> weight3_t", "ap_fixed<9999,1> weight3_t", r"w3\.txt: precision width must be"),
    ],
)  # fmt: skip
def test_an_error_says_where(hls_folder: Path, tmp_path: Path, file: str, old: str, new: str, told: str) -> None:
    folder = tmp_path / "project"
    shutil.copytree(hls_folder, folder)
    (tmp_path / "outside.txt").write_text(CANARY)
    path = folder / "firmware" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(HlsError, match=told):
        open_project(folder)


@pytest.mark.parametrize(("old", "new"), [("= 4;", "= 0x4;"), ("= 4;", "= 1 << 2;"), ("= 4;", "= 04u;")])
def test_constants_in_any_spelling(hls_folder: Path, tmp_path: Path, old: str, new: str) -> None:
    folder = tmp_path / "project"
    shutil.copytree(hls_folder, folder)
    path = folder / "firmware" / "parameters.h"
    path.write_text(path.read_text().replace(old, new))
    assert [layer.shape for layer in open_project(folder).layers] == [
        layer.shape for layer in open_project(hls_folder).layers
    ]


def test_a_strangers_c_plus_plus_is_not_run_unasked(
    hls_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """check emulates it; csim, which was asked for, says whose rights it has."""
    monkeypatch.setenv("TOOLKIT_GXX", "/nowhere/g++")
    assert exit_code(["check", str(hls_folder)]) == 0
    said = capsys.readouterr()
    assert "its C++ is emulated, not run" in said.err
    assert "emulation equals" in said.out or "emulation differs" in said.out
    assert exit_code(["csim", str(hls_folder)]) == 2
    assert "its C++ runs with your rights" in capsys.readouterr().err
