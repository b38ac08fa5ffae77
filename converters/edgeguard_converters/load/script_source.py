"""The source in a TorchScript archive, parsed here and written anew for torch.

TorchScript is a programming language. Some of its operators map files, and a method `__setstate__` runs while the
archive is loaded. So every function of every file is parsed, each thing that it names is compared with what is allowed,
and torch reads what is written from the tree: nothing that only torch's own parser would see is left.
"""

import ast
from collections.abc import Callable, Iterable

from edgeguard.errors import InputError
from edgeguard_converters.load.operators import is_script_operator
from edgeguard_converters.load.refused import PickleRefused
from edgeguard_converters.load.script_work import IMPLIED, check_work, rounds_of

_NODES = (
    *(ast.Module, ast.ClassDef, ast.FunctionDef, ast.arguments, ast.arg, ast.Assign, ast.AnnAssign, ast.Return, ast.If),
    *(ast.For, ast.Expr, ast.Pass, ast.Call, ast.Attribute, ast.Name, ast.Constant, ast.Subscript, ast.Slice, ast.List),
    *(ast.Tuple, ast.Dict, ast.IfExp, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.keyword, ast.Starred),
    *(ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.Break, ast.Continue),
)
_CALLED = frozenset(
    {
        *("annotate", "uninitialized", "unchecked_cast", "getattr", "int", "float", "bool", "str", "len", "range"),
        *("isinstance", "list", "min", "max", "abs", "round", "tuple", "complex", "zip", "enumerate", "hasattr"),
    }
)
_PRIMITIVES_LISTED = """
     RaiseException NumToTensor TupleIndex TupleUnpack unchecked_unwrap_optional unchecked_cast dtype device layout
shape     data is_cuda is_cpu itemsize ndim is_quantized is_sparse isinstance min max abs type requires_grad tolist
id name
"""
_PRIMITIVES = frozenset(_PRIMITIVES_LISTED.split())
_RESERVED = frozenset({"torch", "ops", "CONSTANTS", "__torch__", "fork", "awaitable", "print", "rpc_async", "rpc_sync"})
_BASES = frozenset({"Module", "NamedTuple"})
_LONGEST_LOOP = 100_000
_MOST_CHARACTERS = 5_000_000  # of all files: forty times those of efficientnet_v2_s
_CONTROLS = frozenset(range(32)) - frozenset(b"\t\n\r") | {127}


def fresh_sources(sources: dict[str, bytes], is_harmless: Callable[[str], bool]) -> dict[str, bytes]:
    """The source files of an archive, written anew.

    Args:
        sources: by their names.
        is_harmless: says of the name of an operator of torch that no form of it takes a text: an attribute of a class
            may have such a name, because what is reached by mistake then reaches no file.

    Raises:
        PickleRefused: a function names what is not allowed, or they call each other too often.
        InputError: a file is no TorchScript.
    """
    if sum(map(len, sources.values())) > _MOST_CHARACTERS:
        raise InputError(f"the script has more than {_MOST_CHARACTERS} characters of source; refused")
    trees = {name: _parsed(name, data) for name, data in sources.items()}
    declared = {found for tree in trees.values() for found in _declared(tree)}
    for found in declared:
        if not is_script_operator(found) and not is_harmless(found):
            raise PickleRefused(
                f"the script declares {found[:60]!r}, the name of an operator that reaches out; refused"
            )
    try:
        for name, tree in trees.items():
            _Check(name, declared).visit(tree)
        check_work(trees)
        return {name: ast.unparse(tree).encode() + b"\n" for name, tree in trees.items()}
    except RecursionError as error:
        raise InputError("the script is nested too deeply") from error


def _parsed(name: str, data: bytes) -> ast.Module:
    try:
        if not data.isascii() or set(data) & _CONTROLS:
            raise ValueError("it holds control characters, or some beyond ASCII")
        return ast.parse(data.decode("ascii"))
    except SyntaxError as error:
        raise InputError(f"{name} is no TorchScript: {error.msg[:200]} (line {error.lineno})") from error
    except (ValueError, RecursionError, MemoryError) as error:
        why = " ".join(str(error).split())[:200] or "it is nested too deeply"
        raise InputError(f"{name} is no TorchScript: {why}") from error


def _declared(tree: ast.Module) -> Iterable[str]:
    """Names of functions, methods and attributes that a file defines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.ClassDef):
            for item in node.body:
                if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                    yield item.target.id
                elif isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Subscript):
                    key = item.targets[0].slice
                    yield str(key.value) if isinstance(key, ast.Constant) else ""


class _Check(ast.NodeVisitor):
    def __init__(self, file: str, declared: set[str]) -> None:
        self._file, self._declared = file, declared
        self._local: set[str] = set()
        self._rounds = 1

    def visit(self, node: ast.AST) -> None:
        """Refuse what the language of model files has not."""
        if isinstance(node, ast.While):
            raise self._refused("a loop without bounds (export the model with torch.export instead)")
        if not isinstance(node, _NODES):
            raise self._refused(f"a {type(node).__name__}")
        super().visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """A class of a module."""
        bases = [base.id if isinstance(base, ast.Name) else "" for base in node.bases]
        if not set(bases) <= _BASES or node.keywords or node.decorator_list:
            raise self._refused(f"the class {node.name[:60]!r}, which is no module")
        for item in node.body:
            self.visit(item)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """A function or a method; none runs while the archive is loaded."""
        if node.decorator_list or (node.name.startswith("__") and node.name not in IMPLIED):
            raise self._refused(f"the method {node.name[:60]!r}")
        self._local = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        self._local |= {argument.arg for argument in ast.walk(node) if isinstance(argument, ast.arg)}
        if self._local & _RESERVED:
            raise self._refused("a variable with the name of a library")
        self.generic_visit(node)
        self._local = set()

    def visit_For(self, node: ast.For) -> None:
        """A loop over a list, or over a range that ends; loops within it count their rounds together."""
        outer = self._rounds
        self._rounds *= rounds_of(node)
        if self._rounds > _LONGEST_LOOP:
            raise self._refused("a loop that does not end")
        self.generic_visit(node)
        self._rounds = outer

    def visit_Constant(self, node: ast.Constant) -> None:
        """A number, a printable text, true, false or none."""
        if isinstance(node.value, bytes) or node.value is ...:
            raise self._refused("a constant of another kind")
        if isinstance(node.value, int) and not -(1 << 63) <= node.value < 1 << 63:
            raise self._refused("a number that is too large")

    def visit_Call(self, node: ast.Call) -> None:
        """A call of something whose name is known."""
        function = node.func
        if isinstance(function, ast.Name) and function.id not in _CALLED and function.id not in self._local:
            raise self._refused(f"a call of {function.id[:60]!r}")
        if isinstance(function, ast.Name) and function.id in ("getattr", "hasattr"):
            wanted = node.args[1] if len(node.args) == 2 else None
            if not isinstance(wanted, ast.Constant) or not self._is_known(str(wanted.value)):
                raise self._refused("getattr with a name that no class declares")
        if not isinstance(function, (ast.Name, ast.Attribute)):
            raise self._refused("a call of what has no name")
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """An operator of torch, or something that a class of the archive declares."""
        parts = _parts(node)
        root = parts[0]
        if root == "torch" or parts[:2] == ["ops", "aten"]:
            allowed = len(parts) == (2 if root == "torch" else 3) and is_script_operator(parts[-1])
        elif parts[:2] == ["ops", "prim"]:
            allowed = len(parts) == 3 and parts[2] in _PRIMITIVES
        elif root == "__torch__":
            allowed = parts[1:3] != ["torch", "classes"]
        elif root == "CONSTANTS":
            allowed = len(parts) == 2 and parts[1].startswith("c") and parts[1][1:].isdigit()
        elif root == "ops":
            allowed = False
        else:
            if not self._is_known(node.attr):
                raise self._refused(f"{'.'.join(parts)[-80:]!r}, which no class declares")
            self.visit(node.value)
            return
        if not allowed:
            raise self._refused(f"{'.'.join(parts)[:80]!r}, which is no tensor operator")

    def _is_known(self, name: str) -> bool:
        return name in self._declared or is_script_operator(name)

    def _refused(self, what: str) -> PickleRefused:
        return PickleRefused(f"the script holds {what} (in {self._file[-80:]}); refused, it was not run")


def _parts(node: ast.Attribute) -> list[str]:
    """`a.b.c` as a list; an empty text first where it begins with something else than a name."""
    parts = [node.attr]
    inner = node.value
    while isinstance(inner, ast.Attribute):
        parts.append(inner.attr)
        inner = inner.value
    parts.append(inner.id if isinstance(inner, ast.Name) else "")
    return parts[::-1]
