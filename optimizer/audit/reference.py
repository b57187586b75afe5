"""Judges what a document says with the reference itself, where a problem gives the model and the hardware."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any, Final

from optimizer.audit.derive import Derivation, FactTable
from optimizer.audit.extract import CLAIMS as FOUND
from optimizer.audit.judge import JudgedClaim
from optimizer.audit.operating import FIGURES, THE_REFERENCE, operating_points, place_claim
from optimizer.audit.statements import AXES, Statement
from optimizer.audit.verdict import Verdict
from optimizer.domain.feedforward import MixtureOfExperts
from optimizer.domain.layout import WrittenLayout
from optimizer.domain.precision import FORMATS
from optimizer.domain.problem import Problem
from optimizer.errors import SpecError
from optimizer.readers.claims import Claim
from optimizer.readers.document import Document
from optimizer.readers.read import layout_in, problem_in
from optimizer.verify import judge, judge_layout
from optimizer.verify.claim_table import dimensions
from optimizer.verify.claims import JudgedClaim as Reference
from optimizer.verify.claims import judge_claims

_CONVENTIONS: Final = ("folded", "product")
_NAMES: Final = {
    "expert_parameters": "experts_parameters",
    "experts_per_gpu_per_layer": "experts_per_device_per_layer",
    "memory_total": "total_memory",
    "weights_total": "total_weights",
    "expert_weights_total": "total_expert_weights",
    "kv_cache_total": "total_kv_cache",
    "experts_total": "",
    "devices": "",
    "compute_headroom": "",
}
_ESTIMATES: Final = {  # and words that prose uses of more than one thing
    "latency", "request_capacity", "balance", "kv_cache_per_token", "replicas", "nodes",
    "ttft", "tpot", "step_time", "throughput", "throughput_per_device", "compute_utilization",
    "hbm_bandwidth_utilization", "model_flops_utilization", "memory", "memory_total", "memory_utilization",
    "memory_headroom", "kv_cache", "kv_cache_total", "activations", "link_bandwidth", "link_utilization",
    "nodes_visited",
}  # fmt: skip


_RATED: Final = {"link_bandwidth", "hbm_bandwidth", "fabric_bandwidth", "flops"}
_CUT: Final = {"weights", "expert_weights", "expert_instances", "experts_per_gpu"}
"""Figures of the fullest stage."""
_PARTIAL: Final = re.compile(r"\b(?:per|each|every|one|a single|layers?|blocks?|stages?|rank|gpu|device)\b")


def _refutable(statement: Statement) -> bool:
    """Whether the reference may call the figure wrong: a count or a size that the words can mean in one way only."""
    name = statement.name
    if name in FOUND:
        return name not in _ESTIMATES
    component = name.endswith("_parameters")
    return component and _PARTIAL.search(" ".join((statement.near, *statement.section)).lower()) is None


def resolve(problem: Mapping[str, Any] | Problem) -> Problem:
    """A problem at hand, with its model and hardware in full.

    Raises
    ------
    SpecError
        What is wrong with it.
    """
    if isinstance(problem, Problem):
        return problem
    return problem_in(Document(problem, "<problem>", "{}", is_json=True))


def problem_values(problem: Problem) -> dict[str, Fraction]:
    """Facts that a problem settles: shapes of the model, limits of the device, lengths of the workload."""
    model, device = problem.model, problem.hardware.device
    values: dict[str, int | Fraction] = {
        "layers": model.layer_count,
        "hidden_size": model.hidden_size,
        "vocabulary": model.vocab_size,
        "device_memory": device.memory,
        "memory_bandwidth": device.bandwidth,
        "peak_flops": max(device.peak.values()),
        "input_tokens": problem.workload.input_tokens,
    }
    bits = FORMATS[problem.precision.weights].bits if problem.precision.weights in FORMATS else 0
    if bits % 8 == 0 and bits:
        values["bytes_per_parameter"] = bits // 8
    moe = model.moe
    if isinstance(moe, MixtureOfExperts):
        values |= {"experts_per_layer": moe.experts, "layers": model.moe_layer_count}
        if moe.latent_size is None and not moe.bias:
            values |= {"expert_hidden_size": moe.intermediate, "expert_matrices": 3 if moe.gated else 2}
    return {name: Fraction(value) for name, value in values.items()}


def judge_data(block: Document, problem: Problem | None) -> tuple[list[dict[str, Any]], list[str]]:
    """Claims of a data block with its layout, as `verify` judges them, and the constraints that the layout violates.

    Raises
    ------
    SpecError
        The layout or a claim cannot be read.
    """
    data = {key: value for key, value in block.data.items() if key in {"name", "problem", "layout", "claims", "notes"}}
    document = layout_in(_with(block, data, problem), claims=dimensions)
    verdict = judge(document)
    claims = [{**item.to_json(), "role": "stated"} for item in verdict.claims]
    return claims, [str(violation) for violation in verdict.violations]


def _with(block: Document, data: dict[str, Any], problem: Problem | None) -> Document:
    if problem is not None:
        data = {**data, "problem": problem.model_dump(mode="python")}
    return replace(block, data=data)


def judge_prose(problem: Problem, table: FactTable, judged: list[JudgedClaim]) -> list[JudgedClaim]:
    """Prose claims left open by counting, judged under each convention that the written degrees allow.

    A figure that only an estimate gives (a time, a whole memory) is never failed by it, only called impossible.
    """
    asked = [
        item.statement
        for item in judged
        if item.verdict is Verdict.UNSUPPORTED or item.statement.name not in _ESTIMATES
    ]
    layouts = _layouts(problem, table)
    answers = list(_references(problem, layouts, asked))
    open_cut = any(value > 1 for value in table.values("pp"))
    settled = [
        _settled(
            item, [found[id(item.statement)] for found in answers if id(item.statement) in found], open_cut=open_cut
        )
        for item in judged
    ]
    if not any(item.verdict is Verdict.UNSUPPORTED and _placed(item.statement.name) for item in settled):
        return settled
    points = [point for written in layouts for point in operating_points(problem, written)]
    return [
        place_claim(item, points) if item.verdict is Verdict.UNSUPPORTED and _placed(item.statement.name) else item
        for item in settled
    ]


def _placed(name: str) -> bool:
    """Whether a figure of this name depends on phase and batch, which a document may leave open."""
    return name in FIGURES or (name not in FOUND and not name.endswith("_parameters"))


def _layouts(problem: Problem, table: FactTable) -> list[dict[str, Any]]:
    """The written degrees under each convention; those of the stated device count, if any has it."""
    degrees = {axis: int(value) for axis in AXES if (value := table.one(axis)) is not None}
    if not degrees or any(len(table.values(axis)) > 1 for axis in AXES):
        return []
    batch = table.one("batch")
    found: dict[tuple[str, ...], tuple[dict[str, Any], int]] = {}
    for convention in _CONVENTIONS:
        written = {"convention": convention, **degrees, **({"batch": int(batch)} if batch else {})}
        try:
            layout = WrittenLayout.model_validate(written).resolve(experts=problem.model.moe is not None)
        except ValueError:
            continue
        found.setdefault((str(layout),), (written, layout.devices))
    devices = table.one("devices")
    stated = [written for written, count in found.values() if count == devices]
    return stated or [written for written, _ in found.values()]


def _references(
    problem: Problem, layouts: list[dict[str, Any]], claims: list[Statement]
) -> Iterator[dict[int, Reference]]:
    known = dimensions(problem)
    for written in layouts:
        layout = WrittenLayout.model_validate(written).resolve(experts=problem.model.moe is not None)
        verdict = judge_layout(problem, layout)
        if verdict.evaluation is None:
            continue
        asked = [(item, made) for item in claims if (made := _claim(item, known)) is not None]
        found = judge_claims([made for _, made in asked], dict(verdict.figures), problem, layout)
        yield {id(item): answer for (item, _), answer in zip(asked, found, strict=True)}


def _claim(statement: Statement, known: Mapping[str, Any]) -> Claim | None:
    name = _NAMES.get(statement.name, statement.name)
    written = statement.number
    if name not in known or written is None:
        return None
    exact = not (written.decimal or written.unit.scaled or written.approximate)
    half = Fraction(0) if exact else written.half
    unit = written.unit.name if written.unit.other is not None else ""
    return Claim(name, statement.value, known[name], half, half, written.unit.scale, unit, statement.text,
                 None, statement.place.line, statement.place.column)  # fmt: skip


def _near(answer: Reference) -> bool:
    """Whether another cut into stages may give the figure."""
    return answer.ratio is not None and Fraction(2, 3) <= answer.ratio <= Fraction(3, 2)


def _roughly(statement: Statement, answers: list[Reference]) -> str | None:
    """Reading of a size of all weights that authors round to the model's name, unless it is said of one device."""
    if statement.name not in {"weights", "weights_total"} or _PARTIAL.search(statement.near.lower()):
        return None
    near = (
        reading.name
        for answer in answers
        for reading in answer.readings
        if abs(Fraction(reading.figure.value) - statement.value) * 32 <= statement.value
    )
    return next(near, None)


def _settled(item: JudgedClaim, answers: list[Reference], *, open_cut: bool) -> JudgedClaim:
    verdicts = {Verdict(str(answer.verdict)) for answer in answers}
    if not answers or Verdict.UNSUPPORTED in verdicts:
        return item
    verdict = verdicts.pop() if len(verdicts) == 1 else Verdict.AMBIGUOUS
    answer = answers[0]
    derived = None
    if answer.figure is not None:
        shown = answer.to_json()
        derived = Derivation(
            THE_REFERENCE,
            Fraction(answer.figure.value),
            str(shown["formula"]),
            str(shown["substituted"]).rpartition(" = ")[0] or str(shown["substituted"]),
        )
    note = answer.note
    if verdict is Verdict.FAILS is item.verdict and item.note:
        note = f"{item.note}; {note}"
    counted = next((reading for reading, holds in item.readings if holds), None)
    if verdict is Verdict.FAILS and counted is not None and not item.verdict.wrong:
        return replace(item, verdict=Verdict.AMBIGUOUS, note=f"true as {counted.reading}; else {answer.note}")
    if verdict is Verdict.FAILS and open_cut and item.statement.name in _CUT and any(map(_near, answers)):
        verdict, note = Verdict.UNSUPPORTED, f"depends on the cut into stages, which is not given; {note}"
    if verdict is Verdict.IMPOSSIBLE and item.statement.name in _RATED:
        verdict, note = (
            Verdict.UNSUPPORTED,
            f"a figure of data sheets may count both directions, a whole node or sparse numbers; used, it is {note}",
        )
    if verdict is Verdict.FAILS and (rough := _roughly(item.statement, answers)) is not None:
        verdict, note = Verdict.AMBIGUOUS, f"true to the digits of the model's name: {rough}"
    if verdict is Verdict.FAILS and not _refutable(item.statement):
        verdict, note = (
            Verdict.UNSUPPORTED,
            "the reference estimates another figure; an estimate does not refute a claim",
        )
    return replace(item, verdict=verdict, derived=derived or item.derived, note=note)


__all__ = ["SpecError", "judge_data", "judge_prose", "problem_values", "resolve"]
