"""Facts and claims of a document: its figures, each named by what it counts and by the words around it.

One table says which words name which claim of `verify`. They are sought in a saying of the figure, in which ``#`` is
its number: ``label: clause before # nouns per units, clause after``. With a problem, every name that a claims file
knows is one as well: ``Prefill chunk: 512``, ``fabric utilization of 0.4%``. Degrees, words and the factors of products
are facts too.
"""

import math
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.compare import factors
from optimizer.audit.degrees import find_degrees, symbolic_products
from optimizer.audit.deployment import Sentence
from optimizer.audit.document import Place, Segment
from optimizer.audit.equation import Equation
from optimizer.audit.expression import Parser
from optimizer.audit.facts import AXES, LABEL, Role, Statement, label_role, own_role, segment_role
from optimizer.audit.lexicon import Dimensions
from optimizer.audit.tokens import Number, Token, numbers_of, tokenize
from optimizer.domain.problem import Problem
from optimizer.units import Dimension
from optimizer.verify.claim_table import ALIASES, dimensions

_KINDS: Final = {
    lexicon.BYTES: "bytes", lexicon.BANDWIDTH: "bandwidth", lexicon.PER_SECOND: "rate", lexicon.SECONDS: "time",
    lexicon.FLOPS: "flops", lexicon.NONE: "count",
}  # fmt: skip
_DEVICE: Final = r"(?:gpu|device|accelerator|chip|npu|tpu|card|rank)"
_EACH: Final = (
    rf"(?:\b(?:per|each|every|one|single)[\s-]*(?:{_DEVICE}|[hab]\d00|gb200|l40s|mi3\d\dx)s?\b(?!-h)"
    r"|\bgpu'?s? (?:per|each)\b)"
)
_NETWORK: Final = (
    r"\b(?:nvlink|network|infiniband|interconnect|fabric|links?|ethernet|rdma|pcie|int(?:er|ra)[- ]node)\b"
)
_CAPACITY: Final = (
    r"\b(?:vram|capacity|hbm(?:\d\w*)?|available memory|(?:gpu|device) memory|memory (?:limit|size|available))\b"
)
_KEPT: Final = (
    r"^(?!.*\b(?:peak|theoretical|spec\w*|rated|nominal|datasheet|up to|l2|sram|shared memory|sparse|if|would|could"
    rf"|never|cannot)\b)(?=.*{_EACH}).*\b(?:sustain\w*|achiev\w*|effective|measured|observed|reach\w*|attain\w*"
    r"|deliver\w*|shows|hit(?:s|ting)?|runs at|running at)\b"
)
"""A rate that a device was seen to keep, and not what it is sold for."""
_CACHE_OF_EACH: Final = r"^(?=.*\bkv\b).*# .*\bper token"
_COUNTED: Final = r"^# (?:(?:total|number|num|of|overall|max|moe|transformer|hidden|model|global|decode) )*"
_OF_EACH: Final = rf"{_EACH}[^#]*#|# (?:[\w-]+ ){{0,3}}{_EACH}"
_LAYER: Final = r"(?:moe )?layers?\b"
_TABLE: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "few bytes": (
        ("kv_cache_per_token", _CACHE_OF_EACH),
        ("bytes_per_parameter", r"# ?(?!per )"),
    ),
    "bytes": (
        ("kv_cache_per_token", _CACHE_OF_EACH),
        ("", r"\b(?:replicated|sharded|shared|unsharded) (?:weights?|param\w*)[^#]{0,24}#", r"head-?room\W*#"),
        ("device_memory", r"# (?:gpus?|devices?|accelerators?|cards?|[hab]\d00)\b",
         rf"# (?!of (?:the )?[~≈]?\d|per\b)(?:\w+ ){{0,2}}?{_CAPACITY}",
         rf"^(?!.*\b(?:used|usage|utili[sz]|per[- ]gpu memory|total\b)).*{_CAPACITY}[^#]{{0,16}}#"),
        ("", r"\b(?:disk|ssd|nvme|storage|ram|host|cpu|cache line|message|bucket|page|block|buffer|segment|swap)\b",
         r"\b(?:aligned|offload\w*|images?|download\w*|file|transfer|traffic|communicat\w*|all-?reduce|all-?to-?all)\b",
         r"\b(?:per|each|every|one|single) (?:expert|layer|token|sequence|request|stage|node|server|head|replica)\b"),
        ("memory*", r"^(?=.*\b(?:weights?|parameters?|kv|cache)\b).*\bactivations?\b",
         r"^(?=.*\bcache\b).*\bweights?\b"),
        ("kv_cache*", r"\bkv\b"),
        ("activations", r"\bactivations?\b"),
        ("expert_weights*", r"\bexperts?\b(?! per\b).{0,30}\b(?:memory|param|weight|size)",
         r"\bfor (?:the )?experts?\b"),
        ("weights*", r"\b(?:weights?|model size|(?:parameter|model) memory)\b"),
        ("memory*", r"\b(?:memory|used|usage|footprint|vram|utili[sz]ation)\b"),
    ),
    "bandwidth": (
        ("link_bandwidth", _NETWORK),
        ("achieved_bandwidth", _KEPT),
        ("memory_bandwidth", r"\b(?:hbm|memory|vram|bandwidth|dram)\b"),
    ),
    "flops": (("achieved_flops", _KEPT), ("peak_flops", r"\b(?:peak|fp16|bf16|fp8|tensor|rated|compute)\b")),
    "rate": (
        ("request_capacity", r"# req"),
        ("throughput_per_device", rf"^(?=.*# (?:\w+ ){{0,2}}tok).*{_EACH}"),
        ("", r"\b(?:user|request|sequence|stream|session)\b"),
        ("throughput", r"# (?:\w+ ){0,2}tok"),
    ),
    "time": (
        ("", r"\bp\d\d", r"\bpercentile\b", r"\bmedian\b"),
        ("ttft", r"\bttft\b", r"time[- ]to[- ]first[- ]token", r"first[- ]token latency"),
        ("tpot", r"\btpot\b", r"\bitl\b", r"inter-?token", r"time per output token"),
        ("latency", r"\bend[- ]to[- ]end (?:latency|time)", r"\be2e\b", r"\brequest latency"),
        ("step_time", r"\bstep time\b", r"time per step", r"iteration time"),
    ),
    "share": (
        ("", r"# (?:of|less|lower|more|higher|fewer|faster|slower|smaller|larger|better|worse|balanced)\b",
         r"# (?:reduction|(?:in|de)crease|improvement)\b"),
        ("model_flops_utilization", r"\bmfu\b", r"model flops? utili[sz]ation"),
        ("compute_headroom", r"\bcompute\b.*(?:headroom|available).*#"),
        ("memory_headroom", r"\bmemory\b.*(?:headroom|available).*#"),
        ("", r"^(?!.*(?:utili[sz]|\busage|\bused\b))"),
        ("link_utilization", rf"{_NETWORK}.{{0,24}}\b(?:bandwidth|utili[sz]ation)"),
        ("hbm_bandwidth_utilization", r"\bbandwidth\b"),
        ("memory_utilization", r"\b(?:memory|vram|hbm|[gmt]i?b)\b"),
        ("compute_utilization", r"\b(?:compute|flops?|tensor core|gpu)\b"),
    ),
    "parameters": (
        ("", r"\b(?:missing|gap|other|remaining|additional|unaccounted|draft|teacher|baseline|compared)\b[^#]{0,30}#",
         r"\b(?:embedding|shared)\b[^#]{0,30}#"),
        ("parameters_per_expert", r"\b(?:per|each|one) expert\b", r"\bexpert (?:has|would need|needs)\b"),
        ("active_parameters", r"\bactiv(?:e|ated)\b[^#]{0,24}#", r"# .{0,16}\b(?:per|a) token",
         r"# (?:[\w-]+ ){0,2}(?:(?:are|of (?:them|which|these)) )*activ"),
        ("", rf"\bper (?:{_DEVICE}|layer)\b"),
        ("expert_parameters", r"\bexperts?\b.*#", r"# expert"),
        ("", r"(?::.*|# )\b(?:attention|embedding|router)\b", r"# dense"),
        ("parameters", r"#"),
    ),
    "experts": (
        ("", r"\b(?:active|activated|selected|shared|redundant|top-?k)\b[^#]{0,20}#",
         r"# (?:[\w-]+ ){0,3}(?:active|activated|selected|routed to|shared|redundant|per token)\b"),
        ("experts_per_gpu_per_layer", rf"^(?=.*(?:{_OF_EACH})).*# (?:[\w-]+ ){{0,4}}(?:per|and) {_LAYER}"),
        ("expert_instances", rf"^(?=.*(?:{_OF_EACH})).*# (?:\w+ )?instance"),
        ("experts_per_gpu", _OF_EACH),
        ("experts_per_layer", rf"# .*\bper {_LAYER}", r"# num (?:local |routed )?experts$", r"# n routed experts"),
        ("experts_total", r"\btotal (?:number of )?experts?\b", r"\bexperts? (?:instances )?(?:in )?total\b"),
        ("experts", r"# (?!.*(?:\bper\b|instances))"),
    ),
    "devices": (
        ("", r"# [^,]*\b(?:per|(?:in|within) (?:a|one)) (?:stage|group|replica|node|server|host|machine)",
         r"# (?:\w+ ){1,2}(?:box(?:es)?|stages?|groups?|replicas?|systems?|nodes?|servers?|hosts?|machines?)\b",
         r"# .*\b(?:available|idle|spare|free|unused|left over)\b", r"\b(?:up to|out of|cluster (?:of|with|has)) #",
         r"\b(?:each|every) (?:stage|replica|group|instance|pipeline|node)\b.*#",
         r"\b(?:examples?|simplified|only|using|instead|subset|groups? of|expert)\b[^#]{0,18}#"),
        ("devices", r"#"),
    ),
    "nodes": (("nodes_visited", r"\bvisit"),),
    "layers": (("", r"# (?:\w+ )?(?:dense|layers? per (?:stage|rank|gpu))\b"), ("layers", r"# (?:\w+ )?layers?\b")),
    "bare": (
        ("devices", _COUNTED + r"(?:gpus?|devices?|accelerators?|world size)(?: count| required| needed)?$"),
        ("balance", r"^# (?:expert )?(?:load )?(?:im)?balance$", r"^# max(?:imum)? over mean$"),
        ("layers", _COUNTED + r"layers?$"),
        ("expert_hidden_size", r"# (?:expert|moe) (?:hidden|intermediate|ffn|inner) ?(?:size|dim\w*)?$"),
        ("hidden_size", r"^# (?:model )?(?:hidden|d model|embedding) ?(?:size|dim\w*)?$"),
        ("batch", _COUNTED + r"batch(?: size)?$", r"^# concurrent (?:sequences|requests)$"),
        ("input_tokens", r"^# (?:prompt|input|sequence|context) (?:length|tokens|len)$"),
    ),
}  # fmt: skip
"""Kind of a figure, then each claim or fact with its words, the first that match; nameless ones are neither. A ``*``
stands for ``_total`` where the words say that it is one."""
_ROWS: Final = {kind: [(row[0], re.compile("|".join(row[1:]))) for row in rows] for kind, rows in _TABLE.items()}
_NOUNS: Final = (
    ("parameters", re.compile(r"\bparam\w*|\bweights\b")),
    ("experts", re.compile(r"\bexperts?\b(?!\s+parallel)")),
    ("devices", re.compile(rf"^(?:[\w-]+ )?{_DEVICE}s?\b")),
    ("nodes", re.compile(r"^nodes\b")),
    ("layers", re.compile(r"^(?:[\w-]+ ){0,2}layers?\b")),
)
"""Kinds of counts, by a noun."""
WITH_PROBLEM: Final = frozenset(
    ["request_capacity", "kv_cache_per_token", "latency", "balance", "link_bandwidth", "link_utilization",
     "nodes_visited"]
)  # fmt: skip
"""Claims that only a problem can judge; without one they are no news."""
_FACTS: Final = frozenset(
    ["bytes_per_parameter", "device_memory", "memory_bandwidth", "peak_flops", "experts_per_layer", "experts",
     "layers", "expert_hidden_size", "hidden_size", "batch", "input_tokens"]
)  # fmt: skip
"""Givens, no claims."""
_GENERAL: Final = frozenset(
    ["ttft", "tpot", "latency", "step_time", "throughput", "throughput_per_device", "request_capacity", "weights",
     "parameters", "experts_per_layer", "experts", "batch"]
)  # fmt: skip
"""What a closer name may be taken for: the ideal one of them, one part of it."""
_CONFIRMED: Final = frozenset(["layers", "experts_per_layer"])
"""Givens that a problem can confirm."""
_BOTH: Final = frozenset(["devices", "experts_total", "parameters", "link_bandwidth"])
"""Claims that other figures follow from."""
_LEAST_MEMORY: Final = 10**6
_BOUNDS: Final = {
    "device_memory": (10**9, math.inf), "parameters": (1000, math.inf), "active_parameters": (1000, math.inf),
    "expert_parameters": (1000, math.inf), "bytes_per_parameter": (1, 8), "devices": (1, 10**7),
    "experts": (2, math.inf),
}  # fmt: skip
"""What is less or more is none."""
_ON_EACH: Final = re.compile(_EACH)
_TOTAL: Final = re.compile(
    r"\b(?:total|overall|aggregate|cluster|system(?:-wide)?|across all|all \d+|combined|whole)\b"
)
_CLAUSE: Final = re.compile(
    r"[;|=≈\u2022]|[.!?](?=\s|$)|(?<=\s)[–—](?=\s)|,(?=\s)(?!\s(?:the |and )*(?:kv|cache|activ|weights))"
)
_LINKED: Final = re.compile(r"\W*(?:(?:is|of|only|exactly|a|total|about|roughly)\W*)*")
_DIVIDED: Final = re.compile(r"(?:\b(?:on |in |for |of )?(?:each|every|per)\b(?: of (?:the |its )?(?:\d+ )?)?|\s*/)\s*")
_COMPARED: Final = re.compile(r"(?:\bvs\.?|\bversus|\bto|→|->|\bagainst)\s*[~≈\"]?\s*$")
_REMARK: Final = re.compile(r"\s*\([^)]*\)|[*`\"']")
_JUDGED: Final = re.compile(
    r"(?:\s+(?:claim\w*|calculat\w*|actual|value|document\w*|stated|correct\w*|computed|expected|report\w*|current"
    r"|figure|estimate\w*|measured))+$"
)
"""Behind a label: whose figure it is."""
_LINKED_END: Final = re.compile(
    r"(?:\W*\b(?:is|of|at|about|around|roughly|approximately|equals|reaches|to|was|only|a|exactly|just|some|total))*\W*$"
)
_MOST_NOUNS: Final = 3
_LABEL_REACH: Final = 240
_BEFORE: Final = 90
_AFTER: Final = 60
_UNITS: Final[Mapping[Dimension, Dimensions]] = {
    Dimension.BYTES: lexicon.BYTES, Dimension.BYTES_PER_SECOND: lexicon.BANDWIDTH, Dimension.FLOPS: lexicon.FLOPS,
    Dimension.SECONDS: lexicon.SECONDS, Dimension.DOLLARS: lexicon.DOLLARS, Dimension.COUNT: lexicon.NONE,
    Dimension.DOLLARS_PER_HOUR: lexicon.DOLLAR_RATE, Dimension.TOKENS_PER_SECOND: lexicon.PER_SECOND,
    Dimension.PER_SECOND: lexicon.PER_SECOND, Dimension.RATIO: lexicon.NONE,
}  # fmt: skip
_OF_DEVICE: Final = frozenset(["gpu", "gpus", "device", "devices", "rank", "accelerator", "chip", "token", "sequence"])
_WORD: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_MOST_WORDS: Final = 7
_SPELLED: Final = {"utilisation": "utilization", "gpu": "device", "gpus": "devices"}
_TOO_LARGE: Final = 100_000
"""No degree of parallelism."""
_SHAPE: Final = ("expert_matrices", "hidden_size", "expert_hidden_size")
_MATRICES: Final = (2, 3)
_BYTES: Final = {"bf16": Fraction(2), "fp8": Fraction(1), "int8": Fraction(1), "int4": Fraction(1, 2)}
_MIXED: Final = re.compile(
    r"\b(?:dense (?:layers?|ffn|mlp|blocks?)|shared|\d+ MoE|first_k_dense\w*|redundant experts?|MTP)\b", re.IGNORECASE
)
"""Layers that are not all alike, or experts beside the routed ones: counts by multiplication are then open."""


@dataclass(slots=True)
class _Saying:
    """A number with its words: its label, the clause before it and the words after."""

    number: Number
    label: str
    before: str
    after: str
    place: Place
    role: Role
    text: str

    @property
    def near(self) -> str:
        return f"{self.label} {self.before} {self.after}"


def read_claims(
    said: Sequence[Sentence], segments: Sequence[Segment], taken: Mapping[int, list[tuple[int, int]]],
    operands: set[Place], problem: Problem | None,
) -> tuple[list[Statement], list[Statement]]:  # fmt: skip
    """Facts and claims of the sentences, in document order; a figure can be both.

    ``taken`` are columns of each line that degrees have; of ``operands`` of equations only the unit names any.
    """
    names = {} if problem is None else _names(problem)
    facts: list[Statement] = []
    claims: list[Statement] = []
    previous: tuple[str, Number, tuple[str, ...]] | None = None
    for sentence in said:
        for one in _sayings(sentence, segments):
            number, place = one.number, one.place
            inside = place in operands
            if any(start <= place.column < end for start, end in taken.get(place.line, ())):
                continue
            if inside and not (number.nouns or number.per or number.unit.name):
                continue
            of_role = label_role(one.label) is not None
            known = _claim(one)
            if known is None and previous and number.unit == previous[1].unit is not lexicon.ONE:
                again = of_role and sentence.section == previous[2] and number.per in {(), previous[1].per}
                again = again or (not number.per and _COMPARED.search(one.before) is not None)
                known = previous[0] if again and one.after[:3] != "of " else None
            called = _called(one, names)
            name = called if called and (known is None or known in _GENERAL) else known
            if name is None or (problem is None and name in WITH_PROBLEM):
                continue
            previous = name, number, sentence.section
            if inside and name == "experts_per_gpu":
                name = "experts"
            made = Statement(
                name, number.value, place, one.text, one.role, sentence.segment, number.unit, number,
                section=sentence.section, near=one.near,
            )  # fmt: skip
            if name in _BOTH or name in _FACTS:
                facts.append(made)
            if not inside and (name not in _FACTS or (problem is not None and name in _CONFIRMED)):
                claims.append(made)
    return facts, claims


def _sayings(sentence: Sentence, segments: Sequence[Segment]) -> Iterator[_Saying]:
    """Every number of a sentence or row with its words."""
    segment = segments[sentence.segment]
    if not sentence.cells:
        yield from _of_text(sentence.text, "", segment_role(segment), sentence, 0)
        return
    at, title = 0, next(iter(sentence.cells.values()))[0]
    for label, (text, _) in sentence.cells.items():
        at = sentence.text.index(text, at)
        heads = (sentence.header, label) if len(sentence.cells) < 2 else (label, title if text != title else "")
        role = label_role(heads[0]) or label_role(heads[1]) or Role.STATED
        yield from _of_text(text, f"{heads[1]} {heads[0]}".lower()[-_LABEL_REACH:], role, sentence, at)


def _of_text(text: str, label: str, role: Role, sentence: Sentence, at: int) -> Iterator[_Saying]:
    numbers = numbers_of(tokenize(text))
    written = None if label or not numbers else LABEL.match(text)
    for number in numbers:
        own = written if written is not None and written.end() <= number.start else None
        start = max(own.end() if own else 0, number.start - _BEFORE)
        before = _CLAUSE.split(text[start : number.start].lower())[-1].strip()
        after = _CLAUSE.split(text[number.end : number.end + _AFTER].lower(), maxsplit=1)[0].strip(" :")
        mine = own_role(text, number.start, number.end) or role
        yield _Saying(number, own[1].lower() if own else label, before, after, sentence.at(at + number.start), mine,
                      " ".join(text[number.start : number.end].split()))  # fmt: skip


def _noun(text: str) -> str:
    return next((name for name, noun in _NOUNS if noun.search(text)), "")


def _claim(one: _Saying) -> str | None:
    """Name of the claim or fact that the words of a figure make it, or with them those of the sentence above."""
    number = one.number
    kind = "share" if number.unit is lexicon.PERCENT else _KINDS.get(number.unit.dimensions, "")
    per = "".join(f" per {word}" for word in number.per)
    lead, phrase = f"{one.label}: {one.before}", f"{' '.join(number.nouns)}{per} {one.after}"
    if kind == "bytes" and number.value < _LEAST_MEMORY:
        kind = "few bytes"
    if kind == "count":
        kind = _noun(" ".join(number.nouns))
        bare = not kind and not number.per and len(number.nouns) <= _MOST_NOUNS
        if bare:
            lead, phrase = "", _JUDGED.sub("", _REMARK.sub("", one.label).strip())
        phrase = _DIVIDED.sub(" per ", phrase.replace("_", " ")).strip()
        if bare and _LINKED.fullmatch(one.before):
            kind = _noun(phrase.partition(" per ")[0])
            whole = number.unit is lexicon.ONE or kind == "parameters"
            kind = kind if whole and kind not in {"", "devices", "layers"} else "bare"
        if number.digits.denominator != 1 and number.unit is lexicon.ONE and kind not in {"experts", "bare", "nodes"}:
            return None
    words = " ".join(f"{lead} # {phrase}".split())
    name = next((name for name, pattern in _ROWS.get(kind, ()) if pattern.search(words)), "")
    name = name.replace("*", "_total" if _TOTAL.search(words) and not _ON_EACH.search(words) else "")
    least, most = _BOUNDS.get(name, (0, math.inf))
    return name if name and least <= number.value <= most else None


def _names(problem: Problem) -> dict[str, tuple[str, Dimension]]:
    """Every name of a claim that a problem knows, as words."""
    return {
        _joined(name): (ALIASES.get(name, name), dimension)
        for name, dimension in dimensions(problem).items()
        if ALIASES.get(name, name) not in AXES and dimension in _UNITS
    }


def _joined(name: str) -> str:
    return " ".join(_SPELLED.get(word, word) for word in _WORD.findall(name.replace("_", " ").lower()))


def _called(one: _Saying, names: Mapping[str, tuple[str, Dimension]]) -> str | None:
    """Claim that the label of a figure is the name of, or the words just before or behind it."""
    number, before = one.number, _WORD.findall(_LINKED_END.sub("", one.before))
    asked = [] if before else [_JUDGED.sub("", _REMARK.sub("", one.label))]
    # Within a sentence, only a name of several words is one.
    asked += [" ".join(before[-count:]) for count in range(min(_MOST_WORDS, len(before)), 1, -1)]
    asked += [" ".join(number.nouns)] if len(number.nouns) > 1 else []
    for text in asked if names and _OF_DEVICE.issuperset(number.per) else ():
        claim, dimension = names.get(_joined(text), ("", Dimension.COUNT))
        share = number.unit is lexicon.PERCENT and dimension is not Dimension.RATIO
        if claim and number.unit.dimensions == _UNITS[dimension] and not share:
            return claim
    return None


def extract(
    segments: tuple[Segment, ...], tokens: list[list[Token]], equations: Sequence[Equation], said: Sequence[Sentence],
    problem: Problem | None,
) -> tuple[list[Statement], list[Statement]]:  # fmt: skip
    """Every fact and every claim, in document order; a figure can be both."""
    facts = list(find_degrees(segments, [segment_role(segment) for segment in segments]))
    taken: dict[int, list[tuple[int, int]]] = {}
    for degree in facts:
        column = degree.place.column
        taken.setdefault(degree.place.line, []).append((column, column + len(degree.text)))
    operands = places_of(equations, segments, tokens, results=False)
    more, claims = read_claims(said, segments, taken, operands, problem)
    facts += more
    facts += _of_products(segments, tokens, equations, {fact.name for fact in facts})
    facts += _words(said)
    return sorted(facts, key=_order), sorted(claims, key=_order)


def _order(statement: Statement) -> tuple[int, int, str]:
    return statement.place.line, statement.place.column, statement.name


def places_of(
    equations: Sequence[Equation], segments: Sequence[Segment], tokens: Sequence[Sequence[Token]], *, results: bool
) -> set[Place]:
    """Places of the numbers of some arithmetic, with the stated results or without."""
    places: set[Place] = set()
    for one in equations:
        start, end = one.start, one.end
        if not results:
            start, end = (start, one.stated_start) if one.stated_start > start else (one.stated_start + 1, end)
        written = tokens[one.segment]
        first, last = (bisect_left(written, at, key=lambda token: token.start) for at in (start, end))
        places |= {segments[one.segment].place(number.start) for number in numbers_of(written[first:last])}
    return places


def _of_products(
    segments: tuple[Segment, ...], tokens: list[list[Token]], equations: Sequence[Equation], known: set[str]
) -> Iterator[Statement]:
    """Names of factors: ``tp * pp * dp`` in symbols and numbers, ``8 experts × 3 × 512 × 1024`` an expert's shape."""
    products: dict[int, dict[tuple[str, ...], str]] = {}
    beside: dict[int, set[int]] = {}
    for index, axes, quote in symbolic_products(segments):
        products.setdefault(len(axes), {}).setdefault(axes, quote)
        beside.setdefault(index, set()).add(len(axes))
    together = set().union(*(beside.get(equation.segment, set()) for equation in equations))
    seen: set[tuple[str, Fraction]] = set()
    for equation in equations:
        numbers = _factors(segments, tokens, equation) if products or "expert" in equation.text else None
        bare = [one for one in numbers or () if not one.nouns and one.unit is lexicon.ONE and not one.decimal]
        symbols = products.get(len(bare), {}) if numbers and len(bare) == len(numbers) else {}
        # Where numbers stand beside the symbols, none elsewhere are theirs.
        if len(bare) in together and len(bare) not in beside.get(equation.segment, ()):
            symbols = {}
        experts = any(one.nouns[:1] in {("experts",), ("expert",)} for one in numbers or ())
        names: tuple[str, ...] = next(iter(symbols)) if len(symbols) == 1 else ()
        quoted = f"{symbols[names]} ~ {equation.text}" if names else equation.text
        if experts and len(bare) == len(_SHAPE) and bare[0].digits in _MATRICES and not known.intersection(_SHAPE):
            names = _SHAPE
        for name, number in zip(names, bare, strict=False):
            if (name, number.digits) not in seen and 0 < number.digits < _TOO_LARGE:
                seen.add((name, number.digits))
                place = segments[equation.segment].place(number.start)
                yield Statement(name, number.digits, place, quoted, Role.STATED, equation.segment, lexicon.ONE,
                                sure=False)  # fmt: skip


def _factors(segments: tuple[Segment, ...], tokens: list[list[Token]], equation: Equation) -> list[Number] | None:
    everything = tokens[equation.segment]
    first = bisect_left(everything, equation.start, key=lambda token: token.start)
    written = everything[first : bisect_left(everything, equation.end, key=lambda token: token.start)]
    parser = Parser(segments[equation.segment].text, written)
    for at in range(len(written)):
        parsed = parser.parse(at)
        if parsed is not None and not parsed[0].plain:
            return factors(parsed[0])
    return None


def _words(said: Sequence[Sentence]) -> Iterator[Statement]:
    """Model, hardware, precision, and words for layers that differ (the word stands in ``text``), each once."""
    seen: set[tuple[str, str]] = set()
    for one in said:
        mixed, own = _MIXED.search(one.text), one.own
        named = (("model", own.model), ("hardware", own.device), ("precision", own.precision),
                 ("mixed_layers", mixed[0] if mixed else None))  # fmt: skip
        for name, text in named:
            if text is not None and (name, text) not in seen:
                seen.add((name, text))
                value = _BYTES.get(text, Fraction(0))
                yield Statement(name, value, one.place, text, Role.STATED, one.segment, lexicon.ONE,
                                section=one.section)  # fmt: skip
