"""Verdicts, and the figures of a judgement as they are shown."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from optimizer.audit.lexicon import Unit
from optimizer.verify.claims import Verdict

__all__ = ["Contradiction", "Verdict", "number", "plain", "shown"]

_SIGNIFICANT: Final = 6


def shown(value: Fraction, unit: Unit | None = None) -> str:
    """``value`` (base units) in ``unit``, exact when short, else to six significant digits with an ellipsis."""
    if unit is not None and unit.name:
        text = plain(value if unit.scale == 1 else value / unit.scale)
        return text + unit.name if unit.name in {"%", "K", "M", "B", "T"} else f"{text} {unit.name}"
    return plain(value)


def plain(value: Fraction) -> str:
    """Decimal text of ``value``: all digits if it has few, else six significant ones and an ellipsis."""
    top, bottom = value.numerator, value.denominator
    if bottom == 1 and abs(top) < 10**15:
        return f"{top:,}"
    if bottom <= 10**6 and abs(top) < bottom * 10**9:
        for decimals in range(1, 7) if 10**6 % bottom == 0 else ():
            if 10**decimals % bottom == 0:
                return f"{float(value):,.{decimals}f}"
    if abs(value) >= 10**15 or abs(value) < Fraction(1, 10**4):
        return scientific(value)
    digits = max(_SIGNIFICANT - len(str(int(abs(value)))), 0) + (abs(value) < 1)
    return f"{float(value):,.{digits}f}…"


def scientific(value: Fraction) -> str:
    """``1.234e+20`` for numbers no float needs to hold."""
    if value == 0:
        return "0"
    exponent = len(str(abs(value.numerator))) - len(str(value.denominator))
    mantissa = value / Fraction(10) ** exponent
    if abs(mantissa) < 1:
        mantissa, exponent = mantissa * 10, exponent - 1
    return f"{float(mantissa):.4f}e{exponent:+d}"


def number(value: Fraction) -> int | float:
    """JSON number: an integer when it is one, else the nearest float."""
    if value.denominator == 1:
        return value.numerator
    if abs(value) > Fraction(10) ** 300:
        return round(value)
    return float(value)


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Figures that cannot all be right, or (``disputes``) that differ because they may mean different things."""

    lines: tuple[int, ...]
    name: str
    values: tuple[Fraction, ...]
    explanation: str

    def to_json(self) -> dict[str, Any]:
        """Entry of ``contradictions`` or ``disputes``."""
        return {
            "lines": list(self.lines),
            "name": self.name,
            "values": [number(value) for value in self.values],
            "explanation": self.explanation,
        }
