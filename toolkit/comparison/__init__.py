"""Records of FPGA designs and baselines, joined into one table, one set of figures and one report."""

from toolkit.comparison.compare import Comparison, compare
from toolkit.comparison.diff import diff
from toolkit.comparison.report import join_stored, load_comparison, report_from, write_report
from toolkit.comparison.rows import evaluate_outputs, implementation_from, judge

__all__ = [
    "Comparison",
    "compare",
    "diff",
    "evaluate_outputs",
    "implementation_from",
    "join_stored",
    "judge",
    "load_comparison",
    "report_from",
    "write_report",
]
