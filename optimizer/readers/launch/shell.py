"""Shell text as commands of words that know where each of their characters stands.

What a script does to its arguments before an engine sees them: quotes, continued lines, variables, arrays, defaults,
whole-number arithmetic, here-documents. Nothing is run: what only a running shell could tell stays open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from optimizer.errors import Fault, SpecError
from optimizer.readers.launch.arithmetic import reckoned
from optimizer.readers.launch.words import Word, listed, places_of, split_word
from optimizer.readers.places import LineColumn

LONGEST_TEXT = 2**20
"""Characters of a text, and of what its variables may grow to."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PARAMETER = re.compile(r"\d+|[@*]")
"""What a script is given, or what `set --` gives in its place."""
_ALL_OF_ARRAY = re.compile(r'"\$(?:\{([A-Za-z_]\w*)\[@\]\}|\{?(@)\}?)"')
_ASSIGNED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\[[^]]*\])?\+?=")
_BEFORE_COMMANDS = frozenset({"do", "then", "else", "{"})
_PLACEHOLDER = re.compile(r"<[A-Za-z][\w .:/-]*>")


@dataclass(frozen=True, slots=True)
class Command:
    """A simple command: its words, and the variables set before it or exported to it."""

    words: tuple[Word, ...]
    environment: dict[str, Word] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Script:
    """Commands in order, and the here-documents by the file that they are written to."""

    commands: tuple[Command, ...]
    files: dict[str, tuple[str, LineColumn]]


def read_script(
    text: str, source: str, places: Sequence[LineColumn] | None = None, known: dict[str, Word] | None = None
) -> Script:
    """Commands of a shell text.

    Parameters
    ----------
    places
        Where each character stands, for a text within a file.
    known
        Variables that are set before it begins.

    Raises
    ------
    SpecError
        A quote or a bracket that is never closed, a line continued past the end, a text that grows without end.
    """
    if len(text) > LONGEST_TEXT:
        raise SpecError(Fault(source, None, None, None, "is too long for a launch command"))
    return _ShellReader(text, source, places_of(text) if places is None else tuple(places), dict(known or {})).read()


@dataclass(slots=True)
class _Piece:
    """A word as it is put together."""

    start: LineColumn
    text: list[str] = field(default_factory=list)
    places: list[LineColumn] = field(default_factory=list)
    unset: list[str] = field(default_factory=list)
    quoted: bool = False

    def add(self, character: str, place: LineColumn) -> None:
        self.text.append(character)
        self.places.append(place)

    def word(self) -> Word:
        return Word("".join(self.text), tuple(self.places), self.start, tuple(self.unset), self.quoted)


class _ShellReader:
    """One pass over the text; variables take the value that they have where they are used."""

    def __init__(self, text: str, source: str, places: tuple[LineColumn, ...], known: dict[str, Word]) -> None:
        self.text, self.source, self.places = text, source, places
        self.at, self.grown = 0, 0
        self.variables: dict[str, list[Word]] = {name: [word] for name, word in known.items()}
        self.exported = dict(known)
        self.pending: list[tuple[str, bool, str | None]] = []
        self.files: dict[str, tuple[str, LineColumn]] = {}

    def place(self, at: int | None = None) -> LineColumn:
        index = self.at if at is None else at
        if index < len(self.places):
            return self.places[index]
        return self.places[-1] if self.places else (1, 1)

    def refuse(self, place: LineColumn, message: str) -> SpecError:
        return SpecError(Fault(self.source, *place, None, message))

    def read(self) -> Script:
        return Script(tuple(self._commands(None)), self.files)

    def _commands(self, end: str | None) -> Iterator[Command]:
        """Commands up to the word that ends a loop."""
        while self.at < len(self.text):
            words: list[Word] = []
            while self._word(words):
                pass
            while words and words[0].text in _BEFORE_COMMANDS:
                words.pop(0)
            first = words[0].text if words else ""
            if first and first == end:
                return
            if first in {"for", "while", "until"}:
                yield from self._loop(words)
                continue
            command = self._command(words) if words else Command(())
            if command.words:
                yield command

    def _loop(self, words: list[Word]) -> Iterator[Command]:
        """The commands of a loop, for each of the words that it runs over; once where they are not known."""
        start, values = self.at, list[Word]()
        if [word.text for word in words[2:3]] == ["in"]:
            values = [value for word in words[3:] for value in listed(word)]
        if not values or any(value.unset for value in values):
            yield from self._commands("done")
            return
        for value in values:
            self.at = start
            self.variables[words[1].text] = [value]
            yield from self._commands("done")
            self.grown += self.at - start
            if self.grown > LONGEST_TEXT:
                raise self.refuse(words[0].start, f"this loop grows beyond {LONGEST_TEXT:,} characters")

    def _word(self, words: list[Word]) -> bool:
        """Add the next words, if any, to a command; False at its end."""
        self._blanks()
        if self.at >= len(self.text):
            return False
        character = self.text[self.at]
        if character == "#":
            end = self.text.find("\n", self.at)
            self.at = len(self.text) if end < 0 else end
            return True
        if character in "\n;&|()":
            self.at += 1
            if character == "\n":
                self._documents()
            return False
        if character in "<>":
            return self._redirect(words)
        if character.isdigit() and re.match(r"\d+[<>]", self.text[self.at : self.at + 4]):
            self.at += re.match(r"\d+", self.text[self.at :]).end()  # type: ignore[union-attr]
            return self._redirect(words)
        words.extend(self._one())
        return True

    def _blanks(self) -> None:
        while self.at < len(self.text):
            if self.text[self.at] in " \t\r":
                self.at += 1
            elif self.text.startswith("\\\n", self.at) or self.text.startswith("\\\r\n", self.at):
                end = self.text.index("\n", self.at) + 1
                if not self.text[end:].strip():
                    raise self.refuse(self.place(), "the last line is continued (\\), but nothing follows: cut off?")
                self.at = end
            elif self.text[self.at] == "\\" and not self.text[self.at + 1 :].strip():
                raise self.refuse(self.place(), "the last line is continued (\\), but nothing follows: cut off?")
            elif re.match(r"\\[ \t]+\r?\n", self.text[self.at :]):
                message = "blanks after \\ end the command here: the next line is not part of it"
                raise self.refuse(self.place(), message)
            else:
                return

    def _redirect(self, words: list[Word]) -> bool:
        placeholder = _PLACEHOLDER.match(self.text, self.at)
        if placeholder is not None:
            words.extend(self._one())
            return True
        document = re.match(r"<<(-?)\s*(['\"]?)([A-Za-z_]\w*)\2", self.text[self.at :])
        if document is not None and not self.text.startswith("<<<", self.at):
            self.at += document.end()
            line = self.text[self.at : self.text.find("\n", self.at)]
            target = re.search(r">>?\s*(\S+)", line)
            self.pending.append((document[3], document[1] == "-", target[1] if target else self._target))
            return True
        operator_ = re.match(r"[<>&|]+", self.text[self.at :])
        self.at += operator_.end() if operator_ else 1
        self._blanks()
        if self.at < len(self.text) and self.text[self.at] not in "\n;&|()<>":
            target_words = self._one()
            self._target = target_words[0].text if target_words else None
            if words and words[0].text == "tee":
                self._target = words[-1].text
        return True

    _target: str | None = None

    def _documents(self) -> None:
        for end, stripped, target in self.pending:
            first = self.at
            while self.at < len(self.text):
                stop = self.text.find("\n", self.at)
                stop = len(self.text) if stop < 0 else stop
                line = self.text[self.at : stop]
                if (line.lstrip("\t") if stripped else line).strip() == end:
                    if target is not None:
                        self.files[target] = (self.text[first : self.at], self.place(first))
                    self.at = min(len(self.text), stop + 1)
                    break
                self.at = stop + 1
            else:
                raise self.refuse(self.place(first - 1), f"the here-document is never closed by {end}: cut off?")
        self.pending.clear()
        self._target = None

    def _one(self) -> list[Word]:  # noqa: PLR0912 - a branch for each of the shell's quotes
        """The word that begins here; several where an unquoted variable holds several."""
        piece, words = _Piece(self.place()), list[Word]()
        first = self.at
        while self.at < len(self.text):
            character = self.text[self.at]
            if character in " \t\r\n;&|()":
                if character == "(" and _ASSIGNED.fullmatch(self.text[first : self.at]):
                    return self._array(first)
                break
            if character in "<>":
                placeholder = _PLACEHOLDER.match(self.text, self.at)
                if placeholder is None:
                    break
                piece.unset.append(placeholder[0])
                self._copy(piece, placeholder.end())
            elif character == "\\":
                if self.text.startswith(("\\\n", "\\\r\n"), self.at):
                    break
                if self.at + 1 < len(self.text):
                    piece.add(self.text[self.at + 1], self.place(self.at + 1))
                self.at += 2
            elif character == "'":
                self._single(piece)
            elif character == '"':
                elements = None if piece.text else self._elements()
                if elements is None:
                    self._double(piece)
                else:
                    words.extend(elements)
            elif character in "$`":
                words.extend(self._expand(piece, split=True))
            else:
                self._copy(piece, self.at + 1)
        if piece.text or piece.quoted or not words:
            words.append(piece.word())
        return [word for word in words if word.text or word.quoted or word.unset]

    def _copy(self, piece: _Piece, end: int) -> None:
        while self.at < end:
            piece.add(self.text[self.at], self.place())
            self.at += 1

    def _single(self, piece: _Piece) -> None:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            raise self.refuse(self.place(), "this quote is never closed: is the command cut off?")
        piece.quoted |= not piece.text
        self.at += 1
        self._copy(piece, end)
        self.at = end + 1

    def _elements(self) -> list[Word] | None:
        """The words of an array that stands alone in double quotes, each as it is; None of anything else."""
        match = _ALL_OF_ARRAY.match(self.text, self.at)
        value = None if match is None else self.variables.get(match[1] or match[2])
        if match is None or value is None:
            return None
        self.grown += sum(len(word.text) for word in value) + 1
        if self.grown > LONGEST_TEXT:
            raise self.refuse(self.place(), f"${match[1]} grows beyond {LONGEST_TEXT:,} characters")
        self.at = match.end()
        return value

    def _double(self, piece: _Piece) -> None:
        opened = self.place()
        piece.quoted |= not piece.text
        self.at += 1
        while self.at < len(self.text):
            character = self.text[self.at]
            if character == '"':
                self.at += 1
                return
            if character == "\\" and self.at + 1 < len(self.text):
                following = self.text[self.at + 1]
                if following == "\n":
                    self.at += 2
                    continue
                if following not in '"\\$`':
                    self._copy(piece, self.at + 1)
                    continue
                piece.add(following, self.place(self.at + 1))
                self.at += 2
            elif character in "$`":
                self._expand(piece, split=False)
            else:
                self._copy(piece, self.at + 1)
        raise self.refuse(opened, "this quote is never closed: is the command cut off?")

    def _expand(self, piece: _Piece, *, split: bool) -> list[Word]:
        """What a variable holds, put into the word; whole words where an unquoted one holds several."""
        opened = self.at
        if self.text[self.at] == "`":
            return self._open(piece, self._closing(self.at, "`", "`"))
        text = self.text[self.at :]
        if text.startswith("$(("):
            end = self.text.find("))", self.at)
            if end < 0:
                raise self.refuse(self.place(), "$(( is never closed: is the command cut off?")
            return self._reckon(piece, self.text[opened + 3 : end], end + 2)
        if text.startswith("$("):
            return self._open(piece, self._closing(self.at + 1, "(", ")"))
        if text.startswith("${"):
            end = self._closing(self.at + 1, "{", "}")
            return self._braced(piece, self.text[self.at + 2 : end - 1], end, split=split)
        name = _NAME.match(text, 1) or re.compile(r"[\d@*]").match(text, 1)
        if name is None:
            if len(text) > 1 and text[1] in "#?$!":
                return self._open(piece, self.at + 2)
            self._copy(piece, self.at + 1)
            return []
        return self._value(piece, name[0], None, self.at + name.end(), split=split)

    def _open(self, piece: _Piece, end: int) -> list[Word]:
        """What only a running shell knows: kept as it is written."""
        piece.unset.append(self.text[self.at : end])
        self._copy(piece, end)
        return []

    def _closing(self, at: int, opening: str, closing: str) -> int:
        depth = 0
        for index in range(at, len(self.text)):
            if self.text[index] == closing and (depth or index > at):
                depth -= opening != closing
                if depth <= 0:
                    return index + 1
            elif self.text[index] == opening:
                depth += opening != closing
        raise self.refuse(self.place(at), f"{opening} is never closed: is the command cut off?")

    def _braced(self, piece: _Piece, inner: str, end: int, *, split: bool) -> list[Word]:
        name = _NAME.match(inner) or _PARAMETER.match(inner)
        if name is None:
            return self._open(piece, end)
        operation = inner[name.end() :]
        if operation in {"[@]", "[*]"}:
            operation = ""
        default = re.fullmatch(r":?[-=](.*)", operation, re.DOTALL)
        if operation and default is None:
            return self._open(piece, end)
        if default is None:
            return self._value(piece, name[0], None, end, split=split)
        first = self.at + 2 + len(inner) - len(default[1])
        nested = _ShellReader(default[1], self.source, self.places[first : first + len(default[1])], {})
        nested.variables = self.variables
        words: list[Word] = []
        while nested.at < len(nested.text) and nested._word(words):
            pass
        return self._value(piece, name[0], words, end, split=split)

    def _value(self, piece: _Piece, name: str, default: list[Word] | None, end: int, *, split: bool) -> list[Word]:
        value = self.variables.get(name)
        if not value or not any(word.text for word in value):
            value = default if default is not None else value
        if value is None:
            return self._open(piece, end)
        self.grown += sum(len(word.text) for word in value) + 1
        if self.grown > LONGEST_TEXT:
            raise self.refuse(self.place(), f"${name} grows beyond {LONGEST_TEXT:,} characters")
        self.at = end
        words = [part for word in value for part in (split_word(word) if split else [word])]
        if split and len(words) > 1 and not piece.text:
            return words
        for index, word in enumerate(words):
            if index:
                piece.add(" ", word.start)
            for character, place in zip(word.text, word.places, strict=True):
                piece.add(character, place)
            piece.unset.extend(word.unset)
        return []

    def _reckon(self, piece: _Piece, text: str, end: int) -> list[Word]:
        """Whole-number arithmetic whose variables are set."""
        place = self.place()
        plain = re.sub(r"\$\{?([A-Za-z_]\w*)(?::-(\d+))?\}?|\b([A-Za-z_]\w*)\b", self._number, text)
        value = reckoned(plain)
        if value is None:
            return self._open(piece, end)
        for digit in str(value):
            piece.add(digit, place)
        self.at = end
        return []

    def _number(self, match: re.Match[str]) -> str:
        value = self.variables.get(match[1] or match[3])
        if value and len(value) == 1 and not value[0].unset:
            return value[0].text
        return match[2] or match[0]

    def _array(self, first: int) -> list[Word]:
        name = _ASSIGNED.match(self.text, first)
        opened = self.place()
        self.at += 1
        words: list[Word] = []
        while True:
            while self._more_of_array():
                self.at += 1
            if self.at >= len(self.text):
                raise self.refuse(opened, "this list is never closed: is the command cut off?")
            if self.text[self.at] == ")":
                self.at += 1
                break
            if self.text[self.at] == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
                continue
            before = self.at
            words.extend(self._one())
            # Brackets and redirections have no place in a list.
            self.at += self.at == before
        if name is not None:
            earlier = self.variables.get(name[1], []) if name[0].endswith("+=") else []
            self.variables[name[1]] = [*earlier, *words]
        return []

    def _more_of_array(self) -> bool:
        self._blanks()
        return self.at < len(self.text) and self.text[self.at] in "\n;&|"

    def _command(self, words: list[Word]) -> Command:
        """A command, its leading assignments kept apart; assignments alone set variables."""
        environment: dict[str, Word] = {}
        index = 0
        while index < len(words):
            assigned = _ASSIGNED.match(words[index].text)
            if words[index].text in {"export", "declare", "local", "readonly", "env", "typeset"} and (
                index + 1 < len(words)
            ):
                index += 1
                continue
            if assigned is None or assigned[2]:
                break
            environment[assigned[1]] = words[index].part(assigned.end())
            index += 1
        if index == len(words) or words[index - 1 if index else 0].text == "export":
            for name, value in environment.items():
                self.variables[name] = [value]
                self.exported[name] = value
            return Command(())
        if words[index].text in {"set", "shift"}:
            self._give(words[index:])
            return Command(())
        return Command(tuple(words[index:]), {**self.exported, **environment})

    def _give(self, words: list[Word]) -> None:
        """What a script is given: all that follows `set --`, without the first ones that `shift` takes."""
        given = self.variables.get("@", [])
        if words[0].text == "shift":
            count = words[1].text if words[1:] else "1"
            given = given[int(count) :] if count.isdigit() else given
        elif "--" in (texts := [word.text for word in words]):
            given = words[texts.index("--") + 1 :]
        else:
            return
        for name in [name for name in self.variables if name.isdigit()]:
            del self.variables[name]
        self.variables |= {"@": given, "*": given} | {str(number): [word] for number, word in enumerate(given, 1)}
