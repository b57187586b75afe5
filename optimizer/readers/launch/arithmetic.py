"""Whole-number arithmetic of a shell: `$((8 * NODES))`."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable

_ARITHMETIC: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}  # fmt: skip


def reckoned(text: str) -> int | None:
    """Value of whole-number arithmetic; None where it is more than that."""
    try:
        tree = ast.parse(text.strip().replace("/", "//"), mode="eval").body
    except (SyntaxError, ValueError, RecursionError):
        return None

    def value(node: ast.expr) -> int | None:
        if isinstance(node, ast.Constant) and type(node.value) is int and abs(node.value) < 10**12:
            return node.value
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            left, right = value(node.left), value(node.right)
            if left is None or right is None or (right == 0 and not isinstance(node.op, ast.Add | ast.Sub | ast.Mult)):
                return None
            return _ARITHMETIC[type(node.op)](left, right)
        return None

    return value(tree)
