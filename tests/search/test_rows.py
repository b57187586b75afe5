"""Rows of a sieve: nothing is lost or asked twice where they are split."""

from __future__ import annotations

import numpy as np

from optimizer.search.rows import Rows, halved


def test_halves_hold_each_chunk_once() -> None:
    chunks = np.array([1, 2, 3, 5, 8, 13, 21], dtype=np.int64)
    least, most = np.array([0, 0, 2, 3, 6]), np.array([6, 1, 2, 5, 6])
    rows = Rows(np.arange(5), np.array([1, 2, 3, 4, 5]), chunks[least], chunks[most])
    found = halved(rows, chunks)
    # one chunk alone stays as it is, several become two
    assert len(found) == 8
    for row in range(5):
        own = np.flatnonzero(found.mesh == row)
        assert set(found.pp[own].tolist()) == {row + 1}
        held = [c for at in own for c in chunks.tolist() if found.least[at] <= c <= found.most[at]]
        assert sorted(held) == chunks[least[row] : most[row] + 1].tolist()
