"""The weights of a checkpoint, and the confined process that reads them.

The process knows neither torch nor the user's architecture: what it sends back are names, shapes and numbers, which the
user's own module then takes in a process that is not confined.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.errors import InputError
from edgeguard.system.confine import Limits, Reach
from edgeguard.system.confined_child import ConfinedChild
from edgeguard.system.frames import Frame
from edgeguard.system.isolation import say_what_is_missing
from edgeguard_converters.load.archive import read_file
from edgeguard_converters.load.checkpoint import STORAGES, Tensor, read_checkpoint
from edgeguard_converters.load.containers import Found, find_weights, unwrapped
from edgeguard_converters.load.exchange import facts_of, facts_to_json
from edgeguard_converters.load.pickle_records import Stub
from edgeguard_converters.load.refused import PickleRefused
from edgeguard_converters.load.safetensors import is_safetensors, read_safetensors
from edgeguard_converters.load.source import FileFacts, facts_from_json

_SERVICE = "edgeguard_converters.load.weights:WeightsService"
_NAME = re.compile(r"[\w.\- /:@]{1,500}")
_LAYOUTS = dict(STORAGES.values())
_MOST_DEPTH = 100
_MOST_PLACES = 100_000  # of modules: one that stands in two places counts twice, with all below it


@dataclass(frozen=True)
class Weights:
    """A state_dict.

    Attributes:
        name: of the file, for messages.
        tensors: by the names of parameters and buffers.
        facts: what the checkpoint says beside them.
        hint: the name of the network, where the checkpoint says one.
    """

    name: str
    tensors: dict[str, Tensor]
    facts: FileFacts
    hint: str | None = None


@dataclass(frozen=True, eq=False)
class PickledModule:
    """The record of a module that was saved whole.

    Attributes:
        name: of the file, for messages.
        record: of the module.
        facts: what the checkpoint says beside it.
    """

    name: str
    record: Stub
    facts: FileFacts


def read_weights(path: Path, wanted: str | None = None) -> Weights | PickledModule:
    """Read a state_dict, a checkpoint that holds one, or a module that was saved whole.

    Args:
        path: of the file.
        wanted: `--weights`, the name of the container to take.

    Raises:
        PickleRefused: the file is a pickle that would run code.
        InputError: it is damaged, or holds no weights.
    """
    data = read_file(path)
    if is_safetensors(data[:16]):
        checkpoint: Any = read_safetensors(data, path.name)
    else:
        checkpoint = read_checkpoint(data, path.name, objects=True)
    found = find_weights(checkpoint, path.name, wanted)
    facts = _facts(checkpoint, found)
    if found.module is not None:
        return PickledModule(path.name, found.module, facts)
    assert found.weights is not None
    return Weights(
        path.name, {_checked_name(n): tensor for n, tensor in found.weights.items()}, facts, _hint(checkpoint)
    )


def tensors_of_module(module: PickledModule) -> Weights:
    """The state_dict of a module that was saved whole, whatever its classes are."""
    tensors: dict[str, Tensor] = {}
    _collect(unwrapped(module.record)[0], "", tensors, 0, [_MOST_PLACES])
    return Weights(module.name, {_checked_name(name): tensor for name, tensor in tensors.items()}, module.facts)


class WeightsService:
    """Answers one request with the weights of a file."""

    def __init__(self, folder: Path) -> None:
        pass

    def __call__(self, request: Frame) -> Frame:
        """Names, kinds and shapes as fields, numbers as blobs."""
        weights = read_weights(Path(request.fields["path"]), request.fields.get("wanted"))
        if isinstance(weights, PickledModule):
            weights = tensors_of_module(weights)
        tensors = [[name, t.kind, list(t.values.shape)] for name, t in weights.tensors.items()]
        blobs = tuple(np.ascontiguousarray(t.values).tobytes() for t in weights.tensors.values())
        return Frame({"tensors": tensors, "facts": facts_to_json(weights.facts)}, blobs)


def read_in_child(path: Path, limits: Limits, wanted: str | None = None) -> Frame:
    """`read_weights` in a confined process; `weights_of_frame` takes what it answers.

    Raises:
        PickleRefused, InputError: as `read_weights`, or the process broke a limit.
    """
    child = ConfinedChild(_SERVICE, what="the process that read the weights", limits=limits, reach=Reach((path,)))
    with child:
        say_what_is_missing(child.confinement)
        answer = child.ask(Frame({"path": str(path), "wanted": wanted}), most_bytes=1 << 34)
    if "error" in answer.fields:
        kind = PickleRefused if answer.fields["error"] == "PickleRefused" else InputError
        raise kind(" ".join(str(answer.fields.get("text")).split()))
    weights_of_frame(answer)
    return answer


def weights_of_frame(frame: Frame) -> Weights:
    """The weights that came from the process.

    Raises:
        InputError: what came are no weights.
    """
    try:
        tensors = {
            _checked_name(name): _tensor(kind, shape, blob)
            for (name, kind, shape), blob in zip(frame.fields["tensors"], frame.blobs, strict=True)
        }
        return Weights(str(frame.fields.get("weights", "the file")), tensors, facts_of(frame.fields["facts"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"what was read of the weights makes no sense: {error}") from error


def _tensor(kind: Any, shape: Any, blob: bytes) -> Tensor:
    layout = np.dtype(_LAYOUTS[kind])
    if any(type(side) is not int or side < 0 for side in shape) or math.prod(shape) * layout.itemsize != len(blob):
        raise ValueError("a tensor whose shape is not that of its bytes")
    return Tensor(kind, np.frombuffer(blob, layout).reshape(shape))


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(f"the file holds a tensor of the name {str(name)[:60]!r}, which no module has")
    return name


def _collect(record: Any, prefix: str, tensors: dict[str, Tensor], depth: int, left: list[int]) -> None:
    left[0] -= 1
    if depth > _MOST_DEPTH or left[0] < 0:
        raise InputError("the file holds a module that holds itself, or modules that stand in too many places at once")
    state = record.state if isinstance(record, Stub) and isinstance(record.state, dict) else {}
    for group in ("_parameters", "_buffers"):
        for name, value in dict(state.get(group) or {}).items():
            if isinstance(value, Tensor) and name not in (state.get("_non_persistent_buffers_set") or ()):
                tensors[f"{prefix}{name}"] = value
    for name, inner in dict(state.get("_modules") or {}).items():
        _collect(inner, f"{prefix}{name}.", tensors, depth + 1, left)


def _hint(checkpoint: Any) -> str | None:
    """`arch`, as the training scripts of torch and timm write it."""
    found = checkpoint.get("arch") if isinstance(checkpoint, dict) else None
    return found[:100] if isinstance(found, str) else None


def _facts(checkpoint: Any, found: Found) -> FileFacts:
    """timm's configuration beside the weights or in the module, and what was decided."""
    facts = FileFacts()
    record = None if found.module is None else unwrapped(found.module)[0]
    state = record.state if record is not None and isinstance(record.state, dict) else {}
    for place in (checkpoint if isinstance(checkpoint, dict) else {}, state):
        config = place.get("pretrained_cfg") or place.get("default_cfg")
        if isinstance(config, dict):
            facts = facts_from_json({"pretrained_cfg": config}, "pretrained_cfg")
            break
    return FileFacts(**{**{n: getattr(facts, n) for n in FileFacts.__dataclass_fields__}, "said": found.said})
