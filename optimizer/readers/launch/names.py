"""Names that an engine's parser takes after a flag, in the releases that were read (`flags/names.csv`).

As of flags, a release between two that were read may have what either has. A name that a release which was read does
not have is refused; of other releases, and where plugins add names, one that none has is a doubt.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

from optimizer.domain.engines.version import number

_READ: Final = "# read "
_PLUGINS: Final = frozenset({("vllm", "--load-format")})
"""Flags whose names plugins add to (model_loader/__init__.py register_model_loader)."""


@dataclass(frozen=True)
class Names:
    """Names of a flag: of each the first and last release read that has it; `versions` are those read, oldest first."""

    versions: tuple[str, ...]
    spans: Mapping[str, tuple[str, str]]
    plugins: bool

    def has(self, name: str, version: str) -> bool:
        """Whether a release may have a name."""
        if name.casefold() not in self.spans:
            return False
        since, until = self.spans[name.casefold()]
        wanted, keys = number(version), [number(read) for read in self.versions]
        if since and wanted <= keys[self.versions.index(since) - 1]:
            return False
        return not until or wanted < keys[self.versions.index(until) + 1]

    def refuses(self, name: str, version: str) -> bool:
        """Whether a release that was read, or one between two that lost a name, does not have it."""
        told = version in self.versions or name.casefold() in self.spans
        return told and not self.plugins and not self.has(name, version)


@cache
def names_of(engine: str, flag: str) -> Names | None:
    """Names of a flag; None: any will do."""
    text = resources.files("optimizer.readers.launch").joinpath("flags", "names.csv").read_text("utf-8")
    lines = text.splitlines()
    read = [line.removeprefix(_READ).split() for line in lines if line.startswith(_READ)]
    versions = next((tuple(row[2:]) for row in read if row[:2] == [engine, flag]), None)
    if versions is None:
        return None
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    spans = {
        name.casefold(): (row["since"], row["until"])
        for row in rows
        if (row["engine"], row["flag"]) == (engine, flag)
        for name in row["names"].split()
    }
    return Names(versions, spans, (engine, flag) in _PLUGINS)
