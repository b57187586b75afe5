"""Bounds that leave little to decide exactly, in deep pipelines and over slow links; which meshes share a stage."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from optimizer.certificate.meshes import lattice
from optimizer.domain.engines import ANY, ENGINES
from optimizer.domain.lattice import axes
from optimizer.domain.model import ModelSpec
from optimizer.domain.problem import Problem
from optimizer.errors import SpecError
from optimizer.readers.read import read_problem
from optimizer.search.lattice import Lattice, Meshes, _numbered
from optimizer.search.search import Search
from tests.small_problems import small_problem

SLOW_LINKS = Path(__file__).parents[2] / "problems/scenarios/infeasible/pair-bandwidth-rate-deepseek-v3-h800-16.yaml"


def _deep(layers: int) -> Problem:
    """A Llama of so many narrow layers on 32 nodes."""
    problem = read_problem("llama-3.1-70b-h100-16")
    model = problem.model.model_dump() | {"name": "deep", "hidden_size": 2048, "published": None}
    model["layers"] = [{"pattern": ["layer"], "count": layers}]
    model["blocks"]["layer"]["attention"] |= {"heads": 32, "kv_heads": 8}
    model["blocks"]["layer"]["ffn"]["intermediate"] = 8192
    work = problem.workload.model_copy(update={"input_tokens": 2048, "output_tokens": 256})
    return problem.model_copy(
        update={
            "model": ModelSpec.model_validate(model),
            "devices": 256,
            "workload": work,
            "limits": type(problem.limits)(),
        }
    )


def test_of_a_deep_pipeline_few_layouts_are_decided_exactly() -> None:
    # 5,000 layers divide unevenly by most depths, and batches of many stages leave the last micro-batch unfilled
    search = Search(_deep(5000))
    assert search.run().complete
    assert search.tally.exact < 100


def test_where_links_are_slow_few_layouts_are_decided_exactly() -> None:
    # what a replica spans decides which links its stages use: 15,000 rows looked better than they were
    problem = read_problem(SLOW_LINKS)
    unrated = problem.model_copy(update={"workload": problem.workload.model_copy(update={"request_rate": None})})
    search = Search(unrated.model_copy(update={"objective": "throughput"}))
    assert search.run().complete
    assert search.tally.exact < 100


def test_what_the_incumbent_beats_is_not_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    def decided() -> int:
        search = Search(read_problem("llama-3.1-8b-l40s-8-ttft"))
        assert search.run().complete
        return search.tally.exact

    found = decided()
    # all but what no limit lets in
    monkeypatch.setattr(Search, "_beaten", lambda _, bound: bound == -np.inf)
    assert found < decided() / 2


def test_mesh_pairs_are_those_that_are_counted_one_by_one() -> None:
    asked = read_problem("deepseek-v3-h200-32").changed(devices=8)
    large = [asked.changed(engine_name=name) for name in (ANY, *ENGINES)]
    for seed, problem in enumerate([*map(small_problem, range(60)), *large]):
        own = axes(problem)
        found, expected = Lattice(problem, own), lattice(problem, own)
        listed = found.listed()
        pairs = {
            (tp, cp, *mesh) for tp in own.tp for cp in own.cp for mesh in expected.expert_meshes(tp, cp)
        }  # fmt: skip
        assert _pairs(listed.meshes) == pairs
        assert listed.count == len(pairs) == len(listed.meshes)
        assert {family.value: count for family, count in listed.excluded.items()} == expected.excluded
        wanted = np.arange(len(found.attention)) % 3 == seed % 3
        some = found.listed(wanted)
        assert (some.count, some.excluded) == (listed.count, listed.excluded)
        chosen = set(map(tuple, found.attention[wanted].tolist()))
        assert _pairs(some.meshes) == {pair for pair in pairs if pair[:2] in chosen}


def _pairs(found: Meshes) -> set[tuple[int, int, int, int, int, bool]]:
    columns = (found.tp, found.cp, found.redundant, found.etp, found.ep, found.overlap > 0)
    return set(zip(*(own.tolist() for own in columns), strict=True))


def test_values_are_numbered_in_ascending_order() -> None:
    for most in (3, 1000, 1 << 40):
        rng = np.random.default_rng(most)
        values = rng.integers(0, most, 200)
        assert _numbered(values).tolist() == np.unique(values, return_inverse=True)[1].tolist()


@pytest.mark.parametrize(("phase", "objective"), [("decode", "ttft"), ("decode", "ttft_p99"), ("prefill", "tpot")])
def test_an_objective_without_meaning_in_the_phase_is_refused_however_the_problem_came_about(
    phase: str, objective: str
) -> None:
    whole = read_problem("llama-3.1-70b-h100-16")
    changed = {"objective": objective, "workload": whole.workload.model_copy(update={"phase": phase})}
    with pytest.raises(SpecError, match=f"'{objective}' has no meaning in phase '{phase}'"):
        Search(whole.model_copy(update=changed)).run()
    with pytest.raises(ValidationError, match="has no meaning"):
        whole.changed(**changed)
