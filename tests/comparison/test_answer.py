"""The answer is computed from the records, with its caveats."""

from __future__ import annotations

from dataclasses import replace

from stage_records import baseline, check, estimate, evaluation, fpga, missing, mixed

from toolkit.comparison import compare, implementation_from
from toolkit.comparison.answer import answer, recommended
from toolkit.records import Figure, Finding, Implementation


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
    text = words([baseline("keras", 10, 0.99), fpga(4, 0.8), fpga(2, 0.5)])
    assert "None stays within 1 percentage point of float" in text


def test_names_the_speed_against_the_fastest_measured_engine() -> None:
    text = words(
        [baseline("slow", 800, 0.9), baseline("quick", 20, 0.9), baseline("gpu", 1, 0.9, source="model"), fpga(4, 0.9)]
    )
    assert (
        "Classifying one image takes cnn q4 40 µs (model), 2.0 times slower than the fastest measured baseline "
        "(quick, 20 µs, measured)" in text
    )


def test_names_the_modelled_gpu_and_the_energy_of_both() -> None:
    text = words([baseline("quick", 20, 0.9), baseline("gpu", 10, 0.9, source="model"), fpga(4, 0.9)])
    assert "4.0 times slower than the model of a GPU (gpu, 10 µs, model)" in text
    assert "its energy is 20 µJ (model) an image, the GPU's 900 µJ (model)" in text


def test_the_best_design_and_its_distance_from_float() -> None:
    text = words([baseline("keras", 800, 0.98), fpga(8, 0.97), fpga(2, 0.5)])
    assert text.startswith("Of 2 FPGA designs, cnn q8 is the most accurate: ")
    assert "percentage points below float (keras, " in text


def test_one_design_is_not_compared_with_itself() -> None:
    text = words([fpga(8, 0.9)])
    assert text.startswith("cnn q8 reaches an accuracy of ")
    assert "It is estimated to fit xc7z020clg400-1." in text
    assert [card.label for card in answer(compare([fpga(8, 0.9)])).cards] == ["Accuracy", "Latency", "LUT", "Energy"]


def test_designs_that_do_not_fit_are_named_and_not_recommended() -> None:
    records = [baseline("keras", 800, 0.9), fpga(30, 0.9, "large"), fpga(8, 0.9, "small")]
    assert "Not estimated to fit xc7z020clg400-1: large." in words(records)
    chosen = recommended(compare(records))
    assert chosen is not None
    assert chosen.name == "small"
    text = words([fpga(30, 0.9, "large"), fpga(40, 0.9, "larger")])
    assert "No design is estimated to fit" in text
    assert "All stay within 1 percentage point" in text


def test_baselines_alone_are_answered_too() -> None:
    text = words([baseline("keras", 800, 0.9), baseline("onnxruntime", 60, 0.9)])
    assert "onnxruntime answers one image soonest, in 60 µs (measured)" in text
    assert "FPGA" not in text


def test_host_overhead_stands_apart_from_the_kernel() -> None:
    host = Implementation("x", "fpga", {"host_overhead_us": Figure(845, "us", "model", 750, 940)})
    row = implementation_from(fpga(8, 0.9), host, name="cnn")
    assert "80 µs (model)" in words([row])
    assert "host and bus add 845 µs (model) to the kernel" in words([row])


def test_an_estimate_outside_its_calibration_is_told() -> None:
    strange = replace(estimate(8), notes=("outside the calibration: conv1",))
    text = words([implementation_from(evaluation(0.9, "csim"), strange, name="x")])
    assert "Layers of x are unlike those the estimator was calibrated on" in text


def test_says_when_intervals_overlap() -> None:
    assert "though their intervals overlap" in words([baseline("quick", 40, 0.9), fpga(4, 0.9)])


def test_caveats() -> None:
    text = words(mixed())
    assert "estimate what C synthesis would report" in text
    assert "kernel alone" in text
    assert "Not available on this machine: onnxruntime float16 tensorrt" in text
    assert "Outputs differ" not in text  # that is no caveat
    assert "FIFO depths are too small" in text


def test_bits_that_differ_come_before_the_answer_with_layer_and_reason() -> None:
    (alarm,) = answer(compare(mixed())).alarms
    assert alarm.startswith("cnn q4: csim differs from qkeras: 7 of 1,000 outputs on 100 images")
    assert alarm.endswith("first in layer conv1: the accumulator wraps")


def test_a_float_model_that_predicts_alike_is_no_alarm() -> None:
    unlike = replace(check(8, equal=False), findings=(Finding("note", None, "float", "it is a float model", ""),))
    rows = compare([implementation_from(evaluation(0.9, "csim"), unlike, name="x")])
    assert not answer(rows).alarms
    assert "Outputs differ between engines for x" in " ".join(answer(rows).caveats)


def test_a_modelled_gpu_is_called_a_model() -> None:
    assert "No such GPU was used: gpu is computed from a data sheet" in words(
        [baseline("gpu", 1, 0.9, source="model"), fpga(8, 0.9)]
    )


def test_partial_csim_is_told() -> None:
    row = implementation_from(evaluation(0.9, "csim", images=50), name="x")
    assert "Only some of the test images were judged by csim for x" in words([row])


def test_nothing_is_claimed_without_figures() -> None:
    found = answer(compare([missing()]))
    assert found.sentences == ()
    assert found.cards == ()
