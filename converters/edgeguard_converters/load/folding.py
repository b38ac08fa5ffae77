"""Nodes of a graph that give the same numbers for every picture, replaced by the numbers."""

import operator
from operator import attrgetter
from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg


def depends_on_the_input(node: Node) -> bool:
    """Whether a node of a torch.export module sees the model's input; what weights go through does not."""
    return any(one.op == "placeholder" for one in _before(node))


@torch.no_grad()
def fold(module: GraphModule, node: Node) -> None:
    """Replace a node by the first tensor that it gives, in place.

    Args:
        module: of torch.export, in which weights are attributes.
        node: one that does not depend on the input.
    """
    known: dict[Node, Any] = {}
    wanted = {*_before(node), node}
    for one in module.graph.nodes:
        if one not in wanted:
            continue
        if one.op == "get_attr":
            known[one] = attrgetter(str(one.target))(module)
        else:
            args, kwargs = map_arg((one.args, one.kwargs), known.__getitem__)
            known[one] = one.target(*args, **kwargs)
    value, several = known[node], isinstance(known[node], (tuple, list))
    name = f"folded_{node.name}"
    module.register_buffer(name, value[0] if several else value)
    with module.graph.inserting_before(node):
        folded = module.graph.get_attr(name)
    for user in list(node.users):
        if not several:
            user.replace_input_with(node, folded)
        elif user.target is operator.getitem and user.args[1] == 0:
            user.replace_all_uses_with(folded)
            module.graph.erase_node(user)
    if not node.users:
        module.graph.erase_node(node)


def _before(node: Node) -> set[Node]:
    """All nodes that a node's answer comes from."""
    seen, left = set[Node](), list(node.all_input_nodes)
    while left:
        one = left.pop()
        if one not in seen:
            seen.add(one)
            left += one.all_input_nodes
    return seen
