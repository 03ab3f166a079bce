"""Synthesis runs, the tool played by ``tests/mock_commands/fake_hls.py``: steps, resume, timeout, errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from toolkit.config import HlsConfig
from toolkit.errors import ConfigError, ProcessError, ReportError, StoreError, ToolNotFound
from toolkit.hls.vendor import STATE, find_vendor_tool, synthesize
from toolkit.records import Graph, HlsProject

FAKE = Path(__file__).parent.parent / "mock_commands" / "fake_hls.py"


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of its own with no vendor tool on it; tests link the fake under the names they want."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    for name in ("VITIS_RUN", "VITIS_HLS", "VIVADO_HLS"):
        monkeypatch.delenv(f"TOOLKIT_{name}", raising=False)
    return folder


def install(tools: Path, name: str) -> None:
    (tools / name).symlink_to(FAKE)


def project(tmp_path: Path, backend: str = "Vitis", digest: str = "abc") -> HlsProject:
    folder = tmp_path / "project"
    (folder / "firmware").mkdir(parents=True, exist_ok=True)
    (folder / "firmware" / "myproject.cpp").write_text("// generated\n")
    (folder / "build_prj.tcl").write_text("source build_opt.tcl\n")
    (folder / "toolkit").mkdir(exist_ok=True)
    return HlsProject(folder, digest, HlsConfig(backend=backend), Graph((), {}, (), (), digest), "myproject")


def calls(folder: Path) -> list[dict[str, list[str]]]:
    return [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]


def test_csynth_runs_on_a_copy_and_its_reports_come_back(tools: Path, tmp_path: Path) -> None:
    install(tools, "vitis-run")
    work = tmp_path / "work"
    done = synthesize(project(tmp_path), folder=work)
    assert done.tool == "vitis-run" and done.steps == ("csynth",) and done.seconds["csynth"] >= 0
    assert done.reports.csynth is not None and done.reports.csynth.top.lut == 95370
    assert calls(work)[0] == {
        "argv": ["vitis-run", "--mode", "hls", "--tcl", "build_prj.tcl"],
        "on": ["reset", "synth"],
    }
    assert "Total elapsed time" in (work / "csynth.log").read_text()
    assert sorted(path.name for path in (tmp_path / "project").iterdir()) == ["build_prj.tcl", "firmware", "toolkit"]
    assert not (work / "toolkit").exists()


def test_later_steps_bring_csynth_with_them_one_call_each(tools: Path, tmp_path: Path) -> None:
    install(tools, "vitis_hls")
    work, heard = tmp_path / "work", []
    done = synthesize(project(tmp_path), steps=("vsynth", "cosim"), folder=work, progress=heard.append)
    assert heard == ["csynth", "cosim", "vsynth"] == list(done.steps)
    assert [call["on"] for call in calls(work)] == [["reset", "synth"], ["cosim"], ["vsynth"]]
    assert calls(work)[0]["argv"] == ["vitis_hls", "-f", "build_prj.tcl"]
    assert done.reports.cosim is not None and done.reports.utilization is not None


def test_vivado_gets_its_switches_as_an_argument(tools: Path, tmp_path: Path) -> None:
    install(tools, "vivado_hls")
    work = tmp_path / "work"
    synthesize(project(tmp_path, "Vivado"), folder=work)
    assert calls(work)[0]["argv"][:3] == ["vivado_hls", "-f", "build_prj.tcl"]
    assert "synth=1" in calls(work)[0]["argv"][3] and "cosim=0" in calls(work)[0]["argv"][3]


def test_an_interrupted_run_goes_on_with_the_step_that_failed(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tools, "vitis-run")
    work = tmp_path / "work"
    monkeypatch.setenv("FAKE_HLS_FAIL", "cosim")
    with pytest.raises(ProcessError, match=r"(?s)cosim did not end.*HLS 200-1715.*cosim\.log.*goes on"):
        synthesize(project(tmp_path), steps=("csynth", "cosim"), folder=work)
    monkeypatch.delenv("FAKE_HLS_FAIL")
    done = synthesize(project(tmp_path), steps=("csynth", "cosim"), folder=work)
    assert [call["on"] for call in calls(work)] == [["reset", "synth"], ["cosim"], ["cosim"]]
    assert done.reports.cosim is not None


def test_what_is_done_is_not_run_again(tools: Path, tmp_path: Path) -> None:
    install(tools, "vitis-run")
    work = tmp_path / "work"
    first = synthesize(project(tmp_path), folder=work)
    second = synthesize(project(tmp_path), folder=work)
    assert len(calls(work)) == 1 and first.reports == second.reports


@pytest.mark.parametrize("damaged", [STATE, "*_csynth.rpt"])
def test_what_is_damaged_is_synthesized_again(damaged: str, tools: Path, tmp_path: Path) -> None:
    install(tools, "vitis-run")
    work = tmp_path / "work"
    first = synthesize(project(tmp_path), folder=work)
    found = list(work.rglob(damaged))
    assert found
    for path in found:
        path.write_bytes(b"")
    assert synthesize(project(tmp_path), folder=work).reports == first.reports
    assert synthesize(project(tmp_path), folder=work).reports == first.reports


def test_a_tool_that_reports_nothing_has_synthesized_nothing(tools: Path, tmp_path: Path) -> None:
    (tools / "vitis-run").write_text("#!/bin/sh\nexit 0\n")
    (tools / "vitis-run").chmod(0o755)
    for _ in range(2):
        with pytest.raises(ReportError):
            synthesize(project(tmp_path), folder=tmp_path / "work")
    assert not (tmp_path / "work" / STATE).exists()


def test_a_step_that_takes_too_long_is_ended(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tools, "vitis-run")
    monkeypatch.setenv("FAKE_HLS_SLEEP", "30")
    with pytest.raises(ProcessError, match="ran longer than 1 s"):
        synthesize(project(tmp_path), folder=tmp_path / "work", timeout_s=1)
    assert not (tmp_path / "work" / STATE).exists()


def test_the_work_folder_of_another_project_is_left_alone(tools: Path, tmp_path: Path) -> None:
    install(tools, "vitis-run")
    synthesize(project(tmp_path), folder=tmp_path / "work")
    with pytest.raises(StoreError, match="another project"):
        synthesize(project(tmp_path, digest="def"), folder=tmp_path / "work")


def test_without_a_tool_the_message_says_what_to_do(tools: Path) -> None:
    with pytest.raises(ToolNotFound, match=r"(?s)vitis-run or vitis_hls.*TOOLKIT_VITIS_RUN.*toolkit estimate"):
        find_vendor_tool("Vitis")
    with pytest.raises(ToolNotFound, match="vivado_hls"):
        find_vendor_tool("Vivado")


def test_vitis_run_is_preferred(tools: Path) -> None:
    install(tools, "vitis_hls")
    assert find_vendor_tool("Vitis")[0] == "vitis_hls"
    install(tools, "vitis-run")
    assert find_vendor_tool("Vitis")[0] == "vitis-run"


@pytest.mark.parametrize("steps", [("synthesis",), ()])
def test_unknown_steps_are_refused(steps: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="csim, csynth, cosim, export, vsynth"):
        synthesize(project(tmp_path), steps=steps)
