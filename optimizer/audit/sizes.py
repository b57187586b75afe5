"""Bytes that model, precision and degrees give: of the cache of a token or a sequence, of weights; a token's work.

What a figure is of is told by its type, its headings and the words of its clause. It is compared with every reading
that the words leave open, and is wrong only where none of them gives it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.degrees import COUNT, DEVICES, count
from optimizer.audit.deployment import Sentence, precisions_in
from optimizer.audit.facts import Derivation
from optimizer.audit.known_figures import (
    GB,
    RECKONED,
    ROUGHLY,
    WHOLE,
    JudgedClaims,
    cache_bytes,
    claim_at,
    parameters_of,
    stretch,
    verdict_of,
    weight_shares,
)  # fmt: skip
from optimizer.audit.lexicon import ONE
from optimizer.audit.quantities import Quantity
from optimizer.audit.scope import asserted, clause_of, models_of, names_another
from optimizer.audit.verdict import Verdict, plain
from optimizer.domain.precision import FORMATS

_EXACTLY: Final = Fraction(1, 32)
"""Share by which a product of shapes that was rounded once or twice may differ."""
_RANKS: Final = (4, 8, 16, 32, 64)
"""Not two: bytes of 16 bits for those of 8 are what authors mistake most."""
_LAYERS: Final = re.compile(r"\b(?:stages?|layers)\b|\d+ [×x*] \d", re.IGNORECASE)
"""Where a part of the layers may be meant."""
_PAIR: Final = 2
_FEW: Final = 3
"""Models that a document may name for all of them to be meant where none is named."""
_NEAR: Final = 3
"""Sentences before one that tell what it is about."""

_OF_CACHE: Final = re.compile(r"\bkv\b|\bcache|\bkeys? and values?\b|\bmla\b|\blatent\b|\bgqa\b", re.IGNORECASE)
_NO_CACHE: Final = re.compile(
    r"\b(?:weights?|activations?|hidden|logits?|read\w*|traffic|transfer\w*|network|all-?to-?all|dispatch\w*|experts?"
    r"|moves?|sends?|bandwidth|parameters?|mha|multi-head|states?|query heads|were|without|naive\w*|left|pool|room"
    r"|remain\w*|leaves?|free|block|page|chunk|draft|buffers?|graphs?|budget|prefill|stages?|usable)\b"
)
_PER_TOKEN: Final = re.compile(r"(?:\b(?:per|each|a)\s+|/\s*)token\b")
_COUNTED_TOKENS: Final = re.compile(r"\d\s?k?[ -]tokens", re.IGNORECASE)
_EACH_DEVICE: Final = re.compile(rf"\b(?:each|every)\s+(?:[a-z]+\s+)?(?:{DEVICES}|rank)\b[^.;,\d]*$", re.IGNORECASE)
_A_LAYER: Final = re.compile(r"\b(?:per|each|every|a|one|and)\s+layer\b|/\s*layer\b", re.IGNORECASE)
_LEAST: Final = 256
"""Bytes below which no model keeps a token of a layer."""
_LEAST_OF_SEQUENCE: Final = 10**6
_SUBJECT: Final = re.compile(
    r"\b(?:an?|one|each|every|single|such)\s+(?:(?!takes|is|needs|holds|costs)[\w,-]+\s+){0,3}?"
    r"(?!(?:replica|copy|node|box|server|layer|gpu|card|device|rank|pool|expert|value|parameter|model)\b)([a-z-]+)\b"
    r"(?:[^.;]|\.\d){0,80}\b(?:occup\w+|takes?|holds?|costs?|pins?|needs?|uses?|consum\w+|is)\s+"
    r"(?:(?:up|about|some|only)\s+)?[~≈]?$",
    re.IGNORECASE,
)
"""One thing that is said to take room."""
_REQUEST: Final = re.compile(
    r"\b(?:tokens?|(?:request|sequence|session|conversation|user|prompt|document|context)s?)\b", re.IGNORECASE
)
_LENGTH: Final = re.compile(
    rf"({COUNT}|\ba)[- ](?P<hundred>hundred[- ])?(?P<scale>thousand|hundred)[- ]tok"
    r"|(?<![\w.])(\d[\d,]*(?:\.\d+)?)(?:\s?(?P<k>k)\b|(?=[- ](?:[\w-]+[- ])?tok|\s*[×x*]|\s*(?:\(|;|$)"
    r"|\s+(?:takes?|occup\w+|needs?|holds?|costs?)\b))",
    re.IGNORECASE,
)
_TIMES: Final = {"thousand": (1000,), "hundred": (100,), "k": (1000, 1024), "": (1,)}
_SHORTEST: Final = 256
"""Tokens below which a number is no length."""

_PARAMETERS_OF: Final = (("parameter", 1),)
_SPREAD: Final = re.compile(r"\b(?:each|every|per|half|split|over|across|[tpde]p ?\d)\b", re.IGNORECASE)
_OF_WEIGHTS: Final = re.compile(
    r"[\s(]*(?:of|in|for)?\s*(?:the\s+|its\s+)?(?:bf16|fp16|fp8|int8|int4|\d+-bit|quanti[sz]ed|model|raw)?\s*"
    r"(?:weights?|checkpoint)\b(?!\s*[:=]?\s*\d)",
    re.IGNORECASE,
)
"""Behind a figure; before another it is that one's."""
_WEIGHTS_ARE: Final = re.compile(
    r"(?<!activated )(?<!active )\b(?:weights?|checkpoint|parameters)\b"
    r"(?:\s*\([^()]*\)|\s+(?:in|at)?\s*(?:bf16|fp8|int8|int4)\b)?(?:\s+(?:alone|themselves|together|only))?"
    r"\s*(?:\b(?:take|need|are|is|occup\w+|weigh|come to|total|fill|use|require)s?\b|[:=])"
    r"(?:\s+(?:up|about|around|roughly|some|only|just|nearly|almost|then|still|approximately))*[\s~≈]*$",
    re.IGNORECASE,
)
_HEADED: Final = re.compile(r"(?:^|[;:]\s*)(?:model\s+)?(?:weights?|checkpoint)\b[^;:]*:")
_NO_WEIGHTS: Final = re.compile(
    r"\b(?:experts?|attention|embed\w*|kv|cache|activ\w*|overhead|buffers?|left|leav\w+|remain\w*|after|minus|less|free"
    r"|spare|layers?|shared|router|disk|download\w*|sync\w*|read\w*|draft|optimizer|gradients?|plus|not|if|would|could"
    r"|without|than|at least|copies|instead|each step|per step|stages?|master|states?)\b|\+"
)
_COPIES: Final = re.compile(rf"{COUNT}\s+(?:[\w-]+\s+)?(?:replicas|copies|instances)\b", re.IGNORECASE)
_LIGHTEST: Final = 10**8
"""Bytes below which no device's share of a model's weights is."""
_LARGEST_DEVICE: Final = 300 * 10**9
"""Bytes that no device holds (the catalog's largest has 288 GB): weights of more are a whole model's."""

_OF_SOME: Final = re.compile(
    r"\b(?:embed\w*|heads?|routers?|gates?|norms?|attention|vision|scales?|shared)\b[^.;]{0,48}?"
    r"\b(?:bf16|fp16|fp32|16[- ]?bits?)\b",
    re.IGNORECASE,
)
"""The precision of a part of a mixed checkpoint: ``because the embeddings and the output head remain in BF16``."""
_WORK: Final = re.compile(r"flop|param|activ|total|through", re.IGNORECASE)
_SOME_OF: Final = re.compile(r"\d\s*(?:[bt]n?|billion|trillion)?\s+of\s+(?:(?:the|its|all)\s+)?$", re.IGNORECASE)
"""Before a whole of which a part was named."""
_ACTIVE: Final = re.compile(
    r"\bactiv(?!ation|ity)|\b(?:each|every|one|a|per)\s+token\b(?!.{0,80}\b(?:may|can|might|could|router|any)\b).{0,24}\b"
    r"(?:goes? through|pass\w* through|runs? through|touch\w*|uses?|comput\w+|travers\w+)\b"
)
"""Of parameters that a token passes through."""
_PARAMETERS: Final = re.compile(
    r"(?<![\w.,-])(?P<number>\d[\d,]*(?:\.\d+)?)\s?(?P<scale>[BTM]\b|[bmtr]+illion\b)"
    r"(?:[\s-]*(?P<kind>activ\w+|total|in total)\b)?(?:[\s-]*(?P<noun>param\w*))?(?!\s*(?:tok|FLOP|requests?\b))",
)
_HEADS: Final = re.compile(r"(?:total |active )?param\w*(?: \(.*\))?|total|active", re.IGNORECASE)
_SCALES: Final = {"m": 10**6, "b": 10**9, "t": 10**12}
_OF_A_PART: Final = re.compile(
    r"\b(?:embed\w*|head|modules?|layers?|blocks?|vision|encoder|draft\w*|adapters?|each(?!\s+token)|experts?|shared"
    r"|dense|attention|stages?|rank|gpu|train\w*|its|(?<!of )them|them(?=.*\|)|their|than|unlike|whose)\b"
)
_PIECE: Final = re.compile(r"[,;.()/|]|\band\b|\bof\b(?! (?:them|these|those|it)\b)")
"""Between what is said of one number and of the next."""
_FIGURE: Final = re.compile(r"(?<![\w.-])\d[\d,.]*")


def judge_sizes(sentences: Sequence[Sentence], figures: Sequence[Sequence[Quantity]]) -> JudgedClaims:
    """Every figure of the sentences that the model which they speak of gives."""
    for sentence, own in zip(sentences, figures, strict=True):
        known = sentence.known.model is not None and not names_another(sentence.text)
        yield from _weights(sentence, own, known=known)
        yield from _cache(sentence, own) if known else ()
        yield from _work(sentence, own) if known and _WORK.search(sentence.text) else ()


def _words(sentence: Sentence, one: Quantity) -> str:
    """Headings of a figure in a table, else its clause."""
    if not sentence.cells:
        return clause_of(sentence.text, one.start, one.end).lower()
    label, (text, _) = list(sentence.cells.items())[one.column]
    title = next(iter(sentence.cells.values()))[0] if len(sentence.cells) > 1 else ""
    return f"{sentence.header}; {title}; {label}: {text}".lower()


def _said(
    sentence: Sentence, one: Quantity, name: str, readings: Sequence[Derivation], share: Fraction, *,
    conditional: bool = True,
) -> JudgedClaims:  # fmt: skip
    """A figure's verdict: right where one of the readings, the most likely first, is within a share of it."""
    if not readings or not asserted(sentence, one.start, one.end, conditional=conditional):
        return
    best = min(readings, key=lambda reading: abs(reading.value - one.value))
    right = abs(best.value - one.value) <= max(best.value * share, one.half)
    first = [best, *(reading for reading in readings if reading is not best)] if right else list(readings)
    ranks = {*_RANKS}.difference(sentence.whole.every("tp"))
    ways = product(readings, ranks if share == ROUGHLY or _LAYERS.search(sentence.text) else ())
    shared = any(abs(reading.value - one.value * rank) <= reading.value * _EXACTLY for reading, rank in ways)
    corrected = sentence.cells and any(f"{int(reading.value):,}" in sentence.text for reading in readings)
    if not right and (corrected or (shared and not sentence.own.degrees)):
        return  # a share over degrees that the sentence does not name, or a row that has what is right
    unit = one.number.unit if one.number and one.number.unit.dimensions == lexicon.BYTES else GB
    span = stretch(sentence.text, one.start, one.end)
    claim = claim_at(sentence, span, name, one.value, unit, verdict_of(right=right), first)
    # a width of the cache, a precision or a part that the words leave open makes it true of one reading alone
    several = right and any(abs(reading.value - one.value) > one.value * ROUGHLY for reading in readings)
    yield replace(claim, verdict=Verdict.AMBIGUOUS, note=f"true as {best.reading}") if several else claim


def _models(sentence: Sentence) -> Sequence[str]:
    """The model that it names, else every one that is spoken of around and before it."""
    if sentence.own.model:
        return [sentence.own.model]
    before = {one.own.model for one in sentence.whole.ahead(sentence) if one.own.model}
    every = sentence.whole.models
    return sorted(every if len(every) <= _FEW else {*models_of(sentence), *before})


def _cache(sentence: Sentence, figures: Sequence[Quantity]) -> JudgedClaims:
    """Bytes of a token, or of a sequence of so many, in the cache: whole, or on a device."""
    text, whole = sentence.text, sentence.whole
    bounds = [0, *(at for one in figures for at in (one.start, one.end)), len(text)]
    for at, one in enumerate(figures):
        words = _words(sentence, one) if sentence.cells else text[bounds[2 * at] : bounds[2 * at + 3]].lower()
        kinds = dict(one.type)
        bounded = one.number is not None and one.number.bound
        if kinds.get("byte") != 1 or "second" in kinds or bounded or one.value < _LEAST or _NO_CACHE.search(words):
            continue
        each = kinds.get("device") == -1 or _EACH_DEVICE.search(text[bounds[2 * at] : one.start]) is not None
        subject = None if sentence.cells else _SUBJECT.search(text, 0, one.start)
        token = bool(sentence.cells) and _PER_TOKEN.search(words) is not None
        if subject and subject[1].lower().endswith("token"):
            token = not _COUNTED_TOKENS.search(subject[0])
        if kinds.get("token") == -1 or token:
            readings = _in_cache(sentence, 1, each=each)
            if kinds.get("layer") == -1 or _A_LAYER.search(text):
                readings += _in_cache(sentence, 1, each=each, layered=True)
            ahead = (other.text for other in whole.ahead(sentence)[-_NEAR:])
            around = " ".join((*sentence.section, whole.paragraphs[sentence.segment], *ahead, words))
            if _OF_CACHE.search(around):
                yield from _said(sentence, one, "kv_cache_per_token", readings, _EXACTLY)
        elif subject and one.value >= _LEAST_OF_SEQUENCE and (_OF_CACHE.search(text) or _REQUEST.search(subject[0])):
            readings = [reading for length in _lengths(sentence) for reading in _in_cache(sentence, length, each=each)]
            yield from _said(sentence, one, "kv_cache_per_sequence", readings, _EXACTLY)


def _lengths(sentence: Sentence) -> list[int]:
    """Tokens of a sequence: numbers of the sentence, else of the sentence before it."""
    for one in reversed(sentence.whole.ahead(sentence)[-2:]):
        found = []
        for match in _LENGTH.finditer(one.text):
            words = match[1].lower() if match[1] else ""
            number = Fraction(1 if words == "a" else count(words) if words else match[4].replace(",", ""))
            number *= 100 if match["hundred"] else 1
            found += [int(number * times) for times in _TIMES[(match["scale"] or match["k"] or "").lower()]]
        if found := [length for length in found if length >= _SHORTEST]:
            return found
    return []


def _in_cache(sentence: Sentence, tokens: int, *, each: bool, layered: bool = False) -> list[Derivation]:
    """Bytes of tokens in the caches of the models that may be meant; none where some model's has no one size."""
    # another column's cache may be as wide as it likes
    several = sentence.own.cache and len(sentence.cells) > _PAIR
    own, whole = sentence.own.degrees, sentence.whole
    tps = (own["tp"],) if "tp" in own else {*whole.every("tp"), *(whole.counts if each else ())}
    pps = (own.get("pp", 1),) if "tp" in own or not each else {1, *whole.every("pp")}
    degrees, widths = tuple(product(sorted(tps), sorted(pps))), (16, 8) if several else whole.cache_widths(sentence)
    every = [cache_bytes(model, tokens, widths, degrees, layered, each) for model in _models(sentence)]
    return [one for readings in every for one in readings] if all(every) else []


def _weights(sentence: Sentence, figures: Sequence[Quantity], *, known: bool) -> JudgedClaims:
    """Weights of the model, or of one device, against its parameters in the precision that is said of them.

    ``known``: of the catalog's model; else of the parameters that the sentence gives alone.
    """
    text = sentence.text
    for previous, one in zip((None, *figures), figures, strict=False):
        kinds = dict(one.type)
        if kinds.pop("byte", 0) != 1 or kinds.keys() - {"device", "replica", "node"} or one.value < _LIGHTEST:
            continue
        words = _words(sentence, one)
        behind, ahead = _OF_WEIGHTS.match(text, one.end), _WEIGHTS_ARE.search(text, 0, one.start)
        clause = words if sentence.cells else text[ahead.start() if ahead else 0 : one.start]
        named = behind or ahead or (sentence.cells and _HEADED.search(words))
        if not named or _NO_WEIGHTS.search(clause.lower() + (behind[0] if behind else "")) or _COPIES.search(text):
            continue
        own = precisions_in(words) or precisions_in(_OF_SOME.sub(" ", text))
        every = [sentence.known.precision, *sorted(sentence.whole.precisions)] if sentence.known.precision else []
        readings = [
            one for width in (own or dict.fromkeys(every)) if known and width for one in _shares(sentence, width)
        ]
        alone = previous is not None and previous.type == _PARAMETERS_OF and len(own) == 1 and not _SPREAD.search(text)
        if previous and alone and not RECKONED.search(text, 0, previous.start):
            bits = FORMATS[own[0]].bits
            told = f"{previous.text} × {bits} ÷ 8"
            readings = [Derivation(WHOLE, previous.value * bits / 8, "parameters × bits ÷ 8", told)]
        if "device" in kinds or _EACH_DEVICE.search(text, 0, one.start):  # told first: what a device has
            readings.sort(key=lambda reading: reading.reading == WHOLE)
        if one.value > _LARGEST_DEVICE:
            readings = [reading for reading in readings if reading.reading == WHOLE]
        for claim in _said(sentence, one, "weights", readings, ROUGHLY, conditional=bool(sentence.own.degrees)):
            # Beside experts over EP, what is not an expert may be split or copied in many ways.
            parted = any("experts" in reading.reading for reading in readings)
            split = parted and sentence.whole.every("ep") and not sentence.own.degrees
            yield replace(claim, verdict=Verdict.UNSUPPORTED) if claim.verdict.wrong and split else claim


def _shares(sentence: Sentence, precision: str) -> Iterator[Derivation]:
    """Weights of the whole model, and of a device under the degrees of the sentence, else all of the document."""
    own, whole = sentence.own.degrees, sentence.whole
    degrees = tuple(((own[axis],) if axis in own else ()) if own else whole.every(axis)
                    for axis in ("tp", "pp", "dp", "ep"))  # fmt: skip
    counts = () if own else tuple(whole.counts)
    for model in _models(sentence):
        yield from weight_shares(model, precision, degrees, counts)


def _work(sentence: Sentence, figures: Sequence[Quantity]) -> JudgedClaims:
    """Parameters of a model and operations of a token, against all of its parameters and the active ones."""
    text, ahead = sentence.text, sentence.whole.ahead(sentence)[-2:]
    named = {one.own.model for one in ahead if one.own.model} if not sentence.own.model else {sentence.own.model}
    models = sorted(named) or models_of(sentence)
    given = [known for model in models[:_FEW] if (known := parameters_of(model))]
    if not given or len(given) < len(models):
        return
    for one in figures if all(active < total for total, active, _ in given) else ():
        words, kinds = _near_words(text, one.start, one.end), dict(one.type)
        # other work of a token is none of the parameters alone
        all_of_it = any(abs(one.value - total * 2) <= total * 2 * ROUGHLY for total, *_ in given)
        if kinds.get("FLOP") == 1 and "second" not in kinds and "token" in words and all_of_it:
            told = [("of the active parameters", active) for _, active, _ in given]
            readings = [Derivation(name, active * 2, "2 × active", f"2 × {plain(active)}") for name, active in told]
            if not (RECKONED.search(text, 0, one.start) or _OF_A_PART.search(words)):
                yield from _said(sentence, one, "flops_per_token", readings, ROUGHLY)
    cells = {place.column: label for label, (_, place) in sentence.cells.items()}
    for match in _PARAMETERS.finditer(text):
        start, scale = match.start(), match["scale"][0].lower()
        label = cells.get(sentence.at(start).column, "")
        headed = bool(sentence.cells) and _HEADS.fullmatch(label) is not None
        words = label.lower() if headed else _near_words(text, *match.span("number"))
        before, _, behind = words.partition("|")
        near = _PIECE.split(before)[-1] + (match["kind"] or _PIECE.split(behind)[0])
        told_active = _ACTIVE.search(near) is not None
        spoken = match["noun"] or headed or ((match["kind"] or told_active) and scale != "m")
        whose = sentence.own.model or (named and told_active) or (headed and not sentence.cells)
        if not (spoken and whose) or _OF_A_PART.search(words) or RECKONED.search(text, 0, start):
            continue
        value = Fraction(match["number"].replace(",", "")) * _SCALES[scale]
        # "total / active: 671 B / 37 B", "32 of 1,026 B active"
        both = ("total" in before or _SOME_OF.search(text, 0, start)) and not match["kind"]
        first, last = int(told_active and not both), 3 if told_active else 2
        names = ("parameters", "active_parameters", "active_parameters")[first:last]
        readings = [Derivation(name, size, name, plain(size))
                    for known in given for name, size in zip(names, known[first:last], strict=True)]  # fmt: skip
        best = min(readings, key=lambda reading: abs(reading.value - value))
        right = abs(best.value - value) <= best.value * ROUGHLY
        if asserted(sentence, *match.span()):
            half = _SCALES[scale] / Fraction(2 * 10 ** len(match["number"].partition(".")[2]))
            rounded = right and abs(best.value - value) > half
            verdict = Verdict.AMBIGUOUS if rounded else verdict_of(right=right)
            span = stretch(text, *match.span())
            yield claim_at(sentence, span, names[0], value, ONE, verdict, [best] if right else readings)


def _near_words(text: str, start: int, end: int) -> str:
    """Words around a figure up to the figures beside it, those before it parted from those behind."""
    return f"{_FIGURE.split(text[:start])[-1]}|{_FIGURE.split(text[end:])[0]}".lower()
