"""A document's facts as a partial problem, and every way to complete it, each priced by `verify`.

What the document leaves open is filled: degrees with every whole number that the device count allows, shapes twice with
different numbers, phase and batch with a few operating points. A figure on which all completions of a convention agree
follows from what is written; one that varies is known only as the set of what it may be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import product
from typing import Any, Final

from optimizer.audit.facts import Derivation, Facts
from optimizer.audit.statements import AXES
from optimizer.domain.convention import CONVENTIONS, Degrees
from optimizer.domain.layout import Layout, WrittenLayout
from optimizer.domain.problem import Problem
from optimizer.domain.workload import PHASES
from optimizer.errors import SpecError
from optimizer.figures.derivation_figure import Figure
from optimizer.readers.document import Document
from optimizer.readers.read import problem_in
from optimizer.verify import judge_layout

_USUAL: Final = ("folded", "product")
"""Conventions that need no engine to be named: the others are read where the document names theirs."""
_FILLERS: Final = (1, 2)
"""What a figure left open is multiplied by in one completion and the other."""
_WIDTH: Final = 128
_MOST_LAYOUTS: Final = 16
_PHASES: Final = {"decode": "decode", "aggregated": "prefill and decode mixed", "prefill": "prefill"}
_BATCHES: Final = (1, 2, 8, 64, 512)


@dataclass(frozen=True, slots=True)
class Completion:
    """One way to complete the facts, by its convention and the operating point, with the reference's figures."""

    convention: str
    point: str
    problem: Problem
    layout: Layout
    figures: Mapping[str, Figure]


def resolve(problem: Mapping[str, Any] | Problem) -> Problem:
    """A problem at hand, with its model and hardware in full.

    Raises
    ------
    SpecError
        What is wrong with it.
    """
    if isinstance(problem, Problem):
        return problem
    return problem_in(Document(problem, "<problem>", "{}"))


def device_counts(degrees: Mapping[str, int], engines: str) -> dict[int, str]:
    """Devices by every convention that can read the degrees, each count once; ``engines`` are those named."""
    written = Degrees(
        degrees.get("tp", 1), degrees.get("cp", 1), degrees.get("dp", 1), degrees.get("pp", 1), degrees.get("etp"),
        degrees.get("ep"), None,
    )  # fmt: skip
    counts: dict[int, str] = {}
    if min(degrees.values(), default=1) < 1:
        return counts
    for name, rule in CONVENTIONS.items():
        # With the experts' tensor parallelism written, nobody multiplies expert parallelism on top.
        if (name in _USUAL and not (name == "product" and "etp" in degrees)) or name.partition("-")[0] in engines:
            try:
                mesh = rule.read(written)
            except ValueError:
                continue
            width = mesh["tp"] * mesh["cp"] * mesh["dp"]
            if width % mesh["ep"] == 0:
                counts.setdefault(width * mesh["pp"], name)
    return counts


class Partial:
    """The partial problem of a document or one of its sections; completed when a claim first asks."""

    def __init__(self, facts: Facts, problem: Problem | None) -> None:
        self.facts = facts
        self.problem = problem
        self.degrees = {axis: int(value) for axis in AXES if (value := self._count(axis)) is not None}

    def _count(self, name: str) -> int | None:
        """A count that is given once."""
        value = self.facts.one(name)
        mixed = name == "layers" and self.problem is None and self.facts.values("mixed_layers")
        return int(value) if value is not None and value.denominator == 1 and value > 0 and not mixed else None

    @cached_property
    def several(self) -> bool:
        """Whether some degree has two values: then nothing follows from them."""
        return any(len(self.facts.values(axis)) > 1 for axis in AXES)

    @cached_property
    def finite(self) -> bool:
        """Whether the layouts tried are all there can be."""
        written = {"tp", "pp", "dp"} <= self.degrees.keys() and "ep" in self.degrees
        return not self.several and (written or (self._count("devices") is not None and "ep" in self.degrees))

    def _layouts(self) -> Iterator[tuple[str, dict[str, int]]]:
        """Degrees under each convention, those left open filled; of the stated device count, if any has it."""
        devices, degrees = self._count("devices"), self.degrees
        experts = self._count("experts_per_layer") or degrees.get("ep", 1)
        if self.several or degrees.get("ep", 1) > experts or (not degrees and devices is None):
            return
        written = {axis: degrees.get(axis, 1) for axis in ("tp", "cp", "dp", "pp")}
        plain = [(name, written | degrees) for name in _USUAL]
        if self.problem is not None:
            given = [one for one in plain if device_counts(one[1], one[0]).get(devices or 0) == one[0]]
            yield from given or plain
            return
        wide = -(-degrees.get("ep", 1) // written["tp"])
        for name in _USUAL:
            factor = degrees.get("ep", 1) if name == "product" else 1
            for pp, more in product([degrees["pp"]] if "pp" in degrees else self._stages(devices), _FILLERS):
                rest = Fraction(devices or 0, written["tp"] * written["cp"] * pp * factor)
                dp = degrees.get("dp") or (int(rest) if devices else (wide if factor == 1 else 1) * more)
                if dp and (devices is None or rest == dp):
                    yield name, written | degrees | {"pp": pp, "dp": dp}

    def _stages(self, devices: int | None) -> Iterator[int]:
        layers = self._count("layers")
        for stages in range(1, (devices or 2) + 1) if (devices or 2) <= 1 << 16 else ():
            if (devices or 2) % stages == 0 and (layers is None or layers % stages == 0):
                yield stages

    @cached_property
    def completions(self) -> list[Completion]:
        """Every completion that has a price: of the problem as it is, or with two fillings of the shapes."""
        if self.problem is not None:
            return list(self._priced([("", self.problem, self._count("batch") or 1)]))
        return list(self._priced([("", None, 1), (" ", None, 1)]))

    @cached_property
    def points(self) -> list[Completion]:
        """The problem's layouts in every phase, at batch 1, the written batch and a few more that fit."""
        if self.problem is None:
            return []
        workload, batch, asked = self.problem.workload, self._count("batch") or 1, []
        for phase, name in _PHASES.items():
            if workload.output_tokens > 1 or not PHASES[phase].decodes:
                problem = self.problem.model_copy(update={"workload": workload.model_copy(update={"phase": phase})})
                asked += [(f"{name} at batch {size}", problem, size) for size in sorted({*_BATCHES, batch})]
        return [one for one in self._priced(asked) if one.figures["memory_bytes"].value <= one.problem.capacity_bytes]

    def _priced(self, problems: Sequence[tuple[str, Problem | None, int]]) -> Iterator[Completion]:
        chosen = list({str(item): item for item in self._layouts()}.values())[:_MOST_LAYOUTS]
        for (convention, degrees), (point, problem, batch) in product(chosen, problems):
            try:
                layout = WrittenLayout.model_validate({"convention": convention, **degrees, "batch": batch}).resolve(
                    experts=problem is None or problem.model.moe is not None
                )
            except ValueError:
                continue
            asked = problem or _filled(
                self._count("layers") or layout.pp * _FILLERS[len(point)], self._count("experts_per_layer") or 0,
                self._count("hidden_size") or _WIDTH, self._count("expert_hidden_size") or _WIDTH * (1 + len(point)),
                layout.devices,
            )  # fmt: skip
            verdict = None if asked is None else judge_layout(asked, layout)
            if asked is not None and verdict is not None and verdict.evaluation is not None:
                yield Completion(convention, point, asked, layout, verdict.figures)

    def readings(self, figures: Mapping[str, str], *, points: bool) -> tuple[list[Derivation], bool]:
        """Values of ``figures`` (name of the figure to that of the reading), and whether they are all there are.

        With ``points``, at every operating point, each by its name; else those alone that follow.
        """
        derived: dict[tuple[str, Fraction], Derivation] = {}
        whole = bool(self.completions)
        priced = self.points if points else self.completions
        known_here = {figure for way in priced for figure in figures.keys() & way.figures.keys()}
        for figure, reading in figures.items():
            if known_here and figure not in known_here:
                continue  # weights as stored differ from those held where a kernel pads alone
            for convention in _USUAL:
                ways: dict[str, list[Completion]] = {}
                for way in self.points if points else self.completions:
                    if way.convention == convention and figure in way.figures:
                        ways.setdefault(f"{way.layout}{way.point.strip()}", []).append(way)
                filled = [(made[0], {Fraction(one.figures[figure].value) for one in made}) for made in ways.values()]
                known = [(way, values.pop()) for way, values in filled if len(values) == 1]
                open_to_more = len({value for _, value in known}) > 1 and not (points or self.finite)
                whole &= len(known) == len(filled) and not open_to_more
                for way, value in () if open_to_more else known:
                    told = way.point.strip() or f"pp = {way.layout.pp}"
                    name = reading if len({other for _, other in known}) == 1 else f"{told}, {reading}"
                    described = way.figures[figure].to_json()
                    formula, text = str(described["formula"]), str(described["substituted"])
                    derivation = Derivation(name, value, formula, text.rpartition(" = ")[0] or text or formula)
                    derived.setdefault((reading if not points else name, value), derivation)
            whole &= any(key[0] == reading for key in derived) or points
        return list(derived.values()), whole


@lru_cache(maxsize=256)
def _filled(layers: int, experts: int, hidden: int, intermediate: int, devices: int) -> Problem | None:
    """A problem of these shapes on devices that hold anything."""
    experts_each = {"kind": "moe", "experts": experts, "top_k": 1} if experts else {"kind": "dense"}
    layer = {
        "attention": {"kind": "gqa", "heads": 1, "kv_heads": 1, "head_dim": hidden},
        "ffn": experts_each | {"intermediate": intermediate},
    }
    try:
        return resolve(
            {
                "model": {"name": "stated", "hidden_size": hidden, "vocab_size": 1, "blocks": {"layer": layer},
                          "layers": [{"pattern": ["layer"], "count": layers}]},
                "hardware": "h100-sxm-8", "devices": devices,
                "workload": {"kind": "serving", "phase": "decode", "input_tokens": 1, "output_tokens": 2},
            }
        )  # fmt: skip
    except SpecError:
        return None
