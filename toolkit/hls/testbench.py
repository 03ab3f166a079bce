"""The generated C++ test bench, compiled with g++ and run on the project's test vectors."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np

from toolkit.errors import DataError, ProcessError
from toolkit.hls.csim import FLAGS, build, compiler_version, include_flags, precompiled_headers
from toolkit.hls.sources import read_ports
from toolkit.process import require_tool, run
from toolkit.records import Array, HlsProject
from toolkit.store import artifact, digest

PROGRAM = "testbench"
RESULTS = Path("tb_data") / "csim_results.log"


def run_testbench(project: HlsProject, *, timeout_s: float = 3600) -> Array:
    """Outputs of ``<top>_test.cpp`` for the vectors in ``tb_data``: float32 ``[n, outputs]``.

    The same numbers as ``build_csim(project).predict`` on those vectors. The project folder is not
    written to. Raises ``DataError`` without vectors, ``ToolNotFound`` and ``ProcessError`` as
    :func:`toolkit.hls.csim.build_csim` does.
    """
    vectors = project.path / "tb_data" / "tb_input_features.dat"
    if not vectors.is_file():
        raise DataError(f"{project.path} has no test vectors; write it with write_project(..., inputs=images)")
    program = build_testbench(project, timeout_s)
    library = build(project, trace=False, jobs=0, timeout_s=timeout_s)
    with tempfile.TemporaryDirectory(prefix="toolkit-testbench-") as scratch:
        shutil.copytree(project.path / "tb_data", Path(scratch) / "tb_data")
        weights = {"TOOLKIT_CSIM_WEIGHTS": str(library / "weights")}
        run([program], cwd=Path(scratch), timeout_s=timeout_s, env=weights)
        return read_results((Path(scratch) / RESULTS).read_text(), len(vectors.read_text().splitlines()), project)


def build_testbench(project: HlsProject, timeout_s: float) -> Path:
    """The test bench's program, linked to csim's own object files; cached like csim."""
    compiler = require_tool("g++")
    library = build(project, trace=False, jobs=0, timeout_s=timeout_s)
    headers = precompiled_headers(project, compiler, timeout_s)
    source = (project.path / f"{project.top}_test.cpp").resolve()
    key = digest("testbench", library.name, source.read_text(), compiler_version(compiler), FLAGS)
    with artifact("csim_testbench", key) as folder:
        if not folder.complete:
            objects: list[str | Path] = [*sorted((library / "objects").glob("*.o"))]
            command: list[str | Path] = [compiler, *FLAGS, *include_flags(headers), source, *objects, "-o", PROGRAM]
            run(command, cwd=folder.path, timeout_s=timeout_s, makes=[PROGRAM])
    return folder / PROGRAM


def read_results(text: str, count: int, project: HlsProject) -> Array:
    """Numbers of ``csim_results.log``: one line per output of each vector; raises ``ProcessError`` when some miss."""
    sizes = [port.size for port in read_ports(project.graph).outputs]
    values = np.array(text.split(), np.float64)
    if values.size != count * sum(sizes):
        raise ProcessError(f"the test bench must write {count} x {sum(sizes)} numbers, got {values.size}")
    return values.reshape(count, sum(sizes)).astype(np.float32)
