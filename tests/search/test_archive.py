"""What an archive dismisses against every vector in it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from optimizer.domain.objectives import OBJECTIVES
from optimizer.search.archive import Archive
from tests.small_problems import small_problem


@pytest.mark.parametrize(("seed", "names"), [
    (seed, names) for seed in range(6)
    for names in (("tpot", "throughput_per_device"), ("tpot", "throughput_per_device", "memory_headroom"))
])  # fmt: skip
def test_rows_are_dismissed_that_a_vector_dominates_and_no_others(seed: int, names: tuple[str, ...]) -> None:
    rng, problem = np.random.default_rng(seed), small_problem(0)
    archive = Archive(problem, [OBJECTIVES[name].scale(problem) for name in names])
    layout: Any = None  # nothing asks for it where no two vectors are equal
    steps: list[int] = []
    vectors = rng.permutation(np.unique(rng.integers(1, 40, (400, len(names))), axis=0))
    for number, vector in enumerate(vectors.tolist()):
        archive.add(tuple(map(Fraction, vector)), layout)
        if number % 50 == 0:
            rows = rng.integers(1, 60, (200, len(names))).astype(float)
            kept = np.array([[float(v) for v in own] for own in archive.found])
            reached = np.array([np.any(np.all(kept <= row, axis=1)) for row in rows])
            beaten = np.array([np.any(np.all(kept < row, axis=1)) for row in rows])
            found = archive.dominates(rows)
            assert np.all(found[beaten])
            assert not np.any(found & ~reached)
            assert np.array_equal(np.concatenate([archive.dominates(row[None]) for row in rows]), found)
            fresh = archive.dominates(rows, len(archive) - 1)
            assert not np.any(fresh & ~found)
            steps.append(len(archive))
    # what was found is what nothing else dominates
    assert {tuple(map(int, own)) for own in archive.found} == {
        tuple(own) for own in vectors.tolist()
        if not any(other != own and all(a <= b for a, b in zip(other, own, strict=True)) for other in vectors.tolist())
    }  # fmt: skip
    assert steps[-1] > steps[0]


def test_what_floats_hold_equal_is_decided_exactly() -> None:
    problem = small_problem(0)
    archive = Archive(problem, [OBJECTIVES[name].scale(problem) for name in ("tpot", "throughput_per_device")])
    layout: Any = None
    one, two, tiny = Fraction(1), Fraction(2), Fraction(1, 10**20)
    apart = [(one, two), (one + tiny, two - tiny), (one - tiny, two + tiny)]
    for vector in apart:
        archive.add(vector, layout)
    assert set(archive.found) == set(apart)
    archive.add((one + tiny, two), layout)
    assert set(archive.found) == set(apart)
    archive.add((one - tiny, two - tiny), layout)
    assert set(archive.found) == {(one - tiny, two - tiny)}
