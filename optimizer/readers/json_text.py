"""JSON to plain data, and, once something is wrong, the place of everything.

Results of large problems are megabytes, so the data comes from the standard library's C reader, and places are found by
a second, slower pass that only a fault pays for.
"""

import json
import re
from bisect import bisect_right
from typing import Any

from optimizer.errors import Fault, SpecError
from optimizer.readers.places import LineColumn, PathStep, PlaceTree, dotted
from optimizer.readers.scalars import HALF_CHARACTER, ScalarError, is_text, read_float, read_integer, refuse_not_finite

DEEPEST = 64

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")
_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|[][{}:,]|[^][{}:,"\s]+')


class _RepeatedKeyError(ValueError):
    """Some object has a key twice."""


def _read_text(piece: str) -> str:
    text = str(json.loads(piece))
    if not is_text(text):
        raise ScalarError(HALF_CHARACTER)
    return text


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise _RepeatedKeyError
    return mapping


class _Lines:
    """Line and column of an offset."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def place(self, offset: int) -> LineColumn:
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1


def _check_scalar(piece: str) -> None:
    """Read a scalar again, for the error that reading it raises."""
    if piece.startswith('"'):
        _read_text(piece)
    elif piece.lstrip("-")[:1].isdigit():
        read_float(piece) if set("eE.") & set(piece) else read_integer(piece)
    elif piece not in {"true", "false", "null"}:
        refuse_not_finite(piece)


def _add_key(tree: PlaceTree, key: str, place: LineColumn) -> str:
    if key in tree.keys:
        raise _RepeatedKeyError(f"duplicate key {key!r}: first on line {tree.keys[key][0]}")
    tree.keys[key] = place
    return key


def json_places(text: str, source: str) -> PlaceTree:
    """Place of every key and value of a text that is JSON by its grammar.

    Raises
    ------
    SpecError
        At the first duplicate key, number that is not finite or out of range, or text that is no text.
    """
    lines = _Lines(text)
    root = PlaceTree((1, 1))
    stack: list[tuple[PlaceTree, bool]] = []
    steps: list[PathStep | None] = []
    for match in _PIECE.finditer(text):
        piece, place = match[0], lines.place(match.start())
        try:
            if piece in "]}":
                stack.pop()
                steps.pop()
            elif piece == ",":
                top, is_list = stack[-1]
                steps[-1] = len(top.children) if is_list else None
            elif piece == ":":
                continue
            elif stack and steps[-1] is None:
                steps[-1] = _add_key(stack[-1][0], _read_text(piece), place)
            else:
                tree = PlaceTree(place)
                if not stack:
                    root = tree
                elif steps[-1] is not None:
                    stack[-1][0].children[steps[-1]] = tree
                if piece in "[{":
                    stack.append((tree, piece == "["))
                    steps.append(0 if piece == "[" else None)
                else:
                    _check_scalar(piece)
        except (_RepeatedKeyError, ScalarError) as error:
            field = dotted(step for step in steps if step is not None)
            raise SpecError(Fault(source, *place, field, str(error))) from None
    return root


def _depth(data: Any) -> int:  # noqa: ANN401 - whatever JSON holds
    level, depth = [data], 0
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        if depth > DEEPEST:
            break
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return depth


def read_json(text: str, source: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Plain data of a JSON text.

    Raises
    ------
    SpecError
        Not JSON, a duplicate key, NaN or infinity, a number out of range, or nested too deeply.
    """
    if not text.strip():
        raise SpecError(Fault(source, None, None, None, "is empty"))
    try:
        data = json.loads(
            text,
            object_pairs_hook=_pairs,
            parse_constant=refuse_not_finite,
            parse_float=read_float,
            parse_int=read_integer,
        )
    except json.JSONDecodeError as error:
        raise _not_json(error, text, source) from None
    except (_RepeatedKeyError, ScalarError) as error:
        _check_grammar(text, source)
        json_places(text, source)
        raise SpecError(Fault(source, None, None, None, str(error))) from None
    except RecursionError:
        raise _too_deep(text, source) from None
    if _depth(data) > DEEPEST:
        raise _too_deep(text, source)
    if _SURROGATE.search(text):
        json_places(text, source)
    return data


def _not_json(error: json.JSONDecodeError, text: str, source: str) -> SpecError:
    # Python 3.13 stands at the comma, those before at what follows it.
    following = text[error.pos :].lstrip(", \t\r\n")
    before = text[: error.pos + (text[error.pos : error.pos + 1] == ",")].rstrip()
    if before.endswith(",") and following[:1] in {"}", "]"}:
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n") - 1
        return SpecError(Fault(source, line, column, None, f"not valid JSON: a comma before {following[0]!r}"))
    truncated = not text[error.pos :].strip() or error.msg.startswith("Unterminated")
    message = "not valid JSON: ends too early" if truncated else f"not valid JSON: {_lower_first(error.msg)}"
    return SpecError(Fault(source, error.lineno, error.colno, None, message))


def _check_grammar(text: str, source: str) -> None:
    """Refuse what is not JSON at all: places are only found in what is, and a bad number may come first."""
    try:
        json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
    except json.JSONDecodeError as error:
        raise _not_json(error, text, source) from None
    except RecursionError:
        raise _too_deep(text, source) from None


def _too_deep(text: str, source: str) -> SpecError:
    """The place of the bracket that goes one level too deep."""
    depth, at = 0, 0
    for match in _PIECE.finditer(text):
        depth += (match[0] in "[{") - (match[0] in "]}")
        if depth > DEEPEST:
            at = match.start()
            break
    place = _Lines(text).place(at)
    return SpecError(Fault(source, *place, None, f"nested deeper than {DEEPEST} levels"))


def _lower_first(message: str) -> str:
    return message[:1].lower() + message[1:]
