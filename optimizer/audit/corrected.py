"""The table of figures that an author can paste in place of the wrong ones."""

from optimizer.audit.result import AuditResult
from optimizer.audit.verdict import Verdict, shown


def corrected_table(result: AuditResult) -> str:
    """Markdown table of every figure that fails or is true in one reading only, and what follows instead."""
    rows: list[tuple[int, str, str, str, str]] = []
    for equation in result.equations:
        if equation.verdict in _SHOWN and equation.evaluated is not None and not equation.called_wrong:
            scale = equation.unit.scale
            right = shown(equation.evaluated * scale, equation.unit)
            rows.append(
                (equation.place.line, equation.text, right, equation.verdict, equation.reading or equation.explanation)
            )
    for claim in result.claims:
        if claim.verdict in _SHOWN and claim.derived is not None:
            right = f"{shown(claim.derived.value, claim.statement.unit)} = {claim.derived.substituted}"
            name = f"{claim.statement.name}: {claim.statement.text}"
            rows.append((claim.statement.place.line, name, right, claim.verdict, claim.note or claim.derived.reading))
    if not rows:
        return ""
    lines = ["| line | written | follows | verdict | reading |", "|---:|---|---|---|---|"]
    for line, *cells in sorted(rows):
        lines.append(f"| {line} | " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |")
    return "\n".join(lines)


_SHOWN = {Verdict.FAILS, Verdict.IMPOSSIBLE, Verdict.AMBIGUOUS}
