"""Runs one hostile case and says what is wrong with its end: one clear error or success, in time, nothing touched."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolkit.errors import ToolkitError
from toolkit.harmless import LONGEST_MESSAGE

LIMIT_S = 10
CANARY = "CANARY-a-line-of-a-file-outside"

opened: list[str] = []  # what the case at hand opened, by any of Python's ways
watching = False


def note_opened(event: str, arguments: tuple[Any, ...]) -> None:
    if watching and event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        opened.append(os.fsdecode(arguments[0]))


sys.addaudithook(note_opened)


class Hang(BaseException):
    """A case that did not end in time."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise ``Hang`` in the block after so many seconds."""

    def stop(*_: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def judge(run: Callable[[], object], outside: Path | None = None) -> tuple[str, list[str]]:
    """How a case ended in a few words, and what is wrong with it.

    ``outside`` is a folder that nothing may open a file of, and whose content must stay.
    """
    global watching
    before = snapshot(outside)
    opened.clear()
    watching = True
    begun = time.monotonic()
    wrong: list[str] = []
    try:
        with limited(2 * LIMIT_S):
            run()
        ended = "success"
    except ToolkitError as error:
        ended = f"{type(error).__name__}: {error}"
        wrong += message_faults(str(error))
    except Hang:
        ended = "hang"
    except BaseException as error:  # whatever else leaves is a traceback for the user
        ended = f"{type(error).__name__}: {error}"
        wrong.append(f"traceback: {ended[:300]}")
    finally:
        watching = False
    if (seconds := time.monotonic() - begun) > LIMIT_S:
        wrong.append(f"took {seconds:.1f} s")
    if outside is not None:
        read = [name for name in opened if Path(os.path.realpath(name)).is_relative_to(outside.resolve())]
        wrong += [f"opened {read[0]}"] if read else []
        wrong += ["changed a file outside"] if snapshot(outside) != before else []
    wrong += [f"opened {name}" for name in opened if name.startswith("/dev/") and name not in ("/dev/null", "/dev/shm")]
    return ended, wrong


def message_faults(message: str) -> list[str]:
    """What a terminal would not show, too much text, or a line of somebody else's file."""
    faults = []
    if not message.replace("\n", "").isprintable():
        faults.append("raw control characters in the message")
    if len(message) > LONGEST_MESSAGE + 200:
        faults.append(f"a message of {len(message):,} characters")
    if CANARY in message:
        faults.append("the message quotes a file outside")
    if not message.strip():
        faults.append("an empty message")
    return faults


def snapshot(folder: Path | None) -> dict[str, bytes]:
    """Names and contents below a folder."""
    if folder is None:
        return {}
    return {str(item.relative_to(folder)): item.read_bytes() for item in sorted(folder.rglob("*")) if item.is_file()}
