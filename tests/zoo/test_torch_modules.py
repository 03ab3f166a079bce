"""PyTorch modules become Keras networks with equal outputs, and FPGA projects with the bits of those.

Needs PyTorch, which is large: ``.ci/torch`` installs it and runs this file; elsewhere it is skipped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed; .ci/torch installs it and runs these")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812
from torch.nn.utils import prune  # noqa: E402

from toolkit.config import HlsConfig, QuantConfig  # noqa: E402
from toolkit.emulation import emulate  # noqa: E402
from toolkit.errors import DataError, ModelError  # noqa: E402
from toolkit.hls import build_csim, write_project  # noqa: E402
from toolkit.training import fold, quantize  # noqa: E402
from toolkit.zoo import build_model, from_torch  # noqa: E402


class ConvNet(nn.Module):
    """PyTorch's MNIST example: functional calls, channel dropout, view, log-softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 10, 5), nn.Conv2d(10, 20, 5)
        self.drop = nn.Dropout2d()
        self.fc1, self.fc2 = nn.Linear(320, 50), nn.Linear(50, 10)

    def forward(self, x: Any) -> Any:
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.drop(self.conv2(x)), 2)).view(-1, 320)
        x = F.dropout(F.relu(self.fc1(x)), training=self.training)
        return F.log_softmax(self.fc2(x), dim=1)


class Residual(nn.Module):
    """Convolution, batch norm and relu with a skip, a strided block, global pooling."""

    def __init__(self) -> None:
        super().__init__()

        def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
            convolution = nn.Conv2d(inputs, outputs, 3, padding=1, stride=stride, bias=False)
            return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))

        self.first, self.second, self.third = block(3, 8), block(8, 8), block(8, 16, 2)
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(16, 5)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)

    def forward(self, x: Any) -> Any:
        x = self.first(x)
        return self.head(torch.flatten(self.pool(self.third(x + self.second(x))), 1))


class Sequence(nn.Module):
    """A dense layer on each time step, channels first only for the convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.conv = nn.Linear(4, 6), nn.Conv1d(6, 2, 1)

    def forward(self, x: Any) -> Any:
        return self.conv(self.dense(x).permute(0, 2, 1)).mean(dim=2)


def separable() -> nn.Module:
    blocks = [nn.Conv2d(3, 3, 3, groups=3, padding=1), nn.Conv2d(3, 8, 1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(8 * 8 * 8, 10), nn.BatchNorm1d(10), nn.Softmax(dim=1))


def pruned() -> nn.Module:
    module = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 5))
    prune.l1_unstructured(module[0], "weight", 0.5)
    module(torch.zeros(1, 16))  # its weight is now computed, which deepcopy refuses
    return module


def series() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv1d(4, 8, 3), nn.LeakyReLU(0.25), nn.AvgPool1d(2), nn.Flatten(), nn.ReLU(), nn.Linear(120, 3))
    )


MODULES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "ConvNet": (ConvNet, (1, 28, 28)),
    "residual": (Residual, (3, 16, 16)),
    "separable": (separable, (3, 16, 16)),
    "series": (series, (4, 32)),
    "pruned": (pruned, (16,)),
    "sequence": (Sequence, (7, 4)),
}


def images(shape: tuple[int, ...], count: int = 6) -> Any:
    return np.random.default_rng(1).normal(0, 1, (count, *shape)).astype(np.float32)


def last(x: Any) -> Any:
    return np.moveaxis(x, 1, -1)


@pytest.mark.parametrize("name", MODULES)
def test_outputs_equal_those_of_pytorch(name: str) -> None:
    torch.manual_seed(0)
    build, shape = MODULES[name]
    module, x = build().eval(), images(shape)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    model = from_torch(module, input_shape=shape)
    expected = module(torch.from_numpy(x)).detach().numpy()
    got = model.predict(last(x), verbose=0)
    if name == "ConvNet":  # its log-softmax is left to the loss
        got = F.log_softmax(torch.from_numpy(got), dim=1).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


def test_pruned_weights_stay_zero() -> None:
    kernel = from_torch(pruned(), input_shape=(16,)).layers[1].get_weights()[0]
    assert (kernel == 0).mean() == 0.5


def test_the_seed_convnet_is_the_zoo_network() -> None:
    ours = build_model("convnet", input_shape=(28, 28, 1), classes=10)
    theirs = from_torch(ConvNet(), input_shape=(1, 28, 28))
    kinds = [(type(layer).__name__, layer.output.shape) for layer in theirs.layers]
    assert kinds == [(type(layer).__name__, layer.output.shape) for layer in ours.layers]


def test_a_program_file_needs_no_shape(tmp_path: Path) -> None:
    module = separable().eval()
    torch.export.save(torch.export.export(module, (torch.zeros(1, 3, 16, 16),)), tmp_path / "net.pt2")
    x = images((3, 16, 16))
    got = from_torch(tmp_path / "net.pt2").predict(last(x), verbose=0)
    np.testing.assert_allclose(got, module(torch.from_numpy(x)).detach().numpy(), atol=1e-5)


@pytest.mark.csim
def test_a_module_becomes_a_project_whose_emulator_equals_csim(tmp_path: Path) -> None:
    config = HlsConfig(io_type="io_stream", precision="ap_fixed<18,8>")
    project = write_project(series().eval(), config, tmp_path / "p", input_shape=(4, 32))
    x = last(images((4, 32)))
    np.testing.assert_array_equal(build_csim(project).predict(x), emulate(project).predict(x))


def test_a_module_is_quantized_and_folded() -> None:
    model = fold(from_torch(Residual(), input_shape=(3, 16, 16)))
    calibration = last(images((3, 16, 16), 32))
    quantized = quantize(model, QuantConfig(weight_bits=8, activation_bits=8), calibration)
    emulator = emulate(quantized, HlsConfig(io_type="io_stream", invalid_reuse_factor="nearest"))
    np.testing.assert_array_equal(emulator.predict(calibration), quantized.predict(calibration, verbose=0))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.GELU()), "'1': PyTorch operator gelu has no counterpart"),
        (nn.Sequential(nn.Linear(4, 4), nn.Hardtanh()), "lower end of hardtanh must be 0.0, got -1.0"),
        (nn.Linear(5, 4), "torch.export cannot capture the module"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_layer(module: nn.Module, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        from_torch(module, input_shape=(4,))


def test_what_is_missing_or_in_another_order_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="give input_shape"):
        from_torch(nn.Linear(4, 4))
    (tmp_path / "bad.pt2").write_bytes(b"no archive")
    with pytest.raises(ModelError, match=r"bad\.pt2 is not an archive"):
        from_torch(tmp_path / "bad.pt2")
    emulator = emulate(from_torch(series(), input_shape=(4, 32)), HlsConfig(precision="ap_fixed<16,6>"))
    with pytest.raises(DataError, match=r"channels come last here, which is x\.transpose\(0, 2, 1\)"):
        emulator.predict(images((4, 32)))
