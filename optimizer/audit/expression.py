"""Written arithmetic: a tree with exact values, from the tokens of a text."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.lexicon import Unit
from optimizer.audit.tokens import Mark, Number, Token

FUNCTIONS: Final = {"ceil", "floor", "round", "sqrt"}
AXES: Final = {"tp", "pp", "dp", "ep", "cp", "etp", "edp", "sp"}
_CLOSERS: Final = {"(": ")", "[": "]", "{": "}", "⌈": "⌉", "⌊": "⌋"}
_BINDING: Final = {"+": 1, "-": 1, "*": 2, "/": 2, "//": 2, "%": 2, "of": 2, "^": 3}
_DEEPEST: Final = 24
_MOST_OPERANDS: Final = 2000
_LABEL_WORDS: Final = 3
_NAME: Final = re.compile(r"(?:[a-z][a-z-]+\s)+")
"""What a factor is called in front of it: ``micro-batch 2 × accumulation 8``; a capital is for a product."""
_TEN: Final = 10
_POWER: Final = 3
"""Tokens of ``× 10 ^``."""


@dataclass(slots=True)
class Node:
    """A number (``operator`` is empty), an operation or a function call, and the tokens it spans."""

    operator: str
    arguments: tuple["Node", ...]
    number: Number | None
    first: int
    last: int
    unit: Unit = lexicon.ONE
    uncertain: bool = False

    @property
    def plain(self) -> bool:
        """Whether this is just a number."""
        return self.number is not None

    @property
    def single(self) -> bool:
        """Whether there is one number and nothing is done with it: ``-40``, ``[3]``."""
        node = self
        while node.operator in {"neg", "group"}:
            node = node.arguments[0]
        return node.number is not None

    def numbers(self) -> Iterator[Number]:
        """Every number in the tree, left to right."""
        stack = [self]
        while stack:
            node = stack.pop()
            if node.number is not None:
                yield node.number
            stack.extend(reversed(node.arguments))

    def doubtful(self) -> bool:
        """Whether some sign in the tree may be no operator (a range, a dash, a label)."""
        stack = [self]
        while stack:
            node = stack.pop()
            if node.uncertain:
                return True
            stack.extend(node.arguments)
        return False


def _closing(tokens: list[Token]) -> dict[int, int]:
    """Index of the closing sign of each opening one that has one and nests no deeper than is read."""
    found: dict[int, int] = {}
    stack: list[tuple[int, int]] = []
    for index, token in enumerate(tokens):
        if token.mark is Mark.OPEN:
            stack.append((index, 0))
        elif token.mark is Mark.CLOSE and stack:
            opener, height = stack.pop()
            if _CLOSERS[tokens[opener].sign] == token.sign and height <= _DEEPEST:
                found[opener] = index
            if stack and stack[-1][1] <= height:
                stack[-1] = stack[-1][0], height + 1
    return found


class Parser:
    """Precedence climbing over a token list. ``comments`` collects the parentheses skipped as remarks."""

    def __init__(self, text: str, tokens: list[Token], *, code: bool = False) -> None:
        self.text = text
        self.tokens = tokens
        self.code = code
        self.comments: list[tuple[int, int]] = []
        self.partial = False
        self.operands = 0
        self.closing = _closing(tokens)

    def parse(self, at: int) -> tuple[Node, int] | None:
        """Longest expression that starts at token ``at``, with the index behind it.

        ``partial`` is then set when an operator behind it, or inside, has an operand that is no number.
        """
        self.partial = False
        self.operands = 0
        return self._binary(at, 1, 0)

    def _binary(self, at: int, binding: int, depth: int) -> tuple[Node, int] | None:
        if depth > _DEEPEST:
            return None
        left = self._atom(at, depth)
        if left is None:
            return None
        node, at = left
        while at < len(self.tokens) and self.operands < _MOST_OPERANDS:
            token = self.tokens[at]
            if token.mark is not Mark.OPERATOR or token.sign not in _BINDING or not self._joins(node, at):
                break
            sign, following = token.sign, at + 1
            level = _BINDING[sign]
            if level < binding:
                break
            right = self._binary(following, level + (sign != "^"), depth + 1)
            if sign == "/" and right is not None:
                right = self._scientific(*right, depth)
            if right is None:
                remark = (sign == "-" and self._dash(token)) or (sign == "*" and self._ratio(token, following))
                if not remark and sign != "of":
                    self.partial = True
                break
            # 880 + 12%: a percentage of what stands before it, or of anything
            parts = [one.number is not None and one.number.unit is lexicon.PERCENT for one in (node, right[0])]
            part = sign in {"+", "-"} and parts == [False, True]
            doubt = part or self._doubt(node, token, sign)
            node = Node(
                "*" if sign == "of" else sign, (node, right[0]), None, node.first, right[0].last, uncertain=doubt
            )
            at = right[1]
        return node, at

    def _scientific(self, node: Node, at: int, depth: int) -> tuple[Node, int]:
        """``a / 4.56 × 10^11``: a coefficient in normal form binds its power of ten."""
        number, behind = node.number, self.tokens[at : at + 3]
        if number is None or not (number.decimal and 1 <= number.digits < _TEN) or len(behind) < _POWER:
            return node, at
        times, base, power = behind
        ten = isinstance(base, Number) and base.digits == _TEN and base.unit is lexicon.ONE
        if times.sign != "*" or not ten or power.sign != "^":
            return node, at
        raised = self._binary(at + 1, _BINDING["^"], depth + 1)
        if raised is None:
            return node, at
        return Node("*", (node, raised[0]), None, node.first, raised[0].last), raised[1]

    def _joins(self, node: Node, at: int) -> bool:
        """Whether "of" joins a percentage or a fraction to its whole; anything else is a preposition."""
        if self.tokens[at].sign != "of":
            return True
        percent = node.number is not None and node.number.unit is lexicon.PERCENT and not node.number.nouns
        return percent or node.operator == "/"

    def _dash(self, token: Token) -> bool:
        return self.text[token.start : token.end] != "-" or self.text[token.end : token.end + 1] == " "

    def _ratio(self, token: Token, following: int) -> bool:
        """``1500× lower``: the sign belongs to the number before it."""
        return self.text[token.end : token.end + 1] == " " and self.text[token.start - 1 : token.start].isdigit()

    def _doubt(self, left: Node, token: Token, sign: str) -> bool:
        written = self.text[token.start : token.end]
        if (sign == "/" and written.lower().startswith("over")) or (sign == "%" and written.strip() == "%"):
            return True
        if sign != "-" or written in {"−", "minus"}:
            return False
        before, after = self.text[token.start - 1 : token.start], self.text[token.end : token.end + 1]
        spaced = before.isspace() and after.isspace()
        if written == "–" or not (spaced or self.code):
            return True
        preceding = self.tokens[left.first - 1] if left.first else None
        return left.plain and preceding is not None and preceding.mark is Mark.WORD and not self.code

    def _atom(self, at: int, depth: int) -> tuple[Node, int] | None:
        if at >= len(self.tokens):
            return None
        token = self.tokens[at]
        if isinstance(token, Number):
            self.operands += 1
            node = Node("", (), token, at, at)
            return node, self._after_comment(at + 1, token.end)
        if token.mark is Mark.OPEN:
            return self._group(at, depth)
        if token.mark is Mark.OPERATOR and token.sign in {"-", "+"} and self._prefix(at):
            inner = self._binary(at + 1, 3, depth + 1)
            if inner is None:
                return None
            sign = "neg" if token.sign == "-" else ""
            return (Node(sign, (inner[0],), None, at, inner[0].last), inner[1]) if sign else inner
        if token.sign == "√" and token.mark is Mark.OPERATOR:
            inner = self._binary(at + 1, 3, depth + 1)
            return None if inner is None else (Node("sqrt", (inner[0],), None, at, inner[0].last), inner[1])
        if token.mark is Mark.WORD:
            return self._call(at, depth) or self._labelled(at)
        return None

    def _prefix(self, at: int) -> bool:
        """A sign set directly against its number, with no operand before it."""
        token = self.tokens[at]
        return not self.text[token.end : token.end + 1].isspace()

    def _labelled(self, at: int) -> tuple[Node, int] | None:
        """``H100 80GB`` or ``PP=4`` as an operand behind an operator: the number behind its label."""
        if at == 0 or self.tokens[at - 1].mark is not Mark.OPERATOR:
            return None
        for index in range(at, min(at + _LABEL_WORDS + 1, len(self.tokens))):
            token = self.tokens[index]
            if isinstance(token, Number):
                self.operands += 1
                said = self.text[self.tokens[at].start : token.start]
                named = self.tokens[at - 1].sign == "*" and _NAME.fullmatch(said) is not None
                node = Node("", (), token, at, index, uncertain=self.tokens[at].sign not in AXES and not named)
                return node, self._after_comment(index + 1, token.end)
            degree = token.sign == "=" and index == at + 1 and self.tokens[at].sign in AXES
            if not degree and (token.mark is not Mark.WORD or token.sign in lexicon.STOPS or token.sign == "?"):
                return None
        return None

    def _group(self, at: int, depth: int) -> tuple[Node, int] | None:
        opener = self.tokens[at]
        if at not in self.closing:
            return None
        previous = self.tokens[at - 1] if at else None
        if previous is not None and previous.mark is Mark.WORD and previous.end == opener.start:
            return None
        inner = self._binary(at + 1, 1, depth + 1)
        if inner is None or inner[1] >= len(self.tokens):
            return None
        closer = self.tokens[inner[1]]
        if closer.mark is not Mark.CLOSE or closer.sign != _CLOSERS[opener.sign]:
            return None
        node = inner[0]
        if opener.sign in "⌈⌊":
            node = Node("ceil" if opener.sign == "⌈" else "floor", (node,), None, at, inner[1])
        else:
            node = Node("group", (node,), None, at, inner[1])
        return self._unit_behind(node, inner[1] + 1, closer.end)

    def _unit_behind(self, node: Node, at: int, end: int) -> tuple[Node, int]:
        """Words behind a parenthesis: ``(8 + 8) GB``, ``(4 × 8) GPUs``."""
        start = at
        while at < len(self.tokens) and self.tokens[at].mark is Mark.WORD and at - start < _LABEL_WORDS + 2:
            token = self.tokens[at]
            if token.sign in lexicon.STOPS:
                break
            word = self.text[token.start : token.end]
            if at == start and word in lexicon.UNITS and self.text[end : token.start].strip() == "":
                node.unit = lexicon.UNITS[word]
            at += 1
        if (
            at < len(self.tokens)
            and at > start
            and self.tokens[at].mark not in {Mark.OPERATOR, Mark.RELATION, Mark.CLOSE}
        ):
            return node, start if node.unit is lexicon.ONE else start + 1
        node.last = at - 1
        return node, at

    def _call(self, at: int, depth: int) -> tuple[Node, int] | None:
        name = self.tokens[at].sign.rpartition(".")[2]
        if name not in FUNCTIONS or at + 1 >= len(self.tokens):
            return None
        opener = self.tokens[at + 1]
        if opener.mark is not Mark.OPEN or opener.sign != "(" or opener.start != self.tokens[at].end:
            return None
        inner = self._binary(at + 2, 1, depth + 1)
        if inner is None or inner[1] >= len(self.tokens) or self.tokens[inner[1]].sign != ")":
            return None
        return Node(name, (inner[0],), None, at, inner[1]), inner[1] + 1

    def _after_comment(self, at: int, end: int) -> int:
        """Skip a remark in parentheses when the arithmetic goes on behind it: ``64 GB (HBM3) × 8``."""
        if at >= len(self.tokens) or self.tokens[at].mark is not Mark.OPEN or self.tokens[at].start == end:
            return at
        level = 0
        for index in range(at, min(at + 40, len(self.tokens))):
            mark = self.tokens[index].mark
            level += (mark is Mark.OPEN) - (mark is Mark.CLOSE)
            if level == 0:
                following = self.tokens[index + 1] if index + 1 < len(self.tokens) else None
                if following is not None and following.mark in {Mark.OPERATOR, Mark.RELATION}:
                    self.comments.append((at, index + 1))
                    return index + 1
                return at
        return at
