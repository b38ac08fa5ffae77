"""Mixed precision: which layers stay float, named by the user or searched for."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.statistics import lowest_snr_db
from edgeguard_converters.graph.float_graph import FloatGraph
from edgeguard_converters.graph.tflite_graph import TfliteGraph
from edgeguard_converters.quantize.quantize import Quantized, quantize_int8

_FIRST_GROUPS = 12
_IMAGES = 24  # enough to weigh layers against each other
_MOST_BUILDS = 200  # after that, groups are kept float whole
_NEGLIGIBLE = 0.002  # of all noise: a group with less is not taken apart
_PRUNED = 16


def named_layers(graph: TfliteGraph, patterns: tuple[str, ...], float_input: bool = False) -> tuple[str, ...]:
    """The outputs of the operators that match one of the patterns, which are regular expressions.

    A pattern is looked for in the output's name and the operator's kind (`SOFTMAX`); `#12` is the operator of that
    number in the report's table.

    Raises:
        InputError: a pattern that is no expression, or matches nothing; or the first layer of an 8-bit input.
    """
    outputs = graph.operator_outputs()
    chosen: list[str] = []
    for pattern in patterns:
        try:
            expression = re.compile(pattern)
        except re.error as error:
            raise InputError(f"--keep-float {pattern!r} is no regular expression: {error}") from error
        found = [
            name
            for number, (kind, name) in enumerate(outputs)
            if pattern == f"#{number}" or expression.search(name) or expression.fullmatch(kind)
        ]
        if not found:
            kinds = ", ".join(sorted({kind for kind, _ in outputs}))
            raise InputError(f"--keep-float {pattern!r} matches no layer; the graph's operators are {kinds}")
        chosen += [name for name in found if name not in chosen]
    if not float_input and (fed := graph.first_operators() & set(chosen)):
        raise InputError(
            f"--keep-float: {fed.pop()} takes the model's 8-bit input and cannot stay float; --io float32 allows it"
        )
    return tuple(chosen)


@dataclass
class _Group:
    """Neighbouring operators, by their outputs, and the noise that they alone bring to the graph's output."""

    names: tuple[str, ...]
    noise: float


class FloatSearch:
    """The fewest layers that have to stay float.

    Each layer's own share of the noise at the output is measured with all others float, and the largest shares go
    first; how many have to go is then found by bisection, with the gates themselves as the judge. In large graphs
    groups of neighbours are measured before single layers, and only those that matter are taken apart.
    """

    def __init__(self, graph: FloatGraph, quantized: Quantized, *, pixels: NDArray[np.uint8], log: Path) -> None:
        """Begin a search.

        Args:
            graph: the float graph.
            quantized: made from it, without float layers.
            pixels: images as the model sees them, (n, h, w, 3) of uint8; up to 24 of them weigh the layers.
            log: where the quantizer's chatter goes.
        """
        self._graph, self._quantized, self._log = graph, quantized, log
        self._pixels = pixels[:: -(-len(pixels) // _IMAGES)]
        self._expected = graph.outputs(self._pixels)
        # Operators that take the quantized input stay int8: float, they would change the model's input type
        fed = graph.tflite.first_operators()
        self.names = tuple(name for _, name in graph.tflite.operator_outputs() if name not in fed)
        self._builds = 0
        self._ranked: list[_Group] = []

    def build(self, float_names: Collection[str]) -> TfliteGraph:
        """The graph with these layers float."""
        self._builds += 1
        made = self._quantized
        chosen = tuple(name for name in self.names if name in float_names)
        return quantize_int8(self._graph, made.calibration, self._log, method=made.method, keep_float=chosen)

    def fewest(self, passes: Callable[[TfliteGraph], bool]) -> tuple[str, ...] | None:
        """The layers to keep float so that `passes` holds; None if it fails even with all of them float."""
        groups = self._ranked = self._ranked or self.ranked()
        low, high = 0, len(groups)
        if not passes(self.build(_names(groups))):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            if passes(self.build(_names(groups[:middle]))):
                high = middle
            else:
                low = middle
        return _names(self._without_needless(groups[:high], passes))

    def _without_needless(self, groups: list[_Group], passes: Callable[[TfliteGraph], bool]) -> list[_Group]:
        """Groups of several layers that the gates do not need after all go back to int8, the largest first."""
        for group in sorted(groups, key=lambda group: -len(group.names))[:_PRUNED]:
            fewer = [other for other in groups if other is not group]
            if len(group.names) > 1 and passes(self.build(_names(fewer))):
                groups = fewer
        return groups

    def ranked(self) -> list[_Group]:
        """Single layers where they matter, groups of them where not, by noise for each layer, most first."""
        size = max(-(-len(self.names) // _FIRST_GROUPS), 1)
        groups = [self._measured(self.names[i : i + size]) for i in range(0, len(self.names), size)]
        while self._builds < _MOST_BUILDS:
            least = _NEGLIGIBLE * sum(group.noise for group in groups)
            divisible = [group for group in groups if len(group.names) > 1 and group.noise > least]
            if not divisible:
                break
            group = max(divisible, key=lambda group: group.noise)
            groups.remove(group)
            middle = len(group.names) // 2
            groups += [self._measured(group.names[:middle]), self._measured(group.names[middle:])]
        return sorted(groups, key=lambda group: -group.noise / len(group.names))

    def _measured(self, names: tuple[str, ...]) -> _Group:
        built = self.build(set(self.names) - set(names))
        snr = lowest_snr_db(self._expected, built.outputs(self._pixels, self._graph.feed))
        return _Group(names, 10 ** (-snr / 10))


def _names(groups: list[_Group]) -> tuple[str, ...]:
    return tuple(name for group in groups for name in group.names)
