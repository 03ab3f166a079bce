"""Train the models that ``hls_projects/`` ships: ``python tests/designs/ship.py [design ...]``.

Weights and train records go to ``models/``; goldens are written by
``pytest tests/designs --update-golden``. What was trained before is taken from the artifact store.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from shipped import Shipped, shipped_designs

from toolkit.data import load_dataset
from toolkit.pipeline import design_model, first_model
from toolkit.training import save_record


def ship(design: Shipped) -> None:
    """Write one design's quantized model, and the float model it comes from, unless they are there."""
    if design.model.exists():
        return
    dataset = load_dataset(design.file.dataset)
    trained = first_model(design.file, dataset)
    quantized = design_model(design.design, trained, dataset)
    for record, path in ((trained, design.float_model), (quantized, design.model)):
        if not path.exists():
            save_record(replace(record, name=path.parent.name), path.parent)
        print(f"{path.parent.name}: {record.accuracy}, {path.stat().st_size / 1e3:.0f} kB", flush=True)


if __name__ == "__main__":
    for design in shipped_designs():
        if len(sys.argv) == 1 or design.folder.name in sys.argv[1:]:
            ship(design)
