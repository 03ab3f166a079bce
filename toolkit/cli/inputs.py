"""What commands read: models by name or file, images by dataset or array."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.config import zoo_names
from toolkit.errors import ModelError, choose
from toolkit.quiet import start_tensorflow

if TYPE_CHECKING:
    import keras

    from toolkit.data import Dataset
from toolkit.records import Array


def check_source(model: str | Path) -> None:
    """Raise for what is no zoo name, model file or trained folder, before anything heavy is imported."""
    path = Path(model)
    if path.is_dir():
        if not (path / "model.keras").is_file():
            raise ModelError(f"{path} is not a folder that train wrote: it has no model.keras")
    elif path.suffix or isinstance(model, Path):
        if not path.is_file():
            raise ModelError(f"model file {path} does not exist")
    else:
        choose("model", model, zoo_names())


def open_model(model: str, dataset: Dataset | None = None) -> keras.Model:
    """A live Keras model from a zoo name, a file (.keras, .h5, .pt2), or a folder that ``train`` wrote."""
    start_tensorflow()
    from toolkit.training import load_record
    from toolkit.zoo import SUFFIXES, build_model, load_model

    path = Path(model)
    if path.is_dir():
        return load_record(path).model
    if path.suffix.lower() in SUFFIXES:
        return load_model(path)
    return build_model(model, dataset)


def open_torch(path: Path) -> keras.Model:
    """A ``convnet`` with the weights of a PyTorch state_dict."""
    from toolkit.zoo import build_model, load_torch_state_dict

    return load_torch_state_dict(path, build_model("convnet", input_shape=(28, 28, 1), classes=10))


def read_inputs(
    inputs: Path | None, dataset: str | None, data_dir: Path | None, count: int | None
) -> tuple[Array | None, Dataset | None]:
    """Inputs from a ``.npy`` file, or those of a dataset's test split and the dataset to judge by."""
    import numpy as np

    from toolkit.data import load_dataset
    from toolkit.data.bounds import read_npy
    from toolkit.errors import ConfigError, DataError

    if inputs and dataset:
        raise ConfigError(f"--inputs {inputs} and --dataset {dataset} are two sets of inputs; keep one of them")
    if inputs:
        try:
            values = read_npy(inputs)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"--inputs must be a .npy file of numbers: {inputs}: {error}") from None
        if not isinstance(values, np.ndarray) or values.ndim == 0:
            raise DataError(f"--inputs must be a .npy file of one array [n, ...], got {inputs}")
        return values[:count], None
    if dataset:
        images = load_dataset(dataset, data_dir=data_dir)
        return images.inputs("test", count), images
    return None, None


def write_array(path: Path, values: Array) -> None:
    """Write a ``.npy`` file whole or not at all."""
    import io

    import numpy as np

    from toolkit.store import write_bytes

    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    write_bytes(path, buffer.getvalue())
