"""`toolkit estimate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.app import AsJson, ProjectPath, app
from toolkit.cli.output import print_json, say, show_figures, show_table, tell
from toolkit.errors import ConfigError

if TYPE_CHECKING:
    from toolkit.estimation.beside import Beside
    from toolkit.exploration import Compression
    from toolkit.records import Estimate, HlsProject


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
    """Estimate cycles, II, FIFO depths, area and energy, each with an interval; no vendor tool.

    Exit code 1 if the design has layers that no model covers: they are named, and every total is a bound.
    """
    from toolkit.config import EstimateConfig
    from toolkit.estimation import estimate as estimated
    from toolkit.hls import open_project

    opened = open_project(project)
    config = EstimateConfig(tool=tool, fifo_simulation=fifos, calibration=calibration, devices=devices)
    found = estimated(opened, config)
    if collect:
        say(f"{collected(opened, reports, collect, tool)} layers added to {collect}")
    beside = reported_beside(found, reports, opened) if reports else ()
    compression = compression_against(opened, against) if against else None
    if as_json_:
        from toolkit.cli.answers import Estimated

        print_json(Estimated(**vars(found), reported=beside, compression=compression))
        return int(bool(found.unpriced))
    show_estimate(found)
    if compression is not None:
        show_compression(compression)
    if beside:
        columns = ("of", "figure", "model", "reported", "source", "error", "inside")
        show_table("estimate beside reports", columns, map(beside_row, beside))
    return int(bool(found.unpriced))


def compression_against(project: HlsProject, other: Path) -> Compression:
    """Weights, CSD digits and resources of a project beside another's."""
    from toolkit.exploration import compression_figures
    from toolkit.hls import open_project

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
    """Every figure that both the estimate and a vendor's reports have; those of another design are refused."""
    from toolkit.estimation import check_reports, put_beside
    from toolkit.hls.reports import read_reports

    theirs = read_reports(reports)
    check_reports(theirs, project)
    return put_beside(found, theirs, project.graph)


def collected(project: HlsProject, reports: Path | None, folder: Path, tool: str | None) -> int:
    """Add a project's csynth report to a calibration folder; the number of layers."""
    from toolkit.estimation import add_reports, check_reports
    from toolkit.hls.reports import read_reports

    theirs = read_reports(reports) if reports else None
    csynth = theirs.csynth if theirs else None
    if theirs is None or csynth is None:
        raise ConfigError("--collect adds a csynth report; name its folder with --reports")
    check_reports(theirs, project)
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
    rows += [(name, "no model", *("?" for _ in columns)) for name in found.unpriced]
    rest = [f"{found.between[name].value:.6g}" if name in found.between else "" for name in columns]
    rows += [(found.between_name, "", *rest)] if found.between else []
    rows += [("design", "", *(f"{getattr(found, name).value:.6g}" for name in columns))]
    show_table("layers (model)", ("layer", "kind", "latency", "II", *RESOURCES), rows)
    if found.fifos:
        depths = [(fifo.name, fifo.default_depth, fifo.needed_depth) for fifo in found.fifos]
        show_table("FIFOs (model)", ("stream", "default depth", "needed depth"), depths)
    show_figures("of the part", dict(found.utilization))
    show_figures("further figures", dict(found.figures))
    for note in found.notes:
        tell(note)
    verdict = {True: "fits the part", False: "does not fit the part", None: "whether it fits is unknown"}[found.fits]
    chance = found.fit_probability
    tell(f"{verdict} (probability {chance.value:.0%}, {chance.note})" if chance else verdict)
