"""Where points are evaluated: processes of this machine, or Dask distributed. One interface.

An engine has *slots*; a slot works on one job at a time. ``submit`` returns a
``concurrent.futures.Future``; ``restart`` ends what a slot is doing. A job is a function and
JSON-like arguments, so nothing about it depends on the engine.
"""

from __future__ import annotations

import ast
import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.context
import multiprocessing.process
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass
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
    "TF_NUM_INTEROP_THREADS",
    "TOOLKIT_THREADS",
)
# The threads of TensorFlow decide the last bits of a training; with one, models are the same however many
# workers share a machine, and on a scheduler; [train] threads asks for more.
TRAINING_THREADS = 1
DEATH_TIMEOUT_S = 10.0  # until a process that broke its pool has an exit code
UNGUARDED = 87  # exit code of a worker that was about to run the whole script again
SENT = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}  # from outside; a crash has other signals
GUARD = (
    'worker processes start by running the script up to its `if __name__ == "__main__":`; '
    "put the call of sweep under it, or give workers=0 to stay in one process"
)


@dataclass(frozen=True)
class Death:
    """How a worker ended: before or after its first job, by its own doing or from outside.

    ``hopeless``: every other worker will end the same way.
    """

    reason: str
    started: bool = True
    outside: bool = False
    memory: bool = False
    hopeless: bool = False


class Engine(Protocol):
    """What a sweep needs of whatever runs its jobs.

    ``attempts``: how often a point alone may take its worker down before it is a failed point.
    """

    attempts: int

    def slots(self) -> int:
        """How many jobs may be in hand at once; may change while workers come and go."""

    def submit(self, slot: int, job: Job, *arguments: Any) -> Future[Any]:
        """Start a job in a free slot."""

    def ready(self, slot: int) -> bool:
        """Whether the worker of a slot has started, as far as is known."""

    def death(self, slot: int, error: BaseException) -> Death:
        """Why the job of a slot did not come back, given the error it came back with."""

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

    def ready(self, slot: int) -> bool:
        return True

    def death(self, slot: int, error: BaseException) -> Death:
        return Death(f"its job failed: {type(error).__name__}: {error}")

    def restart(self, slot: int) -> None:
        """Nothing is left to end once a job has returned."""

    def alive(self) -> bool:
        return True

    def close(self) -> None:
        """Nothing was started."""


class Spawning(multiprocessing.context.SpawnContext):
    """Starts worker processes and keeps the last one, whose exit code tells how it ended."""

    process: multiprocessing.process.BaseProcess | None = None

    def Process(self, *arguments: Any, **options: Any) -> Any:  # type: ignore[override]  # noqa: N802 - its name
        self.process = multiprocessing.context.SpawnProcess(*arguments, **options)
        return self.process


@dataclass(frozen=True)
class Slot:
    """A pool of one process; ``first`` is done once the process has taken a job."""

    pool: ProcessPoolExecutor
    spawning: Spawning
    first: Future[Any]
    memory_kills: int  # of the machine, when the process was started

    @property
    def started(self) -> bool:
        """Whether the process ever took a job."""
        return self.first.done() and not self.first.cancelled() and self.first.exception() is None

    def end(self) -> None:
        """Kill the process if it is there."""
        if self.spawning.process is not None:
            self.spawning.process.kill()
        self.pool.shutdown(wait=True, cancel_futures=True)


class LocalEngine:
    """One process per slot, started when it is first needed and replaced when it dies.

    A process of its own per slot, rather than one shared pool, says which job was in hand when a
    process died, and lets a job that runs too long be ended alone.
    """

    attempts = 2

    def __init__(self, workers: int) -> None:
        check_main()
        self.workers = workers
        self.threads = max(1, cores() // workers)
        self.in_use: dict[int, Slot] = {}

    def slots(self) -> int:
        return self.workers

    def submit(self, slot: int, job: Job, *arguments: Any) -> Future[Any]:
        functions = (job, *filter(callable, arguments))
        try:
            return self.slot(slot, functions).pool.submit(job, *arguments)
        except BrokenExecutor:  # its process died while it had nothing to do
            self.restart(slot)
            return self.slot(slot, functions).pool.submit(job, *arguments)

    def slot(self, number: int, functions: tuple[Job, ...]) -> Slot:
        """The slot's process, started if it is not there; what it will run, it must be able to import."""
        if number not in self.in_use:
            spawning = Spawning()
            pool = ProcessPoolExecutor(1, spawning, initializer=prepare_worker, initargs=(self.threads,))
            self.in_use[number] = Slot(pool, spawning, pool.submit(able, functions), memory_kills())
        return self.in_use[number]

    def ready(self, slot: int) -> bool:
        return self.in_use[slot].started

    def death(self, slot: int, error: BaseException) -> Death:
        held = self.in_use[slot]
        code = exit_code(held.spawning.process)
        how = ended(code)
        if code == UNGUARDED:
            return Death(GUARD, started=False, hopeless=True)
        if not held.started:
            return Death(f"worker processes do not start: the last {how} before its first job", started=False)
        if not isinstance(error, BrokenExecutor):
            return Death(f"its job failed: {type(error).__name__}: {error}")
        if memory_kills() > held.memory_kills and code == -signal.SIGKILL:
            return Death("the machine is out of memory (its worker was killed)", outside=True, memory=True)
        return Death(f"its worker {how}", outside=code is not None and -code in SENT)

    def restart(self, slot: int) -> None:
        if held := self.in_use.pop(slot, None):
            held.end()

    def alive(self) -> bool:
        return True

    def close(self) -> None:
        for slot in list(self.in_use):
            self.restart(slot)


def able(functions: tuple[Job, ...]) -> None:
    """First job of a worker: it is there, and could import what it will be asked to run."""


def exit_code(process: multiprocessing.process.BaseProcess | None) -> int | None:
    """How a process ended: negative for a signal, nothing while it is not known."""
    end = time.monotonic() + DEATH_TIMEOUT_S
    while process is not None and process.exitcode is None and time.monotonic() < end:
        process.join(0.1)  # returns at once, without the code, while the pool's own thread is collecting it
        time.sleep(0.01)
    return process.exitcode if process is not None else None


def ended(code: int | None) -> str:
    """An exit code in words: ``was ended by SIGSEGV``, ``ended with exit code 9``.

    >>> ended(-11)
    'was ended by SIGSEGV'
    """
    if code is None:
        return "was lost"
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def memory_kills() -> int:
    """How many processes this machine's kernel has killed because memory was short; 0 where it does not tell."""
    with contextlib.suppress(OSError):
        found = re.search(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(), re.MULTILINE)
        return int(found.group(1)) if found else 0
    return 0


def check_main() -> None:
    """Raise ``ConfigError`` for a script that worker processes cannot start from; end a worker that runs it again."""
    if getattr(multiprocessing.process.current_process(), "_inheriting", False):
        os._exit(UNGUARDED)  # a worker importing the main script has come to the call that started it
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    if file is None or getattr(main, "__spec__", None) is not None:
        return  # an interactive session or a module: workers do not run it again
    if not Path(file).is_file():
        raise ConfigError(f"a sweep with worker processes needs a script that is a file, got {file}; {GUARD}")
    if not is_guarded(Path(file)):
        raise ConfigError(f"{file} has no main guard: {GUARD}")


def is_guarded(script: Path) -> bool:
    """Whether a script compares ``__name__`` anywhere; True for what is not Python text."""
    try:
        tree = ast.parse(script.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return True
    tests = (node for node in ast.walk(tree) if isinstance(node, ast.Compare))
    return any(isinstance(part, ast.Name) and part.id == "__name__" for test in tests for part in ast.walk(test))


def limit_threads(threads: int) -> None:
    """Hold the numerical libraries of this process to so many threads; to be called before they are imported."""
    for name in THREAD_VARIABLES:
        os.environ[name] = str(threads)
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(TRAINING_THREADS)
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

    def ready(self, slot: int) -> bool:
        return True

    def death(self, slot: int, error: BaseException) -> Death:
        from distributed.scheduler import KilledWorker

        if isinstance(error, KilledWorker):
            return Death("its workers died, one after the other (out of memory, or killed)")
        return Death(f"Dask workers cannot take jobs: {type(error).__name__}: {error}", started=False, outside=True)

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
