"""An engine's release as data: what it accepts, what it keeps for itself, how it allocates, its flags."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from optimizer.domain.engines.reservation import CacheRules, Reservation
from optimizer.domain.engines.rule import EngineRule, Premise, broken
from optimizer.domain.shape import Shape


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a request waits for beside its own prompt's steps.

    Attributes
    ----------
    overhead_s
        Seconds of a request whatever its engine has to do: HTTP, tokeniser, scheduler, first sample.
    steps
        Mean steps of the running batch that pass in a closed loop before the prompt is taken up.
    source
        What the numbers were fitted to.
    """

    overhead_s: Fraction
    steps: Fraction
    source: str

    def scaled(self, factor: Fraction) -> Waiting:
        """The same, so many times as long."""
        return replace(
            self, overhead_s=self.overhead_s * factor, steps=self.steps * factor,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Engine:
    """One release of an engine, or the union of several (`members`).

    Attributes
    ----------
    name, version
        Its name and the version whose source was read; facts stand for versions from `since` on.
    memory_utilization
        Share of a device's memory that it uses unless told otherwise.
    reservation, cache
        What it keeps for itself, and how it lays out the cache.
    waiting
        What a request waits for in it.
    vocabulary_padding
        The vocabulary is padded to a multiple of this.
    flags
        Its option for each of our words; a word that is missing cannot be told to it.
    order, expert_order
        Axes by which it numbers ranks, slowest first; and those of the experts' mesh within a stage.
    source
        Where the facts that are not rules come from.
    members
        Engines of which it is the union: a layout is accepted where one of them accepts it.
    """

    name: str
    version: str
    since: str
    rules: tuple[EngineRule, ...]
    memory_utilization: Fraction
    reservation: Reservation
    cache: CacheRules
    waiting: Waiting
    vocabulary_padding: int
    source: str
    flags: Mapping[str, str] = field(default_factory=dict)
    order: tuple[str, ...] = ("pp", "dp", "cp", "tp")
    expert_order: tuple[str, ...] = ("edp", "ep", "etp")
    members: tuple[Engine, ...] = ()

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}".strip()

    @property
    def overlaps(self) -> bool:
        """Whether it, or one of its members, splits a step in two micro-batches to hide the exchange of experts."""
        return "overlap" in self.flags or any(member.overlaps for member in self.members)

    @property
    def within_stages(self) -> tuple[str, ...]:
        """Axes along which the ranks of a stage stand side by side: those that are faster than pp."""
        return self.order[self.order.index("pp") + 1 :]

    def places(self, shape: Shape) -> tuple[int, tuple[str, ...]]:
        """What of its order tells where the ranks of a shape's groups stand: equal where engines put them alike."""
        beside = shape.along(self.within_stages) if shape.pp > 1 else shape.stage_devices
        return beside, self.expert_order if min(shape.etp, shape.ep) > 1 else ()

    def accepts(self, premise: Premise, shape: Shape) -> bool:
        """Whether it runs a shape."""
        if self.members:
            return any(member.accepts(premise, shape) for member in self.members)
        return all(rule.breach(premise, shape) is None for rule in self.rules)

    def of(self, known: Collection[str]) -> Engine:
        """The engine with those of its rules alone that read nothing but some degrees."""
        rules = tuple(rule for rule in self.rules if set(rule.reads) <= set(known))
        return replace(self, rules=rules, members=tuple(member.of(known) for member in self.members))

    def refusals(self, premise: Premise, shape: Shape) -> Iterator[tuple[EngineRule, str]]:
        """Why it does not run a shape: each rule that is broken, with a sentence; nothing where it does."""
        if not self.members:
            for rule, reason in broken(self.rules, premise, shape):
                yield rule, f"{self.title}, rule {rule.name}: {reason}"
        elif not self.accepts(premise, shape):
            for member in self.members:
                yield from member.refusals(premise, shape)
