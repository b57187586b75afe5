"""Two-batch overlap: a step runs as two micro-batches, one computing while the other's experts are exchanged.

Engines put the computation of both micro-batches on one stream and the exchange of both on another, in turn, each
waiting for what it needs (SGLang `operations_strategy.py`, DeepSeek's prefill; vLLM `ubatching.py`, which yields to the
other micro-batch at dispatch and combine; DeepSeek-V3, arXiv 2412.19437 section 3.4). With a the attention and all that
is not routed, m the routed experts, d dispatch and c combine of one micro-batch, the two streams hold

    computation  a₁ a₂ m₁ m₂ a₁′ a₂′ …
    exchange     c₂ d₁ d₂ c₁ c₂′ d₁′ …        (c₂: of the layer before)

Each operation waits for the one before it on its own stream and for the one of its micro-batch on the other, which are
those of the pair before, so that the pairs go in step:

    layer = max(a, c) + max(a, d) + max(m, d) + max(m, c)

of the larger micro-batch's times. That is no less than either stream alone, 2·(a + m) and 2·(d + c); without an
exchange it is the computation of both halves. A step of few tokens gains nothing: each half reads the weights again.

A micro-batch has half of a step's tokens, sequences and passes, rounded up to at most half of one more. Layers without
routed experts run in both halves too (vLLM; SGLang runs leading ones whole). Drafting and the output head do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

EXCHANGE_UNITS = Fraction(20, 132)
"""Share of the multiprocessors that the exchange of prompts takes from all computation beside it: 20 of an H100's 132
(SGLang `DeepEPConfig.num_sms`, vLLM `VLLM_DBO_COMM_SMS`); as many of other devices assumed. Low-latency kernels of
decoding take none (DeepEP's receive hook)."""


def halved(ticks: int) -> int:
    """Half, rounded up."""
    return -(-ticks // 2)


@dataclass(frozen=True, slots=True)
class Exchange:
    """Dispatch and combine of a micro-batch beside its computation: ticks for half a token, latency; launches of m."""

    dispatch: int
    dispatch_fixed: int
    combine: int
    combine_fixed: int
    launch: int

    def least(self, other: Exchange) -> Exchange:
        """Coefficients that neither goes below."""
        return Exchange(
            min(self.dispatch, other.dispatch), min(self.dispatch_fixed, other.dispatch_fixed),
            min(self.combine, other.combine), min(self.combine_fixed, other.combine_fixed),
            min(self.launch, other.launch),
        )  # fmt: skip

    def layer(self, around: int, routed: int, tokens: int, scale: int = 1) -> int:
        """A layer of both micro-batches, from the computation of one apart from the launches of its experts.

        Parameters
        ----------
        tokens
            Of both micro-batches, × `scale`, as all times are.
        """
        routed += self.launch * scale
        dispatch, combine = self.times(tokens, scale)
        return max(around, combine) + max(around, dispatch) + max(routed, dispatch) + max(routed, combine)

    def times(self, tokens: int, scale: int = 1) -> tuple[int, int]:
        """Dispatch and combine of one micro-batch."""
        fixed = (self.dispatch_fixed * scale, self.combine_fixed * scale)
        return self.dispatch * tokens + fixed[0], self.combine * tokens + fixed[1]

    def exposed(self, around: int, routed: int, tokens: int) -> tuple[int, int]:
        """What of the dispatch and the combine of both micro-batches computation does not hide."""
        computed = (around, routed + self.launch)
        dispatch, combine = (sum(max(0, sent - ticks) for ticks in computed) for sent in self.times(tokens))
        return dispatch, combine
