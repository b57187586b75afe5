"""A verdict for every claim: `verify` over the completions of the facts, and products of what is written beside it.

A claim is wrong only where no reading gives it and every reading is known; an estimate (a time, a rate, a whole memory)
refutes nothing, though a physical bound does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import permutations
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.compare import subsets
from optimizer.audit.facts import Claims, Derivation, Facts, JudgedClaim, matches
from optimizer.audit.identities import BATCH_ONE, Identities, Identity
from optimizer.audit.partial import Partial, device_counts
from optimizer.audit.statements import AXES, EXPERT_COUNTS, Statement
from optimizer.audit.verdict import Verdict, plain, shown
from optimizer.domain.convention import CONVENTIONS
from optimizer.domain.problem import Problem
from optimizer.readers.claims import Claim
from optimizer.verify.claim_table import CLAIMS, ClaimKind, Physics, dimensions, kind_of_claim
from optimizer.verify.physics import physical_limits

_A_LITTLE_OVER: Final = Fraction(1074, 1000)
"""GiB over GB: what a device holds by one unit it may seem not to hold by the other."""
_NAMES: Final = {
    "expert_parameters": "experts_parameters",
    "experts_per_gpu_per_layer": "experts_resident_per_layer",
    "expert_instances": "experts_per_gpu",
    "memory_total": "total_memory",
    "weights_total": "total_weights",
    "expert_weights_total": "total_expert_weights",
    "kv_cache_total": "total_kv_cache",
    "hbm_bandwidth_utilization": "hbm_utilization",
}
"""Names of the audit that are others in the table of `verify`."""
COUNTED: Final = {
    "experts_per_gpu", "experts_per_gpu_per_layer", "expert_instances", "experts_total", "parameters",
    "active_parameters", "expert_parameters", "parameters_per_expert", "expert_weights", "expert_weights_total",
    "attention_weights", "weights", "weights_total",
}  # fmt: skip
"""What the words mean in one way only, so that the reference may call it wrong; all else is an estimate."""
_CUT: Final = {"weights", "expert_weights", "expert_instances", "experts_per_gpu"}
"""Figures of the fullest stage."""
_RATED: Final = {"link_bandwidth", "hbm_bandwidth", "fabric_bandwidth", "flops"}
"""Figures of data sheets: they may count both directions, a whole node or sparse numbers."""
_PARTIAL: Final = re.compile(r"\b(?:per|each|every|one|a single|layers?|blocks?|stages?|rank|gpu|device)\b")
_PER_DEVICE: Final = re.compile(r"(?:per|/|each|every)[\s-]*(?:gpu|device|accelerator|rank)")
_OUTRIGHT: Final = re.compile(
    r"\btotal\b|world[_ ]size|(?:gpu|device)s?[_ ]count|number of (?:gpus|devices)|^\W*(?:gpus|devices)\b"
    r"|calculation|should (?:be|yield)|^devices:|\bsystem\b|\baggregate\b"
)
_SUPPOSED: Final = re.compile(r"\b(?:if|unless|suppos\w*|hypothetical\w*)\b")
_REFUSED: Final = re.compile(
    r"\b(?:if|unless|suppos\w*|hypothetical\w*|would|could|without|avoid\w*|never|cannot|can't|threshold|alert\w*"
    r"|at most)\b"
)
"""Words by which an author says that a figure beyond a bound is not the deployment's."""
_CLOSE: Final = Fraction(3, 2)


class Judge:
    """Judges claims against one set of facts; ``claims`` are all of them, since some derive from others."""

    def __init__(
        self, facts: Facts, claims: Claims, problem: Problem | None, missing: dict[str, None], engines: str
    ) -> None:
        self.facts = facts
        self.claims = claims
        self.missing = missing
        self.partial = Partial(facts, problem)
        self.identities = Identities(facts, claims)
        self.problem = problem
        self.engines = engines
        self._readings: dict[tuple[str, bool], tuple[list[Derivation], bool]] = {}

    def judge(self, claim: Statement) -> JudgedClaim | None:
        """Verdict on ``claim``; None where the figure is a mere given (a device count with no degrees to test it)."""
        judged = self._devices(claim) if claim.name == "devices" else self._figure(claim)
        if judged is None or not judged.verdict.wrong:
            return judged
        supposed = _SUPPOSED if judged.verdict is Verdict.FAILS else _REFUSED
        if supposed.search(claim.near.lower()) is None:
            return judged
        told = f"said as a supposition or a limit; taken for a figure it is {judged.verdict}"
        return replace(judged, verdict=Verdict.UNSUPPORTED, note="; ".join(filter(None, (told, judged.note))))

    def _devices(self, claim: Statement) -> JudgedClaim | None:
        """Device count of the written degrees; one left open multiplies it by a whole number."""
        counts: dict[int, Derivation] = {}
        for degrees in self.facts.combinations(AXES):
            if len(degrees) > 1:
                whole = {axis: int(value) for axis, value in degrees.items()}
                written = " × ".join(f"{axis} {value}" for axis, value in whole.items())
                for count, name in device_counts(whole, self.engines).items():
                    formula = CONVENTIONS[name].devices  # type: ignore[index]
                    counts.setdefault(count, Derivation(name, Fraction(count), formula, written))
        if not counts:
            return None
        readings = list(counts.values())
        right = [reading for reading in readings if matches(claim, reading.value)]
        if right:
            note = f"true as {right[0].reading}" if len(right) < len(readings) else ""
            return _made(claim, Verdict.AMBIGUOUS if note else Verdict.HOLDS, right[0], readings, note)
        nearest = min(readings, key=lambda reading: abs(reading.value - claim.value))
        given = [axis for axis in AXES if self.facts.values(axis)]
        free = [axis for axis in ("dp", "pp") if axis not in given]
        if free:
            self.missing.update(dict.fromkeys(free))
            times = claim.value / nearest.value
            note = f"leaves a factor {plain(times)} for {' and '.join(free)}" if times.denominator == 1 else ""
            return _made(claim, Verdict.UNSUPPORTED, nearest, readings, note, free)
        counted = {item.value for item in self.claims.by_segment[claim.segment] if item.name == "devices"}
        here = len(counted) == 1 and all(
            any(fact.segment == claim.segment for fact in self.facts.statements(axis)) for axis in given
        )
        single = all(self.facts.one(axis) for axis in given)
        if single and (here or _OUTRIGHT.search(f"{claim.near} {claim.text}".lower())):
            return _made(claim, Verdict.FAILS, nearest, readings, self._left_out(claim))
        return _made(claim, Verdict.UNSUPPORTED, nearest, readings, "no reading gives it, but others remain open")

    def _left_out(self, claim: Statement) -> str:
        """Which of the degrees give the stated count when the others are forgotten."""
        known = [(axis, value) for axis in ("tp", "cp", "pp", "ep", "dp") if (value := self.facts.one(axis) or 1) > 1]
        notes = []
        for chosen in subsets([Fraction(value) for _, value in known], claim.value):
            kept = " × ".join(known[index][0] for index in chosen)
            dropped = ", ".join(axis for index, (axis, _) in enumerate(known) if index not in chosen)
            notes.append(f"{plain(claim.value)} = {kept}, without {dropped}")
        return "; ".join(notes)

    def _figure(self, claim: Statement) -> JudgedClaim:
        """A claim of anything else."""
        from_beside = list(self.identities.readings(claim))
        if claim.name.endswith("_headroom"):
            from_beside += self._headroom(claim)
        bounds = [reading for identity, reading, _ in from_beside if identity.bounds]
        written = [one for one in from_beside if not one[0].bounds]
        by_reference, whole = self.known(claim.name)
        readings = [*(reading for _, reading, _ in written), *by_reference]
        right = [reading for reading in readings if matches(claim, reading.value)]
        if right:
            sure = any(made.sure for made, reading, _ in written if reading is right[0])
            defined = bool(by_reference) and by_reference[0] in right and self._defined(claim.name)
            others = all(reading in right for made, reading, _ in written if not made.sure)
            if sure or (defined and others):
                return _made(claim, Verdict.HOLDS, right[0], readings)
            note = f"true as {right[0].reading}"
            if right[0].reading == BATCH_ONE:
                note = f"describes {BATCH_ONE}; batched decode and prefill are not bound by it"
            return _made(claim, Verdict.AMBIGUOUS, right[0], readings, note)
        other = next((reading for reading in readings if matches(claim, reading.value, other=True)), None)
        if other is not None:
            note = f"true with {claim.unit.name} read as {claim.unit.other_name}"
            return _made(claim, Verdict.AMBIGUOUS, other, readings, note)
        if (confused := self._confused(claim, readings)) is not None:
            return confused
        if (passed := self._beyond(claim, bounds)) is not None:
            return passed
        nearest = min(readings, key=lambda reading: abs(reading.value - claim.value), default=None)
        if by_reference and self._defined(claim.name):
            nearest = by_reference[0]
        closing = {reading.value for made, reading, alone in written if made.closes and alone}
        if nearest is not None and len(closing) == 1 and not by_reference and self._closed(claim, closing.copy().pop()):
            return _made(claim, Verdict.FAILS, nearest, readings)
        if nearest is not None and by_reference and whole and self._refutable(claim):
            return self._failed(claim, nearest, readings)
        return self._placed(claim, readings)

    def known(self, name: str, *, points: bool = False) -> tuple[list[Derivation], bool]:
        """Readings of a claim's name in the table of `verify`."""
        if (name, points) not in self._readings:
            kind = CLAIMS.get(_NAMES.get(name, name)) if self.problem is None else self._kind(name)
            shapes = self.problem is not None or name in EXPERT_COUNTS
            if not shapes or kind is None or (self.problem is None and not self.facts.values("experts_per_layer")):
                self._readings[name, points] = [], False
            else:
                figures = {reading.figure: reading.name for reading in kind.readings}
                self._readings[name, points] = self.partial.readings(figures, points=points)
        return self._readings[name, points]

    def _kind(self, name: str) -> ClaimKind | None:
        return None if self.problem is None else kind_of_claim(_NAMES.get(name, name), self.problem)

    def _defined(self, name: str) -> bool:
        kind = CLAIMS.get(_NAMES.get(name, name)) if self.problem is None else self._kind(name)
        return kind is not None and kind.defined

    @staticmethod
    def _closed(claim: Statement, value: Fraction) -> bool:
        """Whether a product that gives another value refutes the claim: said outright, and no more than all of it."""
        if claim.name == "throughput":
            return _OUTRIGHT.search(f"{claim.near} {claim.text}".lower()) is not None
        return claim.name != "memory_utilization" or value <= _A_LITTLE_OVER

    def _headroom(self, claim: Statement) -> list[tuple[Identity, Derivation, bool]]:
        """What a utilisation leaves."""
        used = self.claims.near(claim, claim.name.replace("headroom", "utilization"))
        one = Identity((claim.name,), "what the utilisation leaves", (), sure=True, closes=True)
        alone = len({item.value for item in used}) == 1
        return [
            (one, Derivation(one.reading, 1 - item.value, "1 - utilization", f"1 - {plain(item.value)}"), alone)
            for item in used
            if claim.unit.dimensions == lexicon.NONE
        ]

    def _confused(self, claim: Statement, readings: Sequence[Derivation]) -> JudgedClaim | None:
        """``83M parameters per expert`` where one expert's bytes have those digits."""
        if claim.name != "parameters_per_expert" or not readings:
            return None
        counts = self.facts.values("experts") or [one.value for one in self.known("experts_per_gpu")[0]]
        for item in self.claims.near(claim, "expert_weights"):
            for scale, unit in ((item.unit.scale, item.unit.name), (item.unit.other, item.unit.other_name)):
                for count in counts:
                    digits = item.number.digits if item.number else Fraction(0)
                    if scale is not None and count > 0 and matches(claim, digits * scale / count):
                        note = (f"bytes taken for parameters: {plain(digits)} {unit} / {plain(count)} experts = "
                                f"{plain(digits * scale / count)} bytes per expert")  # fmt: skip
                        return _made(claim, Verdict.FAILS, readings[0], readings, note)
        return None

    def _beyond(self, claim: Statement, bounds: Sequence[Derivation]) -> JudgedClaim | None:
        """A figure beyond what any hardware, or the stated one, can do."""
        kind = CLAIMS.get(_NAMES.get(claim.name, claim.name))
        if kind is not None and kind.physics is Physics.SHARE and claim.value > 1:
            rates = [item for item in self.claims.near(claim, "throughput_per_device") if item.section == claim.section]
            for top, bottom in permutations(rates, 2):
                half = bottom.number.half if bottom.number else Fraction(0)
                if bottom.value > half and top.value <= claim.value * (bottom.value + half) and (
                    claim.value * (bottom.value - half) <= top.value
                ):  # fmt: skip
                    told = "the throughput over the limit beside it: it is no utilisation, since nothing exceeds 100 %"
                    texts = f"{plain(top.value)} / {plain(bottom.value)}"
                    share = Derivation(told, top.value / bottom.value, "throughput / limit", texts)
                    return _made(claim, Verdict.AMBIGUOUS, share, [share], f"follows as {told}")
            return _made(claim, Verdict.IMPOSSIBLE, None, bounds, "nothing is used to more than 100 %")
        slack = Fraction(0) if claim.number is None else claim.number.half
        per_device = _PER_DEVICE.search(f"{claim.near} {claim.text}".lower()) is not None
        for bound in bounds:
            memory = claim.name in {"memory", "weights"}
            single = len({one.value for one in bounds}) == 1
            if memory and not (per_device and claim.value > bound.value * _A_LITTLE_OVER):
                continue
            if single and claim.value - slack > bound.value:
                return _made(claim, Verdict.IMPOSSIBLE, bound, bounds, f"beyond {bound.reading}")
        ways = self.partial.completions if self.problem is not None else []
        asked = _asked(claim, ways[0].problem) if ways else None
        limits = [
            physical_limits(asked, known_kind, way.problem, way.layout)
            for way in ways
            if asked is not None and (known_kind := kind_of_claim(asked.name, way.problem)) is not None
        ]
        if limits and all(limits) and claim.name not in _RATED:
            return _made(claim, Verdict.IMPOSSIBLE, None, bounds, "; ".join(map(str, limits[0])))
        return None

    def _refutable(self, claim: Statement) -> bool:
        """A count or a size that the words can mean in one way only."""
        if claim.name in COUNTED:
            return claim.name != "parameters_per_expert" or self.problem is not None
        words = " ".join((claim.near, *claim.section)).lower()
        return claim.name.endswith("_parameters") and _PARTIAL.search(words) is None

    def _failed(self, claim: Statement, nearest: Derivation, readings: Sequence[Derivation]) -> JudgedClaim:
        """No reading of `verify` gives the claim."""
        times = f"{float(claim.value / nearest.value):.4g} times as much" if nearest.value else ""
        note = f"claimed {shown(claim.value, claim.unit)}, derived {plain(nearest.value)}: {times}"
        stages = any(value > 1 for value in self.facts.values("pp")) and claim.name in _CUT
        if stages and self.problem is not None and Fraction(2, 3) <= claim.value / (nearest.value or 1) <= _CLOSE:
            note = f"depends on the cut into stages, which is not given; {note}"
            return _made(claim, Verdict.UNSUPPORTED, nearest, readings, note)
        near = [one for one in readings if abs(one.value - claim.value) * 32 <= claim.value]
        if near and claim.name in {"weights", "weights_total"} and not _PARTIAL.search(claim.near.lower()):
            note = f"true to the digits of the model's name: {near[0].reading}"
            return _made(claim, Verdict.AMBIGUOUS, near[0], readings, note)
        return _made(claim, Verdict.FAILS, nearest, readings, note)

    def _placed(self, claim: Statement, readings: Sequence[Derivation]) -> JudgedClaim:
        """The phase and batch that give the figure, or the two between which it lies; else what it would take."""
        points, _ = self.known(claim.name, points=True) if self.problem is not None else ([], False)
        known = [*readings, *points]
        right = next((one for one in points if matches(claim, one.value)), None)
        if right is not None:
            return _made(claim, Verdict.AMBIGUOUS, right, known, f"true as {right.reading}")
        below = max((one for one in known if one.value < claim.value), key=lambda one: one.value, default=None)
        above = min((one for one in known if one.value > claim.value), key=lambda one: one.value, default=None)
        if points and below is not None and above is not None:
            note = f"between {_told(claim, below)} and {_told(claim, above)}"
            return _made(claim, Verdict.AMBIGUOUS, below, known, note)
        nearest = below or above
        missing = self.identities.missing(claim)
        self.missing.update(dict.fromkeys(missing))
        note = "" if nearest is None else "no reading at hand gives it, but others remain open"
        if nearest is not None and nearest.reading == BATCH_ONE and below is not None:
            times = plain(claim.value / nearest.value)
            note = f"{times} times {BATCH_ONE}: that bound does not hold for batched decode or prefill"
        return _made(claim, Verdict.UNSUPPORTED, nearest, known, note, missing)


def _made(
    claim: Statement, verdict: Verdict, derived: Derivation | None, readings: Sequence[Derivation], note: str = "",
    missing: Sequence[str] = (),
) -> JudgedClaim:  # fmt: skip
    marked = tuple((reading, matches(claim, reading.value)) for reading in readings)
    return JudgedClaim(claim, verdict, derived, marked, note, tuple(missing))


def _told(claim: Statement, reading: Derivation) -> str:
    rate = claim.unit.dimensions == lexicon.PER_SECOND
    value = f"{plain(reading.value)} tokens/s" if rate else shown(reading.value, claim.unit)
    return f"{reading.reading} ({value})"


def _asked(statement: Statement, problem: Problem) -> Claim | None:
    """The statement as a claim of `verify`."""
    name, written = _NAMES.get(statement.name, statement.name), statement.number
    known = dimensions(problem)
    if name not in known or written is None:
        return None
    exact = not (written.decimal or written.unit.scaled or written.approximate)
    half = Fraction(0) if exact else written.half
    unit = written.unit.name if written.unit.other is not None else ""
    return Claim(name, statement.value, known[name], half, half, written.unit.scale, unit, statement.text)
