"""Datasets: images, labels and fixed splits, read from files without unpickling anything."""

from toolkit.data.datasets import DATASETS, load_dataset
from toolkit.data.formats import read_cifar10, read_idx
from toolkit.data.shapes import reshape_images

__all__ = ["DATASETS", "load_dataset", "read_cifar10", "read_idx", "reshape_images"]
