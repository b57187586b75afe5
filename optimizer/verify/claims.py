"""A verdict on each claim, with the value derived, the ratio, the formula and the reading that makes it true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Any

from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.domain.tabled import Tabled
from optimizer.errors import Exit
from optimizer.figures.derivation_figure import Figure, shown
from optimizer.readers.claims import Claim
from optimizer.units import BINARY, DECIMAL, Dimension, plain
from optimizer.verify.claim_table import ClaimKind, Physics, kind_of_claim
from optimizer.verify.physics import PhysicalLimit, physical_limits


class Verdict(StrEnum):
    """What became of a claim, or of an equation or figure of a document."""

    HOLDS = "holds"
    FAILS = "fails"
    IMPOSSIBLE = "impossible"
    AMBIGUOUS = "ambiguous"
    UNSUPPORTED = "unsupported"

    @property
    def wrong(self) -> bool:
        """Whether it cannot stand as written."""
        return self in {Verdict.FAILS, Verdict.IMPOSSIBLE}


@dataclass(frozen=True, slots=True)
class JudgedReading:
    """A claim under one reading."""

    name: str
    figure: Figure
    holds: bool

    def to_json(self) -> dict[str, Any]:
        """One entry of ``readings``."""
        return {
            "name": self.name,
            "derived": plain(self.figure.value),
            "holds": self.holds,
            "formula": self.figure.formula,
            "substituted": self.figure.substituted,
        }


@dataclass(frozen=True, slots=True)
class ComparedClaim:
    """A claim and its verdict.

    Attributes
    ----------
    figure
        What it was compared with: the reading that makes it true, else the defining or nearest one.
    note
        Why, where the verdict alone does not say.
    limits
        Physical bounds of the claim under every reading, where it passes them all.
    """

    claim: Claim
    verdict: Verdict
    figure: Figure | None = None
    readings: tuple[JudgedReading, ...] = ()
    note: str = ""
    limits: tuple[PhysicalLimit, ...] = field(default=())

    @property
    def ratio(self) -> Fraction | None:
        """Claimed ÷ derived."""
        if self.figure is None or not self.figure.value:
            return None
        return self.claim.value / Fraction(self.figure.value)

    def to_json(self) -> dict[str, Any]:
        """One entry of ``claims``."""
        ratio = self.ratio
        return {
            "name": self.claim.name,
            "claimed": plain(self.claim.value),
            "derived": None if self.figure is None else plain(self.figure.value),
            "unit": self.claim.dimension.base,
            "verdict": str(self.verdict),
            "ratio": None if ratio is None else plain(ratio),
            "formula": None if self.figure is None else self.figure.formula,
            "substituted": None if self.figure is None else f"{_left(self.figure)} = {self.figure.result_text}",
            "readings": [reading.to_json() for reading in self.readings],
            "tolerance": plain(self.claim.slack),
            "text": self.claim.text,
            "line": self.claim.line,
            "column": self.claim.column,
            "explanation": self.note,
            "bounds": [limit.to_json() for limit in self.limits],
        }


def _left(figure: Figure) -> str:
    return figure.substituted or figure.formula


def matches(claim: Claim, value: Fraction | int, error: Fraction | int = 0) -> bool:
    """Whether `value` is what was claimed, to the last digit written or the tolerance given, and to its own error."""
    return claim.least - error <= value <= claim.most + error


def _other_units(claim: Claim) -> Iterable[tuple[str, Claim]]:
    """The same digits in the unit that authors confuse with the one written."""
    unit = claim.unit
    if claim.dimension in {Dimension.BYTES, Dimension.BYTES_PER_SECOND}:
        prefix, rest = unit[:1], unit[1:]
        if rest.startswith("i") and prefix + "i" in BINARY:
            other = prefix + rest[1:]
        elif prefix.upper() + "i" in BINARY and prefix in {*DECIMAL, "K"} and prefix:
            other = prefix.upper() + "i" + rest
        else:
            return
        if other in claim.dimension.units:
            yield f"{unit} read as {other}", claim.rescaled(claim.dimension.units[other], other)
    elif claim.dimension is Dimension.RATIO and not unit and claim.value > 1:
        yield "a percentage", claim.rescaled(Fraction(1, 100), "%")


def _unsupported(claim: Claim, note: str) -> ComparedClaim:
    return ComparedClaim(claim, Verdict.UNSUPPORTED, note=note)


def judge_claim(claim: Claim, figures: dict[str, Figure], problem: Problem, layout: Layout) -> ComparedClaim:
    """Verdict on one claim.

    Parameters
    ----------
    figures
        Every figure that can be derived; a reading without its figure is left out.
    """
    kind = kind_of_claim(claim.name, problem)
    if kind is None:
        return _unsupported(claim, "nothing here derives such a figure")
    if kind.whole:
        claim = claim.exactly
    readings = [
        JudgedReading(reading.name, figure, matches(claim, figure.value, figure.error))
        for reading in kind.readings
        if (figure := figures.get(reading.figure)) is not None
    ]
    if not readings or (kind.defined and kind.readings[0].figure not in figures):
        return _unsupported(claim, f"there is no such figure {_lacking(claim.name, problem)}")
    return _verdict(claim, kind, readings, problem, layout)


def _lacking(name: str, problem: Problem) -> str:
    """Why a known figure cannot be derived here."""
    if ("expert" in name or "slots" in name) and problem.model.moe is None:
        return "without experts"
    if name.startswith(("nodes_visited", "nodes_per_token", "mean_nodes_visited")):
        return (
            "without a placement and measured co-activation" if problem.coactivation is None else "without a placement"
        )
    if "moves" in name or "moved" in name:
        return "without a placement and one in service"
    if "under_load" in name or "of_layer" in name:
        return "without a placement and measured loads"
    if "of_stage" in name:
        return "with so few stages"
    if "cost" in name:
        return "without a price of the device"
    timed = "latency" in name or ("ttft" in name and problem.workload.prompts)
    if timed and problem.workload.request_rate is not None:
        return "where requests arrive as fast as they are served, or faster: load above 1, the queue grows without end"
    return f"in {problem.workload.named}"


def _verdict(
    claim: Claim, kind: ClaimKind, readings: Sequence[JudgedReading], problem: Problem, layout: Layout
) -> ComparedClaim:
    true = [reading for reading in readings if reading.holds]
    if (kind.defined and readings[0].holds) or len(true) == len(readings):
        defined = tuple(readings[:1]) if kind.defined else tuple(readings)
        return ComparedClaim(claim, Verdict.HOLDS, readings[0].figure, defined)
    shown_readings = list(readings)
    for name, other in _other_units(claim):
        for reading in readings:
            if matches(other, reading.figure.value):
                label = f"{reading.name}, {name}"
                shown_readings.append(JudgedReading(label, reading.figure, holds=True))
                true.append(shown_readings[-1])
                break
    if true:
        names = "; ".join(reading.name for reading in true)
        note = f"true as: {names}"
        return ComparedClaim(claim, Verdict.AMBIGUOUS, true[0].figure, tuple(shown_readings), note)
    nearest = (
        readings[0]
        if kind.defined
        else min(readings, key=lambda reading: abs(Fraction(reading.figure.value) - claim.value))
    )
    limits = physical_limits(claim, kind, problem, layout) if kind.physics is not Physics.NONE else ()
    if limits:
        note = "beyond what the hardware can do under every reading: " + "; ".join(map(str, limits))
        return ComparedClaim(claim, Verdict.IMPOSSIBLE, nearest.figure, tuple(readings), note, limits)
    return ComparedClaim(claim, Verdict.FAILS, nearest.figure, tuple(readings), _why(claim, nearest.figure))


def _why(claim: Claim, figure: Figure) -> str:
    value = shown(claim.value, claim.dimension)
    if not figure.value:
        return f"claimed {value}, derived {figure.result_text}"
    factor = float(claim.value / Fraction(figure.value))
    return f"claimed {value}, derived {figure.result_text}: {factor:.4g} times as much"


class Judged(Tabled):
    """Something judged by its constraints and by its claims; its table is that of the claims."""

    columns = ("verdict", "claim", "text", "claimed", "derived", "ratio", "explanation")

    violations: tuple[object, ...]
    claims: tuple[ComparedClaim, ...]

    @property
    def headline(self) -> str:
        """``feasible``, or how many constraints are violated."""
        broken = len(self.violations)
        return f"infeasible: {broken} violated constraint{'s' * (broken > 1)}" if broken else "feasible"

    def rows(self) -> list[dict[str, Any]]:
        """Every claim with its verdict, numbers in base units."""
        return [
            {"claim": judged.claim.name, **{name: judged.to_json()[name] for name in self.columns if name != "claim"}}
            for judged in self.claims
        ]

    def __repr__(self) -> str:
        counts = Counter(judged.verdict for judged in self.claims)
        claims = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        return f"<{self.headline}; claims: {claims}>" if claims else super().__repr__()

    def notes(self) -> list[str]:
        """Every violated constraint with its numbers."""
        return [str(violation) for violation in self.violations]

    @property
    def feasible(self) -> bool:
        """Whether every constraint is kept."""
        return not self.violations

    @property
    def exit_status(self) -> Exit:
        """No where a constraint is broken, or a claim fails or is impossible."""
        wrong = any(judged.verdict.wrong for judged in self.claims)
        return Exit.YES if self.feasible and not wrong else Exit.NO


def judge_claims(
    claims: Iterable[Claim], figures: dict[str, Figure], problem: Problem, layout: Layout
) -> tuple[ComparedClaim, ...]:
    """Verdict on each claim, in order."""
    return tuple(judge_claim(claim, figures, problem, layout) for claim in claims)
