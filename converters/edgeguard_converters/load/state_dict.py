"""Weights alone: a state_dict, or a checkpoint that holds one; the architecture comes from `--arch`."""

import importlib
import io
import sys
from pathlib import Path
from typing import Any

import torch

from edgeguard.errors import InputError
from edgeguard_converters.load.pickle_guard import PickleRefused, load_weights
from edgeguard_converters.load.source import FileFacts, facts_from_json, merge_facts
from edgeguard_converters.load.torch_source import TorchSource

_NESTED = ("state_dict", "model_state_dict", "model", "ema", "net", "weights")


def load_state_dict(path: Path, arch: str | None, size: tuple[int, int] | None) -> TorchSource:
    """Load weights into the module that `arch` ("package.module:factory") makes.

    Raises:
        PickleRefused: the file is a pickled module.
        InputError: no `--arch`, an arch that cannot be imported, or weights that do not fit it.
    """
    try:
        checkpoint = load_weights(io.BytesIO(path.read_bytes()), path.name)
    except PickleRefused as error:
        raise PickleRefused(
            f"{path.name} is a pickled Python object (a whole module?); loading it would run its code, so it is "
            "refused: save a torch.export program, or its state_dict and give --arch module:factory (or say "
            "--trust-pickle if you made the file yourself)"
        ) from error
    weights = _find_weights(checkpoint)
    if arch is None:
        raise InputError(f"{path.name} holds weights only (a state_dict): give --arch module:factory")
    module = _make_module(arch)
    try:
        module.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        reason = " ".join(line.strip() for line in str(error).splitlines()[1:2]) or str(error).splitlines()[0]
        raise InputError(f"the weights do not fit {arch}: {reason[:200]}") from error
    facts = merge_facts(_facts(checkpoint), _module_facts(module))
    return TorchSource("state_dict", size or facts.size, facts, module.eval())


def _find_weights(checkpoint: Any) -> dict[str, torch.Tensor]:
    candidates = [checkpoint, *(checkpoint.get(key) for key in _NESTED if isinstance(checkpoint, dict))]
    for candidate in candidates:
        if isinstance(candidate, dict) and candidate and all(isinstance(v, torch.Tensor) for v in candidate.values()):
            return candidate
    raise InputError("the file holds no state_dict (a dictionary of tensors)")


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


def _facts(checkpoint: Any) -> FileFacts:
    if isinstance(checkpoint, dict) and isinstance(checkpoint.get("pretrained_cfg"), dict):
        return facts_from_json({"pretrained_cfg": checkpoint["pretrained_cfg"]}, "pretrained_cfg")
    return FileFacts()


def _module_facts(module: torch.nn.Module) -> FileFacts:
    config = getattr(module, "pretrained_cfg", None) or getattr(module, "default_cfg", None)
    if isinstance(config, dict):
        return facts_from_json({"pretrained_cfg": config}, "pretrained_cfg")
    return FileFacts()
