"""Markdown, CSV and LaTeX: every figure with its source, every string harmless."""

from __future__ import annotations

import csv
import io
import re
import shutil
from pathlib import Path

import pytest
from stage_records import fpga, mixed

from toolkit.comparison import compare
from toolkit.comparison.exports import csv_text, latex, latex_text, markdown, markdown_text
from toolkit.process import run

TIMES = "\N{MULTIPLICATION SIGN}"
HOSTILE = "a|b\n<script>alert(1)</script> *x* [l](javascript:x) $e^{i}$ \\input{/etc/passwd} & 50% #1 _t_ ~ `c`"


class TestMarkdown:
    def test_every_cell_says_its_source(self) -> None:
        text = markdown(compare(mixed()), "Title")
        line = next(line for line in text.splitlines() if line.startswith("| cnn q6"))
        for cell in line.split(" | ")[1:-1]:
            assert cell == "\N{EN DASH}" or re.fullmatch(rf"[\d,.]+( \({TIMES} [\d.]+\))? \*\w+\*", cell.strip()), cell

    def test_a_missing_engine_says_why(self) -> None:
        assert "needs TensorRT" in markdown(compare(mixed()), "Title")

    def test_speed_and_energy_are_also_told_against_the_reference(self) -> None:
        text = markdown(compare(mixed(), reference="onnxruntime int8"), "Title")
        assert f"800 ({TIMES} 13.3) *measured*" in text
        assert f"- {TIMES} is the ratio to onnxruntime int8" in text

    def test_a_hostile_name_stays_one_escaped_cell(self) -> None:
        text = markdown(compare([fpga(8, 0.9, HOSTILE)]), HOSTILE)
        row = next(line for line in text.splitlines() if "script" in line and line.startswith("|"))
        header = next(line for line in text.splitlines() if line.startswith("| Implementation"))
        assert len(re.findall(r"(?<!\\)\|", row)) == len(re.findall(r"(?<!\\)\|", header))
        assert "<script>" not in text
        assert markdown_text("a\nb") == "a b"


class TestCsv:
    def test_reads_back_with_all_figures(self) -> None:
        comparison = compare(mixed())
        lines = list(csv.DictReader(io.StringIO(csv_text(comparison))))
        assert [line["name"] for line in lines] == [row.name for row in comparison.rows]
        q6 = lines[[row.name for row in comparison.rows].index("cnn q6")]
        assert float(q6["lut"]) == comparison.row("cnn q6").figures["lut"].value
        assert q6["lut_source"] == "model"

    @pytest.mark.parametrize("name", ["=1+1", "+x", "-x", "@SUM(A1)", "\tx"])
    def test_no_cell_is_a_formula(self, name: str) -> None:
        lines = list(csv.DictReader(io.StringIO(csv_text(compare([fpga(8, 0.9, name)])))))
        assert lines[0]["name"] == f"'{name}"

    def test_names_with_commas_quotes_and_newlines_survive(self) -> None:
        name = 'a, "b"\nc'
        assert next(csv.DictReader(io.StringIO(csv_text(compare([fpga(8, 0.9, name)])))))["name"] == name


class TestLatex:
    def test_table_is_well_formed(self) -> None:
        text = latex(compare(mixed()), "A & B")
        columns = re.search(r"\\begin\{tabular\}\{l(r*)\}", text)
        assert columns is not None
        for row in [line for line in text.splitlines() if line.startswith("    ") and line.endswith(r"\\")]:
            assert len(re.findall(r"(?<!\\)&", row)) == len(columns[1]), row
        assert r"\caption{A \& B}" in text

    def test_says_what_the_other_tables_say(self) -> None:
        text = latex(compare(mixed()), "T")
        assert r"cnn q2 \textsuperscript{" in text  # Pareto marks
        assert "needs TensorRT" in text
        assert r"$\times$ is the ratio to keras float32" in text

    def test_accents_are_spelled_in_any_encoding(self) -> None:
        assert latex_text("é Ø ø ž 中 ́x") == r"\'{e} \O{} \o{} \v{z} ? ?x"

    def test_special_characters_are_escaped(self) -> None:
        text = latex_text(HOSTILE)
        assert not re.search(r"(?<!\\)[&%$#_]", text.replace(r"$\times$", ""))
        assert r"\input" not in text

    @pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
    def test_compiles(self, tmp_path: Path) -> None:
        body = latex(compare([*mixed(), fpga(3, 0.5, f'{HOSTILE} "é ß µ 中"')]), HOSTILE)
        document = "\\documentclass{article}\\usepackage{booktabs,graphicx}"  # what the table's first line asks for
        (tmp_path / "x.tex").write_text(f"{document}\\begin{{document}}\n{body}\n\\end{{document}}\n")
        run(["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "x.tex"], cwd=tmp_path, timeout_s=60)
        assert (tmp_path / "x.pdf").is_file()
