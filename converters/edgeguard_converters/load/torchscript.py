"""TorchScript files, traced or scripted."""

from pathlib import Path
from typing import Literal

import torch

from edgeguard.errors import InputError
from edgeguard_converters.load.archive import read_archive, read_file
from edgeguard_converters.load.evaluation_mode import into_evaluation_mode
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
        channels = _channels(scripted)
        example = (torch.zeros(1, channels, height, width),)
        module = TS2EPConverter(scripted, example, {}).convert().module()
        said = into_evaluation_mode(module).said
    except InputError:
        raise
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"torch cannot convert this TorchScript graph: {first}") from error
    color: Literal["RGB", "GRAY"] = "GRAY" if channels == 1 else "RGB"
    return TorchSource("TorchScript", size, FileFacts(color=color, said=said), module)


def _channels(scripted: torch.jit.ScriptModule) -> int:
    """Of the input: 1 where the first convolution's weights take one channel and are no depthwise ones."""
    first = next((w for w in scripted.state_dict().values() if w.ndim == 4), None)
    return 1 if first is not None and first.shape[1] == 1 and first.shape[0] != 3 else 3
