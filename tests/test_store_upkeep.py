"""The store's upkeep: what is in it, checking it, making room."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from toolkit.cli import exit_code
from toolkit.errors import ConfigError
from toolkit.store import artifact, limits
from toolkit.store.artifacts import MANIFEST
from toolkit.store.limits import parse_age, parse_bytes, spell_bytes
from toolkit.store.upkeep import contents

DAY = 86400


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three artifacts used 40, 20 and 0 days ago, a sweep, a foreign folder."""
    monkeypatch.setenv("TOOLKIT_STORE", str(tmp_path))
    for key, days in (("old", 40), ("older", 20), ("new", 0)):
        with artifact("csim", key) as folder:
            (folder / "library.so").write_bytes(bytes(10_000))
        os.utime(folder / MANIFEST, (time.time() - days * DAY,) * 2)
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "study.lock").touch()
    (tmp_path / "thesis" / "chapter").mkdir(parents=True)
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict:
    assert exit_code(["store", *arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def names() -> set[str]:
    return {item.name for item in contents()}


def test_show_counts_by_kind(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "show")
    assert found["root"] == str(store)
    assert found["kinds"].keys() == {"csim"} and found["kinds"]["csim"]["count"] == 3
    assert found["kinds"]["csim"]["bytes"] > 30_000 and found["kinds"]["csim"]["unused_s"] < DAY
    assert exit_code(["store", "show"]) == 0
    assert "csim" in capsys.readouterr().out


def test_check_finds_damage_once(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "check")
    assert (found["compared"], found["damaged"], found["swept"]) == (3, [], 0)
    (store / "csim" / "old" / "library.so").write_bytes(bytes(9_999) + b"x")
    (store / "csim" / ".new.toolkit-abcdefgh").mkdir()
    found = printed(capsys, "check", code=1)
    assert found["damaged"] == [{"kind": "csim", "name": "old", "reason": "library.so was changed"}]
    assert found["swept"] == 1
    assert printed(capsys, "check")["damaged"] == []
    assert "damaged" in printed(capsys, "show")["kinds"]


def test_prune_by_age(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(printed(capsys, "prune", "--older-than", "30d", "--dry-run")["removed"]) == 1
    assert names() == {"old", "older", "new"}
    assert [item["name"] for item in printed(capsys, "prune", "--older-than", "30d")["removed"]] == ["old"]
    assert names() == {"older", "new"}


def test_prune_to_a_size_begins_with_what_was_used_longest_ago(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with artifact("csim", "older"):  # opening it is using it
        pass
    printed(capsys, "prune", "--max-size", "25kB")
    assert names() == {"older", "new"}
    assert printed(capsys, "prune", "--max-size", "0B")["left_bytes"] == 0
    assert {path.name for path in store.iterdir()} >= {"sweeps", "thesis"}, "results and other people's files stay"
    assert (store / "thesis" / "chapter").is_dir()


def test_prune_leaves_what_is_being_made(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with artifact("csim", "half") as folder:
        (folder / "library.so").touch()
        printed(capsys, "prune", "--max-size", "0B")
        assert (folder / "library.so").exists()
    assert names() == {"half"}


def test_prune_wants_to_be_told_what(store: Path) -> None:
    assert exit_code(["store", "prune"]) == 2
    assert names() == {"old", "older", "new"}


@pytest.mark.parametrize("limit", ["20kB", "1 GB"])
def test_a_soft_limit_warns_once(
    limit: str, store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLKIT_STORE_LIMIT", limit)
    limits.TOLD.clear()
    for key in ("one", "two"):
        with artifact("csim", key):
            pass
    assert capsys.readouterr().err.count("more than its limit of 20kB") == (limit == "20kB")


def test_sizes_and_ages() -> None:
    assert [parse_bytes(text) for text in ("20 GB", "1.5kib", "7B")] == [20 * 10**9, 1536, 7]
    assert [parse_age(text) for text in ("30d", "2 H", "1w")] == [30 * DAY, 7200, 7 * DAY]
    assert [spell_bytes(count) for count in (0, 999, 21_340_000_000)] == ["0 B", "999 B", "21.3 GB"]
    for text in ("many", "20", "-1 GB", "1 PB", "1e9 B"):
        with pytest.raises(ConfigError, match=r'a size must be a number with a unit \(B, kB.*got "'):
            parse_bytes(text)
