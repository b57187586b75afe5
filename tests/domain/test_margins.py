"""Margins: what a confidence asks of predicted times, and whether measured runs keep it."""

import copy
import json
import math
import random
from fractions import Fraction
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from benchmarks.accuracy import OWN_TABLE, compare
from benchmarks.margins import (
    FIGURES,
    Ratios,
    choices,
    classes,
    coverage,
    left_out,
    margins,
    own_shares,
    ratios_of,
    tie,
)
from benchmarks.measurements import read_runs
from optimizer import certify, read_problem, solve
from optimizer.cli.main import run
from optimizer.domain.engines import ENGINES
from optimizer.domain.layout import slotted
from optimizer.domain.limit_table import bounds_of, first_limits, tightest
from optimizer.domain.limits import SearchLimits
from optimizer.domain.margins import DEFAULT_CONFIDENCE, MARGINS, SHARES, margin_of, quantile, share_within
from optimizer.domain.objectives import Measure
from optimizer.domain.problem import Problem
from optimizer.domain.uncertainty import MOST_TIES
from optimizer.errors import SpecError
from optimizer.explain import explain
from optimizer.readers.document import load
from optimizer.readers.read import layout_in
from optimizer.verify import judge
from optimizer.verify.claim_table import dimensions

ASKED: dict[str, Any] = {
    "model": "llama-3.1-70b", "hardware": "h200-sxm-8", "devices": 4, "precision": {"weights": "fp8"},
    "engine": "vllm", "workload": {"input_tokens": 2048, "output_tokens": 256},
}  # fmt: skip


def test_quantiles_are_those_of_the_table_and_between_them_linear() -> None:
    own = margin_of(moe=False, engine="vllm").tpot_s
    assert quantile(own, 0.9) == Fraction("1.28")
    assert quantile(own, 0.85) == (Fraction("1.168") + Fraction("1.28")) / 2
    with pytest.raises(ValueError, match=r"not between 0.05 and 0.95"):
        quantile(own, 0.99)


def test_a_class_without_runs_takes_all_of_them() -> None:
    assert margin_of(moe=True, engine="megatron").engine == "any"
    # one group alone says nothing of others: dense models on SGLang have one
    assert margin_of(moe=False, engine="sglang").engine == "any"
    assert sum(row.runs for row in MARGINS[1:]) == MARGINS[0].runs - 84
    for row in MARGINS:
        for values in (row.tpot_s, row.ttft_s):
            assert len(values) == len(SHARES)
            assert list(values) == sorted(values)


def test_nine_of_ten_shipped_runs_keep_a_limit_that_was_met_at_90_percent() -> None:
    found = [compare(run) for run in read_runs(OWN_TABLE) if run.kind == "online"]
    rows = ratios_of(item for item in found if item is not None)
    assert len(rows) == len(found)
    for name in FIGURES:
        kept = [
            getattr(row, name) <= quantile(getattr(margin_of(moe=bool(row.own[0]), engine=row.own[1]), name), 0.9)
            for row in rows
        ]
        assert 0.88 < sum(kept) / len(kept) < 0.99


def test_a_row_says_what_keeps_runs_of_groups_that_it_has_not_seen() -> None:
    # ten groups, each off by a factor of its own: its neighbours keep fewer than their own share
    dice = random.Random(1)  # noqa: S311 - no secret
    rows = []
    for number in range(10):
        own = dice.gauss(1, 0.2)
        rows += [Ratios((False, "vllm"), str(number), own * dice.gauss(1, 0.02), own) for _ in range(30)]
    shares = own_shares(rows, "tpot_s")
    assert shares[SHARES.index(0.9)] > 0.9
    assert shares == sorted(shares)
    kept = coverage(rows, left_out(rows), 0.9)
    assert abs(kept["tpot_s"] - 0.9) < 0.05
    table = {row.engine: row for row in margins(rows)}
    assert table["vllm"].runs == table["any"].runs == 300
    assert list(classes(rows[:30])) == [(None, "any")]


def test_ties_end_where_pairs_are_right_nine_times_of_ten() -> None:
    pairs = [(0.01 * number, number % 2 == 0 or number >= 10) for number in range(60)]
    least = tie(pairs)
    assert least is not None
    assert mean(right for _, right in pairs[least[1] :]) >= 0.9
    assert least[1] == 0 or mean(right for _, right in pairs[least[1] - 1 :]) < 0.9
    assert tie([(0.1, False), (0.3, True)]) == (math.exp(0.3) - 1, 1)
    assert tie([(0.1, False)]) is None


def test_choices_at_the_default_confidence_break_few_limits_as_measured() -> None:
    found = [item for run in read_runs(OWN_TABLE) if run.kind == "online" and (item := compare(run)) is not None]
    tables = left_out(ratios_of(found))
    alone, sure = (choices(found, tables, share) for share in (None, float(DEFAULT_CONFIDENCE)))
    assert sure.chosen > 20
    assert sure.broken <= 0.15 * sure.chosen < alone.broken
    assert sure.refused >= alone.refused


def test_limits_stand_as_asked_and_are_kept_by_the_class_s_quantile() -> None:
    limits = {"ttft": "2 s", "tpot": "40 ms"}
    sure, plain = (read_problem(ASKED | {"limits": limits | {"confidence": own}}) for own in ("90%", "none"))
    for problem in (sure, plain):
        assert [told for _, told in bounds_of(problem)] == [2, Fraction(40, 1000)]
    assert first_limits(sure) == {None: 2 / Fraction("1.738")}
    assert tightest(sure)[Measure.CYCLE] == Fraction(40, 1000) / Fraction("1.28")
    assert first_limits(plain) == {None: 2}
    assert plain.digest != sure.digest


def test_times_are_limited_at_the_default_confidence_unless_another_is_written() -> None:
    def confidence(**limits: str) -> Fraction | None:
        return read_problem(ASKED | {"limits": limits}).limits.confidence

    assert confidence(tpot="40 ms") == confidence(ttft_p99="2 s") == DEFAULT_CONFIDENCE
    assert confidence(tpot="40 ms", confidence="60%") == Fraction(3, 5)
    assert confidence(tpot="40 ms", confidence="none") is None
    # without a limit on a time nothing is asked
    assert confidence(memory_utilization="80%") is None
    written = read_problem(ASKED | {"limits": {"tpot": "40 ms"}})
    assert Problem.model_validate_json(written.model_dump_json()) == written
    bare = read_problem(ASKED | {"limits": {"tpot": "40 ms", "confidence": "none"}})
    assert Problem.model_validate_json(bare.model_dump_json()).limits.confidence is None


def test_any_engine_is_no_stricter_than_each() -> None:
    for model in ("llama-3.1-70b", "qwen3-30b-a3b"):
        for share in ("50%", "80%", "95%"):
            asked = ASKED | {"model": model, "limits": {"tpot": "40 ms", "confidence": share}}
            union = read_problem(asked | {"engine": "any"}).sure
            each = [read_problem(asked | {"engine": name}).sure for name in ENGINES]
            assert union == {name: min(own[name] for own in each) for name in ("ttft", "tpot")}


def test_solve_and_verify_keep_limits_at_one_confidence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--model", "llama-3.1-8b", "--hardware", "h100-sxm-8", "--devices", "1", "--isl", "512", "--osl", "64"]
    asked += ["--engine", "vllm", "--tp", "1", "--objective", "throughput_per_device"]
    alone, sure = tmp_path / "alone.json", tmp_path / "sure.json"
    assert run(["solve", *asked, "--tpot", "10ms", "--confidence", "none", "--out", str(alone)]) == 0
    assert "kept by predicted times alone; --confidence 80% asks" in capsys.readouterr().out
    assert run(["solve", *asked, "--tpot", "10ms", "--out", str(sure)]) == 0
    told = capsys.readouterr().out
    assert "TPOT ≤ 10 ms" in told
    assert "kept at 80% confidence: predicted TPOT × 1.168, by measured runs of dense models on vllm" in told
    best, bold = (json.loads(file.read_text()) for file in (sure, alone))
    assert best["figures"]["tpot_s"] * 1.168 <= 0.010 < bold["figures"]["tpot_s"] * 1.168
    assert best["objective"]["value"] < bold["objective"]["value"]
    # what the prediction alone chose, judged in the problem at the default confidence
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(best | {"layout": bold["layout"]}))
    assert run(["verify", str(plan)]) == 1
    assert "allowed for 10 ms at 80% confidence" in capsys.readouterr().out
    # a certificate of the one is none of the other
    assert certify(best).accepted
    assert certify(bold).accepted
    assert not certify(best | {"problem": bold["problem"]}).accepted


def test_explain_changes_limits_as_they_are_asked() -> None:
    asked = ASKED | {"devices": 1, "model": "llama-3.1-8b", "limits": {"tpot": "3 ms"}}
    found = explain(read_problem(asked)).to_json()
    (change,) = (own for own in found["relaxations"] if own["limit"] == "tpot")
    assert (change["from"], change["unit"]) == (0.003, "s")
    looser = read_problem(asked | {"limits": {"tpot": change["to"] * 1.0001}})
    assert solve(looser).status == "optimal"
    closer = read_problem(asked | {"limits": {"tpot": change["to"] * 0.9999}})
    assert solve(closer).status == "infeasible"


def test_a_confidence_beyond_the_runs_is_refused() -> None:
    with pytest.raises(SpecError, match="not between"):
        read_problem(ASKED | {"limits": {"tpot": "40 ms", "confidence": "99.9%"}})


def test_the_interval_of_a_result_is_checked(tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    asked = ["--model", "llama-3.1-8b", "--hardware", "h100-sxm-8", "--devices", "1", "--isl", "512", "--osl", "64"]
    code = run(["solve", *asked, "--tpot", "30ms", "--confidence", "90%", "--out", str(out)])
    assert code == 0
    found = json.loads(out.read_text())
    low, high = found["accuracy"]["tpot_interval_s"]
    assert low < found["figures"]["tpot_s"] < high
    # of the engine that errs least
    assert found["figures"]["tpot_s"] * 1.273 <= 0.030 * (1 + 1e-9)
    slow, fast = found["accuracy"]["throughput_interval_tokens_per_s"]
    assert slow < found["figures"]["throughput_tokens_per_s"] < fast
    assert 0.86 < found["accuracy"]["kept"]["tpot"] < 0.96
    assert certify(found).accepted
    forged = copy.deepcopy(found)
    forged["accuracy"]["tpot_interval_s"][1] *= 0.9
    assert not certify(forged).accepted


def test_the_share_of_runs_that_keep_a_limit_is_the_inverse_of_the_quantile() -> None:
    own = margin_of(moe=False, engine="vllm").tpot_s
    for share in (0.05, 0.3, 0.5, 0.77, 0.9, 0.95):
        assert share_within(own, quantile(own, share)) == pytest.approx(share)
    assert share_within(own, Fraction(1, 10)) == 0.05
    assert share_within(own, Fraction(10)) == 0.95


def test_ties_are_checked(tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    asked = ["--model", "qwen3-32b", "--hardware", "h200-sxm-8", "--devices", "4", "--isl", "512", "--osl", "64"]
    assert run(["solve", *asked, "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    assert 1 <= len(found["ties"]) <= MOST_TIES
    best, devices = found["objective"]["value"], found["layout"]["devices"]
    for tie_ in found["ties"]:
        assert best / 1.05 <= tie_["value"] <= best
        assert tie_["layout"]["devices"] == devices
    checked = certify(found)
    assert checked.accepted
    assert "ties: whether there are more" in checked.not_checked
    forged = copy.deepcopy(found)
    forged["ties"][0]["value"] *= 1.01
    assert certify(forged).item == "ties[0].value"
    forged = copy.deepcopy(found)
    forged["ties"].append(forged["ties"][0])
    assert certify(forged).item == f"ties[{len(found['ties'])}]"
    forged = copy.deepcopy(found)
    forged["ties"][0]["layout"] = {k: v for k, v in found["layout"].items() if k != "placement"}
    assert not certify(forged).accepted
    problem = read_problem(model="qwen3-32b", hardware="h200-sxm-8", devices=4, isl=512, osl=64)
    assert problem.digest == found["certificate"]["problem_digest"]
    far = problem.changed(search=SearchLimits(batch=(1,), tp=(4,)))
    slow = solve(far)
    assert slow.best is not None
    ratio = slow.best.value / Fraction(found["certificate"]["objective"]["value"])
    listed = slotted(slow.best.layout)
    forged["ties"] = [listed | {"value": float(slow.best.value), "ratio": float(ratio)}]
    told = certify(forged)
    assert (told.accepted, told.item) == (False, "ties[0]")
    assert "no tie" in str(told.reason)
    page = tmp_path / "r.html"
    assert run(["report", str(out), "--out", str(page)]) == 0
    text = page.read_text()
    assert "within 5% of the answer" in text
    assert "as measured in 90% of 1,145 runs (all models and engines): TTFT" in text
    verdict = judge(layout_in(load(out), claims=dimensions))
    assert verdict.to_json()["accuracy"] == found["accuracy"]
