"""Writing many finished trials at once.

Optuna's relational storage takes some twenty statements a trial through its object mapper, ten
milliseconds and more each. A sweep of thousands of cheap points writes the same rows in one
transaction of plain inserts instead. Other storages, and layouts of the tables other than the one
known here (``SCHEMA_VERSION`` 12, in use since Optuna 3.0), go through ``Study.add_trial``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
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
    for name, columns in EXPECTED_COLUMNS.items():
        table = getattr(getattr(models, name, None), "__table__", None)
        if table is None or {column.name for column in table.columns} != columns:
            return None
    return models


def insert_trials(storage: Any, models: Any, study_id: int, trials: Sequence[FrozenTrial]) -> None:
    """Plain inserts in one transaction; trial numbers follow those of the study."""
    import sqlalchemy

    table = models.TrialModel.__table__
    with storage.engine.begin() as connection:
        # Locks the study's row (SQLite: the file), so that numbers stay unique.
        lock = sqlalchemy.update(models.StudyModel.__table__).where(models.StudyModel.study_id == study_id)
        connection.execute(lock.values(study_id=study_id))
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
