"""A new limit is a field and a row: `solve`, `verify`, `certify` and `explain` honour it without further change."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Annotated

import pytest
from pydantic.fields import FieldInfo

from optimizer import read_problem, verify
from optimizer.certificate import certify
from optimizer.domain.families import Family
from optimizer.domain.layout import Layout
from optimizer.domain.limit_table import LIMITS, bound_on, limits_of, told
from optimizer.domain.limits import Limits
from optimizer.domain.objectives import OBJECTIVES, Measure, Objective, Scale
from optimizer.domain.problem import Problem, ProblemFile
from optimizer.domain.quantity import Dollars, fraction_of
from optimizer.errors import SpecError
from optimizer.explain import brief, explain
from optimizer.figures.objective import value_of
from optimizer.figures.serving import evaluate
from optimizer.solve import solve
from optimizer.units import Dimension, amount
from optimizer.verify.constraints import violations
from tests.limited import assert_limited
from tests.small_problems import Priced, layouts, small_problem
from tests.small_problems import value as small_value
from tests.toy_objectives import ENERGY, INTERACTIVITY, WATTS, a_new_dimension

HELD = Objective(
    "held", "held_kib", "memory held", maximised=False, dimension=Dimension.COUNT,
    scale=lambda _: Scale(Measure.MEMORY, Fraction(1, 1024)),
)  # fmt: skip
TOTAL = Objective(
    "total", "total_tokens_per_s", "tokens in all", maximised=True, dimension=Dimension.TOKENS_PER_SECOND,
    scale=lambda p: Scale(Measure.REQUESTS, Fraction(p.workload.tokens_of_request)),
)  # fmt: skip
USED = Objective(
    "used", "used", "devices used", maximised=False, dimension=Dimension.COUNT, scale=lambda _: Scale(Measure.DEVICES),
)  # fmt: skip
TOYS = (ENERGY, INTERACTIVITY, HELD, TOTAL, USED)
AGAINST = {"energy": "memory_headroom", "total": "memory_headroom", "used": "throughput"}
"""Objectives that a limit stands in the way of; of the others throughput a device."""


def from_figures(row: Objective, found: Priced) -> Fraction:
    """What a limit of these is about, from figures alone."""
    own = found.evaluation
    return {
        "energy": lambda: WATTS / own.throughput_per_device,
        "interactivity": lambda: 1 / (own.tpot_s or Fraction(1)),
        "held": lambda: Fraction(own.memory_bytes, 1024),
        "total": lambda: own.throughput,
        "used": lambda: Fraction(own.devices),
    }[row.name]()


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The rows, the fields that problems write them in, and a dimension that no other row has."""
    fields, rows = dict(Limits.__pydantic_fields__), list(LIMITS)
    for row in TOYS:
        monkeypatch.setitem(OBJECTIVES, row.name, row)
        quantity = Annotated[Fraction, *fraction_of(row.dimension)]
        Limits.__pydantic_fields__[f"limit_{row.name}"] = FieldInfo(annotation=quantity | None, default=None)
        limit = bound_on(f"limit_{row.name}", row.name, label=row.name, asked=row.words)
        LIMITS.insert(len(LIMITS) - 2, limit)
    rebuild()
    with a_new_dimension():
        yield
    LIMITS[:] = rows
    Limits.__pydantic_fields__.clear()
    Limits.__pydantic_fields__.update(fields)
    rebuild()


def rebuild() -> None:
    for kind in (Limits, ProblemFile, Problem):
        kind.model_rebuild(force=True)


def limited(problem: Problem, row: Objective, value: Fraction) -> Problem:
    limits = Limits.model_validate(problem.limits.model_dump() | {f"limit_{row.name}": value})
    return problem.changed(limits=limits)


def margin(problem: Problem, row: Objective) -> Fraction:
    """What a prediction is divided by before it is held against a limit: a time by another name has that of times."""
    return problem.sure["tpot"] if row is INTERACTIVITY else Fraction(1)


UNITS = {"energy": "J/token", "interactivity": " tokens/s", "total": " tokens/s", "held": " held_kib", "used": " used"}


def asked() -> Iterator[tuple[Problem, list[Priced], Objective]]:
    """Small problems with all their layouts, each with a limit that about half of these keep."""
    for seed in range(30):
        problem = small_problem(seed)
        found = list(layouts(problem)) if not problem.expert_loads else []
        for row in TOYS:
            if found and row.unfit(problem.workload) is None:
                yield problem, found, row


def test_solve_finds_the_best_of_what_keeps_it_and_verify_breaks_it_where_figures_do() -> None:
    kinds = dict.fromkeys((row.name for row in TOYS), 0)
    for problem, found, row in asked():
        against = AGAINST.get(row.name, "throughput_per_device")
        values = sorted(from_figures(row, one) / margin(problem, row) for one in found)
        limit = values[len(values) // 2]
        question = limited(problem, row, limit).changed(objective=against)
        kept = []
        for one, value in zip(found, (from_figures(row, one) for one in found), strict=True):
            assert value_of(row, problem, one.evaluation) == value
            sure = value / margin(question, row)
            breaks = sure < limit if row.maximised else value > limit
            # what is served in time depends on the limits
            own = evaluate(question, one.evaluation.layout)
            said = [v for v in violations(question, own.layout, own) if v.family is Family.LIMIT]
            assert bool(said) is breaks
            assert not said or row.words in str(said[0])
            assert not said or row is not ENERGY or str(said[0]).count("J/token ") == 2
            kept += [] if breaks else [small_value(question, own, against)]
        if assert_limited(question, question.changed(limits=problem.limits), max(kept), (problem.seed, row.name)):
            kinds[row.name] += 1
    assert min(kinds.values()) > 2, kinds


def test_explain_and_certify_name_it_in_a_conflict_and_relax_it_exactly() -> None:
    seen = set()
    for problem, found, row in asked():
        values = [from_figures(row, one) for one in found]
        best = max(values) if row.maximised else min(values)
        beyond = best * (Fraction(11, 10) if row.maximised else Fraction(9, 10))
        question = limited(problem, row, beyond)
        if row.name in seen:
            continue
        seen.add(row.name)
        answer = solve(question)
        assert answer.status == "infeasible"
        name = f"limit_{row.name}"
        said = explain(question)
        document = answer.to_json() | {"conflict": brief(question)}
        assert name in {member["limit"] for member in document["conflict"]}
        assert certify(document).accepted
        document["conflict"] = [member for member in document["conflict"] if member["limit"] != name]
        assert not document["conflict"] or not certify(document).accepted
        relaxed = next(one for one in said.relaxations if one.limit == name)
        assert relaxed.new == best / margin(question, row)
        shown = amount(told(relaxed.new, relaxed.old), relaxed.unit, told(relaxed.old))
        assert shown.endswith(UNITS[row.name])
        again = float(shown.split()[0].replace(",", "")) * float(row.dimension.units.get(shown.partition(" ")[2], 1))
        assert again == pytest.approx(float(relaxed.new), rel=1e-3)
        assert solve(relaxed.problem).status == "optimal"
    assert seen == {row.name for row in TOYS}


def test_a_limit_changes_nothing_but_its_own_fields_where_it_is_dropped_or_scaled() -> None:
    problem = small_problem(3)
    for row in TOYS:
        problem = limited(problem, row, Fraction(3)) if row.unfit(problem.workload) is None else problem
    for limit in limits_of(problem):
        changes = [limit.drop(problem)] + ([limit.times(problem, Fraction(2))] if limit.times else [])
        for other in changes:
            old, new = flat(problem.model_dump(mode="json")), flat(other.model_dump(mode="json"))
            differs = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
            assert differs, limit.name
            assert all(any(name.startswith(at) for at in limit.at) for name in differs), (limit.name, differs)


def test_a_limit_on_what_the_hardware_cannot_tell_is_refused_in_the_words_of_the_objective() -> None:
    dollars = bound_on("limit_cost", "cost", label="cost", asked="Most dollars.")
    Limits.__pydantic_fields__["limit_cost"] = FieldInfo(annotation=Dollars | None, default=None)
    LIMITS.insert(0, dollars)
    rebuild()
    for hardware in ("h20-8", "gaudi3-8", "mi250x-8", "gb10", "trainium3-ultraserver"):
        asked = {"model": "llama-3.1-8b", "hardware": hardware, "devices": 1, "limits": {"limit_cost": 2}}
        with pytest.raises(SpecError, match=r"limits\.limit_cost: objective 'cost' needs a price above 0: device"):
            read_problem(asked | {"workload": {"input_tokens": 100, "output_tokens": 10}})
    nothing = {"model": "llama-3.1-8b", "hardware": "h100-sxm-8", "devices": 1, "limits": {"limit_interactivity": 0}}
    with pytest.raises(SpecError, match=r"limits\.limit_interactivity: must be more than 0"):
        read_problem(nothing | {"workload": {"input_tokens": 100, "output_tokens": 10}})
    problem = small_problem(0)
    assert problem.hardware.device.price
    device = problem.hardware.device.model_copy(update={"price": None})
    free = problem.changed(hardware=problem.hardware.model_copy(update={"device": device}))
    limits = Limits.model_validate(problem.limits.model_dump() | {"limit_cost": Fraction(10**6)})
    document = solve(problem.changed(limits=limits)).to_json()
    assert certify(document).accepted
    for command in (solve, explain, lambda asked: verify(Layout(tp=1), asked)):
        with pytest.raises(SpecError, match="objective 'cost' needs a price above 0"):
            command(free.changed(limits=limits))
    document["problem"]["hardware"]["device"]["price"] = None
    assert "cannot be read: objective 'cost' needs a price above 0" in str(certify(document).reason)


def flat(data: object, at: str = "") -> dict[str, object]:
    if isinstance(data, dict):
        return {name: value for key, own in data.items() for name, value in flat(own, f"{at}.{key}".strip(".")).items()}
    return {at: data}
