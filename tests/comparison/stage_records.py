"""Hand-built records: what the stages would return for a few designs, without running them."""

from __future__ import annotations

import numpy as np

from toolkit.baselines.evaluation import Evaluation, evaluate
from toolkit.comparison.design import DesignView, LayerView
from toolkit.comparison.rows import implementation_from
from toolkit.records import (
    BaselineRecord,
    CheckResult,
    Estimate,
    FifoEstimate,
    Figure,
    Finding,
    Implementation,
    LayerError,
    LayerEstimate,
    LayerProfile,
)

CLASSES = tuple("0123456789")
HOSTILE = "<img src=https://example.org/x onerror=alert(1)>\"'&{{7*7}}</script><script>alert(2)</script>"


def modelled(value: float, unit: str) -> Figure:
    return Figure(value, unit, "model", value * 0.8, value * 1.25, "estimator 1")


def counted(value: float, unit: str) -> Figure:
    return Figure(value, unit, "counted")


def busy_cycles(bits: int, layer: int) -> float:
    """The second layer is busiest, which csynth's intervals (largest first) do not tell."""
    return 850 * bits if layer == 1 else 750 * bits / (layer + 1)


def estimate(bits: int, layers: int = 4, digest: str | None = None) -> Estimate:
    each = tuple(
        LayerEstimate(
            name=f"conv{index}",
            kind="Conv2D",
            latency_cycles=modelled(1000 * bits / (index + 1), "cycles"),
            initiation_interval_cycles=modelled(900 * bits / (index + 1), "cycles"),
            dsp=modelled(bits, "DSP"),
            lut=modelled(500 * bits + 10 * index, "LUT"),
            ff=modelled(600 * bits, "FF"),
            bram_18k=modelled(index, "BRAM"),
            uram=modelled(0, "URAM"),
            figures={"busy_cycles": modelled(busy_cycles(bits, index), "cycles")},
        )
        for index in range(layers)
    )
    lut = sum(layer.lut.value for layer in each)
    return Estimate(
        latency_cycles=modelled(1000 * bits, "cycles"),
        initiation_interval_cycles=modelled(900 * bits, "cycles"),
        latency_us=modelled(10 * bits, "us"),
        throughput_hz=modelled(1e8 / (900 * bits), "Hz"),
        dsp=modelled(layers * bits, "DSP"),
        lut=modelled(lut, "LUT"),
        ff=modelled(600 * bits * layers, "FF"),
        bram_18k=modelled(6, "BRAM"),
        uram=modelled(0, "URAM"),
        energy_uj=modelled(5 * bits, "uJ"),
        utilization={"lut": modelled(lut / 532, "%"), "dsp": modelled(layers * bits / 2.2, "%")},
        fits=lut < 53_200,
        layers=each,
        fifos=(FifoEstimate("conv0_out", 16, 676), FifoEstimate("conv1_out", 100, 60)),
        notes=("a note",),
        project_digest=digest,
    )


def view(bits: int, name: str = "design") -> DesignView:
    layers = [LayerView("input1", "Input", (28, 28, 1), "ap_ufixed<8,0>")]
    for index in range(4):
        layers += [
            LayerView(
                f"conv{index}",
                "Conv2D",
                (20, 20, 8),
                f"ap_fixed<{bits + 10},8>",
                f"ap_fixed<{bits},1>",
                weights=720,
                zeros=9,
                weight_minimum=-0.9,
                weight_maximum=0.8,
                strategy="Resource",
                reuse_factor=9,
                macs=72_000,
            ),
            LayerView(f"relu{index}", "Activation", (20, 20, 8), f"ap_ufixed<{bits},3,RND_CONV,SAT>"),
        ]
    return DesignView(name, f"digest-{name}", {"part": "xc7z020clg400-1"}, tuple(layers))


def profile(bits: int) -> tuple[LayerProfile, ...]:
    return tuple(
        LayerProfile(f"relu{index}", f"ap_ufixed<{bits},3>", 0.0, 6.5 - index, 0.0, 7.9, index, 4000)
        for index in range(4)
    )


def check(bits: int, equal: bool = True, layer: str = "conv1") -> CheckResult:
    finding = Finding("warning", layer, "accumulator-overflow", "the accumulator wraps", "widen it")
    return CheckResult(
        equal=equal,
        outputs_different=0 if equal else 7,
        outputs_total=1000,
        largest_lsb=0.0 if equal else 3.0,
        first_layer=None if equal else layer,
        findings=() if equal else (finding,),
        images=100,
        profile=profile(bits),
        errors=() if equal else (LayerError(layer, "ap_fixed<8,2>", 0.5, 0.1, 30.0, 20.0, 7, 1000),),
    )


def evaluation(
    accuracy: float, engine: str, *, images: int = 400, total: int = 400, digest: str = "test"
) -> Evaluation:
    rng = np.random.default_rng(int(accuracy * 1000))
    labels = rng.integers(0, 10, images)
    answered = np.where(rng.random(images) < accuracy, labels, (labels + 1) % 10)
    return evaluate(
        np.eye(10)[answered],
        labels,
        source="measured" if engine not in ("csim", "emulation") else engine,
        engine=engine,
        test_digest=digest,
        class_names=CLASSES,
        images_total=total,
        float_logits=np.eye(10)[labels],
    )


def fpga(
    bits: int, accuracy: float, name: str | None = None, *, equal: bool = True, digest: str = "test"
) -> Implementation:
    named = name or f"cnn q{bits}"
    widths = {"weight_bits": counted(bits, "bits"), "activation_bits": counted(bits, "bits")}
    sizes = {"weight_bytes": counted(2000 * bits, "bytes"), "parameters": counted(16_000, ""), "macs": counted(3e5, "")}
    facts = {"part": "xc7z020clg400-1", "io_type": "io_stream", "strategy": "Resource", "reuse_factor": "9"}
    numbers = Implementation(named, "fpga", {**widths, **sizes}, facts, digest)
    judged = evaluation(accuracy, "csim", digest=digest)
    return implementation_from(view(bits, named), judged, check(bits, equal), estimate(bits), numbers, name=named)


def baseline(
    name: str,
    latency_us: float,
    accuracy: float,
    *,
    precision: str = "float32",
    source: str = "measured",
    digest: str = "test",
) -> BaselineRecord:
    judged = evaluation(accuracy, "keras", digest=digest)
    rate = 1e6 / latency_us
    return BaselineRecord(
        name=name,
        engine="keras",
        precision=precision,
        provider="cpu",
        batch=1,
        latency_us=Figure(latency_us, "us", source, latency_us * 0.9, latency_us * 1.2, "batch 1"),
        throughput_hz=Figure(rate, "images/s", source, rate * 0.9, rate * 1.1),
        accuracy=judged.figures["accuracy"],
        fused=("conv1 + relu",),
        environment={"cpu": "a processor", "cpus_allowed": "2"},
        test_digest=digest,
        figures={**judged.figures, "energy_uj": Figure(900, "uJ", source), "weight_bits": counted(32, "bits")},
        confusion=judged.confusion,
    )


def missing(name: str = "onnxruntime float16 tensorrt") -> BaselineRecord:
    return BaselineRecord(
        name, "onnxruntime", "float16", "tensorrt", 1, None, None, None, (), {}, "test",
        notes=("not available here: provider tensorrt of onnxruntime needs TensorRT",),
    )  # fmt: skip


def mixed() -> list[object]:
    """A comparison's worth: float and missing baselines, four designs."""
    designs = [fpga(8, 0.97), fpga(6, 0.97), fpga(4, 0.93, equal=False), fpga(2, 0.71)]
    return [
        baseline("keras float32", 800.0, 0.98),
        baseline("onnxruntime int8", 60.0, 0.975, precision="int8"),
        missing(),
        *designs,
    ]
