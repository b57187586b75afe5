"""Margins: what a confidence asks of predicted times, and whether measured runs keep it."""

import copy
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from benchmarks.accuracy import OWN_TABLE, compare
from benchmarks.margins import class_of, margins
from benchmarks.measurements import read_runs
from optimizer import certify, read_problem
from optimizer.cli.main import run
from optimizer.domain.margins import MARGINS, SHARES, margin_of, quantile
from optimizer.errors import SpecError

ASKED: dict[str, Any] = {
    "model": "llama-3.1-70b", "hardware": "h200-sxm-8", "devices": 4, "precision": {"weights": "fp8"},
    "engine": "vllm", "workload": {"input_tokens": 2048, "output_tokens": 256},
}  # fmt: skip


def test_quantiles_are_those_of_the_table_and_between_them_linear() -> None:
    own = margin_of(moe=False, engine="vllm").tpot_s
    assert quantile(own, 0.9) == Fraction("1.197")
    assert quantile(own, 0.85) == (Fraction("1.126") + Fraction("1.197")) / 2
    with pytest.raises(ValueError, match=r"not between 0.05 and 0.95"):
        quantile(own, 0.99)


def test_a_class_without_runs_takes_all_of_them() -> None:
    assert margin_of(moe=True, engine="megatron").engine == "any"
    assert sum(row.runs for row in MARGINS[1:]) == MARGINS[0].runs
    for row in MARGINS:
        for values in (row.tpot_s, row.ttft_s):
            assert len(values) == len(SHARES)
            assert list(values) == sorted(values)


def test_nine_of_ten_shipped_runs_keep_a_limit_that_was_met_at_90_percent() -> None:
    found = [compare(run) for run in read_runs(OWN_TABLE) if run.kind == "online"]
    for name in ("tpot_s", "ttft_s"):
        kept = []
        for item in found:
            assert item is not None
            moe, engine = class_of(item)
            kept.append(1 / (item.ratio(name) or 1) <= quantile(getattr(margin_of(moe=moe, engine=engine), name), 0.9))
        assert 0.84 < sum(kept) / len(kept) < 0.97
    assert sum(row.runs for row in margins(item for item in found if item is not None) if row.moe is None) == len(found)


def test_limits_are_tightened_by_the_class_s_quantile() -> None:
    limits = {"ttft": "2 s", "tpot": "40 ms"}
    plain, sure = (read_problem(ASKED | {"limits": own}) for own in (limits, {**limits, "confidence": "90%"}))
    assert plain.limits.ttft == 2
    assert sure.limits.ttft == 2 / Fraction("1.722")
    assert sure.limits.tpot == Fraction(40, 1000) / Fraction("1.197")
    assert plain.digest != sure.digest


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
    assert found["figures"]["tpot_s"] * 1.228 <= 0.030 * (1 + 1e-9)
    assert certify(found).accepted
    forged = copy.deepcopy(found)
    forged["accuracy"]["tpot_interval_s"][1] *= 0.9
    assert not certify(forged).accepted
