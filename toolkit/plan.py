"""What a design file will do, checked before any of it is done.

Everything that file and architecture decide is looked at before the first epoch: names, engines, parts,
tools and folders without TensorFlow (:func:`check_design`); then the untrained network itself, which is
quantized, converted by hls4ml and emulated on a few images (:func:`plan_design`). What is left to go wrong
after that needs trained weights.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.baselines.engines import check_request
from toolkit.comparison.design import graph_macs
from toolkit.comparison.report import refuse_foreign
from toolkit.config import (
    BaselineConfig,
    DatasetConfig,
    DesignConfig,
    DesignFile,
    EstimateConfig,
    ModelConfig,
    ProofConfig,
    TrainConfig,
    zoo_names,
)
from toolkit.data import Dataset, load_dataset
from toolkit.data.datasets import known_datasets
from toolkit.emulation import emulate
from toolkit.errors import ConfigError, DataError, ModelError, StoreError, ToolkitError, choose
from toolkit.estimation import estimate
from toolkit.hls.limits import check_config
from toolkit.hls.network import network_of
from toolkit.hls.project import check_target
from toolkit.process import cores, require_tool
from toolkit.records import Estimate, Figure
from toolkit.sections import Section
from toolkit.store import digest, store_root

if TYPE_CHECKING:
    import keras

    from toolkit.hls.conversion import Conversion

CALIBRATION_IMAGES = 32  # a dry conversion needs types, not good ones
TIMED_IMAGES = 64

# Seconds nobody measures beforehand, as a 2-core virtual machine took them (README, How fast); with intervals
# as wide as machines differ.
TRACING_S = 4.0  # a Keras model before its first step
CSIM_BUILD_S = 8.0
CSIM_MACS_PER_S = 4e7  # one core
ENGINE_S = 3.0  # an engine before its first run
ENGINE_MACS_PER_S = 2e10
DESIGN_S = 4.0  # compaction, project, FIFO simulation
REPORT_S = 8.0
GUESSED, TIMED = 3.0, 1.5  # how many times shorter or longer it may be
QUANTIZED_STEP = 1.5  # a quantization-aware step in float ones; toolkit bench qat
TAUGHT_STEP = 1.4  # the teacher's forward pass on top


@dataclass(frozen=True)
class Step:
    """One piece of work: the row it is for, what is done, and how long that takes; 0 s where the store has it."""

    row: str
    work: str
    seconds: Figure


@dataclass(frozen=True)
class Plan:
    """What will be done, in order, with the time it takes and what is worth knowing before it begins."""

    name: str
    subject: str
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> Figure:
        """Time of all steps."""
        return total(step.seconds for step in self.steps)

    def __str__(self) -> str:
        """A line per step, the whole time, the notes."""
        rows = [cells(step) for step in self.steps]
        wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [f"  {row:{wide[0]}}  {work:{wide[1]}}  {seconds:>{wide[2]}}" for row, work, seconds in rows]
        head = f"plan {self.name}: {self.subject}"
        return "\n".join([head, *lines, f"  in all {spelled(self.seconds)}", *(f"  {note}" for note in self.notes)])


def cells(step: Step) -> tuple[str, str, str]:
    return step.row, step.work, duration(step.seconds.value) if step.seconds.value else "stored"


def spelled(seconds: Figure) -> str:
    """``about 3 min (1 to 7 min, model)``."""
    if seconds.low is None or seconds.high is None or not seconds.value:
        return f"about {duration(seconds.value)} ({seconds.source})"
    return (
        f"about {duration(seconds.value)} ({duration(seconds.low)} to {duration(seconds.high)} on this machine, "
        f"{seconds.source})"
    )


def duration(seconds: float) -> str:
    """``45 s``, ``12 min`` or ``3.4 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def about(seconds: float, factor: float = GUESSED) -> Figure:
    """A time that may be ``factor`` times shorter or longer."""
    return Figure(seconds, "s", "model", seconds / factor, seconds * factor)


def total(times: Iterable[Figure]) -> Figure:
    """The sum, from the sum of the shortest to the sum of the longest."""
    known = list(times)
    low, high = (sum(getattr(item, end) or item.value for item in known) for end in ("low", "high"))
    return Figure(sum(item.value for item in known), "s", "model", low, high)


def plan_design(design: DesignFile, folder: str | Path | None = None) -> Plan:
    """Check all that a design file and its network decide, and say what will be done and how long it takes.

    The untrained network is converted for every design and emulated on a few images; nothing is trained and
    nothing written. ``folder`` is where a run will write. Raises what the run would raise later: ``ConfigError``,
    ``DataError``, ``ModelError``, ``HlsError``, ``StoreError`` or ``ToolNotFound``.
    """
    from toolkit.training.threads import use_threads
    from toolkit.training.train import require_fit, require_labels

    check_design(design, folder)
    if folder is not None:
        check_models(Path(folder) / "models", design)
    for training in trainings(design):
        use_threads(training.threads)  # before anything makes TensorFlow begin
    dataset = load_dataset(design.dataset, task=design.task)
    model, name = opened_model(design.model, dataset)
    dataset = require_fit(model, dataset)
    require_labels(dataset, design.train)
    check_schedules(design)
    pace = Pace(model, dataset)
    first = first_step(design, dataset, pace, name)
    steps = [first, *(baseline_step(baseline, pace, dataset) for baseline in baselines_of(design, model))]
    notes: list[str] = []
    starts: dict[str, keras.Model] = {}
    for wanted in distinct_labels(design.designs):
        with naming(wanted.label, design.designs):
            key = digest(wanted.quantization)
            if key not in starts:
                starts[key] = start_of(wanted, model, dataset.inputs("train", CALIBRATION_IMAGES))
            dry = converted_dry(wanted, starts[key], dataset)
        steps.append(design_step(wanted, dry, dataset, pace, as_given=starts[key] is model))
        notes += [f"{wanted.label}: {note}" for note in dry.notes]
    steps.append(Step("report", "table, pictures, page", about(REPORT_S)))
    what = dataset.noun.removesuffix("s")
    subject = f"{counted(dataset.size('train'), f'training {what}')}, {counted(dataset.size(), f'test {what}')}"
    return Plan(design.name, f"{name} on {dataset.name}, {subject}", tuple(steps), (*task_notes(dataset), *notes))


def task_notes(dataset: Dataset) -> list[str]:
    """What each output is judged by and how that was seen; nothing of classes told to be judged by accuracy."""
    if dataset.metric.name == "accuracy" and dataset.head.note is None:
        return []
    who = [f"{head.name}: " if head.name else "" for head in dataset.heads]
    why = [f" ({head.note})" if head.note else "" for head in dataset.heads]
    what = [f"{head.kind}, judged by {head.metric.title}" for head in dataset.heads]
    return [f"{name}{text}{note}" for name, text, note in zip(who, what, why, strict=True)]


def counted(number: int, what: str) -> str:
    """``1 design``, ``1,000 designs``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


# Without TensorFlow ------------------------------------------------------------------------------


def check_design(design: DesignFile, folder: str | Path | None = None) -> None:
    """Raise for whatever the file alone decides; quick, and without TensorFlow."""
    check_dataset(design.dataset)
    check_model(design.model)
    check_teacher("train", design.train, ())
    check_taught("train", design.train)
    check_fitted("train", design.train)
    for baseline in design.baselines:
        check_request(baseline.engine, baseline.precision, baseline.provider)
    for wanted in design.designs:
        with naming(wanted.label, design.designs):
            check_config(wanted.hls)
            if wanted.qat is not None:
                check_teacher("qat", wanted.qat, ("float",))
                check_taught("qat", wanted.qat)
                check_fitted("qat", wanted.qat)
            check_proof(wanted.proof)
    if any(proves(wanted) for wanted in design.designs):
        require_tool("g++")
    if folder is not None:
        check_folder(Path(folder), design)


def check_dataset(dataset: DatasetConfig) -> None:
    """Raise for a name that no dataset has, and for files and folders that are not there."""
    data_dir = dataset.data_dir
    if data_dir is not None and not data_dir.expanduser().is_dir():
        raise ConfigError(f"dataset.data_dir must be a folder with the dataset's files, got {data_dir}")
    if dataset.path is None:
        choose("dataset.name", dataset.name, known_datasets())
    elif not dataset.path.expanduser().exists():
        raise DataError(f"dataset.path: {dataset.path} does not exist")


def check_model(model: ModelConfig) -> None:
    """Raise for a zoo name that is none and a file that is not there."""
    if model.path is None:
        choose("model.name", model.name, zoo_names())
    elif not model.path.exists():
        raise ModelError(f"model.path must be a .keras file, a legacy .h5 file or a record's folder, got {model.path}")


def check_teacher(section: str, config: TrainConfig, words: tuple[str, ...]) -> None:
    """Raise for a teacher in words that no run knows; a live model or a record is left to the training."""
    if isinstance(config.teacher, str) and config.teacher not in words:
        choices = f'"{words[0]}", the float model of the run' if words else "a live model; only [qat] takes a word"
        raise ConfigError(f'{section}.teacher: "{config.teacher}" is not a teacher; choose {choices}')


def check_taught(section: str, config: TrainConfig) -> None:
    """Raise for settings of a distillation that nobody teaches: they would decide nothing."""
    for key in ("temperature", "distillation_weight"):
        value = getattr(config, key)
        if config.teacher is None and value != TrainConfig.model_fields[key].default:
            raise ConfigError(f"{section}.{key} = {value:g} decides nothing without a teacher; leave it out")


# What [train] and [qat] say of steps that nobody takes with epochs = 0; pruning is done then, at once.
OF_STEPS = (
    *("batch_size", "learning_rate", "early_stopping_epochs", "jit_compile", "mixed_precision", "augmentation"),
    *("teacher", "checkpoint"),
)


def check_fitted(section: str, config: TrainConfig) -> None:
    """Raise for settings of a training of no epochs: they would decide nothing."""
    if config.epochs:
        return
    said: list[tuple[str, str, Section]] = [(section, key, config) for key in OF_STEPS]
    if config.prune is not None:
        said += [(f"{section}.prune", key, config.prune) for key in ("begin_epoch", "end_epoch")]
    for where, key, values in said:
        if getattr(values, key) != type(values).model_fields[key].default:
            raise ConfigError(f"{where}.{key} decides nothing with {section}.epochs = 0, which trains nothing")


def check_proof(proof: ProofConfig) -> None:
    """Raise for a number of images beside the whole test split."""
    if proof.whole_split and proof.csim_count != ProofConfig.model_fields["csim_count"].default:
        raise ConfigError(
            f"proof.csim_count = {proof.csim_count} decides nothing beside proof.whole_split = true; keep one of them"
        )


def check_folder(folder: Path, design: DesignFile) -> None:
    """Raise unless a run may write here: no file in the way, nothing of somebody else's, a disk that takes files."""
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder} is a file; a run needs a folder")
    for wanted in distinct_labels(design.designs):
        check_target(folder / "projects" / wanted.label)
    refuse_foreign(folder / "report")
    nearest = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise StoreError(f"{folder} must be writable, {nearest} is not")


def proves(design: DesignConfig) -> bool:
    """Whether csim runs for a design."""
    return design.proof.whole_split or design.proof.csim_count > 0


@contextmanager
def naming(label: str, designs: tuple[DesignConfig, ...]) -> Iterator[None]:
    """Put a design's name before a mistake in it, where there are several designs."""
    try:
        yield
    except ToolkitError as error:
        if len(designs) > 1:
            error.args = (f"design {label}: {error}", *error.args[1:])
        raise


def distinct_labels(designs: tuple[DesignConfig, ...]) -> tuple[DesignConfig, ...]:
    """Designs with labels that tell them apart: of two without a name and with the same label one gets ``_2``."""
    taken = {design.name for design in designs}
    named = []
    for design in designs:
        spellings = (design.label, *(f"{design.label}_{number}" for number in range(2, len(designs) + 1)))
        name = design.name or next(spelling for spelling in spellings if spelling not in taken)
        taken.add(name)
        named.append(design if name == design.label else design.change(name=name))
    return tuple(named)


# The untrained network ---------------------------------------------------------------------------


def opened_model(config: ModelConfig, dataset: Dataset) -> tuple[keras.Model, str]:
    """The model a run starts from, and its row's name."""
    from toolkit.zoo import build_model, load_model

    return build_model(config.name, dataset) if config.path is None else load_model(config.path), config.label


def start_of(design: DesignConfig, model: keras.Model, calibration: Any) -> keras.Model:
    """The given model, quantized as the design says unless it is already or is not to be.

    Raises ``ConfigError`` for a section that would decide nothing.
    """
    from toolkit.training import quantize
    from toolkit.zoo import is_quantized

    if not is_quantized(model):
        return model if design.quantization is None else quantize(model, design.quantization, calibration)
    if "quantization" in design.model_fields_set and design.quantization is not None:
        raise ConfigError(
            f"quantization decides nothing: {model.name} is quantized already; leave [quantization] out, "
            "or start from the float model"
        )
    if design.qat is not None and design.qat.teacher == "float":
        raise ConfigError(f'qat.teacher = "float": there is no float model, {model.name} is quantized already')
    return model


def baselines_of(design: DesignFile, model: keras.Model) -> tuple[BaselineConfig, ...]:
    """The baselines of a run; those of a model that is quantized already would pass for float ones.

    Raises ``ConfigError`` when they are asked for.
    """
    from toolkit.zoo import is_quantized

    if not is_quantized(model):
        return design.baselines
    if "baselines" in design.model_fields_set and design.baselines:
        raise ConfigError(
            f"baselines are of a float model, but {model.name} is quantized already; leave [[baselines]] out"
        )
    return ()


def check_models(folder: Path, design: DesignFile) -> None:
    """Raise where trained models would take the place of somebody else's files."""
    from toolkit.training.folders import require_own
    from toolkit.training.saving import FILES

    for name in (design.model.label, *(wanted.label for wanted in distinct_labels(design.designs))):
        require_own(folder / name, FILES)


def check_schedules(design: DesignFile) -> None:
    """Raise for a pruning schedule longer than its training."""
    from toolkit.training.pruning import check_schedule

    for config in trainings(design):
        if config.prune is not None and config.epochs:
            check_schedule(config.prune, config.epochs)


def trainings(design: DesignFile) -> list[TrainConfig]:
    """Every training of a design file."""
    return [config for config in (design.train, *(wanted.qat for wanted in design.designs)) if config is not None]


@dataclass(frozen=True, eq=False)
class Dry:
    """A conversion of an untrained network: its graph, how fast it is emulated, what to say about it."""

    conversion: Conversion
    images_per_s: float
    notes: tuple[str, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image."""
        return sum(graph_macs(layer) for layer in network_of(self.conversion.graph).layers)


def converted_dry(design: DesignConfig, start: keras.Model, dataset: Dataset) -> Dry:
    """Convert, emulate a few images, and look whether the part can hold it."""
    from toolkit.hls.convert import convert

    conversion = convert(start, design.hls)
    emulator = emulate(conversion.graph)
    images = dataset.inputs("test", TIMED_IMAGES)
    emulator.predict(images)  # the first run prepares
    begun = time.perf_counter()
    emulator.predict(images)
    rate = min(TIMED_IMAGES, dataset.size()) / max(time.perf_counter() - begun, 1e-6)
    roughly = estimate(conversion.graph, EstimateConfig(fifo_simulation=False), hls=design.hls)
    return Dry(conversion, rate, (*conversion.notes, *room_notes(roughly, design.hls.part)))


def room_notes(found: Estimate, part: str) -> list[str]:
    """Say before the work that a part is too small, or that nobody knows how large it is."""
    if not found.utilization:
        return [f"part {part} is in no device table, so that nobody can say whether the design fits"]
    over = [f"{name} {share.value:.0f} %" for name, share in found.utilization.items() if share.value > 100]
    return [f"with untrained weights it does not fit {part} ({', '.join(over)}, model)"] if over else []


# Time --------------------------------------------------------------------------------------------


class Pace:
    """How fast this machine trains a network; measured when first asked for."""

    def __init__(self, model: keras.Model, dataset: Dataset) -> None:
        self.model, self.dataset = model, dataset
        self.measured: dict[int, float] = {}

    def step(self, config: TrainConfig) -> float:
        """Seconds of a float step at a batch size."""
        from toolkit.training.pace import step_seconds

        if config.batch_size not in self.measured:
            self.measured[config.batch_size] = step_seconds(self.model, self.dataset, config)
        return self.measured[config.batch_size]

    def training(self, config: TrainConfig, quantized: bool) -> Figure:
        """Seconds of a whole training."""
        if not config.epochs:
            return about(TRACING_S)
        step = self.step(config)
        step *= (QUANTIZED_STEP if quantized else 1) * (1 if config.teacher is None else TAUGHT_STEP)
        steps = config.epochs * math.ceil(self.dataset.size("train") / config.batch_size)
        return total([about(TRACING_S), about(steps * step, GUESSED if quantized else TIMED)])


NO_TIME = Figure(0.0, "s", "model", 0.0, 0.0)


def first_step(design: DesignFile, dataset: Dataset, pace: Pace, name: str) -> Step:
    """Training of the given model, unless the store has it."""
    from toolkit.training.train import training_key

    key = training_key(pace.model, dataset, design.train)
    work = counted(design.train.epochs, "epoch") if design.train.epochs else "evaluated as it is"
    stored = (store_root() / "trained" / key).is_dir()
    return Step(name, work, NO_TIME if stored else pace.training(design.train, quantized=False))


def baseline_step(baseline: BaselineConfig, pace: Pace, dataset: Dataset) -> Step:
    """One engine, timed at its batch sizes and judged on the test images."""
    from toolkit.baselines import count_macs

    row = f"{baseline.engine} {baseline.precision}"
    if baseline.engine == "gpu_model":
        return Step(row, "modelled from a data sheet", about(ENGINE_S))
    images = dataset.size() + baseline.repeats * sum(baseline.batches)
    seconds = ENGINE_S + images * count_macs(pace.model) / (ENGINE_MACS_PER_S * cores())
    return Step(row, f"measured at {counted(len(baseline.batches), 'batch size')}", about(seconds))


def design_step(design: DesignConfig, dry: Dry, dataset: Dataset, pace: Pace, *, as_given: bool) -> Step:
    """Training, project, emulation and csim of one design."""
    trained = about(TRACING_S) if design.qat is None else pace.training(design.qat, quantized=True)
    images = dataset.size()
    times = [trained, about(DESIGN_S), about(images / dry.images_per_s, TIMED)]
    words = [
        ("as it is" if as_given else "post-training")
        if design.qat is None
        else f"{counted(design.qat.epochs, 'epoch')} quantization-aware"
    ]
    words.append(f"{counted(len(dry.conversion.graph.layers), 'layer')} emulated")
    if proves(design):
        count = images if design.proof.whole_split else min(design.proof.csim_count, images)
        times += [about(CSIM_BUILD_S), about(count * dry.macs / (CSIM_MACS_PER_S * cores()))]
        words.append(f"csim on {counted(count, 'image')}")
    return Step(design.label, ", ".join(words), total(times))
