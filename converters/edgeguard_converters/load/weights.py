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
from edgeguard_converters.load.exchange import facts_of, facts_to_json
from edgeguard_converters.load.refused import PickleRefused
from edgeguard_converters.load.source import FileFacts, facts_from_json

_SERVICE = "edgeguard_converters.load.weights:WeightsService"
_NESTED = ("state_dict", "model_state_dict", "model", "ema", "net", "weights")
_NAME = re.compile(r"[\w.\- /:@]{1,500}")
_LAYOUTS = dict(STORAGES.values())


@dataclass(frozen=True)
class Weights:
    """A state_dict.

    Attributes:
        name: of the file, for messages.
        tensors: by the names of parameters and buffers.
        facts: what the checkpoint says beside them.
    """

    name: str
    tensors: dict[str, Tensor]
    facts: FileFacts


def read_weights(path: Path) -> Weights:
    """Read a state_dict, or a checkpoint that holds one.

    Raises:
        PickleRefused: the file is a pickle that would run code.
        InputError: it is damaged, or holds no state_dict.
    """
    try:
        checkpoint = read_checkpoint(read_file(path), path.name)
    except PickleRefused as error:
        raise PickleRefused(
            f"{path.name} is a pickled Python object (a whole module?); loading it would run its code, so it is "
            "refused: save a torch.export program, or its state_dict and give --arch module:factory (or say "
            "--trust-pickle if you made the file yourself)"
        ) from error
    return Weights(path.name, _find_weights(checkpoint), _facts(checkpoint))


class WeightsService:
    """Answers one request with the weights of a file."""

    def __init__(self, folder: Path) -> None:
        pass

    def __call__(self, request: Frame) -> Frame:
        """Names, kinds and shapes as fields, numbers as blobs."""
        weights = read_weights(Path(request.fields["path"]))
        tensors = [[name, t.kind, list(t.values.shape)] for name, t in weights.tensors.items()]
        blobs = tuple(np.ascontiguousarray(t.values).tobytes() for t in weights.tensors.values())
        return Frame({"tensors": tensors, "facts": facts_to_json(weights.facts)}, blobs)


def read_in_child(path: Path, limits: Limits) -> Frame:
    """`read_weights` in a confined process; `weights_of_frame` takes what it answers.

    Raises:
        PickleRefused, InputError: as `read_weights`, or the process broke a limit.
    """
    child = ConfinedChild(_SERVICE, what="the process that read the weights", limits=limits, reach=Reach((path,)))
    with child:
        say_what_is_missing(child.confinement)
        answer = child.ask(Frame({"path": str(path)}), most_bytes=1 << 34)
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
        raise ValueError("a tensor without a name")
    return name


def _find_weights(checkpoint: Any) -> dict[str, Tensor]:
    candidates = [checkpoint, *(checkpoint.get(key) for key in _NESTED if isinstance(checkpoint, dict))]
    for candidate in candidates:
        if isinstance(candidate, dict) and candidate and all(isinstance(v, Tensor) for v in candidate.values()):
            return {_checked_name(name): tensor for name, tensor in candidate.items()}
    raise InputError("the file holds no state_dict (a dictionary of tensors)")


def _facts(checkpoint: Any) -> FileFacts:
    if isinstance(checkpoint, dict) and isinstance(checkpoint.get("pretrained_cfg"), dict):
        return facts_from_json({"pretrained_cfg": checkpoint["pretrained_cfg"]}, "pretrained_cfg")
    return FileFacts()
