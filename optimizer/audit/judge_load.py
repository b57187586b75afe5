"""Verdicts on what a deployment holds and delivers: memory, utilisation, throughput, latency."""

import re
from fractions import Fraction
from itertools import islice, product
from typing import Final

from optimizer.audit import derive_memory as memory
from optimizer.audit import derive_throughput as throughput
from optimizer.audit import lexicon
from optimizer.audit.compare import tolerance
from optimizer.audit.derive import MOST_READINGS, Derivation
from optimizer.audit.judge import Judge, JudgedClaim, matches
from optimizer.audit.statements import Role, Statement
from optimizer.audit.verdict import Verdict, plain, shown

_BINARY_TERA: Final = Fraction(2**40, 10**12)
_A_LITTLE_OVER: Final = Fraction(1074, 1000)
"""GiB over GB: what a device holds by one unit it may seem not to hold by the other."""
_PER_DEVICE: Final = re.compile(r"(?:per|/|each|every)[\s-]*(?:gpu|device|accelerator|rank)")


def memory_claim(judge: Judge, claim: Statement) -> JudgedClaim:
    """Memory: of weights alone where it is that, else only bounded."""
    if claim.name in {"memory", "weights"}:
        readings = memory.weights_per_device(judge.table)
        missing = judge.absent("parameters", "devices", "bytes_per_parameter")
    else:
        readings = memory.model_weights(judge.table)
        missing = judge.absent("parameters", "bytes_per_parameter")
    right = [reading for reading in readings if matches(claim, reading.value)]
    if right:
        verdict = Verdict.HOLDS if len(readings) == 1 and claim.name == "weights_total" else Verdict.AMBIGUOUS
        marked = tuple((reading, reading in right) for reading in readings)
        return JudgedClaim(claim, verdict, right[0], marked, f"true of weights alone: {right[0].reading}")
    return _lower_bound(judge, claim, readings, missing)


def _lower_bound(judge: Judge, claim: Statement, readings: list[Derivation], missing: tuple[str, ...]) -> JudgedClaim:
    """Memory cannot be less than the weights it holds; more than that depends on what the document does not say."""
    capacity = judge.table.one("device_memory")
    per_device = claim.name in {"memory", "weights"}
    said = _PER_DEVICE.search(f"{claim.near} {claim.text}".lower())
    if per_device and said and capacity is not None and claim.value > capacity * _A_LITTLE_OVER:
        ceiling = Derivation("memory of one device", capacity, "device_memory", plain(capacity))
        return JudgedClaim(claim, Verdict.IMPOSSIBLE, ceiling, ((ceiling, False),), "more than one device has")
    marked = tuple((reading, False) for reading in readings)
    if not readings:
        return judge.unsupported(claim, missing)
    least = min(readings, key=lambda reading: reading.value)
    closed = len(judge.table.values("parameters")) == 1 and len(judge.table.values("devices")) == 1
    if (
        claim.value * _A_LITTLE_OVER < least.value
        and closed
        and claim.role is not Role.CLAIMED
        and "total" in claim.name
    ):
        return JudgedClaim(claim, Verdict.FAILS, least, marked, "less than the weights alone")
    note = (
        f"weights alone are {shown(least.value, claim.unit)}; the rest (KV cache, activations, reserve) is not stated"
    )
    if "total" in claim.name:
        each = [
            f"{plain(claim.value / value)} bytes per parameter of {plain(value)}"
            for value in judge.table.values("parameters")
        ]
        note = "; ".join([note, *each])
    return JudgedClaim(claim, Verdict.UNSUPPORTED, least, marked, note, missing)


def memory_utilization(judge: Judge, claim: Statement) -> JudgedClaim:
    """Memory over capacity, for each memory that the document gives."""
    figures = judge.figures("memory", "memory_total", "weights", near=claim)
    pairs = product(judge.table.values("device_memory"), figures)
    readings = [_share(judge, used, capacity) for capacity, used in islice(pairs, MOST_READINGS)]
    right = [reading for reading in readings if matches(claim, reading.value)]
    if right:
        return JudgedClaim(claim, Verdict.HOLDS, right[0], ((right[0], True),))
    if claim.value > 1:
        return JudgedClaim(claim, Verdict.IMPOSSIBLE, _whole(), (), "more than all of it")
    same = [reading for reading, used in zip(readings, figures, strict=False) if used.segment == claim.segment]
    if len(judge.table.values("device_memory")) == 1 and len(same) == 1 and same[0].value <= _A_LITTLE_OVER:
        return judge.by_readings(claim, same, closed=True)
    if not readings:
        return judge.unsupported(claim, judge.absent("device_memory"), _implied_capacity(judge, claim))
    return judge.by_readings(claim, readings, closed=False, missing=judge.absent("device_memory"))


def _share(judge: Judge, used: Statement, capacity: Fraction) -> Derivation:
    """Memory over capacity, made once for the claims that share it."""
    key = "share", id(used), capacity
    if key not in judge.table.memo:
        judge.table.memo[key] = Derivation(
            f"{used.text} on line {used.place.line}", used.value / capacity if capacity else Fraction(0),
            "memory / device_memory", f"{plain(used.value)} / {plain(capacity)}",
        )  # fmt: skip
    made: Derivation = judge.table.memo[key]
    return made


def _implied_capacity(judge: Judge, claim: Statement) -> str:
    """The device memory that a utilisation and the memory beside it imply."""
    written = claim.number
    if written is None or claim.value <= 0:
        return ""
    half = tolerance(written, written.unit.scale, approximate=False)
    used = [item for item in judge.figures("memory", "memory_total") if item.role in {claim.role, Role.CALCULATED}]
    notes = [
        f"with {item.text} (line {item.place.line}) it implies a device memory of "
        f"{plain(round(item.value / (claim.value + half) / 10**8) / Fraction(10))} to "
        f"{plain(round(item.value / max(claim.value - half, Fraction(1, 10**6)) / 10**8) / Fraction(10))} GB"
        for item in used[:2]
    ]
    return "; ".join(notes)


def _whole() -> Derivation:
    return Derivation("all of it", Fraction(1), "100 %", "1")


_FORMATS: Final = re.compile(r"fp4|fp6|fp8|int8|int4|tf32|fp32|16(?=\b|[^\d])")
"""Number formats; BF16 and FP16 have one peak."""


def utilization(judge: Judge, claim: Statement) -> JudgedClaim:
    """A share of a peak: nothing passes 100 %."""
    if claim.value <= 1:
        return judge.unsupported(
            claim, judge.absent("peak_flops") if "compute" in claim.name else judge.absent("memory_bandwidth")
        )
    high = [c for c in judge.claims.by_section[claim.section] if c.name in {"throughput_per_device", "throughput"}]
    for top in high:
        for bottom in high:
            if bottom.value and top.value > bottom.value and bottom.number is not None:
                half = tolerance(bottom.number, bottom.unit.scale, approximate=False)
                if (
                    top.value / (bottom.value + half)
                    <= claim.value
                    <= top.value / max(bottom.value - half, Fraction(1, 10**9))
                ):
                    formula = Derivation(
                        "claimed throughput over the limit given beside it", top.value / bottom.value,
                        "throughput / limit", f"{plain(top.value)} / {plain(bottom.value)}",
                    )  # fmt: skip
                    note = (
                        "follows from the two throughputs beside it; it is no utilisation, since nothing exceeds 100 %"
                    )
                    return JudgedClaim(claim, Verdict.AMBIGUOUS, formula, ((formula, True),), note)
    return JudgedClaim(claim, Verdict.IMPOSSIBLE, _whole(), (), "nothing is used to more than 100 %")


def achieved(judge: Judge, claim: Statement) -> JudgedClaim:
    """A rate that a device is said to keep, against the highest that the document gives for its hardware."""
    if claim.name == "achieved_bandwidth":
        name, known = "memory_bandwidth", judge.table.values("memory_bandwidth")
    else:
        name, known = "peak_flops", _peaks(judge, claim)
    if not known:
        return judge.unsupported(claim, (name,))
    most = max(known)
    bound = Derivation(f"the highest {name} written here", most, name, plain(most))
    slack = Fraction(0) if claim.number is None else claim.number.half
    if claim.value - slack <= most:
        return judge.unsupported(claim, ())
    return JudgedClaim(claim, Verdict.IMPOSSIBLE, bound, ((bound, False),), f"beyond {bound.reading}")


def _peaks(judge: Judge, claim: Statement) -> list[Fraction]:
    """Peaks of the number format that the claim names; of every format, where neither names one."""
    named = _formats(claim)
    facts = judge.table.statements("peak_flops")
    if named or any(_formats(fact) for fact in facts):
        facts = [fact for fact in facts if named & _formats(fact)]
    return [fact.value for fact in facts]


def _formats(statement: Statement) -> set[str]:
    return set(_FORMATS.findall(f"{statement.near} {statement.text}".lower()))


def headroom(judge: Judge, claim: Statement) -> JudgedClaim:
    """What a utilisation leaves; bytes are left to the reference."""
    if claim.unit.dimensions != lexicon.NONE:
        return judge.unsupported(claim, ())
    used = judge.figures(claim.name.replace("headroom", "utilization"))
    readings = [
        Derivation(
            f"what {item.text} on line {item.place.line} leaves",
            1 - item.value,
            "1 - utilization",
            f"1 - {plain(item.value)}",
        )
        for item in used
    ]
    right = [reading for reading in readings if matches(claim, reading.value)]
    if right:
        return JudgedClaim(claim, Verdict.HOLDS, right[0], ((right[0], True),))
    return judge.by_readings(claim, readings, closed=len({r.value for r in readings}) == 1)


def throughput_claim(judge: Judge, claim: Statement) -> JudgedClaim:
    """Throughput, bounded by compute in every phase; by bandwidth only at batch 1."""
    if claim.name == "throughput":
        return _throughput_total(judge, claim)
    utilizations = [c.value for c in judge.figures("hbm_bandwidth_utilization") if 0 < c.value <= 1]
    readings = throughput.throughput_readings(judge.table, utilizations)
    bound = throughput.compute_bound(judge.table)
    if bound is not None and claim.value > bound.value:
        return JudgedClaim(claim, Verdict.IMPOSSIBLE, bound, ((bound, False),), f"beyond {bound.reading}")
    right = [
        reading for reading in readings if matches(claim, reading.value) or _binary_bandwidth(judge, claim, reading)
    ]
    if right:
        marked = tuple((reading, reading in right) for reading in readings)
        return JudgedClaim(
            claim,
            Verdict.AMBIGUOUS,
            right[0],
            marked,
            f"describes {right[0].reading}; batched decode and prefill are not bound by it",
        )
    above = [reading for reading in readings if claim.value > reading.value]
    note = ""
    if above:
        note = (
            f"{plain(claim.value / above[0].value)} times {above[0].reading}: that bound does not hold "
            "for batched decode or prefill"
        )
    missing = judge.absent("memory_bandwidth", "peak_flops", "active_parameters")
    if bound is not None:
        note = note or f"within {bound.reading} ({plain(bound.value)} tokens/s)"
    marked = tuple((reading, False) for reading in readings)
    judge.missing.update(dict.fromkeys(missing))
    return JudgedClaim(claim, Verdict.UNSUPPORTED, readings[0] if readings else bound, marked, note, missing)


def _binary_bandwidth(judge: Judge, claim: Statement, reading: Derivation) -> bool:
    """A bandwidth written in TB/s and read as TiB/s."""
    fact = judge.table.first("memory_bandwidth")
    if "memory_bandwidth" in judge.table.settled:
        return matches(claim, reading.value * _BINARY_TERA)
    return (
        fact is not None
        and fact.unit.other is not None
        and matches(claim, reading.value * fact.unit.other / fact.unit.scale)
    )


def _throughput_total(judge: Judge, claim: Statement) -> JudgedClaim:
    nearby = judge.figures("throughput_per_device", near=claim)
    nearby = [item for item in nearby if _phases(item) == _phases(claim)]
    same = [item for item in nearby if item.role is claim.role and item.section == claim.section] or nearby
    readings = [
        Derivation(f"per device (line {item.place.line}) on every device", item.value * devices,
                   "throughput_per_device × devices", f"{plain(item.value)} × {devices}")
        for item, devices in islice(product(same, judge.table.values("devices")), MOST_READINGS)
    ]  # fmt: skip
    right = [reading for reading in readings if matches(claim, reading.value)]
    if right:
        return JudgedClaim(claim, Verdict.HOLDS, right[0], ((right[0], True),))
    if any(item.value == claim.value for item in nearby):
        return JudgedClaim(claim, Verdict.AMBIGUOUS, None, (), "written elsewhere as a figure per device")
    explicit = re.search(r"\b(?:total|system|aggregate)\b", f"{claim.near} {claim.text}".lower()) is not None
    closed = len({reading.value for reading in readings}) == 1 and explicit
    return judge.by_readings(claim, readings, closed=closed)


def _phases(claim: Statement) -> set[str]:
    return set(re.findall(r"prefill|decode|prompt|generation|input|output|peak|average|sustained|batch", claim.near))


def ttft(judge: Judge, claim: Statement) -> JudgedClaim:
    """Prompt tokens over a written throughput."""
    if "ttft" not in judge.table.memo:
        per_device = [item.value for item in judge.figures("throughput_per_device")]
        total = [item.value for item in judge.figures("throughput")]
        judge.table.memo["ttft"] = throughput.ttft_readings(judge.table, per_device, total)
    readings: list[Derivation] = judge.table.memo["ttft"]
    return judge.by_readings(claim, readings, closed=False, missing=judge.absent("input_tokens", "batch", "peak_flops"))
