"""Judge a layout and its claims with the reference alone."""

from optimizer.verify.verdict import Verdict, judge, judge_layout
from optimizer.verify.violation import Violation

__all__ = ["Verdict", "Violation", "judge", "judge_layout"]
