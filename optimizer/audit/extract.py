"""Facts and claims of a document: degrees, figures with names, words, and what products leave unnamed."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.claimed import read_claims
from optimizer.audit.compare import factors
from optimizer.audit.degrees import find_degrees, symbolic_products
from optimizer.audit.deployment import Sentence
from optimizer.audit.document import Place, Segment
from optimizer.audit.equation import Equation
from optimizer.audit.expression import Parser
from optimizer.audit.statements import Role, Statement, segment_role
from optimizer.audit.tokens import Number, Token, numbers_of
from optimizer.domain.problem import Problem

_TOO_LARGE: Final = 100_000
"""No degree of parallelism."""
_SHAPE: Final = ("expert_matrices", "hidden_size", "expert_hidden_size")
_MATRICES: Final = (2, 3)
_BYTES: Final = {"bf16": Fraction(2), "fp8": Fraction(1), "int8": Fraction(1), "int4": Fraction(1, 2)}
_MIXED: Final = re.compile(
    r"\b(?:dense (?:layers?|ffn|mlp|blocks?)|shared|\d+ MoE|first_k_dense\w*|redundant experts?|MTP)\b", re.IGNORECASE
)
"""Layers that are not all alike, or experts beside the routed ones: counts by multiplication are then open."""


def extract(
    segments: tuple[Segment, ...], tokens: list[list[Token]], equations: Sequence[Equation], said: Sequence[Sentence],
    problem: Problem | None,
) -> tuple[list[Statement], list[Statement]]:  # fmt: skip
    """Every fact and every claim, in document order; a figure can be both."""
    facts = list(find_degrees(segments, [segment_role(segment) for segment in segments]))
    taken: dict[int, list[tuple[int, int]]] = {}
    for degree in facts:
        column = degree.place.column
        taken.setdefault(degree.place.line, []).append((column, column + len(degree.text)))
    operands = places_of(equations, segments, tokens, results=False)
    more, claims = read_claims(said, segments, taken, operands, problem)
    facts += more
    facts += _of_products(segments, tokens, equations, {fact.name for fact in facts})
    facts += _words(said)
    return sorted(facts, key=_order), sorted(claims, key=_order)


def _order(statement: Statement) -> tuple[int, int, str]:
    return statement.place.line, statement.place.column, statement.name


def places_of(
    equations: Sequence[Equation], segments: Sequence[Segment], tokens: Sequence[Sequence[Token]], *, results: bool
) -> set[Place]:
    """Places of the numbers of some arithmetic, with the stated results or without."""
    places: set[Place] = set()
    for one in equations:
        start, end = one.start, one.end
        if not results:
            start, end = (start, one.stated_start) if one.stated_start > start else (one.stated_start + 1, end)
        written = tokens[one.segment]
        first, last = (bisect_left(written, at, key=lambda token: token.start) for at in (start, end))
        places |= {segments[one.segment].place(number.start) for number in numbers_of(written[first:last])}
    return places


def _of_products(
    segments: tuple[Segment, ...], tokens: list[list[Token]], equations: Sequence[Equation], known: set[str]
) -> Iterator[Statement]:
    """Names of factors: ``tp * pp * dp`` in symbols and numbers, ``8 experts × 3 × 512 × 1024`` an expert's shape."""
    products: dict[int, dict[tuple[str, ...], str]] = {}
    beside: dict[int, set[int]] = {}
    for index, axes, quote in symbolic_products(segments):
        products.setdefault(len(axes), {}).setdefault(axes, quote)
        beside.setdefault(index, set()).add(len(axes))
    together = set().union(*(beside.get(equation.segment, set()) for equation in equations))
    seen: set[tuple[str, Fraction]] = set()
    for equation in equations:
        numbers = _factors(segments, tokens, equation) if products or "expert" in equation.text else None
        bare = [one for one in numbers or () if not one.nouns and one.unit is lexicon.ONE and not one.decimal]
        symbols = products.get(len(bare), {}) if numbers and len(bare) == len(numbers) else {}
        # Where numbers stand beside the symbols, none elsewhere are theirs.
        if len(bare) in together and len(bare) not in beside.get(equation.segment, ()):
            symbols = {}
        experts = any(one.nouns[:1] in {("experts",), ("expert",)} for one in numbers or ())
        names: tuple[str, ...] = next(iter(symbols)) if len(symbols) == 1 else ()
        quoted = f"{symbols[names]} ~ {equation.text}" if names else equation.text
        if experts and len(bare) == len(_SHAPE) and bare[0].digits in _MATRICES and not known.intersection(_SHAPE):
            names = _SHAPE
        for name, number in zip(names, bare, strict=False):
            if (name, number.digits) not in seen and 0 < number.digits < _TOO_LARGE:
                seen.add((name, number.digits))
                place = segments[equation.segment].place(number.start)
                yield Statement(name, number.digits, place, quoted, Role.STATED, equation.segment, lexicon.ONE,
                                sure=False)  # fmt: skip


def _factors(segments: tuple[Segment, ...], tokens: list[list[Token]], equation: Equation) -> list[Number] | None:
    everything = tokens[equation.segment]
    first = bisect_left(everything, equation.start, key=lambda token: token.start)
    written = everything[first : bisect_left(everything, equation.end, key=lambda token: token.start)]
    parser = Parser(segments[equation.segment].text, written)
    for at in range(len(written)):
        parsed = parser.parse(at)
        if parsed is not None and not parsed[0].plain:
            return factors(parsed[0])
    return None


def _words(said: Sequence[Sentence]) -> Iterator[Statement]:
    """Model, hardware, precision, and words for layers that differ (the word stands in ``text``), each once."""
    seen: set[tuple[str, str]] = set()
    for one in said:
        mixed, own = _MIXED.search(one.text), one.own
        named = (("model", own.model), ("hardware", own.device), ("precision", own.precision),
                 ("mixed_layers", mixed[0] if mixed else None))  # fmt: skip
        for name, text in named:
            if text is not None and (name, text) not in seen:
                seen.add((name, text))
                value = _BYTES.get(text, Fraction(0))
                yield Statement(name, value, one.place, text, Role.STATED, one.segment, lexicon.ONE,
                                section=one.section)  # fmt: skip
