"""Expert placement: which expert, with how many copies, on which device, with a proved bound for every layer."""

from optimizer.solve.placement.bounds import bound_max_over_mean
from optimizer.solve.placement.place import place
from optimizer.solve.placement.result import LayerPlacement, PlacementResult

__all__ = ["LayerPlacement", "PlacementResult", "bound_max_over_mean", "place"]
