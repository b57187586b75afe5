"""The judgement of a layout document: feasible or not and why, every figure, every claim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from optimizer.domain.convention import CONVENTIONS
from optimizer.domain.engines import ANY, Engine, engine_named
from optimizer.domain.lattice import outside
from optimizer.domain.layout import Layout
from optimizer.domain.margins import accuracy
from optimizer.domain.problem import Problem
from optimizer.figures.costs import Imbalance
from optimizer.figures.derivation import derive, figures_json
from optimizer.figures.derivation_figure import Figure
from optimizer.figures.serving import Evaluation, evaluate
from optimizer.readers.read import LayoutDocument
from optimizer.verify.claims import ComparedClaim, Judged, Verdict, judge_claims
from optimizer.verify.constraints import BLOCKING, priced_violations, structural_violations
from optimizer.verify.doubts import doubts
from optimizer.verify.extra_figures import extra_figures
from optimizer.verify.placement import Placed, placed_experts, placed_in_order, placement_figures
from optimizer.verify.violation import Violation


@dataclass(frozen=True, repr=False)
class LayoutVerdict(Judged):
    """What `verify` found of a layout.

    Attributes
    ----------
    violations
        Every constraint that it breaks, each with its numbers.
    claims
        Every claim with its `verdict`, what it was compared with, and why.
    evaluation, figures
        None and empty where the layout has no price: its meshes or its stages contradict each other.
    imbalance
        Hottest device's expert load ÷ mean of each layer that it was priced with; None: balanced.
    least
        The problem with the shortest sequences that it starts with, where they are fitted to its cache.
    beside
        Doubts of what the layout was read from.
    despite
        Memory that is short as derived, where what the layout was read from may change that: those doubts in place of
        how far the derived memory may be off.
    """

    problem: Problem
    layout: Layout
    convention: str | None
    violations: tuple[Violation, ...]
    evaluation: Evaluation | None
    figures: Mapping[str, Figure]
    claims: tuple[ComparedClaim, ...] = ()
    figures_document: dict[str, Any] = field(default_factory=dict)
    imbalance: Imbalance = None
    beside: tuple[str, ...] = ()
    least: Problem | None = None
    despite: tuple[str, ...] = ()

    @cached_property
    def doubts(self) -> tuple[str, ...]:
        """Why it may not fit though it does as expected: what its engine keeps is not known well enough to say."""
        if not self.feasible or self.evaluation is None:
            return ()
        return (*(self.despite or doubts(self.least or self.problem, self.evaluation)), *self.beside)

    @property
    def fits(self) -> str:
        """``yes``, ``may not fit`` or ``no``."""
        if not self.feasible:
            return "no"
        return "may not fit" if self.doubts else "yes"

    @property
    def headline(self) -> str:
        """The answer in one line."""
        return self.fits if self.doubts else super().headline

    @property
    def outside_lattice(self) -> tuple[str, ...]:
        """What of the layout no search looks at: a chunk beyond the token budget, a batch beyond the largest."""
        return outside(self.problem, self.layout)

    @property
    def accuracy(self) -> dict[str, object] | None:
        """How far measured times of the problem's class lie from these; None where there is no price."""
        if self.evaluation is None:
            return None
        return accuracy(self.problem.margin, self.figures_document, self.problem.asked)

    def to_json(self) -> dict[str, Any]:
        """``shardproof/verdict/1``."""
        layout = self.layout
        document: dict[str, Any] = {
            "schema": "shardproof/verdict/1",
            "feasible": self.feasible,
            "fits": self.fits,
            "doubts": list(self.doubts),
            "violations": [violation.to_json() for violation in self.violations],
            "layout": layout_json(layout, None if self.evaluation is None else self.evaluation.cuts)
            | {"convention": self.convention},
            "figures": self.figures_document,
            "claims": [judged.to_json() for judged in self.claims],
            "outside_lattice": list(self.outside_lattice),
            "derivations": [figure.to_json() for figure in self.figures.values()],
        }
        return document if self.accuracy is None else document | {"accuracy": self.accuracy}


def layout_json(layout: Layout, cuts: tuple[int, ...] | None) -> dict[str, Any]:
    """``layout`` of a result: degrees, devices, replicas, batch, chunk and stages."""
    names = ("tp", "cp", "dp", "pp", "etp", "ep", "edp", "devices", "replicas", "batch", "prefill_chunk")
    document: dict[str, Any] = {name: getattr(layout, name) for name in names}
    first, stages = 0, []
    for layers in cuts or ():
        stages.append({"first_layer": first, "layers": layers})
        first += layers
    overlap = {} if layout.overlap == "none" else {"overlap": layout.overlap}
    return document | overlap | {"stages": stages or None}


def judge_layout(
    problem: Problem,
    layout: Layout,
    *,
    convention: str | None = None,
    placed: Placed | None = None,
) -> LayoutVerdict:
    """Feasibility and figures of a layout, without claims.

    Parameters
    ----------
    convention
        Convention it was written under; that of an engine brings the engine's rules along.
    placed
        Expert placement, where there is one; with measured loads and none, that of experts in order.
    """
    engines = bound_engines(problem, convention)
    if problem.engine.name == ANY and engines[0] is not problem.engine:
        # what the convention's engine keeps and allocates, not the least of all engines
        problem = problem.changed(engine_name=engines[0].name)
    placed = placed or placed_in_order(problem, layout)
    if placed:
        layout = layout.model_copy(update={"redundant_slots": placed.redundant})
    imbalance: Imbalance = placed.imbalance if placed else None
    violations = structural_violations(problem, layout, engines=engines)
    violations += placed.violations if placed else ()
    if any(violation.family in BLOCKING for violation in violations):
        return LayoutVerdict(problem, layout, convention, violations, None, {})
    evaluation = evaluate(problem, layout, imbalance=imbalance)
    figures = derive(problem, layout, evaluation)
    document = figures_json(problem, layout, evaluation, figures)
    violations += priced_violations(problem, evaluation, imbalance)
    figures = {**figures, **extra_figures(problem, evaluation, figures, imbalance)}
    return LayoutVerdict(problem, layout, convention, violations, evaluation, figures, (), document, imbalance)


def bound_engines(problem: Problem, convention: str | None) -> tuple[Engine, ...]:
    """Engines whose rules bind a layout: the problem's, and that of the convention it is written under."""
    named = next((rule.engine for name, rule in CONVENTIONS.items() if name == convention), None)
    if named is None or named == problem.engine.name:
        return (problem.engine,)
    engine = engine_named(named)
    return (engine,) if problem.engine.name == ANY else (problem.engine, engine)


def judge(document: LayoutDocument) -> LayoutVerdict:
    """Judge a layout file or a result, and every claim in it."""
    convention = document.written.convention if document.written else None
    placed = placed_experts(document.problem, document.layout, document.placement) if document.placement else None
    verdict = judge_layout(document.problem, document.layout, convention=convention, placed=placed)
    if verdict.evaluation is None:
        note = "the layout has no price: " + "; ".join(map(str, verdict.violations))
        claims = tuple(ComparedClaim(claim, Verdict.UNSUPPORTED, note=note) for claim in document.claims)
    else:
        figures = dict(verdict.figures)
        if document.claims and document.placement is not None and not (placed and placed.violations):
            figures |= placement_figures(document.problem, document.layout, document.placement)
        claims = judge_claims(document.claims, figures, document.problem, document.layout)
    return LayoutVerdict(
        verdict.problem, verdict.layout, verdict.convention, verdict.violations, verdict.evaluation, verdict.figures,
        claims, verdict.figures_document, verdict.imbalance,
    )  # fmt: skip
