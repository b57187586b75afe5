"""The registry: every scenario file is one entry, its `tags` are the sets it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from optimizer.errors import Fault, SpecError
from optimizer.readers import catalog
from optimizer.readers.document import load
from optimizer.readers.messages import nearest

SETS: Final = ("smoke", "core", "scale", "placement", "infeasible", "seeds", "all")
"""Sets in use; any other tag of a scenario names a set as well."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A problem file with its sets."""

    name: str
    path: Path
    tags: tuple[str, ...]


def files() -> tuple[Path, ...]:
    """Every scenario of the catalog, those in sub-folders too."""
    return tuple(sorted((catalog.root() / "scenarios").rglob("*.yaml"), key=lambda file: file.stem))


def _scenario(path: Path) -> Scenario:
    document = load(path)
    tags = document.get(("tags",)) if isinstance(document.data, dict) else None
    listed = [tags] if isinstance(tags, str) else tags if isinstance(tags, list) else []
    return Scenario(path.stem, path, tuple(str(tag) for tag in listed))


def _tagged(tag: str, paths: Sequence[Path]) -> list[Scenario]:
    # Reading all files takes seconds, and a tag that is not in the text is no tag of it.
    read = (_scenario(path) for path in paths if tag == "all" or tag in path.read_text(encoding="utf-8"))
    return [scenario for scenario in read if tag == "all" or tag in scenario.tags]


def scenarios(*wanted: str) -> list[Scenario]:
    """Scenarios of sets, of the catalog's names, or of files; each once, in order of what was asked for.

    Raises
    ------
    SpecError
        Neither a set, a scenario nor a file.
    """
    known = files()
    named = {path.stem: path for path in known}
    chosen: dict[str, Scenario] = {}
    for word in wanted:
        if catalog.is_path(word):
            matching = [_scenario(Path(word))]
        elif word in named:
            matching = [_scenario(named[word])]
        else:
            matching = _tagged(word, known)
        if not matching:
            message = f"{word!r} is neither a set ({', '.join(SETS)}), a scenario of the catalog nor a file"
            raise SpecError(Fault(None, None, None, None, message, nearest(word, [*SETS, *named])))
        chosen |= {scenario.name: scenario for scenario in matching if scenario.name not in chosen}
    return list(chosen.values())
