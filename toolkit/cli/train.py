"""`toolkit train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.app import AsJson, DataDir, DataName, app
from toolkit.cli.inputs import check_source, open_model
from toolkit.cli.output import print_json, show_figures, tell
from toolkit.quiet import start_tensorflow


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
    from toolkit.store import digest, store_root

    folder = out or Path("models") / (Path(model).stem + (f"_{bits}bit" if bits else ""))
    config = TrainConfig(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        jit_compile=jit,
        temperature=temperature,
        distillation_weight=distillation_weight,
        prune=None
        if prune is None
        else PruneConfig(sparsity=prune, scope=prune_scope, structure=prune_structure, end_epoch=prune_epochs - 1),
        checkpoint=store_root() / "checkpoints" / digest(str(folder.resolve())),
    )
    quantization = None if bits is None else QuantConfig(weight_bits=bits, activation_bits=bits)
    check_source(model)
    if teacher is not None:
        check_source(teacher)
    images = load_dataset(dataset or "mnist5k", data_dir=data_dir)
    start_tensorflow()  # only now: what needs no TensorFlow has been said
    from toolkit.training import nonzero_weights, quantize
    from toolkit.training import train as fit

    start = open_model(model, images)
    if quantization is not None:
        start = quantize(start, quantization, images)
    if teacher is not None:
        config = config.change(teacher=open_model(str(teacher), images))
    record = fit(start, images, config, name=folder.name, folder=folder)
    if as_json_:
        print_json(record)
    else:
        figures = {**record.figures, "seconds": record.seconds}
        pruned = {} if prune is None else {"nonzero weights": nonzero_weights(record.model)}
        show_figures(f"{record.name} on {images.name}", {**figures, **pruned})
        tell(f"model: {record.path}")
    return 0
