"""`toolkit sweep`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.app import AsJson, app
from toolkit.cli.output import print_json, say, show_figures, show_findings, tell
from toolkit.errors import ConfigError

if TYPE_CHECKING:
    from toolkit.exploration import Best, SweepResult


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
    proof_minutes: Annotated[float | None, typer.Option(min=0, help="At most so many minutes of csim.")] = None,
    part: Annotated[str | None, typer.Option(help="best: on this part only.")] = None,
    min_accuracy: Annotated[float | None, typer.Option(help="best: at least this accuracy, 0 to 1.")] = None,
    min_metric: Annotated[float | None, typer.Option(help="best: at least so good, in the task's own figure.")] = None,
    max_loss: Annotated[float | None, typer.Option(help="best: at most so much worse than float.")] = None,
    max_latency_us: Annotated[float | None, typer.Option(help="best: at most this latency in us.")] = None,
    objective: Annotated[str, typer.Option(help="best: the figure to be best in.")] = "latency_us",
    plan: Annotated[bool, typer.Option("--plan", help="Check everything, say what will be done, and stop.")] = False,
    as_json_: AsJson = False,
) -> int:
    """Run a sweep to its end (the same command continues it), or look at what its book holds."""
    from toolkit import exploration
    from toolkit.errors import nearest

    match what:
        case "show":
            show_sweep(exploration.load_sweep(subject, storage), as_json_)
        case "export":
            tell(exploration.export(exploration.load_sweep(subject, storage), out or Path("sweep.csv")))
        case "report":
            found = exploration.load_sweep(subject, storage)
            tell(f"report: {exploration.write_sweep_report(found, out or Path('report'), say=say)}")
        case "best":
            answers = exploration.best(
                part=part,
                min_accuracy=min_accuracy,
                min_metric=min_metric,
                max_loss=max_loss,
                max_latency_us=max_latency_us,
                objective=objective,
                name=subject,
                storage=storage,
            )
            show_best(answers, out, as_json_)
        case _ if what.endswith(".toml") and plan:
            planned = exploration.plan_sweep(exploration.read_sweep(Path(what)), workers)
            print_json(planned, "plan") if as_json_ else tell(planned)
        case _ if what.endswith(".toml"):
            found = exploration.sweep(
                Path(what),
                scheduler=scheduler,
                workers=workers,
                storage=storage,
                retry_failed=retry_failed,
                proof=proof,
                proof_minutes=proof_minutes,
            )
            show_sweep(found, as_json_)
            proved = all((point.proof or {}).get("equal", True) for point in found.points)
            return 0 if proved and not found.left and not found.is_lost else 1
        case _:
            actions = ["show", "export", "report", "best"]
            raise ConfigError(f'sweep: "{what}" is not a .toml file{nearest(what, actions)}; or {", ".join(actions)}')
    return 0


MOST_POINTS = 40  # in a terminal; of a larger sweep the front alone


def show_sweep(result: SweepResult, as_json_: bool) -> None:
    """The points of a sweep, or its Pareto front where they are many, with their main figures and marks."""
    from toolkit.exploration import points_text

    if as_json_:
        from toolkit.cli.answers import Points

        points = json.loads(result.to_frame().to_json(orient="records"))  # as its export has them
        print_json(Points(result.name, result.study, result.objectives, result.constraints, points))
        return
    whole = len(result.points) <= MOST_POINTS
    shown = result.points if whole else result.pareto or result.points[:MOST_POINTS]
    counts = f"{len(result.points):,} points, {len(result.pareto)} on the front, {len(result.failed)} failed"
    tell(f"sweep {result.name}: {counts}\n{points_text(result, shown)}")
    for finding, numbers in result.findings.items():
        show_findings([finding], f"point{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}")
    if not whole:
        which = (
            f"the front under {', '.join(result.constraints)}" if result.pareto else "no point holds all constraints"
        )
        tell(f"{which}; all points: toolkit sweep export {result.study} --out points.csv")


def show_best(answers: Sequence[Best], out: Path | None, as_json_: bool) -> None:
    """The best point of each test set, with what varied and its figures; its design file into a folder if asked."""
    from toolkit.exploration import write_designs

    found = [
        {"sweep": answer.sweep.name, "number": answer.record.number, **answer.record.to_json()} for answer in answers
    ]
    paths = [path for answer in answers if out for path in write_designs(answer.sweep, out, [answer.record])]
    if as_json_:
        print_json({"best": found}, "sweep best")
        return
    for answer in answers:
        varied = ", ".join(f"{name} {value}" for name, value in answer.record.point.params.items())
        figures = {**answer.record.figures, **answer.record.simulated}
        show_figures(f"{answer.sweep.name}, point {answer.record.number}: {varied}", dict(figures))
    for path in paths:
        tell(f"design: {path}; toolkit run {path}")
