"""What became of a point: its figures, or its error."""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from toolkit.exploration.figures import Limit
from toolkit.exploration.space import Point
from toolkit.records import Figure

State = Literal["complete", "failed", "pruned"]


class StoredFigures(Mapping[str, Figure]):
    """Figures as the book holds them, each made when it is asked for: a sweep has hundreds of thousands."""

    __slots__ = ("content",)

    def __init__(self, content: Mapping[str, Mapping[str, Any]]) -> None:
        self.content = content

    def __getitem__(self, name: str) -> Figure:
        return Figure.from_json(self.content[name])

    def __contains__(self, name: object) -> bool:
        return name in self.content

    def __iter__(self) -> Iterator[str]:
        return iter(self.content)

    def __len__(self) -> int:
        return len(self.content)


@dataclass(frozen=True, eq=False)
class PointRecord:
    """A point that was evaluated, failed, or whose training was stopped.

    ``figures`` are those of :data:`toolkit.exploration.figures.HIGHER_IS_BETTER` that are known. ``facts`` are
    names and digests (part, program, graph, test set). ``reuse_factors`` are what each layer got.
    ``stages`` says what each stage cost in seconds, 0 where it was shared. ``history`` is the
    validation accuracy after each epoch. ``proof`` is filled in when csim has repeated the point.
    """

    point: Point
    state: State
    figures: Mapping[str, Figure] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    reuse_factors: Mapping[str, int] = field(default_factory=dict)
    fifo_depths: Mapping[str, int] = field(default_factory=dict)
    stages: Mapping[str, float] = field(default_factory=dict)
    history: tuple[float, ...] = ()
    seconds: float = 0.0
    error: str | None = None
    error_kind: str | None = None
    number: int | None = None  # Optuna's trial number
    proof: Mapping[str, Any] | None = None

    @property
    def digest(self) -> str:
        """Digest of the point."""
        return self.point.digest

    @property
    def arithmetic(self) -> str:
        """Digest of what decides the values computed: points that share it have equal outputs."""
        return self.facts.get("arithmetic", self.digest)

    @property
    def built(self) -> str:
        """Digest of the design as it is built: points that share it are one design, asked for in other words."""
        return self.facts.get("design", self.digest)

    @functools.cached_property
    def params(self) -> Mapping[str, Any]:
        """What varies, as it was built: a reuse factor is what the layers got, ``54 to 64`` where they differ."""
        found = dict(self.point.params)
        for name in found:
            if factors := self.factors(name):
                low, high = min(factors), max(factors)
                found[name] = high if low == high else f"{low} to {high}"
        return found

    def place(self, name: str) -> Any:
        """The value of a parameter on an axis: the largest reuse factor where layers got several."""
        return max(self.factors(name), default=self.point.params.get(name))

    def factors(self, name: str) -> list[int]:
        """The reuse factors that the layers of a parameter got; empty for any other parameter."""
        *at, key = name.split(".")
        if key != "reuse_factor":
            return []
        pattern = at[-1] if "layers" in at else "*"
        return [factor for layer, factor in self.reuse_factors.items() if fnmatch.fnmatchcase(layer, pattern)]

    @property
    def fits(self) -> bool | None:
        """Whether the part has enough of every resource; None when that is not known."""
        used = self.figures.get("utilization_percent")
        return None if used is None else used.value <= 100

    @property
    def simulated(self) -> dict[str, Figure]:
        """Latency and interval with FIFOs simulated token by token, where csim has repeated the point."""
        found = (self.proof or {}).get("simulated", {})
        return {f"{name} simulated": Figure.from_json(figure) for name, figure in found.items()}

    def violations(self, constraints: Sequence[str]) -> dict[str, float]:
        """By how much each constraint is missed; 0 or below where it holds."""
        return {text: Limit.parse(text).violation(self.figures) for text in constraints}

    def feasible(self, constraints: Sequence[str]) -> bool:
        """Whether the point was evaluated and holds every constraint."""
        return self.state == "complete" and all(missed <= 0 for missed in self.violations(constraints).values())

    def has(self, objectives: Sequence[str]) -> bool:
        """Whether every objective is known."""
        return all(name in self.figures for name in objectives)

    def to_json(self) -> dict[str, Any]:
        """The fields that are set, as JSON types; without trial number and proof, which the book keeps apart."""
        content = {
            "point": self.point.to_json(),
            "state": self.state,
            "figures": {name: figure.to_json() for name, figure in self.figures.items()},
            "facts": dict(self.facts),
            "notes": list(self.notes),
            "reuse_factors": dict(self.reuse_factors),
            "fifo_depths": dict(self.fifo_depths),
            "stages": dict(self.stages),
            "history": list(self.history),
            "seconds": self.seconds,
            "error": self.error,
            "error_kind": self.error_kind,
        }
        return {key: value for key, value in content.items() if value}

    @classmethod
    def from_json(
        cls, content: Mapping[str, Any], number: int | None = None, proof: Mapping[str, Any] | None = None
    ) -> PointRecord:
        """Inverse of :meth:`to_json`."""
        fields = dict(content)
        fields["point"] = Point.from_json(fields["point"])
        fields["figures"] = StoredFigures(fields.get("figures", {}))
        fields["notes"], fields["history"] = tuple(fields.get("notes", ())), tuple(fields.get("history", ()))
        return cls(**{"seconds": 0.0, **fields}, number=number, proof=proof)

    def change(self, **values: Any) -> PointRecord:
        """A copy with some fields changed."""
        return replace(self, **values)


def failure(point: Point, error: BaseException | str, kind: str | None = None, seconds: float = 0.0) -> PointRecord:
    """The record of a point that did not work out."""
    kind = kind or (type(error).__name__ if isinstance(error, BaseException) else "error")
    text = str(error).strip() or kind
    return PointRecord(point, "failed", error=text[:4000], error_kind=kind, seconds=seconds)
