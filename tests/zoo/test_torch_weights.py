"""``convnet`` against its PyTorch definition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.errors import ModelError
from toolkit.zoo import build_model, load_torch_state_dict


def fresh_convnet() -> Any:
    return build_model("convnet", input_shape=(28, 28, 1), classes=10)


def state_of_shapes(rng: np.random.Generator) -> dict[str, np.ndarray]:
    shapes = {"conv1": (10, 1, 5, 5), "conv2": (20, 10, 5, 5), "fc1": (50, 320), "fc2": (10, 50)}
    state = {}
    for name, shape in shapes.items():
        state[f"{name}.weight"] = rng.normal(0, 0.2, shape).astype(np.float32)
        state[f"{name}.bias"] = rng.normal(0, 0.2, shape[0]).astype(np.float32)
    return state


def relu_pooled(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """PyTorch's conv 5x5, max pool 2, relu on ``[channels, h, w]``, in NumPy."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (5, 5), axis=(1, 2))
    y = np.einsum("chwij,ocij->ohw", windows, weight) + bias[:, None, None]
    height, width = y.shape[1] // 2, y.shape[2] // 2
    return np.maximum(y.reshape(len(y), height, 2, width, 2).max(axis=(2, 4)), 0)


def test_weights_land_where_pytorch_has_them() -> None:
    """Against the network written out channels first in NumPy: no PyTorch needed."""
    rng = np.random.default_rng(1)
    state = state_of_shapes(rng)
    model = fresh_convnet()
    before = model.get_weights()[0].copy()
    x = rng.random((3, 28, 28, 1), np.float32)
    logits = load_torch_state_dict(state, model).predict_on_batch(x)
    np.testing.assert_array_equal(model.get_weights()[0], before)
    for image, got in zip(x[..., 0], logits, strict=True):
        hidden = relu_pooled(image[None], state["conv1.weight"], state["conv1.bias"])
        hidden = relu_pooled(hidden, state["conv2.weight"], state["conv2.bias"]).ravel()
        hidden = np.maximum(state["fc1.weight"] @ hidden + state["fc1.bias"], 0)
        np.testing.assert_allclose(got, state["fc2.weight"] @ hidden + state["fc2.bias"], rtol=0, atol=2e-5)


def torch_definition() -> Any:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: its convnet cannot be compared")
    functional = torch.nn.functional

    class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = torch.nn.Conv2d(1, 10, kernel_size=5)
            self.conv2 = torch.nn.Conv2d(10, 20, kernel_size=5)
            self.conv2_drop = torch.nn.Dropout2d()
            self.fc1 = torch.nn.Linear(320, 50)
            self.fc2 = torch.nn.Linear(50, 10)

        def forward(self, x: Any) -> Any:
            x = functional.relu(functional.max_pool2d(self.conv1(x), 2))
            x = functional.relu(functional.max_pool2d(self.conv2_drop(self.conv2(x)), 2))
            x = functional.relu(self.fc1(torch.flatten(x, 1)))
            return self.fc2(functional.dropout(x, training=self.training))

    torch.manual_seed(0)
    return torch, Net().eval()


def test_logits_equal_pytorch(tmp_path: Path) -> None:
    torch, net = torch_definition()
    torch.save(net.state_dict(), tmp_path / "convnet.pt")
    x = np.random.default_rng(0).random((16, 28, 28, 1), np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))).numpy()
    for source in (net.state_dict(), tmp_path / "convnet.pt"):
        logits = load_torch_state_dict(source, fresh_convnet()).predict_on_batch(x)
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)


def test_a_whole_pickled_module_is_refused(tmp_path: Path) -> None:
    torch, net = torch_definition()
    torch.save(net.conv1, tmp_path / "module.pt")
    with pytest.raises(ModelError, match="cannot be read as a PyTorch state_dict"):
        load_torch_state_dict(tmp_path / "module.pt", fresh_convnet())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fc2.weight": np.zeros((10, 60), np.float32)}, r'"fc2" .* does not fit layer logits'),
        ({"fc3.weight": np.zeros((2, 2)), "fc3.bias": np.zeros(2)}, "has 4 layers with weights, the state_dict has 5"),
        ({"fc3.weight": np.zeros((2, 2))}, r"needs <layer>\.weight and <layer>\.bias"),
    ],
)
def test_weights_that_do_not_fit(change: dict[str, np.ndarray], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        load_torch_state_dict({**state_of_shapes(np.random.default_rng(0)), **change}, fresh_convnet())
