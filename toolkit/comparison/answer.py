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
    sentences = (
        accuracy_sentence(comparison, designs),
        choice_sentence(comparison, designs),
        engine_sentence(comparison, designs),
        fit_sentence(designs),
    )
    return Answer(tuple(text for text in sentences if text), cards(comparison, designs), caveats(comparison))


def accurate(comparison: Comparison, designs: Sequence[Implementation]) -> list[Implementation]:
    """Designs that lose at most ``CLOSE`` against float (or the best design); those that fit, where any does."""
    judged = [row for row in designs if "accuracy" in row.figures]
    reference = float_row(comparison) or best(judged, "accuracy")
    if reference is None:
        return []
    close = [row for row in judged if row.figures["accuracy"].value >= reference.figures["accuracy"].value - CLOSE]
    return [row for row in close if row.facts.get("fits") != "no"] or close


def deciding_key(designs: Sequence[Implementation]) -> str | None:
    """The cost that every design has a figure for: LUT, else weight memory, else latency."""
    return next(
        (key for key in ("lut", "weight_bytes", "latency_us") if all(key in row.figures for row in designs)), None
    )


def recommended(comparison: Comparison) -> Implementation | None:
    """The cheapest design that keeps float accuracy; the most accurate one where none does."""
    designs = [row for row in comparison.rows if row.family == "fpga"]
    close = accurate(comparison, designs)
    key = deciding_key(close) if close else None
    return best(close, key) if key else best(designs, "accuracy") or next(iter(designs), None)


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
    return f"{amount(row, key)} ({row.figures[key].source})"


def aside(row: Implementation, key: str) -> str:
    """``keras float32 cpu (812 µs, measured)``."""
    return f"{row.name} ({amount(row, key)}, {row.figures[key].source})"


def amount(row: Implementation, key: str) -> str:
    column = BY_KEY[key]
    return f"{column.text(row.figures[key].value)} {column.unit}".strip()


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
    return f"{text}, {way} {aside(reference, 'accuracy')}."


def worth_showing(comparison: Comparison, designs: Sequence[Implementation]) -> list[Implementation]:
    """Designs that keep accuracy; where none does, the most accurate; where none was judged, all."""
    top = best(designs, "accuracy")
    return accurate(comparison, designs) or ([top] if top else list(designs))


def choice_sentence(comparison: Comparison, designs: Sequence[Implementation]) -> str | None:
    """The cheapest design that keeps accuracy within ``CLOSE`` of float (or of the best design)."""
    judged = [row for row in designs if "accuracy" in row.figures]
    if len(judged) < 2:
        return None
    reference = float_row(comparison) or best(judged, "accuracy")
    close, cheap, top = accurate(comparison, designs), recommended(comparison), best(judged, "accuracy")
    assert reference is not None and cheap is not None and top is not None
    if not close:
        return f"No design stays within {CLOSE * 100:g} point of {reference.name}."
    key = deciding_key(close)
    if key is None:
        return None
    what = {"lut": "fewest LUT", "weight_bytes": "least weight memory", "latency_us": "lowest latency"}[key]
    return (
        f"{len(close)} of {len(judged)} designs stay within {CLOSE * 100:g} point of {reference.name}; of these "
        f"{cheap.name} takes the {what}: {said(cheap, key)}{saving(cheap, top, key)}."
    )


def saving(cheap: Implementation, top: Implementation, key: str) -> str:
    """``, 24% less than the most accurate``, where it is another design and the saving shows."""
    if cheap is top or not top.figures[key].value:
        return ""
    share = 1 - cheap.figures[key].value / top.figures[key].value
    return f", {share:.0%} less than {top.name}" if share > 0.005 else ""


def engine_sentence(comparison: Comparison, designs: Sequence[Implementation]) -> str | None:
    """The fastest accurate design against the fastest engine at batch 1."""
    fast = best(worth_showing(comparison, designs), "latency_us")
    engines = [row for row in comparison.rows if row.family == "baseline"]
    measured = [row for row in engines if source_of(row, "latency_us") not in (None, "model")]
    engine = best(measured or engines, "latency_us")
    if fast is None or engine is None:
        return None
    mine, theirs = fast.figures["latency_us"], engine.figures["latency_us"]
    ratio = theirs.value / mine.value
    relation = f"{ratio:.1f} times faster than" if ratio >= 1 else f"{1 / ratio:.1f} times slower than"
    kind = "measured baseline" if measured else "baseline"
    text = (
        f"Per image {fast.name} takes {said(fast, 'latency_us')}, {relation} the fastest {kind}, "
        f"{aside(engine, 'latency_us')}"
    )
    return text + (", but their intervals overlap." if overlap(mine, theirs) else ".")


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
    """The winners among FPGA designs that keep accuracy, or among all rows where there is no design."""
    close = accurate(comparison, designs)
    costs = worth_showing(comparison, designs) or comparison.rows
    among = f"within {CLOSE * 100:g} point" if close and len(close) < len(designs) else ""
    if designs and not close and len(costs) < len(designs):
        among = "of the most accurate"
    wanted = (
        ("Most accurate", "accuracy", designs or comparison.rows),
        ("Lowest latency" if len(costs) > 1 else "Latency", "latency_us", costs),
        ("Fewest LUT" if len(costs) > 1 else "LUT", "lut", costs),
        ("Least energy" if len(costs) > 1 else "Energy", "energy_uj", costs),
        ("Smallest weights" if len(costs) > 1 else "Weights", "weight_bytes", costs),
    )
    found = [card(label, key, row, among) for label, key, rows in wanted if (row := best(rows, key))]
    return tuple(found[:4])


def card(label: str, key: str, row: Implementation, among: str) -> Card:
    column, figure = BY_KEY[key], row.figures[key]
    shown = column.text(figure.value)
    if key == "accuracy":
        agreement = row.figures.get("agreement")
        context = f"{BY_KEY['agreement'].text(agreement.value)} % agree with float" if agreement else ""
        return Card(label, row.name, shown, column.unit, figure.source, context)
    accuracy = row.figures.get("accuracy")
    context = f"at {BY_KEY['accuracy'].text(accuracy.value)} % accuracy" if accuracy else ""
    return Card(f"{label} {among}".strip(), row.name, shown, column.unit or column.title, figure.source, context)


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
    for engine in ("csim", "emulation"):
        judged = [(row.name, part) for row in rows for part in row.parts if isinstance(part, Evaluation)]
        partial = [name for name, part in judged if part.engine == engine and not part.whole]
        if partial:
            found.append(f"Only some of the test images were judged by {engine} for {listing(partial)}.")
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
                f"The test set is too small to tell the accuracy of {listing(tied)} from that of {ranked[0].name} "
                "(95 % intervals overlap)."
            )
    noisy = [
        row.name for row in rows for part in row.parts if any("spans" in note for note in getattr(part, "notes", ()))
    ]
    if noisy:
        found.append(f"The timing of {listing(sorted(set(noisy)))} was noisy.")
    return found
