"""csim as proof of a point: its own project, written and compiled, against what the sweep recorded."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.config import HlsConfig
from toolkit.errors import StoreError
from toolkit.exploration.jobs import OUTSIDE, TURN, reason_outside
from toolkit.exploration.points import PointRecord
from toolkit.exploration.space import Point
from toolkit.process import cores
from toolkit.records import Array, Figure, as_json
from toolkit.store import artifact, digest, package_versions

if TYPE_CHECKING:
    import keras

    from toolkit.data import Dataset
    from toolkit.hls.csim import CsimLibrary
    from toolkit.records import Estimate, Finding, HlsProject

COMPARED = ("latency_cycles", "initiation_interval_cycles", "lut", "ff", "dsp", "bram_18k")


def prove_job(
    prove: Callable[[Point, Mapping[str, Any], int], Mapping[str, Any]],
    point: Mapping[str, Any],
    record: Mapping[str, Any],
    images: int,
    store: str,
) -> list[dict[str, Any]]:
    """One proof in a worker; a proof that cannot be made says why."""
    with TURN:
        os.environ["TOOLKIT_STORE"] = store
        try:
            return [dict(prove(Point.from_json(point), record, images))]
        except StoreError:
            raise
        except (Exception, SystemExit) as error:  # a compiler or library that fails is what the proof says
            if reason := reason_outside(error):
                return [{OUTSIDE: reason}]
            return [{"equal": None, "error": f"{type(error).__name__}: {error}"[:4000]}]


def prove_point(point: Point, record: Mapping[str, Any], images: int) -> Mapping[str, Any]:
    """Write the point's project, compile it, and compare every output with what the sweep emulated.

    The emulator runs the graph that the sweep shared between strategies and reuse factors, csim the
    project with the point's own: equal outputs prove the sharing too. The project's own estimate is
    compared with the recorded one; ``simulated`` are latency and interval with its FIFOs simulated,
    ``findings`` what lint says of the project, and where csim's bits differ from QKeras', layer and reason.
    """
    from toolkit.emulation import emulate
    from toolkit.exploration.evaluate import converted, dataset_of
    from toolkit.hls import build_csim

    dataset = dataset_of(point.file.dataset.model_dump_json(), point.file.task.model_dump_json())
    graph, _ = converted(point, dataset, ())
    project = project_of(point, PointRecord.from_json(record), dataset)
    inputs = dataset.inputs(point.split, images)
    library = build_csim(project, jobs=cores())
    agreement = compared(emulate(graph).predict(inputs), library.predict(inputs))
    found = estimates(project, record)
    found["findings"] += [as_json(item) for item in against_qkeras(point, project, dataset, inputs, library)]
    return {**agreement, **found, "images": len(inputs), "project": project.digest}


def against_qkeras(
    point: Point, project: HlsProject, dataset: Dataset, inputs: Array, library: CsimLibrary
) -> tuple[Finding, ...]:
    """Why the design's bits are not its model's, where they differ; a float model has none to compare."""
    from toolkit.hls import check

    result = check(project, model_of(point, dataset), inputs, library=library)
    return result.findings if result.exact and not result.equal else ()


def simulate_job(
    simulate: Callable[[Point, Mapping[str, Any]], Mapping[str, Any]],
    point: Mapping[str, Any],
    record: Mapping[str, Any],
    store: str,
) -> list[dict[str, Any]]:
    """The FIFOs of one point in a worker; nothing is added where they cannot be simulated."""
    with TURN:
        os.environ["TOOLKIT_STORE"] = store
        try:
            return [dict(simulate(Point.from_json(point), record))]
        except StoreError:
            raise
        except (Exception, SystemExit) as error:
            if reason := reason_outside(error):
                return [{OUTSIDE: reason}]
            return [{"simulated": {}, "error": f"{type(error).__name__}: {error}"[:4000]}]


def simulate_point(point: Point, record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Latency and interval of a point with its FIFOs simulated, as a proof has them, without csim."""
    from toolkit.config import EstimateConfig
    from toolkit.estimation import estimate_variants
    from toolkit.exploration.evaluate import analysis_of, conversion_config, converted, dataset_of
    from toolkit.exploration.targets import with_depths

    kept = PointRecord.from_json(record)
    graph, _ = converted(point, dataset_of(point.file.dataset.model_dump_json()), ())
    analysis = analysis_of(graph, conversion_config(point.design.hls))
    depths = kept.fifo_depths
    variants = estimate_variants(
        with_depths(analysis, depths) if depths else analysis, [own_config(kept)], EstimateConfig()
    )
    return {"simulated": simulated_figures(next(iter(variants)))}


def own_config(record: PointRecord) -> HlsConfig:
    """The configuration of a point's own project."""
    from toolkit.exploration.results import design_of

    return design_of(record, "point").designs[0].hls


def project_of(point: Point, record: PointRecord, dataset: Dataset) -> HlsProject:
    """The project of a point, written once per store."""
    from toolkit.exploration.evaluate import origin_of
    from toolkit.hls import load_project, write_project

    origin, config = origin_of(point, dataset), own_config(record)
    key = digest("project", origin, point.design.quantization, point.design.qat, config, package_versions())
    with artifact("sweep-project", key) as folder:
        if not folder.complete:
            write_project(model_of(point, dataset), config, folder / "project")
    project: HlsProject = load_project(folder / "project")
    return project


def model_of(point: Point, dataset: Dataset) -> keras.Model:
    """The model that a point converts; its trainings are the store's."""
    from toolkit.exploration.evaluate import float_of, origin_of, quantized
    from toolkit.quiet import start_tensorflow

    start_tensorflow()
    model, _ = quantized(point, float_of(origin_of(point, dataset), point, dataset), dataset, ())
    return model


def compared(expected: Array, got: Array) -> dict[str, Any]:
    """How two sets of outputs agree, value by value."""
    differs = expected != got
    return {
        "equal": not bool(differs.any()),
        "outputs_different": int(differs.sum()),
        "outputs_total": int(differs.size),
        "largest_difference": float(np.abs(expected - got).max()) if differs.any() else 0.0,
    }


def estimates(project: HlsProject, record: Mapping[str, Any]) -> dict[str, Any]:
    """The project's own estimate: where it differs from the recorded one, and with FIFOs simulated."""
    from toolkit.config import EstimateConfig
    from toolkit.estimation import estimate
    from toolkit.hls import lint

    quick, simulated = estimate(project, EstimateConfig(fifo_simulation=False)), estimate(project)
    known = {name: Figure.from_json(record["figures"][name]).value for name in COMPARED if name in record["figures"]}
    differing = [name for name, value in known.items() if getattr(quick, name).value != value]
    return {
        "estimate_differs": differing,
        "simulated": simulated_figures(simulated),
        "findings": [as_json(found) for found in lint(project, estimate=simulated) if found.severity != "note"],
    }


def simulated_figures(simulated: Estimate) -> dict[str, Any]:
    """Latency and interval of an estimate whose FIFOs were simulated."""
    names = ("latency_cycles", "initiation_interval_cycles", "latency_us")
    return {name: getattr(simulated, name).to_json() for name in names}
