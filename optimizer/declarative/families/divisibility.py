"""(divisibility) Heads and dense widths divide by tp, expert widths by etp; every ep rank has an expert.

Key/value heads divide by tp, or tp by them. Shared experts are whole on every rank where tp, dp and ep all exceed 1.
"""

from __future__ import annotations

from optimizer.declarative.statement import Family, Statement
from optimizer.domain.feedforward import DenseFeedForward
from optimizer.domain.problem import Problem


class Divisibility(Family):
    """What a degree must divide."""

    @classmethod
    def allows(cls, problem: Problem, axis: str, value: int) -> bool:
        """What a degree has to divide, whatever the others are."""
        sizes: list[int] = []
        for block in problem.model.blocks.values():
            attention, ffn = block.attention, block.ffn
            if axis == "tp" and attention is not None:
                sizes += attention.head_counts
                heads = attention.kv_head_count
                if heads is not None and heads % value and value % heads:
                    return False
            if ffn is None:
                continue
            if isinstance(ffn, DenseFeedForward):
                sizes += [ffn.intermediate] if axis == "tp" else []
            else:
                sizes += {"tp": [ffn.dense_intermediate], "etp": [ffn.intermediate]}.get(axis, [])
        return all(size % value == 0 for size in sizes)

    def post(self, own: Statement) -> None:
        """Shared experts, and an expert for each rank."""
        model = own.model
        for moe in own.problem.model.moe_blocks:
            model.add(own.ep <= moe.experts + own.redundant)
            dividing = [tp for tp in own.domains["tp"] if moe.shared_intermediate % tp == 0]
            whole = model.new_bool_var("shared experts divided")
            model.add_linear_expression_in_domain(own.tp, own.domain_of(dividing)).only_enforce_if(whole)
            model.add_bool_or(whole, own.shared_replicated)
