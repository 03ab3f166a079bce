"""Parsers of vendor reports, on short excerpts of real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.errors import ReportError
from toolkit.hls.reports import (
    parse_cosim_rpt,
    parse_csynth_rpt,
    parse_csynth_xml,
    parse_timing,
    parse_utilization,
    read_reports,
)

EXCERPTS = Path(__file__).parent / "report_excerpts"


def excerpt(name: str) -> str:
    return (EXCERPTS / name).read_text()


def test_vitis_csynth_xml() -> None:
    report = parse_csynth_xml(excerpt("vitis_2024.1_csynth.xml"))
    assert (report.tool_version, report.part) == ("2024.1", "xcu250-figd2104-2L-e")
    assert (report.clock_period_ns, report.uncertainty_ns, report.top.clock_ns) == (5.0, 1.35, 1.095)
    assert report.top.name.startswith("relu_ap_fixed_15_14")
    assert (report.top.latency_max, report.top.interval_max, report.top.lut, report.top.ff) == (0, 1, 280, 0)
    assert report.available["dsp"] == 12288


def test_vivado_csynth_rpt() -> None:
    report = parse_csynth_rpt(excerpt("vivado_2019.2_csynth.rpt"))
    assert (report.tool_version, report.part, report.clock_period_ns) == ("2019.2.1", "xcvu9p-flgb2104-2-i", 5.0)
    top = report.top
    assert (top.latency_min, top.latency_max, top.interval_max) == (1752, 1752, 1204)
    assert (top.bram_18k, top.dsp, top.ff, top.lut, top.uram) == (65, 191, 41580, 95370, 0)
    assert report.available == {"bram_18k": 4320, "dsp": 6840, "ff": 2364480, "lut": 1182240, "uram": 960}
    modules = {module.name: module for module in report.modules}
    dense = modules["dense_large_stream_ap_fixed_ap_fixed_config16_s"]
    assert (dense.latency_max, dense.interval_max, dense.dsp, dense.ff, dense.lut) == (415, 415, 2, 16687, 28455)


def test_vitis_synthesis_summary() -> None:
    report = parse_csynth_rpt(excerpt("vitis_2024.1_summary.rpt"))
    assert (report.tool_version, report.top.name) == ("2024.1", "myproject")
    assert (report.top.latency_max, report.top.interval_max, report.top.dsp, report.top.lut) == (8, 1, 50, 16512)
    assert [module.lut for module in report.modules] == [8169, 490]
    assert report.modules[1].dsp == 0


def test_cosim_rpt() -> None:
    report = parse_cosim_rpt(excerpt("vivado_2019.2_cosim.rpt"))
    assert (report.rtl, report.status) == ("Verilog", "Pass")
    assert (report.latency_min, report.latency_avg, report.latency_max) == (1966, 2355, 2694)
    assert (report.interval_min, report.interval_max) == (476, 1492)


def test_utilization_counts_two_blocks_a_tile() -> None:
    report = parse_utilization(excerpt("vivado_2019.2_utilization.rpt"))
    assert (report.state, report.tool_version, report.device) == ("Synthesized", "2019.2.1", "xcvu9pflgb2104-2")
    assert (report.lut, report.ff, report.bram_18k, report.dsp, report.uram) == (52255, 34331, 29, 191, 0)


@pytest.mark.parametrize("name", ["vivado_2019.2_timing.rpt", "vivado_2019.2_export.rpt"])
def test_timing_says_what_was_reached(name: str) -> None:
    report = parse_timing(excerpt(name))
    assert (report.slack_ns, report.period_ns, report.achieved_ns) == (-1.321, 5.0, 6.321)


@pytest.mark.parametrize(
    ("parser", "text", "message"),
    [
        (parse_csynth_xml, "not xml", "cannot be read"),
        (parse_csynth_xml, "<!DOCTYPE a><a/>", "document type"),
        (parse_csynth_xml, "<profile/>", "UserAssignments"),
        (parse_csynth_rpt, "hello", "Performance Estimates"),
        (parse_cosim_rpt, "|   Verilog|      NA|  NA|  NA|  NA|  NA|  NA|  NA|", "no line of a simulated RTL"),
        (parse_utilization, "| CLB LUTs | 3 |", "lacks CLB Registers, Block RAM Tile, DSPs"),
        (parse_timing, "nothing", "WNS"),
    ],
)
def test_a_report_that_lacks_something_says_what(parser: object, text: str, message: str) -> None:
    with pytest.raises(ReportError, match=message):
        parser(text)  # type: ignore[operator]


def test_a_folder_of_reports_is_read_whole(tmp_path: Path) -> None:
    solution = tmp_path / "myproject_prj/solution1"
    for folder, name, source in (
        ("syn/report", "myproject_csynth.rpt", "vivado_2019.2_csynth.rpt"),
        ("sim/report", "myproject_cosim.rpt", "vivado_2019.2_cosim.rpt"),
        ("impl/report", "myproject_timing_synth.rpt", "vivado_2019.2_timing.rpt"),
    ):
        (solution / folder).mkdir(parents=True)
        (solution / folder / name).write_text(excerpt(source))
    (tmp_path / "vivado_synth.rpt").write_text(excerpt("vivado_2019.2_utilization.rpt"))
    found = read_reports(tmp_path)
    assert found.csynth is not None and found.csynth.top.lut == 95370
    assert found.cosim is not None and found.utilization is not None and found.timing is not None


def test_errors_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "top_csynth.xml").write_text("<profile/>")
    with pytest.raises(ReportError, match=r"top_csynth\.xml"):
        read_reports(tmp_path)


def test_an_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"vivado_synth\.rpt"):
        read_reports(tmp_path)
