"""`toolkit baseline`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.app import AsJson, DataDir, DataName, app
from toolkit.cli.inputs import check_source, open_model
from toolkit.cli.output import print_json, show_figures, tell

if TYPE_CHECKING:
    pass


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
    from toolkit.baselines.engines import check_request
    from toolkit.comparison import compare, write_report
    from toolkit.data import load_dataset

    check_request(engine, precision, provider)
    check_source(model)
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
        known = {record.metric.name: record.merit, "latency": record.latency_us, "throughput": record.throughput_hz}
        show_figures(record.name, {**known, **record.figures})
        for note in record.notes:
            tell(note)
    return 0
