"""Tables whose rows all follow one rule (``total = nodes × GPUs``, a change in per cent, a share) but for one row."""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.contradictions import Contradiction
from optimizer.audit.document import Kind, Segment
from optimizer.audit.tokens import Mark, Number, Token, numbers_of
from optimizer.audit.verdict import plain

_SIGN: Final = re.compile(r"\s*([+\-−–])?\s*")
_REST: Final = re.compile(r"\s*[x×]?\s*")
_TOTAL: Final = re.compile(r"^\W*(?:total|sum|overall|all|average|avg|mean|max|min|median)\b", re.IGNORECASE)
_CHANGE: Final = re.compile(r"change|delta|Δ|diff|improve|gain|saving|reduc|increase|growth|vs\b|%", re.IGNORECASE)
_OVER_FIRST: Final = re.compile(r"speed[- ]?up|relative|scal(?:e|ing)|normali[sz]ed|faster", re.IGNORECASE)
_SUMMED: Final = re.compile(r"^\W*(?:total|sum|overall|all)\b", re.IGNORECASE)
_SHARE: Final = re.compile(r"share|fraction|part of|% of", re.IGNORECASE)
_FEWEST: Final = 4
"""Rows that must follow a rule for the one that does not to be wrong; fewer where a header or a product names it."""
_NAMED: Final = 3
_TWO: Final = 2
"""Rows that must follow a rule whose one number the document or the units give."""
_CONVERSIONS: Final = tuple(float(unit) * 10**power for unit in (3600, 86400) for power in (-9, -6, -3, 0))
"""Seconds of an hour and a day, counted in any decimal prefix."""
_PRICED: Final = re.compile(r"[$€]|\bUSD\b|cost|price|/\s?(?:1\s?)?M\b", re.IGNORECASE)
_ROUNDED: Final = 0.05
_FAR: Final = 12
"""Times by which a figure may miss a proportion and still be meant for it."""
_MOST_JOINED: Final = 100
_MOST_COLUMNS: Final = 7
_MOST_ROWS: Final = 400


@dataclass(frozen=True, slots=True)
class _Cell:
    """A cell with one figure and nothing else: its value with its sign, and half a unit of its last digit."""

    value: float
    half: float
    percent: bool
    number: Number
    segment: Segment
    sign: int


_Row = dict[str, _Cell]
_Of = Callable[..., float]


@dataclass(frozen=True, slots=True)
class _Rule:
    """A column from the cells of others: what it is told as, the function, its cells in each row, its strictness."""

    told: str
    of: _Of
    rows: list[tuple[_Cell, list[_Cell]]]
    fewest: int = _FEWEST
    far: bool = False


def find_outliers(segments: Sequence[Segment], tokens: Sequence[list[Token]]) -> Iterator[Contradiction]:
    """One row against the rule of all the others."""
    blocks: dict[int, list[int]] = {}
    for index, segment in enumerate(segments):
        if segment.kind is Kind.CELL and segment.row >= 0 and segment.column_label:
            blocks.setdefault(segment.block, []).append(index)
    tables = [
        indices for indices in blocks.values() if segments[indices[-1]].row - segments[indices[0]].row <= _MOST_ROWS
    ]
    grids = [_grid(segments, tokens, indices) for indices in tables]
    told: set[int] = set()
    prices = {
        float(number.digits)
        for index, segment in enumerate(segments)
        if segment.kind is not Kind.CODE
        for number in numbers_of(tokens[index])
        if number.unit.dimensions[3]
    }
    for labels, rows in grids:
        yield from _outliers(labels, list(rows.values()), told, prices)
    for labels, rows in _joined(grids):
        yield from _outliers(labels, list(rows.values()), told, set(), across=True)


def _joined(grids: Sequence[tuple[list[str], dict[str, _Row]]]) -> Iterator[tuple[list[str], dict[str, _Row]]]:
    """Two tables about the same things, row by row: what the one counts, the other may be reckoned from."""
    for (left, one), (right, other) in itertools.combinations(grids, 2):
        shared = [label for label in one if label and label in other]
        if len(shared) >= _FEWEST and len(one) + len(other) <= _MOST_JOINED:
            labels = [*left, *(name for name in right if name not in left)]
            if len(labels) <= _MOST_COLUMNS:
                yield labels, {label: {**other[label], **one[label]} for label in shared}


def _grid(
    segments: Sequence[Segment], tokens: Sequence[list[Token]], indices: Sequence[int]
) -> tuple[list[str], dict[str, _Row]]:
    """Headers of the columns that hold figures, and the rows without totals by their label (numbered where twice)."""
    rows: dict[int, _Row] = {}
    named: dict[int, str] = {}
    for index in indices:
        segment = segments[index]
        cell = None if _TOTAL.match(segment.row_label) else _cell(segment, tokens[index])
        if cell is not None:
            rows.setdefault(segment.row, {}).setdefault(segment.column_label, cell)
            named[segment.row] = segment.row_label.strip()
    labels = dict.fromkeys(label for row in rows.values() for label in row)
    kept = [label for label in labels if sum(label in row for row in rows.values()) > 2]
    order = [segments[index].column_label for index in indices]
    once = Counter(named.values())
    by_name = {named[at] if once[named[at]] == 1 else f"\0{at}": row for at, row in rows.items()}
    return sorted(kept, key=order.index)[:_MOST_COLUMNS], by_name


def _cell(segment: Segment, tokens: Sequence[Token]) -> _Cell | None:
    numbers = numbers_of(tokens)
    if len(numbers) != 1 or numbers[0].approximate or numbers[0].bound:
        return None
    number, text = numbers[0], segment.text
    sign, rest = _SIGN.fullmatch(text, 0, number.start), _REST.fullmatch(text, number.end)
    if (
        not sign
        or not rest
        or any(token is not number and token.mark is not Mark.OPERATOR and token.sign != "x" for token in tokens)
    ):
        return None
    minus = -1 if sign[1] in {"-", "−", "–"} else 1
    percent = number.unit is lexicon.PERCENT
    half = number.half if number.decimal or percent or number.unit.scaled or rest[0].strip() else 0
    return _Cell(float(number.value) * minus, float(half), percent, number, segment, minus)


def _outliers(
    labels: Sequence[str], rows: Sequence[_Row], told: set[int], prices: set[float], *, across: bool = False
) -> Iterator[Contradiction]:
    """The first breach of each row; ``across`` two tables, of prices over what is made for them."""
    for target in labels if len(rows) > 2 else ():
        rules = [] if across else [*_rules(labels, rows, target), *_constants(labels, rows, target, prices)]
        for rule in (*rules, *_proportions(labels, rows, target, across=across)):
            breach = _breach(rule)
            if breach is None or breach[0].segment.row in told:
                continue
            cell, parts = breach
            told.add(cell.segment.row)
            exact = Fraction(rule.of(*(part.value for part in parts))).limit_denominator(10**9)
            scale, sign = (Fraction(1, 100), " %") if cell.percent else (cell.number.unit.scale, "")
            yield Contradiction(
                (cell.segment.place(cell.number.start).line,), "column", (cell.number.value * cell.sign, exact),
                f"{target.strip()}: every other row is {rule.told} {plain(exact / scale)}{sign}, "
                f"not {plain(cell.number.digits * cell.sign)}{sign}",
            )  # fmt: skip


def _rules(labels: Sequence[str], rows: Sequence[_Row], target: str) -> Iterator[_Rule]:
    """Rules that the figures of a column may follow."""

    def of(*sources: str) -> list[tuple[_Cell, list[_Cell]]]:
        return [(row[target], [row[name] for name in sources]) for row in rows if row.keys() >= {target, *sources}]

    others = [label for label in labels if label != target]
    percent = all(row[target].percent for row in rows if target in row)
    shared = _TWO if _SHARE.search(target) else _NAMED
    for source in others if percent else ():
        parts = [row[source] for row in rows if source in row]
        total = sum(cell.value for cell in parts)
        if len(parts) == len(rows) and total > 0 and not any(cell.percent or cell.value < 0 for cell in parts):
            yield _Rule(
                f"its share of {source.strip()}, which here is", lambda a, total=total: a / total, of(source), shared
            )
    place = labels.index(target)
    for first in (0, 1) if _SUMMED.search(target) and place > 1 and not percent else ():
        summed = labels[first:place]
        if len(summed) > 1:
            told = f"the sum of {', '.join(name.strip() for name in summed)}, which here is"
            yield _Rule(told, lambda *parts: sum(parts), of(*summed), fewest=2)
    for source in others if _OVER_FIRST.search(target) else ():
        base = rows[0].get(source)
        if base is not None and base.value:
            told = f"{source.strip()} against the first row's, which here gives"
            against = [(cell, [base, *parts]) for cell, parts in of(source)]
            yield _Rule(told, lambda a, b: a / b, against, fewest=_NAMED, far=True)
            yield _Rule(told, lambda a, b: b / a, against, fewest=_NAMED, far=True)
    few = _TWO if _PRICED.search(target) else _NAMED
    for a, b in itertools.permutations(others, 2):
        if not percent and place < max(labels.index(a), labels.index(b)):
            continue
        x, y, ordered = a.strip(), b.strip(), labels.index(a) < labels.index(b)
        if not percent:
            if ordered:
                yield _Rule(f"{x} × {y}, which here is", lambda a, b: a * b, of(a, b), fewest=few)
                yield _Rule(f"{x} + {y}, which here is", lambda a, b: a + b, of(a, b))
            yield _Rule(f"{x} − {y}, which here is", lambda a, b: a - b, of(a, b))
        elif _CHANGE.search(target):
            yield _Rule(f"({y} − {x}) / {x}, which here is", lambda a, b: (b - a) / a, of(a, b), fewest=_NAMED)
        yield _Rule(f"{x} / {y}, which here is", lambda a, b: a / b, of(a, b), fewest=few, far=True)


def _constants(labels: Sequence[str], rows: Sequence[_Row], target: str, prices: set[float]) -> Iterator[_Rule]:
    """A column that is another times a conversion of units, or a price that the document states times or over it."""
    for source in labels:
        kept = [(row[target], [row[source]]) for row in rows if row.keys() >= {target, source} and row[source].value]
        if source == target or len(kept) <= _TWO or any(cell.percent for cell, _ in kept):
            continue
        name = source.strip()
        ratios = [cell.value / part.value for cell, (part,) in kept]
        for factor in _alike(ratios, _CONVERSIONS):
            yield _Rule(
                f"{name} × {factor:g}, which here is", lambda a, factor=factor: a * factor, kept, _TWO, far=True
            )
        # bytes of so many tokens: nothing else of a table need be proportional
        sized = all(
            cell.number.unit.dimensions == lexicon.BYTES and part.number.unit.dimensions == lexicon.NONE
            for cell, (part,) in kept
        )
        alike = Counter(next(one for one in ratios if abs(one - ratio) <= abs(one) / 100) for ratio in ratios if sized)
        for factor, many in alike.items():
            if many >= _NAMED and all(1 / _FAR < ratio / factor < _FAR for ratio in ratios):
                yield _Rule(
                    f"{name} × {factor:.4g}, which here is", lambda a, factor=factor: a * factor, kept, _NAMED, far=True
                )
        if _PRICED.search(target):
            for price in _alike(ratios, prices):
                yield _Rule(
                    f"{name} × ${price:g}, which here is", lambda a, price=price: a * price, kept, _TWO, far=True
                )
            products = [cell.value * part.value for cell, (part,) in kept]
            for price in _alike(products, {price * 10**power for price in prices for power in (0, 3, 6)}):
                yield _Rule(
                    f"${price:g} / {name}, which here is", lambda a, price=price: price / a, kept, _TWO, far=True
                )


def _proportions(labels: Sequence[str], rows: Sequence[_Row], target: str, *, across: bool) -> Iterator[_Rule]:
    """A column that is the quotient of two others, in some decimal prefix: a price of tokens from that of an hour.

    In one table it stands behind them, and its header and theirs differ by a conversion: tokens/s from ms.
    """
    others = [label for label in labels if label != target] if across else labels[: labels.index(target)]
    for a, b in itertools.permutations(others, 2):
        kept = [(row[target], [row[a], row[b]]) for row in rows if row.keys() >= {target, a, b}]
        if len(kept) <= _FEWEST or any(min(one.value, *(part.value for part in parts)) <= 0 for one, parts in kept):
            continue
        ratios = [one.value * other.value / of.value for one, (of, other) in kept]
        powers = (10.0**power for power in (-6, -3, 0, 3, 6) if power or across)
        factors = (*_CONVERSIONS, *(1 / one for one in _CONVERSIONS), *powers)
        for factor in _alike(ratios, factors):
            told = f"{a.strip()} / {b.strip()} times {factor:.4g}, which here is"
            yield _Rule(told, lambda x, y, factor=factor: factor * x / y, kept, far=True)


def _alike(values: Sequence[float], constants: Iterable[float]) -> list[float]:
    """The constants that some two of the values are within a hundredth."""
    return [one for one in constants if sum(abs(value - one) <= abs(one) / 100 for value in values) >= _TWO]


def _breach(rule: _Rule) -> tuple[_Cell, list[_Cell]] | None:
    """The one cell that breaks a rule which enough other rows keep."""
    bad: list[tuple[_Cell, list[_Cell]]] = []
    kept: list[tuple[float, ...]] = []
    for cell, parts in rule.rows:
        fits = _fits(rule.of, cell, parts)
        if fits:
            kept.append((cell.value, *(part.value for part in parts)))
        elif fits is not None:
            exact = rule.of(*(part.value for part in parts))
            if bad or (rule.far and abs(exact - cell.value) <= _ROUNDED * abs(exact)):
                return None
            bad.append((cell, parts))
    if not bad or len({row[0] for row in kept}) < rule.fewest:
        return None
    # A column of ones or of noughts makes a rule of any two columns, and a column that never changes proves little.
    base = bad[0][1][0].value if "first row" in rule.told else None
    same = [place for place in range(len(kept[0])) if len({row[place] for row in kept}) < 2]
    return bad[0] if not same or (base is not None and same == [1]) or len(kept[0]) > 3 else None


def _fits(of: _Of, result: _Cell, parts: Sequence[_Cell]) -> bool | None:
    """Whether a row keeps the rule within the digits written; None where it cannot be reckoned or says too little."""
    ways = [[part.value + step * part.half for step in (-1, 0, 1)] for part in parts]
    if len(parts) > 3:
        ways = [
            [part.value for part in parts],
            *([part.value + sign * part.half for part in parts] for sign in (-1, 1)),
        ]
    try:
        ends = [of(*way) for way in (ways if len(parts) > 3 else itertools.product(*ways))]
    except ZeroDivisionError:
        return None
    slack = 2 * result.half + 1e-9 * abs(result.value)
    low, high = min(ends) - slack, max(ends) + slack
    if len(parts) > 1 and result.value and high - low > abs(result.value) / 4:
        return None
    return low <= result.value <= high
