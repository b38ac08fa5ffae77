"""What a torch.export program may be made of, field by field.

torch turns many of a program's texts into Python source (names of inputs become arguments of a generated function) or
into objects (names of operators, of tree types). So each text has a rule of its own, and fields without a rule are left
behind: code of guards, custom objects, where a node came from.
"""

import json
from typing import Any

from edgeguard_converters.load.expressions import checked_expression
from edgeguard_converters.load.operators import is_call_target, is_graph_call
from edgeguard_converters.load.rebuild import (
    Rule,
    always,
    by_name,
    each,
    flag,
    integer,
    number,
    one_of,
    optional,
    record,
    text,
)
from edgeguard_converters.load.refused import PickleRefused

_NAME = text(r"[A-Za-z_]\w{0,999}")
_PATH = text(r"[\w.\-]{0,1999}")  # of a parameter: features.0.weight
_WORD = text(r"[\w .:+/\-]{0,200}")  # an argument such as bilinear or cpu
_ORIGIN = text(r"[\w .,;:@<>()\[\]$/\-]{0,100000}")  # of a node; torch splits it and keeps the pieces as names
_TREES = frozenset({"builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"})
_MOST_SIDE = 1 << 40
_MOST_NODES = 50_000  # of a graph; torch needs minutes for more, and large transformers have some thousand


def _target(value: Any) -> Any:
    if not isinstance(value, str) or not (is_call_target(value) or is_graph_call(value)):
        raise PickleRefused(f"the program calls {str(value)[:100]!r}, which is no tensor operator; refused")
    return value


def _expression(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("an expression was wanted")
    return checked_expression(value, "the program")


def _side(value: Any) -> Any:
    if type(value) is not int or not 0 <= value <= _MOST_SIDE:
        raise ValueError(f"{str(value)[:40]} is no size")
    return value


def _tree(value: Any) -> Any:
    """The structure of inputs or outputs, a JSON inside the JSON."""
    if not isinstance(value, str):
        raise ValueError("a tree was wanted")
    version, tree = json.loads(value)
    if version != 1:
        raise ValueError("a tree of an unknown version")
    return json.dumps([1, _branch(tree, 0)])


def _branch(tree: Any, depth: int) -> dict[str, Any]:
    if not isinstance(tree, dict) or set(tree) != {"type", "context", "children_spec"} or depth > 20:
        raise ValueError("a tree of another form")
    kind, context, children = tree["type"], tree["context"], tree["children_spec"]
    if kind is None:
        if context is not None or children:
            raise ValueError("a leaf with something in it")
    elif kind not in _TREES:
        raise ValueError(f"the type {str(kind)[:60]!r} is not allowed in inputs and outputs")
    else:
        keys = json.loads(context) if isinstance(context, str) else context
        context = json.dumps(optional(each(text(r"[\w.\- ]{0,200}")))(keys))
    return {"type": kind, "context": context, "children_spec": [_branch(child, depth + 1) for child in children]}


_HINT = one_of({"as_int": integer, "as_bool": flag, "as_float": number})
_SYMBOLIC = record({"expr_str": _expression, "hint": optional(_HINT)})
_SYM_INT = one_of({"as_expr": _SYMBOLIC, "as_int": integer})
_SYM_SIDE = one_of({"as_expr": _SYMBOLIC, "as_int": _side})
_DEVICE = record({"type": text("cpu|meta"), "index": always(None)})
_TENSOR = record({"name": _NAME})
_META = record(
    {
        "dtype": integer,
        "sizes": each(_SYM_SIDE),
        "requires_grad": flag,
        "device": _DEVICE,
        "strides": each(_SYM_SIDE),
        "storage_offset": _SYM_SIDE,
        "layout": integer,
    }
)
_SYM_INT_ARGUMENT = one_of({"as_name": _NAME, "as_int": integer})
_SYM_FLOAT_ARGUMENT = one_of({"as_name": _NAME, "as_float": number})
_SYM_BOOL_ARGUMENT = one_of({"as_name": _NAME, "as_bool": flag})
_OPTIONAL_TENSOR = one_of({"as_tensor": _TENSOR, "as_none": flag})
_ARGUMENTS: dict[str, Rule] = {
    "as_none": flag,
    "as_tensor": _TENSOR,
    "as_tensors": each(_TENSOR),
    "as_optional_tensor": _OPTIONAL_TENSOR,
    "as_optional_tensors": each(_OPTIONAL_TENSOR),
    "as_int": integer,
    "as_ints": each(integer),
    "as_int_lists": each(each(integer)),
    "as_float": number,
    "as_floats": each(number),
    "as_float_lists": each(each(number)),
    "as_string": _WORD,
    "as_strings": each(_WORD),
    "as_sym_int": _SYM_INT_ARGUMENT,
    "as_sym_ints": each(_SYM_INT_ARGUMENT),
    "as_sym_float": _SYM_FLOAT_ARGUMENT,
    "as_sym_floats": each(_SYM_FLOAT_ARGUMENT),
    "as_sym_bool": _SYM_BOOL_ARGUMENT,
    "as_sym_bools": each(_SYM_BOOL_ARGUMENT),
    "as_scalar_type": integer,
    "as_memory_format": integer,
    "as_layout": integer,
    "as_device": _DEVICE,
    "as_bool": flag,
    "as_bools": each(flag),
}
_ARGUMENT = one_of(_ARGUMENTS)


def _graph(value: Any) -> Any:
    """A graph, the whole or one within; torch keeps those within by their names, and the last of one name for all."""
    if isinstance(value, dict) and isinstance(value.get("nodes"), list) and len(value["nodes"]) > _MOST_NODES:
        raise ValueError(f"a graph of more than {_MOST_NODES} nodes")
    found = _WHOLE(value)
    within = [one["arg"]["as_graph"].get("name") for node in found.get("nodes", []) for one in node.get("inputs", [])
              if "as_graph" in one.get("arg", {})]  # fmt: skip
    if len(set(within)) != len(within):
        raise ValueError("two graphs of one name")
    return found


def _node(value: Any) -> Any:
    """A node; only what runs a graph of its own may hold one."""
    found = _NODE(value)
    holds = any("as_graph" in one.get("arg", {}) for one in found.get("inputs", []))
    if holds != is_graph_call(found.get("target", "")):
        raise ValueError("a graph in the place of another argument")
    return found


_NODE_ARGUMENT = one_of(_ARGUMENTS | {"as_graph": record({"name": _NAME, "graph": _graph})})
_NODE = record(
    {
        "target": _target,
        "inputs": each(record({"name": text(r"[A-Za-z_]\w{0,99}|"), "arg": _NODE_ARGUMENT, "kind": optional(integer)})),
        "outputs": each(_ARGUMENT),
        "metadata": record({"nn_module_stack": _ORIGIN, "torch_fn": _ORIGIN}),
        "is_hop_single_tensor_return": always(None),
        "name": optional(_NAME),
    }
)
_WHOLE = record(
    {
        "inputs": each(_ARGUMENT),
        "outputs": each(_ARGUMENT),
        "nodes": each(_node),
        "tensor_values": by_name(_NAME, _META),
        "sym_int_values": by_name(_NAME, _SYM_INT),
        "sym_bool_values": by_name(_NAME, one_of({"as_expr": _SYMBOLIC, "as_bool": flag})),
        "sym_float_values": by_name(_NAME, one_of({"as_expr": _SYMBOLIC, "as_float": number})),
        "is_single_tensor_return": flag,
        "custom_obj_values": always({}),
    }
)
_CONSTANT = one_of({"as_none": flag, "as_int": integer, "as_float": number, "as_string": _WORD, "as_bool": flag})
_INPUT = one_of(
    {
        "user_input": record({"arg": _ARGUMENT}),
        "parameter": record({"arg": _TENSOR, "parameter_name": _PATH}),
        "buffer": record({"arg": _TENSOR, "buffer_name": _PATH, "persistent": flag}),
        "tensor_constant": record({"arg": _TENSOR, "tensor_constant_name": _PATH}),
        "constant_input": record({"name": _NAME, "value": _CONSTANT}),
    }
)
_OUTPUT = one_of(
    {
        "user_output": record({"arg": _ARGUMENT}),
        "buffer_mutation": record({"arg": _TENSOR, "buffer_name": _PATH}),
    }
)
_CALL = record(
    {
        "inputs": each(_ARGUMENT),
        "outputs": each(_ARGUMENT),
        "in_spec": _tree,
        "out_spec": _tree,
        "forward_arg_names": optional(each(_NAME)),
    }
)
_VERSION = text(r"[\w.+<=]{0,60}")

#: Of `models/NAME.json`.
PROGRAM = record(
    {
        "graph_module": record(
            {
                "graph": _graph,
                "signature": record({"input_specs": each(_INPUT), "output_specs": each(_OUTPUT)}),
                "module_call_graph": each(record({"fqn": text(r"[\w.@\-]{0,1999}"), "signature": optional(_CALL)})),
                "metadata": always({}),
                "treespec_namedtuple_fields": always({}),
            }
        ),
        "opset_version": by_name(_NAME, integer),
        "range_constraints": by_name(_expression, record({"min_val": optional(integer), "max_val": optional(integer)})),
        "schema_version": record({"major": integer, "minor": integer}),
        "verifiers": each(text("TRAINING|ATEN|CORE_ATEN|")),
        "torch_version": _VERSION,
        "guards_code": always([]),
    }
)
#: Of the two files that say which bytes are which weight.
PAYLOADS = record(
    {
        "config": by_name(
            _PATH,
            record(
                {
                    "path_name": text(r"(weight|tensor)_\d{1,9}"),
                    "is_param": flag,
                    "use_pickle": flag,
                    "tensor_meta": _META,
                }
            ),
        )
    }
)
