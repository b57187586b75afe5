"""Lower bounds over several workloads: one for each, one copy count for all, or one for a mix of them."""

import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from optimizer.certificate.workloads import combined, envelope_copies
from optimizer.placement.bounds import Witness, bound_max_over_mean, counting_witness
from optimizer.placement.question import Question
from optimizer.placement.replicas import divisor_replicas


def envelope_witness(rows: Sequence[Sequence[int]], devices: int, slots: int) -> tuple[Fraction, Witness] | None:
    """Bound on the worst workload by the copies that the largest shares need, where it is above the mean."""
    totals = [sum(row) for row in rows]
    if not any(totals):
        return None
    most = np.array([[weight / max(total, 1) for weight in row] for row, total in zip(rows, totals, strict=True)])
    counts = divisor_replicas(most.max(axis=0, keepdims=True), devices * slots, devices)[0].tolist()
    threshold = max(
        Fraction(weight * devices, total * count)
        for row, total in zip(rows, totals, strict=True)
        if total
        for weight, count in zip(row, counts, strict=True)
    )
    if threshold <= 1 or envelope_copies(rows, devices, threshold) <= devices * slots:
        return None
    return threshold, {"kind": "envelope", "threshold": str(threshold)}


def combined_witness(question: Question, layer: int) -> tuple[Fraction, Witness] | None:
    """Bound by the best of a few mixes of the workloads, where it is above the mean."""
    rows = question.rows(layer)
    best: tuple[Fraction, Witness] | None = None
    for parts in _mixes(question, rows):
        load = combined(rows, parts)
        bound = bound_max_over_mean(load, question.devices, question.slots)
        if bound > 1 and (best is None or bound > best[0]):
            witness = counting_witness(load, question.devices, question.slots)
            best = bound, {"kind": "combination", "parts": [str(part) for part in parts], "bound": witness}
    return best


def _mixes(question: Question, rows: Sequence[Sequence[int]]) -> Iterator[list[Fraction]]:
    """Mixes that bound the objective: any for the worst workload, the weights themselves for the mean."""
    loaded = [number for number, row in enumerate(rows) if sum(row)]
    if question.robust == "mean" and len(loaded) == len(rows):
        yield list(question.weights)
    if question.robust != "worst":
        return
    for size in sorted({2, len(loaded)} if len(loaded) > 1 else ()):
        for chosen in itertools.combinations(loaded, size):
            yield [Fraction(number in chosen, size) for number in range(len(rows))]
