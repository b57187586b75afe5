"""Figures of `verify` for what a document says of a deployment, and how a claim is placed and compared with them.

A problem at hand is laid out by the degrees that the document gives, in every convention that reads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import product
from typing import Any, Final

from optimizer.audit.deployment import Known, Sentence
from optimizer.audit.facts import AXES, Derivation, Facts, JudgedClaim, Role, Statement, outside_quotation
from optimizer.audit.lexicon import ONE, UNITS, Unit
from optimizer.audit.verdict import Verdict, shown
from optimizer.domain.attention import Heads, Latents
from optimizer.domain.convention import CONVENTIONS, Degrees
from optimizer.domain.families import Family
from optimizer.domain.layout import Layout, WrittenLayout
from optimizer.domain.model import ModelSpec
from optimizer.domain.problem import Problem
from optimizer.domain.workload import PHASES
from optimizer.errors import SpecError
from optimizer.figures.derivation_figure import Figure
from optimizer.readers.document import Document
from optimizer.readers.read import problem_in
from optimizer.verify import LayoutVerdict as Priced
from optimizer.verify import judge_layout
from optimizer.verify.claim_table import ClaimKind

_USUAL: Final = ("folded", "product")
"""Conventions that need no engine to be named: the others are read where the document names theirs."""
_PHASES: Final = {"decode": "decode", "aggregated": "prefill and decode mixed", "prefill": "prefill"}
_BATCHES: Final = (1, 2, 8, 64, 512)
GB: Final = UNITS["GB"]
_CONTEXT: Final = 256
"""Prompt tokens at which a rate is bounded: as short as prompts are, so that the bound errs on the author's side."""
WORKLOAD: Final = {"kind": "serving", "phase": "decode", "input_tokens": _CONTEXT, "output_tokens": _CONTEXT}
_MOST_DEVICES: Final = 4096
RECKONED: Final = re.compile(r"[=≈×x/*+]\s*[~≈]?$")
"""Before a figure that arithmetic gives or takes."""
ROUGHLY: Final = Fraction(1, 8)
"""Share by which authors' sizes of weights differ from exact ones: embeddings left out, buffers put in, a
parameter count rounded to the model's name. Assumed: a share with another degree is off by a half at least."""
_ANYTHING: Final = re.compile(r".+", re.DOTALL)
_ADDED_TO: Final = re.compile(r"[+×÷/*]\s*$")
_GOES_ON: Final = re.compile(r"\s*(?:[+×÷/*]|[x−-]\s)\s*\$?\d")
"""Around a figure that is a part of some arithmetic."""
ANY_DEVICE: Final = "h100-sxm-8"
"""Hardware for what depends on none."""
WHOLE: Final = "one copy"


def resolve(problem: Mapping[str, Any] | Problem) -> Problem:
    """A problem at hand, with its model and hardware in full.

    Raises
    ------
    SpecError
        What is wrong with it.
    """
    if isinstance(problem, Problem):
        return problem
    return problem_in(Document(problem, "<problem>", "{}"))


def device_counts(degrees: Mapping[str, int], engines: str) -> dict[int, str]:
    """Devices by every convention that can read the degrees, each count once; ``engines`` are those named."""
    written = Degrees(
        degrees.get("tp", 1), degrees.get("cp", 1), degrees.get("dp", 1), degrees.get("pp", 1), degrees.get("etp"),
        degrees.get("ep"), None,
    )  # fmt: skip
    counts: dict[int, str] = {}
    for name, rule in CONVENTIONS.items() if min(degrees.values(), default=1) > 0 else ():
        # With the experts' tensor parallelism written, nobody multiplies expert parallelism on top.
        if (name in _USUAL and not (name == "product" and "etp" in degrees)) or name.partition("-")[0] in engines:
            try:
                mesh = rule.read(written)
            except ValueError:
                continue
            width = mesh["tp"] * mesh["cp"] * mesh["dp"]
            if width % mesh["ep"] == 0:
                counts.setdefault(width * mesh["pp"], name)
    return counts


@dataclass(frozen=True, slots=True)
class Completion:
    """The problem in one layout at one operating point, with the reference's figures."""

    point: str
    problem: Problem
    layout: Layout
    figures: Mapping[str, Figure]


def completions(problem: Problem, facts: Facts, *, points: bool) -> list[Completion]:
    """The layouts that the document's degrees may be; none where it gives two of an axis, or nothing of a layout.

    ``points``: in every phase, at batch 1, the written batch and a few more, where they fit.
    """
    degrees = {axis: int(value) for axis in AXES if (value := facts.one(axis))}
    devices, batch = facts.one("devices"), int(facts.one("batch") or 1)
    if any(len(facts.values(axis)) > 1 for axis in AXES) or not (degrees or devices):
        return []
    written = dict.fromkeys(("tp", "cp", "dp", "pp"), 1) | degrees
    conventions = [name for name in _USUAL if device_counts(written, name).get(int(devices or 0)) == name] or _USUAL
    asked = list(_points(problem, batch)) if points else [("", problem, batch)]
    found = []
    for convention, (point, one, size) in product(conventions, asked):
        try:
            layout = WrittenLayout.model_validate({"convention": convention, **written, "batch": size}).resolve(
                experts=problem.model.moe is not None
            )
            verdict = judge_layout(one, layout)
        except (SpecError, ValueError):
            continue
        fits = verdict.evaluation is not None and verdict.figures["memory_bytes"].value <= one.capacity_bytes
        if fits or (verdict.evaluation is not None and not points):
            found.append(Completion(point, one, layout, verdict.figures))
    return found


def _points(problem: Problem, batch: int) -> Iterator[tuple[str, Problem, int]]:
    workload = problem.workload
    for phase, name in _PHASES.items():
        if workload.output_tokens > 1 or not PHASES[phase].decodes:
            asked = problem.model_copy(update={"workload": workload.model_copy(update={"phase": phase})})
            yield from ((f"{name} at batch {size}", asked, size) for size in sorted({*_BATCHES, batch}))


def readings(kind: ClaimKind, ways: Sequence[Completion]) -> list[Derivation]:
    """What a claim of some kind is in some layouts, by its readings, at a point by its name as well."""
    found: dict[tuple[str, Fraction], Derivation] = {}
    for reading, way in product(kind.readings, ways):
        if reading.figure in way.figures:
            figure = way.figures[reading.figure].to_json()
            name = f"{way.point}, {reading.name}" if way.point else reading.name
            value = Fraction(way.figures[reading.figure].value)
            formula, text = str(figure["formula"]), str(figure["substituted"])
            told = text.rpartition(" = ")[0] or text or formula
            found.setdefault((name, value), Derivation(name, value, formula, told))
    return list(found.values())


JudgedClaims = Iterator[JudgedClaim]
_Price = tuple[Problem, Layout, Priced]


def priced_on(known: Known, devices: int, *, data_parallel: bool = False) -> _Price | None:
    """The reference's figures of the known model on so many devices, all tensor parallel or all data parallel."""
    if known.model is None or known.device is None or not 0 < devices <= _MOST_DEVICES:
        return None
    return _price(known.model, known.device, known.precision, devices, "dp" if data_parallel else "tp")


@lru_cache(maxsize=256)
def _price(model: str, device: str, precision: str | None, devices: int, axis: str) -> _Price | None:
    given = {
        "model": model, "hardware": device, "devices": devices,
        "workload": WORKLOAD,
    }  # fmt: skip
    try:
        problem = resolve(given)
        if precision is not None and not problem.precision.weights.startswith(precision):
            problem = resolve({**given, "precision": {"weights": precision}})
        layout = WrittenLayout.model_validate({axis: devices}).resolve(experts=problem.model.moe is not None)
        verdict = judge_layout(problem, layout)
    except (SpecError, ValueError):
        return None
    return (problem, layout, verdict) if verdict.evaluation is not None else None


def weights_of(known: Known) -> Fraction | None:
    """Bytes of one copy of the model."""
    priced = priced_on(known, 1)
    return None if priced is None else Fraction(priced[2].figures["model_bytes"].value)


def verdict_of(*, right: bool) -> Verdict:
    """Whether a claim holds, as a verdict."""
    return Verdict.HOLDS if right else Verdict.FAILS


def stretch(text: str, start: int, end: int) -> re.Match[str]:
    """A stretch of a text as a match."""
    found = _ANYTHING.match(text, start, end)
    assert found is not None  # noqa: S101 - a figure has a character
    return found


def claim_at(
    sentence: Sentence, match: re.Match[str], name: str, value: Fraction, unit: Unit, verdict: Verdict,
    readings: Sequence[Derivation] = (), note: str = "",
) -> JudgedClaim:  # fmt: skip
    """The claim that `match` makes, placed; what stands in quotation marks accuses no one."""
    statement = Statement(name, value, sentence.at(match.start()), " ".join(match[0].split()), Role.STATED,
                          sentence.segment, unit, section=sentence.section, near=sentence.text)  # fmt: skip
    before = sentence.text[: match.start()]
    quoted = not outside_quotation(before)
    asked = sentence.text.rstrip().endswith("?")
    operand = unit is not ONE and (_ADDED_TO.search(before) or _GOES_ON.match(sentence.text, match.end()))
    if verdict.wrong and (quoted or asked or operand or sentence.refuted):
        said = "quoted" if quoted else "reckoned with" if operand else "asked, or refuted beside it"
        verdict, note = Verdict.UNSUPPORTED, f"{said}; taken for the document's own it {verdict}"
    marked = tuple((reading, not at and verdict is Verdict.HOLDS) for at, reading in enumerate(readings))
    return JudgedClaim(statement, verdict, readings[0] if readings else None, marked, note)


@lru_cache(maxsize=512)
def cache_bytes(
    model: str, tokens: int, widths: tuple[int, ...], degrees: tuple[tuple[int, int], ...], layered: bool, each: bool  # noqa: FBT001
) -> Sequence[Derivation]:  # fmt: skip
    """Bytes of so many tokens in the caches of a model, of each width in bits, whole and on a device of (tp, pp).

    As engines allocate them, heads copied and latents whole where ranks are more. ``each``: on a device alone. Windows
    count as they are, as if they were full, and not at all. Models that keep states have none.
    """
    priced = priced_on(Known(model, None, ANY_DEVICE), 1)
    blocks = priced[0].model.blocks if priced else {}
    kinds = [blocks[name].attention for name in (priced[0].model.layer_names if priced else ())]
    cached = [kind for kind in kinds if kind is not None and isinstance(kind.keeps, Heads | Latents)]
    if not cached or len(cached) < len(kinds):
        return ()
    full = [kind for kind in cached if kind.keeps.window is None]
    held = [[kind] for kind in dict.fromkeys(cached)] if layered else [cached, full]
    found: dict[Fraction, Derivation] = {}
    ways = degrees if each and degrees else ((1, 1), *degrees)
    for layers, width, (tp, pp) in product(held, widths, ways):
        for elements in {sum(kind.cache_elements(tokens, tp) for kind in layers),
                         sum(kind.cache_elements(1, tp) * tokens for kind in layers)}:  # fmt: skip
            for copies in (1,) if each else (1, tp):
                value = Fraction(elements * width * copies, 8 * pp)
                told = f"{elements:,} × {width} ÷ 8"
                told += (f" × {copies}" if copies > 1 else "") + (f" ÷ {pp}" if pp > 1 else "")
                place = f" on one of {tp}" if tp > copies else ""
                name = "kv_cache_bytes_per_token"
                found.setdefault(value, Derivation(f"a cache of {width} bits{place}", value, name, told))
    return tuple(one for one in found.values() if one.value)


@lru_cache(maxsize=64)
def shape_of(name: str) -> ModelSpec | None:
    """A model of the catalog in full."""
    priced = priced_on(Known(name, None, ANY_DEVICE), 1)
    return None if priced is None else priced[0].model


@lru_cache(maxsize=64)
def parameters_of(model: str) -> tuple[Fraction, Fraction, Fraction] | None:
    """All parameters of a model of the catalog, and those that a token passes through, with its embedding and not."""
    priced = priced_on(Known(model, None, ANY_DEVICE), 1)
    if priced is None:
        return None
    total, active = (Fraction(priced[2].figures[name].value) for name in ("parameters", "active_parameters"))
    return total, active, active - priced[0].model.hidden_size * priced[0].model.vocab_size


@lru_cache(maxsize=256)
def heads_broken(model: str, tp: int) -> str:
    """What forbids a degree of tensor parallelism, of the model's heads alone; empty where nothing does."""
    priced = priced_on(Known(model, None, ANY_DEVICE), tp)
    violations = priced[2].violations if priced else ()
    return next((one.message for one in violations if one.family is Family.DIVISIBILITY and "heads" in one.message), "")


@lru_cache(maxsize=256)
def weight_shares(
    model: str | None, precision: str | None, degrees: tuple[tuple[int, ...], ...], counts: tuple[int, ...]
) -> Sequence[Derivation]:  # fmt: skip
    """Weights of the whole model, and of a device, for every degree of tp, pp, dp and ep and every count of devices."""
    priced = priced_on(Known(model, precision, ANY_DEVICE), 1)
    if priced is None:
        return ()
    weights, experts = (Fraction(priced[2].figures[name].value) for name in ("model_bytes", "expert_weights_bytes"))
    tps, pps, dps, eps = degrees
    parts = {1, *counts, *(a * b * c for a, b, c in product((1, *tps), (1, *pps), (1, *dps)))}
    found = []
    for part in sorted(parts):
        told = shown(weights, GB) + (f" ÷ {part}" if part > 1 else "")
        reading = f"over {part} devices" if part > 1 else WHOLE
        found.append(Derivation(reading, weights / part, "weights ÷ devices", told))
    for ep, part in product(eps if experts else (), sorted(parts)):
        told = f"{shown(experts, GB)} ÷ {ep} + {shown(weights - experts, GB)} ÷ {part}"
        held = experts / ep + (weights - experts) / part
        found.append(Derivation(f"experts over {ep}", held, "experts ÷ ep + rest ÷ tp", told))
    return found
