"""Launch commands in a document's code blocks, each judged by `verify` on the devices that the text names.

A log that follows a command in its section is that command's: its figures are judged against the command's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final

from optimizer.audit.counts import COUNT, count, devices_counted
from optimizer.audit.deployment import Sentence, Whole
from optimizer.audit.document import MarkdownDocument, Place
from optimizer.audit.facts import Derivation, JudgedClaim
from optimizer.audit.hedges import OTHERWISE
from optimizer.audit.known_figures import claim_at
from optimizer.audit.lexicon import ONE
from optimizer.audit.statements import Role, Statement
from optimizer.audit.verdict import Verdict
from optimizer.domain.families import Family
from optimizer.errors import SpecError
from optimizer.figures.derivation_figure import Figure
from optimizer.readers.claims import Claim
from optimizer.readers.launch.problem import pose
from optimizer.readers.launch.read import read_launch
from optimizer.readers.read import Override
from optimizer.units import Dimension
from optimizer.verify.claims import ComparedClaim as Judged
from optimizer.verify.claims import judge_claim
from optimizer.verify.launch import LaunchVerdict, judge_launch

_COMMAND: Final = re.compile(
    r"\bvllm serve\b|\bvllm\.entrypoints\.|\bsglang\.launch_server\b|\bsglang serve\b|\btrtllm-serve\b"
    r"|\bpretrain_\w+\.py\b"
)
_ARGUMENT: Final = re.compile(r"[+\s]*(?:-\s+)?[\"']?(--[a-z][\w-]+(?:[=\s][\"']?[\w./:-]+)?)[\"']?,?\s*\\?\s*(?:#.*)?")
"""A line of a manifest with one flag of a command."""
_MODEL: Final = re.compile(r"[+\s]*-?\s*(?:MODEL\w*|model\w*)\s*[:=]\s*[\"']?([\w./-]+)[\"']?\s*")
_SIZED: Final = re.compile(r"--(?:tensor-parallel-size|max-model-len|tp(?:-size)?|context-length)\b")
_FENCE: Final = re.compile(r"\s*(?:>\s*)*(`{3,}|~{3,})")
_FAILED: Final = re.compile(
    r"\b(?:fail\w*|\w+Error|out of memory|oom\w*|crash\w*|dies|died|refus\w*|not enough|divisible|wrong|broken|bug"
    r"|too (?:large|long|many)|(?:does not|did not|cannot|will not|(?:doesn|didn|can|won)['’]t)\s+(?:even\s+)?"
    r"(?:start|run|fit|load|work|come up)\w*)\b",
    re.IGNORECASE,
)
_REFUSED: Final = frozenset({"--max-model-len", "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"})
"""What a launch is refused for, whatever the text says of its hardware."""
_ANY_HARDWARE: Final = "h100-sxm-8"
_SHAPES: Final = frozenset({Family.DIVISIBILITY, Family.ENGINE})
"""What breaks on every hardware."""
_NODES: Final = re.compile(
    rf"\b(both|{COUNT})\s+(?:(?!m?s\b|GB\b)[a-z][\w-]*\s+){{0,2}}?(?:node|server|host|box)(?:e?s)?\b", re.IGNORECASE
)
_OF_A_NODE: Final = 8
"""Devices of a node, at most: of racks that are one domain nobody speaks as nodes."""
_NEAR: Final = 8
"""Lines from a block within which a sentence speaks of it."""
_MOST: Final = 64
"""Commands of a document that are judged."""
_FLAGS: Final = re.compile(r"(?:tensor|pipeline)[-_]parallel|\b[tp]p[-_]size|--[tp]p\b", re.IGNORECASE)


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


def judge_launches(document: MarkdownDocument, said: Sequence[Sentence]) -> list[Launched]:
    """Every launch command in a code block, in order."""
    return [launched for block in _blocks(document) if (launched := _judged(document, block, said)) is not None][:_MOST]


def _blocks(document: MarkdownDocument) -> Iterator[tuple[int, int]]:
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
            lines = document.lines[first - 1 : number - 1]
            if any(_COMMAND.search(text) or _SIZED.search(text) for text in lines):
                yield first, number - 1


def _command_of(lines: Sequence[str]) -> list[str]:
    """The lines of a command; of a manifest, its model and its flags as those of a command, line by line."""
    model = next((match[1] for line in lines if (match := _MODEL.fullmatch(line))), None)
    if model is None or any(_COMMAND.search(line) for line in lines):
        return list(lines)
    flags = [match[1] if (match := _ARGUMENT.fullmatch(line)) else "" for line in lines]
    if any("--" in line and not flag and line.strip("-+ ") for line, flag in zip(lines, flags, strict=True)):
        return list(lines)
    engine = "python -m sglang.launch_server --model-path" if "--context-length" in " ".join(flags) else "vllm serve"
    last = max((at for at, flag in enumerate(flags) if flag), default=0)
    return [f"{engine} {model} \\", *(f"{flag} \\" for flag in flags[1:last]), flags[last]]


def _judged(document: MarkdownDocument, block: tuple[int, int], said: Sequence[Sentence]) -> Launched | None:
    first, last = block
    lines = document.lines[first - 1 : last]
    # blank lines before it keep every line's number
    text = "\n" * (first - 1) + "\n".join(_command_of(lines))
    at = next((n for n in range(first, last + 1) if _COMMAND.search(document.lines[n - 1])), first)
    line = document.lines[at - 1]
    place = Place(at, len(line) - len(line.lstrip()) + 1)
    before = [sentence for sentence in said if sentence.place.line < first]
    inside = [sentence for sentence in said if first <= sentence.place.line <= last]
    section = (inside or before)[-1].section if inside or before else ()
    device, model = (before[-1].known.device, before[-1].known.model) if before else (None, None)
    around = range(first - _NEAR, last + _NEAR + 1)
    near = [one.text for one in said if one.place.line in around and not first <= one.place.line <= last]
    failing = any(_FAILED.search(text) for text in (*near, *section))

    def found(verdict: Verdict, devices: int, note: str, judged: LaunchVerdict | None = None,
              at_flag: Place = place) -> Launched:  # fmt: skip
        if verdict.wrong:
            note = f"does not run on {device or 'any hardware'}{', as the text says' if failing else ''}: {note}"
            verdict = Verdict.UNSUPPORTED if failing else verdict
        told = " ".join(document.lines[at_flag.line - 1].split())
        statement = Statement("launch", Fraction(devices), at_flag, told, Role.STATED, 0, ONE, section=section)
        return Launched(first, last, section, JudgedClaim(statement, verdict, note=note), judged)

    devices = 0
    try:
        launch = read_launch(text, document.source)
        devices = launch.devices
        given = [Override("--hardware", ("hardware",), device or _ANY_HARDWARE)]
        given += [Override("--model", ("model",), model)] if launch.model is None and model else []
        posed = pose(launch, given)
    except SpecError as error:
        fault = error.faults[0]
        if fault.field in _REFUSED and fault.line:
            return found(Verdict.FAILS, devices, fault.message, at_flag=Place(fault.line, fault.column or 1))
        at_line = "" if devices else f"line {fault.line}, column {fault.column}: {fault.field}: "
        return found(Verdict.UNSUPPORTED, devices, f"{at_line}{fault.message}")
    judged = judge_launch(posed)
    violations = [one for one in judged.verdict.violations if device is not None or one.family in _SHAPES]
    broken = [str(violation) for violation in violations]
    at_flag = Place(*launch.places["tp"]) if broken and device is None and "tp" in launch.places else place
    for axis in ("tp", "pp"):
        # A flag may count what the engine then divides (SGLang's attention data parallelism inside tp).
        degrees = {launch.dense[axis], *(one.own.degrees[axis] for one in inside if axis in one.own.degrees)}
        stated = _stated(inside[-1], axis) if inside else []
        if stated and degrees.isdisjoint(stated) and axis in launch.places:
            broken.append(f"it gives {axis} = {launch.dense[axis]}, the text {' or '.join(map(str, stated))}")
            at_flag = Place(*launch.places[axis])
    most = _most_devices(before[-1].whole) if before else 0
    # what `dp` counts may be the text's replicas, each with as many devices as it says
    ranks = devices // launch.dense["dp"]
    if 0 < (here := _commented(document, inside)) < devices:
        most, ranks = here, devices
    if 0 < max(most, most and _OF_A_NODE * (launch.nodes or 0)) < ranks:
        broken.append(f"it starts {ranks} ranks, and {most} devices are spoken of")
        at_flag = next((Place(*launch.places[axis]) for axis in ("pp", "dp", "tp") if axis in launch.places), place)
    if broken:
        return found(Verdict.FAILS, devices, "; ".join(broken), judged, at_flag)
    if device is None:
        return found(Verdict.UNSUPPORTED, devices, "the text before it names no device that is known here")
    if launch.training:
        return found(Verdict.UNSUPPORTED, devices, "it trains: memory and times of training are not judged")
    return found(Verdict.HOLDS, devices, f"starts on {devices} of {device}", judged)


def _commented(document: MarkdownDocument, inside: Sequence[Sentence]) -> int:
    """Devices that the comments of a block say it runs on; 0 where they give none, or several numbers."""
    comments = [one for one in inside if document.lines[one.place.line - 1].lstrip().startswith("#")]
    found = {group.devices for one in comments for group in one.groups}
    found |= devices_counted(one.text for one in comments)
    return found.pop() if len(found) == 1 else 0


@lru_cache(maxsize=8)
def _most_devices(whole: Whole) -> int:
    """The most devices that anything said comes to: counted, or in so many nodes; 0 where none are counted."""
    nodes = [count(match[1]) for one in whole.said for match in _NODES.finditer(one.text)]
    return max(whole.counts | {_OF_A_NODE * number for number in nodes}) if whole.counts else 0


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
    """Degrees of an axis that the section's text gives a deployment, else the one that the document gives its model."""
    own = sentence.whole.prose.get((axis, sentence.section), [])
    given = own or (sentence.whole.prose.get((axis, None), []) if len(sentence.whole.models) == 1 else [])
    given = [one for one in given if "--" not in one.text]  # another command
    stated = list(dict.fromkeys(one.own.degrees[axis] for one in given))
    sure = (own or len(stated) == 1) and not any(OTHERWISE.search(one.text) for one in given)
    return stated if sure else []


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
