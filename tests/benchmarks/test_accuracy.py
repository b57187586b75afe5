"""The figures against measured runs: as good as they were, and no bound broken."""

import csv
from pathlib import Path
from statistics import mean

import pytest

from benchmarks import percentiles
from benchmarks.accuracy import OWN_TABLE, Compared, Figures, as_labelled, calibrated, compare, errors, regret
from benchmarks.calibration import golden_section
from benchmarks.measurements import MODELS, Run, read_runs
from optimizer.domain.limits import PERCENTILES


@pytest.fixture(scope="module")
def compared() -> list[Compared]:
    found = [compare(run) for run in read_runs(OWN_TABLE)]
    assert None not in found
    return [item for item in found if item is not None]


def test_every_row_names_its_public_source() -> None:
    with OWN_TABLE.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 200
    for row in rows:
        assert row["source"]
        assert row["url_or_repo_path"].startswith(("https://", "PyPI "))


def test_no_measurement_is_better_than_its_physical_bound(compared: list[Compared]) -> None:
    assert [item.run.place for item in compared if item.broken_bounds()] == []


def test_tpot_is_within_an_eighth_in_the_median(compared: list[Compared]) -> None:
    found = errors([ratio for item in compared if (ratio := item.ratio("tpot_s"))])
    assert found.count > 100
    assert found.median < 0.125
    assert found.mean < 0.14
    assert abs(found.bias) < 0.06


def test_ttft_is_within_a_third_in_the_mean(compared: list[Compared]) -> None:
    found = errors([r for item in compared if item.run.kind == "online" and (r := item.ratio("ttft_s"))])
    assert found.count > 100
    assert found.mean < 0.3
    assert abs(found.bias) < 0.2


def test_throughput_of_a_full_engine_is_within_a_fifth_in_the_median(compared: list[Compared]) -> None:
    found = errors([r for item in compared if item.run.kind == "queued" and (r := item.ratio("tokens_per_s"))])
    assert found.median < 0.2


def test_ranking_layouts_by_the_figures_costs_little(compared: list[Compared]) -> None:
    found = regret(compared)
    assert found.groups > 40
    assert found.hits > 0.8 * found.groups
    assert found.mean < 0.02


def _run(**changes: object) -> Run:
    found = next(run for run in read_runs(OWN_TABLE) if run.kind == "online" and run.concurrency >= 16)
    return Run(**{name: getattr(found, name) for name in Run.__dataclass_fields__} | changes)


def test_broken_bounds_are_found_on_either_side() -> None:
    run = _run(tpot_s=0.010, ttft_s=0.1, tokens_per_s=1000.0)
    item = Compared(run, Figures(0.1, 0.01, 900.0), Figures(ttft_s=0.2, tpot_s=0.009, tokens_per_s=900.0))
    assert item.broken_bounds() == ["ttft_s", "tokens_per_s"]
    assert item.ratio("tokens_per_s") == pytest.approx(0.9)


def test_regret_is_what_the_chosen_layout_loses() -> None:
    one = _run(tokens_per_s=1000.0, devices=1)
    two = _run(tokens_per_s=1800.0, devices=2, layout=one.layout.model_copy(update={"tp": 64}))
    wrong = [
        Compared(one, Figures(tokens_per_s=800.0), Figures()),
        Compared(two, Figures(tokens_per_s=2000.0), Figures()),
    ]
    assert regret(wrong).mean == pytest.approx(0.1)
    assert regret(wrong[:1]).groups == 0


def test_golden_section_finds_the_minimum() -> None:
    assert golden_section(lambda x: (x - 3) ** 2, 0, 10, 1e-4) == pytest.approx(3, abs=1e-3)


@pytest.mark.parametrize(
    ("own", "notes", "suspect"),
    [
        ({}, "TOPOLOGY_SUSPECT", True),
        ({"engine": "sglang", "tp": "4", "ep": "2", "num_gpus": "4"}, "id=q_agg_cfg736", True),
        ({"engine": "sglang", "tp": "4", "ep": "2", "num_gpus": "4"}, "id=q_agg_tp4_epnone_7", False),
        ({"tp": "2", "dp": "2", "ep": "4", "num_gpus": "4"}, "id=m_agg_tp2_ep2_1395", True),
        ({"tp": "1", "dp": "4", "ep": "4", "num_gpus": "4"}, "id=m_agg_tp4_0_ep4_0_9", False),
        ({"engine": "TensorRT-LLM", "engine_version": "1.2.0rc6.post3"}, "id=d_agg_tp8_ep1_9", True),
        ({"engine": "TensorRT-LLM", "engine_version": "1.2.0rc6.post2"}, "id=d_agg_tp8_ep1_9", False),
        ({"engine": "TensorRT-LLM", "engine_version": "1.1.0rc2.post2"}, "id=d_tp8_ep1_9; date=2026-01-14", True),
        ({"engine": "TensorRT-LLM", "engine_version": "1.1.0rc2.post2"}, "id=d_tp8_ep1_9; date=2025-12-15", False),
        ({"engine": "sglang", "engine_version": "0.5.9", "num_gpus": "8", "tp": "8"}, "id=d_agg_tp8_0_ep1_0_9", True),
        ({"engine": "sglang", "engine_version": "0.5.9", "num_gpus": "8", "tp": "8"}, "id=d_agg_cfg87", False),
    ],
)
def test_rows_that_are_not_what_was_launched_are_marked(
    tmp_path: Path, own: dict[str, str], notes: str, *, suspect: bool
) -> None:
    with OWN_TABLE.open(newline="", encoding="utf-8") as file:
        columns = csv.DictReader(file).fieldnames or []
    plain = dict.fromkeys(columns, "") | {
        "model": "deepseek-ai/DeepSeek-R1", "precision_weights": "fp8", "gpu": "B200 SXM", "engine": "vllm", "tp": "4",
        "num_gpus": "4", "mode": "aggregated", "isl": "1024", "osl": "1024", "concurrency_or_batch": "8",
    }  # fmt: skip
    table = tmp_path / "table.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerow(plain | own | {"notes": notes})
    assert [bool(run.suspect) for run in read_runs(table)] == [suspect]


def test_percentiles_are_as_far_from_measured_ones_as_the_results_page_says() -> None:
    found = {name: [r for ratios in groups.values() for r in ratios] for name, groups in percentiles.errors().items()}
    assert {len(ratios) for ratios in found.values()} == {13, 15}
    means = {name: mean(abs(ratio - 1) for ratio in ratios) for name, ratios in found.items()}
    assert max(means[f"tpot_p{share}"] for share in PERCENTILES) < 0.3
    assert max(means[f"ttft_p{share}"] for share in PERCENTILES) < 0.52
    assert means[f"tpot {percentiles.SPREAD}"] < 0.15
    assert means[f"ttft {percentiles.SPREAD}"] < 0.5


def test_what_no_problem_states_is_added_to_ttft_alone() -> None:
    run = next(run for run in read_runs(OWN_TABLE) if run.engine == "sglang" and run.concurrency >= 16)
    found = [compare(Run(**(run.__dict__ | own))) for own in ({"polls": 1}, {"polls": 3}, {"polls": 1, "waves": True})]
    times = [item.predicted.ttft_s for item in found if item is not None and item.predicted.ttft_s]
    tpot = found[0].predicted.tpot_s if found[0] is not None else None
    # two steps more between looks are one more to wait, about as long as a token takes
    assert tpot is not None
    assert times[1] - times[0] == pytest.approx(tpot, rel=0.1)
    # all of a wave start at once, not a tenth of them
    assert times[2] > times[0] + 0.45 * 0.9 * (run.layout.batch - 1) * tpot


@pytest.mark.parametrize(("gpu", "concurrency", "polls"), [("B200", 8, 10), ("B200", 64, 30), ("H200", 64, 1)])
def test_sglang_looks_for_requests_as_often_as_it_was_told(gpu: str, concurrency: int, polls: int) -> None:
    found = {
        run.polls
        for run in read_runs(OWN_TABLE)
        if (run.model, run.engine, run.gpu, run.kind) == ("deepseek-v3", "sglang", gpu, "online")
        and (run.concurrency < 16) == (concurrency < 16)
        and run.layout.tp == 8
    }
    assert found == {polls}


def test_a_name_that_is_unknown_drops_no_device(tmp_path: Path) -> None:
    head, *rows = OWN_TABLE.read_text().splitlines()
    chosen = [run for run in read_runs(OWN_TABLE) if run.kind == "online" and not run.suspect and run.gpu == "H100"]
    group = [run for run in chosen if run.group == chosen[0].group]
    lines = [rows[int(run.place.rpartition(":")[2]) - 2] for run in group[:6]]
    stranger = lines[0].replace(next(name for name in MODELS if name in lines[0]), "GPT-J 6B")
    table = tmp_path / "runs.csv"
    table.write_text("\n".join([head, *lines, stranger]) + "\n")
    (found,) = calibrated(table)
    assert found.to_json()["runs"] == 6


def test_raw_labels_set_nothing_aside() -> None:
    raw = [as_labelled(run) for run in read_runs(OWN_TABLE)]
    assert not any(run.suspect or run.waves or run.polls > 1 for run in raw)
