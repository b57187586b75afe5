"""Judge a layout and its claims with the reference alone."""

from optimizer.verify.verdict import LayoutVerdict, judge, judge_layout
from optimizer.verify.violation import Violation

__all__ = ["LayoutVerdict", "Violation", "judge", "judge_layout"]
