"""Bits of four networks, and what the estimator is told of them, as they were before the typed network."""

from __future__ import annotations

import json
from typing import Any

import pytest
from unchanged import GOLDEN, differences, golden_networks, kept

EXPECTED = json.loads((GOLDEN / "expected.json").read_text())


@pytest.mark.parametrize("stored", list(golden_networks()), ids=lambda stored: stored[0])
def test_nothing_changed(stored: tuple[str, Any, Any, list[Any]]) -> None:
    name, graph, config, inputs = stored
    found = json.loads(json.dumps(kept(graph, config, inputs)))
    assert found["bits"] == EXPECTED[name]["bits"]
    for stage, expected in EXPECTED[name]["stages"].items():
        told = {key: found["stages"][stage].get(key) for key in expected}  # a stage may be told more than it was
        assert not list(differences(expected, told)), stage
