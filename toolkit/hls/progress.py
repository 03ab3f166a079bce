"""How far csim is: a bar on a terminal, a line now and then elsewhere. On stderr."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
