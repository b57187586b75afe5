"""Lines of a start-up log of vLLM, SGLang or TensorRT-LLM, each judged against the model and the lines before it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from optimizer.audit.deployment import Sentence, size
from optimizer.audit.facts import Derivation, JudgedClaim
from optimizer.audit.known_figures import ROUGHLY, WHOLE, JudgedClaims, claim_at, priced_on, verdict_of, weight_shares
from optimizer.audit.launched import Launched, of_log
from optimizer.audit.lexicon import ONE, UNITS, Unit
from optimizer.audit.verdict import Verdict, plain
from optimizer.domain.problem import Problem
from optimizer.readers.catalog import load_hardware

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
_REFUSED: Final = re.compile(
    r"max seq len \((?P<length>\d+)\),? \(?(?P<needed>\d+(?:\.\d+)?) GiB KV cache is needed,.*?"
    r"available KV cache memory \((?P<room>\d+(?:\.\d+)?) GiB\)",
    re.IGNORECASE,
)
_LONGEST: Final = re.compile(r"estimated maximum model length is (\d+)", re.IGNORECASE)
"""vLLM's v1/core/kv_cache_utils.py check_enough_kv_cache_memory."""
_CONCURRENT: Final = re.compile(r"Maximum concurrency for ([\d,]+) tokens per request: (\d+(?:\.\d+)?)x", re.IGNORECASE)


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
        if (match := _REFUSED.search(text)) is not None and tp:
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
