"""Layers that hls4ml knows but this toolkit does not convert to, as hls4ml layer dictionaries."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from hls4ml.model import ModelGraph
from hls4ml.model.quantizers import BinaryQuantizer, TernaryQuantizer
from hls4ml.utils.config import create_config

from toolkit.config import HlsConfig
from toolkit.hls.graph import read_graph
from toolkit.records import HlsProject

WIDTH = 6
IMAGES = 40

Layer = dict[str, Any]


def start(name: str, shape: tuple[int, ...] = (WIDTH,)) -> Layer:
    return {"name": name, "class_name": "InputLayer", "input_shape": list(shape), "inputs": []}


def dense(name: str, source: str, n_in: int, n_out: int, quantizer: Any) -> Layer:
    rng = np.random.default_rng(len(name))
    return {
        "name": name,
        "class_name": "Dense",
        "n_in": n_in,
        "n_out": n_out,
        "weight_data": rng.normal(size=(n_in, n_out)),
        "bias_data": rng.normal(size=n_out).round(1),
        "use_bias": True,
        "weight_quantizer": quantizer,
        "bias_quantizer": None,
        "inputs": [source],
        "data_format": "channels_last",
    }


def batch_norm(name: str, source: str, n_in: int) -> Layer:
    rng = np.random.default_rng(len(name))
    return {
        "name": name,
        "class_name": "BatchNormalization",
        "n_in": n_in,
        "n_out": n_in,
        "n_filt": -1,
        "epsilon": 1e-3,
        "use_gamma": True,
        "use_beta": True,
        "gamma_data": rng.normal(size=n_in) + 0.1,
        "beta_data": rng.normal(size=n_in),
        "mean_data": rng.normal(size=n_in) * 0.3,
        "variance_data": rng.random(n_in) + 0.5,
        "inputs": [source],
        "data_format": "channels_last",
    }


def activation(name: str, source: str, kind: str, n_in: int = WIDTH) -> Layer:
    return {"name": name, "class_name": "Activation", "activation": kind, "n_in": n_in, "inputs": [source]}


def hard(name: str, source: str, kind: str) -> Layer:
    return activation(name, source, kind) | {"class_name": "HardActivation", "slope": 0.3, "shift": 0.5}


def merged_thresholds(prefix: str, kind: str, quantizer: Any) -> list[Layer]:
    """Dense, batch norm and a binary or ternary activation, which hls4ml merges; then products of its bits."""
    act = activation(f"{prefix}_tanh", f"{prefix}_norm", f"{kind}_tanh", 5)
    return [
        start(f"{prefix}_input"),
        dense(f"{prefix}_first", f"{prefix}_input", WIDTH, 5, quantizer(1) if kind == "binary" else quantizer()),
        batch_norm(f"{prefix}_norm", f"{prefix}_first", 5),
        act,
        dense(f"{prefix}_second", f"{prefix}_tanh", 5, 3, quantizer(1) if kind == "binary" else quantizer()),
    ]


def padded_pool(prefix: str, kind: str, *, unsigned: bool) -> list[Layer]:
    """Pooling with a border of padding, of signed values or of unsigned ones."""
    size, channels = 5, 2
    chain = [start(f"{prefix}_input", (size, size, channels))]
    if unsigned:
        relu = activation(f"{prefix}_unsigned", f"{prefix}_input", "relu", size * size * channels)
        chain.append(relu)
    pool = {
        "name": f"{prefix}_pool",
        "class_name": f"{kind}Pooling2D",
        "inputs": [chain[-1]["name"]],
        "data_format": "channels_last",
        **dict.fromkeys(("in_height", "in_width"), size),
        **dict.fromkeys(("out_height", "out_width", "pool_height", "pool_width"), 3),
        **dict.fromkeys(("stride_height", "stride_width"), 2),
        **dict.fromkeys(("pad_top", "pad_bottom", "pad_left", "pad_right"), 1),
        **dict.fromkeys(("n_filt", "n_chan"), channels),
    }
    return [*chain, pool]


SHARED = [
    [start("a"), dense("weight_binary", "a", WIDTH, 4, BinaryQuantizer(1))],
    [start("b"), dense("weight_ternary", "b", WIDTH, 4, TernaryQuantizer())],
    [start("c"), dense("weight_signs", "c", WIDTH, 4, BinaryQuantizer(2))],
    [start("d"), activation("ternary_tanh", "d", "ternary_tanh")],
    [start("e"), activation("binary_tanh", "e", "binary_tanh")],
    [start("f"), hard("hard_tanh", "f", "hard_tanh")],
    [start("g"), hard("hard_sigmoid", "g", "hard_sigmoid")],
]
# hls4ml has no streaming relu6 and relu1 and does not build merged thresholds in io_stream; merging
# puts layers of other chains out of order, so each merged chain is a design of its own.
CASES = {
    "stream": ("io_stream", SHARED),
    "parallel": (
        "io_parallel",
        [*SHARED, [start("h"), activation("relu6", "h", "relu6")], [start("i"), activation("relu1", "i", "relu1")]],
    ),
    "binary thresholds": ("io_parallel", [merged_thresholds("binary", "binary", BinaryQuantizer)]),
    "padded pools": (
        "io_parallel",
        [
            padded_pool(f"{kind}_{sign}".lower(), kind, unsigned=sign == "unsigned")
            for kind in ("Max", "Average")
            for sign in ("signed", "unsigned")
        ],
    ),
    "ternary thresholds": ("io_parallel", [merged_thresholds("ternary", "ternary", TernaryQuantizer)]),
}


def hls4ml_project(chains: list[list[Layer]], io_type: str, folder: Path) -> tuple[HlsProject, list[np.ndarray]]:
    """A project hls4ml writes from layer dictionaries, and images for every input."""
    layers = [dict(layer) for chain in chains for layer in chain]
    names = {
        layer["name"]: {"Precision": {"result": "ap_ufixed<9,4>"}}
        for layer in layers
        if layer["name"].endswith("unsigned")
    }
    settings = create_config(output_dir=str(folder), project_name="myproject", backend="Vitis", io_type=io_type)
    model = {"Precision": {"default": "ap_fixed<16,6>"}, "ReuseFactor": 1, "Strategy": "Latency", "TraceOutput": False}
    settings["HLSConfig"] = {"Model": model | {"BitExact": False, "BramFactor": 10**9}, "LayerName": names}
    settings |= {"InputData": None, "OutputPredictions": None}
    with contextlib.redirect_stdout(io.StringIO()):
        inputs, outputs = [chain[0]["name"] for chain in chains], [chain[-1]["name"] for chain in chains]
        graph = ModelGraph.from_layer_list(settings, layers, inputs, outputs)
        graph.write()
    config = HlsConfig(io_type=io_type, precision="ap_fixed<16,6>")
    project = HlsProject(folder, "layers", config, read_graph(graph), "myproject")
    rng = np.random.default_rng(0)
    shapes = [(IMAGES, *chain[0]["input_shape"]) for chain in chains]
    return project, [rng.normal(0, 2, shape).astype(np.float32) for shape in shapes]
