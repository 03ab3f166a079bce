"""The device table: what it holds, how parts are found, how a user adds one."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.devices import family_of, find_device, load_devices, require_device
from toolkit.errors import ConfigError
from toolkit.estimation.tools import parse_tool


@pytest.mark.parametrize(
    ("part", "family", "dsp", "bram"),
    [
        ("xc7z020clg400-1", "7series", 220, 280),
        ("xc7a100tcsg324-1", "7series", 240, 270),
        ("xczu9eg-ffvb1156-2-e", "ultrascale+", 2520, 1824),
        ("xck26-sfvc784-2LV-c", "ultrascale+", 1248, 288),
        ("xcu250-figd2104-2L-e", "ultrascale+", 12288, 5376),
        ("xcu55c-fsvh2892-2L-e", "ultrascale+", 9024, 4032),
        ("xcvu13p-flga2577-2-e", "ultrascale+", 12288, 5376),
    ],
)
def test_a_part_is_found_by_its_start(part: str, family: str, dsp: int, bram: int) -> None:
    device = require_device(part)
    assert (device.family, device.dsp, device.bram_18k) == (family, dsp, bram)


def test_every_board_of_the_issue_has_a_part_with_a_source() -> None:
    boards = {board for device in load_devices().values() for board in device.boards}
    assert {"PYNQ-Z2", "Arty A7-100T", "ZCU102", "ZCU104", "KV260", "Ultra96"} <= boards
    assert {"Alveo U50", "Alveo U200", "Alveo U250", "Alveo U55C"} <= boards
    assert all(device.source for device in load_devices().values())


def test_an_unknown_part_is_answered_with_the_nearest() -> None:
    assert find_device("xc7z030sbg485-1") is None
    with pytest.raises(ConfigError, match=r"xc7z0.*TOOLKIT_DEVICES"):
        require_device("xc7z030sbg485-1")


def test_a_user_adds_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "devices.toml"
    table.write_text(
        '[xc7z030]\nfamily = "7series"\nlut = 78600\nff = 157200\n'
        'dsp = 400\nbram_18k = 530\nuram = 0\nsource = "DS190"\n'
    )
    assert require_device("xc7z030sbg485-1", table).lut == 78600
    monkeypatch.setenv("TOOLKIT_DEVICES", str(table))
    assert require_device("xc7z030sbg485-1").dsp == 400


def test_a_bad_table_names_what_is_missing(tmp_path: Path) -> None:
    table = tmp_path / "devices.toml"
    table.write_text('[xc1]\nfamily = "7series"\nlut = 1\ncolour = "red"\n')
    with pytest.raises(ConfigError, match=r"xc1.*missing: bram_18k, dsp, ff, source, uram; unknown: colour"):
        load_devices(table)


@pytest.mark.parametrize(
    ("part", "family"), [("xc7k70t", "7series"), ("xcvu3p-x", "ultrascale+"), ("xcku040", "ultrascale")]
)
def test_families_of_parts_in_no_table(part: str, family: str) -> None:
    assert family_of(part) == family


@pytest.mark.parametrize(
    ("text", "name", "version"),
    [
        ("vitis_hls 2023.2", "vitis_hls", (2023, 2)),
        ("vivado_hls 2019.2.1", "vivado_hls", (2019, 2)),
        ("Vitis", "vitis_hls", (2023, 2)),
        ("vitis-run 2024.1", "vitis_hls", (2024, 1)),
    ],
)
def test_tools_are_read_by_name_and_version(text: str, name: str, version: tuple[int, int]) -> None:
    tool = parse_tool(text)
    assert (tool.name, tool.version) == (name, version)


def test_an_unknown_tool_is_refused() -> None:
    with pytest.raises(ConfigError, match="vitis_hls 2023"):
        parse_tool("quartus 21")
