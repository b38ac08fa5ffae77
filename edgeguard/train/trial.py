"""A stranger's .pt2 is loaded and run in a confined process before the training loads and runs it in its own.

Every operator in it is on a list, and a list says nothing of sizes: a program may fill 40 GB with ones, and some
operators of torch crash on arguments that no exporter writes. Here that ends a process that holds nothing.
"""

from pathlib import Path

import torch

from edgeguard.errors import DeviceError, InputError, is_out_of_memory
from edgeguard.system.confine import Limits
from edgeguard.system.confined_child import ConfinedChild
from edgeguard.system.frames import Frame
from edgeguard.system.isolation import say_what_is_missing
from edgeguard_converters.load.program import read_program

_SERVICE = "edgeguard.train.trial:Trial"
_MEMORY_BYTES, _FOLDER_BYTES = 4 << 30, 64 << 20
_CPU_S, _WALL_S = 240, 120.0


def try_program(data: bytes, name: str, size: int) -> None:
    """Load a program, run it forwards and backwards on two pictures.

    Args:
        data: of the .pt2.
        name: of the file, for messages.
        size: of the pictures, pixels.

    Raises:
        InputError: it is no program, holds what is not allowed, crashes, or takes more than a process may: 4 GiB and
            six times the file, two minutes. That it does not take such pictures is no error here.
        DeviceError: no process can be started.
    """
    limits = Limits(_MEMORY_BYTES + 6 * len(data), _FOLDER_BYTES, _CPU_S, _WALL_S)
    child = ConfinedChild(_SERVICE, what=f"the process that tried {name}", limits=limits)
    with child:
        say_what_is_missing(child.confinement)
        answer = child.ask(Frame({"name": name, "size": size}, (data,)), most_bytes=0)
    if "error" in answer.fields:
        kind, text = answer.fields["error"], " ".join(str(answer.fields.get("text")).split())[:500]
        if kind == "DeviceError":
            raise DeviceError(text)
        raise InputError(f"it takes more memory than a program may ({text})" if kind == "MemoryError" else text)


class Trial:
    """Answers one request: whether a program can be loaded and run."""

    def __init__(self, folder: Path) -> None:
        pass

    def __call__(self, request: Frame) -> Frame:
        """Nothing, or what `read_program` raises."""
        size = request.fields["size"]
        program, _ = read_program(Path(request.fields["name"]), request.blobs[0])
        module = program.module(check_guards=False)
        for parameter in module.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        torch.manual_seed(0)
        for pictures in (torch.zeros(2, 3, size, size), torch.rand(2, 3, size, size) * 2 - 1):
            try:
                out = module(pictures)
                while isinstance(out, (tuple, list)) and len(out) == 1:
                    (out,) = out
                if isinstance(out, torch.Tensor) and out.requires_grad:
                    out.sum().backward()
            except Exception as error:  # that it takes no such pictures is said where it is trained
                if is_out_of_memory(error):
                    raise
        return Frame({})
