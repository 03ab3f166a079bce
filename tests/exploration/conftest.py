"""A store of its own for each test, and cheap points that worker processes can import."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import cheap

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
