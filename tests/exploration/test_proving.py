"""csim once for each arithmetic: what it proves, what it lends, and when it stops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cheap
import pytest

from toolkit.exploration import SweepResult, load_sweep, points_table

Run = Callable[..., SweepResult]
TABLES: dict[str, Any] = {
    "name": "proofs",
    "quantization": {"weight_bits": [2, 4, 8]},
    "hls": {"reuse_factor": [1, 2, 4, 8], "clock_period_ns": [5, 10]},
    "sweep": {"constraints": [], "proof": {"sample": 5}},
}


def run_by_bits(run: Run, lines: list[str], **options: Any) -> SweepResult:
    return run(TABLES, evaluate=cheap.by_bits, say=lines.append, simulate=cheap.simulate, **options)


def test_one_csim_proves_every_point_of_its_arithmetic(run: Run) -> None:
    lines: list[str] = []
    result = run_by_bits(run, lines)
    proofs = [line for line in lines if line.startswith("csim of point")]
    assert "csim as proof of 3 points, one for each arithmetic" in lines
    assert [line.rpartition("(")[2] for line in proofs][2] == "3 of 3)"
    assert len(proofs) == 3
    assert all(record.proof and record.proof["equal"] for record in result.points)
    own = [record for record in result.points if record.proof and "as" not in record.proof]
    assert len(own) == 3
    numbers = {record.arithmetic: record.number for record in own}
    for record in result.points:
        if record not in own:
            assert record.proof is not None
            assert record.proof["as"] == numbers[record.arithmetic]
    assert [row[-1] for row in points_table(result)[1] if "csim equal (as point" in row[-1]]
    assert [r.proof for r in load_sweep("proofs").points] == [r.proof for r in result.points]


def test_the_front_has_its_fifos_simulated_whoever_proves_it(run: Run) -> None:
    tables = {**TABLES, "sweep": {"constraints": [], "objectives": ["latency_us", "dsp"]}}
    lines: list[str] = []
    options = {"evaluate": cheap.by_bits, "simulate": cheap.simulate, "say": lines.append}
    result = run(tables, **options)
    assert len(result.pareto) > len({record.arithmetic for record in result.pareto})
    lent = [record for record in result.pareto if record.proof and "as" in record.proof]
    assert lent
    assert all(record.simulated["latency_us simulated"].value == 7 for record in lent)
    count = len(lines)
    run(tables, **options)
    assert not [line for line in lines[count:] if line.startswith("csim of point")]


def test_a_proof_that_does_not_hold_speaks_for_all_its_points(run: Run) -> None:
    result = run_by_bits(run, [], prove=cheap.prove_differing)
    assert len(result.disproved) == len(result.points)


@pytest.mark.parametrize("minutes", [1e-9])
def test_proofs_end_with_their_time_and_go_on_with_the_next_run(run: Run, minutes: float) -> None:
    lines: list[str] = []
    result = run_by_bits(run, lines, proof_minutes=minutes)
    assert not any(record.proof for record in result.points)
    assert "csim as proof: 3 of 3 not made within 1e-09 minutes; the same command goes on with them" in lines
    assert all(record.proof for record in run_by_bits(run, lines).points)
