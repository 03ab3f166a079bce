"""Models as users have them: live, ``.keras``, legacy (QKeras) ``.h5``, PyTorch. No code in a file is executed."""

from __future__ import annotations

import re
import sys
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from toolkit.arguments import as_path
from toolkit.errors import ModelError
from toolkit.names import shown
from toolkit.records import TrainRecord
from toolkit.zoo.archives import check_file
from toolkit.zoo.quantizers import custom_objects

TORCH_SUFFIX = ".pt2"
SUFFIXES = (".keras", ".h5", ".hdf5", TORCH_SUFFIX)


def open_model(model: Any, input_shape: Sequence[Any] | None = None) -> Any:
    """The live Keras model of whatever a network comes as: a path, a PyTorch module or program, or itself.

    ``input_shape`` is for a PyTorch module alone (see :func:`toolkit.zoo.from_torch`).
    """
    if isinstance(model, (str, Path)):
        return load_model(model)
    torch = sys.modules.get("torch")  # whoever holds a module has imported it
    if torch is not None and isinstance(model, (torch.nn.Module, torch.export.ExportedProgram)):
        from toolkit.zoo.torch_modules import from_torch

        return from_torch(model, input_shape=input_shape)
    return model


def keras_model(model: Any) -> keras.Model:
    """A live Keras model from whatever one comes as; of a training record its model.

    Raises ``ModelError`` naming the types that fit for anything else.
    """
    live = model.model if isinstance(model, TrainRecord) else open_model(model)
    if not isinstance(live, keras.Model):
        raise ModelError(
            "a model must be a Keras model, a TrainRecord or a path (.keras, .h5, .pt2, a record's folder), "
            f"got {shown(model)}"
        )
    return live


def load_model(path: str | Path) -> keras.Model:
    """Load a Keras or QKeras model for inference, training or conversion; the optimizer is left out.

    Raises ``ModelError`` when the file is missing, not a model, contains a ``Lambda`` layer (code) or
    a class that neither Keras nor QKeras nor toolkit defines.
    """
    file = as_path("a model", path, ModelError)
    if file.is_dir() and (file / "model.keras").is_file():
        file = file / "model.keras"
    if not file.is_file():
        raise ModelError(f"model file {file} does not exist; give a .keras, .h5 or .pt2 file or a record's folder")
    if file.suffix.lower() == TORCH_SUFFIX:
        from toolkit.zoo.torch_modules import from_torch

        return from_torch(file)
    if file.suffix.lower() not in SUFFIXES:
        raise ModelError(f"a model file ends in .keras, .h5 or .pt2 (torch.export), got {file.name!r}")
    # Names in a .keras file carry their package; only legacy files need QKeras' bare names.
    objects = {} if zipfile.is_zipfile(file) else custom_objects()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Keras' advice to whoever wrote the model
            check_file(file, objects)
            return keras.saving.load_model(file, custom_objects=objects, compile=False, safe_mode=True)
    except ModelError:
        raise
    except Exception as error:  # Keras raises whatever its layers raise; each is a file we cannot read
        raise ModelError(f"{file} cannot be loaded as a Keras model: {damage(file) or explain(error)}") from error


def damage(file: Path) -> str | None:
    """What is wrong with the bytes of a file, whatever Keras says of it, and what to do."""
    size = f"{file.stat().st_size:,} bytes"
    if file.suffix.lower() == ".keras":
        if not zipfile.is_zipfile(file):
            return f"it is no ZIP archive, as every .keras file is, or was cut short ({size}); copy it anew"
        try:
            with zipfile.ZipFile(file) as archive:
                broken = archive.testzip()
        except Exception as error:  # zipfile's own, zlib's, struct's, of whatever the damage hit
            return f"its directory is damaged ({error}; {size}); copy it anew"
        return f"{broken} in it is damaged ({size}); copy it anew" if broken else None
    import h5py

    if not h5py.is_hdf5(file):
        return f"it is no HDF5 file ({size}); copy it anew, or give the .keras file"
    try:
        h5py.File(file, "r").close()
    except OSError:
        return f"it was cut short ({size}); copy it anew"
    return None


def model_file(path: str | Path) -> Path:
    """The file of a model, given itself or as the folder of its record; raises ``ModelError`` where there is none."""
    file = Path(path)
    if file.is_dir() and (file / "model.keras").is_file():
        file = file / "model.keras"
    if not file.is_file():
        raise ModelError(
            f"model file {file} does not exist; give a .keras file, a legacy .h5 file or a record's folder"
        )
    if file.suffix.lower() not in SUFFIXES:
        raise ModelError(f"a model file ends in .keras or .h5, got {file.name!r}")
    return file


def explain(error: Exception) -> str:
    """Keras' words, shortened, with what to do about the two common causes."""
    text = " ".join(str(error).split()) or type(error).__name__
    if "Lambda" in text or "unsafe" in text or "safe_mode" in text:
        return "it contains a Lambda layer, whose Python code is not executed; replace it by layers"
    if missing := re.search(r"(?:Could not locate \w+|Unknown \w+:?) '?(\w+)", text):
        return f"it contains {missing[1]}; only classes of Keras, QKeras and toolkit load, and those registered before"
    return text[:300]
