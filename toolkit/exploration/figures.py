"""What a sweep optimizes and what it demands: figures by name, which way is better, and limits on them."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from toolkit.data.merit import MERITS
from toolkit.errors import ConfigError, choose
from toolkit.records import Figure, Metric

Item = TypeVar("Item")

# Figures of a point that may be objectives or be limited, and whether more of them is better.
HIGHER_IS_BETTER: dict[str, bool] = {
    **{name: merit.metric.better == "higher" for name, merit in MERITS.items()},
    **{f"{name}_loss": False for name in MERITS},  # how much worse than the float model on the same samples
    "top5": True,
    "top5_loss": False,
    "background_rejection": True,
    "background_rejection_loss": False,
    # Words for whatever the task is judged by, replaced by its name where a sweep is read.
    "metric": True,
    "loss": False,
    "latency_us": False,
    "latency_cycles": False,
    "initiation_interval_cycles": False,
    "throughput_hz": True,
    "lut": False,
    "ff": False,
    "dsp": False,
    "bram_18k": False,
    "uram": False,
    "energy_uj": False,
    "ebops": False,
    "bops": False,
    "weight_bytes": False,
    "utilization_percent": False,  # of the scarcest resource of the part
    "nonzero_weights": False,
    "csd_digits": False,
}
SHIPPED = frozenset(HIGHER_IS_BETTER)
ALIASES = {
    "latency": "latency_us",
    "ii": "initiation_interval_cycles",
    "initiation_interval": "initiation_interval_cycles",
    "throughput": "throughput_hz",
    "bram": "bram_18k",
    "energy": "energy_uj",
}
LIMIT = re.compile(r"^\s*([A-Za-z_0-9]+)\s*(<=|>=)\s*([-+0-9.eE]+)\s*(%?)\s*$")


def figure_name(text: str) -> str:
    """A figure's full name from its name or short form, however capitalized; raises ``ConfigError`` with the nearest.

    >>> figure_name("II")
    'initiation_interval_cycles'
    """
    return choose("figure", ALIASES.get(text.lower(), text.lower()), HIGHER_IS_BETTER)


def know(name: str, higher: bool) -> None:
    """Take the user's own figure of merit among those that can be optimized and limited."""
    HIGHER_IS_BETTER[name] = higher
    HIGHER_IS_BETTER[f"{name}_loss"] = False


def in_words_of(text: str, metric: Metric | str) -> str:
    """An objective or constraint with ``metric`` and ``loss`` replaced by the name of the figure of merit.

    >>> in_words_of("loss <= 0.01", "rmse")
    'rmse_loss <= 0.01'
    """
    name = metric if isinstance(metric, str) else metric.name
    return re.sub(r"^\s*(metric|loss)\b", lambda word: name if word[1] == "metric" else f"{name}_loss", text)


def direction(name: str) -> str:
    """Optuna's word for which way is better."""
    return "maximize" if HIGHER_IS_BETTER[name] else "minimize"


@dataclass(frozen=True)
class Limit:
    """A bound on one figure: ``accuracy >= 0.85``, ``latency_us <= 500``, or ``fits`` (every resource of the part)."""

    name: str
    relation: str
    bound: float

    @classmethod
    @functools.cache
    def parse(cls, text: str) -> Limit:
        """Read ``fits`` or ``<figure> <= <number>``; raises ``ConfigError`` that shows the form.

        >>> Limit.parse("accuracy >= 85 %")
        Limit(name='accuracy', relation='>=', bound=0.85)
        """
        if text.strip() == "fits":
            return cls("utilization_percent", "<=", 100.0)
        match = LIMIT.match(text)
        try:
            assert match is not None
            bound = float(match.group(3)) / (100 if match.group(4) else 1)
        except (AssertionError, ValueError):
            raise ConfigError(
                f'sweep.constraints: a constraint is "fits" or like "accuracy >= 0.85" or "lut <= 40000", got "{text}"'
            ) from None
        return cls(figure_name(match.group(1)), match.group(2), bound)

    def __str__(self) -> str:
        if (self.name, self.bound) == ("utilization_percent", 100.0):
            return "fits"
        return f"{self.name} {self.relation} {self.bound:g}"

    def violation(self, figures: Mapping[str, Figure]) -> float:
        """By how much the figure misses the bound; 0 or below when it holds; infinite when it is not known."""
        if self.name not in figures:
            return math.inf
        excess = figures[self.name].value - self.bound
        return excess if self.relation == "<=" else -excess


def pareto(
    items: Sequence[Item], figures_of: Callable[[Item], Mapping[str, Figure]], objectives: Sequence[str]
) -> list[Item]:
    """The items that no other beats: at least as good in every objective and better in one; first of equals."""
    scored = [(item, cost(figures_of(item), objectives)) for item in items]
    front: list[tuple[Item, tuple[float, ...]]] = []
    for item, mine in sorted(scored, key=lambda pair: pair[1]):
        if not any(all(o <= m for o, m in zip(other, mine, strict=True)) for _, other in front):
            front.append((item, mine))
    return [item for item, _ in front]


def cost(figures: Mapping[str, Figure], objectives: Sequence[str]) -> tuple[float, ...]:
    """Objectives turned so that smaller is better."""
    return tuple(-figures[name].value if HIGHER_IS_BETTER[name] else figures[name].value for name in objectives)
