"""PyTorch modules as exported programs: captured, read from a file, their weights as arrays."""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from toolkit.errors import ModelError, ToolNotFound, install
from toolkit.records import Array

WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


def exported(module: Any, input_shape: Sequence[Any] | None) -> Any:
    """The module as an exported program; raises ``ModelError`` where it cannot be captured."""
    torch = need_torch()
    if isinstance(module, (str, Path)):
        return load_program(torch, Path(module))
    if isinstance(module, torch.export.ExportedProgram):
        return module
    if not isinstance(module, torch.nn.Module):
        raise ModelError(
            "from_torch takes a torch.nn.Module, a torch.export.ExportedProgram or a .pt2 file, "
            f"got {type(module).__name__}"
        )
    if input_shape is None:
        raise ModelError("a PyTorch module does not say its input's shape: give input_shape, such as (3, 32, 32)")
    shapes = [tuple(input_shape)] if isinstance(input_shape[0], int) else [tuple(shape) for shape in input_shape]
    examples = tuple(torch.zeros(2, *shape) for shape in shapes)
    try:
        return torch.export.export(unmasked(torch, module).eval(), examples)
    except Exception as error:  # torch raises what the module's own code raises
        words = " ".join(str(error).split())[:300]
        raise ModelError(f"torch.export cannot capture the module on inputs {shapes}: {words}") from error


def need_torch() -> Any:
    try:
        import torch
    except ImportError:
        raise ToolNotFound(f"reading a PyTorch model needs PyTorch: {install('torch')}") from None
    return torch


def load_program(torch: Any, path: Path) -> Any:
    """Read a ``.pt2`` file; raises ``ModelError`` when it is not one."""
    if not zipfile.is_zipfile(path):
        what = "is not an archive" if path.is_file() else "does not exist"
        raise ModelError(f"{path} {what}; write one with torch.export.save(torch.export.export(module, (x,)), path)")
    logging.getLogger("torch.export").setLevel(logging.CRITICAL)  # it prints a traceback before it raises
    try:
        with tensors_only():
            return torch.export.load(path)
    except Exception as error:  # JSON, tensor and version errors alike
        words = " ".join(str(error).split())[:300]
        raise ModelError(f"{path} cannot be read as a torch.export program (.pt2): {words}") from error


@contextlib.contextmanager
def tensors_only() -> Iterator[None]:
    """Nothing but tensors is unpickled: PyTorch's own switch, which ``torch.export.load`` does not offer."""
    before = os.environ.get(WEIGHTS_ONLY)
    os.environ[WEIGHTS_ONLY] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[WEIGHTS_ONLY]
        else:
            os.environ[WEIGHTS_ONLY] = before


def unmasked(torch: Any, module: Any) -> Any:
    """A copy of the module with its pruning masks multiplied into the weights."""
    computed = {
        id(value): value.detach().clone()
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    }
    copied = copy.deepcopy(module, computed)  # a computed weight cannot be copied by deepcopy itself
    prune = torch.nn.utils.prune
    for part in copied.modules():
        for hook in list(part._forward_pre_hooks.values()):
            if isinstance(hook, prune.BasePruningMethod):
                prune.remove(part, hook._tensor_name)
    return copied


def parameters(program: Any) -> dict[str, Array]:
    """Parameters, buffers and lifted constants of a program as arrays, by the name of their graph node."""
    signature = program.graph_signature
    targets = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    targets |= getattr(signature, "inputs_to_lifted_tensor_constants", {})
    stored = {**program.state_dict, **program.constants}
    return {name: stored[target].detach().cpu().numpy() for name, target in targets.items()}
