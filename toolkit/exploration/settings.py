"""``[sweep]``: how a design file with lists in it is searched."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from toolkit.config import DesignConfig, DesignFile, HlsConfig
from toolkit.errors import ConfigError
from toolkit.exploration.figures import Limit, figure_name
from toolkit.sections import Flag, Natural, Number, Positive, Section


def known_figure(text: str) -> str:
    try:
        return figure_name(text)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def readable_limit(text: str) -> str:
    try:
        return str(Limit.parse(text))
    except ConfigError as error:
        raise ValueError(str(error)) from None


class SweepProofConfig(Section):
    """``[sweep.proof]``: which points are repeated with csim, compiled from the project as it would be built."""

    written: ClassVar[str] = "sweep.proof"

    pareto: Flag = True
    """Prove every point of the Pareto front."""
    sample: Natural = 1
    """Prove so many of the other points, spread over the sweep."""
    images: Positive = 16
    """Images per proof, every output compared bit for bit with the emulator's."""
    minutes: Annotated[float, Field(gt=0)] | None = None
    """Minutes for all proofs of a run; default as many as they take."""


class SweepSettings(Section):
    """``[sweep]``: search, objectives, constraints."""

    written: ClassVar[str] = "sweep"

    search: Literal["grid", "random", "tpe", "nsga2", "nsga3"] = "grid"
    """Which of Optuna's samplers proposes points; grid takes every combination."""
    points: Positive | None = None
    """How many different points; default all of a grid, 100 of the others."""
    seed: Natural = 0
    """Seed of the search."""
    objectives: tuple[Annotated[str, AfterValidator(known_figure)], ...] = ("metric", "latency_us")
    """What is better: metric (what the task is judged by), latency_us, initiation_interval_cycles, throughput_hz, lut,
    energy_uj, ebops, ..."""
    constraints: tuple[Annotated[str, AfterValidator(readable_limit)], ...] = ("fits",)
    """What a point must hold to be on the front: ``fits``, ``metric >= 0.85``, ``loss <= 0.01`` (to float), ..."""
    images: Positive = 2000
    """Images on which a point's accuracy is emulated, bit for bit."""
    split: Literal["test", "validation"] = "test"
    """Where those images come from; validation keeps the test split for the final word."""
    prune_training: Flag = True
    """Stop a training whose validation accuracy falls below the median of the finished ones at the same epoch."""
    timeout_s: Annotated[Number, Field(gt=0)] = 3600.0
    """Seconds after which a point is given up; it is then a failed point."""
    proof: SweepProofConfig = Field(default_factory=SweepProofConfig)
    """csim as proof."""


class SweepHlsConfig(HlsConfig):
    """``[hls]`` of a sweep file: the keys of ``[hls]`` and targets that are resolved to reuse factors."""

    target_ii: Positive | None = None
    """Initiation interval in cycles: every layer takes the largest valid reuse factor that keeps it."""
    target_dsp: Positive | None = None
    """DSP slices: the smallest initiation interval whose reuse factors stay within them."""
    fifo_depths: Literal["default", "needed"] | dict[str, Positive] = "default"  # type: ignore[assignment]
    """io_stream FIFO depths: hls4ml's, those the estimator's simulation finds sufficient, or depths by name."""

    def plain(self) -> HlsConfig:
        """The configuration without what only a sweep knows."""
        known = {key: value for key, value in dict(self).items() if key in HlsConfig.model_fields}
        return HlsConfig(**{**known, "fifo_depths": {} if isinstance(self.fifo_depths, str) else self.fifo_depths})


class SweepDesign(DesignConfig):
    """A design with the targets a sweep knows."""

    hls: SweepHlsConfig = Field(default_factory=SweepHlsConfig)
    """The FPGA design."""


class SweepDesignFile(DesignFile):
    """A sweep file's tables with one value in place of each list."""

    designs: tuple[SweepDesign, ...] = ()
    """The FPGA designs."""
