"""The figures a comparison knows by name: titles, display units, which way is better, how they print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from toolkit.data.merit import MERITS
from toolkit.records import Figure, Metric

Group = Literal["Accuracy", "Merit", "Speed", "Area", "Energy", "Numbers"]


@dataclass(frozen=True)
class Column:
    """One column: figures are stored in ``key``'s unit and shown multiplied by ``scale`` in ``unit``."""

    key: str
    title: str
    unit: str
    group: Group
    meaning: str
    better: Literal["higher", "lower"] | None = None
    scale: float = 1.0
    decimals: int | None = None  # fixed decimals; absent: three significant digits, whole numbers in full

    @property
    def heading(self) -> str:
        """Title with unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def shown(self, value: float) -> float:
        """A stored value in the display unit."""
        return value * self.scale

    def text(self, value: float) -> str:
        """A stored value as a reader sees it."""
        return number(self.shown(value), self.decimals)


def metric_column(metric: Metric) -> Column:
    """The column of a figure of merit: fractions in percent, everything else in three significant digits."""
    if metric.unit == "fraction":
        return Column(metric.name, metric.title, "%", "Merit", metric.meaning, metric.better, 100, 2)
    return Column(metric.name, metric.title, metric.unit, "Merit", metric.meaning, metric.better)


COLUMNS: tuple[Column, ...] = (
    Column("accuracy", "Accuracy", "%", "Accuracy", "top-1 on the test images", "higher", 100, 2),
    Column("top5", "Top-5", "%", "Accuracy", "label among the five largest logits", "higher", 100, 2),
    Column("agreement", "Agreement", "%", "Accuracy", "same class as the float model", "higher", 100, 2),
    *(metric_column(item.metric) for name, item in MERITS.items() if name not in ("accuracy", "agreement")),
    Column("latency_us", "Latency", "µs", "Speed", "one image; FPGA: the kernel, without host or bus", "lower"),
    Column("host_overhead_us", "Host overhead", "µs", "Speed", "host, driver and bus on top of the kernel", "lower"),
    Column("latency_cycles", "Latency", "cycles", "Speed", "first input to last output", "lower"),
    Column("initiation_interval_cycles", "II", "cycles", "Speed", "cycles between two images", "lower"),
    Column("throughput_hz", "Throughput", "images/s", "Speed", "FPGA: clock / II; engine: best batch size", "higher"),
    Column("lut", "LUT", "", "Area", "look-up tables", "lower"),
    Column("ff", "FF", "", "Area", "flip-flops", "lower"),
    Column("dsp", "DSP", "", "Area", "DSP slices", "lower"),
    Column("bram_18k", "BRAM", "18 Kb", "Area", "block RAM in 18 Kb units", "lower"),
    Column("uram", "URAM", "", "Area", "UltraRAM blocks", "lower"),
    Column("energy_uj", "Energy", "µJ", "Energy", "per image", "lower"),
    Column("weight_bits", "Weights", "bits", "Numbers", "width of a weight, mean over weights", "lower"),
    Column("activation_bits", "Activations", "bits", "Numbers", "width of an activation, mean over values", "lower"),
    Column("weight_bytes", "Weight memory", "KiB", "Numbers", "every weight at its own width", "lower", 1 / 1024),
    Column("parameters", "Parameters", "", "Numbers", "weights and biases", None),
    Column("macs", "MACs", "", "Numbers", "multiply-accumulates per image", None),
)

BY_KEY = {column.key: column for column in COLUMNS}

# What a figure of merit stands against in a Pareto front.
FRONTS = {"latency": "latency_us", "lut": "lut", "energy": "energy_uj"}


def column_of(key: str, metrics: Sequence[Metric] = ()) -> Column:
    """The column of a figure by name; ``metrics`` are what its rows are judged by, the user's own among them."""
    own = next((metric for metric in metrics if metric.name == key and metric.name != "accuracy"), None)
    return metric_column(own) if own else BY_KEY[key]


# Short tags that stand beside every figure, and what they mean.
SOURCE_MEANING = {
    "measured": "measured on the machine that the environment of its record names",
    "csim": "computed by the compiled HLS C++ (bit-accurate)",
    "emulation": "computed by the bit-exact emulator of the HLS project",
    "csynth": "reported by high-level synthesis, before placement",
    "cosim": "reported by RTL co-simulation",
    "vsynth": "reported by logic synthesis",
    "board": "measured on an FPGA board",
    "published": "taken from a publication, cited in the note",
    "model": "estimated by a model, with an interval",
    "counted": "counted from the model and its types",
}


def number(value: float, decimals: int | None = None) -> str:
    """``12,345``; ``0.0123``; ``1.24``; fixed decimals when given; thousands separated."""
    if decimals is not None:
        return f"{value:,.{decimals}f}"
    if not math.isfinite(value):
        return str(value)
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def interval_text(column: Column, figure: Figure) -> str:
    """``low to high`` in the display unit, or nothing."""
    if figure.low is None or figure.high is None:
        return ""
    return f"{column.text(figure.low)} to {column.text(figure.high)}"


def goodness(key: str, figure: Figure, metrics: Sequence[Metric] = ()) -> float:
    """The value turned so that larger is better."""
    return figure.value if column_of(key, metrics).better == "higher" else -figure.value


def normal(key: str, figure: Figure) -> Figure:
    """Fractions given in percent become fractions, so that a column has one unit."""
    if key not in ("accuracy", "top5", "agreement") or figure.unit not in ("%", "percent"):
        return figure
    low, high = (None if bound is None else bound / 100 for bound in (figure.low, figure.high))
    return Figure(figure.value / 100, "fraction", figure.source, low, high, figure.note)
