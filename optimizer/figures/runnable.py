"""Which engines run a layout: they accept its degrees, and what they keep leaves room for weights, cache and step."""

from __future__ import annotations

from optimizer.domain.problem import Problem
from optimizer.figures.memory import build_memory
from optimizer.figures.serving import Evaluation


def engines_that_run(problem: Problem, evaluation: Evaluation) -> list[str]:
    """Names of the engines that run an evaluated layout; for a problem that names one engine, that one at most.

    Times, placements and stage cuts are not asked about: every engine here takes its stages as a list.
    """
    return [name for name, lacking in lacking_bytes(problem, evaluation).items() if lacking <= 0]


def lacking_bytes(problem: Problem, evaluation: Evaluation) -> dict[str, int]:
    """Bytes of a device that each engine lacks for a layout whose degrees it accepts; 0 or less where it runs it."""
    engine = problem.engine
    lacking = {}
    for member in engine.members or (engine,):
        name = member.name if engine.members else problem.engine_name
        member_problem = problem.changed(engine_name=name)
        if not member.accepts(member_problem, evaluation.shape):
            continue
        stages = build_memory(member_problem, evaluation.shape).stages(
            evaluation.steps.largest, evaluation.layout.batch, evaluation.cuts
        )
        lacking[name] = max(stage.total_bytes for stage in stages) - member_problem.capacity_bytes
    return lacking
