"""Where points are evaluated: processes of this machine, or Dask distributed. One interface.

An engine has *slots*; a slot works on one job at a time. ``submit`` returns a
``concurrent.futures.Future``; ``restart`` ends what a slot is doing. A job is a function and
JSON-like arguments, so nothing about it depends on the engine.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from toolkit.errors import ConfigError, ToolNotFound, install
from toolkit.process import cores

Job = Callable[..., Any]

# Variables that keep numerical libraries from taking every core in every worker.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "TOOLKIT_THREADS",
)
START_TIMEOUT_S = 120.0


class Engine(Protocol):
    """What a sweep needs of whatever runs its jobs.

    ``attempts``: how often a point alone may take its worker down before it is a failed point.
    """

    attempts: int

    def slots(self) -> int:
        """How many jobs may be in hand at once; may change while workers come and go."""

    def submit(self, slot: int, job: Job, *arguments: Any) -> Future[Any]:
        """Start a job in a free slot."""

    def restart(self, slot: int) -> None:
        """End what a slot is doing, its process included where it has one."""

    def alive(self) -> bool:
        """Whether jobs can still be given to it."""

    def close(self) -> None:
        """End every worker this engine started."""


@contextlib.contextmanager
def started(scheduler: str | Path | None = None, workers: int | None = None) -> Iterator[Engine]:
    """The engine a user asked for, ended with the block.

    ``scheduler`` is a Dask address (``tcp://host:8786``) or scheduler file (``dask scheduler
    --scheduler-file``); without it ``workers`` local processes (default one per core), or this process
    itself for 0, which suits a debugger. Raises ``ToolNotFound`` when Dask is asked for and not installed.
    """
    if workers is not None and workers < 0:
        raise ConfigError(f"workers must be 0 (this process) or more, got {workers}")
    engine: Engine = DaskEngine(scheduler) if scheduler else local_engine(workers)
    try:
        yield engine
    finally:
        engine.close()


def local_engine(workers: int | None) -> Engine:
    """Worker processes, or this process for 0."""
    return SameProcess() if workers == 0 else LocalEngine(workers or cores())


class SameProcess:
    """One slot in this process; a job that brings it down brings the sweep down, and none can be ended early."""

    attempts = 1

    def slots(self) -> int:
        return 1

    def submit(self, slot: int, job: Job, *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(job(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def restart(self, slot: int) -> None:
        """Nothing is left to end once a job has returned."""

    def alive(self) -> bool:
        return True

    def close(self) -> None:
        """Nothing was started."""


class LocalEngine:
    """One process per slot, started when it is first needed and replaced when it dies.

    A process of its own per slot, rather than one shared pool, says which job was in hand when a
    process died, and lets a job that runs too long be ended alone.
    """

    attempts = 2

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.threads = max(1, cores() // workers)
        self.pools: dict[int, ProcessPoolExecutor] = {}
        self.pids: dict[int, Future[int]] = {}

    def slots(self) -> int:
        return self.workers

    def submit(self, slot: int, job: Job, *arguments: Any) -> Future[Any]:
        try:
            return self.pool(slot).submit(job, *arguments)
        except BrokenExecutor:  # its process died while it had nothing to do
            self.restart(slot)
            return self.pool(slot).submit(job, *arguments)

    def pool(self, slot: int) -> ProcessPoolExecutor:
        """The slot's process, started if it is not there."""
        if slot not in self.pools:
            self.pools[slot] = ProcessPoolExecutor(
                max_workers=1,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=prepare_worker,
                initargs=(self.threads,),
            )
            self.pids[slot] = self.pools[slot].submit(os.getpid)
        return self.pools[slot]

    def restart(self, slot: int) -> None:
        pool, pid = self.pools.pop(slot, None), self.pids.pop(slot, None)
        if pool is None or pid is None:
            return
        pool.shutdown(wait=end_process(pid), cancel_futures=True)

    def alive(self) -> bool:
        return True

    def close(self) -> None:
        for slot in list(self.pools):
            self.restart(slot)


def end_process(pid: Future[int]) -> bool:
    """Kill a worker if it is there; returns whether it was."""
    with contextlib.suppress(Exception):
        os.kill(pid.result(timeout=START_TIMEOUT_S), signal.SIGKILL)
        return True
    return False


def limit_threads(threads: int) -> None:
    """Hold the numerical libraries of this process to so many threads; to be called before they are imported."""
    for name in THREAD_VARIABLES:
        os.environ[name] = str(threads)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def prepare_worker(threads: int) -> None:
    """First thing in a worker: its share of threads, deaf to Ctrl-C, gone when its coordinator is."""
    limit_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the coordinator ends its workers itself
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=follow, args=(parent.sentinel,), daemon=True).start()


def follow(sentinel: int) -> None:
    """Leave as soon as the coordinator is gone, however it went."""
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


class DaskEngine:
    """Workers of a Dask scheduler that is already there; dask-jobqueue starts them on Slurm, HTCondor, LSF or PBS.

    Dask moves the jobs of a worker that dies to another one; a job whose workers keep dying fails. A
    running job cannot be ended from here: after its time limit it is a failed point, and its worker
    is free again when the job ends by itself. A worker computes with as many threads as Dask gave it
    (``--nthreads``, dask-jobqueue's ``cores``).
    """

    attempts = 1  # Dask itself has tried on several workers ("distributed.scheduler.allowed-failures")

    def __init__(self, scheduler: str | Path) -> None:
        self.client = connect(scheduler)
        self.executor: Executor = self.client.get_executor(pure=False)

    def slots(self) -> int:
        return max(1, len(self.client.scheduler_info(n_workers=-1)["workers"]))

    def submit(self, slot: int, job: Job, *arguments: Any) -> Future[Any]:
        future: Future[Any] = self.executor.submit(on_dask_worker, job, *arguments)
        return future

    def restart(self, slot: int) -> None:
        """Nothing: Dask looks after its workers."""

    def alive(self) -> bool:
        return bool(self.client.status == "running")

    def close(self) -> None:
        self.executor.shutdown(wait=False)
        self.client.close()


def on_dask_worker(job: Job, *arguments: Any) -> Any:
    """Run a job on a Dask worker with the threads that are the worker's."""
    from distributed import get_worker

    limit_threads(get_worker().state.nthreads)
    return job(*arguments)


def connect(scheduler: str | Path) -> Any:
    """A client of a Dask scheduler, by address or scheduler file."""
    try:
        from distributed import Client
    except ImportError:
        raise ToolNotFound(
            f"a sweep on a scheduler needs Dask distributed, which is not installed: {install('cluster')}"
        ) from None
    text = str(scheduler)
    arguments = {"address": text} if "://" in text else {"scheduler_file": text}
    if "://" not in text and not Path(text).is_file():
        raise ConfigError(
            f"scheduler must be an address such as tcp://host:8786 or a file written by "
            f'"dask scheduler --scheduler-file", got "{text}"'
        )
    try:
        return Client(**arguments, timeout=10, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise ConfigError(f"no Dask scheduler answers at {text}: {error}") from error
