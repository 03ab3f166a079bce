"""PostgreSQL as a sweep's storage: nothing that a sweep says or writes holds the password."""

from __future__ import annotations

from pathlib import Path

import cheap
import pytest
import servers

from toolkit.cli import exit_code
from toolkit.errors import StoreError
from toolkit.exploration import export, load_sweep, sweep, write_sweep_report

TABLES = {"name": "pg", "quantization": {"weight_bits": [2, 4, 8]}, "hls": {"reuse_factor": [1, 2]}}


def test_no_password_in_what_is_said_or_written(
    store: Path, postgres: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines: list[str] = []
    options = {"workers": 0, "evaluate": cheap.evaluate, "prove": cheap.prove, "say": lines.append}
    result = sweep(TABLES, storage=postgres, **options)  # type: ignore[arg-type]
    assert len(load_sweep("pg", postgres).points) == 6
    write_sweep_report(result, tmp_path / "report", say=lines.append)
    export(result, tmp_path / "points.json")
    assert exit_code(["sweep", "show", "pg", "--storage", postgres]) == 0
    assert exit_code(["sweep", "show", "none", "--storage", postgres]) == 2
    assert exit_code(["sweep", "best", "none", "--storage", postgres]) == 2
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    said = capsys.readouterr()
    assert servers.PASSWORD not in "".join([*lines, said.out, said.err, repr(result)])
    assert servers.PASSWORD.encode() not in written


@pytest.mark.parametrize("wrong", ["wrong-Word", "wr%40ong"])
def test_a_refused_password_is_told_without_it(store: Path, postgres: str, wrong: str) -> None:
    with pytest.raises(StoreError, match="password authentication failed") as caught:
        sweep(TABLES, storage=postgres.replace(servers.PASSWORD, wrong), workers=0, evaluate=cheap.evaluate)
    assert wrong not in str(caught.value)
