"""Every kind of layer keeps one contract: a fixture in ``layer_examples.py`` is all that a new kind adds here."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from layer_examples import EXAMPLES, RESULT
from layer_table import KERAS, README, rows, written

from toolkit.comparison.diff import graph_changes
from toolkit.config import HlsConfig
from toolkit.emulation import emulate
from toolkit.emulation.layers import LOWERINGS
from toolkit.errors import ModelError, StoreError, UnsupportedLayer
from toolkit.estimation import estimate
from toolkit.estimation.stages import STAGES
from toolkit.hls import lint
from toolkit.network import KINDS, Graph, Layer, Tensor, layers
from toolkit.network.ranges import RULES, ranges_of
from toolkit.network.storage import from_json, load, save, to_json
from toolkit.precision import Precision

# Kinds that no emulator computes yet: hls4ml's own code for them is written for one design each.
NOT_EMULATED = (layers.Constant, layers.Quantize, layers.Unknown)


def config_of(graph: Graph) -> HlsConfig:
    return HlsConfig(io_type="io_stream" if graph.io_stream else "io_parallel", precision="ap_fixed<16,6>")


def images(graph: Graph, count: int = 50) -> list[np.ndarray]:
    """Inputs in and around the range of their types."""
    random = np.random.default_rng(0)
    return [(random.normal(size=(count, *graph.tensors[name].shape)) * 6).astype(np.float32) for name in graph.inputs]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.kind)
def kind(request: pytest.FixtureRequest) -> type[Layer]:
    return request.param


@pytest.fixture
def graph(kind: type[Layer]) -> Graph:
    assert kind in EXAMPLES, f"layer_examples.py has no network with a layer of kind {kind.kind!r}"
    made = EXAMPLES[kind]()
    assert any(type(layer) is kind for layer in made.layers)
    return made


class TestEveryKind:
    def test_it_is_defined(self, kind: type[Layer]) -> None:
        """The docstring says what it computes; inherited ones are no definition."""
        assert kind.__doc__ and kind.kind
        assert kind.__doc__ != inspect.getmro(kind)[1].__doc__

    def test_every_reader_knows_it(self, kind: type[Layer]) -> None:
        emulated = kind in LOWERINGS or kind is layers.Input
        assert emulated is not (kind in NOT_EMULATED), "toolkit/emulation/layers: LOWERINGS"
        assert (kind in STAGES) is not (kind is layers.Unknown), "toolkit/estimation/stages.py: STAGES"
        assert kind in RULES, "toolkit/network/ranges.py: RULES"

    def test_storage(self, graph: Graph, tmp_path: Path) -> None:
        content, arrays = to_json(graph)
        again = from_json(json.loads(json.dumps(content)), arrays)
        assert again.digest == graph.digest and str(again) == str(graph)
        save(graph, tmp_path)
        assert load(tmp_path).digest == graph.digest

    def test_text_is_a_line_a_layer(self, graph: Graph) -> None:
        lines = str(graph).splitlines()
        assert len(lines) == len(graph.layers)
        for layer, line in zip(graph.layers, lines, strict=True):
            assert f"= {layer.kind}(" in line and str(layer.result) in line

    def test_emulation_stays_in_its_ranges(self, kind: type[Layer], graph: Graph) -> None:
        """What is emulated lies within the exact ranges; what is not is refused by name."""
        if kind in NOT_EMULATED:
            with pytest.raises(UnsupportedLayer, match="exactly or not at all"):
                emulate(graph)
            return
        traced, ranges = emulate(graph).trace(images(graph)), ranges_of(graph)
        for layer in graph.layers:
            found = ranges.tensors[layer.outputs[0].name]
            steps = np.ldexp(traced[layer.name], found.fraction_bits).reshape(-1, layer.shape[-1])
            assert (steps.min(axis=0) >= found.low.astype(float)).all(), layer.name
            assert (steps.max(axis=0) <= found.high.astype(float)).all(), layer.name

    def test_an_estimate(self, kind: type[Layer], graph: Graph) -> None:
        found = estimate(graph, hls=config_of(graph))
        if kind is layers.Unknown:
            assert found.unpriced == ("it",) and found.fits is None
        else:
            assert found.unpriced == () and found.lut.bound is None

    def test_lint(self, kind: type[Layer], graph: Graph) -> None:
        rules = {finding.rule for finding in lint(graph, config_of(graph))}
        assert ("layer-unknown" in rules) is (kind is layers.Unknown)

    def test_diff_shows_a_change(self, kind: type[Layer], graph: Graph) -> None:
        assert not list(graph_changes(graph, graph))
        if kind is layers.Reshape:
            return  # a folder's C++ has no name for it
        other = changed(graph, kind)
        assert other.digest != graph.digest
        assert [change.layer for change in graph_changes(graph, other)]

    def test_readme_lists_it(self, kind: type[Layer]) -> None:
        assert kind.kind in [row[0] for row in rows()]


def changed(graph: Graph, kind: type[Layer]) -> Graph:
    """The network with a wider result of its layers of a kind."""
    wide = replace(RESULT, width_bits=RESULT.width_bits + 1)

    def widened(tensor: Tensor, names: set[str]) -> Tensor:
        return replace(tensor, precision=wide) if tensor.name in names else tensor

    names = {tensor.name for layer in graph.layers if type(layer) is kind for tensor in layer.outputs}
    made = [
        replace(
            layer,
            inputs=tuple(widened(tensor, names) for tensor in layer.inputs),
            outputs=tuple(widened(tensor, names) for tensor in layer.outputs),
        )
        for layer in graph.layers
    ]
    return replace(graph, layers=tuple(made))


def test_the_readme_has_the_table_of_the_registries() -> None:
    text = README.read_text()
    assert text == written(text), "python tests/network/layer_table.py writes it"
    assert set(KERAS) <= set(KINDS)


class TestValidation:
    def test_two_layers_of_one_name(self) -> None:
        one = EXAMPLES[layers.Activation]()
        with pytest.raises(ModelError, match="'it' occurs twice"):
            Graph((*one.layers, one.layers[1]), one.inputs, one.outputs)

    def test_a_tensor_that_nobody_makes(self) -> None:
        one = EXAMPLES[layers.Activation]()
        with pytest.raises(ModelError, match="layer 'it' reads x0"):
            Graph(one.layers[1:], (), one.outputs)

    def test_a_tensor_read_as_another(self) -> None:
        one = EXAMPLES[layers.Activation]()
        other = replace(one.layers[1], inputs=(replace(one.tensors["x0"], precision=Precision(9, 4)),))
        with pytest.raises(
            ModelError, match=r"reads x0\[4, 4, 2\] ap_fixed<9,4>; there is x0\[4, 4, 2\] ap_fixed<8,4>"
        ):
            Graph((one.layers[0], other), one.inputs, one.outputs)

    def test_an_output_that_no_layer_makes(self) -> None:
        one = EXAMPLES[layers.Activation]()
        with pytest.raises(ModelError, match="no layer makes nothing"):
            Graph(one.layers, one.inputs, ("nothing",))

    def test_weights_of_another_shape(self) -> None:
        dense = EXAMPLES[layers.Dense]().layer("it")
        with pytest.raises(ModelError, match=r"'it' \(dense\) must have weights of shape \(6, 4\)"):
            replace(dense, outputs=(Tensor("it", (4,), RESULT),))

    def test_a_stored_network_of_another_digest(self) -> None:
        content, arrays = to_json(EXAMPLES[layers.Dense]())
        with pytest.raises(StoreError, match="write it again"):
            from_json(content, {name: values + 1 for name, values in arrays.items()})

    def test_a_stored_network_that_is_none(self) -> None:
        with pytest.raises(StoreError, match="no stored network"):
            from_json({"schema": 1, "layers": [{}], "tensors": []}, {})
