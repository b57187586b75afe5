"""Exchanges of copies between nodes that let groups of co-activated experts visit fewer nodes, loads kept in bounds.

All exchanges are weighed at once by what either copy alone would change; many that touch different experts are made
together and counted exactly, fewer where they get in each other's way. Kicks leave local optima.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.placement.replicas import Floats, Ints
from optimizer.placement.visits import Groups

_ROUNDS = 60
_SINGLES = 6
_KICKS = 3
_KICKED = 12
_TRIED = 400

Allowed = Callable[[Ints], bool]


@dataclass(slots=True)
class Copies:
    """Copies of one layer and the bins (nodes, or devices) that they lie in.

    Attributes
    ----------
    expert, bin
        Of each copy.
    node
        Of each bin.
    share
        Load of each copy, ``[workloads, copies]``, in mean device loads.
    most
        Largest load of each bin, ``[workloads, bins]``.
    room
        Most copies of one expert in a bin.
    """

    expert: Ints
    bin: Ints
    node: Ints
    share: Floats
    most: Floats
    room: Ints

    def loads(self) -> Floats:
        """Load of each bin, ``[workloads, bins]``."""
        return np.stack([np.bincount(self.bin, weights=own, minlength=len(self.node)) for own in self.share])

    def in_bins(self, experts: int) -> Ints:
        """Copies of each expert in each bin."""
        found: Ints = np.zeros((experts, len(self.node)), dtype=np.int64)
        np.add.at(found, (self.expert, self.bin), 1)
        return found

    def on_nodes(self, experts: int) -> Ints:
        """Copies of each expert on each node."""
        found: Ints = np.zeros((experts, int(self.node.max()) + 1), dtype=np.int64)
        np.add.at(found, (self.expert, self.node[self.bin]), 1)
        return found


def exchange(copies: Copies, groups: Groups, *, seed: int, allowed: Allowed | None = None) -> int:
    """Exchange copies between nodes until no exchange helps; returns the visits reached.

    Parameters
    ----------
    copies
        Changed in place.
    groups
        What visits nodes.
    seed
        Of the kicks.
    allowed
        Judges the bins of the copies, where more than loads limits them.
    """
    rng = np.random.default_rng(seed)
    best = _descend(copies, groups, allowed)
    kept = copies.bin.copy()
    for _ in range(_KICKS):
        _kick(copies, groups.experts, rng, allowed)
        found = _descend(copies, groups, allowed)
        if found < best:
            best, kept = found, copies.bin.copy()
        copies.bin = kept.copy()
    return best


def weigh(copies: Copies, groups: Groups) -> Floats:
    """Further visits if two copies changed places, ``[copies, copies]``, each judged alone; infinite where useless."""
    on_nodes = copies.on_nodes(groups.experts)
    leave, arrive = groups.change(on_nodes > 0)
    home = copies.node[copies.bin]
    only = on_nodes[copies.expert, home] == 1
    own = arrive[copies.expert, home]
    moved = np.where(only[:, None], leave[copies.expert, home] + own, 0.0)
    moved -= np.where(on_nodes[copies.expert] == 0, arrive.sum(axis=1)[copies.expert], 0.0)
    change = moved[:, home] + moved[:, home].T
    change[home[:, None] == home[None, :]] = np.inf
    change[~_fits_bins(copies, groups.experts)] = np.inf
    return change


def _fits_bins(copies: Copies, experts: int) -> NDArray[np.bool_]:
    """Whether two copies may change places as far as doubles go."""
    there = copies.in_bins(experts)[copies.expert][:, copies.bin] < copies.room[copies.bin][None, :]
    fits: NDArray[np.bool_] = there & there.T & (copies.expert[:, None] != copies.expert[None, :])
    return fits


def within(copies: Copies, change: Floats) -> Floats:
    """The changes, infinite where a bin would carry too much."""
    loads = copies.loads()
    kept = change.copy()
    for share, load, most in zip(copies.share, loads, copies.most, strict=True):
        room = (most - load)[copies.bin]
        step = share[None, :] - share[:, None]
        kept[(step > room[:, None]) | (-step > room[None, :])] = np.inf
    return kept


def _descend(copies: Copies, groups: Groups, allowed: Allowed | None) -> int:
    value = groups.total(copies.on_nodes(groups.experts) > 0)
    for _ in range(_ROUNDS):
        found = _better(copies, groups, value, allowed)
        if found is None:
            break
        value = found
    return value


def _better(copies: Copies, groups: Groups, value: int, allowed: Allowed | None) -> int | None:
    """Make the exchanges that help most together; the visits then, or nothing where none helps."""
    change = within(copies, weigh(copies, groups))
    order = np.argsort(change, axis=None, kind="stable")[:_TRIED]
    order = order[change.flat[order] < 0]
    pairs = [divmod(int(place), len(copies.expert)) for place in order]
    chosen = _disjoint(copies, [pair for pair in pairs if pair[0] < pair[1]])
    before = copies.bin.copy()
    sizes = dict.fromkeys(size for size in (len(chosen), len(chosen) // 4, len(chosen) // 16) if size > 1)
    for some in [chosen[:size] for size in sizes] + [[pair] for pair in chosen[:_SINGLES]]:
        for one, two in some:
            copies.bin[one], copies.bin[two] = copies.bin[two], copies.bin[one]
        found = groups.total(copies.on_nodes(groups.experts) > 0)
        if found < value and (allowed is None or allowed(copies.bin)):
            return found
        copies.bin = before.copy()
    return None


def _disjoint(copies: Copies, pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Pairs of different experts, best first, that together keep every bin's load in bounds."""
    used: set[int] = set()
    loads, chosen = copies.loads(), []
    for one, two in pairs:
        experts = {int(copies.expert[one]), int(copies.expert[two])}
        if experts & used:
            continue
        step = copies.share[:, two] - copies.share[:, one]
        here, there = copies.bin[one], copies.bin[two]
        if (loads[:, here] + step > copies.most[:, here]).any() or (
            loads[:, there] - step > copies.most[:, there]
        ).any():
            continue
        loads[:, here] += step
        loads[:, there] -= step
        used |= experts
        chosen.append((one, two))
    return chosen


def _kick(copies: Copies, experts: int, rng: np.random.Generator, allowed: Allowed | None) -> None:
    """Exchange some copies at random."""
    free = np.where(_fits_bins(copies, experts), 0.0, np.inf)
    home = copies.node[copies.bin]
    free[home[:, None] == home[None, :]] = np.inf
    one, two = np.nonzero(np.triu(np.isfinite(within(copies, free))))
    if not len(one):
        return
    before = copies.bin.copy()
    drawn = rng.permutation(len(one))[: 4 * _KICKED]
    for first, second in _disjoint(copies, [(int(one[n]), int(two[n])) for n in drawn])[:_KICKED]:
        copies.bin[first], copies.bin[second] = copies.bin[second], copies.bin[first]
    if allowed is not None and not allowed(copies.bin):
        copies.bin = before


def settle(copies: Copies, groups: Groups) -> bool:
    """Bring every bin's load in bounds by the exchanges that cost least; whether that succeeds."""
    for _ in range(_ROUNDS):
        loads = copies.loads()
        over = np.maximum(loads - copies.most, 0.0)
        if not over.any():
            return True
        change = weigh(copies, groups)
        total = np.zeros_like(change)
        for share, load, most in zip(copies.share, loads, copies.most, strict=True):
            excess = (load - most)[copies.bin]
            step = share[None, :] - share[:, None]
            was = np.maximum(excess, 0)[:, None] + np.maximum(excess, 0)[None, :]
            total += np.maximum(excess[:, None] + step, 0) + np.maximum(excess[None, :] - step, 0) - was
        useful = total < -0.3 * over.max()
        if not useful.any():
            useful = total <= total.min() * 0.999
            if total.min() >= 0:
                return False
        place = int(np.where(useful, change, np.inf).argmin())
        one, two = divmod(place, len(copies.expert))
        if not np.isfinite(change[one, two]):
            return False
        copies.bin[one], copies.bin[two] = copies.bin[two], copies.bin[one]
    return not (copies.loads() > copies.most).any()
