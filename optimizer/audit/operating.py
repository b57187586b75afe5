"""Which phase and batch an estimated figure describes: decode at batch 1, batched decode, mixed, prefill."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, Final

from optimizer.audit import lexicon
from optimizer.audit.derive import Derivation
from optimizer.audit.judge import JudgedClaim, matches
from optimizer.audit.statements import Statement
from optimizer.audit.verdict import Verdict, plain, shown
from optimizer.domain.layout import Layout, WrittenLayout
from optimizer.domain.problem import Problem
from optimizer.verify import judge_layout
from optimizer.verify.claim_table import CLAIMS

FIGURES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "compute_utilization": (("compute_utilization", ""), ("model_flops_utilization", ", FLOPs of the model alone")),
    "model_flops_utilization": (("model_flops_utilization", ""),),
    "hbm_bandwidth_utilization": (("hbm_utilization", ""),),
    "throughput_per_device": (
        ("throughput_per_device_tokens_per_s", ""),
        ("processed_per_device_tokens_per_s", ", prompt tokens counted"),
    ),
    "throughput": (("throughput_tokens_per_s", ""), ("processed_tokens_per_s", ", prompt tokens counted")),
    "ttft": (("ttft_s", ""),),
    "tpot": (("tpot_s", ""),),
    "memory": (
        ("memory_bytes", ""),
        ("weights_and_cache_bytes", ", weights and KV cache alone"),
        ("model_weights_bytes", "weights alone, what the layout replicates held by every rank"),
    ),
    "memory_total": (("total_memory_bytes", ""), ("model_bytes", "one copy of the weights")),
}
"""Figures that a claim's name may mean, each with what tells it apart; others mean the readings of their claim."""


def figures_of(name: str) -> tuple[tuple[str, str], ...]:
    """Figures that a claim of this name may mean."""
    if name in FIGURES:
        return FIGURES[name]
    kind = CLAIMS.get(name)
    if kind is None:
        return ()
    return tuple((one.figure, f", {one.name}" if number else "") for number, one in enumerate(kind.readings))


_PHASES: Final = ("decode", "aggregated", "prefill")
_CONSTANT: Final = {"model_weights_bytes", "model_bytes"}
"""Figures that no phase and no batch changes."""
_TIMES: Final = {"ttft", "tpot"}
THE_REFERENCE: Final = "the reference"
_BATCHES: Final = (1, 2, 8, 64, 512)


def operating_points(problem: Problem, layout: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Name and figures of the layout in every phase, at batch 1, the written batch and a few more that fit."""
    return list(_points(problem, layout))


def _points(problem: Problem, written: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    workload = problem.workload
    batches = sorted({*_BATCHES, int(written.get("batch", 1))})
    for phase in _PHASES:
        if phase != "prefill" and workload.output_tokens < 2:
            continue
        asked = problem.model_copy(update={"workload": workload.model_copy(update={"phase": phase})})
        for batch in batches:
            layout = _layout({**written, "batch": batch}, problem)
            verdict = None if layout is None else judge_layout(asked, layout)
            if verdict is None or verdict.evaluation is None:
                continue
            if verdict.figures["memory_bytes"].value > problem.capacity_bytes:
                break
            yield f"{_PHASE_NAMES[phase]} at batch {batch}", verdict.figures


_PHASE_NAMES: Final = {"decode": "decode", "aggregated": "prefill and decode mixed", "prefill": "prefill"}


def _layout(written: Mapping[str, Any], problem: Problem) -> Layout | None:
    try:
        return WrittenLayout.model_validate(written).resolve(experts=problem.model.moe is not None)
    except ValueError:
        return None


def place_claim(item: JudgedClaim, points: list[tuple[str, Mapping[str, Any]]]) -> JudgedClaim:
    """``item`` with the phase and batch that give its figure, or the two between which it lies.

    An estimate refutes nothing: a figure outside all of them stays open, with the nearest one named.
    """
    claim = item.statement
    known = [reading for reading, _ in item.readings if reading.reading != THE_REFERENCE]
    readings = [*known, *_readings(claim, points)]
    if len(readings) == len(known):
        return item
    marked = tuple((reading, matches(claim, reading.value)) for reading in readings)
    right = next((reading for reading, holds in marked if holds), None)
    if right is not None:
        return _made(item, Verdict.AMBIGUOUS, right, marked, f"true as {right.reading}")
    below = [reading for reading in readings if reading.value < claim.value]
    above = [reading for reading in readings if reading.value > claim.value]
    if below and above:
        low = max(below, key=lambda reading: reading.value)
        high = min(above, key=lambda reading: reading.value)
        note = f"between {_told(claim, low)} and {_told(claim, high)}"
        return _made(item, Verdict.AMBIGUOUS, low, marked, note)
    nearest = min(readings, key=lambda reading: abs(reading.value - claim.value))
    side = "longer" if claim.name in _TIMES else "more"
    less = "shorter" if claim.name in _TIMES else "less"
    note = f"{side if below else less} than at every point tried; the nearest is {_told(claim, nearest)}"
    if below and claim.name in _TIMES:
        fastest = min(readings, key=lambda reading: reading.value)
        note = f"as a limit it is met by {_told(claim, fastest)}; no point tried takes as long"
        return _made(item, Verdict.AMBIGUOUS, fastest, marked, note)
    return _made(item, Verdict.UNSUPPORTED, nearest, marked, note)


def _readings(claim: Statement, points: list[tuple[str, Mapping[str, Any]]]) -> list[Derivation]:
    found: dict[tuple[str, Fraction], Derivation] = {}
    for name, figures in points:
        for figure, suffix in figures_of(claim.name):
            made = figures.get(figure)
            if made is not None and made.value is not None and made.value > 0:
                described = made.to_json()
                substituted = str(described["substituted"])
                value = Fraction(made.value)
                full = suffix if figure in _CONSTANT else f"{name}{suffix}"
                found.setdefault((full, value), Derivation(full, value, str(described["formula"]), substituted))
    return list(found.values())


def _told(claim: Statement, reading: Derivation) -> str:
    rate = claim.unit.dimensions == lexicon.PER_SECOND
    value = f"{plain(reading.value)} tokens/s" if rate else shown(reading.value, claim.unit)
    return f"{reading.reading} ({value})"


def _made(
    item: JudgedClaim,
    verdict: Verdict,
    derived: Derivation,
    marked: tuple[tuple[Derivation, bool], ...],
    note: str,
) -> JudgedClaim:
    return JudgedClaim(item.statement, verdict, derived, marked, note)
