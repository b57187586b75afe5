"""Arguments of commands that know where each of their characters stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from optimizer.readers.places import LineColumn


@dataclass(frozen=True, slots=True)
class Word:
    """One argument.

    Attributes
    ----------
    places
        Line and column of every character of `text`.
    start
        Where the word begins, its quotes included.
    unset
        What in it only the running shell knows: a variable without a value, a command's output, a placeholder.
    quoted
        Whether a quote opens it.
    """

    text: str
    places: tuple[LineColumn, ...]
    start: LineColumn
    unset: tuple[str, ...] = ()
    quoted: bool = False

    def place(self, offset: int = 0) -> LineColumn:
        """Line and column of the character at `offset`."""
        return self.places[offset] if offset < len(self.places) else self.start

    def part(self, first: int, last: int | None = None) -> Word:
        """Characters from `first` up to `last`."""
        places = self.places[first:last]
        return Word(self.text[first:last], places, places[0] if places else self.start, self.unset, self.quoted)


def placed_word(text: str, place: LineColumn) -> Word:
    """A word of one line that begins at a place."""
    line, column = place
    return Word(text, tuple((line, column + i) for i in range(len(text))), place)


def places_of(text: str, first: LineColumn = (1, 1)) -> tuple[LineColumn, ...]:
    """Line and column of every character of a text that begins at a place; later lines begin in column 1."""
    line, column = first
    places = []
    for character in text:
        places.append((line, column))
        line, column = (line + 1, 1) if character == "\n" else (line, column + 1)
    return tuple(places)


def split_word(word: Word) -> Iterator[Word]:
    """Words of an unquoted variable's value; quotes within it group, as authors mean them to."""
    if word.unset:
        yield word
        return
    for match in re.finditer(r"'([^']*)'|\"([^\"]*)\"|(?:\\[\r\n]+|\s)+|[^\s'\"\\]+|\\.|['\"\\]", word.text):
        inner = 1 if match[1] is not None else 2 if match[2] is not None else 0
        text = match[inner]
        if inner or (text.strip() and not text.startswith("\\")):
            yield word.part(match.start(inner), match.end(inner))


_SEQUENCE = re.compile(r"\{(\d{1,4})\.\.(\d{1,4})\}|\$\(seq(?: -[ws] ?\S*)? (\d{1,4})(?: (\d{1,4}))?\)")


def listed(word: Word) -> Iterator[Word]:
    """The words that a word stands for in the list of a loop: ``{0..3}`` and ``$(seq 0 3)`` are four."""
    match = _SEQUENCE.fullmatch(word.text)
    if match is None:
        yield word
        return
    first, last = (match[1], match[2]) if match[1] else (match[3], match[4]) if match[4] else ("1", match[3])
    for number in range(int(first), int(last) + 1):
        text = str(number)
        yield Word(text, (word.start,) * len(text), word.start)
