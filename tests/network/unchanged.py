"""What this toolkit says of a network, as JSON: bits, traces, every figure of the estimate, findings.

A refactoring must not change any of it. Run by hand, before and after::

    python tests/network/unchanged.py prepare GRAPHS 30             # needs TensorFlow: shipped and random models
    python tests/network/unchanged.py capture GRAPHS before.json
    python tests/network/unchanged.py rows FOLDER before_rows.json    # a calibration folder's rows
    python tests/network/unchanged.py compare before.json after.json

``golden/`` holds four of the random networks with their inputs, and what the code said of them before the
typed network existed; ``test_unchanged.py`` compares. What changes on purpose is written anew by::

    python tests/network/unchanged.py golden
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = Path(__file__).parents[2]
SHOWN = 40  # differences that a comparison prints


def digest(values: Any) -> str:
    """Digest of an array's shape and values."""
    array = np.ascontiguousarray(values, np.float64)
    return hashlib.sha256(str(array.shape).encode() + array.tobytes()).hexdigest()[:16]


def facts_of(graph: Any, config: Any, inputs: list[Any]) -> dict[str, Any]:
    """Bits, figures and findings of one network; an error stands for what could not be computed."""
    from toolkit.config import EstimateConfig
    from toolkit.emulation import emulate
    from toolkit.estimation import estimate
    from toolkit.hls import lint
    from toolkit.records import as_json

    def bits() -> Any:
        emulator = emulate(graph)
        given = inputs if len(inputs) > 1 else inputs[0]
        traced = {name: digest(values) for name, values in emulator.trace(given).items()}
        return {"outputs": digest(emulator.predict(given)), "trace": traced}

    def figures(simulate: bool) -> Any:
        return as_json(estimate(graph, EstimateConfig(fifo_simulation=simulate), hls=config))

    return {
        "bits": tried(bits),
        "estimate": tried(lambda: figures(True)),
        "quick": tried(lambda: figures(False)),
        "lint": tried(lambda: as_json(list(lint(graph, config)))),
    }


def tried(compute: Any) -> Any:
    """What a computation gives, or its error."""
    from toolkit.errors import ToolkitError

    try:
        return compute()
    except ToolkitError as error:
        return {"error": f"{type(error).__name__}: {error}"}


def row_facts(folder: Path) -> dict[str, Any]:
    """Cycles, area and predicted LUT and FF of every row of a calibration folder."""
    from dataclasses import astuple

    from toolkit.estimation.area import area_of
    from toolkit.estimation.calibration import SHIPPED, clock_of, load_calibration, outside, predict
    from toolkit.estimation.cycles import cycles_of
    from toolkit.estimation.rows import read_rows

    calibration, found = load_calibration(SHIPPED), {}
    for row in read_rows(folder):
        clock = clock_of(row)
        area = area_of(row.stage, clock)
        lut, ff = (predict(area, clock, calibration, quantity) for quantity in ("lut", "ff"))
        parts = [[part.group, dict(part.lut), dict(part.ff)] for part in area.parts]
        found[row.id] = {
            "cycles": list(astuple(cycles_of(row.stage, clock))),
            "area": [area.dsp, area.bram_18k, area.uram, lut, ff],
            "parts": parts,
            "outside": list(outside(calibration, row.stage, clock)),
        }
    return found


def stored(folder: Path) -> Iterator[tuple[str, Any, Any, list[Any]]]:
    """Name, graph, configuration and inputs of every network that :func:`prepare` wrote."""
    from toolkit.config import HlsConfig
    from toolkit.hls.graph import load_graph

    for path in sorted(folder.iterdir()):
        config = HlsConfig.model_validate_json((path / "config.json").read_text())
        with np.load(path / "inputs.npz") as arrays:
            inputs = [arrays[f"x{index}"] for index in range(len(arrays.files))]
        yield path.name, load_graph(path), config, inputs


def keep(folder: Path, name: str, model: Any, config: Any, inputs: list[Any]) -> None:
    """Convert a model and write what :func:`stored` reads."""
    from toolkit.hls.convert import convert
    from toolkit.hls.graph import save_graph

    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    converted = convert(model, config)
    save_graph(converted.graph, target)
    (target / "config.json").write_text(config.model_dump_json())
    np.savez(target / "inputs.npz", **{f"x{index}": array for index, array in enumerate(inputs)})
    print(name, len(converted.graph.layers), "layers", flush=True)


def prepare(folder: Path, bundles: int) -> None:
    """Graphs of every shipped design and of so many bundles of random models."""
    for tests in ("designs", "emulation"):
        sys.path.insert(0, str(ROOT / "tests" / tests))
    from random_models import random_bundle
    from shipped import shipped_designs

    from toolkit.data import load_dataset
    from toolkit.training import load_record

    for design in shipped_designs():
        images = load_dataset(design.file.dataset).inputs("test", 64)
        if not (folder / design.name.replace("/", "__") / "inputs.npz").exists():
            model = load_record(design.model.parent).model
            keep(folder, design.name.replace("/", "__"), model, design.design.hls, [images])
    for seed in range(bundles):
        if not (folder / f"random_{seed:03d}" / "inputs.npz").exists():
            bundle = random_bundle(7000 + seed, 3, images=16)
            keep(folder, f"random_{seed:03d}", bundle.model, bundle.config, bundle.images)


GOLDEN = Path(__file__).with_name("golden")


def golden_networks() -> Iterator[tuple[str, Any, Any, list[Any]]]:
    """Name, network, configuration and inputs of the stored ones."""
    from toolkit.config import HlsConfig
    from toolkit.network.storage import load

    for path in sorted(item for item in GOLDEN.iterdir() if item.is_dir()):
        config = HlsConfig.model_validate_json((path / "config.json").read_text())
        with np.load(path / "inputs.npz") as arrays:
            inputs = [arrays[f"x{index}"] for index in range(len(arrays.files))]
        yield path.name, load(path), config, inputs


def kept(graph: Any, config: Any, inputs: list[Any]) -> dict[str, Any]:
    """What a golden holds: bits of every layer, and everything that the models of cycles and area are told.

    Not their figures, which every refined model changes on purpose.
    """
    from toolkit.estimation.stages import stages_of

    facts = {stage.name: stage_facts(stage) for stage in stages_of(graph, config)}
    return {"bits": facts_of(graph, config, inputs)["bits"], "stages": facts}


def stage_facts(value: Any) -> Any:
    """A stage, or what it holds, as JSON types; arrays as digests."""
    if isinstance(value, np.ndarray):
        return digest(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: stage_facts(getattr(value, item.name)) for item in fields(value)}
    return list(value) if isinstance(value, tuple) else value.item() if isinstance(value, np.generic) else value


def differences(before: Any, after: Any, where: str = "") -> Iterator[str]:
    """Where two captures differ."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys([*before, *after]):
            yield from differences(before.get(key), after.get(key), f"{where}/{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, pair in enumerate(zip(before, after, strict=True)):
            yield from differences(*pair, f"{where}/{index}")
    elif before != after and (before or after):
        yield f"{where}: {before!r} -> {after!r}"


def main(command: str, *arguments: str) -> int:
    """One of the commands of the module's docstring."""
    match command, *map(Path, arguments):
        case "prepare", folder, bundles:
            prepare(folder, int(str(bundles)))
        case "capture", folder, target:
            found = {}
            for name, graph, config, inputs in stored(folder):
                found[name] = facts_of(graph, config, inputs)
                print(name, flush=True)
            target.write_text(json.dumps(found))
        case "rows", folder, target:
            target.write_text(json.dumps(row_facts(folder)))
        case ("golden",):
            found = {name: kept(*given) for name, *given in golden_networks()}
            (GOLDEN / "expected.json").write_text(json.dumps(found, indent=0) + "\n")
        case "compare", one, two:
            found = list(differences(*(json.loads(path.read_text()) for path in (one, two))))
            print("\n".join([*found[:SHOWN], f"{len(found)} differences"]))
            return int(bool(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
