"""What no layout is faster than, whatever the number of devices: a limit below it needs no search.

A step launches the kernels of every layer one after another, however the layers are divided, and a prompt takes a step
at least, after what a request waits for in its engine.
"""

from __future__ import annotations

from fractions import Fraction

from optimizer.domain.limit_table import first_limits, tightest
from optimizer.domain.objectives import Measure
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.layer import LayerBook
from optimizer.figures.rates import TICKS_PER_SECOND, effective_rates
from optimizer.figures.serving import first_token, steps_of


def least_step_s(problem: Problem) -> Fraction:
    """Seconds that launching the kernels of all layers takes."""
    book, alone = LayerBook(problem, effective_rates(problem.priced_hardware)), Shape(1, 1, 1, 1, 1)
    launches = {name: book.layer(block, alone).fixed for name, block in problem.model.blocks.items()}
    return Fraction(sum(launches[name] for name in problem.model.layer_names), TICKS_PER_SECOND)


def asks_too_soon(problem: Problem) -> bool:
    """Whether a time is limited to less than any layout takes, on any number of devices."""
    step_s, cycle = least_step_s(problem), tightest(problem).get(Measure.CYCLE)
    if cycle is not None and cycle < step_s:
        return True
    steps = steps_of(problem.workload, 1, problem.workload.computed_input_tokens)
    first_s = first_token(problem, pp=1, batch=1, steps=steps).fixed_s + step_s
    return any(limit < first_s for limit in first_limits(problem).values())
