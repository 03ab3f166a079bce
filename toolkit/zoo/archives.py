"""Model files of strangers, looked at before Keras loads them: sizes that belong together, nothing outside.

A ``.keras`` file of 1.5 MB can unpack to gigabytes, a layer of a billion units needs no weights to allocate
them, and an HDF5 file may link to any other. Keras believes all of it; here each is one ``ModelError``.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import keras

from toolkit.errors import ModelError
from toolkit.reading import MIB, depth

WEIGHTS = "model.weights.h5"
CONFIG = "config.json"
MOST_BYTES = 8 * 1024 * MIB  # of a whole model, unpacked
MOST_RATIO = 100  # unpacked bytes to packed ones, beyond FREE_BYTES; trained weights hardly compress
FREE_BYTES = 64 * MIB
MOST_PARTS = 1_000
CONFIG_BYTES = 32 * MIB
DEEPEST_CONFIG = 200
UNSUSPICIOUS = 1 << 24  # parameters that two sizes of a configuration may multiply to without a look at its shapes


def check_file(file: Path, objects: Mapping[str, Any]) -> None:
    """Raise ``ModelError`` for a model file whose parts cannot belong together or that leads to other files."""
    if zipfile.is_zipfile(file):
        check_archive(file, objects)
    elif h5py.is_hdf5(file):
        with h5py.File(file, "r") as content:
            weights = check_weights(content, file)
            check_config(content.attrs.get("model_config"), weights, file, objects, legacy=True)


def check_archive(file: Path, objects: Mapping[str, Any]) -> None:
    """The parts of a ``.keras`` file by the sizes that its directory states, which bound what is unpacked."""
    with zipfile.ZipFile(file) as archive:
        parts = {item.filename: item for item in archive.infolist()}
        if len(parts) > MOST_PARTS:
            raise ModelError(f"{file} must have at most {MOST_PARTS:,} parts, got {len(parts):,}")
        unpacked = sum(item.file_size for item in parts.values())
        packed = sum(item.compress_size for item in parts.values())
        if unpacked > MOST_BYTES or unpacked > FREE_BYTES + MOST_RATIO * min(packed, file.stat().st_size):
            raise ModelError(f"{file} would unpack {packed:,} bytes to {unpacked:,}, which no trained model does")
        if CONFIG in parts and parts[CONFIG].file_size > CONFIG_BYTES:
            size = parts[CONFIG].file_size
            raise ModelError(f"{file}: {CONFIG} must have at most {CONFIG_BYTES:,} bytes, got {size:,}")
        weights = 0
        if WEIGHTS in parts:
            with h5py.File(io.BytesIO(archive.read(WEIGHTS)), "r") as content:
                weights = check_weights(content, file)
        check_config(archive.read(CONFIG) if CONFIG in parts else None, weights, file, objects)


def check_weights(content: h5py.File, file: Path) -> int:
    """Bytes of all arrays of an HDF5 file; raises ``ModelError`` for links out of it and arrays it does not hold."""
    total = 0
    for item in arrays_of(content, file):
        if item.external or item.is_virtual:
            raise ModelError(f"{file}: array {item.name} lies in another file, which is not read")
        size, held = item.size * item.dtype.itemsize, item.id.get_storage_size()
        if size > FREE_BYTES and size > MOST_RATIO * held:
            shape = list(item.shape)
            raise ModelError(f"{file}: array {item.name} has shape {shape}, the file holds {held:,} bytes of it")
        total += size
    return total


def arrays_of(content: h5py.File, file: Path) -> Iterator[h5py.Dataset]:
    """Every array, group by group; links to other files are refused."""
    waiting, seen = [content["/"]], 0
    known = {h5py.h5o.get_info(content["/"].id).addr}
    while waiting:
        group = waiting.pop()
        for name in group:
            seen += 1
            if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
                raise ModelError(f"{file}: {name} is a link to another file, which is not followed")
            if seen > 1_000_000:
                raise ModelError(f"{file} must hold at most 1,000,000 arrays and groups")
            if isinstance(group.get(name, getlink=True), h5py.SoftLink):
                continue
            item = group[name]
            if isinstance(item, h5py.Dataset):
                yield item
            else:
                address = h5py.h5o.get_info(item.id).addr
                if address in known:
                    raise ModelError(f"{file}: group {name} stands in the file twice, perhaps in itself")
                known.add(address)
                waiting.append(item)


def check_config(text: Any, weights: int, file: Path, objects: Mapping[str, Any], *, legacy: bool = False) -> None:
    """Raise ``ModelError`` when a configuration is nested absurdly, or asks for more than its weights fill."""
    if text is None:
        return
    config = json.loads(text)
    if depth(config) > DEEPEST_CONFIG:
        raise ModelError(f"{file}: {CONFIG} must nest at most {DEEPEST_CONFIG} levels")
    largest = sorted(sizes_in(config))[-2:]
    if math.prod(largest) <= UNSUSPICIOUS:
        return
    wanted = 4 * parameters_of(config, objects, legacy)
    if wanted > FREE_BYTES + 2 * weights:
        raise ModelError(f"{file} describes a model of {wanted:,} bytes, its weights have {weights:,}")


def sizes_in(config: Any) -> Iterator[int]:
    """Every whole number of a configuration, level by level."""
    level = [config]
    while level:
        yield from (abs(item) for item in level if isinstance(item, int) and not isinstance(item, bool))
        inner = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, (dict, list))]
        level = [item for items in inner for item in items]


def parameters_of(config: Any, objects: Mapping[str, Any], legacy: bool) -> int:
    """Parameters of the model a configuration describes; its shapes are worked out, nothing is allocated.

    ``legacy``: as HDF5 files spell it, which Keras reads in scopes of its own (``legacy_h5_format.py``).
    """
    from keras.src.legacy.saving import saving_options, saving_utils
    from keras.src.saving import serialization_lib

    with keras.StatelessScope(), serialization_lib.SafeModeScope(True):
        if legacy:
            with saving_options.keras_option_scope(use_legacy_config=True):
                model = saving_utils.model_from_config(config, custom_objects=dict(objects))
        else:
            model = serialization_lib.deserialize_keras_object(config, custom_objects=dict(objects))
    return sum(math.prod(variable.shape) for variable in model.variables)
