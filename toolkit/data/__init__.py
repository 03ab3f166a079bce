"""Data: arrays of the user's own or named datasets, scaling, fixed splits, figures of merit. Nothing is unpickled."""

from toolkit.data.dataset import Dataset
from toolkit.data.datasets import DATASETS, as_dataset, load_dataset
from toolkit.data.formats import read_cifar10, read_idx
from toolkit.data.shapes import reshape_images

__all__ = ["DATASETS", "Dataset", "as_dataset", "load_dataset", "read_cifar10", "read_idx", "reshape_images"]
