"""How a .tflite's metadata say that its float input is scaled.

Source: TensorFlow Lite's metadata schema (`ModelMetadata`, `NormalizationOptions`). Quantized inputs take levels as
they are; what metadata say of them describes the float model that they came from.
"""

import math
import struct
from dataclasses import dataclass

from edgeguard.errors import InputError
from edgeguard.model.flatbuffer import ModelFile
from edgeguard.model.table import Table

_GRAPHS, _INPUTS, _UNITS, _KIND, _OPTIONS, _MEAN, _STD = 3, 2, 4, 0, 1, 0, 1
_NORMALIZATION = 1  # of the union ProcessUnitOptions
_MOST_UNITS = 16

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class SaidScale:
    """`(level - mean) / std`, levels in 0..255, for red, green and blue (a gray input has its number three times).

    Attributes:
        unusable: why the file's numbers are no scale; empty for a usable one.
    """

    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)
    unusable: str = ""

    def __str__(self) -> str:
        if len(set(self.mean)) == len(set(self.std)) == 1:
            return f"(level - {self.mean[0]:g}) / {self.std[0]:g}"
        return f"(level - {_list(self.mean)}) / {_list(self.std)}"


def said_scale(model: ModelFile) -> SaidScale | None:
    """What the metadata say of the first input; None where they say nothing, or cannot be read."""
    data = model.metadata("TFLITE_METADATA")
    if not data:
        return None
    try:
        options = _normalization(Table.root(data))
        if options is None:
            return None
        mean, std = _floats(options, _MEAN), _floats(options, _STD)
    except InputError:
        return None  # metadata are a comment: a graph runs without them
    if len(mean) not in (1, 3) or len(std) not in (1, 3):
        return SaidScale(unusable=f"{len(mean)} means and {len(std)} deviations for 3 channels")
    if not all(map(math.isfinite, (*mean, *std))) or min(map(abs, std)) == 0:
        return SaidScale(unusable="a mean or deviation is 0 or no number")
    return SaidScale(_triple(mean), _triple(std))


def _normalization(root: Table) -> Table | None:
    graph = next(root.tables(_GRAPHS), None)
    image = None if graph is None else next(graph.tables(_INPUTS), None)
    if image is None:
        return None
    for number, unit in enumerate(image.tables(_UNITS)):
        if number >= _MOST_UNITS:
            break
        if unit.number(_KIND, "<B") == _NORMALIZATION:
            return unit.table(_OPTIONS)
    return None


def _floats(table: Table, number: int) -> list[float]:
    start, length = table.vector(number, 4)
    return list(struct.unpack_from(f"<{min(length, 4)}f", table.data, start))


def _triple(values: list[float]) -> Triple:
    red, green, blue = values * 3 if len(values) == 1 else values
    return red, green, blue


def _list(values: Triple) -> str:
    return "[" + ", ".join(f"{value:g}" for value in values) + "]"
