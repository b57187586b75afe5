"""What a layout is compared by, as constraints: each says that a measure reaches a level, by how much to spare.

Requests/s are a quotient of variables. To reach a level of it is a limit on the step time, and so linear: maximising
the time to spare at the best level so far, then taking the level of what is found, ends at the optimum, where nothing
is to spare (Dinkelbach 1967).
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import ceil, floor
from typing import TYPE_CHECKING

from optimizer.domain.objectives import Measure
from optimizer.figures.rates import TICKS_PER_SECOND
from optimizer.figures.serving import BURST

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

    from optimizer.declarative.statement import LayoutProgram

_TIME_BITS = 52


def reach(program: LayoutProgram, measure: Measure, level: Fraction | None, spare: cp_model.IntVar | int = 0) -> None:
    """Post that a measure is no worse than a level.

    Parameters
    ----------
    level
        None: of the first token's time, that prompts do not queue without end.
    spare
        By how much at least, in the measure's own integers.
    """
    _REACH[measure](program, level, spare)


def _requests(program: LayoutProgram, level: Fraction | None, spare: cp_model.IntVar | int) -> None:
    """Sequences in flight of all ranks ÷ (requests/s wanted) bounds the cycle."""
    sequences = program.up_to(program.largest_batch * program.problem.devices, "sequences in flight")
    program.model.add_multiplication_equality(sequences, [program.batch, program.ranks])
    weights = [shape.pp for shape in program.rows]
    _served(program, level, spare, sequences, weights)


def _device_requests(program: LayoutProgram, level: Fraction | None, spare: cp_model.IntVar | int) -> None:
    """The same of each device: a rank has tp·cp·pp."""
    _served(program, level, spare, program.batch, [shape.pp * shape.tp * shape.cp * shape.pp for shape in program.rows])


def _served(
    program: LayoutProgram,
    level: Fraction | None,
    spare: cp_model.IntVar | int,
    sequences: cp_model.IntVar,
    weights: list[int],
) -> None:
    """Slowest ≤ sequences ÷ (weight · cycles for which a request keeps its place · level)."""
    work = program.problem.workload
    if not level:
        return
    each = Fraction(TICKS_PER_SECOND) / (level * program.unit)
    pieces = {p.chunk: p.steps.pieces for p in program.prices.steps}
    for count in sorted(set(pieces.values())):
        taken = program.any_of([program.chunk_is[chunk] for chunk, n in pieces.items() if n == count])
        kept = [w * work.cycles_of_request(count, shape.pp) for w, shape in zip(weights, program.rows, strict=True)]
        for turns in sorted(set(kept)):
            chosen = program.any_of(
                [literal for literal, own in zip(program.chosen, kept, strict=True) if own == turns]
            )
            time = min(program.most_time, ceil(each / turns))
            program.model.add(program.slowest + spare <= time * sequences).only_enforce_if(taken, chosen)


def _cycle(program: LayoutProgram, level: Fraction | None, spare: cp_model.IntVar | int) -> None:
    """Of a cycle pp · D + (batch − 1) · E ≤ level in every stage: each other one in flight makes it longer by E.

    Or pp · M, where that is less: steps with prompts alone.
    """
    if level is None:
        return
    model, beyond = program.model, 2 * program.most_time * (program.largest_batch + len(program.is_last))
    most = min(beyond, floor(level * TICKS_PER_SECOND / program.unit))
    # whether every step carries prompts
    full = model.new_bool_var("full") if any(p.micro_batch * p.met > 1 for p in program.prices.steps) else None
    for plain, met in zip(*program.cycle_parts(), strict=True):
        longer = program.up_to(program.most_time * program.largest_batch, "for others' prompts", least=0)
        model.add_multiplication_equality(longer, [met, program.batch - 1])
        for stage, last in enumerate(program.is_last):
            chosen = [last] if full is None else [last, ~full]
            model.add((stage + 1) * (plain + spare) + longer <= most).only_enforce_if(chosen)
    for mixed in [] if full is None else program.mixed_times():
        for stage, last in enumerate(program.is_last):
            model.add((stage + 1) * (mixed + spare) <= most).only_enforce_if(last, full)


def _first(program: LayoutProgram, level: Fraction | None, spare: cp_model.IntVar | int) -> None:
    """Waiting, the prompt's own steps and its queue."""
    work = program.problem.workload
    if work.looped:
        if level is not None:
            _first_in_a_loop(program, level, spare)
        return
    unit, own = program.own_times(34)
    points, n, depth = program.prices.steps, program.problem.devices, max(program.domains["pp"])
    classes: dict[tuple[int, int], int] = {}
    table: list[int] = []
    for point in points:
        key = (point.steps.pieces, point.steps.together)
        if key not in classes:
            classes[key] = len(classes)
            for pp in range(1, depth + 1):
                longest = program.prices.longest_prompts(point.steps, pp, n // pp, level, unit)
                table += [*longest, *[-1] * (n - len(longest))]  # more ranks there are not
    kind = program.of_step([classes[p.steps.pieces, p.steps.together] for p in points], "kind of step")
    most = program.model.new_int_var(min(table), max(table), "longest step with prompts")
    program.look_up((kind * depth + program.pp - 1) * n + program.ranks - 1, table, most)
    for time in own:
        program.model.add(time + spare <= most)


def _first_in_a_loop(program: LayoutProgram, level: Fraction, spare: cp_model.IntVar | int) -> None:
    """Overhead + k·O + h·M + w·A ≤ level in every stage, with M no less than O.

    k = pieces + pp − 1, h = burst · (batch − 1) ÷ 2 · pieces ÷ together; w is 0 where the batch is 1.
    """
    model, waiting = program.model, program.problem.engine.waiting
    ahead, whole = BURST.numerator * waiting.steps.denominator, 2 * BURST.denominator * waiting.steps.denominator
    kinds = {p.chunk: (p.steps.pieces, p.steps.together) for p in program.prices.steps}
    most_often = max(
        whole * m * (n + max(program.domains["pp"])) + ahead * program.largest_batch * n for n, m in kinds.values()
    )  # fmt: skip
    unit, own = program.own_times(_TIME_BITS - 1 - most_often.bit_length())
    often = program.up_to(most_often, "steps waited", least=0)
    coarse = unit // program.unit  # both are powers of two
    waited, steps = [], []
    for mean, time in zip(program.means, own, strict=True):
        waited.append(program.up_to(program.most_time, "mean step, rounded down", least=0))
        model.add(waited[-1] * coarse >= mean - (coarse - 1))
        steps.append(program.up_to(2**_TIME_BITS, "steps waited", least=0))
        model.add_multiplication_equality(steps[-1], [often, time])
    alone = model.new_bool_var("one request in flight")
    model.add(program.batch == 1).only_enforce_if(alone)
    model.add(program.batch > 1).only_enforce_if(~alone)
    for chunk, (pieces, together) in kinds.items():
        chosen = program.chunk_is[chunk]
        model.add(
            often == whole * together * (pieces + program.pp - 1) + ahead * pieces * (program.batch - 1)
        ).only_enforce_if(chosen)  # fmt: skip
        budget = whole * together * (level - waiting.overhead_s) * TICKS_PER_SECOND / unit
        most = max(-1, min(2**_TIME_BITS, floor(budget)))
        for mean, step in zip(waited, steps, strict=True):
            model.add(step + spare <= most).only_enforce_if(chosen)
            waits = int(whole * together * waiting.steps)
            model.add(step + waits * mean + spare <= most).only_enforce_if(chosen, ~alone)


def _memory(program: LayoutProgram, level: Fraction | None, spare: cp_model.IntVar | int) -> None:
    if level is not None:
        program.model.add(program.memory_bytes + spare <= floor(level))


def _devices(program: LayoutProgram, level: Fraction | None, spare: cp_model.IntVar | int) -> None:
    if level is not None:
        program.model.add(program.devices + spare <= floor(level))


def _context(program: LayoutProgram, level: Fraction | None, spare: cp_model.IntVar | int) -> None:
    """Every stage has room for a sequence of so many tokens, as the engine sizes itself."""
    for row, chosen in enumerate(program.chosen) if level is not None else ():
        shape, memory = program.rows[row], program.prices.memory[row]
        track, tokens = memory.holding(int(level or 0)), memory.order
        sizes = {kind: track.prefix[i + 1] - track.prefix[i] for i, kind in enumerate(tokens)}
        for stage in range(shape.pp):
            fixed = track.every + (track.first if stage == 0 else 0) + (track.last if stage == shape.pp - 1 else 0)
            layers = sum(program.layers[stage][kind] * size for kind, size in sizes.items())
            program.model.add(layers + fixed + spare <= (track.limit or 0)).only_enforce_if(chosen)


_Reach = Callable[["LayoutProgram", Fraction | None, "cp_model.IntVar | int"], None]
_REACH: dict[Measure, _Reach] = {
    Measure.REQUESTS: _requests, Measure.DEVICE_REQUESTS: _device_requests, Measure.CYCLE: _cycle,
    Measure.FIRST: _first, Measure.MEMORY: _memory, Measure.DEVICES: _devices, Measure.CONTEXT: _context,
}  # fmt: skip
