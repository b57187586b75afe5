"""What a report is about: a result, and the same figures worked out anew by the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from optimizer.certificate.verdict import Check
from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.errors import SpecError
from optimizer.figures.derivation import derive
from optimizer.figures.derivation_figure import Figure
from optimizer.figures.serving import Evaluation, evaluate
from optimizer.figures.skew import Skews
from optimizer.readers.document import Document
from optimizer.readers.read import problem_in

_SCHEMA = "shardproof/result/"


@dataclass(frozen=True)
class Subject:
    """A result with its problem.

    Attributes
    ----------
    layout
        None where nothing fits.
    check
        What the checker says of the certificate; None where it was not asked.
    """

    document: Mapping[str, Any]
    problem: Problem
    layout: Layout | None
    check: Check | None

    @property
    def placement(self) -> Mapping[str, Any] | None:
        """Expert placement of the result."""
        stated = (self.document.get("layout") or {}).get("placement")
        return stated if isinstance(stated, Mapping) else None

    @cached_property
    def skew(self) -> tuple[Fraction, ...] | None:
        """Hottest device ÷ mean of each layer, where the experts are placed."""
        if self.layout is None or not self.problem.expert_loads:
            return None
        placed = {}
        for entry in self.document.get("certificate", {}).get("placements", ()):
            layers = entry["certificate"]["layers"]
            placed[entry["ep"], entry["redundant"]] = [Fraction(layer["max_over_mean"]) for layer in layers]
        return Skews(self.problem, placed).of(self.layout.shape)

    @cached_property
    def evaluation(self) -> Evaluation | None:
        """The layout, priced."""
        if self.layout is None:
            return None
        return evaluate(self.problem, self.layout, imbalance=self.skew)

    @cached_property
    def figures(self) -> dict[str, Figure]:
        """Every figure with its derivation."""
        if self.layout is None or self.evaluation is None:
            return {}
        return derive(self.problem, self.layout, self.evaluation)


def read_subject(document: Document, check: Check | None) -> Subject:
    """A result document with its problem and layout read.

    Raises
    ------
    SpecError
        Not a result, or broken.
    """
    data = document.data
    if not isinstance(data, dict) or not str(data.get("schema", "")).startswith(_SCHEMA):
        raise document.error("a result is wanted: what `shardproof solve --out` wrote")
    problem = problem_in(document, ("problem",))
    claim = data.get("certificate")
    redundant = claim.get("redundant", 0) if isinstance(claim, dict) else 0
    if not isinstance(redundant, int) or redundant < 0:
        raise document.error("is no number of slots", ("certificate", "redundant"))
    stated = data.get("layout")
    layout = None
    if isinstance(stated, dict):
        fields = {key: value for key, value in stated.items() if key in Layout.model_fields}
        fields.setdefault("redundant_slots", redundant)
        try:
            layout = Layout.model_validate(fields)
        except ValidationError as error:
            fault = error.errors()[0]
            raise document.error(fault["msg"], ("layout", *map(str, fault["loc"]))) from None
    _counted(document, ("search",))
    subject = Subject(data, problem, layout, check)
    try:
        _ = subject.skew, subject.evaluation
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise SpecError(document.fault(f"cannot be priced: {error}", ("layout",))) from None
    return subject


def _counted(document: Document, at: tuple[str, ...]) -> None:
    """The tallies of the search, which are drawn: a mapping of numbers, with those that exclude in one of their own."""
    tallies = document.get(at)
    if tallies is None:
        return
    if not isinstance(tallies, Mapping):
        raise document.error("is no mapping of tallies", at)
    for key, value in tallies.items():
        inner = (*at, str(key))
        if inner == ("search", "excluded"):
            _counted(document, inner)
        elif isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise document.error("is no tally", inner)
