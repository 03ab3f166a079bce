"""The main job: a design file in; trained models, HLS projects, proofs and a report out.

Every step is a stage of its own and is kept in the artifact store under the digest of what decides
it, so a run that was interrupted, or changed in one place, repeats only what it must.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.arguments import as_path
from toolkit.baselines import measure_baseline
from toolkit.comparison import Comparison, compare, judge, write_report
from toolkit.config import (
    BaselineConfig,
    DatasetConfig,
    DesignConfig,
    DesignFile,
    HlsConfig,
    LayerHlsConfig,
    ModelConfig,
    ProofConfig,
    QuantConfig,
    TrainConfig,
    load_design,
)
from toolkit.data import Dataset, load_dataset
from toolkit.emulation import emulate, prove
from toolkit.estimation import estimate
from toolkit.hls import build_csim, check, lint, write_project
from toolkit.plan import Plan, baselines_of, distinct_labels, opened_model, plan_design, start_of
from toolkit.records import BaselineRecord, CheckResult, Finding, HlsProject, TrainRecord
from toolkit.store import artifact, store_root
from toolkit.training import compact, load_record, save_record, train
from toolkit.training.train import OnEpoch, training_key
from toolkit.zoo import is_quantized

if TYPE_CHECKING:
    import keras

Say = Callable[[str], None]

CHECKED_WITHOUT_CSIM = 256  # images on which the emulator is held against QKeras where csim is not asked for


@dataclass(frozen=True, eq=False)
class RunResult:
    """What a run left: its folder, plan, comparison and report, and per design its proofs and findings."""

    folder: Path
    plan: Plan
    comparison: Comparison
    report: Path
    checks: Mapping[str, tuple[CheckResult, ...]] = field(default_factory=dict)
    findings: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)

    @property
    def failed(self) -> dict[str, str]:
        """Designs whose csim is not what the emulator or QKeras computes, with what differs, where and why."""
        unequal = {name: [check for check in checks if check.failed] for name, checks in self.checks.items()}
        return {name: "; ".join(check.reasoned for check in checks) for name, checks in unequal.items() if checks}


def run_design(
    design: DesignFile | str | Path,
    folder: str | Path | None = None,
    *,
    say: Say = lambda message: None,
    command: str | None = None,
) -> RunResult:
    """Train, quantize, write, prove, estimate and compare everything a design file (or its path) describes.

    First of all the plan: what file and network decide is checked before anything is trained
    (:func:`toolkit.plan.plan_design`). ``folder`` (default ``runs/<name>``) receives ``models/<design>/``,
    ``projects/<design>/`` and ``report/``. ``say`` gets a line per step; ``command`` is what the report
    names as the way to make it again. Raises the stages' errors; nothing half-written is left behind.
    """
    if not isinstance(design, DesignFile):
        design = load_design(design)
    target = Path("runs") / design.name if folder is None else as_path("a run's folder", folder)
    plan = plan_design(design, target)
    say(str(plan))
    dataset = load_dataset(design.dataset, task=design.task)
    trained = first_model(design, dataset)
    dataset = dataset.fitted(trained.model)
    save_record(trained, target / "models" / trained.name)
    quantized = is_quantized(trained.model)
    told = "trained" if design.train.epochs else "evaluated, not trained"
    say(f"{'quantized' if quantized else 'float'} {trained.name}, {told}: {merit_text(trained)}")
    rows: dict[str, list[Any]] = {trained.name: [trained]}
    for baseline in baselines_of(design, trained.model):
        record = measured(baseline, trained, dataset)
        say(f"baseline {record.name}: {record.latency_us or 'not available here'}")
        rows[record.name] = [record]
    made = {wanted.label: realize(wanted, trained, dataset, target, say) for wanted in distinct_labels(design.designs)}
    facts = {
        "design": design.name,
        "dataset": dataset.name,
        "dataset_origin": dataset.origin,
        f"test_{dataset.noun}": f"{dataset.size():,}",
        "scaling_outside_the_fpga": "; ".join(dict.fromkeys(map(str, dataset.scalings()))),
        **({"command": command} if command else {}),
    }
    rows |= {label: [*one.records] for label, one in made.items()}
    comparison = compare(rows, float_model=None if quantized else trained.model, facts=facts)
    return RunResult(
        target,
        plan,
        comparison,
        write_report(comparison, target / "report"),
        {label: one.checks for label, one in made.items()},
        {label: one.findings for label, one in made.items()},
    )


def merit_text(record: TrainRecord) -> str:
    """``accuracy 97.40 %``; without labels there is nothing to say of a float model."""
    return f"{record.metric.title.lower()} {record.metric.text(record.merit.value)}" if record.merit else "no labels"


def first_model(design: DesignFile, dataset: Dataset) -> TrainRecord:
    """The model a run starts from, float or quantized already, trained once per model, dataset and configuration."""
    start, name = opened_model(design.model, dataset)
    return trained_once(start, dataset, design.train, name)


def trained_once(
    start: keras.Model,
    dataset: Dataset,
    config: TrainConfig,
    name: str,
    on_epoch: OnEpoch | None = None,
) -> TrainRecord:
    """Train, or load what the same model, dataset and configuration gave before; resumes after a kill."""
    key = training_key(start, dataset, config)
    with artifact("trained", key) as folder:
        if not folder.complete:
            resumable = config.change(checkpoint=store_root() / "checkpoints" / key)
            save_record(train(start, dataset, resumable, name=name, on_epoch=on_epoch), folder.path)
    return load_record(folder.path)


def measured(baseline: BaselineConfig, trained: TrainRecord, dataset: Dataset) -> BaselineRecord:
    """A baseline's figures, or a record that says why there are none on this machine."""
    return measure_baseline(
        trained.model,
        dataset,
        engine=baseline.engine,
        precision=baseline.precision,
        provider=baseline.provider,
        batch=baseline.batches,
        repeats=baseline.repeats,
        missing="row",
    )


@dataclass(frozen=True, eq=False)
class Realized:
    """One FPGA design carried out: its records for the comparison, its proofs, and what lint and they found."""

    records: tuple[Any, ...]
    checks: tuple[CheckResult, ...]
    findings: tuple[Finding, ...]


def realize(design: DesignConfig, trained: TrainRecord, dataset: Dataset, folder: Path, say: Say) -> Realized:
    """Quantize, train, write, emulate the whole test split, prove a sample with csim, estimate, lint."""
    quantized = design_model(design, trained, dataset)
    save_record(quantized, folder / "models" / design.label)
    inputs = dataset.inputs("test", design.hls.test_vectors)
    project = write_project(quantized.model, design.hls, folder / "projects" / design.label, inputs=inputs)
    for note in project.notes:
        say(f"  {note}")
    emulator = emulate(project)
    alone = is_quantized(trained.model) and dataset.task != "unlabelled"
    reference = None if alone else trained.model
    judged = judge(emulator, dataset, float_model=reference)
    keras = "QKeras" if is_quantized(quantized.model) else "float Keras"
    told = f"{judged.metric.title.lower()} {judged.metric.text(judged.merit.value)} emulated"
    say(f"{design.label}: {told}, {merit_text(quantized)} in {keras}")
    estimated = estimate(project)
    records: list[Any] = [quantized, project, judged, estimated]
    count = None if design.proof.whole_split else design.proof.csim_count
    library = emulator if count == 0 else build_csim(project)
    checked = CHECKED_WITHOUT_CSIM if count == 0 else count
    inputs, labels = dataset.inputs("test", checked), dataset.labels("test", checked)
    checks = [check(project, quantized.model, inputs, library=library, labels=labels)]
    if library is not emulator:
        checks.append(prove(emulator, library, inputs))
        records.append(judge(library, dataset, count=count, float_model=reference))
    for proof in checks:
        say(f"  {proof}")
    findings = lint(project, ranges=input_ranges(project, dataset), profile=judged.profile, estimate=estimated)
    for finding in findings:
        say(f"  {finding}")
    return Realized((*records, *checks, *findings), tuple(checks), findings)


def input_ranges(project: HlsProject, dataset: Dataset) -> dict[str, tuple[float, float]]:
    """Lowest and highest value that test images have, by input."""
    inputs = dataset.inputs("test")
    parts = inputs if isinstance(inputs, list) else [inputs]
    return {
        name: (float(part.min()), float(part.max())) for name, part in zip(project.graph.inputs, parts, strict=True)
    }


def design_model(
    design: DesignConfig, trained: TrainRecord, dataset: Dataset, on_epoch: OnEpoch | None = None
) -> TrainRecord:
    """The model a design is converted from, without emptied channels.

    Quantized post-training or trained aware of it; the given model where that is quantized already or
    ``quantization`` is none. Raises ``ConfigError`` where a section would decide nothing.
    """
    config = design.qat or TrainConfig(epochs=0)
    if config.teacher == "float":
        config = config.change(teacher=trained.model)
    start = start_of(design, trained.model, dataset)
    record = trained_once(start, dataset, config, design.label, on_epoch)
    return replace(record, model=compact(record.model))


def demo_design() -> DesignFile:
    """``toolkit demo``: convnet on mnist5k, float and trained at 8, 6, 4 and 2 bits."""
    reuse_factors = {"conv1": 25, "conv2": 250, "dense1": 1600, "logits": 50}  # stages of like length, and it fits
    hls = HlsConfig(
        strategy="Resource",
        layers={layer: LayerHlsConfig(reuse_factor=factor) for layer, factor in reuse_factors.items()},
    )
    qat = TrainConfig(epochs=4, learning_rate=1e-3, teacher="float")
    return DesignFile(
        name="demo",
        dataset=DatasetConfig(name="mnist5k"),
        model=ModelConfig(name="convnet"),
        train=TrainConfig(epochs=12),
        designs=tuple(
            DesignConfig(
                name=f"convnet_{bits}bit",
                quantization=QuantConfig(weight_bits=bits, activation_bits=bits),
                qat=qat,
                hls=hls,
                proof=ProofConfig(whole_split=True) if bits == 6 else ProofConfig(csim_count=50),
            )
            for bits in (8, 6, 4, 2)
        ),
        baselines=(
            BaselineConfig(engine="keras"),
            BaselineConfig(engine="onnxruntime"),
            BaselineConfig(engine="onnxruntime", precision="int8"),
            BaselineConfig(engine="gpu_model", precision="float16", provider="T4"),
        ),
    )
