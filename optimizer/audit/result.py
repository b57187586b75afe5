"""What an audit found."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from optimizer.audit.document import MarkdownDocument
from optimizer.audit.equation import Equation
from optimizer.audit.facts import EXPERT_COUNTS, WORDS, JudgedClaim, Statement
from optimizer.audit.verdict import Contradiction, Verdict, number, plain
from optimizer.domain.tabled import Tabled
from optimizer.errors import Exit


@dataclass(frozen=True, slots=True, repr=False)
class AuditResult(Tabled):
    """Everything found in one document, in its order.

    Attributes
    ----------
    equations, claims, verified
        What is written of arithmetic, of figures that follow from facts, and of a whole layout; each with its verdict.
    contradictions, violations
        What disagrees with itself, and which constraints the layout that is described breaks.
    facts, missing, assumed
        What was read, what judging more would need, and what was supposed.
    """

    columns = ("line", "column", "verdict", "kind", "text", "explanation")

    source: str
    document: MarkdownDocument
    equations: tuple[Equation, ...]
    facts: tuple[Statement, ...]
    claims: tuple[JudgedClaim, ...]
    contradictions: tuple[Contradiction, ...]
    disputes: tuple[Contradiction, ...]
    missing: tuple[str, ...]
    assumed: tuple[str, ...]
    verified: tuple[dict[str, Any], ...] = field(default=())
    violations: tuple[str, ...] = field(default=())

    @property
    def verdicts(self) -> list[Verdict]:
        """Every verdict on an equation or a claim."""
        every = [equation.verdict for equation in self.equations]
        every += [claim.verdict for claim in self.claims]
        return every + [Verdict(item["verdict"]) for item in self.verified]

    @property
    def headline(self) -> str:
        """Counts of the verdicts in one line."""
        counts = Counter(self.verdicts)
        parts = [f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict]]
        quoted = sum(equation.called_wrong and equation.verdict.wrong for equation in self.equations)
        if quoted:
            parts.append(f"{quoted} of them called wrong by the text")
        if self.contradictions:
            parts.append(f"{len(self.contradictions)} contradiction{'s' * (len(self.contradictions) > 1)}")
        if self.violations:
            parts.append(f"{len(self.violations)} violated")
        return ", ".join(parts) or "nothing to judge"

    def rows(self) -> list[dict[str, Any]]:
        """Every judged equation and claim in the order of the text."""
        document = self.to_json()
        rows = [
            {name: item.get(name) for name in self.columns} | {"kind": item.get("name", "equation")}
            for kind in ("equations", "claims")
            for item in document[kind]
        ]
        return sorted(rows, key=lambda row: (row["line"], row["column"]))

    def notes(self) -> list[str]:
        """What disagrees, and what is violated."""
        return [*(item.explanation for item in self.contradictions), *self.violations]

    @property
    def exit_status(self) -> Exit:
        """1 as soon as anything written is wrong or contradicts itself, save equations that the text calls wrong."""
        wrong = any(verdict.wrong for verdict in self.verdicts[len(self.equations) :])
        wrong |= any(equation.counts for equation in self.equations)
        wrong |= bool(self.contradictions or self.violations)
        return Exit.NO if wrong else Exit.YES

    def to_json(self) -> dict[str, Any]:
        """Document ``shardproof/audit/1``."""
        claims = [*(item.to_json() for item in self.claims), *self.verified]
        return {
            "schema": "shardproof/audit/1",
            "source": self.source,
            "equations": [equation.to_json() for equation in self.equations],
            "facts": [
                {
                    "line": fact.place.line,
                    "column": fact.place.column,
                    "name": fact.name,
                    "value": fact.text if fact.name in WORDS else number(fact.value),
                    "text": fact.text,
                    "role": str(fact.role),
                }
                for fact in self.facts
            ],
            "claims": sorted(claims, key=lambda item: (item["line"], item["column"])),
            "contradictions": [item.to_json() for item in self.contradictions],
            "disputes": [item.to_json() for item in self.disputes],
            "violations": list(self.violations),
            "missing": list(self.missing),
            "assumed": list(self.assumed),
        }


def find_disputes(judged: Sequence[JudgedClaim]) -> Iterator[Contradiction]:
    """Different counts of experts per device, each true of something."""
    counts = [item for item in judged if item.statement.name in EXPERT_COUNTS]
    first: dict[tuple[str, Fraction], JudgedClaim] = {}
    for item in counts:
        first.setdefault((item.statement.name, item.statement.value), item)
    values = {item.statement.value for item in first.values()}
    if len(values) < 2:
        return
    told, open_ones = [], []
    for item in first.values():
        true_as = [reading.reading for reading, holds in item.readings if holds]
        if true_as:
            told.append(
                f"{item.statement.text!r} is {plain(item.statement.value)} {' and '.join(dict.fromkeys(true_as))}"
            )
        else:
            open_ones.append(f"{item.statement.text!r} is {item.verdict}")
    lines = tuple(sorted({item.statement.place.line for item in first.values()}))
    joined = "; ".join([*told, *open_ones])
    verdict = (
        "these count different things and do not contradict each other"
        if not open_ones
        else "not settled by the facts given"
    )
    yield Contradiction(lines, "experts_per_gpu", tuple(sorted(values)), f"{verdict}: {joined}")
