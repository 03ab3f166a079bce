"""hls4ml's own configuration, as dictionaries or ``hls4ml_config.yml``, in the words of ``[hls]``.

Two shapes exist: what ``config_from_*_model`` returns (``Model``, ``LayerType``, ``LayerName``), and the file that
hls4ml writes beside a project, which holds it under ``HLSConfig`` with backend, part and clock. A setting that equals
hls4ml's default is left out, so that it decides nothing; one that has no counterpart here is an error that names it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.errors import ConfigError
from toolkit.reading import blaming, read_text

Table = Mapping[str, Any]

# Defaults of hls4ml 1.3.0 (``model/layers.py``, ``backends/*/``), by the name of their key.
DEFAULTS: dict[str, Any] = {
    "Trace": False,
    "TableSize": 1024,
    "ParallelizationFactor": 1,
    "ConvImplementation": "LineBuffer",
    "Implementation": "stable",
    "PipelineStyle": "auto",
    "TargetCycles": None,
    "BramFactor": 1_000_000_000,
    "TraceOutput": False,
    "BitExact": None,
    "ChannelsLastConversion": "full",
    "TransposeOutputs": False,
}
DEFAULT_TYPES = {
    "table": "fixed<18,8,TRN,WRAP,0>",
    "exp_table": "fixed<18,8,RND,SAT,0>",
    "inv_table": "fixed<18,8,RND,SAT,0>",
}
UNCERTAINTIES = {"Vitis": "27%", "Vivado": "12.5%"}
STRATEGIES = {"latency": "Latency", "resource": "Resource", "distributed_arithmetic": "distributed_arithmetic"}
KEYS = {
    "ReuseFactor": "reuse_factor",
    "Strategy": "strategy",
    "TableSize": "table_size",
    "ParallelizationFactor": "parallelization_factor",
    "Implementation": "implementation",
    "ConvImplementation": "implementation",
}


def hls_table(source: str | Path | Table) -> dict[str, Any]:
    """The keys of ``[hls]`` that a configuration of hls4ml sets; raises ``ConfigError`` for what has none here."""
    if isinstance(source, (str, Path)):
        return whole_table(read_settings(Path(source)))
    if not isinstance(source, Mapping):
        raise ConfigError(f"an hls4ml configuration is a path or a dictionary, got {type(source).__name__}")
    return whole_table(source)


def read_settings(path: Path) -> Table:
    """``hls4ml_config.yml``; its model, a tag of hls4ml's own, is passed over."""
    import yaml

    loader: Any = type("Settings", (yaml.SafeLoader,), {})  # a class of its own: constructors are the class'
    loader.add_multi_constructor("!", lambda *_: None)
    text = read_text(path, error=ConfigError)
    with blaming(path, ConfigError):
        found = yaml.load(text, Loader=loader)
    if not isinstance(found, Mapping):
        raise ConfigError(f"{path} must be an hls4ml configuration, a table of keys")
    return found


def whole_table(settings: Table) -> dict[str, Any]:
    """Both shapes of a configuration."""
    if "HLSConfig" not in settings:
        return model_table(settings)
    backend = str(settings.get("Backend", "Vivado"))
    uncertainty = settings.get("ClockUncertainty")
    if uncertainty is not None and uncertainty != UNCERTAINTIES.get(backend):
        raise ConfigError(
            f"ClockUncertainty: {uncertainty} has no counterpart; {backend}'s own {UNCERTAINTIES.get(backend)} is taken"
        )
    names = {"Backend": "backend", "Part": "part", "ClockPeriod": "clock_period_ns", "IOType": "io_type"}
    found = {ours: settings[theirs] for theirs, ours in names.items() if settings.get(theirs) is not None}
    return {**found, **model_table(settings["HLSConfig"])}


def model_table(settings: Table) -> dict[str, Any]:
    """``Model``, ``LayerName`` and ``LayerType``."""
    unknown = set(settings) - {"Model", "LayerName", "LayerType", "PytorchModel", "InputShape"}
    if unknown or "Model" not in settings:
        raise ConfigError(f"an hls4ml configuration has Model, LayerName and LayerType, got {', '.join(settings)}")
    if settings.get("LayerType"):
        raise ConfigError(
            "LayerType: [hls] sets types by layer, not by kind of layer; "
            'take config_from_keras_model(granularity="name"), whose LayerName says the same'
        )
    model = dict(settings["Model"])
    precision = model.pop("Precision", None)
    default = precision.get("default") if isinstance(precision, Mapping) else precision
    found = translated("Model", model)
    if default not in (None, "auto"):
        found["precision"] = spelled(default)
    layers = {name: layer_table(name, own, found) for name, own in (settings.get("LayerName") or {}).items()}
    named = {name: own for name, own in layers.items() if own}
    return {**found, **({"layers": named} if named else {})}


def layer_table(name: str, settings: Table, model: Table) -> dict[str, Any]:
    """One entry of ``LayerName``, without what equals the model's setting or hls4ml's default."""
    rest = dict(settings)
    given = rest.pop("Precision", None)
    found = {key: value for key, value in translated(f"LayerName.{name}", rest).items() if model.get(key) != value}
    if isinstance(given, Mapping):
        types = {
            kind: spelled(text)
            for kind, text in given.items()
            if text not in (None, "auto") and text != DEFAULT_TYPES.get(kind)
        }
        return {**found, **({"precision": types} if types else {})}
    return {**found, **({"precision": spelled(given)} if given not in (None, "auto") else {})}


def translated(where: str, settings: Table) -> dict[str, Any]:
    """Keys of one table in our words; raises ``ConfigError`` for one that has no counterpart and is not its default."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if key in DEFAULTS and (value == DEFAULTS[key] or str(value).lower() == str(DEFAULTS[key]).lower()):
            continue
        if key not in KEYS:
            raise ConfigError(f"{where}.{key}: {value!r} has no counterpart in [hls]; known are {', '.join(KEYS)}")
        found[KEYS[key]] = strategy(where, value) if key == "Strategy" else value
    return found


def strategy(where: str, value: Any) -> str:
    """A strategy, however it is capitalized."""
    if str(value).lower() not in STRATEGIES:
        raise ConfigError(f"{where}.Strategy: {value!r} has no counterpart; choose {', '.join(STRATEGIES.values())}")
    return STRATEGIES[str(value).lower()]


def spelled(text: Any) -> str:
    """A type as ``[hls]`` spells it: ``fixed<16,6>`` is ``ap_fixed<16,6>``, a saturation of 0 bits goes unsaid."""
    bare = str(text).replace(" ", "").removeprefix("ap_")
    return "ap_" + re.sub(r"^((?:[^,]+,){3}[^,]+),0>$", r"\1>", bare)
