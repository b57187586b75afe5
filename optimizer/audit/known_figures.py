"""Figures of `verify` for what a document says of a deployment, and how a claim is placed and compared with them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import product
from typing import Final

from optimizer.audit.context import outside_quotation
from optimizer.audit.deployment import Known, Sentence
from optimizer.audit.facts import Derivation, JudgedClaim
from optimizer.audit.lexicon import UNITS, Unit
from optimizer.audit.partial import resolve
from optimizer.audit.statements import Role, Statement
from optimizer.audit.verdict import Verdict, plain, shown
from optimizer.domain.attention import GroupedQueryAttention, LatentAttention
from optimizer.domain.layout import Layout, WrittenLayout
from optimizer.domain.precision import KV_BYTES
from optimizer.domain.problem import Problem
from optimizer.errors import SpecError
from optimizer.verify import LayoutVerdict as Priced
from optimizer.verify import judge_layout

GB: Final = UNITS["GB"]
_CONTEXT: Final = 256
"""Prompt tokens at which a rate is bounded: as short as prompts are, so that the bound errs on the author's side."""
WORKLOAD: Final = {"kind": "serving", "phase": "decode", "input_tokens": _CONTEXT, "output_tokens": _CONTEXT}
_MOST_DEVICES: Final = 4096
ROUGHLY: Final = Fraction(1, 8)
"""Share by which authors' sizes of weights differ from exact ones: embeddings left out, buffers put in, a
parameter count rounded to the model's name. Assumed: a share with another degree is off by a half at least."""
JudgedClaims = Iterator[JudgedClaim]
_Price = tuple[Problem, Layout, Priced]


def priced_on(known: Known, devices: int, *, data_parallel: bool = False, ep: int = 0) -> _Price | None:
    """The reference's figures of the known model on so many devices, all tensor parallel or all data parallel."""
    if known.model is None or known.device is None or not 0 < devices <= _MOST_DEVICES:
        return None
    degrees = (("dp" if data_parallel or ep else "tp", devices), *((("ep", ep),) if ep else ()))
    return _price(known.model, known.device, known.precision, devices, degrees)


@lru_cache(maxsize=256)
def _price(
    model: str, device: str, precision: str | None, devices: int, degrees: tuple[tuple[str, int], ...]
) -> _Price | None:
    given = {
        "model": model, "hardware": device, "devices": devices,
        "workload": WORKLOAD,
    }  # fmt: skip
    try:
        problem = resolve(given)
        if precision is not None and not problem.precision.weights.startswith(precision):
            problem = resolve({**given, "precision": {"weights": precision}})
        layout = WrittenLayout.model_validate(dict(degrees)).resolve(experts=problem.model.moe is not None)
        verdict = judge_layout(problem, layout)
    except (SpecError, ValueError):
        return None
    return (problem, layout, verdict) if verdict.evaluation is not None else None


def weights_of(known: Known) -> Fraction | None:
    """Bytes of one copy of the model."""
    priced = priced_on(known, 1)
    return None if priced is None else Fraction(priced[2].figures["model_bytes"].value)


def verdict_of(*, right: bool) -> Verdict:
    """Whether a claim holds, as a verdict."""
    return Verdict.HOLDS if right else Verdict.FAILS


_TOLD: Final = re.compile(
    r"\b(?:(?:they|he|she|it|you)\s+(?:\w+\s+)?(?:says?|said|claims?|claimed|writes?|wrote|states?|stated|promise[sd]?|hopes?"
    r"|expects?|assumes?|proposes?|quotes?)"
    r"|(?:plan|notes?|draft|authors?|proposal|memo|document|deck|slides?|ticket|vendor|sheet|page|paper|report)\s+(?:\w+\s+)?"
    r"(?:says?|said|claims?|claimed|writes?|wrote|states?|stated|asserts?|assumes?|computes?|has|had|gives?|puts?|derives?"
    r"|treats?|counts?|lists?|asks?))\b[^.;=]{0,60}$",
    re.IGNORECASE,
)
"""Words that make what follows somebody else's."""
_BOUND: Final = re.compile(
    r"\W*(?:[<≤>≥✗❌]|(?:at most|max|below|under|impossible|wrong|refuted|false|not?)\b)", re.IGNORECASE
)


def _row_refutes(sentence: Sentence, match: re.Match[str]) -> bool:
    """Whether another cell of the row gives a bound, or says no."""
    return any(
        _BOUND.match(text) and match[0] not in text and sentence.at(match.start()) != place
        for text, place in sentence.cells.values()
    )


def claim_at(
    sentence: Sentence, match: re.Match[str], name: str, value: Fraction, unit: Unit, verdict: Verdict,
    readings: Sequence[Derivation] = (), note: str = "",
) -> JudgedClaim:  # fmt: skip
    """The claim that `match` makes, placed; what stands in quotation marks accuses no one."""
    statement = Statement(name, value, sentence.at(match.start()), " ".join(match[0].split()), Role.STATED,
                          sentence.segment, unit, section=sentence.section, near=sentence.text)  # fmt: skip
    before = sentence.text[: match.start()]
    # Devices against the nodes or the degrees beside them are arithmetic, whoever says it.
    quoted = not outside_quotation(before) or (name != "devices" and _TOLD.search(before) is not None)
    asked = sentence.text.rstrip().endswith("?")
    if verdict.wrong and (quoted or asked or sentence.refuted or _row_refutes(sentence, match)):
        said = "quoted" if quoted else "asked, or refuted beside it"
        verdict, note = Verdict.UNSUPPORTED, f"{said}; taken for the document's own it {verdict}"
    marked = tuple((reading, not at and verdict is Verdict.HOLDS) for at, reading in enumerate(readings))
    return JudgedClaim(statement, verdict, readings[0] if readings else None, marked, note)


@lru_cache(maxsize=256)
def token_bytes(
    model: str | None, precision: str | None, widths: tuple[int, ...], tps: tuple[int, ...], layered: bool  # noqa: FBT001
) -> Sequence[Derivation]:  # fmt: skip
    """Bytes of a token in the caches of a model, of each width, whole, with copies of heads, and on one of ``tps``."""
    priced = priced_on(Known(model, precision, "h100-sxm-8"), 1)
    if priced is None:
        return ()
    problem, _, verdict = priced
    kinds = [block.attention for block in problem.model.blocks.values()]
    first = kinds[0]
    plain_heads = isinstance(first, GroupedQueryAttention) and first.window is None
    if any(kind != first for kind in kinds) or not (plain_heads or isinstance(first, LatentAttention)):
        return ()  # windows and states: no one size of a token
    heads = first.kv_heads if isinstance(first, GroupedQueryAttention) else 1
    wide = Fraction(verdict.figures["kv_cache_bytes_per_token"].value) * 2 / KV_BYTES[problem.precision.kv_cache]
    layers = problem.model.layer_count if layered else 1
    found: dict[Fraction, Derivation] = {}
    for width, tp in product(widths, (1, *tps)):
        for copies in (Fraction(1), Fraction(max(tp, heads), heads), Fraction(1, min(tp, heads)), Fraction(tp)):
            value = wide * width / 16 * copies / layers
            told = f"{shown(wide)} × {width} ÷ 16" + (f" × {plain(copies)}" if copies != 1 else "")
            found.setdefault(value, Derivation(f"a cache of {width} bits", value, "kv_cache_bytes_per_token", told))
    return tuple(found.values())
