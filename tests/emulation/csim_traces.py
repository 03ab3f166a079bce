"""Every layer's csim output, built the cheap way: unoptimized, in one translation unit.

The arithmetic is hls4ml's whatever the flags; a small model compiles in a third of the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np

from toolkit.hls import csim, sources
from toolkit.process import require_tool
from toolkit.records import HlsProject
from toolkit.store import Artifact

FLAGS = tuple("-O0" if flag.startswith("-O") else flag for flag in csim.FLAGS)


@contextmanager
def cheap_builds() -> Iterator[None]:
    """csim compiles without optimization, all layers in one unit."""
    with mock.patch.object(csim, "FLAGS", FLAGS), mock.patch.object(sources, "EXPENSIVE", ("nothing",)):
        yield


def csim_trace(project: HlsProject, images: list[np.ndarray], folder: Path) -> dict[str, np.ndarray]:
    """csim's outputs by layer, float64."""
    folder.mkdir(parents=True)
    with cheap_builds():
        build = Artifact(folder, complete=False)
        csim.compile_project(project, require_tool("g++"), build, None, trace=True, jobs=1, timeout_s=1200)
    arrays = csim.model_arrays(project, images)
    with csim.loaded(folder, 1) as handles:
        return csim.fill_reshapes(project, csim.run_traced(handles[0], project, arrays))
