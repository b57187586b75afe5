"""Figures called by the name that a claims file gives them: ``Prefill chunk: 512``, ``fabric utilization of 0.4%``.

Loaded with the problem, since only its reference can judge them.
"""

import re
from collections.abc import Mapping
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.lexicon import Dimensions
from optimizer.audit.statements import AXES, Context
from optimizer.audit.tokens import Number
from optimizer.domain.limits import LATENCIES, PERCENTILES
from optimizer.domain.problem import Problem
from optimizer.units import Dimension
from optimizer.verify.claim_table import ALIASES, CLAIMS, dimensions

_UNITS: Final[Mapping[Dimension, Dimensions]] = {
    Dimension.BYTES: lexicon.BYTES,
    Dimension.BYTES_PER_SECOND: lexicon.BANDWIDTH,
    Dimension.FLOPS: lexicon.FLOPS,
    Dimension.SECONDS: lexicon.SECONDS,
    Dimension.DOLLARS: lexicon.DOLLARS,
    Dimension.DOLLARS_PER_HOUR: lexicon.DOLLAR_RATE,
    Dimension.TOKENS_PER_SECOND: lexicon.PER_SECOND,
    Dimension.PER_SECOND: lexicon.PER_SECOND,
    Dimension.RATIO: lexicon.NONE,
    Dimension.COUNT: lexicon.NONE,
}
"""Read with their own spellings, and as facts."""
_OF_DEVICE: Final = frozenset(["gpu", "gpus", "device", "devices", "rank", "accelerator", "chip", "token", "sequence"])
_REMARK: Final = re.compile(r"\s*\([^)]*\)|[*`\"']")
_WORD: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_ROLE: Final = frozenset(
    ["claimed", "calculated", "actual", "value", "documented", "stated", "corrected", "computed", "expected",
     "reported", "current", "correct", "figure", "estimated", "estimate", "measured"]
)  # fmt: skip
_LINKING: Final = frozenset(
    ["is", "of", "at", "about", "around", "roughly", "approximately", "equals", "reaches", "to", "was", "only", "a",
     "exactly", "just", "some", "total"]
)  # fmt: skip
_SHAPE: Final = frozenset(["layers", "experts_per_layer"])
"""Facts of the model, which a problem can confirm."""
_GENERAL: Final = frozenset(
    ["ttft", "tpot", "latency", "step_time", "throughput", "throughput_per_device", "request_capacity", "weights"]
    + [f"{time}_p{share}" for time in LATENCIES for share in PERCENTILES]
)
"""What a closer name may be taken for: the ideal one of them, one part of it."""
_MOST_WORDS: Final = 7
_SPELLED: Final = {"utilisation": "utilization", "gpu": "device", "gpus": "devices"}


class Names:
    """Every name of a claim that a problem knows, as words."""

    def __init__(self, problem: Problem) -> None:
        self.known: dict[str, tuple[str, Dimension]] = {}
        self.closer = {name for name in CLAIMS if name.startswith("ideal_")} | {"weights_bytes"}
        for name, dimension in dimensions(problem).items():
            claim = ALIASES.get(name, name)
            if claim not in AXES and dimension in _UNITS:
                self.known[_joined(name)] = claim, dimension

    def find(self, number: Number, context: Context, known: str | None) -> str | None:
        """Claim that the label of ``number`` is the name of, or the words just before or behind it.

        ``known`` is what its context makes of it; it stands, unless the name says more.
        """
        if known is not None:
            called = self._called(number, context) if known in _GENERAL else None
            return called if called in self.closer else known if known in _SHAPE else None
        return self._called(number, context)

    def _called(self, number: Number, context: Context) -> str | None:
        label = _words(_REMARK.sub("", context.label))
        while label and label[-1] in _ROLE:
            label.pop()
        before = _words(context.before)
        while before and before[-1] in _LINKING:
            before.pop()
        if label and not before and (claim := self._fitting(label, number)):
            return claim
        # Within a sentence, only a name of several words is one.
        for count in range(min(_MOST_WORDS, len(before)), 1, -1):
            if claim := self._fitting(before[-count:], number):
                return claim
        return self._fitting(list(number.nouns), number) if len(number.nouns) > 1 else None

    def _fitting(self, words: list[str], number: Number) -> str | None:
        claim, dimension = self.known.get(_joined(" ".join(words)), ("", Dimension.COUNT))
        if not claim or number.unit.dimensions != _UNITS[dimension] or not _OF_DEVICE.issuperset(number.per):
            return None
        if (number.unit is lexicon.PERCENT) > (dimension is Dimension.RATIO):
            return None
        return claim


def _joined(name: str) -> str:
    return " ".join(_SPELLED.get(word, word) for word in _words(name.replace("_", " ")))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.replace("_", " ").lower())
