"""YAML 1.2 to plain data with the place of everything.

Read from the parser's events, so that a hostile file is refused before anything is built from it: duplicate keys, tags,
recursive aliases, aliases that multiply, deep nesting, second documents.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, StringMark, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from optimizer.errors import Fault, SpecError
from optimizer.readers.places import LineColumn, PathStep, PlaceTree, dotted
from optimizer.readers.scalars import HALF_CHARACTER, ScalarError, is_text, read_plain

LARGEST_TEXT = 4 * 2**20
DEEPEST = 64
MOST_VALUES = 1_000_000


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not been seen."""

    value: dict[str, Any] | list[Any]
    tree: PlaceTree
    anchor: str | None
    size: int = 1
    key: str | None = None


@dataclass(slots=True)
class _Anchored:
    value: Any
    tree: PlaceTree
    size: int


def _place(event: Event) -> LineColumn:
    return event.start_mark.line + 1, event.start_mark.column + 1


@dataclass(slots=True)
class _Builder:
    source: str
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, _Anchored] = field(default_factory=dict)
    root: _Anchored | None = None
    documents: int = 0

    def refuse(self, place: LineColumn, message: str) -> SpecError:
        return SpecError(Fault(self.source, *place, dotted(self._path()), message))

    def _path(self) -> Iterator[PathStep]:
        for open_ in self.stack:
            if isinstance(open_.value, list):
                yield len(open_.value)
            elif open_.key is not None:
                yield open_.key

    def take(self, event: Event) -> None:
        if isinstance(event, DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise self.refuse(_place(event), "a second document: one file holds one")
        elif isinstance(event, CollectionEndEvent):
            self._close()
        elif isinstance(event, NodeEvent):
            self._node(event)

    def _node(self, event: NodeEvent) -> None:
        place = _place(event)
        if isinstance(event, AliasEvent):
            self._alias(event, place)
            return
        if not isinstance(event, ScalarEvent | MappingStartEvent | SequenceStartEvent):
            return
        if event.tag is not None:
            raise self.refuse(place, f"tags such as {event.tag} are not supported")
        if isinstance(event, ScalarEvent):
            self._scalar(event, place)
            return
        if self._awaits_key():
            raise self.refuse(place, "a key must be text, not a list or a mapping")
        if len(self.stack) >= DEEPEST:
            raise self.refuse(place, f"nested deeper than {DEEPEST} levels")
        if isinstance(event, MappingStartEvent):
            self.stack.append(_Open({}, PlaceTree(place), event.anchor))
        elif isinstance(event, SequenceStartEvent):
            self.stack.append(_Open([], PlaceTree(place), event.anchor))

    def _scalar(self, event: ScalarEvent, place: LineColumn) -> None:
        if not is_text(event.value):
            raise self.refuse(place, HALF_CHARACTER)
        if self._awaits_key():
            self._key(event.value, place)
            return
        value: Any = event.value
        # A quoted or block scalar is text whatever it looks like.
        if event.style is None or event.style == "":
            try:
                value = read_plain(event.value)
            except ScalarError as error:
                raise self.refuse(place, str(error)) from None
        self._add(_Anchored(value, PlaceTree(place), 1), event.anchor)

    def _awaits_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is None

    def _key(self, key: str, place: LineColumn) -> None:
        top = self.stack[-1]
        if key in top.tree.keys:
            first = top.tree.keys[key]
            raise self.refuse(place, f"duplicate key {key!r}: first on line {first[0]}")
        if key == "<<":
            raise self.refuse(place, "merge keys (<<) are not part of YAML 1.2")
        top.tree.keys[key] = place
        top.key = key

    def _alias(self, event: AliasEvent, place: LineColumn) -> None:
        if self._awaits_key():
            raise self.refuse(place, "a key must be text, not an alias")
        if any(open_.anchor == event.anchor for open_ in self.stack):
            raise self.refuse(place, f"alias *{event.anchor} contains itself")
        anchored = self.anchors.get(event.anchor)
        if anchored is None:
            raise self.refuse(place, f"alias *{event.anchor} has no anchor")
        self._add(anchored, None)

    def _close(self) -> None:
        top = self.stack.pop()
        self._add(_Anchored(top.value, top.tree, top.size), top.anchor)

    def _add(self, item: _Anchored, anchor: str | None) -> None:
        if anchor is not None:
            self.anchors[anchor] = item
        if not self.stack:
            self.root = item
            return
        top = self.stack[-1]
        top.size += item.size
        if top.size > MOST_VALUES:
            raise self.refuse(item.tree.place, f"more than {MOST_VALUES:,} values once its aliases are expanded")
        if isinstance(top.value, list):
            top.tree.children[len(top.value)] = item.tree
            top.value.append(item.value)
        elif top.key is not None:
            top.tree.children[top.key] = item.tree
            top.value[top.key] = item.value
            top.key = None


def _syntax_fault(text: str, source: str, error: YAMLError) -> Fault:
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        message = " ".join(str(part) for part in (error.context, error.problem) if part) or "cannot be parsed"
        if "'\\t'" in message:
            message += " (indent with spaces)"
        line, column = (mark.line + 1, mark.column + 1) if isinstance(mark, StringMark) else (None, None)
        return Fault(source, line, column, None, f"not valid YAML: {message}")
    if isinstance(error, ReaderError):
        code = error.character if isinstance(error.character, int) else ord(str(error.character)[:1] or "\0")
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        return Fault(source, line, column, None, f"not valid YAML: character U+{code:04X} is not allowed")
    return Fault(source, None, None, None, f"not valid YAML: {error}")


def _events(text: str, source: str) -> Iterator[Event]:
    seen = 1
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            seen = event.end_mark.line + 1
            yield event
    except YAMLError as error:
        raise SpecError(_syntax_fault(text, source, error)) from None
    except (ValueError, OverflowError):
        # The parser hands the number of an escape such as "\\Uffffffff" to chr() unchecked.
        raise SpecError(Fault(source, seen, None, None, "not valid YAML: an escape names no character")) from None


def read_yaml(text: str, source: str) -> tuple[Any, PlaceTree]:
    """Plain data of a YAML text and the place of everything in it.

    Raises
    ------
    SpecError
        Not YAML 1.2, empty, or one of the constructs that this reader refuses.
    """
    if len(text) > LARGEST_TEXT:
        raise SpecError(Fault(source, None, None, None, f"is larger than {LARGEST_TEXT // 2**20} MiB of YAML"))
    builder = _Builder(source)
    for event in _events(text, source):
        builder.take(event)
    if builder.root is None:
        raise SpecError(Fault(source, None, None, None, "is empty"))
    return builder.root.value, builder.root.tree
