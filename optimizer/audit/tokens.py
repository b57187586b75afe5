"""Text to tokens: numbers with their written precision and unit, operators, relations, words."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from fractions import Fraction
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.lexicon import Unit


class Mark(Enum):
    """Kind of a token."""

    NUMBER = auto()
    OPERATOR = auto()
    RELATION = auto()
    OPEN = auto()
    CLOSE = auto()
    WORD = auto()
    BREAK = auto()


@dataclass(slots=True)
class Token:
    """One token; ``sign`` is the operator, relation or lower-cased word it stands for."""

    mark: Mark
    start: int
    end: int
    sign: str = ""


@dataclass(slots=True)
class Number(Token):
    """A written number: ``value`` in base units under its first reading, ``half`` half a unit of its last digit.

    ``digits`` is the coefficient as written, before the unit. ``nouns`` are the words that follow it, ``per`` those
    behind "per" or a slash. ``bound`` marks "over", "up to" and the like.
    """

    digits: Fraction = Fraction(0)
    half_digit: Fraction = Fraction(0)
    decimal: bool = False
    unit: Unit = lexicon.ONE
    nouns: tuple[str, ...] = ()
    per: tuple[str, ...] = ()
    approximate: bool = False
    bound: bool = False
    number_end: int = 0

    @property
    def value(self) -> Fraction:
        """Value in base units."""
        return self.digits if self.unit is lexicon.ONE else self.digits * self.unit.scale

    @property
    def half(self) -> Fraction:
        """Half a unit of the last digit written, in base units."""
        return self.half_digit if self.unit is lexicon.ONE else self.half_digit * self.unit.scale


_OPERATORS: Final = {
    "×": "*", "✕": "*", "✖": "*", "⨯": "*", "·": "*", "⋅": "*", "∙": "*", "∗": "*", "*": "*", "x": "*", "X": "*",
    "÷": "/", "/": "/", "∕": "/", "⁄": "/", "//": "//", "%": "%", "√": "√",
    "+": "+", "-": "-", "−": "-", "–": "-", "^": "^", "**": "^",
}  # fmt: skip
_RELATIONS: Final = {
    "=": "=", "＝": "=", "==": "=", ":=": "=", "≈": "~", "≃": "~", "≅": "~", "~=": "~", "=~": "~", "≈=": "~", "→": ">",
    "->": ">", "=>": "=", "⇒": ">", "⟹": ">", "≠": "!", "!=": "!", "-->": ">", "—>": ">", "~~": "~",
}  # fmt: skip
_WORD_OPERATORS: Final = re.compile(
    r"(?:times|multiplied\s+by|divided\s+by|plus|minus|over|mod|modulo)\b(?=\s+[(\d~≈])", re.IGNORECASE
)
_OPERAND: Final = re.compile(
    r"\s{0,3}(?:[(\d]|[$€]\d)|\s[a-z]\w*_\w*\s?\(\d|\s{1,3}(?i:E?[TD]P|[PECS]P)(?:[-_ ]|\s?=\s?)?\d"
    r"|\s(?:USD|EUR|GBP|CHF)\s?\d|\s[a-z-]{3,}(?:\s[a-z-]{3,})?\s\d[\d,]*\s*[x×=]"
)
"""Behind an "x" that multiplies: a number, a price, a call, a degree (``TP 4 x PP=2 x DP8``), a named factor."""
_WORD_SIGNS: Final = {
    "times": "*", "multiplied": "*", "divided": "/", "plus": "+", "minus": "-", "over": "/", "mod": "%", "modulo": "%",
}  # fmt: skip
_VULGAR: Final = {
    "½": Fraction(1, 2), "⅓": Fraction(1, 3), "⅔": Fraction(2, 3), "¼": Fraction(1, 4), "¾": Fraction(3, 4),
    "⅕": Fraction(1, 5), "⅛": Fraction(1, 8),
}  # fmt: skip
_REMAINDER: Final = re.compile(r" ?%(?= ?\d[\d,]* ?={1,2} ?\d)")
_WORD_RELATION: Final = re.compile(
    r"(?:(?:and|which|should|would|must|does|will)\s+)?(?:is\s+equal\s+to|equals?|yields?|gives?|gets?|makes?|totals?|is|are|be"
    r"|comes?\s+(?:out\s+)?(?:to|at)|works?\s+out\s+(?:to|at)|amounts?\s+to|adds?\s+up\s+to)"
    r"(?:\s+(?:exactly|only|just))?(?=\s+(?:about\s+|roughly\s+|approximately\s+|around\s+)?[~≈]?\d)",
    re.IGNORECASE,
)
_TOKEN: Final = re.compile(
    r"(?P<hex>0[xX][0-9a-fA-F]{2,})"
    r"|(?P<num>(?:\d(?:[\d,.'’_\u202f\u00a0\u2009]*\d)?|(?<![\w.])\.\d+)(?:[eE][+-]?\d{1,3}(?!\w|\.\d))?)"
    r"|(?P<rel>-->|—>|==|:=|=>|≈=|~=|=~|!=|->|[=＝≈≃≅→⇒⟹≠])"
    r"|(?P<tilde>~)"
    r"|(?P<op>\*\*|//|√|[×✕✖⨯·⋅∙∗*÷/∕⁄+^−–-])"
    r"|(?P<by>(?<=[\d)])[xX](?=\s*[\d(]))"
    r"|(?P<open>[(\[{⌈⌊])|(?P<close>[)\]}⌉⌋])"
    r"|(?P<sup>[⁰¹²³⁴⁵⁶⁷⁸⁹]+)"
    r"|(?P<currency>[$€£](?=\.?\d)|\b(?:USD|EUR|GBP|CHF)\s?(?=\d))"
    r"|(?P<vulgar>[½⅓⅔¼¾⅕⅛])"
    r"|(?P<word>[A-Za-zµμ_$@#][\w.@]*(?:['’-][A-Za-z0-9_][\w.]*)*)"
    r"|(?P<break>[^\s\w])"
    r"|(?P<other>\w)"
)
_LETTERS: Final = re.compile(r"[A-Za-zµμ]+")
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z_'’-]*(?:\d+[A-Z]?\b|\d*)(?:-[A-Za-z]+)*")
_JOINED_ON: Final = re.compile(r"\s*[×÷=≈→·⋅]")
"""Behind a word that is then a noun, whatever else it may be: ``32 leaves × 32 up = 1,024``."""
_SLASH: Final = re.compile(
    r"\s*(/|⁄|\bper\b)\s*(?:(?:output|input|prompt|generated|decoded|cached)\s+(?=tok))?(?=([A-Za-zµμ][\w-]*))",
    re.IGNORECASE,
)
_SUPERSCRIPTS: Final = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_DEGREE: Final = re.compile(r"(ETP|EDP|TP|PP|DP|EP|CP|SP)[-_]?(\d{1,6})", re.IGNORECASE)
_THOUSANDS: Final = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_OTHER_THOUSANDS: Final = re.compile(r"\d{1,3}(?:(['’_\u202f\u00a0\u2009])\d{3})(?:\1\d{3})*(?:\.\d+)?")
_PLAIN: Final = re.compile(r"\d*\.?\d+")
_DECIMAL_COMMA: Final = re.compile(r"\d+,\d+|\d{1,3}(?:\.\d{3})+,\d+")
_SWAPPED: Final = str.maketrans(".,", ",.")
_COMMA_FIGURE: Final = re.compile(r"(?<![\d.,])\d{1,9},\d{1,2}\s?(?:%|[KMGT]i?B\b|ms\b)")
_POINT_FIGURE: Final = re.compile(r"(?<![\d.,])\d{1,9}\.\d{1,2}\s?(?:%|[KMGT]i?B\b|ms\b)")
_SPACED_FIGURE: Final = re.compile(r"[=≈×·*+:|] ?\d{1,3}(?: \d{3}){2,4}(?![\d.,]?\d| \d)")
_SPACED_RESULT: Final = re.compile(r"[=≈] ?\d{1,3} \d{3}(?![\d.,]?\d| \d)")
_SPACED_THOUSANDS: Final = re.compile(r"(?<![\w.,])(?<!\d )\d{1,3}(?: \d{3})+(?![\d.,]?\d| \d)")
_LONGEST_NUMBER: Final = 40
_HALVES: Final = tuple(Fraction(1, 2 * 10**decimals) for decimals in range(_LONGEST_NUMBER + 1))
_YEARS: Final = re.compile(r"(?:19|20)\d\d")
_NOUN_SCALES: Final = re.compile(r"\s*([KMBT])\s+(?=(?:total\s+|active\s+)?(?:param|tok|weights))")
_MILLIONS: Final = re.compile(r"\s*(?:[-+*/×÷·⋅=≈≃→,;:)\]$}|.]|$)|\s+[a-z]")
"""Behind a "M" or "k" that is set off from its number."""
_PER_EACH: Final = re.compile(r"\s*(?:/\s*[A-Za-z]|per\s|each\b)")
_SYMBOL: Final = re.compile(r"[A-Z]\s*[=≈*×·+)]")
"""A letter that stands for a quantity: ``2 × 2550² / F = 453``."""
_DIVISORS: Final = {**lexicon.TIMES, **lexicon.MILLIONS, **lexicon.ENERGIES}
_NOUNS_TOO: Final = frozenset(
    {"leaves", "stores", "holds", "handles", "uses", "needs", "up", "down", "in", "out", "works"}
)
_PHRASE_STARTS: Final = " \u00a0\u202f\u2009/⁄%µ"
_PHRASE_WORDS: Final = 8


def decimal_comma(text: str) -> bool:
    """Whether a document writes its decimals with a comma: some figure with a unit does, and none has a point."""
    return _COMMA_FIGURE.search(text) is not None and _POINT_FIGURE.search(text) is None


def joined_thousands(text: str) -> str:
    """``text`` with no-break spaces inside its figures, if it parts their thousands by spaces: ``= 104 857 600``."""
    if _SPACED_FIGURE.search(text) is None and len(_SPACED_RESULT.findall(text)) < 2:
        return text
    return _SPACED_THOUSANDS.sub(lambda match: match[0].replace(" ", "\u00a0"), text)


def read_number(text: str, *, comma: bool = False) -> tuple[Fraction, Fraction, bool] | None:
    """Exact value, half a unit of the last digit, and whether decimals were written; None if it is no number.

    With ``comma`` the comma is the decimal mark and the point parts the thousands.
    """
    if comma:
        text = text.translate(_SWAPPED)
    if text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER:
        return Fraction(int(text)), _HALVES[0], False
    mantissa, _, exponent = text.replace("E", "e").partition("e")
    if len(mantissa) > _LONGEST_NUMBER or (exponent and abs(int(exponent)) > 60):
        return None
    if _THOUSANDS.fullmatch(mantissa):
        mantissa = mantissa.replace(",", "")
    elif _OTHER_THOUSANDS.fullmatch(mantissa):
        mantissa = re.sub(r"['’_\u202f\u00a0\u2009]", "", mantissa)
    elif _PLAIN.fullmatch(mantissa) is None:
        if _DECIMAL_COMMA.fullmatch(mantissa) is None:
            return None
        mantissa = mantissa.replace(".", "").replace(",", ".")
    whole, _, decimals = mantissa.partition(".")
    value, half = int(whole + decimals), _HALVES[len(decimals)]
    digits = Fraction(value, 10 ** len(decimals)) if decimals else Fraction(value)
    if not exponent:
        return digits, half, bool(decimals)
    power = Fraction(10) ** int(exponent)
    return digits * power, half * power, True


_SIGNS: Final[dict[str, Callable[[str, int, int], Token]]] = {
    "tilde": lambda _, start, end: Token(Mark.WORD, start, end, "~"),
    "currency": lambda _, start, end: Token(Mark.WORD, start, end, "$"),
    "vulgar": lambda text, start, end: Number(Mark.NUMBER, start, end, digits=_VULGAR[text], number_end=end),
    "open": lambda text, start, end: Token(Mark.OPEN, start, end, text),
    "close": lambda text, start, end: Token(Mark.CLOSE, start, end, text),
}


def tokenize(text: str, *, comma: bool = False) -> list[Token]:
    """Tokens of ``text`` in order, with a comma as the decimal mark or not. Linear in its length; never raises."""
    tokens: list[Token] = []
    at, length = 0, len(text)
    while at < length:
        match = _TOKEN.search(text, at)
        if match is None:
            break
        group, start, at = match.lastgroup, match.start(), match.end()
        if group == "num":
            at = _number(text, match, tokens, comma=comma)
        elif group == "rel":
            tokens.append(Token(Mark.RELATION, start, at, _RELATIONS[match[0]]))
        elif group in {"op", "by"}:
            tokens.append(Token(Mark.OPERATOR, start, at, _OPERATORS[match[0]]))
        elif group == "sup":
            tokens.append(Token(Mark.OPERATOR, start, start, "^"))
            power = Fraction(int(match[0][:6].translate(_SUPERSCRIPTS)))
            tokens.append(Number(Mark.NUMBER, start, at, digits=power, number_end=at))
        elif group in _SIGNS:
            tokens.append(_SIGNS[group](match[0], start, at))
        elif group == "word":
            at = _word(text, match, tokens)
        else:
            tokens.append(Token(Mark.BREAK, start, at, match[0]))
    return tokens


def _word(text: str, match: re.Match[str], tokens: list[Token]) -> int:
    start, end = match.span()
    word = match[0].rstrip(".")
    lowered = word.lower()
    if lowered in _OPERATOR_WORDS and (tokens or lowered == "x"):
        following = _WORD_OPERATORS.match(text, start)
        if lowered == "x" and _OPERAND.match(text, end):
            tokens.append(Token(Mark.OPERATOR, start, end, "*"))
            return end
        if following is not None:
            sign = _WORD_SIGNS[lowered]
            tokens.append(Token(Mark.OPERATOR, start, following.end(), sign))
            return following.end()
    if lowered in {"of", "von"}:
        tokens.append(Token(Mark.OPERATOR, start, end, "of"))
        return end
    degree = _DEGREE.fullmatch(match[0])
    if degree is not None:
        value, axis = Fraction(int(degree[2])), degree[1].lower()
        if tokens and tokens[-1].sign == "+":
            tokens[-1] = Token(Mark.BREAK, tokens[-1].start, tokens[-1].end, "and")  # degrees are listed, not added
        tokens.append(
            Number(Mark.NUMBER, start, end, digits=value, half_digit=_HALVES[0], nouns=(axis,), number_end=end)
        )
        return end
    relation = _WORD_RELATION.match(text, start) if lowered in _RELATION_STARTS else None
    if relation is not None:
        tokens.append(Token(Mark.RELATION, start, relation.end(), "is"))
        return relation.end()
    tokens.append(Token(Mark.WORD, start, start + len(word), lowered))
    return start + max(len(word), 1)


_RELATION_STARTS: Final = {
    "should", "would", "must", "does", "will", "is", "equals", "equal", "yields", "yield", "gives", "give", "makes",
    "make", "total", "totals", "are", "be", "comes", "come", "works", "work", "amounts", "amount", "adds", "add",
    "gets", "get", "and", "which",
}  # fmt: skip


_OPERATOR_WORDS: Final = {"x", "times", "multiplied", "divided", "plus", "minus", "over", "mod", "modulo"}


def _number(text: str, match: re.Match[str], tokens: list[Token], *, comma: bool) -> int:
    start, end = match.span()
    value = read_number(match[0], comma=comma)
    letters = _LETTERS.match(text, end) if text[end : end + 1].isalpha() else None
    attached = letters[0] if letters else ""
    if attached and text[end + len(attached) : end + len(attached) + 1].isdigit() and attached not in {"x", "X"}:
        attached_end = end + len(attached)
        if attached[0] not in "xX":
            tokens.append(Token(Mark.WORD, start, attached_end, "?"))
            return attached_end
    unit, unit_end = _attached_unit(match[0], attached, end)
    if unit is None and attached and attached[0] not in "xX":
        tokens.append(Token(Mark.WORD, start, end + len(attached), match[0] + attached.lower()))
        return end + len(attached)
    if value is None:
        tokens.append(Token(Mark.WORD, start, end, "?"))
        return end
    previous = tokens[-1] if tokens else None
    number = Number(
        Mark.NUMBER, start, end, digits=value[0], half_digit=value[1], decimal=value[2], number_end=unit_end
    )
    if text[unit_end : unit_end + 1] == "-" and text[unit_end + 1 : unit_end + 2].isalpha():
        word = _WORD.match(text, unit_end + 1)
        number.end = word.end() if word else unit_end
        number.nouns = tuple((word[0] if word else "").lower().split("-"))
        number.unit = unit or lexicon.ONE
        number.number_end = end
    else:
        _phrase(text, number, unit, unit_end)
    if previous is not None and previous.mark is Mark.WORD:
        number.approximate = previous.sign in lexicon.APPROXIMATE or previous.sign == "~"
        number.bound = previous.sign in lexicon.BOUNDS or (
            previous.sign == "to" and len(tokens) > 1 and tokens[-2].sign == "up"
        )
        if number.approximate:
            tokens.pop()
    if previous is not None and previous.sign == "$" and previous.end == start:
        _priced(number, tokens)
    tokens.append(number)
    remainder = _REMAINDER.match(text, number.end) if "%" in text[number.end : number.end + 2] else None
    if remainder is not None and number.end == number.number_end:
        tokens.append(Token(Mark.OPERATOR, number.end, remainder.end(), "%"))
        return remainder.end()
    return number.end


def _priced(number: Number, tokens: list[Token]) -> None:
    """A currency sign before the number: ``$1.4M``, ``$2.50/h``."""
    unit = number.unit
    if unit.dimensions == lexicon.NONE:
        number.unit = Unit(f"${unit.name}" if unit.name else "$", unit.scale, lexicon.DOLLARS)
    elif unit.dimensions in {lexicon.PER_SECOND, lexicon.PER_JOULE}:
        number.unit = Unit(f"${unit.name[1:]}", unit.scale, (0, unit.dimensions[1], 0, 1, unit.dimensions[4]))
    else:
        return
    number.start = tokens.pop().start


def _attached_unit(digits: str, attached: str, end: int) -> tuple[Unit | None, int]:
    if not attached or (attached == "s" and _YEARS.fullmatch(digits)):
        return None, end
    unit = lexicon.SCALES.get(attached) or lexicon.UNITS.get(attached)
    return unit, end + (len(attached) if unit else 0)


def _ends(text: str, at: int) -> bool:
    """Whether neither a unit nor a word can follow a number that ends at ``at``."""
    mark = text[at : at + 1]
    if mark == " ":
        mark = text[at + 1 : at + 2]
    return not mark or not (mark.isalpha() or mark in _PHRASE_STARTS)


_PERCENT: Final = re.compile(r" *(?:%|per ?cent\b)", re.IGNORECASE)


def _phrase(text: str, number: Number, unit: Unit | None, at: int) -> None:
    """The unit and the words behind a number: ``tokens/s per GPU``, ``total expert instances``."""
    if unit is None and (_ends(text, at) or _REMAINDER.match(text, at)):
        number.number_end = number.end = at
        return
    if unit is None and (percent := _PERCENT.match(text, at)) is not None:
        unit, at = lexicon.PERCENT, percent.end()
    elif unit is None or unit.name in {"B", "M", "T", "K"}:
        unit, at = _spaced_unit(text, unit, at)
    number.number_end = at
    nouns: list[str] = []
    per: list[str] = []
    end = at
    while len(nouns) + len(per) < _PHRASE_WORDS:
        slash = _SLASH.match(text, at)
        if slash is not None:
            if _SYMBOL.match(text, slash.end()) and slash[2] not in _DIVISORS:
                break
            unit = _divided(unit, slash[2], per)
            at = end = slash.end() + len(slash[2])
            continue
        space = at
        while space < len(text) and text[space] in " \u00a0":
            space += 1
        word_match = _WORD.match(text, space)
        if word_match is None or (space == at and nouns == [] and per == [] and not unit.name):
            break
        word = word_match[0].rstrip("-'’").lower()
        if not _is_noun(text, word, space - at, word_match.end()):
            break
        nouns.append(word)
        at = end = word_match.end()
    if unit is lexicon.SPACED_B and number.digits.denominator != 1:
        # A fraction of a byte is no size: "19.1 B" counts billions, unless it is bytes for each of something.
        unit = unit if per or _PER_EACH.match(text, number.number_end) else lexicon.SCALES["B"]
    number.unit = unit
    number.end = max(end, number.number_end)
    number.nouns, number.per = tuple(nouns), tuple(per)


def _divided(unit: Unit, word: str, per: list[str]) -> Unit:
    """``unit`` over what stands behind a slash; a word that is no unit goes to ``per``."""
    divisor = _DIVISORS.get(word) or lexicon.TIMES.get(word.lower())
    if divisor is None or (unit.dimensions[1] and divisor.dimensions != lexicon.NONE):
        per.append(word.lower())
        return unit
    if divisor.dimensions != lexicon.NONE and not unit.name:
        unit = Unit("1", Fraction(1))
    return unit.over(divisor)


def _is_noun(text: str, word: str, gap: int, end: int) -> bool:
    """Whether a word ``gap`` characters behind a number, ending at ``end``, is a noun of it."""
    stops = word in lexicon.STOPS or word == "x"
    if stops or ((gap > 3 or text[end : end + 1] in "_(") and text[end : end + 1]):
        return word in _NOUNS_TOO and _JOINED_ON.match(text, end) is not None
    return not _code_like(text, end)


def _code_like(text: str, end: int) -> bool:
    """A word that goes on as an identifier (``tp=8``, ``a.b``) is no noun."""
    following = text[end : end + 2]
    return following[:1] == "=" or (following[:1] == "." and following[1:].isalpha())


def _spaced_unit(text: str, unit: Unit | None, at: int) -> tuple[Unit, int]:
    spaces = at
    while spaces < len(text) and text[spaces] in " \u00a0\u202f\u2009":
        spaces += 1
    letters = _LETTERS.match(text, spaces) if 0 < spaces - at < 3 else None
    if letters is not None:
        word = letters[0]
        bare = text[letters.end() : letters.end() + 1]
        found = None if word in lexicon.UNSPACED_ONLY else lexicon.UNITS.get(word)
        scale = _NOUN_SCALES.match(text, at)
        if unit is None and scale is not None:
            return lexicon.SCALES[scale[1]], at + len(scale[0].rstrip())
        if word == "B" and unit is None and not bare.isalnum():
            return lexicon.SPACED_B, letters.end()
        if word in {"M", "k", "K", "T", "G"} and unit is None and _MILLIONS.match(text, letters.end()):
            return lexicon.SPACED_G if word == "G" else lexicon.SCALES[word], letters.end()
        if found is not None and not bare.isdigit() and bare not in {"_", "("}:
            if unit is None and word not in lexicon.SCALE_WORDS:
                return found, letters.end()
            if unit is None:
                further, end = _spaced_unit(text, found, letters.end())
                return further, end
            if found.dimensions != lexicon.NONE and found.scale == 1:
                return Unit(
                    f"{unit.name} {found.name}", unit.scale, found.dimensions, unit.other, unit.other_name
                ), letters.end()
    return unit or lexicon.ONE, at


def numbers_of(tokens: Sequence[Token]) -> list[Number]:
    """The numbers among ``tokens``."""
    return [token for token in tokens if isinstance(token, Number)]
