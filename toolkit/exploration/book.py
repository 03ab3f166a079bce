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
import random
import re
import time
import warnings
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from toolkit.errors import ConfigError, StoreError, install
from toolkit.exploration.bulk import add_trials, changed_attributes, stored_records, study_attributes
from toolkit.exploration.figures import HIGHER_IS_BETTER, SHIPPED, direction
from toolkit.exploration.points import PointRecord, failure
from toolkit.exploration.space import Dimension, Sweep
from toolkit.store import package_versions, store_root

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

JOURNAL_SUFFIXES = (".log", ".journal")
SQLITE_SUFFIXES = (".db", ".sqlite", ".sqlite3")
OPENINGS = 10  # attempts to open a database whose tables another process is making
MADE_BY_ANOTHER = re.compile("already exists|UniqueViolation|UNIQUE constraint|duplicate key|locked")
PASSWORDS = re.compile(r"(:/{1,2}[^:/@\s]*:)(.*)(?=@)|(pass\w*=)([^&\s]+)")  # in a URL, well formed or not
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
            from toolkit.exploration.journal import open_journal

            return open_journal(path)
        if "://" in name:
            return open_relational(driven(name))
        if path.suffix in SQLITE_SUFFIXES:
            return open_relational(f"sqlite:///{path}")
    raise ConfigError(
        f"storage must be a URL such as postgresql://..., an SQLite file ({', '.join(SQLITE_SUFFIXES)}) "
        f'or a journal file ({", ".join(JOURNAL_SUFFIXES)}), got "{shown_storage(name)}"'
    )


def open_relational(url: str) -> BaseStorage:
    """A database; several processes may make its tables at once, where all but one meet what is there already."""
    import optuna
    import sqlalchemy.exc

    arguments: dict[str, Any] = {"pool_pre_ping": True}
    if url.startswith("sqlite:///"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        arguments = {"connect_args": {"timeout": BUSY_TIMEOUT_S}}
    for attempt in range(OPENINGS):
        try:
            return optuna.storages.RDBStorage(url, engine_kwargs=arguments)
        except (
            sqlalchemy.exc.IntegrityError,
            sqlalchemy.exc.ProgrammingError,
            sqlalchemy.exc.OperationalError,
        ) as error:
            if attempt + 1 == OPENINGS or not MADE_BY_ANOTHER.search(str(error)):
                raise
            time.sleep(random.uniform(0.05, 0.5))
    raise AssertionError("the last attempt returns or raises")


def driven(url: str) -> str:
    """A PostgreSQL URL with the driver of the extra ``postgres``, unless it names another."""
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url)


def shown_storage(storage: str | Path | None = None) -> str:
    """A storage as messages and reports name it: without its password.

    >>> shown_storage("postgresql://me:secret@db.example.org/sweeps?password=x")
    'postgresql://me:***@db.example.org/sweeps?password=***'
    """
    return PASSWORDS.sub(r"\1\3***", str(storage or default_storage()))


def without_passwords(text: str, storage: str) -> str:
    """What a driver says of a storage, should it repeat the storage's passwords, spelled in whatever way."""
    found = [match[1] or match[3] for match in PASSWORDS.findall(storage)]
    for password in filter(None, (*found, *map(unquote, found))):
        text = text.replace(password, "***")
    return text


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
        reason = without_passwords(str(error.__cause__ or error).splitlines()[0], storage)
        raise StoreError(f"the sweep's storage {shown_storage(storage)} cannot be used: {reason}") from None
    except ImportError as error:
        wanted = install("postgres") if storage.startswith("postgres") else error.__cause__ or error
        raise StoreError(f"the sweep's storage {shown_storage(storage)} needs a Python package: {wanted}") from None


def study_name(sweep: Sweep) -> str:
    """Name of a sweep's study; a changed space, objective or constraint is another study."""
    return f"{sweep.name}-{sweep.digest[:8]}"


@dataclass(eq=False)
class Book:
    """The study of one sweep."""

    sweep: Sweep
    study: optuna.Study
    storage: BaseStorage
    name: str  # of the storage, which may hold a password
    spaces: dict[str | None, dict[str, BaseDistribution]] = field(default_factory=dict)
    read_up_to: int = -1  # identity of the last trial that was read

    def add(self, records: Sequence[PointRecord], system_attrs: Mapping[str, Any] | None = None) -> None:
        """Write finished points, each whole or not at all."""
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
            return records_of(self.study, self.storage)

    def new_records(self, known: Container[str]) -> list[PointRecord]:
        """Records written since this was asked last, by whomever, of points that are not among the known."""
        found: dict[str, PointRecord] = {}
        with talking_to(self.name):
            for identity, number, content in stored_records(self.study, self.storage, self.read_up_to):
                self.read_up_to = identity
                record = read_record(content, number)
                if record.digest not in known and (record.state == "complete" or record.digest not in found):
                    found[record.digest] = record
        return list(found.values())

    def read_attributes(self, prefix: str) -> dict[str, Any]:
        """The study's attributes whose names begin so."""
        with talking_to(self.name):
            return study_attributes(self.study, self.storage, prefix)

    @contextlib.contextmanager
    def attributes(self, prefix: str) -> Iterator[tuple[Mapping[str, Any], dict[str, Any]]]:
        """The same with a mapping of changes to make, in one exclusive step."""
        with talking_to(self.name), changed_attributes(self.study, self.storage, prefix) as step:
            yield step

    def earlier_records(self) -> dict[str, PointRecord]:
        """Points of earlier versions of this sweep file in the same storage, by digest; not of other software."""
        import optuna

        found: dict[str, PointRecord] = {}
        with talking_to(self.name):
            for other in self.storage.get_all_studies():
                about = other.user_attrs.get(ABOUT, {})
                same = about.get("name") == self.sweep.name and other.user_attrs.get("versions") == package_versions()
                if same and other.study_name != self.study.study_name:
                    study = optuna.load_study(study_name=other.study_name, storage=self.storage)
                    found |= records_of(study, self.storage)
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


def records_of(study: optuna.Study, storage: BaseStorage) -> dict[str, PointRecord]:
    """The latest record of each point of a study; one that worked stands before one that failed."""
    found: dict[str, PointRecord] = {}
    for _, number, content in stored_records(study, storage):
        record = read_record(content, number)
        known = found.get(record.digest)
        if known is None or known.state != "complete":
            found[record.digest] = record
    return with_proofs(found, study_attributes(study, storage, PROOF))


def with_proofs(records: Mapping[str, PointRecord], proofs: Mapping[str, Any]) -> dict[str, PointRecord]:
    """Records with what csim said of them, or of another point that computes the same values."""
    own = {key: proofs[PROOF + key] for key in records if PROOF + key in proofs}
    lent = {records[key].arithmetic: lend(proof, records[key]) for key, proof in own.items() if "as" not in proof}
    found = {}
    for key, record in records.items():
        proof = own.get(key) or lent.get(record.arithmetic)
        found[key] = record if proof is None or record.state != "complete" else record.change(proof=proof)
    return found


LENT = ("equal", "images", "outputs_different", "outputs_total", "largest_difference", "error")


def lend(proof: Mapping[str, Any], record: PointRecord) -> dict[str, Any]:
    """Of a proof what holds for every point of the same arithmetic, and which point it is of."""
    return {"as": record.number, **{key: proof[key] for key in LENT if key in proof}}


def read_record(content: Any, number: int) -> PointRecord:
    """A record from JSON text or types; text that repeats is kept once."""
    from pydantic_core import from_json

    fields = from_json(content, cache_strings="all") if isinstance(content, str) else content
    return PointRecord.from_json(fields, number)


@contextlib.contextmanager
def opened_book(sweep: Sweep, storage: str | Path | None = None) -> Iterator[Book]:
    """The sweep's book until the block ends; raises ``StoreError`` when the storage cannot be used."""
    opened = open_storage(storage)
    yield open_book(sweep, opened, str(storage or default_storage()))


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
        about: dict[str, Any] = {
            "name": sweep.name,
            "digest": sweep.digest,
            "objectives": list(objectives),
            "constraints": list(sweep.settings.constraints),
        }
        if own := {name: HIGHER_IS_BETTER[name] for name in objectives if name not in SHIPPED}:
            about["own"] = own
        if study.user_attrs.get(ABOUT) != about:
            study.set_user_attr(ABOUT, about)
            study.set_user_attr("versions", package_versions())
            study.set_metric_names(list(objectives))
    return Book(sweep, study, storage, name)
