"""Claims of a deployment that the reference judges: does it fit, is the rate possible, do degrees give the devices.

Every figure is `verify`'s, of the problem that a sentence, a row or a log line and those before it name; every bound is
a physical one. A claim is wrong only where no reading gives it: sizes as authors round them, every convention of the
degrees.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from math import prod
from typing import Final

from optimizer.audit.capacity import judge_capacity
from optimizer.audit.degrees import COUNT, DEVICES, NODES, ORDINALS, WORDS, count, degrees_in
from optimizer.audit.deployment import SIZE, Sentence, devices_in, precisions_in, size
from optimizer.audit.facts import AXES, Derivation, JudgedClaim
from optimizer.audit.known_figures import (
    GB,
    JudgedClaims,
    claim_at,
    device_counts,
    stretch,
    verdict_of,
    weights_of,
)
from optimizer.audit.launched import Launched, judge_code, judge_log
from optimizer.audit.lexicon import ONE
from optimizer.audit.quantities import Quantity
from optimizer.audit.rates import judge_rates
from optimizer.audit.scope import clause_of
from optimizer.audit.shapes import judge_shapes
from optimizer.audit.sizes import judge_sizes
from optimizer.audit.verdict import Verdict, shown
from optimizer.domain.convention import CONVENTIONS
from optimizer.readers.catalog import load_hardware

_UNSURE: Final = re.compile(
    r"\b(?:no[rt]?(?!\s+(?:problem|issue|trouble))|never|neither|cannot|unless|until|wrong\w*|claim\w* by|says?|said"
    r"|exceeds?|too (?:big|large|much)|more than|would need|needs? (?:at least|more)|fails?|out of memory|oom"
    r"|nothing|impossible|(?<!without )offload\w*|adapters?|lora|draft|half|quarter|third|part|layers?|experts?|shards?"
    r"|slices?|stages?|ranks?|(?:kv|prefix) cache)\b|n['’]t\b|≠|>|✗|❌",
    re.IGNORECASE,
)
"""In the clause of what fits: it does not, or is a part or another thing than the model."""
_IF: Final = re.compile(r"^\W*not\b|\bif (?:we|it|they|you)\b", re.IGNORECASE)
_DENIED: Final = re.compile(
    r"\b(?:not|never|cannot|impossible|beyond|lost|down|(?<=node )out|(?<=nodes )out|remain\w*|spare)\b|n['’]t\b",
    re.IGNORECASE,
)
_FITS: Final = re.compile(
    r"\b(?:(fits?|fitted)|holds?|load(?:s|ed)?|goes|go|serves?|serve it|keeps?|takes?|runs?|deploys?|hosts?|spread over"
    r"|(?:is|are) (?:enough|plenty)|(?:would|will) do|suffices?)\b",
    re.IGNORECASE,
)
_THE_MODEL: Final = re.compile(
    r"\b(?:weights|checkpoint|ckpt|parameters|model|unquanti[sz]ed|the build|\d+B)\b", re.IGNORECASE
)
_IT: Final = re.compile(r"\b(?:it|that|this|which)\b", re.IGNORECASE)
_INTO: Final = re.compile(
    r"\bfits?\s+(?:comfortably\s+|easily\s+|just\s+)?(?:in(?:to|side)?|on|within)?\s*"
    r"(?:(?:its|the|our|their|an?|one|single|these)\s+)*(?:[A-Z]+\d+\w*\s+)?(\d[\d,.]*)\s*(GB|GiB|TB)\b",
    re.IGNORECASE,
)
_TIMES_SIZE: Final = re.compile(rf"({COUNT})\s*(?:{DEVICES})?\s*[×x*]\s*(\d+)\s*(GB|GiB)\b", re.IGNORECASE)
_ALONE: Final = re.compile(
    r"\bfits?\b(?:\s+(?:comfortably|easily|well|fine|too))?\s*(?:[.,;:]|and\b|so\b|$)", re.IGNORECASE
)
"""What fits, without a word where: into all that there is."""
_HERE: Final = re.compile(
    rf"\b(?:on|in(?:to|side)?|within)\s+(?:(?:this|that|the|our|its|an?|one|single|same)\s+)+(?:`?([\w-]+)`?\s+)?"
    rf"(?:{NODES}|({DEVICES}))\b(?!\s+(?:of|with \d|each|per|memory|ram|disks?|nvme|storage)\b|['’]s)",
    re.IGNORECASE,
)
"""A node, or a device, that the text before it describes: ``on this same node``, ``on a single `lime` node``."""
_DIVIDED: Final = re.compile(r"\s*[/÷]\s*\d")
_EACH: Final = re.compile(rf"\s*(?:per|each|/|a)\b|\s*{DEVICES}", re.IGNORECASE)
_COLUMNS: Final = {
    name: re.compile(pattern, re.IGNORECASE)
    for name, pattern in (
        ("devices", rf"(?:total |number of )?{DEVICES}(?: total| needed| used| in all)?"),
        ("replicas", "(?:number of )?(?:replicas|instances|copies)"),
        ("tp", r"tp(?:[-_ ]size)?|tensor[-_ ]parallel\w*(?: size)?"),
        ("pp", r"pp(?:[-_ ]size)?|pipeline[-_ ]parallel\w*(?: size)?"),
        ("dp", r"dp(?:[-_ ]size)?|data[-_ ]parallel\w*(?: size)?"),
        ("ep", r"ep(?:[-_ ]size)?|expert[-_ ]parallel\w*(?: size)?"),
        ("cp", r"cp(?:[-_ ]size)?|context[-_ ]parallel\w*(?: size)?"),
        ("nodes", "(?:number of )?(?:nodes|servers|hosts)"),
        ("per_node", rf"{DEVICES} ?(?:per|/|in a) ?(?:node|server|host)"),
        ("per_replica", rf"(?:{DEVICES}|[A-Z]+\d+\w*) ?(?:per|/|a) ?(?:replica|instance|copy)"),
        ("need", r".*(?:weights|model size|checkpoint|needed).*"),
        ("room", r".*(?:total (?:memory|hbm|vram)|capacity).*"),
        ("each", r".*(?:memory (?:per|/) ?gpu|per[- ]gpu memory|hbm per).*"),
        ("fits", r"fits?\??|feasible|ok\??"),
    )
}
_YES: Final = re.compile(r"yes|y\b|✓|✅|ok|true|fits", re.IGNORECASE)
_TOTAL: Final = re.compile(
    rf"(?<![\w.,=×x*/-])(\d{{1,6}}|(?:(?<=same )|(?<=these )|(?<=those )){WORDS})\s+{DEVICES}\b"
    r"(?!\s*(?:per|each|/|a node|and|in each|in one))",
    re.IGNORECASE,
)
_OF_MORE: Final = re.compile(
    r"\b(?:(?:nodes?|cluster|servers?|hosts?)\s+(?:of|with|has)|up to|out of)\s*$", re.IGNORECASE
)
"""Before a count that is a node's, or what there is."""
_TIMES_TP: Final = re.compile(
    rf"\bTP\s?=?\s?(\d+)\s*(?:[x×*]|times)\s*({COUNT})(?!\s*[x×*]|\.\d|\s*\w?P\b)", re.IGNORECASE
)
"""Copies of a layout: ``TP2 x 3``."""
_MORE: Final = re.compile(
    r"\b(?:more|another|additional|extra|arriv\w*|order\w*|exten\w+|expan\w+|next)\b", re.IGNORECASE
)
"""Beside a layout of devices that are not there yet."""
_OF_EACH: Final = re.compile(r"\b(?:an?|one|each|every|per|pilot|test|staging|today|now)\b", re.IGNORECASE)
"""Beside devices that are not all of a layout's."""
_GRID: Final = ("tp", "pp", "cp", "dp")
_OF_A_NODE: Final = 8
"""Devices of a node, at most, where no size is given."""
_NODES: Final = re.compile(rf"({COUNT}|{ORDINALS})\s+(?:nodes?|servers?|hosts?|boxes)\b", re.IGNORECASE)
_SOME_NODES: Final = re.compile(
    rf"({COUNT})\s+(?:(?!replicas?|cop|per\b)[a-z-]+\s+)?(?:nodes?|servers?|hosts?|boxes)\b", re.IGNORECASE
)
_A_NODE: Final = re.compile(
    rf"(?:({COUNT})\s*[×x]?\s*(?:(?:[A-Z]+\d+\w*(?:\s+[A-Z]\w+)?(?:\s+\d+\s?GB)?\s*{DEVICES}?|{DEVICES})\s*each"
    rf"|(?:[A-Z]+\d+\w*(?:\s+[A-Z]\w+)?\s*)?{DEVICES}?\s*(?:per node|/\s*node|a node|per server)))\b"
    rf"|(?:nodes|servers)\s*(?:[×x*]\s*(1?\d)|(?:with|of|,? each(?: with)?)\s*(1?\d|{WORDS})"
    rf"(?:\s?[×x]|(?:\s+[A-Z]+\d+\w*)?\s*{DEVICES}))\b"
    r"|(?<!\S)(\d{1,3})[×x]\s?[A-Z]+\d+\w*\s+(?:node|server)\b"
    rf"|{DEVICES} per node\s*[:=]\s*(\d{{1,3}})|\((\d)\s*×\s*\w+ each\)",
    re.IGNORECASE,
)
_SAME: Final = re.compile(
    r"(?:[\s,;:(=≈*×x]|\b(?:or|so|with|of|for|a|total|altogether|in all|that is|i\.e\.|which|makes?|gives?|giving"
    r"|come to|and|are|we have|have|each|[A-Z]+\d+\w*)\b)*"
)
"""Between nodes and the devices that they have together."""
_COPIES: Final = re.compile(
    rf"(?<!than )({COUNT})\s+(?:(?!single)\w+\s+)?(?:replicas|copies|instances|cells|pods)\b", re.IGNORECASE
)
_SOME: Final = re.compile(r"\bof (?:the|which)\b|\bfree\b|\bper\b.*\breplica", re.IGNORECASE)


def _room(sentence: Sentence) -> tuple[Fraction, str, int] | None:
    """Bytes of the devices that a sentence speaks of, how they come about, and where they are named."""
    into = _INTO.search(sentence.text)
    if into is not None:
        widest = size(into[1], into[2].replace("B", "iB") if "i" not in into[2] else into[2])  # a GB that may be a GiB
        return widest, f"{into[1]} {into[2]}", into.start(1)
    written = _TIMES_SIZE.search(sentence.text)
    most = max(sentence.whole.counts, default=0)
    if not sentence.groups and written is None and most and sentence.known.device and _ALONE.search(sentence.text):
        each = sentence.known.memory or Fraction(load_hardware(sentence.known.device).device.memory)
        return most * each, f"{most} × {shown(each, GB)}", len(sentence.text)
    if len({(group.devices, group.device) for group in sentence.groups}) == 1:
        group = sentence.groups[0]
        known = Fraction(load_hardware(group.device).device.memory)
        # A variant with more memory than the catalog's is taken at its word.
        each = group.memory or min(known, sentence.known.memory or known)
        if written is not None and count(written[1]) == group.devices:
            each = min(each, size(written[2], written[3]))
        return group.devices * each, f"{group.devices} × {shown(each, GB)}", group.start
    if written is not None and not sentence.groups:
        each = size(written[2], written[3])
        return count(written[1]) * each, f"{written[1]} × {shown(each, GB)}", written.start()
    here = None if sentence.groups else _HERE.search(sentence.text)
    if here is not None and not here[0].endswith("s"):
        first = [(row, next(iter(row.cells.items()))) for row in sentence.whole.said if row.cells and here[1]]
        for group in (group for row, (label, (cell, _)) in first if here[1] in {label, cell} for group in row.groups):
            each = group.memory or Fraction(load_hardware(group.device).device.memory)
            return group.devices * each, f"{group.devices} × {shown(each, GB)}", here.start()
        ahead = [kinds for one in sentence.whole.ahead(sentence) if (kinds := devices_in(one.text))]
        if sentence.known.device and [sentence.known.device] == (
            ahead[-1] if ahead else [*sentence.whole.devices[None]]
        ):
            hardware = load_hardware(sentence.known.device)
            devices = 1 if here[2] else hardware.devices_per_node
            each = max(sentence.known.memory or Fraction(0), Fraction(hardware.device.memory))
            return devices * each, f"{devices} × {shown(each, GB)}", here.start()
    return None


def _fits(sentence: Sentence) -> JudgedClaims:
    """``The 700 GB fit 8 × H100``; ``FP8 weights run on one H100``: the need against the memory of the devices."""
    text, verbs = sentence.text, [*_FITS.finditer(sentence.text)]
    found = _room(sentence) if verbs else None
    if found is None:
        return
    room, told, at = found
    verb = next((one for one in reversed(verbs) if one.start() < at), verbs[0])
    first, last = min(verb.start(), at), max(verb.end(), at)
    clause = clause_of(text, first, last)
    divided = any(_DIVIDED.match(text, one.end()) for one in SIZE.finditer(text, 0, at))
    if divided or _UNSURE.search(clause) or _IF.search(text) or sentence.refuted:
        return
    surely = next((match for match in verbs if match[1]), None)
    outright = [match for match in SIZE.finditer(text, 0, min(at, surely.start() + 4) if surely else 0)
                if "×" not in told or not _EACH.match(text, match.end())]  # fmt: skip
    if not outright and "×" not in told and _IT.match(clause.strip(" *-")):
        outright = [*SIZE.finditer(sentence.lead)][-1:]
    stated = [match for match in outright if size(match[1], match[2]) != room]
    need = size(stated[-1][1], stated[-1][2]) if stated else None
    named = precisions_in(clause)
    precision = named[0] if named else sentence.known.precision
    spoken = _THE_MODEL.search(text) or (_IT.search(clause) and _of_model(sentence.lead))
    if precision and len(named) < 2 and (sentence.own.model or spoken):
        # What an author takes the weights for is judged of its own; they fit or not as they are.
        weights = weights_of(replace(sentence.known, precision=precision))
        need = max(need or Fraction(0), weights or Fraction(0)) or None
    if need is not None:
        yield _fit(sentence, stated[-1] if stated else verb, need, room, told)


def _of_model(text: str) -> bool:
    """Whether a sentence is of a model as a whole: "it", in the next one, is the model."""
    whole = precisions_in(text) or _THE_MODEL.search(text)
    return bool(whole) and re.search(r"\b(?:each|every|per)\b", text, re.IGNORECASE) is None


def _fit(sentence: Sentence, match: re.Match[str], need: Fraction, room: Fraction, told: str) -> JudgedClaim:
    fits = need <= room * Fraction(101, 100)
    note = f"{shown(need, GB)} of weights {'fit' if fits else 'do not fit'} in {told} = {shown(room, GB)}"
    reading = Derivation("room", room, "devices × memory", told)
    return claim_at(sentence, match, "weights_total", need, GB, verdict_of(right=fits), [reading], note)


def _named(sentence: Sentence) -> dict[str, str]:
    """Cells of a row by what their column is of."""
    named: dict[str, str] = {}
    for name, pattern in _COLUMNS.items():
        texts = [text for label, (text, _) in sentence.cells.items() if pattern.fullmatch(label)]
        if len(texts) == 1:
            named[name] = texts[0].replace(",", "")
    return named


def _counts_of(sentence: Sentence) -> dict[str, int]:
    return {name: int(text) for name, text in _named(sentence).items() if text.isdigit()}


def _row(sentence: Sentence) -> JudgedClaims:
    """A row's devices against its replicas and degrees or its nodes; its weights against its memory where it "fits"."""
    named, counts = _named(sentence), _counts_of(sentence)
    degrees: dict[str, int] = {axis: counts[axis] for axis in AXES if axis in counts}
    pairs: list[tuple[str, ...]] = [("replicas", "per_replica"), ("nodes", "per_node")]
    ways = [(prod(counts[name] for name in pair), pair) for pair in pairs if counts.keys() >= set(pair)]
    copies = counts.get("replicas", 1) if "dp" not in degrees else 1
    if len(degrees.keys() & {"tp", "pp", "dp"}) + (copies > 1) > 1:
        # an engine that is not named may count its attention's data parallelism within tp
        given = [value * copies for value in device_counts(degrees, sentence.whole.engines or "sglang")]
        right = min(given, key=lambda value: abs(value - counts.get("devices", 0)), default=0)
        ways.append((right, (*(["replicas"] if copies > 1 else []), *degrees)))
    for value, parts in ways if "devices" in counts else ():
        at = re.search(rf"\b{counts['devices']}\b(?=;|$)", sentence.text)
        reading = Derivation("row", Fraction(value), " × ".join(parts), " × ".join(str(counts[name]) for name in parts))
        if value and at is not None:
            verdict = verdict_of(right=value == counts["devices"])
            yield claim_at(sentence, at, "devices", Fraction(counts["devices"]), ONE, verdict, [reading])
    if _YES.match(named.get("fits", "")):
        found = {name: SIZE.search(named.get(name, "")) for name in ("need", "room", "each")}
        sizes = {name: size(match[1], match[2]) for name, match in found.items() if match is not None}
        rooms = [sizes["room"]] if "room" in sizes else []
        rooms += [counts["devices"] * sizes["each"]] if "each" in sizes and "devices" in counts else []
        at = re.search(re.escape(named.get("need", "\0")), sentence.text)
        if "need" in sizes and rooms and at is not None:
            yield _fit(sentence, at, sizes["need"], max(rooms), "the row's memory")


def _devices_said(sentence: Sentence, per_node: int | None) -> dict[int, tuple[int, int]]:
    """Counts of devices that a sentence or the cell of a row gives, or whole nodes, with where."""
    text = sentence.text
    totals = {
        count(match[1]): match.span() for match in _TOTAL.finditer(text) if not _OF_MORE.search(text[: match.start()])
    }
    for group in sentence.groups:
        totals.setdefault(group.devices, (group.start, group.end))
    at = 0
    for label, (cell, _) in sentence.cells.items():
        at = text.index(cell, at)
        if cell.isdigit() and _COLUMNS["devices"].fullmatch(label):
            totals.setdefault(int(cell), (at, at + len(cell)))
    if not totals and per_node and not sentence.cells:
        totals = {count(match[1]) * per_node: match.span() for match in _SOME_NODES.finditer(text)}
    return totals


def _degrees_give(sentence: Sentence, per_node: int | None, spoken: Counter[int]) -> JudgedClaims:
    """``TP=8, PP=4 on 16 GPUs``, ``TP=4 and four replicas fill the node``: devices against what the degrees give."""
    text, degrees = sentence.text, dict(sentence.own.degrees)
    written = _TIMES_TP.search(text)
    copies = {count(match[1]) for match in _COPIES.finditer(text)} | {_counts_of(sentence).get("replicas", 0)} - {0}
    if written is not None:
        degrees.setdefault("tp", int(written[1]))
        copies.add(count(written[2]))
    totals = _devices_said(sentence, per_node)
    listed = "dp" in degrees or (sentence.item and _COPIES.match(text.lstrip()) is not None)
    laid = listed and not (totals or sentence.cells or sentence.code)
    if laid:
        before, since = _laid_out(sentence, per_node)
        totals, degrees = dict.fromkeys(before, _at(text)), {**since, **degrees}
    if not totals and not per_node and copies and not sentence.code:
        laid, totals = True, _devices_said(sentence, _OF_A_NODE)
    one_node = {count(match[1]) for match in _NODES.finditer(text)} <= {1}
    if not degrees and copies and totals and not sentence.cells and one_node:
        degrees = _sole_degrees(sentence.whole.said)  # copies of the one layout that the document has
        degrees = degrees if len(degrees) == 1 else {}
    if degrees.keys() == {"dp"} and totals and not copies and not sentence.cells:
        # the rest of a layout stands before it
        degrees = {**_sole_degrees(sentence.whole.ahead(sentence)[:-1]), **degrees}
    of_one = totals and max(totals) < max(copies, default=0)  # a copy takes a device at least
    if "dp" not in degrees and len(copies) == 1 and "tp" in degrees and not of_one:
        degrees["dp"] = copies.pop()
    if sentence.cells and not any(len(degrees_in(cell)) > 1 for cell, _ in sentence.cells.values()):
        return  # a column for each degree is judged as a row
    if len(degrees.keys() - {"ep"}) < 2 or _DENIED.search(text):
        return
    if (
        not totals
        and per_node
        and not sentence.code
        and ((listed and not _MORE.search(text)) or degrees != sentence.own.degrees)
    ):
        # no cell of a fleet has more than every device that is spoken of
        most = max(spoken, default=0)
        totals = {most: _at(text)} if most and prod(degrees.get(axis, 1) for axis in ("tp", "pp", "dp")) > most else {}
    if len(totals) != 1:
        return
    ((devices, (start, end)),) = totals.items()
    given = device_counts(degrees, sentence.whole.engines)
    spare = "dp" not in degrees and any(devices % value == 0 for value in given)
    spare |= "pp" not in degrees and any(devices > value and devices % value == 0 for value in given)
    # replicas may leave devices to others; they cannot take more than there are
    spare |= bool(laid or ("dp" not in sentence.own.degrees and written is None)) and min(given, default=0) <= devices
    if given and (devices in given or not spare):
        order = sorted(given, key=lambda value: abs(value - devices))
        product = " × ".join(f"{axis} {value}" for axis, value in degrees.items())
        readings = [Derivation(given[one], Fraction(one), CONVENTIONS[given[one]].devices, product) for one in order]  # type: ignore[index]
        note = "" if devices in given else f"{product} give {' or '.join(map(str, order))} devices"
        verdict = Verdict.AMBIGUOUS if devices in given and len(given) > 1 else verdict_of(right=devices in given)
        first = min((one.start for one in degrees_in(text)), default=start)
        if spoken[devices] > 1:
            start = min(first, start)  # the count is said elsewhere as well: the degrees are wrong
        span = stretch(text, start, end)
        yield claim_at(sentence, span, "devices", Fraction(devices), ONE, verdict, readings, note)


def _sole_degrees(said: Sequence[Sentence]) -> dict[str, int]:
    """The degrees that sentences give, one for an axis; nothing where they give several."""
    found = {(one.axis, one.value) for sentence in said for one in degrees_in(sentence.text) if one.axis in _GRID}
    degrees = dict(sorted(found, key=lambda one: _GRID.index(one[0])))
    return degrees if len(degrees) == len(found) else {}


def _laid_out(sentence: Sentence, per_node: int | None) -> tuple[dict[int, tuple[int, int]], dict[str, int]]:
    """Devices that the sentences before one lay out, and the degrees given since: ``- 8 nodes (64 GPUs). - TP 8``."""
    degrees: dict[str, int] = {}
    for one in reversed(sentence.whole.ahead(sentence)[:-1]):
        if (
            one.code
            or one.cells
            or any(degrees.setdefault(axis, value) != value for axis, value in one.own.degrees.items())
        ):
            break
        if totals := _devices_said(one, per_node):
            return ({}, {}) if _OF_EACH.search(one.text) else (totals, degrees)
    return {}, {}


def _at(text: str) -> tuple[int, int]:
    first = next(iter(degrees_in(text)), None)
    return (first.start, first.start + len(first.text)) if first is not None else (0, len(text))


def _nodes_give(sentence: Sentence, per_node: int | None) -> JudgedClaims:
    """``14 nodes, 116 GPUs``, with eight of them in a node."""
    nodes = {count(match[1]) for match in _NODES.finditer(sentence.text)}
    totals = {count(match[1]): match for match in _TOTAL.finditer(sentence.text)}
    own = next((count(next(filter(None, match.groups()))) for match in _A_NODE.finditer(sentence.text)), None)
    each = own or per_node
    totals.pop(own or 0, None)
    copies = {count(match[1]) for match in _COPIES.finditer(sentence.text)}
    if len(nodes) != 1 or len(totals) != 1 or each is None or sentence.cells or _SOME.search(sentence.text):
        return
    ((devices, match),), (number,) = totals.items(), nodes
    text, found = sentence.text, [*_NODES.finditer(sentence.text)]
    spans = [text[one.start() : match.start()] or text[match.end() : one.start()] for one in found]
    if not any(_SAME.fullmatch(_A_NODE.sub("", _NODES.sub("", span))) for span in spans):
        return
    if devices in {number * each * copy for copy in copies}:
        return
    if devices == number * each or (devices >= number and not _DENIED.search(sentence.text)):
        reading = Derivation("nodes", Fraction(number * each), "nodes × devices_per_node", f"{number} × {each}")
        yield claim_at(
            sentence, match, "devices", Fraction(devices), ONE, verdict_of(right=devices == number * each), [reading]
        )


def _devices_of_a_node(found: Sequence[Sentence]) -> int | None:
    """Devices of a node: as written, else the catalog's where some count of nodes and devices agrees with it."""
    each = {count(next(filter(None, match.groups()))) for one in found for match in _A_NODE.finditer(one.text)}
    if each:
        return each.pop() if len(each) == 1 else None
    for one in found:
        nodes, totals = _NODES.findall(one.text), _TOTAL.findall(one.text)
        if len(nodes) == len(totals) == 1 and one.known.device and count(nodes[0]) > 1:
            size_of_node = load_hardware(one.known.device).devices_per_node
            if count(nodes[0]) * size_of_node == count(totals[0]):
                return size_of_node
    return None


_RULES: Final[tuple[Callable[[Sentence], JudgedClaims], ...]] = (_fits, _row)


def judge_deployment(
    found: Sequence[Sentence], figures: Sequence[Sequence[Quantity]], launches: Sequence[Launched] = ()
) -> list[JudgedClaim]:
    """Claims of sentences, rows and log lines, and launch commands."""
    per_node = _devices_of_a_node(found)
    claims = [claim for sentence in found for rule in _RULES for claim in rule(sentence)]
    claims += [claim for sentence, own in zip(found, figures, strict=True) for claim in judge_rates(sentence, own)]
    spoken = Counter(value for sentence in found for value in _devices_said(sentence, per_node))
    claims += [claim for sentence in found for claim in _degrees_give(sentence, per_node, spoken)]
    claims += [claim for sentence in found for claim in _nodes_give(sentence, per_node)]
    claims += [*judge_sizes(found, figures), *judge_capacity(found, figures), *judge_shapes(found)]
    claims += [*(launch.claim for launch in launches), *judge_code(found, launches)]
    return [*claims, *judge_log(found, launches)]
