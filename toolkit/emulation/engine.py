"""Runs a compiled program on all cores with ONNX Runtime."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.emulation.compile import Compiled
from toolkit.errors import HlsError
from toolkit.process import cores

Array = npt.NDArray[Any]

# Images per call are chosen so that the largest tensor of a call stays in the last-level cache.
CALL_BYTES = 2 << 20
MOST_IMAGES = 256


@dataclass(frozen=True, eq=False)
class Engine:
    """One ONNX Runtime session, called from as many threads as there are cores."""

    compiled: Compiled
    session: Any
    threads: int

    def run(self, inputs: Mapping[str, Array]) -> tuple[list[Array], list[float]]:
        """Integers of every result, ``[images, ...]``, and every tally's total."""
        count = len(next(iter(inputs.values())))
        step = images_per_call(self.compiled.elements, count, self.threads)
        parts = [
            {name: array[start : start + step] for name, array in inputs.items()} for start in range(0, count, step)
        ]
        with ThreadPoolExecutor(self.threads) as pool:
            answers = list(pool.map(self.call, parts))
        results = len(self.compiled.results)
        joined = [np.concatenate([answer[index] for answer in answers]) for index in range(results)]
        last = results + len(self.compiled.tallies)
        return joined, [sum(float(answer[index]) for answer in answers) for index in range(results, last)]

    def call(self, feed: Mapping[str, Array]) -> Sequence[Array]:
        """One call on some images."""
        with runtime_words():
            answer: Sequence[Array] = self.session.run(None, dict(feed))
        return answer


@contextmanager
def runtime_words() -> Iterator[None]:
    """Turn ONNX Runtime's exceptions, which share no class, into ``HlsError``: what failed, its words, what to do."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        words = " ".join(str(error).split())[:300]
        node = re.search(r"[Nn]ode[ :(]*(?:[Nn]ame)?[ :'\"]*([\w./-]+)", words)
        where = f" at {node[1]}" if node else ""
        raise HlsError(
            f"the emulator's network does not run in ONNX Runtime{where} (memory, or a version that lacks an "
            f"operation): {words}; give fewer images at a time, or use csim (toolkit.build_csim)"
        ) from error


def images_per_call(elements: int, count: int, threads: int) -> int:
    """Images that keep a call's tensors in cache and every core busy."""
    fitting = max(1, min(MOST_IMAGES, CALL_BYTES // (4 * elements)))
    return max(1, min(fitting, -(-count // threads)))


def make_engine(compiled: Compiled) -> Engine:
    """A session with one thread of its own: the calls themselves run side by side."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    with runtime_words():
        session = onnxruntime.InferenceSession(
            compiled.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    return Engine(compiled, session, cores())
