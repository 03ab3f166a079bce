"""The answer is computed from the records, with its caveats."""

from __future__ import annotations

from stage_records import baseline, evaluation, fpga, missing, mixed

from toolkit.comparison import compare, implementation_from
from toolkit.comparison.answer import answer, recommended


def words(records: list[object]) -> str:
    found = answer(compare(records))
    return " ".join([*found.sentences, *found.caveats])


def test_recommended_is_the_cheapest_that_keeps_accuracy() -> None:
    chosen = recommended(compare([baseline("keras", 10, 0.98), fpga(8, 0.98), fpga(6, 0.98), fpga(2, 0.5)]))
    assert chosen is not None
    assert chosen.name == "cnn q6"


def test_recommended_is_the_most_accurate_where_none_keeps_accuracy() -> None:
    chosen = recommended(compare([baseline("keras", 10, 0.99), fpga(4, 0.8), fpga(2, 0.5)]))
    assert chosen is not None
    assert chosen.name == "cnn q4"
    assert "No design stays within 1 point of keras" in words([baseline("keras", 10, 0.99), fpga(4, 0.8), fpga(2, 0.5)])


def test_names_the_speed_against_the_fastest_measured_engine() -> None:
    text = words(
        [baseline("slow", 800, 0.9), baseline("quick", 20, 0.9), baseline("gpu", 1, 0.9, source="model"), fpga(4, 0.9)]
    )
    assert (
        "cnn q4 takes 40 µs (model), 2.0 times slower than the fastest measured baseline, quick (20 µs, measured)"
        in text
    )


def test_says_when_intervals_overlap() -> None:
    assert "but their intervals overlap" in words([baseline("quick", 40, 0.9), fpga(4, 0.9)])


def test_caveats() -> None:
    text = words(mixed())
    assert "estimates of C synthesis" in text
    assert "kernel alone" in text
    assert "Not available on this machine: onnxruntime float16 tensorrt" in text
    assert "Outputs differ between engines for cnn q4" in text
    assert "FIFO depths are too small" in text


def test_a_modelled_gpu_is_called_a_model() -> None:
    assert "No such GPU was used: gpu is a model" in words([baseline("gpu", 1, 0.9, source="model"), fpga(8, 0.9)])


def test_partial_csim_is_told() -> None:
    row = implementation_from(evaluation(0.9, "csim", images=50), name="x")
    assert "Only some of the test images were judged by csim for x" in words([row])


def test_nothing_is_claimed_without_figures() -> None:
    found = answer(compare([missing()]))
    assert found.sentences == ()
    assert found.cards == ()
