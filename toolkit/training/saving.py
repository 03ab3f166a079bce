"""Training records on disk: a folder with ``model.keras`` and ``record.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from toolkit.errors import ConfigError, StoreError
from toolkit.records import ACCURACY, SCHEMA_VERSION, Figure, Metric, TrainRecord
from toolkit.store import read_json, write_json
from toolkit.training.folders import replacing_own
from toolkit.zoo.files import load_model

FILES = ("model.keras", "record.json")
FIELDS = ("name", "seed", "digest", "test_digest")


def save_record(record: TrainRecord, folder: str | Path) -> TrainRecord:
    """Write a record, whole or not at all, in place of what was there; the record returned knows its path."""
    target = Path(folder)
    with replacing_own(target, FILES) as made:
        record.model.save(made / "model.keras")
        write_json(made / "record.json", to_json(record))
    return replace(record, path=target / "model.keras")


def to_json(record: TrainRecord) -> dict[str, object]:
    fields: dict[str, object] = {name: getattr(record, name) for name in FIELDS}
    return {
        **fields,
        "seconds": record.seconds.to_json(),
        "figures": {key: figure.to_json() for key, figure in record.figures.items()},
        "metric": vars(record.metric),
        "scale": list(record.scale),
        "schema": SCHEMA_VERSION,
        "history": dict(record.history),
        "environment": dict(record.environment),
    }


def load_record(folder: str | Path) -> TrainRecord:
    """Read what :func:`save_record` wrote; raises ``StoreError`` or ``ModelError`` naming what is wrong."""
    source = Path(folder)
    fields = read_json(source / "record.json")
    try:
        return TrainRecord(
            **{name: fields[name] for name in FIELDS},
            model=load_model(source / "model.keras"),
            path=source / "model.keras",
            figures={key: Figure.from_json(figure) for key, figure in known_figures(fields).items()},
            metric=Metric(**fields["metric"]) if "metric" in fields else ACCURACY,
            scale=tuple(fields.get("scale", ())),
            seconds=Figure.from_json(fields["seconds"]),
            history=fields["history"],
            environment=fields["environment"],
        )
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise StoreError(f"{source / 'record.json'} is not a training record: {error!r}") from error


def known_figures(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Figures by name; a record from before there were other tasks has its accuracy alone."""
    found: Mapping[str, Any] = fields["figures"] if "figures" in fields else {"accuracy": fields["accuracy"]}
    return found
