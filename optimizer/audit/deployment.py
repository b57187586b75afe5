"""What a sentence, a table row or a log line says of a deployment, completed to a problem that `verify` prices.

A sentence gives some of model, hardware, count, precision and degrees; what it leaves out comes from the sentences
before it. Where the catalog knows model and hardware, the reference judges: whether weights and caches fit, whether a
rate is within the hardware, what a device holds. What is not known stays unsaid: nothing is accused for a gap.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Final, TypeVar

from optimizer.audit.degrees import COUNT, count, degrees_in, devices_counted
from optimizer.audit.document import Kind, Place, Segment, rows_of
from optimizer.audit.facts import AXES
from optimizer.readers import catalog

_SENTENCE: Final = re.compile(r"(?<=[.;!?])\s+(?=[A-Z(])")
_Fact = TypeVar("_Fact")
_SAYS: Final = re.compile(
    r"[A-Za-z$€].*\d|\d.*[A-Za-z]|\b(?:one|single|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty"
    r"|(?:thir|four|fif|six|seven|eigh|nine)(?:teen|ty)|forty)\b",
    re.DOTALL | re.IGNORECASE,
)
_COLUMNED: Final = re.compile(r"\S {3,}\S")
_LONGEST: Final = 600
"""Characters of a sentence: longer ones are none."""
_MOST_CELLS: Final = 24
_PRECISION: Final = (
    ("bf16", re.compile(r"\b(?:bf16|fp16|bfloat16|float16|unquanti[sz]ed|16[- ]bits?)\b", re.IGNORECASE)),
    ("fp8", re.compile(r"\bfp8\b|\b8[- ]bits?\b|-fp8\b", re.IGNORECASE)),
    ("int8", re.compile(r"\b(?:int8|w8a8)\b", re.IGNORECASE)),
    ("int4", re.compile(r"\b(?:int4|awq|gptq|4[- ]bits?|nvfp4|mxfp4|fp4|w4a16|q4(?:_\w+)?)\b", re.IGNORECASE)),
)
_CACHE: Final = re.compile(
    r"\b(bf16|fp16|fp8|int8)[\s-]*(?:kv\b[\s-]*)?(?:cache|(?<=kv)\b|(?<=kv ))"
    r"|(?:cache|kv)\w*[\s_-](?:(?:in|as|at|dtype)[\s=:]+)?(bf16|fp8)\b",
    re.IGNORECASE,
)
_REDUNDANT: Final = re.compile(
    r"(?<!\bno )(?<!without )(?<!without any )(?<!before any )(?<!zero )\bredundan", re.IGNORECASE
)
_REDUNDANT_COUNT: Final = re.compile(
    rf"({COUNT})\s+(?:[a-z]+\s+)?redundant|redundant(?:\s+experts?|\s+slots?)*\s*(?:[:=]|\bof\b)?\s*({COUNT})",
    re.IGNORECASE,
)
_CEILING: Final = re.compile(r"\b(?:the (?:ceiling|roofline|bound)|at (?:the )?(?:very )?best)\b", re.IGNORECASE)
_NARROW_CACHE: Final = re.compile(
    r"(?:kv|cache).{0,40}(?:fp8|int8|e4m3|e5m2|8[- ]bit|one byte|1 byte)|(?:fp8|int8|8[- ]bit).{0,16}(?:kv\b|cache)",
    re.IGNORECASE,
)
_REFUTES: Final = re.compile(
    r"\W*(?:no\b(?=[.,!])|nope|wrong|impossible|incorrect|not (?:possible|true|right|so|quite)|it (?:is|does)n['’]t"
    r"|(?:that|this) (?:is|was) (?:wrong|not|impossible|off|too)|(?:that|this)(?:['’]s| ) (?:not|wrong)|in fact\b)",
    re.IGNORECASE,
)
SIZE: Final = re.compile(r"(?<![\w.,×x*])(\d[\d,]*(?:\.\d+)?)\s*([MGT]i?B)\b(?!/s)")
_ENGINES: Final = re.compile(
    r"\b(?:sglang|trtllm|tensorrt|megatron|deepspeed|fsdp|(?:DP|data[- ]parallel)[- _]attention)\b", re.IGNORECASE
)
_SCALE: Final = {"mb": 10**6, "gb": 10**9, "tb": 10**12, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_TP_OVER: Final = re.compile(
    rf"\btensor[- ]parallel(?:ism)?\s+(?:over|across|on)\s+(?:all\s+)?(?:the\s+|its\s+)?({COUNT})\b", re.IGNORECASE
)
_MOST_DEGREES: Final = 8
_MOST_SENTENCES: Final = 32
_NODES_OF: Final = re.compile(
    r"(?:\s*(?:SXM\d?|PCIe|NVL|HGX))?\s*(?:nodes?|servers?|hosts?|box(?:es)?|machines?|systems?)\b", re.IGNORECASE
)
"""Behind a device's name: what is counted are nodes of them."""
_BEFORE: Final = 48
_AHEAD: Final = re.compile(
    rf"(?:({COUNT})\s*(?:nodes?\s*(?:,?\s*each\s*with\s*|of\s*)?)?[×x*]?\s*)?({COUNT})\s*(?:[×x*-]\s*|[a-z]{{4,}}\s+)?"
    r"(?:NVIDIA\s+|AMD\s+|NVIDIA\s+HGX\s+)?$",
    re.IGNORECASE,
)
"""Count of devices before their name, with the nodes before it: ``4 nodes, each with 8``."""
_NO_COMMAND: Final = "text and tables"
_COMPUTED: Final = re.compile(r"\bdtype[=:\s'\"]+torch\.\w+")
"""What a log says of activations: SGLang's weights of 8 bits are loaded with ``dtype=torch.bfloat16``."""
_ABSENT: Final = re.compile(r"\b(?:no|without|lacks?)\s+(?:native\s+|hardware\s+)?\w*(?:fp|int)\d+\b", re.IGNORECASE)
_IN_IF: Final = re.compile(r"\bif\b(?![^.;]*[,;:]\s)[^.;]*$|\b(?:instead of|rather than)\s+\W?$", re.IGNORECASE)
"""Before a degree that is only supposed, or given up: ``If we ever went to EP24``, ``TP 4 instead of TP 8``."""
_MODEL_SIZE: Final = re.compile(
    r"(?:\bthe\s+|^[\s*-]*)(\d+(?:\.\d+)?)b\b(?!\s*(?:param|model|weight|total|activ))", re.IGNORECASE
)
"""A model by its size alone, another of the family that the document names: ``the 120b``, ``- 8b:``."""
_OWN_SIZE: Final = re.compile(r"(?<=[a-z\d.])-\d+(?:\.\d+)?b(?![a-z\d])")


def size(number: str, unit: str) -> Fraction:
    """Bytes of a written size; of memory, people who write ``gb`` or ``Gb`` mean bytes as well."""
    return Fraction(number.replace(",", "")) * _SCALE[unit.lower()]


@lru_cache(maxsize=1)
def _models() -> tuple[re.Pattern[str], dict[str, str]]:
    """Every catalog model as people write it, the longest name first; the part without the active size as well."""
    spelled: dict[str, str] = {}
    for name in catalog.names("models"):
        spelled[name] = name
        spelled.setdefault(re.sub(r"-a\d+b\b", "", name), name)
    patterns = [r"[-_ ]?".join(map(re.escape, name.split("-"))) for name in sorted(spelled, key=len, reverse=True)]
    joined = {name.replace("-", ""): model for name, model in spelled.items()}
    return re.compile(
        rf"(?<![\w.])(?:{'|'.join(patterns)})(?![.\d]*\d|[-_ ]?(?:air|mini|nano|lite|flash)\b|b\b)", re.IGNORECASE
    ), joined


@lru_cache(maxsize=1)
def _hardware() -> tuple[re.Pattern[str], dict[str, str]]:
    """Every device of the catalog by its short name (``h100``, ``rtx 4090``) and the system it is found in."""
    found: dict[str, str] = {}
    for name in sorted(catalog.names("hardware"), key=lambda name: ("sxm" not in name, len(name))):
        short = re.match(r"(?:rtx-(?:pro-)?)?[a-z]*\d+[a-z]*(?:-\d{3}b)?", name)
        if short and not name.startswith("seed"):
            found.setdefault(short[0].replace("-", ""), name)
    patterns = [key.replace("rtxpro", "rtx[- ]?pro[- ]?") for key in sorted(found, key=len, reverse=True)]
    patterns = [re.sub(r"^rtx(?=\d)", "(?:rtx[- ]?)?", one) for one in patterns]
    start = r"(?:(?<![A-Za-z0-9.-])|(?<=\d[xX]))"  # 8xH100
    return re.compile(rf"{start}(?:{'|'.join(patterns)})(?=s?(?![A-Za-z0-9]))", re.IGNORECASE), found


@dataclass(frozen=True, slots=True)
class Group:
    """So many devices of one kind, with the memory written beside the name."""

    devices: int
    device: str
    memory: Fraction | None
    start: int
    end: int


@dataclass(slots=True)
class Known:
    """What is known: a partial problem. Degrees that are not given are no 1."""

    model: str | None = None
    precision: str | None = None
    device: str | None = None
    devices: int | None = None
    memory: Fraction | None = None
    cache: str | None = None
    degrees: dict[str, int] = field(default_factory=dict)

    def over(self, other: Known) -> Known:
        """These facts, and those of `other` where these are silent."""
        return Known(
            self.model or other.model, self.precision or other.precision, self.device or other.device,
            self.devices or other.devices, self.memory or other.memory, self.cache or other.cache,
            {**other.degrees, **self.degrees} if len(self.degrees) < 2 else self.degrees,
        )  # fmt: skip


class Whole:
    """What a document speaks of anywhere: every degree, every count of devices, the widths of its cache."""

    def __init__(self, said: Sequence[Sentence]) -> None:
        self.said = said
        engines = " ".join(sorted({match[0].lower() for one in said for match in _ENGINES.finditer(one.text)}))
        self.engines = engines.replace("tensorrt", "trtllm") + (" sglang" if "attention" in engines else "")

    @cached_property
    def counts(self) -> set[int]:
        """Devices that are spoken of together, at most so many of them."""
        found = {group.devices for one in self.said for group in one.groups}
        found |= devices_counted(one.text for one in self.said)
        return set(sorted(found - {0})[-_MOST_DEGREES:])

    @cached_property
    def models(self) -> set[str]:
        """Models of the catalog that are named."""
        return {one.own.model for one in self.said if one.own.model}

    @cached_property
    def precisions(self) -> set[str]:
        """Precisions that are named."""
        return {name for one in self.said for name in precisions_in(one.text)}

    @cached_property
    def devices(self) -> dict[int | None, set[str]]:
        """Kinds of devices that are named, by the segment and anywhere (None)."""
        found: dict[int | None, set[str]] = {None: set()}
        for one in self.said:
            for place in (one.segment, None) if one.own.device else ():
                found.setdefault(place, set()).add(one.own.device or "")
        return found

    @cached_property
    def _degrees(self) -> dict[tuple[str, object], dict[int, None]]:
        """Degrees of an axis anywhere (None), and outside commands."""
        found: dict[tuple[str, object], dict[int, None]] = {}
        for one in self.said:
            for degree in degrees_in(one.text):
                for place in (None, *(() if one.code else (_NO_COMMAND,))):
                    found.setdefault((degree.axis, place), {})[degree.value] = None
        return found

    def told(self, axis: str) -> set[int]:
        """Degrees of an axis in the text and its tables, commands left out."""
        return set(self._degrees.get((axis, _NO_COMMAND), ()))

    def every(self, axis: str) -> tuple[int, ...]:
        """Every degree of an axis."""
        return tuple(self._degrees.get((axis, None), ()))[:_MOST_DEGREES]

    @cached_property
    def segments(self) -> dict[int, list[Sentence]]:
        """Sentences of each segment, at most so many of them."""
        found: dict[int, list[Sentence]] = {}
        for one in self.said:
            if len(own := found.setdefault(one.segment, [])) < _MOST_SENTENCES:
                own.append(one)
        return found

    @cached_property
    def paragraphs(self) -> dict[int, str]:
        """Text of each segment."""
        return {segment: " ".join(one.text for one in own) for segment, own in self.segments.items()}

    @cached_property
    def sections(self) -> dict[tuple[str, ...], list[Sentence]]:
        """Sentences of each section, in order."""
        found: dict[tuple[str, ...], list[Sentence]] = {}
        for one in self.said:
            found.setdefault(one.section, []).append(one)
        return found

    @cached_property
    def _orders(self) -> dict[Sentence, int]:
        return {one: at for section in self.sections.values() for at, one in enumerate(section)}

    def ahead(self, sentence: Sentence) -> list[Sentence]:
        """The sentences of its section up to a sentence and with it, the last of them."""
        end = self._orders[sentence] + 1
        return self.sections[sentence.section][max(0, end - _MOST_SENTENCES) : end]

    @cached_property
    def prose(self) -> dict[tuple[str, object], list[Sentence]]:
        """Sentences of the text that give a degree of an axis, by section and (None) anywhere."""
        found: dict[tuple[str, object], list[Sentence]] = {}
        for one in self.said:
            for axis in () if one.code else one.own.degrees:
                for place in (one.section, None):
                    if len(given := found.setdefault((axis, place), [])) < _MOST_SENTENCES:
                        given.append(one)
        return found

    @cached_property
    def redundant(self) -> tuple[int, ...] | None:
        """Numbers of redundant experts; empty where none is given, None where there are none."""
        if not any(_REDUNDANT.search(one.text) for one in self.said):
            return None
        found = (match for one in self.said for match in _REDUNDANT_COUNT.finditer(one.text))
        return tuple({count(match[1] or match[2]) for match in found})

    @cached_property
    def _widths(self) -> tuple[int, ...]:
        narrow = any(_NARROW_CACHE.search(one.text) for one in self.said)
        return (16, 8) if narrow else (16,)

    def cache_widths(self, sentence: Sentence) -> tuple[int, ...]:
        """Bits of a cached value: those of the sentence, else 16 and, where narrower caches are spoken of, 8."""
        own, precision = sentence.own.cache, sentence.own.precision
        if own or (sentence.known.cache in {"bf16", "fp16"} and not _NARROW_CACHE.search(sentence.text)):
            return (16,) if (own or "bf16") in {"bf16", "fp16"} else (8,)
        if sentence.cells and precision == "bf16":
            return (16,)
        narrow = _NARROW_CACHE.search(sentence.text) or precision in {"fp8", "int8"} or sentence.known.cache
        return (16, 8) if narrow else self._widths


@dataclass(slots=True, eq=False)
class Sentence:
    """One sentence, row or log line: what it says itself, and with what stands before it."""

    text: str
    place: Place
    segment: int
    section: tuple[str, ...]
    cells: dict[str, tuple[str, Place]]
    item: bool
    groups: list[Group] = field(default_factory=list)
    own: Known = field(default_factory=Known)
    known: Known = field(default_factory=Known)
    pieces: tuple[tuple[int, Place], ...] = ()
    whole: Whole = field(default_factory=lambda: Whole(()))
    code: bool = False
    columned: bool = False
    lead: str = ""
    header: str = ""
    key: str = ""
    refuted: bool = False

    def at(self, offset: int) -> Place:
        """Place of a character."""
        if not self.pieces:
            return self.place
        start, place = self.pieces[bisect_right([start for start, _ in self.pieces], offset) - 1]
        return Place(place.line, place.column + offset - start)


def sentences(segments: Sequence[Segment]) -> list[Sentence]:
    """The document's sentences, its table rows as ``header: cell; …``, each with the facts that hold there."""
    found: list[Sentence] = []
    rows = rows_of(segments)
    seen: set[int] = set()
    for index, segment in enumerate(segments):
        if segment.removed or segment.quoted:
            continue
        if segment.row >= 0:
            if segment.row not in seen and len(rows[segment.row]) <= _MOST_CELLS:
                seen.add(segment.row)
                found.append(_row(segments, rows[segment.row]))
            continue
        aligned = _aligned(segment)
        starts = sorted({0, *(match.end() for match in _SENTENCE.finditer(segment.text)), *aligned})
        for start, end in zip(starts, [*starts[1:], len(segment.text)], strict=True):
            text = segment.text[start:end]
            if end - start <= _LONGEST and _SAYS.search(text) is not None:
                first = bisect_right(segment.pieces, (start, 1 << 60, 0)) - 1
                last = bisect_right(segment.pieces, (end, 0, 0))
                cut = tuple(
                    (max(0, at - start), segment.place(max(at, start))) for at, *_ in segment.pieces[first:last]
                )
                lead = len(text) - len(text.lstrip())
                code = segment.kind is Kind.CODE
                found.append(Sentence(text, segment.place(start + lead), index, segment.section, {},
                                      segment.item or code, pieces=cut, code=code, columned=bool(aligned)))  # fmt: skip
    _known(found)
    return found


def _aligned(segment: Segment) -> list[int]:
    """Where the lines of a stretch begin, if it is set in columns by spaces."""
    begin = [start for start, *_ in segment.pieces]
    columned = [
        start for start, end in pairwise([*begin, len(segment.text)]) if _COLUMNED.search(segment.text, start, end)
    ]
    return begin if len(columned) > 1 else []


def _row(segments: Sequence[Segment], indices: Sequence[int]) -> Sentence:
    cells = {}
    for index in indices:
        segment = segments[index]
        label = segment.row_label if len(indices) == 2 else segment.column_label
        if segment.text.strip() and (label or len(indices) > 2):
            lead = len(segment.text) - len(segment.text.lstrip())
            cells[label or segment.text.strip()] = segment.text.strip(), segment.place(lead)
    parts, pieces, length = [], [], 0
    for label, (text, place) in cells.items():
        parts.append(f"{label}: {text}" if label != text else text)
        pieces += [(length, Place(place.line, 1)), (length + len(label) + 2 if label != text else length, place)]
        length += len(parts[-1]) + 2
    first, header = segments[indices[0]], segments[indices[-1]].column_label if len(indices) == 2 else ""
    return Sentence("; ".join(parts), first.place(0), indices[0], first.section, cells, item=True,
                    pieces=tuple(pieces), header=header, key=first.column_label)  # fmt: skip


def _known(found: list[Sentence]) -> None:
    """Known of each sentence, and those before it: of its own section first, of the document where it has but one."""
    for sentence in found:
        _read(sentence)
    models = {one.own.model for one in found if one.own.model}
    every = set(catalog.names("models"))
    for sentence in found if models else ():
        if sentence.own.model is None:
            sizes = {match[1].lower() for match in _MODEL_SIZE.finditer(sentence.text)}
            named = [{one for one in models if f"-{size}b" in one} for size in sizes]
            kin = [{_OWN_SIZE.sub(f"-{size}b", one, count=1) for one in models} & every - models for size in sizes]
            told = [one or other for one, other in zip(named, kin, strict=True)]
            sentence.own.model = _only(next(iter(one)) for one in told if len(one) == 1)
    whole = Known(
        model=_only(one.own.model for one in found), precision=_only(one.own.precision for one in found),
        device=_only(one.own.device for one in found), cache=_only(one.own.cache for one in found),
        devices=_only(one.own.devices for one in found),
    )  # fmt: skip
    everything = Whole(found)
    before, section = Known(), None
    running = Known()
    for at, sentence in enumerate(found):
        if sentence.section != section:
            section, before = sentence.section, Known(model=running.model, device=running.device)
        sentence.whole = everything
        if at and found[at - 1].section == section:
            sentence.lead = found[at - 1].text
        if at + 1 < len(found) and found[at + 1].segment == sentence.segment:
            following = found[at + 1].text
            sentence.refuted = _REFUTES.match(following) is not None or _CEILING.search(following) is not None
        sentence.known = sentence.own.over(before).over(whole)
        if sentence.cells and len(sentence.cells) > 2:
            continue
        before = sentence.own.over(before)
        running = before.over(running)


def model_of(text: str) -> str | None:
    """The one catalog model that a text names."""
    names = models_in(text)
    return names[0] if len(names) == 1 else None


@lru_cache(maxsize=1024)
def models_in(text: str) -> tuple[str, ...]:
    """Every catalog model that a text names."""
    models, spelled = _models()
    return tuple(sorted({spelled[re.sub(r"[-_ ]", "", match[0]).lower()] for match in models.finditer(text)}))


def devices_in(text: str) -> list[str]:
    """Every kind of device that a text names."""
    pattern, systems = _hardware()
    keys = {re.sub(r"[- ]", "", match[0]).lower() for match in pattern.finditer(text)}
    return sorted({name for key in keys if (name := systems.get(key) or systems.get(f"rtx{key}"))})


def precisions_in(text: str) -> list[str]:
    """Every precision that a text names, but those that it says are not there: ``the A100 has no FP8``."""
    present = _ABSENT.sub(" ", text)
    return [name for name, pattern in _PRECISION if pattern.search(present)]


@lru_cache(maxsize=4096)
def weights_in(text: str) -> tuple[str, ...]:
    """Every precision that a text names, those of caches and activations aside."""
    return tuple(precisions_in(_COMPUTED.sub(" ", _CACHE.sub(" ", text))))


def _only(values: Iterator[_Fact | None]) -> _Fact | None:
    distinct = {value for value in values if value is not None}
    return distinct.pop() if len(distinct) == 1 else None


def _read(sentence: Sentence) -> None:
    text, own = sentence.text, sentence.own
    own.model = model_of(text)
    own.precision = _only(iter(weights_in(text)))
    cache = _CACHE.search(text)
    own.cache = (cache[1] or cache[2]).lower() if cache else None
    degrees = [one for one in degrees_in(text) if _IN_IF.search(text[: one.start]) is None]
    if len({one.axis for one in degrees}) == len({(one.axis, one.value) for one in degrees}):
        own.degrees = {one.axis: one.value for one in degrees if one.axis in AXES}
    over = _TP_OVER.search(text)
    if over is not None:
        own.degrees.setdefault("tp", count(over[1]))
    pattern, systems = _hardware()
    kinds = set()
    for match in pattern.finditer(text):
        key = re.sub(r"[- ]", "", match[0]).lower()
        system = systems.get(key) or systems.get(f"rtx{key}")
        if system is None:
            continue
        kinds.add(system)
        ahead = _AHEAD.search(text[max(0, match.start() - _BEFORE) : match.start()])
        behind = re.match(
            r"(?:\s*(?:SXM\d?|PCIe|NVL|HGX))?s?\s*(?:GPUs?\s*)?\(?(?:with\s*|,\s*)?(\d+)\s?(GB|GiB)\b",
            text[match.end() :],
        )
        memory = size(behind[1], behind[2]) if behind else None
        if ahead:
            devices = count(ahead[2]) * (
                count(ahead[1]) if (ahead[1] and ahead[1] != ahead[2]) or (ahead[1] and "×" in ahead[0]) else 1
            )
            if not ahead[1] and not re.search(r"[×x*-]", ahead[0]) and _NODES_OF.match(text, match.end()):
                devices *= catalog.load_hardware(system).devices_per_node
            start = max(0, match.start() - _BEFORE) + ahead.start()
            sentence.groups.append(Group(devices, system, memory, start, match.end()))
        own.memory = own.memory or memory
    own.device = kinds.pop() if len(kinds) == 1 else None
    if len({group.devices for group in sentence.groups}) == 1:
        own.devices = sentence.groups[0].devices
        own.memory = sentence.groups[0].memory
