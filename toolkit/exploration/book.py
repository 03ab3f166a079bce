"""Optuna's storage as the book of a sweep: a study per sweep, a trial per point.

A finished point is one trial, written in one transaction: it is in the book whole or not at all.
Each trial carries ``digest`` and ``record`` (the whole :class:`PointRecord`) as user attributes, its
objectives as values and its constraints as Optuna knows them, so that optuna-dashboard and Optuna's
own functions work on it. The study carries the sweep's name, objectives and proofs.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from toolkit.errors import ConfigError, StoreError
from toolkit.exploration.figures import direction
from toolkit.exploration.points import PointRecord, failure
from toolkit.exploration.space import Dimension, Sweep
from toolkit.store import digest, package_versions, store_root, write_text, writing

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

JOURNAL_SUFFIXES = (".log", ".journal")
SQLITE_SUFFIXES = (".db", ".sqlite", ".sqlite3")
BUSY_TIMEOUT_S = 60.0  # how long SQLite waits for another writer
UNKNOWN_VIOLATION = 1e12  # of a constraint on a figure that is not known; Optuna takes no infinity everywhere
ABOUT = "toolkit"  # study attribute: what this is
PROOF = "proof:"  # study attributes: proof of the point with the digest that follows


def default_storage() -> str:
    """``sqlite:///<store>/sweeps.sqlite3``: one file for all sweeps of this user."""
    return f"sqlite:///{store_root() / 'sweeps.sqlite3'}"


def open_storage(storage: str | Path | None = None) -> BaseStorage:
    """Optuna's storage for a URL, an SQLite file or a journal file (``.log``, ``.journal``).

    Raises ``StoreError`` when it cannot be opened or is another version's.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    name = str(storage or default_storage())
    path = Path(name.removeprefix("journal://"))
    with talking_to(name):
        if name.startswith("journal://") or ("://" not in name and path.suffix in JOURNAL_SUFFIXES):
            return open_journal(path)
        if "://" not in name:
            if path.suffix not in SQLITE_SUFFIXES:
                raise ConfigError(
                    f"storage must be a URL such as postgresql://..., an SQLite file ({', '.join(SQLITE_SUFFIXES)}) "
                    f'or a journal file ({", ".join(JOURNAL_SUFFIXES)}), got "{name}"'
                )
            name = f"sqlite:///{path}"
        arguments: dict[str, Any] = {}
        if name.startswith("sqlite:///"):
            Path(name.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
            arguments = {"connect_args": {"timeout": BUSY_TIMEOUT_S}}
        return optuna.storages.RDBStorage(name, engine_kwargs=arguments)


def open_journal(path: Path) -> BaseStorage:
    """A journal file on a disk that several machines may share; a half-written last line is cut off."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = JournalFileOpenLock(str(path))
    if path.exists() and not ends_line(path):
        lock.acquire()
        try:
            mend(path)
        finally:
            lock.release()
    return JournalStorage(JournalFileBackend(str(path), lock))


def ends_line(path: Path) -> bool:
    """Whether a text file is empty or ends with a newline."""
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - 1))
        return stream.read(1) in (b"", b"\n")


def mend(path: Path) -> None:
    """Cut a text file after its last whole line."""
    content = path.read_bytes()
    with path.open("r+b") as stream:
        stream.truncate(content.rfind(b"\n") + 1)


@contextlib.contextmanager
def talking_to(storage: str) -> Iterator[None]:
    """Turn what a database answers into ``StoreError``: full disk, no server, wrong version."""
    import optuna
    import sqlalchemy.exc

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError, OSError, RuntimeError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise StoreError(f"the sweep's storage {storage} cannot be used: {reason}") from error
    except ImportError as error:
        raise StoreError(f"the sweep's storage {storage} needs a Python package: {error}") from error


def study_name(sweep: Sweep) -> str:
    """Name of a sweep's study; a changed space, objective or constraint is another study."""
    return f"{sweep.name}-{sweep.digest[:8]}"


@dataclass(eq=False)
class Book:
    """The study of one sweep."""

    sweep: Sweep
    study: optuna.Study
    storage: BaseStorage
    name: str  # of the storage, for messages
    spaces: dict[str | None, dict[str, BaseDistribution]] = field(default_factory=dict)

    def add(self, records: Sequence[PointRecord], system_attrs: Mapping[str, Any] | None = None) -> None:
        """Write finished points, each whole or not at all."""
        from toolkit.exploration.bulk import add_trials

        with talking_to(self.name):
            add_trials(self.study, self.storage, [self.trial(record, system_attrs) for record in records])

    def trial(self, record: PointRecord, system_attrs: Mapping[str, Any] | None = None) -> FrozenTrial:
        """A finished point as Optuna's record; ``system_attrs`` are a sampler's notes."""
        import optuna

        complete = record.state == "complete"
        now = datetime.now()
        trial = optuna.trial.create_trial(
            state=getattr(optuna.trial.TrialState, STATES[record.state]),
            values=self.values(record) if complete else None,
            params=dict(record.point.params),
            distributions=self.distributions(record.point.params.get("design")),
            user_attrs=attributes(record),
            constraints=self.constraints(record) if complete else None,
            system_attrs=dict(system_attrs or {}),
            intermediate_values=dict(enumerate(record.history)) if len(self.sweep.settings.objectives) == 1 else None,
        )
        trial.datetime_start, trial.datetime_complete = now - timedelta(seconds=record.seconds), now
        return trial

    def distributions(self, branch: str | None) -> dict[str, BaseDistribution]:
        """Optuna's distributions of a branch, made once."""
        if branch not in self.spaces:
            self.spaces[branch] = distributions(self.sweep, branch)
        return self.spaces[branch]

    def values(self, record: PointRecord) -> list[float]:
        """Objectives of a complete point."""
        return [float(record.figures[name].value) for name in self.sweep.settings.objectives]

    def constraints(self, record: PointRecord) -> dict[str, float]:
        """Violations as Optuna takes them: finite numbers."""
        missed = record.violations(self.sweep.settings.constraints)
        return {text: value if math.isfinite(value) else UNKNOWN_VIOLATION for text, value in missed.items()}

    def judged(self, record: PointRecord) -> PointRecord:
        """A record as it goes into the book: complete only with every objective."""
        lacking = [name for name in self.sweep.settings.objectives if name not in record.figures]
        if record.state != "complete" or not lacking:
            return record
        return failure(record.point, f"no figure for {', '.join(lacking)}", "NoFigure", record.seconds)

    def records(self) -> dict[str, PointRecord]:
        """The latest record of each point of this sweep, by digest."""
        with talking_to(self.name):
            return records_of(self.study)

    def earlier_records(self) -> dict[str, PointRecord]:
        """Points of earlier versions of this sweep file in the same storage, by digest; not of other software."""
        import optuna

        found: dict[str, PointRecord] = {}
        with talking_to(self.name):
            for summary in optuna.get_all_study_summaries(self.storage, include_best_trial=False):
                about = summary.user_attrs.get(ABOUT, {})
                same = about.get("name") == self.sweep.name and summary.user_attrs.get("versions") == package_versions()
                if same and summary.study_name != self.study.study_name:
                    study = optuna.load_study(study_name=summary.study_name, storage=self.storage)
                    found |= records_of(study)
        return {key: record for key, record in found.items() if record.state == "complete"}

    def prove(self, point_digest: str, proof: Mapping[str, Any]) -> None:
        """Keep what csim said of a point."""
        with talking_to(self.name):
            self.study.set_user_attr(PROOF + point_digest, dict(proof))


STATES = {"complete": "COMPLETE", "failed": "FAIL", "pruned": "PRUNED"}


def attributes(record: PointRecord) -> dict[str, Any]:
    """User attributes of a trial."""
    found = {"digest": record.digest, "record": json.loads(json.dumps(record.to_json()))}
    return found if record.error is None else {**found, "error": record.error}


def distributions(sweep: Sweep, branch: str | None) -> dict[str, BaseDistribution]:
    """Optuna's distribution of each parameter of a branch."""
    from optuna.distributions import CategoricalDistribution

    found = {dimension.name: distribution(dimension) for dimension in sweep.branch(branch).dimensions}
    if len(sweep.branches) > 1:
        found["design"] = CategoricalDistribution([branch.name for branch in sweep.branches])
    return found


def distribution(dimension: Dimension) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if dimension.choices:
        return CategoricalDistribution([dimension.spelled(value) for value in dimension.choices])
    low, high, log = dimension.low, dimension.high, dimension.log
    if dimension.is_whole:
        return IntDistribution(int(low), int(high), log=log, step=int(dimension.step or 1))
    return FloatDistribution(low, high, log=log, step=dimension.step)


def records_of(study: optuna.Study) -> dict[str, PointRecord]:
    """The latest record of each point of a study; one that worked stands before one that failed."""
    proofs = {key.removeprefix(PROOF): value for key, value in study.user_attrs.items() if key.startswith(PROOF)}
    found: dict[str, PointRecord] = {}
    for frozen in study.get_trials(deepcopy=False):
        record = read_record(frozen) if frozen.state.is_finished() else None
        if record is None:
            continue
        known = found.get(record.digest)
        if known is None or known.state != "complete":
            found[record.digest] = record.change(proof=proofs.get(record.digest))
    return found


def read_record(frozen: FrozenTrial) -> PointRecord | None:
    content = frozen.user_attrs.get("record")
    return PointRecord.from_json(content, frozen.number) if content else None


@contextlib.contextmanager
def opened_book(sweep: Sweep, storage: str | Path | None = None) -> Iterator[Book]:
    """The sweep's book, held by this process until the block ends.

    Raises ``StoreError`` when another process runs the same sweep, or the storage cannot be used.
    """
    opened = open_storage(storage)
    name = str(storage or default_storage())
    with held(study_name(sweep), name):
        yield open_book(sweep, opened, name)


def open_book(sweep: Sweep, storage: BaseStorage, name: str) -> Book:
    """The study of a sweep, created if it is not there."""
    import optuna

    objectives = sweep.settings.objectives
    with talking_to(name):
        study = optuna.create_study(
            study_name=study_name(sweep),
            storage=storage,
            directions=[direction(objective) for objective in objectives],
            load_if_exists=True,
        )
        about = {
            "name": sweep.name,
            "digest": sweep.digest,
            "objectives": list(objectives),
            "constraints": list(sweep.settings.constraints),
        }
        if study.user_attrs.get(ABOUT) != about:
            study.set_user_attr(ABOUT, about)
            study.set_user_attr("versions", package_versions())
            study.set_metric_names(list(objectives))
    return Book(sweep, study, storage, name)


@contextlib.contextmanager
def held(study: str, storage: str) -> Iterator[None]:
    """Keep a second coordinator from running the same sweep on the same storage from this store."""
    folder = store_root() / "sweeps"
    path = folder / f"{study}-{digest(storage)[:8]}.lock"
    owner = path.with_suffix(".owner")
    with writing(folder):
        lock = FileLock(str(path))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            who = owner.read_text().strip() if owner.exists() else "another process"
            raise StoreError(f"sweep {study} is being run by {who}; wait for it or end it, then start again") from None
    try:
        write_text(owner, f"process {os.getpid()} on {platform.node()}")
        yield
    finally:
        lock.release()
