"""What a document says of a known model's shape: heads, layers and experts, whole, active and divided; its contexts.

A number and its noun are a claim, in a sentence or in a cell whose heading is the noun; the words between say which of
them (``KV``, ``routed``), those around it of what (``per stage``, ``on every rank``). Right is what any model that the
words leave open has, whole or under any degree that the document gives.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate, groupby
from typing import Final

from optimizer.audit.degrees import COUNT, DEVICES, count, degrees_in
from optimizer.audit.deployment import Sentence, models_in
from optimizer.audit.facts import Derivation
from optimizer.audit.known_figures import JudgedClaims, claim_at, heads_broken, shape_of, stretch
from optimizer.audit.lexicon import ONE
from optimizer.audit.scope import asserted, clause_of, clause_span, models_of, names_another, of_another, scoped
from optimizer.audit.verdict import Verdict, plain
from optimizer.domain.model import ModelSpec

_NUMBER_TEXT: Final = rf"(?<!-)(?<!hundred )(?<!hundred and )(?<!thousand )(?!(?:a )?single\b){COUNT}(?!\w)"
"""A whole number, in digits or in a word, that is no part of another."""
_NUMBER: Final = re.compile(_NUMBER_TEXT, re.IGNORECASE)
_COUNTED: Final = re.compile(
    rf"(?P<number>{_NUMBER_TEXT})[ -]"
    rf"(?P<kind>(?:(?!{_NUMBER_TEXT}|(?:of|per|by|and|or|the|on|in|to|for|from|with)\b)[\w-]+[ -]){{0,3}}?)"
    r"(?P<noun>heads?|layers?|experts?|slots?)\b(?![- ](?:dim\w*|size|width|parallel\w*|bytes))",
    re.IGNORECASE,
)
_OF_A_TOKEN: Final = re.compile(
    rf"(?P<number>{_NUMBER_TEXT})\s+(?:of\s+(?:them|these|those|the\s+\w+|{_NUMBER_TEXT})\s+)?"
    r"(?:(?:routed|active)\s+)?(?:experts?\s+)?(?:(?:(?:are|is)\s+)?(?:active|chosen|used)\s+)?"
    r"(?:per|for (?:each|every|a)|a|each|every)\s+token\b|\btop[- ](?P<top>\d+)\b"
    r"|\b(?:rout|pick|choos|select|activat)\w*\s+(?:(?:only|each|every|an?|tokens?|to|just|it)\s+)*"
    rf"(?P<taken>{_NUMBER_TEXT})\s+(?:of\s+(?:them|these|those|its)|experts)\b",
    re.IGNORECASE,
)
"""Experts that a router takes: ``eight of them per token``, ``top-8``, ``routes a token to eight of them``."""
_PART: Final = r"(?:rank|gpu|card|device|chip|accelerator|stage|node|host|box|server|group|machine)s?\b"
_EACH: Final = (
    rf"(?:\b(?:per|each|every|an?|one|any|single)\s+(?:of\s+(?:(?:the|these|its|our)\s+)?(?:{COUNT}\s+)?)?"
    rf"(?:[\w-]+\s+)??|/\s*){_PART}"
)
_A_PART: Final = re.compile(rf"[^.;:\d]{{0,48}}?{_EACH}", re.IGNORECASE)
_PART_BEFORE: Final = re.compile(rf"{_EACH}[^.;\d]{{0,40}}$", re.IGNORECASE)
_SHARED: Final = re.compile(
    rf"(?P<number>{_NUMBER_TEXT})\s+(?:of\s+(?:them|these|those|(?:the|its|all)\s+(?:{_NUMBER_TEXT}\s+)?(?:[\w-]+\s+)?(?:experts?|heads?))\b"
    rf"|(?=(?:(?:to|on|for)\s+)?{_EACH}))",
    re.IGNORECASE,
)
"""Of experts or heads that are named before: ``owns 12 of them``, ``24 to each GPU``."""
_NO_NUMBER: Final = re.compile(r"[^\d.;]{1,48}(?:[A-Z]P\W?\d+[^\d.;]{1,24})?")
"""Between a noun and a number that counts some of it."""
_A_LAYER: Final = re.compile(r"\s*(?:per|in each|/)\s*layer", re.IGNORECASE)
_SOME: Final = re.compile(
    r"\b(?:first|last|others?|another|remaining|rest|only|next|every|further|more|plus|additional|extra|up to|at most"
    r"|at least|these|those|than|by|among|between|over|under|after|before|until|from)\s+(?:the\s+)?$"
    r"|(?<![A-Za-z\d])\d+(?:,|,?\s+(?:and|or))\s+$",
    re.IGNORECASE,
)
"""Before a number that counts some of them, or is the last of several."""
_RECKONED: Final = re.compile(r"^\s*(?:[×x*·+=≈→]|instances?\b|come to\b)|[×x*·÷/+=≈→~-]\s*$", re.IGNORECASE)
"""Beside a number that an equation has: a product of experts and layers is no shape, what is divided is one."""
_PLACED: Final = re.compile(rf"\b(?:{_PART}|[etpd]p[ =]?\d+|TP|EP|PP|parallel\w*)\b", re.IGNORECASE)
_SEVERAL: Final = 3
_PARTS_OF: Final = {"heads": ("tp",), "experts": ("ep", "tp", "dp"), "layers": ("pp",)}
_NEAR: Final = Fraction(3, 2)
"""Ratio to the number of layers within which a number of layers means all of them."""
_OTHER_KINDS: Final = frozenset([
    "redundant", "extra", "spare", "additional", "further", "more", "other", "remaining", "idle", "busy", "hot",
    "hottest", "cold", "popular", "virtual", "replicated", "unused", "missing", "new", "lora", "carry",
    "have", "hold", "own", "keep", "contain", "use", "get", "need", "see", "share", "are", "were",
])  # fmt: skip
"""Words between a number and its noun by which it is no shape of the model; so are verbs and plurals on -s."""
_ACTIVE: Final = frozenset({"active", "activated", "selected"})
_LABELS: Final = {
    ("heads", "kv"): r"(?:kv|key[-/ ]?value)[- ]heads?",
    ("heads", "query"): r"(?:attention|query|q)[- ]heads?|heads?|q",
    ("layers", ""): r"(?:transformer |decoder |hidden )?layers?",
    ("experts", "routed"): r"(?:routed )?experts?(?:,? (?:per|/|in each) layer)?",
    ("experts", "active"): r"top[- ]?k|(?:active |routed |chosen )?experts?,? ?(?:per|/|a) ?token|active experts",
    ("experts", "part"): r"(?:(?:routed )?experts?|slots?),? ?"
    rf"(?:(?:per|/|on each) ?(?:{DEVICES}|rank)|(?:per|/|and|,)? ?(?:moe )?layer|\W|and|per)+",
}
"""Headings of a table, whole, by the noun that they count and which of them."""
_CELL: Final = re.compile(r"\s*(\d[\d,]*)\s*(?:$|[(,;/]|x\b(?!\s*\d))")

_BY_LOAD: Final = re.compile(
    r"\b(?:hits?|sees?|saw|touch\w*|hot\w*|idle|busy|cold|got|receiv\w+|load(?:ed|ing)?|popular|batch"
    r"|(?<!per )(?<!a )(?<!each )(?<!every )tokens?|(?:each|every|per|a|one) (?:node|host|box|server|machine))\b",
    re.IGNORECASE,
)
"""Of experts that tokens choose, not those that a device keeps."""
_SHARED_ONE: Final = re.compile(r"\bshared\b", re.IGNORECASE)
_COPIES: Final = re.compile(r"\b(?:replica|instance|cop(?:y|ie))s?\b", re.IGNORECASE)
_RANKS: Final = re.compile(rf"({COUNT})\s+(?:{DEVICES}|ranks)\b", re.IGNORECASE)
_OVER: Final = re.compile(r"(?:.*[(=]\s*)?(?:EP|expert[- ]parallel\w*)(?: size)?\)?|GPUs|ranks", re.IGNORECASE)
"""Heads a column of what experts are spread over."""
_EXPERT_PARALLEL: Final = re.compile(r"\bexpert[- ]parallel", re.IGNORECASE)
_DIVIDES: Final = re.compile(
    r"\b(?:no|not|never|cannot|refus\w*|reject\w*|errors?|wrong|divi\w+|crash\w*|fail\w*)\b|n['’]t\b", re.IGNORECASE
)
"""In a paragraph that may say itself that a degree cannot be."""
_CONTEXT: Final = re.compile(
    r"(?P<ahead>\b(?:contexts?|windows?|max[-_ ]model[-_ ]len|context[-_ ]length)\b"
    r"(?:(?!\b(?:and|this|that|it|we|they|USD|EUR|CHF|GBP)\b)[^.;:\d$€£]){0,24}?[ =:])?"
    r"(?<![\w.,/-])(?P<number>\d[\d,]*(?:\.\d+)?)\s?(?P<scale>[kKmM]i?|million)?\b"
    r"(?P<behind>[- ](?:tokens?[- ])?(?:(?:of|long)[- ])?(?:contexts?|windows?))?",
    re.IGNORECASE,
)
_ITEM: Final = re.compile(r"\W*([A-Za-z][^:\d]{2,48}):\s*(\S.*)", re.DOTALL)
_STRETCHED: Final = re.compile(
    r"\b(?:yarn|rope[- ]scal\w*|extrapolat\w*|dual[- ]chunk|extend\w*|stretch\w*"
    r"|(?<=[a-z]-)(?:\d{4}|1M)|(?<=Instruct )\d{4}|\d{4} (?:release|instruct|variant|version|checkpoint))\b",
    re.IGNORECASE,
)
"""Longer than a model's own, or another release of it than the catalog's: ``Qwen3-30B-A3B-Instruct-2507``."""
_SCALES: Final = {"": (1,), "k": (1000, 1024), "m": (10**6, 2**20)}


def judge_shapes(said: Sequence[Sentence]) -> JudgedClaims:
    """Counts of heads, layers and experts that no model in the document's words has."""
    stretched = any(_STRETCHED.search(one.text) for one in said)
    for sentence in said:
        named = _named(sentence)
        if not named:
            continue
        counted = {one.at[0]: one for one in (*_celled(sentence, named), *_counted(sentence, named))}
        judged = [(one, _readings(sentence, one)) for one in counted.values()]
        # a sentence that gives the right number of something tells it apart from the others
        right = {one.kind for one, readings in judged
                 if not sentence.cells and any(reading.value == one.value for reading in readings)}  # fmt: skip
        for one, readings in judged:
            if one.kind not in right and all(reading.value != one.value for reading in readings):
                yield from _claim(sentence, one, readings)
        yield from _degrees(sentence, named)
        yield from () if stretched else _contexts(sentence, named)


def _named(sentence: Sentence) -> Sequence[str]:
    """Models whose shape a sentence speaks of; none where it may be another's. A command is judged whole, elsewhere."""
    if sentence.code or names_another(sentence.text):
        return ()
    named = models_of(sentence)
    return named if len(named) <= _SEVERAL else ()


@dataclass(frozen=True, slots=True)
class _Counted:
    """A count: where it stands, of what noun, which of them, and of which models."""

    at: tuple[int, int]
    value: int
    noun: str
    words: frozenset[str]
    models: Sequence[str]

    @property
    def kind(self) -> tuple[str, frozenset[str]]:
        """What is counted: of a whole or a part, of all or of those that are active."""
        return self.noun, self.words & {*_ACTIVE, "part", "kv", "query"}


def _counted(sentence: Sentence, named: Sequence[str]) -> Iterator[_Counted]:
    """Counts with their noun behind them."""
    text = sentence.text
    experts = re.search("expert|moe|rout", text, re.IGNORECASE) is not None
    if experts:
        for match in _OF_A_TOKEN.finditer(text):
            group = next(name for name, found in match.groupdict().items() if found)
            yield _Counted(match.span(group), count(match[group]), "experts", _ACTIVE, named)
    degrees = {one.start + len(one.text) for one in degrees_in(text)}
    nouns = [match for match in _COUNTED.finditer(text) if match["noun"].lower() not in {"slot", "slots"}]
    shared = [match for match in _SHARED.finditer(text) if match.end("number") not in degrees]
    whole = (match for match in _COUNTED.finditer(text)
             if not any(other.start() < match.start() < other.end() for other in shared))  # fmt: skip
    for match in (*shared, *whole):
        ahead = [one["noun"] for one in nouns if _NO_NUMBER.fullmatch(text, one.end(), max(one.end(), match.start()))]
        word = match.groupdict().get("noun", (ahead or ["experts" * experts])[-1]).lower().rstrip("s")
        words = frozenset(re.split(r"[ -]", match.groupdict().get("kind", "").lower().strip())) - {""}
        before, after = text[: match.start()], text[match.end() :]
        part = bool(_A_PART.match(after) or _PART_BEFORE.search(before))
        some = (not part and _SOME.search(before)) or _RECKONED.search(before) or _RECKONED.match(after)
        part |= word == "expert" and "ep" in sentence.own.degrees and _A_LAYER.match(after) is not None
        if (
            not (words & _OTHER_KINDS or any(word.endswith("s") for word in words))
            and not some
            and word
            and (part or (word != "slot" and "noun" in match.groupdict()))
        ):
            kinds = words | ({"part"} if part else {"placed"} if _PLACED.search(text) else set())
            noun = f"{word.replace('slot', 'expert')}s"
            yield _Counted(match.span(), count(match["number"]), noun, kinds, named)


def _celled(sentence: Sentence, named: Sequence[str]) -> Iterator[_Counted]:
    """Counts in cells whose column or row is headed by their noun; the other heading may name the model."""
    item = _ITEM.match(sentence.text) if sentence.item and not sentence.cells else None
    cells = {item[1]: item[2]} if item else {label: text for label, (text, _) in sentence.cells.items()}
    at, title = 0, next(iter(cells.values()), "")
    for label, cell in cells.items():
        first = sentence.text.index(cell, at)
        at = first + len(cell)
        by_column = _headed(label)
        head, number = by_column or (_headed(title) if cell != title else None), _CELL.match(cell)
        # a column beside the row's noun is some model's, which must be named
        models = models_in(label) or models_in(title) or (named if by_column else ())
        if head is not None and number is not None:
            words, value = frozenset({head[1], "celled"}), count(number[1].replace(",", ""))
            yield _Counted((first, first + len(number[1])), value, head[0], words, models)


@lru_cache(maxsize=1024)
def _headed(label: str) -> tuple[str, str] | None:
    """Noun of a heading, and which of them."""
    return next((key for key, one in _LABELS.items() if re.fullmatch(one, label.strip(), re.IGNORECASE)), None)


def _readings(sentence: Sentence, said: _Counted) -> list[Derivation]:
    """What a count may be; none where it is not asserted, or nothing can be told."""
    part, noun, own = "part" in said.words, said.noun, sentence.own.degrees
    # what follows from a degree that the sentence gives is judged under it
    given = part and (not own.keys().isdisjoint(_PARTS_OF[noun]) or (noun == "experts" and _near_ranks(sentence)))
    if said.value <= 1 or not asserted(sentence, *said.at, conditional=bool(given)) or of_another(sentence, said.at[1]):
        return []
    if not part and not scoped(sentence, models_in):
        return []
    if noun == "experts" and not sentence.cells and _BY_LOAD.search(clause_of(sentence.text, *said.at)):
        return []
    shapes = [shape for name in said.models if (shape := shape_of(name)) is not None]
    return _divided(sentence, said, [one for shape in shapes for one in _whole(shape, noun, said.words)])


def _claim(sentence: Sentence, said: _Counted, readings: Sequence[Derivation]) -> JudgedClaims:
    if not readings:
        return
    note = f"{readings[0].reading}: {readings[0].substituted}"
    name = {"heads": "attention_heads", "layers": "layers", "experts": "experts_per_layer"}[said.noun]
    name = "experts_per_gpu" if "part" in said.words and said.noun == "experts" else name
    span, value = stretch(sentence.text, *said.at), Fraction(said.value)
    yield claim_at(sentence, span, name, value, ONE, Verdict.FAILS, readings, note)


def _divided(sentence: Sentence, said: _Counted, whole: list[Derivation]) -> list[Derivation]:
    """What a count may be: what the model has, whole or divided as the words allow; none where nothing can be told."""
    part, value = "part" in said.words, said.value
    beside = (
        set() if "celled" in said.words else {count(other) for other in _NUMBER.findall(sentence.text)} - {value, 0}
    )
    if part and said.noun == "experts":
        spare, every = sentence.whole.redundant, [one for one in whole if one.reading == "experts"]
        ranks = _near_ranks(sentence)
        apart = len(sentence.cells) > 1 and not ranks  # EP stands in another row
        if apart or value in {one.value + extra for one in every for extra in (0, *(spare or ()))}:
            return []
        told = sentence.whole.prose.get(("ep", None), ())
        before = {one.own.degrees["ep"] for one in told if one.place.line < sentence.place.line}
        others = sentence.whole.counts.union(*map(sentence.whole.every, _PARTS_OF["experts"]))
        anywhere = beside.union(before or others)
        readings = [one for each in every for one in _parts(each, ranks or anywhere, spare or ())]
        more = 1 if _SHARED_ONE.search(sentence.text) else 0
        return readings + [replace(one, value=one.value + more) for one in readings]
    if part or "placed" in said.words:
        axes = _PARTS_OF[said.noun]
        said_so = sentence.text[: clause_span(sentence.text, *said.at)[1]]
        own = {one.value for one in degrees_in(said_so) if one.axis in axes}
        degrees = own or sentence.whole.counts.union(*(sentence.whole.every(axis) for axis in axes))
        if not (part and own) or len(degrees_in(said_so)) > 1:  # beside its one degree, other numbers are no parts
            degrees |= {other * degree for other in beside for degree in {1, *degrees}}
        return [*whole, *(one for each in whole for one in _parts(each, degrees, ()))]
    some = said.noun == "layers" and "celled" not in said.words and whole and value < whole[0].value / _NEAR
    return [] if some or any(abs(one.value - value) in beside for one in whole) else whole


def _near_ranks(sentence: Sentence) -> set[int]:
    """Ranks that experts are spread over by the row, the sentence, those of its paragraph or the command before it."""
    for label, (cell, _) in sentence.cells.items() if not _COPIES.search(sentence.text) else ():
        if _OVER.fullmatch(label) and cell.isdigit():
            return {int(cell)}
    for one in reversed(sentence.whole.ahead(sentence)):
        parallel = _EXPERT_PARALLEL.search(one.text) is not None
        if one.segment != sentence.segment and not (one.code and parallel):
            if one.code or sentence.cells:
                break
            continue
        if "ep" in one.own.degrees:
            return {one.own.degrees["ep"], *map(count, _RANKS.findall(sentence.text))}
        counted = set(map(count, _RANKS.findall(one.text) if parallel else ()))
        degrees = one.known.degrees if one.code else one.own.degrees
        if counted or (parallel and degrees):
            return counted or {degrees.get("tp", 1) * degrees.get("dp", 1)}
    return set()


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
        found += [("layers up to a kind's end", size) for size in (accumulate(runs) if len(runs) <= _SEVERAL else ())]
        found += [
            ("layers with experts", model.moe_layer_count),
            ("layers without", len(names) - model.moe_layer_count),
        ]
    else:
        for moe in model.moe_blocks:
            shared = moe.shared_intermediate // moe.intermediate
            active = not words.isdisjoint(_ACTIVE)
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
    beside = sentence.whole.paragraphs[sentence.segment]
    for degree in degrees_in(sentence.text):
        start, end = degree.start, degree.start + len(degree.text)
        if degree.axis == "tp" and asserted(sentence, start, end) and not _DIVIDES.search(beside):
            broken = [heads_broken(model, degree.value) for model in named]
            if broken and all(broken):
                reading = Derivation("heads", Fraction(0), "attention heads % tp", broken[0])
                span = stretch(sentence.text, start, end)
                yield claim_at(sentence, span, "tp", Fraction(degree.value), ONE, Verdict.FAILS, [reading], broken[0])


# --- tokens beyond the model's positions


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
