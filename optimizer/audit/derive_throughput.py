"""Which phase and batch a throughput describes, and what no batching can exceed."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice

from optimizer.audit.derive import MOST_READINGS, Derivation, FactTable, deduplicated, once
from optimizer.audit.verdict import plain

BATCH_ONE = "decode at batch 1, one device reading every weight of the model for each token"
COMPUTE_BOUND = "any phase and batch: 2 FLOP per active parameter and token"


def throughput_readings(table: FactTable, utilizations: list[Fraction]) -> list[Derivation]:
    """Tokens per second and device that memory bandwidth alone gives, per reading.

    ``utilizations`` are the bandwidth utilisations that the document writes.
    """
    key = "throughput_readings", *utilizations
    if key not in table.memo:
        table.memo[key] = deduplicated(islice(_batch_one(table, utilizations), MOST_READINGS))
    found: list[Derivation] = table.memo[key]
    return found


def _batch_one(table: FactTable, utilizations: list[Fraction]) -> Iterator[Derivation]:
    widths = table.values("bytes_per_parameter") or [value for value in table.values("precision") if value > 0]
    assumes = () if widths else ("2 bytes per parameter",)
    for bandwidth in table.values("memory_bandwidth"):
        for parameters in table.values("parameters"):
            for width in widths or [Fraction(2)]:
                for utilization in (*utilizations, Fraction(1)):
                    value = bandwidth * utilization / (parameters * width)
                    yield Derivation(
                        BATCH_ONE, value, "memory_bandwidth × utilization / (parameters × bytes_per_parameter)",
                        f"{plain(bandwidth)} × {plain(utilization)} / ({plain(parameters)} × {width})", assumes,
                    )  # fmt: skip


@once
def compute_bound(table: FactTable) -> Derivation | None:
    """Tokens per second and device with zero overhead: peak FLOP/s over 2 FLOP per active parameter.

    Holds in every phase and at every batch, for the model on any number of devices. Needs the active parameters:
    stated, or all parameters where the model has no experts.
    """
    peak = table.one("peak_flops")
    active = table.one("active_parameters")
    dense = not (
        table.values("experts_per_layer")
        or table.values("ep")
        or table.values("experts")
        or table.values("experts_total")
    )
    if active is None and dense:
        active = table.one("parameters")
    if peak is None or not active:
        return None
    return Derivation(
        COMPUTE_BOUND,
        peak / (2 * active),
        "peak_flops / (2 × active_parameters)",
        f"{plain(peak)} / (2 × {plain(active)})",
    )


def ttft_readings(table: FactTable, per_device: list[Fraction], total: list[Fraction]) -> list[Derivation]:
    """Prompt tokens over a written throughput: one prompt on one device, through the stages, the whole batch."""
    return deduplicated(islice(_ttft(table, per_device, total), MOST_READINGS))


def _ttft(table: FactTable, per_device: list[Fraction], total: list[Fraction]) -> Iterator[Derivation]:
    for tokens in table.values("input_tokens"):
        for rate in per_device:
            if rate <= 0:
                continue
            yield Derivation("one prompt through one device", tokens / rate, "input_tokens / throughput_per_device",
                             f"{plain(tokens)} / {plain(rate)}")  # fmt: skip
            for stages in table.values("pp"):
                yield Derivation("one prompt through every stage in "
                                 "turn", tokens * stages / rate, "input_tokens × pp / throughput_per_device",
                                 f"{plain(tokens)} × {stages} / {plain(rate)}")  # fmt: skip
        for rate in total:
            if rate <= 0:
                continue
            for batch in table.values("batch"):
                yield Derivation("every prompt of the batch, the last one's "
                                 "wait", batch * tokens / rate, "batch × input_tokens / throughput",
                                 f"{batch} × {plain(tokens)} / {plain(rate)}")  # fmt: skip
