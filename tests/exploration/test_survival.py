"""A sweep that is killed continues: nothing finished is lost or done twice, nobody is left behind."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SCRIPT = """
import signal
import sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits it ignored
sys.path.insert(0, {here!r})
import cheap
from toolkit.exploration import sweep

TABLES = {{
    "name": "survivor",
    "quantization": {{"weight_bits": {{"low": 1, "high": 20}}}},
    "hls": {{"reuse_factor": {{"low": 1, "high": {factors}}}}},
    "sweep": {{"search": {search!r}, "points": {points}}},
}}

if __name__ == "__main__":
    result = sweep(TABLES, workers=2, storage={storage!r}, evaluate=cheap.evaluate, prove=cheap.prove, proof=False)
    print(len(result.points), len(result.pareto), len(result.failed))
"""


class Survivor:
    """A sweep in a process of its own, with a log of what its workers began and ended."""

    def __init__(self, folder: Path, *, search: str = "grid", points: int = 600) -> None:
        self.storage = folder / "book.sqlite3"
        self.log = folder / "log"
        self.log.touch()
        self.script = folder / "survivor.py"
        self.script.write_text(
            SCRIPT.format(here=str(HERE), storage=str(self.storage), search=search, points=points, factors=points // 20)
        )

    def start(self, seconds: float = 0.0) -> subprocess.Popen[str]:
        package = str(HERE.parent.parent)
        environment = {**os.environ, "CHEAP_LOG": str(self.log), "CHEAP_SECONDS": str(seconds), "PYTHONPATH": package}
        return subprocess.Popen(
            [sys.executable, str(self.script)],
            env={**environment, "TOOLKIT_STORE": str(self.log.parent / "store")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self, timeout_s: float = 60.0) -> str:
        child = self.start()
        output, errors = child.communicate(timeout=timeout_s)
        assert child.returncode == 0, errors
        return output.strip()

    def in_book(self) -> list[str]:
        """Digests of finished points, one per trial."""
        if not self.storage.exists():
            return []
        joined = "trial_user_attributes join trials using (trial_id)"
        query = f"select value_json from {joined} where key = 'digest' and state = ?"
        connection = sqlite3.connect(self.storage, timeout=30)
        try:
            return [row[0] for row in connection.execute(query, ("COMPLETE",))]
        except sqlite3.OperationalError:  # killed before the tables were made
            return []
        finally:
            connection.close()

    def begun(self, offset: int = 0) -> list[str]:
        lines = self.log.read_text()[offset:].splitlines()
        return ['"' + line.split()[1] + '"' for line in lines if line.startswith("begin") and len(line.split()) == 2]


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: object, timeout_s: float = 20.0) -> None:
    assert callable(condition)
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def test_killed_at_twenty_random_moments(tmp_path: Path) -> None:
    survivor, chance = Survivor(tmp_path), random.Random(20)
    workers: list[int] = []
    lives = 0
    for _ in range(20):
        before, offset = set(survivor.in_book()), survivor.log.stat().st_size
        child = survivor.start(seconds=0.05)
        time.sleep(chance.uniform(0.2, 2.6))
        alive = child.poll() is None
        lives += alive
        if alive:
            workers += children(child.pid)
            kill(child.pid)
        child.communicate()
        now = set(survivor.in_book())
        assert before <= now, "a finished point was lost"
        assert not before & set(survivor.begun(offset)), "a finished point was evaluated again"
    assert lives == 20, "the sweep ended before it was killed twenty times; give it more points"
    assert survivor.finish() == "600 3 0" or survivor.finish().startswith("600 ")
    book = survivor.in_book()
    assert len(book) == len(set(book)) == 600
    wait_until(lambda: not any(is_alive(pid) for pid in workers))


def test_a_search_continues_with_the_trials_that_were_in_hand(tmp_path: Path) -> None:
    survivor, chance = Survivor(tmp_path, search="tpe", points=40), random.Random(5)
    for _ in range(4):
        before, offset = set(survivor.in_book()), survivor.log.stat().st_size
        child = survivor.start(seconds=0.3)
        time.sleep(chance.uniform(1.5, 4.0))
        if child.poll() is None:
            kill(child.pid)
        child.communicate()
        assert before <= set(survivor.in_book())
        assert not before & set(survivor.begun(offset)), "a finished point was evaluated again"
    assert survivor.finish().split()[0] == "40"
    connection = sqlite3.connect(survivor.storage)
    states = dict(connection.execute("select state, count(*) from trials group by state").fetchall())
    connection.close()
    assert set(states) == {"COMPLETE"}, f"trials left open: {states}"


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    survivor = Survivor(tmp_path, points=200)
    child = survivor.start(seconds=0.05)
    for _ in range(2):
        wait_until(lambda: survivor.begun() and len(children(child.pid)) >= 2)
        time.sleep(0.3)
        for pid in children(child.pid):
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                kill(pid)
                break
    output, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    assert output.split()[0] == "200"
    assert output.split()[2] == "0", errors
    assert len(survivor.in_book()) == len(set(survivor.in_book())) == 200


@pytest.mark.parametrize("signal_number", [signal.SIGINT])
def test_ctrl_c_stops_and_says_how_to_continue(tmp_path: Path, signal_number: int) -> None:
    survivor = Survivor(tmp_path, points=200)
    child = survivor.start(seconds=0.05)
    wait_until(lambda: len(survivor.in_book()) > 5)
    workers = children(child.pid)
    os.killpg(child.pid, signal_number)  # as a terminal does: everyone gets it
    _, errors = child.communicate(timeout=20)
    assert "the same command continues" in errors
    wait_until(lambda: not any(is_alive(pid) for pid in workers))
    assert survivor.finish().split()[0] == "200"
