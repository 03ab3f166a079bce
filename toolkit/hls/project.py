"""Writing an HLS project and reading it back.

A project folder holds hls4ml's C++ (``firmware/``, bridge, test bench, build scripts), ``tb_data/``
with test vectors, ``toolkit/`` with the graph as records, and ``manifest.json`` with config, digests
and versions. The same model, config and inputs give the same bytes. Nothing here runs a tool.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.arguments import as_path, instance
from toolkit.config import HlsConfig
from toolkit.errors import DataError, HlsError, StoreError
from toolkit.hls.conversion import Conversion, Reference
from toolkit.hls.graph import load_graph, save_graph
from toolkit.hls.progress import underway
from toolkit.reading import VECTORS_BYTES, Folder
from toolkit.records import Array, Finding, HlsProject
from toolkit.store import digest, package_versions, read_json, replacing, write_json, write_text

MANIFEST = "manifest.json"
MANIFEST_SCHEMA = 1
GRAPH_FOLDER = "toolkit"

# What may lie in a design's folder beside the generated project, and survives writing it again.
KEPT = ("design.toml", "golden", "README.md", ".gitignore")
RESULTS_STREAM = "std::ofstream fout(RESULTS_LOG);"  # in the generated test bench


def write_project(
    model: Any,
    config: HlsConfig,
    path: str | Path,
    *,
    inputs: Any = None,
    input_shape: Sequence[Any] | None = None,
) -> HlsProject:
    """Convert a Keras 3, QKeras or PyTorch model and write its HLS project to ``path``.

    ``model`` is a live model or a ``.keras``, ``.h5`` or ``.pt2`` file; a ``torch.nn.Module`` needs ``input_shape``,
    without the batch and in its own order, such as ``(3, 32, 32)``; the project takes channels last. With ``inputs``
    (float images as the project takes them, or a list with one array per model input) the first
    ``config.test_vectors`` and the model's answers become the test bench's vectors. An earlier project at ``path`` is
    replaced whole or not at all. Raises ``ModelError``, ``ConfigError``, ``HlsError`` or ``StoreError``.
    """
    from toolkit.hls.convert import captured, convert

    final = as_path("where a project is written", path, HlsError)
    instance("the configuration", config, HlsConfig)
    check_target(final)
    conversion = convert(model, config, input_shape=input_shape)
    try:
        with underway(f"writing {final}"), replacing(final) as folder:
            log = io.StringIO()
            with captured(log):
                write_sources(conversion.model_graph, folder, conversion.graph.digest[:8])
            write_vectors(conversion.reference, inputs, config.test_vectors, folder / "tb_data")
            save_graph(conversion.graph, folder / GRAPH_FOLDER)
            write_manifest(folder, config, conversion)
            keep_files(final, folder)
    except OSError as error:
        raise StoreError(f"the project cannot be written to {final}: {first_reason(error)}") from error
    return load_project(final)


def first_reason(error: OSError) -> str:
    """Why a file could not be written; of the many that copying a folder collects, the first."""
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):
        return str(error.args[0][0][-1])
    return str(error)


def check_target(path: Path) -> None:
    """Raise ``HlsError`` when writing to ``path`` would remove files that no project put there."""
    if path.exists() and not path.is_dir():
        raise HlsError(f"{path} is a file; an HLS project is a folder")
    if not path.is_dir() or (path / MANIFEST).is_file():
        return
    foreign = sorted(item.name for item in path.iterdir() if item.name not in KEPT)
    if foreign:
        raise HlsError(
            f"{path} holds files that are no HLS project ({', '.join(foreign[:5])}); choose a new or empty folder"
        )


def write_sources(model_graph: Any, folder: Path, stamp: str) -> None:
    """hls4ml's files, with what it would put of time, chance and absolute paths made fixed.

    The test bench prints its results in full; six digits, C++'s default, do not hold an output.
    """
    settings = model_graph.config.config
    before = dict(settings)  # the graph may be the caller's
    settings["OutputDir"], settings["Stamp"] = str(folder), stamp
    try:
        model_graph.config.backend.writer.write_hls(model_graph)
    finally:
        settings.clear()
        settings.update(before)
    yaml = folder / "hls4ml_config.yml"
    yaml.write_text(yaml.read_text().replace(str(folder), "."))
    bench = folder / f"{model_graph.config.get_project_name()}_test.cpp"
    bench.write_text(bench.read_text().replace(RESULTS_STREAM, f"{RESULTS_STREAM}\n    fout.precision(17);"))


def write_vectors(reference: Reference | None, inputs: Any, count: int, folder: Path) -> None:
    """``tb_input_features.dat`` and ``tb_output_predictions.dat``: one line of floats per image."""
    if inputs is None or count == 0:
        return
    if reference is None:
        raise DataError("inputs need the model's answers beside them, and this ModelGraph keeps no Keras model")
    given = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    arrays = check_inputs([np.asarray(array)[:count] for array in given], reference.shapes)
    outputs = reference.answer(arrays)
    write_rows(folder / "tb_input_features.dat", arrays)
    write_rows(folder / "tb_output_predictions.dat", outputs)


def model_inputs(model: Any, inputs: Any, count: int | None = None) -> list[Array]:
    """One float32 array per model input, the first ``count`` images.

    Raises ``DataError`` when the shapes are not the model's.
    """
    arrays = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    given = [np.asarray(array) for array in arrays]
    return check_inputs([array[:count] if array.ndim else array for array in given], shapes)


def check_inputs(arrays: Sequence[Array], shapes: Sequence[tuple[int, ...]]) -> list[Array]:
    """The arrays as contiguous float32; raises ``DataError`` for a wrong count, shape, type or NaN."""
    if len(arrays) != len(shapes):
        raise DataError(f"inputs must be {len(shapes)} array(s), one per model input, got {len(arrays)}")
    for array, shape in zip(arrays, shapes, strict=True):
        if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
            raise DataError(f"inputs must be numbers, got an array of {array.dtype}")
        if array.shape[1:] != shape:
            expected = ", ".join(map(str, ("n", *shape)))
            hint = channels_hint(array, shape)
            raise DataError(f"inputs must have shape [{expected}], got {list(array.shape)}{hint}")
        if not np.isfinite(array).all():
            raise DataError("inputs must be finite, got NaN or infinity")
    if len({len(array) for array in arrays}) > 1:
        raise DataError(f"inputs must hold the same number of images, got {[len(array) for array in arrays]}")
    return [np.ascontiguousarray(array, np.float32) for array in arrays]


def channels_hint(array: Array, shape: tuple[int, ...]) -> str:
    """What to do with images in PyTorch's order."""
    if array.ndim == len(shape) + 1 > 2 and (*array.shape[2:], array.shape[1]) == shape:
        order = (0, *range(2, array.ndim), 1)
        return f"; channels come last here, which is x.transpose{order} of PyTorch's order"
    return ""


def write_rows(path: Path, arrays: Sequence[Array]) -> None:
    """Floats in the fewest digits that read back to the same float32, arrays side by side."""
    rows = np.concatenate([array.reshape(len(array), -1).astype(np.float32) for array in arrays], axis=1)
    write_text(path, "".join(" ".join(str(value) for value in row) + "\n" for row in rows))


def write_manifest(folder: Path, config: HlsConfig, conversion: Conversion) -> None:
    files = file_digests(folder)
    settings = config.model_dump(mode="json")
    write_json(
        folder / MANIFEST,
        {
            "schema": MANIFEST_SCHEMA,
            "digest": project_digest(settings, files, conversion.graph.digest, conversion.top),
            "graph": conversion.graph.digest,
            "config": settings,
            "top": conversion.top,
            "notes": list(conversion.notes),
            "findings": [asdict(finding) for finding in conversion.findings],
            "versions": package_versions(),
            "files": files,
        },
    )


def file_digests(folder: Path) -> dict[str, str]:
    """Digest of every file below a folder by relative path."""
    return {
        str(item.relative_to(folder)): digest(item.read_bytes())
        for item in sorted(folder.rglob("*"))
        if item.is_file() and item.name != MANIFEST
    }


def project_digest(settings: dict[str, Any], files: dict[str, str], graph: str, top: str) -> str:
    return digest(MANIFEST_SCHEMA, settings, files, graph, top)


def keep_files(old: Path, new: Path) -> None:
    """Bring a design's own files into the folder that will take its place."""
    for name in KEPT:
        source = old / name
        if source.is_dir():
            shutil.copytree(source, new / name, symlinks=True)
        elif source.is_file():
            shutil.copy2(source, new / name)


def load_project(path: str | Path) -> HlsProject:
    """Read a written project, without TensorFlow or hls4ml.

    Raises ``HlsError`` for a folder that is no project or whose files are not those that were
    written, naming them.
    """
    folder = as_path("a project", path, HlsError)
    if not (folder / MANIFEST).is_file():
        raise HlsError(f"{folder} is no HLS project: it has no {MANIFEST}; write one with toolkit.write_project")
    try:
        manifest = read_json(folder / MANIFEST)
        if manifest["schema"] != MANIFEST_SCHEMA:
            raise HlsError(f"{folder}: manifest has schema {manifest['schema']}, this toolkit reads {MANIFEST_SCHEMA}")
        files, settings = manifest["files"], manifest["config"]
        expected = project_digest(settings, files, manifest["graph"], manifest["top"])
        changed = changed_files(folder, files)
        if changed or expected != manifest["digest"]:
            named = ", ".join(changed[:5]) or MANIFEST
            raise HlsError(f"{folder}: changed since it was written: {named}; write the project again")
        graph = load_graph(folder / GRAPH_FOLDER)
        return HlsProject(
            path=folder,
            digest=manifest["digest"],
            config=HlsConfig(**settings),
            graph=graph,
            top=manifest["top"],
            notes=tuple(manifest["notes"]),
            findings=tuple(Finding(**fields) for fields in manifest.get("findings", ())),
        )
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError, StoreError) as error:
        raise HlsError(f"{folder}: the project cannot be read: {error}") from error


def changed_files(folder: Path, files: dict[str, str]) -> list[str]:
    """Files that are missing or differ from their digest; a manifest is anybody's, so they are read as such."""
    source = Folder(folder, HlsError)
    changed = []
    for name, expected in files.items():
        if not source.holds(name) or digest(source.bytes(name, VECTORS_BYTES)) != expected:
            changed.append(name)
    return changed
