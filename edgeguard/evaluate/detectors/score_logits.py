"""The logits behind a detector's scores: attacks need what a closing sigmoid flattens."""

from collections.abc import Sequence

import torch
from torch import Tensor

from edgeguard.evaluate.rebuild.graph import Graph, Operator
from edgeguard.evaluate.rebuild.operators import OPERATORS

_AS_THEY_ARE = ("QUANTIZE", "DEQUANTIZE")
_ARRANGING = ("RESHAPE", "SQUEEZE", "TRANSPOSE", "CONCATENATION")


class ScoreLogits:
    """A tensor of scores, calculated once more without the sigmoids that make them.

    Works where between the sigmoids and the tensor stand only operators that arrange values: then the same
    arrangement of what the sigmoids get is the scores' logits.

    Args:
        graph: of the file.
        scores: number of the tensor; `of` says whether it can be traced.

    Attributes:
        sources: numbers of the tensors that the sigmoids get, in the order in which `__call__` wants their values.
    """

    def __init__(self, graph: Graph, scores: int) -> None:
        self._graph, self._scores = graph, scores
        self._makers = {n: o for o in graph.operators for n in o.outputs}
        self.sources: tuple[int, ...] = tuple(dict.fromkeys(self._found(scores) or ()))

    @classmethod
    def of(cls, graph: Graph, scores: int) -> bool:
        """Whether scores come from sigmoids by arranging alone."""
        return len(cls(graph, scores).sources) > 0

    def __call__(self, values: Sequence[Tensor]) -> Tensor:
        """The logits, from the values of `sources`."""
        return self._again(self._scores, dict(zip(self.sources, values, strict=True)))

    def _found(self, number: int) -> list[int] | None:
        """What the sigmoids behind a tensor get; None where something else makes a part of it."""
        maker = self._makers.get(number)
        if maker is None:
            return None
        if maker.name == "LOGISTIC":
            return [maker.inputs[0]]
        found: list[int] = []
        for part in _parts(maker):
            behind = self._found(part)
            if behind is None:
                return None
            found += behind
        return found or None

    def _again(self, number: int, known: dict[int, Tensor]) -> Tensor:
        maker = self._makers[number]
        if maker.name == "LOGISTIC":
            return known[maker.inputs[0]]
        if maker.name in _AS_THEY_ARE:
            return self._again(maker.inputs[0], known)
        inputs = [self._again(n, known) for n in _parts(maker)]
        for n in maker.inputs[len(inputs) :]:  # axes and shapes
            data = self._graph.tensors[n].data
            assert data is not None
            inputs.append(torch.from_numpy(data.copy()))
        made = OPERATORS[maker.name](maker, inputs, self._graph.tensors[number].shape)
        assert isinstance(made, Tensor)
        return made


def _parts(maker: Operator) -> tuple[int, ...]:
    """The inputs that hold scores; none of an operator that does more than arrange."""
    if maker.name == "CONCATENATION":
        return maker.inputs
    return maker.inputs[:1] if maker.name in (*_AS_THEY_ARE, *_ARRANGING) else ()
