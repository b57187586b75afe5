"""Audit of one document: read, judge the arithmetic, judge the figures, find what disagrees."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from optimizer.audit.blame import blame, find_restated
from optimizer.audit.claimed import extract, places_of
from optimizer.audit.columns import find_outliers
from optimizer.audit.deployed import judge_deployment
from optimizer.audit.deployment import Sentence, sentences
from optimizer.audit.document import Segment
from optimizer.audit.equations import find_equations
from optimizer.audit.facts import EXPERT_COUNTS, WORDS, Claims, Facts, JudgedClaim, Statement
from optimizer.audit.inline import has_digit
from optimizer.audit.judge import Judge
from optimizer.audit.launched import judge_launches
from optimizer.audit.markdown import read_document
from optimizer.audit.quantities import read
from optimizer.audit.ratios import find_misratios, find_two_ratios, judge_ratios
from optimizer.audit.reckoned import find_misreckoned
from optimizer.audit.result import AuditResult, find_disputes
from optimizer.audit.settle import Settled, settle
from optimizer.audit.shares import find_misshares
from optimizer.audit.spoken import spoken_equations, with_spoken
from optimizer.audit.tables import find_sums
from optimizer.audit.tokens import Token, decimal_comma, joined_thousands, tokenize
from optimizer.audit.twice import find_missettings, find_two_values
from optimizer.readers.notebook import check_notebook

if TYPE_CHECKING:
    from optimizer.domain.problem import Problem

_SHORT: Final = 32
_MOST_KNOWN: Final = 4096


def audit_document(text: str, source: str, problem: Mapping[str, Any] | Problem | None = None) -> AuditResult:
    """Judge every equation and every figure of a deployment document.

    Parameters
    ----------
    text
        Markdown or plain text.
    source
        Its name, for messages.
    problem
        What a problem file gives (``model``, ``hardware``, ``devices``, ...); outranks the document.

    Returns
    -------
    AuditResult
        ``exit_status`` is 1 if anything fails, is impossible, or contradicts itself.

    Raises
    ------
    SpecError
        Named as a notebook, and none.
    """
    check_notebook(text, source)
    with without_collector():
        return _audit(text, source, problem)


@contextmanager
def without_collector() -> Iterator[None]:
    """An audit makes no cycles; the collector would walk every token of a long document over and over."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _audit(text: str, source: str, problem: Mapping[str, Any] | Problem | None) -> AuditResult:
    document = read_document(joined_thousands(text))
    settled = settle(document, source, problem)
    segments = tuple(segment for segment in document.segments if segment.pieces[0][1] not in settled.lines)
    tokens = _tokens(segments, comma=decimal_comma(text))
    equations = find_equations(segments, tokens)
    equations = with_spoken(equations, spoken_equations(segments, tokens))
    accusations = blame(segments, equations)
    find_restated(segments, tokens, equations)
    said = sentences(segments)
    facts, claims = extract(segments, tokens, equations, said, settled.problem)
    claims = sorted([*claims, *settled.claims], key=lambda item: (item.place.line, item.place.column))
    # A quantity of nothing (``EP == 0``, "0 GB") is no fact to reckon with.
    counted = [fact for fact in facts if fact.value > 0 or fact.name in WORDS]
    table = Facts(counted, {name: value for name, value in settled.values.items() if value > 0})
    judged, missing = _judge(table, claims, settled, said)
    ratios = judge_ratios(segments, judged)
    figures = read(said, segments)
    deployed = judge_deployment(said, figures, judge_launches(document, said))
    judged = _merged(judged, deployed, {item.place.line for item in equations if item.verdict.wrong})
    operands, judged_places = (places_of(equations, segments, tokens, results=results) for results in (False, True))
    reckoned = find_misreckoned(said, figures, judged_places, operands)
    contradictions = [
        *sorted((*find_sums(segments, tokens), *find_two_ratios(ratios)), key=lambda item: (item.lines, item.name)),
        *find_outliers(segments, tokens),
        *reckoned,
        *find_misratios(said),
        *find_misshares(segments, tokens, said),
        *find_missettings(said),
        *find_two_values(said, figures),
    ]
    assumed = [
        f"{fact.name} = {fact.value}, read from {fact.text!r} on line {fact.place.line}"
        for fact in facts
        if not fact.sure
    ]
    return AuditResult(
        source, document, tuple(equations), tuple(facts), (*judged, *ratios), (*contradictions, *accusations),
        tuple(find_disputes(judged)), tuple(dict.fromkeys((*settled.faults, *missing))), tuple(dict.fromkeys(assumed)),
        settled.verified, settled.violations,
    )  # fmt: skip


def _merged(counted: list[JudgedClaim], deployed: list[JudgedClaim], told: set[int]) -> list[JudgedClaim]:
    """One verdict for each figure of a line: one that accuses, else the reference's; `told`: lines accused before."""
    wrong = {(item.statement.name, item.statement.place.line) for item in counted if item.verdict.wrong}
    more = [
        item
        for item in deployed
        if (item.statement.name, item.statement.place.line) not in wrong
        and not (item.verdict.wrong and item.statement.place.line in told)
    ]
    places = {(item.statement.name, item.statement.place.line) for item in more}
    # The room that a log line leaves for the cache is not the cache in use.
    places |= {("kv_cache", line) for name, line in places if name == "kv_cache_room_bytes"}
    return [item for item in counted if (item.statement.name, item.statement.place.line) not in places] + more


def _tokens(segments: Sequence[Segment], *, comma: bool) -> list[list[Token]]:
    """Tokens of each segment; short ones that come back, as cells of a table do, are read once."""
    known: dict[str, list[Token]] = {}
    every: list[list[Token]] = []
    for segment in segments:
        text = segment.text
        made = known.get(text)
        if made is None:
            made = tokenize(text, comma=comma) if has_digit(text) else []
            if len(text) <= _SHORT and len(known) < _MOST_KNOWN:
                known[text] = made
        every.append(made)
    return every


def _judge(
    facts: Facts, statements: list[Statement], settled: Settled, said: Sequence[Sentence]
) -> tuple[list[JudgedClaim], list[str]]:
    """Verdicts on claims, and what some of them would need."""
    if not statements:
        return [], []
    claims = Claims(statements)
    missing: dict[str, None] = {}
    engines = said[0].whole.engines if said else ""
    judge = Judge(facts, claims, settled.problem, missing, engines)
    judged = [judge.judge(claim) for claim in statements]
    kept = [made for made in judged if made is not None]
    if settled.problem is None and said and len(said[0].whole.models) > 1:
        # Whose experts they are is told by the sentence alone, where several models are named.
        kept = [made for made in kept if not (made.verdict.wrong and made.statement.name in EXPERT_COUNTS)]
    return kept, list(missing)
