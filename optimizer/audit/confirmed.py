"""Figures that the document leaves open, judged by the one catalog model that it names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from optimizer.audit.deployment import Sentence, after_model, model_of, without_names
from optimizer.audit.facts import Claims, Facts, JudgedClaim
from optimizer.audit.judge import COUNTED, Judge
from optimizer.audit.known_figures import ROUGHLY, WORKLOAD
from optimizer.audit.partial import resolve
from optimizer.audit.statements import AXES, Role, Statement
from optimizer.audit.verdict import Verdict
from optimizer.errors import SpecError

_FEWEST_PARAMETERS: Final = 10**6
_OF_THE_MODEL: Final = {"parameters", "active_parameters", "parameters_per_expert"}
"""Figures that no layout changes."""
_OF_A_PART: Final = re.compile(
    r"\b(?:embedding\w*|head|mtp|modules?|layers?|blocks?|vision|encoder|draft\w*|lora|adapters?|each|experts?|shared"
    r"|dense|attention|stages?|rank|gpu|without|distill\w*|not|if|would|claim\w*|wrong\w*)\b",
    re.IGNORECASE,
)
_OTHER: Final = re.compile(r"\b(?!MoE\b)[A-Z][a-zA-Z]|\b(?:which|whose|than|versus|vs|unlike|while|whereas|but)\b|^$")
"""Between a model's name and a figure: another name, or words by which the figure may be of something else."""
_NAME: Final = re.compile(r"\b[A-Z][A-Za-z]+-?[A-Za-z]?\d")
"""A name with a number, as models have."""
_ITEM: Final = re.compile(
    r"\W*(?:total |active |activated )?param\w*\W+[\d.,]+ ?(?:[BT]|billion|trillion)?\W*", re.IGNORECASE
)
"""All that an item says: ``Active parameters: 37B``."""


def judge_named(facts: Facts, judged: Sequence[JudgedClaim], found: Sequence[Sentence]) -> list[JudgedClaim]:
    """What the document's facts leave open, judged by the one catalog model that it names.

    Layout, precision and device may be others than it seems, so that a figure is confirmed; a figure of the model alone
    is refuted as well, where its clause or sentence is about the model, or where it is all that an item of a list says.
    """
    models = {sentence.own.model for sentence in found if sentence.own.model}
    devices = {sentence.own.device for sentence in found if sentence.own.device}
    if len(models) != 1 or not any(item.verdict is Verdict.UNSUPPORTED for item in judged):
        return list(judged)
    given = {
        "model": models.pop(), "hardware": devices.pop() if len(devices) == 1 else "h100-sxm-8",
        "devices": int(facts.one("devices") or 1), "workload": WORKLOAD,
    }  # fmt: skip
    if not any(facts.values(name) for name in ("devices", *AXES)):
        facts = Facts((), {"devices": Fraction(1)})
    try:
        judge = Judge(facts, Claims(item.statement for item in judged), resolve(given), {})
    except SpecError:
        return list(judged)
    return [_confirmed(judge, item, str(given["model"]), found) if item.verdict is Verdict.UNSUPPORTED else item
            for item in judged]  # fmt: skip


def _is_about(claim: Statement, model: str, found: Sequence[Sentence]) -> bool:
    """Whether a figure is said of the model: no other name stands between its name and the figure."""
    if model_of(claim.near) == model:
        return True
    text = claim.text.strip()
    for sentence in found:
        start = sentence.text.find(text) if sentence.segment == claim.segment else -1
        if start >= 0 and sentence.own.model == model:
            return _OTHER.search(after_model(sentence.text[:start])) is None
        if start >= 0 and sentence.item and sentence.own.model is None and sentence.known.model == model:
            named = any(_NAME.search(without_names(heading)) for heading in sentence.section)
            return not named and _ITEM.fullmatch(sentence.text) is not None
    return False


def _confirmed(judge: Judge, item: JudgedClaim, model: str, found: Sequence[Sentence]) -> JudgedClaim:
    claim = item.statement
    again = judge.judge(claim) if claim.name in COUNTED else None
    if again is None or again.verdict in {Verdict.UNSUPPORTED, Verdict.IMPOSSIBLE}:
        return item
    if again.verdict is Verdict.FAILS:
        own = claim.name in _OF_THE_MODEL and claim.role is Role.STATED and _is_about(claim, model, found)
        own &= claim.name == "parameters_per_expert" or _OF_A_PART.search(claim.near) is None
        others = (reading for name in _OF_THE_MODEL for reading in judge.known(name)[0])
        near = any(abs(one.value - claim.value) <= one.value * ROUGHLY for one in others)
        return again if own and not near and claim.value >= _FEWEST_PARAMETERS else item
    return again
