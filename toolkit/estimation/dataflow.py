"""Streamed designs, token by token: when every pixel moves, what waits for what, how deep FIFOs must be.

Each stage is a process that repeats iterations: an iteration may read one token from every input,
may write one token to every output, and keeps the process busy for a number of cycles. The time an
iteration starts is the latest of: the process is free, its tokens are there, its output FIFOs have
room. These are max-plus recurrences, so a stretch of iterations whose tokens and room are known is
one vector operation, and ten million cycles take seconds.

A network of such processes is determinate (Kahn): the order in which stretches are worked off does
not change any time, and one in which nothing can proceed is deadlocked for every schedule.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from toolkit.errors import ConfigError
from toolkit.estimation.cycles import (
    UNFOLDED_TABLE_CYCLES,
    Clock,
    Cycles,
    cycles_of,
    idle_cost,
    kernel_cycles,
    padded_cycles,
    pixel_cost,
    softmax_folds,
)
from toolkit.estimation.stages import Stage, aliases
from toolkit.network import Graph

Times = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

SCALAR_STRETCH = 24  # shorter stretches are worked off one iteration at a time
UNBOUNDED = 1 << 60
READ_CYCLES = 1  # a token can be read the cycle after it was written


@dataclass(frozen=True, eq=False)
class Process:
    """One stage as a sequence of iterations over one image.

    ``cost[i]`` are the cycles iteration i keeps the process busy, ``reads[i]`` and ``writes[i]``
    whether it takes and gives a token, ``delay[i]`` the cycles from its start to its write.
    ``restart`` are idle cycles before the next image.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    cost: Times
    reads: Mask
    writes: Mask
    delay: Times
    restart: int = 1

    @property
    def cycles(self) -> int:
        """Busy cycles for one image when nothing has to be waited for."""
        return int(self.cost.sum()) + self.restart


@dataclass(frozen=True, eq=False)
class Flow:
    """Processes and the FIFO depth of every stream between them; sources come from outside, sinks leave."""

    processes: tuple[Process, ...]
    depths: Mapping[str, int]
    sources: Mapping[str, int]  # stream -> tokens of one image
    sinks: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Simulation:
    """What a simulated network did: cycles of the first image and between images, and what each FIFO held."""

    latency_cycles: int
    interval_cycles: int
    peaks: Mapping[str, int]  # most tokens each FIFO held
    starts: Mapping[str, Times]  # start of every iteration of every process
    writes: Mapping[str, Times]  # when each token of each stream was written
    reads: Mapping[str, Times]  # and read
    deadlocked: tuple[str, ...] = ()  # processes that could not end; empty when all did


# Building ------------------------------------------------------------------------------------


def flow_of(graph: Graph, stages: Sequence[Stage], clock: Clock, *, worst: bool = False) -> Flow:
    """The dataflow network of an io_stream graph, with the FIFO depths it was written with.

    Streams that an in-place reshape renames are one stream. ``worst`` supposes, as csynth's maximum
    does, that every pixel completes a window. Raises ``ConfigError`` for io_parallel.
    """
    if any(not stage.stream for stage in stages):
        raise ConfigError("a dataflow network needs io_stream, got a graph converted for io_parallel")
    same = aliases(graph)
    kept = [
        (layer, stage) for layer, stage in zip(graph.layers, stages, strict=True) if stage.kind not in ("input", "wire")
    ]
    processes = tuple(
        process_of(
            stage,
            clock,
            tuple(same.get(tensor.name, tensor).name for tensor in layer.inputs),
            tuple(tensor.name for tensor in layer.outputs),
            worst=worst,
        )
        for layer, stage in kept
    )
    made = [name for process in processes for name in process.outputs]
    used = {name for process in processes for name in process.inputs}
    depths = {name: max(graph.tensors[name].fifo_depth, 1) for name in made if name in used}
    sources = {name: graph.tensors[name].pixels for name in used if name not in made}
    sinks = tuple(sorted({same.get(name, graph.tensors[name]).name for name in graph.outputs}))
    return Flow(processes, depths, sources, sinks)


def process_of(
    stage: Stage, clock: Clock, inputs: tuple[str, ...], outputs: tuple[str, ...], *, worst: bool = False
) -> Process:
    """A stage as a process; rules in :mod:`toolkit.estimation.cycles`."""
    cycles = cycles_of(stage, clock)
    plain = Process(stage.name, inputs, outputs, *each_pixel(stage.in_pixels, 1, max(cycles.depth, 1)))
    match stage.kind:
        case "conv" | "depthwise" | "pointwise" | "separable":
            return windowed(plain, stage, clock, worst=worst)
        case "pool":
            busy = (cycles.high - 2) // max(stage.in_pixels, 1)
            return sliding(plain, stage, max(busy, 1), 2, cycles)
        case "dense":
            return gathered(plain, stage.in_pixels, kernel_cycles(stage, clock).high + 2, cycles)
        case "global_pool":
            return gathered(plain, stage.in_pixels, 3, cycles)
        case "softmax" if not softmax_folds(stage, clock.tool):
            return after_table(plain, stage, cycles)
        case "softmax" | "scale":
            return spaced(plain, stage, cycles)
        case "pad":
            return padded(plain, stage, clock)
        case _ if stage.in_pixels != stage.out_pixels:
            return reshaped(plain, stage)
    tail = max(cycles.high - stage.in_pixels, 1) if stage.in_pixels > 1 else max(cycles.high, 1)
    return replace(plain, restart=tail)


def each_pixel(count: int, cost: int, delay: int) -> tuple[Times, Mask, Mask, Times]:
    """Iterations that each read and write."""
    every = np.ones(count, bool)
    return np.full(count, cost, np.int64), every, every, np.full(count, delay, np.int64)


def spaced(plain: Process, stage: Stage, cycles: Cycles) -> Process:
    """Pixels at an even interval, each result a pipeline depth later."""
    alone = stage.in_pixels == 1
    interval = max(1, cycles.high // stage.in_pixels)
    cost, reads, writes, delay = each_pixel(stage.in_pixels, interval, max(cycles.high if alone else cycles.depth, 1))
    return replace(plain, cost=cost, reads=reads, writes=writes, delay=delay)


def after_table(plain: Process, stage: Stage, cycles: Cycles) -> Process:
    """Softmax that fills its table at the start of each image, before it reads."""
    work = spaced(plain, stage, cycles)
    rest = max(cycles.high - UNFOLDED_TABLE_CYCLES, 1)
    pixels_each = np.full_like(work.cost, max(rest // stage.in_pixels, 1))
    return replace(
        work,
        cost=np.insert(pixels_each, 0, UNFOLDED_TABLE_CYCLES),
        reads=np.insert(work.reads, 0, False),
        writes=np.insert(work.writes, 0, False),
        delay=np.insert(np.full_like(work.delay, rest), 0, 0),
    )


def windows(stage: Stage) -> Mask:
    """Which input pixels complete a window: bottom right corners on the stride's grid."""
    rows = np.arange(stage.in_height) - (stage.kernel_height - 1)
    columns = np.arange(stage.in_width) - (stage.kernel_width - 1)
    complete_rows = (rows >= 0) & (rows % stage.stride_height == 0)
    complete_columns = (columns >= 0) & (columns % stage.stride_width == 0)
    mask: Mask = (complete_rows[:, None] & complete_columns[None, :]).reshape(-1)
    return mask


def windowed(plain: Process, stage: Stage, clock: Clock, *, worst: bool) -> Process:
    """A convolution: every pixel read, a pixel written where a window is complete."""
    full = pixel_cost(stage, clock)
    idle = full if worst else idle_cost(stage, clock)
    complete = windows(stage)
    cost = np.where(complete, full, idle).astype(np.int64)
    kernel: Cycles = kernel_cycles(stage, clock)
    delay = np.full(complete.size, full if stage.resource else kernel.high + 2, np.int64)
    every = np.ones(complete.size, bool)
    return replace(plain, cost=cost, reads=every, writes=complete, delay=delay, restart=3)


def sliding(plain: Process, stage: Stage, interval: int, delay: int, cycles: Cycles) -> Process:
    """Pooling: as a convolution with the pool as its window."""
    complete = windows(stage)
    every = np.ones(complete.size, bool)
    cost = np.full(complete.size, interval, np.int64)
    restart = max(cycles.high - interval * complete.size, 1)
    return replace(
        plain,
        cost=cost,
        reads=every,
        writes=complete,
        delay=np.full(complete.size, delay + 1, np.int64),
        restart=restart,
    )


def gathered(plain: Process, count: int, work: int, cycles: Cycles) -> Process:
    """Every token read first, then one result."""
    cost = np.ones(count, np.int64)
    cost[-1] = max(cycles.high - count + 1, work, 1)
    last = np.zeros(count, bool)
    last[-1] = True
    return replace(plain, cost=cost, reads=np.ones(count, bool), writes=last, delay=cost.copy(), restart=1)


def padded(plain: Process, stage: Stage, clock: Clock) -> Process:
    """Zero padding: every pixel of the padded map written, inner ones read; wide margins add cycles to each row."""
    top, bottom, left, right = stage.padding
    inner = np.zeros((stage.out_height, stage.out_width), bool)
    inner[top : stage.out_height - bottom, left : stage.out_width - right] = True
    cost = np.ones(inner.shape, np.int64)
    extra = padded_cycles(stage, clock) - stage.out_pixels - 3
    if extra > 0:
        cost[top : stage.out_height - bottom, 0] += extra // max(stage.in_height, 1)
    every = np.ones(inner.size, bool)
    delay = np.ones(inner.size, np.int64)
    return replace(plain, cost=cost.reshape(-1), reads=inner.reshape(-1), writes=every, delay=delay, restart=3)


def reshaped(plain: Process, stage: Stage) -> Process:
    """Different numbers of tokens in and out, evenly interleaved (repack, resize, crop, transpose, merge of halves)."""
    count = max(stage.in_pixels, stage.out_pixels)
    position = np.arange(count)
    reads = spread(position, count, stage.in_pixels, first=True)
    writes = spread(position, count, stage.out_pixels, first=False)
    return replace(
        plain, cost=np.ones(count, np.int64), reads=reads, writes=writes, delay=np.ones(count, np.int64), restart=2
    )


def spread(position: Times, count: int, tokens: int, *, first: bool) -> Mask:
    """``tokens`` positions among ``count``, even apart: reads at the start of their share, writes at its end."""
    shares = position * tokens // count
    edges = np.ones(count, bool)
    if first:
        edges[1:] = shares[1:] != shares[:-1]
    else:
        edges[:-1] = shares[1:] != shares[:-1]
    return edges


# Simulation ------------------------------------------------------------------------------------


class _State:
    """Progress of one process: how many iterations are done and when they started."""

    def __init__(self, process: Process, images: int) -> None:
        self.process = process
        self.cost = np.tile(process.cost, images)
        self.cost[process.cost.size - 1 :: process.cost.size] += process.restart
        self.reads = np.tile(process.reads, images)
        self.writes = np.tile(process.writes, images)
        self.delay = np.tile(process.delay, images)
        self.total = self.cost.size
        self.starts: Times = np.zeros(self.total, np.int64)
        self.done = 0
        self.read_index = np.concatenate([[0], np.cumsum(self.reads)]).astype(np.int64)
        self.write_index = np.concatenate([[0], np.cumsum(self.writes)]).astype(np.int64)
        self.busy = np.concatenate([[0], np.cumsum(self.cost)]).astype(np.int64)
        self.read_at = np.flatnonzero(self.reads)
        self.write_at = np.flatnonzero(self.writes)


class _Stream:
    """A FIFO: when each token was written and read so far."""

    def __init__(self, tokens: int, depth: int) -> None:
        self.written: Times = np.zeros(tokens, np.int64)
        self.taken: Times = np.zeros(tokens, np.int64)
        self.in_count = 0
        self.out_count = 0
        self.depth = depth


def simulate(network: Flow, *, images: int = 2, depths: Mapping[str, int] | None = None) -> Simulation:
    """Run ``images`` images back to back through the network.

    ``depths`` replaces FIFO depths by stream (all of them unbounded: ``unbounded(network)``). The
    source offers one token a cycle. A deadlock is reported in the result, not raised.
    """
    states = [_State(process, images) for process in network.processes]
    streams = build_streams(network, states, images, dict(network.depths) | dict(depths or {}))
    readers = {name: index for index, state in enumerate(states) for name in state.process.inputs}
    writers = {name: index for index, state in enumerate(states) for name in state.process.outputs}
    waiting = deque(range(len(states)))
    queued = [True] * len(states)
    while waiting:
        index = waiting.popleft()
        queued[index] = False
        if not advance(states[index], streams):
            continue
        process = states[index].process
        neighbours = [readers.get(name) for name in process.outputs] + [writers.get(name) for name in process.inputs]
        for neighbour in neighbours:
            if neighbour is not None and not queued[neighbour]:
                waiting.append(neighbour)
                queued[neighbour] = True
    return conclude(network, states, streams, images)


def unbounded(network: Flow) -> dict[str, int]:
    """Depths under which no process ever waits for room."""
    return dict.fromkeys(network.depths, UNBOUNDED)


def build_streams(
    network: Flow, states: Sequence[_State], images: int, depths: Mapping[str, int]
) -> dict[str, _Stream]:
    """Every stream, sources already filled at one token a cycle."""
    streams: dict[str, _Stream] = {}
    for state in states:
        for name in state.process.outputs:
            streams[name] = _Stream(int(state.write_index[-1]), depths.get(name, UNBOUNDED))
    for name, tokens in network.sources.items():
        stream = _Stream(tokens * images, UNBOUNDED)
        stream.written[:] = np.arange(tokens * images)
        stream.in_count = tokens * images
        streams[name] = stream
    return streams


def advance(state: _State, streams: Mapping[str, _Stream]) -> bool:
    """Work off every iteration whose tokens and room are known; whether there was any."""
    moved = False
    while state.done < state.total:
        end = reachable(state, streams)
        if end <= state.done:
            return moved
        if end - state.done < SCALAR_STRETCH:
            step_scalar(state, streams, end)
        else:
            step_vector(state, streams, end)
        moved = True
    return moved


def reachable(state: _State, streams: Mapping[str, _Stream]) -> int:
    """First iteration that cannot be timed yet."""
    end = state.total
    for name in state.process.inputs:
        known = streams[name].in_count
        if known < state.read_at.size:
            end = min(end, int(state.read_at[known]))
    for name in state.process.outputs:
        stream = streams[name]
        room = stream.out_count + stream.depth if stream.depth < UNBOUNDED else UNBOUNDED
        if room < state.write_at.size:
            end = min(end, int(state.write_at[room]))
    return end


def step_scalar(state: _State, streams: Mapping[str, _Stream], end: int) -> None:
    """Time a few iterations one by one."""
    inputs = [streams[name] for name in state.process.inputs]
    outputs = [streams[name] for name in state.process.outputs]
    free = int(state.starts[state.done - 1] + state.cost[state.done - 1]) if state.done else 0
    read, write = int(state.read_index[state.done]), int(state.write_index[state.done])
    for iteration in range(state.done, end):
        start = free
        reads, writes = bool(state.reads[iteration]), bool(state.writes[iteration])
        delay = int(state.delay[iteration])
        if reads:
            for stream in inputs:
                start = max(start, int(stream.written[read]) + READ_CYCLES)
        if writes:
            for stream in outputs:
                if write >= stream.depth:
                    start = max(start, int(stream.taken[write - stream.depth]) + 1 - delay)
        state.starts[iteration] = start
        free = start + int(state.cost[iteration])
        if reads:
            for stream in inputs:
                stream.taken[read] = start
                stream.out_count = read + 1
            read += 1
        if writes:
            for stream in outputs:
                stream.written[write] = start + delay
                stream.in_count = write + 1
            write += 1
    state.done = end


def step_vector(state: _State, streams: Mapping[str, _Stream], end: int) -> None:
    """Time a stretch of iterations at once: running maximum of earliest start minus busy time before it."""
    begin = state.done
    earliest = np.zeros(end - begin, np.int64)
    if begin:
        earliest[0] = state.starts[begin - 1] + state.cost[begin - 1]
    reads, writes = state.reads[begin:end], state.writes[begin:end]
    read, write = slice(*state.read_index[[begin, end]]), slice(*state.write_index[[begin, end]])
    for name in state.process.inputs:
        np.maximum.at(earliest, np.flatnonzero(reads), streams[name].written[read] + READ_CYCLES)
    for name in state.process.outputs:
        wait_for_room(earliest, streams[name], write, np.flatnonzero(writes), state.delay[begin:end])
    busy = state.busy[begin:end]
    starts = np.maximum.accumulate(earliest - busy) + busy
    state.starts[begin:end] = starts
    for name in state.process.inputs:
        streams[name].taken[read] = starts[reads]
        streams[name].out_count = read.stop
    for name in state.process.outputs:
        streams[name].written[write] = (starts + state.delay[begin:end])[writes]
        streams[name].in_count = write.stop
    state.done = end


def wait_for_room(earliest: Times, stream: _Stream, write: slice, at: Times, delay: Times) -> None:
    """Raise earliest starts to when the FIFO has room for the token written."""
    if stream.depth >= UNBOUNDED:
        return
    tokens = np.arange(write.start, write.stop)
    held_back = tokens >= stream.depth
    if held_back.any():
        positions = at[held_back]
        room = stream.taken[tokens[held_back] - stream.depth] + 1 - delay[positions]
        np.maximum.at(earliest, positions, room)


def conclude(network: Flow, states: Sequence[_State], streams: Mapping[str, _Stream], images: int) -> Simulation:
    """Latency, interval and FIFO peaks of a finished (or stuck) run.

    As in csynth and cosim the design is done when every process is, which can be after its last output.
    """
    stuck = tuple(state.process.name for state in states if state.done < state.total)
    ends = np.array([image_ends(state, images) for state in states if not stuck]).reshape(-1, images)
    latency = int(ends[:, 0].max(initial=0)) + 1
    interval = int((ends[:, -1] - ends[:, -2]).max(initial=1)) if images > 1 and not stuck else latency
    between = {name: stream for name, stream in streams.items() if name in network.depths}
    return Simulation(
        latency_cycles=0 if stuck else latency,
        interval_cycles=0 if stuck else interval,
        peaks={name: peak(stream) for name, stream in between.items()},
        starts={state.process.name: state.starts for state in states},
        writes={name: stream.written for name, stream in streams.items()},
        reads={name: stream.taken for name, stream in streams.items()},
        deadlocked=stuck,
    )


def image_ends(state: _State, images: int) -> Times:
    """When the process ended each image: its last iteration, or its last write if that is later."""
    process = state.process
    size = process.cost.size
    last = state.starts.reshape(images, size)
    busy = last[:, -1] + int(process.cost[-1])
    written = (last + process.delay)[:, process.writes].max(axis=1, initial=0)
    ends: Times = np.maximum(busy, written) + process.restart - 1
    return ends


def peak(stream: _Stream) -> int:
    """Most tokens a FIFO held: written so far less read before."""
    written, taken = stream.written[: stream.in_count], stream.taken[: stream.out_count]
    if not written.size:
        return 0
    before = np.searchsorted(taken, written, side="left")
    return int((np.arange(1, written.size + 1) - before).max())


# Depths ------------------------------------------------------------------------------------------

SEARCHED_ITERATIONS = 400_000  # largest run (iterations of all processes) for which depths are searched


@dataclass(frozen=True)
class Depths:
    """FIFO depths of a network.

    ``peak`` is what unbounded FIFOs held, the figure hls4ml's own optimisation takes from a cosim;
    ``needed`` keep latency and interval all the same. ``searched`` is false where the network is
    too large for the search and ``needed`` are the peaks.
    """

    needed: Mapping[str, int]
    peak: Mapping[str, int]
    searched: bool


def needed_depths(network: Flow, free: Simulation, *, images: int = 2) -> Depths:
    """Smallest FIFO depths, found one FIFO after the other, that cost neither latency nor interval.

    Deeper FIFOs never delay anything, so each depth is a bisection between 1 and the peak that
    unbounded FIFOs held. ``free`` is the run with unbounded FIFOs.
    """
    peaks = {name: max(depth, 1) for name, depth in free.peaks.items()}
    size = images * sum(process.cost.size for process in network.processes)
    if size > SEARCHED_ITERATIONS:
        return Depths(peaks, peaks, searched=False)
    needed = dict(peaks)
    for name in sorted((name for name in peaks if peaks[name] > 1), key=lambda name: -peaks[name]):
        needed[name] = smallest_depth(network, free, needed, name, images)
    return Depths(needed, peaks, searched=True)


def smallest_depth(network: Flow, free: Simulation, depths: Mapping[str, int], name: str, images: int) -> int:
    """Smallest depth of one FIFO, the others as given, with which nothing comes later than in ``free``."""
    enough, short = depths[name], 0
    guess = 2
    while enough - short > 1:
        guess = min(max(guess, short + 1), enough - 1)
        run = simulate(network, images=images, depths={**depths, name: guess})
        if as_fast(run, free):
            enough, guess = guess, (short + guess) // 2
        else:
            short, guess = guess, min(guess * 4, (guess + enough + 1) // 2)
    return enough


def as_fast(run: Simulation, free: Simulation) -> bool:
    """Whether a run ended and lost nothing."""
    same = run.latency_cycles <= free.latency_cycles and run.interval_cycles <= free.interval_cycles
    return not run.deadlocked and same
