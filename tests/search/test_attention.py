"""Attention meshes in place of all mesh pairs over them: no pair goes below, and the search finds the same."""

from itertools import count
from random import Random

import numpy as np
import pytest

from optimizer.domain.lattice import axes
from optimizer.domain.problem import Problem
from optimizer.figures.objective import better, key
from optimizer.figures.skew import Skews
from optimizer.readers.read import read_problem
from optimizer.search import search as sieves
from optimizer.search.attention import AttentionPricer
from optimizer.search.bounds import Bounds
from optimizer.search.lattice import Lattice
from optimizer.search.pricing import MARGIN, Pricer
from optimizer.search.rows import Rows, open_rows
from optimizer.search.search import Search
from optimizer.search.targets import target
from optimizer.solve.result import proved_bound
from tests.small_problems import small_problem

LARGE = ("deepseek-v3-decode-h800-320", "deepseek-v3-prefill-h800-32", "kimi-k2-gb200-72", "gpt-oss-120b-vllm-h100-4")


@pytest.mark.parametrize(
    "problem", [*map(small_problem, range(80)), *map(read_problem, LARGE)], ids=lambda own: own.name
)
def test_no_mesh_pair_goes_below_its_attention_mesh(problem: Problem) -> None:
    own, rng = axes(problem), np.random.default_rng(1)
    lattice, chunks = Lattice(problem, own), np.array([c or 0 for c in own.chunks])
    found = lattice.listed().meshes
    if not len(found) or not own.pp:
        return
    found = found.take(rng.choice(len(found), min(len(found), 2000), replace=False))
    alone = AttentionPricer(problem, lattice.attention, Skews(problem))
    number = {tuple(mesh): i for i, mesh in enumerate(lattice.attention.tolist())}
    where = np.array([number[mesh] for mesh in zip(found.tp.tolist(), found.cp.tolist(), strict=True)])
    chunk = rng.choice(chunks, len(found))
    rows = Rows(np.arange(len(found)), rng.choice(np.array(own.pp), len(found)), chunk, chunk)
    pricer = Pricer(problem, found, found.stage * rows.pp)
    pairs = Bounds(pricer, rows, own.pp[-1])
    around = Bounds(alone, open_rows(alone.meshes, chunks).take(where), own.pp[-1])
    micro = np.floor(2.0 ** rng.uniform(0, 20, len(found)))
    firsts = (problem.scale.percentile,) if problem.workload.prompts else ()
    ours, theirs = around.stack(micro, firsts), pairs.stack(micro, firsts)
    stable = theirs.share <= 1  # with an open chunk the bound is of steps that keep up
    times = [(ours.turn, theirs.turn), (ours.cycle, theirs.cycle)]
    times += [(ours.firsts[aim], theirs.firsts[aim]) for aim in firsts]
    assert all(np.all((least <= each * (1 + MARGIN)) | ~stable) for least, each in times)
    assert np.all(around.memory(micro) <= pairs.memory(micro) * (1 + MARGIN))
    assert np.all(around.longest() >= pairs.longest())
    served = pairs.most_requests(target(problem, None))
    assert np.all(around.most_requests(target(problem, None)) >= served - np.abs(served) * MARGIN)
    ends = [(alone.send_each, pricer.send_each), (alone.send_fixed, pricer.send_fixed), (alone.hidden, pricer.hidden)]
    parts = zip([*alone.weights, *alone.graphs], [*pricer.weights, *pricer.graphs], strict=True)
    assert all(np.all(least[where] <= each * (1 + MARGIN)) for least, each in [*ends, *parts])
    step = micro, micro, micro * 0, micro * 0
    for least, each in zip(alone.kinds, pricer.kinds, strict=True):
        assert np.all(least.take(where).seconds(*step) <= each.seconds(*step) * (1 + MARGIN))
        for group, other in zip(least.groups, each.groups, strict=True):
            assert np.all(
                group.take(where).seconds(micro) <= other.seconds(micro) * (2 + MARGIN) / (1 + (found.overlap == 0))
            )


@pytest.mark.parametrize("seed", range(60))
def test_sieved_by_attention_mesh_the_search_finds_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = small_problem(seed)
    plain = Search(problem, wanted=3)
    expected = plain.run()
    # without incumbents the sieves and the order of bounds alone find it
    monkeypatch.setattr(Search, "_warm_up", lambda _: None)
    monkeypatch.setattr(sieves, "_WIDE", 0)
    monkeypatch.setattr(sieves, "_MESHES", 1 + Random(seed).randrange(50))  # noqa: S311 - test data
    search = Search(problem, wanted=3)
    found = search.run()
    assert [key(problem, scored) for scored in found.best] == [key(problem, scored) for scored in expected.best]
    assert found.complete
    assert search.lattice_json() == plain.lattice_json()


@pytest.mark.parametrize("wide", [0, 1 << 60])
def test_without_time_what_is_left_is_bounded(wide: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sieves, "_WIDE", wide)
    # incumbents that are far from the best
    monkeypatch.setattr(sieves, "coarse_meshes", lambda *own: Lattice(*own).listed().meshes.take(slice(-2, None)))
    open_ = 0
    for seed in range(60):
        problem = small_problem(seed)
        whole, late, asked = Search(problem), Search(problem), count()
        after = 3 * (seed // 2)
        monkeypatch.setattr(late, "_late", lambda asked=asked, after=after: next(asked) >= after)
        best, found = whole.run().best, late.run()
        assert late.lattice_json() == whole.lattice_json()
        assert not found.best or best
        if found.complete:
            assert [scored.value for scored in found.best] == [scored.value for scored in best]
        elif found.best:
            bound = proved_bound(problem, found)
            assert bound is not None
            assert not better(problem, best[0].value, bound)
            open_ += 1
    assert open_ > 4


def test_stopped_by_hand_it_says_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(30):
        problem = small_problem(seed)
        best = Search(problem).run().best
        if not best:
            continue
        with monkeypatch.context() as patched:
            search = Search(problem)
            patched.setattr(search, "_layouts", lambda _: 1 // 0)
            with pytest.raises(ZeroDivisionError):
                search.run()
        found = search.stopped()
        assert not better(problem, best[0].value, proved_bound(problem, found))
