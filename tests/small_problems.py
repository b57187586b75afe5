"""Random small problems, and all their layouts priced one by one: what the search must equal."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from typing import Any

import pytest

from optimizer.domain.attention import GatedDeltaNet, GroupedQueryAttention, LatentAttention
from optimizer.domain.engines import ENGINES
from optimizer.domain.feedforward import DenseFeedForward, MixtureOfExperts
from optimizer.domain.hardware import HardwareSpec
from optimizer.domain.layout import Layout, Stage
from optimizer.domain.margins import MARGINS, SHARES
from optimizer.domain.model import Block, ModelSpec, Mtp, Run
from optimizer.domain.precision import ModelPrecision
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.costs import build_costs
from optimizer.figures.memory import MemoryBook, build_memory
from optimizer.figures.rates import effective_rates
from optimizer.figures.reserve import context_bytes
from optimizer.figures.serving import Evaluation, evaluate

GIB = 2**30
OBJECTIVES = ("throughput_per_device", "throughput", "devices", "ttft", "tpot", "cost", "memory_headroom", "context")
LARGEST_WORK = 6000
"""Evaluations that one problem may take."""


def blocks(first: int, stop: int, size: int, *, quick: int) -> list[Any]:
    """First seeds of blocks of random problems; the blocks that begin at ``quick`` or later are slow."""
    return [pytest.param(seed, marks=[pytest.mark.slow] if seed >= quick else []) for seed in range(first, stop, size)]


def _attention(rng: Random) -> Any:
    kind = rng.choice(["full", "full", "window", "mla", "delta"])
    if kind == "mla":
        return LatentAttention(
            heads=rng.choice([2, 4, 6]), q_lora_rank=rng.choice([None, 256]), kv_lora_rank=256, qk_nope_head_dim=64,
            qk_rope_head_dim=32, v_head_dim=64,
        )  # fmt: skip
    if kind == "delta":
        return GatedDeltaNet(key_heads=2, value_heads=4, key_dim=64, value_dim=64)
    heads, kv = rng.choice([(4, 4), (4, 2), (4, 1), (6, 2), (6, 3), (2, 2), (3, 1), (8, 2)])
    window = rng.choice([1024, 4096]) if kind == "window" else None
    return GroupedQueryAttention(heads=heads, kv_heads=kv, head_dim=rng.choice([64, 128]), window=window)


def _experts(rng: Random) -> MixtureOfExperts:
    experts = rng.choice([2, 3, 4, 5, 6, 8])
    shared = rng.choice([0, 0, 512, 513])
    groups = rng.choice([1, 1, 1, 2]) if experts % 2 == 0 else 1
    return MixtureOfExperts(
        experts=experts, top_k=rng.randint(1, min(3, experts)), intermediate=rng.choice([1031, 2062, 3093]),
        shared_intermediate=shared, group_count=groups, group_limit=1, dense_intermediate=rng.choice([0, 0, 0, 256]),
    )  # fmt: skip


def model(rng: Random) -> ModelSpec:
    """Two to five layers of one to three kinds; the first kind caches every token."""
    sparse = rng.random() < 0.5
    blocks: dict[str, Block] = {}
    for number in range(rng.randint(1, 3)):
        attention = _attention(rng)
        if number == 0:
            heads, kv = rng.choice([(4, 4), (4, 2), (6, 3), (2, 2), (8, 2), (3, 1)])
            attention = GroupedQueryAttention(heads=heads, kv_heads=kv, head_dim=128)
        ffn: Any = DenseFeedForward(intermediate=rng.choice([2048, 3072, 4095]))
        if sparse and (number or rng.random() < 0.5):
            ffn = _experts(rng)
        if number and rng.random() < 0.2:
            ffn = None
        elif number and rng.random() < 0.15:
            attention = None
        blocks[f"b{number}"] = Block(attention=attention, ffn=ffn)
    names = list(blocks)
    layers = [names[0], *(rng.choice(names) for _ in range(rng.randint(1, 4)))]
    rng.shuffle(layers)
    weights = rng.choice(["bf16", "bf16", "fp8", "fp8_block"])
    return ModelSpec(
        name="small",
        hidden_size=rng.choice([1024, 1536, 4096]),
        vocab_size=rng.choice([4000, 32001]),
        tie_embeddings=rng.random() < 0.3,
        blocks=blocks,
        layers=(Run(pattern=tuple(layers)),),
        mtp=Mtp(block=rng.choice(names), count=rng.randint(1, 2)) if rng.random() < 0.3 else None,
        precision=ModelPrecision(
            weights=weights, kv_cache=rng.choice(["bf16", "fp8"]), mtp=rng.choice([None, None, "bf16"]),
            attention=rng.choice([None, None, "bf16"]),
        ),
    )  # fmt: skip


def hardware(rng: Random, memory: int, tiers: tuple[int | None, ...]) -> HardwareSpec:
    """Links of any order of speed: an outer tier may be the faster one."""

    def share() -> dict[str, str]:
        return {"value": f"{rng.choice([40, 60, 80, 95])}%", "source": "assumed"}

    links = [
        {
            "name": f"tier{number}", "size": size, "bandwidth": f"{rng.choice([10, 50, 450])} GB/s",
            "latency": {"value": f"{rng.choice([0, 1, 5, 20])} us", "source": "assumed"}, "efficiency": share(),
            "oversubscription": rng.choice([1, 1, 2]),
        }
        for number, size in enumerate(tiers)
    ]  # fmt: skip
    compute = {"bf16": share()} | ({"fp8": share()} if rng.random() < 0.5 else {})
    peak = {"bf16": "300 TFLOP/s"} | ({"fp8": "600 TFLOP/s"} if rng.random() < 0.5 else {})
    return HardwareSpec.model_validate(
        {
            "name": "small", "devices_per_node": tiers[0] or 8, "tiers": links,
            "device": {
                "name": "small", "memory": memory, "exposed_memory": memory,
                "bandwidth": f"{rng.choice([1, 3])} TB/s", "peak": peak, "price": f"{rng.choice([1, 3])} $/h",
            },
            "efficiency": {
                "compute": compute, "hbm": share(), "attention_hbm": share(), "attention_compute": share(),
                "launch": {"value": f"{rng.choice([0, 2])} us", "source": "assumed"},
            },
        }
    )  # fmt: skip


def _workload(rng: Random, phase: str, sequence_bytes: int) -> dict[str, Any]:
    tokens = max(64, int(rng.uniform(0.15, 0.8) * GIB / max(sequence_bytes, 1)))
    found: dict[str, Any] = {"phase": phase}
    found["output_tokens"] = rng.choice([2, 50, 300, max(2, tokens // 3)])
    found["input_tokens"] = max(tokens - found["output_tokens"], 16) if rng.random() < 0.8 else rng.choice([200, 1000])
    if phase != "prefill":
        found["output_tokens"] = max(found["output_tokens"], tokens - found["input_tokens"], 2)
    if rng.random() < 0.2:
        found["prefix_cache_hit"] = Fraction(1, 3)
    if rng.random() < 0.2:
        found["max_num_seqs"] = rng.choice([1, 2, 3, 5, 16])
    if rng.random() < 0.2:
        found["max_num_batched_tokens"] = rng.choice([4, 64, 257, 2049])
    return found


def _restrictions(rng: Random, devices: int, phase: str, prompt: int) -> dict[str, Any]:
    found: dict[str, Any] = {"cp": rng.choice([[1], [1], [1], [1, 2], [3]])}
    if phase != "decode" and rng.random() < 0.9:
        found["prefill_chunk"] = [
            rng.choice([256, 1000, 2048, prompt, 2 * prompt + 1]) for _ in range(rng.randint(1, 2))
        ]
    options = {
        "tp": [1, 2, 3, 4], "pp": [1, 2, 3], "ep": [1, 2, 3, 4], "etp": [1, 2], "edp": [1, 2, 3], "dp": [1, 2, 3, 4, 6],
        "devices": list(range(1, devices + 2)), "batch": [1, 2, 3, 5, 8],
    }  # fmt: skip
    for axis, values in options.items():
        if rng.random() < 0.06:
            found[axis] = sorted(rng.sample(values, min(len(values), rng.randint(1, 3))))
    own = Random(f"{found}")  # noqa: S311 - test data; the draws after it stay as they were
    if own.random() < 0.1:
        found["overlap"] = own.choice(["none", "none", "two_batch"])
    return found


def small_problem(seed: int) -> Problem:
    """The problem of a seed: limits are set near what some random layout reaches, so that they bind or nearly do."""
    for attempt in itertools.count():
        rng = Random(f"{seed}.{attempt}")  # noqa: S311 - test data
        found = _draw(rng)
        if found is not None and work(found) <= LARGEST_WORK:
            return found
    raise AssertionError


def _draw(rng: Random) -> Problem | None:
    own = model(rng)
    phase = rng.choice(["aggregated", "aggregated", "decode", "prefill"])
    devices = rng.choice([1, 2, 3, 4, 4, 5, 6, 6, 7, 8, 9])
    tiers = rng.choice([(2, None), (4, None), (3, None), (2, 4, None), (3, 6, None), (8, None), (None,)])
    base: dict[str, Any] = {
        "name": "small", "model": own, "hardware": hardware(rng, 64 * GIB, tiers), "devices": devices,
        "workload": {"phase": phase, "input_tokens": 1000, "output_tokens": 100},
        "engine_name": rng.choice(["any", "any", "vllm", "vllm", "sglang", "trtllm", "megatron"]),
    }  # fmt: skip
    probe = Problem.model_validate(base)
    single = build_memory(probe, Shape(1, 1, 1, 1, 1))
    each = single.stack_sequence() // (1000 + (100 if phase != "prefill" else 0))
    work_ = _workload(rng, phase, each)
    if own.mtp is not None and phase != "prefill":
        work_ |= {"mtp_tokens": rng.randint(0, 2), "mtp_acceptance": Fraction(1, 2)}
    base["workload"] = work_
    probe = Problem.model_validate(base)
    base["search"] = _restrictions(rng, devices, phase, probe.workload.computed_input_tokens)
    if own.moe is not None and rng.random() < 0.15:
        base["experts"] = {"redundant_slots": [0, rng.randint(1, 3)]}
    stack = build_memory(probe, Shape(2, 1, 1, 1, 1))
    reserve = stack.reserve_bytes
    room = reserve + rng.uniform(0.2, 1.3) * stack.stack_weights() + rng.uniform(0, 6) * stack.stack_sequence()
    room += rng.choice([0, 0, 1]) * stack.token_bytes * rng.choice([256, 4096])
    limits: dict[str, Any] = {}
    if rng.random() < 0.3:
        limits["memory_utilization"] = rng.choice(["80%", "100%", "37%"])
    share = Problem.model_validate(base | {"limits": limits}).memory_utilization
    if base["engine_name"] == "sglang" and not limits and rng.randrange(2):
        limits["mem_fraction_static"] = "70%"
    base["hardware"] = probe.hardware.model_copy(
        update={
            "device": probe.hardware.device.model_copy(
                update={"memory": 200 * GIB, "exposed_memory": int(room / share)}
            )
        }
    )
    base["limits"] = limits
    probe = Problem.model_validate(base)
    _bind(rng, base, probe)
    objectives = [
        name
        for name in OBJECTIVES
        if not (name == "devices" and "request_rate" not in base["workload"])
        and not (name == "ttft" and phase == "decode")
        and not (name == "tpot" and phase == "prefill")
    ]
    base["objective"] = rng.choice(objectives)
    if rng.random() < 0.3:
        base["workload"]["arrival"] = rng.choice(["alone", "closed"])
    return Problem.model_validate(base)


def _bind(rng: Random, base: dict[str, Any], probe: Problem) -> None:
    """Limits and a request rate near the figures of a random layout."""
    pool = list(itertools.islice((shape for shape in shapes(probe) if not shape.overlap), 200))
    if not pool:
        return
    shape = rng.choice(pool)
    chunk = rng.choice(chunks(probe))
    batch = rng.randint(1, 6)
    layout = _layout(probe, shape, 1, chunk, batch, next(iter(cuts(probe.model.layer_count, shape.pp))))
    found = evaluate(probe, layout)
    if found.ttft_s is not None and rng.random() < 0.4:
        base["limits"]["ttft"] = found.ttft_s * Fraction(rng.choice([2, 5, 10, 11, 30]), 10)
    if found.tpot_s is not None and rng.random() < 0.4:
        base["limits"]["tpot"] = found.tpot_s * Fraction(rng.choice([2, 5, 10, 11, 30]), 10)
    # at a confidence that does not move what a prediction has to keep
    own = Random(f"{base['limits']}")  # noqa: S311 - test data
    if base["limits"].keys() & {"ttft", "tpot"} and own.random() < 0.5:
        base["limits"]["confidence"] = own.choice(["80%", "90%"])
        sure = Problem.model_validate(base)
        for name in ("ttft", "tpot"):
            if name in base["limits"]:
                base["limits"][name] *= allowance(sure, name)
    if rng.random() < 0.4:
        base["workload"]["request_rate"] = found.request_capacity * Fraction(rng.choice([1, 5, 10, 12, 25]), 10)


def asked(seed: int) -> Iterator[Problem]:
    """A small problem with every objective that its phase and rate allow."""
    problem = small_problem(seed)
    unfit = {"decode": "ttft", "prefill": "tpot"}.get(problem.workload.phase)
    rated = problem.workload.request_rate is not None
    for name in OBJECTIVES:
        if name != unfit and (rated or name != "devices"):
            yield problem.model_copy(update={"objective": name})


# every layout


def chunks(problem: Problem) -> tuple[int | None, ...]:
    """Chunks that the lattice has."""
    if problem.workload.phase == "decode":
        return (None,)
    if problem.search.prefill_chunk is not None:
        return tuple(problem.search.prefill_chunk)
    prompt = problem.workload.computed_input_tokens
    pieces = {-(-prompt // n) for n in range(1, prompt + 1)}
    packed = range(1, max(1, 16384 // prompt) + 1) if problem.workload.phase == "aggregated" else [1]
    most = problem.workload.max_num_batched_tokens
    if most is not None:
        packed = range(1, most // prompt + 1) if problem.workload.phase == "aggregated" else [1]
    return tuple(c for c in pieces | {n * prompt for n in packed} if most is None or c <= most)


def cuts(layers: int, stages: int) -> Iterator[tuple[int, ...]]:
    """Every way to divide layers into stages that hold at least one."""
    for stops in itertools.combinations(range(1, layers), stages - 1):
        edges = (0, *stops, layers)
        yield tuple(b - a for a, b in itertools.pairwise(edges))


def most_replicas(problem: Problem, size: int) -> int:
    """Replicas put down one by one: none straddles a domain that could hold it, larger ones take whole domains."""
    domains = [t.size for t in problem.hardware.tiers if t.size is not None]
    below = max((d for d in domains if d < size), default=1)
    above = next((d for d in domains if d >= size), None)
    at = count = 0
    while True:
        at = -(-at // below) * below
        if above is not None and at // above != (at + size - 1) // above:
            at = (at // above + 1) * above
        if at + size > problem.devices:
            return count
        at, count = at + size, count + 1


def _tp_divides(problem: Problem, tp: int) -> bool:
    for block in problem.model.blocks.values():
        if block.attention is not None:
            kv = block.attention.kv_head_count
            if any(h % tp for h in block.attention.head_counts) or (kv is not None and kv % tp and tp % kv):
                return False
        width = block.moe.dense_intermediate if block.moe else getattr(block.ffn, "intermediate", 0)
        if width % tp:
            return False
    return True


def _blocks_are_whole(own: ModelSpec, shape: Shape) -> bool:
    """Every width of an FP8-block layer that tp divides, restated without the models' tensor lists."""
    if own.precision.weights != "fp8_block" or shape.tp == 1:
        return True
    said = own.precision
    attention, dense, shared = (
        (form or said.weights) == "fp8_block" for form in (said.attention, said.dense_ffn, said.shared_experts)
    )
    shared_by = 1 if shape.tp > 1 and shape.dp > 1 and shape.ep > 1 else shape.tp
    for block in own.blocks.values():
        kind, divided = block.attention, []
        if isinstance(kind, GroupedQueryAttention):
            divided = [kind.heads * kind.head_dim / shape.tp, max(1, kind.kv_heads / shape.tp) * kind.head_dim]
        elif isinstance(kind, LatentAttention):
            keys = kind.qk_nope_head_dim + kind.qk_rope_head_dim
            for width in (keys, kind.qk_nope_head_dim + kind.v_head_dim, kind.v_head_dim):
                divided.append(kind.heads * width / shape.tp)
        elif isinstance(kind, GatedDeltaNet):
            divided = [768 / shape.tp, 256 / shape.tp]
        divided = divided if attention else []
        if isinstance(block.ffn, DenseFeedForward) and dense:
            divided.append(block.ffn.intermediate / shape.tp)
        elif isinstance(block.ffn, MixtureOfExperts):
            if dense:
                divided.append(block.ffn.dense_intermediate / shape.tp)
            if shared_by > 1 and shared:
                divided.append(block.ffn.shared_intermediate / shared_by)
        if any(width % 128 for width in divided):
            return False
    return True


def _runs(engine: str, own: ModelSpec, shape: Shape) -> bool:
    """Whether an engine runs a replica, heads and feed-forward widths apart."""
    moes = [b.moe for b in own.blocks.values() if b.moe is not None] if own.moe is not None else []
    divided = all((m.experts + shape.redundant) % shape.ep == 0 for m in moes)
    latent = all(b.attention is None or isinstance(b.attention, LatentAttention) for b in own.blocks.values())
    once = not moes or shape.edp == 1
    whole_shared = shape.tp > 1 and shape.dp > 1 and shape.ep > 1
    if any(b.moe and b.moe.shared_intermediate % shape.tp for b in own.blocks.values()) and not whole_shared:
        return False
    blocks = own.precision.weights == "fp8_block"
    if engine == "vllm":
        one_kind = not moes or min(shape.etp, shape.ep) == 1
        few = all(shape.tp <= m.experts for m in moes)
        cp = shape.cp == 1 or latent
        vocabulary = -(-own.vocab_size // 64) * 64 % shape.tp == 0
        even = not shape.redundant or divided
        return once and one_kind and few and cp and vocabulary and even and _blocks_are_whole(own, shape)
    if engine == "sglang":
        copied = shape.edp == shape.cp and shape.pp == 1 and shape.ep * shape.edp == shape.stage_devices
        deepseek = bool(moes) and any(isinstance(b.attention, LatentAttention) for b in own.blocks.values())
        few = not deepseek or all(shape.stage_devices <= m.experts for m in moes)
        cp = shape.cp == 1 or (latent and shape.pp == 1)
        expert_blocks = not blocks or shape.etp == 1 or all(m.intermediate / shape.etp % 128 == 0 for m in moes)
        return (once or copied) and divided and few and cp and expert_blocks and _blocks_are_whole(own, shape)
    if engine == "trtllm":
        return once and divided and min(shape.tp, shape.dp) == 1 and (shape.cp == 1 or latent)
    kept = divided and (not moes or not shape.redundant)
    return kept if engine == "megatron" else kept and (not moes or shape.etp == 1)


def _splits(engine: str, own: ModelSpec, shape: Shape) -> bool:
    """Whether an engine runs steps of a replica in two micro-batches."""
    spread = own.moe is not None and shape.cp == 1 and shape.dp > 1 and shape.ep == shape.stage_devices
    sparse = [own.blocks[name].moe is not None for name in own.layer_names]
    # SGLang has no such steps for a layer without experts after one with them
    leading = not any(before and not after for before, after in itertools.pairwise(sparse))
    return spread and (engine == "vllm" or (engine == "sglang" and leading))


def _engine_allows(problem: Problem, shape: Shape) -> bool:
    names = ["vllm", "sglang", "trtllm", "megatron", "fsdp"] if problem.engine_name == "any" else [problem.engine_name]
    split = problem.search.overlap
    if split is not None and ("two_batch" if shape.overlap else "none") not in split:
        return False
    fits = [name for name in names if not shape.overlap or _splits(name, problem.model, shape)]
    if problem.workload.mtp_tokens and problem.workload.phase != "prefill" and shape.pp > 1:
        # of SGLang's pipelines those of prefill instances alone draft
        fits = [name for name in fits if name != "sglang"]
    return any(_runs(name, problem.model, shape) for name in fits)


def shapes(problem: Problem) -> Iterator[Shape]:
    """Every replica that the model, the devices, the engine and the restrictions allow."""
    n, asked = problem.devices, problem.search
    moes = [b.moe for b in problem.model.blocks.values() if b.moe is not None] if problem.model.moe is not None else []
    spare = problem.experts.redundant_slots if problem.experts is not None and moes else (0,)
    shared_widths = [b.moe.shared_intermediate for b in problem.model.blocks.values() if b.moe is not None]
    sizes = range(1, n + 1)
    lone = (1,)
    for tp, cp, pp in itertools.product(sizes, range(1, n + 1), range(1, problem.model.layer_count + 1)):
        if tp * cp * pp > n or not _tp_divides(problem, tp):
            continue
        for etp, ep, redundant, split in itertools.product(
            sizes if moes else lone, sizes if moes else lone, sorted(set(spare)), [False, True]
        ):
            found = Shape(tp, cp, etp, ep, pp, redundant, split)
            if found.devices > n or not _engine_allows(problem, found):
                continue
            if any(m.intermediate % etp or ep > m.experts + redundant for m in moes):
                continue
            if redundant and any(-(-(m.experts + redundant) // ep) > m.experts for m in moes):
                continue
            if any(w % tp for w in shared_widths) and not found.shared_replicated:
                continue
            named = {"tp": tp, "cp": cp, "pp": pp, "etp": etp, "ep": ep}
            if all(getattr(asked, axis) is None or value in getattr(asked, axis) for axis, value in named.items()):
                yield found


def replica_counts(problem: Problem, shape: Shape) -> list[int]:
    """Replica counts that fit and that `dp`, `edp` and `devices` of the search allow."""
    asked, dense = problem.search, problem.model.moe is None
    return [
        r
        for r in range(1, most_replicas(problem, shape.devices) + 1)
        if (asked.dp is None or r * shape.dp in asked.dp)
        and (asked.edp is None or (1 if dense else r * shape.edp) in asked.edp)
        and (asked.devices is None or r * shape.devices in asked.devices)
    ]


def largest_batch(problem: Problem, shape: Shape) -> int:
    """A batch whose cache alone would overfill all stages, and one sequence more."""
    each = build_memory(problem, shape).stack_sequence()
    return min(problem.capacity_bytes * shape.pp // max(each, 1) + 2, 10**6)


def work(problem: Problem) -> int:
    """Evaluations that all layouts take."""
    total = 0
    ways = [0, *(sum(1 for _ in cuts(problem.model.layer_count, pp)) for pp in range(1, problem.model.layer_count + 1))]
    for shape in shapes(problem):
        batches = len(problem.search.batch) if problem.search.batch else largest_batch(problem, shape)
        rated = problem.workload.request_rate is not None
        total += len(chunks(problem)) * ways[shape.pp] * batches * (len(replica_counts(problem, shape)) if rated else 1)
        if total > LARGEST_WORK:
            break
    return total


def _layout(
    problem: Problem, shape: Shape, replicas: int, chunk: int | None, batch: int, parts: tuple[int, ...]
) -> Layout:
    stages = tuple(Stage(first_layer=sum(parts[:i]), layers=n) for i, n in enumerate(parts))
    return Layout(
        tp=shape.tp, cp=shape.cp, dp=shape.dp * replicas, pp=shape.pp, etp=shape.etp, ep=shape.ep,
        edp=1 if problem.model.moe is None else shape.edp * replicas, batch=batch, prefill_chunk=chunk,
        redundant_slots=shape.redundant, stages=stages,
        overlap="two_batch" if shape.overlap else "none",
    )  # fmt: skip


def _taken(problem: Problem, found: Evaluation) -> bool:
    """Whether sequences and tokens of a step are no more than the engine is told to take."""
    work, layout = problem.workload, found.layout
    micro = -(-layout.batch // layout.pp)
    decoded = 0 if work.phase == "prefill" else micro * (1 + work.mtp_tokens)
    prompt = 0 if work.phase == "decode" else layout.prefill_chunk or 0
    if work.phase == "prefill":
        prompt = micro * min(prompt, work.computed_input_tokens)
    tokens = work.max_num_batched_tokens or decoded + prompt
    return layout.batch <= (work.max_num_seqs or layout.batch) and decoded + prompt <= tokens


def allowance(problem: Problem, name: str) -> Fraction:
    """Measured ÷ predicted time that the share of runs asked for keeps: of the best engine, where any will do."""
    asked = problem.limits.confidence
    if asked is None:
        return Fraction(1)
    engine = problem.engine_name.partition("@")[0]
    rows = {(row.moe, row.engine): row for row in MARGINS}
    own = [
        rows.get((problem.model.moe is not None, each), MARGINS[0])
        for each in (ENGINES if engine == "any" else [engine])
    ]
    at = SHARES.index(float(asked))
    return min(Fraction(str({"ttft": row.ttft_s, "tpot": row.tpot_s}[name][at])) for row in own)


def keeps_limits(problem: Problem, found: Evaluation) -> bool:
    """Whether a layout's figures keep every limit."""
    limits, rate = problem.limits, problem.workload.request_rate
    return (
        found.memory_bytes <= problem.capacity_bytes
        and _within_share(problem, found)
        and found.steps.share <= 1
        and _taken(problem, found)
        and found.load < 1
        and (limits.ttft is None or found.ttft_s is None or found.ttft_s * allowance(problem, "ttft") <= limits.ttft)
        and (limits.tpot is None or found.tpot_s is None or found.tpot_s * allowance(problem, "tpot") <= limits.tpot)
        and (rate is None or found.request_capacity >= rate)
    )


def _within_share(problem: Problem, found: Evaluation) -> bool:
    """Whether weights and cache of every stage are within SGLang's share of what its context leaves."""
    share = problem.limits.mem_fraction_static
    if share is None:
        return True
    left = problem.hardware.device.exposed_memory - context_bytes(problem, found.shape)
    pooled = (
        stage.weights_bytes + stage.expert_weights_bytes + stage.replicated_weights_bytes + stage.kv_cache_bytes
        for stage in found.memory
    )
    return all(size <= share * max(left, 0) for size in pooled)


@dataclass(frozen=True)
class Priced:
    """A layout that keeps every limit."""

    shape: Shape
    evaluation: Evaluation

    @property
    def degrees(self) -> tuple[int, ...]:
        """tp, cp, pp, etp, ep."""
        own = self.shape
        return (own.tp, own.cp, own.pp, own.etp, own.ep)


def layouts(problem: Problem, *, full: bool = False) -> Iterator[Priced]:
    """Every layout that keeps every limit; with its whole batch in flight where `full`, whatever the load."""
    rates = effective_rates(problem.priced_hardware)
    for shape in shapes(problem):
        counts = replica_counts(problem, shape)
        costs, memory = build_costs(problem, shape, rates), build_memory(problem, shape)
        batches = (
            sorted(set(problem.search.batch)) if problem.search.batch else range(1, largest_batch(problem, shape) + 1)
        )
        ways = list(cuts(problem.model.layer_count, shape.pp))
        for chunk, batch, parts, replicas in itertools.product(chunks(problem), batches, ways, counts):
            layout = _layout(problem, shape, replicas, chunk, batch, parts)
            assert layout.shape == shape
            found = evaluate(problem, layout, rates=rates, costs=costs, memory=memory, full=full)
            if keeps_limits(problem, found):
                yield Priced(shape, found)


def _longest(problem: Problem, found: Evaluation) -> int:
    """Whole blocks of one sequence that every stage holds with the step that the engine sizes itself for.

    All stages are asked at each length, doubled and then halved; small models name no longest context.
    """
    own, work, book = problem.engine, problem.workload, MemoryBook(problem)
    memory, defaults = book.memory(found.shape), own.reservation.defaults.of(problem.hardware.device)
    block = own.cache.block_tokens
    tokens = work.max_num_batched_tokens or defaults.batched_tokens
    sequences = work.max_num_seqs or min(defaults.sequences, tokens)
    sampling = memory.sampled_bytes * sequences + memory.hidden_bytes * tokens + memory.sampler_bytes
    step = max(memory.token_bytes * tokens, sampling)

    def holds(blocks: int) -> bool:
        _, each = book.sequence_bytes(found.shape, blocks * block)
        first = 0
        for stage, layers in zip(found.memory, found.cuts, strict=True):
            kinds = memory.order[first : first + layers]
            first += layers
            kept = stage.weights_bytes + stage.expert_weights_bytes + stage.replicated_weights_bytes
            share = problem.limits.mem_fraction_static
            if share is None:
                kept += memory.reserve_bytes if own.reservation.static_fraction else stage.reserve_bytes + step
                most = problem.capacity_bytes
            else:
                context = context_bytes(problem, found.shape)
                most = int(share * max(0, problem.hardware.device.exposed_memory - context))
            if kept + sum(each[kind] for kind in kinds) > most:
                return False
        return True

    most = 2**30 // block
    low, high = 0, 1
    while high <= most and holds(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle <= most and holds(middle) else (low, middle)
    return low * block


def value(problem: Problem, found: Evaluation, objective: str) -> Fraction:
    """Objective of a layout, from its figures."""
    if objective == "throughput_per_device":
        return found.throughput / found.devices
    if objective == "throughput":
        return found.throughput
    if objective == "devices":
        return Fraction(found.devices)
    if objective in ("ttft", "tpot"):
        seconds = found.ttft_s if objective == "ttft" else found.tpot_s
        assert seconds is not None
        return seconds
    if objective == "memory_headroom":
        return Fraction(problem.capacity_bytes - found.memory_bytes)
    if objective == "context":
        return Fraction(_longest(problem, found))
    work_, price = problem.workload, problem.hardware.device.price
    assert price is not None
    counted = {"prefill": work_.input_tokens, "decode": work_.output_tokens - 1, "aggregated": work_.output_tokens}
    tokens = counted[work_.phase]
    served = found.throughput if work_.request_rate is None else work_.request_rate * tokens
    return Fraction(price) / 3600 * found.devices * 10**6 / served


MAXIMISED = ("throughput_per_device", "throughput", "memory_headroom", "context")


def best_value(problem: Problem, found: list[Evaluation], objective: str) -> Fraction | None:
    """Best value of an objective over layouts."""
    values = [value(problem, one, objective) for one in found]
    if not values:
        return None
    return max(values) if objective in MAXIMISED else min(values)
