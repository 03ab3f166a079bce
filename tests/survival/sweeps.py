"""A sweep in a process of its own that is killed and started again, on any storage and engine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent.parent
SCRIPT = """
import signal
import sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits it ignored
sys.path.insert(0, {folder!r})
import cheap
from toolkit.exploration import sweep

TABLES = {tables!r}

if __name__ == "__main__":
    places = {{"workers": 2, "scheduler": {scheduler!r}, "storage": {storage!r}}}
    result = sweep(TABLES, evaluate=cheap.evaluate, proof=False, **places)
    print(len(result.points), len(result.failed), len(result.left))
"""


def tables(points: int, search: str = "grid") -> dict[str, Any]:
    """A sweep of so many cheap points."""
    return {
        "name": "survivor",
        "quantization": {"weight_bits": {"low": 1, "high": 20}},
        "hls": {"reuse_factor": {"low": 1, "high": points // 20}},
        "sweep": {"search": search, "points": points},
    }


class Survivor:
    """The sweep, its storage, and a log of what its workers began."""

    def __init__(
        self, folder: Path, storage: str, *, points: int, search: str = "grid", scheduler: str | None = None
    ) -> None:
        self.folder, self.storage, self.points, self.search = folder, storage, points, search
        self.log = Path(os.environ.get("CHEAP_LOG", folder / "log"))
        self.log.touch()
        self.script = folder / "survivor.py"
        settings = {"storage": storage, "scheduler": scheduler, "tables": tables(points, search)}
        self.script.write_text(SCRIPT.format(folder=str(TESTS / "exploration"), **settings))

    def start(self, seconds: float = 0.0) -> subprocess.Popen[str]:
        """Begin or continue, each point taking so long."""
        environment = {**os.environ, "CHEAP_LOG": str(self.log), "CHEAP_SECONDS": str(seconds)}
        return subprocess.Popen(
            [sys.executable, str(self.script)],
            env={**environment, "TOOLKIT_STORE": str(self.folder / "store"), "PYTHONPATH": str(TESTS.parent)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self, timeout_s: float = 300.0) -> str:
        """Run to the end; returns what it printed."""
        output, errors = (child := self.start()).communicate(timeout=timeout_s)
        assert child.returncode == 0, errors
        return output.strip()

    def records(self) -> list[dict[str, Any]]:
        """Every trial that is in the book, as it was written: none twice if nothing was done twice."""
        import json

        from toolkit.exploration.book import open_book, open_storage
        from toolkit.exploration.bulk import stored_records
        from toolkit.exploration.space import read_sweep

        book = open_book(read_sweep(tables(self.points, self.search)), open_storage(self.storage), self.storage)
        contents = (content for _, _, content in stored_records(book.study, book.storage))
        return [json.loads(content) if isinstance(content, str) else content for content in contents]

    def outcome(self) -> list[tuple[str, str, str]]:
        """Digest, state and figures of each trial, sorted."""
        found = self.records()
        return sorted((r["point"]["digest"], r["state"], str(r.get("figures"))) for r in found)

    def begun(self) -> list[str]:
        """Digests of the points whose evaluation began."""
        return [line.split()[1] for line in self.log.read_text().splitlines() if line.startswith("begin ")]

    def leftovers(self) -> list[str]:
        """What must not remain: locks, half-made files, and claims of coordinators."""
        from toolkit.exploration.book import open_book, open_storage
        from toolkit.exploration.sharing import COORDINATOR
        from toolkit.exploration.space import read_sweep

        book = open_book(read_sweep(tables(self.points, self.search)), open_storage(self.storage), self.storage)
        files = [str(path) for path in self.folder.rglob("*") if path.name.startswith(".") or ".lock" in path.name]
        return [*files, *book.read_attributes(COORDINATOR)]


def expected(points: int) -> list[tuple[str, str, str]]:
    """What a sweep that nobody disturbs comes to."""
    import cheap

    from toolkit.exploration.space import read_sweep

    records = [cheap.evaluate(point, ()).to_json() for point in read_sweep(tables(points)).grid()]
    return sorted((r["point"]["digest"], r["state"], str(r["figures"])) for r in records)


def workers_of(pid: int) -> list[int]:
    """Worker processes of a coordinator that is there."""
    try:
        found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return [child for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    except OSError:
        return []


def is_alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    """Until something holds."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def end(child: subprocess.Popen[str], number: int) -> str:
    """Send a signal to a coordinator as a terminal does (everyone gets Ctrl-C) or the kernel (it alone)."""
    if number == signal.SIGINT:
        os.killpg(child.pid, number)
    else:
        os.kill(child.pid, number)
    return child.communicate(timeout=60)[1]
