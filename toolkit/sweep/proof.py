"""csim as proof of a point: its own project, written and compiled, against what the sweep recorded."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from toolkit.errors import StoreError
from toolkit.sweep.jobs import TURN
from toolkit.sweep.space import Point


def prove_job(
    prove: Callable[[Point, Mapping[str, Any], int], Mapping[str, Any]],
    point: Mapping[str, Any],
    record: Mapping[str, Any],
    images: int,
    store: str,
) -> list[dict[str, Any]]:
    """One proof in a worker; a proof that cannot be made says why."""
    with TURN:
        os.environ["TOOLKIT_STORE"] = store
        try:
            return [dict(prove(Point.from_json(point), record, images))]
        except StoreError:
            raise
        except (Exception, SystemExit) as error:  # a compiler or library that fails is what the proof says
            return [{"equal": None, "error": f"{type(error).__name__}: {error}"[:4000]}]


def prove_point(point: Point, record: Mapping[str, Any], images: int) -> Mapping[str, Any]:
    """Write the point's project, compile it, and compare every output with the emulator's."""
    raise NotImplementedError
