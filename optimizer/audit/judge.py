"""A verdict for every claim, from the document's own facts by counting."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Final

from optimizer.audit import derive_experts as experts
from optimizer.audit import derive_memory as memory
from optimizer.audit import derive_throughput as throughput
from optimizer.audit import lexicon
from optimizer.audit.compare import subsets, tolerance
from optimizer.audit.derive import Derivation, FactTable
from optimizer.audit.derive_devices import device_readings, folded_is_closed
from optimizer.audit.statements import Role, Statement
from optimizer.audit.verdict import Verdict, number, plain, shown

_MOST_FIGURES: Final = 24
_ROOM: Final = 4
"""Times the stated shapes and the largest embeddings: left for dense layers and shared experts that go unmentioned (assumed)."""
_OUTRIGHT: Final = re.compile(
    r"\btotal\b|world[_ ]size|(?:gpu|device)s?[_ ]count|number of (?:gpus|devices)|^\W*(?:gpus|devices)\b|calculation|should (?:be|yield)|^devices:"
)
_PER_DEVICE: Final = re.compile(r"(?:per|/|each|every)[\s-]*(?:gpu|device|accelerator|rank)")
_SAME_WORDS: Final = {"experts_per_gpu", "experts_per_gpu_per_layer", "expert_instances"}


@dataclass(frozen=True, slots=True)
class JudgedClaim:
    """A claim, its verdict and where it comes from; ``readings`` pairs each derivation with whether it matches."""

    statement: Statement
    verdict: Verdict
    derived: Derivation | None
    readings: tuple[tuple[Derivation, bool], ...]
    note: str = ""
    missing: tuple[str, ...] = ()

    @property
    def ratio(self) -> Fraction | None:
        """Claimed over derived."""
        if self.derived is None or not self.derived.value:
            return None
        return self.statement.value / self.derived.value

    def to_json(self) -> dict[str, Any]:
        """Entry of ``claims`` in ``shardproof/audit/1``."""
        derived, ratio = self.derived, self.ratio
        return {
            "name": self.statement.name,
            "claimed": number(self.statement.value),
            "derived": None if derived is None else number(derived.value),
            "unit": base_unit(self.statement),
            "verdict": str(self.verdict),
            "ratio": None if ratio is None else number(ratio),
            "formula": None if derived is None else derived.formula,
            "substituted": None if derived is None else f"{derived.substituted} = {plain(derived.value)}",
            "readings": [
                {
                    "name": reading.reading,
                    "derived": number(reading.value),
                    "holds": holds,
                    "formula": reading.formula,
                    "substituted": f"{reading.substituted} = {plain(reading.value)}",
                    "assumed": list(reading.assumes),
                }
                for reading, holds in self.readings
            ],
            "line": self.statement.place.line,
            "column": self.statement.place.column,
            "text": self.statement.text,
            "role": str(self.statement.role),
            "explanation": self.note,
        }


def base_unit(statement: Statement) -> str:
    """Name of the base unit the value counts in."""
    names = {
        lexicon.BYTES: "bytes", lexicon.SECONDS: "s", lexicon.PER_SECOND: "tokens/s", lexicon.FLOPS: "FLOP/s",
        lexicon.BANDWIDTH: "bytes/s",
    }  # fmt: skip
    return names.get(statement.unit.dimensions, "ratio" if statement.unit is lexicon.PERCENT else "")


class Claims:
    """All claims of a document, by name and by section, each distinct figure once."""

    def __init__(self, claims: Iterable[Statement]) -> None:
        self.by_name: dict[str, list[Statement]] = {}
        self.by_section: dict[tuple[str, ...], list[Statement]] = {}
        self.by_segment: dict[int, list[Statement]] = {}
        seen: set[tuple[str, Fraction, Role]] = set()
        for claim in claims:
            if len(inside := self.by_section.setdefault(claim.section, [])) < _MOST_FIGURES:
                inside.append(claim)
            if len(beside := self.by_segment.setdefault(claim.segment, [])) < _MOST_FIGURES:
                beside.append(claim)
            named = self.by_name.setdefault(claim.name, [])
            if (claim.name, claim.value, claim.role) not in seen and len(named) < _MOST_FIGURES:
                seen.add((claim.name, claim.value, claim.role))
                named.append(claim)


@dataclass(slots=True)
class Judge:
    """Judges claims against one table of facts; ``claims`` are all of them, since some derive from others."""

    table: FactTable
    claims: Claims
    missing: dict[str, None] = field(default_factory=dict)
    _known: dict[tuple[object, ...], tuple[list[Derivation], JudgedClaim]] = field(default_factory=dict)

    def judge(self, claim: Statement) -> JudgedClaim | None:
        """Verdict on ``claim``; None where the figure is a mere given (a device count with no degrees to test it)."""
        rule = _RULES.get(claim.name)
        if rule is None:
            return self.unsupported(claim, ())
        return rule(self, claim)

    def by_readings(
        self,
        claim: Statement,
        readings: list[Derivation],
        *,
        closed: bool,
        missing: tuple[str, ...] = (),
        note: str = "",
    ) -> JudgedClaim:
        """``holds`` if every reading gives the claim, ``ambiguous`` if some do, ``fails`` if none and none is left out."""
        written = claim.number
        if not readings or written is None:
            return self.unsupported(claim, missing, note)
        key = (id(readings), written.digits, written.half_digit, written.unit, written.approximate, written.decimal)
        if key not in self._known:
            # The list is kept beside its verdict, so that its id is not given to another.
            self._known[key] = readings, self._by_readings(claim, readings, closed, missing, note)
        return replace(self._known[key][1], statement=claim)

    def _by_readings(
        self, claim: Statement, readings: list[Derivation], closed: bool, missing: tuple[str, ...], note: str
    ) -> JudgedClaim:
        marked = tuple((reading, matches(claim, reading.value)) for reading in readings)
        right = sorted((reading for reading, holds in marked if holds), key=lambda reading: len(reading.assumes))
        if len(right) == len(marked):
            return JudgedClaim(claim, Verdict.HOLDS, right[0], marked, note)
        if right:
            return JudgedClaim(claim, Verdict.AMBIGUOUS, right[0], marked, note or f"true as {right[0].reading}")
        other = self._other_unit(claim, readings)
        if other is not None:
            return JudgedClaim(
                claim, Verdict.AMBIGUOUS, other, marked, f"true with {claim.unit.name} read as {claim.unit.other_name}"
            )
        if not closed:
            return JudgedClaim(
                claim,
                Verdict.UNSUPPORTED,
                readings[0],
                marked,
                note or "no reading at hand gives it, but others remain open",
                missing,
            )
        nearest = min(readings, key=lambda reading: abs(reading.value - claim.value))
        return JudgedClaim(claim, Verdict.FAILS, nearest, marked, note)

    def _other_unit(self, claim: Statement, readings: list[Derivation]) -> Derivation | None:
        written = claim.number
        if written is None or written.unit.other is None:
            return None
        value = written.digits * written.unit.other
        half = tolerance(written, written.unit.other, approximate=written.approximate)
        return next((reading for reading in readings if abs(reading.value - value) <= half), None)

    def unsupported(self, claim: Statement, missing: tuple[str, ...], note: str = "") -> JudgedClaim:
        """No verdict, with the names of what it would take."""
        self.missing.update(dict.fromkeys(missing))
        return JudgedClaim(claim, Verdict.UNSUPPORTED, None, (), note, missing)

    def absent(self, *names: str) -> tuple[str, ...]:
        """Those of ``names`` that the document does not give."""
        return tuple(name for name in names if not self.table.values(name))

    def figures(self, *names: str, near: Statement | None = None) -> list[Statement]:
        """Distinct claims of these names, those beside ``near`` first."""
        beside = (
            []
            if near is None
            else [
                claim
                for claim in (*self.claims.by_segment[near.segment], *self.claims.by_section[near.section])
                if claim.name in names
            ]
        )
        everywhere = [claim for name in names for claim in self.claims.by_name.get(name, [])]
        return list(dict.fromkeys((*beside, *everywhere)))


def matches(claim: Statement, value: Fraction) -> bool:
    """Whether ``value`` is what was written: exactly for a bare whole number, else to its last digit."""
    written = claim.number
    if written is None:
        return claim.value == value
    exact = not (written.decimal or written.unit.scaled or written.approximate)
    if exact:
        return value == claim.value
    return abs(value - claim.value) <= tolerance(written, written.unit.scale, approximate=written.approximate)


def _devices(judge: Judge, claim: Statement) -> JudgedClaim | None:
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
    judged = judge.by_readings(
        claim, readings, closed=_OUTRIGHT.search(f"{claim.near} {claim.text}".lower()) is not None
    )
    return replace(judged, note=_left_out(judge, claim)) if judged.verdict is Verdict.FAILS else judged


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


def _expert_count(judge: Judge, claim: Statement) -> JudgedClaim:
    per_layer = claim.name == "experts_per_gpu_per_layer"
    chosen = experts.one_layer(judge.table) if per_layer else experts.whole_stage(judge.table)
    missing = judge.absent("experts_per_layer", "layers", "devices", "ep")
    return judge.by_readings(claim, chosen, closed=experts.complete(judge.table), missing=missing)


def _experts_total(judge: Judge, claim: Statement) -> JudgedClaim | None:
    readings = experts.experts_total(judge.table)
    if not readings:
        return None
    words = claim.text.lower()
    if "instance" in words or any(matches(claim, r.value) for r in readings if r.reading.startswith("expert inst")):
        readings = [reading for reading in readings if reading.reading.startswith("expert inst")]
    return judge.by_readings(claim, readings, closed=True)


def _per_expert(judge: Judge, claim: Statement) -> JudgedClaim:
    readings = memory.parameters_per_expert(judge.table)
    judged = judge.by_readings(
        claim, readings, closed=True, missing=judge.absent("hidden_size", "expert_hidden_size", "expert_matrices")
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


def _expert_parameters(judge: Judge, claim: Statement) -> JudgedClaim:
    readings = memory.expert_parameters(judge.table)
    one = [reading for reading in memory.parameters_per_expert(judge.table) if matches(claim, reading.value)]
    if one:
        return JudgedClaim(claim, Verdict.AMBIGUOUS, one[0], ((one[0], True),), "true of one expert")
    return judge.by_readings(
        claim,
        readings,
        closed=True,
        missing=judge.absent("hidden_size", "expert_hidden_size", "experts_per_layer", "layers"),
    )


def _parameters(judge: Judge, claim: Statement) -> JudgedClaim:
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
        note = f"{gap} more than the stated shapes give, even with embeddings of {memory.LARGEST_VOCABULARY:,} rows and {_ROOM} times all of it"
        return JudgedClaim(claim, Verdict.FAILS, most, ((least, False), (most, False)), note)
    if matches(claim, least.value):
        return JudgedClaim(claim, Verdict.HOLDS, least, ((least, True),))
    if claim.value < least.value:
        note = "more than the experts alone, fewer than with full attention (grouped key-value heads would be smaller)"
        return JudgedClaim(claim, Verdict.AMBIGUOUS, experts_alone, ((experts_alone, False), (least, False)), note)
    rows = (claim.value - least.value) / (judge.table.one("hidden_size") or 1)
    note = f"true if embeddings, routers and norms are the remaining {plain(claim.value - least.value)}: {round(rows):,} rows of the hidden size"
    return JudgedClaim(
        claim, Verdict.AMBIGUOUS, least, ((least, False), (most, False)), note, judge.absent("vocabulary")
    )


def _expert_weights(judge: Judge, claim: Statement) -> JudgedClaim:
    if claim.name == "expert_weights_total":
        readings = memory.expert_weights_total(judge.table)
    else:
        readings = memory.expert_weights(judge.table)
    missing = judge.absent("hidden_size", "expert_hidden_size", "expert_matrices", "bytes_per_parameter")
    return judge.by_readings(claim, readings, closed=True, missing=missing)


def _memory(judge: Judge, claim: Statement) -> JudgedClaim:
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
    if per_device and said and capacity is not None and claim.value > capacity * Fraction(1074, 1000):
        ceiling = Derivation("memory of one device", capacity, "device_memory", plain(capacity))
        return JudgedClaim(claim, Verdict.IMPOSSIBLE, ceiling, ((ceiling, False),), "more than one device has")
    marked = tuple((reading, False) for reading in readings)
    if not readings:
        return judge.unsupported(claim, missing)
    least = min(readings, key=lambda reading: reading.value)
    closed = len(judge.table.values("parameters")) == 1 and len(judge.table.values("devices")) == 1
    if (
        claim.value * Fraction(1074, 1000) < least.value
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


def _memory_utilization(judge: Judge, claim: Statement) -> JudgedClaim:
    readings = []
    for capacity in judge.table.values("device_memory"):
        for used in judge.figures("memory", "memory_total", "weights", near=claim):
            formula = "memory / device_memory"
            value = used.value / capacity if capacity else Fraction(0)
            readings.append(
                Derivation(
                    f"{used.text} on line {used.place.line}", value, formula, f"{plain(used.value)} / {plain(capacity)}"
                )
            )
    right = [reading for reading in readings if matches(claim, reading.value)]
    if right:
        return JudgedClaim(claim, Verdict.HOLDS, right[0], ((right[0], True),))
    if claim.value > 1:
        return JudgedClaim(claim, Verdict.IMPOSSIBLE, _whole(), (), "more than all of it")
    same = [
        reading
        for reading, used in zip(readings, judge.figures("memory", "memory_total", "weights", near=claim), strict=False)
        if used.segment == claim.segment
    ]
    if same and len(judge.table.values("device_memory")) == 1 and len(same) == 1:
        return judge.by_readings(claim, same, closed=True)
    if not readings:
        return judge.unsupported(claim, judge.absent("device_memory"), _implied_capacity(judge, claim))
    distinct = {reading.value for reading in readings}
    return judge.by_readings(
        claim, readings, closed=len(distinct) == 1 and claim.role is Role.STATED, missing=judge.absent("device_memory")
    )


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


def _utilization(judge: Judge, claim: Statement) -> JudgedClaim:
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


def _headroom(judge: Judge, claim: Statement) -> JudgedClaim:
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


def _throughput(judge: Judge, claim: Statement) -> JudgedClaim:
    if claim.name == "throughput":
        return _throughput_total(judge, claim)
    utilizations = [c.value for c in judge.figures("hbm_bandwidth_utilization") if c.value <= 1]
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
        note = f"{plain(claim.value / above[0].value)} times {above[0].reading}: that bound does not hold for batched decode or prefill"
    missing = judge.absent("memory_bandwidth", "peak_flops", "active_parameters")
    if bound is not None:
        note = note or f"within {bound.reading} ({plain(bound.value)} tokens/s)"
    marked = tuple((reading, False) for reading in readings)
    judge.missing.update(dict.fromkeys(missing))
    return JudgedClaim(claim, Verdict.UNSUPPORTED, readings[0] if readings else bound, marked, note, missing)


def _binary_bandwidth(judge: Judge, claim: Statement, reading: Derivation) -> bool:
    """A bandwidth written in TB/s and read as TiB/s."""
    fact = judge.table.first("memory_bandwidth")
    return (
        fact is not None
        and fact.unit.other is not None
        and matches(claim, reading.value * fact.unit.other / fact.unit.scale)
    )


def _throughput_total(judge: Judge, claim: Statement) -> JudgedClaim:
    readings = []
    nearby = judge.figures("throughput_per_device", near=claim)
    same = [item for item in nearby if item.role is claim.role and item.section == claim.section] or nearby
    for item in same:
        for devices in judge.table.values("devices"):
            readings.append(
                Derivation(f"per device (line {item.place.line}) on every device", item.value * devices,
                           "throughput_per_device × devices", f"{plain(item.value)} × {devices}")
            )  # fmt: skip
    right = [reading for reading in readings if matches(claim, reading.value)]
    if right:
        return JudgedClaim(claim, Verdict.HOLDS, right[0], ((right[0], True),))
    if any(item.value == claim.value for item in nearby):
        return JudgedClaim(claim, Verdict.AMBIGUOUS, None, (), "written elsewhere as a figure per device")
    explicit = re.search(r"\b(?:total|system|aggregate)\b", f"{claim.near} {claim.text}".lower()) is not None
    closed = len({reading.value for reading in readings}) == 1 and explicit
    return judge.by_readings(claim, readings, closed=closed)


def _ttft(judge: Judge, claim: Statement) -> JudgedClaim:
    per_device = [item.value for item in judge.figures("throughput_per_device")]
    total = [item.value for item in judge.figures("throughput")]
    readings = throughput.ttft_readings(judge.table, per_device, total)
    return judge.by_readings(claim, readings, closed=False, missing=judge.absent("input_tokens", "batch", "peak_flops"))


_Rule = Callable[[Judge, Statement], JudgedClaim | None]
_RULES: Final[dict[str, _Rule]] = {
    "devices": _devices,
    **dict.fromkeys(_SAME_WORDS, _expert_count),
    "experts_total": _experts_total,
    "parameters_per_expert": _per_expert,
    "expert_parameters": _expert_parameters,
    "parameters": _parameters,
    "expert_weights": _expert_weights,
    "expert_weights_total": _expert_weights,
    "memory": _memory,
    "memory_total": _memory,
    "weights": _memory,
    "weights_total": _memory,
    "memory_utilization": _memory_utilization,
    "compute_utilization": _utilization,
    "hbm_bandwidth_utilization": _utilization,
    "model_flops_utilization": _utilization,
    "memory_headroom": _headroom,
    "compute_headroom": _headroom,
    "throughput_per_device": _throughput,
    "throughput": _throughput,
    "ttft": _ttft,
}
