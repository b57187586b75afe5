"""SGLang's pool of states of linear attention beside that of tokens.

    state    = states of one request in all layers of a stage
    slots    = as many as take ratio ÷ (1 + ratio) of the room, with one more; each request drafts in states of its own
    requests = slots ÷ those that a request holds: its own, of prefixes, and of the steps that run
    tokens   = what the room has left ÷ bytes of a token

The ratio is 0.9 (`--mamba-full-memory-ratio`); without a prefix cache a request that is told of holds one slot.

Sources: SGLang 0.5.23 mem_cache/kv_cache_configurator.py _handle_max_mamba_cache, _calculate_mamba_ratio. Logs: 124
slots and 330,323 tokens of Qwen3.8-27B-FP8 on one H100 (17.92 and 20.16 GiB), 257 and 1,167,552 on eight ranks (13.5
and 15.03), 38 and 399,740 of Granite 4.0 H Micro (2.77 and 3.04).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from optimizer.domain.attention import AttentionKind, State
from optimizer.domain.problem import Problem


@dataclass(frozen=True, slots=True)
class StatePool:
    """What stages of some room hold: requests at once, and tokens of all of them."""

    requests: int
    tokens: int


def state_pool(
    problem: Problem, rooms: Sequence[int], tokens_of: Sequence[Fraction], states_of: Sequence[int]
) -> StatePool | None:
    """The pool of stages; None where the engine or the model has none beside tokens.

    Parameters
    ----------
    rooms, tokens_of, states_of
        Bytes that a stage has left for both, of one token in its layers, and of the states of one request.
    """
    ratio, work = problem.cache.state_ratio, problem.workload
    stages = [stage for stage in zip(rooms, tokens_of, states_of, strict=True) if stage[2]]
    if ratio is None or not stages:
        return None
    apart, told = work.prefix_caching is False, work.max_num_seqs
    held = 1 if apart else problem.cache.slots_of_request
    drafted = work.mtp_tokens + 1 if work.mtp_tokens else 0
    share, of_slot = ratio / (1 + ratio), 1 + Fraction(drafted, held)
    fitting = (max(Fraction(0), room * share - state * (1 + drafted)) / (state * of_slot) for room, _, state in stages)
    slots = told if apart and told else int(min(fitting))
    requests = min(slots // held, told or slots)
    left = (
        (max(0, room - (slots + 1 + (requests + 1) * drafted) * state), token)
        for room, token, state in zip(rooms, tokens_of, states_of, strict=True)
    )
    return StatePool(requests, min(int(room // token) for room, token in left if token))


def layer_bytes(attentions: Sequence[AttentionKind | None], tp: int) -> int:
    """Bytes of the states of one request in some layers."""
    return sum(kind.cache_fixed_bytes(1, tp) for kind in attentions if kind and isinstance(kind.keeps, State))
