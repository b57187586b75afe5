"""What every claim of a deployment is made of: the reference's figures of the facts, and the claim in its place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from optimizer.audit.deployment import Facts, Sentence
from optimizer.audit.facts import Derivation, JudgedClaim
from optimizer.audit.lexicon import Unit
from optimizer.audit.statements import Role, Statement
from optimizer.audit.verdict import Verdict

if TYPE_CHECKING:
    from optimizer.domain.layout import Layout
    from optimizer.domain.problem import Problem
    from optimizer.verify import Verdict as Priced
_CONTEXT: Final = 256
"""Prompt tokens at which a rate is bounded: as short as prompts are, so that the bound errs on the author's side."""


def priced_on(
    facts: Facts, devices: int, *, data_parallel: bool = False, ep: int = 0
) -> tuple[Problem, Layout, Priced] | None:
    """The reference's figures of the known model on so many devices, all tensor parallel or all data parallel."""
    if facts.model is None or facts.device is None or not 0 < devices <= 4096:
        return None
    return _price(facts.model, facts.device, facts.precision, devices, data_parallel, ep)


@lru_cache(maxsize=256)
def _price(
    model: str,
    device: str,
    precision: str | None,
    devices: int,
    data_parallel: bool,  # noqa: FBT001 - the cache's key
    ep: int,
) -> tuple[Problem, Layout, Priced] | None:
    from optimizer.audit.partial import resolve  # noqa: PLC0415 - the reference loads only where there is a claim
    from optimizer.domain.layout import WrittenLayout  # noqa: PLC0415 - the same
    from optimizer.errors import SpecError  # noqa: PLC0415 - the same
    from optimizer.verify import judge_layout  # noqa: PLC0415 - the same

    given = {
        "model": model, "hardware": device, "devices": devices,
        "workload": {"kind": "serving", "phase": "decode", "input_tokens": _CONTEXT, "output_tokens": _CONTEXT},
    }  # fmt: skip
    degrees = {"dp" if data_parallel or ep else "tp": devices} | ({"ep": ep} if ep else {})
    try:
        problem = resolve(given)
        if precision is not None and not problem.precision.weights.startswith(precision):
            problem = resolve({**given, "precision": {"weights": precision}})
        layout = WrittenLayout.model_validate(degrees).resolve(experts=problem.model.moe is not None)
        verdict = judge_layout(problem, layout)
    except (SpecError, ValueError):
        return None
    return (problem, layout, verdict) if verdict.evaluation is not None else None


def judged_at(
    sentence: Sentence, match: re.Match[str], name: str, value: Fraction, unit: Unit, verdict: Verdict,
    readings: Sequence[Derivation], note: str = "",
) -> JudgedClaim:  # fmt: skip
    """The claim that `match` makes, placed; what stands in quotation marks accuses no one."""
    statement = Statement(name, value, sentence.at(match.start()), " ".join(match[0].split()), Role.STATED,
                          sentence.segment, unit, section=sentence.section, near=sentence.text)  # fmt: skip
    before = sentence.text[: match.start()]
    if verdict.wrong and (before.count('"') % 2 or before.count("“") > before.count("”")):
        verdict, note = Verdict.UNSUPPORTED, f"quoted; taken for the document's own it {verdict}"
    holds = [number == 0 and verdict is Verdict.HOLDS for number in range(len(readings))]
    return JudgedClaim(statement, verdict, readings[0] if readings else None,
                       tuple(zip(readings, holds, strict=True)), note)  # fmt: skip


BETTER_NOT: Final = re.compile(
    r"\b(?:not|never|cannot|impossible|beyond|if|in theory|theoretical\w*|roofline|ceiling|bounds?)\b|n['’]t\b",
    re.IGNORECASE,
)
