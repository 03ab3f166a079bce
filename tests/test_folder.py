"""Any hls4ml project folder: its C++ read back gives the graph hls4ml wrote it from."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit import network
from toolkit.config import HlsConfig
from toolkit.errors import DataError, HlsError
from toolkit.hls.firmware import expand_macros, parse_configs, parse_top, parse_types
from toolkit.hls.folder import open_project, read_folder
from toolkit.hls.network import network_of
from toolkit.hls.project import write_project
from toolkit.hls.vectors import check_vectors, read_vectors
from toolkit.reading import Malformed
from toolkit.records import Graph, HlsProject, Layer

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def image_model(keras: Any) -> Any:
    """Convolutions of every form, pooling, merges, borders, parametrized and table activations."""
    layers = keras.layers
    start = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="conv")(start)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="relu")(x)
    y = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    y = layers.Conv2D(4, 1, activation="relu", name="pointwise")(y)
    x = layers.Add(name="add")([x, y])
    x = layers.MaxPooling2D(2, name="pool")(x)
    y = layers.LeakyReLU(0.25, name="leaky")(x)
    x = layers.Concatenate(name="both")([x, y])
    x = layers.UpSampling2D(2, name="up")(x)
    x = layers.ZeroPadding2D(1, name="pad")(x)
    x = layers.AveragePooling2D(2, name="average")(x)
    x = layers.GlobalAveragePooling2D(name="all")(x)
    x = layers.Dense(6, activation="tanh", name="hidden")(x)
    x = layers.BatchNormalization(name="affine")(x)
    x = layers.PReLU(name="prelu")(x)
    x = layers.Softmax(name="softmax")(layers.Dense(5, name="logits")(x))
    return keras.Model(start, x)


def sequence_model(keras: Any) -> Any:
    """One axis, two inputs, flattening."""
    layers = keras.layers
    start, other = keras.Input((12, 3), name="wave"), keras.Input((4,), name="facts")
    x = layers.Conv1D(4, 3, activation="elu", name="conv")(start)
    x = layers.MaxPooling1D(2, name="pool")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(4, activation="sigmoid", name="hidden")(x)
    x = layers.Dense(3, name="logits")(layers.Multiply(name="gate")([x, other]))
    return keras.Model([start, other], x)


def quantized_model(keras: Any) -> Any:
    """Weights and activations with quantizers."""
    from qkeras import QActivation, QConv2D, QDense, quantized_bits, quantized_relu

    start = keras.Input((6, 6, 1))
    x = QActivation(quantized_bits(8, 0, alpha=1), name="input_bits")(start)
    bits = {"kernel_quantizer": quantized_bits(4, 0, alpha=1), "bias_quantizer": quantized_bits(5, 1, alpha=1)}
    x = QConv2D(3, 3, name="conv", **bits)(x)
    x = QActivation(quantized_relu(4, 1), name="relu")(x)
    x = keras.layers.Flatten(name="flat")(x)
    return keras.Model(start, QDense(4, name="logits", **bits)(x))


MODELS = {"image": image_model, "sequence": sequence_model, "quantized": quantized_model}
DESIGNS = {
    "parallel": HlsConfig(io_type="io_parallel"),
    "stream": HlsConfig(io_type="io_stream"),
    "resource": HlsConfig(
        io_type="io_stream", strategy="Resource", reuse_factor=4, invalid_reuse_factor="nearest", backend="Vivado"
    ),
}


@pytest.fixture(scope="session")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Written projects by model and design, each beside the folder somebody else would have."""
    import keras

    folder = tmp_path_factory.mktemp("folders")
    made: dict[tuple[str, str], HlsProject] = {}
    models: dict[str, Any] = {}

    def project(model: str, design: str) -> HlsProject:
        if model not in models:
            keras.utils.set_random_seed(5)
            models[model] = MODELS[model](keras)
            randomize(models[model])
        if (model, design) not in made:
            config = DESIGNS[design]
            if model != "quantized":
                config = config.change(precision="ap_fixed<18,8>")
            path = folder / f"{model}_{design}"
            made[model, design] = write_project(models[model], config, path, inputs=inputs(models[model], 4))
        return made[model, design]

    return project


def randomize(model: Any) -> None:
    """Weights, biases and statistics that are neither zero nor one."""
    random = np.random.default_rng(1)
    model.set_weights([random.uniform(0.1, 1, w.shape) * random.choice([-1, 1], w.shape) for w in model.get_weights()])
    for layer in model.layers:
        if "moving_variance" in [weight.name for weight in layer.weights]:
            layer.moving_variance.assign(random.uniform(0.5, 1.5, layer.moving_variance.shape))


def inputs(model: Any, count: int) -> Any:
    random = np.random.default_rng(2)
    arrays = [random.uniform(0, 1, (count, *tensor.shape[1:])).astype(np.float32) for tensor in model.inputs]
    return arrays if len(arrays) > 1 else arrays[0]


def as_others_have_it(project: HlsProject, target: Path) -> Path:
    """The project as plain hls4ml would leave it: no manifest, no records, no Keras model."""
    shutil.copytree(project.path, target, ignore=shutil.ignore_patterns("manifest.json", "toolkit", "*.keras", "*.h5"))
    return target


ALL = [(model, design) for model in MODELS for design in DESIGNS]

# What hls4ml keeps that no generated C++ depends on, or that only repeats a shape.
WITHOUT_EFFECT = {
    "trace", "use_bias", "input_shape", "output_shape", "target_shape", "conv_implementation", "epsilon", "use_gamma",
    "use_beta", "skip", "height_factor", "width_factor", "align_corners", "keras_layer", "strategy", "reuse_factor",
    "index", "quantizer", "n_elem", "type_names", "table_size", "cpp_variables", "data_format", "size",
}  # fmt: skip


@pytest.mark.parametrize(("model", "design"), ALL)
class TestFolder:
    def test_same_layers(self, projects: Any, tmp_path: Path, model: str, design: str) -> None:
        written = projects(model, design)
        found = read_folder(as_others_have_it(written, tmp_path / "project")).graph
        assert named(written.graph) == named(found)
        for layer in written.graph.layers:
            if layer.kind != "Reshape":
                assert_same_layer(layer, found.layer(layer.name))
        assert_same_network(network_of(written), network_of(found))

    def test_same_bits(self, projects: Any, tmp_path: Path, model: str, design: str) -> None:
        from toolkit.emulation import emulate

        written = projects(model, design)
        found = open_project(as_others_have_it(written, tmp_path / "project"))
        x = list(read_vectors(found).inputs)
        expected, got = (emulate(project).predict(x if len(x) > 1 else x[0]) for project in (written, found))
        np.testing.assert_array_equal(expected, got)
        assert np.unique(got).size > 3

    def test_same_design(self, projects: Any, tmp_path: Path, model: str, design: str) -> None:
        written = projects(model, design)
        found = read_folder(as_others_have_it(written, tmp_path / "project"))
        for key in ("backend", "part", "clock_period_ns", "io_type", "strategy"):
            assert getattr(found.config, key) == getattr(written.config, key), key
        depths = {tensor.name: tensor.fifo_depth for tensor in found.graph.tensors.values()}
        assert all(
            depths.get(tensor.name, tensor.fifo_depth) == tensor.fifo_depth for tensor in written.graph.tensors.values()
        )


def named(graph: Graph) -> list[tuple[str, str, tuple[int, ...]]]:
    """Layers by name, kind and shape, inputs first; a reshape in place has no name in C++."""
    found = [("" if layer.kind == "Reshape" else layer.name, layer.kind, layer.shape) for layer in graph.layers]
    return sorted(found, key=lambda layer: layer[1] != "Input")


def assert_same_network(written: network.Graph, found: network.Graph) -> None:
    """Both front ends say the same of every layer: kind, shapes, types, weights and settings."""
    for layer in written.layers:
        if isinstance(layer, network.layers.Reshape):
            continue  # the C++ has no name for it
        other = found.layer(layer.name)
        assert type(other) is type(layer) and not isinstance(other, network.Unknown)
        assert other.types == layer.types
        assert [one.shape for one in (*other.inputs, *other.outputs)] == [
            one.shape for one in (*layer.inputs, *layer.outputs)
        ]
        for name, value in layer.settings.items():
            same = other.settings[name]
            assert same.same(value) if isinstance(value, network.Weight) else same == value, (layer.name, name)


def assert_same_layer(written: Layer, found: Layer) -> None:
    expected = {name: text for name, text in written.types.items() if name in found.types or name == "result_t"}
    assert {name: found.types[name] for name in expected} == expected
    assert {"weight_t", "accum_t", "bias_t", "result_t"} & set(written.types) <= set(found.types)
    assert set(written.weights) == set(found.weights)
    for name, weight in written.weights.items():
        assert weight.precision == found.weights[name].precision
        np.testing.assert_array_equal(weight.values, found.weights[name].values.reshape(weight.values.shape))
    ignored = WITHOUT_EFFECT | ({"activ_param"} if written.kind == "Activation" else set())
    decisive = {name: value for name, value in written.attributes.items() if name not in ignored}
    assert {name: found.attributes.get(name) for name in decisive} == decisive
    if "weight" in written.weights:
        assert int(found.attributes["reuse_factor"]) == int(written.attributes["reuse_factor"])
        assert str(found.attributes["strategy"]).lower() == str(written.attributes["strategy"]).lower()


@pytest.mark.csim
def test_csim_of_a_folder(projects: Any, tmp_path: Path) -> None:
    from toolkit.emulation import emulate
    from toolkit.hls.csim import build_csim

    found = open_project(as_others_have_it(projects("quantized", "resource"), tmp_path / "project"))
    library = build_csim(found)
    (result,) = check_vectors(found, library)
    assert result.equal, result.findings
    assert result.compared == ("tb_data/tb_output_predictions.dat", "csim")
    x = read_vectors(found).inputs[0]
    np.testing.assert_array_equal(library.predict(x), emulate(found).predict(x))


class TestVectors:
    """What lies in ``tb_data`` and what vendor tools leave there."""

    def folder(self, projects: Any, tmp_path: Path) -> HlsProject:
        return open_project(as_others_have_it(projects("quantized", "stream"), tmp_path / "project"))

    def log(self, project: HlsProject, name: str, change: float = 0.0) -> None:
        """Write a result log as the test bench prints it, one value changed."""
        from toolkit.emulation import emulate

        outputs = np.asarray(emulate(project).predict(read_vectors(project).inputs[0]), np.float64)
        outputs[1, 2] += change
        lines = [" ".join(f"{value:.6g}" for value in row) + " \n" for row in outputs]
        (project.path / "tb_data" / name).write_text("".join(lines))

    def check(self, project: HlsProject) -> dict[str, Any]:
        from toolkit.emulation import emulate

        results = check_vectors(project, emulate(project), engine="emulation")
        return {result.compared[0].removeprefix("tb_data/"): result for result in results}

    def test_vendor_logs_agree(self, projects: Any, tmp_path: Path) -> None:
        project = self.folder(projects, tmp_path)
        self.log(project, "csim_results.log")
        self.log(project, "rtl_cosim_results.log")
        results = self.check(project)
        assert set(results) == {"tb_output_predictions.dat", "csim_results.log", "rtl_cosim_results.log"}
        assert all(result.equal for result in results.values())

    def test_difference_says_where(self, projects: Any, tmp_path: Path) -> None:
        project = self.folder(projects, tmp_path)
        lsb = 2.0**-10
        self.log(project, "rtl_cosim_results.log", change=3 * lsb)
        result = self.check(project)["rtl_cosim_results.log"]
        assert not result.equal
        assert result.outputs_different == 1
        assert result.findings[0].severity == "error"
        assert "image 1, output 2" in result.findings[0].reason

    def test_predictions_are_no_bits(self, projects: Any, tmp_path: Path) -> None:
        project = self.folder(projects, tmp_path)
        path = project.path / "tb_data" / "tb_output_predictions.dat"
        path.write_text(path.read_text().replace("\n", "\n").replace(path.read_text().split()[0], "0.12345", 1))
        result = self.check(project)["tb_output_predictions.dat"]
        assert not result.equal
        assert result.findings[0].severity == "note"

    @pytest.mark.parametrize("text", ["{!s}", "{:.9g}", "{:.18e}"], ids=["shortest", "nine", "savetxt"])
    def test_predictions_in_any_spelling(self, projects: Any, tmp_path: Path, text: str) -> None:
        from toolkit.emulation import emulate

        project = self.folder(projects, tmp_path)
        outputs = emulate(project).predict(read_vectors(project).inputs[0])
        lines = [" ".join(text.format(value) for value in row) + "\n" for row in outputs]
        (project.path / "tb_data" / "tb_output_predictions.dat").write_text("".join(lines))
        assert self.check(project)["tb_output_predictions.dat"].equal

    def test_logs_inside_the_vendor_folder(self, projects: Any, tmp_path: Path) -> None:
        project = self.folder(projects, tmp_path)
        self.log(project, "csim_results.log")
        inside = project.path / "myproject_prj" / "solution1" / "csim" / "build" / "tb_data"
        inside.mkdir(parents=True)
        shutil.move(project.path / "tb_data" / "csim_results.log", inside)
        assert any(name.endswith("csim_results.log") for name in self.check(project))

    def test_zeros_when_there_are_no_inputs(self, projects: Any, tmp_path: Path) -> None:
        project = self.folder(projects, tmp_path)
        for name in ("tb_input_features.dat", "tb_output_predictions.dat"):
            (project.path / "tb_data" / name).unlink()
        with pytest.raises(DataError, match=r"tb_input_features\.dat"):
            read_vectors(project)
        (project.path / "tb_data" / "csim_results.log").write_text("0 0 0 0 \n" * 5)
        assert read_vectors(project).inputs[0].shape == (5, 6, 6, 1)

    @pytest.mark.parametrize(
        ("text", "message"), [("1 2 3\n", "line 1: must hold 4"), ("1 2 x 4\n", "must be numbers")]
    )
    def test_malformed_log(self, projects: Any, tmp_path: Path, text: str, message: str) -> None:
        project = self.folder(projects, tmp_path)
        (project.path / "tb_data" / "csim_results.log").write_text(text)
        with pytest.raises(DataError, match=message):
            read_vectors(project)


class TestRefusals:
    def test_no_project(self, tmp_path: Path) -> None:
        with pytest.raises(HlsError, match="no HLS project"):
            open_project(tmp_path)

    def test_empty_firmware(self, tmp_path: Path) -> None:
        (tmp_path / "firmware").mkdir()
        with pytest.raises(HlsError, match=r"no \.cpp file in firmware/"):
            open_project(tmp_path)

    def test_missing_weights(self, projects: Any, tmp_path: Path) -> None:
        folder = as_others_have_it(projects("quantized", "parallel"), tmp_path / "project")
        next((folder / "firmware" / "weights").glob("w*.txt")).unlink()
        with pytest.raises(HlsError, match=r"w\d+\.txt does not exist"):
            open_project(folder)

    def test_short_weights(self, projects: Any, tmp_path: Path) -> None:
        folder = as_others_have_it(projects("quantized", "parallel"), tmp_path / "project")
        next((folder / "firmware" / "weights").glob("w*.txt")).write_text("1.0, 2.0")
        with pytest.raises(HlsError, match="got 2"):
            open_project(folder)

    def test_unknown_backend(self, projects: Any, tmp_path: Path) -> None:
        folder = as_others_have_it(projects("quantized", "parallel"), tmp_path / "project")
        yml = folder / "hls4ml_config.yml"
        yml.write_text(yml.read_text().replace("Backend: Vitis", "Backend: Quartus"))
        with pytest.raises(HlsError, match="must be Vitis or Vivado, got Quartus"):
            open_project(folder)

    def test_unknown_function_is_a_layer_the_emulator_names(self, projects: Any, tmp_path: Path) -> None:
        from toolkit.emulation import emulate
        from toolkit.errors import UnsupportedLayer

        folder = as_others_have_it(projects("quantized", "parallel"), tmp_path / "project")
        source = folder / "firmware" / "myproject.cpp"
        source.write_text(source.read_text().replace("nnet::relu<", "nnet::my_own_relu<"))
        found = open_project(folder)
        assert "my_own_relu" in {layer.kind for layer in found.layers}
        with pytest.raises(UnsupportedLayer, match="my_own_relu"):
            emulate(found)


def test_change_of_firmware_changes_the_digest(projects: Any, tmp_path: Path) -> None:
    folder = as_others_have_it(projects("quantized", "parallel"), tmp_path / "project")
    before = read_folder(folder)
    assert read_folder(folder).digest == before.digest
    weights = next((folder / "firmware" / "weights").glob("w*.txt"))
    weights.write_text(weights.read_text().replace("0.", "-0.", 1))
    after = read_folder(folder)
    assert after.digest != before.digest
    assert after.graph.digest != before.graph.digest


class TestParsers:
    """Text that other versions of hls4ml write."""

    def test_sizes_as_macros(self) -> None:
        text = expand_macros("input_t x[N_INPUT_1_1], n_in = N_LAYER_2", "#define N_INPUT_1_1 16\n#define N_LAYER_2 5")
        assert text == "input_t x[16], n_in = 5"

    def test_power_of_two_and_compressed_weights(self) -> None:
        types = parse_types(
            "typedef struct exponent_t {ap_uint<1> sign;ap_int<4> weight; } exponent_t;\n"
            "typedef struct sparse_t {ap_uint<5> row_index;ap_uint<5> col_index;ap_fixed<8,2> weight; } sparse_t;\n"
        )
        assert (types["exponent_t"].form, types["exponent_t"].element) == ("exponent", "ap_int<4>")
        assert (types["sparse_t"].form, types["sparse_t"].element) == ("compressed", "ap_fixed<8,2>")

    def test_arguments_that_are_sizes_and_calls_without_names(self) -> None:
        top = parse_top(
            "void myproject(\n    hls::stream<input_t> &x,\n    hls::stream<result_t> &y,\n"
            "    unsigned short &const_size_in_1\n) {\n"
            "    //hls-fpga-machine-learning insert layers\n"
            '    hls::stream<layer2_t> layer2_out("layer2_out");\n'
            "    #pragma HLS STREAM variable=layer2_out depth=7\n"
            "    nnet::relu<input_t, layer2_t, relu_config2>(x, layer2_out);\n"
            "    // nnet::relu<input_t, layer2_t, relu_config2>(x, layer2_out);\n"
            "    nnet::linear<layer2_t, result_t, linear_config3>(layer2_out, y); // out\n}\n",
            "myproject",
        )
        assert [argument.name for argument in top.arguments] == ["x", "y"]
        assert top.variables["layer2_out"].depth == 7
        assert [(call.function, call.layer) for call in top.calls] == [("relu", None), ("linear", "out")]

    def test_constants(self) -> None:
        config = parse_configs(
            "// name\nstruct config2 : nnet::conv2d_config {\n"
            "    static const unsigned filt_height = 3;\n    static const unsigned filt_width = 2;\n"
            "    static const unsigned kernel_size = filt_height * filt_width;\n"
            "    static const unsigned multiplier_limit =\n        DIV_ROUNDUP(kernel_size * 4, 2) - 0 / 2;\n"
            "    static const unsigned strategy = nnet::resource;\n    static const bool count_pad = true;\n"
            "    static constexpr float exp_scale = 0.5;\n    typedef conv_accum_t accum_t;\n};\n"
        )["config2"]
        assert config.layer == "name"
        assert config.constants == {
            "filt_height": 3, "filt_width": 2, "kernel_size": 6, "strategy": "resource", "count_pad": True,
            "exp_scale": 0.5,
        }  # fmt: skip
        assert config.types == {"accum_t": "conv_accum_t"}

    def test_no_top_function(self) -> None:
        with pytest.raises(Malformed, match="void other"):
            parse_top("void myproject() {}", "other")
