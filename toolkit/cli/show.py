"""`toolkit show`."""

from __future__ import annotations

from toolkit.cli.app import AsJson, ProjectPath, app
from toolkit.cli.output import print_json


@app.command()
def show(project: ProjectPath, as_json_: AsJson = False) -> int:
    """Print a project's network: one line a layer with its types, sizes, FIFO depth and how it is built."""
    from toolkit.hls import open_project
    from toolkit.hls.network import network_of
    from toolkit.network.storage import to_json

    graph = network_of(open_project(project))
    if as_json_:
        content, _ = to_json(graph)
        print_json({"network": content})
    else:
        print(graph)
    return 0
