"""ONNX, through our own importer: the graph becomes a torch module and goes the way of the others."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeguard.errors import InputError
from edgeguard.system.extras import how_to_install
from edgeguard_converters.load.archive import read_file
from edgeguard_converters.load.onnx_graph.names import QUANTIZED_OPERATORS
from edgeguard_converters.load.onnx_model import fresh_model
from edgeguard_converters.load.refused import SizeMissing
from edgeguard_converters.load.source import FileFacts
from edgeguard_converters.load.torch_source import TorchSource

_NARROW = {10: "float16", 11: "float64", 16: "bfloat16"}


def load_onnx(path: Path, size: tuple[int, int] | None) -> TorchSource:
    """Load an ONNX model with one image input, (n, 3, h, w) or (n, h, w, 3); one channel instead of 3 is gray.

    Raises:
        InputError: onnx is not installed, the file is damaged, reaches outside its folder, is quantized without a float
            form, or holds an operator that is not on the list or not supported, the input is no image, or its size is
            neither in the file nor given.
    """
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise InputError(f"reading ONNX needs {error.name}: {how_to_install('onnx')}") from error
    from edgeguard_converters.load.onnx_graph.program import OnnxModule

    model = fresh_model(read_file(path), path.name, path.resolve().parent)
    pictures = _input(model, size)
    facts = FileFacts(color="RGB" if pictures.channels == 3 else "GRAY", said=_said(model, path.name))
    module = OnnxModule(_fixed(model, pictures))
    return TorchSource("ONNX", pictures.size, facts, module.eval(), pictures.channels_last)


def _said(model: Any, name: str) -> tuple[str, ...]:
    """What is done to a graph that is not the plain float graph of a model in use."""
    lines = []
    kinds = {node.op_type for node in model.graph.node}
    if quantized := sorted(kinds & QUANTIZED_OPERATORS):
        lines.append(
            f"{name} IS QUANTIZED ALREADY ({', '.join(quantized)}): its weights were dequantized; the float model that "
            "it was made of would give a better file"
        )
    numbers = {tensor.data_type for tensor in model.graph.initializer}
    if narrow := sorted(_NARROW[kind] for kind in numbers & _NARROW.keys()):
        lines.append(f"weights of {', '.join(narrow)} are taken as float32")
    training = [node for node in model.graph.node if _trains(node)]
    if training:
        lines.append(
            f"{name} was exported in training mode ({', '.join(sorted({n.op_type for n in training}))}): batch "
            "normalization takes its running statistics, dropout is left out"
        )
    return tuple(lines)


def _trains(node: Any) -> bool:
    if node.op_type == "BatchNormalization":
        return len(node.output) > 1 or any(a.name == "training_mode" and a.i for a in node.attribute)
    return node.op_type == "Dropout" and len(node.input) > 2 and node.input[2] != ""


@dataclass(frozen=True)
class _Pictures:
    """What the graph takes: width and height, 3 channels or 1, and whether they come last."""

    size: tuple[int, int]
    channels: int
    channels_last: bool

    @property
    def shape(self) -> tuple[int, int, int, int]:
        (width, height), channels = self.size, self.channels
        return (1, height, width, channels) if self.channels_last else (1, channels, height, width)


def _input(model: Any, wanted: tuple[int, int] | None) -> _Pictures:
    """The image input, its size from the graph or as the user says."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise InputError(f"the graph has {len(inputs)} inputs; an image model takes one")
    sides = [d.dim_value if d.HasField("dim_value") else 0 for d in inputs[0].type.tensor_type.shape.dim]
    channels = next((n for n in (3, 1) if len(sides) == 4 and n in (sides[1], sides[3])), None)
    if channels is None:
        raise InputError(f"the graph's input is not an image batch (3 channels or 1): shape {tuple(sides)}")
    channels_last = sides[3] == channels and sides[1] != channels
    height, width = (sides[1], sides[2]) if channels_last else (sides[2], sides[3])
    if width > 0 and height > 0:
        if wanted not in (None, (width, height)):
            raise InputError(f"the graph fixes the input at {width}x{height}; leave --size out")
        return _Pictures((width, height), channels, channels_last)
    if wanted is None:
        raise SizeMissing("the graph's input size is dynamic: give --size N or WxH")
    return _Pictures(wanted, channels, channels_last)


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


def _fixed(model: Any, pictures: _Pictures) -> Any:
    """The model with a batch of one and the input's size written into it."""
    constants = {tensor.name for tensor in model.graph.initializer}
    value = next(value for value in model.graph.input if value.name not in constants)
    for dimension, side in zip(value.type.tensor_type.shape.dim, pictures.shape, strict=True):
        dimension.dim_value = side
    return model
