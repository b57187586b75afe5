"""Published fleets cost what they were published to cost, and the cheapest are proved."""

import pytest

from benchmarks.published_fleets import CASES, GPUS, HOURS_A_YEAR, cluster_of, devices, ranges
from optimizer.cluster import solve_cluster

KINDS = list(GPUS.values())


def _yearly(case, most):
    result = solve_cluster(cluster_of(case, KINDS, ranges(case, KINDS, most)))
    assert result.status == "optimal"
    return float(result.value) * HOURS_A_YEAR / 1000


def test_the_publishers_own_fleets_are_sized_as_published():
    azure, larger, lmsys, agent = CASES
    assert devices(azure, GPUS["H100"], 0, 8192) == 6
    assert devices(larger, GPUS["A100"], 0, 8192) == 24
    assert (devices(lmsys, GPUS["A100"], 0, 4096), devices(lmsys, GPUS["H100"], 4096, 65536)) == (3, 3)
    assert (devices(agent, GPUS["H100"], 0, 4096), devices(agent, GPUS["H100"], 4096, 65536)) == (2, 23)


@pytest.mark.parametrize(
    ("number", "most", "kilodollars"), [(0, 4, 168.1), (1, 2, 336.2), (1, 4, 327.4), (2, 4, 115.0), (3, 4, 633.2)]
)
def test_the_cheapest_fleets_of_the_published_rates(number, most, kilodollars):
    assert _yearly(CASES[number], most) == pytest.approx(kilodollars, abs=0.06)
