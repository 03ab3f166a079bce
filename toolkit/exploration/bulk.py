"""What Optuna's relational storage does trial by trial, done for many at once.

Its object mapper takes some twenty statements to write a trial, ten milliseconds and more, and reads
thousands in minutes. A sweep writes the same rows in one transaction of plain inserts and reads the
records with one query. Journals, and layouts of the tables other than the one known here
(``SCHEMA_VERSION`` 12, in use since Optuna 3.0), go through Optuna's own functions.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

KNOWN_SCHEMA = 12
EXPECTED_COLUMNS = {
    "TrialModel": {"trial_id", "number", "study_id", "state", "datetime_start", "datetime_complete"},
    "TrialParamModel": {"param_id", "trial_id", "param_name", "param_value", "distribution_json"},
    "TrialUserAttributeModel": {"trial_user_attribute_id", "trial_id", "key", "value_json"},
    "TrialSystemAttributeModel": {"trial_system_attribute_id", "trial_id", "key", "value_json"},
    "TrialValueModel": {"trial_value_id", "trial_id", "objective", "value", "value_type"},
}
STUDY_COLUMNS = {"StudyUserAttributeModel": {"study_user_attribute_id", "study_id", "key", "value_json"}}
READ_AT_ONCE = 500  # rows
Attributes = dict[str, Any]


def add_trials(study: optuna.Study, storage: BaseStorage, trials: Sequence[FrozenTrial]) -> None:
    """Add finished trials; all of them in one transaction where the storage allows."""
    plain = not any(trial.intermediate_values for trial in trials)
    models = known_models(storage) if plain and trials else None
    if models is None:
        for trial in trials:
            study.add_trial(trial)
    else:
        insert_trials(storage, models, study._study_id, trials)


def known_models(storage: BaseStorage) -> Any:
    """Optuna's table definitions if this is a relational storage with the layout known here."""
    from optuna.storages import RDBStorage

    if not isinstance(storage, RDBStorage):
        return None
    from optuna.storages._rdb import models

    if getattr(models, "SCHEMA_VERSION", None) != KNOWN_SCHEMA:
        return None
    for name, columns in {**EXPECTED_COLUMNS, **STUDY_COLUMNS}.items():
        table = getattr(getattr(models, name, None), "__table__", None)
        if table is None or {column.name for column in table.columns} != columns:
            return None
    return models


def insert_trials(storage: Any, models: Any, study_id: int, trials: Sequence[FrozenTrial]) -> None:
    """Plain inserts in one transaction; trial numbers follow those of the study."""
    import sqlalchemy

    table = models.TrialModel.__table__
    with storage.engine.begin() as connection:
        lock_study(connection, models, study_id)  # so that numbers stay unique
        count = sqlalchemy.select(sqlalchemy.func.count()).select_from(table).where(table.c.study_id == study_id)
        first = connection.execute(count).scalar_one()
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in EXPECTED_COLUMNS}
        for number, trial in enumerate(trials, first):
            added = connection.execute(table.insert().values(trial_row(study_id, number, trial)))
            collect_rows(rows, models, added.inserted_primary_key[0], trial)
        for name, items in rows.items():
            if items:
                connection.execute(getattr(models, name).__table__.insert(), items)


def trial_row(study_id: int, number: int, trial: FrozenTrial) -> dict[str, Any]:
    return {
        "study_id": study_id,
        "number": number,
        "state": trial.state,
        "datetime_start": utc(trial.datetime_start),
        "datetime_complete": utc(trial.datetime_complete),
    }


def utc(moment: Any) -> Any:
    """Local time as the tables hold it: UTC without a zone."""
    from datetime import UTC

    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)


def collect_rows(rows: dict[str, list[dict[str, Any]]], models: Any, trial_id: int, trial: FrozenTrial) -> None:
    """The rows of one trial, by table."""
    for objective, value in enumerate(trial.values or ()):
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        entry = {"trial_id": trial_id, "objective": objective, "value": stored, "value_type": kind}
        rows["TrialValueModel"].append(entry)
    for name, value in trial.params.items():
        held = trial.distributions[name]
        entry = {"param_name": name, "param_value": held.to_internal_repr(value), "distribution_json": as_text(held)}
        rows["TrialParamModel"].append({"trial_id": trial_id, **entry})
    for model, values in (
        ("TrialUserAttributeModel", trial.user_attrs),
        ("TrialSystemAttributeModel", trial.system_attrs),
    ):
        rows[model] += [{"trial_id": trial_id, "key": key, "value_json": json.dumps(v)} for key, v in values.items()]


def as_text(held: Any) -> str:
    from optuna.distributions import distribution_to_json

    return str(distribution_to_json(held))


def lock_study(connection: Any, models: Any, study_id: int) -> None:
    """Keep every other writer of a study waiting until the transaction ends (SQLite: of the whole file)."""
    import sqlalchemy

    row = sqlalchemy.update(models.StudyModel.__table__).where(models.StudyModel.study_id == study_id)
    connection.execute(row.values(study_id=study_id))


def stored_records(study: optuna.Study, storage: BaseStorage, after: int = -1) -> Iterator[tuple[int, int, Any]]:
    """Identity, number and ``record`` of each finished trial written after a given identity, in order.

    A record is JSON text, or JSON types where the storage has parsed it anyway.
    """
    models = known_models(storage)
    if models is None:
        for trial in study.get_trials(deepcopy=False):
            if trial._trial_id > after and trial.state.is_finished() and "record" in trial.user_attrs:
                yield trial._trial_id, trial.number, trial.user_attrs["record"]
        return
    import sqlalchemy

    trials, notes = models.TrialModel.__table__, models.TrialUserAttributeModel.__table__
    query = (
        sqlalchemy.select(trials.c.trial_id, trials.c.number, notes.c.value_json)
        .join(notes, notes.c.trial_id == trials.c.trial_id)
        .where(trials.c.study_id == study._study_id, notes.c.key == "record", trials.c.trial_id > after)
        .order_by(trials.c.trial_id)
        .execution_options(yield_per=READ_AT_ONCE)
    )
    with storage.engine.connect() as connection:
        for row in connection.execute(query):
            yield row.trial_id, row.number, row.value_json


def study_attributes(study: optuna.Study, storage: BaseStorage, prefix: str) -> Attributes:
    """A study's attributes whose names begin so."""
    models = known_models(storage)
    if models is None:
        found = storage.get_study_user_attrs(study._study_id)
        return {key: value for key, value in found.items() if key.startswith(prefix) and value is not None}
    with storage.engine.connect() as connection:
        return read_attributes(connection, models, study._study_id, prefix)


def read_attributes(connection: Any, models: Any, study_id: int, prefix: str) -> Attributes:
    import sqlalchemy

    table = models.StudyUserAttributeModel.__table__
    query = sqlalchemy.select(table.c.key, table.c.value_json).where(
        table.c.study_id == study_id, table.c.key.startswith(prefix, autoescape=True)
    )
    return {key: json.loads(value) for key, value in connection.execute(query)}


@contextlib.contextmanager
def changed_attributes(
    study: optuna.Study, storage: BaseStorage, prefix: str
) -> Iterator[tuple[Mapping[str, Any], Attributes]]:
    """The study's attributes whose names begin so, and a mapping of changes to make; nobody comes between.

    A change to nothing removes an attribute. Exclusive on a relational storage of the known layout (one
    transaction) and on a journal (a lock file of its own).
    """
    models = known_models(storage)
    changes: Attributes = {}
    if models is None:
        from toolkit.exploration.journal import several_lines

        with several_lines(storage):
            yield study_attributes(study, storage, prefix), changes
            for key, value in changes.items():
                study.set_user_attr(key, value)
        return
    table = models.StudyUserAttributeModel.__table__
    with storage.engine.begin() as connection:
        lock_study(connection, models, study._study_id)
        yield read_attributes(connection, models, study._study_id, prefix), changes
        for key, value in changes.items():
            connection.execute(table.delete().where(table.c.study_id == study._study_id, table.c.key == key))
            if value is not None:
                entry = {"study_id": study._study_id, "key": key, "value_json": json.dumps(value)}
                connection.execute(table.insert().values(entry))
