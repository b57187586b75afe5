"""Launch commands in a document's code blocks, each judged by `verify` on the devices that the text names.

A log that follows a command in its section is that command's: its figures are judged against the command's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from optimizer.audit.deployment import Known, Sentence
from optimizer.audit.document import Document, Place
from optimizer.audit.facts import Derivation, JudgedClaim
from optimizer.audit.known_figures import claim_at
from optimizer.audit.lexicon import ONE
from optimizer.audit.statements import Role, Statement
from optimizer.audit.verdict import Verdict
from optimizer.errors import SpecError
from optimizer.figures.derivation_figure import Figure
from optimizer.readers.claims import Claim
from optimizer.readers.launch.launch import Launch
from optimizer.readers.launch.problem import pose
from optimizer.readers.launch.read import read_launch
from optimizer.readers.read import Override
from optimizer.units import Dimension
from optimizer.verify.claims import JudgedClaim as Judged
from optimizer.verify.claims import judge_claim
from optimizer.verify.launch import LaunchVerdict, judge_launch

_COMMAND: Final = re.compile(
    r"\bvllm serve\b|\bvllm\.entrypoints\.|\bsglang\.launch_server\b|\bsglang serve\b|\btrtllm-serve\b"
)
_FENCE: Final = re.compile(r"\s*(?:>\s*)*(`{3,}|~{3,})")
_FAILED: Final = re.compile(
    r"\b(?:fails?|failed|errors?|out of memory|oom|crash\w*|dies|cannot|can't|won't|not enough|too large|instead of|"
    r"do(?:es)? not|don't|doesn't|refused|wrong|broken|bug)\b",
    re.IGNORECASE,
)
_OTHERWISE: Final = re.compile(
    r"\b(?:not|if|would|could|option\w*|alternativ\w*|reject\w*|later|earlier|previous\w*|old|was|were|tried|instead"
    r"|measured|compared?|versus|vs|then|now|until|before|after|from|pool|both|plan|should|may|can|prefill|decode)\b|n['’]t\b",
    re.IGNORECASE,
)
"""Words of a sentence whose degrees may be another deployment's than the command's."""
_A_REPLICA: Final = re.compile(r"\b(?:a|each|every|one|per|the)\s+(?:replica|instance)\b", re.IGNORECASE)
_NEAR: Final = 8
"""Lines from a block within which a sentence speaks of it."""
_MOST: Final = 64
"""Commands of a document that are judged."""


@dataclass(frozen=True)
class Launched:
    """A command of a document: its first and last line, and what became of it; None where it could not be judged."""

    first: int
    last: int
    section: tuple[str, ...]
    claim: JudgedClaim
    verdict: LaunchVerdict | None

    def judge(self, name: str, value: Fraction, half: Fraction, text: str) -> Judged | None:
        """A figure of the command's log against the command's own; None where it has no such figure."""
        if self.verdict is None or not self.verdict.verdict.feasible:
            return None
        own = self.verdict.verdict
        dimension = Dimension.BYTES if name.endswith("bytes") else Dimension.COUNT
        claim = Claim(name, value, dimension, half, half, Fraction(1), "", text)
        figures: Mapping[str, Figure] = own.figures
        return judge_claim(claim, dict(figures), own.problem, own.layout)


def judge_launches(document: Document, said: Sequence[Sentence]) -> list[Launched]:
    """Every launch command in a code block, in order."""
    return [launched for block in _blocks(document) if (launched := _judged(document, block, said)) is not None][:_MOST]


def _blocks(document: Document) -> Iterator[tuple[int, int]]:
    """First and last line of each code block that holds a command, counted from 1."""
    opened: tuple[str, int] | None = None
    for number, line in enumerate(document.lines, 1):
        fence = _FENCE.match(line)
        if fence is None:
            continue
        if opened is None:
            opened = fence[1], number + 1
        elif fence[1][0] == opened[0][0] and len(fence[1]) >= len(opened[0]):
            first, opened = opened[1], None
            if any(_COMMAND.search(text) for text in document.lines[first - 1 : number - 1]):
                yield first, number - 1


def _judged(document: Document, block: tuple[int, int], said: Sequence[Sentence]) -> Launched | None:
    first, last = block
    # blank lines before it keep every line's number
    text = "\n" * (first - 1) + "\n".join(document.lines[first - 1 : last])
    at = next(n for n in range(first, last + 1) if _COMMAND.search(document.lines[n - 1]))
    line = document.lines[at - 1]
    place = Place(at, len(line) - len(line.lstrip()) + 1)
    before = [sentence for sentence in said if sentence.place.line < first]
    inside = [sentence for sentence in said if first <= sentence.place.line <= last]
    section = (inside or before)[-1].section if inside or before else ()
    known = before[-1].known if before else Known()
    around = range(first - _NEAR, last + _NEAR + 1)
    near = [one.text for one in said if one.place.line in around and not first <= one.place.line <= last]

    def found(
        verdict: Verdict, devices: int, note: str, judged: LaunchVerdict | None = None, where: Place = place
    ) -> Launched:
        told = " ".join(document.lines[where.line - 1].split())
        statement = Statement("launch", Fraction(devices), where, told, Role.STATED, 0, ONE, section=section)
        return Launched(first, last, section, JudgedClaim(statement, verdict, note=note), judged)

    try:
        launch = read_launch(text, document.source)
    except SpecError as error:
        fault = error.faults[0]
        named = "" if fault.field is None else f"{fault.field}: "
        return found(Verdict.UNSUPPORTED, 0, f"line {fault.line}, column {fault.column}: {named}{fault.message}")
    if known.device is None:
        return found(Verdict.UNSUPPORTED, launch.devices, "the text before it names no device that is known here")
    given = [Override("--hardware", ("hardware",), known.device)]
    try:
        posed = pose(launch, given)
    except SpecError as error:
        fault = error.faults[0]
        if fault.field == "--max-model-len" and fault.line and not any(_FAILED.search(text) for text in near):
            return found(Verdict.FAILS, launch.devices, fault.message, where=Place(fault.line, fault.column or 1))
        return found(Verdict.UNSUPPORTED, launch.devices, fault.message)
    if launch.training:
        return found(Verdict.UNSUPPORTED, launch.devices, "it trains: memory and times of training are not judged")
    judged = judge_launch(posed)
    broken = [str(violation) for violation in judged.verdict.violations]
    at_flag = place
    most = max({known.devices or 0, *(before[-1].whole.counts if known.devices else ())})
    others = {axis: stated for axis in ("tp", "pp") if inside and (stated := _stated(inside[-1], axis))}
    for axis, stated in others.items():
        # A flag may count what the engine then divides (SGLang's attention data parallelism inside tp).
        degrees = {launch.dense[axis], *(one.own.degrees[axis] for one in inside if axis in one.own.degrees)}
        if degrees.isdisjoint(stated) and axis in launch.places:
            broken.append(f"it gives {axis} = {launch.dense[axis]}, the text {' or '.join(map(str, stated))}")
            at_flag = Place(*launch.places[axis])
    replica = {one.own.devices for one in said if _A_REPLICA.search(one.text) and not _OTHERWISE.search(one.text)} - {
        None
    }
    if len(replica) == 1 and launch.devices not in replica:
        broken.append(f"it starts {launch.devices} ranks, and a replica has {replica.copy().pop()} devices")
        at_flag = Place(*launch.places["tp"]) if "tp" in launch.places else place
    short = _too_short(launch, before, document, block)
    if short is not None:
        broken.append(short[0])
        at_flag = short[1]
    if most and launch.devices > most:
        broken.append(f"it starts {launch.devices} ranks, and {most} devices are spoken of")
    where = f"on {launch.devices} of {known.device}"
    if not broken:
        return found(Verdict.HOLDS, launch.devices, f"starts {where}", judged)
    told = "; ".join(broken)
    if any(_FAILED.search(text) for text in near):
        return found(Verdict.UNSUPPORTED, launch.devices, f"does not run {where}, as the text says: {told}", judged)
    return found(Verdict.FAILS, launch.devices, f"does not run {where}: {told}", judged, at_flag)


_WINDOW: Final = re.compile(r"\bcontext\s+(?:window|length)\s+of\s+(\d{1,3}(?:,\d{3})+|\d{4,7})\b", re.IGNORECASE)
"""A context that the text asks for."""
_LENGTH_FLAG: Final = re.compile(r"--(?:max[-_]model[-_]len|context[-_]length|max[-_]seq[-_]len)")
_FLAGS: Final = re.compile(r"(?:tensor|pipeline)[-_]parallel|\b[tp]p[-_]size|--[tp]p\b", re.IGNORECASE)


def _too_short(
    launch: Launch, before: Sequence[Sentence], document: Document, block: tuple[int, int]
) -> tuple[str, Place] | None:
    """What a command says of a context that the text before it asks more of, and where."""
    asked = {int(match[1].replace(",", "")) for one in before for match in _WINDOW.finditer(one.text)}
    longest = launch.operating.max_model_len
    if len(asked) != 1 or longest is None or longest >= min(asked):
        return None
    line = next((n for n in range(block[0], block[1] + 1) if _LENGTH_FLAG.search(document.lines[n - 1])), block[0])
    return f"it holds {longest:,} tokens a sequence, and the text asks for {min(asked):,}", Place(line, 1)


def judge_code(said: Sequence[Sentence], launches: Sequence[Launched]) -> Iterator[JudgedClaim]:
    """Degrees of a log or a configuration against those of the text; a command's are judged with it."""
    for one in said:
        if (
            one.code
            and _FLAGS.search(one.text)
            and not any(launch.first <= one.place.line <= launch.last for launch in launches)
        ):
            for axis in {"tp", "pp"} & set(one.own.degrees):
                value, stated = one.own.degrees[axis], _stated(one, axis)
                if stated and value not in stated and value not in one.whole.told(axis):
                    match = re.search(rf"\b{value}\b", one.text) or re.search(r"\d", one.text)
                    note = f"the text gives {' or '.join(map(str, stated))}"
                    if match is not None:
                        yield claim_at(one, match, axis, Fraction(value), ONE, Verdict.FAILS, (), note)


def _stated(sentence: Sentence, axis: str) -> list[int]:
    """Degrees of an axis that the section's text gives a deployment, else the one degree that the document gives it."""
    prose = sentence.whole.prose
    own = prose.get((axis, sentence.section), [])
    given = own or prose.get((axis, None), [])
    if any(_OTHERWISE.search(one.text) for one in given):
        return []
    stated = list(dict.fromkeys(one.own.degrees[axis] for one in given))
    return stated if own or len(stated) == 1 else []


def of_log(found: Judged) -> tuple[Verdict, list[Derivation], str]:
    """What `verify` says of a figure, as the audit says it."""
    readings = [
        Derivation(one.name, Fraction(own.value), own.formula, own.substituted or own.formula)
        for one in sorted(found.readings, key=lambda one: not one.holds)
        for own in (one.figure,)
    ]
    verdict = Verdict(str(found.verdict))
    # a true reading under another release of the engine is true: the log names none
    return (Verdict.HOLDS if verdict is Verdict.AMBIGUOUS else verdict), readings, found.note
