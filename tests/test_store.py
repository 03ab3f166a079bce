"""The artifact store: digests, atomic directories, two processes at once."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest

from toolkit.config import HlsConfig
from toolkit.errors import StoreError
from toolkit.store import artifact, digest, read_json, replacing, write_text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["ab", "c"], ["a", "bc"]),
        (np.zeros(4, np.int8), np.zeros(4, np.int16)),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        ({"a": 1}, {"a": "1"}),
        (HlsConfig(), HlsConfig(reuse_factor=2)),
        (0.0, 0),
    ],
    ids=["borders", "dtype", "shape", "type", "config", "float"],
)
def test_different_values_have_different_digests(one: object, other: object) -> None:
    assert digest(one) != digest(other)


def test_the_order_of_keys_does_not_matter() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": (1, 2), "a": 1})


def test_a_failed_artifact_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), artifact("kind", "key", tmp_path) as folder:
        (folder / "half").write_text("x")
        raise ZeroDivisionError
    assert not (tmp_path / "kind" / "key").exists()
    assert [path.name for path in (tmp_path / "kind").iterdir() if path.is_dir()] == []


def test_a_finished_artifact_is_reused_and_found_at_its_place(tmp_path: Path) -> None:
    with artifact("kind", "key", tmp_path) as folder:
        assert not folder.complete
        (folder / "file").write_text("x")
    assert folder / "file" == tmp_path / "kind" / "key" / "file"
    with artifact("kind", "key", tmp_path) as again:
        assert again.complete
        assert (again / "file").read_text() == "x"


def build_slowly(root: Path, made: Path) -> None:
    with artifact("kind", "key", root) as folder:
        if not folder.complete:
            time.sleep(0.3)
            (made / str(os.getpid())).touch()
            (folder / "file").write_text("x")


def test_two_processes_make_an_artifact_once(tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    spawn = multiprocessing.get_context("spawn")
    builders = [spawn.Process(target=build_slowly, args=(tmp_path, made)) for _ in range(3)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert [builder.exitcode for builder in builders] == [0, 0, 0]
    assert len(list(made.iterdir())) == 1


def test_a_replaced_directory_is_old_or_new_never_mixed(tmp_path: Path) -> None:
    final = tmp_path / "out"
    with replacing(final) as folder:
        (folder / "one").touch()
    with pytest.raises(ZeroDivisionError), replacing(final) as folder:
        (folder / "two").touch()
        raise ZeroDivisionError
    assert [path.name for path in final.iterdir()] == ["one"]
    with replacing(final) as folder:
        (folder / "three").touch()
    assert [path.name for path in final.iterdir()] == ["three"]
    assert list(tmp_path.iterdir()) == [final]


def test_a_full_disk_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match=r"No space left.*TOOLKIT_STORE"), artifact("kind", "key", tmp_path):
        raise OSError(28, "No space left on device")
    assert not (tmp_path / "kind" / "key").exists()


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(AttributeError):
        write_text(path, None)  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_malformed_json_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(StoreError, match=r"a\.json"):
        read_json(tmp_path / "a.json")
