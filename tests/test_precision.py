"""Fixed-point types: parsing, printing, and the arithmetic of hls4ml's own ``ap_fixed.h``."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit import process
from toolkit.errors import ConfigError
from toolkit.network.ranges import round_integer
from toolkit.precision import Overflow, Precision, Rounding, round_integers

MODES = list(itertools.product(Rounding, Overflow))


def random_precision(rng: random.Random, widest: int) -> Precision:
    rounding, overflow = rng.choice(MODES)
    width = rng.randint(1, widest)
    return Precision(width, rng.randint(-3, width + 3), rng.random() < 0.7, rounding, overflow)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("ap_fixed<16,6>", "ap_fixed<16,6>"),
        ("fixed<16, 6, TRN, WRAP, 0>", "ap_fixed<16,6>"),
        ("ap_ufixed<8,0,AP_RND,AP_SAT>", "ap_ufixed<8,0,RND,SAT>"),
        ("ap_fixed<6,2,RND_CONV,SAT_SYM>", "ap_fixed<6,2,RND_CONV,SAT_SYM>"),
        ("ap_uint<1>", "ap_ufixed<1,1>"),
        ("int<8>", "ap_fixed<8,8>"),
        ("nnet::ap_fixed<4,-2>", "ap_fixed<4,-2>"),
    ],
)
def test_parse_prints_as_vitis_spells(text: str, printed: str) -> None:
    assert str(Precision.parse(text)) == printed
    assert Precision.parse(printed) == Precision.parse(text)


@pytest.mark.parametrize("text", ["", "float", "ap_fixed<>", "ap_fixed<8>", "ap_fixed<8,3,ROUND>", "ap_fixed<0,0>"])
def test_what_is_no_type_is_told(text: str) -> None:
    with pytest.raises(ConfigError):
        Precision.parse(text)


@given(st.integers(0, 10_000))
def test_every_type_survives_printing(seed: int) -> None:
    precision = random_precision(random.Random(seed), 32)
    assert Precision.parse(str(precision)) == precision


@given(st.integers(-(2**40), 2**40), st.integers(1, 12), st.sampled_from(list(Rounding)))
def test_rounding_of_floats_and_of_integers_agree(integer: int, drop: int, rounding: Rounding) -> None:
    scaled = np.ldexp(np.array([float(integer)]), -drop)
    assert round_integers(scaled, rounding)[0] == round_integer(integer, drop, rounding)


@given(st.integers(0, 10_000), st.lists(st.floats(-50, 50), min_size=1, max_size=20))
def test_quantized_values_lie_on_the_grid_and_in_range(seed: int, values: list[float]) -> None:
    precision = random_precision(random.Random(seed), 12)
    integers = precision.to_integers(values)
    assert (integers == np.floor(integers)).all()
    assert (integers >= precision.integer_min - (precision.overflow is Overflow.SAT_SYM)).all()
    assert (integers <= precision.integer_max).all()
    np.testing.assert_array_equal(precision.quantize(integers * precision.lsb), integers * precision.lsb)


CONVERSIONS = 196  # seven of every rounding and overflow mode
SAMPLES = 400


@pytest.mark.csim
def test_conversions_equal_ap_fixed(tmp_path: Path) -> None:
    """Every rounding and overflow mode, narrow and wide, against hls4ml's header through g++."""
    rng = random.Random(0)
    pairs = [random_conversion(rng, index) for index in range(CONVERSIONS)]
    inputs = [sample_integers(rng, source) for source, _ in pairs]
    doubles = [sample_doubles(rng, target) for _, target in pairs]
    fixed, floating = run_conversions(tmp_path, pairs, inputs, doubles)
    for (source, target), given_integers, real, got, got_real in zip(
        pairs, inputs, doubles, fixed, floating, strict=True
    ):
        expected = target.to_integers(np.ldexp(np.array(given_integers, float), -source.fraction_bits))
        np.testing.assert_array_equal(got, expected, err_msg=f"{source} -> {target}")
        np.testing.assert_array_equal(got_real, target.to_integers(real), err_msg=f"double -> {target}")


def random_conversion(rng: random.Random, index: int) -> tuple[Precision, Precision]:
    """A random source, and a random target whose modes run through every combination.

    The header asserts that a conversion drops no more bits than the source has.
    """
    while True:
        source, target = random_precision(rng, 14), random_precision(rng, 12).with_modes(*MODES[index % len(MODES)])
        if source.fraction_bits - target.fraction_bits <= source.width_bits:
            return source, target


def sample_integers(rng: random.Random, source: Precision) -> list[int]:
    low = -(1 << (source.width_bits - 1)) if source.signed else 0
    if source.integer_max - low < SAMPLES:
        every = list(range(low, source.integer_max + 1))
        return (every * (SAMPLES // len(every) + 1))[:SAMPLES]
    ends = [low, low + 1, -1 if source.signed else 0, 0, 1, source.integer_max - 1, source.integer_max]
    return ends + [rng.randint(low, source.integer_max) for _ in range(SAMPLES - len(ends))]


def sample_doubles(rng: random.Random, target: Precision) -> list[float]:
    """Numbers around the range, half of them on the grid or half-way between two steps of it."""
    reach = 3 * (target.integer_max + 1)
    steps = [rng.uniform(-reach, reach) for _ in range(SAMPLES // 2)]
    steps += [rng.randint(-2 * reach, 2 * reach) / 2 for _ in range(SAMPLES - len(steps))]
    return [float(np.ldexp(step, -target.fraction_bits)) for step in steps]


def cpp_type(precision: Precision) -> str:
    kind = "ap_fixed" if precision.signed else "ap_ufixed"
    modes = f"AP_{precision.rounding}, AP_{precision.overflow}"
    return f"{kind}<{precision.width_bits}, {precision.integer_bits}, {modes}>"


def run_conversions(
    folder: Path,
    pairs: list[tuple[Precision, Precision]],
    inputs: list[list[int]],
    doubles: list[list[float]],
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Integers that C++ stores: of each conversion between types, and of each from double."""
    np.array(inputs, np.int64).tofile(folder / "integers.bin")
    np.array(doubles, np.float64).tofile(folder / "doubles.bin")
    calls = "\n".join(f"    convert<{cpp_type(source)}, {cpp_type(target)}>();" for source, target in pairs)
    (folder / "convert.cpp").write_text(CONVERT_CPP % (SAMPLES, calls))
    compile_and_run(folder, "convert.cpp")
    answers = np.fromfile(folder / "answers.bin", np.int64).reshape(len(pairs), 2, SAMPLES)
    return list(answers[:, 0]), list(answers[:, 1])


def compile_and_run(folder: Path, source: str) -> None:
    import hls4ml

    headers = Path(hls4ml.__file__).parent / "templates" / "vivado" / "ap_types"
    command = [process.require_tool("g++"), "-O0", "-std=c++17", "-w", f"-I{headers}", source, "-o", "program"]
    process.run(command, cwd=folder, timeout_s=600)
    process.run([folder / "program"], cwd=folder, timeout_s=60)


CONVERT_CPP = r"""
#include "ap_fixed.h"
#include <cstdio>
const int samples = %d;
static FILE *integers, *doubles, *answers;

template <class T> long long stored(const T &value) {
    long long bits = value.V.to_int64();
    return bits;
}

template <class source_t, class target_t> void convert() {
    long long raw[samples], out[samples];
    double real[samples];
    if (fread(raw, sizeof(raw), 1, integers) != 1 || fread(real, sizeof(real), 1, doubles) != 1) throw 1;
    for (int i = 0; i < samples; i++) {
        source_t source;
        source.V = raw[i];
        target_t target = source;
        out[i] = stored(target);
    }
    fwrite(out, sizeof(out), 1, answers);
    for (int i = 0; i < samples; i++) {
        target_t target = real[i];
        out[i] = stored(target);
    }
    fwrite(out, sizeof(out), 1, answers);
}

int main() {
    integers = fopen("integers.bin", "rb");
    doubles = fopen("doubles.bin", "rb");
    answers = fopen("answers.bin", "wb");
%s
    return fclose(answers);
}
"""
