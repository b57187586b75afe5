"""Which releases of an engine have a model's architecture, and what of it they have beside: `architectures.csv`.

A cell is the first and the last release with something, ``0.9.2..0.23``; without an end where none was seen; ``none``
where no release read has it; empty where nothing is known. Read were, of vLLM, model_executor/models/registry.py and
the bases of the classes that it names (SupportsPP, SupportsLoRA) in 37 releases from 0.6.6 to 0.33.0; of SGLang every
EntryClass of srt/models in 34 releases from 0.4.6 to 0.5.23; of TensorRT-LLM nvidia.github.io/TensorRT-LLM
models/supported-models.html (1.2, 1.3.0rc13 to rc29) and `register_auto_model` in its _torch/models. A cell is empty
where Transformers' own code may serve in place of the engine's (`_supports_attention_backend`, transformers 5.24.0).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

from optimizer.domain.engines.rule import EngineRule, Premise
from optimizer.domain.engines.version import number
from optimizer.domain.shape import Shape

OF_ITS_OWN: Final = frozenset({"", "NVIDIA", "AMD"})
"""Makers whose devices engines run without a plugin, which may bring models that its engine does not have yet."""


@dataclass(frozen=True, slots=True)
class Releases:
    """The first and the last that have something; empty where no end was seen, `none` where no release has it."""

    first: str = ""
    last: str = ""
    none: bool = False

    def past(self, version: str) -> bool:
        """Whether a version comes after the last."""
        last = number(self.last) if self.last else ()
        return number(version)[: len(last)] > last

    def early(self, version: str) -> bool:
        """Whether a version comes before the first; ``0.11`` may be any of its own."""
        own = number(version)
        return bool(self.first) and own < number(self.first)[: len(own)]

    def have(self, version: str) -> bool:
        """Whether a version is one of them."""
        return not (self.none or self.past(version) or self.early(version))


def _releases(cell: str) -> Releases:
    first, _, last = cell.partition("..")
    return Releases(none=True) if cell == "none" else Releases(first, last)


@cache
def known(what: str) -> Mapping[str, Releases]:
    """Releases of each architecture in a column of the table; none where there is no such column."""
    text = resources.files("optimizer.domain.engines").joinpath("architectures.csv").read_text("utf-8")
    return {row["architecture"]: _releases(row[what]) for row in csv.DictReader(text.splitlines()) if row.get(what)}


def version_of(premise: Premise, engine: str, newest: str) -> str:
    """The version that a problem names of an engine; its newest where it names none."""
    name, _, version = premise.engine_name.partition("@")
    return version if name == engine and version else newest


def release_for(engine: str, architecture: str, newest: str) -> str | None:
    """A release that has an architecture where the newest has not: the last that had it, or the first that will."""
    found = known(engine).get(architecture)
    return None if found is None or found.have(newest) else found.last or found.first or None


def has(premise: Premise, engine: str, newest: str, what: str) -> bool:
    """Whether the release that a problem names of an engine has something of the model, or it is not known."""
    found = known(f"{engine}_{what}").get(premise.model.architecture)
    return found is None or found.have(version_of(premise, engine, newest))


def architectures(engine: str, title: str, newest: str, unknown: str, source: str) -> EngineRule:
    """The release has the model's architecture; `unknown` is said where it has not, and takes its name."""

    def breach(premise: Premise, _: Shape) -> str | None:
        name, version = premise.model.architecture, version_of(premise, engine, newest)
        found = known(engine).get(name)
        if found is None or found.have(version):
            return None
        if found.none:
            return f"{unknown.format(name=name)}: {title} {version} has no such model, nor had any release before it."
        if found.past(version):
            return (
                f"Model architecture {name} was supported in {title} until v{found.last}, and is not supported anymore."
            )
        plugin = premise.hardware.device.vendor not in OF_ITS_OWN
        return None if plugin else f"{unknown.format(name=name)}: {title} has it from {found.first} on."

    return EngineRule("architectures", "the release has the model's architecture", (), breach, source)


def pipelines(engine: str, newest: str, sentence: str, source: str) -> EngineRule:
    """The release runs the model in a pipeline."""

    def breach(premise: Premise, shape: Shape) -> str | None:
        return None if shape.pp == 1 or has(premise, engine, newest, "pipelines") else sentence

    return EngineRule(
        "pipelines", "pp is 1 where the release has the model in one stage alone", ("pp",), breach, source
    )
