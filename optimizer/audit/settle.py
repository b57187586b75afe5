"""What a document gives as data: front matter and fenced YAML with ``problem``, ``layout`` and ``claims``."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Final

from optimizer.audit import lexicon
from optimizer.audit.document import DataBlock, MarkdownDocument, Place
from optimizer.audit.facts import NO_SEGMENT, Role, Statement
from optimizer.audit.known_figures import resolve
from optimizer.audit.tokens import Number, tokenize
from optimizer.domain.feedforward import MixtureOfExperts
from optimizer.domain.precision import FORMATS
from optimizer.domain.problem import Problem
from optimizer.errors import Fault, SpecError
from optimizer.readers.document import Document, load_text
from optimizer.readers.places import PlaceTree
from optimizer.readers.read import layout_in
from optimizer.verify import judge
from optimizer.verify.claim_table import dimensions

_KEYS: Final = re.compile(r"^(?:problem|layout|claims)\s*:", re.MULTILINE)
_AXES: Final = ("tp", "cp", "dp", "pp", "etp", "ep", "edp", "batch")
_MOST_BLOCKS: Final = 256
_RENAMED: Final = {"experts_resident_per_layer": "experts_per_gpu_per_layer", "expert_equivalents": "experts_per_gpu"}


def is_data(block: DataBlock) -> bool:
    """Whether the block has one of the keys that outrank the prose."""
    return _KEYS.search(block.text) is not None


@dataclass(frozen=True, slots=True)
class Settled:
    """Values that outrank the prose, claims written as data, and what could not be read."""

    values: dict[str, Fraction] = field(default_factory=dict)
    claims: tuple[Statement, ...] = ()
    faults: tuple[str, ...] = ()
    verified: tuple[dict[str, Any], ...] = ()
    violations: tuple[str, ...] = ()
    problem: Problem | None = None
    lines: frozenset[int] = frozenset()


def settle(document: MarkdownDocument, source: str, problem: Mapping[str, Any] | Problem | None) -> Settled:
    """Read the data blocks of ``document``; ``problem`` outranks them."""
    values: dict[str, Fraction] = {}
    claims: list[Statement] = []
    faults: list[str] = []
    verified: list[dict[str, Any]] = []
    violations: list[str] = []
    lines: set[int] = set()
    given = _resolved(problem, faults)
    read = 0
    for block in document.data:
        if not is_data(block):
            continue
        read += 1
        if read > _MOST_BLOCKS:
            faults.append(f"line {block.line}: data blocks behind the first {_MOST_BLOCKS} are not read")
            break
        loaded = _load(block, source, faults)
        if loaded is None:
            continue
        data = loaded.data
        lines.update(range(block.line, block.line + block.text.count("\n") + 1))
        values |= _layout(data.get("layout"))
        values |= _problem(data.get("problem"))
        if "layout" in data and (given is not None or "problem" in data):
            try:
                judged, violated = judge_data(loaded, given)
            except SpecError as error:
                faults += [str(fault) for fault in error.faults]
            else:
                verified += judged
                violations += violated
                continue
        claims += _claims(data.get("claims"), block)
    if given is not None:
        values |= problem_values(given)
    return Settled(values, tuple(claims), tuple(faults), tuple(verified), tuple(violations), given, frozenset(lines))


def _resolved(problem: Mapping[str, Any] | Problem | None, faults: list[str]) -> Problem | None:
    if problem is None:
        return None
    try:
        return resolve(problem)
    except SpecError as error:
        faults += [str(fault) for fault in error.faults]
        return None


def _load(block: DataBlock, source: str, faults: list[str]) -> Document | None:
    try:
        loaded = load_text(block.text, source)
    except SpecError as error:
        faults += [f"a data block that cannot be read: {_moved(fault, block.line - 1)}" for fault in error.faults]
        return None
    # Padding the text before it is parsed would cost as many lines again for each block.
    loaded = replace(loaded, text="\n" * (block.line - 1) + block.text)
    if loaded.yaml_places is not None:
        _move(loaded.yaml_places, block.line - 1)
    return loaded if isinstance(loaded.data, Mapping) else None


def _moved(fault: Fault, lines: int) -> Fault:
    return fault if fault.line is None else replace(fault, line=fault.line + lines)


def _move(tree: PlaceTree, lines: int) -> None:
    """Place the block where it stands in the document."""
    stack = [tree]
    seen: set[int] = set()
    while stack:
        part = stack.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        part.place = part.place[0] + lines, part.place[1]
        part.keys = {key: (line + lines, column) for key, (line, column) in part.keys.items()}
        stack += part.children.values()


def _layout(layout: object) -> dict[str, Fraction]:
    if not isinstance(layout, Mapping):
        return {}
    return {axis: Fraction(layout[axis]) for axis in _AXES if type(layout.get(axis)) is int and layout[axis] > 0}


def _problem(problem: object) -> dict[str, Fraction]:
    if not isinstance(problem, Mapping):
        return {}
    given = {}
    if type(problem.get("devices")) is int:
        given["devices"] = Fraction(problem["devices"])
    workload = problem.get("workload")
    if isinstance(workload, Mapping) and type(workload.get("input_tokens")) is int:
        given["input_tokens"] = Fraction(workload["input_tokens"])
    return given


def _claims(claims: object, block: DataBlock) -> Iterator[Statement]:
    if not isinstance(claims, Mapping):
        return
    lines = block.text.split("\n")
    for name, value in claims.items():
        if not isinstance(name, str):
            continue
        written_key = re.compile(rf"^\s*[\"']?{re.escape(name)}[\"']?\s*:\s*[\"']?").match
        row = next(((at, match) for at, line in enumerate(lines) if (match := written_key(line))), None)
        place = Place(block.line + (row[0] if row else 0), (row[1].end() if row else 0) + 1)
        written = tokenize(str(value))
        if len(written) != 1 or not isinstance(written[0], Number):
            continue
        number = written[0]
        yield Statement(
            _RENAMED.get(name, name), number.value, place, f"{name}: {value}", Role.STATED, NO_SEGMENT,
            number.unit if number.unit is not lexicon.ONE else lexicon.ONE, number, section=("",),
        )  # fmt: skip


def problem_values(problem: Problem) -> dict[str, Fraction]:
    """Facts that a problem settles: shapes of the model, limits of the device, lengths of the workload."""
    model, device = problem.model, problem.hardware.device
    values: dict[str, int | Fraction] = {
        "layers": model.layer_count,
        "hidden_size": model.hidden_size,
        "vocabulary": model.vocab_size,
        "device_memory": device.memory,
        "memory_bandwidth": device.bandwidth,
        "peak_flops": max(device.peak.values()),
        "input_tokens": problem.workload.input_tokens,
    }
    bits = FORMATS[problem.precision.weights].bits if problem.precision.weights in FORMATS else 0
    if bits % 8 == 0 and bits:
        values["bytes_per_parameter"] = bits // 8
    moe = model.moe
    if isinstance(moe, MixtureOfExperts):
        values |= {"experts_per_layer": moe.experts, "layers": model.moe_layer_count}
        if moe.latent_size is None and not moe.bias:
            values |= {"expert_hidden_size": moe.intermediate, "expert_matrices": 3 if moe.gated else 2}
    return {name: Fraction(value) for name, value in values.items()}


def judge_data(block: Document, problem: Problem | None) -> tuple[list[dict[str, Any]], list[str]]:
    """Claims of a data block with its layout, as `verify` judges them, and the constraints that the layout violates.

    Raises
    ------
    SpecError
        The layout or a claim cannot be read.
    """
    data = {key: value for key, value in block.data.items() if key in {"name", "problem", "layout", "claims", "notes"}}
    document = layout_in(_with(block, data, problem), claims=dimensions)
    verdict = judge(document)
    claims = [{**item.to_json(), "role": "stated"} for item in verdict.claims]
    return claims, [str(violation) for violation in verdict.violations]


def _with(block: Document, data: dict[str, Any], problem: Problem | None) -> Document:
    if problem is not None:
        data = {**data, "problem": problem.model_dump(mode="python")}
    return replace(block, data=data)
