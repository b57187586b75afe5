"""Every way to change one part of a document, and the parts that a certificate does not cover."""

from __future__ import annotations

import copy
import json
import math
import re
import zlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache, partial
from itertools import product
from typing import Any

from optimizer.certificate import certify
from optimizer.cli.solve import frontier_json
from optimizer.domain.coactivation import Coactivation
from optimizer.domain.limits import SearchLimits as Restrictions
from optimizer.domain.problem import ExpertsSpec, Problem
from optimizer.explain import brief
from optimizer.figures.objective import Scored
from optimizer.readers.loads import ExpertLoad
from optimizer.search.regret import robust
from optimizer.search.search import Search
from optimizer.solve import solve
from optimizer.solve.decided import moves_frontier, place_decided
from optimizer.solve.decided import prices as prices_of
from tests.certificate.documents import Json, claimed, written
from tests.certificate.fleet_documents import FLEETS
from tests.small_problems import small_problem
from tests.solve.joint_problems import joint_problem

Path = tuple[str | int, ...]

NAMED = re.compile(r"[a-z_]+(\.[a-z_]+|\[\d+\])*")


def uncovered(document: Json) -> frozenset[Path]:
    """Parts of a document that the checker itself names as not checked."""
    found = []
    for entry in certify(document).not_checked:
        name = entry.partition(":")[0]
        if NAMED.fullmatch(name):
            steps = re.findall(r"[a-z_]+|\d+", name)
            found.append(tuple(int(step) if step.isdigit() else step for step in steps))
    return frozenset(found)


def covered(document: object, named: frozenset[Path]) -> str:
    """What of a document is not named as unchecked, as text; 1, 1.0 and true differ."""
    shown = copy.deepcopy(document)
    for *steps, last in named:
        holder: Any = shown
        for step in steps:
            inside = isinstance(holder, dict) and step in holder
            listed = isinstance(holder, list) and isinstance(step, int) and step < len(holder)
            holder = holder[step] if inside or listed else None
        if isinstance(holder, dict) and last in holder:
            holder[last] = None
    try:
        return json.dumps(shown, sort_keys=True)
    except ValueError:
        return "holds a number that Python does not print"


def paths(data: object, at: Path = ()) -> Iterator[tuple[Path, object]]:
    """Every place of a document, with what stands there."""
    yield at, data
    steps = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for step, value in steps:
        yield from paths(value, (*at, step))


def put(data: Any, at: Path, value: object) -> Any:
    """The document with another value at a place."""
    if not at:
        return value
    changed = copy.copy(data)
    changed[at[0]] = put(data[at[0]], at[1:], value)
    return changed


def _integer(value: int) -> Iterator[object]:
    yield from (value + 1, value - 1, -value - 1, float(value), str(value), 10**400, 10**5000, None, [value], math.nan)
    if value in (0, 1):
        yield bool(value)


def _float(value: float) -> Iterator[object]:
    up = math.nextafter(value, math.inf)
    yield from (up, math.nextafter(value, -math.inf), -value or 1.0, repr(value), None, math.nan, math.inf, [value])
    if value.is_integer():
        yield int(value)


def _text(value: str) -> Iterator[object]:
    yield from (value + " ", value[:-1], None, 0, [value], value * 2 + "x")
    try:
        number = Fraction(value)
    except (ValueError, ZeroDivisionError):
        return
    top, bottom = number.numerator, number.denominator
    yield from (f"{2 * top}/{2 * bottom}", f"{top + 1}/{bottom}", f"{-top - 1}/{bottom}", float(number), "1/0")
    yield from ("1e400", "1" + "0" * 400 + "/1", "9" * 5000 + "/7", f"{top}/{bottom}.0", f" {top}/{bottom}")


def _mapping(value: dict[str, object]) -> Iterator[object]:
    for key in value:
        yield {name: own for name, own in value.items() if name != key}
        yield {(name + "_" if name == key else name): own for name, own in value.items()}
    yield from (value | {"extra": 1}, list(value.items()), list(value), None, {}, {**value, "": None})


def _sequence(value: list[object]) -> Iterator[object]:
    yield from (dict(enumerate(value)), None, [*value, None], [value], {}, "".join(map(str, value)))
    if value:
        yield from (value[:-1], value[1:], [*value, value[-1]], [])
        yield [None, *value[1:]]
    if value != value[::-1]:
        yield value[::-1]


def others(value: object) -> Iterator[object]:
    """Values to stand in the place of one."""
    if isinstance(value, bool):
        yield from (not value, int(value), None, str(value))
    elif isinstance(value, int):
        yield from _integer(value)
    elif isinstance(value, float):
        yield from _float(value)
    elif isinstance(value, str):
        yield from _text(value)
    elif isinstance(value, dict):
        yield from _mapping(value)
    elif isinstance(value, list):
        yield from _sequence(value)
    else:
        yield from (0, "", False, [], {}, 1.0)


def key_of(at: Path) -> Path:
    """A place whatever its numbers in lists: what documents of a kind call it."""
    return tuple("" if isinstance(step, int) else step.partition("[")[0] for step in at)


def mutations(document: Json, share: int = 1) -> Iterator[tuple[str, Json]]:
    """Documents that differ from this one in one part, one of so many and one of each key; names tell where and how."""
    named = uncovered(document)
    original = covered(document, named)
    reached: set[Path] = set()
    for at, value in paths(document):
        for number, other in enumerate(others(value)):
            if not at and not isinstance(other, dict):
                continue
            changed: Json = put(document, at, other)
            name = f"{'.'.join(map(str, at))} #{number}"
            kept = share * (4 if at[:1] == ("problem",) else 1)
            chosen = key_of(at) not in reached or zlib.crc32(name.encode()) % kept == 0
            if chosen and covered(changed, named) != original:
                reached.add(key_of(at))
                yield name, changed


# one document of each kind


def _rich(seed: int) -> bool:
    problem = small_problem(seed)
    return problem.model.moe is not None and problem.workload.phase == "aggregated" and problem.devices > 3


def _first(wanted: int) -> tuple[Problem, list[Scored]]:
    """A problem with experts whose best layouts differ in value, the first of them in stages."""
    for seed in filter(_rich, range(400)):
        search = Search(small_problem(seed), wanted=wanted)
        best = search.run().best
        if len({s.value for s in best}) == wanted and any(s.layout.pp > 1 for s in best):
            return search.problem, best
    raise AssertionError


def _optimal() -> Json:
    return written(solve(_first(3)[0]))


def _top() -> Json:
    return written(solve(_first(4)[0], top=4))


def _feasible() -> Json:
    problem, best = _first(3)
    bound = best[0].value * Fraction(1001, 1000)
    if problem.objective in ("cost", "ttft", "tpot", "devices"):
        bound = best[0].value * Fraction(999, 1000)
    return claimed(problem, "feasible", best[1], bound=bound)


def _infeasible() -> Json:
    for seed in range(40, 400):  # certified within a quarter of a second
        problem = small_problem(seed)
        result = solve(problem)
        if result.status == "infeasible" and problem.model.moe is not None:
            conflict = brief(problem)
            if len(conflict) > 1:
                return written(result) | {"conflict": json.loads(json.dumps(conflict))}
    raise AssertionError


def _placed() -> Json:
    """A placement, with a load held out, the frontier of its moves and its prices, no bound of it a solver's word."""
    for seed in range(400):
        problem = joint_problem(seed)
        if problem is None or problem.experts is None or problem.experts.redundant_slots != (0, 1):
            continue
        slots = 1 + len(problem.expert_loads[0].rows[0])
        asked = problem.changed(
            engine_name="any",
            search=Restrictions(ep=(slots // 2 if slots % 2 == 0 else slots,)),
            experts=problem.experts.model_copy(update={"redundant_slots": (1,)}),
        )
        placed = place_decided(asked)
        rows = tuple(tuple(reversed(row)) for row in problem.expert_loads[0].rows)
        held = placed.held_out(ExpertLoad("night", rows))
        moved, prices = moves_frontier(placed), list(prices_of(placed))
        found: Json = json.loads(json.dumps(placed.to_json(held_out=[held], moved=moved, prices=prices)))
        if not certify(found).solver_trusted and not any(certify(other).accepted for other in _exchanged(found)):
            return found
    raise AssertionError


def _near() -> Json:
    """A placement in service that is changed by few moves, for two loads, of experts that are chosen together."""
    for seed in range(400):
        problem = joint_problem(seed)
        if problem is None or len(problem.expert_loads) < 2 or len(problem.expert_loads[0].rows[0]) != 4:
            continue
        rows = len(problem.expert_loads[0].rows)
        together = Coactivation(name="chosen", measure="tokens", layers=(((3, 0, 2), (2, 1, 3)),) * rows)
        experts = {"robust": "mean", "weights": (2, 1), "max_moves": 2, "balance_allowance": Fraction(1, 4)}
        asked = problem.changed(
            engine_name="any", search=Restrictions(ep=(4,)), coactivation=together,
            experts=ExpertsSpec.model_validate(experts),
            current_placement=(((0,), (1,), (2,), (3,)),) * rows,
            hardware=problem.hardware.model_copy(update={"devices_per_node": 2}),
        )  # fmt: skip
        found: Json = json.loads(json.dumps(place_decided(asked).to_json(step_tokens=512)))
        if certify(found).accepted and not certify(found).solver_trusted:
            return found
    raise AssertionError


def _exchanged(placed: Json) -> Iterator[Json]:
    """A placement with another expert in one slot: where that is as good, a changed document is as true."""
    for number, layer in enumerate(placed["placement"]["layers"]):
        experts = {expert for device in layer["devices"] for expert in device}
        for at, slot, expert in product(range(len(layer["devices"])), range(len(layer["devices"][0])), experts):
            other = copy.deepcopy(placed)
            other["placement"]["layers"][number]["devices"][at][slot] = expert
            if other != placed:
                yield other


def _joint() -> Json:
    for seed in range(400):
        problem = joint_problem(seed)
        if problem is not None:
            result = solve(problem)
            if result.placement is not None and result.layout is not None and result.layout.ep > 1:
                return written(result)
    raise AssertionError


def _beside(name: str) -> Json:
    """A result with its frontier, or with what efficiencies would change, as the command writes it."""
    for seed in filter(_rich, range(400)):
        problem = small_problem(seed).model_copy(update={"objective": "throughput_per_device"})
        result = solve(problem)
        if result.layout is None:
            continue
        if name == "pareto":
            stated = frontier_json(problem, ["throughput_per_device", "tpot"], None)
            enough = 3 <= len(stated["points"]) <= 12
        else:
            answer = robust(problem, {"hbm": Fraction(1, 5)})
            stated = {} if answer is None else answer.to_json()
            enough = any(one["layout"] is not None for one in stated.get("thresholds", ()))
        if enough:
            return json.loads(json.dumps(result.to_json() | {name: stated}))  # type: ignore[no-any-return]
    raise AssertionError


def _answer() -> Json:
    """An answer as the command writes it, of a layout with all that a layout may have.

    Steps split in two, redundant slots, drafted tokens, and a limit that a share of runs is to keep.
    """
    slots = next(own.experts for own in map(small_problem, range(400)) if own.experts is not None)
    for seed in range(400):
        small = small_problem(seed)
        work = small.workload.model_copy(
            update=dict.fromkeys(("max_num_seqs", "max_num_batched_tokens", "request_rate"))
        )
        if small.model.moe is None or not work.mtp_tokens:
            continue
        free = small.changed(
            engine_name="sglang", workload=work, search=Restrictions(overlap=("two_batch",), cp=(1,)),
            experts=slots.model_copy(update={"redundant_slots": (1, 2, 3)}), objective="throughput_per_device",
            limits=small.limits.model_copy(update={"ttft": None, "tpot": None}),
        )  # fmt: skip
        found = solve(free).evaluation
        if found is None or found.tpot_s is None:
            continue
        sure = free.limits.model_copy(update={"tpot": 2 * found.tpot_s, "confidence": Fraction(4, 5)})
        result = solve(free.changed(limits=sure))
        if result.layout is not None and result.layout.overlap == "two_batch":
            return json.loads(json.dumps(result.answer()))  # type: ignore[no-any-return]
    raise AssertionError


MAKERS: dict[str, Callable[[], Json]] = {
    "optimal": _optimal,
    "answer": _answer,
    "top": _top,
    "feasible": _feasible,
    "infeasible": _infeasible,
    "joint": _joint,
    "placed": _placed,
    "near": _near,
    "pareto": partial(_beside, "pareto"),
    "uncertainty": partial(_beside, "uncertainty"),
} | FLEETS


@cache
def document(kind: str) -> Json:
    """A true result of a kind."""
    return MAKERS[kind]()
