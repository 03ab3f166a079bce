"""What a user may ask for: one frozen model per section of a design file.

Every key has a default, a unit where it has a dimension, and a docstring; an unknown key is
answered with the nearest known one. ``DesignFile`` is the whole file.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from toolkit.errors import ConfigError
from toolkit.hls4ml_settings import hls_table
from toolkit.sections import (
    Bits,
    Flag,
    Fraction,
    Name,
    Natural,
    Number,
    PartText,
    Positive,
    PrecisionText,
    Section,
    Whole,
    beside,
    toml_tables,
)


class AugmentationConfig(Section):
    """``[train.augmentation]``: random changes to training images, never to validation or test images."""

    written: ClassVar[str] = "train.augmentation"

    horizontal_flip: Flag = False
    """Mirror left-right with probability 1/2."""
    vertical_flip: Flag = False
    """Mirror top-bottom with probability 1/2."""
    rotation_degrees: Annotated[Number, Field(ge=0, le=180)] = 0.0
    """Rotate by up to this angle either way, in degrees."""
    crop_scale: Annotated[Number, Field(gt=0, le=1)] = 1.0
    """Smallest area fraction of a random resized crop; 1 is no crop."""
    colour_jitter: Fraction = 0.0
    """Strength of random brightness, contrast, saturation and hue changes (hue and saturation on RGB only)."""

    @classmethod
    def standard(cls) -> AugmentationConfig:
        """The whole set: flips, rotation up to 15 degrees, random resized crop, colour jitter."""
        return cls(horizontal_flip=True, vertical_flip=True, rotation_degrees=15, crop_scale=0.6, colour_jitter=0.2)


class DatasetConfig(Section):
    """``[dataset]``: a named dataset, or arrays of the user's own by ``path``."""

    written: ClassVar[str] = "dataset"

    name: Name = "mnist5k"
    """A named dataset; with ``path`` what the data are called (default: the file's name)."""
    path: Path | None = None
    """``.npz``, a folder of ``.npy``, HDF5, CSV, Parquet, or a folder of class folders with images."""
    inputs: tuple[str, ...] | str | None = None
    """Arrays (``.npz``, ``.npy``, HDF5; default ``x``; several are several inputs) or columns (CSV, Parquet)."""
    labels: tuple[str, ...] | str | None = None
    """The same for labels (default ``y``; of a table the last column)."""
    scale: str | float | None = None
    """``"1/255"``, a number to multiply by, ``"standard"`` (mean and deviation of the training split) or ``"none"``."""
    class_names: tuple[str, ...] = ()
    """Names of the classes in order; default: those of folders or words, else numbers."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the samples to judge by, where the data have no test split."""
    validation_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the training samples to choose epochs by, where the data have no validation split."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the splits made here."""
    stratified: bool | None = None
    """Keep classes in proportion in the splits made here; default: where labels are classes."""
    data_dir: Path | None = None
    """Folder with a named dataset's original files; default ``$TOOLKIT_DATA``, Debian's, then Keras' own loader."""
    shape: tuple[Positive, Positive, Positive] | None = None
    """Height, width, channels of images: zero padding and grey repeated to RGB; images in folders are resized."""
    test_count: Positive | None = None
    """Use only the first so many test samples."""


class HeadConfig(Section):
    """``[task.heads.<output>]``: what one output is for; the keys of ``[task]`` that make sense there."""

    kind: Literal["classification", "binary", "multilabel", "regression", "reconstruction", "unlabelled"] | None = None
    """Default: inferred from the labels where that is plain."""
    loss: str | None = None
    """Keras' name of a loss; default: cross-entropy, or the mean squared error for numbers."""
    metric: Any = None
    """accuracy, top5, roc_auc, average_precision, f1, background_rejection, label_accuracy, rmse, mae, r2,
    relative_resolution, reconstruction_auc, agreement, sqnr_db, or ``"module:function"`` of (targets, outputs)."""
    direction: Literal["higher", "lower"] | None = None
    """Which way is better, of a function of your own."""
    unit: str | None = None
    """Unit of the figure, such as that of a regression's target."""
    signal: Annotated[int, Field(ge=0)] = 1
    """background_rejection: the class that is signal."""
    signal_efficiency: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """background_rejection: the share of the signal that is kept."""


class TaskConfig(HeadConfig):
    """``[task]``: what is to be learnt from the data and what it is judged by."""

    heads: dict[str, HeadConfig] = Field(default_factory=dict)
    """Outputs by the name of their layer, where the labels are several arrays."""
    deciding: str | None = None
    """The output whose figure of merit decides; default the first."""


# What the zoo ships, for whoever must not import Keras to know it; a test holds them together.
ZOO = (
    *("autoencoder", "cifar10_cnn", "conv_bn_relu", "convnet", "jet_tagger", "jet_tagger_bn", "keyword_mlp"),
    *("lenet5", "resnet8", "separable_cnn", "series_cnn"),
)


def zoo_names() -> Collection[str]:
    """Names of the zoo: those registered, once something has loaded it; else those it ships."""
    loaded = sys.modules.get("toolkit.zoo.models")
    return ZOO if loaded is None else loaded.MODELS


class ModelConfig(Section):
    """``[model]``: a zoo model by name, or a file of the user's own."""

    written: ClassVar[str] = "model"

    name: str = "convnet"
    """A zoo name: cifar10_cnn, convnet, separable_cnn, conv_bn_relu, jet_tagger, jet_tagger_bn, resnet8, autoencoder,
    keyword_mlp, lenet5, series_cnn."""
    path: Path | None = None
    """A ``.keras`` file, legacy QKeras ``.h5`` or trained folder in place of ``name``; trained only by ``[train]``."""

    @property
    def label(self) -> str:
        """What rows call it: the zoo name, or the file's without its ending."""
        return self.path.stem if self.path else self.name

    def content(self) -> bytes:
        """What decides the model before it is trained: its file's bytes, or its name. Raises ``ConfigError``."""
        if self.path is None:
            return self.name.encode()
        file = self.path / "model.keras" if self.path.is_dir() else self.path
        try:
            return file.read_bytes()
        except OSError as error:
            raise ConfigError(f"model.path must be a model's file or folder: {file}: {error.strerror}") from None

    @model_validator(mode="after")
    def one_model(self) -> Self:
        """A model comes from the zoo or from a file."""
        if self.path is not None and "name" in self.model_fields_set:
            raise ValueError(f'name = "{self.name}" and path = "{self.path}" are two models; keep one of them')
        return self


class PruneConfig(Section):
    """``[train.prune]``: pruning with masks that stay through further training."""

    written: ClassVar[str] = "train.prune"

    sparsity: Annotated[Number, Field(ge=0, lt=1)] = 0.5
    """Fraction of weights (or channels) set to zero at the end of the schedule."""
    scope: Literal["global", "layer"] = "global"
    """Rank magnitudes over the whole model or within each layer."""
    structure: Literal["unstructured", "channel"] = "unstructured"
    """Single weights by L1, or whole output channels by L1 norm."""
    begin_epoch: Natural = 0
    """First epoch of the gradual (cubic) schedule."""
    end_epoch: Natural = 0
    """Epoch at which the final sparsity is reached; 0 prunes at once."""


MOST_EPOCHS = 100_000  # more is a slip of the pen: years, on any machine


class TrainConfig(Section):
    """``[train]`` and ``[quantization.train]``: how to fit a model."""

    written: ClassVar[str] = "train"

    epochs: Annotated[Natural, Field(le=MOST_EPOCHS)] = 10
    """Passes over the training split; 0 only evaluates."""
    batch_size: Positive = 64
    """Images per optimizer step."""
    learning_rate: Annotated[Number, Field(gt=0)] = 1e-3
    """Adam's step size."""
    seed: Natural = 0
    """Seeds shuffling, dropout and augmentation, each with generators of its own."""
    threads: Positive | None = None
    """Threads TensorFlow computes with, in the whole process; they decide the last bits of its sums. Default: a core
    each; in the workers of a sweep 1, whatever machine they run on."""
    early_stopping_epochs: Positive | None = None
    """Stop after so many epochs without a better validation accuracy."""
    jit_compile: Flag = False
    """Compile the training step with XLA."""
    mixed_precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """Keras dtype policy; float training only."""
    augmentation: AugmentationConfig | None = None
    """Random changes to training images."""
    prune: PruneConfig | None = None
    """Pruning during this training."""
    teacher: Any = None
    """A live Keras model (logits) to distil from; in a design file ``"float"``: the float model of the run."""
    temperature: Annotated[Number, Field(gt=0)] = 4.0
    """Softening of teacher and student logits in the distillation loss."""
    distillation_weight: Fraction = 0.5
    """Share of the distillation loss against the label loss."""
    checkpoint: Path | None = None
    """Folder for the state of an interrupted training; the same call then resumes from it."""
    progress: Flag = True
    """Show a progress bar on a terminal, plain lines otherwise."""


class LayerQuantConfig(Section):
    """``[quantization.layers.<name>]``: what differs for one layer."""

    written: ClassVar[str] = "quantization.layers"

    weight_bits: Bits | None = None
    bias_bits: Bits | None = None
    activation_bits: Bits | None = None
    weights: Literal["fixed", "binary", "ternary"] | None = None
    scale: Literal["1", "auto_po2"] | None = None


class QuantConfig(Section):
    """``[quantization]``: float Keras model to QKeras model."""

    written: ClassVar[str] = "quantization"

    weight_bits: Bits = 8
    """Width of kernels, sign included."""
    bias_bits: Bits | None = None
    """Width of biases; default ``weight_bits`` (at least 4, so that a bias is not lost with a narrow kernel)."""
    activation_bits: Bits = 8
    """Width of activations between layers."""
    input_bits: Bits = 8
    """Width of the quantized input: unsigned, one integer bit fewer than needed is never chosen."""
    weights: Literal["fixed", "binary", "ternary"] = "fixed"
    """Kernel values: fixed point, {-1, 1} or {-1, 0, 1} times a power of two."""
    scale: Literal["1", "auto_po2"] = "1"
    """QKeras alpha: 1, or a power of two per output channel fitted to the weights."""
    layers: dict[str, LayerQuantConfig] = Field(default_factory=dict)
    """Exceptions by layer name."""
    calibration_count: Positive = 512
    """Training images that decide the integer bits of activations."""

    @property
    def idle(self) -> tuple[str, ...]:
        """Every ``weight_bits`` that decides nothing: kernels are binary or ternary, and ``bias_bits`` is given."""
        layers = self.layers.items()
        found = [f"layers.{name}.weight_bits" for name, own in layers if own.weight_bits and self.has_widths(own)]
        inherited = any(own.weight_bits is None and not self.has_widths(own) for own in self.layers.values())
        said = self.weight_bits != type(self).model_fields["weight_bits"].default
        return (*(["weight_bits"] if said and self.has_widths(self) and not inherited else []), *found)

    def has_widths(self, own: LayerQuantConfig | QuantConfig) -> bool:
        """Whether kernel and bias of a layer are as wide as they are whatever ``weight_bits`` says."""
        return (own.weights or self.weights) != "fixed" and (own.bias_bits or self.bias_bits) is not None

    def without_idle(self) -> Self:
        """The same quantization without what decides nothing."""
        idle = self.idle
        layers = {
            name: own.change(weight_bits=None) if f"layers.{name}.weight_bits" in idle else own
            for name, own in self.layers.items()
        }
        bits = type(self).model_fields["weight_bits"].default if "weight_bits" in idle else self.weight_bits
        return self.change(weight_bits=bits, layers=layers)


class LayerHlsConfig(Section):
    """``[hls.layers.<name>]``: what differs for one layer; the keys of ``[hls]`` that make sense there."""

    written: ClassVar[str] = "hls.layers"

    strategy: Literal["Latency", "Resource", "distributed_arithmetic"] | None = None
    reuse_factor: Positive | None = None
    parallelization_factor: Positive | None = None
    precision: PrecisionText | dict[str, PrecisionText] | None = None
    """One type for all, or by hls4ml's names: result, accum, weight, bias, table, ..."""
    table_size: Positive | None = None
    implementation: str | None = None
    """Softmax: stable, latency, argmax or legacy; io_stream convolution: linebuffer or encoded."""


class HlsConfig(Section):
    """``[hls]``: the FPGA design. The same defaults as hls4ml except io_stream, which CNNs need."""

    written: ClassVar[str] = "hls"

    backend: Literal["Vitis", "Vivado"] = "Vitis"
    """hls4ml backend."""
    part: PartText = "xc7z020clg400-1"
    """FPGA part number, or a board's name (zcu104, pynq-z2, u250, ...); the default is the PYNQ-Z2's."""
    clock_period_ns: Annotated[Number, Field(gt=0, le=1000)] = 10.0
    """Target clock period in ns."""
    io_type: Literal["io_parallel", "io_stream"] = "io_stream"
    """How values travel between layers."""
    strategy: Literal["Latency", "Resource", "distributed_arithmetic"] = "Latency"
    """How matrix products are built."""
    reuse_factor: Positive = 1
    """How many products share one multiplier."""
    precision: PrecisionText | None = None
    """Type of whatever no quantizer decides; without it a model with no quantizer is refused."""
    invalid_reuse_factor: Literal["error", "nearest"] = "error"
    """Answer to a reuse factor that hls4ml would move silently."""
    parallelization_factor: Positive = 1
    """Convolution output pixels computed in parallel (io_parallel)."""
    fifo_depths: dict[str, Positive] = Field(default_factory=dict)
    """io_stream: depth of a FIFO by the name the estimate gives it; hls4ml's default is the whole map."""
    layers: dict[str, LayerHlsConfig] = Field(default_factory=dict)
    """Exceptions by layer name; a separable convolution's is for both layers it is split into."""
    test_vectors: Natural = 16
    """Input/output pairs written to ``tb_data`` when inputs are given."""

    @classmethod
    def from_hls4ml(cls, source: str | Path | Mapping[str, Any], **more: Any) -> Self:
        """The configuration that hls4ml's own dictionaries or an ``hls4ml_config.yml`` describe.

        ``more`` are further keys of ``[hls]``, such as ``part``, which the dictionary of ``config_from_keras_model``
        does not hold. Raises ``ConfigError`` naming a setting that has no counterpart.
        """
        return cls(**{**hls_table(source), **more})

    def of_layers(self, names: Collection[str]) -> dict[str, LayerHlsConfig]:
        """``layers`` for hls4ml layers of these names; a separable convolution's reaches all that is made of it."""
        found = dict(self.layers)
        for name, own in self.layers.items():
            found = dict.fromkeys(parts_of(name), own) | found
        return {name: own for name, own in found.items() if name in names}


def parts_of(name: str) -> tuple[str, ...]:
    """The hls4ml layers made of a layer: of a separable convolution two, of a quantized one the first and itself."""
    return name, f"{name}_depthwise", f"{name}_pointwise"


class EstimateConfig(Section):
    """``[estimate]``: how latency and resources are estimated without vendor tools."""

    written: ClassVar[str] = "estimate"

    tool: str | None = None
    """HLS tool to estimate for, such as "vitis_hls 2023.2" or "vivado_hls 2020.1"; default: by the backend."""
    fifo_simulation: Flag = True
    """Simulate streamed designs token by token: stalls, the FIFO depths needed, deadlocks."""
    images: Annotated[Whole, Field(ge=2, le=16)] = 2
    """Images simulated back to back; the interval is the time between the last two."""
    clock_uncertainty_percent: Annotated[Number, Field(ge=0, lt=100)] | None = None
    """Share of the clock period the tool keeps back; default: the tool's own (12.5 in Vivado HLS, 27 in Vitis HLS)."""
    calibration: Path | None = None
    """Coefficients of your own, as ``toolkit bench estimator --save`` writes them; default: the shipped ones."""
    devices: Path | None = None
    """TOML file with further parts, in the form of the shipped device table."""
    static_power_w: Annotated[Number, Field(ge=0)] | None = None
    """Static power in W for the energy estimate; default: 2.3 uW per LUT of the part, an assumption."""


class BaselineConfig(Section):
    """``[[baselines]]``: one float or integer engine to measure."""

    written: ClassVar[str] = "baselines"

    engine: str = "keras"
    """keras (a graph), keras_eager, keras_xla, onnxruntime, litert or gpu_model."""
    precision: str = "float32"
    """float32, float16, bfloat16 or int8, as the engine allows."""
    provider: str | None = None
    """cpu, cuda, tensorrt, or a GPU of the device table for gpu_model; default: what the engine has here."""
    batches: tuple[Positive, ...] = (1, 16, 64, 256)
    """Batch sizes to measure; latency is that of batch 1, throughput the best."""
    repeats: Positive = 30
    """Least number of timed runs per batch size, after warm-up; short runs are repeated more often."""


class ProofConfig(Section):
    """``[proof]``: how much of the emulated accuracy is repeated with csim."""

    written: ClassVar[str] = "proof"

    csim_count: Natural = 100
    """Test images run through csim and compared with the emulator and QKeras, bit for bit; 0: none."""
    whole_split: Flag = False
    """Run the whole test split through csim."""


class DesignConfig(Section):
    """One FPGA design of the model: a quantization, its training, its HLS project and its proof."""

    name: Name | None = None
    """Row and folder name; default made from bits, io type, strategy and reuse factor."""
    quantization: QuantConfig | None = Field(default_factory=QuantConfig)
    """How a float model is quantized; ``"none"``: it is not, ``[hls] precision`` is the type of all, as in hls4ml."""
    qat: TrainConfig | None = None
    """Quantization-aware training (``teacher = "float"`` distils the float model); absent: post-training."""
    hls: HlsConfig = Field(default_factory=HlsConfig)
    """The FPGA design."""
    proof: ProofConfig = Field(default_factory=ProofConfig)
    """How the design is proven."""

    @property
    def label(self) -> str:
        """The given name, or one that tells designs apart."""
        if self.name:
            return self.name
        if self.quantization is None:
            types = re.sub(r"[^a-z0-9]+", "_", (self.hls.precision or "as_it_is").lower()).strip("_")
        else:
            types = f"w{self.quantization.weight_bits}a{self.quantization.activation_bits}"
        return f"{types}_{self.hls.io_type}_{self.hls.strategy}_rf{self.hls.reuse_factor}".lower()

    @model_validator(mode="after")
    def trained_as_quantized(self) -> Self:
        """Training aware of a quantization needs one."""
        if self.quantization is None and self.qat is not None:
            raise ValueError('qat trains aware of a quantization, but quantization is "none"; train in [train] instead')
        return self


DESIGN_SECTIONS = ("quantization", "qat", "hls", "proof")


class DesignFile(Section):
    """A whole design file (TOML): what ``toolkit run`` does.

    ``[quantization]``, ``[qat]``, ``[hls]`` and ``[proof]`` describe one design. Each ``[[designs]]``
    table holds what differs from them: a file with four such tables yields four designs.
    """

    more_keys: ClassVar[tuple[str, ...]] = DESIGN_SECTIONS

    name: Name = "design"
    """Names the run and its folder."""
    dataset: DatasetConfig = Field(default_factory=DatasetConfig)
    """Which data."""
    task: TaskConfig = Field(default_factory=TaskConfig)
    """What is learnt and judged."""
    model: ModelConfig = Field(default_factory=ModelConfig)
    """Which network."""
    train: TrainConfig = Field(default_factory=TrainConfig)
    """How the network is trained; a model given by ``path`` is not, only evaluated, unless this section is there."""
    designs: tuple[DesignConfig, ...] = ()
    """The FPGA designs."""
    baselines: tuple[BaselineConfig, ...] = (BaselineConfig(),)
    """The float and integer engines to compare with."""

    @model_validator(mode="before")
    @classmethod
    def trained_already(cls, values: Any) -> Any:
        """A model of the user's own is as she trained it."""
        model = values.get("model") if isinstance(values, dict) else None
        path = model.get("path") if isinstance(model, dict) else getattr(model, "path", None)
        return {"train": TrainConfig(epochs=0), **values} if path not in (None, "none") else values

    @model_validator(mode="after")
    def distinct_rows(self) -> Self:
        """Every design has a name of its own, and no baseline is asked for twice: each is a row and a folder."""
        taken = {self.model.label: "the model"}
        for number, design in enumerate(self.designs, 1):
            if design.name is not None and design.name in taken:
                raise ValueError(
                    f'every design needs a name of its own, got "{design.name}" for design {number} and for '
                    f"{taken[design.name]}"
                )
            taken[design.name or ""] = f"design {number}"
        asked: dict[object, int] = {}
        for number, baseline in enumerate(self.baselines, 1):
            first = asked.setdefault((baseline.engine, baseline.precision, baseline.provider), number)
            if first != number:
                raise ValueError(
                    f"baselines {first} and {number} are both {baseline.engine} {baseline.precision}; keep one of them "
                    "(batches takes a list)"
                )
        return self


def load_design(path: str | Path) -> DesignFile:
    """Read a design file; relative paths in it are taken from its folder. Raises ``ConfigError`` with file and line."""
    with toml_tables(path, "a design file") as tables:
        return parse_design(beside(tables, Path(path).parent, DesignFile, DesignConfig))


def parse_design(tables: dict[str, Any]) -> DesignFile:
    """A design file from its parsed TOML: shared sections merged under each ``[[designs]]`` table."""
    shared = {key: tables[key] for key in DESIGN_SECTIONS if key in tables}
    variants = tables.get("designs", [{}])
    rest = {key: value for key, value in tables.items() if key not in shared}
    if not isinstance(variants, list):
        return DesignFile(**rest)  # refuses it with the right message
    DesignConfig(**shared)  # a mistake in a shared section is told once, not for every design
    return DesignFile(**{**rest, "designs": [merge(shared, variant) for variant in variants]})


def as_tables(file: DesignFile) -> dict[str, Any]:
    """What a design file says other than its defaults, as TOML takes it: ``"none"`` for what is absent."""
    tables: dict[str, Any] = spelled_out(file.model_dump(mode="json", exclude_defaults=True))
    return tables


def spelled_out(value: Any) -> Any:
    match value:
        case dict():
            return {key: "none" if item is None else spelled_out(item) for key, item in value.items()}
        case list():
            return [spelled_out(item) for item in value]
    return value


def merge(base: Any, change: Any) -> Any:
    """``change`` over ``base``, table by table."""
    if not (isinstance(base, dict) and isinstance(change, dict)):
        return change
    return {**base, **{key: merge(base.get(key), value) for key, value in change.items()}}
