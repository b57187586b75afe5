"""What a sentence says of a known model's shape: heads, layers and experts, whole, active and divided; its contexts.

A number and its noun are a claim; the words between say which of them (``KV``, ``routed``), those behind it of what
(``per stage``, ``on every rank``). Right is what any model that the document names has, whole or under any degree that
it gives; nothing is accused where one of these fits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate, groupby
from typing import Final

from optimizer.audit.capacity import asserted
from optimizer.audit.counts import COUNT, count
from optimizer.audit.degrees import degrees_in
from optimizer.audit.deployment import Known, Sentence, models_in
from optimizer.audit.facts import Derivation
from optimizer.audit.known_figures import JudgedClaims, claim_at, priced_on
from optimizer.audit.lexicon import ONE
from optimizer.audit.said import stretch
from optimizer.audit.scope import scoped
from optimizer.audit.verdict import Verdict, plain
from optimizer.domain.families import Family
from optimizer.domain.model import ModelSpec

NUMBER: Final = rf"(?<!-)(?<!hundred )(?<!hundred and )(?<!thousand )(?!(?:a )?single\b){COUNT}(?!\w)"
"""A whole number, in digits or in a word, that is no part of another."""
_NUMBER: Final = re.compile(NUMBER, re.IGNORECASE)
_COUNTED: Final = re.compile(
    rf"(?P<number>{NUMBER})[ -]"
    rf"(?P<kind>(?:(?!{NUMBER}|(?:of|per|by|and|or|the|on|in|to|for|from|with)\b)[\w-]+[ -]){{0,3}}?)"
    r"(?P<noun>heads?|layers?|experts?)\b(?![- ](?:dim\w*|size|width|parallel\w*|bytes))",
    re.IGNORECASE,
)
_A_PART: Final = re.compile(
    r"[^.;:\d]{0,48}?\b(?:per|each|every|a|one|any|single)\s+(?:[\w-]+\s+)??"
    r"(?P<part>rank|gpu|card|device|chip|accelerator|stage|node|host|box|server|group)\b",
    re.IGNORECASE,
)
_PART_BEFORE: Final = re.compile(
    r"\b(?:each|every)\s+(?:[\w-]+\s+)??(?P<part>rank|gpu|card|device|chip|stage|node|host|box|server)\b[^.;:\d]{0,32}$",
    re.IGNORECASE,
)
_SOME: Final = re.compile(
    r"\b(?:first|last|other|others|another|remaining|rest|only|next|these|those|than|by|among|between|every|further"
    r"|more|plus|additional|extra|up to|at most|at least|over|under|after|before|until|from|to)\s+(?:the\s+)?$",
    re.IGNORECASE,
)
"""Before a number that counts some of them."""
_RECKONED: Final = re.compile(r"^\s*(?:[×x*·÷/+=≈→]|instances?\b|come to\b)|[×x*·÷/+=≈→~-]\s*$", re.IGNORECASE)
"""Beside a number that an equation has: a product of experts and layers is no shape."""
_WRONG: Final = re.compile(r"^\W*(?:❌|✗|wrong\b|no\b|not\b)", re.IGNORECASE)
_UNKNOWN: Final = re.compile(
    r"\b(?:Llama|Qwen|Mi[sx]tral|Gemma|GLM|DeepSeek|Kimi|Phi|GPT|Falcon|Yi)[- ]?(?:V|K)?\d[\w.]*", re.IGNORECASE
)
"""A name as models of known families have it, which the catalog may not know."""
_PLACED: Final = re.compile(
    r"\b(?:ranks?|gpus?|cards?|devices?|chips?|stages?|[etpd]p[ =]?\d+|TP|EP|PP|parallel\w*)\b", re.IGNORECASE
)
_NAME: Final = 16
"""Characters behind a family and its number that may still belong to the name."""
_SEVERAL: Final = 2
_PARTS_OF: Final = {"heads": ("tp",), "experts": ("ep", "tp", "dp"), "layers": ("pp",)}
_NEAR: Final = Fraction(3, 2)
"""Ratio to the number of layers within which a number of layers means all of them."""
_KINDS: Final = frozenset([
    "attention", "query", "q", "kv", "key", "value", "routed", "shared", "active", "activated", "sparse", "moe",
    "transformer", "decoder", "hidden", "model", "total", "physical", "logical", "full", "such", "gated", "ffn",
    "dense", "different", "small", "fine", "grained", "local",
])  # fmt: skip
"""Words between a number and its noun that leave it a shape of the model."""


def judge_architecture(said: Sequence[Sentence]) -> JudgedClaims:
    """Counts of heads, layers and experts that no model in the document's words has."""
    stretched = any(_STRETCHED.search(one.text) for one in said)
    for sentence in said:
        named = _named(sentence)
        for match in _COUNTED.finditer(sentence.text) if named else ():
            yield from _judge(sentence, match, named)
        if named:
            yield from _degrees(sentence, named)
            yield from () if stretched else _contexts(sentence, named)


def _named(sentence: Sentence) -> Sequence[str]:
    """Models whose shape a sentence speaks of; none where it may be another's. A command is judged whole, elsewhere."""
    if sentence.code or _names_another(sentence.text):
        return ()
    beside = models_in(f"{' '.join(sentence.section[1:])} {sentence.whole.paragraphs.get(sentence.segment, '')}")
    return scoped(sentence, models_in) if beside or len(sentence.whole.models) < _SEVERAL else ()


def _names_another(text: str) -> bool:
    """Whether a text names a model that the catalog has not."""
    return any(
        not models_in(match[0]) and not models_in(text[match.start() : match.end() + _NAME])
        for match in _UNKNOWN.finditer(text)
    )


def _judge(sentence: Sentence, match: re.Match[str], named: Sequence[str]) -> JudgedClaims:
    noun = match["noun"].lower().rstrip("s") + "s"
    words = frozenset(re.split(r"[ -]", match["kind"].lower().strip())) - {""}
    value = Fraction(count(match["number"]))
    before, after = sentence.text[: match.start()], sentence.text[match.end() :]
    if not words <= _KINDS or value <= 1 or not asserted(sentence, *match.span()):
        return
    if _SOME.search(before) or _RECKONED.search(before) or _RECKONED.match(after) or _WRONG.search(sentence.text):
        return
    shapes = [shape for name in named if (shape := shape_of(name)) is not None]
    readings = [one for shape in shapes for one in _whole(shape, noun, words)]
    said_too = {Fraction(count(other)) for other in _NUMBER.findall(sentence.text)} - {value}
    part = _A_PART.match(after) or _PART_BEFORE.search(before)
    if part is not None or _PLACED.search(sentence.text):
        degrees = {degree for axis in _PARTS_OF[noun] for degree in sentence.whole.every(axis)}
        degrees |= sentence.whole.counts | {int(one) for one in said_too - {0}}
        more = sentence.whole.redundant or () if noun == "experts" else ()
        readings += [one for whole in readings for one in _parts(whole, degrees, more)]
    elif noun == "layers" and readings and value < readings[0].value / _NEAR:
        return
    if not readings or any(abs(one.value - value) in {0, *said_too} for one in readings):
        return
    note = f"{readings[0].reading}: {readings[0].substituted}"
    name = {"heads": "attention_heads", "layers": "layers", "experts": "experts_per_layer"}[noun]
    span = stretch(sentence.text, match.start(), match.end())
    yield claim_at(sentence, span, name, value, ONE, Verdict.FAILS, readings, note)


@lru_cache(maxsize=64)
def shape_of(name: str) -> ModelSpec | None:
    """A model of the catalog in full."""
    priced = priced_on(Known(name, None, "h100-sxm-8"), 1)
    return None if priced is None else priced[0].model


def _whole(model: ModelSpec, noun: str, words: frozenset[str]) -> list[Derivation]:
    """What a model has of a noun, the likeliest first."""
    found: list[tuple[str, int]] = []
    if noun == "heads":
        kinds = [block.attention for block in model.blocks.values() if block.attention is not None]
        cached = not words.isdisjoint({"kv", "key", "value"})
        fields = ("kv_heads",) if cached else ("heads",) if words & {"query", "q"} else ("heads", "kv_heads")
        for field in fields:
            found += [(field, size) for kind in kinds if isinstance(size := getattr(kind, field, None), int)]
        if not cached:
            found += [(field, size) for kind in kinds for field, size in kind.model_dump().items()
                      if "heads" in field and field not in {"heads", "kv_heads"} and isinstance(size, int)]  # fmt: skip
    elif noun == "layers":
        names = model.layer_names
        runs = [len(list(group)) for _, group in groupby(names)]
        found = [("layers", len(names)), *(("layers of a kind", names.count(name)) for name in model.blocks)]
        found += [("layers up to a kind's end", size) for size in accumulate(runs)]
        found += [
            ("layers with experts", model.moe_layer_count),
            ("layers without", len(names) - model.moe_layer_count),
        ]
    else:
        for moe in model.moe_blocks:
            shared = moe.shared_intermediate // moe.intermediate
            active = not words.isdisjoint({"active", "activated"})
            found += [] if active else [("experts", moe.experts), ("experts and shared ones", moe.experts + shared)]
            found += [("experts of a token", moe.top_k), ("and shared ones", moe.top_k + shared), ("shared", shared)]
    return [Derivation(reading, Fraction(size), reading, str(size)) for reading, size in dict.fromkeys(found)]


def _parts(whole: Derivation, degrees: Iterable[int], more: Sequence[int]) -> Iterator[Derivation]:
    for degree in sorted(degrees):
        for extra in (0, *more):
            size = whole.value + extra
            told = f"{plain(size)} ÷ {degree} = {plain(size / degree)}"
            for value in {size // degree, -(-size // degree)}:
                yield Derivation(f"{whole.reading} of a part", Fraction(value), f"{whole.reading} ÷ degree", told)


# --- degrees that the model's heads forbid


def _degrees(sentence: Sentence, named: Sequence[str]) -> JudgedClaims:
    """Degrees of tensor parallelism that no engine accepts for the model: its heads cannot be divided so."""
    for degree in degrees_in(sentence.text):
        start, end = degree.start, degree.start + len(degree.text)
        if degree.axis == "tp" and asserted(sentence, start, end) and not _DENIED.search(sentence.text):
            broken = [_heads_broken(model, degree.value) for model in named]
            if broken and all(broken):
                reading = Derivation("heads", Fraction(0), "attention heads % tp", broken[0])
                span = stretch(sentence.text, start, end)
                yield claim_at(sentence, span, "tp", Fraction(degree.value), ONE, Verdict.FAILS, [reading], broken[0])


_DENIED: Final = re.compile(
    r"\b(?:no|not|never|cannot|nor|refus\w*|reject\w*|error|wrong|divi\w+)\b|n['’]t\b", re.IGNORECASE
)
"""In a sentence that may say itself that a degree cannot be."""


@lru_cache(maxsize=256)
def _heads_broken(model: str, tp: int) -> str:
    """What forbids a degree of tensor parallelism, of the model's heads alone; empty where nothing does."""
    priced = priced_on(Known(model, None, "h100-sxm-8"), tp)
    violations = priced[2].violations if priced else ()
    return next((one.message for one in violations if one.family is Family.DIVISIBILITY and "heads" in one.message), "")


# --- tokens beyond the model's positions


_CONTEXT: Final = re.compile(
    r"(?P<ahead>\b(?:contexts?|windows?|max[-_ ]model[-_ ]len|context[-_ ]length)\b[^.;:\d]{0,24}?[ =:])?"
    r"(?<![\w.,/-])(?P<number>\d[\d,]*(?:\.\d+)?)\s?(?P<scale>[kKmM]i?|million)?\b"
    r"(?P<behind>[- ](?:tokens?[- ])?(?:(?:of|long)[- ])?(?:contexts?|windows?))?",
    re.IGNORECASE,
)
_STRETCHED: Final = re.compile(
    r"\b(?:yarn|rope[- ]scal\w*|extrapolat\w*|dual[- ]chunk|extend\w*|stretch\w*)\b", re.IGNORECASE
)
_SCALES: Final = {"": (1,), "k": (1000, 1024), "m": (10**6, 2**20)}


def _contexts(sentence: Sentence, named: Sequence[str]) -> JudgedClaims:
    """Contexts longer than the positions of every model that may be meant."""
    for match in _CONTEXT.finditer(sentence.text):
        if not (match["ahead"] or match["behind"]) or not asserted(sentence, *match.span("number")):
            continue
        scale = (match["scale"] or "")[:1].lower()
        least = min(Fraction(match["number"].replace(",", "")) * times for times in _SCALES[scale])
        most = [shape.max_context for name in named if (shape := shape_of(name)) is not None]
        limits = [one for one in most if one is not None]
        if limits and len(limits) == len(most) and least > max(limits):
            told = f"{max(limits):,} positions"
            reading = Derivation("positions of the model", Fraction(max(limits)), "max_context", told)
            span = stretch(sentence.text, *match.span("number"))
            yield claim_at(
                sentence, span, "max_model_len", least, ONE, Verdict.IMPOSSIBLE, [reading], f"the model has {told}"
            )
