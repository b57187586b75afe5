"""Table rows with arithmetic in one cell and its result in another."""

import re
from collections.abc import Iterator
from typing import Final

from optimizer.audit.compare import judge
from optimizer.audit.document import Segment, rows_of
from optimizer.audit.equation import Equation
from optimizer.audit.expression import Node, Parser
from optimizer.audit.tokens import Number, Token
from optimizer.audit.verdict import shown

_LABEL: Final = re.compile(
    r"(?:(?:result|value|total|answer|computed|calculated|stated|claims?|claimed|product|equals|the|our|their)\b[ :]*"
    r"|=\s*)+(?:[(\[,].*)?$",
    re.IGNORECASE,
)
"""Headings of a result, with its unit or not: of nothing else."""


def row_equations(segments: tuple[Segment, ...], tokens: list[list[Token]]) -> Iterator[Equation]:
    """Table rows with arithmetic in one cell and its result in a column that says so."""
    results: dict[str, bool] = {}
    for row in rows_of(segments).values():
        indices = [index for index in row if segments[index].column_label and tokens[index]]
        for index in indices:
            label = segments[index].column_label
            if label not in results:
                results[label] = _LABEL.match(label) is not None
        if not any(results[segments[index].column_label] for index in indices):
            continue
        nodes = {index: _whole(segments[index], tokens[index]) for index in indices}
        formulas = [index for index in indices if (node := nodes[index]) is not None and not node.plain]
        if len(formulas) != 1:
            continue
        node = nodes[formulas[0]]
        for index in indices:
            other = nodes[index]
            stated = other.number if other is not None else None
            if node is None or stated is None or not results[segments[index].column_label]:
                continue
            result = judge(node, stated, approximate=stated.approximate)
            formula = segments[formulas[0]]
            text = f"{' '.join(formula.text.split())} | {' '.join(segments[index].text.split())}"
            unit = stated.unit
            evaluated = result.evaluated
            yield Equation(
                formula.place(tokens[formulas[0]][0].start), text, result.stated / unit.scale,
                None if evaluated is None else evaluated / unit.scale, unit, result.verdict,
                "" if evaluated is None else f"{' '.join(formula.text.split())} = {shown(evaluated, unit)}",
                result.reading, result.explanation, index, stated.start, stated.end, stated.start,
            )  # fmt: skip


def _whole(segment: Segment, tokens: list[Token]) -> Node | None:
    """The segment as one expression, if it is nothing else."""
    first = tokens[0]
    if len(tokens) == 1:
        return Node("", (), first, 0, 0) if isinstance(first, Number) else None
    parser = Parser(segment.text, tokens)
    parsed = parser.parse(0)
    if parsed is None or parser.partial or parsed[1] != len(tokens):
        return None
    return parsed[0]
