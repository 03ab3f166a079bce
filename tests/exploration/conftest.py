"""A store of its own for each test, and cheap points that worker processes can import."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import cheap
import servers

from toolkit.exploration import SweepResult, sweep


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store; workers find ``cheap`` and the log of what they evaluate."""
    monkeypatch.setenv("TOOLKIT_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("CHEAP_LOG", str(tmp_path / "log"))
    (tmp_path / "log").touch()
    return tmp_path / "store"


@pytest.fixture
def run(store: Path) -> Callable[..., SweepResult]:
    """Run a sweep in this process with cheap points."""

    def run_here(tables: Mapping[str, Any], **options: Any) -> SweepResult:
        settings = {"workers": 0, "evaluate": cheap.evaluate, "prove": cheap.prove, "say": lambda line: None}
        return sweep(tables, **{**settings, **options})

    return run_here


@pytest.fixture
def evaluations(store: Path) -> Callable[[], list[str]]:
    """Digests of the points whose evaluation began, in order."""
    log = store.parent / "log"
    return lambda: [line.split()[1] for line in log.read_text().splitlines() if line.startswith("begin")]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a private PostgreSQL server, skipped where none is installed."""
    with servers.postgres_server() as url:
        yield url


@pytest.fixture
def postgres(postgres_server: str) -> str:
    """URL of an empty database."""
    return servers.new_database(postgres_server)


@pytest.fixture(params=["book.sqlite3", "book.journal", "postgres"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new storage of each kind."""
    found: Any = request.getfixturevalue("postgres") if request.param == "postgres" else tmp_path / request.param
    return str(found)
