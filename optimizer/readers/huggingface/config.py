"""A config.json being read: every key is taken by name, ignored for a stated reason, or refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from optimizer.errors import Fault, SpecError
from optimizer.readers.huggingface.ignored import reason_to_ignore
from optimizer.readers.messages import kind_of, nearest, shown
from optimizer.readers.places import LineColumn, PathStep

Locate = Callable[[Sequence[PathStep], bool], LineColumn | tuple[None, None]]

LARGEST = 10**12


def _nowhere(at: Sequence[PathStep], key: bool) -> tuple[None, None]:  # noqa: ARG001, FBT001 - the shape of Locate
    return None, None


class Config:
    """One mapping of a config.json.

    Parameters
    ----------
    data
        The mapping.
    source
        What to call the file in messages.
    locate
        Line and column of a path through the whole document.
    at
        Where the mapping stands in the document.
    """

    def __init__(
        self, data: Mapping[str, Any], source: str, locate: Locate = _nowhere, at: tuple[PathStep, ...] = ()
    ) -> None:
        self.data = data
        self.source = source
        self._locate = locate
        self._at = at
        self._taken: set[str] = set()

    @property
    def known(self) -> list[str]:
        """Keys that have been asked for so far."""
        return sorted(self._taken)

    def refuse(self, key: str, message: str, suggestion: str | None = None, *, at_key: bool = False) -> NoReturn:
        """Refuse the file because of `key`.

        Raises
        ------
        SpecError
            Always.
        """
        raise SpecError(self.fault(key, message, suggestion, at_key=at_key))

    def fault(self, key: str, message: str, suggestion: str | None = None, *, at_key: bool = False) -> Fault:
        """Fault at `key`."""
        path = (*self._at, key)
        line, column = self._locate(path, at_key)
        return Fault(self.source, line, column, ".".join(str(step) for step in path), message, suggestion)

    def _value(self, names: tuple[str, ...]) -> tuple[str, Any]:
        """Value under the first of `names` that is there and not null, and that name."""
        self._taken.update(names)
        for name in names:
            if self.data.get(name) is not None:
                return name, self.data[name]
        return names[0], None

    def leave_to(self, defaults: Mapping[str, Any]) -> None:
        """Take what the file does not say from the class that it is of; null is said."""
        self.data = {**defaults, **self.data}

    def has(self, name: str) -> bool:
        """Whether a key is there and not null; does not take it."""
        return self.data.get(name) is not None

    def skip(self, *names: str) -> None:
        """Take keys that the family knows and that cannot change a shape."""
        self._taken.update(names)

    def optional(self, *names: str, least: int = 1) -> int | None:
        """Whole number under one of several names, or None."""
        name, value = self._value(names)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            self.refuse(name, f"a whole number is wanted, not {kind_of(value)}")
        if not least <= value <= LARGEST:
            self.refuse(name, f"must be between {least} and {LARGEST:,}, not {shown(value)}")
        return value

    def integer(self, *names: str, default: int | None = None, least: int = 1) -> int:
        """Whole number under one of several names; required where there is no default."""
        value = self.optional(*names, least=least)
        if value is not None:
            return value
        if default is None:
            self.refuse(names[0], "is required but missing")
        return default

    def flag(self, name: str, *, default: bool = False) -> bool:
        """True or false."""
        name, value = self._value((name,))
        if value is None:
            return default
        if not isinstance(value, bool):
            self.refuse(name, f"true or false is wanted, not {kind_of(value)}")
        return value

    def text(self, *names: str) -> str | None:
        """Text, or None."""
        name, value = self._value(names)
        if value is not None and not isinstance(value, str):
            self.refuse(name, f"text is wanted, not {kind_of(value)}")
        return value

    def only(self, name: str, *allowed: object, why: str) -> None:
        """Take a key that may only have these values (or be absent), or refuse it."""
        name, value = self._value((name,))
        if value is not None and value not in allowed:
            wanted = " or ".join(shown(option) for option in allowed) or "null"
            self.refuse(name, f"{shown(value)} is not understood here ({why}); understood: {wanted}")

    def items(self, name: str, *, length: int | None = None) -> list[Any] | None:
        """List of at least `length` items, or None; what is longer is cut (entries of MTP layers)."""
        name, value = self._value((name,))
        if value is None:
            return None
        if not isinstance(value, list | tuple):
            self.refuse(name, f"a list is wanted, not {kind_of(value)}")
        if length is not None and len(value) < length:
            self.refuse(name, f"has {len(value)} entries for {length} layers")
        return list(value if length is None else value[:length])

    def integers(self, name: str, *, length: int | None = None) -> list[int] | None:
        """List of whole numbers, or None; as `items`."""
        values = self.items(name, length=length)
        for index, entry in enumerate(values or ()):
            if isinstance(entry, bool) or not isinstance(entry, int):
                self.refuse(name, f"entry {index} is {kind_of(entry)}, where a whole number is wanted")
        return values

    def names(self, name: str, allowed: Sequence[str], *, length: int) -> list[str] | None:
        """List of layer kinds, each one of `allowed`."""
        values = self.items(name, length=length)
        for index, entry in enumerate(values or ()):
            if entry not in allowed:
                message = f"entry {index} is {shown(entry)}; understood: {', '.join(allowed)}"
                self.refuse(name, message, nearest(entry, list(allowed)))
        return values

    def section(self, name: str) -> Config | None:
        """Mapping under a key, to be read in the same way, or None."""
        name, value = self._value((name,))
        if value is None:
            return None
        if not isinstance(value, Mapping):
            self.refuse(name, f"a mapping is wanted, not {kind_of(value)}")
        return Config(value, self.source, self._locate, (*self._at, name))

    def finish(self, family: str) -> None:
        """Refuse the keys that nobody took and that have no stated reason to be ignored.

        Raises
        ------
        SpecError
            One fault a key.
        """
        # A key without a value says nothing.
        unread = [key for key in self.data if self.has(key) and key not in self._taken and not reason_to_ignore(key)]
        if unread:
            raise SpecError(*(self._unknown(key, family) for key in unread))

    def _unknown(self, key: str, family: str) -> Fault:
        message = (
            f"is not understood for {family} models, and it may change their shape; "
            f"understood: {', '.join(self.known)} (and keys that cannot)"
        )
        return self.fault(key, message, nearest(key, self.known), at_key=True)
