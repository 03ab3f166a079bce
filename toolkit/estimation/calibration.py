"""Coefficients of the LUT and FF models and the residuals of every model: fitted, kept with their provenance, applied.

A coefficient says what one unit of a hardware feature costs (:mod:`toolkit.estimation.area`). All
groups of one quantity are fitted together by non-negative least squares on relative errors, each
pulled gently towards a prior: the physical value first, then, for one tool line and device family,
the fit over all of them. A part of the design space with few rows thus stays near what is known of
the others, and one with many rows follows its own.

What ships is ``coefficients.json``; :func:`calibrate` refits it from a folder of rows
(:mod:`toolkit.estimation.rows`), so a user's own reports give the user's own coefficients.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from toolkit.errors import DataError
from toolkit.estimation.area import Area, Part, area_of, total
from toolkit.estimation.cycles import Clock, Cycles, cycles_of, kernel_cycles
from toolkit.estimation.rows import Row
from toolkit.estimation.stages import Stage
from toolkit.store import read_json, write_text

Floats = npt.NDArray[np.float64]
Names = npt.NDArray[np.str_]

SHIPPED = Path(__file__).with_name("coefficients.json")
SCHEMA = 2
FITTED = ("lut", "ff")
Group = Literal["network", "owner"]  # whose rows are left out together
LARGEST_SHARE = 0.75  # of a class' rows that one owner may have for it to count as several owners'
CHECKED = ("latency_cycles", "interval_cycles", "dsp", "bram_18k", "lut", "ff")
PRIOR_WEIGHT = 0.1  # a coefficient twice its prior weighs as much as one row with an error of 32 %
ROBUST_ERROR = 0.15  # relative error from which a row's weight falls (Huber)
ROBUST_ROUNDS = 4
SMALLEST = 20.0  # errors below so many LUTs or FFs count as if of this many
QUANTILES = (0.05, 0.95)
BALANCED_QUANTILES = (0.04, 0.96)
UNSEEN_BOUNDS = (0.5, 2.0)  # of measured over estimated where no residual exists
FEW_NETWORKS = 20  # with fewer networks an interval is a prediction, not quantiles (see ``ratio_bounds``)
TYPICAL_NETWORKS, TYPICAL_SPREAD = 3, 0.25  # weight and size of the spread that kinds of few networks are drawn to

# What one unit of each feature costs where no report says otherwise: widths of adders and
# multiplexers as csynth prints them, registers one per bit.
PRIORS: dict[str, dict[str, dict[str, float]]] = {
    "lut": {
        "kernel_constant": {
            "adder_bits": 1.0,
            "adders": 0.5,
            "adder_overheads": 0.7,
            "shift_add_bits": 1.2,
            "shift_subtract_bits": 1.8,
            "negation_bits": 1.3,
            "multiplier_luts": 1.0,
            "dsp": 5.0,
        },
        "kernel_shared": {
            "adder_bits": 1.0,
            "adders": 0.5,
            "adder_overheads": 0.7,
            "shift_add_bits": 1.2,
            "shift_subtract_bits": 1.8,
            "negation_bits": 1.3,
            "multiplier_luts": 0.05,
            "shared_products": 5.0,
            "dsp": 5.0,
        },
        "kernel_resource": {
            "accumulator_multiplexers": 1.0,
            "input_multiplexers": 1.0,
            "block_accum_bits": 1.1,
            "accumulator_bits": 1.5,
            "accumulator_bits_below": 1.0,
            "input_bits": 2.0,
            "input_bits_window": 0.3,
            "multipliers_without_dsp": 1.0,
            "one_outer": 2000.0,
            "one_dense": 500.0,
            "one_window": 300.0,
        },
        "kernel_distributed": {"da4ml_luts": 1.3},
        "line_buffer": {"row_bits": 2.5},
        "stream_convolution": {"one": 800.0},
        "stream_dense": {"input_bits": 2.0, "one": 120.0},
        "parallel_convolution": {"window_multiplexers": 1.0},
        "stream_pool": {"compare_bits": 2.5, "channels": 40.0, "row_bits": 2.5, "one": 500.0},
        "parallel_pool": {"compare_bits": 2.0, "average_bits": 1.45},
        "activation": {"elements": 15.0, "element_bits": 1.4, "rounded_bits": 2.2, "loop": 100.0},
        "table": {"elements": 100.0, "one": 50.0},
        "softmax": {
            "class_bits": 4.0,
            "multiplier_luts": 1.0,
            "run_time_table": 3200.0,
            "streamed_classes": 100.0,
        },
        "scale": {"element_bits": 2.7, "shared_bits": 1.2, "one": 10.0},
        "pad": {"channel_bits": 2.0, "one": 200.0},
        "merge": {"adder_bits": 1.4, "one": 60.0},
        "copy": {"channel_bits": 0.05, "one": 80.0},
    },
    "ff": {
        "kernel_constant": {
            "input_register": 1.0,
            "output_bits": 0.3,
            "cut_dsp_bits": 0.2,
            "cut_lut_bits": 0.09,
            "later_cut_bits": 0.7,
            "later_cut_bits_reused": 0.5,
            "folded_output_bits": 1.0,
            "held_dsp_bits": 0.65,
            "held_shift_bits": 0.38,
        },
        "kernel_shared": {
            "product_bits": 0.1,
            "waiting_bits": 0.6,
            "shared_products": 1.0,
            "input_bits": 0.5,
            "output_bits": 1.0,
        },
        "kernel_resource": {
            "accumulator_bits": 1.0,
            "accumulator_bits_below": 1.0,
            "block_bits_above": 1.0,
            "block_bits_two": 0.5,
            "block_bits_below": 1.0,
            "input_bits_dense": 2.5,
            "one": 107.0,
        },
        "kernel_distributed": {"da4ml_luts": 0.6, "output_bits": 1.0, "one": 20.0},
        "line_buffer": {"window_bits": 1.0, "one": 1.0},
        "stream_convolution": {"window_bits": 1.0, "waiting_bits": 0.65, "output_bits": 1.0, "one": 170.0},
        "stream_dense": {"input_bits": 1.0, "output_bits": 0.5, "one": 20.0},
        "parallel_convolution": {"output_map_bits": 1.0, "window_bits": 1.0},
        "stream_pool": {"window_bits": 1.0, "channels": 60.0, "one": 200.0},
        "parallel_pool": {"input_register": 1.0, "output_bits": 1.0},
        "activation": {"held_bits": 1.0, "result_bits": 1.0, "counter_bits": 1.0, "loop": 5.0, "one": 3.0},
        "table": {"elements": 25.0, "one": 10.0},
        "softmax": {"held_bits": 0.65, "run_time_table": 1020.0, "shared_classes": 107.0},
        "scale": {"element_bits": 1.0, "shared_bits": 1.0},
        "pad": {"one": 40.0},
        "merge": {"one": 30.0},
        "copy": {"one": 25.0},
    },
}

Coefficients = dict[str, dict[str, float]]  # group -> feature -> value


@dataclass(frozen=True)
class Residual:
    """How measured figures relate to estimates of one quantity on one kind of layer.

    ``low`` and ``high`` are quantiles of measured / estimated over networks that were left out;
    ``exact`` is the share of estimates that were equal, ``error`` the mean absolute relative error.
    """

    low: float
    high: float
    rows: int
    networks: int
    exact: float
    error: float
    owners: int = 1


@dataclass(frozen=True, eq=False)
class Calibration:
    """Fitted coefficients by tool class, residuals and ranges by kind of layer, and where they come from."""

    coefficients: Mapping[str, Mapping[str, Coefficients]]  # class -> quantity -> group -> feature -> value
    residuals: Mapping[str, Residual]  # "<kind>|<class>|<quantity>"
    ranges: Mapping[str, Mapping[str, tuple[float, float]]]  # "<kind>|<class>" -> property -> lowest, highest seen
    provenance: Mapping[str, Mapping[str, Any]]  # "<group>|<class>" -> rows, networks, sources, redistributable, tools
    digest: str = ""
    name: str = "toolkit"

    @property
    def label(self) -> str:
        """Name and version for the notes of figures."""
        return f"{self.name} calibration {self.digest}"


@lru_cache(maxsize=256)
def tool_class(clock: Clock) -> str:
    """Tool line and device family, the unit that coefficients are fitted for.

    Vivado HLS counts an adder of w bits as w LUTs on Virtex and Alveo UltraScale+, as w + 7 on Zynq.
    """
    apart = clock.zynq and not clock.tool.vitis
    return f"{clock.tool.line}/{'zynq ' if apart else ''}{clock.family}"


def clock_of(row: Row) -> Clock:
    """The clock a row was synthesised for."""
    return Clock(row.clock_period_ns, row.tool, row.family, row.uncertainty_ns, row.part)


def kind_key(stage: Stage) -> str:
    """Kind of layer in residuals and tables: strategy and io type told apart where they change the hardware."""
    io = "stream" if stage.stream else "parallel"
    if stage.kind in ("dense", "conv", "depthwise", "pointwise"):
        style = {"distributed_arithmetic": "da"}.get(stage.strategy, stage.strategy)
        style += " rf1" if stage.strategy == "resource" and not stage.resource else ""
        unknown = " (weights unknown)" if stage.facts is None else ""
        return f"{stage.kind} {style} {io}{unknown}"
    return f"{stage.kind} {io}"


# Prediction ----------------------------------------------------------------------------------


def coefficients_for(calibration: Calibration, clock: Clock, quantity: str) -> Coefficients:
    """Coefficients of a quantity for a tool and family; those over all of them where that class has none."""
    chosen = calibration.coefficients.get(tool_class(clock)) or calibration.coefficients["any"]
    return chosen[quantity]


def predict_part(part: Part, coefficients: Coefficients, quantity: str) -> float:
    """LUT or FF of one part."""
    features = part.lut if quantity == "lut" else part.ff
    return total(features, coefficients.get(part.group, {}))


def predict(area: Area, clock: Clock, calibration: Calibration, quantity: str) -> float:
    """LUT or FF of a stage."""
    coefficients = coefficients_for(calibration, clock, quantity)
    return sum(predict_part(part, coefficients, quantity) for part in area.parts)


def residual_for(calibration: Calibration, stage: Stage, clock: Clock, quantity: str) -> Residual | None:
    """Residuals of the nearest group of layers: same kind and class, same kind, same family of kinds, all."""
    return nearest_residual(calibration, kind_key(stage), tool_class(clock), quantity)


@lru_cache(maxsize=4096)
def nearest_residual(calibration: Calibration, kind: str, class_name: str, quantity: str) -> Residual | None:
    """Residuals of one quantity for a kind of layer and tool class, or of the nearest group that has any.

    Where the class has none, LUT and FF take the residuals of classes estimated without their own rows.
    """
    elsewhere = ("unseen", "any") if quantity in FITTED else ("any",)
    family = kind.split(" ")[0]
    keys = [f"{kind}|{class_name}", *(f"{kind}|{name}" for name in elsewhere)]
    keys += [f"{group}|{name}" for group in (family, "all") for name in elsewhere]
    found = (calibration.residuals.get(f"{key}|{quantity}") for key in keys)
    return next((residual for residual in found if residual is not None), None)


@lru_cache(maxsize=256)
def design_residual(calibration: Calibration, io_type: str, line: str, quantity: str) -> Residual | None:
    """Residuals of whole designs of an io type, of that tool line if there are any."""
    found = (calibration.residuals.get(f"design {io_type}|{name}|{quantity}") for name in (line, "any"))
    return next((residual for residual in found if residual is not None), None)


# Fitting -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Sample:
    """One row as the fit sees it: its parts, clock and measured LUT and FF."""

    row: Row
    clock: Clock
    area: Area
    cycles: Cycles
    parts: tuple[Part, ...]


def sample_of(row: Row) -> Sample:
    """Evaluate the mechanisms of one row; a ``dense_kernel`` row is the kernel without its streams."""
    clock = clock_of(row)
    area = area_of(row.stage, clock)
    bare = row.fields.get("layer_kind") == "dense_kernel"
    parts = area.parts[:1] if bare else area.parts
    cycles = kernel_cycles(row.stage, clock) if bare else cycles_of(row.stage, clock)
    return Sample(row, clock, area, cycles, parts)


def fit_rows(samples: Iterable[Sample]) -> list[Sample]:
    """Samples that can teach coefficients: weights known where the kernel depends on them, no development branch."""
    return [sample for sample in samples if sample.parts and teaches(sample.row)]


def teaches(row: Row) -> bool:
    """Whether a row is of released hls4ml code and, for constant kernels, comes with its weights.

    HGQ networks are left out: every input has a width of its own, which the nominal type overstates.
    """
    stage = row.stage
    if "hgq" in row.network.lower():
        return False
    constant = stage.kind in ("dense", "conv", "depthwise") and not stage.resource
    return released(row) and (not constant or stage.facts is not None)


def trustworthy(sample: Sample) -> bool:
    """Whether a row's residual says something about a converted model: released code, weights and widths known."""
    row, stage = sample.row, sample.row.stage
    known = stage.facts is not None or stage.kind not in ("dense", "conv", "depthwise")
    return known and row.role == "layer" and released(row) and "hgq" not in row.network.lower()


def released(row: Row) -> bool:
    """Whether the row's hls4ml is a release, not a development branch."""
    return "development" not in row.fields.get("implementation", "") and "hls4ml-data" not in row.source


def columns_of(quantity: str) -> list[tuple[str, str]]:
    """Every (group, feature) of a quantity, in order."""
    return [(group, feature) for group, features in PRIORS[quantity].items() for feature in features]


def design_matrix(samples: Sequence[Sample], quantity: str) -> tuple[Floats, Floats]:
    """Features of each sample, one column per coefficient, and the measured values."""
    index = {column: position for position, column in enumerate(columns_of(quantity))}
    matrix = np.zeros((len(samples), len(index)))
    measured = np.array([sample.row.measured[quantity] for sample in samples])
    for line, sample in enumerate(samples):
        for part in sample.parts:
            for feature, value in (part.lut if quantity == "lut" else part.ff).items():
                matrix[line, index[part.group, feature]] += value
    return matrix, measured


@dataclass(frozen=True, eq=False)
class Normal:
    """Normal equations of a weighted least squares fit; those of samples left out can be subtracted."""

    gram: Floats
    moment: Floats

    def without(self, other: Normal) -> Normal:
        """The equations without another set's share."""
        return Normal(self.gram - other.gram, self.moment - other.moment)


def normal_of(matrix: Floats, measured: Floats, weights: Floats) -> Normal:
    """Normal equations of relative errors."""
    scaled = matrix * weights[:, None]
    return Normal(scaled.T @ scaled, scaled.T @ (measured * weights))


def solve(normal: Normal, prior: Floats, scale: Floats) -> Floats:
    """Non-negative coefficients that minimise relative errors and distance to the prior in units of ``scale``.

    Solved by an active set on the normal equations.
    """
    gram = normal.gram + np.diag(PRIOR_WEIGHT / scale**2)
    moment = normal.moment + PRIOR_WEIGHT * prior / scale**2
    free = np.ones(prior.size, bool)
    values = np.zeros(prior.size)
    for _ in range(3 * prior.size):
        values[:] = 0.0
        values[free] = np.linalg.solve(gram[np.ix_(free, free)], moment[free])
        if (values < 0).any():
            free &= values > 0
            continue
        wanted = ~free & (moment - gram @ values > 1e-9 * np.abs(moment))
        if not wanted.any():
            break
        free[np.flatnonzero(wanted)[np.argmax((moment - gram @ values)[wanted])]] = True
    return np.maximum(values, 0.0)


def prior_vector(quantity: str) -> Floats:
    """The physical priors as a vector."""
    return np.array([PRIORS[quantity][group][feature] for group, feature in columns_of(quantity)])


def base_vector(base: Calibration, quantity: str) -> Floats:
    """The coefficients over all classes of an earlier calibration as a vector."""
    known = base.coefficients["any"][quantity]
    return np.array([known[group][feature] for group, feature in columns_of(quantity)])


def source_balance(samples: Sequence[Sample]) -> Floats:
    """Weights that keep a source with many rows of one kind of layer from drowning the others."""
    keys = [(sample.row.source, kind_key(sample.row.stage)) for sample in samples]
    counts = Counter(keys)
    return np.array([(10.0 / max(counts[key], 10)) ** 0.25 for key in keys])


@dataclass(frozen=True, eq=False)
class Fit:
    """Coefficients of one quantity for all classes, as vectors over :func:`columns_of`."""

    quantity: str
    classes: Mapping[str, Floats]

    def predict(self, sample: Sample) -> float:
        """LUT or FF of a sample under its class."""
        vector = self.classes.get(tool_class(sample.clock), self.classes["any"])
        matrix, _ = design_matrix([sample], self.quantity)
        return float(matrix[0] @ vector)

    def coefficients(self, name: str) -> Coefficients:
        """One class as nested dictionaries, rounded to four significant digits."""
        found: Coefficients = {}
        for (group, feature), value in zip(columns_of(self.quantity), self.classes[name], strict=True):
            found.setdefault(group, {})[feature] = float(f"{value:.4g}")
        return found


def measured_samples(samples: Sequence[Sample], quantity: str) -> list[Sample]:
    """Samples whose report gives the quantity."""
    return [sample for sample in fit_rows(samples) if quantity in sample.row.measured]


def fit(samples: Sequence[Sample], quantity: str, base: Calibration | None = None) -> Fit:
    """Fit one quantity over all classes, then each class with that as its prior; the first prior is ``base``'s."""
    return FitSession(samples, quantity, base).full


class FitSession:
    """A quantity's samples and their normal equations, so that leaving a network or owner out costs a subtraction."""

    def __init__(
        self, samples: Sequence[Sample], quantity: str, base: Calibration | None = None, *, by: Group = "network"
    ) -> None:
        self.quantity = quantity
        self.prior = prior_vector(quantity) if base is None else base_vector(base, quantity)
        self.samples = measured_samples(samples, quantity)
        if not self.samples:
            raise DataError(f"no row of the folder gives {quantity}; layers.csv needs that column filled")
        self.matrix, self.measured = design_matrix(self.samples, quantity)
        self.classes = sorted({tool_class(sample.clock) for sample in self.samples})
        self.groups = np.array([getattr(sample.row, by) for sample in self.samples])
        self.member = {name: np.array([tool_class(s.clock) == name for s in self.samples]) for name in self.classes}
        self.balance = source_balance(self.samples)
        self.weights_own = 1.0 / np.maximum(self.measured, SMALLEST)
        self.weights_any = self.weights_own * self.balance
        for _ in range(ROBUST_ROUNDS):
            self.normals = {name: self.normal(self.member[name], self.weights_own) for name in self.classes}
            self.normal_any = self.normal(np.ones(len(self.samples), bool), self.weights_any)
            self.full = self.solve_all(self.normals, self.normal_any)
            self.doubt()

    def doubt(self) -> None:
        """Weigh samples far from the fit less (Huber), so that a row that breaks the mechanism does not bend it."""
        own = np.array([self.full.classes[tool_class(sample.clock)] for sample in self.samples])
        for weights, predicted in (
            (self.weights_any, self.matrix @ self.full.classes["any"]),
            (self.weights_own, (self.matrix * own).sum(axis=1)),
        ):
            error = np.abs(predicted - self.measured) / np.maximum(self.measured, SMALLEST)
            limited = np.minimum(1.0, ROBUST_ERROR / np.maximum(error, 1e-9))
            base = 1.0 / np.maximum(self.measured, SMALLEST)
            share = self.balance if weights is self.weights_any else 1.0
            weights[:] = base * share * np.sqrt(limited)

    def normal(self, chosen: npt.NDArray[np.bool_], weights: Floats) -> Normal:
        """Normal equations of the chosen samples."""
        return normal_of(self.matrix[chosen], self.measured[chosen], weights[chosen])

    def solve_all(self, normals: Mapping[str, Normal], normal_any: Normal) -> Fit:
        """Solve for all classes together, then for each."""
        physical = prior_vector(self.quantity)
        over_all = solve(normal_any, self.prior, np.maximum(self.prior, 0.3 * physical))
        scale = np.maximum(over_all, 0.3 * physical)
        classes = {name: solve(normal, over_all, scale) for name, normal in normals.items()}
        return Fit(self.quantity, {"any": over_all, **classes})

    def without(self, group: str) -> Fit:
        """The fit without the rows of one network or owner."""
        chosen = self.groups == group
        if not chosen.any():
            return self.full
        touched = [name for name in self.classes if (chosen & self.member[name]).any()]
        normal_any = self.normal_any.without(self.normal(chosen, self.weights_any))
        normals = {
            name: self.normals[name].without(self.normal(chosen & self.member[name], self.weights_own))
            for name in touched
        }
        fitted = self.solve_all(normals, normal_any)
        return Fit(self.quantity, {**self.full.classes, **fitted.classes})


# Residuals -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """One estimate beside its measurement."""

    id: str
    network: str
    owner: str
    kind: str
    tool_class: str
    tool: str
    quantity: str
    estimated: float
    measured: float
    source: str
    redistributable: bool


Estimator = Callable[[Sample, str], float | None]


def measured_quantity(row: Row, quantity: str) -> float | None:
    """A measured figure by the name the estimates use; latency and interval are csynth's maxima."""
    name = {"latency_cycles": "latency_max_cycles", "interval_cycles": "ii_max"}.get(quantity, quantity)
    return row.measured.get(name)


def exact_estimate(sample: Sample, quantity: str) -> float:
    """Cycles, DSP and BRAM, which no fit changes."""
    return {
        "latency_cycles": float(sample.cycles.high),
        "interval_cycles": float(sample.cycles.interval),
        "dsp": float(sample.area.dsp),
        "bram_18k": float(sample.area.bram_18k),
    }[quantity]


def leave_one_out(samples: Sequence[Sample], base: Calibration | None = None, *, by: Group = "network") -> list[Judged]:
    """Every row estimated by coefficients fitted without its network, or without anything of its owner."""
    sessions = {quantity: FitSession(samples, quantity, base, by=by) for quantity in FITTED}
    judged: list[Judged] = []
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(getattr(sample.row, by), []).append(sample)
    for group, members in groups.items():
        fits = {quantity: session.without(group) for quantity, session in sessions.items()}

        def estimator(sample: Sample, quantity: str, fits: Mapping[str, Fit] = fits) -> float:
            return fits[quantity].predict(sample) if quantity in FITTED else exact_estimate(sample, quantity)

        judged += judge(members, estimator)
    return judged


def shipped_estimates(samples: Sequence[Sample], calibration: Calibration) -> list[Judged]:
    """Every row estimated by a given calibration: a test on rows it may never have seen."""

    def estimator(sample: Sample, quantity: str) -> float:
        if quantity not in FITTED:
            return exact_estimate(sample, quantity)
        coefficients = coefficients_for(calibration, sample.clock, quantity)
        return sum(predict_part(part, coefficients, quantity) for part in sample.parts)

    return judge(samples, estimator)


def judged_quantities(sample: Sample) -> tuple[str, ...]:
    """Quantities that a row can judge: a module inside a layer has no cycles of its own in the models."""
    whole_layer = sample.row.role == "layer" or sample.row.fields.get("layer_kind") == "dense_kernel"
    return CHECKED if whole_layer else CHECKED[2:]


def judge(samples: Sequence[Sample], estimator: Estimator, quantities: Sequence[str] = CHECKED) -> list[Judged]:
    """Estimates beside the measurements of each sample; an estimator answers ``None`` for what it does not cover."""
    return [
        judged_item(sample, quantity, estimated, measured)
        for sample in samples
        for quantity in judged_quantities(sample)
        if quantity in quantities
        and (measured := measured_quantity(sample.row, quantity)) is not None
        and (estimated := estimator(sample, quantity)) is not None
    ]


def judged_item(sample: Sample, quantity: str, estimated: float, measured: float) -> Judged:
    """One estimate beside its measurement."""
    return Judged(
        id=sample.row.id,
        network=sample.row.network,
        owner=sample.row.owner,
        kind=kind_key(sample.row.stage),
        tool_class=tool_class(sample.clock),
        tool=str(sample.row.tool),
        quantity=quantity,
        estimated=estimated,
        measured=measured,
        source=sample.row.source,
        redistributable=sample.row.redistributable,
    )


def residuals_of(judged: Sequence[Judged], abroad: Sequence[Judged]) -> dict[str, Residual]:
    """Residuals by kind and class, by kind, and over everything.

    A class that several owners have rows of takes the errors that each has when all of his are left out
    (``abroad``), as whoever brings a project of his own will; a class of one owner those of left-out networks.
    """
    found: dict[str, Residual] = {}
    near, far = grouped(judged), grouped(abroad)
    for key, items in sorted(near.items()):
        largest = max(Counter(item.owner for item in items).values())
        several = largest <= LARGEST_SHARE * len(items)
        found[key] = residual_of(far[key], by="owner") if several else residual_of(items, by="network")
    return found


def grouped(judged: Sequence[Judged]) -> dict[str, list[Judged]]:
    """Items by every group of layers they belong to, and quantity."""
    groups: dict[str, list[Judged]] = {}
    for item in judged:
        for key in residual_keys(item.kind, item.tool_class):
            groups.setdefault(f"{key}|{item.quantity}", []).append(item)
    return groups


def residual_keys(kind: str, class_name: str) -> tuple[str, ...]:
    """Groups of layers that one belongs to, the nearest first."""
    return f"{kind}|{class_name}", f"{kind}|any", f"{kind.split(' ')[0]}|any", "all|any"


def unseen_residuals(samples: Sequence[Sample]) -> dict[str, Residual]:
    """LUT and FF residuals of each tool class estimated by the fit over the other classes, by kind."""
    judged: list[Judged] = []
    for name in sorted({tool_class(sample.clock) for sample in samples}):
        others = [sample for sample in samples if tool_class(sample.clock) != name]
        if not others:
            continue
        fits = {quantity: fit(others, quantity) for quantity in FITTED}

        def estimator(sample: Sample, quantity: str, fits: Mapping[str, Fit] = fits) -> float:
            return fits[quantity].predict(sample)

        judged += judge([sample for sample in samples if tool_class(sample.clock) == name], estimator, FITTED)
    groups: dict[str, list[Judged]] = {}
    for item in judged:
        for kind in (item.kind, item.kind.split(" ")[0], "all"):
            groups.setdefault(f"{kind}|unseen|{item.quantity}", []).append(item)
    return {key: residual_of(items, by="owner") for key, items in sorted(groups.items())}


def residual_of(items: Sequence[Judged], *, by: Group) -> Residual:
    """Bounds of measured / estimated for one more network or owner, and how often and how far estimates were off."""
    names = np.array([getattr(item, by) for item in items])
    low, high = ratio_bounds(np.array([ratio_of(item) for item in items]), names, items[0].quantity)
    exact = float(np.mean([round(item.estimated) == item.measured for item in items]))
    errors = [abs(item.estimated - item.measured) / max(item.measured, 1.0) for item in items if item.measured > 0]
    return Residual(
        low=float(f"{low:.4g}"),
        high=float(f"{high:.4g}"),
        rows=len(items),
        networks=len({item.network for item in items}),
        owners=len({item.owner for item in items}),
        exact=float(f"{exact:.4g}"),
        error=float(f"{np.mean(errors) if errors else 0.0:.4g}"),
    )


def ratio_bounds(ratios: Floats, networks: Names, quantity: str) -> tuple[float, float]:
    """Bounds of measured / estimated for one more network, 1 between them.

    With many networks they are quantiles. With few, LUT and FF get a prediction interval: Student's t on the
    networks' mean squared logarithm, drawn towards what kinds with many rows show; counts and cycles, which a
    rule gives and no fit, the whole range seen and a quarter more.
    """
    names = np.unique(networks)
    if names.size >= FEW_NETWORKS:
        low, high = (float(np.quantile(ratios, quantile)) for quantile in QUANTILES)
        return min(low, 1.0), max(high, 1.0)
    if quantity in FITTED:
        squares = np.log(np.maximum(ratios, 1e-3)) ** 2
        own = sum(float(squares[networks == name].mean()) for name in names)
        degrees = names.size + TYPICAL_NETWORKS
        spread = math.sqrt((own + TYPICAL_NETWORKS * TYPICAL_SPREAD**2) / degrees)
        factor = math.exp((1.645 + 2.0 / degrees) * spread)  # t at 95 % to within 1 % from 4 degrees of freedom
        return 1 / factor, factor
    lowest, highest = float(ratios.min()), float(ratios.max())
    more = 0.25 * max(abs(1 - lowest), abs(highest - 1)) + 0.02
    return min(max(lowest - more, 0.2 * lowest), 1.0), max(highest + more, 1.0)


def balanced_bounds(ratios: Floats, owners: Names) -> tuple[float, float]:
    """Bounds of measured / estimated that held 81 to 96 % of whole designs of owners left out, 1 between them.

    Quantiles in which an owner of many designs counts by their square root, a tenth wider (in logarithms).
    """
    count = Counter(owners.tolist())
    order = np.argsort(ratios)
    weights = np.array([count[name] ** -0.5 for name in owners[order]])
    places = (np.cumsum(weights) - weights / 2) / weights.sum()
    logs = np.log(np.maximum(ratios[order], 1e-3))
    low, high = (math.exp(1.1 * float(np.interp(share, places, logs))) for share in BALANCED_QUANTILES)
    return min(low, 1.0), max(high, 1.0)


def ratio_of(item: Judged) -> float:
    """Measured over estimated of one item."""
    return ratio(item.estimated, item.measured)


def ratio(estimated: float, measured: float) -> float:
    """Measured over estimated; counts of nothing compare as if one."""
    return (measured + 1.0) / (estimated + 1.0) if estimated < 10 else measured / estimated


def interval(value: float, bounds: tuple[float, float]) -> tuple[float, float]:
    """Low and high of an estimate from bounds of measured over estimated, which :func:`ratio_of` defines."""
    low, high = bounds
    if value < 10:
        return max((value + 1) * low - 1, 0.0), (value + 1) * high - 1
    return value * low, value * high


def inside_held_out(judged: Sequence[Judged], *, by: Group = "network") -> list[bool]:
    """Whether each measurement lies in the interval that the residuals of all other networks (or owners) give it."""
    members = {key: np.array(found) for key, found in grouped_positions(judged).items()}
    ratios = np.array([ratio_of(item) for item in judged])
    names = np.array([getattr(item, by) for item in judged])
    known: dict[tuple[str, str], tuple[float, float] | None] = {}

    def bounds(key: str, name: str) -> tuple[float, float] | None:
        if (key, name) not in known:
            others = members[key][names[members[key]] != name]
            quantity = key.rsplit("|", 1)[1]
            known[key, name] = ratio_bounds(ratios[others], names[others], quantity) if others.size else None
        return known[key, name]

    inside = []
    for item in judged:
        keys = (f"{key}|{item.quantity}" for key in residual_keys(item.kind, item.tool_class))
        found = next((found for key in keys if (found := bounds(key, getattr(item, by))) is not None), UNSEEN_BOUNDS)
        low, high = interval(round(item.estimated), found)
        inside.append(low - 1e-9 <= item.measured <= high + 1e-9)
    return inside


def grouped_positions(judged: Sequence[Judged]) -> dict[str, list[int]]:
    """Positions of the items of every group of layers and quantity."""
    groups: dict[str, list[int]] = {}
    for index, item in enumerate(judged):
        for key in residual_keys(item.kind, item.tool_class):
            groups.setdefault(f"{key}|{item.quantity}", []).append(index)
    return groups


# Ranges and provenance ---------------------------------------------------------------------------

RANGED = ("n_in", "n_out", "reuse_factor", "input_bits", "weight_bits", "accum_bits")


def ranges_of(samples: Sequence[Sample]) -> dict[str, dict[str, tuple[float, float]]]:
    """Lowest and highest of each property of the layers seen, by kind and class and by kind."""
    seen: dict[str, list[Sample]] = {}
    for sample in samples:
        for name in (tool_class(sample.clock), "any"):
            seen.setdefault(f"{kind_key(sample.row.stage)}|{name}", []).append(sample)
    return {key: properties_of(members) for key, members in sorted(seen.items())}


def properties_of(members: Sequence[Sample]) -> dict[str, tuple[float, float]]:
    """Ranges over one group of samples."""
    columns: dict[str, list[float]] = {name: [float(getattr(s.row.stage, name)) for s in members] for name in RANGED}
    columns["clock_period_ns"] = [sample.row.clock_period_ns for sample in members]
    return {name: (min(values), max(values)) for name, values in columns.items()}


def outside(calibration: Calibration, stage: Stage, clock: Clock) -> list[str]:
    """Plain statements of where a layer lies outside what the calibration saw; empty inside."""
    kind = kind_key(stage)
    seen = calibration.ranges.get(f"{kind}|{tool_class(clock)}")
    if seen is None:
        others = calibration.ranges.get(f"{kind}|any")
        where = f"with {clock.tool.line} on {clock.family}" if others else "at all"
        return [f"no layer of kind {kind!r} was seen {where}: figures follow the mechanism, not data"]
    values = {name: float(getattr(stage, name)) for name in RANGED} | {"clock_period_ns": clock.period_ns}
    relevant = [name for name in values if matters(name, stage)]
    return [
        f"{name} {values[name]:g} lies outside the calibrated {seen[name][0]:g} to {seen[name][1]:g}"
        for name in relevant
        if name in seen and not seen[name][0] <= values[name] <= seen[name][1]
    ]


def matters(name: str, stage: Stage) -> bool:
    """Whether a property changes the hardware of this kind of layer."""
    if name in ("weight_bits", "accum_bits", "reuse_factor", "n_out"):
        return stage.kind in ("dense", "conv", "depthwise", "pointwise")
    return True


def provenance_of(samples: Sequence[Sample]) -> dict[str, dict[str, Any]]:
    """Rows, networks, sources and licences behind each group of coefficients, by class."""
    behind: dict[str, list[Row]] = {}
    for sample in fit_rows(samples):
        for part in sample.parts:
            for name in (tool_class(sample.clock), "any"):
                behind.setdefault(f"{part.group}|{name}", []).append(sample.row)
    return {key: describe_rows(rows) for key, rows in sorted(behind.items())}


def describe_rows(rows: Sequence[Row]) -> dict[str, Any]:
    """Where a set of rows comes from."""
    share = sum(row.redistributable for row in rows) / len(rows)
    return {
        "rows": len(rows),
        "networks": len({row.network for row in rows}),
        "redistributable": "all" if share == 1 else ("none" if share == 0 else f"{share:.0%} of rows"),
        "sources": sorted({row.source for row in rows}),
        "tools": sorted({str(row.tool) for row in rows}),
        "parts": sorted({row.part for row in rows}),
    }


# On disk ---------------------------------------------------------------------------------------


def calibration_json(calibration: Calibration) -> dict[str, Any]:
    """A calibration as JSON types."""
    return {
        "schema": SCHEMA,
        "name": calibration.name,
        "digest": calibration.digest,
        "coefficients": calibration.coefficients,
        "residual_fields": list(Residual.__dataclass_fields__),
        "residuals": {key: list(vars(residual).values()) for key, residual in calibration.residuals.items()},
        "ranges": calibration.ranges,
        "provenance": calibration.provenance,
    }


def save_calibration(calibration: Calibration, path: Path) -> None:
    """Write a calibration as JSON, an entry a line so that versions of it can be compared."""
    tables = {key: entries(value) for key, value in sorted(calibration_json(calibration).items())}
    write_text(path, "{\n" + ",\n".join(f'"{key}": {text}' for key, text in tables.items()) + "\n}\n")


def entries(value: Any) -> str:
    """JSON of a table, one line for each of its entries."""
    if not isinstance(value, Mapping):
        return json.dumps(value)
    lines = (f"{json.dumps(key)}: {json.dumps(item, sort_keys=True)}" for key, item in sorted(value.items()))
    return "{\n" + ",\n".join(lines) + "\n}"


@lru_cache(maxsize=8)
def load_calibration(path: Path = SHIPPED) -> Calibration:
    """Read a calibration; raises ``DataError`` when the file is not one of this version."""
    content = read_json(path)
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise DataError(f"{path} is not a calibration of schema {SCHEMA}; write one with the calibrate command")
    return Calibration(
        coefficients=content["coefficients"],
        residuals={
            key: Residual(**dict(zip(content["residual_fields"], values, strict=True)))
            for key, values in content["residuals"].items()
        },
        ranges={
            key: {name: (float(low), float(high)) for name, (low, high) in ranges.items()}
            for key, ranges in content["ranges"].items()
        },
        provenance=content["provenance"],
        digest=content["digest"],
        name=content["name"],
    )
