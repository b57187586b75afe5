"""Flags of each engine's versions, one row a flag: both readers and writers of launch commands go by these tables.

A row has its names, those that switch it off, what follows it, what of the layout or the operating point it carries
(or one of `INFLUENCES`: it changes that, and is not modelled; or nothing), and the versions between which it was
found. Versions that were not read lie between those that were: a flag counts as unknown only where it must be.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib import resources
from typing import Any, Final, Literal

from optimizer.domain.engines.version import number
from optimizer.errors import Fault, InternalError, SpecError
from optimizer.readers.launch.names import names_of
from optimizer.readers.launch.words import Word
from optimizer.readers.messages import nearest, shown

ENGINES: Final = ("vllm", "sglang", "trtllm", "megatron", "torchtitan")
"""Engines whose flags are known."""

INFLUENCES: Final[Mapping[str, str]] = {
    "frees": "memory", "takes": "memory", "memory": "memory", "states": "memory", "windows": "memory",
    "time": "time", "layout": "layout",
}  # fmt: skip
"""What a flag may change without carrying a value that is modelled, and what that is called. Of a device's memory:
`frees` some, `takes` some, or either, where it is of `states` or `windows` in models with such layers alone."""

Takes = Literal["none", "value", "values", "optional"]


@dataclass(frozen=True, slots=True)
class Flag:
    """One row of a table; `since` and `until` are the first and last version read that have it, None: no end seen."""

    names: tuple[str, ...]
    off: tuple[str, ...]
    takes: Takes
    kind: str
    carries: str
    since: str | None
    until: str | None

    @property
    def name(self) -> str:
        """Its first name, by which it is written."""
        return self.names[0]


@dataclass(frozen=True, slots=True)
class Given:
    """A flag as a command gives it.

    Attributes
    ----------
    word
        The argument that names it.
    values
        What follows it; for a flag without values nothing.
    on
        False where it is switched off.
    path
        Keys within its JSON value, for the form ``--compilation-config.mode``.
    """

    flag: Flag
    word: Word
    values: tuple[Word, ...]
    on: bool = True
    path: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name by which it is given."""
        return self.word.text.partition("=")[0]

    @property
    def text(self) -> str:
        """Its value as written."""
        return " ".join(value.text for value in self.values) if self.values else str(self.on).lower()

    @property
    def open(self) -> bool:
        """Whether only the running shell knows its value."""
        return any(value.unset for value in self.values)


@dataclass(frozen=True)
class FlagTable:
    """Every flag of an engine in the versions that were read, oldest first."""

    engine: str
    versions: tuple[str, ...]
    flags: tuple[Flag, ...]
    names: Mapping[str, Flag]

    @property
    def newest(self) -> str:
        """The newest version that was read: what a command is taken to be for where it does not say."""
        return self.versions[-1]

    def has(self, flag: Flag, version: str | None) -> bool:
        """Whether a version may have a flag: it is not known to lack it."""
        wanted = number(version or self.newest)
        keys = [number(known) for known in self.versions]
        if flag.since is not None and wanted <= keys[self.versions.index(flag.since) - 1]:
            return False
        return flag.until is None or wanted < keys[self.versions.index(flag.until) + 1]

    def carrying(self, field: str, version: str | None = None) -> Flag:
        """The flag of a version that carries a field."""
        flags = [flag for flag in self.flags if flag.carries == field and self.has(flag, version)]
        if not flags:
            raise InternalError(f"{self.engine} has no flag that carries {field}")
        return flags[0]

    def span(self, flag: Flag) -> str:
        """The versions that have a flag, in words."""
        if flag.since is not None and flag.until is not None:
            return f"{flag.since} to {flag.until}" if flag.since != flag.until else f"{flag.since} only"
        return f"{flag.since} on" if flag.since is not None else f"up to {flag.until}"


@cache
def table(engine: str) -> FlagTable:
    """Flag table of an engine."""
    text = resources.files("optimizer.readers.launch").joinpath("flags", f"{engine}.csv").read_text("utf-8")
    comments = [line for line in text.splitlines() if line.startswith("#")]
    versions = next(tuple(line.split()[2:]) for line in comments if line.startswith("# versions "))
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    flags = tuple(_flag(row) for row in rows)
    names: dict[str, Flag] = {}
    for flag in flags:
        for name in (*flag.names, *flag.off):
            names.setdefault(name, flag)
    return FlagTable(engine, versions, flags, names)


def _flag(row: Mapping[str, str]) -> Flag:
    takes: Any = row["takes"]
    return Flag(
        tuple(row["names"].split()), tuple(row["off"].split()), takes, row["type"], row["carries"],
        row["since"] or None, row["until"] or None,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Style:
    """How an engine's parser reads arguments.

    Attributes
    ----------
    abbreviations
        Whether an unambiguous beginning of a long name will do (argparse's default).
    underscores
        Whether ``--max_model_len`` is ``--max-model-len``.
    dotted
        Whether ``--flag.key value`` puts a key into the JSON of ``--flag``.
    """

    abbreviations: bool
    underscores: bool
    dotted: bool


STYLES: Final[Mapping[str, Style]] = {
    "vllm": Style(abbreviations=True, underscores=True, dotted=True),
    "sglang": Style(abbreviations=True, underscores=False, dotted=False),
    "trtllm": Style(abbreviations=False, underscores=False, dotted=False),
    "megatron": Style(abbreviations=False, underscores=False, dotted=False),
    "torchtitan": Style(abbreviations=False, underscores=False, dotted=False),
}


@dataclass(frozen=True, slots=True)
class Arguments:
    """Arguments of a command: flags in order, and what stands between them; the older version that they are of."""

    given: tuple[Given, ...]
    positional: tuple[Word, ...]
    version: str | None = None

    def last(self, carries: str) -> Given | None:
        """The flag that decides a field: the last one that is given, as argparse has it."""
        options = [option for option in self.given if option.flag.carries == carries]
        return options[-1] if options else None


def parse(engine: str, words: Sequence[Word], source: str, version: str | None) -> Arguments:
    """Arguments of an engine's command.

    Parameters
    ----------
    version
        The engine's version; None: the newest that has all of them, the newest of all where none has.

    Raises
    ------
    SpecError
        For each flag: unknown, of another version, without its value, or with a value of another kind.
    """
    known = table(engine)
    if version is not None:
        return _Parser(known, STYLES[engine], source, version).parse(words)
    for release in reversed(known.versions):
        parser = _Parser(known, STYLES[engine], source, release)
        try:
            arguments = parser.parse(words)
        except SpecError:
            if parser.other_versions:
                continue
            raise
        return arguments if release == known.newest else replace(arguments, version=release)
    return _Parser(known, STYLES[engine], source, None).parse(words)


_SHOWN: Final = 10
"""Names that a message lists."""


class _Parser:
    def __init__(self, flags: FlagTable, style: Style, source: str, version: str | None) -> None:
        self.table, self.style, self.source, self.version = flags, style, source, version
        self.faults: list[Fault] = []
        self.other_versions = False
        self.meant: dict[str, str | None] = {}

    def parse(self, words: Sequence[Word]) -> Arguments:
        options: list[Given] = []
        positional: list[Word] = []
        at = 0
        while at < len(words):
            word = words[at]
            if not _is_flag(word) or (word.unset and word.text.startswith("$")):
                positional.append(word)
                at += 1
                continue
            flag_read = self._find(word)
            at += 1
            if flag_read is None:
                # What follows an unknown flag may be its value or not: it is passed over.
                at += at < len(words) and not _is_flag(words[at])
                continue
            flag, on, path, attached = flag_read
            values, at = self._values(flag, word, attached, words, at, path=bool(path))
            options.append(Given(flag, word, values, on, path))
            self._check(options[-1])
        if self.faults:
            raise SpecError(*self.faults)
        return Arguments(tuple(options), tuple(positional))

    @cached_property
    def known(self) -> dict[str, Flag]:
        """Flags that the version may have, by each of their names."""
        return {name: flag for name, flag in self.table.names.items() if self.table.has(flag, self.version)}

    def _fault(self, word: Word, message: str, suggestion: str | None = None, field: str | None = None) -> None:
        name = field or word.text.partition("=")[0]
        self.faults.append(Fault(self.source, *word.start, name, message, suggestion))

    def _find(self, word: Word) -> tuple[Flag, bool, tuple[str, ...], Word | None] | None:
        """Flag that a word names, whether it is on, keys within it, and the value attached to it."""
        name, equals, _ = word.text.partition("=")
        attached = word.part(len(name) + 1) if equals else None
        if self.style.underscores and name.startswith("--"):
            head, dot, tail = name.partition(".")
            name = head.replace("_", "-") + dot + tail
        path: tuple[str, ...] = ()
        if self.style.underscores and re.fullmatch(r"-O\d", name):
            name, attached = "--optimization-level", word.part(2)
        if self.style.dotted and "." in name:
            name, *keys = name.split(".")
            path = tuple(keys)
        flag = self.table.names.get(name) or self._section(name) or self._abbreviated(word, name)
        if flag is None:
            if not self.faults or self.faults[-1].line != word.start[0] or self.faults[-1].column != word.start[1]:
                self._unknown(word, name)
            return None
        if not self.table.has(flag, self.version):
            self._other_version(word, flag)
            return None
        return flag, name not in flag.off, path, attached

    def _section(self, name: str) -> Flag | None:
        """Flag of a whole section, such as ``--metrics.*``."""
        head = name.partition(".")[0]
        return self.table.names.get(f"{head}.*") if "." in name else None

    def _abbreviated(self, word: Word, name: str) -> Flag | None:
        if not self.style.abbreviations or not name.startswith("--") or len(name) < 4:
            return None
        names = {spelling: flag for spelling, flag in self.known.items() if spelling.startswith(name)}
        flags = {flag.name: flag for flag in names.values()}
        if len(flags) > 1:
            matches = ", ".join(sorted(names)[:4])
            version = self.version or self.table.newest
            self._fault(word, f"ambiguous in {self.table.engine} {version}: it could be {matches}", field=name)
        return next(iter(flags.values())) if len(flags) == 1 else None

    def _unknown(self, word: Word, name: str) -> None:
        version = self.version or self.table.newest
        message = f"{self.table.engine} {version} has no such flag"
        other_table = self._of_another_engine(name)
        if other_table is not None:
            message += f": it is one of {other_table.engine}'s"
        if name not in self.meant:
            self.meant[name] = (
                _MEANT.get(self.table.engine, {}).get(name)
                or (None if other_table is None else self._alike(other_table.names[name]))
                or nearest(name, list(self.known))
            )
        self._fault(word, message, self.meant[name], shown(name).strip("'"))

    def _of_another_engine(self, name: str) -> FlagTable | None:
        """Flags of the first other engine that has one of this name."""
        others = (table(engine) for engine in ENGINES if engine != self.table.engine)
        return next((other_table for other_table in others if name in other_table.names), None)

    def _alike(self, flag: Flag) -> str | None:
        """Name here for what another engine's flag decides."""
        if flag.carries in {"", *INFLUENCES}:
            return None
        return next((known_flag.name for known_flag in self.known.values() if known_flag.carries == flag.carries), None)

    def _other_version(self, word: Word, flag: Flag) -> None:
        self.other_versions = True
        span = f"is a flag of {self.table.engine} {self.table.span(flag)}"
        if self.version is None:
            self._fault(word, f"{span}: no version has it and all the others of this command")
        else:
            self._fault(word, f"{span}, which {self.version} does not have")

    def _values(
        self, flag: Flag, word: Word, attached: Word | None, words: Sequence[Word], at: int, *, path: bool
    ) -> tuple[tuple[Word, ...], int]:
        if attached is not None:
            if flag.takes == "none" and not path:
                self._fault(word, "takes no value")
            return (attached,), at
        if flag.takes == "none" and not path:
            # Some launchers write --flag true.
            return (), at
        most = len(words) if flag.takes == "values" else 1
        values: list[Word] = []
        while at < len(words) and len(values) < most and not _is_flag(words[at]):
            values.append(words[at])
            at += 1
        if not values and flag.takes != "optional":
            follows = f", and {shown(words[at].text)} follows" if at < len(words) else ": is the command cut off?"
            self._fault(word, f"wants a value{follows}")
        return tuple(values), at

    def _check(self, option: Given) -> None:
        if option.open or not option.values:
            return
        if not option.path:
            self._check_values(option)
        names = names_of(self.table.engine, option.flag.name)
        if names is None or any(fault.field == option.flag.name for fault in self.faults):
            return
        version = self.version or self.table.newest
        for name in given_names(option):
            if names.refuses(name, version):
                known = [one for one in names.spans if names.has(one, version)]
                self.other_versions |= name.casefold() in names.spans
                some = ", ".join(known[:_SHOWN]) + ", …" * bool(known[_SHOWN:])
                message = f"{shown(name)} is none of those of {self.table.engine} {version}: {some}"
                place, meant = option.values[0].start, nearest(name.casefold(), known)
                self.faults.append(Fault(self.source, *place, option.flag.name, message, meant))

    def _check_values(self, option: Given) -> None:
        for value in option.values:
            try:
                opens = value.text.startswith("{") and not value.text.startswith(("{{", "{%"))
                value_of("json" if opens else option.flag.kind, value.text)
            except ValueError as error:
                self.faults.append(Fault(self.source, *value.start, option.flag.name, str(error)))


def _is_flag(word: Word) -> bool:
    """Whether a word names a flag rather than being a value; ``-1`` is a value."""
    return re.match(r"--?[A-Za-z]", word.text) is not None and not word.quoted


_MEANT: Final[Mapping[str, Mapping[str, str]]] = {
    "vllm": {"--expert-parallel-size": "--enable-expert-parallel", "--ep-size": "--enable-expert-parallel"},
    "megatron": {"--data-parallel-size": "--tensor-model-parallel-size"},
}
"""What authors who write flags of other engines probably mean."""


_SCALES: Final[Mapping[str, int]] = {
    "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40,
}  # fmt: skip
"""Suffixes of sizes: small letters are decimal, capitals binary (vLLM ``human_readable_int``)."""


def value_of(kind: str, text: str) -> Any:  # noqa: ANN401 - what the kind says
    """Value of an argument's text.

    Raises
    ------
    ValueError
        It is not of that kind.
    """
    if kind == "int":
        if re.fullmatch(r"[+-]?\d{1,15}", text.replace("_", "")) is None:
            raise ValueError(f"a whole number is wanted, not {shown(text)}")
        return int(text)
    if kind == "size":
        number = re.fullmatch(r"([+-]?\d{1,15}(?:\.\d{1,9})?)([kKmMgGtT]?)", text)
        if number is None:
            if text in {"auto", "-1"}:
                return text
            raise ValueError(f"a whole number is wanted, such as 8192 or 8k, not {shown(text)}")
        from fractions import Fraction  # noqa: PLC0415 - one kind needs it

        value = Fraction(number[1]) * _SCALES.get(number[2], 1)
        if value.denominator != 1:
            raise ValueError(f"a whole number is wanted, not {shown(text)}")
        return int(value)
    if kind == "float":
        if re.fullmatch(r"[+-]?(\d{1,15}(\.\d{0,15})?|\.\d{1,15})([eE][+-]?\d{1,2})?", text) is None:
            raise ValueError(f"a number is wanted, not {shown(text)}")
        return text
    if kind == "json":
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            # A bare name is allowed where vLLM takes a mode or a path for the JSON.
            if text[:1] in "{[":
                raise ValueError(f"not valid JSON: {shown(text)}") from None
            return text
    return text


def merged(given: Iterable[Given], carries: str) -> dict[str, Any]:
    """One JSON object of ``--flag '{…}'`` and ``--flag.key value`` together, of the flags that carry something."""
    mapping: dict[str, Any] = {}
    for option in given:
        if option.flag.carries != carries or not option.values or option.open:
            continue
        value = option.values[0].text
        if not option.path:
            read = value_of("json", value)
            mapping |= read if isinstance(read, dict) else {"": read}
            continue
        inner = mapping
        for key in option.path[:-1]:
            deeper = inner.get(key)
            inner[key] = deeper if isinstance(deeper, dict) else {}
            inner = inner[key]
        inner[option.path[-1]] = value_of("json", value)
    return mapping


def given_names(option: Given) -> Iterator[str]:
    """Names that a flag is given: keys of JSON, or its value."""
    if option.open or not option.values:
        return
    if option.path:
        yield option.path[0]
    elif option.flag.kind == "json":
        read = value_of("json", option.values[0].text)
        yield from read if isinstance(read, dict) else ()
    else:
        yield from (value.text for value in option.values)
