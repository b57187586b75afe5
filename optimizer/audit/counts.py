"""Counts as people write them, in digits and in words, and the nouns of what a deployment counts."""

import re
from collections.abc import Iterable
from typing import Final

_UNITS: Final = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS: Final = (
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS: Final = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_CARDINALS: Final = (
    dict(zip((*_UNITS, *_TEENS), range(1, 20), strict=True))
    | {ten: 10 * at for at, ten in enumerate(_TENS, 2)}
    | {f"{ten}-{one}": 10 * at + more for at, ten in enumerate(_TENS, 2) for more, one in enumerate(_UNITS, 1)}
    | {"a single": 1, "single": 1}
)
_WORDS: Final = _CARDINALS | {"both": 2, "second": 2, "third": 3, "fourth": 4, "fifth": 5}
ORDINALS: Final = "second|third|fourth|fifth"
WORDS: Final = f"(?:{'|'.join(sorted(_CARDINALS.keys() - {'one', 'single', 'a single'}, key=len, reverse=True))})"
"""Words for two and more."""
COUNT: Final = rf"(?<![\w.,/])(?:\d{{1,5}}(?![.,]?\d)|{WORDS}|one|(?:a )?single)"
DEVICES: Final = r"(?:GPUs?|devices?|accelerators?|cards?|chips?)"
NODES: Final = r"(?:nodes?|servers?|hosts?|box(?:es)?)"
_OF_DEVICES: Final = re.compile(rf"({COUNT})\s+{DEVICES}\b", re.IGNORECASE)


def count(text: str) -> int:
    """Number that a numeral or a word stands for."""
    return _WORDS.get(text.lower()) or int(text)


def devices_counted(texts: Iterable[str]) -> set[int]:
    """Every number of devices that some texts count."""
    return {count(number) for text in texts for number in _OF_DEVICES.findall(text)}


def is_count(text: str) -> bool:
    """Whether a text is a whole number, in digits or in a word."""
    return text.isdigit() or text.lower() in _WORDS
