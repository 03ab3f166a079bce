"""How far long work is: csim with a bar on a terminal, conversions and estimates with lines. On stderr."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import parent_process

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

OnProgress = Callable[[int, int], None]  # images done, images in all

SECONDS_BETWEEN_LINES = 30.0


@contextmanager
def counting(what: str, total: int, console: Console | None = None) -> Iterator[OnProgress]:
    """What to call with images done and all: moves a bar, or off a terminal prints a line every half minute.

    Worker processes, whose parent tells for them, say nothing.
    """
    shown = console or Console(stderr=True, soft_wrap=True, quiet=parent_process() is not None)
    if shown.is_terminal and not shown.quiet:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=shown, transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done, of: bar.update(task, completed=done)
    else:
        yield lines(what, shown)


def lines(what: str, console: Console, seconds_between: float = SECONDS_BETWEEN_LINES) -> OnProgress:
    """Prints ``csim: 1,200 of 10,000 images``, not more often than asked; short work prints nothing."""
    told = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told >= seconds_between:
            told = time.monotonic()
            console.print(f"{what}: {done:,} of {total:,} images", highlight=False)

    return tell


# Long work in stages ------------------------------------------------------------------------------

FIRST_LINE_S, BETWEEN_LINES_S = 10.0, 30.0
TOLD_S = 1.0  # a part that took less is not worth a word


@dataclass
class Work:
    """Something under way: its name, since when, which part of it now, and the seconds its parts took."""

    name: str
    begun: float
    part: Work | None = None
    took: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name if self.part is None else f"{self.name}: {self.part}"

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begun


UNDERWAY = threading.local()


@contextmanager
def underway(name: str) -> Iterator[None]:
    """Work that may take long, or a part of such work: tells from the tenth second on where it is.

    When the whole has ended and took that long, a line says what took the time. Short work says nothing,
    and neither do worker processes.
    """
    whole: Work | None = getattr(UNDERWAY, "work", None)
    this = Work(name, time.monotonic())
    UNDERWAY.work = this
    try:
        if whole is None:
            with telling(this):
                yield
        else:
            whole.part = this
            yield
    finally:
        UNDERWAY.work = whole
        if whole is not None:
            whole.part = None
            whole.took[name] = whole.took.get(name, 0.0) + this.seconds


@contextmanager
def telling(work: Work) -> Iterator[None]:
    """A thread that tells where work is, and at the end what took the time."""
    over = threading.Event()
    console = Console(stderr=True, soft_wrap=True, quiet=parent_process() is not None)

    def tell() -> None:
        pause = FIRST_LINE_S
        while not over.wait(pause):
            console.print(f"{work}, {work.seconds:.0f} s so far", highlight=False, markup=False)
            pause = BETWEEN_LINES_S

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()
    if work.seconds >= FIRST_LINE_S:
        parts = sorted(work.took.items(), key=lambda part: -part[1])
        spent = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in parts if seconds >= TOLD_S)
        spent = f": {spent}" if spent else ""
        console.print(f"{work.name} took {work.seconds:.0f} s{spent}", highlight=False, markup=False)
