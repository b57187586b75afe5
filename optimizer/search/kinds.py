"""What a layer takes in a step, of many mesh pairs at once, as float arrays: the forms of `figures.layer`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from optimizer.figures.routing import TOKEN_KNOTS, Concave
from optimizer.search.lattice import Arrays, Chosen, Floats, Ints


@dataclass(frozen=True)
class RooflineGroup(Arrays):
    """max(flop·y, weight + io·y) seconds, y = x + slack."""

    flop: Floats
    weight: Floats
    io: Floats
    slack: Floats

    def seconds(self, tokens: Floats) -> Floats:
        """Seconds on `tokens` tokens a rank."""
        padded = tokens + self.slack
        return np.maximum(self.flop * padded, self.weight + self.io * padded)

    def mean_seconds(self, tokens: Floats, more: Floats, step: Floats) -> Floats:
        """Least mean seconds where steps of `tokens` carry at least `step` more, `more` of them on average."""
        start = self.seconds(tokens)
        return start + more / step * (self.seconds(tokens + step) - start)


_KNOTS = np.array(TOKEN_KNOTS, dtype=float)


@dataclass(frozen=True)
class Table(Arrays):
    """`figures.routing.Concave` functions, a row each, and which row is whose."""

    at: Floats
    slopes: Floats
    row: Ints

    def __call__(self, tokens: Floats) -> Floats:
        knot = np.searchsorted(_KNOTS, tokens, side="right") - 1
        interpolated: Floats = self.at[self.row, knot] + self.slopes[self.row, knot] * (tokens - _KNOTS[knot])
        return interpolated

    def take(self, chosen: Chosen) -> Table:
        """Some of the entries."""
        return replace(self, row=self.row[chosen])

    @classmethod
    def of(cls, wanted: Ints, function: Callable[[int, int, int], Concave], unit: int) -> Table:
        """One entry for each row of `wanted`, the arguments of `function`."""
        unique, row = np.unique(wanted, axis=0, return_inverse=True)
        entries = [function(*map(int, arguments)) for arguments in unique]
        at = np.array([entry.at for entry in entries], dtype=float).reshape(-1, len(_KNOTS)) / unit
        slopes = np.array([entry.slopes for entry in entries], dtype=float).reshape(-1, len(_KNOTS)) / unit
        return cls(at, slopes, row.reshape(-1))


@dataclass(frozen=True)
class Routed(Arrays):
    """max(flop·pairs(y), read·reads(y) + io·pairs(y)) seconds, y = x·spread + slack tokens of one copy."""

    flop: Floats
    read: Floats
    io: Floats
    spread: Floats
    slack: Floats
    reads: Table
    pairs: Table

    def seconds(self, tokens: Floats) -> Floats:
        """Seconds where each attention rank brings `tokens` tokens."""
        padded = tokens * self.spread + self.slack
        pairs = self.pairs(padded)
        return np.maximum(self.flop * pairs, self.read * self.reads(padded) + self.io * pairs)

    def mean_seconds(self, tokens: Floats, more: Floats, step: Floats) -> Floats:
        """Least mean seconds where steps of `tokens` carry at most `step` more, `more` of them on average."""
        low, high, share = tokens * self.spread + self.slack, (tokens + step) * self.spread + self.slack, more / step
        pairs, reads = ((1 - share) * table(low) + share * table(high) for table in (self.pairs, self.reads))
        return np.maximum(self.flop * pairs, self.read * reads + self.io * pairs)


@dataclass(frozen=True)
class ExpertExchange(Arrays):
    """Dispatch and combine of experts, and their launches; `split` is 1 where two micro-batches hide them, else 0.

    All coefficients of a split entry are those of one micro-batch for half a token, see `optimizer.figures.overlap`.
    """

    split: Floats
    dispatch: Floats
    dispatch_fixed: Floats
    combine: Floats
    combine_fixed: Floats
    launch: Floats

    def of_sequence(self, seqs: Floats, decoded: Floats) -> Floats:
        """Tokens of one sequence more in each micro-batch than its half."""
        return self.split * decoded / np.maximum(seqs, 1)

    def layer(self, around: Floats, routed: Floats, tokens: Floats) -> Floats:
        """Seconds of the layer."""
        routed = routed + self.launch
        dispatch = self.dispatch * tokens + self.dispatch_fixed
        combine = self.combine * tokens + self.combine_fixed
        seconds = around + routed + dispatch + combine
        hidden = np.flatnonzero(self.split)
        if len(hidden):
            a, m, d, c = (part[hidden] for part in (around, routed, dispatch, combine))
            seconds[hidden] = np.maximum(a, c) + np.maximum(a, d) + np.maximum(m, d) + np.maximum(m, c)
        return seconds


@dataclass(frozen=True)
class KindCost(Arrays):
    """One layer kind of every mesh pair; see `optimizer.figures.layer.LayerCost`."""

    groups: tuple[RooflineGroup, ...]
    routed: Routed | None
    decode: Floats
    prefill_flop: Floats
    prefill_read: Floats
    per_token: Floats
    per_prompt: Floats
    per_seq: Floats
    fixed: Floats
    exchange: ExpertExchange | None = None

    def seconds(self, seqs: Floats, decoded: Floats, prompt: Floats, passes: Floats) -> Floats:
        """Seconds of the layer in a step."""
        if self.exchange is not None:
            split, more = self.exchange.split, self.exchange.of_sequence(seqs, decoded)
            prompts = split * (prompt > 0)
            seqs, decoded = seqs + split * (seqs > 0), decoded + more
            prompt, passes = prompt + prompts, passes + prompts
        x = decoded + prompt
        total = self._around(seqs, prompt, passes, x)
        for group in self.groups:
            total = total + group.seconds(x)
        routed = np.zeros_like(total) if self.routed is None else self.routed.seconds(x)
        return total + routed if self.exchange is None else self.exchange.layer(total, routed, x)

    def _around(self, seqs: Floats, prompt: Floats, passes: Floats, tokens: Floats) -> Floats:
        """Seconds of all but matrices and what the exchange takes of its own."""
        total = self.fixed + self.per_token * tokens + (self.decode + self.per_seq) * seqs + self.per_prompt * prompt
        return total + np.maximum(self.prefill_flop * prompt, self.prefill_read * passes)

    def mean_seconds(
        self, seqs: Floats, decoded: Floats, prompt: Floats, passes: Floats, least: Floats, most: Floats
    ) -> Floats:
        """Least mean seconds of steps, some with `least` to `most` prompt tokens, `prompt` tokens on average."""
        if self.exchange is not None:
            seqs, decoded = seqs + self.exchange.split, decoded + self.exchange.of_sequence(seqs, decoded)
        x = decoded + prompt
        total = self._around(seqs, prompt, passes, x)
        for group in self.groups:
            total = total + group.mean_seconds(decoded, prompt, least)
        routed = np.zeros_like(total) if self.routed is None else self.routed.mean_seconds(decoded, prompt, most)
        # a mean of maxima is no less than the maximum of means
        return total + routed if self.exchange is None else self.exchange.layer(total, routed, x)
