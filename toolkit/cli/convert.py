"""`toolkit convert`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from toolkit.cli.app import AsJson, DataDir, DataName, app
from toolkit.cli.inputs import check_source, open_model, open_torch
from toolkit.cli.output import print_json, say, tell
from toolkit.errors import ConfigError
from toolkit.quiet import start_tensorflow

if TYPE_CHECKING:
    from toolkit.cli.answers import Project
    from toolkit.config import DatasetConfig, DesignConfig
    from toolkit.data import Dataset
    from toolkit.records import HlsProject


@app.command()
def convert(
    model: Annotated[
        str,
        typer.Argument(
            help="A .keras, .h5, .onnx or .pt2 (torch.export) file, a trained folder, or a PyTorch state_dict (.pt)."
        ),
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
    from toolkit.hls.limits import check_config
    from toolkit.hls.project import check_target

    wanted, calibration = first_design(design) if design else (DesignConfig(quantization=None), None)
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
    quantization = QuantConfig(weight_bits=bits, activation_bits=bits) if bits is not None else wanted.quantization
    named = dataset or calibration
    if bits is not None and named is None:
        raise ConfigError("quantization needs calibration images; name them with --dataset")
    check_config(config)
    check_target(out)
    check_source(model)
    images = load_dataset(named, data_dir=data_dir) if named else None
    start_tensorflow()  # only now: what needs no TensorFlow has been said
    from toolkit.training import quantize
    from toolkit.zoo import is_quantized

    live = source(model, images)
    if isinstance(live, Path) and (quantization is not None or design):
        raise ConfigError(f"{model} is converted as it is: leave out --bits and --design, and give --precision")
    if design and bits is None and is_quantized(live):
        say(f"{model} is quantized already: [quantization] and [qat] of {design} are left out")
    elif quantization is not None:
        if images is None:
            raise ConfigError("quantization needs calibration images; name them with --dataset")
        if wanted.qat is not None and wanted.qat.epochs:
            raise ConfigError(
                f"convert does not train, and {design} has [qat]: convert the trained model, or toolkit run"
            )
        live = quantize(live, quantization, images)
    project = write_project(live, config, out, inputs=images.inputs("test", config.test_vectors) if images else None)
    if as_json_:
        print_json(project_summary(project))
    else:
        for note in project.notes:
            tell(note)
        tell(f"project: {project.path} (digest {project.digest}, {len(project.layers)} layers)")
    return 0


def source(model: str, images: Dataset | None) -> Any:
    """What ``write_project`` takes: a live Keras model, or the path of an ONNX model."""
    path = Path(model)
    if path.suffix.lower() == ".onnx":
        return path
    return open_torch(path) if path.suffix in (".pt", ".pth") else open_model(model, images)


def first_design(path: Path) -> tuple[DesignConfig, DatasetConfig | None]:
    """The first design of a design file and the dataset it names, if any; raises ``ConfigError`` without a design."""
    from toolkit.config import load_design

    file = load_design(path)
    if not file.designs:
        raise ConfigError(f"convert needs a design; {path} has none")
    if len(file.designs) > 1:
        say(f"of the {len(file.designs)} designs of {path} the first is converted: {file.designs[0].label}")
    return file.designs[0], file.dataset if "dataset" in file.model_fields_set else None


def project_summary(project: HlsProject) -> Project:
    """A project in JSON: path, digest, configuration, notes, layers without their weights."""
    from toolkit.cli.answers import Project, ProjectLayer
    from toolkit.records import as_json

    layers = tuple(ProjectLayer(layer.name, layer.kind, layer.shape) for layer in project.layers)
    return Project(project.path, project.digest, as_json(project.config), project.notes, layers)
