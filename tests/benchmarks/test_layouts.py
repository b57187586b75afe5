"""Pairs of layouts on as many devices: of one release alone, and as often right as the results page says."""

from dataclasses import replace

import pytest

from benchmarks.accuracy import Compared, Figures, compare
from benchmarks.layouts import TABLE, loads, pairs, regret
from benchmarks.measurements import Run, read_runs
from optimizer.domain.layout import Layout


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    return list(read_runs(TABLE))


def _item(run: Run, tp: int, measured: float, predicted: float) -> Compared:
    own = replace(run, layout=Layout(tp=tp, dp=4 // tp, etp=4), devices=4, tpot_s=measured, ttft_s=1.0)
    return Compared(own, Figures(1.0, predicted), Figures())


def test_only_layouts_of_one_release_and_load_are_compared(runs: list[Run]) -> None:
    one = _item(runs[0], 4, 0.010, 0.010)
    slower = _item(runs[0], 2, 0.020, 0.015)
    (pair,) = pairs([one, slower])
    assert pair.right
    assert pair.true_tpot > 0 > pair.true
    assert regret([one, slower]) == 0
    wrong = _item(runs[0], 2, 0.020, 0.005)
    (pair,) = pairs([one, wrong])
    assert not pair.right
    assert 0.4 < regret([one, wrong]) < 0.5
    for changes in ({"release": "another"}, {"concurrency": runs[0].concurrency + 1}, {"devices": 8}):
        assert not pairs([one, replace(wrong, run=replace(wrong.run, **changes))])


def test_every_row_has_another_layout_to_be_compared_with(runs: list[Run]) -> None:
    found = [Compared(run, Figures(run.ttft_s, run.tpot_s), Figures()) for run in runs]
    assert sum(len(items) for layouts in loads(found) for items in layouts.values()) == len(runs) == 156
    assert all(run.release and run.kind == "online" and not run.suspect for run in runs)
    assert len(pairs(found)) == 53


@pytest.mark.slow
def test_pairs_are_as_often_right_as_the_results_page_says(runs: list[Run]) -> None:
    found = [item for run in runs if (item := compare(run)) is not None]
    assert sum(pair.right for pair in pairs(found)) >= 46
    assert regret(found) < 0.005
