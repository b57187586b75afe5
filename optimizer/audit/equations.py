"""Every written chain of arithmetic with a stated result, judged."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.compare import Judgement, judge, tolerance
from optimizer.audit.degrees import count, is_count
from optimizer.audit.document import Kind, Segment
from optimizer.audit.equation import Equation
from optimizer.audit.evaluate import EvaluationError, evaluate
from optimizer.audit.expression import FUNCTIONS, Node, Parser
from optimizer.audit.lexicon import Unit
from optimizer.audit.table_equations import row_equations
from optimizer.audit.tokens import Mark, Number, Token
from optimizer.audit.verdict import Verdict, plain, shown

_CHANGES: Final = {
    "from", "change", "changed", "update", "updated", "upgrade", "move", "replace", "scale", "instead", "increase",
    "reduce",
}  # fmt: skip
_FILLERS: Final = {"total", "a", "an", "of", "exactly", "only", "just", "~", "sum", "the", "approximately"}
_TOTALS: Final = {"total", "totals", "sum", "product", "overall", "altogether"}
_SHARES: Final = {
    "half", "third", "quarter", "fifth", "tenth", "share", "fraction", "percent", "part", "most", "quarters",
}  # fmt: skip
"""Words of a share: ``half of 12 × 4``."""
_NEARLY: Final = Fraction(1, 100)
_LEFT_WORDS: Final = 6
_LOOK_BACK: Final = 40
"""Tokens before a result among which what it was multiplied by may stand."""
_LARGEST_SLIP: Final = 10
"""A larger factor between what stands there and its arithmetic is none that authors forget."""


@dataclass(slots=True)
class _Side:
    tree: Node | None
    first: int
    last: int
    relation: str

    @property
    def node(self) -> Node:
        """What a side that is known says."""
        assert self.tree is not None  # noqa: S101 - one that is not known is never paired
        return self.tree


class _Finder:
    """Scans one segment's tokens."""

    def __init__(self, segment: Segment, index: int, tokens: list[Token]) -> None:
        self.segment = segment
        self.index = index
        self.tokens = tokens
        self.parser = Parser(segment.text, tokens, code=segment.kind is Kind.CODE)

    def find(self, first: int, last: int) -> Iterator[Equation]:
        at = first
        while at < last:
            token = self.tokens[at]
            mark = token.mark
            if (
                mark is not Mark.NUMBER
                and mark is not Mark.OPEN
                and mark is not Mark.OPERATOR
                and (mark is not Mark.WORD or token.sign not in _CALLS)
            ):
                at += 1
                continue
            if mark is Mark.NUMBER and at + 1 < last and self.tokens[at + 1].mark not in _GOING_ON:
                at += 1
                continue
            self.parser.comments.clear()
            parsed = self.parser.parse(at)
            if parsed is None:
                at += 1
                continue
            node, following = parsed
            partial = self.parser.partial or self._partial_left(at)
            sides = [_Side(None if partial else node, at, node.last, "")]
            following = self._chain(sides, following, last)
            yield from self._implied(sides[-1], following)
            comments = list(self.parser.comments)
            yield from self._judged(sides)
            for start, end in comments:
                yield from self.find(start + 1, end - 1)
            at = max(following, at + 1)

    def _partial_left(self, at: int) -> bool:
        """The number is the right operand of something that is no number."""
        if at == 0:
            return False
        previous = self.tokens[at - 1]
        if previous.mark is not Mark.OPERATOR or previous.sign == "of":
            return isinstance(previous, Number) and previous.end == self.tokens[at].start  # 2(3 + 4)
        if previous.sign in {"-", "+"}:
            before = self.tokens[at - 2] if at > 1 else None
            return before is not None and before.mark in {Mark.CLOSE, Mark.NUMBER}
        return at > 1

    def _dash_left(self, at: int) -> bool:
        """What stands before is a part of the arithmetic; not the "of" of ``a peak of 12 × 450``."""
        if at == 1 and self.tokens[0].mark is Mark.OPERATOR:
            return self.segment.kind is Kind.CODE or self.segment.text[self.tokens[0].start] in "/x×÷"
        if at < 2:
            return False
        before = self.tokens[at - 2]
        if self.tokens[at - 1].mark is not Mark.OPERATOR:
            return False
        return self.tokens[at - 1].sign != "of" or before.mark is not Mark.WORD or before.sign in _SHARES

    def _multiplied(self, at: int, stated: Number, result: Judgement) -> bool:
        """Figures before make the result right: ``38,000 × 1.04² = 41,100, and 1.04³ gives 42,700``, ``both cards at``.

        Or their unit does: ``989 TFLOPS per GPU, 64 × 989 = 63.3 PFLOPS``.
        """
        half = max(tolerance(stated, stated.unit.scale, approximate=stated.approximate), result.stated * _NEARLY)
        operands = {token.digits for token in self.tokens[at : at + _LOOK_BACK] if isinstance(token, Number)}
        together, aside = Fraction(1), False
        for before, token in enumerate(reversed(self.tokens[max(0, at - _LOOK_BACK) : at])):
            if token.sign in {".", ";"} or not result.evaluated:
                return False
            aside |= token.mark is Mark.BREAK
            if not isinstance(token, Number) and (aside or not is_count(token.sign)):
                continue
            digits = token.digits if isinstance(token, Number) else Fraction(count(token.sign))
            unsaid = isinstance(token, Number) and token.unit.dimensions == stated.unit.dimensions
            factor = digits if before < _LEFT_WORDS or digits > _LARGEST_SLIP else Fraction(0)
            if isinstance(token, Number) and unsaid and digits in operands:
                factor = token.unit.scale
            together *= factor if factor and not aside else 1
            if any(by > 1 and abs(result.evaluated * by - result.stated) <= half for by in (factor, together)):
                return True
        return False

    def _chain(self, sides: list[_Side], at: int, last: int) -> int:
        while at < last and (self.tokens[at].mark is Mark.RELATION or self._about(sides[-1], at)):
            written = self.tokens[at].mark is Mark.RELATION
            relation, start = (self.tokens[at].sign, at + 1) if written else ("?", at)
            if relation == "is" and sides[-1].tree is not None and sides[-1].node.plain:
                break
            skipped = start
            while (
                skipped < last
                and skipped - start < 3
                and self.tokens[skipped].sign in _FILLERS
                and self.tokens[skipped].mark in {Mark.WORD, Mark.OPERATOR}
            ):
                skipped += 1
            self.parser.partial = False
            parsed = self.parser.parse(skipped) if skipped < last else None
            if parsed is None:
                return at
            node, following = parsed
            partial = self.parser.partial
            sides.append(_Side(None if partial else node, skipped, node.last, relation))
            at = following
            if partial:
                return at
        return at

    def _about(self, left: _Side, at: int) -> bool:
        """``2 / 3 ~ 0.67``: the tilde as a relation, which only ever confirms."""
        token = self.tokens[at]
        tilde = isinstance(token, Number) and token.approximate and left.tree is not None and not left.node.plain
        return tilde and self.segment.text[: token.start].rstrip().endswith("~")

    def _judged(self, sides: list[_Side]) -> Iterator[Equation]:
        known = [side for side in sides if side.tree is not None]
        approximate = False
        reported = False
        for left, right in itertools.pairwise(sides):
            approximate = right.relation == "~"
            if right.tree is None:
                continue
            made = None if left.tree is None else self._pair(left, right, approximate=approximate)
            if made is not None:
                reported = True
                yield made
        if not reported and len(known) == 2:
            made = self._both(known[0], known[1])
            if made is not None:
                yield made

    def _pair(self, left: _Side, right: _Side, *, approximate: bool) -> Equation | None:
        a, b = left.node, right.node
        if a.plain and b.plain:
            return self._conversion(left, right, approximate=approximate)
        if not a.plain and b.number is not None:
            return self._result(left, right, b.number, approximate=approximate)
        if a.number is not None and not b.plain:
            return self._reversed(left, right, a.number, approximate=approximate)
        return self._both(left, right, only_wrong=True)

    def _conversion(self, left: _Side, right: _Side, *, approximate: bool) -> Equation | None:
        """``0.62 GB = 620 MB``: two numbers of one physical dimension."""
        source, target = left.node.number, right.node.number
        if source is None or target is None or right.relation not in {"=", "~"}:
            return None
        same = source.unit.dimensions == target.unit.dimensions != lexicon.NONE and source.unit != target.unit
        if (
            not same
            or (source.per != target.per and (source.per or right.relation != "="))
            or self._dash_left(left.first)
            or (left.first and self.tokens[left.first - 1].sign in {"at", "@", "in"})
        ):
            return None
        result = judge(left.node, target, approximate=approximate or target.approximate)
        return self._equation(left, right, target, result, left.node)

    def _result(self, left: _Side, right: _Side, stated: Number, *, approximate: bool) -> Equation | None:
        if left.node.single:
            return None
        result = judge(left.node, stated, approximate=approximate or stated.approximate)
        if right.relation == "?" and result.verdict is not Verdict.HOLDS:
            return None
        if right.relation == "!":
            flipped = {Verdict.HOLDS: Verdict.FAILS, Verdict.FAILS: Verdict.HOLDS}
            result = Judgement(flipped.get(result.verdict, result.verdict), result.stated, result.evaluated)
        elif result.verdict is Verdict.FAILS:
            if self.tokens[left.first + 1].sign == "of" and (whole := self.parser.parse(left.first + 2)) is not None:
                alone = judge(whole[0], stated, approximate=approximate or stated.approximate)
                if alone.verdict is Verdict.HOLDS:  # 97% of (8 × 5,100 = 40,800)
                    return self._equation(left, right, stated, alone, left.node)
            if right.relation == "is" and self._other_kind(left.node, stated, result):
                return None
            if any(
                isinstance(token, Number) for start, end in self.parser.comments for token in self.tokens[start:end]
            ):
                told = "a figure in parentheses may be the one that counts"
                result = Judgement(Verdict.UNSUPPORTED, result.stated, result.evaluated, explanation=told)
            if right.relation == ">" and self._is_change(left):
                return None
            if stated.bound or self._dash_left(left.first) or self._multiplied(left.first, stated, result):
                result = Judgement(
                    Verdict.UNSUPPORTED, result.stated, result.evaluated, explanation="only a bound or a part is stated"
                )
        return self._equation(left, right, stated, result, left.node)

    @staticmethod
    def _other_kind(node: Node, stated: Number, result: Judgement) -> bool:
        """``a 4k × 4k image is 200 MB``: a figure of something that the arithmetic beside it does not count."""
        bare = all(number.unit.dimensions == lexicon.NONE for number in node.numbers())
        if not bare or stated.unit.dimensions == lexicon.NONE or not result.evaluated:
            return False
        low, high = sorted((abs(result.stated), abs(result.evaluated)))
        return high > low * 3

    def _is_change(self, left: _Side) -> bool:
        words = {token.sign for token in self.tokens[max(0, left.first - 4) : left.first]}
        return bool(words & _CHANGES)

    def _reversed(self, left: _Side, right: _Side, stated: Number, *, approximate: bool) -> Equation | None:
        """``256 = 16 × 16``; a definition such as ``1 layer = 4 × 512`` is no equation."""
        if right.relation not in {"=", "~", "!"}:
            return None
        if right.relation == "!" or right.node.single:
            return None
        result = judge(right.node, stated, approximate=approximate or stated.approximate)
        if result.verdict is not Verdict.HOLDS:
            previous = self.tokens[left.first - 1] if left.first else None
            labelled = previous is not None and previous.mark in {Mark.WORD, Mark.OPERATOR, Mark.NUMBER}
            nouns = {noun.rstrip("s") for item in right.node.numbers() for noun in (*item.nouns, *item.per)}
            foreign = bool(stated.nouns) and not {noun.rstrip("s") for noun in stated.nouns} & nouns
            if labelled or foreign or stated.digits == 1:
                return None
        return self._equation(left, right, stated, result, right.node)

    def _both(self, left: _Side, right: _Side, *, only_wrong: bool = False) -> Equation | None:
        """Arithmetic on both sides."""
        one, other = left.node, right.node
        if one.plain or other.plain or (one.single and other.single):
            return None
        if right.relation not in {"=", "~"}:
            return None
        try:
            a, b = evaluate(left.node), evaluate(right.node)
        except EvaluationError:
            return None
        overlap = a.low <= b.high and b.low <= a.high
        close = right.relation == "~" and abs(a.point - b.point) * 20 <= abs(b.point)
        doubt = left.node.doubtful() or right.node.doubtful() or self._dash_left(left.first)
        first = next(right.node.numbers())
        carried = not judge(left.node, first, approximate=first.approximate).verdict.wrong
        same = a.dimensions == b.dimensions and a.coherent and b.coherent
        doubt |= any(token.sign == "of" for token in self.tokens[right.first : right.last])
        if overlap or close:
            verdict = Verdict.HOLDS
        elif doubt or carried or not same or right.relation == "~":
            verdict = Verdict.UNSUPPORTED
        else:
            verdict = Verdict.FAILS
        if only_wrong and verdict is not Verdict.FAILS:
            return None
        last = next(right.node.numbers())
        judgement = Judgement(verdict, b.point, a.point)
        return self._equation(left, right, last, judgement, left.node, unit=lexicon.ONE)

    def _implied(self, side: _Side, at: int) -> Iterator[Equation]:
        """``0.62GB (8 experts × 3 × 512 × 1024 × 2 bytes)``: a figure, and its arithmetic in parentheses."""
        stated = side.tree.number if side.tree is not None else None
        if (
            stated is None
            or at >= len(self.tokens)
            or self.tokens[at].mark is not Mark.OPEN
            or self.tokens[at].sign != "("
        ):
            return
        comments = list(self.parser.comments)
        parsed = self.parser.parse(at + 1)
        self.parser.comments[:] = comments
        if parsed is None or self.parser.partial or parsed[1] >= len(self.tokens) or parsed[0].plain:
            return
        node, closing = parsed
        if self.tokens[closing].mark is not Mark.CLOSE:
            return
        inner = _Side(node, at + 1, closing, "(")
        result = judge(node, stated, approximate=stated.approximate)
        if result.verdict is not Verdict.HOLDS and not self._natural(side, stated, node):
            return
        if result.verdict is Verdict.FAILS and result.evaluated and abs(result.stated / result.evaluated - 1) < _NEARLY:
            result = replace(result, verdict=Verdict.AMBIGUOUS, explanation="within 1 % of what the parenthesis gives")
        yield self._equation(side, inner, stated, result, node)

    def _natural(self, side: _Side, stated: Number, node: Node) -> bool:
        """Whether the parenthesis must be meant as the figure's own arithmetic."""
        if any(item.digits == stated.digits and item.unit == stated.unit for item in node.numbers()):
            return False
        try:
            value = evaluate(node)
        except EvaluationError:
            return False
        if stated.unit.dimensions != lexicon.NONE or value.dimensions != lexicon.NONE:
            return stated.unit.dimensions == value.dimensions
        if stated.per:
            return False
        labels = [
            token.sign
            for token in self.tokens[max(0, side.first - _LEFT_WORDS) : side.first]
            if token.mark is Mark.WORD
        ]
        words = {noun.rstrip("s") for noun in stated.nouns} or {word.rstrip("s") for word in labels}
        words |= {word for part in (self.segment.row_label, self.segment.column_label) for word in part.lower().split()}
        nouns = {noun.rstrip("s") for item in node.numbers() for noun in item.nouns}
        return bool(words & nouns) or (bool(_TOTALS & set(labels)) and not nouns)

    def _equation(
        self, left: _Side, right: _Side, stated: Number, result: Judgement, node: Node, unit: Unit | None = None
    ) -> Equation:
        begin, end = self._bounds(left)[0], self._bounds(right)[1]
        unit = stated.unit if unit is None else unit
        scale = unit.scale
        text = " ".join(self.segment.text[begin:end].split())
        arithmetic = ""
        if result.evaluated is not None:
            low, high = self._bounds(left if left.tree is node else right)
            written = " ".join(self.segment.text[low:high].split()).strip("()" if right.relation == "(" else "")
            arithmetic = f"{written} = {_in_words(result.evaluated, unit, stated)}"
        stated_units, evaluated = result.stated, result.evaluated
        if scale != 1:
            stated_units, evaluated = stated_units / scale, None if evaluated is None else evaluated / scale
        return Equation(
            self.segment.place(begin), text, stated_units, evaluated,
            unit, result.verdict, arithmetic, result.reading, result.explanation, self.index, begin, end, stated.start,
        )  # fmt: skip

    def _bounds(self, side: _Side) -> tuple[int, int]:
        last = self.tokens[side.last]
        return self.tokens[side.first].start, last.end


def _in_words(value: Fraction, unit: Unit, stated: Number) -> str:
    """``value`` in ``unit``, with the noun of the stated figure where the unit has none: ``800 tokens/s``."""
    scale, divided, time = unit.name.rpartition("/")
    if not (divided and stated.nouns and scale.removesuffix("1").strip() in {"", *lexicon.SCALES}):
        return shown(value, unit)
    letter = scale.removesuffix("1").strip()
    return f"{plain(value / unit.scale)}{letter} {stated.nouns[0]}/{time}"


_CALLS: Final = {*FUNCTIONS, *(f"math.{name}" for name in FUNCTIONS)}


_GOING_ON: Final = (Mark.OPERATOR, Mark.RELATION, Mark.OPEN)
"""A number before anything else is part of no equation."""


def _states(tokens: list[Token]) -> bool:
    """Whether anything can be stated to be equal: by a relation, or by a figure and its parenthesis."""
    for token in tokens:  # noqa: SIM110 - a loop costs a third of any() over a generator, and this runs for every line
        if token.mark is Mark.RELATION or token.mark is Mark.OPEN:
            return True
    return False


def find_equations(segments: tuple[Segment, ...], tokens: list[list[Token]]) -> list[Equation]:
    """Equations of all segments, in document order."""
    found: list[Equation] = []
    for index, segment in enumerate(segments):
        if _states(tokens[index]):
            found += _Finder(segment, index, tokens[index]).find(0, len(tokens[index]))
    found += row_equations(segments, tokens)
    return sorted(found, key=lambda equation: (equation.place.line, equation.place.column))
