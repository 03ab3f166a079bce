"""csim: a project's C++ compiled with g++, loaded, and run on images over many cores.

A build is an artifact keyed by the project's digest, the compiler and the flags. It holds the shared
library, its object files and its weights, so neither moving the project nor moving the store breaks
it. Headers are compiled once per compiler and hls4ml version (an artifact too); translation units
compile in parallel.

HLS streams and line buffers keep static state, so one loaded library must not run in two threads.
Each worker thread therefore loads a copy of its own, which has its own statics; results do not depend
on the number of workers.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.errors import HlsError, ProcessError
from toolkit.hls.progress import OnProgress, counting
from toolkit.hls.project import check_inputs
from toolkit.hls.sources import assemble, binary_names, is_wide, read_ports
from toolkit.precision import Precision
from toolkit.process import cores, require_tool, run, run_many
from toolkit.reading import FIRMWARE_BYTES, TEXT_BYTES, Folder, read_bytes
from toolkit.records import Array, HlsProject
from toolkit.store import Artifact, artifact, damage, digest, write_json, write_text

CSIM_SCHEMA = 1  # counts up when what is built from a project changes
LIBRARY = "csim.so"
FLAGS = ("-std=c++17", "-O2", "-fPIC", "-w", "-fno-gnu-unique", "-DWEIGHTS_DIR=toolkit_weights_dir()")
PRECOMPILED = "all.h"

# Arrays of an io_parallel design live on the stack, which for large images is more than the usual 8 MiB.
STACK_BYTES = 1 << 30
IMAGES_PER_CALL = 8  # small, so that progress moves and an interrupt is answered soon

# Headers that stay out of the precompiled one: hls4ml's 1D and 2D separable convolutions share an
# include guard and cannot be read together; the others are rare.
OPTIONAL_HEADERS = ("nnet_sepconv", "nnet_garnet", "nnet_embed", "nnet_recurrent", "nnet_time_distributed")


@dataclass(frozen=True, eq=False)
class CsimLibrary:
    """A compiled project, ready to run.

    ``engine`` names what computes the bits; ``artifact`` is where the build lies.
    """

    project: HlsProject
    artifact: Path
    engine: str = "g++"

    def predict(self, x: Any, jobs: int = 0, progress: OnProgress | None = None) -> Array:
        """Outputs for float images as the Keras model takes them: float32 ``[n, outputs]``.

        Several model inputs are a list of arrays; several outputs stand side by side. ``jobs`` worker
        threads (0: one per core) do not change a bit. A bar on a terminal shows how far it is, or
        ``progress`` is called with images done and all. Raises ``DataError`` for a wrong shape.
        """
        inputs = model_arrays(self.project, x)
        sizes = [port.size for port in read_ports(self.project.graph).outputs]
        total = len(inputs[0])
        outputs = [np.zeros((total, size), np.float64) for size in sizes]
        workers = min(jobs or cores(), max(1, -(-total // IMAGES_PER_CALL)))
        shown = nullcontext(progress) if progress else counting("csim", total)
        with loaded(self.whole(), workers) as handles, shown as tell:
            spread(handles, inputs, outputs, tell)
        return np.concatenate(outputs, axis=1).astype(np.float32)

    def whole(self) -> Path:
        """Where the build lies; made again if it was damaged since, as its bits would be others."""
        return self.artifact if damage(self.artifact) is None else build(self.project, trace=False, jobs=0)

    def trace(self, x: Any) -> dict[str, Array]:
        """Every layer's output by hls4ml layer name: float64 ``[n, *shape]``, exact.

        Builds a second library on first use, from the same object files. A layer whose cast hls4ml
        moved into it is traced after the cast.
        """
        inputs = model_arrays(self.project, x)
        traced = build(self.project, trace=True, jobs=0)
        with loaded(traced, 1) as handles:
            found = run_traced(handles[0], self.project, inputs)
        return fill_reshapes(self.project, found)


def build_csim(project: HlsProject | str | Path, *, jobs: int = 0, timeout_s: float = 3600) -> CsimLibrary:
    """Compile the C++ of a project, or of a project's folder, with g++.

    Cached by project, compiler and flags; two processes may ask at once. ``jobs`` compilers run at a
    time (0: one per core). Raises ``ToolNotFound`` without a compiler and ``ProcessError``, with the
    compiler's own words, when it fails or takes longer than ``timeout_s``.
    """
    from toolkit.hls.folder import as_project

    opened = as_project(project)
    return CsimLibrary(opened, build(opened, trace=False, jobs=jobs, timeout_s=timeout_s))


def build(project: HlsProject, *, trace: bool, jobs: int, timeout_s: float = 3600) -> Path:
    """The artifact with the library, made if it is not there."""
    compiler = require_tool("g++")
    key = digest(CSIM_SCHEMA, project.digest, compiler_version(compiler), FLAGS, trace, support_files())
    with artifact("csim", key) as folder:
        if not folder.complete:
            objects = None if not trace else build(project, trace=False, jobs=jobs, timeout_s=timeout_s)
            compile_project(project, compiler, folder, objects, trace=trace, jobs=jobs, timeout_s=timeout_s)
        return folder.path if folder.complete else final_path(folder, key)


def final_path(folder: Artifact, key: str) -> Path:
    """Where a folder being made will lie when its block ends."""
    return folder.path.parent / key


@cache
def compiler_version(compiler: Path) -> str:
    """First line of ``g++ --version`` and the machine it compiles for."""
    lines = run([compiler, "--version"], timeout_s=60).output.splitlines()
    if not lines:
        raise ProcessError(f"{compiler} --version must print a version, it printed nothing; TOOLKIT_GXX names another")
    return f"{lines[0]} {platform.machine()}"


@cache
def support_files() -> dict[str, str]:
    """What toolkit adds to hls4ml's headers, by path below the folder of headers."""
    here = Path(__file__).parent
    assertion = (here / "csim_assert.h").read_text()
    support = (here / "csim_support.h").read_text()
    return {"csim_support.h": support, "asserts/cassert": assertion, "asserts/assert.h": assertion}


def compile_project(
    project: HlsProject,
    compiler: Path,
    folder: Artifact,
    earlier: Path | None,
    *,
    trace: bool,
    jobs: int,
    timeout_s: float,
) -> None:
    """Fill an artifact: sources, weights, objects, library, record."""
    stream = project.config.io_type == "io_stream"
    workers = jobs or cores()
    parts = workers if earlier is None else earlier_parts(earlier)
    files = project_files(project)
    sources = assemble(files, project.graph, project.top, stream=stream, trace=trace, units=parts)
    for name, text in sources.items():
        write_text(folder / "src" / name, text)
    write_weights(project, folder / "weights")
    headers = precompiled_headers(project, compiler, timeout_s)
    units = sorted((name for name in sources if name.endswith(".cpp")), key=lambda name: -len(sources[name]))
    wanted = [name for name in units if earlier is None or name == "main.cpp"]
    (folder / "objects").mkdir()
    include = include_flags(headers)
    commands: list[list[str | Path]] = [
        [compiler, *FLAGS, *include, "-I", "src", "-c", f"src/{name}", "-o", f"objects/{name}.o"] for name in wanted
    ]
    made = [[f"objects/{name}.o"] for name in wanted]
    try:
        run_many(commands, jobs=workers, cwd=folder.path, timeout_s=timeout_s, makes=made)
    except ProcessError as error:
        raise ProcessError(f"{compiler_told(str(error), project, folder.path)}\n{error}") from error
    reused = [] if earlier is None else [earlier / "objects" / f"{name}.o" for name in units if name not in wanted]
    linked: list[str | Path] = [*(f"objects/{name}.o" for name in wanted), *reused]
    link = [compiler, "-shared", "-Wl,-Bsymbolic,-z,defs,-z,muldefs", *linked, "-o", LIBRARY]
    run(link, cwd=folder.path, timeout_s=timeout_s, makes=[LIBRARY])
    with loaded(folder.path, 1):  # what cannot be loaded is not kept
        pass
    write_json(folder / "build.json", build_record(project, compiler))


def compiler_told(output: str, project: HlsProject, sources: Path) -> str:
    """What g++ stopped at, in words: the layer by its number in what stands there, the cause, what to do."""
    place = re.search(r"([\w./-]+):(\d+):\d+: (?:fatal )?error: (.*)", output)
    before = lines_before(sources / place[1], int(place[2])) if place else []
    numbers = {layer.attributes.get("index"): layer.name for layer in project.graph.layers}
    mentioned = [int(found[1]) for line in [*before, output] for found in re.finditer(NUMBERED, line)]
    layer = next((numbers[number] for number in mentioned if number in numbers), None)
    where = f"layer {layer!r}" if layer else "no layer by name"
    what = place[3] if place else "it was ended, or ran out of memory or time"
    return (
        f"g++ cannot compile {project.path} ({where}): {what}; write the project again if its firmware/ was changed, "
        "else name another strategy or io_type for the layer, or use the emulator, which needs no compiler"
    )


NUMBERED = re.compile(r"(?:config|layer|\b[wb])(\d+)")  # hls4ml's number of a layer in the names it gives


def lines_before(source: Path, number: int) -> list[str]:
    """The line a compiler names and those before it, nearest first."""
    return source.read_text().splitlines()[number - 1 :: -1] if source.is_file() else []


def earlier_parts(build: Path) -> int:
    """How many files an earlier build shared the layers out over, so that its object files fit."""
    return len(list((build / "objects").glob("part_*.o")))


def build_record(project: HlsProject, compiler: Path) -> dict[str, Any]:
    return {
        "schema": CSIM_SCHEMA,
        "project": project.digest,
        "engine": "g++",
        "compiler": compiler_version(compiler),
        "flags": list(FLAGS),
    }


def project_files(project: HlsProject) -> dict[str, str]:
    """The text of a project's own C++ files, by the names :func:`assemble` knows."""
    source = Folder(project.path, HlsError)
    names = [f"{project.top}.cpp", f"{project.top}.h", "parameters.h", "defines.h"]
    files = {name: source.text(f"firmware/{name}") for name in names}
    generated = "firmware/nnet_utils/nnet_code_gen.h"  # older hls4ml has none
    files |= {"nnet_code_gen.h": source.text(generated)} if source.holds(generated) else {}
    headers = sorted((project.path / "firmware" / "weights").glob("*.h"))
    return files | {f"weights/{item.name}": source.text(f"firmware/weights/{item.name}") for item in headers}


def write_weights(project: HlsProject, folder: Path) -> None:
    """hls4ml's weight files, and of those read as integers, what each stores as little-endian int64."""
    folder.mkdir()
    source = Folder(project.path, HlsError)
    names = sorted(item.name for item in (project.path / "firmware" / "weights").glob("*.txt"))
    texts = {Path(name).stem: source.bytes(f"firmware/weights/{name}", FIRMWARE_BYTES) for name in names}
    for name, content in texts.items():
        (folder / f"{name}.txt").write_bytes(content)
    binary = binary_names(source.text(f"firmware/{project.top}.cpp"))
    for layer in project.graph.layers:
        for weight in layer.weights.values():
            if weight.name in binary and weight.name in texts and not is_wide(weight.precision):
                values = np.array([float(value) for value in texts[weight.name].split(b",")], np.float64)
                stored = Precision.parse(weight.precision).to_integers(values).astype("<i8")
                (folder / f"{weight.name}.bin").write_bytes(stored.tobytes())


def precompiled_headers(project: HlsProject, compiler: Path, timeout_s: float) -> Path:
    """A folder with hls4ml's headers and a precompiled one that includes them all; shared between projects."""
    source = Folder(project.path, HlsError)
    files = {
        str(item.relative_to(project.path / "firmware")): read_bytes(item, TEXT_BYTES, HlsError).decode(
            errors="replace"
        )
        for group in ("ap_types", "nnet_utils")
        for item in source.files(f"firmware/{group}")
        if item.name != "nnet_code_gen.h"
    } | support_files()
    text = header_text(files)
    key = digest(CSIM_SCHEMA, files, text, compiler_version(compiler), FLAGS)
    with artifact("csim_headers", key) as folder:
        if not folder.complete:
            for name, content in files.items():
                write_text(folder / name, content)
            write_text(folder / PRECOMPILED, text)
            command: list[str | Path] = [compiler, *FLAGS, *search_flags(Path()), "-x", "c++-header", PRECOMPILED]
            compiled = f"{PRECOMPILED}.gch"
            run([*command, "-o", compiled], cwd=folder.path, timeout_s=timeout_s, makes=[compiled])
        return folder.path if folder.complete else final_path(folder, key)


def header_text(files: Mapping[str, str]) -> str:
    """One header that includes the standard library's, the arbitrary precision types and hls4ml's."""
    standard = "algorithm array cassert cmath cstddef cstdint cstdio cstdlib cstring fstream iostream map"
    names = [f"<{name}>" for name in f"{standard} math.h sstream stdexcept string tuple utility vector".split()]
    names += ['"ap_fixed.h"', '"ap_int.h"', '"hls_stream.h"', '"csim_support.h"']  # the types before their users
    own = sorted(name for name in files if name.startswith("nnet_utils/") and name.endswith(".h"))
    names += [f'"{name}"' for name in own if not Path(name).name.startswith(OPTIONAL_HEADERS)]
    return "".join(f"#include {name}\n" for name in names)


def include_flags(headers: Path) -> list[str]:
    """Flags that use the precompiled headers."""
    return ["-include", str(headers / PRECOMPILED), *search_flags(headers)]


def search_flags(headers: Path) -> list[str]:
    """Where headers are looked for; our assertions before the standard's."""
    folders = [headers / "asserts", headers, headers / "ap_types", headers / "nnet_utils"]
    return [flag for folder in folders for flag in ("-I", str(folder))]


def model_arrays(project: HlsProject, x: Any) -> list[Array]:
    """One contiguous float32 array per model input; raises ``DataError`` for a wrong shape."""
    arrays = list(x) if isinstance(x, (list, tuple)) else [x]
    shapes = [project.graph.tensors[name].shape for name in project.graph.inputs]
    return check_inputs([np.asarray(array) for array in arrays], shapes)


@contextmanager
def loaded(folder: Path, copies: int) -> Iterator[list[ctypes.CDLL]]:
    """Load so many independent copies of a library.

    The loader tells libraries apart by file, so each copy is a file of its own, gone once loaded.
    """
    with tempfile.TemporaryDirectory(prefix="toolkit-csim-") as scratch:
        handles = [load_copy(folder, Path(scratch) / f"csim_{index}.so") for index in range(copies)]
    try:
        yield handles
    finally:
        for handle in handles:
            close_library(handle)


def load_copy(folder: Path, target: Path) -> ctypes.CDLL:
    shutil.copy2(folder / LIBRARY, target)
    try:
        handle = ctypes.CDLL(str(target), mode=os.RTLD_LOCAL | os.RTLD_NOW)
    except OSError as error:
        raise HlsError(f"the csim library in {folder} cannot be loaded: {error}") from error
    handle.toolkit_set_weights.argtypes = [ctypes.c_char_p]
    handle.toolkit_error.restype = ctypes.c_char_p
    handle.toolkit_set_weights(str(folder / "weights").encode())
    return handle


def close_library(handle: ctypes.CDLL) -> None:
    """Unload a library, so that its statics do not pile up over many calls."""
    loader = ctypes.CDLL(None)
    loader.dlclose.argtypes = [ctypes.c_void_p]
    loader.dlclose(handle._handle)


def call(handle: ctypes.CDLL, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
    """Compute a few images in one library; raises ``ProcessError`` with what it said."""
    pointers = [npt_pointer(array) for array in [*inputs, *outputs]]
    if handle.toolkit_predict(ctypes.c_size_t(len(inputs[0])), *pointers) != 0:
        raise ProcessError(f"csim failed: {handle.toolkit_error().decode(errors='replace')}")


def npt_pointer(array: npt.NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def spread(
    handles: Sequence[ctypes.CDLL],
    inputs: Sequence[Array],
    outputs: Sequence[Array],
    progress: OnProgress,
) -> None:
    """Share the images out over the libraries, a few at a time, each library in one thread."""
    total = len(inputs[0])
    slices = iter([slice(start, start + IMAGES_PER_CALL) for start in range(0, total, IMAGES_PER_CALL)])
    lock, stop = threading.Lock(), threading.Event()
    done = 0

    def work(handle: ctypes.CDLL) -> None:
        nonlocal done
        while not stop.is_set():
            with lock:
                part = next(slices, None)
            if part is None:
                return
            call(handle, [array[part] for array in inputs], [array[part] for array in outputs])
            with lock:
                done += len(inputs[0][part])
                progress(done, total)

    with large_stacks(), ThreadPoolExecutor(len(handles)) as pool:
        futures: set[Future[None]] = {pool.submit(work, handle) for handle in handles}
        try:
            while futures:
                ended, futures = wait(futures, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in ended:
                    future.result()
        finally:
            stop.set()


@contextmanager
def large_stacks() -> Iterator[None]:
    """Give threads started inside the block a stack that holds an io_parallel design's arrays."""
    before = threading.stack_size(STACK_BYTES)
    try:
        yield
    finally:
        threading.stack_size(before)


def run_traced(handle: ctypes.CDLL, project: HlsProject, inputs: Sequence[Array]) -> dict[str, Array]:
    """Run images through a library built with traces; every traced layer's values."""
    total = len(inputs[0])
    outputs = [np.zeros((total, port.size), np.float64) for port in read_ports(project.graph).outputs]
    handle.toolkit_trace_size.restype = ctypes.c_size_t
    found: dict[str, Array] = {}

    def work() -> None:
        handle.toolkit_trace_begin()
        call(handle, inputs, outputs)
        for layer in project.graph.layers:
            name = layer.name.encode()
            values = np.zeros(handle.toolkit_trace_size(name), np.float64)
            if values.size:
                handle.toolkit_trace_copy(name, npt_pointer(values))
                found[layer.name] = values.reshape(total, *layer.shape)
        handle.toolkit_trace_end()

    with large_stacks(), ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()
    return found


def fill_reshapes(project: HlsProject, found: Mapping[str, Array]) -> dict[str, Array]:
    """Add layers that are another name for their input in the C++ (flatten, reshape in place)."""
    producers = {output: layer.name for layer in project.graph.layers for output in layer.outputs}
    values = dict(found)
    for layer in project.graph.layers:
        if layer.name not in values and layer.inputs and producers.get(layer.inputs[0]) in values:
            source = values[producers[layer.inputs[0]]]
            if source[0].size == int(np.prod(layer.shape)):
                values[layer.name] = source.reshape(len(source), *layer.shape)
    return {layer.name: values[layer.name] for layer in project.graph.layers if layer.name in values}
