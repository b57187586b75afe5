"""Facts and claims of a document, from its numbers and their context."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.classify import classify
from optimizer.audit.compare import factors
from optimizer.audit.context import Surroundings, segment_role
from optimizer.audit.degrees import find_degrees, symbolic_products
from optimizer.audit.document import Kind, Place, Segment
from optimizer.audit.equation import Equation
from optimizer.audit.expression import Parser
from optimizer.audit.inline import BREAK
from optimizer.audit.statements import Context, Role, Statement
from optimizer.audit.tokens import Number, Token
from optimizer.domain.limits import LATENCIES, PERCENTILES

REFERENCE_ONLY: Final = (
    "latency",
    "request_capacity",
    "kv_cache_per_token",
    "replicas",
    "nodes",
    "balance",
    "nodes_visited",
    "link_bandwidth",
    "link_utilization",
    *(f"{name}_p{share}" for name in LATENCIES for share in PERCENTILES),
)
"""Claims that only a problem can judge; without one they are no news."""
CLAIMS: Final = frozenset(
    [
        *"""
        devices experts_per_gpu experts_per_gpu_per_layer expert_instances experts_total parameters
        active_parameters expert_parameters parameters_per_expert expert_weights expert_weights_total
        attention_weights weights weights_total kv_cache kv_cache_total activations memory memory_total
        memory_utilization compute_utilization hbm_bandwidth_utilization model_flops_utilization throughput
        throughput_per_device ttft tpot step_time achieved_bandwidth achieved_flops memory_headroom
        compute_headroom
        """.split(),  # noqa: SIM905 - the same
        *REFERENCE_ONLY,
    ]
)
_GIVEN: Final = frozenset(["devices", "experts_total", "parameters", "link_bandwidth", "layers", "experts_per_layer"])
"""Claims that other figures follow from."""
_TOO_LARGE: Final = 100_000
"""No degree of parallelism."""
_TOPIC_SEGMENTS: Final = 3
_LABEL_REACH: Final = 32
_SENTENCE_REACH: Final = 120
_PRECISION: Final = {"fp32": 4, "float32": 4, "bf16": 2, "fp16": 2, "float16": 2, "bfloat16": 2, "fp8": 1, "int8": 1}
_PRECISION_WORD: Final = re.compile(r"\b(" + "|".join(_PRECISION) + r")\b", re.IGNORECASE)
_HARDWARE: Final = re.compile(
    r"\b((?:NVIDIA\s+)?(?:H100|H200|H800|A100|B200|GB200|L40S|V100)(?:[- ](?:SXM\d?|PCIe|NVL))?|MI300X|MI325X"
    r"|TPU ?v\d\w?)\b"
)
_MODEL: Final = re.compile(
    r"\b((?:DeepSeek|Mixtral|Llama|Qwen|Kimi|GLM|GPT|Gemma|DBRX|Grok|OLMoE|Phi)[-\u2011 ]?[A-Za-z]?\d[\w.-]*)",
    re.IGNORECASE,
)
_MIXED: Final = re.compile(
    r"\b(?:dense (?:layers?|ffn|mlp|blocks?)|shared|\d+ MoE|first_k_dense\w*|redundant experts?|MTP)\b", re.IGNORECASE
)
"""Layers that are not all alike, or experts beside the routed ones: counts by multiplication are then open."""
_ATTENTION_DP: Final = re.compile(
    r"\bsglang\b|\b(?:DP|data.parallel)[-_ ]attention|\battention[-_ ](?:DP|data.parallel)"
    r"|\btensorrt|\btrtllm",
    re.IGNORECASE,
)
"""Engines whose attention data parallelism stays inside the tensor-parallel group."""
_NAMED: Final = (
    ("attention_dp", _ATTENTION_DP, ("sglang", "attention", "tensorrt", "trtllm")),
    ("precision", _PRECISION_WORD, ("fp", "bf", "float", "int8")),
    ("hardware", _HARDWARE, ("h100", "h200", "h800", "a100", "b200", "v100", "l40s", "mi300", "mi325", "tpu")),
    ("model", _MODEL,
     ("deepseek", "mixtral", "llama", "qwen", "kimi", "glm", "gpt", "gemma", "dbrx", "grok", "moe", "phi")),
    ("mixed_layers", _MIXED, ("dense", "shared", "moe", "redundant", "mtp")),
)  # fmt: skip
"""Name of the fact, its words, and letters without which none of them can stand there."""
_COMPARED: Final = re.compile(r"(?:\bvs\.?|\bversus|\bto|→|->|\bagainst)\s*[~≈\"]?\s*$")


Naming = Callable[[Number, Context, str | None], str | None]


def extract(
    segments: tuple[Segment, ...], tokens: list[list[Token]], equations: list[Equation], named: Naming | None = None
) -> tuple[list[Statement], list[Statement]]:
    """Every fact and every claim, in document order; a figure can be both.

    ``named`` tells the claim that a figure nobody else knows is called by.
    """
    roles = [segment_role(segment) for segment in segments]
    degrees = list(find_degrees(segments, roles))
    taken = _places(degrees)
    facts: list[Statement] = list(degrees)
    claims: list[Statement] = []
    operands = _operands(equations)
    for index, segment in enumerate(segments):
        if not tokens[index]:
            continue
        surroundings: Surroundings | None = None
        spans = operands.get(index)
        previous: tuple[str, Number] | None = None
        for token in tokens[index]:
            if not isinstance(token, Number) or _unnamed(segment, token):
                continue
            if index in taken and _covered(segment.place(token.start), taken[index]):
                continue
            inside = spans is not None and _within(spans, token.start)
            if inside and not (token.nouns or token.per or token.unit.name):
                continue
            if surroundings is None:
                surroundings = Surroundings(segment, roles[index], partial(_topic, segments, index))
            context = surroundings.context(token)
            name, claimed = _name(token, context, named, previous)
            if name is None or (name == "devices" and _is_limit(segment)):
                continue
            previous = name, token
            text = " ".join(segment.text[token.start : token.end].split())
            made = Statement(
                name, token.value, segment.place(token.start), text, context.role, index, token.unit, token,
                section=segment.section, near=context.near,
            )  # fmt: skip
            if inside and name == "experts_per_gpu":
                made = replace(made, name="experts")
                facts.append(made)
            elif claimed and not inside:
                claims.append(made)
            if not claimed or name in _GIVEN:
                facts.append(made)
    facts += _assigned(segments, tokens, equations)
    facts += _expert_shapes(segments, tokens, equations, facts)
    facts += _words(segments)
    return sorted(facts, key=_order), sorted(claims, key=_order)


def _is_limit(segment: Segment) -> bool:
    """Whether this is the ``devices`` of a problem file: the most that may be used."""
    return segment.language in {"yaml", "yml"} and segment.text.startswith("devices:")


def _name(
    token: Number, context: Context, named: Naming | None, previous: tuple[str, Number] | None
) -> tuple[str | None, bool]:
    """What a number is, and whether it is a claim."""
    known = classify(token, context)
    called = None if named is None else named(token, context, known)
    name = called or known or _inherited(token, context, previous)
    return name, called is not None or name in CLAIMS


def _unnamed(segment: Segment, number: Number) -> bool:
    """Whether a bare number stands where no label can reach it, told without reading its context."""
    if number.unit is not lexicon.ONE or number.nouns or number.per:
        return False
    if segment.kind is Kind.CELL:
        return number.start > _LABEL_REACH
    start = max(0, number.start - _LABEL_REACH)
    text = segment.text
    if text.find(":", start, number.start) < 0 and text.find("=", start, number.start) < 0:
        return True
    return number.start > _SENTENCE_REACH and text.find(". ", number.start - _SENTENCE_REACH, number.start) < 0


def _places(degrees: Sequence[Statement]) -> dict[int, list[tuple[int, int, int]]]:
    """Line, column and end of the degrees of each segment, in order."""
    by_segment: dict[int, list[tuple[int, int, int]]] = {}
    for degree in degrees:
        line, column = degree.place.line, degree.place.column
        by_segment.setdefault(degree.segment, []).append((line, column, column + len(degree.text)))
    for places in by_segment.values():
        places.sort()
    return by_segment


def _covered(place: Place, degrees: list[tuple[int, int, int]]) -> bool:
    """Whether the number there is a degree's own (``EP=16``), and no figure beside; ``degrees`` are in order."""
    last = bisect_right(degrees, (place.line, place.column, 1 << 60))
    return any(line == place.line and place.column < end for line, _, end in degrees[max(0, last - 4) : last])


def _inherited(number: Number, context: Context, previous: tuple[str, Number] | None) -> str | None:
    """``83M parameters vs 1.6M``: the second number of a comparison is the same figure."""
    if previous is None or number.nouns or not _COMPARED.search(context.before) or context.after.startswith("of "):
        return None
    name, other = previous
    return name if number.unit == other.unit and number.unit is not lexicon.ONE else None


def _order(statement: Statement) -> tuple[int, int, str]:
    return statement.place.line, statement.place.column, statement.name


def _topic(segments: tuple[Segment, ...], index: int) -> str:
    """The heading and the lines just above in the same section."""
    segment = segments[index]
    above = [
        other.text
        for other in segments[max(0, index - _TOPIC_SEGMENTS) : index]
        if other.section == segment.section and other.kind is not Kind.CODE
    ]
    return " ".join([*segment.section[-2:], segment.row_label, segment.before, *above]).lower()


def _operands(equations: list[Equation]) -> dict[int, list[tuple[int, int]]]:
    """Spans of the arithmetic in each segment, without the stated results."""
    spans: dict[int, list[tuple[int, int]]] = {}
    for equation in equations:
        spans.setdefault(equation.segment, [])
        if equation.stated_start > equation.start:
            spans[equation.segment].append((equation.start, equation.stated_start))
        else:
            spans[equation.segment].append((equation.stated_start + 1, equation.end))
    for ordered in spans.values():
        ordered.sort()
    return spans


def _within(spans: Sequence[tuple[int, int]], at: int) -> bool:
    """Whether ``at`` lies in one of the spans, which are in order and nest at most in remarks."""
    last = bisect_right(spans, at, key=lambda span: span[0])
    return any(at < end for _, end in spans[max(0, last - 4) : last])


def _assigned(
    segments: tuple[Segment, ...], tokens: list[list[Token]], equations: list[Equation]
) -> Iterator[Statement]:
    """Degrees given by a product in symbols beside the same product in numbers."""
    products: dict[int, set[tuple[str, ...]]] = {}
    quotes: dict[tuple[str, ...], str] = {}
    beside: dict[int, set[int]] = {}
    for index, axes, quote in symbolic_products(segments):
        products.setdefault(len(axes), set()).add(axes)
        quotes.setdefault(axes, quote)
        beside.setdefault(index, set()).add(len(axes))
    if not products:
        return
    together = {arity for equation in equations for arity in beside.get(equation.segment, ())}
    seen: set[tuple[str, Fraction]] = set()
    for equation in equations:
        numbers = _factors(segments, tokens, equation)
        if numbers is None or not all(_degree_like(number) for number in numbers):
            continue
        if len(numbers) in together and len(numbers) not in beside.get(equation.segment, ()):
            continue
        matching = products.get(len(numbers), set())
        if len(matching) != 1:
            continue
        axes = next(iter(matching))
        quote = quotes[axes]
        for axis, number in zip(axes, numbers, strict=True):
            if (axis, number.digits) not in seen:
                seen.add((axis, number.digits))
                place = segments[equation.segment].place(number.start)
                yield Statement(axis, number.digits, place, f"{quote} ~ {equation.text}", Role.STATED, equation.segment,
                                lexicon.ONE, sure=False)  # fmt: skip


def _degree_like(number: Number) -> bool:
    return number.unit is lexicon.ONE and not number.decimal and 0 < number.digits < _TOO_LARGE


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


def _expert_shapes(
    segments: tuple[Segment, ...], tokens: list[list[Token]], equations: list[Equation], facts: list[Statement]
) -> Iterator[Statement]:
    """``8 experts × 3 × 512 × 1024 × 2 bytes`` states an expert's shape: matrices, two dimensions, bytes."""
    known = {fact.name for fact in facts}
    seen: set[tuple[str, Fraction]] = set()
    for equation in equations:
        numbers = _factors(segments, tokens, equation) if "expert" in equation.text else None
        if numbers is None:
            continue
        bare = [number for number in numbers if not number.nouns and number.unit is lexicon.ONE]
        experts = any(number.nouns[:1] in {("experts",), ("expert",)} for number in numbers)
        if not experts or len(bare) != 3 or bare[0].digits not in {2, 3} or min(bare[1].digits, bare[2].digits) < 64:
            continue
        for name, number in zip(("expert_matrices", "hidden_size", "expert_hidden_size"), bare, strict=True):
            if (name, number.digits) not in seen and name not in known:
                seen.add((name, number.digits))
                place = segments[equation.segment].place(number.start)
                yield Statement(name, number.digits, place, equation.text, Role.STATED, equation.segment, lexicon.ONE,
                                sure=False)  # fmt: skip


def _words(segments: tuple[Segment, ...]) -> Iterator[Statement]:
    """Precision, hardware and model names (the name stands in ``text``)."""
    seen: set[str] = set()
    texts = [segment.text.lower() for segment in segments]
    everything = BREAK.join(texts)
    present = [(name, pattern, [sign for sign in signs if sign in everything]) for name, pattern, signs in _NAMED]
    for index, segment in enumerate(segments):
        lowered = texts[index]
        for name, pattern, signs in present:
            for sign in signs:
                if sign in lowered:
                    break
            else:
                continue
            for match in pattern.finditer(segment.text):
                key = f"{name} {match[0].lower()}"
                if key in seen:
                    continue
                seen.add(key)
                value = Fraction(_PRECISION.get(match[0].lower(), 0))
                yield Statement(name, value, segment.place(match.start()), match[0], Role.STATED, index, lexicon.ONE,
                                section=segment.section)  # fmt: skip
