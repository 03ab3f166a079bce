"""The analytic GPU: against published figures, and the shape of its formula."""

from __future__ import annotations

import pytest

from toolkit.baselines import find_gpu, gpus, validate_gpu_model
from toolkit.baselines.gpu_model import RATIOS, assumptions, batch_us, kernel_us, latency, occupancy, published
from toolkit.baselines.workload import Kernel
from toolkit.errors import ConfigError

CONV = Kernel("conv", "Conv2D", 100_000_000, 100_000, 100_000, 50_000, rows=784, columns=128)


def test_published_figures_are_met_within_the_stated_interval() -> None:
    found = validate_gpu_model(["ResNet50", "MobileNet"])
    assert {item.published.gpu for item in found} == {"T4", "L4", "A100", "H100", "Jetson_AGX_Orin", "Jetson_Orin_NX"}
    for item in found:
        assert RATIOS[0] <= item.deviation + 1 <= RATIOS[1], str(item)


@pytest.mark.slow
def test_every_published_figure() -> None:
    found = validate_gpu_model()
    assert len(found) == len(published())
    ratios = [item.deviation + 1 for item in found]
    assert RATIOS[0] <= min(ratios) <= RATIOS[0] + 0.05
    assert RATIOS[1] - 0.05 <= max(ratios) <= RATIOS[1]


def test_every_figure_is_cited_and_told_with_its_deviation() -> None:
    assert all(len(item.citation) > 20 for item in published())
    assert "%" in str(validate_gpu_model(["MobileNet"])[0])


def test_a_record_prints_its_gpu_s_deviations_with_their_citations() -> None:
    text = " ".join(assumptions(find_gpu("T4")))
    assert text.count("(MLPerf Inference v0.7") == 2
    assert "ResNet50 int8 on T4, batch 1: published 998 µs, model " in text
    assert "no published figure to check for this GPU" in " ".join(assumptions(find_gpu("RTX_4090")))


@pytest.mark.parametrize("name", sorted(gpus()))
class TestEveryGpu:
    def test_has_a_source_and_ordered_peaks(self, name: str) -> None:
        gpu = find_gpu(name)
        assert len(gpu.source) > 20
        assert gpu.float32_tflops <= gpu.float16_tflops <= gpu.int8_tops

    def test_time_never_falls_with_the_batch_and_images_never_get_slower(self, name: str) -> None:
        gpu = find_gpu(name)
        times = [batch_us([CONV], gpu, "float16", batch) for batch in (1, 2, 8, 64, 512)]
        assert times == sorted(times)
        per_image = [time / batch for time, batch in zip(times, (1, 2, 8, 64, 512), strict=True)]
        assert per_image[-1] < per_image[0]

    def test_a_launch_is_the_least(self, name: str) -> None:
        gpu = find_gpu(name)
        nothing = Kernel("x", "Dense", 1, 1, 1, 1)
        assert kernel_us(nothing, gpu, "int8", 1, True) >= 7400 / (gpu.clock_ghz * 1e3)

    def test_occupancy_is_a_share(self, name: str) -> None:
        gpu = find_gpu(name)
        assert all(0 < occupancy(CONV, gpu, batch) <= 1 for batch in (1, 3, 17, 1000))


def test_the_interval_surrounds_the_value() -> None:
    figure = latency(10.0, find_gpu("T4"), 1)
    assert figure.source == "model"
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low < 10 < figure.high


def test_unknown_gpu() -> None:
    with pytest.raises(ConfigError, match='did you mean "H100"'):
        find_gpu("H10")
