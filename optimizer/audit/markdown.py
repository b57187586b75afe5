"""Markdown to segments: markdown-it-py finds the blocks; text comes from the source, so that columns are exact."""

import re
from collections.abc import Callable, Iterator
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, blockquote, fence, heading, hr, html_block, list_block
from markdown_it.token import Token

from optimizer.audit.document import DataBlock, Kind, MarkdownDocument, Segment
from optimizer.audit.inline import BREAK, blank, has_digit

_LINE_END = re.compile(r"\r\n|\n|\r")
_FRONT_MATTER = re.compile(r"\A---[ \t]*$")
_FRONT_END = re.compile(r"\A(?:---|\.\.\.)[ \t]*$")
_DELIMITER = re.compile(r"^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_MARKER = re.compile(r"[ \t]*(?:[-+*•‣◦▪–]|\d{1,9}[.)])(?:[ \t]+|$)")
_QUOTE = re.compile(r"[ \t]*>[ \t]?")
_TASK = re.compile(r"\[[ xX]\][ \t]+")
_LABEL = re.compile(r"^\W{0,8}[A-Za-z][^:=.;|]{0,60}:(?:\s|$|\*)")
_SIGNED = re.compile(r"^\s*(?:[•‣◦▪]|[\u2600-\u27bf\U0001f300-\U0001faff])")
_DASHED = re.compile(r"^\s*[–—]\s")
_STATED = re.compile(r"[=≈:]\s*\S")
_PIPE = re.compile(r"(?<!\\)\|")
_COMMENT = re.compile(r"^(\s*)(?:#+!?|//+|--|%|;+)(?=\s)")
_HASH = re.compile(r"(?<=\s)#+(?=\s)")
_PYTHON: Final = {"python", "py", "python3", "pycon"}
_TRAILING_COMMENT = re.compile(r"(?<=\s)(?:#+|//+)(?=\s)")
_CONTINUES = re.compile(r"^\s*(?:[=≈→×÷+/]|\*(?!\*)|->|=>|~=|-\s)")
_UNFINISHED = re.compile(r"(?:[=≈→×÷+*/(]|\s[x-])\s*$")
_DATA: Final = {"yaml", "yml", "json", "jsonc"}
_RULED: Final = re.compile(r"[-*_][ \t]*[-*_][ \t]*[-*_]")
_UNDERLINED: Final = re.compile(r"[-=][ \t]*$", re.MULTILINE)
_LONGEST_STRUCTURE: Final = 2000
"""Characters of a line shown to the block parser: structure stands at its start, and megabyte lines cost nothing."""


def _table(state: StateBlock, start: int, end: int, silent: bool) -> bool:  # noqa: FBT001 - the parser's signature
    """Pipe table as one token (the stock rule makes seven per cell)."""
    if start + 1 >= end or state.sCount[start + 1] < state.blkIndent or state.is_code_block(start):
        return False
    header = state.src[state.bMarks[start] + state.tShift[start] : state.eMarks[start]]
    delimiter = state.src[state.bMarks[start + 1] + state.tShift[start + 1] : state.eMarks[start + 1]]
    if "|" not in header or "|" not in delimiter or _DELIMITER.match(delimiter) is None:
        return False
    if silent:
        return True
    following = start + 2
    while following < end:
        at, stop = state.bMarks[following] + state.tShift[following], state.eMarks[following]
        if at >= stop or state.sCount[following] < state.blkIndent or "|" not in state.src[at:stop]:
            break
        following += 1
    token = state.push("pipe_table", "", 0)
    token.map = [start, following]
    state.line = following
    return True


def _ruled(state: StateBlock, start: int, end: int, silent: bool) -> bool:  # noqa: FBT001 - the parser's signature
    """Stock rule for a ruled line, asked only where a line has nothing but its signs."""
    at, stop = state.bMarks[start] + state.tShift[start], state.eMarks[start]
    return _RULED.match(state.src, at, stop) is not None and hr(state, start, end, silent)


_Rule = Callable[[StateBlock, int, int, bool], bool]
_ENDS_PARAGRAPH: Final = ("paragraph", "reference", "blockquote")
_ENDS_ANY: Final = (*_ENDS_PARAGRAPH, "list")
_GATED: Final[tuple[tuple[str, _Rule, str, tuple[str, ...]], ...]] = (
    ("fence", fence, "`~", _ENDS_ANY),
    ("blockquote", blockquote, ">", _ENDS_ANY),
    ("hr", _ruled, "*-_", _ENDS_ANY),
    ("list", list_block, "*+-0123456789", _ENDS_PARAGRAPH),
    ("html_block", html_block, "<", _ENDS_PARAGRAPH),
    ("heading", heading, "#", _ENDS_PARAGRAPH),
)
"""Stock rules, the signs each needs at the start of a line, and what it may interrupt (as in the stock parser)."""


def _gated(rule: _Rule, first: str) -> _Rule:
    """``rule``, asked only where the line begins with one of ``first``: most lines are prose."""

    def asked(state: StateBlock, start: int, end: int, silent: bool) -> bool:  # noqa: FBT001 - the parser's signature
        at = state.bMarks[start] + state.tShift[start]
        return at < state.eMarks[start] and state.src[at] in first and rule(state, start, end, silent)

    return asked


def _parser(text: str) -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"maxNesting": 40})
    parser.core.ruler.enableOnly(["normalize", "block"])
    parser.block.ruler.before("paragraph", "pipe_table", _table, {"alt": ["paragraph", "reference"]})
    # A title is underlined by a line that ends with the sign: without one, no paragraph need be searched for it.
    parser.disable(["reference"] if _UNDERLINED.search(text) else ["reference", "lheading"])
    for name, rule, first, ends in _GATED:
        parser.block.ruler.at(name, _gated(rule, first), {"alt": list(ends)})
    return parser


def read_document(source: str) -> MarkdownDocument:
    """Read ``source`` (Markdown, or plain text) into segments with exact lines and columns; never raises."""
    lines = _LINE_END.split(source)
    return MarkdownDocument(source, tuple(lines), *_Reader(lines).read())


class _Reader:
    """Walks the block tokens once, in order."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.segments: list[Segment] = []
        self.data: list[DataBlock] = []
        self.section: list[tuple[int, str]] = []
        self.block = 0
        self.openings: dict[int, int] = {}
        self.before = ""
        self.heading = 0

    def read(self) -> tuple[tuple[Segment, ...], tuple[DataBlock, ...]]:
        first = self._front_matter()
        shown = [""] * first + [line[:_LONGEST_STRUCTURE].replace("\x00", " ") for line in self.lines[first:]]
        covered = first
        text = "\n".join(shown)
        tokens = _parser(text).parse(text)
        for token in tokens:
            if token.type in {"list_item_open", "blockquote_open"} and token.map:
                self.openings[token.map[0]] = self.openings.get(token.map[0], 0) + 1
        for token in tokens:
            if token.map is None or token.nesting < 0:
                continue
            if token.type in {"inline", "fence", "code_block", "html_block", "pipe_table"}:
                start, stop = token.map
                if start > covered:
                    self._uncovered(covered, start)
                covered = max(covered, stop)
                self.block += 1
                self._take(token, start, min(stop, len(self.lines)))
        self._uncovered(covered, len(self.lines))
        return tuple(self.segments), tuple(self.data)

    def _front_matter(self) -> int:
        if _FRONT_MATTER.match(self.lines[0]) is None:
            return 0
        for number in range(1, len(self.lines)):
            if _FRONT_END.match(self.lines[number]):
                self.data.append(DataBlock("\n".join(self.lines[1:number]), 2, "yaml"))
                return number + 1
        return 0

    def _uncovered(self, start: int, stop: int) -> None:
        """Lines the block parser gave up on (nested too deeply): read as plain text, nothing is lost."""
        for number in range(start, stop):
            if has_digit(self.lines[number]):
                self.block += 1
                self.openings[number] = len(self.lines[number])
                self._paragraph(number, number + 1)

    def _take(self, token: Token, start: int, stop: int) -> None:
        if token.type == "inline":
            if token.level and self._heading(token, start, stop):
                return
            self._paragraph(start, stop)
        elif token.type == "fence":
            closed = stop - 1 > start and self.lines[stop - 1].strip(" \t>").startswith(token.markup[:3])
            self._code(start + 1, stop - 1 if closed else stop, token.info.strip().split(" ")[0].lower())
        elif token.type == "code_block":
            self._code(start, stop, "")
        elif token.type == "html_block":
            self._html(start, stop)
        else:
            self._pipe_table(start, stop)

    def _titles(self) -> tuple[str, ...]:
        """Titles down to here, and a mark that tells apart two sections of the same title."""
        return (*(title for _, title in self.section), f"{BREAK}{self.heading}")

    def _heading(self, token: Token, start: int, stop: int) -> bool:
        line = self.lines[start]
        hashes = re.match(r"^[ \t>]*(?:(?:[-+*]|\d{1,9}[.)])[ \t]+)*(#{1,6})(?:[ \t]|$)", line)
        underline = re.match(r"^[ \t>]*(=+|-+)[ \t]*$", self.lines[stop - 1]) if stop - start > 1 else None
        if hashes is not None and stop - start == 1:
            level, at = len(hashes[1]), hashes.end()
        elif underline is not None:
            level, at = (1 if "=" in underline[1] else 2), self._prefix(start)
        else:
            return False
        text = blank(line[at:])
        while self.section and self.section[-1][0] >= level:
            self.section.pop()
        self.segments.append(Segment(text, ((0, start + 1, at + 1),), Kind.HEADING, self.block, self._titles()))
        self.section.append((level, text.strip().rstrip("# ")))
        self.heading = start + 1
        self.before = ""
        return True

    def _prefix(self, number: int) -> int:
        """Columns taken by quote and list markers at the start of a line."""
        line, at = self.lines[number], 0
        for _ in range(self.openings.get(number, 0)):
            match = _QUOTE.match(line, at) or _MARKER.match(line, at)
            if match is None:
                break
            at = match.end()
        while (match := _QUOTE.match(line, at)) is not None and number not in self.openings and at < 200:
            at = match.end()
        if (match := _TASK.match(line, at)) is not None:
            at = match.end()
        return at

    def _paragraph(self, start: int, stop: int) -> None:
        """Soft-wrapped lines read as one text; a hard break, a label or a leading sign starts another."""
        group: list[tuple[int, int]] = []
        item = start in self.openings
        for number in range(start, stop):
            at = self._prefix(number)
            line = self.lines[number]
            body = line[at:]
            fresh = _LABEL.match(body) or _SIGNED.match(body)
            dashed = _DASHED.match(body) and group and _STATED.search(self.lines[group[-1][0]])
            if group and (dashed or (fresh and not _CONTINUES.match(body))):
                self._emit(group, item=item)
                group = []
            group.append((number, at))
            if line.endswith(("  ", "\\")):
                self._emit(group, item=item)
                group = []
        self._emit(group, item=item)

    def _emit(self, group: list[tuple[int, int]], *, item: bool) -> None:
        if not group:
            return
        parts, pieces, offset = [], [], 0
        for number, at in group:
            body = self.lines[number][at:]
            parts.append(body)
            pieces.append((offset, number + 1, at + 1))
            offset += len(body) + 1
        text = blank("\n".join(parts)).replace("\n", " ")
        number, at = group[0]
        segment = Segment(text, tuple(pieces), Kind.PROSE, self.block, self._titles(), before=self.before, item=item,
                          quoted=">" in self.lines[number][:at])  # fmt: skip
        self.segments.append(segment)
        if text.rstrip().endswith(":"):
            self.before = text.strip()
        elif not item:
            self.before = ""

    def _code(self, start: int, stop: int, language: str) -> None:
        if language in _DATA or not language:
            self.data.append(DataBlock("\n".join(self.lines[start:stop]), start + 1, language))
        for group, removed in self._derivations(start, stop, language):
            parts, pieces, offset = [], [], 0
            for number in group:
                body = self.lines[number]
                if language == "diff" and body[:1] in {"+", "-"}:
                    body = " " + body[1:]
                body = _COMMENT.sub(lambda match: " " * len(match[0]), body.replace("\t", " "))
                body = (_HASH if language in _PYTHON else _TRAILING_COMMENT).sub(
                    lambda match: " " * len(match[0]), body
                )
                parts.append(body)
                pieces.append((offset, number + 1, 1))
                offset += len(body) + 1
            text = " ".join(parts)
            self.segments.append(
                Segment(text, tuple(pieces), Kind.CODE, self.block, self._titles(), before=self.before,
                        language=language, removed=removed, quoted=self.lines[group[0]].lstrip().startswith(">"))
            )  # fmt: skip
        self.before = ""

    def _derivations(self, start: int, stop: int, language: str) -> Iterator[tuple[list[int], bool]]:
        """Lines of code that continue one another: one begins with an operator, or the one before ends with one."""
        group: list[int] = []
        removed = False
        for number in range(start, stop):
            line = _COMMENT.sub(lambda match: " " * len(match[0]), self.lines[number])
            minus = language == "diff" and self.lines[number].startswith("-")
            bullet = re.match(r"^\s*[-*]\s", line) is not None
            joins = (_CONTINUES.match(line) and not bullet) or (group and _UNFINISHED.search(self.lines[group[-1]]))
            if group and joins and language != "diff" and self.lines[group[-1]].strip():
                group.append(number)
                continue
            if group:
                yield group, removed
            group, removed = [number], minus
        if group:
            yield group, removed

    def _html(self, start: int, stop: int) -> None:
        text = blank("\n".join(self.lines[start:stop]))
        for number, body in zip(range(start, stop), text.split("\n"), strict=True):
            pieces = ((0, number + 1, 1),)
            self.segments.append(Segment(body, pieces, Kind.HTML, self.block, self._titles(), before=self.before))

    def _pipe_table(self, start: int, stop: int) -> None:
        header = [blank(text).strip() for _, text in self._cells(start)]
        titles = self._titles()
        for number in (start, *range(start + 2, stop)):
            label = ""
            for index, (at, text) in enumerate(self._cells(number)):
                clear = blank(text)
                column = header[index] if index < len(header) and number != start else ""
                self.segments.append(
                    Segment(clear, ((0, number + 1, at + 1),), Kind.CELL, self.block, titles, label, column,
                            self.before, row=number + 1)
                )  # fmt: skip
                if not index and number != start:
                    label = clear.strip()
        self.before = ""

    def _cells(self, number: int) -> Iterator[tuple[int, str]]:
        line, at = self.lines[number], self._prefix(number)
        stops = [match.start() for match in _PIPE.finditer(line, at)]
        if stops and not line[at : stops[0]].strip():
            at = stops.pop(0) + 1
        escaped = "\\|" in line
        for stop in stops:
            yield at, line[at:stop].replace("\\|", " |") if escaped else line[at:stop]
            at = stop + 1
        if line[at:].strip():
            yield at, line[at:].replace("\\|", " |")
