"""What hls4ml computes wrongly or cannot build is refused by layer and reason; what stands next to it converts."""

from __future__ import annotations

import keras
import pytest
from qkeras import QActivation, quantized_bits, quantized_relu

from tests.hls.small_models import K
from toolkit.config import HlsConfig
from toolkit.errors import ConfigError, UnsupportedLayer
from toolkit.hls.convert import convert

IMAGE = (6, 6, 2)
FLOAT = HlsConfig(precision="ap_fixed<16,6>")


def chain(*layers: keras.Layer, shape: tuple[int, ...] = IMAGE) -> keras.Model:
    x = start = keras.Input(shape, name="image")
    for layer in layers:
        x = layer(x)
    return keras.Model(start, x)


def flat(strides: tuple[int, int], kernel: tuple[int, int] = (1, 3)) -> keras.Layer:
    return K.Conv2D(2, kernel, strides=strides, name="flat")


STREAM_ONLY = {
    "a kernel of one row that steps down": (lambda: flat((2, 1)), "ignores the vertical stride"),
    "and its depthwise form": (
        lambda: K.DepthwiseConv2D((1, 2), strides=(2, 2), name="flat"),
        "ignores the vertical stride",
    ),
    "a depthwise pixel": (lambda: K.DepthwiseConv2D(1, strides=2, name="flat"), "ignores the vertical stride"),
    "windows that overlap": (
        lambda: K.MaxPooling2D(3, strides=1, name="flat"),
        r"the pool size \(3, 3\), got \(1, 1\)",
    ),
    "a function only arrays have": (lambda: K.Activation("relu6", name="flat"), "exists in io_parallel only"),
}


@pytest.mark.parametrize(("layer", "reason"), STREAM_ONLY.values(), ids=STREAM_ONLY)
def test_what_streams_do_not_compute(layer, reason: str) -> None:
    with pytest.raises(UnsupportedLayer, match=rf"layer 'flat': .*{reason}"):
        convert(chain(layer()), FLOAT.change(io_type="io_stream"))
    convert(chain(layer()), FLOAT.change(io_type="io_parallel"))


@pytest.mark.parametrize(
    "layer",
    [lambda: flat((1, 2)), lambda: flat((2, 1), (2, 3)), lambda: flat((2, 2), (1, 1)), lambda: flat((2, 1), (3, 1))],
    ids=["sideways", "two rows", "one pixel", "one column"],
)
def test_neighbours_of_the_flat_kernel_convert(layer) -> None:
    convert(chain(layer()), FLOAT.change(io_type="io_stream"))


def test_two_axes_that_stay_are_no_transposition_in_a_stream() -> None:
    """csim swaps them: found by a random model."""
    stay, swap = (chain(K.Permute(order, name="order"), shape=(7, 2)) for order in ((1, 2), (2, 1)))
    with pytest.raises(UnsupportedLayer, match=r"layer 'order': .*swaps two axes"):
        convert(stay, FLOAT.change(io_type="io_stream"))
    convert(stay, FLOAT.change(io_type="io_parallel"))
    convert(swap, FLOAT.change(io_type="io_stream"))


IGNORED = {
    "dilation": (lambda: K.Conv2D(2, 2, dilation_rate=2, name="odd"), r"dilation_rate must be 1, got \(2, 2\)"),
    "groups": (lambda: K.Conv2D(2, 3, groups=2, name="odd"), "groups must be 1, got 2"),
    "filters per channel": (lambda: K.DepthwiseConv2D(3, depth_multiplier=2, name="odd"), "depth_multiplier must be 1"),
    "axis": (lambda: K.BatchNormalization(axis=1, name="odd"), "axis must be the last, got 1"),
    "ceiling": (lambda: K.ReLU(max_value=6, name="odd"), "max_value must be none, got 6"),
    "axes that stay": (lambda: K.GlobalMaxPooling2D(keepdims=True, name="odd"), "keepdims must be false"),
    "shared slopes": (lambda: K.PReLU(shared_axes=[1, 2], name="odd"), r"shared_axes must be none, got \[1, 2\]"),
    "interpolation": (
        lambda: K.UpSampling2D(2, interpolation="bilinear", name="odd"),
        "interpolation must be nearest, got bilinear",
    ),
    "function": (lambda: K.Activation("gelu", name="odd"), 'hls4ml has no activation "gelu"'),
    "nearly a function": (lambda: K.Activation("tanh_shrink", name="odd"), 'did you mean "tanh"'),
}


@pytest.mark.parametrize(("layer", "reason"), IGNORED.values(), ids=IGNORED)
def test_settings_that_hls4ml_passes_over(layer, reason: str) -> None:
    with pytest.raises(UnsupportedLayer, match=rf"layer 'odd': .*{reason}"):
        convert(chain(layer()), FLOAT)


def activated(quantizer: object, *, integer: int = 2) -> keras.Model:
    """A quantizer of a range of values, and an activation behind it."""
    first = QActivation(quantized_bits(8, integer, alpha=1), name="first")
    return chain(first, QActivation(quantizer, name="odd"), shape=(6,))


@pytest.mark.parametrize("io_type", ["io_stream", "io_parallel"])
def test_ends_of_quantized_relus_that_hls4ml_does_not_have(io_type: str) -> None:
    config = HlsConfig(io_type=io_type)
    bounded = quantized_relu(8, 2, relu_upper_bound=1.5, is_quantized_clip=False)
    with pytest.raises(UnsupportedLayer, match=r"'odd'.*relu_upper_bound=1.5"):
        convert(activated(bounded), config)
    convert(activated(quantized_relu(8, 2, relu_upper_bound=1.5)), config)  # without effect in QKeras
    leaky = quantized_relu(6, 1, negative_slope=0.25)
    with pytest.raises(UnsupportedLayer, match=r"'odd'.*clips at -0.5.*reaches -4"):
        convert(activated(leaky), config)
    convert(activated(leaky, integer=1), config)


def test_selu_in_a_stream_needs_a_type_that_holds_its_scale() -> None:
    model = chain(K.Activation("selu", name="odd"), shape=(6,))
    with pytest.raises(UnsupportedLayer, match=r"'odd'.*2 integer bits"):
        convert(model, HlsConfig(precision="ap_fixed<12,1>", io_type="io_stream"))
    convert(model, HlsConfig(precision="ap_fixed<12,1>", io_type="io_parallel"))
    convert(model, HlsConfig(precision="ap_fixed<12,2>", io_type="io_stream"))


def merged(*shapes: tuple[int, ...], layer: object = K.Add) -> keras.Model:
    tensors = [keras.Input(shape) for shape in shapes]
    return keras.Model(tensors, layer(name="odd")(tensors))  # type: ignore[operator]


def test_merges_hls4ml_does_not_compute() -> None:
    parallel = FLOAT.change(io_type="io_parallel")
    with pytest.raises(UnsupportedLayer, match=r"'odd'.*different shapes .*\(2, 3\) and \(2, 1\)"):
        convert(merged((2, 3), (2, 1)), parallel)
    with pytest.raises(UnsupportedLayer, match=r"'odd'.*two tensors, got 3"):
        convert(merged((3,), (3,), (3,)), parallel)
    start = keras.Input((4,))
    with pytest.raises(UnsupportedLayer, match="Add on tensors"):
        convert(keras.Model(start, K.Dense(4)(start) + start), parallel)
    inner = keras.Sequential([keras.Input((4,)), K.Dense(3)], name="odd")
    with pytest.raises(UnsupportedLayer, match=r"'odd'.*a model inside a model"):
        convert(keras.Model(start, inner(start)), parallel)


def test_every_layer_is_named_at_once() -> None:
    first, second = K.Conv2D(2, 2, dilation_rate=2, name="first"), K.Conv2D(2, 2, groups=2, name="second")
    with pytest.raises(UnsupportedLayer, match=r"'first'[^\n]*\nlayer 'second'"):
        convert(chain(first, second), FLOAT)


def test_depthwise_convolutions_of_both_ranks_do_not_compile_together() -> None:
    layers = [K.DepthwiseConv2D(3, name="two"), K.Reshape((16, 2), name="line"), K.SeparableConv1D(2, 3, name="one")]
    with pytest.raises(UnsupportedLayer, match=r"'one_depthwise': 1D and 2D depthwise.*'two' is the other"):
        convert(chain(*layers), FLOAT)


@pytest.mark.parametrize(("backend", "kernel"), [("Vitis", 3), ("Vivado", (1, 3))])
def test_the_encoded_implementation_has_its_place(backend: str, kernel) -> None:
    config = FLOAT.change(backend=backend, layers={"conv": {"implementation": "encoded"}})
    with pytest.raises(ConfigError, match="encoded is for the Vivado backend and square kernels"):
        convert(chain(K.Conv2D(2, kernel, name="conv")), config)


ELSEWHERE = ("filters per channel", "axis", "shared slopes")


@pytest.mark.parametrize("name", ELSEWHERE)
def test_the_emulator_refuses_them_in_projects_of_others(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from toolkit.emulation import emulate

    for check in ("check_settings", "check_layers"):
        monkeypatch.setattr(f"toolkit.hls.convert.{check}", lambda *arguments: None)
    with pytest.raises(UnsupportedLayer, match=r"layer 'odd'.*which hls4ml computes wrongly"):
        emulate(chain(IGNORED[name][0]()), FLOAT)
