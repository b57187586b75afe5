"""Tables and lists that contradict themselves: a total against its rows, a row against the rule of all the others.

A column may be the sum, the difference, the product or the quotient of others, times a conversion of units or a price
of the document, a share of a column, or a change between two. What enough rows keep, the one that does not breaks.
"""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.compare import rounding
from optimizer.audit.document import Kind, Segment
from optimizer.audit.tokens import Mark, Number, Token, numbers_of
from optimizer.audit.verdict import Contradiction, plain, shown

_WITHIN: Final = re.compile(r"^\W*(?:[–—└├↳]|incl|of\b)|\bof which\b|\bthereof\b", re.IGNORECASE)
"""Rows that are part of another row."""
_MINUS: Final = re.compile(r"[-−–(]\s*[$€]?\s*$")
_MORE_THAN_SUM: Final = re.compile(r"%|\b(?:incl\w*|with|after|net|tax|vat|plus|less)\b", re.IGNORECASE)
"""A total of more, or less, than its rows."""
_LABEL: Final = re.compile(r"[A-Za-z][\w ,./()-]{1,60}")
_NEARLY: Final = Fraction(1, 4)
"""Share by which parts that somebody added up wrongly may miss their total. Assumed: others are no sum."""
_MOST_ADDED: Final = 64
TOTAL: Final = re.compile(r"^\W*(?:in\s+)?(?:sub-?total|total|sum|overall|all(?!-)|together)\b", re.IGNORECASE)
_AMID: Final = re.compile(r"^\W*(?:sub-?total|total|sum)\b", re.IGNORECASE)
"""A total that rows may follow."""
_NO_ROW: Final = re.compile(rf"{TOTAL.pattern}|^\W*(?:average|avg|mean|max|min|median)\b", re.IGNORECASE)
_SIGN: Final = re.compile(r"\s*([+\-−–])?\s*")
_REST: Final = re.compile(r"\s*[x×]?\s*")
_CHANGE: Final = re.compile(r"change|delta|Δ|diff|improve|gain|saving|reduc|increase|growth|vs\b|%", re.IGNORECASE)
_OVER_FIRST: Final = re.compile(r"speed[- ]?up|relative|scal(?:e|ing)|normali[sz]ed|faster", re.IGNORECASE)
_SHARE: Final = re.compile(r"share|fraction|part of|% of", re.IGNORECASE)
_PRICED: Final = re.compile(r"[$€]|\bUSD\b|cost|price|/\s?(?:1\s?)?M\b", re.IGNORECASE)
_FEWEST: Final = 4
"""Rows that must follow a rule for the one that does not to be wrong; fewer where a header or a product names it."""
_NAMED: Final = 3
_TWO: Final = 2
"""Rows that must follow a rule whose one number the document or the units give."""
_CONVERSIONS: Final = tuple(float(unit) * 10**power for unit in (3600, 86400) for power in (-9, -6, -3, 0))
"""Seconds of an hour and a day, counted in any decimal prefix."""
_PREFIXES: Final = tuple(10.0**power for power in (-6, -3, 3, 6))
_ROUNDED: Final = 0.05
_FAR: Final = 12
"""Times by which a figure may miss a proportion and still be meant for it."""
_MOST_JOINED: Final = 100
_MOST_COLUMNS: Final = 7
_MOST_ROWS: Final = 400

_Row = tuple[str, Number, Segment]


def find_sums(segments: Sequence[Segment], tokens: Sequence[list[Token]]) -> Iterator[Contradiction]:
    """A "total" row that the rows above it do not add up to, although they nearly do or another column does."""
    groups: dict[tuple[int, str], list[_Row]] = {}
    named: dict[int, str] = {}
    lists = 0
    for index, segment in enumerate(segments):
        if segment.row >= 0 and TOTAL.match(segment.text):
            named.setdefault(segment.row, segment.text)
        lists += not segment.item
        labelled = segment.item and ":" in segment.text
        # the result of an equation, or what is behind a label
        numbers = numbers_of(tokens[index])[-1 if "=" in segment.text or labelled else 0 :]
        if len(numbers) != 1:
            continue
        (one,), key = numbers, (segment.block, segment.column_label)
        label = named.get(segment.row, segment.row_label)
        if segment.kind is not Kind.CELL:
            if one.unit.dimensions == lexicon.NONE:
                continue
            # a list ends where a paragraph begins
            key = (segment.block, "\0code") if segment.kind is Kind.CODE else (-1 - lists, "/".join(segment.section))
            label = segment.text[: one.start].strip(" |:=\t") if key[1] == "\0code" else segment.text.partition(":")[0]
            if not (labelled if key[1] != "\0code" else _LABEL.fullmatch(label)):
                continue
        if key[1] or segment.kind is not Kind.CELL:
            groups.setdefault(key, []).append((label, one, segment))
    groups = {key: _to_total(rows) for key, rows in groups.items()}
    adding = {block for (block, _), rows in groups.items() if _adds_up(rows)}
    for (block, column), rows in groups.items():
        beside = [other for (at, name), other in groups.items() if at == block and name != column]
        yield from _sum(rows, beside, confirmed=block in adding)


def _to_total(rows: list[_Row]) -> list[_Row]:
    """The rows up to the first total; others may follow a plain one."""
    at = next((at for at, row in enumerate(rows) if _AMID.match(row[0])), len(rows))
    return rows[: at + 1] if at > 1 else rows


def _adds_up(rows: Sequence[_Row]) -> bool:
    """Whether the last row of a column is exactly the sum of the rows above it, so that the table is one of sums."""
    values = [item.value for _, item, _ in rows]
    return len(values) > _TWO and TOTAL.match(rows[-1][0]) is not None and sum(values[:-1]) == values[-1] != 0


def _sum(rows: Sequence[_Row], beside: Sequence[list[_Row]], *, confirmed: bool) -> Iterator[Contradiction]:
    """The breach of a total; ``confirmed``: another column of the table adds up exactly."""
    *parts, last = rows
    total, values = last[1], [item.value for _, item, _ in parts]
    alone = TOTAL.match(last[0]) and not any(TOTAL.match(label) for label, _, _ in parts)
    if not alone or not 1 < len(parts) <= _MOST_ADDED or _MORE_THAN_SUM.search(last[0]):
        return
    alike = all(item.unit.dimensions == total.unit.dimensions and item.per == total.per for _, item, _ in parts)
    less = any(_WITHIN.search(label) or _MINUS.search(cell.text[: item.start]) for label, item, cell in parts)
    value = sum(values, Fraction(0))
    slack = sum((rounding(item, item.unit.scale, approximate=item.approximate) for _, item, _ in rows), Fraction(0))
    if any(item.unit.scale != total.unit.scale for _, item, _ in parts):
        slack += total.unit.scale  # rounded up as likely as off
    off = abs(value - total.value)
    # between the least and the greatest of its rows a "total" is a mean, a maximum or what one of them decides
    if not alike or less or off <= slack or total.value <= max(values):
        return
    if not (confirmed or off <= max(value, total.value) * _NEARLY):
        return
    for column in beside:  # each part as often as another column of its row says
        counts = {segment.row: item.value for _, item, segment in column}
        weighted = sum((item.value * counts.get(segment.row, 0) for _, item, segment in parts), Fraction(0))
        if abs(weighted - total.value) <= slack:
            return
    lines = tuple(segment.place(item.start).line for _, item, segment in rows)
    added = " + ".join(shown(item.value, item.unit) for _, item, _ in parts)
    told = f"the parts add up to {shown(value, total.unit)} ({added}), not {shown(total.value, total.unit)}"
    yield Contradiction(lines, "total", (value, total.value), told)


# --- one row against the rule of all the others


@dataclass(frozen=True, slots=True)
class _Cell:
    """A cell with one figure and nothing else: its value with its sign, and half a unit of its last digit."""

    value: float
    half: float
    percent: bool
    number: Number
    segment: Segment
    sign: int


_Cells = dict[str, _Cell]
_Kept = list[tuple[_Cell, list[_Cell]]]


@dataclass(frozen=True, slots=True)
class _Rule:
    """A column from the cells of others: what it is told as, the function, its cells in each row, its strictness."""

    told: str
    of: Callable[..., float]
    rows: _Kept
    fewest: int = _FEWEST
    far: bool = False


def find_outliers(segments: Sequence[Segment], tokens: Sequence[list[Token]]) -> Iterator[Contradiction]:
    """One row against the rule of all the others, of one table or of two about the same things."""
    blocks: dict[int, list[int]] = {}
    prices: set[float] = set()
    for index, segment in enumerate(segments):
        if segment.kind is Kind.CELL and segment.row >= 0 and segment.column_label:
            blocks.setdefault(segment.block, []).append(index)
        if segment.kind is not Kind.CODE:
            prices |= {float(one.digits) for one in numbers_of(tokens[index]) if one.unit.dimensions[3]}
    tables = [one for one in blocks.values() if segments[one[-1]].row - segments[one[0]].row <= _MOST_ROWS]
    grids = [_grid(segments, tokens, indices) for indices in tables]
    told: set[int] = set()
    for labels, rows in grids:
        yield from _outliers(labels, list(rows.values()), told, prices)
    for (left, one), (right, other) in itertools.combinations(grids, 2):
        shared = [label for label in one if label and label in other]
        labels = list(dict.fromkeys([*left, *right]))
        if len(shared) >= _FEWEST and len(one) + len(other) <= _MOST_JOINED and len(labels) <= _MOST_COLUMNS:
            joined = [{**other[label], **one[label]} for label in shared]
            yield from _outliers(labels, joined, told, set(), across=True)


def _grid(
    segments: Sequence[Segment], tokens: Sequence[list[Token]], indices: Sequence[int]
) -> tuple[list[str], dict[str, _Cells]]:
    """Headers of the columns that hold figures, and the rows without totals by their label (numbered where twice)."""
    rows: dict[int, _Cells] = {}
    named: dict[int, str] = {}
    for index in indices:
        segment = segments[index]
        cell = None if _NO_ROW.match(segment.row_label) else _cell(segment, tokens[index])
        if cell is not None:
            rows.setdefault(segment.row, {}).setdefault(segment.column_label, cell)
            named[segment.row] = segment.row_label.strip()
    labels = dict.fromkeys(segments[index].column_label for index in indices)
    kept = [label for label in labels if sum(label in row for row in rows.values()) > _TWO]
    once = Counter(named.values())
    return kept[:_MOST_COLUMNS], {named[at] if once[named[at]] == 1 else f"\0{at}": row for at, row in rows.items()}


def _cell(segment: Segment, tokens: Sequence[Token]) -> _Cell | None:
    numbers = numbers_of(tokens)
    if len(numbers) != 1 or numbers[0].approximate or numbers[0].bound:
        return None
    number, text = numbers[0], segment.text
    sign, rest = _SIGN.fullmatch(text, 0, number.start), _REST.fullmatch(text, number.end)
    others = [token for token in tokens if token is not number and token.sign != "x"]
    if not sign or not rest or any(token.mark is not Mark.OPERATOR for token in others):
        return None
    minus, percent = -1 if sign[1] in {"-", "−", "–"} else 1, number.unit is lexicon.PERCENT
    half = number.half if number.decimal or percent or number.unit.scaled or rest[0].strip() else 0
    return _Cell(float(number.value) * minus, float(half), percent, number, segment, minus)


def _outliers(
    labels: Sequence[str], rows: Sequence[_Cells], told: set[int], prices: set[float], *, across: bool = False
) -> Iterator[Contradiction]:
    """The first breach of each row; ``across`` two tables, of prices over what is made for them."""
    for target in labels if len(rows) > _TWO else ():
        rules = [] if across else [*_rules(labels, rows, target), *_proportional(labels, rows, target, prices)]
        for rule in (*rules, *_quotients(labels, rows, target, across=across)):
            breach = _breach(rule)
            if breach is None or breach[0].segment.row in told:
                continue
            cell, parts = breach
            told.add(cell.segment.row)
            exact = Fraction(rule.of(*(part.value for part in parts))).limit_denominator(10**9)
            scale, sign = (Fraction(1, 100), " %") if cell.percent else (cell.number.unit.scale, "")
            yield Contradiction(
                (cell.segment.place(cell.number.start).line,), "column", (cell.number.value * cell.sign, exact),
                f"{target.strip()}: every other row is {rule.told}, which here "
                f"{'gives' if rule.told.endswith('first row' + chr(39) + 's') else 'is'} {plain(exact / scale)}{sign}, "
                f"not {plain(cell.number.digits * cell.sign)}{sign}",
            )  # fmt: skip


def _kept(rows: Sequence[_Cells], target: str, *sources: str) -> _Kept:
    return [(row[target], [row[name] for name in sources]) for row in rows if row.keys() >= {target, *sources}]


def _rules(labels: Sequence[str], rows: Sequence[_Cells], target: str) -> Iterator[_Rule]:
    """Rules that the figures of a column may follow."""
    others, place = [label for label in labels if label != target], labels.index(target)
    percent = all(row[target].percent for row in rows if target in row)
    for source in others if percent else ():
        parts = [row[source] for row in rows if source in row]
        total = sum(cell.value for cell in parts)
        if len(parts) == len(rows) and total > 0 and not any(cell.percent or cell.value < 0 for cell in parts):
            fewest = _TWO if _SHARE.search(target) else _NAMED
            yield _Rule(
                f"its share of {source.strip()}", lambda a, total=total: a / total, _kept(rows, target, source), fewest
            )
    for first in (0, 1) if TOTAL.match(target) and place > 1 and not percent else ():
        if len(summed := labels[first:place]) > 1:
            told = f"the sum of {', '.join(name.strip() for name in summed)}"
            yield _Rule(told, lambda *parts: sum(parts), _kept(rows, target, *summed), _TWO)
    for source in others if _OVER_FIRST.search(target) else ():
        base = rows[0].get(source)
        if base is not None and base.value:
            against = [(cell, [base, *parts]) for cell, parts in _kept(rows, target, source)]
            for of in (lambda a, b: a / b, lambda a, b: b / a):
                yield _Rule(f"{source.strip()} against the first row's", of, against, _NAMED, far=True)
    few = _TWO if _PRICED.search(target) else _NAMED
    for a, b in itertools.permutations(others, 2):
        if not percent and place < max(labels.index(a), labels.index(b)):
            continue
        x, y, both = a.strip(), b.strip(), _kept(rows, target, a, b)
        if not percent and labels.index(a) < labels.index(b):
            yield _Rule(f"{x} × {y}", lambda a, b: a * b, both, few)
            yield _Rule(f"{x} + {y}", lambda a, b: a + b, both)
        if not percent:
            yield _Rule(f"{x} − {y}", lambda a, b: a - b, both)
        elif _CHANGE.search(target):
            yield _Rule(f"({y} − {x}) / {x}", lambda a, b: (b - a) / a, both, _NAMED)
        yield _Rule(f"{x} / {y}", lambda a, b: a / b, both, few, far=True)


def _proportional(labels: Sequence[str], rows: Sequence[_Cells], target: str, prices: set[float]) -> Iterator[_Rule]:
    """A column that is another times a conversion of units, or a price that the document states times or over it."""
    for source in labels:
        kept = [one for one in _kept(rows, target, source) if one[1][0].value]
        if source == target or len(kept) <= _TWO or any(cell.percent for cell, _ in kept):
            continue
        name, ratios = source.strip(), [cell.value / part.value for cell, (part,) in kept]
        factors = dict.fromkeys(_alike(ratios, _CONVERSIONS), _TWO)
        # bytes of so many tokens: nothing else of a table need be proportional
        sized = all(
            cell.number.unit.dimensions == lexicon.BYTES and part.number.unit.dimensions == lexicon.NONE
            for cell, (part,) in kept
        )
        alike = Counter(next(one for one in ratios if abs(one - ratio) <= abs(one) / 100) for ratio in ratios if sized)
        near = [one for one in alike if all(1 / _FAR < ratio / one < _FAR for ratio in ratios)]
        factors |= {one: _NAMED for one in near if alike[one] >= _NAMED}
        if _PRICED.search(target):
            factors |= dict.fromkeys(_alike(ratios, prices), _TWO)
            products = [cell.value * part.value for cell, (part,) in kept]
            for price in _alike(products, {price * 10**power for price in prices for power in (0, 3, 6)}):
                yield _Rule(f"${price:g} / {name}", lambda a, price=price: price / a, kept, _TWO, far=True)
        for factor, fewest in factors.items():
            yield _Rule(f"{name} × {factor:.4g}", lambda a, factor=factor: a * factor, kept, fewest, far=True)


def _quotients(labels: Sequence[str], rows: Sequence[_Cells], target: str, *, across: bool) -> Iterator[_Rule]:
    """A column that is the quotient of two others, in some decimal prefix: a price of tokens from that of an hour.

    In one table it stands behind them, and its header and theirs differ by a conversion: tokens/s from ms.
    """
    others = [label for label in labels if label != target] if across else labels[: labels.index(target)]
    factors = (*_CONVERSIONS, *(1 / one for one in _CONVERSIONS), *_PREFIXES, *((1.0,) if across else ()))
    for a, b in itertools.permutations(others, 2):
        kept = _kept(rows, target, a, b)
        if len(kept) <= _FEWEST or any(min(one.value, *(part.value for part in parts)) <= 0 for one, parts in kept):
            continue
        for factor in _alike([one.value * other.value / of.value for one, (of, other) in kept], factors):
            told = f"{a.strip()} / {b.strip()} times {factor:.4g}"
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
    same = [place for place in range(len(kept[0])) if len({row[place] for row in kept}) < _TWO]
    return bad[0] if not same or (rule.told.endswith("first row's") and same == [1]) or len(kept[0]) > 3 else None


def _fits(of: Callable[..., float], result: _Cell, parts: Sequence[_Cell]) -> bool | None:
    """Whether a row keeps the rule within the digits written; None where it cannot be reckoned or says too little."""
    steps = [[part.value + step * part.half for part in parts] for step in (-1, 0, 1)]
    ways = steps if len(parts) > 3 else itertools.product(*zip(*steps, strict=True))
    try:
        ends = [of(*way) for way in ways]
    except ZeroDivisionError:
        return None
    slack = 2 * result.half + 1e-9 * abs(result.value)
    low, high = min(ends) - slack, max(ends) + slack
    if len(parts) > 1 and result.value and high - low > abs(result.value) / 4:
        return None
    return low <= result.value <= high
