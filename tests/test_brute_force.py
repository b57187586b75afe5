"""The search against every layout there is, priced one by one by the reference."""

from __future__ import annotations

from fractions import Fraction

import pytest

from optimizer.certificate.meshes import lattice
from optimizer.certificate.optimality import prove
from optimizer.domain.lattice import axes
from optimizer.domain.problem import Problem
from optimizer.figures.serving import evaluate
from optimizer.search.search import Search
from optimizer.verify.constraints import violations
from tests.small_problems import MAXIMISED, OBJECTIVES, Priced, blocks, layouts, small_problem, value

BLOCK = 30


def objectives_of(problem: Problem) -> list[str]:
    """Objectives that the problem's phase and request rate allow."""
    unfit = {"decode": "ttft", "prefill": "tpot"}.get(problem.workload.phase)
    rated = problem.workload.request_rate is not None
    return [name for name in OBJECTIVES if name != unfit and (rated or name != "devices")]


def best_of_degrees(problem: Problem, found: list[Priced]) -> list[Fraction]:
    """Best value of each set of degrees (redundant slots among them), best first."""
    best: dict[tuple[int, ...], Fraction] = {}
    better = max if problem.objective in MAXIMISED else min
    for one in found:
        own = value(problem, one.evaluation, problem.objective)
        name = (*one.degrees, one.shape.redundant, one.shape.overlap)
        best[name] = better(best.get(name, own), own)
    return sorted(best.values(), reverse=problem.objective in MAXIMISED)


def fewest_devices(found: list[Priced], throughput: Fraction) -> int:
    """Fewest devices that reach a throughput."""
    return min(one.evaluation.devices for one in found if one.evaluation.throughput == throughput)


def compare(seed: int) -> None:
    problem = small_problem(seed)
    found = list(layouts(problem))
    for name in objectives_of(problem):
        asked = problem.model_copy(update={"objective": name})
        ranked = best_of_degrees(asked, found)
        search = Search(asked)
        answer = search.run()
        assert answer.complete
        assert [s.value for s in answer.best] == ranked[:1], f"seed {seed}, objective {name}"
        if ranked and name == "throughput":
            assert answer.best[0].layout.devices == fewest_devices(found, ranked[0]), f"seed {seed}"
        for best in answer.best:
            own = evaluate(asked, best.layout)
            assert violations(asked, best.layout, own, waits=False) == (), f"seed {seed}, objective {name}"
            assert value(asked, own, name) == best.value, f"seed {seed}, objective {name}"
        wanted = 2 + seed % 5
        top = Search(asked, wanted=wanted).run().best
        assert [s.value for s in top] == ranked[:wanted], f"seed {seed}, objective {name}"
        own = [s.layout for s in top]
        degrees = [(each.tp, each.cp, each.pp, each.etp, each.ep, each.overlap) for each in own]
        assert problem.experts is not None or len(set(degrees)) == len(degrees)


@pytest.mark.parametrize("first", blocks(0, 5000, BLOCK, quick=30))
def test_the_search_finds_the_best_of_all_layouts(first: int) -> None:
    for seed in range(first, first + BLOCK):
        compare(seed)


@pytest.mark.parametrize("first", blocks(0, 90, BLOCK, quick=30))
def test_the_proof_refutes_every_worse_claim(first: int) -> None:
    """A proof that dismissed too much would accept the second best."""
    for seed in range(first, first + BLOCK):
        problem = small_problem(seed)
        found = list(layouts(problem))
        for name in objectives_of(problem):
            asked = problem.model_copy(update={"objective": name})
            ranked = best_of_degrees(asked, found)
            own = lattice(asked, axes(asked))
            if not ranked:
                assert prove(asked, own, None).counterexample is None
                continue
            assert prove(asked, own, None).counterexample is not None, f"seed {seed}, objective {name}"
            tied = None
            if name == "throughput":
                served = ranked[0] / asked.workload.tokens_of_request
                tied, more = ((served, fewest_devices(found, ranked[0]) + extra) for extra in (0, 1))
                assert prove(asked, own, ranked[0], tied=more).counterexample is not None, f"seed {seed}"
            assert prove(asked, own, ranked[0], tied=tied).counterexample is None, f"seed {seed}, objective {name}"
            worse = ranked[0] * Fraction(999, 1000) if name in MAXIMISED else ranked[0] * Fraction(1001, 1000)
            # where the engine's own step leaves no cache, the longest context is 0, and nothing is worse
            assert not ranked[0] or prove(asked, own, worse).counterexample is not None, f"seed {seed}, {name}"


def test_the_random_problems_are_of_every_kind() -> None:
    """A comparison of nothing but infeasible or unconstrained problems would prove little."""
    problems = [small_problem(seed) for seed in range(300)]
    phases = {p.workload.phase for p in problems}
    assert phases == {"aggregated", "prefill", "decode"}
    for share in (
        [p.limits.ttft is not None for p in problems],
        [p.limits.tpot is not None for p in problems],
        [p.workload.request_rate is not None for p in problems],
        [p.engine_name == "vllm" for p in problems],
        [p.model.moe is not None for p in problems],
        [len(p.hardware.tiers) == 3 for p in problems],
        [p.workload.mtp_tokens > 0 for p in problems],
        [p.devices % 2 == 1 for p in problems],
    ):
        assert 0.05 < sum(share) / len(share) < 0.95
    feasible = sum(any(True for _ in layouts(p)) for p in problems[:100])
    assert 30 < feasible < 90
