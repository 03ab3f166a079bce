"""The same key means the same bits: whatever else draws random numbers, in whichever thread, process or cluster."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from toolkit.config import AugmentationConfig, PruneConfig, QuantConfig, TrainConfig
from toolkit.data import load_dataset
from toolkit.store import digest, float_arithmetic
from toolkit.training import quantize, train
from toolkit.training.threads import framework, repeatable
from toolkit.training.train import training_key
from toolkit.zoo import build_model
from toolkit.zoo.seeds import with_seeds

pytestmark = pytest.mark.train


@contextmanager
def chance() -> Iterator[None]:
    """Another thread that draws from, and seeds, every generator of the process."""
    over = threading.Event()

    def draw() -> None:
        while not over.is_set():
            keras.utils.set_random_seed(int.from_bytes(os.urandom(3)))
            random.random(), np.random.random(3), keras.random.normal((2,)), tf.random.uniform((2,))
            over.wait(0.005)  # or nothing else has its turn

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def trained() -> dict[str, str]:
    """Keys and bits of a float and a quantization-aware training in which everything random takes part."""
    with chance():
        dataset = load_dataset("synthetic", shape=(16, 16, 3), counts=(64, 16, 16))
        augmented = AugmentationConfig.standard()
        shared: dict[str, Any] = {"batch_size": 32, "progress": False, "seed": 3}
        first = TrainConfig(epochs=1, augmentation=augmented, prune=PruneConfig(sparsity=0.4), **shared)
        model = build_model("convnet", dataset, seed=7)
        record = train(model, dataset, first)
        second = TrainConfig(epochs=1, teacher=record.model, **shared)
        start = quantize(record.model, QuantConfig(weight_bits=4, activation_bits=4), dataset)
        student = train(start, dataset, second)
        assert (record.digest, student.digest) == (
            training_key(model, dataset, first),
            training_key(start, dataset, second),
        )
    return {
        "initial": digest(model.get_weights()),
        "keys": f"{record.digest} {student.digest}",
        "bits": f"{digest(record.model.get_weights())} {digest(student.model.get_weights())}",
    }


@pytest.fixture(scope="module")
def here() -> dict[str, str]:
    return trained()


def test_in_another_thread_a_dask_workers(here: dict[str, str]) -> None:
    distributed = pytest.importorskip("distributed", reason="needs the extra cluster")
    with distributed.Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
        assert client.submit(trained, pure=False).result() == here


def test_in_other_processes_with_as_many_threads_or_others(here: dict[str, str]) -> None:
    """With another number of threads the bits may be others (measured: they are), so the keys must be."""
    threads = float_arithmetic()["threads"]
    starts = [
        subprocess.Popen(
            [sys.executable, __file__],
            env={**os.environ, "TF_NUM_INTRAOP_THREADS": str(count), "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
        )
        for count in (threads, threads + 1)
    ]
    same, other = (json.loads(start.communicate(timeout=300)[0]) for start in starts)
    assert same == here
    assert other["initial"] == here["initial"]
    assert not set(other["keys"].split()) & set(here["keys"].split())


def test_each_random_part_has_a_seed_of_its_own() -> None:
    layer = keras.layers.SeparableConv2D(4, 3, bias_initializer="random_normal", pointwise_initializer="he_normal")
    config = with_seeds(layer.get_config(), 5, 0)
    seeds = [part["config"]["seed"] for part in config.values() if isinstance(part, dict) and "seed" in part["config"]]
    assert len(seeds) == len(set(seeds)) == 3 and None not in seeds
    assert with_seeds(layer.get_config(), 6, 0) != config
    assert with_seeds(keras.layers.Dropout(0.5, seed=11).get_config(), 5, 0)["seed"] == 11, "what is named stays"


def test_on_a_gpu_kernels_are_ordered_for_the_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    with repeatable():
        assert framework.is_op_determinism_enabled()
    assert not framework.is_op_determinism_enabled()


if __name__ == "__main__":
    print(json.dumps(trained()))
