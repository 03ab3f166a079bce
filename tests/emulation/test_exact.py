"""The builder's arithmetic against Python's integers, in every carrier, without a compiler."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from toolkit.emulation.builder import NUMPY_TYPE, ONNX_TYPE, Builder
from toolkit.emulation.compile import IR_VERSION, OPSET
from toolkit.emulation.sums import Kernel, Window, weighted_sum
from toolkit.emulation.values import LIMIT, Carrier, RangeTooWide, Value, narrowest
from toolkit.network.ranges import round_integer
from toolkit.precision import Overflow, Precision, Rounding


def evaluate(b: Builder, result: Value, source: Value, integers: np.ndarray) -> list[int]:
    """Run a builder's graph on integers of ``source``; the result's integers."""
    import onnxruntime

    done = b.plain(b.channels_last(result))
    name = b.node("Identity", str(done.tensor))
    graph = helper.make_graph(
        b.nodes,
        "test",
        [helper.make_tensor_value_info("x", ONNX_TYPE[source.carrier], [None, *source.shape])],
        [helper.ValueInfoProto(name=name)],
        b.initializers(),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    stored = np.asarray(integers, object).astype(NUMPY_TYPE[source.carrier])
    answer = session.run(None, {"x": stored.reshape(-1, *source.shape)})[0]
    return [int(number) for number in answer.ravel()]


def source_value(low: int, high: int, fraction_bits: int, shape: tuple[int, ...], carrier: Carrier) -> Value:
    return Value("x", shape, fraction_bits, fraction_bits, low, high, carrier)


def cast_integer(integer: int, fraction_bits: int, precision: Precision) -> int:
    """``ap_fixed`` assignment in exact arithmetic."""
    rounded = round_integer(integer, fraction_bits - precision.fraction_bits, precision.rounding)
    low, high = precision.integer_min, precision.integer_max
    if low <= rounded <= high:
        return rounded
    match precision.overflow:
        case Overflow.WRAP:
            return (rounded - low) % (1 << precision.width_bits) + low
        case Overflow.SAT_ZERO:
            return 0
        case _:
            return min(max(rounded, low), high)


def random_target(rng: random.Random, fraction_bits: int) -> Precision:
    width = rng.randint(1, 20)
    integer = width - rng.randint(fraction_bits - 12, fraction_bits + 3)
    signed = rng.random() < 0.7
    return Precision(width, integer, signed, rng.choice(list(Rounding)), rng.choice(list(Overflow)))


@pytest.mark.parametrize(("carrier", "bits"), [(Carrier.FLOAT32, 22), (Carrier.FLOAT64, 50), (Carrier.INT64, 60)])
@given(seed=st.integers(0, 1 << 32))
def test_casts_equal_integer_arithmetic(carrier: Carrier, bits: int, seed: int) -> None:
    rng = random.Random(seed)
    fraction_bits = rng.randint(0, 20)
    target = random_target(rng, fraction_bits)
    reach = 1 << rng.randint(1, bits)
    low = rng.choice([-reach, 0])
    integers = [low, low + 1, 0, 1, reach - 1] + [rng.randint(low, reach - 1) for _ in range(40)]
    integers += [max(rng.randint(low, reach - 1) >> 6 << 6, low) for _ in range(20)]  # ties and multiples
    b = Builder()
    value = source_value(low, reach - 1, fraction_bits, (1,), carrier)
    result = b.regrid(b.cast(value, target), target.fraction_bits)
    assert evaluate(b, result, value, np.array(integers, object)) == [
        cast_integer(integer, fraction_bits, target) for integer in integers
    ]
    assert max(-result.low, result.high) <= LIMIT[result.carrier]


@given(seed=st.integers(0, 1 << 32))
def test_two_casts_in_a_row(seed: int) -> None:
    """Pending steps of the first cast must not swallow the second's."""
    rng = random.Random(seed)
    fraction_bits = rng.randint(4, 10)
    first, second = random_target(rng, fraction_bits), random_target(rng, rng.randint(0, fraction_bits))
    integers = list(range(-300, 300, 7))
    b = Builder()
    value = source_value(-300, 300, fraction_bits, (1,), Carrier.FLOAT32)
    result = b.regrid(b.cast(b.clip(b.cast(value, first), 0, 1 << 30), second), second.fraction_bits)
    expected = [max(cast_integer(integer, fraction_bits, first), 0) for integer in integers]
    got = evaluate(b, result, value, np.array(integers, object))
    assert got == [cast_integer(integer, first.fraction_bits, second) for integer in expected]


@pytest.mark.parametrize("bits", [6, 14, 24])
@given(seed=st.integers(0, 1 << 32))
def test_weighted_sums_equal_a_loop_over_products(bits: int, seed: int) -> None:
    """Accumulators wide and narrow, of every mode, in the order of the taps."""
    rng = random.Random(seed)
    taps, outputs, fraction_bits = rng.randint(1, 6), rng.randint(1, 3), rng.randint(0, 6)
    reach = 1 << bits
    weights = np.array([[rng.randint(-reach, reach) for _ in range(outputs)] for _ in range(taps)])
    bias = np.array([rng.randint(-8, 8) for _ in range(outputs)])
    accum = Precision(*rng.choice([(rng.randint(2, 30), rng.randint(1, 30)), (60, 40)])).with_modes(
        rng.choice(list(Rounding)), rng.choice(list(Overflow))
    )
    start = [cast_integer(int(value), 0, accum) for value in bias]
    order = np.array(rng.sample(range(taps), taps))
    kernel = Kernel(weights, fraction_bits, np.array(start, object), accum.fraction_bits, order)
    b = Builder()
    x = source_value(-reach, reach, fraction_bits, (taps,), narrowest(-reach, reach))
    images = [[rng.randint(-reach, reach) for _ in range(taps)] for _ in range(5)]
    try:
        result = b.regrid(weighted_sum(b, x, kernel, None, accum), max(accum.fraction_bits, 0))
    except RangeTooWide:
        return
    expected = []
    for image in images:
        for output in range(outputs):
            total = start[output]
            for tap in order:
                product = cast_integer(image[tap] * int(weights[tap, output]), 2 * fraction_bits, accum)
                total = cast_integer(total + product, accum.fraction_bits, accum)
            expected.append(total << max(-accum.fraction_bits, 0))
    assert evaluate(b, result, x, np.array(images, object)) == expected


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("bits", [5, 10, 14, 28])
def test_convolutions_of_any_width_equal_a_loop(bits: int, depthwise: bool) -> None:
    """float32, float32 in parts, float64 and int64 convolutions, padded and strided."""
    rng = np.random.default_rng(bits)
    reach, channels, filters = 1 << bits, 3, 3 if depthwise else 4
    window = Window((2, 3), (2, 1), (1, 0), (0, 1), (1, 1), (3, 3))
    weights = rng.integers(-reach, reach, (6 if depthwise else 6 * channels, filters))
    kernel = Kernel(weights, 3, np.arange(filters), 2, np.arange(len(weights)), depthwise)
    images = rng.integers(-reach, reach, (2, 5, 4, channels))
    b = Builder()
    x = source_value(-reach, reach, 4, (5, 4, channels), narrowest(-reach, reach))
    result = b.regrid(weighted_sum(b, x, kernel, window, None), 7)
    padded = np.pad(images.astype(object), ((0, 0), (1, 0), (0, 1), (0, 0)))
    expected = []
    for image in padded:
        for row, column, output in np.ndindex(3, 3, filters):
            patch = image[2 * row : 2 * row + 2, column : column + 3]
            taps = patch.reshape(6, channels)[:, output] if depthwise else patch.ravel()
            expected.append(int(taps @ weights[:, output].astype(object)) + (int(kernel.bias[output]) << 5))
    assert evaluate(b, result, x, images.astype(object)) == expected


def test_a_range_beyond_63_bits_is_refused() -> None:
    with pytest.raises(RangeTooWide):
        narrowest(-(2**70), 0)
    assert narrowest(-(2**24), 2**24) is Carrier.FLOAT32
    assert narrowest(0, 2**24 + 1) is Carrier.FLOAT64
    assert narrowest(0, 2**53 + 1) is Carrier.INT64
    assert ONNX_TYPE[Carrier.INT64] == TensorProto.INT64
