"""The strict base of everything a user writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

Width = Annotated[int, Field(ge=1, le=10**7)]
"""A width, a rank or a count of a model; far beyond any, and products of a few of them stay inside 64 bits."""

WidthOrNone = Annotated[int, Field(ge=0, le=10**7)]
"""The same; 0 where there is none."""

TokenCount = Annotated[int, Field(ge=1, le=10**9)]
"""A length or a window, in tokens."""


class Spec(BaseModel):
    """Frozen; unknown keys refused; no silent conversion between types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with changes; what was derived from the old values and kept is forgotten."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(copied).model_fields.keys():
            del copied.__dict__[name]
        return copied


class FieldError(ValueError):
    """What a validator raises to point at a field below the value it judges.

    Parameters
    ----------
    message
        What is wrong, in plain words.
    at
        Path from the judged value to the field.
    suggestion
        What was probably meant.
    """

    def __init__(self, message: str, at: Sequence[str | int] = (), suggestion: str | None = None) -> None:
        super().__init__(message)
        self.at = tuple(at)
        self.suggestion = suggestion


class Grown(Spec):
    """Fields in `later` came after results were written: left out where they are not used, so that those stay valid."""

    later: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = write(self)
        for name in self.later:
            if getattr(self, name) == type(self).model_fields[name].default:
                written.pop(name, None)
        return written
