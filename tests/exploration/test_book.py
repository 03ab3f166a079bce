"""The book: Optuna's storages, one transaction a point, passwords, other versions of a sweep file."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

import cheap
import optuna
import pytest

from toolkit.errors import ConfigError, StoreError
from toolkit.exploration.book import Book, open_storage, opened_book, shown_storage, talking_to
from toolkit.exploration.points import PointRecord, failure
from toolkit.exploration.space import read_sweep

TABLES: dict[str, Any] = {
    "name": "book",
    "quantization": {"weight_bits": [2, 4, 8]},
    "hls": {"reuse_factor": [1, 2], "clock_period_ns": {"low": 5.0, "high": 10.0, "step": 5.0}},
}


def complete(book: Book) -> list[PointRecord]:
    return [cheap.evaluate(point, ()) for point in book.sweep.grid()]


class TestStorage:
    """What every storage must do."""

    def test_records_come_back_as_they_were_written(self, store: Path, storage: str) -> None:
        with opened_book(read_sweep(TABLES), storage) as book:
            records = complete(book)
            book.add([*records[:-1], failure(records[-1].point, ValueError("no"))])
        with opened_book(read_sweep(TABLES), storage) as book:
            found = book.records()
        assert list(found) == [record.digest for record in records]
        for number, record in enumerate(records[:-1]):
            assert found[record.digest].to_json() == record.to_json()
            assert found[record.digest].number == number
        assert found[records[-1].digest].error == "no"

    def test_optuna_sees_a_study_like_any_other(self, store: Path, storage: str) -> None:
        with opened_book(read_sweep(TABLES), storage) as book:
            book.add(complete(book))
            study = optuna.load_study(study_name=book.study.study_name, storage=open_storage(storage))
        assert study.metric_names == ["accuracy", "latency_us"]
        assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
        trial = study.trials[0]
        assert trial.params == {"quantization.weight_bits": 2, "hls.reuse_factor": 1, "hls.clock_period_ns": 5.0}
        assert trial.values == [0.75, 0.5]
        assert trial.constraints == {"fits": -50.0}
        assert {t.number for t in study.best_trials} <= set(range(12))

    def test_two_sweeps_do_not_disturb_each_other(self, store: Path, storage: str) -> None:
        one, two = read_sweep(TABLES), read_sweep({**TABLES, "name": "other"})
        with opened_book(one, storage) as first, opened_book(two, storage) as second:
            records = complete(first)
            first.add(records[:3])
            second.add(records[3:5])
            first.add(records[5:6])
            assert [record.number for record in first.records().values()] == [0, 1, 2, 3]
            assert [record.number for record in second.records().values()] == [0, 1]

    def test_points_of_an_earlier_version_of_the_file_are_known(self, store: Path, storage: str) -> None:
        with opened_book(read_sweep(TABLES), storage) as book:
            book.add(records := complete(book))
        wider = read_sweep({**TABLES, "quantization": {"weight_bits": [2, 4, 6, 8]}})
        with opened_book(wider, storage) as book:
            assert book.records() == {}
            assert set(book.earlier_records()) == {record.digest for record in records}


def test_many_trials_at_once_are_the_trials_that_optuna_would_write(store: Path, tmp_path: Path) -> None:
    with opened_book(read_sweep(TABLES), tmp_path / "bulk.sqlite3") as book:
        book.add(records := complete(book))
        bulk = book.study.get_trials()
    with opened_book(read_sweep(TABLES), tmp_path / "single.sqlite3") as book:
        for record in records:
            book.study.add_trial(book.trial(record))
        single = book.study.get_trials()
    for one, other in zip(bulk, single, strict=True):
        assert abs((one.datetime_complete - other.datetime_complete).total_seconds()) < 600
        for key in (
            "number",
            "state",
            "values",
            "params",
            "distributions",
            "user_attrs",
            "system_attrs",
            "constraints",
        ):
            assert getattr(one, key) == getattr(other, key), key


def test_a_half_written_journal_line_is_cut_off(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "book.journal"
    with opened_book(read_sweep(TABLES), path) as book:
        book.add(records := complete(book)[:3])
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code": 4, "worker_id": "ab')
    with opened_book(read_sweep(TABLES), path) as book:
        assert path.read_bytes().startswith(whole + b'{"op_code"')
        assert set(book.records()) == {record.digest for record in records}


def open_and_add(storage: str, index: int, store: str) -> None:
    os.environ["TOOLKIT_STORE"] = store
    with opened_book(read_sweep(TABLES), storage) as book:
        book.add(complete(book)[2 * index : 2 * index + 2])


def test_several_processes_may_make_the_tables_at_once(store: Path, storage: str) -> None:
    context = multiprocessing.get_context("fork")
    found = [context.Process(target=open_and_add, args=(storage, index, str(store))) for index in range(4)]
    for process in found:
        process.start()
    for process in found:
        process.join(60)
    assert [process.exitcode for process in found] == [0] * 4
    with opened_book(read_sweep(TABLES), storage) as book:
        numbers = [record.number for record in book.records().values()]
    assert sorted(numbers) == list(range(8))


@pytest.mark.parametrize(
    ("storage", "shown"),
    [
        ("postgresql://me:pass@word@host/db", "postgresql://me:***@host/db"),
        ("postgresql+psycopg://me:secret@host:5432/db?sslmode=require", None),
        ("postgresql:/me:secret@host/db", None),
        ("postgresql://host/db?user=me&password=secret", None),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("sqlite:////tmp/a@b.db", "sqlite:////tmp/a@b.db"),
        ("folder/book.journal", "folder/book.journal"),
    ],
)
def test_a_password_is_never_shown(storage: str, shown: str | None) -> None:
    assert "secret" not in shown_storage(storage)
    assert shown is None or shown_storage(storage) == shown
    with pytest.raises((StoreError, ConfigError)) as caught, talking_to(storage):
        raise OSError(f"no way to {storage}: secret") if "secret" in storage else ConfigError("none")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("storage", "error", "message"),
    [
        ("postgresql://nobody@localhost:1/none", StoreError, "cannot be used|needs a Python package"),
        ("nonsense://x", StoreError, "cannot be used"),
        ("book.txt", ConfigError, "SQLite file"),
        ("/proc/nowhere/book.db", StoreError, "cannot be used"),
    ],
)
def test_a_storage_that_cannot_be_used_is_told(store: Path, storage: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        open_storage(storage)


def test_a_full_disk_stops_the_sweep_and_keeps_what_is_finished(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "book.sqlite3"
    with opened_book(read_sweep(TABLES), path) as book:
        records = complete(book)
        book.add(records[:2])
        with book.storage.engine.connect() as connection:
            pages = connection.exec_driver_sql("pragma page_count").scalar()
        limit = lambda connection, _: connection.execute(f"pragma max_page_count={pages}")  # noqa: E731
        import sqlalchemy.event

        book.storage.engine.dispose()
        sqlalchemy.event.listen(book.storage.engine, "connect", limit)
        big = [record.change(notes=("x" * 20000,)) for record in records[2:]]
        with pytest.raises(StoreError, match="full"):
            book.add(big)
    with opened_book(read_sweep(TABLES), path) as book:
        assert set(book.records()) == {record.digest for record in records[:2]}
        book.add(records[2:])
        assert len(book.records()) == len(records)
