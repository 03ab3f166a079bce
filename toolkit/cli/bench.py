"""`toolkit bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from toolkit.cli.app import AsJson, app
from toolkit.cli.output import print_json, say, show_figures, show_table
from toolkit.errors import ConfigError
from toolkit.quiet import start_tensorflow

if TYPE_CHECKING:
    from toolkit.emulation.bench import EmulatorBench
    from toolkit.estimation.validation import Validation
    from toolkit.exploration.bench import SweepBench
    from toolkit.training.bench import QatBench

BENCHES = ("emulator", "estimator", "gpu", "qat", "sweep")


@app.command()
def bench(
    what: Annotated[str, typer.Argument(help="emulator, estimator, gpu, qat or sweep.")],
    data: Annotated[
        list[Path] | None, typer.Option(help="estimator: folder of synthesis results, with layers.csv; repeat.")
    ] = None,
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
        print_json({"deviations": found} if what == "gpu" else found, f"bench {what}")
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
        from toolkit.exploration.bench import bench_sweep

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


def validated(data: list[Path] | None, calibration: Path | None, save: Path | None, rule4ml: bool) -> Validation:
    """The estimator against synthesis results; refits and saves coefficients when asked."""
    from toolkit.estimation import calibrate, load_calibration, save_calibration, validate

    if not data:
        raise ConfigError("bench estimator needs synthesis results: --data DIR with layers.csv and designs.csv")
    chosen = load_calibration(calibration) if calibration else None
    if save:
        save_calibration(calibrate(data, base=chosen), save)
    return validate(data, chosen, rule4ml=rule4ml)
