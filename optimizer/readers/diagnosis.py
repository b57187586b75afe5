"""From pydantic's errors to what is wrong where in the data.

Pydantic names a place by the path it took through the types, with the branches of unions in it. Here that path becomes
one through the data, the branches of one union become one message, and an unknown key gets the key it was meant to be.
"""

from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from optimizer.domain.base import FieldError
from optimizer.domain.workload import OfItsKind
from optimizer.readers.messages import WANTED, message_of, nearest, wanted_message
from optimizer.readers.places import PathStep, contains

MOST_FINDINGS = 20
_UNKNOWN = "unknown key"
_MISSING = "is required but missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong at one place of the data."""

    at: tuple[PathStep, ...]
    message: str
    suggestion: str | None = None
    at_key: bool = False
    known: tuple[str, ...] = ()


def _branches(annotation: Any) -> Iterator[Any]:  # noqa: ANN401 - any type annotation
    """Types that a value of this annotation may have."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _branches(get_args(annotation)[0])
    elif origin in {Union, UnionType}:
        for branch in get_args(annotation):
            yield from _branches(branch)
    elif annotation is not NoneType:
        yield annotation


def _step_into(annotation: Any, step: PathStep) -> Iterator[Any]:  # noqa: ANN401 - any type annotation
    """Types of what stands at ``step`` of a value of this type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            if step in {name, field.alias}:
                named = [kind for mark in field.metadata if isinstance(mark, OfItsKind) for kind in mark.kinds]
                yield from named or _branches(field.annotation)
        return
    arguments = [argument for argument in get_args(annotation) if argument is not Ellipsis]
    if isinstance(step, int) and arguments and not isinstance(annotation, type):
        yield from _branches(arguments[min(step, len(arguments) - 1)])
    elif arguments:
        yield from _branches(arguments[-1])


def _keys_at(model: type[BaseModel], loc: Sequence[PathStep]) -> list[str]:
    """Keys that the models allow at a place named by pydantic."""
    types: list[Any] = [model]
    for step in loc:
        inside = [inner for outer in types for inner in _step_into(outer, step)]
        if inside:
            types = inside
        else:
            named = [branch for branch in types if getattr(branch, "__name__", None) == step]
            tagged = [branch for branch in types if step in _tags(branch)]
            types = named or tagged or types
    return [
        field.alias or name
        for branch in types
        if isinstance(branch, type) and issubclass(branch, BaseModel)
        for name, field in branch.model_fields.items()
    ]


def _tags(branch: Any) -> set[object]:  # noqa: ANN401 - any type annotation
    """Values of the literal fields of a model: what a discriminated union calls it."""
    if not (isinstance(branch, type) and issubclass(branch, BaseModel)):
        return set()
    return {value for field in branch.model_fields.values() for value in get_args(field.annotation)}


def _through_data(data: object, loc: Sequence[PathStep], *, names_missing: bool) -> tuple[PathStep, ...]:
    """Path through the data for a path through the types; names of branches drop out."""
    at: list[PathStep] = []
    value = data
    for index, step in enumerate(loc):
        if contains(value, step):
            value = value[step]
            at.append(step)
        elif names_missing and index == len(loc) - 1:
            at.append(step)
    return tuple(at)


def _finding(model: type[BaseModel], data: object, error: ErrorDetails) -> Finding:
    kind, loc = error["type"], error["loc"]
    ctx = error.get("ctx", {})
    if kind == "missing":
        return Finding(_through_data(data, loc, names_missing=True), _MISSING)
    at = _through_data(data, loc, names_missing=False)
    if kind == "extra_forbidden":
        known = _keys_at(model, loc[:-1])
        meant = nearest(loc[-1], known, error["input"])
        return Finding(at, _UNKNOWN, meant, at_key=True, known=tuple(known) if meant is None else ())
    if loc and loc[-1] == "[key]":
        return Finding(at, message_of(error)[0], at_key=True)
    if kind == "union_tag_not_found":
        return Finding((*at, str(ctx["discriminator"]).strip("'")), _MISSING)
    if kind == "union_tag_invalid":
        at = (*at, str(ctx["discriminator"]).strip("'"))
    message, suggestion = message_of(error)
    cause = ctx.get("error")
    deeper = cause.at if isinstance(cause, FieldError) else ()
    return Finding((*at, *deeper), message, suggestion)


def _follows_from_another(error: ErrorDetails) -> bool:
    """Whether a list is only too short because items of it were refused, each with its own error."""
    value = error.get("input")
    least = error.get("ctx", {}).get("min_length")
    return error["type"] == "too_short" and isinstance(value, Sized) and least is not None and len(value) >= least


def diagnose(model: type[BaseModel], data: object, errors: Sequence[ErrorDetails]) -> list[Finding]:
    """What is wrong where, each thing once.

    Parameters
    ----------
    model
        Model that refused the data.
    data
        What it was given.
    errors
        ``ValidationError.errors()``.
    """
    findings: dict[tuple[tuple[PathStep, ...], str], Finding] = {}
    wanted: dict[tuple[PathStep, ...], tuple[list[str], object]] = {}
    for error in errors[: 10 * MOST_FINDINGS]:
        if error["type"] in WANTED:
            at = _through_data(data, error["loc"], names_missing=False)
            kinds, _ = wanted.setdefault(at, ([], error.get("input")))
            kinds.append(WANTED[error["type"]])
        elif not _follows_from_another(error):
            finding = _finding(model, data, error)
            findings.setdefault((finding.at, finding.message), finding)
    for at, (kinds, value) in wanted.items():
        # A branch of a union that got further says more than the branches that wanted another kind of value.
        if not any(finding.at[: len(at)] == at for finding in findings.values()):
            findings[at, ""] = Finding(at, wanted_message(kinds, value))
    # A required key that is only misspelt is one mistake, not two.
    misspelt = {(*finding.at[:-1], finding.suggestion) for finding in findings.values() if finding.at_key}
    distinct = [finding for finding in findings.values() if finding.message != _MISSING or finding.at not in misspelt]
    return _listing_keys_once(distinct[:MOST_FINDINGS])


def _listing_keys_once(findings: Sequence[Finding]) -> list[Finding]:
    """Tell the keys of each mapping once, at its first unknown key that resembles none of them."""
    listed: set[tuple[PathStep, ...]] = set()
    worded = []
    for finding in findings:
        mapping = finding.at[:-1]
        if finding.known and mapping not in listed:
            listed.add(mapping)
            message = f"{finding.message}; the keys here are {', '.join(finding.known)}"
            worded.append(replace(finding, message=message))
        else:
            worded.append(finding)
    return worded
