"""What a training tells while it runs: a bar on a terminal, one line an epoch elsewhere. On stderr."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Narrator:
    """Tells of steps and epochs; ``bar`` is ``None`` off a terminal."""

    def __init__(
        self, name: str, epochs: int, steps: int, console: Console, bar: Progress | None, silent: bool
    ) -> None:
        self.name = name
        self.epochs = epochs
        self.console = console
        self.bar = bar
        self.silent = silent
        self.task = bar.add_task(name, total=epochs * steps) if bar else None
        self.steps = steps
        self.begun = time.perf_counter()

    def start(self, epoch: int) -> None:
        """Move to the beginning of an epoch (after a resume, past the epochs already done)."""
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=epoch * self.steps)

    def step(self) -> None:
        if self.bar is not None and self.task is not None:
            self.bar.advance(self.task)

    def epoch(self, number: int, logs: Mapping[str, float]) -> None:
        """Tell how an epoch went."""
        if self.silent:
            return
        told = ", ".join(f"{key.replace('val_', 'validation ')} {value:.4f}" for key, value in logs.items())
        seconds = time.perf_counter() - self.begun
        self.console.print(f"{self.name}: epoch {number}/{self.epochs}: {told} ({seconds:.0f} s)", highlight=False)


class Steps(keras.callbacks.Callback):  # type: ignore[misc]
    """Reports each batch to a narrator."""

    def __init__(self, narrator: Narrator) -> None:
        super().__init__()
        self.narrator = narrator

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.narrator.step()


@contextmanager
def narrating(name: str, epochs: int, steps: int, wanted: bool) -> Iterator[Narrator]:
    """A narrator for one training."""
    console = Console(stderr=True, quiet=not wanted, soft_wrap=True)
    if not (wanted and console.is_terminal):
        yield Narrator(name, epochs, steps, console, None, silent=not wanted)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        yield Narrator(name, epochs, steps, console, bar, silent=False)
