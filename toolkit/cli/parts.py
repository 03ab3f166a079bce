"""`toolkit parts`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.app import AsJson, app
from toolkit.cli.output import print_json, show_table, tell


@app.command()
def parts(
    text: Annotated[str | None, typer.Argument(help="Part of a part number, a family or a board's name.")] = None,
    devices: Annotated[Path | None, typer.Option(help="TOML file with further parts.")] = None,
    as_json_: AsJson = False,
) -> int:
    """List FPGA parts with their resources and the boards they are on; hls.part takes a board's name too."""
    from toolkit.devices import RESOURCES, load_devices, matching

    found = matching(text, devices) if text else tuple(load_devices(devices).values())
    if as_json_:
        print_json({"parts": found})
        return 0
    rows = [(d.name, d.family, *(f"{d.available(name):,}" for name in RESOURCES), on_boards(d.boards)) for d in found]
    show_table("FPGA parts", ("part number begins", "family", *RESOURCES, "boards"), rows)
    for source in sorted({device.source for device in found}) if text else ():
        tell(f"from {source}")
    return 0


def on_boards(boards: Mapping[str, str | None]) -> str:
    """Each board with its part."""
    return "\n".join(f"{board}: {part}" if part else board for board, part in boards.items())
