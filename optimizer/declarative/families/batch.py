"""(batch) The engine takes the batch and its steps, and prefill keeps up with decoding.

A stage works on µ = ceil(batch ÷ pp) sequences at a time. A prompt is taken in even pieces, or several whole ones share
a step; the share of steps that carry prompts is at most 1.
"""

from __future__ import annotations

from optimizer.declarative.statement import Family, Statement
from optimizer.domain.problem import Problem
from optimizer.figures.serving import Steps


class Batch(Family):
    """Batch, micro-batch and chunk."""

    @classmethod
    def allows(cls, problem: Problem, axis: str, value: int) -> bool:
        """Sequences in flight that the engine is told to take."""
        most = problem.workload.max_num_seqs
        return axis != "batch" or most is None or value <= most

    @classmethod
    def runs(cls, problem: Problem, steps: Steps) -> bool:
        """Whether a step may be: prompts keep up, and it has no more tokens than the engine is told to take."""
        most = problem.workload.max_num_batched_tokens
        return steps.share <= 1 and (most is None or steps.largest.tokens <= most)

    def post(self, own: Statement) -> None:
        """µ from batch and pp, and the step that µ and chunk make."""
        model, grid = own.model, own.prices.steps
        padded = own.up_to(own.largest_batch + own.problem.devices, "whole micro-batches")
        model.add_multiplication_equality(padded, [own.micro_batch, own.pp])
        model.add(padded >= own.batch)
        model.add(padded < own.batch + own.pp)
        model.add_allowed_assignments(
            [own.micro_batch, own.chunk, own.step], [(p.micro_batch, p.chunk, i) for i, p in enumerate(grid)]
        )
