"""A layout as an engine is told of it: flags, environment and files, named by the tables that read them back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import lcm
from typing import Any, Final

from optimizer.domain.engines import Engine, release_of
from optimizer.domain.engines.reservation import Paged
from optimizer.domain.families import Family
from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.errors import Fault, SpecError
from optimizer.export.placement import PlacementFile
from optimizer.export.transfer import role
from optimizer.figures.partition import cuts_of
from optimizer.figures.reserve import context_bytes
from optimizer.figures.serving import Evaluation
from optimizer.readers.launch import sglang, trtllm, vllm
from optimizer.readers.launch.flags import table
from optimizer.readers.launch.launch import budget_of
from optimizer.verify.constraints import BLOCKING, structural_violations
from optimizer.verify.violation import Violation

DEEPEP_HIDDEN: Final = frozenset({2048, 2560, 3072, 4096, 5120, 6144, 7168, 8192})
"""Hidden sizes of DeepEP's low-latency kernels (vLLM 0.33 prepare_finalize/deepep_ll.py:57)."""


@dataclass(frozen=True)
class ExportPlan:
    """What is exported: a layout with its problem and figures."""

    problem: Problem
    layout: Layout
    evaluation: Evaluation
    placement_file: PlacementFile | None = None
    model: str | None = None
    placed: bool = False
    """Whether experts were placed; an engine that takes no file of it is told nothing."""
    page: int = 1
    """Tokens of a page that flags beside these ask for."""

    @property
    def model_name(self) -> str:
        """What the engine is told to load."""
        return self.model or self.problem.model.name

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence that the engine is to admit: as stated, else the longest that was priced.

        A bucket is priced at its longest prompt with its longest output, which may be more than the model holds.
        """
        work, holds = self.problem.serving, self.problem.model.max_context
        priced = work.input_tokens + work.output_tokens
        return work.max_model_len or (priced if holds is None else min(priced, holds))

    @property
    def nvidia(self) -> bool:
        """Whether the devices run NVIDIA's communication libraries."""
        named = self.problem.hardware.name.casefold()
        return not any(vendor in named for vendor in ("mi2", "mi3", "gaudi", "tpu", "trainium", "ascend"))


@dataclass
class Plan:
    """Arguments of one instance of an engine, apart from what differs from node to node.

    Attributes
    ----------
    arguments
        By flag; None where nothing follows it.
    yaml
        Keys of TensorRT-LLM's YAML.
    differences
        What was priced and the engine cannot be told, or does otherwise.
    """

    engine: str
    version: str
    instance: Layout
    instances: int
    arguments: dict[str, str | None] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    yaml: dict[str, Any] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)

    def put(self, carries: str, value: object = None) -> None:
        """Give a field by the flag that carries it."""
        if not self.takes(carries):
            shown = "" if value is None else f" ({value})"
            self.differences.append(
                f"{carries.replace('_', ' ')}{shown}: {self.engine} {self.version} has no flag for it"
            )
            return
        flag = table(self.engine).carrying(carries, self.version)
        self.arguments[flag.name] = None if value is None else str(value)

    def takes(self, carries: str) -> bool:
        """Whether this version has a flag for a field."""
        known = table(self.engine)
        return any(flag.carries == carries and known.has(flag, self.version) for flag in known.flags)


def prevented(problem: Problem, layout: Layout) -> Violation | None:
    """Why no engine could start a layout: what its problem or its devices do not hold; None: nothing."""
    violations = structural_violations(problem, layout)
    return next((v for v in violations if v.family in BLOCKING or v.family == Family.DEVICES), None)


def engine_plan(answer: ExportPlan, engine: str, version: str | None = None) -> Plan:
    """What an engine is told so that it serves a layout as it was priced.

    Raises
    ------
    SpecError
        The engine cannot run the layout.
    """
    if engine not in PLANNERS:
        from optimizer.readers.messages import nearest  # noqa: PLC0415 - an error needs it

        message = f"{engine!r} is no engine that can be launched; engines: {', '.join(PLANNERS)}"
        raise SpecError(Fault(None, None, None, "--engine", message, nearest(engine, list(PLANNERS))))
    solved_for, _, solved = answer.problem.engine_name.partition("@")
    known = version or (solved if solved_for == engine else "")
    plan = PLANNERS[engine](answer, known or table("torchtitan" if engine == "fsdp" else engine).newest)
    release, shape = _release(plan), answer.layout.shape
    if solved_for == engine and release != answer.problem.engine:
        plan.differences.append(f"memory: reckoned for {answer.problem.engine.title}, not for {engine} {plan.version}")
    if not release.overlaps:
        # a step that runs whole is a difference that the plan names
        shape = replace(shape, overlap=False)
    for _, reason in release.refusals(answer.problem, shape):
        raise _refuse(engine, reason)
    return plan


VERSIONED: Final = frozenset({"vllm", "sglang"})
"""Engines whose flags and rules are known of several versions."""


def _release(plan: Plan) -> Engine:
    """The release whose rules and pages stand for the version that a plan is of."""
    name = "fsdp" if plan.engine == "torchtitan" else plan.engine
    return release_of(name, plan.version if name in VERSIONED else None)


def _instance(layout: Layout, *, whole: bool) -> tuple[Layout, int]:
    """Layout of one instance, and how many there are; one instance of all, where the engine counts replicas itself."""
    if whole or layout.replicas == 1:
        return layout, 1
    count = layout.replicas
    return layout.model_copy(update={"dp": layout.dp // count, "edp": max(1, layout.edp // count)}), count


def _refuse(engine: str, why: str) -> SpecError:
    return SpecError(Fault(None, None, None, "--engine", f"{engine} cannot run this layout: {why}"))


def _cache(answer: ExportPlan, names: Mapping[str, str]) -> str | None:
    """The engine's name of a cache format that is not its own choice."""
    return names.get(answer.problem.precision.kv_cache)


def _stages(plan: Plan, answer: ExportPlan, variable: str) -> None:
    if answer.layout.pp > 1:
        plan.environment[variable] = ",".join(map(str, cuts_of(answer.problem, answer.layout)))


def _budget(plan: Plan, answer: ExportPlan) -> int:
    """Tokens of a step: never fewer than the sequences in flight, which engines refuse."""
    wanted = budget_of(answer.problem.serving, plan.engine, answer.layout)
    if wanted < answer.layout.batch and answer.problem.serving.prompts:
        plan.differences.append(
            f"a step's tokens: {wanted} were priced; {plan.engine} wants at least {answer.layout.batch}"
        )
    return max(wanted, answer.layout.batch)


def _common(plan: Plan, answer: ExportPlan) -> None:
    work, precision = answer.problem.serving, answer.problem.precision
    if answer.layout.overlap == "two_batch" and plan.engine not in ("vllm", "sglang"):
        plan.differences.append(f"two-batch overlap: {plan.engine} runs a step whole")
    if answer.placed and answer.placement_file is None:
        plan.differences.append(f"expert placement: {plan.engine} takes no static one; it starts from experts in order")
    if not work.mixes:
        told = role(plan.engine, work)
        for carries, value in told.fields.items():
            plan.put(carries, value)
        plan.yaml |= told.yaml
        plan.differences += told.differences
    if work.hybrid_cache is False and plan.takes("unified_cache"):
        plan.put("unified_cache")
    apart = answer.problem.changed(engine_name=plan.engine).cache.state_ratio
    if apart and plan.takes("no_prefixes") and not work.prefix_cache_hit:
        # else states of prefixes take the room of requests
        plan.put("no_prefixes")
    if work.prefix_cache_hit:
        plan.differences.append(
            f"prefix cache: {float(work.prefix_cache_hit):.0%} of prompt tokens were priced as found in the cache; "
            "what is found depends on the requests"
        )
    if work.mtp_tokens:
        plan.differences.append(
            f"drafts: an acceptance of {float(work.mtp_acceptance):.0%} was priced; the engine's depends on the text"
        )
    formats = precision.weights if precision.experts is None else f"{precision.weights}, experts {precision.experts}"
    plan.differences.append(f"weights: the checkpoint {answer.model_name} is taken to hold them as {formats}")
    if answer.model is None and "/" not in answer.model_name:
        plan.differences.append(f"model: {answer.model_name} is the catalog's name; put the checkpoint's in its place")


def _vllm(answer: ExportPlan, version: str) -> Plan:
    problem, layout, work = answer.problem, answer.layout, answer.problem.serving
    experts = problem.model.moe is not None
    instance, count = _instance(layout, whole=not experts)
    ranks = instance.tp * instance.cp * instance.dp
    if experts and (instance.etp, instance.ep, instance.edp) not in {(1, ranks, 1), (ranks, 1, 1)}:
        raise _refuse(
            "vllm",
            f"experts are on all {ranks} ranks of a stage (EP) or divided over all of them, not "
            f"etp={instance.etp} ep={instance.ep} edp={instance.edp}",
        )
    plan = Plan("vllm", version, instance, count)
    plan.put("tp", instance.tp)
    for name, degree in (("pp", instance.pp), ("dp", instance.dp), ("cp", instance.cp)):
        if degree > 1:
            plan.put(name, degree)
    if work.decode_context_parallel > 1:
        plan.put("dcp", work.decode_context_parallel)
    if experts and instance.ep > 1:
        plan.put("expert_parallel")
        overlap = layout.overlap == "two_batch"
        if (overlap or (answer.nvidia and not work.mixes)) and instance.dp > 1:
            low = answer.nvidia and not work.prompts and problem.model.hidden_size in DEEPEP_HIDDEN
            plan.put("all2all", "deepep_low_latency" if low else "deepep_high_throughput")
        if overlap:
            _vllm_overlap(plan, answer)
    if answer.layout.redundant_slots:
        plan.put("eplb")
        if plan.takes("eplb_config"):
            plan.put("eplb_config", json.dumps({"num_redundant_experts": answer.layout.redundant_slots}))
        else:
            plan.put("redundant_slots", answer.layout.redundant_slots)
    plan.put("memory_utilization", _decimal(problem.memory_utilization))
    plan.put("max_num_seqs", layout.batch)
    plan.put("max_num_batched_tokens", _budget(plan, answer))
    plan.put("max_model_len", answer.longest)
    cache = _cache(answer, {"fp8": "fp8", "nvfp4": "nvfp4"})
    if cache is not None:
        plan.put("kv_cache", cache)
    if work.mtp_tokens:
        drafts = {"method": "mtp", "num_speculative_tokens": work.mtp_tokens}
        plan.put("speculative", json.dumps(drafts))
    _stages(plan, answer, vllm.PARTITION)
    _common(plan, answer)
    return plan


def _vllm_overlap(plan: Plan, answer: ExportPlan) -> None:
    """Every step that holds two tokens is split, as it was priced."""
    plan.put("overlap")
    for steps in ("decode", "prefill"):
        plan.arguments[f"--dbo-{steps}-token-threshold"] = "2"
    if not answer.nvidia:
        plan.differences.append("two-batch overlap: vLLM asks for DeepEP's kernels, which are NVIDIA's first of all")


def _sglang(answer: ExportPlan, version: str) -> Plan:
    problem, layout, work = answer.problem, answer.layout, answer.problem.serving
    experts = problem.model.moe is not None
    instance, count = _instance(layout, whole=False)
    width = instance.tp * instance.cp * instance.dp
    plan = Plan("sglang", version, instance, count)
    plan.put("tp", width)
    for name, degree in (("pp", instance.pp), ("cp", instance.cp)):
        if degree > 1:
            plan.put(name, degree)
    if instance.cp > 1:
        sparse = problem.model.indexed
        plan.put("prefill_cp")
        plan.put("cp_strategy", "interleave" if sparse else "zigzag")
    if instance.dp > 1 and plan.takes("attention_dp"):
        plan.put("attention_dp", instance.dp)
    elif instance.dp > 1:
        plan.put("dp", instance.dp)
        plan.put("dp_attention")
    if work.decode_context_parallel > 1:
        plan.put("dcp", work.decode_context_parallel)
    if experts:
        _sglang_experts(plan, answer)
    plan.put("memory_utilization", _decimal(_static_share(answer)))
    if problem.limits.window_share is not None:
        plan.put("window_share", _decimal(problem.limits.window_share))
    plan.put("max_num_seqs", layout.batch * instance.dp)
    if work.prompts:
        plan.put("prefill_chunk", _whole_pages(plan, answer) * instance.dp)
    plan.put("max_model_len", answer.longest)
    cache = _cache(answer, {"fp8": "fp8_e4m3", "nvfp4": "nvfp4"})
    if cache is not None:
        plan.put("kv_cache", cache)
    if work.mtp_tokens:
        plan.put("draft_method", "EAGLE")
        plan.put("draft_steps", work.mtp_tokens)
        plan.put("draft_topk", 1)
        plan.put("draft_tokens", work.mtp_tokens + 1)
    if work.mixes:
        plan.differences.append(
            "prompts: SGLang gives them steps of their own; prompt tokens beside decoding sequences were priced"
        )
    _stages(plan, answer, sglang.PARTITION)
    _common(plan, answer)
    return plan


def _whole_pages(plan: Plan, answer: ExportPlan) -> int:
    """Prompt tokens of a step of one rank, of whole pages: SGLang starts with no others."""
    priced = budget_of(answer.problem.serving, "sglang", answer.layout)
    page_of = _release(plan).cache.page
    own = 1 if page_of is None else page_of(Paged(answer.problem.model, answer.problem.hardware.device))
    page = lcm(own, answer.page)
    tokens = -(-priced // page) * page
    if tokens != priced:
        plan.differences.append(
            f"a step's prompt tokens: {priced} of a rank were priced; SGLang takes whole pages of {page}: {tokens}"
        )
    return tokens


def _sglang_experts(plan: Plan, answer: ExportPlan) -> None:
    width = plan.instance.tp * plan.instance.cp * plan.instance.dp
    if plan.instance.ep > 1:
        plan.put("ep", plan.instance.ep)
        if answer.layout.overlap == "two_batch":
            plan.put("overlap")
        if plan.instance.ep == width and answer.nvidia and plan.instance.dp > 1:
            plan.put("all2all", "deepep")
        else:
            plan.differences.append(
                "expert exchange: SGLang's all-to-all backends need EP on the whole width and attention DP; without "
                "them it reduces over all ranks, while an all-to-all was priced"
            )
    if plan.instance.edp > 1:
        plan.put("edp", plan.instance.edp)
    if answer.layout.redundant_slots:
        plan.put("redundant_slots", answer.layout.redundant_slots)
    if answer.placement_file is not None:
        plan.put("expert_location", answer.placement_file.name)
        if "--moe-a2a-backend" in plan.arguments:
            plan.arguments["--ep-dispatch-algorithm"] = "static"


def _trtllm(answer: ExportPlan, version: str) -> Plan:
    problem, layout, work = answer.problem, answer.layout, answer.problem.serving
    instance, count = _instance(layout, whole=False)
    if instance.dp > 1 and instance.tp > 1:
        raise _refuse(
            "trtllm",
            f"attention data parallelism is all or nothing, not dp={instance.dp} with tp={instance.tp} in one instance",
        )
    if instance.edp > 1:
        raise _refuse("trtllm", f"it keeps one copy of every expert in an instance, not edp={instance.edp}")
    width = instance.tp * instance.dp
    plan = Plan("trtllm", version, instance, count)
    plan.yaml = {"tensor_parallel_size": width, "pipeline_parallel_size": instance.pp}
    if instance.cp > 1:
        plan.yaml |= {
            "context_parallel_size": instance.cp,
            "cp_config": {"cp_type": trtllm.HELIX, "tokens_per_block": 32},
        }
    if problem.model.moe is not None:
        plan.yaml |= {"moe_expert_parallel_size": instance.ep, "moe_tensor_parallel_size": instance.etp}
    if instance.dp > 1:
        plan.yaml["enable_attention_dp"] = True
    plan.yaml["gpus_per_node"] = min(problem.hardware.devices_per_node, instance.devices)
    plan.yaml |= {
        "max_batch_size": layout.batch,
        "max_num_tokens": _budget(plan, answer),
        "max_seq_len": answer.longest,
        "kv_cache_config": {"free_gpu_memory_fraction": float(_decimal(_free_share(answer)))},
    }
    if problem.precision.kv_cache in {"fp8", "nvfp4"}:
        plan.yaml["kv_cache_config"]["dtype"] = problem.precision.kv_cache
    if work.mixes:
        plan.yaml["enable_chunked_prefill"] = True
    if work.mtp_tokens:
        plan.yaml["speculative_config"] = {"decoding_type": "MTP", "num_nextn_predict_layers": work.mtp_tokens}
    if answer.placement_file is not None:
        plan.yaml["moe_config"] = {"backend": "WIDEEP", "load_balancer": answer.placement_file.name}
    elif answer.layout.redundant_slots:
        plan.differences.append(
            f"redundant experts: {answer.layout.redundant_slots} slots need a placement (experts.load)"
        )
    if instance.pp > 1:
        plan.yaml["pp_partition"] = list(cuts_of(problem, layout))
    _common(plan, answer)
    return plan


def _megatron(answer: ExportPlan, version: str) -> Plan:
    layout, model = answer.layout, answer.problem.model
    plan = Plan("megatron", version, layout, 1)
    for name, degree in (("tp", layout.tp), ("pp", layout.pp), ("cp", layout.cp)):
        plan.put(name, degree)
    if model.moe is not None:
        plan.put("ep", layout.ep)
        plan.put("etp", layout.etp)
        plan.put("model_experts", model.moe.experts)
        plan.put("model_topk", model.moe.top_k)
        plan.put("all2all", "alltoall")
        if layout.tp > 1:
            plan.put("sequence_parallel")
    plan.put("model_layers", model.layer_count)
    if layout.pp > 1:
        cuts = cuts_of(answer.problem, layout)
        parts = [f"t*{layers}" for layers in cuts]
        plan.put("pipeline_layout", "|".join(["E" + parts[0], *parts[1:-1], parts[-1] + "L"]))
    plan.differences += [
        "training: a serving workload was priced, and Megatron-LM trains; its figures are not these",
        "data parallelism: Megatron-LM derives it from the number of ranks",
        f"model: the other arguments of {model.name} (widths, heads, vocabulary) are those of its own script",
    ]
    return plan


def _torchtitan(answer: ExportPlan, version: str) -> Plan:
    layout = answer.layout
    if layout.edp > layout.stage_devices or (layout.etp > 1 and layout.ep > 1):
        raise _refuse("fsdp", f"experts are not divided within one (etp={layout.etp})")
    plan = Plan("torchtitan", version, layout, 1)
    plan.put("tp", layout.tp)
    plan.put("pp", layout.pp)
    plan.put("cp", layout.cp)
    plan.put("dp_shard", layout.dp)
    plan.put("dp_replicate", 1)
    if answer.problem.model.moe is not None:
        if layout.etp > 1:
            raise _refuse("fsdp", f"experts are not divided within one (etp={layout.etp})")
        plan.put("ep", layout.ep)
    if layout.pp > 1:
        plan.differences.append("stages: torchtitan cuts the model into stages itself")
    plan.differences += [
        "training: a serving workload was priced, and torchtitan trains; its figures are not these",
        f"model: {answer.problem.model.name} is to be named by --model.name and --model.flavor, or --job.config_file",
    ]
    return plan


PLANNERS: Final[Mapping[str, Callable[[ExportPlan, str], Plan]]] = {
    "vllm": _vllm, "sglang": _sglang, "trtllm": _trtllm, "megatron": _megatron, "fsdp": _torchtitan,
    "torchtitan": _torchtitan,
}  # fmt: skip
"""How each engine is told."""


def _decimal(share: Fraction) -> str:
    """A share of memory with six decimals, not more than it is, and one that an engine takes."""
    return f"{int(min(Fraction(1), max(Fraction(1, 100), share)) * 10**6) / 10**6:g}"


def _fullest(answer: ExportPlan) -> tuple[int, int, int]:
    """Weights, cache and the rest of the fullest device, in bytes."""
    stage = max(answer.evaluation.memory, key=lambda memory: memory.total_bytes)
    weights = stage.weights_bytes + stage.expert_weights_bytes + stage.replicated_weights_bytes
    return weights, stage.kv_cache_bytes, stage.total_bytes - weights - stage.kv_cache_bytes


def _static_share(answer: ExportPlan) -> Fraction:
    """SGLang's static share: weights and cache over what the context leaves, all that the rest leaves of the limit."""
    stated = answer.problem.limits.mem_fraction_static
    if stated is not None:
        return stated
    total = answer.problem.hardware.device.exposed_memory - context_bytes(answer.problem, answer.evaluation.shape)
    return Fraction(answer.problem.capacity_bytes - _fullest(answer)[2], int(total))


def _free_share(answer: ExportPlan) -> Fraction:
    """TensorRT-LLM's share: the cache over what weights and workspace leave free."""
    weights, _, beside = _fullest(answer)
    total = int(answer.problem.hardware.device.exposed_memory)
    return Fraction(answer.problem.capacity_bytes - weights - beside, total - weights - beside)
