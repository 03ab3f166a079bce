"""The state of an interrupted training: every variable, written whole or not at all, read without unpickling."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import StoreError
from toolkit.records import Array
from toolkit.store import read_json, replacing, write_json


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
    with replacing(folder) as made:
        arrays = {f"variable_{index}": np.asarray(variable) for index, variable in enumerate(variables)}
        arrays |= {f"best_{index}": weights for index, weights in enumerate(state.best_weights)}
        np.savez(made / "state.npz", **arrays)  # type: ignore[arg-type]
        counts = {"variables": len(variables), "best_weights": len(state.best_weights)}
        fields = {"key": key, "epoch": state.epoch, "history": state.history, "counts": counts}
        write_json(made / "state.json", {**fields, "best_epoch": state.best_epoch, "best_score": state.best_score})


def load_state(folder: Path, key: str, variables: Sequence[Any]) -> State:
    """Read a checkpoint into ``variables``; a fresh state when there is none.

    Raises ``StoreError`` when it belongs to another training (model, data or settings).
    """
    if not folder.is_dir():
        return State()
    fields = read_json(folder / "state.json")
    if fields["key"] != key or fields["counts"]["variables"] != len(variables):
        raise StoreError(
            f"checkpoint {folder} is of another training (other model, data or settings); "
            "remove it or name another folder"
        )
    with np.load(folder / "state.npz", allow_pickle=False) as arrays:
        for index, variable in enumerate(variables):
            variable.assign(arrays[f"variable_{index}"])
        best = [arrays[f"best_{index}"] for index in range(fields["counts"]["best_weights"])]
    return State(fields["epoch"], fields["history"], fields["best_epoch"], tuple(fields["best_score"]), best)


def remove_state(folder: Path) -> None:
    """A training that is done needs its checkpoint no more."""
    shutil.rmtree(folder, ignore_errors=True)
