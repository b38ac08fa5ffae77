"""TorchScript files, traced or scripted."""

from pathlib import Path

import torch

from edgeguard.errors import InputError
from edgeguard_converters.load.archive import read_archive, read_file
from edgeguard_converters.load.refused import SizeMissing
from edgeguard_converters.load.script_archive import fresh_script
from edgeguard_converters.load.source import FileFacts
from edgeguard_converters.load.torch_source import TorchSource


def load_torchscript(path: Path, size: tuple[int, int] | None) -> TorchSource:
    """Load TorchScript and turn it into an exported program (torch.export refuses it directly).

    Raises:
        PickleRefused: a function of the script names what is not allowed.
        InputError: the size is not known (TorchScript holds none), or torch cannot convert the graph.
    """
    if size is None:
        raise SizeMissing("a TorchScript file holds no input size: give --size N or WxH")
    from torch._export.converter import TS2EPConverter

    width, height = size
    fresh = fresh_script(read_archive(read_file(path), path.name), path.name)
    try:
        scripted = torch.jit.load(fresh, map_location="cpu").eval()
        example = (torch.zeros(1, 3, height, width),)
        module = TS2EPConverter(scripted, example, {}).convert().module()
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"torch cannot convert this TorchScript graph: {first}") from error
    return TorchSource("TorchScript", size, FileFacts(), module)
