"""Constraint families of the declarative model, a class each: statement, domains, constraints."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import gcd, prod
from types import SimpleNamespace
from typing import cast

from ortools.sat.python import cp_model

from optimizer.declarative.measures import reach
from optimizer.declarative.statement import LayoutProgram, ProgramFamily
from optimizer.domain.engines.rule import EngineRule
from optimizer.domain.feedforward import DenseFeedForward
from optimizer.domain.limit_table import tightest
from optimizer.domain.objectives import Measure
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.steps import Steps


class MeshFamily(ProgramFamily):
    """(mesh) tp·cp·dp = etp·ep·edp devices a stage; a replica is the least set of them that both meshes close.

    Least: dp and edp have no common factor, or the replica would be several. Without experts etp = ep = 1.
    """

    @classmethod
    def allows(cls, problem: Problem, axis: str, value: int) -> bool:
        """No expert mesh without experts."""
        return axis not in {"etp", "ep"} or value == 1 or problem.model.moe is not None

    def post(self, program: LayoutProgram) -> None:
        """Products, and no common factor."""
        model, n = program.model, program.problem.devices
        for degrees in ((program.tp, program.cp, program.dp), (program.etp, program.ep, program.edp)):
            inner = program.up_to(n, "ranks")
            model.add_multiplication_equality(inner, degrees[:2])
            model.add_multiplication_equality(program.stage_devices, [inner, degrees[2]])
        ranks = range(1, n + 1)
        apart = [(a, b) for a in ranks for b in ranks if gcd(a, b) == 1]
        model.add_allowed_assignments([program.dp, program.edp], apart)


class DivisibilityFamily(ProgramFamily):
    """(divisibility) Heads and dense widths divide by tp, expert widths by etp; every ep rank has an expert.

    Key/value heads divide by tp, or tp by them. Shared experts are whole on every rank where tp, dp and ep all exceed
    1.
    """

    @classmethod
    def allows(cls, problem: Problem, axis: str, value: int) -> bool:
        """What a degree has to divide, whatever the others are."""
        sizes: list[int] = []
        for block in problem.model.blocks.values():
            attention, ffn = block.attention, block.ffn
            if axis == "tp" and attention is not None:
                sizes += attention.head_counts
                heads = attention.kv_head_count
                if heads is not None and heads % value and value % heads:
                    return False
            if ffn is None:
                continue
            if isinstance(ffn, DenseFeedForward):
                sizes += [ffn.intermediate] if axis == "tp" else []
            else:
                sizes += {"tp": [ffn.dense_intermediate], "etp": [ffn.intermediate]}.get(axis, [])
        return all(size % value == 0 for size in sizes)

    def post(self, program: LayoutProgram) -> None:
        """Shared experts, and an expert for each rank."""
        model = program.model
        for moe in program.problem.model.moe_blocks:
            model.add(program.ep <= moe.experts + program.redundant)
            dividing = [tp for tp in program.domains["tp"] if moe.shared_intermediate % tp == 0]
            whole = model.new_bool_var("shared experts divided")
            model.add_linear_expression_in_domain(program.tp, program.domain_of(dividing)).only_enforce_if(whole)
            model.add_bool_or(whole, program.shared_replicated)


def laid_down(problem: Problem, size: int) -> int:
    """How many replicas of a size fit, laid down one by one, each at the first place that is allowed."""
    tiers = [tier.size for tier in problem.hardware.tiers if tier.size is not None]
    below = max((domain for domain in tiers if domain < size), default=1)
    above = min((domain for domain in tiers if domain >= size), default=None)
    start = count = 0
    while True:
        start = -(-start // below) * below
        if above is not None and start // above != (start + size - 1) // above:
            start = (start // above + 1) * above
        if start + size > problem.devices:
            return count
        start, count = start + size, count + 1


class DevicesFamily(ProgramFamily):
    """(devices) Replicas of stage·pp devices lie on the devices there are.

    None straddles a domain of a link tier that could hold it whole; a larger one takes whole domains of the tier below.
    """

    def post(self, program: LayoutProgram) -> None:
        """Devices of a replica and in all, and how many replicas there is room for."""
        model, n = program.model, program.problem.devices
        model.add_multiplication_equality(program.replica_devices, [program.stage_devices, program.pp])
        model.add_multiplication_equality(program.devices, [program.replica_devices, program.replicas])
        room = program.up_to(n, "room", least=0)
        model.add_element(
            program.replica_devices, [0, *(laid_down(program.problem, size) for size in range(1, n + 1))], room
        )
        model.add(program.replicas <= room)


class PlacementFamily(ProgramFamily):
    """(placement) With redundant copies no device holds an expert of a layer twice."""

    def post(self, program: LayoutProgram) -> None:
        """ceil((experts + redundant) ÷ ep) ≤ experts wherever there are copies."""
        for moe in program.problem.model.moe_blocks:
            for redundant in program.domains["redundant"]:
                if redundant:
                    copies = program.model.new_bool_var(f"{redundant} redundant")
                    program.model.add(program.redundant != redundant).only_enforce_if(~copies)
                    # ceil(slots ÷ ep) ≤ experts ⇔ slots ≤ ep · experts
                    program.model.add(program.ep * moe.experts >= moe.experts + redundant).only_enforce_if(copies)


class PipelineFamily(ProgramFamily):
    """(pipeline) pp stages in a row, none empty, cover every layer."""

    @classmethod
    def allows(cls, problem: Problem, axis: str, value: int) -> bool:
        """No more stages than layers."""
        return axis != "pp" or value <= problem.model.layer_count

    def post(self, program: LayoutProgram) -> None:
        """Where each stage ends, and how many layers of each kind it holds."""
        model, layers = program.model, program.problem.model.layer_count
        kinds = program.prices.order
        model.add(program.ends[-1] == layers)
        before: cp_model.IntVar | int = 0
        for stage, end in enumerate(program.ends):
            used = program.uses_stage[stage]
            model.add(program.pp > stage).only_enforce_if(used)
            model.add(program.pp <= stage).only_enforce_if(~used)
            model.add(end >= before + 1).only_enforce_if(used)
            model.add(end == before).only_enforce_if(~used)
            before = end
        for kind in range(len(program.prices.counts)):
            held = [sum(layer_kind == kind for layer_kind in kinds[:end]) for end in range(layers + 1)]
            earlier: cp_model.IntVar | int = 0
            for stage, end in enumerate(program.ends):
                passed = program.up_to(layers, "layers passed", least=0)
                model.add_element(end, held, passed)
                model.add(program.layers[stage][kind] == passed - earlier)
                earlier = passed


class BatchFamily(ProgramFamily):
    """(batch) The engine takes the batch and its steps, and prefill keeps up with decoding.

    A stage works on µ = ceil(batch ÷ pp) sequences at a time. A prompt is taken in even pieces, or several whole ones
    share a step; the share of steps that carry prompts is at most 1.
    """

    @classmethod
    def allows(cls, problem: Problem, axis: str, value: int) -> bool:
        """Sequences in flight that the engine is told to take."""
        most = problem.workload.max_num_seqs
        return axis != "batch" or most is None or value <= most

    @classmethod
    def runs(cls, problem: Problem, steps: Steps) -> bool:
        """Whether a step may be: prompts keep up, and it has no more tokens than the engine is told to take."""
        most = problem.workload.max_num_batched_tokens
        return steps.share <= 1 and (most is None or steps.largest.tokens <= most)

    def post(self, program: LayoutProgram) -> None:
        """µ from batch and pp, and the step that µ and chunk make."""
        model, grid = program.model, program.prices.steps
        padded = program.up_to(program.largest_batch + program.problem.devices, "whole micro-batches")
        model.add_multiplication_equality(padded, [program.micro_batch, program.pp])
        model.add(padded >= program.batch)
        model.add(padded < program.batch + program.pp)
        model.add_allowed_assignments(
            [program.micro_batch, program.chunk, program.pp, program.step],
            [(p.micro_batch, p.chunk, depth, i) for i, p in enumerate(grid) for depth in p.depths],
        )


class MemoryFamily(ProgramFamily):
    """(memory) No device of any stage holds more than the exposed memory × utilisation, and than SGLang's share.

    Weights and what the engine keeps of a stage's layers, cache of the whole batch, the step's tensors, input and
    output.
    """

    def post(self, program: LayoutProgram) -> None:
        """Every byte coefficient of the reference at the chosen degrees."""
        model, capacity = program.model, program.problem.capacity_bytes
        cached = program.cached_layers()
        tokens = program.of_step([p.working_tokens for p in program.prices.steps], "working tokens")
        sampled = program.of_step([p.sampled for p in program.prices.steps], "sampled sequences")
        for row, chosen in enumerate(program.chosen):
            shape, memory = program.rows[row], program.prices.memory[row]
            for stage in range(shape.pp):
                fixed = memory.reserve_bytes
                fixed += memory.input.total_bytes if stage == 0 else 0
                fixed += memory.output.total_bytes if stage == shape.pp - 1 else 0
                layers = [
                    program.layers[stage][kind] * (w.total_bytes + reserved + extra) + cached[stage][kind] * sequence
                    for kind, (w, reserved, extra, sequence) in enumerate(
                        zip(memory.weights, memory.layer_reserve, memory.admission, memory.sequence, strict=True)
                    )
                ]
                if memory.pool is not None:
                    reserves = sum(
                        program.layers[stage][kind] * reserved for kind, reserved in enumerate(memory.layer_reserve)
                    )
                    pooled = sum(layers) - reserves + fixed - memory.reserve_bytes
                    model.add(pooled <= memory.pool).only_enforce_if(chosen)
                sampling = sampled * memory.sampled_bytes + tokens * memory.hidden_bytes + memory.sampler_bytes
                for working in (tokens * memory.token_bytes, sampling):
                    model.add(sum(layers) + fixed + working <= program.memory_bytes).only_enforce_if(chosen)
        model.add(program.memory_bytes <= capacity)


class LatencyFamily(ProgramFamily):
    """(ttft, tpot, request_rate, limit) What is asked of a measure's value is kept (`optimizer.declarative.measures`).

    Bandwidth is a price: transfers over a link whose use `limits.fabric_bandwidth` bounds take the time that the bound
    leaves, so that nothing can exceed it.
    """

    def post(self, program: LayoutProgram) -> None:
        """Every limit; requests/s that come at random are served, and their queue ends."""
        levels = dict(tightest(program.problem))
        rate = program.problem.workload.request_rate
        if rate is not None:
            levels[Measure.REQUESTS] = max(levels.get(Measure.REQUESTS, Fraction(0)), rate)
        if program.problem.workload.queued_rate is not None and program.problem.workload.prompts:
            levels.setdefault(Measure.FIRST, None)  # type: ignore[arg-type]  # no limit but the queue's own end
        for measure, level in levels.items():
            reach(program, measure, level)


_OWN = frozenset({"tp", "cp", "pp", "etp", "ep", "batch"})
"""Restrictions on a variable alone; `prefill_chunk` lists the chunks that there are."""


class SearchFamily(ProgramFamily):
    """(search) Every axis that the problem restricts has one of the values that it lists."""

    @classmethod
    def allows(cls, problem: Problem, axis: str, value: int) -> bool:
        """Whether a value is among those listed."""
        if axis == "overlap":
            overlaps = problem.search.overlap
            return overlaps is None or ("two_batch" if value else "none") in overlaps
        listed = getattr(problem.search, axis) if axis in _OWN else None
        return listed is None or value in listed

    def post(self, program: LayoutProgram) -> None:
        """Ranks and copies over all replicas, and devices in all."""
        search, model = program.problem.search, program.model
        for listed, degree in ((search.dp, program.dp), (search.edp, program.edp)):
            if listed is None:
                continue
            if degree is program.edp and program.problem.model.moe is None:
                # a dense model has one expert mesh of one device
                model.add(program.replicas <= (program.problem.devices if 1 in listed else 0))
                continue
            total = program.up_to(program.problem.devices, "over all replicas")
            model.add_multiplication_equality(total, [degree, program.replicas])
            model.add_linear_expression_in_domain(total, program.domain_of(listed))
        if search.devices is not None:
            model.add_linear_expression_in_domain(program.devices, program.domain_of(search.devices))


class _Unread:
    """A degree that a rule does not say that it reads: it may stand in a sentence, and decides nothing."""

    __hash__ = None  # type: ignore[assignment]

    def __format__(self, spec: str) -> str:
        return "?"

    def __eq__(self, other: object) -> bool:
        raise TypeError("a rule decides by a degree that it does not list among what it reads")


class _Shown(SimpleNamespace):
    """A shape of which only some degrees are known."""

    def __getattr__(self, name: str) -> _Unread:
        return _Unread()


_MESHES = (("tp", "cp", "dp"), ("etp", "ep", "edp"))
"""Degrees whose product is at most the devices of a stage."""


class EngineFamily(ProgramFamily):
    """(engine) The engine's validity rules, each a table over the degrees that it reads.

    Of several engines one accepts.
    """

    def post(self, program: LayoutProgram) -> None:
        """One of the engines accepts: none of its rules is broken."""
        members = program.problem.engine.members or (program.problem.engine,)
        accepting = [program.model.new_bool_var(f"{member.name} accepts") for member in members]
        program.model.add_bool_or(accepting)
        literals: dict[tuple[str, tuple[str, ...], int], cp_model.IntVar] = {}
        for member, accepts in zip(members, accepting, strict=True):
            for rule in member.rules:
                key = (rule.name, rule.reads, id(rule))
                if key not in literals:
                    literals[key] = self._kept(program, rule)
                program.model.add_implication(accepts, literals[key])

    @staticmethod
    def _kept(program: LayoutProgram, rule: EngineRule) -> cp_model.IntVar:
        """A literal that is false where the rule is broken."""
        holds, n = program.model.new_bool_var(f"rule {rule.name}"), program.problem.devices
        variables = [program.degree(name) for name in rule.reads]
        derived = {"shared_replicated": [0, 1], "spread": [0, 1]}
        values = [program.domains.get(name) or derived.get(name) or range(1, n + 1) for name in rule.reads]
        passing = []
        for chosen in product(*values):
            degrees = dict(zip(rule.reads, chosen, strict=True))
            if any(prod(degrees.get(name, 1) for name in mesh) > n for mesh in _MESHES):
                continue
            stub = cast("Shape", _Shown(**degrees))
            passing.append((*chosen, int(rule.breach(program.problem, stub) is None)))
        program.model.add_allowed_assignments([*variables, holds], passing)
        return holds


FAMILIES: tuple[type[ProgramFamily], ...] = (
    MeshFamily, DevicesFamily, DivisibilityFamily, PlacementFamily, EngineFamily,
    SearchFamily, PipelineFamily, BatchFamily, MemoryFamily, LatencyFamily,
)  # fmt: skip
