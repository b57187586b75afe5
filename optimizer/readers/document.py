"""A file that the user wrote: its data, and the line and column of everything in it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from optimizer.errors import Fault, SpecError
from optimizer.readers.diagnosis import diagnose
from optimizer.readers.json_text import json_places, read_json
from optimizer.readers.messages import nearest
from optimizer.readers.places import LineColumn, PathStep, PlaceTree, contains, dotted
from optimizer.readers.source import read_text
from optimizer.readers.yaml_text import read_yaml

AnyModel = TypeVar("AnyModel", bound=BaseModel)


@dataclass(frozen=True)
class Document:
    """Plain data of a file (mappings, lists, text, exact numbers, true, false, nothing), and where each part stands.

    ``source`` is the name to show: the path as the user wrote it, or ``<stdin>``.
    """

    data: Any
    source: str
    text: str
    yaml_places: PlaceTree | None = None

    @cached_property
    def _places(self) -> PlaceTree:
        return json_places(self.text, self.source) if self.yaml_places is None else self.yaml_places

    def locate(self, at: Sequence[PathStep], *, key: bool = False) -> LineColumn:
        """Line and column, from 1, of the value at ``at`` or of its key; of its container where it is absent."""
        return self._places.find(at, key=key)

    @property
    def folder(self) -> Path | None:
        """Where it stands; None where it came from no file."""
        return None if self.source.startswith("<") else Path(self.source).parent

    def fault(
        self, message: str, at: Sequence[PathStep] = (), suggestion: str | None = None, *, key: bool = False
    ) -> Fault:
        """Fault at a place of this document; ``at`` is also its dotted field name."""
        return Fault(self.source, *self.locate(at, key=key), dotted(at), message, suggestion)

    def error(self, message: str, at: Sequence[PathStep] = (), suggestion: str | None = None) -> SpecError:
        """Error with one fault at a place of this document."""
        return SpecError(self.fault(message, at, suggestion))

    def only(self, known: Sequence[str], meant: Mapping[str, str] | None = None) -> None:
        """Refuse every key of the whole but those known, by what is meant by it or is nearest."""
        unknown = [key for key in self.data if key not in known]
        if unknown:
            suggestions = {key: (meant or {}).get(key) or nearest(key, list(known)) for key in unknown}
            raise SpecError(*(self.fault("unknown key", (key,), suggestions[key], key=True) for key in unknown))

    def among(self, name: str, known: Collection[str], what: str, at: Sequence[PathStep]) -> None:
        """Refuse a name at a place that is none of those known."""
        if name not in known:
            raise self.error(f"{name!r} is no {what}: {', '.join(known)}", at, nearest(name, list(known)))

    def get(self, at: Sequence[PathStep]) -> object:
        """Value at ``at``; nothing where there is none."""
        value: object = self.data
        for step in at:
            if not contains(value, step):
                return None
            value = value[step]
        return value


def load_text(text: str, source: str = "<text>") -> Document:
    """Document of a YAML or JSON text.

    A ``source`` that ends in ``.json`` must be JSON; elsewhere whatever begins as JSON does is tried as JSON first.

    Raises
    ------
    SpecError
        Neither, or one of the constructs that the readers refuse.
    """
    named_json = source.lower().endswith(".json")
    if named_json or text.lstrip()[:1] in {"{", "["}:
        try:
            return Document(read_json(text, source), source, text)
        except SpecError:
            # {a: 1} is YAML in one line; {"a" can only be meant as JSON.
            if named_json or text.lstrip()[1:].lstrip()[:1] in {'"', "{", "["}:
                raise
    data, places = read_yaml(text, source)
    return Document(data, source, text, yaml_places=places)


def load(path: str | Path) -> Document:
    """Document of a YAML or JSON file; of standard input for ``-``.

    Raises
    ------
    SpecError
        Missing, unreadable, binary, too large, or not YAML or JSON.
    """
    return load_text(*read_text(path))


def parse(model: type[AnyModel], document: Document, at: Sequence[PathStep] = ()) -> AnyModel:
    """Instance of ``model`` from the part of a document that stands at ``at``.

    Raises
    ------
    SpecError
        One fault for each thing wrong: line, column, dotted field, and a suggestion for a misspelt key or name.
    """
    data = document.get(at)
    if data is None and at and not contains(document.get(at[:-1]), at[-1]):
        raise document.error("is required but missing", at)
    return validate(model, data, document, at)


def validate(model: type[AnyModel], data: object, document: Document, at: Sequence[PathStep] = ()) -> AnyModel:
    """Instance of ``model`` from ``data``, which the caller derived from what stands at ``at``; faults point there.

    Raises
    ------
    SpecError
        As ``parse``.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        findings = diagnose(model, data, error.errors(include_url=False))
    except RecursionError:
        raise document.error("is nested too deeply", at) from None
    faults = [document.fault(item.message, (*at, *item.at), item.suggestion, key=item.at_key) for item in findings]
    raise SpecError(*sorted(faults, key=lambda fault: (fault.line or 0, fault.column or 0)))
