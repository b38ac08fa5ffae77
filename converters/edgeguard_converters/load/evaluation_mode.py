"""Graphs that were exported in training mode: normalized by the batch, with dropout alive.

Such a graph answers nonsense for single pictures, on the workstation as on the device, so that every gate agrees. In
evaluation mode the same operators take their running statistics, and dropout passes its input on: both is exact here.
What draws random numbers in another way is refused.
"""

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import GraphModule, Node

from edgeguard.errors import InputError
from edgeguard_converters.load.folding import depends_on_the_input, fold

#: Names of operators, and where among the arguments training is said.
_NORMALIZES = {"batch_norm": 5, "cudnn_batch_norm": 5, "native_batch_norm": 5, "_native_batch_norm_legit": 5,
               "_native_batch_norm_legit_functional": 5}  # fmt: skip
_DROPS = {"dropout": 2, "dropout_": 2, "feature_dropout": 2, "feature_dropout_": 2, "alpha_dropout": 2,
          "feature_alpha_dropout": 2, "native_dropout": 2}  # fmt: skip
_RANDOM = ("bernoulli", "bernoulli_", "rand", "rand_like", "randn", "randn_like", "randint", "uniform_", "normal_",
           "rrelu", "rrelu_with_noise", "multinomial", "randperm")  # fmt: skip
_MEAN, _VARIANCE = 3, 4


@dataclass(frozen=True)
class Repaired:
    """What was repaired: numbers of normalizations and of dropouts."""

    normalizations: int
    dropouts: int

    @property
    def said(self) -> tuple[str, ...]:
        """A line for the user where something was repaired."""
        parts = []
        if self.normalizations:
            parts.append(f"{self.normalizations} batch normalizations take their running statistics")
        if self.dropouts:
            parts.append(f"{self.dropouts} dropouts are left out")
        return (f"THE GRAPH WAS EXPORTED IN TRAINING MODE: {', '.join(parts)}",) if parts else ()


def into_evaluation_mode(module: torch.nn.Module) -> Repaired:
    """Repair a graph module of torch.export in place; others are left as they are.

    Raises:
        InputError: a normalization without running statistics, or an operator that draws random numbers.
    """
    if not isinstance(module, GraphModule):
        return Repaired(0, 0)
    normalizations = dropouts = 0
    for node in list(module.graph.nodes):
        name = _name(node)
        if name in _RANDOM:
            raise InputError(
                f"the graph draws random numbers (aten.{name}): it was exported in training mode; call model.eval() "
                "before the export"
            )
        if name in _NORMALIZES and _trains(node, _NORMALIZES[name]) and not depends_on_the_input(node):
            fold(module, node)
        elif name in _NORMALIZES and _trains(node, _NORMALIZES[name]):
            _take_running_statistics(node, _NORMALIZES[name])
            normalizations += 1
        elif name in _DROPS and _trains(node, _DROPS[name]):
            _pass_on(node, name)
            dropouts += 1
    if normalizations or dropouts:
        for node in list(module.graph.nodes):
            if _counts_batches(node):
                module.graph.erase_node(node)
        module.graph.eliminate_dead_code()
        module.recompile()
    return Repaired(normalizations, dropouts)


def _name(node: Node) -> str:
    """`batch_norm` of `aten.batch_norm.default`; empty for what is no operator of torch."""
    parts = str(node.target).split(".")
    return parts[1] if node.op == "call_function" and parts[0] == "aten" and len(parts) > 1 else ""


def _trains(node: Node, position: int) -> bool:
    value = node.args[position] if len(node.args) > position else node.kwargs.get("training", node.kwargs.get("train"))
    return value is True


def _take_running_statistics(node: Node, position: int) -> None:
    if len(node.args) <= _VARIANCE or node.args[_MEAN] is None or node.args[_VARIANCE] is None:
        raise InputError(
            "a batch normalization keeps no running statistics (track_running_stats=False): what it says of a picture "
            "depends on the batch; train it with them"
        )
    args = list(node.args)
    if len(args) > position:
        args[position] = False
        node.args = tuple(args)
    else:
        node.kwargs = {**node.kwargs, "training": False}


def _pass_on(node: Node, name: str) -> None:
    source = node.args[0]
    assert isinstance(source, Node)
    if name == "native_dropout":  # gives the mask as well
        for user in list(node.users):
            if user.target is operator.getitem and user.args[1] == 0:
                user.replace_all_uses_with(source)
                user.graph.erase_node(user)
    else:
        node.replace_all_uses_with(source)
    if not node.users:
        node.graph.erase_node(node)


def _counts_batches(node: Node) -> bool:
    """The step of a normalization's counter, which nothing reads."""
    if _name(node) not in ("add_", "add", "copy_") or node.users:
        return False
    first: Any = node.args[0]
    return isinstance(first, Node) and "num_batches_tracked" in str(first.target)
