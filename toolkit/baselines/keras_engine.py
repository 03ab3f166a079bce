"""Keras itself as an engine: eager, a traced TensorFlow graph, or that compiled by XLA, on CPU or GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.baselines import timing
from toolkit.baselines.engines import Request, Runner, engine, measured
from toolkit.baselines.workload import kernels
from toolkit.data import Dataset
from toolkit.errors import ToolNotFound
from toolkit.records import Array, BaselineRecord, Figure

if TYPE_CHECKING:
    import keras

POLICIES = {"float32": "float32", "float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}
WEIGHT_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@engine("keras", precisions=tuple(POLICIES), providers=("cpu", "gpu"))
def measure_keras(model: keras.Model, dataset: Dataset, request: Request) -> BaselineRecord:
    """Keras through a traced TensorFlow graph."""
    return measured("keras", keras_runner(model, request, traced), dataset, request)


@engine("keras_eager", precisions=tuple(POLICIES), providers=("cpu", "gpu"))
def measure_keras_eager(model: keras.Model, dataset: Dataset, request: Request) -> BaselineRecord:
    """Keras called eagerly, layer by layer from Python."""
    return measured("keras_eager", keras_runner(model, request, eager), dataset, request)


@engine("keras_xla", precisions=tuple(POLICIES), providers=("cpu", "gpu"))
def measure_keras_xla(model: keras.Model, dataset: Dataset, request: Request) -> BaselineRecord:
    """Keras compiled by XLA, which fuses elementwise work into convolutions."""
    return measured("keras_xla", keras_runner(model, request, compiled), dataset, request)


Call = Callable[[Any], Any]


def eager(model: keras.Model) -> Call:
    """The model as Python calls it."""
    return lambda images: model(images, training=False)


def traced(model: keras.Model) -> Call:
    """The model as one TensorFlow graph per batch size."""
    import tensorflow as tf

    return tf.function(eager(model), reduce_retracing=False)  # type: ignore[no-any-return]


def compiled(model: keras.Model) -> Call:
    """The same graph compiled by XLA."""
    import tensorflow as tf

    return tf.function(eager(model), jit_compile=True, reduce_retracing=False)  # type: ignore[no-any-return]


def keras_runner(model: keras.Model, request: Request, prepare: Callable[[keras.Model], Call]) -> Runner:
    """The model prepared on one device; raises ``ToolNotFound`` when TensorFlow sees no GPU and one was asked for."""
    import tensorflow as tf

    from toolkit.training.threads import use_threads

    device = tensorflow_device(request.provider)
    use_threads(request.threads)
    with tf.device(device):
        cast = with_policy(model, POLICIES[request.precision])
    call = prepare(cast)

    def run(images: Array) -> Array:
        with tf.device(device):
            logits: Array = call(tf.constant(images)).numpy()
        return logits.astype(np.float32)

    return Runner(
        run,
        request.provider,
        environment={
            "tensorflow_intra_op_threads": str(tf.config.threading.get_intra_op_parallelism_threads() or "all cores"),
            "tensorflow_inter_op_threads": str(tf.config.threading.get_inter_op_parallelism_threads() or "all cores"),
            "tensorflow_device": device,
            **(timing.gpu_names() if request.provider == "gpu" else {}),
        },
        figures=model_figures(model, WEIGHT_BYTES[request.precision]),
        notes=("weights are kept in float32 and cast in each run",) if request.precision != "float32" else (),
        gpu=request.provider == "gpu",
    )


def tensorflow_device(provider: str) -> str:
    """``/CPU:0`` or ``/GPU:0``."""
    import tensorflow as tf

    if provider == "gpu" and not tf.config.list_physical_devices("GPU"):
        raise ToolNotFound(
            "provider gpu of keras needs a CUDA GPU that TensorFlow sees; it sees none here; "
            "install the gpu extra on a machine with one, or choose provider cpu or engine gpu_model"
        )
    return f"/{provider.upper()}:0"


def with_policy(model: keras.Model, policy: str) -> keras.Model:
    """A copy on the current device whose layers compute in another dtype; same weights.

    Without a GPU and in float32 the model itself: TensorFlow places nothing elsewhere.
    """
    import keras
    import tensorflow as tf

    if policy == "float32" and not tf.config.list_physical_devices("GPU"):
        return model
    clone = keras.models.clone_model(model, clone_function=recast(policy))
    clone.set_weights(model.get_weights())
    return clone


def recast(policy: str) -> Callable[[Any], Any]:
    def rebuild(layer: Any) -> Any:
        return type(layer).from_config({**layer.get_config(), "dtype": policy})

    return rebuild


def model_figures(model: keras.Model, bytes_per_weight: float) -> dict[str, Figure]:
    """Parameters, weight memory and multiply-accumulates, counted."""
    found = kernels(model)
    parameters = int(sum(np.prod(weight.shape) for weight in model.trainable_weights))
    return {
        "parameters": Figure(parameters, "parameters", "counted", note="trainable"),
        "macs": Figure(sum(item.macs for item in found), "MAC", "counted", note="per image"),
        "weight_bytes": Figure(parameters * bytes_per_weight, "bytes", "counted"),
        "weight_bits": Figure(8 * bytes_per_weight, "bits", "counted"),
        "activation_bits": Figure(8 * bytes_per_weight, "bits", "counted"),
    }
