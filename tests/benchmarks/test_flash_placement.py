import numpy as np

from benchmarks.baselines.flash_placement import flash, packed
from benchmarks.baselines.greedy_placement import eplb
from optimizer.figures.placement import max_over_mean, violations
from optimizer.readers.load_profiles import profile_rows
from tests.placement.enumeration import placed


def test_the_published_example_is_met() -> None:
    # vLLM pull request 24069: greedy 232, claimed 205; the optimum is 590 / 3.
    load = [600, 560, 120, 120, 20, 10, 10, 10]
    held = flash([load], 8, 2)
    assert not violations(held, 8, 8, 2)
    hottest = max_over_mean(load, held) * sum(load) / 8
    assert 590 / 3 <= hottest <= 205


def test_several_samples_are_met_better_than_by_their_mean_but_not_as_well_as_by_search() -> None:
    samples = [profile_rows("zipf:0.6", 1, 32, seed)[0] for seed in (1, 2, 3)]
    held = flash(samples, 8, 6)
    assert not violations(held, 32, 8, 6)
    greedy = eplb(np.array(samples).sum(axis=0).tolist(), 8, 6)
    ours = placed([[row] for row in samples], 8, 6)
    worst = max(max_over_mean(row, held) for row in samples)
    assert ours.bound <= ours.max_over_mean <= worst
    assert worst <= max(max_over_mean(row, greedy) for row in samples)


def test_packing_keeps_slots_and_copies() -> None:
    samples = np.array([[3.0, 1.0, 0.0, 0.0], [1.0, 2.0, 0.5, 0.5]])
    counts = np.array([[2, 2, 1, 1], [3, 1, 1, 1]])
    held, peak = packed(samples, counts, 3, 0.5)
    for split in range(2):
        assert not violations(held[split].tolist(), 4, 3, 2)
        assert np.bincount(held[split].ravel()).tolist() == counts[split].tolist()
        loads = (samples / counts[split])[:, held[split]].sum(axis=2)
        assert np.isclose(peak[split], loads.max(axis=1).mean())
