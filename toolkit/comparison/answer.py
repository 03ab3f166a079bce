"""The answer first: which design wins on what, in sentences computed from the records, with caveats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.baselines.evaluation import Evaluation
from toolkit.comparison.columns import BY_KEY, goodness
from toolkit.comparison.compare import Comparison
from toolkit.records import CheckResult, Estimate, Figure, Implementation

# A design counts as accurate as float when it loses no more than this.
CLOSE = 0.01


@dataclass(frozen=True)
class Answer:
    """Sentences that answer, the figures to show large, and what a reader must keep in mind."""

    sentences: tuple[str, ...]
    cards: tuple[Card, ...]
    caveats: tuple[str, ...]


@dataclass(frozen=True)
class Card:
    """One winner: what it wins, its name, the figure, where it comes from, and a word of context."""

    label: str
    name: str
    value: str
    unit: str
    source: str
    context: str = ""


def answer(comparison: Comparison) -> Answer:
    """What a reader wants to know first."""
    designs = [row for row in comparison.rows if row.family == "fpga"]
    sentences = [
        text for text in (accuracy_sentence(comparison, designs), choice_sentence(comparison, designs)) if text
    ]
    sentences += [text for text in (engine_sentence(comparison, designs), fit_sentence(designs)) if text]
    return Answer(tuple(sentences), cards(comparison, designs), caveats(comparison))


def best(rows: Sequence[Implementation], key: str) -> Implementation | None:
    """The row with the best figure of a name; the first of equals."""
    known = [row for row in rows if key in row.figures]
    return max(known, key=lambda row: goodness(key, row.figures[key])) if known else None


def float_row(comparison: Comparison) -> Implementation | None:
    """The row that stands for float accuracy: the reference if it has one, else the first float row."""
    wide = [row for row in comparison.rows if row.family != "fpga" and "accuracy" in row.figures]
    reference = [row for row in wide if row.name == comparison.reference]
    return next(iter(reference or wide), None)


def said(row: Implementation, key: str) -> str:
    """``112 µs (model)``."""
    column, figure = BY_KEY[key], row.figures[key]
    return f"{column.text(figure.value)} {column.unit}".strip() + f" ({figure.source})"


def accuracy_sentence(comparison: Comparison, designs: Sequence[Implementation]) -> str | None:
    top = best(designs, "accuracy")
    if top is None:
        return None
    reference = float_row(comparison)
    text = f"The most accurate FPGA design is {top.name} with {said(top, 'accuracy')}"
    if reference is None:
        return text + "."
    lost = (reference.figures["accuracy"].value - top.figures["accuracy"].value) * 100
    way = "the same as" if abs(lost) < 0.005 else f"{abs(lost):.2f} points {'below' if lost > 0 else 'above'}"
    return f"{text}, {way} {reference.name} ({said(reference, 'accuracy')})."


def choice_sentence(comparison: Comparison, designs: Sequence[Implementation]) -> str | None:
    """The cheapest design that keeps accuracy within ``CLOSE`` of float (or of the best design)."""
    accurate = [row for row in designs if "accuracy" in row.figures]
    if len(accurate) < 2:
        return None
    reference = float_row(comparison) or best(accurate, "accuracy")
    assert reference is not None
    floor = reference.figures["accuracy"].value - CLOSE
    close = [row for row in accurate if row.figures["accuracy"].value >= floor]
    if not close:
        return f"No design stays within {CLOSE * 100:g} point of {reference.name}."
    key = next((key for key in ("lut", "weight_bytes", "latency_us") if all(key in row.figures for row in close)), None)
    if key is None:
        return None
    cheap = best(close, key)
    assert cheap is not None
    what = {"lut": "fewest LUT", "weight_bytes": "least weight memory", "latency_us": "lowest latency"}[key]
    least = best(accurate, "accuracy")
    extra = f"{len(close)} of {len(accurate)} designs stay within {CLOSE * 100:g} point of {reference.name}"
    saving = ""
    if least is not None and least is not cheap and key in least.figures and least.figures[key].value:
        share = 1 - cheap.figures[key].value / least.figures[key].value
        saving = f", {share:.0%} less than {least.name}" if share > 0.005 else ""
    return f"{extra}; of these {cheap.name} takes the {what}: {said(cheap, key)}{saving}."


def engine_sentence(comparison: Comparison, designs: Sequence[Implementation]) -> str | None:
    """The fastest design against the fastest engine at batch 1."""
    fast = best(designs, "latency_us")
    engine = best([row for row in comparison.rows if row.family == "baseline"], "latency_us")
    if fast is None or engine is None:
        return None
    mine, theirs = fast.figures["latency_us"], engine.figures["latency_us"]
    ratio = theirs.value / mine.value
    relation = f"{ratio:.1f} times faster than" if ratio >= 1 else f"{1 / ratio:.1f} times slower than"
    accuracy = f" at {said(fast, 'accuracy')}" if "accuracy" in fast.figures else ""
    text = (
        f"The fastest design, {fast.name}{accuracy}, takes {said(fast, 'latency_us')} per image: {relation} the fastest "
        f"baseline, {engine.name} ({said(engine, 'latency_us')})"
    )
    return text + (", although the intervals overlap." if overlap(mine, theirs) else ".")


def overlap(one: Figure, other: Figure) -> bool:
    """Whether two intervals share a value; figures without one are points."""
    low, high = bounds(one)
    other_low, other_high = bounds(other)
    return low <= other_high and other_low <= high


def bounds(figure: Figure) -> tuple[float, float]:
    return (
        figure.value if figure.low is None else figure.low,
        figure.value if figure.high is None else figure.high,
    )


def fit_sentence(designs: Sequence[Implementation]) -> str | None:
    """Which designs the part cannot hold."""
    judged = [row for row in designs if "fits" in row.facts]
    bad = [row.name for row in judged if row.facts["fits"] == "no"]
    if not judged:
        return None
    if not bad:
        return "Every design is estimated to fit its part." if len(judged) > 1 else "It is estimated to fit its part."
    return f"Not estimated to fit the part: {listing(bad)}."


def listing(names: Sequence[str], most: int = 6) -> str:
    """``a, b and c``, cut after ``most``."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def cards(comparison: Comparison, designs: Sequence[Implementation]) -> tuple[Card, ...]:
    """The winners among FPGA designs, or among all rows where there is no design."""
    rows = designs or comparison.rows
    wanted = (
        ("Most accurate", "accuracy"),
        ("Lowest latency", "latency_us"),
        ("Fewest LUT", "lut"),
        ("Least energy", "energy_uj"),
        ("Smallest weights", "weight_bytes"),
    )
    found = [card(comparison, label, key, row) for label, key in wanted if (row := best(rows, key))]
    return tuple(found[:4])


def card(comparison: Comparison, label: str, key: str, row: Implementation) -> Card:
    column, figure = BY_KEY[key], row.figures[key]
    unit = column.unit or column.title
    context = (
        f"accuracy {BY_KEY['accuracy'].text(row.figures['accuracy'].value)} %" if "accuracy" in row.figures else ""
    )
    if key == "accuracy":
        ratio = row.figures.get("agreement")
        context = f"{BY_KEY['agreement'].text(ratio.value)} % agree with float" if ratio else ""
    return Card(label, row.name, column.text(figure.value), unit, figure.source, context)


def caveats(comparison: Comparison) -> tuple[str, ...]:
    """What the records themselves say must be kept in mind."""
    found: list[str] = []
    rows = comparison.rows
    fpga_models = [row for row in rows if row.family == "fpga" and source_of(row, "latency_us") == "model"]
    if fpga_models:
        found.append(
            "Latency, resources and energy of FPGA designs marked “model” are estimates of C synthesis with an "
            "interval; run Vitis HLS to replace them by reports. csynth LUT are usually more than placed LUT."
        )
    if any(row.family == "fpga" and "latency_us" in row.figures for row in rows) and any(
        row.family == "baseline" and "latency_us" in row.figures for row in rows
    ):
        found.append(
            "FPGA latency is that of the kernel alone: host, driver and bus come on top and are listed apart. "
            "Latency of a measured engine includes its call from Python."
        )
    if modelled := [row.name for row in rows if row.family == "baseline" and source_of(row, "latency_us") == "model"]:
        found.append(f"No such GPU was used: {listing(modelled)} {'is' if len(modelled) == 1 else 'are'} a model.")
    if absent := [row.name for row in rows if "missing" in row.facts]:
        found.append(f"Not available on this machine: {listing(absent)}.")
    found += proof_caveats(rows)
    found += noise_caveats(rows)
    return tuple(found)


def source_of(row: Implementation, key: str) -> str | None:
    return row.figures[key].source if key in row.figures else None


def proof_caveats(rows: Sequence[Implementation]) -> list[str]:
    """Partial csim, csim that differs, FIFOs that hold too little."""
    found = []
    partial = [row.name for row in rows if any(isinstance(part, Evaluation) and not part.whole for part in row.parts)]
    if partial:
        found.append(f"csim judged only some of the test images of {listing(partial)}.")
    unequal = [row.name for row in rows if any(isinstance(part, CheckResult) and not part.equal for part in row.parts)]
    if unequal:
        found.append(f"Outputs differ between engines for {listing(unequal)}: see Agreement.")
    shallow = [
        row.name
        for row in rows
        for part in row.parts
        if isinstance(part, Estimate) and any(fifo.needed_depth > fifo.default_depth for fifo in part.fifos)
    ]
    if shallow:
        found.append(f"hls4ml's default FIFO depths are too small for {listing(shallow)}: see Cycles and resources.")
    return found


def noise_caveats(rows: Sequence[Implementation]) -> list[str]:
    """Accuracies that the number of test images cannot tell apart; noisy timings."""
    found = []
    designs = [row for row in rows if row.family == "fpga" and "accuracy" in row.figures]
    ranked = sorted(designs, key=lambda row: -row.figures["accuracy"].value)
    if len(ranked) > 1:
        tied = [row.name for row in ranked[1:] if overlap(ranked[0].figures["accuracy"], row.figures["accuracy"])]
        if tied:
            found.append(
                f"With so many test images the accuracy of {listing(tied)} cannot be told from that of {ranked[0].name} "
                "(95 % intervals overlap)."
            )
    noisy = [
        row.name for row in rows for part in row.parts if any("spans" in note for note in getattr(part, "notes", ()))
    ]
    if noisy:
        found.append(f"The timing of {listing(sorted(set(noisy)))} was noisy.")
    return found
