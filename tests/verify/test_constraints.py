"""Each constraint family: feasible, then infeasible with its witness, then feasible again."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.domain.engines import rule
from optimizer.domain.engines.rule import varied
from optimizer.domain.families import Family
from optimizer.domain.layout import Layout, Stage
from optimizer.domain.problem import Problem
from optimizer.figures.bandwidth import fabric_bandwidth, stage_traffic
from optimizer.figures.rates import TICKS_PER_SECOND
from optimizer.figures.serving import evaluate
from optimizer.verify import structure
from optimizer.verify.constraints import structural_violations, violations
from optimizer.verify.structure import divisibility
from tests.verify.examples import DENSE, MOE, hardware, problem

LAYOUT = {"tp": 2, "dp": 2, "etp": 1, "ep": 4, "edp": 1, "batch": 8}


def found(question: Problem, **degrees: Any) -> dict[Family, str]:
    layout = Layout(**{**LAYOUT, **degrees})
    evaluation = evaluate(question, layout)
    return {v.family: str(v) for v in violations(question, layout, evaluation)}


def test_a_sensible_layout_violates_nothing() -> None:
    assert found(problem()) == {}
    assert found(problem(DENSE), ep=1) == {}


def test_devices_counts_replicas_that_straddle_no_node() -> None:
    assert found(problem(devices=4)) == {}
    assert found(problem(devices=3)) == {
        Family.DEVICES: "(devices) 1 replica of 4 devices (4 in all) do not fit on 3: 0 do"
    }
    # Three replicas of six devices need three nodes of eight: two devices of each node stay idle.
    six = {"tp": 2, "dp": 9, "ep": 6, "edp": 3, "etp": 1}
    assert Family.DEVICES not in found(problem(devices=24), **six)
    assert Family.DEVICES in found(problem(devices=21), **six)


def test_mesh() -> None:
    broken = structural_violations(problem(), Layout(**{**LAYOUT, "edp": 2}))
    assert [str(v) for v in broken] == ["(mesh) tp·cp·dp = 2·1·2 = 4 devices a stage, but etp·ep·edp = 1·4·2 = 8"]
    assert broken[0].numbers == {"attention_devices": 4, "expert_devices": 8}
    dense = structural_violations(problem(DENSE), Layout(**LAYOUT))
    assert [v.family for v in dense] == [Family.MESH]


@pytest.mark.parametrize(
    ("degrees", "message"),
    [
        ({"tp": 3, "dp": 4, "ep": 12}, "tp=3 does not divide the attention heads of block 'dense' of 16"),
        ({"tp": 16, "dp": 1, "ep": 16}, None),
        ({"tp": 8, "dp": 1, "ep": 8}, None),
        ({"tp": 1, "dp": 3, "etp": 3, "ep": 1}, "etp=3 does not divide the expert width of block 'moe' of 512"),
        ({"tp": 1, "dp": 32, "ep": 32}, "ep=32 is more than the 16 experts of block 'moe': some ranks would hold none"),
    ],
)
def test_divisibility(degrees: dict[str, int], message: str | None) -> None:
    seen = [v.message for v in structural_violations(problem(devices=64), Layout(**{**LAYOUT, **degrees}))]
    assert (message in seen) if message else seen == []


ONE_OF_EACH = ("vllm", "sglang", "trtllm", "megatron", "fsdp")


@pytest.mark.parametrize("engine", [*ONE_OF_EACH, "any"])
def test_a_breach_is_told_once_and_never_lost(engine: str) -> None:
    """An engine's rule and the model's divisibility are one breach where the one is broken wherever the other is."""
    once = twice = 0
    for tp, etp, ep in itertools.product((1, 2, 3, 6, 7, 16, 24, 48), (1, 3, 5), (1, 4, 32)):
        question = problem(devices=100_000, engine_name=engine)
        layout = Layout(tp=tp, dp=etp * ep, etp=etp, ep=ep, edp=tp, batch=8)
        said = structural_violations(question, layout)
        plain = list(divisibility(question, layout))
        refused = not question.engine.accepts(question, layout.shape)
        assert bool(said) is (bool(plain) or refused)
        families = [v.family for v in said]
        assert len({str(v) for v in said}) == len(said)
        if engine == "any":
            assert families.count(Family.DIVISIBILITY) == len(plain)
            engines = {str(v).split()[1] for v in said if v.family is Family.ENGINE}
            assert not engines or len(engines) == len(question.engine.members)
        elif any("attention heads" in v.message for v in plain):
            assert not any("attention heads of block" in v.message for v in said)
            once += 1
        twice += Family.DIVISIBILITY in families and Family.ENGINE in families
    assert once or engine == "any"
    assert twice or engine != "vllm"  # experts that some ranks would lack: no rule of vLLM's says so


def test_divisibility_of_key_value_heads_goes_both_ways() -> None:
    attention = MOE.blocks["moe"].attention
    assert attention is not None
    block = MOE.blocks["dense"].model_copy(
        update={"attention": attention.model_copy(update={"heads": 48, "kv_heads": 6})}
    )
    question = problem(DENSE.model_copy(update={"blocks": {"dense": block}}))
    for tp, works in {1: True, 2: True, 3: False, 4: False, 6: False, 12: False}.items():
        seen = [v.message for v in structural_violations(question, Layout(tp=tp))]
        heads = [message for message in seen if "key/value" in message]
        assert bool(heads) is (6 % tp != 0 and tp % 6 != 0), tp
        assert (seen == []) is works


def test_shared_experts_need_not_divide_where_they_are_replicated() -> None:
    moe = MOE.blocks["moe"]
    assert moe.moe is not None
    odd = moe.model_copy(update={"ffn": moe.moe.model_copy(update={"shared_intermediate": 511})})
    question = problem(MOE.model_copy(update={"blocks": {**MOE.blocks, "moe": odd}}))
    assert structural_violations(question, Layout(**LAYOUT)) == ()
    assert Family.DIVISIBILITY in {v.family for v in structural_violations(question, Layout(tp=4, ep=4))}


def test_redundant_slots_give_more_ranks_an_expert() -> None:
    layout = Layout(tp=1, dp=32, ep=32, redundant_slots=16)
    assert structural_violations(problem(devices=32), layout) == ()
    assert structural_violations(problem(devices=32), layout.model_copy(update={"redundant_slots": 15})) != ()


def cut(*layers: int) -> tuple[Stage, ...]:
    starts = itertools.accumulate(layers, initial=0)
    return tuple(Stage(first_layer=first, layers=count) for first, count in zip(starts, layers, strict=False))


@pytest.mark.parametrize(
    ("pp", "stages", "messages"),
    [
        (2, cut(3, 5), []),
        (2, cut(3, 4), ["the stages end after layer 7 of 8"]),
        (2, cut(3, 4, 1), ["3 stages are listed for pp=2"]),
        (2, (Stage(first_layer=0, layers=3), Stage(first_layer=4, layers=4)), ["stage 1 begins at layer 4, not 3"]),
        (9, None, ["pp=9 is more than the 8 layers"]),
        (8, None, []),
    ],
)
def test_pipeline(pp: int, stages: tuple[Stage, ...] | None, messages: list[str]) -> None:
    layout = Layout(pp=pp, stages=stages, tp=1, ep=1)
    assert [v.message for v in structural_violations(problem(), layout)] == messages


def test_search_restrictions() -> None:
    question = problem(search={"tp": [1, 4], "devices": 8, "batch": 8, "prefill_chunk": 256})
    assert set(found(question, tp=4, dp=2, ep=8, prefill_chunk=256)) == set()
    layout = Layout(**LAYOUT)
    seen = [str(v) for v in structural_violations(question, layout)]
    assert seen == [
        "(search) tp=2 is not among search.tp: 1, 4",
        "(search) prefill_chunk=512 is not among search.prefill_chunk: 256",
        "(search) devices=4 is not among search.devices: 8",
    ]
    decode = problem(search={"prefill_chunk": 256}, workload={"phase": "decode"})
    assert structural_violations(decode, layout) == ()


def test_the_problem_s_engine_binds() -> None:
    layout = Layout(**{**LAYOUT, "etp": 2, "ep": 2})
    assert structural_violations(problem(engine_name="vllm"), layout)[0].family is Family.ENGINE
    assert structural_violations(problem(), layout) == ()


def test_memory_names_the_stage_and_both_sizes() -> None:
    question = problem(hardware=hardware(exposed_memory="0.9 GB"))
    assert found(question, batch=1).keys() == {Family.MEMORY}
    evaluation = evaluate(problem(), Layout(**LAYOUT))
    needed = evaluation.memory_bytes
    all_of_it = {"memory_utilization": 1}
    assert found(problem(hardware=hardware(exposed_memory=needed), limits=all_of_it)) == {}
    less = problem(hardware=hardware(exposed_memory=needed - 1), limits=all_of_it)
    sizes = f"{needed / 1e9} GB of {(needed - 1) / 1e9} GB"
    assert found(less) == {Family.MEMORY: f"(memory) stage 0 needs {sizes} at tp=2, cp=1, etp=1, ep=4, pp=1, batch=8"}
    tenth = problem(
        hardware=hardware(memory="1 TB", exposed_memory=10 * needed - 10), limits={"memory_utilization": "10%"}
    )
    assert tenth.capacity_bytes == needed - 1
    assert found(tenth).keys() == {Family.MEMORY}


def test_times_are_compared_exactly() -> None:
    evaluation = evaluate(problem(), Layout(**LAYOUT))
    assert evaluation.ttft_s is not None
    assert evaluation.tpot_s is not None
    hair = Fraction(1, 10**30)
    for name, value in (("ttft", evaluation.ttft_s), ("tpot", evaluation.tpot_s)):
        for limit, kept in ((value, True), (value - hair, False)):
            question = problem().model_copy(update={"limits": problem().limits.model_copy(update={name: limit})})
            assert (Family(name) not in found(question)) is kept


def test_batch_share_load_and_request_rate() -> None:
    assert Family.BATCH in found(problem(workload={"input_tokens": 4096}), prefill_chunk=64, batch=64)
    assert found(problem(workload={"input_tokens": 4096}), prefill_chunk=4096, batch=64) == {}
    capacity = evaluate(problem(), Layout(**LAYOUT)).request_capacity
    under, over = capacity * Fraction(99, 100), capacity * Fraction(101, 100)
    assert found(problem(workload={"request_rate": under})) == {}
    assert set(found(problem(workload={"request_rate": over}))) == {Family.REQUEST_RATE}
    # beyond what is served the prompts queue up too: one violation says it
    assert set(found(problem(workload={"request_rate": 100 * capacity}))) == {Family.REQUEST_RATE}


@given(st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 3]), st.integers(1, 40), st.sampled_from([64, 512]))
def test_bandwidth_is_bytes_over_time(tp: int, pp: int, batch: int, chunk: int) -> None:
    layout = Layout(tp=tp, dp=16 // tp, pp=pp, ep=16, batch=batch, prefill_chunk=chunk)
    question = problem(devices=64)
    evaluation = evaluate(question, layout)
    steps = evaluation.steps
    assert steps.decode is not None
    assert steps.mixed is not None
    # All bytes of a whole cycle, one step after another: pp micro-batches on the slowest stage's clock.
    sent = max(sum(v for (_, tier), v in stage.items() if tier == 1) for stage in stage_traffic(question, evaluation))
    cycle = pp * max(evaluation.stage_ticks)
    used = fabric_bandwidth(question, evaluation)
    assert used == pp * sent * TICKS_PER_SECOND / cycle
    assert used > 0
    limit = used.numerator // used.denominator
    for bound, kept in ((limit + 1, True), (limit, used == limit)):
        tight = question.model_copy(update={"limits": question.limits.model_copy(update={"fabric_bandwidth": bound})})
        assert (Family.BANDWIDTH not in {v.family for v in violations(tight, layout, evaluation)}) is kept


def test_the_engine_takes_no_more_sequences_and_tokens_than_it_is_told() -> None:
    told = {"max_num_seqs": 8, "max_num_batched_tokens": 520}
    assert found(problem(workload=told), prefill_chunk=512) == {}
    assert found(problem(workload=told | {"max_num_seqs": 7}), prefill_chunk=512) == {
        Family.BATCH: "(batch) 8 sequences of a rank: max_num_seqs is 7"
    }
    assert found(problem(workload=told), prefill_chunk=513) == {
        Family.BATCH: "(batch) 521 tokens of a step, 8 of them decoded and 513 of prompts: "
        "max_num_batched_tokens is 520"
    }
    # where a layout names no chunk, it takes what the sequences leave
    assert found(problem(workload=told)) == {}


def test_traffic_by_hand() -> None:
    """TP all-reduce in decode: two a layer, 2·(g−1)/g of hidden × 2 bytes a token; pipeline sends hidden/tp."""
    question = problem(DENSE, workload={"phase": "decode"})
    evaluation = evaluate(question, Layout(tp=4, pp=2, batch=10))
    first, last = stage_traffic(question, evaluation)
    each = 5 * 1024 * 2
    assert (
        first
        == last
        == {
            ("tp", 0): 4 * 2 * Fraction(2 * 3, 4) * each,
            ("pp", 0): Fraction(each, 4),
        }
    )


def test_what_an_absurd_degree_is_compared_with_does_not_grow_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def counted(*words: Any) -> Any:
        tried.append(words[-1])
        return varied(*words)

    for module in (rule, structure):
        monkeypatch.setattr(module, "varied", counted)
    layout = Layout(**{**LAYOUT, "tp": 2_000_000})
    assert any(v.family == Family.DIVISIBILITY for v in structural_violations(problem(MOE), layout))
    assert len(tried) < 50 * rule.FARTHEST
