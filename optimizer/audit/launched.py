"""Launch commands in a document's code blocks, each judged by `verify` on the devices of the text; start-up logs.

A log that follows a command in its section is that command's: its figures are judged against the command's own, each
line of any other against the model and the lines before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final

from optimizer.audit.degrees import COUNT, count, devices_counted
from optimizer.audit.deployment import Sentence, Whole, size
from optimizer.audit.document import MarkdownDocument, Place
from optimizer.audit.facts import Derivation, JudgedClaim, Role, Statement
from optimizer.audit.known_figures import ROUGHLY, WHOLE, JudgedClaims, claim_at, priced_on, verdict_of, weight_shares
from optimizer.audit.lexicon import ONE, UNITS, Unit
from optimizer.audit.scope import OTHERWISE
from optimizer.audit.verdict import Verdict, plain
from optimizer.domain.families import Family
from optimizer.domain.problem import Problem
from optimizer.errors import SpecError
from optimizer.figures.derivation_figure import Figure
from optimizer.readers.catalog import load_hardware
from optimizer.readers.claims import Claim
from optimizer.readers.launch.launch import Launch
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
_WHOLE_NUMBER: Final = re.compile(r"(?<![\w.,])\d+(?![\w.]|,\d)")
_OF_HOSTS: Final = frozenset({"nodes", "node_rank", "address"})
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
_LOGGED: Final = Fraction(1, 20)
"""Share by which an engine's pages and groups may differ from bytes over bytes a token."""
_LOADED: Final = re.compile(
    r"(?:Model loading|Loading model weights) took (\d+(?:\.\d+)?) ?(GiB|GB)"
    r"|model weights take (\d+(?:\.\d+)?) ?(GiB)|Load weight end\..*?mem usage=(\d+(?:\.\d+)?) ?(GB)",
    re.IGNORECASE,
)
_AVAILABLE: Final = re.compile(
    r"(?:Available KV cache memory:|memory reserved for KV Cache is) (\d+(?:\.\d+)?) ?(GiB|GB)", re.IGNORECASE
)
_CACHED: Final = re.compile(
    r"GPU KV cache size: ([\d,]+) tokens|max_total_num_tokens=(\d+)|KV Cache is allocated\. #tokens: (\d+)"
    r"|for max tokens in paged KV cache \((\d+)\)",
    re.IGNORECASE,
)
_POOL: Final = re.compile(
    r"#tokens: \d+, (?:K size: (\d+(?:\.\d+)?) GB, V size: (\d+(?:\.\d+)?) GB|KV size: (\d+(?:\.\d+)?) GB)"
    r"|Allocated (\d+(?:\.\d+)?) GiB for max tokens in paged KV cache",
    re.IGNORECASE,
)
"""SGLang's pool of one rank, whose GB are GiB (mem_cache/memory_pool.py), and TensorRT-LLM's."""
_TOO_SMALL: Final = re.compile(
    r"max seq len \((?P<length>\d+)\),? \(?(?P<needed>\d+(?:\.\d+)?) GiB KV cache is needed,.*?"
    r"available KV cache memory \((?P<room>\d+(?:\.\d+)?) GiB\)",
    re.IGNORECASE,
)
_LONGEST: Final = re.compile(r"estimated maximum model length is (\d+)", re.IGNORECASE)
"""vLLM's v1/core/kv_cache_utils.py check_enough_kv_cache_memory."""
_CONCURRENT: Final = re.compile(r"Maximum concurrency for ([\d,]+) tokens per request: (\d+(?:\.\d+)?)x", re.IGNORECASE)


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
    at_flag = _blamed(launch, broken, [one.text for one in said if one not in inside]) or place
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


def _blamed(launch: Launch, broken: Sequence[str], texts: Sequence[str]) -> Place | None:
    """The flag that is wrong: of those whose value a violation names, the first that the text does not give."""
    named, told = ({*_WHOLE_NUMBER.findall(" ".join(one))} for one in (broken, texts))
    flags = [one for one in launch.given if one.text in named and one.flag.carries not in _OF_HOSTS]
    flag = min(flags, key=lambda one: one.text in told, default=None)
    return Place(*flag.word.start) if flag else None


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


def _own_launch(sentence: Sentence, launches: Sequence[Launched]) -> Launched | None:
    """The command whose log a line is: the last one before it in its section."""
    # What stands in a sentence may be any command's.
    before = [one for one in launches if sentence.code and one.last < sentence.place.line
              and (one.section == sentence.section or len(launches) == 1)]  # fmt: skip
    judged = before[-1].verdict if before else None
    if judged is None:
        return None
    hardware, tp = judged.verdict.problem.hardware.name, judged.verdict.layout.tp
    same = sentence.known.device in {None, hardware} and sentence.known.degrees.get("tp", tp) == tp
    return before[-1] if same else None


def _of_launch(
    sentence: Sentence, match: re.Match[str], name: str, value: Fraction, launch: Launched | None,
    unit: Unit = ONE, digits: str = "",
) -> JudgedClaim | None:  # fmt: skip
    """A line's figure against that of the command before it."""
    half = unit.scale / 2 / 10 ** len(digits.partition(".")[2]) if "." in digits else Fraction(0)
    judged = None if launch is None else launch.judge(name, value, half, match[0])
    if judged is None or not judged.readings:
        return None
    verdict, readings, note = of_log(judged)
    return claim_at(sentence, match, name, value, unit, verdict, readings, note or "of the command before it")


def _hybrid(problem: Problem) -> bool:
    """Whether layers keep their cache in several ways: what tokens a log means then changed with vllm issue 51041."""
    return len({block.attention for block in problem.model.blocks.values() if block.attention is not None}) > 1


def _loaded(sentence: Sentence, match: re.Match[str], tp: int, pp: int) -> JudgedClaims:
    """Weights of a device against every share of the model that the degrees, or the devices, may give."""
    number, unit_text = (found for found in match.groups() if found)
    known, value = sentence.known, size(number, unit_text)
    ep = known.degrees.get("ep")
    degrees = ((tp,), (pp,), (), (ep,) if ep else ())
    shares = weight_shares(known.model, known.precision, degrees, (known.devices,) if known.devices else ())
    # a rank of several holds a part
    held = [one for one in shares if tp * pp == 1 or one.reading != WHOLE]
    readings = sorted(held, key=lambda one: abs(one.value - value))
    if not readings:
        return
    nearest = readings[0].value
    near = abs(nearest - value) <= nearest * ROUGHLY
    # A precision that nobody names may be half as wide.
    if known.precision or abs(nearest / 2 - value) > nearest * ROUGHLY:
        note, unit = "" if near else "no share of the model's weights is this", UNITS[unit_text]
        yield claim_at(sentence, match, "weights", value, unit, verdict_of(right=near), readings, note)


def _pool(text: str) -> Fraction | None:
    """Bytes of the pool that SGLang allocates for keys and values."""
    sizes = _POOL.search(text)
    return None if sizes is None else sum((size(part, "GiB") for part in sizes.groups() if part), Fraction(0))


def _refused(sentence: Sentence, match: re.Match[str], tp: int, pp: int) -> JudgedClaims:
    """What a sequence needs against the bytes of its tokens, and the longest that is told against both."""
    priced = priced_on(sentence.known, tp)
    if priced is None:
        return
    length, needed = int(match["length"]), size(match["needed"], "GiB")
    each = Fraction(priced[2].figures["kv_cache_bytes_per_token"].value) / pp
    # 0.14 and 0.15 ask one stage for the layers of all (issue 32105)
    sizes = [each * layers * bits / 16 for bits in (16, 8) for layers in {1, pp}]
    readings = [Derivation("bytes of its tokens", one * length, "tokens · bytes of a token",
                           f"{length:,} · {plain(one)}") for one in sizes]  # fmt: skip
    readings.sort(key=lambda one: abs(one.value - needed))
    near = abs(readings[0].value - needed) <= readings[0].value * _LOGGED
    open_one = not near and (_hybrid(priced[0]) or pp > 1)
    verdict = Verdict.UNSUPPORTED if open_one else verdict_of(right=near)
    yield claim_at(sentence, match, "kv_cache_per_sequence", needed, UNITS["GiB"], verdict, readings)


def _longest(sentence: Sentence, match: re.Match[str], refused: re.Match[str], tp: int) -> JudgedClaims:
    """The longest that would fit against what one needs, and what there is."""
    priced = priced_on(sentence.known, tp)
    if priced is None or _hybrid(priced[0]):
        return
    told = f"{refused['room']} GiB ÷ {refused['needed']} GiB · {refused['length']}"
    value = size(refused["room"], "GiB") / size(refused["needed"], "GiB") * int(refused["length"])
    reading = Derivation("of what one needs", value, "room ÷ needed · tokens", told)
    right = abs(value - int(match[1])) <= value * _LOGGED
    yield claim_at(
        sentence, match, "longest_context_tokens", Fraction(match[1]), ONE, verdict_of(right=right), [reading]
    )


def _concurrent(sentence: Sentence, match: re.Match[str], cached: Fraction, tp: int) -> JudgedClaims:
    """Concurrency against the tokens of the cache."""
    length, times = int(match[1].replace(",", "")), Fraction(match[2])
    readings = [Derivation("tokens over the length", cached / length, "kv_cache_tokens ÷ max_model_len",
                           f"{plain(cached)} ÷ {match[1]}")]  # fmt: skip
    near = abs(cached / length - times) <= max(times * _LOGGED, Fraction(1, 100))
    priced = priced_on(sentence.known, tp)
    # Where layers keep their cache in several ways, a sequence takes blocks of each that no line tells.
    open_one = not near and priced is not None and _hybrid(priced[0])
    verdict = Verdict.UNSUPPORTED if open_one else verdict_of(right=near)
    yield claim_at(sentence, match, "max_concurrency", times, ONE, verdict, readings)


def judge_log(found: Sequence[Sentence], launches: Sequence[Launched] = ()) -> JudgedClaims:
    """Lines of a start-up log, each against the command before it, else the model and the lines before it."""
    room = cached = pooled = refused = None
    for sentence in found:
        launch = _own_launch(sentence, launches)
        text, known, every = sentence.text, sentence.known, sentence.whole.every("tp")
        pp = known.degrees.get("pp", 1)
        tp = known.degrees.get("tp") or (every[0] if len(every) == 1 else 1 if known.devices in {1, pp} else None)
        if (match := _TOO_SMALL.search(text)) is not None and tp:
            refused = match
            yield from _refused(sentence, match, tp, pp)
        if (match := _LONGEST.search(text)) is not None and refused is not None and tp:
            yield from _longest(sentence, match, refused, tp)
        if (match := _LOADED.search(text)) is not None:
            room = cached = pooled = None
            yield from _loaded(sentence, match, tp, pp) if tp else ()
        if (match := _AVAILABLE.search(text)) is not None:
            room = size(match[1], match[2])
            own = _of_launch(sentence, match, "kv_cache_room_bytes", room, launch, UNITS[match[2]], match[1])
            if own is not None:
                yield own
                continue
            beyond = known.device is not None and room > load_hardware(known.device).device.memory
            verdict = Verdict.IMPOSSIBLE if beyond else Verdict.UNSUPPORTED
            note = "memory left for the cache"
            yield claim_at(sentence, match, "kv_cache_room_bytes", room, UNITS[match[2]], verdict, (), note)
        if (match := _CACHED.search(text)) is not None:
            cached = Fraction(next(filter(None, match.groups())).replace(",", ""))
            own = _of_launch(sentence, match, "kv_cache_tokens", cached, launch)
            if own is not None:
                yield own
                continue
            if match[2] and pooled is not None:
                same = Derivation("tokens of the pool", pooled, "tokens of the pool that was allocated", plain(pooled))
                verdict = verdict_of(right=pooled == cached)
                yield claim_at(sentence, match, "kv_cache_tokens", cached, ONE, verdict, [same])
                continue
            if (own_pool := _pool(text)) is not None:
                room, pooled = own_pool, cached
            priced = priced_on(known, tp) if tp and room else None
            if priced is None or room is None:
                yield claim_at(sentence, match, "kv_cache_tokens", cached, ONE, Verdict.UNSUPPORTED)
                continue
            each = Fraction(priced[2].figures["kv_cache_bytes_per_token"].value) / pp
            options = [Derivation(f"a cache of {bits} bits", room * 16 / bits / each, "room ÷ bytes of a token",
                                  f"{plain(room)} ÷ {plain(each * bits / 16)}") for bits in (16, 8)]  # fmt: skip
            options.sort(key=lambda one: abs(one.value - cached))
            near = abs(options[0].value - cached) <= options[0].value * _LOGGED
            # attention data parallelism divides heads among fewer ranks than tp
            open_one = _hybrid(priced[0]) or (pooled is not None and known.degrees.get("dp", 1) > 1)
            verdict = Verdict.UNSUPPORTED if open_one and not near else verdict_of(right=near)
            yield claim_at(sentence, match, "kv_cache_tokens", cached, ONE, verdict, options)
        if (match := _CONCURRENT.search(text)) is not None and cached is not None:
            yield from _concurrent(sentence, match, cached, tp or 1)
