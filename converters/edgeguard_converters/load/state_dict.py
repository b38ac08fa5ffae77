"""Weights alone, or a module that was saved whole: what they become in torch."""

import importlib
import sys
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from edgeguard.errors import InputError
from edgeguard_converters.load.containers import without_prefixes
from edgeguard_converters.load.formats import is_users_own
from edgeguard_converters.load.pickled_module import module_of_record
from edgeguard_converters.load.reparametrized import put_together
from edgeguard_converters.load.source import FileFacts, facts_from_json, merge_facts
from edgeguard_converters.load.torch_source import TorchSource
from edgeguard_converters.load.weight_tensors import torch_tensor
from edgeguard_converters.load.weights import PickledModule, Weights, read_weights, tensors_of_module
from edgeguard_converters.load.zoo.architecture import Architecture, identified, named
from edgeguard_converters.load.zoo.preprocessing import facts_of_architecture

_COUNTER = "num_batches_tracked"


def load_state_dict(
    path: Path, arch: str | None, size: tuple[int, int] | None, wanted: str | None = None
) -> TorchSource:
    """Load a state_dict, a checkpoint or a pickled module.

    Args:
        path: of the file.
        arch: None or `auto`: the network is known by the weights' names and shapes, a pickled module by its classes.
            `torchvision:NAME`, `timm:NAME`, or the user's own `package.module:factory`.
        size: width and height of the input.
        wanted: `--weights`, the container to take.

    Raises:
        PickleRefused: the file holds what is not allowed.
        InputError: the network is not known, cannot be made, or the weights do not fit it.
    """
    found = read_weights(path, wanted)
    if isinstance(found, PickledModule):
        if arch in (None, "auto"):
            return _pickled(found, size)
        found = tensors_of_module(found)
    return source_of_weights(found, arch, size)


def source_of_weights(weights: Weights, arch: str | None, size: tuple[int, int] | None) -> TorchSource:
    """Put weights that were read into their network; errors as in `load_state_dict`."""
    if arch is not None and arch != "auto" and is_users_own(arch):
        return _of_users_own(weights, arch, size)
    weights = _together(weights)
    shapes = {name: tuple(t.values.shape) for name, t in weights.tensors.items()}
    if arch in (None, "auto"):
        return _of_library(weights, identified(shapes, weights.name, weights.hint), size)
    assert arch is not None
    return _of_library(weights, named(arch, shapes), size)


def _together(weights: Weights) -> Weights:
    tensors, said = put_together(weights.tensors)
    return replace(weights, tensors=tensors, facts=replace(weights.facts, said=(*weights.facts.said, *said)))


def _of_users_own(weights: Weights, arch: str, size: tuple[int, int] | None) -> TorchSource:
    module = _make_module(arch)
    own = {name for name in module.state_dict() if not name.endswith(_COUNTER)}
    if not own <= set(_names_for(module, list(weights.tensors))[0].values()):
        weights = _together(weights)  # the module does not keep them in parts, as the one that was trained did
    names, said = _names_for(module, list(weights.tensors))
    _load(module, {short: name for name, short in names.items()}, weights, arch)
    facts = merge_facts(weights.facts, _module_facts(module))
    facts = replace(facts, said=(*facts.said, *said))
    return TorchSource("state_dict", size or facts.size, facts, module.float().eval())


def _pickled(found: PickledModule, size: tuple[int, int] | None) -> TorchSource:
    module, said = module_of_record(found.record, found.name)
    facts = merge_facts(found.facts, _module_facts(module))
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    try:
        known = identified(shapes, found.name)
    except InputError:
        known = None
    if known is not None and type(known.module) is type(module):
        facts = merge_facts(facts, facts_of_architecture(known.name, known.module))
    kind = f"{type(module).__module__.split('.')[0]} {type(module).__name__}"
    line = f"{found.name} is a pickled module ({kind}); it was put together from its record, no code of the file ran"
    return TorchSource("pickled", size or facts.size, replace(facts, said=(*facts.said, *said, line)), module)


def _of_library(weights: Weights, known: Architecture, size: tuple[int, int] | None) -> TorchSource:
    _load(known.module, known.names, weights, known.name)
    facts = merge_facts(weights.facts, facts_of_architecture(known.name, known.module))
    facts = replace(facts, said=(*weights.facts.said, *known.said))
    return TorchSource("state_dict", size or facts.size, facts, known.module.float().eval())


def _load(module: torch.nn.Module, names: dict[str, str], weights: Weights, arch: str) -> None:
    """Load strictly; counters of batch normalization, which older files lack, aside."""
    own = module.state_dict()
    tensors = OrderedDict((short, torch_tensor(weights.tensors[name])) for short, name in names.items())
    vars(tensors)["_metadata"] = vars(own).get("_metadata")  # versions of layers: some networks refuse weights without
    for name, tensor in own.items():
        if name.endswith(_COUNTER):
            tensors.setdefault(name, tensor)
    try:
        module.load_state_dict(tensors, strict=True)
    except Exception as error:  # a network may look at its weights itself, and say what it likes
        lines = [line.strip() for line in str(error).splitlines()] or [type(error).__name__]
        reason = lines[1] if len(lines) > 1 and lines[1] else lines[0]
        raise InputError(f"the weights do not fit {arch}: {reason[:200]}") from error


def _names_for(module: torch.nn.Module, names: list[str]) -> tuple[dict[str, str], list[str]]:
    """The names as they are where the user's module has them, else without the prefixes of wrappers."""
    own = set(module.state_dict())
    if own & set(names):
        return {name: name for name in names}, []
    return without_prefixes(names)


def _make_module(arch: str) -> torch.nn.Module:
    module_name, separator, factory_name = arch.partition(":")
    if not separator or not module_name or not factory_name:
        raise InputError(f"--arch must be auto, torchvision:NAME, timm:NAME or module:factory, got {arch!r}")
    sys.path.insert(0, str(Path.cwd()))
    try:
        factory = getattr(importlib.import_module(module_name), factory_name)
        module = factory()
    except (ImportError, AttributeError) as error:
        itself = isinstance(error, ModuleNotFoundError) and error.name == module_name
        where = f" in this folder, PYTHONPATH or Python's packages; of nets/mine.py say nets.mine:{factory_name}"
        raise InputError(f"--arch {arch}: {error}{where if itself else ''}") from error
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
