"""The report folder: files, atomic replacement, records that read back, reports of reports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stage_records import baseline, fpga, mixed

from toolkit.comparison import compare, load_comparison, report_from, write_report
from toolkit.comparison.codec import decode, encode
from toolkit.errors import ComparisonError, ConfigError, StoreError
from toolkit.records import Estimate

TABLES = ("md", "csv", "json", "tex")


def written(folder: Path) -> set[str]:
    return {str(item.relative_to(folder)) for item in folder.rglob("*") if item.is_file()}


class TestFolder:
    def test_tables_only(self, tmp_path: Path) -> None:
        assert write_report(compare(mixed()), tmp_path / "r", formats=TABLES) == tmp_path / "r"
        assert written(tmp_path / "r") == {"report.md", "report.csv", "report.json", "report.tex"}

    def test_figures_in_every_kind(self, tmp_path: Path) -> None:
        write_report(compare([fpga(8, 0.9), fpga(4, 0.8)]), tmp_path / "r", formats=("svg", "png", "pdf"))
        files = written(tmp_path / "r")
        for kind, magic in (("svg", b"<svg"), ("png", b"\x89PNG"), ("pdf", b"%PDF")):
            assert f"figures/accuracy_bits.{kind}" in files
            assert (tmp_path / "r" / f"figures/accuracy_bits.{kind}").read_bytes().startswith(magic)
            assert {f"figures/data_flow.{kind}", f"figures/layers.{kind}"} <= files
        assert json.loads((tmp_path / "r/figures/accuracy_bits.vl.json").read_text())["$schema"].endswith(".json")

    def test_an_earlier_report_is_replaced_whole(self, tmp_path: Path) -> None:
        write_report(compare(mixed()), tmp_path / "r", formats=TABLES)
        write_report(compare(mixed()), tmp_path / "r", formats=("json",))
        assert written(tmp_path / "r") == {"report.json"}

    def test_a_folder_with_other_files_is_refused_and_kept(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.tex").write_text("x")
        with pytest.raises(StoreError, match=r"thesis\.tex"):
            write_report(compare(mixed()), tmp_path)
        assert written(tmp_path) == {"thesis.tex"}

    def test_a_file_is_no_folder(self, tmp_path: Path) -> None:
        (tmp_path / "r").write_text("x")
        with pytest.raises(StoreError, match="needs a folder"):
            write_report(compare(mixed()), tmp_path / "r")

    def test_unknown_format(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match='did you mean "html"'):
            write_report(compare(mixed()), tmp_path / "r", formats=("htlm",))
        assert written(tmp_path) == set()

    def test_nothing_is_left_when_writing_fails(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> str:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("toolkit.comparison.exports.markdown", full)
        with pytest.raises(StoreError, match="No space left"):
            write_report(compare(mixed()), tmp_path / "r", formats=TABLES)
        assert written(tmp_path) == set()


class TestRoundTrip:
    def test_the_json_holds_the_table_too(self, tmp_path: Path) -> None:
        write_report(compare(mixed()), tmp_path / "r", formats=("json",))
        lines = {line["name"]: line for line in json.loads((tmp_path / "r/report.json").read_text())["table"]}
        assert lines["cnn q6"]["lut_source"] == "model"
        assert lines["onnxruntime int8"]["latency_us_ratio"] == pytest.approx(60 / 800)
        assert lines["cnn q2"]["pareto_lut"]

    def test_rows_read_back_equal(self, tmp_path: Path) -> None:
        before = compare(mixed(), facts={"dataset": "digits"})
        write_report(before, tmp_path / "r", formats=("json",))
        after = load_comparison(tmp_path / "r")
        assert encode(after.rows) == encode(before.rows)
        assert (after.reference, after.test_digest, after.facts) == (before.reference, "test", {"dataset": "digits"})
        for one, two in zip(before.rows, after.rows, strict=True):
            assert (one.name, one.figures, one.facts, one.parts) == (two.name, two.figures, two.facts, two.parts)

    def test_tables_of_stored_records_are_the_same(self, tmp_path: Path) -> None:
        write_report(compare(mixed()), tmp_path / "a", title="T", formats=TABLES)
        report_from([tmp_path / "a"], tmp_path / "b", formats=TABLES)
        for name in ("report.md", "report.csv", "report.json", "report.tex"):
            assert (tmp_path / "a" / name).read_text() == (tmp_path / "b" / name).read_text(), name

    def test_two_reports_become_one(self, tmp_path: Path) -> None:
        write_report(compare([fpga(8, 0.9)]), tmp_path / "a", formats=("json",))
        write_report(compare([baseline("keras", 10, 0.9)]), tmp_path / "b", formats=("json",))
        report_from([tmp_path / "a", tmp_path / "b" / "report.json"], tmp_path / "c", formats=("json",))
        assert [row.name for row in load_comparison(tmp_path / "c").rows] == ["cnn q8", "keras"]

    def test_reports_on_other_test_sets_are_refused(self, tmp_path: Path) -> None:
        write_report(compare([fpga(8, 0.9)]), tmp_path / "a", formats=("json",))
        write_report(compare([baseline("keras", 10, 0.9, digest="other")]), tmp_path / "b", formats=("json",))
        with pytest.raises(ComparisonError, match="one test set"):
            report_from([tmp_path / "a", tmp_path / "b"], tmp_path / "c")


class TestMalformed:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("[]", "holds no stored report"),
            ("{", "cannot be read as JSON"),
            ('{"schema": 99, "rows": []}', "schema 99"),
            ('{"schema": 1, "rows": [{"record": "os.system"}]}', "os.system"),
            ('{"schema": 1, "rows": [{"record": "Figure", "value": 1}]}', "Figure is malformed"),
            ('{"schema": 2, "shared": [{"@same": 0}], "rows": []}', "refers to shared record 0 of 0"),
            ('{"schema": 2, "shared": [], "rows": [{"@same": -1}]}', "refers to shared record -1"),
            ('{"schema": 2, "shared": ["x"], "rows": [{"@same": "0"}]}', "refers to shared record '0'"),
            ('{"schema": 1, "rows": [{"record": "Figure", "value": 1, "unit": "x", "source": "rumour"}]}', "source"),
        ],
    )
    def test_is_told(self, tmp_path: Path, content: str, message: str) -> None:
        (tmp_path / "report.json").write_text(content)
        with pytest.raises(StoreError, match=message):
            load_comparison(tmp_path)

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="does not exist"):
            load_comparison(tmp_path)

    def test_what_is_no_record_is_not_stored(self) -> None:
        with pytest.raises(StoreError, match="object"):
            encode(object())

    def test_unknown_fields_of_a_later_version_are_passed_over(self) -> None:
        stored = {"record": "Figure", "value": 1.0, "unit": "us", "source": "csim", "colour": "blue"}
        assert decode(stored).value == 1.0


def test_a_thousand_designs_are_stored_in_megabytes_and_come_back_equal(tmp_path: Path) -> None:
    rows = [fpga(2 + index % 14, 0.5 + index % 9 / 20, f"design {index}") for index in range(1000)]
    made = compare(rows)
    write_report(made, tmp_path / "report", formats=["json"])
    assert (tmp_path / "report" / "report.json").stat().st_size < 10e6
    found = load_comparison(tmp_path / "report")
    assert encode(found.rows) == encode(made.rows)
    estimates = [next(part for part in row.parts if isinstance(part, Estimate)) for row in found.rows]
    assert estimates[0].layers[0] is estimates[14].layers[0]
