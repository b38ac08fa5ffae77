"""Weights alone: a state_dict, or a checkpoint that holds one; the architecture comes from `--arch`."""

import importlib
import sys
from pathlib import Path
from typing import Any

import torch

from edgeguard.errors import InputError
from edgeguard_converters.load.checkpoint import Tensor
from edgeguard_converters.load.source import FileFacts, facts_from_json, merge_facts
from edgeguard_converters.load.torch_source import TorchSource
from edgeguard_converters.load.weights import Weights, read_weights


def load_state_dict(path: Path, arch: str | None, size: tuple[int, int] | None) -> TorchSource:
    """Load weights into the module that `arch` ("package.module:factory") makes.

    Raises:
        PickleRefused: the file is a pickled module.
        InputError: no `--arch`, an arch that cannot be imported, or weights that do not fit it.
    """
    return source_of_weights(read_weights(path), arch, size)


def source_of_weights(weights: Weights, arch: str | None, size: tuple[int, int] | None) -> TorchSource:
    """Put weights that were read into the module that `arch` makes; errors as in `load_state_dict`."""
    if arch is None:
        raise InputError(f"{weights.name} holds weights only (a state_dict): give --arch module:factory")
    module = _make_module(arch)
    try:
        module.load_state_dict({name: _tensor(found) for name, found in weights.tensors.items()}, strict=True)
    except RuntimeError as error:
        reason = " ".join(line.strip() for line in str(error).splitlines()[1:2]) or str(error).splitlines()[0]
        raise InputError(f"the weights do not fit {arch}: {reason[:200]}") from error
    facts = merge_facts(weights.facts, _module_facts(module))
    return TorchSource("state_dict", size or facts.size, facts, module.eval())


def _tensor(found: Tensor) -> torch.Tensor:
    kind: torch.dtype = getattr(torch, found.kind)
    values = torch.from_numpy(found.values.copy())
    return values.view(kind) if values.dtype != kind else values


def _make_module(arch: str) -> torch.nn.Module:
    module_name, separator, factory_name = arch.partition(":")
    if not separator or not module_name or not factory_name:
        raise InputError(f"--arch must be module:factory, got {arch!r}")
    sys.path.insert(0, str(Path.cwd()))
    try:
        factory = getattr(importlib.import_module(module_name), factory_name)
        module = factory()
    except (ImportError, AttributeError) as error:
        raise InputError(f"--arch {arch}: {error}") from error
    except Exception as error:
        raise InputError(f"--arch {arch} failed: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"--arch {arch} returned a {type(module).__name__}, not a torch module")
    return module.eval()


def _module_facts(module: Any) -> FileFacts:
    config = getattr(module, "pretrained_cfg", None) or getattr(module, "default_cfg", None)
    if isinstance(config, dict):
        return facts_from_json({"pretrained_cfg": config}, "pretrained_cfg")
    return FileFacts()
