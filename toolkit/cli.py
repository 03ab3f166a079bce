"""The command line: each command is a thin wrapper around one public function.

Exit codes: 0 done, 1 a finding or a failed comparison, 2 wrong use or bad input, 130 interrupted.
Results go to standard output, progress and errors to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from toolkit.errors import ConfigError, ToolkitError
from toolkit.quiet import start_tensorflow

if TYPE_CHECKING:
    import keras
    from rich.console import Console

    from toolkit.comparison import Comparison
    from toolkit.comparison.columns import Column
    from toolkit.config import DesignConfig
    from toolkit.emulation.bench import EmulatorBench
    from toolkit.estimation.beside import Beside
    from toolkit.estimation.validation import Validation
    from toolkit.pipeline import RunResult
    from toolkit.records import (
        Array,
        CheckResult,
        Dataset,
        Estimate,
        Figure,
        Finding,
        HlsProject,
        LayerProfile,
    )
    from toolkit.sweep import Best, Compression, SweepResult
    from toolkit.sweep.bench import SweepBench
    from toolkit.training.bench import QatBench

app = typer.Typer(
    help="Decide, before any hardware is touched, what a neural network will do on an FPGA.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# Click's own class, wherever this typer keeps its click.
UsageError: Any = typer.BadParameter.__bases__[0]

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
DataName = Annotated[
    str | None, typer.Option("--dataset", help="cifar10, fashion_mnist, mnist, mnist5k, digits or synthetic.")
]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Folder with the dataset's original files.")]
Count = Annotated[int | None, typer.Option("--count", min=1, help="Use the first so many test images.")]
Out = Annotated[Path | None, typer.Option("--out", help="Where to write.")]
ProjectPath = Annotated[Path, typer.Argument(help="Folder of an HLS project.")]
ModelPath = Annotated[Path, typer.Option("--model", help="A .keras file, a legacy QKeras .h5 or a trained folder.")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code; a user's mistake is one message, never a traceback."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(exit_code(arguments))


def exit_code(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        outcome = app(args=arguments, standalone_mode=False)
    except UsageError as error:
        error.show()
        return 2
    except (KeyboardInterrupt, typer.Abort):
        outcome = 130
    except ToolkitError as error:
        return fail(f"{error_name(error)}: {error}", error.exit_code)
    except MemoryError:
        return fail("not enough memory; use fewer images (--count) or a smaller batch", 2)
    except OSError as error:
        return fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 2)
    if outcome == 130:  # which newer typers return for Ctrl-C
        return fail("interrupted; what was finished is kept, the same command continues", 130)
    return outcome if isinstance(outcome, int) else 0


def error_name(error: ToolkitError) -> str:
    """The error's name in the one error tree."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "toolkit.errors")


def fail(message: str, code: int) -> int:
    """Print one message to standard error and return the exit code."""
    print(message, file=sys.stderr)
    return code


def say(message: str) -> None:
    """A line of progress, on standard error so that results stay clean."""
    print(message, file=sys.stderr, flush=True)


def console() -> Console:
    from rich.console import Console

    return Console()


def show_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Print a table; cells are text, never markup."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*(escape("-" if cell is None else str(cell)) for cell in row))
    console().print(table)


def show_figures(title: str, figures: dict[str, Figure | None]) -> None:
    """Print figures with value, interval, unit and source."""

    def interval(figure: Figure) -> str:
        return "" if figure.low is None or figure.high is None else f"{figure.low:.6g} .. {figure.high:.6g}"

    rows = [(name, f"{f.value:.6g}", interval(f), f.unit, f.source) for name, f in figures.items() if f is not None]
    show_table(title, ("figure", "value", "interval", "unit", "source"), rows)


# What fits a terminal; the report has the rest.
TERMINAL_COLUMNS = ("accuracy", "latency_us", "dsp", "lut")


def show_comparison(comparison: Comparison) -> None:
    """The rows with their main figures, each with its source."""
    columns = [column for column in comparison.columns() if column.key in TERMINAL_COLUMNS]
    rows = [[row.name, *(cell(column, row.figures.get(column.key)) for column in columns)] for row in comparison.rows]
    show_table("comparison", ("implementation", *(column.heading for column in columns)), rows)


def cell(column: Column, figure: Figure | None) -> str | None:
    return None if figure is None else f"{column.text(figure.value)} {figure.source}"


def print_json(value: Any) -> None:
    from toolkit.records import as_json

    print(json.dumps(as_json(value), indent=2, sort_keys=True))


@app.command()
def doctor(as_json_: AsJson = False) -> int:
    """Say what is installed here and what each missing thing costs."""
    from toolkit.doctor import diagnose

    found = diagnose()
    if as_json_:
        print_json(found)
    else:
        rows = [(d.name, "yes" if d.present else "no", d.found, "" if d.present else d.cost) for d in found]
        show_table("toolkit doctor", ("what", "here", "found", "without it"), rows)
    return 1 if any(d.needed and not d.present for d in found) else 0


@app.command()
def demo(out: Annotated[Path, typer.Option(help="Folder for models, projects and report.")] = Path("demo")) -> int:
    """Train convnet on mnist5k in float and at 8, 6, 4 and 2 bits, prove the bits, write a report."""
    start_tensorflow()
    from toolkit.pipeline import demo_design, run_design

    return show_run(run_design(demo_design(), out, say=say, command=f"toolkit demo --out {out}"))


@app.command()
def run(
    design: Annotated[Path, typer.Argument(help="A design file (TOML).")],
    out: Annotated[Path | None, typer.Option(help="Folder for everything it makes; default runs/<name>.")] = None,
    data_dir: DataDir = None,
) -> int:
    """Do everything a design file asks for and write a report."""
    from toolkit.config import load_design

    wanted = load_design(design)
    start_tensorflow()
    from toolkit.pipeline import run_design

    if data_dir:
        wanted = wanted.change(dataset=wanted.dataset.change(data_dir=data_dir))
    folder = out or Path("runs") / wanted.name
    return show_run(run_design(wanted, folder, say=say, command=f"toolkit run {design} --out {folder}"))


def show_run(result: RunResult) -> int:
    """The table, the proofs that failed if any, and where the report is."""
    show_comparison(result.comparison)
    for name, proof in result.failed.items():
        print(f"{name}: {proof}")
    print(f"report: {result.report}")
    return 1 if result.failed else 0


@app.command()
def train(
    model: Annotated[str, typer.Argument(help="A zoo name, a .keras file, or a folder that train wrote.")],
    dataset: DataName = "mnist5k",
    data_dir: DataDir = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the model and its record; default models/<name>.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=0, help="Passes over the training images.")] = 10,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per step.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="Adam's step size.")] = 1e-3,
    seed: Annotated[int, typer.Option(min=0, help="Seed of shuffling, dropout and augmentation.")] = 0,
    bits: Annotated[int | None, typer.Option(help="Quantize to so many bits first, then train aware of it.")] = None,
    teacher: Annotated[Path | None, typer.Option(help="A trained float model to distil from.")] = None,
    temperature: Annotated[float, typer.Option(help="Distillation: softening of both models' logits.")] = 4.0,
    distillation_weight: Annotated[float, typer.Option(help="Distillation: its share of the loss, 0 to 1.")] = 0.5,
    prune: Annotated[float | None, typer.Option(help="Prune so large a part of the weights (L1), 0 to 1.")] = None,
    prune_scope: Annotated[
        str, typer.Option(help="Rank weights over the whole model or each layer: global, layer.")
    ] = "global",
    prune_structure: Annotated[
        str, typer.Option(help="unstructured, or channel: whole output channels.")
    ] = "unstructured",
    prune_epochs: Annotated[int, typer.Option(min=1, help="Reach it gradually over so many epochs.")] = 1,
    jit: Annotated[bool, typer.Option("--jit", help="Compile the step with XLA.")] = False,
    as_json_: AsJson = False,
) -> int:
    """Train a float model, or quantize one and train it aware of the quantization."""
    from toolkit.config import PruneConfig, QuantConfig, TrainConfig
    from toolkit.data import load_dataset

    start_tensorflow()
    from toolkit.training import nonzero_weights, quantize
    from toolkit.training import train as fit

    images = load_dataset(dataset or "mnist5k", data_dir=data_dir)
    start = open_model(model, images)
    if bits is not None:
        start = quantize(start, QuantConfig(weight_bits=bits, activation_bits=bits), images)
    folder = out or Path("models") / (Path(model).stem + (f"_{bits}bit" if bits else ""))
    config = TrainConfig(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        jit_compile=jit,
        teacher=open_model(str(teacher), images) if teacher else None,
        temperature=temperature,
        distillation_weight=distillation_weight,
        prune=None
        if prune is None
        else PruneConfig(sparsity=prune, scope=prune_scope, structure=prune_structure, end_epoch=prune_epochs - 1),
        checkpoint=folder.with_name(f".{folder.name}.checkpoint"),
    )
    record = fit(start, images, config, name=folder.name, folder=folder)
    if as_json_:
        print_json(record)
    else:
        figures = {"accuracy": record.accuracy, "seconds": record.seconds}
        pruned = {} if prune is None else {"nonzero weights": nonzero_weights(record.model)}
        show_figures(f"{record.name} on {images.name}", {**figures, **pruned})
        print(f"model: {record.path}")
    return 0


def open_model(model: str, dataset: Dataset | None = None) -> keras.Model:
    """A live Keras model from a zoo name, a file, or a folder that ``train`` wrote."""
    start_tensorflow()
    from toolkit.training import load_record
    from toolkit.zoo import build_model, load_model

    path = Path(model)
    if path.is_dir():
        return load_record(path).model
    if path.suffix in (".keras", ".h5", ".hdf5"):
        return load_model(path)
    return build_model(model, dataset)


@app.command()
def convert(
    model: Annotated[
        str, typer.Argument(help="A .keras file, QKeras .h5, trained folder or PyTorch state_dict (.pt).")
    ],
    out: Annotated[Path, typer.Argument(help="Folder of the HLS project.")],
    design: Annotated[Path | None, typer.Option(help="Take [hls] and [quantization] from this design file.")] = None,
    bits: Annotated[int | None, typer.Option(help="Quantize to so many bits first (post-training).")] = None,
    dataset: DataName = None,
    data_dir: DataDir = None,
    backend: Annotated[str | None, typer.Option(help="Vitis or Vivado.")] = None,
    part: Annotated[str | None, typer.Option(help="FPGA part number.")] = None,
    clock_period_ns: Annotated[float | None, typer.Option(help="Clock period in ns.")] = None,
    io_type: Annotated[str | None, typer.Option(help="io_parallel or io_stream.")] = None,
    strategy: Annotated[str | None, typer.Option(help="Latency, Resource or distributed_arithmetic.")] = None,
    reuse_factor: Annotated[int | None, typer.Option(help="Products that share one multiplier.")] = None,
    precision: Annotated[str | None, typer.Option(help="ap_fixed<W,I> of what no quantizer decides.")] = None,
    nearest: Annotated[bool, typer.Option("--nearest", help="Move invalid reuse factors to valid ones.")] = False,
    as_json_: AsJson = False,
) -> int:
    """Write the HLS project of a model: C++, test vectors, manifest."""
    from toolkit.config import DesignConfig, QuantConfig
    from toolkit.data import load_dataset
    from toolkit.hls import write_project

    start_tensorflow()
    from toolkit.training import quantize

    wanted = first_design(design) if design else DesignConfig()
    asked = {
        "backend": backend,
        "part": part,
        "clock_period_ns": clock_period_ns,
        "io_type": io_type,
        "strategy": strategy,
        "reuse_factor": reuse_factor,
        "precision": precision,
        "invalid_reuse_factor": "nearest" if nearest else None,
    }
    config = wanted.hls.change(**{key: value for key, value in asked.items() if value is not None})
    images = load_dataset(dataset, data_dir=data_dir) if dataset else None
    live = open_torch(Path(model)) if Path(model).suffix in (".pt", ".pth") else open_model(model, images)
    if bits is not None or design:
        quantization = QuantConfig(weight_bits=bits, activation_bits=bits) if bits else wanted.quantization
        if images is None:
            raise ConfigError("quantization needs calibration images; name them with --dataset")
        live = quantize(live, quantization, images)
    project = write_project(live, config, out, inputs=images.inputs("test", 16) if images else None)
    if as_json_:
        print_json(project_summary(project))
    else:
        for note in project.notes:
            print(note)
        print(f"project: {project.path} (digest {project.digest}, {len(project.layers)} layers)")
    return 0


def first_design(path: Path) -> DesignConfig:
    """The first design of a design file; raises ``ConfigError`` when it describes none."""
    from toolkit.config import load_design

    designs = load_design(path).designs
    if not designs:
        raise ConfigError(f"convert needs a design; {path} has none")
    return designs[0]


def open_torch(path: Path) -> keras.Model:
    """A ``convnet`` with the weights of a PyTorch state_dict."""
    from toolkit.zoo import build_model, load_torch_state_dict

    return load_torch_state_dict(path, build_model("convnet", input_shape=(28, 28, 1), classes=10))


def project_summary(project: HlsProject) -> dict[str, Any]:
    """A project in JSON: path, digest, configuration, notes, layers without their weights."""
    layers = [{"name": layer.name, "kind": layer.kind, "shape": layer.shape} for layer in project.layers]
    return {
        "path": project.path,
        "digest": project.digest,
        "config": project.config,
        "notes": project.notes,
        "layers": layers,
    }


@app.command()
def csim(
    project: ProjectPath,
    dataset: DataName = None,
    data_dir: DataDir = None,
    count: Count = None,
    inputs: Annotated[Path | None, typer.Option(help="Float inputs [n, ...] in a .npy file.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the outputs to this .npy file.")] = None,
    emulated: Annotated[bool, typer.Option("--emulate", help="Use the emulator: the same bits, no compiler.")] = False,
    as_json_: AsJson = False,
) -> int:
    """Compile a project's C++ and run it on images, or on its own test vectors when none are named."""
    from toolkit.emulation import emulate
    from toolkit.hls import build_csim, check_vectors, open_project

    opened = open_project(project)
    x, labels = read_inputs(inputs, dataset, data_dir, count)
    library = emulate(opened) if emulated else build_csim(opened)
    if x is None:
        return show_checks(check_vectors(opened, library, "emulation" if emulated else "csim"), as_json_)
    outputs = library.predict(x)
    result: dict[str, Any] = {"project": opened.path, "digest": opened.digest, "images": len(x)}
    if labels is not None:
        result["accuracy"] = float((outputs.argmax(axis=1) == labels).mean())
    if out:
        write_array(out, outputs)
        result["outputs"] = out
    if as_json_:
        print_json(result)
    else:
        show_table("emulation" if emulated else "csim", ("what", "value"), result.items())
    return 0


def show_checks(checks: Sequence[CheckResult], as_json_: bool) -> int:
    """Every comparison in a line, with its findings; exit code 1 when one is unequal."""
    if as_json_:
        print_json(checks)
    for result in () if as_json_ else checks:
        print(result)
        show_findings(result.findings)
    return 1 if any(result.failed for result in checks) else 0


def show_findings(findings: Sequence[Finding]) -> None:
    """Severity, layer, reason and remedy of each finding."""
    for finding in findings:
        where = f" {finding.layer}:" if finding.layer else ""
        print(f"{finding.severity}:{where} {finding.reason}\n    {finding.remedy} [{finding.rule}]")


def read_inputs(
    inputs: Path | None, dataset: str | None, data_dir: Path | None, count: int | None
) -> tuple[Array | None, Array | None]:
    """Images from a ``.npy`` file, or images and labels of a dataset's test split."""
    import numpy as np

    from toolkit.data import load_dataset
    from toolkit.errors import DataError

    if inputs:
        try:
            values = np.load(inputs, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"--inputs must be a .npy file of numbers: {inputs}: {error}") from None
        if not isinstance(values, np.ndarray) or values.ndim == 0:
            raise DataError(f"--inputs must be a .npy file of one array [n, ...], got {inputs}")
        return values[:count], None
    if dataset:
        images = load_dataset(dataset, data_dir=data_dir)
        return images.inputs("test", count), images.labels("test", count)
    return None, None


def write_array(path: Path, values: Array) -> None:
    """Write a ``.npy`` file whole or not at all."""
    import io

    import numpy as np

    from toolkit.store import write_bytes

    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    write_bytes(path, buffer.getvalue())


@app.command()
def baseline(
    model: Annotated[str, typer.Argument(help="A zoo name, a .keras file, or a folder that train wrote.")],
    dataset: DataName = "mnist5k",
    data_dir: DataDir = None,
    engine: Annotated[
        str, typer.Option(help="keras, keras_eager, keras_xla, onnxruntime, litert or gpu_model.")
    ] = "keras",
    precision: Annotated[
        str | None, typer.Option(help="float32, float16, bfloat16, int8; as the engine allows.")
    ] = None,
    provider: Annotated[str | None, typer.Option(help="cpu, cuda, tensorrt, or a GPU's name for gpu_model.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Batch size; may be repeated.")] = None,
    repeats: Annotated[int, typer.Option(min=3, help="Least number of timed runs per batch size.")] = 30,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of onnxruntime or litert; default: all.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Also keep the record in this folder, for compare and report.")
    ] = None,
    as_json_: AsJson = False,
) -> int:
    """Measure accuracy, latency and throughput of a float or integer engine."""
    from toolkit.baselines import measure_baseline
    from toolkit.comparison import compare, write_report
    from toolkit.data import load_dataset

    images = load_dataset(dataset or "mnist5k", data_dir=data_dir)
    record = measure_baseline(
        open_model(model, images),
        images,
        engine=engine,
        precision=precision,
        provider=provider,
        batch=batch or None,
        repeats=repeats,
        threads=threads,
    )
    if out:
        write_report(compare([record]), out, formats=("json",))
    if as_json_:
        print_json(record)
    else:
        known = {"accuracy": record.accuracy, "latency": record.latency_us, "throughput": record.throughput_hz}
        show_figures(record.name, {**known, **record.figures})
        for note in record.notes:
            print(note)
    return 0


Records = Annotated[
    list[Path] | None, typer.Argument(help="Folders or report.json files that run, demo or report wrote.")
]


@app.command()
def compare(
    records: Records = None,
    reference: Annotated[str | None, typer.Option(help="The row that ratios are against.")] = None,
    as_json_: AsJson = False,
) -> int:
    """Put stored records into one table; refuses records of different test sets."""
    from toolkit.comparison import join_stored

    joined = join_stored(records or [], reference=reference)
    if as_json_:
        print(joined.to_frame().to_json(orient="records", indent=2))
    else:
        show_comparison(joined)
    return 0


@app.command()
def report(
    more: Records = None,
    sources: Annotated[list[Path] | None, typer.Option("--from", help="Stored records; more may follow.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("report"),
    title: Annotated[str | None, typer.Option(help="Heading of the report.")] = None,
    reference: Annotated[str | None, typer.Option(help="The row that ratios are against.")] = None,
) -> int:
    """Rebuild a report from stored records without computing anything anew."""
    from toolkit.comparison import report_from

    page = report_from([*(sources or []), *(more or [])], out, title=title, reference=reference)
    print(f"report: {page}")
    return 0


@app.command()
def estimate(
    project: ProjectPath,
    tool: Annotated[str | None, typer.Option(help='Such as "vitis_hls 2023.2" or "vivado_hls 2020.1".')] = None,
    fifos: Annotated[bool, typer.Option(help="Simulate streams token by token: stalls and FIFO depths.")] = True,
    reports: Annotated[Path | None, typer.Option(help="Folder with a vendor's reports to put beside it.")] = None,
    against: Annotated[
        Path | None, typer.Option(help="Another project: what this one's weights save against it.")
    ] = None,
    collect: Annotated[Path | None, typer.Option(help="Folder that --reports are added to, for a refit.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="Coefficients of your own.")] = None,
    devices: Annotated[Path | None, typer.Option(help="TOML file with further parts.")] = None,
    as_json_: AsJson = False,
) -> int:
    """Estimate cycles, II, FIFO depths, area and energy, each with an interval; no vendor tool."""
    from toolkit.config import EstimateConfig
    from toolkit.estimation import estimate as estimated
    from toolkit.hls import open_project

    opened = open_project(project)
    config = EstimateConfig(tool=tool, fifo_simulation=fifos, calibration=calibration, devices=devices)
    found = estimated(opened, config)
    if collect:
        say(f"{collected(opened, reports, collect, tool)} layers added to {collect}")
    beside = reported_beside(found, reports, opened) if reports else ()
    compared = {"compression": compression_against(opened, against)} if against else {}
    if as_json_:
        more = {**({"reported": beside} if reports else {}), **compared}
        print_json({"estimate": found, **more} if more else found)
        return 0
    show_estimate(found)
    for compression in compared.values():
        show_compression(compression)
    if beside:
        columns = ("of", "figure", "model", "reported", "source", "error", "inside")
        show_table("estimate beside reports", columns, map(beside_row, beside))
    return 0


def compression_against(project: HlsProject, other: Path) -> Compression:
    """Weights, CSD digits and resources of a project beside another's."""
    from toolkit.hls import open_project
    from toolkit.sweep import compression_figures

    return compression_figures(project, reference=open_project(other))


def show_compression(found: Compression) -> None:
    """What each layer's kernel holds, and what the design saves."""
    columns = ("layer", "weights", "nonzero", "channels", "live channels", "CSD digits")
    show_table("weights (counted)", columns, [tuple(vars(layer).values()) for layer in found.layers])
    rows = [
        (name, f"{found.figures[name].value:.6g}", f"{other.value:.6g}", f"{found.saved[name].value:.1%}", other.source)
        for name, other in found.reference.items()
    ]
    show_table("against the other project", ("figure", "this", "other", "saved", "source"), rows)


def beside_row(item: Beside) -> tuple[str, ...]:
    """One quantity: estimated, reported, how far apart, whether inside the interval."""
    error = "-" if item.error is None else f"{item.error:+.1%}"
    values = (f"{item.estimated.value:.6g}", f"{item.reported.value:.6g}")
    return (item.layer or "design", item.quantity, *values, item.reported.source, error, "yes" if item.inside else "no")


def reported_beside(found: Estimate, reports: Path, project: HlsProject) -> tuple[Beside, ...]:
    """Every figure that both the estimate and a vendor's reports have."""
    from toolkit.estimation import put_beside
    from toolkit.hls.reports import read_reports

    return put_beside(found, read_reports(reports), project.graph)


def collected(project: HlsProject, reports: Path | None, folder: Path, tool: str | None) -> int:
    """Add a project's csynth report to a calibration folder; the number of layers."""
    from toolkit.estimation import add_reports
    from toolkit.hls.reports import read_reports

    csynth = read_reports(reports).csynth if reports else None
    if csynth is None:
        raise ConfigError("--collect adds a csynth report; name its folder with --reports")
    return add_reports(project, csynth, folder, tool=tool)


FIGURES = ("latency_cycles", "initiation_interval_cycles", "latency_us", "throughput_hz")
RESOURCES = ("dsp", "lut", "ff", "bram_18k", "uram")


def show_estimate(found: Estimate) -> None:
    """The design's figures, its layers, its FIFOs, and what a reader must know."""
    show_figures("design", {name: getattr(found, name) for name in (*FIGURES, *RESOURCES, "energy_uj")})
    columns = ("latency_cycles", "initiation_interval_cycles", *RESOURCES)
    rows = [
        (layer.name, layer.kind, *(f"{getattr(layer, name).value:.6g}" for name in columns)) for layer in found.layers
    ]
    show_table("layers (model)", ("layer", "kind", "latency", "II", *RESOURCES), rows)
    if found.fifos:
        depths = [(fifo.name, fifo.default_depth, fifo.needed_depth) for fifo in found.fifos]
        show_table("FIFOs (model)", ("stream", "default depth", "needed depth"), depths)
    show_figures("of the part", dict(found.utilization))
    show_figures("further figures", dict(found.figures))
    for note in found.notes:
        print(note)
    print("fits the part" if found.fits else "does not fit the part")


@app.command()
def diff(
    before: Annotated[Path, typer.Argument(help="A project (any hls4ml folder) or a run's folder.")],
    after: Annotated[Path, typer.Argument(help="Another of the same kind.")],
    by_csim: Annotated[bool, typer.Option("--csim", help="Compare bits with g++ instead of the emulator.")] = False,
    as_json_: AsJson = False,
) -> int:
    """Say which layers' types, weights, bits, cycles and resources changed; exit code 1 if any did."""
    from toolkit.comparison import diff as changes

    found = changes(before, after, csim=by_csim)
    if as_json_:
        print_json(found)
    else:
        print(found)
    return 0 if found.equal else 1


@app.command()
def synth(
    project: ProjectPath,
    step: Annotated[list[str] | None, typer.Option(help="csim, csynth, cosim, export or vsynth; repeat.")] = None,
    timeout_hours: Annotated[float, typer.Option(min=0.01, help="Time limit per step, in hours.")] = 6.0,
    folder: Annotated[Path | None, typer.Option(help="Where the tool works; default in the artifact store.")] = None,
    as_json_: AsJson = False,
) -> int:
    """Run Vitis or Vivado HLS on a project; a step that has ended is not run again."""
    from toolkit.hls import open_project
    from toolkit.hls.vendor import synthesize

    record = synthesize(
        open_project(project),
        steps=step or ("csynth",),
        timeout_s=timeout_hours * 3600,
        folder=folder,
        progress=lambda name: say(f"running {name}"),
    )
    if as_json_:
        print_json(record)
    else:
        rows = [(name, f"{seconds:.0f} s") for name, seconds in record.seconds.items()]
        show_table(f"{record.tool} in {record.folder}", ("step", "took"), rows)
    return 0


@app.command()
def check(
    project: ProjectPath,
    model: Annotated[Path | None, typer.Option(help="The QKeras model: a .keras file, .h5 or trained folder.")] = None,
    dataset: DataName = None,
    data_dir: DataDir = None,
    count: Annotated[int, typer.Option(min=1, help="Test images to compare on.")] = 100,
    inputs: Annotated[Path | None, typer.Option(help="Float inputs [n, ...] in a .npy file.")] = None,
    emulated: Annotated[bool, typer.Option("--emulate", help="Leave csim out; no compiler needed.")] = False,
    as_json_: AsJson = False,
) -> int:
    """Findings before synthesis and, with images, layer ranges and the bits: QKeras, emulator and csim.

    Without images the project's own test vectors are compared. Exit code 1 for an error among the
    findings or for bits that differ.
    """
    from toolkit.emulation import emulate, prove
    from toolkit.estimation import estimate as estimated
    from toolkit.hls import build_csim, check_vectors, lint, open_project
    from toolkit.hls import check as compared

    opened = open_project(project)
    x, _ = read_inputs(inputs, dataset, data_dir, count)
    emulator = emulate(opened)
    library = emulator if emulated else build_csim(opened)
    profile = emulator.profile(x) if x is not None else ()
    ranges = {opened.graph.inputs[0]: (float(x.min()), float(x.max()))} if x is not None else None
    findings = lint(opened, ranges=ranges, profile=profile or None, estimate=estimated(opened))
    checks: list[CheckResult] = []
    if x is None:
        checks += check_vectors(opened, library, "emulation" if emulated else "csim")
    else:
        checks += [] if emulated else [prove(emulator, library, x)]
        checks += [compared(opened, open_model(str(model)), x, library=library)] if model else []
    failed = any(finding.severity == "error" for finding in findings) or any(result.failed for result in checks)
    if as_json_:
        print_json({"findings": findings, "checks": checks, "profile": profile, "passed": not failed})
    else:
        show_findings(findings)
        show_profile(profile)
        show_checks(checks, as_json_=False)
    return 1 if failed else 0


def show_profile(profile: Sequence[LayerProfile]) -> None:
    """What each layer's output did against what its type holds."""
    rows = [
        (
            layer.layer,
            layer.precision,
            f"{layer.minimum:.4g} .. {layer.maximum:.4g}",
            f"{layer.type_minimum:.4g} .. {layer.type_maximum:.4g}",
            layer.overflows,
        )
        for layer in profile
    ]
    if rows:
        show_table("ranges", ("layer", "type", "used", "holds", "saturated or wrapped"), rows)


@app.command()
def sweep(
    what: Annotated[str, typer.Argument(help="A sweep file (TOML), or show, export, report or best.")],
    subject: Annotated[str | None, typer.Argument(help="With show, export, report: a sweep's file or name.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="File of export (.csv, .parquet, .json); folder of report or best's design file."),
    ] = None,
    storage: Annotated[str | None, typer.Option(help="Optuna storage: a URL, or an SQLite or journal file.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Dask scheduler, tcp://..., or its scheduler file.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Local worker processes; default one per core.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed points again.")] = False,
    proof: Annotated[bool, typer.Option(help="Prove a sample and the front with csim.")] = True,
    part: Annotated[str | None, typer.Option(help="best: on this part only.")] = None,
    min_accuracy: Annotated[float | None, typer.Option(help="best: at least this accuracy, 0 to 1.")] = None,
    max_latency_us: Annotated[float | None, typer.Option(help="best: at most this latency in us.")] = None,
    objective: Annotated[str, typer.Option(help="best: the figure to be best in.")] = "latency_us",
    as_json_: AsJson = False,
) -> int:
    """Run a sweep to its end (the same command continues it), or look at what its book holds."""
    from toolkit import sweep as sweeps
    from toolkit.errors import nearest

    match what:
        case "show":
            show_sweep(sweeps.load_sweep(subject, storage), as_json_)
        case "export":
            print(sweeps.export(sweeps.load_sweep(subject, storage), out or Path("sweep.csv")))
        case "report":
            print(f"report: {sweeps.write_sweep_report(sweeps.load_sweep(subject, storage), out or Path('report'))}")
        case "best":
            answers = sweeps.best(
                part=part,
                min_accuracy=min_accuracy,
                max_latency_us=max_latency_us,
                objective=objective,
                name=subject,
                storage=storage,
            )
            show_best(answers, out, as_json_)
        case _ if what.endswith(".toml"):
            found = sweeps.sweep(
                Path(what),
                scheduler=scheduler,
                workers=workers,
                storage=storage,
                retry_failed=retry_failed,
                proof=proof,
            )
            show_sweep(found, as_json_)
            return 0 if all((point.proof or {}).get("equal", True) for point in found.points) else 1
        case _:
            actions = ["show", "export", "report", "best"]
            raise ConfigError(f'sweep: "{what}" is not a .toml file{nearest(what, actions)}; or {", ".join(actions)}')
    return 0


MOST_POINTS = 40  # in a terminal; of a larger sweep the front alone


def show_sweep(result: SweepResult, as_json_: bool) -> None:
    """The points of a sweep, or its Pareto front where they are many, with their main figures and marks."""
    from toolkit.sweep import points_text

    if as_json_:
        print(result.to_frame().to_json(orient="records", indent=2))
        return
    whole = len(result.points) <= MOST_POINTS
    shown = result.points if whole else result.pareto or result.points[:MOST_POINTS]
    counts = f"{len(result.points):,} points, {len(result.pareto)} on the front, {len(result.failed)} failed"
    print(f"sweep {result.name}: {counts}\n{points_text(result, shown)}")
    if not whole:
        which = (
            f"the front under {', '.join(result.constraints)}" if result.pareto else "no point holds all constraints"
        )
        print(f"{which}; all points: toolkit sweep export {result.study} --out points.csv")


def show_best(answers: Sequence[Best], out: Path | None, as_json_: bool) -> None:
    """The best point of each test set, with what varied and its figures; its design file into a folder if asked."""
    from toolkit.sweep import write_designs

    found = [
        {"sweep": answer.sweep.name, "number": answer.record.number, **answer.record.to_json()} for answer in answers
    ]
    paths = [path for answer in answers if out for path in write_designs(answer.sweep, out, [answer.record])]
    if as_json_:
        print_json(found)
        return
    for answer in answers:
        varied = ", ".join(f"{name} {value}" for name, value in answer.record.point.params.items())
        figures = {**answer.record.figures, **answer.record.simulated}
        show_figures(f"{answer.sweep.name}, point {answer.record.number}: {varied}", dict(figures))
    for path in paths:
        print(f"design: {path}; toolkit run {path}")


BENCHES = ("emulator", "estimator", "gpu", "qat", "sweep")


@app.command()
def bench(
    what: Annotated[str, typer.Argument(help="emulator, estimator, gpu, qat or sweep.")],
    data: Annotated[Path | None, typer.Option(help="estimator: folder of synthesis results, with layers.csv.")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="estimator: judge these coefficients; with --save, start from them.")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="estimator: refit on all of --data and write it here.")] = None,
    rule4ml: Annotated[bool, typer.Option("--rule4ml", help="estimator: rule4ml beside, where installed.")] = False,
    as_json_: AsJson = False,
) -> int:
    """Side by side in one run: speed against csim and ONNX Runtime; the estimator against synthesis; the GPU model
    against published figures."""
    from toolkit.errors import choose

    if choose("bench", what, BENCHES) == "estimator":
        found: Any = validated(data, calibration, save, rule4ml)
    elif what == "gpu":
        start_tensorflow()
        from toolkit.baselines import validate_gpu_model

        found = validate_gpu_model()
    else:
        start_tensorflow()
        found = bench_speed(what)
    if as_json_:
        print_json(found)
    elif what == "estimator":
        print(found.to_text(), end="")
    elif what == "gpu":
        print(*found, sep="\n")
    elif what == "emulator":
        show_emulator_bench(found)
    else:
        figures = {name: figure for name, figure in vars(found).items() if hasattr(figure, "unit")}
        show_figures(what, figures)
    return 0


def bench_speed(what: str) -> EmulatorBench | QatBench | SweepBench:
    """The benchmark of that name."""
    if what == "qat":
        from toolkit.training.bench import bench_qat

        return bench_qat()
    if what == "sweep":
        from toolkit.sweep.bench import bench_sweep

        return bench_sweep(say=say)
    from toolkit.emulation.bench import bench_emulator

    return bench_emulator()


def show_emulator_bench(found: EmulatorBench) -> None:
    """Images per second side by side, seconds to the first prediction, memory, the machine's peak."""
    rows = [
        (
            row.model,
            row.bits,
            row.engine,
            row.cores,
            f"{row.throughput_hz.value:,.1f}",
            f"{row.emulator_times_faster:,.1f}",
            f"{row.peak_percent:.1f}",
        )
        for row in found.rows
    ]
    columns = ("model", "bits", "engine", "cores", "images/s", "ratio", "% of peak")
    show_table("emulator, side by side (measured); ratio: how many times faster it is", columns, rows)
    first = {f"first prediction, {name}": figure for name, figure in found.first_prediction_s.items()}
    memory = {"memory above 10,000 images": found.memory_mib, "float32 matrix product, peak": found.peak_gflops}
    show_figures("emulator", {**first, **found.build_s, **memory})
    print(", ".join(f"{name} {text}" for name, text in found.environment.items()))


def validated(data: Path | None, calibration: Path | None, save: Path | None, rule4ml: bool) -> Validation:
    """The estimator against synthesis results; refits and saves coefficients when asked."""
    from toolkit.estimation import calibrate, load_calibration, save_calibration, validate

    if data is None:
        raise ConfigError("bench estimator needs synthesis results: --data DIR with layers.csv and designs.csv")
    chosen = load_calibration(calibration) if calibration else None
    if save:
        save_calibration(calibrate(data, base=chosen), save)
    return validate(data, chosen, rule4ml=rule4ml)
