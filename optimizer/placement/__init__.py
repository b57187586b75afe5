"""Expert placement: which expert, with how many copies, on which device, with a proved bound for every layer."""

import os

# The products here are small; BLAS threads that wait for one another cost far more than they save on busy machines.
# It takes effect where this is the first import of numpy in the process, and never overrides what the user set.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from optimizer.placement.place import place
from optimizer.placement.question import Nearness, Question
from optimizer.placement.result import LayerPlacement, PlacementResult

__all__ = ["LayerPlacement", "Nearness", "PlacementResult", "Question", "place"]
