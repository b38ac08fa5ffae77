"""ONNX, through onnx2torch: the graph becomes a torch module and goes the way of the others."""

import re
from pathlib import Path
from typing import Any

from edgeguard.errors import InputError
from edgeguard_converters.load.archive import read_file
from edgeguard_converters.load.onnx_model import fresh_model
from edgeguard_converters.load.source import FileFacts
from edgeguard_converters.load.torch_source import TorchSource
from edgeguard_converters.load.torchvision_operators import make_torchvision_importable


def load_onnx(path: Path, size: tuple[int, int] | None) -> TorchSource:
    """Load an ONNX model with one image input, (n, 3, h, w) or (n, h, w, 3).

    Raises:
        InputError: onnx2torch is not installed, the file is damaged, reaches outside itself, or holds an operator that
            is not on the list or not supported, the input is no image, or its size is neither in the file nor given.
    """
    try:
        import onnx  # noqa: F401

        make_torchvision_importable()
        import onnx2torch
    except ImportError as error:
        raise InputError(f"reading ONNX needs {error.name}: pip install 'edgeguard[onnx]'") from error
    model = fresh_model(read_file(path), path.name)
    size, channels_last = _input(model, size)
    try:
        module = onnx2torch.convert(_fixed(model, size, channels_last))
    except NotImplementedError as error:
        raise InputError(f"onnx2torch cannot convert this graph: {_first_line(error)}; --onnx2tf may") from error
    except Exception as error:
        raise InputError(f"onnx2torch fails on this graph: {type(error).__name__}: {_first_line(error)}") from error
    return TorchSource("ONNX", size, FileFacts(), module.float().eval(), channels_last)


def _input(model: Any, wanted: tuple[int, int] | None) -> tuple[tuple[int, int], bool]:
    """The size of the image input, and whether its channels come last."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise InputError(f"the graph has {len(inputs)} inputs; an image model takes one")
    sides = [d.dim_value if d.HasField("dim_value") else 0 for d in inputs[0].type.tensor_type.shape.dim]
    if len(sides) != 4 or 3 not in (sides[1], sides[3]):
        raise InputError(f"the graph's input is not an image batch: shape {tuple(sides)}")
    channels_last = sides[3] == 3 and sides[1] != 3
    height, width = (sides[1], sides[2]) if channels_last else (sides[2], sides[3])
    if width > 0 and height > 0:
        if wanted not in (None, (width, height)):
            raise InputError(f"the graph fixes the input at {width}x{height}; leave --size out")
        return (width, height), channels_last
    if wanted is None:
        raise InputError("the graph's input size is dynamic: give --size N or WxH")
    return wanted, channels_last


def first_input(model: Any) -> str:
    """The name of the first input that is no weight.

    Raises:
        InputError: the graph has none.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    name = next((value.name for value in model.graph.input if value.name not in constants), None)
    if name is None or not re.fullmatch(r"[\w./:\-]{1,200}", name):
        raise InputError("the graph has no input with a name that can be used")
    return str(name)


def _fixed(model: Any, size: tuple[int, int], channels_last: bool) -> Any:
    """The model with a batch of one and the input's size written into it."""
    constants = {tensor.name for tensor in model.graph.initializer}
    value = next(value for value in model.graph.input if value.name not in constants)
    sides = (1, size[1], size[0], 3) if channels_last else (1, 3, size[1], size[0])
    for dimension, side in zip(value.type.tensor_type.shape.dim, sides, strict=True):
        dimension.dim_value = side
    return model


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return (text.splitlines()[0] if text else type(error).__name__)[:250]
