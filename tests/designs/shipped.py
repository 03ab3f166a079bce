"""The designs in ``hls_projects/`` that ship with weights in ``models/`` and goldens beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolkit.config import DesignConfig, DesignFile, load_design

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "models"


@dataclass(frozen=True)
class Shipped:
    """One design: its file, its HLS configuration, and where its weights and golden lie."""

    folder: Path
    file: DesignFile
    design: DesignConfig

    @property
    def name(self) -> str:
        return f"{self.folder.name}/{self.design.label}"

    @property
    def model(self) -> Path:
        """Quantized model; designs of the same network, dataset and bits share it."""
        return MODELS / f"{self.float_model.parent.name}_{bits(self.design)}" / "model.keras"

    @property
    def float_model(self) -> Path:
        """``models/<zoo name>_<dataset>``."""
        return MODELS / f"{self.file.model.name}_{self.file.dataset.name}" / "model.keras"

    @property
    def golden(self) -> Path:
        return self.folder / "golden" / f"{self.design.label}.npz"


def bits(design: DesignConfig) -> str:
    """``w6a6``, ``w2a8_ternary``."""
    quantization = design.quantization
    kind = "" if quantization.weights == "fixed" else f"_{quantization.weights}"
    return f"w{quantization.weight_bits}a{quantization.activation_bits}{kind}"


def shipped_designs() -> list[Shipped]:
    """Designs on data that ships with a package, in order of their folders."""
    found = []
    for path in sorted((ROOT / "hls_projects").glob("*/design.toml")):
        file = load_design(path)
        if file.dataset.path is None and file.dataset.name in ("mnist5k", "digits"):
            found += [Shipped(path.parent, file, design) for design in file.designs]
    return found
