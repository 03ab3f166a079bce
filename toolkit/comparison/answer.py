"""The answer first: which design wins on what, in sentences computed from the records, with caveats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.baselines.evaluation import Evaluation
from toolkit.comparison.columns import BY_KEY, column_of, goodness
from toolkit.comparison.compare import Comparison
from toolkit.records import CheckResult, Estimate, Figure, Implementation

# A design counts as accurate as float when it loses no more than this: of a fraction so many of all, of other
# figures such a share of float's.
CLOSE = 0.01


@dataclass(frozen=True)
class Answer:
    """Sentences that answer, the figures to show large, what a reader must keep in mind.

    ``alarms`` come before all of them: designs whose bits are not those of the model they were made from.
    ``among`` says which designs the costs on the cards were chosen from, where not from all.
    """

    sentences: tuple[str, ...]
    cards: tuple[Card, ...]
    caveats: tuple[str, ...]
    among: str = ""
    alarms: tuple[str, ...] = ()


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
        *(speed_sentences(comparison, designs) if designs else baseline_sentences(comparison)),
        fit_sentence(designs),
    )
    return Answer(
        tuple(text for text in sentences if text),
        cards(comparison, designs),
        caveats(comparison),
        among(comparison, designs),
        alarms(comparison),
    )


def alarms(comparison: Comparison) -> tuple[str, ...]:
    """Designs whose bits differ from what they must equal: how many outputs, by how much, in which layer and why."""
    return tuple(
        f"{row.name}: {part.reasoned}"
        for row in comparison.rows
        for part in row.parts
        if isinstance(part, CheckResult) and part.failed
    )


def judged_by(comparison: Comparison, rows: Sequence[Implementation]) -> list[Implementation]:
    """Rows that have the figure of merit."""
    return [row for row in rows if comparison.metric.name in row.figures]


def accurate(comparison: Comparison, designs: Sequence[Implementation]) -> list[Implementation]:
    """Designs that lose at most ``CLOSE`` against float (or the best design); those that fit, where any does."""
    metric = comparison.metric
    judged = judged_by(comparison, designs)
    reference = float_row(comparison) or best(judged, metric.name)
    if reference is None:
        return []
    top = reference.figures[metric.name].value
    room = CLOSE if metric.unit == "fraction" else CLOSE * abs(top)
    close = [row for row in judged if metric.gain(row.figures[metric.name].value) >= metric.gain(top) - room]
    return [row for row in close if row.facts.get("fits") != "no"] or close


def nearness(comparison: Comparison) -> str:
    """How near ``CLOSE`` is, in words."""
    return f"within {CLOSE * 100:g} {'percentage point' if comparison.metric.unit == 'fraction' else '%'} of"


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
    return best(close, key) if key else best(designs, comparison.metric.name) or next(iter(designs), None)


def best(rows: Sequence[Implementation], key: str) -> Implementation | None:
    """The row with the best figure of a name; the first of equals."""
    known = [row for row in rows if key in row.figures]
    return max(known, key=lambda row: goodness(key, row.figures[key], row.metrics)) if known else None


def float_row(comparison: Comparison) -> Implementation | None:
    """The row that stands for float accuracy: the reference if it has one, else the first float row."""
    wide = [row for row in judged_by(comparison, comparison.rows) if row.family != "fpga"]
    reference = [row for row in wide if row.name == comparison.reference]
    return next(iter(reference or wide), None)


def said(row: Implementation, key: str) -> str:
    """``112 µs (model)``."""
    return f"{amount(row, key)} ({row.figures[key].source})"


def aside(row: Implementation, key: str) -> str:
    """``keras float32 cpu, 812 µs, measured``."""
    return f"{row.name}, {amount(row, key)}, {row.figures[key].source}"


def amount(row: Implementation, key: str) -> str:
    """``112 µs`` or, of what is counted, ``28,108 LUT``: no number without its unit, but for figures of merit."""
    column = column_of(key, row.metrics)
    unit = column.unit or ("" if column.group == "Merit" else column.title)
    return f"{column.text(row.figures[key].value)} {unit}".strip()


def accuracy_sentence(comparison: Comparison, designs: Sequence[Implementation]) -> str | None:
    """The most accurate design, and how far from float it is."""
    key = comparison.metric.name
    judged = judged_by(comparison, designs)
    top = best(judged, key)
    if top is None:
        return None
    one = "" if len(judged) == 1 else f"Of {len(judged)} FPGA designs, "
    verb = (
        f"{'reaches an' if key == 'accuracy' else 'has a'} {comparison.merit_word} of"
        if not one
        else winning(comparison)
    )
    text = f"{one}{top.name} {verb} {said(top, key)}"
    reference = float_row(comparison)
    if reference is None:
        return text + "."
    return f"{text}, {away(comparison, top, reference)} float ({aside(reference, key)})."


def winning(comparison: Comparison) -> str:
    """What the best design does."""
    return "is the most accurate:" if comparison.metric.name == "accuracy" else f"has the best {comparison.merit_word}:"


def away(comparison: Comparison, row: Implementation, reference: Implementation) -> str:
    """``0.60 percentage points below``, ``0.012 GeV above`` or ``the same as`` another row."""
    metric, column = comparison.metric, comparison.column(comparison.metric.name)
    lost = reference.figures[metric.name].value - row.figures[metric.name].value
    side = "below" if lost > 0 else "above"
    if metric.unit == "fraction":
        return "the same as" if abs(lost) < 0.00005 else f"{points(lost * 100)} {side}"
    return "the same as" if lost == 0 else f"{column.text(abs(lost))} {column.unit}".strip() + f" {side}"


def points(percent: float) -> str:
    """``0.60 percentage points``."""
    return f"{abs(percent):.2f} percentage points"


def worth_showing(comparison: Comparison, designs: Sequence[Implementation]) -> list[Implementation]:
    """Designs that keep accuracy; where none does, the most accurate; where none was judged, all."""
    top = best(designs, comparison.metric.name)
    return accurate(comparison, designs) or ([top] if top else list(designs))


def choice_sentence(comparison: Comparison, designs: Sequence[Implementation]) -> str | None:
    """The cheapest design that keeps accuracy within ``CLOSE`` of float (or of the best design)."""
    metric = comparison.metric.name
    judged = judged_by(comparison, designs)
    if len(judged) < 2:
        return None
    reference = float_row(comparison) or best(judged, metric)
    close, cheap, top = accurate(comparison, designs), recommended(comparison), best(judged, metric)
    assert reference is not None and cheap is not None and top is not None
    whom = "float" if float_row(comparison) else reference.name
    near = f"{nearness(comparison)} {whom}"
    if not close:
        return f"None stays {near}."
    key = deciding_key(close)
    if key is None:
        return None
    what = {"lut": "fewest LUT", "weight_bytes": "least weight memory", "latency_us": "lowest latency"}[key]
    if len(close) == 1:
        return f"Only {cheap.name} stays {near}, with {said(cheap, key)}."
    chosen_to_fit = any(row.facts.get("fits") == "no" for row in judged if row not in close)
    fit = "fit and stay" if chosen_to_fit else "stay"
    count = f"All {fit}" if len(close) == len(judged) else f"{len(close)} {fit}"
    return f"{count} {near}; of these {cheap.name} takes the {what}: {said(cheap, key)}{saving(cheap, top, key)}."


def saving(cheap: Implementation, top: Implementation, key: str) -> str:
    """``, 24 % less than the most accurate``, where it is another design and the saving shows."""
    if cheap is top or not top.figures[key].value:
        return ""
    share = 1 - cheap.figures[key].value / top.figures[key].value
    return f", {share * 100:.0f} % less than {top.name}" if share > 0.005 else ""


def speed_sentences(comparison: Comparison, designs: Sequence[Implementation]) -> tuple[str, ...]:
    """The fastest accurate design's time, against the fastest measured engine, and against a modelled GPU."""
    fast = best(worth_showing(comparison, designs), "latency_us")
    if fast is None:
        return ()
    engines = [row for row in comparison.rows if row.family == "baseline"]
    engine = best([row for row in engines if source_of(row, "latency_us") not in (None, "model")], "latency_us")
    gpu = best([row for row in engines if source_of(row, "latency_us") == "model"], "latency_us")
    work = "Classifying one image" if comparison.metric.name == "accuracy" else "One inference"
    text = f"{work} takes {fast.name} {said(fast, 'latency_us')}"
    if engine:
        text += f", {against(fast, engine)} the fastest measured baseline ({aside(engine, 'latency_us')})"
        if overlap(fast.figures["latency_us"], engine.figures["latency_us"]):
            text += ", though their intervals overlap"
    if "host_overhead_us" in fast.figures:
        text += f"; host and bus add {said(fast, 'host_overhead_us')} to the kernel"
    return (f"{text}.", *([gpu_sentence(fast, gpu)] if gpu else []))


def against(row: Implementation, other: Implementation) -> str:
    """``3.1 times slower than`` another row."""
    ratio = other.figures["latency_us"].value / row.figures["latency_us"].value
    return f"{ratio:.1f} times faster than" if ratio >= 1 else f"{1 / ratio:.1f} times slower than"


def gpu_sentence(fast: Implementation, gpu: Implementation) -> str:
    """A GPU that is not here, by its model, with the energy of both where known."""
    text = f"The kernel is {against(fast, gpu)} the model of a GPU ({aside(gpu, 'latency_us')})"
    if "energy_uj" not in fast.figures or "energy_uj" not in gpu.figures:
        return f"{text}."
    batch = gpu.figures["best_batch"].value if "best_batch" in gpu.figures else None
    when = f" at batch {batch:.0f}" if batch else ""
    return f"{text}; its energy is {said(fast, 'energy_uj')} an image, the GPU's {said(gpu, 'energy_uj')}{when}."


def baseline_sentences(comparison: Comparison) -> tuple[str, ...]:
    """Where there is no design: the quickest engine, and the highest throughput."""
    engines = [row for row in comparison.rows if row.family == "baseline"]
    quick, busy = best(engines, "latency_us"), best(engines, "throughput_hz")
    texts = []
    if quick:
        key = comparison.metric.name
        accuracy = f" at {said(quick, key)} {comparison.merit_word}" if key in quick.figures else ""
        texts.append(f"{quick.name} answers one image soonest, in {said(quick, 'latency_us')}{accuracy}.")
    if busy:
        texts.append(f"{busy.name} has the highest throughput: {said(busy, 'throughput_hz')}.")
    return tuple(texts)


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
    open_ = [row.name for row in designs if "fits" not in row.facts and "lut" in row.figures]
    if open_:
        return f"Whether {listing(open_)} fits is not known."
    bad = [row.name for row in judged if row.facts["fits"] == "no"]
    if not judged:
        return None
    named = {row.facts["part"] for row in judged if "part" in row.facts}
    part = named.pop() if len(named) == 1 else "its part" if len(judged) == 1 else "their parts"
    if len(bad) == len(judged):
        return f"{'No design is' if len(judged) > 1 else 'It is not'} estimated to fit {part}."
    if not bad:
        return f"{'All designs are' if len(judged) > 1 else 'It is'} estimated to fit {part}."
    return f"Not estimated to fit {part}: {listing(bad)}."


def listing(names: Sequence[str], most: int = 6) -> str:
    """``a, b and c``, cut after ``most``."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def cards(comparison: Comparison, designs: Sequence[Implementation]) -> tuple[Card, ...]:
    """The winners among FPGA designs that keep accuracy, or among all rows where there is no design."""
    costs = worth_showing(comparison, designs) or comparison.rows
    several = len(costs) > 1
    metric = comparison.metric
    best_of_all = "Most accurate" if metric.name == "accuracy" else f"Best {comparison.merit_word}"
    wanted = (
        (
            best_of_all if len(designs or comparison.rows) > 1 else metric.title,
            metric.name,
            designs or comparison.rows,
        ),
        ("Lowest latency" if several else "Latency", "latency_us", costs),
        ("Fewest LUT" if several else "LUT", "lut", costs),
        ("Least energy" if several else "Energy", "energy_uj", costs),
        ("Smallest weights" if several else "Weights", "weight_bytes", costs),
    )
    found = [card(label, key, row, comparison) for label, key, rows in wanted if (row := best(rows, key))]
    return tuple(found[:4])


def among(comparison: Comparison, designs: Sequence[Implementation]) -> str:
    """Which designs the costs were chosen from, where not from all."""
    costs = worth_showing(comparison, designs)
    if len(costs) == len(designs):
        return ""
    if not accurate(comparison, designs):
        top = "most accurate" if comparison.metric.name == "accuracy" else "best"
        return f"Costs are those of the {top} design; none is {nearness(comparison)} float."
    near = f"{nearness(comparison)} float"
    fitting = all(row.facts.get("fits") == "yes" for row in costs)
    if len(costs) == 1:
        return f"Costs are those of the one design that {'fits and ' if fitting else ''}stays {near}."
    return f"Costs: the best of the {len(costs)} designs that {'fit and ' if fitting else ''}stay {near}."


def card(label: str, key: str, row: Implementation, comparison: Comparison) -> Card:
    column, figure = comparison.column(key), row.figures[key]
    shown = column.text(figure.value)
    merit = comparison.column(comparison.metric.name)
    if key == merit.key:
        agreement = row.figures.get("agreement") if key != "agreement" else None
        context = f"{BY_KEY['agreement'].text(agreement.value)} % agree with float" if agreement else ""
        return Card(label, row.name, shown, column.unit or column.title, figure.source, context)
    judged = row.figures.get(merit.key)
    context = f"at {merit.text(judged.value)} {merit.unit} {comparison.merit_word}".replace("  ", " ") if judged else ""
    return Card(label, row.name, shown, column.unit or column.title, figure.source, context)


def caveats(comparison: Comparison) -> tuple[str, ...]:
    """What the records themselves say must be kept in mind."""
    rows = comparison.rows
    timed = [row for row in rows if "latency_us" in row.figures]
    designs, engines = ([row for row in timed if row.family == family] for family in ("fpga", "baseline"))
    found: list[str] = []
    if any(source_of(row, "latency_us") == "model" for row in designs):
        found.append(
            "Latency, resources and energy of FPGA designs marked “model” estimate what C synthesis would report, with "
            "an interval; placement and routing usually leave fewer LUT. Vitis HLS, where installed, replaces them."
        )
    if strange := [row.name for row in designs if uncalibrated(row)]:
        found.append(
            f"Layers of {listing(strange)} are unlike those the estimator was calibrated on: their figures follow the "
            "mechanism, not data."
        )
    if designs and engines:
        host = "stand apart" if any("host_overhead_us" in row.figures for row in designs) else "come on top"
        found.append(
            f"FPGA latency is that of the kernel alone: host, driver and bus {host}. Latency of a measured engine "
            "includes its call from Python."
        )
    if modelled := [row.name for row in engines if source_of(row, "latency_us") == "model"]:
        found.append(
            f"No such GPU was used: {listing(modelled)} {'is' if len(modelled) == 1 else 'are'} computed from a data "
            "sheet; its deviation from published figures is under Baselines."
        )
    if absent := [row.name for row in rows if "missing" in row.facts]:
        found.append(f"Not available on this machine: {listing(absent)}.")
    return (*found, *proof_caveats(rows), *noise_caveats(comparison))


def uncalibrated(row: Implementation) -> bool:
    """Whether an estimate says that some layer is unlike those it was fitted on."""
    estimates = [part for part in row.parts if isinstance(part, Estimate)]
    return any(note.startswith("outside the calibration") for estimate in estimates for note in estimate.notes)


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
    stalled = [
        row.name
        for row in rows
        for part in row.parts
        if isinstance(part, Estimate) and any(note.startswith("deadlock") for note in part.notes)
    ]
    if stalled:
        found.append(f"Deadlock with the FIFO depths of the project: {listing(stalled)}.")
    checks = [(row.name, part) for row in rows for part in row.parts if isinstance(part, CheckResult)]
    unequal = list(
        dict.fromkeys(name for name, check in checks if check.exact and not check.equal and not check.failed)
    )
    if unequal:  # those that failed lead the answer
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


def noise_caveats(comparison: Comparison) -> list[str]:
    """Figures of merit that the number of test samples cannot tell apart; noisy timings."""
    found = []
    metric, rows = comparison.metric, comparison.rows
    designs = [row for row in judged_by(comparison, rows) if row.family == "fpga"]
    ranked = sorted(designs, key=lambda row: -metric.gain(row.figures[metric.name].value))
    if len(ranked) > 1:
        top = ranked[0].figures[metric.name]
        tied = [row.name for row in ranked[1:] if overlap(top, row.figures[metric.name])]
        if tied:
            found.append(
                f"The test set is too small to tell the {comparison.merit_word} of {listing(tied)} from that of "
                f"{ranked[0].name} (95 % intervals overlap)."
            )
    noisy = [
        row.name for row in rows for part in row.parts if any("spans" in note for note in getattr(part, "notes", ()))
    ]
    if noisy:
        found.append(f"The timing of {listing(sorted(set(noisy)))} was noisy.")
    return found
