"""What comes after balance, in order: the bound that a budget of moves gives, nodes visited, and fewest moves."""

from dataclasses import replace

from optimizer.placement.budget import with_budget_bound
from optimizer.placement.fewest_moves import with_fewest_moves
from optimizer.placement.free_split import placed_for_free_split
from optimizer.placement.locality import Nearness, bring_together
from optimizer.placement.question import Question
from optimizer.placement.result import PlacementResult


def refined(
    question: Question, result: PlacementResult, nearness: Nearness | None, deadline: float | None
) -> PlacementResult:
    """A placement balanced as well as was found, made better in what comes after balance."""
    if question.split == "free":
        layers = tuple(placed_for_free_split(question, n, layer, deadline) for n, layer in enumerate(result.layers))
        result = replace(result, layers=layers)
    if question.current is not None:
        layers = tuple(with_budget_bound(question, index, layer) for index, layer in enumerate(result.layers))
        result = replace(result, layers=layers)
    if nearness is not None:
        result = bring_together(question, result, nearness, deadline)
    if question.current is not None:
        near = None if nearness is None else nearness.node_size
        layers = tuple(with_fewest_moves(question, n, layer, near, deadline) for n, layer in enumerate(result.layers))
        result = replace(result, layers=layers)
    return result
