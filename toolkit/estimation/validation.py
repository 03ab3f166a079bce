"""How good the estimates are: every synthesised row against an estimate made without its network.

``validate`` refits for each network left out; with a calibration given it tests that one as it is,
which is what rows it never saw are for. Beside each quantity stand hls4ml's own formulas and, where
it is installed and covers the layer, rule4ml (GPL; a benchmark only, never a dependency).
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import ToolNotFound
from toolkit.estimation.calibration import (
    Calibration,
    Judged,
    Sample,
    inside_held_out,
    judge,
    leave_one_out,
    sample_of,
    shipped_estimates,
    trustworthy,
)
from toolkit.estimation.designs import DesignScore, design_scores
from toolkit.estimation.rows import read_all
from toolkit.estimation.stages import MATRIX_KINDS


@dataclass(frozen=True)
class Score:
    """Errors of one quantity on one kind of layer; shares and errors as fractions.

    ``target`` is what the project set itself, ``met`` whether it is reached (``None``: no target).
    """

    kind: str
    quantity: str
    method: str
    rows: int
    networks: int
    exact: float
    within_one: float
    error: float  # mean absolute relative error over rows that measured more than 0
    worst: float
    inside: float | None = None  # share of measurements inside the interval that the other networks' residuals give
    inside_abroad: float | None = None  # the same with everything of the owner left out, coefficients included
    target: str = ""
    met: bool | None = None


@dataclass(frozen=True)
class Validation:
    """Scores by kind of layer and quantity, our estimates first, others beside; whole designs; remarks."""

    scores: tuple[Score, ...]
    designs: tuple[DesignScore, ...]
    notes: tuple[str, ...]
    method: str

    def find(self, kind: str, quantity: str, method: str = "toolkit") -> Score | None:
        """The score of one kind, quantity and method."""
        wanted = (kind, quantity, method)
        return next((score for score in self.scores if (score.kind, score.quantity, score.method) == wanted), None)

    def to_text(self) -> str:
        """The whole report as plain text."""
        lines = [self.method, "", score_header(), *(score_line(score) for score in self.scores)]
        if self.designs:
            lines += ["", "whole designs: csynth -> estimate (csynth's cycles: every pixel completes a window)"]
            lines += [*design_lines(self.designs), "", *design_summary(self.designs)]
        return "\n".join([*lines, "", *self.notes]) + "\n"


# What the project set itself: (kind starts with, quantity, rule in words, test).
TARGETS: tuple[tuple[str, str, str, Callable[[Score], bool]], ...] = (
    ("all dense", "latency_cycles", "exact for 95 %", lambda score: score.exact >= 0.95),
    ("all dense", "interval_cycles", "exact for 95 %", lambda score: score.exact >= 0.95),
    ("all latency", "dsp", "exact for 95 %", lambda score: score.exact >= 0.95),
    ("all resource", "dsp", "exact for 98 %", lambda score: score.exact >= 0.98),
    ("all latency", "lut", "error 8 %", lambda score: score.error <= 0.08),
    ("all resource", "lut", "error 12 %", lambda score: score.error <= 0.12),
    ("all layers", "bram_18k", "within 1 for 95 %", lambda score: score.within_one >= 0.95),
    ("all layers", "ff", "error 15 %", lambda score: score.error <= 0.15),
    ("dense", "latency_cycles", "exact for 95 %", lambda score: score.exact >= 0.95),
    ("dense", "interval_cycles", "exact for 95 %", lambda score: score.exact >= 0.95),
    ("dense latency", "dsp", "exact for 95 %", lambda score: score.exact >= 0.95),
    ("dense resource", "dsp", "exact for 98 %", lambda score: score.exact >= 0.98),
    ("conv latency", "dsp", "exact for 95 %", lambda score: score.exact >= 0.95),
    ("conv resource", "dsp", "exact for 98 %", lambda score: score.exact >= 0.98),
    ("dense latency", "lut", "error 8 %", lambda score: score.error <= 0.08),
    ("conv latency", "lut", "error 8 %", lambda score: score.error <= 0.08),
    ("dense resource", "lut", "error 12 %", lambda score: score.error <= 0.12),
    ("conv resource", "lut", "error 12 %", lambda score: score.error <= 0.12),
    ("", "bram_18k", "within 1 for 95 %", lambda score: score.within_one >= 0.95),
    ("", "ff", "error 15 %", lambda score: score.error <= 0.15),
)


def validate(
    folders: Path | Sequence[Path],
    calibration: Calibration | None = None,
    *,
    everything: bool = False,
    rule4ml: bool = False,
) -> Validation:
    """Validate on one folder of synthesis results or several.

    Without ``calibration`` every network is estimated by coefficients fitted without it; with one,
    all rows by that. Rows whose weights are unknown, of development branches, or of networks with a
    width per input (HGQ) say little about a converted model and are left out unless ``everything``.
    Raises ``DataError`` for a folder that is none, ``ToolNotFound`` for ``rule4ml`` without the package.
    """
    given = [folders] if isinstance(folders, Path) else folders
    samples = [sample_of(row) for row in read_all(given)]
    judged = leave_one_out(samples) if calibration is None else shipped_estimates(samples, calibration)
    chosen = {sample.row.id for sample in samples if everything or trustworthy(sample)}
    seen = [sample for sample in samples if sample.row.id in chosen]
    kept = [item for item in judged if item.id in chosen]
    abroad = [item for item in leave_one_out(samples, by="owner") if item.id in chosen] if calibration is None else kept
    scores = scores_of(kept, "toolkit", inside_held_out(kept), inside_held_out(abroad, by="owner"))
    scores += scores_of(judge(seen, hls4ml_estimate, CHECKED_BY_FORMULA), "hls4ml")
    if rule4ml:
        scores += scores_of(rule4ml_estimates(seen), "rule4ml")
    left_out = len(samples) - len(seen)
    notes = (
        f"{len(seen)} rows of {len({sample.row.network for sample in seen})} networks; {left_out} rows left out "
        "(weights unknown, development branches, HGQ, modules inside layers)",
        *((RULE4ML_NOTE,) if rule4ml else ()),
        *missed(scores),
    )
    method = (
        "leave-one-network-out: each network estimated by coefficients fitted without it"
        if calibration is None
        else f"estimated by {calibration.label}, nothing refitted"
    )
    designs = tuple(score for folder in given for score in design_scores(folder, samples, judged))
    order = sorted(scores, key=lambda score: (score.kind, score.quantity, score.method != "toolkit", score.method))
    return Validation(tuple(order), designs, notes, method)


def missed(scores: Iterable[Score]) -> list[str]:
    """Targets that are not reached, with the figure that is."""
    return [
        f"not reached: {score.kind} {score.quantity}: target {score.target}; reached exact {score.exact:.1%}, "
        f"within 1 {score.within_one:.1%}, error {score.error:.1%} on {score.rows} rows of {score.networks} networks"
        for score in scores
        if score.met is False
    ]


# Scores ----------------------------------------------------------------------------------------


def scores_of(
    judged: Sequence[Judged], method: str, inside: Sequence[bool] = (), abroad: Sequence[bool] = ()
) -> list[Score]:
    """Scores by kind of layer and quantity, and over all dense, all Latency and all Resource layers.

    ``inside`` says of each item whether its measurement lies in the estimate's interval, ``abroad`` the same of the
    estimate made without its owner's rows.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for index, item in enumerate(judged):
        for kind in (item.kind, *wider_kinds(item.kind)):
            groups.setdefault((kind, item.quantity), []).append(index)
    found = []
    for (kind, _), members in sorted(groups.items()):
        score = score_of([replace(judged[index], kind=kind) for index in members], method)
        near, far = (float(np.mean([held[i] for i in members])) if held else None for held in (inside, abroad))
        found.append(with_target(replace(score, inside=near, inside_abroad=far)))
    return found


def wider_kinds(kind: str) -> list[str]:
    """Families of kinds that the targets are set for."""
    words = kind.split(" ")
    families = ["all layers", *(["all dense"] if words[0] == "dense" else [])]
    if words[0] in MATRIX_KINDS:
        families += [f"all {style}" for style in ("latency", "resource") if style in words]
    return families


def score_of(items: Sequence[Judged], method: str) -> Score:
    """Errors of one group of estimates."""
    estimated = np.array([item.estimated for item in items])
    measured = np.array([item.measured for item in items])
    difference = np.abs(np.round(estimated) - measured)
    counted = measured > 0
    relative = np.abs(estimated - measured)[counted] / measured[counted]
    return Score(
        kind=items[0].kind,
        quantity=items[0].quantity,
        method=method,
        rows=len(items),
        networks=len({item.network for item in items}),
        exact=float((difference == 0).mean()),
        within_one=float((difference <= 1).mean()),
        error=float(relative.mean()) if relative.size else 0.0,
        worst=float(relative.max()) if relative.size else 0.0,
    )


def with_target(score: Score) -> Score:
    """The score with the target of its kind and quantity."""
    for kind, quantity, words, test in TARGETS:
        general = kind.startswith("all") or not score.kind.startswith("all")
        if score.method == "toolkit" and score.quantity == quantity and score.kind.startswith(kind) and general:
            return replace(score, target=words, met=test(score))
    return score


def score_header() -> str:
    """Column heads of the table."""
    return (
        f"{'kind':34} {'quantity':16} {'by':8} {'rows':>5} {'nets':>5} {'exact':>7} {'+-1':>7} "
        f"{'error':>7} {'worst':>8} {'inside':>7} {'abroad':>7}  target"
    )


def score_line(score: Score) -> str:
    """One line of the table."""
    inside, abroad = ("" if share is None else f"{share:.1%}" for share in (score.inside, score.inside_abroad))
    verdict = {True: "reached", False: "NOT reached", None: ""}[score.met]
    return (
        f"{score.kind:34} {score.quantity:16} {score.method:8} {score.rows:5d} {score.networks:5d} "
        f"{score.exact:7.1%} {score.within_one:7.1%} {score.error:7.1%} {score.worst:8.1%} {inside:>7} {abroad:>7}  "
        f"{score.target} {verdict}"
    ).rstrip()


def design_lines(scores: Sequence[DesignScore]) -> list[str]:
    """A line for each design with all its figures."""
    by_design: dict[str, list[DesignScore]] = {}
    for score in scores:
        by_design.setdefault(score.design, []).append(score)
    return [
        f"{name:34} {members[0].tool:18} {members[0].io_type:12} {', '.join(map(design_figure, members))}"
        + (f"  ({members[0].remark})" if members[0].remark else "")
        for name, members in by_design.items()
    ]


def design_figure(score: DesignScore) -> str:
    """One figure of a design as text."""
    error = "" if score.error is None else f" ({score.error:+.1%})"
    return f"{score.quantity.removesuffix('_cycles')} {score.measured:.0f} -> {score.estimated:.0f}{error}"


def design_summary(scores: Sequence[DesignScore]) -> list[str]:
    """Absolute errors by io type and quantity over the designs without a remark."""
    groups: dict[tuple[str, str], list[DesignScore]] = {}
    for score in scores:
        if not score.remark:
            groups.setdefault((score.io_type, score.quantity), []).append(score)
    return [design_summary_line(io_type, quantity, members) for (io_type, quantity), members in sorted(groups.items())]


def design_summary_line(io_type: str, quantity: str, scores: Sequence[DesignScore]) -> str:
    """One line of the summary of designs."""
    errors = [abs(score.error) for score in scores if score.error is not None]
    exact = sum(round(score.estimated) == score.measured for score in scores)
    found = (np.median(errors), np.mean(errors), max(errors)) if errors else None
    text = "error median {:.1%}, mean {:.1%}, largest {:.1%}".format(*found) if found else "nothing measured above 0"
    return f"{'designs ' + io_type:34} {quantity:16} {len(scores):3d} designs, {exact:3d} exact, {text}"


# Other formulas ---------------------------------------------------------------------------------

CHECKED_BY_FORMULA = ("dsp", "bram_18k", "interval_cycles")


def hls4ml_estimate(sample: Sample, quantity: str) -> float | None:
    """hls4ml's own formulas: DSP = products / RF, BRAM = weight bits / 36 Kb (two 18 Kb each), II = RF."""
    stage = sample.row.stage
    if stage.kind not in ("dense", "conv", "depthwise"):
        return None
    products = stage.n_in * stage.n_out
    match quantity:
        case "dsp":
            return math.ceil(products / stage.reuse_factor)
        case "bram_18k":
            blocks = math.ceil(products * stage.weight_bits / 36864) if stage.strategy == "resource" else 0
            return 2.0 * blocks
        case "interval_cycles" if not stage.stream:
            return float(stage.reuse_factor * (stage.partitions if stage.kind != "dense" else 1))
    return None


RULE4ML_BOARDS = {"xc7z020": "pynq-z2", "xczu9eg": "zcu102", "xcu200": "alveo-u200", "xcu250": "alveo-u250"}
RULE4ML_ROWS = 50  # about as many are asked, evenly spaced: it takes seconds per row
RULE4ML_NOTE = (
    f"rule4ml was asked about {RULE4ML_ROWS} or so evenly spaced dense layers; it learned from whole generated "
    "networks, so a layer alone is not what it is best at"
)
RULE4ML_QUANTITIES = {
    "dsp": "DSP",
    "lut": "LUT",
    "ff": "FF",
    "bram_18k": "BRAM",
    "latency_cycles": "CYCLES",
    "interval_cycles": "INTERVAL",
}


def rule4ml_estimates(samples: Sequence[Sample]) -> list[Judged]:
    """rule4ml's predictions for the single dense layers it covers; its networks were whole, not single layers.

    Raises ``ToolNotFound`` when rule4ml cannot be imported.
    """
    try:
        wrappers: Any = importlib.import_module("rule4ml.models.wrappers")
        keras: Any = importlib.import_module("keras")
    except ImportError as error:
        raise ToolNotFound(
            f"the comparison with rule4ml needs the Python package rule4ml (GPL, not a dependency): {error}; "
            "pip install rule4ml in an environment of its own"
        ) from error
    estimator = wrappers.MultiModelWrapper()
    estimator.load_default_models()
    groups: dict[tuple[int, int, str], list[Sample]] = {}
    covered = [sample for sample in samples if rule4ml_covers(sample)]
    for sample in covered[:: max(1, len(covered) // RULE4ML_ROWS)]:
        stage = sample.row.stage
        groups.setdefault((stage.n_in, stage.n_out, ".".join(map(str, sample.row.tool.version))), []).append(sample)
    judged: list[Judged] = []
    for (inputs, outputs, version), members in groups.items():
        model = keras.Sequential([keras.layers.Dense(outputs)])
        model.build((None, inputs))
        for sample, found in zip(members, rule4ml_predictions(members, model, version, estimator), strict=True):
            judged += judge([sample], looked_up(found), tuple(found))
    return judged


def rule4ml_covers(sample: Sample) -> bool:
    """Whether a row is a dense layer alone, on a board and with a strategy that rule4ml was trained on."""
    row, stage = sample.row, sample.row.stage
    alone = stage.kind == "dense" and not stage.stream and not row.in_network
    return alone and rule4ml_board(row.part) is not None and stage.strategy in ("latency", "resource")


def rule4ml_board(part: str) -> str | None:
    """rule4ml's name of the board with a part."""
    return next((name for prefix, name in RULE4ML_BOARDS.items() if part.startswith(prefix)), None)


def rule4ml_predictions(samples: Sequence[Sample], model: Any, version: str, estimator: Any) -> list[dict[str, float]]:
    """rule4ml's figures for rows of one shape and tool version, by our names, in the order of the rows."""
    configs = [rule4ml_config(sample) for sample in samples]
    distinct = list({repr(config): config for config in configs}.values())
    table = estimator.predict(model, hls_configs=distinct, hls4ml_versions="0.8.1", vivado_versions=version)
    keys = zip(table["Board"], table["Strategy"], table["Precision"], table["Reuse Factor"], strict=True)
    lines: dict[tuple[Any, ...], Mapping[str, Any]] = dict(zip(keys, table.to_dict("records"), strict=True))
    found = [lines[(config["board"], *config["model"].values())] for config in configs]
    return [{ours: float(line[name]) for ours, name in RULE4ML_QUANTITIES.items() if name in line} for line in found]


def rule4ml_config(sample: Sample) -> dict[str, Any]:
    """What rule4ml asks of an HLS configuration."""
    stage = sample.row.stage
    precision = f"ap_fixed<{stage.weight_bits}, {stage.weight_bits - stage.weight_fraction}>"
    model = {"strategy": stage.strategy, "precision": precision, "reuse_factor": stage.reuse_factor}
    return {"board": rule4ml_board(sample.row.part), "model": model}


def looked_up(figures: Mapping[str, float]) -> Callable[[Sample, str], float | None]:
    """An estimator that answers from figures already found."""

    def answer(_: Sample, quantity: str) -> float | None:
        return figures.get(quantity)

    return answer
