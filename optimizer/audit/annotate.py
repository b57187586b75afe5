"""The audit for a terminal: each judged line quoted, with its verdict and arithmetic; and a table to paste instead."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from optimizer.audit.result import AuditResult
from optimizer.audit.verdict import Verdict, shown

_BOLD: Final = "\x1b[1m"
_RESET: Final = "\x1b[0m"
_STYLES: Final = {
    Verdict.HOLDS: "\x1b[32m",
    Verdict.FAILS: "\x1b[1;31m",
    Verdict.IMPOSSIBLE: "\x1b[1;31m",
    Verdict.AMBIGUOUS: "\x1b[33m",
    Verdict.UNSUPPORTED: "\x1b[2m",
}

_WIDEST: Final = 240
_CORRECTED: Final = {Verdict.FAILS, Verdict.IMPOSSIBLE, Verdict.AMBIGUOUS}


@dataclass(frozen=True, slots=True)
class Remark:
    """One remark under a line of the document."""

    line: int
    column: int
    verdict: Verdict
    subject: str
    detail: tuple[str, ...]


def remarks(result: AuditResult) -> list[Remark]:
    """Every judgement, in document order."""
    made = []
    for equation in result.equations:
        called = "the text calls it wrong" if equation.called_wrong else ""
        detail = (equation.arithmetic, equation.reading, equation.explanation, called)
        made.append(Remark(equation.place.line, equation.place.column, equation.verdict, equation.text, detail))
    for claim in result.claims:
        derived = claim.derived
        arithmetic = "" if derived is None else f"{derived.formula}: {derived.worked(claim.statement.unit)}"
        needs = f"needs {', '.join(claim.missing)}" if claim.verdict is Verdict.UNSUPPORTED and claim.missing else ""
        subject = f"{claim.statement.name}: {claim.statement.text}"
        place = claim.statement.place
        made.append(Remark(place.line, place.column, claim.verdict, subject, (arithmetic, claim.note, needs)))
    for data in result.verified:
        subject = f"{data['name']}: {data['text']}" if data.get("text") else f"{data['name']}: {data['claimed']}"
        told = (data.get("substituted"), data.get("explanation"))
        verdict = Verdict(data["verdict"])
        made.append(Remark(data["line"], data["column"], verdict, subject, tuple(text for text in told if text)))
    return sorted(made, key=lambda remark: (remark.line, remark.column))


def _printable(text: str) -> str:
    """``text`` without what could steer the terminal."""
    if text.isprintable():
        return text
    return "".join(
        mark if mark.isprintable() else mark.encode("unicode_escape", "surrogatepass").decode() for mark in text
    )


def _clipped(text: str) -> str:
    text = _printable(text)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def annotated(result: AuditResult, *, coloured: bool = False) -> Iterator[str]:
    """Lines for the terminal: the judged lines quoted, what disagrees, is violated, missing or assumed, a summary.

    Nothing in the document steers the terminal; a long one has tens of thousands of lines, so none is laid out twice.
    """
    styles = _STYLES if coloured else dict.fromkeys(_STYLES, "")
    bold, plainly = (_BOLD, _RESET) if coloured else ("", "")
    verdicts = {verdict: f"  {style}{verdict:<11}{plainly} " for verdict, style in styles.items()}
    source, last = _printable(result.source), 0
    for remark in remarks(result):
        if remark.line != last:
            last = remark.line
            quote = result.document.lines[last - 1].strip() if last <= len(result.document.lines) else ""
            yield f"{bold}{source}:{last}: {_clipped(quote)}{plainly}"
        yield verdicts[remark.verdict] + _clipped(remark.subject)
        for detail in dict.fromkeys(filter(None, remark.detail)):
            yield f"              {_printable(detail)}"
    for title, items in (("Contradictions", result.contradictions), ("Disputes", result.disputes)):
        if items:
            yield f"\n{bold}{title}{plainly}"
        for item in items:
            where = ", ".join(str(line) for line in item.lines)
            yield f"  line{'s' * (len(item.lines) > 1)} {where}: {item.name}: {_printable(item.explanation)}"
    for title, texts in (
        ("Violated by the layout", result.violations),
        ("Missing for a verdict", result.missing),
        ("Assumed", result.assumed),
    ):
        if texts:
            yield f"\n{bold}{title}{plainly}"
            for text in texts:
                yield f"  {_clipped(text)}"
    yield f"\n{bold}{summary(result)}{plainly}"


def summary(result: AuditResult) -> str:
    """One line of counts."""
    return f"{_printable(result.source)}: {result.headline}"


def corrected_table(result: AuditResult) -> str:
    """Markdown table of every figure that fails or is true in one reading only, and what follows instead."""
    rows: list[tuple[int, str, str, str, str]] = []
    for equation in result.equations:
        if equation.verdict in _CORRECTED and equation.evaluated is not None and not equation.called_wrong:
            scale = equation.unit.scale
            right = shown(equation.evaluated * scale, equation.unit)
            rows.append(
                (equation.place.line, equation.text, right, equation.verdict, equation.reading or equation.explanation)
            )
    for claim in result.claims:
        if claim.verdict in _CORRECTED and claim.derived is not None:
            right = f"{shown(claim.derived.value, claim.statement.unit)} = {claim.derived.substituted}"
            name = f"{claim.statement.name}: {claim.statement.text}"
            rows.append((claim.statement.place.line, name, right, claim.verdict, claim.note or claim.derived.reading))
    if not rows:
        return ""
    lines = ["| line | written | follows | verdict | reading |", "|---:|---|---|---|---|"]
    for line, *cells in sorted(rows):
        lines.append(f"| {line} | " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |")
    return "\n".join(lines)
