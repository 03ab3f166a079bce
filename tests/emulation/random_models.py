"""Random small models over every layer kind, with random types, and the design to build from them.

A bundle is several independent models side by side in one Keras model, so that one compile proves
them all.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from toolkit.config import HlsConfig, LayerHlsConfig
from toolkit.hls.reuse import valid_reuse_factors
from toolkit.precision import Overflow, Rounding

K = keras.layers


@dataclass
class Draw:
    """A model being drawn: the random numbers, the io type and what was decided per layer."""

    rng: random.Random
    io_type: str
    prefix: str
    depthwise_rank: int = 2
    layers: dict[str, LayerHlsConfig] = field(default_factory=dict)

    @property
    def stream(self) -> bool:
        return self.io_type == "io_stream"

    def name(self, kind: str) -> str:
        return f"{self.prefix}_{len(self.layers)}_{kind}"

    def decide(self, name: str, **keys: Any) -> str:
        """Note what differs for a layer; returns its name."""
        self.layers[name] = LayerHlsConfig(**keys)
        return name

    def type(self, widest: int = 10, narrowest: int = 2, signed: bool | None = None) -> str:
        """A random type with at least the sign in front of the binary point."""
        is_signed = self.rng.random() < 0.75 if signed is None else signed
        width = self.rng.randint(narrowest, widest + (8 if self.rng.random() < 0.15 else 0))
        integer = self.rng.randint(int(is_signed), width)
        rounding, overflow = self.rng.choice(list(Rounding)), self.rng.choice(list(Overflow))
        return f"ap_{'' if is_signed else 'u'}fixed<{width},{integer},{rounding},{overflow}>"

    def result(self, chance: float = 0.5) -> dict[str, str]:
        """A random result type, or hls4ml's own."""
        return {"result": self.type()} if self.rng.random() < chance else {}

    def sums(self) -> dict[str, str]:
        """Types of a weighted sum: weights always, accumulator and result sometimes narrow."""
        types = {"weight": self.type(8, 2, True), "bias": self.type(8, 2, True), **self.result()}
        if self.rng.random() < 0.5:
            types["accum"] = self.type(14, 5, True)
        return types


Layer = Callable[[Draw, Any], Any]


def weights(draw: Draw) -> dict[str, Any]:
    """Initializers that fill a good part of a narrow type's range."""
    spread = draw.rng.choice([0.3, 1.0, 3.0])
    seed = draw.rng.randint(0, 1 << 30)
    return {"use_bias": True, "bias_initializer": keras.initializers.RandomNormal(0.0, spread, seed + 1)}


def kernel(draw: Draw, name: str = "kernel_initializer") -> dict[str, Any]:
    spread = draw.rng.choice([0.3, 1.0, 3.0])
    return {name: keras.initializers.RandomNormal(0.0, spread, draw.rng.randint(0, 1 << 30))}


def strategy(draw: Draw, n_in: int, n_out: int, *, resource: bool = True) -> dict[str, Any]:
    """Latency, or Resource with a valid reuse factor that hls4ml also computes rightly."""
    if not resource or draw.rng.random() < 0.6:
        return {"strategy": "Latency", "reuse_factor": 1}
    choices = [factor for factor in valid_reuse_factors(n_in, n_out) if factor <= n_in or draw.stream]
    return {"strategy": "Resource", "reuse_factor": draw.rng.choice(choices)}


def dense(draw: Draw, x: Any) -> Any:
    units = draw.rng.randint(1, 5)
    name = draw.decide(draw.name("dense"), precision=draw.sums(), **strategy(draw, x.shape[-1], units))
    return K.Dense(units, name=name, **weights(draw), **kernel(draw))(x)


def conv(draw: Draw, x: Any) -> Any:
    rank, filters = len(x.shape) - 2, draw.rng.randint(1, 4)
    size = [draw.rng.randint(1, min(3, extent)) for extent in x.shape[1:-1]]
    keys = strategy(draw, int(np.prod(size)) * x.shape[-1], filters)
    name = draw.decide(draw.name("conv"), precision=draw.sums(), **keys)
    make = K.Conv2D if rank == 2 else K.Conv1D
    stride = draw.rng.randint(1, 2)
    if draw.stream and rank == 2 and size[0] == 1 < size[1]:
        stride = 1  # hls4ml ignores the vertical stride of a flat kernel in io_stream
    padding = draw.rng.choice(["same", "valid"])
    return make(filters, size, strides=stride, padding=padding, name=name, **weights(draw), **kernel(draw))(x)


def depthwise(draw: Draw, x: Any) -> Any:
    rank = len(x.shape) - 2
    size = [draw.rng.randint(1 + draw.stream, 3) for _ in x.shape[1:-1]]
    if rank != draw.depthwise_rank:
        return x  # hls4ml's headers for 1D and 2D share an include guard: not both in one design
    if any(extent < edge for extent, edge in zip(x.shape[1:-1], size, strict=True)):
        return x
    keys = strategy(draw, int(np.prod(size)) * x.shape[-1], x.shape[-1], resource=draw.stream)
    name = draw.decide(draw.name("depthwise"), precision=draw.sums(), **keys)
    make = K.DepthwiseConv2D if rank == 2 else K.DepthwiseConv1D
    padding = draw.rng.choice(["same", "valid"])
    return make(size, padding=padding, name=name, **weights(draw), **kernel(draw, "depthwise_initializer"))(x)


def separable(draw: Draw, x: Any) -> Any:
    if len(x.shape) - 2 != draw.depthwise_rank or min(x.shape[1:-1]) < 2:
        return x
    filters, name = draw.rng.randint(1, 3), draw.name("separable")
    for part in ("depthwise", "pointwise"):
        draw.decide(f"{name}_{part}", precision=draw.sums(), strategy="Latency", reuse_factor=1)
    make = K.SeparableConv2D if len(x.shape) == 4 else K.SeparableConv1D
    spread = {"depthwise_initializer": "random_normal", "pointwise_initializer": "random_normal"}
    return make(filters, 2, padding=draw.rng.choice(["same", "valid"]), name=name, **weights(draw), **spread)(x)


def batch_norm(draw: Draw, x: Any) -> Any:
    if draw.layers and next(reversed(draw.layers)).endswith(("conv", "dense", "depthwise")):
        return x  # hls4ml folds it
    types = {"scale": draw.type(8, 2, True), "bias": draw.type(8, 2, True), **draw.result()}
    name = draw.decide(draw.name("norm"), precision=types)
    seed = draw.rng.randint(0, 1 << 30)
    normal = keras.initializers.RandomNormal
    return K.BatchNormalization(
        name=name,
        gamma_initializer=normal(0.5, 1.0, seed),
        beta_initializer=normal(0.0, 1.0, seed + 1),
        moving_mean_initializer=normal(0.0, 0.5, seed + 2),
        moving_variance_initializer=keras.initializers.RandomUniform(0.5, 2.0, seed + 3),
    )(x)


def pool(draw: Draw, x: Any) -> Any:
    rank = len(x.shape) - 2
    size = [draw.rng.randint(1, min(3, extent)) for extent in x.shape[1:-1]]
    strides = size if draw.stream else [draw.rng.randint(1, 3) for _ in size]
    kind = draw.rng.choice(["Max", "Average"])
    types = draw.result(0.4) | ({"accum": draw.type(12, 4)} if draw.rng.random() < 0.5 else {})
    name = draw.decide(draw.name(f"{kind.lower()}_pool"), precision=types or None)
    return getattr(K, f"{kind}Pooling{rank}D")(size, strides=strides, name=name)(x)


def global_pool(draw: Draw, x: Any) -> Any:
    kind = draw.rng.choice(["Max", "Average"])
    types = draw.result(0.4) | ({"accum": draw.type(12, 4)} if draw.rng.random() < 0.5 else {})
    name = draw.decide(draw.name(f"global_{kind.lower()}"), precision=types or None)
    return getattr(K, f"Global{kind}Pooling{len(x.shape) - 2}D")(name=name)(x)


def padding(draw: Draw, x: Any) -> Any:
    name = draw.decide(draw.name("padding"))
    if len(x.shape) == 4:
        sides = [[draw.rng.randint(0, 2), draw.rng.randint(0, 2)] for _ in range(2)]
        return K.ZeroPadding2D(sides, name=name)(x)
    return K.ZeroPadding1D((draw.rng.randint(0, 2), draw.rng.randint(0, 2)), name=name)(x)


def up_sampling(draw: Draw, x: Any) -> Any:
    name = draw.decide(draw.name("up"))
    if len(x.shape) == 4:
        return K.UpSampling2D((draw.rng.randint(1, 2), draw.rng.randint(1, 3)), name=name)(x)
    return K.UpSampling1D(draw.rng.randint(1, 3), name=name)(x)


def cropping(draw: Draw, x: Any) -> Any:
    if min(x.shape[1:-1]) < 3:
        return x
    name = draw.decide(draw.name("crop"))
    if len(x.shape) == 4:
        return K.Cropping2D(((1, 0), (0, 1)), name=name)(x)
    return K.Cropping1D((1, 0), name=name)(x)


def permute(draw: Draw, x: Any) -> Any:
    order = list(range(1, len(x.shape)))
    draw.rng.shuffle(order)
    if draw.stream and order == [1, 2]:
        order = [2, 1]  # an order that stays is refused
    return K.Permute(order, name=draw.decide(draw.name("permute")))(x)


def relu(draw: Draw, x: Any) -> Any:
    return K.ReLU(name=draw.decide(draw.name("relu"), precision=draw.result(0.7) or None))(x)


def table_activation(draw: Draw, x: Any) -> Any:
    """Activations looked up in a table, of a size hls4ml need not have seen."""
    kind = draw.rng.choice(["sigmoid", "tanh", "softplus", "softsign", "selu"])
    size = draw.rng.choice([None, 256, 512, 1000])
    types = {"result": draw.type()} | ({"table": draw.type(12, 4)} if draw.rng.random() < 0.5 else {})
    if kind == "selu" and draw.io_type == "io_stream":  # refused where its input's type does not hold its scale
        held = {"result": "ap_fixed<9,4>", "param": "ap_fixed<8,1>"}
        x = K.LeakyReLU(0.125, name=draw.decide(draw.name("held"), precision=held))(x)
    name = draw.decide(draw.name(kind), precision=types, table_size=size)
    return K.Activation(kind, name=name)(x)


def elu(draw: Draw, x: Any) -> Any:
    name = draw.decide(draw.name("elu"), precision={"result": draw.type(), "param": draw.type(8, 3, False)})
    return K.ELU(draw.rng.choice([1.0, 0.7]), name=name)(x)


def leaky_relu(draw: Draw, x: Any) -> Any:
    name = draw.decide(draw.name("leaky"), precision={"result": draw.type(), "param": draw.type(8, 3)})
    return K.LeakyReLU(draw.rng.choice([0.125, 0.3]), name=name)(x)


def prelu(draw: Draw, x: Any) -> Any:
    name = draw.decide(draw.name("prelu"), precision={"result": draw.type(), "param": draw.type(8, 3, True)})
    return K.PReLU(keras.initializers.RandomNormal(0.2, 0.5, draw.rng.randint(0, 1 << 30)), name=name)(x)


def hard_activation(draw: Draw, x: Any) -> Any:
    name = draw.decide(draw.name("hard_sigmoid"), precision={"result": draw.type()})
    return K.Activation("hard_sigmoid", name=name)(x)


def softmax(draw: Draw, x: Any) -> Any:
    """Every implementation; the tables are no larger than the types that address them."""
    implementation = draw.rng.choice(["stable", "latency", "legacy", "argmax"])
    name = draw.name("softmax")
    size = draw.rng.choice([16, 64]) if implementation in ("stable", "latency") else 512
    types = {"result": draw.type()}
    for kind in ("exp_table", "inv_table", "inv_inp", "accum"):
        if draw.rng.random() < 0.5:
            types[kind] = draw.type(14, 8)
    scale = draw.decide(draw.name("before"), precision={"result": draw.type(12, 8, True)})
    x = K.ReLU(name=scale)(x)
    draw.decide(name, precision=types, implementation=implementation, table_size=size)
    return K.Softmax(name=name)(x)


def flatten(draw: Draw, x: Any) -> Any:
    return K.Flatten(name=draw.decide(draw.name("flatten")))(x)


def merge(draw: Draw, x: Any) -> Any:
    """Two readers of one value, brought together again."""
    kind = draw.rng.choice(["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"])
    left, right = relu(draw, x), draw.rng.choice([leaky_relu, relu])(draw, x)
    return getattr(K, kind)(name=draw.decide(draw.name(kind.lower()), precision=draw.result() or None))([left, right])


ELEMENTWISE: list[Layer] = [batch_norm, relu, relu, table_activation, elu, leaky_relu, prelu, hard_activation, merge]
SPATIAL: list[Layer] = [conv, conv, conv, depthwise, separable, pool, pool, padding, up_sampling, cropping, permute]


def grow(draw: Draw, x: Any, steps: int) -> Any:
    """A chain of random layers."""
    for _ in range(steps):
        spatial = len(x.shape) > 2
        choices = ELEMENTWISE + (SPATIAL * 2 if spatial else [dense, dense, dense])
        x = draw.rng.choice(choices)(draw, x)
    return x


def finish(draw: Draw, x: Any) -> Any:
    """Sometimes a dense layer and a softmax behind the rest."""
    if len(x.shape) > 2 and draw.rng.random() < 0.6:
        x = draw.rng.choice([flatten, global_pool])(draw, x)
        x = dense(draw, x)
    if draw.rng.random() < 0.3 and x.shape[-1] > 1:
        x = softmax(draw, x)
    return x


def one_model(rng: random.Random, io_type: str, prefix: str, depthwise_rank: int) -> tuple[Draw, Any, Any]:
    """What was decided, the input and the output of one random model."""
    draw = Draw(rng, io_type, prefix, depthwise_rank)
    shape = rng.choice(
        [
            (rng.randint(3, 6), rng.randint(3, 6), rng.randint(1, 3)),
            (rng.randint(4, 8), rng.randint(1, 3)),
            (rng.randint(2, 8),),
        ]
    )
    name = draw.decide(f"{prefix}_input", precision={"result": draw.type(10, 4)})
    start = keras.Input(shape, name=name)
    x = grow(draw, start, rng.randint(1, 4))
    x = finish(draw, x)
    if x is start or len(draw.layers) < 2:
        x = relu(draw, x)
    return draw, start, x


@dataclass(frozen=True)
class Bundle:
    """Random models side by side, images for each, and the design to build."""

    model: keras.Model
    images: list[np.ndarray]
    config: HlsConfig


def random_bundle(seed: int, models: int, images: int = 24) -> Bundle:
    """``models`` random models and ``images`` random images for each."""
    rng = random.Random(seed)
    io_type = rng.choice(["io_stream", "io_parallel"])
    depthwise_rank = rng.choice([1, 2])
    drawn = [one_model(rng, io_type, f"m{index}", depthwise_rank) for index in range(models)]
    model = keras.Model([start for _, start, _ in drawn], [end for *_, end in drawn])
    numbers = np.random.default_rng(seed)
    inputs = [
        (numbers.normal(size=(images, *start.shape[1:])) * numbers.choice([0.5, 2, 8])).astype(np.float32)
        for _, start, _ in drawn
    ]
    decided = {name: keys for draw, *_ in drawn for name, keys in draw.layers.items()}
    backend = rng.choice(["Vitis", "Vivado"])
    config = HlsConfig(io_type=io_type, backend=backend, precision="ap_fixed<12,5>", layers=decided)
    return Bundle(model, inputs, config)
