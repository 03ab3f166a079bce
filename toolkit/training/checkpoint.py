"""The state of an interrupted training: every variable, sealed, whole or not at all, never unpickled."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import StoreError
from toolkit.records import Array
from toolkit.store import MANIFEST, damage, read_json, seal, set_aside, write_json
from toolkit.training.folders import replacing_own, require_own

STATE_FIELDS, STATE_ARRAYS, _ = FILES = ("state.json", "state.npz", MANIFEST)


@dataclass
class State:
    """Where a training is: epochs done, history so far, and the best weights with what made them best."""

    epoch: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)
    best_epoch: int = -1
    best_score: tuple[float, float] = (-1.0, 0.0)
    best_weights: list[Array] = field(default_factory=list)


def save_state(folder: Path, key: str, state: State, variables: Sequence[Any]) -> None:
    """Write a checkpoint in place of the one before."""
    with replacing_own(folder, FILES) as made:
        arrays = {f"variable_{index}": np.asarray(variable) for index, variable in enumerate(variables)}
        arrays |= {f"best_{index}": weights for index, weights in enumerate(state.best_weights)}
        np.savez(made / STATE_ARRAYS, **arrays)  # type: ignore[arg-type]
        counts = {"variables": len(variables), "best_weights": len(state.best_weights)}
        fields = {"key": key, "epoch": state.epoch, "history": state.history, "counts": counts}
        write_json(made / STATE_FIELDS, {**fields, "best_epoch": state.best_epoch, "best_score": state.best_score})
        seal(made)


def load_state(folder: Path, key: str, variables: Sequence[Any]) -> State:
    """Read a checkpoint into ``variables``; a fresh state when there is none, or a damaged one, which is set aside.

    Raises ``StoreError`` when it belongs to another training (model, data or settings), and when the
    folder holds files of something else.
    """
    require_own(folder, FILES)
    if not folder.is_dir() or not any(folder.iterdir()):
        return State()
    if (why := damage(folder)) is not None:
        set_aside(folder, folder.parent, why)
        return State()
    fields = read_json(folder / STATE_FIELDS)
    if fields.get("key") != key or fields["counts"]["variables"] != len(variables):
        raise StoreError(
            f"checkpoint {folder} is of another training (other model, data or settings); "
            "remove it or name another folder"
        )
    with np.load(folder / STATE_ARRAYS, allow_pickle=False) as arrays:
        for index, variable in enumerate(variables):
            variable.assign(arrays[f"variable_{index}"])
        best = [arrays[f"best_{index}"] for index in range(fields["counts"]["best_weights"])]
    return State(fields["epoch"], fields["history"], fields["best_epoch"], tuple(fields["best_score"]), best)


def remove_state(folder: Path) -> None:
    """A training that is done needs its checkpoint no more."""
    shutil.rmtree(folder, ignore_errors=True)
