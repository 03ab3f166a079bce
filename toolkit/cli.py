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

if TYPE_CHECKING:
    import keras
    from rich.console import Console

    from toolkit.comparison import Comparison
    from toolkit.comparison.columns import Column
    from toolkit.pipeline import RunResult
    from toolkit.records import Array, Dataset, Figure, HlsProject

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
        return fail("interrupted; what was finished is kept, the same command continues", 130)
    except ToolkitError as error:
        return fail(f"{type(error).__name__}: {error}", error.exit_code)
    except MemoryError:
        return fail("not enough memory; use fewer images (--count) or a smaller batch", 2)
    except OSError as error:
        return fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 2)
    return outcome if isinstance(outcome, int) else 0


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
TERMINAL_COLUMNS = ("accuracy", "agreement", "latency_us", "throughput_hz", "dsp", "lut", "bram_18k")


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
    from toolkit.pipeline import demo_design, run_design

    return show_run(run_design(demo_design(), out, say=say))


@app.command()
def run(
    design: Annotated[Path, typer.Argument(help="A design file (TOML).")],
    out: Annotated[Path | None, typer.Option(help="Folder for everything it makes; default runs/<name>.")] = None,
    data_dir: DataDir = None,
) -> int:
    """Do everything a design file asks for and write a report."""
    from toolkit.config import load_design
    from toolkit.pipeline import run_design

    wanted = load_design(design)
    if data_dir:
        wanted = wanted.change(dataset=wanted.dataset.change(data_dir=data_dir))
    return show_run(run_design(wanted, out or Path("runs") / wanted.name, say=say))


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
    jit: Annotated[bool, typer.Option("--jit", help="Compile the step with XLA.")] = False,
    as_json_: AsJson = False,
) -> int:
    """Train a float model, or quantize one and train it aware of the quantization."""
    from toolkit.config import QuantConfig, TrainConfig
    from toolkit.data import load_dataset
    from toolkit.training import quantize, save_record
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
        checkpoint=folder.with_name(f".{folder.name}.checkpoint"),
    )
    record = save_record(fit(start, images, config, name=folder.name), folder)
    if as_json_:
        print_json(record)
    else:
        show_figures(f"{record.name} on {images.name}", {"accuracy": record.accuracy, "seconds": record.seconds})
        print(f"model: {record.path}")
    return 0


def open_model(model: str, dataset: Dataset | None = None) -> keras.Model:
    """A live Keras model from a zoo name, a file, or a folder that ``train`` wrote."""
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
    from toolkit.config import DesignConfig, QuantConfig, load_design
    from toolkit.data import load_dataset
    from toolkit.hls import write_project
    from toolkit.training import quantize

    wanted = load_design(design).designs[0] if design else DesignConfig()
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
    """Compile a project's C++ and run it on images."""
    from toolkit.emulation import emulate
    from toolkit.hls import build_csim, load_project

    written = load_project(project)
    library = emulate(written) if emulated else build_csim(written)
    x, labels = read_inputs(inputs, dataset, data_dir, count)
    if x is None:
        raise ConfigError("csim needs images: --dataset NAME or --inputs FILE.npy")
    outputs = library.predict(x)
    result: dict[str, Any] = {"project": written.path, "digest": written.digest, "images": len(x)}
    if labels is not None:
        result["accuracy"] = float((outputs.argmax(axis=1) == labels).mean())
    if out:
        write_array(out, outputs)
        result["outputs"] = out
    if as_json_:
        print_json(result)
    else:
        show_table("csim", ("what", "value"), result.items())
    return 0


def read_inputs(
    inputs: Path | None, dataset: str | None, data_dir: Path | None, count: int | None
) -> tuple[Array | None, Array | None]:
    """Images from a ``.npy`` file, or images and labels of a dataset's test split."""
    import numpy as np

    from toolkit.data import load_dataset
    from toolkit.errors import DataError

    if inputs:
        try:
            return np.load(inputs, allow_pickle=False)[:count], None
        except (OSError, ValueError) as error:
            raise DataError(f"--inputs must be a .npy file of numbers: {inputs}: {error}") from None
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
    engine: Annotated[str, typer.Option(help="keras, onnxruntime, litert or gpu_model.")] = "keras",
    precision: Annotated[
        str | None, typer.Option(help="float32, float16, bfloat16, int8; as the engine allows.")
    ] = None,
    provider: Annotated[str | None, typer.Option(help="cpu, cuda, tensorrt, or a GPU's name for gpu_model.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Batch size; may be repeated.")] = None,
    repeats: Annotated[int, typer.Option(min=3, help="Timed runs per batch size.")] = 30,
    out: Annotated[Path | None, typer.Option(help="Also write the record to this JSON file.")] = None,
    as_json_: AsJson = False,
) -> int:
    """Measure accuracy, latency and throughput of a float or integer engine."""
    from toolkit.baselines import measure_baseline
    from toolkit.comparison import compare, write_records
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
    )
    if out:
        write_records(compare([record]), out)
    if as_json_:
        print_json(record)
    else:
        known = {"accuracy": record.accuracy, "latency": record.latency_us, "throughput": record.throughput_hz}
        show_figures(record.name, {**known, **record.figures})
        for note in record.notes:
            print(note)
    return 0
