"""Two slots a device: with the copies given, the largest share belongs beside the smallest, and so on inwards.

So only the replica counts are searched. For each value ``v`` at most as many copies may be larger than ``T - v`` as are
smaller than ``v`` (see ``pairing_program``). What is beyond that, over all values, is what tabu search brings to
nothing: each step takes the best of all ways in which one expert gives a copy to another, and neither may change again
for a few steps (Glover, 1989). Few values make a step cheap; counts that miss the threshold in truth bring the values
that tell.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optimizer.placement import effort
from optimizer.placement.counts import Floats, Ints
from optimizer.placement.exchange import Marks
from optimizer.placement.processes import seconds_left

GRID = 1024
"""Thresholds and values are multiples of a token divided by this."""

_CELLS = 1 << 21
_LONGEST = 1 << 50


def fold(values: Floats) -> Floats:
    """Loads of the devices that pair the largest share with the smallest, ``[..., slots / 2]``."""
    ascending = np.sort(values, axis=-1)
    half = values.shape[-1] // 2
    sums: Floats = ascending[..., :half] + ascending[..., : half - 1 : -1]
    return sums


def hottest(weights: Floats, counts: Ints) -> float:
    """Hottest device of the folded copies of one layer, in the unit of the weights."""
    return float(fold(np.repeat(weights / counts, counts)).max())


def paired(weights: Floats, counts: Ints) -> Ints:
    """Fold each layer's copies into devices, ``[layers, devices, 2]``; an expert never meets itself.

    Where the two middle shares belong to one expert, its copy changes places with the nearest pair that stays as cool.
    """
    placed = []
    for row, count in zip(weights, counts, strict=True):
        order = np.argsort(row / count, kind="stable")
        copies = np.repeat(order, count[order])
        half = len(copies) // 2
        pairs = np.stack([copies[:half], copies[: half - 1 : -1]], axis=1)
        for number in range(half - 1, -1, -1):
            if pairs[number, 0] == pairs[number, 1]:
                expert = pairs[number, 0]
                other = next(n for n in range(number - 1, -1, -1) if expert not in pairs[n])
                pairs[number, 1], pairs[other, 1] = pairs[other, 1], pairs[number, 1]
        placed.append(pairs)
    return np.stack(placed)


def hottest_placed(weights: Floats, counts: Ints) -> float:
    """Hottest device of one layer as ``paired`` places it: hotter than folded where an expert would meet itself."""
    pairs = paired(weights[None], counts[None])[0]
    return float((weights / counts)[pairs].sum(axis=1).max())


class Pairings:
    """Which counts of copies may pair up within ``threshold / GRID``, and the values by which that is judged.

    Parameters
    ----------
    load
        Tokens of each expert.
    devices, threshold
        Devices, two slots each, and the threshold; even, so that half of it can tell the large from the small.
    extra
        Values that are to be among those judged by.
    near
        Copies beyond the fewest whose shares are values; of all counts where not given.
    """

    def __init__(
        self, load: Sequence[int], devices: int, threshold: int, extra: Ints, near: int | None = None
    ) -> None:  # fmt: skip
        self.devices, self.threshold, self.slots = devices, threshold, 2 * devices
        self.possible = self.overfull = False
        if max(load) * GRID >= _LONGEST:
            return
        self.load: Ints = np.array(load, dtype=np.int64) * GRID
        self.low: Ints = np.maximum(1, -(-self.load // threshold))
        spare = self.slots - int(self.low.sum())
        self.high: Ints = np.minimum(devices, self.low + max(spare, 0))
        self.overfull = spare < 0 or int(self.low.max()) > devices
        self.possible = not self.overfull
        self.values: Ints = np.zeros(0, dtype=np.int64)
        if self.overfull:
            return
        self.copies: Ints = np.arange(1, int(self.high.max()) + 1)
        floors, ceilings = self.load[:, None] // self.copies, -(-self.load[:, None] // self.copies)
        self.inside: Marks = (self.copies >= self.low[:, None]) & (self.copies <= self.high[:, None])
        self.first: Marks = self.inside & (self.copies < self.low[:, None] + (near or self.slots))
        values = np.unique(floors[self.first & (2 * ceilings <= threshold)])
        if len(values) > effort.PAIRING_VALUES:
            values = values[np.unique(np.linspace(0, len(values) - 1, effort.PAIRING_VALUES).astype(np.int64))]
        # Half the threshold counts all shares above it against all below.
        values = np.union1d(np.union1d(values, extra[2 * extra <= threshold]), [threshold // 2])
        self.values = values[values > 0]
        self.large: Ints = np.searchsorted(self.values, threshold - ceilings, side="right")
        self.small: Ints = np.searchsorted(self.values, floors, side="right")

    def fresh_values(self, counts: Ints) -> Ints:
        """Values, not among those judged by, that tell of counts that miss the threshold in truth."""
        return np.setdiff1d(self.load // counts, self.values)


@dataclass(frozen=True, slots=True)
class PairingAnswer:
    """Counts, or that none are within a threshold, by a witness or by a solver's word; or none of these."""

    counts: Ints | None
    witness: dict[str, Any] | None = None
    refused: bool = False


def refined(
    threshold: int, ask: Callable[[Ints], tuple[Pairings | None, PairingAnswer]], rounds: float = math.inf
) -> PairingAnswer:
    """The answer for the copies themselves, not for the values that they are judged by.

    Counts that pair up by these but not in truth bring the values that tell, and are asked for anew.

    Parameters
    ----------
    threshold
        In tokens times ``GRID``.
    ask
        Answers with values that are to be among those judged by; an answer without pairings is the last.
    rounds
        How often it is asked at most.
    """
    values: Ints = np.zeros(0, dtype=np.int64)
    while True:
        pairings, decided = ask(values)
        rounds -= 1
        if pairings is None or decided.counts is None or rounds <= 0:
            return decided
        if hottest(pairings.load.astype(np.float64), decided.counts) <= threshold:
            return decided
        fresh = pairings.fresh_values(decided.counts)
        if not len(fresh):
            return decided
        values = np.union1d(values, fresh)


def cool_down(
    load: Sequence[int], devices: int, threshold: int, start: Ints, *, steps: int, rng: np.random.Generator,
    deadline: float | None,
) -> Ints:  # fmt: skip
    """Coolest counts met on the way to the threshold, which may still be hotter; counts ``[experts]``.

    Parameters
    ----------
    load, devices, threshold
        As `Pairings` has them.
    start
        Counts to begin from.
    steps, rng, deadline
        Most steps, random choices, and ``time.monotonic()`` at which to stop.
    """
    weights = np.array(load, dtype=np.float64) * GRID
    begun = _at_least(weights, start, np.maximum(1, np.ceil(weights / threshold)).astype(np.int64))
    best, coolest = start, hottest(weights, start)
    if begun is None:
        return best
    search = _Search(weights, devices, threshold, begun)
    for step in range(steps):
        if seconds_left(deadline) <= 0:
            break
        if search.within():
            value = hottest(weights, search.counts)
            if value < coolest:
                best, coolest = search.counts.copy(), value
            if value <= threshold or not search.learn():
                return best
        if not search.move(step, rng):
            break
    value = hottest(weights, search.counts)
    return search.counts.copy() if value < coolest else best


def _at_least(weights: Floats, counts: Ints, least: Ints) -> Ints | None:
    """Counts of which none is below the least, given by the experts whose copies grow least; ``None`` if too few."""
    missing = int(np.maximum(least - counts, 0).sum())
    counts = np.maximum(counts, least)
    for _ in range(missing):
        grown = np.where(counts > least, weights / np.maximum(counts - 1, 1), np.inf)
        giver = int(grown.argmin())
        if not np.isfinite(grown[giver]):
            return None
        counts[giver] -= 1
    return counts


class _Search:
    def __init__(self, weights: Floats, devices: int, threshold: int, counts: Ints) -> None:
        self.experts = np.arange(len(weights))
        least = np.maximum(1, np.ceil(weights / threshold)).astype(np.int64)
        self.first = np.maximum(least, counts - effort.TABU_BELOW)
        options = self.first[:, None] + np.arange(effort.TABU_OPTIONS)
        self.last = np.clip(devices - self.first, 0, effort.TABU_OPTIONS - 1)
        shares = weights[:, None] / options
        near = shares[:, : effort.TABU_VALUED_OPTIONS]
        values = np.unique(np.floor(near[2 * near <= threshold]))
        values = np.union1d(values[values > 0], [threshold // 2])
        large = np.searchsorted(values, threshold - shares, side="right")
        small = np.searchsorted(values, shares, side="right")
        # A count's copies are larger than T - v for the values from its first on, and smaller than v from its second.
        kind = np.int16 if 8 * devices < np.iinfo(np.int16).max else np.int32
        steps = np.zeros((*options.shape, len(values) + 1), dtype=kind)
        rows, columns = np.indices(options.shape)
        np.add.at(steps, (rows, columns, large), options)
        np.subtract.at(steps, (rows, columns, small), options)
        self.all = np.cumsum(steps, axis=2, dtype=kind)[:, :, :-1]
        self.active = np.zeros(len(values), dtype=bool)
        self.active[np.linspace(0, len(values) - 1, min(effort.TABU_VALUES, len(values))).astype(np.int64)] = True
        self.chosen = counts - self.first
        self.tabu = np.zeros(len(weights), dtype=np.int64)
        self._activate()

    @property
    def counts(self) -> Ints:
        counts: Ints = self.first + self.chosen
        return counts

    def _activate(self) -> None:
        self.told = np.ascontiguousarray(self.all[:, :, self.active])
        self.excess = self.told[self.experts, self.chosen].sum(axis=0, dtype=self.told.dtype)

    def within(self) -> bool:
        """Whether the copies pair up, by the values looked at."""
        return bool((self.excess <= 0).all())

    def learn(self) -> bool:
        """Look at the values by which the counts miss the threshold; whether there are any."""
        beyond = self.all[self.experts, self.chosen].sum(axis=0) > 0
        self.active |= beyond
        self._activate()
        return bool(beyond.any())

    def move(self, step: int, rng: np.random.Generator) -> bool:
        """Give one copy from an expert to another, the best of all ways that are not tabu; whether there is one."""
        free = self.tabu <= step
        givers = np.nonzero(free & (self.chosen > 0))[0]
        takers = np.nonzero(free & (self.chosen < self.last))[0]
        if not len(givers) or not len(takers):
            return bool((self.tabu > step).any())
        less = self.told[givers, self.chosen[givers] - 1] - self.told[givers, self.chosen[givers]]
        more = self.told[takers, self.chosen[takers] + 1] - self.told[takers, self.chosen[takers]] + self.excess
        matter = less.max(axis=0) + more.max(axis=0) > 0
        less, more = less[:, matter], more[:, matter]
        beyond = np.empty((len(givers), len(takers)), dtype=np.int64)
        rows = max(1, _CELLS // max(1, more.size))
        for first in range(0, len(givers), rows):
            part = less[first : first + rows, None] + more
            beyond[first : first + rows] = np.maximum(part, 0, out=part).sum(axis=2, dtype=np.int64)
        beyond[givers[:, None] == takers] = np.iinfo(np.int64).max
        best = np.nonzero(beyond.ravel() == beyond.min())[0]
        giver, taker = divmod(int(best[rng.integers(len(best))]), len(takers))
        for expert, change in ((givers[giver], -1), (takers[taker], 1)):
            chosen = self.chosen[expert]
            self.excess += self.told[expert, chosen + change] - self.told[expert, chosen]
            self.chosen[expert] += change
            self.tabu[expert] = step + rng.integers(*effort.TABU_TENURE)
        return True
