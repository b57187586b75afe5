"""One small layer as a CP-SAT model: the fewest experts loaded anew within a limit of balance."""

from fractions import Fraction

from optimizer.placement.limited import Limited
from optimizer.placement.question import Question
from optimizer.placement.result import Devices


def fewest_moves(question: Question, layer: int, limit: Fraction, hint: Devices) -> Devices | None:
    """Placement within the limit that loads fewest experts; nothing where the model would be large.

    Parameters
    ----------
    question, layer
        What to place, and the placement in service.
    limit
        Largest value of the balance objective, max over mean.
    hint
        Placement to start from.
    """
    built = Limited.post(question, layer, limit)
    if built is None:
        return None
    outcome = built.minimise(built.arriving(), hint)
    return None if outcome is None else outcome.devices
