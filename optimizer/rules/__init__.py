"""Constraint families of the CP-SAT model, one file each: statement, posting, sentence.

A candidate is a layout priced exactly; its literal says that it is chosen. A linear family posts
``Σ coefficient·literal ≤ limit`` in integers, rounded so that no candidate that keeps the limit is lost.
"""

from optimizer.rules.devices import Devices
from optimizer.rules.linear import Candidate, Rule
from optimizer.rules.memory import MemoryRule
from optimizer.rules.request_rate import RequestRate
from optimizer.rules.tpot import Tpot
from optimizer.rules.ttft import Ttft

RULES: tuple[type[Rule], ...] = (Devices, MemoryRule, Ttft, Tpot, RequestRate)

__all__ = ["RULES", "Candidate", "Devices", "MemoryRule", "RequestRate", "Rule", "Tpot", "Ttft"]
