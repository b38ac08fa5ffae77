"""How much the functions of a TorchScript archive make of each other, counted before torch sees them.

torch puts the body of a function in the place of each of its calls. Forty functions that each call the next one twice
are a file of 3 kB and a graph of 2^40 nodes. Here each function's work is counted once: its own nodes, and for each
call the work of what it calls, times the rounds of the loops around it.
"""

import ast
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from edgeguard_converters.load.refused import PickleRefused

#: Nodes of the source when every call is written out: fifty times those of torchvision's efficientnet_v2_s, scripted.
MOST_WORK = 5_000_000
_MOST_PASSES = 50  # over a function's assignments; a chain within a block takes two
#: Methods that are called without their name: `len(x)`, `x[i]` and `i in x`.
IMPLIED = frozenset({"__len__", "__getitem__", "__contains__"})
_HOOKS = ("__forward_hooks__", "__forward_pre_hooks__")


@dataclass
class _Class:
    """A class: the functions that its methods are, what its attributes may be, and what runs with its `forward`."""

    methods: set[str] = field(default_factory=set)
    attributes: dict[str, set[str]] = field(default_factory=dict)
    hooks: list[str] = field(default_factory=list)


def check_work(trees: dict[str, ast.Module]) -> None:
    """Refuse an archive whose functions call each other too often, or themselves.

    Args:
        trees: the parsed files by their names in the archive.

    Raises:
        PickleRefused: naming the function.
    """
    _Counter(trees).check()


class _Counter:
    def __init__(self, trees: dict[str, ast.Module]) -> None:
        self._functions: dict[str, ast.FunctionDef] = {}
        self._classes: dict[str, _Class] = {}
        self._by_name: dict[str, list[str]] = {}
        self._work: dict[str, int] = {}
        self._unfinished: set[str] = set()
        for name, tree in trees.items():
            self._take_in(name.removeprefix("code/").removesuffix(".py").replace("/", "."), tree)

    def check(self) -> None:
        for name in self._functions:
            self.work(name)

    def work(self, name: str) -> int:
        """Of a function, with all that it calls."""
        if name in self._work:
            return self._work[name]
        if name in self._unfinished:
            raise PickleRefused(f"the script's function {name[-80:]!r} calls itself; refused, it was not run")
        self._unfinished.add(name)
        found = _Body(self, self._functions[name]).work()
        place, _, method = name.rpartition(".")
        if method == "forward" and place in self._classes:
            found += sum(self.work(f"{place}.{hook}") for hook in self._classes[place].hooks)
        self._unfinished.discard(name)
        if found > MOST_WORK:
            raise PickleRefused(
                f"the script's functions call each other too often ({name[-80:]!r} would be {found:.0e} steps when it "
                "is written out); refused, it was not run"
            )
        self._work[name] = found
        return found

    def attribute(self, value: str, name: str) -> set[str]:
        """What an attribute of a value may be: values are names of classes, whose objects they are, or of functions."""
        known = self._classes.get(value)
        if known is None:
            return set()
        return {f"{value}.{name}"} if name in known.methods else known.attributes.get(name, set())

    def called(self, value: str) -> str | None:
        """The function that runs when a value is called."""
        if value in self._functions:
            return value
        return f"{value}.forward" if f"{value}.forward" in self._functions else None

    def named(self, name: str) -> list[str]:
        """All methods and functions of a name, in whatever class."""
        return self._by_name.get(name, [])

    def is_known(self, name: str) -> bool:
        return name in self._functions or name in self._classes

    def _take_in(self, place: str, tree: ast.Module) -> None:
        for node in tree.body:
            if isinstance(node, ast.FunctionDef):
                self._add(f"{place}.{node.name}", node)
            elif isinstance(node, ast.ClassDef):
                self._classes[f"{place}.{node.name}"] = self._class(f"{place}.{node.name}", node)

    def _class(self, name: str, node: ast.ClassDef) -> _Class:
        found = _Class()
        for item in node.body:
            if isinstance(item, ast.FunctionDef):
                found.methods.add(item.name)
                self._add(f"{name}.{item.name}", item)
            elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                found.attributes[item.target.id] = set(_classes_in(item.annotation))
            elif isinstance(item, ast.Assign):
                (target, *_) = item.targets
                if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
                    found.attributes[str(target.slice.value)] = set(_classes_in(item.value))
                elif isinstance(target, ast.Name) and target.id in _HOOKS:
                    named = [n.value for n in ast.walk(item.value) if isinstance(n, ast.Constant)]
                    found.hooks += [hook for hook in named if isinstance(hook, str)]
        found.hooks = [hook for hook in found.hooks if hook in found.methods]
        return found

    def _add(self, name: str, node: ast.FunctionDef) -> None:
        if name in self._functions:
            raise PickleRefused(f"the script holds the function {name[-80:]!r} twice; refused")
        self._functions[name] = node
        self._by_name.setdefault(node.name, []).append(name)


class _Body:
    """One function: what its variables may be, and what it calls."""

    def __init__(self, counter: _Counter, function: ast.FunctionDef) -> None:
        self._counter, self._function = counter, function
        self._given = {a.arg: set(_classes_in(a.annotation)) for a in function.args.args if a.annotation is not None}
        self._assigned: dict[str, list[ast.expr]] = {}
        for node in ast.walk(function):
            for target, value in _assignments(node):
                self._assigned.setdefault(target, []).append(value)
        self._variables = self._settled()

    def work(self) -> int:
        return sum(self._of(node, 1) for node in self._function.body)

    def _of(self, node: ast.AST, rounds: int) -> int:
        total = rounds
        if isinstance(node, ast.Call):
            total += rounds * max((self._counter.work(name) for name in self._callees(node.func)), default=0)
        for methods in self._implied(node):
            total += rounds * max((self._counter.work(name) for name in methods), default=0)
        inner = rounds * rounds_of(node) if isinstance(node, ast.For) else rounds
        return total + sum(self._of(child, inner) for child in ast.iter_child_nodes(node))

    def _implied(self, node: ast.AST) -> Iterator[list[str]]:
        """What is called without its name; each may be any of a list."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len":
            yield from (self._methods(argument, "__len__") for argument in node.args)
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            yield self._methods(node.value, "__getitem__")
        elif isinstance(node, ast.Compare):
            for operator, operand in zip(node.ops, node.comparators, strict=True):
                if isinstance(operator, ast.In | ast.NotIn):
                    yield self._methods(operand, "__contains__")

    def _methods(self, of: ast.expr, name: str) -> list[str]:
        values = self._values(of)
        if values:
            return [found for value in values for found in self._counter.attribute(value, name)]
        return self._counter.named(name)

    def _callees(self, function: ast.expr) -> list[str]:
        values = self._values(function)
        if values:
            return [name for value in values if (name := self._counter.called(value)) is not None]
        if isinstance(function, ast.Attribute) and not _is_operator(function):
            return self._counter.named(function.attr)  # of something whose class is not said: it may be any
        if isinstance(function, ast.Name) and function.id in self._assigned:
            return [] if all(map(_is_operator, self._assigned[function.id])) else self._counter.named("forward")
        return []

    def _values(self, node: ast.expr) -> set[str]:
        """Objects of which classes, or which functions, an expression may be."""
        if isinstance(node, ast.Name):
            return self._variables.get(node.id, set())
        if isinstance(node, ast.Attribute):
            whole = _dotted(node)
            if whole.startswith("__torch__."):
                return {whole} if self._counter.is_known(whole) else set()
            return {one for value in self._values(node.value) for one in self._counter.attribute(value, node.attr)}
        if isinstance(node, ast.Subscript):
            return self._values(node.value)
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            if name == "getattr" and len(node.args) == 2 and isinstance(node.args[1], ast.Constant):
                attribute = str(node.args[1].value)
                return {one for v in self._values(node.args[0]) for one in self._counter.attribute(v, attribute)}
            return {one for argument in node.args for one in self._values(argument)} if name else set()
        parts = {ast.Tuple: "elts", ast.List: "elts"}.get(type(node))
        inner = getattr(node, parts) if parts else [node.body, node.orelse] if isinstance(node, ast.IfExp) else []
        return {one for part in inner for one in self._values(part)}

    def _settled(self) -> dict[str, set[str]]:
        """What each variable may be, wherever it is assigned: gone through until nothing is added."""
        self._variables = self._given
        for _ in range(_MOST_PASSES):
            found = {
                name: self._given.get(name, set()).union(*map(self._values, values))
                for name, values in self._assigned.items()
            }
            if (together := self._given | found) == self._variables:
                return together
            self._variables = together
        raise PickleRefused(f"the script's function {self._function.name[:80]!r} hands variables around; refused")


def rounds_of(loop: ast.For) -> int:
    """Of a loop over a list, or over a range whose end is written there."""
    constants = [node.value for node in ast.walk(loop.iter) if isinstance(node, ast.Constant)]
    return max([1, *(math.ceil(min(n, MOST_WORK)) for n in constants if isinstance(n, int | float))])


def _assignments(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Names of variables and what is put into them; of several at once, each may be any part."""
    if isinstance(node, ast.Assign):
        targets, value = node.targets, node.value
    elif isinstance(node, ast.For):
        targets, value = [node.target], node.iter
    else:
        return
    for target in targets:
        for inner in ast.walk(target):
            if isinstance(inner, ast.Name):
                yield inner.id, value


def _classes_in(annotation: ast.expr) -> Iterator[str]:
    """Classes of the archive in an annotation, within `Optional` and the like too."""
    for node in ast.walk(annotation):
        if isinstance(node, ast.Attribute) and (name := _dotted(node)).startswith("__torch__."):
            yield name


def _is_operator(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and _dotted(node).partition(".")[0] in ("torch", "ops")


def _dotted(node: ast.expr) -> str:
    """`a.b.c`; empty where it begins with something else than a name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""
