"""Verdicts on counts: devices, experts, parameters, and the bytes that follow from them."""

import re
from dataclasses import replace
from fractions import Fraction
from typing import Final

from optimizer.audit import derive_experts as experts
from optimizer.audit import derive_memory as memory
from optimizer.audit.compare import subsets, tolerance
from optimizer.audit.derive_devices import device_readings, folded_is_closed
from optimizer.audit.judge import Judge, JudgedClaim, matches
from optimizer.audit.statements import AXES, Statement
from optimizer.audit.verdict import Verdict, plain, shown

_ROOM: Final = 4
"""Times the stated shapes: room for dense layers and shared experts that go unmentioned (assumed)."""
_OUTRIGHT: Final = re.compile(
    r"\btotal\b|world[_ ]size|(?:gpu|device)s?[_ ]count|number of (?:gpus|devices)|^\W*(?:gpus|devices)\b"
    r"|calculation|should (?:be|yield)|^devices:"
)
_PER_DEVICE: Final = re.compile(r"(?:per|/|each|every)[\s-]*(?:gpu|device|accelerator|rank)")
_CLOSE: Final = 2
_COUNTED: Final = ("experts_per_layer", "layers", "devices")
_SHAPE: Final = ("hidden_size", "expert_hidden_size", "expert_matrices", "bytes_per_parameter")
_SAME_WORDS: Final = {"experts_per_gpu", "experts_per_gpu_per_layer", "expert_instances"}


def devices(judge: Judge, claim: Statement) -> JudgedClaim | None:
    """Device count of the written degrees."""
    readings = device_readings(judge.table)
    if not readings:
        return None
    free = judge.absent("dp", "pp")
    if free and not folded_is_closed(judge.table):
        whole = [reading for reading in readings if (claim.value / reading.value).denominator == 1]
        if not whole or any(matches(claim, reading.value) for reading in readings):
            product = [reading for reading in readings if matches(claim, reading.value)]
            return judge.by_readings(claim, product, closed=False, missing=free)
        left = plain(claim.value / whole[0].value)
        return judge.by_readings(
            claim, whole, closed=False, missing=free, note=f"leaves a factor {left} for {' and '.join(free)}"
        )
    outright = _OUTRIGHT.search(f"{claim.near} {claim.text}".lower()) is not None
    # The one count that the document has, and every reading of its degrees needs more.
    least = min(reading.value for reading in readings)
    short = claim.value < least and judge.single("devices") and _nearest(judge, claim)
    judged = judge.by_readings(claim, readings, closed=(outright or short) and judge.single(*AXES))
    return replace(judged, note=_left_out(judge, claim)) if judged.verdict is Verdict.FAILS else judged


def _nearest(judge: Judge, claim: Statement) -> bool:
    """Whether the count stands with the degrees, or none does and this one is close to them."""
    degrees = {fact.segment for axis in AXES for fact in judge.table.statements(axis)}
    if claim.segment in degrees:
        return True
    beside = (item for segment in degrees for item in judge.claims.by_segment.get(segment, ()))
    return not any(item.name == "devices" for item in beside) and any(
        abs(claim.segment - segment) <= _CLOSE for segment in degrees
    )


def _left_out(judge: Judge, claim: Statement) -> str:
    """Which of the degrees give the stated count when the others are forgotten."""
    known = [
        (axis, value)
        for axis in ("tp", "cp", "pp", "ep", "dp")
        if (value := judge.table.one(axis)) is not None and value > 1
    ]
    notes = []
    for chosen in subsets([value for _, value in known], claim.value):
        kept = " × ".join(known[index][0] for index in chosen)
        dropped = ", ".join(axis for index, (axis, _) in enumerate(known) if index not in chosen)
        notes.append(f"{plain(claim.value)} = {kept}, without {dropped}")
    return "; ".join(notes)


def expert_count(judge: Judge, claim: Statement) -> JudgedClaim:
    """Experts per device, under each of the three counts."""
    per_layer = claim.name == "experts_per_gpu_per_layer"
    chosen = experts.one_layer(judge.table) if per_layer else experts.whole_stage(judge.table)
    missing = judge.absent("experts_per_layer", "layers", "devices", "ep")
    return judge.by_readings(
        claim, chosen, closed=experts.complete(judge.table) and judge.single(*_COUNTED, *AXES), missing=missing
    )


def experts_total(judge: Judge, claim: Statement) -> JudgedClaim | None:
    """Expert instances of the model."""
    readings = experts.experts_total(judge.table)
    if not readings:
        return None
    words = claim.text.lower()
    if "instance" in words or any(matches(claim, r.value) for r in readings if r.reading.startswith("expert inst")):
        readings = [reading for reading in readings if reading.reading.startswith("expert inst")]
    return judge.by_readings(claim, readings, closed=judge.single(*_COUNTED[:2]))


def per_expert(judge: Judge, claim: Statement) -> JudgedClaim:
    """Parameters of one expert; bytes taken for parameters are named."""
    readings = memory.parameters_per_expert(judge.table)
    judged = judge.by_readings(
        claim,
        readings,
        closed=judge.single(*_SHAPE),
        missing=judge.absent("hidden_size", "expert_hidden_size", "expert_matrices"),
    )
    if judged.verdict is not Verdict.FAILS:
        return judged
    for weights in judge.figures("expert_weights"):
        for count in judge.table.values("experts") or [r.value for r in experts.expert_readings(judge.table)]:
            for scale, unit in ((weights.unit.scale, weights.unit.name), (weights.unit.other, weights.unit.other_name)):
                if scale is None or weights.number is None or count <= 0:
                    continue
                value = weights.number.digits * scale / count
                if matches(claim, value):
                    note = (f"bytes taken for parameters: {plain(weights.number.digits)} {unit} / {count} experts = "
                            f"{plain(value)} bytes per expert")  # fmt: skip
                    return JudgedClaim(claim, Verdict.FAILS, judged.derived, judged.readings, note)
    return judged


def expert_parameters(judge: Judge, claim: Statement) -> JudgedClaim:
    """Parameters of all experts."""
    readings = memory.expert_parameters(judge.table)
    one = [reading for reading in memory.parameters_per_expert(judge.table) if matches(claim, reading.value)]
    if one:
        return JudgedClaim(claim, Verdict.AMBIGUOUS, one[0], ((one[0], True),), "true of one expert")
    return judge.by_readings(
        claim,
        readings,
        closed=judge.single(*_SHAPE, *_COUNTED, "experts"),
        missing=judge.absent("hidden_size", "expert_hidden_size", "experts_per_layer", "layers"),
    )


def parameters(judge: Judge, claim: Statement) -> JudgedClaim:
    """All parameters, between what the shapes need and what they leave room for."""
    bounds = memory.parameter_bounds(judge.table)
    if bounds is None:
        return judge.by_readings(
            claim, [], closed=False, missing=judge.absent("layers", "hidden_size", "expert_hidden_size", "vocabulary")
        )
    least, most = bounds
    slack = tolerance(claim.number, claim.number.unit.scale, approximate=True) if claim.number else Fraction(0)
    experts_alone = memory.expert_parameters(judge.table)[0]
    if claim.value + slack < experts_alone.value:
        return JudgedClaim(
            claim, Verdict.FAILS, experts_alone, ((experts_alone, False),), "fewer than the experts alone"
        )
    if claim.value - slack > _ROOM * most.value:
        gap = shown(claim.value - least.value, claim.unit)
        note = (
            f"{gap} more than the stated shapes give, even with embeddings of "
            f"{memory.LARGEST_VOCABULARY:,} rows and {_ROOM} times all of it"
        )
        return JudgedClaim(claim, Verdict.FAILS, most, ((least, False), (most, False)), note)
    if matches(claim, least.value):
        return JudgedClaim(claim, Verdict.HOLDS, least, ((least, True),))
    if claim.value < least.value:
        note = "more than the experts alone, fewer than with full attention (grouped key-value heads would be smaller)"
        return JudgedClaim(claim, Verdict.AMBIGUOUS, experts_alone, ((experts_alone, False), (least, False)), note)
    rows = (claim.value - least.value) / (judge.table.one("hidden_size") or 1)
    note = (
        f"true if embeddings, routers and norms are the remaining {plain(claim.value - least.value)}: "
        f"{round(rows):,} rows of the hidden size"
    )
    return JudgedClaim(
        claim, Verdict.AMBIGUOUS, least, ((least, False), (most, False)), note, judge.absent("vocabulary")
    )


def expert_weights(judge: Judge, claim: Statement) -> JudgedClaim:
    """Bytes of the experts, per device or in all."""
    if claim.name == "expert_weights_total":
        readings = memory.expert_weights_total(judge.table)
    else:
        readings = memory.expert_weights(judge.table)
    missing = judge.absent("hidden_size", "expert_hidden_size", "expert_matrices", "bytes_per_parameter")
    return judge.by_readings(claim, readings, closed=judge.single(*_SHAPE, *_COUNTED, "experts"), missing=missing)
