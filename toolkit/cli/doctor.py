"""`toolkit doctor`."""

from __future__ import annotations

from toolkit.cli.app import AsJson, app
from toolkit.cli.output import print_json, show_table


@app.command()
def doctor(as_json_: AsJson = False) -> int:
    """Say what is installed here and what each missing thing costs."""
    from toolkit.doctor import diagnose

    found = diagnose()
    if as_json_:
        print_json({"found": found})
    else:
        rows = [(d.name, "yes" if d.present else "no", d.found, "" if d.present else d.cost) for d in found]
        show_table("toolkit doctor", ("what", "here", "found", "without it"), rows)
    return 1 if any(d.needed and not d.present for d in found) else 0
