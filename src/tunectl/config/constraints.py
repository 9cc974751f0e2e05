"""Constraints between parameters: `model.hidden * training.batch_size <= 512`.

An expression is parsed into Python's syntax tree and then into closures; only arithmetic and
comparisons of numbers and dotted names get through, and nothing is ever evaluated as code.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Scalar = bool | int | float | str | None
Values = Mapping[str, Scalar]
Term = Callable[[Values], float]

LONGEST = 500
LARGEST = 1e300

_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: math.pow,
}
# Function → what it does, and the fewest and most arguments that it takes.
_FUNCTIONS: dict[str, tuple[Callable[..., float], int, int]] = {
    "abs": (abs, 1, 1),
    "log": (math.log, 1, 1),
    "max": (max, 2, 20),
    "min": (min, 2, 20),
    "sqrt": (math.sqrt, 1, 1),
}
VALID = (
    "numbers, parameters, + - * / // % **, the functions "
    f"{', '.join(sorted(_FUNCTIONS))} and the comparisons <= >= < > =="
)


@dataclass(frozen=True)
class Constraint:
    """One expression that every trial is to satisfy.

    Args:
        text: As written.
        names: The dotted keys in it.
        excess: Values of all its names → by how much it is violated, at most 0 where it holds.
    """

    text: str
    names: frozenset[str]
    excess: Term

    def violation(self, values: Values) -> float:
        """Return by how much the values violate it, infinite where it cannot be worked out.

        Args:
            values: Dotted key → value, at least for its names.
        """
        try:
            excess = self.excess(values)
        except (ArithmeticError, ValueError, TypeError):
            return LARGEST
        return min(max(excess, -LARGEST), LARGEST) if not math.isnan(excess) else LARGEST


def parse_constraint(text: str) -> Constraint:
    """Parse one expression.

    Args:
        text: A comparison, or several that are chained as in `1 <= a / b <= 4`.

    Raises:
        ValueError: it is none; the message says what is valid and points at the place.
    """
    if len(text) > LONGEST:
        raise ValueError(f"a constraint has at most {LONGEST} characters")
    try:
        body = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{text!r} is no expression; valid: {VALID}") from error
    if not isinstance(body, ast.Compare):
        raise ValueError(f"{text!r} is no comparison, as for example a * b <= 512 is")
    names: set[str] = set()
    terms = [_term(node, names, text) for node in (body.left, *body.comparators)]
    gaps = [
        _gap(kind, left, right, text)
        for kind, left, right in zip(body.ops, terms, terms[1:], strict=False)
    ]
    if not names:
        raise ValueError(f"{text!r} names no parameter")
    return Constraint(text, frozenset(names), lambda values: max(gap(values) for gap in gaps))


def _gap(kind: ast.cmpop, left: Term, right: Term, text: str) -> Term:
    """Return by how much a comparison is missed, at most 0 where it holds."""
    if isinstance(kind, ast.LtE):
        return lambda values: left(values) - right(values)
    if isinstance(kind, ast.GtE):
        return lambda values: right(values) - left(values)
    if isinstance(kind, ast.Lt):
        return lambda values: _strict(left(values), right(values))
    if isinstance(kind, ast.Gt):
        return lambda values: _strict(right(values), left(values))
    if isinstance(kind, ast.Eq):
        return lambda values: abs(left(values) - right(values))
    raise ValueError(f"{text!r}: only the comparisons <= >= < > == are valid")


def _strict(small: float, large: float) -> float:
    # Optuna takes 0 for satisfied, so a tie of a strict comparison is the least above it.
    return small - large if small != large else math.ulp(0.0)


def _term(node: ast.expr, names: set[str], text: str) -> Term:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
        try:
            number = float(node.value)  # type: ignore[arg-type]
        except OverflowError as error:
            raise ValueError("a number in it is too large") from error
        return lambda _: number
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        inner, sign = (
            _term(node.operand, names, text),
            -1.0 if isinstance(node.op, ast.USub) else 1.0,
        )
        return lambda values: sign * inner(values)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _term(node.left, names, text), _term(node.right, names, text)
        operate = _OPERATORS[type(node.op)]
        return lambda values: operate(left(values), right(values))
    if isinstance(node, ast.Call):
        return _call(node, names, text)
    name = _dotted(node)
    if name is None:
        place = " " * node.col_offset + "^"
        raise ValueError(f"this is not valid here; valid: {VALID}\n  {text.strip()}\n  {place}")
    names.add(name)
    return lambda values: _number(values[name])


def _call(node: ast.Call, names: set[str], text: str) -> Term:
    place = f"\n  {text.strip()}\n  {' ' * node.col_offset}^"
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    if name not in _FUNCTIONS or node.keywords:
        raise ValueError(f"no such function; valid: {VALID}{place}")
    function, fewest, most = _FUNCTIONS[name]
    if not fewest <= len(node.args) <= most:
        count = str(fewest) if fewest == most else f"{fewest} to {most}"
        raise ValueError(f"{name} takes {count} argument(s), not {len(node.args)}{place}")
    arguments = [_term(argument, names, text) for argument in node.args]
    return lambda values: float(function(*(argument(values) for argument in arguments)))


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        parent = _dotted(node.value)
        return f"{parent}.{node.attr}" if parent is not None else None
    return None


def _number(value: Scalar) -> float:
    if isinstance(value, bool | int | float):
        return float(value)
    raise TypeError(f"{value!r} is no number")
