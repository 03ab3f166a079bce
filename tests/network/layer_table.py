"""The layer table of the README, from the registries: ``python tests/network/layer_table.py`` writes it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from toolkit.emulation.layers import LOWERINGS
from toolkit.estimation.stages import STAGES
from toolkit.network import KINDS, Layer, layers

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- layers: python tests/network/layer_table.py -->\n", "<!-- /layers -->\n"

# The Keras layers that become each kind; what none becomes comes from projects and ModelGraphs of others.
KERAS: dict[type[Layer], tuple[str, ...]] = {
    layers.Input: ("InputLayer",),
    layers.Dense: ("Dense",),
    layers.Convolution: ("Conv1D", "Conv2D"),
    layers.Pointwise: ("Conv1D", "Conv2D", "SeparableConv1D", "SeparableConv2D"),
    layers.Depthwise: ("DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"),
    layers.Scale: ("BatchNormalization",),
    layers.Activation: ("ReLU", "Activation"),
    layers.HardActivation: ("Activation",),
    layers.TableActivation: ("Activation",),
    layers.LeakyRelu: ("LeakyReLU",),
    layers.Elu: ("ELU",),
    layers.Prelu: ("PReLU",),
    layers.Softmax: ("Softmax",),
    layers.Pooling: ("MaxPooling1D", "MaxPooling2D", "AveragePooling1D", "AveragePooling2D"),
    layers.GlobalPooling: ("GlobalMaxPooling2D", "GlobalAveragePooling1D", "GlobalAveragePooling2D"),
    layers.Merge: ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"),
    layers.Concatenate: ("Concatenate",),
    layers.Dot: ("Dot",),
    layers.Reshape: ("Flatten", "Reshape"),
    layers.Repack: ("Flatten", "Reshape"),
    layers.Transpose: ("Permute",),
    layers.ZeroPadding: ("ZeroPadding1D", "ZeroPadding2D"),
    layers.Cropping: ("Cropping1D", "Cropping2D"),
    layers.Resize: ("UpSampling1D", "UpSampling2D"),
    layers.Clone: ("(a stream with two readers)",),
}


def rows() -> list[tuple[str, ...]]:
    """Kind, Keras layers, and a tick for each stage that knows the kind."""
    from toolkit.training.quantize import QUANTIZABLE

    found = []
    for kind in KINDS:
        keras = KERAS.get(kind, ())
        known = (
            any(name in QUANTIZABLE for name in keras) or kind is layers.Clone,
            bool(keras),
            kind in LOWERINGS or kind is layers.Input,
            kind in STAGES,
        )
        found.append((kind.kind, ", ".join(keras) or "-", *("yes" if yes else "-" for yes in known)))
    return found


def table() -> str:
    """The table as Markdown."""
    head = ("kind", "from Keras", "quantize", "convert", "emulate", "estimate")
    lines = ["| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows())]
    return "\n".join(lines) + "\n"


def written(text: str) -> str:
    """The README with the table between its marks."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + "\n" + table() + "\n" + END + rest.split(END)[1]


if __name__ == "__main__":
    README.write_text(written(README.read_text()))
    sys.exit(0)
