"""Figures that follow from model, precision and degrees, found in a sentence by their dimension and their nouns.

Each kind of figure is compared with every reading that the
document leaves open, and is wrong only where none of them gives it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from itertools import product
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.deployment import Known, Sentence
from optimizer.audit.facts import Derivation
from optimizer.audit.known_figures import GB, ROUGHLY, JudgedClaims, priced_on, token_bytes
from optimizer.audit.said import Said, figures_of, is_of_a_token, of_shapes
from optimizer.audit.verdict import Verdict, plain, shown

_DEVICE: Final = r"(?:gpu|device|rank|card|chip|accelerator)s?\b"
_EACH_DEVICE: Final = re.compile(
    rf"\b(?:per|each|every|a|one|any|single|the same)\s+(?:[a-z]+\s+)?{_DEVICE}|/\s*{_DEVICE}|\b{_DEVICE}\s*:\s*$"
)
_EXACTLY: Final = Fraction(1, 32)
"""Share by which a product of shapes that was rounded once or twice may differ."""


# --- bytes of the cache


def _cache(figures: Sequence[Said]) -> JudgedClaims:
    """Bytes of a token against the model's cache."""
    for at, said in enumerate(figures):
        shaped = of_shapes(figures, at, of_device=_EACH_DEVICE.search(said.words) is not None)
        cached = said.unit.dimensions == lexicon.BYTES and (shaped or not _NO_CACHE.search(said.words))
        if cached and is_of_a_token(said):
            layered = _A_LAYER.search(said.words) is not None
            readings = shaped or _of_a_token(said.sentence, layered=layered)
            # "values per layer: 70,272 bytes per token": it may be another figure's layer
            more = _of_a_token(said.sentence) if layered and ":" in said.before else []
            yield from said.claim("kv_cache_per_token", [*readings, *more], _EXACTLY)


_NO_CACHE: Final = re.compile(
    r"\b(?:weights?|activations?|hidden|logits?|read\w*|traffic|transfer\w*|network|all-?to-?all|dispatch\w*|experts?"
    r"|moves?|sends?|bandwidth|parameters?|mha|multi-head|states?|query heads|if|would|were|without|naive\w*|left"
    r"|remain\w*|leaves?|free|block|page|chunk|draft|buffers?|graphs?|budget|prefill)\b"
)
_A_LAYER: Final = re.compile(r"\b(?:per|each|every|a|one|and)\s+layer\b|/\s*layer\b")
_OF_CACHE: Final = re.compile(r"\bkv\b|\bcache|\bkeys? and values?\b|\bmla\b|\blatent\b|\bgqa\b", re.IGNORECASE)


def _of_a_token(sentence: Sentence, *, layered: bool = False) -> list[Derivation]:
    """Bytes of a token in the caches of the model: on all devices, with copies of heads, or on one of them."""
    if not _OF_CACHE.search(f"{' '.join(sentence.section)} {sentence.lead} {sentence.text}"):
        return []
    whole, widths = sentence.whole, sentence.whole.cache_widths(sentence)
    every = [
        token_bytes(model, sentence.known.precision, widths, whole.every("tp"), layered) for model in sentence.models
    ]
    # windows and states have no one size of a token: a figure may be theirs
    return [one for each in every for one in each] if all(every) else []


# --- bytes of the weights


_OF_WEIGHTS: Final = re.compile(
    r"[\s(]*(?:of|in|for)?\s*(?:the\s+|its\s+)?(?:bf16|fp16|fp8|int8|int4|\d+-bit|quanti[sz]ed|model|raw)?\s*"
    r"(?:weights?|checkpoint)\b"
)
_WEIGHTS_ARE: Final = re.compile(
    r"\b(?:weights?|checkpoint|parameters)\b(?:\s*\([^()]*\)|\s+(?:in|at)?\s*(?:bf16|fp8|int8|int4)\b)?"
    r"(?:\s+(?:alone|themselves|together|only))?"
    r"\s*(?:\b(?:take|need|are|is|occup\w+|weigh|come to|total|fill|use|require)s?\b|[:=])"
    r"(?:\s+(?:up|about|around|roughly|some|only|just|nearly|almost|then|still|approximately))*[\s~≈]*$"
)
_NO_WEIGHTS: Final = re.compile(
    r"\b(?:experts?|attention|embed\w*|kv|cache|activ\w*|overhead|buffers?|left|leav\w+|remain\w*|after|minus|less|free"
    r"|spare|layers?|shared|router|disk|download\w*|sync\w*|read\w*|draft|optimizer|gradients?|plus|not|if|would|could"
    r"|without|than|at least|copies|instead|each step|per step|stages?)\b|\+"
)
WHOLE: Final = "one copy"
_LARGEST_DEVICE: Final = 300 * 10**9
"""Bytes that no device holds (the catalog's largest has 288 GB): weights of more are a whole model's."""
_WIDE: Final = ("bf16", "fp8", "int8", "int4")


def _weights(figures: Sequence[Said]) -> JudgedClaims:
    """Weights of the model, or of one device, against its parameters in the precision that is said of them."""
    for said in figures:
        if said.unit.dimensions != lexicon.BYTES:
            continue
        behind, ahead = _OF_WEIGHTS.match(said.after), _WEIGHTS_ARE.search(said.before)
        clause = said.before[ahead.start() :] if ahead else re.split(r"[,;:()]", said.before)[-1]
        if not (behind or ahead) or _NO_WEIGHTS.search(clause + (behind[0] if behind else "")):
            continue
        sentence = said.sentence
        widths = [name for name in _WIDE if name in sentence.text.lower()]
        told = [sentence.known.precision, *sorted(sentence.whole.precisions)] if sentence.known.precision else []
        widths = widths or [name for name in dict.fromkeys(told) if name]
        readings = [one for width in widths for one in _shares(sentence, width)]
        if said.value > _LARGEST_DEVICE:
            readings = [one for one in readings if one.reading == WHOLE]
        for claim in said.claim("weights", readings, ROUGHLY):
            # Beside experts over EP, what is not an expert may be split or copied in many ways.
            split = sentence.whole.every("ep") and not sentence.own.degrees and "experts" in readings[-1].reading
            yield replace(claim, verdict=Verdict.UNSUPPORTED) if claim.verdict.wrong and split else claim


def _shares(sentence: Sentence, precision: str) -> Sequence[Derivation]:
    """Weights of the whole model, and of a device under the degrees of the sentence, else all of the document."""
    own, whole = sentence.own.degrees, sentence.whole
    degrees = tuple(((own[axis],) if axis in own else ()) if own else whole.every(axis)
                    for axis in ("tp", "pp", "dp", "ep"))  # fmt: skip
    counts = () if own else tuple(whole.counts)
    return [one for model in sentence.models for one in weight_shares(model, precision, degrees, counts)]


@lru_cache(maxsize=256)
def weight_shares(
    model: str | None, precision: str | None, degrees: tuple[tuple[int, ...], ...], counts: tuple[int, ...]
) -> Sequence[Derivation]:  # fmt: skip
    """Weights of the whole model, and of a device, for every degree of tp, pp, dp and ep and every count of devices."""
    priced = priced_on(Known(model, precision, "h100-sxm-8"), 1)
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


# --- work of a token


_GOES_THROUGH: Final = re.compile(
    r"\b(?:each|every|one|a|per)\s+token\b(?!.{0,80}\b(?:may|can|might|could|router|any)\b).{0,24}\b"
    r"(?:goes? through|pass\w* through|runs? through|touch\w*|uses?|activat\w+|comput\w+|travers\w+)\b.{0,24}$"
)


_PARAMETERS: Final = re.compile(r"\W*(?:total\s+|model\s+)?(?P<active>activ\w+\s+)?param")
_LABELLED: Final = re.compile(r"\W*(?:total |(?P<active>activ\w+ ))?param\w*\s*:\s*[~≈]?$")
_OF_A_PART: Final = re.compile(
    r"\b(?:embedding\w*|head|mtp|modules?|layers?|blocks?|vision|encoder|draft\w*|lora|adapters?|each(?!\s+token)|experts?|shared"
    r"|dense|attention|stages?|rank|gpu|without|distill\w*|not|if|would|claim\w*|wrong\w*|only|memory|loaded|resident"
    r"|stored|train\w*|backward|its|their|than|unlike|whose)\b|n't"
)
_NAMED: Final = re.compile(r"\b[A-Z][A-Za-z]+-?[A-Za-z]?\d")
"""A name with a number, as models have."""


def _work(figures: Sequence[Said]) -> JudgedClaims:
    """Parameters of a model and operations of a token, against all of its parameters and the active ones."""
    for said in figures:
        flop = said.unit.dimensions == lexicon.FLOP and re.search(r"\btokens?\b", said.words) is not None
        counted = _PARAMETERS.match(said.after) or _LABELLED.match(said.before)
        passed = _GOES_THROUGH.search(said.before) is not None
        count = said.unit.dimensions == lexicon.NONE and said.value >= _FEWEST_PARAMETERS and counted is not None
        reckoned = said.before.rstrip().endswith(("=", "≈"))
        if not (flop or count) or reckoned or _OF_A_PART.search(said.words):
            continue
        sentence = said.sentence
        priced = priced_on(sentence.known.over(Known(device="h100-sxm-8")), 1)
        if priced is None or (flop and priced[0].model.moe is None):
            continue
        total, active = (Fraction(priced[2].figures[name].value) for name in ("parameters", "active_parameters"))
        if flop or (passed and abs(said.value - total) <= total * ROUGHLY):
            each = 2 if flop else 1
            told = f"{each} × {plain(active)}" if flop else plain(active)
            reading = Derivation("of the active parameters", active * each, f"{each} × active_parameters", told)
            # Other work of a token is none of the parameters alone.
            if abs(said.value - total * each) <= total * each * ROUGHLY:
                name = "flops_per_token" if flop else "active_parameters"
                yield from said.claim(name, [reading], ROUGHLY, "all parameters taken for the active ones")
        elif sentence.own.model or (
            sentence.item and not sentence.cells and not any(map(_NAMED.search, (sentence.section or ("",))[:-1]))
        ):
            told_active = "activ" in said.before or (counted is not None and counted["active"])
            names = ("active_parameters",) if told_active else ("parameters", "active_parameters")
            values = {"parameters": total, "active_parameters": active}
            readings = [Derivation(name, values[name], name, plain(values[name])) for name in names]
            for claim in said.claim(names[0], readings, ROUGHLY):
                rounded = abs(claim.derived.value - said.value) > said.number.half if claim.derived else False
                yield replace(claim, verdict=Verdict.AMBIGUOUS) if rounded and not claim.verdict.wrong else claim


_FEWEST_PARAMETERS: Final = 10**6
_KINDS: Final[tuple[tuple[re.Pattern[str], Callable[[Sequence[Said]], JudgedClaims]], ...]] = (
    (re.compile(r"token", re.IGNORECASE), _cache),
    (re.compile(r"weights|checkpoint|parameters", re.IGNORECASE), _weights),
    (re.compile(r"flop|param", re.IGNORECASE), _work),
)


def judge_derived(sentences: Iterable[Sentence]) -> JudgedClaims:
    """Every figure of the sentences that the model which they speak of gives."""
    for sentence in sentences:
        if sentence.known.model is None:
            continue
        kinds = [kind for pattern, kind in _KINDS if pattern.search(sentence.text)]
        figures = figures_of(sentence) if kinds else []
        for kind in kinds:
            yield from kind(figures)
