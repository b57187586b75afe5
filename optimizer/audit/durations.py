"""Durations against the clock: ``14:05 to 14:52 (47 minutes)``, ``16 min after the first failure``.

A duration beside two times of the day is what lies between them; one from an event of the timeline to another, what
lies between theirs; that of the whole incident, what lies between two times that the document joins.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Final

from optimizer.audit.contradictions import Contradiction
from optimizer.audit.deployment import Sentence
from optimizer.audit.hedges import IF, refused
from optimizer.audit.verdict import plain

_CLOCK: Final = r"(?<![\d:.,])(\d{1,2}:[0-5]\d)(?![\d:]*:?\d)"
_ENDED: Final = r"(?:(?:was|were)\s+)?(?:over|end(?:s|ed)?|recover\w*|closed?|resolved|mitigated|back)\b[^\d;.]{0,12}"
_SPAN: Final = re.compile(
    rf"{_CLOCK}(?:\s*\(?[A-Z]{{2,4}}\b\)?)?\s*(?:to|until|till|and|[-–—→/]|->|(?:[,;]\s*|and\s+){_ENDED})\s*{_CLOCK}",
    re.IGNORECASE,
)
_LASTS: Final = re.compile(
    r"(?<![\d.,:])(\d{1,4}(?:\.\d+)?)[\s-]?(?:(m)in(?:ute)?s?|h(?:ours?|rs?)?)\b(?:\s*(?:and\s+)?(\d{1,2})\s?min(?:ute)?s?\b)?",
    re.IGNORECASE,
)
_TO_DURATION: Final = re.compile(
    r"(?:[^\d.;]|i\.e\.){0,30}|[^\d;]{0,12};\s+(?:duration|total|length)\W*", re.IGNORECASE
)
_TO_TIMES: Final = re.compile(r"[^\d.;]{0,16}")
_OF_A_PART: Final = re.compile(
    r"\b(?:every|each|per|after|within|before|earlier|later|only|net|alert|timeout|would|could)\b|[<>≤≥×*]",
    re.IGNORECASE,
)
"""Between two times and a duration that is not what lies between them."""
_ALONE: Final = re.compile(
    r"\s*(?:[^\w\s]|$)|\s+(?:in|of|without|that|during|for|from|and|long)\b(?!\s+(?:which|it|them))"
)
"""Behind a duration that is one of nothing else: ``30 minutes lunch``, ``20 minutes after the alert``."""
_ABOUT: Final = re.compile(r"(?:[~≈]|\b(?:about|around|roughly|some|nearly|almost|over|under))\s*$", re.IGNORECASE)
_INCIDENT: Final = r"(?:[\w-]+\s)?(?:incident|outage|disturbance|disruption|storm|breach|degradation|downtime)\b"
_OF_INCIDENT: Final = re.compile(
    rf"[\s-](?:long\s+)?(?:of\s+(?:the|this|that|our)\s+)?{_INCIDENT}(?!\s+(?:after|before|when|while|that|in|on)\b)",
    re.IGNORECASE,
)
_THE: Final = re.compile(r"\b(?:the|these|those|this|all)\s+(?:(?:whole|full|entire)\s+)?$", re.IGNORECASE)
_LASTED: Final = re.compile(rf"{_INCIDENT}\s+(?:lasted|took|went\s+on)\s+(?:for\s+)?$", re.IGNORECASE)
_ANOTHER: Final = re.compile(r"\b(?:last|first|previous|earlier|other|similar|second|average|longest)\b", re.IGNORECASE)
_EVENTS: Final = re.compile(
    r",?\s+(?:after|from|since)\s+(?:the\s+)?([^\d.;:()|,]{3,48}?)(?:\s+(?:until|till|to)\s+([^\d.;:()|,]{3,48}))?(?=[.;:()|,]|$)",
    re.IGNORECASE,
)
_ENTRY: Final = re.compile(rf"[^\d;]{{0,24}}{_CLOCK}")
"""Before the words of an event: a line or a row that begins with its time."""
_WORD: Final = re.compile(r"\b(?!the\b|and\b|was\b|were\b|has\b|had\b|been\b|its\b|our\b)[a-z]{3,}", re.IGNORECASE)
_STEM: Final = 5
_DAY: Final = 24 * 60
_REACH: Final = 48
_MOST: Final = 100


def find_mistimed(said: Sequence[Sentence]) -> Iterator[Contradiction]:
    """Durations that the times beside them, or those of the document, refute."""
    entries = [(match[1], _words(one.text), one) for one in said if (match := _ENTRY.match(one.text))][:_MOST]
    found: list[tuple[Sentence, re.Match[str], int, set[int]]] = []
    for at, one in enumerate(said if any(_SPAN.search(one.text) for one in said) or entries else ()):
        before = [other.text.rstrip(" ;.") for other in said[max(0, at - 2) : at] if other.section == one.section]
        lead = "; ".join([*before, ""])
        matches = _LASTS.finditer(lead + one.text, len(lead))
        found += [(one, match, match.start() - len(lead), _beside(match)) for match in matches]
    joined = set().union(*(meant for *_, meant in found))
    again = Counter(match[0].lower() for _, match, *_ in found)
    for one, match, start, beside in found:
        meant = beside or _from_event(match, one, entries)
        if not meant and len(joined) == 1 == again[match[0].lower()] and _of_incident(match):
            meant = joined
        minutes = Fraction(match[1]) * (1 if match[2] else 60) + int(match[3] or 0)
        slack = Fraction(1) if match[2] or match[3] else Fraction(30, 10 ** len(match[1].partition(".")[2]))
        slack = max(slack, minutes / 10 if _ABOUT.search(match.string, 0, match.start()) else slack)
        wrong = meant and all(abs(minutes - other) > slack for other in meant)
        if wrong and not (refused(one.text, start, start + len(match[0])) or IF.search(one.text, 0, start)):
            told = f"{' or '.join(map(str, sorted(meant)))} minutes lie between the times, not {plain(minutes)}"
            yield Contradiction((one.at(start).line,), "duration", (minutes, Fraction(min(meant))), told)


def _between(first: str, later: str) -> set[int]:
    """Minutes from one time to another; of those more than half a day apart the later one may come first."""
    hours, minutes = zip(*(map(int, clock.split(":")) for clock in (first, later)), strict=True)
    apart = (60 * (hours[1] - hours[0]) + minutes[1] - minutes[0]) % _DAY
    return {apart, _DAY - apart} if apart > _DAY // 2 else {apart}


def _beside(match: re.Match[str]) -> set[int]:
    """What lies between the two times that a duration stands beside."""
    for span in _SPAN.finditer(match.string) if _ALONE.match(match.string, match.end()) else ():
        behind = span.end() <= match.start()
        gap = match.string[span.end() : match.start()] if behind else match.string[match.end() : span.start()]
        if (_TO_DURATION if behind else _TO_TIMES).fullmatch(gap) and not _OF_A_PART.search(gap):
            return _between(*span.groups())
    return set()


def _of_incident(match: re.Match[str]) -> bool:
    ahead = match.string[max(0, match.start() - _REACH) : match.start()]
    behind = _OF_INCIDENT.match(match.string, match.end())
    return bool(_LASTED.search(ahead) or (behind and _THE.search(ahead))) and not _ANOTHER.search(ahead)


def _words(text: str) -> set[str]:
    return {word.lower()[:_STEM] for word in _WORD.findall(text)}


def _from_event(match: re.Match[str], one: Sentence, entries: Sequence[tuple[str, set[str], Sentence]]) -> set[int]:
    """What lies between the two events that a duration is said to, the later one perhaps that of its own line."""
    if (events := _EVENTS.match(match.string, match.end())) is None:
        return set()
    first, last = (_words(event or "") for event in events.groups())
    begins = [time for time, words, other in entries if other is not one and first and first <= words]
    ends = [time for time, words, other in entries if (last <= words if last else other is one)]
    return _between(begins[0], ends[0]) if len(begins) == 1 == len(ends) else set()
