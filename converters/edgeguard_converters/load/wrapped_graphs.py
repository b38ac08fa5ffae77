"""Parts of a program that torch.export keeps as graphs of their own: what stood below `no_grad` or `autocast`.

`with torch.no_grad():` and `with torch.autocast(..., enabled=False):` inside `forward` change nothing that a device
computes, and no lowering knows them. Here the nodes inside come back into the graph around them.
"""

import operator
from typing import Any

from torch.fx import GraphModule, Node

from edgeguard.errors import InputError

#: Where among the arguments the graph stands; its own arguments follow.
_GRAPH_AT = {"wrap_with_set_grad_enabled": 1, "wrap_with_autocast": 4}
_ENABLED, _DEVICE = 2, 0


def unwrap_graphs(module: GraphModule) -> int:
    """Put the nodes of wrapped graphs where they are called, in place.

    Args:
        module: of torch.export, as `ExportedProgram.module` gives it.

    Returns:
        How many graphs were unwrapped.

    Raises:
        InputError: a part computes in half precision on the CPU, or holds tensors of its own.
    """
    found = [node for node in module.graph.nodes if _name(node) in _GRAPH_AT]
    for node in found:
        _unwrap(module, node)
    if found:
        module.graph.eliminate_dead_code()
        module.delete_all_unused_submodules()
        module.recompile()
    return len(found)


def _name(node: Node) -> str:
    return str(node.target).rpartition(".")[2] if node.op == "call_function" else ""


def _unwrap(module: GraphModule, node: Node) -> None:
    name = _name(node)
    if name == "wrap_with_autocast" and node.args[_ENABLED] and node.args[_DEVICE] == "cpu":
        raise InputError("the program computes a part in half precision (autocast on the CPU): export it without")
    place = node.args[_GRAPH_AT[name]]
    inner = getattr(module, str(place.target), None) if isinstance(place, Node) else None
    if not isinstance(inner, GraphModule):
        raise InputError(f"the program calls {name} without a graph")
    unwrap_graphs(inner)
    taken = [one for one in inner.graph.nodes if one.op == "placeholder"]
    given: Any = node.args[_GRAPH_AT[name] + 1 :]
    if len(taken) != len(given) or any(one.op == "get_attr" for one in inner.graph.nodes):
        raise InputError(f"the program's {name} holds tensors of its own, or takes others than it is given")
    with module.graph.inserting_before(node):
        outputs: Any = module.graph.graph_copy(inner.graph, dict(zip(taken, given, strict=True)))
    for user in list(node.users):
        if user.target is operator.getitem:
            user.replace_all_uses_with(outputs[user.args[1]])
            module.graph.erase_node(user)
    if node.users:
        node.replace_all_uses_with(outputs)
    module.graph.erase_node(node)
