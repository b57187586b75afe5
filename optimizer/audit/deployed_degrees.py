"""Claims of counts: degrees that give the devices, nodes that hold them, experts of a device."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Final

from optimizer.audit.contradictions import Contradiction
from optimizer.audit.deployed_claim import BETTER_NOT, judged_at, priced_on
from optimizer.audit.deployment import COUNT, DEVICES, ORDINALS, Facts, Sentence, count
from optimizer.audit.facts import Derivation, JudgedClaim
from optimizer.audit.lexicon import ONE
from optimizer.audit.partial import device_counts
from optimizer.audit.verdict import Verdict
from optimizer.domain.convention import CONVENTIONS
from optimizer.readers.catalog import load_hardware

_TOTAL: Final = re.compile(
    rf"(?<![\w.,=×x*/-])(\d{{1,6}})\s+{DEVICES}\b(?!\s*(?:per|each|/|a node|and|in each|in one))", re.IGNORECASE
)


_OF_MORE: Final = re.compile(
    r"\b(?:(?:nodes?|cluster|servers?|hosts?)\s+(?:of|with|has)|up to|out of)\s*$", re.IGNORECASE
)
"""Before a count that is a node's, or what there is."""


def degrees_give(sentence: Sentence) -> Iterator[JudgedClaim]:
    """``TP=8, PP=4 on 16 GPUs``: the devices against what the degrees give in any convention."""
    degrees = sentence.own.degrees
    totals = {
        int(match[1]): match
        for match in _TOTAL.finditer(sentence.text)
        if not _OF_MORE.search(sentence.text[: match.start()])
    }
    for group in sentence.groups:
        match = re.compile(r".+", re.DOTALL).match(sentence.text, group.start, group.end)
        if match is not None:
            totals.setdefault(group.devices, match)
    axes = {axis: value for axis, value in degrees.items() if axis != "ep"}
    if len(axes) > 1 and len(totals) == 1 and not BETTER_NOT.search(sentence.text):
        ((devices, match),) = totals.items()
        yield from _counted(sentence, match, devices, degrees)


def _counted(sentence: Sentence, match: re.Match[str], devices: int, degrees: dict[str, int]) -> Iterator[JudgedClaim]:
    readings = list(device_counts(degrees, sentence.engines).items())
    given = [value for value, _ in readings]
    spare = "dp" not in degrees and any(devices % value == 0 for value in given)
    if not readings or (spare and devices not in given):
        return
    verdict = Verdict.FAILS if devices not in given else Verdict.HOLDS if set(given) == {devices} else Verdict.AMBIGUOUS
    order = sorted(readings, key=lambda one: abs(one[0] - devices))
    written = " × ".join(f"{axis} {value}" for axis, value in degrees.items())
    found = [Derivation(name, Fraction(value), CONVENTIONS[name].devices, written) for value, name in order]  # type: ignore[index]
    note = "" if devices in given else f"{written} give {' or '.join(str(value) for value, _ in order)} devices"
    yield judged_at(sentence, match, "devices", Fraction(devices), ONE, verdict, found, note)


_NODES: Final = re.compile(rf"({COUNT}|{ORDINALS})\s+(?:nodes?|servers?|hosts?|boxes)\b", re.IGNORECASE)
_A_NODE: Final = re.compile(
    rf"(?:(\d{{1,3}})\s*[×x]?\s*(?:[A-Z]+\d+\w*\s*)?{DEVICES}?\s*(?:per node|each|/\s*node|a node|per server))"
    rf"|(?:nodes|servers)\s*(?:[×x*]|with|of|,? each with)\s*(\d{{1,3}})(?:\s*{DEVICES})?\b"
    rf"|{DEVICES} per node\s*[:=]\s*(\d{{1,3}})|\((\d)\s*×\s*\w+ each\)",
    re.IGNORECASE,
)


def nodes_give(sentence: Sentence, per_node: int | None) -> Iterator[JudgedClaim]:
    """``14 nodes, 116 GPUs``, with eight of them in a node."""
    nodes = {count(match[1]) for match in _NODES.finditer(sentence.text)}
    totals = {int(match[1]): match for match in _TOTAL.finditer(sentence.text)}
    own = next((int(next(filter(None, match.groups()))) for match in _A_NODE.finditer(sentence.text)), None)
    each = own or per_node
    totals.pop(own or 0, None)
    if (
        len(nodes) != 1
        or len(totals) != 1
        or each is None
        or sentence.cells
        or re.search(r"\bof (?:the|which)\b|\bfree\b|\bper\b.*\breplica", sentence.text)
    ):
        return
    ((devices, match),) = totals.items()
    number = nodes.pop()
    verdict = Verdict.HOLDS if devices == number * each else Verdict.FAILS
    if verdict is Verdict.FAILS and (match.start() < 0 or devices < number or BETTER_NOT.search(sentence.text)):
        return
    reading = Derivation(
        "nodes × devices of a node", Fraction(number * each), "nodes × devices_per_node", f"{number} × {each}"
    )
    yield judged_at(sentence, match, "devices", Fraction(devices), ONE, verdict, [reading])


def devices_of_a_node(found: Sequence[Sentence]) -> int | None:
    """Devices of a node: as written, else the catalog's where some count of nodes and devices agrees with it."""
    each = {int(next(filter(None, match.groups()))) for one in found for match in _A_NODE.finditer(one.text)}
    if each:
        return each.pop() if len(each) == 1 else None
    for one in found:
        nodes, totals = _NODES.findall(one.text), _TOTAL.findall(one.text)
        size_of_node = load_hardware(one.known.device).devices_per_node if one.known.device and totals else None
        if (
            size_of_node and len(nodes) == len(totals) == 1
            and count(nodes[0]) > 1 and count(nodes[0]) * size_of_node == int(totals[0])
        ):  # fmt: skip
            return size_of_node
    return None


_EXPERTS: Final = re.compile(
    r"(\d{1,4})(?:\s+of\s+the\s+\d+)?\s+(?:routed\s+)?experts?\s+(?:per|of each|each|a|in each|on each|/)\s*"
    r"(?:layer|GPU|device|rank|card)\b|(?:each|every)\s+(?:GPU|device|rank|card)\s+(?:has|holds|keeps|owns|gets|stores)\s+"
    r"(\d{1,4})\s+(?:routed\s+)?experts",
    re.IGNORECASE,
)


def experts_held(sentence: Sentence) -> Iterator[JudgedClaim]:
    """``With EP=32 it is 16 experts a layer``: experts of one layer, instances and equivalents, as `verify` counts."""
    ep = sentence.own.degrees.get("ep")
    match = _EXPERTS.search(sentence.text)
    if ep is None or match is None or re.search(r"redundan|shared|\bactive\b", sentence.text):
        return
    # What a rank holds of a model needs no device; any of the catalog will do.
    priced = priced_on(sentence.known.over(Facts(device="h100-sxm-8")), ep, ep=ep)
    if priced is None or priced[0].model.moe is None:
        return
    value = Fraction(match[1] or match[2])
    names = ("experts_resident_per_layer", "expert_instances", "expert_equivalents")
    readings = [Derivation(name, Fraction(figure.value), figure.formula, figure.substituted)
                for name in names if (figure := priced[2].figures.get(name)) is not None]  # fmt: skip
    if value == priced[0].model.moe.experts or not readings:
        return
    true = [one for one in readings if one.value == value]
    verdict = Verdict.FAILS if not true else Verdict.HOLDS if "layer" in match[0] else Verdict.AMBIGUOUS
    yield judged_at(
        sentence, match, "experts_per_gpu", value, ONE, verdict, [*true, *(one for one in readings if one not in true)]
    )


_THE_WHOLE: Final = re.compile(
    rf"\b(?:all|whole fleet of)\s+(\d{{1,6}})\s+{DEVICES}\b"
    rf"|\b(\d{{1,6}})\s+{DEVICES}\s+(?:for|in) (?:this|the) (?:cluster|pool|fleet|cell)",
    re.IGNORECASE,
)


def said_of_the_whole(found: Sequence[Sentence]) -> Iterator[Contradiction]:
    """``All 40 GPUs`` of a document that counts 32 once, and no others."""
    counted: dict[int, int] = {}
    said: list[tuple[int, int]] = []
    every: list[int] = []
    for sentence in found:
        totals = [int(match[1]) for match in _TOTAL.finditer(sentence.text)]
        totals += [group.devices for group in sentence.groups if group.devices not in totals and group.devices > 8]
        whole = _THE_WHOLE.search(sentence.text)
        if whole is not None:
            said.append((int(whole[1] or whole[2]), sentence.at(whole.start()).line))
            continue
        every += totals
        for value in totals:
            if value >= 8 and (_NODES.search(sentence.text) or len(sentence.own.degrees) > 1):
                counted.setdefault(value, sentence.place.line)
    for value, line in said:
        if len(counted) == 1 and value not in every and not counted.keys() & {value}:
            ((other, first),) = counted.items()
            told = f"two values for devices: {other} and {value}"
            yield Contradiction(tuple(sorted((first, line))), "devices", (Fraction(other), Fraction(value)), told)
