"""Symbolic expressions in a model file: arithmetic on sizes, parsed and never evaluated by us.

sympy evaluates the text it is given as Python. So the text is parsed first, its tree is compared with a list of what
arithmetic is made of, and what is handed on is written anew from the tree.
"""

import ast
import math

from edgeguard_converters.load.refused import PickleRefused

_CALLS = frozenset(
    {
        *("Add", "Mul", "Pow", "PowByNatural", "FloatPow", "Max", "Min", "Mod", "PythonMod", "ModularIndexing", "Abs"),
        *("FloorDiv", "CleanDiv", "CeilDiv", "FloatTrueDiv", "IntTrueDiv", "LShift", "RShift", "Integer", "Symbol"),
        *(
            "Eq",
            "Ne",
            "Lt",
            "Le",
            "Gt",
            "Ge",
            "And",
            "Or",
            "Not",
            "Where",
            "Piecewise",
            "Identity",
            "Float",
            "Rational",
        ),
        *("ToFloat", "TruncToInt", "RoundToInt", "CeilToInt", "FloorToInt", "OpaqueUnaryFn_sqrt"),
    }
)
_NODES = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Call, ast.Name, ast.Constant, ast.keyword),
    *(ast.Load, ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)
_ASSUMPTIONS = frozenset({"positive", "integer", "nonnegative", "negative", "real", "evaluate"})
_MOST_CHARACTERS = 2000
_MOST_DIGITS = 20
#: Their second argument says how long the result is; sympy works it out at once where the first is a number.
_POWERS = frozenset({"Pow", "PowByNatural", "FloatPow", "LShift", "RShift"})
_LARGEST_EXPONENT = 64
_LARGEST_PRODUCT = 4096  # of all exponents: powers of powers multiply them


def checked_expression(text: str, where: str) -> str:
    """The expression, written anew.

    Args:
        text: as it stands in the file.
        where: it stands, for the message.

    Raises:
        PickleRefused: it is more than arithmetic.

    Example:
        >>> checked_expression("2*s0 + Mod(s1, 3)", "m")
        '2 * s0 + Mod(s1, 3)'
    """
    try:
        if len(text) > _MOST_CHARACTERS:
            raise ValueError("too long")
        tree = ast.parse(text, mode="eval")
        if not all(_is_arithmetic(node) for node in ast.walk(tree)):
            raise ValueError("not arithmetic")
        if math.prod(filter(None, map(_growth, ast.walk(tree)))) > _LARGEST_PRODUCT:
            raise ValueError("powers of powers")
        return ast.unparse(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError, TypeError) as error:
        raise PickleRefused(f"{where} holds the expression {text[:60]!r}, which is not arithmetic; refused") from error


def _is_arithmetic(node: ast.AST) -> bool:
    if not isinstance(node, _NODES):
        return False
    if isinstance(node, ast.Call):  # the function stands here by its name, and can be nothing else
        named = isinstance(node.func, ast.Name) and node.func.id in _CALLS
        return named and all(keyword.arg in _ASSUMPTIONS for keyword in node.keywords) and _growth(node) is not None
    if isinstance(node, ast.Name):
        return node.id in _CALLS or _is_symbol(node.id)
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return _is_symbol(node.value)
        return type(node.value) in (int, float, bool) and len(str(node.value)) <= _MOST_DIGITS
    return _growth(node) is not None


def _growth(node: ast.AST) -> float | None:
    """How many times longer a number can become in this node: 1 but for powers and shifts; None where nothing says."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Pow, ast.LShift, ast.RShift)):
        exponent = _literal(node.right)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _POWERS:
        exponent = _literal(node.args[1]) if len(node.args) == 2 else None
    else:
        return 1
    return None if exponent is None or not abs(exponent) < _LARGEST_EXPONENT else max(abs(exponent), 1)


def _literal(node: ast.expr) -> float | None:
    """A number as it is written: 2, -1, Integer(2), Rational(1, 2)."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _literal(node.operand)
        return None if inner is None else -inner
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return float(node.value)  # type: ignore[arg-type]  # an int or a float, see above
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Integer", "Rational"):
        parts = [_literal(part) for part in node.args]
        known = [abs(part) for part in parts if part is not None]
        return max(known) if known and len(known) == len(parts) else None
    return None


def _is_symbol(name: str) -> bool:
    """`s0`, `u12`, `zuf3`: what torch calls its symbols; `oo` and `int_oo` are sympy's infinities."""
    return name in ("oo", "int_oo", "True", "False") or (
        name[0] in "suz" and name.isascii() and name.isidentifier() and name[-1].isdigit() and len(name) < 20
    )
