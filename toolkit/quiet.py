"""What libraries would say on the terminal that is not for the user: TensorFlow's start, ONNX exporters."""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.util
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

LOGGERS = ("tensorflow", "absl")  # retracing advice, hints on file formats: for whoever wrote the code they run


class QuietLoader(importlib.abc.Loader):
    """TensorFlow's loader, run with standard error closed."""

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        with no_standard_error():
            self.loader.exec_module(module)
            module.config.list_physical_devices("GPU")
        quiet_loggers()


class QuietFinder(importlib.abc.MetaPathFinder):
    """Finds TensorFlow as the other finders do, and makes its loading quiet."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = QuietLoader(spec.loader)
        return spec


def quiet_tensorflow() -> None:
    """Keep TensorFlow's chatter off the terminal, whoever imports it, now or later."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" in sys.modules:
        quiet_loggers()
    elif not any(isinstance(finder, QuietFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, QuietFinder())


def start_tensorflow() -> None:
    """Import TensorFlow without the lines it writes past Python's standard error while it looks for GPUs."""
    quiet_tensorflow()
    importlib.import_module("tensorflow")


def quiet_loggers() -> None:
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)


@contextlib.contextmanager
def no_standard_error() -> Iterator[None]:
    """Drop what C++ writes to file descriptor 2 within the block."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keep warnings, log lines and prints of tf2onnx and ONNX Runtime off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
