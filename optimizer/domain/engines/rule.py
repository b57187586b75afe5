"""An engine's validity rule: one object that the lattice, the checker and `verify` read, and that speaks for itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from optimizer.domain.hardware import HardwareSpec
from optimizer.domain.model import ModelSpec
from optimizer.domain.shape import Shape
from optimizer.domain.workload import Workload

DEGREES = ("tp", "cp", "etp", "ep", "pp", "redundant")
"""What a shape consists of; a rule may also read what follows from them: dp, edp, stage_devices, shared_replicated,
spread; and whether steps are split, overlap. Of `apart` are also copies and context_parallel."""


class Premise(Protocol):
    """What a rule, or an objective's scale, may know beside the degrees."""

    @property
    def model(self) -> ModelSpec:
        """The model, its precision in force."""

    @property
    def hardware(self) -> HardwareSpec:
        """The devices and links."""

    @property
    def workload(self) -> Workload:
        """What is asked for."""

    @property
    def capacity_bytes(self) -> int:
        """Bytes one device may hold."""

    @property
    def engine_name(self) -> str:
        """The engine as the problem names it: with its version, where it names one."""


Breach = Callable[[Premise, Shape], str | None]
"""What an engine says to a layout that breaks a rule, with its numbers; None where the rule is kept."""


@dataclass(frozen=True, slots=True)
class EngineRule:
    """One condition under which an engine runs a layout.

    Attributes
    ----------
    name
        Short name, unique within an engine.
    statement
        The condition, for people.
    reads
        Attributes of `Shape` that `breach` reads; none where it is of the model or the devices alone.
    apart
        Attributes of `Shape` that decide whether it is broken, where the words read more: what the lattice tells apart.
    breach
        The engine's own words where the condition is broken.
    source
        File and line, issue or documentation where the engine has it.
    """

    name: str
    statement: str
    reads: tuple[str, ...]
    breach: Breach
    source: str
    apart: tuple[str, ...] = ()

    @property
    def decides(self) -> tuple[str, ...]:
        """What the lattice tells apart: `apart`, or all that is read."""
        return self.apart or self.reads


FARTHEST = 4096
"""How far other values of a degree are tried: a document may state any number, and no pattern of rules is longer."""


def broken(rules: Sequence[EngineRule], premise: Premise, shape: Shape) -> Iterator[tuple[EngineRule, str]]:
    """Every rule that a shape breaks, with the engine's words and the nearest degrees that pass."""
    for rule in rules:
        reason = rule.breach(premise, shape)
        if reason is not None:
            near = nearest(rule, rules, premise, shape)
            yield rule, f"{reason} Nearest that pass: {near}." if near else reason


def nearest(rule: EngineRule, rules: Sequence[EngineRule], premise: Premise, shape: Shape) -> str:
    """Degrees next to a shape's that keep a rule, one changed at a time; empty where none up to twice it do.

    Those that break another rule on the same degree are passed over. Another etp trades places with ep, so that the
    expert mesh stays as large.
    """
    degrees = []
    for axis in (name for name in DEGREES if name in rule.reads):
        same = [r for r in rules if r is rule or set(r.reads) <= {axis, "shared_replicated"}]
        degree: int = getattr(shape, axis)
        least = 0 if axis == "redundant" else 1
        below = range(degree - 1, max(least, degree - FARTHEST) - 1, -1)
        above = range(degree + 1, degree + 1 + min(degree + 64, FARTHEST))
        for values in (below, above):
            for value in values:
                other = varied(shape, axis, value)
                if other is not None and all(r.breach(premise, other) is None for r in same):
                    degrees.append(f"{axis}={value}")
                    break
    return ", ".join(degrees)


def varied(shape: Shape, axis: str, value: int) -> Shape | None:
    """A shape with another value of a degree; another etp trades places with ep, or is None where it cannot."""
    if axis != "etp":
        changed: dict[str, Any] = {axis: value}
        return replace(shape, **changed)
    mesh = shape.etp * shape.ep
    return None if mesh % value else replace(shape, etp=value, ep=mesh // value)
