"""(engine) The engine's validity rules, each a table over the degrees that it reads; of several engines one accepts."""

from __future__ import annotations

from itertools import product
from math import prod
from types import SimpleNamespace
from typing import cast

from ortools.sat.python import cp_model

from optimizer.declarative.statement import Family, Statement
from optimizer.domain.engines.rule import EngineRule
from optimizer.domain.shape import Shape


class _Unread:
    """A degree that a rule does not say that it reads: it may stand in a sentence, and decides nothing."""

    __hash__ = None  # type: ignore[assignment]

    def __format__(self, spec: str) -> str:
        return "?"

    def __eq__(self, other: object) -> bool:
        raise TypeError("a rule decides by a degree that it does not list among what it reads")


class _Shown(SimpleNamespace):
    """A shape of which only some degrees are known."""

    def __getattr__(self, name: str) -> _Unread:
        return _Unread()


_MESHES = (("tp", "cp", "dp"), ("etp", "ep", "edp"))
"""Degrees whose product is at most the devices of a stage."""


class Engine(Family):
    """What an engine runs."""

    def post(self, own: Statement) -> None:
        """One of the engines accepts: none of its rules is broken."""
        members = own.problem.engine.members or (own.problem.engine,)
        accepting = [own.model.new_bool_var(f"{member.name} accepts") for member in members]
        own.model.add_bool_or(accepting)
        known: dict[tuple[str, tuple[str, ...], int], cp_model.IntVar] = {}
        for member, accepts in zip(members, accepting, strict=True):
            for rule in member.rules:
                key = (rule.name, rule.reads, id(rule))
                if key not in known:
                    known[key] = self._kept(own, rule)
                own.model.add_implication(accepts, known[key])

    @staticmethod
    def _kept(own: Statement, rule: EngineRule) -> cp_model.IntVar:
        """A literal that is false where the rule is broken."""
        kept, n = own.model.new_bool_var(f"rule {rule.name}"), own.problem.devices
        variables = [own.degree(name) for name in rule.reads]
        others = {"shared_replicated": [0, 1], "spread": [0, 1]}
        values = [own.domains.get(name) or others.get(name) or range(1, n + 1) for name in rule.reads]
        passing = []
        for chosen in product(*values):
            given = dict(zip(rule.reads, chosen, strict=True))
            if any(prod(given.get(name, 1) for name in mesh) > n for mesh in _MESHES):
                continue
            stub = cast("Shape", _Shown(**given))
            passing.append((*chosen, int(rule.breach(own.problem, stub) is None)))
        own.model.add_allowed_assignments([*variables, kept], passing)
        return kept
