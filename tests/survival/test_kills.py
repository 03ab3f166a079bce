"""Builds and trainings that are killed, again and again: what comes out in the end is what an unkilled one gives.

And nothing is left: no program that goes on, no half-made folder, no lock.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hls.small_models import conv_model
from toolkit.config import HlsConfig
from toolkit.hls import write_project
from toolkit.store.files import UNFINISHED

pytestmark = pytest.mark.slow

KILLS = [*[signal.SIGKILL] * 20, *[signal.SIGTERM] * 10, *[signal.SIGINT] * 10]

CSIM = """
import sys
import numpy as np
from toolkit.hls import build_csim, load_project
from toolkit.process import ending_in_order
with ending_in_order():
    project = load_project(sys.argv[1])
    print("begun", flush=True)
    library = build_csim(project)
    x = np.random.default_rng(0).random((4, *project.graph.tensors[project.graph.inputs[0]].shape), np.float32)
    print("ended", library.predict(x).tolist(), flush=True)
"""

TRAINING = """
from toolkit.process import ending_in_order
from toolkit.quiet import start_tensorflow
with ending_in_order():
    start_tensorflow()
    from toolkit.config import PruneConfig, TrainConfig
    from toolkit.data import load_dataset
    from toolkit.pipeline import trained_once
    from toolkit.store import digest
    from toolkit.zoo import build_model
    dataset = load_dataset("synthetic", shape=(16, 16, 1), counts=(256, 32, 32))
    config = TrainConfig(epochs=60, progress=False, prune=PruneConfig(sparsity=0.5, end_epoch=10))
    print("begun", flush=True)
    record = trained_once(build_model("convnet", dataset), dataset, config, "killed")
    print("ended", record.digest, digest(record.model.get_weights()), dict(record.history), flush=True)
"""


@pytest.mark.csim
def test_a_csim_build(tmp_path: Path) -> None:
    project = write_project(conv_model(), HlsConfig(io_type="io_stream"), tmp_path / "project")
    command = [sys.executable, "-c", CSIM, str(project.path)]
    survive(command, tmp_path, afresh=lambda store: [shutil.rmtree(path) for path in store.glob("csim*/[!.]*")])


@pytest.mark.train
def test_a_training(tmp_path: Path) -> None:
    survive([sys.executable, "-c", TRAINING], tmp_path, afresh=lambda store: None)


def survive(command: list[str], folder: Path, afresh: Callable[[Path], object]) -> None:
    """Run a command whole in one store, then killed over and over in another, then to its end."""
    begun = time.monotonic()
    expected = ended(command, folder / "whole")
    seconds = time.monotonic() - begun
    store, chance, hits = folder / "killed", random.Random(0), 0
    for number in KILLS:
        afresh(store)
        child = start(command, store)
        assert child.stdout is not None and child.stdout.readline() == "begun\n"
        try:
            child.wait(chance.uniform(0.05, 0.6) * min(seconds, 15))
        except subprocess.TimeoutExpired:
            hits += 1
        child.send_signal(number)
        child.communicate(timeout=120)
        nothing_goes_on(store)
    assert ended(command, store) == expected
    assert left(store) == []
    assert not (store / "damaged").exists()
    print(json.dumps({"kills": len(KILLS), "while it worked": hits, "left": 0}))


def start(command: list[str], store: Path) -> subprocess.Popen[str]:
    variables = {**os.environ, "TOOLKIT_STORE": str(store), "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def ended(command: list[str], store: Path) -> str:
    """The last line of an undisturbed run."""
    printed = start(command, store).communicate(timeout=600)[0].splitlines()
    assert printed[-1].startswith("ended ")
    return printed[-1]


def left(store: Path) -> list[Path]:
    """What is half-made, and locks, anywhere in a store."""
    return [path for path in store.rglob("*") if UNFINISHED in path.name]


def nothing_goes_on(store: Path) -> None:
    """No process has the store on its command line or works in it, a moment after the kill."""
    ends = time.monotonic() + 20
    while working := [pid for pid in Path("/proc").glob("[0-9]*") if works_in(pid, store)]:
        assert time.monotonic() < ends, [(pid / "cmdline").read_bytes() for pid in working]
        time.sleep(0.1)


def works_in(pid: Path, store: Path) -> bool:
    try:
        return str(store) in str((pid / "cwd").readlink()) or str(store).encode() in (pid / "cmdline").read_bytes()
    except OSError:
        return False
