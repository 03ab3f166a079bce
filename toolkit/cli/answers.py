"""What ``--json`` prints, command by command: the types that its schema is generated from.

Every answer is one object with ``schema`` (the version, the same as in ``report.json``), ``answer`` (which of
these it is) and the fields of its type. Keys are identifiers; a new key leaves the version as it is, a key
that goes or means something else raises it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.baselines.gpu_model import Deviation
from toolkit.comparison.diff import ProjectDiff, RunDiff
from toolkit.devices import Device
from toolkit.doctor import Diagnosis
from toolkit.emulation.bench import EmulatorBench
from toolkit.estimation.beside import Beside
from toolkit.estimation.validation import Validation
from toolkit.exploration.bench import SweepBench
from toolkit.exploration.compression import Compression
from toolkit.hls.vendor import SynthesisRecord
from toolkit.plan import Plan
from toolkit.records import (
    SCHEMA_VERSION,
    BaselineRecord,
    CheckResult,
    Estimate,
    Figure,
    Finding,
    LayerProfile,
    Metric,
)


@dataclass(frozen=True)
class Doctor:
    """``doctor``: what is installed here."""

    found: tuple[Diagnosis, ...]


@dataclass(frozen=True)
class Parts:
    """``parts``: FPGA parts with their resources."""

    parts: tuple[Device, ...]


@dataclass(frozen=True)
class RunDesign:
    """One design of a run: its comparisons, what lint found; ``failed`` says which bits differ and why."""

    name: str
    failed: str | None
    checks: tuple[CheckResult, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Run:
    """``run``, ``demo``: where everything is, what was planned, the comparison's rows, every design."""

    folder: Path
    report: Path
    plan: Plan
    rows: Sequence[Mapping[str, Any]]
    designs: tuple[RunDesign, ...]


@dataclass(frozen=True)
class Train:
    """``train``: the record of a training."""

    name: str
    path: Path | None
    figures: Mapping[str, Figure]
    history: Mapping[str, Sequence[float]]
    seed: int
    digest: str
    test_digest: str
    seconds: Figure
    environment: Mapping[str, str]
    metric: Metric
    scale: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class ProjectLayer:
    """A layer of a written project."""

    name: str
    kind: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Project:
    """``convert``: the project that was written."""

    path: Path
    digest: str
    config: Mapping[str, Any]
    notes: tuple[str, ...]
    layers: tuple[ProjectLayer, ...]


@dataclass(frozen=True)
class Csim:
    """``csim``: what was run on how many images, what it says of them, and what could not be checked."""

    project: Path
    digest: str
    engine: str
    images: int
    figures: Mapping[str, Figure] = field(default_factory=dict)
    checks: tuple[CheckResult, ...] = ()
    not_checked: tuple[str, ...] = ()
    outputs: Path | None = None

    @property
    def failed(self) -> bool:
        """Whether bits differ from what they must equal."""
        return any(check.failed for check in self.checks)


@dataclass(frozen=True)
class Check:
    """``check``: findings, comparisons, ranges, what could not be checked."""

    passed: bool
    findings: tuple[Finding, ...]
    checks: tuple[CheckResult, ...]
    profile: tuple[LayerProfile, ...]
    not_checked: tuple[str, ...]


@dataclass(frozen=True)
class Estimated(Estimate):
    """``estimate``: with ``--reports`` the vendor's figures beside it, with ``--against`` what is saved."""

    reported: tuple[Beside, ...] = ()
    compression: Compression | None = None


@dataclass(frozen=True)
class Show:
    """``show``: the network in the form that a project stores it in, weights left out."""

    network: Mapping[str, Any]


@dataclass(frozen=True)
class Rows:
    """``compare``: a mapping per row, its figures in stored units with their sources."""

    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Points:
    """``sweep``, ``sweep show``: a mapping per point, its values, figures and marks."""

    name: str
    study: str
    objectives: tuple[str, ...]
    constraints: tuple[str, ...]
    points: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class BestPoints:
    """``sweep best``: the best point of each test set."""

    best: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class StoreKind:
    """Artifacts of one kind; ``unused_s`` of the one that was used last."""

    count: int
    bytes: int
    unused_s: float


@dataclass(frozen=True)
class StoreShow:
    """``store show``: what the store holds, by kind."""

    root: str
    bytes: int
    kinds: Mapping[str, StoreKind]
    kept: Mapping[str, int]  # bytes of what is never removed
    half_made_bytes: int


@dataclass(frozen=True)
class StoreItem:
    """An artifact: of a check the ``reason`` it is damaged for, of a prune its size and age."""

    kind: str
    name: str
    reason: str | None = None
    bytes: int | None = None
    unused_s: float | None = None


@dataclass(frozen=True)
class StoreCheck:
    """``store check``: how many artifacts were compared, which are damaged."""

    compared: int
    damaged: tuple[StoreItem, ...]
    swept: int


@dataclass(frozen=True)
class StorePrune:
    """``store prune``: what was removed, or with ``dry`` would be."""

    removed: tuple[StoreItem, ...]
    freed_bytes: int
    left_bytes: int
    dry: bool


@dataclass(frozen=True)
class BenchGpu:
    """``bench gpu``: the GPU model against published figures."""

    deviations: tuple[Deviation, ...]


@dataclass(frozen=True)
class BenchQat:
    """``bench qat``: milliseconds a step and ratios."""

    float_step: Figure
    toolkit_step: Figure
    qkeras_step: Figure
    toolkit_ratio: Figure
    qkeras_ratio: Figure
    same_outputs: bool


ANSWERS: Mapping[str, Any] = {
    "baseline": BaselineRecord,
    "bench emulator": EmulatorBench,
    "bench estimator": Validation,
    "bench gpu": BenchGpu,
    "bench qat": BenchQat,
    "bench sweep": SweepBench,
    "check": Check,
    "compare": Rows,
    "convert": Project,
    "csim": Csim,
    "demo": Run,
    "diff": ProjectDiff | RunDiff,
    "doctor": Doctor,
    "estimate": Estimated,
    "parts": Parts,
    "plan": Plan,
    "run": Run,
    "show": Show,
    "store check": StoreCheck,
    "store prune": StorePrune,
    "store show": StoreShow,
    "sweep": Points,
    "sweep best": BestPoints,
    "synth": SynthesisRecord,
    "train": Train,
}


def schema_of(name: str) -> dict[str, Any]:
    """The JSON schema (2020-12) of an answer."""
    from pydantic import TypeAdapter

    made: dict[str, Any] = TypeAdapter(ANSWERS[name]).json_schema()
    head = {
        "type": "object",
        "required": ["schema", "answer"],
        "properties": {"schema": {"const": SCHEMA_VERSION}, "answer": {"const": name}},
    }
    definitions = made.pop("$defs", {})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"toolkit {name} --json",
        "allOf": [head, made],
        "$defs": definitions,
    }
