"""A verdict for every claim: `verify` on a problem at hand, and what follows from the figures written beside it.

A claim is wrong only where no reading gives it and every reading is known; an estimate (a time, a rate, a whole memory)
refutes nothing, though a physical bound does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import islice, permutations, product
from math import ceil
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.compare import subsets
from optimizer.audit.facts import (
    AXES,
    EXPERT_COUNTS,
    MOST_READINGS,
    Claims,
    Derivation,
    Facts,
    JudgedClaim,
    Statement,
    matches,
)
from optimizer.audit.known_figures import Completion, completions, device_counts, readings
from optimizer.audit.verdict import Verdict, plain, shown
from optimizer.domain.convention import CONVENTIONS
from optimizer.domain.problem import Problem
from optimizer.readers.claims import Claim
from optimizer.verify.claim_table import CLAIMS, ClaimKind, Physics, dimensions, kind_of_claim
from optimizer.verify.physics import physical_limits

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
_CUT: Final = {"weights", "expert_weights", "expert_instances", "experts_per_gpu"}
"""Figures of the fullest stage."""
_CLOSE: Final = Fraction(3, 2)
_PARTIAL: Final = re.compile(r"\b(?:per|each|every|one|a single|layers?|blocks?|stages?|rank|gpu|device)\b")
_COUNTED: Final = EXPERT_COUNTS | {
    "experts_total", "parameters", "active_parameters", "expert_parameters", "parameters_per_expert",
    "expert_weights", "expert_weights_total", "attention_weights", "weights", "weights_total",
}  # fmt: skip
"""What the words mean in one way only, so that the reference may call it wrong; all else is an estimate."""
_RATED: Final = {"link_bandwidth", "hbm_bandwidth", "fabric_bandwidth", "flops"}
"""Figures of data sheets: they may count both directions, a whole node or sparse numbers."""
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
_A_LITTLE_OVER: Final = Fraction(1074, 1000)
"""GiB over GB: what a device holds by one unit it may seem not to hold by the other."""
_MOST_STAGES: Final = 1 << 16
_BATCH_ONE: Final = "decode at batch 1, one device reading every weight of the model for each token"
_FORMATS: Final = re.compile(r"fp64|fp32|tf32|bf16|fp16|fp8|int8|fp4|nvfp4|mxfp4")
_SURE: Final = "of the device"
"""A reading that makes a figure hold, whether or not it refutes one."""
_SHAPE: Final = ("expert_matrices", "hidden_size", "expert_hidden_size")
_HELD: Final = ("experts_resident_per_layer", "expert_instances", "expert_equivalents")
_TERA: Final = ((Fraction(1), ""), (Fraction(2**40, 10**12), " (TB/s read as TiB/s)"))
_PHASES: Final = re.compile(r"prefill|decode|prompt|generation|input|output|peak|average|sustained|batch")


@dataclass(frozen=True, slots=True)
class _Product:
    """A figure as the product of some facts, or claims, over others, in a reading of its own.

    ``closes``: it is what the figure means, so that it holds and what differs fails. ``bounds``: it cannot be more.
    """

    names: tuple[str, ...]
    reading: str
    times: tuple[str, ...]
    over: tuple[str, ...] = ()
    closes: bool = False
    bounds: bool = False


_PRODUCTS: Final = (
    _Product(("memory_utilization",), _SURE, ("memory",), ("device_memory",), closes=True),
    _Product(("memory_utilization",), _SURE, ("weights",), ("device_memory",)),
    _Product(("throughput",), "per device, on every device", ("throughput_per_device", "devices"), closes=True),
    _Product(("experts_total",), "expert instances of the model", ("experts_per_layer", "layers"), closes=True),
    _Product(("experts_per_gpu_per_layer",), "whole-expert equivalents of one layer", ("experts_per_layer",),
          ("devices",)),
    _Product(("memory", "weights"), "nothing replicated: attention and embeddings too are split over all devices",
          ("parameters", "bytes_per_parameter"), ("devices",)),
    _Product(("memory_total", "weights_total"), "all weights once", ("parameters", "bytes_per_parameter")),
    _Product(("parameters_per_expert",), "one expert", _SHAPE, closes=True),
    _Product(("expert_parameters",), "one expert", _SHAPE),
    _Product(("expert_parameters",), "all experts", ("experts_per_layer", "layers", *_SHAPE), closes=True),
    _Product(("expert_weights",), "experts of a device", ("experts", *_SHAPE, "bytes_per_parameter"), closes=True),
    _Product(("throughput_per_device",), _BATCH_ONE, ("memory_bandwidth", "hbm_bandwidth_utilization"),
          ("parameters", "bytes_per_parameter")),
    _Product(("throughput_per_device",), _BATCH_ONE, ("memory_bandwidth",), ("parameters", "bytes_per_parameter")),
    _Product(("throughput_per_device",), "any phase and batch: 2 FLOP per active parameter and token", ("peak_flops",),
          ("two", "active_parameters"), bounds=True),
    _Product(("ttft",), "one prompt through every stage in turn", ("input_tokens", "pp"), ("throughput_per_device",)),
    _Product(("achieved_bandwidth",), "the highest memory bandwidth written here", ("memory_bandwidth",), bounds=True),
    _Product(("achieved_flops",), "the highest peak written here", ("peak_flops",), bounds=True),
    _Product(("memory", "weights"), "the memory of one device", ("device_memory",), bounds=True),
)  # fmt: skip
"""Arithmetic that authors leave unwritten."""


class Judge:
    """Judges claims against one set of facts; ``claims`` are all of them, since some derive from others."""

    def __init__(
        self, facts: Facts, claims: Claims, problem: Problem | None, missing: dict[str, None], engines: str
    ) -> None:
        self.facts, self.claims, self.problem, self.missing, self.engines = facts, claims, problem, missing, engines
        dense = not any(facts.values(name) for name in ("experts_per_layer", "ep", "experts", "experts_total"))
        self.same = {"active_parameters": "parameters"} if dense and not facts.values("active_parameters") else {}

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

    # --- devices

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
        known = list(counts.values())
        right = [reading for reading in known if matches(claim, reading.value)]
        if right:
            note = f"true as {right[0].reading}" if len(right) < len(known) else ""
            return _made(claim, Verdict.AMBIGUOUS if note else Verdict.HOLDS, right[0], known, note)
        nearest = min(known, key=lambda reading: abs(reading.value - claim.value))
        given = [axis for axis in AXES if self.facts.values(axis)]
        free = [axis for axis in ("dp", "pp") if axis not in given]
        if free:
            self.missing.update(dict.fromkeys(free))
            times = claim.value / nearest.value
            note = f"leaves a factor {plain(times)} for {' and '.join(free)}" if times.denominator == 1 else ""
            return _made(claim, Verdict.UNSUPPORTED, nearest, known, note, free)
        here = len({item.value for item in self.claims.by_segment[claim.segment] if item.name == "devices"}) == 1
        here &= all(any(one.segment == claim.segment for one in self.facts.statements(axis)) for axis in given)
        if all(map(self.facts.one, given)) and (here or _said_outright(claim)):
            return _made(claim, Verdict.FAILS, nearest, known, self._left_out(claim))
        return _made(claim, Verdict.UNSUPPORTED, nearest, known, "no reading gives it, but others remain open")

    def _left_out(self, claim: Statement) -> str:
        """Which of the degrees give the stated count when the others are forgotten."""
        known = [(axis, value) for axis in ("tp", "cp", "pp", "ep", "dp") if (value := self.facts.one(axis) or 1) > 1]
        notes = []
        for chosen in subsets([Fraction(value) for _, value in known], claim.value):
            kept = " × ".join(known[index][0] for index in chosen)
            dropped = ", ".join(axis for index, (axis, _) in enumerate(known) if index not in chosen)
            notes.append(f"{plain(claim.value)} = {kept}, without {dropped}")
        return "; ".join(notes)

    # --- everything else

    def _figure(self, claim: Statement) -> JudgedClaim:
        beside = list(self._beside(claim))
        bounds = [reading for rule, reading, _ in beside if rule.bounds]
        written = [one for one in beside if not one[0].bounds]
        kind, by_reference = self._known(claim.name)
        known = [*(reading for _, reading, _ in written), *by_reference]
        if (right := next((one for one in known if matches(claim, one.value)), None)) is not None:
            return self._right(claim, right, known, written, defined=kind is not None and kind.defined)
        other = next((reading for reading in known if matches(claim, reading.value, other=True)), None)
        if other is not None:
            note = f"true with {claim.unit.name} read as {claim.unit.other_name}"
            return _made(claim, Verdict.AMBIGUOUS, other, known, note)
        found = self._confused(claim, known) or self._share(claim) or self._beyond(claim, bounds)
        if found is not None:
            return found
        nearest = min(known, key=lambda reading: abs(reading.value - claim.value), default=None)
        if by_reference and kind is not None and kind.defined:
            nearest = by_reference[0]
        closing = {reading.value for rule, reading, alone in written if rule.closes and alone}
        if nearest is not None and not by_reference and len(closing) == 1 and _closed(claim, *closing):
            return _made(claim, Verdict.FAILS, nearest, known)
        if nearest is not None and by_reference and self._refutable(claim, kind):
            times = f"{float(claim.value / nearest.value):.4g} times as much" if nearest.value else ""
            note = f"claimed {shown(claim.value, claim.unit)}, derived {plain(nearest.value)}: {times}"
            stages = claim.name in _CUT and any(value > 1 for value in self.facts.values("pp"))
            if self.problem is not None and stages and 1 / _CLOSE <= claim.value / (nearest.value or 1) <= _CLOSE:
                note = f"depends on the cut into stages, which is not given; {note}"
                return _made(claim, Verdict.UNSUPPORTED, nearest, known, note)
            return _made(claim, Verdict.FAILS, nearest, known, note)
        return self._placed(claim, known)

    def _refutable(self, claim: Statement, kind: ClaimKind | None) -> bool:
        """A count or a size that the words can mean in one way only, of which every reading is known."""
        if self.problem is None:
            return kind is not None and all(reading.figure in self._held for reading in kind.readings)
        return claim.name in _COUNTED or (
            claim.name.endswith("_parameters")
            and _PARTIAL.search(" ".join((claim.near, *claim.section)).lower()) is None
        )

    @staticmethod
    def _right(
        claim: Statement, right: Derivation, known: Sequence[Derivation],
        written: Sequence[tuple[_Product, Derivation, bool]], *, defined: bool,
    ) -> JudgedClaim:  # fmt: skip
        """What some reading gives: it holds where that is the word's own, and no other reading differs."""
        sure = any(rule.closes or rule.reading == _SURE for rule, reading, _ in written if reading is right)
        first = next((one for one in known if all(one is not reading for _, reading, _ in written)), None)
        agree = all(matches(claim, reading.value) for rule, reading, _ in written if not rule.closes)
        if sure or (defined and first is not None and matches(claim, first.value) and agree):
            return _made(claim, Verdict.HOLDS, right, known)
        note = f"true as {right.reading}"
        if right.reading == _BATCH_ONE:
            note = f"describes {_BATCH_ONE}; batched decode and prefill are not bound by it"
        return _made(claim, Verdict.AMBIGUOUS, right, known, note)

    def _known(self, name: str) -> tuple[ClaimKind | None, list[Derivation]]:
        """What a claim is called in the table of `verify`, and its readings there."""
        asked = _NAMES.get(name, name)
        kind = CLAIMS.get(asked) if self.problem is None else kind_of_claim(asked, self.problem)
        if kind is None:
            return None, []
        if self.problem is not None:
            return kind, readings(kind, self._ways)
        held = self._held if name in EXPERT_COUNTS else {}
        return kind, [replace(one, reading=reading.name) for reading in kind.readings
                      for one in held.get(reading.figure, ())]  # fmt: skip

    @cached_property
    def _ways(self) -> list[Completion]:
        return [] if self.problem is None else completions(self.problem, self.facts, points=False)

    @cached_property
    def _points(self) -> list[Completion]:
        return [] if self.problem is None else completions(self.problem, self.facts, points=True)

    @cached_property
    def _held(self) -> dict[str, list[Derivation]]:
        """Experts of the fullest device, each count of them that follows from what is written."""
        one, facts = self.facts.one, self.facts
        experts, ranks, devices, stages = map(one, ("experts_per_layer", "ep", "devices", "pp"))
        if experts is None or ranks is None or experts < ranks or any(len(facts.values(axis)) > 1 for axis in AXES):
            return {}
        layers = None if facts.values("mixed_layers") else one("layers")
        each, told = Fraction(ceil(experts / ranks)), f"⌈{plain(experts)} / {plain(ranks)}⌉"
        held = {_HELD[0]: [Derivation("", each, "⌈experts / ep⌉", told)]}
        if layers is not None:
            counts = [devices] if devices else self._devices_given()
            cuts = [stages] if stages else [*_cuts(layers, devices or Fraction(0))]
            held[_HELD[1]] = [Derivation("", each * ceil(layers / cut), "⌈experts / ep⌉ · ⌈layers / pp⌉",
                                         f"{told} · ⌈{plain(layers)} / {plain(cut)}⌉") for cut in cuts]  # fmt: skip
            every = f"{plain(experts)} · {plain(layers)}"
            held[_HELD[2]] = [Derivation("", experts * layers / count, "experts · layers / devices",
                                         f"{every} / {plain(count)}") for count in counts]  # fmt: skip
        return {figure: derived for figure, derived in held.items() if derived}

    def _devices_given(self) -> list[Fraction]:
        degrees = {axis: int(value) for axis in AXES if (value := self.facts.one(axis)) is not None}
        return list(map(Fraction, device_counts(degrees, self.engines))) if {"tp", "pp", "dp"} <= degrees.keys() else []

    # --- figures beside it

    def _beside(self, claim: Statement) -> Iterator[tuple[_Product, Derivation, bool]]:
        """What each rule of the claim's name gives, and whether that is all it can give."""
        for rule in _PRODUCTS:
            if claim.name in rule.names:
                names = (*rule.times, *rule.over)
                terms = [self._term(name, claim) for name in names]
                alone = all(len({value for value, _ in term}) == 1 for term in terms)
                for chosen in islice(product(*terms), MOST_READINGS):
                    value = Fraction(1)
                    for at, (factor, _) in enumerate(chosen):
                        value = value * factor if at < len(rule.times) else value / factor if factor else Fraction(0)
                    told = _quotient([text for _, text in chosen], len(rule.times))
                    yield rule, Derivation(rule.reading, value, _quotient(names, len(rule.times)), told), alone
        if claim.name.endswith("_headroom") and claim.unit.dimensions == lexicon.NONE:
            used = self.claims.near(claim, claim.name.replace("headroom", "utilization"))
            rule = _Product((claim.name,), "what the utilisation leaves", (), closes=True)
            alone = len({item.value for item in used}) == 1
            for item in used:
                left = Derivation(rule.reading, 1 - item.value, "1 - utilization", f"1 - {plain(item.value)}")
                yield rule, left, alone

    def _term(self, name: str, claim: Statement) -> list[tuple[Fraction, str]]:
        """Values of a factor: facts of the document, else claims, the nearest first."""
        name = self.same.get(name, name)
        values = [Fraction(2)] if name == "two" else self.facts.values(name)
        if name == "peak_flops" and name not in self.facts.settled:
            facts = self.facts.statements(name)
            if claim.name == "achieved_flops" and (_formats(claim) or any(map(_formats, facts))):
                facts = [fact for fact in facts if _formats(claim) & _formats(fact)]
            values = [fact.value for fact in facts]
        if name == "bytes_per_parameter":
            values = values or [value for value in self.facts.values("precision") if value > 0]
            values = values or ([Fraction(2)] if claim.name == "throughput_per_device" else [])
        if name == "peak_flops" or claim.name == "achieved_bandwidth":
            values = values and [max(values)]
        elif name == "memory_bandwidth":
            return [(value * scale, f"{plain(value)}{told}") for value in values for scale, told in _TERA]
        if values:
            return [(value, plain(value)) for value in values]
        near = [item for item in self.claims.near(claim, name) if item is not claim]
        if name == "throughput_per_device" and claim.name == "throughput":
            near = [item for item in near if _PHASES.findall(item.near) == _PHASES.findall(claim.near)]
        near = [item for item in near if name != "hbm_bandwidth_utilization" or 0 < item.value <= 1]
        beside = [item for item in near if item.segment == claim.segment]
        return [(item.value, f"{plain(item.value)} (line {item.place.line})") for item in beside or near]

    # --- verdicts on what no reading gives

    def _confused(self, claim: Statement, known: Sequence[Derivation]) -> JudgedClaim | None:
        """``83M parameters per expert`` where one expert's bytes have those digits."""
        if claim.name != "parameters_per_expert" or not known:
            return None
        counts = self.facts.values("experts") or [one.value for one in self._known("experts_per_gpu")[1]]
        for item, count in product(self.claims.near(claim, "expert_weights"), counts):
            for scale, unit in ((item.unit.scale, item.unit.name), (item.unit.other, item.unit.other_name)):
                digits = item.number.digits if item.number else Fraction(0)
                if scale is not None and count > 0 and matches(claim, digits * scale / count):
                    note = (f"bytes taken for parameters: {plain(digits)} {unit} / {plain(count)} experts = "
                            f"{plain(digits * scale / count)} bytes per expert")  # fmt: skip
                    return _made(claim, Verdict.FAILS, known[0], known, note)
        return None

    def _share(self, claim: Statement) -> JudgedClaim | None:
        """More than all of something; of two rates beside it, perhaps the one over the other."""
        kind = CLAIMS.get(_NAMES.get(claim.name, claim.name))
        if kind is None or kind.physics is not Physics.SHARE or claim.value <= 1:
            return None
        rates = [item for item in self.claims.near(claim, "throughput_per_device") if item.section == claim.section]
        for top, bottom in permutations(rates, 2):
            half = bottom.number.half if bottom.number else Fraction(0)
            if claim.value * (bottom.value - half) <= top.value <= claim.value * (bottom.value + half):
                told = "the throughput over the limit beside it: it is no utilisation, since nothing exceeds 100 %"
                texts = f"{plain(top.value)} / {plain(bottom.value)}"
                share = Derivation(told, top.value / bottom.value, "throughput / limit", texts)
                return _made(claim, Verdict.AMBIGUOUS, share, [share], f"follows as {told}")
        return _made(claim, Verdict.IMPOSSIBLE, None, (), "nothing is used to more than 100 %")

    def _beyond(self, claim: Statement, bounds: Sequence[Derivation]) -> JudgedClaim | None:
        """A figure beyond what any hardware, or the stated one, can do."""
        slack = Fraction(0) if claim.number is None else claim.number.half
        if bounds and len({one.value for one in bounds}) == 1 and claim.value - slack > bounds[0].value:
            least = bounds[0].value * _A_LITTLE_OVER
            per_device = _PER_DEVICE.search(f"{claim.near} {claim.text}".lower()) and claim.value > least
            if per_device or claim.name not in {"memory", "weights"}:
                return _made(claim, Verdict.IMPOSSIBLE, bounds[0], bounds, f"beyond {bounds[0].reading}")
        limits = []
        for way in self._ways:
            asked = _asked(claim, way.problem)
            kind = None if asked is None else kind_of_claim(asked.name, way.problem)
            if asked is not None and kind is not None:
                limits.append(physical_limits(asked, kind, way.problem, way.layout))
        if limits and all(limits) and claim.name not in _RATED:
            return _made(claim, Verdict.IMPOSSIBLE, None, bounds, "; ".join(map(str, limits[0])))
        return None

    def _placed(self, claim: Statement, known: Sequence[Derivation]) -> JudgedClaim:
        """The phase and batch that give the figure, or the two between which it lies; else what it would take."""
        kind, _ = self._known(claim.name)
        points = [] if kind is None else readings(kind, self._points)
        known = [*known, *points]
        right = next((one for one in points if matches(claim, one.value)), None)
        if right is not None:
            return _made(claim, Verdict.AMBIGUOUS, right, known, f"true as {right.reading}")
        below = max((one for one in known if one.value < claim.value), key=lambda one: one.value, default=None)
        above = min((one for one in known if one.value > claim.value), key=lambda one: one.value, default=None)
        if points and below is not None and above is not None:
            note = f"between {_told(claim, below)} and {_told(claim, above)}"
            return _made(claim, Verdict.AMBIGUOUS, below, known, note)
        nearest = below or above
        wanted = [name for one in _PRODUCTS if claim.name in one.names for name in (*one.times, *one.over)]
        missing = [name for name in dict.fromkeys(wanted) if not self._term(name, claim)]
        self.missing.update(dict.fromkeys(missing))
        note = "" if nearest is None else "no reading at hand gives it, but others remain open"
        if below is not None and below.reading == _BATCH_ONE:
            times = plain(claim.value / below.value)
            note = f"{times} times {_BATCH_ONE}: that bound does not hold for batched decode or prefill"
        return _made(claim, Verdict.UNSUPPORTED, nearest, known, note, missing)


def _formats(statement: Statement) -> set[str]:
    return set(_FORMATS.findall(f"{statement.near} {statement.text}".lower()))


def _cuts(layers: Fraction, devices: Fraction) -> Iterator[Fraction]:
    """Stages that devices may be cut into, each with as many layers."""
    most = int(devices) if devices <= _MOST_STAGES else 0
    return (Fraction(stages) for stages in range(1, most + 1) if devices % stages == 0 and layers % stages == 0)


def _quotient(parts: Sequence[str], above: int) -> str:
    return " / ".join((" × ".join(parts[:above]), *parts[above:]))


def _said_outright(claim: Statement) -> bool:
    return _OUTRIGHT.search(f"{claim.near} {claim.text}".lower()) is not None


def _closed(claim: Statement, value: Fraction) -> bool:
    """Whether a product that gives another value refutes the claim: said outright, and no more than all of it."""
    if claim.name == "throughput":
        return _said_outright(claim)
    return claim.name != "memory_utilization" or value <= _A_LITTLE_OVER


def _made(
    claim: Statement, verdict: Verdict, derived: Derivation | None, known: Sequence[Derivation], note: str = "",
    missing: Sequence[str] = (),
) -> JudgedClaim:  # fmt: skip
    marked = tuple((reading, matches(claim, reading.value)) for reading in known)
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
    half = written.half if written.decimal or written.unit.scaled or written.approximate else Fraction(0)
    unit = written.unit.name if written.unit.other is not None else ""
    return Claim(name, statement.value, known[name], half, half, written.unit.scale, unit, statement.text)
