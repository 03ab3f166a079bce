"""`toolkit schema`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from toolkit.cli.app import app


@app.command()
def schema(
    answer: Annotated[str | None, typer.Argument(help='A command, "plan", "sweep best", "bench qat", ...')] = None,
) -> int:
    """Print the JSON schema of what a command prints with --json; without a name, the names."""
    from toolkit.cli.answers import ANSWERS, schema_of
    from toolkit.errors import choose

    print("\n".join(ANSWERS) if answer is None else json.dumps(schema_of(choose("answer", answer, ANSWERS)), indent=2))
    return 0
