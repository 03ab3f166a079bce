"""How a sweep reports where it is: one live line on a terminal, plain lines otherwise."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from toolkit import harmless
from toolkit.exploration.feeds import Progress
from toolkit.exploration.figures import cost
from toolkit.exploration.points import PointRecord
from toolkit.plan import duration

Say = Callable[[str], None]
LIVE_EVERY_S = 0.5
PLAIN_EVERY_S = 10.0
CLEAR = "\r\x1b[K"  # to the start of the line, which is emptied


@dataclass(eq=False)
class Narrator:
    """Tells progress now and then."""

    progress: Progress
    objectives: Sequence[str]
    constraints: Sequence[str]
    say: Say | None = None  # plain lines to a function instead of standard error
    begun: float = field(default_factory=time.monotonic)
    told: float = 0.0
    last: int = -1

    @property
    def live(self) -> bool:
        """Whether a line may be rewritten."""
        return self.say is None and sys.stderr.isatty()

    def beat(self) -> None:
        """Tell if it is time and there is news."""
        now = time.monotonic()
        if now - self.told < (LIVE_EVERY_S if self.live else PLAIN_EVERY_S):
            return
        if self.live or self.progress.fresh != self.last:
            self.told, self.last = now, self.progress.fresh
            if self.live:
                line = harmless.visible(self.line())[: shutil.get_terminal_size().columns - 1]
                print(f"{CLEAR}{line}", end="", file=sys.stderr, flush=True)
            else:
                self.tell(self.line())

    def tell(self, line: str) -> None:
        """A line that stays; a live one before it does not."""
        if self.say is not None:
            self.say(line)
        else:
            print(f"{CLEAR if self.live else ''}{harmless.visible(line, keep=chr(10))}", file=sys.stderr, flush=True)

    def line(self) -> str:
        """``37 of 100 points, 2.1 per s, 30 s left, 1 failed; best: accuracy 0.8712, latency_us 311``."""
        progress = self.progress
        seconds = max(time.monotonic() - self.begun, 1e-9)
        parts = [f"{progress.done:,} of {progress.total:,} points"]
        if progress.fresh:
            rate = progress.fresh / seconds
            parts.append(f"{rate:.2g} per s" if rate >= 1 else f"{1 / rate:.2g} s each")
            if left := max(0, progress.total - progress.done):
                parts.append(f"{duration(left / rate)} left")
        if progress.failures:
            parts.append(f"{progress.failures:,} failed")
        if progress.elsewhere:
            parts.append(f"{len(progress.elsewhere):,} in the hands of other coordinators")
        best = best_so_far(list(progress.records.values()), self.objectives, self.constraints)
        return ", ".join(parts) + (f"; best: {shown(best, self.objectives)}" if best else "")


def best_so_far(
    records: Sequence[PointRecord], objectives: Sequence[str], constraints: Sequence[str]
) -> PointRecord | None:
    """The feasible point that is best in the first objective, then the second, ..."""
    candidates = [record for record in records if record.feasible(constraints) and record.has(objectives)]
    return min(candidates, key=lambda record: cost(record.figures, objectives), default=None)


def shown(record: PointRecord, objectives: Sequence[str]) -> str:
    return ", ".join(f"{name} {record.figures[name].value:.4g}" for name in objectives)
