"""Constraints that need no pricing: devices, mesh, divisibility, pipeline, search restrictions, engine rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from optimizer.domain.engines import Engine
from optimizer.domain.engines.rule import FARTHEST, EngineRule, varied
from optimizer.domain.families import Family
from optimizer.domain.feedforward import DenseFeedForward
from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.serving import chunk_of
from optimizer.figures.topology import replicas_that_fit
from optimizer.verify.violation import Violation


def devices(problem: Problem, layout: Layout) -> Iterator[Violation]:
    """All replicas fit on the devices there are, none straddling a domain it need not straddle."""
    sizes = tuple(tier.size for tier in problem.hardware.tiers)
    fit = replicas_that_fit(sizes, problem.devices, layout.replica_devices)
    if fit < layout.replicas:
        needed = f"{layout.replicas} replica{'s' * (layout.replicas > 1)} of {layout.replica_devices} devices"
        counts = {"replicas": layout.replicas, "replica_devices": layout.replica_devices, "fit": fit}
        yield Violation(
            Family.DEVICES,
            f"{needed} ({layout.devices} in all) do not fit on {problem.devices}: {fit} do",
            counts | {"available": problem.devices},
        )


def mesh(problem: Problem, layout: Layout) -> Iterator[Violation]:
    """tp·cp·dp = etp·ep·edp; without experts there is no expert mesh."""
    product = layout.etp * layout.ep * layout.edp
    if problem.model.moe is None:
        if product != 1:
            yield Violation(
                Family.MESH,
                f"{problem.model.name} has no experts, but etp·ep·edp = {layout.etp}·{layout.ep}·{layout.edp}",
                {"etp": layout.etp, "ep": layout.ep, "edp": layout.edp},
            )
    elif product != layout.stage_devices:
        yield Violation(
            Family.MESH,
            f"tp·cp·dp = {layout.tp}·{layout.cp}·{layout.dp} = {layout.stage_devices} devices a stage, but "
            f"etp·ep·edp = {layout.etp}·{layout.ep}·{layout.edp} = {product}",
            {"attention_devices": layout.stage_devices, "expert_devices": product},
        )


LayoutBreach = Callable[[int], Violation | None]
"""What is wrong with a value of a degree, all others as they are; None where nothing is."""


def _divides(axis: str, noun: str, size: int) -> tuple[str, LayoutBreach]:
    def breach(degree: int) -> Violation | None:
        message = f"{axis}={degree} does not divide {noun} of {size}"
        return Violation(Family.DIVISIBILITY, message, {axis: degree, "size": size}) if size % degree else None

    return axis, breach


def _key_value_heads(name: str, heads: int) -> tuple[str, LayoutBreach]:
    def breach(tp: int) -> Violation | None:
        if heads % tp == 0 or tp % heads == 0:
            return None
        message = f"tp={tp} neither divides the {heads} key/value heads of block {name!r} nor is a multiple of them"
        return Violation(Family.DIVISIBILITY, message, {"tp": tp, "kv_heads": heads})

    return "tp", breach


def _an_expert_each(name: str, experts: int) -> tuple[str, LayoutBreach]:
    def breach(ep: int) -> Violation | None:
        if ep <= experts:
            return None
        message = f"ep={ep} is more than the {experts} experts of block {name!r}: some ranks would hold none"
        return Violation(Family.DIVISIBILITY, message, {"ep": ep, "experts": experts})

    return "ep", breach


def _divisions(problem: Problem, shape: Shape) -> Iterator[tuple[str, LayoutBreach]]:
    for name, block in problem.model.blocks.items():
        if block.attention is not None:
            for heads in block.attention.head_counts:
                yield _divides("tp", f"the attention heads of block {name!r}", heads)
            if block.attention.kv_head_count is not None:
                yield _key_value_heads(name, block.attention.kv_head_count)
        if isinstance(block.ffn, DenseFeedForward):
            yield _divides("tp", f"the dense width of block {name!r}", block.ffn.intermediate)
        elif block.ffn is not None:
            moe = block.ffn
            yield _divides("tp", f"the dense width of block {name!r}", moe.dense_intermediate)
            if not shape.shared_replicated:
                yield _divides("tp", f"the shared-expert width of block {name!r}", moe.shared_intermediate)
            yield _divides("etp", f"the expert width of block {name!r}", moe.intermediate)
            yield _an_expert_each(name, moe.experts + shape.redundant)


def divisibility(problem: Problem, layout: Layout) -> Iterator[Violation]:
    """Heads and dense widths divide by tp, expert widths by etp, and every ep rank holds an expert; in every block."""
    for axis, breach in _divisions(problem, layout.shape):
        violation = breach(getattr(layout, axis))
        if violation is not None:
            yield violation


def placement(problem: Problem, layout: Layout) -> Iterator[Violation]:
    """No device holds an expert of a layer twice; measured loads are placed on equal numbers of slots."""
    if layout.redundant_slots and problem.model.moe is None:
        message = f"{problem.model.name} has no experts, but redundant_slots={layout.redundant_slots}"
        yield Violation(Family.PLACEMENT, message, {"redundant_slots": layout.redundant_slots})
    for moe in problem.model.moe_blocks:
        slots = moe.experts + layout.redundant_slots
        if layout.redundant_slots > 0 and -(-slots // layout.ep) > moe.experts:
            yield Violation(
                Family.PLACEMENT,
                f"{slots} slots over ep={layout.ep} would hold some of the {moe.experts} experts twice on one device",
                {"slots": slots, "ep": layout.ep, "experts": moe.experts},
            )
        if problem.expert_loads and slots % layout.ep:
            yield Violation(
                Family.PLACEMENT,
                f"{slots} slots do not divide over ep={layout.ep}: a placement needs as many on each device",
                {"slots": slots, "ep": layout.ep},
            )


def pipeline(problem: Problem, layout: Layout) -> Iterator[Violation]:
    """Stages are contiguous, not empty, and cover every layer."""
    layers = problem.model.layer_count
    if layout.pp > layers:
        yield Violation(
            Family.PIPELINE, f"pp={layout.pp} is more than the {layers} layers", {"pp": layout.pp, "layers": layers}
        )
    if layout.stages is None:
        return
    if len(layout.stages) != layout.pp:
        yield Violation(
            Family.PIPELINE,
            f"{len(layout.stages)} stages are listed for pp={layout.pp}",
            {"stages": len(layout.stages), "pp": layout.pp},
        )
    expected = 0
    for number, stage in enumerate(layout.stages):
        if stage.first_layer != expected:
            yield Violation(
                Family.PIPELINE,
                f"stage {number} begins at layer {stage.first_layer}, not {expected}",
                {"stage": number, "first_layer": stage.first_layer, "expected": expected},
            )
        expected = stage.first_layer + stage.layers
    if expected != layers:
        yield Violation(
            Family.PIPELINE, f"the stages end after layer {expected} of {layers}", {"end": expected, "layers": layers}
        )


SEARCHED = ("tp", "cp", "dp", "pp", "etp", "ep", "edp", "batch", "prefill_chunk", "devices")
"""What `search` may restrict."""


def search(problem: Problem, layout: Layout) -> Iterator[Violation]:
    """Every restricted axis or option has one of its allowed values; the chunk means nothing without prompts."""
    for axis in SEARCHED:
        allowed = getattr(problem.search, axis)
        value: int = getattr(layout, axis) or chunk_of(problem, layout)
        if allowed is None or value in allowed or (axis == "prefill_chunk" and not problem.workload.prompts):
            continue
        listed = ", ".join(map(str, allowed[:12])) + (", …" if len(allowed) > 12 else "")
        yield Violation(Family.SEARCH, f"{axis}={value} is not among search.{axis}: {listed}", {axis: value})
    overlaps = problem.search.overlap
    if overlaps is not None and layout.overlap not in overlaps:
        message = f"overlap={layout.overlap} is not among search.overlap: {', '.join(overlaps)}"
        yield Violation(Family.SEARCH, message, {})


def chunk(problem: Problem, layout: Layout) -> Iterator[Violation]:
    """A prompt is taken in pieces only where the workload allows it."""
    work, size = problem.workload, layout.prefill_chunk
    if size is not None and work.prompts and not work.splits and size < work.computed_input_tokens:
        prompt = work.computed_input_tokens
        message = f"prefill_chunk={size} cuts a prompt of {prompt:,} tokens, which {work.named} takes whole"
        yield Violation(Family.BATCH, message, {"prefill_chunk": size, "prompt": prompt})


def engine(problem: Problem, layout: Layout, engines: Sequence[Engine] | None = None) -> Iterator[Violation]:
    """Rules of the problem's engine, or of `engines` in its stead, and what divides, each breach told once.

    Where one engine is asked for, its own words say what they cover; where any will do, the plain condition does.
    """
    shape = layout.shape
    bound = (problem.engine,) if engines is None else engines
    divisions = ((axis, breach, breach(getattr(layout, axis))) for axis, breach in _divisions(problem, shape))
    broken = [(axis, breach, violation) for axis, breach, violation in divisions if violation is not None]
    refused: list[EngineRule] = []
    for asked_engine in bound:
        if asked_engine.members and not asked_engine.accepts(problem, shape):
            yield from _union(problem, shape, asked_engine, [(axis, breach) for axis, breach, _ in broken])
            continue
        for rule, message in asked_engine.refusals(problem, shape):
            refused.append(rule)
            yield Violation(Family.ENGINE, message)
    for axis, breach, violation in broken:
        if not any(_cover(rule, problem, shape, axis, breach, by_rule=True) for rule in refused):
            yield violation


def _union(
    problem: Problem, shape: Shape, union: Engine, broken: Sequence[tuple[str, LayoutBreach]]
) -> Iterator[Violation]:
    """What engines say of which any would do, beyond what divides; nothing where one of them says no more."""
    uncovered = [
        [
            message for rule, message in member.refusals(problem, shape)
            if not any(_cover(rule, problem, shape, *division, by_rule=False) for division in broken)
        ]
        for member in union.members
    ]  # fmt: skip
    if all(uncovered):
        yield from (Violation(Family.ENGINE, message) for refusals in uncovered for message in refusals)


def _cover(rule: EngineRule, problem: Problem, shape: Shape, axis: str, breach: LayoutBreach, *, by_rule: bool) -> bool:
    """Whether a rule is broken by all values, up to twice a degree, that break a condition on it; or the reverse."""
    if axis not in rule.reads:
        return False
    for degree in range(1, 1 + min(2 * getattr(shape, axis) + 64, FARTHEST)):
        other = varied(shape, axis, degree)
        if other is not None:
            ruled, divided = rule.breach(problem, other) is not None, breach(degree) is not None
            if (divided and not ruled) if by_rule else (ruled and not divided):
                return False
    return True


def structural_violations(
    problem: Problem, layout: Layout, *, engines: Sequence[Engine] | None = None
) -> tuple[Violation, ...]:
    """Every violated constraint that needs no pricing.

    Parameters
    ----------
    engines
        Engines whose rules bind, in place of the problem's.
    """
    violations = tuple(mesh(problem, layout))
    # Replicas and engines mean nothing where the two meshes contradict each other.
    placed = (
        divisibility(problem, layout) if violations else (*devices(problem, layout), *engine(problem, layout, engines))
    )
    return (
        *violations,
        *placed,
        *placement(problem, layout),
        *pipeline(problem, layout),
        *chunk(problem, layout),
        *search(problem, layout),
    )


_DIVIDING = ("tp", "etp", "ep")
_FARTHEST = 512
"""How far from a degree that does not divide one that does is looked for."""


def why_not(problem: Problem) -> Iterator[str]:
    """Rules of the engine that no layout keeps; of each degree that `search` asks for and no layer allows why.

    With the nearest degrees that divide.
    """

    def broken(axis: str, degree: int) -> list[str]:
        degrees = {"tp": degree} if axis == "tp" else {"dp": degree, "etp": 1, "ep": 1, "edp": 1} | {axis: degree}
        layout = Layout.model_validate({"tp": 1, "batch": 1} | degrees)
        return [violation.message for violation in divisibility(problem, layout)]

    refusals = problem.engine.refusals(problem, Layout.model_validate({"tp": 1, "batch": 1}).shape)
    yield from (reason for rule, reason in refusals if not rule.reads)
    for axis in _DIVIDING:
        wanted = getattr(problem.search, axis) or ()
        if not wanted or not all(broken(axis, degree) for degree in wanted):
            continue
        for degree in wanted:
            ways = (range(degree - 1, max(degree - _FARTHEST, 0), -1), range(degree + 1, degree + _FARTHEST))
            nearest = [next((other for other in way if not broken(axis, other)), None) for way in ways]
            named = " and ".join(str(other) for other in nearest if other is not None)
            yield broken(axis, degree)[0] + (f"; the nearest that divide: {named}" if named else "")
