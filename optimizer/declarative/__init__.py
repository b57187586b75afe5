"""The single-replica problem stated to CP-SAT as it is: an executable specification of what `search` finds."""

from optimizer.declarative.decide import Declared, decide

__all__ = ["Declared", "decide"]
