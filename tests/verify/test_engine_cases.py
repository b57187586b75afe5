"""Launches that people reported (tests/verify/engine_cases.yaml): what ran, what did not, and what the log said."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from optimizer.readers.document import load
from optimizer.readers.read import layout_in
from optimizer.units import Dimension, parse_quantity
from optimizer.verify.claim_table import dimensions
from optimizer.verify.claims import Verdict
from optimizer.verify.verdict import LayoutVerdict, judge

TABLE: dict[str, Any] = YAML(typ="safe").load(Path(__file__).with_name("engine_cases.yaml"))
CASES: dict[str, dict[str, Any]] = TABLE["cases"]
ASSUMED = {"value": 0.8, "source": "assumed"}


def _hardware(name: str, row: dict[str, Any]) -> dict[str, Any]:
    fabric = {"name": "fabric", "bandwidth": row["link"], "latency": {"value": "8 us", "source": "assumed"}}
    tiers = [fabric | {"efficiency": ASSUMED}]
    if row["node"] > 1:
        tiers.insert(0, tiers[0] | {"name": "pcie", "size": row["node"]})
    parts = dict.fromkeys(("hbm", "attention_hbm", "attention_compute"), ASSUMED)
    return {
        "name": name,
        "device": {
            "name": name, "memory": row["memory"], "exposed_memory": row["exposed_memory"], "bandwidth": "900 GB/s",
            "peak": {"bf16": "100 TFLOP/s"},
        },
        "devices_per_node": row["node"],
        "tiers": tiers,
        "efficiency": parts | {"compute": {"bf16": ASSUMED}, "launch": {"value": "9 us", "source": "assumed"}},
    }  # fmt: skip


def _written(case: dict[str, Any], folder: Path) -> dict[str, Any]:
    asked = dict(case["problem"])
    if asked["model"] in TABLE["models"]:
        config = folder / "config.json"
        config.write_text(json.dumps(TABLE["models"][asked["model"]]))
        asked["model"] = str(config)
    hardware = TABLE["hardware"].get(asked["hardware"])
    work = {"phase": "aggregated", "input_tokens": asked["isl"], "output_tokens": asked["osl"]}
    problem = {
        "model": asked["model"],
        "hardware": asked["hardware"] if hardware is None else _hardware(asked["hardware"], hardware),
        "devices": asked["devices"],
        "workload": work | {name: asked[name] for name in ("max_num_seqs", "max_num_batched_tokens") if name in asked},
        "precision": {part: asked[part] for part in ("weights", "kv_cache") if part in asked},
        "limits": {"memory_utilization": asked["utilization"]} if "utilization" in asked else {},
        "engine": asked.get("engine", "any"),
    }
    return {"problem": problem, "layout": case["layout"], "claims": case.get("holds", case.get("earlier", {}))}


def _judged(name: str, folder: Path) -> LayoutVerdict:
    file = folder / "layout.json"
    file.write_text(json.dumps(_written(CASES[name], folder)))
    return judge(layout_in(load(file), claims=dimensions()))


def _number(value: object) -> Fraction:
    if isinstance(value, str):
        return Fraction(parse_quantity(value, Dimension.BYTES))
    return Fraction(str(value))


@pytest.mark.parametrize("name", CASES)
def test_case(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    case = CASES[name]
    verdict = _judged(name, tmp_path)
    for figure, (logged, share) in case.get("figures", {}).items():
        value = Fraction(verdict.figures[figure].value)
        assert abs(value / _number(logged) - 1) <= Fraction(str(share)), figure
    for claim in verdict.claims:
        wanted = Verdict.HOLDS if "holds" in case else Verdict.AMBIGUOUS
        assert claim.verdict is wanted, (claim.claim.name, claim.note)
        assert "holds" in case or "by the engine's fifth release" in claim.note
    assert verdict.fits == case.get("fits", verdict.fits)
    if not case["feasible"]:
        assert verdict.fits != "yes"
    if "missed" in case:
        request.applymarker(pytest.mark.xfail(reason=case["missed"], strict=True))
    assert verdict.feasible is case["feasible"], [str(violation) for violation in verdict.violations]
    if "says" in case:
        assert any(case["says"] in str(violation) for violation in verdict.violations)


def test_few_labelled_runs_are_misjudged() -> None:
    """Nothing else that ran out of memory is said to fit, and nothing that ran is refused."""
    assert sum("missed" in case for case in CASES.values()) == 1
    assert sum(case["feasible"] for case in CASES.values()) >= 14
