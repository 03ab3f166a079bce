"""Several coordinators on one study: who is there, and which points are whose.

Each coordinator keeps one attribute in the study: who it is, a heartbeat, and the points it has in
hand. To take points is one exclusive step on the storage (:func:`toolkit.exploration.bulk.changed_attributes`):
read what the others hold, claim the rest. A point that is finished is in the book before its claim is
given back, so whoever finds it unclaimed and then looks into the book sees it. Claims of a coordinator
that died are free again: at once on the machine it ran on, elsewhere after ``LOST_S`` without a heartbeat.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import StoreError

if TYPE_CHECKING:
    from toolkit.exploration.book import Book

COORDINATOR = "coordinator:"  # study attributes, one per coordinator
BEAT_S = 10.0
LOST_S = 60.0  # by the machines' clocks, which need not agree to the second


@dataclass(eq=False)
class Share:
    """One coordinator's part of a study; ``mine`` are digests of the points it has in hand."""

    book: Book
    key: str = field(default_factory=lambda: COORDINATOR + uuid.uuid4().hex[:12])
    mine: set[str] = field(default_factory=set)
    others: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # alive when last looked at
    lock: threading.Lock = field(default_factory=threading.Lock)
    closed: threading.Event = field(default_factory=threading.Event)

    def take(self, wanted: Sequence[str]) -> set[str]:
        """Claim the points that nobody else has in hand; returns those that are this coordinator's now."""
        if not set(wanted) - self.elsewhere(look=True):
            return set()
        with self.lock, self.book.attributes(COORDINATOR) as (found, changes):
            self.see(found, changes)
            got = set(wanted) - self.elsewhere()
            self.mine |= got
            changes[self.key] = self.about()
        return got

    def drop(self, points: Sequence[str]) -> None:
        """These are in the book, or left; said with the next step."""
        with self.lock:
            self.mine.difference_update(points)

    def elsewhere(self, *, look: bool = False) -> set[str]:
        """Points that other coordinators have in hand."""
        if look:
            found = self.book.read_attributes(COORDINATOR)
            self.others = {key: about for key, about in found.items() if key != self.key and is_alive(about)}
        return {point for about in self.others.values() for point in about["points"]}

    def names(self) -> str:
        """``process 12 on box, process 7 on node3``."""
        return ", ".join(f"process {about['process']} on {about['machine']}" for about in self.others.values())

    def see(self, found: Mapping[str, Mapping[str, Any]], changes: dict[str, Any]) -> None:
        """Note who is there; the attributes of the dead are removed."""
        rest = {key: about for key, about in found.items() if key != self.key}
        self.others = {key: about for key, about in rest.items() if is_alive(about)}
        changes.update(dict.fromkeys(rest.keys() - self.others.keys()))

    def about(self) -> dict[str, Any]:
        """What this coordinator says of itself."""
        return {**own(), "beat": time.time(), "points": sorted(self.mine)}

    def beat(self) -> None:
        """Say that this coordinator is alive."""
        with self.lock, self.book.attributes(COORDINATOR) as (found, changes):
            self.see(found, changes)
            changes[self.key] = self.about()

    def keep_beating(self) -> None:
        """In a thread of its own, since a coordinator may be busy with a point itself."""
        while not self.closed.wait(BEAT_S):
            with contextlib.suppress(StoreError):  # the coordinator will meet it where it can be told
                self.beat()

    def close(self) -> None:
        """Leave the study: what was in hand is free for the others."""
        self.closed.set()
        with self.lock, self.book.attributes(COORDINATOR) as (_, changes):
            changes[self.key] = None


@contextlib.contextmanager
def shared(book: Book) -> Iterator[Share]:
    """Take part in a study until the block ends."""
    share = Share(book)
    share.beat()
    thread = threading.Thread(target=share.keep_beating, daemon=True)
    thread.start()
    try:
        yield share
    finally:
        with contextlib.suppress(StoreError):  # nothing is lost: the others notice
            share.close()
        thread.join()


def namespace() -> str:
    """Where process ids mean something: the machine, and on Linux the container."""
    with contextlib.suppress(OSError):
        return f"{platform.node()} {Path('/proc/self/ns/pid').readlink()}"
    return platform.node()


def born(process: int) -> str | None:
    """When a process started, in the kernel's own count; nothing if it is not there, empty if that is not known."""
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[19]
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return None if Path("/proc/self/stat").exists() else ""


@functools.cache
def own() -> dict[str, Any]:
    """This process, as others can recognize it."""
    process = os.getpid()
    return {"process": process, "born": born(process), "machine": platform.node(), "namespace": namespace()}


def is_gone(about: Mapping[str, Any]) -> bool:
    """Whether a process is known to have ended."""
    return bool(about["namespace"] == own()["namespace"] and born(about["process"]) != about["born"])


def is_alive(about: Mapping[str, Any]) -> bool:
    """Whether a coordinator still runs, as far as can be told from here."""
    here = about["namespace"] == own()["namespace"]
    return not is_gone(about) and (here or time.time() - float(about["beat"]) < LOST_S)
