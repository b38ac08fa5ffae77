"""TorchScript files, traced or scripted."""

from pathlib import Path

import torch

from edgeguard.errors import InputError
from edgeguard_converters.loaders.source import FileFacts, Source


def load_torchscript(path: Path, size: tuple[int, int] | None) -> Source:
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
        example = (torch.zeros(1, 3, height, width),)
        module = TS2EPConverter(scripted, example, {}).convert().module()
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"torch cannot convert this TorchScript graph: {first}") from error
    return Source("TorchScript", module, size, False, FileFacts())
