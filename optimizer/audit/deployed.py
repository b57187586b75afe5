"""Claims of a deployment that the reference judges: does it fit, is the rate possible, do degrees give the devices.

Every figure is `verify`'s, of the problem that the sentence and those before it name; every bound is a physical one.
A claim is wrong only where no reading gives it: sizes as authors round them, every convention of the degrees.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from optimizer.audit import lexicon
from optimizer.audit.contradictions import Contradiction
from optimizer.audit.deployment import COUNT, DEVICES, SIZE, Facts, Sentence, count, size
from optimizer.audit.facts import Derivation, JudgedClaim
from optimizer.audit.lexicon import ONE, UNITS, Unit
from optimizer.audit.verdict import Verdict, plain, shown
from optimizer.readers.catalog import load_hardware

if TYPE_CHECKING:
    from optimizer.domain.layout import Layout
    from optimizer.domain.problem import Problem
    from optimizer.verify import Verdict as Priced
from optimizer.audit.deployed_claim import BETTER_NOT, judged_at, priced_on
from optimizer.audit.deployed_degrees import (
    degrees_give,
    devices_of_a_node,
    experts_held,
    nodes_give,
    said_of_the_whole,
)

_GB: Final = UNITS["GB"]
_MS: Final = UNITS["ms"]
_RATE: Final = Unit("tokens/s", Fraction(1), lexicon.PER_SECOND)
_ROUGHLY: Final = Fraction(1, 8)
"""Share by which authors' sizes of weights differ from exact ones: embeddings left out, buffers put in, a
parameter count rounded to the model's name. Assumed: a share with another degree is off by a half at least."""
_UNSURE: Final = re.compile(
    r"\b(?:not|no|never|neither|nor|cannot|unless|until|if we|too (?:big|large|much)|exceeds?|more than|would need|"
    r"needs? (?:at least|more)|fails?|out of memory|oom|offload\w*|won't|nothing|claim\w* by|wrong\w*"
    r"|impossible|without)\b"
    r"|n['’]t\b|≠|>|✗|❌",
    re.IGNORECASE,
)
_FITS: Final = re.compile(
    r"\b(?:fits?|fitted|holds?|loads?|serves?|serve it|keeps?|runs?|deploys?|hosts?|spread over|is enough for)\b",
    re.IGNORECASE,
)
_SURELY_FITS: Final = re.compile(r"\b(?:fits?|fitted)\b", re.IGNORECASE)
_THE_MODEL: Final = re.compile(
    r"\b(?:weights|checkpoint|parameters|it|model|unquanti[sz]ed|the build)\b", re.IGNORECASE
)
_INTO: Final = re.compile(
    r"\bfits?\s+(?:comfortably\s+|easily\s+|just\s+)?(?:in(?:to)?|on|within)?\s*"
    r"(?:its|the|our|their|a|these)?\s*(\d[\d,.]*)\s*(GB|GiB|TB)\b",
    re.IGNORECASE,
)
_TIMES_SIZE: Final = re.compile(rf"({COUNT})\s*(?:{DEVICES})?\s*[×x*]\s*(\d+)\s*(GB|GiB)\b", re.IGNORECASE)


def _room(facts: Facts, sentence: Sentence) -> tuple[Fraction, str, int] | None:
    """Bytes of the devices that a sentence speaks of, how they come about, and where they are named."""
    into = _INTO.search(sentence.text)
    if into is not None:
        return size(into[1], into[2]), into[0].split()[-2] + " " + into[2], into.start(1)
    written = _TIMES_SIZE.search(sentence.text)
    if len({(group.devices, group.device) for group in sentence.groups}) == 1:
        group = sentence.groups[0]
        known = Fraction(load_hardware(group.device).device.memory)
        each = min(known, group.memory or facts.memory or known)
        # A variant with more memory than the catalog's is taken at its word.
        each = group.memory if group.memory and group.memory > known else each
        if written is not None and count(written[1]) == group.devices:
            each = min(each, size(written[2], written[3]))
        return group.devices * each, f"{group.devices} × {shown(each, _GB)}", group.start
    if written is not None and not sentence.groups:
        each = size(written[2], written[3])
        return count(written[1]) * each, f"{written[1]} × {shown(each, _GB)}", written.start()
    return None


def _fits(sentence: Sentence) -> Iterator[JudgedClaim]:
    """``The 700 GB fit 8 × H100``; ``FP8 weights run on one H100``: the need against the memory of the devices."""
    text = sentence.text
    verb = _FITS.search(text)
    if verb is None or _UNSURE.search(text):
        return
    found = _room(sentence.known, sentence)
    if found is None:
        return
    room, told, at = found
    surely = _SURELY_FITS.search(text)
    before = min(at, surely.start() + 4) if surely else 0
    stated = [match for match in SIZE.finditer(text) if match.end() <= before
              and not re.match(rf"\s*(?:per|each|/|a)\b|\s*{DEVICES}", text[match.end():])
              and size(match[1], match[2]) != room]  # fmt: skip
    if stated:
        written = stated[-1]
        need = size(written[1], written[2])
        formula, numbers = "memory of the devices", told
    else:
        priced = priced_on(sentence.known, 1)
        if priced is None or not (_THE_MODEL.search(text) or sentence.own.model or re.search(r"\b\d+B\b", text)):
            return
        if sentence.known.precision is None:
            return
        written, need = verb, Fraction(priced[2].figures["model_bytes"].value)
        formula, numbers = "devices × memory", told
    lack = need > room * Fraction(101, 100)
    verdict = Verdict.FAILS if lack else Verdict.HOLDS
    note = f"{shown(need, _GB)} of weights {'do not fit' if lack else 'fit'} in {told} = {shown(room, _GB)}"
    yield judged_at(
        sentence, written, "weights_total", need, _GB, verdict, [Derivation("room", room, formula, numbers)], note
    )


def _row_fits(sentence: Sentence) -> Iterator[JudgedClaim]:
    """A row whose column says that it fits."""
    cells = {label.lower(): cell for label, cell in sentence.cells.items()}
    said = next((cell for label, cell in cells.items() if re.fullmatch(r"fits?\??|feasible|ok\??", label)), None)
    if said is None or not re.match(r"yes|y\b|✓|✅|ok|true|fits", said[0], re.IGNORECASE):
        return

    def bytes_of(pattern: str) -> tuple[Fraction, re.Match[str]] | None:
        for label, (text, _) in cells.items():
            match = SIZE.search(text)
            if re.search(pattern, label) and match:
                return size(match[1], match[2]), match
        return None

    need, total, each = (
        bytes_of(r"weights|model size|checkpoint|needed"),
        bytes_of(r"total (?:memory|hbm|vram)|capacity"),
        bytes_of(r"memory (?:per|/) ?gpu|per[- ]gpu memory|hbm per"),
    )
    devices = next(
        (
            int(text)
            for label, (text, _) in cells.items()
            if re.fullmatch(r"gpus?|devices|cards", label) and text.isdigit()
        ),
        None,
    )
    product = devices * each[0] if devices and each else None
    rooms = [value for value in (total[0] if total else None, product) if value is not None]
    if need is None or not rooms:
        return
    verdict = Verdict.FAILS if need[0] > max(rooms) else Verdict.HOLDS
    note = f"{shown(need[0], _GB)} against {shown(max(rooms), _GB)}"
    at = re.search(re.escape(need[1][0]), sentence.text) or need[1]
    yield judged_at(sentence, at, "weights_total", need[0], _GB, verdict,
                [Derivation("room", max(rooms), "devices × memory", plain(max(rooms)))], note)  # fmt: skip


def _row_devices(sentence: Sentence) -> Iterator[JudgedClaim]:
    """A row's devices against its replicas and degrees, or against its nodes and the devices of one."""
    cells = {label.lower(): text.replace(",", "") for label, (text, _) in sentence.cells.items()}
    found: dict[str, int] = {}
    for name, pattern in _COLUMNS:
        values = [int(text) for label, text in cells.items() if pattern.fullmatch(label) and text.isdigit()]
        if len(values) == 1:
            found[name] = values[0]
    for parts in (("replicas", "tp", "pp"), ("nodes", "per_node")):
        given = [name for name in parts if name in found]
        if len(given) < 2 or "devices" not in found or ("dp" in found and "replicas" in given):
            continue
        right = Fraction(1)
        for name in given:
            right *= found[name]
        at = re.search(rf"\b{found['devices']}\b(?=;|$)", sentence.text)
        if right and at is not None:
            reading = Derivation(
                "the row's own", right, " × ".join(given), " × ".join(str(found[name]) for name in given)
            )
            verdict = Verdict.HOLDS if right == found["devices"] else Verdict.FAILS
            yield judged_at(sentence, at, "devices", Fraction(found["devices"]), ONE, verdict, [reading])


_COLUMNS: Final = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (
        ("devices", rf"(?:total |number of )?{DEVICES}(?: total| needed)?"),
        ("replicas", "(?:number of )?(?:replicas|instances|copies)"),
        ("tp", r"tp(?:[-_ ]size)?|tensor[-_ ]parallel\w*(?: size)?"),
        ("pp", r"pp(?:[-_ ]size)?|pipeline[-_ ]parallel\w*(?: size)?"),
        ("dp", r"dp(?:[-_ ]size)?|data[-_ ]parallel\w*(?: size)?"),
        ("nodes", "(?:number of )?(?:nodes|servers|hosts)"),
        ("per_node", rf"{DEVICES} ?(?:per|/) ?(?:node|server|host)"),
    )
)
_HELD: Final = re.compile(
    rf"({COUNT})\s+(?:concurrent\s+|parallel\s+|simultaneous\s+)*"
    r"(?:sequences|requests|users|sessions|conversations)\s+(?:of|at|with)\s+"
    r"(?:up to\s+)?(\d[\d,]*)(k?)[\s-]*tokens?\b",
    re.IGNORECASE,
)
_ADMITS: Final = re.compile(r"\b(?:admits?|keeps?|holds?|serves?|fits?|runs?|supports?|have)\b", re.IGNORECASE)


def _held(sentence: Sentence) -> Iterator[JudgedClaim]:
    """``64 sequences of 131,072 tokens``: weights and caches of all against the memory of all devices."""
    match = _HELD.search(sentence.text)
    facts = sentence.known
    if match is None or _ADMITS.search(sentence.text) is None or _UNSURE.search(sentence.text) or not facts.devices:
        return
    priced = priced_on(facts, 1)
    if priced is None:
        return
    number, tokens = count(match[1]), int(match[2].replace(",", "")) * (1024 if match[3] else 1)
    each = Fraction(priced[2].figures["kv_cache_bytes_per_token"].value)
    if (facts.cache or "bf16") in {"fp8", "int8"}:
        each /= 2
    weights = Fraction(priced[2].figures["model_bytes"].value)
    known = Fraction(priced[0].hardware.device.memory)
    memory = min(known, facts.memory or known)
    most = (facts.devices * memory - weights) / (tokens * each)
    verdict = Verdict.FAILS if number > most else Verdict.HOLDS
    reading = Derivation(
        "most that fit", Fraction(max(most.__floor__(), 0)),
        "(devices × memory − weights) ÷ (tokens × cache of a token)",
        f"({facts.devices} × {shown(memory, _GB)} − {shown(weights, _GB)}) ÷ ({tokens:,} × {plain(each)} bytes)",
    )  # fmt: skip
    yield judged_at(sentence, match, "concurrency", Fraction(number), ONE, verdict, [reading])


_TOKENS: Final = re.compile(
    r"(\d[\d,]*(?:\.\d+)?)\s?(k)?\s*(?:tokens?|tok)\s?(?:/\s?(?:s|sec)\b|per second)", re.IGNORECASE
)
_LONE: Final = re.compile(
    r"\b(?:single|one)[- ](?:user|stream|request|client|sequence)|\bper user|\bbatch(?: size)?[ =-]*1\b"
    r"|\bfor one user",
    re.IGNORECASE,
)
_EACH_TOKEN: Final = re.compile(
    r"\b(?:TPOT|ITL)\b(?:\s+(?:of|is|at|p50|p99))*\W{0,3}(\d+(?:\.\d+)?)\s?ms"
    r"|(\d+(?:\.\d+)?)\s?ms\s+per\s+(?:output\s+)?token",
    re.IGNORECASE,
)
_SPEEDS_UP: Final = re.compile(
    r"(?<!no )(?<!without )\b(?:speculat\w*|draft\w*|mtp|eagle|medusa|prefix|cache hits?|cached)\b", re.IGNORECASE
)


def _rates(sentence: Sentence) -> Iterator[JudgedClaim]:
    """Tokens/s and times per token against what the rated peaks allow."""
    text, facts = sentence.text, sentence.known
    if _SPEEDS_UP.search(text) or BETTER_NOT.search(text):
        return
    for match in [*_TOKENS.finditer(text), *_EACH_TOKEN.finditer(text)]:
        time = match.re is _EACH_TOKEN
        clause = text.rfind(";", 0, match.start()) + 1, text.find(";", match.end()) % (len(text) + 1)
        lone = _LONE.search(text, *clause) is not None
        per_device = re.match(rf"\s*(?:per|/|a|on each)\s*{DEVICES}", text[match.end() :], re.IGNORECASE) is not None
        given = sentence.own.devices or sentence.own.degrees.get("tp")
        devices = 1 if per_device else given or (facts.devices if time or lone else None)
        if devices is None:
            continue
        if time or lone:
            tp = sentence.own.degrees.get("tp") or facts.degrees.get("tp") or devices
            priced = priced_on(facts, min(tp, devices))
            if priced is not None:
                written = Fraction(match[1] or match[2]) / 1000 if time else 1 / _number(match)
                yield from _alone(sentence, match, written, priced, time=time)
        elif (priced := priced_on(facts, devices, data_parallel=True)) is not None:
            yield from _together(sentence, match, _number(match), priced, per_device=per_device)


def _number(match: re.Match[str]) -> Fraction:
    return Fraction(match[1].replace(",", "")) * (1000 if match[2] else 1)


def _alone(
    sentence: Sentence, match: re.Match[str], seconds: Fraction, priced: tuple[Problem, Layout, Priced], *, time: bool
) -> Iterator[JudgedClaim]:
    from optimizer.figures.bounds import tpot_bound  # noqa: PLC0415 - loads with the reference

    bound = tpot_bound(priced[0], priced[1])
    if not seconds or seconds >= bound.value * Fraction(19, 20):
        return
    value, unit = (seconds, _MS) if time else (1 / seconds, _RATE)
    reading = Derivation(bound.reading, bound.value if time else 1 / bound.value, bound.formula, bound.substituted)
    note = f"{bound.resource} of {priced[1].tp} devices allows {shown(reading.value, unit)} at best"
    yield judged_at(sentence, match, "tpot" if time else "throughput", value, unit, Verdict.IMPOSSIBLE, [reading], note)


def _together(
    sentence: Sentence,
    match: re.Match[str],
    rate: Fraction,
    priced: tuple[Problem, Layout, Priced],
    *,
    per_device: bool,
) -> Iterator[JudgedClaim]:
    from optimizer.figures.bounds import throughput_bounds  # noqa: PLC0415 - loads with the reference

    # Reading prompts on devices that share nothing: no layout and no phase computes more tokens.
    bound = throughput_bounds(priced[0], priced[1])[-1]
    if rate > bound.value:
        name = "throughput_per_device" if per_device else "throughput"
        note = f"{bound.resource} of {priced[1].devices} devices allows {plain(bound.value)} tokens/s at best"
        reading = Derivation(bound.reading, bound.value, bound.formula, bound.substituted)
        yield judged_at(sentence, match, name, rate, _RATE, Verdict.IMPOSSIBLE, [reading], note)


_EACH_HOLDS: Final = re.compile(
    rf"(?:each|every)\s+(?:{DEVICES}|rank)\s+(?:has|had|holds|held|keeps)\s+[~≈]?(?:about\s+)?"
    rf"(\d[\d,.]*)\s*(GB|GiB)\s+(?:of\s+)?(?:the\s+)?weights"
    rf"|weights\D{{0,40}}?(\d[\d,.]*)\s*(GB|GiB)\s*(?:per|/|on each|a|for each)\s*(?:{DEVICES}|rank)"
    rf"|(\d[\d,.]*)\s*(GB|GiB)\s*(?:of\s+weights\s*)?"
    rf"(?:per|/|on each|a|for each)\s*(?:{DEVICES}|rank)\b(?=.{{0,24}}weights)",
    re.IGNORECASE,
)


def _weights(sentence: Sentence) -> Iterator[JudgedClaim]:
    """Weights of a device under the degrees of the same sentence."""
    match = _EACH_HOLDS.search(sentence.text)
    degrees = sentence.own.degrees
    if match is None and (whole := _WHOLE_WEIGHTS.search(sentence.text)) is not None and sentence.known.model:
        yield from _all_weights(sentence, whole)
    if match is None or "tp" not in degrees or BETTER_NOT.search(sentence.text):
        return
    written = [part for part in match.groups() if part]
    yield from share_of_weights(sentence, match, size(written[0].rstrip(".,"), written[1]), degrees)


_WHOLE_WEIGHTS: Final = re.compile(
    r"\bweights\b[^.;\d]{0,24}?[~≈]?\s*(\d[\d,.]*)\s*(GB|GiB|TB)\b(?!\s*(?:per|/|each|a|on each|for each))",
    re.IGNORECASE,
)


def _all_weights(sentence: Sentence, match: re.Match[str]) -> Iterator[JudgedClaim]:
    """``The FP8 weights need 671 GB``: one copy of the model, confirmed to the digits of its name."""
    priced = priced_on(sentence.known, 1)
    if priced is None:
        return
    value, figure = size(match[1].rstrip(".,"), match[2]), priced[2].figures["model_bytes"]
    if abs(Fraction(figure.value) - value) <= value * _ROUGHLY:
        reading = Derivation("one copy of the model", Fraction(figure.value), figure.formula, figure.substituted)
        yield judged_at(sentence, match, "weights", value, UNITS[match[2]], Verdict.HOLDS, [reading])


def share_of_weights(
    sentence: Sentence, match: re.Match[str], value: Fraction, degrees: dict[str, int], also: int | None = None
) -> Iterator[JudgedClaim]:
    """Weights of a device in bytes against every share of the model that the degrees, or `also` devices, may give."""
    priced = priced_on(sentence.known, 1)
    if priced is None:
        return
    whole = Fraction(priced[2].figures["model_bytes"].value)
    parts = {
        degrees.get("tp", 1) * degrees.get("pp", 1),
        degrees.get("tp", 1) * degrees.get("pp", 1) * degrees.get("ep", 1),
        also or 1,
    }
    parts |= {degrees.get("tp", 1) * degrees.get("pp", 1) * degrees.get("dp", 1)}
    readings = [Derivation(f"over {part} devices", whole / part, "weights ÷ devices", f"{shown(whole, _GB)} ÷ {part}")
                for part in sorted(parts, key=lambda part: abs(whole / part - value))]  # fmt: skip
    near = abs(readings[0].value - value) <= readings[0].value * _ROUGHLY
    open_precision = (
        sentence.known.precision is None and abs(readings[0].value / 2 - value) <= readings[0].value * _ROUGHLY
    )
    told = "" if near else "no share of the model's weights is this"
    if not open_precision:
        yield judged_at(sentence, match, "weights", value, UNITS["GiB"] if "GiB" in match[0] else _GB,
                    Verdict.HOLDS if near else Verdict.FAILS, readings, told)  # fmt: skip


_RULES: Final[tuple[Callable[[Sentence], Iterator[JudgedClaim]], ...]] = (
    _fits, _row_fits, _row_devices, _held, _rates, degrees_give, experts_held, _weights,
)  # fmt: skip


def judge_deployment(found: Sequence[Sentence]) -> tuple[list[JudgedClaim], list[Contradiction]]:
    """Claims of sentences and rows, and counts of devices that disagree."""
    per_node = devices_of_a_node(found)
    claims = [claim for sentence in found for rule in _RULES for claim in rule(sentence)]
    claims += [claim for sentence in found for claim in nodes_give(sentence, per_node)]
    return claims, list(said_of_the_whole(found))
