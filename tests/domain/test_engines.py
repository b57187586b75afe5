"""Engines as data: every rule with an accepted and a refused case, versions, and the union."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from ruamel.yaml import YAML

from optimizer.domain.engines import ANY, ENGINES, Engine, engine_named, release_of, sglang
from optimizer.domain.engines.reservation import StaticShare
from optimizer.domain.engines.rule import EngineRule, broken
from optimizer.domain.feedforward import MixtureOfExperts
from optimizer.domain.model import ModelSpec, Vision
from optimizer.domain.precision import PrecisionOverride
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.readers import catalog
from tests.verify.examples import DENSE, MOE, hardware, problem

TABLE: dict[str, dict[str, Any]] = YAML(typ="safe").load(Path(__file__).with_name("engine_rules.yaml"))


def _cases() -> list[tuple[Engine, EngineRule, dict[str, Any]]]:
    found = []
    for name, rules in TABLE.items():
        for rule_name, written in rules.items():
            for case in written if isinstance(written, list) else [written]:
                release = engine_named(f"{name}@{case['release']}") if "release" in case else ENGINES[name][-1]
                rule = next(r for r in release.rules if r.name == rule_name)
                found.append((release, rule, {"engine": name, **case}))
    return found


def _model(name: str, weights: str | None) -> ModelSpec:
    if name == "vision":
        return DENSE.model_copy(update={"vision": Vision(parameters=10**9, sharded=True, heads=16)})
    if name == "biased":
        moe = MOE.blocks["moe"]
        assert isinstance(moe.ffn, MixtureOfExperts)
        block = moe.model_copy(update={"ffn": moe.ffn.model_copy(update={"bias": True})})
        return MOE.model_copy(update={"blocks": {**MOE.blocks, "moe": block}})
    model = catalog.load_model(name)
    if weights is not None:
        precision = PrecisionOverride.model_validate({"weights": weights}).applied_to(model.precision)
        return model.model_copy(update={"precision": precision})
    return model


def _asked(case: dict[str, Any], which: str) -> tuple[Problem, Shape]:
    degrees = dict(case[which])
    model = _model(degrees.pop("model", case["model"]), degrees.pop("weights", case.get("weights")))
    devices = hardware(vendor=degrees.pop("vendor", case.get("vendor", "")))
    named = degrees.pop("device", case.get("device"))
    if named is not None:
        devices = devices.model_copy(update={"device": devices.device.model_copy(update={"name": named})})
    stated = {name: degrees.pop(name, case.get(name)) for name in ("dcp", "mtp", "phase", "hybrid")}
    asked = {
        "decode_context_parallel": stated["dcp"] or 1, "mtp_tokens": stated["mtp"] or 0,
        "phase": stated["phase"] or "aggregated", "hybrid_cache": stated["hybrid"],
    }  # fmt: skip
    release = degrees.pop("release", case.get("release"))
    named = ANY if release is None else f"{case['engine']}@{release}"
    return problem(model, devices=4096, workload=asked, hardware=devices, engine_name=named), Shape(
        **{"cp": 1, "etp": 1, "ep": 1, "pp": 1, **degrees}
    )


@pytest.mark.parametrize(("engine", "rule", "case"), _cases(), ids=lambda v: getattr(v, "name", ""))
def test_rule_accepts_and_refuses(engine: Engine, rule: EngineRule, case: dict[str, Any]) -> None:
    assert rule.breach(*_asked(case, "accepted")) is None
    question, shape = _asked(case, "refused")
    said = [text for own, text in broken(engine.rules, question, shape) if own is rule]
    assert len(said) == 1
    assert case["says"] in said[0]


def test_every_rule_of_every_release_has_a_case() -> None:
    tried = {id(rule) for _, rule, _ in _cases()}
    missing = {
        f"{release.title} {rule.name}"
        for releases in ENGINES.values()
        for release in releases
        for rule in release.rules
        if id(rule) not in tried
    }
    assert missing == set()


MODELS = ("deepseek-v3", "qwen3.5-35b-a3b", "gpt-oss-120b", "llama-4-maverick", "deepseek-v4-flash", "qwen2.5-72b")


@pytest.mark.parametrize("name", list(ENGINES))
def test_a_rule_depends_on_nothing_but_what_it_says_it_reads(name: str) -> None:
    """The lattice asks a rule once of each combination of what it reads."""
    rng = Random(1)  # noqa: S311 - cases, no secrets
    degrees = [1, 2, 3, 4, 5, 6, 8, 16, 32]
    drawn = [
        Shape(rng.choice(degrees), rng.choice([1, 1, 2]), rng.choice([1, 1, 2, 8]), rng.choice(degrees),
              rng.choice([1, 2]), rng.choice([0, 0, 32]), rng.choice([False, True]))
        for _ in range(400)
    ]  # fmt: skip
    for model_name in MODELS:
        question = problem(_model(model_name, "fp8_block" if model_name.startswith("qwen3") else None), devices=4096)
        for release in ENGINES[name]:
            for rule in release.rules:
                verdicts: dict[tuple[object, ...], bool] = {}
                for shape in drawn:
                    kept = rule.breach(question, shape) is None
                    for told in (rule.reads, rule.decides):
                        read = (told, *(getattr(shape, attribute) for attribute in told))
                        assert verdicts.setdefault(read, kept) is kept, (release.title, rule.name, shape)


def test_versions() -> None:
    assert engine_named("vllm") is engine_named("vllm@0.33.0") is engine_named("vllm@0.30")
    assert engine_named("vllm@0.20") is engine_named("vllm@0.20.2")
    assert engine_named("sglang@0.5.3.post1") is engine_named("sglang@0.5.3")
    assert engine_named("sglang@0.4.9.post6") is not engine_named("sglang@0.4.10")
    assert release_of("sglang", "0.3") is engine_named("sglang@0.4.6.post5")
    assert release_of("sglang", None) is release_of("sglang", "0.5.23") is engine_named("sglang")
    assert engine_named("vllm@0.19").memory_utilization < engine_named("vllm").memory_utilization
    for name, words in (
        ("vlm", "unknown engine 'vlm'; engines: any, vllm, sglang, trtllm, megatron, fsdp"),
        ("vllm@0.3", "nothing is known of vllm before"),
        ("vllm@new", "'new' in engine 'vllm@new' is no version"),
    ):
        with pytest.raises(ValueError, match=words):
            engine_named(name)


def test_the_union_accepts_what_one_engine_accepts() -> None:
    question = problem(catalog.load_model("deepseek-v3"), devices=4096)
    union = engine_named("any")
    rng = Random(2)  # noqa: S311 - cases, no secrets
    seen = set()
    for _ in range(400):
        degrees = (rng.choice([1, 2, 3, 4, 8, 32]), rng.choice([1, 2]), rng.choice([1, 2, 32]), rng.choice([1, 3, 8]))
        shape = Shape(*degrees, 1, rng.choice([0, 16]), rng.choice([False, False, True]))
        one = any(releases[-1].accepts(question, shape) for releases in ENGINES.values())
        assert union.accepts(question, shape) is one
        assert (not list(union.refusals(question, shape))) is one
        seen.add(one)
    assert seen == {True, False}
    for member in union.members:
        assert member.memory_utilization <= union.memory_utilization


@pytest.mark.parametrize(
    ("memory_mib", "width", "attention_dp", "share"),
    [
        # what SGLang 0.5.23 resolved for 16 attention data-parallel ranks on H200, to half a hundredth
        (143_771, 16, 16, 0.619),
        # 512 + 12,288 + 1,024 + 1,024 and 58 prompt graphs of 8 MiB of 81,559
        (81_559, 8, 1, 1 - (512 + 12_288 + 1_024 + 1_024 + 58 * 8) / 81_559),
        # 2 · 256 captured sequences of one rank
        (81_559, 1, 1, 1 - (512 + 12_288 + 128 + 512 + 58 * 8) / 81_559),
    ],
)
def test_sglang_chooses_its_share_of_memory(memory_mib: int, width: int, attention_dp: int, share: float) -> None:
    device = catalog.load_hardware("h100-sxm-8").device.model_copy(update={"exposed_memory": memory_mib * 2**20})
    found = sglang.automatic_fraction(
        StaticShare(
            device, width=width, pp=1, attention_dp=attention_dp, chunk=sglang.DEFAULTS.of(device).batched_tokens,
            capture=sglang.DEFAULTS.largest_capture(device, width), latent=attention_dp > 1,
        )
    )  # fmt: skip
    assert float(found) == pytest.approx(share, abs=0.005)


def test_what_nobody_has_logged_of_tensorrt_llm_is_vllms() -> None:
    """Its `source` says so: context, communicators, graphs."""
    known, assumed = ENGINES["vllm"][-1].reservation, ENGINES["trtllm"][-1].reservation
    assert assumed.source == "assumed equal to vLLM's"
    for name in (
        "context_bytes", "direct_group_bytes", "switched_group_bytes", "stage_bytes", "graph_bytes",
        "graph_layer_bytes", "graph_latent_layer_bytes",
    ):  # fmt: skip
        assert getattr(assumed, name) == getattr(known, name) > 0, name


@pytest.mark.parametrize(("pp", "drafts", "attention_dp", "kept_gib"), [
    (1, False, 1, 13.5), (2, False, 1, 17.5), (1, True, 1, 15.5), (1, False, 8, 17.5), (1, True, 8, 19.5),
])  # fmt: skip
def test_sglangs_first_releases_keep_gibibytes_by_ranks_drafts_and_attention_dp(
    pp: int,
    drafts: bool,  # noqa: FBT001 - a column of the table
    attention_dp: int,
    kept_gib: float,
) -> None:
    """Of 80 GiB 9.5, half a GiB for each of 8 ranks, 2 for drafts, 4 for attention data parallelism (0.5.2)."""
    device = catalog.load_hardware("h100-sxm-8").device.model_copy(update={"exposed_memory": 80 * 2**30})
    asked = StaticShare(
        device, width=8, pp=pp, attention_dp=attention_dp, chunk=8192, capture=256, latent=False, drafts=drafts
    )
    assert float(sglang.first_fraction(asked)) == pytest.approx(1 - kept_gib / 80, abs=0.0005)
