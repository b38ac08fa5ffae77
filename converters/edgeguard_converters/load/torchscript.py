"""TorchScript files, traced or scripted."""

from pathlib import Path

import torch

from edgeguard.errors import InputError
from edgeguard_converters.load.source import FileFacts
from edgeguard_converters.load.torch_source import TorchSource

#: Operators with which a script can reach files.
_FILE_OPERATORS = ("aten::from_file", "aten::save", "aten::load")


def _check_operators(scripted: torch.jit.ScriptModule) -> None:
    graph = str(scripted.inlined_graph)
    for name in _FILE_OPERATORS:
        if f"{name}(" in graph:
            raise InputError(f"the script calls {name}, which reaches files; refused, it was not run")


def load_torchscript(path: Path, size: tuple[int, int] | None) -> TorchSource:
    """Load TorchScript and turn it into an exported program (torch.export refuses it directly).

    Raises:
        InputError: the size is not known (TorchScript holds none), or torch cannot convert the graph.
    """
    if size is None:
        raise InputError("a TorchScript file holds no input size: give --size N or WxH")
    from torch._export.converter import TS2EPConverter

    width, height = size
    try:
        scripted = torch.jit.load(str(path), map_location="cpu").eval()
        _check_operators(scripted)
        example = (torch.zeros(1, 3, height, width),)
        module = TS2EPConverter(scripted, example, {}).convert().module()
    except InputError:
        raise
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"torch cannot convert this TorchScript graph: {first}") from error
    return TorchSource("TorchScript", size, FileFacts(), module)
